package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/vault"
	"tillsyn/query/casework"
)

func subjectAccessCommand() *cli.Command {
	return &cli.Command{
		Name: "subject-access", Usage: "give a person the extract of their own data that they asked for (GDPR article 15)", ArgsUsage: "CASE",
		Description: `For a decision of the kind subject_access. Runs one lookup and writes an archive that only the person can open: a page in Swedish
and English with what article 15(1) asks for, and the rows; other people are redacted. To whom it is encrypted stands in
the decision, which three people approved: the person's own age key; or, with the word letter there, a passphrase, which is
printed once: send it by letter, never with the file. The rows are shown to nobody here.
It goes on record as a request of a data subject. The person opens it with 'age -d FILE > extract.zip'.

Exit codes: 0 done, 1 fault, 2 wrong flags, 4 refused.`,
		Flags: append(identityFlags(),
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "an existing `FOLDER` for the file", Value: "."},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"}),
		Action: func(c *cli.Context) error {
			number, err := oneArgument(c, "CASE")
			if err != nil {
				return err
			}
			return withCaller(c, true, func(g *openedGate, who *caller) error {
				return g.runSubjectAccess(c.Context, c.App.Writer, c.App.ErrWriter, who, number, c.String("out"), c.Bool("json"))
			})
		},
	}
}

// storageTimes are what the configuration says of how long raw data are kept.
func storageTimes(r vault.Retention, tenant string) []casework.StorageTime {
	var list []casework.StorageTime
	for _, c := range []struct {
		class vault.Class
		what  casework.Phrase
	}{
		{vault.ClassWeb, casework.Phrase{Swedish: "Webb, per person", English: "Web, by person"}},
		{vault.ClassMail, casework.Phrase{Swedish: "E-post, per person", English: "Mail, by person"}},
	} {
		of := r.Of(c.class)
		s := casework.StorageTime{What: c.what, Days: of.Days}
		for _, d := range of.Decisions {
			if d.Tenant == tenant || d.Tenant == "" {
				s.Decision = d.Number
			}
		}
		list = append(list, s)
	}
	return list
}

func (g *openedGate) runSubjectAccess(ctx context.Context, w, about io.Writer, who *caller, number, dir string, asJSON bool) error {
	if _, err := g.Recover(ctx); err != nil {
		return err
	}
	c, _, err := g.Entitled(ctx, number, who.signer)
	if err != nil {
		return err
	}
	if c.Decision.Kind != casework.SubjectAccess {
		return usageErrorf("the decision is of the kind %s, not %s", c.Decision.Kind, casework.SubjectAccess)
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	request, err := casework.SignLookup(c.Decision, c.Digest, who.signer, time.Now())
	if err != nil {
		return err
	}
	e, err := g.GiveExtract(ctx, number, request, casework.SubjectAccessOptions{
		Dir: dir, Maker: who.signer, Authority: g.authority(c.Decision.Tenant), Processing: g.config.Disclosure.Processing,
		Storage: storageTimes(g.config.Retention.Retention, c.Decision.Tenant),
	})
	if e.Result.Case != "" {
		printResult(about, e.Result)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, struct {
			exportLine
			Passphrase string `json:"passphrase,omitempty"`
		}{lineOfExport(e.Export), e.Passphrase})
	}
	if _, err = fmt.Fprintf(w, "%s: %d rows, encrypted to the person\n", e.Path, e.Rows); err == nil && e.Passphrase != "" {
		_, err = fmt.Fprintf(w, "passphrase: %s\nIt is shown this once. Send it by letter, never with the file.\n", e.Passphrase)
	}
	return err
}
