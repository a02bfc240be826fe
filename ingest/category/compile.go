package category

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// errCollision says that two names can't be told apart under this key. Another key will do: it is a matter of chance, about one
// in a million at five million names.
var errCollision = errors.New("two names share a fingerprint")

// Overrides is the name under which local overrides appear as a list.
const Overrides = "override"

// An entry is one rule while it is compiled: names themselves are not kept.
type entry struct {
	hash, check uint64 // under two independent keys: 128 bits stand for the name
	member      uint32
}

// compiler gathers rules of lists into one file.
type compiler struct {
	key, second hashKey
	manifest    manifest
	entries     []entry
	most, least int
	category    map[string]int
	member      map[memberInfo]uint32
	scratch     [2]suffixes
}

func randomKey() hashKey {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hashKey{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// compile makes the bytes of a compiled file. Lists come in order of precedence.
func compile(ctx context.Context, cfg Config, lists []*snapshot, now time.Time) ([]byte, error) {
	var err error
	for range 8 {
		c := compiler{key: randomKey(), second: randomKey()}
		var image []byte
		if image, err = c.run(ctx, cfg, lists, now); !errors.Is(err, errCollision) {
			return image, err
		}
	}
	return nil, err
}

func (c *compiler) run(ctx context.Context, cfg Config, lists []*snapshot, now time.Time) ([]byte, error) {
	c.manifest.Created, c.manifest.Recipe = now.UTC().Truncate(time.Second), cfg.recipe()
	c.category, c.member = make(map[string]int), make(map[memberInfo]uint32)
	c.most, c.least = 1, maxLabels
	classes := cfg.classes()

	total := len(cfg.Overrides)
	for _, s := range lists {
		total += s.Rules + s.Exceptions
	}
	c.entries = make([]entry, 0, total)
	if len(cfg.Overrides) > 0 {
		c.overrides(cfg, classes, now)
	}
	for _, s := range lists {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at := len(c.manifest.Lists)
		c.manifest.Lists = append(c.manifest.Lists, s.ListInfo)
		var ids [2]struct {
			category string
			id       uint32
		}
		err := s.each(func(category, name []byte, exception bool) error {
			which := 0
			if exception {
				which = 1
			}
			if x := &ids[which]; x.category != string(category) {
				class, ok := classes[string(category)]
				if !ok {
					return fmt.Errorf("list %s: category %q is not known: give it a class under classes", s.Name, category)
				}
				x.category = string(category)
				x.id = c.memberID(memberInfo{List: at, Category: c.categoryID(x.category, class), Exception: exception})
			}
			return c.add(name, ids[which].id)
		})
		if err != nil {
			return nil, err
		}
	}
	return c.build()
}

func (c *compiler) overrides(cfg Config, classes map[string]Class, now time.Time) {
	text, _ := json.Marshal(cfg.Overrides)
	sum := sha256.Sum256(text)
	info := ListInfo{
		Name: Overrides, Format: configured, SHA256: fmt.Sprintf("%x", sum), Version: fmt.Sprintf("sha256:%x", sum[:6]),
		Fetched: now.UTC().Truncate(time.Second), Rules: len(cfg.Overrides), Categories: make(map[string]int),
	}
	for _, o := range cfg.Overrides {
		name, reason := appendName(nil, []byte(o.Domain))
		if reason != "" {
			continue // Validate has refused it
		}
		info.Categories[o.Category]++
		id := c.memberID(memberInfo{Category: c.categoryID(o.Category, classes[o.Category]), Override: true, Reason: o.Reason})
		_ = c.add(name, id)
	}
	c.manifest.Lists = append(c.manifest.Lists, info)
}

func (c *compiler) categoryID(name string, class Class) int {
	id, ok := c.category[name]
	if !ok {
		id = len(c.manifest.Categories)
		c.category[name] = id
		c.manifest.Categories = append(c.manifest.Categories, categoryInfo{name, class})
	}
	return id
}

func (c *compiler) memberID(m memberInfo) uint32 {
	id, ok := c.member[m]
	if !ok {
		id = uint32(len(c.manifest.Members))
		c.member[m] = id
		c.manifest.Members = append(c.manifest.Members, m)
	}
	return id
}

// add takes one canonical name or address.
func (c *compiler) add(name []byte, member uint32) error {
	if a, ok := parseAddress(name); ok {
		c.entries = append(c.entries, entry{c.key.address(a.As16()), c.second.address(a.As16()), member})
		return nil
	}
	one, two := &c.scratch[0], &c.scratch[1]
	labels := bytes.Count(name, []byte{'.'}) + 1
	c.key.walk(name, labels, maxLabels, one)
	c.second.walk(name, labels, maxLabels, two)
	if one.n != labels || one.odd {
		return errors.New("a rule that is no canonical name: the copy that was taken is damaged")
	}
	c.most, c.least = max(c.most, labels), min(c.least, labels)
	c.entries = append(c.entries, entry{one.hash[labels-1], two.hash[labels-1], member})
	return nil
}

// precedence orders the members of one name: overrides, protected categories, the lists in their order; within one list the
// graver class, then the name.
func (c *compiler) precedence(a, b uint32) int {
	rank := func(n uint32) (int, int, int, string) {
		m := c.manifest.Members[n]
		k := c.manifest.Categories[m.Category]
		first := 2
		switch {
		case m.Override:
			first = 0
		case k.Class == Protected:
			first = 1
		}
		grave := slices.Index([]Class{Protected, Forbidden, Limited, Background, Ordinary}, k.Class)
		return first, m.List, grave, k.Name
	}
	a1, a2, a3, a4 := rank(a)
	b1, b2, b3, b4 := rank(b)
	return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2), cmp.Compare(a3, b3), strings.Compare(a4, b4), cmp.Compare(a, b))
}

// A placed name is one slot of the file.
type placed struct {
	hash uint64
	set  uint16
}

func (c *compiler) build() ([]byte, error) {
	slices.SortFunc(c.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.check, b.check), cmp.Compare(a.member, b.member))
	})
	c.manifest.Sets = [][]uint32{{}}
	numbers := make(map[string]uint16)
	names := make([]placed, 0, len(c.entries))
	var members []uint32
	var name []byte
	for i := 0; i < len(c.entries); {
		e := c.entries[i]
		members = members[:0]
		for ; i < len(c.entries) && c.entries[i].hash == e.hash; i++ {
			if c.entries[i].check != e.check {
				return nil, errCollision
			}
			members = append(members, c.entries[i].member)
		}
		members = c.settle(members)
		name = name[:0]
		for _, m := range members {
			name = binary.LittleEndian.AppendUint32(name, m)
		}
		id, ok := numbers[string(name)]
		if !ok {
			if len(c.manifest.Sets) > mostSets {
				return nil, errors.New("the lists overlap in more than 65535 ways: use fewer lists or categories")
			}
			id = uint16(len(c.manifest.Sets))
			numbers[string(name)] = id
			c.manifest.Sets = append(c.manifest.Sets, slices.Clone(members))
		}
		names = append(names, placed{e.hash, id})
	}
	c.entries = nil
	return c.image(names)
}

// settle orders the members of one name, drops repetitions, and what an exception of the same list takes out.
func (c *compiler) settle(members []uint32) []uint32 {
	members = slices.Compact(members)
	slices.SortFunc(members, c.precedence)
	out := make([]uint32, 0, len(members))
	counted := -1
	for _, n := range members {
		m := c.manifest.Members[n]
		except := func(o uint32) bool {
			x := c.manifest.Members[o]
			return x.Exception && x.List == m.List
		}
		if !m.Exception && slices.ContainsFunc(members, except) {
			continue
		}
		if !m.Exception && m.List != counted {
			counted = m.List
			c.manifest.Lists[m.List].Domains++
		}
		out = append(out, n)
	}
	return out
}

// fill is how many of a bucket's eight slots are in use on average: 11.6 bytes a domain, and one probe in ten goes on to the
// next bucket.
const fill = 5.5

// image lays names, which are in order of their hashes, out into a file and asks the file for each of them.
func (c *compiler) image(names []placed) ([]byte, error) {
	spread := uint64(float64(len(names))/fill) + 1
	const slots = bucketBytes / slotBytes

	// Homes come in order of the hash, so every bucket before the current one is either full or behind all names to come.
	total, at, used, run, longest := spread, uint64(0), 0, uint64(1), uint64(1)
	buckets := make([]byte, spread*bucketBytes)
	for _, n := range names {
		home, _ := bits.Mul64(n.hash, spread)
		if home > at {
			at, used = home, 0
		} else if used == slots {
			at, used = at+1, 0
		}
		run = at - home + 1
		longest = max(longest, run+1)
		if at == total {
			total++
			buckets = append(buckets, make([]byte, bucketBytes)...)
		}
		binary.LittleEndian.PutUint64(buckets[at*bucketBytes+uint64(used)*slotBytes:], n.hash<<16|uint64(n.set))
		used++
	}
	text, err := json.Marshal(c.manifest)
	if err != nil {
		return nil, err
	}
	if c.least > c.most {
		c.least = 1 // addresses only
	}

	image := make([]byte, headerBytes, headerBytes+len(buckets)+len(text))
	le := binary.LittleEndian
	copy(image, magic)
	le.PutUint32(image[8:], layout)
	le.PutUint16(image[12:], uint16(c.least))
	le.PutUint16(image[14:], uint16(c.most))
	le.PutUint64(image[16:], c.key.k0)
	le.PutUint64(image[24:], c.key.k1)
	le.PutUint64(image[32:], uint64(headerBytes+len(buckets)+len(text)))
	le.PutUint64(image[40:], spread)
	le.PutUint64(image[48:], total)
	le.PutUint64(image[56:], uint64(len(text)))
	le.PutUint64(image[64:], uint64(len(names)))
	le.PutUint64(image[72:], longest)
	body, tail := sha256.Sum256(buckets), sha256.Sum256(text)
	copy(image[96:], body[:])
	copy(image[128:], tail[:])
	head := sha256.Sum256(image[:headerUsed])
	copy(image[headerUsed:], head[:])
	image = append(append(image, buckets...), text...)

	t, err := read(image)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if t.probe(n.hash) != int(n.set) {
			return nil, errCollision
		}
	}
	return image, nil
}

// sweep removes what writers that were killed left behind.
func sweep(dir string, now time.Time) {
	downloads, _ := filepath.Glob(filepath.Join(dir, ".*.tmp"))
	compiled, _ := filepath.Glob(filepath.Join(dir, ".new-*")) // package durable's
	for _, name := range append(downloads, compiled...) {
		if fi, err := os.Stat(name); err == nil && now.Sub(fi.ModTime()) > time.Hour {
			_ = os.Remove(name)
		}
	}
}
