package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tillsyn/ingest/ingesttest"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/synthetic"
)

// A search looks for many byte strings at once.
type search struct {
	needles map[string]string // what is looked for, and what it is
	byHead  map[uint64][]string
	seen    [1 << 14]uint64 // hashes of the heads, as bits
}

// searchHead is how many bytes the shortest needle has: a shorter one would be found by chance.
const searchHead = 7

func (s *search) add(kind, needle string) {
	if len(needle) < searchHead || s.needles[needle] != "" {
		return
	}
	if s.needles == nil {
		s.needles, s.byHead = map[string]string{}, map[uint64][]string{}
	}
	s.needles[needle] = kind
	h := head(needle)
	s.byHead[h] = append(s.byHead[h], needle)
	s.seen[h>>6&(1<<14-1)] |= 1 << (h & 63)
}

func head[T string | []byte](b T) (h uint64) {
	for i := range searchHead {
		h = h<<8 | uint64(b[i])
	}
	return h * 0x9e3779b97f4a7c15 >> 8
}

// find answers what is in text.
func (s *search) find(text []byte) (found []string) {
	for i := 0; i+searchHead <= len(text); i++ {
		h := head(text[i : i+searchHead])
		if s.seen[h>>6&(1<<14-1)]&(1<<(h&63)) == 0 {
			continue
		}
		for _, needle := range s.byHead[h] {
			if bytes.HasPrefix(text[i:], []byte(needle)) {
				found = append(found, fmt.Sprintf("%s %q", s.needles[needle], needle))
			}
		}
	}
	return found
}

func TestSearch(t *testing.T) {
	var s search
	for _, n := range []string{"anna.berg", "anna.bergström", "10.20.30.40", "short"} {
		s.add("x", n)
	}
	if got := s.find([]byte("..anna.bergström..10.20.30.4..10.20.30.40")); len(got) != 3 {
		t.Error(got)
	}
	if got := s.find([]byte("anna.ber")); got != nil {
		t.Error(got)
	}
}

// Nothing that names a person, an address or what was asked for leaves ingest: not in any column, any file of ClickHouse,
// any log line, metric or answer over HTTP, nor in the state of the group in Kafka.
func TestNothingPersonalLeavesIngest(t *testing.T) {
	t.Parallel()
	w := newTestTown(t, kafkatest.StartFake(t).Plain, 4, synthetic.Config{
		Seed: 9, People: 2000, Days: 2, Lines: 30_000, Format: "squid_combined", Shards: 2, Bad: 0.01, Latin1: 0.3,
	})
	w.cfg.Log.Level = "debug"
	w.cfg.Ingest.Batch.MaxAge, w.cfg.Ingest.Batch.Events = 200*time.Millisecond, 5000
	s := serve(t, w.cfg)

	var personal search
	// sensor is what every file and answer must hold, so that a search that sees nothing is noticed.
	const sensor = "planted-site.example"
	plant := func(user, address, host, path string) string {
		for kind, text := range map[string]string{"user name": user, "address": address, "host": host, "path": path} {
			personal.add(kind, text)
			personal.add(kind, strings.ToUpper(text))
		}
		stamp := time.Now().Add(-time.Hour).Format("02/Jan/2006:15:04:05 -0700")
		return fmt.Sprintf(`%s - %s [%s] "GET http://%s%s HTTP/1.1" 200 1234 "http://planted-referrer.example/of-somebody" "planted-agent/1.0" TCP_MISS:HIER_DIRECT`,
			address, user, stamp, host, path)
	}
	personal.add("referrer", "planted-referrer")
	personal.add("referrer", "/of-somebody")
	personal.add("user agent", "planted-agent")
	lines := [][]byte{
		[]byte(plant("planted.person", "172.29.201.77", "planted-host."+sensor, "/planted/path?planted-query=planted-answer")),
		[]byte(plant("PLANTED\\\\personal01", "2001:db8:77:aaaa:bbbb::1", "planted-other."+sensor, "/planted-second/path")),
		[]byte(plant("planted.mail@planted-mail.example", "172.29.202.78", "user:planted-secret@planted-third."+sensor, "/planted-third")),
	}
	for _, n := range []int{10, 40, 90, 130} { // torn lines, and lines in which nothing is where it should be
		lines = append(lines, lines[0][:n], append([]byte("planted-nonsense "), lines[0][n:]...))
	}
	personal.add("nonsense", "planted-nonsense")
	personal.add("secret", "planted-secret")
	lines = append(lines, bytes.Replace(lines[0], []byte("planted.person"), []byte("planted\x00person"), 1))
	send := func(partition int, line []byte) {
		w.ends[partition]++
		w.producer.Produce(context.Background(), &kgo.Record{Topic: demoTopic, Partition: int32(partition), Value: line}, nil)
	}
	for _, line := range lines {
		send(0, line)
	}
	for {
		e, ok := w.NextEvent()
		if !ok {
			break
		}
		send(e.Shard, synthetic.AppendLine(nil, e, w.encode))
		if e.Bad != "" {
			continue
		}
		personal.add("user name", e.User)
		personal.add("subject", e.Subject)
		personal.add("address", e.SourceIP)
		if path := string(e.AppendPath(nil)); strings.ContainsAny(path, "0123456789") {
			personal.add("path", path)
		}
		if e.Scheme != "" {
			personal.add("target", strings.TrimPrefix(string(e.AppendURL(nil)), e.Scheme+"://"))
		}
	}
	if err := w.producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := w.owner(t)
	var sum ingesttest.LedgerSum
	await(t, patience, "all is in", func() error {
		got, err := readLedger(db)
		if err == nil && got[demoTopic].records < uint64(w.ends[0]+w.ends[1]) {
			err = fmt.Errorf("%+v\n%s", got[demoTopic], s.log)
		}
		return err
	})
	_, sum = ingesttest.CompareLedger(t, db, demoTopic, w.ends)
	if sum.Rejects < 100 || sum.Events < 29_000 {
		t.Errorf("%+v", sum)
	}
	t.Logf("%d needles: user names, addresses, paths, targets; %d events, %d rejects", len(personal.needles), sum.Events, sum.Rejects)
	searched, hits := map[string]int{}, 0
	look := func(place string, text []byte) {
		searched[place] += len(text)
		for _, found := range personal.find(text) {
			if hits++; hits <= 20 {
				t.Errorf("%s has the %s", place, found)
			}
		}
	}

	look("metrics", []byte(get(t, s.address, "/metrics")))
	look("health", []byte(get(t, s.address, "/healthz")))
	look("Kafka's group", groupState(t, w))
	seen := false
	type column struct{ table, name string }
	var columns []column
	if err := db.Query(t.Context(), `SELECT table, name FROM system.columns WHERE database = currentDatabase() AND default_kind NOT IN ('EPHEMERAL', 'ALIAS')
		AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')`, nil, func(r clickhouse.Row) error {
		var c column
		err := r.Scan(&c.table, &c.name)
		columns = append(columns, c)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		// A state of distinct tokens is asked for as it is stored.
		if err := db.Query(t.Context(), "SELECT DISTINCT CAST("+c.name+" AS String) AS text FROM "+c.table, nil, func(r clickhouse.Row) error {
			var text string
			if err := r.Scan(&text); err != nil {
				return err
			}
			seen = seen || text == sensor
			look("columns", []byte(text))
			return nil
		}); err != nil {
			t.Errorf("%s of %s: %v", c.name, c.table, err)
		}
	}
	for _, table := range []string{"web_keys", "web_capsules"} {
		if err := db.Query(t.Context(), "SELECT count() AS n FROM "+table, nil, func(r clickhouse.Row) error {
			var n uint64
			err := r.Scan(&n)
			if n < 100 {
				t.Errorf("%s has only %d rows", table, n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(columns) < 90 || !seen {
		t.Errorf("%d columns, the planted site among them: %v", len(columns), seen)
	}
	db.Close()
	s.stop(t)
	look("log", []byte(s.log.String()))
	files := 0
	// All that the process has written: ClickHouse's files, its temporary ones and mutations, keys, compiled lists, its own
	// configuration. Not what it was given to read.
	if err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == w.cfg.Resolve.Directory {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		look("files", text)
		look("names of files", []byte(path))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files of ClickHouse were seen", files)
	}
	key, err := os.ReadFile(w.cfg.Ingest.StatisticsKey)
	if err != nil {
		t.Fatal(err)
	}
	look("statistics key", key)
	var places []string
	for place, n := range searched {
		places = append(places, fmt.Sprintf("%s %d", place, n))
	}
	slices.Sort(places)
	t.Logf("%d hits in %d columns and %d files; bytes searched: %s", hits, len(columns), files, strings.Join(places, ", "))
}

// A core file would hold what a process has in memory: data keys, the lookup key, lines. That the kernel writes none is asked of
// the kernel, for tillsyn and for the engine that it starts; a limit of 0 also holds for a core that somebody asks for by a signal.
func TestNoProcessLeavesACoreFile(t *testing.T) {
	t.Parallel()
	w := newTestTown(t, kafkatest.StartFake(t).Plain, 2, synthetic.Config{Seed: 4, People: 500, Days: 1, Lines: 100, Format: "squid_native", Shards: 1})
	p := w.start(t, "serve", "serve")
	await(t, patience, "the engine runs", func() error {
		_, err := engine.Find(w.cfg.Engine.DataDir)
		return err
	})
	running, err := engine.Find(w.cfg.Engine.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"tillsyn": p.cmd.Process.Pid, "its engine": running.PID} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(text), "Max core file size")
		if words := strings.Fields(rest); !found || len(words) < 2 || words[0] != "0" || words[1] != "0" {
			t.Errorf("%s may leave a core file", name)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.gone
	cores := 0
	for _, dir := range []string{".", w.dir, w.cfg.Engine.DataDir} {
		found, err := filepath.Glob(filepath.Join(dir, "core*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				cores++
			}
		}
	}
	if cores > 0 {
		t.Errorf("%d core files", cores)
	}
}

// groupState is everything that Kafka knows of the town's group.
func groupState(t testing.TB, w *testTown) []byte {
	t.Helper()
	cl := w.kafka.Client(t)
	defer cl.Close()
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{w.cfg.Kafka.Group}
	described, err := describe.RequestWith(t.Context(), cl)
	if err != nil || len(described.Groups) != 1 || len(described.Groups[0].Members) != 1 {
		t.Fatalf("describe the group: %v, %+v", err, described)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = w.cfg.Kafka.Group
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = w.cfg.Kafka.Group
	fetch.Groups = append(fetch.Groups, group)
	fetched, err := fetch.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, "%+v\n", described.Groups[0])
	for _, m := range described.Groups[0].Members {
		text = append(append(text, m.ProtocolMetadata...), m.MemberAssignment...)
	}
	partitions := 0
	for _, g := range fetched.Groups {
		for _, topic := range g.Topics {
			for _, p := range topic.Partitions {
				partitions++
				text = fmt.Appendf(text, "%s %+v\n", topic.Topic, p)
				if p.Metadata != nil {
					text = append(text, *p.Metadata...)
				}
			}
		}
	}
	if partitions != len(w.ends) {
		t.Errorf("the group has committed offsets of %d partitions: %+v", partitions, fetched)
	}
	return text
}
