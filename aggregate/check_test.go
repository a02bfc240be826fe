package aggregate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/seal"
)

// Half of a batch is no fault; a batch that is in agrees with itself, and what is spoiled behind its back is found.
func TestCheckFindsWhatDisagrees(t *testing.T) {
	db := open(t)
	zone := stockholm(t)
	at := time.Date(2026, 10, 20, 9, 0, 0, 0, time.UTC)
	key := seal.NewStatisticsKey(seal.MonthOf(at))
	web, mail := NewRollup(key), NewMailRollup(key)
	g := Group{Tenant: "norrbo", Population: "staff", Unit: "school", Zone: zone}
	for i, s := range []Site{{Name: "news.example", Domain: "news.example", Category: "news"}, {Name: "ads.example", Domain: "ads.example", Category: "ads", Background: true}} {
		for j := range 3 {
			g.Unit = []string{"school", "archive", "unknown"}[j]
			web.Add(web.Subject(g, []byte{byte(j)}), web.Site(s), web.Country([]string{"SE", "DE"}[i]),
				Request{Time: at.Add(time.Duration(i+j) * time.Hour).UnixMilli(), Requests: uint64(1 + i + j), Blocked: uint64(j), BytesIn: 100, BytesOut: 10})
			for _, d := range []string{Inbound, Outbound} {
				if err := mail.Add(Message{Time: at.UnixMilli(), ID: []byte{byte(i)}, Subject: []byte{byte(j)}, Group: g, Direction: d, Domain: s.Domain, Category: s.Category, Bytes: 5}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	guest := Group{Tenant: "norrbo", Population: Guest, Unit: "open", Zone: zone}
	web.Add(web.Subject(guest, []byte("192.0.2.7")), web.Site(Site{Name: "news.example", Domain: "news.example", Category: "news"}), web.Country("SE"), Request{Time: at.UnixMilli(), Requests: 7})
	w := Watermark{Mark: 9, Next: 100, BegunAt: at}
	blocks, err := web.Blocks(w)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() CheckReport {
		t.Helper()
		r, err := Check(t.Context(), db, at.AddDate(0, 0, -1), at)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask(); r.Days != 0 || len(r.Findings)+len(r.Busy) != 0 {
		t.Errorf("of nothing: %+v", r)
	}
	insert(t, db, blocks[:2])
	if r := ask(); r.Days != 0 || len(r.Findings) != 0 || !slices.Equal(r.Busy, []string{"2026-10-20"}) {
		t.Errorf("half of a batch: %+v", r)
	}
	insert(t, db, append(blocks[2:], mail.Blocks(w)...))
	exec := func(sql string) {
		t.Helper()
		if err := db.Exec(t.Context(), sql, nil); err != nil {
			t.Fatal(sql, err)
		}
	}
	exec("INSERT INTO sources (mark, cluster, topic, partition) VALUES (9, 'main', 'proxy', 3)")
	exec("INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (9, 0, 100, 90, 10, 80, 5, 5)")
	if r := ask(); r.Days != 1 || len(r.Findings)+len(r.Busy) != 0 {
		t.Fatalf("a whole batch: %+v", r)
	}
	for _, c := range []struct {
		name, sql string
		want      []string // where, and a word of what
	}{
		{"a cell of one level lost", "ALTER TABLE web_domains_daily DELETE WHERE mark = 0 AND unit = '' AND domain = 'news.example' SETTINGS mutations_sync = 2",
			[]string{"web_domains_daily: domains: requests differ by 6 too few", "web_domains_daily: domains: blocked differ by 3 too few", "web_domains_daily: domains: bytes_in differ by 300 too few", "web_domains_daily: domains: bytes_out differ by 30 too few"}},
		{"a cell counted twice", "INSERT INTO web_countries_daily (day, mark, tenant, population, unit, country, requests) VALUES ('2026-10-20', 0, 'norrbo', 'staff', 'school', 'SE', 4)",
			[]string{"web_countries_daily: units and countries: requests differ by 4 too many"}},
		{"guests by unit", "INSERT INTO web_hourly (day, mark, tenant, population, unit, category, requests) VALUES ('2026-10-20', 0, 'norrbo', 'guest', 'open', '', 1)",
			[]string{"web_hourly: units: guests are counted by more"}},
		{"mail of nobody", "ALTER TABLE mail_hourly DELETE WHERE mark = 0 AND unit = '' AND direction = '' AND category = '' SETTINGS mutations_sync = 2",
			[]string{"mail_hourly: categories: a cell has messages", "mail_hourly: directions: a cell has messages", "mail_hourly: units: a cell has messages", "mail_domains_daily: domains: a cell has messages"}},
		{"a population without a total", "INSERT INTO web_domains_daily (day, mark, tenant, population, unit, domain, category, requests) VALUES ('2026-10-20', 0, 'norrbo', 'pupil', '', 'x.example', 'x', 2)",
			[]string{"web_domains_daily: domains: requests differ by 2 too many"}},
		{"a hole in the ledger", "INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (9, 110, 120, 10, 0, 10, 0, 0)",
			[]string{"ledger: main/proxy/3: batch 110 to 120: the batch before ends earlier"}},
		{"an overlap", "INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (9, 115, 130, 15, 0, 15, 0, 0)",
			[]string{"ledger: main/proxy/3: batch 115 to 130: the batch before ends later"}},
		{"records that are nowhere", "INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (9, 130, 140, 10, 0, 8, 1, 0)",
			[]string{"ledger: main/proxy/3: batch 130 to 140: its counts do not add up"}},
		{"offsets that are nowhere", "INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (9, 140, 150, 9, 0, 9, 0, 0)",
			[]string{"ledger: main/proxy/3: batch 140 to 150: its counts do not add up"}},
	} {
		before := ask().Findings
		exec(c.sql)
		var fresh []string
		for _, f := range ask().Findings {
			if !slices.Contains(before, f) {
				fresh = append(fresh, f.Where+": "+f.What)
			}
		}
		if !slices.EqualFunc(fresh, c.want, strings.HasPrefix) {
			t.Errorf("%s: found %q", c.name, fresh)
		}
	}
	// A file is read by bytes, which are not records.
	exec("INSERT INTO sources (mark, cluster, topic, partition) VALUES (10, 'file', 'abc', 0)")
	before := len(ask().Findings)
	exec("INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped) VALUES (10, 0, 5000, 10, 0, 10, 0, 0)")
	if n := len(ask().Findings); n != before {
		t.Errorf("a file: %d findings more", n-before)
	}
}
