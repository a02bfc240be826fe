package aggregate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
)

// rows are the rows of blocks but their watermarks, each as text, with its tokens as a set.
func rows(blocks []Block) map[string]int {
	out := map[string]int{}
	for _, b := range blocks {
		for i := 1; i < b.Rows; i++ {
			text := b.Table
			for _, c := range b.Columns {
				switch c := c.(type) {
				case []uint16:
					text += fmt.Sprint(" ", c[i])
				case []uint32:
					text += fmt.Sprint(" ", c[i])
				case []uint64:
					text += fmt.Sprint(" ", c[i])
				case []string:
					text += " " + c[i]
				case clickhouse.Arrays:
					text += fmt.Sprint(" ", slices.Sorted(slices.Values(c.Values[c.Ends[i-1]:c.Ends[i]])))
				default:
					panic(fmt.Sprintf("a column of %T", c))
				}
			}
			out[text]++
		}
	}
	return out
}

// Whether, when and how often a rollup folds changes no row, and its memory stays within the limit.
func TestFoldingChangesNothing(t *testing.T) {
	zone := stockholm(t)
	key := seal.NewStatisticsKey(seal.MonthOf(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)))
	at := time.Date(2026, 10, 31, 21, 0, 0, 0, time.UTC).UnixMilli() // a local day and month ends two hours later
	const limit = 400
	fill := func(n uint64, lines int, folding bool) (_ *Rollup, full bool) {
		rnd := rand.New(rand.NewPCG(n, 1))
		r := NewRollup(key)
		for range lines {
			who, site := rnd.IntN(7), rnd.IntN(4)
			g := Group{Tenant: "norrbo", Population: "staff", Unit: []string{"school", "archive", ""}[who%3], Zone: zone}
			if who == 6 {
				g.Population = Guest
			}
			name := fmt.Sprintf("s%d.example", site)
			s := Site{Name: name, Domain: name, Category: []string{"news", "ads"}[site%2], Background: site == 3}
			if site < 2 {
				s.Domain = ProtectedDomain
			}
			r.Add(r.Subject(g, fmt.Append(nil, who)), r.Site(s), r.Country([]string{"SE", "NO"}[rnd.IntN(2)]),
				Request{Time: at + rnd.Int64N(4*3600_000), Requests: 1 + rnd.Uint64N(2), Blocked: rnd.Uint64N(2), BytesIn: rnd.Uint64N(1000), BytesOut: 1,
					NoVisit: rnd.IntN(5) == 0, NoPerson: rnd.IntN(9) == 0})
			if folding {
				if !full && len(r.grains) > limit {
					t.Fatalf("%d grains, the limit is %d", len(r.grains), limit)
				}
				full = r.Full(limit)
			}
		}
		return r, full
	}
	for seed := range uint64(8) {
		plain, _ := fill(seed, 3000, false)
		folding, _ := fill(seed, 3000, true)
		w := Watermark{Mark: 1, Next: 2, BegunAt: time.UnixMilli(at)}
		want, err := plain.Blocks(w)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the memory of the first is used again
			got, err := folding.Blocks(w)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := rows(got), rows(want); len(b) < 50 || !maps.Equal(a, b) {
				t.Fatalf("seed %d: %d rows differ from %d", seed, len(a), len(b))
			}
		}
	}
	// Two people and one site in four hours are few grains, however many lines; everything there is are more than fit.
	r := NewRollup(key)
	for i := range int64(100_000) {
		g := Group{Tenant: "norrbo", Population: "staff", Unit: "school", Zone: zone}
		r.Add(r.Subject(g, fmt.Append(nil, i%2)), r.Site(Site{Name: "a.example", Domain: "a.example", Category: "news"}), r.Country("SE"),
			Request{Time: at + i*144, Requests: 1})
		if r.Full(limit) {
			t.Fatalf("full after %d lines of 96 grains", i)
		}
	}
	if _, full := fill(1, 20_000, true); !full {
		t.Error("never full")
	}
}
