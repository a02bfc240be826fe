package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"tillsyn/aggregate"
	"tillsyn/internal/vault"
)

// checkedDays is how many days before today are compared where nobody says which.
const checkedDays = 31

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "see that the statistics agree with each other, and the ledger with itself",
		Description: `Each request is counted in several tables and levels, and each offset of Kafka stands once in the ledger: as a record or as a gap.
This compares them. It is done after each daily purge too (see tillsyn_check_findings among the metrics). What it prints are
differences, not numbers. It signs in to ClickHouse as purge, the one role that reads the tables.

Exit codes: 0 all agree, 1 fault, 2 wrong flags or configuration, 3 something does not agree.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: fmt.Sprintf("first `DAY`, as 2026-11-01 (default: %d days ago)", checkedDays)},
			&cli.StringFlag{Name: "to", Usage: "last `DAY` (default: yesterday)"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			from, to, err := dayFlags(c, closedDays)
			if err != nil {
				return err
			}
			if to.Before(from) {
				return usageErrorf("--to: %s is before %s", to.Format(time.DateOnly), from.Format(time.DateOnly))
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			return runCheck(c.Context, c.App.Writer, cfg, from, to, c.Bool("json"))
		},
	}
}

// closedDays are those that are over, and not long ago.
func closedDays(now time.Time) (from, to time.Time) {
	to = now.UTC().AddDate(0, 0, -1)
	return to.AddDate(0, 0, 1-checkedDays), to
}

// serverCheck is what was found on one server.
type serverCheck struct {
	Server string `json:"server"`
	aggregate.CheckReport
}

func runCheck(ctx context.Context, w io.Writer, cfg Config, from, to time.Time, asJSON bool) (err error) {
	servers, closer, err := openPurgeServers(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()
	var reports []serverCheck
	findings := 0
	for _, s := range servers {
		r, err := aggregate.Check(ctx, s.DB, from, to)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		reports, findings = append(reports, serverCheck{s.Name, r}), findings+len(r.Findings)
	}
	if asJSON {
		err = printJSON(w, struct {
			From    string        `json:"from"`
			To      string        `json:"to"`
			Servers []serverCheck `json:"servers"`
		}{from.Format(time.DateOnly), to.Format(time.DateOnly), reports})
	} else {
		err = printChecks(w, reports)
	}
	if err != nil {
		return err
	}
	if findings > 0 {
		return foundErrorf("%d places do not agree", findings)
	}
	return nil
}

func printChecks(w io.Writer, reports []serverCheck) error {
	for _, r := range reports {
		if len(reports) > 1 {
			fmt.Fprintf(w, "%s:\n", r.Server)
		}
		if len(r.Findings) > 0 {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "DAY\tTENANT\tPOPULATION\tWHERE\tWHAT")
			for _, f := range r.Findings {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Day, f.Tenant, f.Population, f.Where, f.What)
			}
			if err := t.Flush(); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%d days and the ledger compared, %d places do not agree\n", r.Days, len(r.Findings)); err != nil {
			return err
		}
		if len(r.Busy) > 0 {
			if _, err := fmt.Fprintf(w, "not compared, because something came in or went meanwhile: %s\n", strings.Join(r.Busy, ", ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// A nightlyCheck compares the closed days of every server after each daily purge.
type nightlyCheck struct {
	servers  []vault.PurgeServer
	now      func() time.Time
	log      *slog.Logger
	findings prometheus.Gauge
	last     prometheus.Gauge
}

func newNightlyCheck(servers []vault.PurgeServer, now func() time.Time, log *slog.Logger, metrics prometheus.Registerer) (*nightlyCheck, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tillsyn", Subsystem: "check", Name: name, Help: help})
	}
	c := &nightlyCheck{servers: servers, now: now, log: log,
		findings: gauge("findings", "Places where statistics or ledger did not agree when they were compared last."),
		last:     gauge("last_timestamp_seconds", "When statistics and ledger were compared last."),
	}
	if err := errors.Join(metrics.Register(c.findings), metrics.Register(c.last)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return c, nil
}

// run leaves the time of the last comparison as it was if a server could not be asked: an alert looks at it.
func (c *nightlyCheck) run(ctx context.Context) {
	from, to := closedDays(c.now())
	findings, whole := 0, true
	for _, s := range c.servers {
		r, err := aggregate.Check(ctx, s.DB, from, to)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.log.Error("the statistics could not be checked", "server", s.Name, "error", err)
			whole = false
			continue
		}
		for _, f := range r.Findings {
			c.log.Error("statistics or ledger do not agree", "server", s.Name, "day", f.Day, "tenant", f.Tenant, "population", f.Population, "where", f.Where, "what", f.What)
		}
		findings += len(r.Findings)
		c.log.Info("statistics and ledger compared", "server", s.Name, "days", r.Days, "findings", len(r.Findings))
	}
	c.findings.Set(float64(findings))
	if whole {
		c.last.Set(float64(c.now().Unix()))
	}
}
