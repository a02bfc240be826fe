package synthetic

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// A random is the one source of chance. It draws whole numbers only: floating point differs between machines in the last
// bit, and the same seed must give the same bytes everywhere.
type random struct{ pcg rand.PCG }

func newRandom(seed, stream uint64) *random {
	r := &random{}
	r.pcg.Seed(seed, stream)
	return r
}

// below answers a number from 0 to n-1; n must not be 0.
func (r *random) below(n uint32) uint32 {
	return uint32(r.pcg.Uint64() >> 32 * uint64(n) >> 32)
}

// chance is true in perMille of 1000 cases.
func (r *random) chance(perMille uint32) bool { return r.below(1000) < perMille }

// heavy answers a number of about the given size with a long tail: mostly half to twice, seldom sixteen times as much.
func (r *random) heavy(typical uint32) uint32 {
	v := r.pcg.Uint64()
	shift := min(bits.TrailingZeros64(v), 4)
	base := typical/2 + 1
	return (base + uint32(v>>32*uint64(base)>>32)) << shift
}

func shuffle[T any](r *random, s []T) {
	for i := len(s) - 1; i > 0; i-- {
		j := r.below(uint32(i + 1))
		s[i], s[j] = s[j], s[i]
	}
}

// A choice draws an index in proportion to whole weights.
type choice struct{ upTo []uint32 }

func newChoice(weights []uint32) choice {
	c := choice{make([]uint32, len(weights))}
	var sum uint32
	for i, w := range weights {
		sum += w
		c.upTo[i] = sum
	}
	return c
}

func (c choice) draw(r *random) int {
	i, found := slices.BinarySearch(c.upTo, r.below(c.upTo[len(c.upTo)-1]))
	if found {
		// An equal bound belongs to the next weight, and weights of 0 repeat their bound.
		for v := c.upTo[i]; c.upTo[i] == v; i++ {
		}
	}
	return i
}
