package aggregate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// open answers a migrated database of its own.
func open(t testing.TB) *clickhouse.DB {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, nil))
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	user, password := e.Credentials(engine.Owner)
	cfg.Username, cfg.Password = user, clickhouse.Password(password)
	db, err := clickhouse.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(context.Background(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(t testing.TB, db *clickhouse.DB, blocks []Block) {
	t.Helper()
	for _, b := range blocks {
		q, err := schemas.Query("ingest/insert_" + b.Table)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Insert(context.Background(), clickhouse.Insert{Query: q, Columns: b.Columns}); err != nil {
			t.Fatal(err)
		}
	}
}

func stockholm(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// The story: twelve people of the school and three of the archive, over a midnight in Stockholm and the end of a month, in
// two batches that share people.
func TestRollupAndReport(t *testing.T) {
	db := open(t)
	zone := stockholm(t)
	key := seal.NewStatisticsKey(seal.MonthOf(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)))
	news := Site{Name: "news.example", Domain: "news.example", Category: "news"}
	clinic := Site{Name: "clinic.example", Domain: ProtectedDomain, Category: "health"}
	hospital := Site{Name: "hospital.example", Domain: ProtectedDomain, Category: "health"}
	ads := Site{Name: "ads.example", Domain: "ads.example", Category: "ads", Background: true}
	// 31 October 23:58 in Stockholm is 22:58 UTC; the next window begins the new day and month.
	late := time.Date(2026, 10, 31, 22, 58, 0, 0, time.UTC).UnixMilli()
	for batch := range 2 {
		r := NewRollup(key)
		add := func(unit, who string, s Site, at int64, n uint64) {
			g := Group{Tenant: "norrbo", Population: "staff", Unit: unit, Zone: zone}
			r.Add(r.Subject(g, []byte(who)), r.Site(s), r.Country("SE"), Request{Time: at, Requests: n, BytesIn: 100 * n, BytesOut: 10 * n, Blocked: n / 2})
		}
		for i := range 12 {
			who := fmt.Sprintf("school%d", i)
			add("school", who, news, late, 2)
			add("school", who, news, late+60_000, 2) // the same slot
			add("school", who, ads, late, 5)
			add("school", who, clinic, late, 1)
			add("school", who, hospital, late, 1)
			add("school", who, news, late+5*60_000, 1) // the next day, the next month
		}
		for i := range 3 {
			add("archive", fmt.Sprintf("archive%d", i), news, late, 1)
		}
		g := Group{Tenant: "norrbo", Population: Guest, Unit: "open", Zone: zone}
		r.Add(r.Subject(g, []byte("192.0.2.7")), r.Site(news), r.Country("SE"), Request{Time: late, Requests: 7, BytesIn: 70})
		blocks, err := r.Blocks(Watermark{Mark: 9, Next: uint64(batch+1) * 100, BegunAt: time.Unix(late/1000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if len(blocks) != 6 {
			t.Fatalf("%d blocks for two days and three tables", len(blocks))
		}
		insert(t, db, blocks)
	}
	oct, nov := time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ask := func(q Question) []WebRow {
		t.Helper()
		q.Limit = 100
		rows, err := Web(context.Background(), db, Config{MinimumPeople: 5}, q)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	check := func(name string, got []WebRow, want ...WebRow) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
	school := WebRow{Keys: []string{"norrbo", "school"}, Requests: 2 * 12 * 12, Blocked: 2 * 12 * 4, BytesIn: 2 * 12 * 1200, BytesOut: 2 * 12 * 120, People: 12, ActiveSlots: 12 * 4}
	check("by unit: the archive's three people are hidden", ask(Question{From: oct, To: nov, By: ByUnit}), school)
	check("by domain: protected destinations are one row, background is no visit", ask(Question{From: oct, To: oct, By: ByDomain, Unit: "school"}),
		WebRow{Keys: []string{"ads.example", "ads"}, Requests: 120, Blocked: 48, BytesIn: 12000, BytesOut: 1200, People: 12},
		WebRow{Keys: []string{"news.example", "news"}, Requests: 96, Blocked: 48, BytesIn: 9600, BytesOut: 960, People: 12, ActiveSlots: 12},
		WebRow{Keys: []string{ProtectedDomain, "health"}, Requests: 48, BytesIn: 4800, BytesOut: 480, People: 12, ActiveSlots: 24})
	check("by hour: all units, the hidden three are in the total", ask(Question{From: oct, To: oct, By: ByHour}),
		WebRow{Keys: []string{"2026-10-31T22:00:00Z"}, Requests: 2 * (12*11 + 3), Blocked: 2 * 12 * 4, BytesIn: 200 * (12*11 + 3), BytesOut: 20 * (12*11 + 3), People: 15, ActiveSlots: 12*3 + 3})
	check("by day: local days", ask(Question{From: oct, To: nov, By: ByDay, Unit: "school", Category: "news"}),
		WebRow{Keys: []string{"2026-10-31"}, Requests: 96, Blocked: 48, BytesIn: 9600, BytesOut: 960, People: 12, ActiveSlots: 12},
		WebRow{Keys: []string{"2026-11-01"}, Requests: 24, BytesIn: 2400, BytesOut: 240, People: 12, ActiveSlots: 12})
	check("by country", ask(Question{From: nov, To: nov, By: ByCountry, Tenant: "norrbo"}),
		WebRow{Keys: []string{"SE"}, Requests: 24, BytesIn: 2400, BytesOut: 240, People: 12, ActiveSlots: 12})
	check("another tenant", ask(Question{From: oct, To: nov, By: ByUnit, Tenant: "söderå"}))
	check("guests are not people", ask(Question{From: oct, To: nov, By: ByUnit, Population: Guest}))
}

// Seven of the school write to a newspaper, two rows and two servers tell of each message, and two batches of both.
func TestMailRollupAndReport(t *testing.T) {
	db := open(t)
	key := seal.NewStatisticsKey(seal.MonthOf(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)))
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).UnixMilli()
	g := Group{Tenant: "norrbo", Population: "staff", Unit: "school", Zone: stockholm(t)}
	for batch := range 2 {
		r := NewMailRollup(key)
		for i := range 7 {
			for row := range 2 {
				m := Message{Time: at + int64(row), ID: fmt.Appendf(nil, "m%d", i), Subject: fmt.Appendf(nil, "p%d@norrbo.example", i), Group: g,
					Direction: Outbound, Domain: "paper.example", Category: "press", Bytes: 1000, Forwarded: i == 0, IdentityNumber: i < 4, Sensitive: i < 5}
				if row == 1 {
					m.Bytes = 900 // before another server added its header
				}
				if err := r.Add(m); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := r.Add(Message{Time: at, ID: []byte("in"), Subject: []byte("p0@norrbo.example"), Group: g, Direction: Inbound, Domain: "shop.example", Category: "shopping", Bytes: 5}); err != nil {
			t.Fatal(err)
		}
		insert(t, db, r.Blocks(Watermark{Mark: 9, Next: uint64(batch+1) * 100, BegunAt: time.Unix(at/1000, 0)}))
	}
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	out := MailRow{People: 7, Messages: 7, Bytes: 7000, Sensitive: 5} // one was forwarded and four had an identity number: too few to be told
	all := MailRow{People: 7, Messages: 8, Bytes: 7005, Sensitive: 5}
	for _, c := range []struct {
		q    Question
		keys []string
		want MailRow
	}{
		{Question{By: ByUnit}, []string{"norrbo", "school"}, all},
		{Question{By: ByDirection}, []string{"outbound"}, out},
		{Question{By: ByCategory}, []string{"press"}, out},
		{Question{By: ByDomain, Unit: "school", Direction: Outbound}, []string{"paper.example", "press"}, out},
		{Question{By: ByHour, Direction: Outbound}, []string{"2026-11-02T09:00:00Z"}, out},
		{Question{By: ByDay}, []string{"2026-11-02"}, all},
	} {
		c.q.From, c.q.To, c.q.Limit, c.want.Keys = day, day, 10, c.keys
		rows, err := Mail(context.Background(), db, Config{MinimumPeople: 5}, c.q)
		if err != nil || len(rows) != 1 || fmt.Sprint(rows[0]) != fmt.Sprint(c.want) {
			t.Errorf("by %s: %v %v, want %v", c.q.By, rows, err, c.want)
		}
	}
}

// The difference of two periods must not be a month of few people: such a month adds nothing, of no figure.
func TestMonthsBelowTheFloorAddNothing(t *testing.T) {
	db := open(t)
	cfg := Config{MinimumPeople: 6}
	first, last := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	g := Group{Tenant: "norrbo", Population: "staff", Unit: "school", Zone: stockholm(t)}
	// October has eight people, November five, December seven.
	for month, people := range []int{8, 5, 7} {
		at := first.AddDate(0, month, 9).Add(9 * time.Hour)
		key := seal.NewStatisticsKey(seal.MonthOf(at.AddDate(0, -1, 0)))
		web, mail := NewRollup(key), NewMailRollup(key)
		for i := range people {
			who := fmt.Appendf(nil, "p%d@norrbo.example", i)
			web.Add(web.Subject(g, who), web.Site(Site{Name: "news.example", Domain: "news.example", Category: "news"}), web.Country("SE"),
				Request{Time: at.UnixMilli(), Requests: 1, BytesIn: 100, BytesOut: 10, Blocked: 1})
			// Forwarded: 6 and 5 and 5 of a month; identity numbers: 6 in October, 6 in December; sensitive: one more each.
			if err := mail.Add(Message{Time: at.UnixMilli(), ID: fmt.Appendf(nil, "m%d", i), Subject: who, Group: g, Direction: Outbound, Domain: "paper.example", Category: "press",
				Bytes: 1000, Forwarded: i < 6-min(month, 1), IdentityNumber: i < 6, Sensitive: i < 7}); err != nil {
				t.Fatal(err)
			}
		}
		w := Watermark{Mark: 9, Next: uint64(month+1) * 100, BegunAt: at}
		blocks, err := web.Blocks(w)
		if err != nil {
			t.Fatal(err)
		}
		insert(t, db, append(blocks, mail.Blocks(w)...))
	}
	for _, c := range []struct {
		months int // from October
		web    WebRow
		mail   MailRow
	}{
		{1, WebRow{Requests: 8, Blocked: 8, BytesIn: 800, BytesOut: 80, People: 8, ActiveSlots: 8}, MailRow{People: 8, Messages: 8, Bytes: 8000, Forwarded: 6, IdentityNumbers: 6, Sensitive: 7}},
		{2, WebRow{Requests: 8, Blocked: 8, BytesIn: 800, BytesOut: 80, People: 8, ActiveSlots: 8}, MailRow{People: 8, Messages: 8, Bytes: 8000, Forwarded: 6, IdentityNumbers: 6, Sensitive: 7}},
		{3, WebRow{Requests: 15, Blocked: 15, BytesIn: 1500, BytesOut: 150, People: 8, ActiveSlots: 15}, MailRow{People: 8, Messages: 15, Bytes: 15000, Forwarded: 6, IdentityNumbers: 12, Sensitive: 14}},
	} {
		q := Question{From: first, To: first.AddDate(0, c.months, -1), Limit: 10}
		for by, keys := range map[By][]string{ByUnit: {"norrbo", "school"}, ByCategory: {"news"}, ByDomain: {"news.example", "news"}, ByCountry: {"SE"}} {
			q.By, c.web.Keys = by, keys
			if rows, err := Web(context.Background(), db, cfg, q); err != nil || len(rows) != 1 || fmt.Sprint(rows[0]) != fmt.Sprint(c.web) {
				t.Errorf("web by %s over %d months: %v %v, want %v", by, c.months, rows, err, c.web)
			}
		}
		for by, keys := range map[By][]string{ByUnit: {"norrbo", "school"}, ByCategory: {"press"}, ByDomain: {"paper.example", "press"}, ByDirection: {"outbound"}} {
			q.By, c.mail.Keys = by, keys
			if rows, err := Mail(context.Background(), db, cfg, q); err != nil || len(rows) != 1 || fmt.Sprint(rows[0]) != fmt.Sprint(c.mail) {
				t.Errorf("mail by %s over %d months: %v %v, want %v", by, c.months, rows, err, c.mail)
			}
		}
	}
	// Of days and hours, those of November are not there.
	q := Question{From: first, To: last, By: ByDay, Limit: 10}
	web, err := Web(context.Background(), db, cfg, q)
	mail, other := Mail(context.Background(), db, cfg, q)
	if err != nil || other != nil || len(web) != 2 || len(mail) != 2 || web[1].Keys[0] != "2026-12-10" || mail[1].Keys[0] != "2026-12-10" {
		t.Errorf("by day: %v %v %v %v", web, mail, err, other)
	}
}

func TestFloorCannotBeLowered(t *testing.T) {
	if (Config{MinimumPeople: 4}).Validate() == nil || (Config{}).Validate() == nil {
		t.Error("a minimum below the floor is accepted")
	}
}
