package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Role is who must take part before a person can be looked at.
type Role string

// The roles. Three are people's; the fourth is the service itself.
const (
	Manager  Role = "manager"  // the responsible manager
	HR       Role = "hr"       // the head of HR
	Security Role = "security" // the chief of information security
	Gate     Role = "gate"     // the service that runs lookups
)

// Roles are all roles, in the order of the shares of a data key.
func Roles() []Role { return []Role{Manager, HR, Security, Gate} }

// Approvers are the roles that people hold.
func Approvers() []Role { return []Role{Manager, HR, Security} }

// position is where the share of r stands in a wrapped key.
func (r Role) position() (int, error) {
	if i := slices.Index(Roles(), r); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is not a role; roles are %v", string(r), Roles())
}

// Suite names the key encapsulation of a role's key.
type Suite string

// The suites (RFC 9180 with HKDF-SHA-256 and AES-256-GCM).
const (
	X25519 Suite = "x25519"          // DHKEM(X25519, HKDF-SHA256)
	Hybrid Suite = "mlkem768-x25519" // MLKEM768-X25519 (X-Wing): also against a quantum computer of later
)

// Suites are the suites that a role's key can be of.
func Suites() []Suite { return []Suite{X25519, Hybrid} }

func (s Suite) kem() (hpke.KEM, error) {
	switch s {
	case X25519:
		return hpke.DHKEM(ecdh.X25519()), nil
	case Hybrid:
		return hpke.MLKEM768X25519(), nil
	}
	return nil, fmt.Errorf("%q is not a suite; suites are %v", string(s), Suites())
}

func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// A PublicKey is the public half of a role's key: it seals.
type PublicKey struct {
	suite Suite
	key   hpke.PublicKey
}

// ParsePublicKey reads what [PublicKey.String] writes: the suite, a colon and the key in base64.
func ParsePublicKey(text string) (PublicKey, error) {
	name, encoded, _ := strings.Cut(text, ":")
	kem, err := Suite(name).kem()
	if err != nil {
		return PublicKey{}, fmt.Errorf("read a role's public key: %w", err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return PublicKey{}, errors.New("read a role's public key: after the suite and a colon stands the key in base64")
	}
	key, err := kem.NewPublicKey(raw)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read a role's public key: %w", err)
	}
	p := PublicKey{Suite(name), key}
	// One text for one key: it is signed, and compared. X25519 takes several encodings for one point.
	if p.String() != text || !canonicalPoint(raw[len(raw)-32:]) {
		return PublicKey{}, errors.New("read a role's public key: it is not in its canonical form")
	}
	if _, err := p.seal(nil, nil); err != nil {
		return PublicKey{}, errors.New("read a role's public key: nothing can be sealed to it")
	}
	return p, nil
}

// canonicalPoint says whether a Curve25519 coordinate is below 2^255-19 (RFC 7748, 5). Both suites end in one.
func canonicalPoint(u []byte) bool {
	switch {
	case u[31] > 0x7f:
		return false
	case u[31] < 0x7f || u[0] < 0xed:
		return true
	}
	return slices.ContainsFunc(u[1:31], func(b byte) bool { return b != 0xff })
}

// IsZero says whether p is no key.
func (p PublicKey) IsZero() bool { return p.key == nil }

func (p PublicKey) String() string {
	if p.IsZero() {
		return ""
	}
	return string(p.suite) + ":" + base64.StdEncoding.EncodeToString(p.key.Bytes())
}

// MarshalText is String.
func (p PublicKey) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [ParsePublicKey].
func (p *PublicKey) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePublicKey(string(text))
	return err
}

func (p PublicKey) seal(info, plaintext []byte) ([]byte, error) {
	if p.IsZero() {
		return nil, errors.New("no public key")
	}
	return hpke.Seal(p.key, kdf(), aead(), info, plaintext)
}

// A PrivateKey is the private half of a role's key: it opens. It prints as redacted.
type PrivateKey struct {
	suite Suite
	key   hpke.PrivateKey
}

const roleKeyHeader = "tillsyn role key v1"

// NewPrivateKey draws a key.
func NewPrivateKey(s Suite) (PrivateKey, error) {
	kem, err := s.kem()
	if err != nil {
		return PrivateKey{}, err
	}
	key, err := kem.GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("draw a role's key: %w", err)
	}
	return PrivateKey{s, key}, nil
}

// ParsePrivateKey reads what [PrivateKey.Encode] wrote.
func ParsePrivateKey(text []byte) (PrivateKey, error) {
	bad := errors.New("this is not a role's private key (three lines: " + roleKeyHeader + ", suite, key in base64)")
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 3 || lines[0] != roleKeyHeader {
		return PrivateKey{}, bad
	}
	kem, err := Suite(lines[1]).kem()
	if err != nil {
		return PrivateKey{}, bad
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil {
		return PrivateKey{}, bad
	}
	key, err := kem.NewPrivateKey(raw)
	if err != nil {
		return PrivateKey{}, bad
	}
	k := PrivateKey{Suite(lines[1]), key}
	if again, err := key.Bytes(); err != nil || !bytes.Equal(again, raw) { // X25519 ignores five bits, and writes them as they should be
		return PrivateKey{}, bad
	}
	return k, nil
}

// Encode is the key as text. It is a secret: it leaves memory only encrypted to holders (package age), or, for the gate, in a
// file of mode 0600.
func (k PrivateKey) Encode() ([]byte, error) {
	if k.key == nil {
		return nil, errors.New("no private key")
	}
	raw, err := k.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode a role's key: %w", err)
	}
	return fmt.Appendf(nil, "%s\n%s\n%s\n", roleKeyHeader, k.suite, base64.StdEncoding.EncodeToString(raw)), nil
}

// Public is the public half.
func (k PrivateKey) Public() PublicKey {
	if k.key == nil {
		return PublicKey{}
	}
	return PublicKey{k.suite, k.key.PublicKey()}
}

func (k PrivateKey) open(info, ciphertext []byte) ([]byte, error) {
	if k.key == nil {
		return nil, errors.New("no private key")
	}
	return hpke.Open(k.key, kdf(), aead(), info, ciphertext)
}

// Format hides the key from every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
