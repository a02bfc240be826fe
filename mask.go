package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tillsyn/ingest/sensitive"
)

const (
	identityMask = "******-****"
	maxEncoded   = 3 // how often what is percent-encoded may be encoded again
	maxMarks     = 3 // characters between a date and the last four digits
)

// maskIdentityNumbers blanks every Swedish personal identity number whose date and check digit are right, wherever it stands: with or
// without a few marks or spaces before the last four digits, and percent-encoded, in whole or in part, up to maxEncoded times. What is
// written in another way is not found.
func maskIdentityNumbers(text string) string {
	for {
		masked := maskReadable(text)
		if masked == text {
			return text
		}
		text = masked // with what was there gone, what is encoded may read differently
	}
}

// maskReadable masks the numbers that text has when it is percent-decoded as often as it takes to find any.
func maskReadable(text string) string {
	digits := 0
	for i := range len(text) {
		if text[i]-'0' <= 9 {
			digits++
		}
	}
	if digits < 10 { // encoded ones have a digit each, too
		return text
	}
	read := make([]readByte, len(text))
	for i := range read {
		read[i] = readByte{text[i], i, i + 1}
	}
	for range maxEncoded + 1 {
		if masked, found := maskRead(text, read); found {
			return masked
		}
		var more bool
		if read, more = decodedOnce(read); !more {
			break
		}
	}
	return text
}

// A readByte is a byte as it is read, and the part of the text that it stands for.
type readByte struct {
	c        byte
	from, to int
}

func (b readByte) digit() bool { return b.c-'0' <= 9 }

// decodedOnce decodes what is percent-encoded, and says whether anything was.
func decodedOnce(read []readByte) (decoded []readByte, more bool) {
	for i := 0; i < len(read); i++ {
		if read[i].c == '%' && i+2 < len(read) {
			high, low := hexValue(read[i+1].c), hexValue(read[i+2].c)
			if high >= 0 && low >= 0 {
				decoded = append(decoded, readByte{byte(high<<4 | low), read[i].from, read[i+2].to})
				more = true
				i += 2
				continue
			}
		}
		decoded = append(decoded, read[i])
	}
	return decoded, more
}

func hexValue(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// maskRead masks the numbers of a text as it is read.
func maskRead(text string, read []readByte) (masked string, found bool) {
	var b strings.Builder
	rest := 0
	for i := 0; i < len(read); {
		if !read[i].digit() {
			i++
			continue
		}
		end := digitsEnd(read, i)
		last, date := end, end-i
		if date == 10 || date == 12 {
			date -= 4
		} else if next := pastMarks(read, end); next > end && digitsEnd(read, next) == next+4 {
			last = next + 4
		}
		if (date == 6 || date == 8) && last > i+date && isIdentityNumber(read[i:i+date], read[last-4:last]) {
			b.WriteString(text[rest:read[i].from])
			b.WriteString(identityMask)
			rest, end = read[last-1].to, last
		}
		i = end
	}
	if rest == 0 {
		return text, false
	}
	b.WriteString(text[rest:])
	return b.String(), true
}

// digitsEnd is behind the digits that begin at i.
func digitsEnd(read []readByte, i int) int {
	for i < len(read) && read[i].digit() {
		i++
	}
	return i
}

// pastMarks is behind the characters at i that are neither letters nor digits, of which there may be a few.
func pastMarks(read []readByte, i int) int {
	for range maxMarks {
		var room [utf8.UTFMax]byte
		n := 0
		for n < len(room) && i+n < len(read) {
			room[n] = read[i+n].c
			n++
		}
		r, size := utf8.DecodeRune(room[:n])
		if n == 0 || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) {
			break
		}
		i += size
	}
	return i
}

func isIdentityNumber(date, last []readByte) bool {
	var b []byte
	for _, d := range date {
		b = append(b, d.c)
	}
	b = append(b, '-')
	for _, d := range last {
		b = append(b, d.c)
	}
	return sensitive.Find(b).IdentityNumbers == 1
}
