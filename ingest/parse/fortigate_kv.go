package parse

import (
	"bytes"
	"time"
)

// fortigateKV reads the web filter log of FortiGate firewalls: key=value pairs, a value quoted or bare, as FortiOS sends them
// by syslog (also its csv form, where commas separate the pairs). Keys are known by their names of FortiOS 5.0 and later and
// by the earlier ones (src, dst, sent, rcvd, status ...). Lines of other logs of the device (type=traffic, app-ctrl, dns,
// event ...) are passed over: the web filter has a line for each request that they tell of a second time.
//
// The time is eventtime, in seconds, milli-, micro- or nanoseconds by firmware, else date and time in the zone of tz, else
// in the configured zone, else in UTC. A user "anonymous" or "N/A" is nobody. The URL may be a path beside hostname, or
// whole. method=domain says how the category was found and is no HTTP method; that stands in httpmethod or in rawdata.
// A warning page is a block: the request went no further.
//
// Source: https://docs.fortinet.com/document/fortigate/7.6.0/fortios-log-message-reference/ (log ID 13056 and its like);
// the renamed keys: FortiOS 5.0 Log Reference, "Log field name changes".
type fortigateKV struct{ stamps stampReader }

func (f *fortigateKV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var kind, subtype, eventTime, day, clock, zone, url, host, action, service, raw []byte
	pairs, known, ok := newPairScanner(b), 0, false
	var user []byte
	for {
		key, value, quoted, more := pairs.next()
		if !more {
			break
		}
		known++
		switch string(key) {
		case "type":
			kind = value
		case "subtype":
			subtype = value
		case "eventtime":
			eventTime = value
		case "date":
			day = value
		case "time":
			clock = value
		case "tz", "timezone":
			zone = value
		case "srcip", "src":
			if e.SourceIP, ok = client(value); !ok {
				return BadAddress, "source.ip"
			}
		case "srcport", "src_port":
			if e.SourcePort, ok = port(value); !ok && !absent(value) {
				return BadNumber, "source.port"
			} else if !ok {
				e.SourcePort = -1
			}
		case "dstip", "dst":
			if e.DestinationIP, ok = client(value); !ok {
				return BadAddress, "destination.ip"
			}
		case "sentbyte", "sent":
			if e.SourceBytes, ok = size(value); !ok {
				return BadNumber, "source.bytes"
			}
		case "rcvdbyte", "rcvd":
			if e.DestinationBytes, ok = size(value); !ok {
				return BadNumber, "destination.bytes"
			}
		case "user":
			if user = person(value); user != nil && quoted {
				user = s.unescape(user, false)
			}
			e.User = user
		case "hostname":
			host = value
		case "url":
			if url = value; quoted {
				url = s.unescape(value, false)
			}
		case "action", "status":
			// before FortiOS 5.0 the verdict is in status; later lines have both, and action is the verdict
			if action == nil || string(key) == "action" {
				action = value
			}
		case "service":
			service = value
		case "httpmethod", "method":
			if httpMethod(value) {
				e.Method = value
			}
		case "agent":
			if e.UserAgent = present(value); e.UserAgent != nil && quoted {
				e.UserAgent = s.unescape(e.UserAgent, false)
			}
		case "referralurl":
			if e.Referrer = present(value); e.Referrer != nil && quoted {
				e.Referrer = s.unescape(e.Referrer, false)
			}
		case "contenttype", "content_type":
			e.MIME = mimeType(value)
		case "httpcode":
			if e.Status, ok = replied(value); !ok {
				return BadNumber, "http.response.status_code"
			}
		case "rawdata":
			if raw = value; quoted {
				raw = s.unescape(value, false)
			}
		}
	}
	switch {
	case known < 2 || kind == nil && subtype == nil && host == nil && url == nil:
		return ForeignLine, ""
	case !fold(kind, "webfilter") && !fold(subtype, "webfilter") && (kind != nil || host == nil && url == nil):
		return skip, ""
	}
	if e.Time, ok = f.time(eventTime, day, clock, zone); !ok {
		if eventTime == nil && (day == nil || clock == nil) {
			return Truncated, "@timestamp"
		}
		return BadTime, "@timestamp"
	}
	e.Code = present(action)
	e.Action = fortigateAction(action)
	fortigateRaw(raw, e)
	if reason, field := visited(url, host, e); reason != "" {
		return reason, field
	}
	if e.Scheme == nil && (fold(service, "https") || fold(service, "http")) {
		e.Scheme = s.lower(service)
	}
	return "", ""
}

func (f *fortigateKV) time(eventTime, day, clock, zone []byte) (ms int64, ok bool) {
	if eventTime != nil && string(eventTime) != "0" {
		return unixTime(eventTime)
	}
	days, n, ok := f.stamps.date(day)
	ofDay, taken := dayTime(clock)
	if !ok || n != len(day) || taken == 0 {
		return 0, false
	}
	ms = days*86_400_000 + ofDay
	if east, n := zoneOffset(zone, 0); n > 0 && n == len(zone) {
		return within9999(ms - east*1000)
	}
	return f.stamps.local(ms)
}

// fortigateAction says what the firewall did, by its word for it.
func fortigateAction(b []byte) Action {
	switch string(bytes.TrimSpace(b)) {
	case "blocked", "block", "blocking", "deny", "denied", "drop", "dropped", "reset", "warning", "warned", "quarantine":
		return Blocked
	case "passthrough", "pass", "passed", "allow", "allowed", "accept", "monitor", "monitored", "exempt", "exempted", "permit", "permitted",
		"log-only", "override":
		return Allowed
	}
	return Unsaid
}

// fortigateRaw reads rawdata="Method=GET|User-Agent=...", which tells parts of the request itself.
func fortigateRaw(raw []byte, e *Event) {
	for len(raw) > 0 {
		part := raw
		if bar := bytes.IndexByte(raw, '|'); bar >= 0 {
			part, raw = raw[:bar], raw[bar+1:]
		} else {
			raw = nil
		}
		equals := bytes.IndexByte(part, '=')
		if equals < 0 {
			continue
		}
		value := present(part[equals+1:])
		switch name := part[:equals]; {
		case value == nil:
		case fold(name, "method") && e.Method == nil && httpMethod(value):
			e.Method = value
		case fold(name, "user-agent") && e.UserAgent == nil:
			e.UserAgent = value
		case (fold(name, "referer") || fold(name, "referrer")) && e.Referrer == nil:
			e.Referrer = value
		case fold(name, "content-type") && e.MIME == nil:
			e.MIME = mimeType(value)
		}
	}
}

func (f *fortigateKV) origins() []Origin {
	return []Origin{
		{"@timestamp", "eventtime, date time tz"}, {"source.ip", "srcip"}, {"source.port", "srcport"}, {"user.name", "user"},
		{"http.request.method", "httpmethod, rawdata"}, {"url.scheme", "url, service"}, {"url.domain", "url, hostname"}, {"url.port", "url, hostname"},
		{"url.path", "url"}, {"url.query", "url"}, {"http.request.referrer", "referralurl, rawdata"}, {"user_agent.original", "agent, rawdata"},
		{"http.response.status_code", "httpcode"}, {"event.action", "action"}, {"event.code", "action"}, {"destination.ip", "dstip"},
		{"destination.bytes", "rcvdbyte"}, {"source.bytes", "sentbyte"}, {"http.response.mime_type", "contenttype"},
	}
}

func fortigateKVFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "fortigate_kv", About: "FortiGate web filter log, key=value (FortiOS 4 to 7)", Kind: Web, Takes: []string{NeedZone}},
		build:      func(o Options) (lineFormat, error) { return newFortigateKV(o.Zone), nil },
	}
}

func newFortigateKV(zone *time.Location) *fortigateKV {
	return &fortigateKV{stamps: newStampReader(zone)}
}
