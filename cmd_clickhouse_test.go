package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

// clickhouseCLI runs a command line as main does and answers its exit code and what it wrote.
func clickhouseCLI(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, faults bytes.Buffer
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(stdin), &out, &faults
	code = run(t.Context(), app, append([]string{"tillsyn", "clickhouse"}, args...))
	return code, out.String(), faults.String()
}

func TestClickhouse(t *testing.T) {
	cfg := enginetest.Config(t, map[string]engine.User{"query": {Grants: []string{"GRANT SELECT ON system.one"}}})
	dir := "--data-dir=" + cfg.DataDir

	for _, args := range [][]string{{"url", dir}, {"shell", dir, "-q", "SELECT 1"}, {"url", "--data-dir=" + filepath.Join(cfg.DataDir, "nothing")}} {
		if code, out, faults := clickhouseCLI(t, "", args...); code != exitFault || out != "" || !strings.Contains(faults, "no engine is running") {
			t.Errorf("%s without an engine: %d %q %q", args[0], code, out, faults)
		}
	}

	e := enginetest.Start(t, cfg)
	if err := engine.Query(t.Context(), e.HTTPAddress(), engine.Owner, ownerPassword(e), "CREATE DATABASE tillsyn", nil); err != nil {
		t.Fatal(err)
	}
	_, password := e.Credentials("query")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"url", dir}, "clickhouse://tillsyn@" + e.Address() + "/tillsyn"},
		{[]string{"url", dir, "--user=query", "--show-password"}, "clickhouse://query:" + url.QueryEscape(password) + "@" + e.Address() + "/tillsyn"},
		{[]string{"url", dir, "--http", "--user", "query"}, "http://query@" + e.HTTPAddress() + "/?database=tillsyn"},
		{[]string{"shell", dir, "-f", "TSV", "-q", "SELECT 1; SELECT ';' -- a; b\n; SELECT currentUser()"}, "1\n;\ntillsyn"},
		{[]string{"shell", dir, "-f", "TSV", "-u", "query", "-q", "SELECT currentUser();"}, "query"},
		{[]string{"shell", dir, "-q", "SELECT 1 AS x FORMAT CSV"}, "1"},
	} {
		if code, out, faults := clickhouseCLI(t, "", c.args...); code != exitOK || strings.TrimSpace(out) != c.want || faults != "" {
			t.Errorf("%v: %d %q %q", c.args, code, out, faults)
		}
	}
	if _, out, _ := clickhouseCLI(t, "", "shell", dir, "-q", "SELECT 1 AS answer"); !strings.Contains(out, "┌─answer─┐") {
		t.Errorf("no table: %q", out)
	}
	if code, out, faults := clickhouseCLI(t, "SELECT 1 FORMAT TSV;\nSELECT wrong;\nSELECT 2 FORMAT TSV", "shell", dir); code != exitFault || out != "1\n" || !strings.Contains(faults, "UNKNOWN_IDENTIFIER") {
		t.Errorf("a fault in a script: %d %q %q", code, out, faults)
	}
	if code, _, faults := clickhouseCLI(t, "", "shell", dir, "--user=stranger", "-q", "SELECT 1"); code != exitUsage || !strings.Contains(faults, "stranger") {
		t.Errorf("a stranger: %d %q", code, faults)
	}
	for _, args := range [][]string{{"url", dir, "x"}, {"shell", dir, "SELECT 1"}, {"shell", "--wrong"}} {
		if code, _, _ := clickhouseCLI(t, "", args...); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}

	var out, faults bytes.Buffer
	in := strings.NewReader("SELECT\n 1;\n\nSELECT wrong;\nSELECT 2;\nexit\nSELECT 3;\n")
	if err := runClickhouseShell(t.Context(), in, &out, &faults, clickhouseShellOptions{dataDir: cfg.DataDir, user: "query", format: "TSV", prompt: true}); err != nil {
		t.Error(err)
	}
	if out.String() != "query>      > 1\nquery> query> query> 2\nquery> " || !strings.Contains(faults.String(), "UNKNOWN_IDENTIFIER") {
		t.Errorf("at the prompt: %q %q", out.String(), faults.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runClickhouseShell(ctx, strings.NewReader("SELECT 1"), &out, &faults, clickhouseShellOptions{dataDir: cfg.DataDir, user: "query", prompt: true}); err != nil {
		t.Error("a statement without its end, at the prompt:", err)
	}
}

func ownerPassword(e *engine.Engine) string {
	_, password := e.Credentials(engine.Owner)
	return password
}

// TestClickhouseOfTheConfiguration uses a database of another name than the default, and signs in by role.
func TestClickhouseOfTheConfiguration(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Engine.DataDir, cfg.ClickHouse.Database = enginetest.Config(t, nil).DataDir, "kommun"
	e := embedded(t, cfg)
	t.Chdir(t.TempDir())
	text, err := dumpConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(defaultConfigFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(flags ...string) []string { return append([]string{"shell", "-f", "TSV"}, flags...) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{shell("-q", "SELECT count() FROM web_hourly"), exitOK, "0"},
		{shell("-q", "EXISTS TABLE ledger"), exitOK, "1"},
		{shell("-q", "SELECT currentDatabase(), currentUser()", "--user", "query"), exitOK, "kommun\ttillsyn_query"},
		{shell("-q", "SELECT currentUser()", "--user", "tillsyn_purge"), exitOK, "tillsyn_purge"},
		{shell("-q", "SELECT count() FROM web_guest_volume(from = '2026-11-01', to = '2026-11-02', tenant = '')", "--user", "query"), exitOK, "0"},
		{shell("-q", "SELECT currentDatabase()", "--database", "default"), exitOK, "default"},
		{shell("-q", "SELECT 1", "--user", "nobody"), exitUsage, `no user "nobody"; it has one for each of owner, dashboards, ingest, purge, query`},
		{[]string{"url", "--user", "query"}, exitOK, "clickhouse://tillsyn_query@" + e.Address() + "/kommun"},
		{[]string{"url", "--http"}, exitOK, "http://tillsyn@" + e.HTTPAddress() + "/?database=kommun"},
		{[]string{"url", "--json"}, exitOK, `"database": "kommun"`},
		{[]string{"bogus"}, exitUsage, `tillsyn: clickhouse has no command "bogus"; see 'tillsyn clickhouse --help'`},
	} {
		if code, out, faults := clickhouseCLI(t, "", c.args...); code != c.code || !strings.Contains(out+faults, c.want) {
			t.Errorf("%v: %d %q %q", c.args, code, out, faults)
		}
	}
	if err := os.WriteFile(defaultConfigFile, []byte("clickhouse: {addresses: ['db.example:9000'], username: a}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"url"}, shell("-q", "SELECT 1")} {
		if code, _, faults := clickhouseCLI(t, "", args...); code != exitUsage || !strings.Contains(faults, "nothing is embedded") {
			t.Errorf("%v with a server: %d %q", args, code, faults)
		}
	}
}

func TestSplitStatements(t *testing.T) {
	for text, want := range map[string][]string{
		"":                          {""},
		"a":                         {"a"},
		"a;":                        {"a", ""},
		" a ; ; b":                  {"a", " b"},
		`SELECT 'a;\';b';c`:         {`SELECT 'a;\';b'`, "c"},
		"SELECT \"a;\", `b;`;":      {"SELECT \"a;\", `b;`", ""},
		"a -- b;\n;":                {"a -- b;", ""},
		"a /* b; */ c;/*;":          {"a /* b; */ c", "/*;"},
		"'":                         {"'"},
		`'\`:                        {`'\`},
		"--":                        {"--"},
		"/*":                        {"/*"},
		"SELECT 1;\nSELECT 'b\n;":   {"SELECT 1", "\nSELECT 'b\n;"},
		"INSERT INTO a VALUES (1);": {"INSERT INTO a VALUES (1)", ""},
	} {
		statements, rest := splitStatements(text)
		if got := append(statements, rest); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzSplitStatements(f *testing.F) {
	f.Add("a;'b;';--c;\n/*;*/")
	f.Fuzz(func(t *testing.T, text string) {
		statements, rest := splitStatements(text)
		n := len(rest)
		for _, s := range statements {
			n += len(s) + 1
		}
		if n > len(text) || !strings.HasSuffix(text, rest) {
			t.Errorf("%q: %q, %q", text, statements, rest)
		}
	})
}
