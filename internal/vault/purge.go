package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

const (
	purgeActor = "tillsyn.purge"

	// maxPurgeItems keeps an intent and its certificate well below the longest entry of the record.
	maxPurgeItems = 24
	// purgeSamples are how many pieces of each kind of ciphertext (keys, capsules) are looked for, at least.
	purgeSamples = 32
	// maxCertifiedHolds is how many holds a certificate lists one by one.
	maxCertifiedHolds = 100
)

// ErrRestored is when a day that a certificate says was purged has rows again: somebody has put a backup back. The purge
// that finds it removes the rows and certifies nothing; the next one certifies that they were removed again.
var ErrRestored = errors.New("a purged day has rows again")

// ErrNotVerified is when something was removed, but it is not certain that nothing of it is left: there is no certificate
// until a later purge has verified it.
var ErrNotVerified = errors.New("the purge could not be verified, so nothing is certified")

// A PurgeServer is one ClickHouse server that has the tables, signed in with the grants of purge.
type PurgeServer struct {
	Name string // as it stands in certificates: host:port, or embedded
	DB   *clickhouse.DB
}

// A Purger removes what is past its time, and proves it. Its parts must not be changed once it is used.
type Purger struct {
	Servers    []PurgeServer // every server that has the tables; the first is asked for what is to be removed
	Log        *audit.Log    //
	Signer     *seal.Signer  // of certificates
	Deployment string        // as the record has it
	Retention  Retention     //
	Config     PurgeConfig   //
	Now        func() time.Time

	// Kafka asks the brokers how long the source topics keep records. nil with Config.WithoutKafka only.
	Kafka func(context.Context) ([]KafkaTopic, error)

	// Needless are the decisions and requests, by document, that need no hold although none is on record: a gate has judged them.
	// Everything else that [UnheldOnRecord] answers stops the purge. nil: there is no gate here, and the record alone counts. It may
	// be set anew between runs.
	Needless map[string]bool

	// AcceptClock is set when somebody has looked at the clock and says that it is right.
	AcceptClock bool

	// Steady is a time that no clock setting moves, since any moment; with Anchor it tells a jump of the clock while the process
	// runs. nil: nothing is compared.
	Steady func() time.Duration
	// Anchor is Now less Steady, taken when the process began.
	Anchor time.Time

	step func(string) error // tests: called before every step, with its name
}

// A PurgeReport is what a run did.
type PurgeReport struct {
	At           time.Time
	Actions      []Action // as planned at the beginning
	Certificates []IssuedCertificate
	HeldDays     int // days of which holds in force keep something
}

// An IssuedCertificate is a certificate and the signed note that is on record.
type IssuedCertificate struct {
	Certificate
	Note     []byte
	Position audit.Position
	Proof    []byte // that the record has it there; nil: it was not asked
}

// sight is what a purge knows before it decides.
type sight struct {
	at        time.Time
	records   []audit.Record
	holds     heldState
	actions   []Action
	certified map[purgeKey]time.Time // when it was last certified
	open      []openIntent           // put on record and not certified
}

type openIntent struct {
	*PurgeIntent
	digest string
}

type purgeKey struct {
	class Class
	day   string
	hold  string
}

// Plan says what a run would do now, and does nothing.
func (p *Purger) Plan(ctx context.Context) (PurgeReport, error) {
	s, err := p.look(ctx)
	if err != nil {
		return PurgeReport{}, fmt.Errorf("plan a purge: %w", err)
	}
	return p.report(s), nil
}

func (p *Purger) report(s sight) PurgeReport {
	days := map[holdDay]bool{}
	for _, h := range s.holds.inForce() {
		for d := range h.scope {
			days[d] = true
		}
	}
	return PurgeReport{At: s.at, Actions: s.actions, HeldDays: len(days)}
}

// Run removes everything that is due and certifies it. It may be killed at any point and repeated: what was begun is on
// record and is finished first. Whatever is not certain ends it with an error, a purge.failed on record, and no certificate;
// certificates that were issued before stand in the report beside the error.
func (p *Purger) Run(ctx context.Context) (report PurgeReport, err error) {
	if err := p.ready(); err != nil {
		return report, fmt.Errorf("purge: %w", err)
	}
	unlock, err := purgeLock(ctx, p.Config.Lock, p.Config.Wait)
	if err != nil {
		return report, fmt.Errorf("purge: %w", err)
	}
	defer unlock()
	at := ""
	defer func() {
		// A clock that is wrong must not date the record, and what was interrupted has not failed.
		if err == nil || errors.Is(err, ErrClock) || ctx.Err() != nil || errors.Is(err, audit.ErrUnavailable) || errors.Is(err, errKilled) {
			return
		}
		entry := audit.Entry{Kind: audit.PurgeFailed, Actor: purgeActor, Document: at, Body: recordText(err.Error())}
		if _, e := p.Log.Append(ctx, entry); e != nil {
			err = errors.Join(err, e)
		}
	}()
	s, err := p.look(ctx)
	if err != nil {
		return report, fmt.Errorf("purge: %w", err)
	}
	if err := CheckHeld(s.records, p.Needless); err != nil {
		return report, fmt.Errorf("purge: %w", err)
	}
	report = p.report(s)
	// What was begun comes first. Then everything that is due is removed, whether or not it can be verified today.
	open := s.open
	for _, o := range open {
		at = o.digest
		if err := p.remove(ctx, o.PurgeIntent); err != nil {
			return report, fmt.Errorf("purge: %w", err)
		}
	}
	var faults []error
	done := map[purgeKey]bool{}
	for {
		if s, err = p.look(ctx); err != nil {
			return report, fmt.Errorf("purge: %w", err)
		}
		intent, err := p.intend(ctx, s, done)
		if err != nil {
			return report, fmt.Errorf("purge: %w", err)
		}
		if intent == nil {
			break
		}
		if err := p.before("intent"); err != nil {
			return report, err
		}
		if at, err = p.putOnRecord(ctx, intent); err != nil {
			return report, fmt.Errorf("purge: put the intent on record: %w", err)
		}
		if err := p.remove(ctx, intent); err != nil {
			return report, fmt.Errorf("purge: %w", err)
		}
		if again := restoredItems(intent); again != nil {
			faults = append(faults, again)
		} else {
			open = append(open, openIntent{intent, at})
		}
	}
	for _, o := range open {
		at = o.digest
		c, err := p.certify(ctx, o.PurgeIntent, o.digest)
		switch {
		case err == nil:
			report.Certificates = append(report.Certificates, c)
		case errors.Is(err, ErrNotVerified):
			faults = append(faults, err)
		default:
			return report, fmt.Errorf("purge: %w", errors.Join(append(faults, err)...))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return report, fmt.Errorf("purge: %w", err)
	}
	at = ""
	return report, p.dropScopes(ctx, s)
}

// errKilled is what tests let a step answer to stop a purge where a kill would.
var errKilled = errors.New("killed")

func (p *Purger) before(step string) error {
	if p.step != nil {
		return p.step(step)
	}
	return nil
}

func (p *Purger) ready() error {
	if len(p.Servers) == 0 || p.Log == nil || p.Signer == nil || p.Now == nil || p.Deployment == "" {
		return errors.New("it needs a server, the record, a key to sign with, a clock and the name of the deployment")
	}
	return errors.Join(p.Retention.Validate(), p.Config.Validate())
}

func recordText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsGraphic(r) || r == 0xfffd {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if len(s) > 8000 {
		s = strings.ToValidUTF8(s[:8000], "") + "\n..."
	}
	return s + "\n"
}

// look asks the record, the clocks and the first server, and plans.
func (p *Purger) look(ctx context.Context) (sight, error) {
	s := sight{at: p.Now(), certified: map[purgeKey]time.Time{}}
	var err error
	if s.records, err = p.Log.Entries(ctx); err != nil {
		return s, err
	}
	if err := p.checkClocks(ctx, s); err != nil {
		return s, err
	}
	if err := p.readRecord(&s); err != nil {
		return s, err
	}
	db := p.Servers[0].DB
	if s.holds, err = loadHolds(ctx, db, s.records, s.at); err != nil {
		return s, err
	}
	if len(p.Servers) > 1 {
		if err := p.checkReplicated(ctx); err != nil {
			return s, err
		}
	}
	partitions, err := listPartitions(ctx, db)
	if err != nil {
		return s, err
	}
	partitions = slices.DeleteFunc(partitions, func(f foundPartition) bool { return f.active == 0 })
	list := make([]Partition, len(partitions))
	today := seal.DayOf(s.at)
	for i, f := range partitions {
		list[i] = f.Partition
		class, _ := classOf(f.Table)
		if k := p.Retention.Of(class); k.Days > 0 && int(today-f.Day) >= k.Days {
			if list[i].Tenants, err = tenantsOf(ctx, db, f.Table, f.Day); err != nil {
				return s, err
			}
		}
	}
	s.actions, err = Plan(list, s.holds.known(s.at), p.Retention, s.at)
	return s, err
}

// checkClocks compares this machine's clock with everything that has one.
func (p *Purger) checkClocks(ctx context.Context, s sight) error {
	var readings []ClockReading
	for _, server := range p.Servers {
		now, ledger, err := serverTimes(ctx, server.DB)
		if err != nil {
			return fmt.Errorf("ask %s for its time: %w", server.Name, err)
		}
		readings = append(readings, ClockReading{"ClickHouse (" + server.Name + ")", now, true}, ClockReading{"the newest batch in the ledger", ledger, false})
	}
	readings = append(readings, ClockReading{"the newest entry of the record", audit.Newest(s.records), false})
	if p.Steady != nil {
		readings = append(readings, ClockReading{"its own running since the start", p.Anchor.Add(p.Steady()), true})
	}
	err := CheckClock(s.at, readings...)
	if err != nil && p.AcceptClock {
		return nil
	}
	return err
}

func serverTimes(ctx context.Context, db *clickhouse.DB) (now, ledger time.Time, err error) {
	query, err := schemas.Query("vault/purge_server")
	if err != nil {
		return now, ledger, err
	}
	err = db.Query(ctx, query, nil, func(r clickhouse.Row) error { return r.Scan(&now, &ledger) })
	if ledger.Unix() <= 0 {
		ledger = time.Time{}
	}
	return now, ledger, err
}

// readRecord finds what was certified, and the intents that were not.
func (p *Purger) readRecord(s *sight) error {
	closed := map[string]bool{}
	for _, e := range s.records {
		if e.Kind != audit.PurgeCertificate {
			continue
		}
		c, err := certificateOf(e)
		if err != nil {
			return fmt.Errorf("entry %v of the record: %w", e.Position, err)
		}
		closed[c.Intent] = true
		for _, r := range c.Removed {
			s.certified[purgeKey{r.Class, r.Day, r.Hold}] = e.At
		}
	}
	for _, e := range s.records {
		if e.Kind != audit.PurgeIntent || closed[e.Document] {
			continue
		}
		var intent PurgeIntent
		if err := seal.ParseCanonical([]byte(e.Body), &intent); err != nil || intent.Type != intentType || seal.DigestOf([]byte(e.Body)).String() != e.Document {
			return fmt.Errorf("entry %v of the record is not a purge intent as it must be", e.Position)
		}
		s.open = append(s.open, openIntent{&intent, e.Document})
	}
	return nil
}

func certificateOf(e audit.Record) (Certificate, error) {
	text, err := seal.Unsigned([]byte(e.Body))
	if err != nil {
		return Certificate{}, err
	}
	return parseCertificate(text)
}

// intend makes the intent of what is due, at most maxPurgeItems of it; nil if nothing is. It adds the items to done and leaves
// out those that were in it: what comes back while it is purged is for the verification to find.
func (p *Purger) intend(ctx context.Context, s sight, done map[purgeKey]bool) (*PurgeIntent, error) {
	db := p.Servers[0].DB
	intent := &PurgeIntent{Type: intentType, Deployment: p.Deployment, At: s.at.UTC().Format(time.RFC3339)}
	lines := map[Class]*RetentionLine{}
	for _, a := range s.actions {
		if !a.Drop {
			continue
		}
		i := slices.IndexFunc(intent.Items, func(it PurgeItem) bool { return it.Class == a.Class && it.Day == a.Date && it.Hold == a.Hold })
		if i < 0 {
			if len(intent.Items) == maxPurgeItems || done[purgeKey{a.Class, a.Date, a.Hold}] {
				continue
			}
			item := PurgeItem{Class: a.Class, Day: a.Date, Hold: a.Hold, Reason: a.Reason}
			if since, ok := s.certified[purgeKey{a.Class, a.Date, a.Hold}]; ok {
				var err error
				if item.Again, err = p.restored(ctx, item, a.Day, since); err != nil {
					return nil, err
				}
			}
			intent.Items = append(intent.Items, item)
			i = len(intent.Items) - 1
		}
		intent.Items[i].Tables = append(intent.Items[i].Tables, PurgeTable{a.Table, a.ID, a.Rows, a.Bytes})
		if a.Class == ClassHeld {
			continue
		}
		line := lines[a.Class]
		if line == nil {
			line = &RetentionLine{Class: a.Class, Days: p.Retention.Of(a.Class).Days}
			lines[a.Class] = line
		}
		for _, d := range a.Decisions {
			if !slices.Contains(line.Decisions, d) {
				line.Decisions = append(line.Decisions, d)
			}
		}
	}
	if len(intent.Items) == 0 {
		return nil, nil
	}
	for _, item := range intent.Items {
		done[purgeKey{item.Class, item.Day, item.Hold}] = true
	}
	for _, c := range Classes() {
		if line := lines[c]; line != nil {
			slices.SortFunc(line.Decisions, func(a, b RetentionDecision) int { return strings.Compare(a.Tenant, b.Tenant) })
			if len(line.Decisions) == 0 {
				// A partition whose rows name no tenant: the class's own decisions are what it goes by.
				line.Decisions = p.Retention.Of(c).Decisions
			}
			if len(line.Decisions) == 0 {
				return nil, fmt.Errorf("%w (retention.%s.decisions)", ErrNoDecision, c)
			}
			intent.Retention = append(intent.Retention, *line)
		}
	}
	each := max(4, (purgeSamples+len(intent.Items)-1)/len(intent.Items))
	intent.Samples = []PurgeSample{}
	for _, item := range intent.Items {
		for _, t := range item.Tables {
			samples, err := sampleOf(ctx, db, item, t.Table, each)
			if err != nil {
				return nil, err
			}
			intent.Samples = append(intent.Samples, samples...)
		}
	}
	var err error
	intent.Control, err = p.lookBefore(ctx, intent)
	return intent, err
}

// restored says whether rows of a certified day were there before the certificate: those that came in late are no restored ones.
func (p *Purger) restored(ctx context.Context, item PurgeItem, d seal.Day, since time.Time) (bool, error) {
	if item.Class == ClassHeld {
		return true, nil
	}
	var before, batches uint64
	for _, table := range item.Class.tables() {
		if strings.HasSuffix(table, "_keys") {
			continue
		}
		query, err := schemas.Query("vault/purge_begun_" + table)
		if err != nil {
			return false, err
		}
		err = p.Servers[0].DB.Query(ctx, query, clickhouse.Params{"day": d.String(), "since": since.UTC()}, func(r clickhouse.Row) error {
			var b, n uint64
			err := r.Scan(&b, &n)
			before, batches = before+b, batches+n
			return err
		})
		if err != nil {
			return false, fmt.Errorf("ask when the rows of %s of %s came: %w", table, d, err)
		}
	}
	return before > 0 || batches == 0, nil
}

func restoredItems(intent *PurgeIntent) error {
	var faults []error
	for _, item := range intent.Items {
		if item.Again {
			for _, t := range item.Tables {
				faults = append(faults, fmt.Errorf("%w: table %s, day %s: removed once more; look for who put a backup back", ErrRestored, t.Table, item.Day))
			}
		}
	}
	return errors.Join(faults...)
}

func sampleOf(ctx context.Context, db *clickhouse.DB, item PurgeItem, table string, n int) ([]PurgeSample, error) {
	if !strings.HasSuffix(table, "_keys") && !strings.HasSuffix(table, "_capsules") {
		return nil, nil // no ciphertext
	}
	query, err := schemas.Query("vault/purge_sample_" + table)
	if err != nil {
		return nil, err
	}
	params := clickhouse.Params{"day": item.Day, "samples": n}
	if item.Class == ClassHeld {
		params["hold"] = item.Hold
	}
	var samples []PurgeSample
	err = db.Query(ctx, query, params, func(r clickhouse.Row) error {
		s := PurgeSample{Day: item.Day}
		err := r.Scan(&s.Key, &s.Sample)
		samples = append(samples, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sample the ciphertext of %s of %s: %w", table, item.Day, err)
	}
	return samples, nil
}

func (p *Purger) putOnRecord(ctx context.Context, intent *PurgeIntent) (digest string, err error) {
	text, err := seal.Canonical(intent)
	if err != nil {
		return "", err
	}
	digest = seal.DigestOf(text).String()
	counts := map[string]int64{"items": int64(len(intent.Items))}
	if p.AcceptClock {
		counts["clock_accepted"] = 1
	}
	for _, item := range intent.Items {
		for _, t := range item.Tables {
			counts["rows"] += int64(t.Rows)
			counts["bytes"] += int64(t.Bytes)
		}
	}
	_, err = p.Log.Append(ctx, audit.Entry{Kind: audit.PurgeIntent, Actor: purgeActor, Document: digest, Counts: counts, Body: string(text)})
	return digest, err
}

// remove copies what is held, proves that it is copied, and drops the partitions: keys first.
func (p *Purger) remove(ctx context.Context, intent *PurgeIntent) error {
	db := p.Servers[0].DB
	// A hold may have been placed since the plan, and while this copies: go round until the record has nothing new.
	for {
		records, err := p.Log.Entries(ctx)
		if err != nil {
			return err
		}
		holds, err := loadHolds(ctx, db, records, p.Now())
		if err != nil {
			return err
		}
		for _, item := range intent.Items {
			if err := p.before("copy"); err != nil {
				return err
			}
			d, err := seal.ParseDay(item.Day)
			if err != nil {
				return err
			}
			for _, h := range holds.inForce() {
				if item.Class == ClassHeld && h.ID == item.Hold {
					return fmt.Errorf("%w: hold %s is in force, but its copies are to be removed", ErrHolds, h.ID)
				}
				if h.Keeps(string(item.Class), d) {
					if _, err := copyHeld(ctx, db, h.ID, holdDay{string(item.Class), d}); err != nil {
						return err
					}
				}
			}
		}
		after, err := p.Log.Entries(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(after[len(records):], func(e audit.Record) bool { return e.Kind == audit.HoldPlaced }) {
			// The third approval may have come since anybody looked.
			if err := CheckHeld(after, p.Needless); err != nil {
				return err
			}
			break
		}
	}
	for _, item := range intent.Items {
		for _, table := range item.Class.tables() {
			if err := p.before("drop " + table); err != nil {
				return err
			}
			query, err := schemas.Query("vault/purge_drop_" + table)
			if err != nil {
				return err
			}
			params := clickhouse.Params{"day": item.Day}
			if item.Class == ClassHeld {
				params["hold"] = item.Hold
			}
			if err := db.Exec(ctx, query, params); err != nil {
				return fmt.Errorf("drop the partition of %s of %s: %w", table, item.Day, err)
			}
		}
	}
	return nil
}

// certify verifies that nothing of an intent is left, and puts the certificate on record.
func (p *Purger) certify(ctx context.Context, intent *PurgeIntent, digest string) (IssuedCertificate, error) {
	var issued IssuedCertificate
	if err := p.before("verify"); err != nil {
		return issued, err
	}
	c := Certificate{Type: certificateType, Deployment: p.Deployment, Intent: digest, Begun: intent.At, Retention: intent.Retention, Holds: []CertifiedHold{},
		Backups: BackupCheck{p.Config.BackupDays, p.Config.KeyBackup}}
	if c.Retention == nil {
		c.Retention = []RetentionLine{}
	}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	c.Servers, err = p.verifyServers(ctx, intent)
	note(err)
	c.Disk, err = p.verifyDisk(ctx, intent)
	note(err)
	c.Kafka, err = p.verifyKafka(ctx)
	note(err)
	if err := errors.Join(faults...); err != nil {
		return issued, fmt.Errorf("%w:\n%w", ErrNotVerified, err)
	}
	if err := p.countHeld(ctx, intent, &c); err != nil {
		return issued, fmt.Errorf("%w: %w", ErrNotVerified, err)
	}
	holds := c.Totals.Holds
	c.Totals = c.totals()
	c.Totals.Holds = holds
	c.Finished = p.Now().UTC().Format(time.RFC3339)
	if c.Finished < c.Begun {
		c.Finished = c.Begun // the clock went back by less than what is tolerated
	}
	if c.Method, err = purgeMethod(c.Backups, c.Finished); err != nil {
		return issued, fmt.Errorf("%w: %w", ErrNotVerified, err)
	}
	c.Signer = p.Signer.Verifier()
	issued.Certificate = c
	if issued.Note, err = c.sign(p.Signer); err != nil {
		return issued, fmt.Errorf("%w: %w", ErrNotVerified, err)
	}
	if err := p.before("certificate"); err != nil {
		return issued, err
	}
	receipt, err := p.Log.Append(ctx, audit.Entry{Kind: audit.PurgeCertificate, Actor: purgeActor, Document: digest, Body: string(issued.Note), Counts: map[string]int64{
		"items": int64(c.Totals.Items), "rows": int64(c.Totals.Rows), "bytes": int64(c.Totals.Bytes), "holds": int64(c.Totals.Holds),
	}})
	if err != nil {
		return issued, err
	}
	issued.Position, issued.Proof = receipt.Position, receipt.Proof.Encode()
	return issued, p.before("certified")
}

// countHeld fills in what of the removed days lives on, under which holds.
func (p *Purger) countHeld(ctx context.Context, intent *PurgeIntent, c *Certificate) error {
	db := p.Servers[0].DB
	records, err := p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	state, err := loadHolds(ctx, db, records, p.Now())
	if err != nil {
		return err
	}
	query, err := schemas.Query("vault/purge_held_day")
	if err != nil {
		return err
	}
	holds := map[string]*CertifiedHold{}
	copies, err := heldCopies(ctx, db)
	if err != nil {
		return err
	}
	for _, item := range intent.Items {
		removed := RemovedItem{PurgeItem: item}
		d, err := seal.ParseDay(item.Day)
		if err != nil {
			return err
		}
		if item.Class == ClassWeb || item.Class == ClassMail {
			var keys, capsules uint64
			err := db.Query(ctx, query, clickhouse.Params{"kind": string(item.Class), "day": item.Day}, func(r clickhouse.Row) error { return r.Scan(&keys, &capsules) })
			if err != nil {
				return fmt.Errorf("count what is held of %s of %s: %w", item.Class, item.Day, err)
			}
			removed.Held = HoldCopies{int64(keys), int64(capsules)}
			for _, h := range state.inForce() {
				if !h.Keeps(string(item.Class), d) {
					continue
				}
				removed.Holds++
				if holds[h.ID] == nil {
					holds[h.ID] = &CertifiedHold{Hold: h.ID, Case: h.Case, Basis: h.Basis, Copies: copies[h.ID]}
				}
				holds[h.ID].Days++
			}
		}
		c.Removed = append(c.Removed, removed)
	}
	c.Totals.Holds = len(holds)
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		if len(c.Holds) < maxCertifiedHolds {
			c.Holds = append(c.Holds, *holds[id])
		}
	}
	return nil
}

// dropScopes forgets the scopes of holds that have ended and have no copies, and of those that were never placed.
func (p *Purger) dropScopes(ctx context.Context, s sight) error {
	db := p.Servers[0].DB
	gone := slices.Clone(s.holds.orphans)
	for _, h := range s.holds.list {
		copies := slices.ContainsFunc(s.actions, func(a Action) bool { return a.Hold == h.ID })
		if !h.InForce() && len(h.scope) > 0 && !copies {
			gone = append(gone, h.ID)
		}
	}
	query, err := schemas.Query("vault/purge_drop_holds")
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := db.Exec(ctx, query, clickhouse.Params{"hold": id}); err != nil {
			return fmt.Errorf("purge: forget whom hold %s was about: %w", id, err)
		}
	}
	return nil
}

// A foundPartition is a partition as a server has it, with parts that it has yet to remove.
type foundPartition struct {
	Partition
	active, parts uint64
}

var heldPartition = regexp.MustCompile(`^\('([^'\\]*)','([0-9]{4}-[0-9]{2}-[0-9]{2})'\)$`)

func listPartitions(ctx context.Context, db *clickhouse.DB) ([]foundPartition, error) {
	query, err := schemas.Query("vault/purge_partitions")
	if err != nil {
		return nil, err
	}
	var list []foundPartition
	err = db.Query(ctx, query, clickhouse.Params{"tables": allTables()}, func(r clickhouse.Row) error {
		var f foundPartition
		var name string
		if err := r.Scan(&f.Table, &f.ID, &name, &f.Rows, &f.Bytes, &f.active, &f.parts); err != nil {
			return err
		}
		text := strings.Trim(name, "'")
		if c, _ := classOf(f.Table); c == ClassHeld {
			m := heldPartition.FindStringSubmatch(name)
			if m == nil {
				return fmt.Errorf("table %s has a partition %s that is of no hold and day", f.Table, f.ID)
			}
			f.Hold, text = m[1], m[2]
		}
		if f.Day, err = seal.ParseDay(text); err != nil {
			return fmt.Errorf("table %s has a partition %s that is of no day", f.Table, f.ID)
		}
		list = append(list, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	return list, nil
}

func tenantsOf(ctx context.Context, db *clickhouse.DB, table string, d seal.Day) ([]string, error) {
	query, err := schemas.Query("vault/purge_tenants_" + table)
	if err != nil {
		return nil, err
	}
	var tenants []string
	err = db.Query(ctx, query, clickhouse.Params{"day": d.String()}, func(r clickhouse.Row) error {
		var t string
		err := r.Scan(&t)
		tenants = append(tenants, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask whose rows table %s has of %s: %w", table, d, err)
	}
	return tenants, nil
}

// Purged says which days certificates say were purged.
type Purged struct{ days map[purgeKey]bool }

// PurgedDays reads the certificates of the record. A day that was purged is never to be served again but from what is held,
// whatever the tables have: somebody may have put a backup back.
func PurgedDays(records []audit.Record) (Purged, error) {
	p := Purged{map[purgeKey]bool{}}
	for _, e := range records {
		if e.Kind != audit.PurgeCertificate {
			continue
		}
		c, err := certificateOf(e)
		if err != nil {
			return p, fmt.Errorf("entry %v of the record: %w", e.Position, err)
		}
		for _, r := range c.Removed {
			p.days[purgeKey{r.Class, r.Day, r.Hold}] = true
		}
	}
	return p, nil
}

// Has says whether the events of a kind on a day were purged.
func (p Purged) Has(kind string, d seal.Day) bool {
	return p.days[purgeKey{Class(kind), d.String(), ""}]
}
