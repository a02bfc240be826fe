package engine_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

// Kills before the changes of files that one insert makes (every third one, and each of the last, where the part gets
// its name): all of its rows are there afterwards, or none, and the
// rows from before always are.
func TestKillBeforeFileChangesOfAnInsert(t *testing.T) {
	shim := enginetest.NewKillShim(t)
	base := enginetest.Config(t, nil)
	e := enginetest.Start(t, base)
	ask(t, e, engine.Owner, "CREATE DATABASE k")
	ask(t, e, engine.Owner, "CREATE TABLE k.a (d Date, x UInt64, s String) ENGINE=MergeTree PARTITION BY d ORDER BY x")
	ask(t, e, engine.Owner, "INSERT INTO k.a SELECT '2026-01-01', number, toString(number) FROM numbers(100)")
	e.Kill()

	const insert = "INSERT INTO k.a SELECT '2026-01-02', number, toString(number) FROM numbers(1000)"
	run := func(at int) (rows, calls int, log string) {
		cfg := base
		cfg.DataDir = t.TempDir()
		if err := os.CopyFS(cfg.DataDir, os.DirFS(base.DataDir)); err != nil {
			t.Fatal(err)
		}
		cfg.Env = shim.Env(cfg.DataDir, at)
		e := enginetest.Start(t, cfg)
		if n := shim.Calls(t); n != 0 {
			t.Fatalf("%d changes counted before it was armed", n)
		}
		shim.Arm(t)
		_, fault := try(t, e, engine.Owner, insert)
		if fault != nil {
			await(t, e)
		}
		shim.Disarm(t)
		calls, log = shim.Calls(t), shim.Log(t)
		e.Kill()
		cfg.Env = nil
		e = enginetest.Start(t, cfg)
		defer e.Kill()
		if got := ask(t, e, engine.Owner, "SELECT count(), sum(x) FROM k.a WHERE d='2026-01-01'"); got != "100\t4950" {
			t.Errorf("killed at %d: rows from before: %s", at, got)
		}
		rows, err := strconv.Atoi(ask(t, e, engine.Owner, "SELECT count() FROM k.a WHERE d='2026-01-02'"))
		if err != nil {
			t.Fatal(err)
		}
		if rows != 0 && rows != 1000 || fault == nil && rows != 1000 {
			t.Errorf("killed at %d: %d of 1000 rows, insert answered %v\n%s", at, rows, fault, log)
		}
		return rows, calls, log
	}
	_, calls, log := run(0)
	t.Logf("%d changes:\n%s", calls, strings.ReplaceAll(log, filepath.Dir(base.DataDir), ""))
	if calls < 10 {
		t.Fatalf("only %d changes were seen: the shim does not see this engine", calls)
	}
	whole := 0
	kills := 0
	for at := 1; at <= calls; at++ {
		if at%3 != 1 && at < calls-3 {
			continue
		}
		kills++
		if rows, seen, _ := run(at); rows == 1000 {
			whole++
		} else if seen < at-2 { // threads write the count, and the last of them may be a little behind
			t.Errorf("killed at %d: only %d changes were seen, and no row is there", at, seen)
		}
	}
	if whole == 0 || whole == kills {
		t.Errorf("the rows were whole after %d of %d kills: the sweep did not pass the moment that counts", whole, kills)
	}
}

func await(t testing.TB, e *engine.Engine) {
	t.Helper()
	select {
	case <-e.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the engine is still there")
	}
}
