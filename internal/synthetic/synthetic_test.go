package synthetic

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oschwald/geoip2-golang/v2"
	"golang.org/x/net/publicsuffix"
)

// small is a municipality that tests can afford, over the end of summer time and of a month.
func small(change func(*Config)) Config {
	c := DefaultConfig()
	c.People, c.From, c.Days, c.Lines = 900, "2026-10-24", 9, 60_000
	if change != nil {
		change(&c)
	}
	return c
}

func build(t *testing.T, c Config) *Municipality {
	t.Helper()
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func lines(t *testing.T, m *Municipality, each func(line []byte)) (sum string, n int64) {
	t.Helper()
	h := sha256.New()
	var line []byte
	for {
		var ok bool
		if line, ok = m.Next(line[:0]); !ok {
			return hex.EncodeToString(h.Sum(nil)[:8]), n
		}
		if bytes.IndexByte(line, '\n') >= 0 {
			t.Fatal("a line end within a line")
		}
		if each != nil {
			each(line)
		}
		h.Write(line)
		h.Write([]byte{'\n'})
		n++
	}
}

// A changed golden sum means that every truth anybody kept is void: change it on purpose only.
func TestSameSeedSameBytes(t *testing.T) {
	golden := map[string]bool{}
	for format, want := range map[string]string{
		"squid_native":    "5c1637e32fc92a66",
		"squid_syslog":    "3cde6fd31a82a0f0",
		"squid_common":    "bc91b65bcef4d005",
		"squid_combined":  "95b993a52952166b",
		"squid_logformat": "3a6692ce35083e4d",
		"squid_extended":  "336d574457e6cfa2", "bluecoat_w3c": "1495a6249a3dfded", "bluecoat_kv": "e652ff58535ff5a2", "zscaler_nss_json": "d220410850d1118b", "zscaler_nss_text": "65d2c2d1a3db516c", "fortigate_kv": "e18abddcdaef6f5c",
		"panw_threat_url": "601d6e4041b812da", "umbrella_proxy_csv": "9620f6a0a6719db4", "cisco_wsa": "0986a011fec589e5", "sophos_xg_kv": "23d7f1be9d94b795", "sophos_swa_kv": "0868ab393862fbf0", "forcepoint_web_csv": "ab1a22a02a2c844e",
		"entra_gsa_json": "ed57d558c4954ba3", "vmware_cws_json": "aaba15e83414cb9d", "squidguard": "c69765e8ccaff534", "dansguardian": "aeaa3a249977dac0", "zeek_http_tsv": "186f956641ff234e", "ndjson": "35e86780c2cd9bdc",
		"exchange_msgtrk_csv": "4f27c3c638d701cb", "exchange2003_msgtrk_tsv": "843d9b7637968493", "postfix_syslog": "3d215c2dc3e87061", "m365_message_trace_json": "242c29b114e74c38",
		"m365_message_trace_csv": "cb91b8a16302fd79", "rspamd_json": "49ee6f8724f9f765", "ndjson_mail": "9e5d16fb1dfd36b4",
	} {
		golden[format] = true
		c := small(func(c *Config) { c.Format, c.Bad, c.Latin1, c.Lines = format, 0.01, 0.5, 10_000 })
		a, n := lines(t, build(t, c), nil)
		if a != want {
			t.Errorf("%s: sum %s, want %s", format, a, want)
		}
		if f, _ := FormatByName(format); f.Mail {
			if n < c.Lines/10 {
				t.Errorf("%s: %d lines of %d messages", format, n, c.Lines/10)
			}
		} else if n != c.Lines {
			t.Errorf("%s: %d lines, want %d", format, n, c.Lines)
		}
		if format != "squid_native" && format != "postfix_syslog" {
			continue // one of a kind will do
		}
		if b, _ := lines(t, build(t, c), nil); a != b {
			t.Errorf("%s: two runs of one seed differ", format)
		}
		c.Seed++
		if other, _ := lines(t, build(t, c), nil); other == a {
			t.Errorf("%s: another seed gives the same bytes", format)
		}
	}
	for _, name := range FormatNames() {
		if !golden[name] {
			t.Errorf("%s has no golden sum", name)
		}
	}
}

func TestFilesAreTheSameEachTime(t *testing.T) {
	write := func() (out bytes.Buffer) {
		m := build(t, small(nil))
		if err := m.WriteDirectory(&out); err != nil {
			t.Fatal(err)
		}
		if err := m.WriteCountries(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b := write(), write()
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("directory or country database differ between two municipalities of one seed")
	}
}

// A reader is the slow, independent reading of the definitions in doc.go: it knows the written files and the events, and
// nothing of how the simulation or its truth keep their books.
type reader struct {
	users     map[string][3]string
	mails     map[string][3]string
	subnets   map[netip.Prefix][3]string
	found     map[string][3]string // by address, since there are many subnets to look through
	lists     map[string]string
	countries *geoip2.Reader
	zone      *time.Location
	sums      map[Cell]*Cell
	people    map[Cell]map[string]bool
	slots     map[Cell]map[string]bool
}

func newReader(t *testing.T, m *Municipality) *reader {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	if err := m.WriteDirectory(&b); err != nil {
		t.Fatal(err)
	}
	r := &reader{users: map[string][3]string{}, mails: map[string][3]string{}, subnets: map[netip.Prefix][3]string{}, lists: map[string]string{}, found: map[string][3]string{},
		sums: map[Cell]*Cell{}, people: map[Cell]map[string]bool{}, slots: map[Cell]map[string]bool{}}
	in := csv.NewReader(&b)
	head, err := in.Read()
	if err != nil || !slices.Equal(head, []string{"user", "subnet", "mail", "tenant", "population", "unit"}) {
		t.Fatalf("header of the directory: %v, %v", head, err)
	}
	for {
		row, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		who := [3]string(row[3:6])
		switch {
		case row[0] != "" && row[1] == "" && row[2] == "":
			if _, twice := r.users[strings.ToLower(row[0])]; twice {
				t.Fatal("a user stands twice in the directory")
			}
			r.users[strings.ToLower(row[0])] = who
		case row[1] != "" && row[0] == "" && row[2] == "":
			p := netip.MustParsePrefix(row[1])
			if _, twice := r.subnets[p]; twice || p != p.Masked() {
				t.Fatalf("subnet %v stands twice, or has host bits", p)
			}
			r.subnets[p] = who
		case row[2] != "" && row[0] == "" && row[1] == "":
			if _, twice := r.mails[row[2]]; twice || row[2] != strings.ToLower(row[2]) {
				t.Fatal("a mail address stands twice in the directory, or has capital letters")
			}
			r.mails[row[2]] = who
		default:
			t.Fatal("a directory row without exactly one key")
		}
	}
	if err := m.WriteLists(filepath.Join(dir, "lists")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "lists", "*.txt"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d lists, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if _, twice := r.lists[line]; twice {
				t.Fatalf("%s stands in two lists", line)
			}
			r.lists[line] = strings.TrimSuffix(filepath.Base(f), ".txt")
		}
	}
	db, err := os.Create(filepath.Join(dir, "country.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteCountries(db); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if r.countries, err = geoip2.Open(db.Name()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.countries.Close() })
	if r.zone, err = time.LoadLocation("Europe/Stockholm"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) read(t *testing.T, e *Event, f Format, classes map[string]string) {
	user := e.User
	if !utf8.ValidString(user) {
		var wide []rune
		for i := range len(user) {
			wide = append(wide, rune(user[i]))
		}
		user = string(wide)
	}
	subject := strings.ToLower(user)
	if subject == "" {
		subject = e.SourceIP
	}
	who, known := r.users[subject]
	if !known || user == "" {
		if who, known = r.found[e.SourceIP]; !known {
			who = [3]string{"algkoping", "unknown", "unknown"}
			best := -1
			for p, w := range r.subnets {
				if p.Contains(netip.MustParseAddr(e.SourceIP)) && p.Bits() > best {
					who, best = w, p.Bits()
				}
			}
			r.found[e.SourceIP] = who
		}
	}
	host := e.Host.Name
	site, err := publicsuffix.EffectiveTLDPlusOne(host)
	if _, ip := netip.ParseAddr(host); err != nil || ip == nil {
		site = host
	}
	category := "uncategorised"
	for rest := host; ; {
		if c, ok := r.lists[rest]; ok {
			category = c
			break
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	class := classes[category]
	domain := site
	if class == "protected" {
		domain = "(protected)"
	}
	country := "ZZ"
	if e.ServerIP != "" && f.Server {
		c, err := r.countries.Country(netip.MustParseAddr(e.ServerIP))
		if err != nil {
			t.Fatal(err)
		}
		if c.Country.ISOCode != "" {
			country = c.Country.ISOCode
		}
	}
	at := time.UnixMilli(e.Time)
	hour := at.UTC().Truncate(time.Hour).Format(time.RFC3339)
	day, month := at.In(r.zone).Format("2006-01-02"), at.In(r.zone).Format("2006-01")
	slot := subject + " " + site + " " + time.Unix(e.Time/1000/300*300, 0).UTC().String()
	for _, unit := range []string{who[2], ""} {
		for _, c := range []Cell{
			{Level: "category_hour", Period: hour, Category: category}, {Level: "category_hour", Period: hour},
			{Level: "category_day", Period: day, Category: category}, {Level: "category_day", Period: day},
			{Level: "category_month", Period: month, Category: category}, {Level: "category_month", Period: month},
			{Level: "domain_day", Period: day, Domain: domain, Category: category},
			{Level: "domain_month", Period: month, Domain: domain, Category: category},
			{Level: "country_day", Period: day, Country: country}, {Level: "country_month", Period: month, Country: country},
		} {
			c.Tenant, c.Population, c.Unit = who[0], who[1], unit
			sum := r.sums[c]
			if sum == nil {
				sum = new(Cell)
				r.sums[c], r.people[c], r.slots[c] = sum, map[string]bool{}, map[string]bool{}
			}
			sum.Requests++
			if strings.HasPrefix(e.Result, "TCP_DENIED") && f.Verdict {
				sum.Blocked++
			}
			if f.Received {
				sum.BytesIn += e.BytesIn
			}
			if f.Sent {
				sum.BytesOut += e.BytesOut
			}
			if who[1] == "guest" {
				continue
			}
			if e.User != "" || e.Status != 407 || !f.Status {
				r.people[c][subject] = true
			}
			if class != "background" && (e.Status != 407 || !f.Status) {
				r.slots[c][slot] = true
			}
		}
	}
}

func TestTruthIsWhatTheDefinitionsSay(t *testing.T) {
	for name, from := range map[string]string{
		"squid_native": "2026-10-24", "squid_common": "2027-03-27", "squid_logformat": "2026-12-24", // both ends of summer time, and of a year
		"panw_threat_url": "2026-10-24", "zeek_http_tsv": "2026-10-24", "squidguard": "2026-10-24", // without bytes, verdict, status
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := FormatByName(name)
			m := build(t, small(func(c *Config) {
				c.From = from
				c.Format, c.Bad, c.Latin1, c.Shards, c.Lines = name, 0.03, 0.3, 7, 15_000
			}))
			r := newReader(t, m)
			var events, bad, last int64
			shards := make([]ShardTotals, 7)
			shardOf := map[string]int{}
			for {
				e, ok := m.NextEvent()
				if !ok {
					break
				}
				shards[e.Shard].Lines++
				if e.Bad != "" {
					bad++
					shards[e.Shard].Bad++
					continue
				}
				events++
				shards[e.Shard].Events++
				if e.Time < last {
					t.Fatal("time goes backwards")
				}
				last = e.Time
				if at, seen := shardOf[e.Subject]; seen && at != e.Shard {
					t.Fatal("a subject in two shards")
				}
				shardOf[e.Subject] = e.Shard
				r.read(t, e, f, m.Classes())
			}
			truth := m.Truth()
			if truth.Totals.Events != events || truth.Totals.Lines != events+bad || bad < 300 {
				t.Errorf("totals %+v; read %d events and %d bad lines", truth.Totals, events, bad)
			}
			var sum int64
			for _, n := range truth.Totals.Bad {
				sum += n
			}
			if sum != bad || len(truth.Totals.Bad) != len(BadReasons()) {
				t.Errorf("bad lines by reason: %v; read %d", truth.Totals.Bad, bad)
			}
			if !slices.Equal(truth.Totals.Shards, shards) {
				t.Errorf("shards %+v, want %+v", truth.Totals.Shards, shards)
			}
			faults, levels, zero := 0, map[string]int{}, Cell{}
			for c := range truth.Cells() {
				levels[c.Level]++
				key := c
				key.Requests, key.Blocked, key.BytesIn, key.BytesOut, key.People, key.ActiveSlots = 0, 0, 0, 0, 0, 0
				want := r.sums[key]
				if want == nil {
					want = &zero
				}
				w := key
				w.Requests, w.Blocked, w.BytesIn, w.BytesOut = want.Requests, want.Blocked, want.BytesIn, want.BytesOut
				w.People, w.ActiveSlots = int64(len(r.people[key])), int64(len(r.slots[key]))
				if c != w {
					if faults++; faults < 10 {
						t.Errorf("truth %+v\n want %+v", c, w)
					}
				}
				delete(r.sums, key)
			}
			if faults > 0 || len(r.sums) > 0 {
				t.Errorf("%d cells differ, %d are missing", faults, len(r.sums))
			}
			for key := range r.sums {
				t.Errorf("missing, for instance: %+v", key)
				break
			}
			if len(levels) != 7 || levels[LevelCategoryMonth] < 200 {
				t.Errorf("levels %v", levels)
			}
		})
	}
}

func TestDaysWithoutLinesRunToTheirEnd(t *testing.T) {
	m := build(t, small(func(c *Config) { c.Lines, c.Days, c.People, c.From = 0, 1, 500, "2026-10-25" }))
	var n int64
	var first, last int64
	for {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		if n == 0 {
			first = e.Time
		}
		n++
		last = e.Time
	}
	begin := time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC) // local midnight in summer time; the day has 25 hours
	if got := time.UnixMilli(first); got.Before(begin) || got.After(begin.Add(30*time.Minute)) {
		t.Errorf("first request at %v", got)
	}
	if got := time.UnixMilli(last).Sub(begin); got < 24*time.Hour+50*time.Minute || got > 26*time.Hour {
		t.Errorf("last request %v after the beginning of the day", got)
	}
	if truth := m.Truth(); truth.Totals.Lines != n || n < 5000 {
		t.Errorf("%d lines, truth says %d", n, truth.Totals.Lines)
	}
	if _, ok := m.NextEvent(); ok {
		t.Error("an event after the truth")
	}
}

func TestRhythm(t *testing.T) {
	m := build(t, small(func(c *Config) { c.From, c.Days, c.Lines = "2026-10-19", 7, 80_000 }))
	zone, _ := time.LoadLocation(TimeZone)
	hours := map[string]*[24]int{}
	days := map[string]*[7]int{}
	for {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		at := time.UnixMilli(e.Time).In(zone)
		if hours[e.Population] == nil {
			hours[e.Population], days[e.Population] = new([24]int), new([7]int)
		}
		if wd := at.Weekday(); wd != time.Saturday && wd != time.Sunday {
			hours[e.Population][at.Hour()]++
		}
		days[e.Population][at.Weekday()]++
	}
	staff, pupil, elected := hours[PopulationStaff], hours[PopulationPupil], hours[PopulationElected]
	if staff[9] < 10*staff[3] || staff[9] < 3*staff[19] {
		t.Errorf("staff by hour: %v", staff)
	}
	if pupil[9] < 3*pupil[18] || pupil[3] > pupil[9]/20 {
		t.Errorf("pupils by hour: %v", pupil)
	}
	if elected[19] < elected[10] {
		t.Errorf("elected by hour: %v", elected)
	}
	if d := days[PopulationStaff]; d[time.Tuesday] < 3*d[time.Sunday] {
		t.Errorf("staff by weekday: %v", d)
	}
	for _, p := range []string{PopulationStaff, PopulationElected, PopulationPupil, PopulationGuest, PopulationUnknown} {
		if days[p] == nil {
			t.Errorf("nobody of population %s", p)
		}
	}
}

func TestUnitsOfEverySize(t *testing.T) {
	m := build(t, DefaultConfig())
	sizes := map[int]bool{}
	populations := map[[2]string]bool{}
	persons, largest := 0, 0
	for _, u := range m.Units() {
		sizes[u.People] = true
		populations[[2]string{u.Tenant, u.Population}] = true
		persons += u.People
		largest = max(largest, u.People)
		for _, s := range u.Subnets {
			for _, o := range m.Units() {
				for _, other := range o.Subnets {
					if u != o && s == other {
						t.Errorf("%s and %s have the same subnet", u.Name, o.Name)
					}
				}
			}
		}
	}
	for n := 2; n <= 16; n++ {
		if !sizes[n] && n != 13 && n != 15 {
			t.Errorf("no unit of %d", n)
		}
	}
	for _, bounds := range [][2]int{{20, 50}, {50, 100}, {100, 200}, {200, 400}, {400, 700}, {900, 1100}} {
		found := false
		for n := range sizes {
			found = found || n >= bounds[0] && n <= bounds[1]
		}
		if !found {
			t.Errorf("no unit of %d to %d", bounds[0], bounds[1])
		}
	}
	if largest > 1200 || persons < 8800 || persons > 9100 {
		t.Errorf("%d persons, the largest unit has %d", persons, largest)
	}
	if len(populations) != 3*4+1 {
		t.Errorf("tenants and populations: %v", populations)
	}
}

func TestStoriesAreThere(t *testing.T) {
	m := build(t, small(func(c *Config) { c.From, c.Days, c.Lines, c.People = "2026-10-19", 5, 100_000, 2000 }))
	for {
		if _, ok := m.NextEvent(); !ok {
			break
		}
	}
	truth := m.Truth()
	names := map[string]Story{}
	for _, s := range truth.Stories {
		names[s.Name] = s
		if s.Requests == 0 || s.Unit == "" || len(s.Users) == 0 || len(s.Sites) == 0 || s.Category == "" {
			t.Errorf("story %s is empty: %+v", s.Name, s)
		}
	}
	if len(names) != 5 {
		t.Errorf("stories: %v", names)
	}
	gambling := map[string]Cell{}
	var protected, secret, heavy Cell
	for c := range truth.Cells() {
		switch {
		case c.Level == LevelCategoryMonth && c.Category == "gambling" && c.Unit != "" && c.Population == PopulationStaff:
			gambling[c.Tenant+"/"+c.Unit] = c
		case c.Level == LevelDomainMonth && c.Tenant == "algkoping" && c.Unit == unitProtected && c.Domain == DomainProtected && c.Category == "crisis":
			protected = c
		case c.Domain == "stodlinjen.se" || c.Domain == "aa.se":
			secret = c
		case c.Level == LevelDomainMonth && c.Domain == "kvallsekot.example" && c.Unit == "Biblioteken" && c.Tenant == "algkoping":
			heavy = c
		}
	}
	most := gambling["algkoping/"+unitGambling]
	if most.People < 12 || most.ActiveSlots < 100 {
		t.Errorf("the unit that gambles: %+v", most)
	}
	for unit, c := range gambling {
		if unit != "algkoping/"+unitGambling && c.ActiveSlots*4 > most.ActiveSlots {
			t.Errorf("%s gambles as well: %+v", unit, c)
		}
	}
	if protected.People == 0 || protected.People > 2 || protected.ActiveSlots == 0 {
		t.Errorf("the two people: %+v", protected)
	}
	if secret.Requests != 0 {
		t.Errorf("a protected site by its name: %+v", secret)
	}
	if heavy.ActiveSlots == 0 || names[StoryTrackers].Requests < 20*heavy.ActiveSlots {
		t.Errorf("the site with trackers: %+v, %d requests", heavy, names[StoryTrackers].Requests)
	}
}

func TestNamesInUTF8AndLatin1(t *testing.T) {
	m := build(t, small(func(c *Config) { c.Latin1 = 0.5 }))
	var utf, latin, mixed, spaced, back, plain, escaped int
	for {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		switch {
		case !utf8.ValidString(e.User):
			latin++
		case strings.ContainsAny(e.User, "åäöÅÄÖé"):
			utf++
		default:
			plain++
		}
		if e.User != strings.ToLower(e.User) && utf8.ValidString(e.User) && !strings.HasPrefix(e.User, `SUNDHAMRA\`) {
			mixed++
		}
		if strings.Contains(e.User, " ") {
			spaced++
		}
		if strings.Contains(e.User, `\`) {
			back++
			if line := newSquidNative(nil)(nil, e); bytes.Contains(line, []byte(`SUNDHAMRA\\`)) {
				escaped++
			}
		}
		if e.User != "" && !utf8.ValidString(e.Subject) {
			t.Fatal("a subject that is not UTF-8")
		}
	}
	if utf < 100 || latin < 100 || mixed < 50 || spaced == 0 || back < 100 || plain < 1000 || escaped != back {
		t.Errorf("utf8 %d, latin1 %d, mixed %d, with space %d, with backslash %d (escaped %d), plain %d", utf, latin, mixed, spaced, back, escaped, plain)
	}
	for _, c := range []struct{ in, want string }{
		{"åsa.öberg", "%c3%a5sa.%c3%b6berg"}, {"\xe5sa", "%e5sa"}, {`A\b`, `A\\b`}, {"a b", "a b"}, {"[50%]", "%5b50%25%5d"}, {"", "-"},
	} {
		if got := string(appendUser(nil, c.in)); got != c.want {
			t.Errorf("user %q is written %q, want %q", c.in, got, c.want)
		}
	}
}

func TestLinesLookLikeSquid(t *testing.T) {
	fields := func(format string) (least, most int) {
		m := build(t, small(func(c *Config) { c.Format, c.Lines = format, 5000 }))
		least = 1000
		lines(t, m, func(line []byte) {
			if !utf8.Valid(line) && format != "squid_combined" {
				t.Errorf("%s: a byte outside UTF-8", format)
			}
			n := len(bytes.Fields(line))
			least, most = min(least, n), max(most, n)
		})
		return least, most
	}
	// One more where the user name has a space in it; user agents have many.
	for format, want := range map[string][2]int{"squid_native": {10, 11}, "squid_syslog": {15, 16}, "squid_common": {11, 12}} {
		if least, most := fields(format); least != want[0] || most > want[1] {
			t.Errorf("%s: %d to %d fields, want %v", format, least, most, want)
		}
	}
}

func TestEveryDestinationIsInItsCountry(t *testing.T) {
	m := build(t, small(nil))
	r := newReader(t, m)
	unknown := 0
	for _, d := range m.web.destinations {
		c, err := r.countries.Country(netip.MustParseAddr(d.address))
		if err != nil {
			t.Fatal(err)
		}
		want := m.web.countries[d.country]
		if want == CountryUnknown {
			unknown++
			want = ""
		}
		if c.Country.ISOCode != want {
			t.Errorf("%s is in %q, want %q", d.address, c.Country.ISOCode, want)
		}
	}
	if unknown == 0 {
		t.Error("no server is in no country")
	}
}

func TestBadLines(t *testing.T) {
	m := build(t, small(func(c *Config) { c.Bad, c.Lines = 0.2, 14_000 }))
	seen := map[string]int{}
	for {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		if e.Bad == "" {
			continue
		}
		seen[e.Bad]++
		for _, f := range Formats() {
			if f.Mail {
				continue
			}
			line := AppendLine(nil, e, f.New(m.zone))
			switch e.Bad {
			case BadTruncated:
				if len(line) > 30 {
					t.Fatalf("%s: a line of %d bytes is not cut short", f.Name, len(line))
				}
			case BadNUL:
				if bytes.IndexByte(line, 0) < 0 {
					t.Fatalf("%s: no zero byte", f.Name)
				}
			case BadNegative:
				if !regexp.MustCompile(`[ =\t:",]-[0-9]`).Match(line) || e.BytesIn >= 0 {
					t.Fatalf("%s: no negative size", f.Name)
				}
			case BadTime:
				if y := time.UnixMilli(e.Time).UTC().Year(); y != 1970 && y != 2099 {
					t.Fatalf("year %d", y)
				}
			}
		}
	}
	for _, reason := range BadReasons() {
		if seen[reason] < 400 {
			t.Errorf("%d lines are %s", seen[reason], reason)
		}
	}
}

func TestValidateTellsAllFaults(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{People: 1, From: "yesterday", Days: 0, Lines: -1, Shards: 0, Bad: 2, Latin1: -1, Format: "morse"}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, word := range []string{"people", "from", "days", "lines", "shards", "bad", "latin1", "morse"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("nothing about %s in: %v", word, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New takes a Config that Validate refuses")
	}
}

func TestTruthIsReadableJSON(t *testing.T) {
	m := build(t, small(func(c *Config) { c.Lines = 5000 }))
	lines(t, m, nil)
	truth := m.Truth()
	var head, cells bytes.Buffer
	if err := truth.Write(&head); err != nil {
		t.Fatal(err)
	}
	var back Truth
	if err := json.Unmarshal(head.Bytes(), &back); err != nil || back.Totals.Lines != 5000 || len(back.Stories) != 5 {
		t.Errorf("%v, %+v", err, back.Totals)
	}
	if err := truth.WriteCells(&cells); err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(&cells)
	for want := range truth.Cells() {
		var got Cell
		if err := in.Decode(&got); err != nil || got != want {
			t.Fatalf("%v: %+v, want %+v", err, got, want)
		}
	}
	if in.More() {
		t.Error("more cells in the file than in the truth")
	}
}

func TestBounds(t *testing.T) {
	for _, people := range []int{minPeople, 20_000} {
		m := build(t, small(func(c *Config) { c.People, c.Lines, c.Days = people, 20_000, 1 }))
		r := newReader(t, m) // looks for keys that stand twice
		for i := range m.people {
			p := &m.people[i]
			a := netip.MustParseAddr(m.addresses[p.home].text)
			best, who := -1, [3]string{"algkoping", "unknown", "unknown"}
			for s, w := range r.subnets {
				if s.Contains(a) && s.Bits() > best {
					best, who = s.Bits(), w
				}
			}
			if want := [3]string{p.Unit.Tenant, p.Unit.Population, p.Unit.Name}; who != want {
				t.Fatalf("people %d: an address of %v lies in the subnet of %v", people, want, who)
			}
			if p.User != "" && p.Known != (r.users[strings.ToLower(p.User)] != [3]string{}) {
				t.Fatal("known, but not in the directory")
			}
		}
		if _, n := lines(t, m, nil); n != 20_000 {
			t.Errorf("%d lines", n)
		}
	}
}

// However few lines and however many days, the stories leave room for the rest and the lines reach to the end.
func TestLinesSpreadOverDays(t *testing.T) {
	for _, days := range []int{1, 7, 60, 366} {
		m := build(t, small(func(c *Config) { c.People, c.Days, c.Lines, c.From = 600, days, 20_000, "2026-01-07" }))
		lines(t, m, nil)
		truth := m.Truth()
		begin := time.Date(2026, 1, 7, 0, 0, 0, 0, m.zone)
		end := begin.AddDate(0, 0, days)
		if share := truth.Totals.Last.Sub(begin).Hours() / end.Sub(begin).Hours(); share < 0.7 || share > 1.2 {
			t.Errorf("%d days: the lines end after %.2f of them", days, share)
		}
		var told int64
		for _, s := range truth.Stories {
			told += s.Requests
			if s.Requests == 0 {
				t.Errorf("%d days: nothing of story %s", days, s.Name)
			}
		}
		if told > truth.Totals.Lines*6/10 {
			t.Errorf("%d days: %d of %d lines are stories", days, told, truth.Totals.Lines)
		}
	}
}
