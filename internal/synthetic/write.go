package synthetic

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// databaseEpoch is the build time in the country database: a clock would change its bytes.
const databaseEpoch = 1_767_225_600 // 2026-01-01

// Config answers what the municipality was built from.
func (m *Municipality) Config() Config { return m.config }

// Units answers all units of the directory, and the unknown one first.
func (m *Municipality) Units() []*Unit { return m.units }

// People answers everybody, machines and those that no directory knows among them.
func (m *Municipality) People() []Person { return m.people }

// Hosts answers every host that is asked for anything.
func (m *Municipality) Hosts() []Host { return m.web.hosts }

// Lists answers the domains of each category, sorted. A domain stands for itself and all below it.
func (m *Municipality) Lists() map[string][]string { return m.web.lists }

// Classes answers the policy class of each category.
func (m *Municipality) Classes() map[string]string { return m.web.classes }

// WriteDirectory writes who belongs where, as CSV with the columns user, subnet, mail, tenant, population and unit. Each row
// has exactly one of the first three.
func (m *Municipality) WriteDirectory(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"user", "subnet", "mail", "tenant", "population", "unit"})
	for _, u := range m.units {
		for _, s := range u.Subnets {
			out.Write([]string{"", s.String(), "", u.Tenant, u.Population, u.Name})
		}
	}
	for i := range m.people {
		if p := &m.people[i]; p.Known {
			out.Write([]string{p.User, "", "", p.Unit.Tenant, p.Unit.Population, p.Unit.Name})
			out.Write([]string{"", "", p.Mail, p.Unit.Tenant, p.Unit.Population, p.Unit.Name})
		}
	}
	lists := m.mailingLists()
	for _, u := range m.units {
		if address, ok := lists[u]; ok {
			out.Write([]string{"", "", address, u.Tenant, u.Population, u.Name})
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("synthetic: write the directory: %w", err)
	}
	return nil
}

// WriteLists writes each category as dir/<category>.txt, one domain a line.
func (m *Municipality) WriteLists(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("synthetic: make the folder of lists: %w", err)
	}
	for category, domains := range m.web.lists {
		text := strings.Join(domains, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, category+".txt"), []byte(text), 0o644); err != nil {
			return fmt.Errorf("synthetic: write a list: %w", err)
		}
	}
	return nil
}

// WriteCountries writes the country of every destination as a MaxMind DB of type GeoLite2-Country. Its networks are those
// for benchmarks and documentation (RFC 2544, RFC 3849): it says nothing about the real world.
func (m *Municipality) WriteCountries(w io.Writer) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:              databaseEpoch,
		DatabaseType:            "GeoLite2-Country",
		Description:             map[string]string{"en": "countries of a synthetic municipality's destinations"},
		IncludeReservedNetworks: true,
		IPVersion:               6,
		Languages:               []string{"en"},
		RecordSize:              24,
	})
	if err != nil {
		return fmt.Errorf("synthetic: make the country database: %w", err)
	}
	for i, code := range m.web.countries[:len(m.web.countries)-1] {
		record := mmdbtype.Map{"country": mmdbtype.Map{
			"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String(code)},
		}}
		for _, p := range []netip.Prefix{blockV4(i), blockV6(i)} {
			network := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
			if err := tree.Insert(network, record); err != nil {
				return fmt.Errorf("synthetic: fill the country database: %w", err)
			}
		}
	}
	if _, err := tree.WriteTo(w); err != nil {
		return fmt.Errorf("synthetic: write the country database: %w", err)
	}
	return nil
}

// Write writes all but the cells as one JSON object.
func (t *Truth) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return fmt.Errorf("synthetic: write the truth: %w", err)
	}
	return nil
}

// WriteCells writes the cells, one JSON object a line, in the order of Cells.
func (t *Truth) WriteCells(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<20)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for c := range t.Cells() {
		if err := enc.Encode(&c); err != nil {
			return fmt.Errorf("synthetic: write the truth's cells: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("synthetic: write the truth's cells: %w", err)
	}
	return nil
}

// WriteConfig writes a tillsyn.yaml that reads what was generated, from the folder that it stands in: directory, country
// database, lists, and one source for each format with a topic of its name, from a Kafka on this machine.
func (m *Municipality) WriteConfig(w io.Writer, formats []Format) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# What 'tillsyn generate' wrote, as configuration. Nobody in it exists.\n# Seed %d, %d people, from %s.\n",
		m.config.Seed, m.config.People, m.config.From)
	fmt.Fprint(out, "resolve:\n  directory: directory.csv\n  country: country.mmdb\n  tenants:\n")
	for i, t := range Tenants() {
		fmt.Fprintf(out, "    - name: %s\n      time_zone: %s\n", t.Name, TimeZone)
		if i == 0 {
			fmt.Fprintf(out, "      serves: [%s, %s]\n", Tenants()[1].Name, Tenants()[2].Name)
		}
	}
	categories := slices.Sorted(maps.Keys(m.web.lists))
	fmt.Fprint(out, "lists:\n  builtin: false # the truth knows the lists below and no other\n  classes:\n")
	for _, c := range categories {
		fmt.Fprintf(out, "    %s: %s\n", c, m.web.classes[c])
	}
	fmt.Fprint(out, "  lists:\n")
	for _, c := range categories {
		fmt.Fprintf(out, "    - name: synthetic-%s\n      source: lists/%s.txt\n      format: domains\n      category: %s\n", c, c, c)
	}
	fmt.Fprint(out, "kafka:\n  brokers: [\"127.0.0.1:9092\"]\n  cluster: synthetic\ningest:\n  sources:\n")
	for _, f := range formats {
		zone := TimeZone
		if f.UTC {
			zone = "UTC"
		}
		fmt.Fprintf(out, "    - topic: %s\n      tenant: %s\n      format: %s\n      time_zone: %s\n", f.Name, Tenants()[0].Name, f.Reader, zone)
		if f.Spec != "" {
			fmt.Fprintf(out, "      logformat: '%s'\n", strings.ReplaceAll(f.Spec, "'", "''"))
		}
		if f.Layout != "" {
			fmt.Fprintf(out, "      layout: '%s'\n", f.Layout)
		}
		if f.Mail {
			fmt.Fprintf(out, "      internal_domains: [%s, %s, %s]\n", Tenants()[0].Mail, Tenants()[1].Mail, Tenants()[2].Mail)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("synthetic: write the configuration: %w", err)
	}
	return nil
}
