package casework

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
)

func ownRows(d *Decision) {
	d.Kind, d.Suspicion, d.LessIntrusive, d.Intrusion, d.Consequences, d.Union = SubjectAccess, "", "", "", "", ""
	d.Recipient = ByLetter
}

func (k *desk) accessOptions() SubjectAccessOptions {
	p := DefaultProcessingConfig()
	p.Controller, p.Officer = "Norrbo kommun, 100 00 Norrbo", "dataskydd@norrbo.example"
	return SubjectAccessOptions{Dir: k.folder(), Maker: k.signer("utredare"), Authority: "Norrbo kommun", Processing: p,
		Storage: []StorageTime{{Phrase{"Webb", "Web"}, 90, "KS 2026/12"}, {Phrase{"E-post", "Mail"}, 60, "KS 2026/13"}}}
}

func TestSubjectAccessOnlyThePersonOpensIt(t *testing.T) {
	me := get(age.GenerateX25519Identity())
	k := openDesk(t, func(d *Decision) { ownRows(d); d.Recipient = me.Recipient().String() }).approved().looked(someRows())
	o := k.accessOptions()
	e, err := k.gate.giveExtract(t.Context(), k.Decision.Case, someRows(), Result{}, o)
	if err != nil {
		t.Fatal(err)
	}
	sealed := get(os.ReadFile(e.Path))
	if info := get(os.Stat(e.Path)); info.Mode() != 0o600 || e.Passphrase != "" || bytes.Contains(sealed, []byte("anna")) || bytes.Contains(sealed, []byte("rows.csv")) {
		t.Error("the extract is readable by others, or has a passphrase")
	}
	files, err := openExtract(bytes.NewReader(sealed), me)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, "extract", files["extract.html"])
	for _, want := range []string{"Andra personers namn", "15.1 a", "15.1 h", "Integritetsskyddsmyndigheten", "KS 2026/12", "dataskydd@norrbo.example", "Transfers outside the EU"} {
		if !bytes.Contains(files["extract.html"], []byte(want)) {
			t.Errorf("the extract does not say %q", want)
		}
	}
	if _, rows, err := readCSV(bytes.NewReader(files["rows.csv"])); err != nil || len(rows) != len(someRows()) {
		t.Error("its rows are not all there", err)
	}
	if _, err := openExtract(bytes.NewReader(sealed), k.identity); err == nil {
		t.Error("the gate can open it")
	}
	if _, err := openExtract(bytes.NewReader(sealed[:len(sealed)-1]), me); err == nil {
		t.Error("a cut extract opens")
	}
	all := get(k.log.Entries(t.Context()))
	if last := all[len(all)-1]; last.Kind != audit.ExportMade || last.Counts["data_subject_request"] != 1 {
		t.Errorf("on record stands %+v", last)
	}

	k = openDesk(t, ownRows).approved().looked(someRows())
	o = k.accessOptions()
	e, err = k.gate.giveExtract(t.Context(), k.Decision.Case, someRows(), Result{Late: 1, Keyless: 2, Purged: 3}, o)
	if err != nil || !regexp.MustCompile(`^([a-z2-7]{5}-){5}[a-z2-7]$`).MatchString(e.Passphrase) {
		t.Fatalf("%q, %v", e.Passphrase, err)
	}
	if files, err = openExtract(bytes.NewReader(get(os.ReadFile(e.Path))), get(age.NewScryptIdentity(e.Passphrase))); err != nil || !bytes.Contains(files["extract.html"], []byte("1 nycklar som kom efter beslutet och 2 delar")) ||
		!bytes.Contains(files["extract.html"], []byte("3 av dagarna")) || !bytes.Contains(files["extract.html"], []byte("även skyddade")) {
		t.Error("the passphrase does not open it", err)
	}
	if _, err := openExtract(bytes.NewReader(get(os.ReadFile(e.Path))), get(age.NewScryptIdentity(e.Passphrase+"x"))); err == nil {
		t.Error("another passphrase opens it")
	}

	k.now = k.now.Add(time.Hour)
	k.close()
	for _, r := range get(k.gate.RemoveExports(t.Context(), 0)) {
		if r.Outcome != ExportRemoved {
			t.Errorf("an extract is %s", r.Outcome)
		}
	}
	if list := get(os.ReadDir(k.folder())); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}

func TestSubjectAccessRefused(t *testing.T) {
	k := openDesk(t, ownRows).approved().looked(someRows())
	for name, change := range map[string]func(*SubjectAccessOptions){
		"another maker": func(o *SubjectAccessOptions) { o.Maker = k.signer("chef") },
		"no folder":     func(o *SubjectAccessOptions) { o.Dir += "/nowhere" },
	} {
		o := k.accessOptions()
		change(&o)
		if _, err := k.gate.giveExtract(t.Context(), k.Decision.Case, someRows(), Result{}, o); err == nil {
			t.Errorf("%s: an extract was given", name)
		}
	}
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), k.options("utredare")); err == nil {
		t.Error("a person's own extract was exported in clear")
	}
	other := openDesk(t, nil).approved().looked(someRows())
	if _, err := other.gate.giveExtract(t.Context(), other.Decision.Case, someRows(), Result{}, other.accessOptions()); err == nil {
		t.Error("rows of an investigation were given as a person's own")
	}
	if list := get(os.ReadDir(k.folder())); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}

func TestExtractForPoliceHasItsOwnGroundAndCover(t *testing.T) {
	k := openDesk(t, func(d *Decision) {
		d.Kind, d.Suspicion, d.LessIntrusive, d.Union = Police, "", "", ""
		d.Ground, d.Finding = "Rättegångsbalken 38 kap. 2 §", "Begäran 5000-K123456-26"
	}).approved().looked(someRows())
	good := PoliceRequest{Authority: "Polismyndigheten, region Nord", Reference: "5000-K123456-26", Law: "Rättegångsbalken 38 kap. 2 §", Received: k.now.Add(-time.Hour)}
	cover, err := PoliceCover(k.Decision, good, len(someRows()), "Norrbo kommun", k.now)
	if err != nil {
		t.Fatal(err)
	}
	o := k.options("utredare")
	if _, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), o); err == nil {
		t.Error("an extract for the police was made without its cover")
	}
	o.Cover = &cover
	e, err := k.gate.Export(t.Context(), k.Decision.Case, someRows(), o)
	if err != nil {
		t.Fatal(err)
	}
	file := get(os.ReadFile(e.Path))
	if r, err := verifyBytes(file, k.log.Trust()); err != nil || r.Manifest.Kind != Police {
		t.Error(err)
	}
	page := contents(t, file)["cover.html"]
	checkPage(t, "cover", page)
	for _, want := range []string{"5000-K123456-26", "region Nord", "38 kap. 2 §", "bevisar inte vem som satt vid den"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the cover does not say %q", want)
		}
	}
	all := get(k.log.Entries(t.Context()))
	if last := all[len(all)-1]; last.Counts["police"] != 1 {
		t.Errorf("on record stands %+v", last)
	}
	for name, change := range map[string]func(*PoliceRequest){
		"no authority":           func(r *PoliceRequest) { r.Authority = "" },
		"another reference":      func(r *PoliceRequest) { r.Reference = "5000-K999999-26" },
		"another law":            func(r *PoliceRequest) { r.Law = "polislagen" },
		"asked after it":         func(r *PoliceRequest) { r.Received = k.now.Add(time.Hour) },
		"a handler on two lines": func(r *PoliceRequest) { r.Handler = "a\nb" },
	} {
		r := good
		change(&r)
		if _, err := PoliceCover(k.Decision, r, 1, "", k.now); err == nil {
			t.Errorf("%s: a cover was written", name)
		}
	}
	for _, v := range hostile() {
		if v == "" || strings.Contains(v, "\n") || len(v) > 200 {
			continue
		}
		d := *k.Decision
		d.Ground, d.Finding, d.Reason, d.Case = v, v, v, v
		if cover, err := PoliceCover(&d, PoliceRequest{Authority: v, Reference: v, Law: v, Received: k.now.Add(-time.Hour)}, 1, v, k.now); err == nil {
			checkPage(t, Clipped(v, 20), get(cover.HTML()))
		}
	}
}

func TestProcessingConfig(t *testing.T) {
	if err := DefaultProcessingConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (ProcessingConfig{}).Validate() == nil {
		t.Error("nothing is told, and that is valid")
	}
}

// openExtract does what 'age -d' and an unpacker of zip archives do for the person: the files of an extract by name.
func openExtract(r io.Reader, identity age.Identity) (map[string][]byte, error) {
	plain, err := age.Decrypt(r, identity)
	if err != nil {
		return nil, err
	}
	packed, err := io.ReadAll(plain)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		if files[f.Name], err = fs.ReadFile(z, f.Name); err != nil {
			return nil, err
		}
	}
	return files, nil
}
