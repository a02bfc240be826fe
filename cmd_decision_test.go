package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
	"tillsyn/query/casework"
)

// A courtTown is a municipality whose logs are in, sealed, with the three roles of one of its tenants and what is true about
// its people.
type courtTown struct {
	t          *testing.T
	cfg        Config
	made       synthetic.Config
	dir, file  string
	tenant     string
	identities map[string]string
	truth      map[string][]string // by subject: each of their events
	subjects   []string            // of staff, the busiest first
	units      map[string]string   // by subject
	visits     map[[2]string]int   // by subject and category: events on the days from to to that are not protected
	from, to   seal.Day
}

func newCourtTown(t *testing.T) *courtTown {
	t.Helper()
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	c := synthetic.Config{Seed: 7, People: 600, From: time.Now().In(zone).AddDate(0, 0, -6).Format(time.DateOnly), Days: 4, Lines: 20_000, Format: "squid_native", Shards: 1}
	m, err := synthetic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := prepareDemoDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &courtTown{t: t, made: c, dir: dir, file: filepath.Join(dir, "tillsyn.yaml"), tenant: synthetic.Tenants()[0].Name, truth: map[string][]string{},
		units: map[string]string{}, visits: map[[2]string]int{}}
	if w.cfg, err = demoConfig(dir, m); err != nil {
		t.Fatal(err)
	}
	w.cfg.Log.Level, w.cfg.Kafka.Brokers = "error", []string{"127.0.0.1:9092"}
	w.cfg.Engine.MemoryLimit = 1 << 30
	under := func(p *string) { *p = filepath.Join(dir, *p) }
	for _, p := range []*string{&w.cfg.Keys.Directory, &w.cfg.Keys.Gate, &w.cfg.Vault.LookupKey, &w.cfg.Audit.Directory, &w.cfg.Audit.Key, &w.cfg.Casework.Dir} {
		if !filepath.IsAbs(*p) {
			under(p)
		}
	}
	text, err := dumpConfig(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	people := filepath.Join(dir, "people")
	if err := os.Mkdir(people, 0o700); err != nil {
		t.Fatal(err)
	}
	if w.identities, err = weakCeremony(t.Context(), w.cfg, w.tenant, people, seal.X25519, time.Now, io.Discard); err != nil {
		t.Fatal(err)
	}
	e, err := startEngine(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)

	w.from = seal.DayOf(time.Now()) - 5
	w.to = w.from + 2
	format, _ := synthetic.FormatByName(c.Format)
	encode := format.New(zone)
	var log []byte
	staff := map[string]int{}
	for {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		log = append(synthetic.AppendLine(log, e, encode), '\n')
		if e.Bad != "" || e.Tenant != w.tenant || e.Population != synthetic.PopulationStaff || e.Person == nil || !e.Person.SignsIn || !e.Person.Known || e.User == "" {
			continue
		}
		day := seal.DayOf(time.UnixMilli(e.Time))
		w.truth[e.Subject] = append(w.truth[e.Subject], fmt.Sprintf("%s %s %d %d", day, time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z"), e.Status, e.BytesIn))
		if e.Class == "protected" {
			n := len(w.truth[e.Subject]) - 1
			w.truth[e.Subject][n] += " protected"
		}
		if day >= w.from && day <= w.to {
			staff[e.Subject]++
			w.units[e.Subject] = e.Unit
			if e.Class != "protected" {
				w.visits[[2]string{e.Subject, e.Category}]++
			}
		}
	}
	w.subjects = slices.SortedFunc(maps.Keys(staff), func(a, b string) int { return staff[b] - staff[a] })
	path := filepath.Join(dir, "access.log")
	if err := os.WriteFile(path, log, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(exitOK, "", "import", "--format", c.Format, "--tenant", w.tenant, path)
	return w
}

// must runs a command and wants an exit code of it.
func (w *courtTown) must(code int, stdin string, args ...string) (out, faults string) {
	w.t.Helper()
	out, faults, got := typed(w.t, stdin, append([]string{"--config", w.file}, args...)...)
	if got != code {
		w.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, out, faults)
	}
	return out, faults
}

// within are the events of a subject that a lookup must answer, sorted.
func (w *courtTown) within(subject string, from, to seal.Day, protected bool) []string {
	var list []string
	for _, line := range w.truth[subject] {
		day, rest, _ := strings.Cut(line, " ")
		if day >= from.String() && day <= to.String() && (protected || !strings.HasSuffix(rest, " protected")) {
			list = append(list, strings.TrimSuffix(rest, " protected"))
		}
	}
	slices.Sort(list)
	return list
}

// rowsOf are the rows that lookup --json prints, as truth has them.
func (w *courtTown) rowsOf(out string) []string {
	w.t.Helper()
	var list []string
	for line := range strings.Lines(out) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %.0f %.0f", r["@timestamp"], r["http.response.status_code"], r["destination.bytes"]))
	}
	slices.Sort(list)
	return list
}

// draft is a draft about a subject, with lines replaced.
func (w *courtTown) draft(number, subject string, replace ...string) string {
	text := strings.NewReplacer(append([]string{
		"KS 2026/0123", number, "tenant: default", "tenant: " + w.tenant, `  subject: ""`, "  subject: " + subject,
		"from: 2026-11-17", "from: " + w.from.String(), "to: 2026-11-19", "to: " + w.to.String(), "sources: [web, mail]", "sources: [web]",
		`suspicion: ""`, "suspicion: otillåten fildelning", `reason: ""`, "reason: fyndet i enheten", `less_intrusive: ""`, "less_intrusive: samtal med enheten",
		`finding: ""`, "finding: fynd 2026-7", `intrusion: ""`, "intrusion: adresser under tre dagar", `consequences: ""`, "consequences: samtal",
		`policy: ""`, "policy: IT-regler 2026:1", `union: ""`, "union: Vision", "lookups: 1", "lookups: 3",
	}, replace...)...).Replace(exampleDraft)
	return text
}

// key is the verifier key of a member.
func (w *courtTown) key(id string) string {
	w.t.Helper()
	chain, err := keyPaths(w.cfg).chain(w.tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	m, ok := newest(chain).Member(id)
	if !ok {
		w.t.Fatal(id, "is no member")
	}
	return m.Verifier
}

// member enrols somebody: a card, three signatures, and it is published. It answers the flags that say who that is.
func (w *courtTown) member(id string) []string {
	w.t.Helper()
	identity, card := filepath.Join(w.dir, id+".identity"), filepath.Join(w.dir, id+".card")
	w.must(exitOK, "", "keys", "member", "--tenant", w.tenant, "--id", id, "--identity", identity, "--no-passphrase", "--out", card)
	w.must(exitOK, "", "keys", "reshare", "--tenant", w.tenant, "--add", card)
	w.published()
	return []string{"--identity", identity}
}

// published has three sign the register that is under way, and puts it in use.
func (w *courtTown) published() {
	w.t.Helper()
	w.must(exitOK, "", args("keys", "sign", "--tenant", w.tenant, "--yes", w.as("manager.a"), w.as("hr.a"), w.as("security.a"))...)
	w.must(exitOK, "", args("keys", "publish", "--tenant", w.tenant, w.as("manager.a"))...)
}

func (w *courtTown) as(id string) []string { return []string{"--identity", w.identities[id]} }

func args(parts ...any) []string {
	var list []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			list = append(list, p)
		case []string:
			list = append(list, p...)
		}
	}
	return list
}

// The whole of it, on the command line: request, self-approval refused, three approvals (one of them over distance), union notice,
// a lookup that is the truth and not one row more, everything else refused, revoked, closed, and the record verifies.
func TestDecisionStory(t *testing.T) {
	w := newCourtTown(t)
	investigator := w.member("utredare")
	subject, other := w.subjects[0], w.subjects[1]
	want := w.within(subject, w.from, w.to, false)
	if len(want) < 20 || len(w.within(other, w.from, w.to, false)) == 0 {
		t.Fatal("the town is too quiet:", len(want))
	}
	number := "KS 2026/0042"
	lookup := args("lookup", investigator, "--json", number)
	w.must(exitRefused, "", lookup...) // there is no such case

	// A manager asks, and so can't approve.
	out, _ := w.must(exitOK, w.draft(number, subject), args("decision", "request", w.as("manager.a"), "-")...)
	if !strings.Contains(out, "pending: 0 of 3 approvals") || strings.Contains(out, subject) {
		t.Error(out)
	}
	w.must(exitRefused, w.draft(number, other), args("decision", "request", w.as("manager.a"), "-")...) // the number is taken
	w.must(exitRefused, "y\n", args("decision", "approve", w.as("manager.a"), number)...)
	w.must(exitRefused, "y\n", args("decision", "approve", investigator, number)...)
	w.must(exitRefused, "", lookup...)

	// Saying no, or nothing, opens and signs nothing.
	for _, answer := range []string{"n\n", "\n", ""} {
		w.must(exitFound, answer, args("decision", "approve", w.as("hr.a"), number)...)
	}
	out, _ = w.must(exitOK, "y\n", args("decision", "approve", w.as("hr.a"), number)...)
	for _, shown := range []string{"OMFATTNING / SCOPE", "| Vision", "| " + subject, "| otillåten fildelning", "| " + w.from.String(), "| utredare (" + seal.Fingerprint(w.key("utredare")) + ")", "Godkänner du?", "Do you approve?", "1 of 3 approvals"} {
		if !strings.Contains(out, shown) {
			t.Errorf("the approver is not shown %q:\n%s", shown, out)
		}
	}
	shown, _ := w.must(exitOK, "", args("decision", "show", w.as("hr.a"), number)...)
	entries, _ := w.must(exitOK, "", "audit", "list", "--json")
	if entries = entries[strings.Index(entries, `"decision.requested"`):]; !strings.Contains(entries, `"decision.approved"`) {
		t.Fatal(entries)
	}
	for what, text := range map[string]string{"the screen": out, "the page": shown, "the record": entries} {
		if found := regexp.MustCompile(`(?i)\d+ (keys|nycklar|shares|andelar)|"keys"|keys handed over`).FindString(text); found != "" {
			t.Errorf("%s tells before three have approved how many keys there are: %s", what, found)
		}
	}
	w.must(exitRefused, "y\n", args("decision", "approve", w.as("hr.b"), number)...) // the role has approved
	w.must(exitRefused, "", lookup...)

	// Security is in another town.
	bundle, approval := filepath.Join(w.dir, "bundle"), filepath.Join(w.dir, "approval")
	w.must(exitOK, "", "decision", "bundle", "--role", "security", "--out", bundle, number)
	logKey, _ := w.must(exitOK, "", "audit", "key")
	away := args("decision", "approve", w.as("security.b"), "--bundle", bundle, "--out", approval)
	w.must(exitUsage, "y\n", away...) // which record?
	w.must(exitFault, "y\n", args("decision", "approve", w.as("hr.b"), "--bundle", bundle, "--out", approval, "--log-key", strings.TrimSpace(logKey))...)
	w.must(exitOK, "y\n", args(away, "--log-key", strings.TrimSpace(logKey))...)
	for range 2 { // twice is once
		out, _ = w.must(exitOK, "", "decision", "accept", approval)
	}
	if !strings.Contains(out, "2 of 3 approvals") {
		t.Error(out)
	}
	out, _ = w.must(exitOK, "", args("decision", "approve", w.as("manager.b"), "--yes", number)...)
	if !strings.Contains(out, "is active: 3 of 3 lookups left") {
		t.Error(out)
	}
	w.must(exitOK, "Vision, ombud Testsson\n", args("decision", "notify", w.as("hr.a"), "--told", "-", number)...)

	// What comes out is the truth about this person, these days, this source.
	w.must(exitRefused, "", args("lookup", w.as("manager.b"), "--json", number)...) // an approver is no investigator
	rows, about := w.must(exitOK, "", lookup...)
	if got := w.rowsOf(rows); !slices.Equal(got, want) {
		t.Errorf("the lookup has %d rows, the truth %d", len(got), len(want))
	}
	if !strings.Contains(about, fmt.Sprintf("lookup 1, 2 left. %d rows", len(want))) {
		t.Error(about)
	}
	// Who leaves the register between two lookups looks no more; who comes back with another key is another person.
	w.must(exitOK, "", "keys", "reshare", "--tenant", w.tenant, "--remove", "utredare")
	w.published()
	w.must(exitUsage, "", lookup...) // there is no such signing key here any more
	kept := filepath.Join(w.dir, "kept")
	sealed, err := decode64(must(parseCard(must(os.ReadFile(filepath.Join(w.dir, "utredare.card"))))).Signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(exitRefused, "", args(lookup, "--signer", kept)...)
	w.must(exitOK, "", "keys", "reshare", "--tenant", w.tenant, "--add", filepath.Join(w.dir, "utredare.card"))
	w.published()
	table, about := w.must(exitOK, "", args("lookup", investigator, number)...)
	if !strings.Contains(table+about, "Protected destinations are left out") {
		t.Error(table, about)
	}
	if n := strings.Count(table, "\n"); n != len(want) {
		t.Errorf("the table has %d lines, want %d", n, len(want))
	}
	// Rows go to the terminal and to standard output. A file that nobody removes with its case is not to be had, and costs no lookup.
	w.must(exitUsage, "", args("lookup", investigator, "--csv", filepath.Join(w.dir, "rows.csv"), number)...)
	w.must(exitOK, "", lookup...)
	w.must(exitRefused, "", lookup...) // three of three are used

	// Another person, another day, another source: there is no way to ask but another decision, which nobody has approved.
	for i, replace := range [][]string{
		{"  subject: " + subject, "  subject: " + other},
		{"from: " + w.from.String(), "from: " + (w.from - 1).String()},
		{"sources: [web]", "sources: [mail]"},
	} {
		n := fmt.Sprintf("KS 2026/01%d", i)
		w.must(exitOK, strings.NewReplacer(replace...).Replace(w.draft(n, subject)), args("decision", "request", w.as("manager.a"), "-")...)
		w.must(exitRefused, "", args("lookup", investigator, "--json", n)...)
	}
	out, _ = w.must(exitOK, "", "decision", "list")
	if strings.Count(out, "\n") != 5 || strings.Contains(out, subject) {
		t.Error(out)
	}

	// Whom it is about is shown to those who take part.
	out, _ = w.must(exitOK, "", args("decision", "show", investigator, number)...)
	if !strings.Contains(out, "| "+subject) {
		t.Error(out)
	}
	stranger := w.member("nyfiken")
	w.must(exitRefused, "", args("decision", "show", stranger, number)...)
	w.must(exitRefused, "", args("decision", "revoke", stranger, "--reason", "x", number)...)

	w.must(exitOK, "", args("decision", "revoke", w.as("security.a"), "--reason", "nytt besked", "KS 2026/010")...)
	w.must(exitOK, "", args("decision", "deny", w.as("hr.b"), "--reason", "räcker inte", "KS 2026/011")...)
	w.must(exitUsage, "", args("decision", "close", investigator, number)...) // without a result no case closes
	out, _ = w.must(exitOK, "ingen åtgärd\n", args("decision", "close", investigator, "--result", "-", number)...)
	if !strings.Contains(out, "is closed") || !strings.Contains(out, "GDPR artikel 14") || strings.Contains(out, "export document") {
		t.Error(out)
	}
	// The command that it names can be typed as it stands.
	_, command, found := strings.Cut(out, "What to write from: tillsyn decision show --identity FILE ")
	command, _, _ = strings.Cut(command, "\n")
	if !found || command != `"`+number+`"` {
		t.Errorf("the case is not one argument: %s", out)
	}
	w.must(exitOK, "", args("decision", "show", investigator, strings.Trim(command, `"`))...)
	w.must(exitRefused, "", lookup...)
	w.must(exitOK, "", "audit", "verify")
	var list struct{ Cases []decisionLine }
	out, _ = w.must(exitOK, "", "decision", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Cases) != 4 {
		t.Fatal(err, len(list.Cases))
	}
	for i, state := range []casework.State{casework.Closed, casework.Revoked, casework.Denied, casework.Pending} {
		if list.Cases[i].State != state {
			t.Errorf("%s is %s, want %s", list.Cases[i].Case, list.Cases[i].State, state)
		}
	}

	// Nothing on disk, but the planted logs and what was printed, says whom it was about.
	for _, dir := range []string{w.cfg.Casework.Dir, w.cfg.Audit.Directory, w.cfg.Keys.Directory, w.cfg.Engine.DataDir} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil
			}
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), subject) {
				t.Errorf("%s holds the subject", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// What a fault in a draft is quoted by nobody: the place says where to look.
func TestDraftFaultsQuoteNothing(t *testing.T) {
	for text, want := range map[string]string{
		"case: x\nanna.berg: 1\n": "line 2, column 1: a draft has no such field", "? anna.berg\n: x\n": "line 1, column 1: a draft has no such field",
		"lookups: anna.berg\n": "line 1, column 10: a number", "scope: {threshold: anna.berg}\n": "line 1, column 20: a number", "lookups: 99999999999999999999999\n": "line 1, column 10: the number is too large",
		"scope: anna.berg\n": "line 1, column 8: something of another kind", "investigators: anna.berg\n": "line 1, column 16: something of another kind",
		"<<: anna.berg\n": "line 1, column 5: something of another kind", "scope: {names: {anna.berg: 1}}\n": "line 1, column 16: something of another kind",
		"reason: {anna.berg: 1}\n": "line 1, column 9: a text", "case: a\ncase: anna.berg\n": "line 2, column 1: this field is there twice",
		"case: [anna.berg\n": "line 1, column 7: it is not YAML", "case: \"anna.berg\n": "line 1, column 7: it is not YAML", "reason: *anna.berg\n": "line 1, column 10: it is not YAML",
		"reason: >anna.berg\n": "line 1, column 9: it is not YAML", "reason: |anna.berg\n": "it is not YAML", "scope:\n  subject: anna.berg\n x: y\n": "line 3, column 2: it is not YAML",
		"reason: anna.berg: x\n": "line 1, column 9: it is not YAML", "\tanna.berg": "line 1, column 1", "tenant: @anna.berg\n": "line 1, column 9: it is not YAML", "tenant: `anna.berg\n": "line 1, column 9: it is not YAML",
		"reason: !anna.berg &anna.berg *anna.berg\n": "", "%anna.berg\n---\ncase: x\n": "", "anna.berg: {anna.berg: &a [*b]}\n": "", "": "it is empty",
		"union: 'anna.berg\n": "it is not YAML", "- anna.berg\n": "", "\xff\xfeanna.berg": "", "case: !!timestamp anna.berg\nlookups: !!float anna.berg\n": "",
	} {
		for _, draft := range []any{&decisionDraft{}, &permissionDraft{}, &accidentDraft{}} {
			err := readDraft([]byte(text), draft)
			if err != nil && strings.Contains(err.Error(), "anna") {
				t.Errorf("%q: %v", text, err)
			}
			if _, decision := draft.(*decisionDraft); decision && want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q: %v, want %s", text, err, want)
			}
		}
	}
}

// An approver is shown every field of what they sign. The two that nobody can read are left out.
func TestApproversAreShownEverything(t *testing.T) {
	d := casework.NewDecision()
	n := 0
	shown := map[string]string{}
	var fill func(path string, v reflect.Value)
	fill = func(path string, v reflect.Value) {
		n++
		switch x := v.Addr().Interface().(type) {
		case *time.Time:
			*x = time.Date(2026, 1, 1, n, 0, 0, 0, time.UTC)
			shown[path] = x.Format("2006-01-02 15:04:05 UTC")
			return
		case *seal.Digest:
			*x = seal.DigestOf([]byte(path))
			shown[path] = x.String()
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range 2 {
				fill(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		case reflect.String:
			v.SetString(fmt.Sprintf("field%dx", n))
			shown[path] = v.String()
		case reflect.Int:
			v.SetInt(int64(1000 + n))
			shown[path] = fmt.Sprint(v.Int())
		default:
			t.Fatalf("%s is of a kind that this test does not know", path)
		}
	}
	fill("decision", reflect.ValueOf(d).Elem())
	delete(shown, "decision.Type")
	delete(shown, "decision.Nonce")
	if len(shown) < 40 {
		t.Fatalf("only %d fields were found", len(shown))
	}
	var screen bytes.Buffer
	if err := agree(&screen, &caller{yes: true}, &casework.Opened{Decision: d, Digest: seal.DigestOf([]byte("decision")), Role: seal.HR}); err != nil {
		t.Fatal(err)
	}
	for path, text := range shown {
		if !strings.Contains(screen.String(), text) {
			t.Errorf("%s is not shown", path)
		}
	}
	if t.Failed() {
		t.Log(screen.String())
	}
}

// Wrong lines are usage errors that say all that is wrong, and quote nothing personal.
func TestDecisionUsage(t *testing.T) {
	dir := t.TempDir()
	cfg := DefaultConfig()
	for _, p := range cfg.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	cfg.Engine.DataDir = enginetest.Config(t, nil).DataDir
	text, err := dumpConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &courtTown{t: t, cfg: cfg, dir: dir, file: filepath.Join(dir, "tillsyn.yaml"), tenant: "default"}
	if err := os.WriteFile(w.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(exitFault, "", "decision", "list") // no keys yet
	people := filepath.Join(dir, "people")
	if err := os.Mkdir(people, 0o700); err != nil {
		t.Fatal(err)
	}
	if w.identities, err = weakCeremony(t.Context(), cfg, w.tenant, people, seal.X25519, time.Now, io.Discard); err != nil {
		t.Fatal(err)
	}
	w.from = seal.DayOf(time.Now()) - 3
	w.to = w.from
	w.member("utredare")
	if out, _ := w.must(exitOK, "", "decision", "list"); !strings.Contains(out, "There are no cases.") {
		t.Error(out)
	}
	out, _ := w.must(exitOK, "", "decision", "template")
	if out != exampleDraft {
		t.Error("the template is not the example")
	}
	_, faults := w.must(exitUsage, exampleDraft, args("decision", "request", w.as("hr.a"), "-")...)
	for _, field := range []string{"suspicion", "reason", "less_intrusive", "finding", "intrusion", "consequences", "policy", "scope.subject", "union"} {
		if !strings.Contains(faults, field) {
			t.Errorf("nothing is said about %s:\n%s", field, faults)
		}
	}
	for name, c := range map[string]struct{ old, new string }{
		"an unknown field":    {"lookups: 3", "lookups: 3\nrows: 5"},
		"a doubled field":     {"lookups: 3", "lookups: 3\nlookups: 4"},
		"tomorrow":            {"to: " + w.to.String(), "to: " + (w.to + 9).String()},
		"a wildcard":          {"  subject: anna.hemlig", `  subject: "anna.hemlig*"`},
		"a path":              {"tenant: default", "tenant: ../default"},
		"a name for a tenant": {"tenant: default", "tenant: anna.hemlig"},
		"a name for a field":  {"lookups: 3", "anna.hemlig: 3"},
		"a name for an alias": {"suspicion: otillåten fildelning", "suspicion: *anna.hemlig"},
		"a wrong time":        {`not_before: ""`, `not_before: "i morgon"`},
	} {
		draft := w.draft("KS 1", "anna.hemlig")
		if !strings.Contains(draft, c.old) {
			t.Fatalf("%s: the draft has no %q", name, c.old)
		}
		_, faults := w.must(exitUsage, strings.Replace(draft, c.old, c.new, 1), args("decision", "request", w.as("hr.a"), "-")...)
		if strings.Contains(faults, "hemlig") {
			t.Errorf("%s: the answer quotes the subject: %s", name, faults)
		}
	}
	for _, a := range [][]string{
		{"decision", "show"}, {"decision", "show", "KS 1"}, {"decision", "approve"}, {"lookup"}, {"lookup", "KS 1"}, {"decision", "bundle", "KS 1"},
		{"keys", "member"}, {"keys", "member", "--id", "Anna B", "--identity", w.identities["hr.a"]}, {"decision", "approve", "--bundle", "x"}, {"decision", "frobnicate"},
		{"lookup", "--json", "--csv", "x", "KS 1"}, {"lookup", "--out", "x", "KS 1"},
	} {
		w.must(exitUsage, "", a...)
	}
}
