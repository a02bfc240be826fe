package vault

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

func certificate() Certificate {
	decisions := []RetentionDecision{{"norrbo", "KS 2026/17", "2026-01-01"}}
	return Certificate{
		Type: certificateType, Deployment: "norrbo", Intent: seal.DigestOf([]byte("intent")).String(), Begun: "2026-11-22T01:30:00Z", Finished: "2026-11-22T01:30:02Z",
		Method: "logical deletion + cryptographic erase (NIST SP 800-88)", Retention: []RetentionLine{{ClassWeb, 90, decisions}, {ClassRejects, 30, decisions}},
		Removed: []RemovedItem{
			{PurgeItem{ClassWeb, "2026-08-24", "", "older than 90 days", true, []PurgeTable{{"web_keys", "20260824", 3, 4}, {"web_capsules", "20260824", 5, 6}}}, HoldCopies{1, 2}, 1},
			{PurgeItem{ClassRejects, "2026-10-23", "", "older than 30 days", false, []PurgeTable{{"rejects", "20261023", 1, 1}}}, HoldCopies{}, 0},
			{PurgeItem{ClassHeld, "2026-01-01", "ba4a207a101c2502645dcf8f1f52985a", "ended", false, []PurgeTable{{"held_keys", "x", 1, 1}}}, HoldCopies{}, 0},
		},
		Totals: PurgeTotals{3, 10, 12, 4, 5, 1}, Holds: []CertifiedHold{{"0a4a207a101c2502645dcf8f1f52985a", "<script>alert(1)</script>", HoldByRecords, 1, HoldCopies{1, 2}}},
		Servers: []ServerCheck{{"embedded", "logg1", "26.7.2.1", 0, 0}, {"b:9000", "logg2", "26.7.2.1", 0, 0}},
		Disk:    DiskCheck{Examined: true, Server: "embedded", Host: "logg1", Unexamined: []string{"b:9000"}, Files: 7, Bytes: 8, Samples: 32, StillHeld: 2, Control: PurgeControl{true, 34}},
		Kafka:   KafkaCheck{true, 14, []KafkaTopic{{"proxy", 7 * 86400_000, 86400_000, "delete"}}}, Backups: BackupCheck{new(30), new(0)},
	}
}

func TestCertificateToRead(t *testing.T) {
	full, bare, silent := certificate(), certificate(), certificate()
	bare.Disk = DiskCheck{Unexamined: []string{"embedded", "b:9000"}}
	bare.Kafka, bare.Holds, bare.Retention, bare.Removed, bare.Backups = KafkaCheck{}, nil, nil, bare.Removed[2:], BackupCheck{new(30), new(7)}
	bare.Method = "logical deletion; keys remain in backups until 2026-11-29"
	silent.Backups, silent.Disk.Control, silent.Method = BackupCheck{}, PurgeControl{}, "logical deletion; whether the keys remain in backups is not stated"
	for _, c := range []Certificate{full, bare, silent} {
		c.Holds, c.Totals = nil, c.totals() // its case is of another test
		if err := c.validate(); err != nil {
			t.Fatal(err)
		}
	}
	for language, words := range map[string][3][]string{
		"sv": {{"Gallringsbevis", "KS 2026/17", "8,0", "Hade tagits bort förut", "begäran om allmän handling", "kryptografisk radering", "nycklarna inte i några säkerhetskopior", "inte genomsökta: b:9000",
			"embedded på maskinen logg1", "hittade innan uppgifterna togs bort: 34"},
			{"inte genomsökta: embedded", "ingen Kafka", "Inga uppgifter undantogs", "Bara kopior", "kvar i säkerhetskopior till och med 2026-11-29", "sparas i säkerhetskopior, enligt konfigurationen: 7"},
			{"om nycklarna finns kvar i säkerhetskopior är inte angivet", "sparas, enligt konfigurationen: inte angivet", "sparas i säkerhetskopior, enligt konfigurationen: inte angivet", "söktes inte innan"}},
		"en": {{"Purge certificate", "KS 2026/17", "8.0", "Had been removed before", "request for public records", "cryptographic erase", "the keys are in no backup", "not searched: b:9000",
			"embedded on the machine logg1", "found before the removal: 34"},
			{"not searched: embedded", "no Kafka", "Nothing was kept back", "Only copies", "remain in backups until 2026-11-29", "kept in backups, by the configuration: 7"},
			{"whether the keys remain in backups is not stated", "kept, by the configuration: not stated", "kept in backups, by the configuration: not stated", "not looked for before"}},
	} {
		for i, c := range []Certificate{full, bare, silent} {
			var page bytes.Buffer
			if err := (IssuedCertificate{Certificate: c, Note: []byte("note")}).HTML(&page, language); err != nil {
				t.Fatal(err)
			}
			for _, w := range words[i] {
				if !strings.Contains(page.String(), w) {
					t.Errorf("%s: the page lacks %q", language, w)
				}
			}
			if i > 0 && (strings.Contains(page.String(), "cryptographic") || strings.Contains(page.String(), "kryptografisk") || strings.Contains(page.String(), "can be read")) {
				t.Errorf("%s: it says that the keys are gone:\n%s", language, &page)
			}
			if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "<no value>") || !strings.Contains(page.String(), `lang="`+language+`"`) {
				t.Errorf("%s:\n%s", language, &page)
			}
		}
	}
	if err := (IssuedCertificate{Certificate: full}).HTML(&bytes.Buffer{}, "de"); err == nil {
		t.Error("it is written in a language that it has no words of")
	}
	for name, both := range certificateWords() {
		if name != "basis_" && (both[0] == "" || both[1] == "") {
			t.Errorf("%s has no word in a language", name)
		}
	}
	dir := t.TempDir()
	issued := IssuedCertificate{full, []byte("note\n"), audit.Position{}, []byte("proof\n")}
	for range 2 {
		if paths, err := issued.Save(dir); err != nil || len(paths) != 4 {
			t.Fatal(paths, err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
}

// Nothing that speaks against a certificate can be signed, or read as one.
func TestCertificateOfADoubtIsNone(t *testing.T) {
	signer, err := seal.NewSigner("norrbo/purge")
	if err != nil {
		t.Fatal(err)
	}
	good := certificate()
	good.Holds[0].Case = "HR 1/26"
	note, err := good.sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := OpenCertificate(note, signer.Verifier()); err != nil || c.Totals != good.Totals {
		t.Fatal(err)
	}
	other, err := seal.NewSigner("norrbo/purge")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCertificate(note, other.Verifier()); err == nil {
		t.Error("it opens with another's key")
	}
	for name, change := range map[string]func(*Certificate){
		"a part left":             func(c *Certificate) { c.Servers[0].Parts = 1 },
		"a detached part":         func(c *Certificate) { c.Servers[0].Detached = 1 },
		"nobody asked":            func(c *Certificate) { c.Servers = nil },
		"a hit":                   func(c *Certificate) { c.Disk.Hits = 1 },
		"a copy":                  func(c *Certificate) { c.Disk.Copies = 1 },
		"Kafka for ever":          func(c *Certificate) { c.Kafka.Topics[0].RetentionMS = -1 },
		"Kafka for long":          func(c *Certificate) { c.Kafka.LimitDays = 7 },
		"above the ceiling":       func(c *Certificate) { c.Retention[0].Days = 91 },
		"no decision":             func(c *Certificate) { c.Retention[0].Decisions = nil },
		"nothing removed":         func(c *Certificate) { c.Removed = nil },
		"no intent":               func(c *Certificate) { c.Intent = "" },
		"no deployment":           func(c *Certificate) { c.Deployment = "" },
		"ended before it was":     func(c *Certificate) { c.Finished = "2026-11-21T01:30:02Z" },
		"another document":        func(c *Certificate) { c.Type = intentType },
		"more than backups allow": func(c *Certificate) { c.Backups.KeysDays = new(7) },
		"more than is stated":     func(c *Certificate) { c.Backups.KeysDays = nil },
		"a date of its own": func(c *Certificate) {
			c.Backups.KeysDays, c.Method = new(7), "logical deletion; keys remain in backups until 2026-11-23"
		},
		"backups of minus one day":    func(c *Certificate) { c.Backups.Days = new(-1) },
		"a search that finds nothing": func(c *Certificate) { c.Disk.Control.Found = 0 },
		"a server left out":           func(c *Certificate) { c.Disk.Unexamined = nil },
		"the disk of nobody":          func(c *Certificate) { c.Disk.Server = "" },
		"a disk unseen":               func(c *Certificate) { c.Disk.Examined = false },
		"another server's disk":       func(c *Certificate) { c.Disk.Server = "c:9000" },
	} {
		c := certificate()
		change(&c)
		if _, err := c.sign(signer); err == nil {
			t.Errorf("%s: it is signed", name)
		}
		text, err := seal.Canonical(c)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := seal.Sign(text, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCertificate(forged, signer.Verifier()); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
}
