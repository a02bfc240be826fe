package casework

import (
	"bytes"
	"context"
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
	"tillsyn/internal/vault"
)

func secrecy() SecrecyConfig {
	c := DefaultSecrecyConfig()
	c.Authority, c.Contact, c.Court = "Norrbo kommun", "Registrator, Norrbo kommun, 100 00 Norrbo\nregistrator@norrbo.example", "Kammarrätten i Sundsvall"
	return c
}

// maskNumbers stands for the finder of ingest, which this room may not import.
func maskNumbers(text string) string {
	return regexp.MustCompile(`\b\d{6,8}[-+]\d{4}\b`).ReplaceAllString(text, "******-****")
}

func recordsRequest(o *town, now time.Time, change func(*RecordsRequest)) *RecordsRequest {
	r := &RecordsRequest{
		Type: typeRecordsRequest, Deployment: deployment, Tenant: tenant, Case: "KS 2026/500", Received: now.Add(-time.Hour),
		Wording: "Kommunchefens e-postlogg den 16 till 20 november.", Answer: "",
		Scope:     RecordsScope{Subject: "anna.berg", Names: []string{"anna.berg@norrbo.se"}, From: "2026-11-16", To: "2026-11-20", Sources: []string{Mail, Web}},
		Registrar: o.person("registrator"), At: now, Nonce: NewNonce(),
	}
	if change != nil {
		change(r)
	}
	return r
}

// The whole way of a request, on a real database: somebody asks, rows are held, looked at under a decision, marked, decided on,
// handed over, and let go.
func TestRecordsFromRequestToClose(t *testing.T) {
	db := newDatabase(t)
	h := newHouse(t, db)
	holds := vault.HoldRegister{DB: db.db, Log: h.log, Lock: h.path("purge.lock"), Wait: 10 * time.Second, Now: h.now}
	desk := &RecordsDesk{Gate: h.gate, Config: secrecy(), Place: holds.Place, Release: holds.Release, Mask: maskNumbers, Identities: []age.Identity{h.ages["registrator"]}, Seal: sealNative}
	ctx := t.Context()
	me := h.signer("registrator")

	signed := get(SignRecordsRequest(recordsRequest(h.town, h.now(), nil), me))
	r, err := desk.Request(ctx, signed)
	if err != nil {
		t.Fatal(err)
	}
	if r.State() != "requested" {
		t.Fatal(r.State())
	}
	if _, err := desk.Request(ctx, signed); err != nil || h.count(audit.HoldPlaced) != 1 || h.count(audit.RecordsRequested) != 1 {
		t.Errorf("asking twice: %v, %d holds", err, h.count(audit.HoldPlaced))
	}
	if list := get(holds.List(ctx)); len(list) != 1 || list[0].Basis != vault.HoldByRecords || list[0].From != "2026-11-16" || list[0].To != "2026-11-20" || list[0].Copies.Capsules == 0 || list[0].Copies.Keys == 0 {
		t.Errorf("%+v", list)
	}

	d := h.active(func(d *Decision) {
		d.Kind, d.Case, d.Suspicion, d.LessIntrusive, d.Union = PublicRecord, "KS 2026/500-1", "", "", ""
		d.Scope.Subject, d.Scope.Names, d.Scope.From, d.Scope.To = "anna.berg", []string{"anna.berg@norrbo.se"}, "2026-11-17", "2026-11-18"
		d.Scope.Protected = "Sekretessprövningen måste se alla rader."
		d.Investigators = []Signatory{h.person("registrator")}
	})
	result, err := desk.Preview(ctx, "KS 2026/500", d.Case, me)
	if err != nil {
		t.Fatal(err)
	}
	rows, marks, err := desk.Rows(ctx, "KS 2026/500", me)
	if err != nil || int64(len(rows)) != result.Rows || !slices.Equal(linesOf(rows), db.wanted(d.Scope)) {
		t.Fatalf("%d rows of %d, %v", len(rows), result.Rows, err)
	}
	// Protected destinations are marked whole, other people's addresses as fields.
	protected, others := 0, 0
	for _, m := range marks {
		if len(m.Fields) == 0 {
			protected++
		} else if slices.Contains(m.Fields, "email.from.address") || slices.Contains(m.Fields, "email.to.address") {
			others++
		}
	}
	if protected != 6 || others != 4 {
		t.Errorf("preset: %d protected rows, %d with other people", protected, others)
	}
	first := slices.IndexFunc(rows, func(r Row) bool { return r.Get("tillsyn.category") == "gambling" }) + 1
	if err := desk.Mark(ctx, "KS 2026/500", Marks{{Row: first, Fields: []string{}, Law: "OSL 18 kap. 8 §"}, {Row: first + 1, Fields: []string{"url.path"}, Law: "OSL 21 kap. 7 §"}}, me); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]Marks{
		"no row": {{Row: len(rows) + 1, Law: "OSL 18 kap. 8 §"}}, "row 0": {{Row: 0, Law: "OSL 18 kap. 8 §"}}, "another law": {{Row: 1, Law: "för att"}},
		"no field": {{Row: 1, Fields: []string{"url.nothing"}, Law: "OSL 18 kap. 8 §"}},
	} {
		if desk.Mark(ctx, "KS 2026/500", bad, me) == nil {
			t.Errorf("%s was marked", name)
		}
	}
	rows, marks, err = desk.Rows(ctx, "KS 2026/500", me)
	if err != nil {
		t.Fatal(err)
	}
	found := get(desk.Config.Disclose(rows, marks, desk.Mask))
	if found.Rows != len(rows) || found.Secret != 7 || found.Laws["OSL 18 kap. 8 §"] != 1 {
		t.Errorf("%d rows, %d secret, %v", found.Rows, found.Secret, found.Laws)
	}

	folder := h.path("out")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Export(ctx, "KS 2026/500", folder, me); err == nil {
		t.Error("what nobody decided on was exported")
	}
	if _, err := desk.Decide(ctx, "KS 2026/500", OutcomeDisclosed, "", nil, me); err == nil {
		t.Error("all of it was disclosed although some of it is secret")
	}
	if _, err := desk.Decide(ctx, "KS 2026/500", OutcomePartly, "", nil, me); err == nil {
		t.Error("something was kept secret without a reason")
	}
	decision, err := desk.Decide(ctx, "KS 2026/500", OutcomePartly, "Vissa uppgifter rör enskildas hälsa eller andra personer.", nil, me)
	if err != nil || decision.Rows != len(rows) || decision.Secret != 7 {
		t.Fatalf("%+v, %v", decision, err)
	}
	if h.count(audit.RecordsDecided) != 1 {
		t.Error("the decision is not on record")
	}
	if desk.Mark(ctx, "KS 2026/500", Marks{{Row: 1, Law: "OSL 18 kap. 8 §"}}, me) == nil {
		t.Error("it was marked after the decision")
	}
	names, err := desk.Export(ctx, "KS 2026/500", folder, me)
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		path := filepath.Join(folder, n)
		text := get(os.ReadFile(path))
		if info := get(os.Stat(path)); info.Mode() != 0o600 {
			t.Error(n, info.Mode())
		}
		if strings.HasSuffix(n, ".html") {
			checkPage(t, n, text)
		}
		for _, secret := range []string{"health.example", "bo.ek", "kalle.kund"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q", n, secret)
			}
		}
		if !strings.HasSuffix(n, "brev.html") && (!bytes.Contains(text, []byte("OSL 21 kap. 1 §")) || !bytes.Contains(text, []byte("/anna.berg/2026-11-18/2"))) {
			t.Errorf("%s lacks a law, or a row that is not secret", n)
		}
	}

	if err := desk.Close(ctx, "KS 2026/500", false, me); err == nil {
		t.Error("it was closed while it can be appealed")
	}
	h.pass(29 * 24 * time.Hour)
	if err := desk.Close(ctx, "KS 2026/500", false, me); err != nil {
		t.Fatal(err)
	}
	if r := get(desk.Status(ctx, "KS 2026/500")); r.State() != "closed" || r.Previews != 0 {
		t.Errorf("%s with %d previews", r.State(), r.Previews)
	}
	if h.count(audit.HoldReleased) != 1 {
		t.Error("the hold was not released")
	}
	if _, _, err := desk.Rows(ctx, "KS 2026/500", me); err == nil {
		t.Error("the rows of a closed request are still there")
	}
	if err := filepath.WalkDir(h.path("cases"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && bytes.Contains(get(os.ReadFile(path)), []byte("anna")) {
			t.Errorf("%s holds a name", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// heldOnly takes orders for holds as the vault would, without a database: what it was asked, it answers.
func heldOnly(k *desk, orders *[]vault.HoldOrder) *RecordsDesk {
	return &RecordsDesk{
		Gate: k.gate, Config: secrecy(), Mask: maskNumbers,
		Place: func(ctx context.Context, o vault.HoldOrder) (vault.Hold, vault.HoldCopies, error) {
			if err := o.Authorise(ctx); err != nil {
				return vault.Hold{}, vault.HoldCopies{}, err
			}
			*orders = append(*orders, o)
			k.append(audit.Entry{Kind: audit.HoldPlaced, Actor: o.Actor, Case: o.Case, Document: seal.DigestOf([]byte(o.Document)).String(), Body: o.Document + "\n"})
			return vault.Hold{}, vault.HoldCopies{}, nil
		},
	}
}

func TestRecordsRequestNeedsNoRequester(t *testing.T) {
	k := openDesk(t, nil)
	var orders []vault.HoldOrder
	desk := heldOnly(k, &orders)
	for _, change := range []func(*RecordsRequest){
		nil,
		func(r *RecordsRequest) {
			r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Unit = "KS 2026/501", "", []string{}, "Hamn"
		},
		func(r *RecordsRequest) {
			r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Sources = "KS 2026/502", "", []string{}, []string{Mail}
		},
	} {
		if _, err := desk.Request(t.Context(), get(SignRecordsRequest(recordsRequest(k.town, k.now, change), k.signer("registrator")))); err != nil {
			t.Error(err)
		}
	}
	if len(orders) != 3 || len(orders[0].Scope.Rows) != 5*2*2 || len(orders[1].Scope.Rows) != 5*2 || orders[1].Scope.Rows[0].Unit != "Hamn" || len(orders[2].Scope.Rows) != 5 {
		t.Errorf("%d orders", len(orders))
	}
	if list := get(desk.List(t.Context())); len(list) != 3 || list[0].State() != "requested" {
		t.Errorf("%+v", list)
	}
	for name, change := range map[string]func(*RecordsRequest){
		"without words":         func(r *RecordsRequest) { r.Wording = "" },
		"of older days":         func(r *RecordsRequest) { r.Scope.From = "2026-01-01" },
		"of days to come":       func(r *RecordsRequest) { r.Scope.To = "2026-12-01" },
		"backwards":             func(r *RecordsRequest) { r.Scope.From, r.Scope.To = r.Scope.To, r.Scope.From },
		"mailbox and unit":      func(r *RecordsRequest) { r.Scope.Unit = "Hamn" },
		"names without subject": func(r *RecordsRequest) { r.Scope.Subject = "" },
		"no source":             func(r *RecordsRequest) { r.Scope.Sources = []string{} },
		"another source":        func(r *RecordsRequest) { r.Scope.Sources = []string{"calls"} },
		"of the future":         func(r *RecordsRequest) { r.At = r.At.Add(time.Hour) },
		"a wildcard":            func(r *RecordsRequest) { r.Scope.Subject = "%" },
		"another number's":      func(r *RecordsRequest) { r.Nonce = NewNonce() },
		"a path for a number":   func(r *RecordsRequest) { r.Case = "../../x" },
		"hidden letters":        func(r *RecordsRequest) { r.Wording = "a\u202eb" },
	} {
		r := recordsRequest(k.town, k.now, change)
		text, err := seal.Canonical(r)
		if err != nil {
			continue
		}
		if _, err := desk.Request(t.Context(), get(seal.Sign(text, k.signer("registrator")))); err == nil {
			t.Errorf("a request %s was taken", name)
		}
	}
	if _, err := desk.Request(t.Context(), get(seal.Sign(get(seal.Canonical(recordsRequest(k.town, k.now, func(r *RecordsRequest) { r.Case = "KS 9" }))), k.signer("it")))); err == nil {
		t.Error("a request that another signed was taken")
	}
}

func TestRecordsAreTheRegistrarsOnly(t *testing.T) {
	k := openDesk(t, nil)
	var orders []vault.HoldOrder
	desk := heldOnly(k, &orders)
	ctx := t.Context()
	get(desk.Request(ctx, get(SignRecordsRequest(recordsRequest(k.town, k.now, nil), k.signer("registrator")))))
	for _, who := range []*seal.Signer{nil, k.signer("it"), k.signer("utredare"), get(seal.NewSigner("registrator"))} {
		if _, _, err := desk.Rows(ctx, "KS 2026/500", who); err == nil {
			t.Error("another than the registrar saw rows")
		}
		if desk.Mark(ctx, "KS 2026/500", nil, who) == nil {
			t.Error("another than the registrar marked rows")
		}
		if _, err := desk.Decide(ctx, "KS 2026/500", OutcomeNothing, "", nil, who); err == nil {
			t.Error("another than the registrar decided")
		}
		if desk.Close(ctx, "KS 2026/500", true, who) == nil {
			t.Error("another than the registrar closed it")
		}
	}
	if _, err := desk.Preview(ctx, "KS 2026/500", k.Decision.Case, k.signer("registrator")); err == nil {
		t.Error("rows were previewed under somebody else's decision")
	}
	if _, err := desk.Decide(ctx, "KS 2026/500", OutcomeDisclosed, "", nil, k.signer("registrator")); err == nil {
		t.Error("what nobody looked at was disclosed")
	}
	if _, err := desk.Decide(ctx, "KS 2026/500", OutcomeRefused, "Allt är hemligt.", []string{"OSL 99 kap. 9 §"}, k.signer("registrator")); err == nil {
		t.Error("a law that is not configured was used")
	}
	d, err := desk.Decide(ctx, "KS 2026/500", OutcomeRefused, "Loggen visar hur intrångsskyddet fungerar.", []string{"OSL 18 kap. 8 §"}, k.signer("registrator"))
	if err != nil || !slices.Equal(d.Laws, []LawUse{{"OSL 18 kap. 8 §", 0}}) {
		t.Error(err)
	}
}

func TestRecordsDecisionReachesNoFurtherThanTheRequest(t *testing.T) {
	o := newTown(t)
	r := recordsRequest(o, noon(), nil)
	base := func() *Decision {
		d := o.decision(noon())
		d.Kind = PublicRecord
		d.Scope.Subject, d.Scope.Names, d.Scope.From, d.Scope.To = "anna.berg", []string{}, "2026-11-17", "2026-11-18"
		return d
	}
	if err := r.covers(base()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Decision){
		"another kind":   func(d *Decision) { d.Kind = Person },
		"another person": func(d *Decision) { d.Scope.Subject = "bo.ek" },
		"another name":   func(d *Decision) { d.Scope.Names = []string{"bo.ek@norrbo.se"} },
		"a day before":   func(d *Decision) { d.Scope.From = "2026-11-15" },
		"a day after":    func(d *Decision) { d.Scope.To = "2026-11-21" },
		"another tenant": func(d *Decision) { d.Tenant = "soderbo" },
	} {
		d := base()
		change(d)
		if r.covers(d) == nil {
			t.Errorf("%s: the decision is covered", name)
		}
	}
	r.Scope.Sources = []string{Mail}
	if r.covers(base()) == nil {
		t.Error("another source: the decision is covered")
	}
}

func TestDiscloseBlanksWhatIsMarked(t *testing.T) {
	c := secrecy()
	rows := []Row{
		{{"@timestamp", "2026-11-18T10:00:00.000Z"}, {"url.domain", "halsa.example"}, {"tillsyn.category", "health"}, {"tillsyn.class", "protected"}},
		{{"@timestamp", "2026-11-18T10:01:00.000Z"}, {"url.domain", "tips.example"}, {"tillsyn.category", "news_tips"}, {"tillsyn.class", "protected"}},
		{{"@timestamp", "2026-11-18T10:02:00.000Z"}, {"url.domain", "tro.example"}, {"tillsyn.category", "faith"}, {"tillsyn.class", "protected"}},
		{{"@timestamp", "2026-11-18T10:03:00.000Z"}, {"email.subject", "Ang. 19121212-1212"}, {"email.from.address", redacted + "@firma.example"}},
		{{"@timestamp", "2026-11-18T10:04:00.000Z"}, {"url.domain", "nyheter.example"}, {"url.query", "pnr=121212-1212"}},
		{{"@timestamp", "2026-11-18T10:05:00.000Z"}, {"url.domain", "=cmd|x"}},
	}
	marks := c.Preset(rows)
	d := get(c.Disclose(rows, marks, maskNumbers))
	want := [][]string{
		{"1", Secret, Secret, Secret, Secret, Secret, Secret, Secret, "OSL 21 kap. 1 §"},
		{"2", Secret, Secret, Secret, Secret, Secret, Secret, Secret, "TF 3 kap. 5 §"},
		{"3", Secret, Secret, Secret, Secret, Secret, Secret, Secret, "OSL 21 kap. 7 §"},
		{"4", "2026-11-18T10:03:00.000Z", "", "", Secret, "Ang. ******-****", "", "", "OSL 21 kap. 7 §"},
		{"5", "2026-11-18T10:04:00.000Z", "nyheter.example", "pnr=******-****", "", "", "", "", "OSL 21 kap. 7 §"},
		{"6", "2026-11-18T10:05:00.000Z", "=cmd|x", "", "", "", "", "", ""},
	}
	if !slices.EqualFunc(d.Sheet.Rows, want, slices.Equal) || d.Secret != 3 || d.Partly != 2 || d.Laws["OSL 21 kap. 7 §"] != 3 {
		for _, r := range d.Sheet.Rows {
			t.Errorf("%q", r)
		}
		t.Errorf("%+v", d.Laws)
	}
	// The registrar lifts a preset and marks another field.
	d = get(c.Disclose(rows, append(marks, Mark{Row: 1}, Mark{Row: 1, Fields: []string{"url.domain"}, Law: "OSL 21 kap. 1 §"}), maskNumbers))
	if r := d.Sheet.Rows[0]; r[1] == Secret || r[2] != Secret || r[8] != "OSL 21 kap. 1 §" {
		t.Errorf("%q", r)
	}
	if _, err := c.Disclose(rows, marks, nil); err == nil {
		t.Error("rows were disclosed with nothing that masks numbers")
	}
}

func TestRefusalLetter(t *testing.T) {
	o := newTown(t)
	c := secrecy()
	r := recordsRequest(o, noon(), func(r *RecordsRequest) { r.Wording = "Alla mejl som kommunchefen har skickat i november." })
	d := RecordsDecision{Case: r.Case, Outcome: OutcomeRefused, Reasons: "Loggen visar hur intrångsskyddet fungerar. Den som vill kringgå det skulle ha nytta av den.",
		Laws: []LawUse{{Law: "OSL 18 kap. 8 §"}}, At: noon()}
	letter := get(c.letter(*r, d).HTML())
	checkPage(t, "letter", letter)
	golden(t, "document_refusal.html", letter)
	for _, want := range []string{"Kammarrätten i Sundsvall", "tre veckor", "skicka det till oss", "OSL 18 kap. 8 §", "intrångsskyddet", "KS 2026/500", "Så här överklagar du"} {
		if !bytes.Contains(letter, []byte(want)) {
			t.Errorf("the letter does not say %q", want)
		}
	}
	for _, outcome := range Outcomes() {
		d.Outcome = outcome
		d.Laws[0].Rows = 3
		letter := get(c.letter(*r, d).HTML())
		checkPage(t, outcome, letter)
		if appeal := bytes.Contains(letter, []byte("Så här överklagar du")); appeal != (outcome == OutcomeRefused || outcome == OutcomePartly) {
			t.Errorf("%s: how to appeal stands there: %t", outcome, appeal)
		}
	}
	for _, v := range hostile() {
		r.Wording, r.Case, d.Reasons, d.Laws = v, v, v, []LawUse{{Law: v}}
		c.Authority, c.Contact, c.Court = v, v, v
		d.Outcome = OutcomePartly
		checkPage(t, Clipped(v, 20), get(c.letter(*r, d).HTML()))
	}
}

func TestSecrecyConfig(t *testing.T) {
	if err := DefaultSecrecyConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*SecrecyConfig){
		"no grounds":                  func(c *SecrecyConfig) { c.Grounds = nil },
		"a preset of no ground":       func(c *SecrecyConfig) { c.Presets["health"] = "för att" },
		"no law for identity numbers": func(c *SecrecyConfig) { delete(c.Presets, PresetIdentityNumber) },
		"a ground twice":              func(c *SecrecyConfig) { c.Grounds = append(c.Grounds, c.Grounds[0]) },
		"a ground without words":      func(c *SecrecyConfig) { c.Grounds[0].About = "" },
		"a court of two lines":        func(c *SecrecyConfig) { c.Court = "a\nb" },
	} {
		c := DefaultSecrecyConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s is valid", name)
		}
	}
}
