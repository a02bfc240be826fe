package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testConfig is a log in a folder of its own.
func testConfig(t testing.TB) Config {
	t.Helper()
	dir := t.TempDir()
	c := DefaultConfig()
	c.Directory, c.Key, c.Deployment = filepath.Join(dir, "log"), filepath.Join(dir, "audit.key"), "example.org/test"
	return c
}

func openLog(t testing.TB, c Config) *Log {
	t.Helper()
	l, err := Open(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// sample answers the i-th of many different entries.
func sample(i int) Entry {
	kinds := []Kind{LookupIntent, LookupResult, DecisionRequested, PurgeIntent, HoldPlaced}
	return Entry{
		Kind: kinds[i%len(kinds)], Actor: fmt.Sprintf("holder-%d", i%7), Case: fmt.Sprintf("KS 2026/%d", i%13),
		Document: "sha256:" + strings.Repeat(fmt.Sprintf("%08x", i), 8), Counts: map[string]int64{"number": int64(i), "rows": int64(i * i)},
		Body: strings.Repeat("rad \"å\" \\\n", i%4),
	}
}

func appendTo(t testing.TB, l *Log, e Entry) Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAppendAndRead(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	var receipts []Receipt
	for i := range 300 {
		r := appendTo(t, l, sample(i))
		if r.Position != (Position{1, int64(i) + 1}) {
			t.Fatalf("entry %d is at %v", i, r.Position)
		}
		if got, err := r.Proof.Check(l.Trust()); err != nil || got.Position != r.Position {
			t.Fatalf("%v: %v", got, err)
		}
		receipts = append(receipts, r)
	}
	again := openLog(t, c)
	for _, log := range []*Log{l, again} {
		all, err := log.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 301 || all[0].Kind != SegmentOpened {
			t.Fatalf("%d entries", len(all))
		}
		for i, r := range receipts {
			if fmt.Sprint(all[i+1].Entry) != fmt.Sprint(r.Entry) || all[i+1].Position != r.Position {
				t.Fatalf("entry %d: %v, want %v", i, all[i+1], r)
			}
		}
	}
	if list, err := again.OfCase(t.Context(), "KS 2026/3"); err != nil || len(list) != 23 {
		t.Errorf("%d entries of the case, %v", len(list), err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Directory, "0001", "tile", "*", "000.p")); len(left) != 1 {
		t.Errorf("partial tiles that full ones replaced were kept: %v", left) // tile/1/000.p holds the one hash above the full tile
	}
	if info, err := os.Stat(c.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

func TestAppendTogether(t *testing.T) {
	c := testConfig(t)
	// Two logs in one process stand for two processes: only the lock file is between them.
	logs := []*Log{openLog(t, c), openLog(t, c)}
	var wg sync.WaitGroup
	var lock sync.Mutex
	places := map[Position]int64{}
	start := time.Now()
	const each, writers = 25, 16
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := sample(w*each + i)
				r, err := logs[w%2].Append(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				lock.Lock()
				places[r.Position] = e.Counts["number"]
				lock.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d entries in %v", each*writers, time.Since(start))
	if len(places) != each*writers {
		t.Fatalf("%d places for %d entries", len(places), each*writers)
	}
	for _, l := range logs {
		all, err := l.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for p, number := range places {
			if all[p.Index].Counts["number"] != number {
				t.Errorf("%v is not what was acknowledged", p)
			}
		}
	}
}

func TestAppendRefusesWrongEntries(t *testing.T) {
	l := openLog(t, testConfig(t))
	for name, change := range map[string]func(*Entry){
		"kind":     func(e *Entry) { e.Kind = "lookup.made" },
		"no kind":  func(e *Entry) { *e = Entry{} },
		"own kind": func(e *Entry) { e.Kind = SegmentClosed },
		"actor":    func(e *Entry) { e.Actor = "anna@example.org" },
	} {
		e := sample(1)
		change(&e)
		if _, err := l.Append(t.Context(), e); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (*Log)(nil).Append(t.Context(), sample(1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no log: %v", err)
	}
	if _, err := (&Log{}).Append(t.Context(), sample(1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("zero log: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, testConfig(b))
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		appendTo(b, l, sample(i))
		took = append(took, time.Since(start))
	}
	reportQuantiles(b, took)
}
