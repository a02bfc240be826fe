package enginetest

import (
	"os"
	"testing"

	"tillsyn/internal/engine"
)

// Main runs the tests, or the engine where this process is the child of one, and exits.
func Main(m *testing.M) {
	engine.ChildIfAsked()
	os.Exit(m.Run())
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
