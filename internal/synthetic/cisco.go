package synthetic

import (
	"strconv"
	"time"
)

// umbrella_proxy_csv is the proxy log of Cisco Umbrella's secure web gateway (schema 5): quoted comma-separated values, UTC,
// whole seconds. Where nobody signed in the identity is a network, which is nobody's name.
//
// Source: https://docs.umbrella.com/umbrella-user-guide/docs/web-log-formats.
func newUmbrellaProxyCSV(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, stampTime)
	return func(dst []byte, e *Event) []byte {
		who, kind := e.User, "AD Users"
		if who == "" {
			who, kind = "Kommunens nät", "Networks"
		}
		dst = append(dst, '"')
		dst = at.append(dst, e.Time)
		dst = append(dst, `","`...)
		dst = append(dst, who...)
		dst = append(dst, `","`...)
		dst = append(dst, e.SourceIP...)
		dst = append(dst, `","`+siteAddress+`","`...)
		dst = append(dst, e.ServerIP...)
		dst = append(dst, `","`...)
		dst = append(dst, e.MIME...)
		dst = append(dst, `","`...)
		dst = append(dst, e.choose("BLOCKED", "ALLOWED")...)
		dst = append(dst, `","`...)
		dst = e.appendAddress(dst)
		dst = append(dst, `","`...)
		dst = e.appendReferrer(dst)
		dst = append(dst, `","`...)
		dst = appendDoubled(dst, e.UserAgent)
		dst = append(dst, `","`...)
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, `","`...)
		dst = strconv.AppendInt(dst, e.BytesOut, 10)
		dst = append(dst, `","`...)
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, `","`...)
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, `","","`...)
		dst = append(dst, e.Category...)
		dst = append(dst, `","","","","","","`...)
		dst = append(dst, kind...)
		dst = append(dst, `","","`...)
		dst = append(dst, who...)
		dst = append(dst, `,Stadshuset","`...)
		dst = append(dst, kind...)
		dst = append(dst, `,Sites","`...)
		dst = append(dst, e.Method...)
		return append(dst, `","","","","101","2011","","","","","","SWG"`...)
	}
}

// cisco_wsa is the access log of Cisco Secure Web Appliance (IronPort WSA): Squid's native line with the ACL decision tag and
// the scanning verdicts; tunnels as tunnel://host:443/, user names in quotes.
//
// Source: https://www.cisco.com/c/en/us/support/docs/security/secure-web-appliance/225832-understand-secure-web-appliance.html.
func newCiscoWSA(*time.Location) func([]byte, *Event) []byte {
	var at seconds
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.Duration, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ' ')
		switch e.Result {
		case "TAG_NONE":
			dst = append(dst, "NONE"...)
		case "TCP_TUNNEL":
			dst = append(dst, "TCP_MISS"...)
		default:
			dst = append(dst, e.Result...)
		}
		dst = append(dst, '/', byte('0'+e.Status/100), byte('0'+e.Status/10%10), byte('0'+e.Status%10), ' ')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, ' ')
		dst = append(dst, e.Method...)
		dst = append(dst, ' ')
		if e.Scheme == "" {
			dst = append(dst, "tunnel://"...)
			dst = append(dst, e.Host.authority...)
			dst = append(dst, ":443/"...)
		} else {
			dst = e.AppendURL(dst)
		}
		if e.User == "" {
			dst = append(dst, " -"...)
		} else {
			dst = append(dst, ` "`...)
			dst = appendPercent(dst, e.User)
			dst = append(dst, '"')
		}
		if e.ServerIP != "" {
			dst = append(dst, " DIRECT/"...)
			dst = append(dst, e.ServerIP...)
		} else {
			dst = append(dst, " NONE/-"...)
		}
		dst = append(dst, ' ')
		dst = append(dst, dash(e.MIME)...)
		dst = append(dst, e.choose(" BLOCK_WEBCAT_12", " DEFAULT_CASE_12")...)
		dst = append(dst, `-DefaultGroup-DefaultGroup-NONE-NONE-NONE-DefaultGroup-NONE <"`...)
		dst = append(dst, e.Category...)
		return append(dst, `",5.0,1,"-",0,0,0,1,"-",-,-,-,"-",1,-,"-","-"> - -`...)
	}
}
