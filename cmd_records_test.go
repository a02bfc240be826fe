package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
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
	if out, _ := w.must(exitOK, draft("KS 1", 1), args("records", "request", registrar, "-")...); !strings.Contains(out, "records confirm") || !strings.Contains(out, "events of") {
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

// A request about one person says that what there is is held, and neither whether there is anything nor how much; nor does the
// list of holds.
func TestARequestAboutAPersonTellsNoSize(t *testing.T) {
	w := newCourtTown(t)
	template, _ := w.must(exitOK, "", "records", "template")
	registrar := w.member("registrator")
	draft := func(number, subject string) string {
		return fill(template, "tenant:", w.tenant, "case:", number, "received:", time.Now().UTC().Add(-time.Hour).Truncate(time.Second).Format(time.RFC3339), "wording:", "Loggen",
			"  subject:", subject, "  from:", w.from.String(), "  to:", w.to.String(), "  sources:", "[web]")
	}
	there, _ := w.must(exitOK, draft("KS 1", w.subjects[0]), args("records", "request", registrar, "-")...)
	missing, _ := w.must(exitOK, draft("KS 2", "finns.inte"), args("records", "request", registrar, "-")...)
	if there != strings.Replace(missing, "KS 2", "KS 1", 1) || strings.Contains(strings.ReplaceAll(there, "KS 1", ""), "1") {
		t.Errorf("somebody with rows: %s\nsomebody without: %s", there, missing)
	}
	there, _ = w.must(exitOK, draft("KS 3", w.subjects[0]), args("records", "request", registrar, "--json", "-")...)
	missing, _ = w.must(exitOK, draft("KS 4", "finns.inte"), args("records", "request", registrar, "--json", "-")...)
	if there != strings.Replace(missing, "KS 4", "KS 3", 1) || !strings.Contains(there, `"held": true`) {
		t.Errorf("somebody with rows: %s\nsomebody without: %s", there, missing)
	}
	if out, _ := w.must(exitOK, "", "hold", "list", "--json"); strings.Contains(out, "copies") || strings.Contains(out, "capsules") || strings.Count(out, `"hold"`) != 4 {
		t.Error(out)
	}
	out, _ := w.must(exitOK, "", "hold", "list")
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if fields := strings.Fields(line); i > 0 && !slices.Equal(fields[len(fields)-2:], []string{"-", "-"}) {
			t.Errorf("the list tells how much there is: %s", line)
		}
	}
	refused := ""
	for _, number := range []string{"KS 1", "KS 2"} {
		_, faults := w.must(exitFault, "", args("records", "decide", registrar, "--outcome", "nothing", number)...)
		if refused == "" {
			refused = faults
		}
		if faults != refused {
			t.Errorf("%s: %s", number, faults)
		}
	}
}

// The desk encrypts to a plugin's key as everything else here does.
func TestTheDeskSealsToPlugins(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "age-plugin-tillsyntest"), "./testdata/age-plugin-tillsyntest").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	text, err := exec.CommandContext(t.Context(), filepath.Join(bin, "age-plugin-tillsyntest"), "--generate").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text)) // identity, recipient
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(lines[0]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	who := &caller{ask: prompter{out: io.Discard}}
	if who.identities, _, err = readIdentity(file, "", who.ask); err != nil {
		t.Fatal(err)
	}
	g := &openedGate{config: DefaultConfig()}
	if err := g.withDesk(false, who, func(k *casework.RecordsDesk, _ *vault.HoldRegister) error {
		var b bytes.Buffer
		w, err := k.Seal(&b, lines[1:])
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte("rader")); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		plain, err := decryptWith(b.Bytes(), k.Identities)
		if string(plain) != "rader" {
			t.Errorf("what was sealed opens as %q", plain)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
