package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	labelLookupRatchet = "tillsyn v1 lookup ratchet"
	labelLookupTag     = "tillsyn v1 lookup tag"
	labelLookupCheck   = "tillsyn v1 lookup check"

	lookupHeader = "tillsyn lookup key v1"
	lookupSize   = 32
)

// ErrLookupForgotten is what a lookup key answers when it is asked for a day before its oldest.
var ErrLookupForgotten = errors.New("the lookup key of that day has been forgotten")

// Day counts days since 1970-01-01, UTC: the day of an event, by which capsules are kept and purged.
type Day int32

// DayOf is the UTC day of t.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// ParseDay reads a day in the form 2006-01-02.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a day such as 2026-11-22", text)
	}
	return DayOf(t), nil
}

// Time is midnight UTC, when d begins.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// OriginKey says that a data key was drawn by one of our ingesters. It makes no tag, so it need not be forgotten: data that are
// held for longer than tags can be made must not be open to forgery.
type OriginKey [lookupSize]byte

// Format hides the key from every verb.
func (OriginKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (OriginKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LookupKey is K_lookup for one day and, by the ratchet, for all that follow it, and beside it the key of origin.
type LookupKey struct {
	day    Day
	key    [lookupSize]byte
	origin OriginKey
	valid  bool
}

// Origin is the key of origin that is kept with k.
func (k LookupKey) Origin() OriginKey { return k.origin }

// NewLookupKey draws a key whose oldest day is d.
func NewLookupKey(d Day) LookupKey {
	k := LookupKey{day: d, valid: true}
	rand.Read(k.key[:]) // never fails: it ends the program instead (crypto/rand)
	rand.Read(k.origin[:])
	return k
}

// ParseLookupKey reads what [LookupKey.Encode] wrote.
func ParseLookupKey(text []byte) (LookupKey, error) {
	bad := errors.New("this is not a lookup key file (four lines: " + lookupHeader + ", day YYYY-MM-DD, key and key of origin in base64)")
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != 4 || string(lines[0]) != lookupHeader {
		return LookupKey{}, bad
	}
	d, err := ParseDay(string(lines[1]))
	if err != nil {
		return LookupKey{}, bad
	}
	k := LookupKey{day: d, valid: true}
	for i, into := range [][]byte{k.key[:], k.origin[:]} {
		raw, err := base64.StdEncoding.Strict().DecodeString(string(lines[2+i]))
		if err != nil || len(raw) != lookupSize {
			return LookupKey{}, bad
		}
		copy(into, raw)
	}
	if k.origin == (OriginKey{}) {
		return LookupKey{}, bad
	}
	return k, nil
}

// Encode is the key as the text of a key file. It is a secret.
func (k LookupKey) Encode() []byte {
	return fmt.Appendf(nil, "%s\n%s\n%s\n%s\n", lookupHeader, k.day, base64.StdEncoding.EncodeToString(k.key[:]), base64.StdEncoding.EncodeToString(k.origin[:]))
}

// Oldest is the first day that k can still make tags for.
func (k LookupKey) Oldest() Day { return k.day }

// Forget is k without the days before d.
func (k LookupKey) Forget(d Day) (LookupKey, error) {
	if !k.valid {
		return LookupKey{}, errors.New("no lookup key")
	}
	if d < k.day {
		return LookupKey{}, fmt.Errorf("%w: %s, the oldest is %s", ErrLookupForgotten, d, k.day)
	}
	for k.day < d {
		k.key = [lookupSize]byte(expand(k.key[:], labelLookupRatchet, lookupSize))
		k.day++
	}
	return k, nil
}

// Tagger makes the tags of day d. It fails with [ErrLookupForgotten] for a day before the oldest.
func (k LookupKey) Tagger(d Day) (*Tagger, error) {
	k, err := k.Forget(d)
	if err != nil {
		return nil, err
	}
	return &Tagger{mac: hmac.New(sha256.New, expand(k.key[:], labelLookupTag, 32))}, nil
}

// Check is the check value of the key of day d, 32 hexadecimal digits: equal for equal keys, and no help in finding one.
func (k LookupKey) Check(d Day) (string, error) {
	k, err := k.Forget(d)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", expand(k.key[:], labelLookupCheck, 16)), nil
}

// Format hides the key from every verb.
func (k LookupKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder: a key is written by Encode, on purpose.
func (k LookupKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Tag is the lookup tag of a subject on a day: a pseudonym.
type Tag [16]byte

// Hex is the tag as 32 hexadecimal digits, for where it must be written down.
func (t Tag) Hex() string { return hex.EncodeToString(t[:]) }

// Format hides the pseudonym from every verb.
func (Tag) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the pseudonym from every encoder.
func (Tag) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Tagger makes the lookup tags of one day. It is not safe for concurrent use. It comes from [LookupKey.Tagger]; any other
// panics.
type Tagger struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// Tag is the tag of a subject of a tenant.
func (t *Tagger) Tag(tenant string, subject []byte) Tag {
	if t == nil || t.mac == nil {
		panic("seal: this Tagger has no key; take one from LookupKey.Tagger")
	}
	t.mac.Reset()
	io.WriteString(t.mac, tenant)
	t.mac.Write([]byte{0})
	t.mac.Write(subject)
	return Tag(t.mac.Sum(t.sum[:0])[:16])
}

// Format hides the key, and what was hashed last, from every verb.
func (Tagger) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (Tagger) MarshalText() ([]byte, error) { return []byte(redacted), nil }
