package casework

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
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
// that the archive names, which proves less: see [ExportReport.Pinned]. It answers every fault that it finds, joined:
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
	v.trustIn(trust)
	v.readChain()
	v.readDecision()
	v.readRecord()
	v.judge()
	v.readRows()
	if err := errors.Join(v.faults...); err != nil {
		return v.report, fmt.Errorf("verify an export: %w", err)
	}
	return v.report, nil
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
}

func (v *verification) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf(format, args...))
}

// open reads the table of contents and the manifest, and checks every file against it.
func (v *verification) open(r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return errors.New("this is not a zip archive, or it was cut")
	}
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
		f := v.files[m.Name]
		if f == nil {
			v.fault("%s is missing", m.Name)
			continue
		}
		if n, digest, err := hashed(f, m.Size); err != nil || n != m.Size || digest != m.SHA256 {
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

// under answers the contents of the files of a folder, by name.
func (v *verification) under(folder string, most int64) (names []string, texts [][]byte) {
	for _, m := range v.report.Manifest.Files {
		if strings.HasPrefix(m.Name, folder+"/") {
			text, err := v.content(m.Name, most)
			if err != nil {
				v.faults = append(v.faults, err)
				continue
			}
			names, texts = append(names, m.Name), append(texts, text)
		}
	}
	return names, texts
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
	_, notes := v.under("register", seal.MaxDocument)
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
	names, acts := v.under("acts", seal.MaxDocument+64<<10)
	for i, act := range acts {
		if _, err := openAct(act, d, v.digest, v.chain); err != nil {
			v.fault("%s: %w", names[i], err)
		}
	}
	v.acts = acts
}

func (v *verification) readRecord() {
	names, texts := v.under("record", 1<<18)
	for i, text := range texts {
		r, err := v.proved(text)
		if err != nil {
			v.fault("%s: %w", names[i], err)
			continue
		}
		v.report.Entries = append(v.report.Entries, r)
	}
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

func (v *verification) readRows() {
	object, err := v.content("rows.json", MaxExport)
	if err != nil {
		v.faults = append(v.faults, err)
		return
	}
	rows, err := ParseRows(object)
	if err != nil {
		v.fault("rows.json: %w", err)
		return
	}
	v.report.Rows = len(rows)
	if len(rows) != v.report.Manifest.Rows {
		v.fault("it holds %d rows, the manifest says %d", len(rows), v.report.Manifest.Rows)
	}
	if table, err := v.content("rows.csv", MaxExport); err != nil {
		v.faults = append(v.faults, err)
	} else {
		var again bytes.Buffer
		if err := SheetOf(rows).CSV(&again); err != nil || !bytes.Equal(again.Bytes(), table) {
			v.fault("rows.csv and rows.json do not hold the same rows")
		}
	}
	if v.decision == nil {
		return
	}
	if r, ok := answered(rows, v.decision, v.digest, v.report.Entries); ok {
		v.report.Answered = r
	} else {
		v.fault("rows.json: by the record, no lookup of this case answered these rows")
	}
}
