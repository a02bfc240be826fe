package parse

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// dumpMail writes what only mail has; text writes one field.
func dumpMail(b *strings.Builder, e *Event, text func(name string, v []byte)) {
	text("event.outcome", e.Outcome)
	text("postfix.queue_id", e.QueueID)
	text("email.message_id", e.MessageID)
	text("network_message_id", e.NetworkID)
	text("email.from.address", e.From)
	for _, to := range e.To {
		text("email.to.address", to)
	}
	text("email.subject", e.Subject)
	text("email.direction", e.Direction)
	counts := fmt.Sprintf("  count: %d", e.Count)
	if e.Trace {
		counts += ", a trace"
	}
	if e.Forwarded {
		counts += ", forwarded"
	}
	b.WriteString(counts + "\n")
}

// mailExpected answers a mail event by the keys of the public samples, and the expectation in our words: the samples have the
// source's own word for the direction, which email.direction translates. What is null there is not compared.
func mailExpected(e *Event, want map[string]any) (got, translated map[string]any) {
	text := func(b []byte) any {
		if b == nil {
			return nil
		}
		return string(b)
	}
	translated = maps.Clone(want)
	if list, ok := want["recipients"].([]any); ok {
		translated["recipients"] = fmt.Sprint(list)
	}
	if said, ok := want["direction"].(string); ok {
		m, _ := newMailReader(Options{})
		translated["direction"] = string(m.translate([]byte(said)))
	}
	return map[string]any{
		"message_id": text(e.MessageID), "sender": text(e.From), "recipients": fmt.Sprintf("%s", e.To), "subject": text(e.Subject),
		"bytes": float64(e.SourceBytes), "direction": text(e.Direction), "status": text(e.Code), "queue_id": text(e.QueueID),
	}, translated
}

func TestDirection(t *testing.T) {
	m, err := newMailReader(Options{InternalDomains: []string{"Example.SE", "@skola.test"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, said, want string }{
		{"a@example.se", "b@example.se", "", "internal"},
		{"a@EXAMPLE.se", "b@Mail.Example.SE", "Originating", "internal"},
		{"a@example.se", "b@elsewhere.test", "", "outbound"},
		{"a@example.se", "b@example.se;c@elsewhere.test", "", "outbound"},
		{"a@elsewhere.test", "b@skola.test", "", "inbound"},
		{"a@elsewhere.test", "b@skola.test;c@elsewhere.test", "Originating", "inbound"},
		{"a@elsewhere.test", "c@elsewhere.test", "", ""},
		{"a@elsewhere.test", "c@elsewhere.test", "Incoming", "inbound"},
		{"a@notexample.se", "b@example.se.", "", "inbound"},
		{"EX:/O=COUNCIL/CN=A", "b@example.se", "", "internal"},
		{"", "b@example.se", "", ""},
		{"", "b@elsewhere.test", "", "outbound"},
		{"a@example.se", "", "Originating", "outbound"},
		{"a@example.se", "", "2", "outbound"},
		{"a@example.se", "", "Undefined", ""},
		{"a", "b", "1", "inbound"},
		{"@", "@", "", ""},
	} {
		var e Event
		e.Reset()
		e.From = []byte(c.from)
		recipients([]byte(c.to), ';', &e)
		if m.direct(&e, []byte(c.said)); string(e.Direction) != c.want {
			t.Errorf("%+v: %q", c, e.Direction)
		}
	}
	for _, bad := range []string{"", "@", "a b", "x@y", "*.example.se", strings.Repeat("a", 300)} {
		if _, err := newMailReader(Options{InternalDomains: []string{bad}}); err == nil {
			t.Errorf("%q is taken as a domain", bad)
		} else if bad != "" && len(bad) > 2 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error quotes %q", bad)
		}
	}
}
