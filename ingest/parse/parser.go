package parse

// Parser reads the records of one source. It is not safe for concurrent use: give each worker its own.
type Parser interface {
	// Parse reads one record (a Kafka message, or a line of a file without its line end) and calls event for each event
	// and reject for each line in it that is neither an event nor one of the format's own headers or comments. The Event is
	// valid during the call only. Parse itself never fails: what it can't read is a Reject.
	Parse(record []byte, event func(*Event), reject func(Reject))
}

// Reject says why a line was not read. It never quotes the line.
type Reject struct {
	Reason Reason // one of the reasons of this package: a bounded set, fit for a metric label and a table key
	Field  string // the name of the offending field, "" when it is the whole line
	Line   int    // number of the line within the record, from 1
}
