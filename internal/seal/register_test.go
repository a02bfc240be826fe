package seal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A town is a tenant's register in the making, with every secret of it.
type town struct {
	t       testing.TB
	text    RegisterText
	signers map[string]*Signer
	private map[string]PrivateKey // by seat name
	last    *Register
	drawn   int
}

const bech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// recipient is the form of an age recipient, which is all that this package looks at.
func (o *town) recipient() string {
	o.drawn++
	out := []byte("age1")
	for i := range 58 {
		out = append(out, bech32[(o.drawn*(i+7)+i/2)%32])
	}
	return fmt.Sprintf("%s%04d", out[:58], 2000+o.drawn) // digits but 1 are letters of bech32
}

func (o *town) key() PublicKey {
	k, err := NewPrivateKey(X25519)
	if err != nil {
		o.t.Fatal(err)
	}
	o.private[k.Public().String()] = k
	return k.Public()
}

func (o *town) signer(id string) *Signer {
	s, err := NewSigner(id)
	if err != nil {
		o.t.Fatal(err)
	}
	o.signers[id] = s
	return s
}

func (o *town) add(id, population string, r Role) {
	o.text.Holders = append(o.text.Holders, Holder{ID: id, Population: population, Role: r, Verifier: o.signer(id).Verifier(), Recipients: []string{o.recipient()}})
}

func (o *town) enrol(id, population string) {
	o.text.Members = append(slices.Clone(o.text.Members), Member{ID: id, Population: population, Verifier: o.signer(id).Verifier(), Recipients: []string{o.recipient()}})
}

func (o *town) leave(id string) {
	o.text.Members = slices.DeleteFunc(slices.Clone(o.text.Members), func(m Member) bool { return m.ID == id })
}

func (o *town) remove(id string) {
	o.text.Holders = slices.DeleteFunc(slices.Clone(o.text.Holders), func(h Holder) bool { return h.ID == id })
}

func (o *town) change(id string, f func(*Holder)) {
	for i := range o.text.Holders {
		if o.text.Holders[i].ID == id {
			f(&o.text.Holders[i])
		}
	}
}

func (o *town) rotate(population string, r Role) {
	for i := range o.text.Seats {
		if s := &o.text.Seats[i]; s.Population == population && s.Role == r {
			s.Key = o.key()
		}
	}
}

func newTown(t testing.TB) *town {
	o := &town{t: t, signers: map[string]*Signer{}, private: map[string]PrivateKey{}}
	o.text = RegisterText{Deployment: "norrbo", Tenant: "norrbo", Number: 1, Time: "2026-11-22T09:00:00Z", Gate: GateSeat{o.key(), o.recipient()}}
	for _, r := range Approvers() {
		o.text.Seats = append(o.text.Seats, Seat{"", r, o.key()})
		o.add(string(r)+".a", "", r)
		o.add(string(r)+".b", "", r)
	}
	return o
}

// elected gives elected officials a manager of their own; the other two roles stay those of everybody.
func (o *town) elected() {
	o.text.Seats = append(o.text.Seats, Seat{"elected", Manager, o.key()})
	o.add("chair.a", "elected", Manager)
	o.add("chair.b", "elected", Manager)
}

// renamed is the verifier key of somebody's signing key under another name.
func (o *town) renamed(id, name string) string {
	raw, _ := decode64(strings.TrimSpace(strings.SplitN(string(o.signers[id].Encode()), "+", 5)[4]))
	return signerOf(o.t, name, raw[1:]).Verifier()
}

func (o *town) signed(by ...string) []byte {
	o.t.Helper()
	o.text.Sort()
	text, err := o.text.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	return o.sign(text, by...)
}

func (o *town) sign(text []byte, by ...string) []byte {
	o.t.Helper()
	var list []*Signer
	for _, id := range by {
		list = append(list, o.signers[id])
	}
	note, err := Sign(text, list...)
	if err != nil {
		o.t.Fatal(err)
	}
	return note
}

// accept makes the draft the newest register and begins the next.
func (o *town) accept(by ...string) []byte {
	o.t.Helper()
	n := o.signed(by...)
	r, err := ParseRegister(n, o.last)
	if err != nil {
		o.t.Fatal(err)
	}
	o.last = r
	o.text = r.Text()
	o.text.Number++
	o.text.Previous = r.Digest()
	return n
}

// refused says that a register is not accepted, and why.
func (o *town) refused(why string, note []byte) {
	o.t.Helper()
	r, err := ParseRegister(note, o.last)
	if !errors.Is(err, ErrRegister) || r != nil || !strings.Contains(err.Error(), why) {
		o.t.Errorf("%v, want a refusal that says %q", err, why)
	}
}

func three() []string { return []string{"manager.a", "hr.a", "security.a"} }

func TestRegisterIsSignedByItsOwnThreeRoles(t *testing.T) {
	o := newTown(t)
	o.text.Sort()
	for _, by := range [][]string{{"manager.a"}, {"manager.a", "hr.a"}, {"manager.a", "manager.b", "hr.a"}, {"hr.b", "security.b", "hr.a", "security.a"}} {
		o.refused("signature of the", o.signed(by...))
	}
	text, _ := o.text.Encode()
	if missing, err := MissingSignatures(text, nil); err != nil || len(missing) != 3 {
		t.Error("an unsigned register lacks", missing, err)
	}
	if missing, err := MissingSignatures(o.signed("hr.b"), nil); err != nil || len(missing) != 2 || missing[0].Role != Manager || !slices.Equal(missing[1].Of, []string{"security.a", "security.b"}) {
		t.Error("one signature leaves", missing, err)
	}
	o.accept("manager.a", "hr.b", "security.a")

	r := o.last
	if h, ok := r.Holder("hr.b"); !ok || h.Role != HR || !slices.Equal(r.Signers(), []string{"hr.b", "manager.a", "security.a"}) || len(r.Verifiers()) != 6 {
		t.Error("the register does not say what it holds")
	}
	sealer, err := r.Sealer("pupil")
	if err != nil {
		t.Fatal(err)
	}
	_, w, err := sealer.NewKey(binding(), ours)
	if err != nil {
		t.Fatal(err)
	}
	k, err := r.Seat("pupil", HR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.private[k.String()].OpenShare(w, HR, binding()); err != nil {
		t.Error("a data key of the register's sealer:", err)
	}
}

// FAULTS case 30.
func TestRegisterEditedByAnAdministratorToMakeHimselfCSO(t *testing.T) {
	o := newTown(t)
	first := o.accept(three()...)
	mallory := func() {
		o.text = o.last.Text()
		o.text.Number, o.text.Previous = 2, o.last.Digest()
		o.remove("security.b")
		o.add("mallory", "", Security)
	}

	mallory()
	o.refused("signature of the", o.signed("mallory"))
	o.refused("signature of the security", o.signed("mallory", "manager.a", "hr.a")) // two were talked into it
	o.refused("signature of the", o.signed("mallory", "security.a"))

	// He makes himself all three.
	for _, r := range []Role{Manager, HR} {
		o.remove(string(r) + ".b")
		o.add("mallory-"+string(r), "", r)
	}
	o.refused("signature of the", o.signed("mallory", "mallory-manager", "mallory-hr"))

	// He takes over the name of somebody who may sign, with a key of his own.
	mallory()
	real := o.signers["security.a"]
	fake := o.signer("security.a")
	o.change("security.a", func(h *Holder) { h.Verifier = fake.Verifier() })
	o.refused("signature of the security", o.signed("manager.a", "hr.a", "security.a"))
	o.signers["security.a"] = real

	// He edits a signed register, or puts his own number 1 in its place.
	edited := bytes.Replace(first, []byte("security.b"), []byte("mallory.bb"), -1)
	if _, err := OpenChain([][]byte{edited}); err == nil {
		t.Error("an edited register was accepted")
	}
	second := func() []byte { mallory(); return o.accept(three()...) }()
	other := newTown(t)
	ownFirst := other.accept(three()...)
	if _, err := OpenChain([][]byte{ownFirst, second}); !errors.Is(err, ErrRegister) {
		t.Error("a chain with another number 1:", err)
	}
	if chain, err := OpenChain([][]byte{first, second}); err != nil || len(chain) != 2 {
		t.Error("the true chain:", err)
	}
	for name, notes := range map[string][][]byte{"without 1": {second}, "twice": {first, first}, "backwards": {second, first}, "1, 2, 2": {first, second, second}, "empty": {nil}} {
		if _, err := OpenChain(notes); err == nil {
			t.Error("a chain was accepted:", name)
		}
	}
	// Two number 2s: what follows one does not follow the other.
	o2 := newTown(t)
	o2.accept(three()...)
	fork := *o2
	o2.remove("hr.b")
	o2.add("hr.c", "", HR)
	o2.accept(three()...)
	fork.text = fork.last.Text()
	fork.text.Number, fork.text.Previous, fork.text.Time = 2, fork.last.Digest(), "2026-11-23T09:00:00Z"
	fork.accept(three()...)
	fork.last = o2.last
	fork.refused("another of that number", fork.signed(three()...))
}

// FAULTS case 25.
func TestSamePersonTwiceInTheRegister(t *testing.T) {
	for name, c := range map[string]struct {
		why string
		do  func(*town)
	}{
		"under one id": {"same id", func(o *town) { o.add("hr.a", "", Security) }},
		"with one signing key under two ids": {"same signing key", func(o *town) {
			o.add("hr.twin", "", Security)
			o.change("hr.twin", func(h *Holder) { h.Verifier = o.renamed("hr.a", "hr.twin") })
		}},
		"with one age identity": {"same recipient", func(o *town) {
			o.add("hr.twin", "", Security)
			o.change("hr.twin", func(h *Holder) { h.Recipients = o.text.Holders[0].Recipients })
		}},
		"with one age identity of two": {"same recipient", func(o *town) {
			o.add("hr.twin", "", Security)
			o.change("hr.twin", func(h *Holder) { h.Recipients = append(h.Recipients, o.text.Holders[1].Recipients[0]) })
		}},
		"as a holder and a member": {"same id", func(o *town) { o.enrol("hr.a", "") }},
		"as a member twice":        {"same id", func(o *town) { o.enrol("anna", ""); o.enrol("anna", "elected") }},
		"as a holder, and as a member with the same signing key": {"same signing key", func(o *town) {
			o.enrol("hr.twin", "")
			o.text.Members[0].Verifier = o.renamed("hr.a", "hr.twin")
		}},
		"as two members with one signing key": {"same signing key", func(o *town) {
			o.enrol("anna", "")
			o.enrol("hr.twin", "")
			o.text.Members[1].Verifier = o.renamed("anna", "hr.twin")
		}},
		"as a holder, and as a member with the same age identity": {"same recipient", func(o *town) {
			o.enrol("hr.twin", "")
			o.text.Members[0].Recipients = append(o.text.Members[0].Recipients, o.text.Holders[2].Recipients[0])
		}},
		"a member with the gate's identity": {"same recipient", func(o *town) {
			o.enrol("anna", "")
			o.text.Members[0].Recipients = []string{o.text.Gate.Recipient}
		}},
		"a member with the verifier of another": {"not of this name", func(o *town) {
			o.enrol("anna", "")
			o.text.Members[0].Verifier = o.signers["hr.b"].Verifier()
		}},
		"a member without a recipient": {"1 to 4 age recipients", func(o *town) { o.enrol("anna", ""); o.text.Members[0].Recipients = nil }},
		"a member of no population":    {"no population's name", func(o *town) { o.enrol("anna", "Staff!") }},
		"a member whose id is a path":  {"lower-case", func(o *town) { o.enrol("anna", ""); o.text.Members[0].ID = "../anna" }},
		"a member anybody signs for": {"anybody can sign", func(o *town) {
			o.enrol("anna", "")
			o.text.Members[0].Verifier = verifierOf(o.t, "anna", append([]byte{1}, make([]byte, 31)...))
		}},
		"too many members": {"more than 128", func(o *town) {
			for i := range 129 {
				o.enrol(fmt.Sprintf("m%d", i), "")
			}
		}},
		"the gate's identity": {"same recipient", func(o *town) {
			o.change("hr.a", func(h *Holder) { h.Recipients = []string{o.text.Gate.Recipient} })
		}},
		"one holder":            {"it needs 2", func(o *town) { o.remove("hr.b") }},
		"one key of two seats":  {"same key", func(o *town) { o.text.Seats[1].Key = o.text.Seats[0].Key }},
		"the gate's key":        {"same key", func(o *town) { o.text.Seats[1].Key = o.text.Gate.Key }},
		"no seat":               {"has no seat", func(o *town) { o.text.Seats = o.text.Seats[:2] }},
		"a seat nobody knows":   {"must be one of", func(o *town) { o.text.Seats[2].Role = "ceo" }},
		"the gate as a person":  {"must be one of", func(o *town) { o.text.Seats[2].Role = Gate }},
		"a seat twice":          {"is there twice", func(o *town) { o.text.Seats = append(o.text.Seats, Seat{"", HR, o.key()}) }},
		"a holder of no seat":   {"which is no seat", func(o *town) { o.add("x", "elected", HR) }},
		"a verifier of another": {"not of this name", func(o *town) { o.change("hr.a", func(h *Holder) { h.Verifier = o.signers["hr.b"].Verifier() }) }},
		"an upper-case id":      {"lower-case", func(o *town) { o.add("Anna", "", HR) }},
		"a path":                {"lower-case", func(o *town) { o.add("../x", "", HR) }},
		"a key anybody signs for": {"anybody can sign", func(o *town) {
			o.change("hr.a", func(h *Holder) { h.Verifier = verifierOf(o.t, "hr.a", append([]byte{1}, make([]byte, 31)...)) })
		}},
	} {
		o := newTown(t)
		c.do(o)
		o.text.Sort()
		if err := o.text.Validate(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
		text, err := Canonical(o.text)
		if err != nil {
			t.Fatal(err)
		}
		o.refused(c.why, o.sign(text, three()...))
	}
	// All faults are told at once.
	err := RegisterText{}.Validate()
	for _, want := range []string{"type", "deployment", "tenant", "number", "time", "gate", "manager: has no seat", "hr: has no seat", "security: has no seat"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the empty register is not faulted for %q: %v", want, err)
		}
	}
}

// FAULTS case 25: a signer who was removed from the register.
func TestRemovedHolderDoesNotSignTheVersionAfter(t *testing.T) {
	o := newTown(t)
	o.accept(three()...)
	o.remove("security.a")
	o.add("security.c", "", Security)
	o.accept(three()...) // who leaves may sign for it
	o.rotate("", HR)
	o.refused("", o.signed(three()...))
	o.refused("signature of the security", o.signed("manager.a", "hr.a"))
	o.accept("manager.a", "hr.a", "security.c")
	if _, _, err := Open(o.signed("security.a"), o.last.Verifiers()...); err == nil {
		t.Error("a signature of a removed holder opens")
	}
}

func TestWhoeverDecidesForAPopulationSignsItsChanges(t *testing.T) {
	o := newTown(t)
	o.accept(three()...)
	// A population of its own rules: the old three, and who will hold the new seat.
	o.elected()
	o.refused("signature of the manager of elected", o.signed(three()...))
	o.accept(append(three(), "chair.b")...)
	if k, err := o.last.Seat("elected", Manager); err != nil || k.String() == o.text.Seats[0].Key.String() {
		t.Error("elected officials have no manager of their own:", err)
	}
	hr, _ := o.last.Seat("elected", HR)
	if all, _ := o.last.Seat("", HR); all.String() != hr.String() {
		t.Error("a role without a seat of its own is not that of everybody")
	}
	for id, want := range map[string]bool{"manager.a": false, "chair.a": true, "hr.a": true, "chair.z": false} {
		if o.last.Decides(id, "elected") != want {
			t.Errorf("%s decides for elected officials: %v", id, !want)
		}
	}
	// Its seat changes: its own must sign, too.
	o.rotate("elected", Manager)
	o.refused("signature of the manager of elected", o.signed(three()...))
	// Security of everybody is theirs as well.
	o.text = o.last.Text()
	o.text.Number, o.text.Previous = 3, o.last.Digest()
	o.add("security.c", "", Security)
	o.refused("signature of the manager of elected", o.signed(three()...))
	// The manager of everybody is not.
	o.text = o.last.Text()
	o.text.Number, o.text.Previous = 3, o.last.Digest()
	o.add("manager.c", "", Manager)
	o.accept(three()...)
	// It is dissolved.
	o.text.Seats = slices.DeleteFunc(o.text.Seats, func(s Seat) bool { return s.Population != "" })
	o.remove("chair.a")
	o.remove("chair.b")
	o.refused("signature of the manager of elected", o.signed(three()...))
	o.accept(append(three(), "chair.a")...)
}

func TestMembersChangeOnlyAsHoldersDo(t *testing.T) {
	o := newTown(t)
	o.enrol("anna", "")
	o.enrol("bo", "elected")
	o.accept(three()...)
	r := o.last
	m, ok := r.Member("anna")
	if p, both := r.Person("anna"); !ok || !both || p.Role != "" || p.Verifier != m.Verifier || !p.Serves("elected") || !p.Serves("staff") {
		t.Error("a member is not in the register")
	}
	if p, ok := r.Person("bo"); !ok || p.Serves("staff") || !p.Serves("elected") {
		t.Error("a member of a population serves others")
	}
	if p, ok := r.Person("hr.a"); !ok || p.Role != HR {
		t.Error("a holder is no person")
	}
	if _, ok := r.Member("hr.a"); ok {
		t.Error("a holder is a member")
	}
	if _, ok := r.Holder("anna"); ok || r.Decides("anna", "") || slices.Contains(r.Verifiers(), m.Verifier) {
		t.Error("a member is a holder")
	}
	for _, c := range []struct {
		id, key, population string
		want                bool
	}{
		{"anna", m.Verifier, "staff", true}, {"anna", o.signers["bo"].Verifier(), "staff", false}, {"anna", o.renamed("bo", "anna"), "staff", false},
		{"bo", o.signers["bo"].Verifier(), "elected", true}, {"bo", o.signers["bo"].Verifier(), "staff", false},
		{"hr.a", o.signers["hr.a"].Verifier(), "elected", true}, {"nobody", m.Verifier, "staff", false}, {"", "", "", false},
	} {
		if r.Enrolled(c.id, c.key, c.population) != c.want {
			t.Errorf("%s for %q is enrolled: %v", c.id, c.population, !c.want)
		}
	}

	change := func(f func()) {
		o.text = o.last.Text()
		o.text.Number, o.text.Previous = o.last.Number()+1, o.last.Digest()
		f()
	}
	for name, f := range map[string]func(){
		"added":             func() { o.enrol("mallory", "") },
		"dropped":           func() { o.leave("anna") },
		"given another key": func() { o.text.Members[0].Verifier = o.signer("anna").Verifier() },
		"given a recipient": func() { o.text.Members[0].Recipients = []string{o.recipient()} },
		"put in all":        func() { o.text.Members[1].Population = "" },
		"made a holder":     func() { o.leave("anna"); o.add("anna", "", HR) },
	} {
		before := o.signers["anna"]
		change(f)
		o.refused("signature of the", o.signed("manager.a", "hr.a"))
		o.refused("signature of the", o.signed("manager.a", "hr.a", "hr.b"))
		o.refused("", o.signed("anna", "bo", "manager.a")) // members sign nothing
		if _, err := ParseRegister(o.signed(three()...), o.last); err != nil {
			t.Errorf("%s by three: %v", name, err)
		}
		o.signers["anna"] = before
	}
	change(func() {})
	text := string(o.signed(three()...))
	for name, edited := range map[string]string{
		"another member's id": strings.Replace(text, "\"anna\"", "\"anny\"", 1),
		"no list of members":  strings.Replace(text, "\"members\"", "\"member\"", 1),
	} {
		if _, err := ParseRegister([]byte(edited), o.last); err == nil || edited == text {
			t.Error("accepted:", name)
		}
	}
	bare := o.text
	bare.Sort()
	bare.Members = nil
	raw, _ := Canonical(bare)
	o.refused("may be empty", o.sign(raw, three()...))

	// Who serves a population that has a seat of its own is that population's matter as well.
	change(func() { o.elected() })
	o.accept(append(three(), "chair.a")...)
	change(func() { o.enrol("cia", "") })
	o.refused("manager of elected", o.signed(three()...))
	change(func() { o.leave("bo") })
	o.refused("manager of elected", o.signed(three()...))
	change(func() { o.enrol("cia", "pupil") })
	o.accept(three()...)
	change(func() { o.leave("anna") })
	o.accept(append(three(), "chair.b")...)
	if _, ok := o.last.Person("anna"); ok {
		t.Error("who left is in the register")
	}
}

func TestRegisterFollowsTheOneBefore(t *testing.T) {
	for name, c := range map[string]struct {
		why string
		do  func(*town)
	}{
		"another deployment": {"another deployment", func(o *town) { o.text.Deployment = "soderbo" }},
		"another tenant":     {"another deployment or tenant", func(o *town) { o.text.Tenant = "soderbo" }},
		"a number left out":  {"what follows 1 is 2", func(o *town) { o.text.Number = 3 }},
		"number 1 again":     {"what follows 1 is 2", func(o *town) { o.text.Number, o.text.Previous = 1, Digest{} }},
		"another digest":     {"another of that number", func(o *town) { o.text.Previous = Digest{1} }},
		"an earlier time":    {"earlier time", func(o *town) { o.text.Time = "2026-11-22T08:59:59Z" }},
		"seats change keys":  {"is not new", func(o *town) { s := o.text.Seats; s[0].Key, s[1].Key = s[1].Key, s[0].Key }},
		"the gate's new key is a role's old one": {"is not new", func(o *town) {
			o.text.Gate.Key = o.text.Seats[0].Key
			o.rotate("", o.text.Seats[0].Role)
		}},
	} {
		o := newTown(t)
		o.accept(three()...)
		c.do(o)
		o.text.Sort()
		text, err := Canonical(o.text)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(c.why, "is 2") || o.text.Validate() == nil {
			o.refused(c.why, o.sign(text, three()...))
		} else {
			t.Error(name, o.text.Validate())
		}
	}
	o := newTown(t)
	o.accept(three()...)
	old := o.text.Gate.Key
	o.text.Gate.Key = o.key()
	o.refused("signature of the", o.signed("manager.a", "hr.a")) // the gate's key, too, changes only this way
	o.accept(three()...)
	o.text.Gate.Key = old
	o.refused("is not new", o.signed(three()...)) // and never back
	if _, err := ParseRegister(o.signed(three()...), &Register{}); !errors.Is(err, ErrRegister) {
		t.Error("a register after one that nobody read:", err)
	}
}

func TestHolderChangesRole(t *testing.T) {
	o := newTown(t)
	o.add("manager.c", "", Manager)
	o.accept(three()...)
	move := func() {
		o.change("manager.c", func(h *Holder) { h.Role = HR })
	}
	// He may still know the manager's private key.
	move()
	o.refused("could open two shares", o.signed(three()...))
	o.rotate("", HR)
	o.refused("could open two shares", o.signed(three()...))
	o.rotate("", Manager)
	o.accept(three()...)
	var openers []string
	for _, k := range o.last.SeatKeys() {
		for _, h := range o.last.Openers(k) {
			if h.ID == "manager.c" {
				openers = append(openers, fmt.Sprint(k.Role, k.Number, k.Replaced))
			}
		}
	}
	if !slices.Equal(openers, []string{"hr2 0"}) {
		t.Errorf("who changed his role may be given the keys %v", openers)
	}

	// Leaving first, under another name later, does not help: not even when each key was replaced at some time since.
	o = newTown(t)
	o.add("manager.c", "", Manager)
	o.accept(three()...)
	gone := o.text.Holders[slices.IndexFunc(o.text.Holders, func(h Holder) bool { return h.ID == "manager.c" })]
	o.remove("manager.c")
	o.rotate("", HR)
	o.accept(three()...)
	o.rotate("", Manager)
	o.add("hr.c", "", HR)
	o.change("hr.c", func(h *Holder) { h.Recipients = gone.Recipients })
	o.refused("could open two shares", o.signed(three()...)) // data of number 2 has the old manager's key and the new one of HR
	o.rotate("", HR)
	o.accept(three()...)
}

func TestSeatKeysOfAChain(t *testing.T) {
	o := newTown(t)
	o.accept(three()...)
	o.rotate("", HR)
	o.text.Gate.Key = o.key()
	o.accept(three()...)
	o.rotate("", HR)
	o.accept(three()...)
	var got []string
	for _, k := range o.last.SeatKeys() {
		if k.Replaced == 0 {
			if now, _ := o.last.Seat(k.Population, k.Role); now.String() != k.Key.String() {
				t.Error("a key in use is not the seat's:", k.Role)
			}
		}
		if k.Role != Gate && len(o.last.Openers(k)) != 2 {
			t.Error("openers of", k.Role, k.Number, o.last.Openers(k))
		}
		got = append(got, fmt.Sprintf("%s %d-%d", k.Role, k.Number, k.Replaced))
	}
	if want := []string{"manager 1-0", "hr 1-2", "security 1-0", "gate 1-2", "hr 2-3", "gate 2-0", "hr 3-0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestZeroRegisterHoldsNobody(t *testing.T) {
	for _, r := range []*Register{nil, {}} {
		if _, err := r.Sealer(""); err == nil {
			t.Error("a zero register seals")
		}
		if _, err := r.Seat("", HR); err == nil {
			t.Error("a zero register has a seat")
		}
		if _, ok := r.Holder(""); ok || len(r.Verifiers())+len(r.SeatKeys())+len(r.Holders("", HR)) > 0 || r.Decides("", "") {
			t.Error("a zero register has holders")
		}
	}
}
