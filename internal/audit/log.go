package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"tillsyn/internal/durable"
)

// ErrUnavailable says that an entry is not known to be in the record: whoever must be on record to act may not act. It
// wraps every reason why [Log.Append] fails but a wrong entry.
var ErrUnavailable = errors.New("the audit log is not available, so nothing that must be on record can be done")

// ErrAhead says that the clock is so far ahead of the last entry that it is more likely wrong than right: one entry of a wrong time
// would end every decision. It is wrapped in ErrUnavailable.
var ErrAhead = errors.New("the clock of this machine is far ahead of the record's last entry: set it right, or confirm it with 'tillsyn audit clock --accept'")

const (
	maxBatch = tileWidth

	never        = 100 * 365 * 24 * time.Hour
	lockInterval = time.Millisecond

	system = "tillsyn" // the actor of what no person asks for
)

// A Receipt says where an entry stands and proves it: Proof.Checkpoint is the published checkpoint that covers it.
type Receipt struct {
	Record
	Proof Proof
}

// A Log appends to the record, and reads it. It is safe for use by several goroutines, and beside other processes.
type Log struct {
	*Reader
	config Config
	key    logKey
	now    func() time.Time

	queueLock sync.Mutex
	queue     []*waiting
	draining  sync.WaitGroup
	busy      bool
	closed    bool

	// last is the newest checkpoint that this process has verified, and lastAt the time of the last entry; used while the lock
	// file is held.
	last   Checkpoint
	lastAt time.Time
}

type waiting struct {
	entry   Entry
	done    chan struct{}
	receipt Receipt
	err     error
}

// Open opens the log that c names and makes it, with its key, if neither exists. It finishes what a killed process left
// undone. The error is ErrUnavailable, or of ErrKey, or says what is wrong with c. now is the clock; nil is time.Now.
func Open(ctx context.Context, c Config, now func() time.Time) (*Log, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	// Tessera tells its troubles to klog; ours are in the errors.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	dir, err := filepath.Abs(c.Directory)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	c.Directory = dir
	l := &Log{config: c, now: now}
	err = l.locked(ctx, func(ctx context.Context) error {
		if err := l.found(ctx); err != nil {
			return err
		}
		trust, err := c.trust(l.key)
		if err != nil {
			return err
		}
		l.Reader = NewReader(os.DirFS(dir), trust)
		_, err = l.current(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return l, nil
}

// Trust is what verifies this log.
func (l *Log) Trust() Trust { return l.Reader.trust }

// Checkpoint answers the published checkpoint of the last segment, verified.
func (l *Log) Checkpoint() (Checkpoint, error) {
	n, err := segmentNumbers(l.files)
	if err == nil && n == 0 {
		err = fs.ErrNotExist
	}
	var c Checkpoint
	if err == nil {
		c, err = segmentAt(l.files, n).checkpoint(l.trust)
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return c, nil
}

// Append sets the time of e and puts it on record. It answers when e is durable, in a published checkpoint, and both have
// been read back and verified. A wrong entry is refused with what is wrong; every other error is ErrUnavailable, and then
// the entry may or may not come into the record.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) {
	if l == nil || l.Reader == nil {
		return Receipt{}, ErrUnavailable
	}
	if e.Kind.ofLog() || e.Kind == ClockAccepted {
		return Receipt{}, fmt.Errorf("append to the audit log: %s is not for Append", e.Kind)
	}
	e.At = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as long as any other
	if _, err := e.Encode(); err != nil {
		return Receipt{}, fmt.Errorf("append to the audit log: %w", err)
	}
	w := &waiting{entry: e, done: make(chan struct{})}
	l.queueLock.Lock()
	if l.closed {
		l.queueLock.Unlock()
		return Receipt{}, fmt.Errorf("append to the audit log: %w: it is closed", ErrUnavailable)
	}
	l.queue = append(l.queue, w)
	if !l.busy {
		l.busy = true
		l.draining.Go(l.drain)
	}
	l.queueLock.Unlock()
	// A disk that hangs holds up who writes, but not who asks.
	ctx, cancel := context.WithTimeout(ctx, 2*l.config.Timeout)
	defer cancel()
	select {
	case <-w.done:
	case <-ctx.Done():
		l.withdraw(w)
		return Receipt{}, fmt.Errorf("append to the audit log: %w: %w", ErrUnavailable, ctx.Err())
	}
	if w.err != nil {
		return Receipt{}, fmt.Errorf("append to the audit log: %w", w.err)
	}
	return w.receipt, nil
}

// AcceptClock puts on record that somebody looked at the clock and that it is right, with the document that says so: from then on
// entries go on from this time, whether it is far ahead of the last entry or behind it. document is made of the time that the
// entry will have, in whole seconds, and of that of the last entry. Errors are those of [Log.Append].
func (l *Log) AcceptClock(ctx context.Context, actor string, document func(now, last time.Time) (digest, body string, err error)) (Receipt, error) {
	if l == nil || l.Reader == nil {
		return Receipt{}, ErrUnavailable
	}
	var receipts []Receipt
	err := l.locked(ctx, func(ctx context.Context) error {
		at, err := l.current(ctx)
		if err != nil {
			return err
		}
		e := Entry{At: l.stamp(), Kind: ClockAccepted, Actor: actor}
		if e.Document, e.Body, err = document(e.At, l.lastAt); err != nil {
			return err
		}
		receipts, err = l.write(ctx, at, []Entry{e})
		return err
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("put the clock on record: %w", err)
	}
	return receipts[0], nil
}

// Last answers the time of the last entry of the record, verified.
func (l *Log) Last(ctx context.Context) (time.Time, error) {
	var last time.Time
	err := l.locked(ctx, func(ctx context.Context) error {
		_, err := l.current(ctx)
		last = l.lastAt
		return err
	})
	return last, err
}

// withdraw takes w out of the queue, if it is not being written.
func (l *Log) withdraw(w *waiting) {
	l.queueLock.Lock()
	defer l.queueLock.Unlock()
	if i := slices.Index(l.queue, w); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
}

// Close waits for the entries that are being written and refuses others.
func (l *Log) Close() error {
	l.queueLock.Lock()
	l.closed = true
	l.queueLock.Unlock()
	l.draining.Wait()
	return nil
}

// drain writes what waits, in batches, until nothing does.
func (l *Log) drain() {
	for {
		l.queueLock.Lock()
		n := min(len(l.queue), maxBatch)
		batch := slices.Clone(l.queue[:n])
		l.queue = slices.Delete(l.queue, 0, n)
		if n == 0 {
			l.busy = false
		}
		l.queueLock.Unlock()
		if n == 0 {
			return
		}
		entries := make([]Entry, n)
		for i, w := range batch {
			entries[i] = w.entry
		}
		var receipts []Receipt
		err := l.locked(context.Background(), func(ctx context.Context) error {
			at, err := l.current(ctx)
			if err == nil {
				receipts, err = l.write(ctx, at, entries)
			}
			return err
		})
		for i, w := range batch {
			if w.err = err; err == nil {
				w.receipt = receipts[i]
			}
			close(w.done)
		}
	}
}

// locked runs do while no other process, and nobody else in this one, writes. Its error is ErrUnavailable or ErrRefused.
func (l *Log) locked(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	err := func() error {
		if err := os.MkdirAll(l.config.Directory, 0o750); err != nil {
			return err
		}
		// flock belongs to the open file, unlike the fcntl locks inside Tessera, which do not part two users in one process.
		lock := flock.New(filepath.Join(l.config.Directory, "lock"))
		if ok, err := lock.TryLockContext(ctx, lockInterval); !ok {
			if ctx.Err() != nil {
				return fmt.Errorf("another process has held its lock for %v", l.config.Timeout)
			}
			return fmt.Errorf("take its lock: %w", err)
		}
		defer lock.Close()
		return do(ctx)
	}()
	if err != nil && !errors.Is(err, ErrRefused) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// found reads the key, or founds the log: first segment and key. It holds the lock.
func (l *Log) found(ctx context.Context) error {
	count, err := segmentNumbers(os.DirFS(l.config.Directory))
	if err != nil {
		return err
	}
	l.key, err = readKey(l.config.Key, l.config.Deployment)
	switch {
	case errors.Is(err, fs.ErrNotExist) && count > 0:
		return fmt.Errorf("%w: %s is gone, but there is a log that it signed: restore it", ErrKey, l.config.Key)
	case errors.Is(err, fs.ErrNotExist):
		// The key comes last, so that a key without a log is always a loss.
		if l.key, err = newKey(l.config.Deployment); err != nil {
			return err
		}
		first := Entry{At: l.stamp(), Kind: SegmentOpened, Actor: system, Counts: map[string]int64{"segment": 1}}
		if err := l.build(ctx, 1, first, nil); err != nil {
			return err
		}
		if err := durable.Create(l.config.Key, l.key.file(), 0o600); err != nil {
			return fmt.Errorf("%w: %w", ErrKey, err)
		}
		return l.raise(1)
	case err != nil:
		return err
	case count == 0:
		trust, err := l.config.trust(l.key)
		if err != nil {
			return err
		}
		if c, err := segmentIn(l.aside(1), 1).checkpoint(trust); err != nil || c.Size != 1 {
			return fmt.Errorf("%w: %s exists, but the log that it signed is gone from %s: restore the log, or move the key away to begin another",
				ErrRecord, l.config.Key, l.config.Directory)
		}
		return l.raise(1)
	}
	return nil
}

// aside is where segment n is built before it is part of the log.
func (l *Log) aside(n int) string {
	return filepath.Join(l.config.Directory, ".new-"+segment{n: n}.dir())
}

// build makes segment n aside, from nothing, with the entry that opens it and those that it repeats: what an interrupted build
// left is removed.
func (l *Log) build(ctx context.Context, n int, first Entry, carried []carriedEntry) error {
	line, err := first.Encode()
	if err != nil {
		return err
	}
	lines := [][]byte{line}
	for _, c := range carried {
		if line, err = c.header(first).Encode(); err != nil {
			return err
		}
		lines = append(lines, line, c.line)
	}
	if err := os.RemoveAll(l.aside(n)); err != nil {
		return err
	}
	signer, err := l.key.signer(n)
	if err != nil {
		return err
	}
	for len(lines) > maxBatch { // one checkpoint covers them all: a witness sees the segment begin once
		if err := l.integrate(ctx, l.aside(n), signer, lines[:maxBatch]); err != nil {
			return err
		}
		lines = lines[maxBatch:]
	}
	return l.extend(ctx, l.aside(n), n, lines)
}

// raise makes the segment that was built aside part of the log.
func (l *Log) raise(n int) error {
	if err := os.Rename(l.aside(n), l.path(n)); err != nil {
		return err
	}
	return durable.SyncDirectory(l.config.Directory)
}

func (l *Log) path(n int) string { return filepath.Join(l.config.Directory, segment{n: n}.dir()) }

func (l *Log) stamp() time.Time { return l.now().UTC().Truncate(time.Second) }

// current answers the checkpoint of the segment that takes entries, after all was checked and healed. It holds the lock.
func (l *Log) current(ctx context.Context) (Checkpoint, error) {
	for {
		n, err := segmentNumbers(l.files)
		if err != nil {
			return Checkpoint{}, err
		}
		if n == 0 || n < l.last.Segment {
			return Checkpoint{}, fmt.Errorf("%w: its last segment is gone", ErrRecord)
		}
		s := segmentAt(l.files, n)
		c, err := s.checkpoint(l.trust)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		if c, err = l.settle(ctx, s, c); err != nil {
			return Checkpoint{}, err
		}
		l.removeBeyond(s.n, c.Size)
		if l.last.Segment == 0 {
			l.removeAside(s.n)
		}
		if l.last.Segment > 0 {
			old := segmentAt(l.files, l.last.Segment)
			then := c
			if l.last.Segment < n {
				if then, err = old.checkpoint(l.trust); err != nil {
					return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
				}
			}
			if !isRetired(old) {
				if _, err := old.proveExtension(l.last, then.tree()); err != nil {
					return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
				}
			}
		}
		if err := s.checkEdge(c, c.Size-1); err != nil {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		l.last = c
		line, err := s.entry(c.Size-1, c.Size)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		end, err := ParseEntry(line)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		l.lastAt = end.At
		if c.Size > 1 {
			line, err := s.entry(c.Size-2, c.Size)
			if err != nil {
				return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
			}
			// Behind its header stands an old line, with its old time.
			if e, err := ParseEntry(line); err == nil && e.Kind == SegmentCarried {
				l.lastAt = e.At
			}
		}
		if end.Kind != SegmentClosed {
			return c, nil
		}
		// The same time as that of the closing: a repetition signs the same bytes, never a second history.
		carried, err := l.carry(ctx, s, c)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("%w: %w", ErrRecord, err)
		}
		first := Entry{At: end.At, Kind: SegmentOpened, Actor: end.Actor, Body: string(c.Note),
			Counts: map[string]int64{"segment": int64(n) + 1, "carried": int64(len(carried))}}
		if n == maxSegments {
			return Checkpoint{}, fmt.Errorf("there can be no more than %d segments", maxSegments)
		}
		if err := l.build(ctx, n+1, first, carried); err != nil {
			return Checkpoint{}, err
		}
		if err := l.raise(n + 1); err != nil {
			return Checkpoint{}, err
		}
	}
}

// checkEdge proves that the bundle with entry index holds what the checkpoint says: Tessera copies it into the next one.
func (s segment) checkEdge(c Checkpoint, index int64) error {
	b := index / tileWidth
	width := int(min(c.Size-b*tileWidth, tileWidth))
	lines, err := s.bundle(b, width)
	if err != nil {
		return err
	}
	indexes := make([]int64, width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, b*tileWidth+int64(i))
	}
	hashes, err := s.authentic(c.tree()).ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, line := range lines {
		if tlog.RecordHash(line) != hashes[i] {
			return fmt.Errorf("entry %v was changed", Position{s.n, b*tileWidth + int64(i)})
		}
	}
	return nil
}

// settle makes the writer's own state agree with the published checkpoint c.
func (l *Log) settle(ctx context.Context, s segment, c Checkpoint) (Checkpoint, error) {
	if c.Size == 0 {
		return Checkpoint{}, fmt.Errorf("%w: segment %s has no entries", ErrRecord, s.dir())
	}
	state, err := readState(l.path(s.n))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A copy of the public files was put here. The checkpoint is the truth, and current checks the tiles against it.
		text, err := json.Marshal(treeState{uint64(c.Size), c.Root[:]})
		if err != nil {
			return Checkpoint{}, err
		}
		return c, durable.Replace(filepath.Join(l.path(s.n), ".state", "treeState"), text, 0o644)
	case err != nil:
		return Checkpoint{}, err
	case state == c.tree():
		return c, nil
	case state.N <= c.Size:
		return Checkpoint{}, fmt.Errorf("%w: the writer's state of segment %s, of %d entries, is not what its checkpoint of %d entries says",
			ErrRecord, s.dir(), state.N, c.Size)
	}
	// A process died between writing and publishing.
	if err := l.extend(ctx, l.path(s.n), s.n, nil); err != nil {
		return Checkpoint{}, err
	}
	return s.checkpoint(l.trust)
}

// write appends entries to the segment of checkpoint at, and proves each. It holds the lock.
func (l *Log) write(ctx context.Context, at Checkpoint, entries []Entry) ([]Receipt, error) {
	s := segmentAt(l.files, at.Segment)
	lines := make([][]byte, len(entries))
	now := l.stamp()
	if gap := now.Sub(l.lastAt); gap > l.config.Silence && entries[0].Kind != ClockAccepted {
		return nil, fmt.Errorf("%w (by %v; audit.silence allows %v)", ErrAhead, gap.Round(time.Minute), l.config.Silence)
	}
	for i := range entries {
		entries[i].At = now
		line, err := entries[i].Encode()
		if err != nil {
			return nil, err
		}
		lines[i] = line
	}
	if err := l.extend(ctx, l.path(s.n), s.n, lines); err != nil {
		return nil, err
	}
	c, err := s.checkpoint(l.trust)
	if err != nil {
		return nil, err
	}
	if c.Size != at.Size+int64(len(lines)) {
		return nil, fmt.Errorf("%w: the checkpoint says %d entries, not %d", ErrRecord, c.Size, at.Size+int64(len(lines)))
	}
	if _, err := s.proveExtension(at, c.tree()); err != nil {
		return nil, err
	}
	// The bundle was written anew: also what stood in it before must still be there.
	if err := s.checkEdge(c, at.Size); err != nil {
		return nil, err
	}
	proofs, err := s.proveRange(ctx, c, at.Size, len(lines))
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(lines))
	for i, line := range lines {
		p := proofs[i]
		if string(p.Line) != string(line) {
			return nil, fmt.Errorf("%w: entry %v is another than was written", ErrRecord, Position{s.n, p.Index})
		}
		receipts[i] = Receipt{Record{Position{s.n, p.Index}, entries[i]}, p}
	}
	l.last = c
	return receipts, nil
}

// extend has Tessera write lines behind what is in dir, the directory of segment n, and publishes the checkpoint. Without
// lines it publishes what is written. Tessera is open only here, with the lock held: nothing of it works at another time.
func (l *Log) extend(ctx context.Context, dir string, n int, lines [][]byte) error {
	signer, err := l.key.signer(n)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		if err := l.integrate(ctx, dir, signer, lines); err != nil {
			return err
		}
	}
	s := segmentIn(dir, n)
	state, err := readState(dir)
	if err != nil {
		return err
	}
	published, err := s.checkpoint(l.key.trust())
	if err != nil {
		return err
	}
	// The key signs only what, by the files as they are, extends what it has signed before.
	path, err := s.proveExtension(published, state)
	if err != nil {
		return fmt.Errorf("%w: the tree on disk does not extend the published one: %w", ErrRecord, err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), state.N, base64.StdEncoding.EncodeToString(state.Hash[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	if signed, err = l.config.Witness.cosign(ctx, s, published, signed, path, state.N); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, "checkpoint"), signed, 0o644)
}

// integrate has Tessera put lines into bundles and hash tiles, durably.
func (l *Log) integrate(ctx context.Context, dir string, signer note.Signer, lines [][]byte) (err error) {
	// Tessera panics, in a goroutine of its own, where it cannot open its lock.
	if err := os.MkdirAll(filepath.Join(dir, ".state"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"treeState.lock", "publish.lock"} {
		f, err := os.OpenFile(filepath.Join(dir, ".state", name), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("tessera: %v", p)
		}
	}()
	if err := ctx.Err(); err != nil {
		return errors.New("there was no time left")
	}
	// From here on it must be waited for, whatever ctx says: a write that is late may not meet the next one.
	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	driver, err := posix.New(background, posix.Config{Path: dir})
	if err != nil {
		return err
	}
	appender, _, _, err := tessera.NewAppender(background, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(emptySigner{signer}).
		WithCheckpointInterval(never).
		WithCheckpointRepublishInterval(0).
		WithBatching(uint(len(lines)), never).
		WithGarbageCollectionInterval(0))
	if err != nil {
		return err
	}
	futures := make([]tessera.IndexFuture, len(lines))
	for i, line := range lines {
		futures[i] = appender.Add(background, tessera.NewEntry(line))
	}
	for _, f := range futures {
		if _, e := f(); e != nil {
			err = fmt.Errorf("write entries: %w", e)
		}
	}
	return err
}

// An emptySigner lets Tessera begin a log and leaves all else to extend: Tessera publishes in the background, at most ten
// times a second, later if the clock went back, and may still be at it when the lock is let go.
type emptySigner struct{ note.Signer }

func (s emptySigner) Sign(text []byte) ([]byte, error) {
	if size, _, err := parseCheckpoint(string(text), s.Name()); err != nil || size != 0 {
		return nil, errors.New("checkpoints are published elsewhere")
	}
	return s.Signer.Sign(text)
}

// proveExtension proves that the tree, by the segment's tiles, extends the published one.
func (s segment) proveExtension(published Checkpoint, t tlog.Tree) (tlog.TreeProof, error) {
	switch {
	case t.N < published.Size || t.N == published.Size && t.Hash != published.Root:
		return nil, fmt.Errorf("%d entries are not continued by %d: it was shortened, or there are two histories", published.Size, t.N)
	case t.N == published.Size || published.Size == 0:
		return nil, nil
	}
	path, err := tlog.ProveTree(t.N, published.Size, s.authentic(t))
	if err != nil {
		return nil, err
	}
	return path, tlog.CheckTree(path, t.N, t.Hash, published.Size, published.Root)
}

// readState reads how far Tessera has written, which may be beyond what is published.
func readState(dir string) (tlog.Tree, error) {
	text, err := os.ReadFile(filepath.Join(dir, ".state", "treeState"))
	if err != nil {
		return tlog.Tree{}, err
	}
	var state treeState
	if err := json.Unmarshal(text, &state); err != nil || len(state.Root) != tlog.HashSize || state.Size > maxSize {
		return tlog.Tree{}, fmt.Errorf("%w: the writer's state cannot be read", ErrRecord)
	}
	return tlog.Tree{N: int64(state.Size), Hash: tlog.Hash(state.Root)}, nil
}

// treeState is Tessera's file of that name, version 1.
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}
