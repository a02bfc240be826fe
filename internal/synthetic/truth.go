package synthetic

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"time"
)

// The levels of statistics that the truth has an answer for. Each is a period and what names its cells beside tenant,
// population and unit.
const (
	LevelCategoryHour  = "category_hour"
	LevelCategoryDay   = "category_day"
	LevelCategoryMonth = "category_month"
	LevelDomainDay     = "domain_day"
	LevelDomainMonth   = "domain_month"
	LevelCountryDay    = "country_day"
	LevelCountryMonth  = "country_month"
)

// A Cell is the exact answer for one group of people, one period and one category, domain or country. Unit "" is the whole
// population of the tenant; category "" at a category level is everything.
type Cell struct {
	Level       string `json:"level"`
	Period      string `json:"period"` // hour 2006-01-02T15:00:00Z (UTC), local day 2006-01-02 or local month 2006-01
	Tenant      string `json:"tenant"`
	Population  string `json:"population"`
	Unit        string `json:"unit"`
	Category    string `json:"category,omitempty"`
	Domain      string `json:"domain,omitempty"`  // domain levels
	Country     string `json:"country,omitempty"` // country levels
	Requests    int64  `json:"requests"`
	Blocked     int64  `json:"blocked"`
	BytesIn     int64  `json:"bytes_in"`
	BytesOut    int64  `json:"bytes_out"`
	People      int64  `json:"people"`
	ActiveSlots int64  `json:"active_slots"`
}

// Totals sums up a run.
type Totals struct {
	Lines    int64            `json:"lines"`  // written
	Events   int64            `json:"events"` // of these, good
	Bad      map[string]int64 `json:"bad"`    // malformed, by how
	Requests int64            `json:"requests"`
	Blocked  int64            `json:"blocked"`
	BytesIn  int64            `json:"bytes_in"`
	BytesOut int64            `json:"bytes_out"`
	First    time.Time        `json:"first"` // ends of the first and the last request
	Last     time.Time        `json:"last"`
	Shards   []ShardTotals    `json:"shards"`
}

// ShardTotals counts the lines of one shard.
type ShardTotals struct {
	Lines  int64 `json:"lines"`
	Events int64 `json:"events"`
	Bad    int64 `json:"bad"`
}

// A Truth is the exact answer to every question about a run, in the eyes of a reader of one format.
type Truth struct {
	Format  string            `json:"format"`
	Zone    string            `json:"time_zone"`
	Source  string            `json:"source_tenant"`
	Totals  Totals            `json:"totals"`
	Classes map[string]string `json:"classes"`
	Stories []Story           `json:"stories"`

	of     *truth
	format Format
}

// words is the size of a set of cells at the domain level, in 64 bits each.
const words = 16

// measures are the numbers of a cell: slots are those of visits, loose those with challenges (407) among them, as readers see
// them who don't see a status; loosePeople are the people whom these see.
type measures struct{ requests, blocked, in, out, people, slots, loose, loosePeople int64 }

// add adds what can be added over periods and units; people over periods cannot.
func (a *measures) add(b *measures) {
	a.requests += b.requests
	a.blocked += b.blocked
	a.in += b.in
	a.out += b.out
	a.slots += b.slots
	a.loose += b.loose
}

// A stored is a finished cell. A row below the number of units is that unit, one above it a pair of tenant and population.
type stored struct {
	level  uint8
	row    int32
	key    int32
	period int32
	measures
}

// A grid is the cells of one period that is not over: a row for each unit, a column for each key.
type grid struct {
	columns int
	cells   []measures
	touched []uint64 // columns of each row, as bits
	stride  int
}

func newGrid(rows, columns int) *grid {
	stride := (columns + 63) / 64
	return &grid{columns, make([]measures, rows*columns), make([]uint64, rows*stride), stride}
}

func (g *grid) cell(row, column int) *measures {
	g.touched[row*g.stride+column>>6] |= 1 << (column & 63)
	return &g.cells[row*g.columns+column]
}

// each calls f with every cell that was touched.
func (g *grid) each(f func(row, column int, c *measures)) {
	for i, w := range g.touched {
		for ; w != 0; w &= w - 1 {
			row, column := i/g.stride, i%g.stride<<6+bits.TrailingZeros64(w)
			f(row, column, &g.cells[row*g.columns+column])
		}
	}
}

// A witness is what the truth remembers of a subject: where it has been counted in the periods that are not over. Units
// are sums of their subjects, because a subject is of one unit.
type witness struct {
	hour, day, month int32   // those that the sets are about
	known            counted // as a person
	loose            counted // by readers who don't see a status; the same for a user
	window           int64
	seen             []slot // in this window
	last             slot
	unit             int32
	guest            bool
}

// counted is where a subject has been counted, as bits.
type counted struct {
	hourCategories              uint64
	dayCategories, dayCountries uint64
	monCategories, monCountries uint64
	dayDomains, monDomains      [words]uint64
}

// turn empties the sets of the hour that is over, and of the day and month if they are.
func (k *counted) turn(day, month bool) {
	k.hourCategories = 0
	if day {
		k.dayCategories, k.dayCountries = 0, 0
		clear(k.dayDomains[:])
	}
	if month {
		k.monCategories, k.monCountries = 0, 0
		clear(k.monDomains[:])
	}
}

// A slot is a site in a five-minute window; category and country are of the host and of its server.
type slot struct {
	site, category, country uint16
	visit                   bool // and not a challenge
}

// truth counts while the run goes on.
type truth struct {
	m         *Municipality
	witnesses []witness

	hour, day, month          int32 // hour: of the epoch, UTC; day and month: index into names
	hourEnd, dayEnd, monthEnd int64 // milliseconds
	days, months              []string

	byHour, byDay, byMonth *grid // of categories; the last column is all of them
	domainDay, domainMonth *grid
	countryDay, countryMon *grid
	all                    int

	cells  []stored
	totals Totals
	last   int64
	done   bool
}

func newTruth(m *Municipality) (*truth, error) {
	rows := len(m.units) + len(m.pairs)
	t := &truth{m: m, all: len(m.web.categories), hour: -1, day: -1, month: -1}
	t.byHour, t.byDay, t.byMonth = newGrid(rows, t.all+1), newGrid(rows, t.all+1), newGrid(rows, t.all+1)
	t.domainDay, t.domainMonth = newGrid(rows, len(m.web.domains)), newGrid(rows, len(m.web.domains))
	t.countryDay, t.countryMon = newGrid(rows, len(m.web.countries)), newGrid(rows, len(m.web.countries))
	if t.all > 64 || len(m.web.domains) > words*64 || len(m.web.countries) > 64 {
		return nil, fmt.Errorf("synthetic: %d categories, %d domains, %d countries: more than the truth's sets hold", t.all, len(m.web.domains), len(m.web.countries))
	}
	t.witnesses = make([]witness, len(m.subjects))
	for i, s := range m.subjects {
		u := m.units[s.unit]
		t.witnesses[i] = witness{hour: -1, day: -1, month: -1, window: -1, unit: s.unit, guest: u.guest}
	}
	t.totals.Bad = map[string]int64{}
	t.totals.Shards = make([]ShardTotals, m.config.Shards)
	return t, nil
}

func (t *truth) countBad(e *Event) {
	t.totals.Lines++
	t.totals.Bad[e.Bad]++
	t.totals.Shards[e.Shard].Lines++
	t.totals.Shards[e.Shard].Bad++
}

// count takes one request. They come in the order of time.
func (t *truth) count(p *pending, e *Event) {
	if p.end >= t.hourEnd {
		t.turn(p.end)
	}
	m := t.m
	host := e.Host
	subject := m.addresses[p.address].subject
	if p.user != userNone {
		subject = m.people[p.person].subject
	}
	w := &t.witnesses[subject]
	country := len(m.web.countries) - 1
	if p.server > 0 {
		country = int(m.web.destinations[p.server-1].country)
	}
	row, category, domain := int(w.unit), int(host.category), int(host.domain)

	t.totals.Lines++
	t.totals.Events++
	t.last = p.end
	t.totals.Requests++
	t.totals.BytesIn += e.BytesIn
	t.totals.BytesOut += e.BytesOut
	shard := &t.totals.Shards[e.Shard]
	shard.Lines++
	shard.Events++
	if p.story > 0 {
		m.stories[p.story-1].Requests++
	}

	// The narrowest cell of each kind takes what can be added; turn carries it on.
	h, d, c := t.byHour.cell(row, category), t.domainDay.cell(row, domain), t.countryDay.cell(row, country)
	for _, cell := range [...]*measures{h, d, c} {
		cell.requests++
		cell.in += e.BytesIn
		cell.out += e.BytesOut
	}
	if e.Blocked {
		t.totals.Blocked++
		h.blocked++
		d.blocked++
		c.blocked++
	}
	if w.guest {
		return
	}

	if w.hour != t.hour {
		w.hour = t.hour
		day, month := w.day != t.day, w.month != t.month
		w.day, w.month = t.day, t.month
		w.known.turn(day, month)
		w.loose.turn(day, month)
	}
	// A subject is a user or an address, for good: only for addresses can the two readings differ.
	switch {
	case p.user != userNone:
		t.person(&w.known, row, category, domain, country, 1, 1)
	case e.Status == 407:
		t.person(&w.loose, row, category, domain, country, 0, 1)
	default:
		t.person(&w.known, row, category, domain, country, 1, 0)
		t.person(&w.loose, row, category, domain, country, 0, 1)
	}

	if host.background {
		return
	}
	now := slot{host.site, host.category, uint16(country), e.Visit}
	if window := p.end / 300_000; w.window != window {
		w.window, w.seen = window, w.seen[:0]
	} else if w.last == now {
		return
	}
	w.last = now
	var site, inCategory, inCountry, looseSite, looseCategory, looseCountry, same bool
	for _, s := range w.seen {
		if s.site == now.site {
			looseSite = true
			looseCategory = looseCategory || s.category == now.category
			looseCountry = looseCountry || s.country == now.country
			if s.visit {
				site = true
				inCategory = inCategory || s.category == now.category
				inCountry = inCountry || s.country == now.country
			}
			same = same || s == now
		}
	}
	if same {
		return
	}
	w.seen = append(w.seen, now)
	if !looseSite {
		t.byHour.cell(row, t.all).loose++
	}
	if !looseCategory {
		h.loose++
		d.loose++
	}
	if !looseCountry {
		c.loose++
	}
	if !now.visit {
		return
	}
	if !site {
		t.byHour.cell(row, t.all).slots++
	}
	if !inCategory {
		h.slots++
		d.slots++
	}
	if !inCountry {
		c.slots++
	}
}

// person counts a subject where it has not been counted in the periods that are not over: people and loose say which of the
// two numbers of people k is about.
func (t *truth) person(k *counted, row, category, domain, country int, people, loose int64) {
	count := func(c *measures) {
		c.people += people
		c.loosePeople += loose
	}
	if bit := uint64(1) << category; k.hourCategories&bit == 0 {
		if k.hourCategories == 0 {
			count(t.byHour.cell(row, t.all))
			if k.dayCategories == 0 {
				count(t.byDay.cell(row, t.all))
				if k.monCategories == 0 {
					count(t.byMonth.cell(row, t.all))
				}
			}
		}
		k.hourCategories |= bit
		count(t.byHour.cell(row, category))
		if k.dayCategories&bit == 0 {
			k.dayCategories |= bit
			count(t.byDay.cell(row, category))
			if k.monCategories&bit == 0 {
				k.monCategories |= bit
				count(t.byMonth.cell(row, category))
			}
		}
	}
	if at, b := domain>>6, uint64(1)<<(domain&63); k.dayDomains[at]&b == 0 {
		k.dayDomains[at] |= b
		count(t.domainDay.cell(row, domain))
		if k.monDomains[at]&b == 0 {
			k.monDomains[at] |= b
			count(t.domainMonth.cell(row, domain))
		}
	}
	if b := uint64(1) << country; k.dayCountries&b == 0 {
		k.dayCountries |= b
		count(t.countryDay.cell(row, country))
		if k.monCountries&b == 0 {
			k.monCountries |= b
			count(t.countryMon.cell(row, country))
		}
	}
}

// turn closes the periods that are over and opens those of a time in milliseconds.
func (t *truth) turn(millis int64) {
	t.closeHour()
	if millis >= t.dayEnd {
		t.closeDay()
		if millis >= t.monthEnd {
			t.closeMonth()
			local := time.UnixMilli(millis).In(t.m.zone)
			t.months = append(t.months, local.Format("2006-01"))
			t.month = int32(len(t.months) - 1)
			t.monthEnd = time.Date(local.Year(), local.Month()+1, 1, 0, 0, 0, 0, t.m.zone).UnixMilli()
		}
		local := time.UnixMilli(millis).In(t.m.zone)
		t.days = append(t.days, local.Format(time.DateOnly))
		t.day = int32(len(t.days) - 1)
		t.dayEnd = time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, t.m.zone).UnixMilli()
	}
	t.hour = int32(millis / 3_600_000)
	// Days of this zone begin at whole hours of UTC, so an hour lies in one day.
	t.hourEnd = int64(t.hour+1) * 3_600_000
	if t.totals.First.IsZero() {
		t.totals.First = time.UnixMilli(millis).UTC()
	}
}

// Numbers of the levels, in the order in which Cells brings them.
const (
	levelCategoryHour = iota
	levelCategoryDay
	levelCategoryMonth
	levelDomainDay
	levelDomainMonth
	levelCountryDay
	levelCountryMonth
)

// keep sums units into their tenant's population, stores all cells of a grid and empties it.
func (t *truth) keep(g *grid, level uint8, period int32) {
	units := len(t.m.units)
	g.each(func(row, column int, c *measures) {
		if row < units {
			sum := g.cell(units+t.m.units[row].pair, column)
			sum.add(c)
			sum.people += c.people
			sum.loosePeople += c.loosePeople
		}
	})
	g.each(func(row, column int, c *measures) {
		t.cells = append(t.cells, stored{level, int32(row), int32(column), period, *c})
		*c = measures{}
	})
	clear(g.touched)
}

// carry adds the units' cells of a grid to the same ones of a longer period.
func (t *truth) carry(from, to *grid) {
	from.each(func(row, column int, c *measures) { to.cell(row, column).add(c) })
}

func (t *truth) closeHour() {
	g := t.byHour
	g.each(func(row, column int, c *measures) {
		if column == t.all {
			return
		}
		// slots and people of the whole are not the sum of the categories': they have been counted
		sum := g.cell(row, t.all)
		slots, loose := sum.slots, sum.loose
		sum.add(c)
		sum.slots, sum.loose = slots, loose
	})
	t.carry(g, t.byDay)
	t.keep(g, levelCategoryHour, t.hour)
}

func (t *truth) closeDay() {
	t.carry(t.byDay, t.byMonth)
	t.keep(t.byDay, levelCategoryDay, t.day)
	t.carry(t.domainDay, t.domainMonth)
	t.keep(t.domainDay, levelDomainDay, t.day)
	t.carry(t.countryDay, t.countryMon)
	t.keep(t.countryDay, levelCountryDay, t.day)
}

func (t *truth) closeMonth() {
	t.keep(t.byMonth, levelCategoryMonth, t.month)
	t.keep(t.domainMonth, levelDomainMonth, t.month)
	t.keep(t.countryMon, levelCountryMonth, t.month)
}

// Truth ends the run and answers what was true of all that Next and NextEvent brought, as a reader of Config.Format sees it.
func (m *Municipality) Truth() *Truth {
	return m.TruthFor(m.format)
}

// TruthFor is Truth in the eyes of a reader of another format.
func (m *Municipality) TruthFor(f Format) *Truth {
	t := m.truth
	if !t.done {
		t.done = true
		if t.totals.Events > 0 {
			t.totals.Last = time.UnixMilli(t.last).UTC()
		}
		t.closeHour()
		t.closeDay()
		t.closeMonth()
		slices.SortStableFunc(t.cells, func(a, b stored) int { return int(a.level) - int(b.level) })
	}
	out := &Truth{
		Format: f.Name, Zone: TimeZone, Source: Tenants()[0].Name, Totals: t.totals, Classes: m.web.classes, Stories: m.stories,
		of: t, format: f,
	}
	if !f.Sent {
		out.Totals.BytesOut = 0
	}
	if !f.Received {
		out.Totals.BytesIn = 0
	}
	if !f.Verdict {
		out.Totals.Blocked = 0
	}
	return out
}

// Cells brings every cell in which there was a request: by level, then by period.
func (t *Truth) Cells() iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		for i := range t.of.cells {
			s := &t.of.cells[i]
			if s.level >= levelCountryDay {
				break
			}
			if !yield(t.cell(s, "")) {
				return
			}
		}
		for i := range t.of.cells {
			s := &t.of.cells[i]
			switch {
			case t.format.Server && s.level >= levelCountryDay:
				if !yield(t.cell(s, t.of.m.web.countries[s.key])) {
					return
				}
			case !t.format.Server && int(s.key) == t.of.all && (s.level == levelCategoryDay || s.level == levelCategoryMonth):
				// A reader who sees no server puts all of a day into one country, which is then the day itself.
				day := *s
				day.level += levelCountryDay - levelCategoryDay
				if !yield(t.cell(&day, CountryUnknown)) {
					return
				}
			}
		}
	}
}

func (t *Truth) cell(s *stored, country string) Cell {
	m := t.of.m
	c := Cell{
		Country: country, Requests: s.requests, Blocked: s.blocked, BytesIn: s.in, BytesOut: s.out, People: s.people, ActiveSlots: s.slots,
	}
	if !t.format.Sent {
		c.BytesOut = 0
	}
	if !t.format.Received {
		c.BytesIn = 0
	}
	if !t.format.Verdict {
		c.Blocked = 0
	}
	if !t.format.Status {
		c.ActiveSlots, c.People = s.loose, s.loosePeople
	}
	if units := len(m.units); int(s.row) < units {
		u := m.units[s.row]
		c.Tenant, c.Population, c.Unit = u.Tenant, u.Population, u.Name
	} else {
		p := m.pairs[int(s.row)-units]
		c.Tenant, c.Population = p.tenant, p.population
	}
	switch s.level {
	case levelCategoryHour:
		c.Level, c.Period = LevelCategoryHour, time.Unix(int64(s.period)*3600, 0).UTC().Format(time.RFC3339)
	case levelCategoryDay:
		c.Level, c.Period = LevelCategoryDay, t.of.days[s.period]
	case levelCategoryMonth:
		c.Level, c.Period = LevelCategoryMonth, t.of.months[s.period]
	case levelDomainDay:
		c.Level, c.Period = LevelDomainDay, t.of.days[s.period]
	case levelDomainMonth:
		c.Level, c.Period = LevelDomainMonth, t.of.months[s.period]
	case levelCountryDay:
		c.Level, c.Period = LevelCountryDay, t.of.days[s.period]
	case levelCountryMonth:
		c.Level, c.Period = LevelCountryMonth, t.of.months[s.period]
	}
	switch {
	case s.level <= levelCategoryMonth && int(s.key) < t.of.all:
		c.Category = m.web.categories[s.key]
	case s.level == levelDomainDay || s.level == levelDomainMonth:
		c.Domain, c.Category = m.web.domains[s.key].domain, m.web.domains[s.key].category
	}
	return c
}
