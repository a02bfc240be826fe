package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"
)

// configFlag is global: every command that needs a configuration reads the same one.
func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"},
		Usage: "the configuration `FILE` (default: " + defaultConfigFile + " if it is there)",
	}
}

// configOf loads the configuration that the command line names. A fault in it is a usage error.
func configOf(c *cli.Context) (Config, error) {
	config, err := loadConfig(c.String("config"))
	if err != nil {
		return Config{}, configError(c.String("config"), err)
	}
	return config, nil
}

// configError makes the faults of a configuration into one usage error, a line each.
func configError(path string, err error) error {
	if path == "" {
		path = defaultConfigFile
	}
	faults := leaves(err)
	if len(faults) == 1 {
		return usageErrorf("%s: %w", path, faults[0])
	}
	var lines strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&lines, "\n  %v", f)
	}
	return usageErrorf("%s has %d faults:%s", path, len(faults), lines.String())
}

func configCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "answer in JSON"}
	return &cli.Command{
		Name:  "config",
		Usage: "write, check and show the configuration",
		Description: "The configuration is one YAML file with a section for each part of tillsyn. An unknown key, a wrong type or a key\n" +
			"given twice is a fault. Passwords and keys are never in it: it names the files that hold them.",
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "write a commented example",
				Description: "An existing file is left as it is: exit code 2.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: defaultConfigFile, Usage: "where to write it, a `FILE` that does not exist yet (- is standard output)"},
				},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return runConfigInit(c.App.Writer, c.String("output"))
				},
			},
			{
				Name: "check", Usage: "read the configuration and name all its faults",
				Description: "Nothing is opened or started. Exit code: 0 when it can be used, 2 when not.",
				Flags:       []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return runConfigCheck(c.App.Writer, c.String("config"), c.Bool("json"))
				},
			},
			{
				Name: "watched", Usage: "say what is watched, how it is shown and how long it is kept",
				Description: `These are the words that 'tillsyn serve' and 'tillsyn purge' put on record whenever they have changed. They name no person, no
secret and no place.`,
				Flags: []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					config, err := configOf(c)
					if err != nil {
						return err
					}
					text := watched(config)
					if c.Bool("json") {
						return printJSON(c.App.Writer, struct {
							Digest  string   `json:"digest"` // as the record has it
							Watched []string `json:"watched"`
						}{watchedDigest(text), strings.Split(strings.TrimSuffix(text, "\n"), "\n")})
					}
					_, err = io.WriteString(c.App.Writer, text)
					return err
				},
			},
			{
				Name: "dump", Usage: "show the configuration in use, defaults and all",
				Flags: []cli.Flag{asJSON},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					config, err := configOf(c)
					if err != nil {
						return err
					}
					return runConfigDump(c.App.Writer, config, c.Bool("json"))
				},
			},
		},
	}
}

// noSubcommand is the action of a command that only has subcommands.
func noSubcommand(c *cli.Context) error {
	if c.Args().Present() {
		return noSuchCommand(c, c.Args().First())
	}
	return cli.ShowSubcommandHelp(c)
}

func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageErrorf("%s takes no arguments; see --help", commandName(c))
	}
	return nil
}

// commandName is what the user typed to reach a command, such as config check.
func commandName(c *cli.Context) string {
	return strings.TrimPrefix(c.Command.HelpName, c.App.Name+" ")
}

// argumentsOf answers the arguments of a command that takes several. A flag among them would be taken for one of them, so it is
// refused, unless -- stands before them all.
func argumentsOf(c *cli.Context) ([]string, error) {
	args := c.Args().Slice()
	if typed := c.Lineage()[1].Args().Slice(); len(typed) > len(args) && typed[len(typed)-len(args)-1] == "--" {
		return args, nil
	}
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		known := slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		if strings.HasPrefix(arg, "--") || strings.HasPrefix(arg, "-") && known {
			return nil, usageErrorf("%s: %s stands behind an argument: flags come before them (and -- before arguments that look like flags)", commandName(c), arg)
		}
	}
	return args, nil
}

func runConfigInit(out io.Writer, path string) error {
	if path == "-" {
		_, err := io.WriteString(out, exampleConfig)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return usageErrorf("%s is there already: choose another --output, or remove it", path)
	}
	if err != nil {
		return fmt.Errorf("write the example configuration: %w", err)
	}
	_, err = f.WriteString(exampleConfig)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the example configuration: %w", err)
	}
	fmt.Fprintf(out, "%s is written: change it, then run 'tillsyn config check'\n", path)
	return nil
}

func runConfigCheck(out io.Writer, path string, asJSON bool) error {
	config, err := loadConfig(path)
	if !asJSON {
		if err != nil {
			return configError(path, err)
		}
		for _, w := range config.Lists.Warnings() {
			fmt.Fprintf(out, "warning: lists: %s\n", w)
		}
		fmt.Fprintln(out, "the configuration can be used")
		return nil
	}
	answer := struct {
		Valid    bool           `json:"valid"`
		Faults   []*configFault `json:"faults"`
		Warnings []string       `json:"warnings"`
	}{err == nil, []*configFault{}, []string{}}
	for _, e := range leaves(err) {
		var f *configFault
		if !errors.As(e, &f) {
			f = &configFault{Message: e.Error()}
		}
		answer.Faults = append(answer.Faults, f)
	}
	if err == nil {
		answer.Warnings = append(answer.Warnings, config.Lists.Warnings()...)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		return err
	}
	if err != nil {
		return usageErrorf("the configuration has %d faults", len(answer.Faults))
	}
	return nil
}

func runConfigDump(out io.Writer, config Config, asJSON bool) error {
	text, err := dumpConfig(config)
	if err != nil {
		return fmt.Errorf("show the configuration: %w", err)
	}
	if asJSON {
		if text, err = yaml.YAMLToJSON(text); err != nil {
			return fmt.Errorf("show the configuration: %w", err)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return fmt.Errorf("show the configuration: %w", err)
		}
		text = append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
	}
	_, err = out.Write(text)
	return err
}

// dumpConfig answers config as YAML that can be read again. The only place where a secret could stand is the URL of a
// list: its sign-in and its query are taken out.
func dumpConfig(config Config) ([]byte, error) {
	config.Lists.Lists = slices.Clone(config.Lists.Lists)
	for i := range config.Lists.Lists {
		source := &config.Lists.Lists[i].Source
		u, err := url.Parse(*source)
		if err != nil || u.Host == "" {
			continue
		}
		if u.User != nil {
			u.User = url.User("redacted")
		}
		if u.RawQuery != "" {
			u.RawQuery = "redacted"
		}
		*source = u.String()
	}
	return yaml.Marshal(config)
}
