package casework

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// What the cases of a decision's life say and the stories leave out, on one database.
func TestEdges(t *testing.T) {
	db := newDatabase(t)
	for _, test := range []struct {
		name string
		run  func(*house)
	}{
		{"case 24: a decision of another deployment in the store", (*house).testForeignDecision},
		{"case 24: the last millisecond of a day, and the first", (*house).testEdgesOfDays},
		{"case 24: the last second of a decision, and the first", (*house).testEdgesOfTime},
		{"case 27: everything again after the last lookup", (*house).testUsedUp},
		{"case 27: 50 lookups in five processes on max 1", (*house).testParallelProcesses},
		{"case 28: fields twice in a request", (*house).testDoubledFields},
		{"case 29: closed, expired or without its approver between two pages", (*house).testEndedBetweenPages},
		{"case 30: a register that its own maker signs", (*house).testForgedRegister},
		{"case 33: shares of one decision for its twin", (*house).testTwin},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(newHouse(t, db)) })
	}
}

func (h *house) testForeignDecision() {
	d := h.decision(h.now())
	d.Deployment = "annan"
	signed := get(SignDecision(d, h.signer("chef")))
	if _, err := h.gate.Request(h.t.Context(), signed); err == nil {
		h.t.Error("a decision of another deployment was requested")
	}
	// Somebody with the gate's identity puts it there, and all that makes it active into the record.
	if err := h.gate.store.open(d, signed); err != nil {
		h.t.Fatal(err)
	}
	_, digest, _ := d.Text()
	s := &story{town: h.town, now: h.now(), Evidence: Evidence{Decision: d, Digest: digest}}
	h.record(audit.DecisionRequested, d, "chef", "")
	for _, id := range []string{"manager-1", "hr-1", "security-1"} {
		act := s.approval(id, nil)
		if err := h.gate.store.file(d.Case, act, nil); err != nil {
			h.t.Fatal(err)
		}
		h.record(audit.DecisionApproved, d, id, string(act))
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(d)
	h.refused("a decision of another deployment", rows, err, n)
	if h.count(audit.LookupIntent) > 0 {
		h.t.Error("an intent is on record")
	}
}

// record puts an entry about a decision on record, as whoever has the record's key can.
func (h *house) record(kind audit.Kind, d *Decision, actor, body string) {
	h.t.Helper()
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: kind, Actor: actor, Case: d.Case, Document: digest.String(), Body: body}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) testEdgesOfDays() {
	var events []planted
	for i, at := range []string{"2026-10-24T23:59:59.999Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T23:59:59.999Z", "2026-10-26T00:00:00Z"} {
		var e vault.Event
		e.Reset()
		e.Time, e.Path = get(time.Parse(time.RFC3339Nano, at)).UnixMilli(), fmt.Appendf(nil, "/%d", i)
		events = append(events, planted{person: "kim.rand", population: "staff", unit: "Hamn", kind: Web, day: at[:10], event: e})
	}
	h.db.insert(h.t, events)
	// The day on which summer time ends has 25 hours in Stockholm, and 24 here.
	d := h.active(func(d *Decision) {
		d.Scope.Subject, d.Scope.Names, d.Scope.From, d.Scope.To, d.Scope.Sources = "kim.rand", []string{}, "2026-10-25", "2026-10-25", []string{Web}
	})
	rows, result, err := h.lookup(d)
	if err != nil || len(rows) != 4 || result.Keys != 1 {
		h.t.Fatalf("%d rows, %d keys, %v", len(rows), result.Keys, err)
	}
	for i, r := range rows {
		if r.Get("url.path") != fmt.Sprintf("/%d", i+1) {
			h.t.Errorf("row %d is %v", i, r.Get("url.path"))
		}
	}
}

func (h *house) testEdgesOfTime() {
	try := func(what string, d *Decision, want bool) {
		h.t.Helper()
		n := h.count(audit.AccessRefused)
		rows, _, err := h.lookup(d)
		if want && (err != nil || len(rows) == 0) {
			h.t.Errorf("%s: %d rows, %v", what, len(rows), err)
		} else if !want {
			h.refused(what, rows, err, n)
		}
	}
	d := h.request(func(d *Decision) { d.NotBefore, d.ExecuteBy = d.Requested.Add(time.Hour), d.Requested.Add(2*time.Hour) })
	h.approve(d, "manager-1", "hr-1", "security-1")
	h.pass(time.Hour - time.Second)
	try("a second before it begins", d, false)
	h.pass(time.Second)
	try("as it begins", d, true)
	h.pass(time.Hour - time.Second)
	try("a second before it ends", d, true)
	for _, at := range []time.Duration{time.Second, time.Second, -24 * time.Hour, -90 * 24 * time.Hour, 365 * 24 * time.Hour} {
		h.pass(at)
		try(fmt.Sprintf("%v on", at), d, false)
	}
}

func (h *house) testUsedUp() {
	d := h.decision(h.now())
	d.Lookups = 1
	signed := get(SignDecision(d, h.signer("chef")))
	if _, err := h.gate.Request(h.t.Context(), signed); err != nil {
		h.t.Fatal(err)
	}
	var approvals [][]byte
	for _, id := range []string{"manager-1", "hr-1", "security-1"} {
		approvals = append(approvals, h.approval(d, id))
		if _, err := h.gate.Accept(h.t.Context(), approvals[len(approvals)-1]); err != nil {
			h.t.Fatal(err)
		}
	}
	if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
		h.t.Fatal(len(rows), err)
	}
	_, _ = h.gate.Request(h.t.Context(), signed)
	for _, a := range approvals {
		_, _ = h.gate.Accept(h.t.Context(), a)
	}
	h.open() // another process
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(d)
	h.refused("a used-up decision, requested and approved again", rows, err, n)
	// Its folder put back as it was before the lookup: what counts stands in the record.
	if err := os.RemoveAll(h.gate.store.folder(d.Case)); err != nil {
		h.t.Fatal(err)
	}
	_, _ = h.gate.Request(h.t.Context(), signed)
	for _, a := range approvals {
		_, _ = h.gate.Accept(h.t.Context(), a)
	}
	n = h.count(audit.AccessRefused)
	rows, _, err = h.lookup(d)
	h.refused("a used-up decision in a new folder", rows, err, n)
}

func (h *house) testParallelProcesses() {
	d := h.active(func(d *Decision) { d.Lookups = 1 })
	var wait sync.WaitGroup
	var served, refused, rows atomic.Int64
	for range 5 {
		h.open()
		gate := h.gate
		for range 10 {
			ask := h.ask(d, "utredare")
			wait.Go(func() {
				_, err := gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { rows.Add(1); return nil })
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ErrRefused):
					refused.Add(1)
				default:
					h.t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if served.Load() != 1 || refused.Load() != 49 || int(rows.Load()) != len(h.db.wanted(d.Scope)) || h.count(audit.LookupIntent) != 1 {
		h.t.Errorf("%d served, %d refused, %d rows, %d intents", served.Load(), refused.Load(), rows.Load(), h.count(audit.LookupIntent))
	}
}

func (h *house) testDoubledFields() {
	d := h.active(nil)
	other := h.active(func(d *Decision) { d.Case, d.Scope.Subject, d.Scope.Names = "KS 2026/0200", "bo.ek", []string{} })
	good := string(get(seal.Unsigned(h.ask(d, "utredare"))))
	foreign := string(get(seal.Unsigned(h.ask(other, "utredare"))))
	line := func(text, field string) string {
		at := strings.Index(text, `  "`+field+`"`)
		return text[at : at+strings.Index(text[at:], "\n")+1]
	}
	for _, field := range []string{"type", "case", "decision", "actor", "at"} {
		mine, theirs := line(good, field), line(foreign, field)
		for _, both := range []string{mine + mine, mine + theirs, theirs + mine, strings.Replace(mine, field, strings.ToUpper(field), 1) + mine} {
			n := h.count(audit.AccessRefused)
			request := get(seal.Sign([]byte(strings.Replace(good, mine, both, 1)), h.signer("utredare")))
			_, err := h.gate.Lookup(h.t.Context(), d.Case, request, func(Row) error { h.t.Error("a row"); return nil })
			h.refused("a request with two of "+field, nil, err, n)
		}
	}
	// The right request for one case at the door of the other.
	n := h.count(audit.AccessRefused)
	_, err := h.gate.Lookup(h.t.Context(), other.Case, h.ask(d, "utredare"), func(Row) error { h.t.Error("a row"); return nil })
	h.refused("a request for another case", nil, err, n)
}

func (h *house) testEndedBetweenPages() {
	for i, end := range []func(*Decision){
		func(d *Decision) {
			if _, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart" }); err != nil {
				h.t.Error(err)
			}
		},
		func(d *Decision) { h.pass(2 * time.Hour) },
		func(*Decision) {
			h.town = cloneTown(h.town)
			h.leave("manager-1")
			h.hold("manager-9", "", seal.Manager)
			h.register("manager-2", "hr-2", "security-2")
			if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[len(h.town.notes)-1])}); err != nil {
				h.t.Error(err)
			}
		},
	} {
		d := h.active(func(d *Decision) { d.Case, d.ExecuteBy = fmt.Sprintf("KS %d", i), d.Requested.Add(time.Hour) })
		all := len(h.db.wanted(d.Scope))
		h.gate.page = 10
		n, before := 0, h.count(audit.AccessRefused)
		_, err := h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), func(Row) error {
			if n++; n == 15 {
				end(d)
			}
			return nil
		})
		if !errors.Is(err, ErrRefused) || n < 15 || n > 15+10 || n >= all || h.count(audit.AccessRefused) != before+1 {
			h.t.Errorf("%d: %d of %d rows, %v", i, n, all, err)
		}
	}
}

func (h *house) testForgedRegister() {
	d := h.request(nil)
	h.approve(d, "manager-1", "hr-1")
	honest := h.town
	for name, by := range map[string][]string{
		"himself": {"admin"}, "one holder": {"security-1"}, "two holders": {"hr-1", "security-1"}, "two of one role and another": {"hr-1", "hr-2", "security-1"},
		"himself in the place of three": {"admin", "hr-1", "manager-1"},
	} {
		h.town = cloneTown(honest)
		h.leave("security-1")
		h.hold("admin", "", seal.Security)
		h.town.text.Number, h.town.text.Previous = 2, h.chain[0].Digest()
		h.town.text.Sort()
		var signers []*seal.Signer
		for _, id := range by {
			signers = append(signers, h.signer(id))
		}
		forged := get(seal.Sign(get(h.town.text.Encode()), signers...))
		if _, err := seal.ParseRegister(forged, h.chain[0]); err == nil {
			h.t.Errorf("%s: the register was taken", name)
		}
		h.town.notes = append(slices.Clone(honest.notes), forged)
		rows, _, err := h.lookup(d)
		if err == nil || len(rows) > 0 {
			h.t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
		if _, _, err := h.gate.Bundle(h.t.Context(), d.Case, seal.Security, nil); err == nil {
			h.t.Errorf("%s: there is a bundle for him", name)
		}
		// And once it is in a record: another's, for what is in it stays.
		fresh := newHouse(h.t, &database{town: honest, lookup: h.db.lookup})
		fresh.town = h.town
		if _, err := fresh.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(forged)}); err != nil {
			h.t.Fatal(err)
		}
		if _, err := fresh.gate.Chain(h.t.Context(), tenant); err == nil {
			h.t.Errorf("%s: the register is taken once it is in the record", name)
		}
	}
	h.town.text.Number, h.town.text.Previous = 2, h.chain[0].Digest()
	if _, err := seal.ParseRegister(get(seal.Sign(get(h.town.text.Encode()), h.signer("manager-1"), h.signer("hr-1"), h.signer("security-1"))), h.chain[0]); err != nil {
		h.t.Error("the same register with the three signatures:", err)
	}
	h.town = honest
	if s := h.approve(d, "security-1"); s.State != Active {
		h.t.Error("the honest register:", s.State, s.Why)
	}
}

// Two decisions alike but for their case number and nonce: same person, days, keys and approvers.
func (h *house) testTwin() {
	first := h.active(nil)
	second := h.request(func(d *Decision) { d.Case = "KS 2026/0300" })
	_, digest, _ := second.Text()
	c := get(h.gate.store.Case(first.Case))
	for _, act := range c.Acts {
		a := get(ReadAct(act))
		var handover seal.Handover
		for _, of := range c.handovers {
			if of.Role == a.Role {
				handover = of
			}
		}
		if _, err := h.gate.openHandover(digest, handover); err == nil {
			h.t.Error("shares of one decision open for its twin")
		}
		// Even one who approves both hands over anew: the old shares under the new signature are not taken.
		fresh := NewAct(ActApproval, second, digest, a.Actor, h.now())
		current := h.current()
		fresh.Role, fresh.Register, fresh.Handover = a.Role, &current, a.Handover
		text := get(jsonOf(approvalFile{typeApproval, string(get(SignAct(fresh, h.signer(a.Actor)))), handover}))
		if _, err := h.gate.Accept(h.t.Context(), text); err == nil {
			h.t.Errorf("%s: shares of one decision were accepted for its twin", a.Role)
		}
	}
	if _, s, err := h.gate.status(h.t.Context(), second.Case); err != nil || len(s.Approvals) > 0 {
		h.t.Error(len(s.Approvals), err)
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(second)
	h.refused("the twin of an active decision", rows, err, n)
}

// Case 25: one person, however written down.
func TestSamePerson(t *testing.T) {
	o := newTown(t)
	holder := func(id string, key *seal.Signer, recipients ...string) seal.Holder {
		return seal.Holder{ID: id, Verifier: key.Verifier(), Recipients: recipients}
	}
	// The same key under another name.
	_, rest, _ := strings.Cut(o.signer("eva").Verifier(), "+")
	_, rest, _ = strings.Cut(rest, "+")
	renamed := seal.Holder{ID: "eva-2", Verifier: "eva-2+00000000+" + rest, Recipients: []string{"age1b"}}
	eva := holder("eva", o.signer("eva"), "age1a", "age1x")
	for name, c := range map[string]struct {
		other seal.Holder
		same  bool
	}{
		"another":                      {holder("bo", o.signer("bo"), "age1b"), false},
		"the same id, another key":     {holder("eva", o.signer("eva-other"), "age1b"), true},
		"the same id in capitals":      {holder("EVA", o.signer("eva-other"), "age1b"), true},
		"the same key, another id":     {renamed, true},
		"the same recipient among two": {holder("bo", o.signer("bo"), "age1b", "age1x"), true},
	} {
		if got := samePerson(eva, c.other); got != c.same {
			t.Errorf("%s: the same person is %t", name, got)
		}
	}
	// Who changes from one role to another between two approvals approves once.
	s := newStory(o, nil)
	s.request().approve("manager-1", "hr-1").want(Pending)
	moved, key := o.ages["manager-1"], o.signers["manager-1"]
	o.leave("manager-1")
	o.hold("manager-3", "", seal.Manager)
	o.text.Holders = append(o.text.Holders, seal.Holder{ID: "manager-1", Role: seal.Security, Verifier: key.Verifier(), Recipients: []string{moved.Recipient().String()}})
	for i, seat := range o.text.Seats { // else one person could open two shares
		if seat.Role == seal.Manager || seat.Role == seal.Security {
			o.text.Seats[i].Key = o.key().Public()
		}
	}
	o.register("manager-2", "hr-2", "security-2")
	s.approve("manager-1").want(Pending)
	if got := s.status(); len(got.Approvals) != 2 || !slices.Equal(got.Missing, []seal.Role{seal.Manager}) {
		t.Errorf("%d approvals, missing %v", len(got.Approvals), got.Missing)
	}
	s.approve("manager-2").want(Active)
	// A register in which one person holds two roles is none.
	for name, twice := range map[string]func(*seal.Holder){
		"the same key":       func(x *seal.Holder) { x.Verifier = key.Verifier() },
		"the same recipient": func(x *seal.Holder) { x.Recipients = []string{moved.Recipient().String()} },
		"the same id":        func(x *seal.Holder) { x.ID = "manager-1" },
	} {
		c := cloneTown(o)
		second := seal.Holder{ID: "eva-hr", Role: seal.HR, Verifier: c.signer("eva-hr").Verifier(), Recipients: []string{c.age().Recipient().String()}}
		twice(&second)
		c.text.Holders = append(c.text.Holders, second)
		c.text.Number, c.text.Previous = 3, c.chain[1].Digest()
		c.text.Sort()
		text, err := c.text.Encode()
		if err != nil {
			continue
		}
		signed := get(seal.Sign(text, c.signer("manager-2"), c.signer("hr-2"), c.signer("security-2")))
		if _, err := seal.ParseRegister(signed, c.chain[1]); err == nil {
			t.Errorf("%s in two roles was taken", name)
		}
	}
}
