package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrRecord says that the record on disk is not what its checkpoint says, or not there.
var ErrRecord = errors.New("the audit log does not verify")

// A Reader reads entries that are proved by the checkpoints, from files alone. It keeps what it has read: a later call
// reads only what is new, and fails if what is there does not extend it. It is safe for use by several goroutines.
type Reader struct {
	files fs.FS
	trust Trust

	mu       sync.Mutex
	segments []*readSegment // by number from 1; nil: retired
	records  []Record
}

type readSegment struct {
	checkpoint Checkpoint
	tree       tree
}

// NewReader answers a reader of the log in files: a directory, a copy or an export of it.
func NewReader(files fs.FS, trust Trust) *Reader {
	return &Reader{files: files, trust: trust}
}

// segmentNumbers answers the segments in files: always 1 to n.
func segmentNumbers(files fs.FS) (int, error) {
	list, err := fs.ReadDir(files, ".")
	if err != nil {
		return 0, err
	}
	var found []string
	for _, d := range list {
		if name := d.Name(); len(name) == 4 && strings.Trim(name, "0123456789") == "" && name != "0000" {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	for i, name := range found {
		if want := (segment{n: i + 1}).dir(); name != want {
			return i, fmt.Errorf("segment %s is missing", want)
		}
	}
	return len(found), nil
}

// Entries answers all entries of all segments that are not retired, in order, and in front of them those of retired segments
// that a later one repeats because they still count, at their old positions. The entries are shared: do not change them.
func (r *Reader) Entries(ctx context.Context) ([]Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w: run 'tillsyn audit verify'", ErrRecord, err)
	}
	return slices.Clip(r.records), nil
}

// OfCase answers the entries of one case, in order.
func (r *Reader) OfCase(ctx context.Context, number string) ([]Record, error) {
	all, err := r.Entries(ctx)
	if err != nil {
		return nil, err
	}
	var found []Record
	for _, e := range all {
		if e.Case == number {
			found = append(found, e)
		}
	}
	return found, nil
}

func (r *Reader) refresh(ctx context.Context) error {
	count, err := segmentNumbers(r.files)
	if err != nil {
		return err
	}
	if count == 0 {
		return errors.New("there is no segment")
	}
	if count < len(r.segments) {
		return fmt.Errorf("segment %04d is gone", len(r.segments))
	}
	records := r.records
	var retired []int
	read := slices.Clone(r.segments)
	for n := 1; n <= count; n++ {
		if n <= len(read) && n < count && read[n-1] == nil {
			continue
		}
		s := segmentAt(r.files, n)
		if isRetired(s) {
			// Only a prefix of the segments can be retired: what was read of this one is history now.
			retired = append(retired, n)
			if n > len(read) {
				read = append(read, nil)
			}
			continue
		}
		var before *readSegment
		if n <= len(read) {
			before = read[n-1]
		}
		now, more, carried, err := r.read(ctx, s, before)
		if err != nil {
			return err
		}
		if carried, err = r.only(carried, records); err != nil {
			return err
		}
		for _, c := range carried {
			records = append(records, c.Record)
		}
		records = append(records, more...)
		if n > len(read) {
			read = append(read, now)
		} else {
			read[n-1] = now
		}
	}
	if len(retired) == count {
		return errors.New("the last segment has no entries")
	}
	for _, n := range retired {
		if !slices.ContainsFunc(records, func(e Record) bool { return e.Kind == SegmentRetired && e.Counts["segment"] >= int64(n) }) {
			return fmt.Errorf("segment %04d has no entries and was not retired", n)
		}
	}
	r.segments, r.records = read, records
	return nil
}

// isRetired says whether the segment claims to be retired: its anchor is there. The record must say so too.
func isRetired(s segment) bool {
	_, err := s.stat(anchorFile)
	return err == nil
}

// only leaves of what a segment repeats the entries that can be read nowhere else: their segments are retired, they were not read
// before that, and no segment before this one repeats them. Each is proved by the checkpoint that is left.
func (r *Reader) only(carried []carriedEntry, records []Record) ([]carriedEntry, error) {
	have, gone := map[Position]bool{}, map[int]bool{}
	if len(carried) > 0 {
		for _, e := range records {
			have[e.Position] = true
		}
	}
	var list []carriedEntry
	for _, c := range carried {
		retired, known := gone[c.Segment]
		if !known {
			retired = isRetired(segmentAt(r.files, c.Segment))
			gone[c.Segment] = retired
		}
		if have[c.Position] || !retired {
			continue
		}
		last, err := segmentAt(r.files, c.Segment).checkpoint(r.trust)
		if err == nil {
			err = c.prove(last)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// read reads what is new in s since before, nil if nothing was read: its own entries, and those that it repeats.
func (r *Reader) read(ctx context.Context, s segment, before *readSegment) (*readSegment, []Record, []carriedEntry, error) {
	c, err := s.checkpoint(r.trust)
	if err != nil {
		return nil, nil, nil, err
	}
	now := &readSegment{checkpoint: c}
	if before != nil {
		if c.Size < before.checkpoint.Size {
			return nil, nil, nil, fmt.Errorf("segment %s has %d entries, it had %d", s.dir(), c.Size, before.checkpoint.Size)
		}
		now.tree = tree{before.tree.size, slices.Clone(before.tree.edge)}
	}
	var records []Record
	var carried []carriedEntry
	lines := parting{segment: s.n}
	var parseErr error
	err = s.walk(ctx, now.tree.size, c.Size, func(index int64, line []byte) bool {
		var own Record
		var old *carriedEntry
		if own, old, parseErr = lines.take(index, line); parseErr != nil {
			parseErr = fmt.Errorf("entry %v: %w", Position{s.n, index}, parseErr)
			return false
		}
		now.tree.add(tlog.RecordHash(line))
		if old != nil {
			carried = append(carried, *old)
		} else {
			records = append(records, own)
		}
		return true
	})
	switch {
	case parseErr != nil:
		return nil, nil, nil, parseErr
	case err != nil:
		return nil, nil, nil, err
	case len(records) > 0 && now.tree.size < c.Size:
		return nil, nil, nil, fmt.Errorf("segment %s breaks at entry %d", s.dir(), now.tree.size)
	case now.tree.root() != c.Root:
		return nil, nil, nil, fmt.Errorf("segment %s is not what its checkpoint says", s.dir())
	}
	return now, records, carried, nil
}
