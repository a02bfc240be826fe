package casework

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const (
	deployment = "norrbo"
	tenant     = "norrbo"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// A town is a tenant with its register and every secret of it.
type town struct {
	t        testing.TB
	text     seal.RegisterText
	signers  map[string]*seal.Signer
	ages     map[string]*age.X25519Identity
	keys     map[string]seal.PrivateKey // by population, a slash, and role
	gate     seal.PrivateKey
	identity *age.X25519Identity
	chain    []*seal.Register
	notes    [][]byte
}

func newTown(t testing.TB) *town {
	t.Helper()
	o := &town{t: t, signers: map[string]*seal.Signer{}, ages: map[string]*age.X25519Identity{}, keys: map[string]seal.PrivateKey{}}
	o.gate, o.identity = o.key(), o.age()
	o.text = seal.RegisterText{Deployment: deployment, Tenant: tenant, Number: 1, Time: "2026-11-01T09:00:00Z",
		Gate: seal.GateSeat{Key: o.gate.Public(), Recipient: o.identity.Recipient().String()}}
	for _, r := range seal.Approvers() {
		o.seat("", r)
		o.hold(string(r)+"-1", "", r)
		o.hold(string(r)+"-2", "", r)
	}
	for _, id := range []string{"chef", "utredare", "tredje-utredare", "registrator"} {
		o.enrol(id, "")
	}
	o.register("manager-1", "hr-1", "security-1")
	return o
}

// enrol takes somebody without a role into the register that comes next.
func (o *town) enrol(id, population string) {
	if o.ages[id] == nil {
		o.ages[id] = o.age()
	}
	o.text.Members = append(slices.Clone(o.text.Members), seal.Member{ID: id, Population: population, Verifier: o.signer(id).Verifier(),
		Recipients: []string{o.ages[id].Recipient().String()}})
}

func (o *town) key() seal.PrivateKey {
	k, err := seal.NewPrivateKey(seal.X25519)
	if err != nil {
		o.t.Fatal(err)
	}
	return k
}

func (o *town) age() *age.X25519Identity {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		o.t.Fatal(err)
	}
	return i
}

func (o *town) signer(id string) *seal.Signer {
	if s, ok := o.signers[id]; ok {
		return s
	}
	s, err := seal.NewSigner(id)
	if err != nil {
		o.t.Fatal(err)
	}
	o.signers[id] = s
	return s
}

func (o *town) person(id string) Signatory { return Signatory{id, o.signer(id).Verifier()} }

func (o *town) seat(population string, r seal.Role) {
	k := o.key()
	o.keys[population+"/"+string(r)] = k
	o.text.Seats = append(o.text.Seats, seal.Seat{Population: population, Role: r, Key: k.Public()})
}

func (o *town) hold(id, population string, r seal.Role) {
	o.ages[id] = o.age()
	o.text.Holders = append(o.text.Holders, seal.Holder{ID: id, Population: population, Role: r, Verifier: o.signer(id).Verifier(),
		Recipients: []string{o.ages[id].Recipient().String()}})
}

func (o *town) leave(id string) {
	var left []seal.Holder
	for _, h := range o.text.Holders {
		if h.ID != id {
			left = append(left, h)
		}
	}
	o.text.Holders = left
	o.text.Members = slices.DeleteFunc(slices.Clone(o.text.Members), func(m seal.Member) bool { return m.ID == id })
}

// register signs the register as it stands now and adds it to the chain.
func (o *town) register(by ...string) *seal.Register {
	o.t.Helper()
	var last *seal.Register
	if n := len(o.chain); n > 0 {
		last = o.chain[n-1]
		o.text.Number, o.text.Previous = n+1, last.Digest()
	}
	o.text.Sort()
	text, err := o.text.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	var signers []*seal.Signer
	for _, id := range by {
		signers = append(signers, o.signer(id))
	}
	signed, err := seal.Sign(text, signers...)
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := seal.ParseRegister(signed, last)
	if err != nil {
		o.t.Fatal(err)
	}
	o.chain, o.notes = append(o.chain, r), append(o.notes, signed)
	return r
}

func (o *town) current() RegisterDigest {
	r := o.chain[len(o.chain)-1]
	return RegisterDigest{r.Number(), r.Digest()}
}

// decision is one of kind person about anna over three days, asked for at now.
func (o *town) decision(now time.Time) *Decision {
	return &Decision{
		Type: typeDecision, Deployment: deployment, Tenant: tenant, Case: "KS 2026/0123", Kind: Person, Population: "staff",
		Ground: "IT-regler 4.2", Suspicion: "Spridning av otillåtet material", Reason: "Fyndet pekar ut enheten, och en kollega har anmält.",
		LessIntrusive: "Samtal med enheten; upphörde inte.", Finding: "fynd 2026-117", Intrusion: "webbadresser under tre dagar, inget innehåll",
		Consequences: "arbetsrättslig prövning", Policy: "IT-regler 2026:1", Scope: Scope{
			Subject: "anna.berg", Names: []string{"anna.berg@norrbo.se"}, Aliases: []string{"abe"}, From: "2026-11-17", To: "2026-11-19", Sources: []string{Mail, Web}, Categories: []string{AllCategories},
		},
		Requester: o.person("chef"), Investigators: []Signatory{o.person("utredare")}, Lookups: 2,
		Requested: now, NotBefore: now, ApproveBy: now.Add(7 * 24 * time.Hour), ExecuteBy: now.Add(14 * 24 * time.Hour),
		Union: "Vision, avdelning 123", Register: o.current(), Nonce: NewNonce(),
	}
}

// A story is a decision with what happened to it, without a store or a record on disk.
type story struct {
	*town
	Evidence
	now time.Time
}

func newStory(o *town, change func(*Decision)) *story {
	o.t.Helper()
	s := &story{town: o, now: noon()}
	d := o.decision(s.now)
	if change != nil {
		change(d)
	}
	_, digest, err := d.Text()
	if err != nil {
		o.t.Fatal(err)
	}
	s.Evidence = Evidence{Decision: d, Digest: digest}
	return s
}

// on puts an entry about the decision on record at the story's clock.
func (s *story) on(kind audit.Kind, actor, body string) {
	s.Record = append(s.Record, audit.Record{
		Position: audit.Position{Segment: 1, Index: int64(len(s.Record))},
		Entry:    audit.Entry{At: s.now, Kind: kind, Actor: actor, Case: s.Decision.Case, Document: s.Digest.String(), Body: body},
	})
}

func (s *story) request() *story {
	s.on(audit.DecisionRequested, s.Decision.Requester.ID, "")
	return s
}

// approval is a signed approval of the holder.
func (s *story) approval(id string, change func(*Act)) []byte {
	s.t.Helper()
	a := NewAct(ActApproval, s.Decision, s.Digest, id, s.now)
	h, _ := s.chain[len(s.chain)-1].Holder(id)
	current := s.current()
	a.Role, a.Register, a.Handover = h.Role, &current, seal.DigestOf([]byte(id))
	if change != nil {
		change(&a)
	}
	signed, err := SignAct(a, s.signer(a.Actor))
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func (s *story) file(signed []byte) *story { s.Acts = append(s.Acts, signed); return s }

func (s *story) approve(ids ...string) *story {
	for _, id := range ids {
		signed := s.approval(id, nil)
		s.file(signed).on(audit.DecisionApproved, id, string(signed))
	}
	return s
}

// notice is a signed notice to the union.
func (s *story) notice(id string, change func(*Act)) []byte {
	s.t.Helper()
	a := NewAct(ActNotice, s.Decision, s.Digest, id, s.now)
	a.Told, a.ToldAt = "Vision, avdelning 123", a.At
	if change != nil {
		change(&a)
	}
	return get(SignAct(a, s.signer(id)))
}

// notify has somebody tell the union, in the store and on record.
func (s *story) notify(id string) *story {
	signed := s.notice(id, nil)
	s.file(signed).on(audit.DecisionNotified, id, string(signed))
	return s
}

func (s *story) after(d time.Duration) *story { s.now = s.now.Add(d); return s }

func (s *story) status() Status {
	s.Chain = s.chain
	return StateOf(s.Evidence, s.now)
}

func (s *story) want(state State) {
	s.t.Helper()
	if got := s.status(); got.State != state {
		s.t.Errorf("at %s the decision is %s (%s), want %s", s.now.Format(time.DateTime), got.State, got.Why, state)
	}
}

func get[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("%+v", err))
	}
	return v
}

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }

// welch is Welch's t of two samples.
func welch(a, b []float64) float64 {
	moments := func(x []float64) (mean, variance float64) {
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance
	}
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}
