package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

// Config says which topics are read, from which brokers, as which group. Durations are written as in Go ("3s").
type Config struct {
	// Brokers are host:port of some brokers of the cluster; the others are found through them.
	Brokers []string `yaml:"brokers"`
	// Cluster is the operator's own name for the cluster. It is part of every partition's identity: never change it.
	Cluster string `yaml:"cluster"`
	// Group is the consumer group that all ingesters of one installation share.
	Group string `yaml:"group"`
	// ClientID is what brokers show in their logs and quotas.
	ClientID string `yaml:"client_id"`

	SASL   SASL    `yaml:"sasl"`
	TLS    TLS     `yaml:"tls"`
	Topics []Topic `yaml:"topics"`
	Fetch  Fetch   `yaml:"fetch"`

	// SessionTimeout is how long the group waits for a member's heartbeat before it gives its partitions away.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// HeartbeatInterval is the time between heartbeats, at most a third of SessionTimeout.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
	// RebalanceTimeout is how long the group waits for a member to finish its work when partitions move.
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout"`
	// MaxInFlightBytes bounds the bytes of fetched records held at one time, compressed and decompressed, over all
	// partitions of this process. It also bounds the largest single record batch that can be read.
	MaxInFlightBytes int64 `yaml:"max_in_flight_bytes"`
}

// SASL is the sign-in at the brokers. An empty Mechanism means none.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string `yaml:"mechanism"`
	Username  string `yaml:"username"`
	// PasswordFile holds the password; a line end after it is ignored. It is read at each connection, so it can be changed
	// while running.
	PasswordFile string `yaml:"password_file"`
}

// TLS is the encryption of the connections to the brokers.
type TLS struct {
	Enabled bool `yaml:"enabled"`
	// CAFile holds the PEM certificates that brokers must descend from; empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are this client's own PEM certificate and key, both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name that broker certificates must carry; empty means the host that is connected to.
	ServerName string `yaml:"server_name"`
}

// Topic is one topic to read.
type Topic struct {
	Name string `yaml:"name"`
	// Epoch tells one life of a topic name from the next. Empty means Kafka's topic id, where brokers give one (2.8 and
	// later), else "0". An operator who deletes and makes a topic again on older brokers sets another one here, and one
	// who upgrades such brokers sets "0" before.
	Epoch string `yaml:"epoch"`
}

// Fetch bounds one fetch of one partition.
type Fetch struct {
	// MaxBytes is how many bytes a broker should send at most. A single larger batch is still sent whole.
	MaxBytes int32 `yaml:"max_bytes"`
	// MaxWait is how long a broker holds a fetch while there is nothing to send.
	MaxWait time.Duration `yaml:"max_wait"`
}

// DefaultConfig returns a configuration that lacks only brokers, a cluster name and topics.
func DefaultConfig() Config {
	return Config{
		Group:             "tillsyn",
		ClientID:          "tillsyn",
		Fetch:             Fetch{MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond},
		SessionTimeout:    30 * time.Second,
		HeartbeatInterval: 3 * time.Second,
		RebalanceTimeout:  60 * time.Second,
		MaxInFlightBytes:  128 << 20,
	}
}

// legalName is what Kafka accepts as the name of a topic.
const legalName = `^[a-zA-Z0-9._-]{1,249}$`

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if len(c.Brokers) == 0 {
		fault("brokers: name at least one host:port")
	}
	for i, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			fault("brokers[%d]: not host:port", i)
		}
	}
	if strings.TrimSpace(c.Cluster) == "" {
		fault("cluster: give the cluster a name; it becomes part of every partition's identity")
	}
	if c.Group == "" {
		fault("group: must not be empty")
	}
	switch c.SASL.Mechanism {
	case "":
		if c.SASL.Username != "" || c.SASL.PasswordFile != "" {
			fault("sasl.mechanism: must be plain, scram-sha-256 or scram-sha-512 when a username or password_file is set")
		}
	case "plain", "scram-sha-256", "scram-sha-512":
		if c.SASL.Username == "" {
			fault("sasl.username: must not be empty")
		}
		if c.SASL.PasswordFile == "" {
			fault("sasl.password_file: must not be empty")
		}
	default:
		fault("sasl.mechanism: must be plain, scram-sha-256 or scram-sha-512")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls: cert_file and key_file go together")
	}
	if !c.TLS.Enabled && (c.TLS.CAFile != "" || c.TLS.CertFile != "" || c.TLS.ServerName != "") {
		fault("tls.enabled: is false, but other tls settings are given")
	}
	if len(c.Topics) == 0 {
		fault("topics: name at least one")
	}
	legal := regexp.MustCompile(legalName)
	seen := make(map[string]bool)
	for i, t := range c.Topics {
		switch {
		case !legal.MatchString(t.Name) || t.Name == "." || t.Name == "..":
			fault("topics[%d].name: Kafka allows letters, digits, '.', '_' and '-', at most 249", i)
		case seen[t.Name]:
			fault("topics[%d].name: given twice", i)
		}
		seen[t.Name] = true
		if strings.ContainsAny(t.Epoch, " \t\r\n/") {
			fault("topics[%d].epoch: must be a number or a word", i)
		}
	}
	if c.Fetch.MaxBytes < 1<<10 {
		fault("fetch.max_bytes: must be at least 1024")
	}
	if c.Fetch.MaxWait < time.Millisecond || c.Fetch.MaxWait > time.Minute {
		fault("fetch.max_wait: must be between 1ms and 1m")
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 30*time.Minute {
		fault("session_timeout: must be between 1s and 30m")
	}
	if c.HeartbeatInterval < 10*time.Millisecond || c.HeartbeatInterval > c.SessionTimeout/3 {
		fault("heartbeat_interval: must be between 10ms and a third of session_timeout")
	}
	if c.RebalanceTimeout < c.SessionTimeout {
		fault("rebalance_timeout: must be at least session_timeout")
	}
	if c.MaxInFlightBytes < 4*int64(c.Fetch.MaxBytes) {
		fault("max_in_flight_bytes: must be at least four times fetch.max_bytes")
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	return nil
}

// load builds the TLS configuration, or nil when TLS is off.
func (t TLS) load() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls.ca_file: holds no PEM certificate")
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
