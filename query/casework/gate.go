package casework

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// ErrRefused is the one answer to whoever may not: there is no such case, it is another's, or it is not active. Which, stands in
// the record.
var ErrRefused = errors.New("refused: you have no active case of this number")

// Why somebody was refused, as the record counts it.
const (
	refusedNoCase   = 1
	refusedActor    = 2 // another's case, or another's signature
	refusedState    = 3 // not active
	refusedUsedUp   = 4
	refusedReplay   = 5
	refusedTime     = 6  // the request is too old, or of the future
	refusedDocument = 7  // not a document, or on another decision
	refusedUnproved = 8  // an act in the case store is signed by nobody who may
	refusedReader   = 9  // the rows of this kind are for the person, or for the desk of public records
	refusedEnrolled = 10 // who asked for the decision, or who looks, is in the register no more
)

// Parts are what a gate is made of.
type Parts struct {
	Config     Config
	Deployment string
	Keys       []seal.PrivateKey // the gate's, newest first
	Identities []age.Identity    // the gate's, newest first
	Recipient  string            // age recipient of the newest
	Lookup     seal.LookupKey
	Registers  func(tenant string) ([][]byte, error) // signed registers from number 1
	Log        *audit.Log
	Vault      *vault.Store // nil: there are documents, and no lookups
	Now        func() time.Time

	// Whose answers whose mail address it is, seen from a tenant: the subject if it is one of ours. nil: all are outsiders'.
	Whose func(tenant string, address []byte) (subject []byte, ours bool)
	// Protected says whether a domain is a protected destination by the lists of today, beside the verdict of then.
	Protected func(domain []byte) bool
}

// A Gate keeps cases, accepts approvals and runs lookups. It is safe for concurrent use, and beside other processes.
type Gate struct {
	p     Parts
	store *Store

	page int          // rows between two looks at the state
	step func(string) // called between steps; for tests that stop there
}

// NewGate makes a gate. It opens nothing.
func NewGate(p Parts) (*Gate, error) {
	var faults []error
	if err := p.Config.Validate(); err != nil {
		faults = append(faults, err)
	}
	if p.Deployment == "" || len(p.Keys) == 0 || p.Registers == nil || p.Log == nil {
		faults = append(faults, errors.New("deployment, keys, registers or record are missing"))
	}
	store, err := NewStore(p.Config, p.Identities, p.Recipient)
	if err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("make the gate: %w", err)
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Vault != nil {
		// A copy: the caller's own store is not ours to change.
		served := *p.Vault
		served.Purged = func(ctx context.Context) (vault.Purged, error) {
			record, err := p.Log.Entries(ctx)
			if err != nil {
				return vault.Purged{}, err
			}
			return vault.PurgedDays(record)
		}
		p.Vault = &served
	}
	return &Gate{p: p, store: store, page: 256, step: func(string) {}}, nil
}

// Store is the case store.
func (g *Gate) Store() *Store { return g.store }

// Format hides the keys from every verb.
func (*Gate) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// Chain answers the registers of a tenant, checked against each other and against the record: what the record says must be
// there, and what is there must be in the record. So nobody can put back an old register, or slip in a new one.
func (g *Gate) Chain(ctx context.Context, tenant string) ([]*seal.Register, error) {
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return nil, err
	}
	chain, _, err := g.chain(tenant, record)
	return chain, err
}

func (g *Gate) chain(tenant string, record []audit.Record) ([]*seal.Register, [][]byte, error) {
	notes, err := g.p.Registers(tenant)
	if err != nil {
		return nil, nil, err
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return nil, nil, err
	}
	if len(chain) == 0 {
		return nil, nil, fmt.Errorf("the tenant %s has no register of holders: make one with 'tillsyn keys init'", tenant)
	}
	if chain[0].Deployment() != g.p.Deployment || chain[0].Tenant() != tenant {
		return nil, nil, errors.New("the register of holders is another deployment's or tenant's")
	}
	recorded := map[seal.Digest]bool{}
	for _, r := range record {
		if r.Kind != audit.RegisterChanged {
			continue
		}
		text, err := seal.Unsigned([]byte(r.Body))
		if err != nil {
			continue
		}
		of, err := seal.ParseRegisterText(text)
		if err != nil || of.Tenant != tenant {
			continue
		}
		d := seal.DigestOf(text)
		recorded[d] = true
		if of.Number > len(chain) || chain[of.Number-1].Digest() != d {
			return nil, nil, fmt.Errorf("the record has a register number %d of %s that is not in the folder of keys: an old copy was put back, or a file is missing", of.Number, tenant)
		}
	}
	for _, r := range chain {
		if !recorded[r.Digest()] {
			return nil, nil, fmt.Errorf("the register number %d of %s is not in the record", r.Number(), tenant)
		}
	}
	return chain, notes, nil
}

// A view is a case with what its state follows from.
type view struct {
	*Case
	Status
	record []audit.Record
	chain  []*seal.Register
	notes  [][]byte
}

// view reads a case and judges it now. It fails with [ErrNoCase] if there is none.
func (g *Gate) view(ctx context.Context, number string) (*view, error) {
	c, err := g.store.Case(number)
	if err != nil {
		return nil, err
	}
	return g.judge(ctx, c)
}

func (g *Gate) judge(ctx context.Context, c *Case) (*view, error) {
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return nil, err
	}
	chain, notes, err := g.chain(c.Decision.Tenant, record)
	if err != nil {
		return nil, err
	}
	v := &view{Case: c, record: record, chain: chain, notes: notes}
	v.Status = StateOf(v.evidence(), g.p.Now())
	if c.Decision.Deployment != g.p.Deployment {
		v.Status.State, v.Status.Why = Draft, "it is another deployment's"
	}
	return v, nil
}

func (v *view) evidence() Evidence {
	return Evidence{Decision: v.Decision, Digest: v.Digest, Acts: v.Acts, Record: v.record, Chain: v.chain}
}

// List answers all cases with their states, by number. One that can't be read is in the error, and hides no other.
func (g *Gate) List(ctx context.Context) ([]*Case, []Status, error) {
	cases, err := g.store.Cases()
	var states []Status
	for _, c := range cases {
		v, fault := g.judge(ctx, c)
		if fault != nil {
			return nil, nil, fault
		}
		states = append(states, v.Status)
	}
	return cases, states, err
}

// Entitled answers a case to whoever has the signing key of its requester, one of its investigators, or a holder of a role for its
// population, but never to its subject. To everybody else it answers [ErrRefused], and that goes on record.
func (g *Gate) Entitled(ctx context.Context, number string, signer *seal.Signer) (*Case, Status, error) {
	v, err := g.view(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return nil, Status{}, g.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return nil, Status{}, err
	}
	if !v.entitled(signer) {
		return nil, Status{}, g.refuse(ctx, "", number, v.Digest.String(), refusedActor)
	}
	return v.Case, v.Status, nil
}

func (v *view) entitled(signer *seal.Signer) bool {
	if signer == nil {
		return false
	}
	d, key := v.Decision, signer.Verifier()
	current := v.chain[len(v.chain)-1]
	for _, p := range append([]Signatory{d.Requester}, d.Investigators...) {
		if p.Key == key && current.Enrolled(p.ID, key, d.Population) {
			return true
		}
	}
	h, ok := current.Holder(signer.Name())
	return ok && h.Verifier == key && current.Decides(h.ID, d.Population) && !d.Scope.isSubject(h.ID)
}

// refuse puts a refusal on record and answers [ErrRefused]; or, if there is no record, that.
func (g *Gate) refuse(ctx context.Context, actor, number, document string, reason int64) error {
	e := audit.Entry{Kind: audit.AccessRefused, Actor: actor, Case: number, Document: document, Counts: map[string]int64{"reason": reason}}
	if !idForm.MatchString(actor) {
		e.Actor = "gate"
	}
	// Whoever mistypes may have typed a name, and what is on record stays.
	if reason == refusedNoCase || checkCase(number) != nil {
		e.Case = ""
	}
	if _, err := g.p.Log.Append(ctx, e); err != nil {
		return err
	}
	return ErrRefused
}

// Request files a decision that its requester has signed and puts it on record: from then on it is pending. Repeating it changes
// nothing.
func (g *Gate) Request(ctx context.Context, signed []byte) (Status, error) {
	fail := func(err error) (Status, error) { return Status{}, fmt.Errorf("request a decision: %w", err) }
	d, digest, err := OpenDecision(signed)
	if err != nil {
		return fail(err)
	}
	if d.Deployment != g.p.Deployment {
		return fail(errors.New("it is another deployment's"))
	}
	rule, err := RuleOf(d.Kind)
	if err != nil {
		return fail(err)
	}
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	chain, _, err := g.chain(d.Tenant, record)
	if err != nil {
		return fail(err)
	}
	before, err := g.store.Case(d.Case)
	if err != nil && !errors.Is(err, ErrNoCase) {
		return fail(err)
	}
	if err == nil && before.Digest != digest {
		return fail(ErrCaseTaken)
	}
	if err := g.store.free(record, d.Case, digest); err != nil {
		return fail(err)
	}
	if !onRecord(record, audit.DecisionRequested, digest.String(), "") {
		if now := Clock(record, g.p.Now()); !near(d.Requested, now) {
			return fail(fmt.Errorf("its time of request is not now, give or take %v: a decision can't be dated back or forward", ClockTolerance))
		}
		current := chain[len(chain)-1]
		if (RegisterDigest{current.Number(), current.Digest()}) != d.Register {
			return fail(errors.New("it does not name the register of holders that stands now"))
		}
		if err := d.Enrolled(current); err != nil {
			return fail(err)
		}
		if slices.Contains(g.p.Config.Union, d.Population) && d.Union == "" && rule.union == must {
			return fail(errors.New("union: is missing, which casework.union asks of this population"))
		}
		if err := d.canBeApproved(current); err != nil {
			return fail(err)
		}
		if err := g.store.open(d, signed); err != nil {
			return fail(err)
		}
		g.step("request filed")
		first, last, err := d.Scope.Days()
		if err != nil {
			return fail(err)
		}
		if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.DecisionRequested, Actor: d.Requester.ID, Case: d.Case, Document: digest.String(),
			Counts: requestCounts(d, int64(last-first)+1)}); err != nil {
			return fail(err)
		}
	}
	v, err := g.view(ctx, d.Case)
	if err != nil {
		return fail(err)
	}
	return v.Status, nil
}

// canBeApproved says whether there are three people who may approve d.
func (d *Decision) canBeApproved(r *seal.Register) error {
	var faults []error
	for _, role := range seal.Approvers() {
		holders := r.Holders(d.Population, role)
		if !slices.ContainsFunc(holders, func(h seal.Holder) bool { return d.MayApprove(h) == nil }) {
			faults = append(faults, fmt.Errorf("no holder of %s may approve it: all are requester, investigator or subject", role))
		}
	}
	return errors.Join(faults...)
}

// onRecord says whether the record has an entry of this kind about a document, with body (any, if it is empty).
func onRecord(record []audit.Record, kind audit.Kind, document, body string) bool {
	return slices.ContainsFunc(record, func(r audit.Record) bool {
		return r.Kind == kind && r.Document == document && (body == "" || r.Body == body)
	})
}

// Accept files an approval and puts it on record. Repeating it changes nothing. It answers the state afterwards.
func (g *Gate) Accept(ctx context.Context, text []byte) (Status, error) {
	fail := func(err error) (Status, error) { return Status{}, fmt.Errorf("accept an approval: %w", err) }
	signed, handover, err := parseApproval(text)
	if err != nil {
		return fail(err)
	}
	a, err := ReadAct(signed)
	if err != nil {
		return fail(err)
	}
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	v, err := g.view(ctx, a.Case)
	if errors.Is(err, ErrNoCase) {
		return Status{}, g.refuse(ctx, "", a.Case, "", refusedNoCase)
	}
	if err != nil {
		return fail(err)
	}
	if onRecord(v.record, audit.DecisionApproved, v.Digest.String(), string(signed)) && slices.ContainsFunc(v.Acts, func(b []byte) bool { return bytes.Equal(b, signed) }) {
		return v.Status, nil
	}
	if _, err := openAct(signed, v.Decision, v.Digest, v.chain); err != nil || a.Type != ActApproval {
		return Status{}, errors.Join(g.refuse(ctx, "", a.Case, v.Digest.String(), refusedActor), err)
	}
	if err := v.Decision.Enrolled(v.chain[len(v.chain)-1]); err != nil {
		return fail(err)
	}
	switch {
	case v.State != Pending || len(v.Missing) == 0:
		return fail(fmt.Errorf("the decision is %s: %s", v.State, v.Why))
	case !slices.Contains(v.Missing, a.Role):
		return fail(fmt.Errorf("%s has approved already", a.Role))
	case a.At.After(v.Now.Add(ClockTolerance)) || a.At.Before(v.Decision.Requested.Add(-ClockTolerance)):
		return fail(errors.New("its time is not between the request and now"))
	case handover.Role != a.Role || seal.DigestOf(handover.Sealed) != a.Handover:
		return fail(errors.New("what is handed over is not what was signed"))
	}
	if _, err := g.openHandover(v.Digest, handover); err != nil {
		return fail(fmt.Errorf("what is handed over: %w", err))
	}
	g.step("approval checked")
	if err := g.store.file(a.Case, signed, &handover); err != nil {
		return fail(err)
	}
	g.step("approval filed")
	if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.DecisionApproved, Actor: a.Actor, Case: a.Case, Document: v.Digest.String(), Body: string(signed)}); err != nil {
		return fail(err)
	}
	g.step("approval recorded")
	after, err := g.view(ctx, a.Case)
	if err != nil {
		return fail(err)
	}
	return after.Status, nil
}

// openHandover opens shares with whichever of the gate's keys they were sealed to.
func (g *Gate) openHandover(decision seal.Digest, h seal.Handover) (map[seal.KeyID]seal.Share, error) {
	for _, k := range g.p.Keys {
		if shares, err := k.OpenHandover(decision, h); err == nil {
			return shares, nil
		}
	}
	return nil, seal.ErrNotOpened
}

// Act files a denial, revocation, notice or closing and puts it on record. Repeating it changes nothing. It answers the state
// afterwards.
func (g *Gate) Act(ctx context.Context, signed []byte) (Status, error) {
	fail := func(err error) (Status, error) { return Status{}, fmt.Errorf("act on a decision: %w", err) }
	a, err := ReadAct(signed)
	if err != nil {
		return fail(err)
	}
	rule, err := actRuleOf(a.Type)
	if err != nil || a.Type == ActApproval || a.Type == ActLookup {
		return fail(errors.New("this document is not a denial, revocation, notice or closing"))
	}
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	v, err := g.view(ctx, a.Case)
	if errors.Is(err, ErrNoCase) {
		return Status{}, g.refuse(ctx, "", a.Case, "", refusedNoCase)
	}
	if err != nil {
		return fail(err)
	}
	if _, err := openAct(signed, v.Decision, v.Digest, v.chain); err != nil {
		return Status{}, g.refuse(ctx, "", a.Case, v.Digest.String(), refusedActor)
	}
	if v.Decision.Scope.isSubject(a.Actor) && a.Actor != v.Decision.Requester.ID {
		return Status{}, g.refuse(ctx, a.Actor, a.Case, v.Digest.String(), refusedActor)
	}
	body := seal.DigestOf(signed).String()
	if a.Type == ActNotice {
		if v.Decision.Scope.mentioned(a.Told) {
			return fail(errors.New("told: names the person whom the decision is about, and what is on record stays: name the union only"))
		}
		body = string(signed) // anybody must be able to check it
	}
	filedBefore := slices.ContainsFunc(v.Acts, func(b []byte) bool { return bytes.Equal(b, signed) })
	if onRecord(v.record, rule.kind, v.Digest.String(), body) {
		if !filedBefore { // somebody removed it, and without it nothing of the case is let go
			if err := g.store.file(a.Case, signed, nil); err != nil {
				return fail(err)
			}
			if v, err = g.view(ctx, a.Case); err != nil {
				return fail(err)
			}
		}
		return v.Status, nil
	}
	if !filedBefore { // half of an act that was begun is finished whatever the state is now
		if !near(a.At, v.Now) {
			return fail(fmt.Errorf("its time is not now, give or take %v", ClockTolerance))
		}
		lost := a.Type == ActClosing && v.State == Closed && !v.Certain // the closing on record is not in the store any more
		if !slices.Contains(statesFor(a.Type), v.State) && !lost {
			return fail(fmt.Errorf("the decision is %s (%s): this can be done to one that is %s", v.State, v.Why, joinStates(statesFor(a.Type))))
		}
		if a.Type == ActNotice && a.ToldAt.Before(v.Decision.Requested) {
			return fail(errors.New("the union can't have been told before the decision was requested"))
		}
		if err := g.store.file(a.Case, signed, nil); err != nil {
			return fail(err)
		}
	}
	g.step("act filed")
	if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: rule.kind, Actor: a.Actor, Case: a.Case, Document: v.Digest.String(), Body: body}); err != nil {
		return fail(err)
	}
	after, err := g.view(ctx, a.Case)
	if err != nil {
		return fail(err)
	}
	g.step("act recorded")
	if after.ended() {
		if err := g.store.forgetShares(a.Case); err != nil {
			return fail(err)
		}
	}
	return after.Status, nil
}

// ended says whether everything that a decision opened or held may be let go: it is denied, revoked or closed, by an act that is
// proved and on record. Whoever can only write into the store, or only into the record, lets nothing go.
func (s Status) ended() bool {
	return s.Certain && (s.State == Denied || s.State == Revoked || s.State == Closed)
}

// statesFor are the states in which an act of a type may be done.
func statesFor(typ string) []State {
	switch typ {
	case ActDenial:
		return []State{Pending}
	case ActRevocation:
		return []State{Pending, Active, Suspended}
	case ActNotice:
		return []State{Pending, Active, Suspended, Expired, Revoked}
	case ActClosing:
		return []State{Pending, Active, Suspended, Expired, Revoked, Denied}
	}
	return nil
}

func joinStates(list []State) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// forgetEnded removes what was handed over for decisions that have ended: backups of the database must not open with it.
func (g *Gate) forgetEnded(ctx context.Context) error {
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	cases, fault := g.store.Cases()
	for _, c := range cases {
		v, err := g.judge(ctx, c)
		if err != nil {
			if len(c.handovers) > 0 {
				fault = errors.Join(fault, err)
			}
			continue
		}
		if v.Unproved > 0 {
			fault = errors.Join(fault, fmt.Errorf("%w: %d acts of case %s are signed by nobody who may: tell the data protection officer", ErrStore, v.Unproved, c.Decision.Case))
		}
		if len(c.handovers) == 0 {
			continue
		}
		// By the record's own clock: one that was wrong for a moment must not end a decision for good.
		if s := StateOf(v.evidence(), time.Time{}); s.ended() || s.State == Expired {
			err = g.store.forgetShares(c.Decision.Case)
		}
		fault = errors.Join(fault, err)
	}
	return errors.Join(fault, g.forgetPreviews(ctx))
}

// Recover names, on record, every lookup that was begun and never ended: its process died, or the record was not there for the
// result. And it removes what was handed over for decisions that have ended. It does nothing while a lookup runs. It answers how
// many lookups it named.
func (g *Gate) Recover(ctx context.Context) (int, error) {
	n := 0
	_, err := g.store.idle(func() error {
		record, err := g.p.Log.Entries(ctx)
		if err != nil {
			return err
		}
		ended := map[string]bool{}
		for _, r := range record {
			if r.Kind == audit.LookupResult || r.Kind == audit.LookupUnknown {
				first, _, _ := strings.Cut(r.Body, "\n")
				ended[first] = true
			}
		}
		for _, r := range record {
			if r.Kind != audit.LookupIntent || ended[strings.TrimSpace(r.Body)] {
				continue
			}
			if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.LookupUnknown, Actor: r.Actor, Case: r.Case, Document: r.Document, Body: r.Body}); err != nil {
				return err
			}
			n++
		}
		return g.forgetEnded(ctx)
	})
	if err != nil {
		return n, fmt.Errorf("recover cases: %w", err)
	}
	return n, nil
}
