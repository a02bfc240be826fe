package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A ceremony over distance takes weeks: the old key is in use until the new register is published, whenever it was drafted, and as
// long as there is a row that was sealed to it, whoever wrote it.
func TestRetireWaitsForTheLastRow(t *testing.T) {
	ctx := t.Context()
	o := newKeyTown(t, t.TempDir())
	o.founded()
	drafted := o.at
	o.must(o.runRotate(ctx, []string{"hr"}, "", false, nil))
	o.at = drafted.AddDate(0, 0, 20)
	o.signed([]string{"manager.a", "hr.a", "security.a"}, "hr.b")
	o.must(o.publish(ctx, o.here("hr.a")))
	published := o.at

	asked := 0
	left := keysLeft{}
	retire := retireOptions{role: seal.HR, number: 1, left: func(context.Context, string, seal.SeatKey) (keysLeft, error) { asked++; return left, nil }}
	refused := func(want string) {
		t.Helper()
		if err := o.retire(ctx, retire, o.here("hr.b")[0]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", o.at.Format(time.DateTime), err, want)
		}
	}
	o.at = published.Add(47 * time.Hour)
	refused("cannot be retired before")
	if asked > 0 {
		t.Error("rows were counted before those that were being written are in")
	}
	// Data of a day before publishing live as long as any.
	o.at = published.AddDate(0, 0, 73)
	left = keysLeft{12, seal.DayOf(published) - 1}
	refused("12 data keys, the latest of " + (seal.DayOf(published) - 1).String())
	// An ingester that kept the old register has written yesterday.
	o.at = published.AddDate(0, 0, 200)
	left = keysLeft{1, seal.DayOf(o.at) - 1}
	refused("1 data keys")
	left = keysLeft{}
	o.must(o.retire(ctx, retire, o.here("hr.b")[0]))
}

// When the segments with the first registers are retired, what was never published is refused as before, and the rest goes on.
func TestCeremonyAfterRetirement(t *testing.T) {
	ctx := t.Context()
	o := newKeyTown(t, t.TempDir())
	o.founded()
	rotate := func() {
		log, err := audit.Open(ctx, o.record, o.now)
		o.must(err)
		defer log.Close()
		_, err = log.Rotate(ctx, "operator")
		o.must(err)
		o.at = o.at.AddDate(6, 0, 0)
		o.must(log.Retire(ctx, "operator", 1, "KS 2032/1"))
	}
	rotate()
	if s := o.status(ctx); len(s.Faults) > 0 || len(s.Warnings) > 3 {
		t.Errorf("%q %q", s.Faults, s.Warnings)
	}
	o.must(o.runRotate(ctx, []string{"hr"}, "", false, nil))
	o.signed([]string{"manager.a", "hr.a", "security.a"}, "hr.b")
	// Somebody puts the register in place without publishing it.
	note, err := os.ReadFile(o.pending("register-0002.note"))
	o.must(err)
	slipped := filepath.Join(o.folder(), "register-0002.note")
	o.must(os.WriteFile(slipped, note, 0o600))
	if s := o.status(ctx); !strings.Contains(strings.Join(s.Faults, "; "), "not on record") {
		t.Errorf("a register that was slipped in: %q", s.Faults)
	}
	o.must(os.Remove(slipped))
	o.must(o.publish(ctx, o.here("hr.a")))
	if s := o.status(ctx); len(s.Faults) > 0 {
		t.Errorf("%q", s.Faults)
	}
}
