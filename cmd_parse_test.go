package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// runParseCommand runs 'tillsyn parse' as a user does.
func runParseCommand(t *testing.T, stdin string, args ...string) (code int, out, faults string) {
	t.Helper()
	app := newApp()
	var o, f bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(stdin), &o, &f
	code = run(context.Background(), app, append([]string{"tillsyn", "parse"}, args...))
	return code, o.String(), f.String()
}

const nativeLine = "1760003200.012    184 10.20.30.40 TCP_MISS/200 18342 GET http://www.example.se:8080/nyheter?sida=2 anna HIER_DIRECT/192.0.2.10 text/html\n"

func TestParsePrintsECS(t *testing.T) {
	code, out, faults := runParseCommand(t, nativeLine, "--format", "squid_native", "-")
	want := `{"@timestamp":"2025-10-09T09:46:40.012Z","source.ip":"10.20.30.40","user.name":"anna","http.request.method":"GET",` +
		`"url.scheme":"http","url.domain":"www.example.se","url.port":8080,"url.path":"/nyheter","http.response.status_code":200,` +
		`"event.action":"allowed","destination.ip":"192.0.2.10","destination.bytes":18342,"event.duration":184,"http.response.mime_type":"text/html"}` + "\n"
	if code != exitOK || out != want || faults != "" {
		t.Errorf("code %d\nout  %s\nwant %s\nfaults %s", code, out, want, faults)
	}
	_, out, _ = runParseCommand(t, nativeLine, "--all", "--format", "squid_native", "-")
	for _, extra := range []string{`"url.query":"sida=2"`, `"event.code":"TCP_MISS"`} {
		if !strings.Contains(out, extra) {
			t.Errorf("--all lacks %s: %s", extra, out)
		}
	}
	_, out, _ = runParseCommand(t, "1760003200.012 - - TCP_MISS/- - - http://a.example - HIER_NONE/- -\n", "--format", "squid_native", "-")
	if want := `{"@timestamp":"2025-10-09T09:46:40.012Z","url.scheme":"http","url.domain":"a.example","event.action":"allowed"}` + "\n"; out != want {
		t.Errorf("absent fields: %s, want %s", out, want)
	}
}

func TestParseRejectsNeverQuote(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	text := "# made by hand\n\n" + nativeLine + "1760003200 1 10.9.8.7 TCP_MISS/200 -3 GET http://secret.example/ cecilia HIER_NONE/- -\n" +
		"cecilia 10.9.8.7 secret.example\n" + strings.Repeat("cecilia", 100000) + "\n" + nativeLine[:len(nativeLine)-1]
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, faults := runParseCommand(t, "", "--format", "squid_native", path)
	if code != exitOK || strings.Count(out, "\n") != 2 {
		t.Errorf("code %d, out %s", code, out)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(faults), "\n") {
		var r struct {
			File, Reason, Field string
			Line                int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r.File != path {
			t.Errorf("file %q", r.File)
		}
		got = append(got, strings.Join([]string{string(rune('0' + r.Line)), r.Reason, r.Field}, " "))
	}
	if want := "4 bad_number destination.bytes,5 foreign_line @timestamp,6 too_long "; strings.Join(got, ",") != want {
		t.Errorf("rejects %q, want %q", got, want)
	}
	for _, personal := range []string{"cecilia", "10.9.8.7", "secret"} {
		if strings.Contains(faults, personal) {
			t.Errorf("the rejects quote %s", personal)
		}
	}
}

func TestParseExitCodes(t *testing.T) {
	for _, c := range []struct {
		name, stdin string
		code        int
		args        []string
	}{
		{"read", nativeLine, exitOK, []string{"--format", "squid_native", "-"}},
		{"nothing to read", "", exitOK, []string{"--format", "squid_native", "-"}},
		{"comments only", "# x\n\n", exitOK, []string{"--format", "squid_native", "-"}},
		{"one of two", "x\n" + nativeLine, exitOK, []string{"--format", "squid_native", "-"}},
		{"all rejected", "x\ny\n", exitFound, []string{"--format", "squid_native", "-"}},
		{"no format", "", exitUsage, []string{"-"}},
		{"unknown format", "", exitUsage, []string{"--format", "squid", "-"}},
		{"no file", "", exitUsage, []string{"--format", "squid_native"}},
		{"no such file", "", exitFault, []string{"--format", "squid_native", filepath.Join(t.TempDir(), "none.log")}},
		{"no such zone", "", exitUsage, []string{"--format", "squid_native", "--tz", "Europe/Storstad", "-"}},
		{"a zone that is not needed", nativeLine, exitOK, []string{"--format", "squid_native", "--tz", "Europe/Stockholm", "-"}},
		{"no logformat", "", exitUsage, []string{"--format", "squid_logformat", "-"}},
		{"unknown code", "", exitUsage, []string{"--format", "squid_logformat", "--logformat", "%ts %ru %qq", "-"}},
		{"explained", nativeLine, exitOK, []string{"--format", "squid_native", "--explain", "-"}},
		{"explained reject", "x\n", exitFound, []string{"--format", "squid_native", "--explain", "-"}},
		{"no such line", nativeLine, exitUsage, []string{"--format", "squid_native", "--explain", "--line", "7", "-"}},
		{"two files", "", exitUsage, []string{"--format", "squid_native", "--explain", "-", "-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, out, faults := runParseCommand(t, c.stdin, c.args...); code != c.code {
				t.Errorf("code %d, want %d\n%s%s", code, c.code, out, faults)
			}
		})
	}
}

// What import can read, parse can show.
func TestParseReadsPackedFiles(t *testing.T) {
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := io.WriteString(w, strings.Repeat(nativeLine, 100)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, packed := range map[string]string{"a.gz": gz.String(), "a.zst": zs.String()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(packed), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			stdin string
			args  []string
			want  int
		}{
			{"", []string{"--format", "squid_native", path}, 100},
			{packed, []string{"--format", "squid_native", "-"}, 100},
			{"", []string{"--format", "auto", path}, 100},
			{packed, []string{"--format", "auto", "-"}, 100},
			{"", []string{"--format", "squid_native", "--explain", "--line", "99", path}, 1},
		} {
			if code, out, faults := runParseCommand(t, c.stdin, c.args...); code != exitOK || strings.Count(out, "www.example.se") != c.want {
				t.Errorf("%s, %v: code %d, %d events, %s", name, c.args, code, strings.Count(out, "www.example.se"), faults)
			}
		}
	}
	broken := filepath.Join(t.TempDir(), "broken.gz")
	if err := os.WriteFile(broken, gz.Bytes()[:gz.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, faults := runParseCommand(t, "", "--format", "squid_native", broken); code != exitFault || !strings.Contains(faults, "broken.gz") {
		t.Errorf("a broken one: code %d, %s", code, faults)
	}
}

// What is wrong with the options is told in the names of the flags.
func TestParseNamesFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"format squid_logformat needs --logformat":                                  {"--format", "squid_logformat", "-"},
		"can't use --columns: leave it out; format squid_native can't use --layout": {"--format", "squid_native", "--columns", "a", "--layout", "b", "-"},
	} {
		if code, _, faults := runParseCommand(t, "", args...); code != exitUsage || !strings.Contains(faults, want) {
			t.Errorf("%v: code %d, %s", args, code, faults)
		}
		if _, faults, code := inProcess(t, append([]string{"import"}, args...)...); code != exitUsage || !strings.Contains(faults, want) {
			t.Errorf("import %v: code %d, %s", args, code, faults)
		}
	}
}

func TestParseExplains(t *testing.T) {
	_, out, _ := runParseCommand(t, "# comment\n"+nativeLine+nativeLine, "--format", "squid_native", "--explain", "--line", "2", "-")
	for _, want := range []string{"@timestamp", `"2025-10-09T09:46:40.012Z"`, "%ts.%03tu", `"anna"`, "%[un", `"sida=2"`, "%ru"} {
		if !strings.Contains(out, want) {
			t.Errorf("the explanation lacks %s:\n%s", want, out)
		}
	}
	_, out, _ = runParseCommand(t, "# comment\n", "--format", "squid_native", "--explain", "-")
	if !strings.Contains(out, "nothing to read") {
		t.Errorf("a comment: %s", out)
	}
	_, out, _ = runParseCommand(t, "09/Oct/2026 11:46:40|a.example|-5\n", "--format", "squid_logformat", "--tz", "Europe/Stockholm",
		"--logformat", "logformat mine %{%d/%b/%Y %H:%M:%S}tl|%ru|%<st", "--explain", "-")
	if !strings.Contains(out, "bad_number") || !strings.Contains(out, "%<st") {
		t.Errorf("a reject: %s", out)
	}
}

func TestAppendText(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `""`,
		"anna":                      `"anna"`,
		"Åsa Öberg":                 `"Åsa Öberg"`,
		"\xc5sa \xd6berg":           `"Åsa Öberg"`,
		"a\"b\\c":                   `"a\"b\\c"`,
		"a\x00b\n\x1b[31m\x7f":      `"a\u0000b\u000a\u001b[31m\u007f"`,
		"\x9b31m":                   `"\u009b31m"`,
		"abc\u202edef":              `"abc\u202edef"`,
		"\U0001f600":                "\"\U0001f600\"",
		"<script>&":                 `"<script>&"`,
		"\u2028":                    `"\u2028"`,
		"half a rune \xe2\x82 here": "\"half a rune â\\u0082 here\"",
	} {
		got := appendText(nil, []byte(in))
		if string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || utf8.ValidString(in) && back != in {
			t.Errorf("%q: reads back as %q, %v", in, back, err)
		}
	}
}

func TestParsePrintsMail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.log")
	text := "Oct  9 08:41:00 mx1 postfix/qmgr[1]: 1A2B3C4D5E: from=<>, size=5360, nrcpt=1 (queue active)\n" +
		"Oct  9 08:41:01 mx1 postfix/local[1]: 1A2B3C4D5E: to=<anna@council.example>, relay=local, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered)\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	written := time.Date(2021, 3, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	code, out, faults := runParseCommand(t, "", "--format", "postfix_syslog", "--tz", "Europe/Stockholm", path)
	want := `{"@timestamp":"2020-10-09T06:41:00.000Z","event.outcome":"unknown","postfix.queue_id":"1A2B3C4D5E","email.from.address":"","source.bytes":5360}` + "\n" +
		`{"@timestamp":"2020-10-09T06:41:01.000Z","event.code":"sent","event.outcome":"success","postfix.queue_id":"1A2B3C4D5E",` +
		`"email.from.address":"","email.to.address":["anna@council.example"],"source.bytes":5360}` + "\n"
	if code != exitOK || out != want || faults != "" {
		t.Errorf("code %d\nout  %s\nwant %s\nfaults %s", code, out, want, faults)
	}
	line := `2026-10-09T06:40:03.008Z,192.0.2.25,,,EX1,,,SMTP,RECEIVE,1,<a@b.example>,"x@council.example;y@council.example",,41,2,,,"a ""b"", c",k@b.example,,` + "\n"
	_, out, _ = runParseCommand(t, line, "--format", "exchange_msgtrk_csv", "--internal-domains", "council.example", "-")
	want = `{"@timestamp":"2026-10-09T06:40:03.008Z","source.ip":"192.0.2.25","event.code":"RECEIVE","event.outcome":"success",` +
		`"email.message_id":"a@b.example","email.from.address":"k@b.example","email.to.address":["x@council.example","y@council.example"],` +
		`"email.subject":"a \"b\", c","email.direction":"inbound","source.bytes":41}` + "\n"
	if out != want {
		t.Errorf("out  %s\nwant %s", out, want)
	}
}
