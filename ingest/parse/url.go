package parse

import "bytes"

// target reads the request target of a proxy's log line into url.scheme, url.domain, url.port, url.path and url.query
// (RFC 9112, section 3.2, and RFC 3986): absolute ("http://host/path"), authority ("host:443", for CONNECT), origin
// ("/path", which names no host) and the bare "host/path" that some proxies write. User information is dropped: no part of
// it reaches the event. It answers false for an authority that can't be read.
func target(u []byte, e *Event) bool {
	first := hostEnd(u)
	switch {
	case len(u) == 0:
		return true
	case first == 0 && (u[0] == '/' || u[0] == '?'), u[0] == '*':
		e.Path, e.Query = pathQuery(u)
		return true
	case first == len(u) || u[first] != ':':
	case first+2 < len(u) && u[first+1] == '/' && u[first+2] == '/' && scheme(u[:first]):
		e.Scheme = u[:first]
		u = u[first+3:]
		first = hostEnd(u)
	case first > 0 && opaque(u, first):
		return true
	}
	end := first
	for end < len(u) && u[end] != '/' && u[end] != '?' && u[end] != '#' {
		end++
	}
	if end < len(u) {
		e.Path, e.Query = pathQuery(u[end:])
	}
	if end == first {
		if end > 0 {
			e.Domain = u[:end]
		}
		return true
	}
	return authority(u[:end], e)
}

// hostEnd answers the position of the first byte of u that ends a plain host name: one of "/?#:@%[".
func hostEnd(u []byte) int {
	const ends = 1<<('/'-'#') | 1<<('?'-'#') | 1<<('#'-'#') | 1<<(':'-'#') | 1<<('@'-'#') | 1<<('%'-'#') | 1<<('['-'#')
	for i, c := range u {
		if uint64(ends)>>(c-'#')&1 == 1 {
			return i
		}
	}
	return len(u)
}

// scheme says whether b is a URL scheme; cache_object is one.
func scheme(b []byte) bool {
	for _, c := range b {
		if c|0x20-'a' >= 26 && c-'0' >= 10 && c != '_' && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return len(b) > 0
}

// opaque says whether the word before the colon of u is a scheme without a host, as in urn:isbn:0, rather than a host with
// its port, a user with a password, or the beginning of an IPv6 address.
func opaque(u []byte, colon int) bool {
	after := u[colon+1:]
	if len(after) == 0 || after[0]-'0' <= 9 || indexByte(after, '@') >= 0 {
		return false
	}
	end := colon
	for end < len(u) && u[end] != '/' {
		end++
	}
	_, numeric := v6(u[:end])
	return !numeric
}

// authority reads [userinfo "@"] host [":" port].
func authority(a []byte, e *Event) bool {
	if colon := hostEnd(a); colon > 0 && colon < len(a) && a[colon] == ':' {
		if n, ok := port(a[colon+1:]); ok {
			e.Domain, e.Port = a[:colon], n
			return true
		}
	}
	if at := bytes.LastIndexByte(a, '@'); at >= 0 {
		a = a[at+1:]
	}
	if indexByte(a, '%') >= 0 {
		// no host name holds an encoded @: what stands before it is a user's name that was encoded too eagerly
		if at := bytes.LastIndex(a, []byte("%40")); at >= 0 {
			a = a[at+3:]
		}
	}
	host, after := a, []byte(nil)
	switch colon := bytes.LastIndexByte(a, ':'); {
	case len(a) > 0 && a[0] == '[':
		closing := indexByte(a, ']')
		if closing < 0 {
			return false
		}
		host, after = a[1:closing], a[closing+1:]
		if len(after) > 0 && after[0] != ':' {
			return false
		}
	case colon < 0:
	case indexByte(a[:colon], ':') < 0:
		host, after = a[:colon], a[colon:]
	default:
		// several colons and no brackets: an IPv6 address, behind which CONNECT always has a port
		_, whole := v6(a)
		_, front := v6(a[:colon])
		switch {
		case front && (!whole || string(e.Method) == "CONNECT"):
			host, after = a[:colon], a[colon:]
		case !whole:
			return false
		}
	}
	if len(after) > 1 {
		n, ok := port(after[1:])
		if !ok {
			return false
		}
		e.Port = n
	}
	if len(host) > 0 {
		e.Domain = host
	}
	return true
}

// pathQuery cuts "/path?query#fragment"; each is nil where it is not there.
func pathQuery(u []byte) (path, query []byte) {
	if len(u) == 1 && u[0] == '/' {
		return u, nil
	}
	if hash := bytes.IndexByte(u, '#'); hash >= 0 {
		u = u[:hash]
	}
	if mark := bytes.IndexByte(u, '?'); mark >= 0 {
		u, query = u[:mark], u[mark+1:]
	}
	if len(u) > 0 {
		path = u
	}
	return path, query
}

// mimeType answers the media type without its parameters; nil where there is none.
func mimeType(b []byte) []byte {
	if semicolon := indexByte(b, ';'); semicolon >= 0 {
		b = trimRight(b[:semicolon])
	}
	return present(b)
}
