package parse

import "bytes"

// rspamdJSON reads what rspamd tells of messages: its history (/history's {"rows":[…]}, and what the history_redis module keeps),
// the JSON of its metadata_exporter, and rows of its ClickHouse table as JSON (JSONEachRow, or {"data":[…]}).
//
// The envelope's sender is preferred to the From header, the envelope's recipients to the header's. event.code is the action;
// event.outcome is success where the message went on (no action, add header, rewrite subject), failure where it did not
// (reject, discard, quarantine), and unknown where it may come again (greylist, soft reject). ClickHouse's rows have a
// sender's two halves in two columns (FromUser, From); its times name no zone and are UTC, unless Options.Zone says otherwise.
// A subject that rspamd has hidden (subject_privacy) reads as rspamd wrote it. A message of a signed-in user without
// Options.InternalDomains is outbound, any other has no direction.
//
// Sources: https://docs.rspamd.com/modules/history_redis/, https://docs.rspamd.com/modules/metadata_exporter/ and
// https://docs.rspamd.com/modules/clickhouse/.
type rspamdJSON struct {
	stamps stampReader
	mail   mailReader
	said   []byte
}

const (
	rsTime jsonSlot = iota
	rsMessageID
	rsSender
	rsHeaderSender
	rsRecipients
	rsHeaderRecipients
	rsSubject
	rsSize
	rsAction
	rsIP
	rsUser
	rsFromDomain
	rsFromUser
	rsMIMEDomain
	rsMIMEUser
	rsQueueID
)

func newRspamdJSON(o Options) (jsonFormat, error) {
	mail, err := newMailReader(o)
	return &rspamdJSON{stamps: newStampReader(o.Zone), mail: mail, said: []byte("outbound")}, err
}

func (f *rspamdJSON) schema() jsonSchema {
	return jsonSchema{
		slots: map[string]jsonSlot{
			"unix_time": rsTime, "time_real": rsTime, "TS": rsTime, "timestamp": rsTime, "time": rsTime, "@timestamp": rsTime,
			"message-id": rsMessageID, "message_id": rsMessageID, "MessageId": rsMessageID, "id": rsMessageID,
			"sender_smtp": rsSender, "from": rsSender, "sender_mime": rsHeaderSender, "header_from": rsHeaderSender,
			"rcpt_smtp": rsRecipients, "rcpt": rsRecipients, "SMTPRecipients": rsRecipients,
			"rcpt_mime": rsHeaderRecipients, "header_to": rsHeaderRecipients, "MimeRecipients": rsHeaderRecipients,
			"subject": rsSubject, "header_subject": rsSubject, "Subject": rsSubject, "size": rsSize, "Size": rsSize, "action": rsAction, "Action": rsAction,
			"ip": rsIP, "IP": rsIP, "user": rsUser, "AuthUser": rsUser,
			"From": rsFromDomain, "FromUser": rsFromUser, "MimeFrom": rsMIMEDomain, "MimeUser": rsMIMEUser, "qid": rsQueueID,
		},
		lists: map[string]bool{"rows": true, "data": true},
	}
}

func (f *rspamdJSON) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	e.Kind = Mail
	e.Code = present(o.text(rsAction, s))
	at := present(o.text(rsTime, s))
	if at == nil || e.Code == nil && !o.has(rsMessageID) {
		return ForeignLine, "@timestamp"
	}
	var ok bool
	if e.Time, ok = jsonTime(&f.stamps, at); !ok {
		return BadTime, "@timestamp"
	}
	if ip := o.text(rsIP, s); !fold(ip, "unknown") && !fold(ip, "undef") {
		if e.SourceIP, ok = client(ip); !ok {
			return BadAddress, "source.ip"
		}
		e.SourceIP = someone(e.SourceIP)
	}
	if e.SourceBytes, ok = size(o.text(rsSize, s)); !ok {
		return BadNumber, "source.bytes"
	}
	if id := o.text(rsMessageID, s); !fold(id, "undef") && !fold(id, "unknown") {
		e.MessageID = messageID(id)
	}
	if qid := o.text(rsQueueID, s); !fold(qid, "unknown") {
		e.QueueID = present(qid)
	}
	e.User = person(o.text(rsUser, s))
	f.people(o, e, s)
	if e.Code == nil && e.MessageID == nil && e.From == nil && len(e.To) == 0 {
		return ForeignLine, ""
	}
	if e.Subject = o.text(rsSubject, s); len(e.Subject) == 0 || fold(e.Subject, "unknown") {
		e.Subject = nil
	}
	switch {
	case fold(e.Code, "no action"), fold(e.Code, "add header"), fold(e.Code, "rewrite subject"), fold(e.Code, "accept"):
		e.Outcome = f.mail.success
	case fold(e.Code, "reject"), fold(e.Code, "discard"), fold(e.Code, "quarantine"), fold(e.Code, "drop"):
		e.Outcome = f.mail.failure
	default:
		e.Outcome = f.mail.unknown
	}
	var said []byte
	if e.User != nil && len(f.mail.own) == 0 {
		said = f.said
	}
	f.mail.direct(e, said)
	return "", ""
}

// people reads the sender and the recipients.
func (f *rspamdJSON) people(o *jsonObject, e *Event, s *scratch) {
	for _, from := range [...]struct{ whole, user, domain jsonSlot }{
		{rsSender, rsFromUser, rsFromDomain}, {rsHeaderSender, rsMIMEUser, rsMIMEDomain},
	} {
		for v := range o.all(from.whole) {
			if text := s.json(v); e.From == nil && text != nil && !fold(text, "unknown") {
				e.From = headerAddress(text)
			}
		}
		if user, domain := o.text(from.user, s), o.text(from.domain, s); e.From == nil && user != nil && domain != nil {
			if len(user) == 0 || len(domain) == 0 {
				e.From = user[:0]
			} else {
				start := s.start(len(user) + 1 + len(domain))
				s.buf = append(append(append(s.buf, user...), '@'), domain...)
				e.From = s.buf[start:len(s.buf):len(s.buf)]
			}
		}
	}
	for _, slot := range [...]jsonSlot{rsRecipients, rsHeaderRecipients} {
		if len(e.To) > 0 {
			break
		}
		for v := range o.all(slot) {
			to := s.json(v)
			if fold(to, "unknown") {
				continue
			}
			if bytes.IndexByte(to, '<') >= 0 {
				to = headerAddress(to)
			}
			recipients(to, ',', e)
		}
	}
}

// headerAddress answers the address in a header's `Name <address>`, or b without the spaces around it. The null sender is
// empty, not nil.
func headerAddress(b []byte) []byte {
	if b = bytes.Trim(b, " \t"); b == nil {
		b = []byte{}
	}
	if open := bytes.LastIndexByte(b, '<'); open >= 0 {
		if end := indexByte(b[open:], '>'); end > 0 {
			return b[open+1 : open+end]
		}
	}
	return b
}

func (f *rspamdJSON) origins() []Origin {
	return []Origin{
		{"@timestamp", "unix_time"}, {"@timestamp", "TS"}, {"source.ip", "ip"}, {"user.name", "user"}, {"email.message_id", "message-id"},
		{"email.from.address", "sender_smtp"}, {"email.from.address", "FromUser@From"}, {"email.from.address", "sender_mime"},
		{"email.to.address", "rcpt_smtp"}, {"email.to.address", "rcpt_mime"}, {"email.subject", "subject"}, {"source.bytes", "size"},
		{"event.code", "action"}, {"event.outcome", "action"}, {"postfix.queue_id", "qid"},
	}
}

func rspamdJSONFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "rspamd_json", About: "rspamd's history, metadata export and ClickHouse rows, JSON", Kind: Mail, Takes: []string{NeedZone, NeedInternalDomains}},
		document:   newRspamdJSON,
	}
}
