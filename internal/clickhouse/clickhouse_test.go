package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/goccy/go-yaml"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/schemas"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// start starts an engine with one user for each role.
func start(t testing.TB) *engine.Engine {
	t.Helper()
	users := map[string]engine.User{}
	for _, role := range []string{schemas.RoleIngest, schemas.RoleQuery, schemas.RoleDashboards, schemas.RolePurge} {
		grants, err := schemas.Grants(role, "tillsyn")
		if err != nil {
			t.Fatal(err)
		}
		settings, constraints, err := schemas.Profile(role)
		if err != nil {
			t.Fatal(err)
		}
		users["tillsyn_"+role] = engine.User{Grants: grants, Settings: settings, Constraints: constraints}
	}
	return enginetest.Start(t, enginetest.Config(t, users))
}

func configFor(e *engine.Engine, user string) Config {
	cfg := DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	name, password := e.Credentials(user)
	cfg.Username, cfg.Password = name, Password(password)
	return cfg
}

func open(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// owner starts an engine and opens it as its owner, with an empty database.
func owner(t testing.TB) *DB {
	t.Helper()
	db := open(t, configFor(start(t), engine.Owner))
	if _, err := db.Migrate(t.Context(), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	return db
}

func exec(t testing.TB, db *DB, sql string) {
	t.Helper()
	if err := db.Exec(t.Context(), sql, nil); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// text answers the first column of a query's rows, joined by commas.
func text(t testing.TB, db *DB, sql string) string {
	t.Helper()
	var all []string
	if err := db.Query(t.Context(), sql, nil, func(r Row) error {
		var s string
		err := r.Scan(&s)
		all = append(all, s)
		return err
	}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(all, ",")
}

func TestConfigValidate(t *testing.T) {
	good := DefaultConfig()
	good.Username = "tillsyn_query"
	if err := good.Validate(); err != nil {
		t.Fatalf("the default configuration is refused: %v", err)
	}
	bad := Config{
		Addresses: []string{"nowhere", ":1", "a:"}, Database: "a b; drop", Password: "x", PasswordFile: "y",
		TLS: TLS{CertFile: "c"}, DialTimeout: -1, QueryMemory: 1,
	}
	err := bad.Validate()
	for _, want := range []string{"nowhere", `":1"`, `"a:"`, "database", "username", "password_file", "enabled is false", "cert_file", "dial_timeout", "insert_timeout", "query_timeout", "query_memory", "max_connections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the faults don't name %s: %v", want, err)
		}
	}
	var c Config
	if err := yaml.UnmarshalWithOptions([]byte("password: secret\n"), &c, yaml.Strict()); err == nil {
		t.Error("a password in the configuration file is taken")
	}
}

// Each role signs in as its own user, with a password that nobody else on the machine can read.
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("secret", "hunter2\n", 0o600)
	good := DefaultConfig()
	good.Users = Users{Ingest: User{"i", secret}, Query: User{"q", write("query", "hunter3\r\n", 0o440)}, Purge: User{Username: "p"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for role, want := range map[string]User{schemas.RoleIngest: {"i", "hunter2"}, schemas.RoleQuery: {"q", "hunter3"}, schemas.RolePurge: {"p", ""}} {
		c, err := good.As(role)
		if err != nil || c.Username != want.Username || string(c.Password) != want.PasswordFile || c.Users != (Users{}) || c.PasswordFile != "" || c.Validate() != nil {
			t.Errorf("%s signs in as %q with the password file %q: %v", role, c.Username, c.PasswordFile, err)
		}
	}
	single := DefaultConfig()
	single.Username, single.PasswordFile = "one", secret
	for _, role := range schemas.Roles() {
		if c, err := single.As(role); err != nil || c.Username != "one" || c.Password != "hunter2" {
			t.Errorf("%s: %v", role, err)
		}
	}
	for _, role := range []string{schemas.RoleOwner, schemas.RoleDashboards} {
		if _, err := good.As(role); err == nil || !strings.HasPrefix(err.Error(), "users."+role+".username: is missing") {
			t.Errorf("%s: %v", role, err)
		}
	}
	if _, err := Open(t.Context(), good); err == nil || !strings.Contains(err.Error(), "users") {
		t.Errorf("opened as nobody in particular: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"users: contradicts username":                    func(c *Config) { c.Username = "tillsyn" },
		"users: contradicts":                             func(c *Config) { c.PasswordFile = secret },
		"users.owner.username: is missing":               func(c *Config) { c.Users.Owner.PasswordFile = secret },
		"users.purge.username: is that of users.query":   func(c *Config) { c.Users.Purge.Username = "q" },
		"username: is empty: name the user":              func(c *Config) { c.Users = Users{} },
		"users.ingest.username: is that of users.owner:": func(c *Config) { c.Users.Owner.Username = "i" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for name, path := range map[string]string{
		"others may read it": write("read", "x", 0o644), "others may change it": write("change", "x", 0o602), "its group may change it": write("group", "x", 0o620),
		"it is empty": write("empty", "\n", 0o600), "it is missing": filepath.Join(dir, "none"), "it is a folder": dir,
	} {
		c := good
		c.Users.Purge.PasswordFile = path
		_, err := c.As(schemas.RolePurge)
		if err == nil || !strings.HasPrefix(err.Error(), "users.purge.password_file: ") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		c = single
		c.PasswordFile = path
		if _, err := c.As(schemas.RolePurge); err == nil || !strings.HasPrefix(err.Error(), "password_file: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	c := DefaultConfig()
	c.Password = "hunter2"
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", c.Password, "config", c)
	j, _ := json.Marshal(c)
	y, _ := yaml.Marshal(struct{ P Password }{c.Password})
	for _, s := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c.Password, c.Password, c.Password, c.Password), string(j), string(y), log.String(),
	} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the password shows: %s", s)
		}
	}
}

func TestOpenFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"refused":                 {func(c *Config) { c.Addresses = []string{nobody} }, "connection refused"},
		"wrong password":          {func(c *Config) { c.Password = "wrong" }, ""}, // the embedded engine dies of it: its answer may be lost
		"no such file":            {func(c *Config) { c.Password, c.PasswordFile = "", filepath.Join(dir, "none") }, "password_file"},
		"no such ca":              {func(c *Config) { c.TLS = TLS{Enabled: true, CAFile: filepath.Join(dir, "none")} }, "ca_file"},
		"tls to a server without": {func(c *Config) { c.TLS = TLS{Enabled: true} }, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			good := configFor(start(t), engine.Owner)
			c := good
			c.DialTimeout = time.Second
			tc.change(&c)
			db, err := Open(t.Context(), c)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), string(good.Password)) {
				t.Errorf("got %v, want %q in it and no password", err, tc.want)
			}
		})
	}
	good := configFor(start(t), engine.Owner)
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(string(good.Password)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good.Password, good.PasswordFile = "", file
	if err := open(t, good).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReconnectsAfterAnOutage(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	e, err := engine.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(e.Address())
	fmt.Sscan(port, &cfg.TCPPort)
	db := open(t, configFor(e, engine.Owner))
	if _, err := db.Migrate(t.Context(), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	insert := Insert{Query: "INSERT INTO n (n)", Columns: []any{[]uint64{1, 2, 3}}}
	if err := db.Insert(t.Context(), insert); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	// An idle connection in the pool is found dead before anything is sent, so nothing is unknown about this one.
	if err := db.Insert(t.Context(), insert); !errors.Is(err, ErrNotInserted) {
		t.Errorf("insert while the server is gone: %v, want ErrNotInserted", err)
	}
	if err := db.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("ping while the server is gone: %v", err)
	}
	again := enginetest.Start(t, cfg)
	if again.Address() != e.Address() {
		t.Fatalf("the engine moved from %s to %s", e.Address(), again.Address())
	}
	if err := db.Insert(t.Context(), insert); err != nil {
		t.Fatalf("insert after the outage: %v", err)
	}
	if got := text(t, db, "SELECT toString(count()) FROM n"); got != "6" {
		t.Errorf("%s rows, want 6", got)
	}
}

func TestExplainQuotesNoValue(t *testing.T) {
	for code, want := range map[int32]string{
		516: "does not know this user and password", 60: "tillsyn migrate", 81: "tillsyn migrate", 241: "query_memory", 497: "schemas/grants", 164: "schemas/grants",
		457: "does not fit its parameter", 53: "error 53", 469: "error 469",
	} {
		err := fmt.Errorf("wrapped: %w", &driver.Exception{Code: code, Message: "about\nanna"})
		got := explain(err, true)
		quotes := map[int32]bool{516: true, 60: true, 81: true, 241: true, 497: true, 164: true}[code]
		if Code(got) != int(code) || !strings.Contains(got.Error(), want) || strings.Contains(got.Error(), "anna") != quotes || strings.Contains(got.Error(), "\n") {
			t.Errorf("code %d: %v", code, got)
		}
		if got := explain(err, false); !strings.Contains(got.Error(), "about anna") {
			t.Errorf("code %d without values: %v", code, got)
		}
	}
}

// A context that ends in the middle of anything costs that call only: the engine lives on and has no query left.
func TestCancelAnywhere(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	if _, err := db.Migrate(t.Context(), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE c (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	n := make([]uint64, 20_000)
	cancelled := 0
	for i := range 150 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*time.Microsecond)
		var err error
		switch i % 3 {
		case 0:
			err = db.Query(ctx, "SELECT number, toString(number) FROM numbers(300000)", nil, func(Row) error { return nil })
		case 1:
			err = db.Insert(ctx, Insert{Query: "INSERT INTO c (n)", Columns: []any{n}})
		case 2:
			other, openErr := Open(ctx, configFor(e, engine.Owner))
			if err = openErr; err == nil {
				err = other.Close()
			}
		}
		cancel()
		if err != nil {
			cancelled++
		}
	}
	t.Logf("%d of 150 calls were cut", cancelled)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); text(t, db, "SELECT toString(count()) FROM system.processes WHERE query_id != queryID() AND user = currentUser()") != "0"; {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("a cancelled query still runs")
		}
	}
}

func TestVersion(t *testing.T) {
	for version, old := range map[string]bool{"26.2.9.1": true, "26.3.1.1": false, "26.7.2.1": false, "27.1": false, "9.12": true, "": true, "head": true} {
		if older(version, MinVersion) != old {
			t.Errorf("older(%q) is not %v", version, old)
		}
	}
}

func TestCheckSettings(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{engine.Owner, "tillsyn_ingest"} {
		if err := open(t, configFor(e, user)).CheckSettings(t.Context()); err != nil {
			t.Errorf("user %s: %v", user, err)
		}
	}
	got, err := db.Settings(t.Context(), "async_insert", "max_insert_block_size")
	if err != nil || got["async_insert"] != "false" || got["max_insert_block_size"] != "1048449" {
		t.Errorf("Settings: %v %v", got, err)
	}
	if _, err := db.Settings(t.Context(), "no_such_setting"); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("an unknown setting: %v", err)
	}
	exec(t, db, "CREATE TABLE loose (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100")
	err = db.CheckSettings(t.Context())
	for _, want := range []string{"fsync_after_insert of table loose", "fsync_part_directory of table loose", "non_replicated_deduplication_window of table loose"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not named: %s in %v", want, err)
		}
	}
	// A user who may change no setting can't insert safely: refused by name, not found out at the first batch.
	fixed := enginetest.Start(t, enginetest.Config(t, map[string]engine.User{
		"reader": {Grants: []string{"GRANT SELECT ON tillsyn.*"}, Settings: map[string]string{"readonly": "1"}},
	}))
	if err := open(t, configFor(fixed, "reader")).CheckSettings(t.Context()); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a user with readonly = 1: %v", err)
	}
}

func TestMigrate(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	one := fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE IF NOT EXISTS a (n UInt64, s String DEFAULT 'x;y') ENGINE = MergeTree ORDER BY n; -- ; \nCREATE OR REPLACE VIEW v AS SELECT ';' AS s FROM a;")}}
	two := fstest.MapFS{"0001_a.sql": one["0001_a.sql"], "0002_b.sql": {Data: []byte("ALTER TABLE a ADD COLUMN IF NOT EXISTS m UInt8")}}

	if err := db.Check(t.Context(), one); !errors.Is(err, ErrNotMigrated) {
		t.Fatalf("before the database exists: %v", err)
	}
	plan, err := db.PlanMigration(t.Context(), one)
	if err != nil || len(plan) != 1 || !plan[0].Applied.IsZero() || len(plan[0].Statements) != 2 {
		t.Fatalf("plan: %+v %v", plan, err)
	}
	if got := text(t, db.asBootstrap(), "SELECT toString(count()) FROM system.databases WHERE name = 'tillsyn'"); got != "0" {
		t.Fatal("a plan made the database")
	}
	if _, err := db.Migrate(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context(), two); !errors.Is(err, ErrNotMigrated) || !strings.Contains(err.Error(), "0002_b.sql") {
		t.Fatalf("one file behind: %v", err)
	}
	steps, err := db.Migrate(t.Context(), two)
	if err != nil || steps[0].Applied.IsZero() || !steps[1].Applied.IsZero() {
		t.Fatalf("the second run: %+v %v", steps, err)
	}
	before := text(t, db, "SELECT name || checksum FROM schema_migrations ORDER BY name")
	if _, err := db.Migrate(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if after := text(t, db, "SELECT name || checksum FROM schema_migrations ORDER BY name"); after != before {
		t.Errorf("the third run applied something: %s, then %s", before, after)
	}

	changed := fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE IF NOT EXISTS other (n UInt64) ENGINE = MergeTree ORDER BY n")}, "0002_b.sql": two["0002_b.sql"]}
	between := fstest.MapFS{"0001_a.sql": one["0001_a.sql"], "0002_b.sql": two["0002_b.sql"], "0000_z.sql": {Data: []byte("DROP VIEW IF EXISTS w")}}
	for name, tc := range map[string]struct {
		dir  fstest.MapFS
		want string
	}{
		"changed file":   {changed, "0001_a.sql was changed"},
		"file before":    {between, "0000_z.sql sorts before 0002_b.sql"},
		"older tillsyn":  {one, "0002_b.sql, which this tillsyn does not know"},
		"not repeatable": {fstest.MapFS{"0003_c.sql": {Data: []byte("\n\nINSERT INTO a VALUES (1)")}}, "0003_c.sql line 3"},
	} {
		for way, do := range map[string]func() error{
			"Migrate": func() error { _, err := db.Migrate(t.Context(), tc.dir); return err },
			"Check":   func() error { return db.Check(t.Context(), tc.dir) },
		} {
			if err := do(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: %v, want %q", name, way, err, tc.want)
			}
		}
	}
}

// asBootstrap queries without a database.
func (db *DB) asBootstrap() *DB {
	other := *db
	other.packed = db.bootstrap
	return &other
}

func TestMigrateGoesOnAfterAFaultInTheMiddle(t *testing.T) {
	db := owner(t)
	broken := "CREATE TABLE IF NOT EXISTS a (n UInt64) ENGINE = MergeTree ORDER BY n; CREATE OR REPLACE VIEW v AS SELECT n FROM nowhere"
	mended := "CREATE TABLE IF NOT EXISTS a (n UInt64) ENGINE = MergeTree ORDER BY n; CREATE OR REPLACE VIEW v AS SELECT n FROM a"
	_, err := db.Migrate(t.Context(), fstest.MapFS{"0001_a.sql": {Data: []byte(broken)}})
	if err == nil || !strings.Contains(err.Error(), "0001_a.sql, statement 2 of 2") {
		t.Fatalf("a broken statement: %v", err)
	}
	if _, err := db.Migrate(t.Context(), fstest.MapFS{"0001_a.sql": {Data: []byte(mended)}}); err != nil {
		t.Fatalf("mended before it was ever applied: %v", err)
	}
}

// Whenever a migrator is stopped, the next one goes on, and the end is the same schema.
func TestMigrateInterrupted(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	stopped := 0
	for wait := time.Millisecond; ; wait += 3 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err := db.Migrate(ctx, schemas.Migrations())
		cancel()
		if err == nil {
			break
		}
		stopped++
		if wait > 5*time.Second {
			t.Fatal(err)
		}
	}
	t.Logf("stopped %d times", stopped)
	if err := db.Check(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	const shape = "SELECT create_table_query FROM system.tables WHERE database = 'tillsyn' ORDER BY name"
	fresh := open(t, configFor(start(t), engine.Owner))
	if _, err := fresh.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	if a, b := text(t, db, shape), text(t, fresh, shape); a != b {
		t.Errorf("the schema differs from a fresh one:\n%s\n%s", a, b)
	}
}

func TestMigrateTwiceAtOnce(t *testing.T) {
	e := start(t)
	cfg := configFor(e, engine.Owner)
	var wg sync.WaitGroup
	faults := make([]error, 6)
	for i := range faults {
		wg.Go(func() {
			db, err := Open(t.Context(), cfg)
			if err != nil {
				faults[i] = err
				return
			}
			defer db.Close()
			_, faults[i] = db.Migrate(t.Context(), schemas.Migrations())
		})
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	if err := open(t, cfg).Check(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
}

func TestQueryBindsNatively(t *testing.T) {
	db := owner(t)
	exec(t, db, "CREATE TABLE precious (s String) ENGINE = MergeTree ORDER BY s")
	for _, evil := range []string{
		"'; DROP TABLE precious; --", `\'; DROP TABLE precious; --`, "{s:Identifier}", "x' OR 1=1 /*", `"`, "`", `\`, `\\`, `\N`, `\0`, "\x00", "a\x00b", "\t", "\n", "\r\n",
		"file('/etc/passwd')", "url('http://127.0.0.1')", "NULL", "", "é", "\u202e", "\xff\xfe", strings.Repeat("'", 1<<20), "$1", "?", ":s", "@s",
	} {
		var got string
		var list []string
		err := db.Query(t.Context(), "-- {not:Here}\nSELECT {s:String}, {list:Array(String)}, '{nor:Here}'", Params{"s": evil, "list": []string{evil, "b"}}, func(r Row) error {
			var third string
			return r.Scan(&got, &list, &third)
		})
		if err != nil {
			t.Errorf("%.40q: %v", evil, err)
			continue
		}
		if got != evil || len(list) != 2 || list[0] != evil {
			t.Errorf("%.40q came back as %.40q and %.60q", evil, got, list)
		}
	}
	if got := text(t, db, "SELECT name FROM system.tables WHERE database = 'tillsyn' AND name = 'precious'"); got != "precious" {
		t.Error("the table is gone")
	}
	for name, tc := range map[string]struct {
		query  string
		params Params
	}{
		"no place":         {"SELECT 1", Params{"s": "x"}},
		"driver's ?":       {"SELECT ?", Params{"s": "x"}},
		"place in comment": {"SELECT 1 -- {s:String}", Params{"s": "x"}},
		"place in string":  {"SELECT '{s:String}'", Params{"s": "x"}},
		"over two lines":   {"SELECT {s:\nString}", Params{"s": "x"}},
		"no value":         {"SELECT {s:String}", nil},
		"two statements":   {"SELECT {s:String}; SELECT 2", Params{"s": "x"}},
		"odd value":        {"SELECT {s:String}", Params{"s": struct{}{}}},
	} {
		if err := db.Query(t.Context(), tc.query, tc.params, func(Row) error { return nil }); err == nil || Code(err) != 0 {
			t.Errorf("%s: %v, want a refusal of our own", name, err)
		}
	}
	err := db.Query(t.Context(), "SELECT {n:UInt64}", Params{"n": "anna.svensson"}, func(Row) error { return nil })
	if Code(err) == 0 || strings.Contains(err.Error(), "anna") {
		t.Errorf("a value of the wrong type: %v, want the server's refusal without the value", err)
	}
}

func TestSelect(t *testing.T) {
	db := owner(t)
	var rows []struct {
		N   uint64    `ch:"n"`
		Day time.Time `ch:"day"`
		At  time.Time `ch:"at"`
	}
	at := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
	err := db.Select(t.Context(), &rows, "SELECT number AS n, {day:Date} AS day, {at:DateTime('UTC')} AS at FROM numbers({n:UInt64})",
		Params{"n": 3, "day": "2026-03-29", "at": at.In(time.FixedZone("x", 7200))})
	if err != nil || len(rows) != 3 || rows[2].N != 2 || rows[0].Day.Format(time.DateOnly) != "2026-03-29" || !rows[0].At.Equal(at) {
		t.Fatalf("%+v %v", rows, err)
	}
}

func TestQueryLimits(t *testing.T) {
	e := start(t)
	cfg := configFor(e, "tillsyn_query")
	cfg.Database, cfg.QueryMemory, cfg.QueryTimeout = "system", 32<<20, 2*time.Second
	db := open(t, cfg)
	nothing := func(Row) error { return nil }
	err := db.Query(t.Context(), "SELECT count() FROM (SELECT number FROM numbers(20000000) GROUP BY number)", nil, nothing)
	if Code(err) != 241 || !strings.Contains(err.Error(), "query_memory") {
		t.Errorf("over the memory limit: %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("the server after a memory limit: %v", err)
	}
	begin := time.Now()
	if err := db.Query(t.Context(), "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", nil, nothing); err == nil {
		t.Error("an endless query ended well")
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("an endless query took %s", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := db.Query(ctx, "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", nil, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
	stop := errors.New("enough")
	n := 0
	if err := db.Query(t.Context(), "SELECT number FROM numbers(100000000)", nil, func(Row) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("scan's error: %v after %d rows", err, n)
	}
	for _, sql := range []string{"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1', 'LineAsString')", "CREATE TABLE x (n UInt8) ENGINE = Memory"} {
		if err := db.Query(t.Context(), sql, nil, nothing); Code(err) == 0 {
			t.Errorf("%s: %v, want a refusal by the server", sql, err)
		}
	}
}

func TestKill(t *testing.T) {
	e := start(t)
	db := open(t, configFor(e, engine.Owner))
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	db = open(t, configFor(e, "tillsyn_ingest"))
	if err := db.Kill(t.Context(), ""); err == nil {
		t.Error("an empty prefix is taken")
	}
	if err := db.Kill(t.Context(), "nobody' OR '1'='1"); err != nil {
		t.Errorf("nothing to kill: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- db.slow(t.Context(), "batch-7") }()
	for text(t, db, "SELECT toString(count()) FROM system.processes WHERE query_id = 'batch-7'") != "1" {
		time.Sleep(10 * time.Millisecond)
	}
	if err := db.Kill(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("another prefix ended it: %v", err)
	default:
	}
	if err := db.Kill(t.Context(), "batch-"); err != nil {
		t.Fatal(err)
	}
	if got := text(t, db, "SELECT toString(count()) FROM system.processes WHERE query_id = 'batch-7'"); got != "0" {
		t.Error("Kill came back before the query had ended")
	}
	if err := <-done; Code(err) != 394 {
		t.Errorf("the killed query: %v", err)
	}
}
