package vault

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A certificate holds by a record that has it and what it answers, and by no other, whoever has signed what.
func TestCertificateAgainstItsRecord(t *testing.T) {
	a := newArchive(t)
	a.fill(Web, a.today()-90, 5, 2)
	a.fill(Mail, a.today()-61, 5, 2)
	a.place("HR 1/26", HoldRow{Web, a.today() - 90, "", a.tag(Web, a.today()-90, 3)})
	issued := a.run().Certificates[0]
	records, err := a.purge.Log.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check, err := VerifyCertificate(issued.Note, "", "test", records, true)
	if err != nil || !check.Pinned || !check.Recorded || !check.Intent || check.Position != issued.Position || check.Totals != issued.Totals {
		t.Fatalf("%+v %v", check, err)
	}
	for language, words := range map[string][]string{
		"sv": {"Gallringsbevis: test", "Webb", "HR 1/26 (beslut)", "KS 2026/17", "inte angivet", "Undantagna rader: 2"},
		"en": {"Purge certificate: test", "Web", "HR 1/26 (decision)", "KS 2026/17", "not stated", "Rows kept back: 2"},
	} {
		var b strings.Builder
		if err := check.Text(&b, language); err != nil || strings.Contains(b.String(), "<no value>") {
			t.Fatal(err, b.String())
		}
		for _, w := range words {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: the text lacks %q:\n%s", language, w, b.String())
			}
		}
	}

	intentOf := func(change func(*PurgeIntent)) string {
		var intent PurgeIntent
		if err := seal.ParseCanonical([]byte(a.entries(audit.PurgeIntent)[0].Body), &intent); err != nil {
			t.Fatal(err)
		}
		change(&intent)
		text, err := seal.Canonical(intent)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	at := func(kind audit.Kind) int {
		return slices.IndexFunc(records, func(r audit.Record) bool { return r.Kind == kind })
	}
	certificate, intent := at(audit.PurgeCertificate), at(audit.PurgeIntent)
	// An intent that the record could hold, with a certificate for it: what it says is changed, and its digest.
	swapped := func(change func(*PurgeIntent)) func([]audit.Record) ([]audit.Record, []byte) {
		return func(r []audit.Record) ([]audit.Record, []byte) {
			r[intent].Body = intentOf(change)
			r[intent].Document = seal.DigestOf([]byte(r[intent].Body)).String()
			c := issued.Certificate
			c.Intent = r[intent].Document
			note, err := c.sign(a.purge.Signer)
			if err != nil {
				t.Fatal(err)
			}
			r[certificate].Body, r[certificate].Document = string(note), c.Intent
			return r, note
		}
	}
	same := func(change func(r []audit.Record) []audit.Record) func([]audit.Record) ([]audit.Record, []byte) {
		return func(r []audit.Record) ([]audit.Record, []byte) { return change(r), issued.Note }
	}
	for name, change := range map[string]func([]audit.Record) ([]audit.Record, []byte){
		"another that could be":   swapped(func(*PurgeIntent) {}),
		"an empty record":         same(func([]audit.Record) []audit.Record { return nil }),
		"without the certificate": same(func(r []audit.Record) []audit.Record { return slices.Delete(r, certificate, certificate+1) }),
		"without the intent":      same(func(r []audit.Record) []audit.Record { return slices.Delete(r, intent, intent+1) }),
		"the intent afterwards": same(func(r []audit.Record) []audit.Record {
			return append(slices.Delete(r, intent, intent+1), records[intent])
		}),
		"other numbers": same(func(r []audit.Record) []audit.Record {
			r[certificate].Counts = maps.Clone(r[certificate].Counts)
			r[certificate].Counts["rows"]++
			return r
		}),
		"for another intent": same(func(r []audit.Record) []audit.Record {
			r[certificate].Document = seal.DigestOf([]byte("x")).String()
			return r
		}),
		"two certificates": same(func(r []audit.Record) []audit.Record {
			other := r[certificate]
			other.Body += " "
			return append(r, other)
		}),
		"another day":         swapped(func(i *PurgeIntent) { i.Items[0].Day = "2026-01-01" }),
		"one row more":        swapped(func(i *PurgeIntent) { i.Items[0].Tables[0].Rows++ }),
		"one item less":       swapped(func(i *PurgeIntent) { i.Items = i.Items[1:] }),
		"another decision":    swapped(func(i *PurgeIntent) { i.Retention[0].Decisions[0].Number = "KS 1" }),
		"another time":        swapped(func(i *PurgeIntent) { i.At = "2026-01-01T00:00:00Z" }),
		"another deployment":  swapped(func(i *PurgeIntent) { i.Deployment = "other" }),
		"another search":      swapped(func(i *PurgeIntent) { i.Control.Found-- }),
		"fewer samples":       swapped(func(i *PurgeIntent) { i.Samples = i.Samples[1:] }),
		"it is of no purge":   swapped(func(i *PurgeIntent) { i.Type = certificateType }),
		"an intent of no one": same(func(r []audit.Record) []audit.Record { r[intent].Body = "{}\n"; return r }),
	} {
		changed, note := change(slices.Clone(records))
		_, err := VerifyCertificate(note, "", "test", changed, true)
		if name == "another that could be" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := VerifyCertificate(issued.Note, "", "other", records, true); !errors.Is(err, ErrCertificate) {
		t.Error("it holds by another deployment's record:", err)
	}
	if check, err := VerifyCertificate(issued.Note, "", "", nil, false); err != nil || check.Pinned || check.Recorded {
		t.Errorf("%+v %v", check, err)
	}
}

func FuzzVerifyCertificate(f *testing.F) {
	signer, err := seal.NewSigner("norrbo/purge")
	if err != nil {
		f.Fatal(err)
	}
	good := certificate()
	good.Holds[0].Case = "HR 1/26"
	text, err := seal.Canonical(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{}\n"))
	// Whoever can sign chooses the content: what it says must still be a certificate, in its one form, that can be shown.
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := VerifyCertificate(text, "", "norrbo", nil, true); err == nil {
			t.Error("what nobody signed holds")
		}
		signed, err := seal.Sign(text, signer)
		if err != nil {
			return
		}
		check, err := VerifyCertificate(signed, signer.Verifier(), "", nil, false)
		if err != nil {
			return
		}
		if again, err := check.sign(signer); err != nil || string(again) != string(signed) {
			t.Error("it is not in its one form:", err)
		}
		for _, language := range Languages() {
			if err := errors.Join(check.Text(io.Discard, language), check.HTML(io.Discard, language)); err != nil {
				t.Error(err)
			}
		}
	})
}
