// Package synthetic is a municipality that does not exist: people, units, networks, habits, and the logs that their use of the
// web and of mail leaves behind at proxies and mail servers of every kind, with the exact answer to every question that
// statistics can be asked about it.
//
// Nobody real is in it. People are random pairs of common names; municipalities, units, user names and mail domains (RFC
// 2606) are invented; servers live in networks for benchmarks and documentation (RFC 2544, RFC 3849). The sites are partly
// well known, so that the lists look like lists; what is said about their use is invented too.
//
// It promises:
//   - the same Config gives the same bytes, on every machine;
//   - lines come in the order of their times, which are the ends of requests, as proxies log them;
//   - Truth and MailTruth are computed from the simulated requests and messages and never by reading lines back;
//   - requests are the same bytes whether mail is written or not;
//   - one core writes more than a million lines of squid_native a second, truth included.
//
// It refuses a Config outside its bounds, and it imports nothing of tillsyn's: what it says about a log is its own reading,
// to compare with.
//
// Its steps: settle (units, networks, people) -> decideMinute (visits by rhythm and taste, and the stories' appointments) ->
// visit (one person, one site: pages, what they load, advertising and trackers) -> a wheel of seconds in which requests wait
// for their ends -> Event -> truth, and an encoder for the line.
//
// # What is planted
//
// Units of every size from about a thousand to two; a unit most of which gambles; a news site with dozens of trackers a page;
// a teacher with permission; one of two people in a unit who looks for help; a wrong click. Three styles of user names
// (anna.berg, SUNDHAMRA\anbe01, åsa.öberg@granaker.example), capital letters where none belong, ISO 8859-1 if asked, a
// shared account with a space in its name; user names in no directory, people of whom only an address is known, machines,
// guests, addresses in two units' subnets and in none, IPv6; hosts that are public suffixes, that stand under one
// (co.uk, pp.se, cloudfront.net), that are addresses or bare names; servers in no country; the challenge (407) before a
// sign-in, refusals (403), failed tunnels, aborted requests with status 000.
//
// # Definitions
//
// The truth counts by these rules. Whoever wants to be compared with it must count by them too.
//
//   - requests: lines that are a request, which all good lines are. blocked: those of result TCP_DENIED. bytes_in: the sum of
//     bytes to the client (destination.bytes); bytes_out: from the client (source.bytes), 0 where the format has none.
//   - subject: the user name in lower case (Unicode), with its domain part, as UTF-8; the source address where there is none.
//   - tenant, population, unit: those of the directory's row for the user name, else of the most specific subnet of the
//     source address, else unit "unknown" of population "unknown" in the tenant of the source. Unit "" is all units.
//   - people: distinct subjects with at least one request in the cell over its period that names a user or is no challenge
//     (407): a challenge without a user is of somebody who signs in next. active_slots: distinct (subject, site,
//     five-minute window), the window being floor(Unix seconds / 300), of requests that are visits. A visit is a request
//     to a host whose class is not background and whose status is not 407. Both are 0 for population guest.
//   - site: the registrable domain (public suffix and one label more) of the host; the host itself where it is an address, a
//     public suffix or a bare name.
//   - category: that of the longest suffix of the host, in whole labels, that stands in a list; "uncategorised" without one.
//     Category "" at a category level is everything. class: that of the category, by Classes.
//   - domain: the site; "(protected)" for every site whose category is of class protected. Distinct slots are still distinct
//     by the real site. A cell at the domain level is named by domain and category.
//   - country: that of the destination's address; "ZZ" where there is none, or none is known.
//   - hour: of UTC. day, month: of Europe/Stockholm. A cell's month is the calendar month, so far as the run reaches.
//
// What a format can't say (Format), its readers can't know, and its truth is that of what is left: no server, no country; no
// bytes, 0; no verdict, nothing blocked; no status, a challenge is a visit like any other, and its address a person. Whole seconds change nothing.
//
// # Mail
//
// Messages are between colleagues, to lists, out, in, and both out and in at once. Planted are: a person whose rule sends all
// mail on to a private address; bounces, answers by machines and what spammers make of us (null senders); addresses of ours
// that no directory knows; capital letters in addresses; domains of unions, care and gambling, and hosts below domains; subjects
// with valid personal identity numbers (with serials that nobody has), with near misses (a wrong check digit, no day of the
// calendar, an organisation's number, part of a longer number, a register number, a telephone), with card numbers and near
// misses of these, with sensitive words; commas, semicolons and quotes in subjects, and ISO 8859-1 if asked.
//
// The truth counts mail by these rules:
//
//   - our people: addresses in a mail row of the directory, or in the mail domain of a tenant. Addresses are compared in lower
//     case. Tenant, population and unit are those of the row, else unit "unknown" of population "unknown" in the tenant of the
//     source. A mailing list is one address, of the unit that its row says: whom it expands to is not counted.
//   - direction: outbound is sender ours and recipient not, for the sender; inbound is recipient ours and sender not, for the
//     recipient; internal is both ours, for both. A message with recipients inside and outside counts in two directions. The
//     null sender is not ours. A message between others counts in the totals and nowhere else.
//   - domain: the registrable domain of the other side's address; our own domain for internal; "(none)" for the null sender;
//     "(protected)" where the category is of class protected.
//   - category: that of the longest suffix of the domain of the other side's address, as above; "internal" for internal;
//     "uncategorised" for the null sender. Category "", direction "" and unit "" are all of them.
//   - messages: distinct messages in the cell, by Message-ID, delivered or not. bytes: the sum of their sizes, each once.
//     people: distinct addresses of ours for which they count there.
//   - forwarded: those that a rule sent on to an address outside. That is a message of its own from the owner of the rule, with
//     an ID of its own: outbound, and forwarded where the format tells (Format.Rule).
//   - identity_numbers: those whose subject holds a valid personal identity number: ten or twelve digits, before the last four a
//     hyphen, a plus sign or nothing, no digit beside them; a day of the calendar; the check digit right. sensitive: those
//     whose subject holds such a number, a card number with a right check digit, or one of SensitiveWords.
//   - hour, day, month: those of the message's first row. All rows of a message lie in one hour of UTC (MailLog).
//
// # What is not simulated
//
// Malformed lines in logs of mail; rows that fall into another hour than the message; mail that a rule redirects under the
// sender's own name; records with many events; headers within the logs of proxies; local times without a zone (Format.UTC).
//
// # Another format
//
// A format is an entry in Formats: with an encoder that appends an Event, or with one that makes the rows of a Message.
package synthetic
