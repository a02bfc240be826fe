package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// A segment reads the public files of one segment. It has no fs.Sub, which would open a pipe to find out that it is one.
type segment struct {
	files fs.FS
	at    string // its folder in files
	n     int    // from 1
}

// segmentAt answers segment n of the log in files.
func segmentAt(files fs.FS, n int) segment {
	s := segment{files: files, n: n}
	s.at = s.dir()
	return s
}

// segmentIn answers segment n, in a folder of any name.
func segmentIn(folder string, n int) segment {
	return segment{files: os.DirFS(folder), at: ".", n: n}
}

func (s segment) stat(name string) (fs.FileInfo, error) {
	return fs.Stat(s.files, path.Join(s.at, name))
}

func (s segment) dir() string { return fmt.Sprintf("%04d", s.n) }

// entriesLevel stands for the entry bundles where a level of tiles is asked for.
const entriesLevel = -1

// tilePath answers the path of a tile inside a segment (https://c2sp.org/tlog-tiles), width 1 to 256.
func tilePath(level int, index int64, width int) string {
	name := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		name = fmt.Sprintf("x%03d/%s", index%1000, name)
	}
	if width < tileWidth {
		name += ".p/" + strconv.Itoa(width)
	}
	if level == entriesLevel {
		return "tile/entries/" + name
	}
	return "tile/" + strconv.Itoa(level) + "/" + name
}

// tile reads a tile of at least width hashes or entries: the partial one, or the full one that has replaced it.
func (s segment) tile(level int, index int64, width int) (text []byte, name string, err error) {
	limit := tileWidth * tlog.HashSize
	if level == entriesLevel {
		limit = tileWidth * (2 + MaxEntry)
	}
	name = tilePath(level, index, width)
	text, err = s.read(name, limit)
	if errors.Is(err, fs.ErrNotExist) && width < tileWidth {
		full := tilePath(level, index, tileWidth)
		if text, fullErr := s.read(full, limit); fullErr == nil {
			return text, full, nil
		}
	}
	return text, name, err
}

// read reads a regular file of at most limit bytes.
func (s segment) read(name string, limit int) ([]byte, error) {
	info, err := s.stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > int64(limit) {
		return nil, fmt.Errorf("%s/%s is not a file of at most %d bytes", s.dir(), name, limit)
	}
	f, err := s.files.Open(path.Join(s.at, name))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%s/%s has more than %d bytes", s.dir(), name, limit)
	}
	return text, nil
}

// hashes reads the first width hashes of a tile.
func (s segment) hashes(level int, index int64, width int) ([]byte, error) {
	text, name, err := s.tile(level, index, width)
	if err != nil {
		return nil, err
	}
	if len(text) < width*tlog.HashSize || len(text)%tlog.HashSize != 0 {
		return nil, fmt.Errorf("%s is not %d hashes", name, width)
	}
	return text[:width*tlog.HashSize], nil
}

// errBundle says at which entry of a bundle its form breaks.
type errBundle struct {
	at   int
	name string
}

func (e *errBundle) Error() string { return fmt.Sprintf("%s breaks at its entry %d", e.name, e.at) }

// bundle reads the first width entries of a bundle: before each its length, two bytes, big endian. Entries before the break
// are answered with the error.
func (s segment) bundle(index int64, width int) ([][]byte, error) {
	text, name, err := s.tile(entriesLevel, index, width)
	if err != nil {
		return nil, err
	}
	exact := name == tilePath(entriesLevel, index, width)
	entries := make([][]byte, 0, width)
	for len(entries) < width {
		if len(text) < 2 || len(text) < 2+int(binary.BigEndian.Uint16(text)) {
			return entries, &errBundle{len(entries), name}
		}
		n := 2 + int(binary.BigEndian.Uint16(text))
		entries = append(entries, text[2:n])
		text = text[n:]
	}
	if exact && len(text) > 0 {
		return entries, &errBundle{len(entries), name}
	}
	return entries, nil
}

// checkpoint reads and opens the segment's checkpoint.
func (s segment) checkpoint(t Trust) (Checkpoint, error) {
	text, err := s.read("checkpoint", maxCheckpoint)
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := t.open(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%s/checkpoint: %w", s.dir(), err)
	}
	if c.Segment != s.n {
		return Checkpoint{}, fmt.Errorf("%s/checkpoint: it belongs to segment %04d", s.dir(), c.Segment)
	}
	return c, nil
}

// authentic reads hashes that are proved by the tree's root.
func (s segment) authentic(tree tlog.Tree) tlog.HashReader {
	return tlog.TileHashReader(tree, &tileReader{s: s, read: map[tlog.Tile][]byte{}})
}

// A tileReader reads each tile once. What it keeps has been proved: the library saves it only then.
type tileReader struct {
	s    segment
	read map[tlog.Tile][]byte
}

func (*tileReader) Height() int { return tileHeight }

func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		r.read[t] = data[i]
	}
}

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, t := range tiles {
		text, ok := r.read[t]
		if !ok {
			var err error
			if text, err = r.s.hashes(t.L, t.N, t.W); err != nil {
				return nil, err
			}
		}
		data = append(data, text)
	}
	return data, nil
}

// A tree is the right edge of a Merkle tree: roots of perfect subtrees, the largest first.
type tree struct {
	size int64
	edge []tlog.Hash
}

func (t *tree) add(leaf tlog.Hash) {
	t.edge = append(t.edge, leaf)
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		t.edge[last-1] = tlog.NodeHash(t.edge[last-1], t.edge[last])
		t.edge = t.edge[:last]
	}
	t.size++
}

func (t *tree) root() tlog.Hash {
	if len(t.edge) == 0 {
		return sha256.Sum256(nil)
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return h
}

// walk reads the entries of a tree of this size from first on, in order, until each answers false.
func (s segment) walk(ctx context.Context, first, size int64, each func(index int64, line []byte) bool) error {
	for b := first / tileWidth; b*tileWidth < size; b++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		width := int(min(size-b*tileWidth, tileWidth))
		lines, err := s.bundle(b, width)
		for i, line := range lines {
			if index := b*tileWidth + int64(i); index >= first && !each(index, line) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry reads one line.
func (s segment) entry(index, size int64) ([]byte, error) {
	b := index / tileWidth
	lines, err := s.bundle(b, int(min(size-b*tileWidth, tileWidth)))
	if i := int(index % tileWidth); i < len(lines) {
		return lines[i], nil
	}
	return nil, err
}

// parsePosition reads segment and index, written 0002/17.
func parsePosition(text string) (Position, bool) {
	s, i, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(s)
	index, err2 := strconv.ParseInt(i, 10, 64)
	p := Position{Segment: n, Index: index}
	return p, ok && err == nil && err2 == nil && n > 0 && n <= maxSegments && index >= 0 && index < maxSize
}

// A Position is the place of an entry in the record.
type Position struct {
	Segment int   `json:"segment"` // from 1
	Index   int64 `json:"index"`   // in the segment, from 0
}

// String answers p as it is written: 0002/17.
func (p Position) String() string { return fmt.Sprintf("%04d/%d", p.Segment, p.Index) }

// ParsePosition reads what [Position.String] writes; the zeros before may be left out.
func ParsePosition(text string) (Position, error) {
	p, ok := parsePosition(text)
	if !ok {
		return Position{}, errors.New("a position is written SEGMENT/INDEX, like 1/17")
	}
	return p, nil
}

// A Record is an entry at its place, proved by the checkpoint it was read under.
type Record struct {
	Position
	Entry
}
