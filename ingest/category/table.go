package category

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"time"

	mmap "github.com/edsrzf/mmap-go"
)

// The compiled file, all numbers little endian:
//
//	0     magic, 8 bytes
//	8     version of the layout, uint32
//	12    fewest labels of a rule, uint16; most labels of a rule, uint16
//	16    key of the hash, 16 bytes
//	32    size of the file, uint64
//	40    buckets that hashes are spread over, uint64
//	48    buckets there are, with those behind the last that took its overflow, uint64
//	56    length of the manifest, uint64
//	64    domains, uint64
//	72    most buckets that one probe reads, uint64
//	96    SHA-256 of the buckets
//	128   SHA-256 of the manifest
//	160   SHA-256 of the 160 bytes before
//	4096  buckets: 64 bytes each, one cache line, eight slots of uint64: upper 48 bits of a slot are the lower 48 bits of a
//	      domain's hash, lower 16 bits the number of its set; a free slot is 0, and free slots come last
//	...   manifest, JSON
//
// A domain lives in the bucket that the upper bits of its hash name, or in the first one behind it that had room. Nothing in
// the file depends on where it is mapped.
const (
	magic       = "tillsyn\x01"
	layout      = 1
	headerBytes = 4096
	headerUsed  = 160
	bucketBytes = 64
	slotBytes   = 8
	mostSets    = 1<<16 - 1
)

// manifest is what the compiled file says about itself: small, and copied to the heap when the file is opened, so that no
// string of a Verdict points into the mapping.
type manifest struct {
	Created    time.Time      `json:"created"`
	Recipe     string         `json:"recipe"`
	Lists      []ListInfo     `json:"lists"`
	Categories []categoryInfo `json:"categories"`
	Members    []memberInfo   `json:"members"`
	Sets       [][]uint32     `json:"sets"` // members by precedence; set 0 is "no rule"
}

type categoryInfo struct {
	Name  string `json:"name"`
	Class Class  `json:"class"`
}

type memberInfo struct {
	List      int    `json:"list"`
	Category  int    `json:"category"`
	Exception bool   `json:"exception,omitempty"`
	Override  bool   `json:"override,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// ListInfo describes one list in a compiled file.
type ListInfo struct {
	Name       string         `json:"name"`
	Format     Format         `json:"format"`
	Version    string         `json:"version"` // what the list says of itself, else the start of its SHA-256
	SHA256     string         `json:"sha256"`  // of the list as it was read
	Fetched    time.Time      `json:"fetched"`
	Domains    int            `json:"domains"` // distinct rules
	Rules      int            `json:"rules"`   // with repetitions
	Exceptions int            `json:"exceptions,omitempty"`
	Skipped    map[Reason]int `json:"skipped,omitempty"`
	Categories map[string]int `json:"categories"`         // rules by category
	Unmapped   []string       `json:"unmapped,omitempty"` // folders without a category
}

// Info describes a compiled file.
type Info struct {
	Created       time.Time  `json:"created"`
	Lists         []ListInfo `json:"lists"`
	Domains       int        `json:"domains"`
	Bytes         int64      `json:"bytes"`
	FalsePositive float64    `json:"false_positive"` // at most, per lookup of a host that is in no list
}

// Verdict is what the lists say about a host.
type Verdict struct {
	Category   string   // of the deciding rule; "" when no list knows the host
	Categories []string // all categories given to the matched suffix, the deciding one first; shared: not to be changed
	Class      Class    // of Category; Ordinary when there is none
	List       string   // the deciding rule's list
	Version    string   // and its version
	Override   bool     // the rule is a local override
	Reason     string   // of the override
	Rule       []byte   // the matched suffix, as a part of the host that was asked for
}

// A Match is one rule that covers a host.
type Match struct {
	Rule      string `json:"rule"`
	List      string `json:"list"`
	Version   string `json:"version"`
	Category  string `json:"category"`
	Class     Class  `json:"class"`
	Exception bool   `json:"exception,omitempty"` // takes the host out of the list
	Override  bool   `json:"override,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Decides   bool   `json:"decides,omitempty"` // this is the one behind the verdict
}

// ErrDamaged says that a compiled file is not what was written.
var ErrDamaged = errors.New("compiled lists are damaged: compile them again")

// A Table is one compiled file, open. It is safe for concurrent use and never changes. Its memory is given back when the
// garbage collector finds that nobody holds it any more: there is no Close that a lookup could race with.
type Table struct {
	data     []byte // the whole mapping
	buckets  []byte // the part with the slots
	spread   uint64
	total    uint64
	key      hashKey
	least    int
	most     int
	longest  uint64
	domains  uint64
	manifest manifest
	sets     []set
	special  []bool // by set: it has an exception or a protected member, so shorter suffixes have a say
}

// set is one combination of members that at least one domain has.
type set struct {
	verdict Verdict // of its first member
	members []member
}

type member struct {
	verdict   Verdict
	list      int
	exception bool
}

// Open maps a compiled file and checks its header and manifest; Verify checks the rest.
func Open(path string) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open compiled lists: %w", err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() < headerBytes {
		return nil, fmt.Errorf("open compiled lists: %w", ErrDamaged)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map compiled lists: %w", err)
	}
	t, err := read(m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open compiled lists: %w", err), m.Unmap())
	}
	runtime.AddCleanup(t, func(m mmap.MMap) { _ = m.Unmap() }, m)
	return t, nil
}

// read makes a table of a compiled file's bytes, which must not change while it is in use.
func read(data []byte) (*Table, error) {
	if len(data) < headerBytes || string(data[:8]) != magic {
		return nil, ErrDamaged
	}
	le := binary.LittleEndian
	if v := le.Uint32(data[8:]); v != layout {
		return nil, fmt.Errorf("layout %d is not the one this program reads (%d): compile the lists again", v, layout)
	}
	if sum := sha256.Sum256(data[:headerUsed]); !bytes.Equal(sum[:], data[headerUsed:headerUsed+32]) {
		return nil, ErrDamaged
	}
	t := &Table{
		data:  data,
		least: int(le.Uint16(data[12:])), most: int(le.Uint16(data[14:])),
		key:    hashKey{le.Uint64(data[16:]), le.Uint64(data[24:])},
		spread: le.Uint64(data[40:]), total: le.Uint64(data[48:]),
		domains: le.Uint64(data[64:]), longest: le.Uint64(data[72:]),
	}
	size, text := le.Uint64(data[32:]), le.Uint64(data[56:])
	if size != uint64(len(data)) || t.total > size/bucketBytes || t.spread == 0 || t.spread > t.total ||
		t.least < 1 || t.most > maxLabels || text > size || headerBytes+t.total*bucketBytes+text != size {
		return nil, ErrDamaged
	}
	end := headerBytes + t.total*bucketBytes
	t.buckets = data[headerBytes:end:end]
	if sum := sha256.Sum256(data[end:]); !bytes.Equal(sum[:], data[128:160]) {
		return nil, ErrDamaged
	}
	if err := json.Unmarshal(data[end:], &t.manifest); err != nil {
		return nil, ErrDamaged
	}
	if err := t.resolveSets(); err != nil {
		return nil, err
	}
	return t, nil
}

// resolveSets turns the manifest's numbers into ready verdicts.
func (t *Table) resolveSets() error {
	m := &t.manifest
	all := make([]member, len(m.Members))
	for i, x := range m.Members {
		if x.List < 0 || x.List >= len(m.Lists) || x.Category < 0 || x.Category >= len(m.Categories) {
			return ErrDamaged
		}
		c := m.Categories[x.Category]
		all[i] = member{
			list: x.List, exception: x.Exception,
			verdict: Verdict{
				Category: c.Name, Class: c.Class, List: m.Lists[x.List].Name, Version: m.Lists[x.List].Version,
				Override: x.Override, Reason: x.Reason,
			},
		}
	}
	t.sets, t.special = make([]set, len(m.Sets)), make([]bool, len(m.Sets))
	for i, numbers := range m.Sets {
		s := &t.sets[i]
		for _, n := range numbers {
			if int(n) >= len(all) {
				return ErrDamaged
			}
			s.members = append(s.members, all[n])
		}
		names := categories(s.members)
		for j := range s.members {
			x := &s.members[j]
			x.verdict.Categories = names
			t.special[i] = t.special[i] || x.exception || x.verdict.Class == Protected
		}
		if len(s.members) > 0 && !s.members[0].exception {
			s.verdict = s.members[0].verdict
		}
	}
	return nil
}

// categories lists what members say, each once, in their order. A local override silences the others.
func categories(members []member) []string {
	var out []string
	for _, m := range members {
		if !m.exception && !slices.Contains(out, m.verdict.Category) {
			out = append(out, m.verdict.Category)
		}
		if m.verdict.Override {
			break
		}
	}
	return out
}

// Verify reads the whole file and compares it with its checksum.
func (t *Table) Verify() error {
	defer runtime.KeepAlive(t)
	if sum := sha256.Sum256(t.buckets); !bytes.Equal(sum[:], t.data[96:128]) {
		return ErrDamaged
	}
	for i := 0; i < len(t.buckets); i += slotBytes {
		if int(binary.LittleEndian.Uint64(t.buckets[i:])&mostSets) >= len(t.sets) {
			return ErrDamaged
		}
	}
	return nil
}

// Info describes the file.
func (t *Table) Info() Info {
	return Info{
		Created: t.manifest.Created, Lists: t.manifest.Lists, Domains: int(t.domains), Bytes: int64(len(t.data)),
		FalsePositive: falsePositive(t.most-t.least+1, t.longest),
	}
}

// falsePositive bounds the chance that a host in no list meets a slot with its 48 bits: probes times slots read per probe.
func falsePositive(probes int, longest uint64) float64 {
	return float64(probes) * float64(longest) * (bucketBytes / slotBytes) / (1 << 48)
}

// probe answers the set of the domain with hash h, or 0.
func (t *Table) probe(h uint64) int {
	b, _ := bits.Mul64(h, t.spread)
	want := h << 16
	for ; b < t.total; b++ {
		line := t.buckets[b*bucketBytes:]
		line = line[:bucketBytes:bucketBytes]
		// All eight slots are compared without a branch, which would be guessed wrong at every hit. A free slot adds nothing, and
		// the compiler has seen to it that at most one other does.
		var got uint64
		for i := 0; i < bucketBytes; i += slotBytes {
			e := binary.LittleEndian.Uint64(line[i:])
			got |= e & -((((e ^ want) >> 16) - 1) >> 63)
		}
		if got != 0 {
			return int(got & mostSets)
		}
		if binary.LittleEndian.Uint64(line[bucketBytes-slotBytes:]) == 0 {
			return 0
		}
	}
	return 0
}

// found is what a host met in the table, by number of labels.
type found struct {
	suffixes
	set     [maxLabels]uint16
	last    int  // the longest suffix that is a rule, -1 for none
	special bool // lookup by the longest suffix alone may be wrong
	touched byte // keeps the compiler from dropping loads that are made ahead
}

// find fills f. It answers the host without final dot, port and brackets.
func (t *Table) find(host []byte, f *found) []byte {
	f.last = -1
	n := len(host)
	if n > 0 && host[n-1] == '.' {
		n--
		host = host[:n]
	}
	if n == 0 {
		return host
	}
	if host[n-1]-'0' < 10 && looksNumeric(host) {
		return t.findAddress(host, f)
	}
	t.key.walk(host, t.least, t.most, &f.suffixes)
	if f.odd {
		return t.findOdd(host, f)
	}
	// The lines that will be compared are asked for together: one wait for memory instead of one after the other.
	var touched byte
	for i := t.least - 1; i < f.n; i++ {
		b, _ := bits.Mul64(f.hash[i], t.spread)
		touched |= t.buckets[b*bucketBytes]
	}
	f.touched = touched
	for i := t.least - 1; i < f.n; i++ {
		t.look(f, i)
	}
	return host
}

func (t *Table) findAddress(host []byte, f *found) []byte {
	if bare := stripPort(host); len(bare) < len(host) {
		return t.find(bare, f)
	}
	if a, ok := parseAddress(host); ok {
		f.n, f.start[0], f.hash[0] = 1, 0, t.key.address(a.As16())
		t.look(f, 0)
	}
	return host
}

// findOdd is the way of hosts with a port, IPv6 addresses, and names that were logged in letters instead of A-labels.
func (t *Table) findOdd(host []byte, f *found) []byte {
	if bytes.IndexByte(host, ':') >= 0 {
		return t.findAddress(host, f)
	}
	ascii, ok := asciiHost(host)
	if !ok {
		return host
	}
	t.key.walk(ascii, t.least, t.most, &f.suffixes)
	if f.odd || len(host) > maxHost {
		f.n = 0
		return host
	}
	for i, end := 0, len(host); i < f.n; i++ {
		start := bytes.LastIndexByte(host[:end], '.') + 1
		f.start[i] = uint8(start)
		end = max(0, start-1)
	}
	for i := t.least - 1; i < f.n; i++ {
		t.look(f, i)
	}
	return host
}

func (t *Table) look(f *found, i int) {
	n := t.probe(f.hash[i])
	f.set[i] = 0
	if n != 0 && n < len(t.special) {
		f.set[i] = uint16(n)
		f.last = i
		f.special = f.special || t.special[n]
	}
}

// Lookup answers what the lists say about a host name or IP address, in any case, with or without final dot.
//
// The rule with the longest matching suffix, at label borders, decides; of several at one length a local override comes first,
// then protected categories, then the lists in their configured order. Two things reach down from shorter suffixes: a
// protected category covers everything under it unless an override at least as long says otherwise, since what is listed under
// a hospital or a union is part of it; and a list's own exception takes a host out of that list altogether, as the authors of
// such lists mean it.
//
// It allocates nothing, but for hosts in other letters than ASCII and for those where an exception removes some of several
// categories.
func (t *Table) Lookup(host []byte) (v Verdict) {
	var f found
	host = t.find(host, &f)
	if f.last >= 0 {
		at := f.last
		if f.special {
			v, at = t.decide(&f)
		} else {
			v = t.sets[f.set[at]].verdict
		}
		if v.Category != "" {
			v.Rule = host[f.start[at]:]
		}
	}
	runtime.KeepAlive(t)
	return v
}

// decide is Lookup's rule in full.
func (t *Table) decide(f *found) (Verdict, int) {
	var (
		winner  *member
		level   int
		removed bool
	)
	for i := f.last; i >= 0; i-- {
		if i >= f.n || f.set[i] == 0 {
			continue
		}
		members := t.sets[f.set[i]].members
		for j := range members {
			m := &members[j]
			switch {
			case m.verdict.Override:
				if winner == nil {
					winner, level = m, i
				}
				return t.verdict(winner, f, level), level
			case m.exception || t.excepted(f, m.list):
				removed = true
			case winner == nil, m.verdict.Class == Protected && winner.verdict.Class != Protected:
				winner, level = m, i
			}
		}
	}
	if winner == nil {
		return Verdict{}, 0
	}
	v := winner.verdict
	if removed {
		v = t.verdict(winner, f, level)
	}
	return v, level
}

// excepted says whether one of the suffixes is an exception of the list.
func (t *Table) excepted(f *found, list int) bool {
	for i := 0; i <= f.last; i++ {
		if f.set[i] == 0 {
			continue
		}
		for _, m := range t.sets[f.set[i]].members {
			if m.exception && m.list == list {
				return true
			}
		}
	}
	return false
}

// verdict answers winner's, with the categories that exceptions leave.
func (t *Table) verdict(winner *member, f *found, level int) Verdict {
	v := winner.verdict
	members := t.sets[f.set[level]].members
	if v.Override || !slices.ContainsFunc(members, func(m member) bool { return !m.exception && t.excepted(f, m.list) }) {
		return v
	}
	var left []member
	for _, m := range members {
		if !m.exception && !t.excepted(f, m.list) {
			left = append(left, m)
		}
	}
	v.Categories = categories(left)
	return v
}

// Explain answers every rule that covers a host, the longest suffix first, and which one decides.
func (t *Table) Explain(host []byte) []Match {
	var f found
	host = t.find(host, &f)
	decided := t.Lookup(host)
	var out []Match
	for i := f.last; i >= 0; i-- {
		if f.set[i] == 0 {
			continue
		}
		rule := string(host[f.start[i]:])
		for _, m := range t.sets[f.set[i]].members {
			v := m.verdict
			decides := !m.exception && v.Category == decided.Category && v.List == decided.List && v.Override == decided.Override &&
				len(rule) == len(decided.Rule)
			out = append(out, Match{
				Rule: rule, List: v.List, Version: v.Version, Category: v.Category, Class: v.Class,
				Exception: m.exception, Override: v.Override, Reason: v.Reason, Decides: decides,
			})
		}
	}
	runtime.KeepAlive(t)
	return out
}
