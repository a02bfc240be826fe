package category

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// A Reason says why a line of a list gave no rule. The set is bounded: fit for a metric label.
type Reason string

// The reasons. Junk, TooLong and BadName speak against the list itself; the others are things that a domain list can't carry.
const (
	Junk         Reason = "not a domain"
	TooLong      Reason = "line too long"
	BadName      Reason = "name too long or malformed"
	TooDeep      Reason = "too many labels"
	HasPath      Reason = "path"
	Network      Reason = "network"
	LocalName    Reason = "local name"
	PublicSuffix Reason = "public suffix"
	Cosmetic     Reason = "cosmetic rule"
	Options      Reason = "rule with options"
	Pattern      Reason = "pattern"
	Unsupported  Reason = "not a domain rule"
)

// junk says whether a reason counts against the list's health: a web page or a binary gives these and nothing else.
func (r Reason) junk() bool { return r == Junk || r == TooLong || r == BadName }

// Canonical answers the form under which a name or address is kept and matched: lower case, A-labels (RFC 5890), without
// scheme, port, leading "*." and final dot; IP addresses in their shortest form. It refuses what can't be a host.
func Canonical(name string) (string, error) {
	b, reason := appendName(nil, []byte(name))
	if reason != "" {
		return "", fmt.Errorf("not a host name: %s", reason)
	}
	return string(b), nil
}

// appendRule appends the canonical form of raw to dst, or says why raw can't be a rule.
func appendRule(dst, raw []byte) ([]byte, Reason) {
	n := len(dst)
	dst, reason := appendName(dst, raw)
	if reason != "" {
		return dst, reason
	}
	if bareSuffix(dst[n:]) {
		return dst[:n], PublicSuffix
	}
	return dst, ""
}

// bareSuffix says whether name is one that many unrelated registrants stand under: a rule for it would be about all of them.
// Suffixes of private owners (github.io, duckdns.org) are not among them, because lists of such services name just those.
func bareSuffix(name []byte) bool {
	if bytes.Count(name, []byte{'.'}) > 3 || !isName(name) {
		return false
	}
	s := unsafe.String(unsafe.SliceData(name), len(name)) // read during this call only
	suffix, icann := publicsuffix.PublicSuffix(s)
	return len(suffix) == len(name) && (icann || !strings.Contains(suffix, "."))
}

// managedSuffix is bareSuffix without single labels that nobody registered, such as the name of a host on the intranet.
func managedSuffix(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return icann && suffix == name
}

func isName(canonical []byte) bool {
	_, isAddress := parseAddress(canonical)
	return !isAddress
}

// parseAddress reads an IP address, with or without brackets. It allocates nothing for what is one.
func parseAddress(host []byte) (netip.Addr, bool) {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if len(host) > 45 || !looksNumeric(host) || bytes.IndexByte(host, '%') >= 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(host), len(host))) // without a zone, an Addr keeps no text
	return a.Unmap(), err == nil
}

// looksNumeric says whether host may be an IP address: it has a colon, or its last label is all digits, as no registered name is.
func looksNumeric(host []byte) bool {
	for i := len(host) - 1; i >= 0; i-- {
		switch c := host[i]; {
		case c == '.':
			return i < len(host)-1
		case c < '0' || c > '9':
			return bytes.IndexByte(host[:i+1], ':') >= 0
		}
	}
	return true
}

// appendName is Canonical on bytes; it does not judge whether the name is fit for a rule.
func appendName(dst, raw []byte) ([]byte, Reason) {
	base := len(dst)
	raw = bytes.TrimSpace(raw)
	if i := bytes.Index(raw, []byte("://")); i >= 0 {
		raw = raw[i+3:]
	}
	if i := bytes.IndexAny(raw, "/?#"); i >= 0 {
		if _, err := netip.ParsePrefix(string(raw)); err == nil {
			return dst, Network
		}
		if i+1 < len(raw) {
			return dst, HasPath
		}
		raw = raw[:i]
	}
	if len(raw) > 4*maxHost {
		return dst, BadName
	}
	raw = stripPort(raw)
	if a, ok := parseAddress(raw); ok {
		return a.AppendTo(dst), ""
	}
	if bytes.IndexByte(raw, ':') >= 0 {
		return dst, Junk
	}
	raw = bytes.TrimPrefix(raw, []byte("*"))
	raw = bytes.TrimPrefix(raw, []byte("."))
	raw = bytes.TrimSuffix(raw, []byte("."))
	if len(raw) == 0 {
		return dst, Junk
	}
	for rest := raw; ; {
		label, after, more := bytes.Cut(rest, []byte{'.'})
		var reason Reason
		if dst, reason = appendLabel(dst, label); reason != "" {
			return dst[:base], reason
		}
		if !more {
			break
		}
		dst = append(dst, '.')
		rest = after
	}
	name := dst[base:]
	switch {
	case len(name) > maxHost:
		return dst[:base], BadName
	case bytes.Count(name, []byte{'.'}) >= maxLabels:
		return dst[:base], TooDeep
	case looksNumeric(name):
		return dst[:base], Junk
	}
	return dst, ""
}

// stripPort removes ":8080". An IPv6 address without brackets has more than one colon and stays.
func stripPort(host []byte) []byte {
	i := bytes.LastIndexByte(host, ':')
	if i < 0 || i+1 == len(host) || len(host)-i > 6 {
		return host
	}
	if bytes.IndexByte(host[:i], ':') >= 0 && host[i-1] != ']' {
		return host
	}
	for _, c := range host[i+1:] {
		if c < '0' || c > '9' {
			return host
		}
	}
	return host[:i]
}

func appendLabel(dst, label []byte) ([]byte, Reason) {
	n := len(dst)
	for _, c := range label {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			dst = append(dst, c)
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c|0x20)
		case c >= utf8.RuneSelf:
			wide, ok := asciiLabel(label)
			if !ok {
				return dst[:n], Junk
			}
			return append(dst[:n], wide...), ""
		default:
			return dst[:n], Junk
		}
	}
	if len(dst) == n {
		return dst, Junk
	}
	if len(dst)-n > maxLabel {
		return dst[:n], BadName
	}
	return dst, ""
}

// asciiLabel turns a label with bytes above 0x7f into its A-label. Bytes that are not UTF-8 are read as Latin-1, which older
// lists and proxies write.
func asciiLabel(label []byte) (string, bool) {
	if len(label) > 4*maxLabel {
		return "", false
	}
	text := string(label)
	if !utf8.Valid(label) {
		runes := make([]rune, len(label))
		for i, c := range label {
			runes[i] = rune(c)
		}
		text = string(runes)
	}
	// Hosts seen in logs and lists break the rules on hyphens and underscores, and still resolve.
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))
	out, err := profile.ToASCII(text)
	if err != nil || len(out) == 0 || len(out) > maxLabel {
		return "", false
	}
	for _, c := range []byte(out) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return "", false
		}
	}
	return out, true
}

// asciiHost converts each label of host that needs it. It answers false when one can't be converted.
func asciiHost(host []byte) ([]byte, bool) {
	if len(host) > 4*maxHost {
		return nil, false
	}
	var out []byte
	for i, label := range bytes.Split(host, []byte{'.'}) {
		if i > 0 {
			out = append(out, '.')
		}
		if !isASCII(label) {
			wide, ok := asciiLabel(label)
			if !ok {
				return nil, false
			}
			out = append(out, wide...)
			continue
		}
		out = append(out, label...)
	}
	return out, true
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
