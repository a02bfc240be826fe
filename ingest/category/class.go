package category

import (
	"fmt"
	"slices"
)

// Class is what the organisation's policy makes of a category.
type Class uint8

// The classes. The zero value is what a host in no list has.
const (
	Ordinary   Class = iota // nothing to say
	Forbidden               // not to be visited without permission
	Limited                 // fine as long as the work does not suffer
	Protected               // never shown by domain, never a finding (GDPR, article 9; protection of sources)
	Background              // loaded by machines, not visited by people: CDN, advertising, trackers, telemetry, updates
)

var classNames = [...]string{"ordinary", "forbidden", "limited", "protected", "background"}

// String answers the class as configuration, tables and reports write it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// MarshalText writes the class as configuration does.
func (c Class) MarshalText() ([]byte, error) {
	if int(c) >= len(classNames) {
		return nil, fmt.Errorf("%d is no class", uint8(c))
	}
	return []byte(classNames[c]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (c *Class) UnmarshalText(text []byte) error {
	i := slices.Index(classNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no class: use forbidden, limited, ordinary, protected or background", text)
	}
	*c = Class(i)
	return nil
}

// defaultClasses answers the categories that tillsyn knows and what they are unless the configuration says otherwise.
// Forbidden and limited follow the published rules of Haninge and Kristianstad; protected follows GDPR article 9 and the
// protection of journalists' sources.
func defaultClasses() map[string]Class {
	byClass := map[Class][]string{
		Forbidden: {"pornography", "hate", "gambling", "games", "piracy", "drugs", "weapons", "hacking", "stalkerware", "ddos"},
		Limited: {"social", "chat", "forums", "streaming", "radio", "dating", "shopping", "lingerie", "filehosting", "webmail",
			"vpn", "proxy", "remote_control", "malware", "phishing", "cryptojacking", "cheating"},
		Protected:  {"health", "faith", "union", "politics", "sexuality", "crisis", "whistleblowing", "news_tips"},
		Background: {"cdn", "ads", "trackers", "telemetry", "updates", "encrypted_dns"},
		Ordinary: {"other", "work", "public_sector", "education", "ai", "bank", "finance", "cryptocurrency", "blog", "celebrity",
			"comics", "cooking", "disinformation", "download", "dynamic_dns", "horoscope", "jobs", "mobile", "press", "shortener",
			"sports", "translation", "webhosting"},
	}
	out := make(map[string]Class)
	for class, names := range byClass {
		for _, name := range names {
			out[name] = class
		}
	}
	return out
}

// folderCategories answers which of our categories a folder of a squidGuard tree is, for the names that UT1 (Université
// Toulouse Capitole) and its aliases use. Religious movements, which UT1 calls sect, are faith here: whoever reads about one
// does not show the employer more than whoever reads about another.
func folderCategories() map[string]string {
	return map[string]string{
		"adult": "pornography", "porn": "pornography", "mixed_adult": "pornography",
		"agressif": "hate", "aggressive": "hate", "violence": "hate",
		"gambling": "gambling", "arjel": "gambling",
		"games": "games", "educational_games": "education",
		"warez": "piracy", "drogue": "drugs", "drugs": "drugs", "dangerous_material": "weapons",
		"hacking": "hacking", "stalkerware": "stalkerware", "ddos": "ddos",
		"malware": "malware", "phishing": "phishing", "cryptojacking": "cryptojacking",
		"social_networks": "social", "chat": "chat", "forums": "forums", "blog": "blog",
		"audio-video": "streaming", "radio": "radio", "dating": "dating", "shopping": "shopping", "lingerie": "lingerie",
		"filehosting": "filehosting", "webmail": "webmail", "mail": "forums",
		"vpn": "vpn", "redirector": "proxy", "proxy": "proxy", "residential-proxies": "proxy", "remote-control": "remote_control",
		"doh": "encrypted_dns", "dynamic-dns": "dynamic_dns",
		"publicite": "ads", "ads": "ads", "marketingware": "ads", "update": "updates", "cleaning": "updates",
		"associations_religieuses": "faith", "sect": "faith", "sexual_education": "sexuality",
		"ai": "ai", "astrology": "horoscope", "bank": "bank", "bitcoin": "cryptocurrency", "celebrity": "celebrity",
		"cooking": "cooking", "download": "download", "fakenews": "disinformation", "financial": "finance",
		"jobsearch": "jobs", "liste_bu": "education", "manga": "comics", "mobile-phone": "mobile", "press": "press",
		"shortener": "shortener", "sports": "sports", "translation": "translation", "tricheur": "cheating",
		"webhosting": "webhosting",
	}
}
