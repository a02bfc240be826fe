package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/seal"
	"tillsyn/query/casework"
)

// An approver who holds roles in two tenants: what was seen of the one is not forgotten over the other.
func TestApproverRemembersEachTenant(t *testing.T) {
	w := newCourtTown(t)
	const second = "soderbo"
	// The same people, with the same identities, in another tenant.
	people := w.folder("people2")
	for id, path := range w.identities {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(people, id+".identity"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := weakCeremony(t.Context(), w.cfg, second, people, seal.X25519, time.Now, io.Discard); err != nil {
		t.Fatal(err)
	}
	w.member("utredare")
	asked := func(number, tenant string) []string {
		t.Helper()
		var signs []string
		draft := w.draft(number, w.subjects[0])
		if tenant == second {
			signs = []string{"--signer", filepath.Join(w.cfg.Keys.Directory, second, holderFile("manager.a"))}
			draft = strings.ReplaceAll(strings.ReplaceAll(draft, "tenant: "+w.tenant, "tenant: "+second), "id: utredare", "id: hr.b")
		}
		w.must(exitOK, draft, args("decision", "request", w.as("manager.a"), signs, "-")...)
		approve := args("decision", "approve", w.as("hr.a"), "--yes")
		if tenant == second {
			approve = append(approve, "--signer", filepath.Join(w.cfg.Keys.Directory, second, holderFile("hr.a")))
		}
		return append(approve, number)
	}
	first, other := w.identities["hr.a"]+"."+w.tenant+".memory", w.identities["hr.a"]+"."+second+".memory"
	w.must(exitOK, "", asked("KS 2026/0001", w.tenant)...)
	before, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	w.must(exitOK, "", asked("KS 2026/0002", second)...)
	after, err := os.ReadFile(first)
	if err != nil || string(after) != string(before) {
		t.Error("an approval for another tenant changed what was seen of this one:", err)
	}
	for path, tenant := range map[string]string{first: w.tenant, other: second} {
		if m, err := readMemory(path); err != nil || m.Tenant != tenant || m.Register.Number < 1 {
			t.Errorf("%s: %+v, %v", tenant, m.Register, err)
		}
	}
	// The register that was seen of the first tenant was a later one than is shown now.
	m, err := casework.ParseMemory(before)
	if err != nil {
		t.Fatal(err)
	}
	again := asked("KS 2026/0003", w.tenant)
	seen := m.Register
	m.Register.Number++
	if err := os.WriteFile(first, m.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, faults := w.must(exitRefused, "", again...); !strings.Contains(faults, "what you saw last") {
		t.Error(faults)
	}
	// One file for both is refused.
	if _, faults := w.must(exitFault, "", args(again, "--memory", other)...); !strings.Contains(faults, "another tenant") {
		t.Error(faults)
	}
	m.Register = seen
	if err := os.WriteFile(first, m.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(exitOK, "", again...)
	w.must(exitOK, "", asked("KS 2026/0004", second)...)
}
