package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
)

func TestFake(t *testing.T) {
	t.Parallel()
	suite(t, kafkatest.StartFake(t))
}

// TestOldBrokers reads from brokers that speak older versions: without topic ids, sessions, leader epochs.
func TestOldBrokers(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]*kversion.Versions{
		"0.11": kversion.V0_11_0(), "1.0": kversion.V1_0_0(), "2.0": kversion.V2_0_0(), "2.3": kversion.V2_3_0(), "2.8": kversion.V2_8_0(), "3.9": kversion.V3_9_0(),
	} {
		t.Run(name, func(t *testing.T) {
			b := kafkatest.StartFake(t, kfake.MaxVersions(v))
			testBehindLogStart(t, b)
			topic := unique("old")
			b.Plain.CreateTopic(t, topic, 1)
			want := values("v", 2000)
			produce(t, b.Plain.Client(t), topic, want...)
			got, _ := readAll(t, config(b.Plain, topic))
			equal(t, valuesOf(got), want)
			err := once(t, config(b.Plain, topic), func(ctx context.Context, p *kafka.Partition) error {
				if withID := name == "2.8" || name == "3.9"; withID != (p.TopicID() != "") || withID == (p.Epoch() == "0") {
					return fmt.Errorf("topic id %q, epoch %q", p.TopicID(), p.Epoch())
				}
				return p.Commit(ctx, 7)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMovingLeaders moves partition leaders and coordinators between three brokers while two members read.
func TestMovingLeaders(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t, kfake.NumBrokers(3))
	topic := unique("moving")
	b.Plain.CreateTopic(t, topic, 6)
	cfg := config(b.Plain, topic)
	const n = 12_000
	l := newLedger()
	written := write(t, b.Plain, topic, n)
	start(t, cfg, l.handle)
	start(t, cfg, l.handle)
	for moving := true; moving; {
		select {
		case <-written:
			moving = false
		case <-time.After(100 * time.Millisecond):
			b.Fake.ShufflePartitionLeaders()
			b.Fake.RehashCoordinators()
		}
	}
	until(t, "everything is read", func() bool { return l.len() == n })
	l.check(t, n)
}

// TestPassingFaults answers requests with errors that pass.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	for _, c := range []struct {
		key kmsg.Key
		err *kerr.Error
	}{
		{kmsg.Fetch, kerr.NotLeaderForPartition}, {kmsg.Fetch, kerr.KafkaStorageError}, {kmsg.Fetch, kerr.UnknownServerError},
		{kmsg.Fetch, kerr.FencedLeaderEpoch}, {kmsg.Fetch, kerr.OffsetNotAvailable}, {kmsg.Fetch, kerr.UnknownTopicID}, {kmsg.Fetch, kerr.UnknownTopicOrPartition},
		{kmsg.Fetch, kerr.OffsetOutOfRange}, {kmsg.Fetch, kerr.CorruptMessage}, {kmsg.ListOffsets, kerr.OffsetNotAvailable}, {kmsg.ListOffsets, kerr.NotLeaderForPartition},
		{kmsg.Metadata, kerr.LeaderNotAvailable}, {kmsg.Metadata, kerr.UnknownTopicOrPartition},
		{kmsg.OffsetCommit, kerr.NotCoordinator}, {kmsg.OffsetCommit, kerr.CoordinatorLoadInProgress}, {kmsg.OffsetFetch, kerr.CoordinatorLoadInProgress},
		{kmsg.FindCoordinator, kerr.CoordinatorNotAvailable}, {kmsg.JoinGroup, kerr.CoordinatorLoadInProgress}, {kmsg.JoinGroup, kerr.NotCoordinator},
		{kmsg.SyncGroup, kerr.RebalanceInProgress}, {kmsg.SyncGroup, kerr.NotCoordinator}, {kmsg.Heartbeat, kerr.NotCoordinator}, {kmsg.Heartbeat, kerr.UnknownMemberID},
		{kmsg.LeaveGroup, kerr.UnknownMemberID},
	} {
		t.Run(c.key.Name()+" "+c.err.Message, func(t *testing.T) {
			topic := unique("faulty")
			b.Plain.CreateTopic(t, topic, 1)
			produce(t, b.Plain.Client(t), topic, "value-000000", "value-000001")
			cfg := config(b.Plain, topic)
			fault := kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: 2, TopLevel: c.key == kmsg.OffsetFetch}
			h := b.Fake.Fault(fault)
			defer h.Remove()
			l := newLedger()
			m := start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
				if _, end, err := p.Bounds(ctx); err != nil || end != 2 {
					return fmt.Errorf("bounds end at %d: %w", end, err)
				}
				return l.handle(ctx, p)
			})
			until(t, "both records are read", func() bool { return l.len() == 2 })
			until(t, "they are committed", func() bool { return b.Plain.Committed(t, cfg.Group, topic, 0) == 2 })
			if c.key != kmsg.LeaveGroup {
				until(t, "the fault has been met", func() bool { return h.Hits() > 0 })
			}
			m.cancel()
			<-m.done
			l.check(t, 2)
			if h.Hits() == 0 {
				t.Error("the fault was never met")
			}
		})
	}
}

// TestLostHeartbeats is a member that the coordinator hears no more: it must know before the group gives its partitions
// away, and come back afterwards.
func TestLostHeartbeats(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := unique("silent")
	b.Plain.CreateTopic(t, topic, 1)
	cfg := config(b.Plain, topic)
	type life struct {
		ended time.Time
		alive bool
	}
	lives := make(chan life, 10)
	owned := make(chan *kafka.Partition, 10)
	start(t, cfg, func(ctx context.Context, p *kafka.Partition) error {
		owned <- p
		<-ctx.Done()
		lives <- life{time.Now(), p.Alive(0)}
		return nil
	})
	p := <-owned
	if !p.Alive(cfg.SessionTimeout-time.Second) || p.Alive(cfg.SessionTimeout) {
		t.Error("a fresh session is not as long as it should be")
	}
	silent := time.Now()
	b.Fake.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		return nil, nil, time.Since(silent) < 2*cfg.SessionTimeout
	})
	got := <-lives
	if took := got.ended.Sub(silent); got.alive || took > cfg.SessionTimeout+1500*time.Millisecond || took < cfg.SessionTimeout-time.Second {
		t.Errorf("the handler was told after %v, alive %v", took, got.alive)
	}
	if p.Alive(0) {
		t.Error("alive after the session")
	}
	select {
	case again := <-owned:
		if again.Generation() == p.Generation() {
			t.Error("the partition came back in the same generation")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the member does not come back")
	}
}

// TestCorruptBatch reads a batch with a wrong checksum: an error, never a skip.
func TestCorruptBatch(t *testing.T) {
	t.Parallel()
	batch := make([]byte, 61)
	binary.BigEndian.PutUint32(batch[8:], 49)
	batch[16], batch[60] = 2, 1
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli))^1)
	b := kafkatest.StartFake(t, kfake.SeedTopics(1, "corrupt"), kfake.SyntheticFetch(kfake.SyntheticBatch{Batch: batch}))
	err := once(t, config(b.Plain, "corrupt"), func(ctx context.Context, p *kafka.Partition) error {
		var c kafka.Chunk
		defer c.Release()
		for {
			if err := p.Fetch(ctx, 0, &c); err != nil {
				return err
			}
			if c.Next != 0 || len(c.Records) != 0 {
				return fmt.Errorf("skipped to %d", c.Next)
			}
		}
	})
	if !errors.Is(err, kafka.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// TestUnreachable starts while no broker is there, and goes on when one is.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := unique("late")
	b.Plain.CreateTopic(t, topic, 1)
	produce(t, b.Plain.Client(t), topic, "value-000000")
	b.Stop(t)
	l := newLedger()
	m := start(t, config(b.Plain, topic), l.handle)
	select {
	case <-m.done:
		t.Fatalf("Run gave up: %v", m.err)
	case <-time.After(500 * time.Millisecond):
	}
	b.Start(t)
	until(t, "the record is read", func() bool { return l.len() == 1 })
}

// TestSilentBroker ends a member while no broker answers anything: it must not wait for every timeout in turn.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := unique("mute")
	b.Plain.CreateTopic(t, topic, 12)
	l := newLedger()
	m := start(t, config(b.Plain, topic), l.handle)
	produce(t, b.Plain.Client(t), topic, values("v", 10)...)
	until(t, "the member reads", func() bool { return l.len() == 10 })
	b.Fake.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		return nil, nil, true
	})
	time.Sleep(time.Second) // so that all partitions are waiting
	began := time.Now()
	m.stop(t)
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("Run returned after %v", took)
	}
}

// TestManyRebalances replaces members one after the other while records arrive.
func TestManyRebalances(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := unique("churn")
	b.Plain.CreateTopic(t, topic, 8)
	cfg := config(b.Plain, topic)
	cfg.HeartbeatInterval = 20 * time.Millisecond
	const n, rounds = 30_000, 50
	l := newLedger()
	written := write(t, b.Plain, topic, n)
	members := []*member{start(t, cfg, l.handle), start(t, cfg, l.handle)}
	for range rounds {
		members = append(members, start(t, cfg, l.handle))
		until(t, "the new member has joined", func() bool { return b.Plain.Members(t, cfg.Group) == 3 })
		members[0].stop(t)
		members = members[1:]
	}
	wait(t, written)
	until(t, "everything is read", func() bool { return l.len() == n })
	for _, m := range members {
		m.stop(t)
	}
	l.check(t, n)
	if g := b.Fake.GroupInfo(cfg.Group); g.Epoch < rounds/2 { // joins that come while another is under way share its generation
		t.Errorf("only %d generations", g.Epoch)
	} else {
		t.Logf("%d generations", g.Epoch)
	}
}
