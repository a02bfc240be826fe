package casework

import (
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

var tries = flag.Int("tries", 1000, "how often the test of case 41 asks for each of two people")

// A pairedTest is Student's t of the differences of pairs: what drifts while it runs is in both halves of a pair.
func pairedTest(a, b []float64) float64 {
	var sum, squares float64
	n := float64(len(a))
	for i := range a {
		sum += (a[i] - b[i]) / n
	}
	for i := range a {
		squares += (a[i] - b[i] - sum) * (a[i] - b[i] - sum)
	}
	return sum / math.Sqrt(squares/(n-1)/n)
}

// cropped are the pairs of which neither half is among the slowest of all: without what the machine did meanwhile.
func cropped(a, b []float64, share float64) (x, y []float64) {
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	most := all[int(share*float64(len(all)-1))]
	for i := range a {
		if a[i] <= most && b[i] <= most {
			x, y = append(x, a[i]), append(y, b[i])
		}
	}
	return x, y
}

// Case 41: whoever asks under a decision that nobody has approved learns neither from the answer nor from its time whether the person
// is in the logs. Nothing is there to ask the vault with. Pairs in random order, the time of the whole lookup, refusal on record
// and all.
func TestRefusalsTellNothing(t *testing.T) {
	h := newHouse(t, &database{town: newTown(t), lookup: get(vault.OpenLookup(filepath.Join(t.TempDir(), "lookup.key"), noon))})
	h.gate.p.Lookup = seal.LookupKey{} // whatever asks for keys fails with another error
	people := [2]*Decision{
		h.request(nil),
		h.request(func(d *Decision) {
			d.Case, d.Scope.Subject, d.Scope.Names = "KS 2026/0124", "inge.alls", []string{"inge.alls@norrbo.se"} // as long as the other
		}),
	}
	r := rand.New(rand.NewPCG(3, 4))
	var took [2][]float64
	try := func(which int) {
		d := people[which]
		ask := h.ask(d, "utredare")
		begin := time.Now()
		result, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { return errors.New("a row") })
		took[which] = append(took[which], float64(time.Since(begin)))
		if err == nil || err.Error() != ErrRefused.Error() || result != (Result{}) {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	for range *tries {
		first := r.IntN(2)
		try(first)
		try(1 - first)
	}
	if n := h.count(audit.AccessRefused); n != 2**tries {
		t.Errorf("%d refusals on record", n)
	}
	refusals := map[int64]int{}
	size := map[int]int{}
	for _, e := range get(h.log.Entries(t.Context())) {
		if e.Kind == audit.AccessRefused {
			refusals[e.Counts["reason"]]++
			size[len(get(jsonOf(e.Entry)))]++
		}
	}
	if len(refusals) != 1 || len(size) != 1 {
		t.Errorf("the record tells refusals apart: reasons %v, sizes %v", refusals, size)
	}
	whole := pairedTest(took[0], took[1])
	a, b := cropped(took[0], took[1], 0.9)
	part := pairedTest(a, b)
	median := func(x []float64) time.Duration { return time.Duration(slices.Sorted(slices.Values(x))[len(x)/2]) }
	t.Logf("%d tries each: t = %.2f, %.2f without the slowest tenth, Welch's %.2f; medians %v and %v", *tries, whole, part, welch(took[0], took[1]), median(took[0]), median(took[1]))
	for _, x := range []float64{whole, part} {
		if math.Abs(x) >= 4.5 || math.IsNaN(x) {
			t.Errorf("refusals differ in time: t = %.1f", x)
		}
	}
}
