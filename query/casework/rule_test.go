package casework

import (
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// ruled is a story whose record holds the registers too, and the numbers of the request.
func ruled(o *town, change func(*Decision)) *story {
	s := newStory(o, change)
	s.registers()
	s.request()
	d := s.Decision
	first, last, err := d.Scope.Days()
	if err != nil {
		o.t.Fatal(err)
	}
	s.Record[len(s.Record)-1].Counts = requestCounts(d, int64(last-first)+1)
	return s
}

// registers puts those on record that are not there yet.
func (s *story) registers() {
	n := 0
	for _, r := range s.Record {
		if r.Kind == audit.RegisterChanged {
			n++
		}
	}
	for _, note := range s.notes[n:] {
		s.Record = append(s.Record, audit.Record{Position: audit.Position{Segment: 1, Index: int64(len(s.Record))},
			Entry: audit.Entry{At: s.now, Kind: audit.RegisterChanged, Actor: "tillsyn", Document: digestOfNote(note), Body: string(note)}})
	}
}

func digestOfNote(note []byte) string {
	text, err := seal.Unsigned(note)
	if err != nil {
		panic(err)
	}
	return seal.DigestOf(text).String()
}

func (s *story) look(id, request string) *story {
	s.on(audit.LookupIntent, id, seal.DigestOf([]byte(request)).String())
	s.on(audit.LookupResult, id, seal.DigestOf([]byte(request)).String()+"\n"+seal.DigestOf([]byte("rows")).String())
	return s
}

// The rule is judged on what stands in the record, whatever the gate let through: every violation here is signed by those who may
// sign, and planted as root with the log's key could.
func TestRuleOnTheWholeRecord(t *testing.T) {
	all := []string{"manager-1", "hr-2", "security-1"}
	for name, c := range map[string]struct {
		tell func(*town) *story
		at   int // the entry that is named; -1: all is well
		want string
	}{
		"kept": {func(o *town) *story {
			s := ruled(o, nil).approve(all...).look("utredare", "1").after(20 * time.Hour)
			s.notify("chef").after(10*day).look("utredare", "2").on(audit.DecisionClosed, "chef", "")
			return s
		}, -1, ""},
		"two approvals":      {func(o *town) *story { return ruled(o, nil).approve(all[:2]...).look("utredare", "1") }, 4, "no valid approval of security"},
		"no approval":        {func(o *town) *story { return ruled(o, nil).look("utredare", "1") }, 2, "no valid approval of manager"},
		"no decision at all": {func(o *town) *story { s := newStory(o, nil); s.registers(); return s.look("utredare", "1") }, 1, "nobody has requested it"},
		"one role twice": {func(o *town) *story {
			return ruled(o, nil).approve("manager-1", "hr-1", "hr-2").look("utredare", "1")
		}, 4, "that role has approved already"},
		"the requester approves": {func(o *town) *story {
			return ruled(o, func(d *Decision) { d.Requester = o.person("hr-2") }).approve(all...).look("utredare", "1")
		}, 3, "the requester approves his own request"},
		"the investigator approves": {func(o *town) *story {
			return ruled(o, nil).approve(all...).look("hr-2", "1")
		}, 5, "who looks has approved it"},
		"somebody who is in no register looks": {func(o *town) *story {
			return ruled(o, nil).approve(all...).look("mallory", "1")
		}, 5, "who looks is not in the register"},
		"somebody who is in no register requested it": {func(o *town) *story {
			return ruled(o, func(d *Decision) { d.Requester = o.person("mallory") }).approve(all...).look("utredare", "1")
		}, 5, "who requested it is not in the register"},
		"a requester whom nobody has enrolled": {func(o *town) *story {
			return ruled(o, func(d *Decision) { d.Requester = o.person("mallory") }).approve(all...).look("utredare", "1")
		}, 5, "who requested it is not in the register"},
		"an approver who leaves before the lookup": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			o.leave("hr-2")
			o.hold("hr-3", "", seal.HR)
			o.register("manager-1", "hr-1", "security-1")
			s.registers()
			return s.look("utredare", "1")
		}, 6, "held the role no longer"},
		"signed by the other holder of the role": {func(o *town) *story {
			s := ruled(o, nil).approve("manager-1", "hr-1")
			s.on(audit.DecisionApproved, "security-1", string(s.approval("security-2", nil)))
			return s.look("utredare", "1")
		}, 4, "who signed held no such role"},
		"an approval of another decision": {func(o *town) *story {
			other := ruled(o, func(d *Decision) { d.Case = "KS 2026/9" })
			s := ruled(o, nil).approve("manager-1", "hr-1")
			s.on(audit.DecisionApproved, "security-1", string(other.approval("security-1", nil)))
			return s.look("utredare", "1")
		}, 4, "it is on another decision"},
		"an approval with one byte changed": {func(o *town) *story {
			s := ruled(o, nil).approve("manager-1", "hr-1")
			s.on(audit.DecisionApproved, "security-1", strings.Replace(string(s.approval("security-1", nil)), `T12:00:00Z"`, `T12:00:01Z"`, 1))
			return s.look("utredare", "1")
		}, 4, "the signature is not its holder's"},
		"a register that nobody has put on record": {func(o *town) *story {
			s := ruled(o, nil)
			o.leave("utredare")
			o.register("manager-1", "hr-1", "security-1")
			return s.approve(all...)
		}, 2, "the register that it names is not in the record before it"},
		"a register that only one role has signed": {func(o *town) *story {
			s := ruled(o, nil)
			forged := get(seal.Sign([]byte(get(o.text.Encode())), o.signer("hr-1")))
			s.Record = append(s.Record, audit.Record{Position: audit.Position{Segment: 1, Index: 2}, Entry: audit.Entry{At: s.now, Kind: audit.RegisterChanged, Actor: "x", Body: string(forged)}})
			return s
		}, 2, "does not follow the one before"},
		"one who has left": {func(o *town) *story {
			s := ruled(o, nil)
			old := s.approval("security-1", nil)
			o.leave("security-1")
			o.hold("security-3", "", seal.Security)
			o.register("manager-1", "hr-1", "security-1")
			s.registers()
			s.on(audit.DecisionApproved, "security-1", string(old))
			return s
		}, 3, "held the role no longer"},
		"too late to approve": {func(o *town) *story {
			return ruled(o, nil).approve("manager-1", "hr-1").after(7*day + time.Second).approve("security-1")
		}, 4, "it came after approve_by"},
		"before not_before": {func(o *town) *story {
			return ruled(o, func(d *Decision) { d.NotBefore = d.Requested.Add(day) }).approve(all...).look("utredare", "1")
		}, 5, "not_before had not come"},
		"after execute_by": {func(o *town) *story {
			s := ruled(o, nil).approve(all...).notify("hr-1")
			return s.after(14*day).look("utredare", "1")
		}, 6, "execute_by had passed"},
		"after execute_by with the clock set back": {func(o *town) *story {
			s := ruled(o, nil).approve(all...).notify("hr-1")
			s.after(14*day).on(audit.AccessRefused, "gate", "")
			return s.after(-10*day).look("utredare", "1")
		}, 7, "execute_by had passed"},
		"the union was not told": {func(o *town) *story {
			return ruled(o, nil).approve(all...).after(25*time.Hour).look("utredare", "1")
		}, 5, "the union had not been told"},
		"a notice that nobody signed": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "hr-1", seal.DigestOf([]byte("told")).String())
			return s
		}, 5, "the notice does not count: it can't be read"},
		"a notice of an investigator": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "utredare", string(s.notice("utredare", nil)))
			return s
		}, 5, "the signature is not that of the requester, or of a holder"},
		"a notice of a stranger who calls himself hr-1": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			a := NewAct(ActNotice, s.Decision, s.Digest, "hr-1", s.now)
			a.Told, a.ToldAt = "Vision", a.At
			s.on(audit.DecisionNotified, "hr-1", string(get(SignAct(a, get(seal.NewSigner("hr-1"))))))
			return s
		}, 5, "the signature is not that of the requester, or of a holder"},
		"a notice of one who left before the request": {func(o *town) *story {
			o.leave("hr-1")
			o.hold("hr-3", "", seal.HR)
			o.register("manager-1", "hr-2", "security-1")
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "hr-1", string(s.notice("hr-1", nil)))
			return s
		}, 6, "the signature is not that of the requester, or of a holder"},
		"a notice of another decision": {func(o *town) *story {
			other := newStory(o, func(d *Decision) { d.Case = "KS 2026/9" })
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "hr-1", string(other.notice("hr-1", nil)))
			return s
		}, 5, "it is on another decision"},
		"a notice under another's name": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "hr-2", string(s.notice("hr-1", nil)))
			return s
		}, 5, "who signed is not who the entry names"},
		"a notice of before the request": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			s.on(audit.DecisionNotified, "hr-1", string(s.notice("hr-1", func(a *Act) { a.ToldAt = a.At.Add(-time.Hour) })))
			return s
		}, 5, "told before the request"},
		"after a revocation": {func(o *town) *story {
			s := ruled(o, nil).approve(all...).look("utredare", "1")
			s.on(audit.DecisionRevoked, "hr-1", "")
			return s.look("utredare", "2")
		}, 8, "the decision was revoked"},
		"once too often": {func(o *town) *story {
			return ruled(o, nil).approve(all...).look("utredare", "1").look("utredare", "2").look("utredare", "3")
		}, 9, "it is lookup 3 of 2"},
		"a replay": {func(o *town) *story {
			return ruled(o, nil).approve(all...).look("utredare", "1").look("utredare", "1")
		}, 7, "the same request was used before"},
		"a result without an intent": {func(o *town) *story {
			s := ruled(o, nil).approve(all...)
			s.on(audit.LookupResult, "utredare", seal.DigestOf([]byte("2")).String())
			return s
		}, 5, "the result of a lookup without an intent"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.tell(newTown(t))
			report := CheckRule(s.Record)
			if c.at < 0 {
				if len(report.Findings) > 0 || len(report.Cases) != 1 || report.Cases[0].Lookups != 2 || len(report.Cases[0].Approvers) != 3 || !report.Cases[0].Told || report.Cases[0].Ended != "closed" {
					t.Errorf("%+v", report)
				}
				return
			}
			if len(report.Findings) == 0 {
				t.Fatal("nothing was found")
			}
			if f := report.Findings[0]; f.Index != int64(c.at) || !strings.Contains(f.Text, c.want) {
				t.Errorf("%v, want %d: %s", f, c.at, c.want)
			}
		})
	}
}
