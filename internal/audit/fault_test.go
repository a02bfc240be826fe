package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// FAULTS case 36: whatever moment a process dies at, an acknowledged entry stays at its index, also while segments rotate.
func TestKilledWhileAppending(t *testing.T) {
	c := testConfig(t)
	var acks []acknowledged
	var took []time.Duration
	const rounds = 12
	for round := range rounds {
		// The first dies while it may still be founding the log.
		enough := rand.IntN(60)
		child := start(t, childTask{Config: c, First: round * 100000, Rotate: 17}, nil)
		if !child.await(enough) {
			t.Fatalf("round %d: %v", round, child.others)
		}
		time.Sleep(time.Duration(rand.IntN(15000)) * time.Microsecond)
		if err := child.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.end()
		if len(child.others) > 0 {
			t.Fatalf("round %d: %v", round, child.others)
		}
		acks = append(acks, child.acks...)
		for _, a := range child.acks {
			took = append(took, a.took)
		}
	}
	l := openLog(t, c)
	checkAcknowledged(t, l, acks)
	appendTo(t, l, sample(1))
	t.Logf("%d kills, %d entries acknowledged, all there; append p50 %v p99 %v", rounds, len(acks), quantile(took, 0.5), quantile(took, 0.99))
}

func TestFourProcesses(t *testing.T) {
	c := testConfig(t)
	var children []*runningChild
	const each = 40
	for i := range 4 {
		children = append(children, start(t, childTask{Config: c, First: i * 1000, Count: each, Rotate: 20}, nil))
	}
	var acks []acknowledged
	for _, child := range children {
		if err := child.end(); err != nil || len(child.others) > 0 {
			t.Fatalf("%v: %v", err, child.others)
		}
		acks = append(acks, child.acks...)
	}
	if len(acks) != 4*each {
		t.Fatalf("%d of %d entries were acknowledged", len(acks), 4*each)
	}
	checkAcknowledged(t, openLog(t, c), acks)
}

// nobody answers attributes of a process without rights, or ends the test where there is no way to have one.
func nobody(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil // we have no more rights than our own: modes bind us
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// FAULTS case 34: a read-only log refuses; it does not panic, hang or write elsewhere.
func TestReadOnly(t *testing.T) {
	// t.TempDir is closed to others; the child is another.
	dir, err := os.MkdirTemp("", "audit-read-only-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("chmod", "-R", "u+w", dir).Run()
		os.RemoveAll(dir)
	})
	c := testConfig(t)
	c.Directory, c.Key = filepath.Join(dir, "log"), filepath.Join(dir, "key", "audit.key")
	l := openLog(t, c)
	appendTo(t, l, sample(1))
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-R", "65534:65534", dir).CombinedOutput(); err != nil {
			t.Fatalf("%s %v", out, err)
		}
	}
	before := snapshot(t, c.Directory)
	binary := filepath.Join(dir, "child")
	if err := os.Link(os.Args[0], binary); err != nil {
		text, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(binary, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chmod", "-R", "a-w", c.Directory).CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	child := startAs(t, binary, childTask{Config: c, First: 1, Count: 3}, nobody(t))
	if err := child.end(); err != nil || len(child.acks) > 0 || len(child.others) != 3 {
		t.Fatalf("%v %v %v", err, child.acks, child.others)
	}
	for _, line := range child.others {
		if !strings.HasPrefix(line, "refused") || !strings.Contains(line, ErrUnavailable.Error()) {
			t.Error(line)
		}
	}
	if after := snapshot(t, c.Directory); after != before {
		t.Error("the read-only log was changed")
	}
}

// snapshot answers names and contents of all files but locks.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || strings.HasSuffix(path, "lock") {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %d %x\n", path, len(text), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// FAULTS case 34: a full disk refuses, wherever it becomes full, and the log goes on when there is room again.
func TestFull(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	var acks []acknowledged
	for i := range 5 {
		r := appendTo(t, l, sample(i))
		acks = append(acks, acknowledged{r.Position, int64(i), 0})
	}
	// The largest file is the bundle, then the checkpoint, the hash tile, the state: each of them is the first to fail once.
	for i, size := range []int{1, 20, 60, 100, 150, 200, 250, 400, 800, 1200, 1600, 2000} {
		child := start(t, childTask{Config: c, First: 1000 * (i + 1), Count: 2, FileSize: size}, nil)
		if err := child.end(); err != nil {
			t.Fatalf("limit %d: %v %v", size, err, child.others)
		}
		for _, line := range child.others {
			if !strings.Contains(line, ErrUnavailable.Error()) {
				t.Errorf("limit %d: %s", size, line)
			}
		}
		if size < 400 && len(child.acks) > 0 {
			t.Errorf("limit %d: %v", size, child.acks)
		}
		acks = append(acks, child.acks...)
		r := appendTo(t, l, sample(1000*(i+1)+500))
		acks = append(acks, acknowledged{r.Position, int64(1000*(i+1) + 500), 0})
	}
	checkAcknowledged(t, openLog(t, c), acks)
}

func TestLockedForTooLong(t *testing.T) {
	c := testConfig(t)
	c.Timeout = time.Second
	l := openLog(t, c)
	lock := flock.New(filepath.Join(c.Directory, "lock"))
	if ok, err := lock.TryLock(); !ok {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), sample(1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a locked log answers %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, sample(2))
	if all, err := l.Entries(t.Context()); err != nil || len(all) != 2 || all[1].Counts["number"] != 2 {
		t.Errorf("%v %v", all, err)
	}
}

// A log that is changed, cut or set back under a running process is not continued.
func TestChangedUnderneath(t *testing.T) {
	tile := filepath.Join("0001", "tile", "0", "000.p", "6")
	bundle := filepath.Join("0001", "tile", "entries", "000.p", "6")
	flip := func(name string) func(t *testing.T, dir, old string) {
		return func(t *testing.T, dir, _ string) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(t *testing.T, dir, old string){
		"entry":      flip(bundle),
		"tile":       flip(tile),
		"checkpoint": flip(filepath.Join("0001", "checkpoint")),
		"state":      flip(filepath.Join("0001", ".state", "treeState")),
		"tile gone": func(t *testing.T, dir, _ string) {
			if err := os.Remove(filepath.Join(dir, tile)); err != nil {
				t.Fatal(err)
			}
		},
		"log gone": func(t *testing.T, dir, _ string) {
			if err := os.RemoveAll(filepath.Join(dir, "0001")); err != nil {
				t.Fatal(err)
			}
		},
		"old copy": func(t *testing.T, dir, old string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			l := openLog(t, c)
			appendTo(t, l, sample(0))
			old := filepath.Join(t.TempDir(), "old")
			if err := os.CopyFS(old, os.DirFS(c.Directory)); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				appendTo(t, l, sample(i))
			}
			change(t, c.Directory, old)
			if r, err := l.Append(t.Context(), sample(9)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v %v", r, err)
			}
		})
	}
}

// The writer's own bookkeeping may be lost: a copy of the public files goes on where they end.
func TestGoesOnFromPublicFiles(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	for i := range 3 {
		appendTo(t, l, sample(i))
	}
	copied := c
	copied.Directory = filepath.Join(t.TempDir(), "copy")
	if _, err := Export(t.Context(), os.DirFS(c.Directory), l.Trust(), copied.Directory); err != nil {
		t.Fatal(err)
	}
	r := appendTo(t, openLog(t, copied), sample(3))
	if r.Position != (Position{1, 4}) {
		t.Errorf("it goes on at %v", r.Position)
	}
	report, _, err := Verify(t.Context(), os.DirFS(copied.Directory), l.Trust(), Memory{})
	if err != nil || !report.OK() {
		t.Errorf("%v %v", report.Findings, err)
	}
}
