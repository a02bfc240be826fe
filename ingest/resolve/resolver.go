package resolve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Who is what a line is about: the group that statistics name, and the subject that they must not.
type Who struct {
	Tenant     string  // organisation, by its configured name
	Population string  // one of Populations, or PopulationUnknown
	Unit       string  // group of the directory, or UnitUnknown
	Subject    Subject // the person, or the address of a line without user; zero if the line has neither
	Listed     bool    // the directory has the user by name: the answer is the same at every address
}

// Options are what a Resolver takes from its surroundings. The zero value is usable.
type Options struct {
	Now    func() time.Time // clock; nil: time.Now
	Logger *slog.Logger     // for broken files and swaps; nil: slog.Default
}

// Resolver resolves subjects and countries, and swaps its files when they change. It may be used by many goroutines; the
// hot path goes through a Memo each.
type Resolver struct {
	config    Config
	now       func() time.Time
	log       *slog.Logger
	scopes    map[string]scope
	locations map[string]*time.Location
	fallback  *time.Location

	directory  atomic.Pointer[Directory]
	country    atomic.Pointer[CountryDatabase]
	generation atomic.Uint64

	mu      sync.Mutex // held by Reload; guards the files
	files   []*file
	metrics metrics
}

// A file is one of the two that are watched.
type file struct {
	name   string // "directory" or "country", in errors and metrics
	path   string
	read   func(path string) error // reads, checks and swaps
	loaded stamp                   // of what is in use
	failed stamp                   // of what was found broken; it is tried again, since a mode can be mended without a trace
	seen   stamp                   // of the last look
	fault  error                   // why the file on disk is not in use
}

// A stamp tells one content of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
}

func (s stamp) equal(t stamp) bool { return s.size == t.size && s.modified.Equal(t.modified) }

type metrics struct {
	reloads *prometheus.CounterVec
	broken  *prometheus.GaugeVec
	loaded  *prometheus.GaugeVec
	rows    prometheus.Gauge
	lookups prometheus.Counter
}

// New answers a Resolver that has read nothing yet: before Load, everybody and every country is unknown.
func New(c Config, o Options) (*Resolver, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	r := &Resolver{
		config: c, now: o.Now, log: o.Logger,
		scopes: map[string]scope{}, locations: map[string]*time.Location{},
		metrics: metrics{
			reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "tillsyn_resolve_reloads_total", Help: "Files of the resolver that were read, by file and outcome.",
			}, []string{"file", "outcome"}),
			broken: prometheus.NewGaugeVec(prometheus.GaugeOpts{
				Name: "tillsyn_resolve_broken", Help: "1 while the file on disk cannot be used and the one before it is.",
			}, []string{"file"}),
			loaded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
				Name: "tillsyn_resolve_loaded_timestamp_seconds", Help: "When the file in use was read, as Unix time.",
			}, []string{"file"}),
			rows: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "tillsyn_resolve_directory_rows", Help: "Rows of the directory in use.",
			}),
			lookups: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "tillsyn_resolve_country_errors_total", Help: "Addresses whose country could not be read from the database.",
			}),
		},
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	for _, t := range c.Tenants {
		r.scopes[t.Name] = scope{t.Name, t.Serves}
		r.locations[t.Name], _ = t.location() // Validate has loaded it before
	}
	r.fallback, _ = Tenant{}.location()
	r.directory.Store(newDirectory())
	if c.Directory != "" {
		r.files = append(r.files, &file{name: "directory", path: c.Directory, read: r.readDirectory})
	}
	if c.Country != "" {
		r.files = append(r.files, &file{name: "country", path: c.Country, read: r.readCountry})
	}
	return r, nil
}

func (r *Resolver) readDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := ReadDirectory(f, r.config.Tenants)
	if err != nil {
		return err
	}
	r.directory.Store(d)
	r.metrics.rows.Set(float64(d.Rows()))
	return nil
}

func (r *Resolver) readCountry(path string) error {
	db, err := OpenCountry(path)
	if err != nil {
		return err
	}
	r.country.Store(db)
	return nil
}

// Load reads both files now. An ingester calls it before its first line and stops at an error: lines that were counted
// without a directory are not counted again.
func (r *Resolver) Load() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for _, f := range r.files {
		now, err := stat(f.path)
		if err != nil {
			faults = append(faults, r.failed(f, stamp{}, err))
			continue
		}
		faults = append(faults, r.load(f, now))
	}
	return errors.Join(faults...)
}

// Reload looks at both files and swaps in what has changed and has stood still since the Reload before, so that a file
// that is just being written is not taken half. It answers what is wrong with files that cannot be used; what was in use
// stays in use then.
func (r *Resolver) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for _, f := range r.files {
		now, err := stat(f.path)
		if err != nil {
			faults = append(faults, r.failed(f, stamp{}, err))
			continue
		}
		still := now.equal(f.seen)
		f.seen = now
		switch {
		case now.equal(f.loaded):
			r.mended(f)
		case !still:
			faults = append(faults, f.fault)
		default:
			faults = append(faults, r.load(f, now))
		}
	}
	return errors.Join(faults...)
}

func (r *Resolver) load(f *file, now stamp) error {
	f.seen = now
	if err := f.read(f.path); err != nil {
		return r.failed(f, now, err)
	}
	// The pointer is stored, now the number: a memo that still sees the old number keeps a new answer at worst, and drops
	// it at its next call.
	r.generation.Add(1)
	after, err := stat(f.path)
	if err != nil || !after.equal(now) {
		// It was written to while it was read: what was read is whole by its own checks, but read it again.
		now = stamp{}
	}
	f.loaded = now
	r.metrics.reloads.WithLabelValues(f.name, "success").Inc()
	r.metrics.loaded.WithLabelValues(f.name).Set(float64(r.now().UnixMilli()) / 1000)
	r.log.Info("resolve: file read", "file", f.name)
	r.mended(f)
	return nil
}

func (r *Resolver) failed(f *file, at stamp, err error) error {
	err = fmt.Errorf("resolve: %s file %q: %w", f.name, f.path, err)
	if f.fault == nil || f.fault.Error() != err.Error() || !f.failed.equal(at) {
		r.metrics.reloads.WithLabelValues(f.name, "failure").Inc()
		r.metrics.broken.WithLabelValues(f.name).Set(1)
		r.log.Error("resolve: file cannot be used; what was in use stays", "file", f.name, "error", err)
	}
	f.failed, f.fault = at, err
	return err
}

func (r *Resolver) mended(f *file) {
	f.failed, f.fault = stamp{}, nil
	r.metrics.broken.WithLabelValues(f.name).Set(0)
}

func stat(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, errors.New("this is no regular file")
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// Run reloads every Config.Refresh until ctx ends, and returns nil then. Files that cannot be used are logged and counted.
func (r *Resolver) Run(ctx context.Context) error {
	tick := time.NewTicker(r.config.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = r.Reload() // each file logs its own fault, once
		}
	}
}

// Healthy answers nil, or why a file on disk is not the one in use.
func (r *Resolver) Healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for _, f := range r.files {
		faults = append(faults, f.fault)
	}
	return errors.Join(faults...)
}

// Generation is a number that grows whenever a file was swapped.
func (r *Resolver) Generation() uint64 { return r.generation.Load() }

// Who resolves the subject of a line of a source of sourceTenant: by user name, else by source address. user is
// user.name as the line has it, nil or empty for none; ip is source.ip, the zero Addr for none. The answer is never
// empty: see UnitUnknown. Who may allocate; the hot path calls Memo.Who.
func (r *Resolver) Who(sourceTenant string, user []byte, ip netip.Addr) Who {
	w := r.byUser(sourceTenant, user)
	if w.Listed {
		return w
	}
	return withSubject(r.byAddr(sourceTenant, canonicalAddr(ip)), w.Subject)
}

// withSubject gives w, which was found by address, the subject of the user, if there is one.
func withSubject(w Who, user Subject) Who {
	if !user.IsZero() {
		w.Subject = user
	}
	return w
}

func (r *Resolver) scope(sourceTenant string) scope {
	if s, ok := r.scopes[sourceTenant]; ok {
		return s
	}
	return scope{source: sourceTenant}
}

func (r *Resolver) byUser(sourceTenant string, user []byte) Who {
	name := CanonicalUser(user)
	found, ok := r.directory.Load().user(r.scope(sourceTenant), name)
	w := found.who(sourceTenant, newSubject(name))
	w.Listed = ok
	return w
}

func (r *Resolver) byAddr(sourceTenant string, ip netip.Addr) Who {
	found, _ := r.directory.Load().subnet(r.scope(sourceTenant), ip)
	subject := Subject{}
	if ip.IsValid() {
		subject = newSubject(ip.String())
	}
	return found.who(sourceTenant, subject)
}

// Mail resolves one of our people by mail address; false means that the directory does not have it, and the subject is
// the canonical address then too.
func (r *Resolver) Mail(sourceTenant string, address []byte) (Who, bool) {
	mail, valid := canonicalMail(CanonicalUser(address))
	if !valid {
		return row{}.who(sourceTenant, newSubject(CanonicalUser(address))), false
	}
	found, ok := r.scope(sourceTenant).exact(r.directory.Load().mails, mail)
	return found.who(sourceTenant, newSubject(mail)), ok
}

// who answers what r says; the zero row says that all is unknown. A user is who the row names, however the line spells it:
// people are counted by subject, and one person under three spellings would pass for three.
func (r row) who(sourceTenant string, subject Subject) Who {
	if r.unit == "" {
		return Who{Tenant: sourceTenant, Population: PopulationUnknown, Unit: UnitUnknown, Subject: subject}
	}
	if r.tenant == "" {
		r.tenant = sourceTenant
	}
	if r.user != "" {
		subject = newSubject(r.user)
	}
	return Who{Tenant: r.tenant, Population: r.population, Unit: r.unit, Subject: subject}
}

// Country answers the ISO 3166-1 alpha-2 code of the country of ip, or CountryUnknown.
func (r *Resolver) Country(ip netip.Addr) string {
	db := r.country.Load()
	if db == nil {
		return CountryUnknown
	}
	code, err := db.Lookup(ip)
	if err != nil {
		r.metrics.lookups.Inc()
	}
	return code
}

// Location answers the time zone in which the statistics days of tenant begin: DefaultTimeZone for one that is not
// configured.
func (r *Resolver) Location(tenant string) *time.Location {
	if l, ok := r.locations[tenant]; ok {
		return l
	}
	return r.fallback
}

// Describe sends the descriptions of the metrics of r to ch: with Collect, a Resolver is a prometheus.Collector.
func (r *Resolver) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range r.collectors() {
		c.Describe(ch)
	}
}

// Collect sends the metrics of r to ch. No label of them holds anything personal.
func (r *Resolver) Collect(ch chan<- prometheus.Metric) {
	for _, c := range r.collectors() {
		c.Collect(ch)
	}
}

func (r *Resolver) collectors() []prometheus.Collector {
	m := r.metrics
	return []prometheus.Collector{m.reloads, m.broken, m.loaded, m.rows, m.lookups}
}
