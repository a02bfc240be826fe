package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

// tokens makes rows of salted 64-bit tokens, n in each.
func tokens(rows, n int, seed uint64) Arrays {
	r := rand.New(rand.NewPCG(seed, 1))
	a := Arrays{Ends: make([]uint64, 0, rows), Values: make([]uint64, 0, rows*n)}
	for i := range rows {
		for range n {
			a.Values = append(a.Values, r.Uint64())
		}
		a.Ends = append(a.Ends, uint64((i+1)*n))
	}
	return a
}

// BenchmarkAppendArrays compares the ways to fill a column of Array(UInt64): 1 M rows of 3 tokens.
func BenchmarkAppendArrays(b *testing.B) {
	const rows = 1_000_000
	flat := tokens(rows, 3, 1)
	nested := make([][]uint64, rows)
	for i := range nested {
		nested[i] = flat.Values[3*i : 3*i+3]
	}
	make1 := func() column.Interface {
		c, err := column.Type("Array(UInt64)").Column("t", &column.ServerContext{})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	for name, fill := range map[string]func(column.Interface) error{
		"driver/Append": func(c column.Interface) error { _, err := c.Append(nested); return err },
		"driver/AppendRow": func(c column.Interface) error {
			for _, r := range nested {
				if err := c.AppendRow(r); err != nil {
					return err
				}
			}
			return nil
		},
		"nested": func(c column.Interface) error { return newLayout().append(c, nested) },
		"flat":   func(c column.Interface) error { return newLayout().append(c, flat) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := fill(make1()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendLowCardinality compares the driver's way with ours: 1 M rows of 60 words.
func BenchmarkAppendLowCardinality(b *testing.B) {
	words := make([]string, 1_000_000)
	for i := range words {
		words[i] = fmt.Sprint("förvaltning-", i*7919%60)
	}
	for name, fill := range map[string]func(column.Interface) error{
		"driver": func(c column.Interface) error { _, err := c.Append(words); return err },
		"ours":   func(c column.Interface) error { return newLayout().append(c, words) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := column.Type("LowCardinality(String)").Column("t", &column.ServerContext{})
				if err != nil {
					b.Fatal(err)
				}
				if err := fill(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A state is a way to keep a distinct count.
type state struct{ name, argument, of string }

func states() []state {
	return []state{
		{"uniqExact", "UInt64", "tokens"},
		{"uniqCombined64(12)", "UInt64", "tokens"},
		{"uniq", "UInt64", "tokens"},
		{"groupBitmap", "UInt32", "arrayMap(x -> toUInt32(x), tokens)"},
	}
}

// BenchmarkDistinct measures the states that could count people: what a row costs on the way in, on disk, and when many are
// merged into one answer. Salted tokens are random numbers: nothing compresses them.
func BenchmarkDistinct(b *testing.B) {
	for _, shape := range []struct{ rows, tokens int }{{173_000, 8}, {100, 10_000}, {500_000, 3}} {
		in := tokens(shape.rows, shape.tokens, 7)
		n := make([]uint64, shape.rows)
		for i := range n {
			n[i] = uint64(i)
		}
		for _, s := range states() {
			b.Run(fmt.Sprintf("%dx%d/%s", shape.rows, shape.tokens, s.name), func(b *testing.B) {
				db := owner(b)
				fn, parameters := s.name, ""
				if i := len("uniqCombined64"); len(s.name) > i && s.name[:i] == "uniqCombined64" {
					fn, parameters = "uniqCombined64", "(12)"
				}
				exec(b, db, fmt.Sprintf(`CREATE TABLE d (n UInt64, people AggregateFunction(%s, %s) DEFAULT arrayReduce('%sState%s', %s), tokens Array(UInt64) EPHEMERAL)
					ENGINE = AggregatingMergeTree ORDER BY n
					SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 0`, s.name, s.argument, fn, parameters, s.of))
				var insert, merge time.Duration
				runs := 0
				for b.Loop() {
					exec(b, db, "TRUNCATE TABLE d")
					begin := time.Now()
					if err := db.Insert(b.Context(), Insert{Query: "INSERT INTO d (n, tokens)", Columns: []any{n, in}}); err != nil {
						b.Fatal(err)
					}
					insert += time.Since(begin)
					begin = time.Now()
					var count uint64
					if err := db.Query(b.Context(), fmt.Sprintf("SELECT toUInt64(%sMerge%s(people)) FROM d SETTINGS max_threads = 1", fn, parameters), nil, func(r Row) error { return r.Scan(&count) }); err != nil {
						b.Fatal(err)
					}
					merge += time.Since(begin)
					runs++
					b.ReportMetric(100*(float64(count)/float64(len(in.Values))-1), "%error")
				}
				var bytes uint64
				if err := db.Query(b.Context(), "SELECT sum(column_data_compressed_bytes) FROM system.parts_columns WHERE table = 'd' AND active AND column = 'people'", nil, func(r Row) error { return r.Scan(&bytes) }); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(insert.Seconds()*1e3/float64(runs), "insert-ms")
				b.ReportMetric(merge.Seconds()*1e3/float64(runs), "merge-ms")
				b.ReportMetric(float64(bytes)/float64(len(in.Values)), "B/token")
			})
		}
	}
}

// BenchmarkInsert is a block of web_hourly's shape: 1 M rows, two arrays of 3 tokens, four words, a day and an hour.
func BenchmarkInsert(b *testing.B) {
	const rows = 1_000_000
	people, slots := tokens(rows, 3, 1), tokens(rows, 3, 2)
	day, hour, words, sum := make([]uint16, rows), make([]uint32, rows), make([]string, rows), make([]uint64, rows)
	for i := range rows {
		day[i], hour[i], words[i], sum[i] = 20500, uint32(20500*86400+i%24*3600), fmt.Sprint("unit-", i%3000), uint64(i)
	}
	columns := []any{day, hour, sum, words, words, words, words, sum, sum, sum, sum, people, slots}
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			kinds := []string{"Date", "DateTime('UTC')", "UInt64", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)", "LowCardinality(String)",
				"UInt64", "UInt64", "UInt64", "UInt64", "Array(UInt64)", "Array(UInt64)"}
			for i, k := range kinds {
				c, err := column.Type(k).Column("c", &column.ServerContext{})
				if err != nil {
					b.Fatal(err)
				}
				if err := newLayout().append(c, columns[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	// A state takes about half a kilobyte in the server while its part is written: the rows of a block are bounded by that.
	for _, n := range []int{100_000, 200_000, 400_000, rows} {
		b.Run(fmt.Sprintf("server/%d", n), func(b *testing.B) {
			cfg := enginetest.Config(b, nil)
			cfg.MemoryLimit = 4 << 30
			db := open(b, configFor(enginetest.Start(b, cfg), engine.Owner))
			if _, err := db.Migrate(b.Context(), fstest.MapFS{}); err != nil {
				b.Fatal(err)
			}
			exec(b, db, `CREATE TABLE w (day Date, hour DateTime('UTC'), n UInt64, a LowCardinality(String), b LowCardinality(String), c LowCardinality(String), e LowCardinality(String),
				r SimpleAggregateFunction(sum, UInt64), k SimpleAggregateFunction(sum, UInt64), i SimpleAggregateFunction(sum, UInt64), o SimpleAggregateFunction(sum, UInt64),
				people AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', pt), slots AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', st),
				pt Array(UInt64) EPHEMERAL, st Array(UInt64) EPHEMERAL)
				ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY (a, b, c, e, hour, n) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`)
			exec(b, db, "SYSTEM STOP MERGES w")
			cut := []any{day[:n], hour[:n], sum[:n], words[:n], words[:n], words[:n], words[:n], sum[:n], sum[:n], sum[:n], sum[:n],
				Arrays{people.Ends[:n], people.Values[:3*n]}, Arrays{slots.Ends[:n], slots.Values[:3*n]}}
			var peak int64
			for b.Loop() {
				id := fmt.Sprint("peak-", n)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range 400 {
						_ = db.Query(b.Context(), "SELECT peak_memory_usage FROM system.processes WHERE query_id = {id:String}", Params{"id": id}, func(r Row) error {
							var m int64
							err := r.Scan(&m)
							peak = max(peak, m)
							return err
						})
						time.Sleep(5 * time.Millisecond)
					}
				}()
				if err := db.Insert(b.Context(), Insert{Query: "INSERT INTO w (day, hour, n, a, b, c, e, r, k, i, o, pt, st)", QueryID: id, Columns: cut}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				<-done
				b.StartTimer()
			}
			b.ReportMetric(float64(peak)/float64(n), "server-B/row")
		})
	}
}
