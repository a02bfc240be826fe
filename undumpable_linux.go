package main

import "golang.org/x/sys/unix"

// undumpable lets the kernel hand the memory of this process to nobody: no core, also not to a program that a core pattern names,
// which RLIMIT_CORE does not keep from it (core(5)), and nothing of /proc to other processes of the same user (proc(5), ptrace(2)).
// A program that is started is dumpable again: the engine says it for itself.
func undumpable() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
