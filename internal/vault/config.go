package vault

import (
	"errors"
	"fmt"
	"time"
)

// Config is what sealing needs beside the registers, which package main knows the place of.
type Config struct {
	LookupKey string        `yaml:"lookup_key"` // file of the key that tags are made with; made at the first start of ingest, mode 0600
	LiveKeys  int           `yaml:"live_keys"`  // data keys in memory, about a kilobyte each: one for each person, kind and day at work
	Refresh   time.Duration `yaml:"refresh"`    // how often registers are looked at
}

// DefaultConfig is enough for 15,000 people who use both the web and mail.
func DefaultConfig() Config {
	return Config{LookupKey: "var/lookup.key", LiveKeys: 30_000, Refresh: time.Minute}
}

// Validate answers every fault of c, joined, or nil. It opens nothing.
func (c Config) Validate() error {
	var faults []error
	if c.LookupKey == "" {
		faults = append(faults, errors.New("lookup_key: must name a file"))
	}
	if c.LiveKeys < 100 || c.LiveKeys > 10_000_000 {
		faults = append(faults, fmt.Errorf("live_keys: %d is not between 100 and 10000000", c.LiveKeys))
	}
	if c.Refresh < time.Second {
		faults = append(faults, fmt.Errorf("refresh: %v is less than a second", c.Refresh))
	}
	return errors.Join(faults...)
}
