package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"tillsyn/ingest/category"
)

// uncategorised is what statistics call a host that is in no list.
const uncategorised = "uncategorised"

func listsCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "answer in JSON"}
	return &cli.Command{
		Name:  "lists",
		Usage: "compile, update and ask the lists that say what a web site is",
		Description: "A list is a file of domains (plain, hosts, adblock, dnsmasq, unbound, wildcard, RPZ), a squidGuard folder or archive such as\n" +
			"UT1's, or an https URL of one. They are named under 'lists' in the configuration, each with its category; a category has a class:\n" +
			"forbidden, limited, ordinary, protected or background.",
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "compile", Usage: "compile the configured lists, or the ones named here, into one file",
				ArgsUsage: "[[CATEGORY=]SOURCE...]",
				Description: "Without SOURCE the configured lists are compiled; servers are asked only for lists that were never fetched. A SOURCE that is\n" +
					"a file or URL needs its category in front; a squidGuard folder has its own.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write the compiled lists to `FILE`, too"},
					&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: string(category.Auto), Usage: "the `FORMAT` of the files named here"},
					&cli.BoolFlag{Name: "builtin", Usage: "add the lists that come with tillsyn to the ones named here"},
					asJSON,
				},
				Action: func(c *cli.Context) error {
					config, err := listsConfig(c)
					if err != nil {
						return err
					}
					return runListsCompile(c.Context, c.App.Writer, config, c.String("out"), c.Bool("json"))
				},
			},
			{
				Name: "update", Usage: "ask every source for something newer, and compile",
				Description: "A source that is out of reach, empty, mostly junk or suddenly much smaller keeps what was taken from it before: exit code 1.\n" +
					"A running ingester takes the result into use within half a minute.",
				Flags: []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					config, err := configOf(c)
					if err != nil {
						return err
					}
					return runListsUpdate(c.Context, c.App.Writer, config.Lists, c.Bool("json"))
				},
			},
			{
				Name: "lookup", Usage: "explain what the lists say about hosts",
				ArgsUsage: "HOST...",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "file", Usage: "ask this compiled `FILE` instead of the configured lists"},
					&cli.BoolFlag{Name: "verify", Usage: "check the whole compiled file first"},
					asJSON,
				},
				Action: func(c *cli.Context) error {
					hosts, err := argumentsOf(c)
					if err != nil {
						return err
					}
					if len(hosts) == 0 {
						return usageErrorf("name a HOST, such as www.example.se")
					}
					var config category.Config
					if c.String("file") == "" {
						whole, err := configOf(c)
						if err != nil {
							return err
						}
						config = whole.Lists
					}
					return runListsLookup(c.Context, c.App.Writer, lookupOptions{
						config: config, file: c.String("file"), verify: c.Bool("verify"), json: c.Bool("json"), hosts: hosts,
					})
				},
			},
		},
	}
}

// listsConfig answers the configured lists, or the ones on the command line.
func listsConfig(c *cli.Context) (category.Config, error) {
	args, err := argumentsOf(c)
	if err != nil {
		return category.Config{}, err
	}
	if len(args) == 0 {
		for _, flag := range [...]string{"format", "builtin"} {
			if c.IsSet(flag) {
				return category.Config{}, usageErrorf("--%s is for lists that are named on the command line", flag)
			}
		}
		config, err := configOf(c)
		return config.Lists, err
	}
	var format category.Format
	if err := format.UnmarshalText([]byte(c.String("format"))); err != nil {
		return category.Config{}, usageErrorf("--format: %w", err)
	}
	config := category.DefaultConfig()
	config.Builtin = c.Bool("builtin")
	taken := make(map[string]int)
	for _, arg := range args {
		l := category.ListConfig{Source: arg, Format: format}
		if before, after, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(before, "/.") {
			l.Category, l.Source = before, after
		}
		l.Name = listName(l.Source)
		if taken[l.Name]++; taken[l.Name] > 1 {
			l.Name = fmt.Sprintf("%s-%d", l.Name, taken[l.Name])
		}
		config.Lists = append(config.Lists, l)
	}
	if err := config.Validate(); err != nil {
		return category.Config{}, usageErrorf("%w", err)
	}
	return config, nil
}

// listName makes a list's name of where it is.
func listName(source string) string {
	source, _, _ = strings.Cut(source, "?")
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r | 0x20
		}
		return '-'
	}, filepath.Base(source))
	for _, ending := range [...]string{".gz", ".zst", ".tar", ".txt", ".conf"} {
		name = strings.TrimSuffix(name, ending)
	}
	name = strings.TrimLeft(name, "-_.")
	if len(name) > 60 {
		name = name[:60]
	}
	return cmp.Or(name, "list")
}

func runListsCompile(ctx context.Context, out io.Writer, config category.Config, file string, asJSON bool) error {
	keeper, err := category.New(config)
	if err != nil {
		return usageErrorf("%w", err)
	}
	report, fault := keeper.Compile(ctx)
	if fault == nil && file != "" {
		if err := writeLists(keeper, file); err != nil {
			return err
		}
		report.File = file
	}
	return errors.Join(printListsReport(out, report, asJSON), fault)
}

// writeLists writes the table in use and reads it back whole.
func writeLists(keeper *category.Keeper, file string) error {
	if err := keeper.Write(file); err != nil {
		return fmt.Errorf("write the compiled lists: %w", err)
	}
	table, err := category.Open(file)
	if err != nil {
		return err
	}
	return table.Verify()
}

func runListsUpdate(ctx context.Context, out io.Writer, config category.Config, asJSON bool) error {
	keeper, err := category.New(config)
	if err != nil {
		return usageErrorf("%w", err)
	}
	report, fault := keeper.Update(ctx)
	return errors.Join(printListsReport(out, report, asJSON), fault)
}

func printListsReport(out io.Writer, r category.Report, asJSON bool) error {
	if asJSON {
		return writeIndented(out, r)
	}
	if len(r.Lists) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIST\tOUTCOME\tFORMAT\tVERSION\tDOMAINS\tSKIPPED")
	for _, l := range r.Lists {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", l.Name, l.Outcome, dash(string(l.Format)), dash(l.Version), l.Domains, skippedText(l.Skipped))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Info.Domains > 0 {
		fmt.Fprintf(out, "\n%d domains in %d bytes: %.2f bytes a domain; a host in no list is taken for a listed one with a chance below %.1g\n",
			r.Info.Domains, r.Info.Bytes, float64(r.Info.Bytes)/float64(r.Info.Domains), r.Info.FalsePositive)
	}
	if r.File != "" {
		fmt.Fprintf(out, "compiled file: %s\n", r.File)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "warning: %s\n", warning)
	}
	return nil
}

func dash(s string) string { return cmp.Or(s, "-") }

func skippedText(skipped map[category.Reason]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		parts = append(parts, fmt.Sprintf("%d %s", skipped[reason], reason))
	}
	return dash(strings.Join(parts, ", "))
}

type lookupOptions struct {
	config       category.Config
	file         string
	verify, json bool
	hosts        []string
}

// A lookupAnswer is what the lists say about one host, in the words of --json.
type lookupAnswer struct {
	Host       string           `json:"host"`
	Category   string           `json:"category"`
	Categories []string         `json:"categories"`
	Class      category.Class   `json:"class"`
	List       string           `json:"list,omitempty"`
	Version    string           `json:"version,omitempty"`
	Rule       string           `json:"rule,omitempty"`
	Override   bool             `json:"override,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Matches    []category.Match `json:"matches"`
}

func runListsLookup(ctx context.Context, out io.Writer, o lookupOptions) error {
	lists := new(category.Lists)
	if o.file != "" {
		table, err := category.Open(o.file)
		if err == nil && o.verify {
			err = table.Verify()
		}
		if err != nil {
			return err
		}
		lists.Set(table)
	} else {
		keeper, err := category.New(o.config)
		if err != nil {
			return usageErrorf("%w", err)
		}
		if o.verify {
			_, err = keeper.Compile(ctx) // reads the whole file before it is trusted
		} else {
			err = keeper.Load(ctx)
		}
		if err != nil {
			return err
		}
		lists = keeper.Lists()
	}
	answers := make([]lookupAnswer, 0, len(o.hosts))
	for _, arg := range o.hosts {
		host, err := category.Canonical(hostOf(arg))
		if err != nil {
			return usageErrorf("%q: %w", arg, err)
		}
		v := lists.Lookup([]byte(host))
		answers = append(answers, lookupAnswer{
			Host: host, Category: cmp.Or(v.Category, uncategorised), Categories: slices.Concat([]string{}, v.Categories), Class: v.Class,
			List: v.List, Version: v.Version, Rule: string(v.Rule), Override: v.Override, Reason: v.Reason,
			Matches: slices.Concat([]category.Match{}, lists.Explain([]byte(host))),
		})
	}
	if o.json {
		return writeIndented(out, answers)
	}
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		printLookup(out, a)
	}
	return nil
}

// hostOf takes the host out of a URL, as it is pasted from a browser.
func hostOf(arg string) string {
	if _, after, ok := strings.Cut(arg, "://"); ok {
		arg = after
	}
	if i := strings.IndexAny(arg, "/?#"); i >= 0 {
		arg = arg[:i]
	}
	return arg[strings.LastIndexByte(arg, '@')+1:]
}

func printLookup(out io.Writer, a lookupAnswer) {
	fmt.Fprintf(out, "%s: %s (%s)\n", a.Host, a.Category, a.Class)
	if len(a.Matches) == 0 {
		fmt.Fprintln(out, "  no list knows it")
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  \tRULE\tCATEGORY\tCLASS\tLIST\tVERSION\tNOTE")
	for _, m := range a.Matches {
		mark, note := "", ""
		switch {
		case m.Decides:
			mark = "*"
		case m.Exception:
			note = "an exception: takes the host out of this list"
		}
		if m.Override {
			note = "override: " + m.Reason
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, m.Rule, m.Category, m.Class, m.List, m.Version, dash(note))
	}
	_ = w.Flush()
}

func writeIndented(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
