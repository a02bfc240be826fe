package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func write(t *testing.T, dir, name string, text []byte, age time.Duration) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

// all reads a partition from an offset to its end.
func all(t *testing.T, p Partition, from int64) (lines []string, next int64) {
	t.Helper()
	var c Chunk
	for next = from; ; next = c.Next {
		err := p.Fetch(context.Background(), next, &c)
		if err == io.EOF {
			return lines, next
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			lines = append(lines, string(r.Value))
		}
	}
}

func TestFileIsKnownByItsBeginning(t *testing.T) {
	dir := t.TempDir()
	var text []byte
	for i := range 5000 {
		text = fmt.Appendf(text, "line %d of the first file\n", i)
	}
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(text)
	g.Close()
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(text)
	z.Close()
	short := text[:200]
	open := func(path string, stdin io.Reader, known ...Identity) *File {
		t.Helper()
		f, err := OpenFile(path, stdin, known, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open(write(t, dir, "a.log", short, time.Hour), nil)
	known := []Identity{open(write(t, dir, "other.log", []byte("something else\n"), time.Hour), nil).Identity(), first.Identity()}
	for name, f := range map[string]*File{
		"grown":          open(write(t, dir, "a.log", text, time.Hour), nil, known...),
		"renamed":        open(write(t, dir, "b.log", text, time.Hour), nil, known...),
		"packed":         open(write(t, dir, "a.log.gz", gz.Bytes(), 0), nil, known...),
		"packed (zstd)":  open(write(t, dir, "a.log.zst", zs.Bytes(), 0), nil, known...),
		"standard input": open("-", bytes.NewReader(text), known...),
	} {
		if f.Identity() != first.Identity() {
			t.Errorf("%s: another file", name)
		}
		lines, next := all(t, f, int64(len(short)))
		if got, want := strings.Join(lines, "\n")+"\n", string(text[len(short):]); got != want || next != int64(len(text)) {
			t.Errorf("%s: %d bytes after offset %d, want %d; next %d", name, len(got), len(short), len(want), next)
		}
	}
	if other := open(write(t, dir, "c.log", append([]byte("x"), text...), time.Hour), nil, known...); other.Identity() == first.Identity() {
		t.Error("a file with another beginning is the same")
	}
	shrunk := open(write(t, dir, "a.log", text[:250], time.Hour), nil, known...)
	if lines, _ := all(t, shrunk, int64(len(text))); lines != nil || shrunk.Identity() != first.Identity() {
		t.Error("a file that shrank brings lines again")
	}
	if !open(write(t, dir, "empty.log", nil, 0), nil, known...).Empty() {
		t.Error("an empty file is not empty")
	}
}

func TestFileLastLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		age  time.Duration
		want int
	}{{0, 1}, {time.Hour, 2}} {
		f, err := OpenFile(write(t, dir, "a.log", []byte("one\ntwo"), c.age), nil, nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if lines, _ := all(t, f, 0); len(lines) != c.want || f.Unfinished() != (c.want == 1) {
			t.Errorf("%v old: %q, unfinished %v", c.age, lines, f.Unfinished())
		}
		f.Close()
	}
}

func TestFileLongLines(t *testing.T) {
	dir := t.TempDir()
	text := "short\n" + strings.Repeat("x", 6<<20) + "\n" + strings.Repeat("y", 1<<20) + "\n\r\n\x00\nend\n"
	f, err := OpenFile(write(t, dir, "a.log", []byte(text), time.Hour), nil, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, next := all(t, f, 0)
	var got []int
	for _, l := range lines {
		got = append(got, len(l))
	}
	if want := []int{5, longestLine, 1 << 20, 1, 1, 3}; fmt.Sprint(got) != fmt.Sprint(want) || next != int64(len(text)) {
		t.Errorf("line lengths %v, want %v; next %d of %d", got, want, next, len(text))
	}
}

func TestFileBroken(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenFile(dir, nil, nil, time.Now); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Error("a folder:", err)
	}
	if _, err := OpenFile(filepath.Join(dir, "none"), nil, nil, time.Now); err == nil {
		t.Error("a missing file opens")
	}
	var gz bytes.Buffer
	g := gzip.NewWriter(&gz)
	for i := range 200_000 {
		fmt.Fprintf(g, "line %d %x\n", i, i*i*7919)
	}
	g.Close()
	f, err := OpenFile(write(t, dir, "cut.gz", gz.Bytes()[:gz.Len()/2], time.Hour), nil, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c Chunk
	for {
		if err = f.Fetch(context.Background(), c.Next, &c); err != nil {
			break
		}
	}
	if err == io.EOF {
		t.Error("a packed file that was cut short ends without an error")
	}
}

func TestIdentityMark(t *testing.T) {
	a := Identity{Cluster: "c", Topic: "t", Epoch: "1", Partition: 2}
	seen := map[uint64]Identity{}
	for _, i := range []Identity{a, {Cluster: "c", Topic: "t", Epoch: "12", Partition: 2}, {Cluster: "c", Topic: "t1", Epoch: "", Partition: 2}, {Cluster: "ct", Topic: "", Epoch: "1", Partition: 2}, {Cluster: "c", Topic: "t", Epoch: "1", Partition: 3}, {}} {
		if have, ok := seen[i.Mark()]; ok {
			t.Errorf("%v and %v have one mark", have, i)
		}
		seen[i.Mark()] = i
	}
	if a.Mark() != (Identity{Cluster: "c", Topic: "t", Epoch: "1", Partition: 2}).Mark() || a.Mark() == 0 {
		t.Error("a mark is not stable")
	}
}

func TestShapeSaysNothing(t *testing.T) {
	for in, want := range map[string]string{
		"1791. 12 10.1.2.3 TCP_DENIED/403 anna.berg": "9. 9 9.9.9.9 a_a/9 a.a",
		"åsa\x00\x1b[31m\t\n":                        "?a?[9a?",
		"":                                           "",
	} {
		if got := string(appendShape(nil, []byte(in))); got != want {
			t.Errorf("shape of %q: %q, want %q", in, got, want)
		}
	}
	if got := appendShape(nil, bytes.Repeat([]byte("a1"), 500)); len(got) != maxShape {
		t.Error("a shape of", len(got))
	}
}
