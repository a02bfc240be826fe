package synthetic

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// The classes of categories, as the policy of the municipality has them.
const (
	ClassForbidden  = "forbidden"
	ClassLimited    = "limited"
	ClassOrdinary   = "ordinary"
	ClassProtected  = "protected"
	ClassBackground = "background"
)

// Names of what is not known, and of what is not named.
const (
	CategoryUncategorised = "uncategorised" // a host in no list
	CountryUnknown        = "ZZ"            // no destination address, or one in no country
	DomainProtected       = "(protected)"   // stands for every site of class protected at the domain level
)

//go:embed data/categories.txt
var categoryText string

//go:embed data/sites.txt
var siteText string

//go:embed data/background.txt
var backgroundText string

//go:embed data/unvisited.txt
var unvisitedText string

// listedAddress is a bare address that stands in a list, as the squidGuard collections have them.
const listedAddress = "198.18.3.9"

// A Host is one that requests go to.
type Host struct {
	Name     string // a host name, or an IP address without brackets
	Site     string // its registrable domain (eTLD+1); itself where it has none
	Category string
	Class    string

	authority                     string // as a URL has it: IPv6 in brackets
	category, site                uint16
	domain                        uint16 // index of its cell at the domain level
	background, protected, denied bool
	destinations                  []uint16
}

// A destination is a server that the proxy spoke to.
type destination struct {
	address string
	country uint16
}

// A site is what people visit: pages of one host, with what the same site loads from its others.
type site struct {
	domain   string
	category uint16
	weight   uint32
	load     uint32 // background requests a page
	page     uint16
	assets   []uint16
	plain    bool // still without TLS
}

// A web is everything beyond the proxy. It does not change once built.
type web struct {
	categories   []string // in order of the alphabet, uncategorised among them
	classes      map[string]string
	lists        map[string][]string // category -> domains
	listed       map[string]string   // domain -> category
	hosts        []Host
	sites        []site
	background   []uint16
	byWeight     choice // over background
	domains      []domainKey
	countries    []string // in order of the alphabet; the last is CountryUnknown
	destinations []destination
}

// A domainKey is what names a cell at the domain level.
type domainKey struct{ domain, category string }

// Address plan of the destinations: each country has a /20 of 198.18.0.0/15 (RFC 2544) and a /48 of 2001:db8::/32
// (RFC 3849), by its place in the alphabet; the last /20 belongs to no country.
const maxCountries = 31

func blockV4(country int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(18 + country>>4), byte(country & 15 << 4), 0}), 20)
}

func blockV6(country int) netip.Prefix {
	var a [16]byte
	copy(a[:], []byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(country + 1)})
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

func rows(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' {
			out = append(out, strings.Split(line, "\t"))
		}
	}
	return out
}

func newWeb(r *random) (*web, error) {
	w := &web{classes: map[string]string{CategoryUncategorised: ClassOrdinary}, lists: map[string][]string{}, listed: map[string]string{}}
	for _, row := range rows(categoryText) {
		w.classes[row[0]] = row[1]
	}
	for c := range w.classes {
		w.categories = append(w.categories, c)
	}
	slices.Sort(w.categories)

	sites, backgrounds := rows(siteText), rows(backgroundText)
	seen := map[string]bool{}
	for _, row := range slices.Concat(sites, backgrounds, rows(unvisitedText)) {
		if row[1] != "-" {
			w.listed[row[0]] = row[1]
			w.lists[row[1]] = append(w.lists[row[1]], row[0])
		}
		if len(row) > 3 {
			for _, c := range strings.Split(row[3], ",") {
				seen[c] = true
			}
		}
	}
	w.listed[listedAddress] = "malware"
	w.lists["malware"] = append(w.lists["malware"], listedAddress)
	for _, list := range w.lists {
		slices.Sort(list)
	}
	for c := range seen {
		w.countries = append(w.countries, c)
	}
	slices.Sort(w.countries)
	if len(w.countries) > maxCountries {
		return nil, fmt.Errorf("synthetic: %d countries; the address plan has room for %d", len(w.countries), maxCountries)
	}
	unknown := len(w.countries)
	w.countries = append(w.countries, CountryUnknown)

	servers := make([]uint32, len(w.countries))
	newServer := func(country int, v6 bool) uint16 {
		servers[country]++
		n := servers[country]*7 + 10
		var a netip.Addr
		if v6 {
			b := blockV6(country).Addr().As16()
			b[14], b[15] = byte(n>>8), byte(n)
			a = netip.AddrFrom16(b)
		} else {
			block := country
			if country == unknown {
				block = maxCountries
			}
			b := blockV4(block).Addr().As4()
			a = netip.AddrFrom4([4]byte{b[0], b[1], b[2] + byte(n>>8), byte(n)})
		}
		w.destinations = append(w.destinations, destination{a.String(), uint16(country)})
		return uint16(len(w.destinations) - 1)
	}
	addHosts := func(row []string) (ids []uint16) {
		countries := strings.Split(row[3], ",")
		for _, label := range strings.Split(row[4], ",") {
			name := row[0]
			if label != "@" {
				name = label + "." + name
			}
			var to []uint16
			for _, c := range countries {
				at, _ := slices.BinarySearch(w.countries, c)
				to = append(to, newServer(at, false))
				if r.chance(200) {
					to = append(to, newServer(at, true))
				}
			}
			if r.chance(10) {
				to = append(to, newServer(unknown, false))
			}
			ids = append(ids, w.addHost(name, name, to))
		}
		return ids
	}
	for i, row := range sites {
		weight, err := strconv.Atoi(row[2])
		load, err2 := strconv.Atoi(row[5])
		if err != nil || err2 != nil {
			return nil, fmt.Errorf("synthetic: site %s: weight and load are whole numbers", row[0])
		}
		ids := addHosts(row)
		w.sites = append(w.sites, site{row[0], w.hosts[ids[0]].category, uint32(weight), uint32(load), ids[0], ids[1:], i%14 == 13})
	}
	// Sites without a name: an address in the URL is all there is.
	for i := range 10 {
		v6 := i%3 == 2
		d := newServer(i*5%len(w.countries), v6 && i*5%len(w.countries) != unknown)
		name := w.destinations[d].address
		w.addNumbered(name, d)
	}
	w.destinations = append(w.destinations, destination{listedAddress, uint16(countryOf(netip.MustParseAddr(listedAddress), unknown))})
	w.addNumbered(listedAddress, uint16(len(w.destinations)-1))

	var weights []uint32
	for _, row := range backgrounds {
		weight, err := strconv.Atoi(row[2])
		if err != nil {
			return nil, fmt.Errorf("synthetic: background %s: weight is a whole number", row[0])
		}
		ids := addHosts(row)
		for _, id := range ids {
			w.background = append(w.background, id)
			weights = append(weights, uint32(weight*12/len(ids)))
		}
	}
	w.byWeight = newChoice(weights)
	for _, h := range w.hosts {
		if len(h.destinations) == 0 {
			return nil, fmt.Errorf("synthetic: host %s has no server", h.Name)
		}
	}
	return w, nil
}

// countryOf answers the index of the country that an IPv4 destination lies in; unknown where that is none.
func countryOf(a netip.Addr, unknown int) int {
	for i := range unknown {
		if blockV4(i).Contains(a) {
			return i
		}
	}
	return unknown
}

func (w *web) addNumbered(address string, d uint16) {
	authority := address
	if strings.Contains(address, ":") {
		authority = "[" + address + "]"
	}
	id := w.addHost(address, authority, []uint16{d})
	w.sites = append(w.sites, site{address, w.hosts[id].category, 1, 0, id, nil, true})
}

func (w *web) addHost(name, authority string, to []uint16) uint16 {
	h := Host{Name: name, authority: authority, Site: registrable(name), Category: w.categoryOf(name), destinations: to}
	h.Class = w.classes[h.Category]
	h.background, h.protected = h.Class == ClassBackground, h.Class == ClassProtected
	at, _ := slices.BinarySearch(w.categories, h.Category)
	h.category = uint16(at)
	// What the proxy itself refuses, whoever asks.
	h.denied = slices.Contains([]string{"pornography", "malware", "phishing", "piracy"}, h.Category)

	key := domainKey{h.Site, h.Category}
	if h.protected {
		key.domain = DomainProtected
	}
	i := slices.Index(w.domains, key)
	if i < 0 {
		i = len(w.domains)
		w.domains = append(w.domains, key)
	}
	h.domain = uint16(i)
	h.site = uint16(len(w.hosts))
	if first := slices.IndexFunc(w.hosts, func(o Host) bool { return o.Site == h.Site }); first >= 0 {
		h.site = w.hosts[first].site
	}
	w.hosts = append(w.hosts, h)
	return uint16(len(w.hosts) - 1)
}

// registrable answers the registrable domain of a host; the host itself where it is an address or a public suffix.
func registrable(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

// categoryOf answers the category of the longest suffix of host, whole labels only, that is in a list.
func (w *web) categoryOf(host string) string {
	for rest := host; ; {
		if c, ok := w.listed[rest]; ok {
			return c
		}
		_, after, more := strings.Cut(rest, ".")
		if !more {
			return CategoryUncategorised
		}
		rest = after
	}
}
