package synthetic

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
)

// The levels of mail statistics that the truth has an answer for.
const (
	LevelMailHour        = "mail_hour"
	LevelMailDay         = "mail_day"
	LevelMailMonth       = "mail_month"
	LevelMailDomainDay   = "mail_domain_day"
	LevelMailDomainMonth = "mail_domain_month"
)

// The directions of mail.
const (
	DirectionOutbound = "outbound"
	DirectionInbound  = "inbound"
	DirectionInternal = "internal"
)

// A MailCell is the exact answer for one group of people, one period, one direction and one category or domain of the other
// side. Unit "" is the whole population of the tenant, direction "" are all three, category "" is everything.
type MailCell struct {
	Level           string `json:"level"`
	Period          string `json:"period"` // as in Cell
	Tenant          string `json:"tenant"`
	Population      string `json:"population"`
	Unit            string `json:"unit"`
	Direction       string `json:"direction"`
	Category        string `json:"category,omitempty"`
	Domain          string `json:"domain,omitempty"` // domain levels
	Messages        int64  `json:"messages"`
	Bytes           int64  `json:"bytes"`
	People          int64  `json:"people"`
	Forwarded       int64  `json:"forwarded"`
	IdentityNumbers int64  `json:"identity_numbers"`
	Sensitive       int64  `json:"sensitive"`
}

// MailTotals sums up the mail of a run: distinct messages, those that count nowhere among them.
type MailTotals struct {
	Messages        int64     `json:"messages"`
	Bytes           int64     `json:"bytes"`
	Forwarded       int64     `json:"forwarded"`
	IdentityNumbers int64     `json:"identity_numbers"`
	Sensitive       int64     `json:"sensitive"`
	First           time.Time `json:"first"`
	Last            time.Time `json:"last"`
}

// A MailTruth is the exact answer to every question about the mail of a run, in the eyes of a reader of one format.
type MailTruth struct {
	Format  string            `json:"format"`
	Zone    string            `json:"time_zone"`
	Source  string            `json:"source_tenant"`
	Domains []string          `json:"internal_domains"`
	Words   []string          `json:"sensitive_words"`
	Totals  MailTotals        `json:"totals"`
	Classes map[string]string `json:"classes"`

	of     *mailTruth
	format Format
}

// A mailKey names a cell by numbers: row as in stored, the level of a period and what follows from it.
type mailKey struct {
	level     uint8
	direction uint8 // 0: all
	row       int16
	other     int16 // domain levels: index into names; else of the category in categories, -1 for all
	period    int32
}

type mailMeasures struct {
	messages, bytes, people, forwarded, identity, sensitive int64
	last                                                    int64 // the message that was counted last, plus 1
	index                                                   int32
}

const (
	levelMailHour = iota
	levelMailDay
	levelMailMonth
	levelMailDomainDay
	levelMailDomainMonth
)

// mailTruth counts while mail comes and goes.
type mailTruth struct {
	m            *Municipality
	cells        map[mailKey]*mailMeasures
	people       map[uint64]struct{} // cell and person
	days, months []string
	dayEnd       int64
	monthEnd     int64
	categories   []string
	names        []correspondent // distinct pairs of domain and category
	category     []int16         // of each correspondent
	name         []int16
	totals       MailTotals
	done         bool
}

func newMailTruth(m *Municipality) *mailTruth {
	t := &mailTruth{m: m, cells: map[mailKey]*mailMeasures{}, people: map[uint64]struct{}{}}
	for _, o := range m.mail.others {
		at := slices.Index(t.categories, o.category)
		if at < 0 {
			at = len(t.categories)
			t.categories = append(t.categories, o.category)
		}
		t.category = append(t.category, int16(at))
		o.host = ""
		if at = slices.Index(t.names, o); at < 0 {
			at = len(t.names)
			t.names = append(t.names, o)
		}
		t.name = append(t.name, int16(at))
	}
	return t
}

// count takes one message. They come in the order of time.
func (t *mailTruth) count(e *Message) {
	if e.Time >= t.dayEnd {
		local := time.UnixMilli(e.Time).In(t.m.zone)
		t.days = append(t.days, local.Format(time.DateOnly))
		t.dayEnd = time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, t.m.zone).UnixMilli()
		if e.Time >= t.monthEnd {
			t.months = append(t.months, local.Format("2006-01"))
			t.monthEnd = time.Date(local.Year(), local.Month()+1, 1, 0, 0, 0, 0, t.m.zone).UnixMilli()
		}
	}
	if t.totals.Messages == 0 {
		t.totals.First = time.UnixMilli(e.Time).UTC()
	}
	t.totals.Last = time.UnixMilli(e.Time).UTC()
	t.totals.Messages++
	t.totals.Bytes += e.Bytes
	t.totals.Forwarded += one(e.Rule)
	t.totals.IdentityNumbers += one(e.IdentityNumber)
	t.totals.Sensitive += one(e.Sensitive)
	const outbound, inbound, internal = 1, 2, 3
	for _, to := range e.to {
		switch sender, recipient := e.from.person >= 0, to.person >= 0; {
		case sender && recipient:
			t.add(e, e.from, internal, to.other)
			t.add(e, to, internal, e.from.other)
		case sender:
			t.add(e, e.from, outbound, to.other)
		case recipient:
			t.add(e, to, inbound, e.from.other)
		}
	}
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// add counts a message for one of ours in it, once in each cell.
func (t *mailTruth) add(e *Message, who party, direction uint8, other int16) {
	m := t.m
	pair := int16(len(m.units) + m.units[who.unit].pair)
	hour, day, month := int32(e.Time/3_600_000), int32(len(t.days)-1), int32(len(t.months)-1)
	for _, row := range [2]int16{int16(who.unit), pair} {
		for _, d := range [2]uint8{direction, 0} {
			for _, category := range [2]int16{t.category[other], -1} {
				t.cell(e, who.person, mailKey{levelMailHour, d, row, category, hour})
				t.cell(e, who.person, mailKey{levelMailDay, d, row, category, day})
				t.cell(e, who.person, mailKey{levelMailMonth, d, row, category, month})
			}
			t.cell(e, who.person, mailKey{levelMailDomainDay, d, row, t.name[other], day})
			t.cell(e, who.person, mailKey{levelMailDomainMonth, d, row, t.name[other], month})
		}
	}
}

func (t *mailTruth) cell(e *Message, person int32, k mailKey) {
	c := t.cells[k]
	if c == nil {
		c = &mailMeasures{index: int32(len(t.cells))}
		t.cells[k] = c
	}
	if c.last != e.number+1 {
		c.last = e.number + 1
		c.messages++
		c.bytes += e.Bytes
		c.forwarded += one(e.Rule)
		c.identity += one(e.IdentityNumber)
		c.sensitive += one(e.Sensitive)
	}
	p := uint64(c.index)<<32 | uint64(uint32(person))
	if _, known := t.people[p]; !known {
		t.people[p] = struct{}{}
		c.people++
	}
}

// MailTruthFor ends the run's mail and answers what was true of all that NextMessage brought, in the eyes of a reader of a format.
func (m *Municipality) MailTruthFor(f Format) *MailTruth {
	if !m.mail.ready {
		m.beginMail()
	}
	t := m.mail.truth
	t.done = true
	out := &MailTruth{Format: f.Name, Zone: TimeZone, Source: Tenants()[0].Name, Words: SensitiveWords(), Totals: t.totals, Classes: m.web.classes, of: t, format: f}
	for _, tenant := range Tenants() {
		out.Domains = append(out.Domains, tenant.Mail)
	}
	if !f.Rule {
		out.Totals.Forwarded = 0
	}
	if !f.Subject {
		out.Totals.IdentityNumbers, out.Totals.Sensitive = 0, 0
	}
	return out
}

// Cells brings every cell in which there was a message: by level, then by period.
func (t *MailTruth) Cells() iter.Seq[MailCell] {
	keys := make([]mailKey, 0, len(t.of.cells))
	for k := range t.of.cells {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b mailKey) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.period, b.period), cmp.Compare(a.row, b.row),
			cmp.Compare(a.direction, b.direction), cmp.Compare(a.other, b.other))
	})
	return func(yield func(MailCell) bool) {
		for _, k := range keys {
			if !yield(t.cell(k, t.of.cells[k])) {
				return
			}
		}
	}
}

func (t *MailTruth) cell(k mailKey, c *mailMeasures) MailCell {
	m := t.of.m
	out := MailCell{
		Level:     [...]string{LevelMailHour, LevelMailDay, LevelMailMonth, LevelMailDomainDay, LevelMailDomainMonth}[k.level],
		Direction: [...]string{"", DirectionOutbound, DirectionInbound, DirectionInternal}[k.direction],
		Messages:  c.messages, Bytes: c.bytes, People: c.people, Forwarded: c.forwarded, IdentityNumbers: c.identity, Sensitive: c.sensitive,
	}
	if !t.format.Rule {
		out.Forwarded = 0
	}
	if !t.format.Subject {
		out.IdentityNumbers, out.Sensitive = 0, 0
	}
	if units := len(m.units); int(k.row) < units {
		u := m.units[k.row]
		out.Tenant, out.Population, out.Unit = u.Tenant, u.Population, u.Name
	} else {
		p := m.pairs[int(k.row)-units]
		out.Tenant, out.Population = p.tenant, p.population
	}
	switch k.level {
	case levelMailHour:
		out.Period = time.Unix(int64(k.period)*3600, 0).UTC().Format(time.RFC3339)
	case levelMailDay, levelMailDomainDay:
		out.Period = t.of.days[k.period]
	default:
		out.Period = t.of.months[k.period]
	}
	switch {
	case k.level >= levelMailDomainDay:
		out.Domain, out.Category = t.of.names[k.other].domain, t.of.names[k.other].category
	case k.other >= 0:
		out.Category = t.of.categories[k.other]
	}
	return out
}

// Write writes all but the cells as one JSON object.
func (t *MailTruth) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return fmt.Errorf("synthetic: write the truth of mail: %w", err)
	}
	return nil
}

// WriteCells writes the cells, one JSON object a line, in the order of Cells.
func (t *MailTruth) WriteCells(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<20)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for c := range t.Cells() {
		if err := enc.Encode(&c); err != nil {
			return fmt.Errorf("synthetic: write the cells of mail: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("synthetic: write the cells of mail: %w", err)
	}
	return nil
}
