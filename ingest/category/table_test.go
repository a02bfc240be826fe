package category

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tillsyn/internal/durable"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// taken reads a list from its source.
func taken(t testing.TB, l ListConfig) *snapshot {
	t.Helper()
	x, err := newTaker(l, defaultClasses(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.local(context.Background()); err != nil {
		t.Fatal(err)
	}
	s, err := x.finish(noon)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func takenText(t testing.TB, l ListConfig, text string) *snapshot {
	t.Helper()
	x, err := newTaker(l, defaultClasses(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.file(context.Background(), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	s, err := x.finish(noon)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tableOf compiles one list.
func tableOf(t testing.TB, cfg Config, l ListConfig, text string) *Table {
	t.Helper()
	l.Format = Domains
	return tableFrom(t, cfg, takenText(t, l, text))
}

func tableFrom(t testing.TB, cfg Config, lists ...*snapshot) *Table {
	t.Helper()
	image, err := compile(context.Background(), cfg, lists, noon)
	if err != nil {
		t.Fatal(err)
	}
	table, err := read(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Verify(); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Overrides = []Override{
		{"fixed.example.com", "work", "decided by the board"},
		{"intranet", "work", "our own"},
		{"choir.church.example", "other", "a concert hall"},
		{"räka.se", "other", "sea food"},
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	table := tableFrom(t, cfg,
		takenText(t, ListConfig{Name: "one", Category: "gambling"}, "example.com\nsub.example.com\nfixed.example.com\nboth.example\n192.0.2.7\n2001:db8::7\nxn--rksmrgs-5wao1o.se\n"),
		takenText(t, ListConfig{Name: "two", Category: "games"}, "both.example\ndeep.fixed.example.com\nforum.church.example\nnews.choir.church.example\n"),
		takenText(t, ListConfig{Name: "pro", Category: "faith"}, "church.example\nboth-pro.example\n"),
		takenText(t, ListConfig{Name: "ads", Category: "ads", Format: Adblock}, "||both-pro.example^\n||net.example^\n||x.net.example^\n@@||ok.net.example^\n||allowed.example^\n@@||allowed.example^\n||below.white.example^\n@@||white.example^\n||shared.example^\n@@||fine.shared.example^\n"),
		takenText(t, ListConfig{Name: "three", Category: "trackers"}, "shared.example\nnet.example\n"),
	)
	for _, c := range []struct {
		host, category, list, rule string
		class                      Class
		categories                 string
	}{
		{"example.com", "gambling", "one", "example.com", Forbidden, "gambling"},
		{"WWW.Example.COM.", "gambling", "one", "Example.COM", Forbidden, "gambling"},
		{"a.sub.example.com", "gambling", "one", "sub.example.com", Forbidden, "gambling"},
		{"myexample.com", "", "", "", Ordinary, ""},
		{"com", "", "", "", Ordinary, ""},
		{"www.both.example", "gambling", "one", "both.example", Forbidden, "gambling games"},
		{"fixed.example.com", "work", Overrides, "fixed.example.com", Ordinary, "work"},
		{"a.fixed.example.com", "work", Overrides, "fixed.example.com", Ordinary, "work"},
		{"deep.fixed.example.com", "games", "two", "deep.fixed.example.com", Forbidden, "games"},
		{"intranet", "work", Overrides, "intranet", Ordinary, "work"},
		{"www.intranet", "work", Overrides, "intranet", Ordinary, "work"},
		{"192.0.2.7", "gambling", "one", "192.0.2.7", Forbidden, "gambling"},
		{"192.0.2.7:443", "gambling", "one", "192.0.2.7", Forbidden, "gambling"},
		{"::ffff:192.0.2.7", "gambling", "one", "::ffff:192.0.2.7", Forbidden, "gambling"},
		{"1.192.0.2.7", "", "", "", Ordinary, ""},
		{"192.0.2.70", "", "", "", Ordinary, ""},
		{"2001:DB8:0::7", "gambling", "one", "2001:DB8:0::7", Forbidden, "gambling"},
		{"[2001:db8::7]", "gambling", "one", "[2001:db8::7]", Forbidden, "gambling"},
		{"2001:db8::8", "", "", "", Ordinary, ""},
		{"www.räksmörgås.se", "gambling", "one", "räksmörgås.se", Forbidden, "gambling"},
		{"WWW.RÄKSMÖRGÅS.SE", "gambling", "one", "RÄKSMÖRGÅS.SE", Forbidden, "gambling"},
		{"r\xe4ka.se", "other", Overrides, "r\xe4ka.se", Ordinary, "other"},
		// Protected covers what is under it.
		{"church.example", "faith", "pro", "church.example", Protected, "faith"},
		{"forum.church.example", "faith", "pro", "church.example", Protected, "faith"},
		{"both-pro.example", "faith", "pro", "both-pro.example", Protected, "faith ads"},
		{"choir.church.example", "other", Overrides, "choir.church.example", Ordinary, "other"},
		{"news.choir.church.example", "games", "two", "news.choir.church.example", Forbidden, "games"},
		// Exceptions take a host out of their own list only.
		{"y.x.net.example", "ads", "ads", "x.net.example", Background, "ads"},
		{"ok.net.example", "trackers", "three", "net.example", Background, "trackers"},
		{"a.ok.net.example", "trackers", "three", "net.example", Background, "trackers"},
		{"allowed.example", "", "", "", Ordinary, ""},
		{"below.white.example", "", "", "", Ordinary, ""},
		{"shared.example", "ads", "ads", "shared.example", Background, "ads trackers"},
		{"fine.shared.example", "trackers", "three", "shared.example", Background, "trackers"},
		// What is no host.
		{"", "", "", "", Ordinary, ""},
		{".", "", "", "", Ordinary, ""},
		{".example.com", "gambling", "one", "example.com", Forbidden, "gambling"},
		{"a..example.com", "gambling", "one", "example.com", Forbidden, "gambling"},
		{strings.Repeat("a", 64) + ".example.com", "gambling", "one", "example.com", Forbidden, "gambling"},
		{strings.Repeat("a.", 126) + "example.com", "", "", "", Ordinary, ""},
		{strings.Repeat("a.", 100) + "example.com", "gambling", "one", "example.com", Forbidden, "gambling"},
	} {
		v := table.Lookup([]byte(c.host))
		if v.Category != c.category || v.List != c.list || string(v.Rule) != c.rule || v.Class != c.class || strings.Join(v.Categories, " ") != c.categories {
			t.Errorf("%q: %+v (rule %q)", c.host, v, v.Rule)
		}
		decides := 0
		for _, m := range table.Explain([]byte(c.host)) {
			if m.Decides {
				decides++
				if m.Category != c.category || m.List != c.list || m.Rule != c.rule {
					t.Errorf("%q: explained by %+v", c.host, m)
				}
			}
		}
		if want := min(1, len(c.category)); decides != want {
			t.Errorf("%q: %d rules decide", c.host, decides)
		}
	}
	if v := table.Lookup([]byte("fixed.example.com")); !v.Override || v.Reason != "decided by the board" {
		t.Errorf("override: %+v", v)
	}
}

// TestLookupEqualsModel compares 100 000 hosts with the rule read literally: a map of suffixes, asked from the longest.
func TestLookupEqualsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	label := func() string {
		return []string{"a", "b", "cc", "d-d", "0", "abcdefgh", "abcdefghi", "xn--c", "w_w", "com"}[r.IntN(10)]
	}
	name := func(n int) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = label()
		}
		return strings.Join(parts, ".") + ".example"
	}
	type rule struct{ list, category string }
	model := make(map[string][]rule)
	categories := []string{"gambling", "games", "ads", "press"}
	var lists []*snapshot
	var rules []string
	for i, c := range categories {
		l := ListConfig{Name: fmt.Sprintf("l%d", i), Category: c}
		var text strings.Builder
		for range 1500 {
			n := name(2 + r.IntN(4))
			rules = append(rules, n)
			fmt.Fprintln(&text, n)
			if x := (rule{l.Name, c}); !slices.Contains(model[n], x) {
				model[n] = append(model[n], x)
			}
		}
		lists = append(lists, takenText(t, l, text.String()))
	}
	table := tableFrom(t, DefaultConfig(), lists...)
	hits := 0
	for range 100_000 {
		host := name(1 + r.IntN(6))
		switch r.IntN(4) {
		case 0:
			host = label() + "." + rules[r.IntN(len(rules))]
		case 1:
			host = rules[r.IntN(len(rules))]
		case 2:
			host = "x" + rules[r.IntN(len(rules))]
		}
		asked := []byte(host)
		for i := range asked {
			if r.IntN(3) == 0 {
				asked[i] = bytes.ToUpper(asked[i : i+1])[0]
			}
		}
		var want Verdict
		for suffix := host; want.Category == ""; {
			if rules := model[suffix]; len(rules) > 0 {
				want = Verdict{Category: rules[0].category, List: rules[0].list, Rule: asked[len(asked)-len(suffix):]}
				for _, x := range rules {
					want.Categories = append(want.Categories, x.category)
				}
			}
			_, rest, more := strings.Cut(suffix, ".")
			if !more {
				break
			}
			suffix = rest
		}
		got := table.Lookup(asked)
		if got.Category != want.Category || got.List != want.List || !bytes.Equal(got.Rule, want.Rule) || !slices.Equal(got.Categories, want.Categories) {
			t.Fatalf("%s: %+v, want %+v", asked, got, want)
		}
		if want.Category != "" {
			hits++
			if &got.Rule[len(got.Rule)-1] != &asked[len(asked)-1] {
				t.Fatal("the rule is not a part of the host")
			}
		}
	}
	if hits < 40_000 || hits > 95_000 {
		t.Errorf("%d hits are no test", hits)
	}
}

// TestRealListsEveryRule asks for every single rule of the real lists, and for as many names that are in none.
func TestRealListsEveryRule(t *testing.T) {
	k := realKeeper(t)
	info := k.Lists().Info()
	if info.Domains < 600_000 {
		t.Errorf("only %d domains", info.Domains)
	}
	if per := float64(info.Bytes) / float64(info.Domains); per > 13 {
		t.Errorf("%.2f bytes a domain", per)
	}
	if info.FalsePositive >= 1e-9 {
		t.Errorf("false positives: %g", info.FalsePositive)
	}
	t.Logf("%d domains, %.2f bytes each, false positive below %.1g", info.Domains, float64(info.Bytes)/float64(info.Domains), info.FalsePositive)
	names := listedHosts(t, 1<<20)
	wrong := 0
	for _, n := range names {
		host := []byte(n)
		if bareSuffix(host) {
			continue
		}
		if v := k.Lists().Lookup(host); string(v.Rule) != n && v.Class != Protected && !v.Override {
			t.Errorf("%s: %+v", n, v)
			if wrong++; wrong > 10 {
				t.FailNow()
			}
		}
	}
	for i := range 1_000_000 {
		if v := k.Lists().Lookup(fmt.Appendf(nil, "h%d.nowhere%d.invalid", i, i)); v.Category != "" {
			t.Errorf("a host in no list: %+v", v)
		}
	}
}

func TestFiveMillionFitIn64MiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds and half a gigabyte")
	}
	c := compiler{key: hashKey{1, 2}, most: 3, least: 2}
	c.manifest.Sets = [][]uint32{{}, {}}
	const n = 5_000_000
	r := rand.New(rand.NewPCG(7, 8))
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = r.Uint64()
	}
	slices.Sort(hashes)
	names := make([]placed, n)
	for i, h := range hashes {
		names[i] = placed{h, 1}
	}
	image, err := c.image(names)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %.2f a domain, longest probe %d buckets", len(image), float64(len(image))/n, binary.LittleEndian.Uint64(image[72:]))
	if len(image) > 64<<20 {
		t.Errorf("%d bytes", len(image))
	}
}

func TestCollisionIsNoticed(t *testing.T) {
	fresh := func() *compiler {
		c := &compiler{key: randomKey(), most: 2, least: 2}
		c.manifest.Lists = []ListInfo{{Name: "l"}}
		c.manifest.Categories = []categoryInfo{{"ads", Background}, {"games", Forbidden}}
		c.manifest.Members = []memberInfo{{Category: 0}, {Category: 1}}
		return c
	}
	for name, c := range map[string]struct {
		entries []entry
		bad     bool
	}{
		"one name twice":                  {[]entry{{5, 1, 0}, {5, 1, 0}, {5, 1, 1}}, false},
		"two names, one hash":             {[]entry{{5, 1, 0}, {5, 2, 0}}, true},
		"two names, one fingerprint":      {[]entry{{5, 1, 0}, {5 | 1<<50, 2, 1}}, true},
		"same, but they mean the same":    {[]entry{{5, 1, 0}, {5 | 1<<50, 2, 0}}, false},
		"fingerprint of zeros":            {[]entry{{1 << 50, 1, 0}, {7, 2, 1}}, false},
		"everything in one bucket and on": {slices.Collect(sameHome(40)), false},
		"everything in the last bucket":   {slices.Collect(lastHome(40)), false},
	} {
		x := fresh()
		x.entries = c.entries
		image, err := x.build()
		if got := errors.Is(err, errCollision); got != c.bad || !got && err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err != nil {
			continue
		}
		table, err := read(image)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.entries {
			if table.probe(e.hash) == 0 {
				t.Errorf("%s: %x is lost", name, e.hash)
			}
		}
	}
}

func sameHome(n int) func(func(entry) bool) {
	return func(yield func(entry) bool) {
		for i := range uint64(n) {
			if !yield(entry{i + 1, i, 0}) {
				return
			}
		}
	}
}

func lastHome(n int) func(func(entry) bool) {
	return func(yield func(entry) bool) {
		for i := range uint64(n) {
			if !yield(entry{^i, i, 0}) {
				return
			}
		}
	}
}

func TestEachFileHasItsOwnKey(t *testing.T) {
	a := tableOf(t, DefaultConfig(), ListConfig{Name: "l", Category: "ads"}, "a.example")
	b := tableOf(t, DefaultConfig(), ListConfig{Name: "l", Category: "ads"}, "a.example")
	if a.key == b.key {
		t.Error("two files share a key")
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	cfg := DefaultConfig()
	table := tableFrom(t, cfg, takenText(t, ListConfig{Name: "one", Category: "faith"}, "example.com\n192.0.2.7\n2001:db8::7\n"),
		takenText(t, ListConfig{Name: "two", Category: "ads", Format: Adblock}, "||net.example^\n@@||ok.net.example^\n"))
	var lists Lists
	lists.Set(table)
	for _, host := range []string{"www.example.com", "WWW.EXAMPLE.COM.", "miss.example.org", "192.0.2.7", "2001:db8::7", "ok.net.example", "a.net.example", "", "a..b"} {
		b := []byte(host)
		if n := testing.AllocsPerRun(100, func() { sink = lists.Lookup(b).Class }); n != 0 {
			t.Errorf("%q: %v allocations", host, n)
		}
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	image, err := compile(context.Background(), DefaultConfig(), []*snapshot{takenText(t, ListConfig{Name: "l", Category: "ads", Format: Domains}, "a.example\nb.example\n")}, noon)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "lists")
	check := func(what string, data []byte, opens bool) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(name)
		if (err == nil) != opens {
			t.Fatalf("%s: %v", what, err)
		}
		if err == nil {
			err = table.Verify()
			table.Lookup([]byte("x.a.example"))
			table.Lookup([]byte("x.b.example"))
		}
		if (err == nil) != (what == "whole") {
			t.Fatalf("%s: verify %v", what, err)
		}
		os.Remove(name) // never truncate a file that is mapped
	}
	check("whole", image, true)
	check("empty", nil, false)
	check("header only", image[:headerBytes], false)
	check("cut", image[:len(image)-1], false)
	check("longer", append(slices.Clone(image), 0), false)
	check("other", bytes.Repeat([]byte("x"), len(image)), false)
	r := rand.New(rand.NewPCG(9, 9))
	for range 300 {
		bad := slices.Clone(image)
		at := r.IntN(headerUsed + 32)
		bad[at] ^= byte(1 + r.IntN(255))
		check(fmt.Sprintf("header byte %d", at), bad, false)
	}
	for range 100 {
		bad := slices.Clone(image)
		bad[headerBytes+r.IntN(len(image)-headerBytes)] ^= byte(1 + r.IntN(255))
		os.WriteFile(name, bad, 0o600)
		if table, err := Open(name); err == nil {
			if table.Verify() == nil {
				t.Error("damage that nobody notices")
			}
			table.Lookup([]byte("a.example")) // whatever it answers, it does not crash
		}
		os.Remove(name)
	}
}

// TestSwapWhileReading swaps mapped files under readers. Strings of old verdicts must outlive the mappings.
func TestSwapWhileReading(t *testing.T) {
	dir := t.TempDir()
	var lists Lists
	put := func(i int) {
		image, err := compile(context.Background(), DefaultConfig(),
			[]*snapshot{takenText(t, ListConfig{Name: fmt.Sprintf("l%d", i), Category: "ads", Format: Domains}, fmt.Sprintf("example.com\nn%d.example\n", i))}, noon)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "lists")
		if err := durable.Replace(name, image, 0o644); err != nil {
			t.Fatal(err)
		}
		table, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lists.Set(table)
	}
	put(0)
	var (
		stop atomic.Bool
		wait sync.WaitGroup
	)
	for range 4 {
		wait.Go(func() {
			var kept []Verdict
			host := []byte("www.example.com")
			for last := uint64(0); !stop.Load(); {
				before := lists.Generation()
				v := lists.Lookup(host)
				var n uint64
				if fmt.Sscanf(v.List, "l%d", &n); n+1 < before {
					t.Errorf("generation %d answered from %s", before, v.List)
				}
				if before < last {
					t.Error("the generation went back")
				}
				last = before
				if len(kept) < 1000 {
					kept = append(kept, v)
				}
			}
			for _, v := range kept {
				if v.Category != "ads" || !strings.HasPrefix(v.List, "l") || !strings.HasPrefix(v.Version, "sha256:") {
					t.Errorf("an old verdict reads %+v", v)
				}
			}
		})
	}
	const swaps = 60
	for i := 1; i <= swaps; i++ {
		put(i)
		if i%10 == 0 {
			runtime.GC()
		}
	}
	stop.Store(true)
	wait.Wait()
	if g := lists.Generation(); g != swaps+1 {
		t.Errorf("generation %d", g)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return // another operating system
	}
	for range 100 { // cleanups run on their own time after a collection
		runtime.GC()
		if maps, _ = os.ReadFile("/proc/self/maps"); strings.Count(string(maps), dir) <= 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := strings.Count(string(maps), dir); n > 2 {
		t.Errorf("%d mappings are left", n)
	}
	runtime.KeepAlive(&lists)
}
