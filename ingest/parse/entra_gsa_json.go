package parse

import "bytes"

// entraGSAJSON reads the traffic log of Microsoft Entra's Global Secure Access: objects one a line or in arrays, or the
// {"records":[{…,"properties":{…}}]} and {"value":[…]} in which Event Hubs, storage accounts and Microsoft Graph hand them out,
// so one record can be many events. Column names are compared without case: those of the table NetworkAccessTraffic
// (TimeGenerated, DestinationFqdn) and those of diagnostics and Graph (createdDateTime, destinationFQDN) are the same then.
// Records of other categories are passed over.
//
// An event is a transaction. A blocked one that names no FQDN is told by its URL or its address. user.name is the
// userPrincipalName, else the userId. destination.bytes is what was received from the server.
//
// Sources: https://learn.microsoft.com/azure/azure-monitor/reference/tables/networkaccesstraffic and
// https://learn.microsoft.com/graph/api/resources/networkaccess-networkaccesstraffic.
type entraGSAJSON struct{ stamps stampReader }

const (
	entraTime jsonSlot = iota
	entraOuterTime
	entraCategory
	entraAction
	entraHost
	entraAddress
	entraPort
	entraURL
	entraMethod
	entraReferrer
	entraStatus
	entraSent
	entraReceived
	entraSource
	entraSourcePort
	entraUser
	entraUserID
	entraAgent
	entraType
)

func newEntraGSAJSON(o Options) (jsonFormat, error) {
	return &entraGSAJSON{stamps: newStampReader(o.Zone)}, nil
}

func (f *entraGSAJSON) schema() jsonSchema {
	return jsonSchema{
		slots: map[string]jsonSlot{
			"timegenerated": entraTime, "createddatetime": entraTime, "timegenerated [utc]": entraTime, "time": entraOuterTime,
			"category": entraCategory, "type": entraType,
			"action": entraAction, "destinationfqdn": entraHost, "destinationip": entraAddress, "destinationport": entraPort, "destinationurl": entraURL,
			"httpmethod": entraMethod, "requestmethod": entraMethod,
			"referrerheader": entraReferrer, "headers.referrer": entraReferrer, "responsecode": entraStatus,
			"sentbytes": entraSent, "receivedbytes": entraReceived, "sourceip": entraSource, "sourceport": entraSourcePort,
			"userprincipalname": entraUser, "userid": entraUserID, "useragent": entraAgent, "headers.useragent": entraAgent,
		},
		through: map[string]bool{"properties": true},
		lists:   map[string]bool{"records": true, "value": true},
		folded:  true,
	}
}

func (f *entraGSAJSON) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	if category := o.text(entraCategory, s); category != nil && !contains(category, "networkaccesstraffic") {
		return skip, ""
	}
	if table := o.text(entraType, s); table != nil && foldStarts(table, "networkaccess") && !fold(table, "networkaccesstraffic") {
		return skip, ""
	}
	at := o.text(entraTime, s)
	if at == nil {
		at = o.text(entraOuterTime, s)
	}
	ms, n, ok := f.stamps.stamp(at)
	switch {
	case n == 0:
		return ForeignLine, "@timestamp"
	case !ok || n != len(at):
		return BadTime, "@timestamp"
	}
	e.Time = ms
	if e.SourceIP, ok = client(o.text(entraSource, s)); !ok {
		return BadAddress, "source.ip"
	}
	if e.DestinationIP, ok = client(o.text(entraAddress, s)); !ok {
		return BadAddress, "destination.ip"
	}
	e.DestinationIP = someone(e.DestinationIP)
	if v := present(o.text(entraSourcePort, s)); v != nil {
		if e.SourcePort, ok = port(v); !ok {
			return BadNumber, "source.port"
		}
	}
	if e.Status, ok = replied(o.text(entraStatus, s)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.SourceBytes, ok = size(o.text(entraSent, s)); !ok {
		return BadNumber, "source.bytes"
	}
	if e.DestinationBytes, ok = size(o.text(entraReceived, s)); !ok {
		return BadNumber, "destination.bytes"
	}
	if e.User = person(o.text(entraUser, s)); e.User == nil {
		if id := o.text(entraUserID, s); len(bytes.Trim(id, "0-")) > 0 {
			e.User = person(id)
		}
	}
	if v := o.text(entraMethod, s); httpMethod(v) {
		e.Method = v
	}
	e.Referrer = present(o.text(entraReferrer, s))
	e.UserAgent = present(o.text(entraAgent, s))
	e.Code = present(o.text(entraAction, s))
	switch {
	case foldStarts(e.Code, "allow"), fold(e.Code, "bypass"), fold(e.Code, "bypassed"):
		e.Action = Allowed
	case foldStarts(e.Code, "den"), foldStarts(e.Code, "block"):
		e.Action = Blocked
	}
	if reason, field := visited(o.text(entraURL, s), o.text(entraHost, s), e); reason != "" {
		return reason, field
	}
	if v := present(o.text(entraPort, s)); v != nil && e.Port < 0 {
		if e.Port, ok = port(v); !ok {
			return BadNumber, "url.port"
		}
	}
	return "", ""
}

func (f *entraGSAJSON) origins() []Origin {
	return []Origin{
		{"@timestamp", "TimeGenerated"}, {"source.ip", "SourceIp"}, {"source.port", "SourcePort"}, {"user.name", "UserPrincipalName"}, {"user.name", "UserId"},
		{"http.request.method", "HttpMethod"}, {"url.scheme", "DestinationUrl"}, {"url.domain", "DestinationUrl"}, {"url.domain", "DestinationFqdn"},
		{"url.port", "DestinationPort"}, {"url.path", "DestinationUrl"}, {"url.query", "DestinationUrl"}, {"http.request.referrer", "ReferrerHeader"},
		{"user_agent.original", "UserAgent"}, {"http.response.status_code", "ResponseCode"}, {"event.action", "Action"}, {"event.code", "Action"},
		{"destination.ip", "DestinationIp"}, {"destination.bytes", "ReceivedBytes"}, {"source.bytes", "SentBytes"},
	}
}

func entraGSAJSONFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "entra_gsa_json", About: "Microsoft Entra Global Secure Access traffic log, JSON (lines, arrays, Event Hubs records)", Kind: Web, Takes: []string{NeedZone}},
		document:   newEntraGSAJSON,
	}
}
