package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/engine"
)

// leafCommands calls each for every command that has no commands of its own, with the words that lead to it.
func leafCommands(list []*cli.Command, path []string, each func(path []string, c *cli.Command)) {
	for _, c := range list {
		words := append(path[:len(path):len(path)], c.Name)
		if len(c.Subcommands) == 0 {
			each(words, c)
		}
		leafCommands(c.Subcommands, words, each)
	}
}

// TestStrayArgumentsAreRefused gives every command that takes no argument one, and every one that takes one or two one more than that.
func TestStrayArgumentsAreRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("tillsyn.yaml", []byte("log: {level: error}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := 0
	leafCommands(newApp().Commands, nil, func(path []string, c *cli.Command) {
		if c.Name == engine.ChildCommand || strings.Contains(c.ArgsUsage, "...") {
			return
		}
		tried++
		usage, _, _ := strings.Cut(c.ArgsUsage, "(")
		args := append(path[:len(path):len(path)], strings.Fields(usage)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // one that begins its work would not end
		defer cancel()
		var out, faults strings.Builder
		app := newApp()
		app.Writer, app.ErrWriter, app.Reader = &out, &faults, strings.NewReader("")
		code := run(ctx, app, append([]string{"tillsyn"}, append(args, "stray")...))
		if said := faults.String(); code != exitUsage || !strings.Contains(said, "argument") && !strings.Contains(said, "stray") || out.Len() > 0 {
			t.Errorf("%v: exit code %d, %s%s", args, code, out.String(), said)
		}
	})
	if tried < 50 {
		t.Errorf("only %d commands were tried", tried)
	}
	if left, err := filepath.Glob("*"); err != nil || len(left) != 1 {
		t.Errorf("something was written: %v %v", left, err)
	}
}

// TestFlagsComeBeforeArguments holds that no command that takes several arguments takes a flag for one of them.
func TestFlagsComeBeforeArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	try := func(refused bool, args ...string) {
		t.Helper()
		out, faults, code := inProcess(t, args...)
		if got := code == exitUsage && strings.Contains(faults, "flags come before"); got != refused {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, faults)
		}
	}
	tried := 0
	leafCommands(newApp().Commands, nil, func(path []string, c *cli.Command) {
		if strings.Contains(c.ArgsUsage, "...") || len(strings.Fields(c.ArgsUsage)) == 2 {
			tried++
			try(true, append(path[:len(path):len(path)], "one", "--json")...)
			try(true, append(path[:len(path):len(path)], "one", "-"+c.Flags[0].Names()[0]+"=x")...)
		}
	})
	if tried != 9 {
		t.Errorf("%d commands were tried", tried)
	}
	try(true, "import", "a.log", "-f", "squid_native")
	try(false, "import", "-", "-x.log")
	try(false, "import", "--", "--x.log", "-f")
	try(false, "lists", "lookup", "--", "--json")
	try(false, "parse", "--format", "squid_native", "-")
}

// A demo of no lines would wait for them.
func TestDemoNeedsLines(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, lines := range []string{"0", "-1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var faults strings.Builder
		app := newApp()
		app.Writer, app.ErrWriter = &faults, &faults
		if code := run(ctx, app, []string{"tillsyn", "demo", "--once", "--lines", lines}); code != exitUsage || !strings.Contains(faults.String(), "--lines is "+lines) {
			t.Errorf("--lines %s: exit code %d, %s", lines, code, faults.String())
		}
	}
	if left, err := filepath.Glob("*"); err != nil || len(left) != 0 {
		t.Errorf("something was written: %v %v", left, err)
	}
}

// Whoever asks for a command that there is not, or for help for one, is told so alike.
func TestUnknownCommands(t *testing.T) {
	for want, lines := range map[string][][]string{
		"tillsyn: no command is called \"bogus\"; see 'tillsyn help'\n":                 {{"bogus"}, {"help", "bogus"}},
		"tillsyn: keys has no command \"bogus\"; see 'tillsyn keys --help'\n":           {{"keys", "bogus"}, {"keys", "help", "bogus"}},
		"tillsyn: keys sign has no command \"bogus\"; see 'tillsyn keys sign --help'\n": {{"keys", "sign", "help", "bogus"}},
	} {
		for _, args := range lines {
			if out, faults, code := inProcess(t, args...); code != exitUsage || faults != want || out != "" {
				t.Errorf("%v: exit code %d, %s%s", args, code, out, faults)
			}
		}
	}
	for _, args := range [][]string{{"help"}, {"help", "keys"}, {"keys", "help"}, {"keys", "help", "sign"}, {"clickhouse"}} {
		if out, faults, code := inProcess(t, args...); code != exitOK || faults != "" || !strings.Contains(out, "USAGE") {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, faults)
		}
	}
}

// What a machine may want to read, it can have as JSON.
func TestAnswersInJSON(t *testing.T) {
	config, dir, vkey := auditLog(t)
	out := filepath.Join(t.TempDir(), "town")
	_, watched, _ := runTillsyn(t, "--config", config, "config", "watched")
	for _, c := range []struct {
		args []string
		want map[string]any
	}{
		{[]string{"config", "watched"}, map[string]any{"digest": watchedDigest(watched)}},
		{[]string{"audit", "key"}, map[string]any{"deployment": "kommun.example", "key": vkey}},
		{[]string{"audit", "prove", "1/2"}, map[string]any{"segment": 1.0, "index": 2.0}},
		{[]string{"keys", "init", "--tenant", "norrbo"}, map[string]any{"tenant": "norrbo", "deployment": "kommun.example"}},
		{[]string{"generate", "--out", out, "--lines", "20", "--people", "500"}, map[string]any{"folder": out, "lines": 20.0, "formats": []any{"squid_native"}}},
	} {
		code, text, faults := runTillsyn(t, slices.Concat([]string{"--config", config}, c.args, []string{"--json"})...)
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != exitOK || faults != "" {
			t.Errorf("%v: exit code %d, %s%s: %v", c.args, code, text, faults, err)
		}
		for key, want := range c.want {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%v: %s is %v, want %v", c.args, key, got[key], want)
			}
		}
		if proof, ok := got["proof"].(string); ok {
			path := filepath.Join(t.TempDir(), "proof")
			if err := os.WriteFile(path, []byte(proof), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out, faults := runTillsyn(t, "audit", "check-proof", path, "--key", vkey); code != exitOK {
				t.Errorf("the proof in JSON: %d %s%s", code, out, faults)
			}
		}
	}
	for _, args := range [][]string{{"generate", "--out", "-", "--json"}, {"audit", "prove", "--dir", dir, "--key", vkey, "--output", out, "--json", "1/2"}} {
		if code, text, faults := runTillsyn(t, args...); code != exitUsage || text != "" {
			t.Errorf("%v: exit code %d, %s%s", args, code, text, faults)
		}
	}
}
