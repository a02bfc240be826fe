package casework

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const (
	typeRecordsRequest  = "tillsyn records request v1"
	typeRecordsDecision = "tillsyn records decision v1"

	recordsRequestFile  = "records-request"
	recordsDecisionFile = "records-decision"
	recordsClosedFile   = "records-closed"
	recordsRowsFile     = "records-rows-"
	recordsMarksFile    = "records-marks-"
	recordsShownFile    = "records-shown-"
)

// A RecordsRequest is somebody's wish to see public records (allmänna handlingar). It has no field for who they are, and none may
// be asked: tryckfrihetsförordningen (1949:105), chapter 2, section 18. It is a document, signed by the registrar who wrote it
// down; who else may work on it stands at [RecordsRequest.handler].
type RecordsRequest struct {
	Type       string       `json:"type"` // tillsyn records request v1
	Deployment string       `json:"deployment"`
	Tenant     string       `json:"tenant"`
	Case       string       `json:"case"`     // number in the authority's register (diarium)
	Received   time.Time    `json:"received"` // when it came in
	Wording    string       `json:"wording"`  // what was asked for
	Answer     string       `json:"answer"`   // where the answer is to go, if they said; empty: they will come back
	Scope      RecordsScope `json:"scope"`
	Registrar  Signatory    `json:"registrar"`
	At         time.Time    `json:"at"`
	Nonce      string       `json:"nonce"`
}

// A RecordsScope is which rows a request is about: those of one mailbox or user, of a unit, or of everybody in the period.
type RecordsScope struct {
	Subject string   `json:"subject"` // canonical user name or address; empty with a unit, or for everybody
	Names   []string `json:"names"`   // the person's other names in the logs, as in a decision
	Unit    string   `json:"unit"`
	From    string   `json:"from"` // first UTC day
	To      string   `json:"to"`   // last
	Sources []string `json:"sources"`
}

// person is s as a decision has it, as to whom it is about; empty for a unit or everybody.
func (s RecordsScope) person() Scope { return Scope{Subject: s.Subject, Names: s.Names} }

// What a request for public records comes to.
const (
	OutcomeDisclosed = "disclosed" // everything
	OutcomePartly    = "partly"    // with something blanked
	OutcomeRefused   = "refused"   // nothing
	OutcomeNothing   = "nothing"   // there are no such records
)

// Outcomes are what a request can come to.
func Outcomes() []string {
	return []string{OutcomeDisclosed, OutcomePartly, OutcomeRefused, OutcomeNothing}
}

// A RecordsDecision is the authority's answer to a [RecordsRequest]. It is a document, signed by whoever may work on it.
type RecordsDecision struct {
	Type    string      `json:"type"` // tillsyn records decision v1
	Case    string      `json:"case"`
	Request seal.Digest `json:"request"`
	Outcome string      `json:"outcome"`
	Reasons string      `json:"reasons"` // needed where something is kept secret
	Laws    []LawUse    `json:"laws"`    // that something is kept secret by, sorted
	Rows    int         `json:"rows"`    // all that were looked at
	Secret  int         `json:"secret"`  // of them, secret as a whole
	Partly  int         `json:"partly"`  // of them, secret in part
	Marks   seal.Digest `json:"marks"`   // of what was marked, by the decision's nonce
	Actor   string      `json:"actor"`
	At      time.Time   `json:"at"`
	Nonce   string      `json:"nonce"`
}

// A LawUse is a law that something is kept secret by.
type LawUse struct {
	Law  string `json:"law"`
	Rows int    `json:"rows"` // in how many; 0: it was named for a refusal
}

// Validate answers every fault of r, joined, or nil. Messages quote nothing of r.
func (r *RecordsRequest) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if r.Type != typeRecordsRequest {
		fault("type: is not %s", typeRecordsRequest)
	}
	if !originForm.MatchString(r.Deployment) {
		fault("deployment: is not the name of an installation")
	}
	if !wordForm.MatchString(r.Tenant) {
		fault("tenant: is not a tenant's name")
	}
	if err := checkCase(r.Case); err != nil {
		faults = append(faults, err)
	}
	for name, t := range map[string]time.Time{"received": r.Received, "at": r.At} {
		if err := checkTime(t); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if r.Received.After(r.At) {
		fault("received: is later than the document")
	}
	faults = append(faults, needText("wording", r.Wording)...)
	if err := checkText(r.Answer, 1000); err != nil {
		fault("answer: %w", err)
	}
	s := Scope{Subject: r.Scope.Subject, Unit: r.Scope.Unit, From: r.Scope.From, To: r.Scope.To}
	first, last, err := s.Days()
	switch {
	case err != nil:
		fault("scope.%w", err)
	case last < first:
		fault("scope.to: is before from")
	case last > seal.DayOf(r.At):
		fault("scope.to: is a day that is yet to come")
	case seal.DayOf(r.At)-first > MaxDays:
		fault("scope.from: is more than %d days ago: what is older is purged", MaxDays)
	}
	if s.Subject != "" && !isName(s.Subject) {
		fault("scope.subject: is not a user name or address as ingest knows it: lower case, without wildcards")
	}
	if n := r.Scope.Names; n == nil || len(n) > MaxNames || !sortedSet(n) || slices.ContainsFunc(n, func(n string) bool { return !isName(n) || n == s.Subject }) || s.Subject == "" && len(n) > 0 {
		fault("scope.names: must be at most %d other names of the subject, sorted, each once", MaxNames)
	}
	if s.Unit != "" && (!unitForm.MatchString(s.Unit) || strings.Contains(s.Unit, "  ")) {
		fault("scope.unit: is not the name of a unit")
	}
	if s.Subject != "" && s.Unit != "" {
		fault("scope: names a mailbox and a unit")
	}
	if len(r.Scope.Sources) == 0 || !sortedSet(r.Scope.Sources) || slices.ContainsFunc(r.Scope.Sources, func(x string) bool { return x != Web && x != Mail }) {
		fault("scope.sources: must be mail, web or both, sorted, each once")
	}
	if err := r.Registrar.Validate(); err != nil {
		fault("registrar.%w", err)
	}
	if r.Scope.person().isSubject(r.Registrar.ID) {
		fault("registrar: is the subject: somebody else writes it down")
	}
	if err := checkNonce(r.Nonce); err != nil {
		faults = append(faults, err)
	}
	return joinSorted(faults)
}

// Validate answers every fault of d, joined, or nil. Messages quote nothing of d.
func (d *RecordsDecision) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if d.Type != typeRecordsDecision {
		fault("type: is not %s", typeRecordsDecision)
	}
	if err := checkCase(d.Case); err != nil {
		faults = append(faults, err)
	}
	if d.Request.IsZero() || d.Marks.IsZero() {
		fault("request, marks: are missing")
	}
	if !slices.Contains(Outcomes(), d.Outcome) {
		fault("outcome: is not one of %s", strings.Join(Outcomes(), ", "))
	}
	secret := d.Outcome == OutcomePartly || d.Outcome == OutcomeRefused
	switch {
	case secret && (d.Reasons == "" || len(d.Laws) == 0):
		fault("reasons, laws: are missing: what is kept secret needs a reason and a law")
	case !secret && (d.Reasons != "" || len(d.Laws) > 0 || d.Secret+d.Partly > 0):
		fault("outcome: something is kept secret, so it is %s or %s", OutcomePartly, OutcomeRefused)
	case d.Outcome == OutcomeNothing && d.Rows > 0:
		fault("outcome: there are rows")
	case d.Outcome == OutcomePartly && d.Secret+d.Partly == 0:
		fault("outcome: nothing is kept secret, so it is %s", OutcomeDisclosed)
	}
	if err := checkText(d.Reasons, maxText); err != nil {
		fault("reasons: %w", err)
	}
	var names []string
	for _, l := range d.Laws {
		names = append(names, l.Law)
		if l.Rows < 0 || l.Rows > d.Rows {
			fault("laws: their rows do not add up")
		}
	}
	if d.Laws == nil || !sortedSet(names) {
		fault("laws: must be a list, sorted, each once")
	}
	if d.Rows < 0 || d.Secret < 0 || d.Partly < 0 || d.Secret+d.Partly > d.Rows {
		fault("rows: do not add up")
	}
	if !idForm.MatchString(d.Actor) {
		fault("actor: is not an id")
	}
	if err := checkTime(d.At); err != nil {
		fault("at: %w", err)
	}
	if err := checkNonce(d.Nonce); err != nil {
		faults = append(faults, err)
	}
	return joinSorted(faults)
}

// SignRecordsRequest is r as a document.
func SignRecordsRequest(r *RecordsRequest, registrar *seal.Signer) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("write a request for records: %w", err)
	}
	if registrar == nil || registrar.Verifier() != r.Registrar.Key {
		return nil, errors.New("sign a request for records: this is not the key of its registrar")
	}
	text, err := seal.Canonical(r)
	if err != nil {
		return nil, err
	}
	return seal.Sign(text, registrar)
}

func openRecordsRequest(signed []byte) (*RecordsRequest, seal.Digest, error) {
	r := new(RecordsRequest)
	text, err := seal.Unsigned(signed)
	if err == nil {
		err = seal.ParseCanonical(text, r)
	}
	if err == nil {
		err = r.Validate()
	}
	if err == nil {
		_, _, err = seal.Open(signed, r.Registrar.Key)
	}
	if err != nil {
		return nil, seal.Digest{}, fmt.Errorf("read a request for records: %w", err)
	}
	return r, seal.DigestOf(text), nil
}

// A RecordsDesk handles requests for public records.
type RecordsDesk struct {
	Gate   *Gate
	Config SecrecyConfig
	// Place and Release are those of vault.HoldRegister: what is asked for is not purged meanwhile.
	Place   func(context.Context, vault.HoldOrder) (vault.Hold, vault.HoldCopies, error)
	Release func(ctx context.Context, basis vault.HoldBasis, document, actor string, authorise func(context.Context) error) ([]vault.Hold, error)
	// Identities are those of whoever works at the desk: previewed rows open for their reader alone.
	Identities []age.Identity
	// Seal begins a file for the age recipients that the register has for somebody, as text: those of plugins too, which it may start.
	Seal func(dst io.Writer, recipients []string) (io.WriteCloser, error)
	// Mask answers a text with the personal identity numbers in it blanked, as far as they are recognised.
	Mask func(string) string
}

// Records is a request with what has become of it.
type Records struct {
	Request   *RecordsRequest
	Digest    seal.Digest
	Requested time.Time        // on record; zero: not yet
	Confirmed time.Time        // when a second person's signature reached the record; zero: not yet, or there is no need
	Previews  int              // decisions whose rows were fetched
	Decision  *RecordsDecision // on record; nil: not yet
	Decided   time.Time        // on record; zero: not yet
	Closed    bool
	ClosedAt  time.Time // on record

	chain []*seal.Register
}

// Wide says whether the request names no person, but a unit or everybody.
func (r Records) Wide() bool { return r.Request.wide() }

// Overdue says whether a request that is not closed came in longer than after ago.
func (r Records) Overdue(now time.Time, after time.Duration) bool {
	return !r.Closed && now.After(r.Request.Received.Add(after))
}

// ConfirmBy is until when a request that names no person needs its second signature; zero if it needs none any more.
func (r Records) ConfirmBy() time.Time {
	if !r.Request.wide() || r.Requested.IsZero() || !r.Confirmed.IsZero() || r.Closed {
		return time.Time{}
	}
	return r.Requested.Add(ConfirmIn)
}

// State is how far a request has come, in one word.
func (r Records) State() string {
	switch {
	case r.Closed:
		return "closed"
	case r.Decision != nil:
		return "decided"
	case r.Previews > 0:
		return "previewed"
	case !r.Requested.IsZero():
		return "requested"
	}
	return "draft"
}

// AppealEnds is the last moment of the time for an appeal, counted from the decision and a day for the post; zero if there is
// nothing to appeal. Whoever was told later has longer: the registrar knows.
func (r Records) AppealEnds() time.Time {
	if r.Decision == nil || r.Decision.Outcome == OutcomeDisclosed {
		return time.Time{}
	}
	return r.Decided.Add((AppealDays + 7) * 24 * time.Hour)
}

// Request files a request, puts it on record (records.requested) and holds the rows that it asks for, so that no purge is faster.
// Nothing is opened, and how much there is is not answered: of a person nobody learns that without a decision. Repeating it after a
// failure finishes it.
func (k *RecordsDesk) Request(ctx context.Context, signed []byte) (Records, error) {
	r, err := k.request(ctx, signed)
	if err != nil {
		return Records{}, fmt.Errorf("request records: %w", err)
	}
	return r, nil
}

func (k *RecordsDesk) request(ctx context.Context, signed []byte) (Records, error) {
	r, digest, err := openRecordsRequest(signed)
	if err != nil {
		return Records{}, err
	}
	g := k.Gate
	if r.Deployment != g.p.Deployment {
		return Records{}, errors.New("it is another deployment's")
	}
	if _, err := k.holdScope(r); err != nil {
		return Records{}, err
	}
	if err := k.file(ctx, r, digest, signed); err != nil {
		return Records{}, err
	}
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return Records{}, err
	}
	if len(vault.HoldsOn(record, vault.HoldByRecords, digest.String())) == 0 {
		// Where nothing is left, there is nothing to hold: the answer will be that there are no such records.
		if err := k.hold(ctx, r, digest); err != nil && !errors.Is(err, vault.ErrGone) {
			return Records{}, err
		}
	}
	return k.Status(ctx, r.Case)
}

func (k *RecordsDesk) file(ctx context.Context, r *RecordsRequest, digest seal.Digest, signed []byte) (err error) {
	g := k.Gate
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	if onRecord(record, audit.RecordsRequested, digest.String(), "") {
		return nil
	}
	chain, _, err := g.chain(r.Tenant, record)
	if err != nil {
		return err
	}
	if !chain[len(chain)-1].Enrolled(r.Registrar.ID, r.Registrar.Key, "") {
		return fmt.Errorf("registrar: %w with this key, for all populations", ErrNotEnrolled)
	}
	if now := Clock(record, g.p.Now()); !near(r.At, now) {
		return fmt.Errorf("its time is not now, give or take %v", ClockTolerance)
	}
	if err := g.store.free(record, r.Case, digest); err != nil {
		return err
	}
	if err := g.store.Put(r.Case, recordsRequestFile, signed); errors.Is(err, fs.ErrExist) {
		if before, fault := g.store.Get(r.Case, recordsRequestFile); fault != nil || !bytes.Equal(before, signed) {
			return errors.Join(ErrCaseTaken, fault)
		}
	} else if err != nil {
		return err
	}
	entry := audit.Entry{Kind: audit.RecordsRequested, Actor: r.Registrar.ID, Case: r.Case, Document: digest.String()}
	if r.wide() { // its hold may lapse, which the record must be able to tell
		entry.Counts = map[string]int64{"wide": 1}
	}
	_, err = g.p.Log.Append(ctx, entry)
	return err
}

// holdScope is which sealed rows a request is about.
func (k *RecordsDesk) holdScope(r *RecordsRequest) (vault.HoldScope, error) {
	s := vault.HoldScope{Tenant: r.Tenant}
	first, last, err := Scope{From: r.Scope.From, To: r.Scope.To}.Days()
	if err != nil {
		return s, err
	}
	for day := first; day <= last; day++ {
		rows := []vault.HoldRow{{Day: day, Unit: r.Scope.Unit}}
		if r.Scope.Subject != "" {
			tagger, err := k.Gate.p.Lookup.Tagger(day)
			if errors.Is(err, seal.ErrLookupForgotten) {
				continue // that day is purged
			}
			if err != nil {
				return s, err
			}
			rows = nil
			for _, name := range r.Scope.person().subjects() {
				rows = append(rows, vault.HoldRow{Day: day, Tag: tagger.Tag(r.Tenant, name)})
			}
		}
		for _, row := range rows {
			for _, kind := range r.Scope.Sources {
				row.Kind = kind
				s.Rows = append(s.Rows, row)
			}
		}
	}
	if len(s.Rows) == 0 {
		return s, fmt.Errorf("%w: all days that it asks for are purged", ErrNoHold)
	}
	return s, nil
}

// Status answers a request with what has become of it. It fails with [ErrNoCase] if there is none.
func (k *RecordsDesk) Status(ctx context.Context, number string) (Records, error) {
	if checkCase(number) != nil {
		return Records{}, ErrNoCase
	}
	signed, err := k.Gate.store.Get(number, recordsRequestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Records{}, ErrNoCase
	}
	if err != nil {
		return Records{}, err
	}
	return k.statusOf(ctx, signed)
}

func (k *RecordsDesk) statusOf(ctx context.Context, signed []byte) (Records, error) {
	r, digest, err := openRecordsRequest(signed)
	if err != nil {
		return Records{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s := k.Gate.store
	record, err := k.Gate.p.Log.Entries(ctx)
	if err != nil {
		return Records{}, err
	}
	out := Records{Request: r, Digest: digest, Requested: recordedAt(record, audit.RecordsRequested, digest)}
	if out.chain, _, err = k.Gate.chain(r.Tenant, record); err != nil {
		return Records{}, err
	}
	names, err := s.Names(r.Case)
	if err != nil {
		return Records{}, err
	}
	for _, n := range names {
		if strings.HasPrefix(n, recordsRowsFile) {
			out.Previews++
		}
	}
	// What only stands in the store, or only on record, ends nothing.
	for _, act := range []struct {
		file, typ string
		kind      audit.Kind
		at        *time.Time
	}{
		{recordsConfirmedFile, typeRecordsConfirmation, audit.RecordsConfirmed, &out.Confirmed},
		{recordsClosedFile, typeRecordsClosing, audit.RecordsClosed, &out.ClosedAt},
	} {
		if !slices.Contains(names, act.file) {
			continue
		}
		text, err := s.Get(r.Case, act.file)
		if err != nil {
			return Records{}, err
		}
		_, of, err := openRecordsAct(text, act.typ, r, digest, out.chain)
		if err != nil {
			return Records{}, fmt.Errorf("%w: %w", ErrStore, err)
		}
		*act.at = recordedAt(record, act.kind, of)
	}
	out.Closed = !out.ClosedAt.IsZero()
	text, err := s.Get(r.Case, recordsDecisionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return Records{}, err
	}
	d, of, err := openRecordsDecision(text, r, digest, out.chain)
	if err != nil {
		return Records{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if at := recordedAt(record, audit.RecordsDecided, of); !at.IsZero() {
		out.Decision, out.Decided = d, at
	}
	return out, nil
}

func openRecordsDecision(signed []byte, r *RecordsRequest, request seal.Digest, chain []*seal.Register) (*RecordsDecision, seal.Digest, error) {
	d := new(RecordsDecision)
	text, err := seal.Unsigned(signed)
	if err == nil {
		err = seal.ParseCanonical(text, d)
	}
	if err == nil {
		err = d.Validate()
	}
	if err == nil {
		err = signedBy(signed, d.Actor, r.handler, chain)
	}
	if err == nil && (d.Request != request || d.Case != r.Case) {
		err = errors.New("it is on another request")
	}
	if err != nil {
		return nil, seal.Digest{}, fmt.Errorf("read a decision on records: %w", err)
	}
	return d, seal.DigestOf(text), nil
}

// List answers all requests, by number. One that can't be read is in the error, and hides no other.
func (k *RecordsDesk) List(ctx context.Context) ([]Records, error) {
	numbers, err := k.Gate.store.requests()
	faults := []error{err}
	var all []Records
	for _, number := range numbers {
		r, err := k.Status(ctx, number)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		all = append(all, r)
	}
	return all, errors.Join(faults...)
}

// open answers a request that by may work on, in one of these states. To everybody else it is [ErrRefused], on record.
func (k *RecordsDesk) open(ctx context.Context, number string, by *seal.Signer, states ...string) (Records, error) {
	r, err := k.Status(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return Records{}, k.Gate.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return Records{}, err
	}
	key, ok := r.Request.handler(nameOf(by), r.chain[len(r.chain)-1])
	if !ok || key != by.Verifier() {
		return Records{}, k.Gate.refuse(ctx, "", number, r.Digest.String(), refusedActor)
	}
	if !slices.Contains(states, r.State()) {
		return Records{}, fmt.Errorf("the request is %s", r.State())
	}
	return r, nil
}

// Files answers what was written for a request and is not removed, oldest first.
func (k *RecordsDesk) Files(ctx context.Context, number string, registrar *seal.Signer) ([]Export, error) {
	_, err := k.open(ctx, number, registrar, "requested", "previewed", "decided", "closed")
	if err != nil {
		return nil, fmt.Errorf("list the files of a request: %w", err)
	}
	return k.Gate.Exports(number)
}

// Preview fetches rows for the secrecy test: one lookup under a decision of the kind public_record, of which whoever asks is an
// investigator and which reaches no further than the request; of a request for a unit it gives the rows of that unit alone. They are
// kept in the case store, encrypted to whoever asked and to nobody else, with presets marked, until the request is closed or, while
// nothing is decided, that decision has ended. It answers what the lookup found.
func (k *RecordsDesk) Preview(ctx context.Context, number, decision string, registrar *seal.Signer) (Result, error) {
	fail := func(err error) (Result, error) { return Result{}, fmt.Errorf("preview records: %w", err) }
	r, err := k.open(ctx, number, registrar, "requested", "previewed")
	if err != nil {
		return fail(err)
	}
	g := k.Gate
	c, _, err := g.Entitled(ctx, decision, registrar)
	if err != nil {
		return fail(err)
	}
	if err := r.Request.covers(c.Decision); err != nil {
		return fail(err)
	}
	// First, so that a key that can't be encrypted to uses no lookup up.
	file, err := k.begin(r, registrar)
	if err != nil {
		return fail(err)
	}
	request, err := SignLookup(c.Decision, c.Digest, registrar, g.p.Now())
	if err != nil {
		return fail(err)
	}
	var rows []Row
	result, err := g.lookup(ctx, decision, request, ShownToRegistrar, &r, func(row Row) error { rows = append(rows, row); return nil })
	if err != nil {
		return fail(err)
	}
	return result, k.keep(ctx, r, c, result, file, rows, registrar)
}

// covers says whether a decision reaches no further than the request. A request for a unit is looked up person by person: of each, only
// the rows of that unit are given.
func (r *RecordsRequest) covers(d *Decision) error {
	first, last, err := d.Scope.Days()
	from, to, fault := Scope{From: r.Scope.From, To: r.Scope.To}.Days()
	switch {
	case err != nil || fault != nil:
		return errors.Join(err, fault)
	case d.Kind != PublicRecord:
		return fmt.Errorf("the decision is of the kind %s, not %s", d.Kind, PublicRecord)
	case d.Tenant != r.Tenant || r.Scope.Subject != "" && slices.ContainsFunc(d.Scope.subjects(), func(n []byte) bool {
		return !r.Scope.person().names(n)
	}):
		return errors.New("the decision is about another mailbox than the request")
	case first < from || last > to:
		return errors.New("the decision has days that the request does not ask for")
	case slices.ContainsFunc(d.Scope.Sources, func(s string) bool { return !slices.Contains(r.Scope.Sources, s) }):
		return errors.New("the decision has sources that the request does not ask for")
	}
	return nil
}

// all says whether a decision, which covers no more than the request, covers all of it.
func (r *RecordsRequest) all(d *Decision) bool {
	return r.Scope.Subject != "" && slices.Contains(d.Scope.Categories, AllCategories) &&
		d.Scope.From == r.Scope.From && d.Scope.To == r.Scope.To && slices.Equal(d.Scope.Sources, r.Scope.Sources) &&
		!slices.ContainsFunc(r.Scope.person().subjects(), func(n []byte) bool { return !d.Scope.names(n) })
}

// ErrUnseen is when nobody has made sure that there are no such records. It says the same whether there are any or not.
var ErrUnseen = errors.New("that there is nothing is answered when it is known: preview first, under a decision of all that the request asks for, with a ground to " +
	"show protected destinations, of which the result is whole and without a row. Days that are purged can't be looked at: ask for the others under a new number")

// nothing says whether it is known that there are no such records: somebody has looked at all of it, or all days were purged before
// it was asked for. Of a request that names no person, the size is known to whoever wrote it down: there it is enough that
// nothing was copied for its hold. list is what was previewed, and has no row.
func (k *RecordsDesk) nothing(ctx context.Context, r Records, list []previewed) error {
	if slices.ContainsFunc(list, func(p previewed) bool { return p.Whole }) {
		return nil
	}
	record, err := k.Gate.p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	holds := slices.DeleteFunc(vault.HoldsOn(record, vault.HoldByRecords, r.Digest.String()), func(h vault.Hold) bool { return !h.InForce() })
	if len(holds) == 0 {
		purged, err := vault.PurgedUnheld(record, vault.HoldByRecords, r.Digest.String())
		if err != nil {
			return err
		}
		first, last, err := Scope{From: r.Request.Scope.From, To: r.Request.Scope.To}.Days()
		if err != nil {
			return err
		}
		for day := first; day <= last; day++ {
			if slices.ContainsFunc(r.Request.Scope.Sources, func(kind string) bool { return !purged.Has(kind, day) }) {
				return ErrUnseen
			}
		}
		return nil
	}
	if !r.Request.wide() {
		return ErrUnseen
	}
	if k.Gate.p.Vault == nil {
		return errors.New("count what is held: there is no vault to look in")
	}
	for _, h := range holds {
		copies, err := k.Gate.p.Vault.Held(ctx, h.ID)
		if err != nil {
			return err
		}
		if copies != (vault.HoldCopies{}) {
			return fmt.Errorf("there are rows: %d keys and %d capsules are held", copies.Keys, copies.Capsules)
		}
	}
	return nil
}

// Rows answers the rows of a request's previews, in order, and what is marked in them so far: presets first. A row's number is its
// place among them, from 1; [RecordsDesk.Mark] takes numbers only of rows that were answered here.
func (k *RecordsDesk) Rows(ctx context.Context, number string, registrar *seal.Signer) ([]Row, Marks, error) {
	fail := func(err error) ([]Row, Marks, error) { return nil, nil, fmt.Errorf("read previewed rows: %w", err) }
	if _, err := k.open(ctx, number, registrar, "requested", "previewed", "decided"); err != nil {
		return fail(err)
	}
	list, err := k.previews(number)
	if err != nil {
		return fail(orAnew(err))
	}
	if len(list) > 0 {
		if err := k.Gate.store.Put(number, shownFile(list), nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return fail(err)
		}
	}
	rows, marks := k.rowsOf(list)
	return rows, marks, nil
}

// orAnew says what to do about rows that open for somebody else, as long as nothing is decided.
func orAnew(err error) error {
	if errors.Is(err, ErrNotReader) {
		return fmt.Errorf("%w: preview again, under a decision that names you", err)
	}
	return err
}

// Mark adds marks to those that there are. Of two marks of one thing the later counts. It fails if the rows are others than
// [RecordsDesk.Rows] has answered: a number would be another row's.
func (k *RecordsDesk) Mark(ctx context.Context, number string, more Marks, registrar *seal.Signer) error {
	fail := func(err error) error { return fmt.Errorf("mark rows: %w", err) }
	unlock, err := k.Gate.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if _, err := k.open(ctx, number, registrar, "previewed"); err != nil {
		return fail(err)
	}
	list, err := k.previews(number)
	if err != nil {
		return fail(orAnew(err))
	}
	if _, err := k.Gate.store.Get(number, shownFile(list)); errors.Is(err, fs.ErrNotExist) {
		return fail(errors.New("the rows have changed since they were shown, and their numbers with them: see them again ('tillsyn records preview')"))
	} else if err != nil {
		return fail(err)
	}
	rows, _ := k.rowsOf(list)
	if err := more.Validate(rows, k.Config); err != nil {
		return fail(err)
	}
	if err := k.Gate.fileMarks(number, list, more); err != nil {
		return fail(err)
	}
	return nil
}

// Decide signs, files and records the answer (records.decided). The outcome must be what the marks say; laws and reasons are those of
// the marks, or, for a refusal, also those given here. That there is nothing must be known ([ErrUnseen]).
func (k *RecordsDesk) Decide(ctx context.Context, number, outcome, reasons string, laws []string, registrar *seal.Signer) (RecordsDecision, error) {
	d, err := k.decide(ctx, number, outcome, reasons, laws, registrar)
	if err != nil {
		return RecordsDecision{}, fmt.Errorf("decide on records: %w", err)
	}
	return d, nil
}

func (k *RecordsDesk) decide(ctx context.Context, number, outcome, reasons string, laws []string, registrar *seal.Signer) (RecordsDecision, error) {
	g := k.Gate
	unlock, err := g.store.Lock(ctx)
	if err != nil {
		return RecordsDecision{}, err
	}
	defer unlock()
	r, err := k.open(ctx, number, registrar, "requested", "previewed")
	if err != nil {
		return RecordsDecision{}, err
	}
	d := RecordsDecision{Type: typeRecordsDecision, Case: number, Request: r.Digest, Outcome: outcome, Reasons: reasons, Actor: registrar.Name(), Nonce: NewNonce(), Laws: []LawUse{}}
	list, err := k.previews(number)
	if errors.Is(err, ErrNotReader) && outcome == OutcomeRefused {
		list, err = nil, nil // whoever takes over can refuse what another had previewed, and can't say how much of it there is
	}
	if err != nil {
		return RecordsDecision{}, orAnew(err)
	}
	rows, marks := k.rowsOf(list)
	if outcome != OutcomeRefused && outcome != OutcomeNothing && len(rows) == 0 {
		return RecordsDecision{}, errors.New("nothing was previewed: what is disclosed is looked at first")
	}
	if outcome == OutcomeNothing && len(rows) == 0 {
		if err := k.nothing(ctx, r, list); err != nil {
			return RecordsDecision{}, err
		}
	}
	found, err := k.Config.Disclose(rows, marks, k.Mask)
	if err != nil {
		return RecordsDecision{}, err
	}
	used := slices.Collect(maps.Keys(found.Laws))
	if outcome == OutcomeRefused {
		used = append(used, laws...)
	}
	for _, l := range used {
		if k.Config.ground(l) == "" {
			return RecordsDecision{}, errors.New("a law is none of those configured")
		}
	}
	slices.Sort(used)
	for _, l := range slices.Compact(used) {
		d.Laws = append(d.Laws, LawUse{l, found.Laws[l]})
	}
	d.Rows, d.Secret, d.Partly = found.Rows, found.Secret, found.Partly
	text, err := json.Marshal(marks)
	if err != nil {
		return RecordsDecision{}, err
	}
	d.Marks = seal.DigestOf(append([]byte(d.Nonce), text...))
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return RecordsDecision{}, err
	}
	d.At = Clock(record, g.p.Now()).Truncate(time.Second)
	if err := d.Validate(); err != nil {
		return RecordsDecision{}, err
	}
	canonical, err := seal.Canonical(d)
	if err != nil {
		return RecordsDecision{}, err
	}
	signed, err := seal.Sign(canonical, registrar)
	if err != nil {
		return RecordsDecision{}, err
	}
	// One that a crash kept out of the record decides nothing, whatever it says: this one takes its place.
	if err := g.store.remove(number, recordsDecisionFile); err != nil {
		return RecordsDecision{}, err
	}
	if err := g.store.Put(number, recordsDecisionFile, signed); err != nil {
		return RecordsDecision{}, err
	}
	g.step("records decision filed")
	if _, err := g.p.Log.Append(ctx, audit.Entry{Kind: audit.RecordsDecided, Actor: d.Actor, Case: number, Document: seal.DigestOf(canonical).String(),
		Counts: map[string]int64{"rows": int64(d.Rows), "secret": int64(d.Secret), "partly": int64(d.Partly)}}); err != nil {
		return RecordsDecision{}, err
	}
	return d, nil
}

// Export writes the answer into the folder dir: the letter, and what is disclosed as a page and as CSV. It answers the names. Where
// rows leave, whoever previewed them must export them ([ErrNotReader]); the letter of a refusal anybody who may work on it. The
// files are for the requester; what is left of them here is in [Gate.Exports], and goes when the request is closed ([Gate.RemoveExports]).
func (k *RecordsDesk) Export(ctx context.Context, number, dir string, registrar *seal.Signer) ([]string, error) {
	names, err := k.export(ctx, number, dir, registrar)
	if err != nil {
		return nil, fmt.Errorf("export records: %w", err)
	}
	return names, nil
}

func (k *RecordsDesk) export(ctx context.Context, number, dir string, registrar *seal.Signer) ([]string, error) {
	r, err := k.open(ctx, number, registrar, "decided")
	if err != nil {
		return nil, err
	}
	letter, err := k.Config.letter(*r.Request, *r.Decision).HTML()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(NewNonce()))
	base := strings.TrimSuffix(exportName(number, sum), ".zip")
	files := map[string][]byte{base + "-brev.html": letter}
	leaving := 0
	if r.Decision.Outcome == OutcomeDisclosed || r.Decision.Outcome == OutcomePartly {
		found, err := k.decided(r)
		if err != nil {
			return nil, err
		}
		leaving = found.Rows - found.Secret
		var table bytes.Buffer
		if err := found.Sheet.CSV(&table); err != nil {
			return nil, err
		}
		page, err := found.page(*r.Request, k.Config.Authority).HTML()
		if err != nil {
			return nil, err
		}
		files[base+"-rader.csv"], files[base+"-rader.html"] = table.Bytes(), page
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := k.clean(ctx, number); err != nil {
		return nil, err
	}
	p, err := openPlace(dir)
	if err != nil {
		return nil, err
	}
	defer p.root.Close()
	if _, err := k.Gate.p.Log.Append(ctx, audit.Entry{Kind: audit.ExportMade, Actor: registrar.Name(), Case: number, Document: r.Digest.String(),
		Counts: map[string]int64{"rows": int64(leaving), "files": int64(len(files))}}); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(files))
	for i, name := range names {
		// The store knows of a file before it is there, so that a killed process leaves nothing that nobody knows.
		key := fmt.Sprintf("%s%x-%d", exportPrefix, sum[:10], i)
		known, err := json.Marshal(storedExport{Folder: dir, Name: name, Maker: registrar.Name(), Made: r.Decided, Rows: leaving})
		if err == nil {
			err = k.Gate.store.Put(number, key, known)
		}
		if err != nil {
			return nil, err
		}
		k.Gate.step("records export known")
		if err := p.write(name, files[name], k.Gate.step); err != nil {
			return nil, err
		}
		k.Gate.step("records export written")
		done, err := json.Marshal(storedDone{Archive: seal.DigestOf(files[name])})
		if err == nil {
			err = k.Gate.store.Put(number, key+"-done", done)
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// decided are the rows that leave by the decision on record, as they were marked when it was made.
func (k *RecordsDesk) decided(r Records) (Disclosure, error) {
	list, err := k.previews(r.Request.Case)
	if errors.Is(err, ErrNotReader) {
		return Disclosure{}, fmt.Errorf("%w: whoever decided on them exports them; if they can't, write the request down again under a new number, preview and decide there, and close this one after it", err)
	}
	if err != nil {
		return Disclosure{}, err
	}
	rows, marks := k.rowsOf(list)
	text, err := json.Marshal(marks)
	if err != nil {
		return Disclosure{}, err
	}
	if r.Decision.Marks != seal.DigestOf(append([]byte(r.Decision.Nonce), text...)) {
		return Disclosure{}, fmt.Errorf("%w: what is marked is not what was decided on; or disclosure.secrecy has other presets than then: put them back", ErrStore)
	}
	return k.Config.Disclose(rows, marks, k.Mask)
}

// clean removes what an export whose process died has left behind.
func (k *RecordsDesk) clean(ctx context.Context, number string) error {
	list, err := k.Gate.Exports(number)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.Archive.IsZero() {
			continue
		}
		removed, err := k.Gate.removeExport(ctx, e)
		if err != nil {
			return err
		}
		if removed.Outcome == ExportOutOf {
			return fmt.Errorf("what an export that died has left in %s can't be removed: remove it by hand", filepath.Dir(e.Path))
		}
	}
	return nil
}

// write makes a small file as a whole.
func (p place) write(name string, content []byte, step func(string)) error {
	f, err := p.create(partialName(name))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	step("records export half written")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = p.publish(partialName(name), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write an export: %w", err), p.root.Remove(partialName(name)))
	}
	return nil
}

// page shows what is disclosed.
func (d Disclosure) page(r RecordsRequest, authority string) Page {
	return Page{
		From:    authority,
		Heading: Phrase{"Utlämnade rader ur loggar, " + Clipped(r.Case, 64), "Disclosed rows of logs, " + Clipped(r.Case, 64)},
		Lead: Phrase{
			fmt.Sprintf("%d rader. Där ordet sekretess står finns en uppgift som inte kan lämnas ut; vilken bestämmelse det beror på står i sista kolumnen.", d.Rows),
			fmt.Sprintf("%d rows. Where the word sekretess stands there is something that can't be disclosed; the last column says by which law.", d.Rows),
		},
		Sections: []Section{{Heading: Phrase{"Raderna", "The rows"}, Tables: []Table{d.Sheet.tableOf(Phrase{"Rader ur loggar", "Rows of logs"})}}},
		Foot:     []Phrase{{"Tider är UTC. Personnummer är dolda så långt de känns igen.", "Times are UTC. Personal identity numbers are hidden as far as they are recognised."}},
	}
}

// Close ends a request: its rows are removed from the case store and its hold is released. Something that was kept secret can be
// appealed, so that takes until the time for it is over, unless the registrar knows that nobody will (waived).
func (k *RecordsDesk) Close(ctx context.Context, number string, waived bool, registrar *seal.Signer) error {
	fail := func(err error) error { return fmt.Errorf("close a request for records: %w", err) }
	r, err := k.open(ctx, number, registrar, "decided", "closed")
	if err != nil {
		return fail(err)
	}
	g := k.Gate
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	if ends := r.AppealEnds(); Clock(record, g.p.Now()).Before(ends) && !waived {
		return fail(fmt.Errorf("it can be appealed until %s: the rows are kept until then", ends.Format(time.DateOnly)))
	}
	if k.Release == nil {
		return fail(errors.New("nothing can release the hold"))
	}
	if !r.Closed {
		if err := k.act(ctx, r, RecordsAct{Type: typeRecordsClosing, Waived: waived}, recordsClosedFile, audit.RecordsClosed, registrar); err != nil {
			return fail(err)
		}
	}
	g.step("records closed")
	if err := k.forget(ctx, number); err != nil {
		return fail(err)
	}
	g.step("records rows removed")
	if _, err := k.release(ctx, r, registrar.Name()); err != nil {
		return fail(err)
	}
	return nil
}

// forget removes previewed rows, what was marked in them and which were shown.
func (k *RecordsDesk) forget(ctx context.Context, number string) error {
	s := k.Gate.store
	unlock, err := s.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	names, err := s.Names(number)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, recordsRowsFile) || strings.HasPrefix(n, recordsMarksFile) || strings.HasPrefix(n, recordsShownFile) {
			if err := s.remove(number, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// NewRecordsRequest begins a request of a tenant that registrar will sign.
func NewRecordsRequest(deployment, tenant string, registrar Signatory, now time.Time) *RecordsRequest {
	return &RecordsRequest{Type: typeRecordsRequest, Deployment: deployment, Tenant: tenant, Registrar: registrar, At: now.UTC().Truncate(time.Second), Nonce: NewNonce()}
}
