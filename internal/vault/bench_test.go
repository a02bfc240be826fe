package vault_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What it costs to seal an event, by how many of one person come together: taken in, and made into capsules.
func BenchmarkSealing(b *testing.B) {
	for _, each := range []int{2, 20, 200} {
		b.Run(fmt.Sprintf("%d-a-capsule", each), func(b *testing.B) {
			people := 20_000 / each
			w := benchWriter(b)
			c := vault.NewCollector(w)
			events := make([]vault.Event, each*people)
			names := make([][]byte, people)
			for p := range people {
				names[p] = fmt.Appendf(nil, "person.%d", p)
				for i := range each {
					events[i*people+p] = benchEvent(p, i)
				}
			}
			var in, out time.Duration
			var bytes, n int
			b.ReportAllocs()
			batch := func() {
				began := used(b)
				for i := range each {
					for p := range people {
						c.Add(c.Person(group, names[p]), vault.Web, &events[i*people+p])
					}
				}
				middle := used(b)
				in += middle - began
				blocks, err := c.Blocks(vault.Watermark{Mark: 1, Next: 1, BegunAt: noon})
				if err != nil {
					b.Fatal(err)
				}
				for _, x := range blocks {
					c.Inserted(x.Table, x.Day)
					if x.Table == "web_capsules" {
						for _, sealed := range x.Columns[9].([][]byte) {
							bytes += len(sealed)
						}
					}
				}
				out += used(b) - middle
				n += each * people
				c.Reset()
			}
			batch() // draws the keys
			in, out, bytes, n = 0, 0, 0, 0
			for b.Loop() {
				batch()
			}
			b.ReportMetric(float64(in.Nanoseconds())/float64(n), "cpu-ns/event-in")
			b.ReportMetric(float64(out.Nanoseconds())/float64(n), "cpu-ns/event-sealed")
			b.ReportMetric(float64(bytes)/float64(n), "B/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A lookup over 90 days in a tenant of 10,000 people: keys found, shares opened, first and last event. The others' rows are of
// random bytes, since nobody opens them.
func BenchmarkLookup90Days(b *testing.B) {
	w := newTown(b)
	const people, each = 10_000, 230
	c := vault.NewCollector(w.writer)
	for back := range 90 {
		p := c.Person(group, []byte("anna"))
		for i := range each {
			e := benchEvent(1, i)
			e.Time = day(back).Time().UnixMilli() + int64(i)*100_000
			c.Add(p, vault.Web, &e)
		}
		w.put(c)
		d := day(back).String()
		w.exec(fmt.Sprintf(`INSERT INTO web_keys SELECT toDate('%s'), 'norrbo', 'staff', concat('unit-', toString(number %% 40)), randomFixedString(16), randomFixedString(16),
			randomString(80), randomString(80), randomString(80), randomString(95), 1 FROM numbers(%d)`, d, people))
		w.exec(fmt.Sprintf(`INSERT INTO web_capsules SELECT toDate('%s') AS day, 0 AS mark, 'norrbo' AS tenant, concat('unit-', toString(number %% 40)) AS unit, randomFixedString(16) AS tag,
			randomFixedString(16) AS key, toDateTime(toDate('%s'), 'UTC') + number AS first, first AS last, 5 AS count, randomString(600) AS capsule, 0 AS next,
			toDateTime(0) AS begun_at FROM numbers(%d)`, d, d, people))
	}
	scope := scopeOf(89, 0, []string{vault.Web}, any(), "anna")
	for b.Loop() {
		began := time.Now()
		keys, err := w.store.Keys(b.Context(), vault.KeyScope{Tenant: tenant, Kinds: scope.Kinds, From: scope.From, To: scope.To, Subjects: scope.Subjects, Lookup: w.lookup.Key()})
		if err != nil || len(keys) != 90 {
			b.Fatal(len(keys), err)
		}
		found := time.Since(began)
		p, err := vault.NewPermit(scope)
		if err != nil {
			b.Fatal(err)
		}
		for _, k := range keys {
			key, subject, err := w.roles.OpenKey(k)
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Add(k, subject, key); err != nil {
				b.Fatal(err)
			}
		}
		opened := time.Since(began)
		var first time.Duration
		reading, err := w.store.Read(b.Context(), p, func(vault.Event) error {
			if first == 0 {
				first = time.Since(began)
			}
			return nil
		})
		if err != nil || reading.Events != 90*each || reading.Unopened != nil {
			b.Fatal(reading, err)
		}
		b.ReportMetric(float64(found.Milliseconds()), "ms-keys-found")
		b.ReportMetric(float64(opened.Milliseconds()), "ms-shares-opened")
		b.ReportMetric(float64(first.Milliseconds()), "ms-first-event")
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-last-event")
		b.ReportMetric(float64(reading.Events), "events")
	}
}

func benchWriter(b *testing.B) *vault.Writer {
	lookup, err := vault.OpenLookup(filepath.Join(b.TempDir(), "lookup.key"), func() time.Time { return noon })
	if err != nil {
		b.Fatal(err)
	}
	ring, err := vault.NewKeyring(30_000)
	if err != nil {
		b.Fatal(err)
	}
	w, err := vault.NewWriter(vault.FixedRegisters(map[string]*seal.Sealer{tenant: ingesttest.NewRoles(b).Sealer(b)}), lookup, ring)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// benchEvent is the i-th event of a person who goes from page to page.
func benchEvent(person, i int) vault.Event {
	var e vault.Event
	e.Reset()
	x := uint32(person*7919+i*104729) * 2654435761
	e.Time, e.Duration = noon.UnixMilli()+int64(i)*1500+int64(x%1000), time.Duration(x%3000)*time.Millisecond
	e.User, e.Method, e.Scheme = fmt.Appendf(nil, "person.%d", person), []byte("GET"), []byte("https")
	e.Domain, e.Path = fmt.Appendf(nil, "www.site-%d.example.se", x>>16%40), fmt.Appendf(nil, "/nyheter/artikel-%d.html", x%100_000)
	e.Status, e.Action, e.DestinationBytes, e.MIME = 200, 1, int64(x%90_000), []byte("text/html")
	e.Category, e.Class, e.List, e.Version, e.Country = []byte("press"), []byte("ordinary"), []byte("ut1-press"), []byte("sha256:0123456789ab"), []byte("SE")
	return e
}

// What drawing the data keys of a day costs: one for each person and kind.
func BenchmarkNewKey(b *testing.B) {
	sealer := ingesttest.NewRoles(b).Sealer(b)
	began := used(b)
	n := 0
	for b.Loop() {
		if _, _, err := sealer.NewKey(seal.Binding{Tenant: tenant, Population: "staff", Unit: "school", Kind: vault.Web, Subject: []byte("anna"), Day: day(0), Tag: seal.Tag{1}}, seal.OriginKey{1}); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric((used(b)-began).Seconds()/float64(n)*10_000, "cpu-s/10000-people")
}
