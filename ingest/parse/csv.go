package parse

import "bytes"

// maxFields bounds the fields of a delimited line that are looked at.
const maxFields = 160

// A fieldCutter cuts a delimited line into fields and keeps their places, not the line. Its zero value is ready.
type fieldCutter struct {
	places [maxFields]span
	n      int
}

// field answers field number i of b, which is the line that was cut: without its quotes, doubled quotes still doubled. It is
// nil where the line has no such field.
func (f *fieldCutter) field(b []byte, i int) []byte {
	if i < 0 || i >= f.n {
		return nil
	}
	return b[f.places[i].from:f.places[i].to]
}

func (f *fieldCutter) add(from, to int) bool {
	f.places[f.n] = span{int32(from), int32(to)}
	f.n++
	return f.n < maxFields
}

// csv cuts a line of comma-separated values (RFC 4180, with another separator if told so; spaces around quoted fields are
// let pass). A line whose quotes do not add up is cut again in a tolerant way: a quoted field then ends at the first quote
// that the separator and another quote, or the end of the line, follows.
func (f *fieldCutter) csv(b []byte, separator byte) {
	if !f.strict(b, separator) {
		f.tolerant(b, separator)
	}
}

func (f *fieldCutter) strict(b []byte, separator byte) bool {
	f.n = 0
	for i := 0; ; i++ {
		for i < len(b) && b[i] == ' ' {
			i++
		}
		if i < len(b) && b[i] == '"' {
			start := i + 1
			for i = start; ; i += 2 {
				at := bytes.IndexByte(b[i:], '"')
				if at < 0 {
					return false
				}
				if i += at; i+1 >= len(b) || b[i+1] != '"' {
					break
				}
			}
			more := f.add(start, i)
			for i++; i < len(b) && b[i] == ' '; i++ {
			}
			switch {
			case i >= len(b) || !more:
				return true
			case b[i] != separator:
				return false
			}
			continue
		}
		start := i
		for i < len(b) && b[i] != separator {
			i++
		}
		if !f.add(start, i) || i >= len(b) {
			return true
		}
	}
}

func (f *fieldCutter) tolerant(b []byte, separator byte) {
	f.n = 0
	for i := 0; ; i++ {
		for i < len(b) && b[i] == ' ' {
			i++
		}
		start, quote := i, i < len(b) && b[i] == '"'
		if quote {
			start++
			for i = start; i < len(b); i++ {
				if b[i] == '"' && fieldEnds(b, i+1, separator) {
					break
				}
			}
		} else {
			for i < len(b) && b[i] != separator {
				i++
			}
		}
		if !f.add(start, i) {
			return
		}
		for i < len(b) && b[i] != separator {
			i++
		}
		if i >= len(b) {
			return
		}
	}
}

// fieldEnds says whether the line ends at position i, or a separator and the quote of another field stand there.
func fieldEnds(b []byte, i int, separator byte) bool {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	if i >= len(b) {
		return true
	}
	if b[i] != separator {
		return false
	}
	for i++; i < len(b) && b[i] == ' '; i++ {
	}
	return i >= len(b) || b[i] == '"'
}

// words cuts a line at runs of spaces and tabs. A word that begins with a quote goes on to the quote that a space or the end of
// the line follows, doubled quotes passed over; one whose quote never ends is cut as it is.
func (f *fieldCutter) words(b []byte) {
	f.n = 0
	for i := 0; ; {
		for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
			i++
		}
		if i >= len(b) {
			return
		}
		start := i
		if b[i] == '"' {
			end := -1
			for at := i + 1; at < len(b); at++ {
				next := bytes.IndexByte(b[at:], '"')
				if next < 0 {
					break
				}
				if at += next; at+1 == len(b) || b[at+1] == ' ' || b[at+1] == '\t' {
					end = at
					break
				}
				if b[at+1] == '"' {
					at++
				}
			}
			if end >= 0 {
				i = end + 1
				if !f.add(start+1, end) {
					return
				}
				continue
			}
		}
		for i < len(b) && b[i] != ' ' && b[i] != '\t' {
			i++
		}
		if !f.add(start, i) {
			return
		}
	}
}

// tabbed cuts a line at runs of tabs, and takes the quotes off its fields.
func (f *fieldCutter) tabbed(b []byte) {
	f.n = 0
	for i := 0; ; {
		for i < len(b) && (b[i] == '\t' || b[i] == ' ') {
			i++
		}
		if i >= len(b) {
			return
		}
		start := i
		for i < len(b) && b[i] != '\t' {
			i++
		}
		from, to := start, start+len(trimRight(b[start:i]))
		if to-from > 1 && b[from] == '"' && b[to-1] == '"' {
			from, to = from+1, to-1
		}
		if !f.add(from, to) {
			return
		}
	}
}

// split cuts a line at every separator: an empty field is a field.
func (f *fieldCutter) split(b []byte, separator byte) {
	f.n = 0
	for start := 0; ; {
		end := bytes.IndexByte(b[start:], separator)
		if end < 0 {
			f.add(start, len(b))
			return
		}
		if !f.add(start, start+end) {
			return
		}
		start += end + 1
	}
}

// undouble answers b with its doubled quotes halved: b itself where it has none.
func (s *scratch) undouble(b []byte) []byte {
	first := bytes.Index(b, []byte(`""`))
	if first < 0 {
		return b
	}
	start := s.start(len(b))
	s.buf = append(s.buf, b[:first]...)
	for i := first; i < len(b); i++ {
		s.buf = append(s.buf, b[i])
		if b[i] == '"' && i+1 < len(b) && b[i+1] == '"' {
			i++
		}
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}
