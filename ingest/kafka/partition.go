package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
)

// errStalled says that the broker holds records beyond our offset and does not send them.
var errStalled = errors.New("no progress although there are records to read")

// stallAfter is how long that may last before everything is looked up anew, and as long again before the group is joined
// anew.
const stallAfter = 30 * time.Second

// Backoff of failed fetches.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// A Partition is one partition of one topic that this process owns for one generation of the group. Fetch and Bounds may
// be called by one goroutine at a time each, Commit and Alive by any.
type Partition struct {
	consumer   *Consumer
	generation *generation
	topic      string
	epoch      string
	topicID    topicID
	id         int32
	committed  int64

	mu     sync.Mutex // holds conn, leader and what belongs to a fetch
	conn   *conn
	leader leader
	list   []aborted

	failures  int
	notBefore time.Time // when the next attempt may be made
	corrupt   int       // corrupt answers one after the other
	wantPlain int64     // bytes to reserve for decompressed batches before fetching: 0 unless memory was short
	wantRaw   int64     // bytes to reserve for the answer along with them
	ratio     float64   // decompressed bytes per byte, as seen lately
	stalled   time.Time // since when there is no progress, zero if there is
	asked     time.Time // when the lag was seen last
	next      int64     // where the last chunk ended
	refreshed bool      // the leader has been looked up because of that
}

// Cluster is the operator's name of the cluster.
func (p *Partition) Cluster() string { return p.consumer.cfg.Cluster }

// Topic is the topic's name.
func (p *Partition) Topic() string { return p.topic }

// Epoch tells one life of the topic from the next: as configured, else Kafka's topic id, else "0".
func (p *Partition) Epoch() string { return p.epoch }

// TopicID is Kafka's topic id, written as its tools do, or "" on brokers before 2.8. It changes when a topic is deleted
// and made again, also when Epoch is set by the operator and does not.
func (p *Partition) TopicID() string {
	if p.topicID == (topicID{}) {
		return ""
	}
	return p.topicID.String()
}

// ID is the number of the partition.
func (p *Partition) ID() int32 { return p.id }

// Generation is the number of the group's generation in which the partition was assigned.
func (p *Partition) Generation() int32 { return p.generation.number }

// Committed is the offset that the group had committed when the partition was assigned, -1 if none. It is advice.
func (p *Partition) Committed() int64 { return p.committed }

// Alive tells whether the group will keep this partition ours for at least d longer, whatever happens: d after now lies
// before the end of the session that the last answered heartbeat began, counted from when that heartbeat was sent, and
// before the end of a rebalance. Ask before an insert with a deadline of d. Time is measured with the monotonic clock,
// which stands still while a virtual machine is suspended: what such a machine sends on waking must be fenced elsewhere.
func (p *Partition) Alive(d time.Duration) bool { return p.generation.alive(p.consumer.Now(), d) }

// Bounds asks the leader for the first offset in the log and for the last stable offset: the one after the last record
// that can be read now. It retries until ctx ends.
func (p *Partition) Bounds(ctx context.Context) (start, end int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		start, end, err = p.bounds(ctx, 1)
		if err == nil || ctx.Err() != nil || stops(err) {
			if err != nil {
				p.disconnect()
			}
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return start, end, err
		}
		p.failed(err)
		if !sleep(ctx, p.notBefore.Sub(p.consumer.Now())) {
			return 0, 0, context.Cause(ctx)
		}
	}
}

// bounds asks once: isolation 1 for the last stable offset, 0 for the high watermark.
func (p *Partition) bounds(ctx context.Context, isolation int8) (start, end int64, err error) {
	if err := p.connect(ctx); err != nil {
		return 0, 0, err
	}
	const earliest, latest = -2, -1
	var out [2]int64
	for i, when := range []int64{earliest, latest} {
		msg, err := p.conn.call(ctx, callTimeout, &listoffsets.Request{
			ReplicaID: -1, IsolationLevel: isolation,
			Topics: []listoffsets.RequestTopic{{Topic: p.topic, Partitions: []listoffsets.RequestPartition{{
				Partition: p.id, CurrentLeaderEpoch: p.leader.epoch, Timestamp: when,
			}}}},
		})
		if err != nil {
			return 0, 0, err
		}
		res := msg.(*listoffsets.Response)
		if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
			return 0, 0, fmt.Errorf("%w: no offsets in it", errMalformed)
		}
		if err := codeError(res.Topics[0].Partitions[0].ErrorCode); err != nil {
			return 0, 0, fmt.Errorf("asking for the bounds of the log: %w", err)
		}
		out[i] = res.Topics[0].Partitions[0].Offset
	}
	return out[0], out[1], nil
}

// connect looks up the leader and connects to it, if that is not done. It also sees whether the topic still is the same.
func (p *Partition) connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	infos, err := p.consumer.cluster.topics(ctx, []string{p.topic})
	if err != nil {
		return err
	}
	info := infos[p.topic]
	switch {
	case info.err != nil:
		return info.err
	case info.id != p.topicID && info.id != (topicID{}) && p.topicID != (topicID{}):
		return fmt.Errorf("%w: its id was %s and is %s", ErrRecreated, p.topicID, info.id)
	case int(p.id) >= len(info.leaders):
		return errNoTopic
	}
	if p.leader = info.leaders[p.id]; p.leader.addr == "" {
		return errNoLeader
	}
	p.conn, err = p.consumer.cluster.dialer.dial(ctx, p.leader.addr)
	if err != nil {
		return fmt.Errorf("leader %s: %w", p.leader.addr, err)
	}
	return nil
}

// A Chunk holds what one fetch brought. The zero value is ready for use; use it again to save memory.
type Chunk struct {
	// Records are the committed records in [First, Next), in offset order.
	Records []Record
	// First is the offset that was asked for, Next the one to ask for after it. Offsets between them that are not among
	// Records do not exist for a reader: compacted, aborted, or control records.
	First, Next int64
	// HighWatermark is the offset after the last replicated record, Stable that after the last one that can be read.
	HighWatermark, Stable int64
	// LogStart is the first offset in the log, -1 if the broker did not say.
	LogStart int64
	// Bytes is how many bytes the broker sent.
	Bytes int

	memory *memory
	raw    []byte
	plain  []byte
}

// Gaps is how many offsets of [First, Next) hold no record.
func (c *Chunk) Gaps() int64 { return c.Next - c.First - int64(len(c.Records)) }

// Release gives the chunk's memory back to the process. Records and their values must not be used any more.
func (c *Chunk) Release() {
	clear(c.Records)
	c.Records = c.Records[:0]
	if c.memory != nil {
		c.memory.put(c.raw)
		c.memory.put(c.plain)
	}
	c.raw, c.plain, c.memory = nil, nil, nil
	c.First, c.Next, c.Bytes = 0, 0, 0
}

// Fetch reads records from offset on into into, whose former content is released first. It returns as soon as there is
// something, and after about fetch.max_wait with no records and Next equal to offset; so it does while brokers do not
// answer: it retries from call to call, with growing pauses, and says so in log and metrics.
//
// Waiting for memory can take as long as other chunks are held, so release or reuse chunks before waiting for anything
// else. Errors are *BoundsError (ErrBehindLogStart, ErrBeyondLogEnd), ErrRecreated, ErrTooLarge, ErrUnsupported,
// ErrCorrupt (three times in a row), or the end of ctx, which costs the connection when it comes in the middle.
func (p *Partition) Fetch(ctx context.Context, offset int64, into *Chunk) error {
	into.Release()
	into.First, into.Next = offset, offset
	if offset < 0 {
		return fmt.Errorf("offset %d: must not be negative", offset)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline := p.consumer.Now().Add(p.consumer.cfg.Fetch.MaxWait)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if wait := p.notBefore.Sub(p.consumer.Now()); wait > 0 {
			if left := deadline.Sub(p.consumer.Now()); wait > left {
				if !sleep(ctx, left) {
					return context.Cause(ctx)
				}
				return nil
			}
			if !sleep(ctx, wait) {
				return context.Cause(ctx)
			}
		}
		err := p.fetch(ctx, offset, into)
		if err == nil {
			p.failures, p.corrupt = 0, 0
			p.consumer.metrics.fetched(p, into)
			p.asked, p.next = p.consumer.Now(), into.Next
			if err := p.watch(into); err != nil {
				p.failed(err)
			}
			return nil
		}
		into.Release()
		into.First, into.Next = offset, offset
		switch {
		case ctx.Err() != nil:
			p.disconnect() // an answer may be on its way there
			return context.Cause(ctx)
		case errors.Is(err, errMore):
			continue
		case stops(err):
			p.consumer.metrics.failed(err)
			p.disconnect()
			return fmt.Errorf("fetching %s/%d: %w", p.topic, p.id, err)
		case errors.Is(err, ErrCorrupt) || brokerCorrupt(err):
			if p.corrupt++; p.corrupt >= 3 {
				p.corrupt = 0
				p.failed(err)
				return fmt.Errorf("fetching %s/%d at offset %d: %w", p.topic, p.id, offset, errors.Join(ErrCorrupt, err))
			}
		}
		p.failed(err)
	}
}

// fetch asks once.
func (p *Partition) fetch(ctx context.Context, offset int64, into *Chunk) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	version, byID := int16(13), p.topicID != (topicID{})
	if v := p.conn.versions[protocol.Fetch]; !byID || v.high < 13 || v.low > 13 {
		byID = false
		var err error
		if version, err = p.conn.version(protocol.Fetch, 11); err != nil {
			return err
		}
		if version < 4 {
			return fmt.Errorf("%w: broker knows no transactions (Kafka 0.11 is the first that does)", ErrUnsupported)
		}
	}
	mem := p.consumer.memory
	into.memory = mem
	held := int64(0)
	defer func() { mem.release(held) }()
	if p.wantPlain > 0 {
		// Memory was short lately: reserve all of it while nothing else is held, so that nobody waits in a ring.
		if err := mem.acquire(ctx, p.wantPlain+p.wantRaw); err != nil {
			return err
		}
		into.plain, held = mem.buffer(p.wantPlain), p.wantRaw
	}

	cfg := p.consumer.cfg.Fetch
	release := p.conn.guard(ctx, cfg.MaxWait+callTimeout)
	defer func() { release() }()
	if err := p.conn.send(protocol.Fetch, version, byID, p.request(offset, version)); err != nil {
		return err
	}
	size, err := p.conn.size()
	if err != nil {
		return err
	}
	// The reservation comes before the body is read: until then the bytes wait in the broker, and nothing is held.
	release()
	switch need := mem.class(size); {
	case held == 0:
		if err := mem.acquire(ctx, need); err != nil {
			return err
		}
		held = need
	case held > need:
		mem.release(held - need)
		held = need
	case held < need:
		if !mem.tryAcquire(need - held) {
			p.wantRaw = need
			p.disconnect() // the answer is still on its way there
			if p.wantPlain+need > mem.limit {
				return fmt.Errorf("%w: %d bytes are needed", ErrTooLarge, p.wantPlain+need)
			}
			return errMore
		}
		held = need
	}
	release = p.conn.guard(ctx, callTimeout)
	into.raw, held = mem.buffer(held), 0
	body, err := p.conn.body(into.raw[:size])
	if err != nil {
		return err
	}
	a, err := parseAnswer(body, version, p.list)
	p.list = a.aborted
	if err != nil {
		return err
	}
	// A broker under quota leaves the next request unread for so long; asking meanwhile would look like a timeout.
	p.notBefore = p.consumer.Now().Add(min(a.throttle, time.Minute))
	if a.err != nil {
		return p.judge(ctx, offset, a.err)
	}
	into.HighWatermark, into.Stable, into.LogStart, into.Bytes = a.high, a.stable, a.logStart, size
	if len(a.batches) == 0 {
		return nil
	}
	return p.decode(&a, offset, into)
}

// decode decodes the batches into the chunk, with as much memory for decompressed ones as it takes.
func (p *Partition) decode(a *answer, offset int64, into *Chunk) error {
	mem := p.consumer.memory
	for {
		records, next, used, err := decodeInto(a, offset, into.Records[:0], into.plain, &p.consumer.codecs)
		into.Records, into.Next = records, next
		if !errors.Is(err, errMore) {
			if used > 0 {
				p.ratio = max(float64(used)/float64(len(a.batches)), 0.9*p.ratio)
			}
			if used == 0 && into.plain != nil {
				mem.put(into.plain)
				into.plain = nil
			}
			if err == nil {
				p.wantPlain, p.wantRaw = 0, 0
			}
			return err
		}
		// The first batch alone did not fit: double, beginning with what was seen lately.
		size := mem.class(max(2*cap(into.plain), int(1.1*p.ratio*float64(len(a.batches))), 4*len(a.batches), 64<<10))
		most := mem.limit - int64(cap(into.raw))
		if size > most {
			if size = most; size <= int64(cap(into.plain)) {
				return fmt.Errorf("%w: batch at offset %d takes more than %d bytes decompressed", ErrTooLarge, offset, size)
			}
		}
		if into.plain != nil {
			mem.put(into.plain)
			into.plain = nil
		}
		if !mem.tryAcquire(size) {
			p.wantPlain, p.wantRaw = size, int64(cap(into.raw))
			return errMore
		}
		into.plain = mem.buffer(size)
	}
}

// request encodes a fetch of this partition alone, outside any fetch session: versions 4 to 11 by name, 13 by topic id.
func (p *Partition) request(offset int64, version int16) []byte {
	cfg := p.consumer.cfg.Fetch
	flexible := version >= 12
	var b []byte
	i32 := func(v int32) { b = binary.BigEndian.AppendUint32(b, uint32(v)) }
	i64 := func(v int64) { b = binary.BigEndian.AppendUint64(b, uint64(v)) }
	count := func(n int) {
		if flexible {
			b = binary.AppendUvarint(b, uint64(n+1))
		} else {
			i32(int32(n))
		}
	}
	i32(-1) // not a replica
	i32(int32(cfg.MaxWait.Milliseconds()))
	i32(1) // answer as soon as there is anything
	i32(cfg.MaxBytes)
	b = append(b, 1) // committed records only
	if version >= 7 {
		i32(0)
		i32(-1) // no session
	}
	count(1)
	if version >= 13 {
		b = append(b, p.topicID[:]...)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.topic)))
		b = append(b, p.topic...)
	}
	count(1)
	i32(p.id)
	if version >= 9 {
		i32(p.leader.epoch)
	}
	i64(offset)
	if version >= 12 {
		i32(-1) // epoch of the last fetched record
	}
	if version >= 5 {
		i64(-1) // log start, of replicas
	}
	i32(cfg.MaxBytes)
	if flexible {
		b = append(b, 0, 0) // no tags of partition and topic
	}
	if version >= 7 {
		count(0) // nothing forgotten
	}
	if version >= 11 {
		if flexible {
			b = append(b, 1)
		} else {
			b = append(b, 0, 0)
		}
	}
	if flexible {
		b = append(b, 0)
	}
	return b
}

// judge turns the error of a fetch into what it means for the reader.
func (p *Partition) judge(ctx context.Context, offset int64, err error) error {
	switch {
	case errors.Is(err, kafkago.OffsetOutOfRange):
		// After an election the new leader may lag for a moment, so "beyond" has to be seen twice.
		for attempt := range 2 {
			if attempt > 0 {
				p.disconnect()
				if !sleep(ctx, 300*time.Millisecond) {
					return err
				}
			}
			start, end, err2 := p.bounds(ctx, 0)
			switch {
			case err2 != nil:
				return err2
			case offset < start:
				return &BoundsError{offset, start, end, ErrBehindLogStart}
			case offset <= end:
				return err
			case attempt == 1:
				return &BoundsError{offset, start, end, ErrBeyondLogEnd}
			}
		}
	case errors.Is(err, kafkago.UnsupportedVersion):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

// watch is the watchdog: records to read that do not come for stallAfter mean that something is stuck.
func (p *Partition) watch(c *Chunk) error {
	now := p.consumer.Now()
	switch {
	case c.Next > c.First || c.Stable <= c.Next:
		p.stalled, p.refreshed = time.Time{}, false
	case p.stalled.IsZero():
		p.stalled = now
	case now.Sub(p.stalled) >= 2*stallAfter:
		p.stalled, p.refreshed = time.Time{}, false
		p.generation.end(errStalled)
		return errStalled
	case now.Sub(p.stalled) >= stallAfter && !p.refreshed:
		p.refreshed = true
		return errStalled
	}
	return nil
}

// failed counts and logs a failure, drops the connection and sets the pause before the next attempt.
func (p *Partition) failed(err error) {
	p.consumer.metrics.failed(err)
	p.disconnect()
	pause := min(lastPause, firstPause<<min(p.failures, 10))
	pause = pause/2 + rand.N(pause/2+1)
	p.failures++
	p.notBefore = p.consumer.Now().Add(pause)
	// One line for the first failure, then ever fewer.
	if p.failures&(p.failures-1) == 0 {
		p.consumer.log.Warn("kafka: fetch failed, will try again", "topic", p.topic, "partition", p.id, "failures", p.failures, "error", err)
	}
}

// watchLag sees the lag of a partition that nobody has fetched from for the length of a session, because what was fetched can't
// be written: it must not look as it did when that began. It runs until ctx ends.
func (p *Partition) watchLag(ctx context.Context) {
	for sleep(ctx, p.consumer.cfg.SessionTimeout) {
		p.seeLag(ctx)
	}
}

func (p *Partition) seeLag(ctx context.Context) {
	if !p.mu.TryLock() {
		return // it is being fetched from
	}
	defer p.mu.Unlock()
	now := p.consumer.Now()
	if now.Sub(p.asked) < p.consumer.cfg.SessionTimeout || now.Before(p.notBefore) {
		return
	}
	start, end, err := p.bounds(ctx, 1)
	if err != nil {
		p.disconnect()
		return // whoever fetches next says why
	}
	p.asked = now
	p.consumer.metrics.behind(p, end-max(p.next, p.committed, start))
}

func (p *Partition) disconnect() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

func (p *Partition) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disconnect()
	p.consumer.metrics.forget(p)
}

// Commit tells the group that everything before next has been taken care of. It is advice for operators and their tools
// (lag); nothing here relies on it. The group refuses it with ErrFenced when this partition is no longer ours. It
// retries until ctx ends when the coordinator moves or does not answer.
func (p *Partition) Commit(ctx context.Context, next int64) error {
	req := &offsetcommit.Request{
		GroupID: p.consumer.cfg.Group, GenerationID: p.generation.number, MemberID: p.generation.member, RetentionTimeMs: -1,
		Topics: []offsetcommit.RequestTopic{{Name: p.topic, Partitions: []offsetcommit.RequestPartition{{
			PartitionIndex: p.id, CommittedOffset: next, CommittedLeaderEpoch: -1,
		}}}},
	}
	for failures := 0; ; failures++ {
		if p.generation.lost() {
			return fmt.Errorf("committing %s/%d: %w", p.topic, p.id, ErrFenced)
		}
		_, err := p.consumer.commits.call(ctx, callTimeout, req, func(m protocol.Message) int16 {
			for _, t := range m.(*offsetcommit.Response).Topics {
				for _, q := range t.Partitions {
					return q.ErrorCode
				}
			}
			return 0
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case fenced(err), errors.Is(err, kafkago.RebalanceInProgress):
			return fmt.Errorf("committing %s/%d: %w", p.topic, p.id, errors.Join(ErrFenced, err))
		}
		var code kafkago.Error
		if errors.As(err, &code) && !moved(err) && !errors.Is(err, kafkago.GroupLoadInProgress) && !code.Temporary() {
			return fmt.Errorf("committing %s/%d: %w", p.topic, p.id, err)
		}
		if !sleep(ctx, min(lastPause, firstPause<<min(failures, 10))) {
			return context.Cause(ctx)
		}
	}
}

// sleep waits for d and tells whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
