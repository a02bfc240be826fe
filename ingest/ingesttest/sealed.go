package ingesttest

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
	"tillsyn/internal/synthetic"
	"tillsyn/internal/vault"
)

// Roles are the private keys of all four roles of some tenants: what no process of tillsyn ever has together.
type Roles struct {
	Deployment string
	Origins    []seal.OriginKey // of the lookup keys that sealed
	Keys       map[seal.Role]seal.PrivateKey
	public     map[seal.Role]seal.PublicKey
}

// NewRoles draws them.
func NewRoles(t testing.TB) *Roles {
	t.Helper()
	r := &Roles{Deployment: "test", Keys: map[seal.Role]seal.PrivateKey{}, public: map[seal.Role]seal.PublicKey{}}
	for _, role := range seal.Roles() {
		k, err := seal.NewPrivateKey(seal.X25519)
		if err != nil {
			t.Fatal(err)
		}
		r.Keys[role], r.public[role] = k, k.Public()
	}
	return r
}

// Sealer makes data keys for these roles.
func (r *Roles) Sealer(t testing.TB) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(r.Deployment, r.public)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Writer seals the events of the given tenants, with a lookup key of its own in a folder of the test.
func (r *Roles) Writer(t testing.TB, now func() time.Time, tenants ...string) *vault.Writer {
	t.Helper()
	sealer := r.Sealer(t)
	of := map[string]*seal.Sealer{}
	for _, tenant := range tenants {
		of[tenant] = sealer
	}
	lookup, err := vault.OpenLookup(filepath.Join(t.TempDir(), "lookup.key"), now)
	if err != nil {
		t.Fatal(err)
	}
	r.Origins = append(r.Origins, lookup.Key().Origin())
	ring, err := vault.NewKeyring(20_000)
	if err != nil {
		t.Fatal(err)
	}
	w, err := vault.NewWriter(vault.FixedRegisters(of), lookup, ring)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A Register is the newest register of a tenant that was written, with who can sign the next.
type Register struct {
	text    seal.RegisterText
	signers []*seal.Signer
}

// WriteRegister writes the first register of a tenant, as 'tillsyn keys init' would leave it, into the folder of keys.
func (r *Roles) WriteRegister(t testing.TB, dir, tenant string) *Register {
	t.Helper()
	recipients := 0
	recipient := func() string {
		recipients++
		return fmt.Sprintf("age1%s%04d", strings.Repeat("q", 54), 2000+recipients)
	}
	text := seal.RegisterText{Deployment: r.Deployment, Tenant: tenant, Number: 1, Time: "2026-01-01T00:00:00Z",
		Gate: seal.GateSeat{Key: r.public[seal.Gate], Recipient: recipient()}}
	var signers []*seal.Signer
	for _, role := range seal.Approvers() {
		text.Seats = append(text.Seats, seal.Seat{Role: role, Key: r.public[role]})
		for _, who := range []string{".a", ".b"} {
			s, err := seal.NewSigner(string(role) + who)
			if err != nil {
				t.Fatal(err)
			}
			text.Holders = append(text.Holders, seal.Holder{ID: s.Name(), Role: role, Verifier: s.Verifier(), Recipients: []string{recipient()}})
			if who == ".a" {
				signers = append(signers, s)
			}
		}
	}
	first := &Register{text, signers}
	first.write(t, dir)
	return first
}

// Follow writes the register that follows r, with another key of HR, into the folder of keys.
func (r *Register) Follow(t testing.TB, dir string) {
	t.Helper()
	encoded, err := r.text.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.text.Number, r.text.Previous = r.text.Number+1, seal.DigestOf(encoded)
	for i := range r.text.Seats {
		if s := &r.text.Seats[i]; s.Role == seal.HR {
			k, err := seal.NewPrivateKey(seal.X25519)
			if err != nil {
				t.Fatal(err)
			}
			s.Key = k.Public()
		}
	}
	r.write(t, dir)
}

func (r *Register) write(t testing.TB, dir string) {
	t.Helper()
	r.text.Sort()
	encoded, err := r.text.Encode()
	if err != nil {
		t.Fatal(err)
	}
	note, err := seal.Sign(encoded, r.signers...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, r.text.Tenant), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, r.text.Tenant, fmt.Sprintf("register-%04d.note", r.text.Number)), note, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Learn reads the key of origin from the file of a lookup key.
func (r *Roles) Learn(t testing.TB, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseLookupKey(text)
	if err != nil {
		t.Fatal(err)
	}
	r.Origins = append(r.Origins, k.Origin())
}

// OpenKey puts a data key together from all four shares, and answers whose it is.
func (r *Roles) OpenKey(k vault.StoredKey) (seal.OpeningKey, []byte, error) {
	share, subject, err := seal.Share{}, []byte(nil), seal.ErrNotOpened
	for _, origin := range r.Origins {
		if share, subject, err = r.Keys[seal.Gate].OpenGateShare(k.Wrapped, k.Binding(r.Deployment, nil), origin); err == nil {
			break
		}
	}
	if err != nil {
		return seal.OpeningKey{}, nil, err
	}
	shares := map[seal.Role]seal.Share{seal.Gate: share}
	for _, role := range seal.Approvers() {
		if shares[role], err = r.Keys[role].OpenShare(k.Wrapped, role, k.Binding(r.Deployment, subject)); err != nil {
			return seal.OpeningKey{}, nil, err
		}
	}
	key, err := seal.Combine(k.Wrapped.ID, shares)
	return key, subject, err
}

// Opened is what was found in the vault.
type Opened struct{ Keys, Orphans, Capsules, Events int }

// OpenAll opens everything in the vault and gives each event to fn. It ends the test if any capsule does not open, is there
// twice, or has no key.
func (r *Roles) OpenAll(t testing.TB, db *clickhouse.DB, fn func(*vault.Event)) (sum Opened) {
	t.Helper()
	store, err := vault.NewStore(db)
	if err != nil {
		t.Fatal(err)
	}
	type part struct {
		tenant, kind string
		day          seal.Day
	}
	units := map[part][]string{}
	for _, kind := range vault.Kinds() {
		sql := "SELECT DISTINCT toString(day) AS of, tenant, unit FROM " + kind + "_keys"
		if err := db.Query(context.Background(), sql, nil, func(row clickhouse.Row) error {
			var day, tenant, unit string
			if err := row.Scan(&day, &tenant, &unit); err != nil {
				return err
			}
			d, err := seal.ParseDay(day)
			p := part{tenant, kind, d}
			units[p] = append(units[p], unit)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	used := map[string]bool{}
	for _, kind := range vault.Kinds() {
		sql := "SELECT DISTINCT hex(key) AS id FROM " + kind + "_capsules WHERE mark = 0"
		if err := db.Query(context.Background(), sql, nil, func(row clickhouse.Row) error {
			var id string
			err := row.Scan(&id)
			used[strings.ToLower(id)] = true
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for p, names := range units {
		var keys []vault.StoredKey
		for _, unit := range names {
			list, err := store.UnitKeys(context.Background(), vault.KeyScope{Tenant: p.tenant, Kinds: []string{p.kind}, From: p.day, To: p.day}, unit)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range list {
				sum.Keys++
				if !used[k.Wrapped.ID.String()] {
					sum.Orphans++ // drawn by a run that was killed before it sealed with it
					continue
				}
				delete(used, k.Wrapped.ID.String())
				keys = append(keys, k)
			}
		}
		type opened struct {
			key     seal.OpeningKey
			subject []byte
		}
		found := make([]opened, len(keys))
		var wait sync.WaitGroup
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			wait.Go(func() {
				for i := w; i < len(keys); i += workers {
					var err error
					if found[i].key, found[i].subject, err = r.OpenKey(keys[i]); err != nil {
						t.Errorf("a key of %s %s does not open: %v", p.kind, p.day, err)
					}
				}
			})
		}
		wait.Wait()
		if t.Failed() {
			t.FailNow()
		}
		var subjects [][]byte
		for _, f := range found {
			subjects = append(subjects, f.subject)
		}
		if len(subjects) == 0 {
			continue
		}
		slices.SortFunc(subjects, bytes.Compare)
		permit, err := vault.NewPermit(vault.Scope{Tenant: p.tenant, Kinds: []string{p.kind}, From: p.day, To: p.day,
			Subjects: slices.CompactFunc(subjects, bytes.Equal), Categories: []string{vault.AnyCategory}})
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range found {
			if err := permit.Add(keys[i], f.subject, f.key); err != nil {
				t.Fatal(err)
			}
		}
		reading, err := store.Read(context.Background(), permit, func(e vault.Event) error {
			fn(&e)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if reading.Duplicates+reading.Outside+reading.Filtered > 0 || len(reading.Locked)+len(reading.Unopened) > 0 {
			t.Fatalf("%s of %s %s: %+v", p.kind, p.tenant, p.day, reading)
		}
		sum.Capsules += int(reading.Capsules)
		sum.Events += int(reading.Events)
	}
	for id := range used {
		t.Fatalf("a capsule has no key: %s", id)
	}
	return sum
}

// An Account is a set of events that may hold an event several times.
type Account struct {
	seed  maphash.Seed
	count map[uint64]int32
	n     int
}

// NewAccount is an empty one.
func NewAccount() *Account { return &Account{seed: maphash.MakeSeed(), count: map[uint64]int32{}} }

// Add takes an event in, described in full; times may be -1.
func (a *Account) Add(text string, times int32) {
	h := maphash.String(a.seed, text)
	a.n += int(times)
	if a.count[h] += times; a.count[h] == 0 {
		delete(a.count, h)
	}
}

// Clone is a copy of a.
func (a *Account) Clone() *Account { return &Account{a.seed, maps.Clone(a.count), a.n} }

// Events is how many are in.
func (a *Account) Events() int { return a.n }

// Rest is how many different events are more or less often in than out.
func (a *Account) Rest() (lost, extra int) {
	for _, n := range a.count {
		if n > 0 {
			lost += int(n)
		} else {
			extra -= int(n)
		}
	}
	return lost, extra
}

// TruthOf describes an event of the synthetic municipality as the vault must have it, by what squid_native can say of it. It
// answers false for an event that must not be there: a bad line, a guest's, or a challenge of nobody.
func TruthOf(e *synthetic.Event) (string, bool) {
	if e.Bad != "" || e.Population == synthetic.PopulationGuest || e.Status == 407 && e.User == "" {
		return "", false
	}
	target := string(e.AppendURL(nil))
	if e.Scheme == "" {
		target = strings.TrimSuffix(target, ":443")
	}
	return fmt.Sprint(e.Time, e.Duration, e.Tenant, e.Population, e.Unit, e.Subject, e.SourceIP, e.User, e.Method, target, e.Status, e.Blocked, e.MIME,
		e.BytesIn, e.ServerIP, e.Category), true
}

// Describe is an event of the vault in the same words.
func Describe(e *vault.Event) string {
	target := string(e.Domain)
	if strings.Contains(target, ":") { // an IPv6 address, which is kept without brackets
		target = "[" + target + "]"
	}
	if len(e.Scheme) > 0 {
		target = string(e.Scheme) + "://" + target + string(e.Path)
		if e.Query != nil {
			target += "?" + string(e.Query)
		}
	}
	category := string(e.Category)
	if category == "" {
		category = vault.Uncategorised
	}
	server, mime := "", string(e.MIME)
	if e.DestinationIP.IsValid() {
		server = e.DestinationIP.String()
	}
	return fmt.Sprint(e.Time, e.Duration.Milliseconds(), e.Tenant, e.Population, e.Unit, string(e.Person), e.SourceIP, string(e.User), string(e.Method), target,
		max(e.Status, 0), e.Action == 2, mime, max(e.DestinationBytes, 0), server, category)
}
