package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/query/casework"
)

func auditCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	where := []cli.Flag{
		&cli.StringFlag{Name: "dir", Usage: "the log, a copy or an export of it, in `FOLDER` (default: audit.directory)"},
		&cli.StringFlag{Name: "key", Usage: "the log's public key `VKEY`, as 'tillsyn audit key' prints it (default: of audit.key)"},
		&cli.StringSliceFlag{Name: "witness", Usage: "the public key `VKEY` of who co-signs checkpoints; may be repeated (default: with --key nobody, else audit.witness)"},
		&cli.IntFlag{Name: "quorum", Usage: "how many of the witnesses must have co-signed: a `NUMBER`"},
	}
	who := identityFlags()
	with := func(flags ...cli.Flag) []cli.Flag { return slices.Concat(where, flags) }
	return &cli.Command{
		Name:   "audit",
		Usage:  "verify, prove, read and keep the record of everything done",
		Action: noSubcommand,
		Description: `The record is a Merkle log with signed checkpoints. Verifying, proving and reading work on files alone, also on a copy,
without configuration: --dir and --key say which. Whoever must be able to trust the record keeps the key and a file of
their own for --remember.`,
		Subcommands: []*cli.Command{
			{
				Name: "verify", Usage: "prove every byte of the record",
				Description: `With --remember a log that was shortened, rewritten or put back from an old copy since the last time is found too; the
file is made if it is not there, and changed only if all is well.

When every byte is proved, the rule is checked on what stands there: before each lookup three approvals, each signed by a holder
of its role by the register of that time, none of them the requester or whoever looks, in the decision's window, the union told, by a
signed notice, or still to be told in time, nothing after a revocation, and no hold released before the end of what it rests on. It
takes the record alone.

Exit codes: 0 all is well, 1 fault, 2 wrong flags, 3 something was found: the first bad index or tile, or the first entry that the
rule does not allow, is named.`,
				Flags: with(&cli.StringFlag{Name: "remember", Usage: "your own `FILE` with the last checkpoints that you saw"},
					&cli.BoolFlag{Name: "rules", Value: true, Usage: "check the rule of three approvals too"}, asJSON),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withRecord(c, func(files fs.FS, trust audit.Trust) error {
						return runAuditVerify(c.Context, c.App.Writer, files, trust, c.String("remember"), c.Bool("rules"), c.Bool("json"))
					})
				},
			},
			{
				Name: "list", Usage: "print the entries of the record, verified",
				Description: "Exit codes: 0 done, 1 fault, 2 wrong flags, 3 the record does not verify.",
				Flags:       with(&cli.StringFlag{Name: "case", Usage: "only those of the case `NUMBER`"}, asJSON),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withRecord(c, func(files fs.FS, trust audit.Trust) error {
						return runAuditList(c.Context, c.App.Writer, files, trust, c.String("case"), c.Bool("json"))
					})
				},
			},
			{
				Name: "prove", Usage: "print the proof that an entry is in the record", ArgsUsage: "INDEX",
				Description: `INDEX is written SEGMENT/INDEX, like 1/17; a number alone is an index of the last segment. The proof stands for itself:
whoever has it and the key needs neither the log nor tillsyn (it is a C2SP tlog-proof).

Exit codes: 0 done, 1 fault, 2 wrong flags, 3 the record does not verify.`,
				Flags: with(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "-", Usage: "where to write it, a `FILE` that does not exist yet (- is standard output)"},
					&cli.BoolFlag{Name: "json", Usage: "print the proof and its place as JSON"}),
				Action: func(c *cli.Context) error {
					position, err := oneArgument(c, "INDEX")
					if err != nil {
						return err
					}
					if c.Bool("json") && c.String("output") != "-" {
						return usageErrorf("--json contradicts --output: the file is the proof itself")
					}
					return withRecord(c, func(files fs.FS, trust audit.Trust) error {
						return runAuditProve(c.App.Writer, files, trust, position, c.String("output"), c.Bool("json"))
					})
				},
			},
			{
				Name: "check-proof", Usage: "check the proof of an entry, and print the entry", ArgsUsage: "FILE",
				Description: "Exit codes: 0 the entry is in the record, 1 fault, 2 wrong flags, 3 the proof does not hold.",
				Flags:       slices.Concat(where[1:], []cli.Flag{asJSON}),
				Action: func(c *cli.Context) error {
					file, err := oneArgument(c, "FILE")
					if err != nil {
						return err
					}
					trust, err := trustOf(c)
					if err != nil {
						return err
					}
					return runAuditCheckProof(c.App.Reader, c.App.Writer, trust, file, c.Bool("json"))
				},
			},
			{
				Name: "export", Usage: "copy the record so that it verifies on its own", ArgsUsage: "FOLDER",
				Description: "FOLDER must be empty or not exist. The copy is verified.\n\nExit codes: 0 done, 1 fault, 2 wrong flags, 3 the record does not verify.",
				Flags:       with(asJSON),
				Action: func(c *cli.Context) error {
					folder, err := oneArgument(c, "FOLDER")
					if err != nil {
						return err
					}
					return withRecord(c, func(files fs.FS, trust audit.Trust) error {
						report, err := audit.Export(c.Context, files, trust, folder)
						if err != nil {
							return auditError(err)
						}
						return printReport(c.App.Writer, report, c.Bool("json"))
					})
				},
			},
			{
				Name: "rotate", Usage: "close the segment that takes entries, and begin the next",
				Description: `The next segment begins with the last checkpoint of this one, and repeats what still counts: registers, open cases, holds.
The record names whoever is enrolled and shows it with --identity; otherwise it says "operator".

Exit codes: 0 done, 1 fault, 2 wrong flags, 4 the clock is far ahead of the last entry.`,
				Flags: who,
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					actor, err := auditActor(c)
					if err != nil {
						return err
					}
					return withLog(c, func(log *audit.Log) error {
						n, err := log.Rotate(c.Context, actor)
						if err != nil {
							return err
						}
						_, err = fmt.Fprintf(c.App.Writer, "Segment %04d takes entries now.\n", n)
						return err
					})
				},
			},
			{
				Name: "retire", Usage: "remove the entries of a closed segment whose retention is over", ArgsUsage: "SEGMENT",
				Description: `Oldest first. Its last checkpoint, the proof of its first entry and the decision stay in the record for good. What still
counts was repeated by the next segment and is proved there. The record names whoever is enrolled and shows it with --identity;
otherwise it says "operator".

Exit codes: 0 done, 1 fault, 2 wrong flags, 4 refused: not closed, not the oldest, or too young.`,
				Flags: slices.Concat([]cli.Flag{&cli.StringFlag{Name: "decision", Usage: "the `NUMBER` of the retention decision"}}, who),
				Action: func(c *cli.Context) error {
					text, err := oneArgument(c, "SEGMENT")
					if err != nil {
						return err
					}
					n, err := strconv.Atoi(text)
					if err != nil || n < 1 {
						return usageErrorf("audit retire: %q is not the number of a segment", text)
					}
					if c.String("decision") == "" {
						return usageErrorf("audit retire: --decision is missing")
					}
					actor, err := auditActor(c)
					if err != nil {
						return err
					}
					return withLog(c, func(log *audit.Log) error {
						if err := log.Retire(c.Context, actor, n, c.String("decision")); err != nil {
							return err
						}
						_, err = fmt.Fprintf(c.App.Writer, "Segment %04d is retired.\n", n)
						return err
					})
				},
			},
			{
				Name: "clock", Usage: "compare the clock with the record, and confirm or correct it",
				Description: `An entry that comes longer after the last one than audit.silence is refused: one entry of a wrong time would end every
decision. When the clock is right all the same, a holder of the role security confirms it with --accept. The same corrects a
wrong entry: set the clock right first; from the confirmation on its time counts, also if it is earlier.

Exit codes: 0 done or the clock agrees, 1 fault, 2 wrong flags, 3 it does not agree, 4 refused.`,
				Flags: slices.Concat([]cli.Flag{
					&cli.BoolFlag{Name: "accept", Usage: "the clock of this machine is right: put that on record"},
					&cli.StringFlag{Name: "reason", Usage: "why nothing was written, or what went wrong: a `TEXT`"}}, who[:2]),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					config, err := configOf(c)
					if err != nil {
						return err
					}
					var identities presentIdentity
					if c.Bool("accept") && c.String("identity") != "" {
						ask := prompter{in: c.App.Reader, out: c.App.ErrWriter, terminal: terminalFile}
						if identities, _, err = readIdentity(c.String("identity"), c.String("passphrase-file"), ask); err != nil {
							return err
						}
					}
					return auditError(runAuditClock(c.Context, c.App.Writer, config, time.Now, c.Bool("accept"), c.String("reason"), identities))
				},
			},
			{
				Name: "key", Usage: "print the log's public key, to give to whoever shall verify",
				Description: "Give it on paper, once, before they need it. Exit codes: 0 done, 1 there is no key yet, 2 wrong configuration.",
				Flags:       []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					config, err := configOf(c)
					if err != nil {
						return err
					}
					trust, err := audit.TrustOf(config.Audit)
					if err != nil {
						return err
					}
					if c.Bool("json") {
						return printJSON(c.App.Writer, struct {
							Deployment string `json:"deployment"`
							Key        string `json:"key"`
						}{config.Audit.Deployment, trust.Key()})
					}
					_, err = fmt.Fprintln(c.App.Writer, trust.Key())
					return err
				},
			},
		},
	}
}

// oneArgument answers the only argument, which may stand before flags, unlike in urfave/cli.
func oneArgument(c *cli.Context, name string) (string, error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return "", usageErrorf("%s: %s is missing", commandName(c), name)
	}
	set := flag.NewFlagSet(c.Command.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	var values []cli.Flag
	for _, f := range c.Command.Flags {
		switch f := f.(type) {
		case *cli.BoolFlag:
			values = append(values, &cli.BoolFlag{Name: f.Name, Aliases: f.Aliases})
		default:
			values = append(values, &cli.StringFlag{Name: f.Names()[0], Aliases: f.Names()[1:]})
		}
	}
	for _, f := range values {
		if err := f.Apply(set); err != nil {
			return "", err
		}
	}
	if err := set.Parse(args[1:]); err != nil {
		return "", usageErrorf("%s: %w", commandName(c), err)
	}
	if set.NArg() > 0 {
		return "", usageErrorf("%s takes one argument, %s", commandName(c), name)
	}
	var faults []error
	set.Visit(func(f *flag.Flag) {
		for _, known := range c.Command.Flags {
			if names := known.Names(); slices.Contains(names, f.Name) {
				faults = append(faults, c.Set(names[0], f.Value.String()))
			}
		}
	})
	if err := errors.Join(faults...); err != nil {
		return "", usageErrorf("%s: %w", commandName(c), err)
	}
	return args[0], nil
}

// trustOf answers what the flags say to trust, or the configuration.
func trustOf(c *cli.Context) (audit.Trust, error) {
	witnesses, quorum := c.StringSlice("witness"), c.Int("quorum")
	if vkey := c.String("key"); vkey != "" {
		trust, err := audit.NewTrust(vkey)
		if err == nil {
			trust, err = trust.WithWitnesses(quorum, witnesses...)
		}
		if err != nil {
			return audit.Trust{}, usageErrorf("--key: %w", err)
		}
		return trust, nil
	}
	config, err := configOf(c)
	if err != nil {
		return audit.Trust{}, err
	}
	trust, err := audit.TrustOf(config.Audit)
	if errors.Is(err, fs.ErrNotExist) {
		return audit.Trust{}, usageErrorf("--key is missing, and audit.key of the configuration is not there")
	}
	if err == nil && len(witnesses) > 0 {
		trust, err = trust.WithWitnesses(quorum, witnesses...)
	}
	return trust, err
}

// withRecord opens the files of the record for reading. Nothing outside of the folder is read, whatever lies in it.
func withRecord(c *cli.Context, use func(fs.FS, audit.Trust) error) (err error) {
	dir := c.String("dir")
	if dir == "" {
		config, err := configOf(c)
		if err != nil {
			return err
		}
		dir = config.Audit.Directory
	}
	trust, err := trustOf(c)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return use(root.FS(), trust)
}

// withLog opens the log for writing.
func withLog(c *cli.Context, use func(*audit.Log) error) error {
	config, err := configOf(c)
	if err != nil {
		return err
	}
	log, err := audit.Open(c.Context, config.Audit, time.Now)
	if err != nil {
		return auditError(err)
	}
	return auditError(errors.Join(use(log), log.Close()))
}

// auditError gives an error of the audit log its exit code.
func auditError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, audit.ErrRefused), errors.Is(err, audit.ErrAhead):
		return &exitError{exitRefused, err}
	case errors.Is(err, audit.ErrRecord), errors.Is(err, audit.ErrProof):
		return &exitError{exitFound, err}
	default:
		return err
	}
}

// auditActor is who the record names: the id of the enrolled person whose key is shown, or operator.
func auditActor(c *cli.Context) (string, error) {
	if c.String("identity") == "" {
		return "operator", nil
	}
	config, err := configOf(c)
	if err != nil {
		return "", err
	}
	keys := keyPaths(config)
	who, err := callerOf(c, keys)
	if err != nil {
		return "", err
	}
	tenants, err := keys.tenants()
	if err != nil {
		return "", err
	}
	for _, tenant := range tenants {
		chain, err := keys.chain(tenant)
		if err != nil {
			return "", err
		}
		if p, ok := newest(chain).Person(who.signer.Name()); ok && p.Verifier == who.signer.Verifier() {
			return p.ID, nil
		}
	}
	return "", &exitError{exitRefused, errors.New("whoever has this key is in no register: leave --identity out, and the record says operator")}
}

// runAuditClock compares the clock with the record, and with accept puts on record that it is right.
func runAuditClock(ctx context.Context, w io.Writer, config Config, now func() time.Time, accept bool, reason string, identities presentIdentity) (err error) {
	log, err := audit.Open(ctx, config.Audit, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if !accept {
		last, err := log.Last(ctx)
		if err != nil {
			return err
		}
		gap := now().Sub(last)
		fmt.Fprintf(w, "The last entry of the record is of %s UTC, the clock says %s.\n", auditTime(last), auditTime(now()))
		if gap > config.Audit.Silence || gap < -audit.ClockTolerance {
			return foundErrorf("they are %v apart: set the clock right, or confirm it with --accept", gap.Abs().Round(time.Second))
		}
		return nil
	}
	keys := keyPaths(config)
	holder, chain, signer, err := clockHolder(keys, identities)
	if err != nil {
		return err
	}
	receipt, err := log.AcceptClock(ctx, holder, func(at, last time.Time) (string, string, error) {
		if signer == nil {
			return "", "", nil
		}
		current := newest(chain)
		signed, digest, err := casework.SignClock(casework.ClockAcceptance{Deployment: current.Deployment(), Tenant: current.Tenant(), Holder: holder,
			Register: casework.RegisterDigest{Number: current.Number(), Digest: current.Digest()}, Last: last, Now: at, Reason: reason}, signer)
		return digest.String(), string(signed), err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "On record at %v: the clock is right, it is %s UTC.\n", receipt.Position, auditTime(receipt.At))
	return err
}

// clockHolder finds the holder of the role security whose identity this is. Where nobody has keys yet there is nothing that a clock
// could revive: then the operator confirms it.
func clockHolder(keys keyStore, identities presentIdentity) (string, []*seal.Register, *seal.Signer, error) {
	tenants, err := keys.tenants()
	if err != nil {
		return "", nil, nil, err
	}
	any := false
	for _, tenant := range tenants {
		chain, err := keys.chain(tenant)
		if err != nil {
			return "", nil, nil, err
		}
		if len(chain) == 0 {
			continue
		}
		any = true
		if h, signer, err := openSigner(keys.tenant(tenant), newest(chain).Text().Holders, "", identities); err == nil && h.Role == seal.Security {
			return h.ID, chain, signer, nil
		}
	}
	if any {
		return "", nil, nil, &exitError{exitRefused, errors.New("a holder of the role security confirms the clock: --identity FILE")}
	}
	return "operator", nil, nil, nil
}

func runAuditVerify(ctx context.Context, w io.Writer, files fs.FS, trust audit.Trust, remember string, rules, asJSON bool) error {
	var report audit.Report
	var err error
	if remember != "" {
		report, err = audit.Remember(ctx, files, trust, remember)
	} else {
		report, _, err = audit.Verify(ctx, files, trust, audit.Memory{})
	}
	if err != nil {
		return err
	}
	var rule *casework.RuleReport
	if rules && report.OK() {
		record, err := audit.NewReader(files, trust).Entries(ctx)
		if err != nil {
			return auditError(err)
		}
		checked := casework.CheckRule(record)
		rule = &checked
	}
	if asJSON {
		err = printAuditJSON(w, struct {
			OK bool `json:"ok"`
			audit.Report
			Rule *casework.RuleReport `json:"rule,omitempty"`
		}{report.OK() && (rule == nil || len(rule.Findings) == 0), report, rule})
	} else if err = printReport(w, report, false); err == nil && rule != nil {
		err = printRule(w, rule)
	}
	if err != nil {
		return err
	}
	if first, bad := report.First(); bad {
		return foundErrorf("the audit log does not verify: %v", first)
	}
	if rule != nil && len(rule.Findings) > 0 {
		return foundErrorf("the rule was broken: %v", rule.Findings[0])
	}
	return nil
}

// printRule prints what the record says of each decision, and what the rule does not allow.
func printRule(w io.Writer, r *casework.RuleReport) error {
	if len(r.Cases) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nDECISION\tREQUESTED\tCASE\tBY\tAPPROVED BY\tUNION TOLD\tENDED\tLOOKUPS")
		for _, c := range r.Cases {
			told := "no"
			if c.Told {
				told = "yes"
			}
			fmt.Fprintf(t, "%v\t%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", c.Requested, auditTime(c.At), auditDash(c.Case), c.Requester, auditDash(strings.Join(c.Approvers, ", ")),
				told, auditDash(c.Ended), c.Lookups, c.Allowed)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	lookups := 0
	for _, c := range r.Cases {
		lookups += c.Lookups
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "AGAINST THE RULE: %v\n", f)
	}
	if len(r.Findings) > 0 {
		_, err := fmt.Fprintf(w, "The rule was broken: %d entries.\n", len(r.Findings))
		return err
	}
	_, err := fmt.Fprintf(w, "The rule was kept: %d decisions, %d lookups, each after three valid approvals by three people.\n", len(r.Cases), lookups)
	return err
}

func printReport(w io.Writer, r audit.Report, asJSON bool) error {
	if asJSON {
		return printAuditJSON(w, struct {
			OK bool `json:"ok"`
			audit.Report
		}{r.OK(), r})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEGMENT\tSTATE\tENTRIES\tFIRST\tLAST\tROOT")
	for _, s := range r.Segments {
		fmt.Fprintf(t, "%04d\t%s\t%d\t%s\t%s\t%s\n", s.Number, s.State, s.Size, auditTime(s.First), auditTime(s.Last), s.Root)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range r.Notices {
		fmt.Fprintf(w, "note: %v\n", f)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "FOUND: %v\n", f)
	}
	if !r.OK() {
		_, err := fmt.Fprintf(w, "The record of %s does not verify.\n", r.Deployment)
		return err
	}
	_, err := fmt.Fprintf(w, "The record of %s verifies: %d entries in %d segments. Compared with %d remembered checkpoints.\n",
		r.Deployment, r.Size, len(r.Segments), r.Remembered)
	return err
}

func auditTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// An auditLine is an entry as JSON for machines: the entry itself is in the form that was signed.
type auditLine struct {
	Segment int             `json:"segment"`
	Index   int64           `json:"index"`
	Entry   json.RawMessage `json:"entry"`
}

func auditLineOf(r audit.Record) (auditLine, error) {
	line, err := r.Encode()
	return auditLine{r.Segment, r.Index, line}, err
}

func runAuditList(ctx context.Context, w io.Writer, files fs.FS, trust audit.Trust, number string, asJSON bool) error {
	reader := audit.NewReader(files, trust)
	list, err := reader.Entries(ctx)
	if err == nil && number != "" {
		list, err = reader.OfCase(ctx, number)
	}
	if err != nil {
		return auditError(err)
	}
	if asJSON {
		lines := make([]auditLine, len(list))
		for i, r := range list {
			if lines[i], err = auditLineOf(r); err != nil {
				return err
			}
		}
		return printAuditJSON(w, struct {
			Entries []auditLine `json:"entries"`
		}{lines})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENTRY\tTIME (UTC)\tKIND\tACTOR\tCASE\tDOCUMENT\tCOUNTS\tBODY")
	for _, r := range list {
		var counts []string
		for name, n := range r.Counts {
			counts = append(counts, fmt.Sprintf("%s=%d", name, n))
		}
		slices.Sort(counts)
		body := "-"
		if r.Body != "" {
			body = fmt.Sprintf("%d bytes", len(r.Body))
		}
		fmt.Fprintf(t, "%v\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Position, auditTime(r.At), r.Kind, r.Actor, auditDash(r.Case), auditDash(r.Document[:min(len(r.Document), 19)]),
			auditDash(strings.Join(counts, " ")), body)
	}
	return t.Flush()
}

func auditDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func runAuditProve(w io.Writer, files fs.FS, trust audit.Trust, position, output string, asJSON bool) error {
	p, err := audit.ParsePosition(position)
	if !strings.Contains(position, "/") {
		// The last segment is where an index alone belongs.
		p, err = audit.ParsePosition("1/" + position)
		for n := 2; err == nil; n++ {
			if _, missing := fs.Stat(files, fmt.Sprintf("%04d", n)); missing != nil {
				break
			}
			p.Segment = n
		}
	}
	if err != nil {
		return usageErrorf("audit prove: %w", err)
	}
	proof, err := audit.NewReader(files, trust).Prove(p)
	if err != nil {
		return auditError(err)
	}
	if asJSON {
		return printJSON(w, struct {
			audit.Position
			Proof string `json:"proof"` // what check-proof takes
		}{p, string(proof.Encode())})
	}
	if output == "-" {
		_, err = w.Write(proof.Encode())
		return err
	}
	f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the proof: %w", err)
	}
	_, err = f.Write(proof.Encode())
	return errors.Join(err, f.Close())
}

func runAuditCheckProof(in io.Reader, w io.Writer, trust audit.Trust, file string, asJSON bool) error {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("read the proof: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return fmt.Errorf("read the proof: %w", err)
	}
	proof, err := audit.ParseProof(text)
	if err != nil {
		return foundErrorf("%w", err)
	}
	record, err := proof.Check(trust)
	if err != nil {
		return auditError(err)
	}
	line, err := auditLineOf(record)
	if err != nil {
		return err
	}
	if asJSON {
		return printAuditJSON(w, line)
	}
	_, err = fmt.Fprintf(w, "Entry %v is in the record of %s:\n%s\n", record.Position, trust.Deployment(), line.Entry)
	return err
}

func printAuditJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
