package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/seal"
)

const (
	intentType      = "tillsyn purge intent v1"
	certificateType = "tillsyn purge certificate v1"
)

// purgeMethod is how was purged, in the words of NIST SP 800-88 Rev. 2, which does not call the removal of a file sanitisation of
// its medium. Nothing is erased cryptographically as long as a key may live on in a backup.
func purgeMethod(b BackupCheck, finished string) (string, error) {
	switch {
	case b.KeysDays == nil:
		return "logical deletion; whether the keys remain in backups is not stated", nil
	case *b.KeysDays == 0:
		return "logical deletion + cryptographic erase (NIST SP 800-88)", nil
	}
	until, err := keysUntil(b, finished)
	return "logical deletion; keys remain in backups until " + until, err
}

// keysUntil is the last day on which a backup may have the keys, YYYY-MM-DD.
func keysUntil(b BackupCheck, finished string) (string, error) {
	at, err := time.Parse(time.RFC3339, finished)
	if err != nil || b.KeysDays == nil {
		return "", errors.New("it is not known until when")
	}
	return at.UTC().AddDate(0, 0, *b.KeysDays).Format(time.DateOnly), nil
}

// A PurgeIntent is put on record before anything is removed. It stays open until a certificate answers it: whatever
// happens in between, the next purge takes it up again.
type PurgeIntent struct {
	Type       string          `json:"type"`
	Deployment string          `json:"deployment"`
	At         string          `json:"at"` // RFC 3339, UTC
	Retention  []RetentionLine `json:"retention"`
	Items      []PurgeItem     `json:"items"`
	Samples    []PurgeSample   `json:"samples"` // of the ciphertext, to look for afterwards
	Control    PurgeControl    `json:"control"`
}

// A PurgeControl is what the search of the disk found when everything was still there: that it can find something.
type PurgeControl struct {
	Searched bool `json:"searched"` // false: there was no ciphertext, or the disk could not be examined then
	Found    int  `json:"found"`    // of the samples
}

// A RetentionLine is the retention of a class and the decisions that it rests on.
type RetentionLine struct {
	Class     Class               `json:"class"`
	Days      int                 `json:"days"`
	Decisions []RetentionDecision `json:"decisions"`
}

// A PurgeItem is a day of a class that is removed, or the copies of a day under a hold that has ended.
type PurgeItem struct {
	Class  Class        `json:"class"`
	Day    string       `json:"day"`  // YYYY-MM-DD, UTC
	Hold   string       `json:"hold"` // class held only
	Reason string       `json:"reason"`
	Again  bool         `json:"again"` // a certificate says that it was removed before: somebody has put it back
	Tables []PurgeTable `json:"tables"`
}

// A PurgeTable is what was counted in one partition before it was removed.
type PurgeTable struct {
	Table     string `json:"table"`
	Partition string `json:"partition"` // ClickHouse's partition id
	Rows      uint64 `json:"rows"`
	Bytes     uint64 `json:"bytes"` // on disk, of the first server
}

// A PurgeSample is a piece of ciphertext and where it was.
type PurgeSample struct {
	Day    string `json:"day"`
	Key    string `json:"key"`    // id of the data key, 32 hexadecimal digits
	Sample string `json:"sample"` // 16 bytes, as 32 hexadecimal digits
}

// A Certificate says what one purge removed, what it kept back and why, and what was verified afterwards. There is none
// unless everything was verified.
type Certificate struct {
	Type       string          `json:"type"`
	Deployment string          `json:"deployment"`
	Intent     string          `json:"intent"`   // digest of the intent on record, "sha256:..."
	Begun      string          `json:"begun"`    // when the intent was put on record; RFC 3339, UTC
	Finished   string          `json:"finished"` // when everything was verified
	Method     string          `json:"method"`
	Retention  []RetentionLine `json:"retention"`
	Removed    []RemovedItem   `json:"removed"`
	Totals     PurgeTotals     `json:"totals"`
	Holds      []CertifiedHold `json:"holds"` // what was copied before; at most 100, see totals
	Servers    []ServerCheck   `json:"servers"`
	Disk       DiskCheck       `json:"disk"`
	Kafka      KafkaCheck      `json:"kafka"`
	Backups    BackupCheck     `json:"backups"`
	Signer     string          `json:"signer"` // verifier key that the certificate is signed with; the record is what vouches for it
}

// A RemovedItem is an item of the intent, with what was kept back of it.
type RemovedItem struct {
	PurgeItem
	Held  HoldCopies `json:"held"`  // rows of it that live on under holds
	Holds int        `json:"holds"` // how many holds
}

// PurgeTotals are the sums of a certificate.
type PurgeTotals struct {
	Items    int    `json:"items"`
	Rows     uint64 `json:"rows"`
	Bytes    uint64 `json:"bytes"`
	Keys     uint64 `json:"keys"`     // rows of key tables among them
	Capsules uint64 `json:"capsules"` // rows of capsule tables among them, watermarks included
	Holds    int    `json:"holds"`    // in force on any item
}

// A CertifiedHold is a hold and what it kept of the days that were removed.
type CertifiedHold struct {
	Hold   string     `json:"hold"`
	Case   string     `json:"case"`
	Basis  HoldBasis  `json:"basis"`
	Days   int        `json:"days"`
	Copies HoldCopies `json:"copies"`
}

// A ServerCheck is what one ClickHouse server said when everything was removed.
type ServerCheck struct {
	Server   string `json:"server"` // host:port; "embedded" for the engine inside tillsyn
	Host     string `json:"host"`   // the machine, as the server calls it
	Version  string `json:"version"`
	Parts    int    `json:"parts"`    // of what was removed, active or not: 0
	Detached int    `json:"detached"` // parts put aside, of what is past its time: 0
}

// A DiskCheck is what the data directories of one server held when everything was removed. That they were that server's is known
// by a marker: it had the server store something, and found it there.
type DiskCheck struct {
	Examined   bool         `json:"examined"`   // false: the server's disks can't be reached from here, which the configuration says
	Server     string       `json:"server"`     // whose disks; empty: nobody's
	Host       string       `json:"host"`       // its machine, as it calls it
	Unexamined []string     `json:"unexamined"` // servers whose disks nobody looked at
	Files      int64        `json:"files"`
	Bytes      int64        `json:"bytes"`
	Samples    int          `json:"samples"`    // pieces of removed ciphertext that were looked for
	StillHeld  int          `json:"still_held"` // pieces that were not, because a hold keeps what they are of
	Control    PurgeControl `json:"control"`    // what of them was found before
	Hits       int          `json:"hits"`       // places where one was found: 0
	Copies     int          `json:"copies"`     // frozen, detached or temporary copies: 0
}

// A KafkaCheck is how long the source topics keep what was removed here.
type KafkaCheck struct {
	Asked     bool         `json:"asked"` // false: the configuration says that no Kafka belongs to this installation
	LimitDays int          `json:"limit_days"`
	Topics    []KafkaTopic `json:"topics"`
}

// A KafkaTopic is how long a topic keeps a record: at most its retention and the time until a segment is closed.
type KafkaTopic struct {
	Topic         string `json:"topic"`
	RetentionMS   int64  `json:"retention_ms"`   // retention.ms; -1: for ever
	SegmentMS     int64  `json:"segment_ms"`     // segment.ms
	CleanupPolicy string `json:"cleanup_policy"` // cleanup.policy
}

// A BackupCheck is what the configuration says of backups: nothing here can look at them. What is null it does not say.
type BackupCheck struct {
	Days     *int `json:"days"`      // for which a backup of capsules is kept; 0: there are none
	KeysDays *int `json:"keys_days"` // for which a backup of the key tables is kept; 0: they are in none
}

// validate says whether c is a certificate: whatever was found speaks against it.
func (c Certificate) validate() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.Type != certificateType, "it is not a "+certificateType)
	fault(c.Deployment == "", "it names no deployment")
	_, err := seal.ParseDigest(c.Intent)
	fault(err != nil, "it names no intent")
	begun, err1 := time.Parse(time.RFC3339, c.Begun)
	finished, err2 := time.Parse(time.RFC3339, c.Finished)
	fault(err1 != nil || err2 != nil || finished.Before(begun), "its times are none")
	fault(len(c.Removed) == 0, "nothing was removed")
	fault(len(c.Servers) == 0, "no server was asked")
	for _, s := range c.Servers {
		fault(s.Parts != 0 || s.Detached != 0, "a server still had parts")
	}
	fault(c.Disk.Hits != 0 || c.Disk.Copies != 0, "the disk still had ciphertext or copies")
	fault(c.Disk.Examined && c.Disk.Control.Searched && c.Disk.Control.Found == 0 && c.Disk.Samples+c.Disk.StillHeld > 0, "the search of the disk found nothing when everything was there either")
	fault(!c.Disk.Examined && (c.Disk.Files != 0 || c.Disk.Samples != 0 || c.Disk.Server != ""), "a disk was examined, and was not")
	// Each server is one whose disks were examined, or one whose disks were not.
	named := slices.Clone(c.Disk.Unexamined)
	if c.Disk.Examined {
		named = append(named, c.Disk.Server)
	}
	for _, s := range c.Servers {
		i := slices.Index(named, s.Server)
		fault(i < 0, "it does not say whether a server's disks were examined")
		if i >= 0 {
			named = slices.Delete(named, i, i+1)
		}
	}
	fault(len(named) != 0, "it speaks of the disks of a server that was not asked")
	totals := c.totals()
	fault(totals.Items != c.Totals.Items || totals.Rows != c.Totals.Rows || totals.Bytes != c.Totals.Bytes || totals.Keys != c.Totals.Keys || totals.Capsules != c.Totals.Capsules, "its sums are not those of what was removed")
	fault(len(c.Holds) != min(c.Totals.Holds, maxCertifiedHolds), "it lists other holds than it counts")
	method, err := purgeMethod(c.Backups, c.Finished)
	fault(err != nil || method != c.Method, "its method is not what it says of backups")
	for _, n := range []*int{c.Backups.Days, c.Backups.KeysDays} {
		fault(n != nil && *n < 0, "it speaks of backups that are kept for less than no time")
	}
	for _, t := range c.Kafka.Topics {
		fault(t.check(c.Kafka.LimitDays) != nil, "a Kafka topic keeps records too long")
	}
	for _, r := range c.Retention {
		fault(r.Class.identifiable() && r.Class != ClassHeld && (r.Days < 1 || r.Days > MaxDays || len(r.Decisions) == 0), "a class has no decision, or a time above the ceiling")
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("this is no valid purge certificate: %w", err)
	}
	return nil
}

// totals sums up what was removed.
func (c Certificate) totals() PurgeTotals {
	var sum PurgeTotals
	for _, item := range c.Removed {
		sum.Items++
		for _, t := range item.Tables {
			sum.Rows += t.Rows
			sum.Bytes += t.Bytes
			switch {
			case strings.HasSuffix(t.Table, "_keys"):
				sum.Keys += t.Rows
			case strings.HasSuffix(t.Table, "_capsules"):
				sum.Capsules += t.Rows
			}
		}
	}
	return sum
}

// OpenCertificate reads a signed certificate and checks it against the key of the purge, as the record or its keeper has it.
func OpenCertificate(signed []byte, verifier string) (Certificate, error) {
	var c Certificate
	text, _, err := seal.Open(signed, verifier)
	if err != nil {
		return c, fmt.Errorf("open a purge certificate: %w", err)
	}
	return parseCertificate(text)
}

func parseCertificate(text []byte) (Certificate, error) {
	var c Certificate
	if err := seal.ParseCanonical(text, &c); err != nil {
		return c, fmt.Errorf("open a purge certificate: %w", err)
	}
	return c, c.validate()
}

func (c Certificate) sign(s *seal.Signer) ([]byte, error) {
	c.Signer = s.Verifier()
	if err := c.validate(); err != nil {
		return nil, err
	}
	text, err := seal.Canonical(c)
	if err != nil {
		return nil, err
	}
	return seal.Sign(text, s)
}

// check says whether a topic lets records go within a number of days.
func (t KafkaTopic) check(days int) error {
	limit := int64(days) * 24 * time.Hour.Milliseconds()
	switch {
	case t.CleanupPolicy != "delete" && t.CleanupPolicy != "compact,delete" && t.CleanupPolicy != "delete,compact":
		return fmt.Errorf("topic %s of Kafka has cleanup.policy %q: records are never deleted", t.Topic, t.CleanupPolicy)
	case t.RetentionMS < 0:
		return fmt.Errorf("topic %s of Kafka has retention.ms %d: records are kept for ever", t.Topic, t.RetentionMS)
	case t.SegmentMS < 0 || t.RetentionMS > limit || t.SegmentMS > limit-t.RetentionMS:
		return fmt.Errorf("topic %s of Kafka keeps records for up to %.1f days (retention.ms %d + segment.ms %d), the limit is %d (retention.purge.kafka_days)",
			t.Topic, float64(t.RetentionMS+t.SegmentMS)/float64(24*time.Hour.Milliseconds()), t.RetentionMS, t.SegmentMS, days)
	}
	return nil
}
