package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// An archive is an engine with the tables, a record, and a purger that may do what the purge user may.
type archive struct {
	t      testing.TB
	dir    string
	engine engine.Config
	own    *clickhouse.DB
	purge  *Purger
	now    time.Time
	kafka  []KafkaTopic

	running *engine.Engine
}

func engineOf(a *archive) *engine.Engine { return a.running }

func purgeUsers(t testing.TB) map[string]engine.User {
	t.Helper()
	grants, err := schemas.Grants(schemas.RolePurge, "tillsyn")
	if err != nil {
		t.Fatal(err)
	}
	settings, constraints, err := schemas.Profile(schemas.RolePurge)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]engine.User{"tillsyn_purge": {Grants: grants, Settings: settings, Constraints: constraints}}
}

func openAs(t testing.TB, e *engine.Engine, user string) *clickhouse.DB {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Addresses = []string{e.Address()}
	name, password := e.Credentials(user)
	cfg.Username, cfg.Password = name, clickhouse.Password(password)
	db, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newArchive(t testing.TB) *archive {
	t.Helper()
	a := &archive{t: t, dir: t.TempDir(), engine: enginetest.Config(t, purgeUsers(t)), now: time.Now().UTC()}
	a.kafka = []KafkaTopic{{"proxy", 7 * 86400_000, 86400_000, "delete"}}
	a.start()
	if _, err := a.own.Migrate(t.Context(), schemas.Migrations()); err != nil {
		t.Fatal(err)
	}
	return a
}

// start starts an engine on the archive's data and makes a purger for it.
func (a *archive) start() *engine.Engine {
	a.t.Helper()
	e, err := engine.Start(a.t.Context(), a.engine)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(e.Kill)
	a.running = e
	a.own = openAs(a.t, e, engine.Owner)
	a.purge = a.purger(openAs(a.t, e, "tillsyn_purge"))
	return e
}

func (a *archive) purger(db *clickhouse.DB) *Purger {
	a.t.Helper()
	cfg := audit.DefaultConfig()
	cfg.Silence = 100 * 365 * 24 * time.Hour // these stories skip years
	cfg.Directory, cfg.Key, cfg.Deployment = filepath.Join(a.dir, "audit"), filepath.Join(a.dir, "audit.key"), "test"
	log, err := audit.Open(a.t.Context(), cfg, a.clock)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = log.Close() })
	signer, err := seal.NewSigner("test/purge")
	if err != nil {
		a.t.Fatal(err)
	}
	p := &Purger{
		Servers: []PurgeServer{{"embedded", db}}, Log: log, Signer: signer, Deployment: "test",
		Retention: Retention{Web: decided(90), Mail: decided(60), Rejects: decided(90)}, Config: DefaultPurgeConfig(), Now: a.clock,
		Kafka: func(context.Context) ([]KafkaTopic, error) { return a.kafka, nil },
	}
	p.Config.Lock = filepath.Join(a.dir, "purge.lock")
	p.Config.Settle = time.Minute
	p.Config.DataPaths = []string{filepath.Join(a.engine.DataDir, "clickhouse")}
	return p
}

func (a *archive) clock() time.Time { return a.now }

func (a *archive) today() seal.Day { return seal.DayOf(a.now) }

func (a *archive) holds() HoldRegister {
	return HoldRegister{DB: a.purge.Servers[0].DB, Log: a.purge.Log, Lock: a.purge.Config.Lock, Wait: time.Second, Now: a.clock}
}

// ended puts on record that what a hold rests on has ended: without it none does.
func (a *archive) ended(basis HoldBasis, number, document string) {
	a.t.Helper()
	e := audit.Entry{Kind: audit.DecisionClosed, Actor: "chef", Case: number, Document: document}
	if basis == HoldByRecords {
		e.Kind = audit.RecordsClosed
	}
	if _, err := a.purge.Log.Append(a.t.Context(), e); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) exec(sql string, params clickhouse.Params) {
	a.t.Helper()
	if err := a.own.Exec(a.t.Context(), sql, params); err != nil {
		a.t.Fatalf("%v: %s", err, sql)
	}
}

func (a *archive) number(sql string) (n uint64) {
	a.t.Helper()
	if err := a.own.Query(a.t.Context(), sql, nil, func(r clickhouse.Row) error { return r.Scan(&n) }); err != nil {
		a.t.Fatalf("%v: %s", err, sql)
	}
	return n
}

// tag is the tag of person n on a day; fill uses the same.
func (a *archive) tag(kind string, d seal.Day, n int) seal.Tag {
	a.t.Helper()
	var text string
	err := a.own.Query(a.t.Context(), "SELECT lower(hex(sipHash128('tag', {n:UInt64}, {day:String})))", clickhouse.Params{"n": n, "day": d.String()},
		func(r clickhouse.Row) error { return r.Scan(&text) })
	raw, err2 := hex.DecodeString(text)
	if err != nil || err2 != nil {
		a.t.Fatal(err, err2)
	}
	return seal.Tag(raw)
}

// fill writes a day of people with so many capsules each, and the watermark of their batch. Every capsule and
// share has a marker of its own, so that a search can tell whose bytes are left: see marker.
func (a *archive) fill(kind string, d seal.Day, people, each int) {
	a.t.Helper()
	params := clickhouse.Params{"day": d.String(), "people": people}
	a.exec(`INSERT INTO `+kind+`_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate)
		SELECT {day:Date}, 'norrbo', 'staff', 'unit' || toString(number % 7), sipHash128('tag', number, {day:String}),
		sipHash128('key', number, '`+kind+`', {day:String}), randomString(80, 1), lower(hex(sipHash128('share', number, '`+kind+`', {day:String}))) || randomString(48), randomString(80, 2), randomString(80, 3)
		FROM numbers({people:UInt64})`, params)
	params["rows"] = people * each
	a.exec(`INSERT INTO `+kind+`_capsules SELECT {day:Date}, 0, 'norrbo', 'unit' || toString(number % {people:UInt64} % 7), sipHash128('tag', number % {people:UInt64}, {day:String}),
		sipHash128('key', number % {people:UInt64}, '`+kind+`', {day:String}), toDateTime({day:Date}, 'UTC') + number, toDateTime({day:Date}, 'UTC') + number + 9, 3,
		randomString(12) || lower(hex(sipHash128('marker', number % {people:UInt64}, intDiv(number, {people:UInt64}), '`+kind+`', {day:String}))) || randomString(28),
		0, toDateTime(0, 'UTC')
		FROM numbers({rows:UInt64}) SETTINGS max_partitions_per_insert_block = 1`, params)
	a.exec(`INSERT INTO `+kind+`_capsules (day, mark, next, begun_at) VALUES ({day:Date}, 7, 100, toDateTime({day:Date}, 'UTC'))`, clickhouse.Params{"day": d.String()})
}

// marker is what stands in capsule i of person n; with i < 0, in the share of HR.
func (a *archive) marker(kind string, d seal.Day, n, i int) (text string) {
	a.t.Helper()
	query, params := "SELECT lower(hex(sipHash128('marker', {n:UInt64}, {i:UInt64}, {kind:String}, {day:String})))", clickhouse.Params{"n": n, "i": i, "kind": kind, "day": d.String()}
	if i < 0 {
		query = "SELECT lower(hex(sipHash128('share', {n:UInt64}, {kind:String}, {day:String})))"
		delete(params, "i")
	}
	if err := a.own.Query(a.t.Context(), query, params, func(r clickhouse.Row) error { return r.Scan(&text) }); err != nil {
		a.t.Fatal(err)
	}
	return text
}

// grep answers how often any of the words stands in any file of the engine.
func (a *archive) grep(words ...string) map[string]int {
	a.t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(a.engine.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, w := range words {
			if n := bytes.Count(text, []byte(w)); n > 0 {
				found[w] += n
			}
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return found
}

func (a *archive) order(number string, rows ...HoldRow) HoldOrder {
	return HoldOrder{Case: number, Basis: HoldByDecision, Document: seal.DigestOf([]byte(number)).String(), Actor: "gate",
		Scope: HoldScope{"norrbo", rows}, Authorise: func(context.Context) error { return nil }}
}

func (a *archive) place(number string, rows ...HoldRow) (Hold, HoldCopies) {
	a.t.Helper()
	h, n, err := a.holds().Place(a.t.Context(), a.order(number, rows...))
	if err != nil {
		a.t.Fatal(err)
	}
	return h, n
}

func (a *archive) run() PurgeReport {
	a.t.Helper()
	r, err := a.purge.Run(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

func (a *archive) entries(kind audit.Kind) []audit.Record {
	a.t.Helper()
	all, err := a.purge.Log.Entries(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(e audit.Record) bool { return e.Kind != kind })
}

// heldSum is a fingerprint of everything that is held.
func (a *archive) heldSum() uint64 {
	a.t.Helper()
	return a.number(`SELECT sum(h) FROM (SELECT sipHash64(kind, day, tenant, tag, key, manager, hr, security, gate) AS h FROM (SELECT DISTINCT kind, day, tenant, tag, key, manager, hr, security, gate FROM held_keys)
		UNION ALL SELECT sipHash64(kind, day, tenant, tag, key, first, last, count, capsule) FROM (SELECT DISTINCT kind, day, tenant, tag, key, first, last, count, capsule FROM held_capsules))`)
}

// sourceSum is the same fingerprint of some people's rows where they come from.
func (a *archive) sourceSum(kind string, d seal.Day, people ...int) uint64 {
	a.t.Helper()
	var tags []string
	for _, n := range people {
		tag := a.tag(kind, d, n)
		tags = append(tags, "unhex('"+hex.EncodeToString(tag[:])+"')")
	}
	where := fmt.Sprintf("day = '%s' AND tag IN (%s)", d, strings.Join(tags, ","))
	return a.number(fmt.Sprintf(`SELECT sum(h) FROM (SELECT sipHash64('%[1]s', day, tenant, tag, key, manager, hr, security, gate) AS h FROM %[1]s_keys WHERE %[2]s
		UNION ALL SELECT sipHash64('%[1]s', day, tenant, tag, key, first, last, count, capsule) FROM %[1]s_capsules WHERE mark = 0 AND %[2]s)`, kind, where))
}

// Case 43: a day of many rows goes at once, three people's rows stay as they were, and their bytes alone are left.
func TestPurgeOfADayWithThreePeopleHeld(t *testing.T) {
	a := newArchive(t)
	people, each := 50_000, 20
	if os.Getenv("CI") == "" {
		people = 1000
	}
	if n := os.Getenv("TILLSYN_PURGE_PEOPLE"); n != "" {
		fmt.Sscan(n, &people)
	}
	d := a.today() - 90
	a.fill(Web, d, people, each)
	a.fill(Web, d+1, 100, 5)
	rows := a.number("SELECT count() FROM web_capsules WHERE mark = 0")
	held := []int{3, people / 2, people - 1}
	want := a.sourceSum(Web, d, held...)
	var scope []HoldRow
	for _, n := range held {
		scope = append(scope, HoldRow{Web, d, "", a.tag(Web, d, n)})
	}
	h, copies := a.place("HR 1/26", scope...)
	if copies != (HoldCopies{3, int64(3 * each)}) || a.heldSum() != want {
		t.Fatal(copies)
	}
	var gone []string
	for i := range 200 {
		n := i*(people-4)/200 + 4
		if slices.Contains(held, n) {
			n++
		}
		gone = append(gone, a.marker(Web, d, n, i%each), a.marker(Web, d, n, -1))
	}
	if n := len(a.grep(gone...)); n < 300 {
		t.Fatalf("only %d markers stand in the files before", n)
	}
	start := time.Now()
	report := a.run()
	t.Logf("%d rows purged in %v", rows, time.Since(start))
	if len(report.Certificates) != 1 {
		t.Fatal(report.Certificates)
	}
	if found := a.grep(gone...); len(found) > 0 {
		t.Fatal("left on disk:", found)
	}
	if a.heldSum() != want || a.number("SELECT count() FROM held_capsules") != uint64(3*each) {
		t.Fatal("what is held has changed")
	}
	for _, n := range held {
		if w := a.marker(Web, d, n, 0); a.grep(w)[w] == 0 {
			t.Fatal("a held capsule is gone from disk")
		}
	}
	if n := a.number("SELECT count() FROM web_capsules WHERE mark = 0"); n != 500 {
		t.Fatal("rows that are not due:", n)
	}
	c, err := OpenCertificate(report.Certificates[0].Note, a.purge.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if c.Totals.Keys != uint64(people) || c.Totals.Capsules != uint64(people*each+1) || c.Totals.Holds != 1 || c.Holds[0].Hold != h.ID || c.Removed[0].Held != copies ||
		c.Disk.Samples < 32 || c.Disk.Hits != 0 || c.Disk.Files == 0 || !c.Kafka.Asked || c.Removed[0].Day != d.String() || c.Retention[0].Decisions[0].Number != "KS 2026/17" {
		t.Fatalf("%+v", c)
	}
	note := report.Certificates[0].Note
	for range 500 {
		var at [2]byte
		_, _ = rand.Read(at[:])
		bad := bytes.Clone(note)
		bad[(int(at[0])<<8|int(at[1]))%len(bad)] ^= 1 << (at[0] % 7)
		if _, err := OpenCertificate(bad, a.purge.Signer.Verifier()); err == nil {
			t.Fatal("a changed certificate verifies")
		}
	}
	entry := a.entries(audit.PurgeCertificate)
	if len(entry) != 1 || entry[0].Body != string(note) || entry[0].Document != a.entries(audit.PurgeIntent)[0].Document {
		t.Fatal("the record has another certificate")
	}
	purged, err := PurgedDays(entry)
	if err != nil || !purged.Has(Web, d) || purged.Has(Web, d+1) || purged.Has(Mail, d) {
		t.Fatal(err)
	}
	if again := a.run(); len(again.Certificates) != 0 || len(a.entries(audit.PurgeIntent)) != 1 {
		t.Fatal("a second run did something")
	}
	if os.Getenv("TILLSYN_SHOW") != "" {
		t.Logf("\n%s", note)
	}
}
