package vault

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/seal"
)

func day(t testing.TB, text string) seal.Day {
	t.Helper()
	d, err := seal.ParseDay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func decided(days int) ClassRetention {
	return ClassRetention{Days: days, Decisions: []RetentionDecision{{"norrbo", "KS 2026/17", "2026-01-01"}, {"soderbo", "2026:4 § 9", "2026-01-01"}}}
}

func retention() Retention {
	return Retention{Web: decided(90), Mail: decided(60), Rejects: decided(30), Statistics: decided(400)}
}

func TestPlan(t *testing.T) {
	now := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	hold := Hold{ID: "h1", Case: "HR 1/26", scope: map[holdDay]int{{Web, day(t, "2026-08-24")}: 1}}
	ended := Hold{ID: "h2", Case: "HR 2/26", Released: now.Add(-time.Hour), scope: map[holdDay]int{{Web, day(t, "2026-08-24")}: 1}}
	for _, c := range []struct {
		table, day, hold string
		drop             bool
		reason           string
		holds            int
	}{
		{"web_capsules", "2026-08-24", "", true, "older than 90 days", 1},
		{"web_keys", "2026-08-24", "", true, "older than 90 days", 1},
		{"mail_keys", "2026-08-24", "", true, "older than 60 days", 0},
		{"web_capsules", "2026-08-25", "", false, "kept until 2026-11-23", 0},
		{"mail_capsules", "2026-09-23", "", true, "older than 60 days", 0},
		{"mail_capsules", "2026-09-24", "", false, "kept until 2026-11-23", 0},
		{"rejects", "2026-10-23", "", true, "older than 30 days", 0},
		{"rejects", "2026-10-24", "", false, "kept until 2026-11-23", 0},
		{"web_hourly", "2025-10-18", "", true, "older than 400 days", 0},
		{"mail_domains_daily", "2025-10-19", "", false, "kept until", 0},
		{"web_keys", "1970-01-02", "", true, "older than 90 days", 0},
		{"web_keys", "2026-11-23", "", false, "kept until 2027-02-21", 0},
		{"web_keys", "2026-11-24", "", false, "lies in the future", 0},
		{"held_capsules", "2020-01-01", "h1", false, "held for case HR 1/26", 0},
		{"held_keys", "2026-11-21", "h2", true, "the hold for case HR 2/26 ended on 2026-11-22", 0},
		{"held_keys", "2026-08-01", "h3", false, "retired or missing", 0},
	} {
		p := Partition{Table: c.table, Day: day(t, c.day), Hold: c.hold, Tenants: []string{"norrbo", "soderbo"}}
		actions, err := Plan([]Partition{p}, []Hold{hold, ended}, retention(), now)
		if err != nil {
			t.Fatalf("%s %s: %v", c.table, c.day, err)
		}
		a := actions[0]
		if a.Drop != c.drop || !strings.Contains(a.Reason, c.reason) || len(a.Holds) != c.holds {
			t.Errorf("%s %s: drop %v, %q, holds %v", c.table, c.day, a.Drop, a.Reason, a.Holds)
		}
		if a.Drop && a.Class != ClassHeld && len(a.Decisions) != 2 {
			t.Errorf("%s %s: decisions %v", c.table, c.day, a.Decisions)
		}
	}
}

func TestPlanRefusesWithoutADecision(t *testing.T) {
	now := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	due := Partition{Table: "web_keys", Day: day(t, "2026-08-01"), Tenants: []string{"norrbo", "vasterbo"}}
	for name, c := range map[string]struct {
		change func(*Retention)
		want   []string
	}{
		"none at all":       {func(r *Retention) { *r = DefaultRetention() }, []string{`"norrbo", web`, `"vasterbo", web`, "no retention decision"}},
		"none for a tenant": {func(*Retention) {}, []string{`"vasterbo", web`}},
		"not in force": {func(r *Retention) {
			r.Web.Decisions = []RetentionDecision{{"norrbo", "1", "2026-11-23"}, {"vasterbo", "2", "2026-11-22"}}
		}, []string{`"norrbo"`, "from 2026-11-23 only"}},
		"above the ceiling": {func(r *Retention) { r.Mail.Days = 91 }, []string{"mail.days: 91", "ceiling"}},
		"no days":           {func(r *Retention) { r.Web.Days = 0 }, []string{"web.days: 0"}},
	} {
		r := retention()
		c.change(&r)
		actions, err := Plan([]Partition{due}, nil, r, now)
		if err == nil || actions != nil {
			t.Fatalf("%s: it was planned", name)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
	if _, err := Plan([]Partition{{Table: "ledger", Day: 1}}, nil, retention(), now); err == nil {
		t.Error("a table that is none of ours was planned")
	}
	kept := Partition{Table: "web_keys", Day: day(t, "2026-11-21"), Tenants: []string{"vasterbo"}}
	if _, err := Plan([]Partition{kept}, nil, DefaultRetention(), now); err != nil {
		t.Errorf("what is not due needs no decision: %v", err)
	}
}

func TestRetentionNamesEveryFault(t *testing.T) {
	r := retention()
	r.Web.Days, r.Mail.Days, r.Rejects.Days, r.Statistics.Days = 0, 91, -1, 91
	r.Web.Decisions = []RetentionDecision{{"", "1", "2026-01-01"}, {"a", " 1", "2026-01-01"}, {"a", "1", "2026-02-30"}}
	err := r.Validate()
	for _, want := range []string{"web.days: 0", "mail.days: 91", "rejects.days: -1", "statistics.days: 91", "decisions[0].tenant", "decisions[1].number", "decisions[2].tenant", "decisions[2].from"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if err := DefaultRetention().Validate(); err != nil {
		t.Error(err)
	}
	r = DefaultRetention()
	r.Statistics.Days = 92
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// For any partitions, holds and time: each gets one action, keys before capsules, copies under a hold in force stay, and a day
// goes if and only if it is old enough.
func TestPlanHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 43))
	tables := allTables()
	for range 2000 {
		now := time.Unix(rng.Int64N(4e9)+1e9, 0)
		today := seal.DayOf(now)
		r := Retention{Web: decided(1 + rng.IntN(90)), Mail: decided(1 + rng.IntN(90)), Rejects: decided(1 + rng.IntN(90)), Statistics: decided([]int{0, 92, 1000}[rng.IntN(3)])}
		for _, c := range []*ClassRetention{&r.Web, &r.Mail, &r.Rejects, &r.Statistics} {
			for i := range c.Decisions {
				c.Decisions[i].From = "1990-01-01"
			}
		}
		holds := []Hold{{ID: "a"}, {ID: "b", Released: now}}
		for i := range holds {
			holds[i].scope = map[holdDay]int{{Web, today - seal.Day(rng.IntN(100))}: 1, {Mail, today - seal.Day(rng.IntN(100))}: 2}
		}
		var partitions []Partition
		for range rng.IntN(40) {
			p := Partition{Table: tables[rng.IntN(len(tables))], Day: today - seal.Day(rng.IntN(200)-5), Tenants: []string{"norrbo"}}
			if c, _ := classOf(p.Table); c == ClassHeld {
				p.Hold = []string{"a", "b", "c"}[rng.IntN(3)]
			}
			partitions = append(partitions, p)
		}
		actions, err := Plan(partitions, holds, r, now)
		if err != nil || len(actions) != len(partitions) {
			t.Fatal(len(actions), len(partitions), err)
		}
		capsules := map[string]bool{}
		for _, a := range actions {
			age, k := int(today-a.Day), r.Of(a.Class)
			want := a.Class != ClassHeld && k.Days > 0 && age >= k.Days || a.Class == ClassHeld && a.Hold == "b"
			if a.Drop != want {
				t.Fatalf("%s aged %d of %d days under hold %q: drop %v", a.Table, age, k.Days, a.Hold, a.Drop)
			}
			for _, id := range a.Holds {
				if id != "a" || !holds[0].Keeps(string(a.Class), a.Day) {
					t.Fatalf("%s %s is held by %q", a.Table, a.Day, id)
				}
			}
			if a.Drop && len(a.Holds) == 0 && holds[0].Keeps(string(a.Class), a.Day) {
				t.Fatal("a hold was overlooked")
			}
			group := string(a.Class) + a.Hold + a.Day.String()
			if strings.HasSuffix(a.Table, "_keys") && capsules[group] {
				t.Fatal("capsules go before their keys")
			}
			capsules[group] = capsules[group] || strings.HasSuffix(a.Table, "_capsules")
		}
	}
}

// Case 47: an event is kept or purged by the UTC day that it is stamped with.
func TestEventsDieByTheirUTCDay(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	for name, now := range map[string]time.Time{
		"noon":                      time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		"the first second of a day": time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		"the last second of a day":  time.Date(2026, 11, 22, 23, 59, 59, 0, time.UTC),
		"the repeated hour":         time.Date(2026, 10, 25, 2, 30, 0, 0, stockholm),
		"after the hour that isn't": time.Date(2026, 3, 29, 3, 0, 0, 0, stockholm),
		"local midnight":            time.Date(2026, 7, 1, 0, 0, 0, 0, stockholm),
		"90 days after a leap":      time.Date(2017, 4, 1, 0, 0, 0, 0, time.UTC), // 2016-12-31 had 23:59:60
	} {
		r := retention()
		r.Web.Decisions[0].From = "2010-01-01"
		if !planned(t, r, now.Add(-90*24*time.Hour-time.Second), now) {
			t.Errorf("%s: an event of 90 days and a second ago is kept", name)
		}
		// 89 days and 23 hours: purged only where the UTC day says so.
		event := now.Add(-89*24*time.Hour - 23*time.Hour)
		if want := seal.DayOf(now)-seal.DayOf(event) >= 90; planned(t, r, event, now) != want {
			t.Errorf("%s: an event of 89 days and 23 hours ago: %v", name, !want)
		}
		if planned(t, r, now.Add(-89*24*time.Hour), now) {
			t.Errorf("%s: an event of 89 days ago is purged", name)
		}
	}
}

func planned(t *testing.T, r Retention, event, now time.Time) bool {
	t.Helper()
	p := Partition{Table: "web_capsules", Day: seal.DayOf(event), Tenants: []string{"norrbo"}}
	actions, err := Plan([]Partition{p}, nil, r, now)
	if err != nil {
		t.Fatal(err)
	}
	return actions[0].Drop
}

func TestCheckClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		reading ClockReading
		ok      bool
	}{
		{"nothing known", ClockReading{Name: "the ledger"}, true},
		{"an hour ahead of a server", ClockReading{"the server", now.Add(-time.Hour), true}, true},
		{"more than an hour ahead of a server", ClockReading{"the server", now.Add(-time.Hour - time.Second), true}, false},
		{"an hour behind a server", ClockReading{"the server", now.Add(time.Hour), true}, true},
		{"more than an hour behind a server", ClockReading{"the server", now.Add(time.Hour + time.Second), true}, false},
		{"long after the last entry", ClockReading{"the record", now.AddDate(-1, 0, 0), false}, true},
		{"before the last entry", ClockReading{"the record", now.Add(61 * time.Minute), false}, false},
	} {
		if err := CheckClock(now, c.reading); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
