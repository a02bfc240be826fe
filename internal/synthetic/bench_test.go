package synthetic

import (
	"syscall"
	"testing"
	"time"
)

// cpu answers the processor time of this process: what one core does, however busy the machine is with other things.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNext writes lines and keeps their truth: the promise is a million lines a second on one core.
func BenchmarkNext(b *testing.B) {
	for _, format := range FormatNames() {
		b.Run(format, func(b *testing.B) {
			c := DefaultConfig()
			c.Format, c.Lines = format, int64(b.N)*10+1_000_000 // mail: a message for ten
			m, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			var line []byte
			var bytes int64
			b.ReportAllocs()
			b.ResetTimer()
			began := cpu(b)
			for range b.N {
				var ok bool
				if line, ok = m.Next(line[:0]); !ok {
					b.Fatal("too few messages")
				}
				bytes += int64(len(line)) + 1
			}
			if m.format.Mail {
				m.MailTruthFor(m.format)
			} else {
				m.Truth()
			}
			spent := cpu(b) - began
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(b.N)/max(spent.Seconds(), 1e-9), "lines/core-s")
			b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}
