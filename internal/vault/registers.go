package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tillsyn/internal/seal"
)

// Registers knows the registers of role keys of an ingester's tenants: the files register-NNNN.note in a folder for each
// tenant, which are public. It is safe for concurrent use.
type Registers struct {
	dir     string
	tenants []string

	mu      sync.Mutex // one Reload at a time
	seals   atomic.Pointer[map[string]*sealers]
	noticed map[string]string // by tenant: names and times of its files
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
	s := (*r.seals.Load())[tenant]
	if s == nil {
		return nil
	}
	if own, ok := s.byPopulation[population]; ok {
		return own
	}
	return s.other
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
	for _, tenant := range r.tenants {
		if before[tenant] != nil {
			after[tenant] = before[tenant]
		}
		s, err := r.read(tenant, before[tenant])
		if err != nil {
			faults = append(faults, fmt.Errorf("read the register of %s: %w", tenant, err))
		} else if s != nil {
			after[tenant] = s
		}
	}
	r.seals.Store(&after)
	return errors.Join(faults...)
}

// read answers the sealers of a tenant, or nil if its files are as before.
func (r *Registers) read(tenant string, before *sealers) (*sealers, error) {
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
	if state.String() == r.noticed[tenant] {
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
	r.noticed[tenant] = state.String()
	return s, nil
}
