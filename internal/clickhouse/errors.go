package clickhouse

import (
	"errors"
	"fmt"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

var (
	// ErrNotInserted means that nothing of the insert was written: it may be sent again as it is.
	ErrNotInserted = errors.New("nothing was inserted")
	// ErrUnknownOutcome means that the insert may have been written or not, or may still be written by the server: end it
	// with Kill, then ask the watermark.
	ErrUnknownOutcome = errors.New("nobody knows whether the insert was written")
)

// Codes of ClickHouse that tillsyn reacts to (src/Common/ErrorCodes.cpp).
const (
	codeUnknownIdentifier  = 47
	codeTableExists        = 57
	codeUnknownTable       = 60
	codeSyntax             = 62
	codeUnknownDatabase    = 81
	codeUnknownSetting     = 115
	codeTimeout            = 159
	codeReadonly           = 164
	codeAborted            = 236
	codeMemoryLimit        = 241
	codeTooManyParts       = 252
	codeTooManyRows        = 396
	codeQueryWasCancelled  = 394
	codeSettingConstraint  = 452
	codeBadParameter       = 457
	codeAccessDenied       = 497
	codeAuthentication     = 516
	codeCannotAssignAlter  = 517
	codeMetadataMismatch   = 341
	codeTableIsBeingChange = 473
)

// A ServerError is an answer of ClickHouse. Its text holds the server's message only where that can't quote a value.
type ServerError struct {
	Code int    // ClickHouse's number, for example 241 for MEMORY_LIMIT_EXCEEDED
	text string // what may be shown
}

func (e *ServerError) Error() string { return e.text }

// Code answers ClickHouse's error number in err, or 0 when err is no answer of the server.
func Code(err error) int {
	var s *ServerError
	if errors.As(err, &s) {
		return s.Code
	}
	return 0
}

// explain turns an error of the driver into one that may be shown and logged. With private set, the server's own message
// is kept only for codes whose text is about names and limits: others may quote values ("cannot parse ...").
func explain(err error, private bool) error {
	var x *driver.Exception
	if !errors.As(err, &x) {
		return err
	}
	hint, clean := "", true
	switch int(x.Code) {
	case codeMemoryLimit:
		hint = "it needs more memory than query_memory or the server allows: ask for a shorter period, cut the batch smaller, or raise the limit"
	case codeTimeout:
		hint = "the server stopped it at its time limit"
	case codeQueryWasCancelled:
		hint = "it was killed"
	case codeTooManyRows:
		hint = "the answer would have more rows than allowed"
	case codeAccessDenied:
		hint = "the user lacks a grant: see schemas/grants"
	case codeAuthentication:
		hint = "the server does not know this user and password"
	case codeUnknownDatabase, codeUnknownTable:
		hint = "the schema is not there: run 'tillsyn migrate'"
	case codeTooManyParts:
		hint = "either the rows span more than one table-partition or merges can't keep up"
	case codeReadonly, codeSettingConstraint:
		hint = "the user's profile does not allow the settings that tillsyn sends: see readonly and the constraints in schemas/grants"
	case codeUnknownSetting:
		hint = "the server is older than tillsyn expects"
	case codeBadParameter:
		hint, clean = "a value does not fit its parameter's type", false
	case codeSyntax, codeUnknownIdentifier:
		hint, clean = "the query does not fit this server or schema", false
	default:
		clean = false
	}
	text := fmt.Sprintf("clickhouse answered with error %d", x.Code)
	if hint != "" {
		text += ": " + hint
	}
	if clean || !private {
		text += " (" + oneLine(x.Message) + ")"
	}
	return &ServerError{Code: int(x.Code), text: text}
}

// oneLine keeps a server's message from breaking or flooding a log.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 600 {
		s = strings.ToValidUTF8(s[:600], "") + "..."
	}
	return s
}
