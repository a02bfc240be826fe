package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"tillsyn/aggregate"
	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
)

// cpu is the processor time of this process, which holds no ClickHouse.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perCore(b *testing.B, lines int, used time.Duration) {
	b.ReportMetric(float64(lines)/used.Seconds(), "lines/core-s")
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(0, "ns/op")
}

func benchTown(b *testing.B, lines int64) *town {
	return newTown(b, synthetic.Config{Seed: 7, People: 9000, From: "2026-10-24", Days: 2, Lines: lines, Format: "squid_native", Shards: 2})
}

// Parse, resolve, categorise and roll up in memory, tokens included: all but Kafka and ClickHouse.
func BenchmarkFold(b *testing.B) {
	w := benchTown(b, 1_000_000)
	lines := w.partitions()[0].lines
	parser, err := w.source.parser(func() time.Time { return w.now })
	if err != nil {
		b.Fatal(err)
	}
	limits := DefaultConfig().Batch
	batch := newEventBatch(w.source, limits, parser, w.resolver, w.lists, seal.NewStatisticsKey(seal.MonthOf(w.now.Add(-MaxAge))))
	start, n, rows, batches := cpu(b), 0, 0, 0
	for b.Loop() {
		batch.Begin(w.now)
		for i, line := range lines {
			batch.Add(Record{Offset: int64(i), Next: int64(i + 1), Value: line})
			if batch.Full() || i == len(lines)-1 {
				blocks, err := batch.Blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: w.now})
				if err != nil {
					b.Fatal(err)
				}
				for _, x := range blocks {
					rows += x.Rows
				}
				batches++
				batch.Begin(w.now)
			}
		}
		n += len(lines)
	}
	perCore(b, n, cpu(b)-start)
	b.ReportMetric(float64(rows)/float64(n)*1000, "rows/1000-lines")
	b.ReportMetric(float64(n)/float64(batches), "lines/batch")
}

// The whole pipeline: a Kafka of the test's own process, whose processor time is in the figure, and the real engine in
// another process, whose is not.
func BenchmarkPipeline(b *testing.B) { benchmarkPipeline(b, kafkatest.StartFake(b)) }

func benchmarkPipeline(b *testing.B, broker *kafkatest.Broker) {
	const lines = 1_000_000
	w := benchTown(b, lines)
	parts := w.partitions()
	started := time.Now()
	var used time.Duration
	run := 0
	for ; b.Loop(); run++ {
		b.StopTimer()
		topic := fmt.Sprintf("proxy-%d", run)
		broker.Plain.CreateTopic(b, topic, int32(len(parts)))
		client := broker.Plain.Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(100_000))
		for _, p := range parts {
			for _, line := range p.lines {
				client.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: p.id, Value: line}, nil)
			}
		}
		if err := client.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		client.Close()
		db := open(b, enginetest.Start(b, enginetest.Config(b, nil)))
		s := store(b, db, func() time.Time { return w.now })
		in := w.ingester(b, s, DefaultConfig().Batch)
		in.dep.Now = func() time.Time { return w.now.Add(time.Since(started)) } // batches are cut by age too
		in.cfg.Sources = []Source{w.source}
		in.cfg.Sources[0].Topic = topic
		kc := kafka.DefaultConfig()
		kc.Brokers, kc.Cluster, kc.Group, kc.Topics = []string{broker.Plain.Addr}, "bench", topic, []kafka.Topic{{Name: topic}}
		consumer, err := kafka.New(kc, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		begin := cpu(b)
		b.StartTimer()
		go func() { ended <- in.Kafka(ctx, consumer) }()
		for n := uint64(0); n < lines; {
			if n, err = s.Lines(ctx); err != nil {
				b.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		b.StopTimer()
		used += cpu(b) - begin
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	perCore(b, run*lines, used)
}
