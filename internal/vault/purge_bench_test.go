package vault

import (
	"testing"
	"time"
)

// BenchmarkPurgeOfADay purges a day of a million capsules of 10 000 people, of whom 100 are held.
func BenchmarkPurgeOfADay(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		a := newArchive(b)
		d := a.today() - 90
		a.fill(Web, d, 10_000, 100)
		var scope []HoldRow
		for n := range 100 {
			scope = append(scope, HoldRow{Web, d, "", a.tag(Web, d, n*97)})
		}
		begun := time.Now()
		_, copies := a.place("HR 1/26", scope...)
		placed := time.Since(begun)
		b.StartTimer()
		r := a.run()
		b.StopTimer()
		if copies != (HoldCopies{100, 10_000}) || len(r.Certificates) != 1 || r.Certificates[0].Removed[0].Held != copies {
			b.Fatal(copies, r.Certificates)
		}
		b.ReportMetric(float64(r.Certificates[0].Totals.Rows), "rows")
		b.ReportMetric(float64(r.Certificates[0].Totals.Bytes)/(1<<20), "MiB")
		b.ReportMetric(placed.Seconds(), "s/hold")
		a.running.Kill()
		b.StartTimer()
	}
}
