package vault

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"tillsyn/internal/seal"
)

// A Group is what a person belongs to in clear.
type Group struct{ Tenant, Population, Unit string }

// PersonRef is a person of one collector, until its next Reset.
type PersonRef int32

// Nobody is a person who is not in the vault: a guest, or nobody at all. Events of Nobody still say on which days there are
// events.
const Nobody PersonRef = -1

// Why an event of a person is not in a capsule.
const (
	LeftNoRegister = "no_register" // nobody could ever open it: the tenant has no register of role keys
	LeftTooLong    = "too_long"    // more than 4 MiB
	LeftForgotten  = "forgotten"   // its day is before those that the lookup key can still make tags for
)

// Left are events of one tenant that are in no capsule, for one reason.
type Left struct{ Tenant, Reason string }

// A Watermark says how far a source partition is in with a block.
type Watermark struct {
	Mark    uint64 // the source partition
	Next    uint64 // the first offset that is not in
	BegunAt time.Time
}

// A Block is the rows of one table and UTC day, as one insert: the columns stand in the order of the table's insert query
// (schemas/ingest/insert_TABLE).
type Block struct {
	Table   string
	Day     time.Time // midnight UTC
	Rows    int
	Columns []any
}

// CapsulesOf is the table of the capsules that a table of keys is for, and whether it is such a table. Once the capsules of a
// batch are in, its keys are too.
func CapsulesOf(table string) (string, bool) {
	kind, ok := strings.CutSuffix(table, "_keys")
	return kind + "_capsules", ok
}

// Collector gathers the events of one batch by person and makes blocks of them. It is for one goroutine, and keeps its memory.
type Collector struct {
	writer *Writer

	arena  []byte // rows: what each event has otherwise than the one before of its slot
	rows   []row
	slots  []slot
	people []person
	names  map[personName]PersonRef // personal: dropped with the batch
	days   map[dayKind]struct{}     // on which there are events, of whomever
	left   map[Left]uint64
	sealed uint64

	flat    flat
	scratch []byte
	tags    []seal.Tag // of the slots

	pending map[dayKind][]*liveKey // whose rows are in a block of keys
}

type personName struct {
	group   Group
	subject string
}

type person struct {
	group    Group
	subject  []byte
	sealer   *seal.Sealer
	register uint32 // the number of the one that the sealer is of
	slots    []uint32
}

type dayKind struct {
	day  seal.Day
	kind string
}

// A slot is the events of one person, kind and day.
type slot struct {
	dayKind
	person PersonRef
	events uint32
	used   uint64               // columns that are not absent in every event, as bits of a row
	number [numberColumns]int64 // of the last event
	text   [textColumns]span
}

type row struct{ slot, at uint32 }

const slotSize = 512 // bytes that a slot and its person take, about

// NewCollector makes a collector. w may be nil: nothing is sealed then, and nothing left out.
func NewCollector(w *Writer) *Collector {
	return &Collector{writer: w, names: map[personName]PersonRef{}, days: map[dayKind]struct{}{}, left: map[Left]uint64{}, pending: map[dayKind][]*liveKey{}}
}

// Reset empties c for the next batch.
func (c *Collector) Reset() {
	clear(c.people)
	clear(c.arena) // what was in a batch does not lie about until the memory is used again
	c.arena, c.rows, c.slots, c.people, c.sealed = c.arena[:0], c.rows[:0], c.slots[:0], c.people[:0], 0
	clear(c.names)
	clear(c.days)
	clear(c.left)
	clear(c.pending)
	clear(c.scratch[:cap(c.scratch)])
	c.flat = flat{}
}

// Bytes is about how much memory the batch takes.
func (c *Collector) Bytes() int { return len(c.arena) + 8*len(c.rows) + slotSize*len(c.slots) }

// Person is somebody of a group, by canonical subject. Guests and empty subjects are Nobody.
func (c *Collector) Person(g Group, subject []byte) PersonRef {
	if c.writer == nil || g.Population == guest || len(subject) == 0 {
		return Nobody
	}
	if p, ok := c.names[personName{g, string(subject)}]; ok {
		return p
	}
	p := PersonRef(len(c.people))
	sealer, register := c.writer.sealer(g)
	c.people = append(c.people, person{group: g, subject: slices.Clone(subject), sealer: sealer, register: register})
	c.names[personName{g, string(subject)}] = p
	return p
}

// Add takes an event of a person, whose time must be between 1970 and 2106. Nothing of e is kept.
func (c *Collector) Add(p PersonRef, kind string, e *Event) {
	if c.writer == nil {
		return
	}
	day := seal.Day(e.Time / 86_400_000)
	if e.Time < 0 || e.Time/1000 > math.MaxUint32 {
		return // package ingest refuses it long before
	}
	if n := len(c.slots); p == Nobody || n == 0 || c.slots[n-1].dayKind != (dayKind{day, kind}) {
		c.days[dayKind{day, kind}] = struct{}{}
	}
	if p == Nobody {
		return
	}
	who := &c.people[p]
	if who.sealer == nil {
		c.left[Left{who.group.Tenant, LeftNoRegister}]++
		return
	}
	c.scratch = c.flat.flatten(e, c.scratch)
	size := 0
	for _, text := range c.flat.text {
		size += len(text)
	}
	if size > maxEventSize {
		c.left[Left{who.group.Tenant, LeftTooLong}]++
		return
	}
	at := c.slot(p, who, dayKind{day, kind})
	s := &c.slots[at]
	s.events++
	c.sealed++
	c.rows = append(c.rows, row{at, uint32(len(c.arena))})
	c.append(s, &c.flat)
}

func (c *Collector) slot(p PersonRef, who *person, dk dayKind) uint32 {
	for _, at := range who.slots {
		if c.slots[at].dayKind == dk {
			return at
		}
	}
	at := uint32(len(c.slots))
	s := slot{dayKind: dk, person: p, number: absentNumber()}
	for i := range s.text {
		s.text[i].length = -1
	}
	c.slots = append(c.slots, s)
	who.slots = append(who.slots, at)
	return at
}

// append writes a row: which columns differ from the event before, as bits of a uvarint; the differences of numbers; the new
// texts, each with its length plus one, 0 for absent.
func (c *Collector) append(s *slot, f *flat) {
	var changed uint64
	for i, v := range f.number {
		if v != s.number[i] {
			changed |= 1 << i
		}
	}
	for i, text := range f.text {
		have := s.text[i]
		if text == nil && have.length < 0 || text != nil && int(have.length) == len(text) && string(c.arena[have.at:have.at+have.length]) == string(text) {
			continue
		}
		changed |= 1 << (numberColumns + i)
	}
	s.used |= changed
	b := binary.AppendUvarint(c.arena, changed)
	for i, v := range f.number {
		if changed&(1<<i) != 0 {
			b = binary.AppendUvarint(b, zigzag(v-s.number[i]))
			s.number[i] = v
		}
	}
	for i, text := range f.text {
		if changed&(1<<(numberColumns+i)) == 0 {
			continue
		}
		if text == nil {
			b = append(b, 0)
			s.text[i] = span{0, -1}
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(text))+1)
		s.text[i] = span{int32(len(b)), int32(len(text))}
		b = append(b, text...)
	}
	c.arena = b
}

// MaxBytes is the most that Bytes may be asked to reach before a batch is cut: a record more must still fit in the numbers that
// rows are found by.
const MaxBytes = 256 << 20

// Sealed is how many events are in slots.
func (c *Collector) Sealed() uint64 { return c.sealed }

// Left are the events that are in no capsule, by reason. They belong to c.
func (c *Collector) Left() map[Left]uint64 { return c.left }

// A capsule is one row of a table of capsules before it is laid out in columns.
type capsule struct {
	slot        uint32
	first, last uint32
	count       uint32
	sealed      []byte
}

// Blocks makes the blocks of the batch: for each day and kind the rows of keys that are not yet durable, then the capsules with
// the watermark, also where there is no capsule, so that a batch that is made again has the same blocks. Without any register
// there are no blocks.
func (c *Collector) Blocks(w Watermark) ([]Block, error) {
	if !c.writer.Seals() {
		return nil, nil
	}
	keys, err := c.liveKeys()
	if err != nil {
		return nil, fmt.Errorf("seal a batch: %w", err)
	}
	capsules, err := c.seal(keys)
	if err != nil {
		return nil, fmt.Errorf("seal a batch: %w", err)
	}
	var order []dayKind
	for dk := range c.days {
		order = append(order, dk)
	}
	slices.SortFunc(order, func(a, b dayKind) int { return cmp.Or(cmp.Compare(a.day, b.day), -cmp.Compare(a.kind, b.kind)) })
	byDay := map[dayKind][]capsule{}
	for _, list := range capsules {
		for _, x := range list {
			dk := c.slots[x.slot].dayKind
			byDay[dk] = append(byDay[dk], x)
		}
	}
	clear(c.pending)
	wrapped := map[dayKind][]uint32{}
	for at := range c.slots {
		if keys[at] != nil && keys[at].pending() != nil {
			wrapped[c.slots[at].dayKind] = append(wrapped[c.slots[at].dayKind], uint32(at))
		}
	}
	var first, second []Block
	for _, dk := range order {
		if b, ok := c.keyBlock(dk, wrapped[dk], keys); ok {
			first = append(first, b)
		}
		second = append(second, c.capsuleBlock(dk, byDay[dk], keys, w))
	}
	return append(first, second...), nil
}

// liveKeys answers the key of each slot, nil where its day is forgotten. New ones are drawn by several goroutines: each costs as much as
// thousands of events.
func (c *Collector) liveKeys() ([]*liveKey, error) {
	keys := make([]*liveKey, len(c.slots))
	c.tags = make([]seal.Tag, len(c.slots))
	names := make([]keyName, len(c.slots))
	taggers := map[seal.Day]*seal.Tagger{}
	lookup := c.writer.lookup.Key()
	var missing []int
	for at := range c.slots {
		s := &c.slots[at]
		who := &c.people[s.person]
		tagger, ok := taggers[s.day]
		if !ok {
			var err error
			if tagger, err = lookup.Tagger(s.day); err != nil && !errors.Is(err, seal.ErrLookupForgotten) {
				return nil, err
			}
			taggers[s.day] = tagger
		}
		if tagger == nil {
			c.left[Left{who.group.Tenant, LeftForgotten}] += uint64(s.events)
			c.sealed -= uint64(s.events)
			continue
		}
		c.tags[at] = tagger.Tag(who.group.Tenant, who.subject)
		names[at] = keyName{who.sealer, s.kind, who.group.Tenant, who.group.Population, who.group.Unit, c.tags[at]}
		if keys[at] = c.writer.ring.find(names[at]); keys[at] == nil {
			missing = append(missing, at)
		}
	}
	return keys, c.spread(len(missing), func(_ *worker, i int) (err error) {
		at := missing[i]
		keys[at], err = c.writer.ring.draw(names[at], c.slots[at].day, c.people[c.slots[at].person].subject, c.writer.lookup.Key().Origin())
		return err
	})
}

// spread calls do for 0 to n-1 with the workers of the process that are free, at least one.
func (c *Collector) spread(n int, do func(w *worker, i int) error) error {
	if n == 0 {
		return nil
	}
	var (
		mu    sync.Mutex
		next  int
		fault error
		wait  sync.WaitGroup
	)
	const some = 16 // at a time: a lock for each would cost more than small capsules
	run := func(w *worker) {
		defer func() { c.writer.workers <- w }()
		for {
			mu.Lock()
			from := next
			next += some
			stop := fault != nil
			mu.Unlock()
			if from >= n || stop {
				return
			}
			for i := from; i < min(from+some, n); i++ {
				if err := do(w, i); err != nil {
					mu.Lock()
					fault = errors.Join(fault, err)
					mu.Unlock()
					return
				}
			}
		}
	}
	own := <-c.writer.workers
	for more := true; more && n > some; {
		select {
		case w := <-c.writer.workers:
			wait.Go(func() { run(w) })
		default:
			more = false
		}
	}
	run(own)
	wait.Wait()
	return fault
}

// seal makes the capsules of each slot.
func (c *Collector) seal(keys []*liveKey) ([][]capsule, error) {
	// The rows of a slot together, each slot's in the order in which they came.
	ends := make([]uint32, len(c.slots)+1)
	for _, r := range c.rows {
		ends[r.slot+1]++
	}
	for i := range c.slots {
		ends[i+1] += ends[i]
	}
	at := slices.Clone(ends[:len(c.slots)])
	order := make([]uint32, len(c.rows))
	for _, r := range c.rows {
		order[at[r.slot]] = r.at
		at[r.slot]++
	}
	capsules := make([][]capsule, len(c.slots))
	return capsules, c.spread(len(c.slots), func(w *worker, i int) error {
		if keys[i] == nil {
			return nil
		}
		capsules[i] = c.sealSlot(w, uint32(i), order[ends[i]:ends[i+1]], keys[i].sealing)
		return nil
	})
}

// sealSlot makes the capsules of one slot: one, unless it has very much in it.
func (c *Collector) sealSlot(w *worker, at uint32, rows []uint32, key *seal.SealingKey) (out []capsule) {
	s := &c.slots[at]
	who := &c.people[s.person]
	last := slot{number: absentNumber()}
	for i := range last.text {
		last.text[i].length = -1
	}
	cols := &w.columns
	cols.arena, cols.used = c.arena, s.used|1<<numTime
	defer func() { cols.arena = nil }()
	cut := func() {
		n := len(cols.number[numTime])
		w.inOrder(n)
		times := cols.number[numTime]
		x := capsule{slot: at, first: uint32(times[0] / 1000), last: uint32(times[n-1] / 1000), count: uint32(n)}
		w.body = w.encoder.encode(w.body[:0], cols, n, int64(x.first))
		w.plain = w.compressor.compress(w.plain[:0], w.body)
		x.sealed = key.Seal(make([]byte, 0, len(w.plain)+seal.Overhead), w.plain, seal.Label{Tenant: who.group.Tenant, Unit: who.group.Unit, Kind: s.kind, Day: s.day,
			Tag: c.tags[at], First: x.first, Last: x.last, Count: x.count})
		out = append(out, x)
		cols.reset()
	}
	cols.reset()
	texts := 0
	for _, from := range rows {
		b := c.arena[from:]
		pos := int32(from)
		next := func() uint64 {
			v, used := binary.Uvarint(b)
			b, pos = b[used:], pos+int32(used)
			return v
		}
		changed := next()
		for i := range last.number {
			if changed&(1<<i) != 0 {
				last.number[i] += unzigzag(next())
			}
			if cols.used&(1<<i) != 0 {
				cols.number[i] = append(cols.number[i], last.number[i])
			}
		}
		for i := range last.text {
			if changed&(1<<(numberColumns+i)) != 0 {
				length := int32(next()) - 1
				last.text[i] = span{pos, length}
				if length > 0 {
					b, pos = b[length:], pos+length
					texts += int(length)
				}
			}
			if cols.used&(1<<(numberColumns+i)) != 0 {
				cols.text[i] = append(cols.text[i], last.text[i])
			}
		}
		if len(cols.number[numTime]) == maxEvents || texts >= cutBody {
			cut()
			texts = 0
		}
	}
	if len(cols.number[numTime]) > 0 {
		cut()
	}
	return out
}

// inOrder sorts the columns of n events by time, as they mostly are.
func (w *worker) inOrder(n int) {
	times := w.columns.number[numTime][:n]
	if slices.IsSorted(times) {
		return
	}
	w.order = w.order[:0]
	for i := range n {
		w.order = append(w.order, int32(i))
	}
	slices.SortStableFunc(w.order, func(a, b int32) int { return cmp.Compare(times[a], times[b]) })
	for column := range w.columns.number {
		if w.columns.used&(1<<column) == 0 {
			continue
		}
		w.numbers = append(w.numbers[:0], w.columns.number[column][:n]...)
		for i, from := range w.order {
			w.columns.number[column][i] = w.numbers[from]
		}
	}
	for column := range w.columns.text {
		if w.columns.used&(1<<(numberColumns+column)) == 0 {
			continue
		}
		w.spans = append(w.spans[:0], w.columns.text[column][:n]...)
		for i, from := range w.order {
			w.columns.text[column][i] = w.spans[from]
		}
	}
}

func (c *Collector) keyBlock(dk dayKind, slots []uint32, keys []*liveKey) (Block, bool) {
	var (
		days                      []uint16
		tenants, populations, all []string
		tags, ids                 [][]byte
		shares                    [4][][]byte
		registers                 []uint32
	)
	for _, at := range slots {
		row := keys[at].pending()
		if row == nil {
			continue // another batch has written it since
		}
		who := &c.people[c.slots[at].person]
		days = append(days, uint16(dk.day))
		tenants, populations, all = append(tenants, who.group.Tenant), append(populations, who.group.Population), append(all, who.group.Unit)
		tags, ids = append(tags, slices.Clone(c.tags[at][:])), append(ids, slices.Clone(row.ID[:]))
		for i := range shares {
			shares[i] = append(shares[i], row.Shares[i])
		}
		registers = append(registers, who.register) // a key is drawn by one sealer, which is of one register
		c.pending[dk] = append(c.pending[dk], keys[at])
	}
	return Block{Table: dk.kind + "_keys", Day: dk.day.Time(), Rows: len(days),
		Columns: []any{days, tenants, populations, all, tags, ids, shares[0], shares[1], shares[2], shares[3], registers}}, len(days) > 0
}

func (c *Collector) capsuleBlock(dk dayKind, capsules []capsule, keys []*liveKey, w Watermark) Block {
	rows := len(capsules) + 1
	var (
		days                      = make([]uint16, rows)
		marks, next               = make([]uint64, rows), make([]uint64, rows)
		tenants, units            = make([]string, rows), make([]string, rows)
		tags, ids, sealed         = make([][]byte, rows), make([][]byte, rows), make([][]byte, rows)
		first, last, count, begun = make([]uint32, rows), make([]uint32, rows), make([]uint32, rows), make([]uint32, rows)
		names                     = make([]byte, 32*rows)
	)
	for i := range rows {
		days[i] = uint16(dk.day)
		tags[i], ids[i] = names[32*i:32*i+16:32*i+16], names[32*i+16:32*i+32:32*i+32]
	}
	marks[0], next[0], begun[0], sealed[0] = w.Mark, w.Next, uint32(w.BegunAt.Unix()), []byte{}
	for i, x := range capsules {
		i++
		g := c.people[c.slots[x.slot].person].group
		id := keys[x.slot].sealing.ID()
		tenants[i], units[i] = g.Tenant, g.Unit
		copy(tags[i], c.tags[x.slot][:])
		copy(ids[i], id[:])
		first[i], last[i], count[i], sealed[i] = x.first, x.last, x.count, x.sealed
	}
	return Block{Table: dk.kind + "_capsules", Day: dk.day.Time(), Rows: rows,
		Columns: []any{days, marks, tenants, units, tags, ids, first, last, count, sealed, next, begun}}
}

// Inserted notes that the database has acknowledged a block. The keys of a block of keys are durable then, and not before.
func (c *Collector) Inserted(table string, day time.Time) {
	kind, ok := strings.CutSuffix(table, "_keys")
	if !ok {
		return
	}
	for _, k := range c.pending[dayKind{seal.DayOf(day), kind}] {
		k.durable()
	}
}

// Format hides the events from every verb.
func (*Collector) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the events from every encoder.
func (*Collector) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
