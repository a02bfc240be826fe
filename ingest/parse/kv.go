package parse

import "bytes"

// A pairScanner cuts a line of key=value pairs. A value may be bare or quoted, the same key now one and now the other.
// Words that are no pair are passed over. Nothing is decoded: quoted says whether a value may hold escapes.
type pairScanner struct {
	b     []byte
	i     int
	comma bool // pairs are separated by commas, not by spaces
}

// newPairScanner finds out by the first pair what separates pairs.
func newPairScanner(b []byte) pairScanner {
	p := pairScanner{b: b}
	for i, c := range b {
		switch c {
		case ',':
			p.comma = keyBegins(b, i+1)
			return p
		case ' ', '\t', '"':
			return p
		}
	}
	return p
}

// next answers the next pair; ok is false at the end of the line.
func (p *pairScanner) next() (key, value []byte, quoted, ok bool) {
	b, i := p.b, p.i
	for {
		for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == ',') {
			i++
		}
		start := i
		i = keyEnd(b, i)
		if i >= len(b) {
			p.i = i
			return nil, nil, false, false
		}
		if b[i] != '=' || i == start {
			for i < len(b) && b[i] != ' ' && b[i] != '\t' {
				i++
			}
			continue
		}
		key = b[start:i]
		break
	}
	i++
	if i < len(b) && b[i] == '"' {
		end := p.closing(i + 1)
		p.i = min(end+1, len(b))
		return key, b[i+1 : end], true, true
	}
	start := i
	for ; i < len(b); i++ {
		if c := b[i]; c <= ',' && (c == ' ' || c == '\t' || p.comma && c == ',' && keyBegins(b, i+1)) {
			break
		}
	}
	p.i = i
	return key, b[start:i], false, true
}

// closing answers where the quoted value that begins at start ends: at the first quote that is not escaped and has the end
// of the line or another pair behind it, for some devices do not escape the quotes of a value. It is the end of the line
// where there is none.
func (p *pairScanner) closing(start int) int {
	last := -1
	for i := start; ; i++ {
		at := bytes.IndexByte(p.b[i:], '"')
		if at < 0 {
			break
		}
		i += at
		if i+1 < len(p.b) && p.b[i+1] != ' ' && p.b[i+1] != '\t' && p.b[i+1] != ',' {
			continue
		}
		slashes := 0
		for i-1-slashes >= start && p.b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes&1 == 1 {
			last = i
			continue
		}
		if pairBegins(p.b, i+1) {
			return i
		}
		last = i
	}
	if last >= 0 {
		return last
	}
	return len(p.b)
}

// pairBegins says whether a key and its '=' begin at position i, behind spaces and a comma, or the line ends there.
func pairBegins(b []byte, i int) bool {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == ',') {
		i++
	}
	return i == len(b) || keyBegins(b, i)
}

// keyBegins says whether a key and its '=' stand at position i.
func keyBegins(b []byte, i int) bool {
	if i >= len(b) || !hostByte(b[i]) {
		return false
	}
	end := keyEnd(b, i)
	return end < len(b) && b[end] == '='
}

// keyEnd answers the position of the first '=', quote, space or tab from position i on.
func keyEnd(b []byte, i int) int {
	for i < len(b) {
		// nearly every byte of a key is a letter
		if c := b[i]; c <= '=' && (c == '=' || c == ' ' || c == '"' || c == '\t') {
			return i
		}
		i++
	}
	return i
}

// unescape answers b with \" and \\ undone, and with hex also \xHH: b itself where it holds none. Any other backslash stays,
// for it stands between a domain and a name.
func (s *scratch) unescape(b []byte, hex bool) []byte {
	first := indexByte(b, '\\')
	if first < 0 {
		return b
	}
	start := s.start(len(b))
	s.buf = append(s.buf, b[:first]...)
	for i := first; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			switch next := b[i+1]; {
			case next == '"' || next == '\\':
				c = next
				i++
			case hex && next == 'x' && i+3 < len(b) && hexDigit(b[i+2]) < 16 && hexDigit(b[i+3]) < 16:
				c = hexDigit(b[i+2])<<4 | hexDigit(b[i+3])
				i += 3
			}
		}
		s.buf = append(s.buf, c)
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}
