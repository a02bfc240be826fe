// Package ingest reads log records from Kafka and from files, and writes what they say about use, not about people, to
// ClickHouse.
//
// # Steps
//
//	record -> parse -> Event -> resolve, categorise -> rollup -> blocks -> ClickHouse -> ledger -> Kafka's commit
//
// One goroutine gathers each source partition into batches, another writes them, so that ClickHouse and the parser work
// at the same time. A batch is one contiguous range of offsets of one partition, bounded in events, memory and seconds.
//
// # Exactly once
//
// The sink is the truth, Kafka's commit is advice. A batch is written as one block for each (table, day); a block is one
// insert and one part, so it is in or not in, and it carries the watermark of its batch. After the blocks comes the ledger
// row, after that the commit. Whoever is assigned the partition next asks the ledger where to go on. Watermarks beyond
// the ledger say where an interrupted batch ended and when it was begun: the batch is cut there again, as of that time,
// and only the blocks whose watermark is missing are inserted. Every fault, also an insert whose outcome is not known,
// is answered by asking again: there is one way to recover, and it is also the way to begin.
//
// Offsets that are gone before they were read (retention) stop their partition until an operator accepts the loss; a log
// that ends before the place to go on was recreated, and stops it too. Nothing is skipped silently.
//
// # What it refuses
//
// Nothing of an Event leaves this package but through a Rollup (as counts and tokens) and the table of rejects (a reason
// and a shape). Events older than 90 days or more than an hour ahead of the batch's clock are rejects. Errors, logs and
// metrics name topics, partitions, offsets and reasons, never what a record says.
package ingest
