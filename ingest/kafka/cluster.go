package kafka

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

var (
	errNoTopic  = errors.New("topic or partition does not exist")
	errNoLeader = errors.New("partition has no leader")
)

// topicID is Kafka's own identity of a topic; all zero where the broker gives none.
type topicID [16]byte

// String writes the id as Kafka's tools do.
func (id topicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// topicInfo is what the cluster says about a topic; leaders is indexed by partition.
type topicInfo struct {
	id      topicID
	leaders []leader
	err     error // errNoTopic, or why the topic can't be described
}

type leader struct {
	addr  string // empty while there is none
	epoch int32
}

// cluster asks any broker about topics and coordinators. Safe for concurrent use.
type cluster struct {
	dialer *dialer
	seeds  []string

	busy  lock
	conn  *conn
	known []string // brokers learnt from metadata, for the day when no seed answers
}

// lock is a mutex that a context can give up waiting for: a handler that is to end must not wait for others' timeouts.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l lock) free() { <-l }

// use runs f with a connection to some broker, and forgets the connection if f fails.
func (c *cluster) use(ctx context.Context, f func(*conn) error) error {
	if err := c.busy.take(ctx); err != nil {
		return err
	}
	defer c.busy.free()
	if c.conn != nil {
		// The kept connection may have died of old age; only a fresh one's error is worth reporting.
		if err := f(c.conn); err == nil || ctx.Err() != nil {
			return err
		}
		c.conn.Close()
		c.conn = nil
	}
	var errs []error
	tried := make(map[string]bool)
	for _, list := range [][]string{c.seeds, c.known} {
		for _, addr := range list {
			if tried[addr] {
				continue
			}
			tried[addr] = true
			conn, err := c.dialer.dial(ctx, addr)
			if err == nil {
				if err = f(conn); err == nil {
					c.conn = conn
					return nil
				}
				conn.Close()
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			errs = append(errs, fmt.Errorf("broker %s: %w", addr, err))
		}
	}
	return fmt.Errorf("no broker answers: %w", errors.Join(errs...))
}

func (c *cluster) close() {
	c.busy <- struct{}{}
	defer c.busy.free()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// topics describes the named topics. A missing one has err errNoTopic; it is not created.
func (c *cluster) topics(ctx context.Context, names []string) (map[string]topicInfo, error) {
	var out map[string]topicInfo
	err := c.use(ctx, func(conn *conn) (err error) {
		if v := conn.versions[protocol.Metadata]; v.high >= 10 && v.low <= 12 {
			out, err = c.topicsWithIDs(ctx, conn, min(v.high, 12), names)
		} else {
			out, err = c.topicsWithoutIDs(ctx, conn, names)
		}
		return err
	})
	return out, err
}

// topicsWithIDs speaks Metadata 10 to 12, which kafka-go does not: older ones carry no topic ids.
func (c *cluster) topicsWithIDs(ctx context.Context, conn *conn, version int16, names []string) (map[string]topicInfo, error) {
	req := binary.AppendUvarint(nil, uint64(len(names)+1))
	for _, name := range names {
		req = append(req, make([]byte, 16)...)
		req = binary.AppendUvarint(req, uint64(len(name)+1))
		req = append(req, name...)
		req = append(req, 0)
	}
	req = append(req, 0) // never create a topic
	if version == 10 {
		req = append(req, 0) // no list of what we may do with the cluster
	}
	req = append(req, 0, 0)

	defer conn.guard(ctx, callTimeout)()
	if err := conn.send(protocol.Metadata, version, true, req); err != nil {
		return nil, err
	}
	size, err := conn.size()
	if err != nil {
		return nil, err
	}
	if size > maxReply {
		return nil, fmt.Errorf("broker sent %d bytes of metadata", size)
	}
	body, err := conn.body(make([]byte, size))
	if err != nil {
		return nil, err
	}

	r := cursor{b: body}
	r.tags(true)
	r.int32() // throttle time
	brokers := make(map[int32]string)
	var known []string
	for range max(0, r.count(true)) {
		node, host, port := r.int32(), r.string(true), r.int32()
		r.string(true) // rack
		r.tags(true)
		brokers[node] = net.JoinHostPort(host, strconv.Itoa(int(port)))
		known = append(known, brokers[node])
	}
	r.string(true) // cluster id
	r.int32()      // controller
	out := make(map[string]topicInfo, len(names))
	for range max(0, r.count(true)) {
		var info topicInfo
		code, name := r.int16(), r.string(true)
		copy(info.id[:], r.take(16))
		r.int8() // internal
		n := max(0, r.count(true))
		info.leaders = make([]leader, n)
		for range n {
			r.int16() // error: shows as a missing leader
			index, node, epoch := r.int32(), r.int32(), r.int32()
			r.skip(true, 4) // replicas
			r.skip(true, 4) // in sync
			r.skip(true, 4) // offline
			r.tags(true)
			if index < 0 || int(index) >= n {
				return nil, fmt.Errorf("broker names partition %d of %d", index, n)
			}
			info.leaders[index] = leader{brokers[node], epoch}
		}
		r.int32() // what we may do with the topic
		r.tags(true)
		info.err = topicError(code)
		out[name] = info
	}
	if r.bad {
		return nil, errors.New("broker sent malformed metadata")
	}
	c.known = known
	return complete(out, names), nil
}

func (c *cluster) topicsWithoutIDs(ctx context.Context, conn *conn, names []string) (map[string]topicInfo, error) {
	msg, err := conn.call(ctx, callTimeout, &metadata.Request{TopicNames: names})
	if err != nil {
		return nil, err
	}
	res := msg.(*metadata.Response)
	brokers := make(map[int32]string, len(res.Brokers))
	for _, b := range res.Brokers {
		brokers[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	out := make(map[string]topicInfo, len(names))
	for _, t := range res.Topics {
		info := topicInfo{leaders: make([]leader, len(t.Partitions)), err: topicError(t.ErrorCode)}
		for _, p := range t.Partitions {
			if p.PartitionIndex < 0 || int(p.PartitionIndex) >= len(t.Partitions) {
				return nil, fmt.Errorf("broker names partition %d of %d", p.PartitionIndex, len(t.Partitions))
			}
			// Before version 7 there is no epoch; -1 asks the broker not to check it.
			epoch := p.LeaderEpoch
			if conn.versions[protocol.Metadata].high < 7 {
				epoch = -1
			}
			info.leaders[p.PartitionIndex] = leader{brokers[p.LeaderID], epoch}
		}
		out[t.Name] = info
	}
	return complete(out, names), nil
}

func topicError(code int16) error {
	if kafkago.Error(code) == kafkago.UnknownTopicOrPartition {
		return errNoTopic
	}
	return codeError(code)
}

func complete(out map[string]topicInfo, names []string) map[string]topicInfo {
	for _, name := range names {
		if _, ok := out[name]; !ok {
			out[name] = topicInfo{err: errNoTopic}
		}
	}
	return out
}

// coordinator finds the address of the broker that keeps the group.
func (c *cluster) coordinator(ctx context.Context, group string) (string, error) {
	var addr string
	err := c.use(ctx, func(conn *conn) error {
		msg, err := conn.call(ctx, callTimeout, &findcoordinator.Request{Key: group})
		if err != nil {
			return err
		}
		res := msg.(*findcoordinator.Response)
		if err := codeError(res.ErrorCode); err != nil {
			return fmt.Errorf("finding the coordinator of the group: %w", err)
		}
		addr = net.JoinHostPort(res.Host, strconv.Itoa(int(res.Port)))
		return nil
	})
	return addr, err
}

// link is a kept connection to the group's coordinator, which may move. Safe for concurrent use.
type link struct {
	cluster *cluster
	group   string

	busy lock
	conn *conn
}

func newLink(c *cluster, group string) *link { return &link{cluster: c, group: group, busy: newLock()} }

// call sends a request to the coordinator. code answers the error code of a reply: it tells whether the coordinator has
// moved, in which case the next call looks for it again.
func (l *link) call(ctx context.Context, timeout time.Duration, req protocol.Message, code func(protocol.Message) int16) (protocol.Message, error) {
	if err := l.busy.take(ctx); err != nil {
		return nil, err
	}
	defer l.busy.free()
	if l.conn == nil {
		addr, err := l.cluster.coordinator(ctx, l.group)
		if err != nil {
			return nil, err
		}
		if l.conn, err = l.cluster.dialer.dial(ctx, addr); err != nil {
			return nil, fmt.Errorf("coordinator %s: %w", addr, err)
		}
	}
	msg, err := l.conn.call(ctx, timeout, req)
	if err == nil {
		err = codeError(code(msg))
		if err == nil || !moved(err) {
			return msg, err
		}
	}
	l.conn.Close()
	l.conn = nil
	return nil, err
}

func (l *link) close() {
	l.busy <- struct{}{}
	defer l.busy.free()
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

func moved(err error) bool {
	return errors.Is(err, kafkago.NotCoordinatorForGroup) || errors.Is(err, kafkago.GroupCoordinatorNotAvailable)
}
