package casework

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const (
	typeBundle   = "tillsyn bundle v1"
	typeApproval = "tillsyn approval v1"
	typeMemory   = "tillsyn approver memory v1"

	maxBundle = 256 << 20
	bundlePad = 64 << 10
)

// ErrRemembered is when what an approver is shown does not fit what that approver has seen before: a shortened or forked
// record, or an old register.
var ErrRemembered = errors.New("it does not continue what you saw last: do not approve, and tell the data protection officer")

// A bundle is what an approver's client takes: everything that it must check, and the shares of one role for one decision.
type bundle struct {
	Type      string   `json:"type"`
	Role      string   `json:"role"`
	Decision  string   `json:"decision"`  // as the requester signed it
	Registers []string `json:"registers"` // signed, from number 1
	Request   string   `json:"request"`   // proof that the record holds the request
	Path      []string `json:"path"`      // from the checkpoint that the approver saw last to the one of the proof: consistency, then for each new segment its opening and consistency
	Keys      []share  `json:"keys"`
	Pad       string   `json:"pad"` // so that the size says little
}

// A share is a data key with the share of one role.
type share struct {
	Kind    string     `json:"kind"`
	Unit    string     `json:"unit"`
	Day     string     `json:"day"`
	Tag     []byte     `json:"tag"`
	ID      seal.KeyID `json:"id"`
	Sealed  []byte     `json:"sealed"`
	Name    int        `json:"name"`              // which of the decision's names of the person: 0 the subject, from 1 scope.names
	Subject []byte     `json:"subject,omitempty"` // identify only: nobody else knows
}

// A Memory is what an approver's client remembers, so that it can't be shown an older or another record or register. The zero
// Memory remembers nothing.
type Memory struct {
	Type       string         `json:"type"`
	Log        string         `json:"log"`        // verifier key of the record
	Checkpoint string         `json:"checkpoint"` // the last one seen
	Register   RegisterDigest `json:"register"`   // the last one seen of the tenant
	Tenant     string         `json:"tenant"`     // a memory is of one
}

// ParseMemory reads what [Memory.Encode] writes. No text is the zero Memory.
func ParseMemory(text []byte) (Memory, error) {
	var m Memory
	if len(text) == 0 {
		return m, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || m.Type != typeMemory || !bytes.Equal(m.Encode(), text) {
		return Memory{}, errors.New("this is not what an approver's client remembers")
	}
	return m, nil
}

// Encode is m as the text of a file. It holds no secret, but whoever can change it can hide a forked record.
func (m Memory) Encode() []byte {
	m.Type = typeMemory
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err) // texts and numbers only
	}
	return append(text, '\n')
}

// Bundle makes the bundle of a pending decision for one role, and answers the age recipients of the holders who may open it:
// the caller encrypts it to them, if it leaves this machine. since is the checkpoint that the approver saw last, or nil.
func (g *Gate) Bundle(ctx context.Context, number string, role seal.Role, since []byte) (text []byte, recipients []string, err error) {
	fail := func(err error) ([]byte, []string, error) { return nil, nil, fmt.Errorf("make a bundle: %w", err) }
	v, err := g.view(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return nil, nil, g.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return fail(err)
	}
	if v.State != Pending || !slices.Contains(v.Missing, role) {
		return nil, nil, g.refuse(ctx, "", number, v.Digest.String(), refusedState)
	}
	b := bundle{Type: typeBundle, Role: string(role), Decision: string(v.Signed)}
	for _, n := range v.notes {
		b.Registers = append(b.Registers, string(n))
	}
	if b.Request, b.Path, err = g.proofs(v, since); err != nil {
		return fail(err)
	}
	found, err := g.keys(ctx, v.Decision, v.record)
	if err != nil {
		return fail(err)
	}
	at := slices.Index(seal.Roles(), role)
	for _, k := range found {
		s := share{Kind: k.Kind, Unit: k.Unit, Day: k.Day.String(), Tag: k.Tag[:], ID: k.Wrapped.ID, Sealed: k.Wrapped.Shares[at]}
		if s.Name = v.Decision.Scope.index(k.Subject); s.Name < 0 {
			s.Name, s.Subject = 0, k.Subject
		}
		b.Keys = append(b.Keys, s)
	}
	current := v.chain[len(v.chain)-1]
	for _, h := range current.Holders(v.Decision.Population, role) {
		if v.Decision.MayApprove(h) == nil {
			recipients = append(recipients, h.Recipients...)
		}
	}
	plain, err := json.Marshal(b)
	if err != nil {
		return fail(err)
	}
	// Whoever carries the bundle must not learn from its size whether there is anything about the person.
	size := bundlePad
	for size < len(plain) {
		size *= 2
	}
	b.Pad = strings.Repeat(" ", size-len(plain))
	if text, err = json.Marshal(b); err != nil {
		return fail(err)
	}
	return text, recipients, nil
}

// proofs answers the proof that the record holds the request, and what leads to its checkpoint from the one that the approver
// saw last.
func (g *Gate) proofs(v *view, since []byte) (request string, path []string, err error) {
	at := slices.IndexFunc(v.record, func(r audit.Record) bool {
		return r.Kind == audit.DecisionRequested && r.Document == v.Digest.String()
	})
	// The log may grow between two questions: all answers must be under one checkpoint.
	for range 20 {
		proof, err := g.p.Log.Prove(v.record[at].Position)
		if err != nil {
			return "", nil, err
		}
		if len(since) == 0 {
			return string(proof.Encode()), nil, nil
		}
		path, last, err := g.path(since)
		if err != nil {
			return "", nil, err
		}
		if bytes.Equal(last, proof.Checkpoint) {
			return string(proof.Encode()), path, nil
		}
		if c, err := g.p.Log.Trust().Open(last); err == nil && c.Segment != v.record[at].Segment {
			return "", nil, errors.New("the record has begun a new segment since the request: revoke it and request it anew")
		}
	}
	return "", nil, errors.New("the record grows faster than it can be proved: try again")
}

// path leads from a checkpoint to the published one of the last segment.
func (g *Gate) path(since []byte) (path []string, last []byte, err error) {
	last = since
	for {
		c, err := g.p.Log.ProveConsistency(last)
		if err != nil {
			return nil, nil, err
		}
		path, last = append(path, string(c.Encode())), c.New
		before, err := g.p.Log.Trust().Open(last)
		if err != nil {
			return nil, nil, err
		}
		now, err := g.p.Log.Checkpoint()
		if err != nil {
			return nil, nil, err
		}
		if before.Segment >= now.Segment {
			return path, last, nil
		}
		opening, err := g.p.Log.Prove(audit.Position{Segment: before.Segment + 1, Index: 0})
		if err != nil {
			return nil, nil, err
		}
		path, last = append(path, string(opening.Encode())), opening.Checkpoint
	}
}

// checkPath follows path from a checkpoint that was seen before to the one of a proof.
func checkPath(trust audit.Trust, since []byte, path []string, checkpoint []byte) error {
	if bytes.Equal(since, checkpoint) {
		return nil
	}
	last := since
	for i, text := range path {
		if i%2 == 0 {
			c, err := audit.ParseConsistency([]byte(text))
			if err != nil {
				return err
			}
			if !bytes.Equal(c.Old, last) {
				return errors.New("it begins with another checkpoint")
			}
			if _, _, err := c.Check(trust); err != nil {
				return err
			}
			last = c.New
			continue
		}
		p, err := audit.ParseProof([]byte(text))
		if err != nil {
			return err
		}
		r, err := p.Check(trust)
		if err != nil {
			return err
		}
		before, err := trust.Open(last)
		if err != nil {
			return err
		}
		if r.Kind != audit.SegmentOpened || r.Index != 0 || r.Segment != before.Segment+1 || r.Body != string(last) {
			return errors.New("a new segment does not begin with the end of the one before")
		}
		last = p.Checkpoint
	}
	if !bytes.Equal(last, checkpoint) {
		return errors.New("it does not lead to the checkpoint of the proof")
	}
	return nil
}

// index says which of the person's names subject is; -1: none.
func (s Scope) index(subject []byte) int {
	return slices.IndexFunc(s.subjects(), func(name []byte) bool { return string(name) == string(subject) })
}

// withheld are keys in the scope of a decision that are not answered.
type withheld struct {
	ids       map[seal.KeyID]bool
	damaged   int // the gate's share does not open, or is another person's: altered, moved or made up
	elsewhere int // of the same person, in another population: others decide about them
}

// keys finds the data keys in the scope of a decision.
func (g *Gate) keys(ctx context.Context, d *Decision, record []audit.Record) ([]gateKey, error) {
	found, _, err := g.keysAndOthers(ctx, d, record)
	return found, err
}

// keysAndOthers is keys, and says what it does not answer: those whose share for the gate does not open, or is another person's,
// somebody made up or altered.
func (g *Gate) keysAndOthers(ctx context.Context, d *Decision, record []audit.Record) ([]gateKey, withheld, error) {
	out := withheld{ids: map[seal.KeyID]bool{}}
	if g.p.Vault == nil {
		return nil, out, errors.New("there is no vault to look in")
	}
	first, last, err := d.Scope.Days()
	if err != nil {
		return nil, out, err
	}
	scope := vault.KeyScope{Tenant: d.Tenant, Kinds: d.Scope.Sources, From: first, To: last, Lookup: g.p.Lookup}
	var stored []vault.StoredKey
	if d.Scope.Subject != "" {
		scope.Subjects = d.Scope.subjects()
		stored, err = g.personKeys(ctx, d, scope, record)
	} else {
		stored, err = g.p.Vault.UnitKeys(ctx, scope, d.Scope.Unit)
	}
	if err != nil {
		return nil, out, err
	}
	var found []gateKey
	for _, k := range stored {
		s, subject, err := g.openGateShare(k)
		switch {
		case err != nil, k.Subject != nil && !d.Scope.names(subject):
			out.damaged++
			out.ids[k.Wrapped.ID] = true
		case d.Scope.Subject != "" && !d.Scope.names(subject): // of a hold that keeps more than this decision is about
		case k.Population != d.Population:
			// In a unit there are people of all populations: those are none of the decision's, and it is told nothing of them.
			if d.Scope.Subject != "" {
				out.elsewhere++
			}
			out.ids[k.Wrapped.ID] = true
		case d.Scope.Unit != "" && k.Unit != d.Scope.Unit:
		default:
			k.Subject = subject
			found = append(found, gateKey{k, s})
		}
	}
	return found, out, nil
}

// personKeys finds the data keys of a person. On days that the lookup key has forgotten, because their purge is over, only a hold of
// this case still keeps any.
func (g *Gate) personKeys(ctx context.Context, d *Decision, scope vault.KeyScope, record []audit.Record) ([]vault.StoredKey, error) {
	oldest := g.p.Lookup.Oldest()
	live := scope
	live.From = max(scope.From, oldest)
	var stored []vault.StoredKey
	var err error
	if live.From <= live.To {
		if stored, err = g.p.Vault.Keys(ctx, live); err != nil {
			return nil, err
		}
	}
	if scope.From >= oldest {
		return stored, nil
	}
	for _, hold := range holdsFor(d, record) {
		held, err := g.p.Vault.HeldKeys(ctx, scope, hold)
		if err != nil {
			return nil, err
		}
		for _, k := range held {
			if k.Day < oldest && !slices.ContainsFunc(stored, func(has vault.StoredKey) bool { // two holds may keep the same
				return has.Wrapped.ID == k.Wrapped.ID && has.Tag == k.Tag && slices.EqualFunc(has.Wrapped.Shares[:], k.Wrapped.Shares[:], bytes.Equal)
			}) {
				stored = append(stored, k)
			}
		}
	}
	return stored, nil
}

// holdsFor answers the holds by which keys of forgotten days are found for a decision: its own, and, if it is on public records,
// those of the requests, which were there before it. What they keep of others, the gate's shares tell apart.
func holdsFor(d *Decision, record []audit.Record) (ids []string) {
	for _, r := range record {
		if digest, err := seal.ParseDigest(r.Document); err == nil && r.Kind == audit.HoldPlaced && r.Case == d.Case {
			ids = append(ids, vault.HoldID(digest))
		}
	}
	if d.Kind == PublicRecord {
		for _, h := range vault.HoldsInForce(record, vault.HoldByRecords) {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// A gateKey is a stored data key with the gate's own share of it.
type gateKey struct {
	vault.StoredKey
	share seal.Share
}

func (g *Gate) openGateShare(k vault.StoredKey) (seal.Share, []byte, error) {
	for _, key := range g.p.Keys {
		if s, subject, err := key.OpenGateShare(k.Wrapped, k.Binding(g.p.Deployment, nil), g.p.Lookup.Origin()); err == nil {
			return s, subject, nil
		}
	}
	return seal.Share{}, nil, seal.ErrNotOpened
}

// An Approver is the client of one holder. It has that holder's keys and memory, and asks nobody anything: what it needs is in the
// bundle.
type Approver struct {
	ID     string
	Signer *seal.Signer
	Keys   []seal.PrivateKey // of the role, the newest first; older ones open what was sealed before a rotation
	Trust  audit.Trust       // of the record
	Memory Memory
	Now    func() time.Time
}

// Format hides the keys from every verb.
func (*Approver) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// An Opened bundle is one that was checked. Nothing of it has been signed or opened.
type Opened struct {
	Decision *Decision
	Digest   seal.Digest
	Role     seal.Role
	Memory   Memory // what to remember, once it was answered
	GateKey  string // age recipient of the gate: an approval that travels is encrypted to it

	approver *Approver
	holder   seal.Holder
	register *seal.Register
	bundle   bundle
}

// BundleRegisters answers the signed registers in a bundle, unchecked: by them a client finds which holder it is for.
func BundleRegisters(text []byte) ([][]byte, error) {
	var b bundle
	if len(text) > maxBundle || json.Unmarshal(text, &b) != nil || b.Type != typeBundle {
		return nil, errors.New("read a bundle: it is not one")
	}
	notes := make([][]byte, len(b.Registers))
	for i, n := range b.Registers {
		notes[i] = []byte(n)
	}
	return notes, nil
}

// Open checks a bundle: the record against what was seen last, the request in the record, the chain of registers, the decision, and
// that this holder may approve it. It opens no share.
func (a *Approver) Open(text []byte) (*Opened, error) {
	fail := func(format string, args ...any) (*Opened, error) {
		return nil, fmt.Errorf("check a bundle: "+format, args...)
	}
	var b bundle
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if len(text) > maxBundle || d.Decode(&b) != nil || b.Type != typeBundle {
		return fail("it is not a bundle")
	}
	decision, digest, err := OpenDecision([]byte(b.Decision))
	if err != nil {
		return fail("%w", err)
	}
	if decision.Deployment != a.Trust.Deployment() {
		return fail("its decision is another deployment's")
	}
	if a.Memory.Log != "" && a.Memory.Log != a.Trust.Key() {
		return fail("%w: the key of the record is another", ErrRemembered)
	}
	proof, err := audit.ParseProof([]byte(b.Request))
	if err != nil {
		return fail("%w", err)
	}
	record, err := proof.Check(a.Trust)
	if err != nil {
		return fail("%w", err)
	}
	if record.Kind != audit.DecisionRequested || record.Document != digest.String() || record.Actor != decision.Requester.ID || !near(decision.Requested, record.At) {
		return fail("the record does not hold the request of this decision")
	}
	if a.Memory.Checkpoint != "" {
		if len(b.Path) == 0 && a.Memory.Checkpoint != string(proof.Checkpoint) {
			return fail("it does not lead on from the checkpoint that you saw last: have it made with that (--since)")
		}
		if err := checkPath(a.Trust, []byte(a.Memory.Checkpoint), b.Path, proof.Checkpoint); err != nil {
			return fail("%w: %w", ErrRemembered, err)
		}
	}
	notes := make([][]byte, len(b.Registers))
	for i, n := range b.Registers {
		notes[i] = []byte(n)
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return fail("%w", err)
	}
	if len(chain) == 0 || chain[0].Deployment() != decision.Deployment || chain[0].Tenant() != decision.Tenant {
		return fail("its registers are not the tenant's")
	}
	if a.Memory.Tenant != "" && a.Memory.Tenant != decision.Tenant {
		return fail("what you remember is of another tenant: a client has one memory for each")
	}
	if m := a.Memory.Register; m.Number > 0 && (m.Number > len(chain) || chain[m.Number-1].Digest() != m.Digest) {
		return fail("%w: the register that you saw last is not among its registers", ErrRemembered)
	}
	current := chain[len(chain)-1]
	holder, ok := current.Holder(a.ID)
	if !ok || a.Signer == nil || holder.Verifier != a.Signer.Verifier() {
		return fail("you are no holder of a role by its register, or with another key")
	}
	if string(holder.Role) != b.Role {
		return fail("it is for %s, and you are %s", b.Role, holder.Role)
	}
	o := &Opened{Decision: decision, Digest: digest, Role: holder.Role, GateKey: current.GateRecipient(),
		approver: a, holder: holder, register: current, bundle: b}
	if err := decision.Enrolled(current); err != nil {
		return fail("%w: %w", ErrNotEntitled, err)
	}
	act := o.act(ActApproval)
	if _, err := decision.approver(&act, chain); err != nil {
		return fail("%w", err)
	}
	o.Memory = Memory{Type: typeMemory, Log: a.Trust.Key(), Checkpoint: string(proof.Checkpoint), Tenant: decision.Tenant,
		Register: RegisterDigest{current.Number(), current.Digest()}}
	return o, nil
}

// ID is the holder who is asked.
func (o *Opened) ID() string { return o.holder.ID }

func (o *Opened) act(typ string) Act {
	act := NewAct(typ, o.Decision, o.Digest, o.approver.ID, o.approver.Now())
	act.Role = o.holder.Role
	if typ == ActApproval {
		act.Register = &RegisterDigest{o.register.Number(), o.register.Digest()}
	}
	return act
}

// Approve opens the shares in scope, for the subject that stands in the decision, seals them to the gate for this decision, and
// signs. It answers the approval, and how many keys of the bundle it refused because they are not for this decision's subject,
// days, sources or unit.
func (o *Opened) Approve() (approval []byte, refused int, err error) {
	fail := func(err error) ([]byte, int, error) { return nil, 0, fmt.Errorf("approve: %w", err) }
	d := o.Decision
	first, last, err := d.Scope.Days()
	if err != nil {
		return fail(err)
	}
	shares := map[seal.KeyID]seal.Share{}
	at := slices.Index(seal.Roles(), o.Role)
	for _, k := range o.bundle.Keys {
		day, err := seal.ParseDay(k.Day)
		subject := k.Subject
		if names := d.Scope.subjects(); k.Name >= 0 && k.Name < len(names) {
			subject = names[k.Name] // from the decision that was shown, never from the bundle
		}
		if err != nil || day < first || day > last || !slices.Contains(d.Scope.Sources, k.Kind) || d.Scope.Unit != "" && k.Unit != d.Scope.Unit ||
			len(k.Tag) != len(seal.Tag{}) || len(subject) == 0 || d.Scope.Subject != "" && len(k.Subject) > 0 {
			refused++
			continue
		}
		wrapped := seal.WrappedKey{ID: k.ID}
		wrapped.Shares[at] = k.Sealed
		binding := seal.Binding{Deployment: d.Deployment, Tenant: d.Tenant, Population: d.Population, Unit: k.Unit, Kind: k.Kind,
			Subject: subject, Day: day, Tag: seal.Tag(k.Tag)}
		s, err := o.open(wrapped, binding)
		if err != nil {
			refused++
			continue
		}
		shares[k.ID] = s
	}
	gate, err := o.register.Seat(d.Population, seal.Gate)
	if err != nil {
		return fail(err)
	}
	handover, err := seal.SealHandover(gate, o.Digest, o.Role, shares)
	if err != nil {
		return fail(err)
	}
	act := o.act(ActApproval)
	act.Handover = seal.DigestOf(handover.Sealed)
	signed, err := SignAct(act, o.approver.Signer)
	if err != nil {
		return fail(err)
	}
	text, err := json.Marshal(approvalFile{typeApproval, string(signed), handover})
	if err != nil {
		return fail(err)
	}
	return text, refused, nil
}

func (o *Opened) open(w seal.WrappedKey, b seal.Binding) (seal.Share, error) {
	for _, k := range o.approver.Keys {
		if s, err := k.OpenShare(w, o.Role, b); err == nil {
			return s, nil
		}
	}
	return seal.Share{}, seal.ErrNotOpened
}

// Deny answers a signed denial, for [Gate.Act].
func (o *Opened) Deny(reason string) ([]byte, error) {
	act := o.act(ActDenial)
	act.Reason = reason
	return SignAct(act, o.approver.Signer)
}

type approvalFile struct {
	Type     string        `json:"type"`
	Act      string        `json:"act"`
	Handover seal.Handover `json:"handover"`
}

// parseApproval reads what [Opened.Approve] answers.
func parseApproval(text []byte) (signed []byte, h seal.Handover, err error) {
	var f approvalFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if len(text) > maxFile || d.Decode(&f) != nil || f.Type != typeApproval || d.More() {
		return nil, seal.Handover{}, errors.New("it is not an approval")
	}
	return []byte(f.Act), f.Handover, nil
}
