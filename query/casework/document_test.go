package casework

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

var updateDocuments = flag.Bool("update-documents", false, "write the golden documents")

// golden compares a document with the file of that name, byte for byte.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateDocuments {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what it was; look at the difference, then run go test -update-documents", path)
	}
}

// checkPage fails for a page that a screen reader, a printer or a court could not read, or that does more than be read.
func checkPage(t *testing.T, name string, page []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(name, err)
	}
	ids, counts := map[string]bool{}, map[string]int{}
	var labels []string
	level := 0
	attribute := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		counts[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" || a.Key == "style" || a.Key == "srcset" || a.Key == "action" {
				t.Errorf("%s: <%s> has the attribute %s", name, n.Data, a.Key)
			}
		}
		if id, ok := attribute(n, "id"); ok {
			if ids[id] {
				t.Errorf("%s: the id %s stands twice", name, id)
			}
			ids[id] = true
		}
		if l, ok := attribute(n, "aria-labelledby"); ok {
			labels = append(labels, l)
		}
		switch n.Data {
		case "html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "p", "dl", "dt", "dd", "div", "table",
			"caption", "thead", "tbody", "tr", "td", "br", "bdi", "ol", "ul", "li":
		case "span":
			if lang, _ := attribute(n, "lang"); lang != "en" {
				t.Errorf("%s: a span without a language", name)
			}
		case "h1", "h2", "h3":
			if now := int(n.Data[1] - '0'); now > level+1 {
				t.Errorf("%s: a heading %s after level %d", name, n.Data, level)
			} else {
				level = now
			}
		case "th":
			if scope, _ := attribute(n, "scope"); scope != "col" && scope != "row" {
				t.Errorf("%s: a table header without a scope", name)
			}
		default:
			t.Errorf("%s: there is an element <%s>", name, n.Data)
		}
		if lang, _ := attribute(n, "lang"); n.Data == "html" && lang != "sv" {
			t.Errorf("%s: the page has no language", name)
		}
	}
	for _, l := range labels {
		if !ids[l] {
			t.Errorf("%s: nothing has the id %s", name, l)
		}
	}
	if counts["h1"] != 1 || counts["main"] != 1 || counts["title"] != 1 || counts["style"] != 1 || counts["caption"] != counts["table"] || counts["thead"] != counts["table"] {
		t.Errorf("%s: %v", name, counts)
	}
	for _, r := range string(page) {
		if r != '\n' && hidden(r) && r != escapeMark {
			t.Errorf("%s: the page holds %q", name, r)
		}
	}
	style := string(page[bytes.Index(page, []byte("<style>"))+7 : bytes.Index(page, []byte("</style>"))])
	sum := sha256.Sum256([]byte(style))
	if style != pageStyle || !strings.Contains(html.UnescapeString(string(page)), "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("%s: the page's policy does not allow its own style", name)
	}
	if strings.Contains(strings.ToLower(style), "url(") || strings.Contains(style, "@import") {
		t.Errorf("%s: the style loads something", name)
	}
}

// invented is a decision about nobody that there is.
func invented(t *testing.T) *Decision {
	t.Helper()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	key := func(name string) string {
		return name + "+25f3b1c0+AcEwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj3"
	}
	return &Decision{
		Type: typeDecision, Deployment: "kommun.example", Tenant: "storkoping", Case: "KS 2026/417", Kind: Person, Population: "staff",
		Ground:        "IT-regler § 7: misstanke om grovt regelbrott",
		Suspicion:     "Besök på sidor med hets mot folkgrupp från en tjänstedator",
		Reason:        "Fynd F-2026-31 pekar på enheten.\nEn chef har lämnat uppgifter som pekar på en person.",
		LessIntrusive: "Samtal med enheten och påminnelse om reglerna i oktober; fyndet kom tillbaka.",
		Finding:       "F-2026-31", Intrusion: "Tio dagars webbloggar, bara kategorin hate; inget innehåll.", Consequences: "Kan leda till skriftlig varning.",
		Policy: "IT-regler 2026-02", Union: "Vision, lokalavdelning 12",
		Scope:     Scope{Subject: "mp-testsson", Aliases: []string{}, From: "2026-11-01", To: "2026-11-10", Sources: []string{Web}, Categories: []string{"hate"}},
		Requester: Signatory{"chef.ek", key("chef.ek")}, Investigators: []Signatory{{"utredare.lind", key("utredare.lind")}}, Lookups: 3,
		Requested: at, NotBefore: at, ApproveBy: at.Add(7 * 24 * time.Hour), ExecuteBy: at.Add(30 * 24 * time.Hour),
		Register: RegisterDigest{2, seal.DigestOf([]byte("register 2"))}, Nonce: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	}
}

func inventedFile(t *testing.T) DecisionFile {
	t.Helper()
	d := invented(t)
	digest := seal.DigestOf([]byte("decision"))
	act := func(typ, actor string, minutes int) Act {
		return Act{Type: typ, Case: d.Case, Decision: digest, Actor: actor, At: d.Requested.Add(time.Duration(minutes) * time.Minute)}
	}
	approve := func(actor string, r seal.Role, minutes int) Act {
		a := act(ActApproval, actor, minutes)
		a.Role = r
		return a
	}
	notice := act(ActNotice, "chef.ek", 95)
	notice.Told, notice.ToldAt = "ordförande, per telefon", d.Requested.Add(90*time.Minute)
	closing := act(ActClosing, "utredare.lind", 300)
	closing.Result = "Misstanken bekräftades inte.\nBesöken kom från en delad dator i receptionen."
	entry := func(i int64, kind audit.Kind, actor string, minutes int, counts map[string]int64) audit.Record {
		return audit.Record{Position: audit.Position{Segment: 1, Index: i}, Entry: audit.Entry{
			At: d.Requested.Add(time.Duration(minutes) * time.Minute), Kind: kind, Actor: actor, Case: d.Case, Document: digest.String(), Counts: counts,
		}}
	}
	return DecisionFile{
		Authority: "Storköpings kommun", Decision: d, Digest: digest, State: "closed", Made: d.Requested.Add(6 * time.Hour),
		Acts: []Act{approve("hr.berg", seal.HR, 30), approve("chef.holm", seal.Manager, 45), approve("ciso.dahl", seal.Security, 80), notice, closing},
		Record: []audit.Record{
			entry(40, audit.DecisionRequested, "chef.ek", 0, nil),
			entry(41, audit.DecisionApproved, "hr.berg", 30, nil), entry(42, audit.DecisionApproved, "chef.holm", 45, nil), entry(43, audit.DecisionApproved, "ciso.dahl", 80, nil),
			entry(44, audit.DecisionNotified, "chef.ek", 95, nil),
			entry(45, audit.LookupIntent, "utredare.lind", 120, map[string]int64{"lookup": 1}),
			entry(46, audit.LookupResult, "utredare.lind", 121, map[string]int64{"rows": 18, "capsules": 9}),
			entry(47, audit.DecisionClosed, "utredare.lind", 300, nil),
		},
	}
}

func TestDecisionDocument(t *testing.T) {
	f := inventedFile(t)
	page, err := f.Page().HTML()
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, "decision", page)
	golden(t, "document_decision.html", page)
	text := string(page)
	for _, want := range []string{"KS 2026/417", "Vision, lokalavdelning 12", "mp-testsson", "skriftlig varning", "receptionen", "HR-chef / head of HR", "rows 18", "0001/46", "avslutat / closed"} {
		if !strings.Contains(text, want) {
			t.Errorf("the document does not say %q", want)
		}
	}
	for _, k := range Kinds() {
		f := inventedFile(t)
		f.Decision.Kind, f.Acts, f.Record, f.State = k.Kind, nil, nil, "draft"
		page, err := f.Page().HTML()
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, string(k.Kind), page)
		if !bytes.Contains(page, []byte("har inte använts")) || f.Decision.NeedsUnion() != bytes.Contains(page, []byte("Ingen underrättelse är antecknad")) {
			t.Errorf("%s: an unused decision", k.Kind)
		}
	}
}

// Case 39, and cross-site scripting: whatever stands in a field stays text.
func TestDecisionDocumentEscapesHostileText(t *testing.T) {
	for _, v := range hostile() {
		f := inventedFile(t)
		d := f.Decision
		d.Case, d.Ground, d.Suspicion, d.Reason, d.LessIntrusive, d.Finding = v, v, v, v, v, v
		d.Intrusion, d.Consequences, d.Policy, d.Union, d.Tenant, d.Population = v, v, v, v, v, v
		d.Scope.Subject, d.Scope.Unit, d.Scope.From, d.Scope.Protected, d.Scope.Sources, d.Scope.Categories, d.Scope.Aliases = v, v, v, v, []string{v}, []string{v}, []string{v}
		d.Requester.ID, d.Requester.Key, d.Investigators[0].ID, d.Informed, d.Recipient, d.Scope.Withheld = v, v, v, v, v, v
		f.Authority, f.State = v, v
		for i := range f.Acts {
			a := &f.Acts[i]
			a.Actor, a.Reason, a.Told, a.Result, a.Role = v, v, v, v, seal.Role(v)
		}
		for i := range f.Record {
			f.Record[i].Actor, f.Record[i].Document, f.Record[i].Counts = v, v, map[string]int64{v: 1}
		}
		page, err := f.Page().HTML()
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, Clipped(v, 20), page)
		if len(page) > 2<<20 {
			t.Errorf("%.20q: a page of %d bytes", v, len(page))
		}
	}
}

func TestPageRefusesATableThatDoesNotFit(t *testing.T) {
	p := Page{Heading: Phrase{"x", ""}, Sections: []Section{{Heading: Phrase{"y", ""}, Tables: []Table{{Head: []Phrase{{"a", ""}}, Rows: [][]string{{"1", "2"}}}}}}}
	if _, err := p.HTML(); err == nil {
		t.Error("it was written")
	}
	if _, err := (Page{}).HTML(); err == nil {
		t.Error("a page without a heading was written")
	}
}
