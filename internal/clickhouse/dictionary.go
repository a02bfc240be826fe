package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Dictionary writes the data dictionary of the database as Markdown, from what the database says about itself: each table
// and view with its comment, engine, partition, order and parameters, and each column with its type and comment. A table, view or
// column of a table without a comment is an error; a column of a view means what it means in the table.
func (db *DB) Dictionary(ctx context.Context) ([]byte, error) {
	var tables []dictionaryTable
	var columns []dictionaryColumn
	database := Params{"database": db.cfg.Database}
	if err := db.Select(ctx, &tables, `SELECT name, engine, comment, partition_key, sorting_key,
			parameterized_view_parameters.name AS parameters, parameterized_view_parameters.type AS parameter_types
		FROM system.tables WHERE database = {database:String} ORDER BY endsWith(engine, 'View'), name`, database); err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	if err := db.Select(ctx, &columns, `SELECT table, name, type, default_kind, comment
		FROM system.columns WHERE database = {database:String} ORDER BY table, position`, database); err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	of := map[string][]dictionaryColumn{}
	meaning := map[string]string{}
	for _, c := range columns {
		of[c.Table] = append(of[c.Table], c)
		if meaning[c.Name] == "" {
			meaning[c.Name] = c.Comment
		}
	}
	var silent []string
	b := bytes.NewBufferString(dictionaryHead)
	for _, t := range tables {
		if t.Comment == "" {
			silent = append(silent, t.Name)
		}
		fmt.Fprintf(b, "\n## %s\n%s.\n\n", t.Name, strings.TrimSuffix(t.Comment, "."))
		if t.Engine != "View" {
			partition := ""
			if t.Partition != "" {
				partition = ", partition `" + t.Partition + "`"
			}
			fmt.Fprintf(b, "%s%s, order `%s`.\n\n", t.Engine, partition, t.Sorting)
		}
		list := of[t.Name]
		if len(t.Parameters) > 0 {
			var err error
			if list, err = db.viewColumns(ctx, t); err != nil {
				return nil, err
			}
			parameters := make([]string, len(t.Parameters))
			for i, name := range t.Parameters {
				parameters[i] = "`" + name + " " + t.ParameterTypes[i] + "`"
			}
			slices.Sort(parameters) // the database names them in no order
			fmt.Fprintf(b, "Parameters: %s.\n\n", strings.Join(parameters, ", "))
		}
		b.WriteString("| column | type | meaning |\n|---|---|---|\n")
		for _, c := range list {
			if c.Comment == "" && t.Engine == "View" {
				c.Comment = meaning[c.Name]
			}
			if c.Comment == "" && t.Engine != "View" {
				silent = append(silent, t.Name+"."+c.Name)
			}
			if c.Kind == "EPHEMERAL" {
				c.Type += " EPHEMERAL"
			}
			fmt.Fprintf(b, "| %s | `%s` | %s |\n", c.Name, c.Type, strings.ReplaceAll(c.Comment, "|", "\\|"))
		}
	}
	if len(silent) > 0 {
		return nil, fmt.Errorf("no COMMENT on %s: say in its migration what it means", strings.Join(silent, ", "))
	}
	return b.Bytes(), nil
}

type dictionaryTable struct {
	Name      string `ch:"name"`
	Engine    string `ch:"engine"`
	Comment   string `ch:"comment"`
	Partition string `ch:"partition_key"`
	Sorting   string `ch:"sorting_key"`

	Parameters     []string `ch:"parameters"`
	ParameterTypes []string `ch:"parameter_types"`
}

type dictionaryColumn struct {
	Table   string `ch:"table"`
	Name    string `ch:"name"`
	Type    string `ch:"type"`
	Kind    string `ch:"default_kind"`
	Comment string `ch:"comment"`
}

// viewColumns asks a view with parameters what it answers: the database does not list its columns.
func (db *DB) viewColumns(ctx context.Context, t dictionaryTable) ([]dictionaryColumn, error) {
	values := make([]string, len(t.Parameters))
	for i, name := range t.Parameters {
		var value string
		switch kind := t.ParameterTypes[i]; {
		case kind == "String":
			value = "''"
		case kind == "Date":
			value = "'2000-01-01'"
		case strings.HasPrefix(kind, "DateTime"):
			value = "'2000-01-01 00:00:00'"
		case strings.HasPrefix(kind, "UInt"), strings.HasPrefix(kind, "Int"), kind == "Bool":
			value = "1"
		case strings.HasPrefix(kind, "Array("):
			value = "[]"
		default:
			return nil, fmt.Errorf("view %s: no value to try for parameter %s %s", t.Name, name, kind)
		}
		values[i] = name + " = " + value
	}
	rows, err := db.packed.Query(ctx, "SELECT * FROM "+t.Name+"("+strings.Join(values, ", ")+") LIMIT 0")
	if err != nil {
		return nil, fmt.Errorf("columns of view %s: %w", t.Name, explain(err, false))
	}
	var list []dictionaryColumn
	for _, c := range rows.ColumnTypes() {
		list = append(list, dictionaryColumn{Table: t.Name, Name: c.Name(), Type: c.DatabaseTypeName()})
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("columns of view %s: %w", t.Name, explain(err, false))
	}
	return list, nil
}

const dictionaryHead = `# Data dictionary

What the database of tillsyn holds, as the database itself says it. Do not edit: ` + "`go test ./schemas -update`" + ` writes this page from the
comments in ` + "`migrations/`" + `, and a test fails when the two differ.

Reports and dashboards read views, never tables. No column holds a name, an address, a user or a URL; tokens are pseudonyms that
differ by cell and month.
`
