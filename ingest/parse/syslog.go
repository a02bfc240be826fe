package parse

import "bytes"

// A syslogHeader is what stands before the message of a syslog line. A part that is not there is nil.
type syslogHeader struct {
	stamp  []byte // the time as written
	host   []byte
	app    []byte // APP-NAME, or the tag without its process number
	procID []byte
}

// cutSyslog takes the header off a syslog line: RFC 5424, or RFC 3164 as it is met (with or without PRI, with a BSD time
// or an ISO one, with or without a host, with or without a tag). msg is what follows the header; rest is what follows the
// time alone, for the lines where the first words of the message look like a host and a tag. A line with neither PRI nor
// time is no syslog line.
//
// Sources: https://www.rfc-editor.org/rfc/rfc3164#section-4 and https://www.rfc-editor.org/rfc/rfc5424#section-6.
func cutSyslog(line []byte) (h syslogHeader, msg, rest []byte, ok bool) {
	b := line
	marked := false
	if len(b) > 0 && b[0] == '<' {
		end := 1
		for end < len(b) && end < 4 && b[end]-'0' <= 9 {
			end++
		}
		if end == 1 || end >= len(b) || b[end] != '>' {
			return h, nil, nil, false
		}
		b, marked = b[end+1:], true
	}
	if version, next := token(b, 0); len(version) == 1 && version[0] == '1' && next < len(b) {
		stamp, after := token(b, next)
		if isoStamp(stamp) == len(stamp) && len(stamp) > 0 || marked && absent(stamp) && len(stamp) > 0 {
			return cut5424(b, after, present(stamp))
		}
	}
	n := bsdStamp(b)
	if n == 0 {
		n = isoStamp(b)
	}
	if n == 0 {
		b = trimLeft(b)
		return h, b, b, marked
	}
	h.stamp = b[:n]
	b = trimLeft(b[n:])
	rest = b
	first, next := token(b, 0)
	if tag, text, is := cutTag(b, first); is {
		h.app, h.procID = splitTag(tag)
		return h, text, rest, true
	}
	h.host = first
	b = trimLeft(b[next:])
	second, _ := token(b, 0)
	if tag, text, is := cutTag(b, second); is {
		h.app, h.procID = splitTag(tag)
		return h, text, rest, true
	}
	return h, b, rest, true
}

// cut5424 reads HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG] from position i of b.
func cut5424(b []byte, i int, stamp []byte) (h syslogHeader, msg, rest []byte, ok bool) {
	h.stamp = stamp
	host, i := token(b, i)
	app, i := token(b, i)
	proc, i := token(b, i)
	id, i := token(b, i)
	if len(id) == 0 {
		return syslogHeader{}, nil, nil, false
	}
	h.host, h.app, h.procID = present(host), present(app), present(proc)
	b = trimLeft(b[i:])
	switch {
	case len(b) > 0 && b[0] == '-':
		b = b[1:]
	case len(b) > 0 && b[0] == '[':
		for len(b) > 0 && b[0] == '[' {
			end := elementEnd(b)
			if end < 0 {
				return syslogHeader{}, nil, nil, false
			}
			b = b[end+1:]
		}
	}
	b = bytes.TrimPrefix(trimLeft(b), []byte(utf8BOM))
	return h, b, b, true
}

// elementEnd answers the position of the bracket that ends the SD-ELEMENT at the beginning of b, or -1.
func elementEnd(b []byte) int {
	for i, quoted := 0, false; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ']':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

// cutTag answers the tag "squid[54]:" at the beginning of b, whose first word is given, and the text behind it.
func cutTag(b, word []byte) (tag, text []byte, ok bool) {
	if len(word) > 1 && word[len(word)-1] == ':' {
		return word[:len(word)-1], trimLeft(b[len(word):]), true
	}
	if i := bytes.Index(word, []byte("]:")); i > 0 && indexByte(word[:i], '[') > 0 {
		return word[:i+1], b[i+2:], true
	}
	return nil, nil, false
}

func splitTag(tag []byte) (app, procID []byte) {
	if open := bytes.LastIndexByte(tag, '['); open >= 0 && tag[len(tag)-1] == ']' {
		return tag[:open], tag[open+1 : len(tag)-1]
	}
	return tag, nil
}

// bsdStamp answers the length of the "Dec 21 07:49:02" at the beginning of b, or 0. A year before or behind the time (some
// devices add one), and parts of a second, belong to it.
func bsdStamp(b []byte) int {
	if len(b) < len("Dec 1 07:49:02") || monthNumber(b) == 0 || b[3] != ' ' {
		return 0
	}
	i := 4
	if b[i] == ' ' {
		i++
	}
	start := i
	for i < len(b) && i-start < 2 && b[i]-'0' <= 9 {
		i++
	}
	if i == start || i >= len(b) || b[i] != ' ' {
		return 0
	}
	i++
	if two(b, i) >= 0 && two(b, i+2) >= 0 && i+4 < len(b) && b[i+4] == ' ' {
		i += 5
	}
	if timeOfDay(b, i) < 0 {
		return 0
	}
	i += 8
	if i < len(b) && b[i] == '.' {
		for i++; i < len(b) && b[i]-'0' <= 9; i++ {
		}
	}
	if i+5 < len(b) && b[i] == ' ' && (two(b, i+1) == 19 || two(b, i+1) == 20) && two(b, i+3) >= 0 && b[i+5] == ' ' {
		i += 5
	}
	if i < len(b) && b[i] != ' ' {
		if b[i] != ':' {
			return 0
		}
		i++
	}
	return i
}

// isoStamp answers the length of the RFC 3339 time at the beginning of b, or 0. The zone may be missing.
func isoStamp(b []byte) int {
	if len(b) < 19 || two(b, 0) < 0 || two(b, 2) < 0 || b[4] != '-' || two(b, 5) < 0 || b[7] != '-' || two(b, 8) < 0 ||
		b[10] != 'T' || timeOfDay(b, 11) < 0 {
		return 0
	}
	i := 19
	if i < len(b) && (b[i] == '.' || b[i] == ',') {
		for i++; i < len(b) && b[i]-'0' <= 9; i++ {
		}
	}
	_, n := zoneOffset(b, i)
	i += n
	if i < len(b) && b[i] != ' ' {
		return 0
	}
	return i
}
