package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"tillsyn/internal/durable"
)

const (
	memoryHeader = "tillsyn/audit-memory@v1"
	maxMemory    = 1 << 24
)

// A Memory is what somebody remembers of a log: the last checkpoint seen of each segment. Whoever has one cannot be shown
// a shortened log or a second history. The zero Memory remembers nothing.
type Memory struct {
	checkpoints [][]byte
}

// with answers a memory of these checkpoints, one for each segment.
func (m Memory) with(seen []Checkpoint) Memory {
	var next Memory
	for _, c := range seen {
		next.checkpoints = append(next.checkpoints, bytes.Clone(c.Note))
	}
	return next
}

// Encode answers the text of m: a header and the checkpoints, each after an empty line and its number of bytes.
func (m Memory) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", memoryHeader)
	for _, c := range m.checkpoints {
		fmt.Fprintf(&b, "\n%d\n%s", len(c), c)
	}
	return b.Bytes()
}

// ParseMemory reads what [Memory.Encode] writes, and no other form.
func ParseMemory(text []byte) (Memory, error) {
	var m Memory
	fault := errors.New("parse what is remembered of an audit log: it is not a " + memoryHeader)
	rest, ok := bytes.CutPrefix(text, []byte(memoryHeader+"\n"))
	if !ok || len(text) > maxMemory {
		return Memory{}, fault
	}
	for len(rest) > 0 {
		after, ok := bytes.CutPrefix(rest, []byte("\n"))
		digits, after, ok2 := bytes.Cut(after, []byte("\n"))
		n, err := strconv.Atoi(string(digits))
		if !ok || !ok2 || err != nil || n < 1 || n > len(after) || n > maxCheckpoint || len(m.checkpoints) == maxSegments {
			return Memory{}, fault
		}
		m.checkpoints = append(m.checkpoints, slices.Clone(after[:n]))
		rest = after[n:]
	}
	if !bytes.Equal(m.Encode(), text) {
		return Memory{}, fault
	}
	return m, nil
}

// ReadMemory reads the file at path; a missing one is the zero Memory.
func ReadMemory(path string) (Memory, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, fmt.Errorf("read what is remembered of an audit log: %w", err)
	}
	return ParseMemory(text)
}

// Remember verifies the log in files against what the file at path remembers, and if all is well lets the file remember
// what it has seen, whole or not at all. A missing file remembers nothing yet. An unreadable one is an error, never
// nothing.
func Remember(ctx context.Context, files fs.FS, trust Trust, path string) (Report, error) {
	before, err := ReadMemory(path)
	if err != nil {
		return Report{}, err
	}
	report, after, err := Verify(ctx, files, trust, before)
	if err != nil || !report.OK() {
		return report, err
	}
	if err := durable.Replace(path, after.Encode(), 0o600); err != nil {
		return Report{}, fmt.Errorf("remember an audit log: %w", err)
	}
	return report, nil
}
