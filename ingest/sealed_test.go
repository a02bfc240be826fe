package ingest

import (
	"testing"
	"time"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/synthetic"
	"tillsyn/internal/vault"
)

// tenants are the names of the tenants of every town.
func tenants() (names []string) {
	for _, t := range synthetic.Tenants() {
		names = append(names, t.Name)
	}
	return names
}

// account is what must be in the vault when all lines are in.
func (w *town) account() *ingesttest.Account {
	twin, err := synthetic.New(w.Config())
	if err != nil {
		panic(err)
	}
	a := ingesttest.NewAccount()
	for {
		e, ok := twin.NextEvent()
		if !ok {
			return a
		}
		if text, ok := ingesttest.TruthOf(e); ok {
			a.Add(text, 1)
		}
	}
}

// compareVault fails the test unless every event of the account is in the vault, once, and no other.
func compareVault(t *testing.T, db *clickhouse.DB, roles *ingesttest.Roles, a *ingesttest.Account) ingesttest.Opened {
	t.Helper()
	want, shown := a.Events(), 0
	sum := roles.OpenAll(t, db, func(e *vault.Event) {
		text := ingesttest.Describe(e)
		a.Add(text, -1)
		if lost, extra := a.Rest(); extra > 0 && shown < 3 && lost+extra > 0 {
			shown++
			t.Logf("not in the truth: %s", text)
		}
	})
	if lost, extra := a.Rest(); lost+extra > 0 || sum.Events != want {
		t.Errorf("%d events are in the vault, %d must be: %d are missing, %d are too many", sum.Events, want, lost, extra)
	}
	return sum
}

func TestVaultEqualsTheTruth(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 7, People: 700, From: "2026-10-24", Days: 2, Lines: 40_000, Format: "squid_native", Shards: 2, Bad: 0.002, Latin1: 0.2})
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	roles := ingesttest.NewRoles(t)
	in := w.ingester(t, store(t, db, func() time.Time { return w.now }), Limits{Events: 9000, Grains: 900_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
	in.dep.Vault = roles.Writer(t, in.dep.Now, tenants()...)
	for _, p := range w.partitions() {
		if _, err := in.Once(t.Context(), p, w.source, nil); err != nil {
			t.Fatal(err)
		}
	}
	truth := w.Truth()
	compareTruth(t, db, truth)
	t.Logf("%+v", compareVault(t, db, roles, w.account()))
}
