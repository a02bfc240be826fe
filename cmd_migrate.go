package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

// migrateCommand brings the database to the schema of this tillsyn.
func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "create or upgrade the tables and views in ClickHouse",
		Description: "Runs the numbered migrations that the database does not have yet. It may be repeated, interrupted, and run twice at once.\n" +
			"A migration that was changed after it was applied is refused.\n\n" +
			"Without clickhouse.addresses in the configuration it uses the embedded ClickHouse: the one that runs, or one started\n" +
			"for this. On a server it must sign in as the user who is to own tables and views (deploy/clickhouse).\n\n" +
			"Exit codes: 0 done, 1 fault, 2 wrong flags or configuration.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would run, and change nothing"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageErrorf("migrate takes no arguments, got %q", c.Args().First())
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			return runMigrate(c.Context, c.App.Writer, cfg, migrateOptions{dryRun: c.Bool("dry-run"), json: c.Bool("json")})
		},
	}
}

type migrateOptions struct {
	dryRun bool
	json   bool
}

func runMigrate(ctx context.Context, w io.Writer, cfg Config, o migrateOptions) (err error) {
	if o.dryRun && noData(cfg) {
		list, err := clickhouse.ReadMigrations(schemas.Migrations())
		if err != nil {
			return err
		}
		steps := make([]clickhouse.Step, len(list))
		for i, m := range list {
			steps[i].Migration = m
		}
		return printSteps(w, steps, o)
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleOwner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	do := db.Migrate
	if o.dryRun {
		do = db.PlanMigration
	}
	steps, err := do(ctx, schemas.Migrations())
	return errors.Join(printSteps(w, steps, o), err)
}

func printSteps(w io.Writer, steps []clickhouse.Step, o migrateOptions) error {
	if o.json {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			DryRun bool              `json:"dry_run"`
			Steps  []clickhouse.Step `json:"migrations"`
		}{o.dryRun, steps})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MIGRATION\tSTATEMENTS\tAPPLIED")
	for _, s := range steps {
		applied := "now"
		if !s.Applied.IsZero() {
			applied = s.Applied.UTC().Format(time.DateTime + " UTC")
		} else if o.dryRun {
			applied = "would run"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", s.Name, len(s.Statements), applied)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !o.dryRun {
		return nil
	}
	for _, s := range steps {
		if !s.Applied.IsZero() {
			continue
		}
		for _, statement := range s.Statements {
			if _, err := fmt.Fprintf(w, "\n-- %s\n%s;\n", s.Name, statement); err != nil {
				return err
			}
		}
	}
	return nil
}
