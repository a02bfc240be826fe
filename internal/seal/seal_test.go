package seal

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// signerOf is the signer of a seed.
func signerOf(t testing.TB, name string, seed []byte) *Signer {
	t.Helper()
	v := verifierOf(t, name, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	hash := strings.Split(v, "+")[1]
	s, err := ParseSigner(fmt.Appendf(nil, "PRIVATE+KEY+%s+%s+%s\n", name, hash, base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifierOf(t testing.TB, name string, public []byte) string {
	t.Helper()
	v, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
