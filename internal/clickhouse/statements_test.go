package clickhouse

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"tillsyn/schemas"
)

func TestStatements(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  string
		want []string
	}{
		"nothing":             {" \n-- only ; this\n/* and ; this */ ; ;", nil},
		"one without end":     {"SELECT 1", []string{"SELECT 1"}},
		"two":                 {"SELECT 1;\n\nSELECT 2;\n", []string{"SELECT 1", "SELECT 2"}},
		"in a string":         {`SELECT ';', 'it''s;', 'a\';b'; SELECT 2`, []string{`SELECT ';', 'it''s;', 'a\';b'`, "SELECT 2"}},
		"backslash at end":    {`SELECT '\\'; SELECT 2`, []string{`SELECT '\\'`, "SELECT 2"}},
		"in names":            {"SELECT `a;b`, \"c;d\", `e``;`; SELECT 2", []string{"SELECT `a;b`, \"c;d\", `e``;`", "SELECT 2"}},
		"quote in a comment":  {"SELECT 1 -- don't;\n, 2; -- can't;\nSELECT 3", []string{"SELECT 1 -- don't;\n, 2", "SELECT 3"}},
		"comment in a string": {"SELECT '-- ', '/*'; SELECT '*/'", []string{"SELECT '-- ', '/*'", "SELECT '*/'"}},
		"block comment":       {"SELECT /* ; ' */ 1; SELECT 2", []string{"SELECT /* ; ' */ 1", "SELECT 2"}},
		"hash comments":       {"#! x;y'\nSELECT 1; # it's;\nSELECT 2", []string{"SELECT 1", "SELECT 2"}},
		"heredoc":             {"SELECT $a$ ; ' $b$ $a$; SELECT $$;$$", []string{"SELECT $a$ ; ' $b$ $a$", "SELECT $$;$$"}},
		"minus is no comment": {"SELECT 2 - 1; SELECT 3", []string{"SELECT 2 - 1", "SELECT 3"}},
		"comments around":     {"-- before\nSELECT 1 -- behind\n; -- after", []string{"SELECT 1"}},
		"utf-8":               {"SELECT 'å;ä' AS ö; SELECT 2", []string{"SELECT 'å;ä' AS ö", "SELECT 2"}},
	} {
		got, err := Statements(tc.sql)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q %v, want %q", name, got, err, tc.want)
		}
	}
	for name, sql := range map[string]string{"string": "SELECT 'a", "name": "\n\nSELECT `a", "comment": "SELECT /* 1", "heredoc": "SELECT $a$ b $c$", "escaped end": `SELECT 'a\'`} {
		if got, err := Statements(sql); err == nil || !strings.Contains(err.Error(), "does not end") {
			t.Errorf("an open %s: %q %v", name, got, err)
		}
	}
}

func TestMigrationFiles(t *testing.T) {
	for sql, ok := range map[string]bool{
		"CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = MergeTree ORDER BY n":                              true,
		"create or replace view v as select 1":                                                              true,
		"ALTER TABLE a ADD COLUMN IF NOT EXISTS b String DEFAULT concat('a', 'b'), DROP COLUMN IF EXISTS c": true,
		"ALTER TABLE d.a (MODIFY SETTING x = 1, y = 2)":                                                     true,
		"ALTER TABLE a MODIFY SETTING x = 1, y = 2":                                                         true,
		"ALTER TABLE `a` ON CLUSTER c COMMENT COLUMN b 'x, y'":                                              true,
		"CREATE TABLE a (n UInt8) ENGINE = Memory":                                                          false,
		"CREATE OR REPLACE TABLE a (n UInt8) ENGINE = Memory":                                               false,
		"CREATE VIEW v AS SELECT 1":                                                                         false,
		"CREATE MATERIALIZED VIEW IF NOT EXISTS v TO a AS SELECT 1":                                         false,
		"ALTER TABLE a ADD COLUMN IF NOT EXISTS b UInt8, ADD COLUMN c UInt8":                                false,
		"ALTER TABLE a ADD COLUMN b UInt8":                                                                  false,
		"ALTER TABLE a DELETE WHERE s = 'anna'":                                                             false,
		"ALTER TABLE a UPDATE s = '' WHERE 1":                                                               false,
		"ALTER TABLE a":                                                                                     false,
		"DROP TABLE IF EXISTS a":                                                                            false,
		"DROP TABLE a SYNC":                                                                                 false,
		"DROP VIEW IF EXISTS v":                                                                             true,
		"INSERT INTO a VALUES (1)":                                                                          false,
		"TRUNCATE TABLE a":                                                                                  false,
		"OPTIMIZE TABLE a FINAL":                                                                            false,
		"SELECT 1":                                                                                          false,
		"":                                                                                                  false,
	} {
		_, err := ReadMigrations(fstest.MapFS{"0001_a.sql": {Data: []byte(sql)}, "README.md": {}})
		if (err == nil) != ok {
			t.Errorf("%q: %v", sql, err)
		}
	}
	_, err := ReadMigrations(fstest.MapFS{
		"0001_a.sql": {Data: []byte("DROP VIEW IF EXISTS v")}, "0001_b.sql": {Data: []byte("SELECT 1")}, "2_c.sql": {Data: []byte("SELECT 1")}, "0003_d.sql": {Data: []byte("SELECT '")},
	})
	for _, want := range []string{"0001_b.sql has the same number as 0001_a.sql", "0001_b.sql line 1", "2_c.sql: the name", "0003_d.sql: line 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all faults at once: %q is missing in %v", want, err)
		}
	}
	if list, err := ReadMigrations(schemas.Migrations()); err != nil || len(list) == 0 {
		t.Errorf("the shipped migrations: %v", err)
	}
}

// What the splitter promises: no character is lost or moved, and cutting a statement again cuts nothing.
func FuzzStatements(f *testing.F) {
	for _, s := range []string{"SELECT ';'; SELECT 2", "/*;*/ -- ;\n", "$a$;$a$;", `'\';';`, "`;`;\"", "# ;\n#!;\n1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		list, err := split(sql)
		if err != nil {
			return
		}
		rest := sql
		for _, s := range list {
			_, after, found := strings.Cut(rest, s.text)
			if !found || s.text == "" {
				t.Fatalf("%q is not in %q", s.text, rest)
			}
			rest = after
			again, err := Statements(s.text)
			if err != nil || len(again) != 1 || again[0] != s.text {
				t.Fatalf("%q cut again: %q %v", s.text, again, err)
			}
			_ = s.repeatable()
		}
	})
}
