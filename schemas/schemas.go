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
	role    = regexp.MustCompile(`(?s)^\s*CREATE ROLE IF NOT EXISTS (\w+)(?: SETTINGS ([^;]+))?;`)
	grant   = regexp.MustCompile(`(?m)^GRANT [^;]+;`)
	comment = regexp.MustCompile(`(?m)--.*$`)
	spaces  = regexp.MustCompile(`\s+`)
)

// Grants answers what the named role may do in the given database, as "GRANT ... ON ..." without TO: the form of a ClickHouse users
// file.
func Grants(name, database string) ([]string, error) {
	text, err := grantsFile(name)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, g := range grant.FindAllString(text, -1) {
		g = spaces.ReplaceAllString(strings.TrimSuffix(g, ";"), " ")
		g, found := strings.CutSuffix(g, " TO tillsyn_"+name)
		if !found {
			return nil, fmt.Errorf("grants/%s.sql: %q does not end in TO tillsyn_%s", name, g, name)
		}
		list = append(list, strings.ReplaceAll(g, " ON tillsyn.", " ON "+database+"."))
	}
	return list, nil
}

// Profile answers the settings of the named role by name, and the constraints of settings by name: readonly, or
// changeable_in_readonly, which ClickHouse knows only where settings_constraints_replace_previous is on
// (clickhouse.com/docs/operations/settings/constraints-on-settings).
func Profile(name string) (settings, constraints map[string]string, err error) {
	text, err := grantsFile(name)
	if err != nil {
		return nil, nil, err
	}
	m := role.FindStringSubmatch(text)
	if m == nil || m[1] != "tillsyn_"+name {
		return nil, nil, fmt.Errorf("grants/%s.sql does not begin with CREATE ROLE IF NOT EXISTS tillsyn_%s", name, name)
	}
	settings, constraints = map[string]string{}, map[string]string{}
	if m[2] == "" {
		return settings, constraints, nil
	}
	for part := range strings.SplitSeq(m[2], ",") {
		words := strings.Fields(part)
		switch {
		case len(words) == 3 && words[1] == "=":
			settings[words[0]] = words[2]
		case len(words) == 2 && (words[1] == "READONLY" || words[1] == "CHANGEABLE_IN_READONLY"):
			constraints[words[0]] = strings.ToLower(words[1])
		default:
			return nil, nil, fmt.Errorf("grants/%s.sql: setting %q is neither NAME = VALUE nor NAME READONLY nor NAME CHANGEABLE_IN_READONLY", name, strings.TrimSpace(part))
		}
	}
	return settings, constraints, nil
}

// grantsFile is the text of a role's file without its comments.
func grantsFile(name string) (string, error) {
	if !slices.Contains(Roles(), name) {
		return "", fmt.Errorf("no role is called %q: it is one of %s", name, strings.Join(Roles(), ", "))
	}
	text, err := files.ReadFile("grants/" + name + ".sql")
	if err != nil {
		return "", fmt.Errorf("read grants: %w", err)
	}
	return comment.ReplaceAllString(string(text), ""), nil
}
