package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tillsyn/aggregate"
	"tillsyn/ingest/ingesttest"
	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
)

func usage(b *testing.B) (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}

// cpu is the processor time of this process, which holds no ClickHouse.
func cpu(b *testing.B) time.Duration {
	u := usage(b)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perCore(b *testing.B, lines int, used time.Duration) {
	b.ReportMetric(float64(lines)/used.Seconds(), "lines/core-s")
	b.ReportMetric(0, "ns/op")
}

func benchConfig() synthetic.Config {
	return synthetic.Config{Seed: 7, People: 9000, From: "2026-10-24", Days: 8, Lines: 4_000_000, Format: "squid_native", Shards: 2}
}

// Parse, resolve, categorise and roll up in memory, tokens included: all but Kafka and ClickHouse.
func BenchmarkFold(b *testing.B) {
	w := newTown(b, benchConfig())
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

const benchTopic = "proxy"

// The whole pipeline, Kafka to ClickHouse. The stand-in for Kafka and the real engine have processes of their own, and other
// processors (on Linux, where there are two): the processor time, and the peak of memory, are those of the ingester alone, on a
// processor that it has for itself. What shares one, or its caches, makes the same work take up to a third longer.
func BenchmarkPipeline(b *testing.B) {
	defer bind(b, 0, runtime.NumCPU())
	bind(b, 1, runtime.NumCPU())
	broker := exec.Command(os.Args[0])
	broker.Env, broker.Stderr = append(os.Environ(), brokerVariable+"=1"), os.Stderr
	in, err := broker.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := broker.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := broker.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); broker.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal("the broker did not start: ", err)
	}
	w := newTown(b, benchConfig())
	w.Municipality = nil // an ingester does not know the truth: what is left are a directory and lists
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, sealed := range []bool{false, true} {
		lines := benchConfig().Lines
		if sealed {
			lines /= 4 // each costs several times as much
		}
		b.Run(fmt.Sprintf("sealed=%v", sealed), func(b *testing.B) {
			measure(b, w, strings.TrimSpace(addr), lines, sealed, func(started bool) {
				if bind(b, 1, runtime.NumCPU()); started {
					bind(b, 0, 1)
				}
			})
			b.ReportMetric(float64(usage(b).Maxrss>>10), "peak-MiB") // Linux counts in KiB, since the process began
		})
	}
}

// The same with the broker, and all its lines, in the process that is measured.
func BenchmarkPipelineOneProcess(b *testing.B) { benchmarkPipeline(b, kafkatest.StartFake(b)) }

func benchmarkPipeline(b *testing.B, broker *kafkatest.Broker) {
	w := newTown(b, benchConfig())
	broker.Plain.CreateTopic(b, benchTopic, int32(w.Config().Shards))
	if err := produce(broker.Plain.Addr, w.Municipality); err != nil {
		b.Fatal(err)
	}
	measure(b, w, broker.Plain.Addr, benchConfig().Lines, false, func(bool) {})
}

// brokerVariable makes a process of this binary the broker of BenchmarkPipeline.
const brokerVariable = "TILLSYN_TEST_BROKER"

// brokerIfAsked serves all lines of benchConfig, and says where, until standard input ends.
func brokerIfAsked() {
	if os.Getenv(brokerVariable) == "" {
		return
	}
	err := func() error {
		w, err := synthetic.New(benchConfig())
		if err != nil {
			return err
		}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(w.Config().Shards), benchTopic))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := produce(c.ListenAddrs()[0], w); err != nil {
			return err
		}
		fmt.Println(c.ListenAddrs()[0])
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// produce writes all lines of w to benchTopic, which exists, a partition for each shard.
func produce(addr string, w *synthetic.Municipality) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed error
	for _, p := range partitions(w) {
		for _, line := range p.lines {
			client.Produce(context.Background(), &kgo.Record{Topic: benchTopic, Partition: p.id, Value: line}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed = err // promises are called one after another, and before Flush returns
				}
			})
		}
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	return failed
}

// measure reads lines of benchTopic again and again, each time into a new database; sealed: raw events too, each time under new
// data keys. It tells place before it starts an engine, and after.
func measure(b *testing.B, w *town, addr string, lines int64, sealed bool, place func(started bool)) {
	started := time.Now()
	var used, elapsed time.Duration
	run, most, total := 0, uint64(0), uint64(0)
	for ; b.Loop(); run++ {
		b.StopTimer()
		place(false)
		e := enginetest.Start(b, enginetest.Config(b, nil))
		place(true)
		db := open(b, e)
		s := store(b, db, func() time.Time { return w.now })
		in := w.ingester(b, s, DefaultConfig().Batch)
		in.dep.Now = func() time.Time { return w.now.Add(time.Since(started)) } // batches are cut by age too
		in.cfg.Sources = []Source{w.source}
		in.cfg.Sources[0].Topic = benchTopic
		if sealed {
			in.dep.Vault = ingesttest.NewRoles(b).Writer(b, in.dep.Now, tenants()...)
		}
		kc := kafka.DefaultConfig()
		kc.Brokers, kc.Cluster, kc.Group, kc.Topics = []string{addr}, "bench", fmt.Sprintf("bench-%v-%d", sealed, run), []kafka.Topic{{Name: benchTopic}}
		consumer, err := kafka.New(kc, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		begin := cpu(b)
		b.StartTimer()
		go func() { ended <- in.Kafka(ctx, consumer) }()
		began := time.Now()
		n := uint64(0)
		for counted := false; n < uint64(lines); {
			if n, err = s.Lines(ctx); err != nil {
				b.Fatal(err)
			}
			if !counted && n >= uint64(lines)*3/4 { // the last batches are not full: they wait for their age
				most, elapsed, counted = most+n, elapsed+time.Since(began), true
			}
			time.Sleep(100 * time.Millisecond)
		}
		b.StopTimer()
		used += cpu(b) - begin
		total += n
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		e.Kill()
		b.StartTimer()
	}
	perCore(b, int(total), used)
	b.ReportMetric(float64(most)/elapsed.Seconds(), "lines/s")
}
