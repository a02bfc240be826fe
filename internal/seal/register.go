package seal

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	registerType = "tillsyn register v1"

	// MaxRegister is the most bytes that the text of a register may have: with its signatures it fits in one entry of the record.
	MaxRegister = 48 << 10

	// MinHolders is the fewest holders that a role may have: one person who leaves or falls ill must not make data unreadable.
	MinHolders = 2

	maxHolders    = 64
	maxMembers    = 128
	maxRecipients = 4
	maxRecipient  = 3000 // bytes; that of an identity against quantum computers has 1959
	timeLayout    = "2006-01-02T15:04:05Z"
)

var (
	deploymentForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*$`)
	tenantForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	populationForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)
	holderForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,47}$`)
	recipientForm  = regexp.MustCompile(`^age1[0-9a-z+._-]{16,}$`)
)

// ErrRegister is when a register may not follow the one before, or is not signed as it must be.
var ErrRegister = errors.New("the register of holders is refused")

// A GateSeat is the public half of the service's own keys for a tenant.
type GateSeat struct {
	Key       PublicKey `json:"key"`       // shares and handovers are sealed to it
	Recipient string    `json:"recipient"` // age recipient: case files are encrypted to it
}

// A Seat is the public key of a role. A population of its own rules has seats of its own; where it has none, those of "" count.
type Seat struct {
	Population string    `json:"population"`
	Role       Role      `json:"role"`
	Key        PublicKey `json:"key"`
}

// A Holder is a person who holds a role; with an empty role, as [Register.Person] answers, a [Member].
type Holder struct {
	ID         string   `json:"id"` // lower-case letters, digits and . _ -; what the record names
	Population string   `json:"population"`
	Role       Role     `json:"role"`
	Verifier   string   `json:"verifier"`   // C2SP signed-note verifier key, whose name is ID
	Recipients []string `json:"recipients"` // age recipients, each of which opens the role's private key
}

// Validate answers every fault of h that can be seen without the others, joined, or nil.
func (h Holder) Validate() error {
	faults := []error{h.validate()}
	if holderForm.MatchString(h.ID) && !h.Role.approves() {
		faults = append(faults, fmt.Errorf("%s: the role must be one of %v", h.ID, Approvers()))
	}
	return errors.Join(faults...)
}

// validate is Validate for a person of any role, or none.
func (h Holder) validate() error {
	var faults []error
	if !holderForm.MatchString(h.ID) {
		return errors.New("the id must consist of 1 to 48 lower-case letters a-z, digits and . _ -")
	}
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{h.ID}, args...)...))
	}
	if h.Population != "" && !isPopulation(h.Population) {
		fault("the population is no population's name")
	}
	if err := checkVerifier(h.ID, h.Verifier); err != nil {
		fault("%w", err)
	}
	if len(h.Recipients) == 0 || len(h.Recipients) > maxRecipients {
		fault("must have 1 to %d age recipients", maxRecipients)
	}
	for _, r := range h.Recipients {
		if !isRecipient(r) {
			fault("a recipient is not an age recipient in lower case")
		}
	}
	return errors.Join(faults...)
}

// A Member is a person who holds no role and opens nothing, and whom the register names all the same: whoever requests, investigates
// or keeps the desk of public records signs with a key that three roles have seen.
type Member struct {
	ID         string   `json:"id"`         // as a holder's; nobody is in a register twice
	Population string   `json:"population"` // whom the person may ask for and look at; empty: everybody
	Verifier   string   `json:"verifier"`   // C2SP signed-note verifier key, whose name is ID
	Recipients []string `json:"recipients"` // age recipients: what is meant for this person alone is encrypted to them
}

// Validate answers every fault of m that can be seen without the others, joined, or nil.
func (m Member) Validate() error { return m.person().validate() }

// person is m as a holder of no role.
func (m Member) person() Holder {
	return Holder{ID: m.ID, Population: m.Population, Verifier: m.Verifier, Recipients: m.Recipients}
}

// Serves says whether a person may ask for and look at people of a population: their own, or any, if they have none.
func (h Holder) Serves(population string) bool {
	return h.Population == "" || h.Population == population
}

// Fingerprint is a verifier key as people read it to each other: 80 bits, too many to find another key for.
func Fingerprint(verifier string) string { return DigestOf([]byte(verifier)).Fingerprint() }

func isPopulation(name string) bool { return populationForm.MatchString(name) && name != "default" }

func isRecipient(text string) bool {
	return len(text) <= maxRecipient && recipientForm.MatchString(text)
}

// RegisterText is what a register says, signed or not. It is a document: [RegisterText.Encode] is what is signed.
type RegisterText struct {
	Type       string   `json:"type"`
	Deployment string   `json:"deployment"`
	Tenant     string   `json:"tenant"`
	Number     int      `json:"number"`   // from 1, without gaps
	Previous   Digest   `json:"previous"` // of number-1; empty in 1
	Time       string   `json:"time"`     // UTC, such as 2026-11-22T09:00:00Z; not before that of number-1
	Gate       GateSeat `json:"gate"`
	Seats      []Seat   `json:"seats"`   // by population, then in the order of Approvers
	Holders    []Holder `json:"holders"` // by id
	Members    []Member `json:"members"` // by id; never absent, but it may be empty
}

// Sort puts seats, holders and members in their order and sets the type: there is one text for one register.
func (t *RegisterText) Sort() {
	t.Type = registerType
	slices.SortStableFunc(t.Seats, compareSeats)
	slices.SortStableFunc(t.Holders, func(a, b Holder) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(t.Members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	if t.Members == nil {
		t.Members = []Member{}
	}
}

// People are all whom a register names, holders first. Members have no role.
func (t RegisterText) People() []Holder {
	list := slices.Clone(t.Holders)
	for _, m := range t.Members {
		list = append(list, m.person())
	}
	return list
}

func compareSeats(a, b Seat) int {
	i, _ := a.Role.position()
	j, _ := b.Role.position()
	return cmp.Or(cmp.Compare(a.Population, b.Population), cmp.Compare(i, j))
}

// Validate answers every fault of t that can be seen without the register before it, joined, or nil.
func (t RegisterText) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if t.Type != registerType {
		fault("type: must be %q", registerType)
	}
	if len(t.Deployment) > 100 || !deploymentForm.MatchString(t.Deployment) {
		fault("deployment: must be 1 to 100 of a-z, 0-9, dots and hyphens, with single slashes between")
	}
	if !tenantForm.MatchString(t.Tenant) {
		fault("tenant: must be a tenant's name")
	}
	if t.Number < 1 || t.Number > 9999 {
		fault("number: must be 1 to 9999")
	}
	if (t.Number == 1) != t.Previous.IsZero() {
		fault("previous: names the digest of the register before; number 1 has none")
	}
	if at, err := time.Parse(timeLayout, t.Time); err != nil || at.Format(timeLayout) != t.Time {
		fault("time: must be of the form 2006-01-02T15:04:05Z")
	}
	keys := map[string]string{}
	unique := func(kind, value, owner string) {
		if other, ok := keys[kind+value]; ok && value != "" {
			fault("%s and %s have the same %s", other, owner, kind)
		}
		keys[kind+value] = owner
	}
	if t.Gate.Key.IsZero() {
		fault("gate: has no key")
	}
	unique("key", t.Gate.Key.String(), "the gate")
	if !isRecipient(t.Gate.Recipient) {
		fault("gate: the recipient is not an age recipient in lower case")
	}
	unique("recipient", t.Gate.Recipient, "the gate")

	own := map[string]int{}
	for i, s := range t.Seats {
		name := seatName(s.Population, s.Role)
		if s.Population != "" && !isPopulation(s.Population) {
			fault("seats[%d]: the population is no population's name", i)
		}
		if !s.Role.approves() {
			fault("seats[%d]: the role must be one of %v", i, Approvers())
		}
		if s.Key.IsZero() {
			fault("%s: has no key", name)
		}
		unique("key", s.Key.String(), name)
		if own[name]++; own[name] > 1 {
			fault("%s: is there twice", name)
		}
	}
	for _, r := range Approvers() {
		if own[seatName("", r)] == 0 {
			fault("%s: has no seat", seatName("", r))
		}
	}
	if !slices.IsSortedFunc(t.Seats, compareSeats) {
		fault("seats: are not in order")
	}

	held := map[string]int{}
	if len(t.Holders) > maxHolders {
		fault("holders: are more than %d", maxHolders)
	}
	for i, h := range t.Holders {
		if err := h.Validate(); err != nil {
			fault("holders[%d]: %w", i, err)
			continue
		}
		unique("id", h.ID, h.ID)
		name := seatName(h.Population, h.Role)
		if own[name] == 0 {
			fault("%s: holds %s, which is no seat", h.ID, name)
		}
		held[name]++
		unique("signing key", verifierKey(h.Verifier), h.ID)
		for _, r := range h.Recipients {
			unique("recipient", r, h.ID)
		}
	}
	if !slices.IsSortedFunc(t.Holders, func(a, b Holder) int { return cmp.Compare(a.ID, b.ID) }) {
		fault("holders: are not in order of their ids")
	}
	if len(t.Members) > maxMembers {
		fault("members: are more than %d", maxMembers)
	}
	if t.Members == nil {
		fault("members: are missing; the list may be empty")
	}
	for i, m := range t.Members {
		if err := m.Validate(); err != nil {
			fault("members[%d]: %w", i, err)
			continue
		}
		unique("id", m.ID, m.ID)
		unique("signing key", verifierKey(m.Verifier), m.ID)
		for _, r := range m.Recipients {
			unique("recipient", r, m.ID)
		}
	}
	if !slices.IsSortedFunc(t.Members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }) {
		fault("members: are not in order of their ids")
	}
	for _, s := range t.Seats {
		if name := seatName(s.Population, s.Role); held[name] < MinHolders {
			fault("%s: has %d holders; it needs %d, so that nobody's absence makes data unreadable", name, held[name], MinHolders)
		}
	}
	return errors.Join(faults...)
}

func seatName(population string, r Role) string {
	if population == "" {
		return string(r)
	}
	return string(r) + " of " + population
}

// VerifierName is whose verifier key text is. It refuses a text that is not the one text of such a key, and a key that everybody
// can sign for.
func VerifierName(text string) (string, error) {
	name, _, _ := strings.Cut(text, "+")
	if err := checkVerifier(name, text); err != nil {
		return "", err
	}
	return name, nil
}

// checkVerifier says whether text is the one text of a verifier key of this name that not everybody can sign for.
func checkVerifier(name, text string) error {
	bad := errors.New("the verifier key can't be read, or is not of this name")
	if _, err := note.NewVerifier(text); err != nil {
		return bad
	}
	parts := strings.SplitN(text, "+", 3)
	raw, err := decode64(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || parts[0] != name {
		return bad
	}
	if again, err := note.NewEd25519VerifierKey(name, raw[1:]); err != nil || again != text {
		return bad
	}
	// For a point of small order anybody can make signatures.
	y := bytes.Clone(raw[1:])
	y[31] &= 0x7f
	switch hex.EncodeToString(y) {
	case "0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f":
		return errors.New("the verifier key is one that anybody can sign for")
	}
	return nil
}

// verifierKey is a verifier key without the name and hash of its owner, so that one key under two names is seen.
func verifierKey(text string) string {
	if parts := strings.SplitN(text, "+", 3); len(parts) == 3 {
		return parts[2]
	}
	return text
}

// Encode validates t and is its canonical text: what is signed.
func (t RegisterText) Encode() ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("write a register: %w", err)
	}
	text, err := Canonical(t)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxRegister {
		return nil, fmt.Errorf("write a register: it is longer than %d bytes", MaxRegister)
	}
	return text, nil
}

// ParseRegisterText reads what a register says, without asking who signed it: for what has yet to be signed. text may be a
// signed note.
func ParseRegisterText(text []byte) (RegisterText, error) {
	var t RegisterText
	if bare, err := Unsigned(text); err == nil {
		text = bare
	}
	if len(text) > MaxRegister {
		return RegisterText{}, fmt.Errorf("read a register: it is longer than %d bytes", MaxRegister)
	}
	if err := ParseCanonical(text, &t); err != nil {
		return RegisterText{}, err
	}
	if err := t.Validate(); err != nil {
		return RegisterText{}, fmt.Errorf("read a register: %w", err)
	}
	return t, nil
}

// A Register is a register of holders that is signed as it must be: number 1 by holders of its own three roles, every other by
// holders of the three roles of the one before. It comes from [ParseRegister] and [OpenChain] alone; the zero Register holds
// nobody and seals nothing.
type Register struct {
	text     RegisterText
	digest   Digest
	signers  []string // ids
	previous *Register
}

// A Need is a signature that a register must have and has not.
type Need struct {
	Population string
	Role       Role
	Of         []string // ids of those who can give it
	New        bool     // they are holders by this register, not by the one before
}

func (n Need) String() string {
	return fmt.Sprintf("%s (one of %s)", seatName(n.Population, n.Role), strings.Join(n.Of, ", "))
}

type need struct {
	Need
	verifiers []string
}

// ParseRegister reads a register, number 1 if previous is nil. It refuses, with [ErrRegister] and every reason, what may not
// follow previous:
//
//   - another deployment, tenant, number or digest than previous leads to, or an earlier time;
//   - no signature of one holder by previous of each of its three roles, and of each role of every population whose seats,
//     holders or members change; and, for each seat that is new, of one who will hold it. No two of these are of one person, since
//     nobody is in a register twice;
//   - a key that an earlier register had elsewhere, or that has been replaced before;
//   - a holder who held another role before, unless the keys of both roles have been replaced since.
func ParseRegister(signed []byte, previous *Register) (*Register, error) {
	r, missing, err := checkRegister(signed, previous)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		faults := make([]error, len(missing))
		for i, n := range missing {
			faults[i] = fmt.Errorf("the signature of the %s is missing", n)
		}
		return nil, fmt.Errorf("%w: %w", ErrRegister, errors.Join(faults...))
	}
	return r, nil
}

// MissingSignatures is [ParseRegister] for a register that is still being signed: it answers who has yet to sign. signed may be
// the bare text.
func MissingSignatures(signed []byte, previous *Register) ([]Need, error) {
	_, missing, err := checkRegister(signed, previous)
	return missing, err
}

func checkRegister(signed []byte, previous *Register) (*Register, []Need, error) {
	t, err := ParseRegisterText(signed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRegister, err)
	}
	if previous != nil && previous.digest.IsZero() {
		return nil, nil, fmt.Errorf("%w: the register before it was not read", ErrRegister)
	}
	if err := t.follows(previous); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRegister, err)
	}
	r := &Register{text: t, previous: previous}

	var by []string
	if text, err := Unsigned(signed); err != nil {
		r.digest = DigestOf(signed)
	} else {
		r.digest = DigestOf(text)
		var who []string
		for _, h := range t.Holders {
			who = append(who, h.Verifier)
		}
		if previous != nil {
			for _, h := range previous.text.Holders {
				who = append(who, h.Verifier)
			}
		}
		slices.Sort(who)
		if _, by, err = openNote(signed, slices.Compact(who)); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrRegister, err)
		}
	}
	for _, v := range by {
		name, _, _ := strings.Cut(v, "+")
		r.signers = append(r.signers, name)
	}
	slices.Sort(r.signers)
	var missing []Need
	for _, n := range t.needs(previous) {
		if !slices.ContainsFunc(n.verifiers, func(v string) bool { return slices.Contains(by, v) }) {
			missing = append(missing, n.Need)
		}
	}
	return r, missing, nil
}

// follows answers every reason why t may not follow previous, signatures aside.
func (t RegisterText) follows(previous *Register) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if previous == nil {
		if t.Number != 1 {
			return fmt.Errorf("it is number %d, and no register comes before it", t.Number)
		}
		return nil
	}
	p := &previous.text
	if t.Deployment != p.Deployment || t.Tenant != p.Tenant {
		fault("it is of another deployment or tenant")
	}
	if t.Number != p.Number+1 {
		fault("it is number %d; what follows %d is %d", t.Number, p.Number, p.Number+1)
	}
	if t.Previous != previous.digest {
		fault("it does not follow the register before it, but another of that number")
	}
	if t.Time < p.Time { // of one layout, which sorts as it reads
		fault("it is of an earlier time than the register before it")
	}
	now := t.keys()
	for name, key := range now {
		if p.keys()[name] == key {
			continue
		}
		for e := previous; e != nil; e = e.previous {
			for other, old := range e.text.keys() {
				if old == key {
					fault("the key of %s is not new: %s had it in number %d", name, other, e.text.Number)
				}
			}
		}
	}
	chain := append(previous.chain(), &t)
	for _, h := range t.Holders {
		if s, ok := t.seat(h.Population, h.Role); ok {
			for _, old := range conflicts(chain, h, s.Key.String()) {
				fault("%s held the role of %s before: the keys of that and of %s must be replaced first, or one person could open two shares",
					h.ID, old, seatName(h.Population, h.Role))
			}
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	faults = slices.CompactFunc(faults, func(a, b error) bool { return a.Error() == b.Error() })
	return errors.Join(faults...)
}

// chain are the texts of all registers up to r, oldest first.
func (r *Register) chain() []*RegisterText {
	var list []*RegisterText
	for ; r != nil; r = r.previous {
		list = append(list, &r.text)
	}
	slices.Reverse(list)
	return list
}

// conflicts are the seats of another role that h held before and whose private keys, which he may still know, were in use at the
// same time as key, which is one of the seat that he holds now. Whoever has both opens two shares of the data of that time.
func conflicts(chain []*RegisterText, h Holder, key string) []string {
	seat := seatName(h.Population, h.Role)
	var list []string
	for e, then := range chain {
		for _, old := range then.Holders {
			if old.Role == h.Role || !samePerson(old, h) {
				continue
			}
			other := seatName(old.Population, old.Role)
			for v, at := range chain {
				// At e he could open the key of that time and, since old keys are passed on, those before it.
				if keys := at.keys(); keys[seat] == key && (v <= e || keys[other] == then.keys()[other]) {
					list = append(list, other)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// samePerson says whether two entries are of one person, as far as a register can tell.
func samePerson(a, b Holder) bool {
	return a.ID == b.ID || verifierKey(a.Verifier) == verifierKey(b.Verifier) ||
		slices.ContainsFunc(a.Recipients, func(r string) bool { return slices.Contains(b.Recipients, r) })
}

func (t *RegisterText) keys() map[string]string {
	m := map[string]string{"the gate": t.Gate.Key.String(), "the gate's files": t.Gate.Recipient}
	for _, s := range t.Seats {
		m[seatName(s.Population, s.Role)] = s.Key.String()
	}
	return m
}

// populations are "" and those with seats of their own, in order.
func (t *RegisterText) populations() []string {
	var list []string
	for _, s := range t.Seats {
		list = append(list, s.Population)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// seat is the seat that counts for a role in a population.
func (t *RegisterText) seat(population string, r Role) (Seat, bool) {
	var found Seat
	for _, s := range t.Seats {
		if s.Role == r && (s.Population == population || s.Population == "" && found.Key.IsZero()) {
			found = s
		}
	}
	return found, !found.Key.IsZero()
}

func (t *RegisterText) holders(population string, r Role) []Holder {
	s, ok := t.seat(population, r)
	if !ok {
		return nil
	}
	var list []Holder
	for _, h := range t.Holders {
		if h.Population == s.Population && h.Role == r {
			list = append(list, h)
		}
	}
	return list
}

// serving are the members for a population.
func (t *RegisterText) serving(population string) []Holder {
	var list []Holder
	for _, m := range t.Members {
		if h := m.person(); h.Serves(population) {
			list = append(list, h)
		}
	}
	return list
}

// changed says whether who decides in a population, or with which keys, or who serves it, is not the same in t and p.
func (t *RegisterText) changed(p *RegisterText, population string) bool {
	same := func(a, b Holder) bool {
		return a.ID == b.ID && a.Verifier == b.Verifier && slices.Equal(a.Recipients, b.Recipients)
	}
	if !slices.EqualFunc(t.serving(population), p.serving(population), same) {
		return true
	}
	for _, r := range Approvers() {
		a, _ := t.seat(population, r)
		b, _ := p.seat(population, r)
		if a.Population != b.Population || a.Key.String() != b.Key.String() || !slices.EqualFunc(t.holders(population, r), p.holders(population, r), same) {
			return true
		}
	}
	return false
}

// needs are the signatures that t must have.
func (t *RegisterText) needs(previous *Register) []need {
	var list []need
	add := func(of *RegisterText, population string, r Role, isNew bool) {
		n := need{Need: Need{Population: population, Role: r, New: isNew}}
		for _, h := range of.holders(population, r) {
			n.Of = append(n.Of, h.ID)
			n.verifiers = append(n.verifiers, h.Verifier)
		}
		same := func(o need) bool { return slices.Equal(o.verifiers, n.verifiers) && o.Role == r }
		if !slices.ContainsFunc(list, same) { // a population without a seat of its own asks the holders of "" once
			list = append(list, n)
		}
	}
	if previous != nil {
		p := &previous.text
		all := append(p.populations(), t.populations()...)
		slices.Sort(all)
		for _, population := range slices.Compact(all) {
			if population != "" && !t.changed(p, population) {
				continue
			}
			for _, r := range Approvers() {
				add(p, population, r, false)
			}
		}
	}
	for _, s := range t.Seats {
		if previous == nil || !slices.ContainsFunc(previous.text.Seats, func(o Seat) bool { return o.Population == s.Population && o.Role == s.Role }) {
			add(t, s.Population, s.Role, previous != nil)
		}
	}
	return list
}

// OpenChain reads the registers of a tenant from number 1 on, each checked against the one before it.
func OpenChain(notes [][]byte) ([]*Register, error) {
	var chain []*Register
	var previous *Register
	for i, n := range notes {
		r, err := ParseRegister(n, previous)
		if err != nil {
			return nil, fmt.Errorf("read register %d: %w", i+1, err)
		}
		chain, previous = append(chain, r), r
	}
	return chain, nil
}

// Text is what r says. It is a copy.
func (r *Register) Text() RegisterText {
	if r == nil {
		return RegisterText{}
	}
	t := r.text
	t.Seats, t.Holders = slices.Clone(t.Seats), slices.Clone(t.Holders)
	for i := range t.Holders {
		t.Holders[i].Recipients = slices.Clone(t.Holders[i].Recipients)
	}
	t.Members = slices.Clone(t.Members)
	for i := range t.Members {
		t.Members[i].Recipients = slices.Clone(t.Members[i].Recipients)
	}
	return t
}

// Digest is the digest of the text of r: what names it.
func (r *Register) Digest() Digest { return r.digest }

// Deployment is whose register it is.
func (r *Register) Deployment() string { return r.text.Deployment }

// Tenant is the tenant whose holders r names.
func (r *Register) Tenant() string { return r.text.Tenant }

// Number counts from 1.
func (r *Register) Number() int { return r.text.Number }

// Time is when r was written.
func (r *Register) Time() time.Time {
	at, _ := time.Parse(timeLayout, r.text.Time)
	return at
}

// Previous is the register before r, or nil.
func (r *Register) Previous() *Register { return r.previous }

// Signers are the ids of those who signed r, in order.
func (r *Register) Signers() []string { return slices.Clone(r.signers) }

// Populations are "" and those that have seats of their own.
func (r *Register) Populations() []string { return r.text.populations() }

// GateRecipient is the age recipient of the service's own files.
func (r *Register) GateRecipient() string { return r.text.Gate.Recipient }

// Seat is the public key of a role for a population: its own, or that of "" if it has none.
func (r *Register) Seat(population string, role Role) (PublicKey, error) {
	if r == nil || r.digest.IsZero() {
		return PublicKey{}, errors.New("no register of holders")
	}
	if role == Gate {
		return r.text.Gate.Key, nil
	}
	s, ok := r.text.seat(population, role)
	if !ok {
		return PublicKey{}, fmt.Errorf("%q is not a role that has a seat", string(role))
	}
	return s.Key, nil
}

// Sealer makes data keys for a population.
func (r *Register) Sealer(population string) (*Sealer, error) {
	public := map[Role]PublicKey{}
	for _, role := range Roles() {
		k, err := r.Seat(population, role)
		if err != nil {
			return nil, fmt.Errorf("make a sealer: %w", err)
		}
		public[role] = k
	}
	return NewSealer(r.text.Deployment, public)
}

// Holder finds a holder by id.
func (r *Register) Holder(id string) (Holder, bool) {
	if r == nil {
		return Holder{}, false
	}
	for _, h := range r.text.Holders {
		if h.ID == id {
			h.Recipients = slices.Clone(h.Recipients)
			return h, true
		}
	}
	return Holder{}, false
}

// Member finds a member by id. A holder is none.
func (r *Register) Member(id string) (Member, bool) {
	if r == nil {
		return Member{}, false
	}
	for _, m := range r.text.Members {
		if m.ID == id {
			m.Recipients = slices.Clone(m.Recipients)
			return m, true
		}
	}
	return Member{}, false
}

// Person finds a holder or a member by id; a member has no role.
func (r *Register) Person(id string) (Holder, bool) {
	if m, ok := r.Member(id); ok {
		return m.person(), true
	}
	return r.Holder(id)
}

// Enrolled says whether a person of this id is in r with exactly this verifier key, and may ask for and look at people of a
// population.
func (r *Register) Enrolled(id, verifier, population string) bool {
	h, ok := r.Person(id)
	return ok && h.Verifier == verifier && h.Serves(population)
}

// Holders are those who decide for a population in a role: its own, or those of "" if it has no such seat.
func (r *Register) Holders(population string, role Role) []Holder {
	if r == nil {
		return nil
	}
	return slices.Clone(r.text.holders(population, role))
}

// Decides says whether a holder decides in his role for a population.
func (r *Register) Decides(id, population string) bool {
	h, ok := r.Holder(id)
	if !ok {
		return false
	}
	s, ok := r.text.seat(population, h.Role)
	return ok && s.Population == h.Population
}

// Verifiers are the verifier keys of all holders, for [Open].
func (r *Register) Verifiers() []string {
	if r == nil {
		return nil
	}
	var list []string
	for _, h := range r.text.Holders {
		list = append(list, h.Verifier)
	}
	return list
}

// A SeatKey is a key that a seat has or had.
type SeatKey struct {
	Population string
	Role       Role // an approver's, or Gate
	Key        PublicKey
	Number     int // of the register that brought it
	Replaced   int // of the register that brought the next; 0: it is in use
}

// SeatKeys are all keys that there ever were in the chain that ends with r, oldest first.
func (r *Register) SeatKeys() []SeatKey {
	if r == nil || r.digest.IsZero() {
		return nil
	}
	return r.text.SeatKeys(r.previous)
}

// SeatKeys are those of a register that would follow previous.
func (t RegisterText) SeatKeys(previous *Register) []SeatKey {
	list := previous.SeatKeys()
	now := append(slices.Clone(t.Seats), Seat{"", Gate, t.Gate.Key})
	for i := range list {
		k := &list[i]
		if k.Replaced == 0 && !slices.ContainsFunc(now, func(s Seat) bool {
			return s.Population == k.Population && s.Role == k.Role && s.Key.String() == k.Key.String()
		}) {
			k.Replaced = t.Number
		}
	}
	for _, s := range now {
		if !slices.ContainsFunc(list, func(k SeatKey) bool { return k.Key.String() == s.Key.String() }) {
			list = append(list, SeatKey{Population: s.Population, Role: s.Role, Key: s.Key, Number: t.Number})
		}
	}
	return list
}

// Openers are the holders by r to whom a private key of their seat may be given: all, but for an old key those who held another
// role whose keys were in use at the same time. They could open two of the shares of that time.
func (r *Register) Openers(k SeatKey) []Holder {
	if r == nil {
		return nil
	}
	return r.text.Openers(r.previous, k)
}

// Openers are those of a register that would follow previous.
func (t RegisterText) Openers(previous *Register, k SeatKey) []Holder {
	chain := append(previous.chain(), &t)
	var list []Holder
	for _, h := range t.Holders {
		if h.Population == k.Population && h.Role == k.Role && len(conflicts(chain, h, k.Key.String())) == 0 {
			list = append(list, h)
		}
	}
	return list
}
