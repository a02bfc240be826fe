// Command tillsyn watches that an organisation's web and mail are used as agreed, without watching anybody.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// Exit codes, the same for every command.
const (
	exitOK      = 0 // done
	exitFault   = 1 // something broke; trying again may help
	exitUsage   = 2 // the command line or the configuration is wrong
	exitFound   = 3 // a check ran and found something
	exitRefused = 4 // not allowed
)

// An exitError is an error that knows which exit code it means.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageErrorf says that the command line or the configuration is wrong: exit code 2.
func usageErrorf(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// foundErrorf says that a check ran and found something: exit code 3.
func foundErrorf(format string, args ...any) error {
	return &exitError{exitFound, fmt.Errorf(format, args...)}
}

// exitCode is the one place where an error becomes a number.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	default:
		return exitFault
	}
}

func newApp() *cli.App {
	app := &cli.App{
		Name:                   "tillsyn",
		Usage:                  "acceptable-use monitoring that watches use, not people",
		UseShortOptionHandling: true,
		HideVersion:            true,
		ExitErrHandler:         func(*cli.Context, error) {}, // run maps errors to exit codes
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usageErrorf("%w (see 'tillsyn help')", err)
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noSuchCommand(c, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Flags:    []cli.Flag{configFlag()},
		Commands: commands(),
	}
	setUsageErrors(app.Commands)
	// urfave/cli has no way to answer an error of its own to help for a command that there is not.
	var unknown error
	app.CommandNotFound = func(c *cli.Context, name string) { unknown = noSuchCommand(c, name) }
	app.After = func(*cli.Context) error { return unknown }
	return app
}

// noSuchCommand says that the command of c has no command of that name.
func noSuchCommand(c *cli.Context, name string) error {
	if of := commandName(c); of != c.App.Name {
		return usageErrorf("%s has no command %q; see 'tillsyn %[1]s --help'", of, name)
	}
	return usageErrorf("no command is called %q; see 'tillsyn help'", name)
}

// setUsageErrors gives every command the same answer to a wrong flag: urfave/cli does not inherit it.
func setUsageErrors(list []*cli.Command) {
	for _, c := range list {
		if c.OnUsageError == nil {
			c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
				return usageErrorf("%w", err)
			}
		}
		setUsageErrors(c.Subcommands)
	}
}

// run is main without the process: tests call it. It answers the exit code.
func run(ctx context.Context, app *cli.App, args []string) int {
	err := app.RunContext(ctx, args)
	switch rest := told(ctx, err); {
	case err == nil:
	case rest == nil:
		fmt.Fprintln(app.ErrWriter, "tillsyn: interrupted before it was done: run it again")
	default:
		fmt.Fprintln(app.ErrWriter, "tillsyn:", rest)
	}
	return exitCode(err)
}

// told is err without what only says that ctx has ended: for commands that run until they are told to stop.
func told(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			rest = append(rest, told(ctx, e))
		}
		return errors.Join(rest...)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func main() {
	// A core file would hold the statistics key and whatever a log line says.
	if err := errors.Join(undumpable(), unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})); err != nil {
		fmt.Fprintln(os.Stderr, "tillsyn: keep core files from being written:", err)
		os.Exit(exitFault)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := newApp()
	app.Writer, app.ErrWriter = os.Stdout, os.Stderr
	code := run(ctx, app, os.Args)
	stop()
	os.Exit(code)
}
