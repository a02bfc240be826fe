package parse

import (
	"unicode/utf16"
	"unicode/utf8"
)

// fromUTF16 appends to dst a text in UTF-16 as UTF-8: Microsoft's consoles and downloads write it. ok is false where b is none.
// A byte order mark tells, or the zero bytes of the ASCII characters at the beginning; a cut at line ends leaves half of one
// before or behind a line.
func fromUTF16(dst, b []byte) (text []byte, ok bool) {
	high := 1
	switch {
	case len(b) >= 2 && b[0] == 0xff && b[1] == 0xfe:
		b = b[2:]
	case len(b) >= 2 && b[0] == 0xfe && b[1] == 0xff:
		b, high = b[2:], 0
	case len(b) == 1 && b[0] == 0:
		// the second half of the last line end
		return dst, true
	case len(b) >= 4 && b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
		// Big-endian, or little-endian behind the second half of a line end. Where the line's own end lacks a half too, both
		// read the same below U+0100, and little-endian is what Windows writes.
		if high = 0; len(b)%2 == 1 || b[len(b)-1] == '\n' {
			b, high = b[1:], 1
		}
	case len(b) >= 4 && b[1] == 0 && b[3] == 0 && b[0] != 0 && b[2] != 0:
	default:
		return nil, false
	}
	if high == 1 && len(b)%2 == 1 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	for i := 0; i+1 < len(b); i += 2 {
		r := rune(b[i+high])<<8 | rune(b[i+1-high])
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if i+3 < len(b) {
				low = rune(b[i+2+high])<<8 | rune(b[i+3-high])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 2
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, true
}
