package vault

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// partName finds the partition in the name of a part's directory, whatever stands before it (tmp_insert_, delete_tmp_,
// broken_, ...): partition id, then block numbers and level.
var partName = regexp.MustCompile(`(?:^|_)([0-9]{8}|[0-9a-f]{32})_[0-9]+_[0-9]+_[0-9]+`)

const sampleSize = 16

// A diskSearch looks below the directories of a server for what should be gone.
type diskSearch struct {
	roots  []string
	tables map[string][]string                // table: its data directories, as the server says
	disks  []serverDisk                       // all of the server; none: it was not asked
	past   func(table, partition string) bool // whether a part of this partition must not be there; partition "": its name can't be read
}

// A serverDisk is a disk as a server has configured it.
type serverDisk struct {
	name, path, kind  string
	remote, encrypted bool
}

// errNotExamined is when directories are not those of the server, or do not show what the server stores: that nothing was found
// in them says nothing.
var errNotExamined = errors.New("the server's disks were not examined")

// places answers the directories of the tables below each root, "/store/abc/uuid/": table, and the roots without links. It
// refuses directories that are not there, lie below no root, or are on a disk whose files don't have what the server stores.
func (s diskSearch) places() (roots []string, places []map[string]string, err error) {
	fail := func(format string, args ...any) ([]string, []map[string]string, error) {
		return nil, nil, fmt.Errorf("%w: %w", errNotExamined, fmt.Errorf(format, args...))
	}
	for _, root := range s.roots {
		real, err := filepath.EvalSymlinks(root)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			return fail("look at a data directory: %w", err)
		}
		if info, err := os.Stat(real); err != nil || !info.IsDir() {
			return fail("%s is not a directory", root)
		}
		roots, places = append(roots, real), append(places, map[string]string{})
	}
	for table, paths := range s.tables {
		if len(paths) == 0 {
			return fail("the server does not say where it keeps table %s", table)
		}
		for _, p := range paths {
			if d, ok := s.diskOf(p); len(s.disks) > 0 && (!ok || d.remote || d.encrypted || !strings.EqualFold(d.kind, "local")) {
				return fail("table %s may lie on disk %q of type %q (remote %v, encrypted %v), whose files do not show what it has", table, d.name, d.kind, d.remote, d.encrypted)
			}
			q, err := filepath.EvalSymlinks(p)
			if err != nil {
				return fail("the server keeps table %s in %s, which is not there: the data directories that were named are not that server's: %w", table, p, err)
			}
			if info, err := os.Stat(q); err != nil || !info.IsDir() {
				return fail("the server keeps table %s in %s, which is no directory here", table, p)
			}
			found := false
			for i, root := range roots {
				if rel, ok := below(root, q); ok && rel != "." {
					places[i]["/"+filepath.ToSlash(rel)+"/"] = table
					found = true
				}
			}
			if !found {
				return fail("the server keeps table %s in %s, which is below none of the data directories that were named: they are not that server's, or not all of them", table, p)
			}
		}
	}
	return roots, places, nil
}

// diskOf is the disk that a path lies on: the one with the longest path above it.
func (s diskSearch) diskOf(path string) (disk serverDisk, ok bool) {
	for _, d := range s.disks {
		if _, above := below(filepath.Clean(d.path), path); above && (!ok || len(d.path) > len(disk.path)) {
			disk, ok = d, true
		}
	}
	return disk, ok
}

// below answers path as seen from root, if it is root or below it.
func below(root, path string) (rel string, ok bool) {
	rel, err := filepath.Rel(root, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// before answers how many of the samples stand in the files of the partitions that they were taken from, "table partition". It is
// asked before these are dropped: what does not stand there then is not missed afterwards.
func (s diskSearch) before(ctx context.Context, samples []PurgeSample, partitions map[string]bool) (int, error) {
	roots, places, err := s.places()
	if err != nil {
		return 0, err
	}
	looker, err := newLooker(samples, nil)
	if err != nil {
		return 0, err
	}
	for i, root := range roots {
		for place, table := range places[i] {
			parts, err := os.ReadDir(filepath.Join(root, place))
			if err != nil {
				return 0, fmt.Errorf("%w: %w", errNotExamined, err)
			}
			for _, part := range parts {
				m := partName.FindStringSubmatch(part.Name())
				if m == nil || !partitions[table+" "+m[1]] {
					continue
				}
				err := filepath.WalkDir(filepath.Join(root, place, part.Name()), func(path string, d fs.DirEntry, err error) error {
					if err == nil && d.Type().IsRegular() {
						_, _, err = looker.look(ctx, path)
					}
					if errors.Is(err, fs.ErrNotExist) { // parts are merged at any time
						return nil
					}
					return err
				})
				if err != nil {
					return 0, fmt.Errorf("search the data directory: %w", err)
				}
			}
		}
	}
	return len(looker.seen), nil
}

// run answers what it saw, and the paths of copies and hits. A file that goes away while it is being looked at is gone. marker, if
// it is not nil, is something that the server has just stored: unless it is found, the directories are not the server's.
func (s diskSearch) run(ctx context.Context, samples []PurgeSample, marker []byte) (DiskCheck, []string, error) {
	check := DiskCheck{Samples: len(samples)}
	var found []string
	looker, err := newLooker(samples, marker)
	if err != nil {
		return check, nil, err
	}
	roots, places, err := s.places()
	if err != nil {
		return check, nil, err
	}
	for i, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
			switch {
			case d.IsDir():
				if s.isCopy(root, path, places[i]) {
					check.Copies++
					found = append(found, path)
				}
				return nil
			case d.Type()&fs.ModeSymlink != 0:
				return insideOf(roots, path)
			case !d.Type().IsRegular():
				return nil
			}
			n, hits, err := looker.look(ctx, path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			check.Files++
			check.Bytes += n
			if hits > 0 {
				check.Hits += hits
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			return check, nil, fmt.Errorf("search the data directory: %w", err)
		}
	}
	if marker != nil && !looker.marked {
		return check, found, fmt.Errorf("%w: what it has just stored stands in no file below the data directories that were named: they are another server's, or a copy, or what it writes there is encrypted", errNotExamined)
	}
	check.Examined = true
	return check, found, nil
}

// insideOf refuses a link that leads to where nobody looks.
func insideOf(roots []string, link string) error {
	target, err := filepath.EvalSymlinks(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it leads nowhere
	}
	if err != nil {
		return err
	}
	for _, root := range roots {
		if _, ok := below(root, target); ok {
			return nil
		}
	}
	return fmt.Errorf("%w: %s leads to %s, outside of what is searched: name that in data_paths too", errNotExamined, link, target)
}

// isCopy says whether a directory is a part that must not be there: active, put aside, frozen or left by a crash.
func (s diskSearch) isCopy(root, path string, places map[string]string) bool {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return false
	}
	rel = "/" + filepath.ToSlash(rel) + "/"
	table, rest := "", ""
	for place, t := range places {
		if _, after, ok := strings.Cut(rel, place); ok {
			table, rest = t, strings.Trim(after, "/")
			break
		}
	}
	if table == "" || rest == "" {
		return false
	}
	names := strings.Split(rest, "/")
	aside := names[0] == "detached" || names[0] == "moving"
	if aside {
		names = names[1:]
	}
	if len(names) != 1 { // the directory itself, or something inside a part
		return false
	}
	if m := partName.FindStringSubmatch(names[0]); m != nil {
		return s.past(table, m[1])
	}
	return aside && s.past(table, "")
}

// A looker finds any of some pieces of ciphertext in files.
type looker struct {
	first  [1 << 16]bool // the first two bytes of a piece
	pieces map[[sampleSize]byte]bool
	seen   map[[sampleSize]byte]bool
	marker *[sampleSize]byte // not a hit
	marked bool              // the marker was seen
	buffer []byte
}

func newLooker(samples []PurgeSample, marker []byte) (*looker, error) {
	l := &looker{pieces: map[[sampleSize]byte]bool{}, seen: map[[sampleSize]byte]bool{}, buffer: make([]byte, 1<<20)}
	if marker != nil {
		l.marker = (*[sampleSize]byte)(marker)
		l.first[int(marker[0])<<8|int(marker[1])] = true
	}
	for _, s := range samples {
		raw, err := hex.DecodeString(s.Sample)
		if err != nil || len(raw) != sampleSize {
			return nil, errors.New("a sample of ciphertext is not 16 bytes")
		}
		l.pieces[[sampleSize]byte(raw)] = true
		l.first[int(raw[0])<<8|int(raw[1])] = true
	}
	return l, nil
}

// look answers how many bytes the file has and how often a piece stands in it.
func (l *looker) look(ctx context.Context, path string) (size int64, hits int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	kept := 0
	for {
		if ctx.Err() != nil {
			return size, hits, ctx.Err()
		}
		n, err := f.Read(l.buffer[kept:])
		size += int64(n)
		b := l.buffer[:kept+n]
		for i := 0; i+sampleSize <= len(b); i++ {
			if !l.first[int(b[i])<<8|int(b[i+1])] {
				continue
			}
			switch piece := [sampleSize]byte(b[i : i+sampleSize]); {
			case l.pieces[piece]:
				l.seen[piece] = true
				hits++
			case l.marker != nil && piece == *l.marker:
				l.marked = true
			}
		}
		kept = min(len(b), sampleSize-1)
		copy(l.buffer, b[len(b)-kept:])
		if errors.Is(err, io.EOF) {
			return size, hits, nil
		}
		if err != nil {
			return size, hits, err
		}
	}
}
