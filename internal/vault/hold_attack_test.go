package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/engine/enginetest"
)

// A hold that comes when a purge was killed between the keys and the capsules of a day promises nothing of that day: it is refused
// if there is nothing else, and says how many days it does not keep. One that comes when the purge had only said what it will do
// keeps everything.
func TestHoldAfterAPurgeThatWasKilled(t *testing.T) {
	a := newArchive(t)
	d := a.today() - 90
	a.fill(Web, d, 30, 4)
	a.fill(Mail, d+31, 5, 1)
	want := a.sourceSum(Web, d, 9)
	row := HoldRow{Web, d, "", a.tag(Web, d, 9)}
	killedAt := func(step string) {
		t.Helper()
		a.purge.step = func(s string) error {
			if s == step {
				return errKilled
			}
			return nil
		}
		if _, err := a.purge.Run(t.Context()); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		a.purge.step = nil
	}
	killedAt("copy") // the intent is on record, nothing is gone
	h, n := a.place("HR 1/26", row)
	if n != (HoldCopies{1, 4}) || h.Gone != 0 {
		t.Fatalf("%+v %+v", h, n)
	}
	killedAt("drop web_capsules") // the keys are gone
	if keys, capsules := a.number("SELECT count() FROM web_keys WHERE tenant != ''"), a.number("SELECT count() FROM web_capsules WHERE mark = 0"); keys != 0 || capsules != 120 {
		t.Fatal(keys, capsules)
	}
	placed := len(a.entries(audit.HoldPlaced))
	if h, n, err := a.holds().Place(t.Context(), a.order("HR 2/26", row)); !errors.Is(err, ErrGone) || len(a.entries(audit.HoldPlaced)) != placed || a.number("SELECT uniqExact(hold) FROM holds") != 1 {
		t.Fatalf("a hold of keys that are gone: %+v %+v %v", h, n, err)
	}
	h, n = a.place("HR 3/26", row, HoldRow{Mail, d + 31, "", a.tag(Mail, d+31, 2)})
	if n != (HoldCopies{1, 1}) || h.Gone != 1 || h.Keeps(Web, d) || !h.Keeps(Mail, d+31) {
		t.Fatalf("a hold of more than is gone: %+v %+v", h, n)
	}
	if err := h.release(t, a); err != nil {
		t.Fatal(err)
	}
	a.run()
	if a.heldSum() != want || a.number("SELECT count() FROM web_capsules WHERE mark = 0") != 0 {
		t.Fatal("the first hold does not have what it said")
	}
	// After the certificate it is no other.
	if _, _, err := a.holds().Place(t.Context(), a.order("HR 4/26", row)); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	purged, err := PurgedUnheld(a.all(), HoldByDecision, h.Document)
	if err != nil || !purged.Has(Web, d) || purged.Has(Mail, d+31) {
		t.Fatal(purged, err)
	}
}

func (h Hold) release(t *testing.T, a *archive) error {
	a.ended(h.Basis, h.Case, h.Document)
	_, err := a.holds().releaseOne(t.Context(), h.ID, "gate", func(context.Context) error { return nil })
	return err
}

func (a *archive) all() []audit.Record {
	a.t.Helper()
	list, err := a.purge.Log.Entries(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return list
}

// A hold or its release that stops between any two steps is on record or is not. What is on record is kept whole by the next purge;
// what is not can be placed again.
func TestHoldStoppedBetweenSteps(t *testing.T) {
	for _, step := range []string{"record", "copy", "release"} {
		a := newArchive(t)
		d := a.today() - 90
		a.fill(Web, d, 20, 3)
		want := a.sourceSum(Web, d, 9)
		o := a.order("HR 1/26", HoldRow{Web, d, "", a.tag(Web, d, 9)})
		r := a.holds()
		r.step = func(s string) error {
			if s == step {
				return errKilled
			}
			return nil
		}
		h, _, err := r.Place(t.Context(), o)
		if step != "release" && !errors.Is(err, errKilled) {
			t.Fatal(step, err)
		}
		switch step {
		case "record":
			if len(a.entries(audit.HoldPlaced)) != 0 {
				t.Fatal("it is on record")
			}
			if _, _, err := a.holds().Place(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		case "release":
			a.ended(o.Basis, o.Case, o.Document)
			if _, err := r.Release(t.Context(), o.Basis, o.Document, "gate", o.Authorise); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
		a.run()
		if a.heldSum() != want {
			t.Fatalf("stopped before %q: what is on record is not held", step)
		}
		if step != "release" {
			if list, err := a.holds().Release(t.Context(), o.Basis, o.Document, "gate", o.Authorise); err == nil || len(list) != 0 || len(a.entries(audit.HoldReleased)) != 0 {
				t.Fatalf("stopped before %q: released although nothing has ended: %v %v", step, list, err)
			}
			a.ended(o.Basis, o.Case, o.Document)
		}
		if list, err := a.holds().Release(t.Context(), o.Basis, o.Document, "gate", o.Authorise); err != nil || len(list) != 1 || h.ID != "" && list[0].ID != h.ID {
			t.Fatal(step, list, err)
		}
		if step == "record" { // for a day nobody knows whether its entry is about to be written
			a.purge.AcceptClock, a.now = true, a.now.Add(orphanAge+time.Hour)
		}
		a.run()
		if n := a.number("SELECT count() FROM held_keys") + a.number("SELECT count() FROM held_capsules"); n != 0 {
			t.Fatalf("stopped before %q: %d rows outlive their hold", step, n)
		}
		engineOf(a).Kill()
	}
}

// The server is killed before every change of a file that placing a hold makes. Afterwards the hold is on record, and the next purge
// keeps it whole, or it is not, and is placed again.
func TestKillBeforeEveryFileChangeOfAHold(t *testing.T) {
	base := newArchive(t)
	d := base.today() - 90
	base.fill(Web, d, 12, 2)
	want := base.sourceSum(Web, d, 4)
	o := base.order("HR 1/26", HoldRow{Web, d, "", base.tag(Web, d, 4)})
	engineOf(base).Kill()

	try := func(t *testing.T, shim *enginetest.KillShim, at int) int {
		a := base.copied(t)
		a.engine.Env = shim.Env(a.engine.DataDir, at)
		e := a.start()
		shim.Arm(t)
		_, _, err := a.holds().Place(t.Context(), o)
		shim.Disarm(t)
		calls := shim.Calls(t)
		if at == 0 && err != nil {
			t.Fatal(err)
		}
		e.Kill()
		a.engine.Env = nil
		a.start()
		onRecord := len(a.entries(audit.HoldPlaced))
		if err == nil && onRecord != 1 {
			t.Fatalf("killed before change %d: said to be placed, and not on record", at)
		}
		if onRecord == 0 {
			if _, _, err := a.holds().Place(t.Context(), o); err != nil {
				t.Fatalf("killed before change %d, placed again: %v", at, err)
			}
		}
		if _, err := a.purge.Run(t.Context()); err != nil {
			t.Fatalf("killed before change %d: %v", at, err)
		}
		if a.heldSum() != want {
			t.Fatalf("killed before change %d: what is on record is not held", at)
		}
		a.ended(o.Basis, o.Case, o.Document)
		if list, err := a.holds().Release(t.Context(), o.Basis, o.Document, "gate", o.Authorise); err != nil || len(list) != 1 {
			t.Fatalf("killed before change %d: %v %v", at, list, err)
		}
		return calls
	}
	points := try(t, enginetest.NewKillShim(t), 0)
	if points < 10 {
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
	for at := 1 + rand.IntN(step); at <= points+2; at += step {
		next <- at
		tried++
	}
	close(next)
	workers.Wait()
	t.Logf("%d of %d kill points", tried, points+2)
}

// releaseOne ends one hold.
func (r HoldRegister) releaseOne(ctx context.Context, id, actor string, authorise func(context.Context) error) (Hold, error) {
	list, err := r.release(ctx, actor, authorise, func(h Hold) bool { return h.ID == id })
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no hold %s is in force", id)
	}
	if err != nil {
		return Hold{}, err
	}
	return list[0], nil
}
