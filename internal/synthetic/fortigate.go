package synthetic

import (
	"strconv"
	"time"
)

// fortigate_kv is the web filter log of FortiGate firewalls (FortiOS 6.2 and later): eventtime in nanoseconds, local date and
// time with tz, a path beside the host name. It has no HTTP status.
//
// Source: https://docs.fortinet.com/document/fortigate/7.6.0/fortios-log-message-reference/, log ID 13056 and its like.
func newFortigateKV(zone *time.Location) func([]byte, *Event) []byte {
	local, east := newClock(zone, "date=2006-01-02 time=15:04:05"), newClock(zone, "-0700")
	return func(dst []byte, e *Event) []byte {
		dst = local.append(dst, e.Time)
		dst = append(dst, ` devname="fw01" devid="FG100FTK20000001" eventtime=`...)
		dst = strconv.AppendInt(dst, e.Time, 10)
		dst = append(dst, `481516 tz="`...)
		dst = east.append(dst, e.Time)
		dst = append(dst, `" logid="`...)
		dst = append(dst, e.choose("0316013056", "0317013312")...)
		dst = append(dst, `" type="utm" subtype="webfilter" eventtype="`...)
		dst = append(dst, e.choose("ftgd_blk", "ftgd_allow")...)
		dst = append(dst, `" level="`...)
		dst = append(dst, e.choose("warning", "notice")...)
		dst = append(dst, `" vd="root" policyid=2`...)
		dst = appendPair(dst, "sessionid", int64(e.number))
		if e.User != "" {
			dst = appendQuoted(dst, "user", e.User)
			dst = append(dst, ` group="Personal"`...)
		}
		dst = append(dst, " srcip="...)
		dst = append(dst, e.SourceIP...)
		dst = appendPair(dst, "srcport", int64(e.SourcePort))
		dst = append(dst, ` srcintf="port2"`...)
		if e.ServerIP != "" {
			dst = append(dst, " dstip="...)
			dst = append(dst, e.ServerIP...)
		}
		dst = appendPair(dst, "dstport", int64(e.Port()))
		dst = append(dst, ` proto=6 service="`...)
		if e.Scheme == "http" {
			dst = append(dst, "HTTP"...)
		} else {
			dst = append(dst, "HTTPS"...)
		}
		dst = append(dst, `" hostname="`...)
		dst = append(dst, e.Host.authority...)
		dst = append(dst, `" profile="standard" action="`...)
		dst = append(dst, e.choose("blocked", "passthrough")...)
		dst = append(dst, `" reqtype="direct" url="`...)
		if e.Scheme == "" {
			dst = append(dst, '/')
		} else {
			dst = e.AppendPath(dst)
		}
		dst = append(dst, '"')
		dst = appendPair(dst, "sentbyte", e.BytesOut)
		dst = appendPair(dst, "rcvdbyte", e.BytesIn)
		dst = append(dst, ` direction="outgoing" msg="`...)
		dst = append(dst, e.choose("URL belongs to a denied category in policy", "URL belongs to an allowed category in policy")...)
		dst = append(dst, `" method="domain" cat=52`...)
		dst = appendQuoted(dst, "catdesc", e.Category)
		dst = append(dst, ` crscore=0 crlevel=low httpmethod="`...)
		dst = append(dst, e.Method...)
		dst = append(dst, '"')
		dst = appendQuoted(dst, "agent", e.UserAgent)
		if e.MIME != "" {
			dst = appendQuoted(dst, "contenttype", e.MIME)
		}
		if e.Referrer != nil && e.Scheme != "" {
			dst = append(dst, ` referralurl="`...)
			dst = e.appendReferrer(dst)
			dst = append(dst, '"')
		}
		return dst
	}
}
