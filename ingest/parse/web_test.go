package parse

import (
	"os"
	"strings"
	"testing"
	"time"
)

// readLine answers the dump of the only event of a line, or "reject REASON FIELD", or "" where the line is passed over.
func readLine(t *testing.T, o Options, line string) string {
	t.Helper()
	var b strings.Builder
	mustNew(t, o).Parse([]byte(line), func(e *Event) { b.WriteString(dump(e)) }, func(r Reject) {
		b.WriteString(strings.TrimSpace("reject "+string(r.Reason)+" "+r.Field) + "\n")
	})
	return b.String()
}

// TestOtherLogsArePassedOver reads the public samples that hold no web log line: they are neither events nor faults.
func TestOtherLogsArePassedOver(t *testing.T) {
	const root = "../../../shared/data/logs/"
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the public samples are needed in CI and are not there: ", err)
		}
		t.Skip("the public samples are not beside this clone: ", err)
	}
	for format, name := range map[string]string{"panw_threat_url": "crowdstrike_traffic_raw", "fortigate_kv": "crowdstrike_traffic_raw"} {
		record, err := os.ReadFile(root + format + "/" + name + ".log")
		if err != nil {
			t.Fatal(err)
		}
		if got := readLine(t, Options{Format: format}, string(record)); got != "" {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestWebOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no such layout", Options{Format: "bluecoat_w3c", Layout: "mine"}, "main, bcreportermain_v1, bcreporterssl_v1"},
		{"layout and columns", Options{Format: "bluecoat_w3c", Layout: "main", Columns: []string{"date time cs-host"}}, "leave one out"},
		{"columns without a host", Options{Format: "bluecoat_w3c", Columns: []string{"date", "time", "c-ip"}}, "no host"},
		{"columns without a time", Options{Format: "bluecoat_w3c", Columns: []string{"c-ip", "cs-host"}}, "no time"},
		{"forcepoint without a URL", Options{Format: "forcepoint_web_csv", Columns: []string{"Date", "User"}}, "no URL"},
		{"zeek without ts", Options{Format: "zeek_http_tsv", Columns: []string{"host", "uri"}}, "no ts"},
		{"a broken logformat", Options{Format: "squid_extended", Logformat: "%zz"}, "%zz"},
		{"umbrella has no columns", Options{Format: "umbrella_proxy_csv", Columns: []string{"a"}}, "can't use columns"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestWebActions(t *testing.T) {
	check := func(what string, got, want Action) {
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	for _, c := range []struct {
		filter, verdict, exception, acl, code string
		want                                  Action
	}{
		{"OBSERVED", "", "", "", "TCP_HIT", Allowed}, {"PROXIED", "", "", "", "TUNNELED", Allowed}, {"DENIED", "", "", "", "TCP_ERR_MISS", Blocked},
		{"OBSERVED", "", "policy_denied", "", "TCP_ERR_MISS", Blocked}, {"OBSERVED", "", "", "", "TCP_DENIED", Blocked},
		{"OBSERVED", "", "tcp_error", "", "TCP_ERR_MISS", Allowed}, {"", "", "", "", "TCP_NC_MISS", Allowed}, {"", "", "", "", "TUNNELED", Allowed},
		{"", "", "", "", "TCP_ACCELERATED", Allowed}, {"", "", "", "", "", Unsaid}, {"", "", "", "", "FAILED", Unsaid},
		{"", "Denied", "", "", "", Blocked}, {"", "Allowed", "", "", "", Allowed}, {"", "", "", "BLOCK_WEBCAT_12-x", "TCP_MISS", Blocked},
		{"", "", "", "DEFAULT_CASE_12-x", "NONE", Allowed},
	} {
		check(c.filter+" "+c.verdict+" "+c.exception+" "+c.code,
			elffAct([]byte(c.filter), []byte(c.verdict), []byte(c.exception), []byte(c.acl), []byte(c.code)), c.want)
	}
	for word, want := range map[string]Action{"blocked": Blocked, "block": Blocked, "passthrough": Allowed, "exempted": Allowed, "monitor": Allowed,
		"warning": Blocked, "filtered": Unsaid, "": Unsaid} {
		check("fortigate "+word, fortigateAction([]byte(word)), want)
	}
	for word, want := range map[string]Action{"alert": Allowed, "allow": Allowed, "continue": Allowed, "override": Allowed, "block-url": Blocked,
		"block-continue": Blocked, "block-override": Blocked, "override-lockout": Blocked, "reset-both": Blocked, "deny": Blocked, "": Unsaid} {
		check("panw "+word, panAct([]byte(word)), want)
	}
	for mark, want := range map[string]Action{"": Allowed, "*DENIED* Banned": Blocked, "*EXCEPTION* *DENIED* x": Blocked, "*INFECTED* x": Blocked,
		"*SCANNED* ": Allowed, "a * b *c": Allowed} {
		got, _ := guardianAct([]byte(mark))
		check("dansguardian "+mark, got, want)
	}
}

func TestStamps(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, want string
		zone     *time.Location
	}{
		{"2026-11-20 09:15:01", "2026-11-20T09:15:01Z", nil}, {"2026-11-20 09:15:01", "2026-11-20T08:15:01Z", stockholm},
		{"2026-07-20T09:15:01.25", "2026-07-20T07:15:01.25Z", stockholm}, {"2026/11/20 09:15:01", "2026-11-20T09:15:01Z", time.UTC},
		{"2026-11-20T09:15:01.250+01:00", "2026-11-20T08:15:01.25Z", nil}, {"2026-11-20T09:15:01+0545", "2026-11-20T03:30:01Z", stockholm},
		{"2026.1.8 9:05:01", "2026-01-08T09:05:01Z", nil}, {"2026-11-20T09:15:01z", "2026-11-20T09:15:01Z", nil},
		{"2026-02-29 09:15:01", "", nil}, {"2026-11-20 24:00:00", "", nil}, {"1969-12-31 23:59:59", "", nil}, {"2026-11-20", "", nil}, {"2026-11-2009:15:01", "", nil},
	} {
		r := newStampReader(c.zone)
		for range 2 { // the second time from the cache
			ms, n, ok := r.stamp([]byte(c.in))
			got := ""
			if ok && n == len(c.in) {
				got = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
			}
			if got != c.want {
				t.Errorf("%s: %q, want %q", c.in, got, c.want)
			}
		}
	}
	for in, want := range map[string]int64{"1513640414": 1513640414000, "1513640414123": 1513640414123, "1513640414123456": 1513640414123,
		"1555958923322174610": 1555958923322, "0": 0, "-1": -1, "15559589233221746100": -1, "155595892332217461x": -1, "": -1} {
		ms, ok := unixTime([]byte(in))
		if !ok {
			ms = -1
		}
		if ms != want {
			t.Errorf("eventtime %q: %d, want %d", in, ms, want)
		}
	}
	for in, want := range map[string]string{"30/11/2026": "2026-11-30", "11/30/2026": "2026-11-30", "1/2/2026": "2026-02-01", "31/02/2026": "", "30.11.2026": "2026-11-30"} {
		days, n, ok := europeanDate([]byte(in))
		got := ""
		if ok && n == len(in) {
			got = time.Unix(days*86400, 0).UTC().Format(time.DateOnly)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestFieldCutter(t *testing.T) {
	var f fieldCutter
	cut := func(b string) string {
		var list []string
		for n := range f.n {
			list = append(list, string(f.field([]byte(b), n)))
		}
		return strings.Join(list, "|")
	}
	for in, want := range map[string]string{
		`a,b,,c`: "a|b||c", `"a","b,c", "d" ,e`: "a|b,c|d|e", `"a ""b"" c","d"`: `a ""b"" c|d`, `""`: "", `"",""`: "|",
		`"a",""<b"","c"`: `a|"<b"|c`, `"a,"b`: `a,"b`, `"never`: "never", `a,"b`: "a|b", ``: "",
	} {
		if f.csv([]byte(in), ','); cut(in) != want {
			t.Errorf("csv %s: %s, want %s", in, cut(in), want)
		}
	}
	for in, want := range map[string]string{
		`a  b	c`: "a|b|c", `a "b c" d`: "a|b c|d", `a "b ""c d"" e" f`: `a|b ""c d"" e|f`, `a "" b`: "a||b", `a "b`: `a|"b`, `"a"b c" d`: `a"b c|d`, ` `: "",
	} {
		if f.words([]byte(in)); cut(in) != want {
			t.Errorf("words %s: %s, want %s", in, cut(in), want)
		}
	}
	long := strings.Repeat("x,", 10*maxFields)
	if f.csv([]byte(long), ','); f.n != maxFields {
		t.Errorf("%d fields of a line with many", f.n)
	}
}

func TestPairScanner(t *testing.T) {
	for in, want := range map[string]string{
		`a=1 b="2 3" c= d=""`:              `a:1 b:2 3 c: d:`,
		`<1>x word "stray a=1`:             `a:1`,
		`a="x \"y\" z" b=2`:                `a:x \"y\" z b:2`,
		`a="x "y" z" b=2`:                  `a:x "y" z b:2`,
		`u="DOMAIN\" b=2`:                  `u:DOMAIN\ b:2`,
		`u="DOMAIN\\" b=2`:                 `u:DOMAIN\\ b:2`,
		`a=1,b="2,3",c=x,y`:                `a:1 b:2,3 c:x,y`,
		`a=b=c d`:                          `a:b=c`,
		`cs(User-Agent)="x (y) z" a=1`:     `cs(User-Agent):x (y) z a:1`,
		`a="never ends b=2`:                `a:never ends b=2`,
		`device_id= C0701 log="x" status=`: `device_id: log:x status:`,
	} {
		var list []string
		p := newPairScanner([]byte(in))
		for {
			key, value, _, ok := p.next()
			if !ok {
				break
			}
			list = append(list, string(key)+":"+string(value))
		}
		if got := strings.Join(list, " "); got != want {
			t.Errorf("%s\ngot:  %s\nwant: %s", in, got, want)
		}
	}
}

// TestBluecoatLayouts reads a row of every layout that is known by itself, also where nothing says which it is.
func TestBluecoatLayouts(t *testing.T) {
	value := map[string]string{
		"date": "2026-11-20", "time": "08:15:01", "time-taken": "48", "c-ip": "10.20.30.40", "sc-status": "200", "s-action": "TCP_NC_MISS", "sc-bytes": "1242",
		"cs-bytes": "969", "cs-method": "GET", "cs-uri-scheme": "https", "cs-host": "www.example.se", "cs-uri-port": "443", "cs-uri-path": "/a", "cs-uri-query": "?b",
		"cs-username": "anna.berg", "s-supplier-name": "www.example.se", "s-supplier-ip": "198.51.100.7", "rs(Content-Type)": "text/html", "cs(Referer)": "http://r.example/",
		"cs(User-Agent)": `"Mozilla/5.0 (X11; a)"`, "sc-filter-result": "OBSERVED", "cs-categories": `"News/Media;x"`, "s-ip": "192.0.2.1", "s-hierarchy": "DIRECT",
		"cs-uri-extension": "html", "s-supplier-country": `"Sweden"`,
	}
	for _, l := range elffLayouts() {
		var row []string
		for _, column := range l.columns {
			v := value[column]
			if v == "" {
				v = "-"
			}
			row = append(row, v)
		}
		for _, o := range []Options{{Format: "bluecoat_w3c"}, {Format: "bluecoat_w3c", Layout: l.name}, {Format: "bluecoat_w3c", Columns: l.columns}} {
			for _, line := range []string{strings.Join(row, " "), strings.Join(row, "  ") + "\r\n", strings.Join(row, "\t"), strings.Join(row, " ") + " 1 2 \"x y\""} {
				got := readLine(t, o, line)
				for _, want := range []string{"source.ip: 10.20.30.40", `user.name: "anna.berg"`, `url.domain: "www.example.se"`, "status_code: 200", "action: allowed",
					"destination.bytes: 1242", "source.bytes: 969", "event.duration: 48ms", `user_agent.original: "Mozilla/5.0 (X11; a)"`} {
					if !strings.Contains(got, want) {
						t.Errorf("%s by %q %v: %q lacks %s", line, o.Layout, len(o.Columns), got, want)
					}
				}
			}
		}
	}
}

// TestNoOneButPeople sees that words for nobody are no user, in each format's own line.
func TestNoOneButPeople(t *testing.T) {
	for format, line := range map[string]string{
		"bluecoat_w3c":       `2026-11-20 08:15:01 48 0.0.0.0 200 TCP_NC_MISS 1 2 GET https a.example 443 / - @ - - a.example - - - OBSERVED - - 192.0.2.1`,
		"fortigate_kv":       `date=2026-11-20 time=09:15:01 type=utm subtype=webfilter user="@" hostname="a.example" action=passthrough`,
		"umbrella_proxy_csv": `"2026-11-20 08:15:02","@","","192.0.2.1","","","ALLOWED","http://a.example/"`,
		"cisco_wsa":          `1795162502.001 35 10.20.30.41 TCP_MISS/200 1481 GET https://a.example/ "@" DIRECT/a.example text/html DEFAULT_CASE_12-x <a> -`,
		"sophos_xg_kv":       `date=2026-11-20 time=09:15:02 log_type="Content Filtering" log_component="HTTP" log_subtype="Denied" user_name="@" url="https://a.example/"`,
		"sophos_swa_kv":      `h=10.20.30.40 u="@" s=200 t=1795162501 act=1 req="GET http://a.example/ HTTP/1.1"`,
		"forcepoint_web_csv": `"20/11/2026","09:15:02","@","","","Blocked","","","a.example","","","","","","","403","Connect"`,
		"squidguard":         `2026-11-20 09:15:01 [1] Request(a/b/-) http://a.example/ 10.20.30.40/- @ GET REDIRECT`,
		"dansguardian":       `2026.11.20 9:15:01 @ 10.20.30.40 http://a.example/  GET 1632 0  1 200 text/html   -`,
	} {
		for _, nobody := range []string{"-", "anonymous", "N/A", "unknown", "None"} {
			if got := readLine(t, Options{Format: format}, strings.Replace(line, "@", nobody, 1)); !strings.Contains(got, "a.example") || strings.Contains(got, "user.name") {
				t.Errorf("%s with %q: %s", format, nobody, got)
			}
		}
		if got := readLine(t, Options{Format: format}, strings.Replace(line, "@", "anna", 1)); !strings.Contains(got, `user.name: "anna"`) {
			t.Errorf("%s: %s", format, got)
		}
	}
}

// TestHostileWebLines makes lines that a careless reader would look at a number of times that grows with their length.
func TestHostileWebLines(t *testing.T) {
	begin := map[string]string{
		"bluecoat_w3c": "2026-11-20 08:15:01 ", "bluecoat_kv": "c-ip=10.1.1.1 cs-host=a ", "fortigate_kv": "type=utm subtype=webfilter ",
		"panw_threat_url": "1,2026/11/20 09:15:03,0128,THREAT,url,", "umbrella_proxy_csv": `"2026-11-20 08:15:02",`, "cisco_wsa": "1795162502.001 35 10.20.30.41 TCP_MISS/200 1 GET a ",
		"sophos_xg_kv": `log_type="Content Filtering" url=`, "sophos_swa_kv": "t=1 req=", "forcepoint_web_csv": `"20/11/2026","09:15:02",`,
		"squidguard": "2026-11-20 09:15:01 [1] Request(a/b/-) ", "dansguardian": "2026.11.20 9:15:01 ", "zeek_http_tsv": "1795162501.284420\t",
		"squid_extended": "1795162502.001 35 10.20.30.41 TCP_MISS/200 1 GET a - HIER_NONE/- - ",
	}
	for format, head := range begin {
		for _, part := range []string{`" `, `\"`, `\" `, `\`, `a=" `, `a="`, `*A`, `"a `, `,"`, "\t\"", `x=y `, `""`, `, "`, `"",`, ` `, `a/b `, `<`, `10.1.1.1 `, "GET 1 ", `:`, `%`, `|=`} {
			line := []byte(head + strings.Repeat(part, (MaxLine-len(head))/len(part)))
			p := mustNew(t, Options{Format: format})
			start := processorTime(t)
			p.Parse(line, func(*Event) {}, func(Reject) {})
			if took := processorTime(t) - start; took > time.Second {
				t.Errorf("%s with %q: %s", format, part, took)
			}
		}
	}
}

// TestWebParsersForget sees that the parsers keep nothing of a record after reading it.
func TestWebParsersForget(t *testing.T) {
	for _, path := range samples(t) {
		record, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := mustNew(t, sampleOptions(t, path)).(*lineParser)
		if !ok {
			continue
		}
		p.Parse(record, func(*Event) {}, func(Reject) {})
		if p.event.User != nil || p.event.Domain != nil || p.event.SourceIP.IsValid() {
			t.Errorf("%s: the event of the last line is still there", path)
		}
		for _, b := range p.scratch.buf[:cap(p.scratch.buf)] {
			if b != 0 {
				t.Errorf("%s: a text is still in the scratch memory", path)
				break
			}
		}
	}
}
