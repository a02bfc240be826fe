package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"tillsyn/aggregate"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// Store is the Sink that tillsyn runs on: ClickHouse.
type Store struct {
	db  *clickhouse.DB
	now func() time.Time
	sql map[string]string
	run string        // differs between processes
	seq atomic.Uint64 // differs between inserts
}

// NewStore reads the queries that it will run.
func NewStore(db *clickhouse.DB, now func() time.Time) (*Store, error) {
	s := &Store{db: db, now: now, sql: map[string]string{}, run: rand.Text()}
	for _, name := range []string{
		"insert_web_hourly", "insert_web_domains_daily", "insert_web_countries_daily", "insert_mail_hourly", "insert_mail_domains_daily", "insert_web_keys",
		"insert_mail_keys", "insert_web_capsules", "insert_mail_capsules", "insert_rejects", "insert_ledger",
		"insert_sources", "insert_gaps", "insert_statistics_keys", "statistics_keys", "ledger_next", "watermarks", "gaps", "source_known", "files", "ledger_last", "ledger_lines", "gaps_all",
	} {
		text, err := schemas.Query("ingest/" + name)
		if err != nil {
			return nil, err
		}
		s.sql[name] = text
	}
	return s, nil
}

// UseKey notes that people are counted with key from the month of now on, and fails if any month that key reaches was counted
// with another one: the same people would have other tokens, and count twice.
func (s *Store) UseKey(ctx context.Context, key seal.StatisticsKey) error {
	current := seal.MonthOf(s.now().UTC())
	noted := false
	err := s.db.Query(ctx, s.sql["statistics_keys"], nil, func(r clickhouse.Row) error {
		var day time.Time
		var check string
		if err := r.Scan(&day, &check); err != nil {
			return err
		}
		month := seal.MonthOf(day)
		if month < key.Oldest() {
			return nil // forgotten since
		}
		own, err := key.Check(month)
		if err != nil {
			return err
		}
		if own != check {
			return fmt.Errorf("people of %s were counted with another statistics key: give every ingester the same key file, and restore it if it was lost", month)
		}
		noted = noted || month == current
		return nil
	})
	if err != nil || noted {
		return err
	}
	check, err := key.Check(current)
	if err != nil {
		return err
	}
	first, err := time.Parse("2006-01", current.String())
	if err != nil {
		return err
	}
	if err := s.db.Insert(ctx, clickhouse.Insert{Query: s.sql["insert_statistics_keys"],
		Columns: []any{[]time.Time{first}, []string{check}, []time.Time{s.now().UTC()}}}); err != nil {
		return fmt.Errorf("note the statistics key: %w", err)
	}
	return nil
}

// queryPrefix begins the id of every insert of a source partition, so that its next owner can end them.
func queryPrefix(id Identity) string { return fmt.Sprintf("tillsyn-%016x-", id.Mark()) }

// queryID is unique: a server may hold the id of an insert for a moment after its client is gone.
func (s *Store) queryID(id Identity, what string, first, next int64) string {
	return fmt.Sprintf("%s%s-%d-%d-%s-%d", queryPrefix(id), what, first, next, s.run, s.seq.Add(1))
}

// Recover implements Sink.
func (s *Store) Recover(ctx context.Context, id Identity) (Recovered, error) {
	var rec Recovered
	if err := s.db.Kill(ctx, queryPrefix(id)); err != nil {
		return rec, err
	}
	mark := id.Mark()
	known, topicID := false, ""
	if err := s.db.Query(ctx, s.sql["source_known"], clickhouse.Params{"mark": mark}, func(r clickhouse.Row) error {
		known = true
		return r.Scan(&topicID)
	}); err != nil {
		return rec, err
	}
	if topicID != "" && id.TopicID != "" && topicID != id.TopicID {
		return rec, fmt.Errorf("the topic has another id than when it was first read: %w: give it a new epoch", ErrRecreated)
	}
	if !known {
		if err := s.db.Insert(ctx, clickhouse.Insert{
			Query: s.sql["insert_sources"], QueryID: s.queryID(id, "sources", 0, 0),
			Columns: []any{[]uint64{mark}, []string{id.Cluster}, []string{id.Topic}, []string{id.Epoch}, []int32{id.Partition}, []string{id.TopicID}, []time.Time{s.now().UTC()}},
		}); err != nil {
			return rec, err
		}
	}
	if err := s.db.Query(ctx, s.sql["ledger_next"], clickhouse.Params{"mark": mark}, func(r clickhouse.Row) error {
		var next uint64
		if err := r.Scan(&next); err != nil {
			return err
		}
		rec.Known, rec.Next = true, int64(next)
		return nil
	}); err != nil {
		return rec, err
	}
	rec.Done = map[BlockID]bool{}
	if err := s.db.Query(ctx, s.sql["watermarks"], clickhouse.Params{"mark": mark, "next": uint64(rec.Next)}, func(r clickhouse.Row) error {
		var (
			table        string
			day, begunAt time.Time
			next         uint64
		)
		if err := r.Scan(&table, &day, &next, &begunAt); err != nil {
			return err
		}
		if rec.Cut != 0 && rec.Cut != int64(next) {
			return fmt.Errorf("two interrupted batches, to %d and to %d: another ingester writes the same partition, or a table was altered by hand", rec.Cut, next)
		}
		y, m, d := day.Date()
		rec.Cut, rec.BegunAt = int64(next), begunAt
		rec.Done[BlockID{table, time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}] = true
		return nil
	}); err != nil {
		return rec, err
	}
	err := s.db.Query(ctx, s.sql["gaps"], clickhouse.Params{"mark": mark, "first": uint64(rec.Next)}, func(r clickhouse.Row) error {
		var (
			first, next uint64
			accepted    bool
		)
		if err := r.Scan(&first, &next, &accepted); err != nil {
			return err
		}
		rec.Gaps = append(rec.Gaps, Gap{int64(first), int64(next), accepted})
		return nil
	})
	return rec, err
}

// Next implements Sink.
func (s *Store) Next(ctx context.Context, id Identity) (next int64, err error) {
	err = s.db.Query(ctx, s.sql["ledger_next"], clickhouse.Params{"mark": id.Mark()}, func(r clickhouse.Row) error {
		var n uint64
		if err := r.Scan(&n); err != nil {
			return err
		}
		next = int64(n)
		return nil
	})
	return next, err
}

// Insert implements Sink.
func (s *Store) Insert(ctx context.Context, id Identity, first, next int64, b aggregate.Block) error {
	return s.db.Insert(ctx, clickhouse.Insert{
		Query: s.sql["insert_"+b.Table], QueryID: s.queryID(id, b.Table+"-"+b.Day.Format("20060102"), first, next), Columns: b.Columns,
		// A second net on a Replicated table; elsewhere the driver's room refuses a table that would act on it.
		Token: fmt.Sprintf("%016x-%d-%d-%s-%s", id.Mark(), first, next, b.Table, b.Day.Format("20060102")),
		Plain: strings.HasSuffix(b.Table, "_keys") || strings.HasSuffix(b.Table, "_capsules"),
	})
}

// Close implements Sink.
func (s *Store) Close(ctx context.Context, id Identity, r LedgerRow) error {
	return s.db.Insert(ctx, clickhouse.Insert{
		Query: s.sql["insert_ledger"], QueryID: s.queryID(id, "ledger", r.First, r.Next),
		Columns: []any{[]uint64{id.Mark()}, []uint64{uint64(r.First)}, []uint64{uint64(r.Next)}, []uint64{r.Records}, []uint64{r.Gaps},
			[]uint64{r.Events}, []uint64{r.Rejects}, []uint64{r.Skipped}, []time.Time{r.BegunAt.UTC()}},
	})
}

// Lost implements Sink.
func (s *Store) Lost(ctx context.Context, id Identity, first, next int64, at time.Time) error {
	return s.db.Insert(ctx, clickhouse.Insert{
		Query: s.sql["insert_gaps"], QueryID: s.queryID(id, "gaps", first, next),
		Columns: []any{[]uint64{id.Mark()}, []uint64{uint64(first)}, []uint64{uint64(next)}, []time.Time{at.UTC()},
			[]time.Time{time.Unix(0, 0).UTC()}, []string{""}},
	})
}

// Files are the files that the sink has seen, for [OpenFile].
func (s *Store) Files(ctx context.Context) ([]Identity, error) {
	var known []Identity
	err := s.db.Query(ctx, s.sql["files"], nil, func(r clickhouse.Row) error {
		id := Identity{Cluster: fileCluster}
		if err := r.Scan(&id.Topic, &id.Epoch); err != nil {
			return err
		}
		known = append(known, id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask which files are in: %w", err)
	}
	return known, nil
}

// Imported is when the last batch that held anything of a source partition was begun; the zero time: there is none.
func (s *Store) Imported(ctx context.Context, id Identity) (at time.Time, err error) {
	err = s.db.Query(ctx, s.sql["ledger_last"], clickhouse.Params{"mark": id.Mark()}, func(r clickhouse.Row) error { return r.Scan(&at) })
	if err != nil {
		return at, fmt.Errorf("ask when %s was imported: %w", id, err)
	}
	return at, nil
}

// Lines are how many lines are in, over all sources: events and rejects.
func (s *Store) Lines(ctx context.Context) (n uint64, err error) {
	err = s.db.Query(ctx, s.sql["ledger_lines"], nil, func(r clickhouse.Row) error { return r.Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("ask how many lines are in: %w", err)
	}
	return n, nil
}
