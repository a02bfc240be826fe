// Package durable writes small files that outlive a crash: keys, checkpoints, certificates, decisions.
//
// It promises that a file is there as a whole or not at all, whatever is killed and whenever the power goes, and that it is on
// disk, with its name, when the call returns. [Create] refuses a path that exists, also where two processes race for it.
// [Replace] leaves the old file or the new one. Until it has its name a file is called .new-*, has mode 0600 and is nobody's to
// read; what a crash leaves of that kind may be removed at any time.
//
// It refuses nothing else: who may write where is its callers' to know.
//
// Steps: a temporary file in the same directory, written, given its mode, synchronised; linked or renamed to its name; then the
// directory is synchronised (see fsync(2), and why a rename alone is not enough: ext4's delayed allocation).
package durable
