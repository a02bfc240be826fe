package vault_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

// Each row says under which register its key was sealed, by the ingester that has heard of the new one and by the one that has not;
// a hold's copy says the same.
func TestRowsNameTheirRegister(t *testing.T) {
	w := newTown(t)
	old, fresh := t.TempDir(), t.TempDir()
	first := w.roles.WriteRegister(t, old, tenant)
	if err := os.CopyFS(filepath.Join(fresh, tenant), os.DirFS(filepath.Join(old, tenant))); err != nil {
		t.Fatal(err)
	}
	first.Follow(t, fresh)
	write := func(dir, subject string) {
		t.Helper()
		r := vault.NewRegisters(dir, []string{tenant})
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		writer, err := vault.NewWriter(r, w.lookup, w.ring)
		if err != nil {
			t.Fatal(err)
		}
		c := vault.NewCollector(writer)
		w.add(c, subject, noon, "")
		w.put(c)
	}
	write(old, "anna")
	write(fresh, "anna")
	write(old, "bo") // this one kept the old register
	w.exec("INSERT INTO holds (hold, tenant, kind, day, unit) VALUES ('h', 'norrbo', 'web', '2026-11-20', 'school')")
	query, err := schemas.Query("vault/hold_copy_web_keys")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.Exec(t.Context(), query, clickhouse.Params{"hold": "h", "day": "2026-11-20"}); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[uint32]uint64{0: 0, 1: 2, 2: 1, 3: 0} {
		for _, table := range []string{"web_keys", "mail_keys", "held_keys"} {
			var n uint64
			if err := w.db.Query(t.Context(), "SELECT count() FROM "+table+" WHERE register = {register:UInt32}", clickhouse.Params{"register": number},
				func(r clickhouse.Row) error { return r.Scan(&n) }); err != nil || n != want {
				t.Errorf("%s has %d rows of register %d, want %d: %v", table, n, number, want, err)
			}
		}
	}
}

// Ingest goes on from the register that it has seen, also after a restart; another chain, a shorter one, and that of another
// deployment are refused, whoever has signed them.
func TestRegistersArePinned(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "registers.seen")
	var seen []string
	open := func() *vault.Registers {
		return vault.NewRegisters(dir, []string{tenant}).Pinned(vault.RegisterPin{Deployment: "test", File: file,
			First: func(tenant string, number int, digest seal.Digest) { seen = append(seen, tenant+" "+digest.String()) }})
	}
	roles := ingesttest.NewRoles(t)
	good := roles.WriteRegister(t, dir, tenant)
	if err := open().Reload(); err != nil || len(seen) != 1 {
		t.Fatal(err, seen)
	}
	if err := open().Reload(); err != nil || len(seen) != 1 {
		t.Fatal(err, seen)
	}
	saved := t.TempDir()
	folder := filepath.Join(dir, tenant)
	if err := os.CopyFS(saved, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	restore := func(from string) {
		t.Helper()
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(folder, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name string) {
		t.Helper()
		r := open()
		if err := r.Reload(); err == nil || !errors.Is(err, vault.ErrRegisterBack) || r.Sealer(tenant, "staff") != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	elsewhere := ingesttest.NewRoles(t)
	elsewhere.Deployment = "elsewhere"
	elsewhere.WriteRegister(t, dir, tenant)
	r := open()
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "deployment") || r.Sealer(tenant, "staff") != nil {
		t.Errorf("another deployment's: %v", err)
	}
	ingesttest.NewRoles(t).WriteRegister(t, dir, tenant)
	refused("a register that somebody else has made")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	refused("no register any more")
	restore(saved)
	good.Follow(t, dir)
	if err := open().Reload(); err != nil {
		t.Fatal("the next register:", err)
	}
	restore(saved)
	refused("the chain cut short")
	if err := os.WriteFile(file, []byte("what is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open().Reload(); err == nil {
		t.Error("a memory that can't be read is none")
	}
}
