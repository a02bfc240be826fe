package synthetic

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// hasIdentityNumber looks for a personal identity number in a way of its own: all runs of digits with one sign at most.
func hasIdentityNumber(subject string) bool {
	for _, found := range regexp.MustCompile(`[0-9]+([-+][0-9]+)?`).FindAllString(subject, -1) {
		parts := strings.FieldsFunc(found, func(r rune) bool { return r == '-' || r == '+' })
		if len(parts) == 2 && len(parts[1]) != 4 {
			continue
		}
		all := strings.Join(parts, "")
		days := []string{"20060102"}
		switch len(all) {
		case 12:
		case 10:
			all, days = "20"+all, nil
			// the century is not said: any will do
			for _, century := range []string{"19", "20"} {
				if _, err := time.Parse("20060102", century+all[2:8]); err == nil {
					days = []string{"20060102"}
				}
			}
		default:
			continue
		}
		if days == nil {
			continue
		}
		if len(parts) == 1 && len(found) == 12 || len(parts) == 2 && len(parts[0]) == 8 {
			if _, err := time.Parse("20060102", all[:8]); err != nil {
				continue
			}
		}
		sum := 0
		for i, c := range all[2:] {
			n := int(c - '0')
			if i%2 == 0 {
				n *= 2
			}
			sum += n/10 + n%10
		}
		if sum%10 == 0 {
			return true
		}
	}
	return false
}

func hasCardNumber(subject string) bool {
	for _, found := range regexp.MustCompile(`[0-9]{4}( [0-9]{4}){3}`).FindAllString(subject, -1) {
		sum, double := 0, false
		for i := len(found) - 1; i >= 0; i-- {
			if found[i] == ' ' {
				continue
			}
			n := int(found[i] - '0')
			if double {
				n *= 2
			}
			sum += n/10 + n%10
			double = !double
		}
		if sum%10 == 0 {
			return true
		}
	}
	return false
}

func hasSensitiveWord(subject string) bool {
	words := strings.FieldsFunc(strings.ToLower(subject), func(r rune) bool { return !unicode.IsLetter(r) })
	line := " " + strings.Join(words, " ") + " "
	return slices.ContainsFunc(SensitiveWords(), func(word string) bool { return strings.Contains(line, " "+word+" ") })
}

// The truth of mail against the definitions of doc.go, read anew from the written directory, the written lists and the messages'
// own words.
func TestMailTruthIsWhatTheDefinitionsSay(t *testing.T) {
	for _, from := range []string{"2026-10-24", "2026-12-28"} { // the end of summer time and of a month; of a year
		c := small(func(c *Config) {
			c.From, c.Format, c.Lines, c.Days, c.Latin1 = from, "exchange_msgtrk_csv", 50_000, 8, 0.2
		})
		m := build(t, c)
		r := newReader(t, m)
		domains := map[string]bool{}
		for _, tenant := range Tenants() {
			domains[tenant.Mail] = true
		}
		ours := func(address string) (who [3]string, ok bool) {
			address = strings.ToLower(address)
			if who, ok = r.mails[address]; ok {
				return who, true
			}
			_, domain, _ := strings.Cut(address, "@")
			return [3]string{"algkoping", "unknown", "unknown"}, domains[domain]
		}
		other := func(address string, internal bool) (domain, category string) {
			_, host, _ := strings.Cut(strings.ToLower(address), "@")
			switch {
			case address == "":
				return "(none)", "uncategorised"
			case internal:
				return host, "internal"
			}
			category = "uncategorised"
			for rest, more := host, true; more; _, rest, more = strings.Cut(rest, ".") {
				if listed, ok := r.lists[rest]; ok {
					category = listed
					break
				}
			}
			domain, err := publicsuffix.EffectiveTLDPlusOne(host)
			if err != nil {
				domain = host
			}
			if m.Classes()[category] == "protected" {
				domain = "(protected)"
			}
			return domain, category
		}
		type sum struct {
			messages map[string]int64
			people   map[string]bool
			marks    [3]map[string]bool
		}
		sums := map[MailCell]*sum{}
		var last int64
		seen := map[string]bool{}
		var seenOf struct{ null, mixed, unknown, capitals, number, near, card, word, rule, latin, lists int }
		for {
			e, ok := m.NextMessage()
			if !ok {
				break
			}
			if e.Time < last || seen[e.ID] || len(e.To) == 0 {
				t.Fatal("a message out of order, twice, or to nobody")
			}
			last, seen[e.ID] = e.Time, true
			number := hasIdentityNumber(e.Subject)
			sensitive := number || hasCardNumber(e.Subject) || hasSensitiveWord(e.Subject)
			if number != e.IdentityNumber || sensitive != e.Sensitive {
				t.Fatalf("subject %q is said to hold a number: %v, anything sensitive: %v", e.Subject, e.IdentityNumber, e.Sensitive)
			}
			at := time.UnixMilli(e.Time)
			hour, day, month := at.UTC().Format("2006-01-02T15:00:00Z"), at.In(r.zone).Format("2006-01-02"), at.In(r.zone).Format("2006-01")
			count := func(person string, who [3]string, direction, domain, category string) {
				for i := range 32 {
					c := MailCell{Tenant: who[0], Population: who[1], Unit: who[2], Direction: direction, Category: category}
					if i&1 > 0 {
						c.Unit = ""
					}
					if i&2 > 0 {
						c.Direction = ""
					}
					switch i >> 2 {
					case 0, 1:
						c.Level, c.Period = "mail_hour", hour
					case 2, 3:
						c.Level, c.Period = "mail_day", day
					case 4, 5:
						c.Level, c.Period = "mail_month", month
					case 6:
						c.Level, c.Period, c.Domain = "mail_domain_day", day, domain
					case 7:
						c.Level, c.Period, c.Domain = "mail_domain_month", month, domain
					}
					if i>>2 < 6 && i&4 > 0 {
						c.Category = ""
					}
					s := sums[c]
					if s == nil {
						s = &sum{messages: map[string]int64{}, people: map[string]bool{}, marks: [3]map[string]bool{{}, {}, {}}}
						sums[c] = s
					}
					s.messages[e.ID], s.people[strings.ToLower(person)] = e.Bytes, true
					for k, is := range []bool{e.Rule, number, sensitive} {
						if is {
							s.marks[k][e.ID] = true
						}
					}
				}
			}
			sender, fromUs := ours(e.From)
			inside, outside := 0, 0
			for _, to := range e.To {
				recipient, toUs := ours(to)
				switch {
				case fromUs && toUs:
					domain, category := other(to, true)
					count(e.From, sender, "internal", domain, category)
					domain, category = other(e.From, true)
					count(to, recipient, "internal", domain, category)
				case fromUs:
					domain, category := other(to, false)
					count(e.From, sender, "outbound", domain, category)
				case toUs:
					domain, category := other(e.From, false)
					count(to, recipient, "inbound", domain, category)
				}
				if toUs {
					inside++
				} else {
					outside++
				}
				if strings.HasPrefix(to, "alla-") {
					seenOf.lists++
				}
				if to != strings.ToLower(to) {
					seenOf.capitals++
				}
				if toUs && recipient[2] == "unknown" {
					seenOf.unknown++
				}
			}
			for n, is := range map[*int]bool{
				&seenOf.null: e.From == "", &seenOf.mixed: fromUs && inside > 0 && outside > 0, &seenOf.number: number, &seenOf.rule: e.Rule,
				&seenOf.near: !number && regexp.MustCompile(`[0-9]{6}`).MatchString(e.Subject), &seenOf.card: hasCardNumber(e.Subject),
				&seenOf.word: hasSensitiveWord(e.Subject), &seenOf.latin: e.latin,
			} {
				if is {
					*n++
				}
			}
		}
		if seenOf.null < 50 || seenOf.mixed < 100 || seenOf.unknown < 50 || seenOf.capitals < 100 || seenOf.number < 100 || seenOf.near < 80 ||
			seenOf.card < 10 || seenOf.word < 40 || seenOf.rule < 10 || seenOf.latin < 100 || seenOf.lists < 10 {
			t.Errorf("what was planted is scarce: %+v", seenOf)
		}
		truth := m.MailTruthFor(m.format)
		if truth.Totals.Messages != 5000 || truth.Totals.Messages != int64(len(seen)) {
			t.Errorf("totals %+v, %d messages seen", truth.Totals, len(seen))
		}
		faults, levels := 0, map[string]int{}
		for c := range truth.Cells() {
			levels[c.Level]++
			key := c
			key.Messages, key.Bytes, key.People, key.Forwarded, key.IdentityNumbers, key.Sensitive = 0, 0, 0, 0, 0, 0
			w := key
			if s := sums[key]; s != nil {
				w.Messages, w.People = int64(len(s.messages)), int64(len(s.people))
				for _, n := range s.messages {
					w.Bytes += n
				}
				w.Forwarded, w.IdentityNumbers, w.Sensitive = int64(len(s.marks[0])), int64(len(s.marks[1])), int64(len(s.marks[2]))
			}
			if c != w {
				if faults++; faults < 10 {
					t.Errorf("truth %+v\n want %+v", c, w)
				}
			}
			delete(sums, key)
		}
		if faults > 0 || len(sums) > 0 || len(levels) != 5 {
			t.Errorf("%d cells differ, %d are missing; levels %v", faults, len(sums), levels)
		}
		for key := range sums {
			t.Errorf("missing, for instance: %+v", key)
			break
		}
		postfix, _ := FormatByName("postfix_syslog")
		blind := m.MailTruthFor(postfix)
		for c := range blind.Cells() {
			if c.Forwarded+c.IdentityNumbers+c.Sensitive > 0 {
				t.Fatalf("a log without subjects knows of them: %+v", c)
			}
		}
		if blind.Totals.Forwarded+blind.Totals.Sensitive+blind.Totals.IdentityNumbers > 0 {
			t.Errorf("a log without subjects knows of them: %+v", blind.Totals)
		}
		if _, ok := m.NextMessage(); ok {
			t.Error("a message after the truth")
		}
	}
}

// A run by days ends, and requests are the same whether mail is written or not.
func TestMailAndRequestsDoNotTouch(t *testing.T) {
	a := build(t, small(func(c *Config) { c.Lines, c.Days, c.People, c.From = 0, 1, 600, "2026-10-20" }))
	b := build(t, a.Config())
	var last, n int64
	for {
		e, ok := a.NextMessage()
		if !ok {
			break
		}
		last = e.Time
		n++
	}
	if n < 500 || time.UnixMilli(last).After(time.Date(2026, 10, 20, 22, 5, 0, 0, time.UTC)) {
		t.Errorf("%d messages, the last at %v", n, time.UnixMilli(last))
	}
	sumA, nA := lines(t, a, nil)
	sumB, nB := lines(t, b, nil)
	if sumA != sumB || nA != nB {
		t.Error("requests change when there is mail")
	}
	if truth := a.MailTruthFor(Format{}); truth.Totals.Messages != n {
		t.Errorf("%d messages in the truth, not %d", truth.Totals.Messages, n)
	}
}

// However few messages and however many days, they reach to the end, and few of them are the rule's.
func TestMessagesSpreadOverDays(t *testing.T) {
	for _, days := range []int{1, 30, 366} {
		m := build(t, small(func(c *Config) {
			c.Format, c.People, c.Days, c.Lines, c.From = "rspamd_json", 600, days, 3000, "2026-01-07"
		}))
		lines(t, m, nil)
		totals := m.MailTruthFor(Format{Rule: true}).Totals
		begin := time.Date(2026, 1, 7, 0, 0, 0, 0, m.zone)
		share := totals.Last.Sub(begin).Hours() / begin.AddDate(0, 0, days).Sub(begin).Hours()
		if totals.Messages != 300 || totals.Forwarded == 0 || totals.Forwarded > 75 || share < 0.6 || share > 1.2 {
			t.Errorf("%d days: %+v, which is %.2f of the days", days, totals, share)
		}
	}
}

// Rows come in order, and queue ids are used again, but never by two messages at a time.
func TestPostfixQueueIDsAreUsedAgain(t *testing.T) {
	f, _ := FormatByName("postfix_syslog")
	m := build(t, small(func(c *Config) { c.Format, c.Lines, c.Days = f.Name, 60_000, 2 }))
	open, uses := map[string]bool{}, map[string]int{}
	var last time.Time
	filtered, deferred, bounced := 0, 0, 0
	lines(t, m, func(line []byte) {
		text := string(line)
		at, err := time.Parse(time.RFC3339, text[:32])
		if err != nil || at.Before(last) {
			t.Fatalf("%v, or time goes backwards, in %q", err, text)
		}
		last = at
		fields := strings.SplitN(text, " ", 5)
		id := fields[1] + " " + strings.TrimSuffix(fields[3], ":")
		switch {
		case strings.Contains(text, ": client="):
			if open[id] {
				t.Fatalf("%s is used twice at a time", id)
			}
			open[id] = true
			uses[id]++
		case strings.HasSuffix(text, ": removed"):
			if !open[id] {
				t.Fatalf("%s is removed but not there", id)
			}
			delete(open, id)
		case strings.Contains(text, ": to=<") && !open[id]:
			t.Fatalf("a delivery of what is not there: %q", text)
		case strings.Contains(text, "queued as") && strings.Contains(text, "127.0.0.1]:10024"):
			filtered++
		case strings.Contains(text, "status=deferred"):
			deferred++
		case strings.Contains(text, "status=bounced"):
			bounced++
		}
	})
	again := 0
	for _, n := range uses {
		if n > 1 {
			again++
		}
	}
	if len(open) > 0 || again < 100 || filtered < 5000 || deferred < 20 || bounced < 5 {
		t.Errorf("%d open, %d used again, %d filtered, %d deferred, %d bounced", len(open), again, filtered, deferred, bounced)
	}
}

func TestIdentityNumbers(t *testing.T) {
	r := newRandom(7, 7)
	for fault := range 7 {
		for range 500 {
			number := identityNumber(r, fault)
			if hasIdentityNumber(number) != (fault == 0) {
				t.Fatalf("%q is or is not a number, fault %d", number, fault)
			}
			if fault == 0 {
				digits := strings.NewReplacer("-", "").Replace(number)
				if serial, _ := strconv.Atoi(digits[len(digits)-4 : len(digits)-1]); serial < 980 || serial > 989 {
					t.Fatalf("serial %d could be a person's", serial)
				}
			}
		}
	}
	for digits, want := range map[string]int{"811218987": 6, "640823323": 4, "411111111111111": 1} {
		if got := luhn(digits); got != want {
			t.Errorf("check digit of %s is %d, want %d", digits, got, want)
		}
	}
}

func TestMailTruthIsReadableJSON(t *testing.T) {
	m := build(t, small(func(c *Config) { c.Format, c.Lines = "rspamd_json", 5000 }))
	lines(t, m, nil)
	truth := m.MailTruthFor(m.format)
	var head, cells bytes.Buffer
	if err := truth.Write(&head); err != nil {
		t.Fatal(err)
	}
	var back MailTruth
	if err := json.Unmarshal(head.Bytes(), &back); err != nil || back.Totals.Messages != 500 || len(back.Domains) != 3 || len(back.Words) == 0 {
		t.Errorf("%v, %+v", err, back.Totals)
	}
	if err := truth.WriteCells(&cells); err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(&cells)
	for want := range truth.Cells() {
		var got MailCell
		if err := in.Decode(&got); err != nil || got != want {
			t.Fatalf("%v: %+v, want %+v", err, got, want)
		}
	}
	if in.More() {
		t.Error("more cells in the file than in the truth")
	}
}
