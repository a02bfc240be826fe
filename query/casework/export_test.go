package casework

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A desk is a town with a case store and a record on disk, and a case that was decided.
type desk struct {
	*town
	*story
	now  time.Time
	gate *Gate
	log  *audit.Log
	dir  string
}

// openDesk tells the story of a case up to its first lookup.
func openDesk(t testing.TB, change func(*Decision)) *desk {
	t.Helper()
	k := &desk{town: newTown(t), now: noon(), dir: t.TempDir()}
	ac := audit.DefaultConfig()
	ac.Silence = 100 * 365 * 24 * time.Hour // these stories skip years
	ac.Directory, ac.Key, ac.Deployment = filepath.Join(k.dir, "audit"), filepath.Join(k.dir, "audit.key"), deployment
	k.log = get(audit.Open(t.Context(), ac, func() time.Time { return k.now }))
	t.Cleanup(func() { k.log.Close() })
	c := DefaultConfig()
	c.Dir = filepath.Join(k.dir, "cases")
	k.gate = get(NewGate(Parts{
		Config: c, Deployment: deployment, Keys: []seal.PrivateKey{k.town.gate}, Identities: []age.Identity{k.identity}, Recipient: k.identity.Recipient().String(),
		Lookup: seal.NewLookupKey(seal.DayOf(noon()) - 100), Registers: func(string) ([][]byte, error) { return k.notes, nil }, Log: k.log, Now: func() time.Time { return k.now },
	}))
	k.append(audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Document: k.chain[0].Digest().String(), Body: string(k.notes[0])})
	k.story = newStory(k.town, change)
	d := k.Decision
	if err := k.gate.store.open(d, get(SignDecision(d, k.signer(d.Requester.ID)))); err != nil {
		t.Fatal(err)
	}
	k.act(audit.DecisionRequested, d.Requester.ID, "")
	return k
}

func (k *desk) append(e audit.Entry) audit.Receipt {
	k.town.t.Helper()
	r, err := k.log.Append(context.Background(), e)
	if err != nil {
		k.town.t.Fatal(err)
	}
	return r
}

func (k *desk) act(kind audit.Kind, actor, body string) {
	k.append(audit.Entry{Kind: kind, Actor: actor, Case: k.Decision.Case, Document: k.Digest.String(), Body: body})
}

func (k *desk) fileAct(signed []byte) []byte {
	k.town.t.Helper()
	if err := k.gate.store.file(k.Decision.Case, signed, nil); err != nil {
		k.town.t.Fatal(err)
	}
	return signed
}

func (k *desk) approved() *desk {
	for _, id := range []string{"manager-1", "hr-1", "security-1"} {
		k.act(audit.DecisionApproved, id, string(k.fileAct(k.approval(id, nil))))
	}
	return k
}

// looked is a lookup that answered these rows.
func (k *desk) looked(rows []Row) *desk {
	intent := seal.DigestOf([]byte("lookup")).String()
	k.act(audit.LookupIntent, "utredare", intent)
	sum := get(rowsDigest(k.Decision, intent))
	for _, row := range rows {
		sum.Write(append(row.AppendJSON(nil), '\n'))
	}
	k.act(audit.LookupResult, "utredare", intent+"\n"+seal.Digest(sum.Sum(nil)).String())
	return k
}

func (k *desk) close() {
	a := NewAct(ActClosing, k.Decision, k.Digest, "utredare", k.now)
	a.Result = "Inget bekräftades."
	k.act(audit.DecisionClosed, "utredare", seal.DigestOf(k.fileAct(get(SignAct(a, k.signer("utredare"))))).String())
}

func (k *desk) folder() string {
	dir := filepath.Join(k.dir, "exports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		k.town.t.Fatal(err)
	}
	return dir
}

func (k *desk) export(rows []Row) Export {
	k.town.t.Helper()
	e, err := k.gate.Export(context.Background(), k.Decision.Case, rows, k.options("utredare"))
	if err != nil {
		k.town.t.Fatal(err)
	}
	return e
}

func (k *desk) options(maker string) ExportOptions {
	return ExportOptions{Dir: k.folder(), Maker: k.signer(maker), Authority: "Norrbo kommun"}
}

func someRows() []Row {
	var rows []Row
	for _, v := range hostile() {
		rows = append(rows, Row{{"@timestamp", "2026-11-18T10:00:00.000Z"}, {"url.path", textOf([]byte(v[:min(len(v), 3000)]))}})
	}
	return rows
}

func verifyBytes(file []byte, trust audit.Trust) (ExportReport, error) {
	return VerifyExport(bytes.NewReader(file), int64(len(file)), trust)
}

func contents(t testing.TB, file []byte) map[string][]byte {
	t.Helper()
	z := get(zip.NewReader(bytes.NewReader(file), int64(len(file))))
	all := map[string][]byte{}
	for _, f := range z.File {
		all[f.Name] = get(io.ReadAll(get(f.Open())))
	}
	return all
}

func TestExportVerifiesOffline(t *testing.T) {
	k := openDesk(t, nil).approved().looked(someRows())
	rows := someRows()
	e := k.export(rows)
	info := get(os.Stat(e.Path))
	if info.Mode() != 0o600 || filepath.Dir(e.Path) != k.folder() {
		t.Errorf("%s is of mode %s", e.Path, info.Mode())
	}
	if list := get(os.ReadDir(k.folder())); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
	file := get(os.ReadFile(e.Path))
	r, err := verifyBytes(file, k.log.Trust())
	if err != nil {
		t.Fatal(err)
	}
	if !r.Pinned || len(r.Approvals) != 3 || len(r.Lookups) != 1 || r.Rows != len(rows) || r.Digest != e.Manifest || r.Recorded.Kind != audit.ExportMade {
		t.Errorf("%+v", r)
	}
	if seal.DigestOf(file) != e.Archive {
		t.Error("the archive has another digest than was answered")
	}
	files := contents(t, file)
	for _, want := range []string{"readme.txt", "rows.csv", "rows.json", "decision.note", "decision.html", "checkpoint.note", "manifest.note", "made.proof", "register/0001.note"} {
		if files[want] == nil {
			t.Error(want, "is missing")
		}
	}
	checkPage(t, "decision.html", files["decision.html"])
	if r.Answered.Kind != audit.LookupResult {
		t.Errorf("the rows are the answer of %+v", r.Answered)
	}
	_, back, err := readCSV(bytes.NewReader(files["rows.csv"]))
	if err != nil || !slices.EqualFunc(back, SheetOf(rows).Rows, slices.Equal) {
		t.Error("rows do not come back", err)
	}
	// Another key of a record, and none: the first is refused, the second said.
	other := get(audit.NewTrust(get(seal.NewSigner(deployment + "/audit")).Verifier()))
	if _, err := verifyBytes(file, other); err == nil {
		t.Error("it verifies against another record")
	}
	if r, err := verifyBytes(file, audit.Trust{}); err != nil || r.Pinned {
		t.Error("without a key:", err, r.Pinned)
	}
	list := get(k.gate.Exports(k.Decision.Case))
	if len(list) != 1 || list[0] != e {
		t.Errorf("%+v, made %+v", list, e)
	}
}

func TestExportIsTheSameBytesForTheSameContent(t *testing.T) {
	build := func(order []int) []byte {
		files := []archiveFile{fileOf("b.txt", []byte("b")), fileOf("a.txt", []byte("a")), rowFiles(someRows())[0]}
		var list []archiveFile
		for _, i := range order {
			list = append(list, files[i])
		}
		var b bytes.Buffer
		a := newArchive(&b, noon().In(time.FixedZone("elsewhere", 7200)))
		get(a.fill(list))
		if err := a.zip.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if !bytes.Equal(build([]int{0, 1, 2}), build([]int{2, 0, 1})) {
		t.Error("two archives of the same files differ")
	}
}

func TestExportRefused(t *testing.T) {
	k := openDesk(t, nil)
	make := func(maker string) error {
		_, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), k.options(maker))
		return err
	}
	if make("utredare") == nil {
		t.Error("a decision that nobody approved was exported")
	}
	k.approved().looked(someRows())
	for _, id := range []string{"chef", "manager-1", "anna.berg", "it"} {
		if make(id) == nil {
			t.Errorf("%s, who is no investigator, made an export", id)
		}
	}
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), ExportOptions{Dir: k.folder(), Maker: get(seal.NewSigner("utredare"))}); err == nil {
		t.Error("another key of the investigator's name made an export")
	}
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), ExportOptions{Dir: k.folder()}); err == nil {
		t.Error("nobody made an export")
	}
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows()[1:], k.options("utredare")); err == nil {
		t.Error("rows that no lookup answered were exported")
	}
	if list := get(os.ReadDir(k.folder())); len(list) != 0 {
		t.Errorf("refused exports left %v", list)
	}
	k.now = k.now.Add(25 * time.Hour)
	if make("utredare") == nil {
		t.Error("a decision that the union was not told of was exported")
	}
	k.close()
	if make("utredare") == nil {
		t.Error("a closed case was exported")
	}
}

// Case 38: wherever a name or a number points, the file stays in its folder.
func TestExportPathStaysInItsFolder(t *testing.T) {
	plain := regexp.MustCompile(`^tillsyn-[A-Za-z0-9-]+\.zip$`)
	for _, v := range append(hostile(), "../../x", "/etc/passwd", `..\..\x`, `C:\x`, "CON", "nul.txt", "aux", "a/b/c", ".", "..", "~root", "-rf", "LPT1", "x\x00.zip",
		"KS 2026/0123", "åäö ÅÄÖ", strings.Repeat("../", 10000), strings.Repeat("a", 70000)) {
		name := exportName(v, seal.DigestOf([]byte(v)))
		if !plain.MatchString(name) || len(name) > 80 || filepath.Base(name) != name || !filepath.IsLocal(name) {
			t.Errorf("%.40q becomes %q", v, name)
		}
	}
	k := openDesk(t, func(d *Decision) { d.Case = "KS ../../x/CON" }).approved().looked(someRows())
	e := k.export(someRows())
	if filepath.Dir(e.Path) != k.folder() || !strings.HasPrefix(filepath.Base(e.Path), "tillsyn-KS-x-CON-") {
		t.Error(e.Path)
	}

	outside := t.TempDir()
	p := get(openPlace(k.folder()))
	defer p.root.Close()
	if err := os.Symlink(outside, filepath.Join(k.folder(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "target"), filepath.Join(k.folder(), "file.zip")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x.zip", "../../x.zip", "/tmp/x.zip", "link/x.zip", "file.zip", "a/../../x.zip", strings.Repeat("x", 5000), "x\x00y"} {
		if f, err := p.create(name); err == nil {
			f.Close()
			t.Errorf("%.30q was created", name)
		}
	}
	if err := p.publish(filepath.Base(e.Path), "../x.zip"); err == nil {
		t.Error("a file was moved out")
	}
	if list := get(os.ReadDir(outside)); len(list) != 0 {
		t.Errorf("outside there is %v", list)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "x.zip")); err == nil {
		t.Error("a file stands beside the folder")
	}
	if _, err := p.digestOfFile("file.zip"); err == nil {
		t.Error("a link was read")
	}
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), ExportOptions{Dir: filepath.Join(k.dir, "not there"), Maker: k.signer("utredare")}); err == nil {
		t.Error("a folder that is not there was made")
	}
}

func TestExportIsPurgedWithItsDecision(t *testing.T) {
	k := openDesk(t, nil).approved().looked(someRows())
	kept, altered, moved, hidden := k.export(someRows()), k.export(someRows()), k.export(someRows()), k.export(someRows())
	if r := get(k.gate.RemoveExports(t.Context(), 0)); len(r) != 0 {
		t.Fatalf("exports of an open case were removed: %+v", r)
	}
	k.now = k.now.Add(time.Hour)
	k.close()
	if r := get(k.gate.RemoveExports(t.Context(), 24*time.Hour)); len(r) != 0 {
		t.Fatalf("exports were removed before their time: %+v", r)
	}
	if err := os.WriteFile(altered.Path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved.Path, filepath.Join(k.dir, "elsewhere.zip")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(hidden.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(hidden.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	k.now = k.now.Add(25 * time.Hour)
	outcomes := map[seal.Digest]string{}
	before := len(get(k.log.Entries(t.Context())))
	for _, r := range get(k.gate.RemoveExports(t.Context(), 24*time.Hour)) {
		outcomes[r.Manifest] = r.Outcome
	}
	want := map[seal.Digest]string{kept.Manifest: ExportRemoved, altered.Manifest: ExportAltered, moved.Manifest: ExportMissing, hidden.Manifest: ExportOutOf}
	for m, o := range want {
		if outcomes[m] != o {
			t.Errorf("%s, want %s", outcomes[m], o)
		}
	}
	for _, e := range []Export{kept, altered} {
		if _, err := os.Lstat(e.Path); err == nil {
			t.Error("an export is still there")
		}
	}
	all := get(k.log.Entries(t.Context()))
	if len(all) != before+3 {
		t.Errorf("the record holds %d entries, held %d", len(all), before)
	}
	for _, e := range []Export{kept, altered, moved} {
		i := slices.IndexFunc(all, func(r audit.Record) bool { return r.Kind == audit.ExportRemoved && r.Document == e.Manifest.String() })
		if i < 0 || all[i].Case != e.Case || all[i].Body != "file "+e.Archive.String()+"\n" || all[i].Counts["exports"] != 1 || all[i].Counts[want[e.Manifest]] != 1 {
			t.Errorf("the record does not tell what became of an export that was %s", want[e.Manifest])
		}
	}
	if r := get(k.gate.RemoveExports(t.Context(), 0)); len(r) != 1 || r[0].Manifest != hidden.Manifest || r[0].Outcome != ExportOutOf {
		t.Errorf("what could not be removed is not told again: %+v", r)
	}
}

func TestExportKilledHalfWayIsKnownAndRemoved(t *testing.T) {
	k := openDesk(t, nil).approved().looked(someRows())
	// The record is gone when the archive asks for it: the same as a kill before the append, but for the partial file.
	k.log.Close()
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), k.options("utredare")); err == nil {
		t.Fatal("an export was made without the record")
	}
	if list := get(os.ReadDir(k.folder())); len(list) != 0 {
		t.Fatalf("left %v", list)
	}
	list := get(k.gate.Exports(k.Decision.Case))
	if len(list) != 1 || !list[0].Archive.IsZero() {
		t.Fatalf("%+v", list)
	}
	partial := filepath.Join(k.folder(), partialName(filepath.Base(list[0].Path)))
	if err := os.WriteFile(partial, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := unlinkExport(list[0], true); o != ExportRemoved {
		t.Error(o)
	}
	if _, err := os.Lstat(partial); err == nil {
		t.Error("half an export is still there")
	}
}

func TestExportAltered(t *testing.T) {
	rows := someRows()[:5]
	k := openDesk(t, nil).approved().looked(rows)
	file := get(os.ReadFile(k.export(rows).Path))
	trust := k.log.Trust()
	whole := contents(t, file)
	rebuild := func(change func(map[string][]byte)) []byte {
		files := map[string][]byte{}
		for n, c := range whole {
			files[n] = bytes.Clone(c)
		}
		change(files)
		var b bytes.Buffer
		a := newArchive(&b, noon())
		var list []archiveFile
		for n, c := range files {
			list = append(list, fileOf(n, c))
		}
		get(a.fill(list))
		if err := a.zip.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if _, err := verifyBytes(rebuild(func(map[string][]byte) {}), trust); err != nil {
		t.Fatal("unchanged:", err)
	}
	for name := range whole {
		if _, err := verifyBytes(rebuild(func(f map[string][]byte) { delete(f, name) }), trust); err == nil {
			t.Errorf("without %s it verifies", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			i := r.IntN(len(whole[name]))
			if _, err := verifyBytes(rebuild(func(f map[string][]byte) { f[name][i] ^= 1 << r.IntN(8) }), trust); err == nil {
				t.Errorf("%s with byte %d changed verifies", name, i)
			}
		}
	}
	for _, more := range []string{"extra.txt", "../x.txt", "/x.txt", "rows.csv/x.txt", "acts/x.note", "a/b/c.txt", "CON.txt"} {
		if _, err := verifyBytes(rebuild(func(f map[string][]byte) { f[more] = []byte("x") }), trust); err == nil {
			t.Errorf("with %s it verifies", more)
		}
	}
	flips, harmless := 0, 0
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		changed := bytes.Clone(file)
		changed[r.IntN(len(file))] ^= 1 << r.IntN(8)
		flips++
		if _, err := verifyBytes(changed, trust); err == nil {
			harmless++ // a time or an attribute of the zip format: the content is what it was
			for n, c := range contents(t, changed) {
				if !bytes.Equal(c, whole[n]) {
					t.Fatalf("%s was changed and it verifies", n)
				}
			}
		}
	}
	t.Logf("%d flipped bits: %d in attributes of the zip format", flips, harmless)
	for _, n := range []int{0, 1, 100, len(file) / 2, len(file) - 1} {
		if _, err := verifyBytes(file[:n], trust); err == nil {
			t.Errorf("cut to %d bytes it verifies", n)
		}
	}
}

// Who has an investigator's key can sign any manifest: what the record and the approvers signed still must fit.
func TestExportForgedByItsMaker(t *testing.T) {
	k := openDesk(t, nil).approved().looked(someRows())
	honest := contents(t, get(os.ReadFile(k.export(someRows()).Path)))
	forge := func(change func(files map[string][]byte, m *Manifest)) error {
		files := map[string][]byte{}
		for n, c := range honest {
			files[n] = c
		}
		m, _, err := ReadManifest(files[manifestName])
		if err != nil {
			t.Fatal(err)
		}
		change(files, &m)
		delete(files, manifestName)
		made := files[madeName]
		delete(files, madeName)
		var b bytes.Buffer
		a := newArchive(&b, m.Made)
		var list []archiveFile
		for n, c := range files {
			list = append(list, fileOf(n, c))
		}
		m.Files = get(a.fill(list))
		get(a.add(fileOf(manifestName, get(SignManifest(m, k.signer(m.Maker))))))
		get(a.add(fileOf(madeName, made)))
		if err := a.zip.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = verifyBytes(b.Bytes(), k.log.Trust())
		return err
	}
	if err := forge(func(map[string][]byte, *Manifest) {}); err != nil {
		t.Fatal(err)
	}
	other := []Row{{{"url.domain", "planted.example"}}}
	written := func(f archiveFile) []byte {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	plant := func(f map[string][]byte, m *Manifest, rows []Row) {
		files := rowFiles(rows)
		f["rows.csv"], f["rows.json"], m.Rows = written(files[0]), written(files[1]), len(rows)
	}
	for name, change := range map[string]func(map[string][]byte, *Manifest){
		"planted rows":        func(f map[string][]byte, m *Manifest) { plant(f, m, other) },
		"a row left out":      func(f map[string][]byte, m *Manifest) { plant(f, m, someRows()[1:]) },
		"rows in other order": func(f map[string][]byte, m *Manifest) { r := someRows(); slices.Reverse(r); plant(f, m, r) },
		"rows that differ":    func(f map[string][]byte, m *Manifest) { f["rows.csv"] = written(rowFiles(other)[0]) },
		"no lookup": func(f map[string][]byte, m *Manifest) {
			for n := range f {
				if strings.HasPrefix(n, "record/") && strings.Contains(string(get(audit.ParseProof(f[n])).Line), "lookup.intent") {
					delete(f, n)
				}
			}
		},
		"two approvals": func(f map[string][]byte, m *Manifest) {
			for n := range f {
				if strings.HasPrefix(n, "acts/approval") {
					delete(f, n)
					return
				}
			}
		},
		"a register that is not on record": func(f map[string][]byte, m *Manifest) {
			for n := range f {
				if strings.HasPrefix(n, "record/") && strings.Contains(string(get(audit.ParseProof(f[n])).Line), "register.changed") {
					delete(f, n)
				}
			}
		},
		"another maker": func(f map[string][]byte, m *Manifest) { m.Maker = "chef" },
		"later":         func(f map[string][]byte, m *Manifest) { m.Made = m.Made.Add(30 * 24 * time.Hour) },
	} {
		if forge(change) == nil {
			t.Errorf("%s: it verifies", name)
		}
	}
}

func TestExportPutsNoNameInClearInStoreOrRecord(t *testing.T) {
	k := openDesk(t, nil).approved().looked(someRows())
	k.export(someRows())
	err := filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, k.folder()) {
			return err
		}
		text := get(os.ReadFile(path))
		for _, name := range []string{"anna.berg", "DROP TABLE", "alert(1)"} {
			if bytes.Contains(text, []byte(name)) || strings.Contains(path, name) {
				t.Errorf("%s holds %q", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzManifest(f *testing.F) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	signer := get(seal.NewSigner("utredare"))
	m := Manifest{
		Type: typeManifest, Deployment: "norrbo", Tenant: "norrbo", Case: "KS 1", Kind: Person, Decision: seal.DigestOf(nil), Maker: "utredare", Made: at,
		LogKey: get(seal.NewSigner("norrbo/audit")).Verifier(), Nonce: NewNonce(), Files: []ManifestFile{{"rows.csv", 3, seal.DigestOf(nil)}},
	}
	f.Add(get(SignManifest(m, signer)))
	f.Add([]byte("\n\n\u2014 x y\n"))
	f.Fuzz(func(t *testing.T, signed []byte) {
		m, digest, err := ReadManifest(signed)
		if err != nil {
			return
		}
		text, err := seal.Canonical(m)
		if err != nil || seal.DigestOf(text) != digest || !bytes.HasPrefix(signed, text) {
			t.Error("what was read is not what was signed", err)
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Name) || strings.ContainsAny(file.Name, "\\:") {
				t.Errorf("it names %q", file.Name)
			}
		}
	})
}

func FuzzVerifyExport(f *testing.F) {
	var b bytes.Buffer
	a := newArchive(&b, noon())
	get(a.fill([]archiveFile{fileOf("manifest.note", []byte("x")), fileOf("rows.csv", []byte("x"))}))
	a.zip.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := verifyBytes(file, audit.Trust{}); err == nil {
			t.Error("it verifies")
		}
	})
}
