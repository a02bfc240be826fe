package casework

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"tillsyn/internal/audit"
)

func benchRows(n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{{"@timestamp", "2026-11-18T10:00:00.000Z"}, {"user.name", "anna.berg"}, {"http.request.method", "GET"}, {"url.domain", fmt.Sprintf("host%d.example", i)},
			{"url.path", "/a/b/c"}, {"http.response.status_code", int64(200)}, {"destination.bytes", int64(i)}}
	}
	return rows
}

// BenchmarkStateOf judges a decision with three approvals by a record of five hundred entries.
func BenchmarkStateOf(b *testing.B) {
	k := openDesk(b, nil).approved().looked(benchRows(1))
	for i := range 500 {
		k.append(audit.Entry{Kind: audit.AccessRefused, Actor: "gate", Counts: map[string]int64{"reason": int64(i)}})
	}
	record := get(k.log.Entries(b.Context()))
	e := Evidence{Decision: k.Decision, Digest: k.Digest, Acts: get(k.gate.store.Case(k.Decision.Case)).Acts, Record: record, Chain: k.chain}
	b.ReportAllocs()
	for b.Loop() {
		if s := StateOf(e, k.now); s.State != Active || len(s.Approvals) != 3 {
			b.Fatal(s)
		}
	}
}

// BenchmarkVerifyExport checks an archive of ten thousand rows as anybody would, offline.
func BenchmarkVerifyExport(b *testing.B) {
	const n = 10_000
	rows := benchRows(n)
	k := openDesk(b, nil).approved().looked(rows)
	file := get(os.ReadFile(k.export(rows).Path))
	trust := k.log.Trust()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := VerifyExport(bytes.NewReader(file), int64(len(file)), trust); err != nil || r.Rows != n {
			b.Fatal(r.Rows, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
	b.ReportMetric(float64(len(file))/n, "B/row")
}

// BenchmarkWriteRows writes rows as they are exported: the table, and for machines.
func BenchmarkWriteRows(b *testing.B) {
	const n = 1000
	rows := benchRows(n)
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		for _, f := range rowFiles(rows) {
			if err := f.write(&out); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.SetBytes(int64(out.Len()))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}

// BenchmarkLookup looks at a person of a small town: nearly all of it is what the gate adds to reading, the intent on record and
// seen in a checkpoint before, and the result after.
func BenchmarkLookup(b *testing.B) {
	h := newHouse(b, newDatabase(b))
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		if n%MaxLookups == 0 {
			h.active(func(d *Decision) { d.Case, d.Lookups = fmt.Sprintf("KS %d", n/MaxLookups), MaxLookups })
		}
		d := get(h.gate.store.Case(fmt.Sprintf("KS %d", n/MaxLookups))).Decision
		b.StartTimer()
		began := time.Now()
		if rows, _, err := h.lookup(d); err != nil || len(rows) == 0 {
			b.Fatal(len(rows), err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
