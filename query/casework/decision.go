package casework

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"tillsyn/internal/seal"
)

const (
	typeDecision = "tillsyn decision v1"

	// MaxDays is the most days that a decision can cover, or reach back: what is older is purged. One on public records may come later
	// than the request that it serves, which held them, and reach back twice as far.
	MaxDays = 90
	// MaxLookups is the most lookups that a decision can allow.
	MaxLookups = 100
	// MaxInvestigators is the most investigators that a decision can name.
	MaxInvestigators = 5
	// MaxNames is the most names beside the first under which a decision can know one person.
	MaxNames = 8
	// MinThreshold is the least number of events above which identify names somebody.
	MinThreshold = 5
	// MaxApproveIn is the longest that a decision may wait for its approvals.
	MaxApproveIn = 30 * 24 * time.Hour
	// MaxExecuteIn is the longest that a decision may be used, counted from approve_by.
	MaxExecuteIn = 90 * 24 * time.Hour
	// ClockTolerance is how far the time in a document may be from when it reaches the record.
	ClockTolerance = 15 * time.Minute

	// AllCategories is the one word that stands for all categories, but the protected ones.
	AllCategories = "all"
	// ByLetter is the one word for a person without an age key: the extract is encrypted to a passphrase, which a letter brings. Who
	// hands out file and letter could open it.
	ByLetter = "letter"
	// Web and Mail are the sources.
	Web  = "web"
	Mail = "mail"

	maxText  = 4000
	maxShort = 200
)

var (
	idForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	caseForm    = regexp.MustCompile(`^[A-Za-z0-9ÅÄÖåäö]([A-Za-z0-9ÅÄÖåäö ._/:-]*[A-Za-z0-9ÅÄÖåäö])?$`)
	subjectForm = regexp.MustCompile(`^[a-z0-9åäöéèüæø]([a-z0-9åäöéèüæø ._@+:'\\-]{0,126}[a-z0-9åäöéèüæø])?$`)
	unitForm    = regexp.MustCompile(`^[A-Za-z0-9ÅÄÖåäöÉéÈèÜüÆæØø]([A-Za-z0-9ÅÄÖåäöÉéÈèÜüÆæØø ._/&()+,-]{0,126}[A-Za-z0-9ÅÄÖåäöÉéÈèÜüÆæØø)])?$`)
	wordForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	originForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9./-]{0,99}$`)
)

// A Decision says who may look at what, and why. Its JSON is the document; schemas/decision.schema.json describes it.
type Decision struct {
	Type          string         `json:"type"`           // tillsyn decision v1
	Deployment    string         `json:"deployment"`     // the installation
	Tenant        string         `json:"tenant"`         //
	Case          string         `json:"case"`           // the number in the authority's register; one decision each
	Kind          Kind           `json:"kind"`           //
	Population    string         `json:"population"`     // of the subject or unit: staff, elected, pupil or unknown; says whose seat approves
	Ground        string         `json:"ground"`         // the rule or law that it rests on
	Suspicion     string         `json:"suspicion"`      // of what
	Reason        string         `json:"reason"`         // why this person or unit, now
	LessIntrusive string         `json:"less_intrusive"` // means considered, and why they are not enough
	Finding       string         `json:"finding"`        // the finding, report or request behind it
	Intrusion     string         `json:"intrusion"`      // how deep it goes (Bărbulescu v. Romania, 61496/08, paragraph 121)
	Consequences  string         `json:"consequences"`   // for the person (the same)
	Policy        string         `json:"policy"`         // version of the rules that people were told of beforehand
	Scope         Scope          `json:"scope"`          //
	Requester     Signatory      `json:"requester"`      //
	Investigators []Signatory    `json:"investigators"`  // who may look; 1 to 5
	Lookups       int            `json:"lookups"`        // the most there may be; 1 to 100
	Requested     time.Time      `json:"requested"`      // UTC, whole seconds, as all times
	NotBefore     time.Time      `json:"not_before"`     //
	ApproveBy     time.Time      `json:"approve_by"`     // approvals after this do not count
	ExecuteBy     time.Time      `json:"execute_by"`     // no lookup from here on
	Union         string         `json:"union"`          // who is to be told within [UnionDeadline]; empty where there is no union to tell
	Informed      string         `json:"informed"`       // who is told where there is none: the presidium, a pupil's guardian
	Recipient     string         `json:"recipient"`      // subject_access only: the person's age recipient, or the one word letter
	Register      RegisterDigest `json:"register"`       // the register of holders that stood when it was requested
	Nonce         string         `json:"nonce"`          // 32 random bytes in base64
}

// RegisterDigest names one version of a tenant's register of holders.
type RegisterDigest struct {
	Number int         `json:"number"`
	Digest seal.Digest `json:"digest"`
}

// A Scope is what a decision opens. Its days are UTC days of events.
type Scope struct {
	Subject    string   `json:"subject"`    // canonical user name or address, as ingest knows the person
	Names      []string `json:"names"`      // other names of the same person in the logs: mail addresses, other sign-ins
	Aliases    []string `json:"aliases"`    // other ids of the person, as holder or investigator
	Unit       string   `json:"unit"`       // identify only
	From       string   `json:"from"`       // first day, 2006-01-02
	To         string   `json:"to"`         // last day
	Sources    []string `json:"sources"`    // mail, web
	Categories []string `json:"categories"` // or the one word all
	Protected  string   `json:"protected"`  // why protected destinations are included; empty: they are not
	Withheld   string   `json:"withheld"`   // subject_access only: the ground on which they are kept from the person; empty: they are not
	Threshold  int      `json:"threshold"`  // identify only: events, above which a name is given
}

// A Signatory is a person with the key that they sign with.
type Signatory struct {
	ID  string `json:"id"`
	Key string `json:"key"` // verifier key of a signed note
}

// NewDecision is an empty decision with its type and its random bytes.
func NewDecision() *Decision { return &Decision{Type: typeDecision, Nonce: NewNonce()} }

// NewNonce draws 32 random bytes.
func NewNonce() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: it ends the program instead (crypto/rand)
	return base64.StdEncoding.EncodeToString(b[:])
}

func checkNonce(text string) error {
	if raw, err := base64.StdEncoding.Strict().DecodeString(text); err != nil || len(raw) != 32 || base64.StdEncoding.EncodeToString(raw) != text {
		return errors.New("nonce: is not 32 bytes in base64")
	}
	return nil
}

// Days answers the first and the last day of s.
func (s Scope) Days() (first, last seal.Day, err error) {
	first, err = seal.ParseDay(s.From)
	last, fault := seal.ParseDay(s.To)
	switch {
	case err != nil || first.String() != s.From:
		return 0, 0, errors.New("from: is not a day such as 2026-11-22")
	case fault != nil || last.String() != s.To:
		return 0, 0, errors.New("to: is not a day such as 2026-11-22")
	}
	return first, last, nil
}

// Validate answers every fault of d, joined, or nil. Messages quote nothing of d.
func (d *Decision) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if d.Type != typeDecision {
		fault("type: is not %s", typeDecision)
	}
	if !originForm.MatchString(d.Deployment) {
		fault("deployment: is not the name of an installation")
	}
	if !wordForm.MatchString(d.Tenant) {
		fault("tenant: must consist of a-z, 0-9, hyphens and underscores")
	}
	if err := checkCase(d.Case); err != nil {
		faults = append(faults, err)
	}
	if !slices.Contains(Populations(), d.Population) {
		fault("population: is not one of %s", strings.Join(Populations(), ", "))
	}
	if rule, err := RuleOf(d.Kind); err != nil {
		fault("kind: %w", err)
	} else {
		faults = append(faults, rule.check(d)...)
		faults = append(faults, d.checkPeople(rule)...)
	}
	if d.Ground == "" {
		fault("ground: is missing")
	}
	if d.Reason == "" {
		fault("reason: is missing")
	}
	for name, text := range map[string]string{
		"ground": d.Ground, "suspicion": d.Suspicion, "reason": d.Reason, "less_intrusive": d.LessIntrusive, "finding": d.Finding,
		"intrusion": d.Intrusion, "consequences": d.Consequences, "scope.protected": d.Scope.Protected, "scope.withheld": d.Scope.Withheld,
	} {
		if err := checkText(text, maxText); err != nil {
			fault("%s: %w", name, err)
		}
	}
	for name, text := range map[string]string{"policy": d.Policy, "union": d.Union, "informed": d.Informed} {
		if err := checkLine(text); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if d.Recipient != "" && d.Recipient != ByLetter {
		if err := CheckRecipient(d.Recipient); err != nil {
			fault("recipient: %w", err)
		}
	}
	if d.Lookups < 1 || d.Lookups > MaxLookups {
		fault("lookups: is not between 1 and %d", MaxLookups)
	}
	if d.Register.Number < 1 || d.Register.Digest.IsZero() {
		fault("register: is missing")
	}
	if err := checkNonce(d.Nonce); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, d.checkTimes()...)
	reach := seal.Day(MaxDays)
	if d.Kind == PublicRecord {
		reach *= 2
	}
	faults = append(faults, d.Scope.check(d.Requested, reach)...)
	if _, err := seal.Canonical(d); err != nil {
		faults = append(faults, err)
	}
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// Populations are those that a decision can be about. Guests are never stored by person.
func Populations() []string { return []string{"elected", "pupil", "staff", "unknown"} }

func (d *Decision) checkTimes() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, t := range map[string]time.Time{"requested": d.Requested, "not_before": d.NotBefore, "approve_by": d.ApproveBy, "execute_by": d.ExecuteBy} {
		if err := checkTime(t); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	if d.NotBefore.Before(d.Requested) {
		fault("not_before: is before requested")
	}
	if !d.ApproveBy.After(d.Requested) || d.ApproveBy.After(d.Requested.Add(MaxApproveIn)) {
		fault("approve_by: is not within %d days after requested", int(MaxApproveIn.Hours()/24))
	}
	if !d.ExecuteBy.After(d.NotBefore) || !d.ExecuteBy.After(d.Requested) {
		fault("execute_by: is not after not_before")
	}
	if d.ExecuteBy.After(d.ApproveBy.Add(MaxExecuteIn)) {
		fault("execute_by: is more than %d days after approve_by", int(MaxExecuteIn.Hours()/24))
	}
	return faults
}

func (d *Decision) checkPeople(rule Rule) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := d.Requester.Validate(); err != nil {
		fault("requester.%w", err)
	}
	if len(d.Investigators) < 1 || len(d.Investigators) > MaxInvestigators {
		fault("investigators: are not 1 to %d", MaxInvestigators)
	}
	ids, keys := map[string]bool{}, map[string]bool{}
	for i, p := range d.Investigators {
		if err := p.Validate(); err != nil {
			fault("investigators[%d].%w", i, err)
		}
		if ids[p.ID] || keys[keyOf(p.Key)] {
			fault("investigators[%d]: is there twice", i)
		}
		ids[p.ID], keys[keyOf(p.Key)] = true, true
		if (p.ID == d.Requester.ID) != (p.Key == d.Requester.Key) {
			fault("investigators[%d]: shares an id or a key with the requester, but not both", i)
		}
		if d.Scope.isSubject(p.ID) {
			fault("investigators[%d]: is the subject", i)
		}
	}
	if !rule.ownCase && d.Scope.isSubject(d.Requester.ID) {
		fault("requester: is the subject")
	}
	return faults
}

// NeedsUnion says whether a union must be told, or the decision is suspended: whether it names one.
func (d *Decision) NeedsUnion() bool { return d.Union != "" }

// showsProtected says whether rows of protected destinations are given: to the person themself, unless there is a ground to keep
// them back; to others, only if there is one to show them.
func (d *Decision) showsProtected() bool {
	if d.Kind == SubjectAccess {
		return d.Scope.Withheld == ""
	}
	return d.Scope.Protected != ""
}

// ErrNotEnrolled is when a requester or investigator is not in the register of holders and members.
var ErrNotEnrolled = errors.New("somebody in the decision is not enrolled: members are added with 'tillsyn keys reshare'")

// Enrolled answers every reason why d is not acceptable by a register, or nil: its requester and each investigator are in it, with
// exactly the key in d, and serve the population; and the extract of a person's own data goes to nobody else who is in it. Messages
// quote nothing of d.
func (d *Decision) Enrolled(r *seal.Register) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	check := func(field string, p Signatory) {
		if !r.Enrolled(p.ID, p.Key, d.Population) {
			fault("%s: %w, or with another key, or for another population", field, ErrNotEnrolled)
		}
	}
	check("requester", d.Requester)
	for i, p := range d.Investigators {
		check(fmt.Sprintf("investigators[%d]", i), p)
	}
	if d.Recipient == "" || d.Recipient == ByLetter {
		return errors.Join(faults...)
	}
	if d.Recipient == r.GateRecipient() {
		fault("recipient: is the gate's")
	}
	for _, h := range r.Text().People() {
		if slices.Contains(h.Recipients, d.Recipient) && !d.Scope.isSubject(h.ID) {
			fault("recipient: is that of a holder or member who is not the subject")
		}
	}
	return errors.Join(faults...)
}

// mayLook says whether an investigator may look by the register of now: both still there, the one who looks and the one who asked.
func (d *Decision) mayLook(investigator string, r *seal.Register) bool {
	p, ok := d.investigator(investigator)
	return ok && r.Enrolled(p.ID, p.Key, d.Population) && r.Enrolled(d.Requester.ID, d.Requester.Key, d.Population)
}

// Validate says whether p has an id and a key of that name that one can sign with.
func (p Signatory) Validate() error {
	if !idForm.MatchString(p.ID) {
		return errors.New("id: must be 1 to 64 of a-z, 0-9, dots, hyphens and underscores")
	}
	if err := checkVerifier(p.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if name, _, _ := strings.Cut(p.Key, "+"); name != p.ID {
		return errors.New("key: is not of this id")
	}
	return nil
}

// Named is p as people are shown it: the id, and the fingerprint of the key, as the protocol of the ceremony has it.
func (p Signatory) Named() string { return p.ID + " (" + seal.Fingerprint(p.Key) + ")" }

// keyOf is the part of a verifier key that is the key: the name before it can be chosen.
func keyOf(verifier string) string {
	if i := strings.IndexByte(verifier, '+'); i >= 0 && len(verifier) > i+10 {
		return verifier[i+10:]
	}
	return verifier
}

// isSubject says whether id is known to be the subject's, however it is spelt.
func (s Scope) isSubject(id string) bool {
	if s.Subject == "" {
		return false
	}
	id = strings.ToLower(id)
	names := slices.Clone(s.Aliases)
	for _, name := range s.subjects() {
		names = append(names, string(name), bareName(string(name)))
	}
	return slices.Contains(names, id) || slices.Contains(names, bareName(id))
}

// subjects are all names under which the logs know the one person; none in a decision about a unit.
func (s Scope) subjects() [][]byte {
	if s.Subject == "" {
		return nil
	}
	list := [][]byte{[]byte(s.Subject)}
	for _, name := range s.Names {
		list = append(list, []byte(name))
	}
	return list
}

// names says whether subject is one of the person's names.
func (s Scope) names(subject []byte) bool {
	return s.index(subject) >= 0
}

// mentioned says whether a text has a name or an id of the person in it, in one piece or in words.
func (s Scope) mentioned(text string) bool {
	inWords := func(text string) []string {
		return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	words := inWords(text)
	names := slices.Clone(s.Aliases)
	for _, name := range s.subjects() {
		names = append(names, bareName(string(name)))
	}
	return slices.ContainsFunc(names, func(name string) bool {
		parts := inWords(name)
		return len(parts) > 0 && !slices.ContainsFunc(parts, func(p string) bool { return !slices.Contains(words, p) })
	})
}

// bareName is a user name without DOMAIN\ and @realm.
func bareName(name string) string {
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		name = name[i+1:]
	}
	name, _, _ = strings.Cut(name, "@")
	return name
}

// check answers what is wrong with s in a decision that was requested at a time and may reach back so many days.
func (s Scope) check(requested time.Time, reach seal.Day) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("scope."+format, args...)) }
	if s.Subject != "" && !isName(s.Subject) {
		fault("subject: is not a user name or address as ingest knows it: lower case, without wildcards")
	}
	if s.Names == nil {
		fault("names: must be a list, if an empty one")
	}
	if len(s.Names) > MaxNames || !sortedSet(s.Names) || slices.Contains(s.Names, s.Subject) || slices.ContainsFunc(s.Names, func(n string) bool { return !isName(n) }) {
		fault("names: must be at most %d other user names or addresses of the person, as ingest knows them, sorted, each once", MaxNames)
	}
	if s.Unit != "" && (!unitForm.MatchString(s.Unit) || strings.Contains(s.Unit, "  ") || strings.EqualFold(s.Unit, "unknown")) {
		fault("unit: is not the name of a unit")
	}
	if s.Aliases == nil {
		fault("aliases: must be a list, if an empty one")
	}
	if len(s.Aliases) > 16 || !sortedSet(s.Aliases) || slices.ContainsFunc(s.Aliases, func(a string) bool { return !idForm.MatchString(a) }) {
		fault("aliases: must be at most 16 ids of a-z, 0-9, dots, hyphens and underscores, sorted, each once")
	}
	first, last, err := s.Days()
	if err != nil {
		fault("%w", err)
	} else {
		asked := seal.DayOf(requested)
		if last < first {
			fault("to: is before from")
		}
		if last >= asked {
			fault("to: is not before the day of the request: a decision is about days that are over")
		}
		if asked-first > reach {
			fault("from: is more than %d days before the request", int(reach))
		}
		if last-first > MaxDays {
			fault("to: is more than %d days after from", MaxDays)
		}
	}
	if len(s.Sources) == 0 || !sortedSet(s.Sources) || slices.ContainsFunc(s.Sources, func(x string) bool { return x != Web && x != Mail }) {
		fault("sources: must be mail, web or both, sorted, each once")
	}
	all := slices.Contains(s.Categories, AllCategories)
	// "any" is what the vault calls everything, protected destinations too: no category has that name.
	if slices.Contains(s.Categories, "any") {
		fault("categories: any is not a category")
	}
	if slices.Contains(s.Sources, Mail) && !slices.Equal(s.Categories, []string{AllCategories}) {
		fault("sources: mail has no categories, and needs the one word all")
	}
	if len(s.Categories) == 0 || len(s.Categories) > 64 || !sortedSet(s.Categories) || all && len(s.Categories) > 1 ||
		slices.ContainsFunc(s.Categories, func(x string) bool { return !wordForm.MatchString(x) }) {
		fault("categories: must be the one word all, or at most 64 names of categories, sorted, each once")
	}
	if s.Threshold != 0 && (s.Threshold < MinThreshold || s.Threshold > 1_000_000) {
		fault("threshold: is not between %d and 1000000 events", MinThreshold)
	}
	return faults
}

// isName says whether name can be a user name or address as ingest knows it.
func isName(name string) bool {
	return subjectForm.MatchString(name) && !strings.Contains(name, "  ")
}

func sortedSet(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return false
		}
	}
	return true
}

func checkCase(number string) error {
	if len(number) > 64 || !caseForm.MatchString(number) || strings.Contains(number, "  ") {
		return errors.New("case: is not a number of at most 64 bytes of letters, digits, spaces and ._/:-")
	}
	return nil
}

func checkTime(t time.Time) error {
	if _, offset := t.Zone(); t.IsZero() || offset != 0 || t.Nanosecond() != 0 || t.Year() < 2020 || t.Year() > 2200 {
		return errors.New("is not a time in UTC in whole seconds")
	}
	return nil
}

func checkText(text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("is longer than %d bytes", most)
	}
	if text != strings.TrimSpace(text) {
		return errors.New("begins or ends with a space")
	}
	return nil
}

func checkLine(text string) error {
	if strings.Contains(text, "\n") {
		return errors.New("is more than one line")
	}
	return checkText(text, maxShort)
}

func checkVerifier(key string) error {
	name, err := seal.VerifierName(key)
	if err != nil || len(key) > 200 || !idForm.MatchString(name) {
		return errors.New("is not a verifier key, whose name is an id")
	}
	return nil
}

// Text is the canonical text of d, and its digest.
func (d *Decision) Text() ([]byte, seal.Digest, error) {
	if err := d.Validate(); err != nil {
		return nil, seal.Digest{}, fmt.Errorf("write a decision: %w", err)
	}
	text, err := seal.Canonical(d)
	if err != nil {
		return nil, seal.Digest{}, err
	}
	return text, seal.DigestOf(text), nil
}

// SignDecision is d as a document, signed by its requester.
func SignDecision(d *Decision, requester *seal.Signer) ([]byte, error) {
	text, _, err := d.Text()
	if err != nil {
		return nil, err
	}
	if requester.Name() != d.Requester.ID || requester.Verifier() != d.Requester.Key {
		return nil, errors.New("sign a decision: this is not the key of its requester")
	}
	return seal.Sign(text, requester)
}

// OpenDecision reads a decision that its requester has signed, and answers it with its digest. It refuses whatever is not byte
// for byte what [SignDecision] makes.
func OpenDecision(signed []byte) (*Decision, seal.Digest, error) {
	text, err := seal.Unsigned(signed)
	if err != nil {
		return nil, seal.Digest{}, fmt.Errorf("open a decision: %w", err)
	}
	d := new(Decision)
	if err := seal.ParseCanonical(text, d); err != nil {
		return nil, seal.Digest{}, fmt.Errorf("open a decision: %w", err)
	}
	if err := d.Validate(); err != nil {
		return nil, seal.Digest{}, fmt.Errorf("open a decision: %w", err)
	}
	if _, _, err := seal.Open(signed, d.Requester.Key); err != nil {
		return nil, seal.Digest{}, fmt.Errorf("open a decision: %w", err)
	}
	return d, seal.DigestOf(text), nil
}

// investigator answers the investigator with this id.
func (d *Decision) investigator(id string) (Signatory, bool) {
	for _, p := range d.Investigators {
		if p.ID == id {
			return p, true
		}
	}
	return Signatory{}, false
}
