package synthetic

import (
	"strconv"
	"time"
)

// The web log of Zscaler's Nanolog Streaming Service. The customer writes the template of the feed: zscaler_nss_json has the
// one that the vendor gives for Splunk, zscaler_nss_text the tab-separated one below. Both write times in GMT and whole
// seconds, URLs without a scheme, and None for nobody.
//
// Sources: https://help.zscaler.com/zia/nss-feed-output-format-web-logs and
// https://help.zscaler.com/zia/zscaler-and-splunk-deployment-guide.
const zscalerFeed = `%d{yy}-%02d{mth}-%02d{dd} %02d{hh}:%02d{mm}:%02d{ss}\t%s{login}\t%s{cip}\t%s{reqmethod}\t%s{eurl}\t%s{respcode}\t%s{action}` +
	`\t%d{respsize}\t%d{reqsize}\t%s{sip}\t%s{proto}\t%s{contenttype}\t%s{ereferer}\t%s{eua}\t%s{dept}\n`

func newZscalerJSON(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, stampTime)
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, `{"sourcetype":"zscalernss-web","event":{"datetime":"`...)
		dst = at.append(dst, e.Time)
		dst = append(dst, '"')
		dst = appendMember(dst, "reason", e.choose("Not allowed to browse this category", "Allowed"))
		dst = appendMember(dst, "event_id", strconv.Itoa(int(e.number)))
		dst = appendMember(dst, "protocol", e.zscalerProtocol())
		dst = appendMember(dst, "action", e.choose("Blocked", "Allowed"))
		dst = appendMember(dst, "transactionsize", strconv.FormatInt(e.BytesIn+e.BytesOut, 10))
		dst = appendMember(dst, "responsesize", strconv.FormatInt(e.BytesIn, 10))
		dst = appendMember(dst, "requestsize", strconv.FormatInt(e.BytesOut, 10))
		dst = appendMember(dst, "urlcategory", e.Category)
		dst = appendMember(dst, "serverip", none(e.ServerIP))
		dst = appendMember(dst, "requestmethod", e.Method)
		dst = appendMember(dst, "refererURL", none(string(e.appendReferrer(nil))))
		dst = appendMember(dst, "useragent", e.UserAgent)
		dst = append(dst, `,"product":"NSS","vendor":"Zscaler","location":"Kommunen"`...)
		dst = appendMember(dst, "ClientIP", e.SourceIP)
		dst = appendMember(dst, "status", strconv.Itoa(e.Status))
		dst = appendMember(dst, "user", none(e.User))
		dst = append(dst, `,"url":"`...)
		dst = e.appendBare(dst)
		dst = append(dst, '"')
		dst = appendMember(dst, "hostname", e.Host.Name)
		dst = append(dst, `,"clientpublicIP":"`+siteAddress+`"`...)
		dst = appendMember(dst, "contenttype", none(e.MIME))
		dst = appendMember(dst, "department", e.Unit)
		return append(dst, "}}"...)
	}
}

func newZscalerText(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, stampTime)
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, '\t')
		dst = append(dst, none(e.User)...)
		dst = append(dst, '\t')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, '\t')
		dst = append(dst, e.Method...)
		dst = append(dst, '\t')
		dst = e.appendBare(dst)
		dst = append(dst, '\t')
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, '\t')
		dst = append(dst, e.choose("Blocked", "Allowed")...)
		dst = append(dst, '\t')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, '\t')
		dst = strconv.AppendInt(dst, e.BytesOut, 10)
		dst = append(dst, '\t')
		dst = append(dst, none(e.ServerIP)...)
		dst = append(dst, '\t')
		dst = append(dst, e.zscalerProtocol()...)
		dst = append(dst, '\t')
		dst = append(dst, none(e.MIME)...)
		dst = append(dst, '\t')
		if n := len(dst); len(e.appendReferrer(dst)) == n {
			dst = append(dst, "None"...)
		} else {
			dst = e.appendReferrer(dst)
		}
		dst = append(dst, '\t')
		dst = append(dst, e.UserAgent...)
		dst = append(dst, '\t')
		return append(dst, e.Unit...)
	}
}

// zscalerProtocol answers proto: a tunnel is one of the secure kind that is not opened.
func (e *Event) zscalerProtocol() string {
	switch e.Scheme {
	case "":
		return "HTTP_PROXY"
	case "http":
		return "HTTP"
	}
	return "HTTPS"
}

func none(text string) string {
	if text == "" {
		return "None"
	}
	return text
}

// appendBare appends the URL without its scheme; a tunnel's with its port.
func (e *Event) appendBare(dst []byte) []byte {
	dst = append(dst, e.Host.authority...)
	if e.Scheme == "" {
		return append(dst, ":443"...)
	}
	return e.AppendPath(dst)
}
