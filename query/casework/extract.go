package casework

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Phrase is text in the two languages of every page: Swedish first.
type Phrase struct {
	Swedish string
	English string
}

// A Column is one column of a [Sheet].
type Column struct {
	Name  string // as in the Elastic Common Schema: url.domain
	Label Phrase
}

// header is the column as the first line of a CSV file names it.
func (c Column) header() string { return c.Label.Swedish + " (" + c.Name + ")" }

// A Sheet is rows as people read them: what a lookup answered, an extract, a disclosed record. Values are as they were logged;
// whoever writes a sheet down passes them through [Shown].
type Sheet struct {
	Columns []Column
	Rows    [][]string // one value for each column
}

// Validate refuses a sheet whose rows are not as wide as its columns, or that has no columns, or two of one name.
func (s Sheet) Validate() error {
	if len(s.Columns) == 0 {
		return errors.New("a sheet has no columns")
	}
	seen := map[string]bool{}
	for _, c := range s.Columns {
		if c.Name == "" || seen[c.Name] {
			return errors.New("a sheet has a column without a name, or two of one name")
		}
		seen[c.Name] = true
	}
	for i, r := range s.Rows {
		if len(r) != len(s.Columns) {
			return fmt.Errorf("row %d of a sheet has %d values for %d columns", i+1, len(r), len(s.Columns))
		}
	}
	return nil
}

// labels are what people call the fields of a row.
func labels() map[string]Phrase {
	return map[string]Phrase{
		"@timestamp": {"tid (UTC)", "time (UTC)"}, "event.count": {"antal", "count"}, "source.ip": {"från adress", "source address"},
		"source.port": {"från port", "source port"}, "user.name": {"användare", "user"}, "http.request.method": {"metod", "method"},
		"url.scheme": {"protokoll", "scheme"}, "url.domain": {"webbplats", "site"}, "url.port": {"port", "port"}, "url.path": {"sökväg", "path"},
		"url.query": {"fråga", "query"}, "http.request.referrer": {"hänvisande sida", "referrer"}, "user_agent.original": {"program", "user agent"},
		"http.response.status_code": {"svar", "status"}, "event.action": {"åtgärd", "action"}, "event.code": {"kod", "code"}, "event.outcome": {"utfall", "outcome"},
		"postfix.queue_id": {"könummer", "queue id"}, "email.message_id": {"meddelande-id", "message id"}, "email.from.address": {"avsändare", "sender"},
		"email.to.address": {"mottagare", "recipients"}, "email.subject": {"ärenderad", "subject"}, "email.direction": {"riktning", "direction"},
		"destination.ip": {"till adress", "destination address"}, "destination.bytes": {"byte in", "bytes in"}, "source.bytes": {"byte ut", "bytes out"},
		"event.duration": {"sekunder", "seconds"}, "http.response.mime_type": {"innehållstyp", "content type"},
		"tillsyn.forwarder": {"vidarebefordrat av regel hos", "sent on by a rule of"}, "tillsyn.category": {"kategori", "category"},
		"tillsyn.class": {"klass", "class"}, "tillsyn.explained": {"förklaring", "explanation"},
	}
}

// SheetOf lays rows out as a table: the columns are the fields that any row has, in the order of [Names].
func SheetOf(rows []Row) Sheet {
	l := newLayout()
	for _, r := range rows {
		l.note(r)
	}
	s := Sheet{Columns: l.columns()}
	for _, r := range rows {
		s.Rows = append(s.Rows, valuesOf(r, s.Columns))
	}
	return s
}

// A layout finds out which columns rows need, row by row.
type layout struct {
	known, there map[string]bool
	rows         int
}

func newLayout() *layout {
	l := &layout{known: map[string]bool{}, there: map[string]bool{}}
	for _, name := range Names() {
		l.known[name] = true
	}
	return l
}

func (l *layout) note(r Row) {
	l.rows++
	for _, f := range r {
		if l.known[f.Name] {
			l.there[f.Name] = true
		}
	}
}

// columns are those that any row has; all of them if there is no row.
func (l *layout) columns() []Column {
	var list []Column
	label := labels()
	for _, name := range Names() {
		if l.there[name] || l.rows == 0 {
			list = append(list, Column{name, label[name]})
		}
	}
	return list
}

func valuesOf(r Row, columns []Column) []string {
	values := make([]string, len(columns))
	for _, f := range r {
		if i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == f.Name }); i >= 0 {
			values[i] = f.text()
		}
	}
	return values
}

// text is the value as people read it; a list has commas.
func (f Field) text() string {
	switch v := f.Value.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		return strings.Join(v, ", ")
	}
	return ""
}

// WriteRows writes rows for machines: a JSON array, a row on each line, as [Row.AppendJSON] writes it.
func WriteRows(w io.Writer, rows []Row) error {
	b := bufio.NewWriter(w)
	b.WriteString("[")
	var line []byte
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		if line = r.AppendJSON(append(line[:0], '\n')); len(line) > maxRow {
			return fmt.Errorf("write rows: row %d has more than %d bytes", i+1, maxRow)
		}
		b.Write(line)
	}
	b.WriteString("\n]\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

// maxRow is the most bytes that one row has as JSON: some times the longest line that is read.
const maxRow = 4 << 20

var errNotRows = errors.New("read rows: this is not what tillsyn writes")

// ParseRows reads what [WriteRows] wrote, and nothing else.
func ParseRows(text []byte) ([]Row, error) {
	var rows []Row
	err := scanRows(bytes.NewReader(text), func(r Row, _ []byte) error { rows = append(rows, r); return nil })
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// scanRows is [ParseRows] one row at a time, in the memory that one row needs; each also gets the row as it was written.
func scanRows(from io.Reader, each func(r Row, line []byte) error) error {
	in := bufio.NewReaderSize(from, 64<<10)
	var long []byte
	next := func() ([]byte, error) {
		long = long[:0]
		for {
			part, err := in.ReadSlice('\n')
			switch {
			case err == nil && len(long) == 0:
				return part[:len(part)-1], nil
			case err == nil || errors.Is(err, bufio.ErrBufferFull):
				long = append(long, part...)
			default:
				return nil, errNotRows
			}
			if len(long) > maxRow+2 {
				return nil, fmt.Errorf("%w: a row has more than %d bytes", errNotRows, maxRow)
			}
			if err == nil {
				return long[:len(long)-1], nil
			}
		}
	}
	if line, err := next(); err != nil || string(line) != "[" {
		return errNotRows
	}
	for first, more := true, false; ; first = false {
		line, err := next()
		if err != nil {
			return err
		}
		if string(line) == "]" && !more {
			break
		}
		if !first && !more {
			return errNotRows
		}
		line, more = bytes.CutSuffix(line, []byte(","))
		r, err := parseRow(line)
		if err != nil {
			return err
		}
		if err := each(r, line); err != nil {
			return err
		}
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return errNotRows
	}
	return nil
}

func parseRow(line []byte) (Row, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	next := func() any {
		t, err := d.Token()
		if err != nil {
			return nil
		}
		return t
	}
	if next() != json.Delim('{') {
		return nil, errNotRows
	}
	r := Row{}
	for d.More() {
		name, ok := next().(string)
		if !ok {
			return nil, errNotRows
		}
		switch v := next().(type) {
		case string:
			r = append(r, Field{name, v})
		case json.Number:
			if whole, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
				r = append(r, Field{name, whole})
			} else if part, err := strconv.ParseFloat(v.String(), 64); err == nil {
				r = append(r, Field{name, part})
			} else {
				return nil, errNotRows
			}
		case json.Delim:
			list := []string{}
			for v == '[' && d.More() {
				text, ok := next().(string)
				if !ok {
					return nil, errNotRows
				}
				list = append(list, text)
			}
			if next() != json.Delim(']') {
				return nil, errNotRows
			}
			r = append(r, Field{name, list})
		default:
			return nil, errNotRows
		}
	}
	// What reads as the same row but is written otherwise would have another digest.
	if !bytes.Equal(r.AppendJSON(nil), line) {
		return nil, errNotRows
	}
	return r, nil
}
