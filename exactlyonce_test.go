package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/engine"
	"tillsyn/internal/synthetic"
	"tillsyn/schemas"
)

var (
	onceLines = flag.Int64("once.lines", 1_000_000, "how many lines the exactly-once tests send")
	onceKills = flag.Int("once.kills", 40, "how often they kill")
	onceSeed  = flag.Uint64("once.seed", 1, "what decides when they kill whom")
)

// onceTown cuts its batches so small that most of its life is between two of them.
func onceTown(t *testing.T) *testTown {
	w := newTestTown(t, kafkatest.StartFake(t).Plain, 12, synthetic.Config{
		Seed: *onceSeed, People: 3000, Days: 5, Lines: *onceLines, Format: "squid_native", Shards: 4, Bad: 0.002, Latin1: 0.2,
	})
	w.cfg.Ingest.Batch.Events = int(max(500, *onceLines/int64(*onceKills+1)/8))
	w.cfg.Ingest.Batch.MaxAge = time.Second
	return w
}

// awaitAll waits until all lines are in. It may take long in all, but it goes on.
func (w *testTown) awaitAll(t *testing.T, count func() (uint64, error), restart func()) {
	t.Helper()
	var last uint64
	seen := time.Now()
	for {
		restart()
		n, err := count()
		switch {
		case err == nil && n == uint64(w.sent):
			return
		case err == nil && n > uint64(w.sent):
			t.Fatalf("%d lines are in, %d were sent", n, w.sent)
		case err == nil && n > last:
			last, seen = n, time.Now()
		case time.Since(seen) > patience:
			t.Fatalf("nothing comes in after %d of %d lines: %v", last, w.sent, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A million lines through Kafka into the embedded ClickHouse of 'tillsyn serve', which is killed with SIGKILL at random
// moments (its engine dies with it), or only its engine is, and which is started again: everything is in, once.
func TestExactlyOnceServe(t *testing.T) {
	t.Parallel()
	began := time.Now()
	w := onceTown(t)
	w.cfg.Engine.BusyWait = 10 * time.Second
	rnd := rand.New(rand.NewPCG(*onceSeed, 1))
	var p *process
	starts, ended, serves, engines := 0, 0, 0, 0
	restart := func() {
		if p == nil || p.over() {
			if p != nil && p.err != nil {
				ended++ // by itself: its engine was killed at a bad moment
			}
			w.evict(t, "serve")
			p = w.start(t, "serve", "serve")
			starts++
		}
	}
	early := 0
	for kill := range *onceKills {
		before := parts(t, w.cfg)
		w.produce(t, *onceLines/int64(*onceKills+1))
		restart()
		joined := func() {
			select {
			case <-p.joined:
			case <-p.gone:
			case <-time.After(patience):
				t.Fatalf("kill %d: it does not join the group:\n%s", kill, p.log)
			}
		}
		switch moment := rnd.IntN(4); moment {
		case 0:
			early++ // before or while it starts, migrates, recovers
			time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
		case 1:
			joined()
			time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
		default: // while it inserts
			joined()
			// A batch is several blocks: the keys of its days, then capsules, then statistics.
			for blocks, limit := 1+rnd.IntN(12), time.Now().Add(20*time.Second); blocks > 0 && !p.over() && time.Now().Before(limit); {
				if now := parts(t, w.cfg); now != before {
					before = now
					blocks--
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
		}
		if running, err := engine.Find(w.cfg.Engine.DataDir); err == nil && rnd.IntN(2) == 0 {
			if err := syscall.Kill(running.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			engines++
			continue
		}
		p.kill()
		p.err = nil
		serves++
	}
	killed := time.Since(began)
	w.produce(t, *onceLines)
	w.awaitAll(t, func() (uint64, error) { return lines(w.database(schemas.RoleIngest)) }, restart)
	p.stop(t)
	db, err := openDatabase(t.Context(), w.cfg, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w.compare(t, db.DB)
	resumed := w.resumed()
	if resumed < *onceKills/4 {
		t.Errorf("only %d of %d kills came in the middle of a batch", resumed, *onceKills)
	}
	t.Logf("%d kills of serve and its engine, %d of the engine alone, %d of them before the group was joined; %d starts, %d ends by itself; %d interrupted batches were cut again; %.1f s, of which %.1f s of kills",
		serves, engines, early, starts, ended, resumed, time.Since(began).Seconds(), killed.Seconds())
}

// The same, but ClickHouse lives on: two 'tillsyn ingest' share the partitions, one of them is killed and the group hears
// of it at once, so that the next owner meets inserts that outlive their owner.
func TestExactlyOnceIngest(t *testing.T) {
	t.Parallel()
	began := time.Now()
	w := onceTown(t)
	clickhouse, deaths := w.startServer(t), 0
	rnd := rand.New(rand.NewPCG(*onceSeed, 2))
	var members [2]*process
	starts := 0
	restart := func() {
		if clickhouse.revive(t) { // the embedded engine does not survive every client that is killed
			deaths++
		}
		for i, p := range members {
			if p == nil || p.over() {
				if p != nil && p.err != nil {
					t.Logf("ended by itself: %v: %s", p.err, lastLine(p.log.String()))
				}
				members[i] = w.start(t, fmt.Sprintf("ingest-%d", i), "ingest")
				starts++
			}
		}
	}
	for kill := range *onceKills {
		w.produce(t, *onceLines/int64(*onceKills+1))
		restart()
		victim := members[rnd.IntN(2)]
		if rnd.IntN(4) > 0 {
			select {
			case <-victim.joined:
			case <-victim.gone:
			case <-time.After(patience):
				t.Fatalf("kill %d: it does not join the group:\n%s", kill, victim.log)
			}
		}
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
		victim.kill()
		victim.err = nil
		w.evict(t, victim.name)
	}
	killed := time.Since(began)
	w.produce(t, *onceLines)
	w.awaitAll(t, func() (uint64, error) {
		db, err := openEngine(t.Context(), clickhouse.cfg, clickhouse.engine.Address(), clickhouse.engine.Credentials, schemas.RoleIngest)
		return lines(db, err)
	}, restart)
	for _, p := range members {
		p.stop(t)
	}
	db := clickhouse.open(t, schemas.RoleOwner)
	defer db.Close()
	w.compare(t, db)
	resumed := w.resumed()
	if resumed < *onceKills/4 {
		t.Errorf("only %d of %d kills came in the middle of a batch", resumed, *onceKills)
	}
	t.Logf("%d kills of ingest, %d starts; ClickHouse died %d times of that; %d interrupted batches were cut again; %.1f s, of which %.1f s of kills", *onceKills, starts, deaths, resumed,
		time.Since(began).Seconds(), killed.Seconds())
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// parts names the parts of all tables of the embedded engine that are partitioned by day: they change with each block of a batch.
func parts(t *testing.T, cfg Config) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(cfg.Engine.DataDir, "clickhouse", "store", "*", "*", "2*_*_*_*"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
