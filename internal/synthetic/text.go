package synthetic

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Layouts of times in the formats of devices.
const (
	stampTime = "2006-01-02 15:04:05"
	isoTime   = "2006-01-02T15:04:05"
)

// proxyAddress is where the proxies of all formats stand, and siteAddress what the world sees of the municipality.
const (
	proxyAddress = "192.0.2.10"
	siteAddress  = "192.0.2.1"
)

// appendMillis appends ".123" for a time in milliseconds.
func appendMillis(dst []byte, millis int64) []byte {
	ms := millis % 1000
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// appendPercent appends text with spaces, percent signs, quotes and all bytes outside ASCII as %XX.
func appendPercent(dst []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		if c := text[i]; c <= 32 || c > 126 || c == '%' || c == '"' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendSlashed appends text with a backslash before quotes and backslashes; where hex is true, bytes outside ASCII as \xXX.
func appendSlashed(dst []byte, text string, hex bool) []byte {
	const digits = "0123456789abcdef"
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case hex && (c < 32 || c > 126):
			dst = append(dst, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendDoubled appends text with its quotes doubled.
func appendDoubled(dst []byte, text string) []byte {
	for i := range len(text) {
		if text[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, text[i])
	}
	return dst
}

// appendJSON appends text as a JSON string (RFC 8259). What is not UTF-8 is taken for ISO 8859-1.
func appendJSON(dst []byte, text string) []byte {
	dst = append(dst, '"')
	valid := utf8.ValidString(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 32:
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		case c >= 0x80 && !valid:
			dst = utf8.AppendRune(dst, rune(c))
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendMember appends ,"name":"text".
func appendMember(dst []byte, name, text string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendJSON(dst, text)
}

// appendCount appends ,"name":n.
func appendCount(dst []byte, name string, n int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, n, 10)
}

// appendPair appends a space, name, '=' and the number.
func appendPair(dst []byte, name string, n int64) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=')
	return strconv.AppendInt(dst, n, 10)
}

// appendQuoted appends a space, name, '=' and the text in quotes, with backslashes.
func appendQuoted(dst []byte, name, text string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	dst = appendSlashed(dst, text, false)
	return append(dst, '"')
}

// Port answers the port that the client asked for.
func (e *Event) Port() int {
	if e.Scheme == "http" {
		return 80
	}
	return 443
}

// parts appends the path and the query, without '?', to scratch and answers them; both are empty for CONNECT.
func (e *Event) parts(scratch []byte) (path, query, grown []byte) {
	if e.Scheme == "" {
		return nil, nil, scratch
	}
	scratch = e.AppendPath(scratch[:0])
	if mark := bytes.IndexByte(scratch, '?'); mark >= 0 {
		return scratch[:mark], scratch[mark+1:], scratch
	}
	return scratch, nil, scratch
}

// appendAddress appends the whole URL as devices write it that see a tunnel as https://host/.
func (e *Event) appendAddress(dst []byte) []byte {
	if e.Scheme != "" {
		return e.AppendURL(dst)
	}
	dst = append(dst, "https://"...)
	dst = append(dst, e.Host.authority...)
	return append(dst, '/')
}

// appendReferrer appends the page that led here; nothing where there is none.
func (e *Event) appendReferrer(dst []byte) []byte {
	if e.Referrer == nil || e.Scheme == "" {
		return dst
	}
	dst = append(dst, "https://"...)
	dst = append(dst, e.Referrer.authority...)
	return append(dst, '/')
}

// client answers the client's address. A malformed event whose format has no size to be negative has no address either.
func (e *Event) client(sized bool) string {
	if !sized && e.BytesIn < 0 {
		return "-1?"
	}
	return e.SourceIP
}

// choose answers what a device writes for a request that it stopped, and for one that it let pass.
func (e *Event) choose(blocked, allowed string) string {
	if e.Blocked {
		return blocked
	}
	return allowed
}
