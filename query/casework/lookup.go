package casework

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// ErrTooMany is when a lookup has more rows than one may answer.
var ErrTooMany = errors.New("the lookup has more rows than casework.max_rows: nothing was cut off; narrow the decision, or raise it")

// lookupCheck is how often the state is looked at again while rows come slowly.
const lookupCheck = 100 * time.Millisecond

// A Result says what a lookup found, in numbers. Rows and names go to the caller's function.
type Result struct {
	Case      string      `json:"case"`
	Kind      Kind        `json:"kind"`
	Number    int         `json:"number"`    // of this lookup, from 1
	Left      int         `json:"left"`      // lookups that are left
	Rows      int64       `json:"rows"`      // given to the caller; identify: people who are above the threshold
	Protected int64       `json:"protected"` // subject_access only: events withheld, of protected destinations; nobody else is told that there are any
	Shielded  bool        `json:"shielded"`  // rows of protected destinations are left out, whether there are any or not: the decision has no ground to show them
	Explained int64       `json:"explained"` // rows that a permission or a self-report explains
	Keys      int         `json:"keys"`      // data keys that were opened
	Late      int         `json:"late"`      // data keys that came after an approval, and so stay shut
	Unopened  int         `json:"unopened"`  // capsules that did not open: altered, moved or made up
	Damaged   int         `json:"damaged"`   // data keys whose share for the gate does not open, or is another person's: altered, moved or made up
	Keyless   int         `json:"keyless"`   // data keys that capsules in scope name, and that are not among the keys: removed or altered
	Elsewhere int         `json:"elsewhere"` // data keys of the person in another population than the decision's
	Purged    int         `json:"purged"`    // days in scope, counted for each source, that are purged and that no hold of this case kept whole
	Digest    seal.Digest `json:"digest"`    // of the rows, keyed with the decision's nonce
}

// Whole says whether nothing in the scope was hidden from r: it was all there, all opened, and all under this decision.
func (r Result) Whole() bool {
	return r.Late+r.Unopened+r.Damaged+r.Keyless+r.Elsewhere+r.Purged == 0
}

// SignLookup is an investigator's request for one lookup.
func SignLookup(d *Decision, digest seal.Digest, investigator *seal.Signer, now time.Time) ([]byte, error) {
	return SignAct(NewAct(ActLookup, d, digest, investigator.Name(), now), investigator)
}

// Lookup is the one for kinds that show rows to an investigator; of the others it refuses all. It runs one lookup: authorise,
// intent on record, keys, rows, result on record. request is what [SignLookup] makes for the
// case that number names. Each row goes to each, oldest first; of the kind identify, each name. Rows that were given before an
// error remain given, and the record says how many.
func (g *Gate) Lookup(ctx context.Context, number string, request []byte, each func(Row) error) (Result, error) {
	return g.lookup(ctx, number, request, ShownToInvestigator, nil, each)
}

// lookup is Lookup for who may see the rows. asked is the request for records that it is done for, which the decision reaches no further
// than, or nil: its hold is the decision's too, and of a unit it gives and counts the rows of that unit alone.
func (g *Gate) lookup(ctx context.Context, number string, request []byte, to Reader, asked *Records, each func(Row) error) (Result, error) {
	done, err := g.store.running(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("look up: %w", err)
	}
	defer done()
	v, act, err := g.begin(ctx, number, request, to)
	if err != nil {
		return Result{}, err
	}
	intent := seal.DigestOf(request).String()
	r := &run{gate: g, view: v, actor: act.Actor, asked: asked, each: each, result: Result{Case: v.Decision.Case, Kind: v.Decision.Kind, Number: v.Lookups + 1, Left: v.Left - 1,
		Shielded: !v.Decision.showsProtected()}}
	if r.digest, err = rowsDigest(v.Decision, intent); err != nil {
		return Result{}, fmt.Errorf("look up: %w", err)
	}
	g.step("intent recorded")

	err = r.do(ctx)
	r.result.Digest = seal.Digest(r.digest.Sum(nil))
	g.step("rows read")
	counts := map[string]int64{
		"rows": r.result.Rows, "keys": int64(r.result.Keys), "late": int64(r.result.Late), "unopened": int64(r.result.Unopened),
		"damaged": int64(r.result.Damaged), "keyless": int64(r.result.Keyless), "elsewhere": int64(r.result.Elsewhere), "purged": int64(r.result.Purged),
		"number": int64(r.result.Number),
	}
	if err != nil {
		counts["failed"] = 1
	}
	// The result must come on record even if whoever asked has gone.
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_, fault := g.p.Log.Append(over, audit.Entry{Kind: audit.LookupResult, Actor: act.Actor, Case: v.Decision.Case, Document: v.Digest.String(),
		Body: intent + "\n" + r.result.Digest.String(), Counts: counts})
	if errors.Is(err, ErrRefused) {
		return r.result, errors.Join(err, fault)
	}
	if err = errors.Join(err, fault); err != nil {
		return r.result, fmt.Errorf("look up: %w", err)
	}
	return r.result, nil
}

// begin authorises a lookup and puts its intent on record. The lock makes it one step for all processes: no two see the same
// number of lookups left.
func (g *Gate) begin(ctx context.Context, number string, request []byte, to Reader) (*view, Act, error) {
	fail := func(err error) (*view, Act, error) { return nil, Act{}, fmt.Errorf("look up: %w", err) }
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	v, err := g.view(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return nil, Act{}, g.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return fail(err)
	}
	refuse := func(actor string, reason int64) (*view, Act, error) {
		return nil, Act{}, g.refuse(ctx, actor, number, v.Digest.String(), reason)
	}
	act, err := openAct(request, v.Decision, v.Digest, v.chain)
	switch digest := seal.DigestOf(request).String(); {
	case errors.Is(err, ErrNotEntitled) || errors.Is(err, seal.ErrSignature):
		return refuse("", refusedActor)
	case err != nil || act.Type != ActLookup:
		return refuse("", refusedDocument)
	case !v.shows(to):
		return refuse(act.Actor, refusedReader)
	case !v.Decision.mayLook(act.Actor, v.chain[len(v.chain)-1]):
		return refuse(act.Actor, refusedEnrolled)
	case !near(act.At, v.Now):
		return refuse(act.Actor, refusedTime)
	case slices.Contains(v.Used, digest):
		return refuse(act.Actor, refusedReplay)
	case v.State != Active && v.Unproved > 0:
		return refuse(act.Actor, refusedUnproved)
	case v.State != Active:
		return refuse(act.Actor, refusedState)
	case v.Left == 0:
		return refuse(act.Actor, refusedUsedUp)
	}
	g.step("authorised")
	if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.LookupIntent, Actor: act.Actor, Case: v.Decision.Case, Document: v.Digest.String(),
		Body: seal.DigestOf(request).String(), Counts: map[string]int64{"number": int64(v.Lookups) + 1}}); err != nil {
		return fail(err)
	}
	return v, act, nil
}

func (v *view) shows(to Reader) bool {
	rule, err := RuleOf(v.Decision.Kind)
	return err == nil && rule.shows == to
}

// A run is one lookup that has its intent on record.
type run struct {
	gate    *Gate
	view    *view
	actor   string
	asked   *Records // the request that it is done for; nil: none
	each    func(Row) error
	explain func(*vault.Event) string
	excused func(*vault.Event) bool // it stands behind no finding
	mails   *vault.Permit           // of the keys of mail alone; nil where nothing of a mail is withheld
	hidden  map[string]bool         // ids of messages that have a protected destination
	result  Result
	shut    map[seal.KeyID]bool // keys that are known, and counted as late, damaged or elsewhere
	digest  hash.Hash
	counts  map[string]int64 // identify: events of each person
	seen    int64
	checked time.Time
}

func (r *run) do(ctx context.Context) error {
	d := r.view.Decision
	permit, err := r.permit(ctx)
	if err != nil {
		return err
	}
	defer permit.Forget()
	defer r.mails.Forget()
	r.gate.step("keys opened")
	if err := r.explanations(ctx); err != nil {
		return err
	}
	// A mail server writes many lines of one message, and not all of them name whom it went to: the one that does may be the last.
	r.hidden = map[string]bool{}
	if _, err := r.gate.p.Vault.Read(ctx, r.mails, func(e vault.Event) error {
		if r.gate.isProtected(&e) {
			for _, id := range messageIDs(&e) {
				r.hidden[id] = true
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if d.Kind == Identify {
		r.counts = map[string]int64{}
	}
	if err := r.still(ctx); err != nil { // what happened while keys were opened counts
		return err
	}
	reading, err := r.gate.p.Vault.Read(ctx, permit, func(e vault.Event) error { return r.row(ctx, &e) })
	r.result.Unopened = len(reading.Unopened)
	for _, id := range reading.Locked {
		if !r.shut[id] {
			r.result.Keyless++
		}
	}
	if err != nil {
		return err
	}
	if err := r.still(ctx); err != nil {
		return err
	}
	if d.Kind == Identify {
		return r.names()
	}
	return nil
}

// explanations finds out what explains events: beside rows everything that does, but only what was known before is no finding.
func (r *run) explanations(ctx context.Context) error {
	d := r.view.Decision
	known, err := r.gate.Permissions(ctx, d.Tenant)
	if err != nil {
		return err
	}
	r.explain = known.beside(d)
	r.excused = func(e *vault.Event) bool { return known.Explained(string(e.Person), occurrenceOf(e)) }
	return nil
}

// still looks at the state again: a decision that ended while its lookup runs gives no further row.
func (r *run) still(ctx context.Context) error {
	v, err := r.gate.view(ctx, r.view.Decision.Case)
	if err != nil {
		return err
	}
	r.checked = time.Now()
	if v.State != Active || v.Digest != r.view.Digest || !v.Decision.mayLook(r.actor, v.chain[len(v.chain)-1]) {
		return r.gate.refuse(ctx, "", v.Decision.Case, v.Digest.String(), refusedState)
	}
	return nil
}

// permit opens the data keys in scope with the gate's share and those that the three approvers handed over.
func (r *run) permit(ctx context.Context) (*vault.Permit, error) {
	d, g := r.view.Decision, r.gate
	handed := map[seal.Role]map[seal.KeyID]seal.Share{}
	for _, a := range r.view.Approvals {
		h, ok := r.view.handovers[a.Act]
		if !ok || h.Role != a.Role || seal.DigestOf(h.Sealed) != a.Handover {
			return nil, fmt.Errorf("%w: what an approver handed over is not what was signed", ErrStore)
		}
		shares, err := g.openHandover(r.view.Digest, h)
		if err != nil {
			return nil, fmt.Errorf("%w: what an approver handed over: %w", ErrStore, err)
		}
		handed[a.Role] = shares
	}
	found, out, err := g.keysAndOthers(ctx, d, r.view.record)
	if err != nil {
		return nil, err
	}
	r.result.Damaged, r.result.Elsewhere, r.shut = out.damaged, out.elsewhere, out.ids
	first, last, err := d.Scope.Days()
	if err != nil {
		return nil, err
	}
	if r.result.Purged, err = g.purgedDays(d, r.view.Digest, r.asked, r.view.record); err != nil {
		return nil, err
	}
	scope := vault.Scope{Tenant: d.Tenant, Kinds: d.Scope.Sources, From: first, To: last, Categories: d.Scope.Categories}
	if slices.Equal(d.Scope.Categories, []string{AllCategories}) {
		scope.Categories = []string{vault.AnyCategory}
	}
	if d.Scope.Subject != "" {
		scope.Subjects = d.Scope.subjects()
	} else {
		for _, k := range found {
			if !slices.ContainsFunc(scope.Subjects, func(s []byte) bool { return string(s) == string(k.Subject) }) {
				scope.Subjects = append(scope.Subjects, k.Subject)
			}
		}
	}
	if len(scope.Subjects) == 0 { // a unit where nobody was seen: a permit for nobody, which holds no key
		return nil, nil
	}
	permit, err := vault.NewPermit(scope)
	if err != nil {
		return nil, err
	}
	if !d.showsProtected() && slices.Contains(scope.Kinds, vault.Mail) {
		mail := scope
		mail.Kinds = []string{vault.Mail}
		if r.mails, err = vault.NewPermit(mail); err != nil {
			return nil, err
		}
	}
	for _, k := range found {
		shares := map[seal.Role]seal.Share{seal.Gate: k.share}
		for role, of := range handed {
			if s, ok := of[k.Wrapped.ID]; ok {
				shares[role] = s
			}
		}
		if len(shares) < len(seal.Roles()) {
			r.result.Late++
			r.shut[k.Wrapped.ID] = true
			continue
		}
		key, err := seal.Combine(k.Wrapped.ID, shares)
		if err != nil {
			return nil, err
		}
		if err := permit.Add(k.StoredKey, k.Subject, key); err != nil {
			return nil, err
		}
		if r.mails != nil && k.Kind == vault.Mail {
			if err := r.mails.Add(k.StoredKey, k.Subject, key); err != nil {
				return nil, err
			}
		}
	}
	r.result.Keys = permit.Keys()
	return permit, g.watch(d, permit)
}

// watch has a reading tell of capsules of the person for which there is no key at all.
func (g *Gate) watch(d *Decision, permit *vault.Permit) error {
	first, last, err := d.Scope.Days()
	if err != nil {
		return err
	}
	for day := max(first, g.p.Lookup.Oldest()); day <= last; day++ {
		tagger, err := g.p.Lookup.Tagger(day)
		if err != nil {
			return err
		}
		for _, name := range d.Scope.subjects() {
			permit.Watch(day, tagger.Tag(d.Tenant, name))
		}
	}
	return nil
}

// purgedDays counts the days in scope, for each source, of which something may be gone: their purge was begun, or their tags can't
// be made any more, and no hold was in force, neither of the decision nor of the request for records that it serves.
func (g *Gate) purgedDays(d *Decision, decision seal.Digest, asked *Records, record []audit.Record) (int, error) {
	first, last, err := d.Scope.Days()
	if err != nil {
		return 0, err
	}
	type basis struct {
		unheld vault.Purged
		held   bool
	}
	var all []basis
	rest := func(on vault.HoldBasis, document string) error {
		unheld, err := vault.PurgedUnheld(record, on, document)
		all = append(all, basis{unheld, slices.ContainsFunc(vault.HoldsOn(record, on, document), vault.Hold.InForce)})
		return err
	}
	if err := rest(vault.HoldByDecision, decision.String()); err != nil {
		return 0, err
	}
	if asked != nil {
		if err := rest(vault.HoldByRecords, asked.Digest.String()); err != nil {
			return 0, err
		}
	}
	purged, err := vault.PurgedDays(record)
	if err != nil {
		return 0, err
	}
	n := 0
	for day := first; day <= last; day++ {
		for _, kind := range d.Scope.Sources {
			forgotten := d.Scope.Subject != "" && day < g.p.Lookup.Oldest() && !purged.Has(kind, day)
			if !slices.ContainsFunc(all, func(b basis) bool { return !b.unheld.Has(kind, day) && (b.held || !forgotten) }) {
				n++
			}
		}
	}
	return n, nil
}

// row takes one event that the permit covers.
func (r *run) row(ctx context.Context, e *vault.Event) error {
	d := r.view.Decision
	if r.seen++; r.seen%int64(r.gate.page) == 0 || time.Since(r.checked) > lookupCheck {
		if err := r.still(ctx); err != nil {
			return err
		}
	}
	if r.asked != nil && r.asked.Request.Scope.Unit != "" && e.Unit != r.asked.Request.Scope.Unit {
		return nil
	}
	if !d.showsProtected() && (r.gate.isProtected(e) || slices.ContainsFunc(messageIDs(e), func(id string) bool { return r.hidden[id] })) {
		if d.Kind == SubjectAccess {
			r.result.Protected++
		}
		return nil
	}
	if d.Kind == Identify {
		if !r.excused(e) {
			r.counts[string(e.Person)] += int64(max(e.Count, 1))
		}
		return nil
	}
	why := r.explain(e)
	if why != "" {
		r.result.Explained++
	}
	if r.result.Rows++; r.result.Rows > int64(r.gate.p.Config.MaxRows) {
		r.result.Rows--
		return ErrTooMany
	}
	r.gate.redact(d, e)
	return r.give(newRow(e, why))
}

func (r *run) give(row Row) error {
	line := row.AppendJSON(nil)
	r.digest.Write(append(line, '\n'))
	if err := r.each(row); err != nil {
		return fmt.Errorf("hand over a row: %w", err)
	}
	return nil
}

// names answers who is above the threshold, and nobody else, with a band for how many events there were.
func (r *run) names() error {
	threshold := int64(r.view.Decision.Scope.Threshold)
	var names []string
	for name, n := range r.counts {
		if n > threshold {
			names = append(names, name)
		}
	}
	slices.Sort(names) // by name: the order must say no more than the band
	for _, name := range names {
		r.result.Rows++
		row := Row{{"user.name", textOf([]byte(name))}, {"event.count", band(r.counts[name], threshold)}}
		if err := r.give(row); err != nil {
			return err
		}
	}
	return nil
}

// band is a number of events above a threshold, as coarse as can be used.
func band(n, threshold int64) string {
	from := threshold
	for _, factor := range []int64{2, 5, 10} {
		if to := threshold * factor; n <= to {
			return fmt.Sprintf("%d-%d", from+1, to)
		} else {
			from = to
		}
	}
	return fmt.Sprintf("more than %d", from)
}

// isProtected says whether an event has a protected destination: by the verdict of then, or by the lists of today.
func (g *Gate) isProtected(e *vault.Event) bool {
	if string(e.Class) == "protected" {
		return true
	}
	if g.p.Protected == nil {
		return false
	}
	if len(e.Domain) > 0 && g.p.Protected(e.Domain) {
		return true
	}
	for _, address := range append([][]byte{e.From}, e.To...) {
		if i := strings.LastIndexByte(string(address), '@'); i >= 0 && g.p.Protected(address[i+1:]) {
			return true
		}
	}
	return false
}

// messageIDs are what other lines about the same message have too.
func messageIDs(e *vault.Event) []string {
	var ids []string
	if e.Kind != vault.Mail {
		return nil
	}
	for _, id := range [][]byte{e.NetworkID, e.MessageID} {
		if len(id) > 0 {
			ids = append(ids, string(id))
		}
	}
	return ids
}

// redact removes other people from a mail: one of ours whole, of an outsider what is before the @.
func (g *Gate) redact(d *Decision, e *vault.Event) {
	if e.Kind != vault.Mail {
		return
	}
	own := func(address []byte) bool {
		if d.Scope.names([]byte(strings.ToLower(string(address)))) {
			return true
		}
		if g.p.Whose == nil {
			return false
		}
		subject, ours := g.p.Whose(d.Tenant, address)
		return ours && d.Scope.names(subject)
	}
	hide := func(address []byte) []byte {
		if len(address) == 0 || own(address) {
			return address
		}
		ours := false
		if g.p.Whose != nil {
			_, ours = g.p.Whose(d.Tenant, address)
		}
		i := strings.LastIndexByte(string(address), '@')
		if ours || i < 0 {
			return []byte(redacted)
		}
		return append([]byte(redacted), address[i:]...)
	}
	// A message id is made by the sender's program, often with the sender's name in it; the address is that of the sender's machine.
	if !own(e.From) {
		e.SourceIP, e.SourcePort = netip.Addr{}, -1
		if e.MessageID != nil {
			e.MessageID = []byte(redacted)
		}
		if e.NetworkID != nil {
			e.NetworkID = []byte(redacted)
		}
	}
	e.From, e.Forwarder = hide(e.From), hide(e.Forwarder)
	to := make([][]byte, len(e.To))
	for i, address := range e.To {
		to[i] = hide(address)
	}
	e.To = to
	if e.User != nil && !own(e.User) && !d.Scope.isSubject(string(e.User)) {
		e.User = []byte(redacted)
	}
}

const redacted = "[redacted]"

// rowsDigest takes the rows of one lookup, in order, each as a line of JSON. Rows have little in them that can't be guessed:
// without the decision's nonce their digest, which goes on record, must not say which they were.
func rowsDigest(d *Decision, intent string) (hash.Hash, error) {
	nonce, err := base64.StdEncoding.DecodeString(d.Nonce)
	if err != nil {
		return nil, errors.New("compute the digest of rows: the decision has no nonce")
	}
	return hmac.New(sha256.New, append(append(nonce, intent...), 0)), nil
}
