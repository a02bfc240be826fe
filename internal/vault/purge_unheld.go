package vault

import (
	"errors"
	"fmt"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// ErrUnheld is when rows that are due may be asked for by a decision or a request, and no hold on record keeps them. Nothing is
// removed then.
var ErrUnheld = errors.New("nothing is purged before what is asked for is held")

// An Unheld is a decision that may be used, or a request for public records that nobody has decided, without a hold.
type Unheld struct {
	Case     string
	Basis    HoldBasis
	Document string // "sha256:..." of the decision or the request
}

// String says what is not held and what to do.
func (u Unheld) String() string {
	if u.Basis == HoldByRecords {
		return fmt.Sprintf("case %s: public records were requested, and their hold is not on record: repeat 'tillsyn records request' with the same request, or decide it", u.Case)
	}
	return fmt.Sprintf("case %s: the decision is approved, and no hold is on record for it: run the purge where the gate is, or 'tillsyn hold place' there, or close the case", u.Case)
}

// UnheldOnRecord answers, by the record alone, everything that could need rows and that no hold keeps, or has kept until it
// ended: decisions that as many people have approved as there are roles and nobody has ended, and requests without a decision. It
// errs on the side of what may need rows: a decision that has expired is among them, because the record does not say when it
// does.
func UnheldOnRecord(records []audit.Record) []Unheld {
	approvers, ended, decided := map[string]map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range records {
		switch e.Kind {
		case audit.DecisionApproved:
			if approvers[e.Document] == nil {
				approvers[e.Document] = map[string]bool{}
			}
			approvers[e.Document][e.Actor] = true
		case audit.DecisionDenied, audit.DecisionRevoked, audit.DecisionClosed:
			ended[e.Document] = true
		case audit.RecordsDecided:
			decided[e.Case] = true
		}
	}
	var list []Unheld
	seen := map[string]bool{}
	for _, e := range records {
		u := Unheld{Case: e.Case, Document: e.Document}
		switch {
		case e.Kind == audit.DecisionRequested && len(approvers[e.Document]) >= len(seal.Approvers()) && !ended[e.Document]:
			u.Basis = HoldByDecision
		case e.Kind == audit.RecordsRequested && !decided[e.Case]:
			u.Basis = HoldByRecords
		default:
			continue
		}
		// A hold on record is in force, or what it rests on has ended.
		if !seen[u.Document] && len(HoldsOn(records, u.Basis, u.Document)) == 0 {
			list = append(list, u)
		}
		seen[u.Document] = true
	}
	return list
}

// CheckHeld refuses with [ErrUnheld], naming all of them, as long as something is unheld that is not among those that need no hold, by
// document.
func CheckHeld(records []audit.Record, needless map[string]bool) error {
	var faults []error
	for _, u := range UnheldOnRecord(records) {
		if !needless[u.Document] {
			faults = append(faults, errors.New(u.String()))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", ErrUnheld, err)
	}
	return nil
}
