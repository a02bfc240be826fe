package ingest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest/category"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
	"tillsyn/schemas"
)

func TestMain(m *testing.M) {
	brokerIfAsked()
	enginetest.Main(m)
}

// town is a synthetic municipality with all that an Ingester needs to know of it.
type town struct {
	*synthetic.Municipality
	resolver *resolve.Resolver
	lists    *category.Lists
	source   Source
	now      time.Time
	key      seal.StatisticsKey
}

func newTown(t testing.TB, cfg synthetic.Config) *town {
	t.Helper()
	m, err := synthetic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, f := range map[string]func(io.Writer) error{"directory.csv": m.WriteDirectory, "country.mmdb": m.WriteCountries} {
		w, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f(w), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	rc := resolve.DefaultConfig()
	rc.Directory, rc.Country, rc.Tenants = filepath.Join(dir, "directory.csv"), filepath.Join(dir, "country.mmdb"), nil
	for _, tenant := range synthetic.Tenants() {
		rc.Tenants = append(rc.Tenants, resolve.Tenant{Name: tenant.Name})
		if len(rc.Tenants) > 1 {
			rc.Tenants[0].Serves = append(rc.Tenants[0].Serves, tenant.Name)
		}
	}
	resolver, err := resolve.New(rc, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Load(); err != nil {
		t.Fatal(err)
	}
	lc := category.DefaultConfig()
	lc.Builtin, lc.Classes = false, map[string]category.Class{}
	if err := m.WriteLists(dir); err != nil {
		t.Fatal(err)
	}
	for name := range m.Lists() {
		lc.Lists = append(lc.Lists, category.ListConfig{Name: name, Source: filepath.Join(dir, name+".txt"), Category: name})
	}
	for name, class := range m.Classes() {
		var c category.Class
		if err := c.UnmarshalText([]byte(class)); err != nil {
			t.Fatal(err)
		}
		lc.Classes[name] = c
	}
	keeper, err := category.New(lc)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	from, err := time.Parse(time.DateOnly, cfg.From)
	if err != nil {
		t.Fatal(err)
	}
	now := from.AddDate(0, 0, cfg.Days+1)
	return &town{m, resolver, keeper.Lists(), Source{Topic: "proxy", Tenant: synthetic.Tenants()[0].Name, Format: cfg.Format, TimeZone: synthetic.TimeZone},
		now, seal.NewStatisticsKey(seal.MonthOf(now.Add(-MaxAge)))}
}

func (w *town) ingester(t testing.TB, sink Sink, batch Limits) *Ingester {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Batch = batch
	in, err := New(cfg, Dependencies{
		Sink: sink, Resolver: w.resolver, Lists: w.lists, Key: w.key,
		Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// An inMemory is a partition whose records are there already.
type inMemory struct {
	id    int32
	lines [][]byte
}

func (p *inMemory) Identity() Identity {
	return Identity{Cluster: "memory", Topic: "proxy", Epoch: "0", Partition: p.id}
}
func (p *inMemory) Bounds(context.Context) (int64, int64, error) {
	return 0, int64(len(p.lines)), nil
}
func (p *inMemory) Commit(context.Context, int64) error { return nil }
func (p *inMemory) Alive(time.Duration) bool            { return true }

func (p *inMemory) Fetch(ctx context.Context, offset int64, c *Chunk) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if offset >= int64(len(p.lines)) {
		return io.EOF
	}
	c.First, c.Records = offset, c.Records[:0]
	for c.Next = offset; c.Next < int64(len(p.lines)) && len(c.Records) < 5000; c.Next++ {
		c.Records = append(c.Records, Record{Offset: c.Next, Next: c.Next + 1, Value: p.lines[c.Next]})
	}
	return nil
}

// partitions deals the town's lines out.
func (w *town) partitions() []*inMemory { return partitions(w.Municipality) }

func partitions(w *synthetic.Municipality) []*inMemory {
	format, _ := synthetic.FormatByName(w.Config().Format)
	zone, _ := time.LoadLocation(synthetic.TimeZone)
	encode := format.New(zone)
	parts := make([]*inMemory, w.Config().Shards)
	for i := range parts {
		parts[i] = &inMemory{id: int32(i)}
	}
	for {
		e, ok := w.NextEvent()
		if !ok {
			return parts
		}
		p := parts[e.Shard]
		p.lines = append(p.lines, synthetic.AppendLine(nil, e, encode))
	}
}

// open answers a migrated database as its owner.
func open(t testing.TB, e *engine.Engine) *clickhouse.DB {
	t.Helper()
	return openNamed(t, e, clickhouse.DefaultConfig().Database)
}

// openNamed answers one of several databases of an engine.
func openNamed(t testing.TB, e *engine.Engine, database string) *clickhouse.DB {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Database = database
	cfg.Addresses = []string{e.Address()}
	user, password := e.Credentials(engine.Owner)
	cfg.Username, cfg.Password = user, clickhouse.Password(password)
	db, err := clickhouse.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(context.Background(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	return db
}

func store(t testing.TB, db *clickhouse.DB, now func() time.Time) *Store {
	t.Helper()
	s, err := NewStore(db, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// All answers equal the truth: every cell of every table, with bad lines among the good.
func TestStatisticsEqualTheTruth(t *testing.T) {
	for _, format := range []string{"squid_native", "squid_combined"} {
		t.Run(format, func(t *testing.T) {
			w := newTown(t, synthetic.Config{Seed: 7, People: 1500, From: "2026-10-24", Days: 3, Lines: 120_000, Format: format, Shards: 3, Bad: 0.002, Latin1: 0.2})
			db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
			in := w.ingester(t, store(t, db, func() time.Time { return w.now }), Limits{Events: 17_000, Grains: 9_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
			parts := w.partitions()
			for _, p := range parts {
				if _, err := in.Once(t.Context(), p, w.source, nil); err != nil {
					t.Fatal(err)
				}
			}
			truth := w.Truth()
			compareTruth(t, db, truth)
			events, rejects, kept := linesIn(t, db)
			if int64(events) != truth.Totals.Events || int64(events+rejects) != truth.Totals.Lines || rejects != kept {
				t.Errorf("%d events, %d rejects in the ledger, %d in their table; the truth is %d events of %d lines", events, rejects, kept,
					truth.Totals.Events, truth.Totals.Lines)
			}
			// The same again counts nothing.
			for _, p := range parts {
				if total, err := in.Once(t.Context(), p, w.source, nil); err != nil || total.Records != 0 {
					t.Fatal("read again:", total, err)
				}
			}
		})
	}
}
