package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Identity names a source partition for good, by cluster, topic, epoch and partition.
type Identity struct {
	Cluster   string // the operator's name of the Kafka cluster; "file" for a file
	Topic     string // of a file, the SHA-256 of its head
	Epoch     string // Kafka's topic id or an operator's number; of a file, the length of that head
	Partition int32
	TopicID   string // Kafka's topic id, if it gives one; it is no part of the name, but must stay the same
}

// Mark is the number that stands for i in ClickHouse: the first 8 bytes of SHA-256 over its parts, each preceded by its
// length. It needs no table to be given out, so two ingesters can't give out one number twice.
func (i Identity) Mark() uint64 {
	h := sha256.New()
	var n [8]byte
	for _, p := range []string{i.Cluster, i.Topic, i.Epoch, fmt.Sprint(i.Partition)} {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return max(1, binary.BigEndian.Uint64(h.Sum(nil))) // 0 marks statistics
}

func (i Identity) String() string { return fmt.Sprintf("%s/%s[%d]", i.Cluster, i.Topic, i.Partition) }

// A Record is one Kafka message, or one line of a file.
type Record struct {
	Offset int64
	Next   int64 // the offset after it
	Value  []byte
}

// A Chunk is what one fetch brought. First..Next are the offsets it covers, also those that hold no record.
type Chunk struct {
	First, Next int64
	Records     []Record
}

// A Partition is a source of records: a partition of a Kafka topic, or a file.
type Partition interface {
	Identity() Identity
	// Bounds are the first offset that can still be read and the offset after the last one.
	Bounds(ctx context.Context) (start, end int64, err error)
	// Fetch reads records from offset on into c, whose memory it reuses, and waits a moment if there are none. io.EOF: there
	// will never be more.
	Fetch(ctx context.Context, offset int64, c *Chunk) error
	// Commit tells the source that everything before next is in. It is advice.
	Commit(ctx context.Context, next int64) error
	// Alive is whether the partition is still ours for at least d.
	Alive(d time.Duration) bool
}
