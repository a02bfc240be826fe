package ingest

import (
	"context"
	"time"

	"tillsyn/aggregate"
)

// A Sink is what remembers: ClickHouse.
type Sink interface {
	// Recover says what is in of a partition. It first ends inserts of earlier owners, so that its answer stays true.
	Recover(ctx context.Context, id Identity) (Recovered, error)
	// Next is the offset after the last closed batch of a partition.
	Next(ctx context.Context, id Identity) (int64, error)
	// Insert writes one block of the batch first..next, whole or not at all. After an error it may be in.
	Insert(ctx context.Context, id Identity, first, next int64, b aggregate.Block) error
	// Close writes the ledger row of a batch whose blocks are all in. After an error it may be in.
	Close(ctx context.Context, id Identity, row LedgerRow) error
	// Lost records that the offsets first..next were gone before they were read.
	Lost(ctx context.Context, id Identity, first, next int64, at time.Time) error
}

// Recovered is what the sink knows of a partition.
type Recovered struct {
	Known   bool  // the partition has closed batches
	Next    int64 // the offset after the last of them
	Cut     int64 // where the interrupted batch that begins at Next ends; 0 if there is none
	BegunAt time.Time
	Done    map[BlockID]bool // the blocks of the interrupted batch that are in
	Gaps    []Gap            // lost offsets at or after Next
}

// BlockID names a block within a batch.
type BlockID struct {
	Table string
	Day   time.Time // midnight UTC of the calendar day
}

// Gap is a stretch of lost offsets.
type Gap struct {
	First, Next int64
	Accepted    bool // an operator has accepted the loss
}

// LedgerRow closes a batch.
type LedgerRow struct {
	First, Next                             int64
	Records, Gaps, Events, Rejects, Skipped uint64
	BegunAt                                 time.Time
}
