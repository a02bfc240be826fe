package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tillsyn/internal/seal"
)

// A copy of the lookup key that no ingester looks after forgets with the purge, and what is forgotten is gone from the file.
func TestKeysAreForgottenWhereverTheyLie(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	today := seal.DayOf(now)
	cfg := DefaultConfig()
	dir := t.TempDir()
	cfg.Vault.LookupKey, cfg.Ingest.StatisticsKey = filepath.Join(dir, "lookup.key"), filepath.Join(dir, "statistics.key")
	clock := func() time.Time { return now }
	if err := forgetKeys(cfg, clock); err != nil {
		t.Fatal("where nothing lies:", err)
	}
	for path, text := range map[string][]byte{
		cfg.Vault.LookupKey:      seal.NewLookupKey(today - 300).Encode(),
		cfg.Ingest.StatisticsKey: seal.NewStatisticsKey(seal.MonthOf(now.AddDate(-1, 0, 0))).Encode(),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := forgetKeys(cfg, clock); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cfg.Vault.LookupKey)
	if err != nil {
		t.Fatal(err)
	}
	lookup, err := seal.ParseLookupKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lookup.Tagger(today - 92); !errors.Is(err, seal.ErrLookupForgotten) {
		t.Errorf("tags of 92 days ago can be made: %v", err)
	}
	if _, err := lookup.Tagger(today - 91); err != nil {
		t.Error(err)
	}
	if text, err = os.ReadFile(cfg.Ingest.StatisticsKey); err != nil {
		t.Fatal(err)
	}
	statistics, err := seal.ParseStatisticsKey(text)
	if err != nil || statistics.Oldest() < seal.MonthOf(now.AddDate(0, -4, 0)) {
		t.Errorf("statistics tokens since %v can be made: %v", statistics.Oldest(), err)
	}
}
