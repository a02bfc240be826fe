package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tillsyn/internal/clickhouse"
	"tillsyn/internal/seal"
)

// The directions of mail, seen from the organisation.
const (
	Inbound  = "inbound"
	Outbound = "outbound"
	Internal = "internal"
)

// Message is what one row of a mail log says of a message and of one person of ours in it, who sent or received it.
type Message struct {
	Time      int64  // milliseconds since 1970 UTC
	ID        []byte // what tells the message from others in all rows and logs; it leaves as tokens only
	Subject   []byte // the person's identity; it leaves as tokens only; empty if the log does not say who it was
	Group     Group
	Direction string // Inbound, Outbound or Internal
	Domain    string // of the other side, as it may be shown
	Category  string // of that domain, never empty
	Bytes     uint64

	Forwarded      bool // a rule passed it on to the outside
	IdentityNumber bool // there is one in the subject line
	Sensitive      bool // there is anything sensitive in the subject line, an identity number included
}

// MailRollup gathers the mail of one batch. It is not safe for concurrent use.
type MailRollup struct {
	key        seal.StatisticsKey
	tokenizers map[seal.Month]*seal.Tokenizer
	days       dayFinder
	tables     map[string]map[mailKey]*mailCell
	size       int
}

type mailKey struct {
	day                                 int32
	hour                                int64
	tenant, population, unit, direction string
	domain, category                    string // domain is empty in mail_hourly
}

type mailCell struct {
	block                                        seal.CellBlock
	people, forwarded, identityNumber, sensitive map[uint64]struct{}
	messages                                     map[uint64]uint64 // token to bytes
}

const (
	mailHourly  = "mail_hourly"
	mailDomains = "mail_domains_daily"
)

// NewMailRollup makes an empty rollup whose tokens are made with key.
func NewMailRollup(key seal.StatisticsKey) *MailRollup {
	r := &MailRollup{key: key, tokenizers: map[seal.Month]*seal.Tokenizer{}}
	r.Reset()
	return r
}

// Reset empties r.
func (r *MailRollup) Reset() {
	r.tables = map[string]map[mailKey]*mailCell{mailHourly: {}, mailDomains: {}}
	r.days, r.size = dayFinder{}, 0
}

// Grains is how much r holds: the tokens of its cells, the measure of its memory.
func (r *MailRollup) Grains() int { return r.size }

// Add counts what a row says. Saying it again changes nothing. It fails with [seal.ErrForgotten] when the message is older
// than the key.
func (r *MailRollup) Add(m Message) error {
	day := r.days.find(m.Group.Zone, uint32(floorDiv(m.Time, slotSeconds*1000)))
	month := seal.MonthOf(dayTime(day))
	tk, ok := r.tokenizers[month]
	if !ok {
		var err error
		if tk, err = r.key.Tokenizer(month); err != nil {
			return fmt.Errorf("count mail of %s: %w", month, err)
		}
		r.tokenizers[month] = tk
	}
	person, message := tk.Subject(m.Group.Tenant, m.Subject), tk.Message(m.Group.Tenant, m.ID)
	k := mailKey{day: day, tenant: m.Group.Tenant, population: m.Group.Population}
	for _, k.unit = range [2]string{m.Group.Unit, ""} {
		for _, k.direction = range [2]string{m.Direction, ""} {
			k.hour, k.domain = 0, m.Domain
			k.category = m.Category
			r.add(mailDomains, k, tk, person, message, m)
			k.hour, k.domain = floorDiv(m.Time, 3_600_000), ""
			r.add(mailHourly, k, tk, person, message, m)
			k.category = ""
			r.add(mailHourly, k, tk, person, message, m)
		}
	}
	return nil
}

func (r *MailRollup) add(table string, k mailKey, tk *seal.Tokenizer, person seal.SubjectBlock, message seal.MessageBlock, m Message) {
	c, ok := r.tables[table][k]
	if !ok {
		// No time in the name of a cell: see table.canonical.
		name := []string{table, k.tenant, k.population, k.unit, k.direction, k.category}
		if table == mailDomains {
			name = append(name, k.domain)
		}
		c = &mailCell{block: seal.Cell(name...), people: map[uint64]struct{}{}, messages: map[uint64]uint64{}}
		r.tables[table][k] = c
	}
	before := len(c.people) + len(c.messages)
	if len(m.Subject) > 0 {
		c.people[tk.People(person, c.block)] = struct{}{}
	}
	token := tk.Mail(message, c.block)
	c.messages[token] = max(c.messages[token], m.Bytes)
	for _, f := range []struct {
		is  bool
		set *map[uint64]struct{}
	}{{m.Forwarded, &c.forwarded}, {m.IdentityNumber, &c.identityNumber}, {m.Sensitive, &c.sensitive}} {
		if f.is {
			if *f.set == nil {
				*f.set = map[uint64]struct{}{}
			}
			(*f.set)[token] = struct{}{}
		}
	}
	r.size += len(c.people) + len(c.messages) - before
}

// Blocks answers one block for each day that r has mail of and each table of mail.
func (r *MailRollup) Blocks(w Watermark) []Block {
	var out []Block
	for _, day := range r.days.all() {
		out = append(out, r.block(mailHourly, day, w), r.block(mailDomains, day, w))
	}
	return out
}

func (r *MailRollup) block(table string, day int32, w Watermark) Block {
	var keys []mailKey
	for k := range r.tables[table] {
		if k.day == day {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b mailKey) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.population, b.population), cmp.Compare(a.unit, b.unit),
			cmp.Compare(a.direction, b.direction), cmp.Compare(a.category, b.category), cmp.Compare(a.domain, b.domain), cmp.Compare(a.hour, b.hour))
	})
	rows := len(keys) + 1
	epoch := time.Unix(0, 0).UTC()
	days, hours, begunAt := make([]time.Time, rows), make([]time.Time, rows), make([]time.Time, rows)
	for i := range rows {
		days[i], hours[i], begunAt[i] = dayTime(day), epoch, epoch
	}
	marks, next := make([]uint64, rows), make([]uint64, rows)
	marks[0], next[0], begunAt[0] = w.Mark, w.Next, w.BegunAt.UTC().Truncate(time.Second)
	var text [6][]string // tenant, population, unit, direction, category, domain
	for i := range text {
		text[i] = make([]string, rows)
	}
	var people, messages, bytes, forwarded, identityNumber, sensitive clickhouse.Arrays
	for _, a := range []*clickhouse.Arrays{&people, &messages, &bytes, &forwarded, &identityNumber, &sensitive} {
		a.Append()
	}
	for i, k := range keys {
		row := i + 1
		c := r.tables[table][k]
		for j, s := range []string{k.tenant, k.population, k.unit, k.direction, k.category, k.domain} {
			text[j][row] = s
		}
		if table == mailHourly {
			hours[row] = time.Unix(k.hour*3600, 0).UTC()
		}
		people.Append(tokens(c.people)...)
		forwarded.Append(tokens(c.forwarded)...)
		identityNumber.Append(tokens(c.identityNumber)...)
		sensitive.Append(tokens(c.sensitive)...)
		ids := tokens(c.messages)
		messages.Append(ids...)
		for _, id := range ids {
			bytes.Values = append(bytes.Values, c.messages[id])
		}
		bytes.Ends = append(bytes.Ends, uint64(len(bytes.Values)))
	}
	columns := []any{days, marks, text[0], text[1], text[2], text[3], text[4]}
	if table == mailHourly {
		columns = append(columns, hours)
	} else {
		columns = append(columns, text[5])
	}
	columns = append(columns, people, messages, bytes, forwarded, identityNumber, sensitive, next, begunAt)
	return Block{Table: table, Day: dayTime(day), Columns: columns, Rows: rows}
}

// tokens are the keys of a set in order, so that the same batch makes the same block.
func tokens[V any](set map[uint64]V) []uint64 {
	out := make([]uint64, 0, len(set))
	for t := range set {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}
