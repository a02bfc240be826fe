package sensitive

import (
	"bytes"
	"unicode/utf8"
)

// Kinds is how much of each kind was found.
type Kinds struct {
	IdentityNumbers int // personal identity numbers and co-ordination numbers (personnummer, samordningsnummer)
	Cards           int // payment card numbers
	Health          int // words of health
	Union           int // words of trade union membership
	Faith           int // words of religious or philosophical belief
	Origin          int // words of ethnic origin
	Opinion         int // words of political opinion
	Sexuality       int // words of sex life and orientation
	Offence         int // words of crime and punishment
	Welfare         int // words of social services and protected identities
}

// Words answers how many words of all kinds were found.
func (k Kinds) Words() int {
	return k.Health + k.Union + k.Faith + k.Origin + k.Opinion + k.Sexuality + k.Offence + k.Welfare
}

// Any says whether anything was found.
func (k Kinds) Any() bool { return k.IdentityNumbers > 0 || k.Cards > 0 || k.Words() > 0 }

// maxFolded is the length of the beginning of a subject line, in bytes, in which words are looked for.
const maxFolded = 1024

// Find counts what is in a subject line, which is text in UTF-8 or Latin-1, with RFC 2047 words decoded.
func Find(subject []byte) Kinds {
	var k Kinds
	numbers(subject, &k)
	var room [maxFolded]byte
	words(fold(room[:0], subject), &k)
	return k
}

// numbers looks at every run of digits that begins a number.
func numbers(b []byte, k *Kinds) {
	for i := 0; i < len(b); {
		if !digit(b[i]) {
			i++
			continue
		}
		if begins(b, i) {
			n := identityNumber(b[i:])
			if n > 0 {
				k.IdentityNumbers++
			} else if n = card(b[i:]); n > 0 {
				k.Cards++
			}
			if i += n; n > 0 {
				continue
			}
		}
		for i < len(b) && digit(b[i]) {
			i++
		}
	}
}

func digit(c byte) bool { return c-'0' <= 9 }

// letter takes every byte beyond ASCII for a part of a letter, but the dashes of UTF-8 and its no-break space.
func letter(b []byte, i int) bool {
	c := b[i]
	if c|0x20 >= 'a' && c|0x20 <= 'z' {
		return true
	}
	return c >= utf8.RuneSelf && dash(b[i:]) == 0 && !bytes.HasPrefix(b[i:], []byte("\xc2\xa0"))
}

// begins says whether a number can begin at position i: not behind a letter or a digit, nor behind a digit and a mark, which is
// in the middle of a longer number.
func begins(b []byte, i int) bool {
	if i == 0 {
		return true
	}
	switch c := b[i-1]; {
	case digit(c), c|0x20 >= 'a' && c|0x20 <= 'z':
		return false
	case c >= utf8.RuneSelf:
		return i >= 3 && dash(b[i-3:]) > 0 && (i == 3 || !digit(b[i-4])) || i >= 2 && string(b[i-2:i]) == "\xc2\xa0"
	case c == '-' || c == '+' || c == '.' || c == ',' || c == '/' || c == ':':
		return i == 1 || !digit(b[i-2])
	}
	return true
}

// ends says whether a number can end before position i.
func ends(b []byte, i int) bool {
	if i >= len(b) {
		return true
	}
	if digit(b[i]) || letter(b, i) {
		return false
	}
	mark := 1
	if n := dash(b[i:]); n > 0 {
		mark = n
	} else if c := b[i]; c != '+' && c != '.' && c != ',' && c != '/' && c != ':' {
		return true
	}
	return i+mark >= len(b) || !digit(b[i+mark])
}

// dash answers the length of the hyphen or dash at the beginning of b, or 0.
func dash(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '-':
		return 1
	case len(b) > 2 && b[0] == 0xe2 && (b[1] == 0x80 && b[2] >= 0x90 && b[2] <= 0x94 || b[1] == 0x88 && b[2] == 0x92):
		return 3
	}
	return 0
}

// identityNumber answers the length of the Swedish personal identity number, or co-ordination number (60 is added to the
// day), at the beginning of b, or 0. It has ten digits, or twelve with the century, and may have a dash, or a plus for those who
// are a hundred years old, before the last four.
//
// Source: folkbokföringslagen (1991:481), section 18, and lagen (2022:1697) om samordningsnummer.
func identityNumber(b []byte) int {
	n := 0
	for n < len(b) && digit(b[n]) {
		n++
	}
	date, end := b[:n], n
	var last []byte
	switch n {
	case 10, 12:
		date, last = b[:n-4], b[n-4:n]
	case 6, 8:
		mark := dash(b[n:])
		if mark == 0 && n < len(b) && b[n] == '+' {
			mark = 1
		}
		end = n + mark + 4
		if mark == 0 || end > len(b) {
			return 0
		}
		last = b[n+mark : end]
		for _, c := range last {
			if !digit(c) {
				return 0
			}
		}
	default:
		return 0
	}
	if !ends(b, end) {
		return 0
	}
	century := 0
	if len(date) == 8 {
		if century = int(date[0]-'0')*10 + int(date[1]-'0'); century < 18 || century > 20 {
			return 0
		}
		date = date[2:]
	}
	year, month, day := int(date[0]-'0')*10+int(date[1]-'0'), int(date[2]-'0')*10+int(date[3]-'0'), int(date[4]-'0')*10+int(date[5]-'0')
	if day > 60 {
		day -= 60
	}
	if month < 1 || month > 12 || day < 1 || day > monthLength(century, year, month) {
		return 0
	}
	sum := 0
	for i := range 10 {
		c := 0
		if i < 6 {
			c = int(date[i] - '0')
		} else {
			c = int(last[i-6] - '0')
		}
		sum += luhn(c, i%2 == 0)
	}
	if sum%10 != 0 {
		return 0
	}
	return end
}

// monthLength answers the days of a month; century 0 is not known: the longest that it can be.
func monthLength(century, year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year != 0 || century == 0 || century%4 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// luhn answers what a digit adds to the sum of the Luhn algorithm (ISO/IEC 7812-1, annex B).
func luhn(c int, doubled bool) int {
	if doubled {
		if c *= 2; c > 9 {
			c -= 9
		}
	}
	return c
}

// card answers the length of the payment card number at the beginning of b, or 0: 13 to 19 digits, which one space or dash may
// part into groups of at least three, of an issuer that exists.
//
// Source of the issuers' ranges: ISO/IEC 7812-1 and the schemes' own rules.
func card(b []byte) int {
	var digits [19]byte
	n, i, group, found := 0, 0, 0, 0
	for {
		for group = 0; i < len(b) && digit(b[i]); i++ {
			if n == len(digits) {
				return found
			}
			digits[n] = b[i] - '0'
			n++
			group++
		}
		if group < 3 {
			return found
		}
		if n >= 13 && (i >= len(b) || !letter(b, i)) && issued(digits[:n]) && luhnOf(digits[:n]) {
			found = i
		}
		if i+1 >= len(b) || b[i] != ' ' && b[i] != '-' || !digit(b[i+1]) {
			return found
		}
		i++
	}
}

func luhnOf(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		sum += luhn(int(c), (len(digits)-i)%2 == 0)
	}
	return sum%10 == 0
}

// issued says whether digits, of which there are at least 13, begin and end as a card number of a scheme does.
func issued(digits []byte) bool {
	two := int(digits[0])*10 + int(digits[1])
	four := two*100 + int(digits[2])*10 + int(digits[3])
	n := len(digits)
	switch {
	case digits[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case four >= 3000 && four <= 3059, two == 36, two == 38, two == 39: // Diners Club
		return n == 14 || n == 16
	case four >= 3528 && four <= 3589: // JCB
		return n == 16
	case two == 50, two >= 56 && two <= 58, two >= 60 && two <= 69: // Maestro, Discover, UnionPay
		return true
	}
	return false
}
