package seal

import (
	"bytes"
	"testing"
)

// Each target fuzzes a promise: what is accepted is, byte for byte, what its writer writes.

func FuzzParseRegister(f *testing.F) {
	o := newTown(f)
	o.enrol("anna.berg", "elected")
	f.Add(o.signed(three()...))
	text, _ := o.text.Encode()
	f.Add(text)
	f.Fuzz(func(t *testing.T, note []byte) {
		if text, err := ParseRegisterText(note); err == nil {
			again, err := text.Encode()
			bare := note
			if b, uerr := Unsigned(note); uerr == nil {
				bare = b
			}
			if err != nil || !bytes.Equal(again, bare) {
				t.Error("an accepted register does not round-trip", err)
			}
		}
		if r, err := ParseRegister(note, nil); err == nil && (len(r.Signers()) < 3 || r.Digest().IsZero()) {
			t.Error("a register was accepted without its signatures")
		}
	})
}

func FuzzParseCanonical(f *testing.F) {
	type document struct {
		Type string         `json:"type"`
		N    int            `json:"n"`
		List []string       `json:"list"`
		Map  map[string]int `json:"map"`
		D    Digest         `json:"d"`
	}
	text, _ := Canonical(document{"a", 1, []string{"å"}, map[string]int{"x": 1}, DigestOf(nil)})
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var d document
		if ParseCanonical(text, &d) != nil {
			return
		}
		if again, err := Canonical(d); err != nil || !bytes.Equal(again, text) {
			t.Error("an accepted document does not round-trip", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	a, b := signerOf(f, "anna", make([]byte, 32)), signerOf(f, "bo", bytes.Repeat([]byte{1}, 32))
	note, _ := Sign([]byte("text\n"), a, b)
	f.Add(note)
	one, _ := Sign([]byte("text\n"), a)
	f.Add(one)
	f.Fuzz(func(t *testing.T, note []byte) {
		text, by, err := Open(note, a.Verifier(), b.Verifier())
		if err == nil && (len(by) == 0 || len(by) > 2 || string(text) != "text\n") {
			t.Errorf("opened to %q by %v", text, by)
		}
		if merged, err := Merge(note, note); err == nil && !bytes.Equal(merged, note) {
			if _, _, err := Open(note, a.Verifier(), b.Verifier()); err == nil {
				t.Error("a note merged with itself is another")
			}
		}
	})
}

func FuzzParsePrivateKey(f *testing.F) {
	for _, s := range Suites() {
		k, _ := NewPrivateKey(s)
		text, _ := k.Encode()
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParsePrivateKey(text)
		if err != nil {
			return
		}
		again, err := k.Encode()
		if err != nil || !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), bytes.TrimSuffix(text, []byte("\n"))) {
			t.Error("an accepted key does not round-trip", err)
		}
		if p, err := ParsePublicKey(k.Public().String()); err != nil || p.String() != k.Public().String() {
			t.Error("its public half can't be read", err)
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	for _, s := range Suites() {
		k, _ := NewPrivateKey(s)
		f.Add(k.Public().String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePublicKey(text)
		if err != nil {
			return
		}
		if _, _, err := p.Challenge("x"); p.String() != text || err != nil {
			t.Error("an accepted key has another text, or seals nothing", err)
		}
	})
}

func FuzzParseLookupKey(f *testing.F) {
	f.Add(NewLookupKey(20_000).Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseLookupKey(text)
		if err != nil {
			return
		}
		if again, err := ParseLookupKey(k.Encode()); err != nil || again != k || !k.valid {
			t.Error("an accepted key does not round-trip", err)
		}
	})
}

func FuzzParseSigner(f *testing.F) {
	f.Add(signerOf(f, "anna", make([]byte, 32)).Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSigner(text)
		if err != nil {
			return
		}
		note, err := Sign([]byte("text\n"), s)
		if err != nil {
			t.Fatal(err)
		}
		if _, by, err := Open(note, s.Verifier()); err != nil || len(by) != 1 || by[0] != s.Name() {
			t.Error("an accepted signer does not sign", err)
		}
	})
}

func FuzzOpenHandover(f *testing.F) {
	gate, _ := NewPrivateKey(X25519)
	decision := DigestOf([]byte("decision"))
	h, _ := SealHandover(gate.Public(), decision, HR, map[KeyID]Share{{1}: {2}})
	f.Add("hr", h.Sealed)
	f.Add("manager", []byte{})
	f.Fuzz(func(t *testing.T, role string, sealed []byte) {
		got, err := gate.OpenHandover(decision, Handover{Role(role), sealed})
		if err == nil && (role != "hr" || len(got) != 1) {
			t.Errorf("a handover of %s opens to %d shares", role, len(got))
		}
	})
}
