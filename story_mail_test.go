package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
)

// A mailLine is what one line of a log says of a message, read by this file alone.
type mailLine struct {
	at                         time.Time
	code, id, subject, size    string
	from                       string
	to                         []string
	network, forwarder, source string
}

// people are all addresses that the line names.
func (l mailLine) people() []string {
	list := append([]string{l.from}, l.to...)
	if l.forwarder != "" {
		list = append(list, l.forwarder)
	}
	return list
}

func (l mailLine) names(person string) bool {
	return slices.ContainsFunc(l.people(), func(a string) bool { return strings.ToLower(a) == person })
}

// exchangeLine reads a row of Exchange's message tracking log.
func exchangeLine(t *testing.T, line []byte) (mailLine, bool) {
	if len(line) == 0 || line[0] == '#' || line[0] == 0xef {
		return mailLine{}, false
	}
	f, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil || len(f) != 30 {
		t.Fatal(len(f), err)
	}
	at, err := time.Parse(time.RFC3339, f[0])
	if err != nil {
		t.Fatal(err)
	}
	l := mailLine{at: at, code: f[8], id: strings.Trim(f[10], "<>"), subject: f[18], size: f[14], from: strings.Trim(f[19], "<>"), network: f[11], source: f[24]}
	if f[12] != "" {
		l.to = strings.Split(f[12], ";")
	}
	switch {
	case f[7] == "MAILBOXRULE":
		l.forwarder = f[20]
	case f[8] == "REDIRECT":
		l.forwarder = f[16]
	}
	return l, true
}

// traceLine reads an object of Microsoft 365's message trace.
func traceLine(t *testing.T, line []byte) (mailLine, bool) {
	var o struct {
		Received                                                                            time.Time
		SenderAddress, RecipientAddress, Subject, Status, FromIP, MessageId, MessageTraceId string
		Size                                                                                json.Number
	}
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatal(err)
	}
	return mailLine{at: o.Received, code: o.Status, id: strings.Trim(o.MessageId, "<>"), subject: o.Subject, size: o.Size.String(),
		from: strings.Trim(o.SenderAddress, "<>"), to: []string{o.RecipientAddress}, network: o.MessageTraceId, source: o.FromIP}, true
}

// A mailTown is a court town with mail: what its lines say, and what was true of its messages.
type mailTown struct {
	*courtTown
	lines     []mailLine
	messages  []synthetic.Message
	protected func(address string) bool
}

func newMailTown(t *testing.T) *mailTown {
	t.Helper()
	w := &mailTown{courtTown: newCourtTown(t)}
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	var domains []string
	for _, tenant := range synthetic.Tenants() {
		domains = append(domains, tenant.Mail)
	}
	for name, read := range map[string]func(*testing.T, []byte) (mailLine, bool){"exchange_msgtrk_csv": exchangeLine, "m365_message_trace_json": traceLine} {
		town, err := synthetic.New(w.made)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := synthetic.FormatByName(name)
		var text []byte
		add := func(_ int, line []byte) error {
			text = append(append(text, line...), '\n')
			if l, ok := read(t, line); ok {
				w.lines = append(w.lines, l)
			}
			return nil
		}
		log := f.NewMailLog(zone)
		for _, line := range log.Header() {
			text = append(append(text, line...), '\n')
		}
		w.messages = nil
		var redirected synthetic.Message
		for {
			m, ok := town.NextMessage()
			if !ok {
				break
			}
			if m.Rule && seal.DayOf(time.UnixMilli(m.Time)) == w.from+1 {
				redirected = *m
			}
			one := *m
			one.To = slices.Clone(m.To)
			w.messages = append(w.messages, one)
			if err := log.Add(m, add); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(add); err != nil {
			t.Fatal(err)
		}
		// What a rule redirects keeps its sender: of ours the line has only whose rule it was.
		redirected.Network, redirected.From, redirected.To = "0e0e0e0e-0000-4000-8000-000000000001", "kund.kundsson@leverantor-1.example", []string{redirected.From}
		redirected.Rule = false
		w.messages = append(w.messages, redirected)
		if name == "exchange_msgtrk_csv" {
			var line bytes.Buffer
			out := csv.NewWriter(&line)
			at := time.UnixMilli(redirected.Time).UTC().Format("2006-01-02T15:04:05.000Z")
			out.Write([]string{at, "198.18.240.9", "", "10.16.1.1", "ex01", "", "", "ROUTING", "REDIRECT", "48000000000001", "<1@leverantor-1.example>", redirected.Network,
				"privat.nagon@gmail.com", "", "4711", "1", redirected.To[0], "", "Offert", redirected.From, redirected.From, "", "Incoming", "", "198.18.240.9", "10.16.1.1", "", "Email",
				"0e0e0e0e-0000-4000-01", "15.02.1118.021"})
			if out.Flush(); out.Error() != nil {
				t.Fatal(out.Error())
			}
			add(0, bytes.TrimRight(line.Bytes(), "\n"))
		}
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		call := []string{"import", "--format", f.Reader, "--tenant", w.tenant, "--internal-domains", strings.Join(domains, ","), "--tz", "UTC"}
		if f.Layout != "" {
			call = append(call, "--layout", f.Layout)
		}
		w.must(exitOK, "", append(call, path)...)

		listed := map[string]bool{}
		for category, hosts := range town.Lists() {
			for _, host := range hosts {
				listed[host] = town.Classes()[category] == "protected"
			}
		}
		w.protected = func(address string) bool {
			_, host, _ := strings.Cut(strings.ToLower(address), "@")
			for more := true; more; _, host, more = strings.Cut(host, ".") {
				if is, ok := listed[host]; ok {
					return is
				}
			}
			return false
		}
	}
	return w
}

// wanted are the rows that a lookup about a person must show, as text, with other people redacted by this file's own rule; and the
// messages that they are about.
func (w *mailTown) wanted(person string, from, to seal.Day) (rows []string, messages map[string]bool) {
	inside := map[string]bool{}
	for _, tenant := range synthetic.Tenants() {
		inside[tenant.Mail] = true
	}
	hide := func(address string) string {
		_, domain, ok := strings.Cut(address, "@")
		switch {
		case address == "" || strings.ToLower(address) == person:
			return address
		case !ok || inside[strings.ToLower(domain)]:
			return "[redacted]"
		}
		return "[redacted]@" + domain
	}
	days := func(l mailLine) bool { day := seal.DayOf(l.at); return day >= from && day <= to }
	secret := map[string]bool{}
	for _, l := range w.lines {
		if l.names(person) && days(l) && slices.ContainsFunc(l.people(), w.protected) {
			secret[l.network] = true
		}
	}
	messages = map[string]bool{}
	for _, l := range w.lines {
		if !l.names(person) || !days(l) || secret[l.network] {
			continue
		}
		messages[l.network] = true
		own, to := strings.ToLower(l.from) == person, []string{}
		for _, a := range l.to {
			to = append(to, hide(a))
		}
		id, source, forwarder := "[redacted]", "", ""
		if own {
			id, source = l.id, l.source
		}
		if l.forwarder != "" {
			forwarder = hide(l.forwarder)
		}
		rows = append(rows, fmt.Sprintf("%s|%s|%s|%s|%q|%s|%s|%s|%s", l.at.Format("2006-01-02T15:04:05.000Z"), l.code, hide(l.from), strings.Join(to, ";"), l.subject,
			id, l.size, source, forwarder))
	}
	slices.Sort(rows)
	return rows, messages
}

// shown are the rows of lookup --json, as wanted has them.
func (w *mailTown) shown(out string) (rows []string) {
	w.t.Helper()
	for line := range strings.Lines(out) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatal(err)
		}
		text := func(name string) string {
			if s, ok := r[name].(string); ok {
				return s
			}
			return ""
		}
		var to []string
		if list, ok := r["email.to.address"].([]any); ok {
			for _, a := range list {
				to = append(to, a.(string))
			}
		}
		if r["url.domain"] != nil || r["http.request.method"] != nil {
			w.t.Error("a row of the web")
		}
		size := ""
		if n, ok := r["source.bytes"].(float64); ok {
			size = fmt.Sprintf("%.0f", n)
		}
		rows = append(rows, fmt.Sprintf("%s|%s|%s|%s|%q|%s|%s|%s|%s", text("@timestamp"), text("event.code"), text("email.from.address"), strings.Join(to, ";"),
			text("email.subject"), text("email.message_id"), size, text("source.ip"), text("tillsyn.forwarder")))
	}
	slices.Sort(rows)
	return rows
}

// Who wrote to whom, on the command line: of one person's mail in a period what the logs say and not one line more, as often as they
// say it; other people redacted; nothing of a message with a protected destination; of the web nothing, unless the decision says so.
func TestMailStory(t *testing.T) {
	w := newMailTown(t)
	investigator := w.member("utredare")
	town, err := synthetic.New(w.made)
	if err != nil {
		t.Fatal(err)
	}
	// One whose rule sends mail on, and whoever has most mail of those who are seen at the proxy too.
	rule := ""
	count := map[string]int{}
	for _, m := range w.messages {
		if m.Rule {
			rule = strings.ToLower(m.From)
		}
		for _, a := range append([]string{m.From}, m.To...) {
			count[strings.ToLower(a)]++
		}
	}
	delete(count, "") // the null sender
	var owner, busiest synthetic.Person
	for _, p := range town.People() {
		switch {
		case p.Mail == "" || !p.Known || p.Unit.Tenant != w.tenant || p.Unit.Population != synthetic.PopulationStaff:
		case p.Mail == rule:
			owner = p
		case len(w.within(p.User, w.from, w.to, false)) > 0 && count[p.Mail] > count[busiest.Mail]:
			busiest = p
		}
	}
	if owner.Mail == "" || busiest.Mail == "" {
		t.Fatal("nobody is there")
	}
	decide := func(number string, p synthetic.Person, sources string) string {
		draft := strings.NewReplacer("sources: [web]", "sources: "+sources, "names: []", "names: ["+p.Mail+"]").Replace(w.draft(number, strings.ToLower(p.User)))
		w.must(exitOK, draft, args("decision", "request", w.as("manager.a"), "-")...)
		w.must(exitRefused, "", args("lookup", investigator, "--json", number)...)
		for _, id := range []string{"hr.a", "security.a", "manager.b"} {
			w.must(exitOK, "", args("decision", "approve", w.as(id), "--yes", number)...)
		}
		out, _ := w.must(exitOK, "", args("lookup", investigator, "--json", number)...)
		return out
	}
	for i, p := range []synthetic.Person{owner, busiest} {
		want, messages := w.wanted(p.Mail, w.from, w.to)
		all, _ := w.wanted(p.Mail, 0, 1<<30)
		// The truth of the messages themselves, by no log.
		truth, withheld := map[string]bool{}, 0
		for _, m := range w.messages {
			day := seal.DayOf(time.UnixMilli(m.Time))
			if !slices.ContainsFunc(append([]string{m.From}, m.To...), func(a string) bool { return strings.ToLower(a) == p.Mail }) || day < w.from || day > w.to {
				continue
			}
			if slices.ContainsFunc(append([]string{m.From}, m.To...), w.protected) {
				withheld++
			} else {
				truth[m.Network] = true
			}
		}
		if !maps.Equal(truth, messages) {
			t.Errorf("the lines tell of %d messages, the truth of %d", len(messages), len(truth))
		}
		if len(messages) < 10 || withheld == 0 || len(all) <= len(want) {
			t.Fatalf("%d messages, %d withheld, %d rows, %d of all days: the town is too quiet", len(messages), withheld, len(want), len(all))
		}
		number := fmt.Sprintf("KS 2026/07%d", i)
		out := decide(number, p, "[mail]")
		got := w.shown(out)
		missing, extra := apart(want, got)
		if len(missing)+len(extra) > 0 {
			t.Errorf("the lookup has %d rows, the logs %d: %d are missing, %d too many", len(got), len(want), len(missing), len(extra))
			for _, list := range [][]string{missing, extra} {
				t.Logf("%s", strings.Join(list[:min(3, len(list))], "\n"))
			}
		}
		// Nobody else: not one address of anybody.
		lower, others := strings.ToLower(out), map[string]bool{}
		for _, l := range w.lines {
			for _, a := range l.people() {
				others[strings.ToLower(a)] = true
			}
		}
		delete(others, "")
		delete(others, p.Mail)
		for a := range others {
			if strings.Contains(lower, `"`+a+`"`) {
				t.Fatal("another person's address is shown")
			}
		}
		t.Logf("%d rows about %d messages of one person, %d withheld; %d messages of all", len(got), len(messages), withheld, len(w.messages))
		if i == 0 {
			if n := strings.Count(out, `"event.action":"forwarded"`); n == 0 || n != strings.Count(strings.ToLower(out), `"tillsyn.forwarder":"`+p.Mail+`"`) {
				t.Errorf("%d mails are shown as sent on", n)
			}
			table, _ := w.must(exitOK, "", args("lookup", investigator, number)...)
			if strings.Count(table, "\n") != len(want) || !strings.Contains(table, "sent on by a rule of ") {
				t.Error("the table is not what the rows are")
			}
		}
	}
	// The same person, the proxy alone; and both.
	web := w.within(strings.ToLower(busiest.User), w.from, w.to, false)
	out := decide("KS 2026/0780", busiest, "[web]")
	if got := w.rowsOf(out); !slices.Equal(got, web) || strings.Contains(out, "email.") {
		t.Errorf("of the web %d rows, want %d", len(got), len(web))
	}
	mail, _ := w.wanted(busiest.Mail, w.from, w.to)
	if n := strings.Count(decide("KS 2026/0781", busiest, "[mail, web]"), "\n"); n != len(mail)+len(web) {
		t.Errorf("of both %d rows, want %d and %d", n, len(mail), len(web))
	}
	w.knownAndUnknown(busiest.User, investigator)
	w.must(exitOK, "", "audit", "verify")
}

// knownAndUnknown asks for somebody who is in the logs and for somebody who is not, under decisions that nobody has approved (case 41):
// every command answers both alike, and what is sent to an approver is as long.
func (w *courtTown) knownAndUnknown(user string, investigator []string) {
	w.t.Helper()
	nobody := strings.Repeat("q", len(user))
	var answers [2][]string
	for i, subject := range []string{strings.ToLower(user), nobody} {
		number := fmt.Sprintf("KS 2026/079%d", i)
		w.must(exitOK, strings.Replace(w.draft(number, subject), "sources: [web]", "sources: [mail, web]", 1), args("decision", "request", w.as("manager.a"), "-")...)
		say := func(out, faults string, code int) {
			answers[i] = append(answers[i], strings.ReplaceAll(fmt.Sprint(code, out, faults), number, "KS"))
		}
		for _, command := range [][]string{
			args("lookup", investigator, "--json", number), args("lookup", w.as("hr.a"), number),
			args("export", investigator, "-o", w.dir, number), args("subject-access", investigator, "-o", w.dir, number),
			args("hold", "place", investigator, number), args("export", "list", investigator, number),
		} {
			say(typed(w.t, "", append([]string{"--config", w.file}, command...)...))
		}
		bundle := filepath.Join(w.dir, fmt.Sprintf("bundle-%d", i))
		w.must(exitOK, "", "decision", "bundle", "--role", "hr", "--out", bundle, number)
		info, err := os.Stat(bundle)
		if err != nil {
			w.t.Fatal(err)
		}
		say(fmt.Sprint(info.Size()), "", 0)
	}
	for i := range answers[0] {
		if answers[0][i] != answers[1][i] {
			w.t.Errorf("answer %d tells somebody from nobody: %q and %q", i, answers[0][i], answers[1][i])
		}
	}
	if refused := strings.Count(strings.Join(answers[0], " "), "refused"); refused < 3 {
		w.t.Errorf("%d answers are refusals", refused)
	}
}

// apart are what only a has and what only b has, of two sorted lists.
func apart(a, b []string) (onlyA, onlyB []string) {
	count := map[string]int{}
	for _, x := range a {
		count[x]++
	}
	for _, x := range b {
		if count[x]--; count[x] < 0 {
			onlyB = append(onlyB, x)
		}
	}
	for _, x := range a {
		if count[x] > 0 {
			count[x]--
			onlyA = append(onlyA, x)
		}
	}
	return onlyA, onlyB
}
