//go:build !linux

package clickhouse

// readOnlyMount is false where it is not known how to tell.
func readOnlyMount(string) bool { return false }
