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
// The zero value of every type here refuses to work. Types that hold keys or identities print as redacted.
package seal
