package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
)

// What a capsule seals, version 1:
//
//	plaintext = form, payload
//	form 1:     payload is the body
//	form 2:     payload is the body as one Zstandard frame (RFC 8878) without its magic number, with dictionary 1
//
//	body      = present, strings, columns
//	present   = uvarint: bit i is number column i, bit 11+i text column i; a column that is absent in every event is not there
//	strings   = uvarint count, count lengths as uvarints, the bytes of all
//	columns   = the number columns that are present, then the text columns, in the order of their numbers in event.go
//
//	number column = header byte, data. The low two bits of the header are the mode, the next two the scale: 1, 10^3, 10^6, 10^9.
//	  mode 0: zigzag uvarint: the value of every event
//	  mode 1: for each event 0 if it is absent, else 1 + zigzag of value / scale, as uvarints
//	  mode 2: for each event zigzag of value / scale less that of the event before, as uvarints; before the first it is 0
//	  mode 3: uvarint count, count values as zigzag uvarints, for each event the index of its value as uvarint
//	  Times are milliseconds since the second that the capsule's label says it begins with.
//
//	text column = for each event, in a uvarint:
//	  0: what the last event with the same context had, or nothing if there was none     1: the next string that was not used yet
//	  2: absent     3: the string that the context is     4 + i: string i
//	  The context of an event is its text in the column that contextOf names, or the same for all events. Where the first code
//	  is followed by zeros only, and the column has no context, they are left out: mode byte 0 before the code; else mode byte 1.
//
// How many events there are stands in the label. Events are in the order of their times.
const (
	formStored     = 1
	formCompressed = 2

	maxEvents    = 4096     // in a capsule
	maxBody      = 8 << 20  // bytes of a body: what a reader takes in
	maxEventSize = 4 << 20  // bytes of one event
	cutBody      = 96 << 10 // bytes of text after which a capsule is full
)

const (
	modeSame   = 0
	modeValues = 1
	modeDeltas = 2
	modeIndex  = 3
	maxIndex   = 32 // distinct values of a number column of mode 3

	codePredicted = 0
	codeNew       = 1
	codeAbsent    = 2
	codeContext   = 3
	codeString    = 4
)

// scales are what numbers of one column may all be multiples of.
func scales() [4]int64 { return [4]int64{1, 1e3, 1e6, 1e9} }

// contextOf is the text column that a column's value mostly depends on; -1: the event before.
func contextOf(column int) int {
	switch column {
	case colScheme, colPath, colReferrer, colDestinationIP, colCategory, colRule:
		return colDomain
	case colMethod:
		return colScheme
	case colQuery, colMIME:
		return colPath
	case colClass, colList:
		return colCategory
	case colVersion:
		return colList
	case colCountry:
		return colDestinationIP
	case colCode:
		return colOutcome
	}
	return -1
}

// A span is a piece of an arena; length -1 is absent.
type span struct{ at, length int32 }

// columns are the events of one capsule before they are laid out.
type columns struct {
	arena  []byte
	used   uint64 // the columns that have values: the others are absent in every event
	number [numberColumns][]int64
	text   [textColumns][]span
}

func (c *columns) reset() {
	for i := range c.number {
		c.number[i] = c.number[i][:0]
	}
	for i := range c.text {
		c.text[i] = c.text[i][:0]
	}
}

func (c *columns) bytes(s span) []byte { return c.arena[s.at : s.at+s.length] }

// An encoder lays columns out as a body. It keeps its memory.
type encoder struct {
	seed    maphash.Seed
	slots   []uint32 // hash table of strings: index + 1
	strings []span
	refs    [textColumns][]uint32 // per event: 0 absent, i + 1 string i
	last    []uint32              // by context: ref + 1, or 0
	texts   []byte                // the text columns, which are laid out first
	sorted  []int64
}

func newEncoder() *encoder { return &encoder{seed: maphash.MakeSeed(), slots: make([]uint32, 64)} }

// intern answers the index of a string, and whether it is new.
func (e *encoder) intern(c *columns, s span) (int, bool) {
	text := c.bytes(s)
	if 2*len(e.strings) >= len(e.slots) {
		e.grow(c)
	}
	mask := len(e.slots) - 1
	for i := int(maphash.Bytes(e.seed, text)) & mask; ; i = (i + 1) & mask {
		k := e.slots[i]
		if k == 0 {
			e.strings = append(e.strings, s)
			e.slots[i] = uint32(len(e.strings))
			return len(e.strings) - 1, true
		}
		if have := e.strings[k-1]; have == s || string(c.bytes(have)) == string(text) {
			return int(k - 1), false
		}
	}
}

func (e *encoder) grow(c *columns) {
	e.slots = make([]uint32, 2*len(e.slots))
	mask := len(e.slots) - 1
	for k, s := range e.strings {
		i := int(maphash.Bytes(e.seed, c.bytes(s))) & mask
		for e.slots[i] != 0 {
			i = (i + 1) & mask
		}
		e.slots[i] = uint32(k + 1)
	}
}

// encode appends the body of n events to dst. base is the second that the label says they begin with.
func (e *encoder) encode(dst []byte, c *columns, n int, base int64) []byte {
	clear(e.slots)
	e.strings, e.texts = e.strings[:0], e.texts[:0]
	var present uint64
	for column := range c.text {
		if c.used&(1<<(numberColumns+column)) == 0 {
			e.refs[column] = e.refs[column][:0]
		} else if e.textColumn(c, column, n) {
			present |= 1 << (numberColumns + column)
		}
	}
	absent := absentNumber()
	for i := range c.number[numTime][:n] {
		c.number[numTime][i] -= base * 1000
	}
	for column := range c.number {
		if c.used&(1<<column) == 0 {
			continue
		}
		for _, v := range c.number[column][:n] {
			if v != absent[column] {
				present |= 1 << column
				break
			}
		}
	}
	dst = binary.AppendUvarint(dst, present)
	dst = binary.AppendUvarint(dst, uint64(len(e.strings)))
	for _, s := range e.strings {
		dst = binary.AppendUvarint(dst, uint64(s.length))
	}
	for _, s := range e.strings {
		dst = append(dst, c.bytes(s)...)
	}
	for column := range c.number {
		if present&(1<<column) != 0 {
			dst = e.numberColumn(dst, c.number[column][:n], absent[column], column == numTime)
		}
	}
	return append(dst, e.texts...)
}

// textColumn appends a column to e.texts, unless it is absent in every event.
func (e *encoder) textColumn(c *columns, column, n int) bool {
	refs := e.refs[column][:0]
	values := c.text[column][:n]
	any := false
	for _, s := range values {
		any = any || s.length >= 0
	}
	if !any {
		e.refs[column] = refs
		return false
	}
	begin := len(e.texts)
	e.texts = append(e.texts, modeValues)
	context := contextOf(column)
	clear(e.last)
	var before span
	var ref uint32
	zeros := true // after the first
	for i, s := range values {
		fresh := false
		switch {
		case s.length < 0:
			ref = 0
		case i == 0 || s != before:
			var at int
			at, fresh = e.intern(c, s)
			ref = uint32(at + 1)
		}
		before = s
		refs = append(refs, ref)
		in := uint32(0)
		if context >= 0 && len(e.refs[context]) > 0 {
			in = e.refs[context][i]
		}
		for int(in) >= len(e.last) {
			e.last = append(e.last, 0)
		}
		code := uint64(ref) - 1 + codeString
		switch {
		case fresh:
			code = codeNew
		case e.last[in] == ref+1 || e.last[in] == 0 && ref == 0:
			code = codePredicted
		case ref == 0:
			code = codeAbsent
		case context >= 0 && ref == in:
			code = codeContext
		}
		e.last[in] = ref + 1
		zeros = zeros && (i == 0 || code == codePredicted)
		e.texts = binary.AppendUvarint(e.texts, code)
		if i == 0 && context < 0 {
			e.sorted = append(e.sorted[:0], int64(len(e.texts))) // where the first code ends
		}
	}
	if zeros && context < 0 {
		e.texts[begin] = modeSame
		e.texts = e.texts[:e.sorted[0]]
	}
	e.refs[column] = refs
	return true
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// numberColumn appends a column of numbers in the mode that fits it.
func (e *encoder) numberColumn(dst []byte, values []int64, absent int64, ordered bool) []byte {
	same, smallest := true, int64(0)
	var scaled [4]bool
	for i := range scaled {
		scaled[i] = true
	}
	e.sorted = e.sorted[:0] // the distinct values, while they are few
	for _, v := range values {
		same = same && v == values[0]
		smallest = min(smallest, v)
		if v != absent || ordered {
			for i, s := range scales() {
				scaled[i] = scaled[i] && v%s == 0
			}
		}
		if len(e.sorted) <= maxIndex {
			known := false
			for _, have := range e.sorted {
				known = known || have == v
			}
			if !known {
				e.sorted = append(e.sorted, v)
			}
		}
	}
	if same {
		return binary.AppendUvarint(append(dst, modeSame), zigzag(values[0]))
	}
	scale := 3
	for !scaled[scale] {
		scale--
	}
	by := scales()[scale]
	switch {
	case ordered || smallest == math.MinInt64: // mode 1 can't say the smallest number
		if !ordered {
			scale, by = 0, 1
		}
		dst = append(dst, modeDeltas|byte(scale)<<2)
		before := int64(0)
		for _, v := range values {
			dst = binary.AppendUvarint(dst, zigzag(v/by-before))
			before = v / by
		}
	case len(e.sorted) <= maxIndex && len(e.sorted) <= len(values)/2:
		dst = append(dst, modeIndex)
		dst = binary.AppendUvarint(dst, uint64(len(e.sorted)))
		for _, v := range e.sorted {
			dst = binary.AppendUvarint(dst, zigzag(v))
		}
		for _, v := range values {
			for k, have := range e.sorted {
				if have == v {
					dst = binary.AppendUvarint(dst, uint64(k))
					break
				}
			}
		}
	default:
		dst = append(dst, modeValues|byte(scale)<<2)
		for _, v := range values {
			if v == absent {
				dst = append(dst, 0)
				continue
			}
			dst = binary.AppendUvarint(dst, 1+zigzag(v/by))
		}
	}
	return dst
}

var errBody = errors.New("it is not laid out as a capsule of this version")

// A decoder gives the events of one body, one after another.
type decoder struct {
	n, at   int
	base    int64
	present uint64
	strings [][]byte
	number  [numberColumns][]int64 // one value for all events, or one for each
	refs    [textColumns][]uint32
	flat    flat
}

// newDecoder reads a body of n events that begin with the second base. It keeps body, and takes memory in proportion to it.
func newDecoder(body []byte, n int, base int64) (*decoder, error) {
	if n < 1 || n > maxEvents || len(body) > maxBody {
		return nil, errBody
	}
	d := &decoder{n: n, base: base}
	rest := body
	bad := false
	next := func() uint64 {
		v, used := binary.Uvarint(rest)
		if used <= 0 {
			bad = true
			return 0
		}
		rest = rest[used:]
		return v
	}
	header := func() byte {
		if len(rest) == 0 {
			bad = true
			return 0
		}
		h := rest[0]
		rest = rest[1:]
		return h
	}
	d.present = next()
	count := next()
	if bad || d.present>>(numberColumns+textColumns) != 0 || count > uint64(min(len(rest), n*textColumns)) {
		return nil, errBody
	}
	d.strings = make([][]byte, count)
	lengths := rest
	for range d.strings {
		next()
	}
	texts := rest
	rest = lengths
	for i := range d.strings {
		length := next()
		if bad || length > uint64(len(texts)) {
			return nil, errBody
		}
		d.strings[i] = texts[:length:length]
		texts = texts[length:]
	}
	rest = texts
	absent := absentNumber()
	for column := range d.number {
		if d.present&(1<<column) == 0 {
			d.number[column] = []int64{absent[column]}
			continue
		}
		h := header()
		if h>>4 != 0 || bad {
			return nil, errBody
		}
		scale := scales()[h>>2]
		mode := h & 3
		if mode == modeSame {
			d.number[column] = []int64{unzigzag(next())}
			continue
		}
		var index []int64
		if mode == modeIndex {
			k := next()
			if bad || k > maxIndex {
				return nil, errBody
			}
			for range k {
				index = append(index, unzigzag(next()))
			}
		}
		values := make([]int64, n)
		before := int64(0)
		for i := range values {
			u := next()
			switch mode {
			case modeValues:
				if u == 0 {
					values[i] = absent[column]
				} else {
					values[i] = unzigzag(u-1) * scale
				}
			case modeDeltas:
				before += unzigzag(u)
				values[i] = before * scale
			case modeIndex:
				if u >= uint64(len(index)) {
					return nil, errBody
				}
				values[i] = index[u]
			}
		}
		d.number[column] = values
	}
	fresh := uint32(0)
	var last []uint32
	for column := range d.refs {
		if d.present&(1<<(numberColumns+column)) == 0 {
			d.refs[column] = []uint32{0}
			continue
		}
		mode := header()
		if bad || mode > modeValues {
			return nil, errBody
		}
		codes := n
		if mode == modeSame {
			codes = 1
		}
		refs := make([]uint32, codes)
		context := contextOf(column)
		if mode == modeSame {
			context = -1
		}
		clear(last)
		for i := range refs {
			in := uint32(0)
			if context >= 0 {
				in = pick(d.refs[context], i)
			}
			for int(in) >= len(last) {
				last = append(last, 0)
			}
			code := next()
			var ref uint32
			switch {
			case bad:
				return nil, errBody
			case code == codePredicted:
				if last[in] > 0 {
					ref = last[in] - 1
				}
			case code == codeNew:
				fresh++
				ref = fresh
			case code == codeAbsent:
			case code == codeContext:
				if context < 0 {
					return nil, errBody
				}
				ref = in
			case code-codeString < uint64(len(d.strings)):
				ref = uint32(code-codeString) + 1
			default:
				return nil, errBody
			}
			if int(ref) > len(d.strings) {
				return nil, errBody
			}
			last[in] = ref + 1
			refs[i] = ref
		}
		d.refs[column] = refs
	}
	if bad || len(rest) != 0 {
		return nil, errBody
	}
	return d, nil
}

// pick is the value of event i in a column that has one for all, or one for each.
func pick[T any](column []T, i int) T {
	if len(column) == 1 {
		return column[0]
	}
	return column[i]
}

// more says whether there is another event.
func (d *decoder) more() bool { return d.at < d.n }

// time is that of the next event, in milliseconds since 1970.
func (d *decoder) time() int64 { return pick(d.number[numTime], d.at) + d.base*1000 }

// event fills e with the next event. Its byte slices alias the body.
func (d *decoder) event(e *Event) error {
	for column := range d.number {
		d.flat.number[column] = pick(d.number[column], d.at)
	}
	d.flat.number[numTime] = d.time()
	for column := range d.refs {
		d.flat.text[column] = nil
		if ref := pick(d.refs[column], d.at); ref > 0 {
			d.flat.text[column] = d.strings[ref-1]
		}
	}
	d.at++
	if err := d.flat.event(e); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}
