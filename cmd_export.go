package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/audit"
	"tillsyn/query/casework"
)

func exportCommand() *cli.Command {
	out := &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "an existing `FOLDER` for the file", Value: "."}
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	return &cli.Command{
		Name: "export", Usage: "take what a decision opens out of tillsyn, so that others can check it", ArgsUsage: "CASE",
		Description: `Runs one lookup, which counts, and writes its rows into a signed archive of mode 0600: rows as CSV and JSON, the decision as it was
signed and as a page, the acts, the registers of holders, what the record holds about the case with proofs, and a
manifest. 'tillsyn export verify' checks it on another machine, with no access to tillsyn. The archive is removed when its
case has ended ('tillsyn export remove', and each purge): do not copy it.

Exit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.`,
		Flags: append(identityFlags(), out, asJSON),
		Action: func(c *cli.Context) error {
			number, err := oneArgument(c, "CASE")
			if err != nil {
				return err
			}
			return withCaller(c, true, func(g *openedGate, who *caller) error {
				return g.runExport(c.Context, c.App.Writer, c.App.ErrWriter, who, number, c.String("out"), nil, c.Bool("json"))
			})
		},
		Subcommands: []*cli.Command{
			{
				Name: "police", Usage: "an extract that the police asked for, with its cover", ArgsUsage: "CASE",
				Description: `For a decision of the kind police. What the police asks by (--law) must stand in the decision's ground, and its reference in the
decision's finding. It goes on record as what it is.

Exit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.`,
				Flags: append(identityFlags(), out, asJSON,
					&cli.StringFlag{Name: "authority", Usage: "who asks: `NAME` of the authority and its unit"},
					&cli.StringFlag{Name: "reference", Usage: "its own `NUMBER`"},
					&cli.StringFlag{Name: "law", Usage: "the law that it asks by, as `TEXT`"},
					&cli.StringFlag{Name: "received", Usage: "when the request came in, as `TIME` such as 2026-11-22T09:00:00+01:00"},
					&cli.StringFlag{Name: "handler", Usage: "whom it is for: `NAME`"}),
				Action: func(c *cli.Context) error {
					number, err := oneArgument(c, "CASE")
					if err != nil {
						return err
					}
					received, err := time.Parse(time.RFC3339, c.String("received"))
					if err != nil {
						return usageErrorf("--received: is not a time such as 2026-11-22T09:00:00+01:00")
					}
					request := casework.PoliceRequest{Authority: c.String("authority"), Reference: c.String("reference"), Law: c.String("law"),
						Received: received.UTC(), Handler: c.String("handler")}
					return withCaller(c, true, func(g *openedGate, who *caller) error {
						return g.runExport(c.Context, c.App.Writer, c.App.ErrWriter, who, number, c.String("out"), &request, c.Bool("json"))
					})
				},
			},
			{
				Name: "verify", Usage: "check an archive, offline", ArgsUsage: "FILE",
				Description: `Checks that nothing in it was changed, that three roles approved the decision, that the lookups were made while it was active,
that the rows are what a lookup answered, and that the record holds all of it. --log-key is the record's public key, from
somebody you trust; without it the key in the archive is used, which proves less.

Exit codes: 0 it holds, 1 it can't be read, 2 wrong flags, 3 it does not hold: every fault is said.`,
				Flags: []cli.Flag{&cli.StringFlag{Name: "log-key", Usage: "the record's `KEY`, as 'tillsyn audit key' prints it"}, asJSON},
				Action: func(c *cli.Context) error {
					file, err := oneArgument(c, "FILE")
					if err != nil {
						return err
					}
					return runExportVerify(c.App.Writer, file, c.String("log-key"), c.Bool("json"))
				},
			},
			{
				Name: "document", Usage: "the decision as a page for the authority's register, ready to print", ArgsUsage: "CASE",
				Flags: append(identityFlags(), &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "a new `FILE` (- is standard output)"}),
				Action: func(c *cli.Context) error {
					number, err := oneArgument(c, "CASE")
					if err != nil {
						return err
					}
					if c.String("out") == "" {
						return usageErrorf("--out FILE is missing")
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runDocument(c.Context, c.App.Writer, who, number, c.String("out"))
					})
				},
			},
			{
				Name: "list", Usage: "list the exports of a case that have not been removed", ArgsUsage: "CASE",
				Flags: append(identityFlags(), asJSON),
				Action: func(c *cli.Context) error {
					number, err := oneArgument(c, "CASE")
					if err != nil {
						return err
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						if _, _, err := g.Entitled(c.Context, number, who.signer); err != nil {
							return err
						}
						return g.runExportList(c.App.Writer, number, c.Bool("json"))
					})
				},
			},
			{
				Name: "remove", Usage: "remove the exports of cases that have ended (disclosure.keep_exports)",
				Description: `Exit codes: 0 done, 1 fault, 2 wrong flags, 3 an export was altered, is missing, or can't be reached: somebody must say where it is.`,
				Flags:       []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withGate(c, false, func(g *openedGate) error { return g.runExportRemove(c.Context, c.App.Writer, c.Bool("json")) })
				},
			},
		},
	}
}

// rowsOf runs one lookup and keeps its rows.
func (g *openedGate) rowsOf(ctx context.Context, about io.Writer, who *caller, number string) (*casework.Case, []casework.Row, casework.Result, error) {
	if _, err := g.Recover(ctx); err != nil {
		return nil, nil, casework.Result{}, err
	}
	c, _, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return nil, nil, casework.Result{}, err
	}
	request, err := casework.SignLookup(c.Decision, c.Digest, who.signer, time.Now())
	if err != nil {
		return nil, nil, casework.Result{}, err
	}
	var rows []casework.Row
	result, err := g.Lookup(ctx, number, request, func(r casework.Row) error { rows = append(rows, r); return nil })
	if result.Case != "" {
		printResult(about, result)
	}
	return c, rows, result, err
}

func (g *openedGate) authority(tenant string) string {
	if name := g.config.Disclosure.Secrecy.Authority; name != "" {
		return name
	}
	return tenant
}

func (g *openedGate) runExport(ctx context.Context, w, about io.Writer, who *caller, number, dir string, police *casework.PoliceRequest, asJSON bool) error {
	// What can be refused without a lookup is refused before one is used up.
	c, _, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	switch kind := c.Decision.Kind; {
	case kind == casework.SubjectAccess:
		return usageErrorf("the decision is about a person's own extract: 'tillsyn subject-access'")
	case kind == casework.PublicRecord:
		return usageErrorf("the decision is about public records: 'tillsyn records'")
	case kind == casework.Police && police == nil:
		return usageErrorf("the decision is about an extract for the police: 'tillsyn export police'")
	case police != nil:
		if err := police.Validate(c.Decision); err != nil {
			return usageErrorf("%w", err)
		}
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	c, rows, _, err := g.rowsOf(ctx, about, who, number)
	if err != nil {
		return err
	}
	o := casework.ExportOptions{Dir: dir, Maker: who.signer, Authority: g.authority(c.Decision.Tenant)}
	if police != nil {
		cover, err := casework.PoliceCover(c.Decision, *police, len(rows), o.Authority, time.Now().UTC().Truncate(time.Second))
		if err != nil {
			return err
		}
		o.Cover = &cover
	}
	e, err := g.Export(ctx, number, rows, o)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, lineOfExport(e))
	}
	_, err = fmt.Fprintf(w, "%s: %d rows\nmanifest %s\ncheck it with: tillsyn export verify --log-key '%s' FILE\n", e.Path, e.Rows, e.Manifest, g.log.Trust().Key())
	return err
}

// checkFolder says whether files can go into dir, before there are any.
func checkFolder(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usageErrorf("--out: is not a folder that is there")
	}
	return nil
}

// An exportLine is an export as JSON.
type exportLine struct {
	Case     string    `json:"case"`
	Path     string    `json:"path"`
	Manifest string    `json:"manifest,omitempty"`
	SHA256   string    `json:"sha256,omitempty"` // of the file
	Maker    string    `json:"maker"`
	Made     time.Time `json:"made"`
	Rows     int       `json:"rows"`
	Outcome  string    `json:"outcome,omitempty"`
}

func lineOfExport(e casework.Export) exportLine {
	l := exportLine{Case: e.Case, Path: e.Path, Maker: e.Maker, Made: e.Made, Rows: e.Rows}
	if !e.Manifest.IsZero() {
		l.Manifest = e.Manifest.String()
	}
	if !e.Archive.IsZero() {
		l.SHA256 = e.Archive.String()
	}
	return l
}

func runExportVerify(w io.Writer, file, key string, asJSON bool) error {
	var trust audit.Trust
	if key != "" {
		var err error
		if trust, err = audit.NewTrust(key); err != nil {
			return usageErrorf("--log-key: %w", err)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("verify an export: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("verify an export: %w", err)
	}
	r, err := casework.VerifyExport(f, info.Size(), trust)
	if err != nil {
		return foundErrorf("%w", err)
	}
	if asJSON {
		return printJSON(w, struct {
			Holds     bool          `json:"holds"`
			Pinned    bool          `json:"pinned"` // the record's key was given
			Case      string        `json:"case"`
			Kind      casework.Kind `json:"kind"`
			Decision  string        `json:"decision"`
			Maker     string        `json:"maker"`
			Made      time.Time     `json:"made"`
			Rows      int           `json:"rows"`
			Approvals int           `json:"approvals"`
			Lookups   int           `json:"lookups"`
			LogKey    string        `json:"log_key"`
		}{true, r.Pinned, r.Manifest.Case, r.Manifest.Kind, r.Manifest.Decision.String(), r.Manifest.Maker, r.Manifest.Made, r.Rows, len(r.Approvals), len(r.Lookups), r.Manifest.LogKey})
	}
	fmt.Fprintf(w, "case %s, %s: it holds\n", casework.Shown(r.Manifest.Case), r.Manifest.Kind)
	fmt.Fprintf(w, "made %s by %s; %d rows; on record as entry %04d/%d\n", r.Manifest.Made.Format(time.DateTime+" UTC"), r.Manifest.Maker, r.Rows, r.Recorded.Segment, r.Recorded.Index)
	for _, a := range r.Approvals {
		fmt.Fprintf(w, "approved by %s (%s) %s\n", a.Holder, a.Role, a.At.Format(time.DateTime+" UTC"))
	}
	fmt.Fprintf(w, "%d lookups, each while the decision was active; the rows are what the one of entry %04d/%d answered\n", len(r.Lookups), r.Answered.Segment, r.Answered.Index)
	if !r.Pinned {
		fmt.Fprintf(w, "the record's key is the archive's own, %s: compare it with the one that you know, or give --log-key\n", r.Manifest.LogKey)
	}
	return nil
}

func (g *openedGate) runDocument(ctx context.Context, w io.Writer, who *caller, number, out string) error {
	c, _, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	page, err := g.Document(ctx, number, g.authority(c.Decision.Tenant))
	if err != nil {
		return err
	}
	html, err := page.HTML()
	if err != nil {
		return err
	}
	if out == "-" {
		_, err = w.Write(html)
		return err
	}
	return writePrivate(out, html)
}

func (g *openedGate) runExportList(w io.Writer, number string, asJSON bool) error {
	list, err := g.Exports(number)
	if err != nil {
		return err
	}
	return printExports(w, linesOfExports(list), asJSON)
}

func linesOfExports(list []casework.Export) []exportLine {
	lines := make([]exportLine, len(list))
	for i, e := range list {
		lines[i] = lineOfExport(e)
	}
	return lines
}

func printExports(w io.Writer, lines []exportLine, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Exports []exportLine `json:"exports"`
		}{lines})
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "There are no exports.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tMADE\tMAKER\tROWS\tFILE\tSTATE")
	for _, l := range lines {
		state := l.Outcome
		if state == "" {
			if state = "kept"; l.SHA256 == "" {
				state = "interrupted"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", l.Case, l.Made.Format(time.DateTime+" UTC"), l.Maker, l.Rows, casework.Shown(l.Path), state)
	}
	return t.Flush()
}

func (g *openedGate) runExportRemove(ctx context.Context, w io.Writer, asJSON bool) error {
	done, err := g.RemoveExports(ctx, g.config.Disclosure.KeepExports)
	return errors.Join(err, printExports(w, linesOfRemovals(done), asJSON), foundExports(done))
}

func linesOfRemovals(done []casework.ExportRemoval) []exportLine {
	lines := make([]exportLine, len(done))
	for i, r := range done {
		lines[i] = lineOfExport(r.Export)
		lines[i].Outcome = r.Outcome
	}
	return lines
}

// foundExports says which exports were not simply removed: somebody has to look.
func foundExports(done []casework.ExportRemoval) error {
	n := map[string]int{}
	for _, r := range done {
		n[r.Outcome]++
	}
	if len(done) == n[casework.ExportRemoved] {
		return nil
	}
	return foundErrorf("of %d exports of ended cases %d had been altered, %d are missing and %d can't be reached: somebody must say where they are", len(done),
		n[casework.ExportAltered], n[casework.ExportMissing], n[casework.ExportOutOf])
}

// removeEnded removes what has no case any more: exports of cases that ended, and permissions that explain nothing. Without a gate
// there is nothing to remove.
func removeEnded(ctx context.Context, cfg Config) (done []casework.ExportRemoval, permissions int, err error) {
	if _, err := os.Stat(cfg.Keys.Gate); errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	g, err := openGate(ctx, cfg, time.Now, "")
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	_, lost := g.Recover(ctx) // lookups whose process died, and what was handed over for decisions that have ended
	done, err = g.RemoveExports(ctx, cfg.Disclosure.KeepExports)
	tenants, fault := g.keys.tenants()
	err = errors.Join(lost, err, fault)
	for _, tenant := range tenants {
		if notes, fault := g.keys.notes(tenant); fault == nil && len(notes) == 0 {
			continue // its first ceremony is under way: nobody could have signed a permission
		}
		n, fault := g.RemovePermissions(ctx, tenant)
		permissions, err = permissions+n, errors.Join(err, fault)
	}
	return done, permissions, err
}

// keepRemovingEnded does so every hour, until it is told to stop.
func keepRemovingEnded(ctx context.Context, cfg Config, log *slog.Logger) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		done, permissions, err := removeEnded(ctx, cfg)
		if fault := foundExports(done); fault != nil {
			log.Error("remove exports", "error", fault)
		}
		if len(done)+permissions > 0 {
			log.Info("removed what has no case any more", "exports", len(done), "permissions", permissions)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("remove what has no case any more", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
		}
	}
}
