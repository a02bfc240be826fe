package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
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

What a file can't say comes from a configured source (--source TOPIC) or from flags. Of each file the beginning is tried
first: where none of it can be read, nothing is imported at all, so that a wrong format leaves no trace.

Run imports from one machine at a time: two of one file at once, on two machines with one ClickHouse server, would count
it twice.

Exit codes: 0 done, 1 fault (run it again: it goes on where it stopped), 2 wrong flags, files or configuration, 3 nothing
at the beginning of a file can be read.`,
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
			files, err := argumentsOf(c)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				return usageErrorf("name the files to import (- is standard input)")
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			o := importOptions{files: files, json: c.Bool("json")}
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
	var missing []string
	if s.Tenant == "" {
		missing = append(missing, "say whose log it is: --tenant ("+strings.Join(tenants, ", ")+"), or --source TOPIC")
	}
	if s.Format == "" {
		missing = append(missing, "say which log format it has: --format, or --source TOPIC")
	}
	if len(missing) > 0 {
		return s, usageErrorf("%s", strings.Join(missing, "; "))
	}
	s.Topic = "file"
	if err := s.Validate(tenants); err != nil {
		return s, formatError(err)
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
	Before     time.Time               `json:"imported_before,omitzero"` // nothing is new: when the last of it was imported
	empty      bool
}

func runImport(ctx context.Context, stdin io.Reader, out, errOut io.Writer, cfg Config, o importOptions) (err error) {
	open, err := tryFiles(stdin, o)
	if err != nil {
		return err
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
	done := []imported{}
	for _, path := range o.files {
		var one imported
		if one, err = importFile(ctx, errOut, in, path, open, o.source); err != nil {
			break
		}
		done = append(done, one)
	}
	return errors.Join(err, printImported(out, done, o.json))
}

// tryFiles opens each file and reads its beginning as the source says, before anything is written down of any: what a wrong format
// made of a file would stay, for a file is known by its content. It answers how each is to be opened again; standard input and
// pipes, which can't be, are those that were tried.
func tryFiles(stdin io.Reader, o importOptions) (func(path string) (*ingest.File, error), error) {
	var faults []string
	once := map[string]*ingest.File{} // what can be read once only: standard input and pipes, opened or still to be
	for _, path := range o.files {
		regular := false
		if path != "-" {
			info, err := os.Stat(path)
			switch {
			case err != nil:
				faults = append(faults, err.Error())
			case info.IsDir():
				faults = append(faults, path+" is a folder: name the files in it")
			}
			regular = err != nil || info.Mode().IsRegular()
		}
		if _, named := once[path]; named {
			faults = append(faults, path+" is named twice, and can be read once")
		}
		if !regular {
			once[path] = nil
		}
	}
	if len(faults) > 0 {
		return nil, usageErrorf("nothing is imported: %s", strings.Join(faults, "; "))
	}
	open := func(path string) (*ingest.File, error) {
		if f := once[path]; f != nil {
			return f, nil
		}
		return ingest.OpenFile(path, stdin, time.Now)
	}
	for _, path := range o.files {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		trial, err := f.Try(o.source)
		if _, only := once[path]; only {
			once[path] = f
		} else {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return nil, err
		}
		if trial.Records == 0 || trial.Read > 0 {
			continue
		}
		reasons := slices.SortedFunc(maps.Keys(trial.Reasons), func(a, b parse.Reason) int {
			return cmp.Or(cmp.Compare(trial.Reasons[b], trial.Reasons[a]), cmp.Compare(a, b))
		})
		faults = append(faults, fmt.Sprintf("none of the first %d lines of %s can be read as %s, most often because of %s", trial.Records, path, o.source.Format, reasons[0]))
	}
	if len(faults) > 0 {
		return nil, foundErrorf("nothing is imported: %s: see why with 'tillsyn parse --explain', or find the format with 'tillsyn parse --format auto'", strings.Join(faults, "; "))
	}
	return open, nil
}

func printImported(out io.Writer, done []imported, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(done)
	}
	if len(done) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tEVENTS\tREJECTS\tSKIPPED")
	for _, d := range done {
		var notes []string
		for _, reason := range slices.Sorted(maps.Keys(d.Reasons)) {
			notes = append(notes, fmt.Sprintf("%s: %d", reason, d.Reasons[reason]))
		}
		switch {
		case d.empty:
			notes = append(notes, "the file is empty")
		case !d.Before.IsZero():
			notes = append(notes, "nothing new: the same content was imported before, the last of it "+d.Before.Format(time.DateTime+" UTC"))
		case d.Events+d.Rejects+d.Skipped == 0 && !d.Unfinished:
			notes = append(notes, "there is nothing to read in it")
		}
		if d.Unfinished {
			notes = append(notes, "the last line is still being written")
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d", d.File, d.Events, d.Rejects, d.Skipped)
		for _, note := range notes {
			fmt.Fprintf(t, "\t%s", note)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func importFile(ctx context.Context, errOut io.Writer, in *ingestion, path string, open func(string) (*ingest.File, error), src ingest.Source) (imported, error) {
	result := imported{File: path}
	known, err := in.store.Files(ctx)
	if err != nil {
		return result, err
	}
	f, err := open(path)
	if err != nil {
		return result, err
	}
	defer f.Close()
	f.Among(known)
	if f.Empty() {
		result.empty = true
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
	if total.Records == 0 {
		result.Before, err = in.store.Imported(ctx, f.Identity())
	}
	return result, err
}
