package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/query/casework"
)

// auditLog makes a log of two segments and answers its configuration file, its folder and its public key.
func auditLog(t *testing.T) (config, dir, vkey string) {
	t.Helper()
	config = writeConfig(t, "audit: {deployment: kommun.example}\n")
	c, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), c.Audit, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []audit.Kind{audit.ExportMade, audit.KeysCeremony, audit.ExportRemoved} {
		e := audit.Entry{Kind: kind, Actor: "anna-1", Case: "KS 2026/1", Counts: map[string]int64{"rows": int64(i)}}
		if _, err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runTillsyn(t, "--config", config, "audit", "rotate"); code != exitOK || !strings.Contains(out, "Segment 0002") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	code, out, errs := runTillsyn(t, "--config", config, "audit", "key")
	if code != exitOK || !strings.HasPrefix(out, "kommun.example/audit+") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	return config, c.Audit.Directory, strings.TrimSpace(out)
}

func TestAuditCommands(t *testing.T) {
	config, dir, vkey := auditLog(t)
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, step := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"verify", []string{"verify"}, exitOK, []string{"verifies: 6 entries in 2 segments", "closed", "open"}},
		{"verify as JSON", []string{"verify", "--json"}, exitOK, []string{`"ok": true`, `"size": 6`, `"findings": []`}},
		{"remember", []string{"verify", "--remember", at("seen")}, exitOK, []string{"0 remembered"}},
		{"remembered", []string{"verify", "--remember", at("seen")}, exitOK, []string{"2 remembered"}},
		{"list", []string{"list"}, exitOK, []string{"0001/2", "keys.ceremony", "anna-1", "KS 2026/1", "rows=1", "segment.closed", "operator"}},
		{"list a case", []string{"list", "--case", "KS 2026/1", "--json"}, exitOK, []string{`"kind": "export.removed"`}},
		{"list no case", []string{"list", "--case", "KS 2026/2", "--json"}, exitOK, []string{`"entries": []`}},
		{"prove", []string{"prove", "1/2", "-o", at("proof")}, exitOK, nil},
		{"prove again", []string{"prove", "1/2", "-o", at("proof")}, exitFault, nil},
		{"prove of the last segment", []string{"prove", "0"}, exitOK, []string{"c2sp.org/tlog-proof@v1", "kommun.example/audit/0002"}},
		{"prove with flags before", []string{"prove", "--output", at("proof2"), "1/1"}, exitOK, nil},
		{"prove what is not there", []string{"prove", "1/99"}, exitFault, nil},
		{"prove junk", []string{"prove", "x"}, exitUsage, nil},
		{"prove nothing", []string{"prove"}, exitUsage, nil},
		{"prove two", []string{"prove", "1", "2"}, exitUsage, nil},
		{"prove with a wrong flag", []string{"prove", "1", "--nope"}, exitUsage, nil},
		{"check", []string{"check-proof", at("proof"), "--key", vkey}, exitOK, []string{"Entry 0001/2 is in the record of kommun.example", `"kind":"keys.ceremony"`}},
		{"check as JSON", []string{"check-proof", at("proof"), "--json"}, exitOK, []string{`"index": 2`}},
		{"check with another key", []string{"check-proof", at("proof"), "--key", vkey[:len(vkey)-2] + "AA"}, exitUsage, nil},
		{"export", []string{"export", at("copy")}, exitOK, []string{"verifies"}},
		{"export again", []string{"export", at("copy")}, exitFault, nil},
		{"retire without a decision", []string{"retire", "1"}, exitUsage, nil},
		{"retire junk", []string{"retire", "x", "--decision", "KS 2026/2"}, exitUsage, nil},
		{"retire too early", []string{"retire", "1", "--decision", "KS 2026/2"}, exitRefused, nil},
		{"verify with arguments", []string{"verify", "x"}, exitUsage, nil},
		{"verify with a wrong key", []string{"verify", "--key", "x"}, exitUsage, nil},
		{"verify nowhere", []string{"verify", "--dir", at("nowhere")}, exitFault, nil},
		{"nothing of the kind", []string{"burn"}, exitUsage, nil},
	} {
		code, out, errs := runTillsyn(t, slices.Concat([]string{"--config", config, "audit"}, step.args)...)
		if code != step.code {
			t.Errorf("%s: code %d, want %d: %s%s", step.name, code, step.code, out, errs)
		}
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in %s", step.name, want, out)
			}
		}
		if strings.Contains(out+errs, "PRIVATE") {
			t.Errorf("%s: the private key is printed", step.name)
		}
	}

	// The original is gone, and there is no configuration: the copy and the key are enough.
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][]string{
		{"audit", "verify", "--dir", at("copy"), "--key", vkey, "--remember", at("seen")},
		{"audit", "list", "--dir", at("copy"), "--key", vkey},
		{"audit", "prove", "1/3", "--dir", at("copy"), "--key", vkey},
		{"audit", "check-proof", at("proof"), "--key", vkey},
	} {
		if code, out, errs := runTillsyn(t, step...); code != exitOK {
			t.Errorf("%v: %d %s%s", step, code, out, errs)
		}
	}
	readme, err := os.ReadFile(at("copy/README.md"))
	if err != nil || !strings.Contains(string(readme), "tillsyn audit verify --dir") {
		t.Errorf("%s %v", readme, err)
	}

	// One bit is enough, and the first bad place is named.
	bundle := at("copy/0001/tile/entries/000.p/5")
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	text[strings.Index(string(text), "keys.ceremony")] ^= 1
	if err := os.WriteFile(bundle, text, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runTillsyn(t, "audit", "verify", "--dir", at("copy"), "--key", vkey)
	if code != exitFound || !strings.Contains(errs, "entry 0001/2") || !strings.Contains(out, "does not verify") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	code, out, _ = runTillsyn(t, "audit", "verify", "--dir", at("copy"), "--key", vkey, "--json")
	var report struct {
		OK       bool            `json:"ok"`
		Findings []audit.Finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitFound || report.OK || report.Findings[0].Index != 2 || report.Findings[0].Segment != 1 {
		t.Errorf("%d %s %v", code, out, err)
	}
	for _, args := range [][]string{{"list"}, {"prove", "1/2"}, {"export", at("copy2")}} {
		if code, out, errs := runTillsyn(t, slices.Concat([]string{"audit"}, args, []string{"--dir", at("copy"), "--key", vkey})...); code != exitFound {
			t.Errorf("%v of a changed log: %d %s%s", args, code, out, errs)
		}
	}
}

func TestAuditCheckProofRefusesForgery(t *testing.T) {
	config, _, vkey := auditLog(t)
	_, out, _ := runTillsyn(t, "--config", config, "audit", "prove", "1/1")
	other, _, otherKey := auditLog(t)
	_, foreign, _ := runTillsyn(t, "--config", other, "audit", "prove", "1/1")
	for name, text := range map[string]string{
		"index":     strings.Replace(out, "index 1", "index 2", 1),
		"size":      strings.Replace(out, "\n5\n", "\n6\n", 1),
		"cut":       out[:len(out)/2],
		"empty":     "",
		"other log": foreign,
	} {
		file := filepath.Join(t.TempDir(), "proof")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := runTillsyn(t, "audit", "check-proof", file, "--key", vkey); code != exitFound {
			t.Errorf("%s: %d %s%s", name, code, out, errs)
		}
		if name == "other log" {
			if code, _, errs := runTillsyn(t, "audit", "check-proof", file, "--key", otherKey); code != exitOK {
				t.Errorf("its own key: %d %s", code, errs)
			}
		}
	}
}

// A lookup that no decision allows is named, on a copy of the record alone, and only the rule is against it.
func TestAuditFindsWhatTheRuleForbids(t *testing.T) {
	config, _, vkey := auditLog(t)
	c, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), c.Audit, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.Append(t.Context(), audit.Entry{Kind: audit.LookupIntent, Actor: "anna-1", Case: "KS 2026/9", Document: "sha256:" + strings.Repeat("0", 64)})
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if code, out, errs := runTillsyn(t, "--config", config, "audit", "export", copied); code != exitOK {
		t.Fatal(out, errs)
	}
	code, out, errs := runTillsyn(t, "audit", "verify", "--dir", copied, "--key", vkey)
	if want := "entry " + r.Position.String() + " (case KS 2026/9): a lookup without a decision"; code != exitFound || !strings.Contains(errs, want) || !strings.Contains(out, "AGAINST THE RULE: "+want) {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	if code, out, _ := runTillsyn(t, "audit", "verify", "--dir", copied, "--key", vkey, "--json"); code != exitFound || !strings.Contains(out, `"ok": false`) || !strings.Contains(out, "a lookup without a decision") {
		t.Errorf("%d\n%s", code, out)
	}
	if code, out, errs := runTillsyn(t, "audit", "verify", "--dir", copied, "--key", vkey, "--rules=false"); code != exitOK {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
}

// A clock that is far ahead stops the record, and every act with it, until a holder of the role security says that it is right; the
// same corrects what was written at a wrong time.
func TestAuditClock(t *testing.T) {
	o := newKeyTown(t, t.TempDir()).founded()
	config := DefaultConfig()
	config.Audit = o.record
	config.Audit.Silence = 31 * 24 * time.Hour
	config.Keys.Directory, config.Keys.Gate, config.Vault.LookupKey = o.dir, o.gate, o.lookup
	var out bytes.Buffer
	run := func(accept bool, identities presentIdentity) error {
		out.Reset()
		return auditError(runAuditClock(t.Context(), &out, config, o.now, accept, "klockan stod fel efter ett strömavbrott", identities))
	}
	code := func(err error) int {
		var e *exitError
		if errors.As(err, &e) {
			return e.code
		}
		return exitFault
	}
	right := o.at
	o.must(run(false, nil))
	o.at = right.AddDate(10, 0, 0)
	if err := run(false, nil); code(err) != exitFound || !strings.Contains(err.Error(), "apart") {
		t.Error(err)
	}
	log, err := audit.Open(t.Context(), config.Audit, o.now)
	o.must(err)
	defer log.Close()
	entry := audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}
	if _, err := log.Append(t.Context(), entry); !errors.Is(err, audit.ErrAhead) || code(auditError(err)) != exitRefused {
		t.Error(err)
	}
	for _, who := range []string{"", "hr.a"} {
		var identities presentIdentity
		if who != "" {
			identities = o.here(who)[0]
		}
		if err := run(true, identities); code(err) != exitRefused {
			t.Errorf("accepted by %q: %v", who, err)
		}
	}
	o.must(run(true, o.here("security.b")[0])) // without looking
	_, err = log.Append(t.Context(), entry)
	o.must(err)
	clock := func() time.Time {
		entries, err := log.Entries(t.Context())
		o.must(err)
		return casework.Clock(entries, o.at)
	}
	o.at = right.Add(time.Hour)
	if got := clock(); got.Year() != right.Year()+10 {
		t.Errorf("the clock that counts is %v", got)
	}
	if err := run(false, nil); code(err) != exitFound {
		t.Error("a record of the future goes unnoticed:", err)
	}
	o.must(run(true, o.here("security.a")[0]))
	if got := clock(); !got.Equal(o.at) {
		t.Errorf("the clock that counts is %v, not %v", got, o.at)
	}
	o.must(run(false, nil))
	entries, err := log.Entries(t.Context())
	o.must(err)
	if last := entries[len(entries)-1]; last.Kind != audit.ClockAccepted || last.Actor != "security.a" {
		t.Errorf("%+v", last)
	}
	if !strings.Contains(out.String(), "The last entry of the record is of 2026-11-22") {
		t.Error(out.String())
	}
}

// A log that has lain still since before anybody had keys is taken up again by who runs it: there is nothing yet that a clock could
// revive.
func TestAuditClockBeforeTheFirstKeys(t *testing.T) {
	o := newKeyTown(t, t.TempDir())
	config := DefaultConfig()
	config.Audit = o.record
	config.Audit.Silence = 31 * 24 * time.Hour
	config.Keys.Directory = o.dir
	log, err := audit.Open(t.Context(), config.Audit, o.now)
	o.must(err)
	o.must(log.Close())
	o.at = o.at.AddDate(0, 3, 0)
	o.must(runAuditClock(t.Context(), io.Discard, config, o.now, true, "", nil))
	o.record = config.Audit
	o.founded()
}

// The record names who rotated it only if they have shown that they have the key of somebody in a register.
func TestAuditNamesWhoShowsAKey(t *testing.T) {
	o := newKeyTown(t, t.TempDir()).founded()
	config := writeConfig(t, fmt.Sprintf("audit: {deployment: norrbo, directory: %s, key: %s, silence: 876000h}\nkeys: {dir: %s, gate: %s}\nvault: {lookup_key: %s}\n",
		o.record.Directory, o.record.Key, o.dir, o.gate, o.lookup))
	rotate := func(code int, args ...string) {
		t.Helper()
		got, out, errs := runTillsyn(t, append([]string{"--config", config, "audit", "rotate"}, args...)...)
		if got != code {
			t.Fatalf("%d %s%s", got, out, errs)
		}
	}
	rotate(exitOK)
	rotate(exitOK, "--identity", o.identityFile("hr.b"))
	rotate(exitUsage, "--actor", "security.a")
	stranger, err := seal.NewSigner("security.a")
	o.must(err)
	_, recipients, err := readIdentity(o.identityFile("hr.b"), "", prompter{})
	o.must(err)
	sealed, err := encryptTo(stranger.Encode(), recipients, nil)
	o.must(err)
	file := filepath.Join(o.root, "stranger.signer")
	o.must(os.WriteFile(file, sealed, 0o600))
	rotate(exitRefused, "--identity", o.identityFile("hr.b"), "--signer", file)
	_, out, _ := runTillsyn(t, "--config", config, "audit", "list", "--json")
	if strings.Count(out, `"kind": "segment.closed",`) != 2 || strings.Count(out, `"actor": "hr.b"`) < 1 || strings.Contains(out, `"actor": "security.a"`) {
		t.Error(out)
	}
}
