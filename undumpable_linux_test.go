package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The kernel hands the memory of tillsyn to nobody: whatever is shut in /proc to its own user is in no core either, whatever the
// limit is and wherever a core pattern leads (core(5), proc(5)).
func TestNobodyIsHandedTheMemory(t *testing.T) {
	dir, err := os.MkdirTemp("", "undumpable")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	lines := filepath.Join(dir, "lines")
	if err := errors.Join(os.Chmod(dir, 0o755), syscall.Mkfifo(lines, 0o600), os.Chmod(lines, 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "parse", "--format", "squid_native", lines)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), testMainEnv+"=1")
	user := os.Getuid()
	if user == 0 {
		// Root owns everything in /proc that is its own: somebody else's process tells the difference.
		user = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	defer stdin.Close()
	w, err := os.OpenFile(lines, os.O_WRONLY, 0) // opens when tillsyn reads
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("what the memory holds is user %d's to read, who runs it as %d", owner, user)
	}
}
