package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
)

func TestMigrateTheEmbeddedEngine(t *testing.T) {
	var o migrateOptions
	config := DefaultConfig()
	config.Engine.DataDir = filepath.Join(t.TempDir(), "engine")

	var out bytes.Buffer
	o.dryRun = true
	if err := runMigrate(t.Context(), &out, config, o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "would run") || !strings.Contains(out.String(), "CREATE TABLE IF NOT EXISTS web_hourly") {
		t.Errorf("the dry run says %s", &out)
	}
	o.dryRun = false
	for _, want := range []string{"now", "UTC"} { // the first run applies, the second only tells when
		out.Reset()
		if err := runMigrate(t.Context(), &out, config, o); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
			if !strings.HasSuffix(line, want) {
				t.Errorf("%q does not end in %q", line, want)
			}
		}
	}

	// An engine that runs already is used, not started again.
	cfg := enginetest.Config(t, nil)
	cfg.DataDir = config.Engine.DataDir
	enginetest.Start(t, cfg)
	o.json = true
	out.Reset()
	if err := runMigrate(t.Context(), &out, config, o); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Migrations []clickhouse.Step `json:"migrations"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || len(answer.Migrations) == 0 || answer.Migrations[0].Applied.IsZero() {
		t.Errorf("%s: %v", &out, err)
	}
}

func TestMigrateFlags(t *testing.T) {
	for _, args := range [][]string{
		{"migrate", "extra"}, {"migrate", "--no-such-flag"}, {"--config", "no-such-file", "migrate"},
	} {
		app := newApp()
		var out bytes.Buffer
		app.Writer, app.ErrWriter = &out, &out
		if code := run(t.Context(), app, append([]string{"tillsyn"}, args...)); code != exitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, &out)
		}
	}
}

// What only reads or plans makes no directory for data where there is none.
func TestReadingMakesNoDataDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"migrate", "--dry-run"}, exitOK, "would run"},
		{[]string{"migrate", "--dry-run", "--json"}, exitOK, `"name": "0001_statistics.sql"`},
		{[]string{"report", "web"}, exitFault, "run 'tillsyn migrate'"},
		{[]string{"gaps", "list"}, exitFault, "run 'tillsyn migrate'"},
		{[]string{"hold", "list"}, exitFault, "run 'tillsyn migrate'"},
		{[]string{"purge"}, exitFault, "run 'tillsyn migrate'"},
	} {
		if out, faults, code := inProcess(t, c.args...); code != c.code || !strings.Contains(out+faults, c.says) {
			t.Errorf("%v: exit code %d, %s%s", c.args, code, out, faults)
		}
		if _, err := os.Stat("var"); err == nil {
			t.Fatalf("%v made a directory", c.args)
		}
	}
}
