package parse

import (
	"os"
	"strings"
	"testing"
)

// benchmarkSample reads the events of a sample of testdata in a circle.
func benchmarkSample(b *testing.B, path string) {
	record, err := os.ReadFile("testdata/" + path + ".log")
	if err != nil {
		b.Fatal(err)
	}
	o := sampleOptions(b, "testdata/"+path+".log")
	p := mustNew(b, o)
	var lines []string
	for _, line := range strings.SplitAfter(string(record), "\n") {
		good := false
		if p.Parse([]byte(line), func(*Event) { good = true }, func(Reject) {}); good {
			lines = append(lines, line)
		}
	}
	benchmarkLines(b, o, lines)
}

func BenchmarkBluecoatW3C(b *testing.B) { benchmarkSample(b, "bluecoat_w3c/main") }

func BenchmarkBluecoatW3CReporter(b *testing.B) { benchmarkSample(b, "bluecoat_w3c/reporter") }

func BenchmarkBluecoatKV(b *testing.B) { benchmarkSample(b, "bluecoat_kv/splv5") }

func BenchmarkFortigateKV(b *testing.B) { benchmarkSample(b, "fortigate_kv/webfilter") }

func BenchmarkPanwThreatURL(b *testing.B) { benchmarkSample(b, "panw_threat_url/url") }

func BenchmarkUmbrellaProxyCSV(b *testing.B) { benchmarkSample(b, "umbrella_proxy_csv/proxylogs") }

func BenchmarkCiscoWSA(b *testing.B) { benchmarkSample(b, "cisco_wsa/accesslogs") }

func BenchmarkSophosXGKV(b *testing.B) { benchmarkSample(b, "sophos_xg_kv/webfilter") }

func BenchmarkSophosSWAKV(b *testing.B) { benchmarkSample(b, "sophos_swa_kv/sophos_log") }

func BenchmarkForcepointWebCSV(b *testing.B) { benchmarkSample(b, "forcepoint_web_csv/export") }

func BenchmarkSquidGuard(b *testing.B) { benchmarkSample(b, "squidguard/requests") }

func BenchmarkDansGuardian(b *testing.B) { benchmarkSample(b, "dansguardian/words") }

func BenchmarkZeekHTTP(b *testing.B) { benchmarkSample(b, "zeek_http_tsv/headerless") }

func BenchmarkSquidExtended(b *testing.B) { benchmarkSample(b, "squid_extended/native") }
