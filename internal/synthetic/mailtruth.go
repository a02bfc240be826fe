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

// A mailKey names a cell of an open period by numbers: row as in stored, other an index into names at the domain levels, else of
// the category in categories, -1 for all.
type mailKey struct {
	row       int16
	other     int16
	direction uint8 // 0: all
}

type mailMeasures struct {
	messages, bytes, people, forwarded, identity, sensitive int64
	last                                                    int64 // the message that was counted last, plus 1
	index                                                   int32
}

// A mailPeriod is the cells of one level whose period is not over.
type mailPeriod struct {
	period int32 // hour of the epoch, UTC; day and month: index into names
	cells  map[mailKey]*mailMeasures
	people map[uint64]struct{} // cell and person
}

// A mailStored is a finished cell.
type mailStored struct {
	key    mailKey
	level  uint8
	period int32
	mailMeasures
}

const (
	levelMailHour = iota
	levelMailDay
	levelMailMonth
	levelMailDomainDay
	levelMailDomainMonth
	mailLevels
)

// mailTruth counts while mail comes and goes.
type mailTruth struct {
	m                         *Municipality
	open                      [mailLevels]mailPeriod
	cells                     []mailStored
	days, months              []string
	hourEnd, dayEnd, monthEnd int64
	categories                []string
	names                     []correspondent // distinct pairs of domain and category
	category                  []int16         // of each correspondent
	name                      []int16
	totals                    MailTotals
	done                      bool
}

func newMailTruth(m *Municipality) *mailTruth {
	t := &mailTruth{m: m}
	for level := range t.open {
		t.open[level] = mailPeriod{-1, map[mailKey]*mailMeasures{}, map[uint64]struct{}{}}
	}
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
	if e.Time >= t.hourEnd {
		t.turn(e.Time)
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
	for _, row := range [2]int16{int16(who.unit), pair} {
		for _, d := range [2]uint8{direction, 0} {
			for _, category := range [2]int16{t.category[other], -1} {
				for level := range levelMailDomainDay {
					t.open[level].add(e, who.person, mailKey{row, category, d})
				}
			}
			t.open[levelMailDomainDay].add(e, who.person, mailKey{row, t.name[other], d})
			t.open[levelMailDomainMonth].add(e, who.person, mailKey{row, t.name[other], d})
		}
	}
}

func (p *mailPeriod) add(e *Message, person int32, k mailKey) {
	c := p.cells[k]
	if c == nil {
		c = &mailMeasures{index: int32(len(p.cells))}
		p.cells[k] = c
	}
	if c.last != e.number+1 {
		c.last = e.number + 1
		c.messages++
		c.bytes += e.Bytes
		c.forwarded += one(e.Rule)
		c.identity += one(e.IdentityNumber)
		c.sensitive += one(e.Sensitive)
	}
	who := uint64(c.index)<<32 | uint64(uint32(person))
	if _, known := p.people[who]; !known {
		p.people[who] = struct{}{}
		c.people++
	}
}

// turn closes the periods that are over and opens those of a time in milliseconds.
func (t *mailTruth) turn(millis int64) {
	local := time.UnixMilli(millis).In(t.m.zone)
	t.close(levelMailHour, int32(millis/3_600_000))
	t.hourEnd = (millis/3_600_000 + 1) * 3_600_000 // an hour lies in one day: see truth.turn
	if millis < t.dayEnd {
		return
	}
	t.days = append(t.days, local.Format(time.DateOnly))
	t.close(levelMailDay, int32(len(t.days)-1))
	t.close(levelMailDomainDay, int32(len(t.days)-1))
	t.dayEnd = time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, t.m.zone).UnixMilli()
	if millis < t.monthEnd {
		return
	}
	t.months = append(t.months, local.Format("2006-01"))
	t.close(levelMailMonth, int32(len(t.months)-1))
	t.close(levelMailDomainMonth, int32(len(t.months)-1))
	t.monthEnd = time.Date(local.Year(), local.Month()+1, 1, 0, 0, 0, 0, t.m.zone).UnixMilli()
}

// close stores the cells of a level and opens its next period.
func (t *mailTruth) close(level int, next int32) {
	p := &t.open[level]
	begin := len(t.cells)
	for k, c := range p.cells {
		t.cells = append(t.cells, mailStored{k, uint8(level), p.period, *c})
	}
	slices.SortFunc(t.cells[begin:], func(a, b mailStored) int {
		return cmp.Or(cmp.Compare(a.key.row, b.key.row), cmp.Compare(a.key.direction, b.key.direction), cmp.Compare(a.key.other, b.key.other))
	})
	clear(p.cells)
	clear(p.people)
	p.period = next
}

// MailTruthFor ends the run's mail and answers what was true of all that NextMessage brought, in the eyes of a reader of a format.
func (m *Municipality) MailTruthFor(f Format) *MailTruth {
	if !m.mail.ready {
		m.beginMail()
	}
	t := m.mail.truth
	if !t.done {
		t.done = true
		for level := range mailLevels {
			t.close(level, -1)
		}
		slices.SortStableFunc(t.cells, func(a, b mailStored) int { return int(a.level) - int(b.level) })
	}
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
	return func(yield func(MailCell) bool) {
		for i := range t.of.cells {
			if !yield(t.cell(&t.of.cells[i])) {
				return
			}
		}
	}
}

func (t *MailTruth) cell(c *mailStored) MailCell {
	m, k := t.of.m, c.key
	out := MailCell{
		Level:     [...]string{LevelMailHour, LevelMailDay, LevelMailMonth, LevelMailDomainDay, LevelMailDomainMonth}[c.level],
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
	switch c.level {
	case levelMailHour:
		out.Period = time.Unix(int64(c.period)*3600, 0).UTC().Format(time.RFC3339)
	case levelMailDay, levelMailDomainDay:
		out.Period = t.of.days[c.period]
	default:
		out.Period = t.of.months[c.period]
	}
	switch {
	case c.level >= levelMailDomainDay:
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
