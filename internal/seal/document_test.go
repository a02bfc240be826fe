package seal

import (
	"errors"
	"testing"
)

func TestNotesHoldOnlyWhatWasChecked(t *testing.T) {
	a, err := NewSigner("anna.berg")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := NewSigner("bo.ek")
	c, _ := NewSigner("cia.lind")
	again, err := ParseSigner(a.Encode())
	if err != nil || again.Verifier() != a.Verifier() || again.Name() != "anna.berg" {
		t.Fatal("a signer does not survive its file:", err)
	}
	text, err := Canonical(struct {
		Type string `json:"type"`
	}{"åäö <&>"})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := Sign(text, a)
	if err != nil {
		t.Fatal(err)
	}
	signed, err = Countersign(signed, b)
	if err != nil {
		t.Fatal(err)
	}
	if twice, _ := Countersign(signed, b); string(twice) != string(signed) {
		t.Error("a second signature of the same person was added")
	}
	got, by, err := Open(signed, a.Verifier(), b.Verifier(), c.Verifier())
	if err != nil || string(got) != string(text) || len(by) != 2 {
		t.Fatalf("opened to %q by %v, %v", got, by, err)
	}
	if _, _, err := Open(signed, a.Verifier()); !errors.Is(err, ErrSignature) {
		t.Errorf("a signature of somebody unknown: %v", err)
	}
	for i := range signed {
		for bit := range 8 {
			bad := append([]byte{}, signed...)
			bad[i] ^= 1 << bit
			if _, _, err := Open(bad, a.Verifier(), b.Verifier()); err == nil {
				t.Fatalf("bit %d of byte %d does not matter", bit, i)
			}
		}
	}
}
