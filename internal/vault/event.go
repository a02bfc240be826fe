package vault

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"tillsyn/internal/seal"
)

// The kinds of event. Each has its own keys, capsules and retention.
const (
	Web  = "web"  // a proxy's request
	Mail = "mail" // what a mail server's line tells of a message
)

// Kinds are all kinds.
func Kinds() []string { return []string{Web, Mail} }

// An Event is one raw event of one person, all of it personal data: what a capsule holds. Names are those of the Elastic
// Common Schema (ECS 8). An absent field is nil, the zero Addr, or -1 (numbers); an empty but present one is a non-nil slice of
// length 0. It prints, and is encoded as text or JSON, as redacted: whoever shows it takes its fields one by one.
type Event struct {
	// Where it was found. Set by Store.Read, and not by a capsule's writer.
	Kind       string
	Tenant     string
	Population string
	Unit       string
	Person     []byte   // whose capsule it was in: the subject
	Day        seal.Day // the UTC day of Time

	Time       int64      // @timestamp: milliseconds since 1970-01-01 UTC
	SourceIP   netip.Addr // source.ip
	SourcePort int32      // source.port
	User       []byte     // user.name, as logged
	Count      uint32     // how many like events the line stands for

	Method           []byte        // http.request.method
	Scheme           []byte        // url.scheme
	Domain           []byte        // url.domain
	Port             int32         // url.port
	Path             []byte        // url.path
	Query            []byte        // url.query, without '?'
	Referrer         []byte        // http.request.referrer
	UserAgent        []byte        // user_agent.original
	Status           int32         // http.response.status_code
	Action           uint8         // event.action: 0 not said, 1 allowed, 2 blocked
	DestinationIP    netip.Addr    // destination.ip
	DestinationBytes int64         // destination.bytes: bytes to the client
	SourceBytes      int64         // source.bytes: bytes from the client; for mail, the size of the message
	Duration         time.Duration // event.duration
	MIME             []byte        // http.response.mime_type

	// The verdict on Domain at the time it was read, by the lists of then; all absent where no list knows it.
	Category []byte
	Class    []byte // forbidden, limited, ordinary, protected or background
	List     []byte // the deciding rule's list
	Version  []byte // and its version
	Rule     []byte // the suffix of Domain that matched
	Country  []byte // of DestinationIP: ISO 3166-1 alpha-2; ZZ: not known

	MessageID  []byte   // email.message_id, without angle brackets
	From       []byte   // email.from.address; empty and non-nil is the null sender
	To         [][]byte // email.to.address; fewer than Recipients where a long list was left out: see MaxRecipients
	Recipients uint32   // how many recipients the line names
	Subject    []byte   // email.subject
	Direction  []byte   // email.direction
	Outcome    []byte   // event.outcome
	Code       []byte   // event.code: the source's own status word
	QueueID    []byte   // postfix.queue_id
	NetworkID  []byte   // Exchange's network-message-id
	Trace      bool     // the line only follows a message that other lines count
	Forwarded  bool     // a rule, not a person, sent it on
	Forwarder  []byte   // the address whose rule sent it on, where the line names one
}

// MaxRecipients is the longest list of recipients that the capsules of recipients hold. Of a message to more people, the
// capsule of each recipient names that one alone: the sender's names all. Otherwise one message to everybody would be kept
// everybody times everybody.
const MaxRecipients = 100

// Format hides the event from every verb.
func (Event) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the event from every encoder.
func (Event) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Reset makes e an event that says nothing, keeping the memory of To.
func (e *Event) Reset() {
	clear(e.To)
	to := e.To[:0]
	*e = Event{Count: 1, SourcePort: -1, Port: -1, Status: -1, DestinationBytes: -1, SourceBytes: -1, Duration: -1, To: to}
}

// The columns of a capsule. Their numbers are part of the format: new ones go to the end.
const (
	colSourceIP = iota
	colUser
	colUserAgent
	colDomain
	colScheme
	colMethod
	colPath
	colQuery
	colReferrer
	colDestinationIP
	colMIME
	colCategory
	colClass
	colList
	colVersion
	colRule
	colCountry
	colMessageID
	colFrom
	colTo
	colSubject
	colDirection
	colOutcome
	colCode
	colQueueID
	colNetworkID
	colForwarder
	textColumns
)

const (
	numTime = iota
	numSourcePort
	numCount
	numPort
	numStatus
	numAction
	numDestinationBytes
	numSourceBytes
	numDuration
	numFlags
	numRecipients
	numberColumns
)

// absentNumber is what a number column holds where the field is absent or as it mostly is.
func absentNumber() [numberColumns]int64 {
	return [numberColumns]int64{numSourcePort: -1, numCount: 1, numPort: -1, numStatus: -1, numDestinationBytes: -1, numSourceBytes: -1, numDuration: -1}
}

const (
	flagTrace     = 1
	flagForwarded = 2
)

// A flat is an event by columns.
type flat struct {
	number [numberColumns]int64
	text   [textColumns][]byte
}

// flatten lays e out by columns. scratch holds what is not a byte slice in e, and is given back for the next time.
func (f *flat) flatten(e *Event, scratch []byte) []byte {
	f.number = [numberColumns]int64{
		e.Time, int64(e.SourcePort), int64(e.Count), int64(e.Port), int64(e.Status), int64(e.Action), e.DestinationBytes, e.SourceBytes,
		int64(e.Duration), 0, int64(e.Recipients),
	}
	if e.Trace {
		f.number[numFlags] |= flagTrace
	}
	if e.Forwarded {
		f.number[numFlags] |= flagForwarded
	}
	b := scratch[:0]
	b = appendAddr(b, e.SourceIP)
	source := len(b)
	b = appendAddr(b, e.DestinationIP)
	destination := len(b)
	for _, to := range e.To {
		b = binary.AppendUvarint(b, uint64(len(to)))
		b = append(b, to...)
	}
	piece := func(from, to int) []byte {
		if from == to {
			return nil
		}
		return b[from:to:to]
	}
	f.text = [textColumns][]byte{
		piece(0, source), e.User, e.UserAgent, e.Domain, e.Scheme, e.Method, e.Path, e.Query, e.Referrer, piece(source, destination), e.MIME,
		e.Category, e.Class, e.List, e.Version, e.Rule, e.Country,
		e.MessageID, e.From, piece(destination, len(b)), e.Subject, e.Direction, e.Outcome, e.Code, e.QueueID, e.NetworkID, e.Forwarder,
	}
	return b
}

func appendAddr(b []byte, ip netip.Addr) []byte {
	if !ip.IsValid() {
		return b
	}
	b, err := ip.AppendBinary(b)
	if err != nil {
		panic(err) // netip never answers one
	}
	return b
}

// event is the inverse of flatten. The byte slices of e alias those of f. It fails where a column can't be what it says.
func (f *flat) event(e *Event) error {
	e.Reset()
	n := &f.number
	for _, c := range []struct {
		column   int
		from, to int64
	}{
		{numSourcePort, -1 << 31, 1<<31 - 1}, {numCount, 0, 1<<32 - 1}, {numPort, -1 << 31, 1<<31 - 1}, {numStatus, -1 << 31, 1<<31 - 1},
		{numAction, 0, 255}, {numFlags, 0, flagTrace | flagForwarded}, {numRecipients, 0, 1<<32 - 1},
	} {
		if n[c.column] < c.from || n[c.column] > c.to {
			return fmt.Errorf("number %d is out of its range", c.column)
		}
	}
	e.Time, e.SourcePort, e.Count, e.Port, e.Status = n[numTime], int32(n[numSourcePort]), uint32(n[numCount]), int32(n[numPort]), int32(n[numStatus])
	e.Action, e.DestinationBytes, e.SourceBytes, e.Duration = uint8(n[numAction]), n[numDestinationBytes], n[numSourceBytes], time.Duration(n[numDuration])
	e.Trace, e.Forwarded, e.Recipients = n[numFlags]&flagTrace != 0, n[numFlags]&flagForwarded != 0, uint32(n[numRecipients])
	t := &f.text
	if err := parseAddr(&e.SourceIP, t[colSourceIP]); err != nil {
		return err
	}
	if err := parseAddr(&e.DestinationIP, t[colDestinationIP]); err != nil {
		return err
	}
	e.User, e.UserAgent, e.Domain, e.Scheme, e.Method, e.Path = t[colUser], t[colUserAgent], t[colDomain], t[colScheme], t[colMethod], t[colPath]
	e.Query, e.Referrer, e.MIME = t[colQuery], t[colReferrer], t[colMIME]
	e.Category, e.Class, e.List, e.Version, e.Rule, e.Country = t[colCategory], t[colClass], t[colList], t[colVersion], t[colRule], t[colCountry]
	e.MessageID, e.From, e.Subject, e.Direction, e.Outcome = t[colMessageID], t[colFrom], t[colSubject], t[colDirection], t[colOutcome]
	e.Code, e.QueueID, e.NetworkID, e.Forwarder = t[colCode], t[colQueueID], t[colNetworkID], t[colForwarder]
	for rest := t[colTo]; len(rest) > 0; {
		size, used := binary.Uvarint(rest)
		if used <= 0 || size > uint64(len(rest)-used) {
			return fmt.Errorf("the list of recipients is cut")
		}
		rest = rest[used:]
		e.To = append(e.To, rest[:size:size])
		rest = rest[size:]
	}
	return nil
}

func parseAddr(ip *netip.Addr, text []byte) error {
	if text == nil {
		return nil
	}
	if err := ip.UnmarshalBinary(text); err != nil || !ip.IsValid() {
		return fmt.Errorf("an address has %d bytes", len(text))
	}
	return nil
}
