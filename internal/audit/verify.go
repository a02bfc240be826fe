package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// ClockTolerance is how far the time of an entry may be before that of the one before without a notice.
const ClockTolerance = 5 * time.Second

// States of a segment.
const (
	StateOpen    = "open"    // takes entries
	StateClosed  = "closed"  // its last entry closes it
	StateRetired = "retired" // its entries were removed when their retention was over
)

// A Finding is one thing that Verify found.
type Finding struct {
	Segment int    `json:"segment"`        // 0: the whole log
	Index   int64  `json:"index"`          // the first entry that it touches; -1: none in particular
	File    string `json:"file,omitempty"` // relative to the segment
	Text    string `json:"text"`
}

// String answers f on one line, place first.
func (f Finding) String() string {
	place := "log"
	switch {
	case f.Segment > 0 && f.Index >= 0:
		place = "entry " + Position{f.Segment, f.Index}.String()
	case f.Segment > 0:
		place = "segment " + segment{n: f.Segment}.dir()
	}
	if f.File != "" {
		place += " (" + f.File + ")"
	}
	return place + ": " + f.Text
}

// A SegmentReport is what a segment says about itself.
type SegmentReport struct {
	Number    int       `json:"number"`
	Origin    string    `json:"origin"`
	State     string    `json:"state"`
	Size      int64     `json:"size"`           // entries
	Root      string    `json:"root"`           // base64
	First     time.Time `json:"first,omitzero"` // of the first and the last entry
	Last      time.Time `json:"last,omitzero"`
	Witnesses []string  `json:"witnesses,omitempty"` // who co-signed its checkpoint
}

// A Report is the outcome of Verify. The zero Report is not OK.
type Report struct {
	Deployment string          `json:"deployment"`
	Key        string          `json:"key"`
	Size       int64           `json:"size"`                // entries of all segments, with the retired ones
	Segments   []SegmentReport `json:"segments"`            //
	Findings   []Finding       `json:"findings"`            // by place: the first is the first bad index or tile
	Notices    []Finding       `json:"notices"`             // what somebody should know, and is no fault of the record
	Remembered int             `json:"remembered_compared"` // checkpoints of a Memory that the log extends
}

// OK says whether everything was there and as the checkpoints say.
func (r Report) OK() bool { return len(r.Findings) == 0 && len(r.Segments) > 0 }

// First answers the first finding.
func (r Report) First() (Finding, bool) {
	if len(r.Findings) == 0 {
		return Finding{}, false
	}
	return r.Findings[0], true
}

type verifier struct {
	files  fs.FS
	trust  Trust
	memory Memory
	report Report

	seen      []Checkpoint // opened checkpoints, for the next Memory
	previous  []byte       // checkpoint of the segment before
	clock     time.Time
	last      map[int]Checkpoint // of each segment
	expected  []Record           // what the next segment must repeat; nil if that can't be told
	told      bool
	removed   int // segments up to this one were retired, says the record
	claimed   []int
	remaining map[int]Checkpoint
}

// Verify reads every byte of the public files and proves it by the checkpoints, the checkpoints by the trusted key, and the
// log by what is remembered of it. It answers what it found and, if the report is OK, what to remember from now on. It
// fails only if ctx ends.
func Verify(ctx context.Context, files fs.FS, trust Trust, memory Memory) (Report, Memory, error) {
	v := &verifier{files: files, trust: trust, memory: memory, remaining: map[int]Checkpoint{}, last: map[int]Checkpoint{}}
	v.report = Report{Deployment: trust.deployment, Key: trust.Key(), Segments: []SegmentReport{}, Findings: []Finding{}, Notices: []Finding{}}
	if err := v.run(ctx); err != nil {
		return Report{}, memory, err
	}
	order := func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Index, b.Index))
	}
	slices.SortStableFunc(v.report.Findings, order)
	v.report.Findings = slices.CompactFunc(v.report.Findings, func(a, b Finding) bool { return order(a, b) == 0 && a.File == b.File })
	slices.SortStableFunc(v.report.Notices, order)
	if !v.report.OK() {
		return v.report, memory, nil
	}
	return v.report, memory.with(v.seen), nil
}

func (v *verifier) found(segment int, index int64, file, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{segment, index, file, fmt.Sprintf(format, args...)})
}

func (v *verifier) notice(segment int, index int64, file, format string, args ...any) {
	v.report.Notices = append(v.report.Notices, Finding{segment, index, file, fmt.Sprintf(format, args...)})
}

func (v *verifier) run(ctx context.Context) error {
	if v.trust.zero() {
		v.found(0, -1, "", "no key is trusted: nothing can be verified")
		return nil
	}
	for _, text := range v.memory.checkpoints {
		c, err := v.trust.withoutQuorum().open(text)
		if err != nil {
			v.found(0, -1, "", "a remembered checkpoint is of another log or key: %v", err)
			continue
		}
		v.remaining[c.Segment] = c
	}
	count, err := segmentNumbers(v.files)
	if err != nil {
		v.found(count+1, -1, "", "%v", err)
		return nil
	}
	if count == 0 {
		v.found(0, -1, "", "there is no segment")
		return nil
	}
	for n := 1; n <= count; n++ {
		if err := v.segment(ctx, n, n == count); err != nil {
			return err
		}
	}
	for _, n := range v.claimed {
		if n > v.removed {
			v.found(n, -1, anchorFile, "its entries are gone, but no later entry says that it was retired")
		}
	}
	for n, c := range v.remaining {
		v.found(n, -1, "", "%d entries of it are remembered, but it is not there: the log was shortened", c.Size)
	}
	return nil
}

func (v *verifier) segment(ctx context.Context, n int, last bool) error {
	s := segmentAt(v.files, n)
	previous, expected, told := v.previous, v.expected, v.told
	v.previous, v.expected, v.told = nil, nil, false
	c, err := s.checkpoint(v.trust)
	if err != nil {
		delete(v.remaining, n)
		v.found(n, -1, "checkpoint", "%s", reason(err))
		return nil
	}
	v.previous, v.last[n] = c.Note, c
	v.seen = append(v.seen, c)
	report := SegmentReport{Number: n, Origin: v.trust.Origin(n), State: StateOpen, Size: c.Size,
		Root: base64.StdEncoding.EncodeToString(c.Root[:]), Witnesses: c.Witnesses}
	defer func() {
		v.report.Segments = append(v.report.Segments, report)
		v.report.Size += c.Size
	}()
	if c.unknown > 0 {
		v.notice(n, -1, "checkpoint", "%d signatures are by keys that are not trusted", c.unknown)
	}
	if len(v.trust.witnesses) > 0 && len(c.Witnesses) == 0 {
		v.notice(n, -1, "checkpoint", "no trusted witness co-signed it")
	}
	remembered, has := v.remaining[n]
	delete(v.remaining, n)
	if isRetired(s) {
		report.State = StateRetired
		v.retired(s, c, previous, n, last)
		if has {
			v.compareRetired(n, remembered, c)
		}
		return nil
	}
	if has && remembered.Size > c.Size {
		v.found(n, c.Size, "checkpoint", "the log was shortened: %d entries are remembered, there are %d", remembered.Size, c.Size)
		has = false
	}
	scan, err := v.scan(ctx, s, c, remembered.Size)
	if err != nil {
		return err
	}
	if !scan.authentic {
		return nil
	}
	if has {
		if scan.rememberedRoot != remembered.Root {
			v.found(n, -1, "checkpoint", "there are two histories: the log of %d entries that is remembered is not continued by this one of %d",
				remembered.Size, c.Size)
		} else {
			v.report.Remembered++
		}
	}
	report.First, report.Last = scan.first.At, scan.last.At
	if scan.last.Kind == SegmentClosed {
		report.State = StateClosed
	}
	v.checkFirst(n, scan.first, previous)
	v.checkCarried(n, scan, expected, told)
	v.expected, v.told = needed(scan.records), true
	switch closed := scan.last.Kind == SegmentClosed; {
	case last && closed:
		v.found(n+1, -1, "", "segment %s is closed, and the next one is missing (or a rotation is under way: look again)", s.dir())
	case !last && !closed:
		v.found(n, c.Size-1, "", "the segment was not closed, and yet there is a next one")
	}
	return nil
}

// reason answers what is wrong, without the path of the machine.
func reason(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "it is missing"
	}
	return err.Error()
}

// checkFirst checks the entry that opens segment n and anchors the one before.
func (v *verifier) checkFirst(n int, e Entry, previous []byte) {
	switch {
	case e.Kind != SegmentOpened || e.Counts["segment"] != int64(n):
		v.found(n, 0, "", "it does not open segment %d", n)
	case n == 1 && e.Body != "":
		v.found(n, 0, "", "the first segment has no one before it")
	case n > 1 && previous != nil && e.Body != string(previous):
		v.found(n, 0, "", "its anchor is not the last checkpoint of segment %s", segment{n: n - 1}.dir())
	}
}

// checkCarried checks what segment n repeats of earlier ones: each entry against the checkpoint that its own segment ended with,
// and, where the segment before is still there, that it is all that counts on and nothing else.
func (v *verifier) checkCarried(n int, scan scanned, expected []Record, told bool) {
	for i, c := range scan.carried {
		last, ok := v.last[c.Segment]
		if !ok {
			v.found(n, int64(2*i+2), "", "entry %v, which it repeats, can't be proved: there is no checkpoint of its segment", c.Position)
		} else if err := c.prove(last); err != nil {
			v.found(n, int64(2*i+2), "", "%v", err)
		}
	}
	if !told {
		return
	}
	have := map[Position]bool{}
	for i, c := range scan.carried {
		if have[c.Position] || !slices.ContainsFunc(expected, func(e Record) bool { return e.Position == c.Position }) {
			v.found(n, int64(2*i+2), "", "entry %v is carried forward, and is not needed any more, or is there twice", c.Position)
		}
		have[c.Position] = true
	}
	for _, e := range expected {
		if !have[e.Position] {
			v.found(n, 0, "", "entry %v is still needed, and was not carried forward", e.Position)
		}
	}
}

// retired checks what is left of a retired segment.
func (v *verifier) retired(s segment, c Checkpoint, previous []byte, n int, last bool) {
	v.claimed = append(v.claimed, n)
	if last {
		v.found(n, -1, anchorFile, "the last segment cannot be retired")
	}
	text, err := s.read(anchorFile, maxProof)
	if err != nil {
		v.found(n, 0, anchorFile, "%s", reason(err))
		return
	}
	p, err := ParseProof(text)
	if err != nil {
		v.found(n, 0, anchorFile, "%v", err)
		return
	}
	first, err := p.Check(v.trust)
	switch {
	case err != nil:
		v.found(n, 0, anchorFile, "%v", err)
		return
	case first.Position != Position{n, 0} || !bytes.Equal(p.Checkpoint, c.Note):
		v.found(n, 0, anchorFile, "it proves something else than the first entry under the segment's checkpoint")
		return
	}
	v.checkFirst(n, first.Entry, previous)
	v.notice(n, -1, "", "retired: its %d entries were removed when their retention was over", c.Size)
	if _, err := s.stat("tile"); err == nil {
		v.notice(n, -1, "tile", "the removal was not finished: retire it again")
	}
}

func (v *verifier) compareRetired(n int, remembered, c Checkpoint) {
	switch {
	case remembered.Size > c.Size:
		v.found(n, c.Size, "checkpoint", "the log was shortened: %d entries are remembered, there were %d", remembered.Size, c.Size)
	case remembered.Size == c.Size && remembered.Root != c.Root:
		v.found(n, -1, "checkpoint", "there are two histories of %d entries", c.Size)
	case remembered.Size < c.Size:
		v.notice(n, -1, "", "%d of its %d entries are remembered; that these continue those can no longer be proved", remembered.Size, c.Size)
	default:
		v.report.Remembered++
	}
}

// A scanned segment is what its entries say.
type scanned struct {
	authentic      bool // entries and tiles are what the checkpoint says
	first, last    Entry
	carried        []carriedEntry
	records        []Record  // those that it repeats, then its own
	rememberedRoot tlog.Hash // of the first entries, as many as are remembered
}

// scan reads all tiles of a segment and finds the first that is not what the checkpoint says.
func (v *verifier) scan(ctx context.Context, s segment, c Checkpoint, remembered int64) (scanned, error) {
	var out scanned
	var t tree
	var leaves []tlog.Hash
	var faults []Finding // of single entries
	clock := v.clock
	var notices []Finding
	var retirements []int
	lines := parting{segment: s.n}
	if c.Size == 0 {
		v.found(s.n, -1, "checkpoint", "the segment has no entries")
		return out, nil
	}
	if remembered == 0 {
		out.rememberedRoot = t.root()
	}
	err := s.walk(ctx, 0, c.Size, func(index int64, line []byte) bool {
		hash := tlog.RecordHash(line)
		leaves = append(leaves, hash)
		t.add(hash)
		if t.size == remembered {
			out.rememberedRoot = t.root()
		}
		own, old, err := lines.take(index, line)
		if err != nil {
			faults = append(faults, Finding{s.n, index, tilePath(entriesLevel, index/tileWidth, tileWidth), err.Error()})
			return true
		}
		if old != nil { // its time is that of its own segment
			out.carried, out.records = append(out.carried, *old), append(out.records, old.Record)
			return true
		}
		e := own.Entry
		out.records = append(out.records, own)
		if index == 0 {
			out.first = e
		} else if e.Kind == SegmentOpened {
			faults = append(faults, Finding{s.n, index, "", "a segment is opened inside another"})
		}
		if out.last.Kind == SegmentClosed {
			faults = append(faults, Finding{s.n, index, "", "it was added after the segment was closed"})
		}
		if e.Kind == SegmentRetired {
			retirements = append(retirements, int(e.Counts["segment"]))
		}
		if e.At.Before(clock.Add(-ClockTolerance)) {
			notices = append(notices, Finding{s.n, index, "", fmt.Sprintf("the clock went back by %v, from %s to %s", clock.Sub(e.At),
				clock.Format(timeLayout), e.At.Format(timeLayout))})
		}
		clock, out.last = e.At, e
		return true
	})
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if err == nil && int64(len(leaves)) == c.Size && t.root() == c.Root {
		// Every entry is what was signed: what is wrong with it was signed too.
		before := len(v.report.Findings)
		v.report.Findings = append(v.report.Findings, faults...)
		v.report.Notices = append(v.report.Notices, notices...)
		v.clock = clock
		for _, n := range retirements {
			v.removed = max(v.removed, n)
		}
		if err := v.compareTiles(ctx, s, c.Size, leaves); err != nil {
			return out, err
		}
		if err := v.listing(ctx, s, c.Size, leaves); err != nil {
			return out, err
		}
		out.authentic = len(v.report.Findings) == before || len(faults) == 0
		return out, nil
	}
	v.locate(ctx, s, c, leaves, faults, err)
	return out, ctx.Err()
}

// locate finds the first bad place of a segment whose entries are not those of its checkpoint.
func (v *verifier) locate(ctx context.Context, s segment, c Checkpoint, leaves []tlog.Hash, faults []Finding, broken error) {
	found := Finding{Segment: s.n, Index: int64(len(leaves))}
	if broken != nil {
		b := int64(len(leaves)) / tileWidth
		found.File = tilePath(entriesLevel, b, int(min(c.Size-b*tileWidth, tileWidth)))
		found.Text = "the entry cannot be read"
		if errors.Is(broken, fs.ErrNotExist) {
			found.Text = "the file is missing"
		}
	} else {
		found.Index = 0
		found.Text = "the entries from here on are not those of the checkpoint, and the tiles were changed with them: where it begins cannot be told"
	}
	located := broken != nil
	better := func(index int64, file, text string) {
		if !located || index < found.Index {
			found, located = Finding{s.n, index, file, text}, true
		}
	}
	authentic := s.authentic(c.tree())
	if i, file, text, ok := s.firstDifference(c.Size, leaves); ok {
		better(i, file, text)
		if stored, err := authentic.ReadHashes([]int64{tlog.StoredHashIndex(0, i)}); err == nil && stored[0] != leaves[i] {
			b := i / tileWidth
			better(i, "", "")
			found = Finding{s.n, i, tilePath(entriesLevel, b, int(min(c.Size-b*tileWidth, tileWidth))), "the entry was changed"}
		}
	}
	if len(faults) > 0 {
		better(faults[0].Index, faults[0].File, faults[0].Text)
	}
	v.report.Findings = append(v.report.Findings, found)
}

// firstDifference answers the first index at which a stored hash tile, of any level, differs from what leaves give, which
// may be fewer than size. A hash above others differs with them: it counts only where those below it do not.
func (s segment) firstDifference(size int64, leaves []tlog.Hash) (index int64, file, text string, ok bool) {
	index = size
	var below []int64
	levels(size, leaves, func(level int, tileIndex int64, width int, hashes []tlog.Hash) bool {
		name := tilePath(level, tileIndex, width)
		differs := func(i int, what string) {
			first := (tileIndex*tileWidth + int64(i)) << (tileHeight * level)
			end := first + int64(1)<<(tileHeight*level)
			if slices.ContainsFunc(below, func(b int64) bool { return b >= first && b < end }) {
				return
			}
			below = append(below, first)
			if first < index {
				index, file, text, ok = first, name, what, true
			}
		}
		stored, err := s.hashes(level, tileIndex, width)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			differs(0, "the hash tile is missing")
			return true
		case err != nil:
			differs(0, "the hash tile cannot be read")
			return true
		}
		for i, h := range hashes {
			if !bytes.Equal(stored[i*tlog.HashSize:][:tlog.HashSize], h[:]) {
				differs(i, "the hash tile does not belong to the entries")
				if level == 0 {
					break
				}
			}
		}
		return true
	})
	return index, file, text, ok
}

// levels answers, for a tree of this size, every hash tile with the hashes that leaves give it: fewer where leaves are.
func levels(size int64, leaves []tlog.Hash, each func(level int, index int64, width int, hashes []tlog.Hash) bool) {
	for level := 0; size > 0; level++ {
		var next []tlog.Hash
		for index := int64(0); index*tileWidth < size; index++ {
			width := int(min(size-index*tileWidth, tileWidth))
			first := min(index*tileWidth, int64(len(leaves)))
			hashes := leaves[first:min(first+int64(width), int64(len(leaves)))]
			if !each(level, index, width, hashes) {
				return
			}
			if len(hashes) == tileWidth {
				var t tree
				for _, h := range hashes {
					t.add(h)
				}
				next = append(next, t.root())
			}
		}
		leaves, size = next, size/tileWidth
	}
}

// compareTiles compares every hash tile with the proved entries.
func (v *verifier) compareTiles(ctx context.Context, s segment, size int64, leaves []tlog.Hash) error {
	levels(size, leaves, func(level int, index int64, width int, hashes []tlog.Hash) bool {
		name := tilePath(level, index, width)
		at := index << (tileHeight * (level + 1))
		stored, err := s.hashes(level, index, width)
		if err != nil {
			v.found(s.n, at, name, "%s", reason(err))
			return ctx.Err() == nil
		}
		for i, h := range hashes {
			if !bytes.Equal(stored[i*tlog.HashSize:][:tlog.HashSize], h[:]) {
				v.found(s.n, at+int64(i)<<(tileHeight*level), name, "the hash tile does not belong to the entries, which are as signed")
				break
			}
		}
		return ctx.Err() == nil
	})
	return ctx.Err()
}

// listing compares what else lies in the segment: older partial tiles, which must be the beginnings of today's, and what
// does not belong there.
func (v *verifier) listing(ctx context.Context, s segment, size int64, leaves []tlog.Hash) error {
	tiles := map[int][][]tlog.Hash{} // by level and index
	levels(size, leaves, func(level int, _ int64, _ int, hashes []tlog.Hash) bool {
		tiles[level] = append(tiles[level], hashes)
		return true
	})
	tiles[entriesLevel] = tiles[0]
	err := fs.WalkDir(s.files, s.at, func(name string, d fs.DirEntry, err error) error {
		name = strings.TrimPrefix(name, s.at+"/")
		switch {
		case err != nil:
			v.notice(s.n, -1, name, "it cannot be listed")
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case name == ".state":
			return fs.SkipDir
		case d.IsDir() || name == "checkpoint":
			return nil
		}
		level, index, width, ok := parseTilePath(name)
		if !ok {
			v.notice(s.n, -1, name, "the file is not part of the record")
			return nil
		}
		if index >= int64(len(tiles[level])) || width > len(tiles[level][index]) {
			v.notice(s.n, -1, name, "the tile is beyond the checkpoint: a process died before it published, or is about to")
			return nil
		}
		// The bundles that hold all were read already.
		if hashes := tiles[level][index]; level != entriesLevel || width < len(hashes) {
			v.exact(s, level, index, width, hashes)
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// exact compares one tile file, of exactly this width, with the proved hashes.
func (v *verifier) exact(s segment, level int, index int64, width int, hashes []tlog.Hash) {
	name := tilePath(level, index, width)
	at := max(index<<(tileHeight*(max(level, 0)+1)), 0)
	fault := func(i int) {
		v.found(s.n, at+int64(i)<<(tileHeight*max(level, 0)), name, "the tile does not belong to the entries, which are as signed")
	}
	if level == entriesLevel {
		lines, err := s.bundle(index, width)
		for i, line := range lines {
			if tlog.RecordHash(line) != hashes[i] {
				fault(i)
				return
			}
		}
		if err != nil {
			fault(len(lines))
		}
		return
	}
	text, err := s.read(name, tileWidth*tlog.HashSize)
	if errors.Is(err, fs.ErrNotExist) {
		return // a writer has replaced it by the full tile just now
	}
	if err != nil || len(text) != width*tlog.HashSize {
		fault(0)
		return
	}
	for i := range width {
		if !bytes.Equal(text[i*tlog.HashSize:][:tlog.HashSize], hashes[i][:]) {
			fault(i)
			return
		}
	}
}

// parseTilePath is the reverse of tilePath.
func parseTilePath(name string) (level int, index int64, width int, ok bool) {
	rest, ok := strings.CutPrefix(name, "tile/")
	first, rest, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return 0, 0, 0, false
	}
	level = entriesLevel
	if first != "entries" {
		n, err := strconv.Atoi(first)
		if err != nil || n < 0 || n > 5 {
			return 0, 0, 0, false
		}
		level = n
	}
	width = tileWidth
	if before, after, partial := strings.Cut(rest, ".p/"); partial {
		n, err := strconv.Atoi(after)
		if err != nil || n < 1 || n >= tileWidth {
			return 0, 0, 0, false
		}
		rest, width = before, n
	}
	for part := range strings.SplitSeq(rest, "/") {
		n, err := strconv.ParseInt(strings.TrimPrefix(part, "x"), 10, 64)
		if err != nil || n < 0 || index > maxSize {
			return 0, 0, 0, false
		}
		index = index*1000 + n
	}
	return level, index, width, tilePath(level, index, width) == name
}
