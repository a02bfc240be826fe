package vault

import (
	"errors"
	"slices"
	"strings"
	"testing"

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
		"held and released":            {append(slices.Clone(three), hold(audit.HoldPlaced, HoldByDecision, a), hold(audit.HoldReleased, HoldByDecision, a)), nil},
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
