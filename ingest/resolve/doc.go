// Package resolve answers who a log line is about, as a group, and where it went: tenant, population and unit of the
// data subject, and the country of the destination.
//
// It promises:
//   - every line gets an answer: who is not in the directory is unit "unknown" of population "unknown" in the tenant of
//     the source, and is never dropped;
//   - a person of one tenant is never counted in another: a source sees the rows of its own tenant, rows without a
//     tenant, and those of tenants that the configuration says it serves. What is ambiguous there stays unknown;
//   - who is in the directory is one subject, the name in its row, however lines spell it (anna, KOM\anna, anna@kom.se): people
//     are never counted more than once for their spellings. Who is not is known by the canonical name of the line. So a row
//     that comes, goes or is renamed can give a person a second subject in the month it happens in, and nothing else can;
//   - a Subject prints as "[redacted]", whatever prints it; its bytes come out in one place, AppendPersonalData;
//   - a changed file is swapped in whole, or not at all: a broken new one leaves the old one in use and raises an error
//     and a metric.
//
// It refuses a directory with an unknown or repeated column, a repeated key, a value outside its set, or text that is
// not UTF-8; its errors name the line, never what stands there. It refuses a country database that is
// damaged or holds no country.
//
// Its steps: canonical user name, else source address -> row of the directory by user, else by the most specific
// subnet -> Who. Memo keeps the answers of one worker and forgets them when a file was swapped.
package resolve
