package sensitive

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

type kind uint8

const (
	health kind = iota
	union
	faith
	origin
	opinion
	sexuality
	offence
	welfare
)

// A word is one that tells of a kind, in lower case. One that ends in '*' is the beginning of words, Swedish compounds and
// inflections among them.
type word struct {
	text string
	kind kind
}

// wordList is in the order of the bytes, in Swedish and English. What is a name too, or an everyday word in another sense, is
// not here (Christian, union, vision, kommunal).
var wordList = [...]word{
	{"abort", health}, {"aborten", health}, {"abortion*", health}, {"adhd", health}, {"alkoholism*", health}, {"alkoholmissbruk*", health},
	{"allerg*", health}, {"arbetsskad*", health}, {"asylsök*", origin}, {"ateist*", faith}, {"autism*", health},
	{"belastningsregist*", offence}, {"bisexu*", sexuality}, {"brottsmisstän*", offence}, {"brottsregist*", offence},
	{"cancer*", health}, {"criminal record*", offence},
	{"demens*", health}, {"dementia", health}, {"depress*", health}, {"diabet*", health}, {"diagnos*", health}, {"disability", health},
	{"drogmissbruk*", health}, {"drogtest*", health},
	{"ekonomiskt bistånd", welfare}, {"epilep*", health}, {"ethnic*", origin}, {"etnicitet*", origin}, {"etnisk*", origin},
	{"facket", union}, {"fackförbund*", union}, {"fackförening*", union}, {"facklig*", union}, {"familjehem*", welfare},
	{"funktionsnedsättning*", health}, {"försörjningsstöd*", welfare},
	{"graviditet*", health}, {"gudstro", faith},
	{"hbtq*", sexuality}, {"health record*", health}, {"hiv", health}, {"homosexu*", sexuality}, {"hälsotillstånd*", health},
	{"illness", health},
	{"jehovas vittne*", faith}, {"jewish", faith}, {"journalanteckning*", health}, {"judendom*", faith}, {"judisk*", faith},
	{"kriminalvård*", offence}, {"kristendom*", faith}, {"könskorriger*", sexuality}, {"könsöverskrid*", sexuality},
	{"lgbt*", sexuality}, {"lss", welfare}, {"lvm", welfare}, {"lvu", welfare}, {"läkarintyg*", health},
	{"medical certificate*", health}, {"medical record*", health}, {"missbruk*", health}, {"moské*", faith}, {"mosque*", faith}, {"muslim*", faith},
	{"omhändertag*", welfare}, {"orosanmäl*", welfare},
	{"partimedlem*", opinion}, {"partitillhörighet*", opinion}, {"patientjournal*", health}, {"police report*", offence}, {"polisanmäl*", offence},
	{"political opinion*", opinion}, {"politisk tillhörighet", opinion}, {"politisk åskådning", opinion}, {"politisk åsikt", opinion},
	{"politiska åsikter", opinion}, {"pregnan*", health}, {"psychiatr*", health}, {"psykiatri*", health}, {"psykisk*", health},
	{"rehabilitering*", health}, {"religio*", faith},
	{"samfund*", faith}, {"sexual orientation", sexuality}, {"sexuell*", sexuality}, {"sick leave", health}, {"sick note*", health}, {"sjukanmäl*", health},
	{"sjukdom*", health}, {"sjukfrånvaro*", health}, {"sjukintyg*", health}, {"sjukskriv*", health}, {"skyddad adress", welfare},
	{"skyddad folkbokföring", welfare}, {"skyddad identitet", welfare}, {"skyddade personuppgifter", welfare}, {"social services", welfare},
	{"strejk*", union}, {"suicid*", health}, {"synagog*", faith}, {"sekretessmarker*", welfare},
	{"trade union*", union}, {"transperson*", sexuality}, {"trosbekänn*", faith}, {"trossamfund*", faith},
	{"union member*", union}, {"utbrändhet*", health},
	{"våldtäkt*", offence}, {"vårdnadstvist*", welfare},
	{"åtalad*", offence}, {"åtalspunkt*", offence},
}

// firstBytes says which bytes begin a word of the list.
var firstBytes = beginnings()

func beginnings() (at [256]struct{ from, to uint8 }) {
	for i, w := range wordList {
		first := &at[w.text[0]]
		if first.to == 0 {
			first.from = uint8(i)
		}
		first.to = uint8(i + 1)
	}
	return at
}

// words looks at every word of folded text.
func words(b []byte, k *Kinds) {
	for i := 0; i < len(b); {
		if !letter(b, i) {
			i++
			continue
		}
		if i == 0 || !digit(b[i-1]) {
			for at := firstBytes[b[i]]; at.from < at.to; at.from++ {
				if w := wordList[at.from]; matches(b[i:], w.text) {
					k.add(w.kind)
					break
				}
			}
		}
		for i < len(b) && letter(b, i) {
			i++
		}
	}
}

// matches says whether b begins with a word of the list.
func matches(b []byte, text string) bool {
	if len(b) < len(text)-1 || b[1] != text[1] {
		return false
	}
	beginning, more := strings.CutSuffix(text, "*")
	if len(b) < len(beginning) || string(b[:len(beginning)]) != beginning {
		return false
	}
	return more || len(b) == len(beginning) || !letter(b, len(beginning)) && !digit(b[len(beginning)])
}

func (k *Kinds) add(of kind) {
	switch of {
	case health:
		k.Health++
	case union:
		k.Union++
	case faith:
		k.Faith++
	case origin:
		k.Origin++
	case opinion:
		k.Opinion++
	case sexuality:
		k.Sexuality++
	case offence:
		k.Offence++
	case welfare:
		k.Welfare++
	}
}

// fold appends b to dst, as much as there is room for, in lower case: ASCII and the letters of Latin-1. What is no UTF-8 is
// read as Latin-1.
func fold(dst, b []byte) []byte {
	latin1 := !utf8.Valid(b)
	for i, c := range b {
		if len(dst)+2 > cap(dst) {
			return dst
		}
		switch {
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c|0x20)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		case latin1 && c >= 0xc0:
			if c <= 0xde && c != 0xd7 {
				c |= 0x20
			}
			dst = append(dst, 0xc3, c-0x40)
		case latin1:
			dst = append(dst, ' ')
		case i > 0 && b[i-1] == 0xc3 && c <= 0x9e && c != 0x97:
			dst = append(dst, c|0x20)
		default:
			dst = append(dst, c)
		}
	}
	return bytes.TrimSpace(dst)
}
