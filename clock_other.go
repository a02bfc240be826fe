//go:build !linux

package main

import "time"

// steadyClock is nil where no clock is known that goes on while the machine sleeps.
func steadyClock() func() time.Duration { return nil }
