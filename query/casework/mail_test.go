package casework

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/vault"
)

// mailOf is a line of a mail server, in the capsule of one of ours.
func mailOf(person, at string, change func(*vault.Event)) planted {
	var e vault.Event
	e.Reset()
	e.Time = get(time.Parse(time.RFC3339, at)).UnixMilli()
	change(&e)
	return planted{person: person + "@norrbo.se", population: "staff", unit: "Hamn", kind: Mail, day: at[:10], event: e}
}

// A mail is many lines in several hands: who sent it on by a rule is shown to who asks about that person and to nobody else, and a
// protected recipient that only one line names hides them all.
func TestLinesOfOneMail(t *testing.T) {
	db := newDatabase(t)
	sentOn := func(e *vault.Event) {
		e.From, e.Forwarder, e.Forwarded, e.Trace = []byte("kund@firma.example"), []byte("Fia.Lund@norrbo.se"), true, true
		e.To, e.Recipients = [][]byte{[]byte("fia.hemma@post.example"), []byte("gun.alm@norrbo.se")}, 2
		e.MessageID, e.NetworkID, e.Subject, e.SourceIP = []byte("9@firma.example"), []byte("n9"), []byte("offert"), netip.MustParseAddr("192.0.2.9")
	}
	line := func(from, network string, to ...string) func(*vault.Event) {
		return func(e *vault.Event) {
			e.From, e.NetworkID, e.Subject, e.SourceIP = []byte(from), []byte(network), []byte("om "+network), netip.MustParseAddr("10.0.0.7")
			for _, a := range to {
				e.To = append(e.To, []byte(a))
			}
		}
	}
	db.insert(t, []planted{
		mailOf("fia.lund", "2026-11-18T10:00:00Z", sentOn), mailOf("gun.alm", "2026-11-18T10:00:00Z", sentOn),
		// The line before the one that names the union, and one after.
		mailOf("fia.lund", "2026-11-18T11:00:00Z", line("fia.lund@norrbo.se", "n1")),
		mailOf("fia.lund", "2026-11-18T11:00:01Z", line("fia.lund@norrbo.se", "n1", "ombud@facket.example", "gun.alm@norrbo.se")),
		mailOf("fia.lund", "2026-11-18T11:00:02Z", line("fia.lund@norrbo.se", "n1", "gun.alm@norrbo.se")),
		mailOf("fia.lund", "2026-11-18T12:00:00Z", line("fia.lund@norrbo.se", "n2")),
		mailOf("fia.lund", "2026-11-18T12:00:01Z", line("fia.lund@norrbo.se", "n2", "gun.alm@norrbo.se")),
		mailOf("fia.lund", "2026-11-18T13:00:00Z", line("gun.alm@norrbo.se", "n3", "fia.lund@norrbo.se")),
	})
	h := newHouse(t, db)
	h.gate.p.Protected = func(domain []byte) bool { return string(domain) == "facket.example" }
	ask := func(number, person string, change func(*Decision)) (string, []Row, Result) {
		d := h.active(func(d *Decision) {
			d.Case, d.Scope.Subject, d.Scope.Names, d.Scope.Sources = number, person, []string{person + "@norrbo.se"}, []string{Mail}
			if change != nil {
				change(d)
			}
		})
		rows, result, err := h.lookup(d)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, r := range rows {
			text.Write(append(r.AppendJSON(nil), '\n'))
		}
		return text.String(), rows, result
	}

	text, rows, result := ask("KS 1", "fia.lund", nil)
	if len(rows) != 4 || strings.Contains(text, "n1") || strings.Contains(text, "gun") || strings.Contains(text, "kund@") || result.Protected != 0 {
		t.Errorf("%d rows, %+v:\n%s", len(rows), result, text)
	}
	if r := rows[0]; r.Get("tillsyn.forwarder") != "Fia.Lund@norrbo.se" || r.Get("event.action") != "forwarded" || r.Get("email.from.address") != "[redacted]@firma.example" ||
		r.Get("source.ip") != nil || r.Get("email.message_id") != "[redacted]" {
		t.Errorf("what fia's rule sent on: %s", text)
	}
	if rows[1].Get("source.ip") != "10.0.0.7" || rows[3].Get("source.ip") != nil {
		t.Errorf("the address of another's machine, or not of one's own: %s", text)
	}
	text, rows, _ = ask("KS 2", "gun.alm", nil)
	if len(rows) != 1 || strings.Contains(strings.ToLower(text), "fia") || rows[0].Get("tillsyn.forwarder") != "[redacted]" {
		t.Errorf("what another's rule sent on: %s", text)
	}
	text, rows, _ = ask("KS 3", "fia.lund", func(d *Decision) { d.Scope.Protected = "ombudets egen begäran" })
	if len(rows) != 7 || strings.Count(text, "om n1") != 3 {
		t.Errorf("with protected destinations %d rows:\n%s", len(rows), text)
	}
	_, rows, result = ask("KS 4", "fia.lund", func(d *Decision) {
		ownRows(d)
		d.Scope.Withheld = "utredning av ombudet, 10 kap. 3 § OSL"
	})
	if len(rows) != 4 || result.Protected != 3 {
		t.Errorf("one's own extract, some withheld: %d rows, %d withheld", len(rows), result.Protected)
	}
	if _, rows, result = ask("KS 5", "fia.lund", ownRows); len(rows) != 7 || result.Protected != 0 {
		t.Errorf("one's own extract: %d rows, %d withheld", len(rows), result.Protected)
	}
}
