package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/urfave/cli/v2"

	"tillsyn/ingest/kafka"
	"tillsyn/ingest/parse"
	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
	"tillsyn/schemas"
)

// RetentionConfig is how long each class of data is kept, by whose decision, and how it is purged.
type RetentionConfig struct {
	vault.Retention `yaml:",inline"`
	Purge           vault.PurgeConfig `yaml:"purge"`
}

// DefaultRetentionConfig keeps raw data for the ceiling and has no decisions.
func DefaultRetentionConfig() RetentionConfig {
	return RetentionConfig{vault.DefaultRetention(), vault.DefaultPurgeConfig()}
}

// Validate answers every fault of c, joined, or nil.
func (c RetentionConfig) Validate() error {
	return errors.Join(c.Retention.Validate(), c.Purge.Validate())
}

func purgeCommand() *cli.Command {
	return &cli.Command{
		Name:  "purge",
		Usage: "remove what is past its time, prove it, and certify it",
		Description: `Without a flag, or with --dry-run, it says what a run would do and changes nothing. With --run it puts the intent on
record, copies what is held, drops the partitions (keys first), looks for anything that is left (parts, detached and frozen
copies, the ciphertext itself on disk), asks Kafka how long it keeps records, and issues a signed certificate. Whatever is not
certain ends it with an error and no certificate; run it again when the cause is gone: what was begun is finished first.

With --verify it only looks for what lives past its time.

With --daily it stays and purges at once and then at retention.purge.at of every day, until it is told to stop (SIGTERM, SIGINT); what
failed is tried again each hour. Metrics are at /metrics, health at /healthz of http.listen. That is for a ClickHouse server: next to
it, as the user purge, on the machine of the record. It refuses to start while a tenant has no retention decision for a class that it
has. 'tillsyn serve' purges daily by itself where it has the embedded ClickHouse, or clickhouse.users.purge.

Before anything is removed, every decision that may be used gets its hold: that takes the gate (keys.gate, casework.dir,
vault.lookup_key). Without a gate it goes on only if the record shows a hold for every approved decision and every request for
public records that has not ended; it places and releases none. A place that never had a decision needs no gate. The exports of
ended cases go too, where the gate is; an export that was altered, is missing or can't be reached is exit code 3.

Exit codes: 0 done, 1 fault, 2 wrong flags or configuration, 3 something is left, was put back, or is past its time, 4 refused: no
retention decision, a clock that may be wrong, or something that is asked for and not held.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "say what a run would do (the default)"},
			&cli.BoolFlag{Name: "run", Usage: "do it"},
			&cli.BoolFlag{Name: "verify", Usage: "look for what lives past its time"},
			&cli.BoolFlag{Name: "daily", Usage: "stay, and do it every day"},
			&cli.BoolFlag{Name: "accept-clock", Usage: "with --run: somebody has looked, and this machine's clock is right; goes on record"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Subcommands: []*cli.Command{purgeCertificateCommand()},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			o := purgeOptions{run: c.Bool("run"), verify: c.Bool("verify"), acceptClock: c.Bool("accept-clock"), json: c.Bool("json")}
			asked := 0
			for _, flag := range []string{"dry-run", "run", "verify", "daily"} {
				if c.Bool(flag) {
					asked++
				}
			}
			if asked > 1 || o.acceptClock && !o.run {
				return usageErrorf("give one of --dry-run, --run, --verify and --daily; --accept-clock goes with --run")
			}
			if c.Bool("daily") && o.json {
				return usageErrorf("--daily has no --json: how it logs is in log.format")
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			if c.Bool("daily") {
				return told(c.Context, runPurgeDaily(c.Context, c.App.ErrWriter, cfg, nil))
			}
			return runPurge(c.Context, c.App.Writer, cfg, o)
		},
	}
}

type purgeOptions struct {
	run, verify, acceptClock, json bool
}

func runPurge(ctx context.Context, w io.Writer, cfg Config, o purgeOptions) error {
	p, closer, err := openPurger(ctx, cfg)
	if err != nil {
		return err
	}
	p.AcceptClock = o.acceptClock
	if o.run {
		if err := noteSettings(ctx, p.Log, "purge", cfg); err != nil {
			return purgeError(errors.Join(err, closer()))
		}
		if err := settleHolds(ctx, cfg, p); err != nil {
			return purgeError(errors.Join(err, closer()))
		}
	}
	if !o.run {
		return purgeError(errors.Join(purge(ctx, w, p, o), closer()))
	}
	report, err := p.Run(ctx)
	var saved []string
	for _, c := range report.Certificates {
		paths, e := c.Save(p.Config.Certificates)
		saved, err = append(saved, paths...), errors.Join(err, e)
	}
	err = purgeError(errors.Join(err, closer()))
	done, _, fault := removeEnded(ctx, cfg) // exports go with their cases, whatever became of the rest
	return errors.Join(err, fault, forgetKeys(cfg, p.Now), printPurge(w, report, saved, linesOfRemovals(done), o.json), foundExports(done))
}

// purge plans, or looks for what is overdue.
func purge(ctx context.Context, w io.Writer, p *vault.Purger, o purgeOptions) error {
	if o.verify {
		list, err := p.Overdue(ctx)
		if err != nil {
			return err
		}
		if err := printOverdue(w, list, o.json); err != nil {
			return err
		}
		if len(list) > 0 {
			return foundErrorf("%d partitions or copies live past their time", len(list))
		}
		return nil
	}
	report, err := p.Plan(ctx)
	if err != nil {
		return err
	}
	return printPlan(w, report, o.json)
}

// runPurgeDaily purges every day until ctx ends. ready, which may be nil, is called once with the address of the HTTP interface.
func runPurgeDaily(ctx context.Context, errOut io.Writer, cfg Config, ready func(address string)) (err error) {
	log := cfg.Log.Logger(errOut)
	if err := undecided(cfg, time.Now()); err != nil {
		return &exitError{exitRefused, err}
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	purges, closePurger, err := schedulePurge(ctx, cfg, "purge", log, metrics)
	if err != nil {
		return purgeError(err)
	}
	defer func() { err = errors.Join(err, closePurger()) }()
	checks := []any{purges.Healthy}
	for _, server := range purges.Purger.Servers {
		checks = append(checks, server.DB.Ping)
	}
	server, address, err := serveMetrics(cfg, metrics, checks...)
	if err != nil {
		return err
	}
	defer server.Close()
	log.Info("purging daily", "at", cfg.Retention.Purge.At, "time_zone", cfg.Retention.Purge.TimeZone, "metrics and health", cmp.Or(address, "nowhere"))
	if ready != nil {
		ready(address)
	}
	removed := make(chan struct{})
	go func() {
		keepRemovingEnded(ctx, cfg, log)
		close(removed)
	}()
	err = purges.Run(ctx)
	<-removed
	return err
}

// undecided answers which tenants have no retention decision in force for a class of data that the sources bring. Without
// sources those are all.
func undecided(cfg Config, now time.Time) error {
	has := map[vault.Class]bool{vault.ClassRejects: true, vault.ClassStatistics: cfg.Retention.Statistics.Days > 0}
	for _, s := range cfg.Ingest.Sources {
		for _, f := range parse.Formats() {
			if f.Name == s.Format {
				has[vault.ClassWeb] = has[vault.ClassWeb] || f.Kind == parse.Web
				has[vault.ClassMail] = has[vault.ClassMail] || f.Kind == parse.Mail
			}
		}
	}
	if len(cfg.Ingest.Sources) == 0 {
		has[vault.ClassWeb], has[vault.ClassMail] = true, true
	}
	today := now.UTC().Format(time.DateOnly)
	var faults []error
	for _, class := range vault.Classes() {
		if !has[class] {
			continue
		}
		for _, tenant := range cfg.Tenants() {
			if !slices.ContainsFunc(cfg.Retention.Of(class).Decisions, func(d vault.RetentionDecision) bool { return d.Tenant == tenant && d.From <= today }) {
				faults = append(faults, fmt.Errorf("%w: tenant %q has none in force in retention.%s.decisions", vault.ErrNoDecision, tenant, class))
			}
		}
	}
	return errors.Join(faults...)
}

// purgeError gives an error of a purge its exit code.
func purgeError(err error) error {
	var known *exitError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, vault.ErrClock), errors.Is(err, vault.ErrNoDecision), errors.Is(err, vault.ErrUnheld):
		return &exitError{exitRefused, err}
	case errors.Is(err, vault.ErrRestored), errors.Is(err, vault.ErrNotVerified), errors.Is(err, vault.ErrHolds):
		return &exitError{exitFound, err}
	}
	return auditError(err)
}

// openPurgeServers signs in as the user purge: to the embedded engine, or to every server that the configuration names, because a
// copy on any of them is a copy.
func openPurgeServers(ctx context.Context, cfg Config) (servers []vault.PurgeServer, closer func() error, err error) {
	closer = func() error { return nil }
	add := func(name string, db *clickhouse.DB, end func() error) error {
		before := closer
		closer = func() error { return errors.Join(end(), before()) }
		servers = append(servers, vault.PurgeServer{Name: name, DB: db})
		return db.Check(ctx, schemas.Migrations())
	}
	if cfg.Embedded() {
		db, err := openDatabase(ctx, cfg, schemas.RolePurge)
		if err != nil {
			return nil, nil, err
		}
		if err := add("embedded", db.DB, db.Close); err != nil {
			return nil, nil, errors.Join(err, closer())
		}
		return servers, closer, nil
	}
	for _, address := range cfg.ClickHouse.Addresses {
		one := cfg.ClickHouse
		one.Addresses = []string{address}
		db, err := openServer(ctx, one, schemas.RolePurge)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("every server that clickhouse.addresses names must be asked: %w", err), closer())
		}
		if err := add(address, db, db.Close); err != nil {
			return nil, nil, errors.Join(err, closer())
		}
	}
	return servers, closer, nil
}

// openPurger makes a purger of a configuration.
func openPurger(ctx context.Context, cfg Config) (p *vault.Purger, closer func() error, err error) {
	p = &vault.Purger{Deployment: cfg.Audit.Deployment, Retention: cfg.Retention.Retention, Config: cfg.Retention.Purge, Now: time.Now}
	servers, end, err := openPurgeServers(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	p.Servers = servers
	if cfg.Embedded() {
		data, err := filepath.Abs(filepath.Join(cfg.Engine.DataDir, "clickhouse"))
		if err != nil {
			return nil, nil, err
		}
		p.Config.DataPaths, p.Config.WithoutDisk = []string{data}, false
	}
	if p.Log, err = audit.Open(ctx, cfg.Audit, time.Now); err != nil {
		return nil, nil, err
	}
	closeServers := end
	end = func() error { return errors.Join(p.Log.Close(), closeServers()) }
	if p.Signer, err = openPurgeKey(cfg.Retention.Purge.Key, cfg.Audit.Deployment); err != nil {
		return nil, nil, err
	}
	if topics := cfg.Topics(); len(topics.Topics) > 0 && len(topics.Brokers) > 0 {
		p.Kafka = func(ctx context.Context) ([]vault.KafkaTopic, error) {
			list, err := kafka.Retention(ctx, topics)
			answer := make([]vault.KafkaTopic, len(list))
			for i, t := range list {
				answer[i] = vault.KafkaTopic(t)
			}
			return answer, err
		}
	}
	return p, end, nil
}

// settleHolds places the holds that active decisions ask for and releases those of cases that have ended. Where there is no gate
// nobody can do either: then the record has to say that whatever may need rows has its hold.
func settleHolds(ctx context.Context, cfg Config, p *vault.Purger) (err error) {
	p.Needless = nil
	if _, err := os.Stat(cfg.Keys.Gate); errors.Is(err, fs.ErrNotExist) {
		records, err := p.Log.Entries(ctx)
		if err != nil {
			return fmt.Errorf("nothing is purged before it is known what decisions ask for: %w", err)
		}
		if err := vault.CheckHeld(records, nil); err != nil {
			return fmt.Errorf("there is no gate here: keys.gate names %s, which is not there. Give it (with casework.dir and vault.lookup_key) if the gate is elsewhere, or run the purge where it is: %w", cfg.Keys.Gate, err)
		}
		return nil
	}
	g, err := openGate(ctx, cfg, p.Now, schemas.RolePurge)
	if err != nil {
		return fmt.Errorf("nothing is purged before it is known what decisions ask for: %w", err)
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if _, _, err := g.SettleHolds(ctx, vault.HoldRegister{DB: p.Servers[0].DB, Log: p.Log, Lock: p.Config.Lock, Wait: p.Config.Wait, Now: p.Now}); err != nil {
		return err
	}
	records, err := p.Log.Entries(ctx)
	if err != nil {
		return err
	}
	if p.Needless, err = g.needless(ctx, vault.UnheldOnRecord(records)); err != nil {
		return err
	}
	if err := vault.CheckHeld(records, p.Needless); err != nil {
		return fmt.Errorf("the gate here does not know of all decisions, or has not the lookup key: casework.dir is %s, vault.lookup_key %s: %w", cfg.Casework.Dir, cfg.Vault.LookupKey, err)
	}
	return nil
}

// needless are the decisions among list that need no hold, by document: the case store has them, and they may not be used, or
// all their days are purged.
func (g *openedGate) needless(ctx context.Context, list []vault.Unheld) (map[string]bool, error) {
	if len(list) == 0 {
		return map[string]bool{}, nil
	}
	cases, states, err := g.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("judge what is not held: %w", err)
	}
	needless := map[string]bool{}
	for i, c := range cases {
		document := c.Digest.String()
		if !slices.ContainsFunc(list, func(u vault.Unheld) bool { return u.Basis == vault.HoldByDecision && u.Document == document }) {
			continue
		}
		// One that the record calls approved and the store pending has lost its approvals: what it is about must stay all the more.
		if s := states[i].State; s == casework.Pending || s == casework.Active || s == casework.Suspended {
			if needless[document], err = g.Gone(ctx, vault.HoldByDecision, c.Decision.Case); err != nil {
				return nil, fmt.Errorf("judge what is not held: %w", err)
			}
			continue
		}
		needless[document] = true
	}
	for _, u := range list {
		if u.Basis != vault.HoldByRecords {
			continue
		}
		// A request that the store does not have is not known to be needless.
		if gone, err := g.Gone(ctx, u.Basis, u.Case); err == nil {
			needless[u.Document] = gone
		} else if !errors.Is(err, casework.ErrNoCase) {
			return nil, fmt.Errorf("judge what is not held: %w", err)
		}
	}
	return needless, nil
}

// openPurgeKey reads the key that signs certificates, and makes it if there is none.
func openPurgeKey(path, deployment string) (*seal.Signer, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		signer, fault := seal.NewSigner(deployment + "/purge")
		if fault == nil {
			fault = durable.Create(path, signer.Encode(), 0o600)
		}
		// Where another process began at the same time, its key is the key.
		if fault != nil && !errors.Is(fault, fs.ErrExist) {
			return nil, fmt.Errorf("make the key of the purge: %w", fault)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of the purge: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key of the purge %s can be read by others: make its mode 0600", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of the purge: %w", err)
	}
	signer, err := seal.ParseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("read the key of the purge %s: %w", path, err)
	}
	return signer, nil
}

func printPlan(w io.Writer, r vault.PurgeReport, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			At      string         `json:"at"`
			Actions []vault.Action `json:"actions"`
		}{r.At.UTC().Format(time.RFC3339), nonNil(r.Actions)})
	}
	return printActions(w, r.Actions, "would be removed")
}

func printActions(w io.Writer, actions []vault.Action, what string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	dropped, kept := 0, 0
	for _, a := range actions {
		if !a.Drop && a.Class != vault.ClassHeld {
			kept++
			continue
		}
		if dropped == 0 {
			fmt.Fprintln(t, "CLASS\tDAY\tTABLE\tROWS\tSIZE\tACTION\tHOLDS\tWHY")
		}
		dropped++
		action := "drop"
		if !a.Drop {
			action = "keep"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", a.Class, a.Date, a.Table, a.Rows, bytesText(a.Bytes), action, len(a.Holds), a.Reason)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if dropped == 0 {
		fmt.Fprintln(w, "Nothing is past its time.")
	}
	_, err := fmt.Fprintf(w, "%d partitions are within their time.\n", kept)
	return err
}

func printPurge(w io.Writer, r vault.PurgeReport, saved []string, exports []exportLine, asJSON bool) error {
	if asJSON {
		type issued struct {
			Entry string `json:"entry"`
			vault.Certificate
		}
		list := []issued{}
		for _, c := range r.Certificates {
			list = append(list, issued{c.Position.String(), c.Certificate})
		}
		return printJSON(w, struct {
			Certificates []issued     `json:"certificates"`
			Files        []string     `json:"files"`
			Exports      []exportLine `json:"exports"` // of ended cases, and what became of each
		}{list, nonNil(saved), exports})
	}
	if err := printCertificates(w, r, saved); err != nil || len(exports) == 0 {
		return err
	}
	return printExports(w, exports, false)
}

func printCertificates(w io.Writer, r vault.PurgeReport, saved []string) error {
	if len(r.Certificates) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was certified.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENTRY\tCLASS\tDAY\tROWS\tHELD\tHOLDS")
	for _, c := range r.Certificates {
		for _, item := range c.Removed {
			var rows uint64
			for _, table := range item.Tables {
				rows += table.Rows
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\n", c.Position, item.Class, item.Day, rows, item.Held.Capsules, item.Holds)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(saved) > 0 {
		fmt.Fprintf(w, "Certificates: %s\n", strings.Join(saved, ", "))
	}
	return nil
}

func printOverdue(w io.Writer, list []vault.Overdue, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Overdue []vault.Overdue `json:"overdue"`
		}{nonNil(list)})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "Nothing lives past its time.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tTABLE\tDAY\tDAYS LATE\tWHERE")
	for _, o := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", o.Server, o.Table, o.Day, o.Late, o.Where)
	}
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
