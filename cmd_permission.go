package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"tillsyn/internal/seal"
	"tillsyn/query/casework"
)

var (
	//go:embed deploy/permission.example.yaml
	examplePermission string
	//go:embed deploy/accident.example.yaml
	exampleAccident string
)

func permissionCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	draft := func(name, usage, description string, do func(*openedGate, *cli.Context, *caller, []byte) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "DRAFT   (- is standard input)", Flags: identityFlags(), Description: description,
			Action: func(c *cli.Context) error {
				file, err := oneArgument(c, "DRAFT")
				if err != nil {
					return err
				}
				text, err := textOrFile(c, file)
				if err != nil {
					return err
				}
				return withCaller(c, false, func(g *openedGate, who *caller) error { return do(g, c, who, text) })
			},
		}
	}
	return &cli.Command{
		Name:  "permission",
		Usage: "write down what explains visits: permissions for work, and what employees told of accidents",
		Description: `Work may lead to places that are otherwise forbidden, with a manager's permission beforehand; whoever lands on one by accident
tells the manager. Both stand beside the rows they explain in every lookup, where one that was written down afterwards says so. Who
stands behind a finding is asked for without visits that were permitted beforehand or told of. Statistics of groups count such visits like any other. They are
signed by a holder of the role manager, stored encrypted, and on record by digest only.`,
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "template", Usage: "print a draft to fill in, with what each field is for",
				Flags: []cli.Flag{&cli.BoolFlag{Name: "accident", Usage: "of a report of an accident"}},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					text := examplePermission
					if c.Bool("accident") {
						text = exampleAccident
					}
					_, err := io.WriteString(c.App.Writer, text)
					return err
				},
			},
			draft("grant", "sign a permission and put it on record", `It counts from then on: a permission is given beforehand.

Exit codes: 0 done, 1 fault, 2 wrong flags or draft, 4 refused: only a holder of the role manager signs.`,
				func(g *openedGate, c *cli.Context, who *caller, text []byte) error {
					return g.runPermissionGrant(c.Context, c.App.Writer, who, text, time.Now())
				}),
			draft("report-accident", "write down what an employee told, sign it and put it on record", `Exit codes: 0 done, 1 fault, 2 wrong flags or draft, 4 refused: only a holder of the role manager signs.`,
				func(g *openedGate, c *cli.Context, who *caller, text []byte) error {
					return g.runAccident(c.Context, c.App.Writer, who, text, time.Now())
				}),
			{
				Name: "list", Usage: "list permissions and reports of a tenant: for holders of a role", ArgsUsage: "TENANT", Flags: append(identityFlags(), asJSON),
				Action: func(c *cli.Context) error {
					tenant, err := oneArgument(c, "TENANT")
					if err != nil {
						return err
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runPermissionList(c.Context, c.App.Writer, who, tenant, c.Bool("json"))
					})
				},
			},
			{
				Name: "show", Usage: "show one permission or report whole: for holders of a role", ArgsUsage: "TENANT DIGEST", Flags: append(identityFlags(), asJSON),
				Action: func(c *cli.Context) error {
					args, err := argumentsOf(c)
					if err != nil {
						return err
					}
					if len(args) != 2 {
						return usageErrorf("permission show: the arguments TENANT and DIGEST are needed, and no other")
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runPermissionShow(c.Context, c.App.Writer, who, args[0], args[1], c.Bool("json"))
					})
				},
			},
			{
				Name: "revoke", Usage: "end a permission, as a holder of the role manager", ArgsUsage: "TENANT DIGEST",
				Flags: append(identityFlags(), &cli.StringFlag{Name: "reason", Usage: "why, as `TEXT` (- is standard input)"}),
				Action: func(c *cli.Context) error {
					args, err := argumentsOf(c)
					if err != nil {
						return err
					}
					if len(args) != 2 {
						return usageErrorf("permission revoke: the arguments TENANT and DIGEST are needed, and no other")
					}
					reason, err := textFlag(c, "reason")
					if err != nil {
						return err
					}
					return withCaller(c, false, func(g *openedGate, who *caller) error {
						return g.runPermissionRevoke(c.Context, c.App.Writer, who, args[0], args[1], reason, time.Now())
					})
				},
			},
		},
	}
}

type permissionDraft struct {
	Tenant     string   `yaml:"tenant"`
	Population string   `yaml:"population"`
	Subject    string   `yaml:"subject"`
	Categories []string `yaml:"categories"`
	Domains    []string `yaml:"domains"`
	From       string   `yaml:"from"`
	To         string   `yaml:"to"`
	Reason     string   `yaml:"reason"`
	Manager    string   `yaml:"manager"`
}

type accidentDraft struct {
	Tenant     string `yaml:"tenant"`
	Population string `yaml:"population"`
	Subject    string `yaml:"subject"`
	From       string `yaml:"from"`
	To         string `yaml:"to"`
	Category   string `yaml:"category"`
	Domain     string `yaml:"domain"`
	Told       string `yaml:"told"`
	ToldAt     string `yaml:"told_at"`
	Manager    string `yaml:"manager"`
}

// readDraft reads a draft strictly. Its errors say where a fault is and of what kind, and quote nothing of it: what stands in the wrong
// place may be a name.
func readDraft(text []byte, v any) error {
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(v); err != nil {
		fault := yamlFault("", err)
		fault.Message = draftFault(err)
		return usageErrorf("the draft: %w", fault)
	}
	return nil
}

// draftFault is the kind of a YAML error in our words. The library's own quote.
func draftFault(err error) string {
	var (
		unknown    *yaml.UnknownFieldError
		syntax     *yaml.SyntaxError
		kind       *yaml.TypeError
		overflow   *yaml.OverflowError
		unexpected *yaml.UnexpectedNodeTypeError
	)
	switch {
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.As(err, &unknown):
		return "a draft has no such field here"
	case errors.As(err, &syntax) && strings.HasPrefix(syntax.Message, "mapping key"):
		return "this field is there twice"
	case errors.As(err, &overflow):
		return "the number is too large"
	case errors.As(err, &kind) && kind.DstType != nil:
		switch kind.DstType.Kind() {
		case reflect.Int:
			return "a number is wanted here"
		case reflect.String:
			return "a text is wanted here: if it has a colon or another sign of YAML, put it into quotation marks"
		}
		return "something of another kind is wanted here, such as a list, or fields"
	case errors.As(err, &unexpected):
		return "something of another kind is wanted here, such as a list, or fields"
	}
	return "it is not YAML: look for a quotation mark or bracket that is missing, an indent, or text that needs quotation marks"
}

func sortedList(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	if list == nil {
		list = []string{}
	}
	return list
}

// times reads times with a zone into UTC.
func draftTimes(texts map[string]string, to map[string]*time.Time) error {
	for name, text := range texts {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return usageErrorf("the draft: %s: is not a time such as 2026-11-22T09:00:00+01:00", name)
		}
		*to[name] = at.UTC()
	}
	return nil
}

// current is the register of holders that stands now.
func (g *openedGate) current(ctx context.Context, tenant string) (*seal.Register, error) {
	if checkTenantName(tenant) != nil { // what stands there may be a name
		return nil, usageErrorf("tenant: is no tenant name; use lower-case letters a-z, digits, '-' and '_'")
	}
	chain, err := g.Chain(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return chain[len(chain)-1], nil
}

// holderOnly says whether the caller holds a role of the tenant.
func (g *openedGate) holderOnly(ctx context.Context, who *caller, tenant string) error {
	r, err := g.current(ctx, tenant)
	if err != nil {
		return err
	}
	if h, ok := r.Holder(who.signer.Name()); !ok || h.Verifier != who.signer.Verifier() {
		return fmt.Errorf("%w: it takes a holder of a role", casework.ErrNotEntitled)
	}
	return nil
}

func (g *openedGate) runPermissionGrant(ctx context.Context, w io.Writer, who *caller, text []byte, now time.Time) error {
	var d permissionDraft
	if err := readDraft(text, &d); err != nil {
		return err
	}
	r, err := g.current(ctx, d.Tenant)
	if err != nil {
		return err
	}
	p := casework.NewPermission(g.config.Audit.Deployment, d.Tenant, who.signer.Name(), r, now)
	p.Population, p.Subject, p.Categories, p.Domains = d.Population, d.Subject, sortedList(d.Categories), sortedList(d.Domains)
	p.From, p.To, p.Reason, p.Manager = d.From, d.To, strings.TrimSpace(d.Reason), strings.TrimSpace(d.Manager)
	signed, err := casework.SignByManager(p, who.signer)
	if err != nil {
		return usageErrorf("the draft:\n%w", err)
	}
	digest, err := g.GrantPermission(ctx, signed)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "granted and on record: %s\n", digest)
	return err
}

func (g *openedGate) runAccident(ctx context.Context, w io.Writer, who *caller, text []byte, now time.Time) error {
	var d accidentDraft
	if err := readDraft(text, &d); err != nil {
		return err
	}
	r, err := g.current(ctx, d.Tenant)
	if err != nil {
		return err
	}
	a := casework.NewAccidentReport(g.config.Audit.Deployment, d.Tenant, who.signer.Name(), r, now)
	a.Population, a.Subject, a.Category, a.Domain, a.Told, a.Manager = d.Population, d.Subject, d.Category, d.Domain, strings.TrimSpace(d.Told), strings.TrimSpace(d.Manager)
	if err := draftTimes(map[string]string{"from": d.From, "to": d.To, "told_at": d.ToldAt},
		map[string]*time.Time{"from": &a.From, "to": &a.To, "told_at": &a.ToldAt}); err != nil {
		return err
	}
	signed, err := casework.SignByManager(a, who.signer)
	if err != nil {
		return usageErrorf("the draft:\n%w", err)
	}
	digest, err := g.ReportAccident(ctx, signed)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "written down and on record: %s\n", digest)
	return err
}

func (g *openedGate) runPermissionRevoke(ctx context.Context, w io.Writer, who *caller, tenant, digest, reason string, now time.Time) error {
	of, err := seal.ParseDigest(digest)
	if err != nil {
		return usageErrorf("DIGEST: %w", err)
	}
	r, err := g.current(ctx, tenant)
	if err != nil {
		return err
	}
	v := casework.NewPermissionRevocation(g.config.Audit.Deployment, tenant, who.signer.Name(), r, now)
	v.Permission, v.Reason = of, reason
	signed, err := casework.SignByManager(v, who.signer)
	if err != nil {
		return usageErrorf("%w", err)
	}
	if _, err := g.RevokePermission(ctx, signed); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "revoked, from now on")
	return err
}

// A permissionLine is a permission or a report as JSON.
type permissionLine struct {
	Digest     string     `json:"digest"`
	Kind       string     `json:"kind"` // permission or accident
	Subject    string     `json:"subject"`
	Categories []string   `json:"categories"`
	Domains    []string   `json:"domains"`
	From       string     `json:"from"`
	To         string     `json:"to"`
	Text       string     `json:"text"`
	Manager    string     `json:"manager"`
	SignedBy   string     `json:"signed_by"`
	Recorded   time.Time  `json:"recorded"`
	Revoked    *time.Time `json:"revoked,omitempty"`
	Why        string     `json:"why,omitempty"`
}

func permissionLines(p *casework.Permissions) []permissionLine {
	lines := []permissionLine{}
	for _, e := range p.Granted {
		l := permissionLine{Digest: e.Digest.String(), Kind: "permission", Subject: e.Subject, Categories: e.Categories, Domains: e.Domains, From: e.From, To: e.To,
			Text: e.Reason, Manager: e.Manager, SignedBy: e.Actor, Recorded: e.Recorded, Why: e.Why}
		if !e.Revoked.IsZero() {
			l.Revoked = &e.Revoked
		}
		lines = append(lines, l)
	}
	for _, e := range p.Reported {
		l := permissionLine{Digest: e.Digest.String(), Kind: "accident", Subject: e.Subject, Categories: []string{}, Domains: []string{},
			From: e.From.Format(time.RFC3339), To: e.To.Format(time.RFC3339), Text: e.Told, Manager: e.Manager, SignedBy: e.Actor, Recorded: e.Recorded}
		if e.Category != "" {
			l.Categories = append(l.Categories, e.Category)
		}
		if e.Domain != "" {
			l.Domains = append(l.Domains, e.Domain)
		}
		lines = append(lines, l)
	}
	return lines
}

func (g *openedGate) runPermissionList(ctx context.Context, w io.Writer, who *caller, tenant string, asJSON bool) error {
	if err := g.holderOnly(ctx, who, tenant); err != nil {
		return err
	}
	p, err := g.Permissions(ctx, tenant)
	if err != nil {
		return err
	}
	lines := permissionLines(p)
	if asJSON {
		return printJSON(w, struct {
			Permissions []permissionLine `json:"permissions"`
		}{lines})
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "There are no permissions, and no reports of accidents.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tSUBJECT\tFOR\tFROM\tTO\tSIGNED BY\tSTATE\tDIGEST")
	for _, l := range lines {
		state := "in force"
		if l.Kind == "accident" {
			state = "reported"
		} else if l.Revoked != nil {
			state = "revoked"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Kind, casework.Shown(l.Subject), casework.Clipped(strings.Join(append(slices.Clone(l.Categories), l.Domains...), " "), 40),
			l.From, l.To, l.SignedBy, state, l.Digest)
	}
	return t.Flush()
}

func (g *openedGate) runPermissionShow(ctx context.Context, w io.Writer, who *caller, tenant, digest string, asJSON bool) error {
	if err := g.holderOnly(ctx, who, tenant); err != nil {
		return err
	}
	p, err := g.Permissions(ctx, tenant)
	if err != nil {
		return err
	}
	lines := permissionLines(p)
	i := slices.IndexFunc(lines, func(l permissionLine) bool { return l.Digest == digest })
	if i < 0 {
		return usageErrorf("there is no permission or report with this digest: see 'tillsyn permission list'")
	}
	l := lines[i]
	if asJSON {
		return printJSON(w, l)
	}
	fmt.Fprintf(w, "%s of %s, %s to %s\nfor: %s\nmanager: %s; signed by %s; on record since %s\n", l.Kind, casework.Shown(l.Subject), l.From, l.To,
		casework.Shown(strings.Join(append(slices.Clone(l.Categories), l.Domains...), ", ")), casework.Shown(l.Manager), l.SignedBy, l.Recorded.Format(time.DateTime+" UTC"))
	for line := range strings.SplitSeq(l.Text, "\n") {
		fmt.Fprintf(w, "  | %s\n", casework.Shown(line))
	}
	if l.Revoked != nil {
		fmt.Fprintf(w, "revoked %s: %s\n", l.Revoked.Format(time.DateTime+" UTC"), casework.Shown(l.Why))
	}
	return nil
}
