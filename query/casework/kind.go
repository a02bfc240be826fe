package casework

import (
	"fmt"
	"slices"
	"strings"

	"tillsyn/internal/seal"
)

// Kind says what a decision is for.
type Kind string

// The kinds.
const (
	Person        Kind = "person"         // look at one person, on suspicion
	Identify      Kind = "identify"       // who in a unit stands behind a finding: names above a threshold, and nothing else
	SubjectAccess Kind = "subject_access" // a person's own extract (GDPR article 15)
	Police        Kind = "police"         // an extract that the police asks for
	PublicRecord  Kind = "public_record"  // a request for public records (Freedom of the Press Act, chapter 2)
)

// need says whether a field of a decision stands in it.
type need uint8

const (
	may     need = iota // it may be empty
	must                // it must be filled in
	mustNot             // it must be empty
)

func (n need) check(field string, empty bool) error {
	switch {
	case n == must && empty:
		return fmt.Errorf("%s: is missing, which this kind needs", field)
	case n == mustNot && !empty:
		return fmt.Errorf("%s: must be empty in this kind", field)
	}
	return nil
}

// A Reader is who sees the rows that a decision of a kind opens. Nobody else does: not the investigator who runs the lookup, where
// it is for the person or for the desk of public records.
type Reader string

// The readers.
const (
	ShownToInvestigator Reader = "investigator" // [Gate.Lookup]
	ShownToPerson       Reader = "person"       // [Gate.GiveExtract]
	ShownToRegistrar    Reader = "registrar"    // [RecordsDesk.Preview]
)

// A Rule is what one kind of decision needs. Who approves is the same for all: a holder of each of the three roles of the
// seat of the population, since the data key opens in no other way.
type Rule struct {
	Kind    Kind
	About   string // one line, English
	AboutSv string // the same in Swedish

	subject       need
	unit          need
	threshold     need
	allCategories need // the word "all"
	protected     need // protected destinations, by their own reason
	withheld      need // the same kept back
	suspicion     need
	lessIntrusive need
	finding       need
	intrusion     need // and consequences
	policy        need
	union         need // of people who have one: see Unionless
	recipient     need

	shows   Reader
	ownCase bool // the subject may be the requester
}

// Kinds are the rules of all kinds.
func Kinds() []Rule {
	return []Rule{
		{
			Kind: Person, About: "look at one person's log rows, on suspicion of crime or gross breach of the rules",
			AboutSv: "granska en persons loggrader, vid misstanke om brott eller grovt regelbrott",
			subject: must, unit: mustNot, threshold: mustNot,
			suspicion: must, lessIntrusive: must, finding: must, intrusion: must, policy: must, union: must,
			withheld: mustNot, recipient: mustNot, shows: ShownToInvestigator,
		},
		{
			Kind: Identify, About: "find who in a unit stands behind a finding: names above a threshold, nothing else",
			AboutSv: "ta reda på vilka i en enhet som står bakom ett fynd: namn över en gräns, inget annat",
			subject: mustNot, unit: must, threshold: must, allCategories: mustNot, protected: mustNot,
			suspicion: must, lessIntrusive: must, finding: must, intrusion: must, policy: must, union: must,
			withheld: mustNot, recipient: mustNot, shows: ShownToInvestigator,
		},
		{
			Kind: SubjectAccess, About: "give a person an extract of their own rows (GDPR article 15)",
			AboutSv: "lämna en person ett utdrag av de egna raderna (GDPR artikel 15)",
			subject: must, unit: mustNot, threshold: mustNot,
			suspicion: mustNot, lessIntrusive: mustNot, intrusion: mustNot, union: mustNot, ownCase: true,
			protected: mustNot, recipient: must, shows: ShownToPerson,
		},
		{
			Kind: Police, About: "give the police an extract that it has asked for",
			AboutSv: "lämna polisen ett utdrag som den har begärt",
			subject: must, unit: mustNot, threshold: mustNot, finding: must, intrusion: must, policy: must, union: mustNot,
			withheld: mustNot, recipient: mustNot, shows: ShownToInvestigator,
		},
		{
			Kind: PublicRecord, About: "prepare rows that somebody requests as public records, for the secrecy test",
			AboutSv: "ta fram rader som begärts ut som allmän handling, inför sekretessprövning",
			subject: must, unit: mustNot, threshold: mustNot, suspicion: mustNot, lessIntrusive: mustNot, union: mustNot,
			withheld: mustNot, recipient: mustNot, shows: ShownToRegistrar,
		},
	}
}

// Unionless are the populations that no union stands for: their decisions may name one, and may name who is told instead.
func Unionless() []string { return []string{"elected", "pupil"} }

// RuleOf answers the rule of a kind.
func RuleOf(k Kind) (Rule, error) {
	var names []string
	for _, r := range Kinds() {
		if r.Kind == k {
			return r, nil
		}
		names = append(names, string(r.Kind))
	}
	return Rule{}, fmt.Errorf("is not one of %s", strings.Join(names, ", "))
}

// Roles are the roles of which one holder each must approve.
func (Rule) Roles() []seal.Role { return seal.Approvers() }

// Shows is who sees what a decision of this kind opens.
func (r Rule) Shows() Reader { return r.shows }

// unionFor is whether a decision about a population names a union, and informedFor who is told instead.
func (r Rule) unionFor(population string) need {
	if r.union == must && slices.Contains(Unionless(), population) {
		return may
	}
	return r.union
}

func (r Rule) informedFor(population string) need {
	if r.union == must && slices.Contains(Unionless(), population) {
		return may
	}
	return mustNot
}

// check answers what d lacks or has too much for its kind.
func (r Rule) check(d *Decision) []error {
	var faults []error
	for _, f := range []struct {
		need  need
		field string
		empty bool
	}{
		{r.subject, "scope.subject", d.Scope.Subject == ""},
		{r.unit, "scope.unit", d.Scope.Unit == ""},
		{r.threshold, "scope.threshold", d.Scope.Threshold == 0},
		{r.allCategories, "scope.categories: all", !slices.Contains(d.Scope.Categories, AllCategories)},
		{r.protected, "scope.protected", d.Scope.Protected == ""},
		{r.suspicion, "suspicion", d.Suspicion == ""},
		{r.lessIntrusive, "less_intrusive", d.LessIntrusive == ""},
		{r.finding, "finding", d.Finding == ""},
		{r.intrusion, "intrusion", d.Intrusion == ""},
		{r.intrusion, "consequences", d.Consequences == ""},
		{r.policy, "policy", d.Policy == ""},
		{r.unionFor(d.Population), "union", d.Union == ""},
		{r.informedFor(d.Population), "informed", d.Informed == ""},
		{r.withheld, "scope.withheld", d.Scope.Withheld == ""},
		{r.recipient, "recipient", d.Recipient == ""},
	} {
		if err := f.need.check(f.field, f.empty); err != nil {
			faults = append(faults, err)
		}
	}
	if r.subject == mustNot && len(d.Scope.Aliases) > 0 {
		faults = append(faults, fmt.Errorf("scope.aliases: must be empty in this kind"))
	}
	if r.subject == mustNot && len(d.Scope.Names) > 0 {
		faults = append(faults, fmt.Errorf("scope.names: must be empty in this kind"))
	}
	return faults
}
