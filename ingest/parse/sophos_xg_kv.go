package parse

// sophosXGKV reads the web filter log of Sophos Firewall (SFOS, XG and XGS) as it comes by syslog: key=value pairs, bare or
// quoted, in the device standard format (date, time, timezone, url, httpresponsecode, sent_bytes ...) and in the central
// reporting format (timestamp, http_status, bytes_sent ...). Events are the lines of log_type "Content Filtering" and
// component HTTP; those of the other logs and components (Application, Web Content Policy, Firewall ...) are passed over.
//
// The time is timestamp, which names its zone, else date and time in the configured zone; without one in the zone of
// timezone where that is an offset or an abbreviation with one meaning, else in UTC. Denied and Warned are blocks: a
// warned request that goes on has a line of its own, Allowed. A status of 0 or "" is no status.
//
// Source: https://docs.sophos.com/nsg/sophos-firewall/20.0/syslog/index.html (Web filter, content filter).
type sophosXGKV struct {
	stamps stampReader
	zoned  bool
}

func (f *sophosXGKV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var ok bool
	var kind, component, subtype, verdict, at, day, clock, zone, url, host []byte
	known := 0
	pairs := newPairScanner(b)
	for {
		key, v, quoted, more := pairs.next()
		if !more {
			break
		}
		known++
		if v = present(v); v == nil {
			continue
		}
		switch string(key) {
		case "log_type":
			kind = v
		case "log_component":
			component = v
		case "log_subtype":
			subtype = v
		case "status", "action":
			verdict = v
		case "timestamp":
			at = v
		case "date":
			day = v
		case "time":
			clock = v
		case "timezone":
			zone = v
		case "user_name", "user":
			if v = person(v); v != nil && e.User == nil {
				if quoted {
					v = s.unescape(v, false)
				}
				e.User = v
			}
		case "src_ip":
			if e.SourceIP, ok = client(v); !ok {
				return BadAddress, "source.ip"
			}
		case "src_port":
			if e.SourcePort, ok = port(v); !ok {
				return BadNumber, "source.port"
			}
		case "dst_ip":
			if e.DestinationIP, ok = client(v); !ok {
				return BadAddress, "destination.ip"
			}
		case "sent_bytes", "bytes_sent":
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case "recv_bytes", "bytes_received":
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case "httpresponsecode", "http_status", "status_code", "http_response_code":
			code, fine := replied(v)
			if !fine {
				return BadNumber, "http.response.status_code"
			}
			if code > 0 {
				e.Status = code
			}
		case "url":
			if url = v; quoted {
				url = s.unescape(v, false)
			}
		case "domain", "domainname":
			host = v
		case "contenttype", "content_type":
			e.MIME = mimeType(v)
		case "user_agent", "http_user_agent":
			if e.UserAgent = v; quoted {
				e.UserAgent = s.unescape(v, false)
			}
		case "referer", "http_referer":
			if e.Referrer = v; quoted {
				e.Referrer = s.unescape(v, false)
			}
		case "http_method", "method":
			if httpMethod(v) {
				e.Method = v
			}
		}
	}
	switch {
	case known < 3 || kind == nil && component == nil && url == nil:
		return ForeignLine, ""
	case kind != nil && !fold(kind, "content filtering"), component != nil && !fold(component, "http") && !fold(component, "https"):
		return skip, ""
	}
	if at != nil {
		ms, n, fine := f.stamps.stamp(at)
		if e.Time = ms; !fine || n != len(at) {
			return BadTime, "@timestamp"
		}
	} else {
		if day == nil || clock == nil {
			return Truncated, "@timestamp"
		}
		if e.Time, ok = f.time(day, clock, zone); !ok {
			return BadTime, "@timestamp"
		}
	}
	if e.Code = subtype; e.Code == nil {
		e.Code = verdict
	}
	switch {
	case foldStarts(e.Code, "allow"):
		e.Action = Allowed
	case foldStarts(e.Code, "den"), foldStarts(e.Code, "warn"), foldStarts(e.Code, "block"), foldStarts(e.Code, "drop"), foldStarts(e.Code, "reject"):
		e.Action = Blocked
	}
	return visited(url, host, e)
}

func (f *sophosXGKV) time(day, clock, zone []byte) (ms int64, ok bool) {
	days, n, ok := f.stamps.date(day)
	ofDay, taken := dayTime(clock)
	if !ok || n != len(day) || taken != len(clock) {
		return 0, false
	}
	ms = days*86_400_000 + ofDay
	if east, n := zoneOffset(zone, 0); n > 0 && n == len(zone) {
		return within9999(ms - east*1000)
	}
	if !f.zoned {
		return within9999(ms - zoneHours(zone)*3600_000)
	}
	return f.stamps.local(ms)
}

// zoneHours answers the hours east of UTC of the zone abbreviations that mean one thing in Europe; 0 for any other.
func zoneHours(b []byte) int64 {
	switch string(b) {
	case "CET", "WEST", "BST":
		return 1
	case "CEST", "EET", "SAST":
		return 2
	case "EEST", "MSK":
		return 3
	}
	return 0
}

func (f *sophosXGKV) origins() []Origin {
	return []Origin{
		{"@timestamp", "timestamp, date time timezone"}, {"source.ip", "src_ip"}, {"source.port", "src_port"}, {"user.name", "user_name, user"},
		{"url.scheme", "url"}, {"url.domain", "url, domain"}, {"url.port", "url"}, {"url.path", "url"}, {"url.query", "url"},
		{"http.request.method", "http_method"}, {"http.request.referrer", "referer"}, {"user_agent.original", "user_agent, http_user_agent"},
		{"http.response.status_code", "status_code, httpresponsecode, http_status"}, {"event.action", "log_subtype, status"}, {"event.code", "log_subtype"},
		{"destination.ip", "dst_ip"}, {"destination.bytes", "recv_bytes, bytes_received"}, {"source.bytes", "sent_bytes, bytes_sent"},
		{"http.response.mime_type", "contenttype, content_type"},
	}
}

func sophosXGKVFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "sophos_xg_kv", About: "Sophos Firewall (SFOS) web filter log, device standard or central reporting format", Kind: Web, Takes: []string{NeedZone}},
		build: func(o Options) (lineFormat, error) {
			return &sophosXGKV{stamps: newStampReader(o.Zone), zoned: o.Zone != nil}, nil
		},
	}
}
