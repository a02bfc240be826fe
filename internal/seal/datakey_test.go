package seal

import (
	"bytes"
	"errors"
	"testing"
)

// ours is the key of origin of all tests.
var ours = OriginKey{1, 2, 3}

// office is a set of role keys and a sealer for them.
func office(t testing.TB, suite Suite) (*Sealer, map[Role]PrivateKey) {
	t.Helper()
	private, public := map[Role]PrivateKey{}, map[Role]PublicKey{}
	for _, r := range Roles() {
		k, err := NewPrivateKey(suite)
		if err != nil {
			t.Fatal(err)
		}
		private[r], public[r] = k, k.Public()
	}
	s, err := NewSealer("norrbo", public)
	if err != nil {
		t.Fatal(err)
	}
	return s, private
}

func binding() Binding {
	return Binding{Deployment: "norrbo", Tenant: "norrbo", Population: "staff", Unit: "skola", Kind: "web", Subject: []byte("anna"), Day: 20_000, Tag: Tag{1}}
}

func TestApprovingIsOpeningShares(t *testing.T) {
	for _, suite := range Suites() {
		sealer, keys := office(t, suite)
		b := binding()
		key, wrapped, err := sealer.NewKey(b, ours)
		if err != nil {
			t.Fatal(err)
		}
		label := Label{Tenant: b.Tenant, Unit: b.Unit, Kind: "web", Day: b.Day, Tag: b.Tag, First: 1, Last: 2, Count: 3}
		capsule := key.Seal(nil, []byte("what she read"), label)

		decision := DigestOf([]byte("the decision"))
		shares := map[Role]Share{}
		for _, r := range Approvers() {
			s, err := keys[r].OpenShare(wrapped, r, b)
			if err != nil {
				t.Fatal(suite, r, err)
			}
			h, err := SealHandover(keys[Gate].Public(), decision, r, map[KeyID]Share{wrapped.ID: s})
			if err != nil {
				t.Fatal(err)
			}
			got, err := keys[Gate].OpenHandover(decision, h)
			if err != nil {
				t.Fatal(err)
			}
			shares[r] = got[wrapped.ID]
			if _, err := keys[Gate].OpenHandover(DigestOf([]byte("another decision")), h); !errors.Is(err, ErrNotOpened) {
				t.Errorf("%s %s: handed over for another decision: %v", suite, r, err)
			}
		}
		unnamed := b
		unnamed.Subject = nil
		own, subject, err := keys[Gate].OpenGateShare(wrapped, unnamed, ours)
		if err != nil || string(subject) != "anna" {
			t.Fatal(suite, "the gate's share:", err)
		}
		shares[Gate] = own
		opening, err := Combine(wrapped.ID, shares)
		if err != nil {
			t.Fatal(err)
		}
		label.Key = wrapped.ID
		if plain, err := opening.Open(nil, capsule, label); err != nil || !bytes.Equal(plain, []byte("what she read")) {
			t.Fatalf("%s: opened to %q, %v", suite, plain, err)
		}
	}
}
