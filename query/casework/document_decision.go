package casework

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A DecisionFile is everything that there is about a decision, checked by whoever read it: what [DecisionFile.Page] shows.
type DecisionFile struct {
	Authority string // whose register it goes into
	Decision  *Decision
	Digest    seal.Digest
	Acts      []Act          // on the decision, as they were filed
	Record    []audit.Record // of the case, in order
	State     string         // at Made; a word of the state machine
	Made      time.Time
}

// Page is the decision as a document for the authority's register (diarium): what was decided, by whom, on what ground, what was
// done with it and what came of it. Swedish first.
func (f DecisionFile) Page() Page {
	d := f.Decision
	rule, _ := RuleOf(d.Kind)
	p := Page{
		From: f.Authority,
		Heading: Phrase{
			"Beslut om åtkomst till loggar, ärende " + Clipped(d.Case, 64),
			"Decision on access to logs, case " + Clipped(d.Case, 64),
		},
		Lead: Phrase{
			"Handlingen visar beslutet, vem som fattat det, hur det har använts och vad det ledde till. Den innehåller personuppgifter och kan omfattas av sekretess.",
			"This document shows the decision, who took it, how it was used and what came of it. It holds personal data and may be secret.",
		},
		Foot: f.foot(rule),
	}
	p.Sections = append(f.decided(rule), f.approvals(), f.notice(), f.executions(), f.result(), f.evidence())
	return p
}

// Asked is everything that the decision itself says, which whoever approves it signs.
func (f DecisionFile) Asked() []Section {
	rule, _ := RuleOf(f.Decision.Kind)
	f.Acts, f.Record = nil, nil
	return append(f.decided(rule), f.notice(), f.evidence())
}

func (f DecisionFile) decided(rule Rule) []Section {
	d := f.Decision
	return []Section{
		{Heading: Phrase{"Beslutet", "The decision"}, Facts: []Fact{
			{Term: Phrase{"Ärendenummer", "Case number"}, Value: d.Case},
			{Term: Phrase{"Läge", "State"}, Value: stateInWords(f.State)},
			{Term: Phrase{"Slag", "Kind"}, Value: rule.AboutSv + " (" + string(d.Kind) + ")"},
			{Term: Phrase{"Myndighet", "Authority"}, Value: d.Tenant},
			{Term: Phrase{"Grupp", "Population"}, Value: populationInWords(d.Population)},
			{Term: Phrase{"Grund", "Ground"}, Value: d.Ground},
			{Term: Phrase{"Begärt", "Requested"}, Value: clockTime(d.Requested)},
			{Term: Phrase{"Begärt av", "Requested by"}, Value: d.Requester.Named()},
			{Term: Phrase{"Utredare", "Investigators"}, Value: investigatorsOf(d)},
			{Term: Phrase{"Gäller från", "Not before"}, Value: clockTime(d.NotBefore)},
			{Term: Phrase{"Ska godkännas senast", "To be approved by"}, Value: clockTime(d.ApproveBy)},
			{Term: Phrase{"Får användas till", "May be used until"}, Value: clockTime(d.ExecuteBy)},
			{Term: Phrase{"Högsta antal sökningar", "Largest number of lookups"}, Value: strconv.Itoa(d.Lookups)},
		}},
		{Heading: Phrase{"Omfattning", "Scope"}, Facts: append(scopeFacts(d), recipientFacts(d)...), Text: []Phrase{{
			"Bara det som står här kan läsas. Systemet kan inte visa en annan person, dag, källa eller kategori.",
			"Only what stands here can be read. The system can't show another person, day, source or category.",
		}}},
		{Heading: Phrase{"Skäl", "Reasons"}, Facts: filled([]Fact{
			{Term: Phrase{"Misstanke", "Suspicion"}, Value: d.Suspicion},
			{Term: Phrase{"Skäl", "Reason"}, Value: d.Reason},
			{Term: Phrase{"Mindre ingripande åtgärder som övervägts", "Less intrusive means considered"}, Value: d.LessIntrusive},
			{Term: Phrase{"Underlag", "Finding or request behind it"}, Value: d.Finding},
			{Term: Phrase{"Hur djupt det griper in", "Degree of intrusion"}, Value: d.Intrusion},
			{Term: Phrase{"Följder för den enskilde", "Consequences for the person"}, Value: d.Consequences},
			{Term: Phrase{"Regler som personen fått information om", "Rules that people had been told of"}, Value: d.Policy},
		})},
	}
}

func (f DecisionFile) foot(rule Rule) []Phrase {
	made := clockTime(f.Made)
	if rule.shows != ShownToInvestigator { // there is no archive of the case
		return []Phrase{{
			"Framställd " + made + " av tillsyn. Den signerade texten, inte denna sida, är beslutet; dess kontrollsumma står i loggboken, som tillsyn audit verify kontrollerar.",
			"Made " + made + " by tillsyn. The signed text, not this page, is the decision; its digest stands in the record, which tillsyn audit verify checks.",
		}}
	}
	return []Phrase{{
		"Framställd " + made + " av tillsyn. Den signerade texten, inte denna sida, är beslutet; kontrollera den med tillsyn export verify.",
		"Made " + made + " by tillsyn. The signed text, not this page, is the decision; check it with tillsyn export verify.",
	}}
}

func investigatorsOf(d *Decision) string {
	var ids []string
	for _, p := range d.Investigators {
		ids = append(ids, p.Named())
	}
	return strings.Join(ids, "\n")
}

// scopeFacts are what a decision opens, in words.
func scopeFacts(d *Decision) []Fact {
	s := d.Scope
	categories := strings.Join(s.Categories, ", ")
	if slices.Contains(s.Categories, AllCategories) {
		categories = "alla utom skyddade / all but protected ones (all)"
		if d.showsProtected() {
			categories = "alla, även skyddade / all, protected ones too (all)"
		}
	}
	threshold := ""
	if s.Threshold > 0 {
		threshold = strconv.Itoa(s.Threshold)
	}
	return filled([]Fact{
		{Term: Phrase{"Person", "Person"}, Value: s.Subject},
		{Term: Phrase{"Personens andra namn i loggarna", "Other names of the person in the logs"}, Value: strings.Join(s.Names, ", ")},
		{Term: Phrase{"Personens andra id", "Other ids of the person"}, Value: strings.Join(s.Aliases, ", ")},
		{Term: Phrase{"Enhet", "Unit"}, Value: s.Unit},
		{Term: Phrase{"Dagar (UTC)", "Days (UTC)"}, Value: s.From + " – " + s.To},
		{Term: Phrase{"Källor", "Sources"}, Value: sourcesInWords(s.Sources)},
		{Term: Phrase{"Kategorier", "Categories"}, Value: categories},
		{Term: Phrase{"Skyddade webbplatser ingår, därför att", "Protected destinations are included because"}, Value: s.Protected},
		{Term: Phrase{"Skyddade webbplatser hålls tillbaka, därför att", "Protected destinations are kept back because"}, Value: s.Withheld},
		{Term: Phrase{"Namn ges över detta antal händelser", "Names are given above this number of events"}, Value: threshold},
	})
}

// recipientFacts say to whom a person's own extract goes.
func recipientFacts(d *Decision) []Fact {
	term := Phrase{"Utdraget krypteras till", "The extract is encrypted to"}
	switch d.Recipient {
	case "":
		return nil
	case ByLetter:
		return []Fact{{Term: term, Value: "ett lösenord som personen får i brev; den som lämnar ut båda kan öppna det / a passphrase that the person gets by letter; who hands out both could open it"}}
	}
	return []Fact{{Term: term, Value: d.Recipient, Code: true}}
}

// filled leaves out facts that this decision does not have.
func filled(facts []Fact) []Fact {
	return slices.DeleteFunc(facts, func(f Fact) bool { return f.Value == "" })
}

func (f DecisionFile) approvals() Section {
	t := Table{
		Caption: Phrase{"Godkännanden och avslag", "Approvals and denials"},
		Head:    []Phrase{{"Roll", "Role"}, {"Vem", "Who"}, {"Vad", "What"}, {"När", "When"}, {"Skäl", "Reason"}},
	}
	for _, a := range f.Acts {
		switch a.Type {
		case ActApproval:
			t.Rows = append(t.Rows, []string{roleInWords(a.Role), a.Actor, "godkänt / approved", clockTime(a.At), ""})
		case ActDenial:
			t.Rows = append(t.Rows, []string{roleInWords(a.Role), a.Actor, "avslaget / denied", clockTime(a.At), a.Reason})
		case ActRevocation:
			t.Rows = append(t.Rows, []string{"–", a.Actor, "återkallat / revoked", clockTime(a.At), a.Reason})
		}
	}
	s := Section{Heading: Phrase{"Beslutsfattare", "Who decided"}}
	if len(t.Rows) == 0 {
		s.Text = []Phrase{{"Ingen har ännu godkänt eller avslagit.", "Nobody has approved or denied yet."}}
		return s
	}
	s.Text = []Phrase{{
		"Tre roller måste godkänna var för sig. Var och en har skrivit under med sin egen nyckel.",
		"Three roles must approve, each on their own. Each signed with their own key.",
	}}
	s.Tables = []Table{t}
	return s
}

func (f DecisionFile) notice() Section {
	s := Section{Heading: Phrase{"Underrättelse till facket", "Notice to the union"}, Facts: filled([]Fact{
		{Term: Phrase{"Ska underrättas", "To be told"}, Value: f.Decision.Union},
		{Term: Phrase{"I stället underrättas", "Told instead"}, Value: Clipped(f.Decision.Informed, maxShort)},
	})}
	if !f.Decision.NeedsUnion() {
		s.Text = []Phrase{{"Krävs inte för detta slags beslut eller denna grupp.", "Not needed for this kind of decision or this population."}}
		return s
	}
	told := false
	for _, a := range f.Acts {
		if a.Type == ActNotice {
			told = true
			s.Facts = append(s.Facts, Fact{Term: Phrase{"Underrättad", "Told"}, Value: fmt.Sprintf("%s, %s (%s)", a.Told, clockTime(a.ToldAt), a.Actor)})
		}
	}
	if !told {
		s.Text = []Phrase{{
			"Ingen underrättelse är antecknad. Utan den inom 24 timmar kan beslutet inte användas.",
			"No notice is on record. Without one within 24 hours the decision can't be used.",
		}}
	}
	return s
}

func (f DecisionFile) executions() Section {
	t := Table{
		Caption: Phrase{"Användning", "Use"},
		Head:    []Phrase{{"När", "When"}, {"Vad", "What"}, {"Vem", "Who"}, {"Tal", "Figures"}, {"Post i loggboken", "Entry in the record"}},
	}
	for _, r := range f.Record {
		switch r.Kind {
		case audit.LookupIntent, audit.LookupResult, audit.LookupUnknown, audit.AccessRefused, audit.ExportMade, audit.HoldPlaced, audit.HoldReleased,
			audit.RecordsRequested, audit.RecordsConfirmed, audit.RecordsDecided, audit.RecordsClosed, audit.ExportRemoved:
			t.Rows = append(t.Rows, []string{clockTime(r.At), string(r.Kind), r.Actor, figures(r.Counts), position(r)})
		}
	}
	s := Section{Heading: Phrase{"Så har beslutet använts", "How the decision was used"}}
	if len(t.Rows) == 0 {
		s.Text = []Phrase{{"Beslutet har inte använts.", "The decision has not been used."}}
		return s
	}
	s.Tables = []Table{t}
	return s
}

func (f DecisionFile) result() Section {
	s := Section{Heading: Phrase{"Resultat", "Result"}}
	for _, a := range f.Acts {
		if a.Type == ActClosing {
			s.Facts = append(s.Facts, Fact{Term: Phrase{"Vad det ledde till", "What came of it"}, Value: a.Result},
				Fact{Term: Phrase{"Avslutat", "Closed"}, Value: clockTime(a.At) + ", " + a.Actor})
		}
	}
	if len(s.Facts) == 0 {
		s.Text = []Phrase{{"Ärendet är inte avslutat. Det kan bara avslutas med ett resultat.", "The case is open. It can be closed only with a result."}}
	}
	return s
}

func (f DecisionFile) evidence() Section {
	t := Table{
		Caption: Phrase{"Poster i loggboken", "Entries in the record"},
		Head:    []Phrase{{"Post", "Entry"}, {"När", "When"}, {"Slag", "Kind"}, {"Vem", "Who"}, {"Handling", "Document"}},
	}
	for _, r := range f.Record {
		t.Rows = append(t.Rows, []string{position(r), clockTime(r.At), string(r.Kind), r.Actor, r.Document})
	}
	s := Section{Heading: Phrase{"Bevis", "Evidence"}, Facts: []Fact{
		{Term: Phrase{"Beslutets kontrollsumma", "Digest of the decision"}, Value: f.Digest.String(), Code: true},
		{Term: Phrase{"Installation", "Deployment"}, Value: Clipped(f.Decision.Deployment, 100)},
		{Term: Phrase{"Begärt med nyckel", "Requester's key"}, Value: f.Decision.Requester.Key, Code: true},
		{Term: Phrase{"Utredarnas nycklar", "Investigators' keys"}, Value: keysOf(f.Decision.Investigators), Code: true},
		{Term: Phrase{"Register över behöriga", "Register of holders"}, Value: fmt.Sprintf("nr %d, %s", f.Decision.Register.Number, f.Decision.Register.Digest), Code: true},
	}}
	if len(t.Rows) > 0 {
		s.Tables = []Table{t}
	}
	return s
}

func keysOf(people []Signatory) string {
	var keys []string
	for _, p := range people {
		keys = append(keys, p.Key)
	}
	return strings.Join(keys, "\n")
}

func position(r audit.Record) string { return fmt.Sprintf("%04d/%d", r.Segment, r.Index) }

func figures(counts map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(list, ", ")
}

func clockTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func roleInWords(r seal.Role) string {
	switch r {
	case seal.Manager:
		return "ansvarig chef / responsible manager"
	case seal.HR:
		return "HR-chef / head of HR"
	case seal.Security:
		return "informationssäkerhetschef / chief of information security"
	}
	return string(r)
}

func populationInWords(population string) string {
	switch population {
	case "staff":
		return "anställda / staff"
	case "elected":
		return "förtroendevalda / elected officials"
	case "pupil":
		return "elever / pupils"
	case "unknown":
		return "okänd / unknown"
	}
	return population
}

func sourcesInWords(sources []string) string {
	list := slices.Clone(sources)
	for i, s := range list {
		switch s {
		case Web:
			list[i] = "webb / web"
		case Mail:
			list[i] = "e-post / mail"
		}
	}
	return strings.Join(list, ", ")
}

func stateInWords(state string) string {
	words := map[string]string{
		"draft": "utkast", "pending": "väntar på godkännande", "active": "gäller", "suspended": "vilande", "expired": "har löpt ut",
		"revoked": "återkallat", "closed": "avslutat", "denied": "avslaget",
	}
	if swedish, ok := words[state]; ok {
		return swedish + " / " + state
	}
	return state
}
