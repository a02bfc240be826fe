package casework

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// Segments of the record are retired when their years are over; the gate goes on: registers of then are known, an open case is
// looked at, a hold that was placed then is released, and what was never on record is refused as before.
func TestGateAfterRetirement(t *testing.T) {
	db := newDatabase(t)
	h := &house{town: db.town, t: t, db: db, dir: t.TempDir(), clock: new(atomic.Int64)}
	h.clock.Store(noon().AddDate(-6, 0, 0).Unix())
	h.open()
	ctx := t.Context()
	for _, n := range h.town.notes {
		if _, err := h.log.Append(ctx, audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(n)}); err != nil {
			t.Fatal(err)
		}
	}
	retire := func(n int) {
		t.Helper()
		if err := h.log.Retire(ctx, "operator", n, "KS 2026/7"); err != nil {
			t.Fatal(err)
		}
		h.open() // as a process that has never read what is gone
	}
	get(h.log.Rotate(ctx, "operator"))
	h.clock.Store(noon().Unix())
	retire(1)

	d := h.active(nil)
	rows, _, err := h.lookup(d)
	if want := db.wanted(d.Scope); err != nil || len(want) == 0 || !slices.Equal(linesOf(rows), want) {
		t.Fatalf("%d rows, want %d: %v", len(rows), len(want), err)
	}
	holds := vault.HoldRegister{DB: db.db, Log: h.log, Lock: h.path("purge.lock"), Wait: 10 * time.Second, Now: h.now}
	hold, _, err := h.gate.PlaceHold(ctx, d.Case, h.signer("chef"), holds)
	if err != nil {
		t.Fatal(err)
	}
	get(h.log.Rotate(ctx, "operator"))
	h.pass(time.Hour)
	if rows, r, err := h.lookup(d); err != nil || r.Left != 0 || !slices.Equal(linesOf(rows), db.wanted(d.Scope)) {
		t.Fatalf("%d rows, %d lookups left: %v", len(rows), r.Left, err)
	}
	n := h.count(audit.AccessRefused)
	none, _, err := h.lookup(d)
	h.refused("a third lookup of two", none, err, n)

	h.clock.Store(noon().AddDate(6, 0, 0).Unix())
	retire(2)
	holds.Log = h.log
	if s := h.state(d); s.State != Expired || len(s.Approvals) != 3 || s.Lookups != 2 {
		t.Fatalf("%s, %d approvals, %d lookups: %s", s.State, len(s.Approvals), s.Lookups, s.Why)
	}
	if list := get(holds.List(ctx)); len(list) != 1 || list[0].ID != hold.ID || !list[0].InForce() || list[0].Case != d.Case {
		t.Fatalf("%+v", list)
	}
	if report := CheckRule(get(h.log.Entries(ctx))); len(report.Findings) > 0 || len(report.Cases) != 1 || report.Cases[0].Lookups != 2 {
		t.Errorf("%+v", report)
	}
	if _, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "Ingen åtgärd." }); err != nil {
		t.Fatal(err)
	}
	if list, err := h.gate.ReleaseHolds(ctx, d.Case, h.signer("chef"), holds); err != nil || len(list) != 1 || list[0].ID != hold.ID {
		t.Fatal(list, err)
	}
	h.request(func(d *Decision) {
		d.Case, d.Scope.From, d.Scope.To = "KS 2032/1", "2032-11-17", "2032-11-19"
	})

	// A register that is in the folder, and in no segment, carried or not.
	notes := h.town.notes
	defer func() { h.town.notes = notes }()
	text := h.town.text
	text.Number, text.Previous = 2, h.town.chain[0].Digest()
	slipped := get(seal.Sign(get(text.Encode()), h.signer("manager-1"), h.signer("hr-1"), h.signer("security-1")))
	h.town.notes = append(slices.Clone(notes), slipped)
	if _, err := h.gate.Chain(ctx, tenant); err == nil || !strings.Contains(err.Error(), "is not in the record") {
		t.Errorf("a register that is not on record: %v", err)
	}
}
