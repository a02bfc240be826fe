package audit

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Who verifies, reads, proves and exports while others append and rotate sees a log that is whole.
func TestVerifyWhileAppending(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; !done.Load(); i++ {
				if _, err := l.Append(t.Context(), sample(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	files := os.DirFS(c.Directory)
	var memory Memory
	reader := NewReader(files, l.Trust())
	verified, size := 0, int64(0)
	for start := time.Now(); verified < 10 || size < 600 && time.Since(start) < 20*time.Second; verified++ {
		report, after, err := Verify(t.Context(), files, l.Trust(), memory)
		if err != nil || !report.OK() {
			t.Fatalf("%v %v", report.Findings, err)
		}
		if report.Size < size {
			t.Fatalf("%d entries after %d", report.Size, size)
		}
		memory, size = after, report.Size
		if _, err := reader.Entries(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Prove(Position{1, 0}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Export(t.Context(), files, l.Trust(), filepath.Join(t.TempDir(), "x")); err != nil {
		t.Error(err)
	}
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Error(err)
	}
	done.Store(true)
	wg.Wait()
	if _, err := reader.Entries(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("verified %d times, at last %d entries", verified, size)
}

// Nothing that lies in a copy can make the verifier wait, leave the folder or eat the memory.
func TestStrangeFiles(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	fill(t, l, 0, 5)
	for name, change := range map[string]func(dir string) error{
		"pipe for a bundle": func(dir string) error {
			path := filepath.Join(dir, "0001", tilePath(entriesLevel, 0, 6))
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
		"pipe for the checkpoint": func(dir string) error {
			path := filepath.Join(dir, "0001", "checkpoint")
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
		"folder for a tile": func(dir string) error {
			path := filepath.Join(dir, "0001", tilePath(0, 0, 6))
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
		"huge bundle": func(dir string) error {
			return os.Truncate(filepath.Join(dir, "0001", tilePath(entriesLevel, 0, 6)), 1<<40)
		},
		"huge checkpoint": func(dir string) error {
			return os.Truncate(filepath.Join(dir, "0001", "checkpoint"), 1<<40)
		},
		"file for a segment": func(dir string) error { return os.WriteFile(filepath.Join(dir, "0002"), nil, 0o600) },
		"link to itself": func(dir string) error {
			path := filepath.Join(dir, "0001", "checkpoint")
			return errors.Join(os.Remove(path), os.Symlink("checkpoint", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, c.Directory)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			report, _, err := Verify(t.Context(), root.FS(), l.Trust(), Memory{})
			if err != nil || report.OK() {
				t.Errorf("%+v %v", report, err)
			}
			if _, err := NewReader(root.FS(), l.Trust()).Entries(t.Context()); err == nil && name != "folder for a tile" {
				t.Error("its entries are read")
			}
		})
	}
	// What does not belong there is told, and harms nothing.
	dir := copyFolder(t, c.Directory)
	for _, path := range []string{"0001/notes.txt", "0001/tile/0/000.p/7", "0001/tile/entries/x001/234", "0001/tile/5/000"} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	report, _, err := Verify(t.Context(), os.DirFS(dir), l.Trust(), Memory{})
	if err != nil || !report.OK() || len(report.Notices) != 4 {
		t.Errorf("%v %v %v", report.Findings, report.Notices, err)
	}
}
