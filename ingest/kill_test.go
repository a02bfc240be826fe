package ingest

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/synthetic"
)

// ClickHouse is killed before every change of a file that one batch makes, a batch with rejects that spans a midnight.
// Started again and asked again, everything is in once: the statistics, and each event in a capsule that opens (FAULTS 1, 17).
func TestKillBeforeEveryFileChangeOfABatch(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 3, People: 500, From: "2026-10-24", Days: 2, Lines: 600, Format: "squid_native", Shards: 1, Bad: 0.02})
	part := w.partitions()[0]
	truth := w.Truth()
	limits := Limits{Events: 1_000_000, Grains: 1_000_000, Rejects: 1_000_000, MaxAge: time.Hour, Sealed: 64 << 20}
	now := func() time.Time { return w.now }
	roles, account := ingesttest.NewRoles(t), w.account()
	// Each process has live keys of its own.
	ingester := func(t *testing.T, db *clickhouse.DB) *Ingester {
		in := w.ingester(t, store(t, db, now), limits)
		in.dep.Vault = roles.Writer(t, now, tenants()...)
		return in
	}

	base := enginetest.Config(t, nil)
	e := enginetest.Start(t, base)
	open(t, e)
	e.Kill()

	// try has the engine killed before its at-th change (0: never), answers how many changes there were, and checks.
	try := func(t *testing.T, shim *enginetest.KillShim, at int) int {
		cfg := base
		cfg.DataDir = t.TempDir()
		if err := os.CopyFS(cfg.DataDir, os.DirFS(base.DataDir)); err != nil {
			t.Fatal(err)
		}
		cfg.Env = shim.Env(cfg.DataDir, at)
		e := enginetest.Start(t, cfg)
		db := open(t, e)
		in := ingester(t, db)
		shim.Arm(t)
		_, err := in.Once(t.Context(), part, w.source, nil)
		shim.Disarm(t)
		calls := shim.Calls(t)
		if at == 0 && err != nil {
			t.Fatal(err)
		}
		if at == 0 {
			t.Log("changes:", calls, "of which renames:", strings.Count(shim.Log(t), "rename"))
		}
		e.Kill()
		cfg.Env = nil
		e = enginetest.Start(t, cfg)
		defer e.Kill()
		db = open(t, e)
		if _, err := ingester(t, db).Once(t.Context(), part, w.source, nil); err != nil {
			t.Fatalf("killed before change %d: %v", at, err)
		}
		compareTruth(t, db, truth)
		if opened := compareVault(t, db, roles, account.Clone()); opened.Keys == 0 {
			t.Fatal("nothing is sealed")
		}
		if events, rejects, kept := linesIn(t, db); events != uint64(truth.Totals.Events) || events+rejects != uint64(truth.Totals.Lines) || kept != rejects {
			t.Fatalf("killed before change %d: %d events, %d rejects, %d kept", at, events, rejects, kept)
		}
		return calls
	}
	points := try(t, enginetest.NewKillShim(t), 0)
	if points < 150 {
		t.Fatalf("only %d changes were seen: the shim does not see this engine", points)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			shim := enginetest.NewKillShim(t)
			for at := range next {
				t.Run("", func(t *testing.T) { try(t, shim, at) })
			}
		})
	}
	for at := 1; at <= points+5; at++ {
		next <- at
	}
	close(next)
	workers.Wait()
	t.Logf("%d kill points", points+5)
}
