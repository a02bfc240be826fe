package ingest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/aggregate"
)

var schedules = flag.Int("schedules", 100_000, "how many schedules the model test of the runner tries")

var errCrash = errors.New("the process is dead")

// A world is a partition, a sink and a clock with seeded faults. It is the outside checker too: it knows the log, and
// what is in the sink, row by row.
type world struct {
	rnd   *rand.Rand
	clock time.Time
	log   []modelRecord
	start int64 // first offset that can be read
	end   int64

	blocks   []modelBlock
	inFlight *modelBlock // an insert whose owner died: it may still land
	ledger   []LedgerRow
	gaps     []Gap
	commit   int64

	dead   bool
	faults int // how many more there may be

	fetched map[int64]time.Time // when each record was first there

	process int            // how often it was started
	live    map[int]string // the data key of each day in this process
	durable map[string]bool
}

type modelRecord struct {
	offset int64
	days   []int         // days of its events; none: the record is a reject
	ahead  time.Duration // of the clock at the beginning: a reject as long as the batch's clock is behind it
}

type modelBlock struct {
	id   BlockID
	next uint64
	at   time.Time
	rows []string
}

func newWorld(seed uint64) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 1)), clock: time.Unix(1_800_000_000, 0).UTC(), fetched: map[int64]time.Time{}}
	offset := int64(w.rnd.IntN(5))
	w.start = offset
	for range 5 + w.rnd.IntN(40) {
		if w.rnd.IntN(8) == 0 {
			offset += 1 + int64(w.rnd.IntN(6)) // no record there: aborted, control, compacted
		}
		rec := modelRecord{offset: offset}
		for range w.rnd.IntN(4) {
			rec.days = append(rec.days, w.rnd.IntN(3))
		}
		if w.rnd.IntN(6) == 0 {
			rec.ahead = time.Duration(w.rnd.IntN(60)) * time.Second
		}
		w.log = append(w.log, rec)
		offset++
	}
	w.end = offset + int64(w.rnd.IntN(4))
	w.faults = w.rnd.IntN(12)
	return w
}

func (w *world) fault(oneIn int) bool {
	if w.faults == 0 || w.rnd.IntN(oneIn) != 0 {
		return false
	}
	w.faults--
	return true
}

func (w *world) now() time.Time {
	w.clock = w.clock.Add(time.Duration(w.rnd.IntN(2000)) * time.Millisecond)
	return w.clock
}

type modelPartition struct{ *world }

func (p modelPartition) Identity() Identity {
	return Identity{Cluster: "c", Topic: "t", Epoch: "0", Partition: 0}
}

func (p modelPartition) Bounds(context.Context) (int64, int64, error) {
	if p.dead {
		return 0, 0, errCrash
	}
	return p.start, p.end, nil
}

func (p modelPartition) Fetch(_ context.Context, offset int64, c *Chunk) error {
	if p.fault(6) {
		p.dead = p.rnd.IntN(2) == 0
		return errCrash
	}
	if p.dead {
		return errCrash
	}
	c.First, c.Next, c.Records = offset, offset, c.Records[:0]
	if offset >= p.end {
		return io.EOF
	}
	n := p.rnd.IntN(12)
	if p.rnd.IntN(8) == 0 { // a quiet night, or a broker that was away
		p.clock = p.clock.Add(time.Duration(p.rnd.IntN(50)) * time.Hour)
	}
	for _, r := range p.log {
		if r.offset >= offset && len(c.Records) < n {
			if p.fetched[r.offset].IsZero() {
				p.fetched[r.offset] = p.clock
			}
			c.Records = append(c.Records, Record{Offset: r.offset, Next: r.offset + 1})
			c.Next = r.offset + 1
		}
	}
	if c.Next > offset || p.rnd.IntN(3) == 0 {
		// Up to the next record there is nothing: a fetch may cover all, some or none of it.
		next := p.end
		for _, r := range p.log {
			if r.offset >= c.Next {
				next = r.offset
				break
			}
		}
		c.Next += int64(p.rnd.IntN(int(next-c.Next) + 1))
	}
	return nil
}

func (p modelPartition) Commit(_ context.Context, next int64) error {
	if p.dead {
		return errCrash
	}
	if p.fault(10) {
		return errors.New("broker away")
	}
	p.commit = next
	return nil
}

func (p modelPartition) Alive(time.Duration) bool { return true }

type modelSink struct{ *world }

func (s modelSink) Recover(context.Context, Identity) (Recovered, error) {
	if s.inFlight != nil { // ended: it is in or it is not, and that stays so
		if s.rnd.IntN(2) == 0 {
			s.blocks = append(s.blocks, *s.inFlight)
		}
		s.inFlight = nil
	}
	rec := Recovered{Gaps: s.gaps}
	for _, l := range s.ledger {
		rec.Known, rec.Next = true, max(rec.Next, l.Next)
	}
	for _, b := range s.blocks {
		if b.id.Table == "web_keys" {
			continue // has no watermark
		}
		if b.next > uint64(rec.Next) {
			if rec.Cut != 0 && uint64(rec.Cut) != b.next {
				return rec, fmt.Errorf("two interrupted batches: %d and %d", rec.Cut, b.next)
			}
			if rec.Done == nil {
				rec.Done = map[BlockID]bool{}
			}
			rec.Cut, rec.BegunAt, rec.Done[b.id] = int64(b.next), b.at, true
		}
	}
	return rec, nil
}

func (s modelSink) Next(context.Context, Identity) (next int64, err error) {
	if s.dead {
		return 0, errCrash
	}
	for _, l := range s.ledger {
		next = max(next, l.Next)
	}
	return next, nil
}

func (s modelSink) Insert(_ context.Context, _ Identity, _, _ int64, b aggregate.Block) error {
	if s.dead {
		return errCrash
	}
	m := modelBlock{id: BlockID{b.Table, b.Day}, rows: b.Columns[0].([]string),
		next: b.Columns[1].([]uint64)[0], at: b.Columns[2].([]time.Time)[0]}
	if s.fault(4) {
		switch s.rnd.IntN(4) {
		case 0: // refused
			return errors.New("refused")
		case 1: // in, but the answer is lost
			s.blocks = append(s.blocks, m)
			return errors.New("outcome not known")
		case 2: // killed before it was sent
			s.dead = true
		case 3: // killed after it was sent
			s.dead = true
			s.inFlight = &m
		}
		return errCrash
	}
	s.blocks = append(s.blocks, m)
	return nil
}

func (s modelSink) Close(_ context.Context, _ Identity, row LedgerRow) error {
	if s.dead {
		return errCrash
	}
	if s.fault(6) {
		if s.rnd.IntN(2) == 0 {
			s.ledger = append(s.ledger, row)
		}
		s.dead = s.rnd.IntN(2) == 0
		return errors.New("outcome not known")
	}
	s.ledger = append(s.ledger, row)
	return nil
}

func (s modelSink) Lost(_ context.Context, _ Identity, first, next int64, _ time.Time) error {
	s.gaps = append(s.gaps, Gap{First: first, Next: next})
	return nil
}

// A modelBatch writes each record as a row of two tables for each of its days, or as a reject.
type modelBatch struct {
	*world
	at      time.Time
	limit   int
	records []modelRecord
}

func (b *modelBatch) Begin(at time.Time) { b.at, b.limit, b.records = at, 1+b.rnd.IntN(9), nil }
func (b *modelBatch) Full() bool         { return len(b.records) >= b.limit }
func (b *modelBatch) Inserted(x aggregate.Block) {
	if x.Table == "web_keys" {
		b.durable[x.Columns[0].([]string)[0]] = true
	}
}
func (b *modelBatch) Tally() Tally { return Tally{Records: uint64(len(b.records))} }

func (b *modelBatch) Add(r Record) {
	i, ok := slices.BinarySearchFunc(b.log, r.Offset, func(m modelRecord, o int64) int { return int(m.offset - o) })
	if !ok {
		panic("a record that is not in the log")
	}
	b.records = append(b.records, b.log[i])
}

func (b *modelBatch) Blocks(w aggregate.Watermark) ([]aggregate.Block, error) {
	rows := map[BlockID][]string{}
	if b.live == nil {
		b.live, b.durable = map[int]string{}, map[string]bool{}
	}
	add := func(table string, day int, row string) {
		id := BlockID{table, time.Unix(int64(day)*86400, 0).UTC()}
		rows[id] = append(rows[id], row)
	}
	for _, r := range b.records {
		late := r.ahead > 0 && b.at.Before(time.Unix(1_800_000_000, 0).Add(r.ahead))
		if len(r.days) == 0 || late {
			add("rejects", int(b.at.Unix()/86400), fmt.Sprint(r.offset))
			continue
		}
		for i, d := range r.days {
			add("one", d, fmt.Sprintf("%d.%d", r.offset, i))
			add("two", d, fmt.Sprintf("%d.%d", r.offset, i))
			if b.live[d] == "" {
				b.live[d] = fmt.Sprintf("key %d of process %d", d, b.process)
			}
			add("web_capsules", d, fmt.Sprintf("%d.%d|%s", r.offset, i, b.live[d]))
		}
	}
	var ids []BlockID
	for id := range rows {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b BlockID) int {
		if c := a.Day.Compare(b.Day); c != 0 {
			return c
		}
		return strings.Compare(a.Table, b.Table)
	})
	var out []aggregate.Block
	for d, key := range b.live {
		day := time.Unix(int64(d)*86400, 0).UTC()
		if _, used := rows[BlockID{"web_capsules", day}]; used && !b.durable[key] {
			out = append(out, aggregate.Block{Table: "web_keys", Day: day, Columns: []any{[]string{key}, []uint64{w.Next}, []time.Time{w.BegunAt}}})
		}
	}
	slices.SortFunc(out, func(x, y aggregate.Block) int { return x.Day.Compare(y.Day) })
	for _, id := range ids {
		out = append(out, aggregate.Block{Table: id.Table, Day: id.Day,
			Columns: []any{rows[id], []uint64{w.Next}, []time.Time{w.BegunAt}}})
	}
	return out, nil
}

// violation is what the checker finds wrong when the log has been read to its end.
func (w *world) violation() string {
	count, keys := map[string]int{}, map[string]bool{}
	for _, b := range w.blocks {
		for _, row := range b.rows {
			if b.id.Table == "web_keys" {
				keys[row] = true
			}
		}
	}
	for _, b := range w.blocks {
		for _, row := range b.rows {
			row, key, sealed := strings.Cut(row, "|")
			if sealed && !keys[key] {
				return fmt.Sprintf("%s is sealed under a key that is not in", row)
			}
			count[b.id.Table+" "+row]++
		}
	}
	for _, r := range w.log {
		reject := count[fmt.Sprintf("rejects %d", r.offset)]
		if len(r.days) == 0 || reject > 0 {
			if reject != 1 {
				return fmt.Sprintf("record %d is rejected %d times", r.offset, reject)
			}
		}
		for i := range r.days {
			for _, table := range []string{"one", "two", "web_capsules"} {
				if n := count[fmt.Sprintf("%s %d.%d", table, r.offset, i)]; n+reject != 1 {
					return fmt.Sprintf("record %d day %d is %d times in %s and %d times rejected", r.offset, r.days[i], n, table, reject)
				}
			}
		}
	}
	at := w.start
	closed := map[int64]LedgerRow{}
	for _, l := range w.ledger {
		if have, ok := closed[l.First]; ok && have.Next > l.Next {
			continue
		}
		closed[l.First] = l
	}
	for at < w.end {
		l, ok := closed[at]
		if !ok || l.Next <= at {
			return fmt.Sprintf("no ledger row begins at %d", at)
		}
		if uint64(l.Next-l.First) != l.Records+l.Gaps {
			return fmt.Sprintf("ledger %d to %d: %d records and %d gaps", l.First, l.Next, l.Records, l.Gaps)
		}
		for _, r := range w.log {
			if late := w.fetched[r.offset].Sub(l.BegunAt); r.offset >= l.First && r.offset < l.Next && late > time.Minute {
				return fmt.Sprintf("record %d came %v after the clock of its batch: what it tells of just now is ahead of that", r.offset, late)
			}
		}
		at = l.Next
	}
	if w.commit > at {
		return fmt.Sprintf("commit %d is ahead of the ledger %d", w.commit, at)
	}
	return ""
}

// try runs one schedule to the end of the log.
func try(seed uint64, batches int, sink func(*world) Sink) string {
	w := newWorld(seed)
	for range 200 {
		r := &runner{partition: modelPartition{w}, sink: sink(w), now: w.now, maxAge: 5 * time.Second}
		for range batches {
			r.batches = append(r.batches, &modelBatch{world: w})
		}
		err := r.run(context.Background())
		if err == io.EOF {
			return w.violation()
		}
		if strings.Contains(err.Error(), "two interrupted") {
			return err.Error()
		}
		if w.dead {
			w.process++
			w.live, w.durable = nil, nil
		}
		w.dead = false
	}
	return "no end"
}

func TestRunnerModel(t *testing.T) {
	for seed := range uint64(*schedules) {
		if v := try(seed, 1, func(w *world) Sink { return modelSink{w} }); v != "" {
			t.Fatalf("schedule %d: %s", seed, v)
		}
	}
	t.Logf("%d schedules, no violation", *schedules)
}

// Deliberately broken orders. The model is worth something only if it finds each of them soon.
type (
	ledgerFirst struct {
		modelSink
		held *[]func()
	}
	forgetsDone  struct{ modelSink }
	forgetsCut   struct{ modelSink }
	forgetsClock struct{ modelSink }
	noKill       struct{ modelSink }
	keysLate     struct {
		modelSink
		held *[]func()
	}
)

func (s keysLate) Insert(ctx context.Context, id Identity, first, next int64, b aggregate.Block) error {
	if b.Table == "web_keys" {
		*s.held = append(*s.held, func() { s.modelSink.Insert(ctx, id, first, next, b) })
		return nil
	}
	if err := s.modelSink.Insert(ctx, id, first, next, b); err != nil {
		return err
	}
	for _, insert := range *s.held {
		insert()
	}
	*s.held = nil
	return nil
}

func (s ledgerFirst) Insert(ctx context.Context, id Identity, first, next int64, b aggregate.Block) error {
	*s.held = append(*s.held, func() { s.modelSink.Insert(ctx, id, first, next, b) })
	return nil
}

func (s ledgerFirst) Close(ctx context.Context, id Identity, row LedgerRow) error {
	if err := s.modelSink.Close(ctx, id, row); err != nil {
		return err
	}
	for _, insert := range *s.held {
		insert()
	}
	*s.held = nil
	return nil
}

func (s forgetsDone) Recover(ctx context.Context, id Identity) (Recovered, error) {
	rec, err := s.modelSink.Recover(ctx, id)
	rec.Done = nil
	return rec, err
}

func (s forgetsCut) Recover(ctx context.Context, id Identity) (Recovered, error) {
	rec, err := s.modelSink.Recover(ctx, id)
	rec.Cut, rec.Done = 0, nil
	return rec, err
}

func (s forgetsClock) Recover(ctx context.Context, id Identity) (Recovered, error) {
	rec, err := s.modelSink.Recover(ctx, id)
	rec.BegunAt = s.now()
	return rec, err
}

func (s noKill) Recover(ctx context.Context, id Identity) (Recovered, error) {
	late := s.inFlight
	s.inFlight = nil
	rec, err := s.modelSink.Recover(ctx, id)
	if late != nil {
		s.blocks = append(s.blocks, *late)
	}
	return rec, err
}

func TestRunnerModelFindsBrokenOrders(t *testing.T) {
	for name, sink := range map[string]func(*world) Sink{
		"ledger before blocks":                  func(w *world) Sink { return ledgerFirst{modelSink{w}, &[]func(){}} },
		"blocks that are in are inserted again": func(w *world) Sink { return forgetsDone{modelSink{w}} },
		"the batch is cut elsewhere":            func(w *world) Sink { return forgetsCut{modelSink{w}} },
		"the batch's clock moves":               func(w *world) Sink { return forgetsClock{modelSink{w}} },
		"late inserts are not ended":            func(w *world) Sink { return noKill{modelSink{w}} },
		"keys after capsules":                   func(w *world) Sink { return keysLate{modelSink{w}, &[]func(){}} },
	} {
		found := -1
		for seed := range 1000 {
			if v := try(uint64(seed), 1, sink); v != "" {
				t.Logf("%s: schedule %d: %s", name, seed, v)
				found = seed
				break
			}
		}
		if found < 0 {
			t.Errorf("%s: not found in 1000 schedules", name)
		}
	}
}

// Retention takes the rest of a batch that was interrupted, or a part of it, and the loss is accepted: what is left is read.
func TestRunnerCrossesAGapInAnInterruptedBatch(t *testing.T) {
	at := time.Unix(1_800_000_000, 0).UTC()
	for _, c := range []struct {
		name string
		cut  uint64
		want []LedgerRow // of them First, Next, Records and Gaps
	}{
		{"before the log's start", 7, []LedgerRow{{First: 5, Next: 10, Gaps: 5}, {First: 10, Next: 14, Records: 4}}},
		{"at the log's start", 10, []LedgerRow{{First: 5, Next: 10, Gaps: 5}, {First: 10, Next: 14, Records: 4}}},
		{"beyond the log's start", 12, []LedgerRow{{First: 5, Next: 10, Gaps: 5}, {First: 10, Next: 12, Records: 2}, {First: 12, Next: 14, Records: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(1)
			w.faults, w.start, w.end, w.log = 0, 10, 14, nil
			for o := w.start; o < w.end; o++ {
				w.log = append(w.log, modelRecord{offset: o, days: []int{0}})
			}
			done := BlockID{"one", time.Unix(0, 0).UTC()}
			w.ledger = []LedgerRow{{First: 0, Next: 5, Records: 5}}
			w.blocks = []modelBlock{{id: done, next: c.cut, at: at}}
			w.gaps = []Gap{{First: 5, Next: 10, Accepted: true}}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r := &runner{partition: modelPartition{w}, sink: modelSink{w}, now: w.now, maxAge: time.Hour, batches: []batch{&wholeBatch{modelBatch{world: w}}}}
			if err := r.run(ctx); err != io.EOF {
				t.Fatal(err)
			}
			if len(w.ledger) != 1+len(c.want) {
				t.Fatalf("ledger: %+v", w.ledger)
			}
			for i, row := range w.ledger[1:] {
				if want := c.want[i]; row.First != want.First || row.Next != want.Next || row.Records != want.Records || row.Gaps != want.Gaps {
					t.Errorf("row %d: %+v, want %+v", i, row, want)
				}
			}
			seen := map[string]bool{}
			for _, b := range w.blocks {
				key := fmt.Sprint(b.id, b.next)
				if seen[key] {
					t.Errorf("block %s is in twice", key)
				}
				seen[key] = true
			}
		})
	}
}

// A log that ends within an interrupted batch is not the one that the batch was read from: what is in of the batch would
// hide records that are new.
func TestRunnerStopsWhereTheLogEndsInAnInterruptedBatch(t *testing.T) {
	w := newWorld(1)
	w.faults, w.start, w.end, w.log = 0, 0, 8, nil
	w.ledger = []LedgerRow{{First: 0, Next: 5, Records: 5}}
	w.blocks = []modelBlock{{id: BlockID{"one", time.Unix(0, 0).UTC()}, next: 10, at: w.clock}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := &runner{partition: modelPartition{w}, sink: modelSink{w}, now: w.now, maxAge: time.Hour, batches: []batch{&modelBatch{world: w}}}
	if err := r.run(ctx); !errors.Is(err, ErrRecreated) {
		t.Error(err)
	}
}

// A wholeBatch is a modelBatch that is never full.
type wholeBatch struct{ modelBatch }

func (b *wholeBatch) Full() bool { return false }

// quiet is a partition where for two hours nothing comes, and then a line of just now.
type quiet struct {
	modelPartition
	clock time.Time
}

func (q *quiet) Fetch(_ context.Context, offset int64, c *Chunk) error {
	c.First, c.Next, c.Records = offset, offset, c.Records[:0]
	switch {
	case offset > 0:
		return io.EOF
	case q.clock.Before(noon.Add(2 * time.Hour)):
		q.clock = q.clock.Add(10 * time.Minute)
	default:
		line := fmt.Sprintf("%d.000     68 10.1.2.3 TCP_MISS/200 3705 GET http://example.org/ anna HIER_DIRECT/192.0.2.1 text/html", q.clock.Unix())
		c.Records, c.Next = append(c.Records, Record{Offset: 0, Next: 1, Value: []byte(line)}), 1
	}
	return nil
}

// allInOne takes blocks of any shape.
type allInOne struct{ modelSink }

func (allInOne) Insert(context.Context, Identity, int64, int64, aggregate.Block) error { return nil }

func TestAQuietPartitionLosesNothing(t *testing.T) {
	w := &world{end: 1}
	q := &quiet{modelPartition{w}, noon}
	r := &runner{partition: q, sink: allInOne{modelSink{w}}, batches: []batch{newBatch(t, "squid_native")}, maxAge: 10 * time.Second, now: func() time.Time { return q.clock }}
	if err := r.run(t.Context()); err != io.EOF {
		t.Fatal(err)
	}
	if last := w.ledger[len(w.ledger)-1]; last.Events != 1 || last.Rejects != 0 {
		t.Errorf("after two quiet hours a line of just now is %+v", last)
	}
}
