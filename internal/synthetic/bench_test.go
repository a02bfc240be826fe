package synthetic

import "testing"

func BenchmarkNext(b *testing.B) {
	for _, format := range FormatNames() {
		b.Run(format, func(b *testing.B) {
			c := DefaultConfig()
			c.Format, c.Lines = format, int64(b.N)+1_000_000
			m, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			var line []byte
			var bytes int64
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				line, _ = m.Next(line[:0])
				bytes += int64(len(line)) + 1
			}
			m.Truth()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}
