package vault_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

const tenant = "norrbo"

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// A town is a database with sealed events, all the keys there are, and the truth.
type town struct {
	t      testing.TB
	db     *clickhouse.DB // as the owner, who may do anything
	store  *vault.Store
	roles  *ingesttest.Roles
	lookup *vault.Lookup
	ring   *vault.Keyring
	writer *vault.Writer
	next   uint64
	truth  map[string][]string // by subject, in the order of time
}

func newTown(t testing.TB) *town {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, nil))
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	user, password := e.Credentials(engine.Owner)
	cfg.Username, cfg.Password = user, clickhouse.Password(password)
	w := &town{t: t, roles: ingesttest.NewRoles(t), truth: map[string][]string{}}
	var err error
	if w.db, err = clickhouse.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	if _, err := w.db.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	if w.store, err = vault.NewStore(w.db); err != nil {
		t.Fatal(err)
	}
	if w.lookup, err = vault.OpenLookup(filepath.Join(t.TempDir(), "lookup.key"), func() time.Time { return noon }); err != nil {
		t.Fatal(err)
	}
	w.roles.Origins = append(w.roles.Origins, w.lookup.Key().Origin())
	if w.ring, err = vault.NewKeyring(1000); err != nil {
		t.Fatal(err)
	}
	if w.writer, err = vault.NewWriter(vault.FixedRegisters(map[string]*seal.Sealer{tenant: w.roles.Sealer(t)}), w.lookup, w.ring); err != nil {
		t.Fatal(err)
	}
	return w
}

var group = vault.Group{Tenant: tenant, Population: "staff", Unit: "school"}

// add takes one web and one mail event of a person at a time.
func (w *town) add(c *vault.Collector, subject string, at time.Time, category string) {
	p := c.Person(group, []byte(subject))
	var e vault.Event
	e.Reset()
	e.Time, e.User, e.Domain, e.Path = at.UnixMilli(), []byte(subject), []byte("www.example.se"), fmt.Appendf(nil, "/%s/%d", subject, at.Unix())
	if category != "" {
		e.Category = []byte(category)
	}
	c.Add(p, vault.Web, &e)
	w.truth[subject] = append(w.truth[subject], describe(vault.Web, &e))
	e.Reset()
	e.Time, e.From, e.MessageID = at.UnixMilli()+1, []byte(subject+"@example.se"), fmt.Appendf(nil, "%d@example.se", at.Unix())
	c.Add(p, vault.Mail, &e)
	w.truth[subject] = append(w.truth[subject], describe(vault.Mail, &e))
}

func describe(kind string, e *vault.Event) string {
	return fmt.Sprintf("%s %d %s%s%s%s %s", kind, e.Time, e.User, e.Domain, e.Path, e.From, e.Category)
}

// put writes a batch.
func (w *town) put(c *vault.Collector) {
	w.t.Helper()
	w.next++
	blocks, err := c.Blocks(vault.Watermark{Mark: 7, Next: w.next, BegunAt: noon})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range blocks {
		w.insert(b)
		c.Inserted(b.Table, b.Day)
	}
	c.Reset()
}

func (w *town) insert(b vault.Block) {
	w.t.Helper()
	query, err := schemas.Query("ingest/insert_" + b.Table)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.Insert(w.t.Context(), clickhouse.Insert{Query: query, Columns: b.Columns, Plain: true}); err != nil {
		w.t.Fatal(b.Table, err)
	}
}

func (w *town) exec(sql string) {
	w.t.Helper()
	if err := w.db.Exec(w.t.Context(), sql, nil); err != nil {
		w.t.Fatal(sql, err)
	}
}

func (w *town) text(sql string) (out []string) {
	w.t.Helper()
	if err := w.db.Query(w.t.Context(), sql, nil, func(r clickhouse.Row) error {
		var s string
		err := r.Scan(&s)
		out = append(out, s)
		return err
	}); err != nil {
		w.t.Fatal(sql, err)
	}
	return out
}

func day(back int) seal.Day { return seal.DayOf(noon) - seal.Day(back) }

func scopeOf(from, to int, kinds []string, categories []string, subjects ...string) vault.Scope {
	s := vault.Scope{Tenant: tenant, Kinds: kinds, From: day(from), To: day(to), Categories: categories}
	for _, x := range subjects {
		s.Subjects = append(s.Subjects, []byte(x))
	}
	return s
}

// permit has all keys in scope opened.
func (w *town) permit(s vault.Scope) *vault.Permit {
	w.t.Helper()
	p, err := vault.NewPermit(s)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := w.store.Keys(w.t.Context(), vault.KeyScope{Tenant: s.Tenant, Kinds: s.Kinds, From: s.From, To: s.To, Subjects: s.Subjects, Lookup: w.lookup.Key()})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range keys {
		key, subject, err := w.roles.OpenKey(k)
		if err != nil {
			continue // somebody has put it there
		}
		if !bytes.Equal(subject, k.Subject) {
			w.t.Fatal("a key is of another subject than it was asked for")
		}
		if err := p.Add(k, subject, key); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

func (w *town) read(p *vault.Permit) ([]string, vault.Reading) {
	w.t.Helper()
	var got []string
	last := int64(0)
	reading, err := w.store.Read(w.t.Context(), p, func(e vault.Event) error {
		if e.Time < last {
			w.t.Error("events are not in the order of time")
		}
		last = e.Time
		got = append(got, describe(e.Kind, &e))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return got, reading
}

func both() []string { return vault.Kinds() }
func any() []string  { return []string{vault.AnyCategory} }

// Two people, three days, two batches a day whose times overlap.
func filled(t *testing.T) *town {
	w := newTown(t)
	c := vault.NewCollector(w.writer)
	for back := 2; back >= 0; back-- {
		for batch := range 2 {
			for i := range 5 {
				at := day(back).Time().Add(time.Duration(60*i+7*batch) * time.Second)
				w.add(c, "anna", at, []string{"", "gambling"}[i%2])
				w.add(c, "bo", at, "")
			}
			w.put(c)
		}
	}
	for _, list := range w.truth {
		slices.SortFunc(list, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
	}
	return w
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d events, want %d\n got %q\nwant %q", what, len(got), len(want), got, want)
	}
}

func pick(list []string, keep func(string) bool) (out []string) {
	for _, s := range list {
		if keep(s) {
			out = append(out, s)
		}
	}
	return out
}

func TestAPermitOpensItsScopeAndNothingElse(t *testing.T) {
	w := filled(t)
	got, reading := w.read(w.permit(scopeOf(2, 0, both(), any(), "anna")))
	equal(t, "everything of one", got, w.truth["anna"])
	if reading.Capsules != 12 || reading.Duplicates+reading.Outside+reading.Filtered > 0 || reading.Locked != nil || reading.Unopened != nil {
		t.Errorf("%+v", reading)
	}
	got, _ = w.read(w.permit(scopeOf(1, 1, both(), any(), "anna")))
	yesterday := fmt.Sprint(day(1).Time().UnixMilli())[:7]
	equal(t, "one day", got, pick(w.truth["anna"], func(s string) bool { return strings.Fields(s)[1][:7] == yesterday }))
	got, _ = w.read(w.permit(scopeOf(2, 0, []string{vault.Mail}, any(), "anna")))
	equal(t, "mail", got, pick(w.truth["anna"], func(s string) bool { return strings.HasPrefix(s, "mail") }))
	got, reading = w.read(w.permit(scopeOf(2, 0, both(), []string{"gambling"}, "anna")))
	equal(t, "one category", got, pick(w.truth["anna"], func(s string) bool { return strings.HasSuffix(s, "gambling") }))
	if reading.Filtered != uint64(len(w.truth["anna"])-len(got)) {
		t.Errorf("%+v", reading)
	}
	got, _ = w.read(w.permit(scopeOf(2, 0, both(), []string{vault.Uncategorised}, "anna")))
	equal(t, "no category", got, pick(w.truth["anna"], func(s string) bool { return strings.HasPrefix(s, "web") && strings.HasSuffix(s, " ") }))
	got, _ = w.read(w.permit(scopeOf(2, 0, both(), any(), "nobody")))
	equal(t, "somebody who is not there", got, nil)

	for name, p := range map[string]*vault.Permit{"nil": nil, "zero": {}} {
		if got, reading := w.read(p); got != nil || reading.Events+reading.Capsules+reading.Outside > 0 {
			t.Errorf("a %s permit reads %q", name, got)
		}
	}
	forgotten := w.permit(scopeOf(2, 0, both(), any(), "anna"))
	forgotten.Forget()
	if got, _ := w.read(forgotten); got != nil || forgotten.Keys() != 0 {
		t.Error("a permit that has forgotten its keys reads")
	}

	// A key that is opened, and outside, is refused.
	keys, err := w.store.Keys(t.Context(), vault.KeyScope{Tenant: tenant, Kinds: both(), From: day(2), To: day(0), Subjects: [][]byte{[]byte("anna"), []byte("bo")}, Lookup: w.lookup.Key()})
	if err != nil || len(keys) != 12 {
		t.Fatal(len(keys), err)
	}
	p, err := vault.NewPermit(scopeOf(1, 1, []string{vault.Web}, any(), "anna"))
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, k := range keys {
		key, subject, err := w.roles.OpenKey(k)
		if err != nil {
			t.Fatal(err)
		}
		inside := k.Kind == vault.Web && k.Day == day(1) && string(subject) == "anna"
		if err := p.Add(k, subject, key); (err == nil) != inside || err != nil && !errors.Is(err, vault.ErrOutside) {
			t.Errorf("a key of %s on %s: %v", k.Kind, k.Day, err)
		}
		if err := p.Add(k, []byte("anna"), seal.OpeningKey{}); err == nil {
			t.Error("an opened key that is none is taken")
		}
		if inside {
			taken++
		}
	}
	if taken != 1 || p.Keys() != 1 {
		t.Error("keys taken:", taken, p.Keys())
	}
	if err := new(vault.Permit).Add(keys[0], []byte("anna"), seal.OpeningKey{}); err == nil {
		t.Error("a permit without a scope takes a key")
	}
	// A capsule whose key was not handed over is told of.
	if _, reading := w.read(p); reading.Events != 10 || len(reading.Locked) > 0 {
		t.Errorf("%+v", reading)
	}
}

func TestScopesThatMeanNothingOrEverythingAreRefused(t *testing.T) {
	good := scopeOf(2, 0, both(), any(), "anna")
	if _, err := vault.NewPermit(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*vault.Scope){
		"no tenant":              func(s *vault.Scope) { s.Tenant = "" },
		"no kind":                func(s *vault.Scope) { s.Kinds = nil },
		"a kind that is none":    func(s *vault.Scope) { s.Kinds = []string{"%"} },
		"a kind twice":           func(s *vault.Scope) { s.Kinds = []string{vault.Web, vault.Web} },
		"days the wrong way":     func(s *vault.Scope) { s.From, s.To = s.To, s.From },
		"more days than allowed": func(s *vault.Scope) { s.From = s.To - vault.MaxScopeDays },
		"no day":                 func(s *vault.Scope) { s.From, s.To = 0, 0 },
		"nobody":                 func(s *vault.Scope) { s.Subjects = nil },
		"an empty subject":       func(s *vault.Scope) { s.Subjects = [][]byte{nil} },
		"no category":            func(s *vault.Scope) { s.Categories = nil },
		"an empty category":      func(s *vault.Scope) { s.Categories = []string{""} },
		"any and another":        func(s *vault.Scope) { s.Categories = []string{vault.AnyCategory, "games"} },
	} {
		s := good
		change(&s)
		if _, err := vault.NewPermit(s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	// What stands in a scope is a value, never a pattern or SQL.
	w := filled(t)
	for _, evil := range []string{"%", "*", "anna' OR 1=1 --", "ann_", "{tags:Array(String)}", "anna\x00", strings.Repeat("x", 1<<20)} {
		if got, _ := w.read(w.permit(scopeOf(2, 0, both(), any(), evil))); got != nil {
			t.Errorf("%.20q reads %d events", evil, len(got))
		}
		if keys, err := w.store.UnitKeys(t.Context(), vault.KeyScope{Tenant: evil, Kinds: both(), From: day(2), To: day(0)}, evil); err != nil || keys != nil {
			t.Errorf("%.20q finds keys: %v", evil, err)
		}
	}
}

// FAULTS 31: a database administrator with everything but role keys. Whatever is moved, copied, changed or made up, what is
// shown is the truth, once, and what is wrong is told.
func TestCase31RowsMovedCopiedAndMadeUp(t *testing.T) {
	w := filled(t)
	all := w.permit(scopeOf(2, 0, both(), any(), "anna", "bo"))
	before, reading := w.read(all)
	if len(before) != 120 || reading.Unopened != nil {
		t.Fatal(len(before), reading)
	}
	// The rows are changed in place of their partition by replacing it, or added; each attack is undone afterwards.
	columns := "day, mark, tenant, unit, tag, key, first, last, count, capsule"
	yesterday := day(1).String()
	var annaTag, boTag string
	{
		tagger, err := w.lookup.Key().Tagger(day(1))
		if err != nil {
			t.Fatal(err)
		}
		annaTag, boTag = tagger.Tag(tenant, []byte("anna")).Hex(), tagger.Tag(tenant, []byte("bo")).Hex()
	}
	annaKey := w.text("SELECT hex(any(key)) AS k FROM web_capsules WHERE mark = 0 AND day = '" + yesterday + "' AND tag = unhex('" + annaTag + "')")[0]
	boKey := w.text("SELECT hex(any(key)) AS k FROM web_capsules WHERE mark = 0 AND day = '" + yesterday + "' AND tag = unhex('" + boTag + "')")[0]
	w.exec("CREATE TABLE saved AS web_capsules ENGINE = MergeTree PARTITION BY day ORDER BY (mark, tenant, tag, first)")
	w.exec("ALTER TABLE saved REPLACE PARTITION '" + yesterday + "' FROM web_capsules")
	sourceAnna := " FROM saved WHERE mark = 0 AND tag = unhex('" + annaTag + "') ORDER BY first LIMIT 1"
	opened := 0
	for name, a := range map[string]struct {
		insert     string // what is added
		instead    bool   // without the original
		duplicates uint64
		silent     bool // nothing tells: the row looks like no row of these people
	}{
		"replayed":                          {insert: columns + sourceAnna, duplicates: 1},
		"a bit flipped":                     {insert: "day, mark, tenant, unit, tag, key, first, last, count, concat(left(capsule, 40), char(bitXor(ascii(substring(capsule, 41, 1)), 1)), substring(capsule, 42))" + sourceAnna},
		"under a true nonce, made up":       {insert: "day, mark, tenant, unit, tag, key, toDateTime(toDate(day), 'UTC'), last, count, concat(left(capsule, 12), randomString(60))" + sourceAnna},
		"cut":                               {insert: "day, mark, tenant, unit, tag, key, first, last, count, left(capsule, 30)" + sourceAnna},
		"empty":                             {insert: "day, mark, tenant, unit, tag, key, first, last, count, ''" + sourceAnna},
		"counted otherwise":                 {insert: "day, mark, tenant, unit, tag, key, first, last, count + 1, capsule" + sourceAnna},
		"counted as none":                   {insert: "day, mark, tenant, unit, tag, key, first, last, 0, capsule" + sourceAnna},
		"earlier":                           {insert: "day, mark, tenant, unit, tag, key, first - 1, last, count, capsule" + sourceAnna},
		"later":                             {insert: "day, mark, tenant, unit, tag, key, first, last + 1, count, capsule" + sourceAnna},
		"to another unit":                   {insert: "day, mark, tenant, 'archive', tag, key, first, last, count, capsule" + sourceAnna},
		"to another tenant":                 {insert: "day, mark, 'other', unit, tag, key, first, last, count, capsule" + sourceAnna, silent: true},
		"to another person":                 {insert: "day, mark, tenant, unit, unhex('" + boTag + "'), key, first, last, count, capsule" + sourceAnna},
		"to another person under his key":   {insert: "day, mark, tenant, unit, unhex('" + boTag + "'), unhex('" + boKey + "'), first, last, count, capsule" + sourceAnna},
		"under another's key":               {insert: "day, mark, tenant, unit, tag, unhex('" + boKey + "'), first, last, count, capsule" + sourceAnna},
		"under a key that is none":          {insert: "day, mark, tenant, unit, tag, unhex('00112233445566778899aabbccddeeff'), first, last, count, capsule" + sourceAnna},
		"to another day":                    {insert: "toDate('" + day(2).String() + "'), mark, tenant, unit, tag, key, first, last, count, capsule" + sourceAnna, silent: true},
		"as a watermark":                    {insert: "day, toUInt64(9), tenant, unit, tag, key, first, last, count, capsule" + sourceAnna, silent: true},
		"swapped with another of the day":   {insert: "day, mark, tenant, unit, tag, key, first, last, count, (SELECT capsule FROM saved WHERE mark = 0 AND tag = unhex('" + annaTag + "') ORDER BY first DESC LIMIT 1)" + sourceAnna},
		"swapped with another person's":     {insert: "day, mark, tenant, unit, tag, key, first, last, count, (SELECT capsule FROM saved WHERE mark = 0 AND tag = unhex('" + boTag + "') LIMIT 1)" + sourceAnna},
		"swapped with mail":                 {insert: "day, mark, tenant, unit, tag, key, first, last, count, (SELECT capsule FROM mail_capsules WHERE mark = 0 AND tag = unhex('" + annaTag + "') LIMIT 1)" + sourceAnna},
		"in place of the original, flipped": {insert: "day, mark, tenant, unit, tag, key, first, last, count, reverse(capsule)" + sourceAnna, instead: true},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			want := before
			if a.instead {
				w.exec("ALTER TABLE web_capsules DROP PARTITION '" + yesterday + "'")
				w.exec("INSERT INTO web_capsules SELECT * FROM saved WHERE capsule != (SELECT capsule" + sourceAnna + ")")
				gone, _ := w.read(all)
				want = gone
				if len(gone) != len(before)-5 {
					t.Fatal(len(gone))
				}
			}
			w.exec("INSERT INTO web_capsules (" + columns + ") SELECT " + a.insert)
			got, reading := w.read(all)
			equal(t, name, got, want)
			told := int(reading.Duplicates) + len(reading.Unopened) + len(reading.Locked) + int(reading.Outside)
			if reading.Duplicates != a.duplicates || a.silent != (told == 0) || told > 1 {
				t.Errorf("%+v", reading)
			}
			if len(reading.Unopened) == 1 && !slices.Contains([]string{strings.ToLower(annaKey), strings.ToLower(boKey)}, reading.Unopened[0].String()) {
				t.Errorf("told of key %s", reading.Unopened[0])
			}
			opened += len(got) - len(want)
			for _, d := range []string{yesterday, day(2).String()} {
				if d == yesterday {
					w.exec("ALTER TABLE web_capsules REPLACE PARTITION '" + d + "' FROM saved")
				} else if name == "to another day" {
					w.exec("ALTER TABLE web_capsules DELETE WHERE day = '" + d + "' AND tag = unhex('" + annaTag + "') SETTINGS mutations_sync = 2")
				}
			}
			if got, _ := w.read(all); len(got) != len(before) {
				t.Fatal("the attack was not undone", len(got))
			}
		})
	}
	w.t = t

	// The shares of keys: of another role, person, day or kind, none opens.
	keys, err := w.store.Keys(t.Context(), vault.KeyScope{Tenant: tenant, Kinds: both(), From: day(2), To: day(0), Subjects: [][]byte{[]byte("anna"), []byte("bo")}, Lookup: w.lookup.Key()})
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i, from := range keys {
		for j, to := range keys {
			for a, role := range seal.Roles() {
				for b := range seal.Roles() {
					if i == j && a == b {
						continue
					}
					moved := to
					moved.Wrapped.Shares[a] = from.Wrapped.Shares[b]
					tried++
					var err error
					if role == seal.Gate {
						_, _, err = w.roles.Keys[role].OpenGateShare(moved.Wrapped, moved.Binding(w.roles.Deployment, nil), w.lookup.Key().Origin())
					} else {
						_, err = w.roles.Keys[role].OpenShare(moved.Wrapped, role, moved.Binding(w.roles.Deployment, moved.Subject))
					}
					if !errors.Is(err, seal.ErrNotOpened) {
						t.Fatalf("a share of another row opens: %v", err)
					}
				}
			}
		}
		if i == 2 {
			break // the rest is like it
		}
	}
	t.Logf("%d events opened that should not; %d shares in wrong rows, none opened", opened, tried)
}

// A row of keys that claims the id of a true one hides nothing.
func TestFalseKeyRowsHideNothing(t *testing.T) {
	w := filled(t)
	w.exec("INSERT INTO web_keys SELECT day, tenant, population, unit, tag, key, hr, manager, security, gate, register FROM web_keys")
	w.exec("INSERT INTO web_keys SELECT day, tenant, population, 'archive', tag, key, manager, hr, security, gate, register FROM web_keys")
	got, _ := w.read(w.permit(scopeOf(2, 0, both(), any(), "anna")))
	// ReplacingMergeTree may merge a false row over a true one: then a key is gone, as if the row had been deleted.
	if slices.Compare(got, w.truth["anna"]) != 0 && len(got) > len(w.truth["anna"]) {
		t.Errorf("%d events", len(got))
	}
}

// FAULTS 31: ten thousand staff ids against everything that a tag could be, without the lookup key.
func TestCase31DictionaryOfStaffIDsAgainstTags(t *testing.T) {
	w := newTown(t)
	c := vault.NewCollector(w.writer)
	var ids []string
	for i := range 10_000 {
		ids = append(ids, fmt.Sprintf("staff%05d", i))
	}
	for i := 0; i < len(ids); i += 200 {
		w.add(c, ids[i], noon, "")
	}
	w.put(c)
	tags := map[string]bool{}
	for _, s := range append(w.text("SELECT DISTINCT hex(tag) AS x FROM web_capsules WHERE mark = 0"), w.text("SELECT DISTINCT hex(key) AS x FROM web_capsules WHERE mark = 0")...) {
		tags[strings.ToLower(s)] = true
	}
	if len(tags) != 100 {
		t.Fatal(len(tags))
	}
	other, err := seal.NewLookupKey(day(3)).Tagger(day(0))
	if err != nil {
		t.Fatal(err)
	}
	own, err := w.lookup.Key().Tagger(day(0))
	if err != nil {
		t.Fatal(err)
	}
	next, err := w.lookup.Key().Tagger(day(-1))
	if err != nil {
		t.Fatal(err)
	}
	matches, tries, control := 0, 0, 0
	for _, id := range ids {
		for _, text := range []string{id, strings.ToUpper(id), tenant + id, tenant + "\x00" + id, id + day(0).String(), tenant + "\x00" + id + day(0).String()} {
			a, b, c := sha256.Sum256([]byte(text)), sha1.Sum([]byte(text)), md5.Sum([]byte(text))
			for _, guess := range [][]byte{a[:16], a[16:], b[:16], c[:], []byte(fmt.Sprintf("%-16.16s", text))} {
				tries++
				if tags[hex.EncodeToString(guess)] {
					matches++
				}
			}
		}
		for _, tagger := range []*seal.Tagger{other, next} {
			tries++
			if tags[tagger.Tag(tenant, []byte(id)).Hex()] {
				matches++
			}
		}
		if tags[own.Tag(tenant, []byte(id)).Hex()] {
			control++
		}
	}
	if matches != 0 || control != 50 {
		t.Errorf("%d matches without the key, %d with it", matches, control)
	}
	t.Logf("%d guesses, %d matches; with the key %d", tries, matches, control)
}

// What is held is read as well, once, also when the day is gone.
func TestHeldCopiesAreMerged(t *testing.T) {
	w := filled(t)
	for _, hold := range []string{"case-1", "case-2"} {
		for _, kind := range vault.Kinds() {
			for range 2 {
				w.exec("INSERT INTO held_keys (hold, kind, day, tenant, population, unit, tag, key, manager, hr, security, gate) SELECT '" + hold + "', '" + kind +
					"', day, tenant, population, unit, tag, key, manager, hr, security, gate FROM " + kind + "_keys WHERE day = '" + day(2).String() + "'")
				w.exec("INSERT INTO held_capsules (hold, kind, day, tenant, unit, tag, key, first, last, count, capsule) SELECT '" + hold + "', '" + kind +
					"', day, tenant, unit, tag, key, first, last, count, capsule FROM " + kind + "_capsules WHERE mark = 0 AND day = '" + day(2).String() + "'")
			}
		}
	}
	for range 2 {
		got, reading := w.read(w.permit(scopeOf(2, 0, both(), any(), "anna")))
		equal(t, "with held copies", got, w.truth["anna"])
		if reading.Duplicates > 0 || reading.Capsules != 12 || reading.Unopened != nil {
			t.Errorf("%+v", reading)
		}
		for _, table := range []string{"web_keys", "mail_keys", "web_capsules", "mail_capsules"} {
			w.exec("ALTER TABLE " + table + " DROP PARTITION '" + day(2).String() + "'")
		}
	}
	scope := vault.KeyScope{Tenant: tenant, Kinds: both(), From: day(2), To: day(0)}
	if keys, err := w.store.HeldKeys(t.Context(), scope, "case-2"); err != nil || len(keys) != 4 || keys[0].Subject != nil {
		t.Errorf("%d keys: %v", len(keys), err)
	}
	if keys, err := w.store.HeldKeys(t.Context(), scope, "case-3"); err != nil || keys != nil {
		t.Errorf("%d keys: %v", len(keys), err)
	}
}

// A key is durable once its row was acknowledged, and not before: until then every batch that uses it writes the row.
func TestKeysAreInBeforeCapsules(t *testing.T) {
	w := newTown(t)
	tables := func(c *vault.Collector) (names []string, blocks []vault.Block) {
		w.add(c, "anna", noon, "")
		w.next++
		blocks, err := c.Blocks(vault.Watermark{Mark: 7, Next: w.next, BegunAt: noon})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			names = append(names, b.Table)
		}
		return names, blocks
	}
	all := []string{"web_keys", "mail_keys", "web_capsules", "mail_capsules"}
	a, b, d := vault.NewCollector(w.writer), vault.NewCollector(w.writer), vault.NewCollector(w.writer)
	names, lost := tables(a) // killed here, or refused: nothing of it is in
	equal(t, "first", names, all)
	names, blocks := tables(b)
	equal(t, "another batch before the row is in", names, all)
	for _, x := range blocks {
		w.insert(x)
		if x.Table == "web_keys" {
			b.Inserted(x.Table, x.Day)
		}
	}
	if ids := w.text("SELECT DISTINCT hex(key) AS x FROM web_keys"); len(ids) != 1 {
		t.Errorf("two batches at once drew %d keys", len(ids))
	}
	names, _ = tables(d)
	equal(t, "after the row of web is in", names, []string{"mail_keys", "web_capsules", "mail_capsules"})
	// The first batch is made again by another process: it has keys of its own, and what was sealed twice is in once.
	_ = lost
	got, reading := w.read(w.permit(scopeOf(0, 0, both(), any(), "anna")))
	if len(got) != 2 || reading.Unopened != nil || reading.Locked != nil {
		t.Errorf("%q %+v", got, reading)
	}
}

// Guests, nobodies and tenants without a register are not in the vault.
func TestWhoIsNotInTheVault(t *testing.T) {
	w := newTown(t)
	c := vault.NewCollector(w.writer)
	var e vault.Event
	e.Reset()
	e.Time = noon.UnixMilli()
	for _, p := range []vault.PersonRef{
		c.Person(vault.Group{Tenant: tenant, Population: "guest", Unit: "open"}, []byte("10.9.0.1")), c.Person(group, nil), vault.Nobody,
		c.Person(vault.Group{Tenant: "without", Population: "staff", Unit: "school"}, []byte("cecilia")),
	} {
		c.Add(p, vault.Web, &e)
	}
	blocks, err := c.Blocks(vault.Watermark{Mark: 7, Next: 1, BegunAt: noon})
	if err != nil || len(blocks) != 1 || blocks[0].Rows != 1 || blocks[0].Table != "web_capsules" {
		t.Errorf("%d blocks, %v", len(blocks), err)
	}
	if left := c.Left(); len(left) != 1 || left[vault.Left{Tenant: "without", Reason: vault.LeftNoRegister}] != 1 || c.Sealed() != 0 {
		t.Errorf("%v", left)
	}
	c.Reset()
	c.Add(c.Person(vault.Group{Tenant: tenant, Population: "unknown", Unit: "unknown"}, []byte("10.1.2.3")), vault.Web, &e)
	if c.Sealed() != 1 {
		t.Error("an unknown user is not sealed")
	}
	none := vault.NewCollector(nil)
	none.Add(none.Person(group, []byte("anna")), vault.Web, &e)
	if blocks, err := none.Blocks(vault.Watermark{}); blocks != nil || err != nil {
		t.Error("a collector that seals for nobody has blocks")
	}
}

func TestTheLookupKeyForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "lookup.key")
	now := noon
	clock := func() time.Time { return now }
	l, err := vault.OpenLookup(path, clock)
	if err != nil {
		t.Fatal(err)
	}
	other, err := vault.OpenLookup(path, clock) // another process
	if err != nil {
		t.Fatal(err)
	}
	first := day(91)
	if l.Key().Oldest() != first {
		t.Fatal(l.Key().Oldest(), first)
	}
	tagger, err := l.Key().Tagger(day(-3))
	if err != nil {
		t.Fatal(err)
	}
	tag := tagger.Tag(tenant, []byte("anna"))
	now = noon.Add(3 * 24 * time.Hour)
	for _, x := range []*vault.Lookup{l, other} {
		if oldest, err := x.Forget(); err != nil || oldest != first+3 {
			t.Fatal(oldest, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := seal.ParseLookupKey(text)
	if err != nil || kept.Oldest() != first+3 {
		t.Fatal(kept.Oldest(), err)
	}
	if _, err := kept.Tagger(first + 2); !errors.Is(err, seal.ErrLookupForgotten) {
		t.Error(err)
	}
	again, err := l.Key().Tagger(day(-3))
	if err != nil || again.Tag(tenant, []byte("anna")) != tag {
		t.Error("the key of a day that is left is another one", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.WriteFile(path, seal.NewLookupKey(first).Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(24 * time.Hour)
	if _, err := l.Forget(); err == nil {
		t.Error("another key in the file is not noticed")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.OpenLookup(path, clock); err == nil {
		t.Error("a key that others can read is taken")
	}
}

func TestRegistersAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	r := vault.NewRegisters(dir, []string{"norrbo", "soderbo"})
	if err := r.Reload(); err != nil || len(r.Missing()) != 2 || r.Sealer("norrbo", "staff") != nil {
		t.Fatal(err, r.Missing())
	}
	roles := ingesttest.NewRoles(t)
	roles.WriteRegister(t, dir, "norrbo")
	if err := r.Reload(); err != nil || !slices.Equal(r.Missing(), []string{"soderbo"}) {
		t.Fatal(err, r.Missing())
	}
	sealer := r.Sealer("norrbo", "staff")
	if sealer == nil || r.Sealer("norrbo", "elected") != sealer || r.Sealer("soderbo", "staff") != nil {
		t.Fatal("sealers are not those of the register")
	}
	file := filepath.Join(dir, "norrbo", "register-0001.note")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(){
		"altered":     func() { os.WriteFile(file, bytes.Replace(text, []byte("hr.a"), []byte("hr.x"), 1), 0o600) },
		"another one": func() { ingesttest.NewRoles(t).WriteRegister(t, dir, "norrbo") },
		"gone":        func() { os.Remove(file) },
	} {
		spoil()
		if err := r.Reload(); err == nil || r.Sealer("norrbo", "staff") != sealer {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err != nil || r.Sealer("norrbo", "staff") != sealer {
		t.Error("the register is back:", err)
	}
}

// Nothing here prints what it holds.
func TestNothingPrintsWhatItHolds(t *testing.T) {
	e := vault.Event{User: []byte("planted.person"), Person: []byte("planted.person")}
	for _, v := range []interface{ MarshalText() ([]byte, error) }{
		e, vault.Scope{Subjects: [][]byte{[]byte("planted.person")}}, vault.KeyScope{Subjects: [][]byte{[]byte("planted.person")}},
		vault.StoredKey{Subject: []byte("planted.person")}, vault.Permit{}, &vault.Collector{}, &vault.Keyring{}, &vault.Lookup{},
	} {
		text, err := v.MarshalText()
		for _, s := range []string{string(text), fmt.Sprint(v), fmt.Sprintf("%+v %#v %s %x", v, v, v, v)} {
			if err != nil || strings.Contains(s, "planted") || strings.Contains(s, hex.EncodeToString([]byte("planted"))) || !strings.Contains(s, "redacted") {
				t.Errorf("%T prints %q", v, s)
			}
		}
	}
}
