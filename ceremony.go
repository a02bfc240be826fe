package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/gofrs/flock"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

const (
	cardType         = "tillsyn holder card v1"
	ceremonyType     = "tillsyn key ceremony v1"
	confirmationType = "tillsyn key confirmation v1"

	ceremonyFile = "ceremony.json"
	protocolFile = "protocol.note"
	documentTime = "2006-01-02T15:04:05Z"
	kindEnrol    = "enrol"
	kindReshare  = "reshare"
	kindRotate   = "rotate"
	kindEscrow   = "escrow"
	kindRestore  = "restore"
	kindRetire   = "retire"
)

// A holderCard is what a person who is to hold a role, or with no role to be a member, hands in: public, but for the signing key,
// which is encrypted to the person. It is signed with that key, so whoever hands in a card has it.
type holderCard struct {
	Type       string    `json:"type"`
	Deployment string    `json:"deployment"`
	Tenant     string    `json:"tenant"`
	ID         string    `json:"id"`
	Population string    `json:"population"`
	Role       seal.Role `json:"role"` // empty: a member
	Verifier   string    `json:"verifier"`
	Recipients []string  `json:"recipients"` // age
	Signer     string    `json:"signer"`     // the signing key, age-encrypted to Recipients, in base64
	Time       string    `json:"time"`

	note []byte
}

func (c holderCard) holder() seal.Holder {
	return seal.Holder{ID: c.ID, Population: c.Population, Role: c.Role, Verifier: c.Verifier, Recipients: c.Recipients}
}

func (c holderCard) member() seal.Member {
	return seal.Member{ID: c.ID, Population: c.Population, Verifier: c.Verifier, Recipients: c.Recipients}
}

// validate answers what is wrong with the person of a card.
func (c holderCard) validate() error {
	if c.Role == "" {
		return c.member().Validate()
	}
	return c.holder().Validate()
}

// digest is what a card is recognised by.
func (c holderCard) digest() seal.Digest {
	text, err := seal.Unsigned(c.note)
	if err != nil {
		return seal.Digest{}
	}
	return seal.DigestOf(text)
}

// fingerprint is a digest as people read it to each other: 80 bits, too many to find another text for.
func fingerprint(d seal.Digest) string { return d.Fingerprint() }

// parseCard reads a holder's card and checks that it is signed with the key that it names.
func parseCard(note []byte) (holderCard, error) {
	var c holderCard
	text, err := seal.Unsigned(note)
	if err != nil {
		return holderCard{}, fmt.Errorf("read a holder's card: %w", err)
	}
	if err := seal.ParseCanonical(text, &c); err != nil {
		return holderCard{}, fmt.Errorf("read a holder's card: %w", err)
	}
	if c.Type != cardType {
		return holderCard{}, fmt.Errorf("read a holder's card: its type is not %q", cardType)
	}
	if _, by, err := seal.Open(note, c.Verifier); err != nil || !slices.Equal(by, []string{c.ID}) {
		return holderCard{}, errors.New("read a holder's card: it is not signed with its own key")
	}
	if err := c.validate(); err != nil {
		return holderCard{}, fmt.Errorf("read a holder's card: %w", err)
	}
	if raw, err := decode64(c.Signer); err != nil || !bytes.HasPrefix(raw, []byte("age-encryption.org/v1\n")) {
		return holderCard{}, errors.New("read a holder's card: its signing key is not encrypted")
	}
	c.note = note
	return c, nil
}

// A ceremonyDocument is what a ceremony in progress asks of its holders.
type ceremonyDocument struct {
	Type       string             `json:"type"`
	Kind       string             `json:"kind"`
	Tenant     string             `json:"tenant"`
	Number     int                `json:"number"`
	Register   seal.Digest        `json:"register"`
	Began      string             `json:"began"`
	Challenges []holderChallenge  `json:"challenges"`
	Cards      []holderCardDigest `json:"cards"`
	Left       []string           `json:"left"`
}

type holderChallenge struct {
	Holder     string      `json:"holder"`
	Population string      `json:"population"`
	Role       seal.Role   `json:"role"`
	Number     int         `json:"number"` // of the register that brought the key
	Sealed     string      `json:"sealed"` // base64
	Answer     seal.Digest `json:"answer"`
}

type holderCardDigest struct {
	Holder string      `json:"holder"`
	Digest seal.Digest `json:"digest"`
}

// A keyConfirmation is a holder's word, with proof, that his keys open.
type keyConfirmation struct {
	Type       string         `json:"type"`
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Number     int            `json:"number"`
	Register   seal.Digest    `json:"register"`
	Holder     string         `json:"holder"`
	Time       string         `json:"time"`
	Answers    []holderAnswer `json:"answers"`
}

type holderAnswer struct {
	Population string    `json:"population"`
	Role       seal.Role `json:"role"`
	Number     int       `json:"number"`
	Answer     string    `json:"answer"` // base64
}

// A ceremony changes the keys of a tenant. Its steps can be stopped between any two changes of a file: the same command
// finishes them.
type ceremony struct {
	keyStore
	name   string // of the tenant
	record audit.Config
	now    func() time.Time
	ask    prompter
	out    io.Writer
	yes    bool // do not ask
	work   int  // scrypt's work factor for what a passphrase protects, log2
}

func (k *ceremony) folder() string { return k.tenant(k.name) }

func (k *ceremony) pending(parts ...string) string {
	return filepath.Join(append([]string{k.folder(), pendingDir}, parts...)...)
}

func (k *ceremony) time() string { return k.now().UTC().Truncate(time.Second).Format(documentTime) }

func (k *ceremony) say(format string, args ...any) { fmt.Fprintf(k.out, format+"\n", args...) }

// alone runs f while no other process changes the keys.
func (k *ceremony) alone(ctx context.Context, f func() error) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("open the folder of keys: %w", err)
	}
	lock := flock.New(filepath.Join(k.dir, ".lock"))
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if ok, err := lock.TryLockContext(ctx, 50*time.Millisecond); !ok || err != nil {
		return errors.New("another command is changing the keys: try again when it is done")
	}
	defer lock.Unlock()
	return f()
}

// newest is the last register, or nil.
func newest(chain []*seal.Register) *seal.Register {
	if len(chain) == 0 {
		return nil
	}
	return chain[len(chain)-1]
}

// begin makes the gate's keys and the tenant's folder.
func (k *ceremony) begin(suite seal.Suite) error {
	if !slices.Contains(seal.Suites(), suite) {
		return usageErrorf("--suite: %q is not one of %v", string(suite), seal.Suites())
	}
	if _, err := os.Stat(k.gate); errors.Is(err, fs.ErrNotExist) {
		g, err := GateKeys{}.draw(suite)
		if err != nil {
			return err
		}
		text, err := g.encode()
		if err != nil {
			return err
		}
		if err := k.write(k.gate, text); err != nil {
			return err
		}
		k.say("made the gate's keys in %s: whoever runs tillsyn keeps this file, and a backup of it in a safe", k.gate)
	} else if _, err := k.readGate(); err != nil {
		return err
	}
	if _, err := os.Stat(k.lookup); errors.Is(err, fs.ErrNotExist) {
		if err := k.step(k.lookup); err != nil {
			return err
		}
		if _, err := vault.OpenLookup(k.lookup, k.now); err != nil {
			return err
		}
		k.say("made the lookup key in %s: ingesters and the gate share it", k.lookup)
	} else if _, err := k.readLookup(); err != nil {
		return err
	}
	chain, err := k.chain(k.name)
	if err != nil {
		return err
	}
	if len(chain) > 0 {
		k.say("%s has a register of holders already (number %d): nothing to begin", k.name, len(chain))
		return nil
	}
	if _, err := os.Stat(k.pending()); err == nil {
		k.say("a ceremony for %s is under way: see 'tillsyn keys status'", k.name)
		return nil
	}
	if err := k.write(filepath.Join(k.folder(), "suite"), []byte(suite+"\n")); err != nil {
		return err
	}
	k.say("a ceremony for %s has begun. Next, at least two people for each of the roles manager, hr and security make their cards,", k.name)
	k.say("each on a machine of their own:  tillsyn keys holder --tenant %s --deployment %s --id NAME --role ROLE --identity FILE", k.name, k.deployment)
	k.say("Then:  tillsyn keys enrol --tenant %s CARD...", k.name)
	return nil
}

// suite is the suite of new keys of the tenant: the one that 'keys init' was told, or that of the keys in use.
func (k *ceremony) suite(previous *seal.Register) (seal.Suite, error) {
	if previous != nil {
		key, err := previous.Seat("", seal.Manager)
		if err != nil {
			return "", err
		}
		name, _, _ := strings.Cut(key.String(), ":")
		return seal.Suite(name), nil
	}
	text, err := readSmall(filepath.Join(k.folder(), "suite"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no ceremony for %s has begun: run 'tillsyn keys init --tenant %s'", k.name, k.name)
	}
	return seal.Suite(strings.TrimSpace(string(text))), err
}

// A change is what the next register has that the one before has not.
type change struct {
	kind   string
	add    []holderCard
	remove []string
	rotate []seal.SeatKey // population and role count
	gate   bool
}

// leave takes somebody out of a register that is being drafted.
func leave(t *seal.RegisterText, id string) {
	t.Holders = slices.DeleteFunc(t.Holders, func(h seal.Holder) bool { return h.ID == id })
	t.Members = slices.DeleteFunc(t.Members, func(m seal.Member) bool { return m.ID == id })
}

// A presentIdentity is the opened identity file of somebody who takes part.
type presentIdentity []age.Identity

// prepare draws keys, encrypts them and writes the register that has yet to be signed. Nothing of it is in use until publish.
func (k *ceremony) prepare(ctx context.Context, ch change, present []presentIdentity) error {
	return k.alone(ctx, func() error {
		if _, err := os.Stat(k.pending()); err == nil {
			return fmt.Errorf("a ceremony for %s is under way: finish it (see 'tillsyn keys status --tenant %s'), or give it up with 'tillsyn keys abandon'", k.name, k.name)
		}
		chain, err := k.chain(k.name)
		if err != nil {
			return err
		}
		previous := newest(chain)
		if (previous == nil) != (ch.kind == kindEnrol) {
			if previous == nil {
				return fmt.Errorf("%s has no register of holders: begin with 'tillsyn keys init' and 'keys enrol'", k.name)
			}
			return fmt.Errorf("%s has a register of holders: change it with 'tillsyn keys reshare' or 'keys rotate'", k.name)
		}
		suite, err := k.suite(previous)
		if err != nil {
			return err
		}
		old, err := filepath.Glob(filepath.Join(k.folder(), ".pending-*")) // of a process that died
		if err != nil {
			return err
		}
		for _, dir := range old {
			if err := k.remove(dir); err != nil {
				return err
			}
		}
		d, err := k.draft(previous, suite, ch, present)
		if err != nil {
			return err
		}
		return k.writePending(d)
	})
}

// A draft is a ceremony that was prepared, with its files.
type draft struct {
	document ceremonyDocument
	text     []byte // of the register
	files    map[string][]byte
}

func (k *ceremony) draft(previous *seal.Register, suite seal.Suite, ch change, present []presentIdentity) (draft, error) {
	t := previous.Text()
	t.Deployment, t.Tenant, t.Time = k.deployment, k.name, k.time()
	t.Number = 1
	if previous != nil {
		t.Number, t.Previous = previous.Number()+1, previous.Digest()
		t.Time = max(t.Time, previous.Text().Time) // a clock that was ahead must not stop a change
	}
	d := draft{files: map[string][]byte{}}
	d.document = ceremonyDocument{Type: ceremonyType, Kind: ch.kind, Tenant: k.name, Number: t.Number, Began: k.time()}

	for _, id := range ch.remove {
		if _, ok := holderIn(t, id); !ok {
			return d, fmt.Errorf("nobody in the register is called %q", id)
		}
		leave(&t, id)
		d.document.Left = append(d.document.Left, id)
	}
	rotate := map[string]bool{}
	seatOf := func(population string, r seal.Role) string { return population + "/" + string(r) }
	for _, r := range ch.rotate {
		rotate[seatOf(r.Population, r.Role)] = true
	}
	for _, c := range ch.add {
		if c.Deployment != k.deployment || c.Tenant != k.name {
			return d, fmt.Errorf("the card of %s is for the tenant %s in the deployment %s, not for %s in %s", c.ID, c.Tenant, c.Deployment, k.name, k.deployment)
		}
		for _, r := range c.Recipients {
			if _, err := parseRecipient(r, k.ask.pluginUI()); err != nil {
				return d, fmt.Errorf("the card of %s: %w", c.ID, err)
			}
		}
		for _, h := range t.Holders {
			if h.ID == c.ID && c.Role != "" && h.Role != c.Role {
				// Whoever changes sides may still know the keys of the old one.
				rotate[seatOf(h.Population, h.Role)], rotate[seatOf(c.Population, c.Role)] = true, true
				k.say("%s changes from %s to %s: both roles get new keys, so that nobody can open two shares", c.ID, h.Role, c.Role)
			}
		}
		leave(&t, c.ID)
		if c.Role == "" {
			t.Members = append(t.Members, c.member())
		} else if t.Holders = append(t.Holders, c.holder()); !slices.ContainsFunc(t.Seats, func(s seal.Seat) bool { return s.Population == c.Population && s.Role == c.Role }) {
			t.Seats = append(t.Seats, seal.Seat{Population: c.Population, Role: c.Role})
			rotate[seatOf(c.Population, c.Role)] = true
		}
		raw, err := decode64(c.Signer)
		if err != nil {
			return d, fmt.Errorf("the card of %s: %w", c.ID, err)
		}
		d.files[holderFile(c.ID)] = raw
		d.files["card-"+c.ID+".note"] = c.note
		d.document.Cards = append(d.document.Cards, holderCardDigest{c.ID, c.digest()})
	}
	t.Seats = slices.DeleteFunc(t.Seats, func(s seal.Seat) bool { // a population's own role ends with its last holder
		return s.Population != "" && !slices.ContainsFunc(t.Holders, func(h seal.Holder) bool { return h.Population == s.Population && h.Role == s.Role })
	})
	drawn := map[string]seal.PrivateKey{}
	for i := range t.Seats {
		s := &t.Seats[i]
		if !rotate[seatOf(s.Population, s.Role)] {
			continue
		}
		delete(rotate, seatOf(s.Population, s.Role))
		private, err := seal.NewPrivateKey(suite)
		if err != nil {
			return d, err
		}
		s.Key = private.Public()
		drawn[s.Key.String()] = private
	}
	if len(rotate) > 0 && len(ch.rotate) > 0 {
		return d, errors.New("a population has no seat of its own for that role: rotate the role of everybody (no --population)")
	}
	if err := k.chooseGate(&t, previous, suite, ch.gate || previous == nil); err != nil {
		return d, err
	}
	t.Sort()
	var err error
	if d.text, err = t.Encode(); err != nil {
		return d, err
	}
	if _, err := seal.MissingSignatures(d.text, previous); err != nil {
		return d, err
	}
	d.document.Register = seal.DigestOf(d.text)
	if err := k.share(&d, t, previous, drawn, present); err != nil {
		return d, err
	}
	slices.Sort(d.document.Left)
	slices.SortFunc(d.document.Cards, func(a, b holderCardDigest) int { return cmp.Compare(a.Holder, b.Holder) })
	if d.files[ceremonyFile], err = seal.Canonical(d.document); err != nil {
		return d, err
	}
	d.files[registerFile(t.Number)] = d.text
	return d, nil
}

// chooseGate puts the gate's public keys into a register: new ones, if it is asked to, and if the newest that the gate has is in
// use already.
func (k *ceremony) chooseGate(t *seal.RegisterText, previous *seal.Register, suite seal.Suite, fresh bool) error {
	if !fresh {
		return nil
	}
	g, err := k.readGate()
	if err != nil {
		return err
	}
	used := slices.ContainsFunc(previous.SeatKeys(), func(s seal.SeatKey) bool { return s.Key.String() == g.Keys[0].Public().String() })
	if used {
		if g, err = g.draw(suite); err != nil {
			return err
		}
		text, err := g.encode()
		if err != nil {
			return err
		}
		if err := k.write(k.gate, text); err != nil {
			return err
		}
		k.say("the gate has new keys, and keeps the old ones for data that were sealed to them")
	}
	t.Gate = seal.GateSeat{Key: g.Keys[0].Public(), Recipient: g.recipients[0]}
	return nil
}

// share encrypts role keys to holders: new keys, and old ones whose holders change.
func (k *ceremony) share(d *draft, t seal.RegisterText, previous *seal.Register, drawn map[string]seal.PrivateKey, present []presentIdentity) error {
	for _, key := range t.SeatKeys(previous) {
		if key.Role == seal.Gate {
			continue
		}
		file := roleFile(key.Population, key.Role, key.Number)
		openers := t.Openers(previous, key)
		private, isNew := drawn[key.Key.String()]
		if !isNew {
			if _, err := os.Stat(filepath.Join(k.folder(), file)); errors.Is(err, fs.ErrNotExist) && key.Replaced != 0 {
				continue // retired
			}
			if slices.EqualFunc(openers, previous.Openers(key), sameOpener) {
				continue
			}
			if len(openers) == 0 {
				if !slices.ContainsFunc(t.Seats, func(s seal.Seat) bool { return s.Population == key.Population && s.Role == key.Role }) {
					continue // the population is dissolved: the file stays as it is until it is retired
				}
				return fmt.Errorf("nobody would be left who may open %s: data that were sealed to it could not be read any more", file)
			}
			var err error
			if private, err = k.presentKey(key, present); err != nil {
				return err
			}
		}
		plain, err := private.Encode()
		if err != nil {
			return err
		}
		var recipients []string
		for _, h := range openers {
			recipients = append(recipients, h.Recipients...)
			sealed, answer, err := key.Key.Challenge(d.document.Register.String(), h.ID, file)
			if err != nil {
				return err
			}
			d.document.Challenges = append(d.document.Challenges, holderChallenge{h.ID, key.Population, key.Role, key.Number, encode64(sealed), answer})
		}
		d.files[file], err = encryptTo(plain, recipients, k.ask.pluginUI())
		clear(plain)
		if err != nil {
			return fmt.Errorf("share %s: %w", file, err)
		}
	}
	return nil
}

// presentKey opens a role's private key with the identity of somebody who is there.
func (k *ceremony) presentKey(key seal.SeatKey, present []presentIdentity) (seal.PrivateKey, error) {
	path := filepath.Join(k.folder(), roleFile(key.Population, key.Role, key.Number))
	for _, identities := range present {
		private, err := openRoleKey(path, key, identities)
		if err == nil {
			return private, nil
		}
		if _, other := errors.AsType[*age.NoIdentityMatchError](err); !other {
			return seal.PrivateKey{}, err
		}
	}
	name := string(key.Role)
	if key.Population != "" {
		name += " of " + key.Population
	}
	return seal.PrivateKey{}, fmt.Errorf("the holders of %s change: one who holds that role now must be there and open its key (--identity FILE)", name)
}

// writePending puts all files of a draft in place at once.
func (k *ceremony) writePending(d draft) error {
	if err := os.MkdirAll(k.folder(), 0o700); err != nil {
		return fmt.Errorf("write a ceremony: %w", err)
	}
	aside, err := os.MkdirTemp(k.folder(), ".pending-")
	if err != nil {
		return fmt.Errorf("write a ceremony: %w", err)
	}
	for name, data := range d.files {
		if err := k.write(filepath.Join(aside, name), data); err != nil {
			return err
		}
	}
	if err := k.rename(aside, k.pending()); err != nil {
		return err
	}
	return nil
}

// An openedCeremony is a ceremony in progress as it is on disk.
type openedCeremony struct {
	document ceremonyDocument
	chain    []*seal.Register
	previous *seal.Register
	note     []byte // the register, perhaps without signatures
	text     seal.RegisterText
	missing  []seal.Need
}

var errNoCeremony = errors.New("no ceremony is under way")

// readPending reads the ceremony in progress. After a publishing that was stopped the register may be in the chain already: then
// previous is the one before it still.
func (k *ceremony) readPending() (openedCeremony, error) {
	var o openedCeremony
	text, err := readSmall(k.pending(ceremonyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("%w for %s", errNoCeremony, k.name)
	}
	if err != nil {
		return o, fmt.Errorf("read the ceremony: %w", err)
	}
	if err := seal.ParseCanonical(text, &o.document); err != nil {
		return o, fmt.Errorf("read the ceremony: %w", err)
	}
	if o.document.Type != ceremonyType || o.document.Tenant != k.name || o.document.Number < 1 {
		return o, errors.New("read the ceremony: it is of another tenant")
	}
	if o.chain, err = k.chain(k.name); err != nil {
		return o, err
	}
	if o.document.Number > len(o.chain)+1 || o.document.Number < len(o.chain) {
		return o, fmt.Errorf("the ceremony is for register %d, but the newest is %d: give it up with 'tillsyn keys abandon'", o.document.Number, len(o.chain))
	}
	if o.document.Number > 1 {
		o.previous = o.chain[o.document.Number-2]
	}
	file := k.pending(registerFile(o.document.Number))
	if o.document.Number == len(o.chain) {
		file = filepath.Join(k.folder(), registerFile(o.document.Number))
	}
	if o.note, err = readSmall(file); err != nil {
		return o, fmt.Errorf("read the ceremony: %w", err)
	}
	if o.text, err = seal.ParseRegisterText(o.note); err != nil {
		return o, fmt.Errorf("read the ceremony: %w", err)
	}
	if digestOfNote(o.note) != o.document.Register {
		return o, errors.New("read the ceremony: its register is not the one that was prepared")
	}
	if o.text.Tenant != k.name || k.deployment != "" && o.text.Deployment != k.deployment {
		return o, errors.New("read the ceremony: its register is of another tenant or deployment")
	}
	if o.missing, err = seal.MissingSignatures(o.note, o.previous); err != nil {
		return o, fmt.Errorf("read the ceremony: %w", err)
	}
	return o, k.checkChallenges(o)
}

// checkChallenges says whether everybody whose keys change is asked to show that they open.
func (k *ceremony) checkChallenges(o openedCeremony) error {
	for _, key := range o.text.SeatKeys(o.previous) {
		openers := o.text.Openers(o.previous, key)
		if key.Role == seal.Gate || key.Number != o.document.Number && slices.EqualFunc(openers, o.previous.Openers(key), sameOpener) {
			continue
		}
		file := roleFile(key.Population, key.Role, key.Number)
		if key.Replaced != 0 && !exists(k.pending(file)) && !exists(filepath.Join(k.folder(), file)) {
			continue // retired
		}
		for _, h := range openers {
			if !slices.ContainsFunc(o.document.Challenges, func(c holderChallenge) bool {
				return c.Holder == h.ID && c.Population == key.Population && c.Role == key.Role && c.Number == key.Number
			}) {
				return fmt.Errorf("read the ceremony: it does not ask %s to show that %s opens: it was altered", h.ID, file)
			}
		}
	}
	return nil
}

func sameOpener(a, b seal.Holder) bool {
	return a.ID == b.ID && slices.Equal(a.Recipients, b.Recipients)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func digestOfNote(note []byte) seal.Digest {
	if text, err := seal.Unsigned(note); err == nil {
		return seal.DigestOf(text)
	}
	return seal.DigestOf(note)
}

// participant finds who an identity is in a ceremony, and the key that he signs with: the old one, if he has one.
func (k *ceremony) participant(o openedCeremony, identities presentIdentity) (seal.Holder, *seal.Signer, error) {
	if o.previous != nil {
		if h, s, err := openSigner(k.folder(), o.previous.Text().Holders, "", identities); err == nil {
			return h, s, nil
		}
	}
	folder := k.pending()
	for _, f := range []string{folder, k.folder()} { // publish moves the files
		if h, s, err := openSigner(f, o.text.Holders, "", identities); err == nil {
			return h, s, nil
		}
	}
	return seal.Holder{}, nil, errors.New("this identity opens the signing key of no holder: is it the right file, and the right tenant?")
}

// confirm answers a holder's challenges: his keys open.
func (k *ceremony) confirm(o openedCeremony, identities presentIdentity) error {
	h, signer, err := openSigner(k.pending(), o.text.Holders, "", identities)
	if err != nil {
		if h, signer, err = openSigner(k.folder(), o.text.Holders, "", identities); err != nil {
			return err
		}
	}
	c := keyConfirmation{Type: confirmationType, Deployment: o.text.Deployment, Tenant: k.name, Number: o.document.Number, Register: o.document.Register, Holder: h.ID, Time: k.time()}
	keys := o.text.SeatKeys(o.previous)
	for _, ch := range o.document.Challenges {
		if ch.Holder != h.ID {
			continue
		}
		i := slices.IndexFunc(keys, func(s seal.SeatKey) bool {
			return s.Population == ch.Population && s.Role == ch.Role && s.Number == ch.Number
		})
		if i < 0 {
			return errors.New("the ceremony asks for a key that the register does not have")
		}
		file := roleFile(ch.Population, ch.Role, ch.Number)
		private, err := openRoleKey(k.pending(file), keys[i], identities)
		if err != nil {
			return fmt.Errorf("%s can't open %s: do not sign, and begin again: %w", h.ID, file, err)
		}
		sealed, err := decode64(ch.Sealed)
		if err != nil {
			return errors.New("the ceremony has a challenge that can't be read")
		}
		answer, err := private.Answer(sealed, o.document.Register.String(), h.ID, file)
		if err != nil {
			return fmt.Errorf("%s can't open the challenge for %s: %w", h.ID, file, err)
		}
		c.Answers = append(c.Answers, holderAnswer{ch.Population, ch.Role, ch.Number, encode64(answer)})
	}
	if len(c.Answers) == 0 {
		return nil
	}
	text, err := seal.Canonical(c)
	if err != nil {
		return err
	}
	note, err := seal.Sign(text, signer)
	if err != nil {
		return err
	}
	if err := k.write(k.pending(confirmationFile(h.ID)), note); err != nil {
		return err
	}
	k.say("%s opens %s: confirmed", h.ID, count(len(c.Answers), "key", "keys"))
	return nil
}

func confirmationFile(id string) string { return "confirm-" + id + ".note" }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// checkConfirmation says whether a note is a holder's proof that the keys which this ceremony gave him open.
func (o openedCeremony) checkConfirmation(id string, note []byte) error {
	bad := fmt.Errorf("the confirmation of %s is not one of this ceremony", id)
	i := slices.IndexFunc(o.text.Holders, func(h seal.Holder) bool { return h.ID == id })
	if i < 0 {
		return bad
	}
	text, _, err := seal.Open(note, o.text.Holders[i].Verifier)
	if err != nil {
		return bad
	}
	var c keyConfirmation
	if err := seal.ParseCanonical(text, &c); err != nil {
		return bad
	}
	if c.Type != confirmationType || c.Deployment != o.text.Deployment || c.Tenant != o.text.Tenant || c.Number != o.document.Number ||
		c.Register != o.document.Register || c.Holder != id {
		return bad
	}
	for _, ch := range o.document.Challenges {
		if ch.Holder != id {
			continue
		}
		j := slices.IndexFunc(c.Answers, func(a holderAnswer) bool {
			return a.Population == ch.Population && a.Role == ch.Role && a.Number == ch.Number
		})
		if j < 0 {
			return bad
		}
		if raw, err := decode64(c.Answers[j].Answer); err != nil || seal.DigestOf(raw) != ch.Answer {
			return bad
		}
	}
	return nil
}

// unconfirmed are the holders who have yet to show that their keys open.
func (k *ceremony) unconfirmed(o openedCeremony) ([]string, error) {
	var list []string
	for _, ch := range o.document.Challenges {
		if slices.Contains(list, ch.Holder) {
			continue
		}
		note, err := readSmall(k.pending(confirmationFile(ch.Holder)))
		if errors.Is(err, fs.ErrNotExist) {
			list = append(list, ch.Holder)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := o.checkConfirmation(ch.Holder, note); err != nil {
			return nil, err
		}
	}
	slices.Sort(list)
	return list, nil
}

// sign shows the register that is to be and signs it.
func (k *ceremony) sign(ctx context.Context, present []presentIdentity, confirmOnly bool) error {
	return k.alone(ctx, func() error {
		o, err := k.readPending()
		if err != nil {
			return err
		}
		if !confirmOnly {
			describeRegister(k.out, o)
		}
		for _, identities := range present {
			h, signer, err := k.participant(o, identities)
			if err != nil {
				return err
			}
			if confirmOnly {
				if err := k.confirm(o, identities); err != nil {
					return err
				}
				continue
			}
			if !k.yes {
				ok, err := k.ask.ask(fmt.Sprintf("%s: do you sign this register?", h.ID))
				if err != nil {
					return err
				}
				if !ok {
					return &exitError{exitRefused, fmt.Errorf("%s has not signed; nothing was changed for this person", h.ID)}
				}
			}
			if err := k.confirm(o, identities); err != nil {
				if _, stays := holderIn(o.text, h.ID); stays {
					return err
				}
			}
			var note []byte
			if _, err := seal.Unsigned(o.note); err == nil {
				note, err = seal.Countersign(o.note, signer)
				if err != nil {
					return err
				}
			} else if note, err = seal.Sign(o.note, signer); err != nil {
				return err
			}
			if o.missing, err = seal.MissingSignatures(note, o.previous); err != nil {
				return fmt.Errorf("the signature of %s: %w", h.ID, err)
			}
			if err := k.write(k.pending(registerFile(o.document.Number)), note); err != nil {
				return err
			}
			o.note = note
			k.say("%s has signed register %d of %s (%s)", h.ID, o.document.Number, k.name, fingerprint(o.document.Register))
		}
		return k.next(o)
	})
}

// holderIn finds a holder, or a member as one of no role.
func holderIn(t seal.RegisterText, id string) (seal.Holder, bool) {
	people := t.People()
	i := slices.IndexFunc(people, func(h seal.Holder) bool { return h.ID == id })
	if i < 0 {
		return seal.Holder{}, false
	}
	return people[i], true
}

// next says what a ceremony still needs.
func (k *ceremony) next(o openedCeremony) error {
	waiting, err := k.unconfirmed(o)
	if err != nil {
		return err
	}
	for _, n := range o.missing {
		k.say("still to sign: the %s", n)
	}
	if len(waiting) > 0 {
		k.say("still to confirm that their keys open: %s  (tillsyn keys confirm --tenant %s --identity FILE)", strings.Join(waiting, ", "), k.name)
	}
	if len(waiting)+len(o.missing) == 0 {
		k.say("complete. Next: tillsyn keys publish --tenant %s --identity FILE", k.name)
	}
	return nil
}

// collect takes in what holders did on other machines: signed registers and confirmations.
func (k *ceremony) collect(ctx context.Context, files []string) error {
	return k.alone(ctx, func() error {
		o, err := k.readPending()
		if err != nil {
			return err
		}
		for _, f := range files {
			note, err := readSmall(f)
			if err != nil {
				return fmt.Errorf("collect: %w", err)
			}
			if digestOfNote(note) == o.document.Register {
				merged := note
				if _, err := seal.Unsigned(o.note); err == nil {
					if merged, err = seal.Merge(o.note, note); err != nil {
						return fmt.Errorf("collect %s: %w", f, err)
					}
				}
				if o.missing, err = seal.MissingSignatures(merged, o.previous); err != nil {
					return fmt.Errorf("collect %s: %w", f, err)
				}
				if err := k.write(k.pending(registerFile(o.document.Number)), merged); err != nil {
					return err
				}
				o.note = merged
				k.say("%s: signatures taken in", f)
				continue
			}
			var c keyConfirmation
			text, err := seal.Unsigned(note)
			if err != nil || seal.ParseCanonical(text, &c) != nil {
				return fmt.Errorf("collect %s: it is neither the register of this ceremony nor a confirmation", f)
			}
			if err := o.checkConfirmation(c.Holder, note); err != nil {
				return fmt.Errorf("collect %s: %w", f, err)
			}
			if err := k.write(k.pending(confirmationFile(c.Holder)), note); err != nil {
				return err
			}
			k.say("%s: the confirmation of %s taken in", f, c.Holder)
		}
		return k.next(o)
	})
}

// onRecord checks the registers of the tenant against the record, and answers the digest of number there, if it is. A folder of
// keys that is older than the record, or another, is refused.
func (k *ceremony) onRecord(ctx context.Context, log *audit.Log, chain []*seal.Register, number int) (seal.Digest, error) {
	entries, err := log.Entries(ctx)
	if err != nil {
		return seal.Digest{}, err
	}
	return k.compareRecord(entries, chain, number)
}

// compareRecord is onRecord with the entries of the record.
func (k *ceremony) compareRecord(entries []audit.Record, chain []*seal.Register, number int) (seal.Digest, error) {
	recorded := map[int]seal.Digest{}
	for _, e := range entries {
		if e.Kind != audit.RegisterChanged {
			continue
		}
		t, err := seal.ParseRegisterText([]byte(e.Body))
		if err != nil || t.Tenant != k.name || t.Deployment != k.deployment {
			continue
		}
		d := digestOfNote([]byte(e.Body))
		if other, ok := recorded[t.Number]; ok && other != d {
			return seal.Digest{}, fmt.Errorf("the record has two registers with number %d of %s: stop, and let the holders look at entry %s", t.Number, k.name, e.Position)
		}
		recorded[t.Number] = d
		if t.Number > number {
			return seal.Digest{}, fmt.Errorf("the record has register %d of %s, and the keys in %s are older: put back the newest copy of that folder", t.Number, k.name, k.dir)
		}
	}
	for _, r := range chain {
		d, ok := recorded[r.Number()]
		if r.Number() >= number {
			continue
		}
		if !ok { // the segments that are retired have handed theirs on
			return seal.Digest{}, fmt.Errorf("register %d of %s is not on record: it was put in place without 'tillsyn keys publish'", r.Number(), k.name)
		}
		if d != r.Digest() {
			return seal.Digest{}, fmt.Errorf("register %d of %s is not the one on record: the keys in %s were exchanged", r.Number(), k.name, k.dir)
		}
	}
	return recorded[number], nil
}

// publish checks a ceremony that is complete, puts its register on record and its keys in use, and writes the protocol.
func (k *ceremony) publish(ctx context.Context, present []presentIdentity) error {
	return k.alone(ctx, func() error {
		o, err := k.readPending()
		if err != nil {
			return err
		}
		if len(present) == 0 {
			return usageErrorf("whoever publishes signs the protocol: --identity FILE")
		}
		r, err := seal.ParseRegister(o.note, o.previous)
		if err != nil {
			return err
		}
		waiting, err := k.unconfirmed(o)
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			return fmt.Errorf("%s: these have yet to confirm that their keys open: 'tillsyn keys confirm'", strings.Join(waiting, ", "))
		}
		var leaders []seal.Holder
		var signers []*seal.Signer
		for _, identities := range present {
			h, s, err := k.participant(o, identities)
			if err != nil {
				return err
			}
			leaders, signers = append(leaders, h), append(signers, s)
		}
		log, err := audit.Open(ctx, k.record, k.now)
		if err != nil {
			return err
		}
		defer log.Close()
		there, err := k.onRecord(ctx, log, o.chain, o.document.Number)
		if err != nil {
			return err
		}
		if !there.IsZero() && there != r.Digest() {
			return fmt.Errorf("the record has another register %d of %s: this ceremony began from an old copy of the keys; give it up with 'tillsyn keys abandon'", r.Number(), k.name)
		}
		if there.IsZero() {
			if err := k.step("record"); err != nil {
				return err
			}
			if _, err := log.Append(ctx, audit.Entry{
				Kind: audit.RegisterChanged, Actor: leaders[0].ID, Document: r.Digest().String(), Body: string(o.note),
				Counts: map[string]int64{"number": int64(r.Number()), "holders": int64(len(r.Text().Holders)), "members": int64(len(r.Text().Members))},
			}); err != nil {
				return err
			}
		}
		if err := k.install(o); err != nil {
			return err
		}
		protocol, err := k.protocolOf(o, r)
		if err != nil {
			return err
		}
		position, err := k.keepProtocol(ctx, log, k.pending(), protocol, leaders[0], o.verifiersOf(leaders), signers)
		if err != nil {
			return err
		}
		archive := filepath.Join(k.folder(), fmt.Sprintf("ceremony-%04d", o.document.Number))
		if err := k.rename(k.pending(), archive); err != nil {
			return err
		}
		k.say("register %d of %s is in use. The protocol of the ceremony is in %s (protocol.html, in Swedish and English) and on record at %s.",
			r.Number(), k.name, archive, position)
		return nil
	})
}

// verifiersOf are the verifier keys of who signs a protocol.
func (o openedCeremony) verifiersOf(list []seal.Holder) []string {
	var v []string
	for _, h := range list {
		v = append(v, h.Verifier)
	}
	return v
}

// install moves the files of a ceremony to their places, the register last.
func (k *ceremony) install(o openedCeremony) error {
	list, err := os.ReadDir(k.pending())
	if err != nil {
		return fmt.Errorf("put keys in place: %w", err)
	}
	for _, e := range list {
		name := e.Name()
		if strings.HasPrefix(name, "role-") || strings.HasPrefix(name, "holder-") {
			if err := k.rename(k.pending(name), filepath.Join(k.folder(), name)); err != nil {
				return err
			}
		}
	}
	if from := k.pending(registerFile(o.document.Number)); exists(from) {
		if err := k.rename(from, filepath.Join(k.folder(), registerFile(o.document.Number))); err != nil {
			return err
		}
	}
	for _, id := range o.document.Left { // their signing keys open nothing any more
		if _, stays := holderIn(o.text, id); !stays {
			if err := k.remove(filepath.Join(k.folder(), holderFile(id))); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon gives a ceremony up that is not on record.
func (k *ceremony) abandon(ctx context.Context) error {
	return k.alone(ctx, func() error {
		text, err := readSmall(k.pending(ceremonyFile))
		if err != nil {
			return fmt.Errorf("%w for %s", errNoCeremony, k.name)
		}
		var d ceremonyDocument
		if err := seal.ParseCanonical(text, &d); err != nil {
			return fmt.Errorf("read the ceremony: %w", err)
		}
		if _, err := os.Stat(k.record.Directory); err == nil {
			log, err := audit.Open(ctx, k.record, k.now)
			if err != nil {
				return err
			}
			defer log.Close()
			entries, err := log.Entries(ctx)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e.Kind == audit.RegisterChanged && e.Document == d.Register.String() {
					return errors.New("the register of this ceremony is on record: finish it with 'tillsyn keys publish'")
				}
			}
		}
		if !k.yes {
			if ok, err := k.ask.ask(fmt.Sprintf("give up the ceremony for %s, with the keys that were drawn in it?", k.name)); err != nil || !ok {
				return cmp.Or(err, error(&exitError{exitRefused, errors.New("nothing was changed")}))
			}
		}
		aside := filepath.Join(k.folder(), ".pending-abandoned")
		if err := k.remove(aside); err != nil {
			return err
		}
		if err := k.rename(k.pending(), aside); err != nil {
			return err
		}
		if err := k.remove(aside); err != nil {
			return err
		}
		k.say("the ceremony for %s is given up; the keys in use have not changed", k.name)
		return nil
	})
}
