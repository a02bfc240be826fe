package vault

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// A Store finds keys and reads capsules. It is safe for concurrent use.
type Store struct {
	// Purged answers which days were purged: of those, only what is held is ever served again. nil: nobody asks. It is set
	// before the Store is used.
	Purged func(context.Context) (Purged, error)

	db       *clickhouse.DB
	sql      map[string]string
	expander *expander
}

// NewStore makes a Store of a database whose user has the grants of query (schemas/grants).
func NewStore(db *clickhouse.DB) (*Store, error) {
	x, err := newExpander()
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, sql: map[string]string{}, expander: x}
	for _, name := range []string{"keys", "unit_keys", "held_keys", "capsules"} {
		text, err := schemas.Query("vault/" + name)
		if err != nil {
			return nil, err
		}
		s.sql[name] = text
	}
	return s, nil
}

// A KeyScope says whose data keys are asked for.
type KeyScope struct {
	Tenant   string
	Kinds    []string
	From, To seal.Day // first and last UTC day
	Subjects [][]byte // canonical subjects; Keys needs them, the other questions don't
	// Lookup makes the tags of Subjects. It must reach back to From: a day that it has forgotten is found by its hold only.
	Lookup seal.LookupKey
}

// Format hides the subjects from every verb.
func (KeyScope) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the subjects from every encoder.
func (KeyScope) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

func (s KeyScope) validate() error {
	var faults []error
	if s.Tenant == "" {
		faults = append(faults, errors.New("it names no tenant"))
	}
	return errors.Join(append(faults, checkKinds(s.Kinds), checkDays(s.From, s.To))...)
}

// A StoredKey is a data key as it is stored: four sealed shares, and what they are bound to.
type StoredKey struct {
	Kind       string
	Tenant     string
	Population string
	Unit       string
	Day        seal.Day
	Tag        seal.Tag
	Subject    []byte // whose it is, where it was asked for by subject; else nil: the gate's share knows
	Wrapped    seal.WrappedKey
}

// Binding is what the shares of k open for, given the deployment and the subject.
func (k StoredKey) Binding(deployment string, subject []byte) seal.Binding {
	return seal.Binding{Deployment: deployment, Tenant: k.Tenant, Population: k.Population, Unit: k.Unit, Kind: k.Kind, Subject: subject, Day: k.Day,
		Tag: k.Tag, Key: k.Wrapped.ID}
}

// Format hides the subject and the shares from every verb.
func (StoredKey) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the subject from every encoder.
func (StoredKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Keys answers the data keys of the subjects in scope, ordered by day. Rows that equal each other are one; rows that claim one
// key id with different shares are all answered: the false ones do not open.
func (s *Store) Keys(ctx context.Context, scope KeyScope) ([]StoredKey, error) {
	if err := scope.validate(); err != nil {
		return nil, fmt.Errorf("find keys: %w", err)
	}
	if len(scope.Subjects) == 0 {
		return nil, errors.New("find keys: it names nobody")
	}
	of := map[seal.Tag][]byte{}
	var tags []string
	for day := scope.From; day <= scope.To; day++ {
		tagger, err := scope.Lookup.Tagger(day)
		if err != nil {
			return nil, fmt.Errorf("find keys: %w", err)
		}
		for _, subject := range scope.Subjects {
			if len(subject) == 0 {
				return nil, errors.New("find keys: a subject is empty")
			}
			tag := tagger.Tag(scope.Tenant, subject)
			if _, twice := of[tag]; !twice {
				tags = append(tags, tag.Hex())
			}
			of[tag] = subject
		}
	}
	keys, err := s.keys(ctx, "keys", scope, clickhouse.Params{"tags": tags})
	for i := range keys {
		keys[i].Subject = bytes.Clone(of[keys[i].Tag])
	}
	return keys, err
}

// UnitKeys answers the data keys of everybody in one unit of scope's tenant, without subjects: the gate's shares name them.
func (s *Store) UnitKeys(ctx context.Context, scope KeyScope, unit string) ([]StoredKey, error) {
	if err := scope.validate(); err != nil {
		return nil, fmt.Errorf("find keys: %w", err)
	}
	if unit == "" {
		return nil, errors.New("find keys: it names no unit")
	}
	return s.keys(ctx, "unit_keys", scope, clickhouse.Params{"unit": unit})
}

// HeldKeys answers the data keys that one hold keeps within scope, without subjects: the gate's shares name them. It finds days
// that the lookup key has forgotten.
func (s *Store) HeldKeys(ctx context.Context, scope KeyScope, hold string) ([]StoredKey, error) {
	if err := scope.validate(); err != nil {
		return nil, fmt.Errorf("find keys: %w", err)
	}
	if hold == "" {
		return nil, errors.New("find keys: it names no hold")
	}
	return s.keys(ctx, "held_keys", scope, clickhouse.Params{"hold": hold})
}

func (s *Store) keys(ctx context.Context, query string, scope KeyScope, params clickhouse.Params) ([]StoredKey, error) {
	params["tenant"], params["kinds"] = scope.Tenant, scope.Kinds
	params["from"], params["to"] = scope.From.String(), scope.To.String()
	var keys []StoredKey
	err := s.db.Query(ctx, s.sql[query], params, func(r clickhouse.Row) error {
		k := StoredKey{Tenant: scope.Tenant}
		var day time.Time
		var tag, id, manager, hr, security, gate string
		if err := r.Scan(&k.Kind, &day, &k.Population, &k.Unit, &tag, &id, &manager, &hr, &security, &gate); err != nil {
			return err
		}
		if len(tag) != len(k.Tag) || len(id) != len(k.Wrapped.ID) {
			return errors.New("a tag or key id has another length than 16")
		}
		k.Day, k.Tag = dayOf(day), seal.Tag([]byte(tag))
		k.Wrapped = seal.WrappedKey{ID: seal.KeyID([]byte(id)), Shares: [4][]byte{[]byte(manager), []byte(hr), []byte(security), []byte(gate)}}
		keys = append(keys, k)
		return nil
	})
	if err == nil {
		keys, err = s.withoutPurged(ctx, scope, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("find keys: %w", err)
	}
	return keys, nil
}

// dayOf is the day of a Date, whatever zone the driver gives it.
func dayOf(t time.Time) seal.Day {
	y, m, d := t.Date()
	return seal.DayOf(time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
}

// A Reading is what became of one Read.
type Reading struct {
	Events     uint64       // given to the caller
	Capsules   uint64       // opened
	Outside    uint64       // capsules that the permit's scope does not cover; none of them was decrypted
	Filtered   uint64       // events of opened capsules outside the scope's categories
	Duplicates uint64       // capsules that were there twice, and are shown once: somebody has repeated rows by hand
	Locked     []seal.KeyID // keys of capsules in scope that the permit does not hold, in the order of their first capsule
	Unopened   []seal.KeyID // keys of capsules that did not open: moved, altered or made up; one entry for each capsule
	Unordered  uint64       // events that came later than others of a later time, because too many capsules overlap
}

// readDays is how many days one query covers. The first covers one, so that the first event is soon there.
const readDays = 7

// maxOverlap is how many bytes of opened capsules are kept to put events in the order of their time.
const maxOverlap = 64 << 20

// Read gives each event that p covers to fn, in the order of time. The event's byte slices are valid until fn returns. It
// ends with fn's first error. What it met on the way is in the Reading, also after an error.
func (s *Store) Read(ctx context.Context, p *Permit, fn func(Event) error) (Reading, error) {
	r := &reader{permit: p, expander: s.expander, fn: fn, locked: map[seal.KeyID]bool{}}
	if p == nil || len(p.keys)+len(p.tags) == 0 {
		return r.reading, nil
	}
	tags := map[seal.Day][]string{}
	for day, list := range p.tags {
		for _, tag := range list {
			tags[day] = append(tags[day], tag.Hex())
		}
	}
	for _, k := range p.keys {
		tags[k.day] = append(tags[k.day], k.tag.Hex())
	}
	var days []seal.Day
	for day := range tags {
		days = append(days, day)
	}
	slices.Sort(days)
	for span := seal.Day(1); len(days) > 0; span = readDays {
		from, to := days[0], days[0]
		var ask []string
		for len(days) > 0 && days[0] < from+span {
			to = days[0]
			ask = append(ask, tags[to]...)
			days = days[1:]
		}
		slices.Sort(ask)
		err := s.db.Query(ctx, s.sql["capsules"], clickhouse.Params{
			"tenant": p.scope.Tenant, "kinds": p.scope.Kinds, "from": from.String(), "to": to.String(), "tags": slices.Compact(ask),
		}, r.row)
		if err == nil {
			err = r.give(1<<63 - 1)
		}
		if err != nil {
			return r.reading, fmt.Errorf("read capsules: %w", err)
		}
		r.seen = nil
	}
	return r.reading, nil
}

// A nonce names a capsule: no key makes two capsules with one.
type nonce struct {
	key   seal.KeyID
	nonce [12]byte
}

type reader struct {
	permit   *Permit
	expander *expander
	fn       func(Event) error
	reading  Reading
	locked   map[seal.KeyID]bool
	seen     map[nonce]bool // opened; true: from a live table
	open     cursors
	size     int // bytes of the bodies in open
	latest   int64
	event    Event
}

// row takes in one capsule.
func (r *reader) row(row clickhouse.Row) error {
	var kind, unit, tag, id, capsule string
	var held uint8
	var day, first, last time.Time
	var count uint32
	if err := row.Scan(&kind, &held, &day, &unit, &tag, &id, &first, &last, &count, &capsule); err != nil {
		return err
	}
	if len(tag) != 16 || len(id) != 16 {
		return errors.New("a tag or key id has another length than 16")
	}
	l := seal.Label{Tenant: r.permit.scope.Tenant, Unit: unit, Kind: kind, Day: dayOf(day), Tag: seal.Tag([]byte(tag)), Key: seal.KeyID([]byte(id)),
		First: uint32(first.Unix()), Last: uint32(last.Unix()), Count: count}
	k, ok := r.permit.keys[l.Key]
	switch {
	case !r.permit.asks(l):
		r.reading.Outside++
		return nil
	case !ok:
		if !r.locked[l.Key] {
			r.locked[l.Key] = true
			r.reading.Locked = append(r.reading.Locked, l.Key)
		}
		return nil
	case k.kind != l.Kind || k.day != l.Day || k.tag != l.Tag || k.unit != l.Unit || k.tenant != l.Tenant:
		r.reading.Unopened = append(r.reading.Unopened, l.Key) // in another row than its key is for
		return nil
	case len(capsule) > maxBody || len(capsule) < seal.Overhead:
		r.reading.Unopened = append(r.reading.Unopened, l.Key)
		return nil
	}
	n := nonce{l.Key, [12]byte([]byte(capsule[:12]))}
	if live, twice := r.seen[n]; twice {
		// Only what has opened is in seen, so whoever copies a nonce hides nothing; and what opens twice under one nonce is the
		// same capsule. A held copy beside the original is as it should be.
		if live && held == 0 {
			if _, err := k.key.Open(nil, []byte(capsule), l); err == nil {
				r.reading.Duplicates++
				return nil
			}
			r.reading.Unopened = append(r.reading.Unopened, l.Key)
		}
		return nil
	}
	plain, err := k.key.Open(nil, []byte(capsule), l)
	if err != nil {
		r.reading.Unopened = append(r.reading.Unopened, l.Key)
		return nil
	}
	body, err := r.expander.expand(plain)
	if err == nil {
		var d *decoder
		if d, err = newDecoder(body, int(count), int64(l.First)); err == nil {
			if r.seen == nil {
				r.seen = map[nonce]bool{}
			}
			r.seen[n] = held == 0
			r.reading.Capsules++
			// What begins before this capsule does can't be followed by an earlier event any more.
			if err := r.give(int64(l.First) * 1000); err != nil {
				return err
			}
			for r.size+len(body) > maxOverlap && len(r.open) > 0 {
				if err := r.giveOne(); err != nil {
					return err
				}
			}
			heap.Push(&r.open, &cursor{d, k, l.Day, len(body)})
			r.size += len(body)
			return nil
		}
	}
	r.reading.Unopened = append(r.reading.Unopened, l.Key)
	return nil
}

// asks says whether a capsule with this label is in the scope, whatever key it has.
func (p *Permit) asks(l seal.Label) bool {
	s := &p.scope
	return l.Tenant == s.Tenant && slices.Contains(s.Kinds, l.Kind) && l.Day >= s.From && l.Day <= s.To
}

// give hands out the events before the given time.
func (r *reader) give(before int64) error {
	for len(r.open) > 0 && r.open[0].time() < before {
		if err := r.giveOne(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) giveOne() error {
	c := r.open[0]
	err := c.decoder.event(&r.event)
	if c.more() {
		heap.Fix(&r.open, 0)
	} else {
		heap.Pop(&r.open)
		r.size -= c.size
	}
	e := &r.event
	e.Kind, e.Tenant, e.Population, e.Unit, e.Person, e.Day = c.key.kind, c.key.tenant, c.key.population, c.key.unit, c.key.subject, c.day
	if err != nil || seal.DayOf(time.UnixMilli(e.Time)) != e.Day {
		r.reading.Unopened = append(r.reading.Unopened, c.key.key.ID())
		return nil
	}
	if !r.permit.covers(e) {
		r.reading.Filtered++
		return nil
	}
	if e.Time < r.latest {
		r.reading.Unordered++
	}
	r.latest = max(r.latest, e.Time)
	r.reading.Events++
	return r.fn(*e)
}

// A cursor is an opened capsule that is being read.
type cursor struct {
	*decoder
	key  openedKey
	day  seal.Day
	size int
}

type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return c[i].time() < c[j].time() }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	old := *c
	last := old[len(old)-1]
	*c = old[:len(old)-1]
	return last
}
