package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Params are the values of a query by the name of their {name:Type} place. A value is a string, bool, integer, float,
// time.Time (for DateTime; give a Date as the string 2006-01-02), or a slice of strings or integers for an Array.
type Params map[string]any

// A Row is the current row of an answer.
type Row struct {
	rows interface {
		Scan(dest ...any) error
		Columns() []string
	}
}

// Scan copies the columns of the row into what dest points at.
func (r Row) Scan(dest ...any) error { return r.rows.Scan(dest...) }

// Columns are the names of the answer's columns.
func (r Row) Columns() []string { return r.rows.Columns() }

// place finds the native parameters in a query whose tokens stand one space apart.
var place = regexp.MustCompile(`\{ ([A-Za-z_][A-Za-z0-9_]*) : [^{}]+ \}`)

// native is what makes the driver bind natively. Where it finds none it pastes values into the text instead: that must
// never be reached.
var native = regexp.MustCompile(`\{.+:.+\}`)

// bind checks that places and values are the same set and answers the query without the comments around it.
func bind(query string, params Params) (string, []any, error) {
	query, err := single(query)
	if err != nil {
		return "", nil, err
	}
	words, err := scan(query)
	if err != nil {
		return "", nil, err
	}
	var bare strings.Builder
	for _, w := range words {
		if w.text[0] != '\'' {
			bare.WriteString(w.text)
			bare.WriteByte(' ')
		}
	}
	wanted := map[string]bool{}
	for _, m := range place.FindAllStringSubmatch(bare.String(), -1) {
		wanted[m[1]] = true
	}
	var faults []error
	args := make([]any, 0, len(params))
	for name, v := range params {
		if !wanted[name] {
			faults = append(faults, fmt.Errorf("the query has no place {%s:Type}", name))
			continue
		}
		delete(wanted, name)
		switch v.(type) {
		case string, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float64, time.Time,
			[]string, []int, []int64, []uint16, []uint32, []uint64:
			args = append(args, driver.Named(name, v))
		default:
			faults = append(faults, fmt.Errorf("parameter %s: a %T can't be bound", name, v))
		}
	}
	for name := range wanted {
		faults = append(faults, fmt.Errorf("parameter %s has no value", name))
	}
	if len(args) > 0 && !native.MatchString(query) {
		faults = append(faults, errors.New("a {name:Type} must stand on one line"))
	}
	return query, args, errors.Join(faults...)
}

// limits are the settings of every query: the server stops it by itself, whatever becomes of us.
func (db *DB) limits() driver.Settings {
	return driver.Settings{
		"max_execution_time": seconds(db.cfg.QueryTimeout),
		"max_memory_usage":   db.cfg.QueryMemory,
	}
}

// Query runs one SELECT and calls scan for each row of the answer. It ends with scan's first error, at Config.QueryTimeout,
// above Config.QueryMemory (Code 241) or when ctx ends; the server stops working on it then.
// A user with readonly = 1 must have the limits changeable_in_readonly, as schemas/grants has it.
func (db *DB) Query(ctx context.Context, query string, params Params, scan func(Row) error) error {
	query, args, err := bind(query, params)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	rows, err := db.packed.Query(driver.Context(ctx, driver.WithSettings(db.limits())), query, args...)
	if err != nil {
		return fmt.Errorf("query: %w", explain(err, len(params) > 0))
	}
	for rows.Next() {
		if err := scan(Row{rows}); err != nil {
			cancel() // an unread answer may be long: end the query instead of draining it
			return errors.Join(err, closeQuietly(rows.Close))
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("query: %w", explain(err, len(params) > 0))
	}
	return nil
}

// closeQuietly ends an answer that nobody wants; the context's own end is no news.
func closeQuietly(end func() error) error {
	if err := end(); err != nil && !errors.Is(err, context.Canceled) {
		return explain(err, true)
	}
	return nil
}

// Select runs one SELECT and fills dest, a pointer to a slice of structs whose fields carry the tag `ch:"column"`.
// Limits and errors are those of Query.
func (db *DB) Select(ctx context.Context, dest any, query string, params Params) error {
	query, args, err := bind(query, params)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	if err := db.packed.Select(driver.Context(ctx, driver.WithSettings(db.limits())), dest, query, args...); err != nil {
		return fmt.Errorf("query: %w", explain(err, len(params) > 0))
	}
	return nil
}

// Exec runs one statement that answers nothing, with native parameters; with nil params the statement goes out as it is, so
// that a view may keep its own {name:Type}. It has no limits but ctx: purge and migrations may take long.
func (db *DB) Exec(ctx context.Context, statement string, params Params) error {
	var args []any
	if params != nil {
		var err error
		if statement, args, err = bind(statement, params); err != nil {
			return fmt.Errorf("exec: %w", err)
		}
	}
	if err := db.packed.Exec(ctx, statement, args...); err != nil {
		return fmt.Errorf("exec: %w", explain(err, len(params) > 0))
	}
	return nil
}

// Kill ends every running query of this user whose id begins with prefix, and returns when the server has ended them.
// The user needs SELECT ON system.processes. An empty prefix is refused.
func (db *DB) Kill(ctx context.Context, prefix string) error {
	if prefix == "" {
		return errors.New("kill queries: an empty prefix would end them all")
	}
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	const kill = "KILL QUERY WHERE user = currentUser() AND startsWith(query_id, {prefix:String}) SYNC"
	if err := db.packed.Exec(ctx, kill, driver.Named("prefix", prefix)); err != nil {
		return fmt.Errorf("kill queries %s: %w", strconv.Quote(prefix), explain(err, true))
	}
	return nil
}
