// Package ingesttest compares what is in ClickHouse with the truth about a synthetic municipality.
//
// It promises that nothing passes which is not exactly so: every cell of every table, and no other cell; every offset of
// the ledger, without a gap and without an overlap; every reject.
//
// It reads the tables themselves as the schema's owner, past the views, because a view hides small cells.
//
// Only tests import it.
package ingesttest
