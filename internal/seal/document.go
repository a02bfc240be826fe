package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/text/unicode/norm"
)

// Digest is SHA-256 of the canonical text of a document.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// DigestOf is the digest of a text.
func DigestOf(text []byte) Digest { return sha256.Sum256(text) }

// ParseDigest reads what [Digest.String] writes.
func ParseDigest(text string) (d Digest, err error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, digestPrefix))
	if err != nil || len(raw) != len(d) || digestPrefix+hex.EncodeToString(raw) != text {
		return d, errors.New("a digest is sha256: and 64 hexadecimal digits in lower case")
	}
	return Digest(raw), nil
}

// IsZero says whether d is no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// Fingerprint is d as people read it to each other: 80 bits, too many to find another text for.
func (d Digest) Fingerprint() string {
	text := hex.EncodeToString(d[:10])
	return strings.Join([]string{text[0:4], text[4:8], text[8:12], text[12:16], text[16:20]}, " ")
}

// MarshalText is String; the zero digest is the empty text.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText is [ParseDigest]; the empty text is the zero digest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	*d, err = ParseDigest(string(text))
	return err
}

// MaxDocument is the most bytes that a document may have.
const MaxDocument = 512 << 10

// Canonical is the one text of a document: v as JSON, its fields in the order of the Go type, indented by two spaces, with a
// newline at the end. It refuses text that looks like another: what is not in Unicode normal form C, control and format
// characters (bidirectional overrides among them) but for the newline, spaces other than the ordinary one, variation selectors
// and other characters that can't be seen, and noncharacters.
func Canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write a document: %w", err)
	}
	if err := plain(b.Bytes()); err != nil {
		return nil, fmt.Errorf("write a document: %w", err)
	}
	return b.Bytes(), nil
}

// ParseCanonical reads a document into v, a pointer to a struct. It refuses every text that is not byte for byte what
// [Canonical] makes of v: unknown and doubled fields, other order, other spaces, trailing text.
func ParseCanonical(text []byte, v any) error {
	if err := plain(text); err != nil {
		return fmt.Errorf("read a document: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read a document: %w", describeJSON(err))
	}
	again, err := Canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, text) {
		return errors.New("read a document: it is not in its canonical form: write it with tillsyn, not by hand")
	}
	return nil
}

// describeJSON says what is wrong without quoting values, which may be personal.
func describeJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON, at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("the field %s is of the wrong type", kind.Field)
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New("it has a field that is not known")
	}
	return errors.New("it is not what was expected")
}

func plain(text []byte) error {
	if len(text) > MaxDocument {
		return fmt.Errorf("it is longer than %d bytes", MaxDocument)
	}
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8")
	}
	if !norm.NFC.IsNormal(text) {
		return errors.New("it is not in Unicode normal form C")
	}
	for i, r := range string(text) {
		if r == '\n' || r == ' ' {
			continue
		}
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.In(r, unicode.Z, unicode.Cf, unicode.Co, unicode.Noncharacter_Code_Point,
			unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) || r == '\u2800' {
			return fmt.Errorf("the character U+%04X at byte %d can't be seen, or looks like another", r, i)
		}
	}
	// An escape hides a character from the checks above, and what is hidden rules the terminal of who reads it later: a return or a
	// backspace writes over what came before.
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if i == len(text) || text[i] != '"' && text[i] != '\\' && text[i] != 'n' {
			return errors.New("a character is written as an escape: of control characters only the newline may be there, and others stand for themselves")
		}
	}
	return nil
}

// A Signer signs documents with Ed25519 (C2SP signed-note). It prints as redacted.
type Signer struct {
	name, skey string
	signer     note.Signer
	vkey       string
}

// NewSigner draws a signing key. name is what it signs as: no spaces, no plus.
func NewSigner(name string) (*Signer, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("draw a signing key: %w", err)
	}
	return newSigner(skey, vkey)
}

// ParseSigner reads what [Signer.Encode] wrote.
func ParseSigner(text []byte) (*Signer, error) {
	skey := strings.TrimSuffix(string(text), "\n")
	s, err := newSigner(skey, "")
	if err != nil {
		return nil, err
	}
	// PRIVATE+KEY+name+hash+base64(1 | seed)
	parts := strings.SplitN(skey, "+", 5)
	raw, err := decode64(parts[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("this is not a signing key")
	}
	if s.vkey, err = note.NewEd25519VerifierKey(s.name, ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)); err != nil {
		return nil, errors.New("this is not a signing key")
	}
	return s, nil
}

func newSigner(skey, vkey string) (*Signer, error) {
	n, err := note.NewSigner(skey)
	if err != nil {
		return nil, errors.New("this is not a signing key") // note's own error may quote it
	}
	return &Signer{name: n.Name(), skey: skey, signer: n, vkey: vkey}, nil
}

// Encode is the key as the text of a file. It is a secret.
func (s *Signer) Encode() []byte { return []byte(s.skey + "\n") }

// Name is what s signs as.
func (s *Signer) Name() string { return s.name }

// Verifier is the public half, as text (C2SP signed-note verifier key).
func (s *Signer) Verifier() string { return s.vkey }

// Format hides the key from every verb.
func (Signer) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the key from every encoder.
func (Signer) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Sign makes a signed note of a text, or adds signatures to it: each signature counts for the whole text.
func Sign(text []byte, signers ...*Signer) ([]byte, error) {
	list := make([]note.Signer, len(signers))
	for i, s := range signers {
		if s == nil || s.signer == nil {
			return nil, errors.New("sign a document: no signing key")
		}
		list[i] = s.signer
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, list...)
	if err != nil {
		return nil, fmt.Errorf("sign a document: %w", err)
	}
	return signed, nil
}

// Countersign adds signatures to a note.
func Countersign(signed []byte, signers ...*Signer) ([]byte, error) {
	text, lines, ok := split(signed)
	if !ok {
		return nil, errors.New("countersign a document: this is not a signed note")
	}
	added, err := Sign(text, signers...)
	if err != nil {
		return nil, err
	}
	_, more, _ := split(added)
	for _, l := range strings.SplitAfter(string(more), "\n") {
		if l != "" && !strings.Contains(string(lines), l) { // Ed25519 is deterministic: once is enough
			lines = append(lines, l...)
		}
	}
	return append(append(append([]byte{}, text...), '\n'), lines...), nil
}

// Unsigned is the text of a note, whoever signed it: for what has yet to be checked.
func Unsigned(signed []byte) ([]byte, error) {
	text, _, ok := split(signed)
	if !ok {
		return nil, errors.New("this is not a signed note")
	}
	return text, nil
}

func split(signed []byte) (text, signatures []byte, ok bool) {
	i := bytes.LastIndex(signed, []byte("\n\n"))
	if i < 0 || len(signed) > MaxDocument+64<<10 || !bytes.HasPrefix(signed[i+2:], []byte("\u2014 ")) {
		return nil, nil, false
	}
	return bytes.Clone(signed[:i+1]), bytes.Clone(signed[i+2:]), true
}

// Open checks a signed note against verifier keys and answers its text and the names of those who signed. It refuses a note
// with a wrong signature of a known name, with a signature of anybody else, with one that stands twice, and one that nobody of
// them has signed: a note holds what was checked and nothing beside it.
func Open(signed []byte, verifiers ...string) (text []byte, by []string, err error) {
	text, keys, err := openNote(signed, verifiers)
	for _, v := range keys {
		name, _, _ := strings.Cut(v, "+")
		by = append(by, name)
	}
	return text, by, err
}

// openNote is Open, but answers the verifier keys of those who signed: of two keys of one name, which one it was.
func openNote(signed []byte, verifiers []string) (text []byte, by []string, err error) {
	type key struct {
		name string
		hash uint32
	}
	list, texts := make([]note.Verifier, len(verifiers)), map[key]string{}
	for i, v := range verifiers {
		if list[i], err = note.NewVerifier(v); err != nil {
			return nil, nil, errors.New("open a signed document: a verifier key can't be read")
		}
		texts[key{list[i].Name(), list[i].KeyHash()}] = v
	}
	n, err := note.Open(signed, note.VerifierList(list...))
	if err != nil {
		return nil, nil, fmt.Errorf("open a signed document: %w", ErrSignature)
	}
	if len(n.UnverifiedSigs) > 0 {
		return nil, nil, fmt.Errorf("open a signed document: %w", ErrSignature)
	}
	_, lines, ok := split(signed)
	if !ok || bytes.Count(lines, []byte("\n")) != len(n.Sigs) {
		return nil, nil, fmt.Errorf("open a signed document: %w", ErrSignature)
	}
	for _, s := range n.Sigs {
		// The last character of base64 has bits that say nothing: package note takes any.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return nil, nil, fmt.Errorf("open a signed document: %w", ErrSignature)
		}
		by = append(by, texts[key{s.Name, s.Hash}])
	}
	return []byte(n.Text), by, nil
}

// ErrSignature is when a document is not signed as it must be.
var ErrSignature = errors.New("its signatures are not what they must be")

func decode64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }
