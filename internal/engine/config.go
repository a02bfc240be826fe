package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/durable"
)

// Owner is the user that owns the schema: it makes and alters tables, and is in every engine.
const Owner = "tillsyn"

// MinMemoryLimit is the least Config.MemoryLimit, in bytes: the engine at rest takes about half of it.
const MinMemoryLimit = 512 << 20

const (
	loopback      = "127.0.0.1"
	configDir     = "config"
	storeDir      = "clickhouse"
	passwordsFile = "passwords.json"
	holdingQuery  = "SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size=1 FORMAT Null" // the server lives as long as it runs
)

// A Config says where the embedded engine keeps its data and what it may take.
type Config struct {
	DataDir      string          `yaml:"data_dir"`      // everything the engine keeps; made with mode 0700
	Library      string          `yaml:"library"`       // path of libchdb.so; empty: TILLSYN_CHDB_LIBRARY, then node_modules above the program
	MemoryLimit  int64           `yaml:"memory_limit"`  // bytes, for the whole server; a query beyond it fails, the server stays
	TCPPort      int             `yaml:"tcp_port"`      // native protocol, on loopback; 0: any free one
	HTTPPort     int             `yaml:"http_port"`     // HTTP interface, on loopback; 0: any free one
	StartTimeout time.Duration   `yaml:"start_timeout"` // until the first answer
	BusyWait     time.Duration   `yaml:"busy_wait"`     // how long to wait for a dying engine to let go of DataDir
	Users        map[string]User `yaml:"-"`             // beside Owner, by name
	Env          []string        `yaml:"-"`             // NAME=VALUE, added to the child's environment
	Executable   string          `yaml:"-"`             // the program that runs ChildCommand; empty: this one
}

// A User is what a ClickHouse user may do.
type User struct {
	Grants      []string          // "GRANT SELECT ON tillsyn.*", without TO; never a source such as file() or url()
	Settings    map[string]string // of the user's profile: "readonly": "1"
	Constraints map[string]string // by setting: Readonly or ChangeableInReadonly
}

// The constraints that a setting of a user can have, in ClickHouse's own words.
const (
	Readonly             = "readonly"               // nobody may change it
	ChangeableInReadonly = "changeable_in_readonly" // the one thing that may be changed while readonly is 1
)

// DefaultConfig answers a Config that keeps its data in var/engine and takes at most 2 GiB.
func DefaultConfig() Config {
	return Config{
		DataDir:      filepath.Join("var", "engine"),
		MemoryLimit:  2 << 30,
		StartTimeout: time.Minute,
		BusyWait:     3 * time.Second,
	}
}

// Validate reports every fault of the Config at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		fault("data_dir is empty: name the directory that the engine keeps its tables in")
	}
	if c.MemoryLimit < MinMemoryLimit {
		fault("memory_limit is %d bytes: at least %d are needed", c.MemoryLimit, MinMemoryLimit)
	}
	for name, port := range map[string]int{"tcp_port": c.TCPPort, "http_port": c.HTTPPort} {
		if port < 0 || port > 65535 {
			fault("%s is %d: name a port from 1 to 65535, or 0 for any free one", name, port)
		}
	}
	if c.TCPPort != 0 && c.TCPPort == c.HTTPPort {
		fault("tcp_port and http_port are both %d: they must differ", c.TCPPort)
	}
	if c.StartTimeout <= 0 {
		fault("start_timeout is %s: it must be longer than nothing", c.StartTimeout)
	}
	if c.BusyWait < 0 {
		fault("busy_wait is %s: it can't be negative", c.BusyWait)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		if !nameForm.MatchString(name) {
			fault("user %q: a name is a lower-case letter, then letters, digits or _, 64 at most", name)
		}
		if name == Owner || name == "default" {
			fault("user %q: the engine has this user itself", name)
		}
		for _, grant := range c.Users[name].Grants {
			if err := checkGrant(grant); err != nil {
				fault("user %q: %w", name, err)
			}
		}
		for setting := range c.Users[name].Settings {
			if !nameForm.MatchString(setting) {
				fault("user %q: setting %q is not a name", name, setting)
			}
		}
		for setting, constraint := range c.Users[name].Constraints {
			if !nameForm.MatchString(setting) {
				fault("user %q: constrained setting %q is not a name", name, setting)
			}
			if constraint != Readonly && constraint != ChangeableInReadonly {
				fault("user %q: constraint %q of setting %q is neither %s nor %s", name, constraint, setting, Readonly, ChangeableInReadonly)
			}
		}
	}
	return errors.Join(faults...)
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	grantForm = regexp.MustCompile(`(?is)^\s*GRANT\s+(.+?)\s+ON\s+([^;]+)$`)
	columns   = regexp.MustCompile(`\([^)]*\)`)
)

// sources lists the privileges that let a query leave the database, or that contain one which does.
func sources() []string {
	return []string{"ALL", "ALL PRIVILEGES", "CREATE", "SOURCES", "READ", "WRITE", "FILE", "URL", "S3", "AZURE", "HDFS", "HIVE", "MYSQL", "POSTGRES", "MONGO", "REDIS",
		"SQLITE", "ODBC", "JDBC", "ARROW", "CREATE FUNCTION", "CREATE DICTIONARY", "CREATE ARBITRARY TEMPORARY TABLE"}
}

func checkGrant(grant string) error {
	m := grantForm.FindStringSubmatch(grant)
	if m == nil {
		return fmt.Errorf("%q is not of the form GRANT privileges ON object", grant)
	}
	for _, privilege := range strings.Split(columns.ReplaceAllString(m[1], ""), ",") {
		words := strings.Join(strings.Fields(strings.ToUpper(privilege)), " ")
		for _, s := range sources() {
			if words == s {
				return fmt.Errorf("%q would let queries reach files or the network", grant)
			}
		}
	}
	return nil
}

// ownerGrants are everything that the schema's owner needs, and no source: file(), url() and their kin stay closed.
// This engine knows no GRANT statement (its users come from a file), so "WITH GRANT OPTION" would be an empty promise.
func ownerGrants() []string {
	grants := []string{
		"GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, DROP, TRUNCATE, " +
			"OPTIMIZE, KILL QUERY, SYSTEM ON *.*",
	}
	for _, engine := range []string{"MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CollapsingMergeTree",
		"VersionedCollapsingMergeTree", "CoalescingMergeTree", "View", "MaterializedView", "Distributed", "Merge", "Memory", "Null", "Join", "Set"} {
		grants = append(grants, "GRANT TABLE ENGINE ON "+engine)
	}
	return grants
}

type xmlElement struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []xmlElement
}

func leaf(name string, value any) xmlElement {
	return xmlElement{XMLName: xml.Name{Local: name}, Text: fmt.Sprint(value)}
}

func node(name string, children ...xmlElement) xmlElement {
	return xmlElement{XMLName: xml.Name{Local: name}, Children: children}
}

// writeConfig writes config.xml and users.xml anew: what an operator or a crash left there does not count.
func writeConfig(dir string, cfg Config, passwords map[string]string) error {
	folder := filepath.Join(dir, configDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the configuration directory: %w", err)
	}
	users := filepath.Join(folder, "users.xml")
	for path, doc := range map[string]xmlElement{
		users:                               usersXML(cfg, passwords),
		filepath.Join(folder, "config.xml"): serverXML(cfg, dir, users),
	} {
		text, err := xml.MarshalIndent(doc, "", "  ")
		if err != nil {
			return fmt.Errorf("write the engine's configuration: %w", err)
		}
		if err := durable.Replace(path, append(text, '\n'), 0o600); err != nil {
			return fmt.Errorf("write the engine's configuration: %w", err)
		}
	}
	return nil
}

func serverXML(cfg Config, dir, users string) xmlElement {
	return node("clickhouse",
		leaf("timezone", "UTC"),
		leaf("users_config", users),
		node("user_directories", node("users_xml", leaf("path", users))),
		leaf("default_profile", "default"),
		// No statement may be kept: its literals can be personal.
		node("logger", leaf("level", "none")),
		node("send_crash_reports", leaf("enabled", "false")),
		leaf("display_secrets_in_show_and_select", 0),
		// Without it ClickHouse knows no changeable_in_readonly.
		node("access_control_improvements", leaf("settings_constraints_replace_previous", true)),
		leaf("tmp_path", filepath.Join(dir, storeDir, "tmp")+"/"),
		leaf("max_server_memory_usage", cfg.MemoryLimit),
		leaf("mark_cache_size", 64<<20),
		leaf("index_mark_cache_size", 16<<20),
		leaf("uncompressed_cache_size", 0),
		leaf("index_uncompressed_cache_size", 0),
		leaf("mmap_cache_size", 0),
		leaf("query_cache_max_size_in_bytes", 0),
		leaf("background_pool_size", 4),
		leaf("background_merges_mutations_concurrency_ratio", 2),
		leaf("background_schedule_pool_size", 8),
		leaf("background_common_pool_size", 4),
		leaf("background_move_pool_size", 1),
		leaf("background_fetches_pool_size", 1),
		leaf("background_buffer_flush_schedule_pool_size", 1),
		leaf("background_distributed_schedule_pool_size", 2),
		leaf("background_message_broker_schedule_pool_size", 1),
		leaf("max_connections", 256),
		leaf("asynchronous_metrics_update_period_s", 30),
		node("merge_tree",
			leaf("fsync_after_insert", 1),
			leaf("fsync_part_directory", 1),
			// Both must fit into the small pool above (4 x 2), or no MergeTree table can be made.
			leaf("number_of_free_entries_in_pool_to_execute_mutation", 4),
			leaf("number_of_free_entries_in_pool_to_lower_max_size_of_merge", 4),
			leaf("number_of_free_entries_in_pool_to_execute_optimize_entire_partition", 4),
		),
	)
}

func usersXML(cfg Config, passwords map[string]string) xmlElement {
	profiles := []xmlElement{node("default", leaf("async_insert", 0), leaf("log_queries", 0))}
	user := func(name, profile, quota string, sign xmlElement, grants []string) xmlElement {
		queries := make([]xmlElement, len(grants))
		for i, g := range grants {
			queries[i] = leaf("query", g)
		}
		return node(name, sign, node("networks", leaf("ip", loopback)), leaf("profile", profile), leaf("quota", quota), node("grants", queries...))
	}
	password := func(name string) xmlElement {
		sum := sha256.Sum256([]byte(passwords[name]))
		return leaf("password_sha256_hex", hex.EncodeToString(sum[:]))
	}
	users := []xmlElement{
		// The local session that holds the server open signs in as this one, without a password.
		user("default", "default", "holder", leaf("no_password", ""), []string{"GRANT SYSTEM LISTEN ON *.*", "GRANT SELECT ON system.numbers"}),
		user(Owner, "default", "default", password(Owner), ownerGrants()),
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Users)) {
		settings := []xmlElement{leaf("profile", "default")}
		for _, s := range slices.Sorted(maps.Keys(cfg.Users[name].Settings)) {
			settings = append(settings, leaf(s, cfg.Users[name].Settings[s]))
		}
		var constraints []xmlElement
		for _, s := range slices.Sorted(maps.Keys(cfg.Users[name].Constraints)) {
			constraints = append(constraints, node(s, leaf(cfg.Users[name].Constraints[s], "")))
		}
		profiles = append(profiles, node("profile_"+name, append(settings, node("constraints", constraints...))...))
		users = append(users, user(name, "profile_"+name, "default", password(name), cfg.Users[name].Grants))
	}
	quotas := []xmlElement{
		node("default"),
		// The local session's three statements use this up, so that nobody else on the machine can run one without a
		// password. A limit of sessions would say it better, but one client too many then aborts the engine (26.7.3).
		node("holder", node("interval", leaf("duration", 1<<31-1), leaf("queries", 3))),
	}
	return node("clickhouse", node("profiles", profiles...), node("quotas", quotas...), node("users", users...))
}
