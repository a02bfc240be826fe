package ingest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/synthetic"
)

// A figure is what a cell of statistics says.
type figure struct {
	Requests, Blocked, BytesIn, BytesOut uint64
	People, ActiveSlots                  uint64
}

// truthFigures are the cells that must be in the tables, by a name that holds all keys. What the generator tells apart
// and the tables do not (addresses as domains are truncated) is added up; people then can't be compared.
func truthFigures(truth *synthetic.Truth) (cells map[string]figure, sums map[string]bool) {
	cells, sums = map[string]figure{}, map[string]bool{}
	for c := range truth.Cells() {
		domain := c.Domain
		if ip, err := netip.ParseAddr(domain); err == nil {
			domain = truncated(ip)
		}
		if c.Population == synthetic.PopulationGuest && (c.Unit != "" || c.Category+c.Domain+c.Country != "") {
			continue // volume only
		}
		name := fmt.Sprint([]string{c.Level, c.Period, c.Tenant, c.Population, c.Unit, c.Category, domain, c.Country})
		f, ok := cells[name]
		sums[name] = sums[name] || ok
		f.Requests += uint64(c.Requests)
		f.Blocked += uint64(c.Blocked)
		f.BytesIn += uint64(c.BytesIn)
		f.BytesOut += uint64(c.BytesOut)
		f.People += uint64(c.People)
		f.ActiveSlots += uint64(c.ActiveSlots)
		cells[name] = f
	}
	return cells, sums
}

// tableFigures are the cells that are in the tables, past every view.
func tableFigures(t testing.TB, db *clickhouse.DB) map[string]figure {
	t.Helper()
	cells := map[string]figure{}
	for _, q := range []struct{ level, period, table, keys string }{
		{synthetic.LevelCategoryHour, "formatDateTime(hour, '%Y-%m-%dT%H:%i:%SZ', 'UTC')", "web_hourly", "category, '', ''"},
		{synthetic.LevelCategoryDay, "toString(day)", "web_hourly", "category, '', ''"},
		{synthetic.LevelCategoryMonth, "formatDateTime(day, '%Y-%m')", "web_hourly", "category, '', ''"},
		{synthetic.LevelDomainDay, "toString(day)", "web_domains_daily", "category, domain, ''"},
		{synthetic.LevelDomainMonth, "formatDateTime(day, '%Y-%m')", "web_domains_daily", "category, domain, ''"},
		{synthetic.LevelCountryDay, "toString(day)", "web_countries_daily", "'', '', toString(country)"},
		{synthetic.LevelCountryMonth, "formatDateTime(day, '%Y-%m')", "web_countries_daily", "'', '', toString(country)"},
	} {
		sql := `SELECT ` + q.period + ` AS period, tenant, population, unit, ` + q.keys + `, sum(requests), sum(blocked), sum(bytes_in),
			sum(bytes_out), uniqExactMerge(people), uniqExactMerge(active_slots) FROM ` + q.table + ` WHERE mark = 0 GROUP BY ALL`
		err := db.Query(context.Background(), sql, nil, func(r clickhouse.Row) error {
			var k [7]string
			var f figure
			if err := r.Scan(&k[0], &k[1], &k[2], &k[3], &k[4], &k[5], &k[6], &f.Requests, &f.Blocked, &f.BytesIn, &f.BytesOut,
				&f.People, &f.ActiveSlots); err != nil {
				return err
			}
			cells[fmt.Sprint([]string{q.level, k[0], k[1], k[2], k[3], k[4], k[5], k[6]})] = f
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return cells
}

// compareTruth fails the test unless every cell is exactly as the truth says, and there is no other.
func compareTruth(t testing.TB, db *clickhouse.DB, truth *synthetic.Truth) {
	t.Helper()
	want, sums := truthFigures(truth)
	got := tableFigures(t, db)
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 12 {
			t.Errorf(format, args...)
		}
	}
	people := 0
	for name, w := range want {
		g, ok := got[name]
		if sums[name] {
			w.People, w.ActiveSlots, g.People, g.ActiveSlots = 0, 0, 0, 0
		} else if w.People > 0 {
			people++
		}
		if !ok {
			complain("%s is missing: %+v", name, w)
		} else if g != w {
			complain("%s:\n got %+v\nwant %+v", name, g, w)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			complain("%s is there and should not be", name)
		}
	}
	if wrong > 0 {
		t.Fatalf("%d of %d cells are wrong", wrong, len(want))
	}
	t.Logf("%d cells equal the truth, %d of them with people", len(want), people)
}

// linesIn are what the ledger and the table of rejects say is in.
func linesIn(t testing.TB, db *clickhouse.DB) (events, rejects, kept uint64) {
	t.Helper()
	for sql, dest := range map[string][]any{
		"SELECT sum(events), sum(rejects) FROM ledger FINAL":     {&events, &rejects},
		"SELECT sum(lines) AS lines FROM rejects WHERE mark = 0": {&kept},
	} {
		if err := db.Query(context.Background(), sql, nil, func(r clickhouse.Row) error { return r.Scan(dest...) }); err != nil {
			t.Fatal(err)
		}
	}
	return events, rejects, kept
}
