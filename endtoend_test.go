package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tillsyn/aggregate"
	"tillsyn/ingest"
	"tillsyn/ingest/ingesttest"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/synthetic"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

// A testTown is a synthetic municipality with a Kafka that its log is sent to, and the configuration of a tillsyn that
// reads it.
type testTown struct {
	roles  *ingesttest.Roles   // of all tenants
	sealed *ingesttest.Account // what must be in the vault
	*synthetic.Municipality
	cfg   Config
	dir   string
	kafka kafkatest.Listener

	producer *kgo.Client
	encode   func([]byte, *synthetic.Event) []byte
	sent     int64
	ends     []int64 // of each partition
	personal search  // what no log may hold
	started  []*process
}

// newTestTown makes the topic too, with a partition for each shard. Times are those of the clock: the run begins the
// given number of days ago.
func newTestTown(t testing.TB, kafka kafkatest.Listener, ago int, c synthetic.Config) *testTown {
	t.Helper()
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	c.From = time.Now().In(zone).AddDate(0, 0, -ago).Format(time.DateOnly)
	m, err := synthetic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := prepareDemoDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &testTown{Municipality: m, dir: dir, kafka: kafka, ends: make([]int64, m.Config().Shards)}
	if w.cfg, err = demoConfig(dir, m); err != nil {
		t.Fatal(err)
	}
	w.roles, w.sealed = ingesttest.NewRoles(t), ingesttest.NewAccount()
	w.cfg.Audit.Deployment = w.roles.Deployment
	for _, tenant := range w.cfg.Tenants() {
		w.roles.WriteRegister(t, w.cfg.Keys.Directory, tenant)
	}
	w.cfg.Log.Level = "info"
	w.cfg.Lists.Directory = filepath.Join(dir, "compiled")
	w.cfg.Engine.MemoryLimit = 1 << 30
	w.cfg.Kafka.Brokers = []string{kafka.Addr}
	w.cfg.Kafka.Fetch.MaxWait = 100 * time.Millisecond
	w.cfg.Kafka.HeartbeatInterval = 200 * time.Millisecond
	// A partition is never given away because a busy machine is late: dead members are evicted.
	w.cfg.Kafka.SessionTimeout, w.cfg.Kafka.RebalanceTimeout = 20*time.Second, 20*time.Second
	w.cfg.ClickHouse.InsertTimeout = 10 * time.Second
	kafka.CreateTopic(t, demoTopic, int32(len(w.ends)))
	format, ok := synthetic.FormatByName(c.Format)
	if !ok {
		t.Fatal("no format", c.Format)
	}
	w.encode = format.New(zone)
	w.producer = kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression()))
	return w
}

// write writes the configuration for a process of that name, which is its client id at Kafka too.
func (w *testTown) write(t testing.TB, name string) (file string) {
	t.Helper()
	cfg := w.cfg
	cfg.Kafka.ClientID = name
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	text, err := dumpConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// produce sends the next n lines of the town, fewer if it has no more, and waits until they are in Kafka.
func (w *testTown) produce(t testing.TB, n int64) {
	t.Helper()
	var failed atomic.Pointer[error]
	for ; n > 0; n-- {
		e, ok := w.NextEvent()
		if !ok {
			break
		}
		w.ends[e.Shard]++
		w.sent++
		if text, ok := ingesttest.TruthOf(e); ok {
			w.sealed.Add(text, 1)
		}
		w.personal.add("user name", e.User)
		w.personal.add("address", e.SourceIP)
		w.producer.Produce(context.Background(), &kgo.Record{Topic: demoTopic, Partition: int32(e.Shard), Value: synthetic.AppendLine(nil, e, w.encode)},
			func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
	}
	if err := w.producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// database opens the database as one of its roles, on the engine that runs now: it starts none.
func (w *testTown) database(role string) (*clickhouse.DB, error) {
	if !w.cfg.Embedded() {
		return nil, errors.New("the database is not embedded")
	}
	running, err := engine.Find(w.cfg.Engine.DataDir)
	if err != nil {
		return nil, err
	}
	return openEngine(context.Background(), w.cfg, running.Address, running.Credentials, role)
}

// lines are how many lines the ledger says are in; an error while nobody can tell.
func lines(db *clickhouse.DB, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	defer db.Close()
	store, err := ingest.NewStore(db, time.Now)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return store.Lines(ctx)
}

// compare fails the test unless everything that was sent is in, exactly, and nothing else.
func (w *testTown) compare(t testing.TB, db *clickhouse.DB) {
	t.Helper()
	if _, more := w.NextEvent(); more {
		t.Fatal("the town has more lines than were sent")
	}
	truth := w.Truth()
	ingesttest.CompareTruth(t, db, truth)
	batches, sum := ingesttest.CompareLedger(t, db, demoTopic, w.ends)
	_, _, kept := ingesttest.LinesIn(t, db)
	if sum.Events != uint64(truth.Totals.Events) || sum.Events+sum.Rejects != uint64(truth.Totals.Lines) || sum.Skipped+sum.Gaps != 0 || kept != sum.Rejects {
		t.Errorf("%d events, %d rejects (%d in their table), %d skipped, %d gaps; the truth is %d events of %d lines", sum.Events, sum.Rejects, kept,
			sum.Skipped, sum.Gaps, truth.Totals.Events, truth.Totals.Lines)
	}
	if w.Config().Format == "squid_native" { // the format that TruthOf knows
		want := w.sealed.Events()
		w.roles.Learn(t, w.cfg.Vault.LookupKey)
		found := w.roles.OpenAll(t, db, func(e *vault.Event) { w.sealed.Add(ingesttest.Describe(e), -1) })
		if lost, extra := w.sealed.Rest(); lost+extra > 0 || found.Events != want || want == 0 {
			t.Errorf("%d events are in the vault, %d must be: %d are missing, %d are too many", found.Events, want, lost, extra)
		}
		t.Logf("vault: %+v, each event as it was sent", found)
	}
	from, to := closedDays(time.Now())
	if r, err := aggregate.Check(t.Context(), db, from, to.AddDate(0, 0, 2)); err != nil || r.Days == 0 || len(r.Findings)+len(r.Busy) > 0 {
		t.Errorf("statistics and ledger do not agree: %+v %v", r, err)
	}
	t.Logf("%d lines: %d events and %d rejects in %d batches of %d partitions", truth.Totals.Lines, sum.Events, sum.Rejects, batches, len(w.ends))
}

// evict removes a dead process from the group, which otherwise waits for the end of its session.
func (w *testTown) evict(t testing.TB, name string) {
	t.Helper()
	cl := w.kafka.Client(t)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{w.cfg.Kafka.Group}
	described, err := describe.RequestWith(ctx, cl)
	if err != nil || len(described.Groups) != 1 {
		t.Fatal("describe the group:", err)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = w.cfg.Kafka.Group
	for _, m := range described.Groups[0].Members {
		if m.ClientID == name {
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.MemberID
			leave.Members = append(leave.Members, member)
		}
	}
	if len(leave.Members) == 0 {
		return
	}
	if _, err := leave.RequestWith(ctx, cl); err != nil {
		t.Fatal("remove a dead member from the group:", err)
	}
}

// A process is a tillsyn of its own.
type process struct {
	name   string
	cmd    *exec.Cmd
	joined chan struct{} // closed when it has joined the group
	gone   chan struct{}
	err    error // once gone
	log    *lockedBuffer
}

// start runs tillsyn with the town's configuration.
func (w *testTown) start(t testing.TB, name, command string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{name: name, joined: make(chan struct{}), gone: make(chan struct{}), log: &lockedBuffer{}}
	p.cmd = exec.Command(self, "--config", w.write(t, name), command)
	p.cmd.Env = append(os.Environ(), testMainEnv+"=1")
	var once sync.Once
	p.cmd.Stderr = writerFunc(func(b []byte) (int, error) {
		n, err := p.log.Write(b)
		if strings.Contains(p.log.String(), "joined the group") {
			once.Do(func() { close(p.joined) })
		}
		return n, err
	})
	if _, err := p.cmd.StdinPipe(); err != nil { // its end is the end of the process
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	w.started = append(w.started, p)
	t.Cleanup(func() {
		p.kill()
		for _, found := range w.personal.find([]byte(p.log.String())) {
			t.Errorf("the log of %s has the %s", name, found)
		}
	})
	return p
}

// resumed counts how often any process of the town went on with a batch that another one, or itself, had not finished.
func (w *testTown) resumed() (n int) {
	for _, p := range w.started {
		n += strings.Count(p.log.String(), "an interrupted batch is cut again")
	}
	return n
}

// kill ends it with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error is that it has gone already
	<-p.gone
}

// stop ends it as an operator does, and fails the test if that is not clean.
func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.kill()
		t.Fatalf("it does not stop:\n%s", p.log)
	}
	if p.err != nil {
		t.Fatalf("stopped: %v\n%s", p.err, p.log)
	}
}

func (p *process) over() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// patience is how long a test waits for what must come: so long that a busy machine is no failure.
const patience = 3 * time.Minute

// await asks again and again until ok answers nil, and fails the test after limit.
func await(t testing.TB, limit time.Duration, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// get answers what is at a path of the HTTP interface.
func get(t testing.TB, address, path string) string {
	t.Helper()
	res, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A service is runServe in this process.
type service struct {
	address string // of the HTTP interface
	log     *lockedBuffer
	cancel  context.CancelFunc
	ended   chan error
}

func serve(t testing.TB, cfg Config) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{log: &lockedBuffer{}, cancel: cancel, ended: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() { s.ended <- runServe(ctx, s.log, cfg, func(address string) { ready <- address }) }()
	select {
	case s.address = <-ready:
	case err := <-s.ended:
		cancel()
		t.Fatalf("serve: %v\n%s", err, s.log)
	}
	t.Cleanup(func() {
		cancel()
		if s.ended != nil {
			<-s.ended
		}
	})
	return s
}

// stop ends it as an operator does.
func (s *service) stop(t testing.TB) {
	t.Helper()
	s.cancel()
	err := <-s.ended
	s.ended = nil
	if err != nil {
		t.Fatalf("serve ended: %v\n%s", err, s.log)
	}
}

// state is the gauge partition_state of a partition: -1 if there is none.
func (s *service) state(t testing.TB, topic string, partition int) int {
	t.Helper()
	prefix := fmt.Sprintf(`tillsyn_ingest_partition_state{partition="%d",topic="%s"} `, partition, topic)
	for line := range strings.Lines(get(t, s.address, "/metrics")) {
		if value, ok := strings.CutPrefix(line, prefix); ok {
			return int(value[0] - '0')
		}
	}
	return -1
}

// owner opens the embedded database that runs now as its owner, until the test ends.
func (w *testTown) owner(t testing.TB) *clickhouse.DB {
	t.Helper()
	db, err := w.database(schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// embedded starts the embedded engine of a configuration, its schema at head, until the test ends.
func embedded(t testing.TB, cfg Config) *engine.Engine {
	t.Helper()
	e, err := startEngine(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	if err := migrateEmbedded(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return e
}

// A server is a ClickHouse that is not tillsyn's to start and stop.
type server struct {
	cfg    Config
	engine *engine.Engine
}

// startServer starts one, brings its schema to head, and makes the town's configuration name it.
func (w *testTown) startServer(t testing.TB) *server {
	t.Helper()
	s := &server{cfg: w.cfg}
	s.start(t)
	t.Cleanup(func() { s.engine.Kill() })
	for address, port := range map[string]*int{s.engine.Address(): &s.cfg.Engine.TCPPort, s.engine.HTTPAddress(): &s.cfg.Engine.HTTPPort} {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if *port, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	db := s.open(t, schemas.RoleOwner)
	defer db.Close()
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	user, password := s.engine.Credentials("tillsyn_" + schemas.RoleIngest)
	w.cfg.ClickHouse.Addresses, w.cfg.ClickHouse.Username = []string{s.engine.Address()}, user
	w.cfg.ClickHouse.PasswordFile = filepath.Join(w.dir, "password")
	if err := os.WriteFile(w.cfg.ClickHouse.PasswordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts it, also again, then on the same ports.
func (s *server) start(t testing.TB) {
	t.Helper()
	e, err := startEngine(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.engine = e
}

// revive starts it again if it is dead, and says so.
func (s *server) revive(t testing.TB) bool {
	t.Helper()
	select {
	case <-s.engine.Done():
		s.start(t)
		return true
	default:
		return false
	}
}

// open opens it as one of its roles.
func (s *server) open(t testing.TB, role string) *clickhouse.DB {
	t.Helper()
	db, err := openEngine(t.Context(), s.cfg, s.engine.Address(), s.engine.Credentials, role)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
