package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

// The purge from the command line: refused without a decision, planned, run, certified, verified; and holds that nobody has.
func TestPurgeCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tillsyn.yaml")
	write := func(decisions string) {
		t.Helper()
		text := "engine:\n  data_dir: engine\n  memory_limit: 1073741824\naudit:\n  directory: audit\n  key: audit.key\nkeys:\n  dir: keys\n  gate: gate.key\nvault:\n  lookup_key: lookup.key\ncasework:\n  dir: cases\nretention:\n  web:\n    decisions: " + decisions +
			"\n  purge:\n    without_kafka: true\n    lock: purge.lock\n    key: purge.key\n    certificates: certificates\n    backup_days: 30\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := runTillsyn(t, append([]string{"--config", path}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	write("[]")
	run(exitUsage, "purge", "--run", "--verify")
	run(exitUsage, "purge", "--accept-clock")
	run(exitUsage, "purge", "now")
	run(exitFault, "purge") // there is no schema yet
	run(exitOK, "migrate")
	if out := run(exitOK, "purge"); !strings.Contains(out, "Nothing is past its time") {
		t.Error(out)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().UTC().AddDate(0, 0, -90).Format(time.DateOnly)
	db, err := openDatabase(t.Context(), cfg, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO web_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate) SELECT {day:Date}, 'norrbo', 'staff', 'hamn', sipHash128(number), sipHash128('k', number), randomString(80, 1), randomString(80, 2), randomString(80, 3), randomString(80, 4) FROM numbers(20)`,
		`INSERT INTO web_capsules SELECT {day:Date}, 0, 'norrbo', 'hamn', sipHash128(number), sipHash128('k', number), toDateTime({day:Date}), toDateTime({day:Date}), 1, randomString(90), 0, toDateTime(0, 'UTC') FROM numbers(20)`,
	} {
		if err := db.Exec(t.Context(), sql, clickhouse.Params{"day": old}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if out := run(exitRefused, "purge"); !strings.Contains(out, `tenant "norrbo"`) || !strings.Contains(out, "retention.web.decisions") {
		t.Error(out)
	}
	run(exitRefused, "purge", "--run")
	if out := run(exitFound, "purge", "--verify"); !strings.Contains(out, "web_capsules") || !strings.Contains(out, old) {
		t.Error(out)
	}
	write(`[{tenant: norrbo, number: "KS 2026/17", from: 2026-01-01}]`)
	if out := run(exitOK, "purge", "--dry-run"); !regexp.MustCompile(`web +` + old + ` +web_keys +20 .* drop +0 +older than 90 days`).MatchString(out) {
		t.Error(out)
	}
	var answer struct {
		Certificates []struct {
			Entry  string
			Totals struct{ Rows, Keys int }
			Disk   struct{ Examined bool }
		}
		Files []string
	}
	if err := json.Unmarshal([]byte(run(exitOK, "purge", "--run", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Certificates) != 1 || answer.Certificates[0].Totals.Rows != 40 || answer.Certificates[0].Totals.Keys != 20 || !answer.Certificates[0].Disk.Examined || len(answer.Files) != 4 {
		t.Fatalf("%+v", answer)
	}
	for suffix, word := range map[string]string{".note": "tillsyn purge certificate v1", ".sv.html": "Gallringsbevis", ".en.html": "Purge certificate"} {
		found := false
		for _, file := range answer.Files {
			if strings.HasSuffix(file, suffix) {
				text, err := os.ReadFile(file)
				found = err == nil && strings.Contains(string(text), word) && strings.Contains(string(text), "KS 2026/17")
			}
		}
		if !found {
			t.Errorf("no certificate ends in %s and has %q", suffix, word)
		}
	}
	run(exitOK, "purge", "--verify")
	if out := run(exitOK, "purge", "--run"); !strings.Contains(out, "Nothing was certified") {
		t.Error(out)
	}
	run(exitOK, "audit", "verify")
	if out := run(exitOK, "audit", "list"); !strings.Contains(out, "purge.certificate") || !strings.Contains(out, "purge.failed") {
		t.Error(out)
	}
	run(exitOK, "keys", "init", "--tenant", "norrbo") // a ceremony that is under way stops no purge
	run(exitOK, "purge", "--run")
	if out := run(exitOK, "hold", "list"); !strings.Contains(out, "Nothing is held") {
		t.Error(out)
	}
	if out := run(exitOK, "hold", "list", "--json"); !strings.Contains(out, `"holds": []`) {
		t.Error(out)
	}
}
