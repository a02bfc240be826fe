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
	"tillsyn/internal/engine"
	"tillsyn/schemas"
)

// migrateCommand brings the database to the schema of this tillsyn.
func migrateCommand() *cli.Command {
	d := clickhouse.DefaultConfig()
	return &cli.Command{
		Name:  "migrate",
		Usage: "create or upgrade the tables and views in ClickHouse",
		Description: "Runs the numbered migrations that the database does not have yet. It may be repeated, interrupted, and run twice at once.\n" +
			"A migration that was changed after it was applied is refused.\n\n" +
			"Without --address it uses the embedded ClickHouse in --data-dir: the one that runs there, or one started for this.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "address", Usage: "a ClickHouse server's native `HOST:PORT`; repeat for more"},
			&cli.StringFlag{Name: "database", Value: d.Database, Usage: "the `NAME` of the database"},
			&cli.StringFlag{Name: "username", Value: engine.Owner, Usage: "the `USER` who will own tables and views"},
			&cli.StringFlag{Name: "password-file", Usage: "the `FILE` that holds the password"},
			&cli.BoolFlag{Name: "tls", Usage: "connect with TLS"},
			&cli.StringFlag{Name: "ca-file", Usage: "the `FILE` of authorities that sign the server's certificate (PEM)"},
			&cli.StringFlag{Name: "data-dir", Value: engine.DefaultConfig().DataDir, Usage: "the embedded ClickHouse's `DIRECTORY`"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would run, and change nothing"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageErrorf("migrate takes no arguments, got %q", c.Args().First())
			}
			o := migrateOptions{clickhouse: d, dryRun: c.Bool("dry-run"), json: c.Bool("json")}
			o.clickhouse.Database, o.clickhouse.Username = c.String("database"), c.String("username")
			if o.clickhouse.Addresses = c.StringSlice("address"); len(o.clickhouse.Addresses) == 0 {
				o.engine = engine.DefaultConfig()
				o.engine.DataDir = c.String("data-dir")
				for _, flag := range []string{"username", "password-file", "tls", "ca-file"} {
					if c.IsSet(flag) {
						return usageErrorf("--%s is for a server: give its --address too", flag)
					}
				}
			}
			o.clickhouse.PasswordFile = c.String("password-file")
			o.clickhouse.TLS = clickhouse.TLS{Enabled: c.Bool("tls"), CAFile: c.String("ca-file")}
			return runMigrate(c.Context, c.App.Writer, o)
		},
	}
}

type migrateOptions struct {
	clickhouse clickhouse.Config // without addresses: the embedded engine
	engine     engine.Config
	dryRun     bool
	json       bool
}

func runMigrate(ctx context.Context, w io.Writer, o migrateOptions) (err error) {
	if len(o.clickhouse.Addresses) == 0 {
		var stop func() error
		if o.clickhouse, stop, err = embedded(ctx, o.clickhouse, o.engine); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if err := o.clickhouse.Validate(); err != nil {
		return usageErrorf("migrate: %w", err)
	}
	db, err := clickhouse.Open(ctx, o.clickhouse)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer db.Close()
	do := db.Migrate
	if o.dryRun {
		do = db.PlanMigration
	}
	steps, err := do(ctx, schemas.Migrations())
	return errors.Join(printSteps(w, steps, o), err)
}

// embedded answers how to reach the engine that runs on a data directory as its owner, and starts one where none runs;
// stop ends only what was started here.
func embedded(ctx context.Context, cfg clickhouse.Config, e engine.Config) (clickhouse.Config, func() error, error) {
	var password string
	running, err := engine.Find(e.DataDir)
	if err == nil {
		cfg.Addresses = []string{running.Address}
		cfg.Username, password = running.Credentials(engine.Owner)
		cfg.Password = clickhouse.Password(password)
		return cfg, func() error { return nil }, nil
	}
	if !errors.Is(err, engine.ErrNotRunning) {
		return cfg, nil, err
	}
	if e.Users, err = engineUsers(cfg.Database); err != nil {
		return cfg, nil, err
	}
	started, err := engine.Start(ctx, e)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Addresses = []string{started.Address()}
	cfg.Username, password = started.Credentials(engine.Owner)
	cfg.Password = clickhouse.Password(password)
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return started.Stop(ctx)
	}
	return cfg, stop, nil
}

// engineUsers are the users of the embedded ClickHouse beside its owner, tillsyn_ROLE for each role, with that role's grants on the database.
func engineUsers(database string) (map[string]engine.User, error) {
	users := map[string]engine.User{}
	for _, role := range schemas.Roles() {
		if role == schemas.RoleOwner {
			continue
		}
		grants, err := schemas.Grants(role, database)
		if err != nil {
			return nil, err
		}
		u := engine.User{Grants: grants}
		if role == schemas.RoleQuery || role == schemas.RoleDashboards {
			u.Settings = map[string]string{"readonly": "2"} // reads only, but may lower its own limits
		}
		users["tillsyn_"+role] = u
	}
	return users, nil
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
