package vault

import (
	"runtime"

	"tillsyn/internal/seal"
)

// guest is the population that is never in the vault.
const guest = "guest"

// Writer is what the collectors of a process share. It can seal, and open nothing.
type Writer struct {
	registers *Registers
	lookup    *Lookup
	ring      *Keyring
	workers   chan *worker
}

// A worker lays out, compresses and seals capsules, one at a time.
type worker struct {
	columns    columns
	encoder    *encoder
	compressor *compressor
	body       []byte
	plain      []byte
	order      []int32
	numbers    []int64
	spans      []span
}

// NewWriter makes a Writer of what says who may be sealed, of what makes tags, and of live keys.
func NewWriter(registers *Registers, lookup *Lookup, ring *Keyring) (*Writer, error) {
	w := &Writer{registers: registers, lookup: lookup, ring: ring}
	n := min(runtime.GOMAXPROCS(0), 4)
	w.workers = make(chan *worker, n)
	for range n {
		c, err := newCompressor()
		if err != nil {
			return nil, err
		}
		w.workers <- &worker{encoder: newEncoder(), compressor: c}
	}
	return w, nil
}

// Seals says whether events of anybody are sealed at all.
func (w *Writer) Seals() bool { return w != nil && w.registers.any() }

// sealer is what makes data keys of a group, or nil, and the number of the register that it is of.
func (w *Writer) sealer(g Group) (*seal.Sealer, uint32) {
	if w == nil {
		return nil, 0
	}
	return w.registers.sealer(g.Tenant, g.Population)
}
