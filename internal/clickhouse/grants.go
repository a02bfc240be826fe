package clickhouse

import (
	"context"
	"fmt"
)

// Lacks answers those of some grants, each written "GRANT ... ON ..." as schemas.Grants has them, that whoever is signed in does
// not have. Tables that a grant names need not exist.
func (db *DB) Lacks(ctx context.Context, grants []string) (missing []string, err error) {
	for _, grant := range grants {
		statement, err := single("CHECK " + grant)
		if err != nil {
			return nil, fmt.Errorf("ask for a grant: %w", err)
		}
		var has uint8
		if err := db.bootstrap.QueryRow(ctx, statement).Scan(&has); err != nil {
			return nil, fmt.Errorf("ask which grants %s has: %w", db.cfg.Username, explain(err, false))
		}
		if has == 0 {
			missing = append(missing, grant)
		}
	}
	return missing, nil
}
