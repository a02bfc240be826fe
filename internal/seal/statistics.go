package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"time"
)

const (
	labelRatchet = "tillsyn v1 statistics ratchet"
	labelSubject = "tillsyn v1 statistics subject"
	labelPeople  = "tillsyn v1 statistics people"
	labelSlots   = "tillsyn v1 statistics active slots"
	labelMessage = "tillsyn v1 statistics message"
	labelMail    = "tillsyn v1 statistics messages"
	labelCheck   = "tillsyn v1 statistics check"

	statisticsHeader = "tillsyn statistics key v1"
	statisticsSize   = 32
)

// ErrForgotten is what a key answers when it is asked for a month before its oldest.
var ErrForgotten = errors.New("the statistics key of that month has been forgotten")

// Month counts calendar months: year*12 + month-1.
type Month int

// MonthOf is the calendar month of t in t's own location.
func MonthOf(t time.Time) Month { return Month(t.Year()*12 + int(t.Month()) - 1) }

func (m Month) String() string { return fmt.Sprintf("%04d-%02d", int(m)/12, int(m)%12+1) }

// StatisticsKey is K(month) for one month and, by the ratchet, for all that follow it.
type StatisticsKey struct {
	month Month
	key   [statisticsSize]byte
	valid bool
}

// NewStatisticsKey draws a key whose oldest month is m.
func NewStatisticsKey(m Month) StatisticsKey {
	k := StatisticsKey{month: m, valid: true}
	rand.Read(k.key[:]) // never fails: it ends the program instead (crypto/rand)
	return k
}

// ParseStatisticsKey reads what [StatisticsKey.Encode] wrote.
func ParseStatisticsKey(text []byte) (StatisticsKey, error) {
	bad := errors.New("this is not a statistics key file (three lines: " + statisticsHeader + ", month YYYY-MM, key in base64)")
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != 3 || string(lines[0]) != statisticsHeader {
		return StatisticsKey{}, bad
	}
	t, err := time.Parse("2006-01", string(lines[1]))
	if err != nil {
		return StatisticsKey{}, bad
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(string(lines[2]))
	if err != nil || len(raw) != statisticsSize {
		return StatisticsKey{}, bad
	}
	return StatisticsKey{month: MonthOf(t), key: [statisticsSize]byte(raw), valid: true}, nil
}

// Encode is the key as the text of a key file. It is a secret.
func (k StatisticsKey) Encode() []byte {
	return fmt.Appendf(nil, "%s\n%s\n%s\n", statisticsHeader, k.month, base64.StdEncoding.EncodeToString(k.key[:]))
}

// Oldest is the first month that k can still make tokens for.
func (k StatisticsKey) Oldest() Month { return k.month }

// Forget is k without the months before m.
func (k StatisticsKey) Forget(m Month) (StatisticsKey, error) {
	if !k.valid {
		return StatisticsKey{}, errors.New("no statistics key")
	}
	if m < k.month {
		return StatisticsKey{}, fmt.Errorf("%w: %s, the oldest is %s", ErrForgotten, m, k.month)
	}
	for k.month < m {
		k.key = [statisticsSize]byte(expand(k.key[:], labelRatchet, statisticsSize))
		k.month++
	}
	return k, nil
}

// Tokenizer makes the tokens of month m. It fails with [ErrForgotten] for a month before the oldest.
func (k StatisticsKey) Tokenizer(m Month) (*Tokenizer, error) {
	k, err := k.Forget(m)
	if err != nil {
		return nil, err
	}
	return &Tokenizer{
		subject: hmac.New(sha256.New, expand(k.key[:], labelSubject, 32)),
		people:  block(expand(k.key[:], labelPeople, 16)),
		slots:   block(expand(k.key[:], labelSlots, 16)),
		message: hmac.New(sha256.New, expand(k.key[:], labelMessage, 32)),
		mail:    block(expand(k.key[:], labelMail, 16)),
	}, nil
}

// Check is the check value of the key of month m, 32 hexadecimal digits: equal for equal keys, and no help in finding one. It
// fails with [ErrForgotten] for a month before the oldest.
func (k StatisticsKey) Check(m Month) (string, error) {
	k, err := k.Forget(m)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", expand(k.key[:], labelCheck, 16)), nil
}

// String hides the key.
func (k StatisticsKey) String() string { return "[statistics key, redacted]" }

// GoString hides the key.
func (k StatisticsKey) GoString() string { return k.String() }

// Format hides the key from every verb.
func (k StatisticsKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalText refuses: a key is written by Encode, on purpose.
func (k StatisticsKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func expand(key []byte, label string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, key, label, size)
	if err != nil {
		panic(err) // only for sizes over 255 blocks
	}
	return out
}

func block(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for key sizes that AES does not have
	}
	return b
}

// SubjectBlock is S of the package comment: a person in one month. It is a pseudonym.
type SubjectBlock [16]byte

// CellBlock is C of the package comment: a cell of a statistic.
type CellBlock [16]byte

// SiteBlock is the part of W that stands for a site.
type SiteBlock [12]byte

// Cell hashes the canonical name of a cell: its parts, each preceded by its length, so that no two lists of parts read
// the same.
func Cell(parts ...string) CellBlock {
	var room [256]byte // most names fit: a cell is hashed for each unit and domain of a batch
	name := room[:0]
	for _, p := range parts {
		name = binary.BigEndian.AppendUint64(name, uint64(len(p)))
		name = append(name, p...)
	}
	sum := sha256.Sum256(name)
	return CellBlock(sum[:16])
}

// Site hashes a site's name.
func Site(name string) SiteBlock {
	sum := sha256.Sum256([]byte(name))
	return SiteBlock(sum[:12])
}

// Tokenizer makes the tokens of one month. It is not safe for concurrent use. It comes from [StatisticsKey.Tokenizer]; the
// methods of any other, the zero one included, panic.
type Tokenizer struct {
	subject, message    hash.Hash
	people, slots, mail cipher.Block
	scratch             [16]byte // a field, because what is passed to an interface would otherwise be allocated for each token
	sum                 [sha256.Size]byte
}

// Subject is the pseudonym of a subject of a tenant.
func (t *Tokenizer) Subject(tenant string, subject []byte) SubjectBlock {
	t.usable()
	t.subject.Reset()
	t.subject.Write([]byte(tenant))
	t.subject.Write([]byte{0})
	t.subject.Write(subject)
	return SubjectBlock(t.subject.Sum(t.sum[:0])[:16])
}

// MessageBlock is a mail message in one month.
type MessageBlock [16]byte

// Message is the pseudonym of a mail message of a tenant: id is what tells it from others, such as its Message-ID.
func (t *Tokenizer) Message(tenant string, id []byte) MessageBlock {
	t.usable()
	t.message.Reset()
	t.message.Write([]byte(tenant))
	t.message.Write([]byte{0})
	t.message.Write(id)
	return MessageBlock(t.message.Sum(t.sum[:0])[:16])
}

// Mail is the token of a message in a cell.
func (t *Tokenizer) Mail(m MessageBlock, c CellBlock) uint64 {
	t.mix(SubjectBlock(m), c)
	t.mail.Encrypt(t.scratch[:], t.scratch[:])
	return binary.BigEndian.Uint64(t.scratch[:8])
}

// People is the token of a person in a cell.
func (t *Tokenizer) People(s SubjectBlock, c CellBlock) uint64 {
	t.mix(s, c)
	t.people.Encrypt(t.scratch[:], t.scratch[:])
	return binary.BigEndian.Uint64(t.scratch[:8])
}

// SlotState is the first block of an active-slot token, to be shared by the slots of one person in one cell.
func (t *Tokenizer) SlotState(s SubjectBlock, c CellBlock) (state [16]byte) {
	t.mix(s, c)
	t.slots.Encrypt(t.scratch[:], t.scratch[:])
	return t.scratch
}

// Slot is the token of a person at a site during a five-minute window: window is Unix time / 300 s.
func (t *Tokenizer) Slot(state [16]byte, site SiteBlock, window uint32) uint64 {
	t.usable()
	var w [16]byte
	copy(w[:12], site[:])
	binary.BigEndian.PutUint32(w[12:], window)
	for i := range w {
		t.scratch[i] = state[i] ^ w[i]
	}
	t.slots.Encrypt(t.scratch[:], t.scratch[:])
	return binary.BigEndian.Uint64(t.scratch[:8])
}

func (t *Tokenizer) mix(s SubjectBlock, c CellBlock) {
	t.usable()
	for i := range s {
		t.scratch[i] = s[i] ^ c[i]
	}
}
