package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

func TestUsersMayDoWhatTheyWereGranted(t *testing.T) {
	cfg := enginetest.Config(t, map[string]engine.User{
		"ingest":     {Grants: []string{"GRANT INSERT ON d.*"}},
		"query":      {Grants: []string{"GRANT SELECT(x) ON d.a"}, Settings: map[string]string{"readonly": "2", "max_result_rows": "5"}},
		"dashboards": {Grants: []string{"GRANT SELECT ON d.v"}},
		"purge":      {Grants: []string{"GRANT ALTER DELETE ON d.*", "GRANT SELECT ON system.parts"}},
		"nobody":     {},
		"bound": {Grants: []string{"GRANT SELECT(x) ON d.a"}, Settings: map[string]string{"readonly": "1"},
			Constraints: map[string]string{"max_execution_time": engine.ChangeableInReadonly}},
		"fixed": {Grants: []string{"GRANT SELECT(x), INSERT ON d.a"}, Constraints: map[string]string{"additional_table_filters": engine.Readonly}},
	})
	e := enginetest.Start(t, cfg)
	for _, s := range []string{
		"CREATE DATABASE d",
		"CREATE TABLE d.a (x UInt64, y String) ENGINE=MergeTree ORDER BY x PARTITION BY x % 2",
		"CREATE VIEW d.v DEFINER = tillsyn SQL SECURITY DEFINER AS SELECT sum(x) FROM d.a",
		"INSERT INTO d.a SELECT number, 'y' FROM numbers(4)",
	} {
		ask(t, e, engine.Owner, s)
	}
	const denied = "ACCESS_DENIED"
	for _, c := range []struct{ user, statement, want string }{
		{"ingest", "INSERT INTO d.a VALUES (4, 'z')", ""},
		{"ingest", "SELECT x FROM d.a", denied},
		{"ingest", "ALTER TABLE d.a DROP PARTITION 0", denied},
		{"query", "SELECT sum(x) FROM d.a", "10"},
		{"query", "SELECT y FROM d.a", denied},
		{"query", "SELECT x FROM d.a, d.a AS b LIMIT 6", "TOO_MANY_ROWS_OR_BYTES"},
		{"query", "INSERT INTO d.a VALUES (5, 'z')", denied},
		{"query", "SET readonly = 0", "READONLY"},
		{"bound", "SELECT sum(x) FROM d.a SETTINGS max_execution_time = 7", "10"},
		{"bound", "SELECT sum(x) FROM d.a SETTINGS max_threads = 1", "READONLY"},
		{"fixed", "SELECT sum(x) FROM d.a SETTINGS max_threads = 1", "10"},
		{"fixed", "SELECT sum(x) FROM d.a SETTINGS additional_table_filters = {'d.a': 'y = \\'z\\''}", "SETTING_CONSTRAINT_VIOLATION"},
		{"dashboards", "SELECT * FROM d.v", "10"},
		{"dashboards", "SELECT x FROM d.a", denied},
		{"purge", "SELECT x FROM d.a", denied},
		{"purge", "INSERT INTO d.a VALUES (5, 'z')", denied},
		{"purge", "ALTER TABLE d.a DROP PARTITION 0", ""},
		{"nobody", "SELECT x FROM d.a", denied},
		{"nobody", "SHOW TABLES FROM d", ""},
		{"default", "SELECT number FROM system.numbers LIMIT 1", "QUOTA_EXCEEDED"},
		{"default", "SYSTEM STOP LISTEN TCP", "QUOTA_EXCEEDED"},
		{"stranger", "SELECT 1", "AUTHENTICATION_FAILED"},
	} {
		got, err := try(t, e, c.user, c.statement)
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && (err != nil || got != "") || !strings.Contains(got, c.want) {
			t.Errorf("%s as %s: %s; want %s", c.statement, c.user, got, c.want)
		}
	}
	for _, user := range []string{engine.Owner, "ingest", "query", "purge", "dashboards", "nobody"} {
		for _, s := range []string{
			"SELECT * FROM file('/etc/hostname', 'LineAsString')",
			"SELECT * FROM file('a', 'LineAsString')",
			"INSERT INTO FUNCTION file('a', 'LineAsString') SELECT 'x'",
			"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
			"SELECT * FROM s3('http://127.0.0.1:1/', 'LineAsString')",
			"SELECT * FROM executable('a', 'LineAsString', 'x String')",
			"SELECT file('/etc/hostname')",
			"SELECT file('/etc/hostname', 'default')",
			"SELECT file('/etc/hostname', NULL)",
			"SELECT file('passwords.json')",
			"SELECT * FROM filesystem('/etc')",
			"SELECT * FROM icebergLocal('/etc')",
			"SELECT * FROM remote('127.0.0.1:1', system.one)",
			"SELECT catboostEvaluate('/etc/hostname', 1)",
			"SELECT aiGenerate('a', 'b') SETTINGS allow_experimental_ai_functions = 1",
			"SELECT * FROM eval('SELECT file(''/etc/hostname'')') SETTINGS allow_experimental_eval_table_function = 1",
			"SELECT * FROM sqlite('a', 'b')",
			"CREATE TABLE d.f (x String) ENGINE=File(LineAsString)",
			"CREATE FUNCTION f AS x -> x",
			"CREATE USER u",
			"GRANT SELECT ON *.* TO nobody",
			"CREATE DICTIONARY d.d (x UInt64) PRIMARY KEY x SOURCE(FILE(path '/etc/hostname' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
			"SELECT name FROM d.a INTO OUTFILE 'a'",
			"BACKUP TABLE d.a TO File('a')",
		} {
			if got, err := try(t, e, user, s); err == nil {
				t.Errorf("%s as %s: %s", s, user, got)
			}
		}
		if name, _ := e.Credentials(user); name != user {
			t.Error(name)
		}
		for _, wrong := range []string{"", "x"} {
			if err := engine.Query(t.Context(), e.HTTPAddress(), user, wrong, "SELECT 1", nil); err == nil {
				t.Errorf("%s signed in with the password %q", user, wrong)
			}
		}
	}
}

func TestPasswordsAreKeptAndHidden(t *testing.T) {
	cfg := enginetest.Config(t, map[string]engine.User{"ingest": {}})
	e := enginetest.Start(t, cfg)
	_, first := e.Credentials(engine.Owner)
	_, second := e.Credentials("ingest")
	if len(first) < 40 || first == second {
		t.Errorf("passwords of %d and %d letters", len(first), len(second))
	}
	if name, none := e.Credentials("stranger"); none != "" {
		t.Errorf("%s has a password", name)
	}
	command, err := os.ReadFile(filepath.Join("/proc", "self", "cmdline"))
	if err != nil || strings.Contains(string(command), first) {
		t.Error("the command line:", err)
	}
	err = filepath.WalkDir(cfg.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		if strings.Contains(string(text), first) != (name == "passwords.json") {
			t.Errorf("%s: holds the password: %v", path, name != "passwords.json")
		}
		if info, err := entry.Info(); err != nil || filepath.Dir(path) == cfg.DataDir && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	e.Kill()
	cfg.Users["purge"] = engine.User{}
	e = enginetest.Start(t, cfg)
	if _, again := e.Credentials(engine.Owner); again != first {
		t.Error("the password changed with a restart")
	}
	if _, third := e.Credentials("purge"); len(third) < 40 {
		t.Error("a user that came later has no password")
	}
	other := enginetest.Start(t, enginetest.Config(t, nil))
	if _, p := other.Credentials(engine.Owner); p == first {
		t.Error("two directories have one password")
	}
}

// A statement's literals can be personal: nothing may write them down but the table that they go to.
func TestNoStatementIsWrittenDown(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	const planted = "planted.by.this.test"
	ask(t, e, engine.Owner, "SELECT '"+planted+"'")
	if _, err := try(t, e, engine.Owner, "SELECT '"+planted+"' FROM nowhere"); err == nil {
		t.Error("a wrong statement succeeded")
	}
	for range 50 { // more than one flush of every buffer of a log table, if there were one
		ask(t, e, engine.Owner, "SELECT count() FROM system.one WHERE '"+planted+"' != ''")
	}
	if got := ask(t, e, engine.Owner, "SELECT groupArray(name) FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log' AND engine NOT LIKE 'System%'"); got != "[]" {
		t.Errorf("log tables: %s", got)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(cfg.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), planted) {
			t.Errorf("%s holds a literal of a statement", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestQueryBeyondTheMemoryLimit(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	cfg.MemoryLimit = engine.MinMemoryLimit
	e := enginetest.Start(t, cfg)
	for range 5 {
		_, err := try(t, e, engine.Owner, "SELECT length(groupArray(number)) FROM numbers(1000000000) SETTINGS max_threads=2")
		if err == nil || !strings.Contains(err.Error(), "MEMORY_LIMIT_EXCEEDED") {
			t.Fatal(err)
		}
		if got := ask(t, e, engine.Owner, "SELECT 1"); got != "1" {
			t.Error(got)
		}
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	err := engine.Config{
		MemoryLimit: 1, TCPPort: -1, HTTPPort: 70000, BusyWait: -time.Second,
		Users: map[string]engine.User{
			"tillsyn": {}, "default": {}, "Åsa": {}, "a b": {}, "<x>": {}, "": {},
			"one":   {Grants: []string{"GRANT SELECT, FILE ON *.*"}},
			"two":   {Grants: []string{"GRANT all privileges ON *.*"}},
			"three": {Grants: []string{"GRANT SELECT(a), read ON FILE"}},
			"four":  {Grants: []string{"DROP TABLE x", "GRANT SELECT ON a.*; DROP TABLE x"}},
			"five":  {Settings: map[string]string{"a</a>": "1"}},
			"six":   {Constraints: map[string]string{"b</b>": "readonly"}},
			"seven": {Constraints: map[string]string{"max_threads": "const"}},
		},
	}.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"data_dir", "memory_limit", "tcp_port", "http_port", "start_timeout", "busy_wait",
		`"tillsyn"`, `"default"`, `"Åsa"`, `"a b"`, `"<x>"`, `user "":`, `"one"`, `"two"`, `"three"`, `"four": "DROP`, `"four": "GRANT`, `"five"`, `"six"`, `"seven"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not reported", want)
		}
	}
	if _, err := engine.Start(t.Context(), engine.Config{}); err == nil {
		t.Error("an empty Config started")
	}
	good := engine.DefaultConfig()
	good.Users = map[string]engine.User{"query": {Grants: []string{"GRANT CREATE TABLE ON tillsyn.*", "GRANT SELECT(file, url) ON tillsyn.*", "GRANT SELECT ON tillsyn.`all`"}}}
	if err := errors.Join(engine.DefaultConfig().Validate(), good.Validate()); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	for name, want := range map[string]string{"async_insert": "0", "log_queries": "0"} {
		if got := ask(t, e, engine.Owner, "SELECT value FROM system.settings WHERE name = '"+name+"'"); got != want {
			t.Errorf("%s = %s", name, got)
		}
	}
	for name, want := range map[string]string{"fsync_after_insert": "1", "fsync_part_directory": "1"} {
		if got := ask(t, e, engine.Owner, "SELECT value FROM system.merge_tree_settings WHERE name = '"+name+"'"); got != want {
			t.Errorf("%s = %s", name, got)
		}
	}
	for name, want := range map[string]string{"max_server_memory_usage": "1073741824", "background_pool_size": "4"} {
		if got := ask(t, e, engine.Owner, "SELECT value FROM system.server_settings WHERE name = '"+name+"'"); got != want {
			t.Errorf("%s = %s", name, got)
		}
	}
}
