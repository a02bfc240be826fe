package schemas_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/schemas"
)

var update = flag.Bool("update", false, "write README.md from the database")

func TestMain(m *testing.M) { enginetest.Main(m) }

func migrated(t *testing.T) *clickhouse.DB {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, nil))
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	name, password := e.Credentials(engine.Owner)
	cfg.Username, cfg.Password = name, clickhouse.Password(password)
	db, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	return db
}

// README.md is what the database says about itself.
func TestDataDictionary(t *testing.T) {
	got, err := migrated(t).Dictionary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("README.md", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("README.md is not what the database says: run 'go test ./schemas -update' and read the difference")
	}
}

// Every kind of query is parsed and its names resolved by the server; none may paste a value.
func TestQueriesFitTheSchema(t *testing.T) {
	db := migrated(t)
	if len(schemas.Queries()) == 0 {
		t.Fatal("no queries")
	}
	for _, name := range schemas.Queries() {
		text, err := schemas.Query(name)
		if err != nil {
			t.Fatal(err)
		}
		statements, err := clickhouse.Statements(text)
		if err != nil || len(statements) != 1 {
			t.Errorf("%s: %d statements, %v", name, len(statements), err)
			continue
		}
		if strings.HasPrefix(strings.ToUpper(statements[0]), "INSERT") {
			continue // a header check needs rows: internal/clickhouse tests every insert with the grants of ingest
		}
		if strings.HasPrefix(strings.ToUpper(statements[0]), "ALTER") {
			// EXPLAIN SYNTAX does not know it. There is no partition of that day.
			if err := db.Exec(t.Context(), statements[0], parameters(statements[0])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err := db.Query(t.Context(), "EXPLAIN SYNTAX "+statements[0], parameters(statements[0]), func(clickhouse.Row) error { return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := schemas.Query("no/such"); err == nil {
		t.Error("a query that is not there has a text")
	}
	if err := db.CheckSettings(t.Context()); err != nil {
		t.Errorf("a table of the migrations breaks a promise: %v", err)
	}
}

// parameters gives each {name:Type} of a query a value of its type.
func parameters(query string) clickhouse.Params {
	params := clickhouse.Params{}
	for part := range strings.SplitSeq(query, "{") {
		name, rest, found := strings.Cut(part, ":")
		kind, _, ends := strings.Cut(rest, "}")
		if !found || !ends {
			continue
		}
		switch {
		case kind == "Date":
			params[name] = "2026-01-01"
		case kind == "DateTime":
			params[name] = "2026-01-01 00:00:00"
		case strings.HasPrefix(kind, "UInt"):
			params[name] = 1
		case strings.HasPrefix(kind, "Array(String)"):
			params[name] = []string{}
		default:
			params[name] = ""
		}
	}
	return params
}
