// Package engine runs the embedded ClickHouse: the whole server, as a child process, for installations without one of
// their own, for the demo and for tests.
//
// # What it promises
//
// [Start] answers when a ClickHouse 26.7 serves its native protocol and HTTP on free ports of the loopback address; the
// rest of tillsyn reaches it as it reaches any server, with clickhouse-go over TCP. The server runs in a process of its
// own, which is this program once more under a hidden command ([ChildCommand], [RunChild]): its signal handlers, its
// memory and its crashes stay there. Measured on two cores of a Xeon, ext4: 0.12 to 0.15 s from Start to the first answer,
// 0.02 s for [Engine.Stop]; 218 MiB resident at rest (171 of them the library's own pages), 380 MiB at most while 10
// million rows are inserted by 500 000 and merged.
//
//   - A parent that is gone, killed with -9 too, leaves no engine: the end of a pipe and the kernel's parent-death signal
//     kill it. The next Start on the directory waits for the end of the dead one ([Config.BusyWait]).
//   - No acknowledged row is lost by a kill -9 of the engine or of its parent, and an insert of one part is there whole or
//     not at all, at every point (fsync_after_insert and fsync_part_directory are on for all tables; all paths absolute).
//   - One engine per directory: a second Start, from any process, is an error that is [ErrBusy] and disturbs nothing.
//   - Nobody reads more than he was granted. [Owner] makes and alters tables; the others are in [Config.Users]. Every user
//     has a random password for the directory, in passwords.json (mode 0600); the engine's own files hold its hash only.
//   - No query reaches files or the network: no user has the grant of a source, [Config.Validate] refuses one, and
//     dictionaries can't be made. The function file(), which asks for no grant in this engine, is disabled by taking the
//     process's working directory away before it listens (see gate in child.go).
//   - No statement is written down: no log, no query log, no crash report, no core file. Its literals may be personal.
//   - The server takes at most [Config.MemoryLimit]; a query beyond that fails and the server stays.
//
// # What it refuses
//
//   - Listening anywhere but on 127.0.0.1, replication, users and grants by SQL (this engine knows users only from its
//     configuration, so a change of grants is a restart), and the interserver protocol. A cluster is a real ClickHouse.
//   - The user default, which the engine's local session needs without a password: its quota is used up by that session,
//     so nobody else can run a statement with it.
//   - "DROP TABLE ... SYNC": it hangs in this engine. Don't send it.
//
// # The library
//
// libchdb.so comes with the npm package @chdb/lib-linux-x64-gnu (Apache-2.0, 540 MiB), which 'make setup' installs by
// package-lock.json with its integrity hash. The packages that its makers name for linux arm64 and macOS are not in the
// registry (November 2026): there, and on musl, Start fails with [ErrNoLibrary] unless [Config.Library] or
// TILLSYN_CHDB_LIBRARY names a libchdb 26.7 built for the machine; or use a ClickHouse server. It is looked for in that
// order, then in the nearest node_modules above the executable; never above the working directory, which may be anybody's.
//
// # The data directory
//
//	lock            locked by the engine's process for as long as it lives
//	engine.json     where it listens and its process id, while it runs: Find reads it
//	passwords.json  the users' passwords, mode 0600
//	config/         written anew by every start
//	clickhouse/     the tables
//
// # Steps of a start
//
// Find the library, take the lock, read or make the passwords, choose ports, write the configuration, start the child
// with the lock and the reading end of the lifeline, hand it its orders over the lifeline, ask SELECT 1 as the owner until
// it is answered. Each fault says which step it was; what the engine said itself is quoted.
//
// # In tests
//
// Package enginetest starts a private engine in a temporary directory, and kills one before a chosen change of a file.
package engine
