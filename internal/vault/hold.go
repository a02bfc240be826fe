package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// HoldBasis is what a hold rests on.
type HoldBasis string

// The bases of a hold.
const (
	HoldByDecision HoldBasis = "decision" // a decision about persons; the hold ends with its case
	HoldByRecords  HoldBasis = "records"  // a request for public records: what is asked for must not be removed meanwhile
)

const (
	holdType = "tillsyn hold v1"

	maxHoldRows = 1_000_000

	// Unconfirmed is how long a request for the records of a unit or of everybody holds them by one signature.
	Unconfirmed = 7 * 24 * time.Hour

	// orphanAge is how old a scope without a record must be before it counts as that of a hold which was never placed.
	orphanAge = 24 * time.Hour
)

// A HoldRow is one line of a scope: events of a kind on a day, of one person (Tag), of a unit (Unit), or of everybody (neither).
type HoldRow struct {
	Kind string
	Day  seal.Day
	Unit string
	Tag  seal.Tag
}

// HoldScope is what a hold keeps. An empty scope keeps nothing, and is refused.
type HoldScope struct {
	Tenant string
	Rows   []HoldRow
}

func (s HoldScope) validate() error {
	var faults []error
	if s.Tenant == "" {
		faults = append(faults, errors.New("it names no tenant"))
	}
	if len(s.Rows) == 0 || len(s.Rows) > maxHoldRows {
		faults = append(faults, fmt.Errorf("it has %d rows, which is not between 1 and %d", len(s.Rows), maxHoldRows))
	}
	for i, r := range s.Rows {
		if !slices.Contains(Kinds(), r.Kind) {
			faults = append(faults, fmt.Errorf("row %d: %q is not a kind of event", i+1, r.Kind))
		}
		if r.Unit != "" && r.Tag != (seal.Tag{}) {
			faults = append(faults, fmt.Errorf("row %d: it names a person and a unit", i+1))
		}
		if r.Day <= 0 || r.Day > 65535 {
			faults = append(faults, fmt.Errorf("row %d: its day is none", i+1))
		}
		if len(faults) > 10 {
			break
		}
	}
	return errors.Join(faults...)
}

// sorted answers the rows in their one order, each once.
func (s HoldScope) sorted() []HoldRow {
	rows := slices.Clone(s.Rows)
	slices.SortFunc(rows, func(a, b HoldRow) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Day, b.Day), cmp.Compare(a.Unit, b.Unit), bytes.Compare(a.Tag[:], b.Tag[:]))
	})
	return slices.Compact(rows)
}

// digest is a commitment to the scope: with its salt, the record has nothing to guess by.
func (s HoldScope) digest(salt [32]byte) seal.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%x\n%q\n", holdType, salt, s.Tenant)
	for _, r := range s.sorted() {
		fmt.Fprintf(h, "%s %s %q %x\n", r.Kind, r.Day, r.Unit, r.Tag[:])
	}
	return seal.Digest(h.Sum(nil))
}

// HoldID names the hold that the record has under this digest.
func HoldID(d seal.Digest) string { return hex.EncodeToString(d[:16]) }

// A HoldOrder asks for a hold.
type HoldOrder struct {
	Case     string    // number of the case that the hold ends with
	Basis    HoldBasis //
	Document string    // "sha256:..." of the decision or the request
	Actor    string    // who places it: an id of the register, or the part of tillsyn that acts
	Scope    HoldScope //

	// Authorise says whether the case allows the hold at this moment. It is asked while no purge runs, just before the hold
	// goes on record.
	Authorise func(context.Context) error
}

// HoldCopies counts the rows that a hold keeps.
type HoldCopies struct {
	Keys     int64 `json:"keys"`
	Capsules int64 `json:"capsules"`
}

// HoldRegister places, releases and lists holds. The record is the truth about which are in force; the database has their
// scopes and copies. Its user needs the grants of purge.
type HoldRegister struct {
	DB   *clickhouse.DB
	Log  *audit.Log
	Lock string           // file that placing, releasing and purging take turns by
	Wait time.Duration    // for the lock
	Now  func() time.Time // the clock

	step func(string) error // tests: called before every step, with its name
}

func (r HoldRegister) before(step string) error {
	if r.step != nil {
		return r.step(step)
	}
	return nil
}

// Place puts a hold on record and copies what it keeps. When it answers without an error, both are done: from then on no
// purge removes the rows; days that a purge has begun to remove are not held, and Hold.Gone counts them. If all are, it fails with
// [ErrGone]. An error after the hold went on record comes with the hold, which is in force: the next purge
// copies before it removes anything.
func (r HoldRegister) Place(ctx context.Context, o HoldOrder) (h Hold, copied HoldCopies, err error) {
	fail := func(err error) (Hold, HoldCopies, error) { return h, copied, fmt.Errorf("place a hold: %w", err) }
	if err := o.Scope.validate(); err != nil {
		return fail(err)
	}
	if o.Authorise == nil || o.Case == "" || o.Document == "" || (o.Basis != HoldByDecision && o.Basis != HoldByRecords) {
		return fail(errors.New("a hold needs a case, a basis, its document and somebody who authorises it"))
	}
	unlock, err := purgeLock(ctx, r.Lock, r.Wait)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := o.Authorise(ctx); err != nil {
		return fail(err)
	}
	gone, err := r.dropGone(ctx, &o.Scope)
	if err != nil {
		return fail(err)
	}
	var salt [32]byte
	rand.Read(salt[:])
	digest := o.Scope.digest(salt)
	id := HoldID(digest)
	body, err := seal.Canonical(holdBody{holdType, id, o.Basis, o.Document})
	if err != nil {
		return fail(err)
	}
	entry := audit.Entry{Kind: audit.HoldPlaced, Actor: o.Actor, Case: o.Case, Document: digest.String(), Body: string(body)}
	entry.Counts = map[string]int64{"rows": int64(len(o.Scope.sorted()))}
	// The scope comes first: a hold on record without a scope would stop every purge, a scope without a record does nothing.
	if err := r.insert(ctx, id, salt, o.Scope); err != nil {
		return fail(err)
	}
	if err := r.before("record"); err != nil {
		return fail(err)
	}
	receipt, err := r.Log.Append(ctx, entry)
	if err != nil {
		return fail(err)
	}
	h = Hold{ID: id, Case: o.Case, Basis: o.Basis, Document: o.Document, Placed: receipt.Entry.At, Gone: gone, digest: entry.Document, scope: map[holdDay]int{}}
	for _, row := range o.Scope.sorted() {
		h.scope[holdDay{row.Kind, row.Day}]++
	}
	for _, d := range slices.SortedFunc(maps.Keys(h.scope), compareHoldDays) {
		if err := r.before("copy"); err != nil {
			return fail(err)
		}
		n, err := copyHeld(ctx, r.DB, h.ID, d)
		if err != nil {
			return fail(fmt.Errorf("hold %s is in force, but its copy is not whole yet: %w", h.ID, err))
		}
		copied.Keys += n.Keys
		copied.Capsules += n.Capsules
	}
	return h, copied, nil
}

// ErrGone is when everything that was to be held is purged, or its purge has begun and its keys are gone.
var ErrGone = errors.New("a purge has removed all days that were to be held")

// dropGone takes the days out of a scope whose purge is certified, or was begun and has removed the keys already: what is left of them opens for
// nobody, and a hold that names them would promise what it can't keep. Those that a purge has put on record and not touched yet stay:
// it copies what is held before it goes on. It answers how many days went, counted for each kind.
func (r HoldRegister) dropGone(ctx context.Context, s *HoldScope) (int, error) {
	records, err := r.Log.Entries(ctx)
	if err != nil {
		return 0, err
	}
	begun, err := PurgedUnheld(records, "", "")
	if err != nil {
		return 0, err
	}
	certified, err := PurgedDays(records)
	if err != nil {
		return 0, err
	}
	partitions, err := listPartitions(ctx, r.DB)
	if err != nil {
		return 0, err
	}
	gone := map[holdDay]bool{}
	var left []HoldRow
	for _, row := range s.Rows {
		d := holdDay{row.Kind, row.Day}
		if _, known := gone[d]; !known {
			left := slices.ContainsFunc(partitions, func(f foundPartition) bool {
				return f.Table == row.Kind+"_keys" && f.Day == row.Day && f.active > 0
			})
			// What is there of a day that is certified, somebody has put back: a hold would have it served again.
			gone[d] = certified.Has(row.Kind, row.Day) || begun.Has(row.Kind, row.Day) && !left
		}
		if !gone[d] {
			left = append(left, row)
		}
	}
	if len(left) == 0 {
		return 0, ErrGone
	}
	s.Rows = left
	n := 0
	for _, lost := range gone {
		if lost {
			n++
		}
	}
	return n, nil
}

func compareHoldDays(a, b holdDay) int {
	return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.kind, b.kind))
}

// A holdBody is what the record says of a hold, beside its case and digest.
type holdBody struct {
	Type     string    `json:"type"`
	Hold     string    `json:"hold"`
	Basis    HoldBasis `json:"basis"`
	Document string    `json:"document"` // digest of the decision or request
}

func (r HoldRegister) insert(ctx context.Context, id string, salt [32]byte, s HoldScope) error {
	query, err := schemas.Query("vault/hold_insert")
	if err != nil {
		return err
	}
	rows := s.sorted()
	n := len(rows)
	holds, salts, tenants, kinds := slices.Repeat([]string{id}, n), slices.Repeat([]string{string(salt[:])}, n), slices.Repeat([]string{s.Tenant}, n), make([]string, n)
	days, units, tags, begun := make([]uint16, n), make([]string, n), make([]string, n), slices.Repeat([]uint32{uint32(r.Now().Unix())}, n)
	for i, row := range rows {
		kinds[i], days[i], units[i], tags[i] = row.Kind, uint16(row.Day), row.Unit, string(row.Tag[:])
	}
	if err := r.DB.Insert(ctx, clickhouse.Insert{Query: query, Columns: []any{holds, salts, tenants, kinds, days, units, tags, begun}}); err != nil {
		return fmt.Errorf("write the scope: %w", err)
	}
	return nil
}

// Release ends every hold that rests on one document, and no other's, whatever their cases are called: their copies go with the
// next purge. It answers those it released; a document without holds is no error. authorise is asked under the lock.
func (r HoldRegister) Release(ctx context.Context, basis HoldBasis, document, actor string, authorise func(context.Context) error) ([]Hold, error) {
	if basis == "" || document == "" {
		return nil, errors.New("release a hold: it is not said by what it was held")
	}
	return r.release(ctx, actor, authorise, func(h Hold) bool { return h.Basis == basis && h.Document == document })
}

func (r HoldRegister) release(ctx context.Context, actor string, authorise func(context.Context) error, which func(Hold) bool) ([]Hold, error) {
	fail := func(err error) ([]Hold, error) { return nil, fmt.Errorf("release a hold: %w", err) }
	if authorise == nil {
		return fail(errors.New("nobody authorises it"))
	}
	unlock, err := purgeLock(ctx, r.Lock, r.Wait)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := authorise(ctx); err != nil {
		return fail(err)
	}
	records, err := r.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	ended := newEndings()
	for _, e := range records {
		ended.note(e)
	}
	var released []Hold
	for _, h := range holdsOnRecord(records) {
		if !h.InForce() || !which(h) {
			continue
		}
		if !ended.end(h) {
			return fail(fmt.Errorf("hold %s of case %s: the record has nothing that ends what it rests on", h.ID, h.Case))
		}
		if err := r.before("release"); err != nil {
			return fail(err)
		}
		receipt, err := r.Log.Append(ctx, audit.Entry{Kind: audit.HoldReleased, Actor: actor, Case: h.Case, Document: h.digest})
		if err != nil {
			return fail(err)
		}
		h.Released = receipt.Entry.At
		released = append(released, h)
	}
	return released, nil
}

// A ListedHold is a hold with what it keeps.
type ListedHold struct {
	Hold
	From   string     `json:"from"` // first day of its scope, YYYY-MM-DD; empty: the scope is gone, with its copies
	To     string     `json:"to"`   // last day
	Kinds  []string   `json:"kinds"`
	Rows   int        `json:"rows"` // of the scope: person-days, or units or everybody by day
	Wide   bool       `json:"wide"` // the scope names no person; false also if it is gone
	Copies HoldCopies `json:"copies"`
}

// List answers every hold on record, oldest first.
func (r HoldRegister) List(ctx context.Context) ([]ListedHold, error) {
	fail := func(err error) ([]ListedHold, error) { return nil, fmt.Errorf("list holds: %w", err) }
	records, err := r.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	holds, err := loadHolds(ctx, r.DB, records, r.Now())
	if err != nil {
		return fail(err)
	}
	copies, err := heldCopies(ctx, r.DB)
	if err != nil {
		return fail(err)
	}
	list := make([]ListedHold, 0, len(holds.list))
	for _, h := range holds.list {
		l := ListedHold{Hold: h, Kinds: []string{}, Wide: h.wide, Copies: copies[h.ID]}
		for _, d := range slices.SortedFunc(maps.Keys(h.scope), compareHoldDays) {
			if l.From == "" {
				l.From = d.day.String()
			}
			l.To = d.day.String()
			l.Rows += h.scope[d]
			if !slices.Contains(l.Kinds, d.kind) {
				l.Kinds = append(l.Kinds, d.kind)
			}
		}
		slices.Sort(l.Kinds)
		list = append(list, l)
	}
	return list, nil
}

func heldCopies(ctx context.Context, db *clickhouse.DB) (map[string]HoldCopies, error) {
	query, err := schemas.Query("vault/hold_copies")
	if err != nil {
		return nil, err
	}
	copies := map[string]HoldCopies{}
	err = db.Query(ctx, query, nil, func(row clickhouse.Row) error {
		var id string
		var keys, capsules uint64
		if err := row.Scan(&id, &keys, &capsules); err != nil {
			return err
		}
		copies[id] = HoldCopies{int64(keys), int64(capsules)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count copies: %w", err)
	}
	return copies, nil
}

// Held counts what is copied for one hold. Nothing is opened.
func (s *Store) Held(ctx context.Context, hold string) (HoldCopies, error) {
	copies, err := heldCopies(ctx, s.db)
	return copies[hold], err
}

// HoldsOn answers the holds that the record has of one document, in the order of their placing, without what they keep.
func HoldsOn(records []audit.Record, basis HoldBasis, document string) []Hold {
	return slices.DeleteFunc(holdsOnRecord(records), func(h Hold) bool { return h.Basis != basis || h.Document != document })
}

// HoldsInForce answers the holds of a record that rest on something of a kind and have not ended.
func HoldsInForce(records []audit.Record, basis HoldBasis) []Hold {
	return slices.DeleteFunc(holdsOnRecord(records), func(h Hold) bool { return h.Basis != basis || !h.InForce() })
}

// PurgedUnheld answers the days whose purge was begun while no hold of this document was in force: of them not everything that
// the document is about was kept. Without a document it is all of them.
func PurgedUnheld(records []audit.Record, basis HoldBasis, document string) (Purged, error) {
	p := Purged{map[purgeKey]bool{}}
	var mine []Hold
	if document != "" {
		mine = HoldsOn(records, basis, document)
	}
	held := map[string]bool{}
	for _, e := range records {
		switch e.Kind {
		case audit.HoldPlaced:
			if slices.ContainsFunc(mine, func(h Hold) bool { return h.digest == e.Document }) {
				held[e.Document] = true
			}
		case audit.HoldReleased:
			if slices.ContainsFunc(mine, func(h Hold) bool { return h.digest == e.Document && !h.InForce() && h.letGo == e.Position }) {
				held[e.Document] = false
			}
		case audit.PurgeIntent:
			if slices.Contains(slices.Collect(maps.Values(held)), true) {
				continue
			}
			var intent PurgeIntent
			if err := seal.ParseCanonical([]byte(e.Body), &intent); err != nil || intent.Type != intentType {
				return p, fmt.Errorf("entry %v of the record is not a purge intent as it must be", e.Position)
			}
			for _, item := range intent.Items {
				if item.Hold == "" {
					p.days[purgeKey{item.Class, item.Day, ""}] = true
				}
			}
		}
	}
	return p, nil
}

// endings are what a record, up to some entry, has that can end a hold.
type endings struct {
	ended     map[string]bool      // decisions, by digest
	closed    map[string]bool      // requests for records, by case
	confirmed map[string]bool      // requests for records, by case
	wide      map[string]time.Time // requests for records that name no person, by digest: when they came on record
	latest    time.Time
}

func newEndings() *endings {
	return &endings{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]time.Time{}, time.Time{}}
}

func (n *endings) note(e audit.Record) {
	if e.At.After(n.latest) {
		n.latest = e.At
	}
	switch e.Kind {
	case audit.DecisionClosed, audit.DecisionRevoked, audit.DecisionDenied:
		n.ended[e.Document] = true
	case audit.RecordsClosed:
		n.closed[e.Case] = true
	case audit.RecordsConfirmed:
		n.confirmed[e.Case] = true
	case audit.RecordsRequested:
		if e.Counts["wide"] == 1 {
			n.wide[e.Document] = e.At
		}
	}
}

// end says whether what h rests on has ended: the decision is closed, revoked or denied; the request for records is closed, or
// nobody signed beside its registrar in time.
func (n *endings) end(h Hold) bool {
	switch h.Basis {
	case HoldByDecision:
		return n.ended[h.Document]
	case HoldByRecords:
		since, wide := n.wide[h.Document]
		return n.closed[h.Case] || wide && !n.confirmed[h.Case] && n.latest.After(since.Add(Unconfirmed))
	}
	return false
}

// GroundlessReleases answers the entries of a record that release what is not in force, or what nothing before them has ended. They
// end no hold.
func GroundlessReleases(records []audit.Record) []audit.Record {
	holds := holdsOnRecord(records)
	var list []audit.Record
	for _, e := range records {
		if e.Kind == audit.HoldReleased && !slices.ContainsFunc(holds, func(h Hold) bool { return !h.InForce() && h.letGo == e.Position }) {
			list = append(list, e)
		}
	}
	return list
}

// holdsOnRecord answers the holds of the record in the order of their placing, without their scopes. Nobody ends one by writing that
// it is released: what it rests on must have ended before.
func holdsOnRecord(records []audit.Record) []Hold {
	var holds []Hold
	ended := newEndings()
	for _, e := range records {
		ended.note(e)
		switch e.Kind {
		case audit.HoldPlaced:
			d, err := seal.ParseDigest(e.Document)
			if err != nil {
				continue
			}
			h := Hold{ID: HoldID(d), Case: e.Case, Placed: e.At, digest: e.Document}
			var body holdBody
			if seal.ParseCanonical([]byte(e.Body), &body) == nil {
				h.Basis, h.Document = body.Basis, body.Document
			}
			holds = append(holds, h)
		case audit.HoldReleased:
			for i := range holds {
				if holds[i].digest == e.Document && holds[i].InForce() && ended.end(holds[i]) {
					holds[i].Released, holds[i].letGo = e.At, e.Position
				}
			}
		}
	}
	return holds
}

// heldState is the holds of the record with their scopes, which were checked against their digests.
type heldState struct {
	list    []Hold
	orphans []string // scopes of holds that were never placed
}

func (s heldState) inForce() []Hold {
	return slices.DeleteFunc(slices.Clone(s.list), func(h Hold) bool { return !h.InForce() })
}

// known are all holds, and those that were never placed as ones that have ended: what was copied for them goes.
func (s heldState) known(now time.Time) []Hold {
	list := slices.Clone(s.list)
	for _, id := range s.orphans {
		list = append(list, Hold{ID: id, Case: "(never placed)", Released: now})
	}
	return list
}

// loadHolds brings record and database together. It refuses when a hold in force has no scope, or another than the record
// says: then nobody knows what may be removed.
func loadHolds(ctx context.Context, db *clickhouse.DB, records []audit.Record, now time.Time) (heldState, error) {
	var s heldState
	s.list = holdsOnRecord(records)
	query, err := schemas.Query("vault/hold_list")
	if err != nil {
		return s, err
	}
	present := map[string]bool{}
	err = db.Query(ctx, query, nil, func(row clickhouse.Row) error {
		var id string
		var begun time.Time
		var rows uint64
		if err := row.Scan(&id, &begun, &rows); err != nil {
			return err
		}
		present[id] = true
		known := slices.ContainsFunc(s.list, func(h Hold) bool { return h.ID == id })
		switch {
		case known:
		case now.Sub(begun) < orphanAge:
			// Its record may be about to be written: it keeps what it keeps. Holds of retired segments are carried forward.
			s.list = append(s.list, Hold{ID: id, Case: "(being placed)", Placed: begun})
		default:
			s.orphans = append(s.orphans, id)
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read the scopes of holds: %w", err)
	}
	var faults []error
	for i := range s.list {
		h := &s.list[i]
		if !present[h.ID] {
			if h.InForce() {
				faults = append(faults, fmt.Errorf("hold %s of case %s is in force, but its scope is gone from the table holds", h.ID, h.Case))
			}
			continue
		}
		digest, scope, wide, err := loadScope(ctx, db, h.ID)
		if err != nil {
			return s, err
		}
		if h.InForce() && HoldID(digest) != h.ID {
			faults = append(faults, fmt.Errorf("hold %s of case %s: its scope in the table holds is not the one on record", h.ID, h.Case))
		}
		h.scope, h.wide = scope, wide
	}
	if err := errors.Join(faults...); err != nil {
		return s, fmt.Errorf("%w:\n%w", ErrHolds, err)
	}
	return s, nil
}

// ErrHolds is when record and database disagree about what is held: nothing is removed then. Put the table holds back from a
// backup, or close the cases.
var ErrHolds = errors.New("what is held back from purge is not certain")

// loadScope answers the digest of a hold's scope, its rows by kind and day, and whether they name no person.
func loadScope(ctx context.Context, db *clickhouse.DB, id string) (seal.Digest, map[holdDay]int, bool, error) {
	query, err := schemas.Query("vault/hold_scope")
	if err != nil {
		return seal.Digest{}, nil, false, err
	}
	var s HoldScope
	var salt [32]byte
	scope := map[holdDay]int{}
	mixed := false
	err = db.Query(ctx, query, clickhouse.Params{"hold": id}, func(row clickhouse.Row) error {
		var saltText, tenant, kind, unit, tag string
		var day time.Time
		if err := row.Scan(&saltText, &tenant, &kind, &day, &unit, &tag); err != nil {
			return err
		}
		raw, err := hex.DecodeString(saltText)
		if err != nil || len(raw) != len(salt) {
			return errors.New("a salt is cut")
		}
		mixed = mixed || len(s.Rows) > 0 && (salt != [32]byte(raw) || s.Tenant != tenant)
		salt, s.Tenant = [32]byte(raw), tenant
		r := HoldRow{Kind: kind, Day: seal.DayOf(day), Unit: unit}
		if raw, err = hex.DecodeString(tag); err != nil || len(raw) != len(r.Tag) {
			return errors.New("a tag is cut")
		}
		r.Tag = seal.Tag(raw)
		s.Rows = append(s.Rows, r)
		scope[holdDay{r.Kind, r.Day}]++
		return nil
	})
	if err != nil {
		return seal.Digest{}, nil, false, fmt.Errorf("read the scope of hold %s: %w", id, err)
	}
	wide := len(s.Rows) > 0 && !slices.ContainsFunc(s.Rows, func(r HoldRow) bool { return r.Tag != (seal.Tag{}) })
	if mixed {
		return seal.Digest{}, scope, wide, nil // no scope has this digest
	}
	return s.digest(salt), scope, wide, nil
}

// copyHeld copies what a hold keeps of one kind and day and proves that every row of it is among the copies. It may be
// repeated at any point. The counts are of the rows that are still in the tables the copies come from.
func copyHeld(ctx context.Context, db *clickhouse.DB, hold string, d holdDay) (HoldCopies, error) {
	var counts HoldCopies
	params := clickhouse.Params{"hold": hold, "day": d.day.String()}
	for _, t := range []struct {
		name string
		rows *int64
	}{{"keys", &counts.Keys}, {"capsules", &counts.Capsules}} {
		table := d.kind + "_" + t.name
		query, err := schemas.Query("vault/hold_copy_" + table)
		if err != nil {
			return counts, err
		}
		if err := db.Exec(ctx, query, params); err != nil {
			return counts, fmt.Errorf("copy what hold %s keeps of %s of %s: %w", hold, table, d.day, err)
		}
		if query, err = schemas.Query("vault/hold_missing_" + table); err != nil {
			return counts, err
		}
		var rows, missing uint64
		if err := db.Query(ctx, query, params, func(r clickhouse.Row) error { return r.Scan(&rows, &missing) }); err != nil {
			return counts, fmt.Errorf("check the copies of %s of %s under hold %s: %w", table, d.day, hold, err)
		}
		if missing > 0 {
			return counts, fmt.Errorf("%w: %d of %d rows of %s of %s are not among the copies of hold %s", ErrHolds, missing, rows, table, d.day, hold)
		}
		*t.rows = int64(rows)
	}
	return counts, nil
}
