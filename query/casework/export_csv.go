package casework

import (
	"bufio"
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
// its cell: see [Neutral]. The same sheet can be read back: no two values look alike.
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

// Neutral is [Shown] of a value, made harmless for spreadsheets. An apostrophe is put before whatever a spreadsheet could take
// for the beginning of a formula: =, +, -, @ and their full-width forms, also behind spaces and quotes; at the beginning of
// the value, and behind each comma, semicolon and bar in it, where a spreadsheet with another list separator would begin a
// cell. Where an apostrophe stands in one of these places already it is doubled. Tab, CR and LF are escaped by Shown.
// No two values become the same.
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

func separates(r rune) bool { return r == ',' || r == ';' || r == '|' }

func formula(s string) bool {
	s = strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
	r, _ := utf8.DecodeRuneInString(s)
	return strings.ContainsRune("=+-@＝＋－＠", r) && r != utf8.RuneError
}
