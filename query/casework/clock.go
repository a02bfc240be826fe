package casework

import (
	"errors"
	"fmt"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const typeClock = "tillsyn clock acceptance v1"

// A ClockAcceptance is the word of a holder of the role security that the clock of the record's machine is right: after a time when
// nothing was written, or after entries of a wrong time. It moves the time that counts, also back, so it is signed.
type ClockAcceptance struct {
	Type       string         `json:"type"`
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Holder     string         `json:"holder"`
	Register   RegisterDigest `json:"register"` // the newest of the tenant
	Last       time.Time      `json:"last"`     // of the last entry before
	Now        time.Time      `json:"now"`      // what the clock says, and is right
	Reason     string         `json:"reason"`
	Nonce      string         `json:"nonce"` // 32 random bytes in base64
}

// Validate answers every fault of a, joined, or nil. Messages quote nothing of a.
func (a *ClockAcceptance) Validate() error {
	faults := managed{a.Type, typeClock, a.Deployment, a.Tenant, a.Holder, a.Register, a.Now, a.Nonce}.check()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	// The last entry may be of any time: that is what there is to correct.
	if _, offset := a.Last.Zone(); offset != 0 || a.Last.Nanosecond() != 0 {
		fault("last: is not a time in UTC in whole seconds")
	}
	if a.Reason == "" {
		fault("reason: is missing")
	}
	if err := checkText(a.Reason, maxText); err != nil {
		fault("reason: %w", err)
	}
	return errors.Join(faults...)
}

// SignClock answers a as a document with its digest.
func SignClock(a ClockAcceptance, signer *seal.Signer) (signed []byte, digest seal.Digest, err error) {
	fail := func(err error) ([]byte, seal.Digest, error) {
		return nil, seal.Digest{}, fmt.Errorf("accept the clock: %w", err)
	}
	a.Type, a.Nonce = typeClock, NewNonce()
	a.Last, a.Now = a.Last.UTC().Truncate(time.Second), a.Now.UTC().Truncate(time.Second)
	if err := a.Validate(); err != nil {
		return fail(err)
	}
	if signer == nil || signer.Name() != a.Holder {
		return fail(errors.New("this is not the key of its holder"))
	}
	text, err := seal.Canonical(a)
	if err != nil {
		return fail(err)
	}
	if signed, err = seal.Sign(text, signer); err != nil {
		return fail(err)
	}
	return signed, seal.DigestOf(text), nil
}

// checkClock says whether the entry at i of the record is an acceptance that counts: one who held the role security by the newest
// register of a tenant has signed it, for this time, and it is there once. Before the first register of all there is no decision
// that a clock could revive, and nobody who could sign.
func checkClock(record []audit.Record, i int) error {
	e := record[i]
	var a ClockAcceptance
	var notes [][]byte
	any := false
	text, err := seal.Unsigned([]byte(e.Body))
	if err == nil {
		err = seal.ParseCanonical(text, &a)
	}
	if err == nil {
		err = a.Validate()
	}
	for _, r := range record[:i] {
		switch {
		case r.Kind == audit.ClockAccepted && r.Document == e.Document && e.Document != "":
			return errors.New("it is there twice")
		case r.Kind == audit.RegisterChanged:
			any = true
			if of, err := registerText(r); err == nil && of.Tenant == a.Tenant && of.Deployment == a.Deployment {
				notes = append(notes, []byte(r.Body))
			}
		}
	}
	if !any {
		return nil
	}
	if err != nil {
		return err
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return err
	}
	if len(chain) == 0 {
		return errors.New("its tenant has no register of holders")
	}
	current := chain[len(chain)-1]
	h, ok := current.Holder(a.Holder)
	switch {
	case a.Type != typeClock || seal.DigestOf(text).String() != e.Document || a.Holder != e.Actor:
		return errors.New("its entry is about something else")
	case !near(a.Now, e.At):
		return errors.New("it is about another time")
	case a.Register != RegisterDigest{current.Number(), current.Digest()} || !ok || h.Role != seal.Security:
		return ErrNotEntitled
	}
	_, _, err = seal.Open([]byte(e.Body), h.Verifier)
	return err
}

// registerText reads the register in an entry, without asking who has signed it.
func registerText(r audit.Record) (seal.RegisterText, error) {
	text, err := seal.Unsigned([]byte(r.Body))
	if err != nil {
		return seal.RegisterText{}, err
	}
	return seal.ParseRegisterText(text)
}

// follow answers the time that counts after the entry at i of the record, at being the one before it: the latest that the record has
// seen, so that turning the clock back revives nothing, or that of an acceptance that counts, which corrects it.
func follow(record []audit.Record, i int, at time.Time) time.Time {
	if e := record[i]; e.At.After(at) || e.Kind == audit.ClockAccepted && checkClock(record, i) == nil {
		return e.At
	}
	return at
}

// Clock is the time that counts: the later of now and the latest that the record has seen since its clock was last corrected.
func Clock(record []audit.Record, now time.Time) time.Time {
	var at time.Time
	for i := range record {
		at = follow(record, i, at)
	}
	return later(now, at).UTC()
}
