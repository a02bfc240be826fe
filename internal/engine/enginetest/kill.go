package enginetest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/killshim/kill.c
var killSource []byte

// A KillShim is the preload library of testdata/killshim/kill.c, built for one test. A sweep over one piece of work is:
//
//	shim := enginetest.NewKillShim(t)           // builds it once
//	for at := 0; ; at++ {                       // 0 only counts: shim.Calls tells how many points there are
//		cfg := enginetest.Config(t, users)
//		cfg.Env = shim.Env(cfg.DataDir, at)
//		e := enginetest.Start(t, cfg)
//		… make the tables …
//		shim.Arm(t)
//		… the work; for at > 0 it fails, and e.Done() is closed …
//		shim.Disarm(t)
//		cfg.Env = nil
//		e = enginetest.Start(t, cfg)        // reopen, recover, compare
//	}
//
// A base directory that is made once and copied for every point saves the making of tables. Engine threads interleave,
// so the number of calls differs a little from run to run: sweep to a bit beyond what was counted, and take a run that
// ends without a kill for the end. It serves one engine at a time.
type KillShim struct {
	library string
	armed   string
	count   string
	log     string
}

// NewKillShim builds the library with cc.
func NewKillShim(t testing.TB) *KillShim {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "kill.c")
	if err := os.WriteFile(source, killSource, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &KillShim{
		library: filepath.Join(dir, "kill.so"),
		armed:   filepath.Join(dir, "armed"),
		count:   filepath.Join(dir, "count"),
		log:     filepath.Join(dir, "log"),
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", s.library, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("build the kill shim with cc (Debian: apt-get install gcc libc6-dev): %v\n%s", err, out)
	}
	return s
}

// Library is the path of the preload library.
func (s *KillShim) Library() string { return s.library }

// Env is what engine.Config.Env must be so that the engine is killed just before its at-th change (from 1) of a file
// below dir while the shim is armed; with at = 0 the changes are only counted. The shim is disarmed and the count is 0.
func (s *KillShim) Env(dir string, at int) []string {
	for _, path := range []string{s.armed, s.count, s.log} {
		os.Remove(path)
	}
	return []string{"LD_PRELOAD=" + s.library, "KILL_DIR=" + dir, "KILL_AT=" + strconv.Itoa(at),
		"KILL_ARMED=" + s.armed, "KILL_COUNT=" + s.count, "KILL_LOG=" + s.log}
}

// Arm makes changes count from now on.
func (s *KillShim) Arm(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(s.armed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Disarm stops the counting.
func (s *KillShim) Disarm(t testing.TB) {
	t.Helper()
	if err := os.Remove(s.armed); err != nil {
		t.Fatal(err)
	}
}

// Calls is how many changes were counted.
func (s *KillShim) Calls(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(s.count)
	if err != nil {
		t.Fatalf("the kill shim was not loaded: %v", err)
	}
	if len(text) == 0 {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Log is one line for each change: its number, the call and the path.
func (s *KillShim) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatalf("the kill shim was not loaded: %v", err)
	}
	return string(text)
}
