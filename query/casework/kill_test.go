package casework

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const childFile = "TILLSYN_CASEWORK_CHILD"

func TestMain(m *testing.M) {
	if file := os.Getenv(childFile); file != "" {
		if err := child(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	enginetest.Main(m)
}

// An order is what a child process does until it kills itself.
type order struct {
	Dir, Gate, Identity, Lookup string
	Notes                       [][]byte
	Address, User, Password     string
	Clock                       int64
	Do, Case, Kill              string
	Document                    []byte
}

// child does one thing to the gate as a process of its own, and dies by SIGKILL at the step that the order names.
func child(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	ctx := context.Background()
	now := func() time.Time { return time.Unix(o.Clock, 0).UTC() }
	identity, err := age.ParseX25519Identity(o.Identity)
	if err != nil {
		return err
	}
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses, cfg.Username, cfg.Password = []string{o.Address}, o.User, clickhouse.Password(o.Password)
	db, err := clickhouse.Open(ctx, cfg)
	if err != nil {
		return err
	}
	store := get(vault.NewStore(db))
	log, err := audit.Open(ctx, auditConfig(o.Dir), now)
	if err != nil {
		return err
	}
	config := DefaultConfig()
	config.Dir = filepath.Join(o.Dir, "cases")
	g, err := NewGate(Parts{Config: config, Deployment: deployment, Keys: []seal.PrivateKey{get(seal.ParsePrivateKey([]byte(o.Gate)))},
		Identities: []age.Identity{identity}, Recipient: identity.Recipient().String(), Lookup: get(seal.ParseLookupKey([]byte(o.Lookup))),
		Registers: func(string) ([][]byte, error) { return o.Notes, nil }, Log: log, Vault: store, Now: now})
	if err != nil {
		return err
	}
	g.step = func(name string) {
		if name == o.Kill {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it does not come back
		}
	}
	switch o.Do {
	case "request":
		_, err = g.Request(ctx, o.Document)
	case "accept":
		_, err = g.Accept(ctx, o.Document)
	case "act":
		_, err = g.Act(ctx, o.Document)
	case "lookup":
		_, err = g.Lookup(ctx, o.Case, o.Document, func(Row) error { _, err := fmt.Println("row"); return err })
	default:
		err = errors.New("nothing to do")
	}
	return err
}

// killed runs a child that dies at a step, and answers how many rows it gave out before.
func (h *house) killed(do, number string, document []byte, step string) int {
	h.t.Helper()
	o := order{Dir: h.dir, Gate: string(get(h.town.gate.Encode())), Identity: h.identity.String(), Lookup: string(h.db.lookup.Key().Encode()), Notes: h.town.notes,
		Address: h.db.address, User: h.db.user, Password: h.db.password, Clock: h.clock.Load(), Do: do, Case: number, Document: document, Kill: step}
	file := filepath.Join(h.t.TempDir(), "order.json")
	if err := os.WriteFile(file, get(json.Marshal(o)), 0o600); err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childFile+"="+file)
	var faults strings.Builder
	cmd.Stderr = &faults
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		h.t.Fatalf("the child was not killed at %q: %v\n%s", step, err, &faults)
	}
	h.open() // as the service comes back
	return strings.Count(string(out), "row\n")
}

func (h *house) state(d *Decision) Status {
	h.t.Helper()
	_, s, err := h.gate.status(h.t.Context(), d.Case)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) testKilledRequest() {
	d := h.decision(h.now())
	signed := get(SignDecision(d, h.signer("chef")))
	h.killed("request", d.Case, signed, "request filed")
	if s := h.state(d); s.State != Draft {
		h.t.Errorf("filed and not on record: %s", s.State)
	}
	if s, err := h.gate.Request(h.t.Context(), signed); err != nil || s.State != Pending || h.count(audit.DecisionRequested) != 1 {
		h.t.Error("requested again:", s.State, err)
	}
}

func (h *house) testKilledApproval() {
	for i, step := range []string{"approval checked", "approval filed", "approval recorded"} {
		d := h.request(func(d *Decision) { d.Case = fmt.Sprintf("KS %d", i) })
		approval := h.approval(d, "hr-1")
		h.killed("accept", d.Case, approval, step)
		s := h.state(d)
		if want := i / 2; len(s.Approvals) != want || s.State != Pending {
			h.t.Errorf("killed at %q: %d approvals, want %d", step, len(s.Approvals), want)
		}
		for range 2 {
			if s, err := h.gate.Accept(h.t.Context(), approval); err != nil || len(s.Approvals) != 1 {
				h.t.Errorf("accepted again after %q: %d approvals, %v", step, len(s.Approvals), err)
			}
		}
		if n := h.count(audit.DecisionApproved); n != 3*i+1 {
			h.t.Errorf("after %q the record has %d approvals, want %d", step, n, 3*i+1)
		}
		if s := h.approve(d, "manager-1", "security-1"); s.State != Active {
			h.t.Errorf("after %q it does not become active: %s", step, s.Why)
		}
		if rows, _, err := h.lookup(d); err != nil || len(rows) != len(h.db.wanted(d.Scope)) {
			h.t.Errorf("after %q the lookup has %d rows: %v", step, len(rows), err)
		}
	}
}

// A revocation counts from its first half on.
func (h *house) testKilledRevocation() {
	d := h.active(nil)
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	a := NewAct(ActRevocation, d, digest, "hr-1", h.now())
	a.Reason = "stopp"
	signed := get(SignAct(a, h.signer("hr-1")))
	h.killed("act", d.Case, signed, "act filed")
	if s := h.state(d); s.State != Revoked || h.count(audit.DecisionRevoked) != 0 {
		h.t.Errorf("half a revocation leaves the decision %s", s.State)
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(d)
	h.refused("after half a revocation", rows, err, n)
	if s, err := h.gate.Act(h.t.Context(), signed); err != nil || s.State != Revoked || h.count(audit.DecisionRevoked) != 1 {
		h.t.Error("the second half:", s.State, err)
	}
}

// Case 34: killed between intent and read, and after the read.
func (h *house) testKilledLookup() {
	d := h.active(func(d *Decision) { d.Lookups = 9 })
	all := len(h.db.wanted(d.Scope))
	unknown := 0
	for i, step := range []struct {
		name       string
		used, rows int
	}{{"authorised", 0, 0}, {"intent recorded", 1, 0}, {"keys opened", 1, 0}, {"rows read", 1, all}} {
		before := h.state(d).Left
		if rows := h.killed("lookup", d.Case, h.ask(d, "utredare"), step.name); rows != step.rows {
			h.t.Errorf("killed at %q: %d rows came out, want %d", step.name, rows, step.rows)
		}
		if left := h.state(d).Left; left != before-step.used {
			h.t.Errorf("killed at %q: %d lookups are left of %d", step.name, left, before)
		}
		unknown += step.used
		if n, err := h.gate.Recover(h.t.Context()); n != step.used || err != nil {
			h.t.Errorf("killed at %q: %d are named unknown, want %d: %v", step.name, n, step.used, err)
		}
		if n, err := h.gate.Recover(h.t.Context()); n != 0 || err != nil {
			h.t.Errorf("named twice: %d, %v", n, err)
		}
		if h.count(audit.LookupUnknown) != unknown || h.count(audit.LookupIntent) != unknown+i || h.count(audit.LookupResult) != i {
			h.t.Errorf("after %q: %d unknown, %d intents, %d results", step.name, h.count(audit.LookupUnknown), h.count(audit.LookupIntent), h.count(audit.LookupResult))
		}
		if rows, _, err := h.lookup(d); err != nil || len(rows) != all {
			h.t.Errorf("after %q: %d rows, %v", step.name, len(rows), err)
		}
	}
	// A lookup that runs is not unknown.
	var looked atomic.Bool
	if _, err := h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), func(Row) error {
		if !looked.Swap(true) {
			if n, err := h.gate.Recover(h.t.Context()); n != 0 || err != nil {
				h.t.Errorf("a running lookup is named unknown: %d, %v", n, err)
			}
		}
		return nil
	}); err != nil || !looked.Load() {
		h.t.Error(err)
	}
}

// Half of a file, a file of somebody else, a folder in a file's place: an error that names no case, and no row.
func (h *house) testDamagedStore() {
	d := h.active(nil)
	folder := h.gate.store.folder(d.Case)
	names := get(os.ReadDir(folder))
	for _, f := range names {
		path := filepath.Join(folder, f.Name())
		whole := get(os.ReadFile(path))
		other := get(age.GenerateX25519Identity())
		stranger := get(NewStore(Config{Dir: h.t.TempDir(), LockTimeout: time.Second, MaxRows: 1}, []age.Identity{other}, other.Recipient().String()))
		if err := stranger.Put("x", "decision", []byte("x")); err != nil {
			h.t.Fatal(err)
		}
		for what, text := range map[string][]byte{
			"half": whole[:len(whole)/2], "empty": {}, "flipped": append(append([]byte{}, whole[:len(whole)-1]...), whole[len(whole)-1]^1),
			"somebody else's": get(os.ReadFile(filepath.Join(stranger.folder("x"), "decision.age"))),
		} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				h.t.Fatal(err)
			}
			rows, _, err := h.lookup(d)
			if !errors.Is(err, ErrStore) || len(rows) > 0 || strings.Contains(err.Error(), d.Case) {
				h.t.Errorf("%s file %s: %d rows, %v", what, f.Name(), len(rows), err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
		h.t.Error("whole again:", len(rows), err)
	}
	// An approval that is gone must be given anew.
	for _, f := range names {
		if strings.HasPrefix(f.Name(), "act-") {
			if err := os.Remove(filepath.Join(folder, f.Name())); err != nil {
				h.t.Fatal(err)
			}
			break
		}
	}
	if s := h.state(d); s.State != Pending || len(s.Approvals) != 2 {
		h.t.Errorf("without an approval it is %s with %d", s.State, len(s.Approvals))
	}
	// A file where the folder of a case should be: nothing is requested.
	next := h.decision(h.now())
	next.Case = "KS 9"
	if err := os.WriteFile(h.gate.store.folder(next.Case), nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	n := h.count(audit.DecisionRequested)
	if _, err := h.gate.Request(h.t.Context(), get(SignDecision(next, h.signer("chef")))); err == nil || h.count(audit.DecisionRequested) != n {
		h.t.Error("a decision that could not be filed is on record:", err)
	}
}

// Case 37 against the real engine: what a decision may hold, and SQL might take for more than text.
func (h *house) testInjectionsIntoTheEngine() {
	for i, name := range []string{`x' or 'x`, `x\' or \'x`, `anna.berg' -- x`, `anna.berg'`, `'anna.berg`, "a_na.berg", "anna.ber_", `anna.berg\`, "anna.berg -- x"} {
		d := h.decision(h.now())
		d.Case, d.Scope.Subject, d.Scope.Names, d.Scope.Aliases = fmt.Sprintf("KS %d", i), name, []string{}, []string{}
		if d.Validate() != nil {
			continue
		}
		d = h.active(func(x *Decision) { *x = *d })
		if rows, r, err := h.lookup(d); err != nil || len(rows) > 0 || r.Keys > 0 {
			h.t.Errorf("%q: %d rows, %v", name, len(rows), err)
		}
	}
	for i, unit := range []string{"H_mn", "Hamn -- x", "Hamn) or (1", "Hamn&Skola", "hamn"} {
		d := h.decision(h.now())
		d.Case, d.Kind = fmt.Sprintf("KS 1/%d", i), Identify
		d.Scope = Scope{Names: []string{}, Aliases: []string{}, Unit: unit, From: "2026-11-17", To: "2026-11-19", Sources: []string{Web}, Categories: []string{"gambling"}, Threshold: 5}
		if d.Validate() != nil {
			continue
		}
		d = h.active(func(x *Decision) { *x = *d })
		if rows, r, err := h.lookup(d); err != nil || len(rows) > 0 || r.Keys > 0 {
			h.t.Errorf("%q: %d rows, %v", unit, len(rows), err)
		}
	}
}
