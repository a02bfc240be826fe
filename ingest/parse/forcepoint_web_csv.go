package parse

import (
	"bytes"
	"errors"
	"strings"
)

// forcepointWebCSV reads the web log that Forcepoint Web Security (Websense) exports as comma-separated values. Which columns
// an export has is chosen by the administrator: they are those of Options.Columns, else of the header line of the stream,
// else forcepointColumns, the order of the vendor's detail export. Column names are compared by their letters and digits
// only ("Date & Time" is date time). A header that contradicts Options.Columns is reported (ContradictoryHeader), not obeyed.
//
// Dates are read as 2026-11-30 or 30/11/2026 (11/30/2026 where only that is a date), times of day with or without AM and
// PM, in the configured zone and in UTC without one. "None", "Not available", "N/A" and a user "anonymous" are nothing.
// source.ip is Source IP, the client's own, else Connection IP, that of the site. Action: what is blocked or denied says so;
// allowed and permitted likewise; the rest (Confirm, Quota, Continue) does not say.
//
// Sources: https://help.forcepoint.com/websec/en-us/on-prem/85/siem/5EA353E4-BD6A-4DB1-9F1A-BB8AFA6A328E.html and
// https://help.forcepoint.com/websec/en-us/cloud/admin_guide/guid-06b1253d-47b7-4acc-bd51-e8e8e3314d3a.html.
type forcepointWebCSV struct {
	fixed   bool
	columns []forcepointColumn
	stamps  stampReader
	cut     fieldCutter
}

// forcepointColumns is the order that is taken where nothing says otherwise.
const forcepointColumns = "Date,Time,User,Workstation,Category,Action,Risk Class,Policy Name,URL,Connection IP,Destination IP,Source IP," +
	"Threat Type,Threat Name,User Agent String,HTTP Status Code,Request Method"

type forcepointColumn uint8

const (
	forcepointOther forcepointColumn = iota
	forcepointDate
	forcepointTime
	forcepointUser
	forcepointAction
	forcepointURL
	forcepointHost
	forcepointSource
	forcepointConnection
	forcepointDestination
	forcepointAgent
	forcepointStatus
	forcepointMethod
	forcepointSent
	forcepointReceived
	forcepointPort
	forcepointProtocol
	forcepointMIME
	forcepointReferrer
	forcepointCount
)

func forcepointColumnOf(name string) forcepointColumn {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r | 0x20
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
	switch plain {
	case "date", "datetime", "dateandtime", "timestamp", "day":
		return forcepointDate
	case "time":
		return forcepointTime
	case "user", "username", "userid", "loginid", "usrname":
		return forcepointUser
	case "action", "disposition", "dispositionstring":
		return forcepointAction
	case "url", "fullurl", "uri", "requesturl":
		return forcepointURL
	case "urlhostname", "hostname", "host", "urlhost", "site", "urldomain":
		return forcepointHost
	case "sourceip", "clientip", "src", "source", "sourceaddress", "privateip":
		return forcepointSource
	case "connectionip", "gatewayip", "egressip":
		return forcepointConnection
	case "destinationip", "dst", "destination", "serverip", "destinationaddress":
		return forcepointDestination
	case "useragent", "useragentstring":
		return forcepointAgent
	case "httpstatuscode", "statuscode", "httpstatus", "status", "httpresponsecode":
		return forcepointStatus
	case "requestmethod", "httprequestmethod", "method", "httpmethod":
		return forcepointMethod
	case "bytessent", "requestsize", "sent", "sourcebytes":
		return forcepointSent
	case "bytesreceived", "responsesize", "received", "destinationbytes":
		return forcepointReceived
	case "port", "destinationport", "urlport":
		return forcepointPort
	case "protocol", "scheme":
		return forcepointProtocol
	case "contenttype", "mimetype":
		return forcepointMIME
	case "referrer", "referer", "referrerurl", "refererurl":
		return forcepointReferrer
	case "hits", "requestcount", "requests":
		return forcepointCount
	}
	return forcepointOther
}

func forcepointColumnsOf(names []string) (columns []forcepointColumn, ok bool) {
	var has [forcepointCount + 1]bool
	for _, name := range names {
		c := forcepointColumnOf(name)
		if has[c] {
			c = forcepointOther
		}
		has[c] = true
		columns = append(columns, c)
	}
	return columns, has[forcepointDate] && (has[forcepointURL] || has[forcepointHost])
}

func (f *forcepointWebCSV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	f.cut.csv(b, forcepointSeparator(b))
	if reason := f.header(b); reason != "" {
		return reason, ""
	}
	var ok bool
	var day, clock, url, host, connection []byte
	for n, column := range f.columns {
		if column == forcepointOther {
			continue
		}
		v := person(bytes.TrimSpace(f.cut.field(b, n)))
		if v == nil {
			continue
		}
		switch column {
		case forcepointDate:
			day = v
		case forcepointTime:
			clock = v
		case forcepointUser:
			e.User = s.undouble(v)
		case forcepointAction:
			e.Code = v
		case forcepointURL:
			url = s.undouble(v)
		case forcepointHost:
			host = v
		case forcepointSource:
			if e.SourceIP, ok = client(v); !ok {
				return BadAddress, "source.ip"
			}
		case forcepointConnection:
			connection = v
		case forcepointDestination:
			if e.DestinationIP, ok = client(v); !ok {
				return BadAddress, "destination.ip"
			}
		case forcepointAgent:
			e.UserAgent = s.undouble(v)
		case forcepointStatus:
			if e.Status, ok = replied(v); !ok {
				return BadNumber, "http.response.status_code"
			}
		case forcepointMethod:
			e.Method = v
		case forcepointSent:
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case forcepointReceived:
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case forcepointPort:
			if e.Port, ok = port(v); !ok {
				return BadNumber, "url.port"
			}
		case forcepointProtocol:
			if scheme(v) {
				e.Scheme = v
			}
		case forcepointMIME:
			e.MIME = mimeType(v)
		case forcepointReferrer:
			e.Referrer = s.undouble(v)
		case forcepointCount:
			if e.Count, ok = countOf(v); !ok {
				return BadNumber, "event.count"
			}
		}
	}
	var taken bool
	if e.Time, taken, ok = f.time(day, clock); !ok {
		if !taken {
			return ForeignLine, "@timestamp"
		}
		return BadTime, "@timestamp"
	}
	if !e.SourceIP.IsValid() {
		if e.SourceIP, ok = client(connection); !ok {
			return BadAddress, "source.ip"
		}
	}
	if url == nil && host == nil && f.cut.n < len(f.columns) {
		return Truncated, "url.domain"
	}
	switch {
	case contains(e.Code, "block"), contains(e.Code, "denied"), contains(e.Code, "deny"):
		e.Action = Blocked
	case contains(e.Code, "allow"), contains(e.Code, "permit"):
		e.Action = Allowed
	}
	return visited(url, host, e)
}

func forcepointSeparator(b []byte) byte {
	for _, c := range b {
		switch c {
		case ',', ';', '\t':
			return c
		}
	}
	return ','
}

// header says skip for a header line, which sets the columns unless they are fixed, and "" for a row.
func (f *forcepointWebCSV) header(b []byte) Reason {
	first := bytes.TrimSpace(f.cut.field(b, 0))
	if len(first) == 0 || first[0]-'0' <= 9 {
		return ""
	}
	known := 0
	for n := range f.cut.n {
		if name := f.cut.field(b, n); len(name) < 40 && forcepointNamed(name) {
			known++
		}
	}
	if known < 3 || known*3 < f.cut.n {
		return ""
	}
	var names []string
	for n := range f.cut.n {
		names = append(names, string(f.cut.field(b, n)))
	}
	columns, ok := forcepointColumnsOf(names)
	switch {
	case !f.fixed && ok:
		f.columns = columns
		return skip
	case !f.fixed:
		return ContradictoryHeader
	}
	for n, c := range f.columns {
		if n >= len(columns) || columns[n] != c {
			return ContradictoryHeader
		}
	}
	return skip
}

// forcepointNamed says whether b is a column's name: letters only, so that rows cost little.
func forcepointNamed(b []byte) bool {
	for _, c := range b {
		if c-'0' <= 9 || c == '.' || c == '/' || c == ':' || c >= 0x80 {
			return false
		}
	}
	return len(b) > 2 && forcepointColumnOf(string(b)) != forcepointOther
}

// time reads the date and the time of day, which may stand in one column or in two; taken says whether it was one at all.
func (f *forcepointWebCSV) time(day, clock []byte) (ms int64, taken, ok bool) {
	if n, isNumber := decimal(day); isNumber && clock == nil && n > 99_999_999 {
		ms, ok = unixTime(day)
		return ms, true, ok
	}
	days, n, ok := f.stamps.date(day)
	if n == 0 {
		days, n, ok = europeanDate(day)
	}
	if n == 0 {
		return 0, false, false
	}
	if clock == nil {
		if n < len(day) && (day[n] == 'T' || day[n] == ' ' || day[n] == ',') {
			n++
		}
		clock = bytes.TrimSpace(day[n:])
	}
	ofDay, length := dayTime(clock)
	rest := bytes.TrimSpace(clock[length:])
	switch {
	case length == 0:
		return 0, true, false
	case fold(rest, "pm") && ofDay < 12*3600_000:
		ofDay += 12 * 3600_000
	case fold(rest, "am") && ofDay >= 12*3600_000:
		ofDay -= 12 * 3600_000
	}
	ms = days*86_400_000 + ofDay
	if east, zone := zoneOffset(rest, 0); zone > 0 {
		ms, fine := within9999(ms - east*1000)
		return ms, true, ok && fine
	}
	ms, fine := f.stamps.local(ms)
	return ms, true, ok && fine
}

// europeanDate reads 30/11/2026 or 30.11.2026, and 11/30/2026 where only that is a date, from the beginning of b.
func europeanDate(b []byte) (days int64, n int, ok bool) {
	first, a := digits(b, 0, 2)
	if a == 0 || b[0] == ' ' || a >= len(b) || b[a] != '/' && b[a] != '.' && b[a] != '-' {
		return 0, 0, false
	}
	second, c := digits(b, a+1, 2)
	at := a + 1 + c
	if c == 0 || at >= len(b) || b[at] != b[a] || two(b, at+1) < 0 || two(b, at+3) < 0 {
		return 0, 0, false
	}
	year := two(b, at+1)*100 + two(b, at+3)
	if days, ok = date(year, second, first); !ok {
		days, ok = date(year, first, second)
	}
	return days, at + 5, ok
}

func (f *forcepointWebCSV) origins() []Origin {
	return []Origin{
		{"@timestamp", "Date, Time"}, {"source.ip", "Source IP, Connection IP"}, {"user.name", "User"}, {"event.count", "Hits"},
		{"http.request.method", "Request Method"}, {"url.scheme", "URL, Protocol"}, {"url.domain", "URL, URL Hostname"}, {"url.port", "URL, Port"},
		{"url.path", "URL"}, {"url.query", "URL"}, {"http.request.referrer", "Referrer"}, {"user_agent.original", "User Agent String"},
		{"http.response.status_code", "HTTP Status Code"}, {"event.action", "Action"}, {"event.code", "Action"}, {"destination.ip", "Destination IP"},
		{"destination.bytes", "Bytes Received"}, {"source.bytes", "Bytes Sent"}, {"http.response.mime_type", "Content Type"},
	}
}

func forcepointWebCSVFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "forcepoint_web_csv", About: "Forcepoint (Websense) web log export, comma-separated, columns by header or by hand", Kind: Web, Remembers: true,
			Takes: []string{NeedColumns, NeedZone},
		},
		bareFirst: true,
		build:     func(o Options) (lineFormat, error) { return newForcepointWebCSV(o) },
	}
}

func newForcepointWebCSV(o Options) (*forcepointWebCSV, error) {
	f := &forcepointWebCSV{stamps: newStampReader(o.Zone)}
	names := strings.Split(forcepointColumns, ",")
	if f.fixed = len(o.Columns) > 0; f.fixed {
		names = o.Columns
	}
	var ok bool
	if f.columns, ok = forcepointColumnsOf(names); !ok {
		return nil, errors.New("columns name no date or no URL: give all of the export's columns in order, such as Date,Time,User,Action,URL")
	}
	return f, nil
}
