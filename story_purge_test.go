package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/vault"
)

// How it ends: what an open case needs outlives the purge, nothing else of those days does; when the case is closed the next purge
// takes that too, and the same question finds nothing. The record tells it all, and verifies.
func TestWhatAnOpenCaseHoldsIsAllThatIsLeft(t *testing.T) {
	w := newCourtTown(t)
	investigator := w.member("utredare")
	subject := w.subjects[0]
	want := w.within(subject, w.from, w.to, false)
	approved := func(number string) {
		t.Helper()
		w.must(exitOK, w.draft(number, subject), args("decision", "request", w.as("hr.b"), "-")...)
		for _, who := range []string{"hr.a", "security.a", "manager.a"} {
			w.must(exitOK, "", args("decision", "approve", w.as(who), "--yes", number)...)
		}
		w.must(exitOK, "Vision, ombud Testsson\n", args("decision", "notify", w.as("hr.a"), "--told", "-", number)...)
	}
	lookup := func(number string) []string {
		t.Helper()
		rows, _ := w.must(exitOK, "", args("lookup", investigator, "--json", number)...)
		return w.rowsOf(rows)
	}
	approved("KS 2026/0060")
	if got := lookup("KS 2026/0060"); len(want) < 20 || !slices.Equal(got, want) {
		t.Fatalf("before any purge the lookup has %d rows, the truth %d", len(got), len(want))
	}

	// The days of the case are past their time from now on.
	for _, class := range []*vault.ClassRetention{&w.cfg.Retention.Web, &w.cfg.Retention.Mail} {
		class.Days = 2
		class.Decisions = nil
		for _, tenant := range w.cfg.Tenants() {
			class.Decisions = append(class.Decisions, vault.RetentionDecision{Tenant: tenant, Number: "KS 2026/17", From: "2026-01-01"})
		}
	}
	w.cfg.Ingest.Sources, w.cfg.Kafka.Brokers = nil, nil // the logs came from a file
	w.cfg.Retention.Purge.WithoutKafka, w.cfg.Retention.Purge.BackupDays = true, new(30)
	text, err := dumpConfig(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := w.must(exitFound, "", "purge", "--verify"); !strings.Contains(out, w.from.String()) {
		t.Error(out)
	}
	w.must(exitOK, "", "purge", "--run")
	w.must(exitOK, "", "purge", "--verify")
	if got := lookup("KS 2026/0060"); !slices.Equal(got, want) {
		t.Errorf("after the purge the open case has %d rows, the truth %d", len(got), len(want))
	}
	if out, _ := w.must(exitOK, "", "hold", "list"); !strings.Contains(out, "KS 2026/0060") || strings.Contains(out, subject) {
		t.Error(out)
	}

	// Nobody else is left: not even three approvals open what is gone.
	other := w.subjects[1]
	number := "KS 2026/0061"
	w.must(exitOK, w.draft(number, other), args("decision", "request", w.as("hr.b"), "-")...)
	for _, who := range []string{"hr.a", "security.a", "manager.a"} {
		w.must(exitOK, "", args("decision", "approve", w.as(who), "--yes", number)...)
	}
	if got := lookup(number); len(got) != 0 {
		t.Errorf("%d rows of somebody whom no case held are left", len(got))
	}

	w.must(exitOK, "samtal är fört\n", args("decision", "close", investigator, "--result", "-", "KS 2026/0060")...)
	w.must(exitOK, "", "purge", "--run")
	var list struct {
		Holds []struct {
			Case, Released string
			Copies         struct{ Keys, Capsules int }
		}
	}
	out, _ := w.must(exitOK, "", "hold", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	for _, h := range list.Holds {
		if h.Case == "KS 2026/0060" && (h.Released == "" || h.Copies.Keys+h.Copies.Capsules > 0) {
			t.Errorf("the hold of a closed case: %+v", h)
		}
	}
	approved("KS 2026/0062")
	if got := lookup("KS 2026/0062"); len(got) != 0 {
		t.Errorf("after the case was closed and purged %d rows are left", len(got))
	}
	w.must(exitOK, "", "audit", "verify")
	record, _ := w.must(exitOK, "", "audit", "list")
	for _, kind := range []string{"decision.approved", "lookup.result", "hold.placed", "hold.released", "purge.certificate", "decision.closed"} {
		if !strings.Contains(record, kind) {
			t.Errorf("the record does not tell %s", kind)
		}
	}
	if strings.Contains(record, subject) || strings.Contains(record, other) {
		t.Error("the record names a watched person")
	}
}

// A purge that finds no gate goes by the record: an approved decision without its hold stops it, one with its hold does not, and
// what is held is there afterwards. A gate that does not know the decision is no better than none.
func TestAPurgeWithoutTheGateRemovesNothingThatIsAskedFor(t *testing.T) {
	w := newCourtTown(t)
	investigator := w.member("utredare")
	subject, number := w.subjects[0], "KS 2026/0070"
	want := w.within(subject, w.from, w.to, false)
	for _, class := range []*vault.ClassRetention{&w.cfg.Retention.Web, &w.cfg.Retention.Mail} {
		class.Days = 2
		class.Decisions = nil
		for _, tenant := range w.cfg.Tenants() {
			class.Decisions = append(class.Decisions, vault.RetentionDecision{Tenant: tenant, Number: "KS 2026/17", From: "2026-01-01"})
		}
	}
	w.cfg.Ingest.Sources, w.cfg.Kafka.Brokers = nil, nil
	w.cfg.Retention.Purge.WithoutKafka = true
	write := func(name string, change func(*Config)) string {
		t.Helper()
		cfg := w.cfg
		change(&cfg)
		text, err := dumpConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(w.file), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := w.file
	write(filepath.Base(whole), func(*Config) {})
	gateless := write("gateless.yaml", func(c *Config) { c.Keys.Gate = filepath.Join(w.dir, "elsewhere", "gate.key") })
	storeless := write("storeless.yaml", func(c *Config) { c.Casework.Dir = filepath.Join(w.dir, "elsewhere", "cases") })
	keyless := write("keyless.yaml", func(c *Config) { c.Vault.LookupKey = filepath.Join(w.dir, "elsewhere", "lookup.key") })
	refused := func(file, what string) {
		t.Helper()
		w.file = file
		if _, faults := w.must(exitRefused, "", "purge", "--run"); !strings.Contains(faults, number) || !strings.Contains(faults, what) {
			t.Error(faults)
		}
		w.must(exitFound, "", "purge", "--verify")
		w.file = whole
	}

	w.must(exitOK, w.draft(number, subject), args("decision", "request", w.as("hr.b"), "-")...)
	for _, who := range []string{"hr.a", "security.a", "manager.a"} {
		w.must(exitOK, "", args("decision", "approve", w.as(who), "--yes", number)...)
	}
	refused(gateless, "keys.gate names")
	refused(storeless, "casework.dir is")
	w.file = keyless
	if out, faults, code := inProcess(t, "--config", keyless, "purge", "--run"); code == exitOK {
		t.Error("without the lookup key nobody knows whose rows to hold:", out, faults)
	}
	w.must(exitFound, "", "purge", "--verify")

	// Daily, it says so and is not healthy.
	cfg, err := loadConfig(gateless)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Retention.Rejects.Decisions, cfg.HTTP.Listen = cfg.Retention.Web.Decisions, "127.0.0.1:0"
	ctx, stop := context.WithCancel(t.Context())
	var log lockedBuffer
	ended := make(chan error, 1)
	address := make(chan string, 1)
	go func() { ended <- runPurgeDaily(ctx, &log, cfg, func(a string) { address <- a }) }()
	at := <-address
	await(t, time.Minute, "the purge to fail", func() error {
		if text := get(t, at, "/metrics"); !strings.Contains(text, "tillsyn_purge_failures_total 1\n") {
			return errors.New("it has not failed yet")
		}
		return nil
	})
	stop()
	if err := <-ended; err != nil || !strings.Contains(log.String(), number) || !strings.Contains(log.String(), "keys.gate names") {
		t.Error(err, log.String())
	}

	w.file = whole
	w.must(exitOK, "", args("hold", "place", investigator, number)...)
	w.file = gateless
	w.must(exitOK, "", "purge", "--run")
	w.must(exitOK, "", "purge", "--verify")
	w.file = whole
	w.must(exitOK, "Vision, ombud Testsson\n", args("decision", "notify", w.as("hr.a"), "--told", "-", number)...)
	rows, _ := w.must(exitOK, "", args("lookup", investigator, "--json", number)...)
	if got := w.rowsOf(rows); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("after a purge without the gate the open case has %d rows, the truth %d", len(got), len(want))
	}
	w.must(exitOK, "samtal är fört\n", args("decision", "close", investigator, "--result", "-", number)...)
	w.file = gateless
	w.must(exitOK, "", "purge", "--run") // nothing is asked for, nothing is missed
}
