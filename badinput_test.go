package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tillsyn/ingest"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/synthetic"
	"tillsyn/schemas"
)

// emptyTown is a town whose own log is never sent: tests send theirs, to topics of their own.
func emptyTown(t *testing.T) (*testTown, *kafkatest.Broker) {
	t.Helper()
	broker := kafkatest.StartFake(t)
	w := newTestTown(t, broker.Plain, 3, synthetic.Config{People: 500, Days: 1, Lines: 1, Format: "squid_native", Shards: 1})
	w.cfg.Ingest.Batch.MaxAge = 200 * time.Millisecond
	w.cfg.Ingest.Sources = nil
	return w, broker
}

// read makes the configuration read a topic.
func (w *testTown) read(topic, epoch string) {
	w.cfg.Ingest.Sources = append(w.cfg.Ingest.Sources, ingest.Source{
		Topic: topic, Epoch: epoch, Tenant: synthetic.Tenants()[0].Name, Format: "squid_native", TimeZone: synthetic.TimeZone,
	})
}

// send sends records to partition 0 of a topic, in order, and waits until they are in Kafka.
func (w *testTown) send(t testing.TB, topic string, values ...[]byte) {
	t.Helper()
	cl := w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// squidLine is a line of Squid's native log.
func squidLine(at time.Time, user, url string) []byte {
	return fmt.Appendf(nil, "%d.%03d     45 10.20.30.40 TCP_MISS/200 1234 GET %s %s HIER_DIRECT/198.18.0.1 text/html", at.Unix(), at.Nanosecond()/1e6, url, user)
}

func squidLines(at time.Time, n int) (all [][]byte) {
	for i := range n {
		all = append(all, squidLine(at.Add(time.Duration(i)*time.Second), fmt.Sprintf("user%d", i%7), "http://www.example.org/"))
	}
	return all
}

// A topicLedger is what the ledger and the table of rejects say of a topic, over all its lives.
type topicLedger struct {
	lives, next, records, gaps, events, rejects, skipped uint64
	reasons                                              string // "reason: lines, ..."
}

// readLedger answers the ledger of every topic.
func readLedger(db *clickhouse.DB) (map[string]topicLedger, error) {
	all := map[string]topicLedger{}
	const rows = `SELECT s.topic, uniqExact(s.mark), max(l.next), sum(l.records), sum(l.gaps), sum(l.events), sum(l.rejects), sum(l.skipped)
		FROM ledger AS l FINAL JOIN (SELECT mark, any(topic) AS topic FROM sources GROUP BY mark) AS s ON s.mark = l.mark GROUP BY s.topic`
	if err := db.Query(context.Background(), rows, nil, func(r clickhouse.Row) error {
		var topic string
		var l topicLedger
		err := r.Scan(&topic, &l.lives, &l.next, &l.records, &l.gaps, &l.events, &l.rejects, &l.skipped)
		all[topic] = l
		return err
	}); err != nil {
		return nil, err
	}
	const rejects = "SELECT topic, reason, sum(lines) AS lines FROM rejects WHERE mark = 0 GROUP BY topic, reason ORDER BY topic, reason"
	return all, db.Query(context.Background(), rejects, nil, func(r clickhouse.Row) error {
		var topic, reason string
		var lines uint64
		err := r.Scan(&topic, &reason, &lines)
		l := all[topic]
		if l.reasons != "" {
			l.reasons += ", "
		}
		l.reasons += fmt.Sprintf("%s: %d", reason, lines)
		all[topic] = l
		return err
	})
}

// awaitNext waits until the ledger of every topic has come to its offset.
func awaitNext(t testing.TB, db *clickhouse.DB, s *service, want map[string]uint64) map[string]topicLedger {
	t.Helper()
	var got map[string]topicLedger
	var behind []string
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var err error
		if got, err = readLedger(db); err != nil {
			t.Fatal(err)
		}
		behind = nil
		for topic, next := range want {
			if l, ok := got[topic]; !ok || l.next < next {
				behind = append(behind, fmt.Sprintf("%s at %d of %d", topic, l.next, next))
			}
		}
		if behind == nil {
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not all is in: %v\n%s", behind, s.log)
	return nil
}

// Bad lines and bad records, each between good ones: what becomes of them.
func TestBadInput(t *testing.T) {
	t.Parallel()
	now := time.Now().Add(-time.Hour)
	good := squidLine(now, "anna.berg", "http://www.example.org/")
	var prefixes [][]byte
	whole := squidLine(time.Unix(now.Unix(), 0), "anna.berg", "http://www.example.org/")
	for n := 1; n < len(whole); n++ {
		prefixes = append(prefixes, whole[:n])
	}
	noise := make([]byte, 5_000_000)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rnd.UintN(256))
	}
	at := func(year int) []byte {
		return squidLine(time.Date(year, 6, 1, 12, 0, 0, 0, time.UTC), "anna.berg", "http://www.example.org/")
	}
	cases := []struct {
		topic   string
		records [][]byte
		events  uint64 // beside the two good ones
		reasons string
		skipped uint64
	}{
		{"truncated-at-every-byte", prefixes, 20, "bad_layout: 8, bad_time: 1, truncated: 92", 0},
		{"line-of-1MiB", [][]byte{squidLine(now, "anna.berg", "http://www.example.org/"+strings.Repeat("a", 1<<20))}, 0, "too_long: 1", 0},
		{"line-of-200KiB", [][]byte{squidLine(now, "anna.berg", "http://www.example.org/"+strings.Repeat("a", 200<<10))}, 1, "", 0},
		{"nul-byte", [][]byte{squidLine(now, "anna\x00berg", "http://www.example.org/")}, 0, "nul_byte: 1", 0},
		{"nul-bytes-only", [][]byte{make([]byte, 4096)}, 0, "nul_byte: 1", 0},
		{"latin-1-name", [][]byte{squidLine(now, "\xe5sa.\xf6berg", "http://latin1.example.org/"), squidLine(now, "åsa.öberg", "http://utf8.example.org/"),
			squidLine(now, "%E5sa.%F6berg", "http://encoded.example.org/")}, 3, "", 0},
		{"year-1970", [][]byte{at(1970)}, 0, "too_old: 1", 0},
		{"year-2099", [][]byte{at(2099)}, 0, "in_the_future: 1", 0},
		{"year-12345", [][]byte{squidLine(time.Unix(327_403_382_400, 0), "anna.berg", "http://www.example.org/")}, 0, "foreign_line: 1", 0},
		{"91-days-old", [][]byte{squidLine(time.Now().AddDate(0, 0, -91), "anna.berg", "http://www.example.org/")}, 0, "too_old: 1", 0},
		{"negative-size", [][]byte{bytes.Replace(good, []byte(" 1234 "), []byte(" -1234 "), 1)}, 0, "bad_number: 1", 0},
		{"size-beyond-64-bits", [][]byte{bytes.Replace(good, []byte(" 1234 "), []byte(" 99999999999999999999 "), 1)}, 0, "bad_number: 1", 0},
		{"not-a-log-line", [][]byte{[]byte(`{"this":"is","another":"system's"}`), []byte("Traceback (most recent call last):")}, 0, "foreign_line: 2", 0},
		{"null-value", [][]byte{nil}, 0, "", 1},
		{"empty-value", [][]byte{{}}, 0, "", 1},
		{"line-ends-only", [][]byte{[]byte("\r\n\n\r\n")}, 0, "", 1},
		{"5MB-of-one-letter", [][]byte{bytes.Repeat([]byte("x"), 5_000_000)}, 0, "too_long: 1", 0},
		{"5MB-of-noise", [][]byte{noise}, 0, "?", 0},
		{"three-lines-in-a-record", [][]byte{slices.Concat(good, []byte("\nnonsense\n"), good, []byte("\n"))}, 2, "foreign_line: 1", 0},
		{"empty-topic", nil, 0, "", 0},
	}
	w, _ := emptyTown(t)
	next := map[string]uint64{}
	for _, c := range cases {
		w.kafka.CreateTopic(t, c.topic, 1)
		w.read(c.topic, "")
		next[c.topic] = 0
		if c.topic != "empty-topic" {
			w.send(t, c.topic, slices.Concat([][]byte{good}, c.records, [][]byte{good})...)
			next[c.topic] = uint64(len(c.records) + 2)
		}
	}
	w.read("topic-that-is-not-there", "")
	s := serve(t, w.cfg)
	db := w.owner(t)
	got := awaitNext(t, db, s, next)
	if state := s.state(t, "empty-topic", 0); state != 0 {
		t.Errorf("the state of the empty topic is %d", state)
	}
	if health := get(t, s.address, "/healthz"); health != "ok\n" {
		t.Errorf("health: %s", health)
	}
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "INPUT\tRECORDS\tEVENTS\tREJECTS\tNOTHING\tREASONS")
	for _, c := range cases {
		g := got[c.topic]
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%d\t%s\n", c.topic, g.records, g.events, g.rejects, g.skipped, g.reasons)
		goods := uint64(2)
		if next[c.topic] == 0 {
			goods = 0
		}
		if g.lives != 1 || g.next != next[c.topic] || g.records != next[c.topic] || g.gaps != 0 {
			t.Errorf("%s: %+v", c.topic, g)
		}
		if c.reasons == "?" {
			continue
		}
		if g.events != goods+c.events || g.skipped != c.skipped || g.reasons != c.reasons {
			t.Errorf("%s: %+v, want %d events, %d of nothing, %q", c.topic, g, goods+c.events, c.skipped, c.reasons)
		}
	}
	out.Flush()
	t.Logf("\n%s", &table)
	if g := got["5MB-of-noise"]; g.events != 2 || g.rejects < 15_000 || g.rejects > 25_000 { // a line for each 256 bytes
		t.Errorf("noise: %+v", g)
	}
	// A name is the same person in UTF-8, in ISO 8859-1 and percent-encoded; the other one is in all good lines.
	var people, requests uint64
	if err := db.Query(t.Context(), `SELECT uniqExactMerge(people), sum(requests) FROM web_hourly
		WHERE mark = 0 AND unit = '' AND category = '' AND population != ''`, nil, func(r clickhouse.Row) error {
		return r.Scan(&people, &requests)
	}); err != nil {
		t.Fatal(err)
	}
	var events uint64
	for _, g := range got {
		events += g.events
	}
	if requests != events || people != 2 {
		t.Errorf("%d requests of %d people in the statistics, %d events in the ledger", requests, people, events)
	}
	s.stop(t)
}

// A topic is deleted and made again. Where Kafka's topic ids tell its lives apart, the second is counted anew; where the
// operator's epoch says that it is the same, it stands still until the operator gives another one.
func TestBadInputRecreatedTopic(t *testing.T) {
	t.Parallel()
	w, _ := emptyTown(t)
	now := time.Now().Add(-time.Hour)
	for topic, epoch := range map[string]string{"by-id": "", "by-epoch": "1"} {
		w.kafka.CreateTopic(t, topic, 1)
		w.read(topic, epoch)
		w.send(t, topic, squidLines(now, 10)...)
	}
	s := serve(t, w.cfg)
	db := w.owner(t)
	awaitNext(t, db, s, map[string]uint64{"by-id": 10, "by-epoch": 10})
	for _, topic := range []string{"by-id", "by-epoch"} {
		w.kafka.DeleteTopic(t, topic)
		w.kafka.CreateTopic(t, topic, 1)
		w.send(t, topic, squidLines(now, 4)...)
	}
	began := time.Now()
	await(t, patience, "the second life is read", func() error {
		got, err := readLedger(db)
		if err == nil && (got["by-id"].events != 14 || got["by-id"].lives != 2) {
			err = fmt.Errorf("%+v\n%s", got["by-id"], s.log)
		}
		return err
	})
	t.Logf("by topic id: both lives are counted, 10 + 4 events, %.1f s after it was made again", time.Since(began).Seconds())
	stands := func(s *service) {
		t.Helper()
		await(t, patience, "the partition stands still", func() error {
			if state := s.state(t, "by-epoch", 0); state != 2 {
				return fmt.Errorf("partition_state is %d\n%s", state, s.log)
			}
			return nil
		})
		if got, err := readLedger(db); err != nil || got["by-epoch"].events != 10 || got["by-epoch"].lives != 1 {
			t.Errorf("%+v, %v", got["by-epoch"], err)
		}
	}
	stands(s)
	t.Logf("by the operator's epoch: it stands still, %.1f s after it was made again", time.Since(began).Seconds())
	db.Close()
	s.stop(t)

	s = serve(t, w.cfg) // it does not remember the topic id, but it sees that the log is too short
	db = w.owner(t)
	stands(s)
	if !strings.Contains(s.log.String(), ingest.ErrRecreated.Error()) {
		t.Errorf("the log does not say why:\n%s", s.log)
	}
	db.Close()
	s.stop(t)

	w.cfg.Ingest.Sources[slices.IndexFunc(w.cfg.Ingest.Sources, func(s ingest.Source) bool { return s.Topic == "by-epoch" })].Epoch = "2"
	s = serve(t, w.cfg)
	db = w.owner(t)
	await(t, patience, "the new epoch is read", func() error {
		got, err := readLedger(db)
		if err == nil && (got["by-epoch"].events != 14 || got["by-epoch"].lives != 2) {
			err = fmt.Errorf("%+v\n%s", got["by-epoch"], s.log)
		}
		return err
	})
	t.Log("with a new epoch: both lives are counted, 10 + 4 events")
}

// Retention removes what was not read: the partition stands still, others go on, and after the operator has accepted the
// loss it goes on too.
func TestBadInputRetention(t *testing.T) {
	t.Parallel()
	w, _ := emptyTown(t)
	now := time.Now().Add(-time.Hour)
	for _, topic := range []string{"short", "other"} {
		w.kafka.CreateTopic(t, topic, 1)
		w.read(topic, "")
		w.send(t, topic, squidLines(now, 20)...)
	}
	s := serve(t, w.cfg)
	db := w.owner(t)
	awaitNext(t, db, s, map[string]uint64{"short": 20, "other": 20})
	db.Close()
	s.stop(t)
	for _, topic := range []string{"short", "other"} {
		w.send(t, topic, squidLines(now, 80)...)
	}
	w.kafka.DeleteRecords(t, "short", 0, 70)

	file := w.write(t, "operator")
	s = serve(t, w.cfg)
	db = w.owner(t)
	began := time.Now()
	await(t, patience, "the partition stands still", func() error {
		if state := s.state(t, "short", 0); state != 2 {
			return fmt.Errorf("partition_state is %d\n%s", state, s.log)
		}
		return nil
	})
	t.Logf("the partition stands still %.1f s after the start", time.Since(began).Seconds())
	got := awaitNext(t, db, s, map[string]uint64{"other": 100})
	if got["short"].next != 20 || got["short"].events != 20 {
		t.Errorf("%+v", got["short"])
	}
	if out, errOut, code := inProcess(t, "--config", file, "gaps", "accept", "--topic", "other", "--partition", "0", "--reason", "none"); code != exitRefused {
		t.Errorf("accepting where nothing is lost: exit %d: %s%s", code, out, errOut)
	}
	out, errOut, code := inProcess(t, "--config", file, "gaps", "list", "--json")
	var list struct{ Gaps []gapLine }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitOK || len(list.Gaps) != 1 || list.Gaps[0].First != 20 ||
		list.Gaps[0].Next != 70 || list.Gaps[0].State != ingest.GapStanding {
		t.Fatalf("gaps: exit %d, %v: %s%s", code, err, out, errOut)
	}
	if out, errOut, code := inProcess(t, "--config", file, "gaps", "accept", "--topic", "short", "--partition", "0", "--reason", "retention was too short"); code != exitOK {
		t.Fatalf("accept: exit %d: %s%s", code, out, errOut)
	}
	began = time.Now()
	got = awaitNext(t, db, s, map[string]uint64{"short": 100})
	if l := got["short"]; l.events != 50 || l.gaps != 50 || l.records != 50 {
		t.Errorf("%+v", l)
	}
	out, _, _ = inProcess(t, "--config", file, "gaps", "list")
	t.Logf("it goes on %.1f s after that was accepted: 20 + 30 events, 50 offsets lost\n%s", time.Since(began).Seconds(), out)
	if !strings.Contains(out, ingest.GapCrossed) {
		t.Errorf("gaps list: %s", out)
	}
	if state := s.state(t, "short", 0); state != 0 {
		t.Errorf("partition_state is %d", state)
	}
}

// What ends it for good is said, with the exit code of a fault, and not taken for the end that it was told to come to.
func TestServeSaysWhyItEnds(t *testing.T) {
	t.Parallel()
	w, _ := emptyTown(t)
	w.read("proxy-log", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.NotFoundHandler())
	cfg := w.cfg
	cfg.Kafka.Brokers, cfg.Kafka.TLS.Enabled = []string{l.Addr().String()}, true // which does not speak TLS
	cfg.HTTP.Listen = ""
	var log lockedBuffer
	var address []string
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = runServe(ctx, &log, cfg, func(a string) { address = append(address, a) })
	if code := exitCode(told(ctx, err)); code != exitFault || !strings.Contains(err.Error(), "kafka") {
		t.Errorf("exit %d: %v\n%s", code, err, &log)
	}
	if len(address) != 1 || address[0] != "" {
		t.Errorf("without http.listen it answers at %q", address)
	}
}

// ClickHouse refuses for a while, and comes back on the same port.
func TestBadInputClickHouseRefuses(t *testing.T) {
	t.Parallel()
	w, _ := emptyTown(t)
	now := time.Now().Add(-time.Hour)
	w.kafka.CreateTopic(t, "proxy-log", 1)
	w.read("proxy-log", "")
	server := w.startServer(t)
	w.send(t, "proxy-log", squidLines(now, 200)...)
	s := serve(t, w.cfg)
	db := server.open(t, schemas.RoleOwner)
	awaitNext(t, db, s, map[string]uint64{"proxy-log": 200})
	db.Close()
	server.engine.Kill()
	gone := time.Now()
	w.send(t, "proxy-log", squidLines(now, 300)...)
	await(t, patience, "it tries again and again", func() error {
		if n := strings.Count(s.log.String(), "tried again"); n < 4 {
			return fmt.Errorf("only %d times", n)
		}
		return nil
	})
	if state := s.state(t, "proxy-log", 0); state != 1 {
		t.Errorf("partition_state is %d", state)
	}
	res, err := http.Get("http://" + s.address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("health: %s", res.Status)
	}
	server.start(t)
	back := time.Now()
	db = server.open(t, schemas.RoleOwner)
	defer db.Close()
	got := awaitNext(t, db, s, map[string]uint64{"proxy-log": 500})
	if l := got["proxy-log"]; l.events != 500 || l.rejects+l.skipped+l.gaps != 0 {
		t.Errorf("%+v", l)
	}
	var requests uint64
	if err := db.Query(t.Context(), "SELECT sum(requests) AS n FROM web_hourly WHERE mark = 0 AND unit = '' AND category = ''", nil, func(r clickhouse.Row) error {
		return r.Scan(&requests)
	}); err != nil || requests != 500 {
		t.Errorf("%d requests in the statistics, %v", requests, err)
	}
	t.Logf("ClickHouse was away for %.1f s; all 500 events were in, once, %.1f s after it came back", back.Sub(gone).Seconds(), time.Since(back).Seconds())
	if health := get(t, s.address, "/healthz"); health != "ok\n" {
		t.Errorf("health: %s", health)
	}
	s.stop(t)
}
