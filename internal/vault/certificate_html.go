package vault

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
)

//go:embed certificate.html
var certificatePage string

//go:embed certificate.txt
var certificateText string

//go:embed certificate_parts.txt
var certificateParts string // that the page and the text share

// Languages are the languages that a certificate can be read in.
func Languages() []string { return []string{"sv", "en"} }

// certificateWords are the words of the page: Swedish, English.
func certificateWords() map[string][2]string {
	return map[string][2]string{
		"title":            {"Gallringsbevis", "Purge certificate"},
		"begun":            {"Gallringen påbörjades", "The purge began"},
		"finished":         {"allt var kontrollerat", "everything was verified"},
		"summary":          {"Det här beviset säger vad som har tagits bort, vad som har undantagits och varför, och vad som kontrollerades efteråt. Utan fullständig kontroll utfärdas inget bevis.", "This certificate says what was removed, what was kept back and why, and what was verified afterwards. Without a complete verification there is no certificate."},
		"method":           {"Metod", "Method"},
		"methodErase":      {"logisk radering och kryptografisk radering (NIST SP 800-88)", "logical deletion + cryptographic erase (NIST SP 800-88)"},
		"methodUntil":      {"logisk radering; nycklarna finns kvar i säkerhetskopior till och med", "logical deletion; keys remain in backups until"},
		"methodUnknown":    {"logisk radering; om nycklarna finns kvar i säkerhetskopior är inte angivet", "logical deletion; whether the keys remain in backups is not stated"},
		"methodMeans":      {"Databasens filer är raderade och de förseglade nycklarna med dem. Det är inte detsamma som att lagringsmediet har förstörts.", "The files of the database are deleted, and the sealed keys with them. It does not mean that the storage medium was sanitised."},
		"meansErase":       {"Utan nycklarna kan ingen kopia av uppgifterna läsas.", "Without the keys no copy of the data can be read."},
		"meansLater":       {"Så länge nycklarna finns kvar i en säkerhetskopia kan en kopia av uppgifterna öppnas av dem som innehar rollerna.", "As long as the keys are in a backup, a copy of the data can be opened by the holders of the roles."},
		"meansUnknown":     {"Om nycklarna finns kvar i en säkerhetskopia kan en kopia av uppgifterna öppnas av dem som innehar rollerna.", "If the keys are in a backup, a copy of the data can be opened by the holders of the roles."},
		"removed":          {"Vad som har tagits bort", "What was removed"},
		"removedCaption":   {"Per slag av uppgifter och dygn (UTC), som det räknades innan", "By class of data and UTC day, as counted before"},
		"class":            {"Slag", "Class"},
		"day":              {"Dygn", "Day"},
		"rows":             {"Rader", "Rows"},
		"rowsWord":         {"rader", "rows"},
		"daysWord":         {"dagar", "days"},
		"heldDaysWord":     {"dygn", "days"},
		"fromWord":         {"gäller från", "in force from"},
		"bytes":            {"Byte på disk", "Bytes on disk"},
		"heldRows":         {"Undantagna rader", "Rows kept back"},
		"note":             {"Anmärkning", "Note"},
		"again":            {"Hade tagits bort förut och lagts tillbaka, till exempel från en säkerhetskopia.", "Had been removed before and was put back, from a backup for example."},
		"holdEnded":        {"Kopior för ett undantag som har upphört:", "Copies under a hold that has ended:"},
		"total":            {"Summa", "Total"},
		"keys":             {"Förseglade nycklar", "Sealed keys"},
		"capsules":         {"Förseglade rader", "Sealed rows"},
		"decisions":        {"Gallringsbeslut", "Retention decisions"},
		"days":             {"Dagar", "Days"},
		"tenant":           {"Myndighet", "Authority"},
		"decision":         {"Beslut", "Decision"},
		"from":             {"Gäller från", "In force from"},
		"onlyHolds":        {"Bara kopior för undantag som har upphört togs bort.", "Only copies under holds that have ended were removed."},
		"holds":            {"Undantag från gallring", "Holds"},
		"holdsMean":        {"För de här ärendena finns uppgifter kvar, förseglade som förut, tills ärendet är avslutat. Nycklarna bland de undantagna raderna är de enda som finns kvar från dygnen.", "For these cases rows live on, as sealed as they were, until the case is closed. The keys among them are the only ones that are left of the days."},
		"noHolds":          {"Inga uppgifter undantogs.", "Nothing was kept back."},
		"case":             {"Ärende", "Case"},
		"basis":            {"Grund", "Basis"},
		"heldDays":         {"Dygn", "Days"},
		"hold":             {"Undantag", "Hold"},
		"verified":         {"Vad som kontrollerades", "What was verified"},
		"parts":            {"kvarvarande delar:", "parts left:"},
		"detached":         {"undanlagda delar:", "detached parts:"},
		"disk":             {"Disken genomsöktes", "The disk was searched"},
		"files":            {"filer", "files"},
		"bytesSearched":    {"byte", "bytes"},
		"samples":          {"Stickprov av den borttagna chiffertexten", "Pieces of the removed ciphertext that were looked for"},
		"hits":             {"träffar", "hits"},
		"copies":           {"Frysta, undanlagda eller tillfälliga kopior", "Frozen, detached or temporary copies"},
		"stillHeld":        {"Stickprov som inte söktes eftersom ett undantag behåller dem", "Pieces not looked for because a hold keeps them"},
		"diskOf":           {"Diskarna hos", "The disks of"},
		"diskOn":           {"på maskinen", "on the machine"},
		"control":          {"därav hittade innan uppgifterna togs bort", "of them found before the removal"},
		"noControl":        {"söktes inte innan uppgifterna togs bort", "not looked for before the removal"},
		"noDisk":           {"Diskarna hos den här servern är inte genomsökta:", "The disks of this server were not searched:"},
		"kafkaKeeps":       {"behåller poster i högst", "keeps records for at most"},
		"daysAtMost":       {"dagar (gräns", "days (limit"},
		"noKafka":          {"Enligt konfigurationen hör ingen Kafka till installationen.", "By its configuration no Kafka belongs to this installation."},
		"backups":          {"Dagar som säkerhetskopior sparas, enligt konfigurationen", "Days for which backups are kept, by the configuration"},
		"notStated":        {"inte angivet", "not stated"},
		"keyBackups":       {"Dagar som nycklarna sparas i säkerhetskopior, enligt konfigurationen", "Days for which keys are kept in backups, by the configuration"},
		"noKeyBackups":     {"Enligt konfigurationen finns nycklarna inte i några säkerhetskopior, så förseglade rader i gamla kopior kan inte läsas.", "By the configuration the keys are in no backup, so sealed rows in old ones can't be read."},
		"limits":           {"Vad beviset inte säger", "What it does not say"},
		"limitsText":       {"Källsystemen (proxy, e-postserver) och deras egna loggar ingår inte. Säkerhetskopior kan inte kontrolleras härifrån: vad som står om dem är konfigurationens uppgift.", "The systems that the logs come from, and their own logs, are not part of it. Backups can't be looked at from here: what is said of them is what the configuration says."},
		"proof":            {"Så kontrollerar man beviset", "How to check it"},
		"proofText":        {"Det undertecknade beviset står ordagrant i den offentliga loggen. ’tillsyn purge certificate’ kontrollerar det utan tillgång till systemet: underskriften, att det finns i loggen och när det kom dit, och att det svarar mot vad som skulle göras.", "The signed certificate stands word for word in the record. ’tillsyn purge certificate’ checks it without access to the system: the signature, that the record has it and since when, and that it answers what was to be done."},
		"entry":            {"Post i loggen", "Entry of the record"},
		"intent":           {"Vad som skulle göras (digest)", "What was to be done (digest)"},
		"signer":           {"Undertecknat med", "Signed with"},
		"class_web":        {"Webb", "Web"},
		"class_mail":       {"E-post", "Mail"},
		"class_rejects":    {"Oläsliga rader", "Unreadable lines"},
		"class_statistics": {"Statistik", "Statistics"},
		"class_held":       {"Undantaget", "Held"},
		"basis_decision":   {"beslut", "decision"},
		"basis_records":    {"begäran om allmän handling", "request for public records"},
		"basis_":           {"", ""},
	}
}

// HTML writes the certificate for people to read, as a page that needs nothing else. language is one of Languages.
func (c IssuedCertificate) HTML(w io.Writer, language string) error {
	words, funcs, err := c.language(language)
	if err != nil {
		return fmt.Errorf("write a certificate as a page: %w", err)
	}
	page, err := htmltemplate.New("certificate").Funcs(funcs).Parse(certificateParts)
	if err == nil {
		page, err = page.Parse(certificatePage)
	}
	if err == nil {
		err = page.Execute(w, c.shown(language, words))
	}
	if err != nil {
		return fmt.Errorf("write a certificate as a page: %w", err)
	}
	return nil
}

// Text writes the certificate for people to read on a terminal. Nothing in it steers one: documents that are signed hold no
// characters that can't be seen. language is one of Languages.
func (c IssuedCertificate) Text(w io.Writer, language string) error {
	words, funcs, err := c.language(language)
	if err != nil {
		return fmt.Errorf("write a certificate as text: %w", err)
	}
	page, err := template.New("certificate").Funcs(funcs).Parse(certificateParts)
	if err == nil {
		page, err = page.Parse(certificateText)
	}
	if err == nil {
		err = page.Execute(w, c.shown(language, words))
	}
	if err != nil {
		return fmt.Errorf("write a certificate as text: %w", err)
	}
	return nil
}

type shownCertificate struct {
	IssuedCertificate
	Language   string
	T          map[string]string
	NoteDigest string
}

func (c IssuedCertificate) shown(language string, words map[string]string) shownCertificate {
	return shownCertificate{c, language, words, seal.DigestOf(c.Note).String()}
}

// language answers the words of a language, and what templates call.
func (c IssuedCertificate) language(language string) (map[string]string, map[string]any, error) {
	at := slices.Index(Languages(), language)
	if at < 0 {
		return nil, nil, fmt.Errorf("the language is one of %v", Languages())
	}
	words := map[string]string{}
	for name, both := range certificateWords() {
		words[name] = both[at]
	}
	utc := func(layout string) func(string) (string, error) {
		return func(text string) (string, error) {
			t, err := time.Parse(time.RFC3339, text)
			return t.UTC().Format(layout), err
		}
	}
	return words, map[string]any{
		"date": utc(time.DateOnly),
		"time": utc("2006-01-02 15:04:05"),
		"rows": func(tables []PurgeTable) (n uint64) {
			for _, t := range tables {
				n += t.Rows
			}
			return n
		},
		"bytes": func(tables []PurgeTable) (n uint64) {
			for _, t := range tables {
				n += t.Bytes
			}
			return n
		},
		"stated": func(n *int) string {
			if n == nil {
				return words["notStated"]
			}
			return strconv.Itoa(*n)
		},
		"none":      func(n *int) bool { return n != nil && *n == 0 },
		"keysUntil": func() (string, error) { return keysUntil(c.Backups, c.Finished) },
		"keeps": func(t KafkaTopic) string {
			days := fmt.Sprintf("%.1f", float64(t.RetentionMS+t.SegmentMS)/float64(24*time.Hour.Milliseconds()))
			if language == "sv" {
				return strings.ReplaceAll(days, ".", ",")
			}
			return days
		},
	}, nil
}

// Save writes the signed note, the record's proof of it and a page in each language to a directory, under the day and the place in
// the record. What is there already stays. It answers the paths.
func (c IssuedCertificate) Save(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("save a certificate: %w", err)
	}
	name := c.Finished[:len(time.DateOnly)] + "-" + strings.ReplaceAll(c.Position.String(), "/", "-")
	var paths []string
	save := func(suffix string, write func(io.Writer) error) error {
		var text bytes.Buffer
		if err := write(&text); err != nil {
			return err
		}
		path := filepath.Join(dir, name+suffix)
		if err := durable.Create(path, text.Bytes(), 0o640); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		paths = append(paths, path)
		return nil
	}
	err := save(".note", func(w io.Writer) error { _, err := w.Write(c.Note); return err })
	if c.Proof != nil {
		err = errors.Join(err, save(".proof", func(w io.Writer) error { _, err := w.Write(c.Proof); return err }))
	}
	for _, language := range Languages() {
		err = errors.Join(err, save("."+language+".html", func(w io.Writer) error { return c.HTML(w, language) }))
	}
	if err != nil {
		return paths, fmt.Errorf("save a certificate: %w", err)
	}
	return paths, nil
}
