package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestCreateNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	if err := Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Error("created again:", err)
	}
	holds(t, path, "first", 0o600)
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Error("the directory:", info.Mode(), err)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	for _, text := range []string{"old", "new", ""} {
		if err := Replace(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		holds(t, path, text, 0o644)
	}
}

// Of many that race to create one file, one succeeds, and what is there is all of what that one wrote.
func TestRace(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "key")
		var (
			mu   sync.Mutex
			won  []string
			wait sync.WaitGroup
		)
		for i := range 8 {
			wait.Go(func() {
				text := strings.Repeat(fmt.Sprint(i), 10_000)
				switch err := Create(path, []byte(text), 0o600); {
				case err == nil:
					mu.Lock()
					won = append(won, text)
					mu.Unlock()
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if len(won) != 1 {
			t.Fatalf("%d of 8 created the file", len(won))
		}
		holds(t, path, won[0], 0o600)
	}
}

// What can't be put in place leaves what was there, and nothing else.
func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(full, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(full, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	file := filepath.Join(dir, "file")
	if err := Create(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(filepath.Join(file, "below"), []byte("x"), 0o600); err == nil {
		t.Error("a file was taken for a directory")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Error(names, err)
	}
}

func holds(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Error(info.Mode(), err)
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*"))
	if err != nil || len(names) != 0 {
		t.Error(names, err)
	}
}
