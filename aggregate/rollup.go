package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
)

// SlotLength is the length of an active slot.
const SlotLength = 5 * time.Minute

const slotSeconds = int64(SlotLength / time.Second)

// ProtectedDomain is what stands in web_domains_daily for every protected destination.
const ProtectedDomain = "(protected)"

// Guest is the population that is counted as volume only: it has no people.
const Guest = "guest"

// Group is where a subject belongs.
type Group struct {
	Tenant, Population, Unit string
	Zone                     *time.Location // the tenant's: it decides the local day
}

// Site is a destination as statistics know it.
type Site struct {
	Name       string // registrable domain, or an address; only tokens are made of it
	Domain     string // what web_domains_daily may say: Name, a truncated address or ProtectedDomain
	Category   string // never empty
	Background bool   // not a visit
}

// Handles that a [Rollup] gives out; they are valid until its next Reset.
type (
	SubjectRef uint32
	SiteRef    uint32
	CountryRef uint16
)

// Request is one or more like requests of one subject to one site.
type Request struct {
	Time     int64 // milliseconds since 1970 UTC
	Requests uint64
	Blocked  uint64
	BytesIn  uint64 // to the client
	BytesOut uint64 // from the client
	NoVisit  bool   // the proxy asked for authentication first: no visit, whatever the site
	NoPerson bool   // and did not know whom yet: no contributor, only volume
}

// Watermark marks a batch of a source partition in every block that the batch is written as.
type Watermark struct {
	Mark    uint64 // the source partition, never 0
	Next    uint64 // the first offset after the batch
	BegunAt time.Time
}

// Block is what one insert writes: the rows of one batch for one table and day, its watermark first.
type Block struct {
	Table   string
	Day     time.Time // midnight UTC of the calendar day
	Columns []any     // slices of equal length, in the order of the table's insert query (schemas/ingest)
	Rows    int
}

// Rollup gathers the requests of one batch. It first folds them to what can't be folded further without losing a count
// of people or of active slots (subject, site, five minutes, country), and only at the end spreads that over the cells
// of each table. It is not safe for concurrent use.
type Rollup struct {
	key        seal.StatisticsKey
	tokenizers map[seal.Month]*seal.Tokenizer

	groups     []group
	groupIndex map[Group]uint32

	subjects     []subject
	subjectIndex map[subjectKey]SubjectRef

	sites         []Site
	siteIndex     map[Site]SiteRef
	siteBlocks    []seal.SiteBlock
	categories    []string
	categoryIndex map[string]uint32
	siteCategory  []uint32
	siteDomain    []uint32
	domains       []domain
	domainIndex   map[domain]uint32

	countries    []string
	countryIndex map[string]CountryRef

	grains     []grain
	grainIndex map[grainKey]uint32

	tables      [3]table // memory of Blocks
	order, ends []uint32
}

type group struct {
	Group
	all uint32 // the group of all units of the same tenant and population
}

type domain struct{ name, category string }

type subjectKey struct {
	group   uint32
	subject string
}

type subject struct {
	group uint32
	id    string
	month seal.Month // of block
	block seal.SubjectBlock
}

type grainKey struct {
	subject SubjectRef
	site    SiteRef
	window  uint32
	country CountryRef

	noVisit, noPerson bool
}

type grain struct {
	grainKey
	requests, blocked, in, out uint64
}

// NewRollup makes an empty rollup whose tokens are made with key.
func NewRollup(key seal.StatisticsKey) *Rollup {
	r := &Rollup{
		key: key, tokenizers: map[seal.Month]*seal.Tokenizer{},
		groupIndex: map[Group]uint32{}, subjectIndex: map[subjectKey]SubjectRef{}, siteIndex: map[Site]SiteRef{}, domainIndex: map[domain]uint32{},
		categoryIndex: map[string]uint32{}, countryIndex: map[string]CountryRef{}, grainIndex: map[grainKey]uint32{},
	}
	for i, name := range []string{"web_hourly", "web_domains_daily", "web_countries_daily"} {
		r.tables[i] = table{name: name, index: map[cellKey]uint32{}}
	}
	r.category("") // number 0 is all categories
	return r
}

// Reset empties r and keeps its memory. All handles become invalid.
func (r *Rollup) Reset() {
	clear(r.subjectIndex)
	clear(r.siteIndex)
	clear(r.domainIndex)
	clear(r.grainIndex)
	clear(r.subjects) // so that no identity outlives its batch
	r.subjects, r.grains = r.subjects[:0], r.grains[:0]
	r.sites, r.siteBlocks, r.siteCategory, r.siteDomain, r.domains = r.sites[:0], r.siteBlocks[:0], r.siteCategory[:0], r.siteDomain[:0], r.domains[:0]
}

// Grains is how much r holds: the distinct (subject, site, five minutes, country, kind of request), the measure of its memory.
func (r *Rollup) Grains() int { return len(r.grains) }

// Subject is the handle of a subject of a group: id is its identity, which leaves r as tokens only.
func (r *Rollup) Subject(g Group, id []byte) SubjectRef {
	k := subjectKey{r.group(g), string(id)}
	ref, ok := r.subjectIndex[k]
	if !ok {
		ref = SubjectRef(len(r.subjects))
		r.subjects = append(r.subjects, subject{group: k.group, id: k.subject})
		r.subjectIndex[k] = ref
	}
	return ref
}

func (r *Rollup) group(g Group) uint32 {
	i, ok := r.groupIndex[g]
	if !ok {
		all := uint32(len(r.groups))
		if g.Unit != "" {
			whole := g
			whole.Unit = ""
			all = r.group(whole)
		}
		i = uint32(len(r.groups))
		if i >= maxGroups {
			panic("aggregate: more than a million groups") // a directory has thousands
		}
		r.groups = append(r.groups, group{g, all})
		r.groupIndex[g] = i
	}
	return i
}

// Site is the handle of a site.
func (r *Rollup) Site(s Site) SiteRef {
	ref, ok := r.siteIndex[s]
	if !ok {
		ref = SiteRef(len(r.sites))
		r.sites = append(r.sites, s)
		r.siteBlocks = append(r.siteBlocks, seal.Site(s.Name))
		r.siteCategory = append(r.siteCategory, r.category(s.Category))
		d := domain{s.Domain, s.Category}
		i, ok := r.domainIndex[d]
		if !ok {
			i = uint32(len(r.domains))
			r.domains = append(r.domains, d)
			r.domainIndex[d] = i
		}
		r.siteDomain = append(r.siteDomain, i)
		r.siteIndex[s] = ref
	}
	return ref
}

func (r *Rollup) category(name string) uint32 {
	i, ok := r.categoryIndex[name]
	if !ok {
		i = uint32(len(r.categories))
		r.categories = append(r.categories, name)
		r.categoryIndex[name] = i
	}
	return i
}

// Country is the handle of a country's code.
func (r *Rollup) Country(code string) CountryRef {
	i, ok := r.countryIndex[code]
	if !ok {
		i = CountryRef(len(r.countries))
		r.countries = append(r.countries, code)
		r.countryIndex[code] = i
	}
	return i
}

// Add counts a request.
func (r *Rollup) Add(s SubjectRef, site SiteRef, c CountryRef, q Request) {
	k := grainKey{s, site, uint32(floorDiv(q.Time, slotSeconds*1000)), c, q.NoVisit, q.NoPerson}
	i, ok := r.grainIndex[k]
	if !ok {
		i = uint32(len(r.grains))
		r.grains = append(r.grains, grain{grainKey: k})
		r.grainIndex[k] = i
	}
	g := &r.grains[i]
	g.requests += q.Requests
	g.blocked += q.Blocked
	g.in += q.BytesIn
	g.out += q.BytesOut
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Days are the local days that r has requests on, in order, as midnight UTC of the calendar day.
func (r *Rollup) Days() []time.Time {
	seen := map[int32]bool{}
	days := dayFinder{}
	for i := range r.grains {
		g := &r.grains[i]
		seen[days.find(r.groups[r.subjects[g.subject].group].Zone, g.window)] = true
	}
	out := make([]time.Time, 0, len(seen))
	for d := range seen {
		out = append(out, dayTime(d))
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// Blocks spreads what r holds over the statistics tables: for each day that r has requests on, one block for each table.
// It fails with [seal.ErrForgotten] when a request is older than the key.
func (r *Rollup) Blocks(w Watermark) ([]Block, error) {
	hourly, domains, countries := &r.tables[0], &r.tables[1], &r.tables[2]
	for i := range r.tables {
		r.tables[i].reset()
	}
	days := dayFinder{}
	for _, i := range r.inOrder() {
		g := &r.grains[i]
		sub := &r.subjects[g.subject]
		own := &r.groups[sub.group]
		day := days.find(own.Zone, g.window)
		month := seal.MonthOf(dayTime(day))
		tk, err := r.tokenizer(month)
		if err != nil {
			return nil, fmt.Errorf("count people of %s: %w", month, err)
		}
		if sub.month != month {
			sub.month, sub.block = month, tk.Subject(own.Tenant, []byte(sub.id))
		}
		site := &r.sites[g.site]
		c := contribution{g: g, subject: sub, tk: tk, site: &r.siteBlocks[g.site], visit: !site.Background && !g.noVisit, anonymous: g.noPerson}

		hour := g.window / (3600 / uint32(slotSeconds))
		if own.Population == Guest {
			c.anonymous = true
			hourly.add(day, newCellKey(0, own.all, hour), r, c)
			continue
		}
		for _, u := range [2]uint32{sub.group, own.all} {
			hourly.add(day, newCellKey(r.siteCategory[g.site], u, hour), r, c)
			hourly.add(day, newCellKey(0, u, hour), r, c)
			domains.add(day, newCellKey(r.siteDomain[g.site], u, uint32(day)), r, c)
			countries.add(day, newCellKey(uint32(g.country), u, uint32(day)), r, c)
			if sub.group == own.all {
				break
			}
		}
	}
	var out []Block
	for _, day := range days.all() {
		out = append(out,
			hourly.block(r, day, w), domains.block(r, day, w), countries.block(r, day, w))
	}
	return out, nil
}

// inOrder are the numbers of the grains, one person's in a row, and of those one site's, so that a cell sees each person and
// slot once. Subjects are dense numbers and have few grains each: counted into place, then sorted by insertion.
func (r *Rollup) inOrder() []uint32 {
	r.ends = append(r.ends[:0], make([]uint32, len(r.subjects)+1)...)
	for i := range r.grains {
		r.ends[r.grains[i].subject+1]++
	}
	for i := 1; i < len(r.ends); i++ {
		r.ends[i] += r.ends[i-1]
	}
	r.order = append(r.order[:0], make([]uint32, len(r.grains))...)
	for i := range r.grains {
		at := &r.ends[r.grains[i].subject] // where the next one goes; in the end, where the next subject begins
		r.order[*at] = uint32(i)
		*at++
	}
	begin := uint32(0)
	for _, end := range r.ends[:len(r.subjects)] {
		slices.SortFunc(r.order[begin:end], func(a, b uint32) int {
			x, y := &r.grains[a], &r.grains[b]
			if x.site != y.site {
				return cmp.Compare(x.site, y.site)
			}
			return cmp.Compare(x.window, y.window)
		})
		begin = end
	}
	return r.order
}

func (r *Rollup) tokenizer(m seal.Month) (*seal.Tokenizer, error) {
	tk, ok := r.tokenizers[m]
	if !ok {
		var err error
		if tk, err = r.key.Tokenizer(m); err != nil {
			return nil, err
		}
		r.tokenizers[m] = tk
	}
	return tk, nil
}

// A cellKey names a cell within its table, packed so that the map of cells hashes one word: what it is about (category,
// domain or country) in 24 bits, the group in 20, the hour or day since 1970 in 20.
type cellKey uint64

const (
	whatBits, groupBits = 24, 20
	maxGroups           = 1 << groupBits
)

func newCellKey(what, group, time uint32) cellKey {
	return cellKey(what) | cellKey(group)<<whatBits | cellKey(time)<<(whatBits+groupBits)
}

func (k cellKey) what() uint32  { return uint32(k) & (1<<whatBits - 1) }
func (k cellKey) group() uint32 { return uint32(k>>whatBits) & (maxGroups - 1) }
func (k cellKey) time() uint32  { return uint32(k >> (whatBits + groupBits)) }

type cell struct {
	key                        cellKey
	day                        int32
	requests, blocked, in, out uint64

	block       seal.CellBlock
	last        SubjectRef // whose tokens were made last
	counted     bool       // last is valid
	state       [16]byte   // of last
	hasState    bool
	lastSite    SiteRef
	lastWindow  uint32
	slotCounted bool
	people      uint32
	slots       uint32
}

type token struct {
	cell  uint32
	value uint64
}

type table struct {
	name          string
	index         map[cellKey]uint32
	cells         []cell
	people, slots []token
}

// reset empties t and keeps its memory.
func (t *table) reset() {
	clear(t.index)
	t.cells, t.people, t.slots = t.cells[:0], t.people[:0], t.slots[:0]
}

type contribution struct {
	g         *grain
	subject   *subject
	tk        *seal.Tokenizer
	site      *seal.SiteBlock
	visit     bool
	anonymous bool
}

func (t *table) add(day int32, k cellKey, r *Rollup, c contribution) {
	i, ok := t.index[k]
	if !ok {
		i = uint32(len(t.cells))
		t.index[k] = i
		t.cells = append(t.cells, cell{key: k, day: day, block: t.canonical(r, k)})
	}
	x := &t.cells[i]
	x.requests += c.g.requests
	x.blocked += c.g.blocked
	x.in += c.g.in
	x.out += c.g.out
	if c.anonymous {
		return
	}
	if !x.counted || x.last != c.g.subject {
		x.last, x.counted, x.hasState, x.slotCounted = c.g.subject, true, false, false
		t.people = append(t.people, token{i, c.tk.People(c.subject.block, x.block)})
		x.people++
	}
	if !c.visit {
		return
	}
	if x.slotCounted && x.lastSite == c.g.site && x.lastWindow == c.g.window {
		return
	}
	if !x.hasState {
		x.state, x.hasState = c.tk.SlotState(c.subject.block, x.block), true
	}
	x.lastSite, x.lastWindow, x.slotCounted = c.g.site, c.g.window, true
	t.slots = append(t.slots, token{i, c.tk.Slot(x.state, *c.site, c.g.window)})
	x.slots++
}

// canonical is the name under which people are counted in a cell. It holds no time: a person keeps the same token in all
// hours and days of a month, which is what makes counting over a period exact.
func (t *table) canonical(r *Rollup, k cellKey) seal.CellBlock {
	g := &r.groups[k.group()]
	switch t.name {
	case "web_hourly":
		return seal.Cell(t.name, g.Tenant, g.Population, g.Unit, r.categories[k.what()])
	case "web_domains_daily":
		d := &r.domains[k.what()]
		return seal.Cell(t.name, g.Tenant, g.Population, g.Unit, d.name, d.category)
	default:
		return seal.Cell(t.name, g.Tenant, g.Population, g.Unit, r.countries[k.what()])
	}
}

// block lays the cells of one day out as columns.
func (t *table) block(r *Rollup, day int32, w Watermark) Block {
	rows := 1
	at := make([]uint32, len(t.cells)) // row of each cell
	for i := range t.cells {
		if t.cells[i].day == day {
			at[i] = uint32(rows)
			rows++
		}
	}
	var (
		days                       = make([]time.Time, rows)
		marks                      = make([]uint64, rows)
		hours                      = make([]time.Time, rows)
		tenants                    = make([]string, rows)
		populations                = make([]string, rows)
		units                      = make([]string, rows)
		names                      = make([]string, rows)
		categories                 = make([]string, rows)
		requests, blocked, in, out = make([]uint64, rows), make([]uint64, rows), make([]uint64, rows), make([]uint64, rows)
		next                       = make([]uint64, rows)
		begunAt                    = make([]time.Time, rows)
	)
	date := dayTime(day)
	epoch := time.Unix(0, 0).UTC()
	for i := range rows {
		days[i], hours[i], begunAt[i] = date, epoch, epoch
	}
	marks[0], next[0], begunAt[0] = w.Mark, w.Next, w.BegunAt.UTC().Truncate(time.Second)
	for i := range t.cells {
		x := &t.cells[i]
		if x.day != day {
			continue
		}
		row := at[i]
		g := &r.groups[x.key.group()]
		tenants[row], populations[row], units[row] = g.Tenant, g.Population, g.Unit
		requests[row], blocked[row], in[row], out[row] = x.requests, x.blocked, x.in, x.out
		switch t.name {
		case "web_hourly":
			hours[row], names[row] = time.Unix(int64(x.key.time())*3600, 0).UTC(), r.categories[x.key.what()]
		case "web_domains_daily":
			names[row], categories[row] = r.domains[x.key.what()].name, r.domains[x.key.what()].category
		default:
			names[row] = r.countries[x.key.what()]
		}
	}
	columns := []any{days, marks, tenants, populations, units, names}
	switch t.name {
	case "web_hourly":
		columns = append(columns, hours)
	case "web_domains_daily":
		columns = append(columns, categories)
	}
	columns = append(columns, requests, blocked, in, out,
		t.scatter(t.people, at, rows, func(x *cell) uint32 { return x.people }),
		t.scatter(t.slots, at, rows, func(x *cell) uint32 { return x.slots }), next, begunAt)
	return Block{Table: t.name, Day: date, Columns: columns, Rows: rows}
}

// scatter sorts tokens to the rows of their cells.
func (t *table) scatter(tokens []token, at []uint32, rows int, count func(*cell) uint32) clickhouse.Arrays {
	ends := make([]uint64, rows)
	for i := range t.cells {
		if at[i] != 0 {
			ends[at[i]] = uint64(count(&t.cells[i]))
		}
	}
	fill := make([]uint64, rows)
	for i := 1; i < rows; i++ {
		fill[i] = ends[i-1]
		ends[i] += ends[i-1]
	}
	values := make([]uint64, ends[rows-1])
	for _, k := range tokens {
		if row := at[k.cell]; row != 0 {
			values[fill[row]] = k.value
			fill[row]++
		}
	}
	return clickhouse.Arrays{Ends: ends, Values: values}
}

// A dayFinder knows which local day a five-minute window belongs to. No zone of today changes its offset within one.
type dayFinder struct {
	zones []zoneDays
	seen  map[int32]struct{}
}

type zoneDays struct {
	zone *time.Location
	days map[uint32]int32
}

func (f *dayFinder) find(zone *time.Location, window uint32) int32 {
	var z *zoneDays
	for i := range f.zones {
		if f.zones[i].zone == zone {
			z = &f.zones[i]
		}
	}
	if z == nil {
		f.zones = append(f.zones, zoneDays{zone, map[uint32]int32{}})
		z = &f.zones[len(f.zones)-1]
	}
	day, ok := z.days[window]
	if !ok {
		y, m, d := time.Unix(int64(window)*slotSeconds, 0).In(zone).Date()
		day = int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
		z.days[window] = day
		if f.seen == nil {
			f.seen = map[int32]struct{}{}
		}
		f.seen[day] = struct{}{}
	}
	return day
}

func (f *dayFinder) all() []int32 {
	out := make([]int32, 0, len(f.seen))
	for d := range f.seen {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

func dayTime(day int32) time.Time { return time.Unix(int64(day)*86400, 0).UTC() }
