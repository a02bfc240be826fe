package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"tillsyn/internal/engine"
	"tillsyn/schemas"
)

// slow runs a query that takes ten seconds under the given id.
func (db *DB) slow(ctx context.Context, id string) error {
	rows, err := db.packed.Query(driver.Context(ctx, driver.WithQueryID(id)), "SELECT sleepEachRow(0.1) FROM numbers(100) SETTINGS max_block_size = 1")
	if err != nil {
		return explain(err, false)
	}
	for rows.Next() {
	}
	return explain(errors.Join(rows.Err(), rows.Close()), false)
}

const createKinds = `CREATE TABLE kinds
(
	u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i8 Int8, i16 Int16, i32 Int32, i64 Int64, f Float64, b Bool,
	s String, bytes String, low LowCardinality(String), low_bytes LowCardinality(String),
	day Date, day16 Date, at DateTime('UTC'), at32 DateTime('UTC'), plain DateTime,
	sum SimpleAggregateFunction(sum, UInt64), latest SimpleAggregateFunction(max, DateTime('UTC')), any SimpleAggregateFunction(any, LowCardinality(String)),
	people AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', tokens), tokens Array(UInt64) EPHEMERAL,
	flat Array(UInt64)
)
ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY u64
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, allow_dimensions_outside_sorting_key = 1`

const insertKinds = `-- every kind of column; a comment first
INSERT INTO kinds (u8, u16, u32, u64, i8, i16, i32, i64, f, b, s, bytes, low, low_bytes, day, day16, at, at32, plain, sum, latest, any, tokens, flat) VALUES;
`

// kinds makes n rows of one day.
func kinds(n int) []any {
	stockholm := time.FixedZone("CET", 3600)
	var (
		u8    = make([]uint8, n)
		u16   = make([]uint16, n)
		u32   = make([]uint32, n)
		u64   = make([]uint64, n)
		i8    = make([]int8, n)
		i16   = make([]int16, n)
		i32   = make([]int32, n)
		i64   = make([]int64, n)
		f     = make([]float64, n)
		b     = make([]bool, n)
		s     = make([]string, n)
		bytes = make([][]byte, n)
		low   = make([]string, n)
		lowB  = make([][]byte, n)
		day   = make([]time.Time, n)
		day16 = make([]uint16, n)
		at    = make([]time.Time, n)
		at32  = make([]uint32, n)
		words = make([]string, n)
		rows  = make([][]uint64, n)
		flat  Arrays
	)
	for i := range n {
		u8[i], u16[i], u32[i], u64[i] = uint8(i), uint16(i), uint32(i)<<8, uint64(i)
		i8[i], i16[i], i32[i], i64[i] = int8(i), -int16(i), -int32(i), -int64(i)
		f[i], b[i] = float64(i)/2, i%2 == 1
		s[i], bytes[i] = fmt.Sprintf("s%d\x00é", i), []byte{byte(i), 0, 0xff}
		low[i], lowB[i], words[i] = []string{"", "vård", "skola"}[i%3], []byte{'l', byte('0' + i%7)}, fmt.Sprint("w", i%300)
		day[i] = time.Date(2026, 3, 1, 0, 30, 0, 0, stockholm) // the day before in UTC
		day16[i] = uint16(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400)
		at[i] = time.Date(2026, 3, 1, 0, 0, i, 999, stockholm)
		at32[i] = uint32(at[i].Unix())
		for k := range i % 4 {
			rows[i] = append(rows[i], uint64(k)<<60|uint64(i))
		}
		flat.Append(rows[i]...)
	}
	return []any{u8, u16, u32, u64, i8, i16, i32, i64, f, b, s, bytes, low, lowB, day, day16, at, at32, at, u64, at32, words, rows, flat}
}

func TestInsertEveryKind(t *testing.T) {
	db := owner(t)
	exec(t, db, createKinds)
	const n = 1000
	for _, plain := range []bool{false, true} {
		exec(t, db, "TRUNCATE TABLE kinds")
		if err := db.Insert(t.Context(), Insert{Query: insertKinds, QueryID: fmt.Sprint("kinds-", plain), Columns: kinds(n), Plain: plain}); err != nil {
			t.Fatal(err)
		}
		for sql, want := range map[string]string{
			"SELECT toString(count()) FROM kinds": "1000",
			"SELECT toString(count()) FROM kinds WHERE u8 = u64 % 256 AND u16 = u64 AND u32 = u64 * 256 AND sum = u64 AND f = u64 / 2 AND b = (u64 % 2 = 1)":                               "1000",
			"SELECT toString(count()) FROM kinds WHERE i8 = reinterpretAsInt8(u8) AND i16 = -toInt32(u64) AND i32 = -toInt32(u64) AND i64 = -toInt64(u64)":                                 "1000",
			"SELECT toString(count()) FROM kinds WHERE s = concat('s', toString(u64), '\\0é') AND bytes = concat(char(u64 % 256), '\\0', unhex('FF'))":                                     "1000",
			"SELECT toString(count()) FROM kinds WHERE low = ['', 'vård', 'skola'][u64 % 3 + 1] AND low_bytes = concat('l', toString(u64 % 7)) AND any = concat('w', toString(u64 % 300))": "1000",
			"SELECT toString(count()) FROM kinds WHERE day = '2026-03-01' AND day16 = day":                                                                                                 "1000",
			"SELECT toString(count()) FROM kinds WHERE at = toDateTime('2026-02-28 23:00:00', 'UTC') + u64 AND at32 = at AND plain = at AND latest = at":                                   "1000",
			"SELECT toString(count()) FROM kinds WHERE length(flat) = u64 % 4 AND arrayAll((x, k) -> x = bitOr(bitShiftLeft(toUInt64(k - 1), 60), u64), flat, arrayEnumerate(flat))":       "1000",
			"SELECT toString(countIf(p = u64 % 4)) FROM (SELECT u64, uniqExactMerge(people) AS p FROM kinds GROUP BY u64)":                                                                 "1000",
			"SELECT toString(count()) FROM system.parts WHERE database = 'tillsyn' AND table = 'kinds' AND active":                                                                         "1",
		} {
			if got := text(t, db, sql); got != want {
				t.Errorf("plain %v, %s: %s, want %s", plain, sql, got, want)
			}
		}
	}
}

func TestInsertIsOnePartOrRefused(t *testing.T) {
	db := owner(t)
	exec(t, db, "CREATE TABLE p (day Date, n UInt64, s String) ENGINE = MergeTree PARTITION BY day ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	const query = "INSERT INTO p (day, n, s)"
	rows := func(n int, s string) []any {
		text := make([]string, n)
		for i := range text {
			text[i] = s
		}
		return []any{make([]uint16, n), make([]uint64, n), text}
	}
	two := rows(10, "x")
	two[0].([]uint16)[9] = 1
	ends := Arrays{Ends: []uint64{2, 1}, Values: []uint64{1}}
	for name, tc := range map[string]struct {
		columns []any
		want    string
	}{
		"too many rows":        {rows(MaxInsertRows+1, ""), "1048450 rows"},
		"too many bytes":       {rows(300, strings.Repeat("x", 1<<20)), "bytes are more"},
		"unequal columns":      {[]any{make([]uint16, 2), make([]uint64, 3), make([]string, 2)}, "column 2 has 3 rows"},
		"a column too few":     {rows(2, "")[:2], "3 columns, 2 were given"},
		"no columns":           {nil, "no columns"},
		"no slice":             {[]any{1}, "int is no column"},
		"wrong kind":           {[]any{[]string{"anna"}, []uint64{1}, []string{""}}, "column day Date"},
		"two table-partitions": {two, "table-partition"},
		"a day before 1970":    {[]any{[]time.Time{time.Unix(-90000, 0)}, []uint64{1}, []string{""}}, "1970"},
		"arrays that go back":  {[]any{ends, []uint64{1, 2}, []string{"", ""}}, "before it begins"},
		"arrays for a number":  {[]any{make([]uint16, 1), [][]uint64{{1}}, []string{""}}, "column n UInt64"},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Insert(t.Context(), Insert{Query: query, Columns: tc.columns})
			if !errors.Is(err, ErrNotInserted) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "anna") {
				t.Errorf("got %v, want ErrNotInserted with %q", err, tc.want)
			}
		})
	}
	for name, query := range map[string]string{"no table": "INSERT INTO nowhere (n)", "two statements": query + "; SELECT 1", "no insert": "SELECT 1", "no end": "INSERT INTO p ('"} {
		if err := db.Insert(t.Context(), Insert{Query: query, Columns: rows(1, "")}); !errors.Is(err, ErrNotInserted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := text(t, db, "SELECT toString(count()) FROM p"); got != "0" {
		t.Fatalf("a refused insert left %s rows", got)
	}
	if err := db.Insert(t.Context(), Insert{Query: query, Columns: rows(0, "")}); err != nil {
		t.Errorf("an empty block: %v", err)
	}
	// The largest block by rows and the largest by bytes are still one part each.
	if err := db.Insert(t.Context(), Insert{Query: query, Columns: rows(MaxInsertRows, "x"), Timeout: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got := text(t, db, "SELECT toString(count()) || ' ' || toString(sum(rows)) FROM system.parts WHERE table = 'p' AND active"); got != "1 1048449" {
		t.Errorf("the largest block by rows: %s", got)
	}
	exec(t, db, "TRUNCATE TABLE p")
	if err := db.Insert(t.Context(), Insert{Query: query, Columns: rows(255, strings.Repeat("x", 1<<20)), Plain: true, Timeout: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got := text(t, db, "SELECT toString(count()) || ' ' || toString(sum(rows)) FROM system.parts WHERE table = 'p' AND active"); got != "1 255" {
		t.Errorf("the largest block by bytes: %s", got)
	}
	// The same block twice is two blocks: deduplication is off, the watermark decides.
	exec(t, db, "TRUNCATE TABLE p")
	for range 2 {
		if err := db.Insert(t.Context(), Insert{Query: query, Columns: rows(10, "x")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := text(t, db, "SELECT toString(count()) FROM p"); got != "20" {
		t.Errorf("%s rows of 20", got)
	}
}

// Readers that hit their memory limit again and again take nothing from writers, and every row is there once.
func TestInsertsAndQueriesAtOnce(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE c (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	cfg := configFor(e, engine.Owner)
	cfg.QueryMemory = 16 << 20
	small := open(t, cfg)
	var wg sync.WaitGroup
	const writers, blocks, rows = 4, 15, 1000
	for w := range writers {
		wg.Go(func() {
			for b := range blocks {
				n := make([]uint64, rows)
				for i := range n {
					n[i] = uint64((w*blocks+b)*rows + i)
				}
				if err := db.Insert(t.Context(), Insert{Query: "INSERT INTO c (n)", Columns: []any{n}, Plain: b%2 == 0}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				err := small.Query(t.Context(), "SELECT count() FROM (SELECT number FROM numbers(3000000) GROUP BY number)", nil, func(Row) error { return nil })
				if Code(err) != 241 {
					t.Errorf("a query over its limit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := text(t, db, "SELECT toString(count()) || ' ' || toString(uniqExact(n)) FROM c"); got != fmt.Sprint(writers*blocks*rows, " ", writers*blocks*rows) {
		t.Errorf("rows and distinct rows: %s", got)
	}
}

func TestInsertWithTheGrantsOfIngest(t *testing.T) {
	e := start(t)
	if _, err := open(t, configFor(e, engine.Owner)).Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	db := open(t, configFor(e, "tillsyn_ingest"))
	if err := db.Check(t.Context(), schemas.Migrations()); err != nil {
		t.Errorf("ingest can't check the schema: %v", err)
	}
	for _, name := range schemas.Queries() {
		if !strings.HasPrefix(name, "ingest/") {
			continue
		}
		query, err := schemas.Query(name)
		if err != nil {
			t.Fatal(err)
		}
		params := Params{}
		for _, p := range []string{"mark", "first", "next"} {
			if strings.Contains(query, "{"+p+":") {
				params[p] = 1
			}
		}
		if strings.HasPrefix(name, "ingest/insert_") {
			// An insert with no column fails before it writes, and after the server has checked grants and names.
			err = db.Insert(t.Context(), Insert{Query: query, Columns: []any{[]uint8{1}}})
			if !errors.Is(err, ErrNotInserted) || !strings.Contains(err.Error(), "columns, 1 were given") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err := db.Query(t.Context(), query, params, func(Row) error { return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, sql := range []string{"SELECT requests FROM web_hourly", "SELECT people FROM web_hourly", "SELECT shape FROM rejects", "SELECT * FROM web_domains_daily", "ALTER TABLE web_hourly DROP PARTITION '2026-01-01'", "DROP TABLE web_hourly"} {
		if err := db.Exec(t.Context(), sql, nil); Code(err) != 497 {
			t.Errorf("ingest may %s: %v", sql, err)
		}
	}
}

// A proxy stands between client and server and breaks the line when told to.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	limit int  // bytes from the client until the line breaks; 0: never; below 0: until answers are lost
	mute  bool // the server's answers are lost
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				client.Close()
				continue
			}
			go p.pump(server, client, true)
			go p.pump(client, server, false)
		}
	}()
	return p
}

func (p *proxy) set(limit int, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.mute = limit, mute
}

func (p *proxy) pump(to, from net.Conn, fromClient bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		broken := false
		switch {
		case fromClient && p.limit > 0:
			if p.limit -= n; p.limit <= 0 {
				p.limit, broken = 0, true
			}
		case fromClient && p.limit < 0:
			if p.limit += n; p.limit >= 0 {
				p.limit, p.mute = 0, true
			}
		}
		mute := p.mute && !fromClient
		p.mu.Unlock()
		if broken || err != nil {
			return
		}
		if mute {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Wherever the line breaks, ErrNotInserted is never said of rows that are there.
func TestInsertOverABrokenLine(t *testing.T) {
	e := start(t)
	direct := open(t, configFor(e, engine.Owner))
	if _, err := direct.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	exec(t, direct, "CREATE TABLE l (run UInt32, n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	p := newProxy(t, e.Address())
	cfg := configFor(e, engine.Owner)
	cfg.Addresses, cfg.DialTimeout, cfg.InsertTimeout = []string{p.Addr().String()}, 2*time.Second, 2*time.Second
	const rows = 5000
	n := make([]uint64, rows)
	for i := range n {
		n[i] = uint64(i) * 0x9e3779b97f4a7c15
	}
	outcome := map[string]int{}
	for run := range 42 {
		db := open(t, cfg)
		in := Insert{Query: "INSERT INTO l (run, n)", QueryID: fmt.Sprint("line-", run), Columns: []any{slices.Repeat([]uint32{uint32(run)}, rows), n}, Plain: true}
		switch {
		case run < 5: // whole
		case run < 40: // the line breaks after so many bytes: in the handshake, the query, the block (60 kB), its end
			p.set([]int{1, 20, 60, 100, 150, 200, 250, 300, 350, 400, 500}[min(run-5, 10)]+max(0, run-15)*2500, false)
		default: // the block arrives, the answer does not
			first := in
			first.Columns = []any{[]uint32{1000}, []uint64{1}}
			if err := db.Insert(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			p.set(-50_000, false)
		}
		err := db.Insert(t.Context(), in)
		p.set(0, false)
		if err := direct.Kill(t.Context(), in.QueryID); err != nil {
			t.Fatal(err)
		}
		got := text(t, direct, fmt.Sprint("SELECT toString(count()) FROM l WHERE run = ", run))
		switch {
		case err == nil && got == fmt.Sprint(rows):
			outcome["inserted"]++
		case errors.Is(err, ErrNotInserted) && got == "0":
			outcome["not inserted"]++
		case errors.Is(err, ErrUnknownOutcome) && (got == "0" || got == fmt.Sprint(rows)):
			outcome["unknown, "+got+" rows"]++
		default:
			t.Errorf("run %d: %s rows and %v", run, got, err)
		}
		_ = db.Close()
	}
	t.Log(outcome)
	if outcome["inserted"] == 0 || outcome["not inserted"] == 0 || outcome["unknown, 0 rows"] == 0 || outcome["unknown, 5000 rows"] == 0 {
		t.Errorf("the test did not reach every outcome: %v", outcome)
	}
}

// A caller whose context ends as soon as an insert has succeeded must not cost the next user of the connection anything.
func TestContextThatEndsAfterAnInsert(t *testing.T) {
	db := owner(t)
	ctx := context.Background()
	if err := db.Exec(ctx, "CREATE TABLE ended (x UInt64) ENGINE = MergeTree ORDER BY x", nil); err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		once, cancel := context.WithCancel(ctx)
		err := db.Insert(once, Insert{Query: "INSERT INTO ended (x)", Columns: []any{[]uint64{uint64(i)}}})
		cancel()
		if err != nil {
			t.Fatalf("insert %d: %v", i, err)
		}
	}
}
