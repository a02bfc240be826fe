package category

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

const realLists = "../../../shared/data/categories"

// needRealLists skips on a machine without the shared data, and fails in CI, where nothing may be skipped.
func needRealLists(tb testing.TB) {
	tb.Helper()
	if _, err := os.Stat(realLists); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		tb.Fatal("the real lists are missing: CI needs ../shared/data beside the checkout")
	}
	tb.Skip("the real lists (../shared/data) are not here")
}

func realConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Directory = dir
	cfg.Lists = []ListConfig{
		{Name: "ut1", Source: realLists + "/ut1"},
		{Name: "adaway", Source: realLists + "/formats/adaway.adblock.txt.gz", Category: "ads"},
		{Name: "stevenblack", Source: realLists + "/formats/stevenblack.domains.txt.gz", Category: "trackers"},
	}
	return cfg
}

func realKeeper(tb testing.TB) *Keeper {
	tb.Helper()
	needRealLists(tb)
	k, err := New(realConfig(tb.TempDir()))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := k.Update(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return k
}

// listedHosts answers about n hosts of the real lists.
func listedHosts(tb testing.TB, n int) []string {
	tb.Helper()
	var out []string
	files, _ := filepath.Glob(realLists + "/ut1/*/domains.gz")
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			tb.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		in := bufio.NewScanner(z)
		for in.Scan() {
			if c, err := Canonical(in.Text()); err == nil && isName([]byte(c)) && strings.Contains(c, ".") {
				out = append(out, c)
			}
		}
		f.Close()
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

func BenchmarkLookup(b *testing.B) {
	k := realKeeper(b)
	info := k.Lists().Info()
	const n = 1 << 16
	names := listedHosts(b, n)
	r := rand.New(rand.NewPCG(3, 4))
	var hit, miss, mix [][]byte
	for i, name := range names {
		hit = append(hit, []byte("www."+name))
		miss = append(miss, fmt.Appendf(nil, "www.host%d-%s.example.org", i, name[:strings.IndexByte(name, '.')]))
	}
	zipf := rand.NewZipf(r, 1.1, 1, n-1)
	for range n {
		i := zipf.Uint64()
		if i%3 == 0 {
			mix = append(mix, miss[i])
		} else {
			mix = append(mix, hit[i])
		}
	}
	for _, c := range []struct {
		name  string
		hosts [][]byte
	}{{"hit", hit}, {"miss", miss}, {"zipf", mix}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			lists, i := k.Lists(), 0
			for b.Loop() {
				sink = lists.Lookup(c.hosts[i&(n-1)]).Class
				i++
			}
			b.ReportMetric(float64(info.Domains), "domains")
			b.ReportMetric(float64(info.Bytes)/float64(info.Domains), "B/domain")
		})
	}
}

var sink Class
