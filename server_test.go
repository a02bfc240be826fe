package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest"
	"tillsyn/ingest/kafka"
	"tillsyn/ingest/kafka/kafkatest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

// A realServer is a ClickHouse that tillsyn reaches as it reaches any server, by address and password.
type realServer struct {
	t       *testing.T
	dir     string
	running *engine.Running
}

// user is the user of a role, with its password in a file.
func (s realServer) user(role string) clickhouse.User {
	s.t.Helper()
	name := "tillsyn_" + role
	if role == schemas.RoleOwner {
		name = engine.Owner
	}
	name, password := s.running.Credentials(name)
	path := filepath.Join(s.dir, "password_"+role)
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return clickhouse.User{Username: name, PasswordFile: path}
}

// config is a configuration that reaches the server as some roles.
func (s realServer) config(cfg Config, roles ...string) Config {
	s.t.Helper()
	cfg.ClickHouse.Addresses = []string{s.running.Address}
	cfg.Retention.Purge.DataPaths = []string{filepath.Join(cfg.Engine.DataDir, "clickhouse")}
	cfg.Engine = engine.DefaultConfig() // not looked at
	for _, role := range roles {
		*map[string]*clickhouse.User{
			schemas.RoleOwner: &cfg.ClickHouse.Users.Owner, schemas.RoleIngest: &cfg.ClickHouse.Users.Ingest,
			schemas.RoleQuery: &cfg.ClickHouse.Users.Query, schemas.RolePurge: &cfg.ClickHouse.Users.Purge,
		}[role] = s.user(role)
	}
	return cfg
}

func (s realServer) write(name string, cfg Config) (path string) {
	s.t.Helper()
	text, err := dumpConfig(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// On a server each command signs in as the user of its role, with the grants of that role and no others: a case goes from its request
// to its end, a day is purged, and no user can do what is another's.
func TestRolesOnAServer(t *testing.T) {
	w := newCourtTown(t)
	running, err := engine.Find(w.cfg.Engine.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	s := realServer{t, w.dir, running}
	investigator := w.member("utredare")
	subject := w.subjects[0]
	want := w.within(subject, w.from, w.to, false)
	const number = "KS 2026/0070"

	base := w.cfg
	for _, class := range []*vault.ClassRetention{&base.Retention.Web, &base.Retention.Mail, &base.Retention.Rejects} {
		class.Days, class.Decisions = 2, nil
		for _, tenant := range w.cfg.Tenants() {
			class.Decisions = append(class.Decisions, vault.RetentionDecision{Tenant: tenant, Number: "KS 2026/17", From: "2026-01-01"})
		}
	}
	base.Ingest.Sources, base.Kafka.Brokers = nil, nil // the logs came from a file
	base.Retention.Purge.WithoutKafka = true
	under := func(file string) func(code int, stdin string, args ...string) (string, string) {
		return func(code int, stdin string, args ...string) (string, string) {
			t.Helper()
			w.file = file
			return w.must(code, stdin, args...)
		}
	}
	gate := under(s.write("gate.yaml", s.config(base, schemas.RoleQuery)))
	purge := under(s.write("purge.yaml", s.config(base, schemas.RolePurge)))
	ingest := under(s.write("ingest.yaml", s.config(base, schemas.RoleIngest)))

	// The gate reads, and can neither hold, remove, write nor migrate.
	gate(exitOK, w.draft(number, subject), args("decision", "request", w.as("hr.b"), "-")...)
	for _, who := range []string{"hr.a", "security.a", "manager.a"} {
		gate(exitOK, "", args("decision", "approve", w.as(who), "--yes", number)...)
	}
	gate(exitOK, "Vision, ombud Testsson\n", args("decision", "notify", w.as("hr.a"), "--told", "-", number)...)
	rows, _ := gate(exitOK, "", args("lookup", investigator, "--json", number)...)
	if got := w.rowsOf(rows); len(want) < 20 || !slices.Equal(got, want) {
		t.Fatalf("the lookup has %d rows, the truth %d", len(got), len(want))
	}
	gate(exitOK, "", "report", "web", "--from", w.from.String(), "--to", w.to.String())
	refused := func(run func(int, string, ...string) (string, string), role string, args ...string) {
		t.Helper()
		if _, faults := run(exitUsage, "", args...); !strings.Contains(faults, "clickhouse.users."+role+".username: is missing") {
			t.Errorf("%v: %s", args, faults)
		}
	}
	log := filepath.Join(w.dir, "access.log")
	refused(gate, schemas.RolePurge, args("hold", "place", investigator, number)...)
	refused(gate, schemas.RolePurge, "hold", "list")
	refused(gate, schemas.RolePurge, "purge", "--run")
	refused(gate, schemas.RolePurge, "purge", "--daily")
	refused(gate, schemas.RoleOwner, "migrate")
	refused(gate, schemas.RoleIngest, "import", "--format", "squid_native", "--tenant", w.tenant, log)
	refused(ingest, schemas.RoleQuery, "report", "web")
	refused(ingest, schemas.RoleQuery, args("lookup", investigator, number)...)
	refused(ingest, schemas.RolePurge, "purge", "--run")
	ingest(exitOK, "", "import", "--format", "squid_native", "--tenant", w.tenant, log) // it is in already: nothing is counted twice

	// Purge holds what the open case needs, with its own user alone, and removes the rest.
	refused(purge, schemas.RoleQuery, args("lookup", investigator, number)...)
	if out, _ := purge(exitOK, "", args("hold", "place", investigator, number)...); !strings.Contains(out, "is in force") {
		t.Error(out)
	}
	if out, _ := purge(exitFound, "", "purge", "--verify"); !strings.Contains(out, w.from.String()) {
		t.Error(out)
	}
	if out, _ := purge(exitOK, "", "purge", "--run"); !strings.Contains(out, w.from.String()) {
		t.Error(out)
	}
	purge(exitOK, "", "purge", "--verify")
	rows, _ = gate(exitOK, "", args("lookup", investigator, "--json", number)...)
	if got := w.rowsOf(rows); !slices.Equal(got, want) {
		t.Errorf("after the purge the open case has %d rows, the truth %d", len(got), len(want))
	}
	gate(exitOK, "samtal är fört\n", args("decision", "close", investigator, "--result", "-", number)...)
	purge(exitOK, "", args("hold", "release", investigator, number)...)
	purge(exitOK, "", "purge", "--run")
	gate(exitOK, "", "audit", "verify")

	// A user in another's place is refused before anything is done with it.
	wrong := func(what, want string, change func(*Config)) {
		t.Helper()
		cfg := s.config(base)
		change(&cfg)
		if _, faults := under(s.write("wrong.yaml", cfg))(exitUsage, "", "purge", "--run"); !strings.Contains(faults, want) {
			t.Errorf("%s: %s", what, faults)
		}
	}
	wrong("the reader purges", "clickhouse.users.purge.username: the user tillsyn_query has not the grants of the role purge", func(c *Config) { c.ClickHouse.Users.Purge = s.user(schemas.RoleQuery) })
	wrong("the writer purges", "clickhouse.users.purge.username: the user tillsyn_ingest has not the grants of the role purge", func(c *Config) { c.ClickHouse.Users.Purge = s.user(schemas.RoleIngest) })
	wrong("the owner purges", "clickhouse.users.purge.username: the user tillsyn may do more than the role purge needs: ", func(c *Config) { c.ClickHouse.Users.Purge = s.user(schemas.RoleOwner) })
	wrong("the one user is the writer", "clickhouse.username: the user tillsyn_ingest has not the grants of the role purge", func(c *Config) {
		u := s.user(schemas.RoleIngest)
		c.ClickHouse.Username, c.ClickHouse.PasswordFile = u.Username, u.PasswordFile
	})
	wrong("no password", "clickhouse.users.purge.password_file: ", func(c *Config) {
		c.ClickHouse.Users.Purge = clickhouse.User{Username: "tillsyn_purge", PasswordFile: filepath.Join(w.dir, "none")}
	})
	wrong("a password for everybody", "clickhouse.users.purge.password_file: other users of this machine can read", func(c *Config) {
		u := s.user(schemas.RolePurge)
		c.ClickHouse.Users.Purge = u
		if err := os.Chmod(u.PasswordFile, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	ingestDB, err := openServer(t.Context(), s.config(base, schemas.RoleIngest).ClickHouse, schemas.RoleIngest)
	if err != nil {
		t.Fatal(err)
	}
	defer ingestDB.Close()
	drop, err := schemas.Query("vault/purge_drop_web_keys")
	if err != nil {
		t.Fatal(err)
	}
	if err := ingestDB.Exec(t.Context(), drop, clickhouse.Params{"day": w.to.String()}); clickhouse.Code(err) != 497 {
		t.Errorf("the writer drops keys: %v", err)
	}
}

// 'tillsyn purge --daily' refuses to start without retention decisions, purges at once when it has them, and is healthy; a second one
// beside it finds nothing to do, and neither certifies what the other did.
func TestPurgeDaily(t *testing.T) {
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.relativeTo(dir)
	cfg.Log.Level, cfg.HTTP.Listen = "warn", "127.0.0.1:0"
	cfg.Engine.MemoryLimit = 1 << 30
	cfg.Audit.Deployment = "test"
	cfg.Retention.Purge.WithoutKafka = true
	e, err := startEngine(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	running, err := engine.Find(cfg.Engine.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	s := realServer{t, dir, running}
	owner := s.write("owner.yaml", s.config(cfg, schemas.RoleOwner))
	cfg = s.config(cfg, schemas.RolePurge)
	run := func(want int, file string, args ...string) string {
		t.Helper()
		code, out, errs := runTillsyn(t, append([]string{"--config", file}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	run(exitOK, owner, "migrate")
	db, err := openEngine(t.Context(), cfg, running.Address, running.Credentials, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	old := time.Now().UTC().AddDate(0, 0, -90).Format(time.DateOnly)
	tenant := cfg.Tenants()[0]
	for _, sql := range []string{
		`INSERT INTO web_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate) SELECT {day:Date}, {tenant:String}, 'staff', 'hamn', sipHash128(number), sipHash128('k', number), randomString(80, 1), randomString(80, 2), randomString(80, 3), randomString(80, 4) FROM numbers(20)`,
		`INSERT INTO web_capsules SELECT {day:Date}, 0, {tenant:String}, 'hamn', sipHash128(number), sipHash128('k', number), toDateTime({day:Date}), toDateTime({day:Date}), 1, randomString(90), 0, toDateTime(0, 'UTC') FROM numbers(20)`,
	} {
		if err := db.Exec(t.Context(), sql, clickhouse.Params{"day": old, "tenant": tenant}); err != nil {
			t.Fatal(err)
		}
	}

	file := s.write("purge.yaml", cfg)
	run(exitUsage, file, "purge", "--daily", "--run")
	run(exitUsage, file, "purge", "--daily", "--json")
	if out := run(exitRefused, file, "purge", "--daily"); !strings.Contains(out, fmt.Sprintf("tenant %q has none in force in retention.web.decisions", tenant)) || !strings.Contains(out, "retention.rejects.decisions") {
		t.Error(out)
	}
	decision := func(from string) []vault.RetentionDecision {
		return []vault.RetentionDecision{{Tenant: tenant, Number: "KS 2026/17", From: from}}
	}
	cfg.Retention.Web.Decisions, cfg.Retention.Mail.Decisions, cfg.Retention.Rejects.Decisions = decision("2026-01-01"), decision("2026-01-01"), decision("2099-01-01")
	if out := run(exitRefused, s.write("purge.yaml", cfg), "purge", "--daily"); strings.Contains(out, "retention.web") || !strings.Contains(out, "retention.rejects.decisions") {
		t.Error(out)
	}
	cfg.Retention.Rejects.Decisions = decision("2026-01-01")

	var logs [2]*lockedBuffer
	var addresses [2]string
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	ready := make(chan string, 2)
	for i := range logs {
		logs[i] = &lockedBuffer{}
		go func() { ended <- runPurgeDaily(ctx, logs[i], cfg, func(address string) { ready <- address }) }()
	}
	t.Cleanup(stop)
	for i := range addresses {
		select {
		case addresses[i] = <-ready:
		case err := <-ended:
			t.Fatalf("%v\n%s%s", err, logs[0], logs[1])
		}
	}
	done := func(address string) error {
		text := get(t, address, "/metrics")
		for _, want := range []string{"tillsyn_purge_runs_total 1\n", "tillsyn_purge_failures_total 0\n", "tillsyn_purge_overdue 0\n", "tillsyn_purge_overdue_days -1\n"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("no %s", want)
			}
		}
		if strings.Contains(text, "tillsyn_purge_last_success_timestamp_seconds 0\n") {
			return fmt.Errorf("it has not ended yet")
		}
		return nil
	}
	for _, address := range addresses {
		await(t, time.Minute, "a purge", func() error { return done(address) })
		response, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("not healthy: %s", body)
		}
	}
	stop()
	for range addresses {
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s%s", err, logs[0], logs[1])
		}
	}
	file = s.write("purge.yaml", cfg)
	if out := run(exitOK, file, "audit", "list"); strings.Count(out, "purge.certificate") != 1 || strings.Contains(out, "purge.failed") {
		t.Errorf("one day, purged by two, is on record as\n%s", out)
	}
	run(exitOK, file, "purge", "--verify")
	run(exitOK, file, "audit", "verify")
}

// 'tillsyn serve' on a server purges too where it is told whom to purge as; 'tillsyn ingest' never does, whatever it is told.
func TestServeOnAServer(t *testing.T) {
	w, _ := emptyTown(t)
	w.kafka.CreateTopic(t, "proxy-log", 1)
	w.read("proxy-log", "")
	w.cfg.HTTP.Listen = "127.0.0.1:0"
	for _, p := range []*string{&w.cfg.Audit.Directory, &w.cfg.Audit.Key, &w.cfg.Keys.Gate, &w.cfg.Retention.Purge.Lock, &w.cfg.Retention.Purge.Key, &w.cfg.Retention.Purge.Certificates} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(w.dir, *p)
		}
	}
	embedded := w.cfg
	w.startServer(t)
	running, err := engine.Find(embedded.Engine.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := realServer{t, w.dir, running}.config(embedded, schemas.RoleIngest, schemas.RolePurge)
	s := serve(t, cfg)
	await(t, time.Minute, "a purge", func() error {
		if text := get(t, s.address, "/metrics"); !strings.Contains(text, "tillsyn_purge_overdue_days -1\n") || strings.Contains(text, "tillsyn_purge_last_success_timestamp_seconds 0\n") {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	if health := get(t, s.address, "/healthz"); health != "ok\n" {
		t.Error(health)
	}
	s.stop(t)

	file := realServer{t, w.dir, running}.write("ingest.yaml", cfg)
	var log lockedBuffer
	app := newApp()
	app.Writer, app.ErrWriter = io.Discard, &log
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, app, []string{"tillsyn", "--config", file, "ingest"}) }()
	await(t, time.Minute, "ingest runs", func() error {
		if !strings.Contains(log.String(), "metrics and health") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	stop()
	if code := <-ended; code != exitOK || !strings.Contains(log.String(), "nothing is purged here") {
		t.Errorf("exit code %d\n%s", code, log.String())
	}
	cfg.ClickHouse.Users.Ingest = clickhouse.User{}
	code, _, errs := runTillsyn(t, "--config", realServer{t, w.dir, running}.write("ingest.yaml", cfg), "ingest")
	if code != exitUsage || !strings.Contains(errs, "clickhouse.users.ingest.username: is missing") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// A describer keeps what is registered with it: the names of metrics, and the labels of each.
type describer map[string][]string

func (d describer) Register(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc, 100)
	c.Describe(descriptions)
	close(descriptions)
	pattern := regexp.MustCompile(`fqName: "([^"]+)".* variableLabels: \{([^}]*)\}`)
	for text := range descriptions {
		m := pattern.FindStringSubmatch(text.String())
		if m == nil {
			return fmt.Errorf("can't read %s", text)
		}
		d[m[1]] = strings.Split(m[2], ",")
	}
	return nil
}

func (d describer) MustRegister(...prometheus.Collector) { panic("nobody does") }
func (d describer) Unregister(prometheus.Collector) bool { return false }

// Every alert is about metrics and labels that tillsyn has, and tells its operator in English and Swedish.
func TestAlerts(t *testing.T) {
	broker := kafkatest.StartFake(t)
	cfg := DefaultConfig()
	cfg.relativeTo(t.TempDir())
	cfg.Engine.MemoryLimit = 1 << 30
	cfg.Kafka.Brokers, cfg.Kafka.Cluster = []string{broker.Plain.Addr}, "test"
	cfg.Ingest.Sources = []ingest.Source{{Topic: "proxy-log", Tenant: "default", Format: "squid_native"}}
	embedded(t, cfg)
	db, err := openDatabase(t.Context(), cfg, schemas.RoleIngest)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	metrics, quiet := describer{}, slog.New(slog.DiscardHandler)
	if _, err := newIngestion(t.Context(), cfg, db.DB, quiet, metrics); err != nil {
		t.Fatal(err)
	}
	if _, err := kafka.New(cfg.Topics(), quiet, metrics); err != nil {
		t.Fatal(err)
	}
	_, closer, err := schedulePurge(t.Context(), cfg, "serve", quiet, metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer closer()
	if len(metrics) < 30 {
		t.Fatalf("only %d metrics were found", len(metrics))
	}

	text, err := os.ReadFile("deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] != "warning" && r.Labels["severity"] != "critical" {
				t.Errorf("alert %q of severity %q", r.Alert, r.Labels["severity"])
			}
			seen[r.Alert] = true
			has := []string{}
			names := regexp.MustCompile(`tillsyn_\w+`).FindAllString(r.Expr, -1)
			for _, name := range names {
				if metrics[name] == nil {
					t.Errorf("%s: no metric is called %s", r.Alert, name)
				}
				has = append(has, metrics[name]...)
			}
			if len(names) == 0 || strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				t.Errorf("%s: %s", r.Alert, r.Expr)
			}
			english, swedish := r.Annotations["summary"], r.Annotations["summary_sv"]
			if english == "" || swedish == "" || english == swedish || len(r.Annotations) != 2 {
				t.Errorf("%s: %q", r.Alert, r.Annotations)
			}
			used := regexp.MustCompile(`\$labels\.(\w+)|by \((\w+)\)|\{(\w+)=`).FindAllStringSubmatch(english+swedish+r.Expr, -1)
			for _, m := range used {
				if label := m[1] + m[2] + m[3]; !slices.Contains(has, label) {
					t.Errorf("%s: its metrics have no label %s", r.Alert, label)
				}
			}
			for _, said := range regexp.MustCompile(`'tillsyn ([^']+)'`).FindAllStringSubmatch(english+swedish, -1) {
				if code, _, errs := runTillsyn(t, append(strings.Fields(said[1]), "--help")...); code != exitOK {
					t.Errorf("%s: tillsyn %s: %s", r.Alert, said[1], errs)
				}
			}
			if r.For != "" {
				if _, err := time.ParseDuration(r.For); err != nil {
					t.Errorf("%s: %v", r.Alert, err)
				}
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d alerts", len(seen))
	}
}

// Processes that start at once make one key, and all of them sign with it.
func TestPurgeKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "var", "purge.key")
	keys := make(chan string, 16)
	for range cap(keys) {
		go func() {
			signer, err := openPurgeKey(path, "test")
			if err != nil {
				keys <- err.Error()
				return
			}
			keys <- signer.Verifier()
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		if k := <-keys; k != first || !strings.HasPrefix(k, "test/purge+") {
			t.Errorf("%s and %s", first, k)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openPurgeKey(path, "test"); err == nil || !strings.Contains(err.Error(), "mode 0600") {
		t.Errorf("a key for everybody: %v", err)
	}
}

// The configurations of docker-compose.yml, as they are but for the places of things, with the users and the topic that it makes: the
// schema is made, lines are read, a ceremony begins, a day is purged and certified, and each service does its own part only.
func TestComposeRuns(t *testing.T) {
	dir := t.TempDir()
	broker := kafkatest.StartFake(t)
	text, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	milliseconds := func(name string) string {
		m := regexp.MustCompile(name + `: "(\d+)"`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("docker-compose.yml has no %s", name)
		}
		d, err := time.ParseDuration(string(m[1]) + "h")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(d.Milliseconds())
	}
	broker.Plain.CreateTopic(t, "proxy-squid", 2, "retention.ms", milliseconds("KAFKA_LOG_RETENTION_HOURS"), "segment.ms", milliseconds("KAFKA_LOG_ROLL_HOURS"),
		"cleanup.policy", "delete")
	w := &testTown{kafka: broker.Plain}

	cfg := DefaultConfig()
	cfg.relativeTo(dir)
	cfg.Engine.MemoryLimit = 1 << 30
	e, err := startEngine(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	running, err := engine.Find(cfg.Engine.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	s := realServer{t, dir, running}
	places := []string{
		"/var/lib/tillsyn", filepath.Join(dir, "state"), "/var/lib/clickhouse", filepath.Join(cfg.Engine.DataDir, "clickhouse"), "clickhouse:9000", running.Address,
		"kafka:19092", broker.Plain.Addr, "0.0.0.0:9464", "127.0.0.1:0", "decisions: []", "decisions:", "# - {tenant", "- {tenant",
	}
	for _, role := range []string{schemas.RoleOwner, schemas.RoleIngest, schemas.RoleQuery, schemas.RolePurge} {
		places = append(places, "/run/secrets/clickhouse_"+role, s.user(role).PasswordFile)
	}
	files := map[string]string{}
	for _, name := range []string{"migrate", "ingest", "report", "case", "purge"} {
		text, err := os.ReadFile("deploy/compose/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		files[name] = filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(files[name], []byte(strings.NewReplacer(places...).Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call := func(want int, service string, args ...string) string {
		t.Helper()
		code, out, errs := runTillsyn(t, append([]string{"--config", files[service]}, args...)...)
		if code != want {
			t.Fatalf("%s %v: exit %d, want %d\n%s%s", service, args, code, want, out, errs)
		}
		return out + errs
	}
	// stay runs a service until stop, which answers what it logged.
	stay := func(service, until string, args ...string) (stop func() string) {
		t.Helper()
		log := &lockedBuffer{}
		app := newApp()
		app.Writer, app.ErrWriter = io.Discard, log
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, app, append([]string{"tillsyn", "--config", files[service]}, args...)) }()
		await(t, time.Minute, service, func() error {
			if !strings.Contains(log.String(), until) {
				return fmt.Errorf("not yet: %s", log)
			}
			return nil
		})
		return func() string {
			t.Helper()
			cancel()
			if code := <-ended; code != exitOK {
				t.Errorf("%s: exit code %d\n%s", service, code, log)
			}
			return log.String()
		}
	}

	call(exitOK, "migrate", "migrate")
	now := time.Now().Add(-time.Hour)
	w.send(t, "proxy-squid", squidLines(now, 200)...)
	stopIngest := stay("ingest", "metrics and health", "ingest")
	db, err := openEngine(t.Context(), cfg, running.Address, running.Credentials, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	await(t, time.Minute, "lines are in", func() error {
		var n uint64
		if err := db.Query(t.Context(), "SELECT sum(events) AS n FROM ledger", nil, func(r clickhouse.Row) error { return r.Scan(&n) }); err != nil || n == 200 {
			return err
		}
		return fmt.Errorf("%d of them", n)
	})
	if log := stopIngest(); !strings.Contains(log, "nothing is purged here") {
		t.Error(log)
	}
	call(exitOK, "report", "report", "web")
	call(exitUsage, "report", "hold", "list")

	call(exitOK, "case", "keys", "init", "--tenant", "default")
	call(exitOK, "case", "decision", "list")
	if out := call(exitUsage, "case", "hold", "list"); !strings.Contains(out, "clickhouse.users.purge.username: is missing") {
		t.Error(out)
	}

	old := time.Now().UTC().AddDate(0, 0, -90).Format(time.DateOnly)
	if err := db.Exec(t.Context(), `INSERT INTO web_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate) SELECT {day:Date}, 'default', 'staff', 'hamn', sipHash128(number), sipHash128('k', number), randomString(80, 1), randomString(80, 2), randomString(80, 3), randomString(80, 4) FROM numbers(20)`,
		clickhouse.Params{"day": old}); err != nil {
		t.Fatal(err)
	}
	if log := stay("purge", "purged and certified", "purge", "--daily")(); strings.Contains(log, `"level":"ERROR"`) {
		t.Error(log)
	}
	call(exitOK, "purge", "purge", "--verify")
	call(exitOK, "purge", "hold", "list")
	call(exitOK, "case", "audit", "verify")
	certificates, err := filepath.Glob(filepath.Join(dir, "state", "purge", "certificates", "*.note"))
	if err != nil || len(certificates) != 1 {
		t.Fatalf("certificates: %v %v", certificates, err)
	}
	note, err := os.ReadFile(certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"examined": true`, `"asked": true`, `"topic": "proxy-squid"`, `"retention_ms": 259200000`, "KS 2026/17"} {
		if !strings.Contains(string(note), want) {
			t.Errorf("the certificate has no %s:\n%s", want, note)
		}
	}
}
