package main

import (
	"strings"
	"testing"
	"time"
)

// A request for a unit on the command line: a second person signs it, a holder takes it over, and one that lies is overdue.
func TestRecordsOfAUnitTakeTwoPeople(t *testing.T) {
	w := newCourtTown(t)
	template, _ := w.must(exitOK, "", "records", "template")
	draft := func(number string, hours int) string {
		received := time.Now().UTC().Add(-time.Duration(hours) * time.Hour).Truncate(time.Second).Format(time.RFC3339)
		return fill(template, "tenant:", w.tenant, "case:", number, "received:", received, "wording:", "Loggen för alla", "  from:", w.from.String(), "  to:", w.to.String(), "  sources:", "[web]")
	}
	registrar := w.member("registrator")
	if out, _ := w.must(exitOK, "", "hold", "list"); !strings.Contains(out, "Nothing is held") {
		t.Error(out)
	}
	if out, _ := w.must(exitOK, draft("KS 1", 1), args("records", "request", registrar, "-")...); !strings.Contains(out, "records confirm") {
		t.Error(out)
	}
	if out, _ := w.must(exitOK, "", "records", "list"); !strings.Contains(out, "needs a second signature by") {
		t.Error(out)
	}
	w.must(exitRefused, "", args("records", "confirm", registrar, "KS 1")...)
	w.must(exitRefused, "", args("records", "confirm", w.as("hr.a"), "KS 1")...)
	w.must(exitOK, "", args("records", "confirm", w.as("security.a"), "KS 1")...)
	if out, _ := w.must(exitOK, "", "records", "list"); strings.Contains(out, "second signature") || strings.Contains(out, "overdue") {
		t.Error(out)
	}
	w.must(exitRefused, draft("KS 1", 2), args("records", "request", registrar, "-")...) // the number is taken
	w.must(exitOK, draft("KS 2", 31*24), args("records", "request", registrar, "-")...)
	if out, _ := w.must(exitFound, "", "records", "list"); !strings.Contains(out, "overdue") {
		t.Error(out)
	}
	if out, _ := w.must(exitFound, "", "records", "list", "--json"); strings.Count(out, `"overdue": true`) != 1 {
		t.Error(out)
	}
	// The registrar is away: a holder decides and closes.
	w.must(exitRefused, "", args("hold", "release", w.as("hr.a"), "KS 2")...)
	w.must(exitOK, "", args("records", "decide", w.as("hr.a"), "--outcome", "refused", "--reasons", "Allt.", "--law", "OSL 18 kap. 8 §", "KS 2")...)
	w.must(exitOK, "", args("records", "close", w.as("manager.b"), "--waived", "KS 2")...)
	w.must(exitOK, "", args("hold", "release", w.as("hr.a"), "KS 2")...)
	w.must(exitOK, "", "records", "list")
	if out, _ := w.must(exitOK, "", "hold", "list", "--json"); strings.Count(out, `"released"`) != 1 || strings.Count(out, `"overdue": false`) != 2 {
		t.Error(out)
	}
}
