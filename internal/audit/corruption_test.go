package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// fill appends n entries, many at once.
func fill(t testing.TB, l *Log, first, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), sample(first+i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// memoryCopy answers the public files of a log.
func memoryCopy(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, ".state") || d.Name() == "lock" {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		m[filepath.ToSlash(name)] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func cloneFiles(m fstest.MapFS) fstest.MapFS {
	c := fstest.MapFS{}
	for name, f := range m {
		c[name] = &fstest.MapFile{Data: bytes.Clone(f.Data)}
	}
	return c
}

func copyLog(t testing.TB, c Config) Config {
	t.Helper()
	next := testConfig(t)
	if err := os.CopyFS(next.Directory, os.DirFS(c.Directory)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(next.Key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return next
}

// A scene is a log at several times, and logs that are not it.
type scene struct {
	trust   Trust
	log     fstest.MapFS   // 3 segments, the later ones with what they carry forward, with the older partial tiles
	old     []fstest.MapFS // the same log, earlier
	fork    fstest.MapFS   // of the same key, another history since the second segment
	foreign []fstest.MapFS // of another key, of another deployment
	memory  Memory         // of the log, somewhat earlier than now
}

func newScene(t testing.TB) scene {
	c := testConfig(t)
	l := openLog(t, c)
	s := scene{trust: l.Trust()}
	step := func(first, n int) {
		fill(t, l, first, n)
		s.old = append(s.old, memoryCopy(t, c.Directory))
	}
	rotate := func() {
		if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
			t.Fatal(err)
		}
	}
	step(0, 100)
	step(100, 200)
	rotate()
	step(300, 250)
	forked := copyLog(t, c)
	step(550, 350)
	rotate()
	step(900, 100)
	for i := range 20 {
		appendTo(t, l, sample(1000+i))
	}
	var err error
	var report Report
	if report, s.memory, err = Verify(t.Context(), memoryCopy(t, c.Directory), s.trust, Memory{}); err != nil || !report.OK() {
		t.Fatalf("%v %v", report.Findings, err)
	}
	fill(t, l, 1020, 150)
	s.log = memoryCopy(t, c.Directory)

	f := openLog(t, forked)
	fill(t, f, 5000, 350)
	if _, err := f.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	fill(t, f, 6000, 300)
	s.fork = memoryCopy(t, forked.Directory)

	for _, deployment := range []string{c.Deployment, "example.org/other"} {
		other := testConfig(t)
		other.Deployment = deployment
		o := openLog(t, other)
		fill(t, o, 0, 100)
		s.foreign = append(s.foreign, memoryCopy(t, other.Directory))
	}
	return s
}

func (s scene) verify(t testing.TB, files fs.FS, m Memory) Report {
	t.Helper()
	r, after, err := Verify(t.Context(), files, s.trust, m)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() && !bytes.Equal(after.Encode(), m.Encode()) {
		t.Fatal("a log that does not verify was remembered")
	}
	return r
}

// A corruption changes files and says where: the first index that it touches, -1 if that cannot be told.
type corruption struct {
	name  string
	apply func(r *rand.Rand, s scene, m fstest.MapFS) (segment int, index int64)
}

func pick(r *rand.Rand, m fstest.MapFS, want func(name string) bool) string {
	var names []string
	for name := range m {
		if want(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[r.IntN(len(names))]
}

// indexOf answers the first entry under byte at of a file; -1 for a checkpoint.
func indexOf(name string, text []byte, at int) (segment int, index int64) {
	fmt.Sscanf(name, "%04d/", &segment)
	level, tile, _, ok := parseTilePath(name[5:])
	if !ok || at < 0 {
		return segment, -1
	}
	if level != entriesLevel {
		return segment, (tile*tileWidth + int64(at/tlog.HashSize)) << (tileHeight * level)
	}
	index = tile * tileWidth
	for at >= 2+int(binary.BigEndian.Uint16(text)) {
		n := 2 + int(binary.BigEndian.Uint16(text))
		text, at = text[n:], at-n
		index++
	}
	return segment, index
}

// sizeIn answers how many entries the checkpoint of a segment says there are.
func sizeIn(m fstest.MapFS, n int) (size int64) {
	fmt.Sscanf(strings.Split(string(m[fmt.Sprintf("%04d/checkpoint", n)].Data), "\n")[1], "%d", &size)
	return size
}

func isTile(name string) bool   { return strings.Contains(name, "/tile/") }
func isBundle(name string) bool { return strings.Contains(name, "/tile/entries/") }

// inUse says whether the last checkpoints need the file: older partial tiles may go, but not lie.
func inUse(s scene) func(name string) bool {
	return func(name string) bool {
		if !isTile(name) {
			return true
		}
		var segment int
		fmt.Sscanf(name, "%04d/", &segment)
		size := sizeIn(s.log, segment)
		level, tile, width, _ := parseTilePath(name[5:])
		for range level {
			size /= tileWidth
		}
		return int64(width) == min(size-tile*tileWidth, tileWidth)
	}
}

// lines splits a bundle, and join is its reverse.
func lines(text []byte) (all [][]byte) {
	for len(text) > 0 {
		n := 2 + int(binary.BigEndian.Uint16(text))
		all, text = append(all, text[2:n]), text[n:]
	}
	return all
}

func join(all [][]byte) (text []byte) {
	for _, line := range all {
		text = append(binary.BigEndian.AppendUint16(text, uint16(len(line))), line...)
	}
	return text
}

func corruptions() []corruption {
	all := func(string) bool { return true }
	return []corruption{
		{"flip a bit", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, all)
			at := r.IntN(len(m[name].Data))
			segment, index := indexOf(name, m[name].Data, at)
			m[name].Data[at] ^= 1 << r.IntN(8)
			return segment, index
		}},
		{"flip a bit of an entry", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, func(name string) bool { return isBundle(name) && inUse(s)(name) })
			at := r.IntN(len(m[name].Data))
			segment, index := indexOf(name, m[name].Data, at)
			m[name].Data[at] ^= 1 << r.IntN(8)
			return segment, index
		}},
		{"truncate", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, all)
			at := r.IntN(len(m[name].Data))
			segment, index := indexOf(name, m[name].Data, at)
			if isTile(name) && !isBundle(name) {
				segment, index = indexOf(name, nil, 0) // hashes of the wrong number are wrong together
			}
			m[name].Data = m[name].Data[:at]
			return segment, index
		}},
		{"append bytes", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, all)
			more := make([]byte, 1+r.IntN(100))
			for i := range more {
				more[i] = byte(r.Uint32())
			}
			m[name].Data = append(m[name].Data, more...)
			segment, _ := indexOf(name, nil, -1)
			return segment, -1
		}},
		{"delete a file", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, inUse(s))
			segment, index := indexOf(name, m[name].Data, 0)
			delete(m, name)
			return segment, index
		}},
		{"swap two files", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			for {
				a, b := pick(r, m, inUse(s)), pick(r, m, inUse(s))
				if !bytes.Equal(m[a].Data, m[b].Data) {
					m[a], m[b] = m[b], m[a]
					return 0, -1
				}
			}
		}},
		{"swap two entries", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, func(name string) bool { return isBundle(name) && inUse(s)(name) })
			l := lines(m[name].Data)
			i := r.IntN(len(l) - 1)
			j := i + 1 + r.IntN(len(l)-1-i)
			segment, first := indexOf(name, m[name].Data, 0)
			l[i], l[j] = l[j], l[i]
			m[name].Data = join(l)
			return segment, first + int64(i)
		}},
		{"remove an entry", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, func(name string) bool { return isBundle(name) && inUse(s)(name) })
			l := lines(m[name].Data)
			i := r.IntN(len(l))
			segment, first := indexOf(name, m[name].Data, 0)
			m[name].Data = join(slices.Delete(l, i, i+1))
			return segment, first + int64(i)
		}},
		{"rewrite an entry and its hash tile", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			name := pick(r, m, func(name string) bool { return isBundle(name) && inUse(s)(name) })
			l := lines(m[name].Data)
			i := r.IntN(len(l))
			segment, first := indexOf(name, m[name].Data, 0)
			l[i] = bytes.Replace(l[i], []byte(`"actor":"`), []byte(`"actor":"x`), 1)
			m[name].Data = join(l)
			hash := tlog.RecordHash(l[i])
			copy(m[strings.Replace(name, "/entries/", "/0/", 1)].Data[i*tlog.HashSize:], hash[:])
			return segment, -first - 2 // not before the tile
		}},
		{"rewrite an entry and the whole tree", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			segment := 1 + r.IntN(3)
			rewrite(r, m, segment)
			return segment, -1
		}},
		{"an older checkpoint", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			m["0003/checkpoint"].Data = bytes.Clone(s.old[len(s.old)-1]["0003/checkpoint"].Data)
			return 3, -1
		}},
		{"an old copy of everything", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			clear(m)
			for name, f := range s.old[r.IntN(len(s.old))] {
				m[name] = &fstest.MapFile{Data: f.Data}
			}
			return 0, -1
		}},
		{"another history", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			clear(m)
			for name, f := range s.fork {
				m[name] = &fstest.MapFile{Data: f.Data}
			}
			return 0, -1
		}},
		{"another history of one segment", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			segment := fmt.Sprintf("%04d/", 2+r.IntN(2))
			for name := range m {
				if strings.HasPrefix(name, segment) {
					delete(m, name)
				}
			}
			for name, f := range s.fork {
				if strings.HasPrefix(name, segment) {
					m[name] = &fstest.MapFile{Data: f.Data}
				}
			}
			return 0, -1
		}},
		{"another log", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			clear(m)
			for name, f := range s.foreign[r.IntN(2)] {
				m[name] = &fstest.MapFile{Data: f.Data}
			}
			return 1, -1
		}},
		{"a checkpoint of another log", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			segment := 1 + r.IntN(3)
			m[fmt.Sprintf("%04d/checkpoint", segment)].Data = s.foreign[r.IntN(2)]["0001/checkpoint"].Data
			return segment, -1
		}},
		{"remove a segment", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			segment := 1 + r.IntN(3)
			for name := range m {
				if strings.HasPrefix(name, fmt.Sprintf("%04d/", segment)) {
					delete(m, name)
				}
			}
			return segment, -1
		}},
		{"claim that a segment is retired", func(r *rand.Rand, s scene, m fstest.MapFS) (int, int64) {
			segment := 1 + r.IntN(2)
			p, err := segmentAt(m, segment).prove(s.trust, 0)
			if err != nil {
				panic(err)
			}
			for name := range m {
				if strings.HasPrefix(name, fmt.Sprintf("%04d/tile", segment)) {
					delete(m, name)
				}
			}
			m[fmt.Sprintf("%04d/anchor", segment)] = &fstest.MapFile{Data: p.Encode()}
			return segment, -1
		}},
	}
}

// rewrite changes an entry of a segment and all hash tiles with it, as one can who lacks only the key.
func rewrite(r *rand.Rand, m fstest.MapFS, n int) {
	prefix := fmt.Sprintf("%04d/", n)
	size := sizeIn(m, n)
	changed := r.Int64N(size)
	var leaves []tlog.Hash
	for b := int64(0); b*tileWidth < size; b++ {
		name := prefix + tilePath(entriesLevel, b, int(min(size-b*tileWidth, tileWidth)))
		l := lines(m[name].Data)
		for i := range l {
			if b*tileWidth+int64(i) == changed {
				l[i] = bytes.Replace(l[i], []byte(`"actor":"`), []byte(`"actor":"x`), 1)
			}
			leaves = append(leaves, tlog.RecordHash(l[i]))
		}
		m[name].Data = join(l)
	}
	levels(size, leaves, func(level int, index int64, width int, hashes []tlog.Hash) bool {
		var text []byte
		for _, h := range hashes {
			text = append(text, h[:]...)
		}
		m[prefix+tilePath(level, index, width)].Data = text
		return true
	})
}

// FAULTS case 35: whatever is changed, removed, reordered, cut, put back or made up is found, and where it begins is named.
func TestCorruptions(t *testing.T) {
	s := newScene(t)
	if r := s.verify(t, s.log, s.memory); !r.OK() || r.Remembered != 3 || len(r.Notices) > 0 {
		t.Fatalf("the scene itself: %v %v", r.Findings, r.Notices)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	start := time.Now()
	total, located := 0, 0
	for _, c := range corruptions() {
		rounds := 40
		if strings.HasPrefix(c.name, "flip") || c.name == "truncate" {
			rounds = 150
		}
		for round := range rounds {
			m := cloneFiles(s.log)
			segment, index := c.apply(r, s, m)
			report := s.verify(t, m, s.memory)
			first, bad := report.First()
			if !bad || report.OK() {
				t.Fatalf("%s, round %d: segment %d, index %d was not found", c.name, round, segment, index)
			}
			total++
			if segment > 0 && first.Segment != segment && first.Segment != segment+1 {
				t.Errorf("%s, round %d: %v is not in segment %d", c.name, round, first, segment)
			}
			switch {
			case index >= 0 && first.Index != index:
				t.Errorf("%s, round %d: %v is not at index %d", c.name, round, first, index)
			case index >= 0:
				located++
			}
			// What the reader hands out is never wrong, even if it cannot know of the memory and reads no hash tiles.
			if records, err := NewReader(m, s.trust).Entries(t.Context()); err == nil {
				for _, e := range records {
					line, err := e.Encode()
					if err != nil || len(line) == 0 {
						t.Fatalf("%s: %v", c.name, err)
					}
				}
			}
		}
	}
	t.Logf("%d corruptions, all found, %d of them at the very index, in %v", total, located, time.Since(start))
	if total < 1000 {
		t.Errorf("only %d corruptions were tried", total)
	}
}

// Every single byte of a small log counts.
func TestEveryByte(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	appendTo(t, l, sample(1))
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, sample(2))
	files := memoryCopy(t, c.Directory)
	s := scene{trust: l.Trust()}
	tried := 0
	for name := range files {
		for at := range files[name].Data {
			for bit := range 8 {
				files[name].Data[at] ^= 1 << bit
				if r := s.verify(t, files, Memory{}); r.OK() {
					t.Errorf("%s: bit %d of byte %d may be flipped", name, bit, at)
				}
				files[name].Data[at] ^= 1 << bit
				tried++
			}
		}
	}
	t.Logf("%d flipped bits, all found", tried)
	if r := s.verify(t, files, Memory{}); !r.OK() {
		t.Error(r.Findings)
	}
}
