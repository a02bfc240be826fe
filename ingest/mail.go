package ingest

import (
	"bytes"
	"strconv"

	"tillsyn/aggregate"
	"tillsyn/ingest/parse"
	"tillsyn/ingest/resolve"
	"tillsyn/ingest/sensitive"
)

const (
	internalCategory = "internal" // of our own domains, as the other side of a mail
	nobody           = "(none)"   // the other side of a mail from the null sender (RFC 5321, 4.5.5)
)

// mail counts what a line says of a message, for each person of ours in it:
//
//   - sender ours, a recipient not ours: outbound, for the sender;
//   - sender not ours, a recipient ours: inbound, for the recipient, unless it was refused at the door;
//   - both ours: internal, for both;
//   - sent on to a recipient not ours by a rule: outbound, for whose rule it is, whoever the sender is; the sender is taken for
//     that only where the line names nobody.
//
// Ours is who is in the directory or in one of the source's internal domains.
func (b *eventBatch) mail(e *parse.Event) {
	b.tally.Events++
	b.sawDay(e.Time)
	b.capsules.message(e, b.ours)
	owner, ownerOurs := b.ours(e.Forwarder)
	forwarded := e.Forwarded || ownerOurs // the parser may not know that the address is ours
	if e.Trace && !forwarded {
		return // another line counts the message
	}
	found := sensitive.Find(e.Subject)
	m := aggregate.Message{
		Time: e.Time, ID: b.messageID(e), Bytes: uint64(max(0, e.SourceBytes)),
		IdentityNumber: found.IdentityNumbers > 0, Sensitive: found.Any(),
	}
	sender, senderOurs := b.ours(e.From)
	counted := false
	for _, to := range e.To {
		recipient, recipientOurs := b.ours(to)
		switch {
		case forwarded && !recipientOurs:
			if !ownerOurs {
				// by a rule of somebody here whom the line does not name
				owner = resolve.Who{Tenant: b.source.Tenant, Population: resolve.PopulationUnknown, Unit: resolve.UnitUnknown}
				if e.Forwarder == nil && senderOurs {
					owner = sender
				}
			}
			passed := m
			passed.Forwarded = true
			b.count(passed, owner, aggregate.Outbound, to, false)
		case e.Trace:
			continue
		case senderOurs && recipientOurs:
			b.count(m, sender, aggregate.Internal, to, true)
			b.count(m, recipient, aggregate.Internal, e.From, true)
		case senderOurs:
			b.count(m, sender, aggregate.Outbound, to, false)
		case recipientOurs && e.Forwarded:
			continue // a rule that passes mail on within the organisation
		case recipientOurs && string(e.Outcome) == "failure" && len(e.MessageKey()) == 0:
			continue // refused at the door, before it was a message
		case recipientOurs:
			b.count(m, recipient, aggregate.Inbound, e.From, false)
		default:
			continue
		}
		counted = true
	}
	if !counted && len(e.To) == 0 && senderOurs && !e.Trace {
		b.count(m, sender, aggregate.Outbound, nil, false) // the line names no recipient
	}
}

// ours says whose mail address it is, and whether that is somebody of the organisation.
func (b *eventBatch) ours(address []byte) (resolve.Who, bool) {
	if len(address) == 0 {
		return resolve.Who{}, false
	}
	if w, ok := b.people[string(address)]; ok {
		return w.Who, w.ours
	}
	w, ok := b.resolver.Mail(b.source.Tenant, address)
	if !ok {
		ok = b.inside(address)
	}
	b.people[string(address)] = person{w, ok}
	return w, ok
}

// inside says whether an address is in one of the source's internal domains or below one, or is one of the X.500 names that
// Exchange gives to its own users. One that was wrapped for another domain (IMCEAEX-...@domain) belongs to that.
func (b *eventBatch) inside(address []byte) bool {
	lower := bytes.ToLower(address)
	domain, more := bytes.TrimRight(mailDomain(lower), "."), true
	for _, prefix := range []string{"/o=", "ex:/o=", "imceaex-"} {
		if bytes.HasPrefix(lower, []byte(prefix)) && (prefix != "imceaex-" || len(domain) == 0) {
			return true
		}
	}
	for more && len(domain) > 0 {
		if _, ok := b.internal[string(domain)]; ok {
			return true
		}
		_, domain, more = bytes.Cut(domain, []byte("."))
	}
	return false
}

// A person is whom a mail address belongs to.
type person struct {
	resolve.Who
	ours bool
}

// mailDomain is what follows the last @ of an address; nothing without one, as in what Exchange calls its own addresses
// (/o=.../cn=recipients/cn=NAME), which are a person's name from end to end.
func mailDomain(address []byte) []byte {
	at := bytes.LastIndexByte(address, '@')
	if at < 0 {
		return nil
	}
	return address[at+1:]
}

// messageID is what tells a message from others. A source that names none is taken at its word: another time, sender or
// queue id is another message.
func (b *eventBatch) messageID(e *parse.Event) []byte {
	if key := e.MessageKey(); len(key) > 0 {
		return key
	}
	b.key = strconv.AppendInt(b.key[:0], e.Time, 10)
	b.key = append(append(append(append(b.key, 0), e.QueueID...), 0), e.From...)
	return b.key
}

// count adds one person of ours, and the domain of the other side, to the statistics.
func (b *eventBatch) count(m aggregate.Message, w resolve.Who, direction string, other []byte, internal bool) {
	m.Direction = direction
	m.Group = aggregate.Group{Tenant: w.Tenant, Population: w.Population, Unit: w.Unit, Zone: b.zone(w.Tenant)}
	b.identity = w.Subject.AppendPersonalData(b.identity[:0])
	m.Subject = b.identity
	switch domain := mailDomain(other); {
	case len(other) == 0:
		m.Domain, m.Category = nobody, uncategorised
	case len(domain) == 0:
		m.Domain, m.Category = otherSite, uncategorised
	default:
		s, ok := b.otherSides[string(domain)]
		if !ok {
			s = describe(domain, b.lists.Lookup(domain))
			b.otherSides[string(domain)] = s
		}
		m.Domain, m.Category = s.Domain, s.Category
	}
	if internal {
		m.Category = internalCategory
	}
	if err := b.mailRollup.Add(m); err != nil && b.err == nil {
		b.err = err
	}
}
