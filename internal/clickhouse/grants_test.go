package clickhouse

import (
	"strings"
	"testing"
	"testing/fstest"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/schemas"
)

// What each role may read, told by the database itself: every view is for query and dashboards, no statistics table is.
func TestGrantsOfReaders(t *testing.T) {
	e := start(t)
	own := open(t, configFor(e, engine.Owner))
	if _, err := own.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	if err := own.Query(t.Context(), "SELECT name, engine FROM system.tables WHERE database = 'tillsyn'", nil, func(r Row) error {
		var name, kind string
		err := r.Scan(&name, &kind)
		kinds[name] = kind
		return err
	}); err != nil {
		t.Fatal(err)
	}
	state := map[string]bool{"sources": true, "ledger": true, "gaps": true, "schema_migrations": true,
		"web_keys": true, "mail_keys": true, "web_capsules": true, "mail_capsules": true, "held_keys": true, "held_capsules": true}
	views := 0
	for _, user := range []string{"tillsyn_query", "tillsyn_dashboards"} {
		db := open(t, configFor(e, user))
		for name, kind := range kinds {
			err := db.Query(t.Context(), "CHECK GRANT SELECT ON "+name, nil, func(r Row) error {
				var allowed uint8
				err := r.Scan(&allowed)
				want := kind == "View" || state[name] && user == "tillsyn_query"
				if (allowed == 1) != want {
					t.Errorf("%s: SELECT ON %s (%s) is %v", user, name, kind, allowed == 1)
				}
				return err
			})
			if err != nil {
				t.Errorf("%s: %s: %v", user, name, err)
			}
			if kind == "View" {
				views++
			}
		}
		for _, name := range schemas.Queries() {
			if !strings.HasPrefix(name, "report/") {
				continue
			}
			query, err := schemas.Query(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Query(t.Context(), query, dummies(query), func(Row) error { return nil }); err != nil {
				t.Errorf("%s: %s: %v", user, name, err)
			}
		}
		for _, sql := range []string{"SELECT count() FROM web_hourly", "SELECT * FROM rejects",
			"SELECT * FROM url('http://127.0.0.1:1', 'LineAsString')", "INSERT INTO web_hourly (day) VALUES ('2026-01-01')", "CREATE TEMPORARY TABLE x (n UInt8)", "SYSTEM SHUTDOWN", "KILL QUERY WHERE 1"} {
			if err := db.Exec(t.Context(), sql, nil); Code(err) != 497 && Code(err) != 164 {
				t.Errorf("%s may %s: %v", user, sql, err)
			}
		}
		// The embedded engine has no working directory on purpose, so file() may fail before its grant is asked for.
		if err := db.Exec(t.Context(), "SELECT * FROM file('/etc/passwd', 'LineAsString')", nil); Code(err) == 0 {
			t.Errorf("%s may read a file: %v", user, err)
		}
	}
	if views == 0 {
		t.Error("no view was found")
	}
}

// A view reads with the rights of whoever made it, named or not, and keeps doing so after a restart.
func TestViewsLendTheirDefinersRights(t *testing.T) {
	grants, err := schemas.Grants(schemas.RoleDashboards, "tillsyn")
	if err != nil {
		t.Fatal(err)
	}
	settings, constraints, err := schemas.Profile(schemas.RoleDashboards)
	if err != nil {
		t.Fatal(err)
	}
	cfg := enginetest.Config(t, map[string]engine.User{"tillsyn_dashboards": {Grants: grants, Settings: settings, Constraints: constraints}})
	e := enginetest.Start(t, cfg)
	own := open(t, configFor(e, engine.Owner))
	if _, err := own.Migrate(t.Context(), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	exec(t, own, "CREATE TABLE secret (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	if err := own.Insert(t.Context(), Insert{Query: "INSERT INTO secret (n)", Columns: []any{[]uint64{7}}}); err != nil {
		t.Fatal(err)
	}
	for name, definer := range map[string]string{"web_by_a": "CURRENT_USER", "web_by_b": engine.Owner} {
		exec(t, own, "CREATE OR REPLACE VIEW "+name+" DEFINER = "+definer+" SQL SECURITY DEFINER AS SELECT n + {k:UInt64} AS n FROM secret")
	}
	exec(t, own, "CREATE OR REPLACE VIEW web_by_c SQL SECURITY INVOKER AS SELECT n + {k:UInt64} AS n FROM secret")
	for range 2 {
		db := open(t, configFor(e, "tillsyn_dashboards"))
		for _, name := range []string{"web_by_a", "web_by_b"} {
			if got := text(t, db, "SELECT toString(n) FROM "+name+"(k = 1)"); got != "8" {
				t.Errorf("%s answers %s", name, got)
			}
		}
		for _, sql := range []string{"SELECT n FROM web_by_c(k = 1)", "SELECT n FROM secret"} {
			if err := db.Exec(t.Context(), sql, nil); Code(err) != 497 {
				t.Errorf("%s: %v", sql, err)
			}
		}
		e.Kill()
		e = enginetest.Start(t, cfg)
	}
}

// What each role may do with sealed rows, proven by trying.
func TestGrantsOnSealedRows(t *testing.T) {
	e := start(t)
	if _, err := open(t, configFor(e, engine.Owner)).Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	const no = 497 // ACCESS_DENIED
	both := func(name string) []string { return []string{"web_" + name, "mail_" + name} }
	for user, may := range map[string]map[string]string{ // verbs: r read all, m read watermarks, w insert, d drop a partition
		"tillsyn_ingest":     {"keys": "w", "capsules": "wm", "held": ""},
		"tillsyn_query":      {"keys": "rm", "capsules": "rm", "held": "rm"},
		"tillsyn_purge":      {"keys": "rmd", "capsules": "rmd", "held": "rmwd"},
		"tillsyn_dashboards": {"keys": "", "capsules": "", "held": ""},
	} {
		db := open(t, configFor(e, user))
		for kind, verbs := range may {
			tables, partition := both(kind), "'2026-01-01'"
			if kind == "held" {
				tables, partition = []string{"held_keys", "held_capsules"}, "('', '2026-01-01')"
			}
			for _, table := range tables {
				marks := "day"
				if kind == "capsules" {
					marks = "day, mark, next, begun_at"
				}
				for verb, sql := range map[string]string{
					"r": "SELECT tag, key FROM " + table,
					"m": "SELECT " + marks + " FROM " + table,
					"w": "INSERT INTO " + table + " (day, tenant) VALUES ('2026-01-02', '')",
					"d": "ALTER TABLE " + table + " DROP PARTITION " + partition,
				} {
					err := db.Exec(t.Context(), sql, nil)
					if want := strings.Contains(verbs, verb); want && err != nil || !want && Code(err) != no && Code(err) != 164 {
						t.Errorf("%s: %s: %v", user, sql, err)
					}
				}
				for _, sql := range []string{"DROP TABLE " + table, "TRUNCATE TABLE " + table, "ALTER TABLE " + table + " UPDATE tenant = '' WHERE 1",
					"ALTER TABLE " + table + " FREEZE", "ALTER TABLE " + table + " ADD COLUMN x UInt8", "RENAME TABLE " + table + " TO x"} {
					if err := db.Exec(t.Context(), sql, nil); Code(err) != no && Code(err) != 164 {
						t.Errorf("%s may %s: %v", user, sql, err)
					}
				}
			}
		}
	}
}

func TestPurgeMayDropPartitionsOnly(t *testing.T) {
	e := start(t)
	if _, err := open(t, configFor(e, engine.Owner)).Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	db := open(t, configFor(e, "tillsyn_purge"))
	if err := db.Exec(t.Context(), "ALTER TABLE web_hourly DROP PARTITION '2026-01-01'", nil); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{"DROP TABLE web_hourly", "INSERT INTO web_hourly (day) VALUES ('2026-01-01')", "ALTER TABLE web_hourly UPDATE requests = 0 WHERE 1", "ALTER TABLE ledger DROP PARTITION tuple()"} {
		if err := db.Exec(t.Context(), sql, nil); Code(err) != 497 {
			t.Errorf("purge may %s: %v", sql, err)
		}
	}
}

// dummies gives every place of a query a value that fits its type.
func dummies(query string) Params {
	params := Params{}
	words, _ := scan(query)
	for i := 0; i+3 < len(words); i++ {
		if words[i].text != "{" || words[i+2].text != ":" {
			continue
		}
		switch kind := words[i+3].text; {
		case kind == "Date":
			params[words[i+1].text] = "2026-01-01"
		case strings.HasPrefix(kind, "UInt"):
			params[words[i+1].text] = 10
		default:
			params[words[i+1].text] = ""
		}
	}
	return params
}

func TestGrantsText(t *testing.T) {
	for _, role := range schemas.Roles() {
		list, err := schemas.Grants(role, "other")
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %q %v", role, list, err)
		}
		for _, g := range list {
			if !strings.HasPrefix(g, "GRANT ") || strings.Contains(g, " TO ") || strings.Contains(g, "tillsyn") || strings.Contains(g, "\n") {
				t.Errorf("%s: %q", role, g)
			}
		}
	}
	if _, err := schemas.Grants("root", "other"); err == nil {
		t.Error("an unknown role has grants")
	}
	if _, _, err := schemas.Profile("root"); err == nil {
		t.Error("an unknown role has settings")
	}
}
