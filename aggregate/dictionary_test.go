package aggregate

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
)

// FAULTS 31: ten thousand staff ids against everything that the distinct states of the statistics tables hold, without the
// statistics key. And what one cell holds of a person is in no other cell.
func TestCase31DictionaryOfStaffIDsAgainstDistinctStates(t *testing.T) {
	const tenant, people = "norrbo", 10_000
	zone := stockholm(t)
	at := time.Date(2026, 11, 10, 9, 0, 0, 0, time.UTC)
	month := seal.MonthOf(at)
	key := seal.NewStatisticsKey(month)
	r := NewRollup(key)
	id := func(i int) string { return fmt.Sprintf("staff%05d", i) }
	for i := 0; i < people; i += 50 { // a fiftieth of those who might be there
		g := Group{Tenant: tenant, Population: "staff", Unit: []string{"school", "archive"}[i/50%2], Zone: zone}
		for _, s := range []Site{{Name: "news.example", Domain: "news.example", Category: "news"}, {Name: "bets.example", Domain: "bets.example", Category: "gambling"}} {
			r.Add(r.Subject(g, []byte(id(i))), r.Site(s), r.Country("SE"), Request{Time: at.UnixMilli(), Requests: 1})
		}
	}
	blocks, err := r.Blocks(Watermark{Mark: 1, Next: 1, BegunAt: at})
	if err != nil {
		t.Fatal(err)
	}
	db := open(t)
	insert(t, db, blocks)

	cells := map[uint64]map[string]bool{} // by token: the cells it is in
	states := 0
	for _, q := range []string{
		"SELECT concat('web_hourly/', unit, '/', category) AS cell, hex(people) AS state FROM web_hourly WHERE mark = 0",
		"SELECT concat('web_domains_daily/', unit, '/', domain) AS cell, hex(people) AS state FROM web_domains_daily WHERE mark = 0",
		"SELECT concat('web_countries_daily/', unit, '/', country) AS cell, hex(people) AS state FROM web_countries_daily WHERE mark = 0",
		"SELECT concat('slots/', unit, '/', category) AS cell, hex(active_slots) AS state FROM web_hourly WHERE mark = 0",
		"SELECT concat('domain slots/', unit, '/', domain) AS cell, hex(active_slots) AS state FROM web_domains_daily WHERE mark = 0",
		"SELECT concat('country slots/', unit, '/', country) AS cell, hex(active_slots) AS state FROM web_countries_daily WHERE mark = 0",
	} {
		if err := db.Query(t.Context(), q, nil, func(row clickhouse.Row) error {
			var cell, text string
			if err := row.Scan(&cell, &text); err != nil {
				return err
			}
			states++
			for _, token := range tokensOf(t, text) {
				if cells[token] == nil {
					cells[token] = map[string]bool{}
				}
				cells[token][cell] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range cells {
		if len(in) > 1 {
			t.Errorf("one token is in %d cells", len(in))
		}
	}

	matches, tries := 0, 0
	guess := func(b []byte) {
		for i := 0; i+8 <= len(b); i += 8 {
			for _, v := range [2]uint64{binary.LittleEndian.Uint64(b[i:]), binary.BigEndian.Uint64(b[i:])} {
				if tries++; cells[v] != nil {
					matches++
				}
			}
		}
	}
	names := []string{"", "web_hourly", "web_hourly/school/news", "school", "news", "2026-11"}
	others := []*seal.Tokenizer{}
	next, err := key.Forget(month + 1) // what is left when the month is over
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []seal.StatisticsKey{seal.NewStatisticsKey(month), next} {
		tk, err := k.Tokenizer(k.Oldest())
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, tk)
	}
	own, err := key.Tokenizer(month)
	if err != nil {
		t.Fatal(err)
	}
	tagger, err := seal.NewLookupKey(seal.DayOf(at)).Tagger(seal.DayOf(at))
	if err != nil {
		t.Fatal(err)
	}
	cell := seal.Cell("web_hourly", tenant, "staff", "", "gambling")
	known := 0
	for i := range people {
		for _, name := range names {
			for _, text := range []string{name + id(i), id(i) + name, tenant + "\x00" + id(i) + name, strings.ToUpper(id(i)) + name} {
				a, b, c, d := sha256.Sum256([]byte(text)), sha1.Sum([]byte(text)), md5.Sum([]byte(text)), fnv.New64a()
				d.Write([]byte(text))
				guess(a[:])
				guess(b[:16])
				guess(c[:])
				guess(d.Sum(nil))
			}
		}
		tag := tagger.Tag(tenant, []byte(id(i)))
		guess(tag[:])
		for _, tk := range others {
			guess(binary.LittleEndian.AppendUint64(nil, tk.People(tk.Subject(tenant, []byte(id(i))), cell)))
		}
		if cells[own.People(own.Subject(tenant, []byte(id(i))), cell)] != nil {
			known++
		}
	}
	// ClickHouse's own hashes: what an operator would try first.
	for _, hash := range []string{"sipHash64", "cityHash64", "xxHash64", "murmurHash2_64", "farmHash64", "intHash64"} {
		of := "concat('staff', leftPad(toString(number), 5, '0'))"
		if hash == "intHash64" {
			of = "number"
		}
		if err := db.Query(t.Context(), "SELECT "+hash+"("+of+") AS h FROM numbers(10000)", nil, func(row clickhouse.Row) error {
			var v uint64
			err := row.Scan(&v)
			guess(binary.LittleEndian.AppendUint64(nil, v))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if matches != 0 || known != people/50 {
		t.Errorf("%d matches without the key; with it %d of %d", matches, known, people/50)
	}
	t.Logf("%d tokens of %d states; %d guesses, %d matches; with the key %d", len(cells), states, tries, matches, known)
}

// tokensOf are the numbers in a state of uniqExact(UInt64): how many as a varint, then eight bytes each.
func tokensOf(t *testing.T, state string) []uint64 {
	t.Helper()
	b, err := hex.DecodeString(state)
	if err != nil {
		t.Fatal(err)
	}
	n, used := binary.Uvarint(b)
	if b = b[max(0, used):]; used <= 0 || uint64(len(b)) != 8*n {
		t.Fatalf("a state says %d numbers and has %d bytes", n, len(b))
	}
	var out []uint64
	for ; len(b) > 0; b = b[8:] {
		out = append(out, binary.LittleEndian.Uint64(b))
	}
	return out
}
