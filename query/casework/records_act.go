package casework

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const (
	typeRecordsConfirmation = "tillsyn records confirmation v1"
	typeRecordsClosing      = "tillsyn records closing v1"

	recordsConfirmedFile = "records-confirmed"

	// ConfirmIn is how long a request for the records of a unit or of everybody holds them by one signature. The second is of a
	// holder of the role manager or security.
	ConfirmIn = vault.Unconfirmed
)

// A RecordsAct is what somebody does about a [RecordsRequest] beside deciding: the second signature under one that names no
// person, or the end of it. It is a signed document.
type RecordsAct struct {
	Type    string      `json:"type"`
	Case    string      `json:"case"`
	Request seal.Digest `json:"request"`
	Waived  bool        `json:"waived"` // closing: nobody will appeal
	Actor   string      `json:"actor"`
	At      time.Time   `json:"at"`
	Nonce   string      `json:"nonce"`
}

// Validate answers every fault of a, joined, or nil. Messages quote nothing of a.
func (a *RecordsAct) Validate() error {
	var faults []error
	if a.Type != typeRecordsConfirmation && a.Type != typeRecordsClosing {
		faults = append(faults, errors.New("type: is not that of an act on a request for records"))
	}
	if err := checkCase(a.Case); err != nil {
		faults = append(faults, err)
	}
	if a.Request.IsZero() {
		faults = append(faults, errors.New("request: is missing"))
	}
	if a.Waived && a.Type != typeRecordsClosing {
		faults = append(faults, errors.New("waived: does not belong into a document of this type"))
	}
	if !idForm.MatchString(a.Actor) {
		faults = append(faults, errors.New("actor: is not an id"))
	}
	if err := checkTime(a.At); err != nil {
		faults = append(faults, fmt.Errorf("at: %w", err))
	}
	if err := checkNonce(a.Nonce); err != nil {
		faults = append(faults, err)
	}
	return joinSorted(faults)
}

// handler answers the key of whoever may work on r by a register: its registrar, who must be in it for everybody, and every holder
// of a role, but never the person it is about. Without the second a registrar's lost key would hold rows for ever.
func (r *RecordsRequest) handler(id string, register *seal.Register) (key string, ok bool) {
	if r.Scope.person().isSubject(id) {
		return "", false
	}
	if id == r.Registrar.ID && register.Enrolled(id, r.Registrar.Key, "") {
		return r.Registrar.Key, true
	}
	h, ok := register.Holder(id)
	return h.Verifier, ok
}

// confirmer answers the key of whoever may put the second signature under r: a holder of manager or security who is not its registrar.
func (r *RecordsRequest) confirmer(id string, register *seal.Register) (key string, ok bool) {
	h, ok := register.Holder(id)
	if !ok || h.Role != seal.Manager && h.Role != seal.Security || strings.EqualFold(id, r.Registrar.ID) || keyOf(h.Verifier) == keyOf(r.Registrar.Key) {
		return "", false
	}
	return h.Verifier, true
}

// wide says whether r is about more than one person.
func (r *RecordsRequest) wide() bool { return r.Scope.Subject == "" }

// signedBy says whether somebody who may, by one of the registers, has signed a note: who has left might do it then.
func signedBy(signed []byte, actor string, may func(string, *seal.Register) (string, bool), chain []*seal.Register) error {
	for _, register := range slices.Backward(chain) {
		if key, ok := may(actor, register); ok {
			if _, _, err := seal.Open(signed, key); err == nil {
				return nil
			}
		}
	}
	return ErrNotEntitled
}

func openRecordsAct(signed []byte, typ string, r *RecordsRequest, request seal.Digest, chain []*seal.Register) (*RecordsAct, seal.Digest, error) {
	a := new(RecordsAct)
	text, err := seal.Unsigned(signed)
	if err == nil {
		err = seal.ParseCanonical(text, a)
	}
	if err == nil {
		err = a.Validate()
	}
	if err == nil && (a.Type != typ || a.Request != request || a.Case != r.Case) {
		err = errors.New("it is of another type, or on another request")
	}
	if err == nil {
		may := r.handler
		if typ == typeRecordsConfirmation {
			may = r.confirmer
		}
		err = signedBy(signed, a.Actor, may, chain)
	}
	if err != nil {
		return nil, seal.Digest{}, fmt.Errorf("read an act on a request for records: %w", err)
	}
	return a, seal.DigestOf(text), nil
}

// act files an act on a request and puts it on record, unless it is there. One that was filed and not recorded did nothing, and may
// be by somebody who could do it once: the new one takes its place.
func (k *RecordsDesk) act(ctx context.Context, r Records, a RecordsAct, file string, kind audit.Kind, by *seal.Signer) error {
	g := k.Gate
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	a.Case, a.Request, a.Actor, a.At, a.Nonce = r.Request.Case, r.Digest, by.Name(), Clock(record, g.p.Now()).Truncate(time.Second), NewNonce()
	if err := a.Validate(); err != nil {
		return err
	}
	text, err := seal.Canonical(a)
	if err != nil {
		return err
	}
	signed, err := seal.Sign(text, by)
	if err != nil {
		return err
	}
	before, err := g.store.Get(a.Case, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if text, err := seal.Unsigned(before); err == nil && onRecord(record, kind, seal.DigestOf(text).String(), "") {
			return nil
		}
		if err := g.store.remove(a.Case, file); err != nil {
			return err
		}
	}
	if err := g.store.Put(a.Case, file, signed); err != nil {
		return err
	}
	g.step("records act filed")
	_, err = g.p.Log.Append(ctx, audit.Entry{Kind: kind, Actor: a.Actor, Case: a.Case, Document: seal.DigestOf(text).String()})
	return err
}

// Confirm puts the second signature under a request for the records of a unit or of everybody (records.confirmed): from then on its
// hold lasts until it is closed. by is a holder of manager or security.
func (k *RecordsDesk) Confirm(ctx context.Context, number string, by *seal.Signer) error {
	fail := func(err error) error { return fmt.Errorf("confirm a request for records: %w", err) }
	r, err := k.Status(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return k.Gate.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return fail(err)
	}
	key, ok := r.Request.confirmer(nameOf(by), r.chain[len(r.chain)-1])
	if !ok || key != by.Verifier() {
		return k.Gate.refuse(ctx, "", number, r.Digest.String(), refusedActor)
	}
	if !r.Request.wide() {
		return fail(errors.New("it is about one person, and needs no second signature"))
	}
	if r.Requested.IsZero() || r.Closed {
		return fail(fmt.Errorf("it is %s", r.State()))
	}
	if err := k.act(ctx, r, RecordsAct{Type: typeRecordsConfirmation}, recordsConfirmedFile, audit.RecordsConfirmed, by); err != nil {
		return fail(err)
	}
	if err := k.hold(ctx, r.Request, r.Digest); err != nil { // its first hold may have ended
		return fail(err)
	}
	return nil
}

// hold places the hold of a request, unless there is one in force.
func (k *RecordsDesk) hold(ctx context.Context, r *RecordsRequest, digest seal.Digest) error {
	record, err := k.Gate.p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(vault.HoldsOn(record, vault.HoldByRecords, digest.String()), vault.Hold.InForce) {
		return nil
	}
	scope, err := k.holdScope(r)
	if err != nil {
		return err
	}
	if k.Place == nil {
		return errors.New("nothing can hold the rows back from purge")
	}
	_, _, err = k.Place(ctx, vault.HoldOrder{
		Case: r.Case, Basis: vault.HoldByRecords, Document: digest.String(), Actor: r.Registrar.ID, Scope: scope,
		Authorise: func(ctx context.Context) error {
			now, err := k.Status(ctx, r.Case)
			if err == nil && (now.Requested.IsZero() || now.Closed || now.Digest != digest) {
				err = errors.New("the request is not open")
			}
			return err
		},
	})
	return err
}

// lapsed says whether r's hold has lost its ground: it is closed, or nobody signed beside its registrar in time. now is the record's
// own clock: one that was wrong for a moment must not let anything go.
func (r Records) lapsed(now time.Time) bool {
	return r.Closed || r.Request.wide() && r.Confirmed.IsZero() && !r.Requested.IsZero() && now.After(r.Requested.Add(ConfirmIn))
}

// settle makes the holds of requests what the requests say. It is run before each purge.
func (k *RecordsDesk) settle(ctx context.Context) (placed, released int, err error) {
	all, err := k.List(ctx)
	faults := []error{err}
	record, err := k.Gate.p.Log.Entries(ctx)
	if err != nil {
		return 0, 0, err
	}
	clock := Clock(record, time.Time{})
	for _, r := range all {
		holds := vault.HoldsOn(record, vault.HoldByRecords, r.Digest.String())
		switch {
		case r.lapsed(clock) && slices.ContainsFunc(holds, vault.Hold.InForce):
			if _, err = k.release(ctx, r, settles); err == nil {
				released++
			}
		case !r.lapsed(clock) && !r.Requested.IsZero() && r.Decided.IsZero() && len(holds) == 0 && k.Gate.p.Lookup.Oldest() > 0:
			err = k.hold(ctx, r.Request, r.Digest)
			if errors.Is(err, ErrNoHold) || errors.Is(err, vault.ErrGone) {
				err = nil // nothing of it is left to hold
			} else if err == nil {
				placed++
			}
		default:
			continue
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("case %s: %w", r.Request.Case, err))
		}
	}
	return placed, released, errors.Join(faults...)
}

// release ends the hold of a request that has lost its ground.
func (k *RecordsDesk) release(ctx context.Context, r Records, actor string) ([]vault.Hold, error) {
	if k.Release == nil {
		return nil, errors.New("nothing can release the hold")
	}
	return k.Release(ctx, vault.HoldByRecords, r.Digest.String(), actor, func(ctx context.Context) error {
		now, err := k.Status(ctx, r.Request.Case)
		if err != nil {
			return err
		}
		record, err := k.Gate.p.Log.Entries(ctx)
		if err == nil && !now.lapsed(Clock(record, time.Time{})) {
			err = fmt.Errorf("%w: the request is %s: decide on it and close it first", ErrNoHold, now.State())
		}
		return err
	})
}

// ReleaseHold ends the hold of a request that is closed, for whoever may work on it.
func (k *RecordsDesk) ReleaseHold(ctx context.Context, number string, by *seal.Signer) ([]vault.Hold, error) {
	r, err := k.open(ctx, number, by, "requested", "previewed", "decided", "closed")
	if err != nil {
		return nil, fmt.Errorf("release the hold of a request: %w", err)
	}
	return k.release(ctx, r, by.Name())
}
