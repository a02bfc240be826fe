package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
	"tillsyn/schemas"
)

//go:embed deploy/records.example.yaml
var exampleRecords string

func recordsCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	on := func(name, usage, description, role string, flags []cli.Flag, do func(*cli.Context, *openedGate, *casework.RecordsDesk, *caller, string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "NUMBER", Flags: append(identityFlags(), flags...), Description: description + "\n\nExit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.",
			Action: func(c *cli.Context) error {
				number, err := oneArgument(c, "NUMBER")
				if err != nil {
					return err
				}
				as := role
				if c.String("outcome") == casework.OutcomeNothing {
					as = schemas.RoleQuery // what is held is counted
				}
				return withCallerAs(c, as, func(g *openedGate, who *caller) error {
					return g.withDesk(as == schemas.RolePurge, who, func(k *casework.RecordsDesk, _ *vault.HoldRegister) error {
						return holdError(do(c, g, k, who, number))
					})
				})
			},
		}
	}
	return &cli.Command{
		Name:  "records",
		Usage: "handle requests for public records (allmän handling)",
		Description: `Anybody may ask, and need not say who they are. What is asked for is held back from purge at once.

  records request    write it down: rows are held, and nothing is opened
  records confirm    the second signature under a request for a unit or for everybody
  records preview    fetch rows for the secrecy test, under a decision of the kind public_record
  records mark       say what is secret, row by row, and by which law; presets are marked already
  records decide     disclosed, partly, refused or nothing
  records export     the letter with how to appeal, and the rows as page and CSV
  records files      where these are, as long as they are not removed
  records close      when nobody can appeal any more: the hold ends and the rows go

The registrar who wrote a request down works on it, a member of the register ('tillsyn keys enrol'); or, if they can't, any holder of a
role; never whom it is about. Previewed rows open for whoever previewed them only: whoever takes over previews anew, or refuses, and
where rows were decided on, whoever previewed them exports them. How much there is of a person, nothing tells before a preview.

A request that names no person, but a unit or everybody, takes a second person, a holder of manager or security, who signs it with
'records confirm' within 7 days: then its hold lasts until it is closed. Without, the hold ends.`,
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "template", Usage: "print a draft to fill in, with what each field is for",
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					_, err := io.WriteString(c.App.Writer, exampleRecords)
					return err
				},
			},
			{
				Name: "request", Usage: "write a request down, put it on record and hold its rows", ArgsUsage: "DRAFT   (- is standard input)", Flags: append(identityFlags(), asJSON),
				Description: "Exit codes: 0 done, 1 fault, 2 wrong flags or draft, 4 refused: the number is taken.",
				Action: func(c *cli.Context) error {
					file, err := oneArgument(c, "DRAFT")
					if err != nil {
						return err
					}
					text, err := textOrFile(c, file)
					if err != nil {
						return err
					}
					return withCallerAs(c, schemas.RolePurge, func(g *openedGate, who *caller) error {
						return g.withDesk(true, who, func(k *casework.RecordsDesk, holds *vault.HoldRegister) error {
							return g.runRecordsRequest(c.Context, c.App.Writer, k, holds, who, text, time.Now(), c.Bool("json"))
						})
					})
				},
			},
			on("confirm", "put the second signature under a request for a unit or for everybody", "For a holder of manager or security who is not its registrar.", schemas.RolePurge, nil,
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					if err := k.Confirm(c.Context, number, who.signer); err != nil {
						return err
					}
					_, err := fmt.Fprintln(c.App.Writer, "confirmed, on record: its hold lasts until it is closed")
					return err
				}),
			on("preview", "fetch rows for the secrecy test (--case), and show what would be disclosed now",
				"With --case it runs one lookup of that decision, which may reach no further than the request; of one for a unit, only rows of that\nunit are fetched. Without, it shows the rows that there are.", schemas.RoleQuery,
				[]cli.Flag{&cli.StringFlag{Name: "case", Usage: "the decision's `CASE`"}, &cli.BoolFlag{Name: "whole", Usage: "show also what is marked as secret"}, asJSON},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					return runRecordsPreview(c.Context, c.App.Writer, c.App.ErrWriter, k, who, number, c.String("case"), c.Bool("whole"), c.Bool("json"))
				}),
			on("mark", "say what is secret, and by which law", "Rows are numbered as preview shows them. Of two marks of one thing the later counts.", "",
				[]cli.Flag{
					&cli.StringSliceFlag{Name: "rows", Usage: "`ROWS` such as 3 or 3-7; may be given again"},
					&cli.StringSliceFlag{Name: "field", Usage: "the `NAME` of a field, such as url.path; may be given again; none: the whole row"},
					&cli.StringFlag{Name: "law", Usage: "one of disclosure.secrecy.grounds, as `TEXT`"},
					&cli.BoolFlag{Name: "lift", Usage: "it is not secret after all"},
				},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					if (c.String("law") == "") != c.Bool("lift") {
						return usageErrorf("give --law TEXT, one of:\n%s\nor --lift", strings.Join(laws(k.Config), "\n"))
					}
					marks, err := marksOf(c.StringSlice("rows"), sortedList(c.StringSlice("field")), c.String("law"))
					if err != nil {
						return err
					}
					if err := k.Mark(c.Context, number, marks, who.signer); err != nil {
						return err
					}
					_, err = fmt.Fprintf(c.App.Writer, "%d rows marked\n", len(marks))
					return err
				}),
			on("decide", "sign the answer and put it on record", "Laws are those of the marks; a refusal may name others. That there is nothing must be known: preview first, under a decision of all that the request\nasks for, shown protected destinations, that finds no row and hides none.", "",
				[]cli.Flag{
					&cli.StringFlag{Name: "outcome", Usage: "disclosed, partly, refused or nothing"},
					&cli.StringFlag{Name: "reasons", Usage: "why something is secret, as `TEXT` for whoever asked (- is standard input)"},
					&cli.StringSliceFlag{Name: "law", Usage: "for a refusal: one of disclosure.secrecy.grounds, as `TEXT`; may be given again"},
				},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					reasons := ""
					if c.String("reasons") != "" {
						var err error
						if reasons, err = textFlag(c, "reasons"); err != nil {
							return err
						}
					}
					d, err := k.Decide(c.Context, number, c.String("outcome"), reasons, c.StringSlice("law"), who.signer)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(c.App.Writer, "%s, on record: %d rows, %d secret as a whole, %d in part\n", d.Outcome, d.Rows, d.Secret, d.Partly)
					return err
				}),
			on("export", "write the letter, and what is disclosed as a page and as CSV", "What is written is for whoever asked; tell nobody else where it is. What is still there when the request is closed is removed then.", "",
				[]cli.Flag{&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "an existing `FOLDER` for the files", Value: "."}},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					names, err := k.Export(c.Context, number, c.String("out"), who.signer)
					for _, n := range names {
						fmt.Fprintln(c.App.Writer, n)
					}
					return err
				}),
			on("files", "list what was written for a request and has not been removed", "Where each file was put, and by whom.", "", []cli.Flag{asJSON},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					list, err := k.Files(c.Context, number, who.signer)
					if err != nil {
						return err
					}
					return printExports(c.App.Writer, linesOfExports(list), c.Bool("json"))
				}),
			on("close", "end a request: its hold is released, its rows are removed", "A refusal can be appealed: until that time is over it stays open, unless --waived.", schemas.RolePurge,
				[]cli.Flag{&cli.BoolFlag{Name: "waived", Usage: "nobody will appeal: you have it from whoever asked"}},
				func(c *cli.Context, g *openedGate, k *casework.RecordsDesk, who *caller, number string) error {
					if err := k.Close(c.Context, number, c.Bool("waived"), who.signer); err != nil {
						return err
					}
					_, err := fmt.Fprintln(c.App.Writer, "closed: its hold is released")
					return err
				}),
			{
				Name: "list", Usage: "list requests: numbers and states", Flags: []cli.Flag{asJSON},
				Description: "A request that came in longer than disclosure.overdue ago and is not closed is overdue.\n\nExit codes: 0 done, 1 fault, 2 wrong flags, 3 a request is overdue.",
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withGate(c, false, func(g *openedGate) error {
						return g.withDesk(false, nil, func(k *casework.RecordsDesk, _ *vault.HoldRegister) error {
							return runRecordsList(c.Context, c.App.Writer, k, time.Now(), g.config.Disclosure.Overdue, c.Bool("json"))
						})
					})
				},
			},
		},
	}
}

func laws(c casework.SecrecyConfig) []string {
	var list []string
	for _, g := range c.Grounds {
		list = append(list, "  "+g.Law+": "+g.About)
	}
	return list
}

// withDesk makes the desk; with holds, the gate's database is signed in to as purge, which alone may place and release them.
// who, who may be nil, is whoever works at it: previewed rows open for them or for nobody.
func (g *openedGate) withDesk(holds bool, who *caller, use func(*casework.RecordsDesk, *vault.HoldRegister) error) error {
	k := &casework.RecordsDesk{Gate: g.Gate, Config: g.config.Disclosure.Secrecy, Mask: maskIdentityNumbers}
	if who != nil {
		k.Identities = who.identities
		k.Seal = func(dst io.Writer, recipients []string) (io.WriteCloser, error) {
			return sealTo(dst, recipients, who.ask.pluginUI())
		}
	}
	if !holds {
		return use(k, nil)
	}
	r := holdRegister(g.config, g.db, g.log)
	k.Place, k.Release = r.Place, r.Release
	return use(k, &r)
}

// A recordsSize is how much a request that names no person holds, told without opening anything.
type recordsSize struct {
	Keys     int64  `json:"keys"` // data keys: one a person, day and run of ingest
	Capsules uint64 `json:"capsules"`
	Events   uint64 `json:"events"`
	Bytes    uint64 `json:"bytes"` // of ciphertext
}

func (g *openedGate) runRecordsRequest(ctx context.Context, w io.Writer, k *casework.RecordsDesk, holds *vault.HoldRegister, who *caller, text []byte, now time.Time, asJSON bool) error {
	var d struct {
		Tenant   string `yaml:"tenant"`
		Case     string `yaml:"case"`
		Received string `yaml:"received"`
		Wording  string `yaml:"wording"`
		Answer   string `yaml:"answer"`
		Scope    struct {
			Subject string   `yaml:"subject"`
			Names   []string `yaml:"names"`
			Unit    string   `yaml:"unit"`
			From    string   `yaml:"from"`
			To      string   `yaml:"to"`
			Sources []string `yaml:"sources"`
		} `yaml:"scope"`
	}
	if err := readDraft(text, &d); err != nil {
		return err
	}
	r := casework.NewRecordsRequest(g.config.Audit.Deployment, d.Tenant, casework.Signatory{ID: who.signer.Name(), Key: who.signer.Verifier()}, now)
	r.Case, r.Wording, r.Answer = d.Case, strings.TrimSpace(d.Wording), strings.TrimSpace(d.Answer)
	if err := draftTimes(map[string]string{"received": d.Received}, map[string]*time.Time{"received": &r.Received}); err != nil {
		return err
	}
	r.Scope = casework.RecordsScope{Subject: d.Scope.Subject, Names: sortedList(d.Scope.Names), Unit: d.Scope.Unit, From: d.Scope.From, To: d.Scope.To, Sources: sortedList(d.Scope.Sources)}
	signed, err := casework.SignRecordsRequest(r, who.signer)
	if err != nil {
		return usageErrorf("the draft:\n%w", err)
	}
	status, err := k.Request(ctx, signed)
	if err != nil {
		return err
	}
	line := struct {
		Case  string       `json:"case"`
		State string       `json:"state"`
		Held  bool         `json:"held"` // false: all its days are purged
		Size  *recordsSize `json:"size,omitempty"`
	}{Case: r.Case, State: status.State()}
	var size recordsSize
	if line.Held, size, err = sizeOfRecords(ctx, holds, status.Digest.String()); err != nil {
		return err
	}
	// Of a person nobody learns how much there is, or whether there is anything, before three people have approved a decision.
	if status.Wide() {
		line.Size = &size
	}
	if asJSON {
		return printJSON(w, line)
	}
	fmt.Fprintf(w, "%s is %s.\n", line.Case, line.State)
	if !line.Held {
		_, err = fmt.Fprintln(w, "All its days are purged: there is nothing to hold back.")
		return err
	}
	if line.Size == nil {
		_, err = fmt.Fprintln(w, "What there is, if there is anything, is held back from purge, and not opened. To see it takes a decision of the kind public_record.")
		return err
	}
	fmt.Fprintf(w, "Held back from purge, and not opened: %d events of %d capsules and %d keys, %d bytes.\n"+
		"To see them takes a decision of the kind public_record for each mailbox: about %d rows to look through.\n",
		size.Events, size.Capsules, size.Keys, size.Bytes, size.Events)
	if by := status.ConfirmBy(); !by.IsZero() {
		_, err = fmt.Fprintf(w, "It names no person: a holder of manager or security signs it by %s ('tillsyn records confirm'), or its hold ends.\n", by.Format(time.DateTime+" UTC"))
	}
	return err
}

// sizeOfRecords says whether a request has a hold, and, if it names no person, how much that keeps.
func sizeOfRecords(ctx context.Context, holds *vault.HoldRegister, document string) (held bool, size recordsSize, err error) {
	list, err := holds.List(ctx)
	if err != nil {
		return false, size, err
	}
	query, err := schemas.Query("vault/records_size")
	if err != nil {
		return false, size, err
	}
	for _, h := range list {
		if h.Document != document || !h.InForce() {
			continue
		}
		if held = true; !h.Wide {
			continue
		}
		size.Keys += h.Copies.Keys
		err := holds.DB.Query(ctx, query, clickhouse.Params{"hold": h.ID}, func(row clickhouse.Row) error {
			var capsules, events, bytes uint64
			if err := row.Scan(&capsules, &events, &bytes); err != nil {
				return err
			}
			size.Capsules, size.Events, size.Bytes = size.Capsules+capsules, size.Events+events, size.Bytes+bytes
			return nil
		})
		if err != nil {
			return held, size, fmt.Errorf("count what is held: %w", err)
		}
	}
	return held, size, nil
}

func runRecordsPreview(ctx context.Context, w, about io.Writer, k *casework.RecordsDesk, who *caller, number, decision string, whole, asJSON bool) error {
	if decision != "" {
		result, err := k.Preview(ctx, number, decision, who.signer)
		if err != nil {
			return err
		}
		printResult(about, result)
	}
	rows, marks, err := k.Rows(ctx, number, who.signer)
	if err != nil {
		return err
	}
	d, err := k.Config.Disclose(rows, marks, k.Mask)
	if err != nil {
		return err
	}
	s := d.Sheet
	if whole {
		s = casework.SheetOf(rows)
	}
	if asJSON {
		type column struct {
			Name    string `json:"name"`
			Swedish string `json:"sv"`
			English string `json:"en"`
		}
		var columns []column
		for _, c := range s.Columns {
			columns = append(columns, column{c.Name, c.Label.Swedish, c.Label.English})
		}
		return printJSON(w, struct {
			Columns []column   `json:"columns"`
			Rows    [][]string `json:"rows"`
		}{columns, s.Rows})
	}
	for i, r := range s.Rows {
		var shown []string
		if whole {
			shown = append(shown, strconv.Itoa(i+1))
		}
		for _, v := range r {
			if v != "" {
				shown = append(shown, casework.Clipped(v, 60))
			}
		}
		fmt.Fprintln(w, strings.Join(shown, "  "))
	}
	_, err = fmt.Fprintf(about, "%d rows: %d secret as a whole, %d in part\n", d.Rows, d.Secret, d.Partly)
	return err
}

// marksOf makes a mark for each row of lists such as 3 and 5-7.
func marksOf(rows, fields []string, law string) (casework.Marks, error) {
	var marks casework.Marks
	for _, list := range rows {
		from, to, many := strings.Cut(list, "-")
		if !many {
			to = from
		}
		a, err := strconv.Atoi(from)
		b, fault := strconv.Atoi(to)
		if err != nil || fault != nil || a < 1 || b < a || b-a > 1_000_000 {
			return nil, usageErrorf("--rows: %q is not a row such as 3, or rows such as 3-7", list)
		}
		for n := a; n <= b; n++ {
			marks = append(marks, casework.Mark{Row: n, Fields: slices.Clone(fields), Law: law})
		}
	}
	if len(marks) == 0 {
		return nil, usageErrorf("--rows is missing")
	}
	return marks, nil
}

// A recordsLine is a request as JSON: nothing of what was asked for.
type recordsLine struct {
	Case      string     `json:"case"`
	Tenant    string     `json:"tenant"`
	State     string     `json:"state"`
	Received  time.Time  `json:"received"`
	Registrar string     `json:"registrar"`
	Outcome   string     `json:"outcome,omitempty"`
	Decided   *time.Time `json:"decided,omitempty"`
	Appeal    *time.Time `json:"appeal_until,omitempty"`
	ConfirmBy *time.Time `json:"confirm_by,omitempty"`
	Overdue   bool       `json:"overdue"`
}

func runRecordsList(ctx context.Context, w io.Writer, k *casework.RecordsDesk, now time.Time, after time.Duration, asJSON bool) (err error) {
	all, fault := k.List(ctx)
	overdue := 0
	defer func() {
		if err == nil && overdue > 0 {
			err = foundErrorf("%d requests came in more than %d days ago and are not closed", overdue, int(after.Hours()/24))
		}
	}()
	lines := make([]recordsLine, len(all))
	for i, r := range all {
		lines[i] = recordsLine{Case: r.Request.Case, Tenant: r.Request.Tenant, State: r.State(), Received: r.Request.Received, Registrar: r.Request.Registrar.ID,
			Overdue: r.Overdue(now, after)}
		if lines[i].Overdue {
			overdue++
		}
		if by := r.ConfirmBy(); !by.IsZero() {
			lines[i].ConfirmBy = &by
		}
		if r.Decision != nil {
			lines[i].Outcome = r.Decision.Outcome
		}
		if !r.Decided.IsZero() {
			lines[i].Decided = &r.Decided
		}
		if ends := r.AppealEnds(); !ends.IsZero() {
			lines[i].Appeal = &ends
		}
	}
	if asJSON {
		return errors.Join(fault, printJSON(w, struct {
			Requests []recordsLine `json:"requests"`
		}{lines}))
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "There are no requests.")
		return errors.Join(fault, err)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tTENANT\tSTATE\tRECEIVED\tREGISTRAR\tOUTCOME\tNOTE")
	for _, l := range lines {
		var notes []string
		if l.Overdue {
			notes = append(notes, "overdue")
		}
		if l.ConfirmBy != nil {
			notes = append(notes, "needs a second signature by "+l.ConfirmBy.Format(time.DateTime+" UTC"))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Case, l.Tenant, l.State, l.Received.Format(time.DateTime+" UTC"), l.Registrar, l.Outcome, strings.Join(notes, "; "))
	}
	return errors.Join(fault, t.Flush())
}
