package vault

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// PurgeConfig says when and how a purge runs, and what it must be able to verify.
type PurgeConfig struct {
	At           string        `yaml:"at"`            // local time of day of the daily run in 'tillsyn serve', HH:MM
	TimeZone     string        `yaml:"time_zone"`     // of at: IANA name
	Lock         string        `yaml:"lock"`          // file that purge and holds take turns by; on the machine of the record
	Wait         time.Duration `yaml:"wait"`          // for the lock
	Key          string        `yaml:"key"`           // file of the key that signs certificates, made at the first start, mode 0600
	Certificates string        `yaml:"certificates"`  // directory of copies of the certificates, to read; the record has them too
	DataPaths    []string      `yaml:"data_paths"`    // data directories of the first ClickHouse server, on this machine; the embedded one needs none
	WithoutDisk  bool          `yaml:"without_disk"`  // the server's disks can't be reached from here: certificates say that they were not examined
	Settle       time.Duration `yaml:"settle"`        // how long a server may take to remove the files of dropped parts
	WithoutKafka bool          `yaml:"without_kafka"` // no Kafka belongs to this installation: certificates say so
	KafkaDays    int           `yaml:"kafka_days"`    // longest retention.ms + segment.ms of a source topic, in days
	BackupDays   *int          `yaml:"backup_days"`   // for which backups of the database are kept, as your backup says; 0: there are none; unset: not stated
	KeyBackup    *int          `yaml:"key_backup"`    // days for which backups of the key tables are kept; 0: they are in none; unset: not stated
}

// MaxKeyBackupDays is the longest time for which wrapped keys may live on in a backup after their purge.
const MaxKeyBackupDays = 7

// DefaultPurgeConfig runs at half past two at night, Swedish time.
func DefaultPurgeConfig() PurgeConfig {
	return PurgeConfig{
		At: "02:30", TimeZone: "Europe/Stockholm",
		Lock: "var/purge.lock", Wait: time.Minute, Key: "var/purge.key", Certificates: "var/certificates",
		Settle: 15 * time.Minute, KafkaDays: 14,
	}
}

var timeOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

// Validate answers every fault of c, joined, or nil. It opens nothing.
func (c PurgeConfig) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("purge."+format, args...)) }
	if !timeOfDay.MatchString(c.At) {
		fault("at: %q is not a time of day such as 02:30", c.At)
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" || c.TimeZone == "Local" {
		fault("time_zone: %q is not the name of a time zone such as Europe/Stockholm", c.TimeZone)
	}
	for _, f := range []struct{ key, value string }{{"lock", c.Lock}, {"key", c.Key}, {"certificates", c.Certificates}} {
		if f.value == "" {
			fault("%s: is missing", f.key)
		}
	}
	if c.Wait <= 0 || c.Wait > time.Hour {
		fault("wait: %v is not above 0 and at most 1h", c.Wait)
	}
	if c.Settle < 0 || c.Settle > 2*time.Hour {
		fault("settle: %v is not between 0s and 2h", c.Settle)
	}
	if c.WithoutDisk && len(c.DataPaths) > 0 {
		fault("without_disk: contradicts data_paths")
	}
	if c.KafkaDays < 1 || c.KafkaDays > MaxDays {
		fault("kafka_days: %d is not between 1 and %d", c.KafkaDays, MaxDays)
	}
	if n := c.BackupDays; n != nil && (*n < 0 || *n > 3650) {
		fault("backup_days: %d is not between 0 and 3650", *n)
	}
	if n := c.KeyBackup; n != nil && (*n < 0 || *n > MaxKeyBackupDays) {
		fault("key_backup: %d is not between 0 and %d: capsules in old backups must not stay readable", *n, MaxKeyBackupDays)
	}
	return errors.Join(faults...)
}
