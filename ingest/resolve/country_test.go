package resolve

import (
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedData answers a path in the data beside the checkout. A clone without them skips, continuous integration must not.
func sharedData(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatalf("the shared data are missing: %v", err)
		}
		tb.Skipf("the shared data are missing: %v", err)
	}
	return path
}

func openCountry(tb testing.TB, name string) *CountryDatabase {
	tb.Helper()
	db, err := OpenCountry(sharedData(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func country(tb testing.TB, db *CountryDatabase, ip string) string {
	tb.Helper()
	code, err := db.Lookup(netip.MustParseAddr(ip))
	if err != nil {
		tb.Errorf("%s: %v", ip, err)
	}
	return code
}

// MaxMind publishes the source records of its test databases: both ends of every network must get its country.
func TestCountryEqualsMaxMindTruth(t *testing.T) {
	for _, name := range []string{"GeoIP2-Country-Test", "GeoLite2-Country-Test"} {
		t.Run(name, func(t *testing.T) {
			db := openCountry(t, "geoip/maxmind-test/"+name+".mmdb")
			text, err := os.ReadFile(sharedData(t, "geoip/maxmind-test/"+name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var truth []map[string]struct {
				Country struct {
					ISOCode string `json:"iso_code"`
				} `json:"country"`
			}
			if err := json.Unmarshal(text, &truth); err != nil {
				t.Fatal(err)
			}
			networks := map[netip.Prefix]string{}
			for _, entry := range truth {
				for cidr, record := range entry {
					prefix := netip.MustParsePrefix(cidr)
					networks[prefix] = record.Country.ISOCode
				}
			}
			checked := 0
			for prefix, want := range networks {
				ip := prefix.Addr().Unmap()
				if want == "" || !ip.IsGlobalUnicast() || ip.IsPrivate() {
					want = CountryUnknown
				}
				if got := country(t, db, ip.String()); got != want {
					t.Errorf("%v: country %s, want %s", prefix, got, want)
				}
				checked++
			}
			if checked < 200 {
				t.Errorf("only %d networks were compared", checked)
			}
		})
	}
}

func TestCountryOfEachDatabase(t *testing.T) {
	opened := map[string]*CountryDatabase{}
	open := func(name string) *CountryDatabase {
		if opened[name] == nil {
			opened[name] = openCountry(t, name)
		}
		return opened[name]
	}
	for _, c := range []struct{ database, ip, want string }{
		{"geoip/maxmind-test/GeoIP2-Country-Test.mmdb", "81.2.69.142", "GB"},
		{"geoip/maxmind-test/GeoIP2-Country-Test.mmdb", "89.160.20.112", "SE"},
		{"geoip/maxmind-test/GeoIP2-Country-Test.mmdb", "::ffff:89.160.20.112", "SE"},
		{"geoip/maxmind-test/GeoLite2-City-Test.mmdb", "89.160.20.112", "SE"},
		{"geoip/maxmind-test/GeoLite2-City-Test.mmdb", "2001:218::1", "JP"},
		{"geoip/iptoasn-country.mmdb", "8.8.8.8", "US"},
		{"geoip/iptoasn-country.mmdb", "130.241.0.1", "SE"},
		{"geoip/iptoasn-country.mmdb", "193.10.2.1", "ZZ"}, // no record
		{"geoip/geo-whois-asn-country.mmdb", "193.10.2.1", "SE"},
		{"geoip/geo-whois-asn-country.mmdb", "2001:6b0::1", "SE"},
	} {
		if got := country(t, open(c.database), c.ip); got != c.want {
			t.Errorf("%s: %s is in %s, want %s", c.database, c.ip, got, c.want)
		}
	}
	for _, ip := range []string{
		"10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.1.2.3",
	} {
		for _, name := range []string{"geoip/maxmind-test/GeoIP2-Country-Test.mmdb", "geoip/geo-whois-asn-country.mmdb"} {
			if got := country(t, open(name), ip); got != CountryUnknown {
				t.Errorf("%s in %s: country %s, want %s", ip, name, got, CountryUnknown)
			}
		}
	}
	if got, err := open("geoip/iptoasn-country.mmdb").Lookup(netip.Addr{}); got != CountryUnknown || err != nil {
		t.Errorf("no address: %s, %v", got, err)
	}
}

func TestOpenCountryRefuses(t *testing.T) {
	real, err := os.ReadFile(sharedData(t, "geoip/maxmind-test/GeoIP2-Country-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, real...)
	for i := range 600 {
		damaged[i] ^= 0xff
	}
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("user,unit\n"), "cut": real[:len(real)/2], "damaged": damaged,
	} {
		path := filepath.Join(t.TempDir(), name+".mmdb")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCountry(path); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := OpenCountry(sharedData(t, "geoip/maxmind-test/GeoLite2-ASN-Test.mmdb")); err == nil ||
		!strings.Contains(err.Error(), "holds no country") {
		t.Errorf("a database of networks: %v", err)
	}
}

// Copying over a mapped file takes its pages away: that must cost an answer, not the process.
func TestCountryFileShortenedUnderTheReader(t *testing.T) {
	for _, name := range []string{"geoip/geo-whois-asn-country.mmdb", "geoip/maxmind-test/GeoIP2-Country-Test.mmdb"} {
		path := copyFile(t, sharedData(t, name), filepath.Join(t.TempDir(), "country.mmdb"))
		db, err := OpenCountry(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		code, err := db.Lookup(netip.MustParseAddr("89.160.20.112"))
		if code != CountryUnknown || err == nil {
			t.Errorf("%s: %s, %v", name, code, err)
		}
	}
}

func copyFile(tb testing.TB, from, to string) string {
	tb.Helper()
	in, err := os.Open(from)
	if err != nil {
		tb.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		tb.Fatal(err)
	}
	if err := out.Close(); err != nil {
		tb.Fatal(err)
	}
	return to
}

func BenchmarkCountry(b *testing.B) {
	for _, name := range []string{"geoip/maxmind-test/GeoIP2-Country-Test.mmdb", "geoip/geo-whois-asn-country.mmdb"} {
		db := openCountry(b, name)
		ip := netip.MustParseAddr("89.160.20.112")
		b.Run(filepath.Base(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				db.Lookup(ip)
			}
		})
	}
	b.Run("open", func(b *testing.B) {
		path := sharedData(b, "geoip/geo-whois-asn-country.mmdb")
		for b.Loop() {
			if _, err := OpenCountry(path); err != nil {
				b.Fatal(err)
			}
		}
	})
}
