package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
)

// BenchmarkFetch reads records of 150 bytes over loopback: time and allocations are per record, those of the broker in
// the process included.
func BenchmarkFetch(b *testing.B) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		b.Run(name, func(b *testing.B) {
			broker := kafkatest.StartFake(b, kfake.SeedTopics(1, "bench"),
				kfake.SyntheticFetch(kfake.SyntheticBatch{Records: 6000, RecordBytes: 150, RandomFrac: 0.4, Compression: codec}))
			cfg := config(broker.Plain, "bench")
			c, err := kafka.New(cfg, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(150)
			b.ReportAllocs()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var failed error
			err = c.Run(ctx, func(ctx context.Context, p *kafka.Partition) error {
				defer cancel()
				var chunk kafka.Chunk
				defer chunk.Release()
				next, sum := int64(0), 0
				b.ResetTimer()
				began := cpu(b)
				for next < int64(b.N) {
					if failed = p.Fetch(ctx, next, &chunk); failed != nil {
						return nil
					}
					for i := range chunk.Records {
						sum += len(chunk.Records[i].Value)
					}
					next = chunk.Next
				}
				b.StopTimer()
				b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
				if sum < b.N*150 {
					failed = fmt.Errorf("%d bytes of values in %d records", sum, next)
				}
				return nil
			})
			if err := errors.Join(err, failed); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// cpu answers the processor time of the process so far: on a busy machine that tells more than the time on the wall.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
