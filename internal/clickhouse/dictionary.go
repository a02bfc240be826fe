package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Dictionary writes the data dictionary of the database as Markdown, from what the database says about itself: each table
// and view with its comment, engine, partition and order, and each column with its type and comment. A table or column without
// a comment is an error.
func (db *DB) Dictionary(ctx context.Context) ([]byte, error) {
	type table struct {
		Name      string `ch:"name"`
		Engine    string `ch:"engine"`
		Comment   string `ch:"comment"`
		Partition string `ch:"partition_key"`
		Sorting   string `ch:"sorting_key"`
	}
	type column struct {
		Table   string `ch:"table"`
		Name    string `ch:"name"`
		Type    string `ch:"type"`
		Kind    string `ch:"default_kind"`
		Comment string `ch:"comment"`
	}
	database := Params{"database": db.cfg.Database}
	var tables []table
	if err := db.Select(ctx, &tables, `SELECT name, engine, comment, partition_key, sorting_key
		FROM system.tables WHERE database = {database:String} ORDER BY endsWith(engine, 'View'), name`, database); err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	var columns []column
	if err := db.Select(ctx, &columns, `SELECT table, name, type, default_kind, comment
		FROM system.columns WHERE database = {database:String} ORDER BY table, position`, database); err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	of := map[string][]column{}
	for _, c := range columns {
		of[c.Table] = append(of[c.Table], c)
	}
	var b bytes.Buffer
	var silent []string
	b.WriteString(dictionaryHead)
	for _, t := range tables {
		if t.Comment == "" {
			silent = append(silent, t.Name)
		}
		fmt.Fprintf(&b, "\n## %s\n%s.\n\n", t.Name, strings.TrimSuffix(t.Comment, "."))
		if t.Sorting != "" {
			partition := "none"
			if t.Partition != "" {
				partition = "`" + t.Partition + "`"
			}
			fmt.Fprintf(&b, "%s, partition %s, order `%s`.\n\n", t.Engine, partition, t.Sorting)
		}
		b.WriteString("| column | type | meaning |\n|---|---|---|\n")
		for _, c := range of[t.Name] {
			if c.Comment == "" && t.Engine != "View" {
				silent = append(silent, t.Name+"."+c.Name)
			}
			kind := c.Type
			if c.Kind == "EPHEMERAL" {
				kind += " EPHEMERAL"
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", c.Name, kind, strings.ReplaceAll(c.Comment, "|", "\\|"))
		}
	}
	if len(silent) > 0 {
		return nil, fmt.Errorf("no COMMENT on %s: say what it means in its migration", strings.Join(silent, ", "))
	}
	return b.Bytes(), nil
}

const dictionaryHead = `# Data dictionary

What the database of tillsyn holds, as the database itself says it. Do not edit: this page is written from the comments in
` + "`migrations/`" + ` by ` + "`go test ./schemas -update`" + `, and a test fails when the two differ.

Nobody but the purge reads tables directly: reports and dashboards have the views. No column holds a name, an address, a user
or a URL; tokens are pseudonyms that differ by cell and month.
`
