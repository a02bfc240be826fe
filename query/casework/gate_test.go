package casework

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

// A database is a real engine with sealed events of some people, and what is true about them.
type database struct {
	town   *town
	db     *clickhouse.DB
	store  *vault.Store
	lookup *vault.Lookup
	ring   *vault.Keyring
	truth  []planted

	address, user, password string
}

// A planted is one event as it was logged.
type planted struct {
	person, population, unit, kind, category, class string
	day                                             string
	event                                           vault.Event
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	o := newTown(t)
	e := enginetest.Start(t, enginetest.Config(t, nil))
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	name, password := e.Credentials(engine.Owner)
	cfg.Username, cfg.Password = name, clickhouse.Password(password)
	db, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	d := &database{town: o, db: db, ring: get(vault.NewKeyring(1000)), address: e.Address(), user: name, password: password}
	d.store = get(vault.NewStore(db))
	d.lookup = get(vault.OpenLookup(filepath.Join(t.TempDir(), "lookup.key"), noon))
	d.plant(t)
	return d
}

// plant writes events of five people over six days.
func (d *database) plant(t testing.TB) {
	t.Helper()
	web := func(person, population, unit, day string, n int, category, class string) {
		for i := range n {
			var e vault.Event
			e.Reset()
			e.Time = get(time.Parse(time.DateOnly, day)).Add(8*time.Hour + time.Duration(i)*time.Minute).UnixMilli()
			e.User, e.Domain, e.Path = []byte(person), []byte(category+".example"), fmt.Appendf(nil, "/%s/%s/%d", person, day, i)
			e.Scheme, e.Method, e.Status, e.Action = []byte("https"), []byte("GET"), 200, 1
			e.Category, e.Class = []byte(category), []byte(class)
			d.truth = append(d.truth, planted{person, population, unit, Web, category, class, day, e})
		}
	}
	mail := func(person, unit, day, from string, to ...string) {
		var e vault.Event
		e.Reset()
		e.Time = get(time.Parse(time.DateOnly, day)).Add(10 * time.Hour).UnixMilli()
		e.From, e.MessageID, e.Subject = []byte(from), []byte("1@"+from), []byte("möte "+day)
		for _, a := range to {
			e.To = append(e.To, []byte(a))
		}
		e.Recipients = uint32(len(to))
		// As ingest has it: in mails a person is an address.
		d.truth = append(d.truth, planted{person + "@norrbo.se", "staff", unit, Mail, "", "", day, e})
	}
	for _, day := range []string{"2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"} {
		web("anna.berg", "staff", "Hamn", day, 12, "gambling", "forbidden")
		web("anna.berg", "staff", "Hamn", day, 4, "news", "ordinary")
		web("anna.berg", "staff", "Hamn", day, 3, "health", "protected")
		web("bo.ek", "staff", "Hamn", day, 2, "gambling", "forbidden")
		web("bo.ek", "staff", "Hamn", day, 40, "news", "ordinary")
		web("cia.dahl", "staff", "Hamn", day, 9, "gambling", "forbidden")
		web("dan.alm", "elected", "Hamn", day, 30, "gambling", "forbidden")
		web("eva.sjö", "staff", "Skola", day, 30, "gambling", "forbidden")
		mail("anna.berg", "Hamn", day, "anna.berg@norrbo.se", "bo.ek@norrbo.se", "kund@firma.example")
		mail("anna.berg", "Hamn", day, "kalle.kund@firma.example", "anna.berg@norrbo.se", "bo.ek@norrbo.se")
	}
	d.insert(t, d.truth)
}

func (d *database) insert(t testing.TB, events []planted) {
	t.Helper()
	w := get(vault.NewWriter(vault.FixedRegisters(map[string]*seal.Sealer{tenant: get(d.town.chain[0].Sealer(""))}), d.lookup, d.ring))
	c := vault.NewCollector(w)
	for i := range events {
		p := &events[i]
		e := p.event
		c.Add(c.Person(vault.Group{Tenant: tenant, Population: p.population, Unit: p.unit}, []byte(p.person)), p.kind, &e)
	}
	blocks, err := c.Blocks(vault.Watermark{Mark: 1, Next: 1, BegunAt: noon()})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		query := get(schemas.Query("ingest/insert_" + b.Table))
		if err := d.db.Insert(t.Context(), clickhouse.Insert{Query: query, Columns: b.Columns}); err != nil {
			t.Fatal(err)
		}
		c.Inserted(b.Table, b.Day)
	}
}

// wanted are the lines that a lookup under d must answer, in order.
func (d *database) wanted(s Scope) []string {
	var list []planted
	for _, p := range d.truth {
		if !s.names([]byte(p.person)) || p.day < s.From || p.day > s.To || !slices.Contains(s.Sources, p.kind) ||
			!slices.Contains(s.Categories, AllCategories) && !slices.Contains(s.Categories, p.category) || p.class == "protected" && s.Protected == "" {
			continue
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b planted) int { return int(a.event.Time - b.event.Time) })
	var lines []string
	for _, p := range list {
		lines = append(lines, lineOf(p.event.Time, string(p.event.Path), string(p.event.Subject)))
	}
	slices.Sort(lines)
	return lines
}

func lineOf(at int64, path, subject string) string {
	return time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z") + " " + path + subject
}

func linesOf(rows []Row) []string {
	var lines []string
	for _, r := range rows {
		path, _ := r.Get("url.path").(string)
		subject, _ := r.Get("email.subject").(string)
		lines = append(lines, r.Get("@timestamp").(string)+" "+path+subject)
	}
	slices.Sort(lines)
	return lines
}

// A house is a gate with a record, a case store and a clock of its own, on a database that others use too.
type house struct {
	*town
	t     testing.TB
	db    *database
	gate  *Gate
	log   *audit.Log
	dir   string
	clock *atomic.Int64
}

func (h *house) now() time.Time       { return time.Unix(h.clock.Load(), 0).UTC() }
func (h *house) pass(d time.Duration) { h.clock.Add(int64(d / time.Second)) }
func (h *house) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}
func (h *house) auditConfig() audit.Config      { return auditConfig(h.dir) }
func (h *house) notes(string) ([][]byte, error) { return h.town.notes, nil }

func auditConfig(dir string) audit.Config {
	c := audit.DefaultConfig()
	c.Silence = 100 * 365 * 24 * time.Hour // these stories skip years
	c.Directory, c.Key, c.Deployment = filepath.Join(dir, "audit"), filepath.Join(dir, "audit.key"), deployment
	return c
}

func newHouse(t testing.TB, db *database) *house {
	t.Helper()
	h := &house{town: db.town, t: t, db: db, dir: t.TempDir(), clock: new(atomic.Int64)}
	h.clock.Store(noon().Unix())
	h.open()
	for _, n := range h.town.notes {
		if _, err := h.log.Append(t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(n)}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// open opens the gate as another process would.
func (h *house) open() {
	h.t.Helper()
	var err error
	if h.log, err = audit.Open(h.t.Context(), h.auditConfig(), h.now); err != nil {
		h.t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Dir = h.path("cases")
	h.gate, err = NewGate(Parts{
		Config: cfg, Deployment: deployment, Keys: []seal.PrivateKey{h.town.gate}, Identities: []age.Identity{h.identity},
		Recipient: h.identity.Recipient().String(), Lookup: h.db.lookup.Key(), Registers: h.notes, Log: h.log, Vault: h.db.store, Now: h.now,
		Whose: func(_ string, address []byte) ([]byte, bool) {
			_, domain, _ := bytes.Cut(address, []byte("@"))
			return address, string(domain) == "norrbo.se"
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) request(change func(*Decision)) *Decision {
	h.t.Helper()
	d := h.decision(h.now())
	if change != nil {
		change(d)
	}
	if _, err := h.gate.Request(h.t.Context(), get(SignDecision(d, h.signer("chef")))); err != nil {
		h.t.Fatal(err)
	}
	return d
}

func (h *house) approver(id string) *Approver {
	holder, _ := h.chain[len(h.chain)-1].Holder(id)
	return &Approver{ID: id, Signer: h.signer(id), Keys: []seal.PrivateKey{h.keys[holder.Population+"/"+string(holder.Role)]}, Trust: h.log.Trust(), Now: h.now}
}

// approval is what the holder's client answers to the gate's bundle.
func (h *house) approval(d *Decision, id string) []byte {
	h.t.Helper()
	a := h.approver(id)
	holder, _ := h.chain[len(h.chain)-1].Holder(id)
	text, _, err := h.gate.Bundle(h.t.Context(), d.Case, holder.Role, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	o, err := a.Open(text)
	if err != nil {
		h.t.Fatal(err)
	}
	approval, refused, err := o.Approve()
	if err != nil || refused > 0 {
		h.t.Fatal(refused, err)
	}
	return approval
}

func (h *house) approve(d *Decision, ids ...string) Status {
	h.t.Helper()
	var s Status
	for _, id := range ids {
		var err error
		if s, err = h.gate.Accept(h.t.Context(), h.approval(d, id)); err != nil {
			h.t.Fatal(err)
		}
	}
	return s
}

func (h *house) active(change func(*Decision)) *Decision {
	h.t.Helper()
	d := h.request(change)
	if s := h.approve(d, "manager-1", "hr-1", "security-1"); s.State != Active {
		h.t.Fatalf("the decision is %s: %s", s.State, s.Why)
	}
	return d
}

func (h *house) act(typ string, d *Decision, id string, fill func(*Act)) (Status, error) {
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	a := NewAct(typ, d, digest, id, h.now())
	fill(&a)
	return h.gate.Act(h.t.Context(), get(SignAct(a, h.signer(id))))
}

func (h *house) ask(d *Decision, id string) []byte {
	h.t.Helper()
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	return get(SignLookup(d, digest, h.signer(id), h.now()))
}

func (h *house) lookup(d *Decision) ([]Row, Result, error) {
	h.t.Helper()
	var rows []Row
	r, err := h.gate.lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), get(RuleOf(d.Kind)).shows, nil, func(row Row) error { rows = append(rows, row); return nil })
	return rows, r, err
}

func (h *house) count(kind audit.Kind) int {
	h.t.Helper()
	n := 0
	for _, r := range get(h.log.Entries(context.Background())) {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// refused says that nothing came out and that the answer is the generic one, on record.
func (h *house) refused(what string, rows []Row, err error, before int) {
	h.t.Helper()
	if err == nil || !errors.Is(err, ErrRefused) || len(rows) > 0 {
		h.t.Errorf("%s: %d rows, %v", what, len(rows), err)
	}
	if err != nil && err.Error() != ErrRefused.Error() {
		h.t.Errorf("%s: the answer says more than it may: %v", what, err)
	}
	if n := h.count(audit.AccessRefused); n != before+1 {
		h.t.Errorf("%s: %d refusals on record, want one more than %d", what, n, before)
	}
}

func TestGate(t *testing.T) {
	db := newDatabase(t)
	for _, test := range []struct {
		name string
		run  func(*house)
	}{
		{"the lookup shows the truth and not one row more", (*house).testTruth},
		{"no decision, no rows", (*house).testNoDecision},
		{"a decision that is not active", (*house).testNotActive},
		{"50 parallel lookups on max 1", (*house).testParallel},
		{"replay of a lookup request", (*house).testReplay},
		{"scope is not in the request", (*house).testScopeInRequest},
		{"shares of one decision for another", (*house).testOtherDecision},
		{"one or two approvers, or no gate", (*house).testTooFew},
		{"revoked between two pages", (*house).testRevokedBetweenPages},
		{"no record, no read", (*house).testNoRecord},
		{"identify names who is above the threshold", (*house).testIdentify},
		{"a service that lies to an approver", (*house).testLyingService},
		{"an old register put back", (*house).testOldRegister},
		{"a forked or shortened record", (*house).testForkedRecord},
		{"keys that come late stay shut", (*house).testLateKeys},
		{"other people in mails", (*house).testThirdParties},
		{"an approval is accepted once", (*house).testAcceptTwice},
		{"the store tells nothing", (*house).testStoreTellsNothing},
		{"an approval for the wrong case", (*house).testWrongApproval},
		{"the union", (*house).testUnion},
		{"who may see a case", (*house).testEntitled},
		{"a case number is one decision", (*house).testCaseTaken},
		{"back-dated requests", (*house).testBackdated},
		{"a subject without rows looks like one with", (*house).testUnknownSubject},
		{"injections into the engine", (*house).testInjectionsIntoTheEngine},
		{"killed while a decision is requested", (*house).testKilledRequest},
		{"killed while an approval is accepted", (*house).testKilledApproval},
		{"killed while a decision is revoked", (*house).testKilledRevocation},
		{"killed while a lookup runs", (*house).testKilledLookup},
		{"a damaged store", (*house).testDamagedStore},
		{"a record that began a new segment", (*house).testRotatedRecord},
		{"shares go when the decision ends", (*house).testSharesGo},
		{"held days that the lookup key has forgotten", (*house).testForgottenDays},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t, db)
			test.run(h)
		})
	}
}

func (h *house) testTruth() {
	own := h.active(func(d *Decision) { ownRows(d); d.Case, d.Scope.Withheld = "KS 2026/own", "10 kap. 3 § OSL" })
	if rows, result, err := h.lookup(own); err != nil || result.Protected != 9 || !slices.Equal(linesOf(rows), h.db.wanted(own.Scope)) {
		h.t.Errorf("a person's own extract, with a ground to withhold: %d rows, %d protected, %v", len(rows), result.Protected, err)
	}
	own = h.active(func(d *Decision) { ownRows(d); d.Case = "KS 2026/own all" })
	all := own.Scope
	all.Protected = "the person's own"
	if rows, result, err := h.lookup(own); err != nil || result.Protected != 0 || !slices.Equal(linesOf(rows), h.db.wanted(all)) {
		h.t.Errorf("a person's own extract: %d rows, %d protected, %v", len(rows), result.Protected, err)
	}
	for name, change := range map[string]func(*Decision){
		"all":       nil,
		"web":       func(d *Decision) { d.Scope.Sources = []string{Web} },
		"mail":      func(d *Decision) { d.Scope.Sources = []string{Mail} },
		"a day":     func(d *Decision) { d.Scope.From, d.Scope.To = "2026-11-18", "2026-11-18" },
		"gambling":  func(d *Decision) { d.Scope.Sources, d.Scope.Categories = []string{Web}, []string{"gambling"} },
		"protected": func(d *Decision) { d.Scope.Protected = "läkarens uppdrag" },
		"another":   func(d *Decision) { d.Scope.Subject, d.Scope.Aliases = "bo.ek", []string{}; d.Scope.Names = []string{} },
		"health": func(d *Decision) {
			d.Scope.Sources, d.Scope.Categories = []string{Web}, []string{"health"}
		},
	} {
		d := h.active(func(d *Decision) {
			d.Case = "KS 2026/" + name
			if change != nil {
				change(d)
			}
		})
		rows, result, err := h.lookup(d)
		if err != nil {
			h.t.Fatal(name, err)
		}
		want := h.db.wanted(d.Scope)
		if got := linesOf(rows); !slices.Equal(got, want) || len(want) == 0 && name != "health" {
			h.t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
		}
		if !slices.IsSortedFunc(rows, func(a, b Row) int { return strings.Compare(a.Get("@timestamp").(string), b.Get("@timestamp").(string)) }) {
			h.t.Errorf("%s: rows are not in the order of time", name)
		}
		if result.Rows != int64(len(rows)) || result.Left != 1 || result.Late+result.Unopened > 0 {
			h.t.Errorf("%s: result is %+v", name, result)
		}
		if result.Protected != 0 {
			h.t.Errorf("%s: the investigator is told of %d protected destinations", name, result.Protected)
		}
	}
	if a, b := h.count(audit.LookupIntent), h.count(audit.LookupResult); a != 10 || b != 10 {
		h.t.Errorf("the record has %d intents and %d results", a, b)
	}
}

// Case 24.
func (h *house) testNoDecision() {
	d := h.active(nil)
	nothing := h.decision(h.now())
	nothing.Case = "KS 2026/9999"
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(nothing)
	h.refused("a case that there is not", rows, err, n)
	// One byte of the number, a path, a wildcard: each the same answer.
	for _, number := range append(injections(), "", "KS 2026/012", "KS 2026/0123 ", "ks 2026/0123", "../0123") {
		n := h.count(audit.AccessRefused)
		r, err := h.gate.Lookup(h.t.Context(), number, h.ask(d, "utredare"), func(Row) error { h.t.Error("a row"); return nil })
		if r.Rows > 0 {
			h.t.Error("rows were counted")
		}
		h.refused("a case number", nil, err, n)
	}
	other := *d
	other.Deployment = "annan"
	n = h.count(audit.AccessRefused)
	rows, _, err = h.lookup(&other)
	h.refused("the decision of another deployment", rows, err, n)
	if h.count(audit.LookupIntent) != 0 {
		h.t.Error("an intent was recorded")
	}
}

func (h *house) testNotActive() {
	try := func(what string, d *Decision) {
		h.t.Helper()
		n := h.count(audit.AccessRefused)
		rows, _, err := h.lookup(d)
		h.refused(what, rows, err, n)
	}
	number := 0
	named := func(change func(*Decision)) func(*Decision) {
		return func(d *Decision) {
			number++
			d.Case = fmt.Sprintf("KS 2026/%d", number)
			if change != nil {
				change(d)
			}
		}
	}
	d := h.request(named(nil))
	try("a pending decision", d)
	h.approve(d, "manager-1", "security-2")
	try("a decision with two approvals", d)
	if _, err := h.act(ActDenial, d, "hr-1", func(a *Act) { a.Role, a.Reason = seal.HR, "räcker inte" }); err != nil {
		h.t.Fatal(err)
	}
	try("a denied decision", d)

	d = h.active(named(nil))
	if _, err := h.act(ActRevocation, d, "hr-2", func(a *Act) { a.Reason = "nytt besked" }); err != nil {
		h.t.Fatal(err)
	}
	try("a revoked decision", d)

	d = h.active(named(nil))
	if _, err := h.act(ActClosing, d, "utredare", func(a *Act) { a.Result = "ingen åtgärd" }); err != nil {
		h.t.Fatal(err)
	}
	try("a closed decision", d)

	d = h.request(named(func(d *Decision) { d.NotBefore = d.Requested.Add(time.Hour) }))
	h.approve(d, "manager-1", "hr-1", "security-1")
	try("a decision that has not begun", d)
	h.pass(time.Hour)
	if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
		h.t.Error("a decision that has begun:", len(rows), err)
	}

	d = h.active(named(func(d *Decision) { d.ExecuteBy = d.Requested.Add(2 * time.Hour) }))
	h.pass(2*time.Hour - time.Second)
	if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
		h.t.Error("one second before the end:", len(rows), err)
	}
	h.pass(time.Second)
	try("a decision that expired this second", d)
	h.pass(-24 * time.Hour)
	try("the same with the clock turned back by a day", d)
}

// Case 27.
func (h *house) testParallel() {
	d := h.active(func(d *Decision) { d.Lookups = 1 })
	var wait sync.WaitGroup
	var served, refused, rows atomic.Int64
	for range 50 {
		ask := h.ask(d, "utredare")
		wait.Go(func() {
			_, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { rows.Add(1); return nil })
			switch {
			case err == nil:
				served.Add(1)
			case errors.Is(err, ErrRefused):
				refused.Add(1)
			default:
				h.t.Error(err)
			}
		})
	}
	wait.Wait()
	if served.Load() != 1 || refused.Load() != 49 || int(rows.Load()) != len(h.db.wanted(d.Scope)) || h.count(audit.LookupIntent) != 1 {
		h.t.Errorf("%d served, %d refused, %d rows, %d intents", served.Load(), refused.Load(), rows.Load(), h.count(audit.LookupIntent))
	}
}

func (h *house) testReplay() {
	d := h.active(nil)
	ask := h.ask(d, "utredare")
	if _, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { return nil }); err != nil {
		h.t.Fatal(err)
	}
	n := h.count(audit.AccessRefused)
	_, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { h.t.Error("a row"); return nil })
	h.refused("the same request again", nil, err, n)
	old := h.ask(d, "utredare")
	h.pass(ClockTolerance + time.Second)
	_, err = h.gate.Lookup(h.t.Context(), d.Case, old, func(Row) error { h.t.Error("a row"); return nil })
	h.refused("a request of before", nil, err, n+1)
}

// Case 28: a request has no field for a scope, and none can be put in.
func (h *house) testScopeInRequest() {
	d := h.active(nil)
	_, digest, err := d.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	other := h.active(func(d *Decision) {
		d.Scope.Names = []string{}
		d.Case, d.Scope.Subject, d.Investigators = "KS 2026/0200", "bo.ek", []Signatory{h.person("tredje-utredare")}
	})
	asked := h.ask(d, "utredare")
	good := string(get(seal.Unsigned(asked)))
	requests := map[string][]byte{
		"for another's case":            h.ask(other, "utredare"),
		"signed by a stranger":          get(SignLookup(d, digest, get(seal.NewSigner("utredare")), h.now())),
		"by the requester":              get(SignLookup(d, digest, h.signer("chef"), h.now())),
		"by an approver":                get(SignLookup(d, digest, h.signer("hr-1"), h.now())),
		"by the other's investigator":   get(SignLookup(d, digest, h.signer("tredje-utredare"), h.now())),
		"an approval in its place":      h.t2(d, "utredare"),
		"nothing":                       nil,
		"not a document":                []byte("{}"),
		"text after the signature":      append(h.ask(d, "utredare"), "mer\n"...),
		"another's case with this case": h.ask(other, "tredje-utredare"),
	}
	for _, field := range []string{"subject", "scope", "from", "to", "sources", "categories", "unit", "threshold", "rows", "reason", "role"} {
		for _, value := range []string{`"bo.ek"`, `["bo.ek"]`, `""`, `"%"`, `{"subject": "bo.ek"}`} {
			text := strings.Replace(good, `"actor"`, `"`+field+`": `+value+",\n  \"actor\"", 1)
			requests["with a field "+field+" "+value] = get(seal.Sign([]byte(text), h.signer("utredare")))
		}
	}
	for _, text := range injections() {
		for _, field := range []string{"case", "actor", "nonce", "decision"} {
			a := get(ReadAct(asked))
			raw := strings.Replace(good, fmt.Sprintf("%q: %q", field, map[string]string{"case": a.Case, "actor": a.Actor, "nonce": a.Nonce, "decision": a.Decision.String()}[field]),
				fmt.Sprintf("%q: %q", field, text), 1)
			if raw == good {
				h.t.Fatal("nothing was injected into", field)
			}
			requests[fmt.Sprintf("%.30q in %s", text, field)] = get(seal.Sign([]byte(strings.TrimRight(raw, "\n")+"\n"), h.signer("utredare")))
		}
	}
	for name, request := range requests {
		n := h.count(audit.AccessRefused)
		_, err := h.gate.Lookup(h.t.Context(), d.Case, request, func(Row) error { h.t.Error(name, "gave a row"); return nil })
		h.refused("a request "+name, nil, err, n)
	}
	if h.count(audit.LookupIntent) != 0 {
		h.t.Error("an intent was recorded")
	}
}

// t2 is a document of another type by the same hand.
func (h *house) t2(d *Decision, id string) []byte {
	_, digest, _ := d.Text()
	a := NewAct(ActRevocation, d, digest, id, h.now())
	a.Reason = "nej"
	return get(SignAct(a, h.signer(id)))
}

// Case 33.
func (h *house) testOtherDecision() {
	first := h.active(nil)
	approvals := map[seal.Role][]byte{}
	c := get(h.gate.store.Case(first.Case))
	second := h.request(func(d *Decision) { d.Case, d.Scope.Subject, d.Scope.Names = "KS 2026/0300", "bo.ek", []string{} })
	for _, act := range c.Acts {
		a := get(ReadAct(act))
		approvals[a.Role] = act
		text := fmt.Sprintf(`{"type":%q,"act":%q,"handover":{"Role":%q,"Sealed":""}}`, typeApproval, act, a.Role)
		// The act names the first case, where it has been accepted already.
		if _, err := h.gate.Accept(h.t.Context(), []byte(text)); err != nil {
			h.t.Error("an approval again:", err)
		}
	}
	if _, s, err := h.gate.status(h.t.Context(), second.Case); err != nil || s.State != Pending || len(s.Approvals) > 0 {
		h.t.Errorf("the second decision is %s with %d approvals: %v", s.State, len(s.Approvals), err)
	}
	// Somebody with the disk copies the files of the first case into the folder of the second.
	from, to := h.gate.store.folder(first.Case), h.gate.store.folder(second.Case)
	for _, f := range get(os.ReadDir(from)) {
		if strings.HasPrefix(f.Name(), "act-") {
			if err := os.WriteFile(filepath.Join(to, f.Name()), get(os.ReadFile(filepath.Join(from, f.Name()))), 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(second)
	h.refused("copied approvals", rows, err, n)
	// Even signed anew for the second decision, the shares of the first do not open.
	_, digest, err := second.Text()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, handover := range c.handovers {
		if _, err := h.gate.openHandover(digest, handover); err == nil {
			h.t.Error("shares of one decision open for another")
		}
	}
}

// Case 32.
func (h *house) testTooFew() {
	d := h.request(nil)
	h.approve(d, "manager-1", "hr-1")
	c := get(h.gate.store.Case(d.Case))
	found := get(h.gate.keys(h.t.Context(), d, nil))
	if len(found) == 0 {
		h.t.Fatal("no keys in scope")
	}
	for _, k := range found {
		shares := map[seal.Role]seal.Share{seal.Gate: k.share}
		for _, handover := range c.handovers {
			shares[handover.Role] = get(h.gate.openHandover(c.Digest, handover))[k.Wrapped.ID]
		}
		if _, err := seal.Combine(k.Wrapped.ID, shares); err == nil {
			h.t.Error("a key was made of three shares")
		}
		shares[seal.Security] = shares[seal.HR] // a guess
		key := get(seal.Combine(k.Wrapped.ID, shares))
		permit := get(vault.NewPermit(vault.Scope{Tenant: tenant, Kinds: []string{Web, Mail}, From: k.Day, To: k.Day, Subjects: [][]byte{k.Subject}, Categories: []string{vault.AnyCategory}}))
		if err := permit.Add(k.StoredKey, k.Subject, key); err != nil {
			h.t.Fatal(err)
		}
		reading, err := h.db.store.Read(h.t.Context(), permit, func(vault.Event) error { h.t.Error("an event was read"); return nil })
		if err != nil || reading.Events > 0 || len(reading.Unopened) == 0 {
			h.t.Errorf("a guessed share: %d events, %d unopened, %v", reading.Events, len(reading.Unopened), err)
		}
	}
	for role, key := range h.keys { // an approver alone: the gate's share is another's
		for _, k := range found[:1] {
			if _, _, err := key.OpenGateShare(k.Wrapped, k.Binding(deployment, nil), h.db.lookup.Key().Origin()); err == nil {
				h.t.Error(role, "opens the gate's share")
			}
		}
	}
}

// Case 29.
func (h *house) testRevokedBetweenPages() {
	h.gate.page = 10
	d := h.active(nil)
	var rows []Row
	_, err := h.gate.Lookup(h.t.Context(), d.Case, h.ask(d, "utredare"), func(row Row) error {
		if rows = append(rows, row); len(rows) == 15 {
			if _, err := h.act(ActRevocation, d, "security-2", func(a *Act) { a.Reason = "stopp" }); err != nil {
				h.t.Error(err)
			}
		}
		return nil
	})
	if !errors.Is(err, ErrRefused) || len(rows) < 15 || len(rows) > 15+10 {
		h.t.Errorf("%d rows came, %v", len(rows), err)
	}
	results := 0
	for _, r := range get(h.log.Entries(h.t.Context())) {
		if r.Kind == audit.LookupResult {
			results++
			if r.Counts["rows"] != int64(len(rows)) || r.Counts["failed"] != 1 {
				h.t.Errorf("the record says %v", r.Counts)
			}
		}
	}
	if results != 1 {
		h.t.Errorf("%d results on record", results)
	}
}

// Case 34, without a kill.
func (h *house) testNoRecord() {
	d := h.active(nil)
	ask := h.ask(d, "utredare")
	name := h.path("audit")
	if err := os.Rename(name, name+".away"); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { h.t.Error("a row without a record"); return nil }); err == nil || errors.Is(err, ErrRefused) {
		h.t.Error("without a record:", err)
	}
	if err := os.Rename(name+".away", name); err != nil {
		h.t.Fatal(err)
	}
	// The lock can't be had: the log is full, read-only, or held by somebody.
	lock := filepath.Join(name, "lock")
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.gate.Lookup(h.t.Context(), d.Case, ask, func(Row) error { h.t.Error("a row without an intent"); return nil }); !errors.Is(err, audit.ErrUnavailable) {
		h.t.Error("without an intent:", err)
	}
	if err := os.Remove(lock); err != nil {
		h.t.Fatal(err)
	}
	h.open()
	if rows, _, err := h.lookup(d); err != nil || len(rows) != len(h.db.wanted(d.Scope)) {
		h.t.Error("with the record back:", len(rows), err)
	}
	if n, err := h.gate.Recover(h.t.Context()); n != 0 || err != nil {
		h.t.Error("nothing was unknown:", n, err)
	}
}

func (h *house) testIdentify() {
	identify := func(number string, change func(*Decision)) *Decision {
		return h.active(func(d *Decision) {
			d.Case, d.Kind = number, Identify
			d.Scope = Scope{Names: []string{}, Aliases: []string{}, Unit: "Hamn", From: "2026-11-17", To: "2026-11-19", Sources: []string{Web}, Categories: []string{"gambling"}, Threshold: 20}
			if change != nil {
				change(d)
			}
		})
	}
	// Three days: anna 36, cia 27, bo 6; dan 90 but elected; eva 90 but of another unit.
	rows, result, err := h.lookup(identify("KS 1", nil))
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		if len(r) != 2 {
			h.t.Errorf("a row has %d fields", len(r))
		}
		names = append(names, r.Get("user.name").(string)+" "+r.Get("event.count").(string))
	}
	if want := []string{"anna.berg 21-40", "cia.dahl 21-40"}; !slices.Equal(names, want) {
		h.t.Errorf("named are %v, want %v", names, want)
	}
	if result.Rows != 2 || result.Explained+result.Protected != 0 {
		h.t.Errorf("result is %+v", result)
	}
	for threshold, want := range map[int]int{5: 3, 6: 2, 26: 2, 27: 1, 35: 1, 36: 0} {
		rows, _, err := h.lookup(identify(fmt.Sprintf("KS 1/%d", threshold), func(d *Decision) { d.Scope.Threshold = threshold }))
		if err != nil || len(rows) != want {
			h.t.Errorf("above %d are %d, want %d: %v", threshold, len(rows), want, err)
		}
	}
	rows, result, err = h.lookup(identify("KS 2", func(d *Decision) { d.Scope.Categories, d.Scope.Threshold = []string{"health"}, 5 }))
	if err != nil || len(rows) > 0 || result.Protected != 0 {
		h.t.Errorf("a protected category names %d, tells of %d: %v", len(rows), result.Protected, err)
	}
	if rows, _, err = h.lookup(identify("KS 3", func(d *Decision) { d.Scope.Unit = "Tomt" })); err != nil || len(rows) > 0 {
		h.t.Errorf("a unit of nobody names %d: %v", len(rows), err)
	}
	// A permission excuses what came after it was on record, and nothing before; what somebody told of is excused.
	p := NewPermission(deployment, tenant, "manager-1", h.chain[len(h.chain)-1], h.now())
	p.Population, p.Subject, p.Categories, p.Domains = "staff", "cia.dahl", []string{"gambling"}, []string{}
	p.From, p.To, p.Reason, p.Manager = "2026-11-01", "2026-12-01", "uppdrag", "Karin Ek"
	get(h.gate.GrantPermission(h.t.Context(), get(SignByManager(p, h.signer("manager-1")))))
	if rows, _, err = h.lookup(identify("KS 4", nil)); err != nil || len(rows) != 2 {
		h.t.Errorf("with a permission for cia that was written down afterwards %d are named: %v", len(rows), err)
	}
	a := NewAccidentReport(deployment, tenant, "manager-1", h.chain[len(h.chain)-1], h.now())
	a.Population, a.Subject, a.Told, a.Manager = "staff", "cia.dahl", "klickade fel", "Karin Ek"
	a.From, a.To, a.ToldAt = noon().AddDate(0, 0, -4).Add(-12*time.Hour), noon().AddDate(0, 0, -4).Add(11*time.Hour), h.now()
	get(h.gate.ReportAccident(h.t.Context(), get(SignByManager(a, h.signer("manager-1")))))
	if rows, _, err = h.lookup(identify("KS 5", nil)); err != nil || len(rows) != 1 {
		h.t.Errorf("with what cia told of %d are named: %v", len(rows), err)
	}
}

// The service shows the approver anna and hands in bo's keys.
func (h *house) testLyingService() {
	d := h.request(nil)
	other := h.request(func(d *Decision) { d.Case, d.Scope.Subject, d.Scope.Names = "KS 2026/0400", "bo.ek", []string{} })
	shown := string(first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil)))
	keys := string(first(h.gate.Bundle(h.t.Context(), other.Case, seal.HR, nil)))
	between := func(s string) (int, int) { return strings.Index(s, `"keys":`), strings.Index(s, `"pad":`) }
	a, b := between(shown)
	c, e := between(keys)
	mixed := shown[:a] + keys[c:e] + shown[b:]
	o, err := h.approver("hr-1").Open([]byte(mixed))
	if err != nil {
		h.t.Fatal(err)
	}
	approval, refused, err := o.Approve()
	if err != nil || refused != len(o.bundle.Keys) || refused == 0 {
		h.t.Errorf("%d of %d keys were refused: %v", refused, len(o.bundle.Keys), err)
	}
	signed, handover, err := parseApproval(approval)
	if err != nil || get(ReadAct(signed)).Handover != seal.DigestOf(handover.Sealed) {
		h.t.Error("what was handed over is not signed", err)
	}
	if shares := get(h.gate.openHandover(o.Digest, handover)); len(shares) != 0 {
		h.t.Error("shares of another person were handed over")
	}
	// A subject slipped in beside the decision's own, other days, kinds and units.
	for old, new := range map[string]string{
		`"kind":"web"`:       `"kind":"dns"`,
		`"day":"2026-11-17"`: `"day":"2026-11-16"`,
		`"unit":"Hamn"`:      `"unit":"Skola"`,
		`"tag":"`:            `"subject":"Ym8uZWs=","tag":"`,
		`"name":0`:           `"name":-1`,
		`"name":1`:           `"name":2`,
	} {
		o, err := h.approver("hr-1").Open([]byte(strings.ReplaceAll(shown, old, new)))
		if err != nil {
			h.t.Fatal(err)
		}
		if _, refused, err := o.Approve(); err != nil || refused == 0 {
			h.t.Errorf("%s: nothing was refused: %v", new, err)
		}
	}
	// A bundle for another role, a decision that was edited, a request that is not in the record.
	manager := first(h.gate.Bundle(h.t.Context(), d.Case, seal.Manager, nil))
	if _, err := h.approver("hr-1").Open(manager); err == nil {
		h.t.Error("a bundle for another role was taken")
	}
	for old, new := range map[string]string{"anna.berg": "bo.ek", "2026-11-17": "2026-11-16", `\"lookups\": 2`: `\"lookups\": 99`} {
		if _, err := h.approver("hr-1").Open([]byte(strings.ReplaceAll(shown, old, new))); err == nil {
			h.t.Errorf("a decision with %s was taken", new)
		}
	}
	p := strings.Index(shown, `"request":`)
	q := strings.Index(keys, `"request":`)
	if _, err := h.approver("hr-1").Open([]byte(shown[:p] + keys[q:strings.Index(keys, `"path":`)] + shown[strings.Index(shown, `"path":`):])); err == nil {
		h.t.Error("the proof of another request was taken")
	}
}

func first[A, B any](a A, _ B, err error) A { return get(a, err) }

// Case 30, and a copy of yesterday put back.
func (h *house) testOldRegister() {
	d := h.active(nil)
	h.town = cloneTown(h.town)
	before := h.town.notes
	h.leave("manager-1")
	h.hold("manager-3", "", seal.Manager)
	h.register("manager-2", "hr-2", "security-2")
	if _, _, err := h.gate.status(h.t.Context(), d.Case); err == nil {
		h.t.Error("a register that is not in the record was taken")
	}
	if _, err := h.log.Append(h.t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[len(h.town.notes)-1])}); err != nil {
		h.t.Fatal(err)
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(d)
	h.refused("a decision whose approver has left", rows, err, n)
	after := h.town.notes
	h.town.notes = before
	if _, _, err := h.lookup(d); err == nil {
		h.t.Error("an old register was put back and nobody saw it")
	}
	h.town.notes = after
}

func cloneTown(o *town) *town {
	c := *o
	c.text.Holders, c.text.Seats = slices.Clone(o.text.Holders), slices.Clone(o.text.Seats)
	c.chain, c.notes = slices.Clone(o.chain), slices.Clone(o.notes)
	return &c
}

// Case 35, as an approver's client sees it.
func (h *house) testForkedRecord() {
	d := h.request(nil)
	a := h.approver("hr-1")
	bundle := first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil))
	o := get(a.Open(bundle))
	a.Memory = o.Memory
	if m, err := ParseMemory(o.Memory.Encode()); err != nil || m != o.Memory {
		h.t.Error("memory is read as something else:", err)
	}
	if _, err := a.Open(bundle); err != nil {
		h.t.Error("the same bundle again:", err)
	}
	second := h.request(func(d *Decision) { d.Case = "KS 2026/0500" })
	if _, err := a.Open(first(h.gate.Bundle(h.t.Context(), second.Case, seal.HR, nil))); err == nil {
		h.t.Error("a bundle that does not lead on from what was seen was taken")
	}
	good := first(h.gate.Bundle(h.t.Context(), second.Case, seal.HR, []byte(a.Memory.Checkpoint)))
	o, err := a.Open(good)
	if err != nil {
		h.t.Fatal("a bundle that leads on:", err)
	}
	a.Memory = o.Memory
	// Another record under the same key: what was written after the register is written again otherwise.
	fork := h.path("fork")
	if err := os.CopyFS(filepath.Join(fork, "audit"), os.DirFS(h.path("audit"))); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fork, "audit.key"), get(os.ReadFile(h.path("audit.key"))), 0o600); err != nil {
		h.t.Fatal(err)
	}
	forked := *h
	forked.dir = fork
	forked.open()
	third := forked.request(func(d *Decision) { d.Case = "KS 2026/0600" })
	for i := range 3 {
		h.request(func(d *Decision) { d.Case = fmt.Sprintf("KS 2026/070%d", i) })
	}
	seen := get(h.gate.p.Log.Checkpoint())
	a.Memory.Checkpoint = string(seen.Note)
	for _, since := range [][]byte{nil, seen.Note} {
		text, _, err := forked.gate.Bundle(h.t.Context(), third.Case, seal.HR, since)
		if err != nil {
			continue // the forked log can't make a proof, which is as good
		}
		if _, err := a.Open(text); err == nil {
			h.t.Error("a forked record was taken")
		}
	}
	// A checkpoint of another key.
	stranger := newHouse(h.t, h.db)
	foreign := stranger.request(nil)
	if _, err := a.Open(first(stranger.gate.Bundle(h.t.Context(), foreign.Case, seal.HR, nil))); err == nil {
		h.t.Error("a record of another key was taken")
	}
	a.Trust = stranger.log.Trust()
	if _, err := a.Open(first(stranger.gate.Bundle(h.t.Context(), foreign.Case, seal.HR, nil))); !errors.Is(err, ErrRemembered) {
		h.t.Error("the key of the record was changed and nobody saw it:", err)
	}
}

func (h *house) testLateKeys() {
	d := h.active(func(d *Decision) {
		d.Scope.Subject, d.Scope.Aliases, d.Scope.To = "sen.lund", []string{}, "2026-11-21"
		d.Scope.Names = []string{}
	})
	var e vault.Event
	e.Reset()
	e.Time, e.Path = get(time.Parse(time.DateOnly, "2026-11-21")).Add(time.Hour).UnixMilli(), []byte("/sent")
	h.db.insert(h.t, []planted{{person: "sen.lund", population: "staff", unit: "Hamn", kind: Web, day: "2026-11-21", event: e}})
	rows, result, err := h.lookup(d)
	if err != nil || len(rows) > 0 || result.Late == 0 {
		h.t.Errorf("%d rows, %d late keys, %v", len(rows), result.Late, err)
	}
}

func (h *house) testThirdParties() {
	d := h.active(func(d *Decision) { d.Scope.Sources = []string{Mail} })
	rows, _, err := h.lookup(d)
	if err != nil || len(rows) != 6 {
		h.t.Fatal(len(rows), err)
	}
	for _, row := range rows {
		line := string(row.AppendJSON(nil))
		for _, other := range []string{"bo.ek", "kund@", "kalle"} {
			if strings.Contains(line, other) {
				h.t.Errorf("a row shows %s", other)
			}
		}
		if !strings.Contains(line, "anna.berg@norrbo.se") || !strings.Contains(line, "[redacted]@firma.example") {
			h.t.Error("a row hides too much:", line)
		}
	}
	h.gate.p.Protected = func(domain []byte) bool { return string(domain) == "firma.example" }
	if rows, _, err := h.lookup(d); err != nil || len(rows) > 0 {
		h.t.Errorf("mails with a protected domain: %d rows, %v", len(rows), err)
	}
}

func (h *house) testAcceptTwice() {
	d := h.request(nil)
	approval := h.approval(d, "hr-1")
	for range 3 {
		s, err := h.gate.Accept(h.t.Context(), approval)
		if err != nil || len(s.Approvals) != 1 {
			h.t.Fatal(len(s.Approvals), err)
		}
	}
	if n := h.count(audit.DecisionApproved); n != 1 {
		h.t.Errorf("%d approvals on record", n)
	}
	if _, _, err := h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil); !errors.Is(err, ErrRefused) {
		h.t.Error("a second bundle for a role that has approved:", err)
	}
	// Two holders of one role at the same time.
	manager := [][]byte{h.approval(d, "manager-1"), h.approval(d, "manager-2")}
	var wait sync.WaitGroup
	for _, m := range manager {
		wait.Go(func() { _, _ = h.gate.Accept(h.t.Context(), m) })
	}
	wait.Wait()
	if _, s, err := h.gate.status(h.t.Context(), d.Case); err != nil || len(s.Approvals) != 2 || s.State != Pending {
		h.t.Errorf("%d approvals, %s, %v", len(s.Approvals), s.State, err)
	}
	// The files of the holder's approval in parts: other shares, another role.
	signed, handover, _ := parseApproval(h.approval(d, "security-1"))
	handover.Sealed = bytes.Clone(handover.Sealed)
	handover.Sealed[0] ^= 1
	text := get(jsonOf(approvalFile{typeApproval, string(signed), handover}))
	if _, err := h.gate.Accept(h.t.Context(), text); err == nil {
		h.t.Error("another handover was taken")
	}
}

// The store and the record hold no planted word in clear, and modes are closed.
func (h *house) testStoreTellsNothing() {
	d := h.active(nil)
	if _, _, err := h.lookup(d); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "utredningen visade intet" }); err != nil {
		h.t.Fatal(err)
	}
	n := 0
	err := filepath.WalkDir(h.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info := get(entry.Info())
		if strings.HasPrefix(path, h.path("cases")) && info.Mode().Perm()&0o077 != 0 {
			h.t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		if entry.IsDir() {
			return nil
		}
		n++
		text := get(os.ReadFile(path))
		for _, word := range []string{"anna", "berg", "abe\"", "otillåtet", "kollega", "gambling", "intet", "Samtal"} {
			if bytes.Contains(text, []byte(word)) {
				h.t.Errorf("%s holds %q", path, word)
			}
		}
		return nil
	})
	if err != nil || n < 8 {
		h.t.Fatal(n, err)
	}
	for _, v := range []any{h.gate, h.approver("hr-1")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, v); !strings.Contains(text, "redacted") || len(text) > 40 {
				h.t.Errorf("%T prints as %.80s", v, text)
			}
		}
	}
}

func (h *house) testWrongApproval() {
	d := h.request(nil)
	good := h.approval(d, "hr-1")
	if _, err := h.gate.Accept(h.t.Context(), []byte("{}")); err == nil {
		h.t.Error("nothing was taken for an approval")
	}
	signed, handover, _ := parseApproval(good)
	a := get(ReadAct(signed))
	for name, change := range map[string]func(*Act){
		"another handover": func(a *Act) { a.Handover = seal.DigestOf([]byte("x")) },
		"tomorrow":         func(a *Act) { a.At = a.At.Add(day) },
		"last week":        func(a *Act) { a.At = a.At.Add(-7 * day) },
		"another role":     func(a *Act) { a.Role = seal.Manager },
		"another register": func(a *Act) { a.Register = &RegisterDigest{2, seal.DigestOf([]byte("x"))} },
	} {
		b := a
		change(&b)
		text := get(jsonOf(approvalFile{typeApproval, string(get(SignAct(b, h.signer("hr-1")))), handover}))
		if _, err := h.gate.Accept(h.t.Context(), text); err == nil {
			h.t.Errorf("an approval of %s was taken", name)
		}
	}
	if _, s, _ := h.gate.status(h.t.Context(), d.Case); len(s.Approvals) > 0 || h.count(audit.DecisionApproved) > 0 {
		h.t.Error("something was approved")
	}
	if _, err := h.gate.Accept(h.t.Context(), good); err != nil {
		h.t.Error(err)
	}
}

func (h *house) testUnion() {
	d := h.active(nil)
	told := func(a *Act) { a.Told, a.ToldAt = "Vision, ombud A", a.At }
	h.pass(24*time.Hour + time.Second)
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(d)
	h.refused("a suspended decision", rows, err, n)
	if _, err := h.act(ActNotice, d, "utredare", told); !errors.Is(err, ErrRefused) {
		h.t.Error("an investigator told the union:", err)
	}
	if _, err := h.act(ActNotice, d, "hr-2", func(a *Act) { a.Told, a.ToldAt = "Vision", d.Requested.Add(-time.Hour) }); err == nil {
		h.t.Error("the union was told before there was anything to tell")
	}
	for _, name := range []string{"om anna.berg", "Vision, om Anna Berg", "om ABE", "anna.berg@norrbo.se"} {
		if _, err := h.act(ActNotice, d, "hr-2", func(a *Act) { a.Told, a.ToldAt = name, a.At }); err == nil || strings.Contains(strings.ToLower(err.Error()), "berg") {
			h.t.Error("a notice that puts the person's name on record:", err)
		}
	}
	// Whoever can write to the record can't tell the union.
	for actor, body := range map[string]string{
		"chef": seal.DigestOf([]byte("x")).String(), "hr-2": "",
		"hr-1": string(get(SignAct(Act{Type: ActNotice, Case: d.Case, Decision: digestOf(d), Actor: "hr-1", At: h.now(), Nonce: NewNonce(), Told: "Vision", ToldAt: h.now()}, get(seal.NewSigner("hr-1"))))),
	} {
		get(h.log.Append(h.t.Context(), audit.Entry{Kind: audit.DecisionNotified, Actor: actor, Case: d.Case, Document: digestOf(d).String(), Body: body}))
		if s := h.status(d); s.State != Suspended || !s.Notified.IsZero() {
			h.t.Errorf("after a notice by %s that nobody has signed the decision is %s", actor, s.State)
		}
		n = h.count(audit.AccessRefused)
		rows, _, err = h.lookup(d)
		h.refused("after a notice that nobody signed", rows, err, n)
	}
	if list := CheckRule(get(h.log.Entries(h.t.Context()))).Findings; len(list) != 3 || !strings.Contains(list[0].Text, "the notice does not count") {
		h.t.Error("notices that nobody signed:", list)
	}
	if s, err := h.act(ActNotice, d, "hr-2", told); err != nil || s.State != Active {
		h.t.Error(s.State, err)
	}
	if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
		h.t.Error("after the notice:", len(rows), err)
	}
	if report := CheckRule(get(h.log.Entries(h.t.Context()))); len(report.Findings) != 3 || !report.Cases[0].Told {
		h.t.Errorf("after the notice: %+v", report)
	}
}

func (h *house) testEntitled() {
	d := h.request(nil)
	for _, id := range []string{"chef", "utredare", "hr-1", "manager-2", "security-1"} {
		if _, _, err := h.gate.Entitled(h.t.Context(), d.Case, h.signer(id)); err != nil {
			h.t.Errorf("%s: %v", id, err)
		}
	}
	for name, signer := range map[string]*seal.Signer{
		"a stranger": h.signer("annan"), "a stranger of a known name": get(seal.NewSigner("hr-1")), "the subject": h.signer("anna.berg"), "nobody": nil,
	} {
		if _, _, err := h.gate.Entitled(h.t.Context(), d.Case, signer); !errors.Is(err, ErrRefused) {
			h.t.Errorf("%s: %v", name, err)
		}
	}
	// Of a number that nobody has, nobody has proved a name: what somebody calls himself is not put on record.
	before, desk := h.count(audit.AccessRefused), h.desk()
	for _, name := range []string{"manager-1", "anna.berg"} {
		fake := get(seal.NewSigner(name))
		_, decided := desk.Decide(h.t.Context(), "KS 404", OutcomeNothing, "", nil, fake)
		_, _, entitled := h.gate.Entitled(h.t.Context(), "KS 404", fake)
		_, exported := h.gate.Export(h.t.Context(), "KS 404", nil, ExportOptions{Maker: fake})
		for what, err := range map[string]error{"decides": decided, "confirms": desk.Confirm(h.t.Context(), "KS 404", fake), "sees": entitled, "exports": exported} {
			if !errors.Is(err, ErrRefused) {
				h.t.Errorf("somebody %s a case that there is not: %v", what, err)
			}
		}
	}
	if n := h.count(audit.AccessRefused); n != before+8 {
		h.t.Errorf("%d refusals are on record, want 8 more than %d", n, before)
	}
	for _, e := range get(h.log.Entries(h.t.Context())) {
		if e.Kind == audit.AccessRefused && e.Actor != "gate" {
			h.t.Errorf("the record names %s, who is whoever said so", e.Actor)
		}
	}
	mine := h.request(func(d *Decision) { d.Case, d.Scope.Aliases = "KS 2026/0800", []string{"hr-1"} })
	if _, _, err := h.gate.Entitled(h.t.Context(), mine.Case, h.signer("hr-1")); !errors.Is(err, ErrRefused) {
		h.t.Error("a holder sees the case about himself:", err)
	}
	if _, err := h.act(ActRevocation, mine, "hr-1", func(a *Act) { a.Reason = "jag är det" }); !errors.Is(err, ErrRefused) {
		h.t.Error("a holder revokes the case about himself:", err)
	}
	if _, err := h.act(ActRevocation, d, "annan", func(a *Act) { a.Reason = "stopp" }); !errors.Is(err, ErrRefused) {
		h.t.Error("a stranger revokes:", err)
	}
}

func (h *house) testCaseTaken() {
	d := h.request(nil)
	if _, err := h.gate.Request(h.t.Context(), get(SignDecision(h.decision(h.now()), h.signer("chef")))); !errors.Is(err, ErrCaseTaken) {
		h.t.Error("a second decision of the number:", err)
	}
	for range 2 { // the same again changes nothing
		if s, err := h.gate.Request(h.t.Context(), get(SignDecision(d, h.signer("chef")))); err != nil || s.State != Pending {
			h.t.Error(s.State, err)
		}
	}
	if n := h.count(audit.DecisionRequested); n != 1 {
		h.t.Errorf("%d requests on record", n)
	}
}

func (h *house) testBackdated() {
	for _, by := range []time.Duration{-time.Hour, time.Hour, -30 * 24 * time.Hour} {
		d := h.decision(h.now().Add(by))
		if by < -day {
			d.Scope.From, d.Scope.To = "2026-09-01", "2026-09-02"
		}
		if _, err := h.gate.Request(h.t.Context(), get(SignDecision(d, h.signer("chef")))); err == nil {
			h.t.Errorf("a request dated %v off was taken", by)
		}
	}
	if h.count(audit.DecisionRequested) != 0 {
		h.t.Error("it is on record")
	}
}

// Case 41: without a decision there is no way to ask, and with one that is not approved nothing is read.
func (h *house) testUnknownSubject() {
	known := h.request(nil)
	unknown := h.request(func(d *Decision) {
		d.Case, d.Scope.Subject, d.Scope.Aliases = "KS 2026/0124", "ingen.alls", []string{"abe"}
		d.Scope.Names = []string{"ingen.alls@norrbo.se"}
	})
	a := first(h.gate.Bundle(h.t.Context(), known.Case, seal.HR, nil))
	b := first(h.gate.Bundle(h.t.Context(), unknown.Case, seal.HR, nil))
	if len(a) != len(b) {
		h.t.Errorf("bundles have %d and %d bytes", len(a), len(b))
	}
	// Nor does anything that one approver leaves behind: what travels, what stands in the store, on record and in the document.
	type left struct {
		approval, shares int
		counts           map[string]int64
		page             string
	}
	var traces []left
	for _, d := range []*Decision{known, unknown} {
		approval := h.approval(d, "hr-1")
		if _, err := h.gate.Accept(h.t.Context(), approval); err != nil {
			h.t.Fatal(err)
		}
		l := left{approval: len(approval)}
		for _, name := range get(h.gate.store.Names(d.Case)) {
			if strings.HasPrefix(name, sharesPrefix) {
				l.shares = len(get(os.ReadFile(filepath.Join(h.gate.store.folder(d.Case), name+".age"))))
			}
		}
		for _, e := range get(h.log.Entries(h.t.Context())) {
			if e.Kind == audit.DecisionApproved && e.Document == digestOf(d).String() {
				l.counts = e.Counts
				if strings.Contains(e.Body, "keys") {
					h.t.Error("the record says how many keys there are")
				}
			}
		}
		l.page = fmt.Sprint(get(h.gate.Document(h.t.Context(), d.Case, "Norrbo kommun")).Sections[3])
		traces = append(traces, l)
	}
	if a, b := traces[0], traces[1]; a.approval-b.approval != len(known.Case)-len(unknown.Case) || a.shares != b.shares || a.shares == 0 || len(a.counts)+len(b.counts) > 0 || a.page != b.page {
		h.t.Errorf("what one approver leaves tells whether there are rows: %+v", traces)
	}
	for _, d := range []*Decision{known, unknown} {
		n := h.count(audit.AccessRefused)
		rows, _, err := h.lookup(d)
		h.refused("a decision that one has approved", rows, err, n)
	}
	h.approve(unknown, "manager-1", "security-1")
	if rows, r, err := h.lookup(unknown); err != nil || len(rows) > 0 || r.Keys > 0 {
		h.t.Error("somebody whom nobody has seen:", len(rows), err)
	}
}

// What approvers handed over is of use only as long as the decision is: then it goes, and their signatures stay.
func (h *house) testSharesGo() {
	shares := func(d *Decision) (n int) {
		for _, name := range get(h.gate.store.Names(d.Case)) {
			if strings.HasPrefix(name, sharesPrefix) {
				n++
			}
		}
		return n
	}
	closed := h.active(func(d *Decision) { d.Case = "KS 1" })
	if n := shares(closed); n != 3 {
		h.t.Fatalf("%d handovers are there, want 3", n)
	}
	if _, err := h.act(ActClosing, closed, "chef", func(a *Act) { a.Result = "klart" }); err != nil {
		h.t.Fatal(err)
	}
	expired := h.active(func(d *Decision) { d.Case, d.ExecuteBy = "KS 2", d.Requested.Add(time.Hour) })
	suspended := h.active(func(d *Decision) { d.Case = "KS 3" })
	h.pass(30 * time.Hour)
	if _, err := h.gate.Recover(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if a, b := shares(expired), h.state(expired).State; a != 3 || b != Expired {
		h.t.Errorf("%d handovers of a decision that is %s by a clock that may be wrong", a, b)
	}
	n := h.count(audit.AccessRefused)
	rows, _, err := h.lookup(expired) // now the record has seen the time
	h.refused("an expired decision", rows, err, n)
	if _, err := h.gate.Recover(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	for d, want := range map[*Decision]int{closed: 0, expired: 0, suspended: 3} {
		if n, s := shares(d), h.state(d); n != want || len(s.Approvals) != 3 {
			h.t.Errorf("%s: %d handovers, want %d; %d approvals, want 3", s.State, n, want, len(s.Approvals))
		}
	}
}

// After the purge the lookup key can't make tags of those days any more: only the hold of the case leads to them.
func (h *house) testForgottenDays() {
	d := h.active(func(d *Decision) { d.Scope.Sources = []string{Web} })
	all := h.db.wanted(d.Scope)
	tagger := get(h.gate.p.Lookup.Tagger(get(seal.ParseDay("2026-11-17"))))
	var rows []vault.HoldRow
	for _, name := range [][]byte{[]byte("anna.berg"), []byte("bo.ek")} { // a hold may be wider than the decision
		rows = append(rows, vault.HoldRow{Kind: Web, Day: get(seal.ParseDay("2026-11-17")), Tag: tagger.Tag(tenant, name)})
	}
	register := vault.HoldRegister{DB: h.db.db, Log: h.log, Lock: h.path("purge.lock"), Wait: time.Second, Now: h.now}
	_, digest, _ := d.Text()
	if _, _, err := register.Place(h.t.Context(), vault.HoldOrder{Case: d.Case, Basis: vault.HoldByDecision, Document: digest.String(), Actor: "tillsyn",
		Scope: vault.HoldScope{Tenant: tenant, Rows: rows}, Authorise: func(context.Context) error { return nil }}); err != nil {
		h.t.Fatal(err)
	}
	h.gate.p.Lookup = get(h.gate.p.Lookup.Forget(get(seal.ParseDay("2026-11-19"))))
	got, _, err := h.lookup(d)
	if err != nil {
		h.t.Fatal(err)
	}
	var want []string
	for _, line := range all {
		if !strings.HasPrefix(line, "2026-11-18") { // neither held nor findable
			want = append(want, line)
		}
	}
	if lines := linesOf(got); !slices.Equal(lines, want) {
		h.t.Errorf("%d rows, want %d", len(lines), len(want))
	}
	if _, err := h.act(ActClosing, d, "chef", func(a *Act) { a.Result = "klart" }); err != nil {
		h.t.Fatal(err)
	}
	if _, err := register.Release(h.t.Context(), vault.HoldByDecision, digest.String(), "tillsyn", func(context.Context) error { return nil }); err != nil {
		h.t.Fatal(err)
	}
}

// What an approver's client remembers of an old segment leads on through the new ones.
func (h *house) testRotatedRecord() {
	a := h.approver("hr-1")
	d := h.request(func(d *Decision) { d.Case = "KS 1" })
	a.Memory = get(a.Open(first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, nil)))).Memory
	for range 2 {
		get(h.log.Rotate(h.t.Context(), "tillsyn"))
	}
	if _, _, err := h.gate.Bundle(h.t.Context(), d.Case, seal.HR, []byte(a.Memory.Checkpoint)); err == nil {
		h.t.Error("a request of an old segment is proved by a checkpoint of the new one")
	}
	d = h.request(func(d *Decision) { d.Case = "KS 2" })
	text := first(h.gate.Bundle(h.t.Context(), d.Case, seal.HR, []byte(a.Memory.Checkpoint)))
	o, err := a.Open(text)
	if err != nil {
		h.t.Fatal(err)
	}
	var b bundle
	if err := json.Unmarshal(text, &b); err != nil || len(b.Path) != 5 {
		h.t.Fatal(len(b.Path), err)
	}
	for i := range b.Path[:4] { // the last leads from the newest checkpoint to itself
		short := b
		short.Path = slices.Delete(slices.Clone(b.Path), i, i+1)
		if _, err := a.Open(get(jsonOf(short))); err == nil {
			h.t.Errorf("the way from the old segment was taken without part %d", i)
		}
	}
	a.Memory = o.Memory
	if _, err := a.Open(text); err != nil {
		h.t.Error("the same again:", err)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, key := range []string{"dir", "lock_timeout", "max_rows"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("nothing is said about %s: %v", key, err)
		}
	}
}

// status answers a case with its state, whoever asks.
func (g *Gate) status(ctx context.Context, number string) (*Case, Status, error) {
	v, err := g.view(ctx, number)
	if err != nil {
		return nil, Status{}, err
	}
	return v.Case, v.Status, nil
}
