package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const labelCapsule = "tillsyn v1 capsule"

// Overhead is how many bytes a capsule is longer than what is in it: a random nonce of 12 and a tag of 16.
const Overhead = 28

// A Label is what stands beside a capsule in clear. It is bound into it: a capsule opens under its own label only.
type Label struct {
	Tenant      string
	Unit        string
	Kind        string // web or mail
	Day         Day
	Tag         Tag
	Key         KeyID
	First, Last uint32 // when the first and the last event happened, Unix seconds
	Count       uint32 // events
}

func (l *Label) append(dst []byte) []byte {
	const fixed = 4*4 + len(labelCapsule) + 4 + len(Tag{}) + len(KeyID{}) + 3*4
	dst = slices.Grow(dst, fixed+len(l.Tenant)+len(l.Unit)+len(l.Kind))
	for _, s := range []string{labelCapsule, l.Tenant, l.Unit, l.Kind} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.Day))
	dst = append(append(dst, l.Tag[:]...), l.Key[:]...)
	for _, n := range []uint32{l.First, l.Last, l.Count} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	return dst
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return gcm, nil
}

// A SealingKey is a data key that can only seal: AES-256-GCM with random nonces (NIST SP 800-38D, 8.2.2: at most 2^32
// capsules under one key, which is one person's on one day).
type SealingKey struct {
	id  KeyID
	gcm cipher.AEAD
}

// ID names the key.
func (k *SealingKey) ID() KeyID { return k.id }

// Seal appends the capsule of plaintext to dst. l.Key is filled in. It is safe for concurrent use, and panics without a key: a
// capsule that was not sealed could not be told from one that was.
func (k *SealingKey) Seal(dst, plaintext []byte, l Label) []byte {
	if k == nil || k.gcm == nil {
		panic("seal: this SealingKey has no key; take one from Sealer.NewKey")
	}
	l.Key = k.id
	return k.gcm.Seal(dst, nil, plaintext, l.append(nil))
}

// Format hides the key from every verb.
func (SealingKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (SealingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// An OpeningKey is a data key put together from its shares.
type OpeningKey struct {
	id  KeyID
	gcm cipher.AEAD
}

// ID names the key.
func (k OpeningKey) ID() KeyID { return k.id }

// Open appends what is in a capsule to dst. It fails with [ErrNotOpened] if the capsule was sealed under another key or
// label, or altered.
func (k OpeningKey) Open(dst, capsule []byte, l Label) ([]byte, error) {
	if k.gcm == nil || l.Key != k.id {
		return nil, ErrNotOpened
	}
	plain, err := k.gcm.Open(dst, nil, capsule, l.append(nil))
	if err != nil {
		return nil, ErrNotOpened
	}
	return plain, nil
}

// Format hides the key from every verb.
func (OpeningKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (OpeningKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
