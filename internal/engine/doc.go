// Package engine runs ClickHouse inside tillsyn.
package engine
