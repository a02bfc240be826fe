package parse

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
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
	if e.Trace {
		b.WriteString("  a trace\n")
	}
	if e.Forwarded {
		b.WriteString("  forwarded\n")
	}
	text("forwarder", e.Forwarder)
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

// countsOf answers, for each line of a log, what its event adds to statistics: "1 sent", "0 sent", "- sent" for a trace, with
// "+" behind it for a forwarding, or nothing.
func countsOf(p Parser, log string) []string {
	var list []string
	for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
		answer := ""
		p.Parse([]byte(line), func(e *Event) {
			if answer = fmt.Sprintf("%d %s", e.Count, e.Code); e.Trace {
				answer = "- " + string(e.Code)
			}
			if e.Forwarded {
				answer += "+"
			}
		}, func(r Reject) { answer = string(r.Reason) })
		list = append(list, answer)
	}
	return list
}

// postfixLog gives each line of a log the header of a host and a program.
func postfixLog(lines ...string) string {
	for i := range lines {
		lines[i] = "Oct  9 08:41:00 mx1 postfix/x[1]: " + lines[i]
	}
	return strings.Join(lines, "\n")
}

const sentTo = "to=<a@b.example>, relay=mx[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status="

func TestPostfixCounts(t *testing.T) {
	for _, c := range []struct {
		name, log string
		want      []string
	}{
		{"each recipient", postfixLog("AAAAA1: message-id=<1@x>", "AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: "+sentTo+"bounced (no)"),
			[]string{"- ", "1 sent", "0 sent", "0 bounced"}},
		{"deferred, then sent", postfixLog("AAAAA1: "+sentTo+"deferred (x)", "AAAAA1: "+sentTo+"deferred (x)", "AAAAA1: "+sentTo+"sent (ok)"),
			[]string{"- deferred", "- deferred", "1 sent"}},
		{"the id is used again after removal", postfixLog("AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: removed", "AAAAA1: "+sentTo+"sent (ok)"),
			[]string{"1 sent", "- ", "1 sent"}},
		{"the id is used again without removal", postfixLog("AAAAA1: client=a[192.0.2.1]", "AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: client=a[192.0.2.1]",
			"AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: "+sentTo+"sent (ok)", "AAAAA1: uid=0 from=<root>", "AAAAA1: "+sentTo+"sent (ok)"),
			[]string{"- ", "1 sent", "- ", "1 sent", "0 sent", "- ", "1 sent"}},
		{"the same message-id again, under an id used again", postfixLog("AAAAA1: client=a[192.0.2.1]", "AAAAA1: message-id=<1@x>", "AAAAA1: "+sentTo+"sent (ok)",
			"AAAAA1: client=a[192.0.2.1]", "AAAAA1: message-id=<2@x>", "AAAAA1: "+sentTo+"sent (ok)"),
			[]string{"- ", "- ", "1 sent", "- ", "- ", "1 sent"}},
		{"a filter by pipe hands it in again", postfixLog("AAAAA1: message-id=<1@x>", "BBBBB1: uid=99 from=<a@b.example>", "BBBBB1: message-id=<1@x>",
			"AAAAA1: to=<a@b.example>, relay=spamfilter, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (delivered via spamfilter service)", "BBBBB1: "+sentTo+"sent (ok)"),
			[]string{"- ", "- ", "- ", "1 sent", "- sent"}},
		{"a filter on another host hands it back", postfixLog("AAAAA1: message-id=<1@x>", "AAAAA1: "+sentTo+"sent (250 Ok: queued as BBBBB1)", "BBBBB1: client=filter[192.0.2.9]",
			"BBBBB1: message-id=<1@x>", "BBBBB1: "+sentTo+"sent (ok)"), []string{"- ", "1 sent", "- ", "- ", "- sent"}},
		{"the filter's second id is delivered before its first is done", postfixLog("AAAAA1: message-id=<1@x>", "BBBBB1: client=localhost[127.0.0.1]", "BBBBB1: message-id=<1@x>",
			"BBBBB1: "+sentTo+"sent (ok)", "AAAAA1: to=<a@b.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 Ok: queued as BBBBB1)"),
			[]string{"- ", "- ", "- ", "1 sent", "- sent"}},
		{"a list sends a message to each of its members", postfixLog("AAAAA1: client=list[192.0.2.1]", "AAAAA1: message-id=<1@x>", "BBBBB1: client=list[192.0.2.1]", "BBBBB1: message-id=<1@x>",
			"AAAAA1: "+sentTo+"sent (ok)", "BBBBB1: "+sentTo+"sent (ok)"), []string{"- ", "- ", "- ", "- ", "1 sent", "0 sent"}},
		{"a probe of an address", postfixLog("AAAAA1: "+sentTo+"deliverable (ok)", "AAAAA1: "+sentTo+"undeliverable (no)"), []string{"- deliverable", "- undeliverable"}},
		{"expired after deferrals", postfixLog("AAAAA1: from=<a@b.example>, size=1, nrcpt=1 (queue active)", "AAAAA1: "+sentTo+"deferred (x)", "AAAAA1: from=<a@b.example>, status=expired, returned to sender"),
			[]string{"- ", "- deferred", "1 expired"}},
		{"months apart", "Jan  1 08:41:00 mx1 postfix/x[1]: AAAAA1: " + sentTo + "sent (ok)\nMar  1 08:41:00 mx1 postfix/x[1]: AAAAA1: " + sentTo + "sent (ok)", []string{"1 sent", "1 sent"}},
		{"nothing about a message", postfixLog("connect from a[192.0.2.1]", "warning: AAAAA1: x", "statistics: x", "fatal: x", "disconnect from a"), []string{"", "", "", "", ""}},
	} {
		p := mustNew(t, Options{Format: "postfix_syslog", Now: sampleClock})
		if got := countsOf(p, c.log); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestPostfixForwards sees that only what leaves the organisation is a forwarding.
func TestPostfixForwards(t *testing.T) {
	const rest = ", relay=mx[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (ok)"
	log := func() string {
		return postfixLog("AAAAA1: to=<anna@mbx.council.example>, orig_to=<anna@council.example>"+rest, "BBBBB1: to=<anna@freemail.example>, orig_to=<anna@council.example>"+rest,
			"CCCCC1: to=<b@freemail.example>, orig_to=<a@freemail.example>"+rest, "DDDDD1: to=<anna@council.example>, orig_to=<root>"+rest,
			"EEEEE1: message-id=<1@x>", "FFFFF1: message-id=<1@x>", "EEEEE1: to=<info@council.example>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (forwarded as FFFFF1)",
			"FFFFF1: to=<anna@council.example>"+rest, "FFFFF1: to=<anna@freemail.example>"+rest)
	}
	for domain, want := range map[string][]string{
		"council.example": {"1 sent", "1 sent+", "1 sent", "1 sent", "- ", "- ", "1 sent", "0 sent", "0 sent+"},
		"":                {"1 sent", "1 sent", "1 sent", "1 sent", "- ", "- ", "1 sent", "0 sent+", "0 sent+"},
	} {
		if got := countsOf(mustNew(t, Options{Format: "postfix_syslog", Now: sampleClock, InternalDomains: strings.Fields(domain)}), log()); !slices.Equal(got, want) {
			t.Errorf("our domain %q:\ngot  %q\nwant %q", domain, got, want)
		}
	}
}

// TestForwarders sees whose rule it was that sent a mail on.
func TestForwarders(t *testing.T) {
	const rest = ", relay=mx[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status="
	exchange := func(source, event, related, back string) string {
		return "2026-10-09T06:40:03Z,,,,EX1,,," + source + "," + event + ",,<1@x>,a@freemail.example,,1," + "1," + related + ",,Subject,x@paper.example," + back + ",\n"
	}
	for name, c := range map[string]struct{ format, log, want string }{
		"an alias":              {"postfix_syslog", postfixLog("AAAAA1: to=<a@freemail.example>, orig_to=<anna@council.example>" + rest + "sent (ok)"), "anna@council.example"},
		"an alias, deferred":    {"postfix_syslog", postfixLog("AAAAA1: to=<a@freemail.example>, orig_to=<anna@council.example>" + rest + "deferred (later)"), ""},
		"an alias among us":     {"postfix_syslog", postfixLog("AAAAA1: to=<bo@mbx.council.example>, orig_to=<bo@council.example>" + rest + "sent (ok)"), ""},
		"an alias of strangers": {"postfix_syslog", postfixLog("AAAAA1: to=<a@freemail.example>, orig_to=<b@freemail.example>" + rest + "sent (ok)"), "(b@freemail.example)"},
		"a forward file": {"postfix_syslog", postfixLog("FFFFF1: message-id=<1@x>", "EEEEE1: message-id=<1@x>",
			"EEEEE1: to=<anna@council.example>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (forwarded as FFFFF1)",
			"FFFFF1: from=<x@paper.example>, size=1, nrcpt=1 (queue active)", "FFFFF1: to=<a@freemail.example>"+rest+"sent (ok)"), "anna@council.example"},
		"a redirect":              {"exchange_msgtrk_csv", exchange("ROUTING", "REDIRECT", "anna@council.example", "x@paper.example"), "anna@council.example"},
		"a redirect of an unsaid": {"exchange_msgtrk_csv", exchange("ROUTING", "REDIRECT", "", "x@paper.example"), "?"},
		"an Inbox rule":           {"exchange_msgtrk_csv", exchange("MAILBOXRULE", "RECEIVE", "", "anna@council.example"), "anna@council.example"},
		"a list":                  {"exchange_msgtrk_csv", exchange("ROUTING", "EXPAND", "all@council.example", "x@paper.example"), ""},
	} {
		got := ""
		p := mustNew(t, Options{Format: c.format, Now: sampleClock, InternalDomains: []string{"council.example"}})
		p.Parse([]byte(c.log), func(e *Event) {
			switch {
			case e.Forwarded && e.Forwarder == nil:
				got += "?"
			case e.Forwarded:
				got += string(e.Forwarder)
			case e.Forwarder != nil:
				got += "(" + string(e.Forwarder) + ")"
			}
		}, func(r Reject) { t.Errorf("%s: %+v", name, r) })
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestPostfixIsBounded fills a small parser with more messages than it may hold, and looks for what it kept of the others.
func TestPostfixIsBounded(t *testing.T) {
	p := mustNew(t, Options{Format: "postfix_syslog", Now: sampleClock, OpenMessages: 10}).(*lineParser)
	parse := func(line string) (from string) {
		p.Parse([]byte("Oct  9 08:41:00 mx1 postfix/x[1]: "+line), func(e *Event) { from = string(e.From) }, func(r Reject) { t.Error(r) })
		return from
	}
	for i := range 1000 {
		parse(fmt.Sprintf("AAAA%04d: client=a[192.0.2.1], sasl_username=hemlig%d", i, i))
		parse(fmt.Sprintf("AAAA%04d: message-id=<hemlig%d@x.example>", i, i))
		parse(fmt.Sprintf("AAAA%04d: from=<hemlig%d@x.example>, size=1, nrcpt=1 (queue active)", i, i))
	}
	joins, ok := JoinsOf(p)
	if want := (Joins{Open: 10, Evicted: 990}); !ok || joins != want {
		t.Errorf("%+v, want %+v", joins, want)
	}
	if from := parse("AAAA0999: " + sentTo + "sent (ok)"); from != "hemlig999@x.example" {
		t.Errorf("the newest message is from %q", from)
	}
	if from := parse("AAAA0001: " + sentTo + "sent (ok)"); from != "" {
		t.Errorf("an evicted message is from %q", from)
	}
	for i := range 1000 {
		parse(fmt.Sprintf("AAAA%04d: removed", i))
	}
	if joins, _ = JoinsOf(p); joins.Open != 0 || joins.Joined != 1 || joins.Unjoined != 1 {
		t.Errorf("%+v", joins)
	}
	for _, m := range p.format.(*postfix).joins.free {
		if kept := m.text[:cap(m.text)]; len(bytes.Trim(kept, "\x00")) > 0 || m.client.IsValid() || m.mark != 0 {
			t.Fatal("a message that ended is still in memory")
		}
	}
	if _, ok := JoinsOf(mustNew(t, Options{Format: "squid_native"})); ok {
		t.Error("squid joins lines")
	}
	for _, limit := range []int{-1} {
		if _, err := New(Options{Format: "postfix_syslog", OpenMessages: limit}); err == nil {
			t.Errorf("a limit of %d is taken", limit)
		}
	}
	// neither do endless queue ids and hosts
	for i := range 100 {
		p.Parse(fmt.Appendf(nil, "Oct  9 08:41:00 mx%d%s postfix/x[1]: AAAA%04d: uid=0 from=<root>", i, strings.Repeat("x", 100_000), i), func(*Event) {}, func(Reject) {})
		parse(fmt.Sprintf("AAAA%04d%s: uid=0 from=<root>", i, strings.Repeat("x", 100_000)))
	}
	for _, key := range p.format.(*postfix).joins.held.Keys() {
		if len(key) > maxHost+1+maxQueueID {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
	// a client that repeats itself forever fills nothing
	for i := range 10000 {
		parse(fmt.Sprintf("AAAAAAA: from=<%d%s@x.example>, size=1, nrcpt=1 (queue active)", i, strings.Repeat("a", 1000)))
	}
	if kept := cap(p.format.(*postfix).joins.at.text); kept > 8*maxKept {
		t.Errorf("%d bytes are kept of one message", kept)
	}
}

// TestYears sees that a time without a year is the same whichever lines came before it, and never in the future.
func TestYears(t *testing.T) {
	for _, c := range []struct{ now, stamp, want string }{
		{"2026-01-01T00:00:00Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"},
		{"2025-12-31T23:30:00Z", "Jan  1 00:30:00", "2026-01-01T00:30:00Z"},
		{"2026-06-01T00:00:00Z", "Jun  2 00:00:00", "2026-06-02T00:00:00Z"},
		{"2026-06-01T00:00:00Z", "Jun  3 00:00:00", "2025-06-03T00:00:00Z"},
		{"2028-03-01T00:00:00Z", "Feb 29 12:00:00", "2028-02-29T12:00:00Z"},
		{"2027-03-01T00:00:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"},
		{"1904-01-01T00:00:00Z", "Feb 29 12:00:00", ""},
		{"2100-03-01T00:00:00Z", "Feb 29 12:00:00", "2096-02-29T12:00:00Z"},
		{"2026-06-01T00:00:00Z", "Jun 31 12:00:00", ""},
		{"2026-06-01T00:00:00Z", "Jun  1 24:00:00", ""},
		{"2026-06-01T00:00:00Z", "Jun  1 2024 12:00:00", "2024-06-01T12:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		p, got := mustNew(t, Options{Format: "postfix_syslog", Now: func() time.Time { return now }}), ""
		for range 2 {
			p.Parse([]byte(c.stamp+" mx1 postfix/qmgr[1]: AAAAA1: removed"), func(e *Event) { got = time.UnixMilli(e.Time).UTC().Format(time.RFC3339) }, func(Reject) {})
			if got != c.want {
				t.Errorf("%s at %s is %q, want %q", c.stamp, c.now, got, c.want)
			}
		}
	}
}

func TestDecodedWords(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?Q?_=E2=80=92?= test": "Grüße ‒ test",
		"=?ISO-8859-1?q?R=E4ksm=F6rg=E5s?=": "Räksmörgås", "=?iso-8859-1?B?5eT2?=": "åäö", "a =?utf-8?b?YQ==?= b": "a a b",
		"=?utf-8?b?YQ?=": "a", "=?utf-8?b?Y*==?= x": " x", "=?koi8-r?B?8A==?=": "=?koi8-r?B?8A==?=", "=?utf-8?Q?open": "=?utf-8?Q?open",
		"=?": "=?", "=?=?=?": "=?=?=?", "=?utf-8?Q?a b?=": "=?utf-8?Q?a b?=", "=?utf-8?Q?a?=b": "ab", "=?utf-8?Q?=zz=4?=": "=zz=4", "=?utf-8?X?a?=": "=?utf-8?X?a?=",
		"=?utf-8?Q?a?=   =?utf-8?Q?b?=   c": "ab   c",
	} {
		var s scratch
		if got := string(s.decodedWords([]byte(text))); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	var s scratch
	long, start := []byte(strings.Repeat("=?a?q?x", MaxLine/7)), processorTime(t)
	if s.decodedWords(long); processorTime(t)-start > 2*time.Second {
		t.Errorf("a long line took %s", processorTime(t)-start)
	}
}

// TestExchangeCounts sees that a message is counted once on its way, whatever servers it passes.
func TestExchangeCounts(t *testing.T) {
	columns := []string{"date-time", "server-hostname", "source", "event-id", "message-id", "custom-data"}
	for _, c := range []struct{ rows, want string }{
		{"EX1,SMTP,RECEIVE,<1>,;EX1,ROUTING,RESOLVE,<1>,;EX1,AGENT,RECEIVE,<1>,;EX1,SMTP,SEND,<1>,;EX1,STOREDRIVER,DELIVER,<1>,", "1----"},
		{"EX1,STOREDRIVER,SUBMIT,<1>,;HUB,STOREDRIVER,RECEIVE,<1>,;HUB,SMTP,SEND,<1>,", "-1-"},
		{"EX1,SMTP,RECEIVE,<1>,S:FirstForestHop=EX1.x.example;EX2,SMTP,RECEIVE,<1>,S:FirstForestHop=EX1.x.example", "1-"},
		{"ex1.x.example,SMTP,RECEIVE,<1>,S:FirstForestHop=EX1;EX11,SMTP,RECEIVE,<1>,S:FirstForestHop=EX1;EX,SMTP,RECEIVE,<1>,S:FirstForestHop=EX1", "1--"},
		{"EX1,SMTP,HARECEIVE,<1>,;EX1,SMTP,HAREDIRECT,<1>,;EX1,SMTP,FAIL,<1>,;EX1,DSN,DSN,<1>,", "----"},
		{"EX1,PICKUP,RECEIVE,<1>,;EX1,GATEWAY,RECEIVE,<1>,;EX1,MAILBOXRULE,RECEIVE,<1>,;EX1,ROUTING,REDIRECT,<1>,", "111+-+"},
	} {
		p, got := mustNew(t, Options{Format: "exchange_msgtrk_csv", Columns: columns}), ""
		for _, row := range strings.SplitAfter(strings.ReplaceAll(c.rows, ";", "\n"), "\n") {
			p.Parse([]byte("2026-10-09T06:41:00Z,"+row), func(e *Event) {
				switch {
				case e.Trace:
					got += "-"
				default:
					got += fmt.Sprint(e.Count)
				}
				if e.Forwarded {
					got += "+"
				}
			}, func(r Reject) { t.Errorf("%s: %+v", row, r) })
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.rows, got, c.want)
		}
	}
}

func TestExchangeOptions(t *testing.T) {
	for _, o := range []Options{
		{Layout: "1999"}, {Layout: "2007", Columns: []string{"date-time", "event-id", "message-id"}}, {Columns: []string{"date-time"}},
		{Columns: []string{"date-time", "event-id", "message-id", "date-time"}}, {InternalDomains: []string{"a@b"}}, {Columns: make([]string, 500)},
	} {
		o.Format = "exchange_msgtrk_csv"
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	for _, o := range []Options{
		{Layout: "2007"}, {Layout: "2010"}, {Layout: "2013"}, {Layout: "2016"}, {Layout: "2019"}, {Columns: strings.Split("#Fields: "+exchange2010, ",")},
	} {
		o.Format = "exchange_msgtrk_csv"
		if _, err := New(o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestMailForgets sees that a parser keeps nothing of a record, but what a Postfix message still needs.
func TestMailForgets(t *testing.T) {
	p := mustNew(t, Options{Format: "exchange_msgtrk_csv", Columns: []string{"date-time", "event-id", "message-id", "recipient-address", "message-subject"}}).(*lineParser)
	p.Parse([]byte(`2026-10-09T06:41:00Z,RECEIVE,<1@x>,"hemlig@x;""hemlig""@x","a ""hemlig"" b"`), func(e *Event) {
		if string(e.Subject) != `a "hemlig" b` || len(e.To) != 2 || string(e.To[1]) != `"hemlig"@x` {
			t.Errorf("subject %q, to %q", e.Subject, e.To)
		}
	}, func(r Reject) { t.Error(r) })
	if bytes.Contains(p.scratch.buf[:cap(p.scratch.buf)], []byte("hemlig")) {
		t.Error("the scratch memory still has it")
	}
	for _, to := range p.event.To[:cap(p.event.To)] {
		if to != nil {
			t.Error("a recipient is still referred to")
		}
	}
}
