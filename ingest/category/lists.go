package category

import (
	"sync"
	"sync/atomic"
)

// Lists is the table in use. It is swapped while lookups run: each lookup sees one table from beginning to end. The zero value
// knows no list. Safe for concurrent use.
type Lists struct {
	current atomic.Pointer[installed]
	swap    sync.Mutex
}

type installed struct {
	table      *Table
	generation uint64
}

// Lookup is Table.Lookup on the table in use.
func (x *Lists) Lookup(host []byte) Verdict {
	if c := x.current.Load(); c != nil {
		return c.table.Lookup(host)
	}
	return Verdict{}
}

// Explain is Table.Explain on the table in use.
func (x *Lists) Explain(host []byte) []Match {
	c := x.current.Load()
	if c == nil {
		return nil
	}
	return c.table.Explain(host)
}

// Set puts a table in the place of the one in use. Whoever looked something up before keeps a valid Verdict.
func (x *Lists) Set(t *Table) {
	x.swap.Lock()
	defer x.swap.Unlock()
	x.current.Store(&installed{t, x.Generation() + 1})
}

// Generation grows by one with every Set; it is 0 before the first. Who remembers verdicts reads it before a lookup and forgets
// them when it has grown.
func (x *Lists) Generation() uint64 {
	c := x.current.Load()
	if c == nil {
		return 0
	}
	return c.generation
}

// Info describes the table in use.
func (x *Lists) Info() Info {
	c := x.current.Load()
	if c == nil {
		return Info{}
	}
	return c.table.Info()
}
