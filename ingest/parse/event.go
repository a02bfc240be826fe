package parse

import (
	"net/netip"
	"time"
)

// Kind says which of the two logs an event comes from.
type Kind uint8

// The kinds of event.
const (
	Web  Kind = iota + 1 // a proxy's request
	Mail                 // a mail server's message
)

// Action is what the proxy did with a request (ECS event.action).
type Action uint8

// The actions. The zero value means that the line does not say.
const (
	Unsaid Action = iota
	Allowed
	Blocked
)

// Event is one log line, read: a request, or what a mail server's line tells of a message. Its fields carry the names of the Elastic Common Schema (ECS 8).
//
// Byte fields alias the record that was parsed, or the parser's own scratch memory: they are valid until the next call
// of the same parser. An absent field is nil (bytes), the zero Addr, or -1 (numbers); an empty but present field, such as
// the null sender of a bounce, is a non-nil slice of length 0.
type Event struct {
	Kind Kind

	Time       int64      // @timestamp: milliseconds since 1970-01-01 UTC; a request's end, as proxies log it
	SourceIP   netip.Addr // source.ip
	SourcePort int32      // source.port
	User       []byte     // user.name, as written: DOMAIN\name, name@REALM or a bare name
	Count      uint32     // how many like events the line stands for (PAN-OS Repeat Count); 1 unless it says otherwise; mail: see Trace

	Method           []byte        // http.request.method
	Scheme           []byte        // url.scheme
	Domain           []byte        // url.domain: the host as written, without port, without brackets
	Port             int32         // url.port
	Path             []byte        // url.path, without query
	Query            []byte        // url.query, without '?'
	Referrer         []byte        // http.request.referrer
	UserAgent        []byte        // user_agent.original
	Status           int32         // http.response.status_code
	Action           Action        // event.action
	DestinationIP    netip.Addr    // destination.ip: the server the proxy spoke to, unless that is another proxy
	DestinationBytes int64         // destination.bytes: bytes to the client
	SourceBytes      int64         // source.bytes: bytes from the client; for mail, the size of the message
	Duration         time.Duration // event.duration
	MIME             []byte        // http.response.mime_type

	MessageID []byte   // email.message_id, without angle brackets
	From      []byte   // email.from.address; empty and non-nil is the null sender
	To        [][]byte // email.to.address
	Subject   []byte   // email.subject, RFC 2047 words decoded where the source left them
	Direction []byte   // email.direction: inbound, outbound or internal
	Outcome   []byte   // event.outcome: success, failure or unknown
	Code      []byte   // event.code: the source's own status word
	QueueID   []byte   // postfix.queue_id
	NetworkID []byte   // Exchange's network-message-id: the same in every row, of every server, about one message

	// Trace says that a mail's line only follows a message on its way, which other lines count: nothing of it belongs into a
	// statistic. Of the lines about one message one has Count 1: it counts the message, and its From and To are people in it.
	// Further lines with Count 0 that are no Trace (each next recipient of a message, from the sources that write a line for
	// each) add people, not messages. Where lines of one message reach several parsers, more than one of them may say Count 1:
	// MessageKey tells that they mean the same.
	Trace bool
	// Forwarded says that a rule, not a person, sent a mail on to To. A line may be Forwarded and Trace: then it is the one
	// place where the forwarding shows.
	Forwarded bool
	// Forwarder is the address whose rule sent the mail on, where the line names one; nil where it does not. That it is ours the
	// parser need not know: where it is and To is not, the mail is Forwarded in fact.
	Forwarder []byte
}

// MessageKey answers what the lines about one message share, on every server that it passed: Exchange's network-message-id, or
// else the message-id; nil where the line names neither. It is chosen by the sender and so may be personal.
func (e *Event) MessageKey() []byte {
	if e.NetworkID != nil {
		return e.NetworkID
	}
	return e.MessageID
}

// Reset makes e an event that says nothing, keeping the memory of To.
func (e *Event) Reset() {
	clear(e.To)
	to := e.To[:0]
	*e = Event{} // and not a literal with what follows: it would be built elsewhere and copied, for each line
	e.Count, e.SourcePort, e.Port, e.Status = 1, -1, -1, -1
	e.DestinationBytes, e.SourceBytes, e.Duration, e.To = -1, -1, -1, to
}
