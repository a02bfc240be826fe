package parse

import (
	"bytes"
	"strings"
)

// An m365Reader is what the two formats of Microsoft 365's message trace share: the names of its columns, and how their values
// become an event.
//
// Columns are those of Get-MessageTrace and Get-MessageTraceV2, of the reporting web service, of Microsoft Graph
// (exchangeMessageTrace), and of the admin center's enhanced summary and extended reports; they are compared without case,
// spaces and underscores. Times without a zone are UTC unless Options.Zone says otherwise. A date with slashes and AM or PM is
// month first; without those it is read where only one order makes a date, else Options.Layout must say mdy or dmy.
//
// event.code is the status as written (Delivered, Failed, FilteredAsSpam, …; for the enhanced summary what stands behind
// address##, of the first recipient). event.outcome is success for what reached a mailbox or was sent on (spam folders are
// mailboxes), failure for Failed, Quarantined and the like, else unknown; recipients who fared differently make it unknown.
//
// Get-MessageTrace has a row for each recipient of a message, and windows that are asked for overlap. MessageTraceId, which is
// the network message id, tells rows of one message: of those that a parser reads, the last 65,536 messages considered, only
// the first has Count 1.
//
// Sources: https://learn.microsoft.com/powershell/module/exchange/get-messagetracev2,
// https://learn.microsoft.com/graph/api/resources/exchangemessagetrace and
// https://learn.microsoft.com/exchange/monitoring/trace-an-email-message/message-trace-modern-eac.
type m365Reader struct {
	stamps stampReader
	mail   mailReader
	layout string
	seen   recentKeys
}

const (
	m365Time jsonSlot = iota
	m365MessageID
	m365NetworkID
	m365Sender
	m365Recipient
	m365RecipientStatus
	m365Subject
	m365Status
	m365Size
	m365Direction
	m365IP
	m365Slots
)

// m365Names are the columns by slot, as m365Name writes them.
func m365Names() map[string]jsonSlot {
	list := map[string]jsonSlot{}
	for slot, names := range [m365Slots][]string{
		m365Time:            {"received", "receiveddatetime", "origintimestamp", "datetime", "date", "receiveddate", "timestamp"},
		m365MessageID:       {"messageid", "internetmessageid"},
		m365NetworkID:       {"messagetraceid", "networkmessageid", "id"},
		m365Sender:          {"senderaddress", "sender", "from"},
		m365Recipient:       {"recipientaddress", "recipient", "recipients", "to"},
		m365RecipientStatus: {"recipientstatus"},
		m365Subject:         {"subject", "messagesubject"},
		m365Status:          {"status", "deliverystatus", "eventid"},
		m365Size:            {"size", "totalbytes", "messagesize"},
		m365Direction:       {"direction", "directionality"},
		m365IP:              {"fromip", "originalclientip", "clientip"},
	} {
		for _, name := range names {
			list[name] = slot
		}
	}
	return list
}

// m365Name brings a column's name into the form of m365Names.
func m365Name(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	name = strings.TrimSuffix(strings.TrimSuffix(name, "(utc)"), "_utc")
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '_' || r == '-' || r == '"' {
			return -1
		}
		return r
	}, name)
}

// m365Layouts are the orders of a date's parts that Options.Layout can name.
const m365Layouts = "mdy or dmy"

func newM365Reader(o Options) (m365Reader, error) {
	mail, err := newMailReader(o)
	return m365Reader{stamps: newStampReader(o.Zone), mail: mail, layout: o.Layout}, err
}

// fill reads an event; value answers the text of a column, nil where the row does not have it. to adds the recipients that are
// given as a list.
func (r *m365Reader) fill(value func(jsonSlot) []byte, to func(), e *Event) (Reason, string) {
	e.Kind = Mail
	at := bytes.TrimSpace(value(m365Time))
	if len(at) == 0 {
		return ForeignLine, "@timestamp"
	}
	var ok, is bool
	if e.Time, is, ok = r.when(at); !is {
		return ForeignLine, "@timestamp"
	} else if !ok {
		return BadTime, "@timestamp"
	}
	e.MessageID = messageID(value(m365MessageID))
	e.NetworkID = present(bytes.TrimSpace(value(m365NetworkID)))
	if from := value(m365Sender); from != nil {
		e.From = headerAddress(from)
	}
	to()
	first, outcome := r.statuses(value(m365RecipientStatus), e)
	if e.MessageID == nil && e.NetworkID == nil && e.From == nil && len(e.To) == 0 {
		return Truncated, "email.message_id"
	}
	if e.Code = present(bytes.TrimSpace(value(m365Status))); e.Code != nil {
		outcome = r.outcome(e.Code)
	} else {
		e.Code = first
	}
	e.Outcome = outcome
	if subject := value(m365Subject); len(subject) > 0 {
		e.Subject = subject
	}
	if e.SourceBytes, ok = size(bytes.TrimSpace(value(m365Size))); !ok {
		return BadNumber, "source.bytes"
	}
	if e.SourceIP, ok = client(bytes.TrimSpace(value(m365IP))); !ok {
		return BadAddress, "source.ip"
	}
	r.mail.direct(e, bytes.TrimSpace(value(m365Direction)))
	if e.NetworkID != nil && !r.seen.add(e.NetworkID) {
		e.Count = 0
	}
	return "", ""
}

// statuses reads "address##status;address##status" into e.To, and answers the first status and what all of them come to.
func (r *m365Reader) statuses(list []byte, e *Event) (first, outcome []byte) {
	for len(list) > 0 {
		one := list
		if end := bytes.IndexByte(list, ';'); end >= 0 {
			one, list = list[:end], list[end+1:]
		} else {
			list = nil
		}
		address, status, has := bytes.Cut(one, []byte("##"))
		if address = mailbox(bytes.TrimSpace(address)); len(address) > 0 {
			e.To = append(e.To, address)
		}
		if status = bytes.TrimSpace(status); !has || len(status) == 0 {
			continue
		}
		what := r.outcome(status)
		if first == nil {
			first, outcome = status, what
		} else if !bytes.Equal(outcome, what) {
			outcome = r.mail.unknown
		}
	}
	return first, outcome
}

// outcome answers event.outcome for a status, which may be several words with commas between them.
func (r *m365Reader) outcome(status []byte) []byte {
	switch {
	case contains(status, "fail"), contains(status, "quarantin"), contains(status, "reject"), contains(status, "drop"):
		return r.mail.failure
	case contains(status, "deliver"), contains(status, "send"), contains(status, "filteredasspam"), contains(status, "filtered as spam"):
		return r.mail.success
	}
	return r.mail.unknown
}

// when reads a time; is is false where b is none, ok where it does not exist or could be two.
func (r *m365Reader) when(b []byte) (ms int64, is, ok bool) {
	if ms, n, ok := r.stamps.stamp(b); n > 0 {
		return ms, true, ok && n == len(b)
	}
	const dateOpen = "/Date("
	if bytes.HasPrefix(b, []byte(dateOpen)) && bytes.HasSuffix(b, []byte(")/")) {
		number := b[len(dateOpen) : len(b)-2]
		if plus := bytes.IndexByte(number, '+'); plus > 0 {
			// the offset behind it is how to show the time, not what it is
			number = number[:plus]
		}
		ms, ok = decimal(number)
		if ms, fine := within9999(ms); ok && fine {
			return ms, true, true
		}
		return 0, true, false
	}
	return r.localDate(b)
}

// localDate reads 10/21/2026 8:05:09 AM and its like, as PowerShell writes times by the machine's language.
func (r *m365Reader) localDate(b []byte) (ms int64, is, ok bool) {
	one, n := digits(b, 0, 2)
	if n == 0 || n >= len(b) || b[n] != '/' && b[n] != '.' && b[n] != '-' {
		return 0, false, false
	}
	mark := b[n]
	two2, taken := digits(b, n+1, 2)
	n += 1 + taken
	if taken == 0 || n+5 > len(b) || b[n] != mark || two(b, n+1) < 0 || two(b, n+3) < 0 {
		return 0, false, false
	}
	year := two(b, n+1)*100 + two(b, n+3)
	n += 5
	for n < len(b) && (b[n] == ' ' || b[n] == ',') {
		n++
	}
	ofDay, taken := dayTime(b[n:])
	if taken == 0 {
		return 0, true, false
	}
	rest := bytes.TrimSpace(b[n+taken:])
	american := false
	switch {
	case len(rest) == 0:
	case fold(rest, "am"), fold(rest, "pm"):
		american = mark == '/'
		hour := ofDay / 3_600_000
		if hour < 1 || hour > 12 {
			return 0, true, false
		}
		if ofDay -= hour * 3_600_000; hour < 12 {
			ofDay += hour * 3_600_000
		}
		if fold(rest, "pm") {
			ofDay += 12 * 3_600_000
		}
	default:
		return 0, true, false
	}
	month, day := one, two2
	switch {
	case r.layout == "dmy", r.layout == "" && mark == '.', r.layout == "" && !american && one > 12:
		month, day = two2, one
	case r.layout == "mdy", american, one == two2, two2 > 12:
	default:
		return 0, true, false
	}
	days, fine := date(year, month, day)
	ms, ok = r.stamps.local(days*86_400_000 + ofDay)
	return ms, true, ok && fine
}

func m365Origins(part func(jsonSlot) string) []Origin {
	var list []Origin
	for _, o := range []struct {
		field string
		slot  jsonSlot
	}{
		{"@timestamp", m365Time}, {"source.ip", m365IP}, {"email.message_id", m365MessageID}, {"email.from.address", m365Sender},
		{"email.to.address", m365Recipient}, {"email.to.address", m365RecipientStatus}, {"email.subject", m365Subject},
		{"email.direction", m365Direction}, {"event.code", m365Status}, {"event.code", m365RecipientStatus}, {"event.outcome", m365Status},
		{"event.outcome", m365RecipientStatus}, {"source.bytes", m365Size},
	} {
		if name := part(o.slot); name != "" {
			list = append(list, Origin{o.field, name})
		}
	}
	return list
}
