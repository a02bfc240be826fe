package main

import "github.com/urfave/cli/v2"

// commands is the tree that the user sees, in the order of its help.
func commands() []*cli.Command {
	return []*cli.Command{
		demoCommand(),
		serveCommand(),
		ingestCommand(),
		importCommand(),
		reportCommand(),
		gapsCommand(),
		checkCommand(),
		auditCommand(),
		keysCommand(),
		decisionCommand(),
		lookupCommand(),
		permissionCommand(),
		exportCommand(),
		subjectAccessCommand(),
		recordsCommand(),
		configCommand(),
		parseCommand(),
		listsCommand(),
		migrateCommand(),
		clickhouseCommand(),
		generateCommand(),
		holdCommand(),
		purgeCommand(),
		engineChildCommand(),
	}
}
