package aggregate

import (
	"cmp"
	"fmt"
	"hash/maphash"
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

// Rollup gathers the requests of one batch. It notes them one after another, folds them, when they become many, to what can't
// be folded further without losing a count of people or of active slots (subject, site, five minutes, country), and only at
// the end spreads that over the cells of each table, person by person. It is not safe for concurrent use.
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

	grains []grain
	folded bool // grains are in order, one subject's in a row up to ends

	tables      *[3]table // memory of Blocks
	order, ends []uint32
	steps       []step
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
	sum
}

type sum struct{ requests, blocked, in, out uint64 }

func (s *sum) add(o *sum) {
	s.requests += o.requests
	s.blocked += o.blocked
	s.in += o.in
	s.out += o.out
}

// NewRollup makes an empty rollup whose tokens are made with key.
func NewRollup(key seal.StatisticsKey) *Rollup { return NewRollups(key, 1)[0] }

// NewRollups makes n of them that take turns: no two of them may be in Blocks at the same time, for which they share the memory.
func NewRollups(key seal.StatisticsKey, n int) []*Rollup {
	tables := &[3]table{}
	for i, name := range []string{"web_hourly", "web_domains_daily", "web_countries_daily"} {
		tables[i] = table{name: name, seed: maphash.MakeSeed()}
	}
	all := make([]*Rollup, n)
	for i := range all {
		all[i] = newRollup(key, tables)
	}
	return all
}

func newRollup(key seal.StatisticsKey, tables *[3]table) *Rollup {
	r := &Rollup{
		key: key, tables: tables, tokenizers: map[seal.Month]*seal.Tokenizer{},
		groupIndex: map[Group]uint32{}, subjectIndex: map[subjectKey]SubjectRef{}, siteIndex: map[Site]SiteRef{}, domainIndex: map[domain]uint32{},
		categoryIndex: map[string]uint32{}, countryIndex: map[string]CountryRef{},
	}
	r.category("") // number 0 is all categories
	return r
}

// Reset empties r and keeps its memory. All handles become invalid.
func (r *Rollup) Reset() {
	clear(r.subjectIndex)
	clear(r.siteIndex)
	clear(r.domainIndex)
	clear(r.subjects) // so that no identity outlives its batch
	r.subjects, r.grains, r.folded = r.subjects[:0], r.grains[:0], false
	r.sites, r.siteBlocks, r.siteCategory, r.siteDomain, r.domains = r.sites[:0], r.siteBlocks[:0], r.siteCategory[:0], r.siteDomain[:0], r.domains[:0]
}

// Full says whether r holds about limit grains, the distinct (subject, site, five minutes, country, kind of request): they are
// the measure of its memory, and it never holds more than limit.
func (r *Rollup) Full(limit int) bool {
	if n := len(r.grains); n < limit {
		if n >= limit/4 && cap(r.grains) < limit {
			r.grains = slices.Grow(r.grains, limit-n) // all the room at once: to grow into it would need twice as much
		}
		return false
	}
	r.fold()
	return len(r.grains) > limit/4*3 // less room than that would soon be full again
}

// Subject is the handle of a subject of a group: id is its identity, which leaves r as tokens only.
func (r *Rollup) Subject(g Group, id []byte) SubjectRef {
	k := subjectKey{r.group(g), string(id)}
	ref, ok := r.subjectIndex[k]
	if !ok {
		ref = SubjectRef(len(r.subjects))
		r.subjects = append(r.subjects, subject{group: k.group, id: k.subject})
		r.subjectIndex[k] = ref
		r.folded = false
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
	r.grains = append(room(r.grains), grain{
		grainKey{s, site, uint32(floorDiv(q.Time, slotSeconds*1000)), c, q.NoVisit, q.NoPerson},
		sum{q.Requests, q.Blocked, q.BytesIn, q.BytesOut},
	})
	r.folded = false
}

// room makes sure that one more fits, by growing by half: what is noted one at a time by the hundred thousand is copied less
// often so than by append alone, which grows by a quarter.
func room[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, max(len(s)/2, 64))
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
	for i := range r.tables {
		r.tables[i].reset()
	}
	r.fold()
	days := dayFinder{}
	for _, s := range r.byGroup() {
		if err := r.spread(&r.subjects[s], r.grains[r.begin(s):r.ends[s]], &days); err != nil {
			return nil, err
		}
	}
	var out []Block
	for _, day := range days.all() {
		for i := range r.tables {
			out = append(out, r.tables[i].block(r, day, w))
		}
	}
	return out, nil
}

// begin is where the grains of a subject begin once they are folded.
func (r *Rollup) begin(s SubjectRef) uint32 {
	if s == 0 {
		return 0
	}
	return r.ends[s-1]
}

// spread adds what one person did, in order, to the cells of the person's unit and of all units.
func (r *Rollup) spread(sub *subject, grains []grain, days *dayFinder) error {
	hourly, domains, countries := &r.tables[0], &r.tables[1], &r.tables[2]
	own := &r.groups[sub.group]
	p := person{groups: [2]uint32{sub.group, own.all}, cells: 2}
	if sub.group == own.all {
		p.cells = 1
	}
	today, thisHour := int32(-1), uint32(0)
	for n := range grains {
		g := &grains[n]
		if day := days.find(own.Zone, g.window); n == 0 || day != today {
			today = day
			month := seal.MonthOf(dayTime(day))
			var err error
			if p.tokens, err = r.tokenizer(month); err != nil {
				return fmt.Errorf("count people of %s: %w", month, err)
			}
			p.subject = p.tokens.Subject(own.Tenant, []byte(sub.id))
			domains.turn(day, uint32(day), len(r.domains))
			countries.turn(day, uint32(day), len(r.countries))
			thisHour = 0
		}
		hour := g.window / (3600 / uint32(slotSeconds))
		if n == 0 || hour != thisHour {
			thisHour = hour
			hourly.turn(today, hour, len(r.categories))
		}
		if own.Population == Guest {
			hourly.cells[hourly.cell(r, 0, own.all)].add(&g.sum)
			continue
		}
		c := contribution{grain: g, site: &r.siteBlocks[g.site], visit: !r.sites[g.site].Background && !g.noVisit}
		hourly.add(r, &p, r.siteCategory[g.site], &c)
		hourly.add(r, &p, 0, &c)
		domains.add(r, &p, r.siteDomain[g.site], &c)
		countries.add(r, &p, uint32(g.country), &c)
	}
	for i := range r.tables {
		r.tables[i].settle(&p)
	}
	return nil
}

// A step is a grain among those of its subject.
type step struct {
	at    uint64 // five minutes, then site
	grain uint32
}

// inOrder are the grains of a subject by time, so that hours and days come one after another, and a slot comes in a row.
func (r *Rollup) inOrder(s SubjectRef) []step {
	r.steps = r.steps[:0]
	for _, i := range r.order[r.begin(s):r.ends[s]] {
		g := &r.grains[i]
		r.steps = append(r.steps, step{uint64(g.window)<<32 | uint64(g.site), i})
	}
	slices.SortFunc(r.steps, func(a, b step) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(a.grain, b.grain)
	})
	return r.steps
}

// bySubject are the numbers of the grains, one subject's in a row, and where each subject's end. Subjects are dense numbers:
// counted into place.
func (r *Rollup) bySubject() (order, ends []uint32) {
	ends = append(r.ends[:0], make([]uint32, len(r.subjects)+1)...)
	for i := range r.grains {
		ends[r.grains[i].subject+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	order = append(r.order[:0], make([]uint32, len(r.grains))...)
	for i := range r.grains {
		at := &ends[r.grains[i].subject] // where the next one goes; in the end, where the next subject begins
		order[*at] = uint32(i)
		*at++
	}
	return order, ends
}

// byGroup are the subjects, one group's in a row: the cells of a unit are then used all at once, while they are near.
func (r *Rollup) byGroup() []SubjectRef {
	subjects := make([]SubjectRef, len(r.subjects))
	for i := range subjects {
		subjects[i] = SubjectRef(i)
	}
	slices.SortFunc(subjects, func(a, b SubjectRef) int {
		x, y := r.subjects[a].group, r.subjects[b].group
		return cmp.Or(cmp.Compare(r.groups[x].all, r.groups[y].all), cmp.Compare(x, y), cmp.Compare(a, b))
	})
	return subjects
}

// fold puts the grains in order, by subject and then by time, and adds like ones up, all where they lie. What is folded already
// stays as it is.
func (r *Rollup) fold() {
	if r.folded {
		return
	}
	r.order, r.ends = r.bySubject()
	for s := range SubjectRef(len(r.subjects)) {
		begin := r.begin(s)
		for i, st := range r.inOrder(s) {
			r.order[begin+uint32(i)] = st.grain
		}
	}
	permute(r.grains, r.order)
	n, begin := uint32(0), uint32(0) // how many are folded, and where the subject's own began
	for s := range r.subjects {
		slot, end := n, r.ends[s] // slot: the first that is folded of the same site and window
		for i := begin; i < end; i++ {
			g := &r.grains[i]
			if f := &r.grains[slot]; slot < n && (f.site != g.site || f.window != g.window) {
				slot = n
			}
			like := slices.IndexFunc(r.grains[slot:n], func(f grain) bool { return f.grainKey == g.grainKey })
			if like < 0 {
				r.grains[n] = *g
				n++
			} else {
				r.grains[slot+uint32(like)].add(&g.sum)
			}
		}
		begin, r.ends[s] = end, n
	}
	r.folded = true
	r.grains = r.grains[:n]
}

// permute moves what is at order[i] to i, one cycle after another, and leaves order sorted.
func permute(grains []grain, order []uint32) {
	for i := range order {
		at, first := uint32(i), grains[i]
		for order[at] != uint32(i) {
			from := order[at]
			grains[at], order[at] = grains[from], at
			at = from
		}
		grains[at], order[at] = first, at
	}
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

// A cell is as long as a line of cache.
type cell struct {
	sum
	key           cellKey
	people, slots uint32
	block         seal.CellBlock
}

// A noted holds tokens as they come, each with the number of its cell: apart, since together they would be padded.
type noted struct {
	cells  []uint32
	values []uint64
}

func (t *noted) add(cell uint32, value uint64) {
	t.cells, t.values = append(room(t.cells), cell), append(room(t.values), value)
}

func (t *noted) reset() { t.cells, t.values = t.cells[:0], t.values[:0] }

// A table gathers the cells of one statistics table. People come one after another, and each one's hours or days: what a
// person adds to a cell is summed up on the way (a share) and reaches the cells when the person is done with.
type table struct {
	name          string
	cells         []cell
	days          []int32  // of each cell
	index         []uint64 // of the cells: see cell
	people, slots noted

	day    int32
	time   uint32 // the hour or day whose shares are being gathered
	shares []share
	recent []recent // by what a cell is about: its share of this time
	turns  uint64
	seed   maphash.Seed
}

type recent struct {
	turn  uint64
	share uint32
}

// A share is what one person adds to the cell of the person's unit and to that of all units.
type share struct {
	sum
	cells       [2]uint32
	states      [2][16]byte
	counted     bool // among people
	hasState    bool
	slotCounted bool
	lastSite    SiteRef
	lastWindow  uint32
}

// A person is a subject while its grains are being spread.
type person struct {
	groups  [2]uint32 // the own one and that of all units
	cells   int       // 1 if they are the same
	tokens  *seal.Tokenizer
	subject seal.SubjectBlock
}

type contribution struct {
	*grain
	site  *seal.SiteBlock
	visit bool
}

// reset empties t and keeps its memory.
func (t *table) reset() {
	clear(t.index)
	t.people.reset()
	t.slots.reset()
	t.cells, t.days, t.shares = t.cells[:0], t.days[:0], t.shares[:0]
}

// turn begins another hour or day of a person. whats is how many things cells may be about.
func (t *table) turn(day int32, time uint32, whats int) {
	t.day, t.time = day, time
	t.turns++
	if n := whats - len(t.recent); n > 0 {
		t.recent = append(t.recent, make([]recent, n)...)
	}
}

func (t *table) add(r *Rollup, p *person, what uint32, c *contribution) {
	seen := &t.recent[what]
	if seen.turn != t.turns {
		*seen = recent{t.turns, uint32(len(t.shares))}
		t.shares = append(t.shares, share{})
		s := &t.shares[seen.share]
		for i := range p.cells {
			s.cells[i] = t.cell(r, what, p.groups[i])
		}
	}
	s := &t.shares[seen.share]
	s.add(&c.sum)
	if c.noPerson {
		return
	}
	if !s.counted {
		s.counted = true
		for i := range p.cells {
			x := &t.cells[s.cells[i]]
			t.people.add(s.cells[i], p.tokens.People(p.subject, x.block))
			x.people++
		}
	}
	if !c.visit || s.slotCounted && s.lastSite == c.grain.site && s.lastWindow == c.window {
		return
	}
	s.lastSite, s.lastWindow, s.slotCounted = c.grain.site, c.window, true
	for i := range p.cells {
		x := &t.cells[s.cells[i]]
		if !s.hasState {
			s.states[i] = p.tokens.SlotState(p.subject, x.block)
		}
		t.slots.add(s.cells[i], p.tokens.Slot(s.states[i], *c.site, c.window))
		x.slots++
	}
	s.hasState = true
}

// settle ends a person.
func (t *table) settle(p *person) {
	for i := range t.shares {
		s := &t.shares[i]
		for _, c := range s.cells[:p.cells] {
			t.cells[c].add(&s.sum)
		}
	}
	t.shares = t.shares[:0]
}

// cell is the number of a cell at the time of t. Nearly every grain asks for several, and what that costs is the memory that
// is touched: so the index is open addressing by hand, with the number of the cell plus 1 below half of the hash of its key.
func (t *table) cell(r *Rollup, what, group uint32) uint32 {
	if 2*len(t.cells) >= len(t.index) {
		t.grow()
	}
	k := newCellKey(what, group, t.time)
	hash := maphash.Comparable(t.seed, k)
	at := t.place(hash)
	for ; t.index[at] != 0; at = (at + 1) & uint64(len(t.index)-1) {
		if x := t.index[at]; x>>32 == hash>>32 && t.cells[uint32(x)-1].key == k {
			return uint32(x) - 1
		}
	}
	t.cells = append(room(t.cells), cell{key: k, block: t.canonical(r, k)})
	t.days = append(room(t.days), t.day)
	t.index[at] = hash>>32<<32 | uint64(len(t.cells))
	return uint32(len(t.cells)) - 1
}

func (t *table) place(hash uint64) uint64 { return hash >> 32 & uint64(len(t.index)-1) }

func (t *table) grow() {
	old := t.index
	t.index = make([]uint64, max(1<<10, 2*len(old)))
	for _, x := range old {
		if x == 0 {
			continue
		}
		at := t.place(x)
		for t.index[at] != 0 {
			at = (at + 1) & uint64(len(t.index)-1)
		}
		t.index[at] = x
	}
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
		if t.days[i] == day {
			at[i] = uint32(rows)
			rows++
		}
	}
	var (
		days                       = make([]uint16, rows) // since 1970, as ClickHouse keeps a Date
		marks                      = make([]uint64, rows)
		hours                      = make([]uint32, rows) // seconds since 1970, a DateTime
		tenants                    = make([]string, rows)
		populations                = make([]string, rows)
		units                      = make([]string, rows)
		names                      = make([]string, rows)
		categories                 = make([]string, rows)
		requests, blocked, in, out = make([]uint64, rows), make([]uint64, rows), make([]uint64, rows), make([]uint64, rows)
		next                       = make([]uint64, rows)
		begunAt                    = make([]uint32, rows)
	)
	for i := range rows {
		days[i] = uint16(day)
	}
	marks[0], next[0], begunAt[0] = w.Mark, w.Next, uint32(w.BegunAt.Unix())
	for i := range t.cells {
		x := &t.cells[i]
		if t.days[i] != day {
			continue
		}
		row := at[i]
		g := &r.groups[x.key.group()]
		tenants[row], populations[row], units[row] = g.Tenant, g.Population, g.Unit
		requests[row], blocked[row], in[row], out[row] = x.requests, x.blocked, x.in, x.out
		switch t.name {
		case "web_hourly":
			hours[row], names[row] = x.key.time()*3600, r.categories[x.key.what()]
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
		t.scatter(&t.people, at, rows, func(x *cell) uint32 { return x.people }),
		t.scatter(&t.slots, at, rows, func(x *cell) uint32 { return x.slots }), next, begunAt)
	return Block{Table: t.name, Day: dayTime(day), Columns: columns, Rows: rows}
}

// scatter sorts tokens to the rows of their cells.
func (t *table) scatter(from *noted, at []uint32, rows int, count func(*cell) uint32) clickhouse.Arrays {
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
	for i, c := range from.cells {
		if row := at[c]; row != 0 {
			values[fill[row]] = from.values[i]
			fill[row]++
		}
	}
	return clickhouse.Arrays{Ends: ends, Values: values}
}

// A dayFinder knows which local day a five-minute window belongs to. No zone of today changes its offset within one.
type dayFinder struct {
	zones []zoneDays
	seen  map[int32]struct{}

	zone   *time.Location // of the last question, like which most are
	window uint32
	day    int32
}

type zoneDays struct {
	zone *time.Location
	days map[uint32]int32
}

func (f *dayFinder) find(zone *time.Location, window uint32) int32 {
	if len(f.zones) > 0 && zone == f.zone && window == f.window {
		return f.day
	}
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
	f.zone, f.window, f.day = zone, window, day
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
