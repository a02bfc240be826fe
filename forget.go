package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"tillsyn/ingest"
	"tillsyn/internal/vault"
)

// forgetKeys moves the lookup key and the statistics key on, wherever a copy of them lies: what they made of days and months that are
// purged can't be made again. Ingest does it while it runs; a gate or a purge elsewhere has its own copies. It runs after a purge,
// good or bad. What is not here is no fault.
func forgetKeys(cfg Config, now func() time.Time) error {
	var faults []error
	here := func(path string) bool {
		_, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("forget old keys: %w", err))
		}
		return err == nil
	}
	if here(cfg.Vault.LookupKey) {
		lookup, err := vault.OpenLookup(cfg.Vault.LookupKey, now)
		if err == nil {
			_, err = lookup.Forget()
		}
		faults = append(faults, err)
	}
	if here(cfg.Ingest.StatisticsKey) {
		faults = append(faults, ingest.ForgetStatisticsKeys(cfg.Ingest.StatisticsKey, now()))
	}
	return errors.Join(faults...)
}
