package audit

import (
	"slices"
	"testing"
	"time"
)

func quantile(took []time.Duration, q float64) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[min(len(took)-1, int(q*float64(len(took))))]
}

func reportQuantiles(b *testing.B, took []time.Duration) {
	for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99} {
		b.ReportMetric(float64(quantile(took, q))/1e6, name)
	}
}
