package sensitive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// identity makes a number with the check digit that date and serial have. All of these people are invented.
func identity(date, mark, serial string) string {
	digits, sum := date[len(date)-6:]+serial, 0
	for i, c := range digits {
		sum += luhn(int(c-'0'), i%2 == 0)
	}
	return date + mark + serial + fmt.Sprint((10-sum%10)%10)
}

// wrong changes the check digit.
func wrong(number string) string {
	last := number[len(number)-1]
	return number[:len(number)-1] + string('0'+(last-'0'+3)%10)
}

func TestIdentityNumbers(t *testing.T) {
	// the Swedish Tax Agency's own example of the check digit
	if got := identity("640823", "-", "323"); got != "640823-3234" {
		t.Fatalf("the test's own check digit: %s", got)
	}
	good := identity("850101", "-", "123")
	bare := identity("850101", "", "123")
	for text, want := range map[string]int{
		good: 1, bare: 1, "640823-3234": 1, "Ang " + good + ".": 1, "(" + good + ")": 1, "pnr:" + good + ",": 1, "RE: _" + bare + "_": 1,
		identity("19850101", "-", "123"): 1, identity("19850101", "", "123"): 1, identity("20160229", "-", "123"): 1,
		identity("121212", "+", "121"): 1, identity("18991231", "-", "123"): 1, identity("850161", "-", "123"): 1, identity("19850191", "-", "123"): 1,
		identity("850101", "–", "123"): 1, identity("850101", "‑", "123"): 1, "möte – " + good: 1, "för\u00a0" + good: 1, good + "\u00a0x": 1,
		good + " och " + bare: 2, good + "/ " + bare: 2, good + "\n" + good: 2, good + "-": 1, "-" + good: 1, good + "?": 1, good + "!" + bare: 2,
		"000229-" + identity("000229", "", "123")[6:]: 1, // a leap day of 2000

		wrong(good): 0, wrong(bare): 0, identity("851301", "-", "123"): 0, identity("850001", "-", "123"): 0, identity("850132", "-", "123"): 0,
		identity("850100", "-", "123"): 0, identity("850192", "-", "123"): 0, identity("850160", "-", "123"): 0, identity("850229", "-", "123"): 0,
		identity("19000229", "-", "123"): 0, identity("850431", "-", "123"): 0, identity("17850101", "-", "123"): 0, identity("21850101", "-", "123"): 0,
		"x" + good: 0, good + "x": 0, "å" + good: 0, good + "å": 0, "1" + good: 0, good + "1": 0, "1-" + good: 0, good + "-1": 0, "08/" + good: 0, good + ".5": 0,
		"12.5," + bare: 0, good[:10]: 0, "850101-": 0, "850101- 1239": 0, "850101 1239": 0, "85-01-01-1239": 0, "556036-0793": 0 /* a company */, "2026-10-09 08:41:00": 0,
		"": 0, "-": 0, "+": 0, "é": 0, "12": 0, "123456789012345678901234567890": 0, "850101−": 0,
	} {
		if got := Find([]byte(text)); got.IdentityNumbers != want || got.Cards != 0 {
			t.Errorf("%q: %+v, want %d", text, got, want)
		}
	}
}

// TestChance counts how many numbers of ten random-looking digits are taken for identity numbers.
func TestChance(t *testing.T) {
	found := 0
	state := uint64(1)
	for range 100_000 {
		state = state*6364136223846793005 + 1442695040888963407
		found += Find(fmt.Appendf(nil, "order %010d", state>>20%10_000_000_000)).IdentityNumbers
	}
	if found < 300 || found > 900 {
		t.Errorf("%d of 100000 arbitrary numbers; dates and check digits leave 0.7 %% at most", found)
	}
}

func TestCards(t *testing.T) {
	for text, want := range map[string]int{
		"4111111111111111": 1, "kort 4111 1111 1111 1111 12/27": 1, "5555-5555-5555-4444": 1, "378282246310005": 1, "3782 822463 10005": 1,
		"2223003122003222": 1, "30569309025904": 1, "3530111333300000": 1, "6011000990139424": 1, "6759649826438453": 1, "4222222222222": 1, "4111111111111111.": 1,
		"4111111111111111 5555555555554444": 2, "4111 1111 1111 1111 123": 1,
		"4111111111111112": 0, "1111111111111117": 0, "411111111111111": 0, "41111111111111111": 0, "x4111111111111111": 0, "4111111111111111x": 0, "9111111111111111": 0,
		"4111 1111 1111": 0, "41 11 11 11 11 11 11 11": 0, "4111  1111  1111  1111": 0, "41111111111111111111111": 0, "7350053850019": 0, "5355555555554444 ": 0,
	} {
		if got := Find([]byte(text)); got.Cards != want || got.IdentityNumbers != 0 {
			t.Errorf("%q: %+v, want %d", text, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]Kinds{
		"Sjukskrivning v. 40":                         {Health: 1},
		"SJUKANMÄLAN":                                 {Health: 1},
		"L\xe4karintyg, \xc5TALADE":                   {Health: 1, Offence: 1},
		"VB: fackförbundet och facket, Facklig tid":   {Union: 3},
		"trade unions meet":                           {Union: 1},
		"orosanmälan LVU 12":                          {Welfare: 2},
		"skyddad identitet":                           {Welfare: 1},
		"politiska åsikter":                           {Opinion: 1},
		"moskén":                                      {Faith: 1},
		"hbtq-frågor, etnisk bakgrund":                {Sexuality: 1, Origin: 1},
		"polisanmälan":                                {Offence: 1},
		"sick leave; pregnancy":                       {Health: 2},
		"Religion":                                    {Faith: 1},
		"hiv":                                         {Health: 1},
		"arkiv, hive, hiv2, avhiv":                    {},
		"Christian Union i EU, kommunal vision":       {},
		"sick  leave, trade":                          {},
		"skyddad ident":                               {},
		"facketiketter":                               {},
		"Möte torsdag, dagordning och fika":           {},
		"\xff\xfe\x00":                                {},
		strings.Repeat("a", 3000):                     {},
		strings.Repeat("å ", 500) + "cancer":          {}, // beyond what is looked at
		strings.Repeat("x ", 500) + "cancer" + "\xc3": {Health: 1},
	} {
		if got := Find([]byte(text)); got != want {
			t.Errorf("%.40q: %+v, want %+v", text, got, want)
		}
		if want != (Kinds{}) != Find([]byte(text)).Any() {
			t.Errorf("%.40q: Any", text)
		}
	}
}

// TestWordList sees that the list is one that the lookup can use.
func TestWordList(t *testing.T) {
	seen := map[string]bool{}
	var last byte
	closed := map[byte]bool{}
	for _, w := range wordList {
		first := w.text[0]
		if first != last {
			if closed[first] {
				t.Errorf("%s stands apart from the other words with its first letter", w.text)
			}
			closed[last] = true
			last = first
		}
		if text := strings.TrimSuffix(w.text, "*"); seen[text] || text != strings.ToLower(text) || len(text) < 3 {
			t.Errorf("%s is twice in the list, or not in lower case", w.text)
		} else {
			seen[text] = true
		}
		text := strings.TrimSuffix(w.text, "*")
		if k := Find([]byte("re: " + strings.ToUpper(text) + "!")); k.Words() != 1 {
			t.Errorf("%s is found %d times", w.text, k.Words())
		}
	}
	if len(wordList) > 255 {
		t.Errorf("%d words are more than the index counts", len(wordList))
	}
}

func TestFindIsQuick(t *testing.T) {
	for _, long := range []string{strings.Repeat("4111 ", 200_000), strings.Repeat("4111-", 200_000), strings.Repeat("850101-", 150_000), strings.Repeat("1", 1_000_000)} {
		start := time.Now()
		if Find([]byte(long)); time.Since(start) > 2*time.Second {
			t.Errorf("%.10s...: %s", long, time.Since(start))
		}
	}
	subject := []byte("VB: Sjukskrivning för 850101-1236, möte torsdag")
	if n := testing.AllocsPerRun(100, func() { Find(subject) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"", "850101-1236", "4111 1111 1111 1111", "Sjukskrivning", "19850101–1236", "\xe4\xe2\x80", "\xc3", "1\xe2\x80\x931"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		k := Find(b)
		if !slices.Equal(b, before) {
			t.Error("the subject was changed")
		}
		if k.IdentityNumbers*10+k.Cards*13 > len(b) || k.Words()*3 > len(b) || min(k.IdentityNumbers, k.Cards, k.Words()) < 0 {
			t.Errorf("%+v in %d bytes", k, len(b))
		}
		// a number beside it, with a space between, is one more wherever the text ends
		if len(b) == 0 || !digit(b[len(b)-1]) {
			with := Find(append(before, " 640823-3234"...))
			if with.IdentityNumbers != k.IdentityNumbers+1 {
				t.Errorf("%+v, with a number more %+v", k, with)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	for name, subject := range map[string]string{
		"ordinary": "VB: Möte torsdag 14 oktober kl 10.30, dagordning och underlag från förvaltningen",
		"found":    "Sjukskrivning 640823-3234, läkarintyg bifogas",
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(subject)
			b.ReportAllocs()
			for b.Loop() {
				Find(text)
			}
		})
	}
}
