package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader       = "c2sp.org/tlog-proof@v1"
	consistencyHeader = "tillsyn/audit-consistency@v1"
	maxHashes         = 64 // of a path in a tree of maxSize
	maxProof          = 1 << 18

	anchorFile = "anchor"
)

// ErrProof says that a proof does not prove.
var ErrProof = errors.New("the proof does not hold")

// A Proof is an entry, its index, its path to the root and the checkpoint: it stands for itself, without the log.
// Its text is a C2SP tlog-proof (https://c2sp.org/tlog-proof) that carries the entry's line as extra data.
type Proof struct {
	Index      int64
	Line       []byte // the entry, encoded
	Path       tlog.RecordProof
	Checkpoint []byte
}

// Encode answers the text of p.
func (p Proof) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.Line), p.Index)
	for _, h := range p.Path {
		fmt.Fprintf(&b, "%s\n", base64.StdEncoding.EncodeToString(h[:]))
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads what [Proof.Encode] writes, and no other form. It proves nothing: see [Proof.Check].
func ParseProof(text []byte) (Proof, error) {
	var p Proof
	err := func() error {
		if len(text) > maxProof {
			return errors.New("it is too long")
		}
		head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
		lines := strings.Split(string(head), "\n")
		if !ok || len(lines) < 3 || lines[0] != proofHeader || len(lines) > 3+maxHashes {
			return errors.New("it is not a " + proofHeader)
		}
		p.Checkpoint = checkpoint
		extra, ok1 := strings.CutPrefix(lines[1], "extra ")
		index, ok2 := strings.CutPrefix(lines[2], "index ")
		var err1, err2 error
		p.Line, err1 = base64.StdEncoding.Strict().DecodeString(extra)
		p.Index, err2 = strconv.ParseInt(index, 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil || p.Index < 0 {
			return errors.New("its entry or its index is missing")
		}
		hashes, err := parseHashes(lines[3:])
		p.Path = hashes
		if err != nil {
			return err
		}
		if !bytes.Equal(p.Encode(), text) {
			return errors.New("it is not in the one form")
		}
		return nil
	}()
	if err != nil {
		return Proof{}, fmt.Errorf("parse a proof: %w", err)
	}
	return p, nil
}

func parseHashes(lines []string) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, line := range lines {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			return nil, errors.New("a line is not a hash")
		}
		all = append(all, tlog.Hash(h))
	}
	return all, nil
}

// Check proves that the entry stands in the log that is trusted, and answers it. It needs nothing but p.
func (p Proof) Check(t Trust) (Record, error) {
	c, err := t.open(p.Checkpoint)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if p.Index < 0 || p.Index >= c.Size {
		return Record{}, fmt.Errorf("%w: index %d is not below the checkpoint's size %d", ErrProof, p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Path, c.Size, c.Root, p.Index, tlog.RecordHash(p.Line)); err != nil {
		return Record{}, fmt.Errorf("%w: the path from the entry does not lead to the checkpoint's root", ErrProof)
	}
	e, err := ParseEntry(p.Line)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return Record{Position{c.Segment, p.Index}, e}, nil
}

// prove builds the proof of an entry under the segment's published checkpoint, and checks it.
func (s segment) prove(t Trust, index int64) (Proof, error) {
	c, err := s.checkpoint(t)
	if err != nil {
		return Proof{}, err
	}
	if index < 0 || index >= c.Size {
		return Proof{}, fmt.Errorf("segment %s has %d entries: there is no %d", s.dir(), c.Size, index)
	}
	return s.proveUnder(c, index)
}

func (s segment) proveUnder(c Checkpoint, index int64) (Proof, error) {
	proofs, err := s.proveRange(context.Background(), c, index, 1)
	if err != nil {
		return Proof{}, err
	}
	return proofs[0], nil
}

// proveRange builds the proofs of n entries from first on, under c, and checks them.
func (s segment) proveRange(ctx context.Context, c Checkpoint, first int64, n int) ([]Proof, error) {
	reader := s.authentic(c.tree())
	proofs := make([]Proof, 0, n)
	var fault error
	err := s.walk(ctx, first, c.Size, func(index int64, line []byte) bool {
		var path tlog.RecordProof
		if path, fault = tlog.ProveRecord(c.Size, index, reader); fault == nil {
			fault = tlog.CheckRecord(path, c.Size, c.Root, index, tlog.RecordHash(line))
		}
		if fault == nil {
			_, fault = ParseEntry(line)
		}
		if fault != nil {
			fault = fmt.Errorf("%w: entry %v: %w", ErrRecord, Position{s.n, index}, fault)
			return false
		}
		proofs = append(proofs, Proof{Index: index, Line: line, Path: path, Checkpoint: c.Note})
		return len(proofs) < n
	})
	if fault == nil && len(proofs) < n {
		fault = err
	}
	return proofs, fault
}

// Prove answers the proof of the entry at p under the published checkpoint of its segment; of a retired one it proves the first, and
// the entries that a later one repeats.
func (r *Reader) Prove(p Position) (Proof, error) {
	s := segmentAt(r.files, p.Segment)
	if isRetired(s) && p.Index == 0 {
		text, err := s.read(anchorFile, maxProof)
		if err != nil {
			return Proof{}, fmt.Errorf("prove entry %v: %w", p, err)
		}
		anchor, err := ParseProof(text)
		if err == nil {
			_, err = anchor.Check(r.trust)
		}
		return anchor, err
	}
	if isRetired(s) {
		c, last, err := r.carriedFrom(context.Background(), p)
		if err != nil {
			return Proof{}, fmt.Errorf("prove entry %v: %w", p, err)
		}
		return Proof{Index: p.Index, Line: c.line, Path: c.path, Checkpoint: last.Note}, nil
	}
	proof, err := s.prove(r.trust, p.Index)
	if errors.Is(err, fs.ErrNotExist) {
		return Proof{}, fmt.Errorf("prove entry %v: %w: there is no such segment, or a file of it is missing", p, ErrRecord)
	}
	if err != nil {
		return Proof{}, fmt.Errorf("prove entry %v: %w", p, err)
	}
	return proof, nil
}

// A Consistency proves that one checkpoint of a segment extends another: nothing that stood under the first was changed.
type Consistency struct {
	Path     tlog.TreeProof
	Old, New []byte // checkpoints
}

// Encode answers the text of c: header, hashes, and the two checkpoints, each after an empty line and its number of bytes.
func (c Consistency) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", consistencyHeader)
	for _, h := range c.Path {
		fmt.Fprintf(&b, "%s\n", base64.StdEncoding.EncodeToString(h[:]))
	}
	for _, checkpoint := range [][]byte{c.Old, c.New} {
		fmt.Fprintf(&b, "\n%d\n%s", len(checkpoint), checkpoint)
	}
	return b.Bytes()
}

// ParseConsistency reads what [Consistency.Encode] writes, and no other form.
func ParseConsistency(text []byte) (Consistency, error) {
	var c Consistency
	fault := errors.New("parse a proof of consistency: it is not a " + consistencyHeader)
	head, rest, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(text) > maxProof || lines[0] != consistencyHeader || len(lines) > 1+2*maxHashes {
		return Consistency{}, fault
	}
	hashes, err := parseHashes(lines[1:])
	if err != nil {
		return Consistency{}, fault
	}
	c.Path = hashes
	for _, checkpoint := range []*[]byte{&c.Old, &c.New} {
		rest = bytes.TrimPrefix(rest, []byte("\n"))
		digits, after, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.Atoi(string(digits))
		if err != nil || n < 0 || n > len(after) {
			return Consistency{}, fault
		}
		*checkpoint, rest = after[:n], after[n:]
	}
	if !bytes.Equal(c.Encode(), text) {
		return Consistency{}, fault
	}
	return c, nil
}

// Check proves that New extends Old, both of one segment of the trusted log.
func (c Consistency) Check(t Trust) (before, after Checkpoint, err error) {
	if before, err = t.open(c.Old); err == nil {
		after, err = t.open(c.New)
	}
	if err != nil {
		return Checkpoint{}, Checkpoint{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	switch {
	case before.Segment != after.Segment:
		err = fmt.Errorf("segments %04d and %04d are two trees", before.Segment, after.Segment)
	case before.Size > after.Size:
		err = fmt.Errorf("the log had %d entries and has %d: it was shortened", before.Size, after.Size)
	case before.Size == after.Size && before.Root != after.Root:
		err = fmt.Errorf("there are two histories of %d entries", before.Size)
	case before.Size == 0 || before.Size == after.Size:
		if len(c.Path) > 0 {
			err = errors.New("it holds hashes that it does not need")
		}
	case tlog.CheckTree(c.Path, after.Size, after.Root, before.Size, before.Root) != nil:
		err = fmt.Errorf("the log of %d entries is not continued by the one of %d: there are two histories", before.Size, after.Size)
	}
	if err != nil {
		return Checkpoint{}, Checkpoint{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return before, after, nil
}

// extends builds and checks the proof that the tree of c, as it is in the files, extends before.
func (s segment) extends(t Trust, before, c Checkpoint) (Consistency, error) {
	proof := Consistency{Old: before.Note, New: c.Note}
	if before.Size > 0 && before.Size < c.Size {
		path, err := tlog.ProveTree(c.Size, before.Size, s.authentic(c.tree()))
		if err != nil {
			return Consistency{}, err
		}
		proof.Path = path
	}
	_, _, err := proof.Check(t)
	return proof, err
}

// ProveConsistency answers the proof that the published checkpoint of old's segment extends old.
func (r *Reader) ProveConsistency(old []byte) (Consistency, error) {
	before, err := r.trust.open(old)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	s := segmentAt(r.files, before.Segment)
	c, err := s.checkpoint(r.trust)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	proof, err := s.extends(r.trust, before, c)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	return proof, nil
}
