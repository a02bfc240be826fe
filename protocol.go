package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const protocolType = "tillsyn key protocol v1"

//go:embed deploy/protocol.html
var protocolPage string

// A keyProtocol says who took part in a ceremony and what came of it. It is signed by who led it, and on record.
type keyProtocol struct {
	Type         string                `json:"type"`
	Deployment   string                `json:"deployment"`
	Tenant       string                `json:"tenant"`
	Kind         string                `json:"kind"` // enrol, reshare, rotate, escrow, restore or retire
	Number       int                   `json:"number"`
	Register     seal.Digest           `json:"register"`
	Began        string                `json:"began"`
	Ended        string                `json:"ended"`
	Keys         []protocolKey         `json:"keys"`
	Participants []protocolParticipant `json:"participants"`
	Left         []string              `json:"left"`
}

type protocolKey struct {
	Population  string    `json:"population"`
	Role        seal.Role `json:"role"`
	Number      int       `json:"number"` // of the register that brought the key
	Fingerprint string    `json:"fingerprint"`
	Suite       string    `json:"suite"`
	New         bool      `json:"new"`
	Holders     []string  `json:"holders"`
}

type protocolParticipant struct {
	ID         string      `json:"id"`
	Population string      `json:"population"`
	Role       seal.Role   `json:"role"` // empty: a member
	Key        string      `json:"key"`  // fingerprint of the signing key
	Card       seal.Digest `json:"card"` // empty: no new card
	Signed     bool        `json:"signed"`
	Confirmed  seal.Digest `json:"confirmed"` // of the confirmation; empty: no key of this person changed
}

// keyFingerprint is a public key as people read it to each other.
func keyFingerprint(k seal.PublicKey) string { return fingerprint(seal.DigestOf([]byte(k.String()))) }

func suiteOf(k seal.PublicKey) string {
	name, _, _ := strings.Cut(k.String(), ":")
	return name
}

func (k *ceremony) protocolOf(o openedCeremony, r *seal.Register) (keyProtocol, error) {
	p := keyProtocol{
		Type: protocolType, Deployment: k.deployment, Tenant: k.name, Kind: o.document.Kind, Number: r.Number(), Register: r.Digest(),
		Began: o.document.Began, Ended: max(k.time(), o.document.Began), Keys: []protocolKey{}, Participants: []protocolParticipant{}, Left: o.document.Left,
	}
	for _, key := range r.SeatKeys() {
		pk := protocolKey{Population: key.Population, Role: key.Role, Number: key.Number, Fingerprint: keyFingerprint(key.Key), Suite: suiteOf(key.Key),
			New: key.Number == r.Number(), Holders: []string{}}
		for _, ch := range o.document.Challenges {
			if ch.Population == key.Population && ch.Role == key.Role && ch.Number == key.Number {
				pk.Holders = append(pk.Holders, ch.Holder)
			}
		}
		if pk.New || len(pk.Holders) > 0 {
			p.Keys = append(p.Keys, pk)
		}
	}
	seen := r.Text().People()
	if previous := r.Previous(); previous != nil {
		for _, h := range previous.Text().People() {
			if _, stays := holderIn(r.Text(), h.ID); !stays {
				seen = append(seen, h)
			}
		}
	}
	for _, h := range seen {
		part := protocolParticipant{ID: h.ID, Population: h.Population, Role: h.Role, Key: seal.Fingerprint(h.Verifier), Signed: slices.Contains(r.Signers(), h.ID)}
		for _, c := range o.document.Cards {
			if c.Holder == h.ID {
				part.Card = c.Digest
			}
		}
		if note, err := readSmall(k.pending(confirmationFile(h.ID))); err == nil {
			part.Confirmed = digestOfNote(note)
		}
		if part.Signed || !part.Card.IsZero() || !part.Confirmed.IsZero() {
			p.Participants = append(p.Participants, part)
		}
	}
	slices.SortFunc(p.Participants, func(a, b protocolParticipant) int { return cmp.Compare(a.ID, b.ID) })
	return p, nil
}

// keepProtocol signs a protocol, puts it on record and writes it for people. After a stop it goes on with the one that was signed.
func (k *ceremony) keepProtocol(ctx context.Context, log *audit.Log, folder string, p keyProtocol, leader seal.Holder, verifiers []string, signers []*seal.Signer) (string, error) {
	file := filepath.Join(folder, protocolFile)
	note, err := readSmall(file)
	if err != nil {
		text, err := seal.Canonical(p)
		if err != nil {
			return "", err
		}
		if note, err = seal.Sign(text, signers...); err != nil {
			return "", err
		}
		if err := k.write(file, note); err != nil {
			return "", err
		}
	}
	text, _, err := seal.Open(note, verifiers...)
	if err != nil {
		return "", fmt.Errorf("the protocol in %s is not signed by who publishes now: whoever began publishing must finish it, or remove that file: %w", file, err)
	}
	var signed keyProtocol
	if err := seal.ParseCanonical(text, &signed); err != nil {
		return "", fmt.Errorf("read the protocol: %w", err)
	}
	if signed.Type != p.Type || signed.Tenant != p.Tenant || signed.Register != p.Register || signed.Kind != p.Kind || signed.Number != p.Number {
		return "", fmt.Errorf("the protocol in %s is of another ceremony: remove that file and publish again", file)
	}
	digest := digestOfNote(note).String()
	entries, err := log.Entries(ctx)
	if err != nil {
		return "", err
	}
	position := ""
	for _, e := range entries {
		if e.Kind == audit.KeysCeremony && e.Document == digest {
			position = e.Position.String()
		}
	}
	if position == "" {
		if err := k.step("record"); err != nil {
			return "", err
		}
		receipt, err := log.Append(ctx, audit.Entry{Kind: audit.KeysCeremony, Actor: leader.ID, Document: digest, Body: string(note),
			Counts: map[string]int64{"keys": int64(len(signed.Keys)), "participants": int64(len(signed.Participants))}})
		if err != nil {
			return "", err
		}
		position = receipt.Position.String()
	}
	var page bytes.Buffer
	if err := writeProtocolPage(&page, signed, leader.ID, digest, position); err != nil {
		return "", err
	}
	if err := k.write(filepath.Join(folder, "protocol.html"), page.Bytes()); err != nil {
		return "", err
	}
	var md bytes.Buffer
	writeProtocolText(&md, signed, leader.ID, digest, position)
	if err := k.write(filepath.Join(folder, "protocol.md"), md.Bytes()); err != nil {
		return "", err
	}
	return position, nil
}

// A protocolRole is a role as the documents call it.
type protocolWord struct{ Swedish, English string }

func roleWord(r seal.Role) protocolWord {
	switch r {
	case seal.Manager:
		return protocolWord{"ansvarig chef", "responsible manager"}
	case seal.HR:
		return protocolWord{"HR-chef", "head of HR"}
	case seal.Security:
		return protocolWord{"informationssäkerhetschef", "chief of information security"}
	case "":
		return protocolWord{"medlem: begär, utreder eller lämnar ut, öppnar inget", "member: asks, looks or discloses, opens nothing"}
	}
	return protocolWord{"grinden (systemet)", "the gate (the system)"}
}

func populationWord(p string) protocolWord {
	if p == "" {
		return protocolWord{"alla", "everybody"}
	}
	return protocolWord{p, p}
}

func kindWord(kind string) protocolWord {
	switch kind {
	case kindEnrol:
		return protocolWord{"Första nyckelceremonin", "The first key ceremony"}
	case kindReshare:
		return protocolWord{"Ändring av innehavare och medlemmar", "A change of holders and members"}
	case kindRotate:
		return protocolWord{"Byte av nycklar", "A change of keys"}
	case kindEscrow:
		return protocolWord{"Deponering av en nyckel på papper", "A key put in escrow on paper"}
	case kindRestore:
		return protocolWord{"Återställning av en nyckel från papper", "A key restored from paper"}
	case kindRetire:
		return protocolWord{"En gammal nyckel förstörd", "An old key destroyed"}
	}
	return protocolWord{kind, kind}
}

func protocolFuncs() template.FuncMap {
	return template.FuncMap{
		"role": roleWord, "population": populationWord, "kind": kindWord,
		"short": func(d seal.Digest) string {
			if d.IsZero() {
				return "–"
			}
			return fingerprint(d)
		},
		"join": func(list []string) string { return strings.Join(list, ", ") },
	}
}

type protocolView struct {
	keyProtocol
	Leader, Digest, Position string
}

func writeProtocolPage(w io.Writer, p keyProtocol, leader, digest, position string) error {
	page, err := template.New("protocol").Funcs(protocolFuncs()).Parse(protocolPage)
	if err != nil {
		return fmt.Errorf("write a protocol: %w", err)
	}
	if err := page.Execute(w, protocolView{p, leader, digest, position}); err != nil {
		return fmt.Errorf("write a protocol: %w", err)
	}
	return nil
}

// writeProtocolText writes a protocol as Markdown, in Swedish and then in English.
func writeProtocolText(w io.Writer, p keyProtocol, leader, digest, position string) {
	yes := func(b bool, word string) string {
		if b {
			return word
		}
		return "–"
	}
	short := func(d seal.Digest) string {
		if d.IsZero() {
			return "–"
		}
		return fingerprint(d)
	}
	for _, l := range []struct {
		title, tenant, register, time, led, record, people, head, keys, keyHead, left, newKey, signed string
		pick                                                                                          func(protocolWord) string
	}{
		{"Protokoll över nyckelceremoni", "Organisation", "Register över nyckelinnehavare nr", "Tid (UTC)", "Ledd och undertecknad av", "Protokollets kontrollsumma och plats i loggen",
			"Deltagare", "| Person | Roll | Grupp | Undertecknar med nyckel | Undertecknade registret | Nytt kort | Visade att nyckeln öppnar |",
			"Nycklar", "| Roll | Grupp | Sedan register nr | Ny | Fingeravtryck | Delad till |", "Lämnade registret", "ja", "ja",
			func(w protocolWord) string { return w.Swedish }},
		{"Protocol of a key ceremony", "Organisation", "Register of holders no.", "Time (UTC)", "Led and signed by", "Digest of the protocol and place in the record",
			"Who took part", "| Person | Role | Population | Signs with key | Signed the register | New card | Showed that the key opens |",
			"Keys", "| Role | Population | Since register no. | New | Fingerprint | Shared to |", "Left the register", "yes", "yes",
			func(w protocolWord) string { return w.English }},
	} {
		fmt.Fprintf(w, "# %s\n\n%s\n\n- %s: %s (%s)\n- %s: %d, %s\n- %s: %s – %s\n- %s: %s\n- %s: %s, %s\n", l.title, l.pick(kindWord(p.Kind)),
			l.tenant, p.Tenant, p.Deployment, l.register, p.Number, p.Register, l.time, p.Began, p.Ended, l.led, leader, l.record, digest, position)
		if len(p.Left) > 0 {
			fmt.Fprintf(w, "- %s: %s\n", l.left, strings.Join(p.Left, ", "))
		}
		if len(p.Participants) > 0 {
			fmt.Fprintf(w, "\n## %s\n\n%s\n%s\n", l.people, l.head, strings.Repeat("| --- ", 7)+"|")
			for _, h := range p.Participants {
				fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", h.ID, l.pick(roleWord(h.Role)), l.pick(populationWord(h.Population)), h.Key, yes(h.Signed, l.signed), short(h.Card), short(h.Confirmed))
			}
		}
		if len(p.Keys) > 0 {
			fmt.Fprintf(w, "\n## %s\n\n%s\n%s\n", l.keys, l.keyHead, strings.Repeat("| --- ", 6)+"|")
			for _, key := range p.Keys {
				fmt.Fprintf(w, "| %s | %s | %d | %s | %s (%s) | %s |\n", l.pick(roleWord(key.Role)), l.pick(populationWord(key.Population)), key.Number, yes(key.New, l.newKey),
					key.Fingerprint, key.Suite, cmp.Or(strings.Join(key.Holders, ", "), "–"))
			}
		}
		fmt.Fprintln(w)
	}
}

// describeRegister shows what is about to be signed, and what changes.
func describeRegister(w io.Writer, o openedCeremony) {
	t := o.text
	fmt.Fprintf(w, "Register %d of %s (deployment %s), %s, fingerprint %s\n", t.Number, t.Tenant, t.Deployment, t.Time, fingerprint(o.document.Register))
	old := o.previous.Text()
	seat := func(t seal.RegisterText, population string, r seal.Role) string {
		for _, s := range t.Seats {
			if s.Population == population && s.Role == r {
				return keyFingerprint(s.Key)
			}
		}
		return ""
	}
	name := func(population string, r seal.Role) string {
		if population == "" {
			return string(r)
		}
		return string(r) + " of " + population
	}
	mark := func(was, is string) string {
		switch {
		case was == is || o.previous == nil:
			return "  "
		case was == "":
			return "+ "
		}
		return "~ "
	}
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range t.Seats {
		fmt.Fprintf(rows, "%s%s\tkey %s\t%s\n", mark(seat(old, s.Population, s.Role), keyFingerprint(s.Key)), name(s.Population, s.Role), keyFingerprint(s.Key), suiteOf(s.Key))
		for _, h := range t.Holders {
			if h.Population != s.Population || h.Role != s.Role {
				continue
			}
			was := ""
			if b, ok := holderIn(old, h.ID); ok {
				was = fmt.Sprint(b)
			}
			fmt.Fprintf(rows, "%s  %s\tsigns with %s\topens with %s\n", mark(was, fmt.Sprint(h)), h.ID, seal.Fingerprint(h.Verifier), shortRecipients(h.Recipients))
		}
	}
	for _, m := range t.People() {
		if m.Role != "" {
			continue
		}
		was := ""
		if b, ok := holderIn(old, m.ID); ok {
			was = fmt.Sprint(b)
		}
		fmt.Fprintf(rows, "%s  %s\tsigns with %s\t%s; opens nothing\n", mark(was, fmt.Sprint(m)), m.ID, seal.Fingerprint(m.Verifier), name(m.Population, "member"))
	}
	was := ""
	if o.previous != nil {
		was = keyFingerprint(old.Gate.Key) + old.Gate.Recipient
	}
	fmt.Fprintf(rows, "%sgate\tkey %s\t%s\n", mark(was, keyFingerprint(t.Gate.Key)+t.Gate.Recipient), keyFingerprint(t.Gate.Key), suiteOf(t.Gate.Key))
	for _, h := range old.People() {
		if _, stays := holderIn(t, h.ID); !stays {
			fmt.Fprintf(rows, "-   %s\twas %s\n", h.ID, seatTitle(h.Population, h.Role))
		}
	}
	rows.Flush()
}

func shortRecipients(list []string) string {
	var short []string
	for _, r := range list {
		if len(r) > 24 {
			r = r[:14] + "…" + r[len(r)-6:]
		}
		short = append(short, r)
	}
	return strings.Join(short, ", ")
}
