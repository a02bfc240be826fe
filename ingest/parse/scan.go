package parse

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"time"
)

// token answers the next run of bytes other than space from position i on, and the position after it. The token is empty
// when the line holds no more.
func token(b []byte, i int) (tok []byte, next int) {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	start := i
	for ; i+8 <= len(b); i += 8 { // eight bytes at once: a byte of x is zero where there is a space
		x := binary.LittleEndian.Uint64(b[i:]) ^ spaces
		if zeroes := (x - lows) &^ x & highs; zeroes != 0 {
			i += bits.TrailingZeros64(zeroes) / 8
			return b[start:i], i
		}
	}
	for i < len(b) && b[i] != ' ' {
		i++
	}
	return b[start:i], i
}

const lows, highs, spaces = 0x0101010101010101, 0x8080808080808080, ' ' * lows

// count reads the number of up to 18 digits that is the next word from position i on, and answers the position after it. n
// is -1 where the word is a dash or missing; ok is false where it is anything else than a number.
func count(b []byte, i int) (n int64, next int, ok bool) {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	if i > start && i-start <= 18 && (i == len(b) || b[i] == ' ') {
		return n, i, true
	}
	word, next := token(b, start)
	return -1, next, absent(word)
}

// absent says whether b is the dash with which logs write "no value", or nothing at all.
func absent(b []byte) bool { return len(b) == 0 || len(b) == 1 && b[0] == '-' }

// present answers b, or nil where it is absent.
func present(b []byte) []byte {
	if absent(b) {
		return nil
	}
	return b
}

// decimal reads b as a number of 1 to 18 decimal digits: every such number fits an int64.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

// size reads a number of bytes; -1 where it is absent.
func size(b []byte) (n int64, ok bool) {
	if absent(b) {
		return -1, true
	}
	return decimal(b)
}

// status reads an HTTP status of up to three digits; -1 where it is absent. Squid writes 000 where no reply was sent: that is 0.
func status(b []byte) (n int32, ok bool) {
	if absent(b) {
		return -1, true
	}
	v, ok := decimal(b)
	return int32(v), ok && len(b) <= 3
}

// port reads a port number.
func port(b []byte) (n int32, ok bool) {
	if len(b) > 5 {
		return 0, false
	}
	v, ok := decimal(b)
	return int32(v), ok && v <= math.MaxUint16
}

// maxMilliseconds is the longest time.Duration.
const maxMilliseconds = math.MaxInt64 / int64(time.Millisecond)

// milliseconds reads a duration of whole milliseconds; -1 where it is absent. A negative one is a clock set back while the
// request ran: the line is good, the duration is not known.
func milliseconds(b []byte) (d time.Duration, ok bool) {
	if absent(b) {
		return -1, true
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	n, ok := decimal(b)
	if !ok || n > maxMilliseconds {
		return 0, false
	}
	if negative {
		return -1, true
	}
	return time.Duration(n) * time.Millisecond, true
}

// client reads the address of a client or server: an IP address, or a host name where the source resolves names, which
// gives the zero Addr.
func client(b []byte) (addr netip.Addr, ok bool) {
	if absent(b) {
		return netip.Addr{}, true
	}
	if addr, ok = address(b); ok {
		return addr, true
	}
	for _, c := range b {
		if !hostByte(c) {
			return netip.Addr{}, false
		}
	}
	return netip.Addr{}, true
}

func hostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c >= 0x80
}

// address reads an IPv4 or IPv6 address without allocating. It takes what netip.ParseAddr takes, drops a zone, and answers
// an IPv4-mapped IPv6 address as IPv4.
func address(b []byte) (netip.Addr, bool) {
	var quad [4]byte
	if v4(b, &quad) {
		return netip.AddrFrom4(quad), true
	}
	return v6(b)
}

func v4(b []byte, to *[4]byte) bool {
	if len(b) < 7 || len(b) > 15 {
		return false
	}
	part, digits, n := 0, 0, 0
	for _, c := range b {
		if c == '.' {
			if digits == 0 || part == 3 {
				return false
			}
			to[part] = byte(n)
			part, digits, n = part+1, 0, 0
			continue
		}
		c -= '0'
		if c > 9 {
			return false
		}
		// a leading zero is octal to some readers and decimal to others
		if digits > 0 && n == 0 {
			return false
		}
		if n = n*10 + int(c); n > 255 {
			return false
		}
		digits++
	}
	if part != 3 || digits == 0 {
		return false
	}
	to[3] = byte(n)
	return true
}

func v6(b []byte) (netip.Addr, bool) {
	for i, c := range b {
		if c == '%' {
			if i == len(b)-1 {
				return netip.Addr{}, false
			}
			b = b[:i]
			break
		}
	}
	if len(b) < 2 || len(b) > 45 {
		return netip.Addr{}, false
	}
	var out [16]byte
	at, gap, i := 0, -1, 0
	if b[0] == ':' {
		if b[1] != ':' {
			return netip.Addr{}, false
		}
		gap, i = 0, 2
	}
	for i < len(b) {
		if at == 16 {
			return netip.Addr{}, false
		}
		start, n := i, 0
		for i < len(b) {
			d := hexDigit(b[i])
			if d > 15 {
				break
			}
			n = n<<4 | int(d)
			i++
		}
		if i == start || i-start > 4 {
			return netip.Addr{}, false
		}
		if i < len(b) && b[i] == '.' {
			var quad [4]byte
			if at > 12 || !v4(b[start:], &quad) {
				return netip.Addr{}, false
			}
			at += copy(out[at:], quad[:])
			break
		}
		out[at], out[at+1] = byte(n>>8), byte(n)
		at += 2
		if i == len(b) {
			break
		}
		if b[i] != ':' || i+1 == len(b) {
			return netip.Addr{}, false
		}
		if i++; b[i] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap = at
			i++
		}
	}
	if at < 16 {
		if gap < 0 {
			return netip.Addr{}, false
		}
		tail := at - gap
		copy(out[16-tail:], out[gap:at])
		clear(out[gap : 16-tail])
	} else if gap >= 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(out).Unmap(), true
}

// hexDigit answers the value of a hexadecimal digit, or 255.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// A scratch is memory of a parser for values that can't be shown as a part of the record because they were encoded in it.
// Decoding never makes a value longer, and no byte of a line is decoded twice, so a line's values fit its own length.
type scratch struct {
	buf  []byte
	room int // the length of the line that is being read
}

// reset forgets what is in the scratch, in earnest, and makes it fit for a line of this length.
func (s *scratch) reset(room int) {
	clear(s.buf)
	s.buf, s.room = s.buf[:0], room
}

// start answers where the next value begins, with room behind it for n bytes.
func (s *scratch) start(n int) int {
	if cap(s.buf)-len(s.buf) < n {
		s.buf = make([]byte, 0, max(s.room, n, 256))
	}
	return len(s.buf)
}

// percent answers b with its %XX triplets decoded (RFC 3986, section 2.1): b itself where it has none. A percent sign
// without two hexadecimal digits stays as it is.
func (s *scratch) percent(b []byte) []byte {
	first := indexByte(b, '%')
	if first < 0 {
		return b
	}
	start := s.start(len(b))
	s.buf = append(s.buf, b[:first]...)
	for i := first; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if hi, lo := hexDigit(b[i+1]), hexDigit(b[i+2]); hi < 16 && lo < 16 {
				s.buf = append(s.buf, hi<<4|lo)
				i += 2
				continue
			}
		}
		s.buf = append(s.buf, b[i])
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}

// mimeBlob answers b with Squid's %[ quoting undone: %XX triplets, and a backslash that is written twice. A single backslash
// stays, for lines of proxies that write DOMAIN\name as it is; so do \r and \n, which no name holds but DOMAIN\robert does.
//
// Source: QuoteMimeBlob in Squid's src/format/Quoting.cc.
func (s *scratch) mimeBlob(b []byte) []byte {
	first := 0
	for first < len(b) && b[first] != '%' && b[first] != '\\' {
		first++
	}
	if first == len(b) {
		return b
	}
	start := s.start(len(b))
	s.buf = append(s.buf, b[:first]...)
	for i := first; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if hi, lo := hexDigit(b[i+1]), hexDigit(b[i+2]); hi < 16 && lo < 16 {
				s.buf = append(s.buf, hi<<4|lo)
				i += 2
				continue
			}
		}
		s.buf = append(s.buf, b[i])
		if b[i] == '\\' && i+1 < len(b) && b[i+1] == '\\' {
			i++
		}
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}

// backslash answers b with the escapes of Squid's quoted strings undone (\r, \n, \t; any other byte stands for itself): b
// itself where it has none.
func (s *scratch) backslash(b []byte) []byte {
	first := indexByte(b, '\\')
	if first < 0 {
		return b
	}
	start := s.start(len(b))
	s.buf = append(s.buf, b[:first]...)
	for i := first; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			switch c = b[i]; c {
			case 'r':
				c = '\r'
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			}
		}
		s.buf = append(s.buf, c)
	}
	return s.buf[start:len(s.buf):len(s.buf)]
}

// quotedEnd answers the position of the quote that ends a quoted string whose text begins at i, or -1. A backslash hides
// the byte after it.
func quotedEnd(b []byte, i int) int {
	at := bytes.IndexByte(b[i:], '"')
	switch {
	case at < 0:
		return -1
	case bytes.IndexByte(b[i:i+at], '\\') < 0:
		return i + at
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// indexByte is bytes.IndexByte for the short fields where a call into assembly costs more than the loop.
func indexByte(b []byte, c byte) int {
	for i, x := range b {
		if x == c {
			return i
		}
	}
	return -1
}

// trimRight answers b without the spaces at its end.
func trimRight(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// trimLeft answers b without the spaces at its beginning.
func trimLeft(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}
