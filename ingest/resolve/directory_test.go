package resolve

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

var municipalities = []Tenant{
	{Name: "burlov"}, {Name: "kavlinge", Populations: []string{PopulationStaff, PopulationPupil}},
	{Name: "shared", Serves: []string{"burlov", "kavlinge"}},
}

func resolver(tb testing.TB, csv string) *Resolver {
	tb.Helper()
	c := DefaultConfig()
	c.Tenants = municipalities
	r, err := New(c, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	d, err := ReadDirectory(strings.NewReader(csv), municipalities)
	if err != nil {
		tb.Fatal(err)
	}
	r.directory.Store(d)
	return r
}

func identity(w Who) string { return string(w.Subject.AppendPersonalData(nil)) }

const people = `user,subnet,mail,tenant,population,unit
anna,,,burlov,staff,Skola
BURLOV\Björn,,,burlov,elected,Nämnd
erik@EDU.kavlinge.se,,,kavlinge,pupil,Klass 9
twice,,,burlov,staff,One
twice,,,kavlinge,staff,Other
A\same,,,burlov,staff,One
B\same,,,burlov,staff,Other
plain,,,burlov,staff,One
C\plain,,,burlov,staff,Other
service,,,,staff,IT
,10.0.0.0/8,,burlov,guest,Wi-Fi
,10.1.0.0/16,,burlov,staff,Library
,10.1.2.0/24,,kavlinge,staff,Kitchen
,2001:db8::/32,,,guest,Six
,172.16.0.0/12,,burlov,staff,Ours
,172.16.0.0/12,,kavlinge,staff,Theirs
,192.0.2.7,,,staff,Kiosk
,,anna@burlov.se,burlov,staff,Skola
,,info@malmö.se,,staff,Reception
`

func TestWho(t *testing.T) {
	r := resolver(t, people)
	for _, c := range []struct {
		name, source, user, ip string
		want                   string // tenant population unit
		subject                string
	}{
		{"bare name", "burlov", "anna", "", "burlov staff Skola", "anna"},
		{"case", "burlov", " ANNA ", "", "burlov staff Skola", "anna"},
		{"domain over a bare row", "burlov", `BURLOV\Anna`, "", "burlov staff Skola", "anna"},
		{"realm over a bare row", "burlov", "anna@BURLOV.SE", "", "burlov staff Skola", "anna"},
		{"as written", "burlov", `burlov\BJÖRN`, "", "burlov elected Nämnd", `burlov\björn`},
		{"Latin-1", "burlov", "burlov\\bj\xf6rn", "", "burlov elected Nämnd", `burlov\björn`},
		{"decomposed", "burlov", "burlov\\bjo\u0308rn", "", "burlov elected Nämnd", `burlov\björn`},
		{"bare over a row with a domain", "burlov", "björn", "", "burlov elected Nämnd", `burlov\björn`},
		{"another domain is another person", "burlov", `SKOLA\björn`, "", "burlov unknown unknown", `skola\björn`},
		{"realm", "kavlinge", "Erik@edu.KAVLINGE.se", "", "kavlinge pupil Klass 9", "erik@edu.kavlinge.se"},
		{"another tenant is not looked at", "kavlinge", "anna", "", "kavlinge unknown unknown", "anna"},
		{"each tenant its own", "kavlinge", "twice", "", "kavlinge staff Other", "twice"},
		{"each tenant its own, other", "burlov", "twice", "", "burlov staff One", "twice"},
		{"served tenant", "shared", "anna", "", "burlov staff Skola", "anna"},
		{"two served tenants", "shared", "twice", "", "shared unknown unknown", "twice"},
		{"bare name of two people", "burlov", "same", "", "burlov unknown unknown", "same"},
		{"one of two people, as written", "burlov", `b\same`, "", "burlov staff Other", `b\same`},
		{"third domain of two people", "burlov", `d\same`, "", "burlov unknown unknown", `d\same`},
		{"bare row beside a domain's", "burlov", "plain", "", "burlov staff One", "plain"},
		{"which of the two is meant", "burlov", `d\plain`, "", "burlov unknown unknown", `d\plain`},
		{"row without tenant", "kavlinge", "service", "", "kavlinge staff IT", "service"},
		{"source that is not configured", "elsewhere", "service", "", "elsewhere staff IT", "service"},
		{"user before subnet", "burlov", "anna", "10.1.2.3", "burlov staff Skola", "anna"},
		{"unknown user, known subnet", "burlov", "nobody", "10.9.9.9", "burlov guest Wi-Fi", "nobody"},
		{"most specific", "burlov", "", "10.1.2.3", "burlov staff Library", "10.1.2.3"},
		{"most specific of those served", "shared", "", "10.1.2.3", "kavlinge staff Kitchen", "10.1.2.3"},
		{"wrapped in IPv6", "burlov", "", "::ffff:10.1.2.3", "burlov staff Library", "10.1.2.3"},
		{"subnet of another tenant", "kavlinge", "", "10.9.9.9", "kavlinge unknown unknown", "10.9.9.9"},
		{"subnet of two tenants, own", "kavlinge", "", "172.16.0.1", "kavlinge staff Theirs", "172.16.0.1"},
		{"subnet of two served tenants", "shared", "", "172.16.0.1", "shared unknown unknown", "172.16.0.1"},
		{"IPv6", "kavlinge", "", "2001:DB8::1", "kavlinge guest Six", "2001:db8::1"},
		{"IPv6 zone", "kavlinge", "", "fe80::1%eth0", "kavlinge unknown unknown", "fe80::1"},
		{"one address", "burlov", "", "192.0.2.7", "burlov staff Kiosk", "192.0.2.7"},
		{"beside one address", "burlov", "", "192.0.2.8", "burlov unknown unknown", "192.0.2.8"},
		{"the user column repeats the address", "burlov", "10.1.2.3", "10.1.2.3", "burlov staff Library", "10.1.2.3"},
		{"nobody, nowhere", "burlov", "", "", "burlov unknown unknown", ""},
		{"spaces are no user", "burlov", "  ", "10.1.2.3", "burlov staff Library", "10.1.2.3"},
		{"only a domain", "burlov", `BURLOV\`, "10.1.2.3", "burlov staff Library", `burlov\`},
		{"NUL", "burlov", "an\x00na", "", "burlov unknown unknown", "an\x00na"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ip netip.Addr
			if c.ip != "" {
				ip = netip.MustParseAddr(c.ip)
			}
			memo := NewMemo(r, 4)
			for round, w := range []Who{
				r.Who(c.source, []byte(c.user), ip), memo.Who(c.source, []byte(c.user), ip), memo.Who(c.source, []byte(c.user), ip),
			} {
				if got := w.Tenant + " " + w.Population + " " + w.Unit; got != c.want {
					t.Errorf("round %d: %s, want %s", round, got, c.want)
				}
				if got := identity(w); got != c.subject {
					t.Errorf("round %d: subject %q, want %q", round, got, c.subject)
				}
			}
		})
	}
}

// One person under all spellings that a directory allows is one subject, with and without a memo; whom it does not know is
// another under each.
func TestSpellingsAreOnePerson(t *testing.T) {
	r := resolver(t, people)
	memo := NewMemo(r, 2) // smaller than the spellings
	for name, c := range map[string]struct {
		spellings []string
		subjects  int
	}{
		"a row without a domain": {[]string{"anna", "ANNA", `BURLOV\anna`, `other\Anna`, "anna@burlov.se", "Anna@Elsewhere.se"}, 1},
		"a row with a domain":    {[]string{"björn", `BURLOV\björn`, "bj\xf6rn", `burlov\BJÖRN`}, 1},
		"no row":                 {[]string{"z1", "Z1", `KOM\z1`, "z1@kom.se"}, 3},
	} {
		seen := map[Subject]bool{}
		for _, s := range c.spellings {
			for range 2 {
				seen[r.Who("burlov", []byte(s), netip.Addr{}).Subject] = true
				seen[memo.Who("burlov", []byte(s), netip.MustParseAddr("10.1.2.3")).Subject] = true
			}
		}
		if len(seen) != c.subjects {
			t.Errorf("%s: %d subjects, want %d", name, len(seen), c.subjects)
		}
	}
}

// Two Latin-1 names that differ in one letter are two people.
func TestOddNamesStayApart(t *testing.T) {
	r := resolver(t, people)
	a := r.Who("burlov", []byte("bj\xf6rn"), netip.Addr{})
	b := r.Who("burlov", []byte("bj\xf8rn"), netip.Addr{})
	if a.Subject == b.Subject {
		t.Error("two names became one subject")
	}
}

func TestMail(t *testing.T) {
	r := resolver(t, people)
	for _, c := range []struct {
		source, address string
		want            string
		ok              bool
	}{
		{"burlov", "Anna@BURLOV.se", "burlov staff Skola", true},
		{"shared", "anna@burlov.se", "burlov staff Skola", true},
		{"kavlinge", "anna@burlov.se", "kavlinge unknown unknown", false},
		{"kavlinge", "INFO@xn--malm-8qa.se", "kavlinge staff Reception", true},
		{"kavlinge", "info@MALMÖ.se", "kavlinge staff Reception", true},
		{"burlov", "", "burlov unknown unknown", false},
		{"burlov", "not an address", "burlov unknown unknown", false},
	} {
		w, ok := r.Mail(c.source, []byte(c.address))
		if got := w.Tenant + " " + w.Population + " " + w.Unit; got != c.want || ok != c.ok {
			t.Errorf("%s at %s: %s %v, want %s %v", c.address, c.source, got, ok, c.want, c.ok)
		}
	}
}

func TestDirectorySpellings(t *testing.T) {
	for name, csv := range map[string]string{
		"comma":        "user,population,unit\nanna,staff,Skola\n",
		"semicolon":    "user;population;unit\nanna;staff;Skola\n",
		"mark":         "\ufeffuser,population,unit\nanna,staff,Skola\n",
		"CRLF":         "user,population,unit\r\nanna,staff,Skola\r\n",
		"order":        "Unit,USER,Population\nSkola,anna,staff\n",
		"quotes":       "user,population,unit\n\"anna\",\"staff\",\"Skola\"\n",
		"no last line": "user,population,unit\nanna,staff,Skola",
		"empty lines":  "user,population,unit\n\nanna,staff,Skola\n\n",
		"spaces":       "user , population,unit\n anna , staff , Skola \n",
	} {
		w := resolver(t, csv).Who("burlov", []byte("anna"), netip.Addr{})
		if w.Unit != "Skola" || w.Population != "staff" || w.Tenant != "burlov" {
			t.Errorf("%s: %s %s %s", name, w.Tenant, w.Population, w.Unit)
		}
	}
}

// Every fault names its line and none quotes what stands there.
func TestDirectoryRefuses(t *testing.T) {
	const secret = "sEcret"
	for _, c := range []struct{ name, csv, want string }{
		{"empty", "", "the file is empty"},
		{"only a mark", "\ufeff", "the file is empty"},
		{"UTF-16", "\xff\xfeu\x00s\x00", "UTF-16"},
		{"no header", secret + ",staff," + secret + "\n", "line 1 names no column"},
		{"unknown column", "user,population,unit,telephone\n", `column 4 is called "telephone", which is unknown`},
		{"column twice", "user,user,population,unit\n", `column "user" is there twice`},
		{"no unit", "user,population\n", `column "unit" is missing`},
		{"no population", "user,unit\n", `column "population" is missing`},
		{"no key column", "population,unit\n", "no column user, subnet or mail"},
		{"no key", "user,population,unit\n,staff,One\n", "line 2: the row has 0 of user, subnet and mail"},
		{"two keys", "user,mail,population,unit\n" + secret + ",a@b.se,staff,One\n", "line 2: the row has 2 of"},
		{"user twice", "user,population,unit\n" + secret + ",staff,One\nx,staff,One\nSECRET,staff,Two\n", "line 4: user stands in an earlier line too"},
		{"subnet twice", "subnet,population,unit\n10.0.0.0/8,staff,One\n10.0.0.0/8,staff,One\n", "line 3: subnet stands in an earlier line too"},
		{"mail twice", "mail,population,unit\na@malmö.se,staff,One\nA@xn--malm-8qa.se,staff,One\n", "line 3: mail stands in an earlier line too"},
		{"population", "user,population,unit\nx," + secret + ",One\n", "line 2: population is not one of staff, elected, pupil or guest"},
		{"population unknown", "user,population,unit\nx,unknown,One\n", "line 2: population is not one of"},
		{"population of another tenant", "user,tenant,population,unit\nx,kavlinge,elected,One\n", "line 2: population is not one that its tenant has"},
		{"tenant", "user,tenant,population,unit\nx," + secret + ",staff,One\n", "line 2: tenant is not one of the configured tenants"},
		{"unit empty", "user,population,unit\nx,staff,\n", "line 2: unit is empty"},
		{"unit reserved", "user,population,unit\nx,staff,Unknown\n", "is reserved"},
		{"unit long", "user,population,unit\nx,staff," + strings.Repeat("x", 129) + "\n", "unit is longer than 128 bytes"},
		{"user is a domain", "user,population,unit\nKOMMUN\\,staff,One\n", "line 2: user is a domain without a name"},
		{"subnet", "subnet,population,unit\n" + secret + ",staff,One\n", "line 2: subnet is no IP network"},
		{"subnet bits", "subnet,population,unit\n10.1.2.3/8,staff,One\n", "line 2: subnet has bits set"},
		{"subnet wrapped", "subnet,population,unit\n::ffff:10.0.0.0/104,staff,One\n", "line 2: subnet is IPv4 wrapped in IPv6"},
		{"subnet zone", "subnet,population,unit\nfe80::1%eth0,staff,One\n", "line 2: subnet is no IP network"},
		{"mail", "mail,population,unit\n" + secret + ",staff,One\n", "line 2: mail is no mail address"},
		{"Latin-1", "user,population,unit\n" + secret + "\xf6,staff,One\n", "line 2: field 1 is not UTF-8"},
		{"NUL", "user,population,unit\n" + secret + "\x00,staff,One\n", "line 2: field 1 holds a control character"},
		{"line break in a field", "user,population,unit\n\"" + secret + "\nx\",staff,One\n", "line 2: field 1 holds a control character"},
		{"too few fields", "user,population,unit\n" + secret + ",staff\n", "line 2: wrong number of fields"},
		{"open quote", "user,population,unit\n\"" + secret + ",staff,One\n", `line 2: extraneous or missing " in quoted-field`},
		{"stray quote", "user,population,unit\n" + secret + "\",staff,One\n", `line 2: bare " in non-quoted-field`},
		{"all at once", "user,population,unit\n,staff,One\nx,staff,\n", "line 2: the row has 0 of user, subnet and mail; it needs exactly one\nline 3: unit is empty"},
		{"at most 20", "user,population,unit\n" + strings.Repeat(",staff,One\n", 1000), "only the first faults are shown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadDirectory(strings.NewReader(c.csv), municipalities)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
				t.Errorf("the error quotes the file: %v", err)
			}
			if n := strings.Count(err.Error(), "\n"); n > maxFaults {
				t.Errorf("%d faults in one error", n)
			}
		})
	}
}

// What is read is found again, under any spelling of a user's name, and nothing panics or is quoted.
func FuzzReadDirectory(f *testing.F) {
	f.Add([]byte(people))
	f.Add([]byte("\ufeffuser;population;unit\r\nanna;staff;\"a;\"\"b\"\r\n"))
	f.Add([]byte("subnet,population,unit\n::/0,guest,x\n0.0.0.0/0,guest,y\n"))
	f.Add([]byte("user,population,unit\nİ,staff,x\nǅ,staff,y\n\u1e9e\u0307\u0323,staff,z\n"))
	f.Fuzz(func(t *testing.T, csv []byte) {
		d, err := ReadDirectory(strings.NewReader(string(csv)), municipalities)
		if err != nil {
			return
		}
		for k, want := range d.users {
			if again := CanonicalUser([]byte(k.name)); again != k.name {
				t.Fatalf("canonical name %q is not canonical: %q", k.name, again)
			}
			if got, ok := d.user(scope{source: k.tenant}, k.name); !ok || got != want {
				t.Fatalf("%q of %q: %v %v, want %v", k.name, k.tenant, got, ok, want)
			}
		}
		for tenant, table := range d.subnets {
			for prefix, want := range table.All() {
				got, ok := d.subnet(scope{source: tenant}, prefix.Addr())
				if !ok || got.unit == "" || want.unit == "" {
					t.Fatalf("%v of %q is not found", prefix, tenant)
				}
			}
		}
		for k, want := range d.mails {
			if again, ok := canonicalMail(k.name); !ok || again != k.name {
				t.Fatalf("canonical address %q is not canonical: %q", k.name, again)
			}
			if got, ok := (scope{source: k.tenant}).exact(d.mails, k.name); !ok || got != want {
				t.Fatalf("%q of %q is not found", k.name, k.tenant)
			}
		}
	})
}

// Any bytes have one canonical name, which is its own.
func FuzzCanonicalUser(f *testing.F) {
	for _, s := range []string{"anna", `KOMMUN\Björn`, "bj\xf6rn", "İ", "ǅ", "ẞ\u0307\u0323", "\u0345", " \u00a0x ", "Å", "K", "\xff\xfe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, user []byte) {
		once := CanonicalUser(user)
		if twice := CanonicalUser([]byte(once)); twice != once {
			t.Errorf("%q: %q, then %q", user, once, twice)
		}
	})
}

func BenchmarkReadDirectory(b *testing.B) {
	var csv strings.Builder
	csv.WriteString("user,tenant,population,unit\n")
	for i := range 100_000 {
		fmt.Fprintf(&csv, "KOMMUN\\user%06d,burlov,staff,Unit %d\n", i, i/50)
	}
	b.SetBytes(int64(csv.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadDirectory(strings.NewReader(csv.String()), municipalities); err != nil {
			b.Fatal(err)
		}
	}
}
