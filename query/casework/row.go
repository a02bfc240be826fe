package casework

import (
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"tillsyn/internal/vault"
)

// A Field is one field of a row: its name by the Elastic Common Schema, and a string, an int64, a float64 or a []string.
type Field struct {
	Name  string
	Value any
}

// A Row is one event as it may be shown, in the order and with the names of 'tillsyn parse'. Absent fields are left out. Beside
// those names there are tillsyn.forwarder (whose rule sent a mail on), tillsyn.category, tillsyn.class and tillsyn.explained. A mail
// that a rule sent on has the event.action "forwarded".
type Row []Field

// newRow takes the fields of e one by one: an event itself prints as redacted.
func newRow(e *vault.Event, why string) Row {
	row := make(Row, 0, 24)
	text := func(name string, v []byte) {
		if v != nil {
			row = append(row, Field{name, textOf(v)})
		}
	}
	number := func(name string, v int64) {
		if v >= 0 {
			row = append(row, Field{name, v})
		}
	}
	row = append(row, Field{"@timestamp", time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z")})
	if e.Count > 1 {
		number("event.count", int64(e.Count))
	}
	if e.SourceIP.IsValid() {
		row = append(row, Field{"source.ip", e.SourceIP.String()})
	}
	number("source.port", int64(e.SourcePort))
	text("user.name", e.User)
	text("http.request.method", e.Method)
	text("url.scheme", e.Scheme)
	text("url.domain", e.Domain)
	number("url.port", int64(e.Port))
	text("url.path", e.Path)
	text("url.query", e.Query)
	text("http.request.referrer", e.Referrer)
	text("user_agent.original", e.UserAgent)
	number("http.response.status_code", int64(e.Status))
	switch e.Action {
	case 1:
		row = append(row, Field{"event.action", "allowed"})
	case 2:
		row = append(row, Field{"event.action", "blocked"})
	default:
		if e.Forwarded {
			row = append(row, Field{"event.action", "forwarded"})
		}
	}
	text("event.code", e.Code)
	text("event.outcome", e.Outcome)
	text("postfix.queue_id", e.QueueID)
	text("email.message_id", e.MessageID)
	text("email.from.address", e.From)
	if len(e.To) > 0 {
		to := make([]string, len(e.To))
		for i, address := range e.To {
			to[i] = textOf(address)
		}
		row = append(row, Field{"email.to.address", to})
	}
	text("email.subject", e.Subject)
	text("email.direction", e.Direction)
	if e.DestinationIP.IsValid() {
		row = append(row, Field{"destination.ip", e.DestinationIP.String()})
	}
	number("destination.bytes", e.DestinationBytes)
	number("source.bytes", e.SourceBytes)
	if e.Duration >= 0 {
		row = append(row, Field{"event.duration", math.Round(float64(e.Duration)/1e3) / 1e3})
	}
	text("http.response.mime_type", e.MIME)
	text("tillsyn.forwarder", e.Forwarder)
	text("tillsyn.category", e.Category)
	text("tillsyn.class", e.Class)
	if why != "" {
		row = append(row, Field{"tillsyn.explained", why})
	}
	return row
}

// Get answers a field, or nil.
func (r Row) Get(name string) any {
	for _, f := range r {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Names are the names that rows can have, in order.
func Names() []string {
	return []string{"@timestamp", "event.count", "source.ip", "source.port", "user.name", "http.request.method", "url.scheme", "url.domain", "url.port",
		"url.path", "url.query", "http.request.referrer", "user_agent.original", "http.response.status_code", "event.action", "event.code", "event.outcome",
		"postfix.queue_id", "email.message_id", "email.from.address", "email.to.address", "email.subject", "email.direction", "destination.ip",
		"destination.bytes", "source.bytes", "event.duration", "http.response.mime_type", "tillsyn.forwarder", "tillsyn.category", "tillsyn.class",
		"tillsyn.explained"}
}

// textOf is the text of a log's bytes: what is no UTF-8 is read as Latin-1.
func textOf(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// AppendJSON appends r as a JSON object on one line. Everything that could steer a terminal is escaped.
func (r Row) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, f := range r {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, f.Name), ':')
		switch v := f.Value.(type) {
		case string:
			dst = appendText(dst, v)
		case int64:
			dst = strconv.AppendInt(dst, v, 10)
		case float64:
			dst = strconv.AppendFloat(dst, v, 'f', -1, 64)
		case []string:
			dst = append(dst, '[')
			for j, text := range v {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = appendText(dst, text)
			}
			dst = append(dst, ']')
		}
	}
	return append(dst, '}')
}

func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == ' ' || r != utf8.RuneError && unicode.IsGraphic(r) && !unicode.IsSpace(r):
			dst = utf8.AppendRune(dst, r)
		case r < 0x10000:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default: // format characters beyond the basic plane: as a surrogate pair
			r -= 0x10000
			for _, half := range []rune{0xd800 + r>>10, 0xdc00 + r&0x3ff} {
				dst = append(dst, '\\', 'u', hex[half>>12&15], hex[half>>8&15], hex[half>>4&15], hex[half&15])
			}
		}
	}
	return append(dst, '"')
}
