package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/aggregate"
	"tillsyn/schemas"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "statistics of groups",
		Subcommands: []*cli.Command{{
			Name:  "web",
			Usage: "how the web is used, by hour, day, unit, category, domain or country",
			Description: `Shows statistics of groups, never of a person: a row that fewer people contributed to than
statistics.minimum_people (never lower than ` + strconv.Itoa(aggregate.Floor) + `) is not shown and looks like no row.

Days are local days of the tenant, hours are UTC. "people" is exact within a month; over several months it is
that of the largest month, a lower bound. "active" counts distinct (person, site, five minutes) of visits.

Exit codes: 0 done, 1 fault, 2 wrong question or configuration.`,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "from", Usage: "first `DAY`, as 2026-11-01 (default: seven days ago)"},
				&cli.StringFlag{Name: "to", Usage: "last `DAY` (default: today)"},
				&cli.StringFlag{Name: "by", Value: "unit", Usage: "what the rows are: `hour|day|unit|category|domain|country`"},
				&cli.StringFlag{Name: "tenant", Usage: "only this `TENANT`"},
				&cli.StringFlag{Name: "population", Usage: "only this `POPULATION`: staff, elected, pupil or unknown"},
				&cli.StringFlag{Name: "unit", Usage: "only this `UNIT`"},
				&cli.StringFlag{Name: "category", Usage: "only this `CATEGORY`"},
				&cli.Uint64Flag{Name: "limit", Value: 50, Usage: "at most `N` rows"},
				&cli.StringFlag{Name: "format", Value: "table", Usage: "`table|json|csv`"},
				&cli.BoolFlag{Name: "json", Usage: "the same as --format json"},
			},
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return usageErrorf("report web takes no arguments, only flags: %q", c.Args().First())
				}
				o := reportOptions{format: c.String("format"), question: aggregate.Question{
					By: aggregate.By(c.String("by")), Tenant: c.String("tenant"), Population: c.String("population"),
					Unit: c.String("unit"), Category: c.String("category"), Limit: c.Uint64("limit"),
				}}
				if c.Bool("json") {
					o.format = "json"
				}
				now := time.Now()
				for _, d := range []struct {
					flag string
					day  *time.Time
					def  time.Time
				}{{"from", &o.question.From, now.AddDate(0, 0, -7)}, {"to", &o.question.To, now}} {
					*d.day = d.def
					if text := c.String(d.flag); text != "" {
						day, err := time.Parse(time.DateOnly, text)
						if err != nil {
							return usageErrorf("--%s: %q is not a day such as 2026-11-01", d.flag, text)
						}
						*d.day = day
					}
				}
				cfg, err := configOf(c)
				if err != nil {
					return err
				}
				return runReport(c.Context, c.App.Writer, cfg, o)
			},
		}},
	}
}

type reportOptions struct {
	question aggregate.Question
	format   string // table, json or csv
}

func runReport(ctx context.Context, w io.Writer, cfg Config, o reportOptions) error {
	write, ok := map[string]func(io.Writer, aggregate.By, []aggregate.Row) error{
		"table": writeReportTable, "json": writeReportJSON, "csv": writeReportCSV,
	}[o.format]
	if !ok {
		return usageErrorf("--format: %q is not one of table, json and csv", o.format)
	}
	if err := o.question.Validate(); err != nil {
		return usageErrorf("%w", err)
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleQuery)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := aggregate.Report(ctx, db.DB, cfg.Statistics, o.question)
	if err != nil {
		return err
	}
	return write(w, o.question.By, rows)
}

// bar is how wide the longest bar of a table is, in characters.
const bar = 24

func writeReportTable(w io.Writer, by aggregate.By, rows []aggregate.Row) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "No rows: nothing was counted, or too few people to show.")
		return err
	}
	var most uint64
	for _, r := range rows {
		most = max(most, r.ActiveSlots)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tPEOPLE\tACTIVE\t\tREQUESTS\tBLOCKED\tIN\tOUT\n", strings.ToUpper(strings.Join(by.Keys(), "\t")))
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\n", strings.Join(r.Keys, "\t"), r.People, r.ActiveSlots, drawBar(r.ActiveSlots, most),
			r.Requests, r.Blocked, bytesText(r.BytesIn), bytesText(r.BytesOut))
	}
	return t.Flush()
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

func writeReportJSON(w io.Writer, by aggregate.By, rows []aggregate.Row) error {
	list := make([]map[string]any, 0, len(rows))
	for _, r := range rows {
		m := map[string]any{
			"requests": r.Requests, "blocked": r.Blocked, "bytes_in": r.BytesIn, "bytes_out": r.BytesOut,
			"people": r.People, "active_slots": r.ActiveSlots,
		}
		for i, k := range by.Keys() {
			m[k] = r.Keys[i]
		}
		list = append(list, m)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(list)
}

func writeReportCSV(w io.Writer, by aggregate.By, rows []aggregate.Row) error {
	c := csv.NewWriter(w)
	if err := c.Write(append(by.Keys(), "requests", "blocked", "bytes_in", "bytes_out", "people", "active_slots")); err != nil {
		return err
	}
	for _, r := range rows {
		fields := make([]string, 0, len(r.Keys)+6)
		for _, k := range r.Keys {
			fields = append(fields, plainCell(k))
		}
		for _, n := range []uint64{r.Requests, r.Blocked, r.BytesIn, r.BytesOut, r.People, r.ActiveSlots} {
			fields = append(fields, strconv.FormatUint(n, 10))
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
