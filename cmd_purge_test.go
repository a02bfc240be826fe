package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// The purge from the command line: refused without a decision, planned, run, certified, verified; and holds that nobody has.
func TestPurgeCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tillsyn.yaml")
	write := func(decisions string) {
		t.Helper()
		text := "engine:\n  data_dir: engine\n  memory_limit: 1073741824\naudit:\n  directory: audit\n  key: audit.key\nkeys:\n  dir: keys\n  gate: gate.key\nvault:\n  lookup_key: lookup.key\ncasework:\n  dir: cases\nretention:\n  web:\n    decisions: " + decisions +
			"\n  purge:\n    without_kafka: true\n    lock: purge.lock\n    key: purge.key\n    certificates: certificates\n    backup_days: 30\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := runTillsyn(t, append([]string{"--config", path}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	write("[]")
	run(exitUsage, "purge", "--run", "--verify")
	run(exitUsage, "purge", "--accept-clock")
	run(exitUsage, "purge", "now")
	run(exitFault, "purge") // there is no schema yet
	run(exitOK, "migrate")
	if out := run(exitOK, "purge"); !strings.Contains(out, "Nothing is past its time") {
		t.Error(out)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().UTC().AddDate(0, 0, -90).Format(time.DateOnly)
	db, err := openDatabase(t.Context(), cfg, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO web_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate) SELECT {day:Date}, 'norrbo', 'staff', 'hamn', sipHash128(number), sipHash128('k', number), randomString(80, 1), randomString(80, 2), randomString(80, 3), randomString(80, 4) FROM numbers(20)`,
		`INSERT INTO web_capsules SELECT {day:Date}, 0, 'norrbo', 'hamn', sipHash128(number), sipHash128('k', number), toDateTime({day:Date}), toDateTime({day:Date}), 1, randomString(90), 0, toDateTime(0, 'UTC') FROM numbers(20)`,
	} {
		if err := db.Exec(t.Context(), sql, clickhouse.Params{"day": old}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if out := run(exitRefused, "purge"); !strings.Contains(out, `tenant "norrbo"`) || !strings.Contains(out, "retention.web.decisions") {
		t.Error(out)
	}
	run(exitRefused, "purge", "--run")
	if out := run(exitFound, "purge", "--verify"); !strings.Contains(out, "web_capsules") || !strings.Contains(out, old) {
		t.Error(out)
	}
	write(`[{tenant: norrbo, number: "KS 2026/17", from: 2026-01-01}]`)
	if out := run(exitOK, "purge", "--dry-run"); !regexp.MustCompile(`web +` + old + ` +web_keys +20 .* drop +0 +older than 90 days`).MatchString(out) {
		t.Error(out)
	}
	var answer struct {
		Certificates []struct {
			Entry  string
			Totals struct{ Rows, Keys int }
			Disk   struct{ Examined bool }
		}
		Files []string
	}
	if err := json.Unmarshal([]byte(run(exitOK, "purge", "--run", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Certificates) != 1 || answer.Certificates[0].Totals.Rows != 40 || answer.Certificates[0].Totals.Keys != 20 || !answer.Certificates[0].Disk.Examined || len(answer.Files) != 4 {
		t.Fatalf("%+v", answer)
	}
	for suffix, word := range map[string]string{".note": "tillsyn purge certificate v1", ".sv.html": "Gallringsbevis", ".en.html": "Purge certificate"} {
		found := false
		for _, file := range answer.Files {
			if strings.HasSuffix(file, suffix) {
				text, err := os.ReadFile(file)
				found = err == nil && strings.Contains(string(text), word) && strings.Contains(string(text), "KS 2026/17")
			}
		}
		if !found {
			t.Errorf("no certificate ends in %s and has %q", suffix, word)
		}
	}
	checkCertificates(t, run, cfg, answer.Files)
	run(exitOK, "purge", "--verify")
	if out := run(exitOK, "purge", "--run"); !strings.Contains(out, "Nothing was certified") {
		t.Error(out)
	}
	run(exitOK, "audit", "verify")
	if out := run(exitOK, "audit", "list"); !strings.Contains(out, "purge.certificate") || !strings.Contains(out, "purge.failed") {
		t.Error(out)
	}
	run(exitOK, "keys", "init", "--tenant", "norrbo") // a ceremony that is under way stops no purge
	run(exitOK, "purge", "--run")
	if out := run(exitOK, "hold", "list"); !strings.Contains(out, "Nothing is held") {
		t.Error(out)
	}
	if out := run(exitOK, "hold", "list", "--json"); !strings.Contains(out, `"holds": []`) {
		t.Error(out)
	}
}

// checkCertificates checks a certificate as anybody can, offline, and that no bit of it, of its proof or of the record may differ.
func checkCertificates(t *testing.T, run func(want int, args ...string) string, cfg Config, files []string) {
	t.Helper()
	note := files[slices.IndexFunc(files, func(f string) bool { return strings.HasSuffix(f, ".note") })]
	record := filepath.Join(t.TempDir(), "record")
	run(exitOK, "audit", "export", record)
	logKey := strings.TrimSpace(run(exitOK, "audit", "key"))
	logKey = logKey[strings.LastIndexAny(logKey, " \n")+1:]

	alone := filepath.Join(t.TempDir(), "alone.note")
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := os.ReadFile(strings.TrimSuffix(note, ".note") + ".proof")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, text, 0o600); err != nil {
		t.Fatal(err)
	}
	// Whoever checks has no configuration, and no key but what they are given.
	offline := func(want int, args ...string) string {
		t.Helper()
		empty := filepath.Join(t.TempDir(), "tillsyn.yaml")
		if err := os.WriteFile(empty, []byte("audit:\n  directory: none\n  key: none.key\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := runTillsyn(t, append([]string{"--config", empty, "purge", "certificate"}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	for name, c := range map[string]struct {
		want string
		args []string
	}{
		"the whole record":     {"what was to be done is what it says was done", []string{"--dir", record, "--log-key", logKey, note}},
		"the proof beside it":  {"What was to be done was not compared", []string{"--log-key", logKey, note}},
		"nothing but itself":   {"compared with no record", []string{alone}},
		"no key of the record": {"is its own: anybody can make one", []string{note}},
		"in Swedish":           {"Gallringsbevis", []string{"--language", "sv", "--log-key", logKey, note}},
		"two":                  {"KS 2026/17", []string{"--dir", record, "--log-key", logKey, note, alone}},
	} {
		if out := offline(exitOK, c.args...); !strings.Contains(out, c.want) || !strings.Contains(out, "it holds") || !strings.Contains(out, "KS 2026/17") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
	if out := run(exitOK, "purge", "certificate", alone); !strings.Contains(out, "what was to be done is what it says was done") {
		t.Error("the record of the configuration is not asked:", out)
	}
	var list struct {
		Certificates []struct {
			Holds, Recorded, Pinned, Intent bool
			Entry, Method                   string
		}
	}
	if err := json.Unmarshal([]byte(offline(exitOK, "--dir", record, "--log-key", logKey, "--json", note)), &list); err != nil || len(list.Certificates) != 1 {
		t.Fatal(err, list)
	}
	if c := list.Certificates[0]; !c.Holds || !c.Recorded || !c.Pinned || !c.Intent || c.Entry == "" || !strings.Contains(c.Method, "not stated") {
		t.Errorf("%+v", c)
	}
	offline(exitUsage)
	offline(exitUsage, "--log-key", "x", note)
	offline(exitUsage, "--signer", "x", note)
	offline(exitUsage, "--language", "de", note)
	offline(exitUsage, "--dir", record, note)
	offline(exitFault, filepath.Join(t.TempDir(), "none.note"))
	another, err := seal.NewSigner("other/purge")
	if err != nil {
		t.Fatal(err)
	}
	offline(exitFound, "--signer", another.Verifier(), note)
	trust, err := audit.TrustOf(cfg.Audit)
	if err != nil {
		t.Fatal(err)
	}
	if out := offline(exitFound, "--dir", t.TempDir(), "--log-key", logKey, note); !strings.Contains(out, "record does not verify") {
		t.Error(out)
	}

	// The same content, signed by somebody else, holds by itself and by no record.
	plain, err := seal.Unsigned(text)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(plain), `"signer": "`)
	key, _, _ = strings.Cut(key, `"`)
	forged, err := seal.Sign(bytes.ReplaceAll(plain, []byte(key), []byte(another.Verifier())), another)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	offline(exitOK, alone)
	offline(exitFound, "--dir", record, "--log-key", logKey, alone)
	run(exitFound, "purge", "certificate", alone)

	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.note")
	check := func(text, proof []byte) error {
		if err := errors.Join(os.WriteFile(bad, text, 0o600), os.WriteFile(filepath.Join(dir, "bad.proof"), proof, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := checkCertificate(bad, certificateOptions{trust: trust}, nil, false)
		return err
	}
	if err := check(text, proof); err != nil {
		t.Fatal(err)
	}
	step := 1
	if os.Getenv("CI") == "" {
		step = 13
	}
	for i := 0; i < 8*len(text); i += step {
		changed := bytes.Clone(text)
		changed[i/8] ^= 1 << (i % 8)
		if err := check(changed, proof); exitCode(err) != exitFound {
			t.Fatalf("bit %d of the certificate: %v", i, err)
		}
	}
	for i := 0; i < 8*len(proof); i += step {
		changed := bytes.Clone(proof)
		changed[i/8] ^= 1 << (i % 8)
		if err := check(text, changed); exitCode(err) != exitFound {
			t.Fatalf("bit %d of its proof: %v", i, err)
		}
	}
	if err := filepath.WalkDir(record, func(path string, d fs.DirEntry, err error) error {
		// How the copy is to be read, and a key that somebody who checks has from elsewhere, are no part of the record.
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".md") || strings.HasSuffix(path, ".vkey") {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil || len(whole) == 0 {
			return err
		}
		for range 3 {
			i := rand.IntN(8 * len(whole))
			changed := bytes.Clone(whole)
			changed[i/8] ^= 1 << (i % 8)
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				return err
			}
			if err := runPurgeCertificate(t.Context(), io.Discard, []string{note}, certificateOptions{dir: record, trust: trust, language: "en"}); exitCode(err) != exitFound {
				t.Errorf("bit %d of %s: %v", i, path, err)
			}
		}
		return os.WriteFile(path, whole, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}
