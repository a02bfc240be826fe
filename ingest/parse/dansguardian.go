package parse

import (
	"bytes"
	"time"
)

// dansGuardian reads the access.log of DansGuardian and e2guardian in every logfileformat; each line says itself which it is:
//
//	1  time user client URL *ACTIONS* reason METHOD size weight category group status MIME client-name group-name user-agent
//	2  the same, quoted and comma-separated
//	3  Squid's own format
//	4  the same as 1, between tabs
//	5 to 8 (e2guardian)  epoch, server, user, client, client-name, URL, METHOD, status, size, MIME, user-agent, -, ms, -,
//	   message number, message, ... between tabs
//
// In format 1 the reason and the category are words between spaces: the method is the first that two numbers follow. *DENIED*
// and *INFECTED* are blocked; *EXCEPTION*, *SCANNED*, *TRUSTED* and no mark at all are allowed, for each request has a line.
// Without sign-in the user is the client's address, or "-". The time is local: it is read in the configured zone, and in UTC
// without one.
//
// Sources: http://contentfilter.futuragts.com/wiki/doku.php?id=the_access.log_files and
// https://github.com/e2guardian/e2guardian/wiki/Access-Log-File-Format.
type dansGuardian struct {
	stamps stampReader
	native squidNative
	cut    fieldCutter
}

func (f *dansGuardian) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	b = bytes.TrimLeft(b, " ")
	if len(b) == 0 {
		return ForeignLine, ""
	}
	if b[0] == '"' {
		f.cut.csv(b, ',')
		return f.columns(b, e, s)
	}
	tab := bytes.IndexByte(b, '\t')
	_, squid, _ := epoch(b)
	switch {
	case tab > 0 && squid == tab:
		f.cut.split(b, '\t')
		return f.guardian(b, e, s)
	case tab > 0:
		f.cut.split(b, '\t')
		return f.columns(b, e, s)
	case squid > 8:
		return f.native.read(b, e, s)
	}
	return f.words(b, e, s)
}

// columns reads formats 2 and 4, which have been cut into fields.
func (f *dansGuardian) columns(b []byte, e *Event, s *scratch) (Reason, string) {
	at := f.cut.field(b, 0)
	ms, n, ok := f.stamps.stamp(at)
	switch {
	case n == 0:
		return ForeignLine, "@timestamp"
	case !ok || n != len(at):
		return BadTime, "@timestamp"
	case f.cut.n < 6:
		return Truncated, "http.request.method"
	}
	e.Time = ms
	if user := person(f.cut.field(b, 1)); user != nil {
		e.User = s.undouble(user)
	}
	if e.SourceIP, ok = client(f.cut.field(b, 2)); !ok {
		return BadAddress, "source.ip"
	}
	e.Action, e.Code = guardianAct(f.cut.field(b, 4))
	e.Method = present(f.cut.field(b, 5))
	if e.DestinationBytes, ok = size(f.cut.field(b, 6)); !ok {
		return BadNumber, "destination.bytes"
	}
	if e.Status, ok = replied(f.cut.field(b, 10)); !ok {
		return BadNumber, "http.response.status_code"
	}
	e.MIME = mimeType(f.cut.field(b, 11))
	if agent := present(f.cut.field(b, 14)); agent != nil {
		e.UserAgent = s.undouble(agent)
	}
	return visited(s.undouble(f.cut.field(b, 3)), nil, e)
}

// guardian reads formats 5 to 8 of e2guardian. The client's address is left out where its name is logged alone.
func (f *dansGuardian) guardian(b []byte, e *Event, s *scratch) (Reason, string) {
	ms, _, ok := unixSeconds(f.cut.field(b, 0))
	if !ok {
		return BadTime, "@timestamp"
	}
	e.Time = ms
	url := 5
	if bytes.Contains(f.cut.field(b, 4), []byte("://")) {
		url = 4
	}
	if f.cut.n < url+4 {
		return Truncated, "url.domain"
	}
	if user := person(f.cut.field(b, 2)); user != nil {
		e.User = s.percent(user)
	}
	if e.SourceIP, ok = client(f.cut.field(b, 3)); !ok {
		return BadAddress, "source.ip"
	}
	e.Method = present(f.cut.field(b, url+1))
	if e.Status, ok = replied(f.cut.field(b, url+2)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.DestinationBytes, ok = size(f.cut.field(b, url+3)); !ok {
		return BadNumber, "destination.bytes"
	}
	e.MIME = mimeType(f.cut.field(b, url+4))
	e.UserAgent = present(f.cut.field(b, url+5))
	if e.Duration, ok = milliseconds(f.cut.field(b, url+7)); !ok {
		return BadNumber, "event.duration"
	}
	message := f.cut.field(b, url+10)
	e.Action, e.Code = guardianAct(message)
	if number, ok := decimal(f.cut.field(b, url+9)); ok && number > 0 && e.Code == nil && e.Status == 403 {
		e.Action = Blocked
	}
	return visited(f.cut.field(b, url), nil, e)
}

// words reads format 1.
func (f *dansGuardian) words(b []byte, e *Event, s *scratch) (Reason, string) {
	ms, i, ok := f.stamps.stamp(b)
	switch {
	case i == 0:
		return ForeignLine, "@timestamp"
	case !ok:
		return BadTime, "@timestamp"
	}
	e.Time = ms
	// a user name may hold spaces: it ends before the address that a URL follows
	names := trimLeft(b[i:])
	_, at := token(names, 0)
	var user []byte
	for {
		tok, next := token(names, at)
		url, _ := token(names, next)
		if len(url) == 0 {
			return Truncated, "url.domain"
		}
		if addr, isAddress := address(tok); isAddress {
			e.SourceIP = addr
			user, b, i = trimRight(names[:next-len(tok)]), names, next
			break
		}
		if bytes.Contains(url, []byte("://")) {
			if _, ok = client(tok); !ok {
				return BadAddress, "source.ip"
			}
			user, b, i = trimRight(names[:next-len(tok)]), names, next
			break
		}
		at = next
	}
	if user = person(user); user != nil {
		e.User = s.percent(user)
	}
	url, i := token(b, i)
	begin := i
	for {
		tok, next := token(b, i)
		if len(tok) == 0 {
			return Truncated, "http.request.method"
		}
		bytesTok, after := token(b, next)
		weight, last := token(b, after)
		sent, numeric := decimal(bytesTok)
		if numeric && httpMethod(tok) && (len(weight) == 0 || signed(weight)) {
			e.Method, e.DestinationBytes = tok, sent
			e.Action, e.Code = guardianAct(b[min(begin, len(b)):i])
			i = last
			break
		}
		i = next
	}
	// category words, then the group's number and the status
	for {
		tok, next := token(b, i)
		if len(tok) == 0 {
			break
		}
		code, after := token(b, next)
		if _, numeric := decimal(tok); numeric && len(tok) < 4 && len(code) == 3 {
			if n, ok := replied(code); ok {
				e.Status = n
				mime, _ := token(b, after)
				if bytes.IndexByte(mime, '/') > 0 {
					e.MIME = mimeType(mime)
				}
				break
			}
		}
		i = next
	}
	return visited(url, nil, e)
}

func signed(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	_, ok := decimal(b)
	return ok
}

// guardianAct says what the filter did, by the marks between asterisks before its reason, and answers the first that counts.
func guardianAct(b []byte) (Action, []byte) {
	var code []byte
	for i := 0; i < len(b); {
		open := bytes.IndexByte(b[i:], '*')
		if open < 0 {
			break
		}
		open += i + 1
		closing := bytes.IndexByte(b[open:], '*')
		if closing < 0 {
			break
		}
		mark := b[open : open+closing]
		if !shouted(mark) {
			i = open
			continue
		}
		if fold(mark, "denied") || fold(mark, "infected") {
			return Blocked, mark
		}
		if code == nil {
			code = mark
		}
		i = open + closing + 1
	}
	return Allowed, code
}

func (f *dansGuardian) origins() []Origin {
	return []Origin{
		{"@timestamp", "time"}, {"event.duration", "duration"}, {"source.ip", "client"}, {"user.name", "user"}, {"http.request.method", "method"},
		{"url.scheme", "URL"}, {"url.domain", "URL"}, {"url.port", "URL"}, {"url.path", "URL"}, {"url.query", "URL"},
		{"user_agent.original", "user agent"}, {"http.response.status_code", "status"}, {"event.action", "*ACTIONS*"}, {"event.code", "*ACTIONS*"},
		{"destination.bytes", "size"}, {"http.response.mime_type", "MIME type"}, {"destination.ip", "Squid's %<a"},
	}
}

func dansGuardianFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "dansguardian", About: "DansGuardian and e2guardian access.log, every logfileformat", Kind: Web, Takes: []string{NeedZone}},
		build:      func(o Options) (lineFormat, error) { return newDansGuardian(o.Zone), nil },
	}
}

func newDansGuardian(zone *time.Location) *dansGuardian {
	return &dansGuardian{stamps: newStampReader(zone)}
}
