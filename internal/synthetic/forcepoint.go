package synthetic

import (
	"strconv"
	"time"
)

// forcepoint_web_csv is the detail export of Forcepoint Web Security (Websense), in the vendor's order of columns:
//
//	Date,Time,User,Workstation,Category,Action,Risk Class,Policy Name,URL,Connection IP,Destination IP,Source IP,Threat Type,
//	Threat Name,User Agent String,HTTP Status Code,Request Method
//
// Its times name no zone: this one reports in UTC. It has no bytes: a malformed line that should have a negative size has a
// negative status.
//
// Source: https://help.forcepoint.com/websec/en-us/cloud/admin_guide/guid-06b1253d-47b7-4acc-bd51-e8e8e3314d3a.html.
func newForcepointWebCSV(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, `"02/01/2006","15:04:05","`)
	methods := map[string]string{"GET": "Get", "POST": "Post", "CONNECT": "Connect"}
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		if e.User == "" {
			dst = append(dst, "anonymous"...)
		}
		dst = appendDoubled(dst, e.User)
		dst = append(dst, `","Not available","`...)
		dst = append(dst, e.Category...)
		dst = append(dst, `","`...)
		dst = append(dst, e.choose("Blocked", "Allowed")...)
		dst = append(dst, `","None","Standard","`...)
		if e.Scheme == "" {
			dst = append(dst, e.Host.authority...)
			dst = append(dst, ":443/"...)
		} else {
			dst = e.AppendURL(dst)
		}
		dst = append(dst, `","`+siteAddress+`","`...)
		if e.ServerIP == "" {
			dst = append(dst, "N/A"...)
		}
		dst = append(dst, e.ServerIP...)
		dst = append(dst, `","`...)
		dst = append(dst, e.SourceIP...)
		dst = append(dst, `","None","None","`...)
		dst = appendDoubled(dst, e.UserAgent)
		dst = append(dst, `","`...)
		if e.BytesIn < 0 {
			dst = append(dst, '-')
		}
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, `","`...)
		dst = append(dst, methods[e.Method]...)
		return append(dst, '"')
	}
}
