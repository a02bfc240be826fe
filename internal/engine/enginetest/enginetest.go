// Package enginetest gives a test a private embedded ClickHouse.
//
// The engine is a child process of the test binary, so a package that uses it says so in its TestMain:
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// A start takes about 0.2 s. Tests that can share one engine should: start it once and give every test a database.
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
	t.Cleanup(e.Kill)
	return e
}
