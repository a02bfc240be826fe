package parse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ndjson reads JSON of no vendor: one object a line (https://github.com/ndjson/ndjson-spec), or many in an array, of a proxy or
// of a mail server. Its fields have the names of the Elastic Common Schema, as nested objects, with points in the names, or
// both. Options.Columns says otherwise: each is a pair ecs.name=path, and where a name is given its path replaces the name's
// own. An object with any email field but none of a URL is a mail.
//
// @timestamp is RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970. url.domain comes from url.domain,
// else from url.original or url.full, else from destination.domain. event.duration is in nanoseconds, as ECS has it.
// source.bytes and destination.bytes may be http.request.bytes and http.response.bytes. event.action is read by its first
// letters: allow, permit, pass, and block, den(y), drop, reject; what it means can also be told by event.outcome of a proxy's
// event (success, failure). email.from.address, "" being the null sender, and email.to.address are texts or lists of them.
//
// Source: https://www.elastic.co/docs/reference/ecs/ecs-field-reference.
type ndjson struct {
	stamps stampReader
	mail   mailReader
	slots  map[string]jsonSlot
	paths  [ndSlots]string
}

const (
	ndTime jsonSlot = iota
	ndSourceIP
	ndSourcePort
	ndUser
	ndUserEmail
	ndMethod
	ndScheme
	ndDomain
	ndPort
	ndPath
	ndQuery
	ndURL
	ndDestinationDomain
	ndReferrer
	ndAgent
	ndStatus
	ndAction
	ndOutcome
	ndCode
	ndDestinationIP
	ndDestinationBytes
	ndSourceBytes
	ndDuration
	ndMIME
	ndCount
	ndMessageID
	ndFrom
	ndTo
	ndSubject
	ndDirection
	ndQueueID
	ndResponseBytes
	ndRequestBytes
	ndClientIP
	ndSlots
)

// ndNames are the names of ECS by slot; the first is the one that explanations show.
func ndNames() [ndSlots][]string {
	return [ndSlots][]string{
		ndTime: {"@timestamp"}, ndSourceIP: {"source.ip"}, ndSourcePort: {"source.port", "client.port"},
		ndUser: {"user.name", "source.user.name", "client.user.name"}, ndUserEmail: {"user.email", "user.id"},
		ndMethod: {"http.request.method"}, ndScheme: {"url.scheme"}, ndDomain: {"url.domain"}, ndPort: {"url.port"}, ndPath: {"url.path"},
		ndQuery: {"url.query"}, ndURL: {"url.full", "url.original"}, ndDestinationDomain: {"destination.domain", "server.domain", "destination.address"},
		ndReferrer: {"http.request.referrer"}, ndAgent: {"user_agent.original"}, ndStatus: {"http.response.status_code"}, ndAction: {"event.action"},
		ndOutcome: {"event.outcome"}, ndCode: {"event.code"}, ndDestinationIP: {"destination.ip", "server.ip"},
		ndDestinationBytes: {"destination.bytes"}, ndSourceBytes: {"source.bytes"}, ndDuration: {"event.duration"},
		ndMIME: {"http.response.mime_type"}, ndCount: {"event.count"}, ndMessageID: {"email.message_id"}, ndFrom: {"email.from.address"},
		ndTo: {"email.to.address"}, ndSubject: {"email.subject"}, ndDirection: {"email.direction"}, ndQueueID: {"postfix.queue_id"},
		ndResponseBytes: {"http.response.bytes", "http.response.body.bytes"}, ndRequestBytes: {"http.request.bytes", "http.request.body.bytes"},
		ndClientIP: {"client.ip", "client.address", "source.address"},
	}
}

func newNDJSON(o Options) (jsonFormat, error) {
	mail, err := newMailReader(o)
	f := &ndjson{stamps: newStampReader(o.Zone), mail: mail, slots: map[string]jsonSlot{}}
	faults := []error{err}
	names := ndNames()
	mapped := map[jsonSlot]bool{}
	for _, pair := range o.Columns {
		name, path, ok := strings.Cut(pair, "=")
		name, path = strings.TrimSpace(name), strings.TrimPrefix(strings.TrimSpace(path), ".")
		slot := slices.IndexFunc(names[:], func(list []string) bool { return slices.Contains(list, name) })
		switch {
		case !ok || path == "":
			faults = append(faults, fmt.Errorf("column %q is no pair of a field and a path: write it as user.name=path.to.it", pair))
			continue
		case slot < 0:
			faults = append(faults, fmt.Errorf("column %q: there is no field %q to read: the names are those that 'tillsyn parse --all' prints", pair, name))
			continue
		}
		if have, taken := f.slots[path]; taken && have != slot {
			faults = append(faults, fmt.Errorf("column %q: the path %q is read for another field already", pair, path))
			continue
		}
		f.slots[path], f.paths[slot], mapped[slot] = slot, path, true
	}
	for slot, list := range names {
		if mapped[slot] {
			continue
		}
		f.paths[slot] = list[0]
		for _, name := range list {
			if _, taken := f.slots[name]; !taken {
				f.slots[name] = slot
			}
		}
	}
	return f, errors.Join(faults...)
}

func (f *ndjson) schema() jsonSchema {
	slots := map[string]jsonSlot{}
	for path, slot := range f.slots {
		slots[path] = slot
	}
	return jsonSchema{slots: slots, generic: true}
}

func (f *ndjson) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	reason := f.when(o, e, s)
	if reason != "" {
		return reason, "@timestamp"
	}
	var ok bool
	from := present(o.text(ndSourceIP, s))
	if from == nil {
		from = o.text(ndClientIP, s)
	}
	if e.SourceIP, ok = client(from); !ok {
		return BadAddress, "source.ip"
	}
	if v := present(o.text(ndSourcePort, s)); v != nil {
		if e.SourcePort, ok = port(v); !ok {
			return BadNumber, "source.port"
		}
	}
	if e.DestinationIP, ok = client(o.text(ndDestinationIP, s)); !ok {
		return BadAddress, "destination.ip"
	}
	if e.SourceBytes, ok = f.size(o, ndSourceBytes, ndRequestBytes, s); !ok {
		return BadNumber, "source.bytes"
	}
	if e.DestinationBytes, ok = f.size(o, ndDestinationBytes, ndResponseBytes, s); !ok {
		return BadNumber, "destination.bytes"
	}
	if e.Count, ok = countOf(o.text(ndCount, s)); !ok {
		return BadNumber, "event.count"
	}
	if e.User = person(o.text(ndUser, s)); e.User == nil {
		e.User = person(o.text(ndUserEmail, s))
	}
	e.Code = present(o.text(ndCode, s))
	if f.isMail(o) {
		return f.letter(o, e, s)
	}
	e.Kind = Web
	e.Method, e.Scheme = present(o.text(ndMethod, s)), present(o.text(ndScheme, s))
	if e.Status, ok = replied(o.text(ndStatus, s)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if v := present(o.text(ndDuration, s)); v != nil {
		nanoseconds, ok := decimal(v)
		if !ok {
			return BadNumber, "event.duration"
		}
		e.Duration = time.Duration(nanoseconds)
	}
	e.Referrer, e.UserAgent = present(o.text(ndReferrer, s)), present(o.text(ndAgent, s))
	e.MIME = mimeType(o.text(ndMIME, s))
	action := o.text(ndAction, s)
	switch {
	case foldStarts(action, "allow"), foldStarts(action, "permit"), foldStarts(action, "pass"), foldStarts(action, "accept"):
		e.Action = Allowed
	case foldStarts(action, "block"), foldStarts(action, "den"), foldStarts(action, "drop"), foldStarts(action, "reject"):
		e.Action = Blocked
	default:
		switch outcome := o.text(ndOutcome, s); {
		case fold(outcome, "success"):
			e.Action = Allowed
		case fold(outcome, "failure"):
			e.Action = Blocked
		}
	}
	e.Path, e.Query = present(o.text(ndPath, s)), present(o.text(ndQuery, s))
	host := present(o.text(ndDomain, s))
	if host != nil {
		if reason, field := visited(nil, host, e); reason != "" {
			return reason, field
		}
	}
	if url := present(o.text(ndURL, s)); url != nil {
		whole := Event{Port: -1, Method: e.Method}
		if !target(url, &whole) {
			return BadURL, "url.domain"
		}
		e.Scheme, e.Domain = either(e.Scheme, whole.Scheme), either(e.Domain, whole.Domain)
		if e.Path == nil && e.Query == nil {
			e.Path, e.Query = whole.Path, whole.Query
		}
		if e.Port < 0 {
			e.Port = whole.Port
		}
	}
	if v := present(o.text(ndPort, s)); v != nil {
		if e.Port, ok = port(v); !ok {
			return BadNumber, "url.port"
		}
	}
	if e.Domain != nil {
		return "", ""
	}
	reason, field := visited(nil, o.text(ndDestinationDomain, s), e)
	if reason == NoRequest && e.Path == nil && e.Method == nil && e.Status < 0 {
		// nothing of a request at all
		return ForeignLine, ""
	}
	return reason, field
}

func either(first, second []byte) []byte {
	if first != nil {
		return first
	}
	return second
}

func (f *ndjson) size(o *jsonObject, slot, other jsonSlot, s *scratch) (int64, bool) {
	v := o.text(slot, s)
	if absent(v) {
		v = o.text(other, s)
	}
	return size(v)
}

// isMail says whether an object is a mail rather than a request.
func (f *ndjson) isMail(o *jsonObject) bool {
	for _, slot := range [...]jsonSlot{ndDomain, ndURL, ndMethod} {
		if o.has(slot) {
			return false
		}
	}
	for _, slot := range [...]jsonSlot{ndFrom, ndTo, ndMessageID, ndSubject} {
		if o.has(slot) {
			return true
		}
	}
	return false
}

// letter reads what only a mail has.
func (f *ndjson) letter(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	e.Kind = Mail
	e.MessageID = messageID(o.text(ndMessageID, s))
	for v := range o.all(ndFrom) {
		if from := s.json(v); from != nil {
			e.From = headerAddress(from)
			break
		}
	}
	for v := range o.all(ndTo) {
		recipients(s.json(v), ',', e)
	}
	if e.Subject = o.text(ndSubject, s); len(e.Subject) == 0 {
		e.Subject = nil
	}
	e.QueueID = present(o.text(ndQueueID, s))
	outcome := o.text(ndOutcome, s)
	switch {
	case fold(outcome, "success"):
		e.Outcome = f.mail.success
	case fold(outcome, "failure"):
		e.Outcome = f.mail.failure
	case outcome != nil:
		e.Outcome = f.mail.unknown
	}
	f.mail.direct(e, o.text(ndDirection, s))
	if e.MessageID == nil && e.From == nil && len(e.To) == 0 {
		return Truncated, "email.message_id"
	}
	return "", ""
}

// when reads @timestamp.
func (f *ndjson) when(o *jsonObject, e *Event, s *scratch) Reason {
	at := o.text(ndTime, s)
	if absent(at) {
		return ForeignLine
	}
	ms, ok := jsonTime(&f.stamps, at)
	if !ok {
		return BadTime
	}
	e.Time = ms
	return ""
}

// jsonTime reads RFC 3339 or a number of seconds (with a fraction, if it has one), milliseconds, microseconds or nanoseconds
// since 1970-01-01 UTC.
func jsonTime(stamps *stampReader, at []byte) (ms int64, ok bool) {
	if ms, n, ok := stamps.stamp(at); n > 0 {
		return ms, ok && n == len(at)
	}
	if point := indexByte(at, '.'); point > 0 {
		whole, ok := unixTime(at[:point])
		if whole%1000 == 0 && point <= 11 {
			scale := int64(100)
			for _, c := range at[point+1:] {
				if c-'0' > 9 {
					return 0, false
				}
				whole += int64(c-'0') * scale
				scale /= 10
			}
		}
		at, ms = nil, whole
		if !ok {
			return 0, false
		}
	} else if ms, ok = unixTime(at); !ok {
		return 0, false
	}
	return within9999(ms)
}

func (f *ndjson) origins() []Origin {
	var list []Origin
	for slot, names := range ndNames() {
		field := names[0]
		switch slot {
		case ndURL, ndDestinationDomain:
			field = "url.domain"
		case ndUserEmail:
			field = "user.name"
		case ndResponseBytes:
			field = "destination.bytes"
		case ndRequestBytes:
			field = "source.bytes"
		case ndClientIP:
			field = "source.ip"
		}
		list = append(list, Origin{field, f.paths[slot]})
	}
	return list
}

func ndjsonFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "ndjson", About: "JSON lines of a proxy or a mail server, with ECS names or your own (--columns ecs.name=path,…)", Kind: Web,
			Takes: []string{NeedZone, NeedColumns},
		},
		document: newNDJSON,
	}
}
