package synthetic

import (
	"strconv"
	"time"
)

// A Format is a log format that a municipality can write.
type Format struct {
	Name string
	// Server says whether its lines carry the server's address: without it every country is CountryUnknown.
	Server bool
	// Sent says whether its lines carry the bytes from the client: without them bytes out are 0.
	Sent bool
	// Spec is the logformat line that describes it to a reader; empty where the name says it all.
	Spec string
	// New answers an encoder, which appends one Event to dst as one line without line end. An encoder keeps the texts of
	// the second it is in, so each run needs its own. Local times are written in zone.
	New func(zone *time.Location) func(dst []byte, e *Event) []byte
}

// Formats answers all formats.
func Formats() []Format {
	return []Format{
		{Name: "squid_native", Server: true, New: newSquidNative},
		{Name: "squid_syslog", Server: true, New: newSquidSyslog},
		{Name: "squid_common", New: newSquidCommon},
		{Name: "squid_combined", New: newSquidCombined},
		{Name: "squid_logformat", Server: true, Sent: true, Spec: squidSpec, New: newSquidLogformat},
	}
}

// FormatNames answers the names of all formats.
func FormatNames() []string {
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return names
}

// FormatByName answers the format of that name.
func FormatByName(name string) (Format, bool) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

// AppendLine appends e to dst in the format of an encoder; where e is malformed, as that kind of malformed line.
func AppendLine(dst []byte, e *Event, encode func([]byte, *Event) []byte) []byte {
	if e.Bad == "" {
		return encode(dst, e)
	}
	switch e.Bad {
	case BadForeign:
		return append(dst, "2026/10/11 09:14:49 kid1| Accepting HTTP Socket connections at local=[::]:3128 remote=[::] FD 11 flags=9"...)
	case BadTruncated:
		start := len(dst)
		dst = encode(dst, e)
		// Within the first fields of every format: no reader can make a request of what is left.
		return dst[:min(start+4+int(e.number%24), len(dst))]
	case BadNUL:
		start := len(dst)
		dst = encode(dst, e)
		dst[start+(len(dst)-start)/2] = 0
		return dst
	}
	return encode(dst, e)
}

// A clock keeps the text of the second it was asked for last.
type clock struct {
	zone   *time.Location
	layout string
	second int64
	text   []byte
}

func newClock(zone *time.Location, layout string) *clock {
	return &clock{zone: zone, layout: layout, second: -1}
}

func (c *clock) append(dst []byte, millis int64) []byte {
	if s := millis / 1000; s != c.second {
		c.second = s
		c.text = time.Unix(s, 0).In(c.zone).AppendFormat(c.text[:0], c.layout)
	}
	return append(dst, c.text...)
}

// A seconds writes times as seconds with three decimals, and keeps the digits of the second it was asked for last.
type seconds struct {
	second int64
	text   []byte
}

func (c *seconds) append(dst []byte, millis int64) []byte {
	if s := millis / 1000; s != c.second || c.text == nil {
		c.second = s
		c.text = strconv.AppendInt(c.text[:0], s, 10)
	}
	dst = append(dst, c.text...)
	ms := millis % 1000
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
