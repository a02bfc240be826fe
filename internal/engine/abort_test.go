package engine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

// A library that aborts while it starts is started again, twice; one that does so each time is a fault that says so.
func TestAbortWhileStarting(t *testing.T) {
	library := filepath.Join(t.TempDir(), "abort.so")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", library, "testdata/abortshim/abort.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("build the shim with cc (Debian: apt-get install gcc libc6-dev): %v\n%s", err, out)
	}
	aborts := filepath.Join(t.TempDir(), "aborts")
	start := func(n int) (*engine.Engine, error) {
		if err := os.WriteFile(aborts, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := enginetest.Config(t, nil)
		cfg.Env = []string{"LD_PRELOAD=" + library, "ABORTS=" + aborts}
		return engine.Start(t.Context(), cfg)
	}
	left := func() int64 {
		info, err := os.Stat(aborts)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	e, err := start(2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Kill()
	if got := ask(t, e, engine.Owner, "SELECT 1"); got != "1" || left() != 0 {
		t.Error(got, left())
	}
	if e, err := start(9); err == nil {
		e.Kill()
		t.Error("it started")
	} else if left() != 6 || !strings.Contains(err.Error(), "SIGABRT") || strings.Contains(err.Error(), "goroutine 1") {
		t.Error(left(), err)
	}
}
