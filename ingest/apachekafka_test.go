//go:build apachekafka

package ingest

import (
	"testing"

	"tillsyn/ingest/kafka/kafkatest"
)

// The whole pipeline with Kafka and ClickHouse both outside of the process: the processor time is that of ingest alone.
func BenchmarkPipelineApache(b *testing.B) { benchmarkPipeline(b, kafkatest.StartApache(b)) }
