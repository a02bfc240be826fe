package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A shortened log and a second history are refused, and both sizes named, also by who holds the key.
func TestRemember(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	path := filepath.Join(t.TempDir(), "seen")
	fill(t, l, 0, 10)
	old := copyLog(t, c)
	fill(t, l, 10, 10)
	remember := func(dir string) Report {
		t.Helper()
		r, err := Remember(t.Context(), os.DirFS(dir), l.Trust(), path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := remember(c.Directory); !r.OK() || r.Remembered != 0 {
		t.Fatalf("%+v", r)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if r := remember(c.Directory); !r.OK() || r.Remembered != 1 {
		t.Fatalf("%+v", r)
	}
	seen, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name, dir string, words ...string) {
		t.Helper()
		r := remember(dir)
		first, _ := r.First()
		for _, word := range words {
			if r.OK() || !strings.Contains(first.Text, word) {
				t.Errorf("%s: %v does not say %q", name, first, word)
			}
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, seen) {
			t.Errorf("%s was remembered", name)
		}
	}
	refused("an old copy", old.Directory, "shortened", "21", "11")
	fork := openLog(t, old)
	fill(t, fork, 100, 10)
	refused("a fork of the same size", old.Directory, "two histories", "21")
	fill(t, fork, 110, 10)
	refused("a longer fork", old.Directory, "two histories", "21", "31")
	other := testConfig(t)
	openLog(t, other)
	refused("another key", other.Directory, "signed")
	refused("nothing", t.TempDir(), "no segment")
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 20, 3)
	if r := remember(c.Directory); !r.OK() || r.Remembered != 1 || len(r.Segments) != 2 {
		t.Fatalf("%+v", r)
	}
	if seen, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	gone := copyFolder(t, c.Directory)
	if err := os.RemoveAll(filepath.Join(gone, "0002")); err != nil {
		t.Fatal(err)
	}
	refused("the last segment gone", gone, "missing")
	if err := os.WriteFile(path, seen[:len(seen)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Remember(t.Context(), os.DirFS(c.Directory), l.Trust(), path); err == nil {
		t.Error("a broken memory is taken for none")
	}
}

// The memory of one log does not judge another.
func TestMemoryOfAnotherLog(t *testing.T) {
	c, other := testConfig(t), testConfig(t)
	l, o := openLog(t, c), openLog(t, other)
	_, memory := verified(t, c.Directory, l.Trust(), Memory{})
	r, _, err := Verify(t.Context(), os.DirFS(other.Directory), o.Trust(), memory)
	if err != nil || r.OK() {
		t.Errorf("%+v %v", r, err)
	}
}

func TestZeroTrustsNothing(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	r := appendTo(t, l, sample(1))
	files := os.DirFS(c.Directory)
	if report, _, err := Verify(t.Context(), files, Trust{}, Memory{}); err != nil || report.OK() {
		t.Errorf("verify: %+v %v", report, err)
	}
	if (Report{}).OK() {
		t.Error("no report is a good report")
	}
	if _, err := NewReader(files, Trust{}).Entries(t.Context()); err == nil {
		t.Error("entries are read")
	}
	if _, err := NewReader(files, Trust{}).Prove(r.Position); err == nil {
		t.Error("an entry is proved")
	}
	if _, err := r.Proof.Check(Trust{}); err == nil {
		t.Error("a proof holds")
	}
	if _, err := (Proof{}).Check(l.Trust()); err == nil {
		t.Error("the zero proof holds")
	}
	if _, _, err := (Consistency{}).Check(l.Trust()); err == nil {
		t.Error("the zero proof of consistency holds")
	}
	if _, err := (Trust{}).Open(r.Proof.Checkpoint); err == nil {
		t.Error("a checkpoint is opened")
	}
	if _, err := Export(t.Context(), files, Trust{}, filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("it is exported")
	}
	if _, err := Open(t.Context(), Config{}, nil); err == nil {
		t.Error("the zero configuration opens a log")
	}
	if (Entry{}).Validate() == nil {
		t.Error("the zero entry is valid")
	}
}

func FuzzParseMemory(f *testing.F) {
	c := testConfig(f)
	l := openLog(f, c)
	_, m := verified(f, c.Directory, l.Trust(), Memory{})
	f.Add(m.Encode())
	f.Add(Memory{}.Encode())
	f.Add([]byte(memoryHeader + "\n\n1\nx\n1\ny"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMemory(text)
		if err == nil && !bytes.Equal(m.Encode(), text) {
			t.Fatalf("%q is written as %q", text, m.Encode())
		}
	})
}
