package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

// Config says how ClickHouse is reached. Validate names every fault at once.
type Config struct {
	Addresses      []string      `yaml:"addresses"`       // host:port of the native protocol; the first that answers is used
	Database       string        `yaml:"database"`        // letters, digits and _
	Username       string        `yaml:"username"`        // a user with one of the grants in schemas/grants
	Password       Password      `yaml:"-"`               // set in code (embedded engine), otherwise read from PasswordFile
	PasswordFile   string        `yaml:"password_file"`   // one line; empty: Password is used as it is
	TLS            TLS           `yaml:"tls"`             // off by default: loopback
	DialTimeout    time.Duration `yaml:"dial_timeout"`    // to connect, and to wait for a free connection
	InsertTimeout  time.Duration `yaml:"insert_timeout"`  // whole insert; must stay below the Kafka session timeout
	QueryTimeout   time.Duration `yaml:"query_timeout"`   // whole query, on both sides
	QueryMemory    int64         `yaml:"query_memory"`    // bytes the server may use for one query
	MaxConnections int           `yaml:"max_connections"` // open at once, for each of the two pools (compressed and plain)
}

// TLS says how the connection is protected. Files are PEM.
type TLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // empty: the system's authorities
	CertFile   string `yaml:"cert_file"`   // client certificate; with KeyFile
	KeyFile    string `yaml:"key_file"`    // key of the client certificate
	ServerName string `yaml:"server_name"` // name in the server's certificate; empty: the host of the address
}

// DefaultConfig is a server on this machine, reached as user tillsyn.
func DefaultConfig() Config {
	return Config{
		Addresses:      []string{"127.0.0.1:9000"},
		Database:       "tillsyn",
		Username:       "tillsyn",
		DialTimeout:    5 * time.Second,
		InsertTimeout:  20 * time.Second,
		QueryTimeout:   30 * time.Second,
		QueryMemory:    1 << 30,
		MaxConnections: 8,
	}
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

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
	if c.Username == "" {
		fault("username: is empty")
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

// password reads the password that the configuration means.
func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return string(c.Password), nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password_file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
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
