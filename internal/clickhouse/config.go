package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"tillsyn/schemas"
)

// Config says how ClickHouse is reached. Validate names every fault at once.
type Config struct {
	Addresses      []string      `yaml:"addresses"`       // host:port of the native protocol; the first that answers is used
	Database       string        `yaml:"database"`        // letters, digits and _
	Username       string        `yaml:"username"`        // of a process that needs one role only: a user with its grants (schemas/grants)
	Password       Password      `yaml:"-"`               // set in code (embedded engine, As), otherwise read from PasswordFile
	PasswordFile   string        `yaml:"password_file"`   // one line; empty: Password is used as it is
	Users          Users         `yaml:"users"`           // instead of Username: a user for each role; see As
	TLS            TLS           `yaml:"tls"`             // off by default: loopback
	DialTimeout    time.Duration `yaml:"dial_timeout"`    // to connect, and to wait for a free connection
	InsertTimeout  time.Duration `yaml:"insert_timeout"`  // whole insert; must stay below the Kafka session timeout
	QueryTimeout   time.Duration `yaml:"query_timeout"`   // whole query, on both sides
	QueryMemory    int64         `yaml:"query_memory"`    // bytes the server may use for one query
	MaxConnections int           `yaml:"max_connections"` // open at once, for each of the two pools (compressed and plain)
}

// Users are who a process signs in as on a server, by role (schemas.Roles). A role that it does not need may be left out.
type Users struct {
	Owner  User `yaml:"owner"`
	Ingest User `yaml:"ingest"`
	Query  User `yaml:"query"`
	Purge  User `yaml:"purge"`
}

// A User is a user of the server and where its password is.
type User struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // one line, readable by its owner only; empty: no password
}

// Of answers the user of a role; nobody for a role that no process signs in as.
func (u Users) Of(role string) User {
	switch role {
	case schemas.RoleOwner:
		return u.Owner
	case schemas.RoleIngest:
		return u.Ingest
	case schemas.RoleQuery:
		return u.Query
	case schemas.RolePurge:
		return u.Purge
	}
	return User{}
}

// TLS says how the connection is protected. Files are PEM.
type TLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // empty: the system's authorities
	CertFile   string `yaml:"cert_file"`   // client certificate; with KeyFile
	KeyFile    string `yaml:"key_file"`    // key of the client certificate
	ServerName string `yaml:"server_name"` // name in the server's certificate; empty: the host of the address
}

// DefaultConfig is a server on this machine. It names nobody to sign in as.
func DefaultConfig() Config {
	return Config{
		Addresses:      []string{"127.0.0.1:9000"},
		Database:       "tillsyn",
		DialTimeout:    5 * time.Second,
		InsertTimeout:  20 * time.Second,
		QueryTimeout:   30 * time.Second,
		QueryMemory:    1 << 30,
		MaxConnections: 8,
	}
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// loopback says whether every address is on this machine: to compress there costs more than it saves.
func (c Config) loopback() bool {
	return !slices.ContainsFunc(c.Addresses, func(a string) bool {
		host, _, _ := net.SplitHostPort(a)
		ip, err := netip.ParseAddr(host)
		return err != nil || !ip.IsLoopback()
	})
}

// Validate names every fault of the configuration at once. It opens no file and no connection.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Addresses) == 0 {
		fault("addresses: give at least one host:port")
	}
	for _, a := range c.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			fault("addresses: %q is not host:port", a)
		}
	}
	if !databaseName.MatchString(c.Database) {
		fault("database: %q is not a name of letters, digits and _", c.Database)
	}
	switch {
	case c.Users == Users{} && c.Username == "":
		fault("username: is empty: name the user to sign in as, or one for each role in users")
	case c.Users != Users{} && (c.Username != "" || c.PasswordFile != ""):
		fault("users: contradicts username and password_file, which are for a process that needs one role only")
	}
	roles := map[string]string{}
	for _, role := range schemas.Roles() {
		u := c.Users.Of(role)
		switch first, twice := roles[u.Username]; {
		case u.Username == "" && u.PasswordFile != "":
			fault("users.%s.username: is missing", role)
		case u.Username != "" && twice:
			fault("users.%s.username: is that of users.%s: each role has a user of its own", role, first)
		}
		roles[u.Username] = role
	}
	if c.Password != "" && c.PasswordFile != "" {
		fault("password_file: a password is already given by the embedded engine")
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		fault("tls: has settings but enabled is false")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls: cert_file and key_file belong together")
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"dial_timeout", c.DialTimeout}, {"insert_timeout", c.InsertTimeout}, {"query_timeout", c.QueryTimeout}} {
		if d.value < 100*time.Millisecond || d.value > time.Hour {
			fault("%s: %s is not between 100ms and 1h", d.key, d.value)
		}
	}
	if c.QueryMemory < 16<<20 {
		fault("query_memory: %d bytes is less than 16 MiB", c.QueryMemory)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		fault("max_connections: %d is not between 1 and 1000", c.MaxConnections)
	}
	return errors.Join(faults...)
}

// As answers c for the user of a role (schemas.Roles) with its password read, and no other user in it. Without Users that is Username,
// whatever the role. The error begins with the key that is wrong, below the section: the role has no user, or its password
// file is missing, empty, or open to other users of the machine.
func (c Config) As(role string) (Config, error) {
	key := "password_file"
	if c.Users != (Users{}) {
		u := c.Users.Of(role)
		key = "users." + role + ".password_file"
		if u.Username == "" {
			return Config{}, fmt.Errorf("users.%s.username: is missing: this signs in to ClickHouse as the role %s", role, role)
		}
		c.Username, c.PasswordFile, c.Users = u.Username, u.PasswordFile, Users{}
	}
	password, err := c.password()
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", key, err)
	}
	c.Password, c.PasswordFile = Password(password), ""
	return c, nil
}

// password reads the password that the configuration means.
func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return string(c.Password), nil
	}
	info, err := os.Stat(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	// What a container is given as a secret is a read-only mount, often of mode 0444, and in no other user's sight.
	if mode := info.Mode().Perm(); !info.Mode().IsRegular() || mode&0o022 != 0 || mode&0o004 != 0 && !readOnlyMount(c.PasswordFile) {
		return "", fmt.Errorf("other users of this machine can read or change %s: make it a file of mode 0600", c.PasswordFile)
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty", c.PasswordFile)
	}
	return password, nil
}

// config builds the driver's TLS settings; nil means none.
func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read tls ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls ca_file %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load tls cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// A Password prints as [redacted] however it is printed, encoded or logged.
type Password string

const redacted = "[redacted]"

// String answers [redacted].
func (Password) String() string { return redacted }

// GoString answers [redacted].
func (Password) GoString() string { return redacted }

// Format writes [redacted] for every verb, %x and %d too.
func (Password) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText answers [redacted]; it serves encoding/json and YAML.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue answers [redacted] to log/slog.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }
