package casework

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapeMark begins an escape of [Shown]: SYMBOL FOR ESCAPE, which no log writes.
const escapeMark = '\u241b'

// Shown is a value as it may stand in a table, a page or a terminal: on one line, every character of it visible. What can't be
// seen, or changes how the rest is seen (control characters, line ends, bidirectional overrides, invisible and unassigned
// characters), becomes ␛{1B} with the number of the character in hexadecimal; a byte that is not UTF-8 becomes ␛{xFF}.
// No two values become the same.
func Shown(value string) string {
	clean := true
	for i, r := range value {
		if hidden(r) || r == utf8.RuneError && !strings.HasPrefix(value[i:], "\ufffd") {
			clean = false
			break
		}
	}
	if clean {
		return value
	}
	var b strings.Builder
	b.Grow(len(value) + 16)
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRuneInString(value[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "%c{x%02X}", escapeMark, value[i])
		case hidden(r):
			fmt.Fprintf(&b, "%c{%X}", escapeMark, r)
		default:
			b.WriteString(value[i : i+n])
		}
		i += n
	}
	return b.String()
}

func hidden(r rune) bool {
	return r == escapeMark || r != ' ' && !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Clipped is [Shown] of at most most characters of value: for pages and terminals, which a value of a megabyte would drown.
// What was cut off is said in a count. Exports are not clipped.
func Clipped(value string, most int) string {
	cut := len(value)
	n := 0
	for i := range value {
		if n == most {
			cut = i
			break
		}
		n++
	}
	if cut == len(value) {
		return Shown(value)
	}
	return fmt.Sprintf("%s… (+%d)", Shown(value[:cut]), utf8.RuneCountInString(value[cut:]))
}
