package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tillsyn/internal/durable"
)

// ErrRefused says that a segment may not be retired.
var ErrRefused = errors.New("refused")

// Rotate closes the segment that takes entries, and begins the next one. It answers the number of the new one. After an
// error, whoever uses the log next finishes what was begun.
func (l *Log) Rotate(ctx context.Context, actor string) (int, error) {
	if l == nil || l.Reader == nil {
		return 0, ErrUnavailable
	}
	var next int
	err := l.locked(ctx, func(ctx context.Context) error {
		at, err := l.current(ctx)
		if err != nil {
			return err
		}
		e := Entry{At: l.stamp(), Kind: SegmentClosed, Actor: actor, Counts: map[string]int64{"segment": int64(at.Segment), "entries": at.Size + 1}}
		if _, err := l.write(ctx, at, []Entry{e}); err != nil {
			return err
		}
		at, err = l.current(ctx)
		next = at.Segment
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rotate the audit log: %w", err)
	}
	return next, nil
}

// Retire removes the entries of a closed segment, oldest first, when Config.Retention has passed since its last entry.
// decision is the number of the decision that says so; it stays in the record, with the segment's last checkpoint. Retiring
// what is being retired finishes it. The error is ErrRefused if it may not be, ErrRecord if the segment does not verify.
func (l *Log) Retire(ctx context.Context, actor string, n int, decision string) error {
	if l == nil || l.Reader == nil {
		return ErrUnavailable
	}
	if decision == "" {
		return fmt.Errorf("retire segment %04d: %w: there is no decision number", n, ErrRefused)
	}
	err := l.locked(ctx, func(ctx context.Context) error {
		at, err := l.current(ctx)
		if err != nil {
			return err
		}
		if n < 1 || n >= at.Segment {
			return fmt.Errorf("%w: only closed segments can be retired, 1 to %d", ErrRefused, at.Segment-1)
		}
		if n > 1 && !l.removed(n-1) {
			return fmt.Errorf("%w: retire segment %04d first", ErrRefused, n-1)
		}
		s := segmentAt(l.files, n)
		c, err := s.checkpoint(l.trust)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		recorded, err := l.retirementOf(ctx, n, at)
		if err != nil {
			return err
		}
		if !recorded {
			if err := l.mayRetire(ctx, s); err != nil {
				return err
			}
			e := Entry{At: l.stamp(), Kind: SegmentRetired, Actor: actor, Case: decision, Body: string(c.Note),
				Counts: map[string]int64{"segment": int64(n), "entries": c.Size}}
			if _, err := l.write(ctx, at, []Entry{e}); err != nil {
				return err
			}
		}
		if !isRetired(s) {
			p, err := s.proveUnder(c, 0)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrRecord, err)
			}
			if err := durable.Create(filepath.Join(l.path(n), anchorFile), p.Encode(), 0o600); err != nil {
				return err
			}
		}
		for _, name := range []string{"tile", ".state"} {
			if err := os.RemoveAll(filepath.Join(l.path(n), name)); err != nil {
				return err
			}
		}
		return durable.SyncDirectory(l.path(n))
	})
	if err != nil {
		return fmt.Errorf("retire segment %04d of the audit log: %w", n, err)
	}
	return nil
}

// removed says whether segment n is retired and its tiles are gone.
func (l *Log) removed(n int) bool {
	s := segmentAt(l.files, n)
	_, err := s.stat("tile")
	return isRetired(s) && errors.Is(err, fs.ErrNotExist)
}

// retirementOf says whether the record already says that segment n is retired.
func (l *Log) retirementOf(ctx context.Context, n int, at Checkpoint) (found bool, err error) {
	for later := n + 1; later <= at.Segment && !found; later++ {
		s := segmentAt(l.files, later)
		c, err := s.checkpoint(l.trust)
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		_, records, _, err := l.read(ctx, s, nil)
		if err != nil {
			return false, fmt.Errorf("%w: %w: segment %04d of %d entries", ErrRecord, err, later, c.Size)
		}
		found = slices.ContainsFunc(records, func(r Record) bool { return r.Kind == SegmentRetired && r.Counts["segment"] == int64(n) })
	}
	return found, nil
}

// mayRetire verifies the segment whole, while that is possible, and its age.
func (l *Log) mayRetire(ctx context.Context, s segment) error {
	report, _, err := Verify(ctx, l.files, l.trust, Memory{})
	if err != nil {
		return err
	}
	if f, bad := report.First(); bad {
		return fmt.Errorf("%w: %v", ErrRecord, f)
	}
	if over := report.Segments[s.n-1].Last.Add(l.config.Retention); l.now().Before(over) {
		return fmt.Errorf("%w: its retention ends %s", ErrRefused, over.Format(timeLayout))
	}
	return nil
}

// removeBeyond removes from the right edge of segment n what a killed process wrote beyond the published size, which nobody
// may take for a part of the record, and the partial tiles that full ones have replaced. A batch fills at most one tile.
func (l *Log) removeBeyond(n int, size int64) {
	for level := entriesLevel; level <= 0 || size > 0; level++ {
		index, width := size/tileWidth, int(size%tileWidth)
		full := func(index int64) string {
			return filepath.Join(l.path(n), filepath.FromSlash(tilePath(level, index, tileWidth)))
		}
		// What cannot be removed does no harm: it is overwritten, or verify names it.
		if index > 0 {
			os.RemoveAll(full(index-1) + ".p")
		}
		os.Remove(full(index))
		os.Remove(full(index + 1))
		os.RemoveAll(full(index+1) + ".p")
		list, _ := os.ReadDir(full(index) + ".p")
		for _, d := range list {
			if w, err := strconv.Atoi(d.Name()); err != nil || w > width {
				os.Remove(filepath.Join(full(index)+".p", d.Name()))
			}
		}
		if level >= 0 {
			size = index
		}
	}
}

// removeAside removes what killed processes wrote aside and did not come to rename: Tessera beside the target, with a number
// behind its name, this room as .new-*. The lock is held, so nobody is writing one.
func (l *Log) removeAside(n int) {
	tiles := filepath.Join(l.path(n), "tile")
	_ = filepath.WalkDir(tiles, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(strings.TrimLeft(d.Name(), "x")) > len("000") && strings.Trim(d.Name(), "x0123456789") == "" {
			os.Remove(path)
		}
		return nil
	})
	for _, pattern := range []string{".new-*", ".state/treeState?*", ".state/.new-*"} {
		list, _ := filepath.Glob(filepath.Join(l.path(n), pattern))
		for _, path := range list {
			if name := filepath.Base(path); strings.HasPrefix(name, ".new-") || strings.Trim(strings.TrimPrefix(name, "treeState"), "0123456789") == "" {
				os.Remove(path)
			}
		}
	}
}
