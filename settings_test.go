package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/ingest/category"
	"tillsyn/internal/audit"
	"tillsyn/internal/vault"
)

// A change of the floor, of retention or of what is watched is on record, once; what else changes is not.
func TestSettingsAreOnRecord(t *testing.T) {
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.Audit.Directory, cfg.Audit.Key = dir+"/audit", dir+"/audit.key"
	cfg.Retention.Web.Decisions = []vault.RetentionDecision{{Tenant: "norrbo", Number: "KS 2026/17", From: "2026-01-01"}}
	log, err := audit.Open(t.Context(), cfg.Audit, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	note := func(part string, cfg Config) []audit.Record {
		t.Helper()
		if err := noteSettings(t.Context(), log, part, cfg); err != nil {
			t.Fatal(err)
		}
		list, err := log.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(list, func(r audit.Record) bool { return r.Kind != audit.SettingsChanged })
	}
	if list := note("serve", cfg); len(list) != 1 || !strings.Contains(list[0].Body, "retention.web.decision: norrbo \"KS 2026/17\" from 2026-01-01\n") ||
		!strings.Contains(list[0].Body, "statistics.minimum_people: 10\n") {
		t.Fatalf("%d entries: %+v", len(list), list)
	}
	cfg.Log.Level = "debug"
	if list := note("serve", cfg); len(list) != 1 {
		t.Error("the same settings are on record again")
	}
	if list := note("purge", cfg); len(list) != 2 {
		t.Error("another part of tillsyn has no settings on record")
	}
	lower := cfg
	lower.Statistics.MinimumPeople = 5
	if list := note("serve", lower); len(list) != 3 || list[2].Document == list[0].Document || !strings.Contains(list[2].Body, "minimum_people: 5\n") {
		t.Errorf("a lower floor: %+v", list)
	}
	if list := note("serve", cfg); len(list) != 4 || list[3].Document != list[0].Document {
		t.Error("the floor of before is not on record as a change")
	}
	hostile := cfg
	hostile.Lists.Overrides = append(slices.Clone(hostile.Lists.Overrides), override("casino.example", "because\nstatistics.minimum_people: 99 \x1b[31m\u202e"))
	list := note("serve", hostile)
	if len(list) != 5 || strings.Contains(list[4].Body, "\nstatistics.minimum_people: 99") {
		t.Errorf("a reason makes lines of its own: %q", list[len(list)-1].Body)
	}
	for i := range 2000 {
		hostile.Lists.Overrides = append(hostile.Lists.Overrides, override("casino.example", fmt.Sprint("case ", i)))
	}
	if list := note("serve", hostile); len(list) != 6 || list[5].Body != "" || list[5].Counts["lines"] < 2000 {
		t.Error("more settings than an entry takes")
	}
}

func TestConfigWatched(t *testing.T) {
	var out strings.Builder
	app := newApp()
	app.Writer, app.ErrWriter = &out, io.Discard
	if code := run(t.Context(), app, []string{"tillsyn", "config", "watched"}); code != exitOK || !strings.Contains(out.String(), "retention.mail.days: 90\n") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

func override(domain, reason string) category.Override {
	return category.Override{Domain: domain, Category: "education", Reason: reason}
}
