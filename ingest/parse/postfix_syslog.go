package parse

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"time"
	"unicode/utf8"
)

// postfix reads the mail log of Postfix, behind a syslog header (RFC 3164, also with an RFC 3339 time; RFC 5424).
//
// Every line about a message is an event: one that names a queue id, or that refuses a message before it had one (NOQUEUE,
// proxy-reject). What the line says itself is filled up with what earlier lines of the same host and queue id said:
//
//	smtpd    client=, sasl_username=         source.ip, user.name
//	pickup   uid=, from=                     email.from.address
//	cleanup  message-id=                     email.message_id
//	cleanup  info: header Subject: (where header_checks log it)   email.subject
//	qmgr     from=, size=, status=expired    email.from.address, source.bytes
//	smtp, lmtp, local, virtual, pipe, error  to=, status=: email.to.address, event.code
//	qmgr     removed                         ends it
//
// Of these events only deliveries and refusals are more than a Trace. event.code is status= or the word of the refusal (reject,
// milter-reject, discard ...); event.outcome: success for sent, failure for bounced, expired and refusals, else unknown.
// Lines of Postfix about no message (connect, statistics, warning), and those of other mail programs in the same log, are
// nothing; lines of any other program are rejected.
//
// Counting: the first delivery of a message that ends (sent, bounced, expired) has Count 1, its next recipients Count 0;
// deferred is a Trace, for it comes again. A content filter gives one message two queue ids: handing it to a filter on this
// host (a loopback relay that answers "queued as") is a Trace, and so is a delivery under a queue id that came back from the
// filter, or that an earlier one was "queued as", if that one was counted. A message is known by its message-id for this. Each
// refusal has Count 1: no queue id ties those of one message together. A recipient outside that came of "forwarded as", or of
// an orig_to= of ours, is Event.Forwarded, by the recipient that was forwarded or by orig_to=; without Options.InternalDomains the
// first is, wherever it leads, and the second only has its Forwarder.
//
// Short queue ids are used again soon: client=, uid= and another message-id begin a new message. The state is bounded by
// Options.OpenMessages; JoinsOf counts what fell out of it. A delivery whose beginning fell out, or is in no line that
// this parser saw, is an event with what its own line says.
//
// A time without a year is the latest such day that is at most a day ahead of Options.Now; its zone is Options.Zone.
//
// Sources: https://www.postfix.org/postconf.5.html (enable_long_queue_ids, header_checks, smtpd_client_port_logging),
// https://www.postfix.org/OVERVIEW.html and https://www.postfix.org/FILTER_README.html.
type postfix struct {
	mailReader
	stamps stampReader
	now    func() time.Time
	day    [6]byte // month and day whose year was told last
	days   int64
	hour   int64 // of the clock, when it was
	joins  postfixJoins
}

// refusal knows the words with which Postfix logs what its rules did: said is false for anything else, final says that the
// message was not taken.
func refusal(word []byte) (said, final bool) {
	switch string(word) {
	case "reject", "milter-reject", "proxy-reject", "discard", "milter-discard":
		return true, true
	case "hold", "milter-hold", "warn", "warning", "reject_warning", "info", "prepend", "replace", "redirect", "filter", "bcc", "strip",
		"delay", "proxy-accept", "pass", "dunno", "milter-replace", "milter-insert":
		return true, false
	}
	return false, false
}

func (p *postfix) read(line []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Mail
	line = bytes.TrimPrefix(line, []byte(utf8BOM))
	h, msg, rest, ok := cutSyslog(line)
	if !ok {
		return ForeignLine, ""
	}
	if !postfixProgram(h.app) {
		// a relay may put its own header before the first one
		inner, text, _, nested := cutSyslog(rest)
		if !nested || inner.stamp == nil {
			inner, text, _, nested = cutSyslog(msg)
		}
		if nested && inner.stamp != nil && inner.app != nil {
			h, msg = inner, text
		}
		switch {
		case postfixProgram(h.app):
		case mailProgram(h.app):
			return skip, ""
		default:
			return ForeignLine, ""
		}
	}
	id, text := queueID(msg)
	word, said := []byte(nil), text
	if id == nil {
		text = msg
	}
	if colon := bytes.IndexByte(text[:min(len(text), 20)], ':'); colon > 0 {
		word, said = text[:colon], text[colon+1:]
	}
	known, final := refusal(word)
	if id == nil && (!known || !bytes.Contains(said, []byte("; from=<")) && !bytes.Contains(said, []byte("; to=<"))) {
		return skip, ""
	}
	if e.Time, ok = p.stamp(h.stamp); !ok {
		return BadTime, "@timestamp"
	}
	e.QueueID = id
	e.Outcome = p.unknown
	e.Count, e.Trace = 0, true
	if len(id) == 0 || fold(id, "noqueue") {
		p.joins.none()
	} else {
		p.joins.open(h.host, id, e.Time)
	}
	switch {
	case known:
		p.ruled(e, s, word, said, final)
	case starts(text, "client="):
		p.taken(e, text[len("client="):])
	case starts(text, "uid="):
		p.joins.begin(e.Time)
		if m := p.joins.at; m != nil {
			m.back = true
		}
		if from := bytes.Index(text, []byte(" from=<")); from >= 0 {
			e.From, _ = pathOf(text[from+len(" from="):])
			p.joins.keep(partFrom, e.From, e.Time)
		}
	case starts(text, "message-id="):
		if e.MessageID = messageID(text[len("message-id="):]); e.MessageID != nil {
			p.joins.message(e.MessageID, e.Time)
		}
	case starts(text, "resent-message-id="):
		e.MessageID = messageID(text[len("resent-message-id="):])
	case starts(text, "from="):
		if reason, field := p.queued(e, id, text[len("from="):]); reason != "" {
			return reason, field
		}
	case starts(text, "to="):
		p.delivered(e, id, text[len("to="):])
	case string(text) == "removed":
		// the event must not show memory that is cleared here
		p.joins.remove()
	}
	p.joins.fill(e)
	p.direct(e, nil)
	return "", ""
}

// taken reads what smtpd says of the client: host[address]:port, sasl_method=, sasl_username=, orig_queue_id=, orig_client=.
func (p *postfix) taken(e *Event, text []byte) {
	p.joins.begin(e.Time)
	name, list := cutComma(text)
	e.SourceIP, _ = peer(name)
	back := e.SourceIP.IsLoopback()
	for len(list) > 0 {
		var item []byte
		item, list = cutComma(list)
		switch {
		case starts(item, "sasl_username="):
			if e.User = present(item[len("sasl_username="):]); e.User != nil {
				p.joins.keep(partUser, e.User, e.Time)
			}
		case starts(item, "orig_queue_id="):
			back = true
		case starts(item, "orig_client="):
			if addr, ok := peer(item[len("orig_client="):]); ok {
				e.SourceIP = addr
			}
		}
	}
	if m := p.joins.at; m != nil {
		m.back, m.client = back, e.SourceIP
	}
}

// queued reads what qmgr says of a message: <sender>, size=, nrcpt=, or status=expired.
func (p *postfix) queued(e *Event, id, text []byte) (Reason, string) {
	var list []byte
	if e.From, list = pathOf(text); e.From == nil {
		return Truncated, "email.from.address"
	}
	p.joins.keep(partFrom, e.From, e.Time)
	for len(list) > 0 {
		var item []byte
		item, list = cutComma(list)
		switch {
		case starts(item, "size="):
			value, _ := token(item[len("size="):], 0)
			n, ok := decimal(value)
			if !ok {
				return BadNumber, "source.bytes"
			}
			e.SourceBytes = n
			if m := p.joins.entry(e.Time); m != nil {
				m.bytes = n
			}
		case starts(item, "status="):
			e.Code, _ = token(item[len("status="):], 0)
			p.end(e, id, nil, nil)
		}
	}
	return "", ""
}

// delivered reads what a delivery agent says: <recipient>, orig_to=, relay=, delay=, delays=, dsn=, status=word (text).
func (p *postfix) delivered(e *Event, id, text []byte) {
	to, list := pathOf(text)
	if len(to) > 0 {
		e.To = append(e.To, to)
	}
	var relay, reply, orig []byte
	for len(list) > 0 {
		if starts(list, "status=") {
			var next int
			e.Code, next = token(list, len("status="))
			reply = list[next:]
			break
		}
		var item []byte
		item, list = cutComma(list)
		switch {
		case starts(item, "relay="):
			relay = item[len("relay="):]
		case starts(item, "orig_to="):
			orig = present(mailbox(item[len("orig_to="):]))
		}
	}
	p.joins.met()
	ended, came := p.end(e, id, relay, reply)
	if !ended {
		return
	}
	// an alias within the organisation looks the same as a forwarding: only our own domains tell
	switch {
	case orig != nil:
		e.Forwarded, e.Forwarder = came || p.ours(orig), orig
	case came:
		e.Forwarded, e.Forwarder = true, p.joins.owner()
	}
	if len(p.own) > 0 && p.ours(to) {
		e.Forwarded, e.Forwarder = false, nil
	}
}

// end judges e.Code, the status of a delivery, and counts the message. It answers whether the delivery is over, and whether the
// message came by forwarding and was not forwarded further.
func (p *postfix) end(e *Event, id, relay, reply []byte) (ended, came bool) {
	switch string(e.Code) {
	case "sent":
		e.Outcome = p.success
	case "bounced", "expired", "force-expired":
		e.Outcome = p.failure
	case "deliverable":
		e.Outcome = p.success
		return false, false // a probe of an address is no message
	case "undeliverable":
		e.Outcome = p.failure
		return false, false
	default:
		return false, false
	}
	next, forwarded := nextID(reply)
	// what is handed to a content filter on this host is handed back
	if addr, ok := peer(relay); !ok || !addr.IsLoopback() || next == nil || forwarded {
		e.Count, e.Trace, came = p.joins.count(id, e.Time)
	}
	if next != nil {
		p.joins.next(next, forwarded, e.Time)
	}
	if forwarded && len(e.To) > 0 {
		p.joins.forward(next, e.To[0], e.Time)
	}
	// the recipient that a forwarding leads to is the one of the next queue id
	return true, came && !forwarded
}

// nextID answers the queue id in "... queued as ID)" or "(forwarded as ID)", or nil.
func nextID(reply []byte) (id []byte, forwarded bool) {
	at := bytes.LastIndex(reply, []byte("queued as "))
	if at < 0 {
		if at = bytes.LastIndex(reply, []byte("(forwarded as ")); at < 0 {
			return nil, false
		}
		forwarded = true
		at += len("(forwarded as ")
	} else {
		at += len("queued as ")
	}
	end := at
	for end < len(reply) && alphanumeric(reply[end]) {
		end++
	}
	if end == at {
		return nil, false
	}
	return reply[at:end], forwarded
}

// ruled reads what a rule did: "word: STAGE from host[address]: text; from=<sender> to=<recipient> proto= helo=", and "word:
// header Subject: text from host[address]; from=<sender> ...".
func (p *postfix) ruled(e *Event, s *scratch, word, text []byte, final bool) {
	text = trimLeft(text)
	e.Code = word
	switch {
	case final:
		e.Outcome, e.Count, e.Trace = p.failure, 1, false
	case string(word) == "proxy-accept":
		e.Outcome = p.success
	}
	// what stands behind helo= is the client's to choose, and so is much of what stands before from=
	head := text
	if helo := bytes.LastIndex(text, []byte(" helo=<")); helo >= 0 {
		head = text[:helo]
	}
	at := bytes.LastIndex(head, []byte("; from=<"))
	if at < 0 {
		at = bytes.LastIndex(head, []byte("; to=<"))
	}
	if at >= 0 {
		list := head[at+2:]
		head = head[:at]
		if starts(list, "from=") {
			e.From, list = pathOf(list[len("from="):])
			list = bytes.TrimPrefix(trimLeft(list), []byte(","))
			p.joins.keep(partFrom, e.From, e.Time)
		}
		if list = trimLeft(list); starts(list, "to=") {
			if to, _ := pathOf(list[len("to="):]); len(to) > 0 {
				e.To = append(e.To, to)
			}
		}
	}
	from := bytes.Index(head, []byte(" from "))
	if foldStarts(head, "header ") {
		from = bytes.LastIndex(head, []byte(" from "))
		if name := head[len("header "):]; foldStarts(name, "subject:") && at >= 0 && from >= len("header subject:") {
			subject := trimLeft(head[len("header subject:"):max(from, len("header subject:"))])
			e.Subject = s.decodedWords(subject)
			p.joins.keep(partSubject, e.Subject, e.Time)
		}
	}
	if from >= 0 {
		if addr, ok := peer(head[from+len(" from "):]); ok {
			e.SourceIP = addr
		}
	}
}

// stamp reads the time of a syslog header.
func (p *postfix) stamp(b []byte) (ms int64, ok bool) {
	if len(b) < len("Jan 1 00:00:00") {
		return 0, false
	}
	if b[0]-'0' <= 9 {
		ms, _, ok = p.stamps.stamp(b)
		return ms, ok
	}
	i := 4
	day, taken := digits(b, i, 2)
	i += taken + 1
	year := -1
	if i+4 < len(b) && b[i+4] == ' ' && two(b, i) >= 0 && two(b, i+2) >= 0 {
		year = two(b, i)*100 + two(b, i+2)
		i += 5
	}
	if i > len(b) {
		return 0, false
	}
	ofDay, n := dayTime(b[i:])
	if n == 0 {
		return 0, false
	}
	if i += n; i+5 <= len(b) && b[i] == ' ' && two(b, i+1) >= 0 && two(b, i+3) >= 0 {
		year = two(b, i+1)*100 + two(b, i+3)
	}
	var days int64
	if year >= 0 {
		days, ok = date(year, monthNumber(b), day)
	} else {
		days, ok = p.yearless(b, day)
	}
	if !ok {
		return 0, false
	}
	return p.stamps.local(days*86_400_000 + ofDay)
}

// yearless answers the latest day of a month and day that is at most a day ahead of now.
func (p *postfix) yearless(b []byte, day int) (days int64, ok bool) {
	latest := p.now().UTC().Add(24 * time.Hour)
	if p.days > 0 && p.day == [6]byte(b[:6]) && p.hour == latest.Unix()/3600 {
		return p.days, true
	}
	month := monthNumber(b)
	// a 29 February is at most eight years apart from the next
	for year := latest.Year(); year > latest.Year()-9; year-- {
		if days, ok = date(year, month, day); ok && days*86400 <= latest.Unix() {
			p.day, p.days, p.hour = [6]byte(b[:6]), days, latest.Unix()/3600
			return days, true
		}
	}
	return 0, false
}

// maxQueueID is more than the longest queue id: 6 or more letters for the seconds, 4 for the microseconds, a z and the inode.
const maxQueueID = 64

// queueID answers the queue id at the beginning of a message, NOQUEUE among them, and the text behind it; nil where there is
// none. Short ids are capital hexadecimal digits; long ones have at least 12 letters and digits.
func queueID(msg []byte) (id, text []byte) {
	hex, n := true, 0
	for n < len(msg) && n <= maxQueueID && alphanumeric(msg[n]) {
		if c := msg[n]; c > 'F' {
			hex = false
		}
		n++
	}
	if n > maxQueueID || n+1 >= len(msg) || msg[n] != ':' || msg[n+1] != ' ' {
		return nil, nil
	}
	if id = msg[:n]; hex && n >= 5 || n >= 12 || string(id) == "NOQUEUE" {
		return id, msg[n+2:]
	}
	return nil, nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// postfixProgram says whether a syslog tag is one of Postfix: postfix/smtpd, postfix-in/qmgr, postfix/submission/smtpd, or
// another syslog_name before one of its daemons.
func postfixProgram(app []byte) bool {
	if starts(app, "postfix") {
		return true
	}
	slash := bytes.LastIndexByte(app, '/')
	if slash < 0 {
		return false
	}
	switch string(app[slash+1:]) {
	case "smtpd", "cleanup", "qmgr", "oqmgr", "smtp", "lmtp", "local", "virtual", "pipe", "error", "retry", "discard", "bounce", "pickup",
		"postscreen", "postsuper", "postdrop", "trivial-rewrite", "anvil", "scache", "tlsproxy", "verify", "flush", "dnsblog":
		return true
	}
	return false
}

// mailProgram says whether a syslog tag is one of the programs that write into the same log as Postfix.
func mailProgram(app []byte) bool {
	for _, name := range [...]string{
		"dovecot", "amavis", "opendkim", "opendmarc", "spamd", "spamass", "clamd", "clamav", "clamsmtp", "freshclam", "rspamd", "postgrey",
		"policyd", "policy", "postsrsd", "saslauthd", "imapd", "pop3d", "cyrus", "mailman", "sendmail", "milter", "mail", "openarc", "pypolicyd",
	} {
		if starts(app, name) {
			return true
		}
	}
	return false
}

// pathOf answers the address at the beginning of b, without its brackets, and what follows it and a comma. It is nil where a
// bracket is never closed.
func pathOf(b []byte) (path, rest []byte) {
	if len(b) == 0 || b[0] != '<' {
		return cutComma(b)
	}
	i := 1
	if i < len(b) && b[i] == '"' {
		if end := quotedEnd(b, i+1); end >= 0 {
			i = end
		}
	}
	end := bytes.IndexByte(b[i:], '>')
	if end < 0 {
		return nil, nil
	}
	path, rest = b[1:i+end], b[i+end+1:]
	return path, bytes.TrimPrefix(rest, []byte(", "))
}

// cutComma cuts b at its first comma and space.
func cutComma(b []byte) (item, rest []byte) {
	for i := 0; i+1 < len(b); i++ {
		if b[i] == ',' && b[i+1] == ' ' {
			return b[:i], b[i+2:]
		}
	}
	return b, nil
}

// peer reads the address in "host[address]", with or without a port, at the beginning of b.
func peer(b []byte) (netip.Addr, bool) {
	open := -1
	for i, c := range b {
		switch c {
		case ' ':
			return netip.Addr{}, false
		case '[':
			open = i
		case ']':
			if open < 0 {
				return netip.Addr{}, false
			}
			return address(b[open+1 : i])
		}
	}
	return netip.Addr{}, false
}

func (p *postfix) origins() []Origin {
	return []Origin{
		{"@timestamp", "syslog header"}, {"postfix.queue_id", "queue id"}, {"source.ip", "client="}, {"source.ip", "orig_client="},
		{"user.name", "sasl_username="}, {"email.message_id", "message-id="}, {"email.from.address", "from="},
		{"email.to.address", "to="}, {"source.bytes", "size="}, {"email.subject", "header Subject:"}, {"event.code", "status="},
		{"event.code", "reject: and the like"}, {"event.outcome", "status="}, {"email.direction", "internal_domains"},
	}
}

func postfixFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "postfix_syslog", About: "Postfix, the lines of a message joined by its queue id", Kind: Mail, Remembers: true},
		whole:      true,
		build: func(o Options) (lineFormat, error) {
			m, err := newMailReader(o)
			if err != nil {
				return nil, err
			}
			joins, err := newPostfixJoins(o.OpenMessages)
			if err != nil {
				return nil, err
			}
			p := &postfix{mailReader: m, stamps: newStampReader(o.Zone), now: o.Now, joins: joins}
			if p.now == nil {
				p.now = time.Now
			}
			return p, nil
		},
	}
}

// decodedWords answers b with its RFC 2047 encoded words decoded: b itself where it has none, and a word as it is where its
// charset is neither UTF-8 nor Latin-1 (or ASCII, a part of both).
//
// Source: https://www.rfc-editor.org/rfc/rfc2047.
func (s *scratch) decodedWords(b []byte) []byte {
	first := bytes.Index(b, []byte("=?"))
	if first < 0 {
		return b
	}
	// a Latin-1 byte, of which base64 has 3 in 4 bytes, is two in UTF-8
	start := s.start(2 * len(b))
	s.buf = append(s.buf, b[:first]...)
	decoded := false // the text before ends in an encoded word
	for i := first; i < len(b); {
		end, ok := s.decodedWord(b[i:])
		if ok {
			i += end
			decoded = true
			continue
		}
		if decoded && b[i] == ' ' {
			// white space between two encoded words is no part of the text
			gap := len(b[i:]) - len(trimLeft(b[i:]))
			if end, ok = s.decodedWord(b[i+gap:]); ok {
				i += gap + end
				continue
			}
		}
		decoded = false
		s.buf = append(s.buf, b[i])
		i++
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}

// decodedWord appends the encoded word at the beginning of b to s, and answers its length.
func (s *scratch) decodedWord(b []byte) (n int, ok bool) {
	if !starts(b, "=?") {
		return 0, false
	}
	// an encoded word has 75 characters at most; some writers do not know
	b = b[:min(len(b), 1024)]
	charset, rest, ok := bytes.Cut(b[2:], []byte("?"))
	if !ok || len(rest) < 2 || rest[1] != '?' {
		return 0, false
	}
	text, _, ok := bytes.Cut(rest[2:], []byte("?="))
	if !ok || bytes.IndexByte(text, ' ') >= 0 {
		return 0, false
	}
	latin1 := fold(charset, "iso-8859-1") || fold(charset, "iso-8859-15") || fold(charset, "windows-1252")
	if !latin1 && !fold(charset, "utf-8") && !fold(charset, "us-ascii") {
		return 0, false
	}
	n = 2 + len(charset) + 3 + len(text) + 2
	put := func(c byte) {
		if latin1 && c >= utf8.RuneSelf {
			s.buf = utf8.AppendRune(s.buf, rune(c))
		} else {
			s.buf = append(s.buf, c)
		}
	}
	switch rest[0] {
	case 'q', 'Q':
		for i := 0; i < len(text); i++ {
			c := text[i]
			if c == '_' {
				c = ' '
			} else if c == '=' && i+2 < len(text) {
				if hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2]); hi < 16 && lo < 16 {
					c, i = hi<<4|lo, i+2
				}
			}
			put(c)
		}
	case 'b', 'B':
		var three [3]byte
		text = bytes.TrimRight(text, "=")
		for len(text) > 0 {
			four := text[:min(4, len(text))]
			text = text[len(four):]
			got, err := base64.RawStdEncoding.Decode(three[:], four)
			if err != nil {
				return n, true // as far as it could be read
			}
			for _, c := range three[:got] {
				put(c)
			}
		}
	default:
		return 0, false
	}
	return n, true
}
