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
