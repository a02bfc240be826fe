package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/seal"
)

// copied is the archive a on copies of its files, without a running engine.
func (a *archive) copied(t *testing.T) *archive {
	t.Helper()
	c := &archive{t: t, dir: t.TempDir(), engine: a.engine, now: a.now, kafka: a.kafka}
	c.engine.DataDir = t.TempDir()
	for from, to := range map[string]string{a.engine.DataDir: c.engine.DataDir, a.dir: c.dir} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(c.dir, "audit.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Case 44: the server is killed before every change of a file that a purge makes. Purged again, everything is gone, what is
// held is whole, and there was never a certificate without deletion.
func TestKillBeforeEveryFileChangeOfAPurge(t *testing.T) {
	base := newArchive(t)
	e := engineOf(base)
	d := base.today() - 90
	base.fill(Web, d, 12, 2)
	base.fill(Web, d+1, 3, 1)
	want := base.sourceSum(Web, d, 4)
	o := base.order("HR 1/26", HoldRow{Web, d, "", base.tag(Web, d, 4)})
	// The hold is on record, but its copy was cut short: the purge makes it.
	var salt [32]byte
	digest := o.Scope.digest(salt)
	if err := base.holds().insert(t.Context(), HoldID(digest), salt, o.Scope); err != nil {
		t.Fatal(err)
	}
	if _, err := base.purge.Log.Append(t.Context(), audit.Entry{Kind: audit.HoldPlaced, Actor: "gate", Case: o.Case, Document: digest.String()}); err != nil {
		t.Fatal(err)
	}
	e.Kill()

	try := func(t *testing.T, shim *enginetest.KillShim, at int) int {
		a := base.copied(t)
		a.engine.Env = shim.Env(a.engine.DataDir, at)
		e := a.start()
		shim.Arm(t)
		_, err := a.purge.Run(t.Context())
		shim.Disarm(t)
		calls := shim.Calls(t)
		if at == 0 && err != nil {
			t.Fatal(err)
		}
		e.Kill()
		certified := a.entries(audit.PurgeCertificate)
		a.engine.Env = nil
		a.start()
		left := a.number("SELECT (SELECT count() FROM web_keys WHERE tenant != '') + (SELECT count() FROM web_capsules WHERE mark = 0)")
		if len(certified) > 0 && left != 3+3 {
			t.Fatalf("killed before change %d: certified, and %d rows are left", at, left)
		}
		if report, err := a.purge.Run(t.Context()); err != nil || len(certified)+len(report.Certificates) != 1 {
			t.Fatalf("killed before change %d: %v, certificates %d + %d", at, err, len(certified), len(report.Certificates))
		}
		if got := a.heldSum(); got != want {
			t.Fatalf("killed before change %d: what is held has changed", at)
		}
		if list, err := a.purge.Overdue(t.Context()); err != nil || len(list) > 0 {
			t.Fatalf("killed before change %d: %v %v", at, list, err)
		}
		if n := a.number("SELECT count() FROM web_capsules WHERE mark = 0"); n != 3 {
			t.Fatalf("killed before change %d: %d rows that were not due are left", at, n)
		}
		return calls
	}
	points := try(t, enginetest.NewKillShim(t), 0)
	if points < 60 {
		t.Fatalf("only %d changes were seen: the shim does not see this engine", points)
	}
	step := 1
	if os.Getenv("CI") == "" {
		step = 7
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			shim := enginetest.NewKillShim(t)
			for at := range next {
				t.Run("", func(t *testing.T) { try(t, shim, at) })
			}
		})
	}
	tried := 0
	for at := 1 + rand.IntN(step); at <= points+5; at += step {
		next <- at
		tried++
	}
	close(next)
	workers.Wait()
	t.Logf("%d of %d kill points", tried, points+5)
}

// A purge that stops between any two of its steps is finished by the next.
func TestPurgeStoppedBetweenSteps(t *testing.T) {
	var steps []string
	for stop := 0; ; stop++ {
		name := ""
		a := newArchive(t)
		d := a.today() - 90
		a.fill(Web, d, 8, 2)
		a.fill(Mail, a.today()-60, 3, 1)
		want := a.sourceSum(Web, d, 1)
		h, _ := a.place("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 1)})
		ended, _ := a.place("HR 2/26", HoldRow{Web, d, "", a.tag(Web, d, 2)})
		a.ended(ended.Basis, ended.Case, ended.Document)
		if _, err := a.holds().releaseOne(t.Context(), ended.ID, "gate", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		n := 0
		a.purge.step = func(step string) error {
			if n++; n == stop+1 {
				name = step
				return errKilled
			}
			return nil
		}
		_, err := a.purge.Run(t.Context())
		if name == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		steps = append(steps, name)
		if n := len(a.entries(audit.PurgeCertificate)); n > 0 && name != "certified" {
			t.Fatalf("stopped before %s: certified", name)
		}
		a.purge.step = nil
		a.run()
		if got := len(a.entries(audit.PurgeCertificate)); got != 1 {
			t.Fatalf("stopped before %s: %d certificates", name, got)
		}
		if a.heldSum() != want || a.number("SELECT count() FROM held_capsules WHERE hold = '"+h.ID+"'") != 2 || a.number("SELECT count() FROM held_capsules") != 2 {
			t.Fatalf("stopped before %s: what is held has changed", name)
		}
		if n := a.number("SELECT (SELECT count() FROM web_keys) + (SELECT count() FROM web_capsules) + (SELECT count() FROM mail_keys) + (SELECT count() FROM mail_capsules)"); n != 0 {
			t.Fatalf("stopped before %s: %d rows are left", name, n)
		}
		if n := a.number("SELECT count() FROM holds"); n != 1 {
			t.Fatalf("stopped before %s: %d scopes are left", name, n)
		}
		engineOf(a).Kill()
	}
	if len(steps) < 12 {
		t.Fatal(steps)
	}
	t.Log(steps)
}

// Case 45: holds that overlap, hold on although their decision has long expired, and end one by one.
func TestOverlappingHolds(t *testing.T) {
	a := newArchive(t)
	d := a.today() - 89
	a.fill(Web, d, 50, 3)
	want := a.sourceSum(Web, d, 7, 8)
	first, n := a.place("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 7)})
	if n != (HoldCopies{1, 3}) {
		t.Fatal(n)
	}
	second, _ := a.place("HR 2/26", HoldRow{Web, d, "", a.tag(Web, d, 7)}, HoldRow{Web, d, "", a.tag(Web, d, 8)})
	records := a.order("Dnr 44", HoldRow{Web, d, "unit3", seal.Tag{}})
	records.Basis = HoldByRecords
	third, n3, err := a.holds().Place(t.Context(), records)
	if err != nil || n3 != (HoldCopies{7, 21}) {
		t.Fatal(n3, err)
	}
	everyone, n4 := a.place("Dnr 45", HoldRow{Web, d, "", seal.Tag{}})
	if n4 != (HoldCopies{50, 150}) {
		t.Fatal(n4)
	}
	allow := func(context.Context) error { return nil }
	for _, h := range []Hold{everyone, first, second, third} {
		a.ended(h.Basis, h.Case, h.Document)
	}
	if _, err := a.holds().releaseOne(t.Context(), everyone.ID, "gate", allow); err != nil {
		t.Fatal(err)
	}
	a.purge.AcceptClock = true // ClickHouse does not go along
	a.now = a.now.AddDate(0, 0, 1)
	a.run()
	if a.number("SELECT count() FROM held_capsules") != 3+6+21 || a.number("SELECT count() FROM web_capsules") != 0 {
		t.Fatal("the copies of a released hold are left, or those of others are gone")
	}
	a.now = a.now.AddDate(3, 0, 0) // the decisions have long expired
	a.run()
	if a.number("SELECT count() FROM held_capsules") != 3+6+21 {
		t.Fatal("a hold lapsed")
	}
	if list, err := a.holds().Release(t.Context(), HoldByDecision, seal.DigestOf([]byte("HR 1/26")).String(), "gate", allow); err != nil || len(list) != 1 || list[0].ID != first.ID {
		t.Fatal(list, err)
	}
	if _, err := a.holds().releaseOne(t.Context(), third.ID, "gate", allow); err != nil {
		t.Fatal(err)
	}
	a.run()
	if a.heldSum() != want || a.number("SELECT count() FROM held_capsules") != 6 {
		t.Fatal("what two cases held is not what one of them holds")
	}
	list, err := a.holds().List(t.Context())
	if err != nil || len(list) != 4 || !list[1].InForce() || list[1].Copies != (HoldCopies{2, 6}) || list[0].InForce() || list[0].Copies != (HoldCopies{}) || list[2].Basis != HoldByRecords {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := a.holds().releaseOne(t.Context(), second.ID, "gate", func(context.Context) error { return errors.New("no") }); err == nil {
		t.Fatal("a hold was released against the will of who decides")
	}
	if _, err := a.holds().releaseOne(t.Context(), second.ID, "gate", allow); err != nil {
		t.Fatal(err)
	}
	words := []string{a.marker(Web, d, 7, 0), a.marker(Web, d, 8, 1), a.marker(Web, d, 8, -1)}
	if len(a.grep(words...)) != 3 {
		t.Fatal("what is held is not on disk")
	}
	r := a.run()
	if found := a.grep(words...); len(found) > 0 || a.number("SELECT count() FROM held_capsules") != 0 || a.number("SELECT count() FROM holds") != 0 {
		t.Fatal("after the last release something is left:", found)
	}
	if c := r.Certificates[0]; c.Removed[0].Class != ClassHeld || c.Removed[0].Hold != second.ID || c.Disk.Samples == 0 {
		t.Fatalf("%+v", c)
	}
	if _, err := a.holds().releaseOne(t.Context(), second.ID, "gate", allow); err == nil {
		t.Fatal("a hold was released twice")
	}
}

// A hold that is released while the day is young goes, and its day stays: the sampled ciphertext is there by right.
func TestReleaseOfAYoungDay(t *testing.T) {
	a := newArchive(t)
	d := a.today() - 5
	a.fill(Mail, d, 10, 2)
	a.place("HR 1/26", HoldRow{Mail, d, "", a.tag(Mail, d, 3)})
	a.ended(HoldByDecision, "HR 1/26", seal.DigestOf([]byte("HR 1/26")).String())
	if _, err := a.holds().Release(t.Context(), HoldByDecision, seal.DigestOf([]byte("HR 1/26")).String(), "gate", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r := a.run()
	if len(r.Certificates) != 1 || r.Certificates[0].Disk.StillHeld == 0 || a.number("SELECT count() FROM mail_capsules WHERE mark = 0") != 20 || a.number("SELECT count() FROM held_keys") != 0 {
		t.Fatalf("%+v", r.Certificates)
	}
}

// Case 45: a hold that is placed while a purge runs waits for it, or its rows are copied before they go. Nothing is lost that
// Place said it has.
func TestHoldPlacedWhileThePurgeRuns(t *testing.T) {
	for _, first := range []string{"hold", "purge"} {
		a := newArchive(t)
		d := a.today() - 90
		a.fill(Web, d, 400, 5)
		want := a.sourceSum(Web, d, 9)
		o := a.order("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 9)})
		register := a.holds()
		register.Wait, a.purge.Config.Wait = time.Minute, time.Minute
		var placed HoldCopies
		var placeErr, purgeErr error
		var work sync.WaitGroup
		place := func() { _, placed, placeErr = register.Place(t.Context(), o) }
		purge := func() { _, purgeErr = a.purge.Run(t.Context()) }
		if first == "hold" {
			o.Authorise = func(context.Context) error { work.Go(purge); return nil }
			place()
		} else {
			once := sync.Once{}
			a.purge.step = func(string) error { once.Do(func() { work.Go(place) }); return nil }
			purge()
		}
		work.Wait()
		if purgeErr != nil || first == "hold" && placeErr != nil || first == "purge" && !errors.Is(placeErr, ErrGone) {
			t.Fatal(first, purgeErr, placeErr)
		}
		switch {
		case first == "hold" && (placed != HoldCopies{1, 5} || a.heldSum() != want):
			t.Fatal("a held row was lost:", placed)
		case first == "purge" && placed != HoldCopies{}:
			t.Fatal("something was copied of what was gone:", placed)
		}
		a.purge.step = nil
		a.run()
		engineOf(a).Kill()
	}

	// On another machine, where the lock file is another: the hold comes between the plan and the drop, at every step.
	for _, step := range []string{"intent", "copy"} {
		a := newArchive(t)
		d := a.today() - 90
		a.fill(Web, d, 40, 5)
		want := a.sourceSum(Web, d, 9)
		o := a.order("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 9)})
		elsewhere := a.holds()
		elsewhere.Lock = filepath.Join(t.TempDir(), "lock")
		once := false
		a.purge.step = func(s string) error {
			if s == step && !once {
				once = true
				_, _, err := elsewhere.Place(t.Context(), o)
				return err
			}
			return nil
		}
		r := a.run()
		if a.heldSum() != want || r.Certificates[0].Totals.Holds != 1 || r.Certificates[0].Removed[0].Held != (HoldCopies{1, 5}) {
			t.Fatalf("a hold that came before %q was overlooked", step)
		}
	}
}

// Nothing is removed while record and database disagree about what is held.
func TestPurgeStopsWhenHoldsAreNotCertain(t *testing.T) {
	for name, harm := range map[string]func(*archive, Hold){
		"the scope is gone": func(a *archive, h Hold) { a.exec("ALTER TABLE holds DROP PARTITION '"+h.ID+"'", nil) },
		"the scope has one more": func(a *archive, h Hold) {
			a.exec("INSERT INTO holds SELECT hold, salt, tenant, kind, day, 'unit1', toFixedString('', 16), begun FROM holds", nil)
		},
		"the scope is another": func(a *archive, h Hold) {
			a.exec("CREATE TABLE aside AS holds", nil)
			a.exec("INSERT INTO aside SELECT * FROM holds", nil)
			a.exec("ALTER TABLE holds DROP PARTITION '"+h.ID+"'", nil)
			a.exec("INSERT INTO holds SELECT hold, salt, tenant, kind, day, unit, reverse(tag), begun FROM aside", nil)
		},
		"a copy was changed": func(a *archive, h Hold) {
			a.exec("ALTER TABLE held_keys UPDATE hr = 'another' WHERE 1 SETTINGS mutations_sync = 2", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchive(t)
			d := a.today() - 90
			a.fill(Web, d, 6, 2)
			h, _ := a.place("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 1)})
			harm(a, h)
			_, err := a.purge.Run(t.Context())
			if !errors.Is(err, ErrHolds) {
				t.Fatal(err)
			}
			if a.number("SELECT count() FROM web_capsules") != 13 || len(a.entries(audit.PurgeCertificate)) != 0 || len(a.entries(audit.PurgeFailed)) != 1 {
				t.Fatal("something was removed or certified, or the failure is not on record")
			}
		})
	}
}

// Case 46: what a database administrator puts aside or back is found, named, and never certified.
func TestCopiesThatHideFromAPurge(t *testing.T) {
	for name, c := range map[string]struct {
		table  string
		harm   func(a *archive, day string)
		repair func(a *archive, day string)
	}{
		"frozen": {"web_capsules", func(a *archive, day string) {
			a.exec("ALTER TABLE web_capsules FREEZE PARTITION '"+day+"' WITH NAME 'mine'", nil)
		}, func(a *archive, day string) { a.exec("ALTER TABLE web_capsules UNFREEZE WITH NAME 'mine'", nil) }},
		"detached": {"mail_keys", func(a *archive, day string) { a.exec("ALTER TABLE mail_keys DETACH PARTITION '"+day+"'", nil) },
			func(a *archive, day string) {
				a.exec("ALTER TABLE mail_keys DROP DETACHED PARTITION '"+day+"' SETTINGS allow_drop_detached = 1", nil)
			}},
		"copied by hand": {"web_keys", func(a *archive, day string) {
			var path string
			if err := a.own.Query(t.Context(), "SELECT path FROM system.parts WHERE table = 'web_keys' AND active", nil, func(r clickhouse.Row) error { return r.Scan(&path) }); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(a.engine.DataDir, "clickhouse", "aside"), os.DirFS(path)); err != nil {
				t.Fatal(err)
			}
		}, func(a *archive, day string) {
			if err := os.RemoveAll(filepath.Join(a.engine.DataDir, "clickhouse", "aside")); err != nil {
				t.Fatal(err)
			}
		}},
		"left by a crash": {"web_capsules", func(a *archive, day string) {
			var path string
			if err := a.own.Query(t.Context(), "SELECT data_paths[1] FROM system.tables WHERE name = 'web_capsules'", nil, func(r clickhouse.Row) error { return r.Scan(&path) }); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(path, "tmp_merge_"+strings.ReplaceAll(day, "-", "")+"_1_9_1"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, func(a *archive, day string) {
			matches, err := filepath.Glob(filepath.Join(a.engine.DataDir, "clickhouse", "store", "*", "*", "tmp_merge_*"))
			if err != nil || len(matches) != 1 {
				t.Fatal(matches, err)
			}
			if err := os.Remove(matches[0]); err != nil {
				t.Fatal(err)
			}
		}},
		"an unreadable name among the detached": {"web_capsules", func(a *archive, day string) {
			var path string
			if err := a.own.Query(t.Context(), "SELECT data_paths[1] FROM system.tables WHERE name = 'web_capsules'", nil, func(r clickhouse.Row) error { return r.Scan(&path) }); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(path, "detached", "mine"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, func(a *archive, day string) {
			matches, _ := filepath.Glob(filepath.Join(a.engine.DataDir, "clickhouse", "store", "*", "*", "detached", "mine"))
			if err := os.Remove(matches[0]); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchive(t)
			a.purge.Retention.Mail = decided(90)
			d := a.today() - 90
			a.fill(Web, d, 30, 2)
			a.fill(Mail, d, 30, 2)
			c.harm(a, d.String())
			_, err := a.purge.Run(t.Context())
			if !errors.Is(err, ErrNotVerified) || len(a.entries(audit.PurgeCertificate)) != 0 {
				t.Fatal(err)
			}
			if !strings.Contains(err.Error(), a.engine.DataDir) {
				t.Fatalf("%v does not name the path", err)
			}
			if a.number("SELECT count() FROM web_capsules") != 0 {
				t.Fatal("what can be removed was not")
			}
			if failed := a.entries(audit.PurgeFailed); len(failed) != 1 || !strings.Contains(failed[0].Body, "on disk") && !strings.Contains(failed[0].Body, "detached") {
				t.Fatal(failed)
			}
			if name != "copied by hand" {
				if list, err := a.purge.Overdue(t.Context()); err != nil || len(list) == 0 {
					t.Fatal("nothing is overdue:", err)
				}
			}
			if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrNotVerified) {
				t.Fatal("the second time nobody minds:", err)
			}
			c.repair(a, d.String())
			r := a.run()
			if len(r.Certificates) != 1 || r.Certificates[0].Totals.Items != 2 {
				t.Fatalf("%+v", r.Certificates)
			}
		})
	}
}

// Case 46: a day that was certified and comes back is not served, not certified, removed, and certified as removed again.
func TestAPurgedDayThatComesBack(t *testing.T) {
	a := newArchive(t)
	d := a.today() - 90
	a.fill(Web, d, 30, 2)
	a.exec("CREATE TABLE backup_keys AS web_keys", nil)
	a.exec("CREATE TABLE backup_capsules AS web_capsules", nil)
	a.exec("INSERT INTO backup_keys SELECT * FROM web_keys", nil)
	a.exec("INSERT INTO backup_capsules SELECT * FROM web_capsules", nil)
	a.purge.Config.WithoutDisk = true // the backup lies in the same directory
	a.purge.Config.DataPaths = nil
	a.run()
	a.exec("INSERT INTO web_keys SELECT * FROM backup_keys", nil)
	a.exec("INSERT INTO web_capsules SELECT * FROM backup_capsules", nil)
	records, err := a.purge.Log.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if purged, err := PurgedDays(records); err != nil || !purged.Has(Web, d) || len(purged.days) != 1 {
		t.Fatal("a purged day would be served", err)
	}
	if list, err := a.purge.Overdue(t.Context()); err != nil || len(list) != 2 || list[0].Day != d.String() {
		t.Fatal(list, err)
	}
	r, err := a.purge.Run(t.Context())
	if !errors.Is(err, ErrRestored) || len(r.Certificates) != 0 || !strings.Contains(err.Error(), "web_capsules") || !strings.Contains(err.Error(), d.String()) {
		t.Fatal(err)
	}
	if a.number("SELECT count() FROM web_capsules") != 0 {
		t.Fatal("it was left")
	}
	r = a.run()
	if len(r.Certificates) != 1 || !r.Certificates[0].Removed[0].Again {
		t.Fatalf("%+v", r.Certificates)
	}
	// What comes in late is no restored backup: it goes with the next run, without an alarm.
	a.exec(`INSERT INTO web_capsules (day, mark, next, begun_at) VALUES ({day:Date}, 8, 200, now() + 60)`, clickhouse.Params{"day": d.String()})
	r = a.run()
	if len(r.Certificates) != 1 || r.Certificates[0].Removed[0].Again {
		t.Fatalf("%+v", r.Certificates)
	}
}

// What cannot be asked is not certified, and is removed all the same: the next run certifies.
func TestNothingIsCertifiedUnasked(t *testing.T) {
	ok := []KafkaTopic{{"proxy", 86400_000, 3600_000, "delete"}}
	for name, harm := range map[string]func(*Purger){
		"Kafka does not answer": func(p *Purger) {
			p.Kafka = func(context.Context) ([]KafkaTopic, error) { return nil, errors.New("no broker answers") }
		},
		"no Kafka is configured":  func(p *Purger) { p.Kafka = nil },
		"Kafka has no topic":      func(p *Purger) { p.Kafka = func(context.Context) ([]KafkaTopic, error) { return nil, nil } },
		"Kafka keeps for ever":    func(p *Purger) { p.Kafka = topics(KafkaTopic{"proxy", -1, 1, "delete"}) },
		"Kafka keeps too long":    func(p *Purger) { p.Kafka = topics(ok[0], KafkaTopic{"mail", 14 * 86400_000, 1, "delete"}) },
		"Kafka never deletes":     func(p *Purger) { p.Kafka = topics(KafkaTopic{"proxy", 1, 1, "compact"}) },
		"a segment that is never": func(p *Purger) { p.Kafka = topics(KafkaTopic{"proxy", 1, 1 << 62, "delete"}) },
		"no disk is named":        func(p *Purger) { p.Config.DataPaths = nil },
		"another server's disk":   func(p *Purger) { p.Config.DataPaths = []string{os.TempDir() + "/nobody"} },
		"a disk without tables":   func(p *Purger) { p.Config.DataPaths = []string{filepath.Dir(p.Config.Lock)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			a.fill(Web, a.today()-90, 5, 1)
			good := *a.purge
			harm(a.purge)
			if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrNotVerified) {
				t.Fatal(err)
			}
			if len(a.entries(audit.PurgeCertificate)) != 0 || len(a.entries(audit.PurgeFailed)) != 1 || a.number("SELECT count() FROM web_capsules") != 0 {
				t.Fatal("it was certified, or kept")
			}
			a.purge.AcceptClock = true // ClickHouse does not go along
			a.now = a.now.AddDate(0, 0, 1)
			a.fill(Web, a.today()-90, 5, 1)
			if _, err := a.purge.Run(t.Context()); err == nil || a.number("SELECT count() FROM web_capsules") != 0 {
				t.Fatal("the next day was kept:", err)
			}
			*a.purge = good
			a.purge.AcceptClock = true
			if r := a.run(); len(r.Certificates) != 2 {
				t.Fatal(len(r.Certificates))
			}
		})
	}
}

func topics(list ...KafkaTopic) func(context.Context) ([]KafkaTopic, error) {
	return func(context.Context) ([]KafkaTopic, error) { return list, nil }
}

// Case 47: a clock that jumped stops the purge, and leaves no date in the record.
func TestClockThatJumped(t *testing.T) {
	a := newArchive(t)
	a.fill(Web, a.today()-50, 5, 1)
	entries := func() int {
		all, err := a.purge.Log.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	right, n := a.now, entries()
	for name, jump := range map[string]time.Duration{"forward": 40 * 24 * time.Hour, "a little forward": 2 * time.Hour, "back": -2 * time.Hour} {
		a.now = right.Add(jump)
		if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrClock) || entries() != n {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The database's clock jumped along: the process's own running time tells.
	a.now = right.Add(59 * time.Minute)
	a.purge.Anchor, a.purge.Steady = right.Add(-time.Minute), func() time.Duration { return 0 }
	if _, err := a.purge.Run(t.Context()); err != nil {
		t.Error(err)
	}
	a.now = right.Add(time.Hour)
	if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrClock) {
		t.Error(err)
	}
	a.purge.AcceptClock = true
	if _, err := a.purge.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if a.number("SELECT count() FROM web_capsules WHERE mark = 0") != 5 {
		t.Error("something was purged before its time")
	}
}

// Case 47: by the schedule every event dies before it is 91 days old, also by a clock that is off by an hour, in every zone and
// at every change of the clocks; and a day is never purged before it is due.
func TestNoneLivesLongerThan91Days(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 47))
	for _, zone := range []string{"Europe/Stockholm", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "UTC"} {
		for range 12 {
			cfg := DefaultPurgeConfig()
			cfg.At, cfg.TimeZone = fmt.Sprintf("%02d:%02d", rng.IntN(24), rng.IntN(60)), zone
			daily, err := cfg.daily()
			if err != nil {
				t.Fatal(err)
			}
			skew := time.Duration(rng.Int64N(int64(2*time.Hour))) - time.Hour // of the purge's clock
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var last time.Time
			purged := seal.DayOf(start) - 90 // the newest day that is gone
			runs := 0
			for now := start; now.Before(start.AddDate(1, 1, 0)); now = now.Add(5 * time.Minute) {
				clock := now.Add(skew)
				if purgeDue(clock, last, false, daily) {
					last, runs = clock, runs+1
					purged = max(purged, seal.DayOf(clock)-90)
				}
				// The oldest event that can be left is one of the first moment of the day after, stamped by a clock that was an
				// hour ahead.
				if age := now.Sub((purged + 1).Time()) + time.Hour; age > 91*24*time.Hour {
					t.Fatalf("%s at %s, off by %v: at %s an event is %v old", zone, cfg.At, skew, now, age)
				}
				if purged > seal.DayOf(now.Add(time.Hour))-90 {
					t.Fatal("a day was purged before its time")
				}
			}
			if runs > 398*2 {
				t.Fatalf("%d runs in 13 months", runs)
			}
		}
	}
}

// Case 48: statistics are the same before and after.
func TestStatisticsOutliveThePurge(t *testing.T) {
	a := newArchive(t)
	d := a.today() - 90
	a.fill(Web, d, 20, 2)
	a.fill(Mail, d, 20, 2)
	for _, table := range ClassStatistics.tables() {
		more, values := "", ""
		if strings.HasPrefix(table, "mail") {
			more, values = ", message_tokens, message_bytes", ", [1, 2], [10, 20]"
		}
		a.exec(fmt.Sprintf("INSERT INTO %s (day, mark, tenant, population, unit, people_tokens%s) SELECT '%s', 0, 'norrbo', 'staff', 'unit' || toString(number), [number, number + 1]%s FROM numbers(100)",
			table, more, d, values), nil)
	}
	sum := func() (sums []string) {
		for _, table := range ClassStatistics.tables() {
			var text string
			query := "SELECT toString(count()) || ' ' || toString(uniqExactMerge(people)) || ' ' || toString(sum(sipHash64(unit, hex(people)))) FROM " + table
			if err := a.own.Query(t.Context(), query, nil, func(r clickhouse.Row) error { return r.Scan(&text) }); err != nil {
				t.Fatal(err)
			}
			sums = append(sums, text)
		}
		return sums
	}
	before := sum()
	a.run()
	if after := sum(); !slices.Equal(before, after) || strings.HasPrefix(after[0], "0 ") {
		t.Fatal(before, after)
	}
	// Where a retention is set for them, they go at their time too.
	a.purge.Retention.Statistics = decided(92)
	a.purge.AcceptClock = true // ClickHouse does not go along
	a.now = a.now.AddDate(0, 0, 2)
	a.run()
	if after := sum(); slices.ContainsFunc(after, func(s string) bool { return !strings.HasPrefix(s, "0 ") }) {
		t.Fatal(after)
	}
}

// Several servers are all asked, and must be replicas.
func TestEveryServerIsAsked(t *testing.T) {
	a, b := newArchive(t), newArchive(t)
	d := a.today() - 90
	a.fill(Web, d, 5, 1)
	b.fill(Web, d, 5, 1)
	a.purge.Servers = append(a.purge.Servers, PurgeServer{"second", b.purge.Servers[0].DB})
	if _, err := a.purge.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "purge each server by itself") || a.number("SELECT count() FROM web_keys") != 5 {
		t.Fatal(err)
	}
	list, err := a.purge.Overdue(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(o Overdue) bool { return o.Server == "second" && o.Table == "web_keys" }) {
		t.Fatal(list, err)
	}
	intent := &PurgeIntent{Items: []PurgeItem{{Class: ClassWeb, Day: d.String(), Tables: []PurgeTable{{"web_keys", strings.ReplaceAll(d.String(), "-", ""), 5, 1}}}}}
	if err := a.purge.remove(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	if checks, err := a.purge.verifyServers(t.Context(), intent); err == nil || !strings.Contains(err.Error(), "second still has") || len(checks) != 2 || checks[0].Parts != 0 {
		t.Fatal(checks, err)
	}
}

// The purge user can do what a purge does, and nothing beside it.
func TestPurgeUserHasTheLeastRights(t *testing.T) {
	a := newArchive(t)
	db := a.purge.Servers[0].DB
	for _, sql := range []string{
		"INSERT INTO web_keys (day, tenant) VALUES ('2026-01-01', '')", "INSERT INTO web_capsules (day) VALUES ('2026-01-01')",
		"DROP TABLE web_keys", "TRUNCATE TABLE held_keys", "ALTER TABLE web_capsules FREEZE", "ALTER TABLE holds ADD COLUMN x UInt8", "ALTER TABLE holds UPDATE tenant = '' WHERE 1",
		"ALTER TABLE ledger DROP PARTITION tuple()", "SELECT * FROM statistics_keys", "SELECT * FROM gaps", "CREATE TABLE x (n UInt8) ENGINE = Memory", "SYSTEM SHUTDOWN",
		"ALTER TABLE schema_migrations DROP PARTITION tuple()", "ALTER TABLE web_keys MOVE PARTITION '2026-01-01' TO TABLE mail_keys", "SELECT * FROM url('http://127.0.0.1:1', 'LineAsString')",
	} {
		if err := db.Exec(t.Context(), sql, nil); clickhouse.Code(err) != 497 {
			t.Errorf("the purge user may %s: %v", sql, err)
		}
	}
}
