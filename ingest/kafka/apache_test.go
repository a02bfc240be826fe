//go:build apachekafka

package kafka_test

import (
	"testing"

	"tillsyn/ingest/kafka/kafkatest"
)

// TestApache runs the suite against Apache Kafka itself: make test-kafka.
func TestApache(t *testing.T) { suite(t, kafkatest.StartApache(t)) }
