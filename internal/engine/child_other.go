//go:build !linux

package engine

import "syscall"

// childAttributes puts the child into a process group of its own: a terminal's Ctrl-C is for the parent alone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
