package resolve

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"unicode/utf8"
	"unique"

	"golang.org/x/text/unicode/norm"
)

const redacted = "[redacted]"

// Subject is the canonical identity of a data subject (GDPR article 4(1)): the user name, or the source address of a
// line without one. It can be compared and be a map key. Whatever prints, logs or encodes it gets "[redacted]"; the
// identity lies behind a handle, so that reflection into an unexported field shows an address of memory only.
// The zero Subject is nobody.
type Subject struct {
	identity unique.Handle[string]
}

func newSubject(identity string) Subject {
	if identity == "" {
		return Subject{}
	}
	return Subject{unique.Make(identity)}
}

// IsZero says whether s is nobody.
func (s Subject) IsZero() bool { return s == Subject{} }

// AppendPersonalData appends the identity to dst as UTF-8 and returns the longer slice. What comes out is personal data
// (GDPR article 4(1)): it may go into a keyed pseudonym or a capsule, and nowhere else.
func (s Subject) AppendPersonalData(dst []byte) []byte {
	if s.IsZero() {
		return dst
	}
	return append(dst, s.identity.Value()...)
}

// String answers "[redacted]".
func (Subject) String() string { return redacted }

// GoString answers "[redacted]".
func (Subject) GoString() string { return redacted }

// Format writes "[redacted]" for every verb and flag.
func (Subject) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue answers "[redacted]" to slog.
func (Subject) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText answers "[redacted]" to JSON, YAML, XML and every other encoder of text.
func (Subject) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary answers "[redacted]" to gob and every other binary encoder.
func (Subject) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// CanonicalUser answers the one spelling under which a user name is known: lower case, Unicode NFC, without spaces
// around it, its domain part kept (KOMMUN\Anna and kommun\anna are one; anna is another). Bytes that are not UTF-8 are
// read as ISO 8859-1, so that no two names fall together on a replacement character. The answer is "" for no user.
func CanonicalUser(user []byte) string {
	name := string(user)
	if !utf8.Valid(user) {
		runes := make([]rune, len(user))
		for i, b := range user {
			runes[i] = rune(b)
		}
		name = string(runes)
	}
	return canonical(name)
}

func canonical(text string) string {
	text = strings.TrimSpace(text)
	// Lower-casing can undo NFC and NFC can bring up an upper-case letter: both, until nothing changes. It ends, since
	// every round but the last replaces letters by lower-case or composed ones.
	for range 4 {
		next := norm.NFC.String(strings.ToLower(text))
		if next == text {
			break
		}
		text = next
	}
	return text
}

// bareUser answers name without its DOMAIN\ or @realm, and whether it had one.
func bareUser(name string) (string, bool) {
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		return name[i+1:], true
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], true
	}
	return name, false
}

// canonicalAddr answers ip without zone, and an IPv4 address that is wrapped in IPv6 as IPv4.
func canonicalAddr(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
