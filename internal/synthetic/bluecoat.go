package synthetic

import (
	"strconv"
	"time"
)

// The access log of ProxySG (Blue Coat, Symantec, Broadcom Edge SWG), with times in GMT. bluecoat_w3c is its format "main":
//
//	date time time-taken c-ip sc-status s-action sc-bytes cs-bytes cs-method cs-uri-scheme cs-host cs-uri-port cs-uri-path
//	cs-uri-query cs-username cs-auth-group s-hierarchy s-supplier-name rs(Content-Type) cs(Referer) cs(User-Agent)
//	sc-filter-result cs-categories x-virus-id s-ip
//
// bluecoat_kv is the key=value form for SIEM systems (SPLV5.1) behind an RFC 5424 header, which has the time.
//
// Sources: https://techdocs.broadcom.com/us/en/symantec-security-software/web-and-network-security/edge-swg/7-3/access-log-formats.html
// and https://docs.splunk.com/Documentation/AddOns/released/BlueCoatProxySG/Setup.
func newBluecoatW3C(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, stampTime)
	var scratch []byte
	return func(dst []byte, e *Event) []byte {
		var path, query []byte
		path, query, scratch = e.parts(scratch)
		dst = at.append(dst, e.Time)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.Duration, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, ' ')
		dst = append(dst, e.supplied()...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.BytesOut, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.Method...)
		dst = append(dst, ' ')
		if e.Scheme == "" {
			dst = append(dst, "tcp"...)
		}
		dst = append(dst, e.Scheme...)
		dst = append(dst, ' ')
		dst = append(dst, e.Host.authority...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(e.Port()), 10)
		dst = append(dst, ' ')
		if path == nil {
			dst = append(dst, '/')
		}
		dst = append(dst, path...)
		if query != nil {
			dst = append(dst, " ?"...)
			dst = append(dst, query...)
		} else {
			dst = append(dst, " -"...)
		}
		dst = append(dst, ' ')
		if e.User == "" {
			dst = append(dst, '-')
		}
		dst = appendPercent(dst, e.User)
		if e.ServerIP != "" {
			dst = append(dst, " - DIRECT "...)
			dst = append(dst, e.ServerIP...)
		} else {
			dst = append(dst, " - NONE -"...)
		}
		dst = append(dst, ' ')
		dst = append(dst, dash(e.MIME)...)
		dst = append(dst, ' ')
		if n := len(dst); len(e.appendReferrer(dst)) == n {
			dst = append(dst, '-')
		} else {
			dst = e.appendReferrer(dst)
		}
		dst = append(dst, ` "`...)
		dst = appendDoubled(dst, e.UserAgent)
		dst = append(dst, `" `...)
		dst = append(dst, e.choose("DENIED", "OBSERVED")...)
		dst = append(dst, ` "`...)
		dst = append(dst, e.Category...)
		return append(dst, `" - `+proxyAddress...)
	}
}

func newBluecoatKV(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, isoTime)
	var scratch []byte
	return func(dst []byte, e *Event) []byte {
		var path, query []byte
		path, query, scratch = e.parts(scratch)
		dst = append(dst, "<134>1 "...)
		dst = at.append(dst, e.Time)
		dst = appendMillis(dst, e.Time)
		dst = append(dst, "Z proxy01 bluecoat - SPLV5.1 - c-ip="...)
		dst = append(dst, e.SourceIP...)
		dst = appendPair(dst, "cs-bytes", e.BytesOut)
		dst = appendQuoted(dst, "cs-categories", e.Category)
		dst = append(dst, " cs-host="...)
		dst = append(dst, e.Host.authority...)
		dst = append(dst, " cs-ip="+proxyAddress+" cs-method="...)
		dst = append(dst, e.Method...)
		if path != nil {
			dst = append(dst, " cs-uri-path="...)
			dst = append(dst, path...)
		}
		dst = appendPair(dst, "cs-uri-port", int64(e.Port()))
		if query != nil {
			dst = append(dst, " cs-uri-query=?"...)
			dst = append(dst, query...)
		}
		dst = append(dst, " cs-uri-scheme="...)
		if e.Scheme == "" {
			dst = append(dst, "tcp"...)
		}
		dst = append(dst, e.Scheme...)
		dst = appendQuoted(dst, "cs-User-Agent", e.UserAgent)
		dst = append(dst, " cs-username="...)
		if e.User == "" {
			dst = append(dst, '-')
		}
		dst = appendPercent(dst, e.User)
		dst = append(dst, " s-action="...)
		dst = append(dst, e.supplied()...)
		dst = append(dst, " s-ip="+proxyAddress+" s-supplier-ip="...)
		dst = append(dst, dash(e.ServerIP)...)
		dst = appendPair(dst, "sc-bytes", e.BytesIn)
		dst = append(dst, " sc-filter-result="...)
		dst = append(dst, e.choose("DENIED", "OBSERVED")...)
		dst = appendPair(dst, "sc-status", int64(e.Status))
		dst = appendPair(dst, "time-taken", e.Duration)
		dst = append(dst, " rs-Content-Type="...)
		return append(dst, dash(e.MIME)...)
	}
}

// supplied answers ProxySG's word for where the answer came from (s-action).
func (e *Event) supplied() string {
	switch {
	case e.Blocked:
		return "TCP_DENIED"
	case e.Scheme == "" && e.ServerIP != "":
		return "TCP_TUNNELED"
	case e.ServerIP != "":
		return "TCP_NC_MISS"
	case e.Status >= 500:
		return "TCP_ERR_MISS"
	}
	return "TCP_HIT"
}
