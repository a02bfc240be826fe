package casework

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// ProcessingConfig is what a person is told about how their data are handled: GDPR article 15(1), a to h. Texts are Swedish, as
// the authority has decided them; the headings are in both languages.
type ProcessingConfig struct {
	Controller string   `yaml:"controller"` // the authority that is responsible, with its address
	Officer    string   `yaml:"officer"`    // how to reach the data protection officer
	Purposes   []string `yaml:"purposes"`
	Ground     string   `yaml:"ground"` // GDPR article 6(1)
	Categories []string `yaml:"categories"`
	Recipients []string `yaml:"recipients"`
	Source     string   `yaml:"source"`
	Transfers  string   `yaml:"transfers"` // to countries outside the EU and EEA; empty: none
}

// DefaultProcessingConfig says what is the same wherever tillsyn runs. Controller and officer are the authority's own to fill in.
func DefaultProcessingConfig() ProcessingConfig {
	return ProcessingConfig{
		Purposes: []string{
			"statistik över hur grupper av användare använder webb och e-post, utan att någon enskild granskas",
			"att utreda en bestämd misstanke om brott eller grovt regelbrott, efter ett beslut av tre roller",
			"att skydda myndighetens datorer och nät",
		},
		Ground: "artikel 6.1 e: uppgift av allmänt intresse och myndighetsutövning",
		Categories: []string{
			"webb: tid, användare, datorns adress, webbplats, sökväg, kategori, mängd data, om besöket stoppades",
			"e-post: tid, avsändare, mottagare, ämnesrad, storlek, om meddelandet kom fram",
		},
		Recipients: []string{
			"utredare som tre roller har utsett i ett beslut", "Polismyndigheten, på begäran och efter beslut", "den som begär ut allmän handling, efter sekretessprövning",
		},
		Source: "myndighetens webbproxy och e-postservrar",
	}
}

// Validate answers every fault of c, joined, or nil.
func (c ProcessingConfig) Validate() error {
	var faults []error
	for name, list := range map[string][]string{"purposes": c.Purposes, "categories": c.Categories, "recipients": c.Recipients} {
		if len(list) == 0 {
			faults = append(faults, fmt.Errorf("%s: is empty", name))
		}
		for i, text := range list {
			if text == "" || checkText(text, 1000) != nil {
				faults = append(faults, fmt.Errorf("%s[%d]: is empty, too long, or begins or ends with a space", name, i))
			}
		}
	}
	for name, text := range map[string]string{"controller": c.Controller, "officer": c.Officer, "ground": c.Ground, "source": c.Source, "transfers": c.Transfers} {
		if err := checkText(text, 1000); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return joinSorted(faults)
}

// StorageTime is how long a kind of data is kept, and by whose decision.
type StorageTime struct {
	What     Phrase
	Days     int
	Decision string // number of the retention decision
}

// SubjectAccessOptions are how a person's extract is made.
type SubjectAccessOptions struct {
	Dir        string       // the folder for the file; it must be there
	Maker      *seal.Signer // an investigator of the decision, who sees none of the rows
	Authority  string
	Processing ProcessingConfig
	Storage    []StorageTime
}

// A SubjectExtract is an extract that was given out.
type SubjectExtract struct {
	Export
	Result     Result // of its lookup
	Passphrase string // drawn for the letter, and answered once, if the decision has no key of the person
}

// GiveExtract runs one lookup of a decision of the kind subject_access, of which request is a lookup document, and writes its rows
// into an archive that only the recipient in the decision can open: nobody here sees them. It holds a page with what article 15(1) asks for, the rows as a page, as CSV and as JSON. It goes on record as a request of
// a data subject (export.made, with the count data_subject_request). The file is known until it is removed with its case, as
// every export.
func (g *Gate) GiveExtract(ctx context.Context, number string, request []byte, o SubjectAccessOptions) (SubjectExtract, error) {
	var rows []Row
	result, err := g.lookup(ctx, number, request, ShownToPerson, nil, func(r Row) error { rows = append(rows, r); return nil })
	if errors.Is(err, ErrRefused) {
		return SubjectExtract{}, err
	}
	var e SubjectExtract
	if err == nil {
		e, err = g.giveExtract(ctx, number, rows, result, o)
	}
	if err != nil {
		return SubjectExtract{Result: result}, fmt.Errorf("give a person their extract: %w", err)
	}
	return e, nil
}

func (g *Gate) giveExtract(ctx context.Context, number string, rows []Row, result Result, o SubjectAccessOptions) (SubjectExtract, error) {
	v, err := g.exportable(ctx, number, o.Maker, rows)
	if err != nil {
		return SubjectExtract{}, err
	}
	if v.Decision.Kind != SubjectAccess {
		return SubjectExtract{}, fmt.Errorf("the decision is of the kind %s, not %s", v.Decision.Kind, SubjectAccess)
	}
	now := v.Now.Truncate(time.Second)
	passphrase := ""
	var to age.Recipient
	if v.Decision.Recipient == ByLetter {
		passphrase = drawPassphrase()
		if to, err = age.NewScryptRecipient(passphrase); err != nil {
			return SubjectExtract{}, err
		}
	} else if to, err = parseRecipient(v.Decision.Recipient); err != nil {
		return SubjectExtract{}, err
	}
	html, err := ExtractPage(v.Decision, rows, result, o, now).HTML()
	if err != nil {
		return SubjectExtract{}, err
	}
	files := append(rowFiles(rows), fileOf("extract.html", html))

	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return SubjectExtract{}, err
	}
	p, err := openPlace(dir)
	if err != nil {
		return SubjectExtract{}, err
	}
	defer p.root.Close()
	sum := sha256.Sum256([]byte(NewNonce()))
	name := exportName(number, sum) + ".age"
	key := exportPrefix + hex.EncodeToString(sum[:10])
	record, err := json.Marshal(storedExport{Folder: dir, Name: name, Maker: o.Maker.Name(), Made: now, Rows: len(rows)})
	if err != nil {
		return SubjectExtract{}, err
	}
	if err := g.store.Put(number, key, record); err != nil {
		return SubjectExtract{}, err
	}
	if _, err := g.p.Log.Append(ctx, audit.Entry{
		Kind: audit.ExportMade, Actor: o.Maker.Name(), Case: number, Document: v.Digest.String(),
		Counts: map[string]int64{"rows": int64(len(rows)), "files": int64(len(files)), "data_subject_request": 1},
	}); err != nil {
		return SubjectExtract{}, err
	}
	file, err := writeSealed(p, name, now, files, to)
	if err != nil {
		return SubjectExtract{}, err
	}
	done, err := json.Marshal(storedDone{Archive: file})
	if err != nil {
		return SubjectExtract{}, err
	}
	if err := g.store.Put(number, key+"-done", done); err != nil {
		return SubjectExtract{}, err
	}
	return SubjectExtract{
		Export:     Export{Case: number, Path: filepath.Join(dir, name), Archive: file, Maker: o.Maker.Name(), Made: now, Rows: len(rows), key: key},
		Result:     result,
		Passphrase: passphrase,
	}, nil
}

// writeSealed writes an archive that only to can open. Nothing of it is ever on the disk in clear.
func writeSealed(p place, name string, at time.Time, files []archiveFile, to age.Recipient) (digest seal.Digest, err error) {
	f, err := p.create(partialName(name))
	if err != nil {
		return digest, err
	}
	defer func() {
		f.Close()
		if err != nil {
			err = errors.Join(err, p.root.Remove(partialName(name)))
		}
	}()
	sum := sha256.New()
	w, err := age.Encrypt(io.MultiWriter(f, sum), to)
	if err != nil {
		return digest, fmt.Errorf("encrypt an extract: %w", err)
	}
	a := newArchive(w, at)
	if _, err = a.fill(files); err != nil {
		return digest, err
	}
	if err = errors.Join(a.zip.Close(), w.Close(), f.Sync()); err != nil {
		return digest, fmt.Errorf("write an extract: %w", err)
	}
	return seal.Digest(sum.Sum(nil)), p.publish(partialName(name), name)
}

// CheckRecipient says whether text is one age public key, written as age writes it.
func CheckRecipient(text string) error {
	r, err := parseRecipient(text)
	if s, ok := r.(fmt.Stringer); err == nil && (!ok || s.String() != text) {
		err = errors.New("the person's recipient is not written as age writes it")
	}
	return err
}

// parseRecipient reads one age recipient of a person. A plugin's would start a program of somebody else's choice.
func parseRecipient(text string) (age.Recipient, error) {
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(list) != 1 {
		return nil, errors.New("the person's recipient is not one age public key (age1...)")
	}
	return list[0], nil
}

// drawPassphrase draws 130 bits, in groups that can be read out on the telephone: no 0, 1, 8 or 9, which look or sound like others.
func drawPassphrase() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: it ends the program instead (crypto/rand)
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:26]
	var groups []string
	for ; len(text) > 5; text = text[5:] {
		groups = append(groups, text[:5])
	}
	return strings.Join(append(groups, text), "-")
}

// ExtractPage is what a person reads of their own data: the rows, and what GDPR article 15(1) asks for.
func ExtractPage(d *Decision, rows []Row, result Result, o SubjectAccessOptions, now time.Time) Page {
	c := o.Processing
	lines := func(list []string) string { return strings.Join(list, "\n") }
	storage := Table{Caption: Phrase{"Hur länge uppgifter sparas", "How long data are kept"},
		Head: []Phrase{{"Uppgifter", "Data"}, {"Dagar", "Days"}, {"Gallringsbeslut", "Retention decision"}}}
	for _, s := range o.Storage {
		storage.Rows = append(storage.Rows, []string{s.What.Swedish + " / " + s.What.English, fmt.Sprint(s.Days), s.Decision})
	}
	transfers := c.Transfers
	if transfers == "" {
		transfers = "Inga / None"
	}
	p := Page{
		From:    o.Authority,
		Heading: Phrase{"Dina uppgifter i våra loggar", "Your data in our logs"},
		Lead: Phrase{
			"Du har bett att få veta vilka uppgifter vi har om dig i loggarna över webb och e-post. Här är de, och vad lagen säger att du ska få veta om dem (dataskyddsförordningen, artikel 15).",
			"You asked which data we have about you in the logs of web and mail. Here they are, with what the law says you are to be told (GDPR, article 15).",
		},
		Foot: []Phrase{{"Ärende " + Clipped(d.Case, 64) + ". Framställt " + clockTime(now) + ".", "Case " + Clipped(d.Case, 64) + ". Made " + clockTime(now) + "."}},
	}
	about := Section{Heading: Phrase{"Vad utdraget omfattar", "What the extract covers"}, Facts: append(scopeFacts(d),
		Fact{Term: Phrase{"Rader", "Rows"}, Value: fmt.Sprint(len(rows))}),
		Text: []Phrase{{
			"Andra personers namn och adresser är dolda: du har rätt till dina uppgifter, men inte till deras.",
			"Other people's names and addresses are hidden: you have a right to your data, but not to theirs.",
		}}}
	if result.Purged > 0 {
		about.Text = append(about.Text, Phrase{
			fmt.Sprintf("%d av dagarna, räknade för varje källa, är gallrade: om dem finns inga rader kvar.", result.Purged),
			fmt.Sprintf("%d of the days, counted for each source, are purged: there are no rows of them any more.", result.Purged),
		})
	}
	if shut := result.Unopened + result.Damaged + result.Keyless + result.Elsewhere; shut > 0 || result.Late > 0 || result.Protected > 0 {
		about.Text = append(about.Text, Phrase{
			fmt.Sprintf("Utöver raderna här finns %d händelser på skyddade webbplatser, %d nycklar som kom efter beslutet och %d delar som inte gick att öppna. Fråga oss om dem.", result.Protected, result.Late, shut),
			fmt.Sprintf("Beside these rows there are %d events of protected destinations, %d keys that came after the decision and %d parts that did not open. Ask us about them.", result.Protected, result.Late, shut),
		})
	}
	p.Sections = []Section{about,
		{Heading: Phrase{"Hur vi behandlar uppgifterna", "How we process the data"}, Facts: []Fact{
			{Term: Phrase{"Personuppgiftsansvarig", "Controller"}, Value: c.Controller},
			{Term: Phrase{"Dataskyddsombud", "Data protection officer"}, Value: c.Officer},
			{Term: Phrase{"Ändamål (15.1 a)", "Purposes (15(1)(a))"}, Value: lines(c.Purposes)},
			{Term: Phrase{"Rättslig grund", "Legal ground"}, Value: c.Ground},
			{Term: Phrase{"Slag av uppgifter (15.1 b)", "Categories of data (15(1)(b))"}, Value: lines(c.Categories)},
			{Term: Phrase{"Mottagare (15.1 c)", "Recipients (15(1)(c))"}, Value: lines(c.Recipients)},
			{Term: Phrase{"Överföring utanför EU och EES (15.2)", "Transfers outside the EU and EEA (15(2))"}, Value: transfers},
			{Term: Phrase{"Varifrån uppgifterna kommer (15.1 g)", "Where the data come from (15(1)(g))"}, Value: c.Source},
		}},
	}
	if len(storage.Rows) > 0 {
		p.Sections = append(p.Sections, Section{Heading: Phrase{"Lagringstid (15.1 d)", "Storage time (15(1)(d))"}, Tables: []Table{storage}, Text: []Phrase{{
			"Uppgifter som en pågående utredning eller begäran om allmän handling behöver sparas tills den är avslutad.",
			"Data that an inquiry or a request for public records needs are kept until it is closed.",
		}}})
	}
	p.Sections = append(p.Sections,
		Section{Heading: Phrase{"Dina rättigheter (15.1 e och f)", "Your rights (15(1)(e) and (f))"}, Text: []Phrase{
			{"Du kan begära att uppgifter rättas eller raderas, att behandlingen begränsas, och du kan invända mot den. Vänd dig till oss eller till dataskyddsombudet.",
				"You may ask us to correct or erase data or to restrict the processing, and you may object to it. Turn to us or to the data protection officer."},
			{"Du kan klaga hos Integritetsskyddsmyndigheten (IMY).", "You may lodge a complaint with the Swedish Authority for Privacy Protection (IMY)."},
		}},
		Section{Heading: Phrase{"Automatiska beslut (15.1 h)", "Automated decisions (15(1)(h))"}, Text: []Phrase{{
			"Inga beslut om dig fattas automatiskt. Ingen profil görs av dig.", "No decision about you is taken automatically. No profile is made of you.",
		}}},
		Section{Heading: Phrase{"Raderna", "The rows"}, Tables: []Table{SheetOf(rows).tableOf(Phrase{"Dina rader i loggarna", "Your rows in the logs"})}},
	)
	return p
}
