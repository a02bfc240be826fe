package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

// TopicRetention is how long a topic keeps a record: retention.ms, and before that the segment.ms after which a segment is
// closed, because a segment is deleted as a whole (https://kafka.apache.org/documentation/#topicconfigs).
type TopicRetention struct {
	Topic         string
	RetentionMS   int64 // milliseconds; -1: for ever
	SegmentMS     int64
	CleanupPolicy string // delete, compact or both
}

// Retention asks the brokers how long the topics of cfg keep records. The user needs DescribeConfigs on them.
func Retention(ctx context.Context, cfg Config) ([]TopicRetention, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	tls, err := cfg.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	c := &cluster{dialer: &dialer{clientID: cfg.ClientID, tls: tls, sasl: cfg.SASL}, seeds: cfg.Brokers, busy: newLock()}
	defer c.close()
	request := &describeconfigs.Request{}
	names := []string{"retention.ms", "segment.ms", "cleanup.policy"}
	for _, t := range cfg.Topics {
		request.Resources = append(request.Resources, describeconfigs.RequestResource{ResourceType: resourceTopic, ResourceName: t.Name, ConfigNames: names})
	}
	var list []TopicRetention
	err = c.use(ctx, func(conn *conn) error {
		message, err := conn.call(ctx, callTimeout, request)
		if err != nil {
			return err
		}
		list = nil
		answers := map[string]describeconfigs.ResponseResource{}
		for _, r := range message.(*describeconfigs.Response).Resources {
			answers[r.ResourceName] = r
		}
		var faults []error
		for _, t := range cfg.Topics {
			r, ok := answers[t.Name]
			if !ok {
				faults = append(faults, fmt.Errorf("topic %s: the broker did not say", t.Name))
				continue
			}
			one, err := topicRetention(r)
			if err != nil {
				faults = append(faults, fmt.Errorf("topic %s: %w", t.Name, err))
			}
			list = append(list, one)
		}
		return errors.Join(faults...)
	})
	if err != nil {
		return nil, fmt.Errorf("kafka: ask how long topics keep records: %w", err)
	}
	return list, nil
}

const resourceTopic = 2 // of DescribeConfigs

func topicRetention(r describeconfigs.ResponseResource) (TopicRetention, error) {
	t := TopicRetention{Topic: r.ResourceName}
	if r.ErrorCode != 0 {
		if kafkago.Error(r.ErrorCode) == kafkago.UnknownTopicOrPartition {
			return t, errNoTopic
		}
		return t, codeError(r.ErrorCode)
	}
	values := map[string]string{}
	for _, e := range r.ConfigEntries {
		values[e.ConfigName] = e.ConfigValue
	}
	var err1, err2 error
	t.RetentionMS, err1 = strconv.ParseInt(values["retention.ms"], 10, 64)
	t.SegmentMS, err2 = strconv.ParseInt(values["segment.ms"], 10, 64)
	t.CleanupPolicy = values["cleanup.policy"]
	if err1 != nil || err2 != nil || t.CleanupPolicy == "" {
		return t, errors.New("the broker did not say retention.ms, segment.ms and cleanup.policy")
	}
	return t, nil
}
