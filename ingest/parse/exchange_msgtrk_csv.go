package parse

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// exchangeTracking reads the message tracking logs of Exchange Server 2007 and later (MSGTRK*.LOG): comma-separated values as
// in RFC 4180 in UTF-8 with a byte order mark, times in UTC. Every row is an event, of which event.code is the event-id.
//
// There are two shapes. Exchange 2007 has 21 columns, to which 2010 added five (the layouts 2007 and 2010); 2013 put
// network-message-id behind message-id, and later versions added transport-traffic-type, log-id and schema-version at the end
// (the layouts 2013, 2016 and 2019). Options.Layout or Options.Columns (a pasted #Fields line) says which it is: rows are
// read by that alone, and a header (#Fields, or a bare row of the names, which is recognised anywhere) that says otherwise
// is a reject (ContradictoryHeader). Where nothing is configured, a header sets the columns of the rows that fit it, and all
// others are told apart by their number of fields: at least 27, at least 21. A header that the rows prove wrong is reported.
//
// A message has many rows on many servers. It is counted (Event.Count 1) where it entered: event RECEIVE of source SMTP (from
// other servers, and from mailboxes since 2013), STOREDRIVER (from mailboxes before), MAILBOXRULE (from an Inbox rule), PICKUP or GATEWAY; unless custom-data
// names another server as the FirstForestHop, which then has the row that counts. All other rows are a Trace: SUBMIT is
// followed by its RECEIVE, SEND and DELIVER come again for each next server and mailbox, AGENT copies, HAREDIRECT is a
// shadow. Servers before 2013 do not write FirstForestHop, and a message between two of them has a RECEIVE of each: Event.MessageKey
// (network-message-id, or else message-id) is the same in both, and the statistics count what differs in it.
// REDIRECT, and what source MAILBOXRULE sends, is Event.Forwarded: by the mailbox in related-recipient-address, and the one in
// return-path, or else the sender.
//
// event.outcome: failure for FAIL, BADMAIL, DROP, POISONMESSAGE and the like, unknown for what is not over or tells of nothing
// done (DEFER, DSN, NOTIFYMAPI, AGENTINFO, HADISCARD ...), else success.
//
// Sources: https://learn.microsoft.com/en-us/exchange/mail-flow/transport-logs/message-tracking and, for 2007,
// https://learn.microsoft.com/en-us/previous-versions/tn-archive/cc539064(v=technet.10).
type exchangeTracking struct {
	mailReader
	fixed  *exchangeColumns // configured: nothing else is tried
	told   *exchangeColumns // by the last header of the stream
	old    *exchangeColumns // 2007 and 2010
	modern *exchangeColumns // 2013 and later
	doubts bool
	stamps stampReader
	cut    fieldCutter
}

// exchangeColumns is where a layout has what is read.
type exchangeColumns struct {
	at    [exchangeSlots]int
	names int // in the layout
	least int // fields that a row has at least
}

type exchangeSlot uint8

const (
	exchangeTime exchangeSlot = iota
	exchangeClient
	exchangeServer
	exchangeSource
	exchangeEvent
	exchangeMessage
	exchangeNetwork
	exchangeRecipients
	exchangeBytes
	exchangeSubject
	exchangeSender
	exchangeDirection
	exchangeOriginal
	exchangeCustom
	exchangeRelated
	exchangeReturn
	exchangeSlots
)

// exchangeColumn answers the slot of a column, or exchangeSlots for one that is not read.
func exchangeColumn(name string) exchangeSlot {
	switch name {
	case "date-time":
		return exchangeTime
	case "client-ip":
		return exchangeClient
	case "server-hostname":
		return exchangeServer
	case "source":
		return exchangeSource
	case "event-id":
		return exchangeEvent
	case "message-id":
		return exchangeMessage
	case "network-message-id":
		return exchangeNetwork
	case "recipient-address":
		return exchangeRecipients
	case "total-bytes":
		return exchangeBytes
	case "message-subject":
		return exchangeSubject
	case "sender-address":
		return exchangeSender
	case "directionality":
		return exchangeDirection
	case "original-client-ip":
		return exchangeOriginal
	case "custom-data":
		return exchangeCustom
	case "related-recipient-address":
		return exchangeRelated
	case "return-path":
		return exchangeReturn
	}
	return exchangeSlots
}

// The columns of Exchange 2007, and what later versions added.
const (
	exchange2007 = "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id," +
		"internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address," +
		"reference,message-subject,sender-address,return-path,message-info"
	exchange2010 = exchange2007 + ",directionality,tenant-id,original-client-ip,original-server-ip,custom-data"
	exchangeTail = ",transport-traffic-type,log-id,schema-version"
)

// exchangeLayout answers the columns of a named layout, or "".
func exchangeLayout(name string) string {
	modern := strings.Replace(exchange2010, ",message-id,", ",message-id,network-message-id,", 1)
	switch name {
	case "2007":
		return exchange2007
	case "2010":
		return exchange2010
	case "2013":
		return modern
	case "2016", "2019":
		return modern + exchangeTail
	}
	return ""
}

// newExchangeColumns answers the columns of a list of names. Names that are not read are let pass.
func newExchangeColumns(names []string) (*exchangeColumns, error) {
	c := &exchangeColumns{names: len(names)}
	for slot := range c.at {
		c.at[slot] = -1
	}
	var faults []error
	for i, name := range names {
		slot := exchangeColumn(strings.ToLower(strings.Trim(name, " \t\"")))
		if slot == exchangeSlots {
			continue
		}
		if c.at[slot] >= 0 {
			faults = append(faults, fmt.Errorf("columns %d and %d have the same name", c.at[slot]+1, i+1))
		}
		c.at[slot] = i
	}
	for _, needed := range []string{"date-time", "event-id", "message-id"} {
		if at := c.at[exchangeColumn(needed)]; at < 0 {
			faults = append(faults, fmt.Errorf("there is no column %s", needed))
		} else {
			c.least = max(c.least, at+1)
		}
	}
	if len(names) > maxFields {
		faults = append(faults, fmt.Errorf("there are more than %d columns", maxFields))
	}
	return c, errors.Join(faults...)
}

func newExchangeTracking(o Options) (*exchangeTracking, error) {
	if o.Layout != "" && len(o.Columns) > 0 {
		return nil, errors.New("columns and layout say the same thing: give one of them")
	}
	x := &exchangeTracking{stamps: newStampReader(o.Zone)}
	var err error
	if x.mailReader, err = newMailReader(o); err != nil {
		return nil, err
	}
	// rows of 2007 lack the columns of 2010, and those of 2013 the last three: what is missing there is only less
	if x.old, err = newExchangeColumns(strings.Split(exchange2010, ",")); err != nil {
		return nil, err
	}
	x.old.least = 21
	if x.modern, err = newExchangeColumns(strings.Split(exchangeLayout("2019"), ",")); err != nil {
		return nil, err
	}
	x.modern.least = 27
	switch {
	case len(o.Columns) > 0:
		columns := slices.Clone(o.Columns)
		columns[0] = strings.TrimPrefix(columns[0], "#Fields:")
		if x.fixed, err = newExchangeColumns(columns); err != nil {
			return nil, err
		}
	case o.Layout == "2007" || o.Layout == "2010":
		x.fixed = x.old
	case exchangeLayout(o.Layout) != "":
		x.fixed = x.modern
	case o.Layout != "":
		return nil, fmt.Errorf("there is no layout %q: choose one of 2007, 2010, 2013, 2016, 2019", o.Layout)
	}
	return x, nil
}

func (x *exchangeTracking) comment(line []byte) (Reason, string) {
	line = bytes.TrimSpace(line)
	if !foldStarts(line, "#fields:") {
		return skip, ""
	}
	return x.header(line[len("#fields:"):])
}

// header reads the names of the columns.
func (x *exchangeTracking) header(names []byte) (Reason, string) {
	if bytes.Count(names, []byte(",")) >= maxFields {
		return ContradictoryHeader, ""
	}
	told, err := newExchangeColumns(strings.Split(string(bytes.TrimSpace(names)), ","))
	if err != nil {
		return ContradictoryHeader, ""
	}
	if x.fixed == nil {
		x.told = told
		return skip, ""
	}
	for slot, at := range x.fixed.at {
		if at != told.at[slot] && at < told.names && told.at[slot] < x.fixed.names {
			return ContradictoryHeader, ""
		}
	}
	return skip, ""
}

func (x *exchangeTracking) doubt() Reason {
	if !x.doubts {
		return ""
	}
	x.doubts = false
	return ContradictoryHeader
}

// layout answers the columns by which a row that was cut is to be read, or nil.
func (x *exchangeTracking) layout(b []byte) *exchangeColumns {
	if x.fixed != nil {
		if x.cut.n < x.fixed.least {
			return nil
		}
		return x.fixed
	}
	if x.told != nil && x.cut.n == x.told.names && x.fits(b, x.told) {
		return x.told
	}
	for _, c := range [2]*exchangeColumns{x.modern, x.old} {
		if x.cut.n >= c.least && x.fits(b, c) {
			if x.told != nil {
				x.told, x.doubts = nil, true
			}
			return c
		}
	}
	if x.told != nil && x.cut.n >= x.told.least {
		return x.told
	}
	switch {
	case x.cut.n >= x.modern.least:
		return x.modern
	case x.cut.n >= x.old.least:
		return x.old
	}
	return nil
}

// fits says whether a row has a time and an event where the columns have them.
func (x *exchangeTracking) fits(b []byte, c *exchangeColumns) bool {
	_, n, _ := x.stamps.stamp(x.cut.field(b, c.at[exchangeTime]))
	return n > 0 && exchangeWord(x.cut.field(b, c.at[exchangeEvent]))
}

// exchangeWord says whether b can be an event-id: letters only.
func exchangeWord(b []byte) bool {
	for _, c := range b {
		if c |= 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(b) > 0
}

func (x *exchangeTracking) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Mail
	b = bytes.TrimPrefix(b, []byte(utf8BOM))
	if len(b) == 0 || b[0] == '#' {
		return x.comment(b)
	}
	if name := bytes.TrimLeft(b[:min(len(b), 16)], " \""); foldStarts(name, "date-time") {
		return x.header(b)
	}
	if !x.cut.rfc4180(b, ',') {
		x.cut.tolerant(b, ',')
	}
	c := x.layout(b)
	if c == nil {
		if _, n, _ := x.stamps.stamp(x.cut.field(b, 0)); n == 0 {
			return ForeignLine, "@timestamp"
		}
		return Truncated, ""
	}
	field := func(slot exchangeSlot) []byte { return x.cut.field(b, c.at[slot]) }
	stamp := field(exchangeTime)
	var n int
	var ok bool
	switch e.Time, n, ok = x.stamps.stamp(stamp); {
	case n == 0, n != len(stamp):
		return ForeignLine, "@timestamp"
	case !ok:
		return BadTime, "@timestamp"
	}
	if e.Code = field(exchangeEvent); !exchangeWord(e.Code) {
		return BadLayout, "event.code"
	}
	if e.SourceBytes, ok = size(field(exchangeBytes)); !ok {
		return BadNumber, "source.bytes"
	}
	// an address that can't be read is less of an address, not less of a message
	if e.SourceIP, ok = client(field(exchangeOriginal)); !ok || !e.SourceIP.IsValid() {
		e.SourceIP, _ = client(field(exchangeClient))
	}
	e.MessageID = messageID(x.unquoted(b, c.at[exchangeMessage], s))
	e.NetworkID = present(field(exchangeNetwork))
	if sender := x.unquoted(b, c.at[exchangeSender], s); len(sender) > 0 {
		e.From = mailbox(sender)
	}
	recipients(x.unquoted(b, c.at[exchangeRecipients], s), ';', e)
	if subject := x.unquoted(b, c.at[exchangeSubject], s); len(subject) > 0 {
		e.Subject = subject
	}
	x.direct(e, field(exchangeDirection))
	e.Outcome = x.outcome(e.Code)
	source := field(exchangeSource)
	rule := fold(source, "mailboxrule")
	if e.Count, e.Trace = 0, true; fold(e.Code, "receive") && exchangeEntry(source) && firstHop(field(exchangeCustom), field(exchangeServer)) {
		e.Count, e.Trace = 1, false
	}
	switch {
	case fold(e.Code, "redirect"):
		e.Forwarded = true
		related, _, _ := bytes.Cut(x.unquoted(b, c.at[exchangeRelated], s), []byte(";"))
		e.Forwarder = present(mailbox(bytes.TrimSpace(related)))
	case rule && !fold(e.Code, "fail"):
		e.Forwarded = true
		if e.Forwarder = present(mailbox(x.unquoted(b, c.at[exchangeReturn], s))); e.Forwarder == nil {
			e.Forwarder = present(e.From)
		}
	}
	return "", ""
}

// unquoted answers a field, with its doubled quotes halved where it was quoted.
func (x *exchangeTracking) unquoted(b []byte, i int, s *scratch) []byte {
	v := x.cut.field(b, i)
	if len(v) < 2 || x.cut.places[i].from == 0 || b[x.cut.places[i].from-1] != '"' {
		return v
	}
	return s.undouble(v)
}

// exchangeEntry says whether a message can enter by a source: not AGENT, DSN, ROUTING and the like, which work on one that has.
func exchangeEntry(source []byte) bool {
	return fold(source, "smtp") || fold(source, "storedriver") || fold(source, "mailboxrule") || fold(source, "pickup") || fold(source, "gateway")
}

// firstHop says whether the server is the one that S:FirstForestHop=NAME of custom-data names, or none is named there.
func firstHop(custom, server []byte) bool {
	const key = "S:FirstForestHop="
	at := bytes.Index(custom, []byte(key))
	if at < 0 || len(server) == 0 {
		return true
	}
	hop := custom[at+len(key):]
	for i := 0; ; i++ {
		end, other := i >= len(hop) || hop[i] == '.' || hop[i] == ';', i >= len(server) || server[i] == '.'
		if end || other {
			return end == other || i == 0
		}
		if lower(hop[i]) != lower(server[i]) {
			return false
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

func (x *exchangeTracking) outcome(code []byte) []byte {
	switch {
	case fold(code, "receive"), fold(code, "send"), fold(code, "deliver"), fold(code, "submit"), fold(code, "clientsubmission"),
		fold(code, "transfer"), fold(code, "expand"), fold(code, "redirect"), fold(code, "resolve"), fold(code, "resubmit"),
		fold(code, "hareceive"), fold(code, "haredirect"), fold(code, "duplicatedeliver"), fold(code, "duplicateexpand"),
		fold(code, "duplicateredirect"), fold(code, "moderatorapprove"), fold(code, "processmeetingmessage"), fold(code, "process"):
		return x.success
	case fold(code, "fail"), fold(code, "badmail"), fold(code, "drop"), fold(code, "poisonmessage"), fold(code, "deliverfail"),
		fold(code, "submitfail"), fold(code, "resubmitfail"), fold(code, "haredirectfail"), fold(code, "moderatorreject"),
		fold(code, "moderationexpire"), fold(code, "moderatorsallndr"):
		return x.failure
	}
	return x.unknown
}

func (x *exchangeTracking) origins() []Origin {
	return []Origin{
		{"@timestamp", "date-time"}, {"source.ip", "original-client-ip"}, {"source.ip", "client-ip"}, {"source.bytes", "total-bytes"},
		{"event.code", "event-id"}, {"event.outcome", "event-id"}, {"email.message_id", "message-id"},
		{"email.from.address", "sender-address"}, {"email.to.address", "recipient-address"}, {"email.subject", "message-subject"},
		{"email.direction", "directionality"}, {"email.direction", "internal_domains"},
	}
}

// rfc4180 cuts a line of separated values as RFC 4180 says, spaces being part of a field. It answers false where the quotes do
// not add up.
func (f *fieldCutter) rfc4180(b []byte, separator byte) bool {
	f.n = 0
	for i := 0; ; i++ {
		start := i
		var end int
		if i < len(b) && b[i] == '"' {
			start++
			for i = start; ; i += 2 {
				at := bytes.IndexByte(b[i:], '"')
				if at < 0 {
					return false
				}
				if i += at; i+1 >= len(b) || b[i+1] != '"' {
					break
				}
			}
			if end, i = i, i+1; i < len(b) && b[i] != separator {
				return false
			}
		} else {
			for i < len(b) && b[i] != separator {
				i++
			}
			end = i
		}
		if !f.add(start, end) || i >= len(b) {
			return true
		}
	}
}

func exchangeTrackingFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "exchange_msgtrk_csv", About: "Exchange message tracking, 2007 and later (layouts 2007, 2010, 2013, 2016, 2019)", Kind: Mail, Remembers: true,
			Takes: []string{NeedColumns, NeedLayout},
		},
		build: func(o Options) (lineFormat, error) { return newExchangeTracking(o) },
	}
}
