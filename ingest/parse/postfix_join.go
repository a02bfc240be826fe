package parse

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"net/netip"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// defaultOpenMessages bounds the messages whose lines a Postfix parser holds together: some 30 MB, and 300 MB where somebody
// writes the longest that is kept.
const defaultOpenMessages = 1 << 16

// joinWindow is how long, in milliseconds, the lines of one message can be apart. Postfix returns a message after
// maximal_queue_lifetime, 5 days; a queue id or message-id that is older means another message.
const joinWindow = 10 * 24 * 3600 * 1000

// maxKept is the longest text, in bytes, that is kept of a message: no line of a header is longer (RFC 5322, section 2.1.1).
const maxKept = 1024

// maxHost is the longest name of a host, in bytes, by which messages are told apart.
const maxHost = 255

// Joins says how a parser of postfix_syslog fares with the lines that it holds together.
type Joins struct {
	Open     int    // messages that are held now
	Evicted  uint64 // messages that were dropped before they ended, as there were more than Options.OpenMessages
	Joined   uint64 // deliveries whose sender was known
	Unjoined uint64 // deliveries whose sender was not: their beginning was evicted or never seen
}

// JoinsOf answers the counters of a parser made by New; ok is false for a format that joins nothing.
func JoinsOf(p Parser) (j Joins, ok bool) {
	lines, ok := p.(*lineParser)
	if !ok {
		return Joins{}, false
	}
	joining, ok := lines.format.(*postfix)
	if !ok {
		return Joins{}, false
	}
	j = joining.joins.counters
	j.Open = joining.joins.held.Len()
	return j, true
}

// postfixJoins is what is remembered of the messages in Postfix's queues. It is the one place of this package that keeps
// anything of a line after its record; all of it is cleared when the message ends or is evicted.
type postfixJoins struct {
	held     *simplelru.LRU[string, *postfixMessage]
	marks    *simplelru.LRU[uint64, postfixMark]
	free     []*postfixMessage
	seed     maphash.Seed
	key      []byte // host and queue id of the line that is read
	at       *postfixMessage
	counters Joins
}

// A postfixPart is a text that is kept of a message.
type postfixPart uint8

const (
	partFrom postfixPart = iota
	partID
	partSubject
	partUser
	partOwner // whose forwarding it came of
	postfixParts
)

// A postfixMessage is what the lines so far said of the message under a queue id.
type postfixMessage struct {
	text    []byte
	parts   [postfixParts]span // in text; to < from: nothing was said
	bytes   int64
	client  netip.Addr
	last    int64 // time of the last line
	mark    uint64
	back    bool // it was handed in on this host: by a content filter or a program
	counted bool
}

// A postfixMark is what is remembered of a message-id, whose hash is the key: nothing from which the message could be told.
type postfixMark struct {
	counter   uint64 // hash of the host and queue id whose delivery was counted; 0: none yet
	next      uint64 // hash of the queue id that it goes on under
	forwarded bool   // next is that of a forwarding
	last      int64
}

func newPostfixJoins(limit int) (postfixJoins, error) {
	if limit == 0 {
		limit = defaultOpenMessages
	}
	j := postfixJoins{seed: maphash.MakeSeed()}
	var err error
	if j.held, err = simplelru.NewLRU(limit, func(_ string, m *postfixMessage) { j.forget(m) }); err != nil {
		return j, fmt.Errorf("open messages: %d is no limit: give a positive number", limit)
	}
	j.marks, err = simplelru.NewLRU[uint64, postfixMark](limit, nil)
	return j, err
}

// none says that the line is about no message in a queue.
func (j *postfixJoins) none() { j.key, j.at = j.key[:0], nil }

// open turns to the message under a host's queue id, if there is one.
func (j *postfixJoins) open(host, id []byte, now int64) {
	j.key = append(append(append(j.key[:0], host[:min(len(host), maxHost)]...), ' '), id...)
	j.at, _ = j.held.Get(string(j.key))
	if j.at == nil {
		return
	}
	if now-j.at.last > joinWindow {
		j.remove()
		return
	}
	j.at.last = max(j.at.last, now)
}

// entry answers the message that the line is about, which begins here if it is not known; nil for a line about none.
func (j *postfixJoins) entry(now int64) *postfixMessage {
	if j.at != nil || len(j.key) == 0 {
		return j.at
	}
	m := &postfixMessage{}
	if last := len(j.free) - 1; last >= 0 {
		m, j.free = j.free[last], j.free[:last]
	}
	m.reset()
	m.last = now
	if j.held.Add(string(j.key), m) {
		j.counters.Evicted++
	}
	j.at = m
	return m
}

// begin says that a new message begins under the queue id, whatever was known under it.
func (j *postfixJoins) begin(now int64) {
	if j.at != nil {
		j.remove()
	}
	j.entry(now)
}

// remove forgets the message.
func (j *postfixJoins) remove() {
	if j.at != nil {
		j.held.Remove(string(j.key))
		j.at = nil
	}
}

// forget clears what was kept of a message, in earnest.
func (j *postfixJoins) forget(m *postfixMessage) {
	clear(m.text[:cap(m.text)])
	if cap(m.text) > maxKept {
		m.text = nil
	}
	m.reset()
	if len(j.free) < 1024 {
		j.free = append(j.free, m)
	}
}

func (m *postfixMessage) reset() {
	*m = postfixMessage{text: m.text[:0], bytes: -1}
	for part := range m.parts {
		m.parts[part] = span{1, 0}
	}
}

// part answers a text that is kept, or nil.
func (m *postfixMessage) part(part postfixPart) []byte {
	at := m.parts[part]
	switch {
	case at.to < at.from:
		return nil
	case at.to == at.from:
		return []byte{} // the null sender: not nil, which a part of no text would be
	}
	return m.text[at.from:at.to:at.to]
}

// keep remembers a text of the message.
func (j *postfixJoins) keep(part postfixPart, text []byte, now int64) {
	m := j.entry(now)
	// what is told again with every retry, and what no message has
	if m == nil || text == nil || len(text) > maxKept || len(m.text) > 3*maxKept {
		return
	}
	if known := m.part(part); known != nil && string(known) == string(text) {
		return
	}
	from := len(m.text)
	m.text = append(m.text, text...)
	m.parts[part] = span{int32(from), int32(len(m.text))}
}

// message remembers the message-id; another one than before means that the queue id was used again.
func (j *postfixJoins) message(id []byte, now int64) {
	mark := j.hash(id)
	if m := j.entry(now); m != nil && m.mark != 0 && m.mark != mark {
		j.begin(now)
	}
	if m := j.entry(now); m != nil {
		m.mark = mark
		j.keep(partID, id, now)
	}
}

// hash answers a number that is not 0.
func (j *postfixJoins) hash(b []byte) uint64 { return maphash.Bytes(j.seed, b) | 1 }

// next says under which queue id the message goes on.
func (j *postfixJoins) next(id []byte, forwarded bool, now int64) {
	if j.at == nil || j.at.mark == 0 {
		return
	}
	mark := j.mark(now)
	mark.next, mark.forwarded = j.hash(id), forwarded
	j.marks.Add(j.at.mark, mark)
}

// forward remembers whose forwarding a message came of, under the queue id of this host that it goes on under. The message that
// the line is about stays the one that j is turned to.
func (j *postfixJoins) forward(id, owner []byte, now int64) {
	space := bytes.LastIndexByte(j.key, ' ')
	if space < 0 {
		return
	}
	line := bytes.Clone(j.key)
	j.key = append(j.key[:space+1], id...)
	j.at, _ = j.held.Get(string(j.key))
	j.keep(partOwner, owner, now)
	j.key = append(j.key[:0], line...)
	// it may have been evicted for the other
	j.at, _ = j.held.Peek(string(j.key))
}

// owner answers whose forwarding the message came of, or nil.
func (j *postfixJoins) owner() []byte {
	if j.at == nil {
		return nil
	}
	return j.at.part(partOwner)
}

func (j *postfixJoins) mark(now int64) postfixMark {
	mark, _ := j.marks.Get(j.at.mark)
	if now-mark.last > joinWindow {
		mark = postfixMark{}
	}
	mark.last = max(mark.last, now)
	return mark
}

// count answers how a delivery that ended counts: Event.Count and Event.Trace, and whether the message came by forwarding.
func (j *postfixJoins) count(id []byte, now int64) (count uint32, trace, came bool) {
	m := j.entry(now)
	if m == nil {
		return 1, false, false
	}
	counted := m.counted
	m.counted = true
	if m.mark == 0 {
		if counted {
			return 0, false, false
		}
		return 1, false, false
	}
	mark, self := j.mark(now), j.hash(j.key)
	linked := mark.next == j.hash(id)
	switch {
	case mark.counter == 0 && !counted:
		mark.counter = self
		count = 1
	case mark.counter != self && mark.counter != 0:
		trace = m.back || linked && !mark.forwarded
	}
	j.marks.Add(m.mark, mark)
	return count, trace, linked && mark.forwarded
}

// fill gives an event what it lacks and the message has. It shows the memory of j: valid until the next line is read.
func (j *postfixJoins) fill(e *Event) {
	m := j.at
	if m == nil {
		return
	}
	if e.From == nil {
		e.From = m.part(partFrom)
	}
	if e.MessageID == nil {
		e.MessageID = m.part(partID)
	}
	if e.Subject == nil {
		e.Subject = m.part(partSubject)
	}
	if e.User == nil {
		e.User = m.part(partUser)
	}
	if e.SourceBytes < 0 {
		e.SourceBytes = m.bytes
	}
	if !e.SourceIP.IsValid() {
		e.SourceIP = m.client
	}
}

// met counts a delivery by whether the beginning of its message was seen.
func (j *postfixJoins) met() {
	if j.at != nil && j.at.part(partFrom) != nil {
		j.counters.Joined++
	} else {
		j.counters.Unjoined++
	}
}
