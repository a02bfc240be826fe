package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/term"

	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
)

// KeysConfig is where the keys of the roles and of the gate are.
type KeysConfig struct {
	Directory string `yaml:"dir"`  // a folder for each tenant; what is in it is public or encrypted to its holders
	Gate      string `yaml:"gate"` // file of the service's own private keys, mode 0600, made by 'tillsyn keys init'
}

// DefaultKeysConfig keeps both under var.
func DefaultKeysConfig() KeysConfig {
	return KeysConfig{Directory: "var/keys", Gate: "var/gate.key"}
}

// Validate answers every fault of c, joined, or nil. It opens nothing.
func (c KeysConfig) Validate() error {
	var faults []error
	if c.Directory == "" {
		faults = append(faults, errors.New("dir: is missing"))
	}
	if c.Gate == "" {
		faults = append(faults, errors.New("gate: is missing"))
	}
	return errors.Join(faults...)
}

const (
	gateHeader     = "tillsyn gate keys v1"
	roleKeyHeader  = "tillsyn role key v1"
	pendingDir     = "pending"
	registerPrefix = "register-"
	maxKeyFile     = 1 << 20
)

// GateKeys are the private keys of the service: those that seal its shares and handovers, and the age identities of its case
// files, newest first. They print as redacted.
type GateKeys struct {
	Keys       []seal.PrivateKey
	Identities []age.Identity
	recipients []string
}

// Format hides the keys from every verb: an age identity would print itself.
func (GateKeys) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the keys from every encoder.
func (GateKeys) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// newGateKey draws a generation of the gate's keys and puts it in front of those that there are.
func (g GateKeys) draw(suite seal.Suite) (GateKeys, error) {
	key, err := seal.NewPrivateKey(suite)
	if err != nil {
		return GateKeys{}, err
	}
	identity, recipient, _, err := drawIdentity(suite)
	if err != nil {
		return GateKeys{}, err
	}
	return GateKeys{
		Keys:       append([]seal.PrivateKey{key}, g.Keys...),
		Identities: append([]age.Identity{identity}, g.Identities...),
		recipients: append([]string{recipient}, g.recipients...),
	}, nil
}

// drawIdentity draws an age identity that is as strong as suite.
func drawIdentity(suite seal.Suite) (identity age.Identity, recipient, secret string, err error) {
	if suite == seal.Hybrid {
		i, err := age.GenerateHybridIdentity()
		if err != nil {
			return nil, "", "", fmt.Errorf("draw an age identity: %w", err)
		}
		return i, i.Recipient().String(), i.String(), nil
	}
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", "", fmt.Errorf("draw an age identity: %w", err)
	}
	return i, i.Recipient().String(), i.String(), nil
}

// encode is the text of the gate's file: a header, then for each generation, newest first, the key of the suite and the identity.
func (g GateKeys) encode() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, gateHeader)
	for i, k := range g.Keys {
		text, err := k.Encode()
		if err != nil {
			return nil, err
		}
		lines := strings.Split(string(text), "\n")
		identity, ok := g.Identities[i].(fmt.Stringer)
		if !ok {
			return nil, errors.New("encode the gate's keys: an identity has no text")
		}
		fmt.Fprintf(&b, "key %s %s\nidentity %s\n", lines[1], lines[2], identity)
	}
	return b.Bytes(), nil
}

func parseGateKeys(text []byte) (GateKeys, error) {
	bad := errors.New("this is not a file of the gate's keys (" + gateHeader + ", then lines 'key SUITE BASE64' and 'identity AGE-SECRET-KEY-...' in turn)")
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != gateHeader || len(lines) < 3 || len(lines)%2 == 0 {
		return GateKeys{}, bad
	}
	var g GateKeys
	for i := 1; i < len(lines); i += 2 {
		key := strings.Split(lines[i], " ")
		secret, ok := strings.CutPrefix(lines[i+1], "identity ")
		if len(key) != 3 || key[0] != "key" || !ok {
			return GateKeys{}, bad
		}
		k, err := seal.ParsePrivateKey(fmt.Appendf(nil, "%s\n%s\n%s\n", roleKeyHeader, key[1], key[2]))
		if err != nil {
			return GateKeys{}, bad
		}
		identity, recipient, err := parseNative(secret)
		if err != nil {
			return GateKeys{}, bad
		}
		g.Keys, g.Identities, g.recipients = append(g.Keys, k), append(g.Identities, identity), append(g.recipients, recipient)
	}
	return g, nil
}

// parseNative reads an age identity that needs no plugin. Its errors quote nothing.
func parseNative(secret string) (age.Identity, string, error) {
	if strings.HasPrefix(secret, "AGE-SECRET-KEY-PQ-1") {
		if i, err := age.ParseHybridIdentity(secret); err == nil {
			return i, i.Recipient().String(), nil
		}
	} else if i, err := age.ParseX25519Identity(secret); err == nil {
		return i, i.Recipient().String(), nil
	}
	return nil, "", errors.New("this is not an age identity")
}

// A keyStore is the files of the keys.
type keyStore struct {
	dir, gate, lookup string
	deployment        string
	before            func(file string) error // called before every change of a file, if set: a test stops a command there
}

// keyPaths answers where the configuration keeps keys.
func keyPaths(c Config) keyStore {
	return keyStore{dir: c.Keys.Directory, gate: c.Keys.Gate, lookup: c.Vault.LookupKey, deployment: c.Audit.Deployment}
}

func (s keyStore) tenant(name string) string { return filepath.Join(s.dir, name) }

func (s keyStore) step(path string) error {
	if s.before == nil {
		return nil
	}
	return s.before(path)
}

// write puts a file in place as a whole, durably, readable by its owner only.
func (s keyStore) write(path string, data []byte) error {
	if err := s.step(path); err != nil {
		return err
	}
	if err := durable.Replace(path, data, 0o600); err != nil {
		return fmt.Errorf("write a key file: %w", err)
	}
	return nil
}

func (s keyStore) rename(from, to string) error {
	if err := s.step(to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("put a key file in place: %w", err)
	}
	return errors.Join(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(from)))
}

func (s keyStore) remove(path string) error {
	if err := s.step(path); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove a key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if err := durable.SyncDirectory(dir); err != nil {
		return fmt.Errorf("make a folder durable: %w", err)
	}
	return nil
}

// readSmall reads a file that cannot be large. It refuses what is not a plain file.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxKeyFile)
	}
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// readPrivate is readSmall for a file that others must not be able to read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): change its mode to 0600", path, info.Mode().Perm())
	}
	return readSmall(path)
}

// tenants are the tenants that have a folder of keys, in order.
func (s keyStore) tenants() ([]string, error) {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	var names []string
	for _, e := range list {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func registerFile(number int) string { return fmt.Sprintf("%s%04d.note", registerPrefix, number) }

// notes are the signed registers of a tenant, from number 1.
func (s keyStore) notes(tenant string) ([][]byte, error) {
	files, err := filepath.Glob(filepath.Join(s.tenant(tenant), registerPrefix+"*.note"))
	if err != nil {
		return nil, fmt.Errorf("read the registers: %w", err)
	}
	var notes [][]byte
	for i := range files {
		text, err := readSmall(filepath.Join(s.tenant(tenant), registerFile(i+1)))
		if err != nil {
			return nil, fmt.Errorf("read register %d of %d of %s: %w", i+1, len(files), tenant, err)
		}
		notes = append(notes, text)
	}
	return notes, nil
}

// chain are the registers of a tenant, each checked against the one before; none if the tenant has none.
func (s keyStore) chain(tenant string) ([]*seal.Register, error) {
	notes, err := s.notes(tenant)
	if err != nil {
		return nil, err
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return nil, fmt.Errorf("the keys of %s: %w", tenant, err)
	}
	for _, r := range chain {
		if r.Tenant() != tenant || s.deployment != "" && r.Deployment() != s.deployment {
			return nil, fmt.Errorf("the keys of %s: the register is of %s in the deployment %s", tenant, r.Tenant(), r.Deployment())
		}
	}
	return chain, nil
}

// readGate reads the gate's keys.
func (s keyStore) readGate() (GateKeys, error) {
	text, err := readPrivate(s.gate)
	if err != nil {
		return GateKeys{}, fmt.Errorf("read the gate's keys: %w", err)
	}
	defer clear(text)
	g, err := parseGateKeys(text)
	if err != nil {
		return GateKeys{}, fmt.Errorf("read the gate's keys in %s: %w", s.gate, err)
	}
	return g, nil
}

func (s keyStore) readLookup() (seal.LookupKey, error) {
	text, err := readPrivate(s.lookup)
	if err != nil {
		return seal.LookupKey{}, fmt.Errorf("read the lookup key: %w", err)
	}
	defer clear(text)
	k, err := seal.ParseLookupKey(text)
	if err != nil {
		return seal.LookupKey{}, fmt.Errorf("read the lookup key in %s: %w", s.lookup, err)
	}
	return k, nil
}

// roleFile names the file of a role's private key: number is that of the register which brought the key.
func roleFile(population string, role seal.Role, number int) string {
	if population == "" {
		population = "default"
	}
	return fmt.Sprintf("role-%s-%s-%04d.age", population, role, number)
}

func holderFile(id string) string { return "holder-" + id + ".age" }

// A HeldKey is a private key of a role with its place in the register.
type HeldKey struct {
	seal.SeatKey
	Private seal.PrivateKey
}

// An OpenedHolder is what a holder's age identity opens. It prints as redacted.
type OpenedHolder struct {
	Holder seal.Holder
	Signer *seal.Signer
	Keys   []HeldKey // of his seat, newest first: data that were sealed before a rotation open with the older ones
}

// Format hides the keys from every verb.
func (OpenedHolder) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the keys from every encoder.
func (OpenedHolder) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// openHolder opens what a holder has in the folder dir of keys (keys.dir or a copy of it): his signing key and every private
// key of his role that is still there. id may be empty: then it is found by trying. chain is that of the tenant.
func openHolder(dir string, chain []*seal.Register, id string, identities []age.Identity) (OpenedHolder, error) {
	if len(chain) == 0 {
		return OpenedHolder{}, errors.New("open a holder's keys: the tenant has no register of holders")
	}
	r := chain[len(chain)-1]
	folder := keyStore{dir: dir}.tenant(r.Tenant())
	h, signer, err := openSigner(folder, r.Text().Holders, id, identities)
	if err != nil {
		return OpenedHolder{}, err
	}
	o := OpenedHolder{Holder: h, Signer: signer}
	keys := r.SeatKeys()
	slices.Reverse(keys)
	for _, k := range keys {
		if k.Population != h.Population || k.Role != h.Role {
			continue
		}
		private, err := openRoleKey(filepath.Join(folder, roleFile(k.Population, k.Role, k.Number)), k, identities)
		if err == nil {
			o.Keys = append(o.Keys, HeldKey{k, private})
		} else if k.Replaced == 0 || !errors.Is(err, fs.ErrNotExist) && slices.ContainsFunc(r.Openers(k), func(o seal.Holder) bool { return o.ID == h.ID }) {
			return OpenedHolder{}, err // an old key may have been retired, and is not for everybody
		}
	}
	return o, nil
}

// openSigner finds the holder whose signing key the identities open.
func openSigner(folder string, holders []seal.Holder, id string, identities []age.Identity) (seal.Holder, *seal.Signer, error) {
	for _, h := range holders {
		if id != "" && h.ID != id {
			continue
		}
		data, err := readSmall(filepath.Join(folder, holderFile(h.ID)))
		if errors.Is(err, fs.ErrNotExist) && id == "" {
			continue
		}
		if err != nil {
			return seal.Holder{}, nil, fmt.Errorf("open the signing key of %s: %w", h.ID, err)
		}
		text, err := decryptWith(data, identities)
		if _, other := errors.AsType[*age.NoIdentityMatchError](err); other && id == "" {
			continue
		}
		if err != nil {
			return seal.Holder{}, nil, fmt.Errorf("open the signing key of %s: %w", h.ID, err)
		}
		signer, err := seal.ParseSigner(text)
		clear(text)
		if err != nil || signer.Verifier() != h.Verifier {
			return seal.Holder{}, nil, fmt.Errorf("open the signing key of %s: it is not the one that the register names", h.ID)
		}
		return h, signer, nil
	}
	if id != "" {
		return seal.Holder{}, nil, fmt.Errorf("the register has no holder %q", id)
	}
	return seal.Holder{}, nil, errors.New("this identity opens the signing key of no holder: is it the right file, and the right tenant?")
}

// openRoleKey opens the file of a role's private key and checks that it is the one of the register.
func openRoleKey(path string, k seal.SeatKey, identities []age.Identity) (seal.PrivateKey, error) {
	name := strings.TrimSuffix(filepath.Base(path), ".age")
	data, err := readSmall(path)
	if err != nil {
		return seal.PrivateKey{}, fmt.Errorf("open the key %s: %w", name, err)
	}
	text, err := decryptWith(data, identities)
	if err != nil {
		return seal.PrivateKey{}, fmt.Errorf("open the key %s: %w", name, err)
	}
	defer clear(text)
	private, err := seal.ParsePrivateKey(text)
	if err != nil || private.Public().String() != k.Key.String() {
		return seal.PrivateKey{}, fmt.Errorf("open the key %s: it is not the one that the register names", name)
	}
	return private, nil
}

// sealTo begins a file that is encrypted to age recipients, each as text.
func sealTo(dst io.Writer, recipients []string, ui *plugin.ClientUI) (io.WriteCloser, error) {
	var list []age.Recipient
	for _, text := range recipients {
		r, err := parseRecipient(text, ui)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	w, err := age.Encrypt(dst, list...)
	if err != nil {
		if _, lacking := errors.AsType[*plugin.NotFoundError](err); !lacking && len(list) > 1 {
			return nil, fmt.Errorf("encrypt to holders: %w (all recipients must be of one kind: against quantum computers, or not)", err)
		}
		return nil, fmt.Errorf("encrypt to holders: %w", err)
	}
	return w, nil
}

// encryptTo encrypts to age recipients, each as text.
func encryptTo(plain []byte, recipients []string, ui *plugin.ClientUI) ([]byte, error) {
	var b bytes.Buffer
	w, err := sealTo(&b, recipients, ui)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypt to holders: %w", err)
	}
	return b.Bytes(), nil
}

// decryptWith opens an age file, armoured or not.
func decryptWith(data []byte, identities []age.Identity) ([]byte, error) {
	var r io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)) {
		r = armor.NewReader(bytes.NewReader(bytes.TrimSpace(data)))
	}
	if len(identities) == 0 {
		return nil, errors.New("no identity")
	}
	r, err := age.Decrypt(r, identities...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("it was altered: %w", err)
	}
	return plain, nil
}

// parseRecipient reads a native age recipient, or one of a plugin such as age1yubikey1...
func parseRecipient(text string, ui *plugin.ClientUI) (age.Recipient, error) {
	var r age.Recipient
	var err error
	switch {
	case strings.HasPrefix(text, "age1pq1"):
		r, err = age.ParseHybridRecipient(text)
	case strings.HasPrefix(text, "age1") && strings.Count(text, "1") > 1:
		r, err = plugin.NewRecipient(text, ui)
	default:
		r, err = age.ParseX25519Recipient(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not an age recipient: %w", text, err)
	}
	return r, nil
}

// A prompter asks the person at the terminal. Passphrases come from there or from files, never from the command line.
type prompter struct {
	in       io.Reader
	out      io.Writer
	terminal func() (*os.File, error) // nil: there is none
}

// secret asks for something that is not shown.
func (p prompter) secret(question string) ([]byte, error) {
	if p.terminal == nil {
		return nil, errors.New("a passphrase is asked for at a terminal, and there is none: name a file that holds it (--passphrase-file)")
	}
	tty, err := p.terminal()
	if err != nil {
		return nil, fmt.Errorf("a passphrase is asked for at a terminal: %w: name a file that holds it (--passphrase-file)", err)
	}
	defer tty.Close()
	fmt.Fprint(tty, question, " ")
	text, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return nil, fmt.Errorf("read a passphrase: %w", err)
	}
	return text, nil
}

// pluginUI lets an age plugin talk to the person at the terminal.
func (p prompter) pluginUI() *plugin.ClientUI {
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			fmt.Fprintf(p.out, "age-plugin-%s: %s\n", name, message)
			return nil
		},
		RequestValue: func(name, question string, secret bool) (string, error) {
			text, err := p.secret(fmt.Sprintf("age-plugin-%s: %s:", name, question))
			return string(text), err
		},
		Confirm: func(name, question, yes, no string) (bool, error) {
			if no == "" {
				fmt.Fprintf(p.out, "age-plugin-%s: %s\n", name, question)
				return true, nil
			}
			return p.ask(fmt.Sprintf("age-plugin-%s: %s (yes: %s, no: %s)", name, question, yes, no))
		},
		WaitTimer: func(name string) {
			fmt.Fprintf(p.out, "waiting for age-plugin-%s: is a touch or a PIN asked for?\n", name)
		},
	}
}

// ask asks a question whose answer is yes or no; anything but yes is no.
func (p prompter) ask(question string) (bool, error) {
	fmt.Fprintf(p.out, "%s [y/N] ", question)
	var line []byte
	for one := make([]byte, 1); ; { // no more than the line: the next question reads on
		n, err := p.in.Read(one)
		if n == 1 && one[0] != '\n' && len(line) < 16 {
			line = append(line, one[0])
		}
		if n == 1 && one[0] == '\n' || err != nil {
			break
		}
	}
	answer := strings.ToLower(strings.TrimSpace(string(line)))
	return answer == "y" || answer == "yes", nil
}

// terminalFile opens the terminal of the process, whatever standard input is.
func terminalFile() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }

// A passphraseIdentity opens age files that are protected with a passphrase.
func passphraseIdentity(pass []byte) (age.Identity, error) {
	i, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, fmt.Errorf("use a passphrase: %w", err)
	}
	i.SetMaxWorkFactor(22)
	return i, nil
}

// readIdentity reads an age identity file: native, of a plugin, or protected with a passphrase, which is in passphraseFile or
// asked for. It answers the recipients that the file itself tells: those of its native identities.
func readIdentity(path, passphraseFile string, p prompter) (identities []age.Identity, recipients []string, err error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the identity: %w", err)
	}
	defer func() { clear(data) }()
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("age-encryption.org/")) || bytes.HasPrefix(trimmed, []byte(armor.Header)) {
		pass, err := readPassphrase(passphraseFile, "Passphrase of "+path+":", p)
		if err != nil {
			return nil, nil, err
		}
		defer clear(pass)
		i, err := passphraseIdentity(pass)
		if err != nil {
			return nil, nil, err
		}
		if data, err = decryptWith(data, []age.Identity{i}); err != nil {
			return nil, nil, fmt.Errorf("read the identity in %s: the passphrase is wrong, or the file is protected in another way", path)
		}
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "AGE-PLUGIN-"):
			i, err := plugin.NewIdentity(line, p.pluginUI())
			if err != nil {
				return nil, nil, fmt.Errorf("read the identity in %s, line %d: this is not an identity of an age plugin", path, n+1)
			}
			if _, err := exec.LookPath("age-plugin-" + i.Name()); err != nil {
				return nil, nil, fmt.Errorf("the identity in %s needs the program age-plugin-%s, which is not installed", path, i.Name())
			}
			identities = append(identities, i)
		default:
			i, recipient, err := parseNative(line)
			if err != nil {
				return nil, nil, fmt.Errorf("read the identity in %s, line %d: %w", path, n+1, err)
			}
			identities, recipients = append(identities, i), append(recipients, recipient)
		}
	}
	if len(identities) == 0 {
		return nil, nil, fmt.Errorf("read the identity in %s: there is none in it", path)
	}
	return identities, recipients, nil
}

// readPassphrase reads a passphrase from the first line of a file, or asks for it.
func readPassphrase(file, question string, p prompter) ([]byte, error) {
	if file == "" {
		pass, err := p.secret(question)
		if err == nil && len(pass) == 0 {
			err = errors.New("the passphrase is empty")
		}
		return pass, err
	}
	data, err := readPrivate(file)
	if err != nil {
		return nil, fmt.Errorf("read a passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("read a passphrase: the first line of %s is empty", file)
	}
	return line, nil
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode64(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }
