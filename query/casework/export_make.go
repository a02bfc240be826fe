package casework

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// An Export is a file that left a case.
type Export struct {
	Case     string
	Path     string // absolute
	Manifest seal.Digest
	Archive  seal.Digest // of the file; zero if its making was interrupted
	Maker    string
	Made     time.Time
	Rows     int

	key string // of its files in the case store
}

// storedExport is an [Export] as the case store keeps it.
type storedExport struct {
	Folder string    `json:"folder"`
	Name   string    `json:"name"`
	Maker  string    `json:"maker"`
	Made   time.Time `json:"made"`
	Rows   int       `json:"rows"`
}

// storedDone is what the case store learns when an export is whole.
type storedDone struct {
	Manifest seal.Digest `json:"manifest"` // zero for an extract of a person's own, which has none
	Archive  seal.Digest `json:"archive"`
}

const exportPrefix = "export-"

// ExportOptions are how a case is exported.
type ExportOptions struct {
	Dir       string       // the folder for the file; it must be there
	Maker     *seal.Signer // an investigator of the decision
	Authority string       // its name, for headings
	Cover     *Page        // a cover letter; nil: none
}

// Export writes rows that a lookup of the case has answered into a signed archive, with all that it takes to check them: see
// export_readme.txt. It refuses when the decision is not active, and when the maker is none of its investigators, or they or its
// requester are in the register no more.
//
// Order: the case store learns where the archive will be, the archive is written beside its name, the record learns the digest of
// its manifest (export.made), the record's proof is added, the archive gets its name. Killed in between, what is there is known
// to [Gate.Exports] and removed with the rest; an archive without its proof does not verify.
func (g *Gate) Export(ctx context.Context, number string, rows []Row, o ExportOptions) (Export, error) {
	e, err := g.export(ctx, number, rows, o)
	if err != nil {
		return Export{}, fmt.Errorf("export a case: %w", err)
	}
	return e, nil
}

func (g *Gate) export(ctx context.Context, number string, rows []Row, o ExportOptions) (Export, error) {
	v, err := g.exportable(ctx, number, o.Maker, rows)
	if err != nil {
		return Export{}, err
	}
	d, maker := v.Decision, o.Maker
	if d.Kind == SubjectAccess || d.Kind == PublicRecord || (d.Kind == Police) != (o.Cover != nil) {
		return Export{}, fmt.Errorf("a decision of the kind %s has a way out of its own", d.Kind)
	}
	now := v.Now.Truncate(time.Second)
	files, err := g.exportFiles(v, rows, o, now)
	if err != nil {
		return Export{}, err
	}

	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return Export{}, err
	}
	p, err := openPlace(dir)
	if err != nil {
		return Export{}, err
	}
	defer p.root.Close()
	m := Manifest{
		Type: typeManifest, Deployment: d.Deployment, Tenant: d.Tenant, Case: number, Kind: d.Kind, Decision: v.Digest, Maker: maker.Name(),
		Made: now, Rows: len(rows), LogKey: g.p.Log.Trust().Key(), Nonce: NewNonce(),
	}
	// The name is known to the store before the file is there, so that a killed process leaves nothing that nobody knows.
	sum := sha256.Sum256([]byte(m.Nonce))
	name := exportName(number, sum)
	key := exportPrefix + hex.EncodeToString(sum[:10])
	record, err := json.Marshal(storedExport{Folder: dir, Name: name, Maker: m.Maker, Made: now, Rows: m.Rows})
	if err != nil {
		return Export{}, err
	}
	if err := g.store.Put(number, key, record); err != nil {
		return Export{}, err
	}
	manifest, archive, err := g.write(ctx, p, name, m, files, maker)
	if err != nil {
		return Export{}, err
	}
	done, err := json.Marshal(storedDone{manifest, archive})
	if err != nil {
		return Export{}, err
	}
	if err := g.store.Put(number, key+"-done", done); err != nil {
		return Export{}, err
	}
	return Export{Case: number, Path: filepath.Join(dir, name), Manifest: manifest, Archive: archive, Maker: m.Maker, Made: now, Rows: m.Rows, key: key}, nil
}

func nameOf(s *seal.Signer) string {
	if s == nil {
		return ""
	}
	return s.Name()
}

func partialName(name string) string { return "." + name + ".partial" }

// write makes the file and answers the digests of its manifest and of itself.
func (g *Gate) write(ctx context.Context, p place, name string, m Manifest, files []archiveFile, maker *seal.Signer) (manifest, file seal.Digest, err error) {
	f, err := p.create(partialName(name))
	if err != nil {
		return manifest, file, err
	}
	defer func() {
		f.Close()
		if err != nil {
			err = errors.Join(err, p.root.Remove(partialName(name)))
		}
	}()
	a := newArchive(f, m.Made)
	if m.Files, err = a.fill(files); err != nil {
		return manifest, file, err
	}
	signed, err := SignManifest(m, maker)
	if err != nil {
		return manifest, file, err
	}
	if _, manifest, err = ReadManifest(signed); err != nil {
		return manifest, file, err
	}
	if _, err = a.add(fileOf(manifestName, signed)); err != nil {
		return manifest, file, err
	}
	receipt, err := g.p.Log.Append(ctx, audit.Entry{
		Kind: audit.ExportMade, Actor: m.Maker, Case: m.Case, Document: manifest.String(),
		Counts: exportCounts(m),
	})
	if err != nil {
		return manifest, file, err
	}
	if _, err = a.add(fileOf(madeName, receipt.Proof.Encode())); err != nil {
		return manifest, file, err
	}
	if err = a.zip.Close(); err != nil {
		return manifest, file, fmt.Errorf("write an export: %w", err)
	}
	if err = f.Sync(); err != nil {
		return manifest, file, fmt.Errorf("write an export: %w", err)
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return manifest, file, fmt.Errorf("write an export: %w", err)
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, f); err != nil {
		return manifest, file, fmt.Errorf("write an export: %w", err)
	}
	return manifest, seal.Digest(sum.Sum(nil)), p.publish(partialName(name), name)
}

func exportCounts(m Manifest) map[string]int64 {
	counts := map[string]int64{"rows": int64(m.Rows), "files": int64(len(m.Files))}
	if m.Kind == Police {
		counts["police"] = 1
	}
	return counts
}

// exportable answers a case whose rows maker may take out now: who might look now too, while the decision is active, and rows
// that a lookup of it has answered. Everybody else is refused, on record.
func (g *Gate) exportable(ctx context.Context, number string, maker *seal.Signer, rows []Row) (*view, error) {
	v, err := g.view(ctx, number)
	if errors.Is(err, ErrNoCase) {
		return nil, g.refuse(ctx, "", number, "", refusedNoCase)
	}
	if err != nil {
		return nil, err
	}
	if p, ok := v.Decision.investigator(nameOf(maker)); !ok || p.Key != maker.Verifier() {
		return nil, g.refuse(ctx, "", number, v.Digest.String(), refusedActor)
	}
	if !v.Decision.mayLook(maker.Name(), v.chain[len(v.chain)-1]) {
		return nil, g.refuse(ctx, "", number, v.Digest.String(), refusedEnrolled)
	}
	if v.State != Active {
		return nil, g.refuse(ctx, maker.Name(), number, v.Digest.String(), refusedState)
	}
	if _, ok := answered(rows, v.Decision, v.Digest, v.record); !ok {
		return nil, errors.New("these rows are not what a lookup of this case has answered, by the record")
	}
	return v, nil
}

// exportFiles are the files of an export but the manifest and its proof.
func (g *Gate) exportFiles(v *view, rows []Row, o ExportOptions, now time.Time) ([]archiveFile, error) {
	checkpoint, err := g.p.Log.Checkpoint()
	if err != nil {
		return nil, err
	}
	page := v.file(o.Authority, now)
	files := []archiveFile{
		fileOf("readme.txt", []byte(exportReadme)), fileOf("decision.note", v.Signed), fileOf("checkpoint.note", checkpoint.Note),
	}
	files = append(files, rowFiles(rows)...)
	size := len(v.Signed) + len(checkpoint.Note)
	document := func(name string, content []byte) {
		size += len(content)
		files = append(files, fileOf(name, content))
	}
	for i, r := range v.chain {
		document(fmt.Sprintf("register/%04d.note", r.Number()), v.notes[i])
	}
	for _, signed := range v.Acts {
		a, err := v.evidence().openAny(signed)
		if err != nil {
			continue // an act that does not count does not go out as one that does
		}
		digest := seal.DigestOf(signed)
		document(fmt.Sprintf("acts/%s-%x.note", actWord(a.Type), digest[:6]), signed)
	}
	for _, r := range v.record {
		if r.Case != v.Decision.Case && !registers(r, v.chain) {
			continue
		}
		proof, err := g.p.Log.Prove(r.Position)
		if err != nil {
			return nil, err
		}
		document(fmt.Sprintf("record/%04d-%09d.proof", r.Segment, r.Index), proof.Encode())
	}
	if size > maxExportDocuments || len(files)+3 > maxExportFiles {
		return nil, errors.New("the case has more documents than an export holds")
	}
	html, err := page.Page().HTML()
	if err != nil {
		return nil, err
	}
	files = append(files, fileOf("decision.html", html))
	if o.Cover != nil {
		if html, err = o.Cover.HTML(); err != nil {
			return nil, err
		}
		files = append(files, fileOf("cover.html", html))
	}
	return files, nil
}

// answered finds the lookup that answered these rows, all of them and in this order: the record has their digest.
func answered(rows []Row, d *Decision, decision seal.Digest, record []audit.Record) (audit.Record, bool) {
	a := answersOf(d, decision, record)
	var line []byte
	for _, row := range rows {
		line = row.AppendJSON(line[:0])
		a.add(line)
	}
	return a.found()
}

// answers are the lookups of a decision that some rows may be the answer of; each row tells more.
type answers []*answer

type answer struct {
	of     audit.Record
	sum    hash.Hash
	digest string
}

func answersOf(d *Decision, decision seal.Digest, record []audit.Record) answers {
	var list answers
	for _, r := range slices.Backward(record) {
		intent, digest, ok := strings.Cut(r.Body, "\n")
		if r.Kind != audit.LookupResult || r.Document != decision.String() || !ok {
			continue
		}
		sum, err := rowsDigest(d, intent)
		if err != nil {
			return nil
		}
		list = append(list, &answer{r, sum, strings.TrimSpace(digest)})
	}
	return list
}

// add adds a row as JSON, without the end of the line.
func (a answers) add(line []byte) {
	for _, one := range a {
		one.sum.Write(line)
		one.sum.Write([]byte{'\n'})
	}
}

func (a answers) found() (audit.Record, bool) {
	for _, one := range a {
		if seal.Digest(one.sum.Sum(nil)).String() == one.digest {
			return one.of, true
		}
	}
	return audit.Record{}, false
}

// registers says whether r records one of the registers in chain.
func registers(r audit.Record, chain []*seal.Register) bool {
	if r.Kind != audit.RegisterChanged {
		return false
	}
	text, err := seal.Unsigned([]byte(r.Body))
	return err == nil && slices.ContainsFunc(chain, func(c *seal.Register) bool { return c.Digest() == seal.DigestOf(text) })
}

// file is what the document for the register says of a case: only acts that one who might, when it was done, has signed.
func (v *view) file(authority string, now time.Time) DecisionFile {
	f := DecisionFile{Authority: authority, Decision: v.Decision, Digest: v.Digest, State: string(v.State), Made: now}
	for _, signed := range v.Acts {
		if a, err := v.evidence().openAny(signed); err == nil {
			f.Acts = append(f.Acts, a)
		}
	}
	slices.SortStableFunc(f.Acts, func(a, b Act) int { return a.At.Compare(b.At) })
	for _, r := range v.record {
		if r.Case == v.Decision.Case {
			f.Record = append(f.Record, r)
		}
	}
	return f
}

// Document is a case as a document for the authority's register, now. It fails with [ErrNoCase] if there is none. It asks nobody
// who they are: see [Gate.Entitled].
func (g *Gate) Document(ctx context.Context, number, authority string) (Page, error) {
	v, err := g.view(ctx, number)
	if err != nil {
		return Page{}, err
	}
	return v.file(authority, v.Now).Page(), nil
}

func actWord(typ string) string {
	switch typ {
	case ActApproval:
		return "approval"
	case ActDenial:
		return "denial"
	case ActRevocation:
		return "revocation"
	case ActNotice:
		return "notice"
	case ActClosing:
		return "closing"
	}
	return "act"
}

// Exports answers the exports of a case that are not removed, oldest first.
func (g *Gate) Exports(number string) ([]Export, error) {
	names, err := g.store.Names(number)
	if err != nil {
		return nil, err
	}
	var list []Export
	for _, name := range names {
		if !strings.HasPrefix(name, exportPrefix) || strings.HasSuffix(name, "-done") || strings.HasSuffix(name, "-removed") || slices.Contains(names, name+"-removed") {
			continue
		}
		text, err := g.store.Get(number, name)
		if err != nil {
			return nil, err
		}
		var s storedExport
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("%w: an export is not on file as it was written", ErrStore)
		}
		e := Export{Case: number, Path: filepath.Join(s.Folder, s.Name), Maker: s.Maker, Made: s.Made, Rows: s.Rows, key: name}
		if done, err := g.store.Get(number, name+"-done"); err == nil {
			var d storedDone
			if err := json.Unmarshal(done, &d); err != nil {
				return nil, fmt.Errorf("%w: an export is not on file as it was written", ErrStore)
			}
			e.Manifest, e.Archive = d.Manifest, d.Archive
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b Export) int { return a.Made.Compare(b.Made) })
	return list, nil
}

// What became of an export that was to be removed.
const (
	ExportRemoved = "removed"
	ExportAltered = "altered"      // removed, but it was not the file that had been made
	ExportMissing = "missing"      // it is not where it was put: somebody moved or removed it, and must say which
	ExportOutOf   = "out_of_reach" // its folder can't be opened, or something that is no plain file has its name: remove it by hand
)

// An ExportRemoval is what became of one export.
type ExportRemoval struct {
	Export
	Outcome string
}

// RemoveExports removes the exports of every case that ended at least keep ago, and answers what became of each. What could not
// be removed is answered again the next time, and is on no record. Of the rest the record is told first (export.removed): case,
// digests of manifest and file, and the outcome, as a count; a purge's certificate is about rows, and names no exports. A case ends
// when it is closed, denied or revoked. One case that can't be judged is in the error, and hides no other.
func (g *Gate) RemoveExports(ctx context.Context, keep time.Duration) ([]ExportRemoval, error) {
	cases, err := g.store.Cases()
	var faults []error
	if err != nil {
		faults = append(faults, err)
	}
	var done []ExportRemoval
	for _, c := range cases {
		list, err := g.Exports(c.Decision.Case)
		if err == nil && len(list) > 0 {
			var v *view
			if v, err = g.judge(ctx, c); err == nil && v.over(keep) {
				for _, e := range list {
					r, fault := g.removeExport(ctx, e)
					err = errors.Join(err, fault)
					if fault == nil {
						done = append(done, r)
					}
				}
			}
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	of, err := g.removeRequestExports(ctx, keep)
	done, faults = append(done, of...), append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return done, fmt.Errorf("remove exports: %w", err)
	}
	return done, nil
}

// over says whether the case ended at least keep ago, by an act that is proved and on record.
func (v *view) over(keep time.Duration) bool {
	return v.ended() && !v.Ended.IsZero() && !v.Now.Before(v.Ended.Add(keep))
}

func (g *Gate) removeExport(ctx context.Context, e Export) (ExportRemoval, error) {
	r := ExportRemoval{e, unlinkExport(e, false)}
	if r.Outcome == ExportOutOf {
		return r, nil
	}
	entry := audit.Entry{Kind: audit.ExportRemoved, Actor: "gate", Case: e.Case, Counts: map[string]int64{"exports": 1, r.Outcome: 1}}
	if !e.Manifest.IsZero() {
		entry.Document = e.Manifest.String()
	}
	if !e.Archive.IsZero() {
		entry.Body = "file " + e.Archive.String() + "\n"
	}
	if _, err := g.p.Log.Append(ctx, entry); err != nil {
		return ExportRemoval{}, err
	}
	if r.Outcome = unlinkExport(e, true); r.Outcome == ExportOutOf {
		return r, nil
	}
	err := g.store.Put(e.Case, e.key+"-removed", []byte("{}"))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return r, err
}

// unlinkExport answers what becomes of an export, and lets it become that.
func unlinkExport(e Export, really bool) string {
	p, err := openPlace(filepath.Dir(e.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return ExportMissing
	}
	if err != nil {
		return ExportOutOf
	}
	defer p.root.Close()
	name := filepath.Base(e.Path)
	remove := func(name string) error {
		if !really {
			return nil
		}
		return p.root.Remove(name)
	}
	if err := remove(partialName(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ExportOutOf
	}
	digest, err := p.digestOfFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if e.Archive.IsZero() {
			return ExportRemoved // it never got its name
		}
		return ExportMissing
	}
	if err != nil || remove(name) != nil {
		return ExportOutOf
	}
	if !e.Archive.IsZero() && digest != e.Archive {
		return ExportAltered
	}
	return ExportRemoved
}
