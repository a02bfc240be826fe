// Package vault keeps raw events sealed, through their whole life: in, found, opened with a permit, held, purged.
//
// # What is kept, and how
//
// A capsule is the events of one person, of one kind (web or mail), on one UTC day, in one batch of an ingester: laid out by
// columns, compressed, then sealed with AES-256-GCM under a data key (package seal). Beside it stand in clear: day, tenant,
// unit, lookup tag, key id, times of the first and the last event, how many there are. All of that is bound into the
// ciphertext: a capsule opens in its own row, day, table and unit only, or not at all.
//
// A data key belongs to one person, kind, unit, day and run of an ingester. It is never stored: its row holds four random
// shares, each sealed to one role. Only all four together are the key. Ingesters hold public keys, so they can write what
// they cannot read. A person's key rows are in before the first capsule that needs them.
//
// Guests are not in the vault, nor are lines of nobody (a proxy's challenge before the sign-in). Unknown users are. A tenant
// without a register of role keys has statistics only: nothing raw of it is written, and a metric counts what was left out.
//
// # Writing
//
//	Keyring  (process)  live data keys, bounded, least recently used out first; a key is durable once its row was acknowledged
//	Writer   (process)  says who may be sealed: registers, lookup key, keyring
//	Collector (batch)   Add events -> Blocks: key rows first, then capsules with the watermark of the batch -> Inserted
//
// A batch that uses a key which is not yet durable writes its row, whoever drew it: rows may repeat, and an orphan key opens
// nothing. So no capsule can be in without its key. Capsules carry the watermark of their batch in the same block, like
// statistics: each event is in once, under every fault that package ingest answers.
//
// # Reading
//
//	Store.Keys, Store.UnitKeys, Store.HeldKeys -> shares are opened elsewhere, by those who hold them -> Permit -> Store.Read
//
// A [Permit] is opened data keys and the scope of one decision. The zero Permit opens nothing. What is outside of kinds, days,
// persons and keys is refused before it is decrypted; what is outside of the categories, which stand inside, right after.
// Both are counted and never shown. Queries are fixed templates with bound parameters, and the parameters come from the
// permit. Events come in the order of their time. A capsule that is there twice is shown once; one that does not open is
// reported by its key id, and the rest is shown.
//
// # Threats
//
// Whoever has the database with all its backups, and every key file of ingest and gate, has no plaintext: the shares of
// three roles are missing. He can see, in clear, how many events of how many pseudonyms there are by tenant, unit, day,
// kind and time, and which capsules of one day are of one pseudonym. Without the lookup key a tag says nothing and links no two days. With
// it (it is in the memory and the key file of ingest and gate), whether a guessed person has rows on a day can be seen.
//
// Whoever may write to the database can destroy, and can leave out: a row that was deleted is not missed here, which is what
// counts beside the statistics and the ledger are for. He cannot change, move, swap or add an event: what he moves does not
// open, what he repeats is shown once, what he makes up does not open. A row of his that stands in a true one's place by its
// nonce hides nothing, because only what has opened counts as seen.
//
// Whoever is root on a live ingester sees the events that pass, as Kafka shows them anyway, and the data keys of that day's run.
//
// What a capsule weighs says how much somebody did, also to whoever cannot open it: sizes are not hidden.
package vault
