package parse

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const nativeSpec = "logformat squid %ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt"

func TestNewTellsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want []string
	}{
		{"unknown format", Options{Format: "squid"}, []string{`"squid"`, "squid_native", "squid_logformat"}},
		{"missing logformat", Options{Format: "squid_logformat"}, []string{"needs logformat"}},
		{"what it can't use", Options{Format: "squid_native", Logformat: "%ts", Columns: []string{"a"}, Layout: "x"},
			[]string{"can't use logformat", "can't use columns", "can't use layout"}},
		{"unknown codes, all of them", Options{Format: "squid_logformat", Logformat: "%ts %ru %zz %>q"}, []string{"%zz", "%>q"}},
		{"no time", Options{Format: "squid_logformat", Logformat: "%>a %ru"}, []string{"no time"}},
		{"no target", Options{Format: "squid_logformat", Logformat: "%ts %>a"}, []string{"what was requested"}},
		{"neighbours", Options{Format: "squid_logformat", Logformat: "%ts %>a%ru"}, []string{"nothing stands between", "%ru"}},
		{"neighbours with a time", Options{Format: "squid_logformat", Logformat: "%>a%tl %ru"}, []string{"nothing stands between", "%tl"}},
		{"comments only", Options{Format: "squid_logformat", Logformat: "#%ts %ru"}, []string{"comments"}},
		{"open brace", Options{Format: "squid_logformat", Logformat: "%ts %ru %{Referer>h"}, []string{"never closed"}},
		{"a name alone", Options{Format: "squid_logformat", Logformat: "logformat squid"}, []string{"no codes"}},
		{"local time without zone", Options{Format: "squid_logformat", Logformat: "%{%F %T}tl %ru"}, []string{"%{%F %T}tl", "time zone"}},
		{"half a time", Options{Format: "squid_logformat", Logformat: "%{%F}tl %ru"}, []string{"does not name"}},
		{"unreadable time", Options{Format: "squid_logformat", Logformat: "%{%F %T %G}tl %ru"}, []string{"%G"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	for _, f := range Formats() {
		o := Options{Format: f.Name, Zone: time.UTC, InternalDomains: []string{"example.se"}}
		if f.Name == "squid_logformat" {
			o.Logformat = nativeSpec
		}
		if p, err := New(o); err != nil {
			t.Errorf("%s with a zone and internal domains: %v", f.Name, err)
		} else if len(Origins(p)) == 0 {
			t.Errorf("%s does not say where its fields come from", f.Name)
		}
	}
}

// TestEveryDocumentedCode compiles each code of Squid's documentation, with every modifier.
func TestEveryDocumentedCode(t *testing.T) {
	for _, code := range logCodes() {
		for _, modifier := range []string{"", `"`, "[", "#", "/", "'", "-", "08", "-20", ".5", "#-10.40", "{arg}"} {
			if code.shape == instant && modifier == "{arg}" {
				continue
			}
			spec := "%ts %ru x%" + modifier + code.name + " end"
			if _, err := compileLogformat(spec, time.UTC); err != nil {
				t.Errorf("%s: %v", spec, err)
			}
		}
	}
	for _, spec := range []string{"%ts %http::>ru", "%ts %ru %tls::>sni", "%ts %ru %>h{Referer}", "%ts %ru %{X-Forwarded-For:,a}>h",
		"%tl %ru", "%tg %ru", "%{%d/%b/%Y:%H:%M:%S %z}tl %ru", "%ts %%%ru", "logformat x \\\n %ts \\\n %ru"} {
		if _, err := compileLogformat(spec, nil); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// TestCompiledNativeEqualsNative reads every native sample by the pasted logformat line too.
func TestCompiledNativeEqualsNative(t *testing.T) {
	compiled, native := mustNew(t, Options{Format: "squid_logformat", Logformat: nativeSpec}), mustNew(t, Options{Format: "squid_native"})
	for _, name := range []string{"plain", "names"} {
		record, err := os.ReadFile("testdata/squid_native/" + name + ".log")
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(record, []byte("\n")) {
			// a lenient reader of one format knows more of it than its specification says
			if bytes.Contains(line, []byte("with a space")) || bytes.Contains(line, []byte("R/D")) || bytes.Contains(line, []byte("DIRECT/x")) ||
				bytes.HasSuffix(line, []byte("192.0.2.1")) {
				continue
			}
			if got, want := readAll(compiled, line), readAll(native, line); got != want {
				t.Errorf("%s line %d\ncompiled:\n%s\nnative:\n%s", name, i+1, got, want)
			}
		}
	}
}

func TestSquidAction(t *testing.T) {
	for code, want := range map[string]Action{
		"TCP_MISS": Allowed, "TCP_HIT": Allowed, "TCP_TUNNEL": Allowed, "TCP_TUNNEL_ABORTED": Allowed, "TCP_CF_REFRESH_MODIFIED": Allowed,
		"TCP_SWAPFAIL_MISS": Allowed, "TCP_NEGATIVE_HIT": Allowed, "TCP_REFRESH_FAIL_OLD": Allowed, "TCP_DENIED": Blocked,
		"TCP_DENIED_REPLY": Blocked, "TCP_DENIED_ABORTED": Blocked, "UDP_DENIED": Blocked, "NONE": Unsaid, "NONE_NONE": Unsaid,
		"TAG_NONE": Unsaid, "NONE_ABORTED": Unsaid, "TCP_REDIRECT": Unsaid, "": Unsaid,
	} {
		if got := squidAction([]byte(code)); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestAddressLikeNetip(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "255.255.255.255", "10.1.2.3", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3", "1.2.3.", ".1.2.3", "", "-", "::", "::1", "1::",
		"2001:db8::1", "2001:DB8:0:0:0:0:0:1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1::2::3", ":1", "1:", ":::", "12345::",
		"::ffff:1.2.3.4", "64:ff9b::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "fe80::1%eth0", "fe80::1%", "g::", "1:2:3:4:5:6:7", "1::8:",
	} {
		compareAddress(t, []byte(s))
	}
}

func compareAddress(t *testing.T, b []byte) {
	t.Helper()
	got, ok := address(b)
	want, err := netip.ParseAddr(string(b))
	if ok != (err == nil) || ok && got != want.WithZone("").Unmap() {
		t.Errorf("%q: %v %v, netip says %v %v", b, got, ok, want, err)
	}
}

func TestTimes(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		layout, in, want string
		utc              bool
		zone             *time.Location
	}{
		{commonLayout, "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z", false, nil},
		{commonLayout, "29/Feb/2024:23:59:60 +0000", "2024-03-01T00:00:00Z", false, nil},
		{commonLayout, "29/Feb/2023:00:00:00 +0000", "", false, nil},
		{commonLayout, "10/Oct/2000:24:00:00 +0000", "", false, nil},
		{"%d/%b/%Y:%H:%M:%S", "10/Oct/2000:13:55:36", "2000-10-10T13:55:36Z", true, nil},
		{"%F %T", "2026-07-01 12:00:00", "2026-07-01T10:00:00Z", false, stockholm},
		{"%F %T", "2026-01-01 12:00:00", "2026-01-01T11:00:00Z", false, stockholm},
		{"%F %T", "2026-03-29 03:00:00", "2026-03-29T01:00:00Z", false, stockholm},
		{"%F %T", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z", false, stockholm},
		{"%F %T", "2026-10-25 03:00:00", "2026-10-25T02:00:00Z", false, stockholm},
		{"%FT%T.%N%z", "2026-10-25T03:00:00.250+05:30", "2026-10-24T21:30:00.25Z", false, nil},
		{"%a %b %e %H:%M:%S %Y %z", "Fri Oct  9 11:46:40 2026 +0200", "2026-10-09T09:46:40Z", false, nil},
		{"%d/%m/%y %I:%M:%S %p %Z", "09/10/26 12:46:40 AM UTC", "2026-10-09T00:46:40Z", false, stockholm},
		{"%d/%m/%y %I:%M:%S %p %Z", "09/10/69 12:46:40 PM CET", "", false, stockholm},
		{"%Y %j %H:%M:%S %z", "2024 366 00:00:00 +0000", "2024-12-31T00:00:00Z", false, nil},
		{commonLayout, "01/Jan/1970:00:30:00 +0100", "", false, nil},
		{commonLayout, "31/Dec/9999:23:30:00 -0100", "", false, nil},
		{"%F %T", "0001-01-01 00:00:00", "", true, nil},
		{"%s", "1760003200", "2025-10-09T09:46:40Z", false, nil},
		{"%s", "99999999999999", "", false, nil},
		{"%F %T", "1970-01-01 00:00:00", "1970-01-01T00:00:00Z", true, nil},
		{"%F %T", "2099-12-31 23:59:59", "2099-12-31T23:59:59Z", true, nil},
	} {
		l, err := newTimeLayout(c.layout, c.utc, c.zone)
		if err != nil {
			t.Errorf("%s: %v", c.layout, err)
			continue
		}
		for range 2 { // the second time from the caches
			ms, n := l.read([]byte(c.in))
			got := ""
			if n > 0 {
				got = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
			}
			if got != c.want || n > 0 && n != len(c.in) {
				t.Errorf("%s of %s: %s (%d bytes), want %s", c.layout, c.in, got, n, c.want)
			}
		}
	}
	for day := -800000; day < 2900000; day += 17 {
		want := time.Unix(int64(day)*86400, 0).UTC()
		if want.Year() < 1 || want.Year() > 9999 {
			continue
		}
		if got, ok := date(want.Year(), int(want.Month()), want.Day()); !ok || got != int64(day) {
			t.Fatalf("%s is day %d, got %d %v", want, day, got, ok)
		}
	}
}

func TestHostileLines(t *testing.T) {
	good := "1760003200.000 1 10.1.1.1 TCP_MISS/200 1 GET http://a.example/%s - HIER_NONE/- text/html"
	long := func(n int) string { return fmt.Sprintf(good, strings.Repeat("x", n)) }
	p := mustNew(t, Options{Format: "squid_native"})
	for _, c := range []struct{ name, record, want string }{
		{"a megabyte", long(1 << 20), "too_long"},
		{"the longest", long(MaxLine - len(long(0))), ""},
		{"one more", long(MaxLine - len(long(0)) + 1), "too_long"},
		{"bad between good", long(1) + "\n\x00\xff\xfe\n" + long(1), "event,nul_byte,event"},
		{"utf-16, which is decoded", "\xff\xfe1\x007\x006\x00", "truncated"},
		{"empty", "", "none"},
		{"only line ends", "\r\n\n\r\n   \n\t\n#x\n  # y", "none"},
		{"carriage returns", long(1) + "\r\r\n", "event"},
		{"spaces before", "   " + long(1), "event"},
		{"a month of nothing", strings.Repeat("Oct ", 1000), "foreign_line"},
		{"brackets", "<1>1 - - - - " + strings.Repeat("[", 100000), "foreign_line"},
	} {
		var got []string
		p.Parse([]byte(c.record), func(*Event) { got = append(got, "event") }, func(r Reject) { got = append(got, string(r.Reason)) })
		want := c.want
		switch want {
		case "":
			want = "event"
		case "none":
			want = ""
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: %v, want %s", c.name, got, want)
		}
	}
}

// TestLogformatIsBounded makes lines that a naive reader would try in a number of ways that grows with their length's power.
func TestLogformatIsBounded(t *testing.T) {
	p := mustNew(t, Options{Format: "squid_logformat", Logformat: "%ts %un %ul %ue %ea %et %{A}>h %{B}>h %ru %>Hs"})
	line := []byte("1 " + strings.Repeat("a ", MaxLine/2-10))
	start := processorTime(t)
	rejected := 0
	p.Parse(line, func(*Event) { t.Error("an event") }, func(Reject) { rejected++ })
	if took := processorTime(t) - start; rejected != 1 || took > 5*time.Second {
		t.Errorf("%d rejects after %s", rejected, took)
	}
}

func TestNothingAllocates(t *testing.T) {
	for _, path := range samples(t) {
		record, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(filepath.Dir(path)) == "postfix_syslog" {
			continue // it holds messages together: TestPostfixAllocations
		}
		p := mustNew(t, sampleOptions(t, path))
		said := false
		// Headers, which are rare, may allocate, and so may text that is no JSON: the reader of JSON describes each in an error.
		json := strings.Contains(path, "json")
		event, reject := func(*Event) { said = true }, func(r Reject) { said = r.Reason != ContradictoryHeader && !json }
		var rows []byte
		for _, line := range bytes.SplitAfter(record, []byte("\n")) {
			said = false
			if p.Parse(line, event, reject); said && line[0] != '#' {
				rows = append(rows, line...)
			}
		}
		record = rows
		if n := testing.AllocsPerRun(100, func() { p.Parse(record, event, reject) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// TestParserForgets sees that a parser keeps nothing of a record after reading it.
func TestParserForgets(t *testing.T) {
	p := mustNew(t, Options{Format: "squid_native"}).(*lineParser)
	p.Parse([]byte("1760003200.000 1 10.1.1.1 TCP_MISS/200 1 GET http://a.example/ %61nna HIER_NONE/- text/html"), func(*Event) {}, func(Reject) {})
	if p.event.User != nil || p.event.Domain != nil || p.event.SourceIP.IsValid() {
		t.Error("the event of the last line is still there")
	}
	if kept := p.scratch.buf[:cap(p.scratch.buf)]; bytes.Contains(kept, []byte("anna")) {
		t.Error("the user's name is still in the scratch memory")
	}
}

// TestUserinfoNeverLeaks plants a name where URLs carry user information and looks for it in everything but the Event's
// own URL-free fields.
func TestUserinfoNeverLeaks(t *testing.T) {
	for _, request := range []string{
		"GET http://hemlig@a.example/p?q", "GET http://hemlig:hemlig@a.example:81/p", "GET http://x@hemlig@a.example/", "GET ftp://hemlig:@a.example",
		"GET http://hemlig%3ahemlig%40a.example/", "GET hemlig:hemlig@a.example/p", "GET hemlig@a.example", "CONNECT hemlig@a.example:443",
		"CONNECT hemlig:hemlig@[2001:db8::1]:443", "GET http://hemlig:p/hemlig@a.example/", "GET http://hemlig:p?hemlig@a.example/", "GET http://hemlig:p#hemlig@a.example/",
		"GET http://[hemlig@a.example/", "GET http://hemlig@/", "GET http://hemlig:hemlig", "GET hemlig:hemlig", "GET mailto:hemlig@a.example", "GET //hemlig:x@a.example",
		`GET http://hemlig:x\@a.example/`,
	} {
		for format, line := range map[string]string{
			"squid_native":   "1760003200.000 1 10.1.1.1 TCP_MISS/200 1 " + request + " - HIER_DIRECT/192.0.2.1 text/html",
			"squid_combined": `10.1.1.1 - - [09/Oct/2026:11:46:40 +0200] "` + request + ` HTTP/1.1" 200 1 TCP_MISS:HIER_DIRECT`,
		} {
			mustNew(t, Options{Format: format}).Parse([]byte(line), func(e *Event) {
				for name, text := range map[string][]byte{"domain": e.Domain, "scheme": e.Scheme, "port": fmt.Append(nil, e.Port)} {
					if bytes.Contains(text, []byte("hemlig")) {
						t.Errorf("%s of %s: url.%s is %q", format, request, name, text)
					}
				}
				if bytes.Contains(e.Path, []byte("hemlig")) && !strings.HasPrefix(request, "GET //") {
					t.Errorf("%s of %s: url.path is %q", format, request, e.Path)
				}
			}, func(Reject) {})
		}
	}
}
