package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tillsyn/ingest"
	"tillsyn/ingest/parse"
	"tillsyn/schemas"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "read log files into the statistics",
		ArgsUsage: "FILE...   (- is standard input)",
		Description: `Reads files as the consumer reads Kafka: same formats, same statistics, exactly once. A file may be packed
with gzip or zstd. What names a file is its beginning, not its name: importing it again, renamed, packed or
grown, counts each line once. A last line without line end is left for the next time while the file is younger
than a minute. A file may hold JSON over many lines (documents one after the other, or an array of them, also one
that more is added to) and may be UTF-16. An object around a list ({"value": [...]}) that is written anew with more
in the list is another file.

What a file can't say comes from a configured source (--source TOPIC) or from flags.

Exit codes: 0 done, 1 fault (run it again: it goes on where it stopped), 2 wrong flags or configuration.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "source", Usage: "take format, tenant and all else from the source of this `TOPIC`"},
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "the log format `NAME` (see tillsyn parse --help)"},
			&cli.StringFlag{Name: "tenant", Usage: "whose log it is (default: the only tenant)"},
			&cli.StringFlag{Name: "tz", Usage: "the time `ZONE` of times that name none"},
			&cli.StringFlag{Name: "logformat", Usage: "the logformat line of squid.conf, as `SPEC`"},
			&cli.StringFlag{Name: "layout", Usage: "the `NAME` of a column layout"},
			&cli.StringFlag{Name: "columns", Usage: "the columns' names in order, a comma-separated `LIST`"},
			&cli.StringFlag{Name: "internal-domains", Usage: "our own mail domains, a comma-separated `LIST`"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		},
		Action: func(c *cli.Context) error {
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			o := importOptions{files: c.Args().Slice(), json: c.Bool("json")}
			if o.source, err = importSource(c, cfg); err != nil {
				return err
			}
			return runImport(c.Context, c.App.Reader, c.App.Writer, c.App.ErrWriter, cfg, o)
		},
	}
}

// importSource is the source that flags and configuration describe together: flags win.
func importSource(c *cli.Context, cfg Config) (ingest.Source, error) {
	var s ingest.Source
	if topic := c.String("source"); topic != "" {
		for _, have := range cfg.Ingest.Sources {
			if have.Topic == topic {
				s = have
			}
		}
		if s.Topic == "" {
			return s, usageErrorf("--source: no source with topic %q is configured", topic)
		}
	}
	for flag, field := range map[string]*string{
		"format": &s.Format, "tenant": &s.Tenant, "tz": &s.TimeZone, "logformat": &s.Logformat, "layout": &s.Layout,
	} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if c.IsSet("columns") {
		s.Columns = commaList(c.String("columns"))
	}
	if c.IsSet("internal-domains") {
		s.InternalDomains = commaList(c.String("internal-domains"))
	}
	tenants := cfg.Tenants()
	if s.Tenant == "" && len(tenants) == 1 {
		s.Tenant = tenants[0]
	}
	s.Topic = "file"
	if err := s.Validate(tenants); err != nil {
		return s, usageErrorf("%w", err)
	}
	return s, nil
}

type importOptions struct {
	files  []string
	source ingest.Source
	json   bool
}

// An imported says what became of one file.
type imported struct {
	File       string                  `json:"file"`
	Events     uint64                  `json:"events"`
	Rejects    uint64                  `json:"rejects"`
	Reasons    map[parse.Reason]uint64 `json:"reasons,omitempty"` // of the rejects
	Skipped    uint64                  `json:"skipped"`
	Unfinished bool                    `json:"unfinished_last_line"`
}

func runImport(ctx context.Context, stdin io.Reader, out, errOut io.Writer, cfg Config, o importOptions) (err error) {
	if len(o.files) == 0 {
		return usageErrorf("name the files to import (- is standard input)")
	}
	if err := migrateEmbedded(ctx, cfg); err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleIngest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	in, err := newIngestion(ctx, cfg, db.DB, cfg.Log.Logger(errOut), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	// Two imports of one file at once would each find that it is not in.
	lock := flock.New(cfg.Ingest.StatisticsKey + ".import")
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the import: %w", err)
	}
	if !locked {
		return errors.New("another import is running: wait until it is done")
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	var done []imported
	for _, path := range o.files {
		one, err := importFile(ctx, stdin, errOut, in, path, o.source)
		if err != nil {
			return err
		}
		done = append(done, one)
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(done)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tEVENTS\tREJECTS\tSKIPPED")
	for _, d := range done {
		note := ""
		for _, reason := range slices.Sorted(maps.Keys(d.Reasons)) {
			note += fmt.Sprintf("\t%s: %d", reason, d.Reasons[reason])
		}
		if d.Events+d.Rejects+d.Skipped == 0 {
			note += "\tnothing new"
		} else if d.Unfinished {
			note += "\tthe last line is still being written"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d%s\n", d.File, d.Events, d.Rejects, d.Skipped, note)
	}
	return t.Flush()
}

func importFile(ctx context.Context, stdin io.Reader, errOut io.Writer, in *ingestion, path string, src ingest.Source) (imported, error) {
	result := imported{File: path}
	known, err := in.store.Files(ctx)
	if err != nil {
		return result, err
	}
	f, err := ingest.OpenFile(path, stdin, known, time.Now)
	if err != nil {
		return result, err
	}
	defer f.Close()
	if f.Empty() {
		return result, nil
	}
	size := int64(-1)
	if info, err := os.Stat(path); err == nil && path != "-" {
		size = info.Size()
	}
	progress := func(ingest.LedgerRow) {}
	if w, ok := errOut.(*os.File); ok && term.IsTerminal(int(w.Fd())) {
		b := progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(path),
			progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
		progress = func(ingest.LedgerRow) { b.Set64(f.Read()) }
		defer b.Finish()
	}
	total, err := in.Once(ctx, f, src, progress)
	if err != nil {
		return result, fmt.Errorf("import %s: %w", path, err)
	}
	result.Events, result.Rejects, result.Skipped, result.Unfinished = total.Events, total.Rejects, total.Skipped, f.Unfinished()
	result.Reasons = total.Reasons
	return result, nil
}
