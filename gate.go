package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"tillsyn/ingest/category"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/audit"
	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
	"tillsyn/schemas"
)

// An openedGate is the gate to individuals with what it stands on.
type openedGate struct {
	*casework.Gate
	config Config
	keys   keyStore
	log    *audit.Log
	db     *database // nil: the gate has documents only
}

// openGate opens record, keys and case store, and, with a role of schemas, the database as that role, the directory and the lists:
// what bundles and lookups need (RoleQuery), and holds (RolePurge).
func openGate(ctx context.Context, cfg Config, now func() time.Time, role string) (*openedGate, error) {
	g := &openedGate{config: cfg, keys: keyPaths(cfg)}
	keys, err := g.keys.readGate()
	if err != nil {
		return nil, fmt.Errorf("%w: it is made by 'tillsyn keys init'", err)
	}
	if g.log, err = audit.Open(ctx, cfg.Audit, now); err != nil {
		return nil, err
	}
	parts := casework.Parts{
		Config: cfg.Casework, Deployment: cfg.Audit.Deployment, Keys: keys.Keys, Identities: keys.Identities, Recipient: keys.recipients[0],
		Registers: g.keys.notes, Log: g.log, Now: now,
	}
	if role != "" {
		if err := g.read(ctx, role, &parts); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	if g.Gate, err = casework.NewGate(parts); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *openedGate) read(ctx context.Context, role string, parts *casework.Parts) error {
	var err error
	if parts.Lookup, err = g.keys.readLookup(); err != nil {
		return err
	}
	if g.db, err = openDatabase(ctx, g.config, role); err != nil {
		return err
	}
	if err := g.db.Check(ctx, schemas.Migrations()); err != nil {
		return err
	}
	if parts.Vault, err = vault.NewStore(g.db.DB); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	resolver, err := resolve.New(g.config.Resolve, resolve.Options{Logger: quiet})
	if err != nil {
		return err
	}
	if err := resolver.Load(); err != nil {
		return err
	}
	inside := map[string]bool{}
	for _, s := range g.config.Ingest.Sources {
		for _, d := range s.InternalDomains {
			inside[strings.ToLower(d)] = true
		}
	}
	parts.Whose = func(tenant string, address []byte) ([]byte, bool) {
		who, ours := resolver.Mail(tenant, address)
		_, domain, _ := strings.Cut(strings.ToLower(string(address)), "@")
		return who.Subject.AppendPersonalData(nil), ours || inside[domain]
	}
	lists, err := category.New(g.config.Lists)
	if err != nil {
		return err
	}
	lists.Log = quiet
	if err := lists.Load(ctx); err != nil {
		return fmt.Errorf("protected destinations can't be told from others: %w", err)
	}
	parts.Protected = func(domain []byte) bool { return lists.Lists().Lookup(domain).Class == category.Protected }
	return nil
}

// Close lets go of record and database.
func (g *openedGate) Close() error {
	err := g.log.Close()
	if g.db != nil {
		err = errors.Join(err, g.db.Close())
	}
	return err
}

// withGate opens the gate for one command; if it reads, with the database as query.
func withGate(c *cli.Context, reads bool, use func(*openedGate) error) error {
	return withGateAs(c, readingRole(reads), use)
}

func readingRole(reads bool) string {
	if reads {
		return schemas.RoleQuery
	}
	return ""
}

// withGateAs is withGate with the role to open the database as, empty for none.
func withGateAs(c *cli.Context, role string, use func(*openedGate) error) (err error) {
	cfg, err := configOf(c)
	if err != nil {
		return err
	}
	g, err := openGate(c.Context, cfg, time.Now, role)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return gateError(use(g))
}

// withCaller is withGate for somebody: who that is comes first, so that nothing is opened for nobody.
func withCaller(c *cli.Context, reads bool, use func(*openedGate, *caller) error) error {
	return withCallerAs(c, readingRole(reads), use)
}

// withCallerAs is withCaller with the role to open the database as, empty for none.
func withCallerAs(c *cli.Context, role string, use func(*openedGate, *caller) error) error {
	cfg, err := configOf(c)
	if err != nil {
		return err
	}
	who, err := callerOf(c, keyPaths(cfg))
	if err != nil {
		return err
	}
	return withGateAs(c, role, func(g *openedGate) error { return use(g, who) })
}

// gateError gives a refusal its exit code, and nothing but the one answer.
func gateError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, casework.ErrRefused):
		return &exitError{exitRefused, casework.ErrRefused}
	case errors.Is(err, casework.ErrNotEntitled), errors.Is(err, casework.ErrRemembered), errors.Is(err, casework.ErrCaseTaken):
		return &exitError{exitRefused, err}
	}
	return err
}

// identityFlags say who somebody is.
func identityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "identity", Aliases: []string{"i"}, Usage: "your age identity `FILE`"},
		&cli.StringFlag{Name: "passphrase-file", Usage: "a `FILE` with its passphrase; asked for otherwise"},
		&cli.StringFlag{Name: "signer", Aliases: []string{"s"}, Usage: "your signing key `FILE` (holder-ID.age), if it is not in the folder of keys here, or you are in the registers of several tenants"},
	}
}

// A caller is whoever runs a command, by what they can open.
type caller struct {
	identities []age.Identity
	signer     *seal.Signer
	ask        prompter
	yes        bool
}

// callerOf opens the identity on the command line and the signing key that it opens: the one of --signer, or that of a holder or member.
func callerOf(c *cli.Context, keys keyStore) (*caller, error) {
	who := &caller{ask: prompter{in: c.App.Reader, out: c.App.ErrWriter, terminal: terminalFile}, yes: c.Bool("yes")}
	if c.String("identity") == "" {
		return nil, usageErrorf("--identity FILE says who you are")
	}
	var err error
	if who.identities, _, err = readIdentity(c.String("identity"), c.String("passphrase-file"), who.ask); err != nil {
		return nil, err
	}
	if file := c.String("signer"); file != "" {
		who.signer, err = readSigner(file, who.identities)
		return who, err
	}
	tenants, err := keys.tenants()
	if err != nil {
		return nil, err
	}
	for _, tenant := range tenants {
		chain, err := keys.chain(tenant)
		if err != nil {
			return nil, err
		}
		if len(chain) == 0 {
			continue
		}
		if _, who.signer, err = openSigner(keys.tenant(tenant), chain[len(chain)-1].Text().People(), "", who.identities); err == nil {
			return who, nil
		}
	}
	return nil, usageErrorf("this identity opens the signing key of nobody in the register: members make a card with 'tillsyn keys member', and are enrolled with 'tillsyn keys reshare'")
}

// readSigner opens a signing key that is encrypted to its owner.
func readSigner(file string, identities []age.Identity) (*seal.Signer, error) {
	data, err := readSmall(file)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	text, err := decryptWith(data, identities)
	if err != nil {
		return nil, fmt.Errorf("read the signing key in %s: your identity does not open it", file)
	}
	defer clear(text)
	signer, err := seal.ParseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("read the signing key in %s: %w", file, err)
	}
	return signer, nil
}

// writePrivate writes a file that must not exist, mode 0600, durably.
func writePrivate(path string, data []byte) error {
	err := durable.Create(path, data, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usageErrorf("%s is there already", path)
	case err != nil:
		return fmt.Errorf("write a file: %w", err)
	}
	return nil
}

const maxParcel = 512 << 20

// readParcel reads a file that came from somebody: an age file that one of the identities opens.
func readParcel(path string, identities []age.Identity) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	r, err := age.Decrypt(f, identities...)
	if err != nil {
		return nil, fmt.Errorf("read %s: your identity does not open it, or it was altered", path)
	}
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(r, maxParcel+1)); err != nil || n > maxParcel {
		return nil, fmt.Errorf("read %s: it was altered, or is too long", path)
	}
	return b.Bytes(), nil
}
