package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"tillsyn/aggregate"
	"tillsyn/internal/vault"
)

// ErrGap is when offsets were gone before they were read. The partition stands still until the loss is accepted.
var ErrGap = errors.New("records were removed before they were read")

// ErrRecreated is when a log ends before the place to go on: the topic is another one than before.
var ErrRecreated = errors.New("the log ends before the place to go on")

// ErrNotOurs is when the partition may have been given to another member of the group.
var ErrNotOurs = errors.New("the partition may no longer be ours")

// ErrChanged is when an interrupted batch can't be made again as it was. The partition stands still until it can.
var ErrChanged = errors.New("the configuration (time zone, format, registers of role keys) was changed while a batch was half in: put it back, let the batch finish, then change it")

// A batch turns records into the blocks of one batch.
type batch interface {
	// Begin empties it. begunAt is the clock that decides which events are out of time.
	Begin(begunAt time.Time)
	Add(Record)
	Full() bool
	// Blocks ends the batch: nothing is added after it.
	Blocks(w aggregate.Watermark) ([]aggregate.Block, error)
	// Inserted hears that the sink has acknowledged one of Blocks.
	Inserted(aggregate.Block)
	Tally() Tally
}

// Tally is what a batch holds.
type Tally struct {
	Records, Events, Rejects, Skipped uint64
}

// A runner is the state machine of one assignment of one partition: recover, then fetch, cut, insert, close and commit
// for ever. It ends with the first fault; whoever runs it runs a new one, which recovers.
type runner struct {
	partition Partition
	sink      Sink
	batches   []batch // one: gather and write in turn; two: gather one while the other is written
	maxAge    time.Duration
	deadline  time.Duration // how long an insert may take
	now       func() time.Time
	warm      func(Record)            // shows the parser records that are in already, if it needs to remember them; nil if not
	rewind    int64                   // how far back those go, in offsets
	resume    func(first, next int64) // an interrupted batch is cut again; may be nil
	observe   func(batch, LedgerRow)  // after a batch is closed; may be nil
}

// A cutBatch is a batch on its way from the gatherer to the writer.
type cutBatch struct {
	batch batch
	row   LedgerRow
	done  map[BlockID]bool // already in
}

// run reads the partition until ctx ends (nil), the source has no more (io.EOF) or something fails.
func (r *runner) run(ctx context.Context) error {
	id := r.partition.Identity()
	rec, err := r.sink.Recover(ctx, id)
	if err != nil {
		return fmt.Errorf("recover %s: %w", id, err)
	}
	start, end, err := r.partition.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("ask for the bounds of %s: %w", id, err)
	}
	switch {
	case !rec.Known:
		// What was removed before tillsyn came is not lost. The empty row says where the first batch begins, before any of it
		// is in: its watermarks only say where it ends.
		rec.Next = start
		if err := r.sink.Close(ctx, id, LedgerRow{First: start, Next: start, BegunAt: r.now()}); err != nil {
			return fmt.Errorf("open the ledger of %s: %w", id, err)
		}
	case end < max(rec.Next, rec.Cut):
		return fmt.Errorf("%s ends at %d and was read to %d: %w: if the topic was recreated, give it a new epoch", id, end, max(rec.Next, rec.Cut), ErrRecreated)
	case start > rec.Next:
		if rec.Next, err = r.bridge(ctx, id, rec, start); err != nil {
			return err
		}
		if rec.Cut <= rec.Next {
			rec.Cut, rec.Done = 0, nil // all of the interrupted batch that can still be in is in
		}
	}

	if r.warm != nil {
		if err := r.remember(ctx, max(start, rec.Next-r.rewind), rec.Next); err != nil {
			return fmt.Errorf("read %s again from before %d: %w", id, rec.Next, err)
		}
	}
	if rec.Cut > 0 && r.resume != nil {
		r.resume(rec.Next, rec.Cut)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan batch, len(r.batches))
	for _, b := range r.batches {
		free <- b
	}
	cut := make(chan cutBatch)
	written := make(chan error, 1)
	go func() {
		err := r.write(ctx, id, cut, free)
		if err != nil {
			cancel(err)
		}
		written <- err
	}()
	gathered := r.gather(ctx, rec, free, cut)
	close(cut)
	if err := <-written; err != nil {
		return err
	}
	return gathered
}

// bridge crosses offsets that were removed before they were read, if their loss has been accepted. It answers where to
// go on.
func (r *runner) bridge(ctx context.Context, id Identity, rec Recovered, start int64) (int64, error) {
	for _, g := range rec.Gaps {
		if g.Accepted && g.First == rec.Next && g.Next <= start {
			row := LedgerRow{First: g.First, Next: g.Next, Gaps: uint64(g.Next - g.First), BegunAt: r.now()}
			if err := r.sink.Close(ctx, id, row); err != nil {
				return 0, fmt.Errorf("close the accepted gap of %s: %w", id, err)
			}
			if g.Next == start {
				return start, nil
			}
			rec.Next = g.Next
		}
	}
	if err := r.sink.Lost(ctx, id, rec.Next, start, r.now()); err != nil {
		return 0, fmt.Errorf("record the gap of %s: %w", id, err)
	}
	return 0, fmt.Errorf("%s: offsets %d to %d: %w: the partition stands still until 'tillsyn gaps accept' names a reason", id, rec.Next, start-1, ErrGap)
}

// remember shows the parser the records from..next, which are in: lines that come may continue what they began.
func (r *runner) remember(ctx context.Context, from, next int64) error {
	var c Chunk
	for from < next {
		err := r.partition.Fetch(ctx, from, &c)
		if err == io.EOF {
			return nil // a file that is shorter than what is in
		}
		if err != nil {
			return err
		}
		for _, rc := range c.Records {
			if rc.Offset < next {
				r.warm(rc)
			}
		}
		from = c.Next
	}
	return nil
}

// gather fetches records into batches and hands each over when it is cut.
func (r *runner) gather(ctx context.Context, rec Recovered, free <-chan batch, cut chan<- cutBatch) error {
	var chunk Chunk
	pos := rec.Next
	chunk.Next = pos
	at := 0 // the next record of chunk
	ended := false
	for !ended {
		var b batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		begunAt := r.now()
		if rec.Cut > 0 {
			begunAt = rec.BegunAt
		}
		b.Begin(begunAt)
		began := r.now()
		first := pos
		var gaps int64
		for (rec.Cut > 0 && pos < rec.Cut) || (rec.Cut == 0 && !b.Full()) {
			if at == len(chunk.Records) {
				gaps += r.upTo(&pos, chunk.Next, rec.Cut)
				if pos < chunk.Next || (rec.Cut > 0 && pos >= rec.Cut) {
					break
				}
				if rec.Cut == 0 && pos > first && r.now().Sub(began) >= r.maxAge {
					break
				}
				err := r.partition.Fetch(ctx, pos, &chunk)
				if err == io.EOF {
					ended = true
					break
				}
				if err != nil {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					return fmt.Errorf("fetch from %s: %w", r.partition.Identity(), err)
				}
				at = 0
				// A partition may be quiet for hours, in one fetch or many. The clock of a batch must be that of what is in it: by
				// an older one, what comes now would be ahead of its time.
				if now := r.now(); rec.Cut > 0 {
					continue
				} else if pos == first {
					begunAt, began = now, now
					b.Begin(begunAt)
				} else if now.Sub(began) >= r.maxAge {
					break
				}
				continue
			}
			rc := chunk.Records[at]
			gaps += r.upTo(&pos, rc.Offset, rec.Cut)
			if pos < rc.Offset || (rec.Cut > 0 && pos >= rec.Cut) {
				break
			}
			b.Add(rc)
			pos = rc.Next
			at++
		}
		if pos == first {
			continue // only when the source has ended
		}
		t := b.Tally()
		c := cutBatch{batch: b, done: rec.Done, row: LedgerRow{
			First: first, Next: pos, Gaps: uint64(gaps), BegunAt: begunAt,
			Records: t.Records, Events: t.Events, Rejects: t.Rejects, Skipped: t.Skipped,
		}}
		rec.Cut, rec.Done = 0, nil
		select {
		case cut <- c:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return io.EOF
}

// upTo moves pos over offsets that hold no record, to next or, if that comes first, to where the batch must be cut.
func (r *runner) upTo(pos *int64, next, cut int64) int64 {
	if cut > 0 {
		next = min(next, cut)
	}
	n := max(0, next-*pos)
	*pos += n
	return n
}

// write puts batches into the sink, one after another.
func (r *runner) write(ctx context.Context, id Identity, cut <-chan cutBatch, free chan<- batch) error {
	for c := range cut {
		if err := r.writeOne(ctx, id, c); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("write %d to %d of %s: %w", c.row.First, c.row.Next-1, id, err)
		}
		free <- c.batch
	}
	return nil
}

func (r *runner) writeOne(ctx context.Context, id Identity, c cutBatch) error {
	blocks, err := c.batch.Blocks(aggregate.Watermark{Mark: id.Mark(), Next: uint64(c.row.Next), BegunAt: c.row.BegunAt})
	if err != nil {
		return err
	}
	// Two owners of one partition: a misconfigured group, a process that slept through its session, a file imported twice at
	// once. Whoever is behind finds the ledger moved.
	if next, err := r.sink.Next(ctx, id); err != nil {
		return fmt.Errorf("ask the ledger: %w", err)
	} else if next != c.row.First {
		return fmt.Errorf("the ledger ends at %d: %w", next, ErrNotOurs)
	}
	missing := maps.Clone(c.done)
	for _, b := range blocks {
		delete(missing, BlockID{b.Table, b.Day})
	}
	for b := range missing {
		return fmt.Errorf("%w: %s of %s is in, and now belongs to another day", ErrChanged, b.Table, b.Day.Format(time.DateOnly))
	}
	for _, b := range blocks {
		if c.done[BlockID{b.Table, b.Day}] {
			continue
		}
		if capsules, ok := vault.CapsulesOf(b.Table); ok && c.done[BlockID{capsules, b.Day}] {
			continue // these are other keys than those that are in, and nothing is sealed under them
		}
		if !r.partition.Alive(r.deadline) {
			return ErrNotOurs
		}
		if err := r.sink.Insert(ctx, id, c.row.First, c.row.Next, b); err != nil {
			return fmt.Errorf("insert into %s: %w", b.Table, err)
		}
		c.batch.Inserted(b)
	}
	if err := r.sink.Close(ctx, id, c.row); err != nil {
		return fmt.Errorf("close the batch: %w", err)
	}
	if r.observe != nil {
		r.observe(c.batch, c.row)
	}
	// The sink has it: a commit that fails costs nothing but the next owner's look at the ledger.
	if err := r.partition.Commit(ctx, c.row.Next); err != nil && !r.partition.Alive(0) {
		return ErrNotOurs
	}
	return nil
}
