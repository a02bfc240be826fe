package ingest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/synthetic"
)

// A mailFigure is what a cell of the statistics of mail says.
type mailFigure struct {
	Messages, Bytes, People, Forwarded, IdentityNumbers, Sensitive uint64
}

func mailTruthFigures(truth *synthetic.MailTruth) map[string]mailFigure {
	cells := map[string]mailFigure{}
	for c := range truth.Cells() {
		cells[fmt.Sprint([]string{c.Level, c.Period, c.Tenant, c.Population, c.Unit, c.Direction, c.Category, c.Domain})] = mailFigure{
			uint64(c.Messages), uint64(c.Bytes), uint64(c.People), uint64(c.Forwarded), uint64(c.IdentityNumbers), uint64(c.Sensitive)}
	}
	return cells
}

func mailTableFigures(t testing.TB, db *clickhouse.DB) map[string]mailFigure {
	t.Helper()
	cells := map[string]mailFigure{}
	for _, q := range []struct{ level, period, table, domain string }{
		{synthetic.LevelMailHour, "formatDateTime(hour, '%Y-%m-%dT%H:%i:%SZ', 'UTC')", "mail_hourly", "''"},
		{synthetic.LevelMailDay, "toString(day)", "mail_hourly", "''"},
		{synthetic.LevelMailMonth, "formatDateTime(day, '%Y-%m')", "mail_hourly", "''"},
		{synthetic.LevelMailDomainDay, "toString(day)", "mail_domains_daily", "domain"},
		{synthetic.LevelMailDomainMonth, "formatDateTime(day, '%Y-%m')", "mail_domains_daily", "domain"},
	} {
		sql := `SELECT ` + q.period + ` AS period, tenant, population, unit, direction, category, ` + q.domain + `, uniqExactMerge(people),
			length(tupleElement(maxMap(messages) AS m, 1)), arraySum(tupleElement(m, 2)), uniqExactMerge(forwarded),
			uniqExactMerge(identity_numbers), uniqExactMerge(sensitive) FROM ` + q.table + ` WHERE mark = 0 GROUP BY ALL`
		err := db.Query(context.Background(), sql, nil, func(r clickhouse.Row) error {
			var k [7]string
			var f mailFigure
			if err := r.Scan(&k[0], &k[1], &k[2], &k[3], &k[4], &k[5], &k[6], &f.People, &f.Messages, &f.Bytes, &f.Forwarded,
				&f.IdentityNumbers, &f.Sensitive); err != nil {
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

// Every cell of mail equals the truth, in every format, in small batches: messages that several rows, batches and servers tell
// of count once.
func TestMailStatisticsEqualTheTruth(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	formats := 0
	for _, f := range synthetic.Formats() {
		if !f.Mail {
			continue
		}
		formats++
		t.Run(f.Name, func(t *testing.T) {
			w := newTown(t, synthetic.Config{Seed: 5, People: 700, From: "2026-10-24", Days: 3, Format: "squid_native", Shards: 1})
			w.source.Format, w.source.Layout, w.source.InternalDomains = f.Reader, f.Layout, nil
			for _, tenant := range synthetic.Tenants() {
				w.source.InternalDomains = append(w.source.InternalDomains, tenant.Mail)
			}
			zone, err := time.LoadLocation(synthetic.TimeZone)
			if err != nil {
				t.Fatal(err)
			}
			if f.UTC {
				w.source.TimeZone = "UTC"
			}
			log := f.NewMailLog(zone)
			p := &inMemory{}
			read := func(_ int, line []byte) error {
				p.lines = append(p.lines, append([]byte(nil), line...))
				return nil
			}
			for _, line := range log.Header() {
				read(0, line)
			}
			for {
				m, ok := w.NextMessage()
				if !ok {
					break
				}
				if err := log.Add(m, read); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(read); err != nil {
				t.Fatal(err)
			}

			db := openNamed(t, e, "mail_"+f.Name)
			in := w.ingester(t, store(t, db, func() time.Time { return w.now }), Limits{Events: 3000, Grains: 50_000, Rejects: 100, MaxAge: time.Hour, Sealed: 64 << 20})
			total, err := in.Once(t.Context(), p, w.source, nil)
			if err != nil {
				t.Fatal(err)
			}
			if total.Rejects > 0 {
				t.Errorf("rejects: %v", total.Reasons)
			}
			want, got := mailTruthFigures(w.MailTruthFor(f)), mailTableFigures(t, db)
			wrong := 0
			for name, x := range want {
				if got[name] != x {
					if wrong++; wrong <= 6 {
						t.Errorf("%s:\n got %+v\nwant %+v", name, got[name], x)
					}
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok {
					if wrong++; wrong <= 12 {
						t.Errorf("%s is there and should not be: %+v", name, got[name])
					}
				}
			}
			t.Logf("%d rows, %d cells, %d wrong", len(p.lines), len(want), wrong)
		})
	}
	if formats < 6 {
		t.Errorf("only %d formats of mail", formats)
	}
}
