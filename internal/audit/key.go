package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Signature types of verifier keys (https://c2sp.org/signed-note).
const (
	typeEd25519     = 1
	typeCosignature = 4
)

// ErrKey says that a key file or a verifier key cannot be used.
var ErrKey = errors.New("the audit log's key cannot be used")

// Trust is what a verifier pins: the deployment, the log's public key, and who must co-sign. The zero Trust trusts nothing.
type Trust struct {
	deployment string
	key        ed25519.PublicKey
	witnesses  []note.Verifier
	quorum     int
}

// NewTrust answers the trust in vkey, as [Trust.Key] prints it: "DEPLOYMENT/audit+HASH+KEY".
func NewTrust(vkey string) (Trust, error) {
	name, key, err := parseVerifierKey(vkey, typeEd25519)
	if err != nil {
		return Trust{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	deployment, ok := strings.CutSuffix(name, "/audit")
	if !ok || checkDeployment(deployment) != nil {
		return Trust{}, fmt.Errorf("%w: its name is not DEPLOYMENT/audit", ErrKey)
	}
	return Trust{deployment: deployment, key: key}, nil
}

// WithWitnesses answers t that also asks for co-signatures: of quorum of the witnesses with these verifier keys (type 4); 0
// only reports them.
func (t Trust) WithWitnesses(quorum int, vkeys ...string) (Trust, error) {
	if quorum < 0 || quorum > len(vkeys) {
		return Trust{}, fmt.Errorf("trust witnesses: %d of %d cannot be asked for", quorum, len(vkeys))
	}
	t.witnesses, t.quorum = nil, quorum
	for _, vkey := range vkeys {
		v, err := newCosignatureVerifier(vkey)
		if err != nil {
			return Trust{}, fmt.Errorf("trust a witness: %w", err)
		}
		t.witnesses = append(t.witnesses, v)
	}
	return t, nil
}

// Key is the log's public verifier key.
func (t Trust) Key() string {
	if t.zero() {
		return ""
	}
	vkey, err := note.NewEd25519VerifierKey(t.deployment+"/audit", t.key)
	if err != nil {
		return ""
	}
	return vkey
}

// Deployment is the name of the installation whose log is trusted.
func (t Trust) Deployment() string { return t.deployment }

// Origin is the first line of the checkpoints of a segment, from 1.
func (t Trust) Origin(segment int) string { return origin(t.deployment, segment) }

func (t Trust) zero() bool { return t.deployment == "" || len(t.key) != ed25519.PublicKeySize }

// withoutQuorum answers t that asks no witness.
func (t Trust) withoutQuorum() Trust {
	t.quorum = 0
	return t
}

func origin(deployment string, segment int) string {
	return fmt.Sprintf("%s/audit/%04d", deployment, segment)
}

// segmentOf is the reverse of Trust.Origin.
func (t Trust) segmentOf(origin string) (int, bool) {
	digits, ok := strings.CutPrefix(origin, t.deployment+"/audit/")
	if !ok || t.zero() {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && n <= maxSegments && t.Origin(n) == origin
}

func (t Trust) verifier(segment int) (note.Verifier, error) {
	if t.zero() {
		return nil, fmt.Errorf("%w: none is trusted", ErrKey)
	}
	vkey, err := note.NewEd25519VerifierKey(t.Origin(segment), t.key)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(vkey)
}

func keyHash(name string, typed []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(typed)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// parseVerifierKey reads NAME+HASH+BASE64 of an Ed25519 key of signature type kind, in its one form.
func parseVerifierKey(vkey string, kind byte) (name string, key ed25519.PublicKey, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	typed, err := base64.StdEncoding.Strict().DecodeString(encoded)
	switch {
	case err != nil || base64.StdEncoding.EncodeToString(typed) != encoded || len(hash) != 8 || name == "" || strings.ContainsAny(name, " \t\r\n"):
		return "", nil, errors.New("it is not of the form NAME+HASH+KEY")
	case len(typed) != 1+ed25519.PublicKeySize || typed[0] != kind:
		return "", nil, fmt.Errorf("it is not an Ed25519 key of signature type %d", kind)
	case fmt.Sprintf("%08x", keyHash(name, typed)) != hash:
		return "", nil, errors.New("its hash does not belong to its name and key")
	}
	return name, typed[1:], nil
}

// newCosignatureVerifier answers the verifier of a witness (https://c2sp.org/tlog-cosignature, version 1).
func newCosignatureVerifier(vkey string) (note.Verifier, error) {
	name, key, err := parseVerifierKey(vkey, typeCosignature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return cosignatureVerifier{name: name, key: key}, nil
}

type cosignatureVerifier struct {
	name string
	key  ed25519.PublicKey
}

func (v cosignatureVerifier) Name() string { return v.name }

func (v cosignatureVerifier) KeyHash() uint32 {
	return keyHash(v.name, append([]byte{typeCosignature}, v.key...))
}

func (v cosignatureVerifier) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(v.key, message, signature[8:])
}

// A logKey is the private half. It never leaves the room, and prints as nothing.
type logKey struct {
	deployment string
	seed       []byte
}

func (logKey) String() string   { return "[redacted]" }
func (logKey) GoString() string { return "[redacted]" }

func (k logKey) trust() Trust {
	return Trust{deployment: k.deployment, key: ed25519.NewKeyFromSeed(k.seed).Public().(ed25519.PublicKey)}
}

// signer answers the signer of the checkpoints of a segment.
func (k logKey) signer(segment int) (note.Signer, error) {
	return note.NewSigner(k.encode(origin(k.deployment, segment)))
}

func (k logKey) encode(name string) string {
	typed := append([]byte{typeEd25519}, k.trust().key...)
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, keyHash(name, typed), base64.StdEncoding.EncodeToString(append([]byte{typeEd25519}, k.seed...)))
}

// readKey reads the private key at path: the private form of a signed note's key, on one line.
func readKey(path, deployment string) (logKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return logKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return logKey{}, fmt.Errorf("%w: %s must be a file that only its owner can read: chmod 600", ErrKey, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return logKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	fields := strings.SplitN(strings.TrimSuffix(string(text), "\n"), "+", 5)
	if len(fields) != 5 {
		return logKey{}, fmt.Errorf("%w: %s does not hold a note's private key", ErrKey, path)
	}
	typed, err := base64.StdEncoding.Strict().DecodeString(fields[4])
	if err != nil || len(typed) != 1+ed25519.SeedSize || typed[0] != typeEd25519 {
		return logKey{}, fmt.Errorf("%w: %s does not hold a note's private Ed25519 key", ErrKey, path)
	}
	k := logKey{deployment: deployment, seed: typed[1:]}
	if !bytes.Equal(k.file(), text) {
		return logKey{}, fmt.Errorf("%w: %s is not the key of %s/audit; was audit.deployment changed?", ErrKey, path, deployment)
	}
	return k, nil
}

// newKey answers a new key, which is nowhere yet.
func newKey(deployment string) (logKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return logKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return logKey{deployment: deployment, seed: seed}, nil
}

// file is what the key's file holds.
func (k logKey) file() []byte { return []byte(k.encode(k.deployment+"/audit") + "\n") }

// TrustOf answers the trust that belongs to c: of its key file, which must exist, and of its witnesses.
func TrustOf(c Config) (Trust, error) {
	k, err := readKey(c.Key, c.Deployment)
	if err != nil {
		return Trust{}, err
	}
	return c.trust(k)
}

func (c Config) trust(k logKey) (Trust, error) {
	var vkeys []string
	for _, w := range c.Witness.Witnesses {
		vkeys = append(vkeys, w.Key)
	}
	quorum := c.Witness.quorum()
	if c.Witness.Advisory {
		quorum = 0
	}
	return k.trust().WithWitnesses(quorum, vkeys...)
}
