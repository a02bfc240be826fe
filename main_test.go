package main

import (
	"io"
	"os"
	"testing"

	"tillsyn/internal/engine/enginetest"
)

// testMainEnv makes the test binary be tillsyn itself: tests that kill it start it so.
const testMainEnv = "TILLSYN_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(testMainEnv) != "" {
		go func() {
			// The test holds the other end: what it started does not outlive it.
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		main()
	}
	enginetest.Main(m)
}
