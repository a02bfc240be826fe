package category

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tillsyn/internal/durable"
)

// numbered answers a list of n domains.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example\n", i)
	}
	return b.String()
}

func newKeeper(t *testing.T, cfg Config) *Keeper {
	t.Helper()
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.Log = slog.New(slog.DiscardHandler)
	return k
}

// TestUpdateFromServer is the life of one list on a server.
func TestUpdateFromServer(t *testing.T) {
	var (
		body   = numbered(100)
		status = http.StatusOK
		tag    = `"1"`
		asked  []string
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match"))
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
		io.WriteString(w, body)
	}))
	defer server.Close()

	cfg := DefaultConfig()
	cfg.Builtin = false
	cfg.Directory = t.TempDir()
	cfg.MaxBytes = 1 << 20
	cfg.Lists = []ListConfig{{Name: "l", Source: server.URL + "/list?token=secret", Category: "ads"}}
	k := newKeeper(t, cfg)
	now := noon
	k.Now = func() time.Time { return now }

	knows := func(host string) bool { return k.Lists().Lookup([]byte(host)).Category == "ads" }
	step := func(what string, want Outcome, domains int) {
		t.Helper()
		now = now.Add(time.Hour)
		r, err := k.Update(context.Background())
		if len(r.Lists) != 1 || r.Lists[0].Outcome != want || (err != nil) != (want == Kept || want == Missing) {
			t.Fatalf("%s: %+v, %v", what, r.Lists, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "/list")) {
			t.Errorf("%s: the error names the place: %v", what, err)
		}
		if got := k.Lists().Info().Domains; got != domains {
			t.Errorf("%s: %d domains in use", what, got)
		}
	}
	status = http.StatusInternalServerError
	step("server down at first", Missing, 0)
	status = http.StatusOK
	step("first", Updated, 100)
	if !knows("www.n99.example") || knows("n100.example") {
		t.Error("lookup")
	}
	generation := k.Lists().Generation()
	step("same tag", Unchanged, 100)
	tag = `"2"`
	body = numbered(120)
	step("grown", Updated, 120)
	if !knows("n119.example") || k.Lists().Generation() <= generation {
		t.Error("the new list is not in use")
	}
	tag = `"3"`
	for what, bad := range map[string]string{
		"empty":         "",
		"comments only": "# nothing\n",
		"a web page":    "<!DOCTYPE html>\n<html>\n<head><title>Not here</title></head>\n<body>\n<p>Sorry.</p>\nok.example\n</body>\n</html>\n",
		"binary":        strings.Repeat("\x00\xff\x13\n", 1000),
		"shrunk":        numbered(59),
		"too large":     strings.Repeat("x", 1<<20) + "\n" + numbered(100),
		"cut gzip":      string(packed(t, numbered(200))[:100]),
	} {
		body = bad
		step(what, Kept, 120)
	}
	for _, s := range []int{404, 500, 302, 204, 206} {
		status = s
		step(http.StatusText(s), Kept, 120)
	}
	status = http.StatusOK
	body = numbered(60)
	step("half is not too small", Updated, 60)
	body, tag = string(packed(t, numbered(80))), `"4"`
	step("gzip", Updated, 80)
	server.Close()
	step("out of reach", Kept, 80)
	if got := testutil.ToFloat64(k.updates.WithLabelValues("l", "kept")); got != 13 {
		t.Errorf("%v failures counted", got)
	}
	if got := testutil.ToFloat64(k.domains.WithLabelValues("l")); got != 80 {
		t.Errorf("%v domains in the metric", got)
	}
	if asked[0] != "" || asked[2] != `"1"` {
		t.Errorf("asked with %q", asked)
	}

	// Another process finds it all on disk, without a server.
	other := newKeeper(t, cfg)
	other.Now = k.Now
	if err := other.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if other.Lists().Lookup([]byte("n79.example")).List != "l" {
		t.Error("the compiled file was not taken into use")
	}
	// Even when the copy is lost.
	if err := os.Remove(k.snapshotFile("l")); err != nil {
		t.Fatal(err)
	}
	other = newKeeper(t, cfg)
	other.Now = k.Now
	if _, err := other.Update(context.Background()); err == nil || other.Lists().Lookup([]byte("n79.example")).List != "l" {
		t.Errorf("a lost copy empties the lists: %v", err)
	}
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUpdateTimesOut(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, numbered(10))
		w.(http.Flusher).Flush()
		<-release
	}))
	defer server.Close()
	defer close(release)
	cfg := DefaultConfig()
	cfg.Timeout = 50 * time.Millisecond
	cfg.Lists = []ListConfig{{Name: "slow", Source: server.URL, Category: "ads"}}
	k := newKeeper(t, cfg)
	if _, err := k.Update(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if k.Lists().Lookup([]byte("n1.example")).Category != "" {
		t.Error("half a list is in use")
	}
	if k.Lists().Lookup([]byte("1177.se")).Class != Protected {
		t.Error("one list that can't be had stops the others")
	}
}

func TestPinAndPackings(t *testing.T) {
	dir := t.TempDir()
	text := numbered(10)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	tw := tar.NewWriter(&archive)
	for name, content := range map[string]string{
		"blacklists/adult/domains": "porn.example\n", "blacklists/adult/urls": "x.example/y\n", "blacklists/publicite/domains": "ad.example\n",
		"blacklists/nonsense/domains": "what.example\n", "blacklists/README": "text", "../../etc/games/domains": "game.example\n",
	} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		tw.Write([]byte(content))
	}
	tw.WriteHeader(&tar.Header{Name: "blacklists/porn", Linkname: "adult", Typeflag: tar.TypeSymlink})
	tw.Close()
	files := map[string][]byte{
		"plain": []byte(text), "list.gz": packed(t, text), "list.zst": enc.EncodeAll([]byte(text), nil), "ut1.tar.gz": packed(t, archive.String()),
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plainSum := taken(t, ListConfig{Name: "x", Source: filepath.Join(dir, "plain"), Category: "ads"}).SHA256
	cfg := DefaultConfig()
	cfg.Lists = []ListConfig{
		{Name: "pinned", Source: filepath.Join(dir, "plain"), Category: "ads", SHA256: plainSum},
		{Name: "wrong", Source: filepath.Join(dir, "plain"), Category: "ads", SHA256: strings.Repeat("ab", 32)},
		{Name: "gz", Source: filepath.Join(dir, "list.gz"), Category: "ads"},
		{Name: "zst", Source: filepath.Join(dir, "list.zst"), Category: "ads"},
		{Name: "ut1", Source: filepath.Join(dir, "ut1.tar.gz"), Format: SquidGuard, Categories: map[string]string{"publicite": "trackers"}},
	}
	k := newKeeper(t, cfg)
	r, err := k.Update(context.Background())
	if err == nil || !strings.Contains(err.Error(), "list wrong: broken list: its SHA-256 is "+plainSum) {
		t.Errorf("%v", err)
	}
	for _, l := range r.Lists {
		switch l.Name {
		case "pinned", "gz", "zst":
			if l.Domains != 10 || l.Outcome != Updated {
				t.Errorf("%+v", l)
			}
		case "wrong":
			if l.Outcome != Missing {
				t.Errorf("%+v", l)
			}
		case "ut1":
			if l.Domains != 3 || len(l.Unmapped) != 1 || l.Unmapped[0] != "nonsense" {
				t.Errorf("%+v", l)
			}
		}
	}
	for host, want := range map[string]string{"porn.example": "pornography", "ad.example": "trackers", "game.example": "games", "what.example": ""} {
		if got := k.Lists().Lookup([]byte(host)).Category; got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
	if !strings.Contains(strings.Join(r.Warnings, "\n"), "folder nonsense has no category") {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

// TestLocalFileBreaks changes a local list while the keeper runs.
func TestLocalFileBreaks(t *testing.T) {
	for _, where := range []string{"", t.TempDir()} {
		file := filepath.Join(t.TempDir(), "list")
		write := func(text string, age time.Duration) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, noon, noon.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		cfg := DefaultConfig()
		cfg.Directory = where
		cfg.Lists = []ListConfig{{Name: "l", Source: file, Category: "ads"}}
		cfg.Overrides = []Override{{"n5.example", "work", "ours"}}
		cfg.Classes["local_only"] = Limited
		k := newKeeper(t, cfg)
		outcome := func() Outcome {
			r, _ := k.Update(context.Background())
			for _, l := range r.Lists {
				if l.Name == "l" {
					if !strings.Contains(strings.Join(r.Warnings, "\n"), "no list has category local_only") {
						t.Errorf("warnings: %q", r.Warnings)
					}
					return l.Outcome
				}
			}
			return ""
		}
		write(numbered(10), 5*time.Hour)
		if o := outcome(); o != Updated {
			t.Fatal(o)
		}
		if o := outcome(); o != Unchanged {
			t.Error(o)
		}
		write("", 4*time.Hour)
		if o := outcome(); o != Kept {
			t.Error(o)
		}
		os.Remove(file)
		if o := outcome(); o != Kept {
			t.Error(o)
		}
		if k.Lists().Lookup([]byte("n9.example")).List != "l" || k.Lists().Lookup([]byte("a.n5.example")).Category != "work" {
			t.Error("the list from before is gone")
		}
		write(numbered(11), 3*time.Hour)
		if o := outcome(); o != Updated {
			t.Error(o)
		}
		if k.Lists().Lookup([]byte("n10.example")).List != "l" {
			t.Error("the new list is not in use")
		}
	}
}

// TestRunRefreshes lets Run find a new list on the server, and a file that another process compiled.
func TestRunRefreshes(t *testing.T) {
	var version atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, numbered(10+int(version.Load())))
	}))
	defer server.Close()
	cfg := DefaultConfig()
	cfg.Directory = t.TempDir()
	cfg.Lists = []ListConfig{{Name: "l", Source: server.URL, Category: "ads"}}
	k := newKeeper(t, cfg)
	var clock atomic.Int64
	k.Now = func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	k.poll = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	knows := func(host string) func() bool {
		return func() bool { return k.Lists().Lookup([]byte(host)).Category == "ads" }
	}
	until("the first list", knows("n9.example"))
	version.Store(1)
	if knows("n10.example")() {
		t.Error("asked before its time")
	}
	clock.Store(int64(cfg.Refresh))
	until("the refresh", knows("n10.example"))

	version.Store(2)
	other := newKeeper(t, cfg)
	other.Now = k.Now
	if _, err := other.Update(context.Background()); err != nil {
		t.Fatal(err)
	}
	until("another process's file", knows("n11.example"))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestKilledCompilerLeavesTheOldFile kills processes that do nothing but compile into one directory.
func TestKilledCompilerLeavesTheOldFile(t *testing.T) {
	const marker = "TILLSYN_TEST_COMPILE_FOREVER"
	if dir := os.Getenv(marker); dir != "" {
		for i := 0; ; i++ {
			cfg := DefaultConfig()
			cfg.Directory = dir
			file := filepath.Join(dir, "source")
			if err := durable.Replace(file, []byte(numbered(5000+i%3)), 0o644); err != nil {
				os.Exit(1)
			}
			cfg.Lists = []ListConfig{{Name: "l", Source: file, Category: "ads"}}
			k, err := New(cfg)
			if err == nil {
				_, err = k.Update(context.Background())
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	compiled := filepath.Join(dir, compiledFile)
	for round := range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledCompilerLeavesTheOldFile$")
		cmd.Env = append(os.Environ(), marker+"="+dir)
		var faults bytes.Buffer
		cmd.Stderr = &faults
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); round == 0; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(compiled); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal("nothing was ever compiled", faults.String())
			}
		}
		time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond) // a random point to be killed at
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("it ended by itself: %v %s", err, faults.String())
		}
		_ = cmd.Wait()
		if faults.Len() > 0 {
			t.Fatal(faults.String())
		}
		table, err := Open(compiled)
		if err == nil {
			err = table.Verify()
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if table.Lookup([]byte("www.n4999.example")).List != "l" {
			t.Fatalf("round %d: a rule is lost", round)
		}
		if snap, err := readSnapshot(filepath.Join(dir, sourcesDir, "l.snapshot")); err != nil || snap.Rules < 5000 {
			t.Fatalf("round %d: the copy: %v", round, err)
		}
	}
	sweep(dir, time.Now().Add(2*time.Hour))
	sweep(filepath.Join(dir, sourcesDir), time.Now().Add(2*time.Hour))
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestValidateNamesAllFaults(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{
		Refresh: time.Second, MaxShrink: 2,
		Classes: map[string]Class{"Bad Name": Ordinary, "x": 99},
		Lists: []ListConfig{
			{Name: "UPPER", Source: "x", Category: "ads"},
			{Name: "a", Source: "", Category: "adds"},
			{Name: "a", Source: "ftp://x.example/y", Format: "what"},
			{Name: "tillsyn-protected", Source: "http://x.example/y", SHA256: "12"},
			{Name: "plain-http", Source: "http://x.example/y"},
			{Name: "both", Source: "z", Category: "ads", Categories: map[string]string{"porn": "nothing", "x": ""}},
		},
		Overrides: []Override{{"a.example", "adz", ""}, {"se", "work", "r"}, {"not a host", "work", "r"}, {"A.example.", "work", "r"}},
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		"refresh:", "timeout:", "max_bytes:", "max_shrink:", `"Bad Name"`, "classes: x:", `"UPPER"`, "source is missing", `category "adds" is not known`,
		"the name is taken", "only https and http", `format "what"`, "lists[3] (tillsyn-protected): the name is taken", "not 64 hexadecimal", "lists[4] (plain-http): source: http can be changed",
		"exclude each other", `category "nothing"`, `category "adz"`, "reason is missing", "se is a public suffix", "overrides[2]: domain", "a.example occurs twice",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in:\n%v", want, err)
		}
	}
	lowered := DefaultConfig()
	lowered.Classes["health"] = Ordinary
	if w := lowered.Warnings(); len(w) != 1 || !strings.Contains(w[0], "health is no longer protected") {
		t.Errorf("%q", w)
	}
}
