package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// passphraseWork is scrypt's work factor (log2) for passphrases: about a second.
const passphraseWork = 18

// single records an act on keys that changes no register, with a protocol that who did it signs.
func (k *ceremony) single(ctx context.Context, kind, began string, r *seal.Register, keys []seal.SeatKey, actor seal.Holder, signer *seal.Signer) error {
	p := keyProtocol{Type: protocolType, Deployment: k.deployment, Tenant: k.name, Kind: kind, Number: r.Number(), Register: r.Digest(), Began: began,
		Ended: max(k.time(), began), Keys: []protocolKey{}, Participants: []protocolParticipant{{ID: actor.ID, Population: actor.Population, Role: actor.Role}}, Left: []string{}}
	for _, key := range keys {
		holders := []string{}
		if kind == kindRestore {
			for _, h := range r.Openers(key) {
				holders = append(holders, h.ID)
			}
		}
		p.Keys = append(p.Keys, protocolKey{Population: key.Population, Role: key.Role, Number: key.Number, Fingerprint: keyFingerprint(key.Key), Suite: suiteOf(key.Key), Holders: holders})
	}
	log, err := audit.Open(ctx, k.record, k.now)
	if err != nil {
		return err
	}
	defer log.Close()
	folder := filepath.Join(k.folder(), "protocols", kind+"-"+strings.NewReplacer(":", "", "-", "").Replace(began)+"-"+string(keys[0].Role))
	position, err := k.keepProtocol(ctx, log, folder, p, actor, []string{signer.Verifier()}, []*seal.Signer{signer})
	if err != nil {
		return err
	}
	k.say("on record at %s; the protocol is in %s", position, folder)
	return nil
}

// seatKey finds a key of a seat: the one in use, or the one that register number brought.
func seatKey(r *seal.Register, population string, role seal.Role, number int) (seal.SeatKey, error) {
	for _, key := range r.SeatKeys() {
		if key.Population == population && key.Role == role && (number == 0 && key.Replaced == 0 || number == key.Number) {
			return key, nil
		}
	}
	return seal.SeatKey{}, fmt.Errorf("the register has no such key of %s: see 'tillsyn keys status'", role)
}

type escrowOptions struct {
	population string
	role       seal.Role
	number     int
	out        string // folder
}

// escrow writes a role's private key and the passphrase that opens it as two sheets to print, for two safes.
func (k *ceremony) escrow(ctx context.Context, o escrowOptions, identities presentIdentity) error {
	return k.alone(ctx, func() error {
		chain, err := k.chain(k.name)
		if err != nil {
			return err
		}
		r := newest(chain)
		if r == nil {
			return fmt.Errorf("%s has no register of holders", k.name)
		}
		key, err := seatKey(r, o.population, o.role, o.number)
		if err != nil {
			return err
		}
		h, signer, err := openSigner(k.folder(), r.Text().Holders, "", identities)
		if err != nil {
			return err
		}
		private, err := k.presentKey(key, []presentIdentity{identities})
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(roleFile(key.Population, key.Role, key.Number), ".age")
		sheet, words := filepath.Join(o.out, "escrow-"+k.name+"-"+name+"-key.txt"), filepath.Join(o.out, "escrow-"+k.name+"-"+name+"-passphrase.txt")
		if exists(sheet) && exists(words) { // one alone is of a process that died, and worth nothing
			return fmt.Errorf("%s is there already: print both sheets and remove them first", sheet)
		}
		began := k.time()
		passphrase := rand.Text() // 128 bits in 26 letters and digits
		plain, err := private.Encode()
		if err != nil {
			return err
		}
		defer clear(plain)
		armoured, err := encryptPassphrase(plain, passphrase, k.work)
		if err != nil {
			return err
		}
		about := func(sv, en string) []byte {
			return fmt.Appendf(nil, "tillsyn: %s\n%s\n\n%s (%s), %s, register %d, %s\nDatum/date: %s\n\n", sv, en, k.name, k.deployment, name, r.Number(), keyFingerprint(key.Key), began)
		}
		one := append(about("NYCKEL PÅ PAPPER. Läggs i kuvert och förseglas i ett kassaskåp; lösenfrasen läggs i ett annat.",
			"A KEY ON PAPER. Put it in a sealed envelope in one safe; its passphrase goes into another."), armoured...)
		one = append(one, "\nÅterställ/restore: tillsyn keys escrow --restore --sheet FILE --identity FILE\n"...)
		two := append(about("LÖSENFRAS till en nyckel på papper. Läggs i ett annat kassaskåp än nyckeln, hos någon annan.",
			"THE PASSPHRASE of a key on paper. Put it in another safe than the key, with somebody else."), grouped(passphrase)+"\n"...)
		// On record first: paper that nobody knows of is a way in.
		if err := k.single(ctx, kindEscrow, began, r, []seal.SeatKey{key}, h, signer); err != nil {
			return err
		}
		for _, f := range []struct {
			path string
			text []byte
		}{{sheet, one}, {words, two}} {
			if err := k.write(f.path, f.text); err != nil {
				return err
			}
		}
		k.say("%s\n%s\nPrint each, put them into two safes of two people, and remove both files: who has both can open every share of this role.", sheet, words)
		return nil
	})
}

// grouped is a passphrase in groups of five, as people type it.
func grouped(pass string) string {
	var b strings.Builder
	for i, c := range pass {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// ungrouped is what grouped was made of, however it was typed.
func ungrouped(typed []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ':
			return -1
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r == '0': // base32 has neither: a hand wrote the letter
			return 'O'
		case r == '1':
			return 'I'
		}
		return r
	}, string(typed))
}

func encryptPassphrase(plain []byte, passphrase string, work int) ([]byte, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypt with a passphrase: %w", err)
	}
	r.SetWorkFactor(work)
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, r)
	if err != nil {
		return nil, fmt.Errorf("encrypt with a passphrase: %w", err)
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close(), a.Close()); err != nil {
		return nil, fmt.Errorf("encrypt with a passphrase: %w", err)
	}
	return b.Bytes(), nil
}

// restore encrypts a key from paper to the holders whose it is. identities are those of a holder of any role, who signs for it.
func (k *ceremony) restore(ctx context.Context, sheet, passphraseFile string, identities presentIdentity) error {
	return k.alone(ctx, func() error {
		chain, err := k.chain(k.name)
		if err != nil {
			return err
		}
		r := newest(chain)
		if r == nil {
			return fmt.Errorf("%s has no register of holders", k.name)
		}
		h, signer, err := openSigner(k.folder(), r.Text().Holders, "", identities)
		if err != nil {
			return err
		}
		text, err := readSmall(sheet)
		if err != nil {
			return fmt.Errorf("restore a key: %w", err)
		}
		i, j := bytes.Index(text, []byte(armor.Header)), bytes.Index(text, []byte(armor.Footer))
		if i < 0 || j < i {
			return errors.New("restore a key: the sheet has no part from '" + armor.Header + "' to '" + armor.Footer + "'")
		}
		pass, err := readPassphrase(passphraseFile, "Passphrase of the sheet:", k.ask)
		if err != nil {
			return err
		}
		opener, err := passphraseIdentity([]byte(ungrouped(pass)))
		if err != nil {
			return err
		}
		plain, err := decryptWith(text[i:j+len(armor.Footer)], []age.Identity{opener})
		if err != nil {
			return errors.New("restore a key: the passphrase is wrong, or the sheet was mistyped")
		}
		defer clear(plain)
		private, err := seal.ParsePrivateKey(plain)
		if err != nil {
			return fmt.Errorf("restore a key: %w", err)
		}
		keys := r.SeatKeys()
		n := slices.IndexFunc(keys, func(s seal.SeatKey) bool { return s.Role != seal.Gate && s.Key.String() == private.Public().String() })
		if n < 0 {
			return fmt.Errorf("restore a key: it is none of %s's: the sheet may be of another tenant", k.name)
		}
		key := keys[n]
		var recipients []string
		for _, o := range r.Openers(key) {
			recipients = append(recipients, o.Recipients...)
		}
		if len(recipients) == 0 {
			return errors.New("restore a key: nobody in the register may open it now")
		}
		data, err := encryptTo(plain, recipients, k.ask.pluginUI())
		if err != nil {
			return err
		}
		began := k.time()
		if err := k.single(ctx, kindRestore, began, r, []seal.SeatKey{key}, h, signer); err != nil {
			return err
		}
		file := roleFile(key.Population, key.Role, key.Number)
		if err := k.write(filepath.Join(k.folder(), file), data); err != nil {
			return err
		}
		k.say("%s opens for its holders again", file)
		return nil
	})
}

type retireOptions struct {
	population string
	role       seal.Role
	number     int
	left       func(ctx context.Context, tenant string, key seal.SeatKey) (keysLeft, error) // what was sealed to key
}

// keysLeft is how many data keys were sealed to a role's key, and the latest day that one is of.
type keysLeft struct {
	rows   uint64
	latest seal.Day
}

// settled is how long after its replacement is on record a role's key stays: ingesters have looked at the registers by then, and
// what they had begun is in the database.
const settled = 48 * time.Hour

// retire removes a role's private key that was replaced, when nothing is left that needs it.
func (k *ceremony) retire(ctx context.Context, o retireOptions, identities presentIdentity) error {
	return k.alone(ctx, func() error {
		chain, err := k.chain(k.name)
		if err != nil {
			return err
		}
		r := newest(chain)
		if r == nil {
			return fmt.Errorf("%s has no register of holders", k.name)
		}
		if _, err := os.Stat(k.pending()); err == nil {
			return fmt.Errorf("a ceremony for %s is under way: finish it first", k.name)
		}
		key, err := seatKey(r, o.population, o.role, o.number)
		if err != nil {
			return err
		}
		if key.Replaced == 0 {
			return fmt.Errorf("this key of %s is in use: 'tillsyn keys rotate' replaces it", key.Role)
		}
		h, signer, err := openSigner(k.folder(), r.Text().Holders, "", identities)
		if err != nil {
			return err
		}
		// What counts is when the new register was on record, not when it was drafted, which may be weeks before.
		published, err := k.published(ctx, chain, key.Replaced)
		if err != nil {
			return err
		}
		if free := published.Add(settled); k.now().Before(free) {
			return &exitError{exitRefused, fmt.Errorf("this key was replaced at %s: it cannot be retired before %s", published.Format(documentTime), free.Format(documentTime))}
		}
		// The rows say which register they were sealed under: also those of an ingester that has not heard of the new one.
		left, err := o.left(ctx, k.name, key)
		if err != nil {
			return fmt.Errorf("ask what still needs this key: %w", err)
		}
		if left.rows > 0 {
			return &exitError{exitRefused, fmt.Errorf("%d data keys, the latest of %s, were sealed to this key: it can be retired when they are purged, held ones included", left.rows, left.latest)}
		}
		file := filepath.Join(k.folder(), roleFile(key.Population, key.Role, key.Number))
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			k.say("this key is retired already")
			return nil
		}
		if !k.yes {
			if ok, err := k.ask.ask(fmt.Sprintf("remove %s for good?", filepath.Base(file))); err != nil || !ok {
				return errors.Join(err, &exitError{exitRefused, errors.New("nothing was changed")})
			}
		}
		// On record first: a key that is gone without a word could not be told from one that was lost.
		if err := k.single(ctx, kindRetire, k.time(), r, []seal.SeatKey{key}, h, signer); err != nil {
			return err
		}
		if err := k.remove(file); err != nil {
			return err
		}
		k.say("%s is removed; remove it from your backups of %s, and destroy its escrow sheets", filepath.Base(file), k.dir)
		return nil
	})
}

// published answers when the register with this number came on record; the chain must be the one on record.
func (k *ceremony) published(ctx context.Context, chain []*seal.Register, number int) (time.Time, error) {
	log, err := audit.Open(ctx, k.record, k.now)
	if err != nil {
		return time.Time{}, err
	}
	defer log.Close()
	entries, err := log.Entries(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if _, err := k.compareRecord(entries, chain, len(chain)+1); err != nil {
		return time.Time{}, err
	}
	for _, e := range entries {
		if e.Kind == audit.RegisterChanged && digestOfNote([]byte(e.Body)) == chain[number-1].Digest() {
			return e.At, nil
		}
	}
	return time.Time{}, fmt.Errorf("register %d of %s is not on record", number, k.name)
}

type holderOptions struct {
	id, population string
	role           seal.Role // empty: a member
	suite          seal.Suite
	identity       string // file; made if it is not there
	passphraseFile string
	plain          bool     // a new identity is not protected with a passphrase
	recipients     []string // further ones, of plugins
	out            string
}

// holder makes a person's card: an age identity, unless there is one, and a signing key encrypted to it.
func (k *ceremony) holder(o holderOptions) error {
	if o.out == "" {
		o.out = o.id + ".card"
	}
	if _, err := os.Stat(o.out); err == nil {
		return fmt.Errorf("%s is there already: hand it in, or move it away to make another", o.out)
	}
	signer, err := seal.NewSigner(o.id)
	if err != nil {
		return usageErrorf("--id: must consist of 1 to 48 lower-case letters a-z, digits and . _ -")
	}
	who := holderCard{ID: o.id, Population: o.population, Role: o.role, Verifier: signer.Verifier()}
	if _, err := os.Stat(o.identity); errors.Is(err, fs.ErrNotExist) {
		_, recipient, secret, err := drawIdentity(o.suite)
		if err != nil {
			return err
		}
		who.Recipients = []string{recipient}
		if err := who.validate(); err != nil {
			return usageErrorf("%w", err)
		}
		text := fmt.Appendf(nil, "# tillsyn: the age identity of %s. Keep it where only you can read it, and a copy in another place.\n# public key: %s\n%s\n", o.id, recipient, secret)
		defer clear(text)
		if !o.plain {
			pass, err := readPassphrase(o.passphraseFile, "A passphrase for "+o.identity+" (long, and written down nowhere near it):", k.ask)
			if err != nil {
				return err
			}
			if o.passphraseFile == "" {
				again, err := readPassphrase("", "Once more:", k.ask)
				if err != nil {
					return err
				}
				if !bytes.Equal(pass, again) {
					return errors.New("the two passphrases differ: nothing was made")
				}
			}
			if len(pass) < 12 {
				return errors.New("the passphrase has fewer than 12 characters: take several words")
			}
			if text, err = encryptPassphrase(text, string(pass), k.work); err != nil {
				return err
			}
			clear(pass)
		}
		if err := k.write(o.identity, text); err != nil {
			return err
		}
		if o.role == "" {
			k.say("made your age identity in %s: it opens your signing key. It never leaves you.", o.identity)
		} else {
			k.say("made your age identity in %s: it opens your role. It never leaves you; without it, and without the other holders, data can't be read.", o.identity)
		}
	} else if err != nil {
		return fmt.Errorf("read the identity: %w", err)
	} else {
		_, own, err := readIdentity(o.identity, o.passphraseFile, k.ask)
		if err != nil {
			return err
		}
		who.Recipients = own
	}
	for _, r := range o.recipients {
		if !slices.Contains(who.Recipients, r) {
			who.Recipients = append(who.Recipients, r)
		}
	}
	if len(who.Recipients) == 0 {
		return usageErrorf("an identity of a plugin does not tell its public key: name it with --recipient age1...")
	}
	if err := who.validate(); err != nil {
		return usageErrorf("%w", err)
	}
	plain := signer.Encode()
	defer clear(plain)
	encrypted, err := encryptTo(plain, who.Recipients, k.ask.pluginUI())
	if err != nil {
		return err
	}
	c := holderCard{Type: cardType, Deployment: k.deployment, Tenant: k.name, ID: o.id, Population: o.population, Role: o.role, Verifier: signer.Verifier(),
		Recipients: who.Recipients, Signer: encode64(encrypted), Time: k.time()}
	text, err := seal.Canonical(c)
	if err != nil {
		return err
	}
	note, err := seal.Sign(text, signer)
	if err != nil {
		return err
	}
	if c, err = parseCard(note); err != nil {
		return err
	}
	if err := k.write(o.out, note); err != nil {
		return err
	}
	k.say("made your card %s (%s, %s). Hand it in. Its fingerprint is  %s  : whoever takes it in must read you the same.", o.out, o.id, seatTitle(o.population, o.role), fingerprint(c.digest()))
	return nil
}

// age of a key in use, in days.
func daysSince(now, then time.Time) int { return int(now.Sub(then) / (24 * time.Hour)) }
