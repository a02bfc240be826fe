package ingest

import (
	"bytes"
	"slices"

	"tillsyn/aggregate"
	"tillsyn/ingest/category"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/vault"
)

// capsules is the face by which the fields of an event leave for the vault: sealed, and by no other way. Of path, query,
// referrer, user agent, port and the words of a mail, nothing else in this package may know (TestOnlyCapsulesSeeTheRest).
type capsules struct {
	*vault.Collector
	off      bool // nothing is sealed at all
	event    vault.Event
	identity []byte
	people   []vault.PersonRef // by aggregate.SubjectRef
	mail     []vault.PersonRef // of the message at hand
}

// A verdict is what the lists said of a host, in the words that a capsule keeps.
type verdict struct{ category, class, list, version, rule []byte }

func verdictOf(v category.Verdict) verdict {
	if v.Category == "" {
		return verdict{}
	}
	return verdict{[]byte(v.Category), []byte(v.Class.String()), []byte(v.List), []byte(v.Version), bytes.Clone(v.Rule)}
}

func newCapsules(w *vault.Writer) *capsules {
	return &capsules{Collector: vault.NewCollector(w), off: w == nil}
}

func (c *capsules) reset() {
	c.Reset()
	c.people = c.people[:0]
	c.event = vault.Event{}
	clear(c.identity[:cap(c.identity)])
}

// person makes w known as the subject ref of the statistics.
func (c *capsules) person(ref aggregate.SubjectRef, w resolve.Who) {
	for int(ref) >= len(c.people) {
		c.people = append(c.people, vault.Nobody)
	}
	c.people[ref] = c.who(w)
}

func (c *capsules) who(w resolve.Who) vault.PersonRef {
	if w.Population == resolve.PopulationGuest {
		return vault.Nobody
	}
	c.identity = w.Subject.AppendPersonalData(c.identity[:0])
	return c.Person(vault.Group{Tenant: w.Tenant, Population: w.Population, Unit: w.Unit}, c.identity)
}

// web takes a request of a subject of the statistics.
func (c *capsules) web(ref aggregate.SubjectRef, e *parse.Event, v *verdict, country []byte) {
	if c.off {
		return
	}
	c.fill(e)
	c.event.Category, c.event.Class, c.event.List, c.event.Version, c.event.Rule = v.category, v.class, v.list, v.version, v.rule
	c.event.Country = country
	c.Add(c.people[ref], vault.Web, &c.event)
}

// message takes what a line says of a message, for each person of ours in it, once.
func (c *capsules) message(e *parse.Event, ours func([]byte) (resolve.Who, bool)) {
	if c.off {
		return
	}
	c.fill(e)
	c.mail = c.mail[:0]
	for _, address := range [][]byte{e.From, e.Forwarder} {
		if w, ok := ours(address); ok {
			if p := c.who(w); !slices.Contains(c.mail, p) {
				c.mail = append(c.mail, p)
				c.Add(p, vault.Mail, &c.event)
			}
		}
	}
	for _, to := range e.To {
		w, ok := ours(to)
		if !ok {
			continue
		}
		p := c.who(w)
		if p == vault.Nobody || slices.Contains(c.mail, p) {
			continue
		}
		c.mail = append(c.mail, p)
		if len(e.To) > vault.MaxRecipients {
			c.event.To = append(c.event.To[:0:0], to)
		}
		c.Add(p, vault.Mail, &c.event)
	}
}

// fill takes over what was parsed, field by field.
func (c *capsules) fill(e *parse.Event) {
	c.event = vault.Event{
		Time: e.Time, SourceIP: e.SourceIP, SourcePort: e.SourcePort, User: e.User, Count: e.Count,
		Method: e.Method, Scheme: e.Scheme, Domain: e.Domain, Port: e.Port, Path: e.Path, Query: e.Query, Referrer: e.Referrer, UserAgent: e.UserAgent,
		Status: e.Status, Action: uint8(e.Action), DestinationIP: e.DestinationIP, DestinationBytes: e.DestinationBytes, SourceBytes: e.SourceBytes,
		Duration: e.Duration, MIME: e.MIME,
		MessageID: e.MessageID, From: e.From, To: e.To, Recipients: uint32(len(e.To)), Subject: e.Subject, Direction: e.Direction, Outcome: e.Outcome,
		Code: e.Code, QueueID: e.QueueID, NetworkID: e.NetworkID, Trace: e.Trace, Forwarded: e.Forwarded,
		Forwarder: e.Forwarder,
	}
}

// blocks are those of the vault, keys before capsules.
func (c *capsules) blocks(w aggregate.Watermark) ([]aggregate.Block, error) {
	sealed, err := c.Blocks(vault.Watermark{Mark: w.Mark, Next: w.Next, BegunAt: w.BegunAt})
	if err != nil {
		return nil, err
	}
	var out []aggregate.Block
	for _, b := range sealed {
		out = append(out, aggregate.Block{Table: b.Table, Day: b.Day, Columns: b.Columns, Rows: b.Rows})
	}
	return out, nil
}
