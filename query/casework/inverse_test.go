package casework

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

var errNotShown = errors.New("a value holds a character that can't be seen, or an escape that tillsyn does not write")

// readCSV reads what [Sheet.CSV] wrote: the names of the columns, as the first line has them, and the rows, equal to what was
// exported.
func readCSV(r io.Reader) (columns []string, rows [][]string, err error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, fmt.Errorf("read rows from CSV: %w", err)
	}
	text, marked := bytes.CutPrefix(text, []byte(byteOrderMark))
	if !marked {
		return nil, nil, errors.New("read rows from CSV: it does not begin with a byte order mark")
	}
	c := csv.NewReader(bytes.NewReader(text))
	c.Comma = csvComma
	lines, err := c.ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, nil, errors.New("read rows from CSV: it is not of the form that tillsyn writes")
	}
	for _, l := range lines {
		for i := range l {
			if l[i], err = restored(l[i]); err != nil {
				return nil, nil, fmt.Errorf("read rows from CSV: %w", err)
			}
		}
	}
	return lines[0], lines[1:], nil
}

// restored gives back what [Neutral] was given.
func restored(text string) (string, error) {
	var b strings.Builder
	begin := true
	for _, r := range text {
		if begin && r == '\'' {
			begin = false
			continue
		}
		b.WriteRune(r)
		begin = separates(r)
	}
	value, err := unshown(b.String())
	if err == nil && Neutral(value) != text {
		err = errNotShown
	}
	return value, err
}

// unshown reads what [Shown] wrote. It refuses text that Shown does not write.
func unshown(text string) (string, error) {
	if !strings.ContainsRune(text, escapeMark) {
		if Shown(text) != text {
			return "", errNotShown
		}
		return text, nil
	}
	var b strings.Builder
	rest := text
	for {
		before, after, found := strings.Cut(rest, string(escapeMark))
		b.WriteString(before)
		if !found {
			break
		}
		inside, ok := strings.CutPrefix(after, "{")
		if !ok {
			return "", errNotShown
		}
		code, after, ok := strings.Cut(inside, "}")
		if !ok {
			return "", errNotShown
		}
		if hex, isByte := strings.CutPrefix(code, "x"); isByte {
			n, err := strconv.ParseUint(hex, 16, 8)
			if err != nil {
				return "", errNotShown
			}
			b.WriteByte(byte(n))
		} else {
			n, err := strconv.ParseUint(code, 16, 32)
			if err != nil || n > unicode.MaxRune {
				return "", errNotShown
			}
			b.WriteRune(rune(n))
		}
		rest = after
	}
	value := b.String()
	if Shown(value) != text { // one text for one value: what was exported can be compared
		return "", errNotShown
	}
	return value, nil
}
