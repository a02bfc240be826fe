package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/schemas"
)

func keysCommand() *cli.Command {
	common := []cli.Flag{
		&cli.StringFlag{Name: "tenant", Aliases: []string{"t"}, Usage: "the `TENANT`; not needed if there is one only"},
		&cli.StringFlag{Name: "dir", Usage: "the `FOLDER` of keys, or a copy of it (default: keys.dir of the configuration)"},
		&cli.StringFlag{Name: "deployment", Usage: "the `NAME` of the installation (default: audit.deployment of the configuration)"},
	}
	identity := []cli.Flag{
		&cli.StringSliceFlag{Name: "identity", Aliases: []string{"i"}, Usage: "the age identity `FILE` of somebody who is there; more than once at one table"},
		&cli.StringSliceFlag{Name: "passphrase-file", Usage: "a `FILE` with the passphrase of the identity (the first for the first); asked for otherwise"},
	}
	yes := &cli.BoolFlag{Name: "yes", Usage: "do not ask: for scripts"}
	role := &cli.StringFlag{Name: "role", Usage: "manager, hr or security"}
	population := &cli.StringFlag{Name: "population", Usage: "for whom, if a `POPULATION` has rules of its own, such as elected"}
	with := func(lists ...[]cli.Flag) []cli.Flag { return slices.Concat(lists...) }
	one := func(f ...cli.Flag) []cli.Flag { return f }
	card := one(
		&cli.StringFlag{Name: "id", Usage: "what the record calls you: a-z, digits and . _ - (`anna.berg`)"}, population,
		&cli.StringFlag{Name: "identity", Aliases: []string{"i"}, Usage: "your age identity `FILE`; made if it is not there"},
		&cli.StringFlag{Name: "passphrase-file", Usage: "a `FILE` with its passphrase; asked for otherwise"},
		&cli.BoolFlag{Name: "no-passphrase", Usage: "a new identity is a plain file: for a disk that is encrypted"},
		&cli.StringSliceFlag{Name: "recipient", Usage: "a further age public `KEY` of yours, such as that of a security key"},
		&cli.StringFlag{Name: "suite", Value: string(seal.X25519), Usage: "of a new identity: x25519 or mlkem768-x25519"},
		&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "the `FILE` of the card (default: ID.card)"})
	return &cli.Command{
		Name:  "keys",
		Usage: "make, share and change the keys that three roles must unlock together",
		Description: `Three roles (manager, hr, security) and the service itself each hold a share of every key of raw data. Each role's private
key exists only encrypted to the people who hold the role, two at least. Who they are stands in a register that the old three
roles sign whenever it changes, and that is on record. Private things never leave the machine of the person: what is in
the folder of keys is public, or encrypted.

Members hold no role: who requests decisions, investigates, or keeps the desk of public records. They stand in the register too.

The first ceremony:  keys init,  keys holder or keys member (each person),  keys enrol,  keys sign and keys confirm (each person),  keys publish.
At one table all of it is done on one machine that is offline; over distance, cards and signatures are sent as files, and
fingerprints read to each other over the telephone. 'keys status' says at any time what is next.`,
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "make the gate's files and begin the ceremony of a tenant",
				Flags: with(common, one(&cli.StringFlag{Name: "suite", Value: string(seal.X25519), Usage: "x25519, or mlkem768-x25519 against quantum computers of later"}, &cli.BoolFlag{Name: "json", Usage: "answer in JSON"})),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					k, err := ceremonyOf(c, true)
					if err != nil {
						return err
					}
					if c.Bool("json") {
						k.out = io.Discard
					}
					if err := k.alone(c.Context, func() error { return k.begin(seal.Suite(c.String("suite"))) }); err != nil || !c.Bool("json") {
						return err
					}
					return printJSON(c.App.Writer, struct {
						Tenant     string `json:"tenant"`
						Deployment string `json:"deployment"`
						Gate       string `json:"gate"`   // the file of the gate's keys
						Lookup     string `json:"lookup"` // the file of the lookup key
					}{k.name, k.deployment, k.gate, k.lookup})
				},
			},
			{
				Name: "holder", Usage: "make your card: what you hand in to hold a role",
				Description: `Run it on your own machine. It makes an age identity in FILE, protected with a passphrase, or takes the one that is there:
a file of age-keygen, one with a passphrase, or of a plugin such as age-plugin-yubikey (then name its --recipient).`,
				Flags: with(common, one(role), card),
				Action: func(c *cli.Context) error {
					k, o, err := cardOf(c)
					if err != nil {
						return err
					}
					if o.role, err = roleOf(c); err != nil {
						return err
					}
					return k.holder(o)
				},
			},
			{
				Name: "member", Usage: "make your card: what you hand in to request decisions, investigate, or keep the desk of public records",
				Description: `A member holds no role and opens nothing: members ask and look, and sign what they do with a key that three roles have seen. The card
is made and handed in as that of a holder is: with 'keys enrol' in the first ceremony, with 'keys reshare --add' later.
Who holds a role asks and looks with the key of the role, and is no member beside it.`,
				Flags: with(common, card),
				Action: func(c *cli.Context) error {
					k, o, err := cardOf(c)
					if err != nil {
						return err
					}
					return k.holder(o)
				},
			},
			{
				Name: "enrol", Usage: "take in the cards, draw the keys of the roles and write register 1", ArgsUsage: "CARD...",
				Flags: common,
				Action: func(c *cli.Context) error {
					cards, err := argumentsOf(c)
					if err != nil {
						return err
					}
					k, err := ceremonyOf(c, true)
					if err != nil {
						return err
					}
					return k.runEnrol(c.Context, cards)
				},
			},
			{
				Name: "sign", Usage: "see the register that is to be, sign it, and confirm that your keys open",
				Flags: with(common, identity, one(yes)),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					return k.sign(c.Context, present, false)
				},
			},
			{
				Name: "confirm", Usage: "confirm that your keys open, without signing",
				Flags: with(common, identity),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					return k.sign(c.Context, present, true)
				},
			},
			{
				Name: "collect", Usage: "take in signatures and confirmations from other machines", ArgsUsage: "FILE...",
				Description: "The files are those that 'keys sign' changed in the folder 'pending' of a copy of the keys: register-NNNN.note and confirm-ID.note.",
				Flags:       common,
				Action: func(c *cli.Context) error {
					files, err := argumentsOf(c)
					if err != nil {
						return err
					}
					k, err := ceremonyOf(c, false)
					if err != nil {
						return err
					}
					if len(files) == 0 {
						return usageErrorf("name the FILEs that were sent to you")
					}
					return k.collect(c.Context, files)
				},
			},
			{
				Name: "publish", Usage: "check a complete ceremony, put it on record and take its keys into use",
				Flags: with(common, identity),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					return k.publish(c.Context, present)
				},
			},
			{
				Name: "reshare", Usage: "add or remove holders and members, or let one change role",
				Description: `One holder of each role that changes must be there, with --identity: the role's key is opened and encrypted to its new holders.
For members alone nobody need be there. Whoever changes role is added with a new card; both roles then get new keys. The
register that results is signed and published as the first one was.`,
				Flags: with(common, identity, one(
					&cli.StringSliceFlag{Name: "add", Usage: "the `CARD` of a new holder or member, or a new card of one"},
					&cli.StringSliceFlag{Name: "remove", Usage: "the `ID` of a holder or member who leaves"})),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					return k.runReshare(c.Context, c.StringSlice("add"), c.StringSlice("remove"), present)
				},
			},
			{
				Name: "rotate", Usage: "draw new keys for a role or the gate",
				Description: "Do it when a holder has left whom you do not trust any more, or when a machine was lost. Old keys stay until 'keys retire', because\n" +
					"data that were sealed to them must still open.",
				Flags: with(common, identity, one(
					&cli.StringSliceFlag{Name: "role", Usage: "manager, hr or security; more than once"}, population,
					&cli.BoolFlag{Name: "gate", Usage: "the gate's keys"}, &cli.BoolFlag{Name: "all", Usage: "all three roles and the gate"})),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					roles := c.StringSlice("role")
					if c.Bool("all") {
						roles = []string{"manager", "hr", "security"}
					}
					return k.runRotate(c.Context, roles, c.String("population"), c.Bool("gate") || c.Bool("all"), present)
				},
			},
			{
				Name: "retire", Usage: "remove an old key of a role when nothing needs it any more",
				Description: "Refused for two days after its replacement is on record, and while the database holds a data key that was sealed to it, held ones\n" +
					"included: each row says under which register. Exit code 4: refused.",
				Flags: with(common, identity, one(role, population, &cli.IntFlag{Name: "number", Usage: "of the `REGISTER` that brought the key: see 'keys status'"}, yes)),
				Action: func(c *cli.Context) error {
					config, err := configOf(c)
					if err != nil {
						return err
					}
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					o := retireOptions{population: c.String("population"), number: c.Int("number"), left: func(ctx context.Context, tenant string, key seal.SeatKey) (keysLeft, error) {
						return dataKeysLeft(ctx, config, tenant, key)
					}}
					if o.role, err = roleOf(c); err != nil {
						return err
					}
					if len(present) != 1 || o.number < 1 {
						return usageErrorf("--number says which key, and one --identity who signs for it")
					}
					return k.retire(c.Context, o, present[0])
				},
			},
			{
				Name: "escrow", Usage: "write a role's key on paper for two safes, or restore it from there",
				Description: `Writes two sheets: the key, encrypted with a passphrase, and the passphrase. Print both, put them into two safes of two people,
and remove the files. Paper opens data; it can't sign. Somebody who holds the role must be there now; to restore, any holder.`,
				Flags: with(common, identity, one(role, population,
					&cli.IntFlag{Name: "number", Usage: "of the `REGISTER` that brought the key (default: the key in use)"},
					&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Value: ".", Usage: "the `FOLDER` for the sheets"},
					&cli.BoolFlag{Name: "restore", Usage: "encrypt the key of a sheet to its holders again"},
					&cli.StringFlag{Name: "sheet", Usage: "the `FILE` with the text of the sheet"},
					&cli.StringFlag{Name: "sheet-passphrase-file", Usage: "a `FILE` with the passphrase of the sheet; asked for otherwise"})),
				Action: func(c *cli.Context) error {
					k, present, err := presentOf(c)
					if err != nil {
						return err
					}
					if len(present) != 1 {
						return usageErrorf("one --identity says who does it")
					}
					if c.Bool("restore") {
						if c.String("sheet") == "" {
							return usageErrorf("--sheet FILE is what is restored from")
						}
						return k.restore(c.Context, c.String("sheet"), c.String("sheet-passphrase-file"), present[0])
					}
					o := escrowOptions{population: c.String("population"), number: c.Int("number"), out: c.String("out")}
					if o.role, err = roleOf(c); err != nil {
						return err
					}
					return k.escrow(c.Context, o, present[0])
				},
			},
			{
				Name: "abandon", Usage: "give up a ceremony that is under way and not on record",
				Flags: with(common, one(yes)),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					k, err := ceremonyOf(c, false)
					if err != nil {
						return err
					}
					return k.abandon(c.Context)
				},
			},
			{
				Name: "status", Usage: "show keys, holders, what is under way and what is wrong",
				Description: "Exit codes: 0 nothing is wrong, 1 fault, 3 something is wrong.",
				Flags:       with(common, one(&cli.BoolFlag{Name: "json", Usage: "answer in JSON"})),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					k, err := ceremonyOf(c, false)
					if err != nil && c.IsSet("tenant") {
						return err
					}
					if k == nil {
						if k, err = storeOf(c); err != nil {
							return err
						}
					}
					return k.runStatus(c.Context, c.Bool("json"))
				},
			},
		},
	}
}

// cardOf is what the command line says of a card that a person makes.
func cardOf(c *cli.Context) (*ceremony, holderOptions, error) {
	if err := noArguments(c); err != nil {
		return nil, holderOptions{}, err
	}
	k, err := ceremonyOf(c, true)
	if err != nil {
		return nil, holderOptions{}, err
	}
	o := holderOptions{id: c.String("id"), population: c.String("population"), identity: c.String("identity"), passphraseFile: c.String("passphrase-file"),
		plain: c.Bool("no-passphrase"), recipients: c.StringSlice("recipient"), suite: seal.Suite(c.String("suite")), out: c.String("out")}
	if o.id == "" || o.identity == "" {
		return nil, holderOptions{}, usageErrorf("--id and --identity are needed: who you are, and where your identity is or shall be")
	}
	return k, o, nil
}

func roleOf(c *cli.Context) (seal.Role, error) {
	r := seal.Role(c.String("role"))
	if !slices.Contains(seal.Approvers(), r) {
		return "", usageErrorf("--role must be one of %v", seal.Approvers())
	}
	return r, nil
}

// storeOf is a ceremony without a tenant.
func storeOf(c *cli.Context) (*ceremony, error) {
	config, err := configOf(c)
	if err != nil {
		return nil, err
	}
	k := &ceremony{keyStore: keyPaths(config), record: config.Audit, now: time.Now, out: c.App.Writer, yes: c.Bool("yes"), work: passphraseWork,
		ask: prompter{in: c.App.Reader, out: c.App.Writer, terminal: terminalFile}}
	if dir := c.String("dir"); dir != "" {
		k.dir = dir
	}
	if d := c.String("deployment"); d != "" {
		k.deployment, k.record.Deployment = d, d
	}
	return k, nil
}

// ceremonyOf is the ceremony of the tenant that the command line names. A tenant that has no keys yet must be named, unless it is
// the only one of the configuration.
func ceremonyOf(c *cli.Context, isNew bool) (*ceremony, error) {
	k, err := storeOf(c)
	if err != nil {
		return nil, err
	}
	if k.name = c.String("tenant"); k.name == "" {
		names, err := k.tenants()
		if err != nil {
			return nil, err
		}
		if len(names) == 0 && isNew {
			config, err := configOf(c)
			if err != nil {
				return nil, err
			}
			names = config.Tenants()
		}
		if len(names) != 1 {
			return nil, usageErrorf("--tenant says which of %d tenants it is: %s", len(names), orNone(names))
		}
		k.name = names[0]
	}
	if err := checkTenantName(k.name); err != nil {
		return nil, err
	}
	return k, nil
}

// checkTenantName refuses names that would lead out of the folder of keys.
func checkTenantName(name string) error {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return usageErrorf("--tenant: %q is no tenant name; use lower-case letters a-z, digits, '-' and '_'", name)
		}
	}
	return nil
}

// presentOf is ceremonyOf with those who are there.
func presentOf(c *cli.Context) (*ceremony, []presentIdentity, error) {
	if err := noArguments(c); err != nil {
		return nil, nil, err
	}
	k, err := ceremonyOf(c, false)
	if err != nil {
		return nil, nil, err
	}
	files, passphrases := c.StringSlice("identity"), c.StringSlice("passphrase-file")
	if len(passphrases) > len(files) {
		return nil, nil, usageErrorf("--passphrase-file is there more often than --identity")
	}
	if len(files) == 0 && c.Command.Name != "rotate" && c.Command.Name != "reshare" {
		return nil, nil, usageErrorf("--identity FILE says who is there")
	}
	present, err := k.openIdentities(files, passphrases)
	return k, present, err
}

func (k *ceremony) openIdentities(files, passphrases []string) ([]presentIdentity, error) {
	var present []presentIdentity
	for i, file := range files {
		passphrase := ""
		if i < len(passphrases) {
			passphrase = passphrases[i]
		}
		identities, _, err := readIdentity(file, passphrase, k.ask)
		if err != nil {
			return nil, err
		}
		present = append(present, identities)
	}
	return present, nil
}

func (k *ceremony) readCards(files []string) ([]holderCard, error) {
	var cards []holderCard
	for _, f := range files {
		note, err := readSmall(f)
		if err != nil {
			return nil, fmt.Errorf("read a holder's card: %w", err)
		}
		c, err := parseCard(note)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if slices.ContainsFunc(cards, func(o holderCard) bool { return o.ID == c.ID }) {
			return nil, fmt.Errorf("%s: a card of %s is there already", f, c.ID)
		}
		for _, o := range cards {
			if slices.ContainsFunc(o.Recipients, func(r string) bool { return slices.Contains(c.Recipients, r) }) {
				return nil, fmt.Errorf("the cards of %s and %s are of one age identity: nobody holds two roles", o.ID, c.ID)
			}
		}
		k.say("card of %s (%s): fingerprint  %s  - is it what this person was told?", c.ID, seatTitle(c.Population, c.Role), fingerprint(c.digest()))
		cards = append(cards, c)
	}
	return cards, nil
}

// runEnrol takes in cards and prepares register 1. Run again after it is prepared, it says what is next.
func (k *ceremony) runEnrol(ctx context.Context, files []string) error {
	if len(files) == 0 {
		return usageErrorf("name the CARDs of all holders: at least two for each of manager, hr and security")
	}
	cards, err := k.readCards(files)
	if err != nil {
		return err
	}
	if o, err := k.readPending(); err == nil && o.document.Kind == kindEnrol {
		same := len(o.document.Cards) == len(cards)
		for _, c := range cards {
			same = same && slices.Contains(o.document.Cards, holderCardDigest{c.ID, c.digest()})
		}
		if same {
			k.say("these cards are taken in already")
			return k.next(o)
		}
	}
	if err := k.prepare(ctx, change{kind: kindEnrol, add: cards}, nil); err != nil {
		return err
	}
	return k.prepared()
}

func (k *ceremony) prepared() error {
	o, err := k.readPending()
	if err != nil {
		return err
	}
	describeRegister(k.out, o)
	return k.next(o)
}

func (k *ceremony) runReshare(ctx context.Context, add, remove []string, present []presentIdentity) error {
	if len(add)+len(remove) == 0 {
		return usageErrorf("--add CARD or --remove ID says what changes")
	}
	cards, err := k.readCards(add)
	if err != nil {
		return err
	}
	if err := k.prepare(ctx, change{kind: kindReshare, add: cards, remove: remove}, present); err != nil {
		return err
	}
	return k.prepared()
}

func (k *ceremony) runRotate(ctx context.Context, roles []string, population string, gate bool, present []presentIdentity) error {
	if len(roles) == 0 && !gate {
		return usageErrorf("--role ROLE, --gate or --all says what is rotated")
	}
	ch := change{kind: kindRotate, gate: gate}
	for _, r := range roles {
		if !slices.Contains(seal.Approvers(), seal.Role(r)) {
			return usageErrorf("--role: %q is not one of %v", r, seal.Approvers())
		}
		ch.rotate = append(ch.rotate, seal.SeatKey{Population: population, Role: seal.Role(r)})
	}
	if err := k.prepare(ctx, ch, present); err != nil {
		return err
	}
	return k.prepared()
}

func (k *ceremony) runStatus(ctx context.Context, asJSON bool) error {
	names := []string{k.name}
	if k.name == "" {
		var err error
		if names, err = k.tenants(); err != nil {
			return err
		}
	}
	all, faults := []tenantKeys{}, 0
	for _, name := range names {
		one := *k
		one.name = name
		s := one.status(ctx)
		faults += len(s.Faults)
		all = append(all, s)
	}
	if err := printStatus(k.out, all, asJSON); err != nil {
		return err
	}
	if faults > 0 {
		return foundErrorf("%s found in the keys", count(faults, "fault was", "faults were"))
	}
	return nil
}

// dataKeysLeft counts the data keys, live and held, that were sealed to a role's key.
func dataKeysLeft(ctx context.Context, config Config, tenant string, key seal.SeatKey) (left keysLeft, err error) {
	query, err := schemas.Query("vault/keys_left")
	if err != nil {
		return left, err
	}
	db, err := openDatabase(ctx, config, schemas.RoleQuery)
	if err != nil {
		return left, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(ctx, schemas.Migrations()); err != nil {
		return left, err
	}
	found := false
	var latest time.Time
	err = db.Query(ctx, query, clickhouse.Params{"tenant": tenant, "from": key.Number, "replaced": key.Replaced}, func(r clickhouse.Row) error {
		found = true
		return r.Scan(&left.rows, &latest)
	})
	if err == nil && !found {
		err = errors.New("the database did not answer")
	}
	left.latest = seal.DayOf(latest)
	return left, err
}

// weakCeremony is the whole first ceremony in one go, on one machine: for demonstrations and tests. It is weaker than a real one
// in the one way that matters: whoever can read folder has all six identities, so the three roles are one. members are the ids of
// those who may ask and look.
func weakCeremony(ctx context.Context, config Config, tenant, folder string, suite seal.Suite, now func() time.Time, out io.Writer, members ...string) (identities map[string]string, err error) {
	k := &ceremony{keyStore: keyPaths(config), name: tenant, record: config.Audit, now: now, out: io.Discard, yes: true, ask: prompter{out: io.Discard}}
	if err := k.alone(ctx, func() error { return k.begin(suite) }); err != nil {
		return nil, err
	}
	identities = map[string]string{}
	var cards, files []string
	for _, r := range seal.Approvers() {
		for _, name := range []string{"a", "b"} {
			id := string(r) + "." + name
			o := holderOptions{id: id, role: r, suite: suite, identity: filepath.Join(folder, id+".identity"), plain: true, out: filepath.Join(folder, id+".card")}
			if err := k.holder(o); err != nil {
				return nil, err
			}
			identities[id] = o.identity
			cards, files = append(cards, o.out), append(files, o.identity)
		}
	}
	for _, id := range members {
		o := holderOptions{id: id, suite: suite, identity: filepath.Join(folder, id+".identity"), plain: true, out: filepath.Join(folder, id+".card")}
		if err := k.holder(o); err != nil {
			return nil, err
		}
		identities[id], cards = o.identity, append(cards, o.out)
	}
	if err := k.runEnrol(ctx, cards); err != nil {
		return nil, err
	}
	present, err := k.openIdentities(files, nil)
	if err != nil {
		return nil, err
	}
	if err := k.sign(ctx, []presentIdentity{present[0], present[2], present[4]}, false); err != nil {
		return nil, err
	}
	if err := k.sign(ctx, present, true); err != nil {
		return nil, err
	}
	if err := k.publish(ctx, present[:1]); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "made keys for %s with the six identities of its three roles in %s.\nThis is for showing only: whoever reads that folder is all three roles. A real ceremony: tillsyn keys --help\n", tenant, folder)
	return identities, nil
}
