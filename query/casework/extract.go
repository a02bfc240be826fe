package casework

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// column is the number of the column of that name, or -1.
func (s Sheet) column(name string) int {
	for i, c := range s.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// JSON writes s for machines: {"columns": [...], "rows": [[...], ...]}, every value a string as [Shown] writes it. Equal
// sheets are equal bytes.
func (s Sheet) JSON() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	line := func(v any) error {
		if err := e.Encode(v); err != nil {
			return fmt.Errorf("write rows as JSON: %w", err)
		}
		b.Truncate(b.Len() - 1)
		return nil
	}
	b.WriteString("{\n  \"columns\": [")
	for i, c := range s.Columns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		if err := line(sheetColumn{Shown(c.Name), Shown(c.Label.Swedish), Shown(c.Label.English)}); err != nil {
			return nil, err
		}
	}
	b.WriteString("\n  ],\n  \"rows\": [")
	shown := make([]string, len(s.Columns))
	for i, r := range s.Rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		for k, v := range r {
			shown[k] = Shown(v)
		}
		if err := line(shown); err != nil {
			return nil, err
		}
	}
	b.WriteString("\n  ]\n}\n")
	return b.Bytes(), nil
}

type sheetColumn struct {
	Name    string `json:"name"`
	Swedish string `json:"sv"`
	English string `json:"en"`
}

// ParseSheet reads what [Sheet.JSON] wrote, and nothing else.
func ParseSheet(text []byte) (Sheet, error) {
	var file struct {
		Columns []sheetColumn `json:"columns"`
		Rows    [][]string    `json:"rows"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return Sheet{}, errors.New("read rows: this is not the JSON that tillsyn writes")
	}
	var s Sheet
	for _, c := range file.Columns {
		s.Columns = append(s.Columns, Column{c.Name, Phrase{c.Swedish, c.English}})
	}
	var err error
	for _, r := range file.Rows {
		values := make([]string, len(r))
		for k, v := range r {
			if values[k], err = Unshown(v); err != nil {
				return Sheet{}, fmt.Errorf("read rows: %w", err)
			}
		}
		s.Rows = append(s.Rows, values)
	}
	again, err := s.JSON()
	if err != nil {
		return Sheet{}, fmt.Errorf("read rows: %w", err)
	}
	if !bytes.Equal(again, text) {
		return Sheet{}, errors.New("read rows: this is not the JSON that tillsyn writes")
	}
	return s, nil
}
