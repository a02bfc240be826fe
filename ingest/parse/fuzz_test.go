package parse

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func addSamples(f *testing.F, format string) {
	f.Helper()
	for _, path := range samples(f) {
		record, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if sampleOptions(f, path).Format == format {
			for _, line := range bytes.Split(record, []byte("\n")) {
				f.Add(line)
			}
		}
		f.Add(record)
	}
}

// within says whether every byte of part is memory of whole.
func within(whole, part []byte) bool {
	if len(part) == 0 {
		return true
	}
	if len(whole) == 0 {
		return false
	}
	begin, at := uintptr(unsafe.Pointer(unsafe.SliceData(whole))), uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	return at >= begin && at+uintptr(len(part)) <= begin+uintptr(len(whole))
}

// keepsPromises reads a record and fails unless every line is answered for once, every text of an event is a part of the
// record or of the parser's scratch, and a reject holds nothing but names of this package.
func keepsPromises(t *testing.T, p *lineParser, record []byte) {
	t.Helper()
	reasons := Reasons()
	fields := []string{""}
	for s := range slots {
		fields = append(fields, s.field())
	}
	answered := 0
	original := bytes.Clone(record)
	p.Parse(record, func(e *Event) {
		answered++
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
		case e.DestinationBytes < -1 || e.SourceBytes < -1 || e.Duration < -1 || e.Status < -1 || e.Status > 999 || e.Port < -1 || e.Port > 65535:
			t.Errorf("a number out of range: %s", dump(e))
		case e.Kind != Web || e.Count != 1:
			t.Errorf("kind %d, count %d", e.Kind, e.Count)
		}
	}, func(r Reject) {
		if answered++; !slices.Contains(reasons, r.Reason) || !slices.Contains(fields, r.Field) || r.Line < 1 {
			t.Errorf("reject %+v", r)
		}
	})
	lines := 0
	for _, line := range bytes.Split(bytes.TrimPrefix(record, []byte(utf8BOM)), []byte("\n")) {
		if !silent(bytes.TrimRight(line, "\r")) {
			lines++
		}
	}
	// in UTF-16 and in JSON the lines are others than those of the bytes
	other := bytes.ContainsAny(record, "{[\x00") || bytes.HasPrefix(record, []byte("\xff\xfe")) || bytes.HasPrefix(record, []byte("\xfe\xff"))
	if answered != lines && !other {
		t.Errorf("%d lines, %d answers", lines, answered)
	}
	if !bytes.Equal(record, original) {
		t.Error("the record was changed")
	}
}

func fuzzFormat(f *testing.F, format string) {
	addSamples(f, format)
	f.Fuzz(func(t *testing.T, record []byte) {
		keepsPromises(t, mustNew(t, Options{Format: format}).(*lineParser), record)
	})
}

func FuzzSquidNative(f *testing.F) { fuzzFormat(f, "squid_native") }

func FuzzSquidCommon(f *testing.F) { fuzzFormat(f, "squid_common") }

func FuzzSquidCombined(f *testing.F) { fuzzFormat(f, "squid_combined") }

func FuzzSquidLogformat(f *testing.F) {
	for _, path := range samples(f) {
		record, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if o := sampleOptions(f, path); o.Logformat != "" {
			for _, line := range bytes.Split(record, []byte("\n")) {
				f.Add(o.Logformat, line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, spec string, record []byte) {
		p, err := New(Options{Format: "squid_logformat", Logformat: spec, Zone: time.UTC})
		if err != nil {
			return
		}
		keepsPromises(t, p.(*lineParser), record)
		Origins(p)
	})
}

func FuzzSyslog(f *testing.F) {
	addSamples(f, "squid_syslog")
	f.Fuzz(func(t *testing.T, line []byte) {
		h, msg, rest, ok := cutSyslog(line)
		if !ok {
			return
		}
		for _, part := range [][]byte{h.stamp, h.host, h.app, h.procID, msg, rest} {
			if !within(line, part) {
				t.Errorf("%q is no part of the line", part)
			}
		}
		if !bytes.HasSuffix(line, msg) || !bytes.HasSuffix(rest, msg) {
			t.Errorf("message %q is not the end of the line", msg)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "::1", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%eth0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compareAddress(t, b) })
}
