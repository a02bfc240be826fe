package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/query/casework"
)

//go:embed deploy/decision.example.yaml
var exampleDraft string

func decisionCommand() *cli.Command {
	who := identityFlags()
	with := func(more ...cli.Flag) []cli.Flag { return append(slices.Clone(who), more...) }
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	yes := &cli.BoolFlag{Name: "yes", Usage: "do not ask: for scripts"}
	memory := &cli.StringFlag{Name: "memory", Usage: "the `FILE` in which your client remembers the record and the register of one tenant (default: your identity file with .TENANT.memory behind it)"}
	bundle := &cli.StringFlag{Name: "bundle", Usage: "over distance: the bundle `FILE` that you were sent"}
	out := &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "over distance: the `FILE` to send back"}
	dir := &cli.StringFlag{Name: "dir", Usage: "over distance: your copy of the `FOLDER` of keys (default: keys.dir)"}
	logKey := &cli.StringFlag{Name: "log-key", Usage: "over distance, the first time: the record's `KEY`, as 'tillsyn audit key' prints it"}
	on := func(name, usage, description string, flags []cli.Flag, reads bool, do func(*cli.Context, *openedGate, *caller, string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "CASE", Flags: flags, Description: description + "\n\nExit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.",
			Action: func(c *cli.Context) error {
				number, err := oneArgument(c, "CASE")
				if err != nil {
					return err
				}
				return withCaller(c, reads, func(g *openedGate, who *caller) error {
					return do(c, g, who, number)
				})
			},
		}
	}
	return &cli.Command{
		Name:  "decision",
		Usage: "decide who may look at what, together",
		Description: `A person is looked at only under a decision that three people approved: one holder each of the roles manager, hr and security.
Approving is opening: without the three there are no keys.

  keys member          once, for whoever requests or investigates: a card, which three roles take into the register
  decision template    a draft to fill in
  decision request     sign the draft and put it on record
  decision approve     each approver, at this machine; or over distance: bundle, approve --bundle, accept
  decision notify      the union was told: within 24 hours, or the decision is suspended
  lookup CASE          each investigator
  decision close       with the result

What you write after --reason, --told and --result may be - : then it is read from standard input, and stands in no shell history.`,
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "template", Usage: "print a draft to fill in, with what each field is for",
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					_, err := io.WriteString(c.App.Writer, exampleDraft)
					return err
				},
			},
			{
				Name: "request", Usage: "sign a draft and put it on record", ArgsUsage: "DRAFT   (- is standard input)", Flags: with(asJSON),
				Description: `The draft is YAML, as 'tillsyn decision template' prints it. What is not in it is filled in: the register of holders, the time, and
32 random bytes. All faults are said at once.

Exit codes: 0 done, 1 fault, 2 wrong flags or draft, 4 refused: the case number is taken.`,
				Action: func(c *cli.Context) error {
					file, err := oneArgument(c, "DRAFT")
					if err != nil {
						return err
					}
					text, err := textOrFile(c, file)
					if err != nil {
						return err
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runRequest(c.Context, c.App.Writer, who, text, time.Now(), c.Bool("json"))
					})
				},
			},
			on("show", "show a decision and how far it has come", "For its requester, its investigators, and the holders of the roles that decide on it.", with(asJSON), false,
				func(c *cli.Context, g *openedGate, who *caller, number string) error {
					return g.runShow(c.Context, c.App.Writer, who, number, c.Bool("json"))
				}),
			{
				Name: "list", Usage: "list cases: numbers and states, nobody's name", Flags: []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withGate(c, false, func(g *openedGate) error { return g.runDecisionList(c.Context, c.App.Writer, c.Bool("json")) })
				},
			},
			{
				Name: "bundle", Usage: "over distance: make what an approver needs, encrypted to the holders of a role", ArgsUsage: "CASE",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "role", Usage: "manager, hr or security"},
					&cli.StringFlag{Name: "since", Usage: "what the approver's client remembers: a copy of that `FILE`"}, out,
				},
				Action: func(c *cli.Context) error {
					number, err := oneArgument(c, "CASE")
					if err != nil {
						return err
					}
					role, err := roleOf(c)
					if err != nil {
						return err
					}
					since, err := readMemory(c.String("since"))
					if err != nil {
						return err
					}
					if c.String("out") == "" {
						return usageErrorf("--out FILE is missing")
					}
					return withGate(c, true, func(g *openedGate) error {
						return g.runBundle(c.Context, c.App.Writer, number, role, since, c.String("out"))
					})
				},
			},
			{
				Name: "approve", Usage: "see a decision, and approve it: sign it and hand over your shares of the keys in its scope", ArgsUsage: "CASE   (or --bundle FILE)",
				Flags: append(with(yes), memory, bundle, out, dir, logKey),
				Description: `Your client checks the record against what it saw last, the register of holders, and that your role is asked. It shows the decision,
and only on y opens your shares, of this person or unit, these days and sources, and of no others.

Exit codes: 0 approved, 1 fault, 2 wrong flags, 3 you said no, 4 refused.`,
				Action: func(c *cli.Context) error {
					number, o, err := approvalOf(c)
					if err != nil {
						return err
					}
					if o.bundle != "" {
						return runApproveAway(c, o, "")
					}
					return withCaller(c, true, func(g *openedGate, who *caller) error {
						return g.runApprove(c.Context, c.App.Writer, who, number, o)
					})
				},
			},
			{
				Name: "accept", Usage: "over distance: take in what an approver sent back", ArgsUsage: "FILE",
				Action: func(c *cli.Context) error {
					file, err := oneArgument(c, "FILE")
					if err != nil {
						return err
					}
					return withGate(c, false, func(g *openedGate) error { return g.runAccept(c.Context, c.App.Writer, file) })
				},
			},
			{
				Name: "deny", Usage: "say no to a decision, as a holder of a role", ArgsUsage: "CASE   (or --bundle FILE)",
				Flags: append(with(), &cli.StringFlag{Name: "reason", Usage: "why, as `TEXT`"}, memory, bundle, out, dir, logKey),
				Action: func(c *cli.Context) error {
					number, o, err := approvalOf(c)
					if err != nil {
						return err
					}
					reason, err := textFlag(c, "reason")
					if err != nil {
						return err
					}
					if o.bundle != "" {
						return runApproveAway(c, o, reason)
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runAct(c.Context, c.App.Writer, who, number, casework.ActDenial, time.Now(), func(a *casework.Act) { a.Reason = reason })
					})
				},
			},
			on("revoke", "end a decision at once, also for a lookup that runs", "For its requester, its investigators, and the holders of the roles that decide on it.",
				with(&cli.StringFlag{Name: "reason", Usage: "why, as `TEXT`"}), false,
				func(c *cli.Context, g *openedGate, who *caller, number string) error {
					reason, err := textFlag(c, "reason")
					if err != nil {
						return err
					}
					return g.runAct(c.Context, c.App.Writer, who, number, casework.ActRevocation, time.Now(), func(a *casework.Act) { a.Reason = reason })
				}),
			on("notify", "put on record that the union was told", "For its requester, and the holders of the roles that decide on it. What you write stands on record for good: name the union and its office,\nand nobody whom the decision is about.",
				with(&cli.StringFlag{Name: "told", Usage: "which union was told, as `TEXT`"}, &cli.TimestampFlag{Name: "at", Layout: time.RFC3339, Usage: "when, as `2006-01-02T15:04:05Z` (default: now)"}), false,
				func(c *cli.Context, g *openedGate, who *caller, number string) error {
					told, err := textFlag(c, "told")
					if err != nil {
						return err
					}
					return g.runAct(c.Context, c.App.Writer, who, number, casework.ActNotice, time.Now(), func(a *casework.Act) {
						if a.Told, a.ToldAt = told, a.At; c.Timestamp("at") != nil {
							a.ToldAt = c.Timestamp("at").UTC().Truncate(time.Second)
						}
					})
				}),
			on("close", "close a case, with its result", "For its requester, its investigators, and the holders of the roles that decide on it. What is held for the case can be removed then.",
				with(&cli.StringFlag{Name: "result", Usage: "what came of it, as `TEXT`"}), false,
				func(c *cli.Context, g *openedGate, who *caller, number string) error {
					result, err := textFlag(c, "result")
					if err != nil {
						return err
					}
					return g.runAct(c.Context, c.App.Writer, who, number, casework.ActClosing, time.Now(), func(a *casework.Act) { a.Result = result })
				}),
		},
	}
}

// textFlag is what stands after a flag, or on standard input if that is - .
func textFlag(c *cli.Context, name string) (string, error) {
	text := c.String(name)
	if text == "-" {
		b, err := textOrFile(c, "-")
		if err != nil {
			return "", err
		}
		text = string(b)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", usageErrorf("--%s is missing", name)
	}
	return text, nil
}

func textOrFile(c *cli.Context, file string) ([]byte, error) {
	if file != "-" {
		text, err := readSmall(file)
		if err != nil {
			return nil, fmt.Errorf("read the draft: %w", err)
		}
		return text, nil
	}
	text, err := io.ReadAll(io.LimitReader(c.App.Reader, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return text, nil
}

// A decisionDraft is a decision as its requester writes it. The times are optional.
type decisionDraft struct {
	Case          string               `yaml:"case"`
	Tenant        string               `yaml:"tenant"`
	Kind          string               `yaml:"kind"`
	Population    string               `yaml:"population"`
	Ground        string               `yaml:"ground"`
	Suspicion     string               `yaml:"suspicion"`
	Reason        string               `yaml:"reason"`
	LessIntrusive string               `yaml:"less_intrusive"`
	Finding       string               `yaml:"finding"`
	Intrusion     string               `yaml:"intrusion"`
	Consequences  string               `yaml:"consequences"`
	Policy        string               `yaml:"policy"`
	Scope         scopeDraft           `yaml:"scope"`
	Investigators []casework.Signatory `yaml:"investigators"`
	Lookups       int                  `yaml:"lookups"`
	NotBefore     string               `yaml:"not_before"`
	ApproveBy     string               `yaml:"approve_by"`
	ExecuteBy     string               `yaml:"execute_by"`
	Union         string               `yaml:"union"`
	Informed      string               `yaml:"informed"`
	Recipient     string               `yaml:"recipient"`
}

type scopeDraft struct {
	Subject    string   `yaml:"subject"`
	Names      []string `yaml:"names"`
	Aliases    []string `yaml:"aliases"`
	Unit       string   `yaml:"unit"`
	From       string   `yaml:"from"`
	To         string   `yaml:"to"`
	Sources    []string `yaml:"sources"`
	Categories []string `yaml:"categories"`
	Protected  string   `yaml:"protected"`
	Withheld   string   `yaml:"withheld"`
	Threshold  int      `yaml:"threshold"`
}

// Where a draft leaves them out: a week to approve, and two to look.
const (
	defaultApproveIn = 7 * 24 * time.Hour
	defaultExecuteIn = 21 * 24 * time.Hour
)

// decision fills d in: who asks, when, and by which register.
func (d decisionDraft) decision(deployment string, requester *seal.Signer, register *seal.Register, now time.Time) (*casework.Decision, error) {
	now = now.UTC().Truncate(time.Second)
	set := func(list []string) []string {
		list = slices.Clone(list)
		slices.Sort(list)
		if list == nil {
			list = []string{}
		}
		return list
	}
	text := strings.TrimSpace
	x := casework.NewDecision()
	x.Deployment, x.Tenant, x.Case, x.Kind, x.Population = deployment, d.Tenant, d.Case, casework.Kind(d.Kind), d.Population
	x.Ground, x.Suspicion, x.Reason, x.LessIntrusive, x.Finding = text(d.Ground), text(d.Suspicion), text(d.Reason), text(d.LessIntrusive), text(d.Finding)
	x.Intrusion, x.Consequences, x.Policy, x.Union = text(d.Intrusion), text(d.Consequences), text(d.Policy), text(d.Union)
	x.Informed, x.Recipient = text(d.Informed), text(d.Recipient)
	x.Scope = casework.Scope{Subject: d.Scope.Subject, Names: set(d.Scope.Names), Aliases: set(d.Scope.Aliases), Unit: d.Scope.Unit, From: d.Scope.From, To: d.Scope.To,
		Sources: set(d.Scope.Sources), Categories: set(d.Scope.Categories), Protected: text(d.Scope.Protected), Withheld: text(d.Scope.Withheld), Threshold: d.Scope.Threshold}
	x.Requester = casework.Signatory{ID: requester.Name(), Key: requester.Verifier()}
	x.Investigators, x.Lookups = slices.Clone(d.Investigators), d.Lookups
	for i, p := range x.Investigators {
		if h, ok := register.Person(p.ID); ok && p.Key == "" {
			x.Investigators[i].Key = h.Verifier
		}
	}
	x.Requested, x.NotBefore, x.ApproveBy, x.ExecuteBy = now, now, now.Add(defaultApproveIn), now.Add(defaultExecuteIn)
	x.Register = casework.RegisterDigest{Number: register.Number(), Digest: register.Digest()}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"not_before", d.NotBefore, &x.NotBefore}, {"approve_by", d.ApproveBy, &x.ApproveBy}, {"execute_by", d.ExecuteBy, &x.ExecuteBy}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return nil, fmt.Errorf("%s: is not a time such as 2026-11-22T09:00:00+01:00", t.name)
		}
		*t.to = at.UTC()
	}
	return x, errors.Join(x.Validate(), x.Enrolled(register))
}

func (g *openedGate) runRequest(ctx context.Context, w io.Writer, who *caller, text []byte, now time.Time, asJSON bool) error {
	var d decisionDraft
	if err := readDraft(text, &d); err != nil {
		return err
	}
	register, err := g.current(ctx, d.Tenant)
	if err != nil {
		return err
	}
	decision, err := d.decision(g.config.Audit.Deployment, who.signer, register, now)
	if err != nil {
		return usageErrorf("the draft:\n%w", err)
	}
	signed, err := casework.SignDecision(decision, who.signer)
	if err != nil {
		return err
	}
	status, err := g.Request(ctx, signed)
	if err != nil {
		return err
	}
	return g.printStatus(w, decision, status, asJSON)
}

// A decisionLine is a case as JSON: nothing about whom it is.
type decisionLine struct {
	Case      string         `json:"case"`
	Tenant    string         `json:"tenant"`
	Kind      casework.Kind  `json:"kind"`
	State     casework.State `json:"state"`
	Why       string         `json:"why"`
	Requested time.Time      `json:"requested"`
	ApproveBy time.Time      `json:"approve_by"`
	ExecuteBy time.Time      `json:"execute_by"`
	Approvals []approvalLine `json:"approvals"`
	Missing   []seal.Role    `json:"missing"`
	Notified  *time.Time     `json:"notified,omitempty"`
	Lookups   int            `json:"lookups"`
	Left      int            `json:"lookups_left"`
	Decision  *any           `json:"decision,omitempty"`
}

type approvalLine struct {
	Role   seal.Role `json:"role"`
	Holder string    `json:"holder"`
	At     time.Time `json:"at"`
}

func lineOfDecision(d *casework.Decision, s casework.Status) decisionLine {
	l := decisionLine{Case: d.Case, Tenant: d.Tenant, Kind: d.Kind, State: s.State, Why: s.Why, Requested: d.Requested, ApproveBy: d.ApproveBy, ExecuteBy: d.ExecuteBy,
		Approvals: []approvalLine{}, Missing: s.Missing, Lookups: s.Lookups, Left: s.Left}
	for _, a := range s.Approvals {
		l.Approvals = append(l.Approvals, approvalLine{a.Role, a.Holder, a.At})
	}
	if !s.Notified.IsZero() {
		l.Notified = &s.Notified
	}
	return l
}

func (g *openedGate) printStatus(w io.Writer, d *casework.Decision, s casework.Status, asJSON bool) error {
	if asJSON {
		return printJSON(w, lineOfDecision(d, s))
	}
	_, err := fmt.Fprintf(w, "case %s is %s: %s\n", d.Case, s.State, s.Why)
	if len(s.Missing) > 0 && s.State == casework.Pending && err == nil {
		names := make([]string, len(s.Missing))
		for i, r := range s.Missing {
			names[i] = string(r)
		}
		_, err = fmt.Fprintf(w, "yet to approve, by %s: %s\n", d.ApproveBy.Format(time.DateTime+" UTC"), strings.Join(names, ", "))
	}
	return err
}

func (g *openedGate) runDecisionList(ctx context.Context, w io.Writer, asJSON bool) error {
	cases, states, err := g.List(ctx)
	if err != nil && len(states) < len(cases) {
		return err
	}
	lines := make([]decisionLine, len(cases))
	for i, c := range cases {
		lines[i] = lineOfDecision(c.Decision, states[i])
	}
	if asJSON {
		return errors.Join(err, printJSON(w, struct {
			Cases []decisionLine `json:"cases"`
		}{lines}))
	}
	if len(lines) == 0 {
		_, fault := fmt.Fprintln(w, "There are no cases.")
		return errors.Join(err, fault)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tTENANT\tKIND\tSTATE\tWHY\tEXECUTE BY\tLOOKUPS")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", l.Case, l.Tenant, l.Kind, l.State, l.Why, l.ExecuteBy.Format(time.DateTime+" UTC"), l.Lookups, l.Lookups+l.Left)
	}
	return errors.Join(err, t.Flush())
}

func (g *openedGate) runShow(ctx context.Context, w io.Writer, who *caller, number string, asJSON bool) error {
	c, s, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	if asJSON {
		l := lineOfDecision(c.Decision, s)
		var d any = c.Decision
		l.Decision = &d
		return printJSON(w, l)
	}
	page, err := g.Document(ctx, number, c.Decision.Tenant)
	if err != nil {
		return err
	}
	if err := printSections(w, page.Sections); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return g.printStatus(w, c.Decision, s, false)
}

// printSections prints sections of a document as plain text, Swedish first. Values are shown so that no character of them can
// do anything but be read.
func printSections(w io.Writer, sections []casework.Section) error {
	var b strings.Builder
	both := func(p casework.Phrase) string { return p.Swedish + " / " + p.English }
	for _, s := range sections {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(both(s.Heading)))
		for _, p := range s.Text {
			fmt.Fprintf(&b, "  %s\n  %s\n", p.Swedish, p.English)
		}
		for _, f := range s.Facts {
			fmt.Fprintf(&b, "  %s:\n", both(f.Term))
			for line := range strings.SplitSeq(f.Value, "\n") {
				fmt.Fprintf(&b, "    | %s\n", casework.Shown(line))
			}
		}
		for _, t := range s.Tables {
			fmt.Fprintf(&b, "  %s\n", both(t.Caption))
			for _, row := range t.Rows {
				shown := make([]string, len(row))
				for i, v := range row {
					shown[i] = casework.Shown(v)
				}
				fmt.Fprintf(&b, "    | %s\n", strings.Join(shown, " | "))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// readMemory reads what an approver's client remembers. No file is no memory yet; one that can't be read is an error, never nothing.
func readMemory(path string) (casework.Memory, error) {
	if path == "" {
		return casework.Memory{}, nil
	}
	text, err := readSmall(path)
	if errors.Is(err, os.ErrNotExist) {
		return casework.Memory{}, nil
	}
	if err != nil {
		return casework.Memory{}, fmt.Errorf("read what your client remembers: %w", err)
	}
	m, err := casework.ParseMemory(text)
	if err != nil {
		return casework.Memory{}, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

func (g *openedGate) runBundle(ctx context.Context, w io.Writer, number string, role seal.Role, since casework.Memory, out string) error {
	text, recipients, err := g.Bundle(ctx, number, role, []byte(since.Checkpoint))
	if err != nil {
		return err
	}
	sealed, err := encryptTo(text, recipients, prompter{out: w, terminal: terminalFile}.pluginUI())
	if err != nil {
		return err
	}
	if err := writePrivate(out, sealed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s is encrypted to the holders of %s: send it to one of them\n", out, role)
	return err
}

type approveOptions struct {
	memory, identity, bundle, out, dir, logKey string
	now                                        func() time.Time
}

// approvalOf is what the command line says of an approval or denial: of which case, if it is not in a bundle. Flags may stand behind
// the case.
func approvalOf(c *cli.Context) (number string, o approveOptions, err error) {
	if c.Args().Present() || c.String("bundle") == "" {
		if number, err = oneArgument(c, "CASE"); err != nil {
			return "", o, err
		}
	}
	return number, approveOptions{memory: c.String("memory"), identity: c.String("identity"), bundle: c.String("bundle"), out: c.String("out"), dir: c.String("dir"),
		logKey: c.String("log-key"), now: time.Now}, nil
}

// remembered is the file in which the client of this identity remembers a tenant: one for each, so that a decision of another tenant
// makes it forget none.
func (o approveOptions) remembered(tenant string) string {
	if o.memory != "" {
		return o.memory
	}
	return o.identity + "." + tenant + ".memory"
}

// approver is the client of a holder.
func (o approveOptions) approver(holder OpenedHolder, trust audit.Trust, memory casework.Memory) *casework.Approver {
	a := &casework.Approver{ID: holder.Holder.ID, Signer: holder.Signer, Trust: trust, Memory: memory, Now: o.now}
	for _, k := range holder.Keys {
		a.Keys = append(a.Keys, k.Private)
	}
	return a
}

// agree shows a decision and asks.
func agree(w io.Writer, who *caller, o *casework.Opened) error {
	file := casework.DecisionFile{Decision: o.Decision, Digest: o.Digest, State: string(casework.Pending), Made: o.Decision.Requested}
	if err := printSections(w, file.Asked()); err != nil {
		return err
	}
	// How many keys there are would tell, before anybody else has approved, whether there are rows.
	fmt.Fprintf(w, "\n%s\n\nDu är %s (%s). Godkänner du lämnar du ut dina andelar av de nycklar som finns, för detta beslut och inget annat.\n"+
		"You are %s (%s). Approving hands over your shares of the keys that there are, for this decision and no other.\n", o.Digest, o.ID(), o.Role, o.ID(), o.Role)
	if who.yes {
		return nil
	}
	yes, err := prompter{in: who.ask.in, out: w}.ask("Godkänner du? / Do you approve?")
	if err == nil && !yes {
		err = foundErrorf("not approved: nothing was signed, and no share opened")
	}
	return err
}

func (g *openedGate) runApprove(ctx context.Context, w io.Writer, who *caller, number string, o approveOptions) error {
	c, status, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	chain, err := g.Chain(ctx, c.Decision.Tenant)
	if err != nil {
		return err
	}
	h, ok := chain[len(chain)-1].Holder(who.signer.Name())
	if !ok || h.Verifier != who.signer.Verifier() {
		return fmt.Errorf("%w: only holders of a role approve", casework.ErrNotEntitled)
	}
	if err := c.Decision.MayApprove(h); err != nil {
		return err
	}
	if status.State != casework.Pending || !slices.Contains(status.Missing, h.Role) {
		return &exitError{exitRefused, fmt.Errorf("there is nothing for %s to approve: the decision is %s, %s", h.Role, status.State, status.Why)}
	}
	holder, err := openHolder(g.keys.dir, chain, h.ID, who.identities)
	if err != nil {
		return err
	}
	file := o.remembered(c.Decision.Tenant)
	memory, err := readMemory(file)
	if err != nil {
		return err
	}
	text, _, err := g.Bundle(ctx, number, h.Role, []byte(memory.Checkpoint))
	if errors.Is(err, audit.ErrProof) {
		return fmt.Errorf("%w: %w", casework.ErrRemembered, err)
	}
	if err != nil {
		return err
	}
	opened, err := o.approver(holder, g.log.Trust(), memory).Open(text)
	if err != nil {
		return err
	}
	if err := agree(w, who, opened); err != nil {
		return err
	}
	approval, refused, err := opened.Approve()
	if err != nil {
		return err
	}
	if status, err = g.Accept(ctx, approval); err != nil {
		return err
	}
	if err := remember(file, opened.Memory); err != nil {
		return err
	}
	if refused > 0 {
		fmt.Fprintln(w, "Keys that the service showed are not of this decision: they were left shut.")
	}
	return g.printStatus(w, c.Decision, status, false)
}

// remember keeps what an approver's client has seen.
func remember(path string, m casework.Memory) error {
	if err := (keyStore{}).write(path, m.Encode()); err != nil {
		return fmt.Errorf("remember the record: %w", err)
	}
	return nil
}

// runApproveAway is approve, or with a reason deny, on the approver's own machine: with a bundle and no gate.
func runApproveAway(c *cli.Context, o approveOptions, reason string) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if o.out == "" {
		return usageErrorf("--out FILE is missing: what you send back")
	}
	if o.dir == "" {
		cfg, err := configOf(c)
		if err != nil {
			return err
		}
		o.dir = cfg.Keys.Directory
	}
	who := &caller{ask: prompter{in: c.App.Reader, out: c.App.ErrWriter, terminal: terminalFile}, yes: c.Bool("yes")}
	if c.String("identity") == "" {
		return usageErrorf("--identity FILE says who you are")
	}
	var err error
	if who.identities, _, err = readIdentity(c.String("identity"), c.String("passphrase-file"), who.ask); err != nil {
		return err
	}
	return gateError(who.approveAway(c.App.Writer, o, reason))
}

func (who *caller) approveAway(w io.Writer, o approveOptions, reason string) error {
	text, err := readParcel(o.bundle, who.identities)
	if err != nil {
		return err
	}
	notes, err := casework.BundleRegisters(text)
	if err != nil {
		return err
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return err
	}
	if len(chain) == 0 {
		return errors.New("the bundle has no register of holders")
	}
	file := o.remembered(chain[0].Tenant())
	memory, err := readMemory(file)
	if err != nil {
		return err
	}
	key := o.logKey
	if key == "" {
		key = memory.Log
	}
	if key == "" {
		return usageErrorf("the first time for a tenant, --log-key KEY says which record you trust: ask the data protection officer for the output of 'tillsyn audit key'")
	}
	trust, err := audit.NewTrust(key)
	if err != nil {
		return usageErrorf("--log-key: %w", err)
	}
	holder, err := openHolder(o.dir, chain, "", who.identities)
	if err != nil {
		return err
	}
	opened, err := o.approver(holder, trust, memory).Open(text)
	if err != nil {
		return err
	}
	var answer []byte
	if reason != "" {
		answer, err = opened.Deny(reason)
	} else {
		if err := agree(w, who, opened); err != nil {
			return err
		}
		answer, _, err = opened.Approve()
	}
	if err != nil {
		return err
	}
	sealed, err := encryptTo(answer, []string{opened.GateKey}, nil)
	if err != nil {
		return err
	}
	if err := writePrivate(o.out, sealed); err != nil {
		return err
	}
	if err := remember(file, opened.Memory); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s is encrypted to the gate: send it back, for 'tillsyn decision accept'\n", o.out)
	return err
}

func (g *openedGate) runAccept(ctx context.Context, w io.Writer, file string) error {
	keys, err := g.keys.readGate()
	if err != nil {
		return err
	}
	text, err := readParcel(file, keys.Identities)
	if err != nil {
		return err
	}
	accept := g.Accept
	if casework.IsAct(text) {
		accept = g.Act
	}
	s, err := accept(ctx, text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "accepted: the decision is %s: %s\n", s.State, s.Why)
	return err
}

func (g *openedGate) runAct(ctx context.Context, w io.Writer, who *caller, number, typ string, now time.Time, fill func(*casework.Act)) error {
	c, _, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	a := casework.NewAct(typ, c.Decision, c.Digest, who.signer.Name(), now)
	if typ == casework.ActDenial {
		chain, err := g.Chain(ctx, c.Decision.Tenant)
		if err != nil {
			return err
		}
		h, ok := chain[len(chain)-1].Holder(a.Actor)
		if !ok {
			return fmt.Errorf("%w: only holders of a role deny; others revoke", casework.ErrNotEntitled)
		}
		a.Role = h.Role
	}
	fill(&a)
	signed, err := casework.SignAct(a, who.signer)
	if err != nil {
		return usageErrorf("%w", err)
	}
	s, err := g.Act(ctx, signed)
	if err != nil {
		return err
	}
	if err := g.printStatus(w, c.Decision, s, false); err != nil || typ != casework.ActClosing {
		return err
	}
	return printToTell(w, c.Decision, s)
}

// printToTell reminds of the person whose rows were read: that a search was made is theirs to know, once telling does no harm
// (GDPR articles 14 and 23).
func printToTell(w io.Writer, d *casework.Decision, s casework.Status) error {
	if d.Kind != casework.Person || s.Lookups == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, `
Tell the person now what was read, when, and why (GDPR article 14), unless secrecy or a police inquiry forbids it; then note why, and
when it is to be done. tillsyn tells nobody by itself. What to write from: tillsyn decision show --identity FILE "%[1]s"
That, and the document for the register, are not what the person is given: they name who approved and may be secret. Write a letter.
Underrätta personen nu om vad som lästs, när och varför (GDPR artikel 14), om inte sekretess eller en polisutredning hindrar det; anteckna
då skälet och när det ska ske. tillsyn underrättar ingen av sig självt. Underlag: tillsyn decision show --identity FIL "%[1]s"
Ge inte personen det, eller handlingen för diariet: de nämner vem som godkänt och kan omfattas av sekretess. Skriv ett brev.
`, d.Case) // numbers have spaces, and no quotation marks
	return err
}
