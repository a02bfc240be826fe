package audit

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A proof stands for itself when the log is gone, and every changed byte breaks it.
func TestProof(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	fill(t, l, 0, 30)
	trust := l.Trust()
	var texts [][]byte
	for i := range int64(31) {
		p, err := l.Prove(Position{1, i})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, p.Encode())
	}
	if _, err := l.Prove(Position{1, 31}); err == nil {
		t.Error("an entry that is not there is proved")
	}
	if _, err := l.Prove(Position{2, 0}); err == nil {
		t.Error("an entry of a segment that is not there is proved")
	}
	if err := os.RemoveAll(c.Directory); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		p, err := ParseProof(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Check(trust)
		if err != nil || r.Position != (Position{1, int64(i)}) {
			t.Fatalf("%v %v", r, err)
		}
	}
	text := texts[17]
	for at := range text {
		for bit := range 8 {
			changed := bytes.Clone(text)
			changed[at] ^= 1 << bit
			p, err := ParseProof(changed)
			if err == nil {
				_, err = p.Check(trust)
			}
			if err == nil {
				t.Fatalf("bit %d of byte %d may be flipped", bit, at)
			}
		}
	}
	// Numbers that no tree has.
	for _, index := range []int64{-1, 31, 1 << 62} {
		p, err := ParseProof(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Index = index
		if _, err := p.Check(trust); !errors.Is(err, ErrProof) {
			t.Errorf("index %d: %v", index, err)
		}
	}
}

func TestConsistency(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	var old [][]byte
	for i := range 40 {
		r := appendTo(t, l, sample(i))
		old = append(old, r.Proof.Checkpoint)
	}
	var last Consistency
	for i, checkpoint := range old {
		p, err := l.ProveConsistency(checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		p, err = ParseConsistency(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		before, after, err := p.Check(l.Trust())
		if err != nil || before.Size != int64(i)+2 || after.Size != 41 {
			t.Fatalf("%d %d %v", before.Size, after.Size, err)
		}
		if i == 20 {
			last = p
		}
	}
	for name, change := range map[string]func(*Consistency){
		"turned round":   func(c *Consistency) { c.Old, c.New = c.New, c.Old },
		"a hash less":    func(c *Consistency) { c.Path = c.Path[1:] },
		"a hash more":    func(c *Consistency) { c.Path = append(c.Path, c.Path[0]) },
		"a hash changed": func(c *Consistency) { c.Path[0][5] ^= 1 },
		"no checkpoint":  func(c *Consistency) { c.Old = nil },
		"another":        func(c *Consistency) { c.Old = old[19] },
	} {
		p, err := ParseConsistency(last.Encode())
		if err != nil {
			t.Fatal(err)
		}
		change(&p)
		if _, _, err := p.Check(l.Trust()); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The tree that the verifier builds is that of the library.
func TestTree(t *testing.T) {
	var own tree
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, i := range indexes {
			list = append(list, hashes[i])
		}
		return list, nil
	})
	for n := range int64(600) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil || own.root() != want {
			t.Fatalf("%d entries: %v, want %v %v", n, own.root(), want, err)
		}
		var line [8]byte
		for i := range line {
			line[i] = byte(rand.Uint32())
		}
		stored, err := tlog.StoredHashes(n, line[:], reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, stored...)
		own.add(tlog.RecordHash(line[:]))
	}
}

func TestTilePaths(t *testing.T) {
	for name, want := range map[string]struct {
		level int
		index int64
		width int
	}{
		"tile/0/000": {0, 0, 256}, "tile/entries/x001/234.p/7": {entriesLevel, 1234, 7}, "tile/2/x123/x456/789": {2, 123456789, 256}, "tile/1/999.p/255": {1, 999, 255},
	} {
		level, index, width, ok := parseTilePath(name)
		if !ok || level != want.level || index != want.index || width != want.width {
			t.Errorf("%s: %d %d %d %v", name, level, index, width, ok)
		}
	}
	for _, name := range []string{"", "tile", "tile/0", "tile/0/00", "tile/0/0000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/000.p/07", "tile/6/000", "tile/-1/000",
		"tile/0/x000/000", "tile/0/001/000", "tile/0/+01", "tile/00/000", "tile/0/000.p", "tile/0/000/", "tile/0/000.p/1/2"} {
		if _, _, _, ok := parseTilePath(name); ok {
			t.Errorf("%q is a tile", name)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	c := testConfig(f)
	l := openLog(f, c)
	trust := l.Trust()
	r := appendTo(f, l, sample(1))
	good := r.Proof.Encode()
	f.Add(good)
	f.Add([]byte(proofHeader + "\nextra \nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), text) {
			t.Fatalf("%q is written as %q", text, p.Encode())
		}
		// More signatures, by keys that nobody trusts, are all that may be different.
		if _, err := p.Check(trust); err == nil && (p.Index != r.Index || !bytes.Equal(p.Line, r.Proof.Line)) {
			t.Fatalf("%q holds", text)
		}
	})
}

func FuzzParseConsistency(f *testing.F) {
	c := testConfig(f)
	l := openLog(f, c)
	r := appendTo(f, l, sample(1))
	appendTo(f, l, sample(2))
	p, err := l.ProveConsistency(r.Proof.Checkpoint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Encode())
	f.Add([]byte(consistencyHeader + "\n\n0\n\n0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseConsistency(text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), text) {
			t.Fatalf("%q is written as %q", text, p.Encode())
		}
		_, _, _ = p.Check(l.Trust())
	})
}
