package parse

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// A mailReader is what the mail formats share: our own domains, and the words that they set in events.
//
// email.direction is told by the domains where Options.InternalDomains says which are ours: from us to anybody outside is
// outbound, from us to us alone is internal, from outside to any of us is inbound. Where they can't tell (no domains given,
// the null sender, a relayed message of strangers), the source's own word for it is translated (Exchange's Incoming and
// Originating, Microsoft 365's 1 and 2); where it has none, the direction is absent.
//
// Source of the names: https://www.elastic.co/docs/reference/ecs/ecs-email.
type mailReader struct {
	own                         map[string]struct{}
	inbound, outbound, internal []byte
	success, failure, unknown   []byte
}

func newMailReader(o Options) (mailReader, error) {
	m := mailReader{
		own:     map[string]struct{}{},
		inbound: []byte("inbound"), outbound: []byte("outbound"), internal: []byte("internal"),
		success: []byte("success"), failure: []byte("failure"), unknown: []byte("unknown"),
	}
	var faults []error
	for i, domain := range o.InternalDomains {
		domain = strings.ToLower(strings.Trim(strings.TrimSpace(domain), "@."))
		if domain == "" || len(domain) > maxDomain || strings.ContainsAny(domain, "@ \t,;<>*") {
			faults = append(faults, fmt.Errorf("internal domain number %d is no domain name: write it as example.se, which stands for what is below it too", i+1))
			continue
		}
		m.own[domain] = struct{}{}
	}
	return m, errors.Join(faults...)
}

// maxDomain is the longest domain name (RFC 1035, section 2.3.4).
const maxDomain = 253

// ours says whether an address is in one of our own domains, or below one. The X.500 names that Exchange writes for its own
// users are ours; one that was wrapped for another domain (IMCEAEX-...@domain) belongs to that.
func (m *mailReader) ours(address []byte) bool {
	at := bytes.LastIndexByte(address, '@')
	if foldStarts(address, "ex:/o=") || foldStarts(address, "/o=") || foldStarts(address, "imceaex-") && at < 0 {
		return true
	}
	domain := bytes.TrimRight(address[at+1:], ".")
	if at < 0 || len(domain) == 0 || len(domain) > maxDomain {
		return false
	}
	var lower [maxDomain]byte
	for i, c := range domain {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	for rest := lower[:len(domain)]; ; {
		if _, own := m.own[string(rest)]; own {
			return true
		}
		dot := indexByte(rest, '.')
		if dot < 0 {
			return false
		}
		rest = rest[dot+1:]
	}
}

// direct sets e.Direction from the domains of e.From and e.To, and else from the source's own word.
func (m *mailReader) direct(e *Event, said []byte) {
	e.Direction = m.translate(said)
	if len(m.own) == 0 || len(e.To) == 0 {
		return
	}
	inside, outside := false, false
	for _, to := range e.To {
		if m.ours(to) {
			inside = true
		} else {
			outside = true
		}
	}
	switch {
	case len(e.From) == 0:
		if outside {
			e.Direction = m.outbound
		}
	case m.ours(e.From):
		if e.Direction = m.internal; outside {
			e.Direction = m.outbound
		}
	case inside:
		e.Direction = m.inbound
	}
}

// translate answers email.direction for the word that a source has for it, or nil.
func (m *mailReader) translate(said []byte) []byte {
	switch {
	case len(said) == 0:
		return nil
	case said[0] == '1' && len(said) == 1, fold(said, "incoming"), fold(said, "inbound"), fold(said, "in"), fold(said, "received"):
		return m.inbound
	case said[0] == '2' && len(said) == 1, fold(said, "originating"), fold(said, "outbound"), fold(said, "outgoing"), fold(said, "out"),
		fold(said, "sent"), fold(said, "send"):
		return m.outbound
	case fold(said, "internal"), fold(said, "intra-org"), fold(said, "intraorg"):
		return m.internal
	}
	return nil
}

// recipients adds the addresses of a list to e.To. Empty ones are left out.
func recipients(list []byte, separator byte, e *Event) {
	for len(list) > 0 {
		one := list
		if end := bytes.IndexByte(list, separator); end >= 0 {
			one, list = list[:end], list[end+1:]
		} else {
			list = nil
		}
		if one = mailbox(bytes.TrimSpace(one)); len(one) > 0 {
			e.To = append(e.To, one)
		}
	}
}

// mailbox answers an address or a message-id without the angle brackets around it. "<>" gives the null sender: empty, not nil.
func mailbox(b []byte) []byte {
	if len(b) > 1 && b[0] == '<' && b[len(b)-1] == '>' {
		return b[1 : len(b)-1]
	}
	return b
}

// messageID answers a message-id without its brackets and the spaces around it, or nil for none.
func messageID(b []byte) []byte {
	if b = mailbox(bytes.TrimSpace(b)); absent(b) {
		return nil
	}
	return b
}
