package casework

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are values that log lines, forms and files can hold, each of which has harmed somebody's spreadsheet, terminal, page
// or database.
func hostile() []string {
	return []string{
		"=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1+1)*cmd|' /C calc'!A0", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\u00a0=1+1", "\"=1+1", "\ufeff=1",
		"＝1+1", "＋1", "－1", "＠SUM(A1)", "'=1+1", "''", "'", "a;=1+1", "a,=1+1", "a|=1+1", "a;\"=1+1", "a\t=1+1", "a\r\n=1+1", `a";=HYPERLINK("x")`,
		`=HYPERLINK("//example.org/?"&A1)`, "=DDE(\"cmd\";\"/C calc\")", "-", "--", "", " ", "\"", "\"\"", ";", ",", "a;'b",
		"line one\nline two", "carriage\rreturn", "\x1b[2J\x1b[31mred", "\x00", "nul\x00inside", "\u202eevil\u202c", "\u2066isolate\u2069", "zero\u200bwidth",
		"\u2028", "\x85", "\xff\xfe", "half \xc3", "\ufffd", "␛", "␛{1B}", "␛{", "␛{xFF}", "'); DROP TABLE web_capsules; --", "{p:Identifier}", "file('/etc/passwd')",
		"url('x')", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{.}}", "{{template \"page\"}}", "javascript:alert(1)", "Åsa Öberg", "e\u0301",
		"\U000e0041tag", "a\ufe0f", "\u3164", strings.Repeat("A", 1<<20), strings.Repeat("=", 70000), strings.Repeat("\n", 5000),
	}
}

func TestShownIsOneVisibleLineAndComesBack(t *testing.T) {
	for _, v := range hostile() {
		shown := Shown(v)
		for _, r := range shown {
			if !unicode.IsGraphic(r) {
				t.Errorf("%.40q: %q is not visible", v, r)
			}
		}
		if back, err := unshown(shown); err != nil || back != v {
			t.Errorf("%.40q came back as %.40q, %v", v, back, err)
		}
		if c := Clipped(v, 50); utf8.RuneCountInString(c) > 50*9+20 || strings.ContainsAny(c, "\n\r\x1b\u202e") {
			t.Errorf("%.40q is clipped to %d characters", v, utf8.RuneCountInString(c))
		}
	}
	for _, bad := range []string{"\n", "\u202e", "␛", "␛{41}", "␛{1b}", "␛{001B}", "␛{x41}", "␛{xC3}␛{xA5}", "␛{FFFFFFFF}", "␛{D800}", "␛{}", "␛{x}", "\xff", "␛{1B"} {
		if v, err := unshown(bad); err == nil {
			t.Errorf("%q was read as %q", bad, v)
		}
	}
}

// cells are what a spreadsheet with some list separator makes of a line, as loosely as any of them reads.
func cells(line string, separator byte) []string {
	var all []string
	for len(line) > 0 {
		var cell strings.Builder
		quoted := line[0] == '"'
		i := 0
		if quoted {
			i = 1
		}
		for i < len(line) {
			switch c := line[i]; {
			case quoted && c == '"' && i+1 < len(line) && line[i+1] == '"':
				cell.WriteByte('"')
				i += 2
				continue
			case quoted && c == '"':
				quoted = false
			case !quoted && c == separator:
				goto end
			default:
				cell.WriteByte(c)
			}
			i++
		}
	end:
		all = append(all, cell.String())
		line = line[min(i+1, len(line)):]
	}
	return all
}

func TestCSVFormulaInjection(t *testing.T) {
	s := Sheet{Columns: []Column{{"=name", Phrase{"-etikett", "label"}}, {"url.path", Phrase{"sökväg", "path"}}}}
	for _, v := range hostile() {
		s.Rows = append(s.Rows, []string{v, "x"}, []string{"x", v}, []string{v, v})
	}
	var file bytes.Buffer
	if err := s.CSV(&file); err != nil {
		t.Fatal(err)
	}
	text := file.String()
	if !strings.HasPrefix(text, "\xef\xbb\xbf") || strings.Count(text, "\n") != len(s.Rows)+1 || strings.Count(text, "\r\n") != len(s.Rows)+1 {
		t.Errorf("%d line ends for %d rows", strings.Count(text, "\n"), len(s.Rows))
	}
	for _, line := range strings.Split(strings.TrimPrefix(text, byteOrderMark), "\r\n") {
		for _, separator := range []byte(";,\t|") {
			for _, c := range cells(line, separator) {
				c = strings.TrimLeftFunc(c, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
				if c != "" && strings.ContainsRune("=+-@＝＋－＠\t\r", []rune(c)[0]) {
					t.Errorf("parted by %q, a spreadsheet reads the cell %.40q", separator, c)
				}
			}
		}
	}
	columns, rows, err := readCSV(bytes.NewReader(file.Bytes()))
	if err != nil || !slices.Equal(columns, []string{"-etikett (=name)", "sökväg (url.path)"}) || len(rows) != len(s.Rows) {
		t.Fatal(err, columns, len(rows))
	}
	for i := range rows {
		if !slices.Equal(rows[i], s.Rows[i]) {
			t.Errorf("row %d: %.60q came back as %.60q", i, s.Rows[i], rows[i])
		}
	}
}

func TestRowsAsJSONComeBack(t *testing.T) {
	var rows []Row
	for _, v := range hostile() {
		v = textOf([]byte(v))
		rows = append(rows, Row{{"@timestamp", "2026-11-18T10:00:00.000Z"}, {"url.port", int64(443)}, {"url.path", v}, {"email.to.address", []string{v, "", v}}, {"event.duration", 0.25}}, Row{})
	}
	for n := range 4 {
		var b bytes.Buffer
		if err := WriteRows(&b, rows[:n]); err != nil {
			t.Fatal(err)
		}
		if back, err := ParseRows(b.Bytes()); err != nil || len(back) != n {
			t.Errorf("%d rows come back as %d: %v", n, len(back), err)
		}
	}
	var b, again bytes.Buffer
	if err := WriteRows(&b, rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsGraphic(r) {
			t.Fatalf("the JSON holds %q", r)
		}
	}
	back, err := ParseRows(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteRows(&again, back); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) || len(back) != len(rows) {
		t.Error("rows do not come back", err)
	}
	var list []any
	if err := json.Unmarshal(b.Bytes(), &list); err != nil || len(list) != len(rows) {
		t.Error("another reader does not read it", err)
	}
	for _, bad := range []string{"", "[]", "[\n]", "[\n\n]\n", "[\n{},\n]\n", "[\n{}\n{}\n]\n", "[\n{ }\n]\n", "[\n{\"a\":1.0}\n]\n", "[\n{\"a\":null}\n]\n", "[\n{\"a\":{}}\n]\n", "[\n{\"a\":[1]}\n]\n",
		"[\n{\"a\":\"\\u0041\"}\n]\n", "[\n{\"a\":1}x\n]\n", "{\n}\n", "[\n{\"a\":[\"x\"}\n]\n", "[\n{\"a\":1e400}\n]\n"} {
		if rows, err := ParseRows([]byte(bad)); err == nil {
			t.Errorf("%q was read: %v", bad, rows)
		}
	}
}

func TestSheetOfRows(t *testing.T) {
	for _, name := range Names() {
		if labels()[name].Swedish == "" || labels()[name].English == "" {
			t.Errorf("%s has no label", name)
		}
	}
	s := SheetOf([]Row{{{"url.domain", "a.example"}, {"@timestamp", "1"}}, {{"email.to.address", []string{"a", "b"}}, {"url.port", int64(80)}, {"event.duration", 0.5}}})
	if got := fmt.Sprint(s.Rows); got != "[[1 a.example   ] [  80 a, b 0.5]]" || s.Validate() != nil {
		t.Error(got, s.Columns)
	}
	if s := SheetOf(nil); len(s.Columns) != len(Names()) || s.Validate() != nil {
		t.Error("no rows have no columns")
	}
}

func TestCSVIsReadStrictly(t *testing.T) {
	for _, bad := range []string{
		"", byteOrderMark, "\"a\"\r\n", byteOrderMark + "\"a\r\n", byteOrderMark + "=1\r\n", byteOrderMark + "\"a\"\r\n\"b\";\"c\"\r\n",
		byteOrderMark + "\"a\x1b\"\r\n", byteOrderMark + "\"'a\"\r\n", byteOrderMark + "\"a\nb\"\r\n",
	} {
		if columns, rows, err := readCSV(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read: %q %q", bad, columns, rows)
		}
	}
}

func TestSheetRefusesWhatDoesNotFit(t *testing.T) {
	c := Column{"a", Phrase{"a", "a"}}
	for name, s := range map[string]Sheet{
		"no columns": {}, "twice": {Columns: []Column{c, c}}, "narrow": {Columns: []Column{c}, Rows: [][]string{{}}},
		"wide": {Columns: []Column{c}, Rows: [][]string{{"", ""}}}, "nameless": {Columns: []Column{{}}},
	} {
		if s.CSV(&bytes.Buffer{}) == nil {
			t.Error(name, "was written")
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, v := range hostile() {
		if len(v) < 1000 {
			f.Add(v, "x")
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		s := Sheet{Columns: []Column{{"a", Phrase{a, b}}, {"b", Phrase{b, a}}}, Rows: [][]string{{a, b}, {b, a}}}
		var file bytes.Buffer
		if err := s.CSV(&file); err != nil {
			t.Fatal(err)
		}
		_, rows, err := readCSV(bytes.NewReader(file.Bytes()))
		if err != nil || !slices.EqualFunc(rows, s.Rows, slices.Equal) {
			t.Fatalf("%q came back as %q: %v", s.Rows, rows, err)
		}
		var object bytes.Buffer
		if err := WriteRows(&object, []Row{{{a, b}, {b, []string{a}}}}); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(a) && utf8.ValidString(b) {
			if back, err := ParseRows(object.Bytes()); err != nil || back[0][0] != (Field{a, b}) {
				t.Fatal("JSON does not come back", err)
			}
		}
		if back, err := restored(a); err == nil && Neutral(back) != a {
			t.Fatalf("%q and %q are one value", a, Neutral(back))
		}
		c := csv.NewReader(strings.NewReader(strings.TrimPrefix(file.String(), byteOrderMark)))
		c.Comma = csvComma
		if lines, err := c.ReadAll(); err != nil || len(lines) != 3 {
			t.Fatal("another reader reads it otherwise", err)
		}
	})
}
