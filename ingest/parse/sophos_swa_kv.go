package parse

import "time"

// sophosSWAKV reads the sophos_log of Sophos Web Appliance: key=value pairs; quotes around values with spaces; \" and \\ in
// them, and \xHH for the bytes of a name in UTF-8; "" and "-" for nothing. t is the second at which the request was received
// (this log has no other time), T the microseconds that it took. act is positive where the request went on and
// negative where a page of the appliance stood in its way: blocked, warned or out of quota. in and out are the bytes from
// and to the client. type is what the appliance found the content to be, ctype what the server called it.
//
// Source: https://docs.sophos.com/nsg/swa/help/en-us/nsg/swa/concepts/InterpretingLogFiles.html.
type sophosSWAKV struct{}

func (sophosSWAKV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var ok, timed bool
	var request, host, detected []byte
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
		case "h":
			if e.SourceIP, ok = client(v); !ok {
				return BadAddress, "source.ip"
			}
		case "u":
			if v = person(v); v != nil {
				if quoted {
					v = s.unescape(v, true)
				}
				e.User = v
			}
		case "s":
			if e.Status, ok = replied(v); !ok {
				return BadNumber, "http.response.status_code"
			}
		case "t":
			ms, n, fine := unixSeconds(v)
			if timed = true; !fine || n != len(v) {
				return BadTime, "@timestamp"
			}
			e.Time = ms
		case "T":
			n, fine := decimal(v)
			if !fine || n > maxMilliseconds {
				return BadNumber, "event.duration"
			}
			e.Duration = time.Duration(n) * time.Microsecond
		case "act":
			digits := v
			if e.Action = Allowed; v[0] == '-' {
				e.Action, digits = Blocked, v[1:]
			}
			n, fine := decimal(digits)
			if !fine {
				return BadNumber, "event.action"
			}
			if n == 0 {
				e.Action = Unsaid
			}
			e.Code = v
		case "in":
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case "out":
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case "meth":
			e.Method = v
		case "ref":
			if e.Referrer = v; quoted {
				e.Referrer = s.unescape(v, true)
			}
		case "ua":
			if e.UserAgent = v; quoted {
				e.UserAgent = s.unescape(v, true)
			}
		case "req":
			if request = v; quoted {
				request = s.unescape(v, true)
			}
		case "dom":
			host = v
		case "ctype":
			e.MIME = mimeType(v)
		case "type":
			detected = v
		case "target_ip":
			if e.DestinationIP, ok = client(v); !ok {
				return BadAddress, "destination.ip"
			}
		}
	}
	switch {
	case known < 4 || !timed && request == nil:
		return ForeignLine, ""
	case !timed:
		return Truncated, "@timestamp"
	}
	if e.MIME == nil {
		e.MIME = mimeType(detected)
	}
	method, url := squidRequest(request)
	if protocol(url) || protocol(method) {
		url = nil
	}
	if e.Method == nil {
		e.Method = present(method)
	}
	return visited(url, host, e)
}

func (sophosSWAKV) origins() []Origin {
	return []Origin{
		{"@timestamp", "t"}, {"event.duration", "T"}, {"source.ip", "h"}, {"user.name", "u"}, {"http.request.method", "meth, req"},
		{"url.scheme", "req"}, {"url.domain", "req, dom"}, {"url.port", "req"}, {"url.path", "req"}, {"url.query", "req"},
		{"http.request.referrer", "ref"}, {"user_agent.original", "ua"}, {"http.response.status_code", "s"}, {"event.action", "act"}, {"event.code", "act"},
		{"destination.ip", "target_ip"}, {"destination.bytes", "out"}, {"source.bytes", "in"}, {"http.response.mime_type", "ctype, type"},
	}
}

func sophosSWAKVFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "sophos_swa_kv", About: "Sophos Web Appliance sophos_log, key=value", Kind: Web},
		build:      func(Options) (lineFormat, error) { return sophosSWAKV{}, nil },
	}
}
