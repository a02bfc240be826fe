package synthetic

import (
	"strconv"
	"time"
)

// entra_gsa_json is the traffic log of Microsoft Entra Global Secure Access (table NetworkAccessTraffic) as Azure's diagnostic
// settings send it to an event hub: an object with an array of records, here of one.
//
// Source: https://learn.microsoft.com/en-us/azure/azure-monitor/reference/tables/networkaccesstraffic.
func newEntraGSAJSON(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, isoTime)
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, `{"records":[{"TimeGenerated":"`...)
		dst = at.append(dst, e.Time)
		dst = appendMillis(dst, e.Time)
		dst = append(dst, `0000Z","Type":"NetworkAccessTraffic","TrafficType":"internet"`...)
		dst = appendMember(dst, "Action", e.choose("Denied", "Allowed"))
		dst = appendMember(dst, "DestinationFqdn", e.Host.Name)
		dst = appendMember(dst, "DestinationIp", e.ServerIP)
		dst = appendCount(dst, "DestinationPort", int64(e.Port()))
		dst = append(dst, `,"DestinationUrl":"`...)
		dst = e.appendAddress(dst)
		dst = append(dst, '"')
		dst = appendMember(dst, "DestinationWebCategories", e.Category)
		dst = appendMember(dst, "HttpMethod", e.Method)
		dst = appendCount(dst, "ResponseCode", int64(e.Status))
		dst = appendCount(dst, "SentBytes", e.BytesOut)
		dst = appendCount(dst, "ReceivedBytes", e.BytesIn)
		dst = appendMember(dst, "SourceIp", e.SourceIP)
		dst = appendCount(dst, "SourcePort", int64(e.SourcePort))
		dst = appendMember(dst, "UserPrincipalName", e.User)
		dst = append(dst, `,"ReferrerHeader":"`...)
		dst = e.appendReferrer(dst)
		dst = append(dst, `","TransactionId":"`...)
		dst = strconv.AppendUint(dst, uint64(e.number), 10)
		dst = append(dst, `","TransportProtocol":"tcp"`...)
		dst = appendMember(dst, "UserAgent", e.UserAgent)
		return append(dst, `}]}`...)
	}
}
