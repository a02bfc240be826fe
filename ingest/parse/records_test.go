package parse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestRecords(t *testing.T) {
	wide := func(s string) string {
		var b strings.Builder
		b.WriteString("\xff\xfe")
		for _, u := range utf16.Encode([]rune(s)) {
			b.WriteByte(byte(u))
			b.WriteByte(byte(u >> 8))
		}
		return b.String()
	}
	long := strings.Repeat("x", recordChunk*3)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":        {"", nil},
		"lines":          {"a\nb\r\n\nc", []string{"1 a\n", "2 b\r\n", "3 \n", "4 c"}},
		"long lines":     {long + "\n" + long, []string{"1 " + long + "\n", "2 " + long}},
		"JSON lines":     {`{"a":1}` + "\n" + `{"b":[` + "\n" + `{"c":1}`, []string{"1 {\"a\":1}\n", "2 {\"b\":[\n", "3 {\"c\":1}"}},
		"a torn line":    {`{"a":"x` + "\n" + `{"b":1}`, []string{"1 {\"a\":\"x\n", "2 {\"b\":1}"}},
		"pretty objects": {"\n{\n \"a\": \"}\"\n}\n{\n \"b\": 1\n}\n", []string{"1 \n{\n \"a\": \"}\"\n}\n", "5 {\n \"b\": 1\n}\n"}},
		"pretty array":   {"[\n {\n \"a\": 1\n },\n {\n \"b\": 2 }\n]\n", []string{"1 [\n {\n \"a\": 1\n },\n", "5  {\n \"b\": 2 }\n"}},
		"an array's row": {"[{\"a\":1},\n{\"b\":2}]\n", []string{"1 [{\"a\":1},\n", "2 {\"b\":2}]\n"}},
		"torn documents": {"{\n \"a\": [\n{\"b\":1}\n", []string{"1 {\n \"a\": [\n", "3 {\"b\":1}\n"}},
		"a bracket":      {"[09/Oct/2026] {\nx\n", []string{"1 [09/Oct/2026] {\n", "2 x\n"}},
		"UTF-16":         {wide("å – 😀\r\nb"), []string{"1 å – 😀\r\n", "2 b"}},
	} {
		var got []string
		if err := Records(strings.NewReader(c.text), func(line int, record []byte) error {
			got = append(got, fmt.Sprintf("%d %s", line, strings.TrimPrefix(string(record), utf8BOM)))
			return nil
		}); err != nil {
			t.Error(name, err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %.300q, want %.300q", name, got, c.want)
		}
	}
	stop := errors.New("stop")
	if err := Records(strings.NewReader("a\nb\n"), func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error("each's error:", err)
	}
}

// TestRecordsBounds holds that neither a line nor a document without an end fills memory, and that nothing after it is lost.
func TestRecordsBounds(t *testing.T) {
	huge := strings.Repeat("x", MaxRecord+1000)
	for name, text := range map[string]string{"line": huge + "\nlast\n", "document": "{\n\"a\":\"" + huge + "\"\n{\"last\":1}\n"} {
		longest, last := 0, ""
		if err := Records(strings.NewReader(text), func(_ int, record []byte) error {
			longest, last = max(longest, len(record)), string(record[:min(len(record), 20)])
			return nil
		}); err != nil {
			t.Error(name, err)
		}
		if longest > recordTooLong || !strings.Contains(last, "last") {
			t.Errorf("%s: the longest has %d bytes, the last is %q", name, longest, last)
		}
	}
	// one line that is an array of a hundred thousand rows
	rows := strings.Repeat(`{"@timestamp":"2026-10-09T08:21:22Z","url":{"domain":"a.example"},"user":{"name":"`+strings.Repeat("n", 200)+`"}},`, 100_000)
	p, events := mustNew(t, Options{Format: "ndjson"}), 0
	if err := Records(strings.NewReader("["+strings.TrimSuffix(rows, ",")+"]"), func(_ int, record []byte) error {
		p.Parse(record, func(*Event) { events++ }, func(r Reject) { t.Fatalf("%+v", r) })
		return nil
	}); err != nil || events != 100_000 {
		t.Error(events, err)
	}
}

// TestDocuments reads the samples that have documents of many lines, whole and as Records cuts them: the events are the same.
func TestDocuments(t *testing.T) {
	list, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(list) == 0 {
		t.Fatal("no samples", err)
	}
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o := sampleOptions(t, path)
		whole, cut := "", ""
		mustNew(t, o).Parse(text, func(e *Event) { whole += dump(e) }, func(r Reject) { t.Errorf("%s: %+v", path, r) })
		p := mustNew(t, o)
		if err := Records(strings.NewReader(string(text)), func(_ int, record []byte) error {
			p.Parse(record, func(e *Event) { cut += dump(e) }, func(r Reject) { t.Errorf("%s: %+v", path, r) })
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if whole == "" || whole != cut {
			t.Errorf("%s: whole:\n%s\nin records:\n%s", path, whole, cut)
		}
	}
}
