package ingest

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
)

// Two machines with two keys would count everybody twice: the second is refused, and so is a key that was made anew.
func TestAnotherStatisticsKeyIsRefused(t *testing.T) {
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	now := noon
	s := store(t, db, func() time.Time { return now })
	key := seal.NewStatisticsKey(seal.MonthOf(noon.Add(-MaxAge)))
	for range 2 {
		if err := s.UseKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	other := seal.NewStatisticsKey(seal.MonthOf(noon.Add(-MaxAge)))
	if err := s.UseKey(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another statistics key") {
		t.Error("another key:", err)
	}
	now = noon.AddDate(0, 2, 0)
	forgot, err := key.Forget(seal.MonthOf(noon.AddDate(0, 1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UseKey(t.Context(), forgot); err != nil {
		t.Error("the same key, later:", err)
	}
	if err := s.UseKey(t.Context(), seal.NewStatisticsKey(seal.MonthOf(now.Add(-MaxAge)))); err == nil {
		t.Error("a key that was made anew is taken")
	}
}

// A second owner of a partition finds that the ledger has moved, and writes nothing.
func TestTwoOwnersOfOnePartition(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 4, People: 500, From: "2026-10-24", Days: 1, Lines: 3000, Format: "squid_native", Shards: 1})
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	limits := Limits{Events: 100, Grains: 1_000_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20}
	p := w.partitions()[0]
	slow, err := w.ingester(t, store(t, db, func() time.Time { return w.now }), limits).runner(p, w.source)
	if err != nil {
		t.Fatal(err)
	}
	overtaken := false
	slow.observe = func(batch, LedgerRow) {
		if overtaken {
			return
		}
		overtaken = true // after its first batch, another reads everything
		if _, err := w.ingester(t, store(t, db, func() time.Time { return w.now }), limits).Once(t.Context(), p, w.source, nil); err != nil {
			t.Error(err)
		}
	}
	if err := slow.run(t.Context()); !errors.Is(err, ErrNotOurs) || err == io.EOF {
		t.Error("the first owner goes on:", err)
	}
	compareTruth(t, db, w.Truth())
}

// What begins a file names it only once it held an event: a mere header is the beginning of many.
func TestAHeaderNamesNoFile(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 4, People: 500, From: "2026-10-24", Days: 1, Lines: 100, Format: "squid_native", Shards: 1})
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	s := store(t, db, func() time.Time { return w.now })
	in := w.ingester(t, s, Limits{Events: 1000, Grains: 1_000_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
	dir := t.TempDir()
	header := "#Software: SGOS\n"
	var lines []string
	for _, l := range w.partitions()[0].lines {
		lines = append(lines, string(l))
	}
	total := uint64(0)
	for i, text := range []string{header, "junk\n", header + strings.Join(lines[:60], "\n") + "\n", header + strings.Join(lines[60:], "\n") + "\n"} {
		known, err := s.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f, err := OpenFile(write(t, dir, string(rune('a'+i)), []byte(text), time.Hour), nil, func() time.Time { return w.now })
		if err != nil {
			t.Fatal(err)
		}
		f.Among(known)
		one, err := in.Once(t.Context(), f, w.source, nil)
		if err != nil {
			t.Fatal(err)
		}
		total += one.Events
		f.Close()
	}
	if total != 100 {
		t.Errorf("%d of 100 events are in", total)
	}
}

// A topic that was deleted and made again under the same operator's epoch is told by its id, also when it has grown past the
// place to go on, and after a restart.
func TestAnotherTopicIDStandsStill(t *testing.T) {
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	s := store(t, db, func() time.Time { return noon })
	id := Identity{Cluster: "c", Topic: "t", Epoch: "1", TopicID: "first"}
	for range 2 {
		if _, err := s.Recover(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	id.TopicID = "second"
	if _, err := s.Recover(t.Context(), id); !errors.Is(err, ErrRecreated) {
		t.Error("another topic:", err)
	}
	if id.Epoch = "2"; id.Mark() == (Identity{Cluster: "c", Topic: "t", Epoch: "1"}).Mark() {
		t.Error("a new epoch is no new partition")
	}
	if _, err := s.Recover(t.Context(), id); err != nil {
		t.Error("a new epoch:", err)
	}
}
