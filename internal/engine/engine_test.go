package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(orderEnv); order != "" && len(os.Args) == 1 {
		if err := otherProgram(order); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	enginetest.Main(m)
}

// ask answers the text of a statement that must succeed, run by a user.
func ask(t testing.TB, e *engine.Engine, user, statement string) string {
	t.Helper()
	text, err := try(t, e, user, statement)
	if err != nil {
		t.Fatalf("%s as %s: %v", statement, user, err)
	}
	return text
}

func try(t testing.TB, e *engine.Engine, user, statement string) (string, error) {
	t.Helper()
	name, password := e.Credentials(user)
	var b bytes.Buffer
	err := engine.Query(t.Context(), e.HTTPAddress(), name, password, statement, &b)
	return strings.TrimSpace(b.String()), err
}

func TestStartStop(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	for i := range 3 {
		began := time.Now()
		e := enginetest.Start(t, cfg)
		t.Log("start", time.Since(began))
		if got := ask(t, e, engine.Owner, "SELECT timezone(), currentUser(), version()"); !strings.HasPrefix(got, "UTC\ttillsyn\t26.7.") {
			t.Error(got)
		}
		ask(t, e, engine.Owner, "CREATE DATABASE IF NOT EXISTS t")
		ask(t, e, engine.Owner, "CREATE TABLE IF NOT EXISTS t.a (x UInt64) ENGINE=MergeTree ORDER BY x")
		ask(t, e, engine.Owner, "INSERT INTO t.a SELECT number FROM numbers(1000)")
		if got, want := ask(t, e, engine.Owner, "SELECT count()/1000 FROM t.a"), string(rune('1'+i)); got != want {
			t.Errorf("%s thousand rows after start %d", got, i)
		}
		began = time.Now()
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Log("stop", time.Since(began))
		if e.Err() != nil {
			t.Error("a stop looks like a fault:", e.Err())
		}
	}
}

// A statement that fails after its first rows have left must not look like one that succeeded.
func TestFaultInTheMiddleOfAnAnswer(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	text, err := try(t, e, engine.Owner, "SELECT number, throwIf(number = 300000) FROM numbers(400000) SETTINGS max_block_size=1000")
	if err == nil {
		t.Errorf("%d bytes and no error; the end is %q", len(text), text[max(0, len(text)-200):])
	}
	long := "SELECT length('" + strings.Repeat("x", 200<<10) + "')"
	if got := ask(t, e, engine.Owner, long); got != "204800" {
		t.Error(got)
	}
	if _, err := try(t, e, engine.Owner, "SELECT 1; DROP DATABASE default"); err == nil {
		t.Error("two statements in one")
	}
	if _, err := try(t, e, engine.Owner, "SELECT '\x00\xff"); err == nil {
		t.Error("a torn statement")
	}
}

func BenchmarkStart(b *testing.B) {
	cfg := enginetest.Config(b, nil)
	for b.Loop() {
		e, err := engine.Start(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		e.Kill()
	}
}
