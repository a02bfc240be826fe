package parse

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// keepsWebPromises reads a record and fails unless no line is answered for twice (but for a header that a row proves wrong),
// every text of an event is a part of the record or of the parser's scratch, and a reject holds nothing but names of this
// package.
func keepsWebPromises(t *testing.T, p *lineParser, record []byte) {
	t.Helper()
	fields := []string{"", "#Fields", "event.code", "event.count", "url.query"}
	for s := range slots {
		fields = append(fields, s.field())
	}
	answered, events := 0, 0
	original := bytes.Clone(record)
	p.Parse(record, func(e *Event) {
		answered++
		events++
		for _, text := range [][]byte{e.User, e.Method, e.Scheme, e.Domain, e.Path, e.Query, e.Referrer, e.UserAgent, e.MIME, e.Code} {
			if !belongs(p, record, text) {
				t.Errorf("%q is neither of the record nor of the scratch", text)
			}
		}
		switch {
		case e.Domain != nil && (len(e.Domain) == 0 || bytes.ContainsAny(e.Domain, "/@?#")):
			t.Errorf("url.domain %q", e.Domain)
		case e.Domain == nil && !e.DestinationIP.IsValid():
			t.Error("an event without destination")
		case e.Time < 0 || e.Time > lastSecond*1000+999:
			t.Errorf("time %d", e.Time)
		case e.DestinationBytes < -1 || e.SourceBytes < -1 || e.Duration < -1 || e.Status < -1 || e.Status > 999 || e.Port < -1 || e.Port > 65535 ||
			e.SourcePort < -1 || e.SourcePort > 65535:
			t.Errorf("a number out of range: %s", dump(e))
		case e.Kind != Web || e.Count < 1:
			t.Errorf("kind %d, count %d", e.Kind, e.Count)
		case e.User != nil && absent(e.User):
			t.Errorf("user.name %q", e.User)
		}
	}, func(r Reject) {
		if r.Reason != ContradictoryHeader {
			answered++
		}
		if r.Reason == skip || !slices.Contains(Reasons(), r.Reason) || !slices.Contains(fields, r.Field) || r.Line < 1 {
			t.Errorf("reject %+v", r)
		}
	})
	if lines := bytes.Count(record, []byte("\n")) + 1; answered > lines && !bytes.ContainsAny(record, "{[\x00") {
		t.Errorf("%d lines, %d answers", lines, answered)
	}
	if !bytes.Equal(record, original) {
		t.Error("the record was changed")
	}
}

func fuzzWeb(f *testing.F, o Options) {
	addSamples(f, o.Format)
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		p := mustNew(t, o).(*lineParser)
		keepsWebPromises(t, p, record)
		// a parser that has seen anything reads the next record as well
		keepsWebPromises(t, p, record)
		Origins(p)
	})
}

func FuzzBluecoatW3C(f *testing.F) { fuzzWeb(f, Options{Format: "bluecoat_w3c"}) }

func FuzzBluecoatW3CLayout(f *testing.F) { fuzzWeb(f, Options{Format: "bluecoat_w3c", Layout: "main"}) }

func FuzzBluecoatW3CReporter(f *testing.F) {
	fuzzWeb(f, Options{Format: "bluecoat_w3c", Layout: "bcreportermain_v1"})
}

func FuzzBluecoatKV(f *testing.F) { fuzzWeb(f, Options{Format: "bluecoat_kv"}) }

func FuzzFortigateKV(f *testing.F) { fuzzWeb(f, Options{Format: "fortigate_kv"}) }

func FuzzPanwThreatURL(f *testing.F) { fuzzWeb(f, Options{Format: "panw_threat_url"}) }

func FuzzUmbrellaProxyCSV(f *testing.F) { fuzzWeb(f, Options{Format: "umbrella_proxy_csv"}) }

func FuzzCiscoWSA(f *testing.F) { fuzzWeb(f, Options{Format: "cisco_wsa"}) }

func FuzzSophosXGKV(f *testing.F) { fuzzWeb(f, Options{Format: "sophos_xg_kv"}) }

func FuzzSophosSWAKV(f *testing.F) { fuzzWeb(f, Options{Format: "sophos_swa_kv"}) }

func FuzzForcepointWebCSV(f *testing.F) { fuzzWeb(f, Options{Format: "forcepoint_web_csv"}) }

func FuzzSquidGuard(f *testing.F) { fuzzWeb(f, Options{Format: "squidguard"}) }

func FuzzDansGuardian(f *testing.F) { fuzzWeb(f, Options{Format: "dansguardian"}) }

func FuzzZeekHTTP(f *testing.F) { fuzzWeb(f, Options{Format: "zeek_http_tsv"}) }

func FuzzSquidExtended(f *testing.F) { fuzzWeb(f, Options{Format: "squid_extended"}) }
