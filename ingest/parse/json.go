package parse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"math/bits"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxRecord is the largest JSON document that is read as one, in bytes: an envelope with many lines, or an array. A Kafka
// broker takes no larger records unless it is told to.
const MaxRecord = 16 << 20

// maxJSONDepth bounds the objects within objects that are looked into; what lies deeper is passed over.
const maxJSONDepth = 8

// A jsonSlot is what a member of an object is read for; each format numbers its own from 0.
type jsonSlot = int

const maxJSONSlots = 48

// A jsonSchema says which members of a document are read. A path is the names from the outermost object inwards, with points
// between them; a name that itself holds points ({"source.ip": …}) reads like the objects it abbreviates.
type jsonSchema struct {
	slots    map[string]jsonSlot // by path; the first member that is not null wins
	lists    map[string]bool     // the arrays whose elements are documents of their own
	through  map[string]bool     // the objects whose members count as those of the object around it
	generic  bool                // an object's own members are read before an envelope's text in it is, as they may be that text's
	folded   bool                // names are compared in lower case: the keys of slots, lists and through are lower case
	prefixes map[string]int32    // the objects that hold a path of slots or lists, numbered from 1
}

// ready fills prefixes.
func (s *jsonSchema) ready() {
	s.prefixes = map[string]int32{}
	mark := func(path string) {
		for i := range len(path) {
			if path[i] == '.' && s.prefixes[path[:i]] == 0 {
				s.prefixes[path[:i]] = int32(len(s.prefixes) + 1)
			}
		}
	}
	for path := range s.slots {
		mark(path)
	}
	for path := range s.lists {
		mark(path)
	}
}

// A jsonValue is a scalar as it is written in the document.
type jsonValue struct {
	raw  []byte // with its quotes, escapes and all
	kind jsontext.Kind
}

// bare answers a value without its quotes; nil for null and for what is not there.
func (v jsonValue) bare() []byte {
	switch v.kind {
	case 0, 'n':
		return nil
	case '"':
		return v.raw[1 : len(v.raw)-1]
	}
	return v.raw
}

type jsonElement struct {
	slot  jsonSlot
	value jsonValue
}

// A jsonObject is what was found of a document.
type jsonObject struct {
	values [maxJSONSlots]jsonValue
	many   []jsonElement // the elements of arrays that have a slot, in order
	bytes  int           // the length of all values
}

func (o *jsonObject) reset() {
	o.values = [maxJSONSlots]jsonValue{}
	clear(o.many)
	o.many, o.bytes = o.many[:0], 0
}

// text answers a member's value, decoded; nil where it is null or not there.
func (o *jsonObject) text(slot jsonSlot, s *scratch) []byte { return s.json(o.values[slot]) }

// has says whether a member is there and not null, or an array.
func (o *jsonObject) has(slot jsonSlot) bool {
	if v := o.values[slot]; v.kind != 0 && v.kind != 'n' {
		return true
	}
	for _, m := range o.many {
		if m.slot == slot {
			return true
		}
	}
	return false
}

// all answers the member's value, or each element of an array.
func (o *jsonObject) all(slot jsonSlot) iter.Seq[jsonValue] {
	return func(yield func(jsonValue) bool) {
		if o.values[slot].kind != 0 && !yield(o.values[slot]) {
			return
		}
		for _, m := range o.many {
			if m.slot == slot && !yield(m.value) {
				return
			}
		}
	}
}

// json answers a scalar's text with its escapes undone (RFC 8259, section 7): a part of the document where it has none. Bytes
// that are no UTF-8 stay as they are, for documents in Latin-1. A half of a surrogate pair becomes U+FFFD.
func (s *scratch) json(v jsonValue) []byte {
	b := v.bare()
	first := bytes.IndexByte(b, '\\')
	if first < 0 || v.kind != '"' {
		return b
	}
	start := s.start(len(b))
	s.buf = appendUnescaped(append(s.buf, b[:first]...), b[first:])
	return s.buf[start:len(s.buf):len(s.buf)]
}

// appendUnescaped appends the text of a JSON string, given without its quotes. It never grows: an escape is longer than what
// it stands for.
func appendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 >= len(b) {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = b[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(b, i+1)
			if r < 0 {
				r = utf8.RuneError
			} else if i += 4; r >= 0xd800 && r < 0xdc00 && i+2 < len(b) && b[i+1] == '\\' && b[i+2] == 'u' {
				if low := hex4(b, i+3); low >= 0xdc00 && low < 0xe000 {
					r, i = (r-0xd800)<<10+(low-0xdc00)+0x10000, i+6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// hex4 reads four hexadecimal digits; -1 where they aren't.
func hex4(b []byte, i int) rune {
	if i+4 > len(b) {
		return -1
	}
	r := rune(0)
	for _, c := range b[i : i+4] {
		d := hexDigit(c)
		if d > 15 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// A jsonWalker finds documents in text and takes from each what its schema names. It goes over the text once: what most of a log
// is made of (braces, texts without escapes, whole numbers) it reads itself, and whether anything else is JSON (escapes, other
// numbers, whatever is passed over) it leaves to jsontext, which encoding/json/v2 is made of. To read token by token with that
// alone takes 1.6 times as long; fastjson keeps a copy of the text and a tree of many times its size, and jsonparser takes broken
// documents for good ones. Nothing is allocated, and nothing of a person's data copied. Bytes that are no UTF-8 are let pass,
// for Latin-1.
type jsonWalker struct {
	schema  jsonSchema
	options []jsontext.Options
	base    []byte // what is read
	pos     int    // the next byte of it
	seen    int    // how far into it was looked
	path    []byte
	object  jsonObject
	found   int // documents in lists of the one that is being read
	place   int // the number of the member that is being read
	hints   [maxHints]jsonHint
	seed    maphash.Seed
}

// errNoJSON is for text that no more of it could make a JSON document; text that ends too early is io.ErrUnexpectedEOF.
var errNoJSON = errors.New("no JSON")

const maxHints = 128

// A jsonHint is which slot the last document had a member of this name for at this place: a source's documents look alike. A
// name can be a person's, so it is kept as a hash only.
type jsonHint struct {
	key    uint64
	slot   int32 // -1: none
	parent int32 // the object's number, plus one
}

// slot answers what a scalar member is read for, -1 for nothing. parent is the number of its object; the path up to prefix is
// that object's.
func (w *jsonWalker) slot(key []byte, prefix int, parent int32) jsonSlot {
	place := w.place
	w.place++
	hash := maphash.Bytes(w.seed, key)
	if place < maxHints {
		if hint := w.hints[place]; hint.key == hash && hint.parent == parent+1 {
			return jsonSlot(hint.slot)
		}
	}
	w.name(key, prefix)
	slot, ok := w.schema.slots[string(w.path)]
	if !ok {
		slot = -1
	}
	if place < maxHints {
		w.hints[place] = jsonHint{hash, int32(slot), parent + 1}
	}
	return slot
}

// name puts a member's name behind the path up to prefix.
func (w *jsonWalker) name(key []byte, prefix int) {
	if w.path = w.path[:prefix]; bytes.IndexByte(key, '\\') >= 0 {
		w.path = appendUnescaped(w.path, key)
	} else {
		w.path = append(w.path, key...)
	}
	if w.schema.folded {
		for i, c := range w.path[prefix:] {
			if c >= 'A' && c <= 'Z' {
				w.path[prefix+i] = c | 0x20
			}
		}
	}
}

func newJSONWalker(schema jsonSchema) *jsonWalker {
	schema.ready()
	return &jsonWalker{schema: schema, seed: maphash.MakeSeed(), options: []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}}
}

// forget drops everything of the text that was read.
func (w *jsonWalker) forget() {
	w.object.reset()
	clear(w.path[:cap(w.path)])
	w.base, w.path = nil, w.path[:0]
}

// next reads the object at the beginning of b, calling each for every document in it, element for the strings in lists of
// documents, and answers how many bytes it took. On an error, n is where to the text was read. The document is valid
// during the call only.
func (w *jsonWalker) next(b []byte, each func(at, size int), element func(at int, v jsonValue)) (n int, err error) {
	w.base, w.found = b, 0
	w.object.reset()
	w.pos, w.seen, w.place = 0, 0, 0
	err = w.members(0, 0, 0, each, element)
	w.seen = max(w.seen, w.pos)
	if err == nil && w.found == 0 {
		each(0, w.pos)
	}
	return w.pos, err
}

// ahead goes over white space and answers the byte behind it, 0 at the end.
func (w *jsonWalker) ahead() byte {
	for ; w.pos < len(w.base); w.pos++ {
		if c := w.base[w.pos]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// amiss answers why what is ahead can't be.
func (w *jsonWalker) amiss() error {
	if w.pos < len(w.base) {
		return errNoJSON
	}
	return io.ErrUnexpectedEOF
}

// over goes over a byte that must be ahead.
func (w *jsonWalker) over(c byte) error {
	if w.ahead() != c {
		return w.amiss()
	}
	w.pos++
	return nil
}

// another goes over the comma before the next element of an object or array, or its closing bracket.
func (w *jsonWalker) another(closing byte) (bool, error) {
	switch w.ahead() {
	case ',':
		w.pos++
		return true, nil
	case closing:
		w.pos++
		return false, nil
	}
	return false, w.amiss()
}

// value reads the next value, whole.
func (w *jsonWalker) value() (jsonValue, error) {
	kind := w.ahead()
	b, start := w.base, w.pos
	end, plain := start, true
	switch {
	case kind == '"':
		if end = plainEnd(b, start+1); end < len(b) && b[end] == '"' {
			end++
		} else {
			end, plain = textEnd(b, start), false
		}
	case kind == '{', kind == '[':
		end, plain = nestedEnd(b, start), false
	case kind == '-' || kind-'0' <= 9:
		for plain = kind != '-'; end < len(b) && !endsScalar(b[end]); end++ {
			plain = plain && b[end]-'0' <= 9
		}
		plain = plain && (kind != '0' || end == start+1)
		kind = '0'
	case kind == 't', kind == 'f', kind == 'n':
		for ; end < len(b) && !endsScalar(b[end]); end++ {
		}
		word := string(b[start:end])
		plain = word == "null" || word == "true" || word == "false"
	case start < len(b):
		return jsonValue{}, errNoJSON
	}
	w.seen = max(w.seen, end)
	if end == start {
		w.seen = len(b)
		return jsonValue{}, io.ErrUnexpectedEOF
	}
	raw := b[start:end]
	if !plain && !jsontext.Value(raw).IsValid(w.options...) {
		if end == len(b) {
			return jsonValue{}, io.ErrUnexpectedEOF
		}
		return jsonValue{}, errNoJSON
	}
	w.pos = end
	return jsonValue{raw, jsontext.Kind(kind)}, nil
}

func endsScalar(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t'
}

// plainEnd answers where from i on the first byte is that ends a string or may not stand in one as it is.
func plainEnd(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		// Eight bytes at once: the top bit of a byte is set where the byte is 0, after what is looked for is made 0. A borrow can set
		// it too early for a higher byte, never for the lowest that is set, and that one counts.
		v := binary.LittleEndian.Uint64(b[i:])
		quote, escape := v^(ones*'"'), v^(ones*'\\')
		found := ((quote-ones)&^quote | (escape-ones)&^escape | (v-ones*' ')&^v) & tops
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\'; i++ {
	}
	return i
}

// textEnd answers where the string that begins at start ends, start where it does not.
func textEnd(b []byte, start int) int {
	for i := start + 1; ; {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return start
		}
		quote += i
		escapes := 0
		for quote-escapes > i && b[quote-escapes-1] == '\\' {
			escapes++
		}
		// the bytes before i are whole escapes
		if i = quote + 1; escapes%2 == 0 {
			return i
		}
	}
}

// nestedEnd answers where the object or array that begins at start ends, start where it does not.
func nestedEnd(b []byte, start int) int {
	depth := 0
	for i := start; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			end := textEnd(b, i)
			if end == i {
				return start
			}
			i = end - 1
		}
	}
	return start
}

func (w *jsonWalker) members(depth, prefix int, number int32, each func(int, int), element func(int, jsonValue)) error {
	w.pos++
	if w.ahead() == '}' {
		w.pos++
		return nil
	}
	for more := true; more; {
		if w.ahead() != '"' {
			return w.amiss()
		}
		name, err := w.value()
		if err != nil {
			return err
		}
		if err = w.over(':'); err != nil {
			return err
		}
		key := name.bare()
		switch w.ahead() {
		case '{':
			w.name(key, prefix)
			switch within := w.schema.prefixes[string(w.path)]; {
			case depth == maxJSONDepth:
				_, err = w.value()
			case w.schema.through[string(w.path)]:
				err = w.members(depth+1, prefix, number, each, element)
			case within > 0:
				w.path = append(w.path, '.')
				err = w.members(depth+1, len(w.path), within, each, element)
			default:
				_, err = w.value()
			}
		case '[':
			w.name(key, prefix)
			slot, ok := w.schema.slots[string(w.path)]
			switch {
			case w.schema.lists[string(w.path)] && depth < maxJSONDepth:
				err = w.documents(depth+1, each, element)
			case ok:
				err = w.elements(slot)
			default:
				_, err = w.value()
			}
		default:
			var v jsonValue
			if v, err = w.value(); err == nil {
				if slot := w.slot(key, prefix, number); slot >= 0 {
					if have := w.object.values[slot].kind; have == 0 || have == 'n' {
						w.object.values[slot] = v
						w.object.bytes += len(v.raw)
					}
				}
			}
		}
		if err == nil {
			more, err = w.another('}')
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// elements reads an array of scalars into a slot.
func (w *jsonWalker) elements(slot jsonSlot) error {
	w.pos++
	if w.ahead() == ']' {
		w.pos++
		return nil
	}
	for more := true; more; {
		v, err := w.value()
		if err != nil {
			return err
		}
		if v.kind != '{' && v.kind != '[' && v.kind != 'n' {
			w.object.many = append(w.object.many, jsonElement{slot, v})
			w.object.bytes += len(v.raw)
		}
		if more, err = w.another(']'); err != nil {
			return err
		}
	}
	return nil
}

// documents reads an array whose elements are documents.
func (w *jsonWalker) documents(depth int, each func(int, int), element func(int, jsonValue)) error {
	w.pos++
	if w.ahead() == ']' {
		w.pos++
		return nil
	}
	for more := true; more; {
		var err error
		switch c := w.ahead(); {
		case c == '{':
			w.object.reset()
			w.place = 0
			before, found := w.pos, w.found
			if err = w.members(depth, 0, 0, each, element); err == nil && w.found == found {
				w.found++
				each(before, w.pos-before)
			}
		case c == '[' && depth < maxJSONDepth:
			err = w.documents(depth+1, each, element)
		default:
			var v jsonValue
			if v, err = w.value(); err == nil && v.kind != '[' {
				w.found++
				element(w.pos, v)
			}
		}
		if err == nil {
			more, err = w.another(']')
		}
		if err != nil {
			return err
		}
		w.object.reset()
	}
	return nil
}

// A jsonFormat reads one document into e, which has been Reset. It answers "" when e is an event.
type jsonFormat interface {
	schema() jsonSchema
	fill(o *jsonObject, e *Event, s *scratch) (reason Reason, field string)
	origins() []Origin
}

// A jsonParser is the Parser of every format in which an event is a JSON object: one on each line, in an array, one after the
// other with line ends anywhere, or in the list of an object around them. An object without anything of the format that has
// one of an envelope's texts (envelope.go) in it is opened.
type jsonParser struct {
	format   jsonFormat
	walker   *jsonWalker
	inner    *jsonParser // reads the texts of envelopes
	depth    int
	event    Event
	scratch  scratch
	opened   []byte // the text of an envelope
	wide     []byte // the record, where it was UTF-16
	emit     func(*Event)
	refuse   func(Reject)
	each     func(at, size int)        // document
	element  func(at int, v jsonValue) // text
	record   []byte
	line     int  // of the object that is being read
	at       int  // where it begins in record
	outer    int  // the line of the envelope, where the record is the text of one
	answered bool // something of the object was read
}

func newJSONParser(format jsonFormat) *jsonParser { return newInnerJSONParser(format, 0) }

func newInnerJSONParser(format jsonFormat, depth int) *jsonParser {
	schema := format.schema()
	for slot, path := range envelopePaths() {
		if _, taken := schema.slots[path]; !taken {
			schema.slots[path] = maxJSONSlots - envelopeSlots + slot
		}
	}
	if schema.through["event"] {
		schema.slots["original"] = schema.slots["event.original"]
	}
	if schema.lists == nil {
		schema.lists = map[string]bool{}
	}
	schema.lists["records"] = true
	p := &jsonParser{format: format, walker: newJSONWalker(schema), depth: depth}
	p.each, p.element = p.document, p.text
	return p
}

// reject answers for a line of the text that is being read.
func (p *jsonParser) reject(reason Reason, field string, line int) {
	if p.outer > 0 {
		line = p.outer
	}
	p.refuse(Reject{Reason: reason, Field: field, Line: line})
}

func (p *jsonParser) origins() []Origin { return p.format.origins() }

func (p *jsonParser) Parse(record []byte, event func(*Event), reject func(Reject)) {
	p.emit, p.refuse = event, reject
	if text, ok := fromUTF16(p.wide[:0], record); ok {
		record, p.wide = text, text
	}
	p.read(bytes.TrimPrefix(record, []byte(utf8BOM)), 1)
	// the record is the caller's again, and nothing of it stays here
	p.event.Reset()
	p.scratch.reset(0)
	clear(p.wide)
	p.wide = p.wide[:0]
	p.emit, p.refuse = nil, nil
}

// read reads the documents of a text whose first line has this number.
func (p *jsonParser) read(text []byte, line int) {
	p.record = text
	// what is read in vain is read again from its second line: a bound keeps that from growing with the square of the text
	patience := 8 * len(text)
	for at := 0; at < len(text); {
		switch c := text[at]; c {
		case '\n':
			line++
			at++
		case ' ', '\t', '\r', '[', ']', ',', 0x1e:
			// the brackets and commas of an array around documents; 0x1e is that of RFC 7464
			at++
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			// the time in Fluent's [time, {…}]
			end := at
			for end < len(text) && (text[end]-'0' <= 9 || text[end] == '.') {
				end++
			}
			if at == 0 || text[at-1] != '[' || end == len(text) || text[end] != ',' {
				line, at = p.foreign(text, at, line)
				continue
			}
			if at = end; bytes.HasPrefix(text[at:], []byte(",{}]")) {
				at += len(",{}]") // Fluent Bit's metadata
			}
		case '{':
			if len(text)-at > MaxRecord {
				p.reject(TooLong, "", line)
				line++
				at = nextLine(text, at)
				continue
			}
			p.line, p.at, p.answered = line, at, false
			n, err := p.walker.next(text[at:], p.each, p.element)
			if err != nil {
				from := at
				switch patience -= p.walker.seen; {
				case patience < 0:
					from = min(at+p.walker.seen, len(text))
				case p.answered:
					// what was read of it is read
					from = min(at+n, len(text))
				}
				end := nextLine(text, from)
				var open nesting
				row := bytes.TrimRight(text[from:end], "\r\n")
				open.read(row, len(row))
				reason := BadLayout
				switch {
				case bytes.IndexByte(text[from:end], 0) >= 0:
					reason = NULByte
				case open.depth > 0, open.quoted, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
					reason = Truncated
				}
				p.reject(reason, "", line+bytes.Count(text[at:from], []byte{'\n'}))
				line += bytes.Count(text[at:end], []byte{'\n'})
				at = end
				continue
			}
			line += bytes.Count(text[at:at+n], []byte{'\n'})
			at += n
		default:
			line, at = p.foreign(text, at, line)
		}
	}
	p.walker.forget()
	p.record = nil
}

// foreign answers for a line that no document begins, and where to go on: at the document behind a syslog header, or the next
// line.
func (p *jsonParser) foreign(text []byte, at, line int) (nextNumber, next int) {
	end := nextLine(text, at)
	row := text[at:end]
	if row[0] == '#' {
		return line + 1, end
	}
	if open := indexByte(row, '{'); open > 0 && maybeSyslog(row) {
		if _, _, _, ok := cutSyslog(row); ok {
			return line, at + open
		}
	}
	reason := ForeignLine
	if bytes.IndexByte(row, 0) >= 0 {
		reason = NULByte
	}
	p.reject(reason, "", line)
	return line + 1, end
}

// nextLine answers where the line after position i begins.
func nextLine(b []byte, i int) int {
	if end := bytes.IndexByte(b[i:], '\n'); end >= 0 {
		return i + end + 1
	}
	return len(b)
}

// document reads the walker's object.
func (p *jsonParser) document(at, size int) {
	p.answered = true
	line := p.line
	if at > 0 {
		line += bytes.Count(p.record[p.at:p.at+at], []byte{'\n'})
	}
	if size > MaxLine {
		p.reject(TooLong, "", line)
		return
	}
	if !p.walker.schema.generic && p.opens(line) {
		return
	}
	p.event.Reset()
	// a value may be decoded twice: as JSON, and from %XX
	p.scratch.reset(2 * p.walker.object.bytes)
	p.scratch.start(2 * p.walker.object.bytes)
	reason, field := p.format.fill(&p.walker.object, &p.event, &p.scratch)
	reason, field = timely(reason, field, &p.event)
	switch reason {
	case "":
		p.emit(&p.event)
	case skip:
	case ForeignLine:
		if !p.opens(line) {
			p.reject(reason, field, line)
		}
	default:
		p.reject(reason, field, line)
	}
}

// opens reads the document in the text of the envelope that the walker's object is; false where it is none.
func (p *jsonParser) opens(line int) bool {
	for slot := range envelopeSlots {
		if v := p.walker.object.values[maxJSONSlots-envelopeSlots+slot]; v.kind == '"' && p.unwrap(v, line) {
			return true
		}
	}
	return false
}

// text reads an element of a list of documents that is no object: a document as a string.
func (p *jsonParser) text(at int, v jsonValue) {
	p.answered = true
	line := p.line + bytes.Count(p.record[p.at:p.at+at], []byte{'\n'})
	if v.kind != '"' || !p.unwrap(v, line) {
		p.reject(ForeignLine, "", line)
	}
}

// unwrap reads the documents in an envelope's text; false where it holds none.
func (p *jsonParser) unwrap(v jsonValue, line int) bool {
	text := bytes.TrimLeft(v.bare(), " ")
	if p.depth == maxEnvelopes || len(text) == 0 || text[0] != '{' && text[0] != '[' && (!maybeSyslog(text) || bytes.IndexByte(text, '{') < 0) {
		return false
	}
	if p.inner == nil {
		p.inner = newInnerJSONParser(p.format, p.depth+1)
	}
	p.opened = appendUnescaped(p.opened[:0], v.bare())
	p.inner.emit, p.inner.refuse, p.inner.outer = p.emit, p.refuse, line
	if p.outer > 0 {
		p.inner.outer = p.outer
	}
	p.inner.read(p.opened, 1)
	clear(p.opened)
	p.inner.event.Reset()
	p.inner.scratch.reset(0)
	p.inner.emit, p.inner.refuse = nil, nil
	return true
}
