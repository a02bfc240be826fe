package parse

import (
	"bytes"
	"slices"
	"testing"
)

// keepsMailPromises reads a record with two parsers made alike, and fails unless they agree, every answer is one that a mail
// format can give, and nothing of the record is left behind.
func keepsMailPromises(t *testing.T, o Options, record []byte) {
	t.Helper()
	o.Now = sampleClock
	reasons, original := Reasons(), bytes.Clone(record)
	p := mustNew(t, o).(*lineParser)
	fields := []string{""}
	for _, origin := range Origins(p) {
		fields = append(fields, origin.Field)
	}
	for range 2 { // a parser that has seen anything reads the next record as well
		p.Parse(record, func(e *Event) {
			switch {
			case e.Kind != Mail || e.Count > 1 || e.Trace && e.Count > 0:
				t.Errorf("kind %d, count %d, trace %v", e.Kind, e.Count, e.Trace)
			case e.Time < 0 || e.Time > lastSecond*1000+999:
				t.Errorf("time %d", e.Time)
			case e.SourceBytes < -1:
				t.Errorf("size %d", e.SourceBytes)
			case !slices.Contains([]string{"success", "failure", "unknown"}, string(e.Outcome)):
				t.Errorf("outcome %q", e.Outcome)
			case !slices.Contains([]string{"", "inbound", "outbound", "internal"}, string(e.Direction)):
				t.Errorf("direction %q", e.Direction)
			case e.MessageID != nil && len(e.MessageID) == 0:
				t.Error("an empty message-id is not absent")
			case e.Method != nil || e.Domain != nil || e.Path != nil:
				t.Errorf("a request: %s", dump(e))
			}
			for _, to := range e.To {
				if len(to) == 0 {
					t.Error("an empty recipient")
				}
			}
		}, func(r Reject) {
			if !slices.Contains(reasons, r.Reason) || !slices.Contains(fields, r.Field) || r.Line < 1 {
				t.Errorf("reject %+v", r)
			}
		})
		if !bytes.Equal(record, original) {
			t.Fatal("the record was changed")
		}
		if p.event.From != nil || p.event.Subject != nil || p.event.MessageID != nil || len(p.event.To) > 0 || p.event.User != nil {
			t.Error("the last event is still there")
		}
		if len(bytes.Trim(p.scratch.buf[:cap(p.scratch.buf)], "\x00")) > 0 {
			t.Error("the scratch memory is not clear")
		}
	}
	if known, ok := p.format.(*postfix); ok {
		j := &known.joins
		if j.held.Len() > max(o.OpenMessages, 1) && o.OpenMessages > 0 {
			t.Errorf("%d messages are held, of %d", j.held.Len(), o.OpenMessages)
		}
		j.held.Purge()
		for _, m := range j.free {
			if len(bytes.Trim(m.text[:cap(m.text)], "\x00")) > 0 || m.client.IsValid() {
				t.Error("a message that was dropped is still in memory")
			}
		}
	}
	if first, second := readAll(mustNew(t, o), record), readAll(mustNew(t, o), record); first != second {
		t.Errorf("two readings differ:\n%s\n%s", first, second)
	}
}

func fuzzMail(f *testing.F, o Options) {
	addSamples(f, o.Format)
	f.Fuzz(func(t *testing.T, record []byte) { keepsMailPromises(t, o, record) })
}

func FuzzExchange(f *testing.F) { fuzzMail(f, Options{Format: "exchange_msgtrk_csv"}) }

func FuzzExchangeLayout(f *testing.F) {
	fuzzMail(f, Options{Format: "exchange_msgtrk_csv", Layout: "2013", InternalDomains: []string{"council.example"}})
}

func FuzzExchange2003(f *testing.F) {
	fuzzMail(f, Options{Format: "exchange2003_msgtrk_tsv", InternalDomains: []string{"council.example"}})
}

func FuzzPostfix(f *testing.F) {
	fuzzMail(f, Options{Format: "postfix_syslog", OpenMessages: 3, InternalDomains: []string{"council.example"}})
}

func FuzzDecodedWords(f *testing.F) {
	for _, s := range []string{"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?Q?_=E2=80=92?= test", "=?iso-8859-1?B?5eT2?=", "=?", "=?a?b?c?="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s scratch
		s.reset(len(b))
		if got := s.decodedWords(b); len(got) > 2*len(b) {
			t.Errorf("%d bytes of %d", len(got), len(b))
		}
	})
}
