package resolve

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
	_ "time/tzdata" // a container image has no zone files, and local days must not depend on it
)

// The populations of people, one of which every Who has. PopulationUnknown is reserved: a directory cannot give it.
const (
	PopulationStaff   = "staff"   // employed
	PopulationElected = "elected" // elected officials
	PopulationPupil   = "pupil"   // pupils
	PopulationGuest   = "guest"   // the open network
	PopulationUnknown = "unknown" // not in the directory
)

// UnitUnknown is the unit of those who are not in the directory. It is reserved: a directory cannot give it.
const UnitUnknown = "unknown"

// DefaultTimeZone is the time zone of a tenant that names none (IANA name).
const DefaultTimeZone = "Europe/Stockholm"

// Populations lists what a directory row may say, in the order of the documentation.
func Populations() []string {
	return []string{PopulationStaff, PopulationElected, PopulationPupil, PopulationGuest}
}

// Config says where the directory and the country database are, and which tenants there are.
type Config struct {
	// Directory is the path of the CSV file that maps users, subnets and mail addresses to units. Empty: nobody is known.
	Directory string `yaml:"directory"`
	// Country is the path of a MaxMind DB file (.mmdb) with countries. Empty: every country is "ZZ".
	Country string `yaml:"country"`
	// Refresh is how often both files are looked at. A change is taken once it has stood still for one Refresh.
	Refresh time.Duration `yaml:"refresh"`
	// Tenants are the organisations whose lines are read. Each source names one of them.
	Tenants []Tenant `yaml:"tenants"`
}

// Tenant is one organisation: a controller in the words of GDPR article 4(7).
type Tenant struct {
	// Name is what sources, directory rows and reports call it: lower-case ASCII letters, digits, '-' and '_'.
	Name string `yaml:"name"`
	// TimeZone is the IANA name of the zone in which its statistics days begin. Empty: DefaultTimeZone.
	TimeZone string `yaml:"time_zone"`
	// Populations are those it has. Empty: all of them.
	Populations []string `yaml:"populations"`
	// Serves names other tenants whose people also use this tenant's sources, as when one IT team runs a proxy for three
	// municipalities. Without it, no row of another tenant is ever used for this one's lines.
	Serves []string `yaml:"serves"`
}

// DefaultConfig is one tenant, no directory and no country database, looked at every 30 seconds.
func DefaultConfig() Config {
	return Config{
		Refresh: 30 * time.Second,
		Tenants: []Tenant{{Name: "default", TimeZone: DefaultTimeZone}},
	}
}

var tenantName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Validate answers every fault of c, joined, or nil. It reads no file.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.Refresh < time.Second {
		fault("refresh: %v is too short; set 1s or more", c.Refresh)
	}
	if len(c.Tenants) == 0 {
		fault("tenants: there is none; name at least one")
	}
	seen := map[string]bool{}
	for i, t := range c.Tenants {
		switch {
		case !tenantName.MatchString(t.Name):
			fault("tenants[%d].name: %q is no tenant name; use lower-case letters a-z, digits, '-' and '_', 63 at most", i, t.Name)
		case seen[t.Name]:
			fault("tenants[%d].name: %q is there twice", i, t.Name)
		}
		seen[t.Name] = true
		if zone, err := t.location(); err != nil {
			fault("tenants[%d].time_zone: %q is no IANA time zone, such as %s", i, t.TimeZone, DefaultTimeZone)
		} else if !onTheHour(zone) {
			fault("tenants[%d].time_zone: days of %q do not begin on an hour of UTC, and statistics are by both", i, t.TimeZone)
		}
		for j, p := range t.Populations {
			if !slices.Contains(Populations(), p) {
				fault("tenants[%d].populations[%d]: %q is not one of %s", i, j, p, list(Populations()))
			}
		}
	}
	for i, t := range c.Tenants {
		for j, s := range t.Serves {
			if s == t.Name || !seen[s] {
				fault("tenants[%d].serves[%d]: %q is not another tenant of this list", i, j, s)
			}
		}
	}
	return errors.Join(faults...)
}

// onTheHour says whether a zone is whole hours from UTC, summer and winter: an hour of UTC is part of one day then.
func onTheHour(zone *time.Location) bool {
	for year := 2020; year < 2040; year++ {
		for _, month := range []time.Month{time.January, time.July} {
			if _, offset := time.Date(year, month, 1, 0, 0, 0, 0, zone).Zone(); offset%3600 != 0 {
				return false
			}
		}
	}
	return true
}

func (t Tenant) location() (*time.Location, error) {
	zone := t.TimeZone
	if zone == "" {
		zone = DefaultTimeZone
	}
	if zone == "Local" { // LoadLocation would take the machine's zone, which is nobody's decision
		return nil, errors.New("the time zone of the machine is not a tenant's")
	}
	return time.LoadLocation(zone)
}
