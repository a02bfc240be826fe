package clickhouse

import (
	"strings"
	"testing"

	"tillsyn/internal/engine"
	"tillsyn/schemas"
)

// Whoever may read a view must not make the database look at a row that the view hides: an error that a function throws
// there, or a filter that a setting slips beneath the view, tells what the floor keeps back.
func TestHiddenRowsAreNeverEvaluated(t *testing.T) {
	e := start(t)
	own := open(t, configFor(e, engine.Owner))
	if _, err := own.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	exec(t, own, "INSERT INTO web_domains_daily (day, mark, tenant, unit, domain, category, requests, people_tokens) SELECT '2026-01-10', 0, 't', 'u', 'hidden.example', 'c', 1, [1]")
	exec(t, own, "INSERT INTO web_domains_daily (day, mark, tenant, unit, domain, category, requests, people_tokens) SELECT '2026-01-10', 0, 't', 'u', 'shown.example', 'c', 9, range(9)")
	const view = "web_by_domain(from = '2026-01-01', to = '2026-01-31', tenant = '', population = '', unit = 'u', category = '', k = 5)"
	for _, user := range []string{"tillsyn_query", "tillsyn_dashboards"} {
		db := open(t, configFor(e, user))
		if got := text(t, db, "SELECT arrayStringConcat(groupArray(domain)) FROM "+view); got != "shown.example" {
			t.Fatalf("%s: the view answers %s", user, got)
		}
		for _, sql := range []string{
			"SELECT count() FROM " + view + " WHERE throwIf(domain = 'hidden.example')",
			"SELECT requests FROM " + view + " WHERE toUInt8(replaceOne(domain, 'shown.example', '1')) = 1",
			"SELECT throwIf(domain = 'hidden.example') FROM " + view,
			"SELECT domain FROM " + view + " ORDER BY throwIf(domain = 'hidden.example') LIMIT 1",
			"SELECT domain FROM (SELECT * FROM " + view + ") WHERE throwIf(domain = 'hidden.example') = 0 AND domain IN (SELECT 'hidden.example')",
			"SELECT domain FROM " + view + " GROUP BY domain HAVING throwIf(domain = 'hidden.example') = 0",
			"SELECT count() FROM " + view + " AS a JOIN (SELECT 'x' AS domain) AS b ON a.domain = b.domain AND throwIf(a.domain = 'hidden.example')",
		} {
			if err := db.Exec(t.Context(), sql, nil); err != nil {
				t.Errorf("%s sees a hidden row: %s", user, sql)
			}
		}
		for _, setting := range []string{
			"additional_table_filters = {'tillsyn.web_domains_daily': 'throwIf(domain = \\'hidden.example\\') = 0'}",
			"additional_result_filter = 'requests > 0'", "parallel_replicas_custom_key = 'domain'", "send_logs_level = 'trace'", "readonly = 0", "max_threads = 1",
		} {
			if err := db.Exec(t.Context(), "SELECT requests FROM "+view+" SETTINGS "+setting, nil); Code(err) != 164 && Code(err) != 452 {
				t.Errorf("%s may set %s: %v", user, setting, Code(err))
			}
		}
		exec(t, db, "SELECT requests FROM "+view+" SETTINGS max_execution_time = 3, max_memory_usage = 100000000")
	}
	for _, user := range []string{"tillsyn_ingest", "tillsyn_purge"} {
		db := open(t, configFor(e, user))
		for _, setting := range []string{
			"additional_table_filters = {'tillsyn.web_domains_daily': 'throwIf(domain = \\'hidden.example\\') = 0'}",
			"additional_result_filter = 'mark = 0'", "parallel_replicas_custom_key = 'domain'",
		} {
			if err := db.Exec(t.Context(), "SELECT mark FROM web_domains_daily SETTINGS "+setting, nil); Code(err) != 164 && Code(err) != 452 {
				t.Errorf("%s reads columns that it has no grant for with %s: %v", user, setting, Code(err))
			}
		}
	}
}

// What ends a condition's way to the rows below the floor is a LIMIT: every view that has a floor must have it, and the floor
// in each month.
func TestEveryFloorHasItsBarrier(t *testing.T) {
	own := open(t, configFor(start(t), engine.Owner))
	if _, err := own.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	views := 0
	if err := own.Query(t.Context(), "SELECT name, create_table_query FROM system.tables WHERE database = 'tillsyn' AND engine = 'View' AND name != 'web_guest_volume'", nil, func(r Row) error {
		var name, sql string
		err := r.Scan(&name, &sql)
		views++
		if strings.Count(sql, "HAVING people >= greatest(5, {k:UInt32})") != 2 || !strings.Contains(sql, " LIMIT 18446744073709551615") {
			t.Errorf("%s has no floor in each month, or no barrier: %s", name, sql)
		}
		return err
	}); err != nil || views != 12 {
		t.Errorf("%d views: %v", views, err)
	}
}

// schemas/grants is SQL that a server takes: the embedded engine runs no CREATE ROLE, but it can read one.
func TestGrantsAreSQL(t *testing.T) {
	own := owner(t)
	for _, role := range schemas.Roles() {
		text, err := schemas.Query("grants/" + role)
		if err != nil {
			t.Fatal(err)
		}
		statements, err := Statements(text)
		if err != nil || len(statements) < 2 {
			t.Fatal(role, len(statements), err)
		}
		for _, s := range statements {
			if err := own.Exec(t.Context(), "SELECT formatQuery({statement:String})", Params{"statement": s}); err != nil {
				t.Errorf("%s: %s: %v", role, s, err)
			}
		}
	}
}
