package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A carriedEntry is an entry of an earlier segment that a later one repeats, byte for byte, with its path to the root of the
// checkpoint that its segment ended with.
type carriedEntry struct {
	Record
	line []byte
	path tlog.RecordProof
}

// prove proves c by the checkpoint that is left of its segment, also when its entries are gone.
func (c carriedEntry) prove(last Checkpoint) error {
	if c.Index >= last.Size || tlog.CheckRecord(c.path, last.Size, last.Root, c.Index, tlog.RecordHash(c.line)) != nil {
		return fmt.Errorf("what is carried forward as entry %v is not what stood there", c.Position)
	}
	return nil
}

// header is the entry that announces c: where it stood, and its path.
func (c carriedEntry) header(opened Entry) Entry {
	var body strings.Builder
	for _, h := range c.path {
		body.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	return Entry{At: opened.At, Kind: SegmentCarried, Actor: opened.Actor, Body: body.String(),
		Counts: map[string]int64{"segment": int64(c.Segment), "index": c.Index}}
}

// A parting takes the lines of a segment, in order, and parts its own entries from those that it repeats: behind the entry that
// opens it stand as many pairs of a header and an old line as it counts.
type parting struct {
	segment int
	pairs   int64
	next    Position
	path    tlog.RecordProof
}

// take answers one line: as the segment's own entry, or as one that is carried.
func (p *parting) take(index int64, line []byte) (own Record, carried *carriedEntry, err error) {
	e, err := ParseEntry(line)
	if err != nil {
		return Record{}, nil, err
	}
	if index == 0 && e.Kind == SegmentOpened {
		p.pairs = e.Counts["carried"]
	}
	own = Record{Position{p.segment, index}, e}
	switch {
	case index == 0 || index > 2*p.pairs:
		if e.Kind == SegmentCarried {
			return Record{}, nil, errors.New("an entry is carried forward where none can be")
		}
	case index%2 == 1:
		p.next = Position{int(e.Counts["segment"]), e.Counts["index"]}
		hashes, err := parseHashes(strings.Split(strings.TrimSuffix(e.Body, "\n"), "\n"))
		if e.Body == "" {
			hashes, err = nil, nil
		}
		if e.Kind != SegmentCarried || err != nil || p.next.Segment < 1 || p.next.Segment >= p.segment {
			return Record{}, nil, errors.New("what is carried forward has no place and path")
		}
		p.path = hashes
	default:
		return Record{}, &carriedEntry{Record{p.next, e}, append([]byte(nil), line...), p.path}, nil
	}
	return own, nil, nil
}

// needed answers which entries the next segment must repeat, because later checks build on them however long ago they were
// written: all registers of holders and corrections of the clock; the newest settings of each part; permissions and
// reports that explain something; purges that were begun and not certified; and every entry of a case whose decision has not
// ended, whose request for records is not closed, or of which a hold is in force. all are those that this segment repeats,
// followed by its own. It is pure: a verifier answers the same.
func needed(all []Record) []Record {
	ended, closed, released, removed := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	settings := map[string]Position{}
	certificate := -1
	for i, e := range all {
		switch e.Kind {
		case DecisionClosed, DecisionDenied, DecisionRevoked:
			ended[e.Document] = true
		case RecordsClosed:
			closed[e.Case] = true
		case HoldReleased:
			released[e.Document] = true
		case PermissionRemoved:
			removed[e.Document] = true
		case PurgeCertificate:
			certificate = i
		case SettingsChanged:
			settings[e.Actor] = e.Position
		}
	}
	open := map[string]bool{}
	for _, e := range all {
		switch e.Kind {
		case DecisionRequested:
			open[e.Case] = open[e.Case] || !ended[e.Document]
		case RecordsRequested:
			open[e.Case] = open[e.Case] || !closed[e.Case]
		case HoldPlaced:
			open[e.Case] = open[e.Case] || !released[e.Document]
		}
	}
	var list []Record
	for i, e := range all {
		keep := e.Case != "" && open[e.Case]
		switch e.Kind {
		case RegisterChanged, ClockAccepted:
			keep = true
		case SettingsChanged:
			keep = settings[e.Actor] == e.Position
		case PermissionGranted, PermissionRevoked, AccidentReported:
			keep = !removed[e.Document]
		case PurgeIntent:
			keep = i > certificate
		case AccessRefused:
			keep = false
		}
		if keep && !e.Kind.ofLog() {
			list = append(list, e)
		}
	}
	return list
}

// carry answers what the segment after s must repeat: s is closed, with checkpoint c.
func (r *Reader) carry(ctx context.Context, s segment, c Checkpoint) ([]carriedEntry, error) {
	_, own, carried, err := r.read(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	paths := map[Position]carriedEntry{}
	var all []Record
	for _, e := range carried {
		paths[e.Position] = e
		all = append(all, e.Record)
	}
	reader := s.authentic(c.tree())
	var list []carriedEntry
	for _, e := range needed(append(all, own...)) {
		if before, ok := paths[e.Position]; ok {
			list = append(list, before)
			continue
		}
		line, err := e.Encode()
		if err != nil {
			return nil, err
		}
		path, err := tlog.ProveRecord(c.Size, e.Index, reader)
		if err != nil {
			return nil, err
		}
		now := carriedEntry{e, line, path}
		if err := now.prove(c); err != nil {
			return nil, err
		}
		list = append(list, now)
	}
	return list, nil
}

// carriedFrom answers the entry at p that a later segment repeats, p's own being retired, and the checkpoint that proves it.
func (r *Reader) carriedFrom(ctx context.Context, p Position) (found carriedEntry, last Checkpoint, err error) {
	count, err := segmentNumbers(r.files)
	if err != nil {
		return found, last, err
	}
	if last, err = segmentAt(r.files, p.Segment).checkpoint(r.trust); err != nil {
		return found, last, err
	}
	for n := p.Segment + 1; n <= count; n++ {
		s := segmentAt(r.files, n)
		if isRetired(s) {
			continue
		}
		_, _, carried, err := r.read(ctx, s, nil)
		if err != nil {
			return found, last, err
		}
		for _, c := range carried {
			if c.Position == p {
				return c, last, c.prove(last)
			}
		}
		break // what the first does not repeat, no later one can
	}
	return found, last, errors.New("its segment was retired, its entries are gone")
}
