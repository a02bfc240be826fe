// Package clickhouse is the only door to ClickHouse: it opens, migrates, inserts and queries, and nothing else of tillsyn
// imports the driver. Embedded engine or server makes no difference: both speak the native protocol.
//
// It promises
//   - Insert writes one block with one insert, which the server keeps as one part or not at all: more than 1,048,449 rows,
//     more than 256 MiB or two table-partitions are refused, never split. It never retries. An error says whether nothing was
//     written (ErrNotInserted) or nobody knows (ErrUnknownOutcome: ask the watermark).
//   - Query and Select bind values as native {name:Type} parameters; no value is ever pasted into SQL text.
//   - Migrate may be repeated, interrupted between any two statements, and run twice at the same time.
//   - An error never quotes a value that was inserted or bound: server messages pass only where their text can't hold one.
//
// It refuses
//   - a migration file that was changed after it was applied, one that sorts before the newest applied one, and one whose
//     statements can't be repeated;
//   - a password file that other users of the machine can read or change, and to sign in as nobody in particular (Config.As
//     chooses the user of a role; Lacks tells which of its grants a user has not);
//   - a server older than MinVersion, and one whose settings don't say what exactly-once rests on (CheckSettings).
//
// Steps: Config.As (the user of a role) -> Open (pools and version) -> Migrate or Check -> CheckSettings -> Insert, Query, Select, Kill -> Close.
//
// The columns of an insert bypass the driver's row-wise reflection. Arrays, low-cardinality strings and times are laid out as
// the native format lays them out (https://clickhouse.com/docs/interfaces/specs/NativeFormat) and handed to the driver's
// own Decode, which copies them as they are.
package clickhouse
