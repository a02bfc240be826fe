package ingesttest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/synthetic"
)

// A Figure is what a cell of statistics says.
type Figure struct {
	Requests, Blocked, BytesIn, BytesOut uint64
	People, ActiveSlots                  uint64
}

// TruthFigures are the cells that must be in the tables, by a name that holds all keys. What the generator tells apart
// and the tables do not (addresses as domains are truncated, bare names and names that somebody gave away are not shown) is added up, and its name is in sums: people then can't be
// compared.
func TruthFigures(truth *synthetic.Truth) (cells map[string]Figure, sums map[string]bool) {
	cells, sums = map[string]Figure{}, map[string]bool{}
	for c := range truth.Cells() {
		if c.Population == synthetic.PopulationGuest && (c.Unit != "" || c.Category+c.Domain+c.Country != "") {
			continue // volume only
		}
		name := fmt.Sprint([]string{c.Level, c.Period, c.Tenant, c.Population, c.Unit, c.Category, shown(c.Domain), c.Country})
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

// shown is what the tables say for a domain of the truth. The suffixes are those that the invented sites stand under.
func shown(domain string) string {
	if ip, err := netip.ParseAddr(domain); err == nil {
		bits := 48
		if ip = ip.Unmap(); ip.Is4() {
			bits = 16
		}
		return netip.PrefixFrom(ip, bits).Masked().String()
	}
	if domain == "" || domain[0] == '(' {
		return domain
	}
	if !strings.Contains(domain, ".") {
		return "(other)"
	}
	for _, s := range []string{"akamaihd.net", "akamaized.net", "azureedge.net", "blogspot.com", "cloudfront.net", "fastly.net", "github.io", "googleapis.com"} {
		if strings.HasSuffix(domain, "."+s) {
			return s
		}
	}
	return domain
}

// TableFigures are the cells that are in the tables, named as TruthFigures names them.
func TableFigures(t testing.TB, db *clickhouse.DB) map[string]Figure {
	t.Helper()
	cells := map[string]Figure{}
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
			var f Figure
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

// CompareTruth ends the test unless every cell is exactly as the truth says, and there is no other.
func CompareTruth(t testing.TB, db *clickhouse.DB, truth *synthetic.Truth) {
	t.Helper()
	want, sums := TruthFigures(truth)
	got := TableFigures(t, db)
	wrong := 0
	complain := func(format string, args ...any) {
		t.Helper()
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

// LinesIn are what the ledger (events, rejects) and the table of rejects (kept) say is in.
func LinesIn(t testing.TB, db *clickhouse.DB) (events, rejects, kept uint64) {
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

// CompareLedger fails the test unless, for every partition of a topic, the closed batches cover the offsets from 0 to its
// entry in ends, each once, and every record of one line is an event, a reject or skipped. It answers how many batches
// there are, and the sum of them.
func CompareLedger(t testing.TB, db *clickhouse.DB, topic string, ends []int64) (batches int, sum LedgerSum) {
	t.Helper()
	const sql = `SELECT s.partition, l.first, l.next, l.records, l.gaps, l.events, l.rejects, l.skipped
		FROM ledger AS l FINAL JOIN (SELECT mark, any(topic) AS topic, any(partition) AS partition FROM sources GROUP BY mark) AS s ON s.mark = l.mark
		WHERE s.topic = {topic:String} ORDER BY s.partition, l.mark, l.first`
	at := make([]uint64, len(ends))
	err := db.Query(context.Background(), sql, clickhouse.Params{"topic": topic}, func(r clickhouse.Row) error {
		var partition int32
		var first, next, records, gaps, events, rejects, skipped uint64
		if err := r.Scan(&partition, &first, &next, &records, &gaps, &events, &rejects, &skipped); err != nil {
			return err
		}
		if int(partition) >= len(ends) {
			return fmt.Errorf("partition %d of %s is in the ledger, which has %d", partition, topic, len(ends))
		}
		if first != at[partition] {
			t.Errorf("%s[%d]: a batch begins at %d, the one before it ends at %d", topic, partition, first, at[partition])
		}
		if next < first || next-first != records+gaps || records != events+rejects+skipped {
			t.Errorf("%s[%d]: batch %d to %d: %d records, %d gaps, %d events, %d rejects, %d skipped", topic, partition, first, next, records, gaps,
				events, rejects, skipped)
		}
		at[partition] = next
		batches++
		sum.Records += records
		sum.Gaps += gaps
		sum.Events += events
		sum.Rejects += rejects
		sum.Skipped += skipped
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for partition, end := range ends {
		if at[partition] != uint64(end) {
			t.Errorf("%s[%d]: the ledger ends at %d, the log at %d", topic, partition, at[partition], end)
		}
	}
	return batches, sum
}

// A LedgerSum is what the closed batches of a topic hold.
type LedgerSum struct {
	Records, Gaps, Events, Rejects, Skipped uint64
}
