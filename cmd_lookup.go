package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tillsyn/query/casework"
)

func lookupCommand() *cli.Command {
	return &cli.Command{
		Name: "lookup", Usage: "look up what an approved decision opens, and nothing else", ArgsUsage: "CASE",
		Description: `What comes out stands in the decision: person, days, sources, categories. There is nothing else to choose. Each lookup is on record
before anything is read, and counts against the decision's number of lookups. Other people in mails are redacted.

Beside the rows (standard error; with --json its last line is the same as JSON) stands what is not among them: keys that are missing or did not open,
capsules that did not open, and days that are purged. The record has the same numbers.

Rows come oldest first, the newest last. With --json each row is a line, with the names of 'tillsyn parse'. No file is written:
whoever needs one uses 'tillsyn export', which is on record, can be checked by others, and goes with its case.
Of the kinds subject_access and public_record nothing is shown here: 'tillsyn subject-access', 'tillsyn records preview'.

Exit codes: 0 done, 1 fault (also: no record, so no read), 2 wrong flags, 4 refused.`,
		Flags: append(identityFlags(),
			&cli.BoolFlag{Name: "json", Usage: "print each row as a line of JSON"}),
		Action: func(c *cli.Context) error {
			number, err := oneArgument(c, "CASE")
			if err != nil {
				return err
			}
			o := rowsOptions{json: c.Bool("json"), now: time.Now}
			return withCaller(c, true, func(g *openedGate, who *caller) error {
				return g.runLookup(c.Context, c.App.Writer, c.App.ErrWriter, who, number, o)
			})
		},
	}
}

type rowsOptions struct {
	json bool
	now  func() time.Time
}

func (g *openedGate) runLookup(ctx context.Context, w, about io.Writer, who *caller, number string, o rowsOptions) (err error) {
	n, err := g.Recover(ctx)
	switch {
	case errors.Is(err, casework.ErrStore): // another case's file: this one may be whole
		fmt.Fprintln(about, err)
	case err != nil:
		return err
	case n > 0:
		fmt.Fprintf(about, "%d lookups of before were begun and never ended: the record says so now\n", n)
	}
	// A case that there is not goes the same way as one that is another's: the gate refuses both, and records it.
	var request []byte
	c, err := g.Store().Case(number)
	switch {
	case err == nil:
		if request, err = casework.SignLookup(c.Decision, c.Digest, who.signer, o.now()); err != nil {
			request = nil
		}
	case !errors.Is(err, casework.ErrNoCase):
		return err
	}
	out := bufio.NewWriter(w)
	defer func() { err = errors.Join(err, out.Flush()) }()
	each := func(r casework.Row) error {
		if o.json {
			_, err := out.Write(append(r.AppendJSON(nil), '\n'))
			return err
		}
		return printRow(out, r)
	}
	result, err := g.Lookup(ctx, number, request, each)
	if result.Case != "" {
		if fault := out.Flush(); fault != nil {
			err = errors.Join(err, fault)
		}
		printResult(about, result)
		if o.json {
			err = errors.Join(err, json.NewEncoder(about).Encode(result))
		}
	}
	return err
}

// column cuts a value to a width and shows every character of it.
func column(v any, width int) string {
	text := ""
	switch v := v.(type) {
	case nil:
	case []string:
		text = strings.Join(v, ",")
	default:
		text = fmt.Sprint(v)
	}
	text = casework.Clipped(text, width)
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// printRow prints one row in columns of fixed width: what comes later can't be waited for.
func printRow(w io.Writer, r casework.Row) error {
	explained := ""
	if why, ok := r.Get("tillsyn.explained").(string); ok {
		explained = "  [" + casework.Clipped(why, 80) + "]"
	}
	var line string
	switch {
	case r.Get("@timestamp") == nil: // identify
		line = column(r.Get("user.name"), 40) + "  " + column(r.Get("event.count"), 20)
	case r.Get("email.from.address") != nil || r.Get("email.to.address") != nil:
		line = strings.Join([]string{column(r.Get("@timestamp"), 24), "mail", column(r.Get("email.direction"), 8), column(r.Get("email.from.address"), 36),
			column(r.Get("email.to.address"), 48), column(r.Get("email.subject"), 48)}, "  ")
		if by, ok := r.Get("tillsyn.forwarder").(string); ok {
			explained = "  [sent on by a rule of " + casework.Clipped(by, 80) + "]" + explained
		}
	default:
		url := fmt.Sprint(r.Get("url.domain"))
		if path, ok := r.Get("url.path").(string); ok {
			url += path
		}
		line = strings.Join([]string{column(r.Get("@timestamp"), 24), "web ", column(r.Get("event.action"), 8), column(r.Get("user.name"), 20),
			column(r.Get("tillsyn.category"), 16), column(r.Get("destination.bytes"), 10), column(url, 90)}, "  ")
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(line, " ")+explained)
	return err
}

func printResult(w io.Writer, r casework.Result) {
	if r.Kind == casework.Identify {
		fmt.Fprintf(w, "case %s: lookup %d, %d left. %d people above the threshold.\n", r.Case, r.Number, r.Left, r.Rows)
	} else {
		fmt.Fprintf(w, "case %s: lookup %d, %d left. %d rows.\n", r.Case, r.Number, r.Left, r.Rows)
	}
	for _, x := range []struct {
		n    int64
		text string
	}{
		{r.Protected, "events of protected destinations were withheld"},
		{r.Explained, "of them are explained by a permission or a self-report"},
		{int64(r.Late), "keys came after an approval, with late log lines: nobody approved them, and they stayed shut"},
		{int64(r.Unopened), "capsules did not open: somebody altered, moved or made them up; tell the data protection officer"},
		{int64(r.Damaged), "keys did not open: somebody altered, moved or made them up, and what is under them is not shown; tell the data protection officer"},
		{int64(r.Keyless), "keys are gone, and what is under them is not shown: somebody removed or altered them; tell the data protection officer"},
		{int64(r.Elsewhere), "keys of the person are of another population: others decide about them, and they stayed shut"},
		{int64(r.Purged), "days in scope, counted for each source, are purged, and were not held for this case"},
	} {
		if x.n > 0 {
			fmt.Fprintf(w, "%d %s\n", x.n, x.text)
		}
	}
	if r.Whole() {
		fmt.Fprintln(w, "Of what is in scope nothing was missing or stayed shut.")
	}
	if r.Shielded {
		fmt.Fprintln(w, "Protected destinations are left out, whether there was anything or not, and so is a mail that also went to one:\na decision shows them only on a ground of its own (scope.protected).")
	}
}
