package parse

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestJSONText(t *testing.T) {
	for raw, want := range map[string]string{
		`plain`: "plain", `a\"b\\c\/d`: `a"b\c/d`, `\b\f\n\r\t`: "\b\f\n\r\t", `\u00e5\u20ac`: "å€", `\ud83d\ude00!`: "😀!",
		`\ud83d`: "\ufffd", `\ud83d\u0041`: "\ufffdA", `\ude00x`: "\ufffdx", "\xe5\\n\xe4": "\xe5\n\xe4", `\u12`: "\ufffd12", `\`: `\`,
	} {
		if got := string(appendUnescaped(nil, []byte(raw))); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestM365Times(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ layout, text, want string }{
		{"", "2026-10-09T08:21:22.1239999Z", "2026-10-09T08:21:22.123Z"}, {"", "2026-10-09 08:21:22", "2026-10-09T08:21:22.000Z"},
		{"", "/Date(1791534082123)/", "2026-10-09T08:21:22.123Z"}, {"", "/Date(1791534082123+0200)/", "2026-10-09T08:21:22.123Z"},
		{"", "10/9/2026 8:21:22 PM", "2026-10-09T20:21:22.000Z"}, {"", "10/9/2026 12:21:22 AM", "2026-10-09T00:21:22.000Z"},
		{"", "10/9/2026 12:21:22 PM", "2026-10-09T12:21:22.000Z"}, {"", "10/9/2026 13:21:22 PM", "bad"}, {"", "10/9/2026 8:21:22", "bad"},
		{"", "9/30/2026 8:21:22", "2026-09-30T08:21:22.000Z"}, {"", "30/9/2026 8:21:22", "2026-09-30T08:21:22.000Z"}, {"", "30/30/2026 8:21:22", "bad"},
		{"", "9/9/2026 8:21:22", "2026-09-09T08:21:22.000Z"}, {"", "09.10.2026 08:21:22", "2026-10-09T08:21:22.000Z"},
		{"dmy", "10/9/2026 8:21:22", "2026-09-10T08:21:22.000Z"}, {"mdy", "10/9/2026 8:21:22", "2026-10-09T08:21:22.000Z"},
		{"", "tomorrow", "none"}, {"", "", "none"}, {"", "2026-02-30 08:21:22", "bad"}, {"zone", "2026-10-09 10:21:22", "2026-10-09T08:21:22.000Z"},
	} {
		r := m365Reader{layout: c.layout, stamps: newStampReader(nil)}
		if c.layout == "zone" {
			r = m365Reader{stamps: newStampReader(stockholm)}
		}
		ms, is, ok := r.when([]byte(c.text))
		got := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		switch {
		case !is:
			got = "none"
		case !ok:
			got = "bad"
		}
		if got != c.want {
			t.Errorf("%s %q: %s, want %s", c.layout, c.text, got, c.want)
		}
	}
}

func TestZscalerZones(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	const utc, summer = "2026-10-09T10:21:22.000Z", "2026-10-09T08:21:22.000Z"
	for _, c := range []struct {
		zone     *time.Location
		said     string
		want     string
		at       string
		rejected bool
	}{
		{nil, "", utc, "2026-10-09 10:21:22", false}, {stockholm, "", summer, "Fri Oct  9 10:21:22 2026", false},
		{stockholm, "GMT", utc, "2026-10-09 10:21:22", false}, {nil, "Europe/Stockholm", summer, "Fri Oct 9 10:21:22 2026", false},
		{nil, "+02:00", summer, "2026-10-09 10:21:22", false}, {nil, "Narnia", "", "2026-10-09 10:21:22", true},
		{nil, "../../etc/passwd", "", "2026-10-09 10:21:22", true}, {nil, "Local", "", "2026-10-09 10:21:22", true},
		{stockholm, "Narnia", summer, "2026-10-09 10:21:22", false}, {stockholm, "", utc, "2026-10-09T10:21:22Z", false},
	} {
		got := readAll(mustNew(t, Options{Format: "zscaler_nss_json", Zone: c.zone}), fmt.Appendf(nil, `{"datetime":%q,"tz":%q,"host":"a.example"}`, c.at, c.said))
		if c.rejected != strings.Contains(got, "bad_time") || !strings.Contains(got, c.want) {
			t.Errorf("%v, feed %q, %s:\n%swant %s", c.zone, c.said, c.at, got, c.want)
		}
	}
}

func TestDocumentOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{Format: "zscaler_nss_text", Logformat: `%s{login}\t%s{action}`}, []string{"no field is a time", "no field is a URL"}},
		{Options{Format: "zscaler_nss_text", Logformat: `%s{time}\t%q{url}`}, []string{"begins no field"}},
		{Options{Format: "zscaler_nss_text", Logformat: `%`}, []string{"begins no field"}},
		{Options{Format: "zscaler_nss_text", Logformat: `%s{time},%s{url}`, Columns: []string{"time", "url"}}, []string{"leave one out"}},
		{Options{Format: "ndjson", Columns: []string{"user.name", "no.such=x", "url.domain=a", "source.ip=a"}}, []string{"no pair", `no field "no.such"`, "read for another"}},
		{Options{Format: "m365_message_trace_csv", Columns: []string{"a", "b"}, Layout: "ymd"}, []string{"columns name no time", `no layout "ymd"`}},
		{Options{Format: "m365_message_trace_json", Layout: "x", InternalDomains: []string{"not a domain"}}, []string{`no layout "x"`, "no domain name"}},
		{Options{Format: "rspamd_json", Columns: []string{"a"}}, []string{"can't use columns"}},
	} {
		_, err := New(c.o)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", c.o, err, want)
			}
		}
	}
	p := mustNew(t, Options{Format: "zscaler_nss_text", Columns: []string{"%d{epochtime}", "login", "host", "action"}})
	for _, line := range []string{"1791534082\tanna\ta.example\tBlocked", `"1791534082","anna","a.example","Blocked"`} {
		if got := readAll(p, []byte(line)); !strings.Contains(got, `user.name: "anna"`) || !strings.Contains(got, "event.action: blocked") {
			t.Errorf("%q: %s", line, got)
		}
	}
}

func TestRecentKeys(t *testing.T) {
	var r recentKeys
	for i := range maxRecent + 10 {
		if !r.add(fmt.Appendf(nil, "%d", i)) {
			t.Fatal("an old key:", i)
		}
	}
	if r.add([]byte("11")) || r.add(fmt.Appendf(nil, "%d", maxRecent)) {
		t.Error("a key of the last ones is new")
	}
	if !r.add([]byte("3")) || len(r.order) != maxRecent || len(r.index) != maxRecent {
		t.Error("an old key is not forgotten", len(r.order), len(r.index))
	}
}
