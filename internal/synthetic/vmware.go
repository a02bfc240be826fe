package synthetic

import (
	"strconv"
	"time"
)

// vmware_cws_json is the web log of VMware Cloud Web Security, one object a line, with its own words for nothing: null, NA,
// and Unknown for a user. It has no bytes.
//
// Source: https://docs.vmware.com/en/VMware-Cloud-Web-Security/.
func newVMwareCWSJSON(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, isoTime)
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, `{"cws_timestamp":"`...)
		dst = at.append(dst, e.Time)
		dst = appendMillis(dst, e.Time)
		dst = append(dst, `Z"`...)
		user, server := e.User, e.ServerIP
		if user == "" {
			user = "Unknown"
		}
		if server == "" {
			server = "NA"
		}
		dst = appendMember(dst, "userId", user)
		dst = append(dst, `,"url":"`...)
		dst = e.appendAddress(dst)
		dst = append(dst, '"')
		dst = appendMember(dst, "domain", e.Host.Name)
		dst = appendMember(dst, "categories", e.Category)
		dst = append(dst, `,"threatTypes":null,"webRiskScore":"G"`...)
		dst = appendMember(dst, "action", e.choose("block", "allow"))
		dst = appendMember(dst, "userAgent", e.UserAgent)
		dst = append(dst, `,"browserType":null,"requestType":"page_request"`...)
		dst = appendMember(dst, "requestMethod", e.Method)
		dst = append(dst, `,"egressIp":"NA"`...)
		dst = appendMember(dst, "destinationIp", server)
		dst = appendMember(dst, "sourceIp", e.client(false))
		dst = appendMember(dst, "contentType", e.MIME)
		dst = append(dst, `,"accessMode":"proxy"`...)
		dst = appendMember(dst, "responseCode", strconv.Itoa(e.Status))
		return append(dst, `,"region":"arn1","fileName":"NA","srcCountry":"NA","policyName":"Standard"}`...)
	}
}
