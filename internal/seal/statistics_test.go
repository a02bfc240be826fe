package seal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// testdata/statistics.json was computed once with another implementation (Python, hashlib and the cryptography package),
// from the package comment alone.
func TestStatisticsVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/statistics.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Key, Oldest, Month, Tenant, Subject, Site string
		Cell                                      []string
		Window                                    uint32
		Message, People, Slot, Mail               string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 6 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		k, err := ParseStatisticsKey([]byte(statisticsHeader + "\n" + v.Oldest + "\n" + v.Key + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		tk, err := k.Tokenizer(month(t, v.Month))
		if err != nil {
			t.Fatal(err)
		}
		s, c := tk.Subject(v.Tenant, []byte(v.Subject)), Cell(v.Cell...)
		if got := fmt.Sprintf("%016x", tk.People(s, c)); got != v.People {
			t.Errorf("people token of %+v: %s", v, got)
		}
		if got := fmt.Sprintf("%016x", tk.Slot(tk.SlotState(s, c), Site(v.Site), v.Window)); got != v.Slot {
			t.Errorf("slot token of %+v: %s", v, got)
		}
		if got := fmt.Sprintf("%016x", tk.Mail(tk.Message(v.Tenant, []byte(v.Message)), c)); got != v.Mail {
			t.Errorf("message token of %+v: %s", v, got)
		}
	}
}

func month(t *testing.T, s string) Month {
	t.Helper()
	m, err := time.Parse("2006-01", s)
	if err != nil {
		t.Fatal(err)
	}
	return MonthOf(m)
}

func TestRatchetGoesForwardOnly(t *testing.T) {
	k := NewStatisticsKey(month(t, "2026-08"))
	direct, err := k.Tokenizer(month(t, "2027-01"))
	if err != nil {
		t.Fatal(err)
	}
	later, err := k.Forget(month(t, "2026-12"))
	if err != nil {
		t.Fatal(err)
	}
	stepped, err := later.Tokenizer(month(t, "2027-01"))
	if err != nil {
		t.Fatal(err)
	}
	c := Cell("web_hourly", "t", "u")
	if direct.People(direct.Subject("t", []byte("anna")), c) != stepped.People(stepped.Subject("t", []byte("anna")), c) {
		t.Error("a key that forgot makes other tokens")
	}
	if _, err := later.Tokenizer(month(t, "2026-11")); !errors.Is(err, ErrForgotten) {
		t.Errorf("a forgotten month answers %v", err)
	}
	if later.Oldest() != month(t, "2026-12") {
		t.Error("oldest is", later.Oldest())
	}
}

func TestTokensOfTwoCellsOrMonthsDoNotJoin(t *testing.T) {
	k := NewStatisticsKey(month(t, "2026-08"))
	seen := map[uint64]bool{}
	n := 0
	for _, m := range []string{"2026-08", "2026-09"} {
		tk, err := k.Tokenizer(month(t, m))
		if err != nil {
			t.Fatal(err)
		}
		for _, tenant := range []string{"a", "b"} {
			for _, unit := range []string{"", "x", "xy"} {
				s, c := tk.Subject(tenant, []byte("anna")), Cell("web_hourly", tenant, "staff", unit, "")
				seen[tk.People(s, c)] = true
				seen[tk.Slot(tk.SlotState(s, c), Site("example.org"), 1)] = true
				seen[tk.Slot(tk.SlotState(s, c), Site("example.org"), 2)] = true
				n += 3
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d tokens, %d distinct", n, len(seen))
	}
	if Cell("ab", "c") == Cell("a", "bc") {
		t.Error("cells with moved borders read the same")
	}
}

func TestCheckTellsKeysApart(t *testing.T) {
	a, b := NewStatisticsKey(month(t, "2026-08")), NewStatisticsKey(month(t, "2026-08"))
	later, err := a.Forget(month(t, "2026-10"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(k StatisticsKey, m string) string {
		c, err := k.Check(month(t, m))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if check(a, "2026-10") != check(later, "2026-10") || check(a, "2026-10") == check(b, "2026-10") || check(a, "2026-09") == check(a, "2026-10") {
		t.Error("check values do not tell keys and months apart")
	}
	if _, err := later.Check(month(t, "2026-09")); !errors.Is(err, ErrForgotten) {
		t.Error("the check value of a forgotten month:", err)
	}
}

func TestZeroKeyRefuses(t *testing.T) {
	var k StatisticsKey
	if _, err := k.Tokenizer(MonthOf(time.Now())); err == nil {
		t.Error("the zero key makes tokens")
	}
}

func TestKeyNeverPrints(t *testing.T) {
	k := NewStatisticsKey(1)
	secret := base64.StdEncoding.EncodeToString(k.key[:])
	js, err := json.Marshal(struct{ K StatisticsKey }{k})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %x %q %d", k, k, k, k, k, k, k), fmt.Sprintf("%v", struct{ K StatisticsKey }{k}),
		fmt.Sprintf("%#v", &k), string(js),
	} {
		if strings.Contains(out, secret) || strings.Contains(out, fmt.Sprintf("%x", k.key[:4])) || !strings.Contains(out, "redacted") {
			t.Error("a key prints as", out)
		}
	}
}

func FuzzParseStatisticsKey(f *testing.F) {
	f.Add(NewStatisticsKey(24000).Encode())
	f.Add([]byte(statisticsHeader + "\n2026-01\nAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseStatisticsKey(text)
		if err != nil {
			if k.valid {
				t.Error("a refused key is valid")
			}
			return
		}
		again, err := ParseStatisticsKey(k.Encode())
		if err != nil || again != k {
			t.Error("an accepted key does not round-trip", err)
		}
	})
}

func BenchmarkTokens(b *testing.B) {
	tk, err := NewStatisticsKey(24000).Tokenizer(24000)
	if err != nil {
		b.Fatal(err)
	}
	s, c, site := tk.Subject("t", []byte("anna")), Cell("web_hourly"), Site("example.org")
	b.Run("people", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tk.People(s, c)
		}
	})
	state := tk.SlotState(s, c)
	b.Run("slot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tk.Slot(state, site, 7)
		}
	})
	b.Run("subject", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tk.Subject("t", []byte("anna"))
		}
	})
}
