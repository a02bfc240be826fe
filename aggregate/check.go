package aggregate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

// A Finding is a place where the statistics, or the ledger of what was read, do not agree with themselves. It says by how much,
// and not how much there is: a report would hide that of few people.
type Finding struct {
	Day        string `json:"day,omitempty"` // local, 2006-01-02; empty: of the ledger
	Tenant     string `json:"tenant,omitempty"`
	Population string `json:"population,omitempty"`
	Where      string `json:"where"` // table and level; of the ledger the source partition
	What       string `json:"what"`
}

// A CheckReport is what [Check] found.
type CheckReport struct {
	Days     int       `json:"days"`           // days that were compared
	Busy     []string  `json:"busy,omitempty"` // days into which a batch was coming meanwhile: ask again
	Findings []Finding `json:"findings"`
}

// A checked is a day of a population.
type checked struct{ day, tenant, population string }

// A level is one of the ways in which a day of a population is told of, and what its cells add up to.
type level struct {
	name string // table and level
	sums []uint64
}

const (
	allWeb  = "web_hourly: all"
	allMail = "mail_hourly: all"
)

// webLevels each add up to what allWeb has.
func webLevels() []string {
	return []string{"web_hourly: categories", "web_hourly: units", "web_hourly: units and categories", "web_domains_daily: domains",
		"web_domains_daily: units and domains", "web_countries_daily: countries", "web_countries_daily: units and countries"}
}

// mailLevels are about the same messages as allMail: see check/mail_hourly.sql.
func mailLevels() []string {
	return []string{"mail_hourly: categories", "mail_hourly: directions", "mail_hourly: units", "mail_domains_daily: domains"}
}

// Check compares the levels of the statistics of the local days from..to with each other, and the whole ledger with itself. A day
// into which a batch comes meanwhile is not compared: half of a batch is no fault. The user of db must be granted the tables
// themselves, as the role purge is.
func Check(ctx context.Context, db *clickhouse.DB, from, to time.Time) (CheckReport, error) {
	report, err := check(ctx, db, clickhouse.Params{"from": from.Format(time.DateOnly), "to": to.Format(time.DateOnly)})
	if err != nil {
		return CheckReport{}, fmt.Errorf("check the statistics: %w", err)
	}
	return report, nil
}

func check(ctx context.Context, db *clickhouse.DB, days clickhouse.Params) (CheckReport, error) {
	before, err := blocksIn(ctx, db, days)
	if err != nil {
		return CheckReport{}, err
	}
	found := map[checked][]level{}
	for table, measures := range map[string]int{"web_hourly": 4, "web_domains_daily": 4, "web_countries_daily": 4, "mail_hourly": 2, "mail_domains_daily": 2} {
		if err := addLevels(ctx, db, days, table, measures, found); err != nil {
			return CheckReport{}, err
		}
	}
	after, err := blocksIn(ctx, db, days)
	if err != nil {
		return CheckReport{}, err
	}
	report := CheckReport{Findings: []Finding{}}
	for day, state := range after {
		if before[day] == state && !state.open {
			report.Days++
		} else {
			report.Busy = append(report.Busy, day)
		}
	}
	for day := range before {
		if _, still := after[day]; !still {
			report.Busy = append(report.Busy, day) // it was purged meanwhile
		}
	}
	slices.Sort(report.Busy)
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b checked) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.population, b.population))
	}) {
		if slices.Contains(report.Busy, key.day) {
			continue
		}
		if _, known := after[key.day]; !known {
			report.Findings = append(report.Findings, Finding{key.day, key.tenant, key.population, "all tables", "there are cells, and no watermark of a batch that brought them"})
		}
		report.Findings = append(report.Findings, disagreements(key, found[key])...)
	}
	ledger, err := checkLedger(ctx, db)
	report.Findings = append(report.Findings, ledger...)
	return report, err
}

// A dayState is what a day has of batches.
type dayState struct {
	open    bool // one is half in
	batches uint64
}

func blocksIn(ctx context.Context, db *clickhouse.DB, days clickhouse.Params) (map[string]dayState, error) {
	states := map[string]dayState{}
	return states, ask(ctx, db, "check/blocks", days, func(r clickhouse.Row) error {
		var day time.Time
		var open uint8
		var s dayState
		err := r.Scan(&day, &open, &s.batches)
		s.open = open != 0
		states[day.Format(time.DateOnly)] = s
		return err
	})
}

func addLevels(ctx context.Context, db *clickhouse.DB, days clickhouse.Params, table string, measures int, to map[checked][]level) error {
	return ask(ctx, db, "check/"+table, days, func(r clickhouse.Row) error {
		var day time.Time
		var key checked
		l := level{sums: make([]uint64, measures)}
		dest := []any{&day, &key.tenant, &key.population, &l.name}
		for i := range l.sums {
			dest = append(dest, &l.sums[i])
		}
		err := r.Scan(dest...)
		key.day, l.name = day.Format(time.DateOnly), table+": "+l.name
		to[key] = append(to[key], l)
		return err
	})
}

// disagreements are what is wrong with a day of a population.
func disagreements(key checked, levels []level) (list []Finding) {
	sums := map[string][]uint64{}
	web, mail := false, false
	for _, l := range levels {
		sums[l.name] = l.sums
		web, mail = web || strings.HasPrefix(l.name, "web"), mail || strings.HasPrefix(l.name, "mail")
	}
	add := func(where, what string) {
		list = append(list, Finding{key.day, key.tenant, key.population, where, what})
	}
	if web && key.population == Guest { // volume only
		for _, name := range webLevels() {
			if _, is := sums[name]; is {
				add(name, "guests are counted by more than their volume")
			}
		}
	} else if web {
		all := orZero(sums[allWeb], 4)
		for _, name := range webLevels() {
			for i, n := range orZero(sums[name], 4) {
				if n != all[i] {
					measure := [4]string{"requests", "blocked", "bytes_in", "bytes_out"}[i]
					add(name, fmt.Sprintf("%s differ by %s from those of all units and categories", measure, difference(n, all[i])))
				}
			}
		}
	}
	if mail {
		all := orZero(sums[allMail], 2)[0]
		for _, name := range mailLevels() {
			switch l := orZero(sums[name], 2); {
			case l[0] > all:
				add(name, fmt.Sprintf("a cell has messages that are not among all messages: %s", difference(l[0], all)))
			case l[1] < all:
				add(name, fmt.Sprintf("the cells lack messages: %s", difference(l[1], all)))
			}
		}
	}
	return list
}

func orZero(sums []uint64, n int) []uint64 {
	if sums == nil {
		return make([]uint64, n)
	}
	return sums
}

func difference(a, b uint64) string {
	if a > b {
		return fmt.Sprintf("%d too many", a-b)
	}
	return fmt.Sprintf("%d too few", b-a)
}

func checkLedger(ctx context.Context, db *clickhouse.DB) (list []Finding, err error) {
	err = ask(ctx, db, "check/ledger", nil, func(r clickhouse.Row) error {
		var cluster, topic, fault string
		var partition int32
		var first, next uint64
		if err := r.Scan(&cluster, &topic, &partition, &first, &next, &fault); err != nil {
			return err
		}
		list = append(list, Finding{Where: fmt.Sprintf("ledger: %s/%s/%d", cluster, topic, partition),
			What: fmt.Sprintf("batch %d to %d: %s", first, next, map[string]string{
				"hole": "the batch before ends earlier", "overlap": "the batch before ends later", "counts": "its counts do not add up",
			}[fault])})
		return nil
	})
	return list, err
}

func ask(ctx context.Context, db *clickhouse.DB, name string, params clickhouse.Params, row func(clickhouse.Row) error) error {
	text, err := schemas.Query(name)
	if err != nil {
		return err
	}
	return db.Query(ctx, text, params, row)
}
