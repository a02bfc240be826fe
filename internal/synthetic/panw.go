package synthetic

import (
	"strconv"
	"time"
)

// panw_threat_url is the URL filtering log of PAN-OS 10.1 (THREAT,url) behind an RFC 3164 header, from a firewall whose clock
// runs in UTC. It has neither status nor bytes; Repeat Count is 1, and negative in a malformed line that should have a
// negative size.
//
// Source: https://docs.paloaltonetworks.com/pan-os/10-1/pan-os-admin/monitoring/use-syslog-for-monitoring/syslog-field-descriptions/url-filtering-log-fields.
func newPanwThreatURL(*time.Location) func([]byte, *Event) []byte {
	header, at := newClock(time.UTC, syslogTime), newClock(time.UTC, "2006/01/02 15:04:05")
	methods := map[string]string{"GET": "get", "POST": "post", "CONNECT": "connect"}
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, "<14>"...)
		dst = header.append(dst, e.Time)
		dst = append(dst, " fw02 1,"...)
		dst = at.append(dst, e.Time)
		dst = append(dst, ",012801096514,THREAT,url,2561,"...)
		dst = at.append(dst, e.Time)
		dst = append(dst, ',')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ',')
		dst = append(dst, e.ServerIP...)
		dst = append(dst, ',')
		dst = append(dst, siteAddress...)
		dst = append(dst, ',')
		dst = append(dst, e.ServerIP...)
		dst = append(dst, ",Webb ut,"...)
		dst = append(dst, e.User...)
		dst = append(dst, ",,"...)
		if e.Scheme == "http" {
			dst = append(dst, "web-browsing"...)
		} else {
			dst = append(dst, "ssl"...)
		}
		dst = append(dst, ",vsys1,inne,ute,ethernet1/2,ethernet1/1,till-tillsyn,"...)
		dst = at.append(dst, e.Time)
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, uint64(e.number), 10)
		if e.BytesIn < 0 {
			dst = append(dst, ",-1,"...)
		} else {
			dst = append(dst, ",1,"...)
		}
		dst = strconv.AppendInt(dst, int64(e.SourcePort), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(e.Port()), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(e.SourcePort), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(e.Port()), 10)
		dst = append(dst, ",0x403000,tcp,"...)
		dst = append(dst, e.choose("block-url", "alert")...)
		dst = append(dst, `,"`...)
		dst = append(dst, e.Host.authority...)
		if e.Scheme == "" {
			dst = append(dst, ":443/"...)
		} else {
			dst = e.AppendPath(dst)
		}
		dst = append(dst, `",(9999),`...)
		dst = append(dst, e.Category...)
		dst = append(dst, ",informational,client-to-server,7211348019,0x0,10.0.0.0-10.255.255.255,"...)
		dst = append(dst, e.Country...)
		dst = append(dst, ",0,"...)
		dst = append(dst, e.MIME...)
		dst = append(dst, `,0,,,1,"`...)
		dst = appendDoubled(dst, e.UserAgent)
		dst = append(dst, `",,,"`...)
		dst = e.appendReferrer(dst)
		dst = append(dst, `",,,,0,0,0,0,0,,fw02,,,,`...)
		dst = append(dst, methods[e.Method]...)
		dst = append(dst, `,0,,0,,N/A,unknown,AppThreat-0-0,0x0,0,4294967295,,"`...)
		dst = append(dst, e.Category...)
		return append(dst, `,low-risk"`...)
	}
}
