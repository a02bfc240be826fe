package parse

import "bytes"

// umbrellaProxyCSV reads the proxy log (proxylogs) of Cisco Umbrella's secure web gateway as it lies in S3: quoted
// comma-separated values in a fixed order, to which each schema version appends. Any version will do: the line has to reach
// the URL, and fields behind it are read where they are. The documentation's own sample has broken quotes and stray angle
// brackets; such lines are read as far as their fields can be told apart. Times are UTC. A header line is passed over.
//
// source.ip is the internal client's address, and the external one (the address of the whole site) only where there is no
// other. user.name is the identity whose type names users, else the roaming computer or device, for that is one person's;
// a network or a site is nobody. Before the schema that has types the label of the policy's identity is taken.
//
// Source: https://docs.umbrella.com/umbrella-user-guide/docs/web-log-formats.
type umbrellaProxyCSV struct {
	stamps stampReader
	cut    fieldCutter
}

// The indexes of the fields that are read, from 0.
const (
	umbrellaTime         = 0
	umbrellaLabel        = 1
	umbrellaInternal     = 2
	umbrellaExternal     = 3
	umbrellaDestination  = 4
	umbrellaContentType  = 5
	umbrellaAction       = 6
	umbrellaURL          = 7
	umbrellaReferer      = 8
	umbrellaUserAgent    = 9
	umbrellaStatus       = 10
	umbrellaRequestSize  = 11
	umbrellaResponseSize = 12
	umbrellaLabelType    = 21
	umbrellaIdentities   = 23
	umbrellaTypes        = 24
	umbrellaMethod       = 25
)

func (f *umbrellaProxyCSV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	f.cut.csv(b, ',')
	at := f.cut.field(b, umbrellaTime)
	if foldStarts(at, "timestamp") {
		return skip, ""
	}
	ms, n, ok := f.stamps.stamp(at)
	switch {
	case n == 0:
		return ForeignLine, "@timestamp"
	case !ok || n != len(at):
		return BadTime, "@timestamp"
	case f.cut.n <= umbrellaURL:
		return Truncated, "url.domain"
	}
	e.Time = ms
	if e.SourceIP, ok = client(f.cut.field(b, umbrellaInternal)); !ok {
		return BadAddress, "source.ip"
	}
	if !e.SourceIP.IsValid() || e.SourceIP.IsUnspecified() {
		if e.SourceIP, ok = client(f.cut.field(b, umbrellaExternal)); !ok {
			return BadAddress, "source.ip"
		}
	}
	if e.DestinationIP, ok = client(f.cut.field(b, umbrellaDestination)); !ok {
		return BadAddress, "destination.ip"
	}
	if e.Status, ok = replied(f.cut.field(b, umbrellaStatus)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.SourceBytes, ok = size(f.cut.field(b, umbrellaRequestSize)); !ok {
		return BadNumber, "source.bytes"
	}
	if e.DestinationBytes, ok = size(f.cut.field(b, umbrellaResponseSize)); !ok {
		return BadNumber, "destination.bytes"
	}
	if user := person(f.identity(b)); user != nil {
		e.User = s.undouble(user)
	}
	e.MIME = mimeType(f.cut.field(b, umbrellaContentType))
	e.Method = present(f.cut.field(b, umbrellaMethod))
	if referrer := unbracket(f.cut.field(b, umbrellaReferer)); !absent(referrer) {
		e.Referrer = s.undouble(referrer)
	}
	if agent := bytes.TrimSpace(f.cut.field(b, umbrellaUserAgent)); !absent(agent) {
		e.UserAgent = s.undouble(agent)
	}
	e.Code = present(f.cut.field(b, umbrellaAction))
	switch {
	case fold(e.Code, "allowed"), fold(e.Code, "proxied"), fold(e.Code, "isolated"):
		e.Action = Allowed
	case fold(e.Code, "blocked"), fold(e.Code, "warned"):
		e.Action = Blocked
	}
	return visited(s.undouble(unbracket(f.cut.field(b, umbrellaURL))), nil, e)
}

// unbracket answers b without the quotes and angle brackets around it.
func unbracket(b []byte) []byte { return bytes.Trim(b, `"<> `) }

// identity answers the name that stands for a person: of a user, else of a computer.
func (f *umbrellaProxyCSV) identity(b []byte) []byte {
	label, labelType := f.cut.field(b, umbrellaLabel), f.cut.field(b, umbrellaLabelType)
	names, types := f.cut.field(b, umbrellaIdentities), f.cut.field(b, umbrellaTypes)
	if absent(labelType) && absent(types) {
		return bytes.TrimSpace(label)
	}
	if bytes.Count(names, []byte{','}) == bytes.Count(types, []byte{','}) {
		for _, likely := range []string{"user", "computer", "device", "client", "chromebook"} {
			restNames, restTypes := names, types
			for len(restTypes) > 0 {
				var name, kind []byte
				name, restNames = beforeComma(restNames)
				if kind, restTypes = beforeComma(restTypes); contains(kind, likely) && !absent(name) {
					return name
				}
			}
		}
	}
	for _, likely := range []string{"user", "computer", "device", "client", "chromebook"} {
		if contains(labelType, likely) {
			return bytes.TrimSpace(label)
		}
	}
	return nil
}

func beforeComma(b []byte) (item, rest []byte) {
	if comma := bytes.IndexByte(b, ','); comma >= 0 {
		return bytes.TrimSpace(b[:comma]), b[comma+1:]
	}
	return bytes.TrimSpace(b), nil
}

// contains says whether word, which is in lower case, is somewhere in b, in any case of ASCII letters.
func contains(b []byte, word string) bool {
	for i := range b {
		if foldStarts(b[i:], word) {
			return true
		}
	}
	return false
}

func (f *umbrellaProxyCSV) origins() []Origin {
	return []Origin{
		{"@timestamp", "timestamp"}, {"source.ip", "internal client IP, external client IP"}, {"user.name", "identities, policy identity label"},
		{"http.request.method", "request method"}, {"url.scheme", "URL"}, {"url.domain", "URL"}, {"url.port", "URL"}, {"url.path", "URL"}, {"url.query", "URL"},
		{"http.request.referrer", "referer"}, {"user_agent.original", "user agent"}, {"http.response.status_code", "status code"},
		{"event.action", "action"}, {"event.code", "action"}, {"destination.ip", "destination IP"}, {"destination.bytes", "response size"},
		{"source.bytes", "request size"}, {"http.response.mime_type", "content type"},
	}
}

func umbrellaProxyCSVFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "umbrella_proxy_csv", About: "Cisco Umbrella proxy log, comma-separated, any schema version", Kind: Web},
		bareFirst:  true,
		build:      func(Options) (lineFormat, error) { return &umbrellaProxyCSV{}, nil },
	}
}
