package casework

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// An ExportReport is what the check of an export found out. It names no subject.
type ExportReport struct {
	Manifest  Manifest
	Digest    seal.Digest // of the manifest
	Pinned    bool        // the record's key was known beforehand, not taken from the archive
	Approvals []ApprovedBy
	Lookups   []time.Time    // when lookups were begun, all of them while the decision was active
	Entries   []audit.Record // what the record holds, by the proofs in the archive
	Recorded  audit.Record   // that the archive was made
	Answered  audit.Record   // the lookup's result that has the digest of the rows
	Rows      int
}

// VerifyExport checks an archive with nothing but itself and the key of the record, which trust pins; a zero trust takes the key
// that the archive names, which proves less: see [ExportReport.Pinned]. It goes in the order below, answers every fault of one step, joined,
// and does not go on after faults: rows are not read before it is certain that they are what somebody signed for. Whatever the
// archive holds, it needs no more memory than for a few of the longest rows, and no more than some seconds before it knows who made it:
//
//   - files: exactly those of the manifest, each of its size and digest, none twice, none that would leave its folder;
//   - the manifest is signed by an investigator of the decision, and the record holds its digest (export.made);
//   - the chain of registers holds, and the record holds each of them;
//   - the decision is signed by its requester, the acts by those who may;
//   - by the proofs, the decision was active at each lookup that was begun, and when the archive was made;
//   - rows.csv and rows.json hold the same rows, and the record holds their digest as the answer of a lookup of this decision.
func VerifyExport(r io.ReaderAt, size int64, trust audit.Trust) (ExportReport, error) {
	v := verification{}
	if err := v.open(r, size); err != nil {
		return ExportReport{}, fmt.Errorf("verify an export: %w", err)
	}
	for _, step := range []func(){
		v.compareSmall,
		func() { v.trustIn(trust); v.readChain(); v.readDecision(); v.readRecord(); v.judge() },
		v.readRows,
	} {
		if len(v.faults) == 0 {
			step()
		}
	}
	if err := errors.Join(v.faults...); err != nil {
		return v.report, fmt.Errorf("verify an export: %w", err)
	}
	return v.report, nil
}

const (
	// maxDirectory is the most bytes that are read to know which files an archive has.
	maxDirectory = 2 << 20
	// maxSmallFiles is the most bytes that all files but the rows have together.
	maxSmallFiles = 64 << 20
)

// A budget reads so many bytes, and then nothing: what an archive's table of contents says costs memory before anybody has seen it.
type budget struct {
	r    io.ReaderAt
	left int64 // below 0: without end
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left < 0 {
		return b.r.ReadAt(p, off)
	}
	if b.left -= int64(len(p)); b.left < 0 {
		b.left = 0
		return 0, errors.New("its table of contents is too long")
	}
	return b.r.ReadAt(p, off)
}

type verification struct {
	report ExportReport
	signed []byte // the manifest
	files  map[string]*zip.File
	faults []error

	trust    audit.Trust
	chain    []*seal.Register
	decision *Decision
	digest   seal.Digest
	acts     [][]byte

	documents int64 // bytes of those that were read
}

func (v *verification) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf(format, args...))
}

// open reads the table of contents and the manifest, and checks every file against it.
func (v *verification) open(r io.ReaderAt, size int64) error {
	contents := &budget{r, maxDirectory}
	z, err := zip.NewReader(contents, size)
	if err != nil {
		return errors.New("this is not a zip archive, or it was cut, or it has a longer table of contents than an export has")
	}
	contents.left = -1
	if len(z.File) > maxExportFiles+2 {
		return errors.New("it holds too many files")
	}
	if z.Comment != "" {
		v.fault("the archive has a comment, which tillsyn does not write")
	}
	v.files = map[string]*zip.File{}
	for i, f := range z.File {
		if !archiveNameForm.MatchString(f.Name) || !f.Mode().IsRegular() {
			v.fault("file %d of the archive has a name or a form that an export does not have", i+1)
			continue
		}
		if f.Comment != "" || len(f.Extra) > 9 || f.UncompressedSize64 > MaxExport {
			v.fault("%s has something beside its content, or more than an export holds", f.Name)
		}
		if v.files[f.Name] != nil {
			v.fault("%s is there twice", f.Name)
		}
		v.files[f.Name] = f
	}
	if v.signed, err = v.content(manifestName, seal.MaxDocument+64<<10); err != nil {
		return err
	}
	if v.report.Manifest, v.report.Digest, err = ReadManifest(v.signed); err != nil {
		return err
	}
	for _, m := range v.report.Manifest.Files {
		switch f := v.files[m.Name]; {
		case f == nil:
			v.fault("%s is missing", m.Name)
		case f.UncompressedSize64 != uint64(m.Size):
			v.fault("%s is not what the manifest says: it was changed", m.Name)
		}
	}
	for name := range v.files {
		if name != manifestName && name != madeName && !slices.ContainsFunc(v.report.Manifest.Files, func(m ManifestFile) bool { return m.Name == name }) {
			v.fault("%s is not in the manifest", name)
		}
	}
	return nil
}

// compareSmall compares everything but the rows with the manifest.
func (v *verification) compareSmall() {
	var total int64
	for _, m := range v.report.Manifest.Files {
		if isRows(m.Name) {
			continue
		}
		if total += m.Size; total > maxSmallFiles {
			v.fault("it holds more beside the rows than an export holds")
			return
		}
		if n, digest, err := hashed(v.files[m.Name], m.Size); err != nil || n != m.Size || digest != m.SHA256 {
			v.fault("%s is not what the manifest says: it was changed", m.Name)
		}
	}
}

func isRows(name string) bool { return name == "rows.json" || name == "rows.csv" }

// hashed reads at most most bytes and one: what unpacks to more than the manifest says is refused before it fills anything.
func hashed(f *zip.File, most int64) (int64, seal.Digest, error) {
	r, err := f.Open()
	if err != nil {
		return 0, seal.Digest{}, err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, most+1))
	return n, seal.Digest(sum.Sum(nil)), err
}

func (v *verification) content(name string, most int64) ([]byte, error) {
	f := v.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s can't be read", name)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil || int64(len(text)) > most {
		return nil, fmt.Errorf("%s can't be read, or is too long", name)
	}
	return text, nil
}

// under calls each with the contents of the files of a folder, in the order of their names.
func (v *verification) under(folder string, most int64, each func(name string, text []byte)) {
	for _, m := range v.report.Manifest.Files {
		if !strings.HasPrefix(m.Name, folder+"/") {
			continue
		}
		if v.documents += m.Size; v.documents > maxExportDocuments {
			v.fault("it has more documents than an export holds")
			return
		}
		text, err := v.content(m.Name, most)
		if err != nil {
			v.faults = append(v.faults, err)
			continue
		}
		each(m.Name, text)
	}
}

func (v *verification) trustIn(pinned audit.Trust) {
	own, err := audit.NewTrust(v.report.Manifest.LogKey)
	if err != nil { // the manifest was validated
		v.fault("the key of the record can't be read")
		return
	}
	v.trust, v.report.Pinned = own, pinned.Key() != ""
	if !v.report.Pinned {
		return
	}
	if v.trust = pinned; pinned.Key() != own.Key() {
		v.fault("it names another record's key than the one that is trusted")
	}
	if v.report.Manifest.Deployment != pinned.Deployment() {
		v.fault("it is of another deployment than the record that is trusted")
	}
}

func (v *verification) readChain() {
	var notes [][]byte
	v.under("register", seal.MaxDocument, func(_ string, text []byte) { notes = append(notes, text) })
	chain, err := seal.OpenChain(notes)
	if err != nil || len(chain) == 0 {
		v.fault("the registers of holders: %w", errors.Join(err, emptyChain(chain)))
		return
	}
	if r := chain[len(chain)-1]; r.Tenant() != v.report.Manifest.Tenant || r.Deployment() != v.report.Manifest.Deployment {
		v.fault("the registers of holders are of another tenant or deployment")
	}
	v.chain = chain
}

func emptyChain(chain []*seal.Register) error {
	if len(chain) == 0 {
		return errors.New("there is none that can be read")
	}
	return nil
}

func (v *verification) readDecision() {
	signed, err := v.content("decision.note", seal.MaxDocument+64<<10)
	if err == nil {
		v.decision, v.digest, err = OpenDecision(signed)
	}
	if err != nil {
		v.fault("decision.note: %w", err)
		return
	}
	d, m := v.decision, v.report.Manifest
	if v.digest != m.Decision || d.Case != m.Case || d.Tenant != m.Tenant || d.Deployment != m.Deployment || d.Kind != m.Kind {
		v.fault("the manifest is of another decision")
	}
	if maker, ok := d.investigator(m.Maker); !ok {
		v.fault("who made it is none of the decision's investigators")
	} else if _, _, err := seal.Open(v.signed, maker.Key); err != nil {
		v.fault("manifest.note: %w", err)
	}
	v.under("acts", seal.MaxDocument+64<<10, func(name string, act []byte) {
		if _, err := (Evidence{Decision: d, Digest: v.digest, Chain: v.chain}).openAny(act); err != nil {
			v.fault("%s: %w", name, err)
		}
		v.acts = append(v.acts, act)
	})
}

func (v *verification) readRecord() {
	v.under("record", 1<<18, func(name string, text []byte) {
		r, err := v.proved(text)
		if err != nil {
			v.fault("%s: %w", name, err)
			return
		}
		v.report.Entries = append(v.report.Entries, r)
	})
	slices.SortStableFunc(v.report.Entries, func(a, b audit.Record) int {
		if a.Segment != b.Segment {
			return a.Segment - b.Segment
		}
		return int(a.Index - b.Index)
	})
	checkpoint, err := v.content("checkpoint.note", 1<<16)
	if err == nil {
		_, err = v.trust.Open(checkpoint)
	}
	if err != nil {
		v.fault("checkpoint.note: %w", err)
	}
	made, err := v.content(madeName, 1<<18)
	if err == nil {
		v.report.Recorded, err = v.proved(made)
	}
	if err != nil {
		v.fault("%s: %w", madeName, err)
		return
	}
	if r := v.report.Recorded; r.Kind != audit.ExportMade || r.Document != v.report.Digest.String() || r.Case != v.report.Manifest.Case || r.Actor != v.report.Manifest.Maker {
		v.fault("%s is of another export: the record does not hold this one", madeName)
	}
}

func (v *verification) proved(text []byte) (audit.Record, error) {
	p, err := audit.ParseProof(text)
	if err != nil {
		return audit.Record{}, err
	}
	return p.Check(v.trust)
}

// judge lets the state machine say, entry by entry, whether what was done was allowed when it was done.
func (v *verification) judge() {
	if v.decision == nil || v.chain == nil {
		return
	}
	for _, r := range v.chain {
		if !slices.ContainsFunc(v.report.Entries, func(e audit.Record) bool { return registers(e, []*seal.Register{r}) }) {
			v.fault("the record does not hold register %d, by the proofs that are here", r.Number())
		}
	}
	before := func(n int, at time.Time) Status {
		return StateOf(Evidence{Decision: v.decision, Digest: v.digest, Acts: v.acts, Record: v.report.Entries[:n], Chain: v.chain}, at)
	}
	for i, e := range v.report.Entries {
		if e.Kind != audit.LookupIntent || e.Document != v.digest.String() {
			continue
		}
		if s := before(i, e.At); s.State != Active || s.Left == 0 {
			v.fault("lookup %d was begun when the decision was %s", len(v.report.Lookups)+1, s.State)
		}
		v.report.Lookups = append(v.report.Lookups, e.At)
	}
	s := before(len(v.report.Entries), v.report.Manifest.Made)
	if s.State != Active {
		v.fault("when it was made the decision was %s: %s", s.State, s.Why)
	}
	if len(v.report.Lookups) == 0 {
		v.fault("the record holds no lookup that the rows could come from, by the proofs that are here")
	}
	v.report.Approvals = s.Approvals
}

// readRows reads the rows twice, a row at a time: what they are, and whether the table has the same.
func (v *verification) readRows() {
	columns := newLayout()
	answers := answersOf(v.decision, v.digest, v.report.Entries)
	object, err := v.stream("rows.json")
	if err == nil {
		err = scanRows(object, func(r Row, line []byte) error {
			columns.note(r)
			answers.add(line)
			return nil
		})
	}
	if err = errors.Join(err, object.close(err == nil)); err != nil {
		v.fault("rows.json: %w", err)
		return
	}
	v.report.Rows = columns.rows
	if columns.rows != v.report.Manifest.Rows {
		v.fault("it holds %d rows, the manifest says %d", columns.rows, v.report.Manifest.Rows)
	}
	if r, ok := answers.found(); ok {
		v.report.Answered = r
	} else {
		v.fault("rows.json: by the record, no lookup of this case answered these rows")
	}
	v.compareTable(columns.columns())
}

// compareTable writes the table anew and compares it with the one that is there.
func (v *verification) compareTable(columns []Column) {
	object, err := v.stream("rows.json")
	if err != nil {
		v.fault("rows.json: %w", err)
		return
	}
	table, err := v.stream("rows.csv")
	if err != nil {
		v.fault("rows.csv: %w", errors.Join(err, object.close(false)))
		return
	}
	same := &comparing{r: table}
	sheet := newCSVWriter(same, columns)
	err = scanRows(object, func(r Row, _ []byte) error {
		sheet.line(valuesOf(r, columns))
		return same.err
	})
	if err == nil {
		err = sheet.flush()
	}
	if _, end := io.ReadFull(table, make([]byte, 1)); err != nil || !errors.Is(end, io.EOF) {
		err = errors.New("rows.csv and rows.json do not hold the same rows")
	}
	if fault := errors.Join(object.close(err == nil), table.close(err == nil)); fault != nil {
		v.fault("rows.csv: %w", fault)
	}
	if err != nil {
		v.faults = append(v.faults, err)
	}
}

// comparing is written what is to be read from r.
type comparing struct {
	r   io.Reader
	b   [4096]byte
	err error
}

func (c *comparing) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && c.err == nil; {
		part := rest[:min(len(rest), len(c.b))]
		n, err := io.ReadFull(c.r, c.b[:len(part)])
		if err != nil || !bytes.Equal(c.b[:n], part) {
			c.err = errors.New("it is another")
		}
		rest = rest[len(part):]
	}
	if c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// A stream is a file of the archive that is read once, and compared with the manifest at its end.
type stream struct {
	io.Reader
	file io.ReadCloser
	of   ManifestFile
	sum  hash.Hash
	n    *counting
}

func (v *verification) stream(name string) (*stream, error) {
	s := &stream{sum: sha256.New()}
	i := slices.IndexFunc(v.report.Manifest.Files, func(m ManifestFile) bool { return m.Name == name })
	if i < 0 {
		return s, errors.New("the manifest does not name it")
	}
	s.of = v.report.Manifest.Files[i]
	var err error
	if s.file, err = v.files[name].Open(); err != nil {
		return s, errors.New("it can't be read")
	}
	s.n = &counting{w: s.sum}
	s.Reader = io.TeeReader(io.LimitReader(s.file, s.of.Size+1), s.n)
	return s, nil
}

// close ends s; if it was read to its end, it must be what the manifest says.
func (s *stream) close(whole bool) error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if err == nil && whole && (s.n.n != s.of.Size || seal.Digest(s.sum.Sum(nil)) != s.of.SHA256) {
		err = errors.New("it is not what the manifest says: it was changed")
	}
	return err
}
