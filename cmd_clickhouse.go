package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tillsyn/internal/engine"
	"tillsyn/schemas"
)

func clickhouseCommand() *cli.Command {
	shared := []cli.Flag{
		&cli.StringFlag{Name: "data-dir", Usage: "the `DIRECTORY` of the running engine (default: engine.data_dir of the configuration)"},
		&cli.StringFlag{Name: "database", Aliases: []string{"d"}, Usage: "work in the `DATABASE` (default: clickhouse.database of the configuration)"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Value: schemas.RoleOwner, Usage: "sign in as the user of this `ROLE`: " + strings.Join(schemas.Roles(), ", ")},
	}
	return &cli.Command{
		Name:        "clickhouse",
		Usage:       "reach the embedded ClickHouse while tillsyn runs",
		Description: "Where clickhouse.addresses names a server, there is no embedded one: use the server's own client.",
		Action:      noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name:  "url",
				Usage: "print where the embedded ClickHouse listens, for a client of one's own",
				Flags: append(shared[:len(shared):len(shared)],
					&cli.BoolFlag{Name: "http", Usage: "print the address of the HTTP interface, not of the native protocol"},
					&cli.BoolFlag{Name: "show-password", Usage: "put the user's password into it"},
					&cli.BoolFlag{Name: "json", Usage: "print JSON"}),
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return usageErrorf("clickhouse url takes no argument, but was given %q", c.Args().First())
					}
					dir, database, err := engineDatabase(c)
					if err != nil {
						return err
					}
					return runClickhouseURL(c.App.Writer, clickhouseURLOptions{
						dataDir: dir, database: database, user: c.String("user"), http: c.Bool("http"), password: c.Bool("show-password"), json: c.Bool("json"),
					})
				},
			},
			{
				Name:  "shell",
				Usage: "run SQL in the embedded ClickHouse, from a prompt, standard input or --query",
				Description: "A statement ends with a semicolon, and may have several lines. At the prompt, 'exit' or the end of input leaves.\n" +
					"The role 'query' sees what the pages may see; the default, the owner, can change everything.",
				Flags: append(shared[:len(shared):len(shared)],
					&cli.StringFlag{Name: "query", Aliases: []string{"q"}, Usage: "run these `STATEMENTS` and leave"},
					&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: "PrettyCompact", Usage: "the `FORMAT` of answers, any that ClickHouse knows: CSVWithNames, JSON, Vertical..."}),
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return usageErrorf("clickhouse shell takes no argument, but was given %q; a statement goes into --query", c.Args().First())
					}
					dir, database, err := engineDatabase(c)
					if err != nil {
						return err
					}
					o := clickhouseShellOptions{dataDir: dir, database: database, user: c.String("user"), format: c.String("format")}
					in := c.App.Reader
					if c.IsSet("query") {
						in = strings.NewReader(c.String("query"))
					} else if f, ok := in.(*os.File); ok {
						o.prompt = term.IsTerminal(int(f.Fd()))
					}
					return runClickhouseShell(c.Context, in, c.App.Writer, c.App.ErrWriter, o)
				},
			},
		},
	}
}

type clickhouseURLOptions struct {
	dataDir, database, user string
	http, password, json    bool
}

// runClickhouseURL prints a URL as clickhouse-client and clickhouse-go take it.
func runClickhouseURL(w io.Writer, o clickhouseURLOptions) error {
	running, user, err := findEngine(o.dataDir, o.user)
	if err != nil {
		return err
	}
	name, password := running.Credentials(user)
	u := url.URL{Scheme: "clickhouse", Host: running.Address, Path: "/" + o.database, User: url.User(name)}
	if o.http {
		u.Scheme, u.Host, u.Path, u.RawQuery = "http", running.HTTPAddress, "/", url.Values{"database": {o.database}}.Encode()
	}
	if o.password {
		u.User = url.UserPassword(name, password)
	}
	if o.json {
		return printJSON(w, struct {
			URL      string `json:"url"`
			Address  string `json:"address"`
			User     string `json:"user"`
			Database string `json:"database"`
		}{u.String(), u.Host, name, o.database})
	}
	_, err = fmt.Fprintln(w, u.String())
	return err
}

type clickhouseShellOptions struct {
	dataDir, database, user, format string
	prompt                          bool // ask for input, and go on after a fault
}

// runClickhouseShell runs the statements of in, one after the other. Without a prompt the first fault ends it.
func runClickhouseShell(ctx context.Context, in io.Reader, out, faults io.Writer, o clickhouseShellOptions) error {
	running, user, err := findEngine(o.dataDir, o.user)
	if err != nil {
		return err
	}
	ask := func(first bool) {
		switch {
		case !o.prompt:
		case first:
			fmt.Fprintf(out, "%s> ", o.user)
		default:
			fmt.Fprintf(out, "%*s> ", len(o.user), "")
		}
	}
	run := func(statement string) error {
		err := running.Query(ctx, user, o.database, statement, o.format, out)
		if err != nil && o.prompt && ctx.Err() == nil {
			fmt.Fprintln(faults, err)
			return nil
		}
		return err
	}
	lines := bufio.NewReader(in)
	var pending strings.Builder
	for {
		ask(strings.TrimSpace(pending.String()) == "")
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read statements: %w", err)
		}
		if word := strings.TrimRight(strings.TrimSpace(line), ";"); o.prompt && pending.Len() == 0 && (word == "exit" || word == "quit") {
			return nil
		}
		pending.WriteString(line)
		statements, rest := splitStatements(pending.String())
		pending.Reset()
		if strings.TrimSpace(rest) != "" {
			pending.WriteString(rest)
		}
		for _, s := range statements {
			if err := run(s); err != nil {
				return err
			}
		}
		if err != nil { // the last statement of a file needs no semicolon
			if o.prompt {
				fmt.Fprintln(out)
				return nil
			}
			if s := strings.TrimSpace(pending.String()); s != "" {
				return run(s)
			}
			return nil
		}
	}
}

// engineDatabase is where the engine that the command line means keeps its data, and the database in it.
func engineDatabase(c *cli.Context) (dir, database string, err error) {
	if dir, database = c.String("data-dir"), c.String("database"); dir != "" && database != "" {
		return dir, database, nil
	}
	cfg, err := configOf(c)
	if err != nil {
		return "", "", err
	}
	if dir == "" {
		if !cfg.Embedded() {
			return "", "", usageErrorf("a ClickHouse server is configured (clickhouse.addresses), and nothing is embedded: use the server's own client, or name the directory of an engine with --data-dir")
		}
		dir = cfg.Engine.DataDir
	}
	if database == "" {
		database = cfg.ClickHouse.Database
	}
	return dir, database, nil
}

// findEngine answers the engine that runs on dataDir, and its user of that name or role.
func findEngine(dataDir, name string) (running *engine.Running, user string, err error) {
	running, err = engine.Find(dataDir)
	if errors.Is(err, engine.ErrNotRunning) {
		return nil, "", fmt.Errorf("%w: start tillsyn first, or name its directory with --data-dir", err)
	}
	if err != nil {
		return nil, "", err
	}
	var roles []string
	for _, user := range running.Users() {
		role := strings.TrimPrefix(user, "tillsyn_")
		if user == engine.Owner {
			role = schemas.RoleOwner
		}
		if name == user || name == role {
			return running, user, nil
		}
		roles = append(roles, role)
	}
	return nil, "", usageErrorf("the embedded ClickHouse has no user %q; it has one for each of %s", name, strings.Join(roles, ", "))
}

// splitStatements cuts text behind every semicolon that ends a statement, so not within quotes or a comment, and answers
// the statements without it and the text that is left. A statement of nothing but blanks is left out.
func splitStatements(text string) (statements []string, rest string) {
	start := 0
	for i := 0; i < len(text); i++ {
		after := text[i:]
		switch {
		case text[i] == ';':
			if s := strings.TrimSpace(text[start:i]); s != "" {
				statements = append(statements, s)
			}
			start = i + 1
		case text[i] == '\'' || text[i] == '"' || text[i] == '`':
			quote := text[i]
			for i++; i < len(text) && text[i] != quote; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case strings.HasPrefix(after, "--"):
			i = skipTo(text, i+2, "\n")
		case strings.HasPrefix(after, "/*"):
			i = skipTo(text, i+2, "*/")
		}
	}
	return statements, text[start:]
}

// skipTo answers the place of the last byte of the next end in text from i on, or the end of text.
func skipTo(text string, i int, end string) int {
	if n := strings.Index(text[i:], end); n >= 0 {
		return i + n + len(end) - 1
	}
	return len(text)
}
