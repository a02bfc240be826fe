package category

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/internal/durable"
)

const (
	compiledFile = "lists.compiled"
	sourcesDir   = "sources"
	pollInterval = 30 * time.Second // how soon another process's compiled file is taken into use
)

// Outcome says what an update did to one list.
type Outcome string

// The outcomes.
const (
	Updated   Outcome = "updated"   // taken anew
	Unchanged Outcome = "unchanged" // the source is as it was
	Kept      Outcome = "kept"      // the source is broken or out of reach: the copy before stays
	Missing   Outcome = "missing"   // likewise, and there is no copy from before
)

// ListReport is what an update did to one list, and the list as it now is.
type ListReport struct {
	ListInfo
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
}

// Report is what an update did.
type Report struct {
	Lists    []ListReport `json:"lists"`
	Compiled bool         `json:"compiled"` // a new table was made
	File     string       `json:"file,omitempty"`
	Info     Info         `json:"info"`
	Warnings []string     `json:"warnings,omitempty"`
}

// A Keeper takes lists from their sources, compiles them and keeps them up to date.
type Keeper struct {
	Now    func() time.Time // the clock
	Client *http.Client     // fetches sources; redirects may not leave https
	Log    *slog.Logger

	cfg    Config
	lists  Lists
	one    sync.Mutex           // one update at a time
	memory map[string]*snapshot // the copies, when there is no directory
	seen   os.FileInfo          // the compiled file in use
	poll   time.Duration

	updates *prometheus.CounterVec
	domains *prometheus.GaugeVec
	fetched *prometheus.GaugeVec
}

// New makes a keeper that has done nothing yet.
func New(cfg Config) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Keeper{
		cfg:    cfg,
		Now:    time.Now,
		Log:    slog.Default(),
		Client: &http.Client{CheckRedirect: stayEncrypted},
		memory: make(map[string]*snapshot),
		poll:   pollInterval,
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tillsyn_category_updates_total", Help: "Attempts to update a list, by outcome (updated, unchanged, kept, missing).",
		}, []string{"list", "outcome"}),
		domains: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tillsyn_category_domains", Help: "Distinct rules of a list in the compiled file in use.",
		}, []string{"list"}),
		fetched: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tillsyn_category_fetched_timestamp_seconds", Help: "When the copy of a list that is in use was taken from its source.",
		}, []string{"list"}),
	}, nil
}

func stayEncrypted(r *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return errors.New("a redirect from https to http")
	}
	return nil
}

// Lists answers the lists that the keeper keeps; it is the same all the time.
func (k *Keeper) Lists() *Lists { return &k.lists }

// Describe and Collect make the keeper a prometheus.Collector.
func (k *Keeper) Describe(ch chan<- *prometheus.Desc) {
	k.updates.Describe(ch)
	k.domains.Describe(ch)
	k.fetched.Describe(ch)
}

// Collect answers the current figures.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	k.updates.Collect(ch)
	k.domains.Collect(ch)
	k.fetched.Collect(ch)
}

// Load brings a table into use before the first lookup: the compiled file when it fits the configuration, at once and without
// asking any source; else what Compile makes.
func (k *Keeper) Load(ctx context.Context) error {
	if k.cfg.Directory != "" {
		if t, fi, err := openWith(k.file()); err == nil && t.manifest.Recipe == k.cfg.recipe() {
			k.one.Lock()
			defer k.one.Unlock()
			k.use(t, fi)
			return nil
		}
	}
	_, err := k.Compile(ctx)
	return err
}

// Run keeps the lists fresh until ctx ends: sources are asked at every refresh interval, first when the copies in use are
// that old. A compiled file that another process put into the directory is taken into use within half a minute.
func (k *Keeper) Run(ctx context.Context) error {
	if k.lists.Generation() == 0 {
		if err := k.Load(ctx); err != nil {
			k.Log.Error("no lists in use", "error", err)
		}
	}
	tick := time.NewTicker(k.poll)
	defer tick.Stop()
	next := k.lists.Info().Created.Add(k.cfg.Refresh)
	for {
		if !k.Now().Before(next) {
			report, err := k.Update(ctx)
			if err != nil && ctx.Err() == nil {
				k.Log.Error("lists were not updated; those before stay in use", "error", err)
			}
			for _, w := range report.Warnings {
				k.Log.Warn("lists", "warning", w)
			}
			next = k.Now().Add(k.cfg.Refresh)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.reload()
		}
	}
}

// reload takes a compiled file into use that this keeper did not write.
func (k *Keeper) reload() {
	if k.cfg.Directory == "" {
		return
	}
	k.one.Lock()
	defer k.one.Unlock()
	fi, err := os.Stat(k.file())
	if err != nil || k.seen != nil && os.SameFile(fi, k.seen) && fi.ModTime().Equal(k.seen.ModTime()) {
		return
	}
	t, fi, err := openWith(k.file())
	if err == nil {
		err = t.Verify()
	}
	if err != nil {
		k.Log.Error("the compiled lists on disk can't be used; those before stay in use", "error", err)
		return
	}
	k.use(t, fi)
}

func openWith(name string) (*Table, os.FileInfo, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	t, err := Open(name)
	return t, fi, err
}

func (k *Keeper) use(t *Table, fi os.FileInfo) {
	k.lists.Set(t)
	k.seen = fi
	for _, l := range t.manifest.Lists {
		k.domains.WithLabelValues(l.Name).Set(float64(l.Domains))
		k.fetched.WithLabelValues(l.Name).Set(float64(l.Fetched.Unix()))
	}
}

func (k *Keeper) file() string { return filepath.Join(k.cfg.Directory, compiledFile) }

func (k *Keeper) snapshotFile(list string) string {
	return filepath.Join(k.cfg.Directory, sourcesDir, list+".snapshot")
}

// Update asks every source once, compiles when something changed, and puts the result into use. A source that is out of reach,
// empty, mostly junk or suddenly much smaller keeps the copy from before; the error names each such list, and the report says
// the same. The table in use is always whole.
func (k *Keeper) Update(ctx context.Context) (Report, error) { return k.update(ctx, true) }

// Compile is Update without asking servers for lists of which there is a copy already.
func (k *Keeper) Compile(ctx context.Context) (Report, error) { return k.update(ctx, false) }

func (k *Keeper) update(ctx context.Context, ask bool) (Report, error) {
	k.one.Lock()
	defer k.one.Unlock()
	if k.cfg.Directory != "" {
		if err := os.MkdirAll(filepath.Join(k.cfg.Directory, sourcesDir), 0o755); err != nil {
			return Report{}, fmt.Errorf("make the directory of lists: %w", err)
		}
		sweep(k.cfg.Directory, k.Now())
		sweep(filepath.Join(k.cfg.Directory, sourcesDir), k.Now())
	}
	report := Report{Warnings: k.cfg.Warnings()}
	var (
		faults    []error
		snapshots []*snapshot
		changed   bool
	)
	classes := k.cfg.classes()
	for _, l := range k.cfg.all() {
		before := k.before(l.Name)
		now, err := k.take(ctx, l, before, ask)
		if ctx.Err() != nil {
			return Report{}, ctx.Err()
		}
		entry := ListReport{Outcome: Updated}
		switch {
		case err != nil && (before == nil || !before.known(classes)):
			entry.Outcome, entry.Error = Missing, err.Error()
			entry.Name = l.Name
		case err != nil:
			entry.Outcome, entry.Error = Kept, err.Error()
			now = before
		case now == before:
			entry.Outcome = Unchanged
		default:
			changed = true
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("list %s: %w", l.Name, err))
		}
		if now != nil {
			entry.ListInfo = now.ListInfo
			snapshots = append(snapshots, now)
			for _, folder := range now.Unmapped {
				report.Warnings = append(report.Warnings, fmt.Sprintf("list %s: folder %s has no category and was left out", l.Name, folder))
			}
		}
		k.updates.WithLabelValues(l.Name, string(entry.Outcome)).Inc()
		report.Lists = append(report.Lists, entry)
	}

	if whole := k.wholeBefore(len(snapshots)); whole != nil {
		report.Info = whole.Info()
		return report, errors.Join(faults...)
	}
	table, fi, err := k.build(ctx, snapshots, changed, &report)
	if err != nil {
		return report, errors.Join(append(faults, err)...)
	}
	k.use(table, fi)
	report.Info = table.Info()
	have := make(map[string]bool)
	for _, l := range report.Info.Lists {
		for i := range report.Lists {
			if report.Lists[i].Name == l.Name {
				report.Lists[i].ListInfo = l
			}
		}
		for c := range l.Categories {
			have[c] = true
		}
	}
	for _, c := range k.cfg.changedClasses() {
		if !have[c] {
			report.Warnings = append(report.Warnings, fmt.Sprintf("classes: no list has category %s", c))
		}
	}
	return report, errors.Join(faults...)
}

// wholeBefore answers the table in use when it has more lists than could be taken now, although the configuration is the same:
// the copy of one was lost, and its source can't be had. What is compiled still holds it.
func (k *Keeper) wholeBefore(have int) *Table {
	if len(k.cfg.Overrides) > 0 {
		have++
	}
	c := k.lists.current.Load()
	if c == nil && k.cfg.Directory != "" {
		if t, fi, err := openWith(k.file()); err == nil && t.Verify() == nil && t.manifest.Recipe == k.cfg.recipe() {
			k.use(t, fi)
			c = k.lists.current.Load()
		}
	}
	if c == nil || c.table.manifest.Recipe != k.cfg.recipe() || len(c.table.manifest.Lists) <= have {
		return nil
	}
	return c.table
}

// build answers the table that fits the snapshots: the one on disk, or a new one.
func (k *Keeper) build(ctx context.Context, snapshots []*snapshot, changed bool, report *Report) (*Table, os.FileInfo, error) {
	if k.cfg.Directory != "" {
		report.File = k.file()
		if t, fi, err := openWith(k.file()); !changed && err == nil && t.fits(k.cfg, snapshots) && t.Verify() == nil {
			return t, fi, nil
		}
	} else if c := k.lists.current.Load(); c != nil && !changed {
		return c.table, nil, nil
	}
	image, err := compile(ctx, k.cfg, snapshots, k.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("compile lists: %w", err)
	}
	report.Compiled = true
	if k.cfg.Directory == "" {
		t, err := read(image)
		return t, nil, err
	}
	err = durable.Replace(k.file(), image, 0o644)
	image = nil
	debug.FreeOSMemory() // an ingester counts its memory: what compiling took, hundreds of MiB for millions of names, goes back
	if err != nil {
		return nil, nil, fmt.Errorf("write compiled lists: %w", err)
	}
	return openWith(k.file())
}

// fits says whether the table was made of just these snapshots under this configuration.
func (t *Table) fits(cfg Config, snapshots []*snapshot) bool {
	lists := t.manifest.Lists
	if len(cfg.Overrides) > 0 && len(lists) > 0 {
		lists = lists[1:]
	}
	return t.manifest.Recipe == cfg.recipe() && slices.EqualFunc(lists, snapshots, func(l ListInfo, s *snapshot) bool {
		return l.Name == s.Name && l.SHA256 == s.SHA256
	})
}

// before answers the copy that was taken last.
func (k *Keeper) before(list string) *snapshot {
	if k.cfg.Directory == "" {
		return k.memory[list]
	}
	s, err := readSnapshot(k.snapshotFile(list))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.Log.Warn("the copy of a list can't be read; it is taken anew", "list", list, "error", err)
		}
		return nil
	}
	return s
}

// take answers before when the source has not changed, and else a new copy that is already saved.
func (k *Keeper) take(ctx context.Context, l ListConfig, before *snapshot, ask bool) (*snapshot, error) {
	t, err := newTaker(l, k.cfg.classes(), k.cfg.MaxBytes)
	if err != nil {
		return nil, err
	}
	reading := t.how()
	how := reading
	switch {
	case isBuiltin(l.Source):
		err = t.builtin(ctx)
	case isURL(l.Source) && !ask && before != nil && before.Stamp == how:
		return before, nil
	case isURL(l.Source):
		var same bool
		if same, err = k.fetch(ctx, t, how, before); same {
			return before, nil
		}
	default:
		var stamp string
		if stamp, err = localStamp(l.Source); err == nil {
			how += " " + stamp
			if before != nil && before.Stamp == how {
				return before, nil
			}
			err = t.local(ctx)
		}
	}
	if err != nil {
		return nil, withoutPlace(err)
	}
	s, err := t.finish(k.Now())
	if err != nil {
		return nil, err
	}
	s.Stamp = how
	if before != nil && before.SHA256 == s.SHA256 && before.BodySum == s.BodySum && before.Stamp == s.Stamp &&
		before.ETag == s.ETag && before.LastModified == s.LastModified {
		return before, nil
	}
	sameReading := before != nil && strings.HasPrefix(before.Stamp, reading)
	if sameReading && float64(s.Rules) < float64(before.Rules)*(1-k.cfg.MaxShrink) {
		return nil, fmt.Errorf("%w: it shrank from %d to %d domains: raise max_shrink for one update if that is right", errBroken, before.Rules, s.Rules)
	}
	if k.cfg.Directory == "" {
		k.memory[l.Name] = s
		return s, nil
	}
	if err := s.write(k.snapshotFile(l.Name)); err != nil {
		return nil, fmt.Errorf("save the copy: %w", err)
	}
	return s, nil
}

// how stands for the way a source is read: another format or category means reading it again.
func (t *taker) how() string {
	text, _ := json.Marshal(struct {
		ListConfig
		Folders map[string]string
		Known   int
	}{t.cfg, t.folders, len(t.classes)})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (t *taker) builtin(ctx context.Context) error {
	files, categories, err := builtinParts(t.cfg.Source)
	for i := 0; i < len(files) && err == nil; i++ {
		var f fs.File
		if f, err = builtinFiles.Open(files[i]); err == nil {
			err = t.list(ctx, io.TeeReader(f, t.sum), categories[i])
		}
	}
	return err
}

func (t *taker) local(ctx context.Context) error {
	fi, err := os.Stat(t.cfg.Source)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		if t.cfg.Format != "" && t.cfg.Format != Auto && t.cfg.Format != SquidGuard {
			return fmt.Errorf("a folder has format squidguard, not %s", t.cfg.Format)
		}
		t.cfg.Format = SquidGuard
		return t.tree(ctx, os.DirFS(t.cfg.Source))
	}
	f, err := os.Open(t.cfg.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.file(ctx, f)
}

// localStamp changes when a file, or a domains file of a folder, does.
func localStamp(source string) (string, error) {
	fi, err := os.Stat(source)
	if err != nil {
		return "", withoutPlace(err)
	}
	if !fi.IsDir() {
		return fmt.Sprintf("%d-%d", fi.Size(), fi.ModTime().UnixNano()), nil
	}
	sum := sha256.New()
	for _, pattern := range [...]string{"domains", "domains.gz", "domains.zst"} {
		names, err := fs.Glob(os.DirFS(source), "*/"+pattern)
		if err != nil {
			return "", err
		}
		for _, n := range names {
			if fi, err := os.Stat(filepath.Join(source, n)); err == nil {
				fmt.Fprintf(sum, "%s %d %d\n", n, fi.Size(), fi.ModTime().UnixNano())
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// withoutPlace takes paths and URLs out of an error: a URL may carry a subscription's secret, and the list has a name.
func withoutPlace(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("fetch: %w", u.Err)
	}
	var p *fs.PathError
	if errors.As(err, &p) && !errors.Is(err, errBroken) {
		return fmt.Errorf("the source can't be read: %w", p.Err)
	}
	return err
}

// fetch asks a server. It answers true when the copy from before is still what the server has.
func (k *Keeper) fetch(ctx context.Context, t *taker, how string, before *snapshot) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.cfg.Source, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", "tillsyn")
	conditional := before != nil && before.Stamp == how
	if conditional && before.ETag != "" {
		req.Header.Set("If-None-Match", before.ETag)
	}
	if conditional && before.LastModified != "" {
		req.Header.Set("If-Modified-Since", before.LastModified)
	}
	res, err := k.Client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && conditional:
		return true, nil
	case res.StatusCode != http.StatusOK:
		return false, fmt.Errorf("fetch: the server answered %d", res.StatusCode)
	case res.ContentLength > k.cfg.MaxBytes:
		return false, fmt.Errorf("%w: it is larger than max_bytes allows", errBroken)
	}

	// The body goes to a file first: a server that is slow must not hold a half-read list, and its end must be seen to come.
	f, err := os.CreateTemp(k.tempDir(), ".download.*.tmp")
	if err != nil {
		return false, err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	if _, err := io.Copy(f, &bounded{r: res.Body, left: k.cfg.MaxBytes}); err != nil {
		return false, fmt.Errorf("fetch: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	t.snap.ETag, t.snap.LastModified = res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	return false, t.file(ctx, f)
}

func (k *Keeper) tempDir() string {
	if k.cfg.Directory == "" {
		return os.TempDir()
	}
	return filepath.Join(k.cfg.Directory, sourcesDir)
}

// Write saves the table in use to a file of its own, for a machine that is to use the same one.
func (k *Keeper) Write(name string) error {
	c := k.lists.current.Load()
	if c == nil {
		return errors.New("there are no compiled lists yet")
	}
	return durable.Replace(name, c.table.data, 0o644)
}
