package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tillsyn/ingest/category"
)

// runLists runs 'tillsyn ARGS' as a user does.
func runLists(t *testing.T, args ...string) (code int, out, faults string) {
	t.Helper()
	app := newApp()
	var o, f bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(""), &o, &f
	code = run(context.Background(), app, append([]string{"tillsyn"}, args...))
	return code, o.String(), f.String()
}

func TestListsCompileAndLookup(t *testing.T) {
	dir := t.TempDir()
	ut1 := filepath.Join(dir, "ut1")
	for name, text := range map[string]string{"gambling": "casino.example\nse\n", "publicite": "ads.casino.example\n", "odd": "x.example\n"} {
		if err := os.MkdirAll(filepath.Join(ut1, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ut1, name, "domains"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hosts := filepath.Join(dir, "My Hosts.txt")
	if err := os.WriteFile(hosts, []byte("# Version: 42\n0.0.0.0 track.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compiled := filepath.Join(dir, "out.lists")
	code, out, faults := runLists(t, "lists", "compile", "--builtin", "--out", compiled, ut1, "trackers="+hosts)
	if code != exitOK || faults != "" {
		t.Fatalf("code %d: %s %s", code, out, faults)
	}
	for _, want := range []string{"LIST", "1 public suffix", "my-hosts", "hosts", "42", "bytes a domain", "compiled file: " + compiled, "warning: list ut1: folder odd has no category"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	code, out, faults = runLists(t, "lists", "lookup", "--file", compiled, "--verify", "--json",
		"https://www.ADS.casino.example:8443/x?y=z", "a.track.example", "nowhere.example", "1177.se")
	if code != exitOK {
		t.Fatalf("code %d: %s", code, faults)
	}
	var answers []lookupAnswer
	if err := json.Unmarshal([]byte(out), &answers); err != nil || len(answers) != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	if a := answers[0]; a.Host != "www.ads.casino.example" || a.Category != "ads" || a.Class != category.Background || a.List != "ut1" ||
		a.Rule != "ads.casino.example" || len(a.Matches) != 2 || !a.Matches[0].Decides || a.Matches[1].Rule != "casino.example" || a.Matches[1].Category != "gambling" {
		t.Errorf("%+v", a)
	}
	if a := answers[1]; a.Category != "trackers" || a.Version != "42" {
		t.Errorf("%+v", a)
	}
	if a := answers[2]; a.Category != uncategorised || a.Class != category.Ordinary || len(a.Matches) != 0 {
		t.Errorf("%+v", a)
	}
	if a := answers[3]; a.Category != "health" || a.Class != category.Protected {
		t.Errorf("%+v", a)
	}
	_, out, _ = runLists(t, "lists", "lookup", "--file", compiled, "www.ads.casino.example", "nowhere.example")
	for _, want := range []string{"www.ads.casino.example: ads (background)", "*  ads.casino.example", "casino.example      gambling", "nowhere.example: uncategorised (ordinary)", "no list knows it"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestListsFromConfig(t *testing.T) {
	dir := t.TempDir()
	body := "one.example\ntwo.example\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
	defer server.Close()
	config := filepath.Join(dir, "tillsyn.yaml")
	text := `
lists:
  directory: lists
  refresh: 6h
  lists:
    - name: spel
      source: ` + server.URL + `
      category: lotteries
      format: domains
  classes:
    lotteries: limited
  overrides:
    - domain: two.example
      category: work
      reason: "the finance office, 2026-11-02"
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, faults := runLists(t, "--config", config, "lists", "update")
	if code != exitOK || !strings.Contains(out, "spel") {
		t.Fatalf("code %d: %s %s", code, out, faults)
	}
	body = "<html>\n<p>gone</p>\n"
	code, out, faults = runLists(t, "--config", config, "lists", "update", "--json")
	var report category.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err, out)
	}
	kept := 0
	for _, l := range report.Lists {
		if l.Outcome == category.Kept && l.Name == "spel" && l.Domains == 2 {
			kept++
		}
	}
	if code != exitFault || kept != 1 || !strings.Contains(faults, "list spel: broken list") {
		t.Errorf("code %d, %d kept: %s", code, kept, faults)
	}
	server.Close()
	code, out, faults = runLists(t, "--config", config, "lists", "lookup", "a.one.example", "two.example")
	if code != exitOK || !strings.Contains(out, "a.one.example: lotteries (limited)") || !strings.Contains(out, "override: the finance office, 2026-11-02") {
		t.Errorf("code %d: %s %s", code, out, faults)
	}
	code, _, faults = runLists(t, "--config", config, "lists", "compile")
	if code != exitOK {
		t.Errorf("compile asks the server: %d %s", code, faults)
	}
}

func TestListsUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "l")
	if err := os.WriteFile(file, []byte("a.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		word string
	}{
		{[]string{"lookup"}, exitUsage, "name a HOST"},
		{[]string{"lookup", "not a host"}, exitUsage, "not a host name"},
		{[]string{"lookup", "--file", filepath.Join(dir, "none"), "a.example"}, exitFault, "no such file"},
		{[]string{"lookup", "--file", file, "a.example"}, exitFault, "damaged"},
		{[]string{"compile", "nonsense=" + file}, exitUsage, `category "nonsense" is not known`},
		{[]string{"compile", file}, exitFault, "needs a category"},
		{[]string{"compile", "ads=" + filepath.Join(t.TempDir(), "nofile")}, exitFault, "list nofile: the source can't be read: no such file or directory"},
		{[]string{"compile", "--format", "odd", file}, exitUsage, "is no list format"},
		{[]string{"compile", "--builtin"}, exitUsage, "named on the command line"},
		{[]string{"update", "x"}, exitUsage, "no arguments"},
		{[]string{"nope"}, exitUsage, "nope"},
	} {
		code, _, faults := runLists(t, append([]string{"lists"}, c.args...)...)
		if code != c.code || !strings.Contains(faults, c.word) {
			t.Errorf("%q: code %d: %s", c.args, code, faults)
		}
	}
}
