package synthetic

import (
	"strconv"
	"time"
)

// zeek_http_tsv is Zeek's http.log, tab-separated, with the columns that Zeek writes by itself, of a monitor between the
// clients and their proxy: the other end of every connection is the proxy, and targets are absolute. A monitor blocks
// nothing, and tells nothing of what was blocked.
//
// Source: https://docs.zeek.org/en/master/logs/http.html.
func newZeekHTTP(*time.Location) func([]byte, *Event) []byte {
	var at seconds
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, "000\tC"...)
		dst = strconv.AppendUint(dst, uint64(e.number), 36)
		dst = append(dst, '\t')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, '\t')
		dst = strconv.AppendInt(dst, int64(e.SourcePort), 10)
		dst = append(dst, "\t"+proxyAddress+"\t3128\t1\t"...)
		dst = append(dst, e.Method...)
		dst = append(dst, '\t')
		dst = append(dst, e.Host.authority...)
		dst = append(dst, '\t')
		dst = e.AppendURL(dst)
		dst = append(dst, '\t')
		if n := len(dst); len(e.appendReferrer(dst)) == n {
			dst = append(dst, '-')
		} else {
			dst = e.appendReferrer(dst)
		}
		dst = append(dst, "\t1.1\t"...)
		dst = appendSlashed(dst, e.UserAgent, false)
		dst = append(dst, "\t-\t"...)
		dst = strconv.AppendInt(dst, e.BytesOut, 10)
		dst = append(dst, '\t')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, '\t')
		if e.Status == 0 {
			dst = append(dst, '-')
		} else {
			dst = strconv.AppendInt(dst, int64(e.Status), 10)
		}
		dst = append(dst, "\t-\t-\t-\t(empty)\t"...)
		if e.User == "" {
			dst = append(dst, '-')
		}
		dst = appendSlashed(dst, e.User, true)
		dst = append(dst, "\t-\t-\t-\t-\t-\t-\t-\t"...)
		return append(dst, dash(e.MIME)...)
	}
}
