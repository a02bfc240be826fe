package synthetic

import (
	"fmt"
	"strings"
	"time"
)

// subjectLine answers a subject line, and what there is in it. The identity numbers have serials from 980 to 989, which no person
// has: the Swedish Tax Agency keeps them for tests (https://www7.skatteverket.se/portal/apier-och-oppna-data/utvecklarportalen/
// oppetdata/Test%C2%AD%20personnummer).
func subjectLine(r *random) (text string, number, sensitive bool) {
	about := []string{
		"Möte på torsdag", "Protokoll, nämnden", "Fråga om bygglov", "Re: Schema vecka %d", "SV: Beställning %d", "Inbjudan: utbildning", "Faktura %d",
		"Nyhetsbrev nr %d", "Underlag; budget %d", "\"Viktigt\" om låset i entrén", "Semesterplanering", "Lunch?", "Offert, %d st stolar", "Påminnelse",
		"Återkoppling från brukare", "Felanmälan: skrivaren på plan 2", "Information om vägarbete", "",
	}[r.below(18)]
	if strings.Contains(about, "%d") {
		about = fmt.Sprintf(about, 2+r.below(50))
	}
	switch n := r.below(1000); {
	case n < 30:
		return joined(about, identityNumber(r, 0)), true, true
	case n < 45:
		return identityNumber(r, 0) + " - komplettering", true, true
	case n < 75:
		return joined(about, identityNumber(r, 1+int(r.below(6)))), false, false
	case n < 90:
		word := SensitiveWords()[r.below(uint32(len(SensitiveWords())))]
		if n%2 == 0 {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		return strings.TrimSpace(word + ": " + about), false, true
	case n < 96:
		return "Kort 4111 1111 1111 1111 gäller inte", false, true
	case n < 102:
		return "Kort 4111 1111 1111 1112 finns inte", false, false
	}
	return about, false, false
}

// joined puts a number behind a subject, in such a way that digits of both do not run together.
func joined(about, number string) string {
	if about == "" {
		return number
	}
	return about + ", " + number
}

// identityNumber answers a personal identity number: a valid one for fault 0, else a near miss of that kind.
func identityNumber(r *random, fault int) string {
	born := time.Date(1935+int(r.below(80)), 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(r.below(365)))
	short := born.Format("060102") + fmt.Sprint(980+r.below(10))
	check := luhn(short)
	day, tail := born.Format("20060102"), short[6:]
	switch fault {
	case 1: // a wrong check digit
		check = (check + 1 + int(r.below(9))) % 10
	case 2: // no day of the calendar
		day = born.Format("2006") + "0230"
		check = luhn(day[2:] + tail)
	case 3: // an organisation's number: its third digit is 2 or more
		text := "5599" + fmt.Sprint(10+r.below(90)) + "-" + fmt.Sprint(100+r.below(900))
		return text + fmt.Sprint(luhn(strings.Replace(text, "-", "", 1)))
	case 4: // part of a longer number
		// and of no card's, whose numbers have the same check digit
		text := "7" + day + tail + fmt.Sprint(check)
		return fmt.Sprint((luhn(text)+1)%10) + text
	case 5:
		return "dnr 2026/" + fmt.Sprint(1000+r.below(9000))
	case 6:
		return "tel 0455-" + fmt.Sprint(100_000+r.below(900_000))
	}
	sign := []string{"-", "", "-", ""}[r.below(4)]
	if r.chance(600) || fault > 0 {
		return day + sign + tail + fmt.Sprint(check)
	}
	return day[2:] + sign + tail + fmt.Sprint(check)
}

// luhn answers the check digit of a number (ISO/IEC 7812-1, annex B).
func luhn(digits string) int {
	sum := 0
	for i := range len(digits) {
		n := int(digits[i] - '0')
		if (len(digits)-i)%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return (10 - sum%10) % 10
}
