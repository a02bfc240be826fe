package schemas

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

//go:embed */*.sql
var files embed.FS

// Migrations is the folder of numbered migration files.
func Migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // fs.Sub fails only on a malformed constant
	}
	return sub
}

// Query is the text of one query file, named by folder and file without .sql: "ingest/insert_ledger".
func Query(name string) (string, error) {
	text, err := files.ReadFile(name + ".sql")
	if err != nil {
		return "", fmt.Errorf("read query: %w", err)
	}
	return string(text), nil
}

// Queries are the names of all query files, sorted, as Query takes them.
func Queries() []string {
	all, err := fs.Glob(files, "*/*.sql")
	if err != nil {
		panic(err) // fs.Glob fails only on a malformed constant
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasPrefix(name, "migrations/") || strings.HasPrefix(name, "grants/")
	})
	for i, name := range all {
		all[i] = strings.TrimSuffix(name, ".sql")
	}
	return all
}

// The roles that a user of the database can have; one file of grants each.
const (
	RoleOwner      = "owner"      // migrates, and defines the views
	RoleIngest     = "ingest"     // writes statistics, reads only how far it came
	RoleQuery      = "query"      // reads the disclosure-safe views and the state of ingest
	RoleDashboards = "dashboards" // reads the disclosure-safe views
	RolePurge      = "purge"      // drops partitions
)

// Roles are all roles.
func Roles() []string { return []string{RoleOwner, RoleIngest, RoleQuery, RoleDashboards, RolePurge} }

var (
	grant   = regexp.MustCompile(`(?m)^GRANT [^;]+;`)
	comment = regexp.MustCompile(`(?m)--.*$`)
	spaces  = regexp.MustCompile(`\s+`)
)

// Grants answers what a role may do in the given database, as "GRANT ... ON ..." without TO: the form of a ClickHouse users
// file.
func Grants(role, database string) ([]string, error) {
	if !slices.Contains(Roles(), role) {
		return nil, fmt.Errorf("no role is called %q: it is one of %s", role, strings.Join(Roles(), ", "))
	}
	text, err := files.ReadFile("grants/" + role + ".sql")
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	var list []string
	for _, g := range grant.FindAllString(comment.ReplaceAllString(string(text), ""), -1) {
		g = spaces.ReplaceAllString(strings.TrimSuffix(g, ";"), " ")
		g, found := strings.CutSuffix(g, " TO tillsyn_"+role)
		if !found {
			return nil, fmt.Errorf("grants/%s.sql: %q does not end in TO tillsyn_%s", role, g, role)
		}
		list = append(list, strings.ReplaceAll(g, " ON tillsyn.", " ON "+database+"."))
	}
	return list, nil
}
