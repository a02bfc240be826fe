package parse

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// benchmarkLines reads lines in a circle and reports lines a second on one core.
func benchmarkLines(b *testing.B, o Options, lines []string) {
	p := mustNew(b, o)
	// enough different lines that the processor can't learn them by heart
	var records [][]byte
	size := 0
	for len(records) < 4096 {
		line := []byte(lines[len(records)%len(lines)])
		if at := bytes.Index(line, []byte("@@@@")); at >= 0 {
			copy(line[at:], fmt.Sprintf("%04d", len(records)))
		}
		records, size = append(records, line), size+len(line)+1
	}
	bad := 0
	event, reject := func(*Event) {}, func(Reject) { bad++ }
	b.SetBytes(int64(size / len(records)))
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	for i := range b.N {
		p.Parse(records[i&4095], event, reject)
	}
	// by processor time, so that the figure holds on a machine that does other things too
	b.ReportMetric(float64(b.N)/(processorTime(b)-start).Seconds(), "lines/core-s")
	if bad > 0 {
		b.Fatalf("%d rejects", bad)
	}
}

// processorTime answers the user and system time that this process has used.
func processorTime(b testing.TB) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func nativeLines() []string {
	return []string{
		"176000@@@@.012    184 10.20.30.40 TCP_MISS/200 18342 GET http://www.example.se/nyheter/lokalt/artikel.html?sida=2 anna.berg HIER_DIRECT/192.0.2.10 text/html",
		"176000@@@@.500  61234 10.20.131.41 TCP_TUNNEL/200 90211 CONNECT intranet.example.se:443 bertil HIER_DIRECT/192.0.2.15 -",
		"176000@@@@.999      0 10.20.30.142 TCP_DENIED/407 4012 CONNECT casino.example:443 - HIER_NONE/- text/html",
		"176000@@@@.100      0 2001:db8::43 TCP_MEM_HIT/200 512 GET http://static.example.org/a/b/c/logo.png cecilia@EXAMPLE.SE HIER_NONE/- image/png",
		"176000@@@@.750   1290 10.20.30.44 TCP_TUNNEL/200 4537 CONNECT versioncheck.addons.example.org:443 EXAMPLE%5cdavid HIER_DIRECT/2001:db8:1:2::3 -",
	}
}

func combinedLines() []string {
	return []string{
		`10.20.30.40 - anna.berg [09/Oct/2026:11:46:40 +0200] "GET http://www.example.se/nyheter/@@@@.html?sida=2 HTTP/1.1" 200 18342 "http://www.example.se/" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36" TCP_MISS:HIER_DIRECT`,
		`10.20.131.41 - bertil [09/Oct/2026:11:46:41 +0200] "CONNECT intranet@@@@.example.se:443 HTTP/1.1" 200 90211 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)" TCP_TUNNEL:HIER_DIRECT`,
		`10.20.30.142 - - [09/Oct/2026:11:46:42 +0200] "CONNECT casino@@@@.example:443 HTTP/1.1" 407 4012 "-" "-" TCP_DENIED:HIER_NONE`,
	}
}

func behindSyslog(lines []string) []string {
	var list []string
	for _, line := range lines {
		list = append(list, "<182>Oct  9 11:46:40 proxy1 squid[3250]: "+line)
	}
	return list
}

func BenchmarkSquidNative(b *testing.B) {
	benchmarkLines(b, Options{Format: "squid_native"}, nativeLines())
}

func BenchmarkSquidSyslog(b *testing.B) {
	benchmarkLines(b, Options{Format: "squid_syslog"}, behindSyslog(nativeLines()))
}

func BenchmarkSquidCombined(b *testing.B) {
	benchmarkLines(b, Options{Format: "squid_combined"}, combinedLines())
}

func BenchmarkSquidLogformatNative(b *testing.B) {
	benchmarkLines(b, Options{Format: "squid_logformat", Logformat: nativeSpec}, nativeLines())
}

func BenchmarkSquidLogformatCombined(b *testing.B) {
	benchmarkLines(b, Options{
		Format: "squid_logformat", Zone: time.UTC,
		Logformat: `%>a %[ui %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st "%{Referer}>h" "%{User-Agent}>h" %Ss:%Sh`,
	}, combinedLines())
}
