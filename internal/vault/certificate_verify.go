package vault

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A CertificateCheck is what a certificate was compared with.
type CertificateCheck struct {
	IssuedCertificate
	Pinned   bool // the key that it is signed with was known beforehand, or the record vouches for it
	Recorded bool // the record has it, at Position
	Intent   bool // the record has what was to be done, and it is what the certificate says was done
}

// ErrCertificate is when a certificate does not hold.
var ErrCertificate = errors.New("the purge certificate does not hold")

// VerifyCertificate checks a signed certificate with nothing but what is given: signer is the verifier key of the purge, or empty for
// the one that the certificate names, which proves only that it is whole; deployment and records are those of a record that was
// proved, records nil if there is none. It answers every fault of one step, joined, as [ErrCertificate]:
//
//   - the signature, and that the content is in its one form and speaks of no doubt;
//   - if records has the certificate's entry: its numbers are those of the certificate, and it came when that was issued;
//   - if records has the intent: days, tables, numbers, retention and search are those of the certificate.
//
// With whole, records are the whole record: both entries must be in it.
func VerifyCertificate(note []byte, signer, deployment string, records []audit.Record, whole bool) (CertificateCheck, error) {
	check := CertificateCheck{IssuedCertificate: IssuedCertificate{Note: note}, Pinned: signer != ""}
	fail := func(faults ...error) (CertificateCheck, error) {
		return CertificateCheck{}, fmt.Errorf("%w: %w", ErrCertificate, errors.Join(faults...))
	}
	if signer == "" {
		text, err := seal.Unsigned(note)
		if err != nil {
			return fail(err)
		}
		c, err := parseCertificate(text)
		if err != nil {
			return fail(err)
		}
		if _, err := seal.VerifierName(c.Signer); err != nil {
			return fail(err)
		}
		signer = c.Signer
	}
	c, err := OpenCertificate(note, signer)
	if err != nil {
		return fail(err)
	}
	if c.Signer != signer {
		return fail(errors.New("it names another key than the one that signed it"))
	}
	check.Certificate = c
	if records == nil && !whole {
		return check, nil
	}
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.Deployment != deployment, "it is of another deployment than the record")
	for _, e := range records {
		switch {
		case e.Kind == audit.PurgeCertificate && e.Body == string(note) && !check.Recorded:
			check.Recorded, check.Pinned, check.Position = true, true, e.Position
			counts := map[string]int64{"items": int64(c.Totals.Items), "rows": int64(c.Totals.Rows), "bytes": int64(c.Totals.Bytes), "holds": int64(c.Totals.Holds)}
			fault(e.Document != c.Intent || !reflect.DeepEqual(e.Counts, counts), "its entry in the record says something else")
		case e.Kind == audit.PurgeCertificate && e.Document == c.Intent && e.Body != string(note):
			fault(true, "the record has another certificate for the same purge, entry "+e.Position.String())
		case e.Kind == audit.PurgeIntent && e.Document == c.Intent && !check.Intent:
			check.Intent = true
			fault(check.Recorded, "the record has what was to be done after it was done")
			if err := c.answers([]byte(e.Body)); err != nil {
				faults = append(faults, err)
			}
		}
	}
	fault(whole && !check.Recorded, "the record does not have it")
	fault(whole && !check.Intent, "the record does not have what was to be done")
	if len(faults) > 0 {
		return fail(faults...)
	}
	return check, nil
}

// answers says whether c is about what an intent says.
func (c Certificate) answers(text []byte) error {
	var intent PurgeIntent
	if err := seal.ParseCanonical(text, &intent); err != nil || intent.Type != intentType || seal.DigestOf(text).String() != c.Intent {
		return errors.New("what was to be done is not on record as it must be")
	}
	items := make([]PurgeItem, len(c.Removed))
	for i, r := range c.Removed {
		items[i] = r.PurgeItem
	}
	same := func(a, b any) bool {
		x, err1 := seal.Canonical(a)
		y, err2 := seal.Canonical(b)
		return err1 == nil && err2 == nil && bytes.Equal(x, y)
	}
	retention := intent.Retention
	if retention == nil {
		retention = []RetentionLine{}
	}
	switch {
	case intent.Deployment != c.Deployment || intent.At != c.Begun:
		return errors.New("what was to be done is of another time or deployment")
	case !same(intent.Items, items):
		return errors.New("it says that something else was removed than what was to be")
	case !same(retention, c.Retention):
		return errors.New("it names other retention decisions than what was to be done")
	case c.Disk.Examined && (c.Disk.Control != intent.Control || c.Disk.Samples+c.Disk.StillHeld != len(intent.Samples)):
		return errors.New("it was searched for something else than what was to be removed")
	}
	return nil
}
