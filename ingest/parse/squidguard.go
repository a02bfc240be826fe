package parse

import (
	"bytes"
	"time"
)

// squidGuard reads squidGuard's log of requests:
//
//	2026-11-20 14:13:14 [31277] Request(source/category/rewrite) URL client-ip/client-name user METHOD REDIRECT
//
// A user name may hold spaces: it is what lies between the client and the method. REDIRECT (and BLOCK) is blocked, PASS is
// allowed; older releases write no such word, and then the line does not say. The time is local: it is read in the
// configured zone, and in UTC without one.
//
// Source: http://www.squidguard.org/Doc/extended.html#log and squidGuard's sgDiv.c.
type squidGuard struct{ stamps stampReader }

func (f *squidGuard) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	b = bytes.Trim(b, " \t")
	ms, i, ok := f.stamps.stamp(b)
	switch {
	case i == 0:
		return ForeignLine, "@timestamp"
	case !ok:
		return BadTime, "@timestamp"
	}
	e.Time = ms
	const request = "Request("
	at := bytes.Index(b[i:], []byte(request))
	if at < 0 {
		return ForeignLine, "event.code"
	}
	i += at + len(request)
	closing := bytes.IndexByte(b[i:], ')')
	if closing < 0 {
		return Truncated, "event.code"
	}
	i += closing + 1
	url, i := token(b, i)
	who, i := token(b, i)
	slash := bytes.IndexByte(who, '/')
	switch {
	case len(who) == 0:
		return Truncated, "source.ip"
	case slash < 0:
		slash = len(who)
	}
	if e.SourceIP, ok = client(who[:slash]); !ok {
		return BadAddress, "source.ip"
	}
	rest := trimRight(b[min(i, len(b)):])
	last, before := lastWord(rest)
	switch {
	case fold(last, "redirect"), fold(last, "block"), fold(last, "blocked"):
		e.Action, e.Code, rest = Blocked, last, before
	case fold(last, "pass"), fold(last, "passed"), fold(last, "allow"), fold(last, "ok"):
		e.Action, e.Code, rest = Allowed, last, before
	}
	method, before := lastWord(rest)
	if len(method) == 0 {
		return Truncated, "http.request.method"
	}
	e.Method = present(method)
	if user := person(trimLeft(before)); user != nil {
		e.User = s.percent(user)
	}
	return visited(url, nil, e)
}

// lastWord cuts the last word off b.
func lastWord(b []byte) (word, before []byte) {
	space := bytes.LastIndexByte(b, ' ')
	return b[space+1:], trimRight(b[:max(space, 0)])
}

func (f *squidGuard) origins() []Origin {
	return []Origin{
		{"@timestamp", "time"}, {"source.ip", "client"}, {"user.name", "user"}, {"http.request.method", "method"},
		{"url.scheme", "URL"}, {"url.domain", "URL"}, {"url.port", "URL"}, {"url.path", "URL"}, {"url.query", "URL"},
		{"event.action", "REDIRECT or PASS"}, {"event.code", "REDIRECT or PASS"},
	}
}

func squidGuardFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "squidguard", About: "squidGuard's log of requests", Kind: Web, Takes: []string{NeedZone}},
		build:      func(o Options) (lineFormat, error) { return newSquidGuard(o.Zone), nil },
	}
}

func newSquidGuard(zone *time.Location) *squidGuard { return &squidGuard{stamps: newStampReader(zone)} }
