package synthetic

import (
	"strconv"
	"time"
)

// ndjson is one JSON object a line with the names of the Elastic Common Schema, as objects within objects.
//
// Source: https://www.elastic.co/docs/reference/ecs/ecs-field-reference.
func newNDJSON(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, isoTime)
	return func(dst []byte, e *Event) []byte {
		dst = append(dst, `{"@timestamp":"`...)
		dst = at.append(dst, e.Time)
		dst = appendMillis(dst, e.Time)
		dst = append(dst, `Z","event":{"action":"`...)
		dst = append(dst, e.choose("blocked", "allowed")...)
		dst = append(dst, '"')
		dst = appendCount(dst, "duration", e.Duration*1_000_000)
		dst = appendMember(dst, "code", e.Result)
		dst = append(dst, `},"source":{"ip":"`...)
		dst = append(dst, e.SourceIP...)
		dst = append(dst, '"')
		dst = appendCount(dst, "port", int64(e.SourcePort))
		dst = appendCount(dst, "bytes", e.BytesOut)
		dst = append(dst, `},"destination":{"bytes":`...)
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		if e.ServerIP != "" {
			dst = appendMember(dst, "ip", e.ServerIP)
		}
		if e.User != "" {
			dst = append(dst, `},"user":{"name":`...)
			dst = appendJSON(dst, e.User)
		}
		dst = append(dst, `},"http":{"request":{"method":"`...)
		dst = append(dst, e.Method...)
		dst = append(dst, '"')
		if e.Referrer != nil && e.Scheme != "" {
			dst = append(dst, `,"referrer":"`...)
			dst = e.appendReferrer(dst)
			dst = append(dst, '"')
		}
		dst = append(dst, `},"response":{"status_code":`...)
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		if e.MIME != "" {
			dst = appendMember(dst, "mime_type", e.MIME)
		}
		dst = append(dst, `}},"url":{"domain":"`...)
		dst = append(dst, e.Host.Name...)
		dst = append(dst, '"')
		dst = appendCount(dst, "port", int64(e.Port()))
		if e.Scheme != "" {
			dst = appendMember(dst, "scheme", e.Scheme)
			dst = append(dst, `,"original":"`...)
			dst = e.AppendURL(dst)
			dst = append(dst, '"')
		}
		dst = append(dst, `},"user_agent":{"original":`...)
		dst = appendJSON(dst, e.UserAgent)
		return append(dst, "}}"...)
	}
}
