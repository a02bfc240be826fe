package vault

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tillsyn/internal/durable"
	"tillsyn/internal/seal"
)

// Registers knows the registers of role keys of an ingester's tenants: the files register-NNNN.note in a folder for each
// tenant, which are public. It is safe for concurrent use.
type Registers struct {
	dir     string
	tenants []string
	pin     RegisterPin

	mu      sync.Mutex // one Reload at a time
	seals   atomic.Pointer[map[string]*sealers]
	noticed map[string]string // by tenant: names and times of its files
}

// A RegisterPin says which registers may be used at all. Its zero value pins nothing.
type RegisterPin struct {
	Deployment string // the one that registers must be of; empty: any
	// File remembers the newest register seen of each tenant: a chain that does not go on from it is refused, also after a
	// restart. Made at the first use; empty: nothing is remembered.
	File string
	// First hears of each tenant whose register is seen for the first time: nothing but its fingerprint, which somebody can compare
	// with the protocol of the ceremony, says that it is the right one. May be nil.
	First func(tenant string, number int, digest seal.Digest)
}

// sealers are those of one tenant.
type sealers struct {
	register     *seal.Register // nil in a test
	byPopulation map[string]*seal.Sealer
	other        *seal.Sealer // of every other population
}

// NewRegisters will read the registers of tenants in dir. Reload reads them.
func NewRegisters(dir string, tenants []string) *Registers {
	r := &Registers{dir: dir, tenants: slices.Clone(tenants), noticed: map[string]string{}}
	r.seals.Store(&map[string]*sealers{})
	return r
}

// Pinned is r with a pin. It must be set before the first Reload.
func (r *Registers) Pinned(p RegisterPin) *Registers {
	r.pin = p
	return r
}

// FixedRegisters seals the events of each tenant, whatever the population, with one Sealer.
func FixedRegisters(of map[string]*seal.Sealer) *Registers {
	r := NewRegisters("", nil)
	all := map[string]*sealers{}
	for tenant, s := range of {
		all[tenant] = &sealers{other: s}
	}
	r.seals.Store(&all)
	return r
}

// Sealer makes data keys for a population of a tenant; nil: the tenant has no register.
func (r *Registers) Sealer(tenant, population string) *seal.Sealer {
	s, _ := r.sealer(tenant, population)
	return s
}

// sealer is Sealer with the number of its register; 0 in a test.
func (r *Registers) sealer(tenant, population string) (*seal.Sealer, uint32) {
	s := (*r.seals.Load())[tenant]
	if s == nil {
		return nil, 0
	}
	sealer := s.other
	if own, ok := s.byPopulation[population]; ok {
		sealer = own
	}
	if s.register == nil {
		return sealer, 0
	}
	return sealer, uint32(s.register.Number())
}

func (r *Registers) any() bool { return len(*r.seals.Load()) > 0 }

// Missing are the tenants that have no register: nothing raw of theirs is kept.
func (r *Registers) Missing() []string {
	all := *r.seals.Load()
	var missing []string
	for _, t := range r.tenants {
		if all[t] == nil {
			missing = append(missing, t)
		}
	}
	return missing
}

// ErrRegisterBack is when a register is not the one that was in use, nor one that follows it.
var ErrRegisterBack = errors.New("it does not follow the register in use")

// Reload reads what has changed. A tenant whose files can't be used, or that would go back, keeps the register that it has.
// The error names each.
func (r *Registers) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := *r.seals.Load()
	after := map[string]*sealers{}
	var faults []error
	pins, err := readPins(r.pin.File)
	if err != nil {
		return err
	}
	for _, tenant := range r.tenants {
		if before[tenant] != nil {
			after[tenant] = before[tenant]
		}
		s, err := r.read(tenant, before[tenant], pins[tenant])
		if err != nil {
			faults = append(faults, fmt.Errorf("read the register of %s: %w", tenant, err))
		} else if s != nil {
			after[tenant] = s
		}
	}
	r.seals.Store(&after)
	return errors.Join(faults...)
}

// read answers the sealers of a tenant, or nil if its files are as before. seen is the register that was in use at an earlier start.
func (r *Registers) read(tenant string, before *sealers, seen pinned) (*sealers, error) {
	names, err := filepath.Glob(filepath.Join(r.dir, tenant, "register-*.note"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var state strings.Builder
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(&state, name, info.Size(), info.ModTime().UnixNano())
	}
	if state.String() == r.noticed[tenant] && (len(names) > 0 || seen.number == 0) {
		return nil, nil
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("its files are gone: %w", ErrRegisterBack)
	}
	var notes [][]byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		notes = append(notes, text)
	}
	chain, err := seal.OpenChain(notes)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	if last.Tenant() != tenant {
		return nil, fmt.Errorf("it is that of %s", last.Tenant())
	}
	if r.pin.Deployment != "" && last.Deployment() != r.pin.Deployment {
		return nil, fmt.Errorf("it is of the deployment %s, not of %s (audit.deployment)", last.Deployment(), r.pin.Deployment)
	}
	if seen.number > len(chain) || seen.number > 0 && chain[seen.number-1].Digest().String() != seen.digest {
		return nil, fmt.Errorf("%w: register %d was in use (%s), and this chain does not go on from it; if the holders say that it is right, remove %s",
			ErrRegisterBack, seen.number, seen.digest, r.pin.File)
	}
	if before != nil && before.register != nil {
		n := before.register.Number()
		if n > len(chain) || chain[n-1].Digest() != before.register.Digest() {
			return nil, ErrRegisterBack
		}
		if n == len(chain) { // the same: keys that are live stay
			r.noticed[tenant] = state.String()
			return nil, nil
		}
	}
	s := &sealers{register: last, byPopulation: map[string]*seal.Sealer{}}
	for _, population := range last.Populations() {
		sealer, err := last.Sealer(population)
		if err != nil {
			return nil, err
		}
		if population == "" {
			s.other = sealer
		} else {
			s.byPopulation[population] = sealer
		}
	}
	if seen.number < last.Number() {
		if err := r.remember(tenant, last); err != nil {
			return nil, err
		}
		if seen.number == 0 && r.pin.First != nil {
			r.pin.First(tenant, last.Number(), last.Digest())
		}
	}
	r.noticed[tenant] = state.String()
	return s, nil
}

// pinned is a register that was in use.
type pinned struct {
	number int
	digest string
}

const pinsHeader = "tillsyn registers seen v1"

// readPins reads what was in use, by tenant. No file is nothing; one that can't be read is an error.
func readPins(path string) (map[string]pinned, error) {
	pins := map[string]pinned{}
	if path == "" {
		return pins, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return pins, nil
	}
	bad := fmt.Errorf("read which registers were in use: %s is not a file of '%s'", path, pinsHeader)
	if err != nil {
		return nil, fmt.Errorf("read which registers were in use: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != pinsHeader {
		return nil, bad
	}
	for _, line := range lines[1:] {
		fields := strings.Split(line, " ")
		if len(fields) != 3 {
			return nil, bad
		}
		n, err := strconv.Atoi(fields[1])
		if _, fault := seal.ParseDigest(fields[2]); err != nil || fault != nil || n < 1 || pins[fields[0]].number > 0 {
			return nil, bad
		}
		pins[fields[0]] = pinned{n, fields[2]}
	}
	return pins, nil
}

// remember writes down that a register is in use. Another process may have written one that follows it: that stays.
func (r *Registers) remember(tenant string, last *seal.Register) error {
	if r.pin.File == "" {
		return nil
	}
	pins, err := readPins(r.pin.File)
	if err != nil {
		return err
	}
	if pins[tenant].number >= last.Number() {
		return nil
	}
	pins[tenant] = pinned{last.Number(), last.Digest().String()}
	var b strings.Builder
	fmt.Fprintln(&b, pinsHeader)
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s %d %s\n", name, pins[name].number, pins[name].digest)
	}
	if err := durable.Replace(r.pin.File, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("remember which register is in use: %w", err)
	}
	return nil
}
