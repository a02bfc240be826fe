package parse

import "bytes"

// target reads the request target of a proxy's log line into url.scheme, url.domain, url.port, url.path and url.query
// (RFC 9112, section 3.2, and RFC 3986): absolute ("http://host/path"), authority ("host:443", for CONNECT), origin
// ("/path", which names no host) and the bare "host/path" that some proxies write. User information is dropped: no part of
// it reaches the event. It answers false for an authority that can't be read.
func target(u []byte, e *Event) bool {
	i := 0
	for i < len(u) && schemeByte(u[i]) {
		i++
	}
	switch {
	case i > 0 && i+2 < len(u) && u[i] == ':' && u[i+1] == '/' && u[i+2] == '/':
		e.Scheme = u[:i]
		u = u[i+3:]
	case len(u) == 0:
		return true
	case u[0] == '/' || u[0] == '?' || u[0] == '*':
		e.Path, e.Query = pathQuery(u)
		return true
	case i > 0 && i < len(u) && u[i] == ':' && opaque(u, i):
		return true
	}
	end := 0
	for end < len(u) && u[end] != '/' && u[end] != '?' && u[end] != '#' {
		end++
	}
	e.Path, e.Query = pathQuery(u[end:])
	return authority(u[:end], e)
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

func schemeByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.' || c == '_'
}

// mimeType answers the media type without its parameters; nil where there is none.
func mimeType(b []byte) []byte {
	if semicolon := indexByte(b, ';'); semicolon >= 0 {
		b = trimRight(b[:semicolon])
	}
	return present(b)
}
