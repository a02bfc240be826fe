package resolve

import (
	"net/netip"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKey is the longest user name, in bytes, that is remembered: more is no name, and would only fill memory.
const maxKey = 256

// Memo remembers the answers of a Resolver for one worker: it must not be shared by goroutines. A hit allocates nothing.
type Memo struct {
	resolver   *Resolver
	size       int
	generation uint64
	tenants    map[string]*tenantMemo
	last       *tenantMemo // lines of one tenant come in runs
	lastTenant string
	countries  *simplelru.LRU[netip.Addr, string]
}

type tenantMemo struct {
	users *simplelru.LRU[string, Who] // unless Listed only the subject counts
	addrs *simplelru.LRU[netip.Addr, Who]
}

// NewMemo answers a memo that remembers size users and size addresses of each tenant, and size destinations.
// A size below 1 is taken as 1.
func NewMemo(r *Resolver, size int) *Memo {
	m := &Memo{resolver: r, size: max(size, 1)}
	m.forget(r.Generation())
	return m
}

func (m *Memo) forget(generation uint64) {
	m.generation, m.tenants, m.last, m.lastTenant = generation, map[string]*tenantMemo{}, nil, ""
	m.countries = newLRU[netip.Addr, string](m.size)
}

func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	l, _ := simplelru.NewLRU[K, V](size, nil) // refuses sizes below 1 only, and there are none
	return l
}

// Who is Resolver.Who, remembered. It keeps no view of user.
func (m *Memo) Who(sourceTenant string, user []byte, ip netip.Addr) Who {
	t := m.tenant(sourceTenant)
	if len(user) == 0 {
		return m.byAddr(t, sourceTenant, ip)
	}
	if len(user) > maxKey {
		return m.resolver.Who(sourceTenant, user, ip)
	}
	// The view lives for this one look-up; what is kept, below, is a copy.
	u, ok := t.users.Get(unsafe.String(unsafe.SliceData(user), len(user)))
	if !ok {
		u = m.resolver.byUser(sourceTenant, user)
		t.users.Add(string(user), u)
	}
	if u.Listed {
		return u
	}
	return withSubject(m.byAddr(t, sourceTenant, ip), u.Subject)
}

func (m *Memo) byAddr(t *tenantMemo, sourceTenant string, ip netip.Addr) Who {
	ip = canonicalAddr(ip)
	w, ok := t.addrs.Get(ip)
	if !ok {
		w = m.resolver.byAddr(sourceTenant, ip)
		t.addrs.Add(ip, w)
	}
	return w
}

// Country is Resolver.Country, remembered.
func (m *Memo) Country(ip netip.Addr) string {
	m.current()
	country, ok := m.countries.Get(ip)
	if !ok {
		country = m.resolver.Country(ip)
		m.countries.Add(ip, country)
	}
	return country
}

func (m *Memo) current() {
	if g := m.resolver.Generation(); g != m.generation {
		m.forget(g)
	}
}

func (m *Memo) tenant(name string) *tenantMemo {
	m.current()
	if m.last != nil && m.lastTenant == name {
		return m.last
	}
	t, ok := m.tenants[name]
	if !ok {
		t = &tenantMemo{newLRU[string, Who](m.size), newLRU[netip.Addr, Who](m.size)}
		m.tenants[name] = t
	}
	m.last, m.lastTenant = t, name
	return t
}
