// Package seal holds keys and ciphers, and nothing else: it reads no file, knows no database and asks no clock.
//
// # Statistics tokens
//
// Statistics count distinct people without knowing them. What is counted is a token:
//
//	S     = HMAC-SHA-256(K_subject, tenant | 0 | subject) cut to 16 bytes
//	C     = SHA-256(cell) cut to 16 bytes
//	people token      = first 8 bytes of AES-128(K_people, S xor C)
//	active-slot token = first 8 bytes of AES-128(K_slots, AES-128(K_slots, S xor C) xor W)
//	M     = HMAC-SHA-256(K_message, tenant | 0 | message id) cut to 16 bytes
//	message token     = first 8 bytes of AES-128(K_messages, M xor C)
//	W     = SHA-256(site) cut to 12 bytes, followed by the number of the five-minute window as 4 bytes, big endian
//
// K_subject, K_people, K_slots, K_message and K_messages are derived by HKDF-SHA-256 (RFC 5869, expand only) from the key of the month, with the
// labels of this package as info. S is unknown without K_subject, so S xor C collides only as often as 128-bit blocks do
// by chance; the slot token is CBC-MAC over messages of exactly two blocks, which is a pseudo-random function.
//
// What this promises: a token says nothing about a person without the key; the tokens of two cells (a unit and a category, a
// unit and a domain) or of two months have nothing in common for whoever has the database alone. What it does not promise:
// within one cell and month a person keeps one token, which is what makes counting over days exact, so what stands beside the
// tokens can be matched across cells: the size of a mail, the hours and days on which a token appears. And whoever has the key
// of a month and a list of staff can compute that month's tokens. So the key lives with the ingester only.
//
// # The ratchet
//
//	K(month+1) = HKDF-Expand(SHA-256, K(month), "tillsyn v1 statistics ratchet", 32)
//
// The check value of a month, HKDF-Expand(K(month), "tillsyn v1 statistics check", 16), says that two machines have one key.
//
// Only forward: [StatisticsKey.Forget] drops the months before a given one, and nothing can bring them back.
//
// # Writing it down
//
// Integers are big endian. framed(a, b, ...) is each part with its length in front as 4 bytes. A day is the number of days since
// 1970-01-01, UTC, as 4 bytes. HKDF is HKDF-SHA-256 (RFC 5869), HPKE is RFC 9180 in base mode, single shot, empty associated data,
// KDF HKDF-SHA256, AEAD AES-256-GCM; a sealed text is the encapsulated key followed by the ciphertext. Its KEM is the suite of the
// key: x25519 is DHKEM(X25519, HKDF-SHA256), mlkem768-x25519 is MLKEM768-X25519 (X-Wing). Keys of both kinds may stand side by
// side in one register. Random numbers are those of crypto/rand. The labels below begin, in the code, with "tillsyn v1 ".
//
// # Lookup tags
//
// A person's capsules of one day are found by a tag:
//
//	K(day+1) = HKDF-Expand(K(day), "lookup ratchet", 32)
//	tag      = HMAC-SHA-256(HKDF-Expand(K(day), "lookup tag", 32), tenant | 0 | subject) cut to 16 bytes
//	check    = HKDF-Expand(K(day), "lookup check", 16)
//
// Without K(day) a tag names nobody, and the tags of two days, tenants or subjects have nothing in common. Whoever has K(day) and a
// list of staff can compute the tags of that day and all later ones, of no earlier one: whoever holds a copy must move it on
// ([LookupKey.Forget]). Ingest and every purge do that with the copy on their machine; one on a machine with neither stays as it
// is. It is held by ingest and by the gate, in one file with the key of origin, which makes no tags and is not moved on: it marks
// data keys as ours.
//
// # Data keys
//
// A data key seals what one ingester run saw of one person, of one kind (web or mail), in one unit, on one day. It is never stored.
//
//	share(role)  32 random bytes, for manager, hr, security and gate
//	data key   = HKDF(secret: the four shares in that order, salt: key id, info: "data key", 32)
//	info(role) = framed("share", role, deployment, tenant, population, unit, kind, subject, day, tag, key id); for the gate the
//	             subject is empty
//	stored     = HPKE(role's public key, info(role), share(role)) for each role
//	origin     = HMAC-SHA-256(key of origin, framed("origin", info(manager), share(gate))) cut to 16 bytes
//	the gate's = HPKE(gate's public key, info(gate), share(gate) | origin | length of subject, 4 bytes | subject | zeros to 28+n*64 bytes)
//
// The mark of origin says that one of our ingesters drew the key: whoever can write to the database alone can't plant one.
//
// Three things follow. An approver's client takes the subject from the decision that it shows, so nobody can hand it another
// person's share: it would not open. The gate can learn from its own share whose key it is, which is how "identify" learns names;
// it learns nothing else. And a key of 16 random bytes as id, in every info, ties the four shares to each other.
//
// [Sealer] holds public keys: it makes data keys and opens none. A [SealingKey] seals only. A [PrivateKey] opens shares only; an
// [OpeningKey] is made of four shares and of nothing less.
//
// # Capsules
//
//	bound   = framed("capsule", tenant, unit, kind) | day | tag | key id | first, last, count, 4 bytes each
//	capsule = nonce of 12 random bytes | AES-256-GCM(data key, nonce, plaintext, associated data: bound)
//
// What stands beside a capsule in clear is bound into it: moved to another row, day, person, unit or tenant it does not open. At most
// 2^32 capsules are sealed under one key (NIST SP 800-38D, 8.3): one person's day has a few hundred.
//
// # Handing over, and challenges
//
//	handover  = HPKE(gate's public key, framed("handover", digest of the decision, role), key id | share | key id | share ...)
//	challenge = HPKE(role's public key, framed("challenge", context ...), 32 random bytes); the answer is those bytes
//
// A handover opens for its decision and role only: after any edit of the decision it is useless, and so is that of another. It is
// not signed here: the approver's act, which is, holds its digest. The labels keep the three uses of a role's key apart:
// whoever makes a holder answer challenges learns no share.
//
// # Documents
//
// The one text of a document is its JSON: fields in the order of the type, two spaces of indent, a newline at the end, no
// HTML escapes, at most 512 KiB of UTF-8 in normal form C. In strings a quote, a backslash and a newline are escaped, and nothing
// else; no control or format character, no space but U+0020, nothing that can't be seen, no private or noncharacter. What does
// not come out of writing byte for byte as it went into reading is refused: unknown or doubled fields, other order, other spaces.
// A digest is "sha256:" and SHA-256 of that text in lower-case hexadecimal. The first field, "type", keeps kinds of documents apart
// under one signing key: whoever opens a document must check it.
//
// A signed document is a C2SP signed note (https://c2sp.org/signed-note) of that text with Ed25519 signatures. [Open] refuses a note
// with an unknown, wrong, doubled or oddly encoded signature beside good ones: nothing stands in it that was not checked.
//
// # The register
//
// Who holds the roles of a tenant, and who may ask and look without holding any, is a chain of documents "tillsyn register v1",
// numbered from 1, each naming the digest of the one before. Its fields are those of [RegisterText]: holders have a role, members
// (requesters, investigators, registrars) have none and open nothing; both are lists in order of ids, and neither is ever absent.
// [ParseRegister] says what may follow what; see there. Its rules, and what each is against:
//
//   - Number 1 is signed by one of each of its own three roles; number n+1 by one of each of the three roles of number n, and of every
//     population whose seats, holders or members change: an administrator who edits it makes himself nothing. A member with a
//     population serves that one, a member without one all. Members sign nothing of a register.
//   - Signatures are counted by key, not by name: a new key under an old name signs for nobody yet.
//   - One id, signing key and age recipient each stand in it once, over holders and members together: one person holds one role, and
//     who holds one is no member beside it.
//   - Two holders a role at least; four different keys; keys from which nobody can exclude himself (points of small order, other
//     encodings of a key) are refused.
//   - A key that was replaced never returns. The gate's key changes by this way only.
//   - Who held another role before is refused until both roles' keys have been replaced, and is given no key of the time before
//     ([Register.Openers]): otherwise one person could open two of the four shares.
//
// A chain does not say that it is whole: it may be cut short, and two number 2s can both be signed. Both are seen by comparing with
// the audit log, where every register stands.
//
// # Who learns what
//
//   - The writer (an ingester): what it reads from Kafka while it runs, and the live data keys in its memory. Of what was written before
//     it started, nothing: not even its own capsules. With the lookup key, whether a person it names has a capsule on a day.
//   - The database administrator, with ClickHouse, all backups and the register: tenant, unit, population, kind, day, first and last
//     time, number of events and size of each capsule; not whose it is; that rows of one day and tag are one person's. Of two days
//     nothing ties one person's rows together but such traces. Names are of one length up to 28 bytes.
//   - Ingest's and the gate's keys on top of that: whose capsules they are (the gate's share names the subject), not what is in them.
//   - One role, or two, with the database and the gate's key: the shares of those roles, for subjects that they name rightly. No bit
//     of a data key, and no bit of a capsule: the missing share is 256 random bits.
//   - Three roles without the gate: their shares, for subjects that they can name; no data key.
//   - Three roles and the gate together, outside any decision: everything of the subjects that they name. That is the definition of the
//     gate; it takes four keys in the hands of at least three people and the service, and leaves the service's record silent. It is
//     why the roles are different people.
//   - Root on the gate, while a decision is active: what that decision opens, and no more; it could keep it. At other times: that a
//     person has capsules on a day.
//   - Root on a live ingester: the lines as Kafka shows them. No cipher helps against that.
//   - Whoever takes the ciphertexts now and has a quantum computer later: all shares of suite x25519, none of mlkem768-x25519.
//
// # Stated limits
//
//   - No program can tell that two people are one: a holder who is enrolled as a member too, under another id and with another signing
//     key and age identity, could ask or look, and approve. Whoever signs a register vouches that each of its people is somebody
//     else; the protocol of the ceremony names everybody who was enrolled, with the fingerprint of the key, and so do the screen of an
//     approver and the decision's document.
//   - HPKE's base mode does not say who sealed, so a data key carries the mark of origin: the gate refuses one that was drawn by
//     somebody without the key file of ingest, and without the data key nobody makes capsules that open under it. Who has that file,
//     or is root on ingest or gate, can still make up events: he could as well make up lines in Kafka.
//   - AES-GCM does not commit to its key: an approver who gives a false share and a database administrator who makes the capsule to
//     fit could together have something else appear. Two people, one of them an approver.
//   - A holder who has left may remember a private key: rotate, and what is sealed from then on is closed to him. A removed person's
//     earlier copy of old rows stays readable with the other roles' help.
//   - All holders of one role gone, with their paper: nobody reads what was sealed, until it is purged.
//   - Package fmt prints a value in an unexported field without asking it: a struct that keeps a [Tag] or a [Share] in one must redact
//     itself. Memory is not wiped reliably by any Go program; core files are forbidden by the main package.
//
// # Test vectors
//
// testdata/statistics.json has the tokens, testdata/vectors.json everything else, for other implementations. Bytes are hexadecimal, keys
// and documents are texts as they stand in files. Fields:
//
//	lookup      file (of the key), day, check, tenant, subject -> tag
//	shares      private (file), public, role and the binding -> info; sealed -> share (and, for the gate, subject)
//	capsules    shares, key -> data_key; the label -> bound; capsule -> plain
//	handovers   private (the gate's), decision, role, sealed -> shares by key id
//	challenges  private, context, sealed -> answer, digest
//	documents   text of the document {"type": text, "list": [text]} -> digest; an empty one: it is refused
//	notes       note, verifiers -> by, the names of who signed; none: it is refused
//	registers   notes -> digests of those that are accepted, up to the first that is refused
//
// The zero value of every type here refuses to work. Types that hold keys or identities print as redacted.
package seal
