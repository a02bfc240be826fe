package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// roundRobin is the name of the assignment in the group: the algorithm of Kafka's own RoundRobinAssignor, so that all
// topics together are spread evenly.
const roundRobin = "roundrobin"

type topicPartition struct {
	topic string
	id    int32
}

// membership is what one round of joining gave us.
type membership struct {
	generation int32
	partitions []topicPartition
	// seen is the layout of the topics as the leader of the group saw it; nil for all other members.
	seen map[string]topicInfo
}

// member is this process in the group. Used by one goroutine at a time.
type member struct {
	cfg     Config
	cluster *cluster
	link    *link
	id      string // given by the coordinator; empty before the first join
}

// join takes part in a round of the group until an assignment is there. The classic protocol (JoinGroup, SyncGroup) is
// spoken: https://kafka.apache.org/protocol#The_Messages_JoinGroup
func (m *member) join(ctx context.Context) (membership, error) {
	names := make([]string, len(m.cfg.Topics))
	for i, t := range m.cfg.Topics {
		names[i] = t.Name
	}
	subscription, err := protocol.Marshal(0, consumer.Subscription{Topics: names})
	if err != nil {
		return membership{}, fmt.Errorf("encoding the subscription: %w", err)
	}
	for {
		joined, err := m.joinGroup(ctx, subscription)
		if errors.Is(err, kafkago.MemberIDRequired) || errors.Is(err, errForgotten) {
			continue // the next attempt carries the id that was given, or none
		}
		if err != nil {
			return membership{}, err
		}
		out := membership{generation: joined.GenerationID}
		var assignments []syncgroup.RequestAssignment
		if joined.LeaderID == joined.MemberID {
			if assignments, out.seen, err = m.lead(ctx, joined.Members); err != nil {
				return membership{}, err
			}
		}
		msg, err := m.link.call(ctx, m.cfg.RebalanceTimeout+callTimeout, &syncgroup.Request{
			GroupID: m.cfg.Group, GenerationID: joined.GenerationID, MemberID: m.id, Assignments: assignments,
		}, func(r protocol.Message) int16 { return r.(*syncgroup.Response).ErrorCode })
		switch {
		case errors.Is(err, kafkago.RebalanceInProgress), errors.Is(err, kafkago.IllegalGeneration):
			continue
		case errors.Is(err, kafkago.UnknownMemberId):
			m.id = ""
			continue
		case err != nil:
			return membership{}, fmt.Errorf("taking the assignment: %w", err)
		}
		if raw := msg.(*syncgroup.Response).Assignments; len(raw) > 0 {
			var a consumer.Assignment
			if err := protocol.Unmarshal(raw, 0, &a); err != nil {
				return membership{}, fmt.Errorf("decoding the assignment: %w", err)
			}
			for _, t := range a.AssignedPartitions {
				for _, id := range t.Partitions {
					out.partitions = append(out.partitions, topicPartition{t.Topic, id})
				}
			}
		}
		return out, nil
	}
}

// errForgotten says that the coordinator no longer knew our member id.
var errForgotten = errors.New("coordinator has forgotten this member")

func (m *member) joinGroup(ctx context.Context, subscription []byte) (*joingroup.Response, error) {
	msg, err := m.link.call(ctx, m.cfg.RebalanceTimeout+callTimeout, &joingroup.Request{
		GroupID:            m.cfg.Group,
		SessionTimeoutMS:   int32(m.cfg.SessionTimeout.Milliseconds()),
		RebalanceTimeoutMS: int32(m.cfg.RebalanceTimeout.Milliseconds()),
		MemberID:           m.id,
		ProtocolType:       "consumer",
		Protocols:          []joingroup.RequestProtocol{{Name: roundRobin, Metadata: subscription}},
	}, func(r protocol.Message) int16 { return r.(*joingroup.Response).ErrorCode })
	switch {
	case errors.Is(err, kafkago.MemberIDRequired):
		m.id = msg.(*joingroup.Response).MemberID
		return nil, err
	case errors.Is(err, kafkago.UnknownMemberId) && m.id != "":
		m.id = ""
		return nil, errForgotten
	case errors.Is(err, kafkago.InvalidSessionTimeout):
		return nil, fmt.Errorf("%w: session_timeout is outside the broker's group.min.session.timeout.ms and group.max.session.timeout.ms", ErrNoMember)
	case errors.Is(err, kafkago.InconsistentGroupProtocol):
		return nil, fmt.Errorf("%w: its other members are not consumers of this kind; choose another group", ErrNoMember)
	case errors.Is(err, kafkago.GroupAuthorizationFailed):
		return nil, fmt.Errorf("%w: the user may not read as this group; grant READ on the group", ErrNoMember)
	case err != nil:
		return nil, fmt.Errorf("joining the group: %w", err)
	}
	res := msg.(*joingroup.Response)
	m.id = res.MemberID
	return res, nil
}

// lead assigns all partitions of all subscribed topics that exist.
func (m *member) lead(ctx context.Context, members []joingroup.ResponseMember) ([]syncgroup.RequestAssignment, map[string]topicInfo, error) {
	wants := make(map[string][]string, len(members))
	all := make(map[string]bool)
	for _, other := range members {
		var s consumer.Subscription
		if err := protocol.Unmarshal(other.Metadata, 0, &s); err != nil {
			return nil, nil, fmt.Errorf("decoding the subscription of a member: %w", err)
		}
		wants[other.MemberID] = s.Topics
		for _, t := range s.Topics {
			all[t] = true
		}
	}
	seen, err := m.cluster.topics(ctx, slices.Sorted(maps.Keys(all)))
	if err != nil {
		return nil, nil, fmt.Errorf("describing the topics of the group: %w", err)
	}
	counts := make(map[string]int, len(seen))
	for name, info := range seen {
		counts[name] = len(info.leaders)
	}
	var out []syncgroup.RequestAssignment
	for id, parts := range assign(wants, counts) {
		raw, err := protocol.Marshal(0, consumer.Assignment{AssignedPartitions: parts})
		if err != nil {
			return nil, nil, fmt.Errorf("encoding an assignment: %w", err)
		}
		out = append(out, syncgroup.RequestAssignment{MemberID: id, Assignment: raw})
	}
	return out, seen, nil
}

// assign deals all partitions, in order of topic and number, to the members in order of their ids, passing over members
// that do not want the topic. Every member is a key of the answer.
func assign(wants map[string][]string, counts map[string]int) map[string][]consumer.TopicPartition {
	out := make(map[string][]consumer.TopicPartition, len(wants))
	members := slices.Sorted(maps.Keys(wants))
	for _, m := range members {
		out[m] = nil
	}
	turn := 0
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		if !slices.ContainsFunc(members, func(m string) bool { return slices.Contains(wants[m], topic) }) {
			continue
		}
		for id := range int32(counts[topic]) {
			for !slices.Contains(wants[members[turn%len(members)]], topic) {
				turn++
			}
			m := members[turn%len(members)]
			turn++
			if n := len(out[m]); n > 0 && out[m][n-1].Topic == topic {
				out[m][n-1].Partitions = append(out[m][n-1].Partitions, id)
			} else {
				out[m] = append(out[m], consumer.TopicPartition{Topic: topic, Partitions: []int32{id}})
			}
		}
	}
	return out
}

// changed tells whether topics came, went, were made again or grew since the leader of the group saw them.
func (m *member) changed(ctx context.Context, seen map[string]topicInfo) (bool, error) {
	now, err := m.cluster.topics(ctx, slices.Sorted(maps.Keys(seen)))
	if err != nil {
		return false, err
	}
	for name, was := range seen {
		if is := now[name]; (is.err == nil || errors.Is(is.err, errNoTopic)) && (is.id != was.id || len(is.leaders) != len(was.leaders)) {
			return true, nil
		}
	}
	return false, nil
}

// beat sends one heartbeat: nil, kafkago.RebalanceInProgress (the session still is extended), or why it failed.
func (m *member) beat(ctx context.Context, generation int32) error {
	_, err := m.link.call(ctx, min(callTimeout, m.cfg.SessionTimeout/3), &heartbeat.Request{
		GroupID: m.cfg.Group, GenerationID: generation, MemberID: m.id,
	}, func(r protocol.Message) int16 { return r.(*heartbeat.Response).ErrorCode })
	return err
}

// leave tells the group that this member is gone, so that its partitions move at once.
func (m *member) leave(ctx context.Context) error {
	if m.id == "" {
		return nil
	}
	_, err := m.link.call(ctx, callTimeout, &leavegroup.Request{
		GroupID: m.cfg.Group, MemberID: m.id, Members: []leavegroup.RequestMember{{MemberID: m.id}},
	}, func(r protocol.Message) int16 { return r.(*leavegroup.Response).ErrorCode })
	m.id = ""
	return err
}

// committed fetches the offsets that the group has committed; a partition without one is not in the answer.
func (m *member) committed(ctx context.Context, parts []topicPartition) (map[topicPartition]int64, error) {
	req := &offsetfetch.Request{GroupID: m.cfg.Group, Topics: []offsetfetch.RequestTopic{}}
	sorted := slices.SortedFunc(slices.Values(parts), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
	for _, p := range sorted {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Name != p.topic {
			req.Topics = append(req.Topics, offsetfetch.RequestTopic{Name: p.topic})
		}
		last := &req.Topics[len(req.Topics)-1]
		last.PartitionIndexes = append(last.PartitionIndexes, p.id)
	}
	msg, err := m.link.call(ctx, callTimeout, req, func(r protocol.Message) int16 { return r.(*offsetfetch.Response).ErrorCode })
	if err != nil {
		return nil, err
	}
	out := make(map[topicPartition]int64)
	for _, t := range msg.(*offsetfetch.Response).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.CommittedOffset >= 0 {
				out[topicPartition{t.Name, p.PartitionIndex}] = p.CommittedOffset
			}
		}
	}
	return out, nil
}

// sortPartitions orders by topic and number.
func sortPartitions(p []topicPartition) {
	sort.Slice(p, func(i, j int) bool {
		return cmp.Or(cmp.Compare(p[i].topic, p[j].topic), cmp.Compare(p[i].id, p[j].id)) < 0
	})
}

// watchInterval is how often the leader of the group looks for changes of the topics.
func watchInterval(cfg Config) time.Duration { return max(cfg.HeartbeatInterval, time.Second) }
