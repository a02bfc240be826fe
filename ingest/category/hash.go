package category

import (
	"encoding/binary"
	"math/bits"
)

const (
	maxHost   = 253 // bytes of a host name without its final dot (RFC 1035, section 2.3.4)
	maxLabel  = 63  // bytes of one label
	maxLabels = 16  // labels of the longest rule that is taken, and the most that a lookup looks at
)

// A hashKey is the secret of one compiled file: SipHash's 128 bit key (Aumasson and Bernstein, 2012). It is drawn at random
// for every file, so that nobody who can write into a public list can aim two names at one slot.
type hashKey struct{ k0, k1 uint64 }

// suffixes is what walk finds: for each number of labels, counted from the right, the keyed hash of that suffix and where in
// the host it begins. Entries below the least wanted number of labels are not filled in.
type suffixes struct {
	hash  [maxLabels]uint64
	start [maxLabels]uint8
	n     int  // how many
	odd   bool // the host has a colon or bytes above 0x7f: nothing was hashed
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	lows  = 0x7f7f7f7f7f7f7f7f
)

// lower makes eight bytes lower case at once and leaves bytes above 0x7f alone.
func lower(w uint64) uint64 {
	low := w & lows
	upper := (low + (0x80-'A')*ones) ^ (low + (0x7f-'Z')*ones)
	return w | (upper&^w&highs)>>2
}

// zeros answers the high bit of each byte of x that is zero.
func zeros(x uint64) uint64 { return ^(((x & lows) + lows) | x | lows) }

// gather moves the high bits of eight bytes together, the lowest byte's first.
func gather(x uint64) uint64 { return (x >> 7) * 0x0102040810204080 >> 56 }

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// walk hashes every suffix of host that begins at a label, from the right, without regard to case. It stops at most labels,
// and at an empty or overlong label, because what is left of one can't be a name. host has no final dot.
//
// The hash is SipHash-1-3 over the labels from right to left. Each label is its bytes in words of eight, then a last word whose
// top byte is its length with the high bit set; no byte of a name has that bit, so two names never share an encoding, and the
// state after a label serves every longer name.
func (k hashKey) walk(host []byte, least, most int, s *suffixes) {
	s.n, s.odd = 0, false
	if len(host) == 0 || len(host) > maxHost {
		return
	}
	// Words are read from the host itself, never behind its end. Copying it first would be simpler and a third slower: a read
	// across two fresh writes waits for both.
	from := host
	if len(from) < 8 {
		var small [8]byte
		copy(small[:], host)
		from = small[:]
	}
	var (
		dot [4]uint64
		odd uint64
		i   int
	)
	for ; i+8 <= len(host); i += 8 {
		w := binary.LittleEndian.Uint64(from[i:])
		odd |= w&highs | zeros(w^':'*ones)
		dot[i>>6&3] |= gather(zeros(w^'.'*ones)) << (i & 63)
	}
	if rest := uint(len(host) - i); rest > 0 {
		w := binary.LittleEndian.Uint64(from[len(from)-8:])
		if len(host) >= 8 {
			w >>= (64 - 8*rest) & 63
		}
		odd |= w&highs | zeros(w^':'*ones)
		dot[i>>6&3] |= gather(zeros(w^'.'*ones)) << (i & 63)
	}
	if odd != 0 {
		s.odd = true
		return
	}

	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	n := 0
	for end := len(host); n < most; {
		start := 0
		for word := (end - 1) >> 6; word >= 0; word-- {
			m := dot[word]
			if word == (end-1)>>6 {
				m &= ^uint64(0) >> (63 - uint(end-1)&63)
			}
			if m != 0 {
				start = word<<6 + bits.Len64(m)
				break
			}
		}
		if start == end || end-start > maxLabel {
			break
		}
		p := start
		for ; end-p >= 8; p += 8 {
			w := lower(binary.LittleEndian.Uint64(from[p:]))
			v3 ^= w
			v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
			v0 ^= w
		}
		var w uint64
		if rest := uint(end - p); end < 8 {
			w = binary.LittleEndian.Uint64(from) >> (8 * uint(p) & 63) & (1<<(8*rest&63) - 1)
		} else if rest > 0 {
			w = binary.LittleEndian.Uint64(from[end-8:]) >> ((64 - 8*rest) & 63)
		}
		w = lower(w) | uint64(0x80|(end-start))<<56
		v3 ^= w
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= w
		if n+1 >= least {
			s.hash[n] = sipEnd(v0, v1, v2^0xff, v3)
		}
		s.start[n] = uint8(start)
		n++
		if start == 0 {
			break
		}
		end = start - 1
	}
	s.n = n
}

func sipEnd(v0, v1, v2, v3 uint64) uint64 {
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

// address hashes an IP address, which has no suffixes. Its last constant differs from that of names: no name shares its hash.
func (k hashKey) address(a [16]byte) uint64 {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	for i := 0; i < 16; i += 8 {
		w := binary.LittleEndian.Uint64(a[i:])
		v3 ^= w
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= w
	}
	return sipEnd(v0, v1, v2^0xee, v3)
}
