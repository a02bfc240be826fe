package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const (
	labelOrigin   = "tillsyn v1 origin"
	labelShare    = "tillsyn v1 share"
	labelDataKey  = "tillsyn v1 data key"
	labelHandover = "tillsyn v1 handover"
)

// ErrNotOpened is when a ciphertext does not open: it was made for another key or another place, or was altered. Which of
// these is not said.
var ErrNotOpened = errors.New("it does not open: another key, another place, or altered")

// KeyID names a data key. It is drawn at random.
type KeyID [16]byte

// ParseKeyID reads what [KeyID.String] writes.
func ParseKeyID(text string) (id KeyID, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) || hex.EncodeToString(raw) != text {
		return id, errors.New("a key id is 32 hexadecimal digits in lower case")
	}
	return KeyID(raw), nil
}

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is [ParseKeyID].
func (id *KeyID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseKeyID(string(text))
	return err
}

// A Binding is what a data key is for. Its shares open for exactly this, and for nothing that differs in one byte: whoever
// opens a share says for whom, so that nobody can hand him the share of another person.
type Binding struct {
	Deployment string
	Tenant     string
	Population string
	Unit       string
	Kind       string // web or mail: each has keys of its own, so that each can die at its own time
	Subject    []byte // whose events; personal data
	Day        Day
	Tag        Tag // of Subject on Day
	Key        KeyID
}

// Format hides the subject from every verb.
func (Binding) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the subject from every encoder.
func (Binding) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// info is the HPKE info string of the share of a role. The gate finds out by its share whom a key is for, so its own does not
// name the subject.
func (b *Binding) info(r Role) []byte {
	subject := b.Subject
	if r == Gate {
		subject = nil
	}
	var day [4]byte
	binary.BigEndian.PutUint32(day[:], uint32(b.Day))
	return framed([]byte(labelShare), []byte(r), []byte(b.Deployment), []byte(b.Tenant), []byte(b.Population), []byte(b.Unit), []byte(b.Kind),
		subject, day[:], b.Tag[:], b.Key[:])
}

// framed puts parts together, each preceded by its length as 4 bytes, big endian, so that no two lists of parts are one text.
func framed(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += 4 + len(p)
	}
	out := make([]byte, 0, n)
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

const shareSize = 32

// A Share is one of the four parts of a data key. It prints as redacted.
type Share [shareSize]byte

// Format hides the share from every verb.
func (Share) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the share from every encoder.
func (Share) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A WrappedKey is a data key as it is stored: its four shares, each sealed to one role, in the order of [Roles].
type WrappedKey struct {
	ID     KeyID
	Shares [4][]byte // HPKE (RFC 9180, single shot, base mode): encapsulated key, then ciphertext
}

// A Sealer makes data keys and can open none.
type Sealer struct {
	deployment string
	recipients [4]PublicKey
	valid      bool
}

// NewSealer makes a Sealer for one deployment and the four roles' public keys, all different.
func NewSealer(deployment string, recipients map[Role]PublicKey) (*Sealer, error) {
	s := &Sealer{deployment: deployment, valid: true}
	if deployment == "" {
		return nil, errors.New("a sealer needs the name of the deployment")
	}
	seen := map[string]Role{}
	for i, r := range Roles() {
		p := recipients[r]
		if p.IsZero() {
			return nil, fmt.Errorf("there is no public key for the role %s", r)
		}
		if other, ok := seen[p.String()]; ok {
			return nil, fmt.Errorf("the roles %s and %s have one key: each needs its own", other, r)
		}
		seen[p.String()] = r
		s.recipients[i] = p
	}
	return s, nil
}

// NewKey draws a data key for b, whose Deployment and Key it fills in, and marks it with the key of origin. The wrapped key must be
// stored before anything that the key sealed.
func (s *Sealer) NewKey(b Binding, origin OriginKey) (*SealingKey, WrappedKey, error) {
	var w WrappedKey
	if s == nil || !s.valid {
		return nil, w, errors.New("this Sealer has no keys; take one from NewSealer")
	}
	if b.Tenant == "" || b.Kind == "" || len(b.Subject) == 0 || b.Tag == (Tag{}) {
		return nil, w, errors.New("a data key needs a tenant, a kind, a subject and its tag")
	}
	if origin == (OriginKey{}) {
		return nil, w, errors.New("a data key needs the key of origin")
	}
	rand.Read(w.ID[:])
	b.Deployment, b.Key = s.deployment, w.ID
	var shares [4]Share
	for i, r := range Roles() {
		rand.Read(shares[i][:])
		plain := shares[i][:]
		if r == Gate {
			plain = withSubject(append(plain[:shareSize:shareSize], b.origin(origin, shares[i])...), b.Subject)
		}
		var err error
		if w.Shares[i], err = s.recipients[i].seal(b.info(r), plain); err != nil {
			return nil, w, fmt.Errorf("seal the share of %s: %w", r, err)
		}
	}
	key, err := combine(w.ID, shares)
	if err != nil {
		return nil, w, err
	}
	return &SealingKey{id: w.ID, gcm: key.gcm}, w, nil
}

// OpenShare opens the share of role r, which k must be the key of, in a key that was made for b. It fails with [ErrNotOpened]
// if b is not to the byte what the key was made for. The gate uses [PrivateKey.OpenGateShare].
func (k PrivateKey) OpenShare(w WrappedKey, r Role, b Binding) (Share, error) {
	var s Share
	i, err := r.position()
	if err != nil {
		return s, err
	}
	if r == Gate {
		return s, errors.New("the gate's share opens with OpenGateShare")
	}
	if len(b.Subject) == 0 || b.Deployment == "" {
		return s, errors.New("a share opens only for a named subject of a named deployment")
	}
	b.Key = w.ID
	plain, err := k.open(b.info(r), w.Shares[i])
	if err != nil || len(plain) != shareSize {
		return s, ErrNotOpened
	}
	return Share(plain), nil
}

// OpenGateShare opens the gate's share in a key that was made for b, where only b.Subject need not be known: it answers that too. It
// refuses a key that was not marked with the key of origin: one that somebody else drew, who could seal anything under it.
func (k PrivateKey) OpenGateShare(w WrappedKey, b Binding, origin OriginKey) (Share, []byte, error) {
	var s Share
	b.Key = w.ID
	plain, err := k.open(b.info(Gate), w.Shares[3])
	if err != nil {
		return s, nil, ErrNotOpened
	}
	subject, ok := subjectOf(plain)
	if !ok || origin == (OriginKey{}) {
		return s, nil, ErrNotOpened
	}
	b.Subject = subject
	if !hmac.Equal(plain[shareSize:gateSize], b.origin(origin, Share(plain[:shareSize]))) {
		return s, nil, ErrNotOpened
	}
	return Share(plain[:shareSize]), subject, nil
}

// origin is the mark of a data key: whoever does not have the gate's share cannot know the data key, so it is enough to mark that
// share, with all that the key is for.
func (b *Binding) origin(key OriginKey, gate Share) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(framed([]byte(labelOrigin), b.info(Manager), gate[:]))
	return mac.Sum(nil)[:originSize]
}

const (
	originSize = 16
	gateSize   = shareSize + originSize // of what precedes the subject in the gate's plaintext
)

// A subject is padded to subjectLeast bytes, or to some times subjectStep more, so that the length of the gate's plaintext tells the
// length of hardly any name.
const subjectLeast, subjectStep = 28, 64

// withSubject is the gate's plaintext: head, which is its share and the mark of origin, the length of the subject as 4 bytes, big
// endian, the subject, and zeros.
func withSubject(head, subject []byte) []byte {
	n := subjectLeast
	for n < len(subject) {
		n += subjectStep
	}
	plain := make([]byte, gateSize+4+n)
	copy(plain, head)
	binary.BigEndian.PutUint32(plain[gateSize:], uint32(len(subject)))
	copy(plain[gateSize+4:], subject)
	return plain
}

func subjectOf(plain []byte) ([]byte, bool) {
	if len(plain) < gateSize+4 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint32(plain[gateSize:]))
	if n == 0 || n > len(plain)-gateSize-4 {
		return nil, false
	}
	subject := plain[gateSize+4 : gateSize+4+n]
	return subject, bytes.Equal(plain, withSubject(plain[:gateSize], subject))
}

// combine makes the data key of four shares, in the order of [Roles].
func combine(id KeyID, shares [4]Share) (OpeningKey, error) {
	var secret []byte
	for _, s := range shares {
		secret = append(secret, s[:]...)
	}
	defer clear(secret)
	raw, err := hkdf.Key(sha256.New, secret, id[:], labelDataKey, 32)
	if err != nil {
		return OpeningKey{}, fmt.Errorf("derive a data key: %w", err)
	}
	defer clear(raw)
	gcm, err := newGCM(raw)
	if err != nil {
		return OpeningKey{}, err
	}
	return OpeningKey{id: id, gcm: gcm}, nil
}

// Combine makes the key that opens capsules of the four shares of the data key id. Wrong shares make a key that opens nothing.
func Combine(id KeyID, shares map[Role]Share) (OpeningKey, error) {
	var all [4]Share
	for i, r := range Roles() {
		s, ok := shares[r]
		if !ok {
			return OpeningKey{}, fmt.Errorf("the share of %s is missing", r)
		}
		all[i] = s
	}
	return combine(id, all)
}

// Handover is what an approver gives the gate: shares, sealed to the gate and bound to one decision and role.
type Handover struct {
	Role   Role
	Sealed []byte
}

func handoverInfo(decision Digest, r Role) []byte {
	return framed([]byte(labelHandover), decision[:], []byte(r))
}

// handoverPad is for how many shares a handover has room at least; beyond, it doubles.
const handoverPad = 1024

// SealHandover seals shares to the gate. They open for the decision with this digest only. How long a handover is says little about how
// many shares are in it.
func SealHandover(gate PublicKey, decision Digest, r Role, shares map[KeyID]Share) (Handover, error) {
	if decision.IsZero() {
		return Handover{}, errors.New("shares are handed over for a decision only")
	}
	if !r.approves() {
		return Handover{}, fmt.Errorf("%s hands over no shares", r)
	}
	room := handoverPad
	for room < len(shares) {
		room *= 2
	}
	const each = len(KeyID{}) + shareSize
	plain := make([]byte, room*each) // what is left of it is no key's: none has the id zero
	defer clear(plain)
	at := 0
	for id, s := range shares {
		if id == (KeyID{}) {
			return Handover{}, errors.New("a share is of no key")
		}
		copy(plain[at:], id[:])
		copy(plain[at+len(id):], s[:])
		at += each
	}
	sealed, err := gate.seal(handoverInfo(decision, r), plain)
	if err != nil {
		return Handover{}, fmt.Errorf("seal shares to the gate: %w", err)
	}
	return Handover{r, sealed}, nil
}

// OpenHandover opens what was handed to the gate for a decision. It fails with [ErrNotOpened] for any other.
func (k PrivateKey) OpenHandover(decision Digest, h Handover) (map[KeyID]Share, error) {
	if decision.IsZero() || !h.Role.approves() {
		return nil, ErrNotOpened
	}
	plain, err := k.open(handoverInfo(decision, h.Role), h.Sealed)
	const each = len(KeyID{}) + shareSize
	if err != nil || len(plain)%each != 0 {
		return nil, ErrNotOpened
	}
	defer clear(plain)
	shares := map[KeyID]Share{}
	for ; len(plain) > 0; plain = plain[each:] {
		if KeyID(plain) == (KeyID{}) {
			continue
		}
		shares[KeyID(plain)] = Share(plain[len(KeyID{}):each])
	}
	return shares, nil
}

func (r Role) approves() bool { return r == Manager || r == HR || r == Security }
