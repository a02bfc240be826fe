package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest"
	"tillsyn/ingest/parse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/schemas"
)

// sampleSource is how a sample of the parsers is to be read, by what stands beside it.
func sampleSource(t *testing.T, path string) ingest.Source {
	t.Helper()
	base := strings.TrimSuffix(path, filepath.Ext(path))
	beside := func(what string) string {
		text, err := os.ReadFile(base + "." + what)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	return ingest.Source{
		Topic: "file", Tenant: "default", Format: filepath.Base(filepath.Dir(path)), TimeZone: beside("zone"), Logformat: beside("logformat"),
		Layout: beside("layout"), Columns: commaList(beside("columns")), InternalDomains: commaList(beside("domains")),
	}
}

// TestImportEqualsParse imports every sample of the parsers: what parse prints is what import counts, once, however often the
// file comes.
func TestImportEqualsParse(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Engine.DataDir = enginetest.Config(t, nil).DataDir
	cfg.Ingest.StatisticsKey = filepath.Join(t.TempDir(), "statistics.key")
	cfg.Vault.LookupKey, cfg.Keys.Directory = filepath.Join(t.TempDir(), "lookup.key"), t.TempDir()
	embedded(t, cfg)
	db, err := openDatabase(t.Context(), cfg, schemas.RoleIngest)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	in, err := newIngestion(t.Context(), cfg, db.DB, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for _, pattern := range []string{"*.log", "*.json"} {
		list, err := filepath.Glob("ingest/parse/testdata/*/" + pattern)
		if err != nil || len(list) == 0 {
			t.Fatal("no samples", err)
		}
		samples = append(samples, list...)
	}
	dir := t.TempDir()
	open := func(path string) (*ingest.File, error) { return ingest.OpenFile(path, nil, time.Now) }
	for number, sample := range samples {
		text, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		source := sampleSource(t, sample)
		// Samples that are alike but for their flags would be one file: empty lines tell them apart.
		bom, end := 0, "\n"
		switch {
		case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
			bom = 3
		case bytes.HasPrefix(text, []byte("\xfe\xff")):
			bom, end = 2, "\x00\n"
		case bytes.HasPrefix(text, []byte("\xff\xfe")):
			bom, end = 2, "\n\x00"
		}
		text = slices.Insert(text, bom, []byte(strings.Repeat(end, number))...)
		path := filepath.Join(dir, fmt.Sprint(number))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		var out, faults bytes.Buffer
		o := parseOptions{Options: parse.Options{
			Format: source.Format, Logformat: source.Logformat, Layout: source.Layout, Columns: source.Columns, InternalDomains: source.InternalDomains,
		}, files: []string{path}}
		if source.TimeZone != "" {
			if o.Zone, err = time.LoadLocation(source.TimeZone); err != nil {
				t.Fatal(err)
			}
		}
		if err := runParse(t.Context(), nil, &out, &faults, o); err != nil && exitCode(err) != exitFound {
			t.Fatal(sample, err)
		}
		got, err := importFile(t.Context(), io.Discard, in, path, open, source)
		if err != nil {
			t.Fatal(sample, err)
		}
		// what is too old, say, is an event to the parser
		events, rejects := got.Events, got.Rejects
		for _, reason := range []parse.Reason{"too_old", "in_the_future", "count_out_of_range", "no_subject"} {
			events, rejects = events+got.Reasons[reason], rejects-got.Reasons[reason]
		}
		if want := uint64(bytes.Count(out.Bytes(), []byte("\n"))); events != want {
			t.Errorf("%s: %d events, parse prints %d: %+v", sample, events, want, got)
		}
		if want := uint64(bytes.Count(faults.Bytes(), []byte("\n"))); rejects != want {
			t.Errorf("%s: %d rejects, parse prints %d: %+v", sample, rejects, want, got)
		}
		if again, err := importFile(t.Context(), io.Discard, in, path, open, source); err != nil || again.Events+again.Rejects != 0 {
			t.Errorf("%s, again: %+v %v", sample, again, err)
		}
	}

	// All of that agrees with itself; and what does not is found.
	to := time.Now().AddDate(0, 0, 1)
	compare := func() (string, int) {
		var out bytes.Buffer
		err := runCheck(t.Context(), &out, cfg, to.AddDate(0, 0, -2000), to, false)
		return out.String(), exitCode(err)
	}
	if out, code := compare(); code != exitOK || strings.HasPrefix(out, "0 days") || strings.Contains(out, "not compared") {
		t.Errorf("check: exit %d: %s", code, out)
	} else {
		t.Log(out)
	}
	owner, err := openDatabase(t.Context(), cfg, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if err := owner.Exec(t.Context(), "INSERT INTO web_hourly (day, mark, hour, tenant, population, unit, category, requests) SELECT day, 0, max(hour), tenant, population, 'school', '', 3 FROM web_hourly WHERE mark = 0 AND population = 'unknown' GROUP BY day, tenant, population ORDER BY day LIMIT 1", nil); err != nil {
		t.Fatal(err)
	}
	if out, code := compare(); code != exitFound || !strings.Contains(out, "requests differ by 3 too many from those of all units and categories") {
		t.Errorf("check of what was spoiled: exit %d: %s", code, out)
	}
	log := &lockedBuffer{}
	metrics := prometheus.NewRegistry()
	servers, closer, err := openPurgeServers(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closer()
	nightly, err := newNightlyCheck(servers, func() time.Time { return to }, slog.New(slog.NewTextHandler(log, nil)), metrics)
	if err != nil {
		t.Fatal(err)
	}
	nightly.run(t.Context())
	if families, err := metrics.Gather(); err != nil || len(families) != 2 || families[1].GetMetric()[0].GetGauge().GetValue() == 0 || !strings.Contains(log.String(), "statistics and ledger compared") {
		t.Errorf("the nightly check: %v %v\n%s", families, err, log)
	}
}

// A wrong format leaves no trace: the right one imports the same file afterwards, and says it when it comes again.
func TestImportTriesAWrongFormatFirst(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "tillsyn.yaml")
	file := func(name, text string, age time.Duration) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("tillsyn.yaml", "log: {level: warn}\nresolve:\n  tenants: [{name: norrbo}, {name: hedemora}]\n", 0)
	line := fmt.Sprintf("%d.123     12 10.1.2.3 TCP_MISS/200 500 GET http://www.example.org/ person HIER_DIRECT/192.0.2.1 text/html\n", time.Now().Add(-time.Hour).Unix())
	log := file("access.log", strings.Repeat(line, 2000), time.Hour)
	growing := file("growing.log", strings.TrimSuffix(line, "\n"), 0)
	empty, gone := file("empty.log", "", time.Hour), filepath.Join(dir, "gone.log")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(bytes.Repeat([]byte(strings.Replace(line, "person", "other", 1)), 20_000))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	broken := file("broken.gz", packed.String()[:packed.Len()/2], time.Hour)
	native := []string{"--format", "squid_native", "--tenant", "norrbo"}

	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		code  int
		out   string // of all that is printed, in order
		says  string
	}{
		{"no files, and nothing else", nil, "", exitUsage, "", "name the files"},
		{"several tenants", []string{log}, "", exitUsage, "", "say whose log it is: --tenant (norrbo, hedemora), or --source TOPIC; say which log format"},
		{"one that is missing", append(native, log, gone), "", exitUsage, "", "gone.log: no such file"},
		{"a folder", append(native, log, dir), "", exitUsage, "", "is a folder"},
		{"a wrong format", []string{"--format", "squid_combined", "--tenant", "norrbo", log}, "", exitFound, "", "lines of " + log + " can be read as squid_combined, most often because of foreign_line"},
		{"a wrong format from standard input", []string{"--format", "squid_combined", "--tenant", "norrbo", "-"}, line, exitFound, "", "tillsyn parse --explain"},
		{"a good file beside a wrong one", append(native, log, file("other.log", "what\nis this\n", time.Hour)), "", exitFound, "", "first 2 lines of"},
		{"standard input twice", append(native, "-", "-"), line, exitUsage, "", "named twice"},
		{"one that is broken: the other is counted and told", append(native, log, broken), "", exitFault, "access.log 2000 0 0", "broken.gz"},
		{"again", append(native, log), "", exitOK, "access.log 0 0 0 nothing new: the same content was imported before, the last of it 20", ""},
		{"an unfinished line alone", append(native, growing), "", exitOK, "growing.log 0 0 0 the last line is still being written", ""},
		{"an unfinished line alone, again", append(native, growing), "", exitOK, "growing.log 0 0 0 the last line is still being written", ""},
		{"an empty one", append(native, empty), "", exitOK, "empty.log 0 0 0 the file is empty", ""},
	} {
		out, faults, code := typed(t, c.stdin, append([]string{"--config", config, "import"}, c.args...)...)
		got := strings.Join(strings.Fields(strings.ReplaceAll(out, dir+string(filepath.Separator), "")), " ")
		if code != c.code || !strings.Contains(got, c.out) || c.out == "" && got != "" || !strings.Contains(faults, c.says) {
			t.Errorf("%s: exit code %d, %s%s", c.name, code, out, faults)
		}
		if _, err := os.Stat(filepath.Join(dir, "var")); code != exitOK && code != exitFault && err == nil {
			t.Errorf("%s: something was written", c.name)
		}
	}
	// A pipe is tried and read through one opening.
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, err = io.WriteString(w, strings.Repeat(strings.Replace(line, "person", "piped", 1), 5000))
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}()
	out, faults, code := typed(t, "", append([]string{"--config", config, "import"}, append(native, pipe)...)...)
	if code != exitOK || !strings.Contains(strings.Join(strings.Fields(out), " "), "pipe 5000 0 0") {
		t.Errorf("a pipe: exit code %d, %s%s", code, out, faults)
	}
	if _, faults, code := typed(t, "", append([]string{"--config", config, "import"}, append(native, pipe, pipe)...)...); code != exitUsage || !strings.Contains(faults, "named twice") {
		t.Errorf("a pipe twice: exit code %d, %s", code, faults)
	}
	out, _, _ = typed(t, "", append([]string{"--config", config, "import", "--json"}, append(native, log)...)...)
	if !strings.Contains(out, `"imported_before": "20`) {
		t.Errorf("as JSON: %s", out)
	}
}
