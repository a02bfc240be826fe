package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A witness is one of C2SP tlog-witness: it co-signs what extends what it has seen of each origin.
type testWitness struct {
	name   string
	key    ed25519.PrivateKey
	trust  Trust // of the log
	server *httptest.Server

	mu   sync.Mutex
	seen map[string]tlog.Tree
	asks int
}

func newWitness(t *testing.T, name string) *testWitness {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &testWitness{name: name, key: key, seen: map[string]tlog.Tree{}}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	return w
}

func (w *testWitness) vkey() string {
	typed := append([]byte{typeCosignature}, w.key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%08x+%s", w.name, keyHash(w.name, typed), base64.StdEncoding.EncodeToString(typed))
}

func (w *testWitness) config() Witness { return Witness{URL: w.server.URL + "/", Key: w.vkey()} }

func (w *testWitness) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks++
	body, err := io.ReadAll(in.Body)
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	var old int64
	if _, e := fmt.Sscanf(lines[0], "old %d", &old); err != nil || !ok || e != nil || in.Method != http.MethodPost || in.URL.Path != "/add-checkpoint" {
		http.Error(out, "bad request", http.StatusBadRequest)
		return
	}
	path, err := parseHashes(lines[1:])
	c, err2 := w.trust.open(checkpoint)
	if err != nil || err2 != nil {
		http.Error(out, "forbidden", http.StatusForbidden)
		return
	}
	origin := w.trust.Origin(c.Segment)
	seen := w.seen[origin]
	switch {
	case old > c.Size:
		http.Error(out, "bad request", http.StatusBadRequest)
		return
	case old != seen.N:
		out.Header().Set("Content-Type", "text/x.tlog.size")
		out.WriteHeader(http.StatusConflict)
		fmt.Fprintf(out, "%d\n", seen.N)
		return
	case old == c.Size && c.Root != seen.Hash:
		http.Error(out, "conflict", http.StatusConflict)
		return
	case old > 0 && old < c.Size && tlog.CheckTree(path, c.Size, c.Root, seen.N, seen.Hash) != nil, (old == 0 || old == c.Size) && len(path) > 0:
		http.Error(out, "unprocessable", http.StatusUnprocessableEntity)
		return
	}
	w.seen[origin] = c.tree()
	text, _, _ := strings.Cut(string(checkpoint), "\n\n")
	now := uint64(time.Now().Unix())
	signature := binary.BigEndian.AppendUint64(nil, now)
	signature = append(signature, ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", now, text))...)
	typed := append([]byte{typeCosignature}, w.key.Public().(ed25519.PublicKey)...)
	hash := binary.BigEndian.AppendUint32(nil, keyHash(w.name, typed))
	fmt.Fprintf(out, "— %s %s\n", w.name, base64.StdEncoding.EncodeToString(append(hash, signature...)))
}

func TestWitnesses(t *testing.T) {
	a, b := newWitness(t, "witness.example.org/a"), newWitness(t, "witness.example.org/b")
	c := testConfig(t)
	// The witnesses must know the log's key before the log is founded with them.
	l := openLog(t, c)
	appendTo(t, l, sample(0))
	a.trust, b.trust = l.Trust(), l.Trust()
	l.Close()

	c.Witness.Witnesses, c.Witness.Timeout = []Witness{a.config(), b.config()}, 500*time.Millisecond
	c.Timeout = 2 * time.Second
	if _, err := Open(t.Context(), c, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a checkpoint that nobody co-signed is accepted: %v", err)
	}
	advisory := c
	advisory.Witness.Advisory = true
	l = openLog(t, advisory)
	r := appendTo(t, l, sample(1))
	if n := countWitnesses(t, l, r); n != 2 {
		t.Errorf("%d witnesses co-signed", n)
	}
	// Now they must.
	l = openLog(t, c)
	for i := range 5 {
		if n := countWitnesses(t, l, appendTo(t, l, sample(2+i))); n != 2 {
			t.Errorf("%d witnesses co-signed", n)
		}
	}
	if _, err := l.Rotate(t.Context(), "sec-1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, sample(8))
	report, _ := verified(t, c.Directory, l.Trust(), Memory{})
	for _, s := range report.Segments {
		if len(s.Witnesses) != 2 {
			t.Errorf("%+v", s)
		}
	}
	// Who does not know them can verify too, and is told.
	plain, err := NewTrust(l.Trust().Key())
	if err != nil {
		t.Fatal(err)
	}
	if report, _ := verified(t, c.Directory, plain, Memory{}); len(report.Notices) != 2 {
		t.Errorf("%v", report.Notices)
	}
	// A flipped bit of a co-signature is found by who knows the witness.
	files := memoryCopy(t, c.Directory)
	text := files["0002/checkpoint"].Data
	text[bytes.LastIndexByte(text, '=')-20] ^= 1
	if r, _, err := Verify(t.Context(), files, l.Trust(), Memory{}); err != nil || r.OK() {
		t.Errorf("a forged co-signature: %v %v", r, err)
	}

	// One of two is enough if the configuration says so, none never.
	b.server.Close()
	if r, err := l.Append(t.Context(), sample(9)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one witness is gone: %v %v", r.Position, err)
	}
	one := c
	one.Witness.Quorum = 1
	l = openLog(t, one)
	all, err := l.Entries(t.Context())
	if err != nil || all[len(all)-1].Counts["number"] != 9 {
		t.Errorf("the entry whose outcome was unknown: %v %v", all[len(all)-1], err)
	}
	if n := countWitnesses(t, l, appendTo(t, l, sample(10))); n != 1 {
		t.Errorf("%d witnesses co-signed", n)
	}
	a.server.Close()
	if _, err := l.Append(t.Context(), sample(11)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("both witnesses are gone: %v", err)
	}
	l = openLog(t, advisory)
	if n := countWitnesses(t, l, appendTo(t, l, sample(12))); n != 0 {
		t.Errorf("%d witnesses co-signed", n)
	}
}

func countWitnesses(t *testing.T, l *Log, r Receipt) int {
	t.Helper()
	c, err := l.Trust().Open(r.Proof.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return len(c.Witnesses)
}

// A witness does not co-sign an old copy that was put back, nor a fork: the log that does so gets no further.
func TestWitnessSeesOldCopy(t *testing.T) {
	w := newWitness(t, "witness.example.org")
	c := testConfig(t)
	l := openLog(t, c)
	w.trust = l.Trust()
	l.Close()
	c.Witness.Witnesses, c.Witness.Timeout, c.Witness.Advisory = []Witness{w.config()}, time.Second, true
	l = openLog(t, c)
	appendTo(t, l, sample(1))
	old := copyLog(t, c)
	for i := range 4 {
		appendTo(t, l, sample(2+i))
	}
	old.Witness = c.Witness
	old.Witness.Advisory = false
	l = openLog(t, old)
	for i := range 6 {
		if _, err := l.Append(t.Context(), sample(100+i)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("the fork's entry %d: %v", i, err)
		} else if strings.Contains(err.Error(), w.server.URL) {
			t.Errorf("the error carries an address: %v", err)
		}
	}
}

// What a witness answers is not believed.
func TestWitnessLies(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":       func(w http.ResponseWriter, _ *http.Request) {},
		"junk":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1<<20)) },
		"a size beyond": func(w http.ResponseWriter, _ *http.Request) { conflict(w, "999999999999") },
		"no size":       func(w http.ResponseWriter, _ *http.Request) { conflict(w, "-1") },
		"always 0":      func(w http.ResponseWriter, _ *http.Request) { conflict(w, "0") },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			w := newWitness(t, "witness.example.org")
			c := testConfig(t)
			openLog(t, c).Close()
			c.Witness = WitnessConfig{Witnesses: []Witness{{URL: server.URL, Key: w.vkey()}}, Timeout: 500 * time.Millisecond, Advisory: true}
			l := openLog(t, c)
			appendTo(t, l, sample(1))
			required := c
			required.Witness.Advisory = false
			l.config = required
			if _, err := l.Append(t.Context(), sample(2)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("it is believed: %v", err)
			}
		})
	}
}

func conflict(w http.ResponseWriter, size string) {
	w.Header().Set("Content-Type", "text/x.tlog.size")
	w.WriteHeader(http.StatusConflict)
	fmt.Fprintln(w, size)
}

// The log's key: never made anew, never overwritten, never another.
func TestLogKey(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	appendTo(t, l, sample(1))
	vkey := l.Trust().Key()
	text, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := note.NewVerifier(vkey); err != nil || v.Name() != "example.org/test/audit" {
		t.Errorf("%v %v", v, err)
	}
	if s, err := note.NewSigner(strings.TrimSpace(string(text))); err != nil || s.Name() != "example.org/test/audit" {
		t.Errorf("%v", err)
	}
	if again, err := NewTrust(vkey); err != nil || again.Key() != vkey {
		t.Errorf("%v", err)
	}
	for _, wrong := range []string{"", "x", vkey + "A", vkey[:len(vkey)-4], strings.Replace(vkey, "test", "best", 1), strings.Replace(vkey, "/audit+", "+", 1), vkey + "\n"} {
		if _, err := NewTrust(wrong); !errors.Is(err, ErrKey) {
			t.Errorf("the key %q: %v", wrong, err)
		}
	}
	refused := func(name string, c Config, want error) {
		t.Helper()
		before := snapshot(t, c.Directory)
		if _, err := Open(t.Context(), c, nil); !errors.Is(err, ErrUnavailable) || !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), strings.Split(string(text), "+")[4]) {
			t.Errorf("%s: the error carries the key", name)
		}
		if snapshot(t, c.Directory) != before {
			t.Errorf("%s: the log was changed", name)
		}
	}
	if err := os.Remove(c.Key); err != nil {
		t.Fatal(err)
	}
	refused("key gone", c, ErrKey)
	if _, err := os.Stat(c.Key); err == nil {
		t.Error("another key was made")
	}
	other := testConfig(t)
	openLog(t, other)
	replaced, err := os.ReadFile(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(c.Key)
		if err := os.WriteFile(c.Key, text, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(replaced, 0o600)
	refused("key replaced", c, ErrRecord)
	write(text[:len(text)-10], 0o600)
	refused("key cut", c, ErrKey)
	write(nil, 0o600)
	refused("key empty", c, ErrKey)
	write(text, 0o644)
	refused("key readable by all", c, ErrKey)
	write(text, 0o600)
	renamed := c
	renamed.Deployment = "example.org/renamed"
	refused("deployment changed", renamed, ErrKey)
	if err := os.RemoveAll(c.Directory); err != nil {
		t.Fatal(err)
	}
	refused2 := func() error { _, err := Open(t.Context(), c, nil); return err }()
	if !errors.Is(refused2, ErrRecord) {
		t.Errorf("a key whose log is gone founds another: %v", refused2)
	}
	if s := fmt.Sprintf("%v %+v %#v", l.key, l.key, l.key); strings.Contains(s, "[") && !strings.Contains(s, "redacted") {
		t.Errorf("the key prints as %s", s)
	}
}

// A process that dies while it founds the log: the next one founds it, or goes on.
func TestKilledWhileFounding(t *testing.T) {
	c := testConfig(t)
	l := openLog(t, c)
	aside := l.aside(1)
	l.Close()
	if err := os.Rename(l.path(1), aside); err != nil {
		t.Fatal(err)
	}
	// The key is there, the segment not yet.
	l = openLog(t, c)
	appendTo(t, l, sample(1))
	l.Close()
	// The segment is built, the key not yet written.
	d := testConfig(t)
	l = openLog(t, d)
	if err := errors.Join(os.Rename(l.path(1), l.aside(1)), os.Remove(d.Key)); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, d)
	appendTo(t, l, sample(1))
	verified(t, d.Directory, l.Trust(), Memory{})
}

func TestConfigFaults(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	c := Config{Deployment: "Å+", Witness: WitnessConfig{Witnesses: []Witness{{URL: "ftp://x", Key: "y"}}, Quorum: 2}}
	err := c.Validate()
	for _, word := range []string{"directory", "key", "deployment", "timeout", "retention", "witness.witnesses[0].url", "witness.witnesses[0].key", "witness.quorum", "witness.timeout"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not in %v", word, err)
		}
	}
}
