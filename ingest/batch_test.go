package ingest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tillsyn/aggregate"
	"tillsyn/ingest/category"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// newBatch is a batch of the tenant norrbo, which knows two people of the school, one of them also at another address.
func newBatch(t *testing.T, format string) *eventBatch {
	t.Helper()
	dir := t.TempDir()
	csv := "user,subnet,mail,population,unit\nanna,,,staff,school\n,,anna@norrbo.example,staff,school\n,,bo@norrbo.example,staff,archive\n,10.1.0.0/16,,staff,office\n,10.9.0.0/16,,guest,open\n"
	if err := os.WriteFile(filepath.Join(dir, "d.csv"), []byte(csv), 0o600); err != nil {
		t.Fatal(err)
	}
	rc := resolve.DefaultConfig()
	rc.Directory, rc.Tenants = filepath.Join(dir, "d.csv"), []resolve.Tenant{{Name: "norrbo"}}
	resolver, err := resolve.New(rc, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Load(); err != nil {
		t.Fatal(err)
	}
	src := Source{Topic: "t", Tenant: "norrbo", Format: format, InternalDomains: []string{"norrbo.example", "Skola.Norrbo.Example"}}
	parser, err := src.parser(func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	b := newEventBatch(src, DefaultConfig().Batch, parser, resolver, &category.Lists{}, seal.NewStatisticsKey(seal.MonthOf(noon.Add(-2*MaxAge))))
	b.Begin(noon)
	return b
}

// cells are the rows of a block, as the texts of the given columns, without the watermark.
func cells(t *testing.T, b *eventBatch, table string, columns ...int) []string {
	t.Helper()
	blocks, err := b.Blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: noon})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, block := range blocks {
		if block.Table != table {
			continue
		}
		for row := 1; row < block.Rows; row++ {
			var parts []string
			for _, c := range columns {
				switch v := block.Columns[c].(type) {
				case []string:
					parts = append(parts, v[row])
				case []uint64:
					parts = append(parts, fmt.Sprint(v[row]))
				case clickhouse.Arrays:
					parts = append(parts, fmt.Sprint(v.Ends[row]-v.Ends[row-1]))
				}
			}
			out = append(out, strings.Join(parts, " "))
		}
	}
	slices.Sort(out)
	return out
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func web(user, ip, host string, at time.Time) *parse.Event {
	e := &parse.Event{}
	e.Reset()
	e.Kind, e.Time, e.Domain, e.DestinationBytes = parse.Web, at.UnixMilli(), []byte(host), 100
	if user != "" {
		e.User = []byte(user)
	}
	if ip != "" {
		e.SourceIP = netip.MustParseAddr(ip)
	}
	return e
}

func TestEventsOutOfTime(t *testing.T) {
	b := newBatch(t, "squid_native")
	for _, c := range []struct {
		at   time.Duration
		good bool
	}{
		{0, true}, {time.Hour, true}, {time.Hour + time.Millisecond, false}, {-MaxAge, true}, {-MaxAge - time.Millisecond, false},
		{-100 * 365 * 24 * time.Hour, false}, {100 * 365 * 24 * time.Hour, false},
	} {
		before := b.Tally()
		b.event(web("anna", "10.1.2.3", "example.org", noon.Add(c.at)))
		if good := b.Tally().Events > before.Events; good != c.good || b.Tally().Events+b.Tally().Rejects != before.Events+before.Rejects+1 {
			t.Errorf("%v from now: %+v", c.at, b.Tally())
		}
	}
	equal(t, "rejects", cells(t, b, "rejects", 5, 6, 8), "in_the_future @timestamp 2", "too_old @timestamp 2")
}

// Who is known by name belongs to the unit everywhere; who is not, to that of the address.
func TestUnits(t *testing.T) {
	b := newBatch(t, "squid_native")
	for _, e := range []*parse.Event{
		web("anna", "10.1.2.3", "a.example.org", noon), web("ANNA", "10.9.2.3", "b.example.org", noon),
		web("stranger", "10.1.2.3", "example.org", noon), web("stranger", "192.0.2.1", "example.org", noon),
		web("", "10.1.2.4", "example.org", noon), web("", "10.9.0.1", "example.org", noon),
	} {
		b.event(e)
	}
	b.event(web("", "", "example.org", noon))
	equal(t, "population, unit, category, requests and people", cells(t, b, "web_hourly", 3, 4, 5, 7, 11),
		"staff school uncategorised 2 1", "staff school  2 1",
		"staff office uncategorised 2 2", "staff office  2 2",
		"staff  uncategorised 4 3", "staff   4 3",
		"unknown unknown uncategorised 1 1", "unknown unknown  1 1", "unknown  uncategorised 1 1", "unknown   1 1",
		"guest   1 0")
	equal(t, "rejects", cells(t, b, "rejects", 5, 6, 8), "no_subject user.name 1")
}

// Addresses as destinations are shown truncated, and never as written.
func TestDomainsOfAddresses(t *testing.T) {
	b := newBatch(t, "squid_native")
	for _, host := range []string{"198.51.100.7", "2001:db8:1:2::3", "::ffff:203.0.113.9", "WWW.Example.CO.UK.", "intranet", "co.uk", ""} {
		b.event(web("anna", "10.1.2.3", host, noon))
	}
	equal(t, "domains of the unit", slices.DeleteFunc(cells(t, b, "web_domains_daily", 4, 5), func(s string) bool { return !strings.HasPrefix(s, "school") }),
		"school 198.51.0.0/16", "school 2001:db8:1::/48", "school 203.0.0.0/16", "school example.co.uk", "school (other)", "school co.uk", "school (none)")
}

// What a host may be shown as: a name that people choose for themselves, or that an office gives its machines, is not read.
func TestDomainsThatAreShown(t *testing.T) {
	for host, want := range map[string]string{
		"pc-anna-berg": "(other)", "anna%20berg.se": "(other)", "3232235777": "(other)", "0x7f.1": "(other)", "10.0x7f": "(other)", "1.2.3.4.5": "(other)",
		"annaberg.dyndns.org": "dyndns.org", "annaberg.github.io": "github.io", "a.b.annaberg.github.io": "github.io", "github.io": "github.io",
		"d111.cloudfront.net": "cloudfront.net", "annabakar.blogspot.co.uk": "blogspot.co.uk", "anna.s3.eu-north-1.amazonaws.com": "amazonaws.com",
		"anna.berg.local": "(other)", "pc-anna.kommun.local": "(other)", "anna.lan": "(other)", "anna.home": "(other)", "anna.internal": "(other)",
		"pc.anna.localdomain": "(other)", "anna.corp": "(other)", "anna.home.arpa": "(other)", "home.arpa": "(other)", "anna.intra": "(other)",
		"anna.workgroup": "(other)", "ANNA.LAN.": "(other)",
		"pc_anna.se": "(other)", "my_cdn.example.se": "example.se", "anna@berg.se": "(other)", "c d.se": "(other)", "anna..se": "(other)",
		"x/anna.berg": "(other)", "a,b.se": "(other)", "'; drop.se": "(other)", "\x00.se": "(other)", "anna\n.se": "(other)",
		strings.Repeat("a", 64) + ".se": "(other)", strings.Repeat("a.", 130) + "se": "(other)", "..": "(other)", "-": "(other)", "[": "(other)", "[]": "(other)",
		"www.räksmörgås.se": "xn--rksmrgs-5wao1o.se", "www.r\xe4ksm\xf6rg\xe5s.se": "xn--rksmrgs-5wao1o.se",
		"www.shop.example": "shop.example", "WWW.Example.CO.UK.": "example.co.uk", "foreningen.pp.se": "foreningen.pp.se", "": "(none)",
		"10.1.77.12": "10.1.0.0/16", "[10.1.77.12]": "10.1.0.0/16", "[ipv6:2001:db8:1:2:3:4:5:6]": "2001:db8:1::/48",
		"[2001:db8:1:2::3]": "2001:db8:1::/48", "fe80::1%anna": "fe80::/48", "77.12]": "(other)", "[anna.berg]": "(other)",
	} {
		b := newBatch(t, "squid_native")
		b.event(web("anna", "10.1.2.3", host, noon))
		equal(t, fmt.Sprintf("%q", host), cells(t, b, "web_domains_daily", 4, 5), "school "+want, " "+want)
	}
}

// The same of mail, both with others and within.
func TestDomainsOfMailThatAreShown(t *testing.T) {
	for address, want := range map[string]string{
		"anna.berg": "(other)", "karin_nilsson": "(other)", "/o=exch/ou=grp/cn=recipients/cn=anna.berg": "(other)",
		"imceaex-_o=org_cn=anna": "(other)", "imceaex-_o=org_cn=anna@paper.example": "paper.example", "anna@pc-bo-lind": "(other)", "pc-bo-lind": "(other)",
		"anna@[ipv6:2001:db8:1:2:3:4:5:6]": "2001:db8:1::/48", "anna@[IPv6:2001:db8:1:2:3:4:5:6]": "2001:db8:1::/48",
		"anna@[10.1.77.12]": "10.1.0.0/16", "anna@77.12]": "(other)", "anna@c d.se": "(other)", "\"a@b\"@paper.example": "paper.example", "anna@": "(other)",
		"anna@anna-berg.dyndns.org": "dyndns.org", "": "(none)", "x@Mail.PAPER.example": "paper.example", "x@paper.example>": "(other)",
	} {
		for _, within := range []bool{false, true} {
			b := newBatch(t, "squid_native")
			b.internal["norrbo.example"] = struct{}{}
			if domain := strings.ToLower(string(mailDomain([]byte(address)))); within {
				if domain == "" {
					continue
				}
				b.internal[domain] = struct{}{}
			}
			e := &parse.Event{}
			e.Reset()
			e.Kind, e.Time, e.MessageID, e.From, e.To = parse.Mail, noon.UnixMilli(), []byte("1"), []byte(address), [][]byte{[]byte("anna@norrbo.example")}
			b.event(e)
			for _, domain := range cells(t, b, "mail_domains_daily", 7) {
				if domain != want && !(domain == "norrbo.example" && b.inside([]byte(address))) { // mail within has two sides
					t.Errorf("%q, within %v: shown as %q, want %q", address, within, domain, want)
				}
			}
		}
	}
}

// A challenge before a sign-in is volume: the address that it went to is not one more person.
func TestChallengesAreNotPeople(t *testing.T) {
	b := newBatch(t, "squid_native")
	challenge := func(user, ip string) {
		e := web(user, ip, "example.org", noon)
		e.Status = 407
		b.event(e)
	}
	for i := range 3 {
		ip := fmt.Sprintf("10.1.2.%d", i+1)
		challenge("", ip)
		challenge(" ", ip)
		b.event(web(fmt.Sprintf("p%d", i), ip, "example.org", noon))
		challenge(fmt.Sprintf("p%d", i), ip)
	}
	challenge("wrong.password", "10.1.2.9")
	const requests, people, slots = 7, 11, 12
	equal(t, "unit, requests, people, slots", cells(t, b, "web_hourly", 4, 5, requests, people, slots),
		"office uncategorised 13 4 3", "office  13 4 3", " uncategorised 13 4 3", "  13 4 3")

	b.Begin(noon)
	challenge("", "10.1.2.1")
	b.event(web("", "10.1.2.1", "example.org", noon)) // an address that is let in without a name is one
	challenge("", "10.1.2.1")
	challenge("", "10.1.2.2")
	equal(t, "without sign-in", cells(t, b, "web_hourly", 4, 5, requests, people, slots),
		"office uncategorised 4 1 1", "office  4 1 1", " uncategorised 4 1 1", "  4 1 1")
}

// One person whom lines spell in three ways is one.
func TestSpellingsAreOnePerson(t *testing.T) {
	b := newBatch(t, "squid_native")
	for _, user := range []string{"anna", `KOM\anna`, "Anna@kom.se"} {
		b.event(web(user, "10.1.2.3", "example.org", noon))
	}
	equal(t, "unit, requests, people", cells(t, b, "web_hourly", 4, 5, 7, 11), "school uncategorised 3 1", "school  3 1", " uncategorised 3 1", "  3 1")
}

func TestMailDirections(t *testing.T) {
	mail := func(id, from string, to ...string) *parse.Event {
		e := &parse.Event{}
		e.Reset()
		e.Kind, e.Time, e.MessageID, e.SourceBytes, e.From = parse.Mail, noon.UnixMilli(), []byte(id), 10, []byte(from)
		for _, a := range to {
			e.To = append(e.To, []byte(a))
		}
		return e
	}
	const direction, category, people, messages, forwarded = 5, 6, 8, 9, 11
	for name, c := range map[string]struct {
		event *parse.Event
		want  []string // unit, direction, category, people, messages, forwarded; the cells of one unit, direction and category
	}{
		"inbound":             {mail("1", "x@paper.example", "Anna@norrbo.example"), []string{"school inbound uncategorised 1 1 0"}},
		"inbound to nobody":   {mail("1", "x@paper.example", "y@elsewhere.example"), nil},
		"inbound, not listed": {mail("1", "x@paper.example", "new@skola.norrbo.example"), []string{"unknown inbound uncategorised 1 1 0"}},
		"outbound":            {mail("1", "anna@norrbo.example", "x@paper.example", "y@paper.example"), []string{"school outbound uncategorised 1 1 0"}},
		"internal":            {mail("1", "anna@norrbo.example", "bo@norrbo.example"), []string{"school internal internal 1 1 0", "archive internal internal 1 1 0"}},
		"both": {mail("1", "anna@norrbo.example", "bo@norrbo.example", "x@paper.example"),
			[]string{"school internal internal 1 1 0", "archive internal internal 1 1 0", "school outbound uncategorised 1 1 0"}},
		"inbound, refused": {func() *parse.Event {
			e := mail("1", "x@paper.example", "anna@norrbo.example")
			e.MessageID, e.Outcome = nil, []byte("failure")
			return e
		}(), nil},
		"bounce": {mail("1", "", "anna@norrbo.example"), []string{"school inbound uncategorised 1 1 0"}},
		"forwarded by a rule of somebody": {func() *parse.Event {
			e := mail("1", "anna@norrbo.example", "anna@private.example")
			e.Forwarded = true
			return e
		}(), []string{"school outbound uncategorised 1 1 1"}},
		"forwarded by a rule of nobody named": {func() *parse.Event {
			e := mail("1", "x@paper.example", "anna@private.example")
			e.Forwarded, e.Trace = true, true
			return e
		}(), []string{"unknown outbound uncategorised 0 1 1"}},
		"forwarded to outside, for whose rule it is": {func() *parse.Event {
			e := mail("1", "x@paper.example", "anna@private.example")
			e.Forwarded, e.Trace, e.Forwarder = true, true, []byte("anna@norrbo.example")
			return e
		}(), []string{"school outbound uncategorised 1 1 1"}},
		"forwarded, and the sender is a colleague": {func() *parse.Event {
			e := mail("1", "bo@norrbo.example", "anna@private.example")
			e.Forwarded, e.Forwarder = true, []byte("anna@norrbo.example")
			return e
		}(), []string{"school outbound uncategorised 1 1 1"}},
		"forwarded by whom only the directory knows": {func() *parse.Event {
			e := mail("1", "x@paper.example", "anna@private.example")
			e.Forwarder = []byte("anna@norrbo.example")
			return e
		}(), []string{"school outbound uncategorised 1 1 1"}},
		"an alias within": {func() *parse.Event {
			e := mail("1", "x@paper.example", "bo@norrbo.example")
			e.Forwarder = []byte("anna@norrbo.example")
			return e
		}(), []string{"archive inbound uncategorised 1 1 0"}},
		"an alias of strangers": {func() *parse.Event {
			e := mail("1", "x@paper.example", "y@elsewhere.example")
			e.Forwarder = []byte("z@elsewhere.example")
			return e
		}(), nil},
		"a rule that forwards within": {func() *parse.Event {
			e := mail("1", "anna@norrbo.example", "bo@norrbo.example")
			e.Forwarded, e.Forwarder = true, []byte("anna@norrbo.example")
			return e
		}(), []string{"school internal internal 1 1 0", "archive internal internal 1 1 0"}},
		"below a domain of ours": {mail("1", "x@paper.example", "new@mbx.skola.norrbo.example"), []string{"unknown inbound uncategorised 1 1 0"}},
		"a name of Exchange's":   {mail("1", "/o=Norrbo/cn=Recipients/cn=new", "x@paper.example"), []string{"unknown outbound uncategorised 1 1 0"}},
		"another server's line": {func() *parse.Event {
			e := mail("1", "x@paper.example", "anna@norrbo.example")
			e.Trace = true
			return e
		}(), nil},
	} {
		b := newBatch(t, "squid_native")
		b.event(c.event)
		b.event(c.event) // told of twice, it is one message
		var got []string
		for _, s := range cells(t, b, "mail_hourly", 4, direction, category, people, messages, forwarded) {
			if f := strings.Split(s, " "); f[0] != "" && f[1] != "" && f[2] != "" {
				got = append(got, s)
			}
		}
		equal(t, name, got, c.want...)
		if b.Tally().Events != 2 || b.Tally().Rejects != 0 {
			t.Errorf("%s: %+v", name, b.Tally())
		}
	}
}

// A source whose lines stop to match its format is told apart from one with events out of time.
func TestDriftIsShown(t *testing.T) {
	m := newMetrics()
	show := func(reason parse.Reason, n uint64, events uint64) float64 {
		b := &eventBatch{rejects: map[rejectKey]uint64{{reason: reason}: n}, capsules: newCapsules(nil)}
		m.observe(Identity{}, "t", b, LedgerRow{Events: events, Rejects: n}, noon)
		return testutil.ToFloat64(m.drifted.WithLabelValues("t"))
	}
	if show(tooOld, 9000, 9000) != 0 {
		t.Error("old events are drift")
	}
	if show(parse.ForeignLine, 9000, 1000) != 1 {
		t.Error("lines of another format are none")
	}
	for range 20 {
		show(parse.ForeignLine, 0, 1000)
	}
	if show(parse.ForeignLine, 0, 1000) != 0 {
		t.Error("drift does not end")
	}
}

func TestSensitiveSubjects(t *testing.T) {
	b := newBatch(t, "squid_native")
	for i, subject := range []string{"möte på tisdag", "ang. 19811218-9876", "ang. 19811218-9875", "sjukskrivning"} {
		e := &parse.Event{}
		e.Reset()
		e.Kind, e.Time, e.MessageID, e.From = parse.Mail, noon.UnixMilli(), fmt.Append(nil, i), []byte("anna@norrbo.example")
		e.To, e.Subject = [][]byte{[]byte("x@paper.example")}, []byte(subject)
		b.event(e)
	}
	equal(t, "unit, messages, identity numbers, sensitive", slices.DeleteFunc(cells(t, b, "mail_domains_daily", 4, 5, 9, 12, 13),
		func(s string) bool { return !strings.HasPrefix(s, "school outbound") }), "school outbound 4 1 2")
}

// A batch is made anew from the same records: the blocks are the same, whatever was in it before.
func TestBatchesAreTheSameAgain(t *testing.T) {
	b := newBatch(t, "squid_native")
	fill := func() []aggregate.Block {
		b.Begin(noon)
		for i := range 300 {
			b.event(web(fmt.Sprintf("p%d", i%40), "10.1.2.3", fmt.Sprintf("h%d.example.org", i%17), noon.Add(time.Duration(i)*time.Minute*-7)))
		}
		b.Add(Record{Value: []byte("junk")})
		blocks, err := b.Blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: noon})
		if err != nil {
			t.Fatal(err)
		}
		return blocks
	}
	first := fmt.Sprint(fill())
	b.Begin(noon)
	b.event(web("somebody.else", "10.1.9.9", "other.example", noon))
	if again := fmt.Sprint(fill()); again != first {
		t.Error("the same records make other blocks")
	}
}
