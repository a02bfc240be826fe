package casework

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark begins a CSV file: without it, a Swedish Excel reads UTF-8 as Windows-1252 and breaks å, ä and ö.
const byteOrderMark = "\ufeff"

// csvComma parts values: it is what a Swedish spreadsheet opens without being asked.
const csvComma = ';'

// CSV writes s for people's spreadsheets: UTF-8 with a byte order mark, semicolons, every value in quotes, lines that end in CR
// LF (RFC 4180 but for the semicolon), the first line the names of the columns. No value can become a formula or leave
// its cell: see [Neutral]. [ReadCSV] gives the same sheet back.
func (s Sheet) CSV(w io.Writer) error {
	if err := s.Validate(); err != nil {
		return err
	}
	c := newCSVWriter(w, s.Columns)
	for _, r := range s.Rows {
		c.line(r)
	}
	return c.flush()
}

// A csvWriter writes a sheet line by line.
type csvWriter struct{ b *bufio.Writer }

func newCSVWriter(w io.Writer, columns []Column) csvWriter {
	c := csvWriter{bufio.NewWriter(w)}
	c.b.WriteString(byteOrderMark)
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.header()
	}
	c.line(names)
	return c
}

func (c csvWriter) line(values []string) {
	for i, v := range values {
		if i > 0 {
			c.b.WriteRune(csvComma)
		}
		c.b.WriteByte('"')
		c.b.WriteString(strings.ReplaceAll(Neutral(v), `"`, `""`))
		c.b.WriteByte('"')
	}
	c.b.WriteString("\r\n")
}

func (c csvWriter) flush() error {
	if err := c.b.Flush(); err != nil {
		return fmt.Errorf("write rows as CSV: %w", err)
	}
	return nil
}

// ReadCSV reads what [Sheet.CSV] wrote: the names of the columns, as the first line has them, and the rows, equal to what was
// exported.
func ReadCSV(r io.Reader) (columns []string, rows [][]string, err error) {
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
			if l[i], err = Restored(l[i]); err != nil {
				return nil, nil, fmt.Errorf("read rows from CSV: %w", err)
			}
		}
	}
	return lines[0], lines[1:], nil
}

// Neutral is [Shown] of a value, made harmless for spreadsheets. An apostrophe is put before whatever a spreadsheet could take
// for the beginning of a formula: =, +, -, @ and their full-width forms, also behind spaces and quotes; at the beginning of
// the value, and behind each comma, semicolon and bar in it, where a spreadsheet with another list separator would begin a
// cell. Where an apostrophe stands in one of these places already it is doubled. Tab, CR and LF are escaped by Shown.
// [Restored] gives the value back.
func Neutral(value string) string {
	shown := Shown(value)
	var b strings.Builder
	begin := true
	for i, r := range shown {
		if begin && (r == '\'' || formula(shown[i:])) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		begin = separates(r)
	}
	return b.String()
}

// Restored gives back what [Neutral] was given.
func Restored(text string) (string, error) {
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
	value, err := Unshown(b.String())
	if err == nil && Neutral(value) != text {
		err = errNotShown
	}
	return value, err
}

func separates(r rune) bool { return r == ',' || r == ';' || r == '|' }

func formula(s string) bool {
	s = strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
	r, _ := utf8.DecodeRuneInString(s)
	return strings.ContainsRune("=+-@＝＋－＠", r) && r != utf8.RuneError
}
