package ingest

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"tillsyn/aggregate"
	"tillsyn/ingest/category"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/seal"
)

// Bounds on the time of an event, as seen from the clock of its batch.
const (
	MaxAge   = 90 * 24 * time.Hour // the ceiling for identifiable data (POLICY: 90 days)
	MaxAhead = time.Hour
)

// Reasons for rejects that only the pipeline can give.
const (
	tooOld   parse.Reason = "too_old"
	tooNew   parse.Reason = "in_the_future"
	tooMany  parse.Reason = "count_out_of_range"
	noPerson parse.Reason = "no_subject"
)

const (
	uncategorised = "uncategorised"

	maxShape    = 120    // characters of a reject's shape
	maxShapes   = 1000   // distinct shapes that a batch keeps; further ones are counted without
	mailGrains  = 10     // tokens of mail that weigh as much as one grain of web use
	maxRepeat   = 10_000 // the most events that one line may claim to stand for
	maxDays     = 4      // UTC days after which a batch is cut: each is three inserts
	authProxy   = 407    // Proxy Authentication Required (RFC 9110, 15.5.8)
	unknownSite = "(none)"
	otherSite   = "(other)" // what is no name of a registered domain, and may hold anything, a person's name included
)

// Limits bound a batch.
type Limits struct {
	Events  int           `yaml:"events"`  // events, also of one Kafka partition that has more
	Grains  int           `yaml:"grains"`  // distinct (subject, site, five minutes, country): the measure of memory
	MaxAge  time.Duration `yaml:"max_age"` // after which a batch is cut, full or not
	Rejects int           `yaml:"rejects"` // lines that could not be read
	Sealed  int           `yaml:"sealed"`  // bytes of events that wait to be sealed
}

// An eventBatch reads records of one source and folds them into statistics.
type eventBatch struct {
	source Source
	limits Limits
	parser parse.Parser
	who    *resolve.Memo
	zone   func(tenant string) *time.Location
	lists  *category.Lists
	rollup *aggregate.Rollup

	resolver   *resolve.Resolver
	internal   map[string]struct{} // mail domains that are our own
	mailRollup *aggregate.MailRollup
	err        error // what went wrong while events were counted

	begunAt          time.Time
	earliest, latest int64 // Unix milliseconds that an event may have
	tally            Tally
	newest           int64              // event
	days             map[int64]struct{} // UTC days of the events
	lastDay          int64

	// What the batch has already resolved. The keys are personal: they are dropped with the batch.
	users     map[string]aggregate.SubjectRef
	places    map[place]aggregate.SubjectRef
	sites     map[string]*site
	countries map[netip.Addr]country
	people    map[string]person // by mail address

	otherSides map[string]aggregate.Site // by mail domain

	joins   parse.Joins // what the parser held when the batch was cut
	joining bool        // it holds such things

	capsules *capsules

	rejects map[rejectKey]uint64
	onEvent func(*parse.Event)
	onBad   func(parse.Reject)
	record  []byte // the one that is being read
	host    []byte // scratch
	shape   []byte // scratch

	key, identity []byte // scratch
}

// A site is what both faces may know of a host, and where the last request to it went, which most do.
type site struct {
	ref aggregate.SiteRef
	*verdict
	ip netip.Addr
	country
}

type country struct {
	ref  aggregate.CountryRef
	code []byte
}

// A place is a user name, which may be empty, at an address.
type place struct {
	user string
	ip   netip.Addr
}

type rejectKey struct {
	reason parse.Reason
	field  string
	shape  string
}

func newEventBatch(source Source, limits Limits, parser parse.Parser, resolver *resolve.Resolver, lists *category.Lists, key seal.StatisticsKey) *eventBatch {
	b := &eventBatch{
		source: source, limits: limits, parser: parser,
		who: resolve.NewMemo(resolver, memoSize), zone: resolver.Location, lists: lists,
		rollup: aggregate.NewRollup(key), days: map[int64]struct{}{},
		users: map[string]aggregate.SubjectRef{}, places: map[place]aggregate.SubjectRef{},
		sites: map[string]*site{}, countries: map[netip.Addr]country{}, capsules: newCapsules(nil),
		rejects: map[rejectKey]uint64{}, people: map[string]person{}, otherSides: map[string]aggregate.Site{},
		resolver: resolver, internal: map[string]struct{}{}, mailRollup: aggregate.NewMailRollup(key),
	}
	for _, d := range source.InternalDomains {
		b.internal[strings.ToLower(d)] = struct{}{}
	}
	b.onEvent, b.onBad = b.event, b.reject // once: a method value is an allocation
	return b
}

// memoSize is how many users, addresses and destinations a worker remembers across batches.
const memoSize = 20_000

func (b *eventBatch) Begin(begunAt time.Time) {
	b.begunAt = begunAt.UTC().Truncate(time.Second) // as the watermark keeps it
	b.earliest, b.latest = b.begunAt.Add(-MaxAge).UnixMilli(), b.begunAt.Add(MaxAhead).UnixMilli()
	b.tally, b.lastDay, b.newest = Tally{}, -1, 0
	b.rollup.Reset()
	b.mailRollup.Reset()
	b.capsules.reset()
	b.err = nil
	clear(b.people)
	clear(b.otherSides)
	clear(b.days)
	clear(b.users)
	clear(b.places)
	clear(b.sites)
	clear(b.countries)
	clear(b.rejects)
}

func (b *eventBatch) Full() bool {
	return int(b.tally.Events) >= b.limits.Events || b.rollup.Full(b.limits.Grains) || b.mailRollup.Grains() >= mailGrains*b.limits.Grains ||
		int(b.tally.Rejects) >= b.limits.Rejects || len(b.days) > maxDays || b.capsules.Bytes() >= b.limits.Sealed
}

// Tally is asked for by whoever gathers, while nobody else uses the parser: so it also notes what that holds.
func (b *eventBatch) Tally() Tally {
	b.joins, b.joining = parse.JoinsOf(b.parser)
	return b.tally
}

func (b *eventBatch) Add(r Record) {
	before := b.tally.Events + b.tally.Rejects
	b.record = r.Value
	b.parser.Parse(r.Value, b.onEvent, b.onBad)
	b.tally.Records++
	if b.tally.Events+b.tally.Rejects == before {
		b.tally.Skipped++
	}
}

func (b *eventBatch) event(e *parse.Event) {
	switch {
	case e.Time < b.earliest:
		b.refuse(tooOld, "@timestamp")
		return
	case e.Time > b.latest:
		b.refuse(tooNew, "@timestamp")
		return
	case e.Kind == parse.Mail:
		b.mail(e)
		return
	case e.Count == 0 || e.Count > maxRepeat:
		b.refuse(tooMany, "event.count")
		return
	}
	subject, ok := b.subject(e)
	if !ok {
		b.refuse(noPerson, "user.name")
		return
	}
	b.tally.Events++
	b.sawDay(e.Time)
	q := aggregate.Request{Time: e.Time, Requests: uint64(e.Count), NoVisit: e.Status == authProxy}
	q.NoPerson = q.NoVisit && len(bytes.TrimSpace(e.User)) == 0
	if e.Action == parse.Blocked {
		q.Blocked = q.Requests
	}
	q.BytesIn = uint64(max(0, e.DestinationBytes)) * q.Requests
	q.BytesOut = uint64(max(0, e.SourceBytes)) * q.Requests
	to := b.site(e)
	b.rollup.Add(subject, to.ref, to.country.ref, q)
	if !q.NoPerson {
		b.capsules.web(subject, e, to.verdict, to.code)
	}
}

func (b *eventBatch) sawDay(at int64) {
	b.newest = max(b.newest, at)
	if day := at / 86_400_000; day != b.lastDay {
		b.lastDay = day
		b.days[day] = struct{}{}
	}
}

func (b *eventBatch) subject(e *parse.Event) (aggregate.SubjectRef, bool) {
	if len(e.User) > 0 {
		if ref, ok := b.users[string(e.User)]; ok {
			return ref, true
		}
	}
	if ref, ok := b.places[place{string(e.User), e.SourceIP}]; ok {
		return ref, true
	}
	w := b.who.Who(b.source.Tenant, e.User, e.SourceIP)
	if w.Subject.IsZero() {
		return 0, false
	}
	ref := b.rollup.Subject(aggregate.Group{
		Tenant: w.Tenant, Population: w.Population, Unit: w.Unit, Zone: b.zone(w.Tenant),
	}, w.Subject.AppendPersonalData(nil))
	b.capsules.person(ref, w)
	// Whom the directory has by name belongs to the same unit everywhere; anybody else to that of the address.
	if w.Listed {
		b.users[string(e.User)] = ref
	} else {
		b.places[place{string(e.User), e.SourceIP}] = ref
	}
	return ref, true
}

// site is where a request went to.
func (b *eventBatch) site(e *parse.Event) *site {
	host := e.Domain
	if len(host) == 0 && e.DestinationIP.IsValid() {
		b.host = e.DestinationIP.AppendTo(b.host[:0])
		host = b.host
	}
	s, ok := b.sites[string(host)]
	if !ok {
		found := b.lists.Lookup(host)
		said := verdictOf(found)
		s = &site{ref: b.rollup.Site(describe(host, found)), verdict: &said}
		b.sites[string(host)] = s
	}
	if !ok || s.ip != e.DestinationIP {
		s.ip, s.country = e.DestinationIP, b.country(e.DestinationIP)
	}
	return s
}

// describe is what statistics may know of a host. Its Name tells sites apart and becomes tokens; only its Domain is shown.
func describe(host []byte, v category.Verdict) aggregate.Site {
	s := aggregate.Site{Category: v.Category, Background: v.Class == category.Background}
	if s.Category == "" {
		s.Category = uncategorised
	}
	name := string(host)
	canonical, bad := category.Canonical(name) // before ToLower, which would lose the letters of Latin-1
	if bad == nil {
		name = canonical
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	switch ip, err := netip.ParseAddr(literal(name)); {
	case name == "":
		s.Name, s.Domain = unknownSite, unknownSite
	case err == nil:
		s.Name, s.Domain = ip.Unmap().WithZone("").String(), truncated(ip)
	case bad != nil:
		s.Name, s.Domain = registrable(name), otherSite
	default:
		s.Name, s.Domain = registrable(name), shown(name)
	}
	if v.Class == category.Protected {
		s.Domain = aggregate.ProtectedDomain
	}
	return s
}

// literal is the address in an address literal, [1.2.3.4] or [IPv6:2001:db8::1] (RFC 5321, 4.1.3), in lower case; any other
// name as it is.
func literal(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return strings.TrimPrefix(inner, "ipv6:")
		}
	}
	return name
}

// registrable is the public suffix plus one label, or the whole name if it has no more.
func registrable(name string) string {
	if site, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return site
	}
	return name
}

// shown is what may be read of a canonical name: the registrable domain. Where anybody gets a name for the asking, under a
// public suffix that is not a registry's (github.io, dyndns.org), that is the domain of whoever gives them out. What is not
// the name of a registered domain at all is otherSite: a host of an office is often called after who works at it.
func shown(name string) string {
	site := registrable(name)
	if suffix, registry := publicsuffix.PublicSuffix(name); !registry && strings.Contains(suffix, ".") {
		site = giver(suffix)
	}
	if len(name) > maxName || !hasDomain(site) {
		return otherSite
	}
	for _, s := range hostLocal() {
		if site == s || strings.HasSuffix(name, "."+s) {
			return otherSite
		}
	}
	return site
}

const maxName = 253 // octets of a domain name (RFC 1035, 2.3.4, less the length octets)

// hostLocal are suffixes that no registry gives out and offices use (RFC 6762, RFC 8375, and ICANN's list of collisions).
func hostLocal() []string {
	return []string{"local", "localdomain", "localhost", "lan", "home", "internal", "intranet", "intra", "private", "corp", "workgroup", "home.arpa"}
}

// giver is the registrable domain, by the rules of registries alone, of a public suffix that is not a registry's.
func giver(suffix string) string {
	for rest := suffix; ; {
		_, parent, found := strings.Cut(rest, ".")
		if !found {
			return rest
		}
		if of, registry := publicsuffix.PublicSuffix(parent); registry && of == parent {
			return rest
		}
		rest = parent
	}
}

// hasDomain says whether name is two labels or more of letters, digits and hyphens, the last of them not a number.
func hasDomain(name string) bool {
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return false
		}
		for _, c := range []byte(l) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// truncated is an address as it may be shown: the network it is in, IPv4 /16, IPv6 /48.
func truncated(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	bits := 48
	if ip.Is4() {
		bits = 16
	}
	return netip.PrefixFrom(ip, bits).Masked().String()
}

func (b *eventBatch) country(ip netip.Addr) country {
	c, ok := b.countries[ip]
	if !ok {
		code := resolve.CountryUnknown
		if ip.IsValid() {
			code = b.who.Country(ip)
		}
		c = country{b.rollup.Country(code), []byte(code)}
		b.countries[ip] = c
	}
	return c
}

func (b *eventBatch) refuse(reason parse.Reason, field string) {
	b.reject(parse.Reject{Reason: reason, Field: field})
}

func (b *eventBatch) reject(r parse.Reject) {
	b.tally.Rejects++
	k := rejectKey{reason: r.Reason, field: r.Field}
	if len(b.rejects) < maxShapes {
		b.shape = appendShape(b.shape[:0], line(b.record, r.Line))
		k.shape = string(b.shape)
	}
	b.rejects[k]++
}

// line is the n-th line of a record, from 1; the first if n is 0.
func line(record []byte, n int) []byte {
	for ; n > 1; n-- {
		_, rest, found := bytes.Cut(record, []byte("\n"))
		if !found {
			break
		}
		record = rest
	}
	first, _, _ := bytes.Cut(record, []byte("\n"))
	return first
}

// appendShape appends what a line looks like and not what it says: a run of letters becomes one a, of digits one 9, of
// anything that is not ASCII one ?; the rest, which is punctuation, stays. Cut at maxShape characters.
func appendShape(dst, line []byte) []byte {
	var last byte
	for _, c := range line {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			c = 'a'
		case c >= '0' && c <= '9':
			c = '9'
		case c >= 0x80, c < ' ', c == 0x7f:
			c = '?'
		}
		if c == last {
			continue
		}
		last = c
		if dst = append(dst, c); len(dst) == maxShape {
			break
		}
	}
	return dst
}

func (b *eventBatch) Blocks(w aggregate.Watermark) ([]aggregate.Block, error) {
	if b.err != nil {
		return nil, b.err
	}
	blocks, err := b.capsules.blocks(w)
	if err != nil {
		return nil, err
	}
	counts, err := b.rollup.Blocks(w)
	if err != nil {
		return nil, err
	}
	blocks = append(blocks, counts...)
	blocks = append(blocks, b.mailRollup.Blocks(w)...)
	if len(b.rejects) > 0 {
		blocks = append(blocks, b.rejectBlock(w))
	}
	return blocks, nil
}

// Inserted hears that a block is in.
func (b *eventBatch) Inserted(x aggregate.Block) { b.capsules.Inserted(x.Table, x.Day) }

func (b *eventBatch) rejectBlock(w aggregate.Watermark) aggregate.Block {
	rows := len(b.rejects) + 1
	day := b.begunAt.Truncate(24 * time.Hour)
	var (
		days                                          = make([]time.Time, rows)
		marks, lines, next                            = make([]uint64, rows), make([]uint64, rows), make([]uint64, rows)
		tenants, topics, formats, reasons, fields, sh = make([]string, rows), make([]string, rows), make([]string, rows),
			make([]string, rows), make([]string, rows), make([]string, rows)
		begunAt = make([]time.Time, rows)
	)
	for i := range rows {
		days[i], begunAt[i] = day, time.Unix(0, 0).UTC()
	}
	marks[0], next[0], begunAt[0] = w.Mark, w.Next, w.BegunAt.UTC().Truncate(time.Second)
	i := 1
	for k, n := range b.rejects {
		tenants[i], topics[i], formats[i] = b.source.Tenant, b.source.Topic, b.source.Format
		reasons[i], fields[i], sh[i], lines[i] = string(k.reason), k.field, k.shape, n
		i++
	}
	return aggregate.Block{Table: "rejects", Day: day, Rows: rows,
		Columns: []any{days, marks, tenants, topics, formats, reasons, fields, sh, lines, next, begunAt}}
}
