package parse

import "bytes"

// squidCommon reads Squid's logformats common and combined, which follow the HTTP daemons' Common Log Format:
//
//	%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st %Ss:%Sh
//	%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st "%{Referer}>h" "%{User-Agent}>h" %Ss:%Sh
//
// Each line says itself which of the two it is. The second field is the ident name in older lines: it is the user where
// the third is "-". A user name may hold spaces: the name ends where the time begins. A media type behind the last field,
// and columns behind that, are allowed.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/.
type squidCommon struct{ days dayCache }

func (f *squidCommon) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var tok []byte
	var ok bool
	tok, i := token(b, 0)
	if e.SourceIP, ok = client(tok); !ok {
		return ForeignLine, "source.ip"
	}
	ident, i := token(b, i)
	names := i
	taken := 0
	for taken == 0 {
		open := bytes.IndexByte(b[i:], '[')
		if open < 0 {
			break
		}
		i += open + 1
		e.Time, taken = f.days.commonTime(b[i:])
	}
	if taken == 0 {
		if names < len(b) && bytes.IndexByte(b[names:], '[') >= 0 {
			return BadTime, "@timestamp"
		}
		return ForeignLine, "@timestamp"
	}
	user := trimLeft(trimRight(b[min(names, i-1) : i-1]))
	if absent(user) {
		user = present(ident)
	}
	if user != nil {
		e.User = s.mimeBlob(user)
	}
	i += taken
	if len(b) < i+3 {
		return Truncated, "http.request.method"
	}
	if b[i] != ']' || b[i+1] != ' ' || b[i+2] != '"' {
		return BadLayout, "http.request.method"
	}
	b = b[i+3:]
	end := requestEnd(b)
	if end < 0 {
		return Truncated, "url.domain"
	}
	method, url := squidRequest(b[:end])
	e.Method = present(method)

	tok, i = token(b, end+1)
	if e.Status, ok = status(tok); !ok {
		return BadNumber, "http.response.status_code"
	}
	if tok, i = token(b, i); len(tok) == 0 {
		return Truncated, "destination.bytes"
	}
	if e.DestinationBytes, ok = size(tok); !ok {
		return BadNumber, "destination.bytes"
	}
	for column := 0; ; column++ {
		for i < len(b) && b[i] == ' ' {
			i++
		}
		if i >= len(b) || b[i] != '"' {
			break
		}
		closing := quotedEnd(b, i+1)
		if closing < 0 {
			return Truncated, "user_agent.original"
		}
		if value := present(b[i+1 : closing]); value != nil {
			switch column {
			case 0:
				e.Referrer = s.backslash(value)
			case 1:
				e.UserAgent = s.backslash(value)
			}
		}
		i = closing + 1
	}
	tok, i = token(b, i)
	colon := bytes.IndexByte(tok, ':')
	switch {
	case len(tok) == 0:
		return Truncated, "event.action"
	case colon < 0:
		return BadLayout, "event.action"
	}
	e.Code = tok[:colon]
	e.Action = squidAction(e.Code)
	if tok, _ = token(b, i); len(tok) > 1 && bytes.IndexByte(tok, '/') > 0 && tok[0] != '"' && tok[0] != '[' {
		e.MIME = mimeType(tok)
	}
	return squidTarget(url, e)
}

func (f *squidCommon) origins() []Origin {
	return []Origin{
		{"source.ip", "%>a"}, {"user.name", "%[un"}, {"@timestamp", "[%tl]"}, {"http.request.method", "%rm"},
		{"url.scheme", "%ru"}, {"url.domain", "%ru"}, {"url.port", "%ru"}, {"url.path", "%ru"}, {"url.query", "%ru"},
		{"http.response.status_code", "%>Hs"}, {"destination.bytes", "%<st"}, {"http.request.referrer", `"%{Referer}>h"`},
		{"user_agent.original", `"%{User-Agent}>h"`}, {"event.action", "%Ss"}, {"event.code", "%Ss"}, {"http.response.mime_type", "%mt"},
	}
}

// requestEnd answers the position of the quote that ends the request line: the first that a status follows, for a URL may
// hold quotes where the proxy does not encode them. It is -1 where there is none.
func requestEnd(b []byte) int {
	for i := 0; ; i++ {
		next := bytes.IndexByte(b[i:], '"')
		if next < 0 {
			return -1
		}
		i += next
		if i+2 < len(b) && b[i+1] == ' ' && (b[i+2]-'0' <= 9 || b[i+2] == '-') {
			return i
		}
	}
}

// squidRequest cuts "METHOD target PROTOCOL/version"; the protocol may be missing (HTTP/0.9).
func squidRequest(b []byte) (method, url []byte) {
	method, i := token(b, 0)
	url = trimRight(trimLeft(b[i:]))
	if last := bytes.LastIndexByte(url, ' '); last >= 0 && protocol(url[last+1:]) {
		url = trimRight(url[:last])
	}
	return method, url
}

// protocol says whether b is a word like HTTP/1.1 or NONE/0.0.
func protocol(b []byte) bool {
	slash := indexByte(b, '/')
	return slash > 0 && letters(b, 0) == slash && slash+1 < len(b) && b[slash+1]-'0' <= 9
}

func squidCommonFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "squid_common", About: "Squid logformat common (Common Log Format); reads combined lines too", Kind: Web},
		build:      func(Options) (lineFormat, error) { return &squidCommon{}, nil },
	}
}
