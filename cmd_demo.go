package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/urfave/cli/v2"

	"tillsyn/aggregate"
	"tillsyn/ingest"
	"tillsyn/ingest/category"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
	"tillsyn/schemas"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "see it work: a week of a municipality that does not exist, from Kafka to statistics",
		Description: `Starts a Kafka and a ClickHouse inside this process, makes up three municipalities and a week of their web use,
sends the proxy log through Kafka, and shows the statistics. Nobody real is in it. One of the municipalities has held
the ceremony of its keys, so what its people did is there too, sealed, and a case is prepared: the commands that it prints
take it from the request to the record. The data stay in --dir until the next demo; the configuration that it prints works
with every other command.

Exit codes: 0 done, 1 fault, 2 wrong flags.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: filepath.Join("var", "demo"), Usage: "where to keep everything, `DIR`; emptied first"},
			&cli.Int64Flag{Name: "lines", Value: 500_000, Usage: "how many `LINES` of proxy log"},
			&cli.IntFlag{Name: "people", Value: 3000, Usage: "how many `PEOPLE`"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another `SEED` is another week"},
			&cli.BoolFlag{Name: "once", Usage: "end when the statistics are shown, instead of running on"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return told(c.Context, runDemo(c.Context, c.App.Writer, c.App.ErrWriter, demoOptions{
				dir: c.String("dir"), lines: c.Int64("lines"), people: c.Int("people"), seed: c.Uint64("seed"), once: c.Bool("once"),
				now: time.Now,
			}))
		},
	}
}

type demoOptions struct {
	dir    string
	lines  int64
	people int
	seed   uint64
	once   bool
	now    func() time.Time
}

// demoMarker is a file that only a demo's folder has: nothing else may be emptied.
const demoMarker = ".tillsyn-demo"

const (
	demoTopic      = "proxy"
	demoPartitions = 4
	demoDays       = 7

	demoMember = "utredare" // who asks and looks
	demoNumber = "DEMO 2026/1"
	demoDraft  = "draft.yaml"
)

func runDemo(ctx context.Context, out, errOut io.Writer, o demoOptions) (err error) {
	began := time.Now()
	step := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if o.lines < 1 {
		return usageErrorf("--lines is %d; give 1 or more", o.lines)
	}
	dir, err := prepareDemoDir(o.dir)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		return fmt.Errorf("load the time zone of the demo: %w", err)
	}
	from := o.now().In(zone).AddDate(0, 0, -demoDays)
	town, err := synthetic.New(synthetic.Config{
		Seed: o.seed, People: o.people, Lines: o.lines, Days: demoDays, From: from.Format(time.DateOnly),
		Format: "squid_native", Shards: demoPartitions,
	})
	if err != nil {
		return usageErrorf("%w", err)
	}
	cfg, err := demoConfig(dir, town)
	if err != nil {
		return err
	}
	step("made up %s", town.Describe())

	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(demoPartitions, demoTopic))
	if err != nil {
		return fmt.Errorf("start the demo's Kafka: %w", err)
	}
	defer broker.Close()
	cfg.Kafka.Brokers = broker.ListenAddrs()
	file, err := writeDemoConfig(dir, cfg)
	if err != nil {
		return err
	}
	people := filepath.Join(dir, "people")
	if err := os.Mkdir(people, 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	tenant := synthetic.Tenants()[0].Name
	if _, err := weakCeremony(ctx, cfg, tenant, people, seal.X25519, o.now, io.Discard, demoMember); err != nil {
		return err
	}
	step("%s has keys, and six people who hold them", tenant)
	step("Kafka runs on %s, topic %s", strings.Join(cfg.Kafka.Brokers, ","), demoTopic)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- runServe(ctx, errOut, cfg, func(address string) { ready <- address }) }()
	var metrics string
	select {
	case metrics = <-ready:
	case err := <-served:
		return err
	}
	stop := func() error {
		cancel()
		return <-served
	}
	step("ClickHouse and ingest run; metrics on http://%s/metrics", metrics)

	suspect, err := produceDemo(ctx, cfg.Kafka.Brokers, town)
	if err != nil {
		return errors.Join(err, stop())
	}
	step("sent %d lines of proxy log", o.lines)
	if err := awaitDemo(ctx, cfg, o.lines); err != nil {
		return errors.Join(err, stop())
	}
	step("all of them are in the statistics")

	to := o.now().In(zone)
	for _, by := range []aggregate.By{aggregate.ByCategory, aggregate.ByUnit, aggregate.ByHour} {
		q := aggregate.Question{From: from, To: to, By: by, Limit: 12}
		title := fmt.Sprintf("Web use by %s", by)
		if by == aggregate.ByHour {
			q.Limit, q.From, q.To = 24, from.AddDate(0, 0, 1), from.AddDate(0, 0, 1)
			title += " on " + q.From.Format(time.DateOnly)
		}
		fmt.Fprintf(out, "\n%s\n\n", title)
		if err := runReportWeb(ctx, out, cfg, reportOptions{question: q, format: "table", notes: io.Discard}); err != nil {
			return errors.Join(err, stop())
		}
	}
	fmt.Fprintf(out, `
Look around (from another terminal, while this runs, or after it):

  tillsyn --config %[1]s report web --by domain --from %[2]s
  tillsyn --config %[1]s report web --by category --unit UNIT --from %[2]s
  tillsyn --config %[1]s lists lookup www.svt.se
  tillsyn --config %[1]s clickhouse shell
`, file, from.Format(time.DateOnly))
	if suspect.Subject != "" {
		if err := writeDemoDraft(dir, suspect, seal.DayOf(from)+1, seal.DayOf(o.now())-1); err != nil {
			return errors.Join(err, stop())
		}
		fmt.Fprintf(out, `
Somebody in %[3]q gambles at work. A person is looked at only under a decision of three roles; in a real town each of them has
a key of their own, at home in three places:

  tillsyn --config %[1]s decision request --identity %[2]s/%[4]s.identity %[5]s
  tillsyn --config %[1]s decision approve --identity %[2]s/manager.a.identity "%[6]s"
  tillsyn --config %[1]s decision approve --identity %[2]s/hr.a.identity "%[6]s"
  tillsyn --config %[1]s decision approve --identity %[2]s/security.a.identity "%[6]s"
  tillsyn --config %[1]s decision notify --identity %[2]s/%[4]s.identity --told "the union, by telephone" "%[6]s"
  tillsyn --config %[1]s lookup --identity %[2]s/%[4]s.identity "%[6]s"
  tillsyn --config %[1]s decision close --identity %[2]s/%[4]s.identity --result "a talk" "%[6]s"
  tillsyn --config %[1]s audit verify
`, file, people, suspect.Unit, demoMember, filepath.Join(dir, demoDraft), demoNumber)
	}
	if o.once {
		return stop()
	}
	fmt.Fprintln(out, "\nCtrl-C ends the demo.")
	return <-served
}

// prepareDemoDir empties the folder of an earlier demo, and nothing else.
func prepareDemoDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("look at the demo's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, demoMarker)); err != nil && len(entries) > 0 {
		return "", usageErrorf("%s is not the folder of a demo: name an empty one with --dir", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("empty the demo's folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o700); err != nil {
		return "", fmt.Errorf("make the demo's folder: %w", err)
	}
	return dir, os.WriteFile(filepath.Join(dir, demoMarker), nil, 0o600)
}

// demoConfig writes down what is known of the town, and answers a configuration that says where.
func demoConfig(dir string, town *synthetic.Municipality) (Config, error) {
	cfg := DefaultConfig()
	cfg.ClickHouse.Addresses = nil
	// A demo leaves nothing elsewhere: least of all entries in the record of an installation that is run from the same folder.
	for _, path := range []*string{
		&cfg.Engine.DataDir, &cfg.Ingest.StatisticsKey, &cfg.Vault.LookupKey, &cfg.Keys.Directory, &cfg.Keys.Gate, &cfg.Audit.Directory, &cfg.Audit.Key,
		&cfg.Casework.Dir, &cfg.Retention.Purge.Lock, &cfg.Retention.Purge.Key, &cfg.Retention.Purge.Certificates,
	} {
		*path = filepath.Join(dir, filepath.Base(*path))
	}
	for _, class := range []*vault.ClassRetention{&cfg.Retention.Web, &cfg.Retention.Mail, &cfg.Retention.Rejects} {
		for _, t := range synthetic.Tenants() {
			class.Decisions = append(class.Decisions, vault.RetentionDecision{Tenant: t.Name, Number: "DEMO 1", From: "2026-01-01"})
		}
	}
	cfg.Ingest.Batch.MaxAge = 2 * time.Second
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Log.Level = "error" // that the other tenants have no keys is meant
	cfg.Kafka.Cluster, cfg.Kafka.Group = "demo", "tillsyn"
	cfg.Resolve.Directory = filepath.Join(dir, "directory.csv")
	cfg.Resolve.Country = filepath.Join(dir, "country.mmdb")
	cfg.Resolve.Tenants = nil
	for _, t := range synthetic.Tenants() {
		cfg.Resolve.Tenants = append(cfg.Resolve.Tenants, resolve.Tenant{Name: t.Name, TimeZone: synthetic.TimeZone})
	}
	err := describeTown(dir, town, &cfg)
	return cfg, err
}

// writeDemoConfig writes cfg where other commands can read it.
func writeDemoConfig(dir string, cfg Config) (string, error) {
	text, err := dumpConfig(cfg)
	if err != nil {
		return "", fmt.Errorf("write the demo's configuration: %w", err)
	}
	path := filepath.Join(dir, defaultConfigFile)
	return path, os.WriteFile(path, text, 0o600)
}

// describeTown writes directory, countries and lists of a town into dir and fits cfg to them.
func describeTown(dir string, town *synthetic.Municipality, cfg *Config) error {
	tenants := synthetic.Tenants()
	var others []string
	for _, t := range tenants[1:] {
		others = append(others, t.Name)
	}
	cfg.Resolve.Tenants[0].Serves = others
	cfg.Ingest.Sources = []ingest.Source{{Topic: demoTopic, Tenant: tenants[0].Name, Format: town.Config().Format, TimeZone: synthetic.TimeZone}}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{cfg.Resolve.Directory, town.WriteDirectory}, {cfg.Resolve.Country, town.WriteCountries}} {
		w, err := os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("write about the demo's town: %w", err)
		}
		if err := errors.Join(f.write(w), w.Close()); err != nil {
			return fmt.Errorf("write about the demo's town: %w", err)
		}
	}
	lists := filepath.Join(dir, "lists")
	if err := town.WriteLists(lists); err != nil {
		return fmt.Errorf("write the demo's lists: %w", err)
	}
	cfg.Lists.Builtin = false
	cfg.Lists.Lists, cfg.Lists.Classes = nil, map[string]category.Class{}
	for name, class := range town.Classes() {
		var c category.Class
		if err := c.UnmarshalText([]byte(class)); err != nil {
			return err
		}
		cfg.Lists.Classes[name] = c
	}
	for name := range town.Lists() {
		cfg.Lists.Lists = append(cfg.Lists.Lists, category.ListConfig{Name: name, Source: filepath.Join(lists, name+".txt"), Category: name})
	}
	return nil
}

// writeDemoDraft writes the draft of a decision about who was met gambling.
func writeDemoDraft(dir string, who synthetic.Event, from, to seal.Day) error {
	text, err := yaml.Marshal(decisionDraft{
		Case: demoNumber, Tenant: who.Tenant, Kind: string(casework.Person), Population: who.Population,
		Ground: "IT-regler 4.2", Suspicion: "spel under arbetstid", Reason: "enheten är påmind och det fortsätter", LessIntrusive: "samtal med hela enheten, utan resultat",
		Finding: "spel i enheten " + who.Unit, Intrusion: "webbadresser under högst en vecka", Consequences: "samtal med närmaste chef", Policy: "IT-regler 2026:1",
		Scope:         scopeDraft{Subject: who.Subject, From: from.String(), To: to.String(), Sources: []string{vault.Web}, Categories: []string{who.Category}},
		Investigators: []casework.Signatory{{ID: demoMember}}, Lookups: 3, Union: "Vision",
	})
	if err != nil {
		return fmt.Errorf("write the demo's draft: %w", err)
	}
	return durable.Replace(filepath.Join(dir, demoDraft), text, 0o600)
}

// produceDemo sends the town's log, each subject's lines to one partition. It answers the first request of the story of the unit
// that gambles.
func produceDemo(ctx context.Context, brokers []string, town *synthetic.Municipality) (suspect synthetic.Event, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return suspect, fmt.Errorf("send the demo's log: %w", err)
	}
	defer client.Close()
	format, ok := synthetic.FormatByName(town.Config().Format)
	if !ok {
		return suspect, fmt.Errorf("the demo writes a format that does not exist: %s", town.Config().Format)
	}
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		return suspect, fmt.Errorf("send the demo's log: %w", err)
	}
	encode := format.New(zone)
	story, _ := town.StoryByName(synthetic.StoryGambling)
	failed := make(chan error, 1)
	for {
		e, ok := town.NextEvent()
		if !ok {
			break
		}
		if suspect.Subject == "" && e.Bad == "" && e.User != "" && e.Tenant == story.Tenant && e.Unit == story.Unit && e.Category == story.Category {
			suspect = *e
		}
		line := synthetic.AppendLine(nil, e, encode)
		client.Produce(ctx, &kgo.Record{Topic: demoTopic, Partition: int32(e.Shard), Value: line}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return suspect, fmt.Errorf("send the demo's log: %w", err)
	}
	select {
	case err := <-failed:
		return suspect, fmt.Errorf("send the demo's log: %w", err)
	default:
		return suspect, nil
	}
}

// awaitDemo waits until the ledger says that all lines are in.
func awaitDemo(ctx context.Context, cfg Config, lines int64) error {
	db, err := openDatabase(ctx, cfg, schemas.RoleIngest)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := ingest.NewStore(db.DB, time.Now)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := store.Lines(ctx)
		if err != nil {
			return err
		}
		if n >= uint64(lines) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
