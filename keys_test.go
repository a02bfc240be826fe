package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

var errStop = errors.New("stopped by the test")

// A keyTown is a ceremony in a folder of its own.
type keyTown struct {
	*ceremony
	t    testing.TB
	root string
	said *bytes.Buffer
	at   time.Time
}

func newKeyTown(t testing.TB, root string) *keyTown {
	o := &keyTown{t: t, root: root, said: &bytes.Buffer{}, at: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	record := audit.DefaultConfig()
	record.Silence = 100 * 365 * 24 * time.Hour // these stories skip years
	record.Directory, record.Key, record.Deployment = filepath.Join(root, "audit"), filepath.Join(root, "audit.key"), "norrbo"
	o.ceremony = &ceremony{
		keyStore: keyStore{dir: filepath.Join(root, "keys"), gate: filepath.Join(root, "gate.key"), lookup: filepath.Join(root, "lookup.key"), deployment: "norrbo"},
		name:     "skola", record: record, now: func() time.Time { return o.at }, out: o.said, yes: true, work: 10,
		ask: prompter{in: strings.NewReader(""), out: io.Discard},
	}
	return o
}

// copied is the same town in another folder.
func (o *keyTown) copied() *keyTown {
	o.t.Helper()
	root := o.t.TempDir()
	if err := os.CopyFS(root, os.DirFS(o.root)); err != nil {
		o.t.Fatal(err)
	}
	for _, pattern := range []string{"*.key", "*.identity"} { // CopyFS widens modes
		files, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range files {
			if err := os.Chmod(f, 0o600); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	c := newKeyTown(o.t, root)
	c.at = o.at
	return c
}

func (o *keyTown) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%v\n%s", err, o.said)
	}
}

func (o *keyTown) init(suite seal.Suite) {
	o.t.Helper()
	o.must(o.alone(o.t.Context(), func() error { return o.begin(suite) }))
}

func (o *keyTown) identityFile(id string) string { return filepath.Join(o.root, id+".identity") }

func (o *keyTown) card(id string, r seal.Role, population string) string {
	o.t.Helper()
	path := filepath.Join(o.root, id+"-"+string(r)+".card")
	o.must(o.holder(holderOptions{id: id, role: r, population: population, identity: o.identityFile(id), plain: true, suite: seal.X25519, out: path}))
	return path
}

func (o *keyTown) here(ids ...string) []presentIdentity {
	o.t.Helper()
	var files []string
	for _, id := range ids {
		files = append(files, o.identityFile(id))
	}
	present, err := o.openIdentities(files, nil)
	o.must(err)
	return present
}

func (o *keyTown) six() []string {
	return []string{"manager.a", "manager.b", "hr.a", "hr.b", "security.a", "security.b"}
}

func (o *keyTown) signers() []string { return []string{"manager.a", "hr.a", "security.a"} }

func (o *keyTown) enrolled() *keyTown {
	o.t.Helper()
	o.init(seal.X25519)
	var cards []string
	for _, id := range o.six() {
		role, _, _ := strings.Cut(id, ".")
		cards = append(cards, o.card(id, seal.Role(role), ""))
	}
	o.must(o.runEnrol(o.t.Context(), cards))
	return o
}

func (o *keyTown) signed(by []string, confirm ...string) *keyTown {
	o.t.Helper()
	o.must(o.sign(o.t.Context(), o.here(by...), false))
	if len(confirm) > 0 {
		o.must(o.sign(o.t.Context(), o.here(confirm...), true))
	}
	return o
}

func (o *keyTown) founded() *keyTown {
	o.t.Helper()
	o.enrolled().signed(o.signers(), "manager.b", "hr.b", "security.b")
	o.must(o.publish(o.t.Context(), o.here("hr.a")))
	o.whole(1, o.six()...)
	return o
}

// whole says that everything is in its place: register number is in use and on record once, and every holder opens his keys.
func (o *keyTown) whole(number int, holders ...string) {
	o.t.Helper()
	chain, err := o.chain(o.name)
	o.must(err)
	if len(chain) != number {
		o.t.Fatalf("%d registers, want %d\n%s", len(chain), number, o.said)
	}
	if exists(o.pending()) {
		o.t.Error("the ceremony is not put away")
	}
	for _, id := range holders {
		h, err := openHolder(o.dir, chain, "", o.here(id)[0])
		if err != nil || h.Holder.ID != id || len(h.Keys) == 0 || h.Keys[0].Replaced != 0 {
			o.t.Errorf("%s opens %d keys: %v", id, len(h.Keys), err)
		}
	}
	log, err := audit.Open(o.t.Context(), o.record, o.now)
	o.must(err)
	defer log.Close()
	entries, err := log.Entries(o.t.Context())
	o.must(err)
	registers, protocols := 0, 0
	for _, e := range entries {
		if e.Kind == audit.RegisterChanged && e.Document == chain[number-1].Digest().String() {
			registers++
		}
		if e.Kind == audit.KeysCeremony && strings.Contains(e.Body, `"register": "`+chain[number-1].Digest().String()) && !slices.ContainsFunc([]string{kindEscrow, kindRestore, kindRetire}, func(kind string) bool { return strings.Contains(e.Body, `"kind": "`+kind) }) {
			protocols++
		}
	}
	if registers != 1 || protocols != 1 {
		o.t.Errorf("register %d is on record %d times, its protocol %d times", number, registers, protocols)
	}
	if s := o.status(o.t.Context()); len(s.Faults) > 0 || s.Number != number || s.Pending != nil {
		o.t.Errorf("status says %+v", s)
	}
	for _, f := range []string{"protocol.html", "protocol.md", "protocol.note"} {
		text, err := os.ReadFile(filepath.Join(o.folder(), fmt.Sprintf("ceremony-%04d", number), f))
		if err != nil || len(text) < 500 {
			o.t.Error(f, err)
		}
	}
}

// opensWhat seals something under a register and says which of its keys open it.
func (o *keyTown) sealed(r *seal.Register) (seal.WrappedKey, seal.Binding) {
	o.t.Helper()
	s, err := r.Sealer("staff")
	o.must(err)
	b := seal.Binding{Deployment: "norrbo", Tenant: "skola", Population: "staff", Unit: "gymnasiet", Kind: "web", Subject: []byte("anna"), Day: 20_000, Tag: seal.Tag{1}}
	_, w, err := s.NewKey(b, seal.OriginKey{1})
	o.must(err)
	return w, b
}

func (o *keyTown) opens(id string, w seal.WrappedKey, b seal.Binding) bool {
	o.t.Helper()
	chain, err := o.chain(o.name)
	o.must(err)
	h, err := openHolder(o.dir, chain, id, o.here(id)[0])
	o.must(err)
	for _, k := range h.Keys {
		if _, err := k.Private.OpenShare(w, h.Holder.Role, b); err == nil {
			return true
		}
	}
	return false
}

func TestMembersOfTheRegister(t *testing.T) {
	o := newKeyTown(t, t.TempDir())
	o.init(seal.X25519)
	cards := []string{o.card("anna", "", "")}
	for _, id := range o.six() {
		role, _, _ := strings.Cut(id, ".")
		cards = append(cards, o.card(id, seal.Role(role), ""))
	}
	ctx := t.Context()
	o.must(o.runEnrol(ctx, cards))
	if err := o.sign(ctx, o.here("anna"), false); err == nil {
		t.Error("a member signs the register")
	}
	o.signed(o.signers(), "manager.b", "hr.b", "security.b")
	if err := o.publish(ctx, o.here("anna")); err == nil {
		t.Error("a member publishes")
	}
	o.must(o.publish(ctx, o.here("hr.a")))
	o.whole(1, o.six()...)
	r := newest(must(o.chain(o.name)))
	m, ok := r.Member("anna")
	h, signer, err := openSigner(o.folder(), r.Text().People(), "", o.here("anna")[0])
	if !ok || err != nil || h.Role != "" || signer.Verifier() != m.Verifier {
		t.Fatal("a member does not open her signing key:", ok, err)
	}
	if _, err := openHolder(o.dir, must(o.chain(o.name)), "", o.here("anna")[0]); err == nil {
		t.Error("a member opens keys of a role")
	}

	// One comes, with nobody there but who signs; and one goes.
	o.must(o.runReshare(ctx, []string{o.card("bo", "", "elected")}, nil, nil))
	o.signed([]string{"manager.a", "hr.a"})
	if err := o.publish(ctx, o.here("hr.a")); err == nil || !strings.Contains(err.Error(), "security") {
		t.Error("two of three enrol a member:", err)
	}
	if s := o.said.String(); !strings.Contains(s, "+   bo") || !strings.Contains(s, "member of elected") {
		t.Error("who is enrolled is not shown to those who sign:", s)
	}
	o.signed([]string{"security.a"})
	o.must(o.publish(ctx, o.here("hr.a")))
	o.whole(2, o.six()...)
	status := o.status(ctx)
	if want := []memberStatus{{"anna", "", seal.Fingerprint(m.Verifier)}, {"bo", "elected", seal.Fingerprint(must2(newest(must(o.chain(o.name))).Member("bo")).Verifier)}}; !slices.Equal(status.Members, want) {
		t.Errorf("%+v", status.Members)
	}
	var shown bytes.Buffer
	o.must(printStatus(&shown, []tenantKeys{status}, false))
	protocol := string(must(os.ReadFile(filepath.Join(o.folder(), "ceremony-0002", "protocol.md"))))
	page := string(must(os.ReadFile(filepath.Join(o.folder(), "ceremony-0002", "protocol.html"))))
	for _, text := range []string{shown.String(), protocol, page} {
		if !strings.Contains(text, "bo") || !strings.Contains(text, status.Members[1].Key) {
			t.Error("who was enrolled, and with which key, is not told:", text)
		}
	}
	o.must(o.runReshare(ctx, nil, []string{"anna"}, nil))
	o.signed(o.signers())
	o.must(o.publish(ctx, o.here("manager.b")))
	o.whole(3, o.six()...)
	if _, _, err := openSigner(o.folder(), newest(must(o.chain(o.name))).Text().People(), "", o.here("anna")[0]); err == nil || exists(filepath.Join(o.folder(), holderFile("anna"))) {
		t.Error("who left still has a signing key here")
	}

	// One person twice: with another id and the identity of a role, or as holder and member.
	twin := filepath.Join(o.root, "twin.card")
	o.must(o.holder(holderOptions{id: "twin", identity: o.identityFile("hr.a"), plain: true, out: twin}))
	if err := o.runReshare(ctx, []string{twin}, nil, nil); err == nil || !strings.Contains(err.Error(), "same recipient") {
		t.Error("one age identity twice:", err)
	}
	// A member becomes a holder: the member's card is no longer there.
	o.must(o.runReshare(ctx, []string{o.card("bo", seal.HR, "")}, nil, o.here("hr.b")))
	o.signed(o.signers(), "bo", "hr.b")
	o.must(o.publish(ctx, o.here("bo")))
	o.whole(4, append(o.six(), "bo")...)
	if len(newest(must(o.chain(o.name))).Text().Members) != 0 {
		t.Error("a holder is a member still")
	}
	// A member's card is a card that is checked like any other.
	note := must(os.ReadFile(twin))
	for name, edited := range map[string][]byte{
		"another id":   bytes.Replace(note, []byte(`"twin"`), []byte(`"tvin"`), 1),
		"a role":       bytes.Replace(note, []byte(`"role": ""`), []byte(`"role": "hr"`), 1),
		"a population": bytes.Replace(note, []byte(`"population": ""`), []byte(`"population": "pupil"`), 1),
	} {
		if _, err := parseCard(edited); err == nil || bytes.Equal(edited, note) {
			t.Error("a card was altered:", name)
		}
	}
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("it is not there")
	}
	return v
}

func TestKeysStory(t *testing.T) {
	o := newKeyTown(t, t.TempDir()).founded()
	ctx := t.Context()
	chain, _ := o.chain(o.name)
	before, b := o.sealed(chain[0])

	// A deputy is added by one who holds the role; nobody's key changes.
	o.at = o.at.AddDate(0, 1, 0)
	o.must(o.runReshare(ctx, []string{o.card("hr.c", seal.HR, "")}, nil, o.here("hr.b")))
	o.signed(o.signers(), "hr.c", "hr.b")
	o.must(o.publish(ctx, o.here("manager.a")))
	o.whole(2, append(o.six(), "hr.c")...)
	if !o.opens("hr.c", before, b) {
		t.Error("a new deputy can't open what was sealed before")
	}

	// A holder is lost; the others go on.
	o.must(o.runReshare(ctx, nil, []string{"hr.a"}, o.here("hr.c")))
	o.signed([]string{"manager.b", "hr.b", "security.b"}, "hr.c")
	o.must(o.publish(ctx, o.here("security.b")))
	o.whole(3, "hr.b", "hr.c")
	if _, err := openHolder(o.dir, must(o.chain(o.name)), "", o.here("hr.a")[0]); err == nil {
		t.Error("who has left opens keys still")
	}

	// New keys for a role and the gate: what was sealed before opens still.
	o.must(o.runRotate(ctx, []string{"hr", "security"}, "", true, nil))
	o.signed([]string{"manager.b", "hr.b", "security.b"}, "hr.c", "security.a")
	o.must(o.publish(ctx, o.here("hr.c")))
	o.whole(4, "hr.b", "hr.c", "security.a", "security.b", "manager.a")
	after, _ := o.sealed(must(o.chain(o.name))[3])
	for _, id := range []string{"manager.a", "hr.c", "security.a"} {
		for name, w := range map[string]seal.WrappedKey{"before": before, "after": after} {
			if !o.opens(id, w, b) {
				t.Errorf("%s does not open what was sealed %s the rotation", id, name)
			}
		}
	}
	gate, err := o.readGate()
	o.must(err)
	if len(gate.Keys) != 2 || len(must(o.chain("skola"))) != 4 {
		t.Errorf("the gate has %d keys", len(gate.Keys))
	}
	for i, w := range []seal.WrappedKey{after, before} {
		if _, _, err := gate.Keys[i].OpenGateShare(w, b, seal.OriginKey{1}); err != nil {
			t.Error("the gate's key", i, err)
		}
	}

	// Somebody changes role: both roles get new keys, and the old ones of the new role stay closed to him.
	o.must(o.runReshare(ctx, []string{o.card("sec.c", seal.Security, "")}, nil, o.here("security.a")))
	o.signed([]string{"manager.b", "hr.b", "security.b"}, "sec.c", "security.a")
	o.must(o.publish(ctx, o.here("hr.c")))
	o.must(o.runReshare(ctx, []string{o.card("sec.c", seal.HR, "")}, nil, o.here("hr.b", "security.a")))
	o.signed([]string{"manager.b", "hr.b", "security.b"}, "sec.c", "hr.c", "security.a")
	o.must(o.publish(ctx, o.here("hr.c")))
	o.whole(6, "hr.b", "hr.c", "security.a", "security.b", "sec.c")
	if o.opens("sec.c", after, b) || !o.opens("hr.c", after, b) {
		t.Error("who changed role opens the share of the new role in data of the time of the old one")
	}
	newest, _ := o.sealed(must(o.chain(o.name))[5])
	if !o.opens("sec.c", newest, b) {
		t.Error("who changed role does not open what is sealed now")
	}

	// Somebody loses his identity and makes a new card; another of the role lets him in again.
	lost := o.here("manager.b")[0]
	o.must(os.Remove(o.identityFile("manager.b")))
	o.must(os.Remove(filepath.Join(o.root, "manager.b-manager.card")))
	o.must(o.runReshare(ctx, []string{o.card("manager.b", seal.Manager, "")}, nil, o.here("manager.a")))
	refuse := func(ids ...string) {
		t.Helper()
		if missing := must(o.readPending()).missing; len(missing) != 1 || missing[0].Role != seal.Manager {
			t.Errorf("with the signatures of %v there lack %v", ids, missing)
		}
	}
	o.signed([]string{"manager.b", "hr.b", "security.b"}) // his new key counts for nothing yet
	refuse("manager.b", "hr.b", "security.b")
	o.signed([]string{"manager.a"})
	o.must(o.publish(ctx, o.here("manager.b")))
	o.whole(7, "manager.a", "manager.b", "hr.b")
	if _, err := openHolder(o.dir, must(o.chain(o.name)), "", lost); err == nil {
		t.Error("the lost identity opens keys still")
	}
	if !o.opens("manager.b", after, b) || !o.opens("manager.b", before, b) {
		t.Error("with a new identity he can't open what was sealed before")
	}

	// A population of its own.
	o.must(o.runReshare(ctx, []string{o.card("chair.a", seal.Manager, "elected"), o.card("chair.b", seal.Manager, "elected")}, nil, nil))
	o.signed([]string{"manager.b", "hr.b", "security.b", "chair.a"}, "chair.b")
	o.must(o.publish(ctx, o.here("chair.b")))
	o.whole(8, "chair.a", "chair.b", "manager.a")

	// An old key goes when nothing needs it, and not before.
	left := keysLeft{3, seal.DayOf(o.at)}
	retire := retireOptions{role: seal.HR, number: 1, left: func(_ context.Context, tenant string, key seal.SeatKey) (keysLeft, error) {
		if key.Number != 1 || key.Replaced < 2 || key.Role != seal.HR || tenant != "skola" {
			t.Errorf("asked about %s %d to %d", tenant, key.Number, key.Replaced)
		}
		return left, nil
	}}
	for name, c := range map[string]struct {
		want string
		do   func()
	}{
		"the key in use": {"is in use", func() { retire.number = 6 }},
		"with data left": {"3 data keys", func() { o.at = o.at.AddDate(0, 0, 5) }},
		"nobody can be asked": {"no database", func() {
			retire.left = func(context.Context, string, seal.SeatKey) (keysLeft, error) {
				return keysLeft{}, errors.New("no database")
			}
		}},
	} {
		saved := retire
		savedAt := o.at
		retire.number = 1
		if name == "nobody can be asked" {
			o.at = o.at.AddDate(0, 0, 5)
		}
		c.do()
		if err := o.retire(ctx, retire, o.here("hr.b")[0]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("retire %s: %v", name, err)
		}
		retire, o.at = saved, savedAt
	}
	left, o.at = keysLeft{}, o.at.AddDate(0, 4, 0)
	o.must(o.retire(ctx, retire, o.here("hr.b")[0]))
	if o.opens("hr.b", before, b) || !o.opens("hr.b", after, b) {
		t.Error("the retired key opens, or another does not")
	}
	o.whole(8, "hr.b", "sec.c")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeysEscrow(t *testing.T) {
	o := newKeyTown(t, t.TempDir()).founded()
	out := t.TempDir()
	o.must(o.escrow(t.Context(), escrowOptions{role: seal.Security, out: out}, o.here("security.b")[0]))
	if err := o.escrow(t.Context(), escrowOptions{role: seal.Security, out: out}, o.here("security.b")[0]); err == nil {
		t.Error("sheets were overwritten")
	}
	if err := o.escrow(t.Context(), escrowOptions{role: seal.Security, out: t.TempDir()}, o.here("hr.b")[0]); err == nil || !strings.Contains(err.Error(), "must be there") {
		t.Error("another role puts a key on paper:", err)
	}
	sheet, words := filepath.Join(out, "escrow-skola-role-default-security-0001-key.txt"), filepath.Join(out, "escrow-skola-role-default-security-0001-passphrase.txt")
	for _, f := range []string{sheet, words} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(f, err)
		}
	}
	text := must(os.ReadFile(words))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	pass := lines[len(lines)-1]
	if bytes.Contains(must(os.ReadFile(sheet)), []byte(pass[:11])) {
		t.Error("the key's sheet has the passphrase")
	}

	lost := filepath.Join(o.folder(), roleFile("", seal.Security, 1))
	o.must(os.Remove(lost))
	if s := o.status(t.Context()); len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "--restore") {
		t.Errorf("a lost key: %v", s.Faults)
	}
	typed := filepath.Join(t.TempDir(), "typed") // lower case, no hyphens, zeros for the letter O
	write := func(text string) { o.must(os.WriteFile(typed, []byte(text+"\n"), 0o600)) }
	write("ABCDE-FGHIJ-KLMNO-PQRST-UVWXY-Z")
	if err := o.restore(t.Context(), sheet, typed, o.here("hr.a")[0]); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Error("a wrong passphrase:", err)
	}
	write(strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(pass), "-", " "), "o", "0"))
	o.must(o.restore(t.Context(), sheet, typed, o.here("hr.a")[0]))
	o.whole(1, o.six()...)
}

// A command that is stopped before any change of a file leaves something that status explains, and the same command finishes.
func TestKeysCrashBetweenEveryTwoSteps(t *testing.T) {
	base := newKeyTown(t, t.TempDir())
	ctx := t.Context()
	// each runs a command at every stop, each time on a copy, and then once to its end on the base.
	each := func(name string, command func(o *keyTown) error, check func(o *keyTown)) {
		t.Helper()
		n := 0
		for ; ; n++ {
			o := base.copied()
			at := 0
			o.before = func(string) error {
				if at++; at > n {
					return errStop
				}
				return nil
			}
			err := command(o)
			if err == nil {
				break
			}
			if !errors.Is(err, errStop) {
				t.Fatalf("%s stopped at %d: %v", name, n, err)
			}
			o.before = nil
			var said bytes.Buffer
			if err := printStatus(&said, []tenantKeys{o.status(ctx)}, false); err != nil || said.Len() == 0 {
				t.Errorf("%s stopped at %d: status: %v", name, n, err)
			}
			if strings.Contains(said.String(), "FAULT") {
				t.Errorf("%s stopped at %d: status says\n%s", name, n, &said)
			}
			if err := command(o); err != nil {
				t.Fatalf("%s stopped at %d and run again: %v\n%s", name, n, err, &said)
			}
			check(o)
		}
		if n == 0 {
			t.Errorf("%s changes no file", name)
		}
		base.must(command(base))
		t.Logf("%s: %d stops", name, n)
	}
	nothing := func(*keyTown) {}
	each("init", func(o *keyTown) error { return o.alone(ctx, func() error { return o.begin(seal.X25519) }) }, nothing)
	each("holder", func(o *keyTown) error {
		return o.holder(holderOptions{id: "hr.c", role: seal.HR, identity: o.identityFile("hr.c"), plain: true, suite: seal.X25519, out: filepath.Join(o.root, "hr.c.card")})
	}, nothing)
	var cards []string
	for _, id := range base.six() {
		role, _, _ := strings.Cut(id, ".")
		cards = append(cards, filepath.Base(base.card(id, seal.Role(role), "")))
	}
	in := func(o *keyTown, names ...string) (list []string) {
		for _, n := range names {
			list = append(list, filepath.Join(o.root, n))
		}
		return list
	}
	each("enrol", func(o *keyTown) error { return o.runEnrol(ctx, in(o, cards...)) }, nothing)
	each("sign", func(o *keyTown) error { return o.sign(ctx, o.here(o.signers()...), false) }, nothing)
	each("confirm", func(o *keyTown) error { return o.sign(ctx, o.here(o.six()...), true) }, nothing)
	each("publish", func(o *keyTown) error { return o.publish(ctx, o.here("hr.a")) }, func(o *keyTown) { o.whole(1, o.six()...) })
	each("reshare", func(o *keyTown) error { return o.runReshare(ctx, in(o, "hr.c.card"), []string{"hr.a"}, o.here("hr.b")) }, nothing)
	base.signed([]string{"manager.a", "hr.b", "security.b"}, "hr.c")
	each("publish the change", func(o *keyTown) error { return o.publish(ctx, o.here("hr.b")) }, func(o *keyTown) { o.whole(2, "hr.b", "hr.c") })
	each("rotate", func(o *keyTown) error { return o.runRotate(ctx, []string{"manager", "hr", "security"}, "", true, nil) }, func(o *keyTown) {
		if g, err := o.readGate(); err != nil || len(g.Keys) != 2 {
			t.Errorf("the gate has %d keys after a rotation that was stopped: %v", len(g.Keys), err)
		}
	})
	base.signed([]string{"manager.a", "hr.b", "security.b"}, "hr.c", "manager.b", "security.a")
	each("publish the rotation", func(o *keyTown) error { return o.publish(ctx, o.here("hr.b")) }, func(o *keyTown) { o.whole(3, "hr.b", "hr.c", "manager.a") })
	each("escrow", func(o *keyTown) error {
		return o.escrow(ctx, escrowOptions{role: seal.HR, out: filepath.Join(o.root, "sheets")}, o.here("hr.b")[0])
	}, func(o *keyTown) {
		sheets, _ := filepath.Glob(filepath.Join(o.root, "sheets", "*.txt"))
		words := must(os.ReadFile(filepath.Join(o.root, "sheets", "escrow-skola-role-default-hr-0003-passphrase.txt")))
		lines := strings.Split(strings.TrimSpace(string(words)), "\n")
		typed := filepath.Join(o.root, "typed")
		o.must(os.WriteFile(typed, []byte(lines[len(lines)-1]), 0o600))
		if len(sheets) != 2 {
			t.Errorf("%d sheets", len(sheets))
		}
		o.must(o.restore(ctx, filepath.Join(o.root, "sheets", "escrow-skola-role-default-hr-0003-key.txt"), typed, o.here("manager.a")[0]))
		o.whole(3, "hr.b")
	})
	base.at = base.at.AddDate(0, 0, 100)
	each("retire", func(o *keyTown) error {
		return o.retire(ctx, retireOptions{role: seal.HR, number: 1, left: func(context.Context, string, seal.SeatKey) (keysLeft, error) { return keysLeft{}, nil }}, o.here("hr.b")[0])
	}, func(o *keyTown) { o.whole(3, "hr.b", "manager.b") })
	base.must(base.runRotate(ctx, []string{"hr"}, "", false, nil))
	each("abandon", func(o *keyTown) error {
		err := o.abandon(ctx)
		if errors.Is(err, errNoCeremony) { // it was given up before the stop
			return nil
		}
		return err
	}, nothing)
}

// Who may not, and what is not what it says.
func TestKeysAttacks(t *testing.T) {
	ctx := t.Context()
	prepared := newKeyTown(t, t.TempDir()).enrolled()
	founded := prepared.copied()
	founded.signed(founded.signers(), founded.six()...)
	founded.must(founded.publish(ctx, founded.here("hr.a")))
	refused := func(t *testing.T, err error, why string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want a refusal that says %q", err, why)
		}
	}
	edit := func(t *testing.T, path, from, to string) {
		t.Helper()
		text := must(os.ReadFile(path))
		if !bytes.Contains(text, []byte(from)) {
			t.Fatalf("%s does not hold %q", path, from)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, attack := range map[string]func(t *testing.T){
		"a card with another's recipients": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			o.init(seal.X25519)
			card := o.card("anna", seal.HR, "")
			mine := must(parseCard(must(os.ReadFile(o.card("mallory", seal.HR, "")))))
			theirs := must(parseCard(must(os.ReadFile(card))))
			edit(t, card, theirs.Recipients[0], mine.Recipients[0])
			refused(t, o.runEnrol(ctx, []string{card}), "not signed with its own key")
		},
		"a forged card is found when its person confirms": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			o.init(seal.X25519)
			var cards []string
			for _, id := range o.six() {
				role, _, _ := strings.Cut(id, ".")
				cards = append(cards, o.card(id, seal.Role(role), ""))
			}
			real := o.identityFile("security.a")
			o.must(os.Rename(real, real+".real"))
			o.must(os.Remove(cards[4]))
			o.card("security.a", seal.Security, "") // by mallory, with an identity of his own
			o.must(os.Rename(real+".real", real))
			o.must(o.runEnrol(ctx, cards))
			refused(t, o.sign(ctx, o.here("security.a"), false), "opens the signing key of no holder")
			refused(t, o.sign(ctx, o.here("security.a"), true), "opens the signing key of no holder")
		},
		"a card for another tenant": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			o.name = "vard"
			card := o.card("anna", seal.HR, "")
			o.name = "skola"
			o.init(seal.X25519)
			refused(t, o.runEnrol(ctx, []string{card}), "for the tenant vard")
			o.deployment, o.name = "soderbo", "skola"
			other := o.card("bo", seal.HR, "")
			o.deployment = "norrbo"
			refused(t, o.runEnrol(ctx, []string{other}), "in the deployment soderbo")
		},
		"one person in two roles by two cards": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			o.init(seal.X25519)
			first := o.card("anna", seal.HR, "")
			o.must(os.Rename(o.identityFile("anna"), o.identityFile("anna2")))
			second := o.card("anna2", seal.Security, "")
			refused(t, o.runEnrol(ctx, []string{first, second}), "one age identity")
		},
		"too few holders": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			o.init(seal.X25519)
			refused(t, o.runEnrol(ctx, []string{o.card("a", seal.HR, ""), o.card("b", seal.Manager, ""), o.card("c", seal.Security, "")}), "it needs 2")
		},
		"cards before the ceremony has begun": func(t *testing.T) {
			o := newKeyTown(t, t.TempDir())
			refused(t, o.runEnrol(ctx, []string{o.card("a", seal.HR, "")}), "keys init")
		},
		"a card cannot be anything else": func(t *testing.T) {
			for _, text := range []string{"", "x", "{}\n", "{}\n\n— a AAAA\n", strings.Repeat("a", maxKeyFile+1)} {
				if _, err := parseCard([]byte(text)); err == nil {
					t.Errorf("%.20q is a card", text)
				}
			}
		},
		"the administrator exchanges a drawn key": func(t *testing.T) {
			o := prepared.copied()
			mine := must(seal.NewPrivateKey(seal.X25519))
			h, _ := holderIn(must(o.readPending()).text, "hr.a")
			o.must(os.WriteFile(o.pending(roleFile("", seal.HR, 1)), must(encryptTo(must(mine.Encode()), h.Recipients, nil)), 0o600))
			refused(t, o.sign(ctx, o.here("hr.a"), false), "not the one that the register names")
		},
		"the administrator exchanges the register": func(t *testing.T) {
			o := prepared.copied()
			edit(t, o.pending(registerFile(1)), "hr.b", "hr.x")
			err := o.sign(ctx, o.here("hr.a"), false)
			if err == nil {
				t.Error("an edited register was signed")
			}
		},
		"the administrator exchanges the register and its digest": func(t *testing.T) {
			o := prepared.copied()
			other := newKeyTown(t, t.TempDir()).enrolled()
			o.must(os.WriteFile(o.pending(registerFile(1)), must(os.ReadFile(other.pending(registerFile(1)))), 0o600))
			edit(t, o.pending(ceremonyFile), must(o.digest(prepared)), must(o.digest(other)))
			refused(t, o.sign(ctx, o.here("hr.a"), false), "opens the signing key of no holder")
		},
		"nobody is asked to confirm": func(t *testing.T) {
			o := prepared.copied()
			d := must(o.readPending()).document
			d.Challenges = slices.DeleteFunc(d.Challenges, func(c holderChallenge) bool { return c.Holder == "hr.b" })
			o.must(os.WriteFile(o.pending(ceremonyFile), must(seal.Canonical(d)), 0o600))
			refused(t, o.publish(ctx, o.here("hr.a")), "it was altered")
		},
		"the confirmation of another": func(t *testing.T) {
			o := prepared.copied().signed(prepared.signers(), "hr.b", "manager.b")
			o.must(os.WriteFile(o.pending(confirmationFile("security.b")), must(os.ReadFile(o.pending(confirmationFile("security.a")))), 0o600))
			refused(t, o.publish(ctx, o.here("hr.a")), "confirmation of security.b")
			// of the same person in an earlier ceremony
			other := newKeyTown(t, t.TempDir()).enrolled()
			other.signed(nil, "security.b")
			o.must(os.WriteFile(o.pending(confirmationFile("security.b")), must(os.ReadFile(other.pending(confirmationFile("security.b")))), 0o600))
			refused(t, o.publish(ctx, o.here("hr.a")), "confirmation of security.b")
		},
		"published too early": func(t *testing.T) {
			o := prepared.copied().signed([]string{"hr.a", "manager.a"}, prepared.six()...)
			refused(t, o.publish(ctx, o.here("hr.a")), "signature of the security")
			o = prepared.copied().signed(prepared.signers())
			refused(t, o.publish(ctx, o.here("hr.a")), "hr.b, manager.b, security.b")
			refused(t, o.publish(ctx, nil), "--identity")
		},
		"a second ceremony beside the first": func(t *testing.T) {
			o := prepared.copied()
			refused(t, o.runEnrol(ctx, []string{o.card("x", seal.HR, "")}), "is under way")
			refused(t, o.runRotate(ctx, []string{"hr"}, "", false, nil), "is under way")
		},
		"enrolled again after the first": func(t *testing.T) {
			o := founded.copied()
			refused(t, o.runEnrol(ctx, []string{o.card("x", seal.HR, "")}), "has a register of holders")
		},
		"a deputy added without the role": func(t *testing.T) {
			o := founded.copied()
			refused(t, o.runReshare(ctx, []string{o.card("hr.c", seal.HR, "")}, nil, o.here("security.a", "manager.a")), "must be there")
			refused(t, o.runReshare(ctx, nil, []string{"hr.a"}, o.here("hr.b")), "it needs 2")
			refused(t, o.runReshare(ctx, nil, []string{"nobody"}, o.here("hr.b")), "nobody in the register")
		},
		"an old copy of the keys": func(t *testing.T) {
			o := founded.copied()
			old := o.copied()
			o.must(o.runRotate(ctx, []string{"hr"}, "", false, nil))
			o.signed(o.signers(), "hr.b")
			o.must(o.publish(ctx, o.here("hr.a")))
			// the folder is put back; the record is not
			o.must(os.RemoveAll(o.dir))
			o.must(os.CopyFS(o.dir, os.DirFS(old.dir)))
			s := o.status(ctx)
			if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "older") {
				t.Errorf("status of an old copy: %v", s.Faults)
			}
			// and another register 2 is made from it
			o.must(o.runRotate(ctx, []string{"security"}, "", false, nil))
			o.signed(o.signers(), "security.b")
			refused(t, o.publish(ctx, o.here("hr.a")), "another register 2")
			if s := o.status(ctx); len(s.Faults) == 0 {
				t.Error("status does not see two registers 2")
			}
			o.must(o.abandon(ctx))
		},
		"registers that nobody published": func(t *testing.T) {
			o := founded.copied()
			other := newKeyTown(t, t.TempDir()).founded()
			o.must(os.RemoveAll(o.folder()))
			o.must(os.CopyFS(o.folder(), os.DirFS(other.folder())))
			if s := o.status(ctx); len(s.Faults) == 0 || !strings.Contains(s.Faults[0]+s.Faults[len(s.Faults)-1], "not the one on record") {
				t.Errorf("status of exchanged keys: %v", s.Faults)
			}
			o.must(os.RemoveAll(o.record.Directory))
			o.must(os.Remove(o.record.Key))
			log := must(audit.Open(ctx, o.record, o.now))
			o.must(log.Close())
			if s := o.status(ctx); len(s.Faults) == 0 || !strings.Contains(strings.Join(s.Faults, " "), "not on record") {
				t.Errorf("status with an empty record: %v", s.Faults)
			}
		},
		"a published register can't be given up": func(t *testing.T) {
			o := prepared.copied().signed(prepared.signers(), prepared.six()...)
			steps := 0
			o.before = func(file string) error {
				if file == "record" {
					steps++
				}
				if steps > 0 && file != "record" {
					return errStop
				}
				return nil
			}
			if err := o.publish(ctx, o.here("hr.a")); !errors.Is(err, errStop) {
				t.Fatal(err)
			}
			o.before = nil
			refused(t, o.abandon(ctx), "is on record")
			if s := o.status(ctx); !strings.Contains(strings.Join(s.Warnings, " "), "on record, but its keys are not in place") {
				t.Errorf("status: %v", s.Warnings)
			}
			o.must(o.publish(ctx, o.here("hr.a")))
			o.whole(1, o.six()...)
		},
		"a key exchanged in use": func(t *testing.T) {
			o := founded.copied()
			chain := must(o.chain(o.name))
			mine := must(seal.NewPrivateKey(seal.X25519))
			h, _ := chain[0].Holder("hr.a")
			o.must(os.WriteFile(filepath.Join(o.folder(), roleFile("", seal.HR, 1)), must(encryptTo(must(mine.Encode()), h.Recipients, nil)), 0o600))
			_, err := openHolder(o.dir, chain, "", o.here("hr.a")[0])
			refused(t, err, "not the one that the register names")
			forged := must(seal.NewSigner("hr.b"))
			hb, _ := chain[0].Holder("hr.b")
			o.must(os.WriteFile(filepath.Join(o.folder(), holderFile("hr.b")), must(encryptTo(forged.Encode(), hb.Recipients, nil)), 0o600))
			_, err = openHolder(o.dir, chain, "hr.b", o.here("hr.b")[0])
			refused(t, err, "not the one that the register names")
			_, err = openHolder(o.dir, chain, "hr.a", o.here("hr.b")[0])
			refused(t, err, "open the signing key of hr.a")
			_, err = openHolder(o.dir, nil, "", o.here("hr.b")[0])
			refused(t, err, "no register")
		},
		"files that others can read": func(t *testing.T) {
			o := founded.copied()
			o.must(os.Chmod(o.gate, 0o640))
			_, err := o.readGate()
			refused(t, err, "can be read by others")
			o.must(os.Chmod(o.identityFile("hr.a"), 0o604))
			_, _, err = readIdentity(o.identityFile("hr.a"), "", o.ask)
			refused(t, err, "can be read by others")
		},
		"nobody signs without a word": func(t *testing.T) {
			o := prepared.copied()
			o.yes = false
			for _, answer := range []string{"", "\n", "n\n", "yesno\n", "ja\n"} {
				o.ask.in = strings.NewReader(answer)
				if err := o.sign(ctx, o.here("hr.a"), false); exitCode(err) != exitRefused {
					t.Errorf("%q: %v", answer, err)
				}
			}
			if exists(o.pending(confirmationFile("hr.a"))) {
				t.Error("something was signed")
			}
			o.ask.in = strings.NewReader("y\nYES\n")
			o.must(o.sign(ctx, o.here("hr.a", "manager.b"), false))
			if !strings.Contains(o.said.String(), "security.b") || !strings.Contains(o.said.String(), "fingerprint") {
				t.Error("the register was not shown before it was signed")
			}
		},
	} {
		t.Run(name, attack)
	}
}

func (o *keyTown) digest(other *keyTown) (string, error) {
	p, err := other.readPending()
	return p.document.Register.String(), err
}

// Over distance: everybody has a copy of the folder, and sends back what he signed.
func TestKeysOverDistance(t *testing.T) {
	ctx := t.Context()
	o := newKeyTown(t, t.TempDir()).enrolled()
	var files []string
	for _, id := range o.six() {
		away := o.copied()
		away.must(os.RemoveAll(away.gate))
		away.must(away.sign(ctx, away.here(id), strings.HasSuffix(id, ".b")))
		if strings.HasSuffix(id, ".a") {
			files = append(files, away.pending(registerFile(1)))
		}
		files = append(files, away.pending(confirmationFile(id)))
	}
	o.must(o.collect(ctx, files))
	o.must(o.collect(ctx, files[:3])) // twice does no harm
	other := newKeyTown(t, t.TempDir()).enrolled().signed([]string{"hr.a"})
	for _, f := range []string{other.pending(registerFile(1)), other.pending(confirmationFile("hr.a")), o.gate} {
		if err := o.collect(ctx, []string{f}); err == nil {
			t.Errorf("%s was taken in", f)
		}
	}
	o.must(o.publish(ctx, o.here("hr.a")))
	o.whole(1, o.six()...)
}

// Three people sign at the same time; no signature is lost.
func TestKeysSignedAtTheSameTime(t *testing.T) {
	o := newKeyTown(t, t.TempDir()).enrolled()
	var wg sync.WaitGroup
	for _, id := range o.six() {
		present := o.here(id)
		one := *o.ceremony
		one.out = io.Discard
		wg.Go(func() {
			if err := one.sign(t.Context(), present, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p := must(o.readPending()); len(p.missing) > 0 {
		t.Error("signatures were lost:", p.missing)
	}
	o.must(o.publish(t.Context(), o.here("manager.b")))
	o.whole(1, o.six()...)
}

func TestKeysAgainstQuantumComputers(t *testing.T) {
	root := t.TempDir()
	config := DefaultConfig()
	config.Keys = KeysConfig{Directory: filepath.Join(root, "keys"), Gate: filepath.Join(root, "gate.key")}
	config.Audit.Directory, config.Audit.Key = filepath.Join(root, "audit"), filepath.Join(root, "audit.key")
	config.Vault.LookupKey = filepath.Join(root, "lookup.key")
	var said bytes.Buffer
	identities, err := weakCeremony(t.Context(), config, "default", filepath.Join(root, "people"), seal.Hybrid, time.Now, &said)
	if err != nil {
		t.Fatal(err)
	}
	if len(identities) != 6 || !strings.Contains(said.String(), "for showing only") {
		t.Errorf("%v %s", identities, &said)
	}
	gate, err := keyPaths(config).readGate()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := keyPaths(config).chain("default")
	if err != nil {
		t.Fatal(err)
	}
	for id, file := range identities {
		i, recipients, err := readIdentity(file, "", prompter{})
		if err != nil || !strings.HasPrefix(recipients[0], "age1pq1") {
			t.Fatal(err, recipients)
		}
		if h, err := openHolder(config.Keys.Directory, chain, id, i); err != nil || len(h.Keys) != 1 || !strings.HasPrefix(h.Keys[0].Key.String(), "mlkem768") {
			t.Error(id, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if said := fmt.Sprintf(verb, gate); said != "[redacted]" {
			t.Errorf("the gate's keys print as %.100s", said)
		}
		if said := fmt.Sprintf(verb, struct{ Gate GateKeys }{gate}); strings.Contains(said, "SECRET") {
			t.Errorf("keys print as %.100s", said)
		}
	}
}

// Identities of every kind: with a passphrase, and of a plugin.
func TestKeysIdentities(t *testing.T) {
	o := newKeyTown(t, t.TempDir())
	pass := filepath.Join(o.root, "pass")
	o.must(os.WriteFile(pass, []byte("a long enough passphrase\n"), 0o600))
	options := holderOptions{id: "anna", role: seal.HR, suite: seal.X25519, identity: o.identityFile("anna"), passphraseFile: pass, out: filepath.Join(o.root, "anna.card")}
	short := filepath.Join(o.root, "short")
	o.must(os.WriteFile(short, []byte("short\n"), 0o600))
	weak := options
	weak.passphraseFile = short
	if err := o.holder(weak); err == nil || exists(options.identity) {
		t.Error("a short passphrase:", err)
	}
	o.must(o.holder(options))
	if err := o.holder(options); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Error("a card was overwritten:", err)
	}
	if bytes.Contains(must(os.ReadFile(options.identity)), []byte("SECRET")) {
		t.Error("a protected identity is in clear")
	}
	card := must(parseCard(must(os.ReadFile(options.out))))
	identities, _, err := readIdentity(options.identity, pass, o.ask)
	o.must(err)
	if _, err := decryptWith(must(decode64(card.Signer)), identities); err != nil {
		t.Error("the identity does not open its card:", err)
	}
	if _, _, err := readIdentity(options.identity, short, o.ask); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Error("a wrong passphrase:", err)
	}
	if _, _, err := readIdentity(options.identity, "", o.ask); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Error("no terminal:", err)
	}
	for name, text := range map[string]string{"empty": "", "nonsense": "hello\n", "a public key": card.Recipients[0], "a plugin that is not there": "AGE-PLUGIN-NOTHERE-1QQPQF4P3LC\n", "broken": "AGE-SECRET-KEY-1QQ\n"} {
		path := filepath.Join(t.TempDir(), "i")
		o.must(os.WriteFile(path, []byte(text), 0o600))
		if _, _, err := readIdentity(path, "", o.ask); err == nil || text != "" && len(text) > 8 && strings.Contains(err.Error(), strings.TrimSpace(text)[5:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []holderOptions{{id: "Anna", role: seal.HR}, {id: "../x", role: seal.HR}, {id: "a b", role: seal.HR}, {id: "x", role: seal.Gate}, {id: "x", role: seal.HR, population: "Ä"}} {
		bad.identity, bad.out, bad.plain, bad.suite = o.identityFile("bad"), filepath.Join(o.root, "bad.card"), true, seal.X25519
		if err := o.holder(bad); exitCode(err) != exitUsage || exists(bad.identity) {
			t.Errorf("%+v: %v", bad, err)
		}
	}

	// A plugin is a program in the path.
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "age-plugin-tillsyntest"), "./testdata/age-plugin-tillsyntest").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	text, err := exec.CommandContext(t.Context(), filepath.Join(bin, "age-plugin-tillsyntest"), "--generate").Output()
	o.must(err)
	lines := strings.Fields(string(text)) // identity, recipient
	key := o.identityFile("bo")
	o.must(os.WriteFile(key, []byte(lines[0]+"\n"), 0o600))
	options = holderOptions{id: "bo", role: seal.HR, identity: key, out: filepath.Join(o.root, "bo.card")}
	if err := o.holder(options); err == nil || !strings.Contains(err.Error(), "--recipient") {
		t.Error("a plugin's identity without its public key:", err)
	}
	options.recipients = lines[1:]
	o.must(o.holder(options))
	card = must(parseCard(must(os.ReadFile(options.out))))
	identities, _, err = readIdentity(key, "", o.ask)
	o.must(err)
	if _, err := decryptWith(must(decode64(card.Signer)), identities); err != nil || card.Recipients[0] != lines[1] {
		t.Error("the plugin's identity does not open its card:", err)
	}
}

// As a newcomer types it.
func TestKeysCommands(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "tillsyn.yaml")
	if err := os.WriteFile(config, []byte("log: {level: warn}\nresolve:\n  tenants: [{name: norrbo}]\naudit: {deployment: norrbo}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		out, faults, code := typed(t, "y\n", append([]string{"--config", config, "keys"}, args...)...)
		if code != want {
			t.Fatalf("keys %v: exit %d, want %d\n%s%s", args, code, want, out, faults)
		}
		return out + faults
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if said := run(exitOK, "status"); !strings.Contains(said, "keys init") {
		t.Error(said)
	}
	run(exitUsage, "status", "--tenant", "../etc")
	run(exitUsage, "init", "--suite", "rsa")
	run(exitOK, "init")
	var cards, identities []string
	for i, id := range []string{"anna", "bo", "cia", "dan", "eva", "fia"} {
		run(exitOK, "holder", "--id", id, "--role", string(seal.Approvers()[i/2]), "--identity", in(id+".key"), "--no-passphrase", "--out", in(id+".card"))
		cards, identities = append(cards, in(id+".card")), append(identities, "--identity", in(id+".key"))
	}
	run(exitUsage, "holder", "--id", "x", "--role", "boss", "--identity", in("x.key"))
	run(exitUsage, "enrol")
	run(exitOK, append([]string{"enrol"}, cards...)...)
	run(exitOK, append([]string{"enrol"}, cards...)...) // again: says what is next
	if said := run(exitOK, "status"); !strings.Contains(said, "not signed by the manager (one of anna, bo)") || !strings.Contains(said, "next: tillsyn keys sign") {
		t.Error(said)
	}
	run(exitUsage, "sign")
	run(exitOK, append([]string{"sign", "--yes"}, identities...)...)
	run(exitFault, "publish", "--identity", config)
	if said := run(exitOK, "publish", "--identity", in("cia.key")); !strings.Contains(said, "register 1 of norrbo is in use") {
		t.Error(said)
	}
	run(exitFault, "publish", "--identity", in("cia.key"))
	said := run(exitOK, "status")
	for _, want := range []string{"norrbo: register 1", "anna, bo", "eva, fia", "in use", "can be read by nobody"} {
		if !strings.Contains(said, want) {
			t.Errorf("status does not say %q:\n%s", want, said)
		}
	}
	if said := run(exitOK, "status", "--json"); !strings.Contains(said, `"faults": []`) {
		t.Error(said)
	}
	run(exitUsage, "rotate")
	run(exitOK, "rotate", "--all")
	run(exitOK, "abandon", "--yes")
	if err := os.Remove(filepath.Join(dir, "var/keys/norrbo", roleFile("", seal.HR, 1))); err != nil {
		t.Fatal(err)
	}
	run(exitFound, "status")
	if _, faults, code := typed(t, "", "--config", config, "audit", "verify"); code != exitOK {
		t.Error("the record does not verify:", faults)
	}
}

// What may still need an old key is asked of the database itself, with the rights of a query.
func TestDataKeysLeft(t *testing.T) {
	config := DefaultConfig()
	config.Engine.DataDir = filepath.Join(t.TempDir(), "engine")
	ctx := t.Context()
	if _, err := dataKeysLeft(ctx, config, "norrbo", seal.SeatKey{Number: 1, Replaced: 2}); err == nil {
		t.Error("a database without tables says that nothing is left")
	}
	if err := runMigrate(ctx, io.Discard, config, migrateOptions{}); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(ctx, config, schemas.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"web_keys", "mail_keys", "held_keys"} {
		if err := db.Exec(ctx, "INSERT INTO "+table+" (day, tenant, tag, key, register) SELECT toDate(20000 + number), 'norrbo', toFixedString('t', 16), toFixedString(toString(number), 16), number + 1 FROM numbers(3)", nil); err != nil {
			t.Fatal(err)
		}
	}
	type registers struct{ from, replaced int }
	for r, want := range map[registers]keysLeft{{1, 2}: {3, 20_000}, {1, 3}: {6, 20_001}, {2, 4}: {6, 20_002}, {3, 9}: {3, 20_002}, {4, 5}: {0, 0}} {
		if left, err := dataKeysLeft(ctx, config, "norrbo", seal.SeatKey{Number: r.from, Replaced: r.replaced}); err != nil || left != want {
			t.Errorf("of registers %v there are %+v, want %+v: %v", r, left, want, err)
		}
	}
	if left, err := dataKeysLeft(ctx, config, "soderbo", seal.SeatKey{Number: 1, Replaced: 9}); err != nil || left.rows != 0 {
		t.Errorf("of another tenant there are %d: %v", left.rows, err)
	}
	// A row of an ingester that does not say: it may have been sealed to any key.
	if err := db.Exec(ctx, "INSERT INTO web_keys (day, tenant, tag, key) VALUES ('2026-01-01', 'soderbo', 't', 'k')", nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := dataKeysLeft(ctx, config, "soderbo", seal.SeatKey{Number: 1, Replaced: 9}); err != nil || left.rows != 1 {
		t.Errorf("of a register that is not known there are %d: %v", left.rows, err)
	}
}
