// Package parse reads the log lines of proxies and mail servers: bytes in, Events out.
//
// It promises:
//   - every line is answered for: it is an Event, a Reject with one of this package's Reasons, or nothing at all because it
//     is empty, one of the format's own comments and headers, or a line of another log of the same device (a firewall's
//     traffic log among its web log). A header that the rows prove wrong is a Reject beside the row's Event;
//   - a Reject carries a reason, the name of a field and a line number, never a byte of the line;
//   - no input makes it panic, and no line makes it hold more memory than that line's size;
//   - nothing is allocated per line on the hot formats, all of Squid's among them;
//   - no text of a record is kept after it, but what Postfix's messages still need (postfix_join.go): bounded, counted, and
//     cleared when they end.
//
// It refuses to guess what a line can't say. A logformat whose time has no zone needs Options.Zone, a layout of one's own
// needs to be told; New says so at once instead of reading wrongly all day. The devices whose lines may or may not name a
// zone are read as UTC where neither the line nor Options.Zone names one. It does not judge either: a year 1970 is a time like any
// other, and whether it is plausible is for the caller.
//
// A file becomes records in records.go; a log whose format nobody knows is told by detect.go, and one that has stopped to be
// what it was by drift.go.
//
// The steps from a record to events, each in its own file: UTF-16 becomes UTF-8 (utf16.go), a byte order mark goes, the record
// is cut into lines (lines.go) or JSON documents (json.go), what a shipper has put around it is opened (envelope.go), a syslog
// header is taken off (syslog.go), and the format reads the line (one file each: squid_native.go and so on) with
// the shared readers of numbers and addresses (scan.go), times (clock.go, stamp.go), request targets (url.go), key=value
// pairs (kv.go) and delimited fields (csv.go).
package parse
