package ingest

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"tillsyn/aggregate"
	"tillsyn/internal/synthetic"
)

// A cutOff is a Sink whose connection breaks in the middle of an insert.
type cutOff struct{ modelSink }

func (cutOff) Insert(context.Context, Identity, int64, int64, aggregate.Block) error {
	return fmt.Errorf("nobody knows whether the insert is in: read: %w", io.EOF)
}

// A connection that ends is not the end of the source: whoever imports must hear of it.
func TestABrokenConnectionIsNotTheEndOfTheSource(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 5, People: 500, From: "2026-10-24", Days: 1, Lines: 100, Format: "squid_native", Shards: 1})
	in := w.ingester(t, cutOff{modelSink{newWorld(1)}}, Limits{Events: 10, Grains: 1000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
	if total, err := in.Once(t.Context(), w.partitions()[0], w.source, nil); err == nil {
		t.Errorf("no error, although only %+v is in", total)
	}
}
