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
// they cannot read. A person's key rows are in before the first capsule that needs them. Each says, in clear, which register of
// holders its shares were sealed under: a role's key may be destroyed only when no row, live or held, was sealed to it, whatever an
// ingester had heard of. Who can write to the database can make that number wrong, as he can delete the row.
//
// Guests are not in the vault, nor are lines of nobody (a proxy's challenge before the sign-in). Unknown users are. A tenant
// without a register of role keys has statistics only: nothing raw of it is written, and a metric counts what was left out. An
// ingester seals under the registers of its own deployment only, and goes on from the newest that it has ever seen of a tenant
// ([RegisterPin]): another chain, or one cut short, is refused. That the first one is the right one, its fingerprint says, in its
// log and in the protocol of the ceremony.
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
// # Holding
//
//	HoldRegister.Place, Release, List
//
// A hold rests on a decision or a request for public records, which whoever calls Place has somebody authorise. What it keeps
// (persons, units or everybody, by kind and day) is copied at once, as sealed as it is, and again before each purge. The record
// says which holds are in force and has a salted digest of each scope; the scopes, which are pseudonyms, stand in the table
// holds. Where the two disagree, or a copy is not its original byte for byte, nothing is purged. Holds add up, and each ends by
// the document that it rests on, never by a case's number; whoever calls Release says that this may be. A release counts only if
// the record has, before it, that the decision was closed, revoked or denied, or the request closed, or for days not confirmed:
// nobody ends a hold by writing that it is released ([GroundlessReleases]). The copies go with the next purge, and once a day's
// originals are gone the keys among the copies are the only ones left.
//
// A hold promises nothing that it can't keep: days that a certificate names, or whose keys a purge has begun to remove, are taken out
// of its scope and counted (Hold.Gone); if nothing else is left, it is refused with ErrGone. So nobody has a backup that was put back
// served by a hold. Placing that is killed before the record has the hold leaves a scope that holds nothing, and goes after a day.
//
// # Purging
//
//	Plan (pure) -> Purger.Run: lock, clocks, what was begun -> intent on record -> copy what is held, until the record has no new
//	hold -> drop keys, then capsules -> verify -> certificate on record
//
// A day goes as soon as the UTC day is 90 (or as many as configured) days later; with one purge each UTC day nothing lives for 91
// days. Nothing goes without a retention decision of every tenant whose rows it holds, or by a clock that is off by more than an
// hour from the database's, from its own running time, or before anything on record.
//
// Only DROP PARTITION removes: mutations would leave their literals on disk, TTL and DROP TABLE the bytes. What is verified:
// no part, active or not, on any server; no detached part; no frozen, temporary or detached copy in the data directories; none of
// the pieces of ciphertext, which were put on record before, in any file there; and that Kafka lets go of records in time. Backups
// can't be looked at: the keys are to be kept out of them, and the certificate says what the configuration says. Unless that is
// that the keys are in no backup, it does not speak of a cryptographic erase.
//
// The data directories count as examined if every table's directory is there, none is on a remote or an encrypted disk, no link
// leads out of them, a marker that the server was just told to store stands in them, and the pieces of ciphertext stood there
// before they were removed. They are those of the first server; the certificate names the others as not examined: the detached
// parts of these are known by their tables, what was frozen there is not.
//
// Nothing is removed while the record has an approved decision, or a request for public records, without a hold: a gate places
// them before (Purger.Needless are those that it judged to need none), and where there is no gate the record alone must show
// them all. It is looked at again between the last copy and the first drop.
//
// A certificate is checked offline by VerifyCertificate: its signature, that the record has it, and that it answers the intent.
//
// An intent stays open until a certificate answers it: a purge may be killed anywhere, and the next one ends it. What can't be
// verified is removed all the same, certified by nobody, and looked at again by the next run. A day that was certified and has
// rows again is removed once more, reported as put back, and certified in the run after; its keys are never served, but those
// that are held.
//
// Limits: the lock and the record are on one machine (or one shared directory). A clock that jumps forward together with the
// embedded database's is only seen by the process that was running when it did. Statistics of a day outlive it. Several servers
// must be replicas; shards are purged one by one, each with its own configuration.
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
// open, what he repeats is shown once, and keys that he draws himself (the roles' public keys are no secret) lack the mark of
// origin, so the gate refuses them. Whoever has the lookup key's file as well, which holds the key of that mark, can make up
// events that nobody can tell from true ones: he is as good as an ingester. A row of his that stands in a true one's place by its
// nonce hides nothing, because only what has opened counts as seen.
//
// Whoever is root on a live ingester sees the events that pass, as Kafka shows them anyway, and the data keys of that day's run.
//
// What a capsule weighs says how much somebody did, also to whoever cannot open it: sizes are not hidden.
package vault
