package ingest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tillsyn/ingest/parse"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// Config is how batches are cut and which sources there are.
type Config struct {
	Batch         Limits   `yaml:"batch"`
	StatisticsKey string   `yaml:"statistics_key"` // file of the key of package seal; made at the first start
	Sources       []Source `yaml:"sources"`
}

// Source is one stream of log lines of one format.
type Source struct {
	Topic    string `yaml:"topic"` // Kafka topic
	Epoch    string `yaml:"epoch"` // which life of the topic, where Kafka gives topics no id; empty: Kafka's topic id
	Tenant   string `yaml:"tenant"`
	Format   string `yaml:"format"`    // a name of parse.Formats
	TimeZone string `yaml:"time_zone"` // of times that name none; empty: refused by formats that need it

	Logformat       string   `yaml:"logformat"` // what a file can't say: see package parse
	Columns         []string `yaml:"columns"`
	Layout          string   `yaml:"layout"`
	InternalDomains []string `yaml:"internal_domains"`
}

// DefaultConfig has no source. Its batches take about 40 MiB for each partition.
func DefaultConfig() Config {
	return Config{
		Batch:         Limits{Events: 1_000_000, Grains: 100_000, MaxAge: 10 * time.Second, Rejects: 200_000, Sealed: 8 << 20},
		StatisticsKey: "var/statistics.key",
	}
}

// Validate tells all faults at once. tenants are the names that a source may have.
func (c Config) Validate(tenants []string) error {
	var errs []error
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"batch.events", int64(c.Batch.Events)}, {"batch.grains", int64(c.Batch.Grains)}, {"batch.rejects", int64(c.Batch.Rejects)},
		{"batch.max_age", int64(c.Batch.MaxAge)}, {"batch.sealed", int64(c.Batch.Sealed)},
	} {
		if n.value <= 0 {
			errs = append(errs, fmt.Errorf("ingest.%s must be more than 0", n.name))
		}
	}
	if c.Batch.Sealed > vault.MaxBytes {
		errs = append(errs, fmt.Errorf("ingest.batch.sealed must be at most %d: the database keeps more as more than one part", vault.MaxBytes))
	}
	if c.StatisticsKey == "" {
		errs = append(errs, errors.New("ingest.statistics_key must name a file"))
	}
	topics := map[string]bool{}
	for i, s := range c.Sources {
		at := fmt.Sprintf("ingest.sources[%d]", i)
		if s.Topic == "" {
			errs = append(errs, fmt.Errorf("%s.topic is missing", at))
		} else if topics[s.Topic] {
			errs = append(errs, fmt.Errorf("%s.topic: %q is named twice: a topic has one format", at, s.Topic))
		}
		topics[s.Topic] = true
		if err := s.Validate(tenants); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

// Validate checks what a source needs apart from its topic.
func (s Source) Validate(tenants []string) error {
	var errs []error
	known := false
	for _, t := range tenants {
		known = known || t == s.Tenant
	}
	if !known {
		errs = append(errs, fmt.Errorf("tenant: %q is not one of the configured tenants: %s", s.Tenant, strings.Join(tenants, ", ")))
	}
	if _, err := s.parser(time.Now); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remembers says whether the source's parser needs to have seen earlier records.
func (s Source) remembers() bool {
	return slices.ContainsFunc(parse.Formats(), func(f parse.FormatInfo) bool { return f.Name == s.Format && f.Remembers })
}

// parser makes a parser of the source. now is the clock for times without a year.
func (s Source) parser(now func() time.Time) (parse.Parser, error) {
	o := parse.Options{
		Now: now, Format: s.Format, Logformat: s.Logformat, Columns: s.Columns, Layout: s.Layout, InternalDomains: s.InternalDomains,
	}
	if s.TimeZone != "" {
		zone, err := time.LoadLocation(s.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("time_zone: %q is not the name of a time zone, such as Europe/Stockholm", s.TimeZone)
		}
		o.Zone = zone
	}
	return parse.New(o)
}

// OpenStatisticsKey reads the key file at path, and makes it, readable by its owner only, if there is none. A new key
// reaches back as far as an event may.
func OpenStatisticsKey(path string, now time.Time) (seal.StatisticsKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		// A day more, for the time zones.
		key := seal.NewStatisticsKey(seal.MonthOf(now.UTC().Add(-MaxAge - 24*time.Hour)))
		if err := durable.Create(path, key.Encode(), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return seal.StatisticsKey{}, fmt.Errorf("make the statistics key: %w", err)
		}
		text, err = os.ReadFile(path) // another process may have been first
	}
	if err != nil {
		return seal.StatisticsKey{}, fmt.Errorf("read the statistics key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return seal.StatisticsKey{}, fmt.Errorf("read the statistics key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return seal.StatisticsKey{}, fmt.Errorf("the statistics key %s can be read by others: make its mode 0600", path)
	}
	key, err := seal.ParseStatisticsKey(text)
	if err != nil {
		return seal.StatisticsKey{}, fmt.Errorf("read the statistics key %s: %w", path, err)
	}
	return key, nil
}

// ForgetStatisticsKeys drops the months that no event can be of any more from the key file at path.
func ForgetStatisticsKeys(path string, now time.Time) error {
	oldest := seal.MonthOf(now.UTC().Add(-MaxAge - 24*time.Hour))
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("forget old statistics keys: %w", err)
	}
	key, err := seal.ParseStatisticsKey(text)
	if err != nil {
		return fmt.Errorf("forget old statistics keys: %w", err)
	}
	if key.Oldest() >= oldest {
		return nil
	}
	if key, err = key.Forget(oldest); err != nil {
		return fmt.Errorf("forget old statistics keys: %w", err)
	}
	if err := durable.Replace(path, key.Encode(), 0o600); err != nil {
		return fmt.Errorf("forget old statistics keys: %w", err)
	}
	return nil
}
