package casework

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const (
	typePermission           = "tillsyn permission v1"
	typePermissionRevocation = "tillsyn permission revocation v1"

	// MaxPermissionDays is the longest that one permission can last: work that goes on is asked for again.
	MaxPermissionDays = 366

	permissionFile = "permission-"
	withdrawalFile = "withdrawal-"
	accidentFile   = "accident-"
)

var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,10}[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

// A Permission says that a person's work takes them to places that are otherwise forbidden: an inquiry, teaching, horizon
// scanning. It is a document, signed by a holder of the role manager.
type Permission struct {
	Type       string         `json:"type"` // tillsyn permission v1
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Population string         `json:"population"`
	Subject    string         `json:"subject"`    // canonical user name or address
	Categories []string       `json:"categories"` // sorted; of these or of domains there is at least one
	Domains    []string       `json:"domains"`    // registered domains or hosts, sorted; what is beneath them counts too
	From       string         `json:"from"`       // first UTC day, 2006-01-02
	To         string         `json:"to"`         // last
	Reason     string         `json:"reason"`     // which work
	Manager    string         `json:"manager"`    // the nearest manager who gave it, as people know them
	Actor      string         `json:"actor"`      // id of the holder who signs
	Register   RegisterDigest `json:"register"`   // that stood when it was signed
	At         time.Time      `json:"at"`
	Nonce      string         `json:"nonce"`
}

// A PermissionRevocation ends a permission from when it reaches the record. It is a document, signed as a [Permission] is.
type PermissionRevocation struct {
	Type       string         `json:"type"` // tillsyn permission revocation v1
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Permission seal.Digest    `json:"permission"`
	Reason     string         `json:"reason"`
	Actor      string         `json:"actor"`
	Register   RegisterDigest `json:"register"`
	At         time.Time      `json:"at"`
	Nonce      string         `json:"nonce"`
}

// An AccidentReport is what an employee told their manager: that they came to a forbidden place without meaning to. The
// manager writes it down. It explains; it is evidence of nothing. It is a document, signed as a [Permission] is.
type AccidentReport struct {
	Type       string         `json:"type"` // tillsyn accident report v1
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Population string         `json:"population"`
	Subject    string         `json:"subject"`
	From       time.Time      `json:"from"`     // when it happened, as far as they know: at most a day
	To         time.Time      `json:"to"`       //
	Category   string         `json:"category"` // if they know; empty: any
	Domain     string         `json:"domain"`   // if they know; empty: any
	Told       string         `json:"told"`     // what they said
	ToldAt     time.Time      `json:"told_at"`
	Manager    string         `json:"manager"`
	Actor      string         `json:"actor"`
	Register   RegisterDigest `json:"register"`
	At         time.Time      `json:"at"`
	Nonce      string         `json:"nonce"`
}

// A managed is what the documents have in common that one person signs by their office.
type managed struct {
	typ, want          string
	deployment, tenant string
	actor              string
	register           RegisterDigest
	at                 time.Time
	nonce              string
}

func (m managed) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if m.typ != m.want {
		fault("type: is not %s", m.want)
	}
	if !originForm.MatchString(m.deployment) {
		fault("deployment: is not the name of an installation")
	}
	if !wordForm.MatchString(m.tenant) {
		fault("tenant: is not a tenant's name")
	}
	if !idForm.MatchString(m.actor) {
		fault("actor: is not an id")
	}
	if m.register.Number < 1 || m.register.Digest.IsZero() {
		fault("register: is missing")
	}
	if err := checkTime(m.at); err != nil {
		fault("at: %w", err)
	}
	if err := checkNonce(m.nonce); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// checkPerson checks what a document of a manager says of a person.
func checkPerson(population, subject, actor, manager string) []error {
	var faults []error
	if !slices.Contains(Populations(), population) {
		faults = append(faults, fmt.Errorf("population: is not one of %s", strings.Join(Populations(), ", ")))
	}
	if !isName(subject) {
		faults = append(faults, errors.New("subject: is not a user name or address as ingest knows it: lower case, without wildcards"))
	}
	if (Scope{Subject: subject}).isSubject(actor) {
		faults = append(faults, errors.New("actor: nobody signs about themselves"))
	}
	if manager == "" {
		faults = append(faults, errors.New("manager: is missing"))
	} else if err := checkLine(manager); err != nil {
		faults = append(faults, fmt.Errorf("manager: %w", err))
	}
	return faults
}

func needText(field, text string) []error {
	if text == "" {
		return []error{fmt.Errorf("%s: is missing", field)}
	}
	if err := checkText(text, maxText); err != nil {
		return []error{fmt.Errorf("%s: %w", field, err)}
	}
	return nil
}

func (p *Permission) managed() managed {
	return managed{p.Type, typePermission, p.Deployment, p.Tenant, p.Actor, p.Register, p.At, p.Nonce}
}

// Validate answers every fault of p, joined, or nil. Messages quote nothing of p.
func (p *Permission) Validate() error {
	faults := append(p.managed().check(), checkPerson(p.Population, p.Subject, p.Actor, p.Manager)...)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Categories == nil || p.Domains == nil {
		fault("categories, domains: must be lists, if empty ones")
	}
	if len(p.Categories)+len(p.Domains) == 0 {
		fault("categories, domains: there must be one at least: nobody may do everything")
	}
	if len(p.Categories) > 64 || !sortedSet(p.Categories) || slices.ContainsFunc(p.Categories, func(c string) bool { return !wordForm.MatchString(c) || c == AllCategories }) {
		fault("categories: must be at most 64 names of categories, sorted, each once")
	}
	if len(p.Domains) > 64 || !sortedSet(p.Domains) || slices.ContainsFunc(p.Domains, func(d string) bool { return len(d) > 253 || !domainForm.MatchString(d) }) {
		fault("domains: must be at most 64 domains in lower case, sorted, each once")
	}
	first, last, err := Scope{From: p.From, To: p.To}.Days()
	switch {
	case err != nil:
		faults = append(faults, err)
	case last < first:
		fault("to: is before from")
	case last-first >= MaxPermissionDays:
		fault("to: is more than %d days after from", MaxPermissionDays)
	case last < seal.DayOf(p.At):
		fault("to: is over: a permission is given beforehand")
	}
	faults = append(faults, needText("reason", p.Reason)...)
	return joinSorted(faults)
}

func (r *PermissionRevocation) managed() managed {
	return managed{r.Type, typePermissionRevocation, r.Deployment, r.Tenant, r.Actor, r.Register, r.At, r.Nonce}
}

// Validate answers every fault of r, joined, or nil. Messages quote nothing of r.
func (r *PermissionRevocation) Validate() error {
	faults := append(r.managed().check(), needText("reason", r.Reason)...)
	if r.Permission.IsZero() {
		faults = append(faults, errors.New("permission: is missing"))
	}
	return joinSorted(faults)
}

func joinSorted(faults []error) error {
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// A managerDocument is one of the three documents that managers sign.
type managerDocument interface {
	*Permission | *PermissionRevocation | *AccidentReport
	Validate() error
	managed() managed
}

// SignByManager is p as a document: a [Permission], a [PermissionRevocation] or an [AccidentReport].
func SignByManager[P managerDocument](p P, manager *seal.Signer) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("write a manager's document: %w", err)
	}
	if manager == nil || manager.Name() != p.managed().actor {
		return nil, errors.New("sign a manager's document: this is not the key of its actor")
	}
	text, err := seal.Canonical(p)
	if err != nil {
		return nil, err
	}
	return seal.Sign(text, manager)
}

// openByManager reads a document and checks that a holder of the role manager for the population signed it, by the register that
// it names. An empty population is any.
func openByManager[P managerDocument](signed []byte, p P, population func() string, chain []*seal.Register) (seal.Digest, error) {
	text, err := seal.Unsigned(signed)
	if err == nil {
		err = seal.ParseCanonical(text, p)
	}
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		return seal.Digest{}, fmt.Errorf("read a manager's document: %w", err)
	}
	m := p.managed()
	n := m.register.Number
	if n > len(chain) || chain[n-1].Digest() != m.register.Digest || chain[n-1].Tenant() != m.tenant || chain[n-1].Deployment() != m.deployment {
		return seal.Digest{}, fmt.Errorf("read a manager's document: %w: the register that it names is not in the chain", ErrNotEntitled)
	}
	h, ok := chain[n-1].Holder(m.actor)
	if !ok || h.Role != seal.Manager || population() != "" && !chain[n-1].Decides(h.ID, population()) {
		return seal.Digest{}, fmt.Errorf("read a manager's document: %w: it takes a holder of the role manager", ErrNotEntitled)
	}
	if _, _, err := seal.Open(signed, h.Verifier); err != nil {
		return seal.Digest{}, fmt.Errorf("read a manager's document: %w", err)
	}
	return seal.DigestOf(text), nil
}

// permissionsOf is where a tenant's documents of managers stand in the case store. Their names begin as no file of a case does, so that
// a case of this number would only stand beside them.
func permissionsOf(tenant string) string { return "permissions:" + tenant }

// GrantPermission files a permission and puts its digest on record (permission.granted): it counts from then on, and not for what
// was before. Repeating it changes nothing.
func (g *Gate) GrantPermission(ctx context.Context, signed []byte) (seal.Digest, error) {
	var p Permission
	return g.fileByManager(ctx, signed, &p, "grant a permission", permissionFile, audit.PermissionGranted, func(chain []*seal.Register) (seal.Digest, error) {
		return openByManager(signed, &p, func() string { return p.Population }, chain)
	})
}

// RevokePermission files the end of a permission and puts it on record (permission.revoked).
func (g *Gate) RevokePermission(ctx context.Context, signed []byte) (seal.Digest, error) {
	var r PermissionRevocation
	return g.fileByManager(ctx, signed, &r, "revoke a permission", withdrawalFile, audit.PermissionRevoked, func(chain []*seal.Register) (seal.Digest, error) {
		digest, err := openByManager(signed, &r, func() string { return "" }, chain)
		if err != nil {
			return digest, err
		}
		if _, err := g.store.Get(permissionsOf(r.Tenant), fileNameOf(permissionFile, r.Permission)); err != nil {
			return digest, errors.New("there is no such permission")
		}
		return digest, nil
	})
}

func fileNameOf(prefix string, d seal.Digest) string { return prefix + hex.EncodeToString(d[:10]) }

// fileByManager checks, files and records a document of a manager.
func (g *Gate) fileByManager(ctx context.Context, signed []byte, p interface{ managed() managed }, what, prefix string, kind audit.Kind,
	open func([]*seal.Register) (seal.Digest, error)) (seal.Digest, error) {
	fail := func(err error) (seal.Digest, error) { return seal.Digest{}, fmt.Errorf("%s: %w", what, err) }
	var tenant string
	{
		var named struct {
			Tenant string `json:"tenant"`
		}
		if err := readSome(signed, &named); err != nil {
			return fail(err)
		}
		tenant = named.Tenant
	}
	if !wordForm.MatchString(tenant) {
		return fail(errors.New("it names no tenant"))
	}
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	chain, _, err := g.chain(tenant, record)
	if err != nil {
		return fail(err)
	}
	digest, err := open(chain)
	if err != nil {
		return fail(err)
	}
	if onRecord(record, kind, digest.String(), "") {
		return digest, nil
	}
	m := p.managed()
	if current := chain[len(chain)-1]; (RegisterDigest{current.Number(), current.Digest()}) != m.register {
		return fail(errors.New("it does not name the register of holders that stands now"))
	}
	if now := Clock(record, g.p.Now()); !near(m.at, now) {
		return fail(fmt.Errorf("its time is not now, give or take %v", ClockTolerance))
	}
	if err := g.store.Put(permissionsOf(tenant), fileNameOf(prefix, digest), signed); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err)
	}
	if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: kind, Actor: m.actor, Document: digest.String()}); err != nil {
		return fail(err)
	}
	return digest, nil
}

// A Granted is a permission with when it began to count, and, if it was revoked, when that ended.
type Granted struct {
	Permission
	Digest   seal.Digest
	Recorded time.Time
	Revoked  time.Time
	Why      string // of the revocation

	withdrawal seal.Digest
}

// A Reported is an accident report that is on record.
type Reported struct {
	AccidentReport
	Digest   seal.Digest
	Recorded time.Time
}

// Permissions are what managers of a tenant have said that explains events: permissions and reports of accidents. Only what is
// signed as it must be, and on record, is in it.
type Permissions struct {
	Granted  []Granted
	Reported []Reported
}

// Permissions reads what managers of a tenant have put on record. It asks nobody who they are.
func (g *Gate) Permissions(ctx context.Context, tenant string) (*Permissions, error) {
	p, err := g.permissions(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("read permissions: %w", err)
	}
	return p, nil
}

func (g *Gate) permissions(ctx context.Context, tenant string) (*Permissions, error) {
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return nil, err
	}
	chain, _, err := g.chain(tenant, record)
	if err != nil {
		return nil, err
	}
	names, err := g.store.Names(permissionsOf(tenant))
	if err != nil {
		return nil, err
	}
	p := &Permissions{}
	revoked := map[seal.Digest]Granted{}
	for _, name := range names {
		signed, err := g.store.Get(permissionsOf(tenant), name)
		if err != nil {
			return nil, err
		}
		switch {
		case strings.HasPrefix(name, permissionFile):
			var e Granted
			if e.Digest, err = openByManager(signed, &e.Permission, func() string { return e.Population }, chain); err == nil {
				if e.Recorded = recordedAt(record, audit.PermissionGranted, e.Digest); !e.Recorded.IsZero() {
					p.Granted = append(p.Granted, e)
				}
			}
		case strings.HasPrefix(name, withdrawalFile):
			var r PermissionRevocation
			var digest seal.Digest
			if digest, err = openByManager(signed, &r, func() string { return "" }, chain); err == nil {
				// One that a crash kept out of the record counts from when it was signed: an end is never lost.
				at := recordedAt(record, audit.PermissionRevoked, digest)
				if at.IsZero() {
					at = r.At
				}
				if e, ok := revoked[r.Permission]; !ok || at.Before(e.Revoked) {
					revoked[r.Permission] = Granted{Revoked: at, Why: r.Reason, withdrawal: digest}
				}
			}
		case strings.HasPrefix(name, accidentFile):
			var e Reported
			if e.Digest, err = openByManager(signed, &e.AccidentReport, func() string { return e.Population }, chain); err == nil {
				if e.Recorded = recordedAt(record, audit.AccidentReported, e.Digest); !e.Recorded.IsZero() {
					p.Reported = append(p.Reported, e)
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrStore, name, err)
		}
	}
	for i := range p.Granted {
		if r, ok := revoked[p.Granted[i].Digest]; ok {
			p.Granted[i].Revoked, p.Granted[i].Why, p.Granted[i].withdrawal = r.Revoked, r.Why, r.withdrawal
		}
	}
	slices.SortStableFunc(p.Granted, func(a, b Granted) int { return a.Recorded.Compare(b.Recorded) })
	slices.SortStableFunc(p.Reported, func(a, b Reported) int { return a.Recorded.Compare(b.Recorded) })
	return p, nil
}

func recordedAt(record []audit.Record, kind audit.Kind, document seal.Digest) time.Time {
	for _, r := range record {
		if r.Kind == kind && r.Document == document.String() {
			return r.At
		}
	}
	return time.Time{}
}

// An Occurrence is what an event is, as far as permissions go.
type Occurrence struct {
	At       time.Time
	Category string
	Domain   string // the host, in lower case
}

// An Explanation says why an event is nobody's fault.
type Explanation struct {
	Document seal.Digest // of the permission or report
	Accident bool        // it is a report of an accident; otherwise a permission
	Prior    bool        // it was on record before the event
	Text     Phrase
}

// Explain answers every permission and report that covers an event of a person: of the days, and of a category or domain of it.
// A permission that came afterwards is answered too, and says so; one that had been revoked before the event is not.
func (p *Permissions) Explain(subject string, o Occurrence) []Explanation {
	if p == nil {
		return nil
	}
	var list []Explanation
	for _, g := range p.Granted {
		if g.Subject != subject || !g.covers(o) {
			continue
		}
		e := Explanation{Document: g.Digest, Prior: !o.At.Before(g.Recorded)}
		e.Text = Phrase{
			fmt.Sprintf("Tillstånd från %s till %s: %s", g.From, g.To, g.Reason),
			fmt.Sprintf("Permission from %s to %s: %s", g.From, g.To, g.Reason),
		}
		if !e.Prior {
			e.Text.Swedish += " (antecknat först i efterhand)"
			e.Text.English += " (put on record only afterwards)"
		}
		list = append(list, e)
	}
	for _, r := range p.Reported {
		if r.Subject != subject || !r.covers(o) {
			continue
		}
		list = append(list, Explanation{Document: r.Digest, Accident: true, Prior: !o.At.Before(r.Recorded), Text: Phrase{
			fmt.Sprintf("Berättade själv för chefen %s: %s", r.ToldAt.Format(time.DateOnly), r.Told),
			fmt.Sprintf("Told the manager on their own account %s: %s", r.ToldAt.Format(time.DateOnly), r.Told),
		}})
	}
	return list
}

// Explained says whether an event may not become a finding, and not count in one: a permission was on record before it, or the
// person told of it. Whoever makes findings of people asks this; statistics of units use [Permissions.Tags].
func (p *Permissions) Explained(subject string, o Occurrence) bool {
	return slices.ContainsFunc(p.Explain(subject, o), func(e Explanation) bool { return e.Prior || e.Accident })
}

func (g *Granted) covers(o Occurrence) bool {
	first, last, err := Scope{From: g.From, To: g.To}.Days()
	if d := seal.DayOf(o.At); err != nil || d < first || d > last || !g.Revoked.IsZero() && !o.At.Before(g.Revoked) {
		return false
	}
	return slices.Contains(g.Categories, o.Category) || slices.ContainsFunc(g.Domains, func(d string) bool { return beneath(o.Domain, d) })
}

func (r *Reported) covers(o Occurrence) bool {
	return !o.At.Before(r.From) && !o.At.After(r.To) && (r.Category == "" || r.Category == o.Category) && (r.Domain == "" || beneath(o.Domain, r.Domain))
}

// beneath says whether host is domain or a host of it.
func beneath(host, domain string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// occurrenceOf is an event of the vault, as far as permissions go.
func occurrenceOf(e *vault.Event) Occurrence {
	return Occurrence{At: time.UnixMilli(e.Time).UTC(), Category: string(e.Category), Domain: string(e.Domain)}
}

// beside answers what stands beside an event of a decision's rows: every permission and report that explains it, those on record only
// afterwards too, or "".
func (p *Permissions) beside(d *Decision) func(*vault.Event) string {
	return func(e *vault.Event) string {
		var texts []string
		// A person has other names in mail than in web: what was said of one is said of all that the decision names.
		names := [][]byte{e.Person}
		if d.Scope.names(e.Person) {
			names = d.Scope.subjects()
		}
		for _, name := range names {
			for _, x := range p.Explain(string(name), occurrenceOf(e)) {
				texts = append(texts, x.Text.Swedish)
			}
		}
		return strings.Join(texts, "; ")
	}
}

// RemovePermissions removes what explains nothing any more: permissions and reports whose last day is more than [MaxDays] days ago, so
// that all they could explain is purged, unless a case that is not closed is about that person. It answers how many went.
func (g *Gate) RemovePermissions(ctx context.Context, tenant string) (int, error) {
	n, err := g.removePermissions(ctx, tenant)
	if err != nil {
		return n, fmt.Errorf("remove permissions: %w", err)
	}
	return n, nil
}

func (g *Gate) removePermissions(ctx context.Context, tenant string) (int, error) {
	p, err := g.permissions(ctx, tenant)
	if err != nil {
		return 0, err
	}
	cases, states, err := g.List(ctx)
	if err != nil { // a case that can't be read may be about anybody
		return 0, err
	}
	open := func(subject string) bool {
		for i, c := range cases {
			if c.Decision.Tenant == tenant && (c.Decision.Kind == Identify || c.Decision.Scope.names([]byte(subject))) && states[i].State != Closed && states[i].State != Denied {
				return true
			}
		}
		return false
	}
	today := seal.DayOf(g.p.Now())
	n := 0
	remove := func(prefix string, digest, withdrawal seal.Digest, subject string, last seal.Day) error {
		if today-last <= MaxDays+1 || open(subject) {
			return nil
		}
		if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.PermissionRemoved, Actor: "gate", Document: digest.String(), Counts: map[string]int64{"permissions": 1}}); err != nil {
			return err
		}
		if err := g.store.remove(permissionsOf(tenant), fileNameOf(prefix, digest)); err != nil {
			return err
		}
		n++
		if withdrawal.IsZero() {
			return nil
		}
		return g.store.remove(permissionsOf(tenant), fileNameOf(withdrawalFile, withdrawal))
	}
	for _, e := range p.Granted {
		_, last, err := Scope{From: e.From, To: e.To}.Days()
		if err != nil {
			return n, err
		}
		if err := remove(permissionFile, e.Digest, e.withdrawal, e.Subject, last); err != nil {
			return n, err
		}
	}
	for _, e := range p.Reported {
		if err := remove(accidentFile, e.Digest, seal.Digest{}, e.Subject, seal.DayOf(e.To)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// remove removes a file of the store. Only what is no document of a decision is ever removed.
func (s *Store) remove(number, name string) error {
	if err := errors.Join(checkCase(number), checkFile(name)); err != nil || name == decisionFile || strings.HasPrefix(name, "act-") {
		return errors.New("remove from the case store: this is not removed")
	}
	folder := s.folder(number)
	if err := os.Remove(filepath.Join(folder, name+".age")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from the case store: %w", err)
	}
	return durable.SyncDirectory(folder)
}

// NewPermission begins a permission of a tenant that actor, a holder in r, will sign.
func NewPermission(deployment, tenant, actor string, r *seal.Register, now time.Time) *Permission {
	return &Permission{Type: typePermission, Deployment: deployment, Tenant: tenant, Actor: actor, Register: RegisterDigest{r.Number(), r.Digest()},
		At: now.UTC().Truncate(time.Second), Nonce: NewNonce()}
}

// NewPermissionRevocation begins the end of a permission.
func NewPermissionRevocation(deployment, tenant, actor string, r *seal.Register, now time.Time) *PermissionRevocation {
	return &PermissionRevocation{Type: typePermissionRevocation, Deployment: deployment, Tenant: tenant, Actor: actor, Register: RegisterDigest{r.Number(), r.Digest()},
		At: now.UTC().Truncate(time.Second), Nonce: NewNonce()}
}

// NewAccidentReport begins a report of an accident.
func NewAccidentReport(deployment, tenant, actor string, r *seal.Register, now time.Time) *AccidentReport {
	return &AccidentReport{Type: typeAccident, Deployment: deployment, Tenant: tenant, Actor: actor, Register: RegisterDigest{r.Number(), r.Digest()},
		At: now.UTC().Truncate(time.Second), Nonce: NewNonce()}
}
