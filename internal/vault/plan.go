package vault

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// MaxDays is the ceiling for identifiable data, in days: no configuration keeps sealed events or rejected lines longer.
const MaxDays = 90

// minStatisticsDays keeps statistics longer than the events that could still come in for their days.
const minStatisticsDays = MaxDays + 2

// A Class is a kind of data that is removed at a time of its own.
type Class string

// The classes of data.
const (
	ClassWeb        Class = "web"        // sealed web events and their keys
	ClassMail       Class = "mail"       // sealed mail events and their keys
	ClassRejects    Class = "rejects"    // what could not be read, without what it said
	ClassStatistics Class = "statistics" // statistics of groups
	ClassHeld       Class = "held"       // copies under a hold that has ended
)

// Classes are the classes that a retention can be set for, in the order in which they are purged.
func Classes() []Class { return []Class{ClassWeb, ClassMail, ClassRejects, ClassStatistics} }

// identifiable says whether the ceiling is for class c.
func (c Class) identifiable() bool { return c != ClassStatistics }

// tables are the tables of a class in the order in which their partitions go: keys first, so that a purge that is cut short
// leaves capsules that nobody can open, never the other way round.
func (c Class) tables() []string {
	switch c {
	case ClassWeb:
		return []string{"web_keys", "web_capsules"}
	case ClassMail:
		return []string{"mail_keys", "mail_capsules"}
	case ClassRejects:
		return []string{"rejects"}
	case ClassStatistics:
		return []string{"web_hourly", "web_domains_daily", "web_countries_daily", "mail_hourly", "mail_domains_daily"}
	case ClassHeld:
		return []string{"held_keys", "held_capsules"}
	}
	return nil
}

func allTables() []string {
	tables := ClassHeld.tables()
	for _, c := range Classes() {
		tables = append(tables, c.tables()...)
	}
	return tables
}

func classOf(table string) (Class, bool) {
	for _, c := range append(Classes(), ClassHeld) {
		if slices.Contains(c.tables(), table) {
			return c, true
		}
	}
	return "", false
}

// Retention says how long each class is kept, and by whose decision. A class without days is kept: only statistics may be.
type Retention struct {
	Web        ClassRetention `yaml:"web"`
	Mail       ClassRetention `yaml:"mail"`
	Rejects    ClassRetention `yaml:"rejects"`
	Statistics ClassRetention `yaml:"statistics"` // days 0: kept
}

// ClassRetention is how long one class is kept. A day is kept whole or goes whole, for all tenants together, so the days are
// those of the strictest decision.
type ClassRetention struct {
	Days      int                 `yaml:"days"`      // UTC days of the event; 1 to MaxDays
	Decisions []RetentionDecision `yaml:"decisions"` // one for each tenant
}

// A RetentionDecision is a tenant's decision to remove a class of data (in Sweden: gallringsbeslut).
type RetentionDecision struct {
	Tenant string `yaml:"tenant" json:"tenant"`
	Number string `yaml:"number" json:"number"` // of the decision, as the tenant's register has it
	From   string `yaml:"from" json:"from"`     // day from which it is in force, YYYY-MM-DD
}

// DefaultRetention keeps sealed events and rejects for the ceiling, and statistics for good. It has no decisions, so nothing
// can be purged with it: they are the tenants' to take.
func DefaultRetention() Retention {
	return Retention{Web: ClassRetention{Days: MaxDays}, Mail: ClassRetention{Days: MaxDays}, Rejects: ClassRetention{Days: MaxDays}}
}

// Of is the retention of a class.
func (r Retention) Of(c Class) ClassRetention {
	switch c {
	case ClassWeb:
		return r.Web
	case ClassMail:
		return r.Mail
	case ClassRejects:
		return r.Rejects
	case ClassStatistics:
		return r.Statistics
	}
	return ClassRetention{}
}

// Validate answers every fault of r, joined, or nil. A missing decision is no fault of a configuration: [Plan] refuses it.
func (r Retention) Validate() error {
	var faults []error
	for _, c := range Classes() {
		k := r.Of(c)
		fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(string(c)+"."+format, args...)) }
		switch {
		case c.identifiable() && (k.Days < 1 || k.Days > MaxDays):
			fault("days: %d is not between 1 and %d, the ceiling that is compiled in", k.Days, MaxDays)
		case !c.identifiable() && k.Days != 0 && k.Days < minStatisticsDays:
			fault("days: %d is less than %d: events for their days could still come in (0 keeps them)", k.Days, minStatisticsDays)
		}
		seen := map[string]bool{}
		for i, d := range k.Decisions {
			if d.Tenant == "" || seen[d.Tenant] {
				fault("decisions[%d].tenant: is empty, or there twice", i)
			}
			seen[d.Tenant] = true
			if !decisionNumber(d.Number) {
				fault("decisions[%d].number: must be the decision's number, at most 64 visible characters", i)
			}
			if _, err := seal.ParseDay(d.From); err != nil {
				fault("decisions[%d].from: %w", i, err)
			}
		}
	}
	return errors.Join(faults...)
}

func decisionNumber(s string) bool {
	return s != "" && len(s) <= 64 && strings.TrimSpace(s) == s && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) < 0
}

// decision answers the decision of a tenant that is in force on a day.
func (k ClassRetention) decision(tenant string, on seal.Day) (RetentionDecision, error) {
	for _, d := range k.Decisions {
		if d.Tenant != tenant {
			continue
		}
		from, err := seal.ParseDay(d.From)
		if err != nil {
			return d, err
		}
		if from > on {
			return d, fmt.Errorf("its retention decision %s is in force from %s only", d.Number, d.From)
		}
		return d, nil
	}
	return RetentionDecision{}, errors.New("it has no retention decision")
}

// A Partition is one day of one table, and of one hold where the table holds copies, on one server.
type Partition struct {
	Table   string   `json:"table"`
	Day     seal.Day `json:"-"`
	Hold    string   `json:"hold,omitempty"` // held tables only
	ID      string   `json:"-"`              // ClickHouse's partition id
	Rows    uint64   `json:"rows"`
	Bytes   uint64   `json:"bytes"`   // on disk
	Tenants []string `json:"tenants"` // whose rows it holds; only needed for what is due
}

// A Hold keeps rows from being purged. It is in force from the record's hold.placed to its hold.released, whatever the clock
// says and whatever became of the decision behind it.
type Hold struct {
	ID       string    `json:"hold"` // 32 hexadecimal digits
	Case     string    `json:"case"`
	Basis    HoldBasis `json:"basis"`
	Document string    `json:"document"` // "sha256:..." of the decision or the request that it rests on
	Placed   time.Time `json:"placed"`
	Released time.Time `json:"released,omitzero"`
	Gone     int       `json:"gone,omitempty"` // days, counted for each kind, that a purge had removed before it was placed: they are not held

	digest string
	scope  map[holdDay]int // rows of the scope by kind and day
	letGo  audit.Position  // the entry that ended it
	wide   bool            // the scope is known, and names no person
}

type holdDay struct {
	kind string
	day  seal.Day
}

// InForce says whether h has been released.
func (h Hold) InForce() bool { return h.Released.IsZero() }

// Keeps says whether h is about events of a kind on a day.
func (h Hold) Keeps(kind string, d seal.Day) bool { return h.scope[holdDay{kind, d}] > 0 }

// An Action is what a purge does with a partition, and why.
type Action struct {
	Partition
	Class     Class               `json:"class"`
	Date      string              `json:"day"` // YYYY-MM-DD, UTC
	Drop      bool                `json:"drop"`
	Reason    string              `json:"reason"`
	Holds     []string            `json:"holds,omitempty"` // in force on it: their rows are copied first
	Decisions []RetentionDecision `json:"decisions,omitempty"`
}

// Plan says what is to be done with each partition at a time, and why: a day of a class goes as soon as the UTC day is its
// days later, for each event between 24 hours before its time and its time, so that a purge each UTC day lets none live a day
// longer than that. Copies go when their hold is released, whatever their day.
//
// It refuses to plan, naming all of them, as long as a tenant has rows that are due without a decision in force, and with a
// retention that is not valid. Plan asks nothing but its arguments. The actions come in the order in which they are to be done.
func Plan(partitions []Partition, holds []Hold, r Retention, now time.Time) ([]Action, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("plan a purge: %w", err)
	}
	today := seal.DayOf(now)
	known := map[string]Hold{}
	for _, h := range holds {
		known[h.ID] = h
	}
	var faults []error
	missing := map[string]bool{}
	actions := make([]Action, 0, len(partitions))
	for _, p := range partitions {
		class, ok := classOf(p.Table)
		if !ok {
			faults = append(faults, fmt.Errorf("table %s is not one that a purge knows", p.Table))
			continue
		}
		a := Action{Partition: p, Class: class, Date: p.Day.String()}
		switch k := r.Of(class); {
		case class == ClassHeld:
			h, ok := known[p.Hold]
			switch {
			case !ok:
				a.Reason = "kept: the record of the hold is retired or missing"
			case h.InForce():
				a.Reason = "held for case " + h.Case
			default:
				a.Drop, a.Reason = true, fmt.Sprintf("the hold for case %s ended on %s", h.Case, h.Released.UTC().Format(time.DateOnly))
			}
		case k.Days == 0:
			a.Reason = "kept: no retention is set for statistics"
		case p.Day > today+1:
			a.Reason = "lies in the future: look at the clocks"
		case int(today-p.Day) < k.Days:
			a.Reason = fmt.Sprintf("kept until %s", (p.Day + seal.Day(k.Days)).String())
		default:
			a.Drop, a.Reason = true, fmt.Sprintf("older than %d days", k.Days)
			for _, tenant := range p.Tenants {
				d, err := k.decision(tenant, today)
				if err != nil {
					if fault := fmt.Sprintf("tenant %q, %s: %v", tenant, class, err); !missing[fault] {
						missing[fault] = true
						faults = append(faults, fmt.Errorf("%w (retention.%s.decisions): %s", ErrNoDecision, class, fault))
					}
					continue
				}
				a.Decisions = append(a.Decisions, d)
			}
			for _, h := range holds {
				if h.InForce() && h.Keeps(string(class), p.Day) {
					a.Holds = append(a.Holds, h.ID)
				}
			}
		}
		actions = append(actions, a)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("plan a purge: %w", err)
	}
	order := append([]Class{ClassHeld}, Classes()...)
	slices.SortStableFunc(actions, func(a, b Action) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Class), slices.Index(order, b.Class)),
			cmp.Compare(a.Day, b.Day),
			strings.Compare(a.Hold, b.Hold),
			cmp.Compare(slices.Index(a.Class.tables(), a.Table), slices.Index(b.Class.tables(), b.Table)),
		)
	})
	return actions, nil
}

// ClockTolerance is how far the clock of a purge may be from those of the record and the database.
const ClockTolerance = time.Hour

// A ClockReading is a time that was seen elsewhere.
type ClockReading struct {
	Name    string    // of the clock, for the error
	Time    time.Time // zero: nothing is known, nothing is compared
	Running bool      // it is that clock's time now; otherwise something that happened then, at the latest
}

// CheckClock answers an error if now is more than [ClockTolerance] before anything that has happened, or off a running clock.
func CheckClock(now time.Time, readings ...ClockReading) error {
	var faults []error
	for _, r := range readings {
		off := now.Sub(r.Time)
		switch {
		case r.Time.IsZero():
		case off < -ClockTolerance:
			faults = append(faults, fmt.Errorf("this machine's clock is %v behind %s", -off.Round(time.Second), r.Name))
		case r.Running && off > ClockTolerance:
			faults = append(faults, fmt.Errorf("this machine's clock is %v ahead of %s", off.Round(time.Second), r.Name))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", ErrClock, err)
	}
	return nil
}

// ErrNoDecision is when rows are due that no retention decision in force allows to remove.
var ErrNoDecision = errors.New("nothing is removed without a retention decision")

// ErrClock is when a purge does not believe its clock.
var ErrClock = errors.New("nothing is purged by a clock that may be wrong")
