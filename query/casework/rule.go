package casework

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// A RuleCase is what the record says of one decision.
type RuleCase struct {
	Case      string         `json:"case"`
	Requested audit.Position `json:"requested"`
	At        time.Time      `json:"at"`
	Requester string         `json:"requester"`
	Approvers []string       `json:"approvers"` // in the order of their approvals, those that hold
	Told      bool           `json:"union_told"`
	Ended     string         `json:"ended"` // how, or ""
	Allowed   int64          `json:"lookups_allowed"`
	Lookups   int            `json:"lookups"`
}

// A RuleFinding is an entry of the record that the rule does not allow.
type RuleFinding struct {
	audit.Position
	Case string `json:"case"`
	Text string `json:"text"`
}

// String answers f on one line, place first.
func (f RuleFinding) String() string {
	return fmt.Sprintf("entry %v (case %s): %s", f.Position, f.Case, f.Text)
}

// A RuleReport is the outcome of [CheckRule].
type RuleReport struct {
	Cases    []RuleCase    `json:"cases"`    // in the order of their requests
	Findings []RuleFinding `json:"findings"` // in the order of the record
}

// CheckRule judges the whole record by the one rule, from entries alone: before every lookup stands a decision's request and
// the approvals of three different holders, one of each role by the registers of that time, each signed by its holder and in
// time, and none of them the requester or whoever looks, who are both in the register then; its window is open; the union was
// told, by the signed notice of the requester or a holder, or there was still time to; it has not ended; there are no more lookups
// than it allows, and none without an intent; and no hold was released before what it rests on had ended. Of holds it asks the vault;
// of all else it has its own reading, and asks nothing of the gate's: what the gate should have refused is found here.
//
// What stands in no entry can't be judged: who the subject is, and whether the numbers of the request are those of the
// decision, whose text only its parties have. Whoever has that text compares its digest. The record itself must have been verified.
func CheckRule(record []audit.Record) RuleReport {
	r := ruleCheck{report: RuleReport{Cases: []RuleCase{}, Findings: []RuleFinding{}}, chains: map[string][]*seal.Register{}, notes: map[string][][]byte{}, cases: map[string]*ruledCase{}}
	groundless := map[audit.Position]bool{}
	for _, e := range vault.GroundlessReleases(record) {
		groundless[e.Position] = true
	}
	for i, e := range record {
		r.clock = follow(record, i, r.clock)
		r.entry(e)
		if groundless[e.Position] {
			r.found(e, "a hold is released that is not in force, or although nothing has ended what it rests on: it counts as held")
		}
	}
	for _, c := range r.order {
		r.report.Cases = append(r.report.Cases, c.RuleCase)
	}
	return r.report
}

type ruleCheck struct {
	report RuleReport
	clock  time.Time
	chains map[string][]*seal.Register // by tenant
	notes  map[string][][]byte
	cases  map[string]*ruledCase // by the digest of the decision
	order  []*ruledCase
}

type ruledCase struct {
	RuleCase
	approveBy, notBefore, executeBy time.Time
	union                           bool
	tenant                          string
	registers                       map[string]int // how many registers each tenant had when it was requested
	approvals                       []ruledApproval
	notices                         []ruledNotice
	intents                         map[string]bool
}

type ruledApproval struct {
	at     time.Time
	role   seal.Role
	holder seal.Holder
}

// A ruledNotice is a notice to the union by who they are that gave it.
type ruledNotice struct{ tenant, population string }

func (r *ruleCheck) found(e audit.Record, format string, args ...any) {
	number := e.Case
	if number == "" {
		number = "-"
	}
	r.report.Findings = append(r.report.Findings, RuleFinding{e.Position, number, fmt.Sprintf(format, args...)})
}

func (r *ruleCheck) entry(e audit.Record) {
	c := r.cases[e.Document]
	switch e.Kind {
	case audit.RegisterChanged:
		r.register(e)
	case audit.DecisionRequested:
		r.request(e)
	case audit.DecisionApproved:
		if c == nil {
			r.found(e, "it approves a decision that nobody has requested")
		} else if a, err := r.approval(e, c); err != nil {
			r.found(e, "the approval does not count: %v", err)
		} else {
			c.approvals, c.Approvers = append(c.approvals, a), append(c.Approvers, a.holder.ID)
		}
	case audit.DecisionNotified:
		if c == nil {
			r.found(e, "it tells the union of a decision that nobody has requested")
		} else if n, err := r.notice(e, c); err != nil {
			r.found(e, "the notice does not count: %v", err)
		} else {
			c.notices, c.Told = append(c.notices, n), true
		}
	case audit.DecisionClosed, audit.DecisionRevoked, audit.DecisionDenied:
		if c != nil && c.Ended == "" {
			c.Ended = strings.TrimPrefix(string(e.Kind), "decision.")
		}
	case audit.LookupIntent:
		if c == nil {
			r.found(e, "a lookup without a decision: nobody has requested it")
			return
		}
		c.Lookups++
		for _, err := range r.lookup(e, c) {
			r.found(e, "the lookup is not allowed: %v", err)
		}
		c.intents[strings.TrimSpace(e.Body)] = true
	case audit.LookupResult, audit.LookupUnknown:
		intent, _, _ := strings.Cut(e.Body, "\n")
		if c == nil || !c.intents[strings.TrimSpace(intent)] {
			r.found(e, "the result of a lookup without an intent")
		}
	}
}

// register takes in a register of holders, which must follow the one before.
func (r *ruleCheck) register(e audit.Record) {
	text, err := registerText(e)
	if err != nil {
		r.found(e, "the register of holders can't be read")
		return
	}
	notes := append(slices.Clone(r.notes[text.Tenant]), []byte(e.Body))
	chain, err := seal.OpenChain(notes)
	if err != nil {
		r.found(e, "the register of holders does not follow the one before, or is not signed as it must be: %v", err)
		return
	}
	r.notes[text.Tenant], r.chains[text.Tenant] = notes, chain
}

func (r *ruleCheck) request(e audit.Record) {
	if r.cases[e.Document] != nil {
		r.found(e, "the decision is requested twice")
		return
	}
	c := &ruledCase{intents: map[string]bool{}, registers: map[string]int{}, union: e.Counts["union"] != 0}
	for tenant, chain := range r.chains {
		c.registers[tenant] = len(chain)
	}
	c.RuleCase = RuleCase{Case: e.Case, Requested: e.Position, At: e.At, Requester: e.Actor, Approvers: []string{}, Allowed: e.Counts["lookups"]}
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"approve_by", &c.approveBy}, {"not_before", &c.notBefore}, {"execute_by", &c.executeBy}} {
		seconds, ok := e.Counts[bound.name]
		if !ok {
			r.found(e, "the request does not say its %s", bound.name)
		}
		*bound.at = time.Unix(seconds, 0).UTC()
	}
	r.cases[e.Document] = c
	r.order = append(r.order, c)
}

// approval checks one approval by itself and against those before it.
func (r *ruleCheck) approval(e audit.Record, c *ruledCase) (ruledApproval, error) {
	var none ruledApproval
	text, err := seal.Unsigned([]byte(e.Body))
	if err != nil {
		return none, errors.New("it can't be read")
	}
	var a Act
	if err := seal.ParseCanonical(text, &a); err != nil || a.Type != ActApproval || a.Register == nil {
		return none, errors.New("it is not an approval")
	}
	var tenant string
	var then, current *seal.Register
	for t, chain := range r.chains {
		if n := a.Register.Number; n >= 1 && n <= len(chain) && chain[n-1].Digest() == a.Register.Digest {
			tenant, then, current = t, chain[n-1], chain[len(chain)-1]
		}
	}
	if then == nil {
		return none, errors.New("the register that it names is not in the record before it")
	}
	h, ok := then.Holder(a.Actor)
	now, still := current.Holder(a.Actor)
	switch {
	case a.Decision.String() != e.Document || a.Case != e.Case:
		return none, errors.New("it is on another decision")
	case a.Actor != e.Actor || !ok || h.Role != a.Role || !slices.Contains(seal.Approvers(), h.Role):
		return none, errors.New("who signed held no such role")
	case !still || now.Verifier != h.Verifier || now.Role != h.Role:
		return none, errors.New("who signed held the role no longer")
	case c.tenant != "" && c.tenant != tenant:
		return none, errors.New("it is by a holder of another tenant than the others")
	}
	if _, _, err := seal.Open([]byte(e.Body), h.Verifier); err != nil {
		return none, errors.New("the signature is not its holder's")
	}
	switch {
	case strings.EqualFold(h.ID, c.Requester):
		return none, errors.New("the requester approves his own request")
	case r.clock.After(c.approveBy):
		return none, errors.New("it came after approve_by")
	case a.At.After(r.clock.Add(ClockTolerance)) || a.At.Before(c.At.Add(-ClockTolerance)):
		return none, errors.New("its time is not between the request and its entry")
	}
	for _, other := range c.approvals {
		if a, b := other.holder.Population, h.Population; a != "" && b != "" && a != b {
			return none, errors.New("it is by a holder for another population than the others")
		}
		if other.role == h.Role {
			return none, errors.New("that role has approved already")
		}
		if strings.EqualFold(other.holder.ID, h.ID) || keyOf(other.holder.Verifier) == keyOf(h.Verifier) ||
			slices.ContainsFunc(h.Recipients, func(r string) bool { return slices.Contains(other.holder.Recipients, r) }) {
			return none, errors.New("that person has approved already")
		}
	}
	c.tenant = tenant
	return ruledApproval{r.clock, h.Role, h}, nil
}

// notice checks that the requester or a holder, by a register since the request, has signed that the union was told.
func (r *ruleCheck) notice(e audit.Record, c *ruledCase) (ruledNotice, error) {
	var none ruledNotice
	text, err := seal.Unsigned([]byte(e.Body))
	if err != nil {
		return none, errors.New("it can't be read")
	}
	var a Act
	if err := seal.ParseCanonical(text, &a); err != nil || a.Type != ActNotice || a.Told == "" {
		return none, errors.New("it is not a notice")
	}
	switch {
	case a.Decision.String() != e.Document || a.Case != e.Case:
		return none, errors.New("it is on another decision")
	case a.Actor != e.Actor:
		return none, errors.New("who signed is not who the entry names")
	case a.At.After(r.clock.Add(ClockTolerance)):
		return none, errors.New("its time is after its entry")
	case a.ToldAt.After(a.At) || a.ToldAt.Before(c.At.Add(-ClockTolerance)):
		return none, errors.New("by it the union was told before the request, or after it was signed")
	}
	for tenant, chain := range r.chains {
		if c.tenant != "" && c.tenant != tenant {
			continue
		}
		for _, register := range slices.Backward(chain[max(0, c.registers[tenant]-1):]) {
			p, known := register.Person(a.Actor)
			h, holds := register.Holder(a.Actor)
			if !known || !holds && a.Actor != c.Requester {
				continue
			}
			if _, _, err := seal.Open([]byte(e.Body), p.Verifier); err == nil {
				return ruledNotice{tenant, h.Population}, nil
			}
		}
	}
	return none, errors.New("the signature is not that of the requester, or of a holder")
}

// told says whether one of the notices is by somebody of the tenant and population that approved.
func (c *ruledCase) told() bool {
	return slices.ContainsFunc(c.notices, func(n ruledNotice) bool {
		return n.tenant == c.tenant && !slices.ContainsFunc(c.approvals, func(a ruledApproval) bool {
			return n.population != "" && a.holder.Population != "" && n.population != a.holder.Population
		})
	})
}

// lookup answers everything that speaks against a lookup.
func (r *ruleCheck) lookup(e audit.Record, c *ruledCase) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	active := c.notBefore
	for _, role := range seal.Approvers() {
		i := slices.IndexFunc(c.approvals, func(a ruledApproval) bool { return a.role == role })
		if i < 0 {
			fault("no valid approval of %s stands before it", role)
			continue
		}
		active = later(active, c.approvals[i].at)
	}
	if chain := r.chains[c.tenant]; len(chain) > 0 {
		current := chain[len(chain)-1]
		looks, known := current.Person(e.Actor)
		if !known {
			fault("who looks is not in the register of that time")
		}
		asks, enrolled := current.Person(c.Requester)
		if !enrolled {
			fault("who requested it is not in the register of that time")
		}
		if _, known := current.Person(c.Requester); !known {
			fault("who requested it is not in the register of that time")
		}
		for _, a := range c.approvals {
			if strings.EqualFold(a.holder.ID, e.Actor) || known && keyOf(a.holder.Verifier) == keyOf(looks.Verifier) {
				fault("who looks has approved it: %s", a.holder.ID)
			}
			if enrolled && keyOf(a.holder.Verifier) == keyOf(asks.Verifier) {
				fault("who requested it has approved it: %s", a.holder.ID)
			}
			if now, ok := current.Holder(a.holder.ID); !ok || now.Verifier != a.holder.Verifier || now.Role != a.role {
				fault("%s, who approved it as %s, held the role no longer", a.holder.ID, a.role)
			}
		}
	}
	switch {
	case r.clock.Before(c.notBefore):
		fault("not_before had not come")
	case !r.clock.Before(c.executeBy):
		fault("execute_by had passed")
	}
	if c.union && !c.told() && r.clock.After(active.Add(UnionDeadline)) {
		fault("the union had not been told within %d hours", int(UnionDeadline.Hours()))
	}
	if c.Ended != "" {
		fault("the decision was %s", c.Ended)
	}
	if int64(c.Lookups) > c.Allowed {
		fault("it is lookup %d of %d", c.Lookups, c.Allowed)
	}
	if c.intents[strings.TrimSpace(e.Body)] {
		fault("the same request was used before")
	}
	return faults
}

// requestCounts is what the record has of a decision in numbers: what [CheckRule] must know of it without its text.
func requestCounts(d *Decision, days int64) map[string]int64 {
	counts := map[string]int64{"days": days, "sources": int64(len(d.Scope.Sources)), "lookups": int64(d.Lookups), "union": 0,
		"approve_by": d.ApproveBy.Unix(), "not_before": d.NotBefore.Unix(), "execute_by": d.ExecuteBy.Unix()}
	if d.Union != "" {
		counts["union"] = 1
	}
	return counts
}
