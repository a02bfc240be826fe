package audit

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed README.export.md
var exportReadme string

// errBusy says that the log changed its segments each time it was copied.
var errBusy = errors.New("the log's segments changed while it was copied: try again")

// Export copies the log in files into dir, which must be empty or not exist, so that it verifies on its own, and verifies
// the copy. It copies what the published checkpoints cover and nothing else; the log may be in use.
func Export(ctx context.Context, files fs.FS, trust Trust, dir string) (Report, error) {
	report, err := export(ctx, files, trust, dir)
	if err != nil {
		return report, fmt.Errorf("export the audit log: %w", err)
	}
	return report, nil
}

func export(ctx context.Context, files fs.FS, trust Trust, dir string) (Report, error) {
	if trust.zero() {
		return Report{}, fmt.Errorf("%w: none is trusted", ErrKey)
	}
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return Report{}, fmt.Errorf("%s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Report{}, err
	}
	count, err := segmentNumbers(files)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	for n := 1; n <= count; n++ {
		if err := exportSegment(ctx, segmentAt(files, n), trust, filepath.Join(dir, segment{n: n}.dir())); err != nil {
			return Report{}, fmt.Errorf("%w: segment %04d: %w", ErrRecord, n, err)
		}
	}
	if now, err := segmentNumbers(files); err != nil || now != count {
		return Report{}, errBusy
	}
	for name, text := range map[string]string{"README.md": exportReadme, "log.vkey": trust.Key() + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return Report{}, err
		}
	}
	report, _, err := Verify(ctx, os.DirFS(dir), trust, Memory{})
	if err != nil {
		return Report{}, err
	}
	if f, bad := report.First(); bad {
		return report, fmt.Errorf("%w: the copy has the faults of the log: %v", ErrRecord, f)
	}
	return report, nil
}

func exportSegment(ctx context.Context, s segment, trust Trust, dir string) error {
	// The checkpoint first: what it covers is there from then on.
	c, err := s.checkpoint(trust)
	if err != nil {
		return err
	}
	write := func(name string, text []byte) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	}
	if err := write("checkpoint", c.Note); err != nil {
		return err
	}
	if isRetired(s) {
		text, err := s.read(anchorFile, maxProof)
		if err != nil {
			return err
		}
		return write(anchorFile, text)
	}
	for index := int64(0); index*tileWidth < c.Size; index++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		width := int(min(c.Size-index*tileWidth, tileWidth))
		lines, err := s.bundle(index, width)
		if err != nil {
			return err
		}
		var text []byte
		for _, line := range lines {
			text = append(binary.BigEndian.AppendUint16(text, uint16(len(line))), line...)
		}
		if err := write(tilePath(entriesLevel, index, width), text); err != nil {
			return err
		}
	}
	for level, size := 0, c.Size; size > 0; level, size = level+1, size/tileWidth {
		for index := int64(0); index*tileWidth < size; index++ {
			width := int(min(size-index*tileWidth, tileWidth))
			text, err := s.hashes(level, index, width)
			if err != nil {
				return err
			}
			if err := write(tilePath(level, index, width), text); err != nil {
				return err
			}
		}
	}
	return nil
}
