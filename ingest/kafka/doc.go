// Package kafka reads partitions of Kafka topics for a group of ingesters, and says exactly what it read.
//
// It promises:
//   - Every record of a committed transaction, and every record without one, is handed out once per reader, in offset
//     order. Records of aborted transactions and control records are never handed out.
//   - Nothing is skipped silently. Offsets without a record (compacted, aborted, control) show as the difference between
//     a chunk's range and its records. An offset that is no longer in the log is ErrBehindLogStart, one that is not yet in
//     it is ErrBeyondLogEnd, a topic that was deleted and made again is ErrRecreated.
//   - A partition is handled by one member of the group at a time as far as Kafka can know: when the group moves on, the
//     handler's context ends, and a commit of the old owner is refused with ErrFenced.
//   - Bytes of fetched records held at one time stay within Config.MaxInFlightBytes, over all partitions of the process.
//
// It refuses message sets older than record batches (message format 2, Kafka 0.11), batches with a wrong checksum, and
// batches that would need more memory than the limit when decompressed. It never creates a topic.
//
// Kafka's committed offset is advice only: the caller's own ledger says where to go on.
//
// Steps: New checks the configuration. Run joins the group, resolves the identity of every assigned partition (cluster,
// topic, epoch, number), and calls the handler for each in a goroutine of its own. The handler asks Partition.Bounds,
// then loops over Partition.Fetch, and calls Partition.Commit after its sink has taken the records.
//
// Two things are done here rather than by kafka-go's own types. Its Reader commits with the wrong generation, skips to
// the log start without an error and hands out aborted records. Its ConsumerGroup creates missing topics, assigns
// nothing at all while one of several topics is missing, and sends no heartbeats while the old generation is drained.
// So this package speaks the group and fetch protocols itself, with kafka-go's messages, sign-in and error codes.
//
// What the brokers must be set to: unclean.leader.election.enable=false, min.insync.replicas=2 and producers with
// acks=all. Leader epochs are sent with every fetch, but log truncation after an unclean election can't be undone here.
package kafka
