package parse

import (
	"bytes"
	"net/netip"
)

// bluecoatKV reads ProxySG's log in the key=value form that is set up for SIEM systems (Splunk's SPLV5.1 format): the
// keys are those of the W3C format (bluecoat_w3c), with cs-User-Agent for cs(User-Agent) and its like, and mean the same. The
// time is that of the keys date and time where there are any, in GMT, else of the syslog header, which has to name year and
// zone (RFC 5424 or RFC 3339); the published sample has a stray quote before the tag and a lower-case z. c-url is the
// request's URL where neither cs-host nor a path is there: in SPLV5.1 it may be that of an earlier page.
//
// Source: https://docs.splunk.com/Documentation/AddOns/released/BlueCoatProxySG/Setup.
type bluecoatKV struct{ stamps stampReader }

func (f *bluecoatKV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var ok bool
	var day, clock, host, path, query, url, filter, exception, server []byte
	var proxy netip.Addr
	known, timed := 0, false
	pairs := newPairScanner(b)
	for {
		key, v, quoted, more := pairs.next()
		if !more {
			break
		}
		slot := bluecoatKey(key)
		if slot == elffOther {
			continue
		}
		known++
		if v = present(v); v == nil {
			continue
		}
		switch slot {
		case elffDate:
			day = v
		case elffTime:
			clock = v
		case elffUnix:
			ms, n, fine := unixSeconds(v)
			if !fine || n != len(v) {
				return BadTime, "@timestamp"
			}
			e.Time, timed = ms, true
		case elffTaken:
			if e.Duration, ok = secondsOrMilliseconds(v); !ok {
				return BadNumber, "event.duration"
			}
		case elffClient:
			if e.SourceIP, ok = client(v); !ok {
				return BadAddress, "source.ip"
			}
			e.SourceIP = someone(e.SourceIP)
		case elffClientPort:
			if e.SourcePort, ok = port(v); !ok {
				return BadNumber, "source.port"
			}
		case elffUser:
			if v = person(v); v != nil {
				e.User = s.percent(v)
			}
		case elffStatus:
			if e.Status, ok = replied(v); !ok {
				return BadNumber, "http.response.status_code"
			}
		case elffAction:
			e.Code = v
		case elffDown:
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case elffUp:
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case elffMethod:
			e.Method = v
		case elffScheme:
			e.Scheme = v
		case elffHost:
			host = v
		case elffPort:
			if e.Port, ok = port(v); !ok {
				return BadNumber, "url.port"
			}
		case elffPath:
			path = v
		case elffQuery:
			query = v
		case elffURL:
			url = v
		case elffFilter:
			filter = v
		case elffException:
			exception = v
		case elffMIME:
			e.MIME = mimeType(v)
		case elffReferer:
			if e.Referrer = v; quoted {
				e.Referrer = s.unescape(v, false)
			}
		case elffAgent:
			if e.UserAgent = v; quoted {
				e.UserAgent = s.unescape(v, false)
			}
		case elffServer:
			server = v
		case elffProxy:
			proxy, _ = address(v)
		case elffServer2:
			if server == nil {
				server = v
			}
		}
	}
	switch {
	case known < 3:
		return ForeignLine, ""
	case timed:
	case day != nil && clock != nil:
		days, n, fine := f.stamps.date(day)
		ofDay, taken := dayTime(clock)
		if !fine || n != len(day) || taken == 0 {
			return BadTime, "@timestamp"
		}
		e.Time = days*86_400_000 + ofDay
	default:
		if e.Time, ok = f.header(b); !ok {
			return BadTime, "@timestamp"
		}
	}
	if server != nil {
		if e.DestinationIP, ok = client(server); !ok {
			return BadAddress, "destination.ip"
		}
		if e.DestinationIP == proxy {
			// the cache itself was the supplier
			e.DestinationIP = netip.Addr{}
		}
	}
	e.Action = elffAct(filter, nil, exception, nil, e.Code)
	if host != nil || path != nil {
		url = nil
	}
	if reason, field := visited(url, host, e); reason != "" {
		return reason, field
	}
	e.pathOf(path, query)
	return "", ""
}

// bluecoatKey answers what a key is read for. cs-ip is the proxy's address that the client spoke to.
func bluecoatKey(key []byte) elffSlot {
	switch string(key) {
	case "date":
		return elffDate
	case "time":
		return elffTime
	case "timestamp", "x-timestamp-unix", "x-timestamp-unix-utc":
		return elffUnix
	case "time-taken":
		return elffTaken
	case "c-ip":
		return elffClient
	case "c-port":
		return elffClientPort
	case "cs-username", "cs-user":
		return elffUser
	case "sc-status":
		return elffStatus
	case "s-action":
		return elffAction
	case "sc-bytes":
		return elffDown
	case "cs-bytes":
		return elffUp
	case "cs-method":
		return elffMethod
	case "cs-uri-scheme":
		return elffScheme
	case "cs-host":
		return elffHost
	case "cs-uri-port":
		return elffPort
	case "cs-uri-path", "cs-uri-stem":
		return elffPath
	case "cs-uri-query":
		return elffQuery
	case "cs-uri", "c-url", "c-uri", "cs-url":
		return elffURL
	case "sc-filter-result":
		return elffFilter
	case "x-exception-id":
		return elffException
	case "rs-Content-Type", "rs(Content-Type)":
		return elffMIME
	case "cs-Referer", "cs(Referer)":
		return elffReferer
	case "cs-User-Agent", "cs(User-Agent)":
		return elffAgent
	case "s-supplier-ip":
		return elffServer
	case "r-ip":
		return elffServer2
	case "s-ip":
		return elffProxy
	}
	return elffOther
}

// header reads the time of a syslog header that names year and zone.
func (f *bluecoatKV) header(b []byte) (ms int64, ok bool) {
	if len(b) > 0 && b[0] == '<' {
		b = b[bytes.IndexByte(b[:min(len(b), 5)], '>')+1:]
	}
	for range 3 {
		word, next := token(b, 0)
		if n := isoStamp(word); n > 0 && n == len(word) {
			ms, taken, ok := f.stamps.stamp(word)
			return ms, ok && taken == n
		}
		b = b[next:]
	}
	return 0, false
}

func (f *bluecoatKV) origins() []Origin {
	return []Origin{
		{"@timestamp", "date time, syslog header"}, {"event.duration", "time-taken"}, {"source.ip", "c-ip"}, {"source.port", "c-port"},
		{"user.name", "cs-username"}, {"http.request.method", "cs-method"}, {"url.scheme", "cs-uri-scheme"}, {"url.domain", "cs-host"},
		{"url.port", "cs-uri-port"}, {"url.path", "cs-uri-path"}, {"url.query", "cs-uri-query"}, {"http.request.referrer", "cs-Referer"},
		{"user_agent.original", "cs-User-Agent"}, {"http.response.status_code", "sc-status"},
		{"event.action", "sc-filter-result, s-action, x-exception-id"}, {"event.code", "s-action"}, {"destination.ip", "s-supplier-ip, r-ip"},
		{"destination.bytes", "sc-bytes"}, {"source.bytes", "cs-bytes"}, {"http.response.mime_type", "rs-Content-Type"},
	}
}

func bluecoatKVFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "bluecoat_kv", About: "ProxySG log as key=value (SPLV5.1), with its syslog header", Kind: Web},
		bareFirst:  true,
		build:      func(Options) (lineFormat, error) { return &bluecoatKV{}, nil },
	}
}
