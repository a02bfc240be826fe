package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// steadyClock answers a clock that nobody sets and that goes on while the machine sleeps: the time since it started.
func steadyClock() func() time.Duration {
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return 0
		}
		return time.Duration(t.Nano())
	}
}
