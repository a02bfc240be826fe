package category

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWalkSuffixesAlone: whatever stands before it, and in whatever case, a suffix hashes as it does alone.
func TestWalkSuffixesAlone(t *testing.T) {
	k := hashKey{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	r := rand.New(rand.NewPCG(11, 12))
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	seen := make(map[uint64]string)
	for length := 1; length <= maxHost; length++ {
		for range 40 {
			host := make([]byte, length)
			for i := range host {
				host[i] = letters[r.IntN(len(letters))]
			}
			for i := 1 + r.IntN(20); i < length-1; i += 2 + r.IntN(30) {
				host[i] = '.'
			}
			labels := strings.Split(string(host), ".")
			var whole, upper suffixes
			k.walk(host, 1, maxLabels, &whole)
			k.walk(bytes.ToUpper(host), 1, maxLabels, &upper)
			if whole.n != min(len(labels), maxLabels) || whole.odd {
				t.Fatalf("%s: %d labels", host, whole.n)
			}
			for i := range whole.n {
				suffix := strings.Join(labels[len(labels)-i-1:], ".")
				if got := string(host[whole.start[i]:]); got != suffix {
					t.Fatalf("%s: suffix %d is %q", host, i, got)
				}
				var alone suffixes
				k.walk([]byte(suffix), 1, maxLabels, &alone)
				if alone.hash[i] != whole.hash[i] || upper.hash[i] != whole.hash[i] {
					t.Fatalf("%s: the hash of %q differs", host, suffix)
				}
				if other, ok := seen[whole.hash[i]]; ok && other != suffix {
					t.Fatalf("%q and %q have one hash", suffix, other)
				}
				seen[whole.hash[i]] = suffix
			}
		}
	}
	for _, host := range []string{"a:1", "1234567:", "ä.se", "aaaaaaaaaaaaaaaaaaaa\xff", "\x80"} {
		var s suffixes
		if k.walk([]byte(host), 1, maxLabels, &s); !s.odd || s.n != 0 {
			t.Errorf("%q: %+v", host, s)
		}
	}
}

// TestHashIsSipHash holds a name of one label against SipHash-1-3 written down from the paper, and shows that the key matters.
func TestHashIsSipHash(t *testing.T) {
	k := hashKey{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	var s suffixes
	k.walk([]byte("abcdefghij"), 1, 1, &s)
	reference := func(words ...uint64) uint64 {
		v := [4]uint64{k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d, k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573}
		rotl := func(x uint64, n uint) uint64 { return x<<n | x>>(64-n) }
		round := func() {
			v[0] += v[1]
			v[1] = rotl(v[1], 13)
			v[1] ^= v[0]
			v[0] = rotl(v[0], 32)
			v[2] += v[3]
			v[3] = rotl(v[3], 16)
			v[3] ^= v[2]
			v[0] += v[3]
			v[3] = rotl(v[3], 21)
			v[3] ^= v[0]
			v[2] += v[1]
			v[1] = rotl(v[1], 17)
			v[1] ^= v[2]
			v[2] = rotl(v[2], 32)
		}
		for _, w := range words {
			v[3] ^= w
			round()
			v[0] ^= w
		}
		v[2] ^= 0xff
		round()
		round()
		round()
		return v[0] ^ v[1] ^ v[2] ^ v[3]
	}
	const first, last = 0x6867666564636261, 0x8a0000000000_6a69
	if want := reference(first, last); s.hash[0] != want {
		t.Errorf("%x, want %x", s.hash[0], want)
	}
	var other suffixes
	hashKey{1, 2}.walk([]byte("abcdefghij"), 1, 1, &other)
	if other.hash[0] == s.hash[0] {
		t.Error("the key does not matter")
	}
}
