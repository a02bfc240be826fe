package parse

import (
	"bytes"
	"math"
	"net/netip"
	"time"
)

// person answers the name of a user, or nil where the device writes a word for nobody.
func person(b []byte) []byte {
	switch len(b) {
	case 0, 1:
		return present(b)
	case 3:
		if fold(b, "n/a") {
			return nil
		}
	case 4:
		if fold(b, "none") {
			return nil
		}
	case 7:
		if fold(b, "unknown") {
			return nil
		}
	case 9:
		if fold(b, "anonymous") {
			return nil
		}
	case 13:
		if fold(b, "not available") {
			return nil
		}
	}
	return b
}

// fold says whether b is word, which is in lower case, in any case of ASCII letters.
func fold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// foldStarts says whether b begins with word, which is in lower case, in any case of ASCII letters.
func foldStarts(b []byte, word string) bool { return len(b) >= len(word) && fold(b[:len(word)], word) }

// replied reads an HTTP status; -1 also for 0, which a device writes where there was no reply.
func replied(b []byte) (n int32, ok bool) {
	if n, ok = status(b); n == 0 {
		n = -1
	}
	return n, ok
}

// visited reads a request's target from a URL and, where that names no host, from a host beside it, and answers why there
// is none that a statistic could count.
func visited(url, host []byte, e *Event) (Reason, string) {
	if url = present(url); url != nil && !target(url, e) {
		return BadURL, "url.domain"
	}
	if host = present(host); host != nil && e.Domain == nil {
		for _, c := range host {
			if c == '/' || c == '?' || c == '#' {
				return BadURL, "url.domain"
			}
		}
		if !authority(host, e) {
			return BadURL, "url.domain"
		}
	}
	switch {
	case e.Domain != nil || e.DestinationIP.IsValid():
		return "", ""
	case url == nil && host == nil:
		return NoRequest, ""
	}
	return NoDestination, "url.domain"
}

// httpMethod says whether b can be a request's method: RFC 9110 has them in capitals.
func httpMethod(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 2 && len(b) <= 20
}

// countOf reads how many like events a line stands for; ok is false for what no counter holds.
func countOf(b []byte) (n uint32, ok bool) {
	if absent(b) {
		return 1, true
	}
	v, ok := decimal(b)
	if !ok || v > math.MaxUint32 {
		return 0, false
	}
	return uint32(max(v, 1)), true
}

// secondsOrMilliseconds reads a duration: whole milliseconds, or seconds where it has a decimal point; -1 where it is absent.
func secondsOrMilliseconds(b []byte) (d time.Duration, ok bool) {
	point := indexByte(b, '.')
	if point < 0 {
		return milliseconds(b)
	}
	whole, ok := decimal(b[:point])
	if !ok || whole > maxMilliseconds/1000 {
		return 0, false
	}
	d = time.Duration(whole) * time.Second
	scale := time.Second / 10
	for _, c := range b[point+1:] {
		if c -= '0'; c > 9 {
			return 0, false
		}
		d += time.Duration(c) * scale
		scale /= 10
	}
	return d, d >= 0
}

// someone answers an address, or none where it is the unspecified one, with which devices write that they hide it.
func someone(a netip.Addr) netip.Addr {
	if a.IsValid() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// pathOf sets url.path and url.query from a path and a query that stand apart, the query perhaps with its '?', where a URL has
// not told them already.
func (e *Event) pathOf(path, query []byte) {
	if mark := bytes.IndexByte(path, '?'); mark >= 0 && query == nil {
		path, query = path[:mark], path[mark:]
	}
	if e.Path == nil && len(path) > 0 {
		e.Path = path
	}
	if len(query) > 0 && query[0] == '?' {
		query = query[1:]
	}
	if e.Query == nil && len(query) > 0 {
		e.Query = query
	}
}

// lower answers b in lower case, of ASCII letters.
func (s *scratch) lower(b []byte) []byte {
	start := s.start(len(b))
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		s.buf = append(s.buf, c)
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}
