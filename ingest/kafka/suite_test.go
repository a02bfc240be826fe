package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
)

// suite is what every broker must pass: kfake in TestFake, Apache Kafka in TestApache.
func suite(t *testing.T, b *kafkatest.Broker) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *kafkatest.Broker)
	}{
		{"compressions", testCompressions},
		{"transactions", testTransactions},
		{"behind the log start", testBehindLogStart},
		{"beyond the log end", testBeyondLogEnd},
		{"empty topic", testEmptyTopic},
		{"large messages", testLargeMessages},
		{"compacted topic", testCompacted},
		{"recreated topic", testRecreated},
		{"recreated topic under an operator's epoch", testRecreatedUnderOperatorEpoch},
		{"missing topic", testMissingTopic},
		{"join and leave", testJoinAndLeave},
		{"fenced commit", testFencedCommit},
		{"drain", testDrain},
		{"lag of a partition at rest", testLagAtRest},
		{"handler errors", testHandlerErrors},
		{"restart", testRestart},
		{"sign-in", testSignIn},
		{"tls", testTLS},
		{"back-pressure", testBackPressure},
		{"prefetch", testPrefetch},
		{"retention", testRetention},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

// unique makes a name that no other test uses.
func unique(word string) string { return fmt.Sprintf("%s-%08x", word, rand.Uint32()) }

func config(l kafkatest.Listener, topics ...string) kafka.Config {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.Cluster, cfg.Group = []string{l.Addr}, "test", unique("group")
	for _, t := range topics {
		cfg.Topics = append(cfg.Topics, kafka.Topic{Name: t})
	}
	cfg.Fetch.MaxWait = 100 * time.Millisecond
	cfg.SessionTimeout, cfg.HeartbeatInterval, cfg.RebalanceTimeout = 3*time.Second, 100*time.Millisecond, 30*time.Second
	return cfg
}

// member is a running consumer.
type member struct {
	*kafka.Consumer
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	log    *bytes.Buffer
}

// start runs a consumer until stop or the end of the test.
func start(t *testing.T, cfg kafka.Config, handle func(context.Context, *kafka.Partition) error) *member {
	t.Helper()
	log := new(bytes.Buffer)
	c, err := kafka.New(cfg, slog.New(slog.NewTextHandler(&synced{w: log}, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Consumer: c, cancel: cancel, done: make(chan struct{}), log: log}
	go func() {
		defer close(m.done)
		m.err = c.Run(ctx, handle)
	}()
	t.Cleanup(func() {
		m.stop(t)
		if t.Failed() {
			t.Logf("log of a member:\n%s", log)
		}
		if n := c.InFlight(); n != 0 {
			t.Errorf("%d bytes are still reserved after the end", n)
		}
	})
	return m
}

type synced struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (s *synced) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// stop ends the member and waits for it.
func (m *member) stop(t *testing.T) {
	t.Helper()
	m.cancel()
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
	if m.err != nil {
		t.Errorf("Run: %v", m.err)
	}
}

// record is a kafka.Record that outlives its chunk.
type record struct {
	offset, time int64
	value        string
	null         bool
}

func copied(r kafka.Record) record {
	return record{r.Offset, r.Time, string(r.Value), r.Value == nil}
}

// readAll reads partition 0 of a topic from offset 0 to its end, and answers the records and how many offsets had none.
func readAll(t *testing.T, cfg kafka.Config) (out []record, gaps int64) {
	t.Helper()
	var mu sync.Mutex
	finished := make(chan struct{})
	m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		if p.ID() != 0 {
			return nil
		}
		next, end, err := p.Bounds(ctx)
		if err != nil {
			return err
		}
		var c kafka.Chunk
		defer c.Release()
		for next < end {
			if err := p.Fetch(ctx, next, &c); err != nil {
				return err
			}
			if c.First != next || c.Next < next {
				return fmt.Errorf("asked for %d, got [%d,%d)", next, c.First, c.Next)
			}
			mu.Lock()
			for _, r := range c.Records {
				out = append(out, copied(r))
			}
			gaps += c.Gaps()
			mu.Unlock()
			next = c.Next
		}
		if next != end {
			return fmt.Errorf("read up to %d, the log ends at %d", next, end)
		}
		close(finished)
		return nil
	})
	wait(t, finished, m)
	m.stop(t)
	return out, gaps
}

func wait(t *testing.T, ready <-chan struct{}, members ...*member) {
	t.Helper()
	select {
	case <-ready:
	case <-time.After(60 * time.Second):
		t.Fatal("gave up waiting")
	}
}

// until polls for something that another process brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// produce writes values to partition 0 in one batch or more and fails the test if that is refused.
func produce(t *testing.T, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Value: []byte(v)}
	}
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func values(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%06d %s", prefix, i, strings.Repeat("x", i%200))
	}
	return out
}

func valuesOf(records []record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.value
	}
	return out
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d values, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("value %d: got %.60q, want %.60q", i, got[i], want[i])
		}
	}
}

func testCompressions(t *testing.T, b *kafkatest.Broker) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			topic := unique("codec")
			b.Plain.CreateTopic(t, topic, 1)
			cl := b.Plain.Client(t, kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			want := values(name, 3000)
			produce(t, cl, topic, want[:1000]...)
			produce(t, cl, topic, want[1000:]...)
			at := time.UnixMilli(1_700_000_000_123)
			special := []*kgo.Record{
				{Topic: topic, Value: nil, Timestamp: at},
				{Topic: topic, Value: []byte{}, Timestamp: at, Key: []byte("key")},
				{Topic: topic, Value: []byte("with headers\x00\xff"), Timestamp: at, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "c"}}},
			}
			if err := cl.ProduceSync(context.Background(), special...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			got, gaps := readAll(t, config(b.Plain, topic))
			if gaps != 0 {
				t.Errorf("%d gaps in a topic without any", gaps)
			}
			if len(got) != 3003 {
				t.Fatalf("%d records, want 3003", len(got))
			}
			equal(t, valuesOf(got[:3000]), want)
			for i, r := range got {
				if r.offset != int64(i) {
					t.Fatalf("record %d has offset %d", i, r.offset)
				}
			}
			tail := got[3000:]
			if !tail[0].null || tail[1].null || tail[1].value != "" || tail[2].value != "with headers\x00\xff" {
				t.Errorf("null, empty and headed values came as %+v", tail)
			}
			for _, r := range tail {
				if r.time != at.UnixMilli() {
					t.Errorf("time %d, want %d", r.time, at.UnixMilli())
				}
			}
		})
	}
}

func testTransactions(t *testing.T, b *kafkatest.Broker) {
	topic := unique("transactions")
	b.Plain.CreateTopic(t, topic, 1)
	ctx := context.Background()
	cl := b.Plain.Client(t, kgo.TransactionalID(unique("tx")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	transact := func(word string, commit kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, topic, values(word, 5)...)
		if err := cl.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	transact("first", kgo.TryCommit)
	transact("aborted", kgo.TryAbort)
	transact("second", kgo.TryCommit)
	got, gaps := readAll(t, config(b.Plain, topic))
	equal(t, valuesOf(got), append(values("first", 5), values("second", 5)...))
	if gaps != 5+3 {
		t.Errorf("%d offsets without a record, want 5 aborted and 3 markers", gaps)
	}

	// Nothing of an open transaction is read, and nothing after it, until it ends.
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, topic, "open")
	produce(t, b.Plain.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic, "after")
	if got, _ := readAll(t, config(b.Plain, topic)); len(got) != 10 {
		t.Errorf("%d records while a transaction is open, want 10", len(got))
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	until(t, "the aborted transaction is over", func() bool {
		got, _ = readAll(t, config(b.Plain, topic))
		return len(got) != 10
	})
	equal(t, valuesOf(got[10:]), []string{"after"})
}

// once runs f for partition 0 and answers its error.
func once(t *testing.T, cfg kafka.Config, f func(ctx context.Context, p *kafka.Partition) error) error {
	t.Helper()
	result := make(chan error, 1)
	m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		if p.ID() == 0 {
			err := f(ctx, p)
			select {
			case result <- err:
			default:
			}
		}
		return nil
	})
	select {
	case err := <-result:
		m.stop(t)
		return err
	case <-m.done:
		return m.err
	case <-time.After(60 * time.Second):
		t.Fatal("gave up waiting")
		return nil
	}
}

func testBehindLogStart(t *testing.T, b *kafkatest.Broker) {
	topic := unique("trimmed")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("v", 40)...)
	b.Plain.DeleteRecords(t, topic, 0, 30)
	var took time.Duration
	err := once(t, config(b.Plain, topic), func(ctx context.Context, p *kafka.Partition) error {
		began := time.Now()
		defer func() { took = time.Since(began) }()
		var c kafka.Chunk
		return p.Fetch(ctx, 10, &c)
	})
	var bounds *kafka.BoundsError
	if !errors.Is(err, kafka.ErrBehindLogStart) || !errors.As(err, &bounds) || bounds.Start != 30 || bounds.End != 40 || bounds.Offset != 10 {
		t.Fatalf("got %v, want ErrBehindLogStart with [30,40)", err)
	}
	if took > time.Second {
		t.Errorf("took %v to see, want at most a second", took)
	}
	if got, _ := readAll(t, config(b.Plain, topic)); len(got) != 10 || got[0].offset != 30 {
		t.Errorf("read %d records from the log start, want 10", len(got))
	}
}

func testBeyondLogEnd(t *testing.T, b *kafkatest.Broker) {
	topic := unique("short")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("v", 4)...)
	err := once(t, config(b.Plain, topic), func(ctx context.Context, p *kafka.Partition) error {
		var c kafka.Chunk
		return p.Fetch(ctx, 5, &c)
	})
	var bounds *kafka.BoundsError
	if !errors.Is(err, kafka.ErrBeyondLogEnd) || !errors.As(err, &bounds) || bounds.Start != 0 || bounds.End != 4 {
		t.Fatalf("got %v, want ErrBeyondLogEnd with [0,4)", err)
	}
}

func testEmptyTopic(t *testing.T, b *kafkatest.Broker) {
	topic := unique("empty")
	b.Plain.CreateTopic(t, topic, 1)
	err := once(t, config(b.Plain, topic), func(ctx context.Context, p *kafka.Partition) error {
		if start, end, err := p.Bounds(ctx); start != 0 || end != 0 || err != nil {
			return fmt.Errorf("bounds of an empty topic: %d, %d, %v", start, end, err)
		}
		if p.Committed() != -1 {
			return fmt.Errorf("committed %d, want -1", p.Committed())
		}
		var c kafka.Chunk
		for range 3 {
			if err := p.Fetch(ctx, 0, &c); err != nil || len(c.Records) != 0 || c.Next != 0 {
				return fmt.Errorf("fetch of an empty topic: next %d, %v", c.Next, err)
			}
		}
		produce(t, b.Plain.Client(t), topic, "first")
		for len(c.Records) == 0 {
			if err := p.Fetch(ctx, 0, &c); err != nil {
				return err
			}
		}
		defer c.Release()
		if string(c.Records[0].Value) != "first" || c.Next != 1 || c.HighWatermark != 1 {
			return fmt.Errorf("got %q, next %d", c.Records[0].Value, c.Next)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testLargeMessages(t *testing.T, b *kafkatest.Broker) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression(), kgo.GzipCompression()} {
		topic := unique("large")
		b.Plain.CreateTopic(t, topic, 1, "max.message.bytes", "33554432")
		cl := b.Plain.Client(t, kgo.ProducerBatchCompression(codec))
		noise := make([]byte, 16<<20)
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		want := []string{"small", string(noise[:1<<20]), strings.Repeat("compressible ", 1<<20), string(noise), "last"}
		for _, v := range want {
			produce(t, cl, topic, v)
		}
		cfg := config(b.Plain, topic)
		cfg.Fetch.MaxBytes = 64 << 10
		got, _ := readAll(t, cfg)
		equal(t, valuesOf(got), want)

		// A batch that can't fit is an error that says so, not a loop and not a skip.
		cfg = config(b.Plain, topic)
		cfg.Fetch.MaxBytes, cfg.MaxInFlightBytes = 64<<10, 4<<20
		err := once(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
			var c kafka.Chunk
			for next := int64(0); ; next = c.Next {
				if err := p.Fetch(ctx, next, &c); err != nil {
					return err
				}
			}
		})
		if !errors.Is(err, kafka.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	}
}

func testCompacted(t *testing.T, b *kafkatest.Broker) {
	topic := unique("compacted")
	b.Plain.CreateTopic(t, topic, 1, "cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01", "max.compaction.lag.ms", "200")
	cl := b.Plain.Client(t)
	write := func(i int) {
		r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", min(i, 1+i%3)), Value: fmt.Appendf(nil, "value-%d", i)}
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 { // the first keeps a key of its own, so the log still begins at 0
		write(i)
	}
	if b.Fake != nil {
		b.Fake.Compact()
	}
	n := 30
	until(t, "the log is compacted", func() bool {
		if b.Fake == nil {
			time.Sleep(300 * time.Millisecond) // only what lies in a closed segment is compacted
			write(n)
			n++
		}
		// readAll fails the test if reading stalls, skips, or does not arrive at the end of the log.
		got, gaps := readAll(t, config(b.Plain, topic))
		if int64(len(got))+gaps != int64(n) {
			t.Fatalf("%d records and %d gaps, want %d together", len(got), gaps, n)
		}
		return gaps >= 20
	})
}

// lives collects what a handler saw of each life of a topic.
type lives struct {
	mu     sync.Mutex
	epochs []string
	values map[string][]string
	errs   []error
}

func (l *lives) handle(ctx context.Context, p *kafka.Partition) error {
	l.mu.Lock()
	if l.values == nil {
		l.values = make(map[string][]string)
	}
	if n := len(l.epochs); n == 0 || l.epochs[n-1] != p.Epoch() {
		l.epochs = append(l.epochs, p.Epoch())
	}
	next := int64(len(l.values[p.Epoch()]))
	l.mu.Unlock()
	var c kafka.Chunk
	defer c.Release()
	for {
		if err := p.Fetch(ctx, next, &c); err != nil {
			l.mu.Lock()
			l.errs = append(l.errs, err)
			l.mu.Unlock()
			return err
		}
		l.mu.Lock()
		for _, r := range c.Records {
			l.values[p.Epoch()] = append(l.values[p.Epoch()], string(r.Value))
		}
		l.mu.Unlock()
		next = c.Next
	}
}

func (l *lives) has(value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, vs := range l.values {
		for _, v := range vs {
			if v == value {
				return true
			}
		}
	}
	return false
}

func (l *lives) saw(target error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.errs {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func testRecreated(t *testing.T, b *kafkatest.Broker) {
	topic := unique("recreated")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("old", 3)...)
	var l lives
	start(t, config(b.Plain, topic), l.handle)
	until(t, "the old records are read", func() bool { return l.has(values("old", 3)[2]) })
	b.Plain.DeleteTopic(t, topic)
	b.Plain.CreateTopic(t, topic, 1)
	// More than before: an offset alone would not tell the two apart.
	produce(t, b.Plain.Client(t), topic, values("new", 9)...)
	until(t, "the new records are read", func() bool { return l.has(values("new", 9)[8]) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.epochs) != 2 {
		t.Fatalf("epochs %q, want two", l.epochs)
	}
	equal(t, l.values[l.epochs[0]], values("old", 3))
	equal(t, l.values[l.epochs[1]], values("new", 9))
}

func testRecreatedUnderOperatorEpoch(t *testing.T, b *kafkatest.Broker) {
	topic := unique("recreated")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("old", 3)...)
	cfg := config(b.Plain, topic)
	cfg.Topics[0].Epoch = "7"
	var l lives
	start(t, cfg, l.handle)
	until(t, "the old records are read", func() bool { return l.has(values("old", 3)[2]) })
	b.Plain.DeleteTopic(t, topic)
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("new", 9)...)
	until(t, "the topic is refused", func() bool { return l.saw(kafka.ErrRecreated) })
	l.mu.Lock()
	defer l.mu.Unlock()
	equal(t, l.values["7"], values("old", 3))
}

func testMissingTopic(t *testing.T, b *kafkatest.Broker) {
	here, missing := unique("here"), unique("missing")
	b.Plain.CreateTopic(t, here, 2)
	produce(t, b.Plain.Client(t), here, "present")
	var l lives
	seen := make(chan string, 100)
	start(t, config(b.Plain, missing, here), func(ctx context.Context, p *kafka.Partition) error {
		select {
		case seen <- p.Topic():
		default:
		}
		return l.handle(ctx, p)
	})
	until(t, "the topic that exists is read", func() bool { return l.has("present") })
	if b.Plain.Exists(t, missing) {
		t.Fatal("the missing topic was made")
	}
	b.Plain.CreateTopic(t, missing, 1)
	produce(t, b.Plain.Client(t), missing, "late")
	until(t, "the late topic is read", func() bool { return l.has("late") })
}

// ledger is a sink that takes each offset once and in order, as the real one does, and counts who tries otherwise.
type ledger struct {
	mu         sync.Mutex
	next       map[int32]int64
	values     map[string]int
	violations int
}

func newLedger() *ledger { return &ledger{next: make(map[int32]int64), values: make(map[string]int)} }

func (l *ledger) from(id int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next[id]
}

func (l *ledger) add(id int32, c *kafka.Chunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next[id] != c.First {
		l.violations++
		return false
	}
	for _, r := range c.Records {
		l.values[string(r.Value)]++
	}
	l.next[id] = c.Next
	return true
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.values)
}

func (l *ledger) handle(ctx context.Context, p *kafka.Partition) error {
	next := l.from(p.ID())
	var c kafka.Chunk
	defer c.Release()
	for {
		if err := p.Fetch(ctx, next, &c); err != nil {
			return err
		}
		if len(c.Records) == 0 {
			continue
		}
		if !p.Alive(200 * time.Millisecond) {
			return errors.New("session too short for an insert")
		}
		if !l.add(p.ID(), &c) {
			return errors.New("somebody else owns this partition")
		}
		next = c.Next
		if err := p.Commit(ctx, next); err != nil {
			return err
		}
	}
}

// write produces n values over all partitions, a few at a time.
func write(t *testing.T, l kafkatest.Listener, topic string, n int) (done <-chan struct{}) {
	t.Helper()
	cl := l.Client(t, kgo.RecordRetries(1<<20), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0))
	out := make(chan struct{})
	go func() {
		defer close(out)
		for i := 0; i < n; i += 50 {
			var records []*kgo.Record
			for j := i; j < min(n, i+50); j++ {
				records = append(records, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "value-%06d", j)})
			}
			if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond) // so that writing lasts as long as the test's events
		}
	}()
	return out
}

func (l *ledger) check(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.violations != 0 {
		t.Errorf("%d times an offset had two owners", l.violations)
	}
	for i := range n {
		if k := l.values[fmt.Sprintf("value-%06d", i)]; k != 1 {
			t.Fatalf("value %d was counted %d times", i, k)
		}
	}
}

func testJoinAndLeave(t *testing.T, b *kafkatest.Broker) {
	topic := unique("rebalance")
	b.Plain.CreateTopic(t, topic, 4)
	cfg := config(b.Plain, topic)
	const n = 16_000
	l := newLedger()
	written := write(t, b.Plain, topic, n)
	first := start(t, cfg, l.handle)
	until(t, "the first member reads", func() bool { return l.len() > 100 })
	second := start(t, cfg, l.handle)
	until(t, "the second member has joined", func() bool { return b.Plain.Members(t, cfg.Group) == 2 })
	third := start(t, cfg, l.handle)
	until(t, "the third member has joined", func() bool { return b.Plain.Members(t, cfg.Group) == 3 })
	first.stop(t)
	until(t, "the first member has left", func() bool { return b.Plain.Members(t, cfg.Group) == 2 })
	fourth := start(t, cfg, l.handle)
	until(t, "the fourth member has joined", func() bool { return b.Plain.Members(t, cfg.Group) == 3 })
	second.stop(t)
	third.stop(t)
	wait(t, written)
	until(t, "everything is read", func() bool { return l.len() == n })
	// A record is counted before it is committed: a member that is stopped in between does not commit it any more.
	until(t, "everything is committed", func() bool {
		for id := range int32(4) {
			if b.Plain.Committed(t, cfg.Group, topic, id) != l.from(id) {
				return false
			}
		}
		return true
	})
	fourth.stop(t)
	l.check(t, n)
	for id := range int32(4) {
		if got, want := b.Plain.Committed(t, cfg.Group, topic, id), l.from(id); got != want {
			t.Errorf("partition %d: committed %d, want %d", id, got, want)
		}
	}
}

func testFencedCommit(t *testing.T, b *kafkatest.Broker) {
	topic := unique("fenced")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, values("v", 10)...)
	cfg := config(b.Plain, topic)
	first := make(chan *kafka.Partition, 1)
	m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		if err := p.Commit(ctx, 5); err != nil {
			return err
		}
		select {
		case first <- p:
		default:
		}
		return nil
	})
	old := <-first
	if got := b.Plain.Committed(t, cfg.Group, topic, 0); got != 5 {
		t.Fatalf("committed %d, want 5", got)
	}
	again := make(chan *kafka.Partition, 10)
	start(t, cfg, func(_ context.Context, p *kafka.Partition) error { again <- p; return nil })
	until(t, "the other has joined", func() bool { return b.Plain.Members(t, cfg.Group) == 2 })
	began := time.Now()
	until(t, "a new generation owns the partition", func() bool {
		err := old.Commit(context.Background(), 9)
		if err != nil && !errors.Is(err, kafka.ErrFenced) {
			t.Fatalf("got %v, want ErrFenced", err)
		}
		return err != nil
	})
	if took := time.Since(began); took > cfg.SessionTimeout {
		t.Errorf("the rebalance took %v: heartbeats did not tell of it", took)
	}
	m.stop(t)
	until(t, "the partition has its new owner", func() bool {
		select {
		case p := <-again:
			return p.Generation() > old.Generation() && (p.Committed() == 5 || p.Committed() == 9)
		default:
			return false
		}
	})
	if err := old.Commit(context.Background(), 10); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if got := b.Plain.Committed(t, cfg.Group, topic, 0); got == 10 {
		t.Error("the old owner's commit was taken")
	}
}

func testDrain(t *testing.T, b *kafkatest.Broker) {
	topic := unique("drain")
	b.Plain.CreateTopic(t, topic, 3)
	cfg := config(b.Plain, topic)
	var running, finished atomic.Int32
	m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		running.Add(1)
		<-ctx.Done()
		// Longer than the session: only heartbeats during the drain keep the partition ours.
		time.Sleep(cfg.SessionTimeout + 500*time.Millisecond)
		if !p.Alive(time.Second) {
			t.Error("the session was lost while draining")
		}
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := p.Commit(out, 1+int64(p.ID())); err != nil {
			t.Errorf("commit while draining: %v", err)
		}
		finished.Add(1)
		return nil
	})
	until(t, "all handlers run", func() bool { return running.Load() == 3 })
	m.stop(t)
	if n := finished.Load(); n != 3 {
		t.Errorf("Run returned when %d of 3 handlers had finished", n)
	}
	if n := b.Plain.Members(t, cfg.Group); n != 0 {
		t.Errorf("the group still has %d members", n)
	}
	if got := b.Plain.Committed(t, cfg.Group, topic, 2); got != 3 {
		t.Errorf("committed %d, want 3", got)
	}
}

// What is fetched can't be written, so nothing more is fetched: how far behind that is must be seen all the same.
func testLagAtRest(t *testing.T, b *kafkatest.Broker) {
	topic := unique("lag")
	b.Plain.CreateTopic(t, topic, 1)
	producer := b.Plain.Client(t)
	produce(t, producer, topic, values("before", 7)...)
	reg := prometheus.NewRegistry()
	c, err := kafka.New(config(b.Plain, topic), slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, fetched := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- c.Run(ctx, func(ctx context.Context, p *kafka.Partition) error {
			var chunk kafka.Chunk
			defer chunk.Release()
			for chunk.Next < 7 {
				if err := p.Fetch(ctx, chunk.Next, &chunk); err != nil {
					return err
				}
			}
			close(fetched)
			<-ctx.Done()
			return nil
		})
	}()
	<-fetched
	produce(t, producer, topic, values("after", 50)...)
	until(t, "the lag is seen", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "tillsyn_kafka_lag_records" {
				return f.GetMetric()[0].GetGauge().GetValue() == 50
			}
		}
		return false
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func testHandlerErrors(t *testing.T, b *kafkatest.Broker) {
	topic := unique("errors")
	b.Plain.CreateTopic(t, topic, 2)
	var calls atomic.Int32
	generations := new(sync.Map)
	m := start(t, config(b.Plain, topic), func(_ context.Context, p *kafka.Partition) error {
		generations.Store(p.Generation(), true)
		if p.ID() == 0 && calls.Add(1) < 3 {
			return errors.New("passing fault")
		}
		return nil
	})
	until(t, "the handler is called again", func() bool { return calls.Load() == 3 })
	m.stop(t)
	n := 0
	generations.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("errors of a handler made %d generations, want 1", n)
	}

	var others, ended atomic.Int32
	c, err := kafka.New(config(b.Plain, topic), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = c.Run(ctx, func(ctx context.Context, p *kafka.Partition) error {
		if p.ID() == 0 {
			cancel()
			return errors.New("broken while it was to end")
		}
		others.Add(1)
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond) // longer than Run would take if it did not wait
		ended.Add(1)
		return nil
	})
	if err != nil || others.Load() != ended.Load() {
		t.Errorf("Run returned %v after %d of %d other handlers had ended", err, ended.Load(), others.Load())
	}
}

func testRestart(t *testing.T, b *kafkatest.Broker) {
	topic := unique("restart")
	b.Plain.CreateTopic(t, topic, 4)
	cfg := config(b.Plain, topic)
	const n = 8000
	l := newLedger()
	written := write(t, b.Plain, topic, n)
	start(t, cfg, l.handle)
	until(t, "the member reads", func() bool { return l.len() > 500 })
	b.Stop(t)
	time.Sleep(2 * time.Second) // the length of the outage is the test
	b.Start(t)
	back := time.Now()
	was := l.len()
	until(t, "reading goes on", func() bool { return l.len() > was })
	t.Logf("reading went on %v after the broker was back", time.Since(back).Round(10*time.Millisecond))
	wait(t, written)
	until(t, "everything is read", func() bool { return l.len() == n })
	l.check(t, n)
}

func testSignIn(t *testing.T, b *kafkatest.Broker) {
	topic := unique("signin")
	b.SASL.CreateTopic(t, topic, 1)
	produce(t, b.SASL.Client(t), topic, "secret line")
	file := filepath.Join(t.TempDir(), "password")
	password := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cfg := config(b.SASL, topic)
			cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: kafkatest.Username, PasswordFile: file}
			password(kafkatest.Password + "\n")
			got, _ := readAll(t, cfg)
			equal(t, valuesOf(got), []string{"secret line"})

			password("wrong-" + kafkatest.Password)
			var log bytes.Buffer
			c, err := kafka.New(cfg, slog.New(slog.NewTextHandler(&log, nil)), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Run(context.Background(), func(context.Context, *kafka.Partition) error { return nil })
			if !errors.Is(err, kafka.ErrAuthentication) {
				t.Fatalf("got %v, want ErrAuthentication", err)
			}
			for _, text := range []string{err.Error(), log.String()} {
				if strings.Contains(text, kafkatest.Password) || strings.Contains(text, kafkatest.Username) {
					t.Errorf("user or password is in %q", text)
				}
			}
		})
	}
	t.Run("forbidden characters", func(t *testing.T) {
		cfg := config(b.SASL, topic)
		cfg.SASL = kafka.SASL{Mechanism: "scram-sha-256", Username: "planted-user\a", PasswordFile: file}
		password("planted-password\a")
		c, err := kafka.New(cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "SASLprep") || strings.Contains(err.Error(), "planted") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no password file", func(t *testing.T) {
		cfg := config(b.SASL, topic)
		cfg.SASL = kafka.SASL{Mechanism: "plain", Username: kafkatest.Username, PasswordFile: filepath.Join(t.TempDir(), "absent")}
		c, err := kafka.New(cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(context.Background(), nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want that the file does not exist", err)
		}
	})
}

func testTLS(t *testing.T, b *kafkatest.Broker) {
	topic := unique("tls")
	b.TLS.CreateTopic(t, topic, 1)
	produce(t, b.TLS.Client(t), topic, "encrypted line")
	for name, c := range map[string]struct {
		tls  kafka.TLS
		want string
	}{
		"trusted":      {kafka.TLS{Enabled: true, CAFile: b.TLS.CAFile}, ""},
		"other name":   {kafka.TLS{Enabled: true, CAFile: b.TLS.CAFile, ServerName: "broker.test"}, ""},
		"wrong name":   {kafka.TLS{Enabled: true, CAFile: b.TLS.CAFile, ServerName: "elsewhere.test"}, "certificate is not trusted"},
		"no authority": {kafka.TLS{Enabled: true}, "certificate is not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(b.TLS, topic)
			cfg.TLS = c.tls
			if c.want == "" {
				got, _ := readAll(t, cfg)
				equal(t, valuesOf(got), []string{"encrypted line"})
				return
			}
			k, err := kafka.New(cfg, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Run(context.Background(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func testBackPressure(t *testing.T, b *kafkatest.Broker) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression()} {
		topic := unique("pressure")
		const partitions, each = 8, 60
		b.Plain.CreateTopic(t, topic, partitions, "max.message.bytes", "33554432")
		cl := b.Plain.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec))
		var records []*kgo.Record
		for id := range int32(partitions) {
			for i := range each {
				line := fmt.Sprintf("%d/%d ", id, i)
				size := 50 << 10
				if i == each/2 {
					size = 1500 << 10 // larger than max_bytes, and with its decompressed form near the limit
				}
				records = append(records, &kgo.Record{Topic: topic, Partition: id, Value: []byte(strings.Repeat(line, size/len(line)))})
			}
		}
		for chunk := records; len(chunk) > 0; chunk = chunk[min(len(chunk), 40):] {
			if err := cl.ProduceSync(context.Background(), chunk[:min(len(chunk), 40)]...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		cfg := config(b.Plain, topic)
		cfg.Fetch.MaxBytes, cfg.MaxInFlightBytes = 256<<10, 4<<20
		var got atomic.Int64
		m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
			var c kafka.Chunk
			defer c.Release()
			for next := int64(0); next < each; next = c.Next {
				if err := p.Fetch(ctx, next, &c); err != nil {
					return err
				}
				time.Sleep(2 * time.Millisecond) // a sink that is slower than the brokers
				got.Add(int64(len(c.Records)))
			}
			return nil
		})
		until(t, "everything is read", func() bool { return got.Load() >= partitions*each })
		m.stop(t)
		if got.Load() != partitions*each {
			t.Errorf("read %d records, want %d", got.Load(), partitions*each)
		}
		if m.Peak() > cfg.MaxInFlightBytes {
			t.Errorf("%d bytes were held at one time, the limit is %d", m.Peak(), cfg.MaxInFlightBytes)
		}
		t.Logf("at most %d of %d bytes were held", m.Peak(), cfg.MaxInFlightBytes)
	}
}

func testPrefetch(t *testing.T, b *kafkatest.Broker) {
	topic := unique("prefetch")
	b.Plain.CreateTopic(t, topic, 1)
	want := values("p", 5000)
	produce(t, b.Plain.Client(t), topic, want...)
	cfg := config(b.Plain, topic)
	cfg.Fetch.MaxBytes = 16 << 10
	var got []string
	err := once(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		f := p.Prefetch(ctx, 0)
		defer f.Close()
		next := int64(0)
		for len(got) < len(want) {
			c, err := f.Next(ctx)
			if err != nil {
				return err
			}
			if c.First != next {
				return fmt.Errorf("chunk begins at %d, the last ended at %d", c.First, next)
			}
			next = c.Next
			for _, r := range c.Records {
				got = append(got, string(r.Value))
			}
		}
		// An error of Fetch comes out of Next, and stays.
		f.Close()
		if _, err := f.Next(ctx); err == nil {
			return errors.New("a closed prefetch gave a chunk")
		}
		g := p.Prefetch(ctx, 1<<40)
		defer g.Close()
		for range 2 {
			if _, err := g.Next(ctx); !errors.Is(err, kafka.ErrBeyondLogEnd) {
				return fmt.Errorf("got %v, want ErrBeyondLogEnd", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}
