package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tillsyn/internal/clickhouse"
)

// What became of a lost stretch.
const (
	GapStanding = "standing" // its partition stands still
	GapAccepted = "accepted" // the loss is accepted; ingest will go on
	GapCrossed  = "crossed"  // ingest has gone on
)

// ErrNoGap is when there is no loss to accept.
var ErrNoGap = errors.New("no loss stands")

// LostStretch is a Gap as an operator sees it: the offsets First to Next-1 of a source partition, which Kafka removed
// before they were read.
type LostStretch struct {
	Source      Identity
	First, Next int64
	State       string // GapStanding, GapAccepted or GapCrossed
	FoundAt     time.Time
	AcceptedAt  time.Time // zero while it stands
	Reason      string
}

// Gaps are all lost stretches, by topic, partition and offset.
func (s *Store) Gaps(ctx context.Context) ([]LostStretch, error) {
	var all []LostStretch
	err := s.db.Query(ctx, s.sql["gaps_all"], nil, func(r clickhouse.Row) error {
		var (
			g                 LostStretch
			mark, first, next uint64
			crossed           bool
		)
		if err := r.Scan(&mark, &g.Source.Cluster, &g.Source.Topic, &g.Source.Epoch, &g.Source.Partition, &first, &next, &g.FoundAt,
			&g.AcceptedAt, &g.Reason, &crossed); err != nil {
			return err
		}
		g.First, g.Next, g.State = int64(first), int64(next), GapAccepted
		switch {
		case g.AcceptedAt.Unix() == 0:
			g.State, g.AcceptedAt = GapStanding, time.Time{}
		case crossed:
			g.State = GapCrossed
		}
		if g.Source.Mark() != mark {
			return fmt.Errorf("source %d is not %s: the table sources was altered by hand", mark, g.Source)
		}
		all = append(all, g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for lost offsets: %w", err)
	}
	return all, nil
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 1000

// CheckReason says what is wrong with an operator's reason: it is kept for good, and must be one line that says something.
func CheckReason(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return errors.New("a reason must say something")
	case len(reason) > maxReason:
		return fmt.Errorf("a reason has at most %d bytes", maxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		return errors.New("a reason is one line of text")
	}
	return nil
}

// AcceptGaps accepts all losses that stand in a partition of a topic, of any epoch, and answers them: ingest goes on at
// its next try. ErrNoGap: nothing is lost there, or it is accepted already; nothing can be accepted in advance. An empty
// cluster is any.
func (s *Store) AcceptGaps(ctx context.Context, cluster, topic string, partition int32, reason string) ([]LostStretch, error) {
	if err := CheckReason(reason); err != nil {
		return nil, err
	}
	all, err := s.Gaps(ctx)
	if err != nil {
		return nil, err
	}
	var accepted []LostStretch
	for _, g := range all {
		if g.Source.Topic != topic || g.Source.Partition != partition || g.State != GapStanding || cluster != "" && g.Source.Cluster != cluster {
			continue
		}
		g.State, g.AcceptedAt, g.Reason = GapAccepted, s.now().UTC().Truncate(time.Second), reason
		if err := s.db.Insert(ctx, clickhouse.Insert{
			Query: s.sql["insert_gaps"], QueryID: s.queryID(g.Source, "accept", g.First, g.Next),
			Columns: []any{[]uint64{g.Source.Mark()}, []uint64{uint64(g.First)}, []uint64{uint64(g.Next)}, []time.Time{g.FoundAt},
				[]time.Time{g.AcceptedAt}, []string{g.Reason}},
		}); err != nil {
			return accepted, fmt.Errorf("accept the loss in %s: %w", g.Source, err)
		}
		accepted = append(accepted, g)
	}
	if len(accepted) == 0 {
		return nil, fmt.Errorf("%w in partition %d of topic %s", ErrNoGap, partition, topic)
	}
	return accepted, nil
}
