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

// Event is one log line, read. Its fields carry the names of the Elastic Common Schema (ECS 8).
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
	Count      uint32     // how many like events the line stands for (PAN-OS Repeat Count); 1 unless it says otherwise

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
	Subject   []byte   // email.subject
	Direction []byte   // email.direction: inbound, outbound or internal
	Outcome   []byte   // event.outcome: success, failure or unknown
	Code      []byte   // event.code: the source's own status word
	QueueID   []byte   // postfix.queue_id
}

// Reset makes e an event that says nothing, keeping the memory of To.
func (e *Event) Reset() {
	to := e.To[:0]
	*e = Event{
		Count: 1, SourcePort: -1, Port: -1, Status: -1,
		DestinationBytes: -1, SourceBytes: -1, Duration: -1, To: to,
	}
}
