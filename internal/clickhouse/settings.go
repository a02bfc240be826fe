package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Settings asks the server what the named settings are in a session of this user (getSetting), as text: true, false,
// numbers, words.
func (db *DB) Settings(ctx context.Context, names ...string) (map[string]string, error) {
	return db.settings(ctx, nil, names)
}

func (db *DB) settings(ctx context.Context, with driver.Settings, names []string) (map[string]string, error) {
	answer := map[string]string{}
	for _, name := range names {
		var value string
		err := db.bootstrap.QueryRow(driver.Context(ctx, driver.WithSettings(with)),
			"SELECT toString(getSetting({name:String}))", driver.Named("name", name)).Scan(&value)
		if err != nil {
			return nil, fmt.Errorf("ask for setting %s: %w", name, explain(err, false))
		}
		answer[name] = value
	}
	return answer, nil
}

// CheckSettings proves that the server takes the settings which keep an insert one part and free of its own
// deduplication, and that no table of the database loses data: each MergeTree must sync its inserts, and one that is not
// Replicated must keep no deduplication window (it writes its record before it renames the part, so a kill between makes the
// retry vanish). It names every setting that is not as it must be.
func (db *DB) CheckSettings(ctx context.Context) error {
	pinned := insertSettings()
	names := make([]string, 0, len(pinned))
	for name := range pinned {
		names = append(names, name)
	}
	slices.Sort(names)
	got, err := db.settings(ctx, pinned, names)
	if err != nil {
		return fmt.Errorf("check clickhouse settings: %w", err)
	}
	var faults []error
	for _, name := range names {
		if want := fmt.Sprint(pinned[name]); !same(got[name], want) {
			faults = append(faults, fmt.Errorf("setting %s is %s for user %s, it must be %s: change the user's profile", name, got[name], db.cfg.Username, want))
		}
	}
	tables, err := db.tableFaults(ctx)
	if err != nil {
		return fmt.Errorf("check clickhouse settings: %w", err)
	}
	if err := errors.Join(append(faults, tables...)...); err != nil {
		return fmt.Errorf("clickhouse can't promise exactly once:\n%w", err)
	}
	return nil
}

// same compares what getSetting says with what was sent: a Bool comes back as a word.
func same(got, want string) bool {
	switch got {
	case "true":
		got = "1"
	case "false":
		got = "0"
	}
	return got == want
}

func (db *DB) tableFaults(ctx context.Context) ([]error, error) {
	var faults []error
	err := db.Query(ctx, "SELECT name, engine, engine_full FROM system.tables WHERE database = {database:String} AND endsWith(engine, 'MergeTree') ORDER BY name",
		Params{"database": db.cfg.Database}, func(r Row) error {
			var name, engine, full string
			if err := r.Scan(&name, &engine, &full); err != nil {
				return err
			}
			for _, s := range []string{"fsync_after_insert", "fsync_part_directory"} {
				if !strings.Contains(full, s+" = 1") && !strings.Contains(full, s+" = true") {
					faults = append(faults, fmt.Errorf("setting %s of table %s is not 1: a power cut could lose what was acknowledged", s, name))
				}
			}
			window := "non_replicated_deduplication_window"
			if _, after, set := strings.Cut(full, window+" = "); set && !strings.HasPrefix(engine, "Replicated") && !strings.HasPrefix(after, "0") {
				faults = append(faults, fmt.Errorf("setting %s of table %s is not 0: a kill at the wrong moment would make a retry vanish", window, name))
			}
			return nil
		})
	return faults, err
}
