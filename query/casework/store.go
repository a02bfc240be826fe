package casework

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/gofrs/flock"

	"tillsyn/internal/audit"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
)

// Config is where cases are kept.
type Config struct {
	Dir         string        `yaml:"dir"`          // of the case store; made at the first use, mode 0700
	LockTimeout time.Duration `yaml:"lock_timeout"` // how long to wait for another process
	MaxRows     int           `yaml:"max_rows"`     // that one lookup may answer; more is an error, not a cut
	Union       []string      `yaml:"union"`        // populations whose decisions must name a union to tell: staff and unknown at least
}

// DefaultConfig keeps cases under var.
func DefaultConfig() Config {
	return Config{Dir: "var/cases", LockTimeout: 10 * time.Second, MaxRows: 1_000_000, Union: []string{"staff", "unknown"}}
}

// Validate answers every fault of c, joined, or nil. It opens nothing.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("dir: is missing"))
	}
	if c.LockTimeout < 100*time.Millisecond || c.LockTimeout > 10*time.Minute {
		faults = append(faults, fmt.Errorf("lock_timeout: %v is not between 100ms and 10m", c.LockTimeout))
	}
	if c.MaxRows < 1 || c.MaxRows > 100_000_000 {
		faults = append(faults, fmt.Errorf("max_rows: %d is not between 1 and 100000000", c.MaxRows))
	}
	for _, p := range c.Union {
		if !slices.Contains(Populations(), p) {
			faults = append(faults, fmt.Errorf("union: there is a name that is not one of %s", strings.Join(Populations(), ", ")))
		}
	}
	for _, p := range Populations() {
		if !slices.Contains(Unionless(), p) && !slices.Contains(c.Union, p) {
			faults = append(faults, fmt.Errorf("union: %s is missing, which no setting can change", p))
		}
	}
	return errors.Join(faults...)
}

// maxFile is the most bytes of a file of the store.
const maxFile = 64 << 20

var (
	// ErrNoCase is when there is no such case.
	ErrNoCase = errors.New("there is no such case")
	// ErrCaseTaken is when another decision, or a request for public records, has the case number.
	ErrCaseTaken = errors.New("another decision, or a request for records, has this case number: a case that goes on needs a new one")
	// ErrStore is when a file of the case store can't be read, or is not what was written.
	ErrStore = errors.New("the case store is damaged")

	fileForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)
)

// A Store keeps the documents of cases, each a file encrypted to the gate. Files are added, never changed. Several processes may
// use one directory.
type Store struct {
	dir        string
	timeout    time.Duration
	identities []age.Identity
	recipient  age.Recipient
}

// NewStore makes a store that opens files with any of the gate's age identities and encrypts new ones to its recipient, as text.
// It opens nothing.
func NewStore(c Config, identities []age.Identity, recipient string) (*Store, error) {
	if len(identities) == 0 {
		return nil, errors.New("make a case store: the gate's age identities are missing")
	}
	s := &Store{dir: c.Dir, timeout: c.LockTimeout, identities: identities}
	list, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil || len(list) != 1 {
		return nil, errors.New("make a case store: the gate's age recipient can't be read")
	}
	s.recipient = list[0]
	return s, nil
}

// Lock takes the lock of the store over all processes and goroutines, and answers what lets it go. It can't be taken twice.
func (s *Store) Lock(ctx context.Context) (unlock func() error, err error) {
	f, err := s.lockFile("lock")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if ok, err := f.TryLockContext(ctx, 2*time.Millisecond); err != nil || !ok {
		return nil, fmt.Errorf("lock the case store: another process holds it: %w", errors.Join(err, f.Close()))
	}
	return f.Unlock, nil
}

// running says that a lookup runs, until done is called or the process ends.
func (s *Store) running(ctx context.Context) (done func() error, err error) {
	f, err := s.lockFile("running")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if ok, err := f.TryRLockContext(ctx, 2*time.Millisecond); err != nil || !ok {
		return nil, fmt.Errorf("lock the case store: another process recovers it: %w", errors.Join(err, f.Close()))
	}
	return f.Unlock, nil
}

// idle calls do if no lookup runs in any process, and keeps one from beginning meanwhile. It answers whether it did.
func (s *Store) idle(do func() error) (bool, error) {
	f, err := s.lockFile("running")
	if err != nil {
		return false, err
	}
	ok, err := f.TryLock()
	if err != nil || !ok {
		return false, errors.Join(err, f.Close())
	}
	return true, errors.Join(do(), f.Unlock())
}

func (s *Store) lockFile(name string) (*flock.Flock, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock the case store: %w", err)
	}
	return flock.New(filepath.Join(s.dir, name), flock.SetPermissions(0o600)), nil
}

// folder is where the files of a case are: its name is a hash, so that no number can be a path.
func (s *Store) folder(number string) string {
	sum := sha256.Sum256([]byte("tillsyn case\x00" + number))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16]))
}

// Put adds a file to a case. It fails with [fs.ErrExist] if there is one of that name, a word of a-z, 0-9 and hyphens.
func (s *Store) Put(number, name string, content []byte) error {
	if err := errors.Join(checkCase(number), checkFile(name)); err != nil {
		return fmt.Errorf("write to the case store: %w", err)
	}
	if len(content) > maxFile {
		return fmt.Errorf("write to the case store: more than %d bytes", maxFile)
	}
	folder := s.folder(number)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("write to the case store: %w", err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, s.recipient)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = durable.Create(filepath.Join(folder, name+".age"), sealed.Bytes(), 0o600)
	}
	if err == nil {
		err = durable.SyncDirectory(s.dir)
	}
	if err != nil {
		return fmt.Errorf("write to the case store: %w", err)
	}
	return nil
}

// Get answers a file of a case, or [fs.ErrNotExist].
func (s *Store) Get(number, name string) ([]byte, error) {
	if err := errors.Join(checkCase(number), checkFile(name)); err != nil {
		return nil, fmt.Errorf("read the case store: %w", err)
	}
	return s.read(filepath.Join(s.folder(number), name+".age"))
}

// Names answers the names of the files of a case, sorted; none if there is no such case.
func (s *Store) Names(number string) ([]string, error) {
	if err := checkCase(number); err != nil {
		return nil, fmt.Errorf("read the case store: %w", err)
	}
	list, err := os.ReadDir(s.folder(number))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the case store: %w", err)
	}
	var names []string
	for _, f := range list {
		if name, ok := strings.CutSuffix(f.Name(), ".age"); ok && fileForm.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func checkFile(name string) error {
	if !fileForm.MatchString(name) {
		return errors.New("a file's name is not a word of a-z, 0-9 and hyphens")
	}
	return nil
}

func (s *Store) read(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read the case store: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > 2*maxFile {
		return nil, fmt.Errorf("%w: %s is not a file that was written here", ErrStore, filepath.Base(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the case store: %w", err)
	}
	defer f.Close()
	r, err := age.Decrypt(f, s.identities...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not open with the gate's identity", ErrStore, filepath.Base(path))
	}
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil || len(content) > maxFile {
		return nil, fmt.Errorf("%w: %s was altered or cut", ErrStore, filepath.Base(path))
	}
	return content, nil
}

// A Case is a decision with its acts, as the store holds them.
type Case struct {
	Decision *Decision
	Digest   seal.Digest
	Signed   []byte   // the decision as its requester signed it
	Acts     [][]byte // signed

	handovers map[seal.Digest]seal.Handover // by the digest of the act
}

const decisionFile = "decision"

// Case reads a case. It fails with [ErrNoCase] if there is none.
func (s *Store) Case(number string) (*Case, error) {
	if checkCase(number) != nil {
		return nil, ErrNoCase
	}
	signed, err := s.Get(number, decisionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCase
	}
	if err != nil {
		return nil, err
	}
	c := &Case{Signed: signed, handovers: map[seal.Digest]seal.Handover{}}
	if c.Decision, c.Digest, err = OpenDecision(signed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if c.Decision.Case != number { // somebody copied one case over another
		return nil, fmt.Errorf("%w: a case stands under another's number", ErrStore)
	}
	return c, s.acts(c)
}

func (s *Store) acts(c *Case) error {
	names, err := s.Names(c.Decision.Case)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "act-") {
			continue
		}
		act, err := s.Get(c.Decision.Case, name)
		if err != nil {
			return err
		}
		c.Acts = append(c.Acts, act)
		if !slices.Contains(names, sharesFile(act)) {
			continue
		}
		text, err := s.Get(c.Decision.Case, sharesFile(act))
		if err != nil {
			return err
		}
		var h seal.Handover
		if err := json.Unmarshal(text, &h); err != nil {
			return fmt.Errorf("%w: %s is not what was handed over", ErrStore, sharesFile(act))
		}
		c.handovers[seal.DigestOf(act)] = h
	}
	return nil
}

const sharesPrefix = "shares-"

func actFile(act []byte) string {
	digest := seal.DigestOf(act)
	return "act-" + hex.EncodeToString(digest[:16])
}

// sharesFile names what was handed over with an act: a file of its own, since it goes when the decision ends, and the act stays.
func sharesFile(act []byte) string { return sharesPrefix + strings.TrimPrefix(actFile(act), "act-") }

// forgetShares removes everything that was handed over for a case.
func (s *Store) forgetShares(number string) error {
	names, err := s.Names(number)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, sharesPrefix) {
			if err := s.remove(number, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// free fails with [ErrCaseTaken] if a number is that of another document than the one with this digest: of a decision or a request
// for records, in the store or on record. A number is one thing, even after somebody emptied the store. It is asked under the lock.
func (s *Store) free(record []audit.Record, number string, document seal.Digest) error {
	for _, r := range record {
		if (r.Kind == audit.DecisionRequested || r.Kind == audit.RecordsRequested) && r.Case == number && r.Document != document.String() {
			return ErrCaseTaken
		}
	}
	for _, name := range []string{decisionFile, recordsRequestFile} {
		signed, err := s.Get(number, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if text, err := seal.Unsigned(signed); err != nil || seal.DigestOf(text) != document {
			return ErrCaseTaken
		}
	}
	return nil
}

// open files a decision. Filing the same again changes nothing.
func (s *Store) open(d *Decision, signed []byte) error {
	err := s.Put(d.Case, decisionFile, signed)
	if errors.Is(err, fs.ErrExist) {
		before, fault := s.Get(d.Case, decisionFile)
		if fault != nil {
			return fault
		}
		if !bytes.Equal(before, signed) {
			return ErrCaseTaken
		}
		return nil
	}
	return err
}

// file files an act, with what is handed over by it. Filing the same again changes nothing: its name is its digest.
func (s *Store) file(number string, act []byte, h *seal.Handover) error {
	if h != nil { // first: an act counts with its shares or not at all
		text, err := json.Marshal(h)
		if err != nil {
			return fmt.Errorf("write to the case store: %w", err)
		}
		if err := s.Put(number, sharesFile(act), text); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.Put(number, actFile(act), act); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Cases reads all cases, by number. One that can't be read is an error in itself, and hides no other.
func (s *Store) Cases() ([]*Case, error) {
	var all []*Case
	err := s.each(decisionFile, func(signed []byte) error {
		d, _, err := OpenDecision(signed)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		c, err := s.Case(d.Case)
		if err == nil {
			all = append(all, c)
		}
		return err
	})
	slices.SortFunc(all, func(a, b *Case) int { return strings.Compare(a.Decision.Case, b.Decision.Case) })
	return all, err
}

// requests are the numbers of all requests for records, sorted. One that can't be read is in the error, and hides no other.
func (s *Store) requests() ([]string, error) {
	var numbers []string
	err := s.each(recordsRequestFile, func(signed []byte) error {
		r, _, err := openRecordsRequest(signed)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		numbers = append(numbers, r.Case)
		return nil
	})
	slices.Sort(numbers)
	return numbers, err
}

// each reads the file of that name of every number that has one. What fails for one is in the error and stops no other.
func (s *Store) each(file string, read func(signed []byte) error) error {
	folders, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the case store: %w", err)
	}
	var faults []error
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		signed, err := s.read(filepath.Join(s.dir, f.Name(), file+".age"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = read(signed)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
