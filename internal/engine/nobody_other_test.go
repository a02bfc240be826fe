//go:build !linux

package engine_test

import "testing"

// asNobody runs f; the tests run without root's rights here.
func asNobody(_ *testing.T, f func() error) error { return f() }
