package category

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tillsyn/internal/durable"
)

// errBroken says that a list, as it is now, must not replace the one before.
var errBroken = errors.New("broken list")

// A snapshot is one list as it was taken: read, judged fit, and reduced to categories and canonical names. The compiler reads
// snapshots only, so a source that breaks later leaves what was taken from it.
type snapshot struct {
	ListInfo
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Stamp        string `json:"stamp"`    // changes when the source or how it is to be read does
	BodySum      string `json:"body_sum"` // SHA-256 of the body

	body []byte // zstd of lines: "[category]", then names, exceptions with "!" before them
}

// taker builds a snapshot.
type taker struct {
	cfg     ListConfig
	classes map[string]Class
	most    int64 // bytes of content, unpacked
	folders map[string]string

	snap    snapshot
	sum     hash.Hash
	body    bytes.Buffer
	packed  *zstd.Encoder
	section string
	tally   Tally
	formats map[Format]bool
	line    []byte
}

// unpackedFactor bounds how much larger than the source what it unpacks to may be.
const unpackedFactor = 16

func newTaker(cfg ListConfig, classes map[string]Class, most int64) (*taker, error) {
	t := &taker{cfg: cfg, classes: classes, most: most * unpackedFactor, sum: sha256.New(), formats: make(map[Format]bool)}
	t.folders = folderCategories()
	maps.Copy(t.folders, cfg.Categories)
	t.snap.Name = cfg.Name
	t.snap.Categories = make(map[string]int)
	var err error
	t.packed, err = zstd.NewWriter(&t.body, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	return t, err
}

// list reads one file into a category.
func (t *taker) list(ctx context.Context, r io.Reader, category string) error {
	n := 0
	tally, format, err := Read(r, t.cfg.Format, func(name []byte, exception bool) error {
		if n++; n&0xffff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		t.line = t.line[:0]
		if t.section != category {
			t.section = category
			t.line = append(append(append(t.line, '['), category...), ']', '\n')
		}
		if exception {
			t.line = append(t.line, '!')
		}
		t.line = append(append(t.line, name...), '\n')
		_, err := t.packed.Write(t.line)
		return err
	})
	t.formats[format] = true
	t.tally.add(tally)
	if tally.Rules > 0 {
		t.snap.Categories[category] += tally.Rules
	}
	return err
}

// source opens a stream: unpacked, bounded, and hashed.
func (t *taker) source(r io.Reader) (io.Reader, func(), error) {
	in := bufio.NewReader(io.TeeReader(r, t.sum))
	unpacked, done, err := unpack(in)
	if err != nil {
		return nil, nil, err
	}
	return &bounded{r: unpacked, left: t.most}, done, nil
}

// unpack looks at the first bytes, not at the name: servers and mirrors rename.
func unpack(in *bufio.Reader) (io.Reader, func(), error) {
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: gzip: %w", errBroken, err)
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: zstd: %w", errBroken, err)
		}
		return z, z.Close, nil
	}
	return in, func() {}, nil
}

// bounded fails, where io.LimitReader would end as if all were well.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: it is larger than max_bytes allows", errBroken)
	}
	return n, err
}

// file takes a single list, or a squidGuard tree in a tar archive.
func (t *taker) file(ctx context.Context, r io.Reader) error {
	in, done, err := t.source(r)
	if err != nil {
		return err
	}
	defer done()
	if t.cfg.Format == SquidGuard {
		return t.archive(ctx, tar.NewReader(in))
	}
	if t.cfg.Category == "" {
		return errors.New("a single file needs a category; a squidGuard archive needs format squidguard")
	}
	if err := t.list(ctx, in, t.cfg.Category); err != nil {
		return err
	}
	return drain(r)
}

// drain reads what a decompressor left, so that the checksum covers the whole source.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func (t *taker) archive(ctx context.Context, in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: tar: %w", errBroken, err)
		}
		folder, file := path.Split(path.Clean(h.Name))
		if h.Typeflag != tar.TypeReg || !isDomainsFile(file) {
			continue
		}
		category, ok := t.category(path.Base(folder))
		if !ok {
			continue
		}
		inner, done, err := unpack(bufio.NewReader(in))
		if err == nil {
			err = t.folder(ctx, &bounded{r: inner, left: t.most}, category)
			done()
		}
		if err != nil {
			return err
		}
	}
}

func isDomainsFile(name string) bool {
	return name == "domains" || name == "domains.gz" || name == "domains.zst"
}

// folder reads the domains file of one folder, which has no other format.
func (t *taker) folder(ctx context.Context, r io.Reader, category string) error {
	format := t.cfg.Format
	t.cfg.Format = Domains
	err := t.list(ctx, r, category)
	t.cfg.Format = format
	return err
}

// category answers what a folder is; an empty one leaves the folder out on purpose.
func (t *taker) category(folder string) (string, bool) {
	if t.cfg.Category != "" && len(t.cfg.Categories) == 0 {
		return t.cfg.Category, true
	}
	c, ok := t.folders[folder]
	if !ok {
		if _, known := t.classes[folder]; known {
			return folder, true
		}
		t.snap.Unmapped = append(t.snap.Unmapped, plain([]byte(folder), 64))
		return "", false
	}
	return c, c != ""
}

// tree takes a squidGuard folder.
func (t *taker) tree(ctx context.Context, tree fs.FS) error {
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return err
	}
	for _, e := range entries { // in order of name; symbolic links are UT1's aliases of what is read anyway
		if !e.IsDir() {
			continue
		}
		name := ""
		for _, n := range [...]string{"domains", "domains.gz", "domains.zst"} {
			if fi, err := fs.Stat(tree, path.Join(e.Name(), n)); err == nil && fi.Mode().IsRegular() {
				name = path.Join(e.Name(), n)
				break
			}
		}
		if name == "" {
			continue
		}
		category, ok := t.category(e.Name())
		if !ok {
			continue
		}
		if err := t.treeFile(ctx, tree, name, category); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

func (t *taker) treeFile(ctx context.Context, tree fs.FS, name, category string) error {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(t.sum, "%s\n", path.Dir(name))
	in, done, err := t.source(f)
	if err != nil {
		return err
	}
	defer done()
	return t.folder(ctx, in, category)
}

// finish judges what was read. A list without rules, or with more junk than rules, is no list.
func (t *taker) finish(now time.Time) (*snapshot, error) {
	if err := t.packed.Close(); err != nil {
		return nil, err
	}
	if t.tally.Rules == 0 {
		return nil, fmt.Errorf("%w: it holds no domain at all", errBroken)
	}
	if junk := t.tally.junk(); junk > t.tally.Rules {
		return nil, fmt.Errorf("%w: mostly junk (%d lines, against %d domains): is this the right file, in the right format?", errBroken, junk, t.tally.Rules)
	}
	s := t.snap
	s.body = t.body.Bytes()
	s.Rules, s.Exceptions, s.Skipped = t.tally.Rules, t.tally.Exceptions, t.tally.Skipped
	s.Fetched = now.UTC().Truncate(time.Second)
	s.SHA256 = hex.EncodeToString(t.sum.Sum(nil))
	s.Version = t.tally.Version
	if s.Version == "" {
		s.Version = "sha256:" + s.SHA256[:12]
	}
	s.Format = t.cfg.Format
	if s.Format == Auto || s.Format == "" {
		for f := range t.formats {
			s.Format = f
		}
	}
	if t.cfg.SHA256 != "" && !strings.EqualFold(t.cfg.SHA256, s.SHA256) {
		return nil, fmt.Errorf("%w: its SHA-256 is %s, not the pinned one", errBroken, s.SHA256)
	}
	body := sha256.Sum256(s.body)
	s.BodySum = hex.EncodeToString(body[:])
	slices.Sort(s.Unmapped)
	return &s, nil
}

// each calls rule for every rule of the snapshot.
func (s *snapshot) each(rule func(category, name []byte, exception bool) error) error {
	z, err := zstd.NewReader(bytes.NewReader(s.body), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	in := bufio.NewReaderSize(z, 64<<10)
	var category []byte
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil || len(line) < 2 {
			return fmt.Errorf("list %s: the copy that was taken is damaged: update the lists", s.Name)
		}
		line = line[:len(line)-1]
		switch line[0] {
		case '[':
			category = append(category[:0], line[1:len(line)-1]...)
			continue
		case '!':
			err = rule(category, line[1:], true)
		default:
			err = rule(category, line, false)
		}
		if err != nil {
			return err
		}
	}
}

// known says whether every category of the snapshot still exists.
func (s *snapshot) known(classes map[string]Class) bool {
	for c := range s.Categories {
		if _, ok := classes[c]; !ok {
			return false
		}
	}
	return true
}

// write saves the snapshot: a line of JSON, then the body.
func (s *snapshot) write(name string) error {
	head, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.Replace(name, append(append(head, '\n'), s.body...), 0o644)
}

func readSnapshot(name string) (*snapshot, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(data, []byte{'\n'})
	s := new(snapshot)
	if err := json.Unmarshal(head, s); err != nil {
		return nil, fmt.Errorf("the copy that was taken of a list is damaged: %w", err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != s.BodySum {
		return nil, errors.New("the copy that was taken of a list is damaged")
	}
	s.body = body
	return s, nil
}
