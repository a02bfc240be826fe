package synthetic

import (
	"fmt"
	"slices"
	"time"
)

// horizon is how many seconds ahead of the clock a request may end; a power of two.
const horizon = 4096

const maxDuration = 900_000 // milliseconds, of the longest tunnel

// How a user name is written in a request.
const (
	userNone = iota
	userPlain
	userMixed
	userLatin
)

// A pending is a request that has been decided and waits for its end. It holds no pointers: millions of them come and go.
type pending struct {
	end      int64
	duration uint32
	in, out  uint32
	number   uint32
	person   int32
	address  int32
	host     uint16
	referrer uint16 // host plus 1; 0 for none
	server   uint16 // destination plus 1; 0 for none
	path     uint8
	outcome  uint8
	user     uint8
	scheme   uint8 // 0 CONNECT, 1 http, 2 https
	kind     uint8
	story    uint8 // plus 1; 0 for none
}

// An appointment is a visit that a story wants.
type appointment struct {
	at     int64 // milliseconds
	person int32
	site   int
	story  int
}

// simulation is what changes while time passes.
type simulation struct {
	random *random

	begin, end int64 // seconds between which visits start; end 0: no end
	next       int64 // second to write next
	decided    int64 // seconds before this one have been decided
	slots      [][]pending
	waiting    int // requests in slots
	keys       []uint64
	current    []pending
	at         int
	lines      int64
	scale      uint64 // parts of a million by which use is thinned or thickened
	storyDays  int    // stories happen on every so many days, the first one included
	dry        bool   // count requests instead of keeping them

	hourEnd int64 // seconds: until then the local hour is known
	hour    int
	weekday time.Weekday
	day     string // local

	members [3][populations][]int32 // people of a tenant and population, in an order of chance
	taste   [populations][2]choice  // over sites, at work and in own time
	paths   [pathKinds][]path       //
	results []outcome               //
	mixture choice                  // over results from outcomeFirst on
	agents  []string                //
	queue   []appointment           // of the local day, in order
	event   Event
	bad     Event
	badNext bool
	badKind int
}

// beginLife prepares the simulation: who there is to act, what they like, when it starts and how busy it must be.
func (m *Municipality) beginLife() {
	s := &m.simulation
	s.random = newRandom(m.config.Seed, 2)
	from, _ := time.ParseInLocation(time.DateOnly, m.config.From, m.zone) // Validate has read it
	s.begin = from.Unix()
	s.end = from.AddDate(0, 0, m.config.Days).Unix()
	s.next, s.decided, s.hourEnd = s.begin, s.begin, s.begin
	s.slots = make([][]pending, horizon)
	for kind := range pathKinds {
		s.paths[kind] = paths(kind)
	}
	s.results = outcomes()
	shares := make([]uint32, 0, len(s.results))
	for _, o := range s.results[outcomeFirst:] {
		shares = append(shares, o.share)
	}
	s.mixture = newChoice(shares)
	s.agents = userAgents()

	for p := range populations {
		for own := range 2 {
			weights := make([]uint32, len(m.web.sites))
			for i, site := range m.web.sites {
				weights[i] = site.weight * appetite(min(p, popGuest), m.web.categories[site.category], own == 1)
			}
			s.taste[p][own] = newChoice(weights)
		}
	}
	for i := range m.people {
		p := &m.people[i]
		s.members[p.tenant][p.population] = append(s.members[p.tenant][p.population], int32(i))
		for j := range p.favourites {
			p.favourites[j] = uint16(s.taste[p.population][j%2].draw(s.random))
		}
	}
	for t := range s.members {
		for p := range s.members[t] {
			shuffle(s.random, s.members[t][p])
		}
	}
	m.plantStories()
	s.scale, s.storyDays = 1_000_000, 1
	if m.config.Lines > 0 {
		s.calibrate(m)
		s.end = 0
	}
}

// calibrate finds the scale at which Lines lines take Days, by rehearsing a few hundred visits of each population.
func (s *simulation) calibrate(m *Municipality) {
	const rehearsals = 600
	keep := s.random
	s.random, s.dry = newRandom(m.config.Seed, 3), true
	var expected uint64 // lines in thousandths
	for t := range s.members {
		for p, members := range s.members[t] {
			if len(members) == 0 {
				continue
			}
			s.waiting = 0
			for i := range rehearsals {
				// half at work, half in their own time, which is how visits are spread
				s.hour, s.weekday = 9+3*(i%2), time.Tuesday
				m.visit(members[s.random.below(uint32(len(members)))], -1, s.begin*1000, 0)
			}
			perVisit := uint64(s.waiting) * 1000 / rehearsals
			var visits uint64
			for d := range m.config.Days {
				day := time.Unix(s.begin, 0).In(m.zone).AddDate(0, 0, d).Weekday()
				for _, w := range rhythmOf(p, day) {
					visits += visitsADay(p) * uint64(len(members)) * uint64(w) * 1000 / workdaySum(p)
				}
			}
			expected += visits * perVisit / 1000
		}
	}
	// What the stories take is not there for the rest, and must not be most of it.
	s.waiting = 0
	m.makeAppointments(time.Unix(s.begin, 0).In(m.zone))
	for _, a := range s.queue {
		m.visit(a.person, a.site, a.at, a.story+1)
	}
	told := int64(s.waiting) * int64(m.config.Days) * 5 / 7
	s.storyDays = 1 + int(told*4/m.config.Lines)
	rest := max(m.config.Lines-told/int64(s.storyDays), 1)

	s.random, s.dry, s.waiting, s.queue = keep, false, 0, nil
	// A little more than that: a run that ends within its last day is better than one that runs into another.
	s.scale = max(uint64(rest)*1_050_000_000/max(expected, 1), 1)
}

// clock keeps the local hour of a second, and opens each new local day.
func (m *Municipality) clock(second int64) {
	s := &m.simulation
	if second < s.hourEnd {
		return
	}
	local := time.Unix(second, 0).In(m.zone)
	s.hour, s.weekday = local.Hour(), local.Weekday()
	s.hourEnd = second + 3600 - int64(local.Minute()*60+local.Second())
	if day := local.Format(time.DateOnly); day != s.day {
		s.day = day
		m.makeAppointments(local)
	}
}

// decideMinute decides all visits that start within the minute from s.decided on.
func (m *Municipality) decideMinute() {
	s := &m.simulation
	start := s.decided
	m.clock(start)
	s.decided += 60
	for t := range s.members {
		for p, members := range s.members[t] {
			if len(members) == 0 {
				continue
			}
			// millionths of visits this minute; chance moves it by half
			rate := visitsADay(p) * uint64(len(members)) * uint64(rhythmOf(p, s.weekday)[s.hour]) * s.scale / (workdaySum(p) * 60)
			rate = rate * uint64(512+s.random.below(1025)) / 1024
			n := rate / 1_000_000
			if uint64(s.random.below(1_000_000)) < rate%1_000_000 {
				n++
			}
			for range n {
				// the lower of two draws: some people are online far more than others
				who := members[min(s.random.below(uint32(len(members))), s.random.below(uint32(len(members))))]
				m.visit(who, -1, start*1000+int64(s.random.below(60_000)), 0)
			}
		}
	}
	for len(s.queue) > 0 && s.queue[0].at < s.decided*1000 {
		a := s.queue[0]
		s.queue = s.queue[1:]
		m.visit(a.person, a.site, a.at, a.story+1)
	}
}

// add keeps a request until its end.
func (s *simulation) add(p *pending) {
	s.waiting++
	if s.dry {
		return
	}
	slot := &s.slots[p.end/1000&(horizon-1)]
	*slot = append(*slot, *p)
}

// visit is one person going to one site: pages, what they load, and everything that comes along. A site of -1 is drawn.
func (m *Municipality) visit(person int32, at int, start int64, story int) {
	s := &m.simulation
	r := s.random
	who := &m.people[person]
	req := pending{person: person, address: who.home, story: uint8(story)}
	if who.roam >= 0 && r.chance(300) {
		req.address = who.roam
	}
	if who.population == popMachine {
		m.machineTraffic(&req, start)
		return
	}
	if at < 0 {
		own := 0
		if leisure(s.weekday, s.hour) {
			own = 1
		}
		if r.chance(350) {
			at = int(who.favourites[r.below(2)*2+uint32(own)])
		} else {
			at = s.taste[who.population][own].draw(r)
		}
	}
	site := &m.web.sites[at]
	host := &m.web.hosts[site.page]
	if who.SignsIn {
		req.user = userPlain
		if person%16 == 5 && r.chance(250) {
			req.user = userMixed
		} else if m.config.Latin1 > 0 && who.latin != who.User && r.below(1_000_000) < uint32(m.config.Latin1*1_000_000) {
			req.user = userLatin
		}
	}
	scheme := uint8(0)
	switch {
	case site.plain:
		scheme = 1
	case r.chance([3]uint32{150, 800, 300}[who.tenant]): // how much of its TLS each tenant opens
		scheme = 2
	}
	req.scheme, req.host = scheme, site.page

	t := start
	if who.SignsIn && r.chance(25) {
		c := req
		c.user, c.outcome = userNone, outcomeChallenge
		m.finish(&c, t, 3_800, 500, 2)
		t += 30
	}
	if host.denied && (story > 0 || !r.chance(100)) {
		req.outcome = outcomeDenied
		m.finish(&req, t, 3_900, 600, 3)
		return
	}
	if scheme == 0 && r.chance(6) {
		req.outcome = outcomeTunnelFailed
		m.finish(&req, t, 0, 0, 60_000)
		return
	}
	pages := 1 + r.below(3)
	for page := range pages {
		if scheme == 0 {
			if page == 0 || r.chance(400) {
				m.tunnel(&req, site.page, t, 120_000, 45_000)
			}
			if page == 0 {
				for _, h := range site.assets {
					if r.chance(600) {
						m.tunnel(&req, h, t+int64(r.below(900)), 250_000, 30_000)
					}
				}
			}
		} else {
			m.fetch(&req, pathPage, site.page, 0, t)
			for range r.below(5) {
				h := site.page
				if len(site.assets) > 0 {
					h = site.assets[r.below(uint32(len(site.assets)))]
				}
				m.fetch(&req, pathAsset, h, site.page+1, t+int64(40+r.below(2_000)))
			}
		}
		if load := site.load; load > 0 {
			if page > 0 && scheme == 0 {
				load = load/3 + 1 // tunnels of the first page are still open
			}
			for range load/2 + r.below(load+1) {
				h := m.web.background[m.web.byWeight.draw(r)]
				when := t + int64(100+r.below(4_000))
				if scheme == 1 || scheme == 2 && r.chance(800) {
					m.fetch(&req, pathBackground, h, site.page+1, when)
				} else {
					m.tunnel(&req, h, when, 6_000, 12_000)
				}
			}
		}
		t += 6_000 + int64(r.heavy(15_000))
	}
}

// machineTraffic is one of the errands that machines run on their own.
func (m *Municipality) machineTraffic(req *pending, start int64) {
	r := m.simulation.random
	for range 1 + r.below(2) {
		h := m.web.background[m.web.byWeight.draw(r)]
		if m.web.hosts[h].Class != ClassBackground {
			continue
		}
		if r.chance(300) {
			req.scheme = 1
			m.fetch(req, pathBackground, h, 0, start)
		} else {
			req.scheme = 0
			m.tunnel(req, h, start, 9_000, 8_000)
		}
		start += 400
	}
}

// tunnel is a CONNECT: one line when it ends, and no word of what went through.
func (m *Municipality) tunnel(req *pending, host uint16, start int64, in, last uint32) {
	r := m.simulation.random
	p := *req
	p.host, p.scheme, p.outcome, p.referrer = host, 0, outcomeTunnel, 0
	p.in = r.heavy(in)
	p.out = 900 + p.in/24 + r.below(600)
	p.number = 1000 + r.below(8_999_000)
	m.serve(&p)
	p.duration = min(200+r.heavy(last), maxDuration)
	p.end = start + int64(p.duration)
	m.simulation.add(&p)
}

// fetch is one request that the proxy can read.
func (m *Municipality) fetch(req *pending, kind uint8, host, referrer uint16, start int64) {
	s := &m.simulation
	r := s.random
	p := *req
	p.host, p.kind, p.referrer = host, kind, referrer
	if p.scheme == 0 {
		p.scheme = 2
	}
	p.path = uint8(r.below(uint32(len(s.paths[kind]))))
	p.number = 1000 + r.below(8_999_000)
	p.outcome = uint8(outcomeFirst + s.mixture.draw(r))
	path, o := &s.paths[kind][p.path], &s.results[p.outcome]
	p.in = uint32(uint64(r.heavy(path.size))*uint64(o.percent)/100) + 280 + r.below(300)
	if o.status == 0 {
		p.in = 0
	}
	p.out = path.sent/2 + r.below(path.sent)
	if o.server {
		m.serve(&p)
		p.duration = r.heavy(90)
	} else {
		p.duration = r.below(4)
	}
	p.end = start + int64(p.duration)
	s.add(&p)
}

// finish is a request that ends at the proxy.
func (m *Municipality) finish(p *pending, start int64, in, out, last uint32) {
	r := m.simulation.random
	p.in, p.out = in, out
	if in > 0 {
		p.in += r.below(200)
		p.out += r.below(200)
	}
	p.duration = r.below(last + 1)
	p.end = start + int64(p.duration)
	p.number = 1000 + r.below(8_999_000)
	m.simulation.add(p)
}

// serve chooses the server: mostly the first that the host has.
func (m *Municipality) serve(p *pending) {
	r := m.simulation.random
	to := m.web.hosts[p.host].destinations
	p.server = to[min(r.below(uint32(len(to))), r.below(uint32(len(to))))] + 1
}

// advance brings the next second that has requests; false when there is none left.
func (m *Municipality) advance() bool {
	s := &m.simulation
	for {
		for s.next >= s.decided {
			if s.end != 0 && s.decided >= s.end {
				if s.waiting == 0 {
					return false
				}
				s.decided += 60
				continue
			}
			m.decideMinute()
		}
		slot := &s.slots[s.next&(horizon-1)]
		s.next++
		if len(*slot) == 0 {
			continue
		}
		// The slice changes places with the one that was written: no second keeps growing memory of its own.
		s.current, *slot = *slot, s.current[:0]
		s.keys = s.keys[:0]
		for i := range s.current {
			s.keys = append(s.keys, uint64(s.current[i].end%1000)<<32|uint64(i))
		}
		slices.Sort(s.keys)
		s.at = 0
		s.waiting -= len(s.current)
		return true
	}
}

// NextEvent brings the next request, in the order of their ends, and counts it into the truth. It answers false at the end of
// the run. The Event is the same one each time: copy what must outlive the next call.
func (m *Municipality) NextEvent() (*Event, bool) {
	s := &m.simulation
	if m.truth.done || m.config.Lines > 0 && s.lines >= m.config.Lines {
		return nil, false
	}
	for s.at >= len(s.keys) {
		if !m.advance() {
			return nil, false
		}
	}
	p := &s.current[uint32(s.keys[s.at])]
	if m.config.Bad > 0 && !s.badNext {
		if s.random.below(1_000_000) < uint32(m.config.Bad*1_000_000) {
			s.badNext = true // so that the request itself comes next, whatever is drawn then
			s.lines++
			m.fill(&s.bad, p)
			reasons := BadReasons()
			s.bad.Bad = reasons[s.badKind%len(reasons)]
			s.badKind++
			m.spoil(&s.bad)
			m.truth.countBad(&s.bad)
			return &s.bad, true
		}
	}
	s.badNext = false
	s.at++
	s.lines++
	m.fill(&s.event, p)
	m.truth.count(p, &s.event)
	return &s.event, true
}

// spoil gives a malformed event the fields that make it so; the rest is for the encoder's wrapper (Format.Append).
func (m *Municipality) spoil(e *Event) {
	switch e.Bad {
	case BadNegative:
		e.BytesIn = -1 - e.BytesIn
	case BadTime:
		e.Time = e.Time % 86_400_000 // a day in 1970
		if m.simulation.badKind/len(BadReasons())%2 == 1 {
			e.Time += 4_070_908_800_000 // one in 2099
		}
	}
}

// fill makes an Event of a pending.
func (m *Municipality) fill(e *Event, p *pending) {
	s := &m.simulation
	who, from, host, o := &m.people[p.person], &m.addresses[p.address], &m.web.hosts[p.host], &s.results[p.outcome]
	e.Bad = ""
	e.Time, e.Duration = p.end, int64(p.duration)
	e.Person = who
	e.SourceIP, e.SourcePort = from.text, 1024+int(p.number%60_000)
	e.User = ""
	subject := from.subject
	if p.user != userNone {
		subject = who.subject
		switch p.user {
		case userMixed:
			e.User = who.mixed
		case userLatin:
			e.User = who.latin
		default:
			e.User = who.User
		}
	}
	if who.population == popMachine {
		e.Person = nil
	}
	of := m.units[m.subjects[subject].unit]
	e.Subject, e.Tenant, e.Population, e.Unit = m.subjects[subject].key, of.Tenant, of.Population, of.Name
	e.Shard = int(uint64(uint32(subject)*0x9E3779B1) * uint64(m.config.Shards) >> 32)

	e.Host, e.Category, e.Class = host, host.Category, host.Class
	e.Referrer = nil
	if p.referrer > 0 {
		e.Referrer = &m.web.hosts[p.referrer-1]
	}
	e.UserAgent = s.agents[int(who.agent)%len(s.agents)]
	e.Status, e.Result, e.Blocked = o.status, o.result, p.outcome == outcomeChallenge || p.outcome == outcomeDenied
	e.Visit = !host.background && o.status != 407
	e.BytesIn, e.BytesOut = int64(p.in), int64(p.out)
	e.ServerIP, e.Country = "", CountryUnknown
	if p.server > 0 {
		d := &m.web.destinations[p.server-1]
		e.ServerIP, e.Country = d.address, m.web.countries[d.country]
	}
	e.path, e.number = &s.paths[p.kind][p.path], p.number
	switch {
	case p.scheme == 0:
		e.Scheme, e.Method, e.MIME = "", "CONNECT", ""
	default:
		e.Scheme = "https"
		if p.scheme == 1 {
			e.Scheme = "http"
		}
		e.Method, e.MIME = e.path.method, e.path.mime
	}
	if e.Blocked {
		e.MIME = "text/html"
	}
	if e.Status == 0 || e.Status == 204 || e.Status == 304 {
		e.MIME = ""
	}
}

// Next appends the next line of Config.Format to dst, without line end, and answers false at the end of the run.
func (m *Municipality) Next(dst []byte) ([]byte, bool) {
	if m.format.Mail {
		return m.nextRow(dst)
	}
	e, ok := m.NextEvent()
	if !ok {
		return dst, false
	}
	return AppendLine(dst, e, m.write), true
}

// A Story is something that was planted, for the tests and demonstrations that must find it, or must not.
type Story struct {
	Name       string   `json:"name"`
	About      string   `json:"about"`
	Tenant     string   `json:"tenant"`
	Population string   `json:"population"`
	Unit       string   `json:"unit"`
	Users      []string `json:"users,omitempty"` // user names of the simulation
	Category   string   `json:"category"`
	Sites      []string `json:"sites"`
	Requests   int64    `json:"requests"` // written on account of the story

	people []int32
	sites  []int
	at     []int // minutes of the local day
	once   bool
}

// The stories' names.
const (
	StoryGambling  = "gambling_unit"
	StoryTrackers  = "tracker_heavy_press"
	StoryTeacher   = "teacher_with_permission"
	StoryProtected = "two_people_protected"
	StoryAccident  = "accident"
)

// StoryByName is what was planted under a name. Its Requests are those of what has been written so far.
func (m *Municipality) StoryByName(name string) (Story, bool) {
	i := slices.IndexFunc(m.stories, func(s Story) bool { return s.Name == name })
	if i < 0 {
		return Story{}, false
	}
	return m.stories[i], true
}

func (m *Municipality) plantStories() {
	plant := func(name, about string, tenant int, unit string, people []int, once bool, at []int, sites ...string) {
		st := Story{Name: name, About: about, Sites: sites, at: at, once: once}
		u := m.units[slices.IndexFunc(m.units, func(u *Unit) bool { return u.Tenant == Tenants()[tenant].Name && u.Name == unit })]
		st.Tenant, st.Population, st.Unit = u.Tenant, u.Population, u.Name
		for _, n := range people {
			n = min(n, len(u.people)-1)
			st.people = append(st.people, u.people[n])
			st.Users = append(st.Users, m.people[u.people[n]].User)
		}
		for _, domain := range sites {
			at := slices.IndexFunc(m.web.sites, func(s site) bool { return s.domain == domain })
			st.sites = append(st.sites, at)
			st.Category = m.web.categories[m.web.sites[at].category]
		}
		m.stories = append(m.stories, st)
	}
	plant(StoryGambling, "most of a unit of fourteen gambles in working hours: over the floor, a finding",
		0, unitGambling, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, false, []int{9*60 + 35, 13*60 + 20, 14*60 + 40}, "svenskaspel.se", "casinohajen.example", "bet365.com")
	plant(StoryTrackers, "a news site whose every page brings dozens of trackers: many requests, few visits",
		0, "Biblioteken", []int{0, 1}, false, []int{8*60 + 5, 10*60 + 5, 15*60 + 5}, "kvallsekot.example")
	plant(StoryTeacher, "a teacher prepares lessons about extremism with the manager's permission: no finding",
		0, unitTeacher, []int{1}, false, []int{13*60 + 5, 13*60 + 25}, "hatportalen.example")
	plant(StoryProtected, "one of two people in a unit looks for help: never shown",
		0, unitProtected, []int{0}, false, []int{9*60 + 15, 15*60 + 20}, "stodlinjen.se", "aa.se")
	plant(StoryAccident, "one wrong click, once, that the proxy stopped: no finding",
		1, "Kontaktcenter", []int{2}, true, []int{10*60 + 2}, "vuxenfilm.example")
}

// makeAppointments fills the queue with what the stories want of a local day: every workday, and the first day whatever it is.
func (m *Municipality) makeAppointments(local time.Time) {
	s := &m.simulation
	s.queue = s.queue[:0]
	first := local.Unix() <= s.begin
	if midday := local.Unix() + 43_200; (midday-s.begin)/86_400%int64(s.storyDays) != 0 {
		return
	}
	free := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	for i := range m.stories {
		st := &m.stories[i]
		if free && !first || st.once && !first {
			continue
		}
		for n, minutes := range st.at {
			for k, person := range st.people {
				midday := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, m.zone)
				at := midday.UnixMilli() + int64(minutes-12*60)*60_000 + int64(s.random.below(240_000))
				s.queue = append(s.queue, appointment{at, person, st.sites[(n+k)%len(st.sites)], i})
			}
		}
	}
	slices.SortStableFunc(s.queue, func(a, b appointment) int { return int(a.at - b.at) })
}

// Describe answers one line about the municipality: people, units and tenants.
func (m *Municipality) Describe() string {
	return fmt.Sprintf("%d people and machines in %d units of %d tenants", len(m.people), len(m.units), len(Tenants()))
}
