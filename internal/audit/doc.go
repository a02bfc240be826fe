// Package audit keeps the record: everything that was decided about a person, looked up, held, purged or changed, in an
// append-only Merkle log that a union, a data protection officer or a court can check on files alone, without tillsyn
// running and without trusting who runs it.
//
// # What it promises
//
//   - [Log.Append] returns without an error only when the entry is on disk, integrated, covered by a signed and published
//     checkpoint, and when all of that has been read back from disk and checked: index, entry, inclusion, signature, and
//     that the new checkpoint extends the one before. Anything else is [ErrUnavailable]: no record, no act.
//   - An error means: outcome unknown. The entry may still come into the record later (it was on disk when the process
//     died before publishing), but never twice and never at an index that was told to somebody else.
//   - Several processes append to one log (the service and the command line). One lock file orders them; the writing
//     library is open only while that lock is held.
//   - The log's key signs a tree only if it extends the last published one, by a proof made from the files as they are.
//     A log that was tampered with, cut or set back under a running process is refused, not continued.
//   - [Verify] finds every change of a published byte: an entry, a tile, a checkpoint, an order, a missing segment; it names
//     the first bad index or tile. Against what it remembers ([Memory]) it also finds what only the holder of the log's key
//     can do: a shortened log, a second history, an old copy put back.
//   - No entry names a watched person. A subject appears only through the digest of a document that holds 32 random
//     bytes. Actors are ids of the holders' register.
//   - One entry is one line: strings are bounded, without control, format or direction characters. What is parsed encodes
//     to the same bytes again.
//
// # What it refuses
//
//   - To append when the clock is more than Config.Silence ahead of the last entry ([ErrAhead]), until somebody has accepted it
//     ([Log.AcceptClock]): one entry of a wrong time would end every decision. Acceptance also goes back, after a wrong entry;
//     who may give it is for those who read it to check.
//   - To append when the log is read-only, full, locked for longer than Config.Timeout, signed by another key, of another
//     deployment, or not what the last checkpoint says.
//   - Unknown kinds, unknown or doubled fields, other field orders, numbers beyond 2^53-1, lines beyond 65 535 bytes.
//   - To overwrite a key file. To retire a segment before its retention is over, or without a decision number.
//   - A zero [Trust], [Config] or [Entry].
//
// # The files
//
//	DIR/lock                   who holds it may write
//	DIR/0001/checkpoint        C2SP signed note: origin, size, root; origin is DEPLOYMENT/audit/0001
//	DIR/0001/tile/...          C2SP tlog-tiles: entry bundles and hash tiles of 256, partial ones in .p/
//	DIR/0001/.state/           the writer's own bookkeeping; not part of the record, not copied, not believed
//	DIR/0001/anchor            only in a retired segment: the proof of its first entry (C2SP tlog-proof)
//	DIR/0002/...               begins with segment.opened, whose body is the last checkpoint of 0001, and which counts the
//	                           entries of 0001 that it repeats: pairs of segment.carried, with position and path, and the old line
//
// One Ed25519 key signs all segments; its public half, "DEPLOYMENT/audit+HASH+KEY", is what a verifier pins. A segment's
// checkpoint is signed under its origin as the key's name.
//
// # The steps of an append
//
// Take the lock. Finish an interrupted rotation. Read the published checkpoint: ours, of this origin, not behind or
// beside the one that this process saw last. The writer's state is at or ahead of it (ahead: a process died before it
// published, and what it left is published now). The right edge of the tree on disk is the checkpoint's. Stamp the time.
// Hand the batch to Tessera, which makes bundle, hash tiles and its state durable, and wait for it however long it takes: a
// late write may not meet the next one. Prove that the tree on disk extends the published one, sign it, have it co-signed,
// publish it by rename. (Tessera's own publisher works in the background, ten times a second at most, and stands still if
// the clock went back: it is given a signer that signs the empty tree only.) Read the checkpoint back, then the entries, then
// their inclusion. Let go of the lock. Entries that wait together go in together. What a killed process left beyond the
// checkpoint, and partial tiles that full ones have replaced, go before the next batch.
//
// # The steps of a rotation, and of retiring
//
// Rotation: append segment.closed; build the next segment in DIR/.new-0002 with its first entry, segment.opened, at the
// very second of segment.closed, so that a repetition signs the same bytes; rename it. A closed segment without a
// successor is finished by whoever takes the lock next.
//
// A new segment repeats, byte for byte, what later checks build on however old it is: registers of holders, everything about a
// case that is open or has a hold in force, permissions, corrections of the clock. So an old segment can be retired and
// nothing forgets. Each repeated line has its path to the root of the checkpoint that its own segment ended with, which stays:
// [Verify] proves it for ever, and that nothing was left out or added while the segment before is there, which is also a
// condition of retiring it. [Reader.Entries] answers a repeated entry at its old position, where its segment is retired, and once.
//
// Retiring (oldest first): append segment.retired with the decision number and the last checkpoint; write the anchor;
// remove the tiles. Repeating it finishes it. What stays: the last checkpoint, the first entry with its proof, so that
// the chain of anchors still reaches back to 0001, and the retirement itself in the record.
//
// # Threats and answers
//
//   - A database or system administrator without the log's key changes, removes or reorders entries: the root differs.
//   - One with the key rewrites history: whoever has a [Memory] (each approver's client, the data protection officer, the
//     union, a witness) refuses it and names both sizes. Nobody who never looked before can tell: so look.
//   - A witness (C2SP tlog-witness) co-signs each checkpoint, if configured; required: no co-signature, no append.
//   - The clock is moved back: entries carry the time of the log's machine, in the order of the log; [Verify] reports where
//     time went back by more than [ClockTolerance].
//   - Log injection: see the form of an entry. Low-entropy guessing of a subject: the 32 random bytes.
//   - kill -9, power loss, full disk between any two steps: files are written aside, synced, renamed; the state that
//     counts is the published checkpoint.
//
// Limits: who holds the key and stops every verifier from ever looking can tell any story, as with every log. A
// retired segment can only be compared with a remembered checkpoint of its full size. Tessera panics if it cannot open its
// lock files, in a goroutine of its own; they are opened as a test before each batch, which leaves a moment. A log has one
// key for life: a lost or disclosed key means another deployment, whose first decision names the last checkpoint of this one.
//
// The verifier uses golang.org/x/mod/sumdb/tlog and note only; none of the writer's code decides what is true.
package audit
