package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// ErrNotMigrated means that the database is not at the newest migration.
var ErrNotMigrated = errors.New("the schema is not up to date: run 'tillsyn migrate'")

// A Migration is one numbered file of statements.
type Migration struct {
	Name       string   `json:"name"`       // file name, NNNN_name.sql
	Checksum   string   `json:"checksum"`   // SHA-256 of the file, hexadecimal
	Statements []string `json:"statements"` // in the order they run
}

// A Step is what Migrate did, or would do, with one file.
type Step struct {
	Migration
	Applied time.Time `json:"applied,omitzero"` // when it was applied earlier; zero: now, or pending in a dry run
}

// The runner's own table. It is no Replacing table: two checksums for one file must stay visible.
const createLedger = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    name       String                 COMMENT 'file name of the migration',
    checksum   String                 COMMENT 'SHA-256 of the file as it was applied, hexadecimal',
    applied_at DateTime64(3, 'UTC')   COMMENT 'when its last statement had run'
)
ENGINE = MergeTree
ORDER BY (name, applied_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Migrations that have been applied; a file may be here twice when two migrators ran at once'`

var migrationName = regexp.MustCompile(`^[0-9]{4}_[a-z0-9_]+\.sql$`)

// ReadMigrations reads the numbered files of a folder and proves that each may be repeated. All faults come at once.
func ReadMigrations(dir fs.FS) ([]Migration, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var list []Migration
	var faults []error
	numbers := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".sql") {
			continue
		}
		if !migrationName.MatchString(name) {
			faults = append(faults, fmt.Errorf("migration %s: the name must be NNNN_name.sql in small letters", name))
			continue
		}
		if other, taken := numbers[name[:4]]; taken {
			faults = append(faults, fmt.Errorf("migration %s has the same number as %s", name, other))
		}
		numbers[name[:4]] = name
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			faults = append(faults, fmt.Errorf("migration %s: %w", name, err))
			continue
		}
		statements, err := split(string(text))
		if err != nil {
			faults = append(faults, fmt.Errorf("migration %s: %w", name, err))
			continue
		}
		if len(statements) == 0 {
			faults = append(faults, fmt.Errorf("migration %s: it has no statement", name))
		}
		sum := sha256.Sum256(text)
		m := Migration{Name: name, Checksum: hex.EncodeToString(sum[:])}
		for _, s := range statements {
			if err := s.repeatable(); err != nil {
				faults = append(faults, fmt.Errorf("migration %s line %d: %w", name, s.line, err))
			}
			m.Statements = append(m.Statements, s.text)
		}
		list = append(list, m)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("read migrations:\n%w", err)
	}
	return list, nil
}

// Migrate creates the database, then runs the files that have not been applied, in order, and records each with its
// checksum after its last statement. Interrupted, it begins the interrupted file again; run by two at once, both run the
// same statements and both end well. Steps before an error are answered with it.
func (db *DB) Migrate(ctx context.Context, dir fs.FS) ([]Step, error) {
	list, err := ReadMigrations(dir)
	if err != nil {
		return nil, err
	}
	if err := repeat(ctx, func() error {
		return db.bootstrap.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+db.cfg.Database) // Validate allows only plain names
	}); err != nil {
		return nil, fmt.Errorf("create database %s: %w", db.cfg.Database, explain(err, false))
	}
	if err := repeat(ctx, func() error { return db.packed.Exec(ctx, createLedger) }); err != nil {
		return nil, fmt.Errorf("create table schema_migrations: %w", explain(err, false))
	}
	steps, err := db.plan(ctx, list)
	if err != nil {
		return nil, err
	}
	for i := range steps {
		s := &steps[i]
		if !s.Applied.IsZero() {
			continue
		}
		for n, statement := range s.Statements {
			if err := repeat(ctx, func() error { return db.packed.Exec(ctx, statement) }); err != nil {
				return steps[:i], fmt.Errorf("migration %s, statement %d of %d: %w", s.Name, n+1, len(s.Statements), explain(err, false))
			}
		}
		record := driver.Context(ctx, driver.WithSettings(insertSettings()))
		if err := db.packed.Exec(record, "INSERT INTO schema_migrations (name, checksum, applied_at) SELECT {name:String}, {checksum:String}, now64(3)",
			driver.Named("name", s.Name), driver.Named("checksum", s.Checksum)); err != nil {
			return steps[:i], fmt.Errorf("record migration %s: %w", s.Name, explain(err, false))
		}
	}
	return steps, nil
}

// PlanMigration says what Migrate would do and changes nothing: a step with a zero Applied is pending.
func (db *DB) PlanMigration(ctx context.Context, dir fs.FS) ([]Step, error) {
	list, err := ReadMigrations(dir)
	if err != nil {
		return nil, err
	}
	return db.plan(ctx, list)
}

// Check answers ErrNotMigrated, with the first missing file, unless the database is exactly at the newest migration. Ingest
// and reports ask it before they start.
func (db *DB) Check(ctx context.Context, dir fs.FS) error {
	steps, err := db.PlanMigration(ctx, dir)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Applied.IsZero() {
			return fmt.Errorf("database %s lacks %s: %w", db.cfg.Database, s.Name, ErrNotMigrated)
		}
	}
	return nil
}

// plan compares the files with what the database says was applied. It works before the database exists.
func (db *DB) plan(ctx context.Context, list []Migration) ([]Step, error) {
	type record struct {
		Name      string    `ch:"name"`
		Checksums []string  `ch:"checksums"`
		Applied   time.Time `ch:"applied"`
	}
	var records []record
	query := "SELECT name, groupUniqArray(checksum) AS checksums, min(applied_at) AS applied FROM " + db.cfg.Database + ".schema_migrations GROUP BY name ORDER BY name"
	err := explain(db.bootstrap.Select(ctx, &records, query), false)
	if code := Code(err); code != 0 && (code == codeUnknownTable || code == codeUnknownDatabase) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table schema_migrations: %w", err)
	}
	applied := map[string]record{}
	for _, r := range records {
		applied[r.Name] = r
	}
	var newest string
	if len(records) > 0 {
		newest = records[len(records)-1].Name
	}
	var faults []error
	steps := make([]Step, 0, len(list))
	for _, m := range list {
		r, done := applied[m.Name]
		delete(applied, m.Name)
		switch {
		case done && !slices.Equal(r.Checksums, []string{m.Checksum}):
			faults = append(faults, fmt.Errorf("migration %s was changed after it was applied: put the old text back and write a new file", m.Name))
		case !done && m.Name < newest:
			faults = append(faults, fmt.Errorf("migration %s sorts before %s, which is applied: give it a higher number", m.Name, newest))
		}
		steps = append(steps, Step{m, r.Applied})
	}
	for name := range applied {
		faults = append(faults, fmt.Errorf("the database has migration %s, which this tillsyn does not know: it is older than the database", name))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("migrations of database %s:\n%w", db.cfg.Database, err)
	}
	return steps, nil
}

// repeat tries again what a second migrator can disturb: a view that is just being replaced, an ALTER in the queue.
func repeat(ctx context.Context, do func() error) error {
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		err := do()
		switch Code(explain(err, false)) {
		case codeTableExists, codeUnknownTable, codeAborted, codeMetadataMismatch, codeCannotAssignAlter, codeTableIsBeingChange:
		default:
			return err
		}
		if wait > time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
