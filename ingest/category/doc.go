// Package category says what a web site is: it reads lists of domains, compiles them into one memory-mapped file, and answers
// for a host its category, policy class, list, version and the rule that matched.
//
// Steps: source (file, squidGuard folder, archive, https) -> reader of its format -> copy taken (canonical names, judged fit) ->
// compiled file -> Table -> Lists, which the ingesters ask. A Keeper goes through them at every refresh.
//
// It promises:
//   - A lookup allocates nothing and takes about the time of two or three memory accesses. The file is not parsed at start, may
//     be mapped anywhere, and costs under 13 bytes a domain. Of a name it keeps 48 bits under a secret key of the file beside the
//     place where they stand: a host that is in no list is taken for a listed one with a chance below 1e-9 a lookup (Info says
//     the bound of the file at hand, usually about 1e-12). No two listed names are confused: the compiler checks each.
//   - The longest rule decides, at label borders. At one length: local overrides, then protected categories, then the lists in
//     their order. A protected category covers everything under its domain, unless an override at least as long says otherwise.
//   - A source that breaks (out of reach, empty, mostly junk, suddenly much smaller, not the pinned content) keeps what was taken
//     from it before, and is an error and a metric. Files are replaced in one step; a table is swapped while lookups run.
//
// It refuses: rules for public suffixes (com, co.uk), rules with paths, options or patterns, categories without a class, lists
// with more junk than domains. Each line that gives no rule is counted by reason; none is fatal.
//
// What hosts(5), RPZ and dnsmasq call one exact name is taken as that name and all under it, as the other formats mean it.
package category
