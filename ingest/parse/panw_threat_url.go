package parse

import "bytes"

// panwThreatURL reads the URL filtering log of PAN-OS: comma-separated values, known by their index, for every release
// appends columns. Only lines of type THREAT and subtype url are events; those of the other logs (TRAFFIC, SYSTEM, other
// threats) that a firewall sends to the same place are passed over. Whatever stands before the line's first field is passed
// over too: a syslog header with or without a host name. Repeat Count is Event.Count.
//
// The time is Generated Time, in the configured zone; without one, in the zone of the High Resolution Timestamp that newer
// releases append, else in UTC. The URL has no scheme. alert, allow, continue and override let the request through; block
// and everything that begins so, drop, reset and override-lockout did not.
//
// Source: https://docs.paloaltonetworks.com/pan-os/10-1/pan-os-admin/monitoring/use-syslog-for-monitoring/syslog-field-descriptions/url-filtering-log-fields.
type panwThreatURL struct {
	stamps stampReader
	zoned  bool
	cut    fieldCutter
}

// The indexes of the fields that are read, from 0 (FUTURE_USE).
const (
	panType        = 3
	panSubtype     = 4
	panGenerated   = 6
	panSource      = 7
	panDestination = 8
	panSourceUser  = 12
	panRepeat      = 23
	panSourcePort  = 24
	panAction      = 30
	panURL         = 31
	panContentType = 41
	panUserAgent   = 46
	panReferer     = 49
	panMethod      = 63
)

func (f *panwThreatURL) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	start := panStart(b)
	if start < 0 {
		return ForeignLine, "@timestamp"
	}
	b = b[start:]
	f.cut.csv(b, ',')
	if f.cut.n <= panSubtype {
		return Truncated, "url.domain"
	}
	if !fold(f.cut.field(b, panType), "threat") || !fold(f.cut.field(b, panSubtype), "url") {
		return skip, ""
	}
	if f.cut.n <= panURL {
		return Truncated, "url.domain"
	}
	var ok bool
	if e.Time, ok = f.time(b); !ok {
		return BadTime, "@timestamp"
	}
	if e.SourceIP, ok = client(f.cut.field(b, panSource)); !ok {
		return BadAddress, "source.ip"
	}
	if e.DestinationIP, ok = client(f.cut.field(b, panDestination)); !ok {
		return BadAddress, "destination.ip"
	}
	if p := present(f.cut.field(b, panSourcePort)); p != nil {
		if e.SourcePort, ok = port(p); !ok {
			return BadNumber, "source.port"
		}
	}
	if e.Count, ok = countOf(f.cut.field(b, panRepeat)); !ok {
		return BadNumber, "event.count"
	}
	if user := person(f.cut.field(b, panSourceUser)); user != nil {
		e.User = s.undouble(user)
	}
	e.Code = present(f.cut.field(b, panAction))
	e.Action = panAct(e.Code)
	e.MIME = mimeType(f.cut.field(b, panContentType))
	if agent := present(f.cut.field(b, panUserAgent)); agent != nil {
		e.UserAgent = s.undouble(agent)
	}
	if referrer := present(f.cut.field(b, panReferer)); referrer != nil {
		e.Referrer = s.undouble(referrer)
	}
	if method := f.cut.field(b, panMethod); !absent(method) && !fold(method, "unknown") {
		e.Method = method
	}
	return visited(s.undouble(f.cut.field(b, panURL)), nil, e)
}

// panStart answers where the first field begins: at the word that a comma and a date like 2026/11/30 follow. It is -1 where
// there is none.
func panStart(b []byte) int {
	for from := 0; ; {
		comma := bytes.IndexByte(b[from:], ',')
		if comma < 0 {
			return -1
		}
		at := from + comma
		date := b[at+1:]
		if len(date) > 0 && date[0] == '"' {
			date = date[1:]
		}
		if len(date) >= 19 && (date[4] == '/' || date[4] == '-') && date[7] == date[4] && two(date, 0) >= 0 && two(date, 2) >= 0 && date[13] == ':' && date[16] == ':' {
			start := at
			for start > 0 && b[start-1] != ' ' {
				start--
			}
			return start
		}
		from = at + 1
	}
}

func (f *panwThreatURL) time(b []byte) (ms int64, ok bool) {
	generated := f.cut.field(b, panGenerated)
	ms, n, ok := f.stamps.stamp(generated)
	if !ok || n != len(generated) {
		return 0, false
	}
	if f.zoned {
		return ms, true
	}
	for i := f.cut.n - 1; i > panMethod; i-- {
		if field := f.cut.field(b, i); len(field) > 20 && field[10] == 'T' && field[4] == '-' {
			zone := len(field)
			for zone > 19 && field[zone-1] != '+' && field[zone-1] != '-' && field[zone-1] != 'Z' {
				zone--
			}
			if east, n := zoneOffset(field, zone-1); n > 0 {
				return within9999(ms - east*1000)
			}
		}
	}
	return ms, true
}

// panAct says what the firewall did, by its word for it.
func panAct(b []byte) Action {
	switch {
	case fold(b, "alert"), fold(b, "allow"), fold(b, "continue"), fold(b, "override"):
		return Allowed
	case foldStarts(b, "block"), foldStarts(b, "drop"), foldStarts(b, "deny"), foldStarts(b, "reset"), fold(b, "override-lockout"),
		fold(b, "random-drop"), fold(b, "sinkhole"):
		return Blocked
	}
	return Unsaid
}

func (f *panwThreatURL) origins() []Origin {
	return []Origin{
		{"@timestamp", "Generated Time"}, {"source.ip", "Source Address"}, {"source.port", "Source Port"}, {"user.name", "Source User"},
		{"event.count", "Repeat Count"}, {"http.request.method", "HTTP Method"}, {"url.scheme", "URL/Filename"}, {"url.domain", "URL/Filename"},
		{"url.port", "URL/Filename"}, {"url.path", "URL/Filename"}, {"url.query", "URL/Filename"}, {"http.request.referrer", "Referer"},
		{"user_agent.original", "User Agent"}, {"event.action", "Action"}, {"event.code", "Action"}, {"destination.ip", "Destination Address"},
		{"http.response.mime_type", "Content Type"},
	}
}

func panwThreatURLFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "panw_threat_url", About: "PAN-OS URL filtering log (THREAT,url), comma-separated", Kind: Web, Takes: []string{NeedZone}},
		bareFirst:  true,
		build: func(o Options) (lineFormat, error) {
			return &panwThreatURL{stamps: newStampReader(o.Zone), zoned: o.Zone != nil}, nil
		},
	}
}
