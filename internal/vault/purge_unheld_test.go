package vault

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// What may need rows and has no hold on record is found by the record alone.
func TestWhatIsAskedForAndNotHeld(t *testing.T) {
	a, b := seal.DigestOf([]byte("a")).String(), seal.DigestOf([]byte("b")).String()
	entry := func(kind audit.Kind, document, actor string) audit.Record {
		return audit.Record{Entry: audit.Entry{Kind: kind, Case: "KS " + document[len(document)-4:], Document: document, Actor: actor}}
	}
	hold := func(kind audit.Kind, basis HoldBasis, document string) audit.Record {
		r := entry(kind, seal.DigestOf([]byte("hold of "+document)).String(), "gate")
		if kind == audit.HoldPlaced {
			body, err := seal.Canonical(holdBody{holdType, HoldID(seal.DigestOf([]byte("hold of " + document))), basis, document})
			if err != nil {
				t.Fatal(err)
			}
			r.Body = string(body)
		}
		return r
	}
	approved := func(document string, by ...string) []audit.Record {
		list := []audit.Record{entry(audit.DecisionRequested, document, "chef")}
		for _, who := range by {
			list = append(list, entry(audit.DecisionApproved, document, who))
		}
		return list
	}
	three := approved(a, "x", "y", "z")
	requested := []audit.Record{entry(audit.RecordsRequested, b, "registrator")}
	for name, c := range map[string]struct {
		records []audit.Record
		want    []string
	}{
		"nobody ever decided anything": {nil, nil},
		"nobody has approved":          {approved(a), nil},
		"two have approved":            {approved(a, "x", "y"), nil},
		"one has approved three times": {approved(a, "x", "x", "x"), nil},
		"three have approved":          {three, []string{a}},
		"on record twice":              {slices.Concat(three, three), []string{a}},
		"denied":                       {append(slices.Clone(three), entry(audit.DecisionDenied, a, "x")), nil},
		"revoked":                      {append(slices.Clone(three), entry(audit.DecisionRevoked, a, "x")), nil},
		"closed":                       {append(slices.Clone(three), entry(audit.DecisionClosed, a, "x")), nil},
		"another is closed":            {append(slices.Clone(three), entry(audit.DecisionClosed, b, "x")), []string{a}},
		"held":                         {append(slices.Clone(three), hold(audit.HoldPlaced, HoldByDecision, a)), nil},
		"held and released":            {append(slices.Clone(three), hold(audit.HoldPlaced, HoldByDecision, a), hold(audit.HoldReleased, HoldByDecision, a)), nil}, // it is held still
		"held for another":             {append(slices.Clone(three), hold(audit.HoldPlaced, HoldByDecision, b)), []string{a}},
		"held on another basis":        {append(slices.Clone(three), hold(audit.HoldPlaced, HoldByRecords, a)), []string{a}},
		"records requested":            {requested, []string{b}},
		"records requested and held":   {append(slices.Clone(requested), hold(audit.HoldPlaced, HoldByRecords, b)), nil},
		"records decided":              {append(slices.Clone(requested), entry(audit.RecordsDecided, b, "registrator")), nil},
		"two":                          {slices.Concat(three, requested), []string{a, b}},
	} {
		var got []string
		for _, u := range UnheldOnRecord(c.records) {
			got = append(got, u.Document)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		err := CheckHeld(c.records, nil)
		if (err == nil) != (len(c.want) == 0) || err != nil && !errors.Is(err, ErrUnheld) {
			t.Errorf("%s: %v", name, err)
		}
		needless := map[string]bool{}
		for i, d := range c.want {
			if err == nil || !strings.Contains(err.Error(), "KS "+d[len(d)-4:]) {
				t.Errorf("%s: it does not name case %d", name, i)
			}
			needless[d] = true
		}
		if err := CheckHeld(c.records, needless); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hold ends by an entry after the end of what it rests on, and by no other.
func TestOnlyWhatHasEndedIsReleased(t *testing.T) {
	document, number := seal.DigestOf([]byte("a")).String(), "KS 1"
	begun := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		basis HoldBasis
		tell  func(on func(kind audit.Kind, document string, days int))
		ends  bool
	}{
		"a decision that was not ended": {HoldByDecision, func(on func(audit.Kind, string, int)) { on(audit.HoldReleased, "hold", 1) }, false},
		"a decision that was closed": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.DecisionClosed, "", 1)
			on(audit.HoldReleased, "hold", 1)
		}, true},
		"a decision that was revoked": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.DecisionRevoked, "", 1)
			on(audit.HoldReleased, "hold", 1)
		}, true},
		"a decision that was denied": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.DecisionDenied, "", 1)
			on(audit.HoldReleased, "hold", 1)
		}, true},
		"a decision that ended afterwards": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.HoldReleased, "hold", 1)
			on(audit.DecisionClosed, "", 1)
		}, false},
		"another decision ended": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.DecisionClosed, "another", 1)
			on(audit.HoldReleased, "hold", 1)
		}, false},
		"a request of the case was closed, and not the decision": {HoldByDecision, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsClosed, "", 1)
			on(audit.HoldReleased, "hold", 1)
		}, false},
		"a request that was closed": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsClosed, "", 1)
			on(audit.HoldReleased, "hold", 1)
		}, true},
		"a request that was only decided": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsDecided, "", 1)
			on(audit.HoldReleased, "hold", 90)
		}, false},
		"a request about one person, after years": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsRequested, "", 0)
			on(audit.HoldReleased, "hold", 900)
		}, false},
		"a wide request, too early": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsRequested, "wide", 0)
			on(audit.HoldReleased, "hold", 7)
		}, false},
		"a wide request that nobody confirmed": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsRequested, "wide", 0)
			on(audit.HoldReleased, "hold", 8)
		}, true},
		"a wide request that was confirmed": {HoldByRecords, func(on func(audit.Kind, string, int)) {
			on(audit.RecordsRequested, "wide", 0)
			on(audit.RecordsConfirmed, "", 1)
			on(audit.HoldReleased, "hold", 8)
		}, false},
	} {
		digest := seal.DigestOf([]byte("hold"))
		body, err := seal.Canonical(holdBody{holdType, HoldID(digest), c.basis, document})
		if err != nil {
			t.Fatal(err)
		}
		records := []audit.Record{{Entry: audit.Entry{At: begun, Kind: audit.HoldPlaced, Case: number, Document: digest.String(), Body: string(body)}}}
		c.tell(func(kind audit.Kind, of string, days int) {
			e := audit.Record{Position: audit.Position{Segment: 1, Index: int64(len(records))}, Entry: audit.Entry{At: begun.AddDate(0, 0, days), Kind: kind, Case: number, Document: document}}
			switch of {
			case "hold":
				e.Document = digest.String()
			case "wide":
				e.Counts = map[string]int64{"wide": 1}
			case "another":
				e.Document = seal.DigestOf([]byte("another")).String()
			}
			records = append(records, e)
		})
		holds := HoldsOn(records, c.basis, document)
		if len(holds) != 1 || holds[0].InForce() == c.ends {
			t.Errorf("%s: %+v", name, holds)
		}
		if list := GroundlessReleases(records); (len(list) == 0) != c.ends {
			t.Errorf("%s: groundless are %v", name, list)
		}
	}
	if list := GroundlessReleases([]audit.Record{{Entry: audit.Entry{Kind: audit.HoldReleased, Document: document}}}); len(list) != 1 {
		t.Error("a release of nothing is not told")
	}
}

// The third approval comes while a purge runs, after everything was settled: nothing is dropped.
func TestADecisionIsApprovedWhileThePurgeRuns(t *testing.T) {
	a := newArchive(t)
	a.fill(Web, a.today()-90, 5, 1)
	document := seal.DigestOf([]byte("decision")).String()
	add := func(kind audit.Kind, actor string) {
		if _, err := a.purge.Log.Append(t.Context(), audit.Entry{Kind: kind, Actor: actor, Case: "HR 1/26", Document: document}); err != nil {
			t.Fatal(err)
		}
	}
	add(audit.DecisionRequested, "chef")
	add(audit.DecisionApproved, "a")
	add(audit.DecisionApproved, "b")
	a.purge.Needless = map[string]bool{}
	a.purge.step = func(step string) error {
		if step == "copy" {
			add(audit.DecisionApproved, "c")
		}
		return nil
	}
	if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrUnheld) || !strings.Contains(err.Error(), "HR 1/26") || a.number("SELECT count() FROM web_keys") != 5 {
		t.Fatal(err)
	}
	a.purge.step = nil
	if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrUnheld) || a.number("SELECT count() FROM web_keys") != 5 || len(a.entries(audit.PurgeFailed)) != 2 {
		t.Fatal(err)
	}
	add(audit.DecisionClosed, "chef")
	if r := a.run(); len(r.Certificates) != 1 || a.number("SELECT count() FROM web_keys") != 0 {
		t.Fatalf("%+v", r)
	}
}
