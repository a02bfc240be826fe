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

	"tillsyn/ingest"
	"tillsyn/schemas"
)

func gapsCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	return &cli.Command{
		Name:   "gaps",
		Usage:  "see and accept the loss of records that Kafka removed before they were read",
		Action: noSubcommand,
		Description: `Nothing is skipped silently: where Kafka's retention removed records that tillsyn had not read, their partition
stands still until somebody accepts the loss, with a reason, which is kept.`,
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list lost offsets and what became of them",
				Description: `States: standing (the partition waits for you), accepted (ingest goes on within half a minute), crossed (it has gone on).

Exit codes: 0 done, 1 fault, 2 wrong configuration.`,
				Flags: []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					cfg, err := configOf(c)
					if err != nil {
						return err
					}
					return runGapsList(c.Context, c.App.Writer, cfg, c.Bool("json"))
				},
			},
			{
				Name:  "accept",
				Usage: "accept the loss that stands in a partition, so that ingest goes on",
				Description: `The lost offsets will be counted as gaps in the ledger. The reason is kept for good: name no person in it.

Exit codes: 0 accepted, 1 fault, 2 wrong flags, 4 refused: no loss stands there.`,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "topic", Usage: "the `TOPIC`"},
					&cli.IntFlag{Name: "partition", Usage: "the `NUMBER` of the partition", Value: -1, DefaultText: "none"},
					&cli.StringFlag{Name: "reason", Usage: "why the loss is acceptable, one line of `TEXT`"},
					asJSON,
				},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					cfg, err := configOf(c)
					if err != nil {
						return err
					}
					return runGapsAccept(c.Context, c.App.Writer, cfg, gapsAcceptOptions{
						topic: c.String("topic"), partition: c.Int("partition"), reason: c.String("reason"), json: c.Bool("json"),
					})
				},
			},
		},
	}
}

type gapsAcceptOptions struct {
	topic     string
	partition int
	reason    string
	json      bool
}

func runGapsList(ctx context.Context, w io.Writer, cfg Config, asJSON bool) error {
	return withStore(ctx, cfg, func(store *ingest.Store) error {
		all, err := store.Gaps(ctx)
		if err != nil {
			return err
		}
		return printGaps(w, all, asJSON)
	})
}

func runGapsAccept(ctx context.Context, w io.Writer, cfg Config, o gapsAcceptOptions) error {
	var faults []error
	if o.topic == "" {
		faults = append(faults, errors.New("--topic is missing"))
	}
	if o.partition < 0 || o.partition > 1<<31-1 {
		faults = append(faults, errors.New("--partition must be a number from 0"))
	}
	if err := ingest.CheckReason(o.reason); err != nil {
		faults = append(faults, fmt.Errorf("--reason: %w", err))
	}
	if len(faults) > 0 {
		return usageErrorf("gaps accept: %w", errors.Join(faults...))
	}
	return withStore(ctx, cfg, func(store *ingest.Store) error {
		accepted, err := store.AcceptGaps(ctx, cfg.Kafka.Cluster, o.topic, int32(o.partition), o.reason)
		switch {
		case errors.Is(err, ingest.ErrNoGap):
			return &exitError{exitRefused, fmt.Errorf("%w: see 'tillsyn gaps list'", err)}
		case err != nil:
			return err
		}
		return printGaps(w, accepted, o.json)
	})
}

// withStore opens the ledger, with the rights of ingest.
func withStore(ctx context.Context, cfg Config, use func(*ingest.Store) error) (err error) {
	db, err := openDatabase(ctx, cfg, schemas.RoleIngest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(ctx, schemas.Migrations()); err != nil {
		return err
	}
	store, err := ingest.NewStore(db.DB, time.Now)
	if err != nil {
		return err
	}
	return use(store)
}

// A gapLine is a lost stretch as JSON.
type gapLine struct {
	Cluster    string     `json:"cluster"`
	Topic      string     `json:"topic"`
	Epoch      string     `json:"epoch"`
	Partition  int32      `json:"partition"`
	First      int64      `json:"first"` // the first lost offset
	Next       int64      `json:"next"`  // the one after the last
	State      string     `json:"state"`
	FoundAt    time.Time  `json:"found_at"`
	AcceptedAt *time.Time `json:"accepted_at,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

func printGaps(w io.Writer, all []ingest.LostStretch, asJSON bool) error {
	if asJSON {
		list := make([]gapLine, len(all))
		for i, g := range all {
			list[i] = gapLine{
				Cluster: g.Source.Cluster, Topic: g.Source.Topic, Epoch: g.Source.Epoch, Partition: g.Source.Partition,
				First: g.First, Next: g.Next, State: g.State, FoundAt: g.FoundAt.UTC(), Reason: g.Reason,
			}
			if !g.AcceptedAt.IsZero() {
				at := g.AcceptedAt.UTC()
				list[i].AcceptedAt = &at
			}
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			Gaps []gapLine `json:"gaps"`
		}{list})
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was lost.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOPIC\tPARTITION\tFIRST\tLAST\tOFFSETS\tSTATE\tFOUND\tREASON")
	for _, g := range all {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", g.Source.Topic, g.Source.Partition, g.First, g.Next-1, g.Next-g.First, g.State,
			g.FoundAt.UTC().Format(time.DateTime+" UTC"), g.Reason)
	}
	return t.Flush()
}
