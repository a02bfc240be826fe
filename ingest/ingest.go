package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/aggregate"
	"tillsyn/ingest/category"
	"tillsyn/ingest/kafka"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// Dependencies are what an Ingester works with.
type Dependencies struct {
	Sink Sink
	// InsertTimeout is how long an insert of Sink may take: none begins later than that before the partition may be lost.
	InsertTimeout time.Duration
	Resolver      *resolve.Resolver
	Lists         *category.Lists
	Key           seal.StatisticsKey
	Vault         *vault.Writer // seals raw events; nil: there are statistics only
	Now           func() time.Time
	Log           *slog.Logger
	Metrics       prometheus.Registerer
}

// Ingester reads source partitions into the sink.
type Ingester struct {
	cfg     Config
	dep     Dependencies
	metrics metrics
}

// New makes an Ingester. It starts nothing.
func New(cfg Config, dep Dependencies) (*Ingester, error) {
	in := &Ingester{cfg: cfg, dep: dep, metrics: newMetrics()}
	for _, c := range in.metrics.all() {
		if err := dep.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return in, nil
}

// Total is what was read of a partition.
type Total struct {
	Records, Events, Rejects, Skipped uint64
	Next                              int64                   // the offset after it; 0 if nothing was read
	Reasons                           map[parse.Reason]uint64 // of the rejects
}

// Once reads one partition until its source has no more, ctx ends or something fails. progress, which may be nil, hears
// of each batch that is in. It answers what was read, which after a fault is what is known to be in.
func (in *Ingester) Once(ctx context.Context, p Partition, src Source, progress func(LedgerRow)) (total Total, err error) {
	total.Reasons = map[parse.Reason]uint64{}
	r, err := in.runner(p, src)
	if err != nil {
		return total, err
	}
	r.observe = func(b batch, row LedgerRow) {
		in.metrics.observe(p.Identity(), src.Topic, b, row, in.dep.Now())
		total.Records += row.Records
		total.Events += row.Events
		total.Rejects += row.Rejects
		total.Skipped += row.Skipped
		total.Next = row.Next
		if w, ok := b.(*eventBatch); ok {
			for k, n := range w.rejects {
				total.Reasons[k.reason] += n
			}
		}
		if progress != nil {
			progress(row)
		}
	}
	// Not errors.Is: a connection to ClickHouse that breaks is an io.EOF too, inside another error.
	if err = r.run(ctx); err == io.EOF {
		err = nil
	}
	return total, err
}

func (in *Ingester) runner(p Partition, src Source) (*runner, error) {
	r := &runner{
		partition: p, sink: in.dep.Sink, maxAge: in.cfg.Batch.MaxAge, deadline: in.dep.InsertTimeout, now: in.dep.Now,
	}
	r.resume = func(first, next int64) {
		in.dep.Log.Info("an interrupted batch is cut again", "partition", p.Identity().String(), "first", first, "next", next)
	}
	// One parser for both batches: only the one that is being gathered parses, and a parser may remember earlier records.
	clock := in.dep.Now
	if f, ok := p.(*File); ok {
		clock = f.Written
	}
	parser, err := src.parser(clock)
	if err != nil {
		return nil, err
	}
	for _, rollup := range aggregate.NewRollups(in.dep.Key, 2) { // only the one that is being written makes blocks
		b := newEventBatch(src, in.cfg.Batch, parser, in.dep.Resolver, in.dep.Lists, in.dep.Key)
		b.rollup, b.capsules = rollup, newCapsules(in.dep.Vault)
		r.batches = append(r.batches, b)
	}
	if src.remembers() {
		r.warm = func(rc Record) { parser.Parse(rc.Value, func(*parse.Event) {}, func(parse.Reject) {}) }
		if r.rewind = rewindRecords; p.Identity().Cluster == fileCluster {
			r.rewind = math.MaxInt64 / 2 // its header may be the first line
		}
	}
	return r, nil
}

// rewindRecords is how many records of a Kafka partition are read again for a parser that remembers: enough for the lines
// about one message to come together.
const rewindRecords = 20_000

// How long to wait before a partition is tried again.
const (
	firstRetry   = 500 * time.Millisecond
	lastRetry    = 30 * time.Second
	stoppedRetry = 30 * time.Second // a partition that waits for an operator
)

// Keep reads one partition until ctx ends: a fault is logged, counted and tried again.
func (in *Ingester) Keep(ctx context.Context, p Partition, src Source) {
	id := p.Identity()
	state := in.metrics.state.WithLabelValues(id.Topic, fmt.Sprint(id.Partition))
	defer in.metrics.state.DeleteLabelValues(id.Topic, fmt.Sprint(id.Partition))
	wait := firstRetry
	for {
		state.Set(stateRunning)
		total, err := in.Once(ctx, p, src, nil)
		if ctx.Err() != nil {
			return
		}
		if total.Next > 0 {
			wait = firstRetry // it got somewhere
		}
		pause := wait
		if standsStill(err) {
			state.Set(stateStopped)
			pause = stoppedRetry
			in.dep.Log.Error("the partition stands still", "partition", id.String(), "error", err)
		} else {
			state.Set(stateRetrying)
			in.dep.Log.Warn("the partition is tried again", "partition", id.String(), "in", pause, "error", err)
			wait = min(2*wait, lastRetry)
		}
		in.metrics.faults.WithLabelValues(id.Topic).Inc()
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// standsStill is whether only an operator can cure err.
func standsStill(err error) bool {
	for _, e := range []error{ErrGap, ErrRecreated, ErrChanged, kafka.ErrRecreated, kafka.ErrTooLarge, kafka.ErrUnsupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Kafka reads the topics of all sources until ctx ends, and then drains: what was fetched and not yet in will be fetched
// again by the next owner.
func (in *Ingester) Kafka(ctx context.Context, c *kafka.Consumer) error {
	sources := map[string]Source{}
	for _, s := range in.cfg.Sources {
		sources[s.Topic] = s
	}
	return c.Run(ctx, func(ctx context.Context, p *kafka.Partition) error {
		src, ok := sources[p.Topic()]
		if !ok {
			return fmt.Errorf("no source is configured for topic %s", p.Topic())
		}
		k := &kafkaPartition{p: p}
		defer k.close()
		in.Keep(ctx, k, src)
		return nil
	})
}

// A kafkaPartition is a Partition in Kafka. It fetches one chunk ahead.
type kafkaPartition struct {
	p     *kafka.Partition
	ahead *kafka.Prefetch
	next  int64 // what ahead gives next
}

func (k *kafkaPartition) Identity() Identity {
	return Identity{Cluster: k.p.Cluster(), Topic: k.p.Topic(), Epoch: k.p.Epoch(), Partition: k.p.ID(), TopicID: k.p.TopicID()}
}

// Bounds ends the fetching of the runner before: each begins with it.
func (k *kafkaPartition) Bounds(ctx context.Context) (start, end int64, err error) {
	k.close()
	return k.p.Bounds(ctx)
}

func (k *kafkaPartition) close() {
	if k.ahead != nil {
		k.ahead.Close()
		k.ahead = nil
	}
}

func (k *kafkaPartition) Fetch(ctx context.Context, offset int64, c *Chunk) error {
	if k.ahead != nil && k.next != offset {
		k.close()
	}
	if k.ahead == nil {
		k.ahead = k.p.Prefetch(ctx, offset)
	}
	chunk, err := k.ahead.Next(ctx)
	if err != nil {
		k.close()
		return err
	}
	k.next = chunk.Next
	c.First, c.Next, c.Records = offset, chunk.Next, c.Records[:0]
	for i := range chunk.Records {
		r := &chunk.Records[i]
		c.Records = append(c.Records, Record{Offset: r.Offset, Next: r.Offset + 1, Value: r.Value})
	}
	return nil
}

// commitTimeout keeps a coordinator that does not answer from holding up the next batch: a commit is advice.
const commitTimeout = 5 * time.Second

func (k *kafkaPartition) Commit(ctx context.Context, next int64) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return k.p.Commit(ctx, next)
}

func (k *kafkaPartition) Alive(d time.Duration) bool { return k.p.Alive(d) }
