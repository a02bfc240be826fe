package casework

import (
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// purger purges everything that is there, a hundred days from now.
func (h *house) purger() *vault.Purger {
	days := vault.ClassRetention{Days: 90, Decisions: []vault.RetentionDecision{{Tenant: tenant, Number: "KS 2026/17", From: "2026-01-01"}}}
	p := &vault.Purger{
		Servers: []vault.PurgeServer{{Name: "embedded", DB: h.db.db}}, Log: h.log, Signer: get(seal.NewSigner("norrbo/purge")), Deployment: deployment,
		Retention: vault.Retention{Web: days, Mail: days, Rejects: days}, Config: vault.DefaultPurgeConfig(),
		Now:         func() time.Time { return h.now().AddDate(0, 0, 100) },
		AcceptClock: true, // only the purge lives a hundred days later
	}
	p.Config.Lock, p.Config.WithoutKafka, p.Config.WithoutDisk = h.path("purge.lock"), true, true
	return p
}

// onRecord are the figures of the last lookup on record.
func (h *house) figures() map[string]int64 {
	h.t.Helper()
	all := get(h.log.Entries(h.t.Context()))
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Kind == audit.LookupResult {
			return all[i].Counts
		}
	}
	h.t.Fatal("no lookup is on record")
	return nil
}

// A clean result means that nothing was hidden. Keys that a database administrator altered, moved or removed are counted, each
// kind of harm by its own name, in the result and on record.
func TestKeysThatAreHiddenAreCounted(t *testing.T) {
	db := newDatabase(t)
	h := newHouse(t, db)
	d := h.active(func(d *Decision) { d.Lookups = 20 })
	want := len(db.wanted(d.Scope))
	if rows, r, err := h.lookup(d); err != nil || len(rows) != want || !r.Whole() {
		t.Fatalf("before any harm: %d rows, %+v, %v", len(rows), r, err)
	}
	for _, name := range []string{"damaged", "keyless", "elsewhere", "purged"} {
		if n, ok := h.figures()[name]; !ok || n != 0 {
			t.Errorf("on record stands %s: %d, %v", name, n, ok)
		}
	}
	tag := func(day, name string) string {
		tagger := get(h.gate.p.Lookup.Tagger(get(seal.ParseDay(day))))
		return "tag = unhex('" + tagger.Tag(tenant, []byte(name)).Hex() + "')"
	}
	do := func(sql string) {
		t.Helper()
		if err := db.db.Exec(t.Context(), sql, nil); err != nil {
			t.Fatal(err)
		}
	}
	web, sync := tag("2026-11-17", "anna.berg"), " SETTINGS mutations_sync = 2"
	check := func(what string, lost int, want map[string]int64) {
		t.Helper()
		rows, r, err := h.lookup(d)
		if err != nil || r.Whole() || len(rows) != len(db.wanted(d.Scope))-lost {
			t.Errorf("%s: %d rows of %d, %+v, %v", what, len(rows), len(db.wanted(d.Scope)), r, err)
		}
		figures := h.figures()
		for _, name := range []string{"damaged", "keyless", "elsewhere", "purged", "unopened", "late"} {
			if figures[name] != want[name] {
				t.Errorf("%s: on record %s is %d, want %d", what, name, figures[name], want[name])
			}
		}
		if int64(r.Damaged) != want["damaged"] || int64(r.Keyless) != want["keyless"] || int64(r.Elsewhere) != want["elsewhere"] {
			t.Errorf("%s: %+v", what, r)
		}
	}
	const each = 12 + 4 // rows of a web day that no protection withholds
	do("ALTER TABLE web_keys UPDATE gate = concat(substring(gate, 1, 40), char(bitXor(reinterpretAsUInt8(substring(gate, 41, 1)), 1)), substring(gate, 42)) WHERE " + web + sync)
	check("a bit of the gate's share", each, map[string]int64{"damaged": 1})
	do("ALTER TABLE web_keys UPDATE population = 'elected' WHERE " + tag("2026-11-18", "anna.berg") + sync)
	check("another population", 2*each, map[string]int64{"damaged": 2})
	do("ALTER TABLE web_keys DELETE WHERE " + tag("2026-11-19", "anna.berg") + sync)
	check("a key that is gone", 3*each, map[string]int64{"damaged": 2, "keyless": 1})
	do("ALTER TABLE mail_keys DELETE WHERE " + tag("2026-11-19", "anna.berg@norrbo.se") + sync)
	check("two keys that are gone", 3*each+2, map[string]int64{"damaged": 2, "keyless": 2})

	// The same person in another population: others decide about that, but it is told that there is something.
	e := db.truth[0].event
	e.Time, e.Path = get(time.Parse(time.DateOnly, "2026-11-18")).Add(20*time.Hour).UnixMilli(), []byte("/som/politiker")
	db.insert(t, []planted{{person: "cia.dahl", population: "elected", unit: "Hamn", kind: Web, day: "2026-11-18", event: e}})
	other := h.active(func(d *Decision) { d.Case, d.Scope.Subject, d.Scope.Names = "KS 2", "cia.dahl", []string{} })
	if rows, r, err := h.lookup(other); err != nil || r.Elsewhere != 1 || r.Whole() || len(rows) != len(db.wanted(other.Scope)) {
		t.Errorf("%d rows, %+v, %v", len(rows), r, err)
	}
	if n := h.figures()["elsewhere"]; n != 1 {
		t.Errorf("on record elsewhere is %d", n)
	}
}

// Days that were purged before anybody held them are counted; those that the case held are not.
func TestPurgedDaysAreCounted(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	held := h.active(func(d *Decision) { d.Case, d.Lookups = "HR 1", 5 })
	if _, _, err := h.gate.PlaceHold(t.Context(), held.Case, h.signer("chef"), h.holds()); err != nil {
		t.Fatal(err)
	}
	h.pass(time.Minute)
	if _, err := h.purger().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, r, err := h.lookup(held); err != nil || !r.Whole() || len(rows) != len(h.db.wanted(held.Scope)) {
		t.Errorf("what is held: %d rows, %+v, %v", len(rows), r, err)
	}
	late := h.active(func(d *Decision) { d.Case, d.Scope.Subject, d.Scope.Names = "HR 2", "bo.ek", []string{} })
	rows, r, err := h.lookup(late)
	if err != nil || len(rows) > 0 || r.Purged != 6 || r.Whole() || h.figures()["purged"] != 6 {
		t.Errorf("what nobody held: %d rows, %+v, %v", len(rows), r, err)
	}
	// A hold that comes afterwards keeps nothing of them.
	if _, _, err := h.gate.SettleHolds(t.Context(), h.holds()); err != nil {
		t.Fatal(err)
	}
	if _, r, err := h.lookup(late); err != nil || r.Purged != 6 {
		t.Errorf("held too late: %+v, %v", r, err)
	}
	// Nor does anything tell of days whose tags can't be made any more, but that they can't.
	h.gate.p.Lookup = get(h.gate.p.Lookup.Forget(get(seal.ParseDay("2026-11-21"))))
	if rows, r, err := h.lookup(held); err != nil || !r.Whole() || len(rows) != len(h.db.wanted(held.Scope)) {
		t.Errorf("what is held, of forgotten days: %d rows, %+v, %v", len(rows), r, err)
	}
	third := h.request(func(d *Decision) { d.Case = "HR 3" })
	if n, err := h.gate.purgedDays(third, digestOf(third), nil, nil); err != nil || n != 6 {
		t.Errorf("forgotten, and on no record: %d, %v", n, err)
	}
}
