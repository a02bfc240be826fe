package parse

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dump writes an event as the golden files have it: one field a line, absent fields left out.
func dump(e *Event) string {
	var b strings.Builder
	put := func(name, format string, v any) { fmt.Fprintf(&b, "  %s: "+format+"\n", name, v) }
	text := func(name string, v []byte) {
		if v != nil {
			put(name, "%q", v)
		}
	}
	number := func(name string, v int64) {
		if v >= 0 {
			put(name, "%d", v)
		}
	}
	put("@timestamp", "%s", time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	if e.Count != 1 {
		put("event.count", "%d", e.Count)
	}
	if e.SourceIP.IsValid() {
		put("source.ip", "%s", e.SourceIP)
	}
	number("source.port", int64(e.SourcePort))
	text("user.name", e.User)
	text("http.request.method", e.Method)
	text("url.scheme", e.Scheme)
	text("url.domain", e.Domain)
	number("url.port", int64(e.Port))
	text("url.path", e.Path)
	text("url.query", e.Query)
	text("http.request.referrer", e.Referrer)
	text("user_agent.original", e.UserAgent)
	number("http.response.status_code", int64(e.Status))
	switch e.Action {
	case Allowed:
		put("event.action", "%s", "allowed")
	case Blocked:
		put("event.action", "%s", "blocked")
	}
	text("event.code", e.Code)
	if e.DestinationIP.IsValid() {
		put("destination.ip", "%s", e.DestinationIP)
	}
	number("destination.bytes", e.DestinationBytes)
	number("source.bytes", e.SourceBytes)
	if e.Duration >= 0 {
		put("event.duration", "%s", e.Duration)
	}
	text("http.response.mime_type", e.MIME)
	if e.Kind == Mail {
		dumpMail(&b, e, text)
	}
	return b.String()
}

// readAll answers the dumps of a record's events and rejects.
func readAll(p Parser, record []byte) string {
	var b strings.Builder
	n := 0
	p.Parse(record, func(e *Event) {
		n++
		fmt.Fprintf(&b, "event %d\n%s", n, dump(e))
	}, func(r Reject) {
		fmt.Fprintf(&b, "reject line %d: %s %s\n", r.Line, r.Reason, r.Field)
	})
	return b.String()
}

func mustNew(t testing.TB, o Options) Parser {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sampleOptions answers how a sample of testdata is to be read: NAME.logformat, NAME.zone, NAME.layout, NAME.columns and
// NAME.domains stand beside NAME.log.
func sampleOptions(t testing.TB, path string) Options {
	t.Helper()
	o := Options{Format: filepath.Base(filepath.Dir(path))}
	base := strings.TrimSuffix(path, ".log")
	if spec, err := os.ReadFile(base + ".logformat"); err == nil {
		o.Logformat = string(spec)
	}
	if name, err := os.ReadFile(base + ".layout"); err == nil {
		o.Layout = strings.TrimSpace(string(name))
	}
	if list, err := os.ReadFile(base + ".columns"); err == nil {
		o.Columns = strings.Split(strings.TrimSpace(string(list)), ",")
	}
	if list, err := os.ReadFile(base + ".domains"); err == nil {
		o.InternalDomains = strings.Split(strings.TrimSpace(string(list)), ",")
	}
	if name, err := os.ReadFile(base + ".zone"); err == nil {
		if o.Zone, err = time.LoadLocation(strings.TrimSpace(string(name))); err != nil {
			t.Fatal(err)
		}
	}
	o.Now = sampleClock
	return o
}

// sampleClock is the time at which samples are read.
func sampleClock() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func samples(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob("testdata/*/*.log")
	if err != nil || len(list) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	return list
}

func TestGolden(t *testing.T) {
	covered := map[string]bool{}
	for _, path := range samples(t) {
		covered[filepath.Base(filepath.Dir(path))] = true
		t.Run(filepath.ToSlash(strings.TrimPrefix(path, "testdata")), func(t *testing.T) {
			record, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := readAll(mustNew(t, sampleOptions(t, path)), record)
			golden := strings.TrimSuffix(path, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s\ngot:\n%s\nwant:\n%s", golden, got, want)
			}
			// a line at a time, as Kafka brings them, must read as the whole file does
			p, single := mustNew(t, sampleOptions(t, path)), 0
			for _, line := range bytes.SplitAfter(record, []byte("\n")) {
				p.Parse(line, func(*Event) { single++ }, func(r Reject) {
					if single++; r.Line != 1 {
						t.Errorf("reject of a single line has line number %d", r.Line)
					}
				})
			}
			if all := strings.Count(got, "event ") + strings.Count(got, "reject line "); single != all {
				t.Errorf("line by line: %d events and rejects, whole: %d", single, all)
			}
		})
	}
	for _, f := range Formats() {
		if !covered[f.Name] {
			t.Errorf("format %s has no sample in testdata", f.Name)
		}
	}
}

// TestPublicSamples reads the public samples with known-good parses beside the repository and compares every field that
// the source of a sample says.
func TestPublicSamples(t *testing.T) {
	const root = "../../../shared/data/logs"
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the public samples are needed in CI and are not there: ", err)
		}
		t.Skip("the public samples are not beside this clone: ", err)
	}
	cases, events, fields := 0, 0, 0
	table := []string{fmt.Sprintf("%-24s %5s %6s %14s  %s", "format", "cases", "events", "fields checked", "differences from the peer")}
	for _, f := range Formats() {
		casesBefore, eventsBefore, fieldsBefore := cases, events, fields
		list, err := filepath.Glob(filepath.Join(root, f.Name, "*.expected.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			cases++
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want []map[string]any
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(path, err)
			}
			record, err := os.ReadFile(strings.TrimSuffix(path, ".expected.json") + ".log")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			mustNew(t, Options{Format: f.Name}).Parse(record, func(e *Event) {
				if n < len(want) {
					fields += compareExpected(t, fmt.Sprintf("%s event %d", path, n), e, want[n])
				}
				n++
			}, func(r Reject) { t.Errorf("%s line %d: rejected: %s %s", path, r.Line, r.Reason, r.Field) })
			if events += n; n != len(want) {
				t.Errorf("%s: %d events, want %d", path, n, len(want))
			}
		}
		if cases > casesBefore {
			// all of an expectation has to be met, so there is no difference to report but a failed test
			table = append(table, fmt.Sprintf("%-24s %5d %6d %14d  none", f.Name, cases-casesBefore, events-eventsBefore, fields-fieldsBefore))
		}
	}
	t.Logf("%d cases, %d events, %d fields compared\n%s", cases, events, fields, strings.Join(table, "\n"))
	if cases == 0 {
		t.Error("no case was compared")
	}
}

// compareExpected compares an event with the peer's reading of it; null there means that the peer does not say.
func compareExpected(t *testing.T, where string, e *Event, want map[string]any) (compared int) {
	t.Helper()
	action := map[Action]any{Allowed: "allowed", Blocked: "blocked"}
	number := func(v int64) any {
		if v < 0 {
			return nil
		}
		return float64(v)
	}
	text := func(b []byte) any {
		if b == nil {
			return nil
		}
		return string(b)
	}
	got := map[string]any{
		"user": text(e.User), "client_ip": e.SourceIP.String(), "method": text(e.Method), "host": text(e.Domain), "url_path": text(e.Path),
		"status": number(int64(e.Status)), "action": action[e.Action], "bytes_in": number(e.DestinationBytes),
		"bytes_out": number(e.SourceBytes), "duration_ms": number(e.Duration.Milliseconds()), "content_type": text(e.MIME),
	}
	if e.Kind == Mail {
		got, want = mailExpected(e, want)
	}
	for name, expected := range want {
		if expected == nil {
			continue
		}
		compared++
		if name == "timestamp" {
			at, err := time.Parse(time.RFC3339Nano, expected.(string))
			if err != nil {
				t.Fatal(where, err)
			}
			if at.UnixMilli() != e.Time {
				t.Errorf("%s: timestamp %s, want %s", where, time.UnixMilli(e.Time).UTC(), at)
			}
			continue
		}
		value, known := got[name]
		if !known {
			t.Errorf("%s: the expectation has a key %q that this test does not know", where, name)
		}
		if value != expected {
			t.Errorf("%s: %s is %v, want %v", where, name, value, expected)
		}
	}
	return compared
}
