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
	past   func(table, partition string) bool // whether a part of this partition must not be there; partition "": its name can't be read
}

// run answers what it saw, and the paths of copies and hits. A file that goes away while it is being looked at is gone.
func (s diskSearch) run(ctx context.Context, samples []PurgeSample) (DiskCheck, []string, error) {
	check := DiskCheck{Examined: true, Samples: len(samples)}
	var found []string
	looker, err := newLooker(samples)
	if err != nil {
		return check, nil, err
	}
	places := map[string]string{} // "/store/abc/uuid/": table
	seen := map[string]bool{}
	for i, root := range s.roots {
		real, err := filepath.EvalSymlinks(root)
		if err != nil {
			return check, nil, fmt.Errorf("look at the data directory: %w", err)
		}
		if real, err = filepath.Abs(real); err != nil {
			return check, nil, err
		}
		s.roots[i] = real
		for table, paths := range s.tables {
			for _, p := range paths {
				if q, err := filepath.EvalSymlinks(p); err == nil {
					p = q
				}
				if rel, err := filepath.Rel(real, p); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") && rel != "." {
					places["/"+filepath.ToSlash(rel)+"/"] = table
					seen[p] = true
				}
			}
		}
	}
	for table, paths := range s.tables {
		for _, p := range paths {
			if q, err := filepath.EvalSymlinks(p); err == nil {
				p = q
			}
			if !seen[p] {
				return check, nil, fmt.Errorf("the server keeps table %s in %s, which is below none of the data directories that were named: they are not that server's, or not all of them", table, p)
			}
		}
	}
	for _, root := range s.roots {
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
			if d.IsDir() {
				if s.isCopy(root, path, places) {
					check.Copies++
					found = append(found, path)
				}
				return nil
			}
			if !d.Type().IsRegular() {
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
	return check, found, nil
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
	buffer []byte
}

func newLooker(samples []PurgeSample) (*looker, error) {
	l := &looker{pieces: map[[sampleSize]byte]bool{}, buffer: make([]byte, 1<<20)}
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
			if l.first[int(b[i])<<8|int(b[i+1])] && l.pieces[[sampleSize]byte(b[i:i+sampleSize])] {
				hits++
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
