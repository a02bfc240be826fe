package ingest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tillsyn/ingest/parse"
)

const (
	fileCluster = "file"
	headSize    = 64 << 10 // what names a file, if it is that long
	lineBuffer  = 1 << 20  // one chunk
)

// settled is how long a file must have stood still before its last line counts as whole although no line end follows.
const settled = time.Minute

// A File is a log file as a Partition, of the records that parse.Cutter cuts: lines, or JSON documents. Its offsets are byte
// offsets in the text, unpacked and in UTF-8, so that a file that has grown, was renamed or was packed since is the same file,
// and each record counts once. It is not safe for concurrent use.
type File struct {
	path   string // "-" is standard input
	stdin  io.Reader
	now    func() time.Time
	head   []byte // what the text begins with, at most headSize of it
	id     Identity
	raw    *countingReader
	closer io.Closer
	text   *parse.Cutter
	pos    int64 // offset of the next byte of text
	tail   bool  // a line without end at the end is whole
	ended  bool  // the end was seen: what is written from now on is for the next time
	mtime  time.Time

	buf        []byte
	unfinished bool
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// OpenFile opens a log file, packed with gzip or zstd or not at all; "-" is stdin. See [File.Among].
func OpenFile(path string, stdin io.Reader, now func() time.Time) (*File, error) {
	f := &File{path: path, stdin: stdin, now: now}
	if err := f.open(); err != nil {
		return nil, err
	}
	head, err := f.text.Head(headSize)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read the beginning of %s: %w", path, err)
	}
	f.head = bytes.Clone(head)
	f.id = identify(f.head, nil)
	return f, nil
}

// Among tells the file which files the sink has seen: if it begins like one of them, it is that one.
func (f *File) Among(known []Identity) { f.id = identify(f.head, known) }

// A Trial is what became of the records that a file begins with, read as a source says. Blank lines and comments are none.
type Trial struct {
	Records int
	Read    int                  // as an event, or as something that the format knows and passes over
	Reasons map[parse.Reason]int // why the others were not
}

// Try reads the beginning of the file as s says and keeps nothing of it. It does not move the place that is read next.
func (f *File) Try(s Source) (Trial, error) {
	t := Trial{Reasons: map[parse.Reason]int{}}
	parser, err := s.parser(f.Written)
	if err != nil {
		return t, err
	}
	text := parse.NewCutter(bytes.NewReader(f.head))
	for ended := false; !ended; {
		record, cut, err := text.Next(nil)
		if err != nil {
			return t, fmt.Errorf("read the beginning of %s: %w", f.path, err)
		}
		if ended = cut.Last; cut.Size == 0 || !cut.Whole && (len(f.head) == headSize || !f.tail) {
			break // the head ends within this one
		}
		events, refused := 0, 0
		parser.Parse(record, func(*parse.Event) { events++ }, func(r parse.Reject) {
			refused++
			switch r.Reason {
			case parse.ContradictoryHeader, parse.NoRequest, parse.NoDestination: // a line of this format nevertheless
				events++
			default:
				t.Reasons[r.Reason]++
			}
		})
		if events+refused > 0 {
			t.Records++
		}
		if events > 0 {
			t.Read++
		}
	}
	return t, nil
}

// identify names the file that begins with head.
func identify(head []byte, known []Identity) Identity {
	best, bestLen := Identity{}, -1
	for _, k := range known {
		var n int
		if _, err := fmt.Sscan(k.Epoch, &n); err != nil || k.Cluster != fileCluster || n <= bestLen || n > len(head) {
			continue
		}
		if k.Topic == fmt.Sprintf("%x", sha256.Sum256(head[:n])) {
			best, bestLen = k, n
		}
	}
	if bestLen > 0 {
		return best
	}
	return Identity{Cluster: fileCluster, Topic: fmt.Sprintf("%x", sha256.Sum256(head)), Epoch: fmt.Sprint(len(head))}
}

func (f *File) open() error {
	var r io.Reader = f.stdin
	f.closer, f.tail, f.mtime = io.NopCloser(nil), true, f.now()
	if f.path != "-" {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			return err
		}
		if info.IsDir() {
			file.Close()
			return fmt.Errorf("%s is a folder: name the files in it", f.path)
		}
		f.mtime = info.ModTime()
		f.tail = f.now().Sub(f.mtime) >= settled
		r, f.closer = file, file
	}
	f.raw = &countingReader{r: r}
	text, packed, err := Unpack(f.raw)
	if err != nil {
		f.closer.Close()
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	f.pos, f.ended, f.tail = 0, false, f.tail || packed
	f.text, f.closer = parse.NewCutter(text), closers{text, f.closer}
	return nil
}

// Unpack answers what r holds, unpacked where it is packed with gzip or zstd, and whether it is. To close it does not close r.
func Unpack(r io.Reader) (text io.ReadCloser, packed bool, err error) {
	b := bufio.NewReaderSize(r, 256<<10)
	magic, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}): // RFC 1952
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, true, fmt.Errorf("unpack: %w", err)
		}
		return z, true, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, true, fmt.Errorf("unpack: %w", err)
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(b), false, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// Close closes the file.
func (f *File) Close() error {
	if f.path == "-" {
		return nil
	}
	return f.closer.Close()
}

// Empty is whether there is nothing in the file.
func (f *File) Empty() bool { return f.id.Epoch == "0" }

// Read is how many bytes of the file, packed as it is, have been read.
func (f *File) Read() int64 { return f.raw.n.Load() }

// Unfinished is whether the file ends in a line that is still being written, which was left for the next time.
func (f *File) Unfinished() bool { return f.unfinished }

// Written is when the file was last written; now, for standard input.
func (f *File) Written() time.Time { return f.mtime }

// Identity implements Partition.
func (f *File) Identity() Identity { return f.id }

// Bounds implements Partition. A file's length is not known before it is unpacked: its end is where Fetch meets it.
func (f *File) Bounds(context.Context) (start, end int64, err error) { return 0, math.MaxInt64, nil }

// Commit implements Partition: a file keeps no commit.
func (f *File) Commit(context.Context, int64) error { return nil }

// Alive implements Partition: nobody takes a file away.
func (f *File) Alive(time.Duration) bool { return true }

// Fetch implements Partition.
func (f *File) Fetch(ctx context.Context, offset int64, c *Chunk) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if offset < f.pos {
		if f.path == "-" {
			return errors.New("standard input can't be read again: import it from a file")
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close %s: %w", f.path, err)
		}
		if err := f.open(); err != nil {
			return err
		}
	}
	if offset > f.pos {
		n, err := f.text.Skip(offset - f.pos)
		if err != nil {
			return fmt.Errorf("read %s: %w", f.path, err)
		}
		if f.pos += n; f.pos < offset {
			return io.EOF // shorter than what is already in
		}
	}
	c.First, c.Next, c.Records = offset, f.pos, c.Records[:0]
	f.buf = f.buf[:0]
	for len(f.buf) < lineBuffer && !f.ended {
		start := len(f.buf)
		buf, cut, err := f.text.Next(f.buf)
		if err != nil {
			return fmt.Errorf("read %s after %d bytes: %w", f.path, f.pos, err)
		}
		if f.ended = cut.Last; cut.Size == 0 {
			break
		}
		if !cut.Whole && cut.Last && !f.tail {
			f.unfinished = true
			break
		}
		f.buf = buf
		if buf[len(buf)-1] == '\n' {
			f.buf = buf[:len(buf)-1]
		}
		// Where the buffer will be is not known before it is full: the values are cut from it below.
		c.Records = append(c.Records, Record{Offset: f.pos, Next: f.pos + cut.Size, Value: f.buf[start:len(f.buf):len(f.buf)]})
		f.pos += cut.Size
		c.Next = f.pos
	}
	if len(c.Records) == 0 {
		return io.EOF
	}
	at := 0
	for i := range c.Records {
		n := len(c.Records[i].Value)
		c.Records[i].Value = f.buf[at : at+n : at+n]
		at += n
	}
	return nil
}
