package casework

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

func (h *house) holds() vault.HoldRegister {
	return vault.HoldRegister{DB: h.db.db, Log: h.log, Lock: h.path("purge.lock"), Wait: 10 * time.Second, Now: h.now}
}

func (h *house) desk() *RecordsDesk {
	r := h.holds()
	return &RecordsDesk{Gate: h.gate, Config: secrecy(), Place: r.Place, Release: r.Release, Mask: maskNumbers, Identities: []age.Identity{h.ages["registrator"]}, Seal: sealNative}
}

// sealNative stands for what main hands over, and knows no plugins.
func sealNative(dst io.Writer, recipients []string) (io.WriteCloser, error) {
	list, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil {
		return nil, err
	}
	return age.Encrypt(dst, list...)
}

// inForce answers the documents of the holds in force.
func (h *house) inForce() []string {
	h.t.Helper()
	var list []string
	for _, l := range get(h.holds().List(h.t.Context())) {
		if l.InForce() {
			list = append(list, l.Document)
		}
	}
	return list
}

func (h *house) shares(d *Decision) int {
	return len(slices.DeleteFunc(get(h.gate.store.Names(d.Case)), func(n string) bool { return !strings.HasPrefix(n, sharesPrefix) }))
}

// unlink removes what the store itself would not.
func (h *house) unlink(number, file string) error {
	return os.Remove(filepath.Join(h.gate.store.folder(number), file+".age"))
}

func digestOf(d *Decision) seal.Digest {
	_, digest, err := d.Text()
	if err != nil {
		panic(err)
	}
	return digest
}

// Whoever can write into the folder of cases, for which the gate's public recipient is enough, stops lookups and ends nothing: no
// hold, no share, no export.
func TestForgedActReleasesNothing(t *testing.T) {
	db := newDatabase(t)
	stranger := newTown(t)
	revocation := func(d *Decision, actor string, at time.Time, change func(*Act)) Act {
		a := NewAct(ActRevocation, d, digestOf(d), actor, at)
		a.Reason = "x"
		if change != nil {
			change(&a)
		}
		return a
	}
	for name, forge := range map[string]func(*house, *Decision) []byte{
		"by a key of nobody's, under a holder's id": func(h *house, d *Decision) []byte {
			return get(SignAct(revocation(d, "hr-1", h.now(), nil), stranger.signer("hr-1")))
		},
		"of another case and decision": func(h *house, d *Decision) []byte {
			return get(SignAct(revocation(d, "mallory", h.now(), func(a *Act) { a.Case, a.Decision = "Z 9", seal.DigestOf([]byte("x")) }), stranger.signer("mallory")))
		},
		"that a holder signed on another decision": func(h *house, d *Decision) []byte {
			other := h.request(func(d *Decision) { d.Case = "HR 2" })
			return get(SignAct(revocation(other, "hr-1", h.now(), nil), h.signer("hr-1")))
		},
		"a closing, by an investigator of another case": func(h *house, d *Decision) []byte {
			a := NewAct(ActClosing, d, digestOf(d), "annan", h.now())
			a.Result = "klart"
			return get(SignAct(a, h.signer("annan")))
		},
		"a denial by somebody without a role": func(h *house, d *Decision) []byte {
			a := NewAct(ActDenial, d, digestOf(d), "utredare", h.now())
			a.Role, a.Reason = seal.HR, "x"
			return get(SignAct(a, h.signer("utredare")))
		},
		"without a signature": func(h *house, d *Decision) []byte { return get(seal.Canonical(revocation(d, "hr-1", h.now(), nil))) },
		"with one byte changed": func(h *house, d *Decision) []byte {
			signed := get(SignAct(revocation(d, "hr-1", h.now(), func(a *Act) { a.Reason = "ett" }), h.signer("hr-1")))
			return bytes.Replace(signed, []byte("ett"), []byte("ert"), 1)
		},
		"nothing at all": func(*house, *Decision) []byte { return []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, db)
			d := h.active(func(d *Decision) { d.Case = "HR 1" })
			if _, _, err := h.gate.PlaceHold(t.Context(), d.Case, h.signer("chef"), h.holds()); err != nil {
				t.Fatal(err)
			}
			forged := forge(h, d)
			digest := seal.DigestOf(forged)
			file := "act-" + hex.EncodeToString(digest[:16])
			if err := h.gate.Store().Put(d.Case, file, forged); err != nil {
				t.Fatal(err)
			}
			n := h.count(audit.AccessRefused)
			rows, _, err := h.lookup(d)
			h.refused("beside a forged act", rows, err, n)
			if all := get(h.log.Entries(t.Context())); all[len(all)-1].Counts["reason"] != refusedUnproved {
				t.Errorf("the record says %v", all[len(all)-1].Counts)
			}
			s := h.state(d)
			if s.State != Suspended || s.Unproved != 1 || !strings.Contains(s.Why, "data protection officer") {
				t.Errorf("the decision is %s (%s)", s.State, s.Why)
			}
			if _, released, err := h.gate.SettleHolds(t.Context(), h.holds()); err != nil || released > 0 {
				t.Errorf("%d holds were released: %v", released, err)
			}
			if _, err := h.gate.ReleaseHolds(t.Context(), d.Case, h.signer("chef"), h.holds()); !errors.Is(err, ErrNoHold) {
				t.Errorf("released by hand: %v", err)
			}
			if _, err := h.gate.Recover(t.Context()); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), d.Case) {
				t.Errorf("nobody is told: %v", err)
			}
			if list := h.inForce(); !slices.Contains(list, digestOf(d).String()) || h.count(audit.HoldReleased) > 0 || h.shares(d) != 3 {
				t.Errorf("in force %v, %d shares", list, h.shares(d))
			}
			if err := h.unlink(d.Case, file); err != nil {
				t.Fatal(err)
			}
			if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
				t.Errorf("without it: %d rows, %v", len(rows), err)
			}
			if err := h.gate.Store().Put(d.Case, file, forged); err != nil {
				t.Fatal(err)
			}
			// Who may, ends it none the less.
			if s, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart" }); err != nil || s.State != Closed || !s.Certain || h.shares(d) != 0 {
				t.Errorf("closed: %+v %v", s, err)
			}
			if _, released, err := h.gate.SettleHolds(t.Context(), h.holds()); err != nil || released != 1 {
				t.Errorf("of a closed case %d holds were released: %v", released, err)
			}
		})
	}
}

// Whoever can write to the record ends no hold by an entry that says so, nor by one more that says that the decision has ended.
func TestForgedReleaseEndsNoHold(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	ctx := t.Context()
	d := h.active(nil)
	r := h.requestRecords(h.desk(), nil)
	if placed, _, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || placed != 1 {
		t.Fatal(placed, err)
	}
	want := h.inForce()
	release := func() {
		for _, e := range get(h.log.Entries(ctx)) {
			if e.Kind == audit.HoldPlaced {
				get(h.log.Append(ctx, audit.Entry{Kind: audit.HoldReleased, Actor: "gate", Case: e.Case, Document: e.Document}))
			}
		}
	}
	release()
	if got := h.inForce(); len(got) != 2 || !slices.Equal(got, want) {
		t.Errorf("after releases that nobody had a ground for, in force: %v", got)
	}
	if placed, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || placed+released != 0 {
		t.Errorf("placed %d, released %d: %v", placed, released, err)
	}
	record := get(h.log.Entries(ctx))
	if err := vault.CheckHeld(record, nil); err != nil {
		t.Error(err)
	}
	if list := CheckRule(record).Findings; len(list) != 2 || list[0].Case != r.Request.Case || list[1].Case != d.Case || !strings.Contains(list[0].Text, "it counts as held") {
		t.Error(list)
	}

	// With an end that nobody signed the hold is gone by the record, and nothing is purged before somebody may end it.
	get(h.log.Append(ctx, audit.Entry{Kind: audit.DecisionClosed, Actor: "chef", Case: d.Case, Document: digestOf(d).String(), Body: seal.DigestOf([]byte("x")).String()}))
	release()
	for range 2 {
		if _, _, err := h.gate.SettleHolds(ctx, h.holds()); err == nil || !strings.Contains(err.Error(), d.Case) || !strings.Contains(err.Error(), "close it anew") {
			t.Errorf("a purge may begin: %v", err)
		}
	}
	if s, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart" }); err != nil || !s.Certain {
		t.Fatal(s, err)
	}
	if _, _, err := h.gate.SettleHolds(ctx, h.holds()); err != nil {
		t.Error(err)
	}
}

// A decision that is ended by an act that nobody can prove is held, if it never was.
func TestWhatIsNotProvedToHaveEndedIsHeld(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	d := h.active(nil)
	get(h.log.Append(t.Context(), audit.Entry{Kind: audit.DecisionRevoked, Actor: "chef", Case: d.Case, Document: digestOf(d).String(), Body: seal.DigestOf([]byte("x")).String()}))
	if placed, _, err := h.gate.SettleHolds(t.Context(), h.holds()); err != nil || placed != 1 || h.state(d).State != Revoked {
		t.Error(placed, h.state(d).State, err)
	}
}

// An act that is proved and not on record, or on record and not proved, blocks and lets nothing go; both together do, also when
// the one who signed has left.
func TestOnlyAProvedActOnRecordLetsGo(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	settle := func(want int) {
		t.Helper()
		if _, released, err := h.gate.SettleHolds(t.Context(), h.holds()); err != nil || released != want {
			t.Errorf("%d holds were released, want %d: %v", released, want, err)
		}
	}
	d := h.active(func(d *Decision) { d.Case = "HR 1" })
	settle(0) // places
	a := NewAct(ActRevocation, d, digestOf(d), "hr-1", h.now())
	a.Reason = "stopp"
	signed := get(SignAct(a, h.signer("hr-1")))
	if err := h.gate.store.file(d.Case, signed, nil); err != nil {
		t.Fatal(err)
	}
	if s := h.state(d); s.State != Revoked || s.Certain {
		t.Errorf("filed only: %s %v", s.State, s.Certain)
	}
	settle(0)
	if n := h.shares(d); n != 3 {
		t.Errorf("%d shares", n)
	}
	if s, err := h.gate.Act(t.Context(), signed); err != nil || s.State != Revoked || !s.Certain {
		t.Fatalf("%+v %v", s, err)
	}
	// Somebody removes the act: the record still says revoked.
	if err := h.unlink(d.Case, actFile(signed)); err != nil {
		t.Fatal(err)
	}
	if s := h.state(d); s.State != Revoked || s.Certain {
		t.Errorf("on record only: %s %v", s.State, s.Certain)
	}
	settle(0)
	if s, err := h.gate.Act(t.Context(), signed); err != nil || !s.Certain || h.count(audit.DecisionRevoked) != 1 {
		t.Fatalf("put back: %+v %v", s, err)
	}
	// Who signed leaves: what was an act stays one.
	h.leave("hr-1")
	h.hold("hr-3", "", seal.HR)
	h.register("manager-1", "hr-2", "security-1")
	get(h.log.Append(t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[1])}))
	if s := h.state(d); !s.Certain || s.Unproved != 0 {
		t.Errorf("after hr-1 left: %+v", s)
	}
	settle(1)

	// A closing that is on record and lost from the store is signed again.
	d = h.active2(t, "HR 2")
	settle(0)
	s, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart" })
	if err != nil || !s.Certain {
		t.Fatal(s, err)
	}
	for _, act := range get(h.gate.store.Case(d.Case)).Acts {
		if get(ReadAct(act)).Type == ActClosing {
			if err := h.unlink(d.Case, actFile(act)); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle(0)
	if s, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart, igen" }); err != nil || !s.Certain {
		t.Fatalf("closed again: %+v %v", s, err)
	}
	settle(1)
}

// active2 is an active decision that those approve who are there after hr-1 left.
func (h *house) active2(t *testing.T, number string) *Decision {
	t.Helper()
	d := h.request(func(d *Decision) { d.Case = number })
	if s := h.approve(d, "manager-1", "hr-2", "security-1"); s.State != Active {
		t.Fatal(s.Why)
	}
	return d
}

// A number is one thing. A request for records and a decision of one number, in either order: the second is refused, also by two
// at once, also after somebody emptied the store; and where both are there all the same, each has its own hold.
func TestANumberIsOneThing(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx := h.desk(), t.Context()
	records := func(number string) []byte {
		return get(SignRecordsRequest(recordsRequest(h.town, h.now(), func(r *RecordsRequest) { r.Case = number }), h.signer("registrator")))
	}
	decision := func(number string) []byte {
		d := h.decision(h.now())
		d.Case = number
		return get(SignDecision(d, h.signer("chef")))
	}
	if _, err := desk.Request(ctx, records("KS 1")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.gate.Request(ctx, decision("KS 1")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("a decision took the number of a request for records: %v", err)
	}
	if _, err := desk.Request(ctx, records("KS 1")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("a request took the number of a request: %v", err)
	}
	if _, err := h.gate.Request(ctx, decision("KS 2")); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Request(ctx, records("KS 2")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("a request for records took the number of a decision: %v", err)
	}
	// The store is emptied: the record knows.
	for number, file := range map[string]string{"KS 1": recordsRequestFile, "KS 2": decisionFile} {
		if err := h.unlink(number, file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.gate.Request(ctx, decision("KS 1")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("a decision took a number that the record has: %v", err)
	}
	if _, err := h.gate.Request(ctx, decision("KS 2")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("another decision took a number that the record has: %v", err)
	}
	if _, err := desk.Request(ctx, records("KS 2")); !errors.Is(err, ErrCaseTaken) {
		t.Errorf("a request took a number that the record has: %v", err)
	}
	// At once.
	for i := range 8 {
		number := fmt.Sprintf("KS 3/%d", i)
		a, b := records(number), decision(number)
		taken := make(chan error, 2)
		go func() { _, err := desk.Request(ctx, a); taken <- err }()
		go func() { _, err := h.gate.Request(ctx, b); taken <- err }()
		if x, y := <-taken, <-taken; (x == nil) == (y == nil) || !errors.Is(errors.Join(x, y), ErrCaseTaken) {
			t.Errorf("at once: %v, %v", x, y)
		}
	}
}

// Nobody ends the hold of a request for records by a decision, and nobody who asks for records keeps a decision from its hold.
func TestAHoldEndsByItsOwnDocumentOnly(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	ctx, desk := t.Context(), h.desk()
	r := get(desk.Request(ctx, get(SignRecordsRequest(recordsRequest(h.town, h.now(), nil), h.signer("registrator")))))
	first := h.active(func(d *Decision) { d.Case = "HR 1" })
	second := h.active(func(d *Decision) { d.Case = "HR 2" })
	// As it was possible before numbers were one thing: a decision's hold of the number that a request has.
	stray := vault.HoldOrder{Case: r.Request.Case, Basis: vault.HoldByDecision, Document: seal.DigestOf([]byte("stray")).String(), Actor: "x",
		Scope: get(h.gate.HoldScope(first)), Authorise: func(context.Context) error { return nil }}
	if _, _, err := h.holds().Place(ctx, stray); err != nil {
		t.Fatal(err)
	}
	if placed, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || placed != 2 || released != 0 {
		t.Fatal(placed, released, err)
	}
	want := []string{r.Digest.String(), stray.Document, digestOf(first).String(), digestOf(second).String()}
	if got := h.inForce(); !slices.Equal(got, want) {
		t.Fatalf("in force: %v", got)
	}
	copies := func() (n int64) {
		for _, l := range get(h.holds().List(ctx)) {
			n += l.Copies.Capsules
		}
		return n
	}
	before := copies()
	if _, err := h.act(ActRevocation, first, "chef", func(a *Act) { a.Reason = "x" }); err != nil {
		t.Fatal(err)
	}
	if _, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || released != 1 {
		t.Fatal(released, err)
	}
	if got := h.inForce(); !slices.Equal(got, []string{want[0], want[1], want[3]}) || copies() != before {
		t.Fatalf("of two cases that overlap one was revoked, in force: %v", got)
	}
	if rows, _, err := h.lookup(second); err != nil || len(rows) != len(h.db.wanted(second.Scope)) {
		t.Errorf("the other case has %d rows: %v", len(rows), err)
	}
	if _, err := desk.Decide(ctx, r.Request.Case, OutcomeRefused, "Allt är hemligt.", []string{"OSL 18 kap. 8 §"}, h.signer("registrator")); err != nil {
		t.Fatal(err)
	}
	if err := desk.Close(ctx, r.Request.Case, true, h.signer("registrator")); err != nil {
		t.Fatal(err)
	}
	if got := h.inForce(); !slices.Equal(got, []string{want[1], want[3]}) {
		t.Fatalf("the request was closed, in force: %v", got)
	}
	if list, err := h.holds().Release(ctx, vault.HoldByRecords, want[3], "x", func(context.Context) error { return nil }); err != nil || len(list) != 0 {
		t.Errorf("a decision's hold was released as one of records: %v", err)
	}
	if _, err := h.holds().Release(ctx, vault.HoldByDecision, "", "x", func(context.Context) error { return nil }); err == nil {
		t.Error("a release by nothing was taken")
	}
}

// What somebody types for a number may be a name: it is on no record.
func TestAnUnknownNumberIsNotRecorded(t *testing.T) {
	k := openDesk(t, nil)
	ctx, g, me := t.Context(), k.gate, k.signer("utredare")
	var orders []vault.HoldOrder
	desk := heldOnly(k, &orders)
	const name = "anna.berg"
	n := len(get(k.log.Entries(ctx)))
	for i, try := range []func() error{
		func() error { _, err := g.Lookup(ctx, name, nil, nil); return err },
		func() error { _, _, err := g.Entitled(ctx, name, me); return err },
		func() error { _, _, err := g.Bundle(ctx, name, seal.HR, nil); return err },
		func() error { _, err := g.Export(ctx, name, someRows(), ExportOptions{Maker: me}); return err },
		func() error { _, _, err := desk.Rows(ctx, name, me); return err },
		func() error { return desk.Close(ctx, name, true, me) },
		func() error { _, err := g.ReleaseHolds(ctx, name, me, vault.HoldRegister{}); return err },
		func() error {
			a := NewAct(ActRevocation, k.Decision, k.Digest, "utredare", k.now)
			a.Case, a.Reason = name, "x"
			_, err := g.Act(ctx, get(SignAct(a, me)))
			return err
		},
	} {
		if err := try(); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), name) {
			t.Errorf("%d: %v", i, err)
		}
	}
	all := get(k.log.Entries(ctx))
	if len(all) != n+8 {
		t.Errorf("%d entries, want 8", len(all)-n)
	}
	for _, e := range all[n:] {
		if e.Kind != audit.AccessRefused || e.Case != "" || strings.Contains(fmt.Sprint(e), name) {
			t.Errorf("on record stands %+v", e)
		}
	}
}
