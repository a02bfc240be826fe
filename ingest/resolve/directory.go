package resolve

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gaissmai/bart"
	"golang.org/x/net/idna"
)

// maxFaults bounds how many faults of one directory are reported: a file in a wrong encoding has one in every line.
const maxFaults = 20

// maxUnit is the longest unit name, in bytes.
const maxUnit = 128

// A row is what the directory says of a key. An empty tenant means that of the source; user is the canonical name of a row
// for a user, and empty in others.
type row struct{ tenant, population, unit, user string }

type key struct{ tenant, name string }

// A bareRow stands for all rows of a tenant whose user name, without domain part, is the same.
type bareRow struct {
	row
	count int  // how many there are
	bare  bool // whether the directory writes one of them without domain part
}

// Directory maps users, subnets and mail addresses to groups. It does not change after ReadDirectory.
type Directory struct {
	users   map[key]row
	bare    map[key]bareRow
	mails   map[key]row
	subnets map[string]*bart.Table[row] // by tenant
	rows    int
}

func newDirectory() *Directory {
	return &Directory{
		users: map[key]row{}, bare: map[key]bareRow{}, mails: map[key]row{}, subnets: map[string]*bart.Table[row]{},
	}
}

// Rows is how many rows the directory has.
func (d *Directory) Rows() int { return d.rows }

func columns() []string { return []string{"user", "subnet", "mail", "tenant", "population", "unit"} }

// ReadDirectory reads a directory from CSV (RFC 4180) in UTF-8, with or without byte order mark, with ',' or ';' between
// fields. The first row names the columns, in any order:
//
//	user        user name, also DOMAIN\name or name@realm; case does not matter
//	subnet      IP network in CIDR notation, or one address
//	mail        mail address; case does not matter
//	tenant      name of a configured tenant; empty or absent: the tenant of the source
//	population  staff, elected, pupil or guest
//	unit        the group that statistics name
//
// Each row has exactly one of user, subnet and mail, and each key stands once per tenant. Errors name lines, never
// values; at most 20 faults are reported.
func ReadDirectory(r io.Reader, tenants []Tenant) (*Directory, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(in.Size())
	if err != nil && err != io.EOF && len(start) == 0 {
		return nil, fmt.Errorf("read: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		start = start[3:]
		in.Discard(3)
	}
	header, _, _ := bytes.Cut(start, []byte("\n"))
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	if bytes.IndexByte(header, ';') >= 0 {
		rows.Comma = ';'
	}

	names, err := rows.Read()
	if err == io.EOF {
		return nil, fmt.Errorf("the file is empty; its first row names the columns %s", list(columns()))
	}
	if err != nil {
		return nil, csvFault(err)
	}
	layout, err := readHeader(names)
	if err != nil {
		return nil, err
	}

	b := builder{directory: newDirectory(), tenants: map[string]Tenant{}, interned: map[string]string{}}
	for _, t := range tenants {
		b.tenants[t.Name] = t
	}
	var faults []error
	for len(faults) < maxFaults {
		record, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			faults = append(faults, csvFault(err))
			if !errors.Is(err, csv.ErrFieldCount) {
				break // after a broken quote, or a failed read, nothing is in its column
			}
			continue
		}
		if err := b.add(layout, record); err != nil {
			line, _ := rows.FieldPos(0)
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
		}
	}
	if len(faults) >= maxFaults {
		faults = append(faults, errors.New("and maybe more: only the first faults are shown"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return b.directory, nil
}

// csvFault keeps the position of a csv error and its kind; what stands in the file stays there.
func csvFault(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d: %w", p.Line, p.Err)
	}
	return fmt.Errorf("read: %w", err)
}

// layout is where each column stands, -1 for absent.
type layout struct{ user, subnet, mail, tenant, population, unit int }

func readHeader(names []string) (layout, error) {
	at := map[string]int{}
	var unknown, faults []error
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(columns(), name) {
			unknown = append(unknown, fmt.Errorf("line 1: column %d is called %q, which is unknown; known are %s", i+1, name, list(columns())))
			continue
		}
		if _, twice := at[name]; twice {
			faults = append(faults, fmt.Errorf("line 1: column %q is there twice", name))
		}
		at[name] = i
	}
	if len(at) == 0 {
		// The first row is data then, and data are not quoted.
		return layout{}, fmt.Errorf("line 1 names no column; the first row of a directory names its columns: %s", list(columns()))
	}
	faults = append(faults, unknown...)
	for _, name := range []string{"population", "unit"} {
		if _, ok := at[name]; !ok {
			faults = append(faults, fmt.Errorf("line 1: column %q is missing", name))
		}
	}
	where := func(name string) int {
		if i, ok := at[name]; ok {
			return i
		}
		return -1
	}
	l := layout{where("user"), where("subnet"), where("mail"), where("tenant"), where("population"), where("unit")}
	if l.user < 0 && l.subnet < 0 && l.mail < 0 {
		faults = append(faults, errors.New("line 1: there is no column user, subnet or mail"))
	}
	return l, errors.Join(faults...)
}

type builder struct {
	directory *Directory
	tenants   map[string]Tenant
	interned  map[string]string // tenants and units repeat in every row
}

func (b *builder) intern(text string) string {
	if kept, ok := b.interned[text]; ok {
		return kept
	}
	text = strings.Clone(text)
	b.interned[text] = text
	return text
}

func (b *builder) add(l layout, record []string) error {
	cell := func(i int) string {
		if i < 0 {
			return ""
		}
		return strings.TrimSpace(record[i])
	}
	for i, text := range record {
		if !utf8.ValidString(text) {
			return fmt.Errorf("field %d is not UTF-8", i+1)
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("field %d holds a control character", i+1)
		}
	}

	unit := cell(l.unit)
	switch {
	case unit == "":
		return errors.New("unit is empty")
	case len(unit) > maxUnit:
		return fmt.Errorf("unit is longer than %d bytes", maxUnit)
	case strings.EqualFold(unit, UnitUnknown):
		return fmt.Errorf("unit %q is reserved for people who are not in the directory", UnitUnknown)
	}
	population := cell(l.population)
	if !slices.Contains(Populations(), population) {
		return fmt.Errorf("population is not one of %s", list(Populations()))
	}
	tenant := cell(l.tenant)
	if tenant != "" {
		t, ok := b.tenants[tenant]
		if !ok {
			return errors.New("tenant is not one of the configured tenants")
		}
		if len(t.Populations) > 0 && !slices.Contains(t.Populations, population) {
			return errors.New("population is not one that its tenant has by configuration")
		}
	}
	r := row{tenant: b.intern(tenant), population: b.intern(population), unit: b.intern(unit)}

	user, subnet, mail := cell(l.user), cell(l.subnet), cell(l.mail)
	keys := 0
	for _, k := range []string{user, subnet, mail} {
		if k != "" {
			keys++
		}
	}
	if keys != 1 {
		return fmt.Errorf("the row has %d of user, subnet and mail; it needs exactly one", keys)
	}
	b.directory.rows++
	switch {
	case user != "":
		return b.directory.addUser(r, user)
	case mail != "":
		return b.directory.addMail(r, mail)
	default:
		return b.directory.addSubnet(r, subnet)
	}
}

func (d *Directory) addUser(r row, user string) error {
	name := strings.Clone(canonical(user))
	k := key{r.tenant, name}
	if _, twice := d.users[k]; twice {
		return errors.New("user stands in an earlier line too")
	}
	short, qualified := bareUser(name)
	if short == "" {
		return errors.New("user is a domain without a name")
	}
	r.user = name
	d.users[k] = r
	k.name = short
	b := d.bare[k]
	b.count++
	if b.count == 1 || !qualified {
		b.row = r
	}
	b.bare = b.bare || !qualified
	d.bare[k] = b
	return nil
}

func (d *Directory) addMail(r row, mail string) error {
	address, ok := canonicalMail(mail)
	if !ok {
		return errors.New("mail is no mail address (name@domain)")
	}
	k := key{r.tenant, strings.Clone(address)}
	if _, twice := d.mails[k]; twice {
		return errors.New("mail stands in an earlier line too")
	}
	d.mails[k] = r
	return nil
}

func (d *Directory) addSubnet(r row, subnet string) error {
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		ip, err := netip.ParseAddr(subnet)
		if err != nil || ip.Zone() != "" {
			return errors.New("subnet is no IP network in CIDR notation")
		}
		prefix = netip.PrefixFrom(ip, ip.BitLen())
	}
	if prefix.Addr().Is4In6() {
		return errors.New("subnet is IPv4 wrapped in IPv6; write it as IPv4")
	}
	if prefix != prefix.Masked() {
		return errors.New("subnet has bits set behind its prefix length")
	}
	t := d.subnets[r.tenant]
	if t == nil {
		t = new(bart.Table[row])
		d.subnets[r.tenant] = t
	}
	if _, twice := t.Get(prefix); twice {
		return errors.New("subnet stands in an earlier line too")
	}
	t.Insert(prefix, r)
	return nil
}

// canonicalMail answers the one spelling of a mail address: lower case, NFC, the domain in its ASCII form (RFC 5890).
func canonicalMail(mail string) (string, bool) {
	mail = canonical(mail)
	at := strings.LastIndexByte(mail, '@')
	if at <= 0 || at == len(mail)-1 || strings.ContainsAny(mail, " \t\r\n<>") {
		return "", false
	}
	domain, err := idna.ToASCII(mail[at+1:])
	if err != nil || domain == "" {
		return "", false
	}
	return mail[:at+1] + strings.ToLower(domain), true
}

// A scope is the tenants whose rows a source may use: its own first.
type scope struct {
	source string
	serves []string
}

// exact answers the row with that very key: of the source's tenant, else without tenant, else of the one served tenant
// that has it.
func (s scope) exact(rows map[key]row, name string) (row, bool) {
	if r, ok := rows[key{s.source, name}]; ok {
		return r, true
	}
	if r, ok := rows[key{"", name}]; ok {
		return r, true
	}
	var found row
	count := 0
	for _, t := range s.serves {
		if r, ok := rows[key{t, name}]; ok {
			found = r
			count++
		}
	}
	if count != 1 {
		return row{}, false
	}
	return found, true
}

// user finds a canonical user name: as written; else, written with a domain, the row without one; else, written without,
// the row with one. The last two only if nobody else in scope has that bare name.
func (d *Directory) user(s scope, name string) (row, bool) {
	if name == "" {
		return row{}, false
	}
	if r, ok := s.exact(d.users, name); ok {
		return r, true
	}
	short, qualified := bareUser(name)
	var found bareRow
	for i := -2; i < len(s.serves); i++ {
		k := key{s.source, short}
		switch {
		case i == -1 && s.source == "":
			continue
		case i == -1:
			k.tenant = ""
		case i >= 0:
			k.tenant = s.serves[i]
		}
		if b, ok := d.bare[k]; ok {
			b.count += found.count
			found = b
		}
	}
	if found.count != 1 || qualified && !found.bare {
		return row{}, false
	}
	return found.row, true
}

// subnet finds the most specific network of ip in scope. The source's own tenant goes before a row without tenant, and
// that before a served one; two served tenants with the same network are nobody's.
func (d *Directory) subnet(s scope, ip netip.Addr) (row, bool) {
	if !ip.IsValid() {
		return row{}, false
	}
	host := netip.PrefixFrom(ip, ip.BitLen())
	var found row
	bits, clear := -1, false
	look := func(tenant string, own bool) {
		t := d.subnets[tenant]
		if t == nil {
			return
		}
		prefix, r, ok := t.LookupPrefixLPM(host)
		switch {
		case !ok || prefix.Bits() < bits || prefix.Bits() == bits && own:
		case prefix.Bits() == bits:
			// Same network: fine below one of the source's own, a tie between served ones.
			clear = clear && (found.tenant == "" || found.tenant == s.source)
		default:
			found, bits, clear = r, prefix.Bits(), true
		}
	}
	look(s.source, true)
	if s.source != "" {
		look("", true)
	}
	for _, t := range s.serves {
		look(t, false)
	}
	if !clear {
		return row{}, false
	}
	return found, true
}

func list(names []string) string {
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
