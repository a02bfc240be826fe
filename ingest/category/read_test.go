package category

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// readAll answers what a list holds: names, exceptions with "!" before them.
func readAll(t testing.TB, text string, format Format) ([]string, Tally, Format) {
	t.Helper()
	var out []string
	tally, got, err := Read(strings.NewReader(text), format, func(name []byte, exception bool) error {
		if exception {
			out = append(out, "!"+string(name))
		} else {
			out = append(out, string(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, tally, got
}

func TestReadFormats(t *testing.T) {
	for _, c := range []struct {
		name, text string
		format     Format
		want       []string
		skipped    map[Reason]int
		version    string
	}{
		{
			name: "domains", format: Domains,
			text: "\xef\xbb\xbf# Version: 7\r\nExample.COM.\r\n\r\n  www.Exempel.se # a comment\r\nhttp://a.example/\r\nb.example:8080\r\n.c.example\r\n" +
				"d.example/path\r\nnot a domain\r\n192.0.2.7\r\n192.0.2.0/24\r\n2001:DB8::1\r\n[2001:db8::2]:443\r\nse\r\nco.uk\r\ngithub.io\r\nräksmörgås.se\r\n" +
				"r\xe4ka.se\r\nunder_score.example.net\r\n300.1.2.3\r\n-\r\nexa mple.com\r\na..b.example\r\n",
			want: []string{"example.com", "www.exempel.se", "a.example", "b.example", "c.example", "192.0.2.7", "2001:db8::1", "2001:db8::2",
				"github.io", "xn--rksmrgs-5wao1o.se", "xn--rka-qla.se", "under_score.example.net"},
			skipped: map[Reason]int{HasPath: 1, Junk: 4, Network: 1, PublicSuffix: 3},
			version: "7",
		},
		{
			name: "hosts", format: Hosts,
			text: "# Last modified: 24 Jul 2022\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\nfe80::1%lo0 localhost\n255.255.255.255 broadcasthost\n" +
				"0.0.0.0 0.0.0.0\n0.0.0.0 ads.example.com  track.example.com #both\n127.0.0.1\tx.example.org\njunk here\n0.0.0.0\n",
			want:    []string{"ads.example.com", "track.example.com", "x.example.org"},
			skipped: map[Reason]int{LocalName: 6, Junk: 2},
			version: "24 Jul 2022",
		},
		{
			name: "adblock", format: Adblock,
			text: "[Adblock Plus 2.0]\n! Version: 202601\n||ads.example.com^\n@@||good.example.com^\n||*.wild.example^\n||bad.example^|\n||opt.example^$third-party\n" +
				"@@||opt2.example^$document\nexample.com##.ad\nexample.com#@#.ad\n##.banner\n||path.example/ads/\n/banner/*\n|https://start.example\n||open.example\n" +
				"||mid*dle.example^\nplain.example\n0.0.0.0 hosts.example\n||192.0.2.1^\n||com^\n||port.example:8080^\n",
			want:    []string{"ads.example.com", "!good.example.com", "wild.example", "bad.example", "plain.example", "hosts.example", "192.0.2.1"},
			skipped: map[Reason]int{Options: 3, Cosmetic: 3, HasPath: 1, Pattern: 4, PublicSuffix: 1},
			version: "202601",
		},
		{
			name: "dnsmasq", format: Dnsmasq,
			text:    "# c\naddress=/a.example/0.0.0.0\naddress=/b.example/#\nserver=/c.example/\nlocal=/d.example/\naddress=/e.example/f.example/::\naddress=/#/1.2.3.4\nserver=8.8.8.8\nno-resolv\naddress=/broken\n",
			want:    []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"},
			skipped: map[Reason]int{Unsupported: 3, Junk: 1},
		},
		{
			name: "unbound", format: Unbound,
			text: "server:\n  local-zone: \"a.example.\" always_null\n\tlocal-zone: b.example refuse\nlocal-zone: \"ok.example\" transparent\nlocal-data: \"c.example. A 127.0.0.1\"\n" +
				"local-data: \"broken\nverbosity: 1\n<html>\n",
			want:    []string{"a.example", "b.example", "!ok.example", "c.example"},
			skipped: map[Reason]int{Junk: 2, Unsupported: 2},
		},
		{
			name: "wildcard", format: Wildcard,
			text: "# c\n*.a.example\n*.b.example.\n*\n*.com\n", want: []string{"a.example", "b.example"},
			skipped: map[Reason]int{Junk: 1, PublicSuffix: 1},
		},
		{
			name: "rpz", format: RPZ,
			text: "$TTL 1h\n$ORIGIN rpz.example.\n@ IN SOA ns.example. root.example. (\n  1 ; serial\n  2 3 4 )\n@ NS localhost.\n  NS other.\n" +
				"bad.example CNAME .\n*.bad.example CNAME .\nfull.example.rpz.example. 300 IN CNAME *.\nok.example CNAME rpz-passthru.\ndrop.example IN 60 CNAME rpz-drop.\n" +
				"local.example A 127.0.0.1\n32.1.2.0.192.rpz-ip CNAME .\nns.bad.rpz-nsdname CNAME .\n  TXT \"more\"\nstray\nodd.example FOO .\n",
			want:    []string{"bad.example", "bad.example", "full.example", "!ok.example", "drop.example", "local.example"},
			skipped: map[Reason]int{Unsupported: 3, Junk: 2},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, tally, format := readAll(t, c.text, Auto)
			if format != c.format {
				t.Errorf("taken for %s", format)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if !maps.Equal(tally.Skipped, c.skipped) {
				t.Errorf("skipped %v, want %v", tally.Skipped, c.skipped)
			}
			if tally.Version != c.version {
				t.Errorf("version %q", tally.Version)
			}
			again, _, _ := readAll(t, strings.ReplaceAll(c.text, "\r\n", "\n"), c.format)
			if !slices.Equal(again, c.want) {
				t.Errorf("with the format said and other line ends: %q", again)
			}
		})
	}
}

func TestReadHugeAndOdd(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	got, tally, _ := readAll(t, "one.example\n"+long+"\ntwo.example\n"+strings.Repeat("b.", 120)+"example\n"+strings.Repeat("c", 64)+".example\n"+
		strings.Repeat("d.", 40)+"example\nx\x00y.example\n\x1b[31m.example\nlast.example", Domains)
	if want := []string{"one.example", "two.example", "last.example"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if want := map[Reason]int{TooLong: 1, TooDeep: 2, BadName: 1, Junk: 2}; !maps.Equal(tally.Skipped, want) {
		t.Errorf("skipped %v, want %v", tally.Skipped, want)
	}
}

// TestSameListInEveryFormat reads one real list in the formats that it is published in.
func TestSameListInEveryFormat(t *testing.T) {
	needRealLists(t)
	read := func(file string) []string {
		l := ListConfig{Name: "x", Source: realLists + "/formats/" + file, Category: "ads"}
		k := taken(t, l)
		var out []string
		if err := k.each(func(_, name []byte, exception bool) error {
			if exception {
				t.Errorf("%s: exception", file)
			}
			out = append(out, string(name))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	reduced := read("adaway.adblock.txt.gz")
	if len(reduced) != 4456 { // the list's own count
		t.Errorf("adblock: %d domains", len(reduced))
	}
	for _, file := range []string{"adaway.dnsmasq.txt.gz", "adaway.unbound.conf.gz", "adaway.wildcard.txt.gz"} {
		if got := read(file); !slices.Equal(got, reduced) {
			t.Errorf("%s: %d domains, not those of the adblock file", file, len(got))
		}
	}
	full := read("adaway.domains.txt.gz")
	if len(full) != 7648 {
		t.Errorf("domains: %d", len(full))
	}
	if got := read("adaway.hosts.txt.gz"); !slices.Equal(got, full) {
		t.Errorf("hosts: %d domains, not those of the domains file", len(got))
	}
	black := read("stevenblack.adblock.txt.gz")
	for _, file := range []string{"stevenblack.dnsmasq.txt.gz", "stevenblack.wildcard.txt.gz"} {
		if got := read(file); !slices.Equal(got, black) {
			t.Errorf("%s: %d domains, not the %d of the adblock file", file, len(got), len(black))
		}
	}
	if _, err := os.Stat(realLists + "/blocklistproject"); err == nil {
		for _, file := range []string{"drugs.txt.gz", "piracy.txt.gz", "tracking.txt.gz"} {
			if got := read("../blocklistproject/" + file); len(got) < 10 {
				t.Errorf("%s: %d domains", file, len(got))
			}
		}
	}
}

func TestBuiltinListsAreClean(t *testing.T) {
	seen := make(map[string]string)
	for _, l := range builtinLists() {
		files, categories, err := builtinParts(l.Source)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", l.Name, len(files), err)
		}
		for i, f := range files {
			if _, ok := defaultClasses()[categories[i]]; !ok {
				t.Errorf("%s: no category %s", f, categories[i])
			}
			data, err := builtinFiles.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, head := range []string{"# Purpose: ", "Licence: ", "# Version: "} {
				if !bytes.Contains(data, []byte(head)) {
					t.Errorf("%s lacks %q", f, head)
				}
			}
			names, tally, _ := readAll(t, string(data), Domains)
			if len(tally.Skipped) > 0 {
				t.Errorf("%s: skipped %v", f, tally.Skipped)
			}
			for _, n := range names {
				if before, ok := seen[n]; ok {
					t.Errorf("%s: %s is in %s, too", f, n, before)
				}
				seen[n] = f
			}
		}
	}
}

// FuzzRead feeds each reader: it must not panic, and a lookup of a rule's own name must find that rule.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"example.com\nwww.example.se\n192.0.2.1\n", "0.0.0.0 a.example b.example\n", "||a.example^\n@@||b.a.example^\n||c.example^$x\n",
		"address=/a.example/b.example/#\n", "local-zone: \"a.example.\" static\n", "*.a.example\n",
		"$ORIGIN z.\n@ SOA a b (\n1)\na.example CNAME .\nb.example CNAME rpz-passthru.\n", "räksmörgås.se\nr\xe4ka.se\n", "[::1]:80\n::ffff:1.2.3.4\n1.2.3.4.:5\n",
	} {
		for i := range formats {
			f.Add([]byte(seed), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		format := formats[int(which)%len(formats)]
		if format == SquidGuard {
			format = Auto
		}
		if len(data) > 4096 {
			data = data[:4096]
		}
		var names []string
		tally, _, err := Read(bytes.NewReader(data), format, func(name []byte, exception bool) error {
			if again, err := Canonical(string(name)); err != nil || again != string(name) {
				t.Fatalf("%q is not canonical: %q, %v", name, again, err)
			}
			if !exception {
				names = append(names, string(name))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(names) != tally.Rules {
			t.Fatalf("%d rules, %d counted", len(names), tally.Rules)
		}
		if len(names) == 0 {
			return
		}
		table := tableOf(t, DefaultConfig(), ListConfig{Name: "l", Category: "ads"}, strings.Join(names, "\n"))
		for _, n := range names {
			for _, host := range []string{n, n + ".", strings.ToUpper(n)} {
				if v := table.Lookup([]byte(host)); v.List != "l" || string(v.Rule) != host[:len(n)] {
					t.Fatalf("lookup of %q: %+v", host, v)
				}
			}
		}
	})
}

func FuzzLookup(f *testing.F) {
	for _, seed := range []string{"www.example.com", "..", "", ".", "[::1]", "1.2.3.4.", "a.b.c.d.e", "räka.se", "r\xe4ka.se", "x:1", "%", strings.Repeat("a.", 130)} {
		f.Add([]byte(seed))
	}
	table := tableOf(f, DefaultConfig(), ListConfig{Name: "l", Category: "ads"}, "example.com\nxn--rka-qla.se\n192.0.2.1\n::1\na.b.c.d.e.f.g\n")
	f.Fuzz(func(t *testing.T, host []byte) {
		before := bytes.Clone(host)
		v := table.Lookup(host)
		if !bytes.Equal(before, host) {
			t.Fatal("the host was changed")
		}
		if !bytes.Contains(host, v.Rule) || (v.Category == "") != (len(v.Rule) == 0) {
			t.Fatalf("%q: %+v", host, v)
		}
		table.Explain(host)
	})
}
