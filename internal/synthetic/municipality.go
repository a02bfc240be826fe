package synthetic

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // local days must not depend on the machine's zone files
)

// The populations, as the directory writes them. PopulationUnknown is no row: it is what is not in the directory.
const (
	PopulationStaff   = "staff"
	PopulationElected = "elected"
	PopulationPupil   = "pupil"
	PopulationGuest   = "guest"
	PopulationUnknown = "unknown"
)

// UnitUnknown is the unit of those who are not in the directory.
const UnitUnknown = "unknown"

// TimeZone is where the municipality lies.
const TimeZone = "Europe/Stockholm"

//go:embed data/names.txt
var nameText string

// A Tenant is one of the municipalities that the IT team serves. None of them exists.
type Tenant struct {
	Name  string // as configuration and directory write it
	Title string
	Mail  string // mail domain (RFC 2606)
}

// Tenants answers the three, the largest first. The first runs the proxy: it is the tenant of the source.
func Tenants() []Tenant {
	return []Tenant{
		{"algkoping", "Älgköping", "algkoping.example"},
		{"sundhamra", "Sundhamra", "sundhamra.example"},
		{"granaker", "Granåker", "granaker.example"},
	}
}

// A Unit is a group of people in the directory.
type Unit struct {
	Tenant     string
	Population string
	Name       string
	People     int            // how many persons belong to it
	Subnets    []netip.Prefix // where they sit

	index  int
	guest  bool
	pair   int // of tenant and population
	free4  netip.Addr
	free6  netip.Addr
	people []int32
}

// A Person is somebody of the simulation. Nobody real is meant: names are random pairs of common names.
type Person struct {
	Given, Family string
	User          string // user name, as the directory writes it; empty for guests and machines
	Mail          string
	Unit          *Unit // of the directory
	SignsIn       bool  // whether requests carry the user name
	Known         bool  // whether the directory has the user name

	mixed, latin string // other spellings: capital letters, ISO 8859-1
	subject      int32  // of the user name; -1 for none
	home, roam   int32  // addresses; -1 for none
	agent        uint16
	tenant       uint8
	population   uint8     // of popStaff ...
	favourites   [4]uint16 // sites
}

// Populations as small numbers, for the tables of the simulation; machines are a kind of their own here.
const (
	popStaff = iota
	popElected
	popPupil
	popGuest
	popMachine
	populations
)

// A subject is whom a request counts for: a user name, or an address.
type subject struct {
	key  string
	unit int32
}

// An address is one that requests come from.
type address struct {
	text    string
	subject int32 // of requests without user name
}

// A Municipality is the whole of it: people, units, networks, and the time that passes. It is not safe for concurrent use.
type Municipality struct {
	config    Config
	zone      *time.Location
	web       *web
	units     []*Unit
	pairs     []pair
	people    []Person
	subjects  []subject
	addresses []address
	stories   []Story
	simulation
	truth  *truth
	mail   mailLife
	format Format
	write  func([]byte, *Event) []byte // nil for mail
}

// A pair is a tenant and one of its populations.
type pair struct{ tenant, population string }

// A unitPlan says how large a unit is in each tenant: heads, or a share of those who are left.
type unitPlan struct {
	population, name string
	heads            [3]int
	share            [3]int
}

const (
	unitGambling  = "Parkenheten"
	unitTeacher   = "Björkskolan, personal"
	unitProtected = "Kommunarkivet"
	unitShared    = "Gemensamma nätet" // what is connected but nobody's workstation
	unitGuest     = "Gästnätet"
)

func unitPlans() []unitPlan {
	return []unitPlan{
		{PopulationStaff, unitGambling, [3]int{14, 13, 0}, [3]int{}},
		{PopulationStaff, unitProtected, [3]int{2, 0, 2}, [3]int{}},
		{PopulationStaff, "Säkerhetsenheten", [3]int{3, 2, 0}, [3]int{}},
		{PopulationStaff, "Näringslivsenheten", [3]int{4, 3, 2}, [3]int{}},
		{PopulationStaff, "Överförmyndarenheten", [3]int{5, 4, 0}, [3]int{}},
		{PopulationStaff, "Upphandlingsenheten", [3]int{6, 5, 3}, [3]int{}},
		{PopulationStaff, "Konsumentvägledningen", [3]int{7, 0, 0}, [3]int{}},
		{PopulationStaff, "Kontaktcenter", [3]int{8, 6, 5}, [3]int{}},
		{PopulationStaff, "Kommunikationsenheten", [3]int{9, 5, 4}, [3]int{}},
		{PopulationStaff, "Juridiska enheten", [3]int{10, 7, 0}, [3]int{}},
		{PopulationStaff, "Mark och exploatering", [3]int{11, 9, 6}, [3]int{}},
		{PopulationStaff, "Kulturskolan", [3]int{12, 10, 8}, [3]int{}},
		{PopulationStaff, "Personalenheten", [3]int{16, 11, 9}, [3]int{}},
		{PopulationStaff, "Ekonomienheten", [3]int{20, 15, 10}, [3]int{}},
		{PopulationStaff, "IT-enheten", [3]int{}, [3]int{18, 0, 0}},
		{PopulationStaff, "Bygg och miljö", [3]int{}, [3]int{16, 16, 20}},
		{PopulationStaff, "Biblioteken", [3]int{}, [3]int{14, 12, 10}},
		{PopulationStaff, "Måltidsenheten", [3]int{}, [3]int{40, 45, 50}},
		{PopulationStaff, "Lokalvården", [3]int{}, [3]int{36, 40, 40}},
		{PopulationStaff, "Socialtjänsten, barn och familj", [3]int{}, [3]int{44, 40, 50}},
		{PopulationStaff, "Socialtjänsten, vuxna", [3]int{}, [3]int{30, 30, 0}},
		{PopulationStaff, "Hemtjänsten Norr", [3]int{}, [3]int{110, 140, 230}},
		{PopulationStaff, "Hemtjänsten Söder", [3]int{}, [3]int{90, 120, 0}},
		{PopulationStaff, "Äldreboendet Solbacken", [3]int{}, [3]int{80, 80, 120}},
		{PopulationStaff, "Funktionsstöd", [3]int{}, [3]int{90, 70, 80}},
		{PopulationStaff, "Förskolorna Öst", [3]int{}, [3]int{110, 130, 190}},
		{PopulationStaff, "Förskolorna Väst", [3]int{}, [3]int{90, 100, 0}},
		{PopulationStaff, unitTeacher, [3]int{}, [3]int{80, 80, 140}},
		{PopulationStaff, "Ekskolan, personal", [3]int{}, [3]int{60, 97, 70}},
		{PopulationStaff, "Gymnasiet, personal", [3]int{}, [3]int{92, 0, 0}},
		{PopulationElected, "Kommunfullmäktige", [3]int{45, 41, 31}, [3]int{}},
		{PopulationElected, "Kommunstyrelsen", [3]int{11, 9, 7}, [3]int{}},
		{PopulationElected, "Valnämnden", [3]int{5, 5, 4}, [3]int{}},
		{PopulationElected, "Revisorerna", [3]int{5, 3, 3}, [3]int{}},
		{PopulationElected, "Presidiet", [3]int{3, 3, 2}, [3]int{}},
		{PopulationPupil, "Gymnasiet, elever", [3]int{}, [3]int{470, 0, 0}},
		{PopulationPupil, "Björkskolan, elever", [3]int{}, [3]int{240, 420, 520}},
		{PopulationPupil, "Ekskolan, elever", [3]int{}, [3]int{170, 330, 300}},
		{PopulationPupil, "Lindskolan, elever", [3]int{}, [3]int{100, 235, 180}},
		{PopulationPupil, "Anpassade gymnasiet, elever", [3]int{}, [3]int{20, 15, 0}},
		{PopulationGuest, unitGuest, [3]int{}, [3]int{1000, 1000, 1000}},
	}
}

// New builds a municipality; nothing happens in it before Next. It fails on a Config that Validate refuses.
func New(c Config) (*Municipality, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(TimeZone)
	if err != nil {
		return nil, fmt.Errorf("synthetic: load the time zone: %w", err)
	}
	r := newRandom(c.Seed, 1)
	web, err := newWeb(r)
	if err != nil {
		return nil, err
	}
	m := &Municipality{config: c, zone: zone, web: web}
	m.settle(r)
	m.format, _ = FormatByName(c.Format)
	if !m.format.Mail {
		m.write = m.format.New(zone)
	}
	m.beginLife()
	if m.truth, err = newTruth(m); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Municipality) addUnit(tenant, population, name string) *Unit {
	p := pair{tenant, population}
	at := slices.Index(m.pairs, p)
	if at < 0 {
		at = len(m.pairs)
		m.pairs = append(m.pairs, p)
	}
	u := &Unit{Tenant: tenant, Population: population, Name: name, index: len(m.units), guest: population == PopulationGuest, pair: at}
	m.units = append(m.units, u)
	return u
}

// settle gives the municipality its units, networks and people.
func (m *Municipality) settle(r *random) {
	names := map[string][]string{}
	for _, row := range rows(nameText) {
		names[row[0]] = strings.Fields(row[1])
	}
	taken := map[string]int{}
	outside := netip.MustParseAddr("172.31.0.10") // in no subnet of the directory
	unknown := m.addUnit(Tenants()[0].Name, PopulationUnknown, UnitUnknown)

	for t, tenant := range Tenants() {
		share := [3]int{450, 330, 220}[t]
		heads := m.config.People * share / 1000
		fixed := 0
		for _, p := range unitPlans() {
			fixed += p.heads[t]
		}
		rest := max(heads-fixed, 0)

		// The whole network of the tenant is known; what stands in no unit's own subnet is shared.
		whole4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(16 + 8*t), 0, 0}), 13)
		whole6 := netip.MustParsePrefix(fmt.Sprintf("fd12:3456:%x::/48", t+1))
		shared := m.addUnit(tenant.Name, PopulationStaff, unitShared)
		shared.Subnets = []netip.Prefix{whole4, whole6}
		shared.free4, shared.free6 = whole4.Addr().Next(), whole6.Addr().Next()
		next4 := netip.AddrFrom4([4]byte{10, byte(16 + 8*t), 64, 0})
		var parent *Unit

		for i, p := range unitPlans() {
			size := p.heads[t]
			if p.share[t] > 0 {
				part := map[string]int{PopulationStaff: 370, PopulationPupil: 560, PopulationGuest: 70}[p.population]
				size = max(rest*part/1000*p.share[t]/1000, 2)
			}
			if size == 0 {
				continue
			}
			u := m.addUnit(tenant.Name, p.population, p.name)
			if p.name == unitProtected && parent != nil {
				// A subnet within another unit's: the most specific must win.
				b := parent.Subnets[0].Addr().As4()
				b[3] += 16
				u.Subnets = append(u.Subnets, netip.PrefixFrom(netip.AddrFrom4(b), 28))
			} else {
				bits := 27
				for ; 1<<(32-bits) < size+size/8+12 || i == 0 && bits > 24; bits-- {
				}
				u.Subnets = append(u.Subnets, netip.PrefixFrom(alignUp(next4, bits), bits))
				next4 = lastOf(u.Subnets[0]).Next()
			}
			u.free4 = u.Subnets[0].Addr().Next()
			if i == 0 {
				parent = u
				b := u.Subnets[0].Addr().As4()
				b[3] = 33 // past the subnet within
				u.free4 = netip.AddrFrom4(b)
			}
			if i%4 == 1 || p.population == PopulationGuest {
				b := whole6.Addr().As16()
				b[7] = byte(i + 1)
				u.Subnets = append(u.Subnets, netip.PrefixFrom(netip.AddrFrom16(b), 64))
				u.free6 = u.Subnets[1].Addr().Next()
			}
			for range size {
				m.addPerson(r, t, u, names, taken)
			}
		}
		// Machines that nobody signs in to: screens, printers, servers.
		for range heads/60 + 3 {
			a := m.addAddress(shared, false)
			m.people = append(m.people, Person{Unit: shared, subject: -1, home: a, roam: -1, tenant: uint8(t), population: popMachine})
		}
		// User names that no directory has: consultants on our networks, and visitors from outside them.
		for i := range heads/400 + 2 {
			u, a := shared, int32(0)
			if i%2 == 0 {
				staff := m.units[shared.index+3+int(r.below(6))]
				u, a = staff, m.addAddress(staff, false)
			} else {
				u, a = unknown, m.putAddress(outside, unknown)
				outside = outside.Next()
			}
			user := fmt.Sprintf("konsult%c%02d", 'a'+rune(t), i+1)
			m.people = append(m.people, Person{User: user, Unit: u, SignsIn: true, mixed: user, latin: user,
				subject: m.addSubject(user, u), home: a, roam: -1, tenant: uint8(t), population: popStaff, agent: uint16(r.below(1 << 15))})
		}
		// And some of whom nothing is known but an address.
		for range heads/600 + 1 {
			a := m.putAddress(outside, unknown)
			outside = outside.Next()
			m.people = append(m.people, Person{Unit: unknown, subject: -1, home: a, roam: -1, tenant: uint8(t), population: popStaff, agent: uint16(r.below(1 << 15))})
		}
	}
}

func alignUp(a netip.Addr, bits int) netip.Addr {
	p := netip.PrefixFrom(a, bits).Masked()
	if p.Addr() == a {
		return a
	}
	return lastOf(p).Next()
}

// lastOf answers the last address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func (m *Municipality) addSubject(key string, u *Unit) int32 {
	m.subjects = append(m.subjects, subject{key, int32(u.index)})
	return int32(len(m.subjects) - 1)
}

func (m *Municipality) putAddress(a netip.Addr, u *Unit) int32 {
	m.addresses = append(m.addresses, address{a.String(), m.addSubject(a.String(), u)})
	return int32(len(m.addresses) - 1)
}

// addAddress takes the next free address of a unit.
func (m *Municipality) addAddress(u *Unit, v6 bool) int32 {
	if v6 && u.free6.IsValid() {
		a := u.free6
		u.free6 = a.Next()
		return m.putAddress(a, u)
	}
	a := u.free4
	u.free4 = a.Next()
	return m.putAddress(a, u)
}

func (m *Municipality) addPerson(r *random, t int, u *Unit, names map[string][]string, taken map[string]int) {
	id := int32(len(m.people))
	n := len(u.people)
	u.people = append(u.people, id)
	u.People++
	p := Person{Unit: u, subject: -1, roam: -1, tenant: uint8(t), agent: uint16(r.below(1 << 15))}
	p.population = uint8(slices.Index([]string{PopulationStaff, PopulationElected, PopulationPupil, PopulationGuest}, u.Population))
	p.home = m.addAddress(u, n%7 == 3)
	if u.Population == PopulationGuest {
		m.people = append(m.people, p)
		return
	}
	p.Given = names["given"][r.below(uint32(len(names["given"])))]
	p.Family = names["family"][r.below(uint32(len(names["family"])))]
	p.User, p.Mail = m.userName(t, p.Given, p.Family, taken)
	if u.Population == PopulationStaff && n == 0 && strings.HasPrefix(u.Name, "Ekskolan") {
		p.User = "vikarie " + Tenants()[t].Name // a shared account with a space in its name
	}
	p.Known = true
	p.mixed, p.latin = mixedCase(p.User), latin1(p.User)
	p.subject = m.addSubject(strings.ToLower(p.User), u)
	p.SignsIn = !(n > 20 && r.chance(30))
	if u.Population != PopulationPupil && n > 20 && r.chance(100) {
		// Some work over the VPN: their addresses are the tenant's, of no unit.
		for _, s := range m.units {
			if s.Tenant == u.Tenant && s.Name == unitShared {
				p.roam = m.addAddress(s, false)
			}
		}
	}
	m.people = append(m.people, p)
}

// userName answers user name and mail address in the tenant's style.
func (m *Municipality) userName(t int, given, family string, taken map[string]int) (user, mail string) {
	tenant := Tenants()[t]
	plainGiven, plainFamily := plainLetters(given), plainLetters(family)
	// Two names that look alike in mail or to the sign-in must not share a number, so both count under the plainest form.
	base := tenant.Mail + plainGiven + "." + plainFamily
	if t == 1 {
		base = tenant.Mail + plainGiven[:2] + plainFamily[:2]
	}
	taken[base]++
	n, suffix := taken[base], ""
	if n > 1 {
		suffix = fmt.Sprint(n)
	}
	mail = plainGiven + "." + plainFamily + suffix + "@" + tenant.Mail
	switch t {
	case 0:
		user = plainGiven + "." + plainFamily + suffix
	case 1:
		user = fmt.Sprintf("%s\\%s%s%02d", strings.ToUpper(tenant.Name), plainGiven[:2], plainFamily[:2], n)
	default:
		user = strings.ToLower(given+"."+family) + suffix + "@" + tenant.Mail
	}
	return user, mail
}

// plainLetters writes a name as mail addresses do: lower case, without marks.
func plainLetters(name string) string {
	return strings.NewReplacer("å", "a", "ä", "a", "ö", "o", "é", "e", "ë", "e", "č", "c", "ć", "c", "ü", "u", "ı", "i", "í", "i").
		Replace(strings.ToLower(name))
}

// mixedCase writes a user name as people type it on a bad day: capital letters where the directory has none.
func mixedCase(user string) string {
	rs := []rune(user)
	for i := range rs {
		if i == 0 || rs[i-1] == '.' || rs[i-1] == '\\' {
			rs[i] = []rune(strings.ToUpper(string(rs[i])))[0]
		}
	}
	return string(rs)
}

// latin1 writes a user name in ISO 8859-1; as it is, where that has not all its letters.
func latin1(user string) string {
	var b []byte
	for _, c := range user {
		if c > 0xff {
			return user
		}
		b = append(b, byte(c))
	}
	return string(b)
}
