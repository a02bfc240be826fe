package parse

import (
	"bytes"
	"time"
)

// squidNative reads Squid's own access.log, the logformat named squid:
//
//	%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt
//
// It is read from both ends: a user name (%[un writes %, [, ] and bytes beyond ASCII as %XX and a backslash twice, but the
// space as it is) may hold spaces, and so may a URL where uri_whitespace allows them, so the name is what lies between the
// URL and the hierarchy code. What follows the media type (the header blocks of log_mime_hdrs, columns that a site added)
// is left alone, and the media type may be missing. Older lines have %ui for the name, a host name for the peer, hierarchy
// codes without HIER_, and may lack the milliseconds.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/ and https://wiki.squid-cache.org/Features/LogFormat.
type squidNative struct{}

func (squidNative) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
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
	before := i
	took, i, ok := count(b, i)
	if !ok || took > maxMilliseconds {
		// a negative one is good enough for the line
		if tok, _ = token(b, before); len(tok) == 0 || tok[0] != '-' {
			return BadNumber, "event.duration"
		}
		if _, ok = milliseconds(tok); !ok {
			return BadNumber, "event.duration"
		}
	} else if took >= 0 {
		e.Duration = time.Duration(took) * time.Millisecond
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
	e.Action = squidAction(e.Code)
	if e.Status, ok = status(tok[slash+1:]); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.DestinationBytes, i, ok = count(b, i); !ok {
		return BadNumber, "destination.bytes"
	}
	tok, i = token(b, i)
	e.Method = present(tok)
	i++
	for i < len(b) && b[i] == ' ' {
		i++
	}
	if i >= len(b) {
		return Truncated, "url.domain"
	}
	url, tail := b[i:], []byte(nil)
	if end := bytes.IndexByte(url, ' '); end >= 0 {
		url, tail = url[:end], url[end+1:]
	}
	user, hierarchy, peer, after := squidTail(tail)
	if hierarchy == nil {
		return Truncated, "user.name"
	}
	if len(user) > 2 && user[len(user)-1] == '-' && user[len(user)-2] == ' ' {
		// no name ends in " -": these are the later words of a URL with spaces, and the dash of a missing name
		url = trimRight(b[i : i+len(url)+1+len(user)-2])
		user = nil
	}
	if user = present(user); user != nil {
		e.User = s.mimeBlob(user)
	}
	e.DestinationIP = squidPeer(hierarchy, peer)
	if tok, _ = token(after, 0); len(tok) > 1 && bytes.IndexByte(tok, '/') > 0 && tok[0] != '[' && tok[0] != '"' {
		e.MIME = mimeType(tok)
	}
	return squidTarget(url, e)
}

func (squidNative) origins() []Origin {
	return []Origin{
		{"@timestamp", "%ts.%03tu"}, {"event.duration", "%6tr"}, {"source.ip", "%>a"}, {"event.action", "%Ss"}, {"event.code", "%Ss"},
		{"http.response.status_code", "%03>Hs"}, {"destination.bytes", "%<st"}, {"http.request.method", "%rm"},
		{"url.scheme", "%ru"}, {"url.domain", "%ru"}, {"url.port", "%ru"}, {"url.path", "%ru"}, {"url.query", "%ru"},
		{"user.name", "%[un"}, {"destination.ip", "%<a"}, {"http.response.mime_type", "%mt"},
	}
}

// squidTail cuts "user HIERARCHY/peer rest"; hierarchy is nil where there is none.
func squidTail(b []byte) (user, hierarchy, peer, after []byte) {
	user, i := token(b, 0)
	second, i := token(b, i)
	if starts(second, "HIER_") {
		if slash := indexByte(second, '/'); slash > 0 {
			return user, second[:slash], second[slash+1:], b[i:]
		}
	}
	// The first likely word wins over later ones, which a client can write into an added column. A name is the operator's to
	// choose, so a word of it that looks like a hierarchy code loses to a real one.
	for _, likely := range []func(code []byte) bool{hierarchyCode, oldHierarchyCode, shoutedCode} {
		_, at := token(b, 0)
		for {
			word, next := token(b, at)
			if len(word) == 0 {
				break
			}
			if slash := bytes.IndexByte(word, '/'); slash > 0 && likely(word[:slash]) {
				return trimRight(trimLeft(b[:next-len(word)])), word[:slash], word[slash+1:], b[next:]
			}
			at = next
		}
	}
	return nil, nil, nil, nil
}

func hierarchyCode(code []byte) bool {
	return starts(code, "HIER_") || starts(code, "TIMEOUT_HIER_")
}

// oldHierarchyCode knows the codes that Squid wrote before version 3.2.
func oldHierarchyCode(code []byte) bool {
	code = bytes.TrimPrefix(code, []byte("TIMEOUT_"))
	switch string(code) {
	case "NONE", "DIRECT", "SIBLING_HIT", "PARENT_HIT", "DEFAULT_PARENT", "SINGLE_PARENT", "FIRST_UP_PARENT", "FIRSTUP_PARENT",
		"NO_PARENT_DIRECT", "FIRST_PARENT_MISS", "CLOSEST_PARENT_MISS", "CLOSEST_PARENT", "CLOSEST_DIRECT", "NO_DIRECT_FAIL",
		"SOURCE_FASTEST", "ROUNDROBIN_PARENT", "CACHE_DIGEST_HIT", "CD_PARENT_HIT", "CD_SIBLING_HIT", "NO_CACHE_DIGEST_DIRECT",
		"CARP", "ANY_PARENT", "ANY_OLD_PARENT", "INVALID", "USERHASH_PARENT", "SOURCEHASH_PARENT", "PINNED", "ORIGINAL_DST",
		"STANDBY_POOL", "PASSTHROUGH_PARENT", "SSL_PARENT_MISS", "LOCAL_IP_DIRECT", "FIREWALL_IP_DIRECT":
		return true
	}
	return false
}

// shoutedCode takes a code that no list has yet: capitals and underscores.
func shoutedCode(code []byte) bool {
	for _, c := range code {
		if c != '_' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(code) > 3
}

func squidNativeFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "squid_native", About: "Squid access.log in its own format, also behind a syslog header", Kind: Web},
		build:      func(Options) (lineFormat, error) { return squidNative{}, nil },
	}
}
