package parse

import "hash/maphash"

// maxRecent is how many keys a recentKeys remembers.
const maxRecent = 1 << 16

// A recentKeys remembers the last maxRecent keys that it was given, as hashes: nothing of a key stays. Its zero value is ready.
type recentKeys struct {
	seed  maphash.Seed
	index map[uint64]struct{}
	order []uint64
	next  int
}

// add says whether the key is new among the last ones, and remembers it.
func (r *recentKeys) add(key []byte) bool {
	if r.index == nil {
		r.seed, r.index = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	hash := maphash.Bytes(r.seed, key)
	if _, old := r.index[hash]; old {
		return false
	}
	r.index[hash] = struct{}{}
	if len(r.order) < maxRecent {
		r.order = append(r.order, hash)
		return true
	}
	delete(r.index, r.order[r.next])
	r.order[r.next] = hash
	r.next = (r.next + 1) % maxRecent
	return true
}
