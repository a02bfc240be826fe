package parse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestEnvelopes reads the same lines bare and in every shipper's record, as text formats and as JSON ones.
func TestEnvelopes(t *testing.T) {
	native := strings.Split(strings.ReplaceAll(strings.Join(nativeLines(), "\n"), "@@@@", "0000"), "\n")
	nss := []string{
		`{"sourcetype":"zscalernss-web","event":{"datetime":"2026-10-09 08:21:22","host":"a.example","login":"anna\\\u00e5","action":"Allowed"}}`,
		`{"sourcetype":"zscalernss-web","event":{"datetime":"2026-10-09 08:21:23","host":"b.example","login":"bertil","action":"Blocked"}}`,
	}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		format string
		lines  []string
	}{{"squid_native", native}, {"zscaler_nss_json", nss}, {"squid_extended", native}} {
		bare := readAll(mustNew(t, Options{Format: c.format}), []byte(strings.Join(c.lines, "\n")))
		if strings.Contains(bare, "reject") {
			t.Fatal(bare)
		}
		var records, objects []string
		for _, line := range c.lines {
			records = append(records, quote(line))
			objects = append(objects, `{"message":`+quote(line)+`}`)
		}
		all := quote(strings.Join(c.lines, "\r\n") + "\n")
		for name, record := range map[string]string{
			"filebeat":             strings.ReplaceAll(strings.Join(objects, "\n"), `{"message"`, `{"@timestamp":"2026-10-09T08:21:22Z","host":{"name":"h"},"log":{"file":{"path":"/var/log/x"},"offset":7},"message"`),
			"fluent bit":           `{"date":1791534082.1,"log":` + all + `}`,
			"fluentd, with times":  `[[1791534082,` + strings.Join(objects, "],[1791534082.25,") + `]]`,
			"fluent bit, metadata": `[[1791534082.1,{}],{"log":` + all + `}]`,
			"vector":               `{"file":"/var/log/x","host":"h","message":` + all + `,"source_type":"file","timestamp":"2026-10-09T08:21:22Z"}`,
			"elastic agent":        `{"event":{"dataset":"x","original":` + all + `},"ecs":{"version":"8"}}`,
			"event hubs, texts":    `{"records":[` + strings.Join(records, ",") + `]}`,
			"event hubs, objects":  `{"records":[` + strings.Join(objects, ", ") + `]}`,
			"array":                `[` + strings.Join(objects, ",") + `]`,
			"twice":                `{"log":` + quote(`{"message":`+all+`}`) + `}`,
			"with a mark, CRLF":    utf8BOM + `{"message":` + all + `}` + "\r\n",
			"text with many lines": `{"records":[` + all + `]}`,
		} {
			if got := readAll(mustNew(t, Options{Format: c.format}), []byte(record)); got != bare {
				t.Errorf("%s in %s:\n%s\nwant:\n%s", c.format, name, got, bare)
			}
		}
	}
}

func TestEnvelopeFaults(t *testing.T) {
	line := `1791534082.000 1 10.0.0.1 TCP_MISS/200 1 GET http://a.example/ anna HIER_DIRECT/192.0.2.1 text/html`
	for _, c := range []struct{ record, want string }{
		{`{"message":"` + line + `"}{"message":`, "event 1\nreject line 1: bad_layout \n"},
		{`{"message":"` + line + `\nnot a line\n\n# a comment"}`, "event 1\nreject line 1: foreign_line @timestamp\n"},
		{"\n" + `[{"message":"` + line + `"},{"other":1}]`, "event 1\nreject line 2: foreign_line \n"},
		{`{"other":1}`, "reject line 1: foreign_line @timestamp\n"},
		{`{"message":7}`, "reject line 1: foreign_line @timestamp\n"},
		{`{"message":"` + strings.Repeat("x", MaxLine+1) + `"}`, "reject line 1: too_long \n"},
		{`{"message":""}`, ""},
	} {
		got := ""
		n := 0
		mustNew(t, Options{Format: "squid_native"}).Parse([]byte(c.record), func(*Event) {
			n++
			got += fmt.Sprintf("event %d\n", n)
		}, func(r Reject) { got += fmt.Sprintf("reject line %d: %s %s\n", r.Line, r.Reason, r.Field) })
		if got != c.want {
			t.Errorf("%.60s: %q, want %q", c.record, got, c.want)
		}
	}
}

// TestJSONLogformat holds that a logformat of JSON is a line and no envelope, even with a field named message.
func TestJSONLogformat(t *testing.T) {
	p := mustNew(t, Options{Format: "squid_logformat", Logformat: `{"ts":%ts.%03tu,"client":"%>a","message":"%rm %ru","status":%>Hs}`})
	got := readAll(p, []byte(`{"ts":1791534082.123,"client":"10.0.0.1","message":"GET http://a.example/","status":200}`))
	if !strings.Contains(got, `url.domain: "a.example"`) {
		t.Error(got)
	}
}

// TestDocumentsInVain holds that text in which no document ends is read in a time that grows with its size, not with its square.
func TestDocumentsInVain(t *testing.T) {
	for _, part := range []string{"{\"a\":\n", "{\"a\":[\n", "{\"records\":[\n", "[\n", "{\"message\":\"{\\\"message\\\":", "{", "{\"a\":\"\n"} {
		record := []byte(strings.Repeat(part, 1<<20/len(part)))
		start, rejects := processorTime(t), 0
		mustNew(t, Options{Format: "ndjson"}).Parse(record, func(*Event) { t.Fatal("an event") }, func(Reject) { rejects++ })
		mustNew(t, Options{Format: "squid_native"}).Parse(record, func(*Event) { t.Fatal("an event") }, func(Reject) { rejects++ })
		if took := processorTime(t) - start; took > 20*time.Second {
			t.Errorf("%q: %s for %d bytes, %d rejects", part, took, len(record), rejects)
		} else {
			t.Logf("%q: %s, %d rejects", part, took, rejects)
		}
	}
}
