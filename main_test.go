package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"tillsyn/internal/engine/enginetest"

	"github.com/urfave/cli/v2"
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

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, c := range map[string]struct {
		err  error
		said string
		told bool // whether a command that runs until it is told to stop has done all it should
	}{
		"no more than that":  {fmt.Errorf("read a file: %w", context.Canceled), "tillsyn: interrupted before it was done: run it again\n", true},
		"a fault beside it":  {errors.Join(context.Canceled, errors.New("the disk is full")), "tillsyn: the disk is full\n", false},
		"two that both stop": {errors.Join(context.Canceled, fmt.Errorf("ask: %w", context.Canceled)), "tillsyn: interrupted before it was done: run it again\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			app := newApp()
			app.ErrWriter = &out
			app.Commands = []*cli.Command{{Name: "work", Action: func(*cli.Context) error { cancel(); return c.err }}}
			if code := run(ctx, app, []string{"tillsyn", "work"}); code != exitFault || out.String() != c.said {
				t.Errorf("exit %d: %q", code, &out)
			}
			if err := told(ctx, c.err); (err == nil) != c.told {
				t.Errorf("told to stop, it ends with %v", err)
			}
		})
	}
	if told(t.Context(), context.Canceled) == nil {
		t.Error("nobody told it to stop")
	}
}
