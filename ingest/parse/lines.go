package parse

import "bytes"

// MaxLine is the longest line that is read, in bytes. A proxy's own limits (a header block of 64 KiB, every byte of it
// percent-encoded) keep real lines below it.
const MaxLine = 256 << 10

const utf8BOM = "\xef\xbb\xbf"

// A lineFormat reads one line, without line end and envelope, into e, which has been Reset. It answers "" when e is an
// event. What it can't show as a part of the line it writes to s, which lives as long as e.
type lineFormat interface {
	read(line []byte, e *Event, s *scratch) (reason Reason, field string)
	origins() []Origin
}

// skip is what a lineFormat answers for a line that is neither an event nor a fault: a header behind a syslog header, or a
// line of another log that the same product writes to the same place. It never leaves this package.
const skip Reason = "skip"

// A headedFormat is a lineFormat whose comment lines tell something: #Fields.
type headedFormat interface {
	// comment reads a line that begins with '#', and answers skip or why it can't be believed.
	comment(line []byte) (reason Reason, field string)
	// doubt answers, once, why an earlier comment line proved wrong by the line that was just read, or "".
	doubt() Reason
}

// A lineParser is the Parser of every format in which an event is a line.
type lineParser struct {
	format lineFormat
	headed headedFormat // format, where it is one
	// bare lines are tried first where the format's own beginning is not known beforehand, and could look like a syslog header
	bareFirst bool
	whole     bool // the format reads the syslog header itself
	ownJSON   bool // the format's own lines are JSON: they are tried before envelopes are opened
	event     Event
	scratch   scratch
	fresh     bool // event is Reset and scratch is empty
	envelope  *envelope
	wide      []byte // the record, where it was UTF-16
}

func (p *lineParser) Parse(record []byte, event func(*Event), reject func(Reject)) {
	if text, ok := fromUTF16(p.wide[:0], record); ok {
		record, p.wide = text, text
	}
	p.lines(bytes.TrimPrefix(record, []byte(utf8BOM)), 0, event, reject)
	// the record is the caller's again, and nothing of it stays here
	p.event.Reset()
	p.scratch.reset(0)
	p.fresh = true
	clear(p.wide)
	p.wide = p.wide[:0]
}

// lines reads the lines of a text. outer is the number of the line that is an envelope around it, 0 for a record itself.
func (p *lineParser) lines(record []byte, outer int, event func(*Event), reject func(Reject)) {
	for next := 1; len(record) > 0; next++ {
		number := next
		if outer > 0 {
			number = outer
		}
		line := record
		if end := bytes.IndexByte(record, '\n'); end >= 0 {
			line, record = record[:end], record[end+1:]
		} else {
			record = nil
		}
		for len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if silent(line) {
			if p.headed != nil && len(line) <= MaxLine {
				if reason, field := p.headed.comment(line); reason != skip {
					reject(Reject{Reason: reason, Field: field, Line: number})
				}
			}
			continue
		}
		if outer == 0 && (line[0] == '{' || line[0] == '[') && !p.ownJSON && p.opened(line, number, event, reject) {
			continue
		}
		reason, field := p.line(line)
		reason, field = timely(reason, field, &p.event)
		if reason != "" && reason != skip && outer == 0 && p.ownJSON && (line[0] == '{' || line[0] == '[') && p.opened(line, number, event, reject) {
			continue
		}
		switch reason {
		case "":
			event(&p.event)
		case skip:
		default:
			reject(Reject{Reason: reason, Field: field, Line: number})
		}
		if p.headed != nil {
			if reason := p.headed.doubt(); reason != "" {
				reject(Reject{Reason: reason, Line: number})
			}
		}
	}
}

// opened reads a line that is an envelope; false where it is none.
func (p *lineParser) opened(line []byte, number int, event func(*Event), reject func(Reject)) bool {
	if len(line) > MaxRecord {
		return false
	}
	if p.envelope == nil {
		p.envelope = newEnvelope(0)
	}
	return p.envelope.open(line, func(text []byte) { p.lines(text, number, event, reject) },
		func(reason Reason) { reject(Reject{Reason: reason, Line: number}) })
}

// silent says whether a line is empty or a comment: neither an event nor a reject.
func silent(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return c == '#'
		}
	}
	return true
}

func (p *lineParser) line(line []byte) (Reason, string) {
	switch {
	case len(line) > MaxLine:
		return TooLong, ""
	case bytes.IndexByte(line, 0) >= 0:
		return NULByte, ""
	}
	if p.whole {
		return p.read(line)
	}
	if p.bareFirst {
		reason, field := p.read(line)
		if reason == "" || reason == skip || !maybeSyslog(line) {
			return reason, field
		}
		if inner, innerField, ok := p.enveloped(line); ok {
			return inner, innerField
		}
		return reason, field
	}
	if maybeSyslog(line) {
		if reason, field, ok := p.enveloped(line); ok {
			return reason, field
		}
	}
	return p.read(line)
}

// enveloped reads the message of a syslog line; ok is false where the line has no syslog header.
func (p *lineParser) enveloped(line []byte) (reason Reason, field string, ok bool) {
	_, msg, rest, ok := cutSyslog(line)
	if !ok {
		return "", "", false
	}
	if reason, field = p.read(msg); reason != "" && reason != skip && len(rest) != len(msg) {
		if again, _ := p.read(rest); again == "" || again == skip {
			return again, "", true
		}
		p.event.Reset()
	}
	return reason, field, true
}

func (p *lineParser) read(line []byte) (Reason, string) {
	if !p.fresh {
		p.event.Reset()
	}
	p.fresh = false
	p.scratch.reset(len(line))
	return p.format.read(line, &p.event, &p.scratch)
}

// maybeSyslog is the cheap question before cutSyslog: a PRI, a month's name, an RFC 5424 version or an ISO date.
func maybeSyslog(line []byte) bool {
	if len(line) < 16 {
		return false
	}
	switch c := line[0]; {
	case c == '<':
		return true
	case c >= '0' && c <= '9':
		return line[4] == '-' && line[7] == '-' || c == '1' && line[1] == ' '
	default:
		return line[3] == ' ' && monthNumber(line) > 0
	}
}

func (p *lineParser) origins() []Origin { return p.format.origins() }
