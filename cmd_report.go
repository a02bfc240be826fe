package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/aggregate"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/schemas"
)

func reportCommand() *cli.Command {
	const shared = `Shows statistics of groups, never of a person: a row that fewer people contributed to than
statistics.minimum_people (never lower than 5) is not shown and looks like no row. Days are local days of the
tenant, hours are UTC. "people" is exact within a month; over several months it is that of the largest month, a
lower bound. By hour and by day there is a row for each; the others end at --limit, and standard error says if there are more.
Guests are volume only: they have no people, and are in the view web_guest_volume of the database alone. `
	const codes = `

Exit codes: 0 done, 1 fault, 2 wrong question or configuration.`
	return &cli.Command{
		Name:   "report",
		Usage:  "statistics of groups",
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name:        "web",
				Usage:       "how the web is used",
				Description: shared + `"active" counts distinct (person, site, five minutes) of visits.` + codes,
				Flags:       reportFlags(aggregate.WebBys()),
				Action:      func(c *cli.Context) error { return reportAction(c, runReportWeb) },
			},
			{
				Name:  "mail",
				Usage: "how mail is used",
				Description: shared + `A message counts once, however many servers tell of it. "forwarded" are
messages that a rule, not a person, passed on to the outside; "identity" and "sensitive" are messages with a
personal identity number, or with that or anything else that is sensitive, in the subject line.` + codes,
				Flags: append(reportFlags(aggregate.MailBys()),
					&cli.StringFlag{Name: "direction", Usage: "only this `DIRECTION`: inbound, outbound or internal"}),
				Action: func(c *cli.Context) error { return reportAction(c, runReportMail) },
			},
		},
	}
}

func reportFlags(bys []aggregate.By) []cli.Flag {
	var names []string
	for _, by := range bys {
		names = append(names, string(by))
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "first `DAY`, as 2026-11-01 (default: seven days ago)"},
		&cli.StringFlag{Name: "to", Usage: "last `DAY` (default: today)"},
		&cli.StringFlag{Name: "by", Value: "unit", Usage: "what the rows are: `" + strings.Join(names, "|") + "`"},
		&cli.StringFlag{Name: "tenant", Usage: "only this `TENANT`"},
		&cli.StringFlag{Name: "population", Usage: "only this `POPULATION`: " + strings.Join(reportPopulations(), ", ")},
		&cli.StringFlag{Name: "unit", Usage: "only this `UNIT`"},
		&cli.StringFlag{Name: "category", Usage: "only this `CATEGORY`"},
		&cli.Uint64Flag{Name: "limit", Value: 50, DefaultText: "50; all by hour and by day", Usage: "at most `N` rows"},
		&cli.StringFlag{Name: "format", Value: "table", Usage: "`table|json|csv`"},
		&cli.BoolFlag{Name: "json", Usage: "the same as --format json"},
	}
}

// reportPopulations are those that have people.
func reportPopulations() []string {
	people := slices.DeleteFunc(resolve.Populations(), func(p string) bool { return p == resolve.PopulationGuest })
	return append(people, resolve.PopulationUnknown)
}

type reportOptions struct {
	question aggregate.Question
	format   string    // table, json or csv
	notes    io.Writer // where to say that there are more rows
}

// reportAction makes the question of the command line and has it answered.
func reportAction(c *cli.Context, run func(context.Context, io.Writer, Config, reportOptions) error) error {
	if err := noArguments(c); err != nil {
		return err
	}
	o := reportOptions{format: c.String("format"), notes: c.App.ErrWriter, question: aggregate.Question{
		By: aggregate.By(c.String("by")), Tenant: c.String("tenant"), Population: c.String("population"),
		Unit: c.String("unit"), Category: c.String("category"), Limit: c.Uint64("limit"), Direction: c.String("direction"),
	}}
	if c.Bool("json") {
		if c.IsSet("format") && o.format != "json" {
			return usageErrorf("--json contradicts --format %s", o.format)
		}
		o.format = "json"
	}
	if by := o.question.By; (by == aggregate.ByHour || by == aggregate.ByDay) && !c.IsSet("limit") {
		o.question.Limit = math.MaxInt64
	}
	var err error
	if o.question.From, o.question.To, err = dayFlags(c, func(now time.Time) (from, to time.Time) { return now.AddDate(0, 0, -7), now }); err != nil {
		return err
	}
	cfg, err := configOf(c)
	if err != nil {
		return err
	}
	if tenant := o.question.Tenant; tenant != "" && !slices.Contains(cfg.Tenants(), tenant) {
		return usageErrorf("--tenant: %q is not one of the configured tenants (resolve.tenants): %s", tenant, strings.Join(cfg.Tenants(), ", "))
	}
	switch population := o.question.Population; {
	case population == resolve.PopulationGuest:
		return usageErrorf("--population: guests are counted as volume only, and have no report: ask the view web_guest_volume of the database")
	case population != "" && !slices.Contains(reportPopulations(), population):
		return usageErrorf("--population: %q is not one of %s", population, strings.Join(reportPopulations(), ", "))
	}
	return run(c.Context, c.App.Writer, cfg, o)
}

// dayFlags are the days of --from and --to, or those that are meant now where a flag is not given.
func dayFlags(c *cli.Context, meant func(now time.Time) (from, to time.Time)) (from, to time.Time, err error) {
	from, to = meant(time.Now())
	for flag, day := range map[string]*time.Time{"from": &from, "to": &to} {
		if text := c.String(flag); text != "" {
			if *day, err = time.Parse(time.DateOnly, text); err != nil {
				return from, to, usageErrorf("--%s: %q is not a day such as 2026-11-01", flag, text)
			}
		}
	}
	return from, to, nil
}

// A reportTable is a report as rows of text and numbers: keys, then measures.
type reportTable struct {
	keys     []string
	measures []measure
	bar      int // the measure that bars show
	rows     []reportRow
}

type measure struct {
	name  string // in JSON and CSV
	head  string // in the table
	bytes bool
}

type reportRow struct {
	keys   []string
	values []uint64
}

func runReportWeb(ctx context.Context, w io.Writer, cfg Config, o reportOptions) error {
	if err := o.question.ValidateWeb(); err != nil {
		return usageErrorf("%w", err)
	}
	return runReport(ctx, w, cfg, o, func(db *clickhouse.DB, q aggregate.Question) (reportTable, error) {
		t := reportTable{keys: o.question.By.Keys(), bar: 1, measures: []measure{
			{"people", "PEOPLE", false}, {"active_slots", "ACTIVE", false}, {"requests", "REQUESTS", false}, {"blocked", "BLOCKED", false},
			{"bytes_in", "IN", true}, {"bytes_out", "OUT", true},
		}}
		rows, err := aggregate.Web(ctx, db, cfg.Statistics, q)
		for _, r := range rows {
			t.rows = append(t.rows, reportRow{r.Keys, []uint64{r.People, r.ActiveSlots, r.Requests, r.Blocked, r.BytesIn, r.BytesOut}})
		}
		return t, err
	})
}

func runReportMail(ctx context.Context, w io.Writer, cfg Config, o reportOptions) error {
	if err := o.question.ValidateMail(); err != nil {
		return usageErrorf("%w", err)
	}
	return runReport(ctx, w, cfg, o, func(db *clickhouse.DB, q aggregate.Question) (reportTable, error) {
		t := reportTable{keys: o.question.By.Keys(), bar: 1, measures: []measure{
			{"people", "PEOPLE", false}, {"messages", "MESSAGES", false}, {"bytes", "SIZE", true}, {"forwarded", "FORWARDED", false},
			{"identity_numbers", "IDENTITY", false}, {"sensitive", "SENSITIVE", false},
		}}
		rows, err := aggregate.Mail(ctx, db, cfg.Statistics, q)
		for _, r := range rows {
			t.rows = append(t.rows, reportRow{r.Keys, []uint64{r.People, r.Messages, r.Bytes, r.Forwarded, r.IdentityNumbers, r.Sensitive}})
		}
		return t, err
	})
}

func runReport(ctx context.Context, w io.Writer, cfg Config, o reportOptions, ask func(*clickhouse.DB, aggregate.Question) (reportTable, error)) (err error) {
	write, ok := map[string]func(reportTable, io.Writer) error{
		"table": reportTable.text, "json": reportTable.json, "csv": reportTable.csv,
	}[o.format]
	if !ok {
		return usageErrorf("--format: %q is not one of table, json and csv", o.format)
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleQuery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(ctx, schemas.Migrations()); err != nil {
		return err
	}
	limit, q := o.question.Limit, o.question
	if limit < math.MaxUint64 {
		q.Limit++ // whether there are more
	}
	t, err := ask(db.DB, q)
	if err != nil {
		return err
	}
	more := uint64(len(t.rows)) > limit
	if more {
		t.rows = t.rows[:limit]
	}
	if err := write(t, w); err != nil || !more {
		return err
	}
	_, err = fmt.Fprintf(o.notes, "tillsyn: there are more rows than these %d: ask for them with --limit\n", limit)
	return err
}

// bar is how wide the longest bar of a table is, in characters.
const bar = 24

func (t reportTable) text(w io.Writer) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, "No rows: nothing was counted, or too few people to show.")
		return err
	}
	var most uint64
	for _, r := range t.rows {
		most = max(most, r.values[t.bar])
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, strings.ToUpper(strings.Join(t.keys, "\t")))
	for i, m := range t.measures {
		fmt.Fprintf(out, "\t%s", m.head)
		if i == t.bar {
			fmt.Fprint(out, "\t")
		}
	}
	fmt.Fprintln(out)
	for _, r := range t.rows {
		fmt.Fprint(out, strings.Join(r.keys, "\t"))
		for i, v := range r.values {
			if t.measures[i].bytes {
				fmt.Fprintf(out, "\t%s", bytesText(v))
			} else {
				fmt.Fprintf(out, "\t%d", v)
			}
			if i == t.bar {
				fmt.Fprintf(out, "\t%s", drawBar(v, most))
			}
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// drawBar draws n of most in eighths of a character.
func drawBar(n, most uint64) string {
	if most == 0 {
		return ""
	}
	eighths := int(float64(n) / float64(most) * bar * 8)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

// bytesText writes bytes with a unit of 1024 (IEC 80000-13).
func bytesText(n uint64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func (t reportTable) json(w io.Writer) error {
	list := make([]map[string]any, 0, len(t.rows))
	for _, r := range t.rows {
		m := map[string]any{}
		for i, k := range t.keys {
			m[k] = r.keys[i]
		}
		for i, v := range r.values {
			m[t.measures[i].name] = v
		}
		list = append(list, m)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(list)
}

func (t reportTable) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	head := slices.Clone(t.keys)
	for _, m := range t.measures {
		head = append(head, m.name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, r := range t.rows {
		var fields []string
		for _, k := range r.keys {
			fields = append(fields, plainCell(k))
		}
		for _, v := range r.values {
			fields = append(fields, strconv.FormatUint(v, 10))
		}
		if err := c.Write(fields); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// plainCell keeps a spreadsheet from taking text for a formula (OWASP, CSV injection).
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
