package casework

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The page of every document: no script, nothing from outside, a style of its own whose hash the page's policy names.
var (
	//go:embed document_page.html
	pageTemplate string
	//go:embed document_page.css
	pageStyle string
)

// The most characters of one value that a page shows, in a list and in a table; files of rows hold it whole.
const (
	maxFact = 5000
	maxCell = 1000
)

// A Page is a document for people: for the register (diarium), a file of a case, a letter. It becomes HTML that prints as A4.
type Page struct {
	Heading  Phrase
	Lead     Phrase
	From     string // the authority
	Sections []Section
	Foot     []Phrase
}

// A Section is a part of a [Page]: text, then facts, then tables.
type Section struct {
	Heading Phrase
	Text    []Phrase
	Facts   []Fact
	Tables  []Table
}

// A Fact is a term and what it is here. The value is anybody's text: it is shown as [Clipped] shows it, line by line.
type Fact struct {
	Term  Phrase
	Value string
	Code  bool // a digest or a key
}

// A Table has values as a [Fact] has, in columns; the first column names the row.
type Table struct {
	Caption Phrase
	Head    []Phrase
	Rows    [][]string
}

// HTML is p as a page: HTML5, UTF-8, Swedish with English beside it. What other people wrote is escaped, also against what
// would turn text around or hide it. Equal pages are equal bytes.
func (p Page) HTML() ([]byte, error) {
	if p.Heading.Swedish == "" {
		return nil, errors.New("write a page: it has no heading")
	}
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("write a page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	data := pageData{
		Page: p, Title: Shown(p.Heading.Swedish), From: Clipped(p.From, 200),
		Style: template.CSS(pageStyle), StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
	}
	table := 0
	for i, s := range p.Sections {
		section := pageSection{Section: s, ID: "s" + strconv.Itoa(i+1)}
		for _, f := range s.Facts {
			section.Facts = append(section.Facts, pageFact{f, lines(f.Value, maxFact)})
		}
		for _, t := range s.Tables {
			table++
			pt := pageTable{Table: t, ID: "t" + strconv.Itoa(table)}
			for n, r := range t.Rows {
				if len(r) != len(t.Head) {
					return nil, fmt.Errorf("write a page: row %d of table %d has %d values for %d columns", n+1, table, len(r), len(t.Head))
				}
				cells := make([][]string, len(r))
				for k, v := range r {
					cells[k] = lines(v, maxCell)
				}
				pt.Rows = append(pt.Rows, cells)
			}
			section.Tables = append(section.Tables, pt)
		}
		data.Sections = append(data.Sections, section)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("write a page: %w", err)
	}
	return b.Bytes(), nil
}

type pageData struct {
	Page
	Title, From string
	Style       template.CSS
	StyleHash   string
	Sections    []pageSection
}

type pageSection struct {
	Section
	ID     string
	Facts  []pageFact
	Tables []pageTable
}

type pageFact struct {
	Fact
	Lines []string
}

type pageTable struct {
	Table
	ID   string
	Rows [][][]string
}

// lines are the lines of a text, each as a page may show it; an empty text is a dash.
func lines(text string, most int) []string {
	if text == "" {
		return []string{"–"}
	}
	if utf8.RuneCountInString(text) > most {
		return []string{Clipped(text, most)}
	}
	list := strings.Split(text, "\n")
	for i, l := range list {
		list[i] = Shown(l)
	}
	return list
}

// tableOf shows the rows of a sheet.
func (s Sheet) tableOf(caption Phrase) Table {
	t := Table{Caption: caption, Rows: s.Rows}
	for _, c := range s.Columns {
		t.Head = append(t.Head, c.Label)
	}
	return t
}
