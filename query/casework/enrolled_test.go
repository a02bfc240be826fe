package casework

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// Who asks and who looks is in the register, with the key that three roles have seen, or nothing happens.
func TestEnrolled(t *testing.T) {
	db := newDatabase(t)
	for _, test := range []struct {
		name string
		run  func(*house)
	}{
		{"requests of those who are not enrolled", (*house).testRequestsNotEnrolled},
		{"a gate that does not ask", (*house).testCarelessGate},
		{"members do not approve", (*house).testMembersDoNotApprove},
		{"a member removed between request, approvals and lookup", (*house).testRemovedMembers},
		{"the person's own extract is no lookup", (*house).testExtractIsNoLookup},
		{"to whom an extract goes", (*house).testRecipients},
		{"unions", (*house).testUnions},
		{"a memory is of one tenant", (*house).testMemoryOfAnotherTenant},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t, db)
			test.run(h)
		})
	}
}

// changed signs the register as it stands, and puts it on record.
func (h *house) changed() {
	h.t.Helper()
	h.register("manager-1", "hr-1", "security-1")
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[len(h.town.notes)-1])}); err != nil {
		h.t.Fatal(err)
	}
}

// stranger is somebody with a key of this name that nobody has seen.
func (h *house) stranger(id string) (*seal.Signer, Signatory) {
	s := get(seal.NewSigner(id))
	return s, Signatory{id, s.Verifier()}
}

func (h *house) testRequestsNotEnrolled() {
	mallory, asMallory := h.stranger("mallory")
	false1, asChef := h.stranger("chef")
	_, asUtredare := h.stranger("utredare")
	pupils := "skolutredare"
	if _, ok := h.signers[pupils]; !ok {
		h.enrol(pupils, "pupil")
		h.changed()
	}
	for name, c := range map[string]struct {
		signer *seal.Signer
		change func(*Decision)
		want   error
	}{
		"a requester whom nobody enrolled":             {mallory, func(d *Decision) { d.Requester = asMallory }, ErrNotEnrolled},
		"a requester with a key of his own":            {false1, func(d *Decision) { d.Requester = asChef }, ErrNotEnrolled},
		"a trusted investigator with a key of another": {h.signer("chef"), func(d *Decision) { d.Investigators = []Signatory{asUtredare} }, ErrNotEnrolled},
		"an investigator whom nobody enrolled": {h.signer("chef"), func(d *Decision) {
			d.Investigators = append(d.Investigators, asMallory)
		}, ErrNotEnrolled},
		"an investigator of another population": {h.signer("chef"), func(d *Decision) { d.Investigators = []Signatory{h.person(pupils)} }, ErrNotEnrolled},
		"a requester of another population":     {h.signer(pupils), func(d *Decision) { d.Requester = h.person(pupils) }, ErrNotEnrolled},
	} {
		d := h.decision(h.now())
		d.Case = "KS 2026/nej"
		c.change(d)
		n := h.count(audit.DecisionRequested)
		if _, err := h.gate.Request(h.t.Context(), get(SignDecision(d, c.signer))); !errors.Is(err, c.want) {
			h.t.Errorf("%s: %v", name, err)
		}
		if h.count(audit.DecisionRequested) != n {
			h.t.Errorf("%s is on record", name)
		}
	}
	// An id that is not the key's name is no decision at all.
	for name, change := range map[string]func(*Decision){
		"hr-1x signed by mallory": func(d *Decision) { d.Requester = Signatory{"hr-1x", mallory.Verifier()} },
		"an enrolled id":          func(d *Decision) { d.Requester = Signatory{"chef", mallory.Verifier()} },
		"an investigator's id":    func(d *Decision) { d.Investigators = []Signatory{{"utredare", mallory.Verifier()}} },
	} {
		d := h.decision(h.now())
		change(d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), "is not of this id") {
			h.t.Errorf("%s: %v", name, err)
		}
		text := get(seal.Canonical(d))
		if _, _, err := OpenDecision(get(seal.Sign(text, mallory))); err == nil {
			h.t.Errorf("%s: it opens", name)
		}
	}
	if _, err := SignDecision(h.decision(h.now()), false1); err == nil {
		h.t.Error("another key of the requester's name signs")
	}
	// A holder may ask and look, and then can't approve.
	d := h.request(func(d *Decision) { d.Case, d.Investigators = "KS 2026/hr", []Signatory{h.person("hr-1")} })
	if _, err := h.approver("hr-1").Open(first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil))); !errors.Is(err, ErrNotEntitled) {
		h.t.Error("an investigator approves:", err)
	}
	h.approve(d, "manager-1", "hr-2", "security-1")
	if _, err := h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "hr-1"), func(Row) error { return nil }); err != nil {
		h.t.Error("a holder who investigates is refused:", err)
	}
}

// unasked files a decision and puts it on record, as a gate would that asks nothing.
func (h *house) unasked(d *Decision, by *seal.Signer) seal.Digest {
	h.t.Helper()
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.gate.store.open(d, get(SignDecision(d, by))); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.DecisionRequested, Actor: d.Requester.ID, Case: d.Case, Document: digest.String()}); err != nil {
		h.t.Fatal(err)
	}
	return digest
}

// forced is an approval by a client that checks nothing.
func (h *house) forced(d *Decision, digest seal.Digest, id string, role seal.Role) []byte {
	current := h.current()
	handover := get(seal.SealHandover(h.town.gate.Public(), digest, role, map[seal.KeyID]seal.Share{}))
	a := NewAct(ActApproval, d, digest, id, h.now())
	a.Role, a.Register, a.Handover = role, &current, seal.DigestOf(handover.Sealed)
	return get(json.Marshal(approvalFile{typeApproval, string(get(SignAct(a, h.signer(id)))), handover}))
}

// The approver's own client, which asks nobody, refuses what a gate should have refused; and so does the gate, what a client should
// have.
func (h *house) testCarelessGate() {
	mallory, asMallory := h.stranger("mallory")
	_, asUtredare := h.stranger("utredare")
	for name, c := range map[string]struct {
		signer *seal.Signer
		change func(*Decision)
	}{
		"requester":    {mallory, func(d *Decision) { d.Requester = asMallory }},
		"investigator": {h.signer("chef"), func(d *Decision) { d.Investigators = []Signatory{asUtredare} }},
		"recipient": {h.signer("chef"), func(d *Decision) {
			ownRows(d)
			d.Recipient = h.ages["utredare"].Recipient().String()
		}},
	} {
		d := h.decision(h.now())
		d.Case = "KS 2026/" + name
		c.change(d)
		digest := h.unasked(d, c.signer)
		text := first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil))
		if _, err := h.approver("hr-1").Open(text); !errors.Is(err, ErrNotEntitled) {
			h.t.Errorf("%s: the approver's client shows it: %v", name, err)
		}
		for _, role := range seal.Approvers() {
			if _, err := h.gate.Accept(h.t.Context(), h.forced(d, digest, string(role)+"-1", role)); err == nil {
				h.t.Errorf("%s: the gate accepts an approval", name)
			}
		}
		// Nor do approvals count that somebody wrote into store and record.
		v := get(h.gate.view(h.t.Context(), d.Case))
		e := v.evidence()
		for _, role := range seal.Approvers() {
			signed, _, err := parseApproval(h.forced(d, digest, string(role)+"-1", role))
			if err != nil {
				h.t.Fatal(err)
			}
			e.Acts = append(e.Acts, signed)
			e.Record = append(e.Record, audit.Record{Entry: audit.Entry{At: h.now(), Kind: audit.DecisionApproved, Actor: string(role) + "-1", Case: d.Case, Document: digest.String(), Body: string(signed)}})
		}
		if s := StateOf(e, h.now()); len(s.Approvals) > 0 || s.State == Active {
			h.t.Errorf("%s: %d approvals count, it is %s", name, len(s.Approvals), s.State)
		}
	}
}

func (h *house) testMembersDoNotApprove() {
	d := h.request(nil)
	_, digest, _ := d.Text()
	text := first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil))
	for _, id := range []string{"registrator", "chef", "utredare"} {
		a := &Approver{ID: id, Signer: h.signer(id), Keys: []seal.PrivateKey{h.keys["/hr"]}, Trust: h.log.Trust(), Now: h.now}
		if _, err := a.Open(text); err == nil {
			h.t.Errorf("%s is shown a bundle", id)
		}
		for _, role := range seal.Approvers() {
			if _, err := h.gate.Accept(h.t.Context(), h.forced(d, digest, id, role)); err == nil {
				h.t.Errorf("%s approves as %s", id, role)
			}
		}
	}
	// Nor does a member of no part in the case see it, or end it.
	if _, _, err := h.gate.Entitled(h.t.Context(), d.Case, h.signer("registrator")); !errors.Is(err, ErrRefused) {
		h.t.Error("a member sees another's case:", err)
	}
	if _, err := h.act(ActRevocation, d, "registrator", func(a *Act) { a.Reason = "x" }); err == nil {
		h.t.Error("a member revokes another's case")
	}
}

func (h *house) testRemovedMembers() {
	wanted := func(what string, d *Decision, ok bool) {
		h.t.Helper()
		n := h.count(audit.AccessRefused)
		rows, _, err := h.lookup(d)
		if ok {
			if err != nil || len(rows) == 0 {
				h.t.Errorf("%s: %d rows, %v", what, len(rows), err)
			}
			return
		}
		h.refused(what, rows, err, n)
	}
	d := h.active(func(d *Decision) { d.Lookups = 20 })
	kept, _, err := h.lookup(d)
	if err != nil {
		h.t.Fatal(err)
	}
	out := h.path("out")
	if err := os.Mkdir(out, 0o700); err != nil {
		h.t.Fatal(err)
	}
	export := func(what string, ok bool) {
		h.t.Helper()
		_, err := h.gate.Export(h.t.Context(), d.Case, kept, ExportOptions{Dir: out, Maker: h.signer("utredare"), Authority: "Norrbo kommun"})
		if ok && err != nil || !ok && !errors.Is(err, ErrRefused) {
			h.t.Errorf("export, %s: %v", what, err)
		}
	}
	export("before anybody left", true)
	wanted("before anybody left", d, true)
	for _, id := range []string{"utredare", "chef"} {
		h.town.leave(id)
		h.changed()
		wanted(id+" has left", d, false)
		export(id+" has left", false)
		if _, s, err := h.gate.Entitled(h.t.Context(), d.Case, h.signer(id)); err == nil {
			h.t.Errorf("%s has left and sees the case: %v", id, s)
		}
		if s := h.status(d); s.State != Active {
			h.t.Errorf("%s has left, and what three people approved has fallen: %s", id, s.State)
		}
		for _, typ := range []string{ActRevocation, ActClosing} {
			if _, err := h.act(typ, d, id, func(a *Act) {
				if a.Reason = "x"; typ == ActClosing {
					a.Reason, a.Result = "", "x"
				}
			}); !errors.Is(err, ErrRefused) {
				h.t.Errorf("%s has left, and ends the case: %v", id, err)
			}
		}
		h.enrol(id, "")
		h.changed()
		wanted(id+" is back, with the same key", d, true)
		// Under the same id with another key: another person, for all that is known.
		old := h.signers[id]
		h.town.leave(id)
		delete(h.signers, id)
		h.ages[id] = nil
		h.enrol(id, "")
		h.signers[id] = old
		h.changed()
		wanted(id+" has another key in the register", d, false)
		export(id+" has another key in the register", false)
		h.town.leave(id)
		h.enrol(id, "pupil")
		h.changed()
		wanted(id+" serves another population", d, false)
		h.town.leave(id)
		h.enrol(id, "")
		h.changed()
		wanted(id+" is back", d, true)
		export(id+" is back", true)
	}
	// Another investigator leaves: those who stay go on.
	both := h.active(func(d *Decision) {
		d.Case, d.Investigators = "KS 2026/två", []Signatory{h.person("utredare"), h.person("tredje-utredare")}
	})
	h.town.leave("tredje-utredare")
	h.changed()
	wanted("another has left", both, true)
	n := h.count(audit.AccessRefused)
	_, err = h.gate.Lookup(h.t.Context(), both.Case, h.ask(both, "tredje-utredare"), func(Row) error { h.t.Error("a row"); return nil })
	h.refused("who has left", nil, err, n)
	h.enrol("tredje-utredare", "")
	h.changed()

	// While a lookup runs.
	h.gate.page = 1
	left := 0
	_, err = h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), func(Row) error {
		if left++; left == 2 {
			h.town.leave("utredare")
			h.changed()
		}
		return nil
	})
	if !errors.Is(err, ErrRefused) || left > 3 {
		h.t.Errorf("removed while the lookup ran: %d rows, %v", left, err)
	}
	h.enrol("utredare", "")
	h.changed()

	// What somebody did before leaving stays in the document of the case.
	if _, err := h.act(ActNotice, both, "chef", func(a *Act) { a.Told, a.ToldAt = "Vision, ombud A", a.At }); err != nil {
		h.t.Fatal(err)
	}
	h.town.leave("chef")
	h.town.leave("hr-1")
	h.hold("hr-3", "", seal.HR)
	h.register("manager-1", "hr-2", "security-1")
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[len(h.town.notes)-1])}); err != nil {
		h.t.Fatal(err)
	}
	if page := fmt.Sprint(get(h.gate.Document(h.t.Context(), both.Case, "Norrbo kommun"))); !strings.Contains(page, "Vision, ombud A") || !strings.Contains(page, "hr-1") {
		h.t.Error("what was done by those who left is not in the document")
	}
	h.town.leave("hr-3")
	delete(h.signers, "hr-1")
	h.hold("hr-1", "", seal.HR)
	h.enrol("chef", "")
	h.register("manager-1", "hr-2", "security-1")
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[len(h.town.notes)-1])}); err != nil {
		h.t.Fatal(err)
	}

	// Between the request and the approvals: no client shows it, and no approval is taken.
	waiting := h.request(func(d *Decision) { d.Case = "KS 2026/väntar" })
	h.town.leave("utredare")
	h.changed()
	if _, err := h.approver("hr-1").Open(first(h.gate.Bundle(h.t.Context(), waiting.Case, seal.HR, nil))); !errors.Is(err, ErrNotEnrolled) {
		h.t.Error("an approver is asked for somebody who has left:", err)
	}
	_, digest, _ := waiting.Text()
	// Not even one that was signed before, and names the register of then.
	before := h.chain[len(h.chain)-2]
	late := NewAct(ActApproval, waiting, digest, "hr-1", h.now())
	handover := get(seal.SealHandover(h.town.gate.Public(), digest, seal.HR, map[seal.KeyID]seal.Share{}))
	late.Role, late.Register, late.Handover = seal.HR, &RegisterDigest{before.Number(), before.Digest()}, seal.DigestOf(handover.Sealed)
	text := get(json.Marshal(approvalFile{typeApproval, string(get(SignAct(late, h.signer("hr-1")))), handover}))
	if _, err := h.gate.Accept(h.t.Context(), text); !errors.Is(err, ErrNotEnrolled) {
		h.t.Error("an approval of before somebody left is taken after:", err)
	}
	if _, err := h.gate.Accept(h.t.Context(), h.forced(waiting, digest, "hr-1", seal.HR)); err == nil {
		h.t.Error("an approval for somebody who has left")
	}
	h.enrol("utredare", "")
	h.changed()
}

func (h *house) testExtractIsNoLookup() {
	me := get(age.GenerateX25519Identity())
	own := h.active(func(d *Decision) {
		ownRows(d)
		d.Recipient = me.Recipient().String()
	})
	desk := h.active(func(d *Decision) {
		d.Kind, d.Case, d.Suspicion, d.LessIntrusive, d.Union = PublicRecord, "KS 2026/500-1", "", "", ""
	})
	for _, d := range []*Decision{own, desk} {
		n, intents := h.count(audit.AccessRefused), h.count(audit.LookupIntent)
		_, err := h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), func(Row) error { h.t.Error("a row"); return nil })
		h.refused(string(d.Kind)+" as a lookup", nil, err, n)
		if h.count(audit.LookupIntent) != intents {
			h.t.Errorf("%s: a refused lookup counts", d.Kind)
		}
	}
	person := h.active(func(d *Decision) { d.Case = "KS 2026/person" })
	o := SubjectAccessOptions{Dir: h.t.TempDir(), Maker: h.signer("utredare"), Authority: "Norrbo kommun", Processing: DefaultProcessingConfig()}
	if _, err := h.gate.GiveExtract(h.t.Context(), person.Case, h.ask(person, "utredare"), o); !errors.Is(err, ErrRefused) {
		h.t.Error("an investigation as a person's own extract:", err)
	}
	if _, err := h.gate.GiveExtract(h.t.Context(), own.Case, h.ask(own, "chef"), o); !errors.Is(err, ErrRefused) {
		h.t.Error("who is no investigator makes an extract:", err)
	}
	e, err := h.gate.GiveExtract(h.t.Context(), own.Case, h.ask(own, "utredare"), o)
	if err != nil {
		h.t.Fatal(err)
	}
	all := own.Scope
	all.Protected = "the person's own"
	want := h.db.wanted(all)
	sealed := get(os.ReadFile(e.Path))
	files := get(openExtract(bytes.NewReader(sealed), me))
	rows := get(ParseRows(files["rows.json"]))
	if !slices.Equal(linesOf(rows), want) || e.Result.Rows != int64(len(want)) || e.Passphrase != "" {
		h.t.Errorf("%d rows in the extract, %d wanted, %+v", len(rows), len(want), e.Result)
	}
	for _, other := range []age.Identity{h.identity, h.ages["utredare"], h.ages["hr-1"]} {
		if _, err := openExtract(bytes.NewReader(sealed), other); err == nil {
			h.t.Error("somebody else opens it")
		}
	}
}

func (h *house) testRecipients() {
	for name, c := range map[string]struct {
		recipient string
		subject   string
		want      string
	}{
		"the investigator's":      {h.ages["utredare"].Recipient().String(), "", "holder or member"},
		"an approver's":           {h.ages["hr-2"].Recipient().String(), "", "holder or member"},
		"the gate's":              {h.identity.Recipient().String(), "", "the gate's"},
		"the subject's, a holder": {h.ages["hr-2"].Recipient().String(), "hr-2", ""},
		"nobody's":                {"", "", "recipient: is missing"},
		"another word":            {"brev", "", "recipient"},
		"two":                     {h.age().Recipient().String() + "\n" + h.age().Recipient().String(), "", "recipient"},
		"a secret key":            {h.age().String(), "", "recipient"},
		"a plugin":                {"age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "", "recipient"},
		"with a comment":          {"# anna\n" + h.age().Recipient().String(), "", "recipient"},
		"a letter":                {ByLetter, "", ""},
	} {
		d := h.decision(h.now())
		ownRows(d)
		d.Case, d.Recipient = "KS 2026/"+strings.Map(func(r rune) rune {
			if r == ' ' || r == '\'' || r == ',' {
				return -1
			}
			return r
		}, name), c.recipient
		if c.subject != "" {
			d.Scope.Subject, d.Scope.Names = c.subject, []string{}
		}
		signed, err := SignDecision(d, h.signer("chef"))
		if err == nil {
			_, err = h.gate.Request(h.t.Context(), signed)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			h.t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	d := h.decision(h.now())
	d.Recipient = ByLetter
	if err := d.Validate(); err == nil || !strings.Contains(err.Error(), "recipient") {
		h.t.Error("an investigation has a recipient:", err)
	}
}

func (h *house) testUnions() {
	for _, c := range []struct {
		population, union, informed, want string
	}{
		{"staff", "", "", "union: is missing"},
		{"unknown", "", "", "union: is missing"},
		{"staff", "Vision", "presidiet", "informed: must be empty"},
		{"elected", "", "kommunfullmäktiges presidium", ""},
		{"elected", "", "", ""},
		{"pupil", "", "vårdnadshavaren", ""},
		{"pupil", "Elevkåren", "", ""},
	} {
		d := h.decision(h.now())
		d.Population, d.Union, d.Informed = c.population, c.union, c.informed
		if err := d.Validate(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			h.t.Errorf("%+v: %v", c, err)
		}
	}
	d := h.active(func(d *Decision) { d.Population, d.Union, d.Informed = "elected", "", "kommunfullmäktiges presidium" })
	page := get(DecisionFile{Decision: d, State: "active", Made: h.now()}.Page().HTML())
	if !bytes.Contains(page, []byte("kommunfullmäktiges presidium")) || bytes.Contains(page, []byte("Ingen underrättelse är antecknad")) {
		h.t.Error("the document does not say who is told instead of a union")
	}
	h.pass(3 * day)
	if s := h.status(d); s.State != Active {
		h.t.Error("without a union it is", s.State, s.Why)
	}
	cfg := DefaultConfig()
	cfg.Union = []string{"elected"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "staff is missing") || !strings.Contains(err.Error(), "unknown is missing") {
		h.t.Error("staff has no union by configuration:", err)
	}
	h.gate.p.Config.Union = append(h.gate.p.Config.Union, "elected")
	d = h.decision(h.now())
	d.Case, d.Population, d.Union = "KS 2026/presidium", "elected", ""
	if _, err := h.gate.Request(h.t.Context(), get(SignDecision(d, h.signer("chef")))); err == nil || !strings.Contains(err.Error(), "casework.union") {
		h.t.Error("casework.union is not asked:", err)
	}
}

func (h *house) testMemoryOfAnotherTenant() {
	d := h.request(nil)
	a := h.approver("hr-1")
	text := first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil))
	a.Memory = get(a.Open(text)).Memory
	if _, err := a.Open(text); err != nil || a.Memory.Tenant != tenant {
		h.t.Error("its own memory:", err)
	}
	a.Memory.Tenant = "soderbo"
	if _, err := a.Open(text); err == nil || !strings.Contains(err.Error(), "another tenant") {
		h.t.Error("a memory of another tenant:", err)
	}
	// An old register is refused by the memory of this tenant, whatever was approved for others meanwhile.
	a.Memory.Tenant = tenant
	a.Memory.Register.Number++
	if _, err := a.Open(text); !errors.Is(err, ErrRemembered) {
		h.t.Error("an older register than the one that was seen:", err)
	}
	page := fmt.Sprint(DecisionFile{Decision: d}.Page())
	if !strings.Contains(page, "chef ("+seal.Fingerprint(d.Requester.Key)+")") || !strings.Contains(page, "utredare ("+seal.Fingerprint(d.Investigators[0].Key)+")") {
		h.t.Error("the screen and the document do not show whose keys they are")
	}
}

func (h *house) status(d *Decision) Status {
	h.t.Helper()
	_, s, err := h.gate.status(h.t.Context(), d.Case)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}
