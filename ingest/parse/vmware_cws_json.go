package parse

// vmwareCWSJSON reads the web logs of VMware's Cloud Web Security (today VeloCloud's), as its log forwarding and Microsoft
// Sentinel's connector have them: objects one a line, or in an array. Values for nothing are null, "NA", "Unknown" and "None".
// A status comes as text.
//
// Source: https://learn.microsoft.com/azure/sentinel/data-connectors/vmware-sd-wan-and-sase-connector (its sample data).
type vmwareCWSJSON struct{ stamps stampReader }

const (
	cwsTime jsonSlot = iota
	cwsUser
	cwsURL
	cwsHost
	cwsAction
	cwsAgent
	cwsMethod
	cwsServer
	cwsClient
	cwsMIME
	cwsStatus
	cwsProtocol
	cwsReferrer
)

func newVMwareCWSJSON(o Options) (jsonFormat, error) {
	return &vmwareCWSJSON{stamps: newStampReader(o.Zone)}, nil
}

func (f *vmwareCWSJSON) schema() jsonSchema {
	return jsonSchema{
		slots: map[string]jsonSlot{
			"cws_timestamp": cwsTime, "timestamp": cwsTime, "userid": cwsUser, "url": cwsURL, "domain": cwsHost, "action": cwsAction, "useragent": cwsAgent,
			"requestmethod": cwsMethod, "destinationip": cwsServer, "sourceip": cwsClient, "contenttype": cwsMIME, "responsecode": cwsStatus,
			"protocol": cwsProtocol, "referer": cwsReferrer, "referrer": cwsReferrer,
		},
		through: map[string]bool{"_source": true},
		lists:   map[string]bool{"data": true, "value": true},
		folded:  true,
	}
}

func (f *vmwareCWSJSON) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	get := func(slot jsonSlot) []byte {
		if v := nss(o.text(slot, s)); !fold(v, "unknown") {
			return v
		}
		return nil
	}
	at := get(cwsTime)
	ms, n, ok := f.stamps.stamp(at)
	if n == 0 && digitsOnly(at) && len(at) > 0 {
		ms, ok = unixTime(at)
		n = len(at)
	}
	switch {
	case n == 0:
		return ForeignLine, "@timestamp"
	case !ok || n != len(at):
		return BadTime, "@timestamp"
	}
	if e.Time, ok = within9999(ms); !ok {
		return BadTime, "@timestamp"
	}
	if e.SourceIP, ok = client(get(cwsClient)); !ok {
		return BadAddress, "source.ip"
	}
	if e.DestinationIP, ok = client(get(cwsServer)); !ok {
		return BadAddress, "destination.ip"
	}
	if e.Status, ok = replied(get(cwsStatus)); !ok {
		return BadNumber, "http.response.status_code"
	}
	e.User = person(get(cwsUser))
	if v := get(cwsMethod); httpMethod(v) {
		e.Method = v
	}
	// its parameters stay: the log's other readers keep them too
	e.MIME = get(cwsMIME)
	e.UserAgent, e.Referrer = get(cwsAgent), get(cwsReferrer)
	e.Code = get(cwsAction)
	switch {
	case foldStarts(e.Code, "allow"), fold(e.Code, "monitor"), fold(e.Code, "log"):
		e.Action = Allowed
	case foldStarts(e.Code, "block"), foldStarts(e.Code, "den"):
		e.Action = Blocked
	}
	return visited(get(cwsURL), get(cwsHost), e)
}

func (f *vmwareCWSJSON) origins() []Origin {
	return []Origin{
		{"@timestamp", "cws_timestamp"}, {"source.ip", "sourceIp"}, {"user.name", "userId"}, {"http.request.method", "requestMethod"}, {"url.scheme", "url"},
		{"url.domain", "url"}, {"url.domain", "domain"}, {"url.port", "url"}, {"url.path", "url"}, {"url.query", "url"}, {"http.request.referrer", "referer"},
		{"user_agent.original", "userAgent"}, {"http.response.status_code", "responseCode"}, {"event.action", "action"}, {"event.code", "action"},
		{"destination.ip", "destinationIp"}, {"http.response.mime_type", "contentType"},
	}
}

func vmwareCWSJSONFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "vmware_cws_json", About: "VMware (VeloCloud) Cloud Web Security web log, JSON", Kind: Web, Takes: []string{NeedZone}},
		document:   newVMwareCWSJSON,
	}
}
