package audit

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Kind says what an entry records. The set is closed: see [Kinds].
type Kind string

// The kinds of entries, by the room that appends them.
const (
	DecisionRequested Kind = "decision.requested" // document: the decision
	DecisionApproved  Kind = "decision.approved"  // one approver signed and handed over shares
	DecisionDenied    Kind = "decision.denied"
	DecisionRevoked   Kind = "decision.revoked"
	DecisionNotified  Kind = "decision.notified" // the union was told
	DecisionClosed    Kind = "decision.closed"   // with a result

	LookupIntent  Kind = "lookup.intent"  // before anything is unwrapped
	LookupResult  Kind = "lookup.result"  // what was read, in numbers
	LookupUnknown Kind = "lookup.unknown" // an intent without a result, found at a restart
	AccessRefused Kind = "access.refused" // somebody asked for what no decision allows

	ExportMade       Kind = "export.made"
	RecordsRequested Kind = "records.requested" // somebody asked for a public record
	RecordsConfirmed Kind = "records.confirmed" // a second person signed a request that names nobody
	RecordsDecided   Kind = "records.decided"
	RecordsClosed    Kind = "records.closed"
	ExportRemoved    Kind = "export.removed" // its case has ended

	PermissionGranted Kind = "permission.granted" // work that explains what would look forbidden
	PermissionRevoked Kind = "permission.revoked"
	AccidentReported  Kind = "accident.reported"  // a self-report
	PermissionRemoved Kind = "permission.removed" // it, or a self-report, explains nothing any more

	HoldPlaced   Kind = "hold.placed"
	HoldReleased Kind = "hold.released"

	PurgeIntent      Kind = "purge.intent"
	PurgeCertificate Kind = "purge.certificate" // body: the signed certificate
	PurgeFailed      Kind = "purge.failed"

	RegisterChanged Kind = "register.changed" // body: the signed register of holders
	KeysCeremony    Kind = "keys.ceremony"    // body: the signed protocol
	SettingsChanged Kind = "settings.changed"
	ClockAccepted   Kind = "clock.accepted" // somebody looked at the clock, and it is right; body: the signed acceptance

	SegmentOpened  Kind = "segment.opened"  // body: the last checkpoint of the segment before
	SegmentCarried Kind = "segment.carried" // the next line is the entry of an earlier segment that counts name; body: its path to the root there
	SegmentClosed  Kind = "segment.closed"
	SegmentRetired Kind = "segment.retired" // body: the last checkpoint of the segment whose entries are removed; case: the decision
)

// Kinds are all kinds that there are.
func Kinds() []Kind {
	return []Kind{
		DecisionRequested, DecisionApproved, DecisionDenied, DecisionRevoked, DecisionNotified, DecisionClosed,
		LookupIntent, LookupResult, LookupUnknown, AccessRefused,
		ExportMade, ExportRemoved, RecordsRequested, RecordsConfirmed, RecordsDecided, RecordsClosed,
		PermissionGranted, PermissionRevoked, AccidentReported, PermissionRemoved,
		HoldPlaced, HoldReleased,
		PurgeIntent, PurgeCertificate, PurgeFailed,
		RegisterChanged, KeysCeremony, SettingsChanged, ClockAccepted,
		SegmentOpened, SegmentCarried, SegmentClosed, SegmentRetired,
	}
}

// known says whether k is of the closed set.
func (k Kind) known() bool { return slices.Contains(Kinds(), k) }

// Newest answers the time that the record has come to: the latest of its entries since the clock was last accepted; zero if
// there are none.
func Newest(records []Record) time.Time {
	var at time.Time
	for _, r := range records {
		if r.Kind == ClockAccepted || r.At.After(at) {
			at = r.At
		}
	}
	return at
}

// ofLog says whether only the log itself appends entries of kind k.
func (k Kind) ofLog() bool { return strings.HasPrefix(string(k), "segment.") }

const (
	// MaxEntry is the largest number of bytes of an encoded entry (C2SP tlog-tiles).
	MaxEntry = 1<<16 - 1

	maxName    = 64
	maxCounts  = 32
	maxCount   = 1<<53 - 1
	timeLayout = "2006-01-02T15:04:05Z"
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
	ascii  = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits
	caseOf = ascii + "ÅÄÖåäö"
)

// formed says whether s has 1 to limit bytes, all of them characters of inner, the first one of first, the last one of last.
func formed(s, inner, first, last string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	end := ' '
	for i, r := range s {
		if !strings.ContainsRune(inner, r) || r == utf8.RuneError || i == 0 && !strings.ContainsRune(first, r) {
			return false
		}
		end = r
	}
	return strings.ContainsRune(last, end)
}

func isDocument(s string) bool {
	hash, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hash) == 64 && strings.Trim(hash, "0123456789abcdef") == ""
}

// An Entry is one line of the record. It names no watched person: a subject appears only through the digest in Document,
// of a text that holds 32 random bytes.
type Entry struct {
	At       time.Time        // UTC, whole seconds; set by [Log.Append]
	Kind     Kind             //
	Actor    string           // an id of the holders' register, or the part of tillsyn that acts; ASCII letters, digits and . _ -
	Case     string           // case or decision number; at most 64 bytes; may be empty
	Document string           // "sha256:" and 64 hexadecimal digits, or empty
	Counts   map[string]int64 // at most 32 numbers from 0 to 2^53-1, named like request_count; nil if there are none
	Body     string           // a public, signed document where the record needs it whole; lines end in \n; may be empty
}

// Validate answers every fault of e, joined, or nil. Messages quote nothing of e but its kind and the names of counts.
func (e Entry) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, offset := e.At.Zone(); e.At.IsZero() || offset != 0 || e.At.Nanosecond() != 0 || e.At.Year() < 2000 || e.At.Year() > 9999 {
		fault("at: is not a time in UTC in whole seconds, of this millennium")
	}
	if !e.Kind.known() {
		fault("kind: there is none such")
	}
	if !formed(e.Actor, ascii+"._-", ascii, ascii+"._-", maxName) {
		fault("actor: is not an id of 1 to %d ASCII letters, digits, dots, hyphens and underscores", maxName)
	}
	if e.Case != "" && !formed(e.Case, caseOf+" ._/:-", caseOf, caseOf, maxName) {
		fault("case: is not a number of at most %d bytes of letters, digits, spaces and ._/:-", maxName)
	}
	if e.Document != "" && !isDocument(e.Document) {
		fault("document: is not sha256: and 64 hexadecimal digits")
	}
	if len(e.Counts) > maxCounts {
		fault("counts: are more than %d", maxCounts)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Counts)) {
		switch n := e.Counts[name]; {
		case !formed(name, lower+digits+"_", lower, lower+digits+"_", 32):
			fault("counts: a name is not of the form request_count")
		case n < 0 || n > maxCount:
			fault("counts: %s is not between 0 and 2^53-1", name)
		}
	}
	if err := checkBody(e.Body); err != nil {
		fault("body: %w", err)
	}
	return errors.Join(faults...)
}

// checkBody refuses what a terminal, a log collector or a reader's eye could take for something else.
func checkBody(s string) error {
	if len(s) > MaxEntry {
		return errors.New("is too long")
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, r := range s {
		if r == '\n' {
			continue
		}
		if r == 0xfffd || !unicode.IsGraphic(r) {
			return errors.New("holds a control, format or direction character")
		}
	}
	return nil
}

// Encode answers the one form of e: JSON on one line, without a line end, all fields in their order, counts by name.
func (e Entry) Encode() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("encode an entry of the record: %w", err)
	}
	line := e.encode()
	if len(line) > MaxEntry {
		return nil, fmt.Errorf("encode an entry of the record: %d bytes are more than %d", len(line), MaxEntry)
	}
	return line, nil
}

func (e Entry) encode() []byte {
	b := make([]byte, 0, 256+len(e.Body)+len(e.Body)/8)
	b = append(b, `{"v":1,"at":"`...)
	b = e.At.AppendFormat(b, timeLayout)
	b = append(b, `","kind":`...)
	b = appendText(b, string(e.Kind))
	b = append(b, `,"actor":`...)
	b = appendText(b, e.Actor)
	b = append(b, `,"case":`...)
	b = appendText(b, e.Case)
	b = append(b, `,"document":`...)
	b = appendText(b, e.Document)
	b = append(b, `,"counts":{`...)
	for i, name := range slices.Sorted(maps.Keys(e.Counts)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, name)
		b = append(b, ':')
		b = strconv.AppendInt(b, e.Counts[name], 10)
	}
	b = append(b, `},"body":`...)
	b = appendText(b, e.Body)
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// ParseEntry reads the one form that [Entry.Encode] writes and refuses every other. Messages quote nothing of line.
func ParseEntry(line []byte) (Entry, error) {
	e, err := parseEntry(line)
	if err == nil {
		err = e.Validate()
	}
	if err == nil && !bytes.Equal(e.encode(), line) {
		err = errors.New("it is not in the one form")
	}
	if err != nil {
		return Entry{}, fmt.Errorf("parse an entry of the record: %w", err)
	}
	return e, nil
}

func parseEntry(line []byte) (e Entry, err error) {
	if len(line) > MaxEntry {
		return e, fmt.Errorf("%d bytes are more than %d", len(line), MaxEntry)
	}
	p := entryParser{rest: string(line)}
	p.literal(`{"v":1,"at":`)
	at := p.text()
	p.literal(`,"kind":`)
	e.Kind = Kind(p.text())
	p.literal(`,"actor":`)
	e.Actor = p.text()
	p.literal(`,"case":`)
	e.Case = p.text()
	p.literal(`,"document":`)
	e.Document = p.text()
	p.literal(`,"counts":{`)
	for p.err == nil && !strings.HasPrefix(p.rest, "}") {
		if e.Counts == nil {
			e.Counts = map[string]int64{}
		} else {
			p.literal(",")
		}
		name := p.text()
		p.literal(":")
		if n := p.number(); p.err == nil {
			if _, twice := e.Counts[name]; twice || len(e.Counts) == maxCounts {
				return Entry{}, errors.New("counts are doubled or too many")
			}
			e.Counts[name] = n
		}
	}
	p.literal(`},"body":`)
	e.Body = p.text()
	p.literal(`}`)
	if p.err == nil && p.rest != "" {
		p.err = errors.New("something follows it")
	}
	if p.err != nil {
		return Entry{}, p.err
	}
	if e.At, err = time.Parse(timeLayout, at); err != nil {
		return Entry{}, errors.New("at is not a time like 2006-01-02T15:04:05Z")
	}
	e.At = e.At.UTC()
	return e, nil
}

type entryParser struct {
	rest string
	err  error
}

func (p *entryParser) literal(want string) {
	rest, ok := strings.CutPrefix(p.rest, want)
	if !ok && p.err == nil {
		p.err = fmt.Errorf("%s is missing at its place", want)
	}
	p.rest = rest
}

func (p *entryParser) text() string {
	if p.literal(`"`); p.err != nil {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			if b.Len() == 0 {
				s := p.rest[:i]
				p.rest = p.rest[i+1:]
				return s
			}
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\':
			if b.Len() == 0 && i > 0 {
				b.WriteString(p.rest[:i])
			}
			if i++; i == len(p.rest) {
				p.err = errors.New("a text has no end")
				return ""
			}
			switch p.rest[i] {
			case '"', '\\':
				b.WriteByte(p.rest[i])
			case 'n':
				b.WriteByte('\n')
			default:
				p.err = errors.New("a text holds an unknown escape")
				return ""
			}
		case b.Len() > 0:
			b.WriteByte(c)
		}
	}
	p.err = errors.New("a text has no end")
	return ""
}

func (p *entryParser) number() int64 {
	i := 0
	for i < len(p.rest) && p.rest[i] >= '0' && p.rest[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(p.rest[:i], 10, 64)
	if err != nil && p.err == nil {
		p.err = errors.New("a count is not a number")
	}
	p.rest = p.rest[i:]
	return n
}
