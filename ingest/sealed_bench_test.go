package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tillsyn/aggregate"
	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/synthetic"
)

// What a sealed event weighs on disk, keys included, after merges: a working day of a municipality that nobody has thinned out, in
// batches of ten seconds as the live pipeline cuts them, and as an import.
func BenchmarkVaultBytes(b *testing.B) {
	for _, format := range []string{"squid_native", "squid_combined"} {
		for name, window := range map[string]time.Duration{"live-10s": 10 * time.Second, "live-60s": time.Minute, "live-5m": 5 * time.Minute, "import": 24 * time.Hour} {
			b.Run(format+"/"+name, func(b *testing.B) {
				w := newTown(b, synthetic.Config{Seed: 7, People: 500, From: "2026-10-27", Days: 1, Format: format, Shards: 1})
				lines := w.partitions()[0].lines
				db := open(b, enginetest.Start(b, enginetest.Config(b, nil)))
				s := store(b, db, func() time.Time { return w.now })
				parser, err := w.source.parser(func() time.Time { return w.now })
				if err != nil {
					b.Fatal(err)
				}
				roles := ingesttest.NewRoles(b)
				var sealed uint64
				for b.Loop() {
					batch := newEventBatch(w.source, DefaultConfig().Batch, parser, w.resolver, w.lists, w.key)
					batch.capsules = newCapsules(roles.Writer(b, func() time.Time { return w.now }, tenants()...))
					gathered := map[string]*aggregate.Block{}
					first := int64(0)
					cut := func() {
						blocks, err := batch.capsules.blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: w.now})
						if err != nil {
							b.Fatal(err)
						}
						sealed += batch.capsules.Sealed()
						for _, x := range blocks {
							batch.Inserted(x)
							id := fmt.Sprint(x.Table, x.Day)
							have, ok := gathered[id]
							if !ok {
								gathered[id] = &x
								continue
							}
							have.Rows += x.Rows
							for i := range have.Columns {
								have.Columns[i] = joined(have.Columns[i], x.Columns[i])
							}
						}
					}
					batch.Begin(w.now)
					for i, line := range lines {
						batch.Add(Record{Offset: int64(i), Next: int64(i + 1), Value: line})
						if first == 0 {
							first = batch.newest
						}
						if batch.newest-first >= window.Milliseconds() || batch.Full() || i == len(lines)-1 {
							cut()
							batch.Begin(w.now)
							first = 0
						}
					}
					for _, x := range gathered {
						if err := s.Insert(b.Context(), Identity{Topic: "bytes"}, 0, 1, *x); err != nil {
							b.Fatal(err)
						}
					}
					capsules, rows := onDisk(b, db, "web_capsules")
					keys, keyRows := onDisk(b, db, "web_keys")
					if err := db.Query(b.Context(), `SELECT column, sum(column_data_compressed_bytes) FROM system.parts_columns
						WHERE active AND database = currentDatabase() AND table = 'web_capsules' GROUP BY column`, nil, func(r clickhouse.Row) error {
						var column string
						var size uint64
						err := r.Scan(&column, &size)
						b.Logf("%s: %d bytes", column, size)
						return err
					}); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(capsules+keys)/float64(sealed), "B/event")
					b.ReportMetric(float64(keys)/float64(sealed), "B/event-of-keys")
					b.ReportMetric(float64(sealed)/float64(rows), "events/capsule")
					b.ReportMetric(float64(sealed)/float64(keyRows), "events/key")
					b.ReportMetric(float64(sealed), "events")
				}
			})
		}
	}
}

func joined(a, b any) any {
	switch a := a.(type) {
	case []uint16:
		return append(a, b.([]uint16)...)
	case []uint32:
		return append(a, b.([]uint32)...)
	case []uint64:
		return append(a, b.([]uint64)...)
	case []string:
		return append(a, b.([]string)...)
	case [][]byte:
		return append(a, b.([][]byte)...)
	}
	panic(fmt.Sprintf("a %T", a))
}

func onDisk(b *testing.B, db *clickhouse.DB, table string) (bytes, rows uint64) {
	b.Helper()
	if err := db.Exec(b.Context(), "OPTIMIZE TABLE "+table+" FINAL", nil); err != nil {
		b.Fatal(err)
	}
	sql := strings.ReplaceAll("SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = '?'", "?", table)
	if err := db.Query(b.Context(), sql, nil, func(r clickhouse.Row) error { return r.Scan(&bytes, &rows) }); err != nil {
		b.Fatal(err)
	}
	return bytes, rows
}

// Sealing against not sealing, in one run: parse, resolve, roll up, and blocks, without ClickHouse.
func BenchmarkFoldSealed(b *testing.B) {
	w := newTown(b, synthetic.Config{Seed: 7, People: 500, From: "2026-10-27", Days: 1, Format: "squid_native", Shards: 1})
	lines := w.partitions()[0].lines
	roles := ingesttest.NewRoles(b)
	for _, name := range []string{"without", "sealed"} {
		b.Run(name, func(b *testing.B) {
			parser, err := w.source.parser(func() time.Time { return w.now })
			if err != nil {
				b.Fatal(err)
			}
			batch := newEventBatch(w.source, DefaultConfig().Batch, parser, w.resolver, w.lists, w.key)
			if name == "sealed" {
				batch.capsules = newCapsules(roles.Writer(b, func() time.Time { return w.now }, tenants()...))
			}
			fold := func() (n int) {
				batch.Begin(w.now)
				for i, line := range lines {
					batch.Add(Record{Offset: int64(i), Next: int64(i + 1), Value: line})
					if batch.Full() || i == len(lines)-1 {
						blocks, err := batch.Blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: w.now})
						if err != nil {
							b.Fatal(err)
						}
						for _, x := range blocks {
							batch.Inserted(x)
						}
						batch.Begin(w.now)
					}
				}
				return len(lines)
			}
			fold() // the keys of the day are drawn
			start, n := cpu(b), 0
			b.ReportAllocs()
			for b.Loop() {
				n += fold()
			}
			used := cpu(b) - start
			perCore(b, n, used)
			b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/line")
		})
	}
}
