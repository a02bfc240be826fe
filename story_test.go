package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// typed runs a command line with something on standard input.
func typed(t testing.TB, stdin string, args ...string) (out, faults string, code int) {
	t.Helper()
	app := newApp()
	var o, e bytes.Buffer
	app.Writer, app.ErrWriter, app.Reader = &o, &e, strings.NewReader(stdin)
	code = run(t.Context(), app, append([]string{"tillsyn"}, args...))
	return o.String(), e.String(), code
}

// The first thing that a newcomer does, and what it tells to do next.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	var out, faults bytes.Buffer
	o := demoOptions{dir: dir, lines: 30_000, people: 600, seed: 1, once: true, now: time.Now}
	if err := runDemo(t.Context(), &out, &faults, o); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &faults)
	}
	for _, want := range []string{"Kafka runs on", "30000 lines", "all of them are in", "Web use by category", "press", "Web use by unit", "Web use by hour", "█", "report web --by domain"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not say %q:\n%s", want, &out)
		}
	}
	config := filepath.Join(dir, defaultConfigFile)
	if text, err := os.ReadFile(config); err != nil || bytes.Contains(text, []byte(": var/")) {
		t.Errorf("the demo leaves something beside its folder: %v\n%s", err, text)
	}
	from := time.Now().AddDate(0, 0, -8).Format(time.DateOnly)
	if got, faults, code := inProcess(t, "--config", config, "config", "check"); code != exitOK {
		t.Errorf("the demo's configuration: %d %s%s", code, got, faults)
	}

	// Every breakdown, in every format.
	for _, by := range []string{"hour", "day", "unit", "category", "domain", "country"} {
		got, faults, code := inProcess(t, "--config", config, "report", "web", "--from", from, "--by", by, "--format", "csv")
		if code != exitOK {
			t.Fatalf("report by %s: %d %s", by, code, faults)
		}
		rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatalf("report by %s: %v\n%s", by, err, got)
		}
		got, _, _ = inProcess(t, "--config", config, "report", "web", "--from", from, "--by", by, "--json")
		var list []map[string]any
		if err := json.Unmarshal([]byte(got), &list); err != nil || len(list) != len(rows)-1 {
			t.Errorf("report by %s: %d rows as JSON, %d as CSV: %v", by, len(list), len(rows)-1, err)
		}
		for _, r := range list {
			if r["people"].(float64) < 10 {
				t.Errorf("report by %s shows %v", by, r)
			}
		}
	}
	if got, _, code := inProcess(t, "--config", config, "report", "mail", "--from", from); code != exitOK || !strings.Contains(got, "No rows") {
		t.Errorf("report mail without mail: %d %s", code, got)
	}

	// What it tells to do next can be done, the case and all.
	commands := 0
	for line := range strings.Lines(out.String()) {
		line, ok := strings.CutPrefix(line, "  tillsyn ")
		if !ok || strings.Contains(line, "UNIT") || strings.Contains(line, "clickhouse shell") {
			continue
		}
		var words []string
		for i, part := range strings.Split(strings.TrimSpace(line), `"`) {
			if i%2 == 1 {
				words = append(words, part)
			} else {
				words = append(words, strings.Fields(part)...)
			}
		}
		got, faults, code := typed(t, "y\n", words...)
		if code != exitOK {
			t.Fatalf("%s%d %s%s", line, code, got, faults)
		}
		if strings.Contains(line, " lookup --identity") && !strings.Contains(got, "casinohajen.example") && !strings.Contains(got, "svenskaspel.se") && !strings.Contains(got, "bet365.com") {
			t.Errorf("the lookup does not show what was planted:\n%s", got)
		}
		commands++
	}
	if commands != 10 {
		t.Errorf("%d commands were tried", commands)
	}

	// A second demo empties the folder of the first, and no other.
	if err := os.Remove(filepath.Join(dir, demoMarker)); err != nil {
		t.Fatal(err)
	}
	if err := runDemo(t.Context(), &out, &faults, o); exitCode(err) != exitUsage {
		t.Error("a folder that is no demo's:", err)
	}
}

// Importing a file counts its lines once, whatever it is called when it comes again.
func TestImportStory(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "tillsyn.yaml")
	if err := os.WriteFile(config, []byte("log: {level: warn}\nresolve:\n  tenants: [{name: norrbo}]\nstatistics: {minimum_people: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-24 * time.Hour)
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "%d.123     12 10.1.2.%d TCP_MISS/200 500 GET http://www.example.org/secret/path?q=%d person%d HIER_DIRECT/192.0.2.1 text/html\n",
			at.Unix(), i%8, i, i%8)
	}
	text.WriteString("not a line of squid\n")
	log := filepath.Join(dir, "access.log")
	if err := os.WriteFile(log, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(log, old, old); err != nil {
		t.Fatal(err)
	}
	first := func(files ...string) imported {
		t.Helper()
		out, faults, code := typed(t, text.String(), append([]string{"--config", config, "import", "--format", "squid_native", "--json"}, files...)...)
		var list []imported
		if err := json.Unmarshal([]byte(out), &list); code != exitOK || err != nil || len(list) != len(files) {
			t.Fatalf("%d %v %s%s", code, err, out, faults)
		}
		return list[0]
	}
	if got := first(log); got.Events != 40 || got.Rejects != 1 || got.Reasons["foreign_line"] != 1 {
		t.Errorf("%+v", got)
	}
	other := filepath.Join(dir, "renamed")
	if err := os.Rename(log, other); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{other, "-"} {
		if got := first(again); got.Events+got.Rejects+got.Skipped != 0 {
			t.Errorf("imported again as %s: %+v", again, got)
		}
	}
	out, _, _ := inProcess(t, "--config", config, "report", "web", "--by", "domain")
	if !strings.Contains(out, "example.org  uncategorised  8       8") || !strings.Contains(out, "  40  ") {
		t.Errorf("the report:\n%s", out)
	}
	if strings.Contains(out, "secret") || strings.Contains(out, "person") {
		t.Errorf("the report names what it must not:\n%s", out)
	}

	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no file":          {[]string{"import", "--format", "squid_native"}, exitUsage, "name the files"},
		"a missing file":   {[]string{"import", "--format", "squid_native", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		"no format":        {[]string{"import", other}, exitUsage, "log format"},
		"another tenant":   {[]string{"import", "--format", "squid_native", "--tenant", "söderå", other}, exitUsage, "tenant"},
		"a wrong day":      {[]string{"report", "web", "--from", "yesterday"}, exitUsage, "--from"},
		"days turned":      {[]string{"report", "web", "--from", "2026-11-02", "--to", "2026-11-01"}, exitUsage, "not before"},
		"no such grouping": {[]string{"report", "web", "--by", "person"}, exitUsage, "by one of"},
		"no such log":      {[]string{"report", "phone"}, exitUsage, ""},
		"nothing to read":  {[]string{"serve"}, exitUsage, "kafka.brokers"},
		"no server":        {[]string{"ingest"}, exitUsage, "clickhouse.addresses"},
		"no such command":  {[]string{"spy"}, exitUsage, "spy"},
	} {
		if _, faults, code := inProcess(t, append([]string{"--config", config}, c.args...)...); code != c.code || !strings.Contains(faults, c.says) {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, faults)
		}
	}
}

// A floor below five is not to be had.
func TestFloorCannotBeConfiguredAway(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Statistics.MinimumPeople = 4
	if err := cfg.Validate(); err == nil {
		t.Error("four people are enough")
	}
	if err := runReportWeb(context.Background(), &bytes.Buffer{}, cfg, reportOptions{format: "table"}); err == nil {
		t.Error("four people are enough for a report")
	}
}
