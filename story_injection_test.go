package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

var everyInjection = flag.Bool("injections", false, "try every attack of case 37 in every place, rather than some of them: takes some minutes")

// An attacked town is a court town with cases in every state that commands need, and something that an executed attack would show.
type attackedTown struct {
	*courtTown
	marker   string       // stands in a file that nothing should read
	called   atomic.Int64 // times that something was fetched
	attacks  []string
	drafts   int
	turn     int
	outcomes map[int]int // by exit code
	subject  string
}

// next are the attacks for a place: all of them, or the one that is many at once and another in turn.
func (w *attackedTown) next() []string {
	if *everyInjection {
		return w.attacks
	}
	w.turn++
	return []string{w.attacks[0], w.attacks[1+w.turn%(len(w.attacks)-1)]}
}

// attack runs a command line with an attack in it and looks for signs that it was more than a value.
func (w *attackedTown) attack(place, stdin string, list ...string) {
	w.t.Helper()
	out, faults, code := typed(w.t, stdin, append([]string{"--config", w.file}, list...)...)
	w.outcomes[code]++
	said := out + faults
	for _, sign := range []string{w.marker, "root:", "DB::Exception", "Syntax error", "SYNTAX_ERROR", "code: 62", "Code: 62", "UNKNOWN_IDENTIFIER", "panic", "goroutine "} {
		if strings.Contains(said, sign) {
			w.t.Errorf("%s: %q in what was said: %.400s", place, sign, said)
		}
	}
	if code != exitOK && code != exitUsage && code != exitRefused && code != exitFound && code != exitFault {
		w.t.Errorf("%s: exit code %d", place, code)
	}
	typedIn := len(stdin)
	for _, a := range list {
		typedIn += len(a)
	}
	if len(faults) > 8<<10+3*typedIn { // what somebody typed may be quoted back to them
		w.t.Errorf("%s: %d bytes of faults", place, len(faults))
	}
}

// pending is a new case that may end.
func (w *attackedTown) pending() string {
	w.t.Helper()
	w.drafts++
	number := fmt.Sprintf("KS 2026/9%03d", w.drafts)
	w.must(exitOK, w.draft(number, w.subject), args("decision", "request", w.as("manager.a"), "-")...)
	return number
}

// tables are how many rows each table has that no command here writes to.
func (w *attackedTown) tables() map[string]uint64 {
	w.t.Helper()
	db, err := openDatabase(w.t.Context(), w.cfg, schemas.RoleOwner)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	count := map[string]uint64{}
	if err := db.Query(w.t.Context(), "SELECT name, ifNull(total_rows, 0) FROM system.tables WHERE database = currentDatabase()", nil, func(r clickhouse.Row) error {
		var name string
		var rows uint64
		err := r.Scan(&name, &rows)
		if !strings.Contains(name, "held") && !strings.Contains(name, "hold") {
			count[name] = rows
		} else {
			count[name] = 0
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return count
}

// Case 37 on the command line: every flag, every argument and every field of every draft, of every command that asks for somebody or
// something, takes what would be SQL, a file, an address, a parameter, a NUL or a million letters if anything made a query of it.
// All is refused, or is a value that nobody has. Commands and flags are those of the program: a new one without a line here fails.
func TestInjectionsOnTheCommandLine(t *testing.T) {
	w := &attackedTown{courtTown: newCourtTown(t), outcomes: map[int]int{}, marker: "hemlig-7f3a91"}
	t.Chdir(w.folder("here")) // what is taken for the name of a file goes there
	canary := filepath.Join(w.dir, "canary.txt")
	if err := os.WriteFile(canary, []byte(w.marker+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.called.Add(1) }))
	t.Cleanup(server.Close)
	file, address := "file('"+canary+"', 'LineAsString')", "url('"+server.URL+"/x', 'LineAsString')"
	w.attacks = []string{
		`x' OR 1=1 UNION ALL SELECT * FROM ` + file + `, ` + address + `; DROP TABLE web_keys; -- /* {p:Identifier} */`,
		`x'; DROP TABLE web_capsules; --`, `anna' /* */ OR '1'='1`, `anna") --`, file, address, `{p:Identifier}`, `{subject:String}`, "anna\x00berg", strings.Repeat("a", 1<<20), `\'; SELECT 1; -- `, "%", "x\n; DROP TABLE web_keys",
	}
	w.subject = w.subjects[0]
	investigator, registrar := w.member("utredare"), w.member("registrator")
	template := func(list ...string) string {
		text, _ := w.must(exitOK, "", list...)
		return text
	}
	at := func(hour int) string { return w.from.Time().Add(time.Duration(hour) * time.Hour).Format(time.RFC3339) }
	today := time.Now().UTC().Format(time.DateOnly)
	permission := fill(template("permission", "template"), "tenant:", w.tenant, "subject:", w.subject, "categories:", "[social]", "domains:", "[x.example]", "from:", today, "to:", today, "reason:", "arbete", "manager:", "Eva Ek")
	accident := fill(template("permission", "template", "--accident"), "tenant:", w.tenant, "subject:", w.subject, "from:", at(0), "to:", at(23), "category:", "social", "domain:", "x.example", "told:", "klickade fel", "told_at:", at(30), "manager:", "Eva Ek")
	records := fill(template("records", "template"), "tenant:", w.tenant, "case:", "KS 2026/0300", "received:", at(48), "wording:", "Loggen", "answer:", "brevlåda 1", "  subject:", w.subject, "  names:", "[x@y.example]", "  from:", w.from.String(), "  to:", w.to.String(), "  sources:", "[web]")
	number, police, own, desk := "KS 2026/0200", "KS 2026/0201", "KS 2026/0202", "KS 2026/0300"
	blank := []string{"suspicion: otillåten fildelning", `suspicion: ""`, "union: Vision", `union: ""`}
	w.decided(number, changed(w.draft(number, w.subject), "lookups: 3", "lookups: 100"), true)
	w.decided(police, changed(w.draft(police, w.subject), append(blank, "kind: person", "kind: police", "finding: fynd 2026-7", "finding: begäran 5000-K1-26",
		"ground: IT-regler 4.2", "ground: Rättegångsbalken 38 kap. 2 §", "lookups: 3", "lookups: 100")...), false)
	w.decided(own, changed(w.draft(own, w.subject), append(blank, "kind: person", "kind: subject_access", "less_intrusive: samtal med enheten", `less_intrusive: ""`,
		"intrusion: adresser under tre dagar", `intrusion: ""`, "consequences: samtal", `consequences: ""`, "lookups: 3", "lookups: 100", `recipient: ""`, "recipient: letter")...), false)
	w.must(exitOK, records, args("records", "request", registrar, "-")...)
	public := changed(w.draft(desk+"-1", w.subject), append(blank, "kind: person", "kind: public_record", "less_intrusive: samtal med enheten", `less_intrusive: ""`, "lookups: 3", "lookups: 100")...)
	w.decided(desk+"-1", strings.ReplaceAll(public, "id: utredare", "id: registrator"), false)
	w.must(exitOK, "", args("records", "preview", registrar, "--case", desk+"-1", desk)...)
	granted, _ := w.must(exitOK, permission, args("permission", "grant", w.as("manager.a"), "-")...)
	digest := strings.TrimSpace(granted[strings.Index(granted, "sha256:"):])
	logKey := strings.TrimSpace(template("audit", "key"))
	var exported exportLine
	text, _ := w.must(exitOK, "", args("export", investigator, "--json", "-o", w.folder("out"), number)...)
	if err := json.Unmarshal([]byte(text), &exported); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(w.dir, "bundle")
	waiting := w.pending()
	w.must(exitOK, "", "decision", "bundle", "--role", "security", "--out", bundle, waiting)

	want := w.within(w.subject, w.from, w.to, false)
	before := w.tables()

	// How each command is run when nothing is wrong: flags with their values, then arguments. A function makes what the command ends.
	type base struct {
		stdin     string
		flags     []string
		arguments []string
		fresh     func() []string // arguments anew for each run
	}
	again := func() []string { return []string{w.pending()} }
	bases := map[string]base{
		"report web":                 {flags: []string{"--from", w.from.String(), "--to", w.to.String()}},
		"report mail":                {flags: []string{"--from", w.from.String(), "--to", w.to.String()}},
		"decision template":          {},
		"decision request":           {stdin: w.draft(number, w.subject), flags: w.as("manager.a"), arguments: []string{"-"}},
		"decision show":              {flags: investigator, arguments: []string{number}},
		"decision list":              {},
		"decision bundle":            {flags: []string{"--role", "security", "--out", filepath.Join(w.dir, "bundle2")}, arguments: []string{waiting}},
		"decision approve":           {flags: args(w.as("hr.a"), "--yes"), fresh: again},
		"decision accept":            {arguments: []string{bundle}},
		"decision deny":              {flags: args(w.as("hr.a"), "--reason", "nej"), fresh: again},
		"decision revoke":            {flags: args(w.as("hr.a"), "--reason", "nej"), fresh: again},
		"decision notify":            {flags: args(w.as("hr.a"), "--told", "Vision"), fresh: again},
		"decision close":             {flags: args(w.as("hr.a"), "--result", "inget"), fresh: again},
		"lookup":                     {flags: args(investigator, "--json"), arguments: []string{number}},
		"permission template":        {},
		"permission grant":           {stdin: permission, flags: w.as("manager.a"), arguments: []string{"-"}},
		"permission report-accident": {stdin: accident, flags: w.as("manager.a"), arguments: []string{"-"}},
		"permission list":            {flags: w.as("hr.a"), arguments: []string{w.tenant}},
		"permission show":            {flags: w.as("hr.a"), arguments: []string{w.tenant, digest}},
		"permission revoke":          {flags: args(w.as("manager.b"), "--reason", "klart"), arguments: []string{w.tenant, digest}},
		"export":                     {flags: args(investigator, "--out", w.folder("out2")), arguments: []string{number}},
		"export police": {flags: args(investigator, "--out", w.folder("out3"), "--authority", "Polismyndigheten", "--reference", "5000-K1-26", "--received", at(0),
			"--law", "Rättegångsbalken 38 kap. 2 §"), arguments: []string{police}},
		"export verify":    {flags: []string{"--log-key", logKey}, arguments: []string{exported.Path}},
		"export document":  {flags: args(investigator, "--out", filepath.Join(w.dir, "document.html")), arguments: []string{number}},
		"export list":      {flags: investigator, arguments: []string{number}},
		"export remove":    {},
		"subject-access":   {flags: args(investigator, "--out", w.folder("out4")), arguments: []string{own}},
		"records template": {},
		"records request":  {stdin: records, flags: registrar, arguments: []string{"-"}},
		"records preview":  {flags: args(registrar, "--case", desk+"-1"), arguments: []string{desk}},
		"records mark":     {flags: args(registrar, "--rows", "1", "--law", "OSL 18 kap. 8 §"), arguments: []string{desk}},
		"records decide":   {flags: args(registrar, "--outcome", "disclosed"), arguments: []string{desk}},
		"records export":   {flags: args(registrar, "--out", w.folder("out5")), arguments: []string{desk}},
		"records close":    {flags: registrar, arguments: []string{desk}},
		"records files":    {flags: registrar, arguments: []string{desk}},
		"records confirm":  {flags: w.as("security.a"), arguments: []string{desk}},
		"records list":     {},
		"hold list":        {},
		"hold place":       {flags: investigator, arguments: []string{number}},
		"hold release":     {flags: investigator, arguments: []string{number}},
		"purge":            {},

		"purge certificate": {arguments: []string{filepath.Join(w.dir, "none.note")}},
	}
	seen := map[string]bool{}
	identity := map[string]bool{} // flags of identityFlags are the same everywhere
	for _, f := range identityFlags() {
		identity[f.Names()[0]] = true
	}
	asked := map[string]bool{}
	var walk func(path string, c *cli.Command)
	walk = func(path string, c *cli.Command) {
		path = strings.TrimSpace(path + " " + c.Name)
		for _, sub := range c.Subcommands {
			walk(path, sub)
		}
		if len(c.Subcommands) > 0 && len(c.Flags) == 0 {
			w.attack(path+" as a subcommand", "", append(strings.Fields(path), w.attacks[0])...)
			return
		}
		b, ok := bases[path]
		if !ok {
			t.Errorf("%s: the test does not know how to run it", path)
			return
		}
		seen[path] = true
		call := func(flags, arguments []string) []string {
			if b.fresh != nil && len(arguments) == 0 {
				arguments = b.fresh()
			}
			return slices.Concat(strings.Fields(path), flags, arguments)
		}
		for _, f := range c.Flags {
			if _, ok := f.(*cli.BoolFlag); ok {
				continue
			}
			name := f.Names()[0]
			if name == "identity" || name == "passphrase-file" || name == "signer" {
				if asked[name] && identity[name] {
					continue
				}
				asked[name] = true
			}
			for _, attack := range w.next() {
				flags := slices.Clone(b.flags)
				at := slices.Index(flags, "--"+name)
				if at < 0 {
					flags = append(flags, "--"+name, attack)
				} else {
					flags[at+1] = attack
				}
				w.attack(path+" --"+name, b.stdin, call(flags, b.arguments)...)
			}
		}
		arguments := b.arguments
		if b.fresh != nil {
			arguments = []string{number}
		}
		for i := range arguments {
			for _, attack := range w.next() {
				changed := slices.Clone(arguments)
				changed[i] = attack
				w.attack(fmt.Sprintf("%s argument %d", path, i+1), b.stdin, call(b.flags, changed)...)
			}
		}
		if len(arguments) == 0 {
			w.attack(path+" with an argument", b.stdin, append(call(b.flags, nil), w.attacks[0])...)
		}
		if slices.Contains(arguments, "-") {
			// Each line of the draft, with the attack as its value, alone and in a list.
			lines := strings.Split(b.stdin, "\n")
			n := 0
			for i, line := range lines {
				m := regexp.MustCompile(`^( *(?:- )?[a-z_]+:)(.*)$`).FindStringSubmatch(line)
				if m == nil || strings.TrimSpace(m[2]) == "" || m[1] == "scope:" {
					continue
				}
				n++
				for _, attack := range w.next() {
					value, err := json.Marshal(attack) // which YAML reads too
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(strings.TrimSpace(m[2]), "[") {
						value = fmt.Appendf(nil, "[%s]", value)
					}
					changed := slices.Clone(lines)
					changed[i] = m[1] + " " + string(value)
					if path == "decision request" && !strings.HasPrefix(line, "case:") { // a number of its own
						w.drafts++
						changed[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "case:") })] = fmt.Sprintf("case: KS 2026/8%03d", w.drafts)
					}
					w.attack(path+" field "+strings.TrimSpace(m[1]), strings.Join(changed, "\n"), call(b.flags, b.arguments)...)
				}
			}
			if n < 9 {
				t.Errorf("%s: the draft has %d fields", path, n)
			}
		}
	}
	for _, c := range commands() {
		switch c.Name {
		case "report", "lookup", "decision", "permission", "records", "export", "subject-access", "hold", "purge":
			walk("", c)
		}
	}
	for path := range bases {
		if !seen[path] {
			t.Errorf("%s: there is no such command", path)
		}
	}

	after := w.tables()
	for name, rows := range before {
		if n, ok := after[name]; !ok || n != rows {
			t.Errorf("the table %s had %d rows and has %d now (there: %t)", name, rows, n, ok)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d tables became %d", len(before), len(after))
	}
	if n := w.called.Load(); n > 0 {
		t.Errorf("something was fetched %d times", n)
	}
	rows, _ := w.must(exitOK, "", args("lookup", investigator, "--json", number)...)
	if got := w.rowsOf(rows); !slices.Equal(got, want) {
		t.Errorf("after all of it the lookup has %d rows, the truth %d", len(got), len(want))
	}
	// What can't be written costs no lookup.
	left := func() string {
		out, _ := w.must(exitOK, "", args("decision", "show", investigator, number)...)
		return out[strings.Index(out, " lookups left")-8:]
	}
	full := left()
	nowhere := filepath.Join(w.dir, "nowhere")
	w.must(exitUsage, "", args("export", investigator, "--out", nowhere, number)...)
	w.must(exitUsage, "", args("subject-access", investigator, "--out", nowhere, own)...)
	if now := left(); now != full {
		t.Errorf("a lookup was used up for nothing: %.20q, before %.20q", now, full)
	}
	w.must(exitOK, "", "audit", "verify")
	n := 0
	for _, times := range w.outcomes {
		n += times
	}
	t.Logf("%d attacks on %d commands; exit codes %v", n, len(seen), w.outcomes)
}
