package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/audit"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
	"tillsyn/schemas"
)

func holdCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	on := func(name, usage, description string, do func(context.Context, io.Writer, *openedGate, *caller, vault.HoldRegister, string, bool) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "CASE", Flags: append(identityFlags(), asJSON),
			Description: description + "\n\nExit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.",
			Action: func(c *cli.Context) error {
				number, err := oneArgument(c, "CASE")
				if err != nil {
					return err
				}
				return withGateAs(c, schemas.RolePurge, func(g *openedGate) error {
					who, err := callerOf(c, g.keys)
					if err != nil {
						return err
					}
					return holdError(withHolds(c.Context, g.config, func(r vault.HoldRegister) error {
						return do(c.Context, c.App.Writer, g, who, r, number, c.Bool("json"))
					}))
				})
			},
		}
	}
	return &cli.Command{
		Name:   "hold",
		Usage:  "keep what a case is about from being purged, until it has ended",
		Action: noSubcommand,
		Description: `What a hold keeps is copied at once, as sealed as it is, and again before each purge. Holds add up, never lapse by time, and end
with the case; the copies go with the next purge then. A request for public records has its hold placed by itself, and each decision
that may be used before the next purge. One that waits for its approvals holds nothing: the copies would tell whether there are rows.`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the holds on record and what they keep",
				Description: "It names cases, days and numbers, nobody. How much the hold of a request about one person keeps, it does not say.\n\nExit codes: 0 done, 1 fault, 2 wrong configuration, 3 record and database disagree about what is held, or the hold of a request for records is older than disclosure.overdue.",
				Flags:       []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					cfg, err := configOf(c)
					if err != nil {
						return err
					}
					return holdError(withHolds(c.Context, cfg, func(r vault.HoldRegister) error {
						return runHoldList(c.Context, c.App.Writer, r, cfg.Disclosure.Overdue, c.Bool("json"))
					}))
				},
			},
			on("place", "keep what a decision is about", "For whoever is entitled to the case; the decision must be active or suspended.", runHoldPlace),
			on("release", "end the holds of a case that has ended", "For whoever is entitled to the case; it must be closed, revoked or denied. The hold of a request for\npublic records ends with 'tillsyn records close'; this finishes one that was interrupted.", runHoldRelease),
		},
	}
}

// withHolds opens the register of holds with the grants of purge.
func withHolds(ctx context.Context, cfg Config, use func(vault.HoldRegister) error) (err error) {
	db, err := openDatabase(ctx, cfg, schemas.RolePurge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(ctx, schemas.Migrations()); err != nil {
		return err
	}
	log, err := audit.Open(ctx, cfg.Audit, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return use(holdRegister(cfg, db, log))
}

// holdRegister is the register of holds of a configuration. db is signed in as the user purge.
func holdRegister(cfg Config, db *database, log *audit.Log) vault.HoldRegister {
	return vault.HoldRegister{DB: db.DB, Log: log, Lock: cfg.Retention.Purge.Lock, Wait: cfg.Retention.Purge.Wait, Now: time.Now}
}

func holdError(err error) error {
	switch {
	case errors.Is(err, casework.ErrNoHold):
		return &exitError{exitRefused, err}
	case errors.Is(err, vault.ErrHolds), errors.Is(err, vault.ErrGone):
		return &exitError{exitFound, err}
	}
	return err
}

func runHoldPlace(ctx context.Context, w io.Writer, g *openedGate, who *caller, r vault.HoldRegister, number string, asJSON bool) error {
	h, n, err := g.PlaceHold(ctx, number, who.signer, r)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, struct {
			vault.Hold
			Copies vault.HoldCopies `json:"copies"`
		}{h, n})
	}
	fmt.Fprintf(w, "Hold %s is in force: %d keys and %d capsules are copied.\n", h.ID, n.Keys, n.Capsules)
	if h.Gone > 0 {
		_, err = fmt.Fprintf(w, "%d days, counted for each source, are not held: a purge had removed their keys.\n", h.Gone)
	}
	return err
}

func runHoldRelease(ctx context.Context, w io.Writer, g *openedGate, who *caller, r vault.HoldRegister, number string, asJSON bool) error {
	desk := casework.RecordsDesk{Gate: g.Gate, Release: r.Release}
	release := func() ([]vault.Hold, error) { return desk.ReleaseHold(ctx, number, who.signer) }
	if _, err := desk.Status(ctx, number); errors.Is(err, casework.ErrNoCase) {
		release = func() ([]vault.Hold, error) { return g.ReleaseHolds(ctx, number, who.signer, r) }
	}
	list, err := release()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, struct {
			Released []vault.Hold `json:"released"`
		}{nonNil(list)})
	}
	if len(list) == 0 {
		_, err = fmt.Fprintln(w, "The case holds nothing.")
		return err
	}
	_, err = fmt.Fprintf(w, "%d holds have ended. Their copies go with the next purge.\n", len(list))
	return err
}

func runHoldList(ctx context.Context, w io.Writer, r vault.HoldRegister, after time.Duration, asJSON bool) (err error) {
	list, err := r.List(ctx)
	if err != nil {
		return err
	}
	type line struct {
		vault.ListedHold
		Copies  *vault.HoldCopies `json:"copies,omitempty"` // nil: not told
		Overdue bool              `json:"overdue"`
	}
	lines := make([]line, len(list))
	overdue := 0
	for i, h := range list {
		lines[i] = line{h, nil, h.Basis == vault.HoldByRecords && h.InForce() && r.Now().After(h.Placed.Add(after))}
		// Whoever writes a request down would learn, of anybody, whether there is something, and how much: without a decision.
		if h.Basis == vault.HoldByDecision || h.Wide {
			lines[i].Copies = &list[i].Copies
		}
		if lines[i].Overdue {
			overdue++
		}
	}
	defer func() {
		if err == nil && overdue > 0 {
			err = foundErrorf("%d holds of requests for records are older than %d days: see 'tillsyn records list'", overdue, int(after.Hours()/24))
		}
	}()
	if asJSON {
		return printJSON(w, struct {
			Holds []line `json:"holds"`
		}{lines})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is held.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "HOLD\tCASE\tBASIS\tPLACED\tRELEASED\tDAYS\tKINDS\tKEYS\tCAPSULES")
	for _, h := range lines {
		released := "in force"
		if h.Overdue {
			released = "overdue"
		}
		if !h.InForce() {
			released = h.Released.UTC().Format(time.DateOnly)
		}
		days := h.From
		if h.To != h.From {
			days += " to " + h.To
		}
		keys, capsules := "-", "-"
		if h.Copies != nil {
			keys, capsules = strconv.FormatInt(h.Copies.Keys, 10), strconv.FormatInt(h.Copies.Capsules, 10)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Case, h.Basis, h.Placed.UTC().Format(time.DateOnly), released, days, strings.Join(h.Kinds, ", "), keys, capsules)
	}
	return t.Flush()
}
