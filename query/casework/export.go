package casework

import (
	"archive/zip"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/seal"
)

//go:embed export_readme.txt
var exportReadme string

// An archiveFile is a file on its way into an export.
type archiveFile struct {
	name  string
	write func(io.Writer) error
}

func fileOf(name string, content []byte) archiveFile {
	return archiveFile{name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}}
}

// An archive is a zip file that is being written: files in the order of their names, all of one time, so that the same content is
// the same bytes.
type archive struct {
	zip *zip.Writer
	at  time.Time
}

func newArchive(w io.Writer, at time.Time) *archive {
	return &archive{zip: zip.NewWriter(w), at: at.UTC().Truncate(time.Second)}
}

func (a *archive) add(f archiveFile) (ManifestFile, error) {
	h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: a.at}
	h.SetMode(0o600)
	w, err := a.zip.CreateHeader(h)
	if err != nil {
		return ManifestFile{}, fmt.Errorf("write %s of an export: %w", f.name, err)
	}
	sum := sha256.New()
	n := &counting{w: io.MultiWriter(w, sum)}
	if err := f.write(n); err != nil {
		return ManifestFile{}, fmt.Errorf("write %s of an export: %w", f.name, err)
	}
	if n.n > MaxExport {
		return ManifestFile{}, fmt.Errorf("write %s of an export: it has more than %d bytes", f.name, int64(MaxExport))
	}
	return ManifestFile{Name: f.name, Size: n.n, SHA256: seal.Digest(sum.Sum(nil))}, nil
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// fill writes all files and answers what the manifest says of them.
func (a *archive) fill(files []archiveFile) ([]ManifestFile, error) {
	slices.SortFunc(files, func(a, b archiveFile) int { return strings.Compare(a.name, b.name) })
	var list []ManifestFile
	for _, f := range files {
		m, err := a.add(f)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// A place is a folder that an export is written into. Nothing is ever written beside it: it is opened once, and every name is
// looked up beneath it ([os.Root]), so neither dots nor links lead out.
type place struct{ root *os.Root }

func openPlace(dir string) (place, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return place{}, fmt.Errorf("open the folder for exports: %w", err)
	}
	return place{root}, nil
}

// create makes a file that must not exist, mode 0600.
func (p place) create(name string) (*os.File, error) {
	f, err := p.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write an export: %w", err)
	}
	return f, nil
}

// publish gives a whole file its name, if that is free.
func (p place) publish(partial, name string) error {
	if err := p.root.Link(partial, name); err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	if err := p.root.Remove(partial); err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	d, err := p.root.Open(".")
	if err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	return nil
}

// digestOfFile hashes a file beneath the place. It fails with [fs.ErrNotExist] if there is none, and refuses what is no plain file.
func (p place) digestOfFile(name string) (seal.Digest, error) {
	info, err := p.root.Lstat(name)
	if err != nil {
		return seal.Digest{}, err
	}
	if !info.Mode().IsRegular() {
		return seal.Digest{}, &fs.PathError{Op: "read", Path: "export", Err: errors.New("it is not a plain file")}
	}
	f, err := p.root.Open(name)
	if err != nil {
		return seal.Digest{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return seal.Digest{}, err
	}
	return seal.Digest(sum.Sum(nil)), nil
}

// rowFiles are rows as files.
func rowFiles(rows []Row) []archiveFile {
	return []archiveFile{
		{"rows.csv", SheetOf(rows).CSV},
		{"rows.json", func(w io.Writer) error { return WriteRows(w, rows) }},
	}
}
