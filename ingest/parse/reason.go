package parse

// Reason is why a line was rejected: one of the constants below, and no other.
type Reason string

// The reasons. Each is fit for a metric label: the set is closed.
const (
	// ForeignLine: not a line of this format at all, its first field is something else (a cache.log line, for instance).
	ForeignLine Reason = "foreign_line"
	// Truncated: the line begins well and ends before its last needed field.
	Truncated Reason = "truncated"
	// BadLayout: a field is not where the format has it.
	BadLayout Reason = "bad_layout"
	// BadTime: a time that does not exist, or one before 1970 or beyond the year 9999.
	BadTime Reason = "bad_time"
	// BadNumber: not a number, a negative size, or one that no counter holds.
	BadNumber Reason = "bad_number"
	// BadAddress: neither an IP address nor a host name.
	BadAddress Reason = "bad_address"
	// BadURL: a request target whose authority can't be read.
	BadURL Reason = "bad_url"
	// NoRequest: the client sent no request (Squid's error:transaction-end-before-headers and its like).
	NoRequest Reason = "no_request"
	// NoDestination: a request that names no host, from a proxy that spoke to no server.
	NoDestination Reason = "no_destination"
	// ContradictoryHeader: a header line (#Fields) that contradicts the configured columns, or the rows that follow it. It is
	// not obeyed.
	ContradictoryHeader Reason = "contradictory_header"
	// TooLong: more bytes than any real line has (MaxLine).
	TooLong Reason = "too_long"
	// NULByte: a zero byte in the line: a log torn by a crash, or UTF-16.
	NULByte Reason = "nul_byte"
)

// Reasons answers all of them, for tables and tests.
func Reasons() []Reason {
	return []Reason{
		ForeignLine, Truncated, BadLayout, BadTime, BadNumber, BadAddress, BadURL, NoRequest, NoDestination,
		ContradictoryHeader, TooLong, NULByte,
	}
}
