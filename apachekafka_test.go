//go:build apachekafka

package main

import (
	"testing"
	"time"

	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/synthetic"
	"tillsyn/schemas"
)

// Lines through Apache Kafka itself into the embedded ClickHouse, with the broker killed and started again in the middle.
func TestApacheKafkaToStatistics(t *testing.T) {
	broker := kafkatest.StartApache(t)
	w := newTestTown(t, broker.Plain, 8, synthetic.Config{Seed: 4, People: 3000, Days: 4, Lines: 200_000, Format: "squid_native", Shards: 4, Bad: 0.002, Latin1: 0.2})
	w.cfg.Ingest.Batch.Events, w.cfg.Ingest.Batch.MaxAge = 10_000, time.Second
	began := time.Now()
	p := w.start(t, "serve", "serve")
	w.produce(t, 100_000)
	broker.Stop(t)
	stopped := time.Now()
	time.Sleep(time.Second) // of an outage
	broker.Start(t)
	t.Logf("the broker was away for %.1f s", time.Since(stopped).Seconds())
	back := time.Now()
	w.produce(t, 100_000)
	w.awaitAll(t, func() (uint64, error) { return lines(w.database(schemas.RoleIngest)) }, func() {
		if p.over() {
			t.Fatalf("it ended: %v\n%s", p.err, p.log)
		}
	})
	t.Logf("all is in %.1f s after the broker came back, %.1f s in all", time.Since(back).Seconds(), time.Since(began).Seconds())
	p.stop(t)
	db, err := openDatabase(t.Context(), w.cfg, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w.compare(t, db.DB)
	for i, end := range w.ends {
		if got := w.kafka.Committed(t, w.cfg.Kafka.Group, demoTopic, int32(i)); got != end {
			t.Errorf("partition %d: %d is committed, the log ends at %d", i, got, end)
		}
	}
}
