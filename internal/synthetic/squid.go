package synthetic

import (
	"strconv"
	"time"
)

// The formats of Squid (http://www.squid-cache.org/Doc/config/logformat/):
//
//	native    %ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt
//	common    %>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st %Ss:%Sh
//	combined  the same with "%{Referer}>h" "%{User-Agent}>h" before %Ss:%Sh
//
// squid_syslog is native behind an RFC 3164 header. squid_logformat is a layout of the municipality's own, as sites have
// them: with the client's port, the bytes from the client and the two headers.
const squidSpec = `%ts.%03tu %tr %>a %>p %Ss/%>Hs %<st %>st %rm %ru %[un %Sh/%<a %mt "%{Referer}>h" "%{User-Agent}>h"`

const (
	squidTime  = "02/Jan/2006:15:04:05 -0700" // %tl
	syslogTime = "Jan _2 15:04:05"            // RFC 3164, section 4.1.2
)

func newSquidNative(*time.Location) func([]byte, *Event) []byte {
	var at seconds
	return func(dst []byte, e *Event) []byte { return appendNative(dst, e, &at) }
}

func newSquidSyslog(zone *time.Location) func([]byte, *Event) []byte {
	var at seconds
	header := newClock(zone, syslogTime)
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, "<134>"...)
		dst = header.append(dst, e.Time)
		dst = append(dst, " proxy01 squid[2217]: "...)
		return appendNative(dst, e, &at)
	}
}

func newSquidCommon(zone *time.Location) func([]byte, *Event) []byte {
	at := newClock(zone, squidTime)
	return func(dst []byte, e *Event) []byte {
		dst = appendCommon(dst, e, at)
		return appendResult(append(dst, ' '), e, ':')
	}
}

func newSquidCombined(zone *time.Location) func([]byte, *Event) []byte {
	at := newClock(zone, squidTime)
	return func(dst []byte, e *Event) []byte {
		dst = appendCommon(dst, e, at)
		dst = append(dst, ' ')
		dst = appendHeaders(dst, e)
		return appendResult(append(dst, ' '), e, ':')
	}
}

func newSquidLogformat(*time.Location) func([]byte, *Event) []byte {
	var at seconds
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.Duration, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(e.SourcePort), 10)
		dst = append(dst, ' ')
		dst = append(dst, e.Result...)
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.BytesOut, 10)
		dst = append(dst, ' ')
		dst = appendRequest(dst, e)
		dst = append(dst, ' ')
		return appendHeaders(dst, e)
	}
}

func appendNative(dst []byte, e *Event, at *seconds) []byte {
	dst = at.append(dst, e.Time)
	dst = append(dst, ' ')
	for width := int64(100_000); width > 1 && e.Duration < width; width /= 10 {
		dst = append(dst, ' ')
	}
	dst = strconv.AppendInt(dst, e.Duration, 10)
	dst = append(dst, ' ')
	dst = append(dst, e.SourceIP...)
	dst = append(dst, ' ')
	dst = append(dst, e.Result...)
	dst = append(dst, '/', byte('0'+e.Status/100), byte('0'+e.Status/10%10), byte('0'+e.Status%10), ' ')
	dst = strconv.AppendInt(dst, e.BytesIn, 10)
	dst = append(dst, ' ')
	return appendRequest(dst, e)
}

// appendRequest appends %rm %ru %[un %Sh/%<a %mt.
func appendRequest(dst []byte, e *Event) []byte {
	dst = append(dst, e.Method...)
	dst = append(dst, ' ')
	dst = e.AppendURL(dst)
	dst = append(dst, ' ')
	dst = appendUser(dst, e.User)
	if e.ServerIP != "" {
		dst = append(dst, " HIER_DIRECT/"...)
		dst = append(dst, e.ServerIP...)
	} else {
		dst = append(dst, " HIER_NONE/-"...)
	}
	dst = append(dst, ' ')
	return append(dst, dash(e.MIME)...)
}

func appendCommon(dst []byte, e *Event, at *clock) []byte {
	dst = append(dst, e.SourceIP...)
	dst = append(dst, " - "...)
	dst = appendUser(dst, e.User)
	dst = append(dst, " ["...)
	dst = at.append(dst, e.Time)
	dst = append(dst, `] "`...)
	dst = append(dst, e.Method...)
	dst = append(dst, ' ')
	dst = e.AppendURL(dst)
	dst = append(dst, ` HTTP/1.1" `...)
	dst = strconv.AppendInt(dst, int64(e.Status), 10)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, e.BytesIn, 10)
}

// appendHeaders appends "%{Referer}>h" "%{User-Agent}>h".
func appendHeaders(dst []byte, e *Event) []byte {
	dst = append(dst, '"')
	if e.Referrer != nil && e.Scheme != "" {
		dst = append(dst, "https://"...)
		dst = append(dst, e.Referrer.authority...)
		dst = append(dst, '/')
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, `" "`...)
	for i := range len(e.UserAgent) {
		if c := e.UserAgent[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, e.UserAgent[i])
	}
	return append(dst, '"')
}

func appendResult(dst []byte, e *Event, between byte) []byte {
	dst = append(dst, e.Result...)
	dst = append(dst, between)
	if e.ServerIP != "" {
		return append(dst, "HIER_DIRECT"...)
	}
	return append(dst, "HIER_NONE"...)
}

// appendUser appends a user name as %[un does (Squid's Format::QuoteMimeBlob): bytes outside 32 to 126, '%' and brackets
// as %xx, a backslash twice; a space stays.
func appendUser(dst []byte, user string) []byte {
	if user == "" {
		return append(dst, '-')
	}
	for i := range len(user) {
		switch c := user[i]; {
		case c == '\\':
			dst = append(dst, '\\', '\\')
		case c < 32 || c > 126 || c == '%' || c == '[' || c == ']':
			const hex = "0123456789abcdef"
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// newSquidExtended writes squid_extended: the native line with "%{Referer}>h" "%{User-Agent}>h" behind it.
func newSquidExtended(*time.Location) func([]byte, *Event) []byte {
	var at seconds
	return func(dst []byte, e *Event) []byte {
		dst = appendNative(dst, e, &at)
		return appendHeaders(append(dst, ' '), e)
	}
}
