package category

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Format names the syntax of a list.
type Format string

// The formats. Auto is found out from the first lines.
const (
	Auto       Format = "auto"
	Domains    Format = "domains"    // a name a line: it and all under it; "*.name" and ".name" mean the same
	Hosts      Format = "hosts"      // hosts(5): an address and names
	Adblock    Format = "adblock"    // ||name^ and @@||name^ (Adblock Plus filter syntax, domain rules only)
	Dnsmasq    Format = "dnsmasq"    // address=/name/, server=/name/, local=/name/ (dnsmasq(8))
	Unbound    Format = "unbound"    // local-zone: "name" type (unbound.conf(5))
	Wildcard   Format = "wildcard"   // *.name
	RPZ        Format = "rpz"        // a response policy zone (draft-vixie-dnsop-dns-rpz): QNAME triggers only
	SquidGuard Format = "squidguard" // a tree or tar archive of <folder>/domains, as UT1 publishes
)

// configured is the format of local overrides in the manifest; no source has it.
const configured Format = "config"

var formats = [...]Format{Auto, Domains, Hosts, Adblock, Dnsmasq, Unbound, Wildcard, RPZ, SquidGuard}

// UnmarshalText reads the name of a format.
func (f *Format) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*f = Auto
		return nil
	}
	if !slices.Contains(formats[:], Format(text)) && Format(text) != configured {
		return fmt.Errorf("%q is no list format: use auto, domains, hosts, adblock, dnsmasq, unbound, wildcard, rpz or squidguard", text)
	}
	*f = Format(text)
	return nil
}

// longestLine bounds what one line may cost. The longest rule that can be right is well under a tenth of it.
const longestLine = 16 << 10

// Tally counts what a reader saw.
type Tally struct {
	Rules      int            `json:"rules"`             // lines' names that became rules, repetitions included
	Exceptions int            `json:"exceptions"`        // rules that take names out again
	Skipped    map[Reason]int `json:"skipped,omitempty"` // names or lines that gave no rule
	Version    string         `json:"version,omitempty"` // what the list says about itself
}

func (t *Tally) skip(r Reason) {
	if t.Skipped == nil {
		t.Skipped = make(map[Reason]int)
	}
	t.Skipped[r]++
}

// junk answers how many lines look like no list at all.
func (t *Tally) junk() int {
	n := 0
	for r, k := range t.Skipped {
		if r.junk() {
			n += k
		}
	}
	return n
}

func (t *Tally) add(o Tally) {
	t.Rules += o.Rules
	t.Exceptions += o.Exceptions
	for r, n := range o.Skipped {
		if t.Skipped == nil {
			t.Skipped = make(map[Reason]int)
		}
		t.Skipped[r] += n
	}
	if t.Version == "" {
		t.Version = o.Version
	}
}

// Read reads one list and calls rule for every domain or address in it, in canonical form; name is valid during the call only.
// It answers what it saw and the format it took the list for. Bad lines are counted, never fatal: only r's own errors are, and
// rule's, which end the reading.
func Read(r io.Reader, format Format, rule func(name []byte, exception bool) error) (Tally, Format, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if format == "" || format == Auto {
		head, err := in.Peek(32 << 10)
		if err != nil && !errors.Is(err, io.EOF) {
			return Tally{}, Auto, err
		}
		format = detect(head)
	}
	rd := reader{rule: rule}
	var each func(line []byte)
	switch format {
	case Domains, Wildcard:
		each = rd.domains
	case Hosts:
		each = rd.hosts
	case Adblock:
		each = rd.adblock
	case Dnsmasq:
		each = rd.dnsmasq
	case Unbound:
		each = rd.unbound
	case RPZ:
		each = rd.rpz
	default:
		return Tally{}, format, fmt.Errorf("format %s is not one of single lists", format)
	}
	first := true
	for rd.err == nil {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(line) > longestLine {
			rd.skip(TooLong)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			line = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return rd.Tally, format, err
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			first = false
		}
		// A zone file says by leading blanks that a record belongs to the name before.
		line = bytes.TrimRight(line, "\r\n \t\v\f")
		if format != RPZ {
			line = bytes.TrimLeft(line, " \t\v\f")
		}
		if len(line) > 0 {
			each(line)
		}
		if err != nil {
			break
		}
	}
	return rd.Tally, format, rd.err
}

// detect judges a list by its first lines: the format that most of them can only be.
func detect(head []byte) Format {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	votes := make(map[Format]int)
	for line := range bytes.Lines(head) {
		line = bytes.TrimRight(line, "\r\n \t")
		trimmed := bytes.TrimLeft(line, " \t")
		has := func(p string) bool { return bytes.HasPrefix(trimmed, []byte(p)) }
		switch {
		case len(trimmed) == 0:
		case has("||"), has("@@"), has("[Adblock"), bytes.Contains(trimmed, []byte("##")) && !has("#"), bytes.Contains(trimmed, []byte("#@#")):
			votes[Adblock]++
		case has("!"), has("#"):
		case has("address=/"), has("server=/"), has("local=/"):
			votes[Dnsmasq]++
		case has("local-zone:"), has("local-data:"):
			votes[Unbound]++
		case has("server:"):
		case has("$TTL"), has("$ORIGIN"), has(";"):
			votes[RPZ]++
		case bytes.Contains(trimmed, []byte(" CNAME ")), bytes.Contains(trimmed, []byte("\tCNAME")), bytes.Contains(trimmed, []byte(" SOA ")):
			votes[RPZ]++
		case has("*."):
			votes[Wildcard]++
		default:
			first, rest, more := bytes.Cut(trimmed, []byte{' '})
			if a, b, tab := bytes.Cut(trimmed, []byte{'\t'}); tab && len(a) < len(first) {
				first, rest, more = a, b, true
			}
			if _, err := netip.ParseAddr(string(first)); err == nil && more && len(rest) > 0 {
				votes[Hosts]++
			} else {
				votes[Domains]++
			}
		}
	}
	best := Domains
	for _, f := range []Format{Wildcard, Hosts, Adblock, Dnsmasq, Unbound, RPZ} {
		if votes[f] > votes[best] {
			best = f
		}
	}
	return best
}

type reader struct {
	Tally
	rule func(name []byte, exception bool) error
	err  error
	name []byte // scratch

	origin []byte // RPZ: the zone's own name, without final dot
	parens int    // RPZ: open parentheses of a record over several lines
}

func (r *reader) take(raw []byte, exception bool) {
	var reason Reason
	r.name, reason = appendRule(r.name[:0], raw)
	if reason != "" {
		r.skip(reason)
		return
	}
	if r.err = r.rule(r.name, exception); r.err != nil {
		return
	}
	if exception {
		r.Exceptions++
	} else {
		r.Rules++
	}
}

// comment reads "# Version: x", "! Last modified: x" and the like. The first that is found is the list's version.
func (r *reader) comment(text []byte) {
	if r.Version != "" || len(text) > 200 {
		return
	}
	text = bytes.TrimLeft(text, "#!; \t")
	key, value, ok := bytes.Cut(text, []byte{':'})
	if !ok || !bytes.EqualFold(key, []byte("version")) && !bytes.EqualFold(key, []byte("last modified")) {
		return
	}
	r.Version = plain(bytes.TrimSpace(value), 64)
}

// plain keeps the printable ASCII of at most n bytes: it ends up in tables, labels and terminals.
func plain(text []byte, n int) string {
	var out strings.Builder
	for _, c := range text {
		if c >= ' ' && c < 0x7f && out.Len() < n {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// uncomment cuts a comment that follows a blank.
func uncomment(line []byte) []byte {
	if i := bytes.IndexByte(line, '#'); i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
		return bytes.TrimRight(line[:i], " \t")
	}
	return line
}

func (r *reader) domains(line []byte) {
	if line[0] == '#' || line[0] == '!' || line[0] == ';' {
		r.comment(line)
		return
	}
	line = uncomment(line)
	if bytes.ContainsAny(line, " \t") {
		r.skip(Junk)
		return
	}
	r.take(line, false)
}

func (r *reader) hosts(line []byte) {
	if line[0] == '#' || line[0] == '!' {
		r.comment(line)
		return
	}
	line = uncomment(line)
	names := bytes.Fields(line)
	if _, ok := parseAddress(names[0]); !ok {
		if i := bytes.IndexByte(names[0], '%'); i < 0 { // fe80::1%lo0 localhost
			r.skip(Junk)
			return
		}
	}
	if len(names) == 1 {
		r.skip(Junk)
		return
	}
	for _, name := range names[1:] {
		if name[0] == '#' {
			return
		}
		if local(name) {
			r.skip(LocalName)
			continue
		}
		r.take(name, false)
	}
}

// local says whether a name belongs to the machine itself: every hosts file begins with these.
func local(name []byte) bool {
	switch strings.ToLower(string(name)) {
	case "localhost", "localhost.localdomain", "local", "broadcasthost", "loopback", "0.0.0.0", "::", "::1", "127.0.0.1", "255.255.255.255":
		return true
	}
	return bytes.HasPrefix(bytes.ToLower(name), []byte("ip6-"))
}

func (r *reader) adblock(line []byte) {
	if line[0] == '!' || line[0] == '[' {
		r.comment(line)
		return
	}
	for _, mark := range [...]string{"##", "#@#", "#?#", "#$#", "#%#", "#@?#", "#@$#"} {
		if bytes.Contains(line, []byte(mark)) {
			r.skip(Cosmetic)
			return
		}
	}
	if line[0] == '#' {
		r.comment(line)
		return
	}
	rest, exception := bytes.CutPrefix(line, []byte("@@"))
	name, anchored := bytes.CutPrefix(rest, []byte("||"))
	switch {
	case bytes.IndexByte(name, '$') >= 0:
		r.skip(Options)
	case !anchored && !exception && !bytes.ContainsAny(rest, "/|^*=&?,"):
		// DNS filters that read this syntax take hosts lines and bare names as well.
		rest = uncomment(rest)
		if bytes.ContainsAny(rest, " \t") {
			r.hosts(rest)
			return
		}
		r.take(rest, false)
	case !anchored:
		r.skip(Pattern)
	default:
		name = bytes.TrimSuffix(name, []byte("|"))
		name, closed := bytes.CutSuffix(name, []byte("^"))
		name = bytes.TrimPrefix(name, []byte("*."))
		switch {
		case bytes.IndexByte(name, '/') >= 0:
			r.skip(HasPath)
		case !closed, bytes.IndexByte(name, '*') >= 0, bytes.IndexByte(name, '^') >= 0:
			r.skip(Pattern)
		case bytes.IndexByte(name, ':') >= 0 && isName(name):
			r.skip(Options) // one port of it
		default:
			r.take(name, exception)
		}
	}
}

func (r *reader) dnsmasq(line []byte) {
	if line[0] == '#' {
		r.comment(line)
		return
	}
	line = uncomment(line)
	var rest []byte
	for _, key := range [...]string{"address=/", "server=/", "local=/"} {
		if after, ok := bytes.CutPrefix(line, []byte(key)); ok {
			rest = after
		}
	}
	if rest == nil {
		r.skip(Unsupported)
		return
	}
	end := bytes.LastIndexByte(rest, '/')
	if end < 0 {
		r.skip(Junk)
		return
	}
	for name := range bytes.SplitSeq(rest[:end], []byte{'/'}) {
		if string(name) == "#" {
			r.skip(Unsupported) // every name
			continue
		}
		r.take(name, false)
	}
}

func (r *reader) unbound(line []byte) {
	if line[0] == '#' {
		r.comment(line)
		return
	}
	line = uncomment(line)
	if zone, ok := bytes.CutPrefix(line, []byte("local-zone:")); ok {
		name, kind := quoted(zone)
		switch kind := string(bytes.ToLower(kind)); kind {
		case "transparent", "typetransparent", "always_transparent", "inform", "nodefault":
			r.take(name, true)
		default:
			r.take(name, false)
		}
		return
	}
	if data, ok := bytes.CutPrefix(line, []byte("local-data:")); ok {
		record, _ := quoted(data)
		if fields := bytes.Fields(record); len(fields) >= 2 {
			r.take(fields[0], false)
			return
		}
		r.skip(Junk)
		return
	}
	if key, _, ok := bytes.Cut(line, []byte{':'}); ok && !bytes.ContainsAny(key, " \t<") {
		r.skip(Unsupported)
		return
	}
	r.skip(Junk)
}

// quoted splits `"a b" c` into a b and c.
func quoted(text []byte) (first, rest []byte) {
	text = bytes.TrimLeft(text, " \t")
	if len(text) > 0 && (text[0] == '"' || text[0] == '\'') {
		if i := bytes.IndexByte(text[1:], text[0]); i >= 0 {
			return text[1 : i+1], bytes.TrimSpace(text[i+2:])
		}
		return nil, nil
	}
	if i := bytes.IndexAny(text, " \t"); i >= 0 {
		return text[:i], bytes.TrimSpace(text[i:])
	}
	return text, nil
}

func (r *reader) rpz(line []byte) {
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		r.comment(line[i:])
		line = line[:i]
	}
	fields := bytes.Fields(line)
	if len(fields) == 0 {
		return
	}
	inside := r.parens > 0
	r.parens = max(0, r.parens+bytes.Count(line, []byte{'('})-bytes.Count(line, []byte{')'}))
	if inside {
		return
	}
	if fields[0][0] == '$' {
		if bytes.EqualFold(fields[0], []byte("$ORIGIN")) && len(fields) > 1 {
			r.origin = append(r.origin[:0], bytes.TrimSuffix(bytes.ToLower(fields[1]), []byte("."))...)
		}
		return
	}
	var owner []byte
	if line[0] != ' ' && line[0] != '\t' {
		owner, fields = fields[0], fields[1:]
	}
	for len(fields) > 0 && (bytes.EqualFold(fields[0], []byte("IN")) || isNumber(fields[0])) {
		fields = fields[1:]
	}
	if len(fields) == 0 {
		r.skip(Junk)
		return
	}
	exception := false
	switch strings.ToUpper(string(fields[0])) {
	case "SOA":
		// The zone's name stands at its SOA; owners that end with it are written in full.
		if len(owner) > 1 && owner[len(owner)-1] == '.' {
			r.origin = append(r.origin[:0], bytes.TrimSuffix(bytes.ToLower(owner), []byte("."))...)
		}
		return
	case "NS":
		return
	case "CNAME":
		if len(fields) < 2 {
			r.skip(Junk)
			return
		}
		exception = bytes.EqualFold(bytes.TrimSuffix(fields[1], []byte(".")), []byte("rpz-passthru"))
	case "A", "AAAA", "TXT", "MX", "DNAME", "SRV", "HTTPS", "SVCB":
	default:
		r.skip(Junk)
		return
	}
	if owner == nil || string(owner) == "@" {
		r.skip(Unsupported)
		return
	}
	name, absolute := bytes.CutSuffix(owner, []byte("."))
	if absolute && len(r.origin) > 0 && len(name) > len(r.origin) {
		head := len(name) - len(r.origin)
		if bytes.EqualFold(name[head:], r.origin) && name[head-1] == '.' {
			name = name[:head-1]
		}
	}
	last := name[bytes.LastIndexByte(name, '.')+1:]
	if bytes.HasPrefix(bytes.ToLower(last), []byte("rpz-")) {
		r.skip(Unsupported) // rpz-ip, rpz-client-ip, rpz-nsdname, rpz-nsip
		return
	}
	r.take(name, exception)
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
