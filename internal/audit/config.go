package audit

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"
)

// MinimumRetention is the least time for which a closed segment is kept, whatever is configured.
const MinimumRetention = 365 * 24 * time.Hour

// Config is where the record is kept and how it is signed.
type Config struct {
	Directory  string        `yaml:"directory"`  // of the segments; made at the first start
	Key        string        `yaml:"key"`        // file of the log's private key, made at the first start, mode 0600
	Deployment string        `yaml:"deployment"` // your name for this installation, part of every checkpoint: never change it
	Timeout    time.Duration `yaml:"timeout"`    // for one append, with waiting for other processes
	Retention  time.Duration `yaml:"retention"`  // of a closed segment, from its last entry; at least MinimumRetention
	Silence    time.Duration `yaml:"silence"`    // an entry that comes longer after the last one is refused until the clock is accepted
	Witness    WitnessConfig `yaml:"witness"`
}

// WitnessConfig names who co-signs checkpoints (https://c2sp.org/tlog-witness). No witness: nobody does.
type WitnessConfig struct {
	Witnesses []Witness     `yaml:"witnesses"`
	Quorum    int           `yaml:"quorum"`   // how many of them must co-sign; 0: all
	Advisory  bool          `yaml:"advisory"` // append even if they do not
	Timeout   time.Duration `yaml:"timeout"`  // for asking them; below Config.Timeout
}

// A Witness is one who co-signs checkpoints.
type Witness struct {
	URL string `yaml:"url"` // prefix of its add-checkpoint
	Key string `yaml:"key"` // its verifier key, of signature type 4 (https://c2sp.org/tlog-cosignature)
}

// DefaultConfig keeps segments under var for five years and asks no witness.
func DefaultConfig() Config {
	return Config{
		Directory:  "var/audit",
		Key:        "var/audit.key",
		Deployment: "tillsyn",
		Timeout:    10 * time.Second,
		Retention:  5 * 365 * 24 * time.Hour,
		Silence:    31 * 24 * time.Hour,
		Witness:    WitnessConfig{Timeout: 5 * time.Second},
	}
}

// Validate answers every fault of c, joined, or nil. It opens nothing.
func (c Config) Validate() error {
	var faults []error
	if c.Directory == "" {
		faults = append(faults, errors.New("directory: is missing"))
	}
	if c.Key == "" {
		faults = append(faults, errors.New("key: is missing"))
	}
	if err := checkDeployment(c.Deployment); err != nil {
		faults = append(faults, fmt.Errorf("deployment: %w", err))
	}
	if c.Timeout < time.Second || c.Timeout > 10*time.Minute {
		faults = append(faults, fmt.Errorf("timeout: %v is not between 1s and 10m", c.Timeout))
	}
	if c.Retention < MinimumRetention {
		faults = append(faults, fmt.Errorf("retention: %v is below %v, the least that is compiled in", c.Retention, MinimumRetention))
	}
	if c.Silence < time.Hour {
		faults = append(faults, fmt.Errorf("silence: %v is below 1h", c.Silence))
	}
	if err := c.Witness.validate(c.Timeout); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (c WitnessConfig) validate(within time.Duration) error {
	var faults []error
	seen := map[string]bool{}
	for i, w := range c.Witnesses {
		if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			faults = append(faults, fmt.Errorf("witness.witnesses[%d].url: is not an http(s) address", i))
		}
		if _, err := newCosignatureVerifier(w.Key); err != nil {
			faults = append(faults, fmt.Errorf("witness.witnesses[%d].key: %w", i, err))
		}
		if seen[w.Key] {
			faults = append(faults, fmt.Errorf("witness.witnesses[%d].key: is there twice", i))
		}
		seen[w.Key] = true
	}
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		faults = append(faults, fmt.Errorf("witness.quorum: %d is not between 0 and the number of witnesses (%d)", c.Quorum, len(c.Witnesses)))
	}
	if len(c.Witnesses) > 0 && (c.Timeout <= 0 || c.Timeout >= within) {
		faults = append(faults, fmt.Errorf("witness.timeout: %v is not above 0 and below timeout (%v)", c.Timeout, within))
	}
	return errors.Join(faults...)
}

// quorum answers how many witnesses must co-sign; 0 if none is configured.
func (c WitnessConfig) quorum() int {
	if c.Quorum == 0 {
		return len(c.Witnesses)
	}
	return c.Quorum
}

var deploymentForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*$`)

// checkDeployment says whether name can begin the origin of a checkpoint and the name of a key.
func checkDeployment(name string) error {
	if name == "" || len(name) > 100 {
		return errors.New("must have 1 to 100 characters")
	}
	if !deploymentForm.MatchString(name) {
		return errors.New("must consist of a-z, 0-9, dots and hyphens, with single slashes between")
	}
	return nil
}
