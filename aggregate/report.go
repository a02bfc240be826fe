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

// What a report can be broken down by.
const (
	ByHour      By = "hour"
	ByDay       By = "day"
	ByUnit      By = "unit"
	ByCategory  By = "category"
	ByDomain    By = "domain"
	ByCountry   By = "country"   // of web use only
	ByDirection By = "direction" // of mail only
)

// WebBys are what a report on web use can be broken down by.
func WebBys() []By { return []By{ByHour, ByDay, ByUnit, ByCategory, ByDomain, ByCountry} }

// MailBys are what a report on mail can be broken down by.
func MailBys() []By { return []By{ByHour, ByDay, ByUnit, ByDirection, ByCategory, ByDomain} }

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

// Question is what is asked of the statistics.
type Question struct {
	From, To   time.Time // first and last local day
	By         By
	Tenant     string // "": all
	Population string // "": all but guests
	Unit       string // "": all units together
	Direction  string // of mail; "": all directions together
	Category   string // "": all categories together
	Limit      uint64 // rows at most
}

// ValidateWeb tells all that is wrong with q as a question on web use at once.
func (q Question) ValidateWeb() error {
	err := q.validate(WebBys())
	if q.By == ByCountry && q.Category != "" {
		err = errors.Join(err, errors.New("countries are not counted by category: leave the category out"))
	}
	if q.Direction != "" {
		err = errors.Join(err, errors.New("web use has no direction"))
	}
	return err
}

// ValidateMail tells all that is wrong with q as a question on mail at once.
func (q Question) ValidateMail() error {
	err := q.validate(MailBys())
	if !slices.Contains([]string{"", Inbound, Outbound, Internal}, q.Direction) {
		err = errors.Join(err, fmt.Errorf("a direction is %s, %s or %s, not %q", Inbound, Outbound, Internal, q.Direction))
	}
	return err
}

func (q Question) validate(bys []By) error {
	var errs []error
	if !slices.Contains(bys, q.By) {
		var names []string
		for _, by := range bys {
			names = append(names, string(by))
		}
		errs = append(errs, fmt.Errorf("such a report is by one of %s, not by %q", strings.Join(names, ", "), q.By))
	}
	if q.From.IsZero() || q.To.IsZero() || q.To.Before(q.From) {
		errs = append(errs, errors.New("a report needs a first day and a last day that is not before it"))
	}
	if q.Limit == 0 {
		errs = append(errs, errors.New("the number of rows must be more than 0"))
	}
	return errors.Join(errs...)
}

// WebRow is one row of a report on web use.
type WebRow struct {
	Keys        []string // as Question.By.Keys names them; an hour is RFC 3339 in UTC, a day is 2006-01-02
	Requests    uint64
	Blocked     uint64
	BytesIn     uint64
	BytesOut    uint64
	People      uint64 // within one month exact; over several months that of the largest month, a lower bound
	ActiveSlots uint64
}

// MailRow is one row of a report on mail.
type MailRow struct {
	Keys            []string // as in WebRow
	People          uint64   // as in WebRow
	Messages        uint64   // within one month distinct
	Bytes           uint64   // of those messages
	Forwarded       uint64   // messages that a rule passed on to the outside
	IdentityNumbers uint64   // messages with a personal identity number in the subject line
	Sensitive       uint64   // messages with anything sensitive in the subject line
}

// Web answers q with the rows that at least cfg.MinimumPeople people contributed to.
func Web(ctx context.Context, db *clickhouse.DB, cfg Config, q Question) (rows []WebRow, err error) {
	if err := errors.Join(cfg.Validate(), q.ValidateWeb()); err != nil {
		return nil, err
	}
	err = report(ctx, db, cfg, "web", q, func(keys []string, scan func(...any) error) error {
		r := WebRow{Keys: keys}
		if err := scan(&r.Requests, &r.Blocked, &r.BytesIn, &r.BytesOut, &r.People, &r.ActiveSlots); err != nil {
			return err
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// Mail answers q with the rows that at least cfg.MinimumPeople people contributed to.
func Mail(ctx context.Context, db *clickhouse.DB, cfg Config, q Question) (rows []MailRow, err error) {
	if err := errors.Join(cfg.Validate(), q.ValidateMail()); err != nil {
		return nil, err
	}
	err = report(ctx, db, cfg, "mail", q, func(keys []string, scan func(...any) error) error {
		r := MailRow{Keys: keys}
		if err := scan(&r.People, &r.Messages, &r.Bytes, &r.Forwarded, &r.IdentityNumbers, &r.Sensitive); err != nil {
			return err
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// report runs the query of one log and breakdown. row is called for each row of the answer; scan reads what follows the
// keys, which are set when it returns.
func report(ctx context.Context, db *clickhouse.DB, cfg Config, log string, q Question, row func(keys []string, scan func(...any) error) error) error {
	text, err := schemas.Query("report/" + log + "_by_" + string(q.By))
	if err != nil {
		return err
	}
	params := clickhouse.Params{
		"from": q.From.Format(time.DateOnly), "to": q.To.Format(time.DateOnly), "tenant": q.Tenant, "population": q.Population,
		"unit": q.Unit, "category": q.Category, "k": cfg.MinimumPeople, "limit": q.Limit,
	}
	if log == "mail" {
		params["direction"] = q.Direction
	}
	err = db.Query(ctx, text, params, func(r clickhouse.Row) error {
		keys := make([]string, len(q.By.Keys()))
		return row(keys, func(measures ...any) error {
			var at time.Time
			var dest []any
			for i := range keys {
				dest = append(dest, &keys[i])
			}
			if q.By == ByHour || q.By == ByDay {
				dest[0] = &at
			}
			if err := r.Scan(append(dest, measures...)...); err != nil {
				return err
			}
			switch q.By {
			case ByHour:
				keys[0] = at.UTC().Format(time.RFC3339)
			case ByDay:
				keys[0] = at.Format(time.DateOnly)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("report %s by %s: %w", log, q.By, err)
	}
	return nil
}
