package parse

import (
	"bytes"
	"hash/maphash"
)

// exchange2003 reads the message tracking logs of Exchange 2000 and 2003: fields between tabs, "-" for nothing, a row for each
// recipient of a message and each step on its way, of which event.code is the number. The columns are fixed: date, time
// ("10:41:58 GMT", figures without leading zeros too), client-ip, client-hostname, partner, server-hostname, server-ip, recipient, event-ID,
// MSGID, priority, recipient report status, total-bytes, number-recipients, origination time, encryption, service version,
// linked MSGID, subject, sender, and whatever follows. The log is in GMT; a time that does not say so is of Options.Zone.
// Senders and recipients of the own organisation may be X.500 names (EX:/O=...), which stay as they are.
//
// A message is counted where it enters the advanced queue, event 1019; the rows of its further recipients have Count 0. The
// rows of one event and message stand together, so the last one's hash tells that; no text is kept. All other rows are a
// Trace. event.outcome: failure for 50-52, 1021, 1022, 1026, 1030, 1039 and 1040 (bad mail, failure, non-delivery, deleted
// and refused by the filter), unknown for numbers that are not listed and for retries (1032, 1035, 1037), else success.
//
// Servers log 1019 again for a message that they split or that passes the next of them: Event.MessageKey (the message-id) tells.
//
// Sources: https://support.microsoft.com/kb/246965 (the columns) and https://support.microsoft.com/kb/821905 (the numbers).
type exchange2003 struct {
	mailReader
	stamps stampReader
	cut    fieldCutter
	seed   maphash.Seed
	last   uint64 // of the message that was counted last
}

// The columns of Exchange 2003.
const (
	old2003Date = iota
	old2003Time
	old2003Client
	_
	_
	_
	_
	old2003Recipient
	old2003Event
	old2003Message
	_
	_
	old2003Bytes
	_
	_
	_
	_
	_
	old2003Subject
	old2003Sender
	old2003Columns
)

func (x *exchange2003) read(b []byte, e *Event, _ *scratch) (Reason, string) {
	e.Kind = Mail
	if b = bytes.TrimPrefix(b, []byte(utf8BOM)); len(b) == 0 || b[0] == '#' || foldStarts(b, "date\ttime\t") {
		return skip, ""
	}
	x.cut.split(b, '\t')
	field := func(i int) []byte { return x.cut.field(b, i) }
	day := bytes.TrimSpace(field(old2003Date))
	days, n, ok := x.stamps.date(day)
	switch {
	case n == 0, n != len(day):
		return ForeignLine, "@timestamp"
	case x.cut.n < old2003Columns:
		return Truncated, ""
	case !ok:
		return BadTime, "@timestamp"
	}
	ofDay, n := loneTime(field(old2003Time))
	if n == 0 {
		return BadTime, "@timestamp"
	}
	e.Time = days*86_400_000 + ofDay
	switch zone := bytes.TrimSpace(field(old2003Time)[n:]); {
	case fold(zone, "gmt"), fold(zone, "utc"), fold(zone, "z"):
		e.Time, ok = within9999(e.Time)
	case len(zone) == 0:
		e.Time, ok = x.stamps.local(e.Time)
	default:
		return BadTime, "@timestamp"
	}
	if !ok {
		return BadTime, "@timestamp"
	}
	code, ok := decimal(field(old2003Event))
	if !ok {
		return BadNumber, "event.code"
	}
	e.Code, e.Outcome = field(old2003Event), x.outcome(code)
	if e.SourceBytes, ok = size(field(old2003Bytes)); !ok {
		return BadNumber, "source.bytes"
	}
	e.SourceIP, _ = client(field(old2003Client))
	e.MessageID = messageID(field(old2003Message))
	if to := mailbox(field(old2003Recipient)); !absent(to) {
		e.To = append(e.To, to)
	}
	if sender := field(old2003Sender); !absent(sender) {
		e.From = mailbox(sender)
	}
	e.Subject = present(field(old2003Subject))
	x.direct(e, nil)
	if e.Count, e.Trace = 0, true; code == submittedToQueue {
		e.Trace = false
		if id := maphash.Bytes(x.seed, e.MessageID) | 1; e.MessageID == nil || id != x.last {
			e.Count, x.last = 1, id
		}
	}
	return "", ""
}

// submittedToQueue is "SMTP: Message Submitted to Advanced Queuing", which every message passes.
const submittedToQueue = 1019

// loneTime reads h:m:s, each of one or two digits, into milliseconds, and answers the bytes it took (0: it is none).
func loneTime(b []byte) (ms int64, n int) {
	var parts [3]int
	for i := range parts {
		if i > 0 {
			if n >= len(b) || b[n] != ':' {
				return 0, 0
			}
			n++
		}
		v, taken := digits(b, n, 2)
		if taken == 0 || b[n] == ' ' {
			return 0, 0
		}
		parts[i], n = v, n+taken
	}
	if parts[0] > 23 || parts[1] > 59 || parts[2] > 60 {
		return 0, 0
	}
	return (int64(parts[0])*3600 + int64(parts[1])*60 + int64(parts[2])) * 1000, n
}

func (x *exchange2003) outcome(code int64) []byte {
	switch {
	case code >= 50 && code <= 52, code == 1021, code == 1022, code == 1026, code == 1030, code == 1039, code == 1040:
		return x.failure
	case code <= 10, code >= 26 && code <= 34, code >= 1000 && code <= 1031, code == 1033, code == 1034, code == 1036, code == 1038,
		code == 1041, code == 1042:
		return x.success
	}
	return x.unknown
}

func (x *exchange2003) origins() []Origin {
	return []Origin{
		{"@timestamp", "Date"}, {"@timestamp", "Time"}, {"source.ip", "client-ip"}, {"source.bytes", "total-bytes"}, {"event.code", "Event-ID"},
		{"event.outcome", "Event-ID"}, {"email.message_id", "MSGID"}, {"email.from.address", "Sender-Address"},
		{"email.to.address", "Recipient-Address"}, {"email.subject", "Message-Subject"}, {"email.direction", "internal_domains"},
	}
}

func exchange2003Format() format {
	return format{
		FormatInfo: FormatInfo{Name: "exchange2003_msgtrk_tsv", About: "Exchange 2000 and 2003 message tracking", Kind: Mail, Remembers: true},
		build: func(o Options) (lineFormat, error) {
			m, err := newMailReader(o)
			return &exchange2003{mailReader: m, stamps: newStampReader(o.Zone), seed: maphash.MakeSeed()}, err
		},
	}
}
