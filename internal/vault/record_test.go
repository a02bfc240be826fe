package vault

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// bodyOf lays events out as one capsule does.
func bodyOf(events []Event, base int64) []byte {
	var c columns
	var scratch []byte
	for i := range events {
		var f flat
		scratch = f.flatten(&events[i], nil)
		for k, v := range f.number {
			c.number[k] = append(c.number[k], v)
		}
		for k, text := range f.text {
			s := span{int32(len(c.arena)), -1}
			if text != nil {
				s.length = int32(len(text))
				c.arena = append(c.arena, text...)
			}
			c.text[k] = append(c.text[k], s)
		}
	}
	_ = scratch
	c.used = 1<<(numberColumns+textColumns) - 1
	return newEncoder().encode(nil, &c, len(events), base)
}

func eventsOf(body []byte, n int, base int64) ([]Event, error) {
	d, err := newDecoder(body, n, base)
	if err != nil {
		return nil, err
	}
	var out []Event
	for d.more() {
		at := d.time()
		var e Event
		if err := d.event(&e); err != nil {
			return nil, err
		}
		if e.Time != at {
			panic("an event has another time than was said")
		}
		out = append(out, e)
	}
	return out, nil
}

// sameEvent compares every field; absent and empty are two things.
func sameEvent(a, b *Event) bool {
	var x, y flat
	x.flatten(a, nil)
	y.flatten(b, nil)
	if x.number != y.number || a.Kind != b.Kind {
		return false
	}
	for i := range x.text {
		if (x.text[i] == nil) != (y.text[i] == nil) || !bytes.Equal(x.text[i], y.text[i]) {
			return false
		}
	}
	return slices.EqualFunc(a.To, b.To, bytes.Equal) && a.SourceIP == b.SourceIP && a.DestinationIP == b.DestinationIP
}

// drawEvent makes an event in which anything may stand.
func drawEvent(r *rand.Rand) Event {
	var e Event
	e.Reset()
	text := func() []byte {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2:
			return []byte{byte(r.IntN(3))}
		default:
			b := make([]byte, r.IntN(20))
			for i := range b {
				b[i] = byte(r.IntN(256))
			}
			return b
		}
	}
	number := func() int64 {
		switch r.IntN(6) {
		case 0:
			return -1
		case 1:
			return int64(r.IntN(5)) * 1e6
		case 2:
			return int64(r.IntN(100))
		case 3:
			return math.MinInt64 + int64(r.IntN(2))
		case 4:
			return math.MaxInt64 - int64(r.IntN(2))
		}
		return int64(r.Uint64())
	}
	addr := func() netip.Addr {
		return []netip.Addr{{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("fe80::1%eth0"),
			netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")}[r.IntN(7)]
	}
	e.Time = number()
	e.SourceIP, e.DestinationIP = addr(), addr()
	e.SourcePort, e.Count, e.Port, e.Status = int32(number()), uint32(number()), int32(number()), int32(number())
	e.Action, e.DestinationBytes, e.SourceBytes, e.Duration = uint8(r.IntN(256)), number(), number(), time.Duration(number())
	for _, p := range []*[]byte{&e.User, &e.Method, &e.Scheme, &e.Domain, &e.Path, &e.Query, &e.Referrer, &e.UserAgent, &e.MIME, &e.Category,
		&e.Class, &e.List, &e.Version, &e.Rule, &e.Country, &e.MessageID, &e.From, &e.Subject, &e.Direction, &e.Outcome, &e.Code, &e.QueueID, &e.NetworkID, &e.Forwarder} {
		*p = text()
	}
	for range r.IntN(4) {
		e.To = append(e.To, append([]byte{}, text()...))
	}
	e.Recipients, e.Trace, e.Forwarded = uint32(number()), r.IntN(2) == 0, r.IntN(2) == 0
	return e
}

func TestEveryFieldComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		events := make([]Event, 1+r.IntN(40))
		for i := range events {
			if events[i] = drawEvent(r); i > 0 && r.IntN(2) == 0 { // as logs are: much like the line before
				next := events[i-1]
				next.Path, next.Time, next.DestinationBytes = events[i].Path, events[i].Time, events[i].DestinationBytes
				events[i] = next
			}
		}
		base := int64(r.IntN(2_000_000_000))
		body := bodyOf(events, base)
		got, err := eventsOf(body, len(events), base)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for i := range events {
			if !sameEvent(&got[i], &events[i]) {
				t.Fatalf("round %d, event %d comes back otherwise", round, i)
			}
		}
	}
}

// Whatever the bytes, decoding ends, without a panic and without more memory than they are worth; what it accepts can be laid
// out again and says the same.
func FuzzBody(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		events := make([]Event, 1+r.IntN(9))
		for i := range events {
			events[i] = drawEvent(r)
		}
		f.Add(bodyOf(events, 1_800_000_000), len(events))
	}
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		const base = 1_800_000_000
		events, err := eventsOf(body, n, base)
		if err != nil {
			return
		}
		again, err := eventsOf(bodyOf(events, base), n, base)
		if err != nil || len(again) != n {
			t.Fatalf("%d events, laid out again: %v", n, err)
		}
		for i := range events {
			if !sameEvent(&again[i], &events[i]) {
				t.Fatalf("event %d comes back otherwise", i)
			}
		}
	})
}

// What opened is what we sealed, but a bug of tomorrow must not take the reader down: memory is bounded, whatever a frame says.
func TestExpandingIsBounded(t *testing.T) {
	c, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	x, err := newExpander()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 100, 5000, 1 << 20, maxBody} {
		body := bytes.Repeat([]byte("/nyheter/artikel-1.html"), size/23+1)[:size]
		got, err := x.expand(c.compress(nil, body))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
		}
	}
	bomb := c.compress(nil, make([]byte, 8*maxBody))
	if _, err := x.expand(bomb); err == nil {
		t.Errorf("%d bytes expand to %d", len(bomb), 8*maxBody)
	}
	for _, plain := range [][]byte{nil, {}, {0}, {3, 1, 2}, {formCompressed}, {formCompressed, 1, 2, 3}, bomb[:20]} {
		if body, err := x.expand(plain); err == nil {
			t.Errorf("%x expands to %d bytes", plain, len(body))
		}
	}
	if body, err := x.expand([]byte{formStored}); err != nil || len(body) != 0 {
		t.Error(body, err)
	}
}
