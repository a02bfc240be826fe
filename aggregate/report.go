package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

// Floor is the least number of people that a row of a report can have. It is compiled here and in the views.
const Floor = 5

// Config is how statistics are shown.
type Config struct {
	MinimumPeople uint32 `yaml:"minimum_people"` // k: rows with fewer are hidden
}

// DefaultConfig hides rows with fewer than ten people.
func DefaultConfig() Config { return Config{MinimumPeople: 10} }

// Validate refuses a minimum below the floor.
func (c Config) Validate() error {
	if c.MinimumPeople < Floor {
		return fmt.Errorf("statistics.minimum_people is %d: it can't be lower than %d", c.MinimumPeople, Floor)
	}
	return nil
}

// By is what the rows of a report are.
type By string

// What a report on web use can be broken down by.
const (
	ByHour     By = "hour"
	ByDay      By = "day"
	ByUnit     By = "unit"
	ByCategory By = "category"
	ByDomain   By = "domain"
	ByCountry  By = "country"
)

// Bys are all of them.
func Bys() []By { return []By{ByHour, ByDay, ByUnit, ByCategory, ByDomain, ByCountry} }

// Keys are the columns that name a row.
func (b By) Keys() []string {
	switch b {
	case ByUnit:
		return []string{"tenant", "unit"}
	case ByDomain:
		return []string{"domain", "category"}
	default:
		return []string{string(b)}
	}
}

// Question is what is asked of the statistics on web use.
type Question struct {
	From, To   time.Time // first and last local day
	By         By
	Tenant     string // "": all
	Population string // "": all but guests
	Unit       string // "": all units together
	Category   string // "": all categories together
	Limit      uint64 // rows at most
}

// Validate tells all that is wrong with q at once.
func (q Question) Validate() error {
	var errs []error
	if !slices.Contains(Bys(), q.By) {
		errs = append(errs, fmt.Errorf("a report is by one of %v, not by %q", Bys(), q.By))
	}
	if q.From.IsZero() || q.To.IsZero() || q.To.Before(q.From) {
		errs = append(errs, errors.New("a report needs a first day and a last day that is not before it"))
	}
	if q.By == ByCountry && q.Category != "" {
		errs = append(errs, errors.New("countries are not counted by category: leave the category out"))
	}
	if q.Limit == 0 {
		errs = append(errs, errors.New("the number of rows must be more than 0"))
	}
	return errors.Join(errs...)
}

// Row is one row of a report.
type Row struct {
	Keys        []string // as Question.By.Keys names them; an hour is RFC 3339 in UTC, a day is 2006-01-02
	Requests    uint64
	Blocked     uint64
	BytesIn     uint64
	BytesOut    uint64
	People      uint64 // within one month exact; over several months that of the largest month, a lower bound
	ActiveSlots uint64
}

// Report answers q with the rows that at least cfg.MinimumPeople people contributed to.
func Report(ctx context.Context, db *clickhouse.DB, cfg Config, q Question) ([]Row, error) {
	if err := errors.Join(cfg.Validate(), q.Validate()); err != nil {
		return nil, err
	}
	text, err := schemas.Query("report/web_by_" + string(q.By))
	if err != nil {
		return nil, err
	}
	params := clickhouse.Params{
		"from": q.From.Format(time.DateOnly), "to": q.To.Format(time.DateOnly), "tenant": q.Tenant, "population": q.Population,
		"unit": q.Unit, "category": q.Category, "k": cfg.MinimumPeople, "limit": q.Limit,
	}
	var rows []Row
	err = db.Query(ctx, text, params, func(r clickhouse.Row) error {
		row := Row{Keys: make([]string, len(q.By.Keys()))}
		var at time.Time
		var dest []any
		switch q.By {
		case ByHour, ByDay:
			dest = append(dest, &at)
		default:
			for i := range row.Keys {
				dest = append(dest, &row.Keys[i])
			}
		}
		dest = append(dest, &row.Requests, &row.Blocked, &row.BytesIn, &row.BytesOut, &row.People, &row.ActiveSlots)
		if err := r.Scan(dest...); err != nil {
			return err
		}
		switch q.By {
		case ByHour:
			row.Keys[0] = at.UTC().Format(time.RFC3339)
		case ByDay:
			row.Keys[0] = at.Format(time.DateOnly)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("report web by %s: %w", strings.ToLower(string(q.By)), err)
	}
	return rows, nil
}
