package main

import (
	"github.com/urfave/cli/v2"

	"tillsyn/internal/engine"
)

// engineChildCommand is the process of the embedded ClickHouse; engine.Start runs it, nobody else.
func engineChildCommand() *cli.Command {
	return &cli.Command{
		Name:   engine.ChildCommand,
		Usage:  "run the embedded ClickHouse (started by tillsyn itself)",
		Hidden: true,
		Action: func(*cli.Context) error { return engine.RunChild() },
	}
}
