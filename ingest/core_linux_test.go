package ingest

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// bind keeps every thread of this process, and what it starts from now on, on the processors from first to before last. It does
// nothing where there is only one. Threads that begin later are where the thread is that begins them.
func bind(b *testing.B, first, last int) {
	if runtime.NumCPU() < 2 {
		return
	}
	var some unix.CPUSet
	for cpu := first; cpu < last; cpu++ {
		some.Set(cpu)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.SchedSetaffinity(id, &some); err != nil && err != unix.ESRCH {
			b.Fatal(err)
		}
	}
}
