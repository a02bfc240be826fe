package casework

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// HoldScope is what a decision keeps from being purged: the days of its scope that the lookup key has not forgotten, of its
// subject under all names, or of its unit.
func (g *Gate) HoldScope(d *Decision) (vault.HoldScope, error) {
	s := vault.HoldScope{Tenant: d.Tenant}
	first, last, err := d.Scope.Days()
	if err != nil {
		return s, err
	}
	for day := first; day <= last; day++ {
		rows := []vault.HoldRow{{Day: day, Unit: d.Scope.Unit}}
		if names := d.Scope.subjects(); len(names) > 0 {
			tagger, err := g.p.Lookup.Tagger(day)
			if errors.Is(err, seal.ErrLookupForgotten) {
				continue // that day is purged
			}
			if err != nil {
				return s, err
			}
			rows = nil
			for _, name := range names {
				rows = append(rows, vault.HoldRow{Day: day, Tag: tagger.Tag(d.Tenant, name)})
			}
		} else if d.Scope.Unit == "" {
			return s, errors.New("it names neither a person nor a unit")
		}
		for _, row := range rows {
			for _, kind := range d.Scope.Sources {
				row.Kind = kind
				s.Rows = append(s.Rows, row)
			}
		}
	}
	if len(s.Rows) == 0 {
		return s, fmt.Errorf("%w: all days of its scope are purged", ErrNoHold)
	}
	return s, nil
}

// PlaceHold keeps what a decision is about from being purged. It must be active or suspended, also at the moment when the
// hold goes on record. signer is whoever asks: somebody who is entitled to the case. One hold a case is enough: a second is refused.
func (g *Gate) PlaceHold(ctx context.Context, number string, signer *seal.Signer, r vault.HoldRegister) (vault.Hold, vault.HoldCopies, error) {
	fail := func(err error) (vault.Hold, vault.HoldCopies, error) {
		return vault.Hold{}, vault.HoldCopies{}, fmt.Errorf("place the hold of a decision: %w", err)
	}
	c, _, err := g.Entitled(ctx, number, signer)
	if err != nil {
		return fail(err)
	}
	scope, err := g.HoldScope(c.Decision)
	if err != nil {
		return fail(err)
	}
	return r.Place(ctx, vault.HoldOrder{
		Case: number, Basis: vault.HoldByDecision, Document: c.Digest.String(), Actor: signer.Name(), Scope: scope,
		Authorise: func(ctx context.Context) error { return g.mayHold(ctx, number) },
	})
}

// ErrNoHold is when a hold may not be placed or released.
var ErrNoHold = errors.New("the hold is refused")

// ReleaseHolds ends the holds of a case that has ended: closed, revoked or denied. Expiry does not end them.
func (g *Gate) ReleaseHolds(ctx context.Context, number string, signer *seal.Signer, r vault.HoldRegister) ([]vault.Hold, error) {
	c, _, err := g.Entitled(ctx, number, signer)
	if err != nil {
		return nil, fmt.Errorf("release the holds of a case: %w", err)
	}
	return r.Release(ctx, vault.HoldByDecision, c.Digest.String(), signer.Name(), func(ctx context.Context) error { return g.mayRelease(ctx, number) })
}

// holdsOf answers whether the record has a hold of a decision, and whether one is in force.
func holdsOf(record []audit.Record, decision seal.Digest) (had, inForce bool) {
	holds := vault.HoldsOn(record, vault.HoldByDecision, decision.String())
	return len(holds) > 0, slices.ContainsFunc(holds, vault.Hold.InForce)
}

// holds says whether a decision keeps what it is about: it may be used, or it was approved and ended by an act that is not proved.
func (s Status) holds() bool {
	switch s.State {
	case Active, Suspended:
		return true
	case Closed, Revoked, Denied:
		return !s.Certain && len(s.Missing) == 0
	}
	return false
}

// SettleHolds makes the holds what decisions and requests for records say: one that may be used has a hold, one that has
// ended has none. It is run before each purge, so that no decision loses its rows because nobody thought of them. One that waits for
// approvals holds nothing: the copies would tell, before anybody approved, whether there are rows. Placing needs the lookup key; a
// gate without it only releases. It answers how many were placed and released; what fails for one case does not stop the others.
func (g *Gate) SettleHolds(ctx context.Context, r vault.HoldRegister) (placed, released int, err error) {
	cases, states, err := g.List(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("settle holds: %w", err)
	}
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("settle holds: %w", err)
	}
	var faults []error
	for i, c := range cases {
		number := c.Decision.Case
		had, inForce := holdsOf(record, c.Digest)
		switch {
		case states[i].holds() && !inForce && had:
			// Its copies may be all that is left, and would go with the purge that this is run before.
			faults = append(faults, fmt.Errorf("case %s: its hold was released, and the act by which it is %s is not in the case store as one who may has signed it: close it anew", number, states[i].State))
		case states[i].holds() && !inForce && g.p.Lookup.Oldest() > 0:
			scope, err := g.HoldScope(c.Decision)
			if errors.Is(err, ErrNoHold) {
				continue // there is nothing left to hold
			}
			if err == nil {
				_, _, err = r.Place(ctx, vault.HoldOrder{Case: number, Basis: vault.HoldByDecision, Document: c.Digest.String(), Actor: settles, Scope: scope,
					Authorise: func(ctx context.Context) error { return g.mayHold(ctx, number) }})
			}
			if errors.Is(err, vault.ErrGone) {
				continue
			}
			if err != nil && !errors.Is(err, ErrNoHold) {
				faults = append(faults, fmt.Errorf("case %s: %w", number, err))
				continue
			}
			placed++
		case inForce && states[i].ended():
			if _, err := r.Release(ctx, vault.HoldByDecision, c.Digest.String(), settles, func(ctx context.Context) error { return g.mayRelease(ctx, number) }); err != nil {
				faults = append(faults, fmt.Errorf("case %s: %w", number, err))
				continue
			}
			released++
		}
	}
	desk := RecordsDesk{Gate: g, Place: r.Place, Release: r.Release}
	more, fewer, err := desk.settle(ctx)
	placed, released, faults = placed+more, released+fewer, append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return placed, released, fmt.Errorf("settle holds: %w", err)
	}
	return placed, released, nil
}

// Gone says whether the purge of every day that a decision or a request for records is about was begun, or its tags can't be made any
// more: then nothing of it can be held.
func (g *Gate) Gone(ctx context.Context, basis vault.HoldBasis, number string) (bool, error) {
	var s vault.HoldScope
	var err error
	if basis == vault.HoldByRecords {
		desk := RecordsDesk{Gate: g}
		var r Records
		if r, err = desk.Status(ctx, number); err == nil {
			s, err = desk.holdScope(r.Request)
		}
	} else {
		var c *Case
		if c, err = g.store.Case(number); err == nil {
			s, err = g.HoldScope(c.Decision)
		}
	}
	if errors.Is(err, ErrNoHold) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return false, err
	}
	begun, err := vault.PurgedUnheld(record, "", "")
	return err == nil && !slices.ContainsFunc(s.Rows, func(r vault.HoldRow) bool { return !begun.Has(r.Kind, r.Day) }), err
}

const settles = "tillsyn.gate" // the actor of holds that follow from a decision by themselves

// mayHold says whether the decision of a case may have a hold placed now.
func (g *Gate) mayHold(ctx context.Context, number string) error {
	v, err := g.view(ctx, number)
	if err != nil {
		return err
	}
	if !v.holds() {
		return fmt.Errorf("%w: the decision is %s, only one that may be used holds anything", ErrNoHold, v.State)
	}
	if _, inForce := holdsOf(v.record, v.Digest); inForce {
		return fmt.Errorf("%w: the case has a hold already", ErrNoHold)
	}
	return nil
}

// mayRelease says whether the holds of a case may end now.
func (g *Gate) mayRelease(ctx context.Context, number string) error {
	v, err := g.view(ctx, number)
	if err != nil {
		return err
	}
	switch s := v.Status.State; s {
	case Closed, Revoked, Denied:
		if !v.ended() {
			return fmt.Errorf("%w: the act by which it is %s is not on record, or not in the case store as one who may has signed it: sign it again", ErrNoHold, s)
		}
		return nil
	default:
		return fmt.Errorf("%w: the decision is %s: close the case first, with its result", ErrNoHold, s)
	}
}
