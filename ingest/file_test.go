package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tillsyn/ingest/parse"
)

func write(t *testing.T, dir, name string, text []byte, age time.Duration) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

// all reads a partition from an offset to its end.
func all(t *testing.T, p Partition, from int64) (lines []string, next int64) {
	t.Helper()
	var c Chunk
	for next = from; ; next = c.Next {
		err := p.Fetch(context.Background(), next, &c)
		if err == io.EOF {
			return lines, next
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			lines = append(lines, string(r.Value))
		}
	}
}

func TestFileIsKnownByItsBeginning(t *testing.T) {
	dir := t.TempDir()
	var text []byte
	for i := range 5000 {
		text = fmt.Appendf(text, "line %d of the first file\n", i)
	}
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(text)
	g.Close()
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(text)
	z.Close()
	short := text[:200]
	open := func(path string, stdin io.Reader, known ...Identity) *File {
		t.Helper()
		f, err := OpenFile(path, stdin, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		f.Among(known)
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open(write(t, dir, "a.log", short, time.Hour), nil)
	known := []Identity{open(write(t, dir, "other.log", []byte("something else\n"), time.Hour), nil).Identity(), first.Identity()}
	for name, f := range map[string]*File{
		"grown":          open(write(t, dir, "a.log", text, time.Hour), nil, known...),
		"renamed":        open(write(t, dir, "b.log", text, time.Hour), nil, known...),
		"packed":         open(write(t, dir, "a.log.gz", gz.Bytes(), 0), nil, known...),
		"packed (zstd)":  open(write(t, dir, "a.log.zst", zs.Bytes(), 0), nil, known...),
		"standard input": open("-", bytes.NewReader(text), known...),
	} {
		if f.Identity() != first.Identity() {
			t.Errorf("%s: another file", name)
		}
		lines, next := all(t, f, int64(len(short)))
		if got, want := strings.Join(lines, "\n")+"\n", string(text[len(short):]); got != want || next != int64(len(text)) {
			t.Errorf("%s: %d bytes after offset %d, want %d; next %d", name, len(got), len(short), len(want), next)
		}
	}
	if other := open(write(t, dir, "c.log", append([]byte("x"), text...), time.Hour), nil, known...); other.Identity() == first.Identity() {
		t.Error("a file with another beginning is the same")
	}
	shrunk := open(write(t, dir, "a.log", text[:250], time.Hour), nil, known...)
	if lines, _ := all(t, shrunk, int64(len(text))); lines != nil || shrunk.Identity() != first.Identity() {
		t.Error("a file that shrank brings lines again")
	}
	if !open(write(t, dir, "empty.log", nil, 0), nil, known...).Empty() {
		t.Error("an empty file is not empty")
	}
}

func TestFileLastLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		age  time.Duration
		want int
	}{{0, 1}, {time.Hour, 2}} {
		f, err := OpenFile(write(t, dir, "a.log", []byte("one\ntwo"), c.age), nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if lines, _ := all(t, f, 0); len(lines) != c.want || f.Unfinished() != (c.want == 1) {
			t.Errorf("%v old: %q, unfinished %v", c.age, lines, f.Unfinished())
		}
		f.Close()
	}
}

func TestFileLongLines(t *testing.T) {
	dir := t.TempDir()
	text := "short\n" + strings.Repeat("x", 20<<20) + "\n" + strings.Repeat("y", 1<<20) + "\n\r\n\x00\nend\n"
	f, err := OpenFile(write(t, dir, "a.log", []byte(text), time.Hour), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, next := all(t, f, 0)
	var got []int
	for _, l := range lines {
		got = append(got, len(l))
	}
	if len(got) != 6 || got[1] <= parse.MaxRecord || got[1] > parse.MaxRecord+1000 || next != int64(len(text)) {
		t.Errorf("line lengths %v; next %d of %d", got, next, len(text))
	}
}

// A growth is what a file held one time and another.
type growth struct {
	format string
	zone   *time.Location
	text   string // in the end
	before []string
}

// TestFileDocuments reads files at every stage of being written, and then whole: each event is there once, as it is where the
// whole file is read at once.
func TestFileDocuments(t *testing.T) {
	event := func(n int) string {
		return fmt.Sprintf(`{"@timestamp":"2026-10-09T08:21:22Z","url":{"domain":"a%d.example"},"user":{"name":"Åsa {[\"]}"}}`, n)
	}
	pretty := func(n int) string {
		return fmt.Sprintf("  {\n    \"@timestamp\": \"2026-10-09T08:21:22Z\",\n    \"url\": {\n      \"domain\": \"b%d.example\"\n    }\n  }", n)
	}
	wide := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	array := func(rows ...string) string { return "[\n" + strings.Join(rows, ",\n") + "\n]\n" }
	csv := "origin_timestamp,sender_address,recipient_status,message_subject,message_id\r\n" +
		"2026-10-09T08:21:22Z,a@example.net,åsa@example.se##Receive,\"Räkning 😀\",<1@x>\r\n" +
		"2026-10-09T08:21:23Z,a@example.net,bo@example.se##Receive,\"Ö\",<2@x>\r\n"
	for name, g := range map[string]growth{
		"lines":                 {"ndjson", nil, event(1) + "\n" + event(2) + "\n" + event(3) + "\n", nil},
		"no last line end":      {"ndjson", nil, event(1) + "\n" + event(2), nil},
		"pretty documents":      {"ndjson", nil, pretty(1) + "\n" + pretty(2) + "\n" + pretty(3) + "\n", nil},
		"one document":          {"ndjson", nil, pretty(1), nil},
		"a pretty array":        {"ndjson", nil, array(pretty(1), pretty(2), pretty(3)), []string{array(pretty(1)), array(pretty(1), pretty(2))}},
		"with carriage returns": {"ndjson", nil, strings.ReplaceAll(array(pretty(1), pretty(2)), "\n", "\r\n"), []string{strings.ReplaceAll(array(pretty(1)), "\n", "\r\n")}},
		"an array of lines":     {"ndjson", nil, array(event(1), event(2)), []string{array(event(1))}},
		"an array in a line":    {"ndjson", nil, "[" + event(1) + "," + event(2) + "]", nil},
		"records":               {"ndjson", nil, `{"records":[` + event(1) + "," + event(2) + "]}\n" + `{"records":[` + event(3) + "]}\n", nil},
		"pretty records":        {"ndjson", nil, "{\n\"records\": " + array(pretty(1), pretty(2)) + "}\n", nil},
		"UTF-16 lines":          {"m365_message_trace_csv", time.UTC, wide(csv), nil},
		"UTF-16 array":          {"ndjson", nil, wide(array(pretty(1), event(2))), []string{wide(array(pretty(1)))}},
	} {
		t.Run(name, func(t *testing.T) {
			parser := func() parse.Parser {
				p, err := parse.New(parse.Options{Format: g.format, Zone: g.zone})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			dir := t.TempDir()
			read := func(p parse.Parser, from int64, known []Identity, text string, age time.Duration) (events []string, next int64, id Identity) {
				f, err := OpenFile(write(t, dir, "a", []byte(text), age), nil, time.Now)
				if err != nil {
					t.Fatal(err)
				}
				f.Among(known)
				defer f.Close()
				records, next := all(t, f, from)
				for _, r := range records {
					p.Parse([]byte(r), func(e *parse.Event) { events = append(events, string(e.Domain)+string(e.MessageID)) },
						func(r parse.Reject) { t.Errorf("%d bytes, from %d: %+v", len(text), from, r) })
				}
				return events, next, f.Identity()
			}
			want, _, _ := read(parser(), 0, nil, g.text, time.Hour)
			var direct []string
			p := parser()
			if err := parse.Records(strings.NewReader(g.text), func(_ int, r []byte) error {
				p.Parse(r, func(e *parse.Event) { direct = append(direct, string(e.Domain)+string(e.MessageID)) }, func(parse.Reject) {})
				return nil
			}); err != nil || !slices.Equal(want, direct) || len(want) == 0 {
				t.Fatalf("the file holds %q, read as a file %q", direct, want)
			}
			for end := 0; end < len(g.text); end += 1 + len(g.text)/200 {
				g.before = append(g.before, g.text[:end])
			}
			for _, before := range g.before {
				p := parser() // one, as it may need to have seen the header
				first, next, id := read(p, 0, nil, before, 0)
				if id.Epoch == "0" {
					continue
				}
				rest, _, now := read(p, next, []Identity{id}, g.text, time.Hour)
				switch got := append(first, rest...); {
				case id != now:
					// what a file without any event is called does not matter
					if len(first) > 0 {
						t.Errorf("of %q: another file", before)
					}
				case !slices.Equal(got, want):
					t.Errorf("of %q, then all: %q, want %q", before, got, want)
				}
			}
		})
	}
}

// TestFileBeingWritten holds that what is written while a file is read is left for the next time, from where it begins.
func TestFileBeingWritten(t *testing.T) {
	path := write(t, t.TempDir(), "a.log", []byte("one\ntw"), 0)
	f, err := OpenFile(path, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c Chunk
	if err := f.Fetch(t.Context(), 0, &c); err != nil || len(c.Records) != 1 || !f.Unfinished() {
		t.Fatal(c, err)
	}
	more, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := more.WriteString("o\nthree\n"); err != nil {
		t.Fatal(err)
	}
	if err := more.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Fetch(t.Context(), c.Next, &c); err != io.EOF {
		t.Errorf("%d records, %v", len(c.Records), err)
	}
	if lines, _ := all(t, f, 0); !slices.Equal(lines, []string{"one", "two", "three"}) {
		t.Errorf("read again: %q", lines)
	}
}

func TestFileBroken(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenFile(dir, nil, time.Now); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Error("a folder:", err)
	}
	if _, err := OpenFile(filepath.Join(dir, "none"), nil, time.Now); err == nil {
		t.Error("a missing file opens")
	}
	var gz bytes.Buffer
	g := gzip.NewWriter(&gz)
	for i := range 200_000 {
		fmt.Fprintf(g, "line %d %x\n", i, i*i*7919)
	}
	g.Close()
	f, err := OpenFile(write(t, dir, "cut.gz", gz.Bytes()[:gz.Len()/2], time.Hour), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c Chunk
	for {
		if err = f.Fetch(context.Background(), c.Next, &c); err != nil {
			break
		}
	}
	if err == io.EOF {
		t.Error("a packed file that was cut short ends without an error")
	}
}

func TestIdentityMark(t *testing.T) {
	a := Identity{Cluster: "c", Topic: "t", Epoch: "1", Partition: 2}
	seen := map[uint64]Identity{}
	for _, i := range []Identity{a, {Cluster: "c", Topic: "t", Epoch: "12", Partition: 2}, {Cluster: "c", Topic: "t1", Epoch: "", Partition: 2}, {Cluster: "ct", Topic: "", Epoch: "1", Partition: 2}, {Cluster: "c", Topic: "t", Epoch: "1", Partition: 3}, {}} {
		if have, ok := seen[i.Mark()]; ok {
			t.Errorf("%v and %v have one mark", have, i)
		}
		seen[i.Mark()] = i
	}
	if a.Mark() != (Identity{Cluster: "c", Topic: "t", Epoch: "1", Partition: 2}).Mark() || a.Mark() == 0 {
		t.Error("a mark is not stable")
	}
}

func TestShapeSaysNothing(t *testing.T) {
	for in, want := range map[string]string{
		"1791. 12 10.1.2.3 TCP_DENIED/403 anna.berg": "9. 9 9.9.9.9 a_a/9 a.a",
		"åsa\x00\x1b[31m\t\n":                        "?a?[9a?",
		"":                                           "",
	} {
		if got := string(appendShape(nil, []byte(in))); got != want {
			t.Errorf("shape of %q: %q, want %q", in, got, want)
		}
	}
	if got := appendShape(nil, bytes.Repeat([]byte("a1"), 500)); len(got) != maxShape {
		t.Error("a shape of", len(got))
	}
}
