package engine

import "syscall"

// childAttributes puts the child into a process group of its own (a terminal's Ctrl-C is for the parent alone) and asks
// the kernel to kill it with the thread that started it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
