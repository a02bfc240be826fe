// Package aggregate says what a statistic is.
//
// The write side, [Rollup], turns the requests of one batch into rows: for each table and day one block, with the
// watermark of the batch in it; [MailRollup] does the same for mail. The read side, [Web] and [Mail], asks the
// disclosure-safe views of the schema. [Check] sees whether the tables agree with each other and the ledger with itself.
//
// # What is counted
//
//   - requests, blocked requests, bytes to and from the clients: sums.
//   - people: distinct subjects with at least one request in the cell: the contributors to the row's requests, which is
//     what the floor of the views looks at. Blocked requests may come from fewer of them. A subject is a user; where a
//     line names none, the source address stands for one, so addresses of unauthenticated use are counted as people. A
//     challenge for authentication (407) that names no user adds its requests and bytes, and no subject: whoever answers
//     it is counted by name in the next request.
//   - active slots: distinct (person, site, five minutes) of visits. A request to a background destination (CDN,
//     advertisements, trackers, telemetry) is no visit, nor is one that only asked for authentication.
//
// Of mail: distinct messages and their bytes, however many rows and servers tell of them; people of ours who sent or
// received; messages that a rule forwarded to the outside; and messages whose subject line holds a personal identity number
// or something else that is sensitive.
//
// A site is a registrable domain. Days are local days of the tenant, hours are UTC. A cell is one combination of the
// dimensions of a table; people can't be added up over cells, so "all units" and "all categories" are cells of their own.
// Guests are counted as volume only, in the cell of all units and all categories.
//
// # What it refuses
//
// No subject leaves a Rollup but as tokens of package seal, which differ by cell and month. Protected destinations are not
// listed by domain. A report shows no row with fewer people than the floor, and a hidden row looks like no row. The floor holds
// in each month by itself: a month with fewer people adds nothing to a row of several months. What is forwarded, has an
// identity number or is sensitive may come from fewer people than the row's messages, even from one, so a month's count of
// messages below the floor is shown as 0. Two periods that differ by days of one month are not kept apart: their difference
// may be the days of few people.
package aggregate
