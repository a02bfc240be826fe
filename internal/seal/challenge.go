package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

const (
	labelChallenge = "tillsyn v1 challenge"
	challengeSize  = 32
)

// Challenge draws what only who has the private half of p can answer, and the digest of the answer. context says what it is
// for; the answer is public once it has been given.
func (p PublicKey) Challenge(context ...string) (sealed []byte, answer Digest, err error) {
	if len(context) == 0 {
		return nil, Digest{}, errors.New("draw a challenge: it is for nothing")
	}
	plain := make([]byte, challengeSize)
	rand.Read(plain)
	if sealed, err = p.seal(challengeInfo(context), plain); err != nil {
		return nil, Digest{}, fmt.Errorf("draw a challenge: %w", err)
	}
	return sealed, DigestOf(plain), nil
}

// Answer opens a challenge of the same context. It fails with [ErrNotOpened] for any other.
func (k PrivateKey) Answer(sealed []byte, context ...string) ([]byte, error) {
	plain, err := k.open(challengeInfo(context), sealed)
	if err != nil || len(plain) != challengeSize || len(context) == 0 {
		return nil, ErrNotOpened
	}
	return plain, nil
}

func challengeInfo(context []string) []byte {
	parts := [][]byte{[]byte(labelChallenge)}
	for _, c := range context {
		parts = append(parts, []byte(c))
	}
	return framed(parts...)
}

// Merge puts the signatures of notes of one text together. It checks none of them: [Open] does.
func Merge(first []byte, others ...[]byte) ([]byte, error) {
	text, lines, ok := split(first)
	if !ok {
		return nil, errors.New("merge signatures: this is not a signed note")
	}
	for _, o := range others {
		same, more, ok := split(o)
		if !ok || !bytes.Equal(same, text) {
			return nil, errors.New("merge signatures: the notes are not of one text")
		}
		for l := range strings.SplitAfterSeq(string(more), "\n") {
			if l != "" && !strings.Contains("\n"+string(lines), "\n"+l) {
				lines = append(lines, l...)
			}
		}
	}
	return append(append(bytes.Clone(text), '\n'), lines...), nil
}
