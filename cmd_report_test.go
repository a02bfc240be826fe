package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReportSaysWhenThereAreMoreRows asks for more rows than the default number, in every format, and wrongly.
func TestReportSaysWhenThereAreMoreRows(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "tillsyn.yaml")
	if err := os.WriteFile(config, []byte("log: {level: error}\nresolve:\n  tenants: [{name: norrbo}, {name: hedemora}]\nstatistics: {minimum_people: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hours, people = 60, 6
	now := time.Now()
	var text strings.Builder
	for hour := range hours { // each to a domain of its own
		for person := range people {
			fmt.Fprintf(&text, "%d.123     12 10.1.2.3 TCP_MISS/200 500 GET http://www.d%d.example/ person%d HIER_DIRECT/192.0.2.1 text/html\n",
				now.Add(-time.Duration(hour)*time.Hour).Unix(), hour, person)
		}
	}
	if out, faults, code := typed(t, text.String(), "--config", config, "import", "--format", "squid_native", "--tenant", "norrbo", "-"); code != exitOK {
		t.Fatal(code, out, faults)
	}
	from := now.AddDate(0, 0, -4).Format(time.DateOnly)
	const more = "there are more rows than these %d: ask for them with --limit"
	for _, c := range []struct {
		args []string
		rows int
		more bool
	}{
		{[]string{"--by", "domain"}, 50, true},
		{[]string{"--by", "domain", "--limit", "59"}, 59, true},
		{[]string{"--by", "domain", "--limit", "60"}, 60, false},
		{[]string{"--by", "domain", "--limit", "18446744073709551615"}, 60, false},
		{[]string{"--by", "hour"}, 60, false},
		{[]string{"--by", "hour", "--limit", "7"}, 7, true},
		{[]string{"--by", "unit", "--tenant", "norrbo", "--population", "unknown"}, 1, false},
	} {
		for _, format := range []string{"table", "csv", "json"} {
			out, faults, code := inProcess(t, append([]string{"--config", config, "report", "web", "--from", from, "--format", format}, c.args...)...)
			rows := strings.Count(out, "\n") - 1
			if format == "json" {
				var list []any
				if err := json.Unmarshal([]byte(out), &list); err != nil {
					t.Error(err)
				}
				rows = len(list)
			}
			want := ""
			if c.more {
				want = fmt.Sprintf("tillsyn: "+more+"\n", c.rows)
			}
			if code != exitOK || rows != c.rows || faults != want {
				t.Errorf("%v as %s: exit code %d, %d rows, want %d: %s", c.args, format, code, rows, c.rows, faults)
			}
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"web", "--tenant", "nope"}, `--tenant: "nope" is not one of the configured tenants (resolve.tenants): norrbo, hedemora`},
		{[]string{"web", "--population", "bogus"}, `--population: "bogus" is not one of staff, elected, pupil, unknown`},
		{[]string{"mail", "--population", "guest"}, "web_guest_volume"},
		{[]string{"web", "--by", "bogus"}, `by one of hour, day, unit, category, domain, country, not by "bogus"`},
		{[]string{"mail", "--by", "country"}, `by one of hour, day, unit, direction, category, domain, not by "country"`},
		{[]string{"web", "--json", "--format", "csv"}, "--json contradicts --format csv"},
		{[]string{"web", "--limit", "0"}, "more than 0"},
	} {
		if out, faults, code := inProcess(t, append([]string{"--config", config, "report"}, c.args...)...); code != exitUsage || out != "" || !strings.Contains(faults, c.says) {
			t.Errorf("%v: exit code %d, %s%s", c.args, code, out, faults)
		}
	}
	if _, faults, code := inProcess(t, "--config", config, "report", "web", "--json", "--format", "json"); code != exitOK {
		t.Errorf("JSON twice: %d %s", code, faults)
	}
}
