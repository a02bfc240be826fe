package parse

import "bytes"

// ciscoWSA reads the access log of Cisco Secure Web Appliance (IronPort WSA): Squid's native line, the user in quotes where
// there is one ("DOMAIN\name@realm"), then the ACL decision tag and the scanning verdicts in angle brackets. The appliance's
// own syslog tag ("accesslogs: Info:") is passed over, and so are the lines with which it opens and closes a file. The same
// appliance's W3C log is read as bluecoat_w3c.
//
// event.action: the result code where it says DENIED, else the ACL decision tag (BLOCK_, DROP_ ... blocked; ALLOW_,
// DEFAULT_CASE_, MONITOR_, PASSTHRU_, DECRYPT_, TRUST_ allowed), else what Squid's codes mean. A transparent tunnel
// (TCP_CONNECT) is asked for by address; the name in the hierarchy is what the client meant.
//
// Source: https://www.cisco.com/c/en/us/support/docs/security/secure-web-appliance/225832-understand-secure-web-appliance.html.
type ciscoWSA struct{}

func (ciscoWSA) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	if info := bytes.Index(b[:min(len(b), 200)], []byte("Info: ")); info >= 0 {
		message := trimLeft(b[info+len("Info: "):])
		for _, begin := range []string{"Begin Logfile", "End Logfile", "Logfile rolled over", "Version:", "Time offset from UTC", "# "} {
			if starts(message, begin) {
				return skip, ""
			}
		}
		b = message
	}
	b = trimLeft(b)
	ms, i, ok := epoch(b)
	switch {
	case i == 0, i < len(b) && b[i] != ' ':
		return ForeignLine, "@timestamp"
	case !ok:
		return BadTime, "@timestamp"
	}
	e.Time = ms
	var tok []byte
	tok, i = token(b, i)
	if e.Duration, ok = milliseconds(tok); !ok {
		return BadNumber, "event.duration"
	}
	tok, i = token(b, i)
	if e.SourceIP, ok = client(tok); !ok {
		return BadAddress, "source.ip"
	}
	if tok, i = token(b, i); len(tok) == 0 {
		return Truncated, "event.action"
	}
	slash := indexByte(tok, '/')
	if slash < 0 {
		return BadLayout, "event.action"
	}
	e.Code = tok[:slash]
	if e.Status, ok = replied(tok[slash+1:]); !ok {
		return BadNumber, "http.response.status_code"
	}
	tok, i = token(b, i)
	if e.DestinationBytes, ok = size(tok); !ok {
		return BadNumber, "destination.bytes"
	}
	tok, i = token(b, i)
	e.Method = present(tok)
	url, i := token(b, i)
	if len(url) == 0 {
		return Truncated, "url.domain"
	}
	var hierarchy, peer, after []byte
	if tail := trimLeft(b[i:]); len(tail) > 0 && tail[0] == '"' {
		// the backslash of a domain hides nothing here
		closing := bytes.IndexByte(tail[1:], '"')
		if closing < 0 {
			return Truncated, "user.name"
		}
		if user := person(tail[1 : 1+closing]); user != nil {
			e.User = s.percent(user)
		}
		_, hierarchy, peer, after = squidTail(tail[1+closing:])
	} else {
		var user []byte
		user, hierarchy, peer, after = squidTail(tail)
		if user = person(user); user != nil {
			e.User = s.percent(user)
		}
	}
	if hierarchy == nil {
		return Truncated, "destination.ip"
	}
	e.DestinationIP = squidPeer(hierarchy, peer)
	tok, i = token(after, 0)
	if bytes.IndexByte(tok, '/') > 0 {
		e.MIME = mimeType(tok)
	}
	tag, _ := token(after, i)
	e.Action = squidAction(e.Code)
	if act := wsaAct(tag); act != Unsaid && e.Action != Blocked {
		e.Action = act
	}
	if reason, field := squidTarget(url, e); reason != "" {
		return reason, field
	}
	if starts(e.Method, "TCP_CONNECT") && !absent(peer) {
		_, numeric := address(e.Domain)
		if _, also := address(peer); numeric && !also && plainHost(peer) {
			e.Domain = peer
		}
	}
	return "", ""
}

func plainHost(b []byte) bool {
	for _, c := range b {
		if !hostByte(c) {
			return false
		}
	}
	return len(b) > 0
}

// wsaAct says what the appliance did, by its ACL decision tag.
func wsaAct(tag []byte) Action {
	for _, begin := range []string{"BLOCK_", "DROP_", "DENY_", "NO_AUTHORIZATION", "NO_PASSWORD"} {
		if starts(tag, begin) {
			return Blocked
		}
	}
	for _, begin := range []string{"ALLOW_", "DEFAULT_CASE", "MONITOR_", "PASSTHRU_", "DECRYPT_", "TRUST_", "SAAS_AUTH"} {
		if starts(tag, begin) {
			return Allowed
		}
	}
	return Unsaid
}

func (ciscoWSA) origins() []Origin {
	return []Origin{
		{"@timestamp", "%t"}, {"event.duration", "%e"}, {"source.ip", "%a"}, {"event.action", "%D, %w"}, {"event.code", "%w"},
		{"http.response.status_code", "%h"}, {"destination.bytes", "%s"}, {"http.request.method", "%2r"},
		{"url.scheme", "%2r"}, {"url.domain", "%2r"}, {"url.port", "%2r"}, {"url.path", "%2r"}, {"url.query", "%2r"},
		{"user.name", "%A"}, {"destination.ip", "%H/%d"}, {"http.response.mime_type", "%c"},
	}
}

func ciscoWSAFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "cisco_wsa", About: "Cisco Secure Web Appliance (IronPort WSA) access log", Kind: Web},
		bareFirst:  true,
		build:      func(Options) (lineFormat, error) { return ciscoWSA{}, nil },
	}
}
