package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/ingest/ingesttest"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/internal/synthetic"
	"tillsyn/internal/vault"
)

// tenants are the names of the tenants of every town.
func tenants() (names []string) {
	for _, t := range synthetic.Tenants() {
		names = append(names, t.Name)
	}
	return names
}

// account is what must be in the vault when all lines are in.
func (w *town) account() *ingesttest.Account {
	twin, err := synthetic.New(w.Config())
	if err != nil {
		panic(err)
	}
	a := ingesttest.NewAccount()
	for {
		e, ok := twin.NextEvent()
		if !ok {
			return a
		}
		if text, ok := ingesttest.TruthOf(e); ok {
			a.Add(text, 1)
		}
	}
}

// compareVault fails the test unless every event of the account is in the vault, once, and no other.
func compareVault(t *testing.T, db *clickhouse.DB, roles *ingesttest.Roles, a *ingesttest.Account) ingesttest.Opened {
	t.Helper()
	want, shown := a.Events(), 0
	sum := roles.OpenAll(t, db, func(e *vault.Event) {
		text := ingesttest.Describe(e)
		a.Add(text, -1)
		if lost, extra := a.Rest(); extra > 0 && shown < 3 && lost+extra > 0 {
			shown++
			t.Logf("not in the truth: %s", text)
		}
	})
	if lost, extra := a.Rest(); lost+extra > 0 || sum.Events != want {
		t.Errorf("%d events are in the vault, %d must be: %d are missing, %d are too many", sum.Events, want, lost, extra)
	}
	return sum
}

func TestVaultEqualsTheTruth(t *testing.T) {
	w := newTown(t, synthetic.Config{Seed: 7, People: 700, From: "2026-10-24", Days: 2, Lines: 40_000, Format: "squid_native", Shards: 2, Bad: 0.002, Latin1: 0.2})
	db := open(t, enginetest.Start(t, enginetest.Config(t, nil)))
	roles := ingesttest.NewRoles(t)
	in := w.ingester(t, store(t, db, func() time.Time { return w.now }), Limits{Events: 9000, Grains: 900_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
	in.dep.Vault = roles.Writer(t, in.dep.Now, tenants()...)
	for _, p := range w.partitions() {
		if _, err := in.Once(t.Context(), p, w.source, nil); err != nil {
			t.Fatal(err)
		}
	}
	truth := w.Truth()
	compareTruth(t, db, truth)
	t.Logf("%+v", compareVault(t, db, roles, w.account()))
}

// Every field of every event of every format is in the vault as it was parsed, absent and empty apart, for each person it is
// about, and nothing else is.
func TestTheVaultKeepsEveryField(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	web, mail := 0, 0
	for _, f := range synthetic.Formats() {
		t.Run(f.Name, func(t *testing.T) {
			cfg := synthetic.Config{Seed: 11, People: 500, From: "2026-10-24", Days: 1, Lines: 1500, Format: "squid_native", Shards: 1, Latin1: 0.3}
			if !f.Mail {
				cfg.Format = f.Name
			}
			w := newTown(t, cfg)
			w.source.Format, w.source.Layout, w.source.Logformat, w.source.InternalDomains = f.Reader, f.Layout, f.Spec, nil
			if f.UTC {
				w.source.TimeZone = "UTC"
			}
			p := &inMemory{}
			if f.Mail {
				mail++
				for _, tenant := range synthetic.Tenants() {
					w.source.InternalDomains = append(w.source.InternalDomains, tenant.Mail)
				}
				zone, err := time.LoadLocation(synthetic.TimeZone)
				if err != nil {
					t.Fatal(err)
				}
				log := f.NewMailLog(zone)
				read := func(_ int, line []byte) error {
					p.lines = append(p.lines, append([]byte(nil), line...))
					return nil
				}
				for _, line := range log.Header() {
					read(0, line)
				}
				for range 400 {
					m, ok := w.NextMessage()
					if !ok {
						break
					}
					if err := log.Add(m, read); err != nil {
						t.Fatal(err)
					}
				}
				if err := log.Close(read); err != nil {
					t.Fatal(err)
				}
			} else {
				web++
				for {
					line, ok := w.Next(nil)
					if !ok {
						break
					}
					p.lines = append(p.lines, bytes.TrimSuffix(line, []byte("\n")))
				}
			}
			db := openNamed(t, e, "vault_"+f.Name)
			roles := ingesttest.NewRoles(t)
			in := w.ingester(t, store(t, db, func() time.Time { return w.now }), Limits{Events: 700, Grains: 900_000, Rejects: 1000, MaxAge: time.Hour, Sealed: 64 << 20})
			in.dep.Vault = roles.Writer(t, in.dep.Now, tenants()...)
			total, err := in.Once(t.Context(), p, w.source, nil)
			if err != nil {
				t.Fatal(err)
			}

			// What must be there, by the parser alone.
			account := ingesttest.NewAccount()
			parser, err := w.source.parser(func() time.Time { return w.now })
			if err != nil {
				t.Fatal(err)
			}
			who := newEventBatch(w.source, DefaultConfig().Batch, parser, w.resolver, w.lists, w.key)
			who.Begin(w.now)
			parsed := func(x *parse.Event) {
				var people []string
				note := func(s resolve.Who, ok bool) {
					id := string(s.Subject.AppendPersonalData(nil))
					if ok && id != "" && s.Population != resolve.PopulationGuest && !slices.Contains(people, id) {
						people = append(people, id)
					}
				}
				if x.Kind == parse.Web {
					if x.Status == 407 && len(bytes.TrimSpace(x.User)) == 0 {
						return
					}
					s := w.resolver.Who(w.source.Tenant, x.User, x.SourceIP)
					note(s, true)
				} else {
					for _, address := range append([][]byte{x.From, x.Forwarder}, x.To...) {
						s, ok := who.ours(address)
						note(s, ok)
					}
				}
				for _, person := range people {
					account.Add(everyField(person, &vault.Event{Time: x.Time, SourceIP: x.SourceIP, SourcePort: x.SourcePort, User: x.User, Count: x.Count,
						Method: x.Method, Scheme: x.Scheme, Domain: x.Domain, Port: x.Port, Path: x.Path, Query: x.Query, Referrer: x.Referrer,
						UserAgent: x.UserAgent, Status: x.Status, Action: uint8(x.Action), DestinationIP: x.DestinationIP, DestinationBytes: x.DestinationBytes,
						SourceBytes: x.SourceBytes, Duration: x.Duration, MIME: x.MIME, MessageID: x.MessageID, From: x.From, To: x.To,
						Recipients: uint32(len(x.To)), Subject: x.Subject, Direction: x.Direction, Outcome: x.Outcome, Code: x.Code, QueueID: x.QueueID,
						NetworkID: x.NetworkID, Trace: x.Trace, Forwarded: x.Forwarded, Forwarder: x.Forwarder}), 1)
				}
			}
			for _, line := range p.lines {
				parser.Parse(line, parsed, func(parse.Reject) {})
			}
			want := account.Events()
			sum := roles.OpenAll(t, db, func(e *vault.Event) { account.Add(everyField(string(e.Person), e), -1) })
			if lost, extra := account.Rest(); lost+extra > 0 || sum.Events != want || want < 300 {
				t.Errorf("%d events are in the vault, %d must be: %d are missing, %d are too many; %d lines, %+v", sum.Events, want, lost, extra, len(p.lines), total)
			}
		})
	}
	if web < 10 || mail < 6 {
		t.Errorf("%d formats of the web, %d of mail", web, mail)
	}
}

// everyField is all that a parser says of an event, in words.
func everyField(person string, e *vault.Event) string {
	var b strings.Builder
	fmt.Fprint(&b, person, " ", e.Time, e.SourceIP, e.SourcePort, e.Count, e.Port, e.Status, e.Action, e.DestinationIP, e.DestinationBytes, e.SourceBytes,
		int64(e.Duration), e.Recipients, e.Trace, e.Forwarded)
	for _, text := range append([][]byte{e.User, e.Method, e.Scheme, e.Domain, e.Path, e.Query, e.Referrer, e.UserAgent, e.MIME, e.MessageID, e.From,
		e.Subject, e.Direction, e.Outcome, e.Code, e.QueueID, e.NetworkID, e.Forwarder}, e.To...) {
		if text == nil {
			b.WriteString(" absent")
		} else {
			fmt.Fprintf(&b, " %q", text)
		}
	}
	return b.String()
}
