package parse

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
)

// zeekHTTP reads Zeek's (Bro's) http.log as tab-separated values. Its columns are those of Options.Columns, else of the
// #fields line in the stream, else those that Zeek writes by itself (with or without origin, told apart by their number).
// #separator, #unset_field and #empty_field are followed; the columns of a #fields line that contradicts Options.Columns are
// not (ContradictoryHeader). ts is in seconds since 1970, to the microsecond, of which the milliseconds are kept.
//
// The target is host and uri. For CONNECT, and for requests to a proxy, uri names the host itself ("host:port", to which Zeek
// appends " /"), and id.resp_h is the proxy, so it is no destination. request_body_len and response_body_len are the bytes
// of the bodies: Zeek does not count the headers. A monitor blocks nothing: event.action is absent. \xHH is decoded in
// texts. username is the user of HTTP's own sign-in; password is never read.
//
// Source: https://docs.zeek.org/en/master/logs/http.html and https://docs.zeek.org/en/master/log-formats.html.
type zeekHTTP struct {
	fixed     bool
	columns   []zeekColumn
	usual     [2][]zeekColumn
	separator byte
	unset     string
	empty     string
	cut       fieldCutter
}

type zeekColumn uint8

const (
	zeekOther zeekColumn = iota
	zeekTS
	zeekClient
	zeekClientPort
	zeekServer
	zeekMethod
	zeekHost
	zeekURI
	zeekReferrer
	zeekAgent
	zeekUp
	zeekDown
	zeekStatus
	zeekUser
	zeekMIME
)

func zeekColumns(names []string) []zeekColumn {
	columns := make([]zeekColumn, len(names))
	for i, name := range names {
		switch name {
		case "ts":
			columns[i] = zeekTS
		case "id.orig_h", "id_orig_h", "source_ip":
			columns[i] = zeekClient
		case "id.orig_p", "id_orig_p":
			columns[i] = zeekClientPort
		case "id.resp_h", "id_resp_h":
			columns[i] = zeekServer
		case "method":
			columns[i] = zeekMethod
		case "host":
			columns[i] = zeekHost
		case "uri":
			columns[i] = zeekURI
		case "referrer":
			columns[i] = zeekReferrer
		case "user_agent":
			columns[i] = zeekAgent
		case "request_body_len":
			columns[i] = zeekUp
		case "response_body_len":
			columns[i] = zeekDown
		case "status_code":
			columns[i] = zeekStatus
		case "username":
			columns[i] = zeekUser
		case "resp_mime_types":
			columns[i] = zeekMIME
		}
	}
	return columns
}

func (f *zeekHTTP) comment(line []byte) (Reason, string) {
	line = bytes.TrimLeft(line, " ")
	if len(line) == 0 || line[0] != '#' {
		return skip, ""
	}
	if value, ok := directive(line, "#separator"); ok {
		// written with a space, and mostly as \x09
		switch {
		case len(value) == 4 && value[0] == '\\' && value[1] == 'x' && hexDigit(value[2]) < 16 && hexDigit(value[3]) < 16:
			f.separator = hexDigit(value[2])<<4 | hexDigit(value[3])
		case len(value) == 1:
			f.separator = value[0]
		}
		return skip, ""
	}
	if value, ok := directive(line, "#unset_field"); ok {
		f.unset = string(value)
	}
	if value, ok := directive(line, "#empty_field"); ok {
		f.empty = string(value)
	}
	if value, ok := directive(line, "#fields"); ok {
		columns := zeekColumns(strings.Split(string(value), string(rune(f.separator))))
		if !f.fixed {
			f.columns = columns
			return skip, ""
		}
		if len(columns) < len(f.columns) || string(zeekBytes(columns[:len(f.columns)])) != string(zeekBytes(f.columns)) {
			return ContradictoryHeader, ""
		}
	}
	return skip, ""
}

func zeekBytes(columns []zeekColumn) []byte {
	b := make([]byte, len(columns))
	for i, c := range columns {
		b[i] = byte(c)
	}
	return b
}

// directive answers the value of a comment line of this name.
func directive(line []byte, name string) (value []byte, ok bool) {
	if !starts(line, name) || len(line) <= len(name)+1 {
		return nil, false
	}
	return line[len(name)+1:], true
}

func (f *zeekHTTP) doubt() Reason { return "" }

func (f *zeekHTTP) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	if len(b) > 0 && b[0] == '#' {
		return f.comment(b)
	}
	f.cut.split(b, f.separator)
	columns := f.columns
	if columns == nil {
		columns = f.usual[0]
		if f.cut.n == len(f.usual[1]) {
			columns = f.usual[1]
		}
	}
	if f.cut.n < len(columns) {
		if _, n, _ := epoch(b); n == 0 || f.cut.n < 3 {
			return ForeignLine, "@timestamp"
		}
		return Truncated, "url.domain"
	}
	var ok, timed bool
	var host, uri []byte
	for n, column := range columns {
		if column == zeekOther {
			continue
		}
		v := f.cut.field(b, n)
		if len(v) == 0 || string(v) == f.unset || string(v) == f.empty {
			continue
		}
		switch column {
		case zeekTS:
			ms, n, fine := unixSeconds(v)
			switch {
			case n == 0 || n != len(v):
				return ForeignLine, "@timestamp"
			case !fine:
				return BadTime, "@timestamp"
			}
			e.Time, timed = ms, true
		case zeekClient:
			if e.SourceIP, ok = client(v); !ok {
				return BadAddress, "source.ip"
			}
		case zeekClientPort:
			if e.SourcePort, ok = port(v); !ok {
				return BadNumber, "source.port"
			}
		case zeekServer:
			if e.DestinationIP, ok = client(v); !ok {
				return BadAddress, "destination.ip"
			}
		case zeekMethod:
			e.Method = v
		case zeekHost:
			host = v
		case zeekURI:
			uri = s.unescape(v, true)
		case zeekReferrer:
			e.Referrer = s.unescape(v, true)
		case zeekAgent:
			e.UserAgent = s.unescape(v, true)
		case zeekUp:
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case zeekDown:
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case zeekStatus:
			if e.Status, ok = replied(v); !ok {
				return BadNumber, "http.response.status_code"
			}
		case zeekUser:
			if v = person(v); v != nil {
				e.User = s.unescape(v, true)
			}
		case zeekMIME:
			if comma := indexByte(v, ','); comma >= 0 {
				v = v[:comma]
			}
			e.MIME = mimeType(v)
		}
	}
	if !timed {
		return Truncated, "@timestamp"
	}
	connect := fold(e.Method, "connect")
	if connect {
		uri, _ = token(uri, 0)
	}
	if connect || bytes.Contains(uri[:min(len(uri), 20)], []byte("://")) {
		// the other end is the proxy
		e.DestinationIP = netip.Addr{}
	}
	return visited(uri, host, e)
}

func (f *zeekHTTP) origins() []Origin {
	return []Origin{
		{"@timestamp", "ts"}, {"source.ip", "id.orig_h"}, {"source.port", "id.orig_p"}, {"user.name", "username"}, {"http.request.method", "method"},
		{"url.scheme", "uri"}, {"url.domain", "host, uri"}, {"url.port", "host, uri"}, {"url.path", "uri"}, {"url.query", "uri"},
		{"http.request.referrer", "referrer"}, {"user_agent.original", "user_agent"}, {"http.response.status_code", "status_code"},
		{"destination.ip", "id.resp_h"}, {"destination.bytes", "response_body_len"}, {"source.bytes", "request_body_len"},
		{"http.response.mime_type", "resp_mime_types"},
	}
}

func zeekHTTPFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "zeek_http_tsv", About: "Zeek http.log, tab-separated", Kind: Web, Remembers: true, Takes: []string{NeedColumns}},
		build:      func(o Options) (lineFormat, error) { return newZeekHTTP(o.Columns) },
	}
}

func newZeekHTTP(columns []string) (*zeekHTTP, error) {
	const head = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p trans_depth method host uri referrer version user_agent "
	const tail = "request_body_len response_body_len status_code status_msg info_code info_msg tags username password proxied " +
		"orig_fuids orig_filenames orig_mime_types resp_fuids resp_filenames resp_mime_types"
	f := &zeekHTTP{separator: '\t', unset: "-", empty: "(empty)"}
	f.usual = [2][]zeekColumn{zeekColumns(strings.Fields(head + "origin " + tail)), zeekColumns(strings.Fields(head + tail))}
	if len(columns) == 0 {
		return f, nil
	}
	names := strings.Fields(strings.TrimPrefix(strings.Join(columns, " "), "#fields"))
	f.columns, f.fixed = zeekColumns(names), true
	has := map[zeekColumn]bool{}
	for _, c := range f.columns {
		has[c] = true
	}
	if !has[zeekTS] || !has[zeekHost] && !has[zeekURI] {
		return nil, errors.New("columns name no ts or no host: paste the whole #fields line")
	}
	return f, nil
}
