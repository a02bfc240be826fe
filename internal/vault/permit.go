package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"tillsyn/internal/seal"
)

// AnyCategory, as the only category of a scope, means every event of the person, mail included.
const AnyCategory = "any"

// Uncategorised is the category of web events that no list knows, in the categories of a scope.
const Uncategorised = "uncategorised"

// MaxScopeDays is the longest period of a scope: 90 days back, and a day on each side.
const MaxScopeDays = 92

// A Scope is what one decision lets be read. An empty list is nothing, never everything.
type Scope struct {
	Tenant     string
	Kinds      []string // Web, Mail
	From, To   seal.Day // first and last UTC day
	Subjects   [][]byte // whose events: canonical subjects
	Categories []string // of web events: names of categories, Uncategorised; or AnyCategory alone. Mail has none, and needs AnyCategory
}

// Format hides the subjects from every verb.
func (Scope) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the subjects from every encoder.
func (Scope) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

func (s Scope) validate() error {
	var faults []error
	if s.Tenant == "" {
		faults = append(faults, errors.New("it names no tenant"))
	}
	faults = append(faults, checkKinds(s.Kinds), checkDays(s.From, s.To))
	if len(s.Subjects) == 0 {
		faults = append(faults, errors.New("it names nobody"))
	}
	for _, subject := range s.Subjects {
		if len(subject) == 0 {
			faults = append(faults, errors.New("it names an empty subject"))
		}
	}
	switch {
	case len(s.Categories) == 0:
		faults = append(faults, errors.New("it names no category"))
	case slices.Contains(s.Categories, ""):
		faults = append(faults, errors.New("it names an empty category"))
	case slices.Contains(s.Categories, AnyCategory) && len(s.Categories) > 1:
		faults = append(faults, errors.New("it names any category and others too"))
	}
	return errors.Join(faults...)
}

func checkKinds(kinds []string) error {
	if len(kinds) == 0 {
		return errors.New("it names no kind of event")
	}
	for i, k := range kinds {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("%q is not a kind of event; kinds are %v", k, Kinds())
		}
		if slices.Contains(kinds[:i], k) {
			return fmt.Errorf("it names the kind %s twice", k)
		}
	}
	return nil
}

func checkDays(from, to seal.Day) error {
	switch {
	case from > to:
		return fmt.Errorf("its last day, %s, is before its first, %s", to, from)
	case to-from >= MaxScopeDays:
		return fmt.Errorf("it has %d days: at most %d can be asked for at once", to-from+1, MaxScopeDays)
	case from <= 0:
		return errors.New("it has no first day")
	}
	return nil
}

// An openedKey is a data key with what it was made for.
type openedKey struct {
	kind, tenant, population, unit string
	day                            seal.Day
	tag                            seal.Tag
	subject                        []byte
	key                            seal.OpeningKey
}

// A Permit is the scope of one decision and the data keys that were opened for it. The zero Permit opens nothing. It is made for
// one lookup, and is not safe for concurrent use with Add.
type Permit struct {
	scope Scope
	named map[string]bool // the subjects of scope
	keys  map[seal.KeyID]openedKey
	tags  map[seal.Day][]seal.Tag // that are looked at although there may be no key
}

// NewPermit makes a permit that holds no key yet.
func NewPermit(s Scope) (*Permit, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("make a permit of a scope: %w", err)
	}
	p := &Permit{scope: s, named: map[string]bool{}, keys: map[seal.KeyID]openedKey{}}
	p.scope.Kinds, p.scope.Categories, p.scope.Subjects = slices.Clone(s.Kinds), slices.Clone(s.Categories), nil
	for _, subject := range s.Subjects {
		p.named[string(subject)] = true
	}
	return p, nil
}

// Add takes a data key of subject that was put together from the shares in k. It refuses a key outside the scope.
func (p *Permit) Add(k StoredKey, subject []byte, key seal.OpeningKey) error {
	if p == nil || p.keys == nil {
		return errors.New("add a key to a permit: this permit has no scope; take one from NewPermit")
	}
	s := &p.scope
	if k.Tenant != s.Tenant || !slices.Contains(s.Kinds, k.Kind) || k.Day < s.From || k.Day > s.To || !p.named[string(subject)] {
		return fmt.Errorf("add key %s to a permit: %w", k.Wrapped.ID, ErrOutside)
	}
	if key.ID() != k.Wrapped.ID || k.Wrapped.ID == (seal.KeyID{}) {
		return fmt.Errorf("add key %s to a permit: the opened key has another id", k.Wrapped.ID)
	}
	p.keys[k.Wrapped.ID] = openedKey{k.Kind, k.Tenant, k.Population, k.Unit, k.Day, k.Tag, bytes.Clone(subject), key}
	return nil
}

// Watch has a reading look at the capsules under a tag too, whether or not p holds a key of it: those without one are in
// [Reading.Locked]. So a key that somebody removed or altered does not hide that there is something.
func (p *Permit) Watch(day seal.Day, tag seal.Tag) {
	if p == nil || p.keys == nil || day < p.scope.From || day > p.scope.To {
		return
	}
	if p.tags == nil {
		p.tags = map[seal.Day][]seal.Tag{}
	}
	p.tags[day] = append(p.tags[day], tag)
}

// Keys says how many data keys p holds.
func (p *Permit) Keys() int {
	if p == nil {
		return 0
	}
	return len(p.keys)
}

// Forget drops the keys: p opens nothing any more.
func (p *Permit) Forget() {
	if p != nil {
		clear(p.keys)
		clear(p.named)
		clear(p.tags)
	}
}

// Format hides the subjects and keys from every verb.
func (Permit) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the subjects and keys from every encoder.
func (Permit) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// ErrOutside is what a permit answers to what its decision does not cover.
var ErrOutside = errors.New("it is outside of what the decision covers")

// covers says whether an event that was opened is in the scope.
func (p *Permit) covers(e *Event) bool {
	if seal.DayOf(time.UnixMilli(e.Time)) != e.Day {
		return false
	}
	if p.scope.Categories[0] == AnyCategory {
		return true
	}
	if e.Kind != Web {
		return false
	}
	category := string(e.Category)
	if category == "" {
		category = Uncategorised
	}
	return slices.Contains(p.scope.Categories, category)
}
