package casework

import (
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const day = 24 * time.Hour

func TestLifeOfADecision(t *testing.T) {
	o := newTown(t)
	s := newStory(o, nil)
	s.want(Draft)
	s.request().want(Pending)
	s.after(time.Hour).approve("hr-1").want(Pending) // in any order
	s.after(time.Hour).approve("security-2").want(Pending)
	s.after(time.Hour).approve("manager-1").want(Active)
	if got := s.status(); !got.Active.Equal(s.now) || len(got.Missing) > 0 || got.Left != 2 {
		t.Errorf("status is %+v", got)
	}
	s.after(24 * time.Hour).want(Active)
	s.after(time.Second).want(Suspended)
	s.notify("hr-1").want(Active)
	s.now = s.Decision.ExecuteBy.Add(-time.Second)
	s.want(Active)
	s.after(time.Second).want(Expired)
	s.on(audit.DecisionClosed, "chef", "")
	s.want(Closed)
}

func TestNotBeforeNotBegun(t *testing.T) {
	s := newStory(newTown(t), func(d *Decision) { d.NotBefore = d.Requested.Add(2 * time.Hour) })
	s.request().approve("manager-1", "hr-1", "security-1").want(Pending)
	s.after(2*time.Hour - time.Second).want(Pending)
	s.after(time.Second).want(Active)
	s.after(24 * time.Hour).want(Active) // the union's 24 hours count from not_before
	s.after(time.Second).want(Suspended)
}

func TestApprovedTooLate(t *testing.T) {
	s := newStory(newTown(t), nil)
	s.request().approve("manager-1", "hr-1")
	s.now = s.Decision.ApproveBy
	s.want(Pending)
	s.after(time.Second).want(Expired)
	s.approve("security-1").want(Expired)
}

func TestTwoSignaturesAreNotThree(t *testing.T) {
	o := newTown(t)
	s := newStory(o, nil)
	s.request().approve("manager-1", "manager-2", "hr-1", "hr-2").want(Pending)
	if got := s.status(); len(got.Approvals) != 2 || len(got.Missing) != 1 || got.Missing[0] != seal.Security {
		t.Errorf("status is %+v", got)
	}
}

func TestClockBackAndForth(t *testing.T) {
	o := newTown(t)
	t.Run("an expired decision stays expired", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").want(Active)
		s.now = s.Decision.ExecuteBy
		s.on(audit.AccessRefused, "utredare", "") // anything at all
		s.want(Expired)
		s.after(-10 * day).want(Expired)
	})
	t.Run("an approval of yesterday that comes today", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1")
		s.now = s.Decision.ApproveBy.Add(time.Second)
		s.on(audit.AccessRefused, "utredare", "")
		s.after(-2 * day).approve("security-1")
		s.want(Expired)
	})
	t.Run("a revoked decision stays revoked", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").after(time.Hour)
		s.on(audit.DecisionRevoked, "hr-1", "")
		s.want(Revoked)
		s.after(-30 * 24 * time.Hour).want(Revoked)
	})
	t.Run("the clock back hides no missing notice", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").after(25 * time.Hour)
		s.on(audit.AccessRefused, "utredare", "")
		s.after(-24 * time.Hour).want(Suspended)
	})
	t.Run("not yet valid", func(t *testing.T) {
		s := newStory(o, func(d *Decision) { d.NotBefore = d.Requested.Add(day) })
		s.request().approve("manager-1", "hr-1", "security-1").want(Pending)
	})
	t.Run("back-dated by an hour", func(t *testing.T) {
		s := newStory(o, nil)
		s.after(time.Hour).request().approve("manager-1", "hr-1", "security-1").want(Draft)
	})
}

func TestOnlyWhatIsInStoreAndRecordApproves(t *testing.T) {
	o := newTown(t)
	t.Run("an approval out of the store", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1").on(audit.DecisionApproved, "security-1", string(s.approval("security-1", nil)))
		s.want(Pending)
	})
	t.Run("an approval that is not in the record", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1").file(s.approval("security-1", nil)).want(Pending)
	})
	t.Run("an approval before the request", func(t *testing.T) {
		s := newStory(o, nil)
		s.approve("manager-1", "hr-1", "security-1").want(Draft)
		s.request()
		s.now = s.now.Add(time.Minute)
		s.want(Active) // the same minute: the order of the record is not the order of people
	})
	t.Run("a revocation that is not in the record ends it all the same", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").want(Active)
		a := NewAct(ActRevocation, s.Decision, s.Digest, "hr-1", s.now)
		a.Reason = "nytt besked"
		s.file(get(SignAct(a, o.signer("hr-1")))).want(Revoked)
	})
	t.Run("a revocation that was removed from the store ends it all the same", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").on(audit.DecisionRevoked, "hr-1", "")
		s.want(Revoked)
	})
	t.Run("entries of another decision count for nothing", func(t *testing.T) {
		s, other := newStory(o, nil), newStory(o, nil)
		other.request().approve("manager-1", "hr-1", "security-1")
		s.Record, s.Acts = other.Record, other.Acts
		s.want(Draft)
		s.request().want(Pending)
	})
}

// Case 33, and the replay of an approval.
func TestReplayOfAnApproval(t *testing.T) {
	o := newTown(t)
	first := newStory(o, nil)
	first.request().approve("manager-1", "hr-1", "security-1").want(Active)
	t.Run("on another decision", func(t *testing.T) {
		s := newStory(o, func(d *Decision) { d.Case = "KS 2026/0124" })
		s.request()
		for _, act := range first.Acts {
			s.file(act).on(audit.DecisionApproved, get(ReadAct(act)).Actor, string(act))
		}
		s.want(Pending)
	})
	t.Run("on the decision, edited", func(t *testing.T) {
		edited := *first.Decision
		edited.Scope.From = "2026-11-16"
		_, digest, err := edited.Text()
		if err != nil {
			t.Fatal(err)
		}
		s := &story{town: o, now: first.now, Evidence: Evidence{Decision: &edited, Digest: digest, Acts: first.Acts}}
		s.request()
		for _, act := range first.Acts {
			s.on(audit.DecisionApproved, get(ReadAct(act)).Actor, string(act))
		}
		s.want(Pending)
	})
	t.Run("three times the same", func(t *testing.T) {
		s := newStory(o, nil)
		s.request().approve("manager-1")
		for range 2 {
			s.on(audit.DecisionApproved, "manager-1", string(s.Acts[0]))
		}
		s.want(Pending)
	})
}

// Case 25.
func TestWhoMayNotApprove(t *testing.T) {
	two := []string{"hr-1", "security-1"}
	refused := func(t *testing.T, s *story, id string, change func(*Act)) {
		t.Helper()
		signed := s.approval(id, change)
		s.file(signed).on(audit.DecisionApproved, get(ReadAct(signed)).Actor, string(signed))
		s.want(Pending)
	}
	t.Run("the requester", func(t *testing.T) {
		o := newTown(t)
		s := newStory(o, func(d *Decision) { d.Requester = o.person("manager-1") })
		refused(t, s.request().approve(two...), "manager-1", nil)
		s.approve("manager-2").want(Active)
	})
	t.Run("an investigator", func(t *testing.T) {
		o := newTown(t)
		s := newStory(o, func(d *Decision) { d.Investigators = append(d.Investigators, o.person("manager-1")) })
		refused(t, s.request().approve(two...), "manager-1", nil)
	})
	t.Run("the subject, by name", func(t *testing.T) {
		s := newStory(newTown(t), func(d *Decision) { d.Scope.Subject = "manager-1" })
		refused(t, s.request().approve(two...), "manager-1", nil)
	})
	t.Run("the subject, by name with a realm", func(t *testing.T) {
		s := newStory(newTown(t), func(d *Decision) { d.Scope.Subject = `norrbo\manager-1@norrbo.se` })
		refused(t, s.request().approve(two...), "manager-1", nil)
	})
	t.Run("the subject, by an alias", func(t *testing.T) {
		s := newStory(newTown(t), func(d *Decision) { d.Scope.Aliases = []string{"abe", "manager-1"} })
		refused(t, s.request().approve(two...), "manager-1", nil)
	})
	t.Run("a holder of another role", func(t *testing.T) {
		s := newStory(newTown(t), nil)
		refused(t, s.request().approve(two...), "hr-2", func(a *Act) { a.Role = seal.Manager })
	})
	t.Run("one who is no holder", func(t *testing.T) {
		s := newStory(newTown(t), nil)
		refused(t, s.request().approve(two...), "manager-1", func(a *Act) { a.Actor = "vem-som-helst" })
	})
	t.Run("one who signs in another's name", func(t *testing.T) {
		o := newTown(t)
		s := newStory(o, nil)
		stolen := get(seal.NewSigner("manager-1"))
		s.request().approve(two...)
		text := get(seal.Canonical(get(ReadAct(s.approval("manager-1", nil)))))
		signed := get(seal.Sign(text, stolen))
		s.file(signed).on(audit.DecisionApproved, "manager-1", string(signed))
		s.want(Pending)
	})
	t.Run("one who left the register, from that moment", func(t *testing.T) {
		o := newTown(t)
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").want(Active)
		o.leave("manager-1")
		o.hold("manager-3", "", seal.Manager)
		o.register("manager-2", "hr-2", "security-2")
		s.want(Pending)
		s.approve("manager-2").want(Active)
	})
	t.Run("one who signs by an old register", func(t *testing.T) {
		o := newTown(t)
		old := o.current()
		o.leave("manager-1")
		o.hold("manager-3", "", seal.Manager)
		o.register("manager-2", "hr-2", "security-2")
		s := newStory(o, nil)
		refused(t, s.request().approve(two...), "manager-2", func(a *Act) { a.Register = &old })
	})
	t.Run("a holder whose key was replaced", func(t *testing.T) {
		o := newTown(t)
		s := newStory(o, nil)
		s.request().approve("manager-1", "hr-1", "security-1").want(Active)
		delete(o.signers, "manager-1")
		o.leave("manager-1")
		o.hold("manager-1", "", seal.Manager)
		o.register("manager-2", "hr-2", "security-2")
		s.want(Pending)
	})
	t.Run("one of another population", func(t *testing.T) {
		o := newTown(t)
		for _, r := range seal.Approvers() {
			o.seat("elected", r)
			o.hold("elected-"+string(r)+"-1", "elected", r)
			o.hold("elected-"+string(r)+"-2", "elected", r)
		}
		o.register("manager-1", "hr-1", "security-1", "elected-manager-1", "elected-hr-1", "elected-security-1")
		s := newStory(o, func(d *Decision) { d.Population = "elected" })
		s.request().approve("manager-1", "hr-1", "security-1").want(Pending)
		s.approve("elected-manager-1", "elected-hr-2", "elected-security-1").want(Active)
		staff := newStory(o, nil)
		staff.request().approve("elected-manager-1", "elected-hr-2", "elected-security-1").want(Pending)
	})
	t.Run("a register that is not in the chain", func(t *testing.T) {
		o := newTown(t)
		forged := newTown(t) // with holders, seats and a chain of its own
		s := newStory(forged, nil)
		s.request().approve("manager-1", "hr-1", "security-1").want(Active)
		s.chain = o.chain
		s.want(Draft)
	})
}

func TestUnionIsForSomeKindsOnly(t *testing.T) {
	s := newStory(newTown(t), func(d *Decision) {
		ownRows(d)
	})
	s.request().approve("manager-1", "hr-1", "security-1").after(3 * day).want(Active)
}

func TestIntentsAreCounted(t *testing.T) {
	s := newStory(newTown(t), nil)
	s.request().approve("manager-1", "hr-1", "security-1")
	s.on(audit.LookupIntent, "utredare", "sha256:a")
	s.on(audit.LookupIntent, "utredare", "sha256:b")
	if got := s.status(); got.Lookups != 2 || got.Left != 0 || got.State != Active {
		t.Errorf("status is %+v", got)
	}
}
