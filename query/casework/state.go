package casework

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// State is how far a decision has come. It is never stored.
type State string

// The states.
const (
	Draft     State = "draft"     // signed, not in the record
	Pending   State = "pending"   // approvals are missing, or not_before has not come
	Active    State = "active"    // it may be used
	Suspended State = "suspended" // nobody told the union within UnionDeadline, which telling it ends; or an act in the store is no one's who may
	Expired   State = "expired"   // not approved by approve_by, or execute_by has come
	Revoked   State = "revoked"
	Denied    State = "denied"
	Closed    State = "closed" // with a result
)

// UnionDeadline is how long a decision may be used before the union must have been told.
const UnionDeadline = 24 * time.Hour

// Evidence is what the state of a decision follows from.
type Evidence struct {
	Decision *Decision
	Digest   seal.Digest
	Acts     [][]byte         // as they are in the case store
	Record   []audit.Record   // the whole record, in order
	Chain    []*seal.Register // of the tenant, from number 1
}

// An ApprovedBy is an approval that counts.
type ApprovedBy struct {
	Role     seal.Role
	Holder   string
	At       time.Time   // when it reached the record
	Act      seal.Digest // of the signed act
	Handover seal.Digest
	holder   seal.Holder
}

// Status is the state of a decision, and what led to it. It names no subject.
type Status struct {
	State     State
	Why       string // one line
	Requested time.Time
	Approvals []ApprovedBy
	Missing   []seal.Role // whose approval is missing
	Active    time.Time   // since when it may be used; zero: not yet
	Notified  time.Time   // when the notice of the union reached the record
	Ended     time.Time   // when it was denied, revoked or closed, by the record
	Certain   bool        // the act that ended it is on record and in the store, and one who might do it has signed it
	Unproved  int         // acts in the store that nobody who may has signed, or that are about another decision
	Lookups   int         // how many were begun
	Left      int         // how many may still be
	Used      []string    // digests of the lookup documents that were used
	Now       time.Time   // the clock that counted
}

// A recordedAct is an entry about the decision, at the time that counted then.
type recordedAct struct {
	audit.Entry
	at time.Time
}

// StateOf judges e at now. It is pure.
func StateOf(e Evidence, now time.Time) Status {
	var (
		d     = e.Decision
		s     = Status{Left: d.Lookups, Missing: seal.Approvers()}
		about = map[audit.Kind][]recordedAct{}
		clock time.Time
	)
	rule, err := RuleOf(d.Kind)
	if err != nil { // a decision that was opened has a kind
		return Status{State: Draft, Why: "its kind is not known"}
	}
	for i, r := range e.Record {
		// A clock that was turned back must not bring an entry before a deadline.
		clock = follow(e.Record, i, clock)
		if r.Document == e.Digest.String() {
			about[r.Kind] = append(about[r.Kind], recordedAct{r.Entry, clock})
		}
	}
	s.Now = now.UTC()
	if clock.After(s.Now) {
		s.Now = clock
	}
	for _, i := range about[audit.LookupIntent] {
		s.Lookups++
		s.Used = append(s.Used, strings.TrimSpace(i.Body))
	}
	s.Left = max(0, d.Lookups-s.Lookups)

	requested := about[audit.DecisionRequested]
	if len(requested) > 0 {
		s.Requested = requested[0].at
	}
	s.Approvals = e.approvals(about[audit.DecisionApproved], s.Requested)
	s.Missing = slices.DeleteFunc(rule.Roles(), func(r seal.Role) bool {
		return slices.ContainsFunc(s.Approvals, func(a ApprovedBy) bool { return a.Role == r })
	})
	if len(s.Missing) == 0 {
		for _, a := range s.Approvals {
			s.Active = later(s.Active, a.At)
		}
		s.Active = later(s.Active, d.NotBefore)
	}
	proved, unproved := e.proved()
	s.Unproved = unproved
	s.Notified = d.notified(about[audit.DecisionNotified], proved)
	is := func(state State, format string, args ...any) Status {
		s.State, s.Why = state, fmt.Sprintf(format, args...)
		return s
	}
	for _, end := range []struct {
		state State
		kind  audit.Kind
		typ   string
		why   string
	}{
		{Closed, audit.DecisionClosed, "", "closed with a result"},
		{Denied, audit.DecisionDenied, ActDenial, "an approver denied it"},
		{Revoked, audit.DecisionRevoked, ActRevocation, "it was revoked"},
	} {
		if found := about[end.kind]; len(found) > 0 {
			s.Ended = found[0].at
			// Nothing is let go by the word of the record or of the store alone.
			s.Certain = slices.ContainsFunc(found, func(r recordedAct) bool {
				return slices.ContainsFunc(proved, func(a provedAct) bool { return a.kind == end.kind && a.digest.String() == r.Body && a.Actor == r.Actor })
			})
			return is(end.state, "%s", end.why)
		}
		// What ends a decision counts even if a crash kept it out of the record.
		if end.typ != "" && slices.ContainsFunc(proved, func(a provedAct) bool { return a.Type == end.typ }) {
			return is(end.state, "%s, which is not in the record yet", end.why)
		}
	}
	switch {
	case len(requested) == 0:
		return is(Draft, "it is not in the record")
	case !near(d.Requested, s.Requested):
		return is(Draft, "its time of request is not that of the record")
	case len(e.Chain) < d.Register.Number || e.Chain[d.Register.Number-1].Digest() != d.Register.Digest:
		return is(Draft, "the register that it names is not in the chain")
	case len(s.Missing) > 0 && s.Now.After(d.ApproveBy):
		return is(Expired, "%d of %d approvals by approve_by", len(s.Approvals), len(rule.Roles()))
	case len(s.Missing) > 0:
		return is(Pending, "%d of %d approvals", len(s.Approvals), len(rule.Roles()))
	case !s.Now.Before(d.ExecuteBy):
		return is(Expired, "execute_by has come")
	case s.Now.Before(d.NotBefore):
		return is(Pending, "not_before has not come")
	case s.Unproved > 0:
		// It may be a revocation that somebody damaged, and must not be taken for one that somebody made up.
		return is(Suspended, "%d acts in the case store are signed by nobody who may: tell the data protection officer", s.Unproved)
	case d.NeedsUnion() && s.Notified.IsZero() && s.Now.After(s.Active.Add(UnionDeadline)):
		return is(Suspended, "the union was not told within %d hours", int(UnionDeadline.Hours()))
	case s.Left == 0:
		return is(Active, "all lookups are used")
	}
	return is(Active, "%d of %d lookups left", s.Left, d.Lookups)
}

// approvals are those that count: in the record by approve_by and in the store, signed by one who may, one for each role, by
// different people.
func (e Evidence) approvals(entries []recordedAct, requested time.Time) []ApprovedBy {
	var list []ApprovedBy
	if requested.IsZero() { // what nobody requested, nobody approves
		return nil
	}
	stored := map[seal.Digest]bool{}
	for _, a := range e.Acts {
		stored[seal.DigestOf(a)] = true
	}
	for _, entry := range entries {
		signed := []byte(entry.Body)
		digest := seal.DigestOf(signed)
		if !stored[digest] || entry.at.After(e.Decision.ApproveBy) {
			continue
		}
		a, err := openAct(signed, e.Decision, e.Digest, e.Chain)
		// A document may be days on its way, but comes from no time before the request or after its entry.
		if err != nil || a.Type != ActApproval || a.Actor != entry.Actor || entry.at.Before(requested) ||
			a.At.Before(e.Decision.Requested.Add(-ClockTolerance)) || a.At.After(entry.at.Add(ClockTolerance)) {
			continue
		}
		h, err := e.Decision.approver(&a, e.Chain)
		if err != nil || slices.ContainsFunc(list, func(o ApprovedBy) bool { return o.Role == a.Role || samePerson(o.holder, h) }) {
			continue
		}
		list = append(list, ApprovedBy{Role: a.Role, Holder: a.Actor, At: entry.at, Act: digest, Handover: a.Handover, holder: h})
	}
	return list
}

// notified is when the union was told: by the first entry that has, whole, the notice of one who may give it, which is in the store too.
func (d *Decision) notified(entries []recordedAct, proved []provedAct) time.Time {
	for _, entry := range entries {
		digest := seal.DigestOf([]byte(entry.Body))
		if slices.ContainsFunc(proved, func(a provedAct) bool {
			return a.Type == ActNotice && a.digest == digest && a.Actor == entry.Actor && !a.ToldAt.Before(d.Requested) && !a.At.After(entry.at.Add(ClockTolerance))
		}) {
			return entry.at
		}
	}
	return time.Time{}
}

// near says whether the time in a document is that of its entry, but for the time that people and clocks take.
func near(document, recorded time.Time) bool {
	d := recorded.Sub(document)
	return d <= ClockTolerance && d >= -ClockTolerance
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// A provedAct is an act in the store that one who might do it has signed.
type provedAct struct {
	Act
	kind   audit.Kind
	digest seal.Digest // of the signed act
}

// proved are the acts in the store that open by the current register, or by an earlier one since the decision was requested:
// who has left could still do it then. Of the others unproved says how many there are, but for approvals of this decision: those
// do not count, and can't be anything that would end it.
func (e Evidence) proved() (list []provedAct, unproved int) {
	for _, signed := range e.Acts {
		a, err := e.openAny(signed)
		rule, fault := actRuleOf(a.Type)
		switch {
		case err == nil && fault == nil && a.Type != ActLookup:
			list = append(list, provedAct{a, rule.kind, seal.DigestOf(signed)})
		case a.Type != ActApproval || a.Decision != e.Digest || a.Case != e.Decision.Case:
			unproved++
		}
	}
	return list, unproved
}

// openAny opens an act by the newest register that it opens by. With its error it answers what there is to read.
func (e Evidence) openAny(signed []byte) (a Act, err error) {
	last := len(e.Chain)
	for n := last; n >= max(0, min(e.Decision.Register.Number, last)); n-- {
		if a, err = openAct(signed, e.Decision, e.Digest, e.Chain[:n]); err == nil {
			return a, nil
		}
	}
	a, _ = ReadAct(signed)
	return a, err
}
