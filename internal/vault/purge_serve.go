package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// withoutPurged leaves out the keys of days that were purged, but those that are held: whatever somebody has put back into the
// tables, nobody gets to open it.
func (s *Store) withoutPurged(ctx context.Context, scope KeyScope, keys []StoredKey) ([]StoredKey, error) {
	if s.Purged == nil || len(keys) == 0 {
		return keys, nil
	}
	purged, err := s.Purged(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask which days were purged: %w", err)
	}
	if !slices.ContainsFunc(keys, func(k StoredKey) bool { return purged.Has(k.Kind, k.Day) }) {
		return keys, nil
	}
	query, err := schemas.Query("vault/purge_held_keys")
	if err != nil {
		return nil, err
	}
	type place struct {
		kind string
		day  seal.Day
		key  string
	}
	held := map[place]bool{}
	err = s.db.Query(ctx, query, clickhouse.Params{"tenant": scope.Tenant, "from": scope.From.String(), "to": scope.To.String()}, func(r clickhouse.Row) error {
		var p place
		var day time.Time
		err := r.Scan(&p.kind, &day, &p.key)
		p.day = dayOf(day)
		held[p] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find held keys: %w", err)
	}
	return slices.DeleteFunc(keys, func(k StoredKey) bool {
		return purged.Has(k.Kind, k.Day) && !held[place{k.Kind, k.Day, string(k.Wrapped.ID[:])}]
	}), nil
}
