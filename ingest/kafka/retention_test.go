package kafka_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
)

// testRetention asks for topics with settings of their own, with the broker's, and for one that is not there.
func testRetention(t *testing.T, b *kafkatest.Broker) {
	own, plain := unique("retention"), unique("retention")
	b.Plain.CreateTopic(t, own, 1, "retention.ms", "86400000", "segment.ms", "3600000", "cleanup.policy", "compact,delete")
	b.Plain.CreateTopic(t, plain, 1)
	got, err := kafka.Retention(t.Context(), config(b.Plain, own, plain))
	if err != nil {
		t.Fatal(err)
	}
	want := []kafka.TopicRetention{
		{Topic: own, RetentionMS: 86400000, SegmentMS: 3600000, CleanupPolicy: "compact,delete"},
		{Topic: plain, RetentionMS: 7 * 86400000, SegmentMS: 7 * 86400000, CleanupPolicy: "delete"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got, err := kafka.Retention(t.Context(), config(b.Plain, own, unique("missing"))); err == nil {
		t.Errorf("a missing topic has %+v", got)
	}
}

func TestRetentionWithoutABroker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cfg := config(kafkatest.Listener{Addr: "127.0.0.1:1"}, "proxy")
	if got, err := kafka.Retention(ctx, cfg); err == nil {
		t.Errorf("nobody said %+v", got)
	}
}
