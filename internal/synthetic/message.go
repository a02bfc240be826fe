package synthetic

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Message is one mail as it entered the municipality's servers, with everything that is true about it. Like an Event it is
// valid until the next one is asked for, unless it is copied.
type Message struct {
	Time    int64  // milliseconds since 1970-01-01 UTC at which the first row of any log names it
	ID      string // Message-ID without angle brackets
	Network string // Exchange's network-message-id
	From    string // envelope sender as written, in whatever case; empty for the null sender
	To      []string
	Subject string // in UTF-8
	Bytes   int64

	Rule           bool // a rule of the sender's, and not the sender, passed it on to an address outside
	IdentityNumber bool // Subject holds a valid personal identity number
	Sensitive      bool // Subject holds one, a card number or a sensitive word

	latin  bool   // where the format is free to, Subject is written in ISO 8859-1
	failed []bool // recipients that could not be delivered to
	source string // address of the machine that sent it
	from   party
	to     []party
	number int64
}

// A party is one side of a message.
type party struct {
	person int32 // number of one of our addresses; -1 for one outside
	unit   int32
	other  int16 // index of the domain that the other side sees
}

// A correspondent is a domain that our people write to or hear from.
type correspondent struct {
	host             string // what follows the @
	domain, category string // as the other side of a cell
}

// Names of the other side where it is nobody's domain, and of the category where it is ours.
const (
	CounterpartNone  = "(none)"   // the null sender
	CategoryInternal = "internal" // one of our own domains
)

// SensitiveWords answers the words that make a subject sensitive: of care, health, union, faith and crime. They are compared
// without case, as whole words. No subject holds any other that a reader could take for one.
func SensitiveWords() []string {
	return []string{"orosanmälan", "sjukskrivning", "skyddade personuppgifter", "läkarintyg", "facklig", "polisanmälan", "synagoga"}
}

// mailLife is what changes while mail comes and goes. It has chances of its own, so that requests are the same with and without.
type mailLife struct {
	random   *random
	ready    bool
	begin    int64 // hours, as Unix seconds
	hour     int64
	end      int64 // 0: no end but the number of messages
	target   int64 // 0: no number
	scale    uint64
	everyDay int64 // the forwarder is sure of mail on every so many days
	count    int64
	queue    []Message // of the hour, in order
	later    []Message // that start after it
	current  Message

	boxes     []mailbox
	members   [3][3][]int32 // boxes of tenant and population
	ofUnit    map[*Unit][]int32
	lists     map[*Unit]int32
	strangers [3][]int32 // addresses of ours in no directory
	others    []correspondent
	internal  [3]int16 // our own domains among others
	nobody    int16    // the null sender
	outside   map[string][]int16
	wanted    [3]choice // over outsideCategories
	forwarder int32
	private   string
	privateAt int16

	truth *mailTruth
	log   *MailLog // of Next
	lines [][]byte // that Next has not brought yet
}

// A mailbox is an address of ours.
type mailbox struct {
	address string
	unit    int32
	tenant  uint8
	given   string // as mail addresses have it
	family  string
}

// outsideCategories are what kinds of domain people write with, with the weights of staff, elected officials and pupils.
func outsideCategories() []struct {
	name    string
	weights [3]uint32
} {
	return []struct {
		name    string
		weights [3]uint32
	}{
		{"public_sector", [3]uint32{290, 260, 60}}, {"business", [3]uint32{240, 60, 20}}, {CategoryUncategorised, [3]uint32{200, 160, 80}},
		{"webmail", [3]uint32{110, 120, 300}}, {"education", [3]uint32{50, 20, 260}}, {"bank", [3]uint32{30, 20, 10}}, {"press", [3]uint32{30, 90, 10}},
		{"shopping", [3]uint32{30, 20, 60}}, {"travel", [3]uint32{15, 20, 5}}, {"union", [3]uint32{20, 20, 1}}, {"health", [3]uint32{25, 10, 10}},
		{"politics", [3]uint32{2, 180, 1}}, {"forums", [3]uint32{6, 4, 20}}, {"gambling", [3]uint32{6, 2, 2}}, {"crisis", [3]uint32{3, 2, 4}},
	}
}

// mailsADay is how many messages one person of a population causes on a workday.
func mailsADay(population int) uint64 { return [3]uint64{11, 6, 2}[population] }

// mailingLists answers the lists that units have, which are addresses of their own in the directory.
func (m *Municipality) mailingLists() map[*Unit]string {
	lists := map[*Unit]string{}
	for _, u := range m.units {
		if len(u.people) < 10 || u.guest || u.Population == PopulationPupil {
			continue
		}
		for _, t := range Tenants() {
			if t.Name == u.Tenant {
				name := strings.NewReplacer(" ", "-", ",", "").Replace(plainLetters(u.Name))
				lists[u] = "alla-" + name + "@" + t.Mail
			}
		}
	}
	return lists
}

// beginMail prepares who writes to whom, and how much.
func (m *Municipality) beginMail() {
	l := &m.mail
	l.ready = true
	l.random = newRandom(m.config.Seed, 4)
	r := l.random
	l.begin = m.simulation.begin
	l.hour = l.begin
	l.ofUnit, l.lists, l.outside = map[*Unit][]int32{}, map[*Unit]int32{}, map[string][]int16{}
	add := func(b mailbox) int32 {
		l.boxes = append(l.boxes, b)
		return int32(len(l.boxes) - 1)
	}
	for i := range m.people {
		p := &m.people[i]
		if !p.Known || p.Mail == "" || p.population > popPupil {
			continue
		}
		box := add(mailbox{p.Mail, int32(p.Unit.index), p.tenant, plainLetters(p.Given), plainLetters(p.Family)})
		l.members[p.tenant][p.population] = append(l.members[p.tenant][p.population], box)
		l.ofUnit[p.Unit] = append(l.ofUnit[p.Unit], box)
	}
	lists := m.mailingLists()
	for _, u := range m.units {
		if address, ok := lists[u]; ok {
			t := slices.IndexFunc(Tenants(), func(t Tenant) bool { return t.Name == u.Tenant })
			l.lists[u] = add(mailbox{address: address, unit: int32(u.index), tenant: uint8(t)})
		}
	}
	for t, tenant := range Tenants() {
		l.internal[t] = m.addOther(tenant.Mail, tenant.Mail, CategoryInternal)
		for _, name := range []string{"skanner-1", "skanner-2", "passersystem", "registrator.gamla"} {
			// unit 0 is the unknown one
			l.strangers[t] = append(l.strangers[t], add(mailbox{address: name + "@" + tenant.Mail, tenant: uint8(t)}))
		}
	}
	l.nobody = m.addOther("", CounterpartNone, CategoryUncategorised)
	var weights [3][]uint32
	for _, c := range outsideCategories() {
		for p := range weights {
			weights[p] = append(weights[p], c.weights[p])
		}
		domains := slices.Clone(m.web.lists[c.name])
		if c.name == CategoryUncategorised {
			for i := range 60 {
				domains = append(domains, fmt.Sprintf("leverantor-%d.example", i+1))
			}
			domains = append(domains, "okand.co.uk", "forening.pp.se")
		}
		for i, domain := range domains {
			_, err := netip.ParseAddr(domain)
			// the sites of the municipalities stand in lists as well
			if err == nil || slices.ContainsFunc(Tenants(), func(t Tenant) bool { return t.Mail == registrable(domain) }) {
				continue
			}
			for _, host := range []string{domain, []string{"mail.", "utskick.", "post."}[i%3] + domain} {
				category := m.web.categoryOf(host)
				name := registrable(host)
				if m.web.classes[category] == ClassProtected {
					name = DomainProtected
				}
				l.outside[c.name] = append(l.outside[c.name], m.addOther(host, name, category))
			}
		}
		shuffle(r, l.outside[c.name])
	}
	for p := range weights {
		l.wanted[p] = newChoice(weights[p])
	}
	// Somebody whose mail goes home by itself.
	at := slices.IndexFunc(m.units, func(u *Unit) bool { return u.Tenant == Tenants()[0].Name && u.Name == "Upphandlingsenheten" })
	l.forwarder = l.ofUnit[m.units[at]][0]
	l.private = "privat." + strings.SplitN(l.boxes[l.forwarder].address, "@", 2)[0] + "@gmail.com"
	l.privateAt = m.addOther("gmail.com", "gmail.com", m.web.categoryOf("gmail.com"))

	l.scale, l.everyDay = 1_000_000, 1
	l.end = m.simulation.begin
	if from, err := time.ParseInLocation(time.DateOnly, m.config.From, m.zone); err == nil {
		l.end = from.AddDate(0, 0, m.config.Days).Unix()
	}
	if m.config.Lines > 0 {
		l.target = max(m.config.Lines/10, 1)
		var expected uint64 // messages in thousandths
		for d := range m.config.Days {
			day := time.Unix(l.begin, 0).In(m.zone).AddDate(0, 0, d).Weekday()
			for t := range l.members {
				for p, members := range l.members[t] {
					for _, w := range rhythmOf(p, day) {
						expected += mailsADay(p) * uint64(len(members)) * uint64(w) * 1000 / workdaySum(p)
					}
				}
			}
		}
		l.scale = max(uint64(l.target)*1_020_000_000/max(expected, 1), 1)
		l.end = 0
		// what the rule sends on must not be most of it
		l.everyDay = 1 + int64(m.config.Days)*24/l.target
	}
	l.truth = newMailTruth(m)
}

// addOther answers the index of a correspondent.
func (m *Municipality) addOther(host, domain, category string) int16 {
	l := &m.mail
	if at := slices.IndexFunc(l.others, func(o correspondent) bool { return o.host == host && o.category == category }); at >= 0 {
		return int16(at)
	}
	l.others = append(l.others, correspondent{host, domain, category})
	return int16(len(l.others) - 1)
}

// NextMessage brings the next message, in the order of time, and counts it into the truth of mail. It answers false at the end of
// the run. With Config.Lines there is one message for every ten of them.
func (m *Municipality) NextMessage() (*Message, bool) {
	l := &m.mail
	if !l.ready {
		m.beginMail()
	}
	for len(l.queue) == 0 {
		if l.truth.done || l.target > 0 && l.count >= l.target || l.end > 0 && l.hour >= l.end && len(l.later) == 0 {
			return nil, false
		}
		m.mailHour()
	}
	if l.truth.done || l.target > 0 && l.count >= l.target {
		return nil, false
	}
	l.current = l.queue[0]
	l.queue = l.queue[1:]
	l.current.number = l.count
	l.count++
	l.truth.count(&l.current)
	return &l.current, true
}

// mailHour decides what is sent in the next hour.
func (m *Municipality) mailHour() {
	l, r := &m.mail, m.mail.random
	l.queue, l.later = l.later, nil
	local := time.Unix(l.hour, 0).In(m.zone)
	if l.end == 0 || l.hour < l.end {
		for t := range l.members {
			for p, members := range l.members[t] {
				if len(members) == 0 {
					continue
				}
				// millionths of messages this hour
				rate := mailsADay(p) * uint64(len(members)) * uint64(rhythmOf(p, local.Weekday())[local.Hour()]) * l.scale / workdaySum(p)
				n := rate / 1_000_000
				if uint64(r.below(1_000_000)) < rate%1_000_000 {
					n++
				}
				for range n {
					who := members[min(r.below(uint32(len(members))), r.below(uint32(len(members))))]
					m.compose(who, p, l.hour*1000+int64(r.below(3_600_000)))
				}
			}
		}
		workday := local.Weekday() != time.Saturday && local.Weekday() != time.Sunday || l.hour < l.begin+86_400
		if h := local.Hour(); workday && (l.hour-l.begin)/86_400%l.everyDay == 0 && (h == 9 || h == 11 || h == 14) {
			m.arrive(l.forwarder, popStaff, l.hour*1000+int64(r.below(3_600_000)))
		}
	}
	slices.SortStableFunc(l.queue, func(a, b Message) int { return cmp.Compare(a.Time, b.Time) })
	l.hour += 3600
	cut, _ := slices.BinarySearchFunc(l.queue, l.hour*1000, func(e Message, t int64) int { return cmp.Compare(e.Time, t) })
	l.later = slices.Clone(l.queue[cut:])
	l.queue = l.queue[:cut]
}

// compose is one message that somebody causes.
func (m *Municipality) compose(who int32, population int, at int64) {
	l, r := &m.mail, m.mail.random
	box := &l.boxes[who]
	msg := m.newMessage(at)
	switch n := r.below(1000); {
	case n < 350: // to colleagues
		m.sendFrom(&msg, who)
		for range 1 + r.heavy(1)*r.below(2) {
			m.addRecipient(&msg, m.colleague(who, population))
		}
	case n < 390: // to a list
		m.sendFrom(&msg, who)
		if list, ok := l.lists[m.units[box.unit]]; ok {
			m.addRecipient(&msg, list)
		} else {
			m.addRecipient(&msg, m.colleague(who, population))
		}
	case n < 580, n < 630: // out, and both out and in
		m.sendFrom(&msg, who)
		for range 1 + r.below(2)*r.below(3) {
			m.addOutside(&msg, population)
		}
		if n >= 580 {
			for range 1 + r.below(3) {
				m.addRecipient(&msg, m.colleague(who, population))
			}
		}
		if r.chance(30) && msg.to[0].person < 0 {
			msg.failed[0] = true
		}
	case n < 940:
		m.arrive(who, population, at)
		return
	case n < 960: // a machine of ours that no directory knows
		strangers := l.strangers[box.tenant]
		m.sendFrom(&msg, strangers[r.below(3)])
		m.addRecipient(&msg, who)
	case n < 975: // an address of ours that no directory knows any more
		m.sendOutside(&msg, population)
		m.addRecipient(&msg, l.strangers[box.tenant][3])
		m.addRecipient(&msg, who)
	case n < 995: // an answer by a machine
		msg.from, msg.source = party{-1, 0, l.nobody}, siteAddress
		msg.Subject, msg.IdentityNumber, msg.Sensitive = "Autosvar: Frånvarande", false, false
		m.addRecipient(&msg, who)
	default: // what spammers make of us
		msg.from, msg.source = party{-1, 0, l.nobody}, proxyAddress
		msg.Subject, msg.IdentityNumber, msg.Sensitive = "Undelivered Mail Returned to Sender", false, false
		m.addOutside(&msg, population)
	}
	m.send(msg)
}

// arrive is one message from outside.
func (m *Municipality) arrive(who int32, population int, at int64) {
	r := m.mail.random
	msg := m.newMessage(at)
	m.sendOutside(&msg, population)
	m.addRecipient(&msg, who)
	if r.chance(150) {
		for range 1 + r.below(3) {
			m.addRecipient(&msg, m.colleague(who, population))
		}
	}
	m.send(msg)
}

// send puts a message into the queue, and what follows from it by itself.
func (m *Municipality) send(msg Message) {
	l, r := &m.mail, m.mail.random
	if r.chance(30) {
		msg.From = shouted(msg.From)
		for i := range msg.To {
			msg.To[i] = shouted(msg.To[i])
		}
	}
	l.queue = append(l.queue, msg)
	for i, to := range msg.to {
		if to.person == l.forwarder && !msg.Rule {
			on := m.newMessage(msg.Time + 700 + int64(r.below(3_000)))
			on.Rule = true
			on.Subject, on.IdentityNumber, on.Sensitive, on.latin = "VB: "+msg.Subject, msg.IdentityNumber, msg.Sensitive, msg.latin
			on.Bytes = msg.Bytes + 900
			m.sendFrom(&on, l.forwarder)
			on.To, on.to, on.failed = []string{l.private}, []party{{-1, 0, l.privateAt}}, []bool{false}
			l.queue = append(l.queue, on)
		}
		if msg.failed[i] && msg.from.person >= 0 {
			back := m.newMessage(msg.Time + 1_500 + int64(r.below(40_000)))
			back.from, back.source = party{-1, 0, l.nobody}, proxyAddress
			back.Subject, back.IdentityNumber, back.Sensitive = "Undeliverable: "+msg.Subject, msg.IdentityNumber, msg.Sensitive
			back.latin = msg.latin
			m.addRecipient(&back, msg.from.person)
			l.queue = append(l.queue, back)
		}
	}
}

// shouted writes an address with capital letters where none belong.
func shouted(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	if domain == "" {
		return address
	}
	return mixedCase(local) + "@" + strings.ToUpper(domain[:1]) + domain[1:]
}

// newMessage answers a message with all but its parties.
func (m *Municipality) newMessage(at int64) Message {
	r := m.mail.random
	msg := Message{Time: at, Bytes: int64(2_000 + r.heavy(24_000))}
	if r.chance(120) {
		msg.Bytes += int64(r.heavy(900_000))
	}
	a, b := r.pcg.Uint64(), r.pcg.Uint64()
	msg.Network = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
	msg.ID = strings.ToUpper(strconv.FormatUint(a, 16)) + "." + strconv.FormatUint(b>>20, 36)
	msg.Subject, msg.IdentityNumber, msg.Sensitive = subjectLine(r)
	if m.config.Latin1 > 0 {
		msg.latin = r.below(1_000_000) < uint32(m.config.Latin1*1_000_000) && latin1(msg.Subject) != msg.Subject
	}
	return msg
}

func (m *Municipality) sendFrom(msg *Message, box int32) {
	b := &m.mail.boxes[box]
	msg.From, msg.from = b.address, party{box, b.unit, m.mail.internal[b.tenant]}
	msg.ID += "@post." + Tenants()[b.tenant].Mail
	msg.source = "10." + strconv.Itoa(16+8*int(b.tenant)) + ".1." + strconv.Itoa(int(box%200)+10)
}

func (m *Municipality) sendOutside(msg *Message, population int) {
	msg.From, msg.from.other = m.stranger(population)
	msg.from.person = -1
	msg.ID += "@" + m.mail.others[msg.from.other].host
	msg.source = "198.18.240." + strconv.Itoa(int(msg.from.other)%200+10)
}

// addRecipient adds one of ours, once.
func (m *Municipality) addRecipient(msg *Message, box int32) {
	if slices.ContainsFunc(msg.to, func(p party) bool { return p.person == box }) {
		return
	}
	b := &m.mail.boxes[box]
	msg.To, msg.to, msg.failed = append(msg.To, b.address), append(msg.to, party{box, b.unit, m.mail.internal[b.tenant]}), append(msg.failed, false)
}

func (m *Municipality) addOutside(msg *Message, population int) {
	address, other := m.stranger(population)
	if slices.Contains(msg.To, address) {
		return
	}
	msg.To, msg.to, msg.failed = append(msg.To, address), append(msg.to, party{-1, 0, other}), append(msg.failed, false)
}

// stranger answers an address outside.
func (m *Municipality) stranger(population int) (address string, other int16) {
	l, r := &m.mail, m.mail.random
	category := outsideCategories()[l.wanted[population].draw(r)].name
	hosts := l.outside[category]
	other = hosts[min(r.below(uint32(len(hosts))), r.below(uint32(len(hosts))), r.below(uint32(len(hosts))))]
	host := l.others[other].host
	if strings.HasPrefix(host, "utskick.") || r.chance(200) {
		return []string{"info", "noreply", "nyhetsbrev", "kontakt", "faktura"}[r.below(5)] + "@" + host, other
	}
	name := &l.boxes[r.below(uint32(len(l.boxes)))] // names of ours will do for others: they are the same people's names
	if name.given == "" {
		return "kontakt@" + host, other
	}
	return name.given + "." + name.family + strconv.Itoa(int(r.below(90))+10) + "@" + host, other
}

// colleague answers somebody whom a person writes to: of the same unit, of the same tenant, of another.
func (m *Municipality) colleague(who int32, population int) int32 {
	l, r := &m.mail, m.mail.random
	box := &l.boxes[who]
	from := l.ofUnit[m.units[box.unit]]
	switch n := r.below(100); {
	case n < 25 || len(from) < 2:
		from = l.members[box.tenant][population]
	case n < 32:
		from = l.members[r.below(3)][popStaff]
	}
	if len(from) == 0 {
		from = l.members[0][popStaff]
	}
	return from[r.below(uint32(len(from)))]
}
