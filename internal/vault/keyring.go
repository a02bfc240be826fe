package vault

import (
	"fmt"
	"io"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"tillsyn/internal/seal"
)

// A keyName says what a live data key is for. Another register makes another sealer, so it makes other keys.
type keyName struct {
	sealer                         *seal.Sealer
	kind, tenant, population, unit string
	tag                            seal.Tag // of one subject on one day
}

// A liveKey is a data key of this run. Its row is kept until it is known to be in.
type liveKey struct {
	sealing *seal.SealingKey
	mu      sync.Mutex
	row     *seal.WrappedKey // nil: the key is durable
}

// pending answers the row that must be written before the key may be used, or nil.
func (k *liveKey) pending() *seal.WrappedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.row
}

// durable notes that the row is in.
func (k *liveKey) durable() {
	k.mu.Lock()
	k.row = nil
	k.mu.Unlock()
}

// Keyring holds the live data keys of a process, for all its partitions. It is bounded: a person whose key fell out has a
// second one on that day. It is safe for concurrent use, and prints as redacted.
type Keyring struct{ keys *lru.Cache[keyName, *liveKey] }

// NewKeyring makes a keyring for so many keys, each about a kilobyte.
func NewKeyring(size int) (*Keyring, error) {
	keys, err := lru.New[keyName, *liveKey](size)
	if err != nil {
		return nil, fmt.Errorf("make a keyring: %w", err)
	}
	return &Keyring{keys}, nil
}

// Len is how many keys are live.
func (r *Keyring) Len() int { return r.keys.Len() }

// find answers the live key of that name, or nil.
func (r *Keyring) find(name keyName) *liveKey {
	k, _ := r.keys.Get(name)
	return k
}

// draw makes a key for a subject, marked with the key of origin. Where two draw one name at once, the first stays.
func (r *Keyring) draw(name keyName, day seal.Day, subject []byte, origin seal.OriginKey) (*liveKey, error) {
	sealing, wrapped, err := name.sealer.NewKey(seal.Binding{Tenant: name.tenant, Population: name.population, Unit: name.unit, Kind: name.kind,
		Subject: subject, Day: day, Tag: name.tag}, origin)
	if err != nil {
		return nil, err
	}
	k := &liveKey{sealing: sealing, row: &wrapped}
	if have, ok, _ := r.keys.PeekOrAdd(name, k); ok {
		return have, nil
	}
	return k, nil
}

// Format hides the keys from every verb.
func (*Keyring) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// MarshalText hides the keys from every encoder.
func (*Keyring) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
