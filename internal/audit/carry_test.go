package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func document(i int) string { return "sha256:" + strings.Repeat(fmt.Sprintf("%08x", i), 8) }

// A log of years: what later checks build on is in the record after every old segment is retired, where it stood, once, proved by
// the checkpoints that are left; what has ended is gone.
func TestWhatCountsIsCarriedForward(t *testing.T) {
	c := testConfig(t)
	c.Retention, c.Silence = MinimumRetention, 100*MinimumRetention
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	long := strings.Repeat("rad \"å\" \\\n", 4300) // its line is nearly as long as a line may be
	want := []Entry{
		{Kind: RegisterChanged, Actor: "sec-1", Document: document(1), Body: long},
		{Kind: DecisionRequested, Actor: "hr-1", Case: "KS 2026/1", Document: document(2)},
		{Kind: DecisionApproved, Actor: "sec-1", Case: "KS 2026/1", Document: document(2), Body: "approval\n"},
		{Kind: LookupIntent, Actor: "inv-1", Case: "KS 2026/1", Document: document(2), Body: "lookup\n"},
		{Kind: HoldPlaced, Actor: "tillsyn.gate", Case: "KS 2026/3", Document: document(5)},
		{Kind: RecordsRequested, Actor: "reg-1", Case: "KS 2026/4", Document: document(6)},
		{Kind: RecordsDecided, Actor: "reg-1", Case: "KS 2026/4", Document: document(14)}, // and not closed
		{Kind: PermissionGranted, Actor: "mgr-1", Document: document(7)},
		{Kind: SettingsChanged, Actor: "serve", Document: document(9)},
		{Kind: DecisionClosed, Actor: "hr-1", Case: "KS 2026/3", Document: document(10)}, // its hold is in force
		{Kind: PurgeIntent, Actor: "tillsyn", Document: document(11)},
	}
	gone := []Entry{
		{Kind: DecisionRequested, Actor: "hr-1", Case: "KS 2026/2", Document: document(3)},
		{Kind: DecisionRevoked, Actor: "hr-1", Case: "KS 2026/2", Document: document(3)},
		{Kind: HoldPlaced, Actor: "hr-1", Case: "KS 2026/2", Document: document(4)},
		{Kind: HoldReleased, Actor: "hr-1", Case: "KS 2026/2", Document: document(4)},
		{Kind: RecordsRequested, Actor: "reg-1", Case: "KS 2026/5", Document: document(15)},
		{Kind: RecordsClosed, Actor: "reg-1", Case: "KS 2026/5", Document: document(16)},
		{Kind: SettingsChanged, Actor: "serve", Document: document(8)},
		{Kind: PermissionGranted, Actor: "mgr-1", Document: document(12)},
		{Kind: PermissionRemoved, Actor: "gate", Document: document(12)},
		{Kind: AccessRefused, Actor: "gate", Case: "KS 2026/1"},
		{Kind: PurgeIntent, Actor: "tillsyn", Document: document(13)},
		{Kind: PurgeCertificate, Actor: "tillsyn", Document: document(13)},
	}
	for _, e := range slices.Concat(gone, want) {
		appendTo(t, l, e)
	}
	for i := range 200 { // more than go in at once
		e := Entry{Kind: LookupResult, Actor: "inv-1", Case: "KS 2026/1", Document: document(2), Counts: map[string]int64{"number": int64(i)}}
		want = append(want, e)
		appendTo(t, l, e)
	}
	first, err := l.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first = slices.Clone(first[1+len(gone):])
	rotate := func() {
		t.Helper()
		if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
			t.Fatal(err)
		}
	}
	rotate()
	r := appendTo(t, l, Entry{Kind: HoldPlaced, Actor: "hr-2", Case: "KS 2027/1", Document: document(20)})
	first = append(first, r.Record)
	verified(t, c.Directory, l.Trust(), Memory{})
	same := func(what string) {
		t.Helper()
		all, err := NewReader(os.DirFS(c.Directory), l.Trust()).Entries(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var got []Record
		for _, e := range all {
			if !e.Kind.ofLog() && !slices.ContainsFunc(gone, func(g Entry) bool { return g.Kind == e.Kind && g.Document == e.Document && g.Case == e.Case }) {
				got = append(got, e)
			}
		}
		if len(got) != len(first) {
			t.Fatalf("%s: %d entries count, not %d", what, len(got), len(first))
		}
		for i := range got {
			a, _ := got[i].Encode()
			b, _ := first[i].Encode()
			if got[i].Position != first[i].Position || string(a) != string(b) {
				t.Errorf("%s: %v is not %v", what, got[i].Position, first[i].Position)
			}
		}
	}
	same("rotated once")
	rotate()
	same("rotated twice")
	verified(t, c.Directory, l.Trust(), Memory{})
	now.now = now.now.AddDate(6, 0, 0)
	for n := 1; n <= 2; n++ {
		if err := l.Retire(t.Context(), "sec-1", n, "KS 2032/1"); err != nil {
			t.Fatal(err)
		}
		same(fmt.Sprintf("%d retired", n))
		verified(t, c.Directory, l.Trust(), Memory{})
	}
	// A case that has ended since then is carried no further.
	appendTo(t, l, Entry{Kind: DecisionClosed, Actor: "hr-1", Case: "KS 2026/1", Document: document(2)})
	proof, err := l.Prove(first[0].Position)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := proof.Check(l.Trust()); err != nil || r.Position != first[0].Position || r.Body != long {
		t.Errorf("%v %v", r.Position, err)
	}
	rotate()
	now.now = now.now.AddDate(6, 0, 0)
	if err := l.Retire(t.Context(), "sec-1", 3, "KS 2038/1"); err != nil {
		t.Fatal(err)
	}
	all, err := NewReader(os.DirFS(c.Directory), l.Trust()).Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(all, func(e Record) bool { return e.Case == "KS 2026/1" }) || !slices.ContainsFunc(all, func(e Record) bool { return e.Position == first[0].Position }) {
		t.Error("a case that ended is still there, or a register is not")
	}
	copied := filepath.Join(t.TempDir(), "export")
	if _, err := Export(t.Context(), os.DirFS(c.Directory), l.Trust(), copied); err != nil {
		t.Error(err)
	}
}

// Who holds the log's key and lies about what earlier segments said is found: by the segment while it is there, by its last
// checkpoint for ever. The log is built with the key, as such a one would.
func TestWhatIsCarriedForwardIsProved(t *testing.T) {
	c := testConfig(t)
	c.Retention, c.Silence = MinimumRetention, 100*MinimumRetention
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	hold := appendTo(t, l, Entry{Kind: HoldPlaced, Actor: "hr-1", Case: "KS 2026/1", Document: document(1)})
	ended := appendTo(t, l, Entry{Kind: LookupResult, Actor: "hr-1", Case: "KS 2026/2", Document: document(2)})
	closing := Entry{At: l.stamp(), Kind: SegmentClosed, Actor: "sec-1", Counts: map[string]int64{"segment": 1, "entries": 4}}
	if err := l.locked(t.Context(), func(ctx context.Context) error {
		at, err := l.current(ctx)
		if err == nil {
			_, err = l.write(ctx, at, []Entry{closing})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := segmentAt(l.files, 1)
	last, err := s.checkpoint(l.trust)
	if err != nil {
		t.Fatal(err)
	}
	right, err := l.carry(t.Context(), s, last)
	if err != nil || len(right) != 1 || right[0].Position != hold.Position {
		t.Fatal(right, err)
	}
	other := right[0]
	other.Record.Entry.Actor = "hr-2"
	if other.line, err = other.Record.Entry.Encode(); err != nil {
		t.Fatal(err)
	}
	moved := right[0]
	moved.Index = ended.Index
	p, err := s.proveUnder(last, ended.Index)
	if err != nil {
		t.Fatal(err)
	}
	extra := carriedEntry{ended.Record, p.Line, p.Path}
	for name, x := range map[string]struct {
		carried []carriedEntry
		want    string
		later   bool // it is found also when the segment is retired
	}{
		"left out":      {nil, "was not carried forward", false},
		"another entry": {[]carriedEntry{other}, "is not what stood there", true},
		"moved":         {[]carriedEntry{moved}, "is not what stood there", true},
		"one too many":  {[]carriedEntry{right[0], extra}, "is not needed any more", false},
		"twice":         {[]carriedEntry{right[0], right[0]}, "is there twice", false},
	} {
		t.Run(name, func(t *testing.T) {
			lie := c
			lie.Directory = copyFolder(t, c.Directory)
			liar := &Log{config: lie, key: l.key, now: now.Now}
			first := Entry{At: closing.At, Kind: SegmentOpened, Actor: "sec-1", Body: string(last.Note), Counts: map[string]int64{"segment": 2, "carried": int64(len(x.carried))}}
			if err := liar.build(t.Context(), 2, first, x.carried); err != nil {
				t.Fatal(err)
			}
			if err := liar.raise(2); err != nil {
				t.Fatal(err)
			}
			report, _, err := Verify(t.Context(), os.DirFS(lie.Directory), l.Trust(), Memory{})
			found := func() bool {
				return slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Segment == 2 && strings.Contains(f.Text, x.want) })
			}
			if err != nil || !found() {
				t.Errorf("%v %v", report.Findings, err)
			}
			anchor, err := segmentAt(os.DirFS(lie.Directory), 1).proveUnder(last, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(lie.Directory, "0001", anchorFile), anchor.Encode(), 0o600); err != nil {
				t.Fatal(err)
			}
			report, _, err = Verify(t.Context(), os.DirFS(lie.Directory), l.Trust(), Memory{})
			if err != nil || found() != x.later {
				t.Errorf("its segment being retired: %v %v", report.Findings, err)
			}
		})
	}
}

// A jump of the clock is refused until somebody accepts it, ahead as well as back.
func TestClockFarAhead(t *testing.T) {
	c := testConfig(t)
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	appendTo(t, l, Entry{Kind: HoldPlaced, Actor: "hr-1", Case: "KS 2026/1", Document: document(1)})
	right := now.now
	now.now = right.AddDate(10, 0, 0)
	ahead := func(err error) bool { return errors.Is(err, ErrUnavailable) && errors.Is(err, ErrAhead) }
	if _, err := l.Append(t.Context(), sample(1)); !ahead(err) {
		t.Fatal(err)
	}
	if _, err := l.Rotate(t.Context(), "sec-1"); !ahead(err) {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), Entry{Kind: ClockAccepted, Actor: "sec-1"}); err == nil {
		t.Error("everybody can accept the clock")
	}
	now.now = right.Add(c.Silence)
	appendTo(t, l, sample(2))
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	// The last line of the new segment is an old one: what counts is when the segment began.
	now.now = now.now.Add(c.Silence)
	appendTo(t, l, sample(3))
	now.now = now.now.Add(c.Silence + time.Second)
	if _, err := l.Append(t.Context(), sample(4)); !ahead(err) {
		t.Fatal(err)
	}
	accept := func() {
		t.Helper()
		if _, err := l.AcceptClock(t.Context(), "sec-1", func(at, last time.Time) (string, string, error) {
			return document(3), fmt.Sprintf("%s %s\n", at.Format(timeLayout), last.Format(timeLayout)), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	accept()
	appendTo(t, l, sample(4))
	back := now.now
	now.now = back.AddDate(10, 0, 0)
	accept() // somebody did not look
	appendTo(t, l, sample(5))
	now.now = back
	accept()
	appendTo(t, l, sample(6))
	all, err := l.Entries(t.Context())
	if err != nil || !Newest(all).Equal(back) {
		t.Errorf("%v %v", Newest(all), err)
	}
	verified(t, c.Directory, l.Trust(), Memory{})
}

// A process that has read a part of a segment, and looks again when that segment is gone, has all that counts, and nothing twice.
func TestReaderThatComesBackLate(t *testing.T) {
	c := testConfig(t)
	c.Retention, c.Silence = MinimumRetention, 100*MinimumRetention
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	hold := func(i int) Position {
		return appendTo(t, l, Entry{Kind: HoldPlaced, Actor: "hr-1", Case: fmt.Sprintf("KS 2026/%d", i), Document: document(i)}).Position
	}
	want := []Position{hold(1), hold(2)}
	late := NewReader(os.DirFS(c.Directory), l.Trust())
	if all, err := late.Entries(t.Context()); err != nil || len(all) != 3 {
		t.Fatal(len(all), err)
	}
	want = append(want, hold(3))
	for range 2 {
		if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
			t.Fatal(err)
		}
		want = append(want, hold(len(want)+1))
	}
	now.now = now.now.AddDate(6, 0, 0)
	for n := 1; n <= 2; n++ {
		if err := l.Retire(t.Context(), "sec-1", n, "KS 2032/1"); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]*Reader{"late": late, "new": NewReader(os.DirFS(c.Directory), l.Trust()), "the log's own": l.Reader} {
		all, err := r.Entries(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		var got []Position
		for _, e := range all {
			if e.Kind == HoldPlaced {
				got = append(got, e.Position)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
