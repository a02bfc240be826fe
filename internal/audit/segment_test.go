package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A clock is what tests move.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func openAt(t testing.TB, c Config, now *clock) *Log {
	t.Helper()
	l, err := Open(t.Context(), c, now.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func verified(t testing.TB, dir string, trust Trust, m Memory) (Report, Memory) {
	t.Helper()
	r, after, err := Verify(t.Context(), os.DirFS(dir), trust, m)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("%v", r.Findings)
	}
	return r, after
}

func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// years is a log of four segments, a year each, and its clock.
func years(t testing.TB) (Config, *Log, *clock) {
	c := testConfig(t)
	c.Retention, c.Silence = 2*MinimumRetention, 10*MinimumRetention
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	for year := range 4 {
		for i := range 5 {
			appendTo(t, l, sample(year*10+i))
		}
		if year < 3 {
			now.now = now.now.AddDate(1, 0, 0)
			if n, err := l.Rotate(t.Context(), "sec-1"); err != nil || n != year+2 {
				t.Fatal(n, err)
			}
		}
	}
	return c, l, now
}

func TestRotateAndRetire(t *testing.T) {
	c, l, now := years(t)
	report, memory := verified(t, c.Directory, l.Trust(), Memory{})
	if len(report.Segments) != 4 || report.Segments[0].State != StateClosed || report.Segments[3].State != StateOpen || len(report.Notices) > 0 {
		t.Fatalf("%+v", report)
	}
	before, err := l.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, retire := range map[string]func() error{
		"no decision":        func() error { return l.Retire(t.Context(), "sec-1", 1, "") },
		"not the oldest":     func() error { return l.Retire(t.Context(), "sec-1", 2, "KS 2029/1") },
		"not closed":         func() error { return l.Retire(t.Context(), "sec-1", 4, "KS 2029/1") },
		"not there":          func() error { return l.Retire(t.Context(), "sec-1", 5, "KS 2029/1") },
		"segment 0":          func() error { return l.Retire(t.Context(), "sec-1", 0, "KS 2029/1") },
		"a decision of junk": func() error { return l.Retire(t.Context(), "sec-1", 1, "KS\n2029") },
	} {
		if err := retire(); err == nil || name != "a decision of junk" && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Retire(t.Context(), "sec-1", 1, "KS 2029/1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Retire(t.Context(), "sec-1", 2, "KS 2029/2"); !errors.Is(err, ErrRefused) {
		t.Errorf("a segment whose retention is not over: %v", err)
	}
	if list, _ := filepath.Glob(filepath.Join(c.Directory, "0001", "*")); len(list) != 2 {
		t.Errorf("what is left of it: %v", list)
	}
	if text := snapshot(t, filepath.Join(c.Directory, "0001")); strings.Contains(text, "holder-") {
		t.Error("an entry is left of it")
	}
	report, memory = verified(t, c.Directory, l.Trust(), memory)
	if report.Segments[0].State != StateRetired || report.Size != 28+2*(3+6+9) || len(report.Notices) == 0 {
		t.Errorf("%+v", report)
	}
	// The reader that knew it still knows it; a new one reads what is left.
	for _, r := range []*Reader{l.Reader, NewReader(os.DirFS(c.Directory), l.Trust())} {
		all, err := r.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last := all[len(all)-1]; last.Kind != SegmentRetired || last.Case != "KS 2029/1" || last.Counts["segment"] != 1 {
			t.Errorf("%+v", last)
		}
		if r == l.Reader && len(all) != len(before)+1 || r != l.Reader && (all[0].Position != (Position{1, 3}) || all[3].Position != (Position{2, 0})) {
			t.Errorf("%d entries from %v", len(all), all[0].Position)
		}
	}
	now.now = now.now.AddDate(3, 0, 0)
	if err := l.Retire(t.Context(), "sec-1", 2, "KS 2032/2"); err != nil {
		t.Fatal(err)
	}
	report, _ = verified(t, c.Directory, l.Trust(), memory)
	if report.Segments[1].State != StateRetired {
		t.Errorf("%+v", report.Segments)
	}
	// Also when what retired the first is retired itself.
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	now.now = now.now.AddDate(3, 0, 0)
	for _, n := range []int{3, 4} {
		if err := l.Retire(t.Context(), "sec-1", n, "KS 2035/3"); err != nil {
			t.Fatal(err)
		}
	}
	report, _ = verified(t, c.Directory, l.Trust(), memory)
	if report.Segments[3].State != StateRetired || report.Segments[4].State != StateOpen {
		t.Errorf("%+v", report.Segments)
	}
	if _, err := NewReader(os.DirFS(c.Directory), l.Trust()).Entries(t.Context()); err != nil {
		t.Error(err)
	}
	if p, err := l.Prove(Position{2, 0}); err != nil {
		t.Error("the entry that opens a retired segment:", err)
	} else if r, err := p.Check(l.Trust()); err != nil || r.Kind != SegmentOpened {
		t.Error(r.Kind, err)
	}
	if _, err := l.Prove(Position{1, 1}); err == nil {
		t.Error("a retired entry is proved")
	}
	copied := filepath.Join(t.TempDir(), "export")
	if _, err := Export(t.Context(), os.DirFS(c.Directory), l.Trust(), copied); err != nil {
		t.Error(err)
	}
}

// A process that dies between two steps of retiring leaves a log that verifies, and whoever retires again finishes it.
func TestKilledWhileRetiring(t *testing.T) {
	c, l, now := years(t)
	before := copyFolder(t, c.Directory)
	if err := l.Retire(t.Context(), "sec-1", 1, "KS 2029/1"); err != nil {
		t.Fatal(err)
	}
	done := c.Directory
	for name, step := range map[string]func(dir string) error{
		"recorded": func(dir string) error { return os.Remove(filepath.Join(dir, "0001", anchorFile)) },
		"anchored": func(dir string) error { return nil },
		"half removed": func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "0001", "tile", "entries"))
		},
		"tiles removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "0001", "tile")) },
	} {
		t.Run(name, func(t *testing.T) {
			// What retiring has done, with the tiles that it has not yet removed.
			dir := copyFolder(t, done)
			if err := os.CopyFS(filepath.Join(dir, "0001", "tile"), os.DirFS(filepath.Join(before, "0001", "tile"))); err != nil {
				t.Fatal(err)
			}
			if err := step(dir); err != nil {
				t.Fatal(err)
			}
			verified(t, dir, l.Trust(), Memory{})
			again := c
			again.Directory = dir
			l := openAt(t, again, now)
			if err := l.Retire(t.Context(), "sec-1", 1, "KS 2029/1"); err != nil {
				t.Fatal(err)
			}
			report, _ := verified(t, dir, l.Trust(), Memory{})
			if report.Segments[0].State != StateRetired || !l.removed(1) {
				t.Errorf("%+v", report)
			}
			all, err := l.Entries(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, e := range all {
				if e.Kind == SegmentRetired {
					count++
				}
			}
			if count != 1 {
				t.Errorf("it is recorded %d times", count)
			}
		})
	}
}

// A process that dies between two steps of a rotation: the next one finishes it, with the same bytes.
func TestKilledWhileRotating(t *testing.T) {
	c := testConfig(t)
	now := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	for i := range 160 { // an open case: more than go in at once is carried forward
		e := sample(2)
		e.Counts["number"] = int64(i)
		appendTo(t, l, e)
	}
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := os.ReadFile(filepath.Join(c.Directory, "0002", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]func(dir string) error{
		"closed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "0002")) },
		"built":  func(dir string) error { return os.Rename(filepath.Join(dir, "0002"), filepath.Join(dir, ".new-0002")) },
		"half built": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "0002"), filepath.Join(dir, ".new-0002")),
				os.RemoveAll(filepath.Join(dir, ".new-0002", "tile")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			again := c
			again.Directory = copyFolder(t, c.Directory)
			if err := step(again.Directory); err != nil {
				t.Fatal(err)
			}
			later := &clock{now.now.Add(time.Hour)}
			l := openAt(t, again, later)
			text, err := os.ReadFile(filepath.Join(again.Directory, "0002", "checkpoint"))
			if err != nil || !bytes.Equal(text, checkpoint) {
				t.Errorf("the second segment begins as\n%s\nand began as\n%s%v", text, checkpoint, err)
			}
			if r := appendTo(t, l, sample(3)); r.Position != (Position{2, 321}) {
				t.Errorf("%v", r.Position)
			}
			verified(t, again.Directory, l.Trust(), Memory{})
		})
	}
}

// The record says when the clock went back.
func TestClockGoesBack(t *testing.T) {
	c := testConfig(t)
	now := &clock{time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, c, now)
	appendTo(t, l, sample(1))
	now.now = now.now.Add(-3 * time.Second)
	appendTo(t, l, sample(2))
	now.now = now.now.Add(-24 * time.Hour)
	r := appendTo(t, l, sample(3))
	report, _ := verified(t, c.Directory, l.Trust(), Memory{})
	if len(report.Notices) != 1 || report.Notices[0].Index != r.Index || !strings.Contains(report.Notices[0].Text, "clock went back by 24h") {
		t.Errorf("%v", report.Notices)
	}
}
