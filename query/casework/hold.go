package casework

import (
	"context"
	"errors"
	"fmt"

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
		return s, errors.New("all days of its scope are purged")
	}
	return s, nil
}

// PlaceHold keeps what a decision is about from being purged. It must be active or suspended, also at the moment when the hold
// goes on record. signer is whoever asks: somebody who is entitled to the case. One hold a case is enough: a second is refused.
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
		Authorise: func(ctx context.Context) error {
			v, err := g.view(ctx, number)
			if err != nil {
				return err
			}
			if s := v.Status.State; s != Active && s != Suspended {
				return fmt.Errorf("%w: the decision is %s, only one that may be used holds anything", ErrNoHold, s)
			}
			for _, h := range holdsOf(v.record, number) {
				if h {
					return fmt.Errorf("%w: the case has a hold already", ErrNoHold)
				}
			}
			return nil
		},
	})
}

// ErrNoHold is when a hold may not be placed or released.
var ErrNoHold = errors.New("the hold is refused")

// ReleaseHolds ends the holds of a case that has ended: closed, revoked or denied. Expiry of the approval does not end them.
func (g *Gate) ReleaseHolds(ctx context.Context, number string, signer *seal.Signer, r vault.HoldRegister) ([]vault.Hold, error) {
	if _, _, err := g.Entitled(ctx, number, signer); err != nil {
		return nil, fmt.Errorf("release the holds of a case: %w", err)
	}
	return r.Release(ctx, number, signer.Name(), func(ctx context.Context) error {
		v, err := g.view(ctx, number)
		if err != nil {
			return err
		}
		switch s := v.Status.State; s {
		case Closed, Revoked, Denied:
			return nil
		default:
			return fmt.Errorf("%w: the decision is %s: close the case first, with its result", ErrNoHold, s)
		}
	})
}

// holdsOf answers for each hold of a case whether it is in force, by digest.
func holdsOf(record []audit.Record, number string) map[string]bool {
	holds := map[string]bool{}
	for _, e := range record {
		if e.Case != number {
			continue
		}
		switch e.Kind {
		case audit.HoldPlaced:
			holds[e.Document] = true
		case audit.HoldReleased:
			holds[e.Document] = false
		}
	}
	return holds
}
