package casework

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Ground is a provision that something can be kept secret by. The registrar chooses one for everything that is not disclosed.
type Ground struct {
	Law   string `yaml:"law"`   // as it is cited: OSL 21 kap. 7 §
	About string `yaml:"about"` // what it protects, in plain Swedish: it stands in the letter
}

// DisclosureConfig is how what leaves a case is presented, and how long exports are kept after it.
type DisclosureConfig struct {
	KeepExports time.Duration    `yaml:"keep_exports"` // after the case has ended; then they are removed
	Overdue     time.Duration    `yaml:"overdue"`      // a request for public records that is older, and not closed, is listed as overdue
	Secrecy     SecrecyConfig    `yaml:"secrecy"`      // the public-records desk
	Processing  ProcessingConfig `yaml:"processing"`   // what a person is told with their extract
}

// DefaultDisclosureConfig removes exports as soon as their case has ended.
func DefaultDisclosureConfig() DisclosureConfig {
	return DisclosureConfig{Overdue: 30 * 24 * time.Hour, Secrecy: DefaultSecrecyConfig(), Processing: DefaultProcessingConfig()}
}

// Validate answers every fault of c, joined, or nil.
func (c DisclosureConfig) Validate() error {
	var faults []error
	if c.KeepExports < 0 || c.KeepExports > 90*24*time.Hour {
		faults = append(faults, fmt.Errorf("keep_exports: %v is not between 0s and 2160h", c.KeepExports))
	}
	if c.Overdue < 24*time.Hour || c.Overdue > 365*24*time.Hour {
		faults = append(faults, fmt.Errorf("overdue: %v is not between 24h and 8760h", c.Overdue))
	}
	within := func(section string, err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				faults = append(faults, fmt.Errorf("%s.%w", section, e))
			}
		}
	}
	within("secrecy", c.Secrecy.Validate())
	within("processing", c.Processing.Validate())
	return errors.Join(faults...)
}

// SecrecyConfig is what the public-records desk of an authority needs to know.
type SecrecyConfig struct {
	Authority string            `yaml:"authority"` // its name, in letters
	Contact   string            `yaml:"contact"`   // postal and mail address of the registrar, in letters
	Court     string            `yaml:"court"`     // the administrative court of appeal: Kammarrätten i ...
	Grounds   []Ground          `yaml:"grounds"`   // that the registrar can choose from
	Presets   map[string]string `yaml:"presets"`   // category, class, identity_number or other_people -> law: marked before the registrar looks
}

// What a preset can be for, beside the categories of destinations.
const (
	PresetIdentityNumber = "identity_number" // a Swedish personal identity number, in any field
	PresetOtherPeople    = "other_people"    // what the lookup had already redacted: other people in a mail
	PresetProtected      = "protected"       // a protected destination whose category has no preset of its own
)

// DefaultSecrecyConfig has the provisions that logs most often touch. Laws: offentlighets- och sekretesslagen (2009:400), OSL, and
// tryckfrihetsförordningen (1949:105), TF. Authority, contact and court are the authority's own to fill in.
func DefaultSecrecyConfig() SecrecyConfig {
	return SecrecyConfig{
		Grounds: []Ground{
			{"OSL 18 kap. 1 §", "förundersökning och polisens brottsbekämpning"},
			{"OSL 18 kap. 8 §", "säkerhets- och bevakningsåtgärder, till exempel skyddet av ett datorsystem"},
			{"OSL 21 kap. 1 §", "uppgifter om någons hälsa eller sexualliv"},
			{"OSL 21 kap. 3 §", "uppgifter som kan röja var en förföljd person finns"},
			{"OSL 21 kap. 7 §", "personuppgifter som efter ett utlämnande skulle behandlas i strid med dataskyddsreglerna"},
			{"OSL 25 kap. 1 §", "uppgifter i hälso- och sjukvården"},
			{"OSL 26 kap. 1 §", "uppgifter i socialtjänsten"},
			{"OSL 32 kap. 3 b §", "uppgifter som kan röja en visselblåsare"},
			{"OSL 39 kap. 2 §", "uppgifter om anställda i personalärenden, till exempel hälsa"},
			{"TF 3 kap. 5 §", "förbudet för myndigheter att efterforska vem som lämnat uppgifter till medier"},
		},
		Presets: map[string]string{
			"health": "OSL 21 kap. 1 §", "sexuality": "OSL 21 kap. 1 §", "crisis": "OSL 21 kap. 1 §", "whistleblowing": "OSL 32 kap. 3 b §", "news_tips": "TF 3 kap. 5 §",
			PresetProtected: "OSL 21 kap. 7 §", PresetIdentityNumber: "OSL 21 kap. 7 §", PresetOtherPeople: "OSL 21 kap. 7 §",
		},
	}
}

// Validate answers every fault of c, joined, or nil.
func (c SecrecyConfig) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, text := range map[string]string{"authority": c.Authority, "court": c.Court} {
		if err := checkLine(text); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if err := checkText(c.Contact, 1000); err != nil {
		fault("contact: %w", err)
	}
	if len(c.Grounds) == 0 {
		fault("grounds: there must be one at least")
	}
	for i, g := range c.Grounds {
		if g.Law == "" || g.About == "" || checkLine(g.Law) != nil || checkLine(g.About) != nil || strings.Contains(g.Law, ",") {
			fault("grounds[%d]: must have a law, without commas, and what it protects, each on one line", i)
		}
		if slices.ContainsFunc(c.Grounds[:i], func(o Ground) bool { return o.Law == g.Law }) {
			fault("grounds[%d]: is there twice", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Presets)) {
		if !wordForm.MatchString(name) {
			fault("presets: a name is not that of a category")
		}
		if c.ground(c.Presets[name]) == "" {
			fault("presets.%s: the law is none of the grounds", name)
		}
	}
	for _, name := range []string{PresetIdentityNumber, PresetOtherPeople, PresetProtected} {
		if c.Presets[name] == "" {
			fault("presets.%s: is missing: what is not disclosed needs a ground", name)
		}
	}
	return joinSorted(faults)
}

// ground is what a law protects, or "" if it is none of the grounds.
func (c SecrecyConfig) ground(law string) string {
	for _, g := range c.Grounds {
		if g.Law == law {
			return g.About
		}
	}
	return ""
}

// A Mark says that a row, or some fields of it, are not disclosed, and by which law.
type Mark struct {
	Row    int      `json:"row"`    // from 1
	Fields []string `json:"fields"` // names, sorted; none: the whole row
	Law    string   `json:"law"`    // empty: what was marked so far is disclosed after all
}

// Marks is what is kept secret of the rows of one request, in the order in which it was marked: of two marks of one thing the later
// counts.
type Marks []Mark

// Validate answers every fault of m for rows, joined, or nil.
func (m Marks) Validate(rows []Row, c SecrecyConfig) error {
	var faults []error
	for i, k := range m {
		switch {
		case k.Row < 1 || k.Row > len(rows):
			faults = append(faults, fmt.Errorf("mark %d: there is no row %d", i+1, k.Row))
		case k.Law != "" && c.ground(k.Law) == "":
			faults = append(faults, fmt.Errorf("mark %d: the law is none of those configured", i+1))
		case !sortedSet(k.Fields) || slices.ContainsFunc(k.Fields, func(f string) bool { return !slices.Contains(Names(), f) }):
			faults = append(faults, fmt.Errorf("mark %d: its fields are not names of fields, sorted, each once", i+1))
		}
		if len(faults) > 20 {
			break
		}
	}
	return errors.Join(faults...)
}

// Preset marks what is secret before anybody looks: protected destinations, tips to news and whistle-blowing among them, whole; and
// what the lookup redacted of other people, field by field. The registrar may decide otherwise.
func (c SecrecyConfig) Preset(rows []Row) Marks {
	var m Marks
	for i, r := range rows {
		category, _ := r.Get("tillsyn.category").(string)
		class, _ := r.Get("tillsyn.class").(string)
		law := c.Presets[category]
		if category == PresetIdentityNumber || category == PresetOtherPeople {
			law = ""
		}
		if law == "" && class == PresetProtected {
			law = c.Presets[PresetProtected]
		}
		if law != "" {
			m = append(m, Mark{Row: i + 1, Fields: []string{}, Law: law})
			continue
		}
		var fields []string
		for _, f := range r {
			if strings.Contains(f.text(), redacted) {
				fields = append(fields, f.Name)
			}
		}
		if slices.Sort(fields); fields != nil {
			m = append(m, Mark{Row: i + 1, Fields: fields, Law: c.Presets[PresetOtherPeople]})
		}
	}
	return m
}

// Secret is what stands in the place of what is not disclosed.
const Secret = "sekretess"

// A Disclosure is rows as they may leave the authority.
type Disclosure struct {
	Sheet  Sheet          // the first column is the row's number, the last the law of what is secret in it
	Rows   int            // all rows
	Secret int            // rows that are secret as a whole
	Partly int            // rows of which something is secret
	Laws   map[string]int // how many rows each law was used for
}

// Disclose blanks what is marked, and the personal identity numbers that mask recognises: it answers a text without them. A row that is
// secret as a whole shows nothing but its number: not even its time.
func (c SecrecyConfig) Disclose(rows []Row, marks Marks, mask func(string) string) (Disclosure, error) {
	if mask == nil {
		return Disclosure{}, errors.New("disclose rows: nothing masks personal identity numbers")
	}
	if err := marks.Validate(rows, c); err != nil {
		return Disclosure{}, fmt.Errorf("disclose rows: %w", err)
	}
	whole := make([]string, len(rows))
	parts := make([]map[string]string, len(rows))
	for _, m := range marks {
		i := m.Row - 1
		switch {
		case len(m.Fields) == 0:
			whole[i] = m.Law
			if m.Law == "" {
				parts[i] = nil
			}
		default:
			if parts[i] == nil {
				parts[i] = map[string]string{}
			}
			for _, f := range m.Fields {
				parts[i][f] = m.Law
			}
		}
	}
	from := SheetOf(rows)
	d := Disclosure{Rows: len(rows), Laws: map[string]int{}}
	d.Sheet.Columns = append([]Column{{"tillsyn.row", Phrase{"rad", "row"}}}, from.Columns...)
	d.Sheet.Columns = append(d.Sheet.Columns, Column{"tillsyn.secrecy", Phrase{"sekretess enligt", "secret by"}})
	for i, values := range from.Rows {
		row := []string{fmt.Sprint(i + 1)}
		laws := map[string]bool{}
		for k, v := range values {
			switch law := parts[i][from.Columns[k].Name]; {
			case whole[i] != "":
				v = Secret
				laws[whole[i]] = true
			case v == "": // that there is nothing is nothing to hide
			case law != "":
				v = Secret
				laws[law] = true
			default:
				if masked := mask(v); masked != v {
					v = masked
					laws[c.Presets[PresetIdentityNumber]] = true
				}
			}
			row = append(row, v)
		}
		used := slices.Sorted(maps.Keys(laws))
		for _, l := range used {
			d.Laws[l]++
		}
		switch {
		case whole[i] != "":
			d.Secret++
		case len(used) > 0:
			d.Partly++
		}
		d.Sheet.Rows = append(d.Sheet.Rows, append(row, strings.Join(used, ", ")))
	}
	return d, nil
}

// AppealDays is how long a refusal can be appealed, from the day on which the requester was told of it (förvaltningslagen
// (2017:900), section 44).
const AppealDays = 21

// letter is the answer to whoever asked: what they get, what not and why, and how to appeal.
func (c SecrecyConfig) letter(r RecordsRequest, d RecordsDecision) Page {
	p := Page{From: c.Authority, Foot: []Phrase{{Swedish: "Diarienummer: " + Clipped(r.Case, 64) + ". Beslutsdatum: " + d.At.Format(time.DateOnly) + "."}}}
	subject := "Din begäran om att få ta del av allmänna handlingar"
	hello := "Hej! Du har bett att få ta del av handlingar hos oss. Tack för din begäran. Här är vårt svar."
	asked := Section{Heading: Phrase{Swedish: "Vad du bad om"}, Facts: filled([]Fact{
		{Term: Phrase{Swedish: "Din begäran"}, Value: r.Wording}, {Term: Phrase{Swedish: "Kom in"}, Value: r.Received.Format(time.DateOnly)},
	})}
	var answer Section
	switch d.Outcome {
	case OutcomeDisclosed:
		p.Heading.Swedish = "Svar: du får ta del av handlingarna"
		answer = Section{Heading: Phrase{Swedish: "Vårt beslut"}, Text: []Phrase{{Swedish: fmt.Sprintf("Du får ta del av allt som du bad om: %d rader.", d.Rows)}}}
	case OutcomePartly:
		p.Heading.Swedish = "Beslut: du får ta del av en del av handlingarna"
		answer = Section{Heading: Phrase{Swedish: "Vårt beslut"}, Text: []Phrase{{Swedish: fmt.Sprintf(
			"Du får ta del av handlingarna, %d rader, men inte av allt i dem. I %d rader är allt täckt, i %d rader något. Där står ordet sekretess och vilken bestämmelse det gäller.", d.Rows, d.Secret, d.Partly)}}}
	case OutcomeRefused:
		p.Heading.Swedish = "Beslut: vi kan inte lämna ut handlingarna"
		answer = Section{Heading: Phrase{Swedish: "Vårt beslut"}, Text: []Phrase{{Swedish: "Vi lämnar inte ut handlingarna. Vi förstår att det inte är det svar du hoppades på, och förklarar därför varför."}}}
	default:
		p.Heading.Swedish = "Svar: vi har inga sådana handlingar"
		answer = Section{Heading: Phrase{Swedish: "Vårt svar"}, Text: []Phrase{{Swedish: "Vi har letat och har inga handlingar av det slag du bad om. De kan ha gallrats: loggar sparas bara en kort tid."}}}
	}
	p.Lead = Phrase{Swedish: subject + ". " + hello}
	p.Sections = append(p.Sections, asked, answer)
	if d.Outcome == OutcomePartly || d.Outcome == OutcomeRefused {
		s := Section{Heading: Phrase{Swedish: "Varför"}, Facts: []Fact{{Term: Phrase{Swedish: "Våra skäl"}, Value: d.Reasons}}}
		t := Table{Caption: Phrase{Swedish: "Bestämmelser som vi använt"}, Head: []Phrase{{Swedish: "Bestämmelse"}, {Swedish: "Vad den skyddar"}, {Swedish: "Rader"}}}
		for _, l := range d.Laws {
			n := "–"
			if l.Rows > 0 {
				n = fmt.Sprint(l.Rows)
			}
			t.Rows = append(t.Rows, []string{l.Law, c.ground(l.Law), n})
		}
		if len(t.Rows) > 0 {
			s.Tables = []Table{t}
		}
		p.Sections = append(p.Sections, s, c.appeal())
	}
	if d.Outcome == OutcomeNothing {
		p.Sections = append(p.Sections, Section{Heading: Phrase{Swedish: "Om du inte är nöjd"}, Text: []Phrase{{
			Swedish: "Du kan be oss om ett skriftligt beslut, som du sedan kan överklaga till " + c.court() + ". Hör av dig till oss, så hjälper vi dig."}}})
	}
	p.Sections = append(p.Sections, Section{
		Heading: Phrase{"Frågor", "Questions"},
		Text: []Phrase{{
			"Hör gärna av dig till oss om något är oklart. Du behöver inte tala om vem du är eller varför du frågar, annat än om vi behöver veta det för sekretessprövningen.",
			"This letter answers your request for public records. Ask us if you need it in English, or in plain words.",
		}},
		Facts: filled([]Fact{{Term: Phrase{Swedish: "Kontakt"}, Value: c.Contact}}),
	})
	return p
}

func (c SecrecyConfig) court() string {
	if c.Court == "" {
		return "kammarrätten"
	}
	return Shown(c.Court)
}

// appeal says how a refusal is appealed: offentlighets- och sekretesslagen (2009:400), chapter 6, sections 7 and 8, and
// förvaltningslagen (2017:900), sections 43 to 46.
func (c SecrecyConfig) appeal() Section {
	return Section{Heading: Phrase{"Så här överklagar du", "How to appeal"}, Text: []Phrase{
		{Swedish: "Tycker du att beslutet är fel kan du överklaga det till " + c.court() + ". Det kostar ingenting, och du behöver inget ombud."},
		{Swedish: "Skriv ett brev eller ett mejl, ställt till " + c.court() + ", men skicka det till oss. Vi prövar först om det har kommit in i tid och om vi själva ska ändra beslutet; annars skickar vi det vidare till kammarrätten."},
		{Swedish: fmt.Sprintf("Överklagandet ska ha kommit in till oss inom tre veckor (%d dagar) från den dag då du fick del av beslutet. Kommer det senare kan det inte prövas.", AppealDays)},
		{Swedish: "Skriv vilket beslut du överklagar (diarienumret står längst ned), hur du vill att det ska ändras, och varför. Skriv hur kammarrätten kan nå dig. Handlingarna finns kvar medan saken prövas."},
		{English: "You may appeal to the administrative court of appeal within three weeks from the day on which you were told of this decision. Address the appeal to the court, but send it to us.",
			Swedish: "På engelska, i korthet:"},
	}}
}
