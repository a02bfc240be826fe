package casework

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const typeAccident = "tillsyn accident report v1"

// MaxAccident is the longest time that one report can be about.
const MaxAccident = 24 * time.Hour

func (r *AccidentReport) managed() managed {
	return managed{r.Type, typeAccident, r.Deployment, r.Tenant, r.Actor, r.Register, r.At, r.Nonce}
}

// Validate answers every fault of r, joined, or nil. Messages quote nothing of r.
func (r *AccidentReport) Validate() error {
	faults := append(r.managed().check(), checkPerson(r.Population, r.Subject, r.Actor, r.Manager)...)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, t := range map[string]time.Time{"from": r.From, "to": r.To, "told_at": r.ToldAt} {
		if err := checkTime(t); err != nil {
			fault("%s: %w", name, err)
		}
	}
	switch {
	case r.To.Before(r.From):
		fault("to: is before from")
	case r.To.Sub(r.From) > MaxAccident:
		fault("to: is more than %v after from", MaxAccident)
	case r.ToldAt.Before(r.From):
		fault("told_at: is before it happened")
	case r.At.Before(r.ToldAt):
		fault("told_at: is later than the document")
	}
	if r.Category != "" && !wordForm.MatchString(r.Category) {
		fault("category: is not the name of a category")
	}
	if r.Domain != "" && (len(r.Domain) > 253 || !domainForm.MatchString(r.Domain)) {
		fault("domain: is not a domain in lower case")
	}
	return joinSorted(append(faults, needText("told", r.Told)...))
}

// ReportAccident files what an employee told and puts its digest on record (accident.reported).
func (g *Gate) ReportAccident(ctx context.Context, signed []byte) (seal.Digest, error) {
	var r AccidentReport
	return g.fileByManager(ctx, signed, &r, "report an accident", accidentFile, audit.AccidentReported, func(chain []*seal.Register) (seal.Digest, error) {
		return openByManager(signed, &r, func() string { return r.Population }, chain)
	})
}

// readSome reads a few fields of a document that has yet to be checked.
func readSome(signed []byte, v any) error {
	text, err := seal.Unsigned(signed)
	if err != nil {
		return err
	}
	if len(text) > seal.MaxDocument || json.Unmarshal(text, v) != nil {
		return errors.New("it is not a document")
	}
	return nil
}
