package parse

import (
	"bytes"
	"time"
)

// A zscalerReader is what Zscaler's two formats share: the names of NSS fields, and how their values become an event.
//
// The customer writes the feed's template, so a field is known by its own name (%s{login}), by the names that Zscaler's and
// others' published templates give it ("user" for %s{elogin}), and without the e of the variants in which the bytes of the
// feed's escape characters are %-encoded; %XX in names and user agents are decoded, in URLs they stay. None, NA and N/A are
// no value. The epoch is preferred to local times, whose zone is the feed's %s{tz}, else Options.Zone, else UTC. URLs have no
// scheme: it is told by the protocol. user.name is the login, and the obfuscated one (%s{ologin}) only where there is no
// other. source.ip is %s{cip}, else %s{cintip}. event.duration is %d{ctime}, the client's transaction time.
//
// Source: https://help.zscaler.com/zia/nss-feed-output-format-web-logs.
type zscalerReader struct {
	stamps stampReader
	named  string // the name of the feed's zone
	clock  wallClock
	nobody string // the last name of a zone that there is none of
}

const (
	zTime jsonSlot = iota
	zEpoch
	zZone
	zLogin
	zHiddenLogin
	zURL
	zHost
	zProtocol
	zAction
	zStatus
	zRequestSize
	zResponseSize
	zTotalSize
	zMethod
	zContentType
	zClient
	zInternalClient
	zClientPort
	zServer
	zUserAgent
	zReferer
	zDuration
	zYear
	zMonth
	zMonthName
	zDay
	zHour
	zMinute
	zSecond
	zRecordType
	zSlots
)

// zscalerSlots answers the fields by name, in lower case.
func zscalerSlots() map[string]jsonSlot {
	list := map[string]jsonSlot{}
	for slot, names := range [zSlots][]string{
		zTime:           {"time", "datetime", "eventtime", "timegenerated", "timestamp"},
		zEpoch:          {"epochtime", "epoch"},
		zZone:           {"tz", "timezone"},
		zLogin:          {"login", "elogin", "user", "suser", "username"},
		zHiddenLogin:    {"ologin"},
		zURL:            {"url", "eurl", "request"},
		zHost:           {"host", "ehost", "hostname", "dhost"},
		zProtocol:       {"proto", "protocol", "app"},
		zAction:         {"action", "act"},
		zStatus:         {"respcode", "status", "outcome", "responsecode"},
		zRequestSize:    {"reqsize", "requestsize", "out"},
		zResponseSize:   {"respsize", "responsesize", "in"},
		zTotalSize:      {"totalsize", "transactionsize"},
		zMethod:         {"reqmethod", "requestmethod"},
		zContentType:    {"contenttype"},
		zClient:         {"cip", "clientip", "cltip", "src"},
		zInternalClient: {"cintip", "clientpublicip", "cltintip"},
		zClientPort:     {"clt_sport", "cltsourceport"},
		zServer:         {"sip", "serverip", "dst"},
		zUserAgent:      {"ua", "eua", "useragent", "requestclientapplication"},
		zReferer:        {"referer", "ereferer", "refererurl", "requestcontext"},
		zDuration:       {"ctime", "clienttranstime"},
		zYear:           {"yyyy", "yy"},
		zMonth:          {"mth"},
		zMonthName:      {"mon"},
		zDay:            {"dd"},
		zHour:           {"hh"},
		zMinute:         {"mm"},
		zSecond:         {"ss"},
		zRecordType:     {"sourcetype"},
	} {
		for _, name := range names {
			list[name] = slot
		}
	}
	return list
}

// nss answers a value, or nil where it is one of the words that NSS has for none.
func nss(b []byte) []byte {
	if len(b) < 5 && (absent(b) || fold(b, "none") || fold(b, "na") || fold(b, "n/a")) {
		return nil
	}
	return b
}

// fill reads an event; value answers the text of a field, nil where the line does not have it.
func (z *zscalerReader) fill(value func(slot jsonSlot) []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	get := func(slot jsonSlot) []byte { return nss(value(slot)) }
	if kind := get(zRecordType); kind != nil && foldStarts(kind, "zscalernss") && !contains(kind, "web") {
		return skip, ""
	}
	if reason := z.when(get, e); reason != "" {
		return reason, "@timestamp"
	}
	var ok bool
	from := get(zClient)
	if from == nil {
		from = get(zInternalClient)
	}
	if e.SourceIP, ok = client(from); !ok {
		return BadAddress, "source.ip"
	}
	if v := get(zClientPort); v != nil {
		if e.SourcePort, ok = port(v); !ok {
			return BadNumber, "source.port"
		}
	}
	if e.DestinationIP, ok = client(get(zServer)); !ok {
		return BadAddress, "destination.ip"
	}
	e.DestinationIP = someone(e.DestinationIP)
	if e.Status, ok = replied(get(zStatus)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.SourceBytes, ok = size(get(zRequestSize)); !ok {
		return BadNumber, "source.bytes"
	}
	if e.DestinationBytes, ok = size(get(zResponseSize)); !ok {
		return BadNumber, "destination.bytes"
	}
	if e.DestinationBytes < 0 && e.SourceBytes >= 0 {
		total, ok := size(get(zTotalSize))
		if !ok {
			return BadNumber, "destination.bytes"
		}
		e.DestinationBytes = max(total-e.SourceBytes, -1)
	}
	if e.Duration, ok = milliseconds(get(zDuration)); !ok {
		return BadNumber, "event.duration"
	}
	user := get(zLogin)
	if user == nil {
		user = get(zHiddenLogin)
	}
	if user != nil {
		e.User = person(s.percent(user))
	}
	if v := get(zMethod); v != nil && httpMethod(v) {
		e.Method = v
	}
	if v := get(zContentType); indexByte(v, '/') > 0 {
		e.MIME = mimeType(v)
	}
	if v := get(zUserAgent); v != nil {
		e.UserAgent = s.percent(v)
	}
	e.Referrer = get(zReferer)
	e.Code = get(zAction)
	switch {
	case foldStarts(e.Code, "allow"), foldStarts(e.Code, "cautioned"):
		e.Action = Allowed
	case foldStarts(e.Code, "block"), foldStarts(e.Code, "den"):
		e.Action = Blocked
	}
	if reason, field := visited(get(zURL), get(zHost), e); reason != "" {
		return reason, field
	}
	if protocol := get(zProtocol); e.Scheme == nil {
		for _, known := range [...]string{"http", "https", "ftp", "ftps", "ws", "wss"} {
			if fold(protocol, known) {
				start := s.start(len(known))
				s.buf = append(s.buf, known...)
				e.Scheme = s.buf[start:len(s.buf):len(s.buf)]
			}
		}
	}
	return "", ""
}

// when reads the time, and answers why there is none.
func (z *zscalerReader) when(get func(jsonSlot) []byte, e *Event) Reason {
	var ok bool
	if v := get(zEpoch); v != nil {
		if e.Time, ok = unixTime(v); !ok || e.Time/1000 > lastSecond {
			return BadTime
		}
		return ""
	}
	var wall int64
	if v := get(zTime); v != nil {
		n := 0
		if wall, n, ok = cTime(v); n == 0 {
			var plain stampReader
			if wall, n, ok = plain.stamp(v); n > 0 && n > len("2006-01-02 15:04:05") && !digitsOnly(v[len("2006-01-02 15:04:05"):]) {
				// it names its zone
				e.Time = wall
				if !ok || n != len(v) {
					return BadTime
				}
				return ""
			}
		}
		switch {
		case n == 0:
			return ForeignLine
		case !ok || n != len(v):
			return BadTime
		}
	} else if v := get(zYear); v != nil {
		if wall, ok = z.parts(get, v); !ok {
			return BadTime
		}
	} else {
		return ForeignLine
	}
	if e.Time, ok = z.local(wall, get(zZone)); !ok {
		return BadTime
	}
	return ""
}

// digitsOnly says whether b has nothing but a decimal point and digits.
func digitsOnly(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 && c != '.' && c != ',' {
			return false
		}
	}
	return true
}

// parts reads the time from the fields for its parts.
func (z *zscalerReader) parts(get func(jsonSlot) []byte, year []byte) (wall int64, ok bool) {
	number := func(b []byte) int {
		n, ok := decimal(b)
		if !ok || n > 9999 {
			return -1
		}
		return int(n)
	}
	y, month := number(year), 0
	if len(year) == 2 {
		y += 2000
	}
	if name := get(zMonthName); name != nil {
		month = monthNumber(name)
	} else {
		month = number(get(zMonth))
	}
	days, ok := date(y, month, number(get(zDay)))
	h, m, sec := number(get(zHour)), number(get(zMinute)), number(get(zSecond))
	if !ok || uint(h) > 23 || uint(m) > 59 || uint(sec) > 60 {
		return 0, false
	}
	return (days*86400 + int64(h)*3600 + int64(m)*60 + int64(sec)) * 1000, true
}

// local turns the feed's local time into UTC.
func (z *zscalerReader) local(wall int64, zone []byte) (ms int64, ok bool) {
	switch {
	case zone == nil:
		return z.stamps.local(wall)
	case fold(zone, "gmt"), fold(zone, "utc"), fold(zone, "z"):
		return within9999(wall)
	case z.named == string(zone):
	case z.nobody == string(zone):
		return 0, false
	default:
		if east, n := zoneOffset(zone, 0); n == len(zone) {
			return within9999(wall - east*1000)
		}
		// no name of the tz database is longer
		location, err := time.LoadLocation(string(zone[:min(len(zone), 41)]))
		if len(zone) > 40 || err != nil || bytes.EqualFold(zone, []byte("local")) {
			if z.stamps.clock.zone == nil {
				z.nobody = string(zone[:min(len(zone), 41)])
				return 0, false
			}
			location = z.stamps.clock.zone
		}
		z.named, z.clock = string(zone), wallClock{zone: location}
	}
	if wall < 0 {
		return 0, false
	}
	return within9999(z.clock.utc(wall/1000)*1000 + wall%1000)
}

// cTime reads "Mon Jun 20 15:29:11 2022", as C's asctime writes it, into milliseconds as if it were UTC, and answers the bytes
// it took (0: it is none).
func cTime(b []byte) (wall int64, n int, ok bool) {
	const length = len("Mon Jun 20 15:29:11 2022")
	if len(b) < length-1 || b[3] != ' ' || b[7] != ' ' {
		return 0, 0, false
	}
	month := monthNumber(b[4:7])
	i := 8
	if b[i] == ' ' {
		i++
	}
	day, taken := digits(b, i, 2)
	i += taken
	if month == 0 || taken == 0 || i >= len(b) || b[i] != ' ' {
		return 0, 0, false
	}
	ofDay := timeOfDay(b, i+1)
	i += len(" 15:29:11 ")
	if ofDay < 0 || i+4 > len(b) || b[i-1] != ' ' || two(b, i) < 0 || two(b, i+2) < 0 {
		return 0, 0, false
	}
	days, ok := date(two(b, i)*100+two(b, i+2), month, day)
	return (days*86400 + ofDay) * 1000, i + 4, ok
}

func zscalerOrigins(part func(slot jsonSlot) string) []Origin {
	var list []Origin
	for _, o := range []struct {
		field string
		slot  jsonSlot
	}{
		{"@timestamp", zEpoch}, {"@timestamp", zTime}, {"source.ip", zClient}, {"source.ip", zInternalClient}, {"source.port", zClientPort},
		{"user.name", zLogin}, {"user.name", zHiddenLogin}, {"http.request.method", zMethod}, {"url.scheme", zProtocol},
		{"url.domain", zURL}, {"url.domain", zHost}, {"url.port", zURL}, {"url.path", zURL}, {"url.query", zURL},
		{"http.request.referrer", zReferer}, {"user_agent.original", zUserAgent}, {"http.response.status_code", zStatus},
		{"event.action", zAction}, {"event.code", zAction}, {"destination.ip", zServer}, {"destination.bytes", zResponseSize},
		{"source.bytes", zRequestSize}, {"event.duration", zDuration}, {"http.response.mime_type", zContentType},
	} {
		if name := part(o.slot); name != "" {
			list = append(list, Origin{o.field, name})
		}
	}
	return list
}
