package casework

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// What an active decision is about outlives the purge of its days, whole and under the same decision, until the case is closed;
// then nothing of it is left. Nobody else's rows outlive it.
func TestHoldOfADecision(t *testing.T) {
	db := newDatabase(t)
	h := newHouse(t, db)
	ctx := t.Context()
	holds := vault.HoldRegister{DB: db.db, Log: h.log, Lock: h.path("purge.lock"), Wait: 10 * time.Second, Now: h.now}
	days := vault.ClassRetention{Days: 90, Decisions: []vault.RetentionDecision{{Tenant: tenant, Number: "KS 2026/17", From: "2026-01-01"}}}
	purger := &vault.Purger{
		Servers: []vault.PurgeServer{{Name: "embedded", DB: db.db}}, Log: h.log, Signer: get(seal.NewSigner("norrbo/purge")), Deployment: deployment,
		Retention: vault.Retention{Web: days, Mail: days, Rejects: days}, Config: vault.DefaultPurgeConfig(),
		Now:         func() time.Time { return h.now().AddDate(0, 0, 100) },
		AcceptClock: true, // only the purge lives a hundred days later
	}
	purger.Config.Lock, purger.Config.WithoutKafka, purger.Config.WithoutDisk = holds.Lock, true, true

	for _, table := range []string{"web_keys", "web_capsules"} {
		for _, sql := range []string{"CREATE TABLE backup_" + table + " AS " + table, "INSERT INTO backup_" + table + " SELECT * FROM " + table} {
			if err := db.db.Exec(ctx, sql, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := h.active(func(d *Decision) { d.Case, d.Lookups = "HR 2026/91", 5 })
	before, _, err := h.lookup(d)
	if err != nil || len(before) == 0 {
		t.Fatal(len(before), err)
	}
	if _, _, err := h.gate.PlaceHold(ctx, d.Case, h.signer("nobody"), holds); !errors.Is(err, ErrRefused) {
		t.Fatalf("somebody from outside placed a hold: %v", err)
	}
	hold, copies, err := h.gate.PlaceHold(ctx, d.Case, h.signer("chef"), holds)
	if err != nil || copies.Keys == 0 || copies.Capsules == 0 {
		t.Fatal(copies, err)
	}
	if _, _, err := h.gate.PlaceHold(ctx, d.Case, h.signer("chef"), holds); !errors.Is(err, ErrNoHold) {
		t.Fatalf("a second hold: %v", err)
	}
	if placed, released, err := h.gate.SettleHolds(ctx, holds); err != nil || placed+released != 0 {
		t.Fatal(placed, released, err)
	}
	if _, err := h.gate.ReleaseHolds(ctx, d.Case, h.signer("chef"), holds); !errors.Is(err, ErrNoHold) {
		t.Fatalf("the hold of an open case was released: %v", err)
	}
	h.pass(time.Minute)
	report, err := purger.Run(ctx)
	if err != nil || len(report.Certificates) != 1 || report.Certificates[0].Holds[0].Hold != hold.ID {
		t.Fatalf("%+v %v", report.Certificates, err)
	}
	after, _, err := h.lookup(d)
	if err != nil || !slices.Equal(linesOf(after), linesOf(before)) {
		t.Fatalf("%d rows before the purge, %d after: %v", len(before), len(after), err)
	}
	// Somebody puts a backup back: nobody gets to see it.
	for _, table := range []string{"web_keys", "web_capsules"} {
		if err := db.db.Exec(ctx, "INSERT INTO "+table+" SELECT * FROM backup_"+table, nil); err != nil {
			t.Fatal(err)
		}
	}
	other := h.active(func(d *Decision) {
		d.Case, d.Scope.Subject, d.Scope.Names = "HR 2026/92", "bo.ek", []string{}
	})
	if rows, _, err := h.lookup(other); err != nil || len(rows) != 0 {
		t.Fatalf("%d rows of somebody who is not held: %v", len(rows), err)
	}
	if again, _, err := h.lookup(d); err != nil || !slices.Equal(linesOf(again), linesOf(before)) {
		t.Fatalf("%d rows before, %d after somebody put a backup back: %v", len(before), len(again), err)
	}
	// As before every purge: what the other case asks for would be held, if it were not purged; nothing of the backup is taken for it.
	if placed, released, err := h.gate.SettleHolds(ctx, holds); err != nil || placed != 0 || released != 0 {
		t.Fatal(placed, released, err)
	}
	if gone, err := h.gate.Gone(ctx, vault.HoldByDecision, other.Case); err != nil || !gone {
		t.Fatal(gone, err)
	}
	purger.Needless = map[string]bool{digestOf(other).String(): true}
	if rows, _, err := h.lookup(other); err != nil || len(rows) != 0 {
		t.Fatalf("%d rows of a backup came with a hold: %v", len(rows), err)
	}
	if _, err := purger.Run(ctx); !errors.Is(err, vault.ErrRestored) {
		t.Fatalf("a backup that was put back goes unnoticed: %v", err)
	}
	if report, err = purger.Run(ctx); err != nil || len(report.Certificates) != 1 || !report.Certificates[0].Removed[0].Again {
		t.Fatalf("%+v %v", report.Certificates, err)
	}
	if _, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "Ingen åtgärd." }); err != nil {
		t.Fatal(err)
	}
	if placed, released, err := h.gate.SettleHolds(ctx, holds); err != nil || placed != 0 || released != 1 {
		t.Fatalf("of a case that is closed and one that is held: placed %d, released %d, %v", placed, released, err)
	}
	if list, err := h.gate.ReleaseHolds(ctx, d.Case, h.signer("chef"), holds); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
	if report, err = purger.Run(ctx); err != nil || len(report.Certificates) != 1 || report.Certificates[0].Removed[0].Class != vault.ClassHeld {
		t.Fatalf("%+v %v", report.Certificates, err)
	}
	if list := get(holds.List(ctx)); len(list) != 1 || list[0].InForce() || list[0].Copies != (vault.HoldCopies{}) || list[0].Rows != 0 {
		t.Fatalf("%+v", list)
	}
}
