package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"tillsyn/ingest/category"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/ingest/sensitive"
	"tillsyn/internal/synthetic"
)

// parserOf is the parser of a format, told what the generated configuration tells it.
func parserOf(t *testing.T, f synthetic.Format, zone *time.Location) parse.Parser {
	t.Helper()
	o := parse.Options{Format: f.Reader, Zone: zone, Logformat: f.Spec, Layout: f.Layout}
	if f.UTC {
		o.Zone = time.UTC
	}
	if f.Mail {
		for _, tenant := range synthetic.Tenants() {
			o.InternalDomains = append(o.InternalDomains, tenant.Mail)
		}
	}
	parser, err := parse.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// utf8Of answers text as UTF-8: what is not is ISO 8859-1.
func utf8Of(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var wide []rune
	for i := range len(text) {
		wide = append(wide, rune(text[i]))
	}
	return string(wide)
}

// Every line that the municipality's proxies write is read, by the parsers that are built for real ones, as the event that it
// was, so far as the format can say.
func TestGeneratedLinesAreReadAsTheEventsTheyWere(t *testing.T) {
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range synthetic.Formats() {
		if f.Mail {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			c := synthetic.DefaultConfig()
			c.Format, c.Lines, c.People, c.Latin1, c.Bad = f.Name, 20_000, 1000, 0.3, 0.05
			m, err := synthetic.New(c)
			if err != nil {
				t.Fatal(err)
			}
			parser := parserOf(t, f, zone)
			encode := f.New(zone)
			var line []byte
			faults := 0
			for {
				e, ok := m.NextEvent()
				if !ok || faults > 10 {
					break
				}
				line = synthetic.AppendLine(line[:0], e, encode)
				events, rejects := 0, 0
				parser.Parse(line, func(got *parse.Event) {
					events++
					if e.Bad != "" {
						return
					}
					at, user := e.Time, e.User
					if f.Whole {
						at = at / 1000 * 1000
					}
					if f.Text {
						user = utf8Of(user)
					}
					path, _, _ := strings.Cut(string(e.AppendPath(nil)), "?")
					if e.Method == "CONNECT" {
						path = strings.Trim(string(got.Path), "/") // "/" is no path either
					}
					action := parse.Allowed
					switch {
					case !f.Verdict:
						action = parse.Unsaid
					case e.Blocked:
						action = parse.Blocked
					case strings.HasPrefix(e.Result, "TAG_NONE") && got.Action != parse.Blocked:
						action = got.Action // the line need not say
					}
					server := netip.Addr{}
					if f.Server && e.ServerIP != "" {
						server = netip.MustParseAddr(e.ServerIP)
					}
					sent, received, status := int64(-1), int64(-1), -1
					if f.Sent {
						sent = e.BytesOut
					}
					if f.Received {
						received = e.BytesIn
					}
					if f.Status {
						status = e.Status
					}
					check := func(what string, ok bool) {
						if !ok {
							faults++
							t.Errorf("%s is read wrongly in %q", what, line)
						}
					}
					check("time", got.Time == at)
					check("source address", got.SourceIP == netip.MustParseAddr(e.SourceIP))
					// Squid doubles a backslash (%[un). Whether one or two are kept, it is the same person each time.
					check("user", strings.ReplaceAll(string(got.User), `\\`, `\`) == user)
					check("method", strings.EqualFold(string(got.Method), e.Method))
					check("host", string(got.Domain) == e.Host.Name)
					check("path", string(got.Path) == path || e.Method == "CONNECT" && path == "")
					check("status", int(got.Status) == status || status == 0 && got.Status == -1)
					check("action", got.Action == action)
					check("bytes in", got.DestinationBytes == received)
					check("bytes out", got.SourceBytes == sent)
					check("server", got.DestinationIP == server)
					check("count", got.Count == 1)
				}, func(parse.Reject) { rejects++ })
				switch {
				case e.Bad == "" && (events != 1 || rejects != 0),
					e.Bad == synthetic.BadTime && events != 1, // readable; whether it is plausible is not the parser's question
					e.Bad != "" && e.Bad != synthetic.BadTime && (events != 0 || rejects != 1):
					faults++
					t.Errorf("%d events and %d rejects for a line that is %q: %q", events, rejects, e.Bad, line)
				}
			}
		})
	}
}

// All rows of all messages are read without a reject, and those that count say of each message what was true of it, so far as
// the format can say.
func TestGeneratedMailIsReadAsTheMessagesItWas(t *testing.T) {
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	type mail struct {
		from, subject    string
		to               map[string]bool
		bytes            int64
		forwarded, match bool
		hour             int64
	}
	for _, f := range synthetic.Formats() {
		if !f.Mail {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			c := synthetic.DefaultConfig()
			c.Format, c.Lines, c.People, c.Latin1 = f.Name, 30_000, 1000, 0.3
			m, err := synthetic.New(c)
			if err != nil {
				t.Fatal(err)
			}
			parser := parserOf(t, f, zone)
			faults, counted := 0, 0
			got := map[string]*mail{}
			read := func(_ int, line []byte) error {
				parser.Parse(line, func(e *parse.Event) {
					if e.Kind != parse.Mail {
						t.Errorf("no mail: %q", line)
					}
					if e.Trace {
						return
					}
					counted += int(e.Count)
					id := string(e.MessageID)
					g := got[id]
					if g == nil {
						g = &mail{from: string(e.From), subject: string(e.Subject), to: map[string]bool{}, bytes: e.SourceBytes, hour: e.Time / 3_600_000}
						got[id] = g
					}
					if g.from != string(e.From) || g.subject != string(e.Subject) || g.bytes != e.SourceBytes || e.From == nil || g.hour != e.Time/3_600_000 {
						faults++
						t.Errorf("two rows say different things of one message: %q", line)
					}
					g.forwarded = g.forwarded || e.Forwarded
					for _, to := range e.To {
						g.to[string(to)] = true
					}
				}, func(r parse.Reject) {
					faults++
					t.Errorf("rejected for %s: %q", r.Reason, line)
				})
				return nil
			}
			log := f.NewMailLog(zone)
			for _, line := range log.Header() {
				read(0, line)
			}
			var want []synthetic.Message
			for faults < 10 {
				e, ok := m.NextMessage()
				if !ok {
					break
				}
				want = append(want, *e)
				log.Add(e, read)
			}
			log.Close(read)
			for _, e := range want {
				g := got[e.ID]
				if faults > 10 {
					break
				}
				if g == nil {
					faults++
					t.Errorf("nothing counts of %+v", e)
					continue
				}
				g.match = true
				same := len(g.to) == len(e.To)
				for _, to := range e.To {
					same = same && g.to[to]
				}
				subject := e.Subject
				if !f.Subject {
					subject = ""
				}
				if !same || g.from != e.From || g.bytes != e.Bytes || utf8Of(g.subject) != subject || g.forwarded != (e.Rule && f.Rule) || g.hour != e.Time/3_600_000 {
					faults++
					t.Errorf("read %+v\nwas %+v", *g, e)
				}
			}
			for _, g := range got {
				if !g.match {
					t.Errorf("a message that never was: %+v", *g)
				}
			}
			if len(want) < 2900 || f.Name != "exchange2003_msgtrk_tsv" && counted != len(want) {
				t.Errorf("%d messages; the rows count %d", len(want), counted)
			}
		})
	}
}

// What the rows of all mail formats say, resolved by the directory and the lists that come along and counted by the definitions,
// is the truth.
func TestGeneratedMailCountsAsTheTruthSays(t *testing.T) {
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := synthetic.DefaultConfig()
	c.Lines, c.People, c.Latin1 = 20_000, 1000, 0.3
	if err := runGenerate(context.Background(), io.Discard, io.Discard, generateOptions{Config: c, out: dir, formats: "squid_native", now: time.Now}); err != nil {
		t.Fatal(err)
	}
	config, err := loadConfig(filepath.Join(dir, "tillsyn.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	resolver, err := resolve.New(config.Resolve, resolve.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Load(); err != nil {
		t.Fatal(err)
	}
	config.Lists.Directory = ""
	keeper, err := category.New(config.Lists)
	if err != nil {
		t.Fatal(err)
	}
	keeper.Log = quiet
	if err := keeper.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	source := config.Ingest.Sources[0].Tenant
	own := map[string]bool{}
	for _, tenant := range synthetic.Tenants() {
		own[tenant.Mail] = true
	}
	domainOf := func(address []byte) string {
		return strings.ToLower(string(address[bytes.LastIndexByte(address, '@')+1:]))
	}
	type sum struct {
		messages map[string]int64
		people   map[string]bool
		rule     map[string]bool
	}
	for _, f := range synthetic.Formats() {
		if !f.Mail {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			c.Format = f.Name
			m, err := synthetic.New(c)
			if err != nil {
				t.Fatal(err)
			}
			parser, log := parserOf(t, f, zone), f.NewMailLog(zone)
			sums := map[synthetic.MailCell]*sum{}
			count := func(e *parse.Event, address, other []byte, who resolve.Who, direction string) {
				cell := synthetic.MailCell{Level: synthetic.LevelMailDomainDay, Period: time.UnixMilli(e.Time).In(zone).Format(time.DateOnly),
					Tenant: who.Tenant, Population: who.Population, Direction: direction, Category: synthetic.CategoryInternal}
				if cell.Domain = domainOf(other); direction != synthetic.DirectionInternal {
					v := keeper.Lists().Lookup([]byte(cell.Domain))
					if cell.Category = v.Category; v.Category == "" {
						cell.Category = synthetic.CategoryUncategorised
					}
					if site, err := publicsuffix.EffectiveTLDPlusOne(cell.Domain); err == nil {
						cell.Domain = site
					}
					switch {
					case v.Class == category.Protected:
						cell.Domain = synthetic.DomainProtected
					case len(other) == 0:
						cell.Domain = synthetic.CounterpartNone
					}
				}
				for range 2 {
					hour := cell
					hour.Level, hour.Period, hour.Domain = synthetic.LevelMailHour, time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:00:00Z"), ""
					for _, k := range []synthetic.MailCell{cell, hour} {
						s := sums[k]
						if s == nil {
							s = &sum{map[string]int64{}, map[string]bool{}, map[string]bool{}}
							sums[k] = s
						}
						id := string(e.MessageID)
						s.messages[id] = e.SourceBytes
						s.people[strings.ToLower(string(address))] = true
						if e.Forwarded {
							s.rule[id] = true
						}
					}
					cell.Unit = who.Unit
				}
			}
			read := func(_ int, line []byte) error {
				parser.Parse(line, func(e *parse.Event) {
					if e.Trace {
						return
					}
					ours := func(address []byte) (resolve.Who, bool) {
						who, known := resolver.Mail(source, address)
						return who, known || own[domainOf(address)]
					}
					sender, fromUs := ours(e.From)
					for _, to := range e.To {
						switch recipient, toUs := ours(to); {
						case fromUs && toUs:
							count(e, e.From, to, sender, synthetic.DirectionInternal)
							count(e, to, e.From, recipient, synthetic.DirectionInternal)
						case fromUs:
							count(e, e.From, to, sender, synthetic.DirectionOutbound)
						case toUs:
							count(e, to, e.From, recipient, synthetic.DirectionInbound)
						}
					}
				}, func(parse.Reject) { t.Error("a row is rejected") })
				return nil
			}
			for {
				e, ok := m.NextMessage()
				if !ok {
					break
				}
				log.Add(e, read)
			}
			log.Close(read)
			faults, compared := 0, 0
			for cell := range m.MailTruthFor(f).Cells() {
				if cell.Direction == "" || cell.Category == "" || cell.Level != synthetic.LevelMailDomainDay && cell.Level != synthetic.LevelMailHour {
					continue
				}
				key := cell
				key.Messages, key.Bytes, key.People, key.Forwarded, key.IdentityNumbers, key.Sensitive = 0, 0, 0, 0, 0, 0
				got := key
				got.IdentityNumbers, got.Sensitive = cell.IdentityNumbers, cell.Sensitive
				if s := sums[key]; s != nil {
					got.Messages, got.People, got.Forwarded = int64(len(s.messages)), int64(len(s.people)), int64(len(s.rule))
					for _, n := range s.messages {
						got.Bytes += n
					}
				}
				delete(sums, key)
				compared++
				if got != cell {
					if faults++; faults < 5 {
						t.Errorf("counted %+v\n   truth %+v", got, cell)
					}
				}
			}
			if faults > 0 || len(sums) > 0 || compared < 5000 {
				t.Errorf("%d of %d cells differ, %d are in no truth", faults, compared, len(sums))
			}
		})
	}
}

// What was planted in subjects is what is found there, near misses and ISO 8859-1 included.
func TestGeneratedSubjectsHoldWhatIsFoundInThem(t *testing.T) {
	c := synthetic.DefaultConfig()
	c.Lines, c.People = 100_000, 1000
	m, err := synthetic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	numbers, others := 0, 0
	for faults := 0; faults < 10; {
		e, ok := m.NextMessage()
		if !ok {
			break
		}
		found := sensitive.Find([]byte(e.Subject))
		var narrow []byte
		for _, r := range e.Subject {
			narrow = append(narrow, byte(r)) // no subject has letters beyond ISO 8859-1
		}
		if sensitive.Find(narrow) != found {
			faults++
			t.Errorf("%q holds something else in ISO 8859-1", e.Subject)
		}
		if (found.IdentityNumbers > 0) != e.IdentityNumber || found.Any() != e.Sensitive {
			faults++
			t.Errorf("%q holds a number: %v, anything sensitive: %v; found %+v", e.Subject, e.IdentityNumber, e.Sensitive, found)
		}
		if e.IdentityNumber {
			numbers++
		} else if e.Sensitive {
			others++
		}
	}
	if numbers < 200 || others < 100 {
		t.Errorf("%d subjects with numbers, %d with other things", numbers, others)
	}
}

// The configuration that comes along is one that tillsyn takes, and with it the resolver and the lists, which were written
// against their own documentation, find everybody and everything where the municipality has put them.
func TestGeneratedConfigurationReadsWhatWasGenerated(t *testing.T) {
	dir := t.TempDir()
	c := synthetic.DefaultConfig()
	c.Lines, c.People = 20_000, 1000
	if err := runGenerate(context.Background(), io.Discard, io.Discard, generateOptions{Config: c, out: dir, formats: "all", now: time.Now}); err != nil {
		t.Fatal(err)
	}
	config, err := loadConfig(filepath.Join(dir, "tillsyn.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Ingest.Sources) != len(synthetic.Formats()) {
		t.Errorf("sources: %+v", config.Ingest.Sources)
	}
	quiet := slog.New(slog.DiscardHandler)
	resolver, err := resolve.New(config.Resolve, resolve.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Load(); err != nil {
		t.Fatal(err)
	}
	config.Lists.Directory = ""
	keeper, err := category.New(config.Lists)
	if err != nil {
		t.Fatal(err)
	}
	keeper.Log = quiet
	if err := keeper.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	m, err := synthetic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range m.Hosts() {
		v := keeper.Lists().Lookup([]byte(h.Name))
		if v.Category == "" {
			v.Category = synthetic.CategoryUncategorised
		}
		if v.Category != h.Category || v.Class.String() != h.Class {
			t.Errorf("%s is %s, %s by the lists; it is %s, %s", h.Name, v.Category, v.Class, h.Category, h.Class)
		}
	}
	source := config.Ingest.Sources[0].Tenant
	for faults := 0; faults < 10; {
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		who := resolver.Who(source, []byte(e.User), netip.MustParseAddr(e.SourceIP))
		if who.Tenant != e.Tenant || who.Population != e.Population || who.Unit != e.Unit || string(who.Subject.AppendPersonalData(nil)) != e.Subject {
			faults++
			t.Errorf("user %q from %s is resolved to %s, %s, %s; it is %s, %s, %s", e.User, e.SourceIP,
				who.Tenant, who.Population, who.Unit, e.Tenant, e.Population, e.Unit)
		}
		if e.ServerIP != "" && resolver.Country(netip.MustParseAddr(e.ServerIP)) != e.Country {
			faults++
			t.Errorf("%s is in %s, not %s", e.ServerIP, e.Country, resolver.Country(netip.MustParseAddr(e.ServerIP)))
		}
	}
}

func TestGenerateWritesWhatItSays(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	var out, log bytes.Buffer
	app := newApp()
	app.Writer, app.ErrWriter = &out, &log
	if code := run(ctx, app, []string{"tillsyn", "generate", "--out", dir, "--format", "all", "--lines", "3000", "--people", "600", "--shards", "3", "--bad", "0.01"}); code != exitOK {
		t.Fatalf("exit code %d: %s", code, log.String())
	}
	for _, f := range synthetic.Formats() {
		lines := 0
		for _, shard := range []string{"0", "1", "2"} {
			text, err := os.ReadFile(filepath.Join(dir, f.Name+"."+shard+".log"))
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(text, []byte{'\n'})
		}
		if !f.Mail && lines != 3000 || f.Mail && lines < 300 {
			t.Errorf("%s: %d lines", f.Name, lines)
		}
		cells, err := os.Open(filepath.Join(dir, "truth."+f.Name+".ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		defer cells.Close()
		if f.Mail {
			var messages int64
			for in := bufio.NewScanner(cells); in.Scan(); {
				var c synthetic.MailCell
				if err := json.Unmarshal(in.Bytes(), &c); err != nil {
					t.Fatal(err)
				}
				if c.Level == synthetic.LevelMailMonth && c.Unit+c.Category == "" && (c.Direction == synthetic.DirectionOutbound || c.Direction == synthetic.DirectionInbound) {
					messages += c.Messages
				}
			}
			if messages < 100 || messages > 300 {
				t.Errorf("%s: %d messages in the truth", f.Name, messages)
			}
			continue
		}
		var requests int64
		for in := bufio.NewScanner(cells); in.Scan(); {
			var c synthetic.Cell
			if err := json.Unmarshal(in.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			if c.Level == synthetic.LevelCountryMonth && c.Unit == "" {
				requests += c.Requests
			}
		}
		if requests < 2900 || requests > 3000 {
			t.Errorf("%s: %d requests in the truth", f.Name, requests)
		}
	}
	for _, name := range []string{"directory.csv", "country.mmdb", "tillsyn.yaml", "truth.json", "truth.mail.json", "lists/gambling.txt"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}

	out.Reset()
	if code := run(ctx, app, []string{"tillsyn", "generate", "--out", "-", "--lines", "100", "--people", "500"}); code != exitOK || bytes.Count(out.Bytes(), []byte{'\n'}) != 100 {
		t.Errorf("exit code %d, %d lines on standard output", code, bytes.Count(out.Bytes(), []byte{'\n'}))
	}
	out.Reset()
	if code := run(ctx, app, []string{"tillsyn", "generate", "--out", "-", "--format", "postfix_syslog", "--lines", "1000", "--people", "500"}); code != exitOK || bytes.Count(out.Bytes(), []byte(": client=localhost")) != 100 {
		t.Errorf("exit code %d, %d messages on standard output", code, bytes.Count(out.Bytes(), []byte(": client=localhost")))
	}
	for _, wrong := range [][]string{
		{}, {"--out", "-", "--format", "all"}, {"--out", dir, "--format", "morse"}, {"--out", dir, "--format", "squid_native, squid_native"}, {"--out", dir, "--lines", "0"}, {"--out", dir, "--days", "0"},
		{"--out", dir, "--from", "soon"}, {"--out", dir, "--bad", "0.9"}, {"--out", dir, "extra"}, {"--out", dir, "--people", "3"}, {"--nonsense"},
	} {
		if code := run(ctx, app, append([]string{"tillsyn", "generate"}, wrong...)); code != exitUsage {
			t.Errorf("%v: exit code %d, want %d", wrong, code, exitUsage)
		}
	}
	if err := runGenerate(ctx, failingWriter{}, io.Discard, generateOptions{Config: synthetic.DefaultConfig(), out: "-", formats: "squid_native", now: time.Now}); err == nil {
		t.Error("a full disk is no error")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := runGenerate(cancelled, io.Discard, io.Discard, generateOptions{Config: synthetic.DefaultConfig(), out: "-", formats: "squid_native", now: time.Now}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
