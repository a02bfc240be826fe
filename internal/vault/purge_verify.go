package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

// An Overdue is something that lives past its time, or hides where no query sees it.
type Overdue struct {
	Server string `json:"server"`
	Table  string `json:"table"`
	Day    string `json:"day"`   // YYYY-MM-DD; empty where a name does not say
	Late   int    `json:"late"`  // days past its time, from 0: it went past it today
	Where  string `json:"where"` // partition, or the path of a copy
}

// Overdue looks for everything that lives past its time, on every server and, where it can be reached, on disk. Retention
// decisions don't matter here: above its days, and above the ceiling, nothing should be.
func (p *Purger) Overdue(ctx context.Context) ([]Overdue, error) {
	fail := func(err error) ([]Overdue, error) { return nil, fmt.Errorf("look for what is past its time: %w", err) }
	if len(p.Servers) == 0 || p.Log == nil || p.Now == nil {
		return fail(errors.New("it needs a server, the record and a clock"))
	}
	records, err := p.Log.Entries(ctx)
	if err != nil {
		return fail(err)
	}
	now := p.Now()
	released := map[string]time.Time{}
	for _, h := range holdsOnRecord(records) {
		if !h.InForce() {
			released[h.ID] = h.Released
		}
	}
	today := seal.DayOf(now)
	late := func(table string, d seal.Day) (int, bool) {
		class, _ := classOf(table)
		days := p.Retention.Of(class).Days
		if days == 0 && class.identifiable() {
			days = MaxDays
		}
		n := int(today-d) - days
		return n, days > 0 && n >= 0
	}
	var list []Overdue
	for _, server := range p.Servers {
		partitions, err := listPartitions(ctx, server.DB)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", server.Name, err))
		}
		for _, f := range partitions {
			class, _ := classOf(f.Table)
			if class == ClassHeld {
				if at, ok := released[f.Hold]; ok {
					list = append(list, Overdue{server.Name, f.Table, f.Day.String(), int(now.Sub(at) / (24 * time.Hour)), "copies of hold " + f.Hold + ", which has ended"})
				}
				continue
			}
			if n, ok := late(f.Table, f.Day); ok {
				list = append(list, Overdue{server.Name, f.Table, f.Day.String(), n, "partition " + f.ID})
			}
		}
		aside, err := detachedParts(ctx, server.DB)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", server.Name, err))
		}
		for _, a := range aside {
			if past, d, n := p.pastTime(a.table, a.partition, today, nil); past {
				list = append(list, Overdue{server.Name, a.table, d, n, "detached part " + a.path})
			}
		}
	}
	if len(p.Config.DataPaths) > 0 {
		search, err := p.diskSearch(ctx, func(table, partition string) bool {
			past, _, _ := p.pastTime(table, partition, today, nil)
			return past
		})
		if err != nil {
			return fail(err)
		}
		_, found, err := search.run(ctx, nil, nil)
		if err != nil {
			return fail(err)
		}
		for _, path := range found {
			if !slices.ContainsFunc(list, func(o Overdue) bool { return strings.HasSuffix(o.Where, path) }) {
				list = append(list, Overdue{Server: p.Servers[0].Name, Where: path})
			}
		}
	}
	return list, nil
}

// pastTime says whether a part of a partition must not be anywhere: its day is past its time, or it is one of those that
// were removed, or its name does not say what it is.
func (p *Purger) pastTime(table, partition string, today seal.Day, removed map[string]bool) (past bool, day string, late int) {
	if removed[table+" "+partition] || partition == "" {
		return true, "", 0
	}
	class, ok := classOf(table)
	if !ok || class == ClassHeld {
		return false, "", 0
	}
	at, err := time.Parse("20060102", partition)
	if err != nil {
		return true, "", 0
	}
	d := seal.DayOf(at)
	days := p.Retention.Of(class).Days
	if days == 0 && class.identifiable() {
		days = MaxDays
	}
	late = int(today-d) - days
	return days > 0 && late >= 0, d.String(), late
}

type detachedPart struct{ table, partition, path string }

func detachedParts(ctx context.Context, db *clickhouse.DB) ([]detachedPart, error) {
	query, err := schemas.Query("vault/purge_detached")
	if err != nil {
		return nil, err
	}
	var list []detachedPart
	err = db.Query(ctx, query, clickhouse.Params{"tables": allTables()}, func(r clickhouse.Row) error {
		var d detachedPart
		var name string
		if err := r.Scan(&d.table, &d.partition, &name, &d.path); err != nil {
			return err
		}
		if m := partName.FindStringSubmatch(name); m != nil && d.partition == "" {
			d.partition = m[1]
		}
		list = append(list, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list detached parts: %w", err)
	}
	return list, nil
}

// removedPartitions are the partitions of an intent, as "table id".
func removedPartitions(intent *PurgeIntent) map[string]bool {
	removed := map[string]bool{}
	for _, item := range intent.Items {
		for _, t := range item.Tables {
			removed[t.Table+" "+t.Partition] = true
		}
		// A table of the class that had no rows then must have none now.
		if len(item.Tables) > 0 && item.Class != ClassHeld {
			for _, table := range item.Class.tables() {
				removed[table+" "+item.Tables[0].Partition] = true
			}
		}
	}
	return removed
}

// verifyServers asks every server until nothing of the intent is left, also not of what it has yet to remove, or
// Config.Settle is over.
func (p *Purger) verifyServers(ctx context.Context, intent *PurgeIntent) ([]ServerCheck, error) {
	removed := removedPartitions(intent)
	today := seal.DayOf(p.Now())
	var checks []ServerCheck
	var faults []error
	for _, server := range p.Servers {
		check := ServerCheck{Server: server.Name, Version: server.DB.Version()}
		var err error
		if check.Host, err = hostOf(ctx, server.DB); err != nil {
			return checks, fmt.Errorf("ask %s for its name: %w", server.Name, err)
		}
		deadline := time.Now().Add(p.Config.Settle)
		for {
			partitions, err := listPartitions(ctx, server.DB)
			if err != nil {
				return checks, fmt.Errorf("ask %s for its parts: %w", server.Name, err)
			}
			partitions = slices.DeleteFunc(partitions, func(f foundPartition) bool { return !removed[f.Table+" "+f.ID] })
			check.Parts = 0
			waiting := true
			var left []error
			for _, f := range partitions {
				check.Parts += int(f.parts)
				// A drop that was killed leaves a part without rows, which the server removes by itself.
				waiting = waiting && (f.active == 0 || f.Rows == 0)
				left = append(left, fmt.Errorf("%s still has %d parts of %s of %s", server.Name, f.parts, f.Table, f.Day))
			}
			if len(partitions) == 0 || !waiting || time.Now().After(deadline) {
				faults = append(faults, left...)
				break
			}
			select {
			case <-ctx.Done():
				return checks, ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		aside, err := detachedParts(ctx, server.DB)
		if err != nil {
			return checks, fmt.Errorf("ask %s for detached parts: %w", server.Name, err)
		}
		for _, a := range aside {
			if past, _, _ := p.pastTime(a.table, a.partition, today, removed); past {
				check.Detached++
				faults = append(faults, fmt.Errorf("%s has a detached part of table %s that is past its time: %s", server.Name, a.table, a.path))
			}
		}
		checks = append(checks, check)
	}
	return checks, errors.Join(faults...)
}

func (p *Purger) diskSearch(ctx context.Context, past func(table, partition string) bool) (diskSearch, error) {
	s := diskSearch{roots: p.Config.DataPaths, tables: map[string][]string{}, past: past}
	query, err := schemas.Query("vault/purge_tables")
	if err != nil {
		return s, err
	}
	err = p.Servers[0].DB.Query(ctx, query, clickhouse.Params{"tables": allTables()}, func(r clickhouse.Row) error {
		var name, engine string
		var paths []string
		if err := r.Scan(&name, &engine, &paths); err != nil {
			return err
		}
		s.tables[name] = paths
		return nil
	})
	if err == nil && len(s.tables) != len(allTables()) {
		err = fmt.Errorf("it shows %d of %d tables", len(s.tables), len(allTables()))
	}
	if err != nil {
		return s, fmt.Errorf("ask %s where its tables are: %w", p.Servers[0].Name, err)
	}
	if query, err = schemas.Query("vault/purge_disks"); err != nil {
		return s, err
	}
	err = p.Servers[0].DB.Query(ctx, query, nil, func(r clickhouse.Row) error {
		var d serverDisk
		err := r.Scan(&d.name, &d.path, &d.kind, &d.remote, &d.encrypted)
		s.disks = append(s.disks, d)
		return err
	})
	if err == nil && len(s.disks) == 0 {
		err = errors.New("it shows none")
	}
	if err != nil {
		return s, fmt.Errorf("ask %s for its disks: %w", p.Servers[0].Name, err)
	}
	return s, nil
}

func hostOf(ctx context.Context, db *clickhouse.DB) (host string, err error) {
	query, err := schemas.Query("vault/purge_host")
	if err == nil {
		err = db.Query(ctx, query, nil, func(r clickhouse.Row) error { return r.Scan(&host) })
	}
	return host, err
}

// lookBefore looks for the sampled ciphertext on disk while it must be there. That the directories can't be examined is for the
// verification to say: what is due is removed all the same.
func (p *Purger) lookBefore(ctx context.Context, intent *PurgeIntent) (PurgeControl, error) {
	var control PurgeControl
	if p.Config.WithoutDisk || len(p.Config.DataPaths) == 0 || len(intent.Samples) == 0 {
		return control, nil
	}
	search, err := p.diskSearch(ctx, nil)
	if err != nil {
		return control, err
	}
	for range 3 { // a merge may move everything from where it is looked for
		control.Found, err = search.before(ctx, intent.Samples, removedPartitions(intent))
		control.Searched = err == nil
		if err != nil || control.Found > 0 || ctx.Err() != nil {
			break
		}
	}
	return control, ctx.Err()
}

// verifyDisk looks for frozen, detached and temporary copies, and for the sampled ciphertext, on the disks of the first server. It
// is not content with directories that do not have what that server stores.
func (p *Purger) verifyDisk(ctx context.Context, intent *PurgeIntent) (DiskCheck, error) {
	none := DiskCheck{Unexamined: []string{}}
	for _, server := range p.Servers {
		none.Unexamined = append(none.Unexamined, server.Name)
	}
	if p.Config.WithoutDisk {
		return none, nil
	}
	if len(p.Config.DataPaths) == 0 {
		return none, fmt.Errorf("%w: its data directories were not named, so nobody can say that nothing is left there: "+
			"run the purge on the ClickHouse machine with retention.purge.data_paths, or set without_disk, and certificates say so", errNotExamined)
	}
	first := p.Servers[0]
	living, err := livingKeys(ctx, first.DB, intent.Samples)
	if err != nil {
		return none, err
	}
	samples := slices.DeleteFunc(slices.Clone(intent.Samples), func(s PurgeSample) bool { return living[s.Day+" "+s.Key] })
	removed, today := removedPartitions(intent), seal.DayOf(p.Now())
	search, err := p.diskSearch(ctx, func(table, partition string) bool {
		past, _, _ := p.pastTime(table, partition, today, removed)
		return past
	})
	if err != nil {
		return none, err
	}
	marker, unmark, err := p.mark(ctx)
	if err != nil {
		return none, errors.Join(err, unmark())
	}
	check, found, err := search.run(ctx, samples, marker)
	err = errors.Join(err, unmark())
	check.StillHeld, check.Control, check.Unexamined = len(intent.Samples)-len(samples), intent.Control, none.Unexamined[1:]
	if err == nil {
		check.Server = first.Name
		check.Host, err = hostOf(ctx, first.DB)
	}
	faults := []error{err}
	for _, path := range found {
		faults = append(faults, fmt.Errorf("a copy of what was removed, or of what is past its time, is on disk: %s", path))
	}
	if intent.Control.Searched && intent.Control.Found == 0 && len(intent.Samples) > 0 {
		faults = append(faults, fmt.Errorf("%w: of %d pieces of ciphertext none stood in the data directories before it was removed either, so that none does now says nothing: "+
			"name the server's own directories in retention.purge.data_paths; for what is removed already set without_disk, and the certificate says so", errNotExamined, len(intent.Samples)))
	}
	return check, errors.Join(faults...)
}

// mark lets the first server store something that stands nowhere else, and answers it. It is a scope of a hold that was never
// placed: it keeps nothing, and if this process is killed a later purge removes it.
func (p *Purger) mark(ctx context.Context) (marker []byte, unmark func() error, err error) {
	var salt [32]byte
	rand.Read(salt[:])
	db := p.Servers[0].DB
	scope := HoldScope{Rows: []HoldRow{{Kind: "marker", Day: seal.DayOf(p.Now())}}}
	id := HoldID(scope.digest(salt))
	unmark = func() error {
		query, err := schemas.Query("vault/purge_drop_holds")
		if err == nil {
			err = db.Exec(context.WithoutCancel(ctx), query, clickhouse.Params{"hold": id})
		}
		if err != nil {
			return fmt.Errorf("remove the marker from %s: %w", p.Servers[0].Name, err)
		}
		return nil
	}
	if err := (HoldRegister{DB: db, Now: p.Now}).insert(ctx, id, salt, scope); err != nil {
		return nil, unmark, fmt.Errorf("store a marker on %s: %w", p.Servers[0].Name, err)
	}
	return salt[8:][:sampleSize], unmark, nil
}

// livingKeys answers which of the sampled keys still have rows by right, as "day key".
func livingKeys(ctx context.Context, db *clickhouse.DB, samples []PurgeSample) (map[string]bool, error) {
	query, err := schemas.Query("vault/purge_living_keys")
	if err != nil {
		return nil, err
	}
	byDay := map[string][]string{}
	for _, s := range samples {
		byDay[s.Day] = append(byDay[s.Day], s.Key)
	}
	living := map[string]bool{}
	for day, keys := range byDay {
		err := db.Query(ctx, query, clickhouse.Params{"day": day, "keys": keys}, func(r clickhouse.Row) error {
			var key string
			err := r.Scan(&key)
			living[day+" "+key] = true
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("ask which sampled keys are held: %w", err)
		}
	}
	return living, nil
}

// verifyKafka asks how long the source topics keep what was removed here.
func (p *Purger) verifyKafka(ctx context.Context) (KafkaCheck, error) {
	check := KafkaCheck{LimitDays: p.Config.KafkaDays, Topics: []KafkaTopic{}}
	if p.Config.WithoutKafka {
		return check, nil
	}
	if p.Kafka == nil {
		return check, errors.New("no Kafka is configured: if none belongs to this installation, set retention.purge.without_kafka, and certificates say so")
	}
	topics, err := p.Kafka(ctx)
	if err != nil {
		return check, fmt.Errorf("ask Kafka how long the source topics keep records: %w", err)
	}
	check.Asked, check.Topics = true, topics
	if len(topics) == 0 {
		return check, errors.New("no source topic was found in Kafka")
	}
	var faults []error
	for _, t := range topics {
		if err := t.check(check.LimitDays); err != nil {
			faults = append(faults, err)
		}
	}
	return check, errors.Join(faults...)
}

// checkReplicated refuses several servers whose tables are not copies of one another: nobody could tell a shard, which must
// be purged too, from a spare.
func (p *Purger) checkReplicated(ctx context.Context) error {
	query, err := schemas.Query("vault/purge_tables")
	if err != nil {
		return err
	}
	var faults []error
	for _, server := range p.Servers {
		err := server.DB.Query(ctx, query, clickhouse.Params{"tables": allTables()}, func(r clickhouse.Row) error {
			var name, engine string
			var paths []string
			if err := r.Scan(&name, &engine, &paths); err != nil {
				return err
			}
			if !strings.HasPrefix(engine, "Replicated") {
				faults = append(faults, fmt.Errorf("table %s of %s is a %s", name, server.Name, engine))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ask %s for its tables: %w", server.Name, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("several servers are named, but their tables are not replicas of one another: purge each server by itself, with its own address:\n%w", err)
	}
	return nil
}
