package parse

import (
	"bytes"
	"fmt"
	"testing"
)

func BenchmarkExchange2019(b *testing.B) { benchmarkSample(b, "exchange_msgtrk_csv/2019") }

func BenchmarkExchange2007(b *testing.B) { benchmarkSample(b, "exchange_msgtrk_csv/2007") }

func BenchmarkExchange2003(b *testing.B) { benchmarkSample(b, "exchange2003_msgtrk_tsv/2003") }

// postfixDay is the log of n messages, open of them in the queue at a time.
func postfixDay(n, open int) (lines [][]byte) {
	steps := []string{
		"smtpd[10]: %[2]s: client=mail.sender.example[192.0.2.25]",
		"cleanup[11]: %[2]s: message-id=<20261009064100.%[3]d@sender.example>",
		"qmgr[12]: %[2]s: from=<kund%[3]d@sender.example>, size=5360, nrcpt=2 (queue active)",
		"smtp[21]: %[2]s: to=<anna%[3]d@council.example>, relay=mbx.council.example[192.0.2.7]:25, delay=2, delays=0.1/0/0/1.9, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9F%[3]X)",
		"smtp[21]: %[2]s: to=<bo%[3]d@council.example>, relay=mbx.council.example[192.0.2.7]:25, delay=2, delays=0.1/0/0/1.9, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9F%[3]X)",
		"qmgr[12]: %[2]s: removed",
	}
	for first := 0; first < n; first += open {
		for _, step := range steps {
			for i := first; i < min(first+open, n); i++ {
				lines = append(lines, fmt.Appendf(nil, "<22>Oct  9 08:41:%02d mx1 postfix/"+step, i%60, fmt.Sprintf("1A2B%06X", i), i))
			}
		}
	}
	return lines
}

// BenchmarkPostfixJoined reads the log of messages of six lines each, a hundred of them in the queue at a time.
func BenchmarkPostfixJoined(b *testing.B) {
	lines := postfixDay(10_000, 100)
	p := mustNew(b, Options{Format: "postfix_syslog", Now: sampleClock})
	event, reject := func(*Event) {}, func(Reject) { b.Error("a reject") }
	size := 0
	for _, line := range lines {
		size += len(line) + 1
	}
	b.SetBytes(int64(size / len(lines)))
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	for i := range b.N {
		p.Parse(lines[i%len(lines)], event, reject)
	}
	b.ReportMetric(float64(b.N)/(processorTime(b)-start).Seconds(), "lines/core-s")
}

// TestPostfixAllocations sees that reading allocates for each message, its place among those that are held, and not for each
// line.
func TestPostfixAllocations(t *testing.T) {
	const messages, open = 1000, 50
	record := bytes.Join(postfixDay(messages, open), []byte("\n"))
	p := mustNew(t, Options{Format: "postfix_syslog", Now: sampleClock})
	event, reject := func(*Event) {}, func(Reject) { t.Error("a reject") }
	p.Parse(record, event, reject)
	if n := testing.AllocsPerRun(10, func() { p.Parse(record, event, reject) }); n > 6*messages {
		t.Errorf("%v allocations for %d messages of six lines", n, messages)
	}
	if joins, _ := JoinsOf(p); joins.Open != 0 || joins.Joined != 12*2*messages || joins.Evicted != 0 || joins.Unjoined != 0 {
		t.Errorf("%+v", joins)
	}
}
