package parse

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// belongs says whether every byte of text is memory of the record or of the parser.
func belongs(p *lineParser, record, text []byte) bool {
	all := [][]byte{record, p.scratch.buf[:cap(p.scratch.buf)], p.wide[:cap(p.wide)]}
	for v := p.envelope; v != nil; v = v.inner {
		all = append(all, v.texts[:cap(v.texts)])
	}
	return slices.ContainsFunc(all, func(memory []byte) bool { return within(memory, text) })
}

// belongsJSON is belongs for a parser of documents.
func belongsJSON(p *jsonParser, record, text []byte) bool {
	all := [][]byte{record}
	for ; p != nil; p = p.inner {
		all = append(all, p.scratch.buf[:cap(p.scratch.buf)], p.wide[:cap(p.wide)], p.opened[:cap(p.opened)])
	}
	return slices.ContainsFunc(all, func(memory []byte) bool { return within(memory, text) })
}

// keepsDocumentPromises reads a record and fails unless every text of an event is a part of the record or of the parser, a
// reject holds nothing but names of this package, and nothing of the record stays in the parser.
func keepsDocumentPromises(t *testing.T, p Parser, record []byte) {
	t.Helper()
	words := []string{"inbound", "outbound", "internal", "success", "failure", "unknown"}
	fields := []string{
		"", "@timestamp", "source.ip", "source.port", "source.bytes", "destination.ip", "destination.bytes", "url.domain", "url.port", "event.duration",
		"event.count", "http.response.status_code", "email.message_id", "email.to.address", "#Fields",
	}
	for s := range slots {
		fields = append(fields, s.field())
	}
	original := bytes.Clone(record)
	p.Parse(record, func(e *Event) {
		texts := append([][]byte{
			e.User, e.Method, e.Scheme, e.Domain, e.Path, e.Query, e.Referrer, e.UserAgent, e.MIME, e.Code, e.MessageID, e.From, e.Subject, e.Direction,
			e.Outcome, e.QueueID, e.NetworkID,
		}, e.To...)
		for _, text := range texts {
			own := slices.Contains(words, string(text))
			switch p := p.(type) {
			case *jsonParser:
				own = own || belongsJSON(p, record, text)
			case *lineParser:
				own = own || belongs(p, record, text)
			}
			if !own {
				t.Errorf("%q is neither of the record nor of the parser", text)
			}
		}
		switch {
		case e.Time < 0 || e.Time > lastSecond*1000+999:
			t.Errorf("time %d", e.Time)
		case e.DestinationBytes < -1 || e.SourceBytes < -1 || e.Duration < -1 || e.Status < -1 || e.Status > 999 || e.Port < -1 || e.Port > 65535 ||
			e.SourcePort < -1 || e.SourcePort > 65535:
			t.Errorf("a number out of range: %s", dump(e))
		case e.Kind == Web && e.Domain == nil && !e.DestinationIP.IsValid():
			t.Error("a request to nowhere")
		case e.Kind == Web && e.Domain != nil && (len(e.Domain) == 0 || bytes.ContainsAny(e.Domain, "/@?#")):
			t.Errorf("url.domain %q", e.Domain)
		case e.Kind == Mail && e.MessageID == nil && e.NetworkID == nil && e.From == nil && len(e.To) == 0 && e.Code == nil:
			t.Error("a mail of nothing")
		case e.Kind != Web && e.Kind != Mail:
			t.Errorf("kind %d", e.Kind)
		case e.User != nil && len(e.User) == 0:
			t.Error("an empty user")
		}
	}, func(r Reject) {
		if r.Reason == skip || !slices.Contains(Reasons(), r.Reason) || !slices.Contains(fields, r.Field) || r.Line < 1 || r.Line > bytes.Count(record, []byte("\n"))+1 {
			t.Errorf("reject %+v", r)
		}
	})
	if !bytes.Equal(record, original) {
		t.Error("the record was changed")
	}
	if p, ok := p.(*jsonParser); ok {
		for ; p != nil; p = p.inner {
			for name, memory := range map[string][]byte{
				"scratch": p.scratch.buf[:cap(p.scratch.buf)], "opened": p.opened[:cap(p.opened)], "wide": p.wide[:cap(p.wide)], "path": p.walker.path[:cap(p.walker.path)],
			} {
				if len(bytes.Trim(memory, "\x00")) > 0 {
					t.Errorf("something of the record stays in %s: %q", name, memory)
				}
			}
			if p.record != nil || p.walker.base != nil || len(p.walker.object.many) > 0 || p.event.User != nil || p.event.From != nil {
				t.Error("the parser holds on to the record")
			}
		}
	}
}

func fuzzDocuments(f *testing.F, o Options) {
	addSamples(f, o.Format)
	for _, text := range []string{
		`{"message":"{\"a\":1}"}`, `{"records":["x",{"records":[]}]}`, "[[[{}]]]", "{\"a\":\n{\"a\":\n{\"a\":\n", `{"event":{"original":"{}"}}`, "\x00a\x00b\x00\n",
		`{"subject":"\ud83d\ude00\ud83d\u0041"}`, `{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}}`,
	} {
		f.Add([]byte(text))
	}
	o.InternalDomains = []string{"example.se"}
	f.Fuzz(func(t *testing.T, record []byte) {
		p := mustNew(t, o)
		keepsDocumentPromises(t, p, record)
		// a parser that has seen anything reads the next record as well
		keepsDocumentPromises(t, p, record)
		Origins(p)
	})
}

func FuzzZscalerNSSJSON(f *testing.F) { fuzzDocuments(f, Options{Format: "zscaler_nss_json"}) }

func FuzzZscalerNSSText(f *testing.F) { fuzzDocuments(f, Options{Format: "zscaler_nss_text"}) }

func FuzzZscalerNSSTemplate(f *testing.F) {
	for _, path := range samples(f) {
		if o := sampleOptions(f, path); o.Format == "zscaler_nss_text" && o.Logformat != "" {
			record, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(o.Logformat, record)
		}
	}
	f.Fuzz(func(t *testing.T, template string, record []byte) {
		p, err := New(Options{Format: "zscaler_nss_text", Logformat: template, Zone: time.UTC})
		if err != nil {
			if strings.Contains(err.Error(), "runtime error") {
				t.Error(err)
			}
			return
		}
		keepsDocumentPromises(t, p, record)
		Origins(p)
	})
}

func FuzzEntraGSAJSON(f *testing.F) { fuzzDocuments(f, Options{Format: "entra_gsa_json"}) }

func FuzzVMwareCWSJSON(f *testing.F) { fuzzDocuments(f, Options{Format: "vmware_cws_json"}) }

func FuzzNDJSON(f *testing.F) { fuzzDocuments(f, Options{Format: "ndjson"}) }

func FuzzRspamdJSON(f *testing.F) { fuzzDocuments(f, Options{Format: "rspamd_json"}) }

func FuzzM365MessageTraceJSON(f *testing.F) {
	fuzzDocuments(f, Options{Format: "m365_message_trace_json"})
}

func FuzzM365MessageTraceCSV(f *testing.F) {
	fuzzDocuments(f, Options{Format: "m365_message_trace_csv"})
}

// FuzzJSONGrammar holds that what is read as a JSON object is one, and the other way round, by jsontext's word.
func FuzzJSONGrammar(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":1,"b":[{"c":"\u00e5\\"},-0.5e+3,true,null,[]],"records":[{"a":{}},"x"]} x`, `{"a":01}`, `{"a":-}`, `{"a":truer}`, `{"a" "b"}`, `{"a":1,}`,
		"{\"a\":\"\t\"}", `{"a":"\x"}`, `{"records":[1,]}`, `{"many":[1 2]}`, `{,}`, `{"a":[}]}`, `{"through":{"a.b":{"a":"`, `{"a":"12345678\""}`, "{\"a\":\"1234567\x1f\"}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 || text[0] != '{' {
			return
		}
		w := newJSONWalker(jsonSchema{
			slots: map[string]jsonSlot{"a": 0, "b.c": 1, "many": 2}, lists: map[string]bool{"records": true}, through: map[string]bool{"through": true},
		})
		n, err := w.next(text, func(int, int) {}, func(int, jsonValue) {})
		d := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(text)), w.options...)
		v, fault := d.ReadValue()
		if (err == nil) != (fault == nil) || err == nil && n != len(v) {
			t.Errorf("%q: %d bytes, %v; by jsontext %d, %v", text, n, err, len(v), fault)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	line := `1791534082.000 1 10.0.0.1 TCP_MISS/200 1 GET http://a.example/ anna HIER_DIRECT/192.0.2.1 text/html`
	for _, record := range []string{
		`{"message":"` + line + `"}`, `[{"log":"` + line + `\n` + line + `"}]`, `{"records":["` + line + `",{"message":"x"},7]}`, `{"message":"{\"log\":\"` + line + `\"}"}`,
	} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		p := mustNew(t, Options{Format: "squid_native"}).(*lineParser)
		keepsDocumentPromises(t, p, record)
		for v := p.envelope; v != nil; v = v.inner {
			if len(bytes.Trim(v.texts[:cap(v.texts)], "\x00")) > 0 {
				t.Errorf("something of the record stays in the envelope: %q", v.texts[:cap(v.texts)])
			}
		}
	})
}

// FuzzRecords cuts a file whole, and after a part of it was there: nothing is left out but what follows the last document, and
// what was cut before is found again.
func FuzzRecords(f *testing.F) {
	for _, text := range []string{"a\nb", "{\n\"a\":1\n}\n", "[{\n}]", "\xff\xfea\x00\n\x00", "{\n{\n", "[\n{},\n{}\n]\n", `[{"a":"}"},{}]`, "{}\n{}"} {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, part int) {
		if _, wide := fromUTF16(nil, text); wide {
			part = 0
		}
		next, all := 1, []byte(nil)
		if err := Records(bytes.NewReader(text), func(line int, record []byte) error {
			if line != next || len(record) == 0 {
				t.Errorf("record of %d bytes at line %d, want %d", len(record), line, next)
			}
			next += bytes.Count(record, []byte("\n"))
			all = append(all, record...)
			return nil
		}); err != nil {
			t.Error(err)
		}
		if part <= 0 || part > len(text) {
			return
		}
		if rest, ok := bytes.CutPrefix(text, all); !ok || len(bytes.Trim(rest, betweenDocuments)) > 0 {
			t.Errorf("%q became %q", text, all)
		}
		all = all[:0]
		for end, age := range []int{part, len(text)} {
			c := NewCutter(bytes.NewReader(text[:age]))
			if n, err := c.Skip(int64(len(all))); n != int64(len(all)) || err != nil {
				t.Fatalf("%q, of which were there %q: skipped %d of %d, %v", text, text[:part], n, len(all), err)
			}
			for {
				record, cut, err := c.Next(nil)
				if err != nil {
					t.Fatal(err)
				}
				if cut.Size == 0 || end == 0 && !cut.Whole {
					break
				}
				if all = append(all, record...); cut.Last {
					break
				}
			}
		}
		if rest, ok := bytes.CutPrefix(text, all); !ok || len(bytes.Trim(rest, betweenDocuments)) > 0 {
			t.Errorf("%q, of which were there %q, became %q", text, text[:part], all)
		}
	})
}

func FuzzDetect(f *testing.F) {
	addSamples(f, "squid_native")
	f.Fuzz(func(t *testing.T, text []byte) {
		best, err := Choose(Detect(bytes.SplitAfter(text, []byte("\n"))))
		if err == nil && (best.Share < DetectShare || best.Share > 1 || best.Format == "") {
			t.Errorf("%+v", best)
		}
	})
}
