package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	kafkago "github.com/segmentio/kafka-go"
)

// Errors that a handler or the caller of Run can tell apart with errors.Is. The first five stop a partition until the
// next generation of the group when a handler returns them.
var (
	// ErrBehindLogStart says that the wanted offset is no longer in the log: retention or DeleteRecords took it. The error
	// is a *BoundsError.
	ErrBehindLogStart = errors.New("offset is before the start of the log")
	// ErrBeyondLogEnd says that the wanted offset is not yet in the log: the topic was made again, or its log was
	// truncated. The error is a *BoundsError.
	ErrBeyondLogEnd = errors.New("offset is beyond the end of the log")
	// ErrRecreated says that the topic was deleted and made again while it was read; offsets start anew.
	ErrRecreated = errors.New("topic was deleted and made again")
	// ErrTooLarge says that a single record batch needs more memory than max_in_flight_bytes allows.
	ErrTooLarge = errors.New("record batch is larger than max_in_flight_bytes allows")
	// ErrUnsupported says that the broker or the records in the log are older than this package can read.
	ErrUnsupported = errors.New("broker or message format is too old")
	// ErrCorrupt says that a record batch repeatedly failed its checksum or could not be decoded.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrFenced says that the group has moved on: this member no longer owns the partition.
	ErrFenced = errors.New("partition belongs to a newer generation of the group")
	// ErrAuthentication says that the brokers refuse the configured user.
	ErrAuthentication = errors.New("brokers refuse the sign-in")
	// ErrNoMember says that the group does not accept this member's settings.
	ErrNoMember = errors.New("group refuses this member")
)

// A BoundsError is an offset outside the log. It wraps ErrBehindLogStart or ErrBeyondLogEnd.
type BoundsError struct {
	Offset     int64 // the offset that was asked for
	Start, End int64 // first offset in the log, and the one after its last
	kind       error
}

// Error says which offset was asked for and what the log holds.
func (e *BoundsError) Error() string {
	return fmt.Sprintf("%v: wanted %d, log holds [%d,%d)", e.kind, e.Offset, e.Start, e.End)
}

// Unwrap answers ErrBehindLogStart or ErrBeyondLogEnd.
func (e *BoundsError) Unwrap() error { return e.kind }

// stops tells whether a handler's error can't be cured by calling it again in the same generation.
func stops(err error) bool {
	for _, e := range []error{ErrBehindLogStart, ErrBeyondLogEnd, ErrRecreated, ErrTooLarge, ErrUnsupported, ErrFenced} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// codeError turns Kafka's error code into an error, nil for 0.
func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafkago.Error(code)
}

// fenced tells whether an answer of the coordinator means that this member is out of the group.
func fenced(err error) bool {
	return errors.Is(err, kafkago.IllegalGeneration) || errors.Is(err, kafkago.UnknownMemberId) ||
		errors.Is(err, kafkago.FencedInstanceID)
}

// kindOf names an error for the metric of fetch errors: few and fixed words.
func kindOf(err error) string {
	var code kafkago.Error
	var network net.Error
	switch {
	case errors.Is(err, ErrBehindLogStart):
		return "behind_log_start"
	case errors.Is(err, ErrBeyondLogEnd):
		return "beyond_log_end"
	case errors.Is(err, ErrRecreated):
		return "recreated"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrUnsupported):
		return "unsupported"
	case errors.Is(err, ErrCorrupt):
		return "corrupt"
	case errors.Is(err, ErrFenced):
		return "fenced"
	case errors.Is(err, ErrAuthentication):
		return "authentication"
	case errors.Is(err, errNoTopic):
		return "no_topic"
	case errors.Is(err, errNoLeader), errors.Is(err, kafkago.NotLeaderForPartition), errors.Is(err, kafkago.FencedLeaderEpoch),
		errors.Is(err, kafkago.UnknownLeaderEpoch), errors.Is(err, kafkago.LeaderNotAvailable), errors.Is(err, kafkago.ReplicaNotAvailable):
		return "leader"
	case errors.Is(err, errStalled):
		return "stalled"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &code):
		return "broker"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "network"
	default:
		return "other"
	}
}
