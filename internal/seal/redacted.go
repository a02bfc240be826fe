package seal

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Format hides the pseudonym from every verb.
func (SubjectBlock) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the pseudonym from every encoder.
func (SubjectBlock) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format hides the pseudonym from every verb.
func (MessageBlock) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the pseudonym from every encoder.
func (MessageBlock) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format hides the hash, which anybody could make of a guessed site, from every verb.
func (SiteBlock) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the hash from every encoder.
func (SiteBlock) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format hides the hash, which anybody could make of a guessed cell, from every verb.
func (CellBlock) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the hash from every encoder.
func (CellBlock) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format hides the keys, and what was hashed last, from every verb.
func (Tokenizer) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText hides the keys from every encoder.
func (Tokenizer) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// usable ends a program that would count with no key: tokens of a zero Tokenizer could not be told from good ones.
func (t *Tokenizer) usable() {
	if t == nil || t.people == nil {
		panic("seal: this Tokenizer has no key; take one from StatisticsKey.Tokenizer")
	}
}
