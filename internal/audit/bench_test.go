package audit

import (
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// bigLog answers a log of one segment with size entries, made without the writer.
func bigLog(t testing.TB, size int) (fstest.MapFS, Trust) {
	t.Helper()
	k, err := newKey("example.org/big")
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	var leaves []tlog.Hash
	var all tree
	var bundle [][]byte
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range size {
		e := sample(i)
		e.At = at.Add(time.Duration(i) * time.Second)
		if i == 0 {
			e = Entry{At: at, Kind: SegmentOpened, Actor: system, Counts: map[string]int64{"segment": 1}}
		}
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		hash := tlog.RecordHash(line)
		leaves = append(leaves, hash)
		all.add(hash)
		if bundle = append(bundle, line); len(bundle) == tileWidth || i == size-1 {
			m["0001/"+tilePath(entriesLevel, int64(i/tileWidth), len(bundle))] = &fstest.MapFile{Data: join(bundle)}
			bundle = nil
		}
	}
	levels(int64(size), leaves, func(level int, index int64, width int, hashes []tlog.Hash) bool {
		var text []byte
		for _, h := range hashes {
			text = append(text, h[:]...)
		}
		m["0001/"+tilePath(level, index, width)] = &fstest.MapFile{Data: text}
		return true
	})
	signer, err := k.signer(1)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%v\n", signer.Name(), size, all.root())}, signer)
	if err != nil {
		t.Fatal(err)
	}
	m["0001/checkpoint"] = &fstest.MapFile{Data: signed}
	return m, k.trust()
}

func BenchmarkVerify100k(b *testing.B) {
	m, trust := bigLog(b, 100_000)
	for b.Loop() {
		r, _, err := Verify(b.Context(), m, trust, Memory{})
		if err != nil || !r.OK() || r.Size != 100_000 {
			b.Fatal(r.Findings, err)
		}
	}
}

func BenchmarkEntries100k(b *testing.B) {
	m, trust := bigLog(b, 100_000)
	for b.Loop() {
		all, err := NewReader(m, trust).Entries(b.Context())
		if err != nil || len(all) != 100_000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntriesAgain(b *testing.B) {
	m, trust := bigLog(b, 100_000)
	r := NewReader(m, trust)
	for b.Loop() {
		if all, err := r.Entries(b.Context()); err != nil || len(all) != 100_000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	e := sample(7)
	e.At = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	line, err := e.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEntry(line); err != nil {
			b.Fatal(err)
		}
	}
}
