package casework

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A preview is what a lookup found, as the case store keeps it: its rows open for whoever previewed them and for nobody else, not
// for the gate either.
type preview struct {
	Case     string      `json:"case"`     // of the decision that it was looked up under
	Decision seal.Digest `json:"decision"` // its digest
	Reader   string      `json:"reader"`   // id of whoever it is for
	Rows     []byte      `json:"rows"`     // age
}

// ErrNotReader is when rows of a preview are somebody else's.
var ErrNotReader = errors.New("what was previewed opens for whoever previewed it only: preview again, under a decision that names you")

// keep files the rows of a preview, for their reader alone. What another reader had is removed: nobody could mark both.
func (k *RecordsDesk) keep(ctx context.Context, r Records, c *Case, digest seal.Digest, rows []Row, reader *seal.Signer) error {
	fail := func(err error) error { return fmt.Errorf("keep the rows of a preview: %w", err) }
	who, ok := r.chain[len(r.chain)-1].Person(reader.Name())
	if !ok || who.Verifier != reader.Verifier() {
		return fail(ErrNotEntitled)
	}
	var recipients []age.Recipient
	for _, text := range who.Recipients {
		list, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return fail(errors.New("a recipient of the register can't be read"))
		}
		recipients = append(recipients, list...)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err == nil {
		err = WriteRows(w, rows)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fail(err)
	}
	text, err := json.Marshal(preview{c.Decision.Case, c.Digest, who.ID, sealed.Bytes()})
	if err != nil {
		return fail(err)
	}
	unlock, err := k.Gate.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := k.Gate.dropPreviews(r.Request.Case, func(p preview) bool { return p.Reader != who.ID }); err != nil {
		return fail(err)
	}
	if err := k.Gate.store.Put(r.Request.Case, fmt.Sprintf("%s%04d-%x", recordsRowsFile, r.Previews+1, digest[:4]), text); err != nil {
		return fail(err)
	}
	return nil
}

// opened are the rows of a preview, for its reader.
func (k *RecordsDesk) opened(text []byte) ([]Row, error) {
	p, err := readPreview(text)
	if err != nil {
		return nil, err
	}
	if len(k.Identities) == 0 {
		return nil, ErrNotReader
	}
	plain, err := age.Decrypt(bytes.NewReader(p.Rows), k.Identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrNotReader
	}
	var rows []byte
	if err == nil {
		rows, err = io.ReadAll(io.LimitReader(plain, maxFile))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the rows of a preview were altered", ErrStore)
	}
	list, err := ParseRows(rows)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return list, nil
}

func readPreview(text []byte) (preview, error) {
	var p preview
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%w: the rows of a preview can't be read", ErrStore)
	}
	return p, nil
}

// dropPreviews removes those rows of a request that gone names, and then what was marked in all of them: marks go by number.
func (g *Gate) dropPreviews(number string, gone func(preview) bool) error {
	names, err := g.store.Names(number)
	if err != nil {
		return err
	}
	dropped := false
	for _, n := range names {
		if !strings.HasPrefix(n, recordsRowsFile) {
			continue
		}
		text, err := g.store.Get(number, n)
		if err != nil {
			return err
		}
		p, err := readPreview(text)
		if err != nil {
			return err
		}
		if gone(p) {
			if err := g.store.remove(number, n); err != nil {
				return err
			}
			dropped = true
		}
	}
	for _, n := range names {
		if dropped && strings.HasPrefix(n, recordsMarksFile) {
			if err := g.store.remove(number, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetPreviews removes previewed rows whose decision has ended or expired, by the record's own clock. It is called under the lock.
func (g *Gate) forgetPreviews(ctx context.Context) error {
	numbers, fault := g.store.requests()
	for _, number := range numbers {
		fault = errors.Join(fault, g.dropPreviews(number, func(p preview) bool {
			v, err := g.view(ctx, p.Case)
			if err != nil || v.Digest != p.Decision {
				return false
			}
			s := StateOf(v.evidence(), time.Time{})
			return s.ended() || s.State == Expired
		}))
	}
	return fault
}

// removeRequestExports removes the files of requests that were closed at least keep ago: see [Gate.RemoveExports].
func (g *Gate) removeRequestExports(ctx context.Context, keep time.Duration) (done []ExportRemoval, err error) {
	numbers, err := g.store.requests()
	faults := []error{err}
	k := RecordsDesk{Gate: g}
	for _, number := range numbers {
		list, err := g.Exports(number)
		if err == nil && len(list) > 0 {
			var r Records
			var record []audit.Record
			if r, err = k.Status(ctx, number); err == nil {
				record, err = g.p.Log.Entries(ctx)
			}
			if err == nil && r.Closed && !Clock(record, g.p.Now()).Before(r.ClosedAt.Add(keep)) {
				for _, e := range list {
					removal, fault := g.removeExport(ctx, e)
					err = errors.Join(err, fault)
					if fault == nil {
						done = append(done, removal)
					}
				}
			}
		}
		faults = append(faults, err)
	}
	return done, errors.Join(faults...)
}
