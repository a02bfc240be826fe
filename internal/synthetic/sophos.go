package synthetic

import (
	"strconv"
	"time"
)

// sophos_xg_kv is the web filter log of Sophos Firewall (SFOS 18 and later) in the central reporting format, whose timestamp
// names its zone. sophos_swa_kv is the sophos_log of Sophos Web Appliance, with \xXX for the bytes of names outside ASCII; its
// t is the second of the event.
//
// Sources: https://docs.sophos.com/nsg/sophos-firewall/20.0/syslog/index.html and
// https://docs.sophos.com/nsg/swa/help/en-us/nsg/swa/concepts/InterpretingLogFiles.html.
func newSophosXGKV(zone *time.Location) func([]byte, *Event) []byte {
	at := newClock(zone, "2006-01-02T15:04:05-0700")
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, `<30>device_name="SFW" timestamp="`...)
		dst = at.append(dst, e.Time)
		dst = append(dst, `" device_model="XGS126" device_serial_id="X12345" log_id="`...)
		dst = append(dst, e.choose("050902616002", "050901616001")...)
		dst = append(dst, `" log_type="Content Filtering" log_component="HTTP" log_subtype="`...)
		dst = append(dst, e.choose("Denied", "Allowed")...)
		dst = append(dst, `" log_version=1 severity="Information" fw_rule_id="2"`...)
		if e.User != "" {
			dst = appendQuoted(dst, "user", e.User)
		}
		dst = appendQuoted(dst, "http_category", e.Category)
		dst = append(dst, ` url="`...)
		dst = e.appendAddress(dst)
		dst = append(dst, `" content_type="`...)
		dst = append(dst, e.MIME...)
		dst = append(dst, `" src_ip="`...)
		dst = append(dst, e.SourceIP...)
		dst = append(dst, `" dst_ip="`...)
		dst = append(dst, e.ServerIP...)
		dst = append(dst, `" protocol="TCP"`...)
		dst = appendPair(dst, "src_port", int64(e.SourcePort))
		dst = appendPair(dst, "dst_port", int64(e.Port()))
		dst = appendPair(dst, "bytes_sent", e.BytesOut)
		dst = appendPair(dst, "bytes_received", e.BytesIn)
		dst = appendQuoted(dst, "domain", e.Host.authority)
		dst = append(dst, ` http_method="`...)
		dst = append(dst, e.Method...)
		dst = append(dst, '"')
		dst = appendQuoted(dst, "http_user_agent", e.UserAgent)
		dst = append(dst, ` http_status="`...)
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, `" con_id=`...)
		return strconv.AppendUint(dst, uint64(e.number), 10)
	}
}

func newSophosSWAKV(*time.Location) func([]byte, *Event) []byte {
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, "h="...)
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ` u="`...)
		if e.User == "" {
			dst = append(dst, '-')
		}
		dst = appendSlashed(dst, e.User, true)
		dst = append(dst, '"')
		dst = appendPair(dst, "s", int64(e.Status))
		dst = append(dst, " X="...)
		dst = append(dst, e.choose("X", "-")...)
		dst = appendPair(dst, "t", e.Time/1000)
		dst = appendPair(dst, "T", e.Duration*1000)
		dst = append(dst, " Ts=0 act="...)
		dst = append(dst, e.choose("-1", "1")...)
		dst = append(dst, ` cat="0x220000002a" app="-" rsn=- threat="-" type="`...)
		dst = append(dst, dash(e.MIME)...)
		dst = append(dst, `" ctype="`...)
		dst = append(dst, dash(e.MIME)...)
		dst = append(dst, `" sav-ev=4.77 cache=-`...)
		dst = appendPair(dst, "in", e.BytesOut)
		dst = appendPair(dst, "out", e.BytesIn)
		dst = append(dst, " meth="...)
		dst = append(dst, e.Method...)
		dst = append(dst, ` ref="`...)
		dst = e.appendReferrer(dst)
		dst = append(dst, `" ua="`...)
		dst = appendSlashed(dst, e.UserAgent, false)
		dst = append(dst, `" req="`...)
		dst = append(dst, e.Method...)
		dst = append(dst, ' ')
		dst = e.AppendURL(dst)
		dst = append(dst, ` HTTP/1.1" dom="`...)
		dst = append(dst, e.Host.Site...)
		dst = append(dst, `" filetype="-" rule="0" target_ip="`...)
		dst = append(dst, e.ServerIP...)
		return append(dst, `" labs_rule_id="0" os=Windows authn=53 auth_by=portal_cache sandbox=-`...)
	}
}
