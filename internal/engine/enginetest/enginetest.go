package enginetest

import (
	"os"
	"path/filepath"
	"testing"

	"tillsyn/internal/engine"
)

// Main runs the tests, or the engine where this process is the child of one, and exits. Where the environment names no library it
// is the one that 'make setup' brings: a test's program lies in a temporary folder, far from it.
func Main(m *testing.M) {
	engine.ChildIfAsked()
	if path := Library(); path != "" && os.Getenv("TILLSYN_CHDB_LIBRARY") == "" {
		if err := os.Setenv("TILLSYN_CHDB_LIBRARY", path); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Library is the path of the library in the nearest node_modules above the package that is tested; empty if there is none.
func Library() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; ; dir = filepath.Dir(dir) {
		if found, err := filepath.Glob(filepath.Join(dir, "node_modules", "@chdb", "*", "libchdb.so")); err == nil && len(found) > 0 {
			return found[0]
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// Config answers a Config on a new temporary directory, with the given users beside the owner (nil: none).
func Config(t testing.TB, users map[string]engine.User) engine.Config {
	t.Helper()
	cfg := engine.DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.MemoryLimit = 1 << 30
	cfg.Users = users
	return cfg
}

// Start starts an engine and kills it when the test ends.
func Start(t testing.TB, cfg engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-e.Done(): // before its time, or killed by the test
			if err := e.Err(); err != nil {
				t.Log("engine:", err)
			}
		default:
			e.Kill()
		}
	})
	return e
}
