package resolve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := Config{Refresh: time.Millisecond, Tenants: []Tenant{
		{Name: "A"}, {Name: "b", TimeZone: "Mars/Olympus", Populations: []string{"aliens"}, Serves: []string{"b", "c"}}, {Name: "b", TimeZone: "Local"}, {Name: "d", TimeZone: "Asia/Kolkata"},
		{Name: "e", TimeZone: "Australia/Lord_Howe"}, // half an hour in summer
	}}.Validate()
	for _, want := range []string{
		"refresh:", "tenants[0].name:", "tenants[1].time_zone:", "tenants[1].populations[0]:", "tenants[1].serves[0]:",
		"tenants[1].serves[1]:", "tenants[2].name:", "tenants[2].time_zone:", "tenants[3].time_zone: days of", "tenants[4].time_zone: days of",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if (Config{Refresh: time.Minute}).Validate() == nil {
		t.Error("no tenant is valid")
	}
}

func TestLocation(t *testing.T) {
	c := DefaultConfig()
	c.Tenants = []Tenant{{Name: "a"}, {Name: "b", TimeZone: "Europe/Helsinki"}}
	r, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]string{"a": DefaultTimeZone, "b": "Europe/Helsinki", "elsewhere": DefaultTimeZone} {
		if got := r.Location(tenant).String(); got != want {
			t.Errorf("%s: %s, want %s", tenant, got, want)
		}
	}
}

// A house is a resolver over two files in a folder of its own.
type house struct {
	*Resolver
	t         testing.TB
	directory string
	country   string
	clock     time.Time
	log       *bytes.Buffer
}

func newHouse(t testing.TB) *house {
	dir := t.TempDir()
	h := &house{t: t, directory: filepath.Join(dir, "directory.csv"), clock: time.Unix(1_800_000_000, 0), log: new(bytes.Buffer)}
	h.country = copyFile(t, sharedData(t, "geoip/maxmind-test/GeoIP2-Country-Test.mmdb"), filepath.Join(dir, "country.mmdb"))
	h.write("user,population,unit\nanna,staff,Before\n")
	c := DefaultConfig()
	c.Directory, c.Country = h.directory, h.country
	var err error
	h.Resolver, err = New(c, Options{Now: func() time.Time { return h.clock }, Logger: slog.New(slog.NewTextHandler(h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// write replaces the directory as editors do, and dates it one minute after the last write.
func (h *house) write(text string) {
	h.t.Helper()
	h.clock = h.clock.Add(time.Minute)
	if err := os.WriteFile(h.directory+".new", []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chtimes(h.directory+".new", h.clock, h.clock); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(h.directory+".new", h.directory); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) unit() string { return h.Who("default", []byte("anna"), netip.Addr{}).Unit }

func TestLoad(t *testing.T) {
	h := newHouse(t)
	if h.unit() != UnitUnknown || h.Country(netip.MustParseAddr("89.160.20.112")) != CountryUnknown {
		t.Error("New has read a file")
	}
	if err := h.Load(); err != nil {
		t.Fatal(err)
	}
	if h.unit() != "Before" || h.Country(netip.MustParseAddr("89.160.20.112")) != "SE" || h.Generation() != 2 {
		t.Errorf("after Load: unit %s, generation %d", h.unit(), h.Generation())
	}
	for _, path := range []string{h.directory, h.country} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	again, err := New(h.config, Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Load(); err == nil || !strings.Contains(err.Error(), "directory file") || !strings.Contains(err.Error(), "country file") {
		t.Errorf("missing files: %v", err)
	}
	none, err := New(DefaultConfig(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := none.Load(); err != nil {
		t.Errorf("no files are configured: %v", err)
	}
}

func TestReloadStory(t *testing.T) {
	h := newHouse(t)
	if err := h.Load(); err != nil {
		t.Fatal(err)
	}
	memo := NewMemo(h.Resolver, 10)
	memoUnit := func() string { return memo.Who("default", []byte("anna"), netip.Addr{}).Unit }
	step := func(want string, broken bool) {
		t.Helper()
		if err := h.Reload(); (err != nil) != broken {
			t.Errorf("broken is %v, but Reload says: %v", broken, err)
		}
		if h.unit() != want || memoUnit() != want {
			t.Errorf("unit %s, memo %s, want %s", h.unit(), memoUnit(), want)
		}
		if (h.Healthy() != nil) != broken {
			t.Errorf("broken is %v, but Healthy says: %v", broken, h.Healthy())
		}
	}
	step("Before", false)

	h.write("user,population,unit\nanna,staff,After\n")
	step("Before", false) // it may still be written
	step("After", false)

	h.write("user,population,unit\nanna,staff\n")
	step("After", false)
	step("After", true)
	step("After", true)
	if n := strings.Count(h.log.String(), "cannot be used"); n != 1 {
		t.Errorf("one broken file was logged %d times", n)
	}
	if strings.Contains(h.log.String(), "anna") {
		t.Errorf("the log names a person: %s", h.log)
	}

	h.write("user,population,unit\nanna,staff,Mended\n")
	step("After", true) // not read yet
	step("Mended", false)

	if err := os.Remove(h.directory); err != nil {
		t.Fatal(err)
	}
	step("Mended", true)
	h.write("user,population,unit\nbjörn,staff,Later\n")
	step("Mended", true) // seen, still broken until it is read
	step(UnitUnknown, false)

	before := h.Generation()
	copyFile(t, sharedData(t, "geoip/maxmind-test/GeoLite2-ASN-Test.mmdb"), h.country+".new")
	if err := os.Rename(h.country+".new", h.country); err != nil {
		t.Fatal(err)
	}
	step(UnitUnknown, false)
	step(UnitUnknown, true)
	if h.Country(netip.MustParseAddr("89.160.20.112")) != "SE" || h.Generation() != before {
		t.Error("a database without countries was taken")
	}
	copyFile(t, sharedData(t, "geoip/geo-whois-asn-country.mmdb"), h.country+".new")
	if err := os.Rename(h.country+".new", h.country); err != nil {
		t.Fatal(err)
	}
	step(UnitUnknown, true)
	step(UnitUnknown, false)
	if h.Country(netip.MustParseAddr("193.10.2.1")) != "SE" || h.Generation() != before+1 {
		t.Error("the new database was not taken")
	}
}

func TestMetrics(t *testing.T) {
	h := newHouse(t)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(h.Resolver); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(); err != nil {
		t.Fatal(err)
	}
	h.write("nonsense")
	_ = h.Reload()
	_ = h.Reload()
	want := `
# HELP tillsyn_resolve_broken 1 while the file on disk cannot be used and the one before it is.
# TYPE tillsyn_resolve_broken gauge
tillsyn_resolve_broken{file="country"} 0
tillsyn_resolve_broken{file="directory"} 1
# HELP tillsyn_resolve_directory_rows Rows of the directory in use.
# TYPE tillsyn_resolve_directory_rows gauge
tillsyn_resolve_directory_rows 1
# HELP tillsyn_resolve_reloads_total Files of the resolver that were read, by file and outcome.
# TYPE tillsyn_resolve_reloads_total counter
tillsyn_resolve_reloads_total{file="country",outcome="success"} 1
tillsyn_resolve_reloads_total{file="directory",outcome="failure"} 1
tillsyn_resolve_reloads_total{file="directory",outcome="success"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"tillsyn_resolve_broken", "tillsyn_resolve_directory_rows", "tillsyn_resolve_reloads_total"); err != nil {
		t.Error(err)
	}
}

func TestRunReloadsUntilItsContextEnds(t *testing.T) {
	h := newHouse(t)
	if err := h.Load(); err != nil {
		t.Fatal(err)
	}
	h.write("user,population,unit\nanna,staff,After\n")
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 3*h.config.Refresh)
		defer stop()
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if h.unit() != "After" {
		t.Errorf("unit %s", h.unit())
	}
}

// Readers see one whole directory or another while files are swapped under them.
func TestReloadRace(t *testing.T) {
	h := newHouse(t)
	if err := h.Load(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			memo := NewMemo(h.Resolver, 8)
			user, ip, last := []byte("anna"), netip.MustParseAddr("89.160.20.112"), -1
			for {
				select {
				case <-done:
					return
				default:
				}
				w := memo.Who("default", user, ip)
				n := 0
				if w.Unit != "Before" {
					if _, err := fmt.Sscanf(w.Unit, "Unit %d", &n); err != nil {
						t.Errorf("unit %q", w.Unit)
						return
					}
				}
				if n < last {
					t.Errorf("the directory went back from %d to %d", last, n)
					return
				}
				last = n
				if c := memo.Country(ip); c != "SE" {
					t.Errorf("country %s", c)
					return
				}
			}
		})
	}
	for i := range 100 {
		h.write(fmt.Sprintf("user,population,unit\nanna,staff,Unit %d\n", i+1))
		copyFile(t, sharedData(t, "geoip/maxmind-test/GeoIP2-Country-Test.mmdb"), h.country+".new")
		if err := os.Chtimes(h.country+".new", h.clock, h.clock); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(h.country+".new", h.country); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.Reload(); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
	if h.unit() != "Unit 100" {
		t.Errorf("unit %s", h.unit())
	}
}

func TestMemoKeepsNoViewAndStaysSmall(t *testing.T) {
	r := resolver(t, people)
	m := NewMemo(r, 4)
	user := []byte("anna")
	if w := m.Who("burlov", user, netip.Addr{}); w.Unit != "Skola" {
		t.Fatal(w)
	}
	copy(user, "xxxx") // the parser writes the next line over it
	if w := m.Who("burlov", []byte("anna"), netip.Addr{}); w.Unit != "Skola" || identity(w) != "anna" {
		t.Error("the memo kept a view of the line")
	}
	for i := range 1000 {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		m.Who("burlov", fmt.Appendf(nil, "user%d", i), ip)
		m.Country(ip)
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	if w := m.Who("burlov", long, netip.Addr{}); w.Unit != UnitUnknown || len(identity(w)) != 1<<20 {
		t.Error("a long name was not answered")
	}
	for _, n := range []int{m.tenants["burlov"].users.Len(), m.tenants["burlov"].addrs.Len(), m.countries.Len()} {
		if n > 4 {
			t.Errorf("the memo holds %d answers", n)
		}
	}
}

func TestMemoHitAllocatesNothing(t *testing.T) {
	r := resolver(t, people)
	m := NewMemo(r, 100)
	ip := netip.MustParseAddr("10.1.2.3")
	known, unknown := []byte(`burlov\björn`), bytes.Repeat([]byte("nobody"), 20)
	if n := testing.AllocsPerRun(1000, func() {
		m.Who("burlov", known, ip)
		m.Who("burlov", unknown, ip)
		m.Who("burlov", nil, ip)
		m.Country(ip)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMemo(b *testing.B) {
	r := resolver(b, people)
	m := NewMemo(r, 1<<16)
	users := make([][]byte, 10_000)
	addrs := make([]netip.Addr, len(users))
	for i := range users {
		users[i] = fmt.Appendf(nil, `burlov\user%05d`, i)
		addrs[i] = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
	}
	var i int
	one := []byte("anna")
	for name, f := range map[string]func(){
		"one known user":          func() { m.Who("burlov", one, addrs[0]) },
		"10000 users by address":  func() { m.Who("burlov", users[i%10_000], addrs[i%10_000]) },
		"10000 addresses":         func() { m.Who("burlov", nil, addrs[i%10_000]) },
		"10000 countries":         func() { m.Country(addrs[i%10_000]) },
		"10000 users, no memo":    func() { r.Who("burlov", users[i%10_000], addrs[i%10_000]) },
		"two tenants in exchange": func() { m.Who(municipalities[i%2].Name, one, addrs[0]) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
				i++
			}
		})
	}
}
