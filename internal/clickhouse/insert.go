package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// The size of a block that ClickHouse keeps as one part: its defaults of max_insert_block_size and
// min_insert_block_size_bytes. Above them an insert may become several parts, which is not atomic.
const (
	MaxInsertRows  = 1_048_449
	MaxInsertBytes = 256 << 20
)

// An Insert is one block for one table-partition.
type Insert struct {
	Query   string        // INSERT INTO table (column, ...), the text of a file in schemas/queries; comments and VALUES may be there
	QueryID string        // names the insert for Kill; unique among running queries; empty: the server makes one
	Columns []any         // one slice per column in the query's order, all of equal length; see below
	Token   string        // insert_deduplication_token, a second net where the table is Replicated; empty: no deduplication at all
	Plain   bool          // no LZ4 on the wire: for blocks that are mostly ciphertext; on loopback there is none in any case
	Timeout time.Duration // on both sides; 0: Config.InsertTimeout
}

// insertSettings pins what makes an insert one part, so that no profile of the server changes it.
// max_partitions_per_insert_block makes the server refuse a block for two partitions before it writes either. Merging equal
// keys while inserting (optimize_on_insert) would cost a third more memory for nothing: a batch has one row per cell.
func insertSettings() driver.Settings {
	return driver.Settings{
		"async_insert":                             0,
		"max_insert_block_size":                    MaxInsertRows,
		"min_insert_block_size_rows":               MaxInsertRows,
		"min_insert_block_size_bytes":              MaxInsertBytes,
		"max_insert_threads":                       1,
		"max_partitions_per_insert_block":          1,
		"throw_on_max_partitions_per_insert_block": 1,
		"insert_deduplicate":                       0,
		"optimize_on_insert":                       0,
		"deduplicate_insert":                       "disable",
	}
}

// Insert writes one block. Columns may be
//
//	[]uint8 []uint16 []uint32 []uint64 []int8 []int16 []int32 []int64 []float64 []bool   their own ClickHouse type
//	[]string, [][]byte        String, LowCardinality(String)
//	[]time.Time               DateTime (the instant, whole seconds), Date (the day in the value's own location)
//	[]uint32, []uint16        DateTime (Unix seconds), Date (days since 1970-01-01)
//	[][]uint64, Arrays        Array(UInt64), also EPHEMERAL
//
// On success the block is one part on disk. Otherwise the error is ErrNotInserted, or, as soon as the first byte of the
// block has left, ErrUnknownOutcome, unless the server said something that it says before writing. An empty block is no insert.
func (db *DB) Insert(ctx context.Context, in Insert) error {
	if err := db.insert(ctx, in); err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	return nil
}

func (db *DB) insert(ctx context.Context, in Insert) (err error) {
	rows, err := size(in.Columns)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotInserted, err)
	}
	if rows == 0 {
		return nil
	}
	query, err := single(in.Query)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotInserted, err)
	}
	timeout := in.Timeout
	if timeout == 0 {
		timeout = db.cfg.InsertTimeout
	}
	// The driver watches the context of a batch, and its watch may see an end that comes just after a successful Send: it then
	// closes a connection that is somebody else's by now (contextWatchdog in clickhouse-go 2.50). So a context that an insert
	// has succeeded with ends by its deadline only, whatever becomes of the caller's.
	caller := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), timeout)
	detach := context.AfterFunc(caller, cancel)
	defer func() {
		if detach(); err != nil {
			cancel()
		}
	}()
	settings := insertSettings()
	settings["max_execution_time"] = seconds(timeout)
	if in.Token != "" {
		maps.Copy(settings, driver.Settings{"insert_deduplicate": 1, "deduplicate_insert": "enable", "insert_deduplication_token": in.Token})
	}
	pool := db.packed
	if in.Plain {
		pool = db.plain
	}
	batch, err := pool.PrepareBatch(driver.Context(ctx, driver.WithSettings(settings), driver.WithQueryID(in.QueryID)), query)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotInserted, explain(err, true))
	}
	if err := fill(batch.Columns(), in.Columns, rows); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrNotInserted, err), batch.Abort())
	}
	if err := batch.Send(); err != nil {
		err = explain(err, true)
		if Code(err) == codeTooManyParts { // thrown while the block is split by partition, before any part is written
			return fmt.Errorf("%w: %w", ErrNotInserted, err)
		}
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return nil
}

// fill gives every column of the server's header its slice.
func fill(header []column.Interface, columns []any, rows int) error {
	if len(header) != len(columns) {
		return fmt.Errorf("the query has %d columns, %d were given", len(header), len(columns))
	}
	layout := newLayout()
	for i, c := range header {
		if err := layout.append(c, columns[i]); err != nil {
			return fmt.Errorf("column %s %s: %w", c.Name(), c.Type(), err)
		}
		if c.Rows() != rows {
			return fmt.Errorf("column %s %s: took %d of %d rows", c.Name(), c.Type(), c.Rows(), rows)
		}
	}
	return nil
}

// seconds is a duration as ClickHouse counts it: whole seconds, at least one, because 0 means no limit.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }
