package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	maxCheckpoint = 1 << 16
	maxSegments   = 9999
	maxSize       = 1 << 40 // entries of a segment: far beyond use, below any overflow
)

// A Checkpoint is a signed statement of a log about itself (https://c2sp.org/tlog-checkpoint), whose signature was checked.
type Checkpoint struct {
	Segment int       // from 1
	Size    int64     // entries
	Root    tlog.Hash // of the Merkle tree of RFC 6962
	Note    []byte    // the signed note

	Witnesses []string // names of the trusted witnesses that co-signed
	unknown   int      // signatures by keys that are not trusted
}

func (c Checkpoint) tree() tlog.Tree { return tlog.Tree{N: c.Size, Hash: c.Root} }

// Open checks a checkpoint's signatures and form. It must be of the trusted deployment; it may be of any segment.
func (t Trust) Open(checkpoint []byte) (Checkpoint, error) {
	c, err := t.open(checkpoint)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open a checkpoint: %w", err)
	}
	return c, nil
}

func (t Trust) open(text []byte) (Checkpoint, error) {
	if t.zero() {
		return Checkpoint{}, fmt.Errorf("%w: none is trusted", ErrKey)
	}
	if len(text) > maxCheckpoint {
		return Checkpoint{}, errors.New("it is too long")
	}
	first, _, _ := strings.Cut(string(text[:min(len(text), 200)]), "\n")
	segment, ok := t.segmentOf(first)
	if !ok {
		return Checkpoint{}, fmt.Errorf("its origin is not a segment of %s/audit", t.deployment)
	}
	v, err := t.verifier(segment)
	if err != nil {
		return Checkpoint{}, err
	}
	n, err := note.Open(text, note.VerifierList(append([]note.Verifier{v}, t.witnesses...)...))
	if err != nil {
		return Checkpoint{}, errors.New("it is not signed by the trusted key, or was changed after signing")
	}
	c := Checkpoint{Segment: segment, Note: text, unknown: len(n.UnverifiedSigs)}
	signed := false
	for _, s := range n.Sigs {
		// The bits that pad base64 are not part of a signature: somebody could flip them unseen.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, errors.New("a signature is not in its one form")
		}
		if s.Name == v.Name() && s.Hash == v.KeyHash() {
			signed = true
		} else {
			c.Witnesses = append(c.Witnesses, s.Name)
		}
	}
	if !signed {
		return Checkpoint{}, errors.New("it is not signed by the trusted key")
	}
	if len(c.Witnesses) < t.quorum {
		return Checkpoint{}, fmt.Errorf("%d witnesses co-signed it, %d must", len(c.Witnesses), t.quorum)
	}
	if c.Size, c.Root, err = parseCheckpoint(n.Text, first); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// parseCheckpoint reads the text of a checkpoint of this origin, in its one form, without extension lines.
func parseCheckpoint(text, origin string) (size int64, root tlog.Hash, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		return 0, root, errors.New("its text is not an origin, a size and a root")
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > maxSize || strconv.FormatInt(size, 10) != lines[1] {
		return 0, root, errors.New("its size is not a number in its one form")
	}
	hash, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(hash) != tlog.HashSize {
		return 0, root, errors.New("its root is not a hash in its one form")
	}
	return size, tlog.Hash(hash), nil
}
