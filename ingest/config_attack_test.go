package ingest

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Processes that start for the first time together must end up with one key: with two, each person would be two people.
func TestFirstStartsAgreeOnOneKey(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for range 20 {
		path := filepath.Join(t.TempDir(), "keys", "statistics.key")
		keys := make([][]byte, 16)
		var wait sync.WaitGroup
		for i := range keys {
			wait.Go(func() {
				k, err := OpenStatisticsKey(path, now)
				if err != nil {
					t.Error(err)
					return
				}
				keys[i] = k.Encode()
			})
		}
		wait.Wait()
		for i := range keys {
			if !bytes.Equal(keys[i], keys[0]) {
				t.Fatal("two first starts have two keys")
			}
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 1 {
			t.Fatalf("%d files are left, one is the key: the others are copies of a secret", len(left))
		}
		for _, mode := range []os.FileMode{0o640, 0o604} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenStatisticsKey(path, now); err == nil {
				t.Fatalf("a key of mode %o was taken", mode)
			}
		}
	}
}
