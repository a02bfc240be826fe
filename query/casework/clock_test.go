package casework

import (
	"errors"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// accepted puts an acceptance of the story's clock on record, as its signer would.
func (s *story) accepted(id string, change func(*ClockAcceptance)) *story {
	s.t.Helper()
	a := ClockAcceptance{Deployment: deployment, Tenant: tenant, Holder: id, Register: s.current(), Last: noon(), Now: s.now, Reason: "klockan stod fel"}
	if change != nil {
		change(&a)
	}
	signed, digest, err := SignClock(a, s.signer(id))
	if err != nil {
		s.t.Fatal(err)
	}
	s.Record = append(s.Record, audit.Record{Position: audit.Position{Segment: 1, Index: int64(len(s.Record))},
		Entry: audit.Entry{At: s.now, Kind: audit.ClockAccepted, Actor: a.Holder, Document: digest.String(), Body: string(signed)}})
	return s
}

// A wrong entry, ten years ahead, ends every decision, until a holder of the role security corrects the clock; nobody else can, and
// the same words do it once.
func TestAcceptedClockCorrects(t *testing.T) {
	o := newTown(t)
	wrong := func() *story {
		s := ruled(o, nil).approve("manager-1", "hr-1", "security-1")
		s.want(Active)
		s.after(10*365*day).on(audit.AccessRefused, "gate", "")
		return s.after(-10*365*day + time.Hour)
	}
	s := wrong()
	s.want(Expired)
	if got := Clock(s.Record, s.now); got.Year() != 2036 {
		t.Errorf("the clock is %v", got)
	}
	s.accepted("security-2", nil).want(Active)
	if got := Clock(s.Record, s.now); !got.Equal(s.now) {
		t.Errorf("the clock is %v", got)
	}
	again := s.Record[len(s.Record)-1]
	s.now = s.Decision.ExecuteBy
	s.on(audit.AccessRefused, "gate", "")
	s.want(Expired)
	again.Index = int64(len(s.Record))
	s.Record, s.now = append(s.Record, again), again.At
	s.want(Expired) // the same words a second time

	for name, add := range map[string]func(*story){
		"a manager":           func(s *story) { s.accepted("manager-1", nil) },
		"one without a role":  func(s *story) { s.accepted("chef", nil) },
		"nobody":              func(s *story) { s.on(audit.ClockAccepted, "security-1", "") },
		"another time":        func(s *story) { s.accepted("security-1", func(a *ClockAcceptance) { a.Now = a.Now.Add(-time.Hour) }) },
		"an old register":     func(s *story) { s.accepted("security-1", func(a *ClockAcceptance) { a.Register.Number = 2 }) },
		"another tenant":      func(s *story) { s.accepted("security-1", func(a *ClockAcceptance) { a.Tenant = "malung" }) },
		"another's deeds":     func(s *story) { s.accepted("security-1", nil); s.Record[len(s.Record)-1].Actor = "security-2" },
		"an altered document": func(s *story) { s.accepted("security-1", nil); s.Record[len(s.Record)-1].Document = s.Digest.String() },
		"a signature of one who has none": func(s *story) {
			s.accepted("security-1", nil)
			e := &s.Record[len(s.Record)-1]
			forged, err := seal.NewSigner("security-1")
			if err != nil {
				t.Fatal(err)
			}
			e.Body = string(get(seal.Sign(get(seal.Unsigned([]byte(e.Body))), forged)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := wrong()
			add(s)
			s.want(Expired)
		})
	}
	t.Run("before the first register", func(t *testing.T) {
		s := newStory(o, nil)
		s.after(10*365*day).on(audit.AccessRefused, "gate", "")
		s.after(-10*365*day).on(audit.ClockAccepted, "operator", "")
		for range 2 {
			s.Record[len(s.Record)-1].Document = "" // as a command without a key writes it
			if got := Clock(s.Record, s.now); !got.Equal(s.now) {
				t.Errorf("the clock is %v", got)
			}
			s.after(10*365*day).on(audit.AccessRefused, "gate", "")
			s.after(-10*365*day).on(audit.ClockAccepted, "operator", "")
		}
	})
}

// The machine's clock is ten years ahead for a moment, and something is written: by a log that allows it, the worst. Everything is
// expired; after the correction the case goes on, also in a log that is read anew.
func TestTenYearsAheadAndBack(t *testing.T) {
	k := openDesk(t, nil).approved()
	state := func() State {
		t.Helper()
		_, s, err := k.gate.status(t.Context(), k.Decision.Case)
		if err != nil {
			t.Fatal(err)
		}
		return s.State
	}
	if s := state(); s != Active {
		t.Fatal(s)
	}
	right := k.now
	k.now = right.AddDate(10, 0, 0)
	k.append(audit.Entry{Kind: audit.AccessRefused, Actor: "gate"})
	k.now = right.Add(time.Hour)
	if s := state(); s != Expired {
		t.Fatal(s)
	}
	if _, err := k.log.AcceptClock(t.Context(), "security-1", func(at, last time.Time) (string, string, error) {
		signed, digest, err := SignClock(ClockAcceptance{Deployment: deployment, Tenant: tenant, Holder: "security-1", Register: k.current(), Last: last, Now: at,
			Reason: "klockan gick tio år före"}, k.signer("security-1"))
		return digest.String(), string(signed), err
	}); err != nil {
		t.Fatal(err)
	}
	if s := state(); s != Active {
		t.Fatal(s)
	}
	record := get(k.log.Entries(t.Context()))
	if got := Clock(record, k.now); !got.Equal(k.now) || !audit.Newest(record).Equal(k.now) {
		t.Errorf("the clock is %v", got)
	}
	if _, _, err := SignClock(ClockAcceptance{Holder: "security-1"}, k.signer("security-1")); err == nil || errors.Is(err, ErrNotEntitled) {
		t.Error("a clock without a reason:", err)
	}
}
