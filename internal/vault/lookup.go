package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
)

// keepDays is how many days back tags can be made: 90, and one for events at the edge.
const keepDays = 91

// Lookup is the lookup key in its file, which forgets: tags of days that are older than any capsule may be can't be made any
// more. It is safe for concurrent use, and prints as redacted.
type Lookup struct {
	path string
	key  atomic.Pointer[seal.LookupKey]
	now  func() time.Time
}

// OpenLookup reads the key file at path, and makes it, readable by its owner only, if there is none. A key that can't reach
// back as far as capsules may is fine: those days are forgotten.
func OpenLookup(path string, now func() time.Time) (*Lookup, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key := seal.NewLookupKey(seal.DayOf(now()) - keepDays)
		if err := durable.Create(path, key.Encode(), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make the lookup key: %w", err)
		}
		text, err = os.ReadFile(path) // another process may have been first
	}
	if err != nil {
		return nil, fmt.Errorf("read the lookup key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the lookup key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the lookup key %s can be read by others: make its mode 0600", path)
	}
	key, err := seal.ParseLookupKey(text)
	if err != nil {
		return nil, fmt.Errorf("read the lookup key %s: %w", path, err)
	}
	l := &Lookup{path: path, now: now}
	l.key.Store(&key)
	return l, nil
}

// Key is the key as it is now.
func (l *Lookup) Key() seal.LookupKey { return *l.key.Load() }

// Forget drops the days that no capsule can be of any more, from memory and from the file. It answers the oldest day that is
// left.
func (l *Lookup) Forget() (seal.Day, error) {
	key := l.Key()
	oldest := seal.DayOf(l.now()) - keepDays
	if key.Oldest() >= oldest {
		return key.Oldest(), nil
	}
	// Another process may have forgotten more, and what the file has forgotten must not come back.
	text, err := os.ReadFile(l.path)
	if err != nil {
		return key.Oldest(), fmt.Errorf("forget old days: %w", err)
	}
	inFile, err := seal.ParseLookupKey(text)
	if err != nil {
		return key.Oldest(), fmt.Errorf("forget old days: %w", err)
	}
	if key, err = key.Forget(oldest); err != nil {
		return oldest, fmt.Errorf("forget old days: %w", err)
	}
	later := max(oldest, inFile.Oldest())
	mine, err := key.Check(later)
	if err != nil {
		return oldest, fmt.Errorf("forget old days: %w", err)
	}
	theirs, err := inFile.Check(later)
	if err != nil {
		return oldest, fmt.Errorf("forget old days: %w", err)
	}
	if mine != theirs {
		return l.Key().Oldest(), fmt.Errorf("forget old days: the lookup key in %s is another one than at the start: restart", l.path)
	}
	if inFile.Oldest() < oldest {
		if err := durable.Replace(l.path, key.Encode(), 0o600); err != nil {
			return l.Key().Oldest(), fmt.Errorf("forget old days: %w", err)
		}
	}
	l.key.Store(&key)
	return oldest, nil
}

// Run forgets what is due, and calls also, each time that interval has passed, until ctx ends. failed hears of faults.
func (l *Lookup) Run(ctx context.Context, interval time.Duration, also func(), failed func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if _, err := l.Forget(); err != nil {
			failed(err)
		}
		also()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Format hides the key from every verb.
func (*Lookup) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the key from every encoder.
func (*Lookup) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
