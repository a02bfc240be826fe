package clickhouse

import "golang.org/x/sys/unix"

// readOnlyMount says whether a file is on a mount that cannot be written to.
func readOnlyMount(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Flags&unix.ST_RDONLY != 0
}
