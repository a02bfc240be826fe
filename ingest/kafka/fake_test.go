package kafka_test

import (
	"testing"

	"tillsyn/ingest/kafka/kafkatest"
)

func TestFake(t *testing.T) { suite(t, kafkatest.StartFake(t)) }
