package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Create writes a file that must not exist yet: the error is [fs.ErrExist] if it does. Its directory is made, with mode 0700, if
// it is missing.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Link) // fails if the path is there, which Rename would not
}

// Replace writes a file, in the place of the one that is there, if any. Its directory is made, with mode 0700, if it is missing.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Rename)
}

func write(path string, data []byte, mode fs.FileMode, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return SyncDirectory(dir)
}

// SyncDirectory makes durable which names a directory has.
func SyncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
