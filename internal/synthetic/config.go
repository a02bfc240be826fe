package synthetic

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of a Config.
const (
	minPeople = 500     // below this the small units would be most of the municipality
	maxPeople = 200_000 // what the subnets of three tenants hold
	maxDays   = 366
	maxShards = 1024
	maxLines  = 10_000_000_000 // beyond it the arithmetic of rates would overflow
)

// A Config says how large a municipality is and how much of its life is written down.
type Config struct {
	// Seed decides everything: same configuration, same seed, same bytes.
	Seed uint64 `yaml:"seed"`
	// People is the number of persons in all three tenants together, guests included; machines come on top.
	People int `yaml:"people"`
	// From is the first local day (Europe/Stockholm), as 2006-01-02.
	From string `yaml:"from"`
	// Days is the number of local days over which requests start.
	Days int `yaml:"days"`
	// Lines is the exact number of lines, malformed ones included. Use is then thinned or thickened so that they spread over
	// Days (and some more days if they must). 0: as many as that many people make in Days.
	Lines int64 `yaml:"lines"`
	// Format is the name of the log format that Next writes and Truth answers for; see Formats.
	Format string `yaml:"format"`
	// Shards is the number of parts that lines are dealt to by subject, as a keyed Kafka topic does.
	Shards int `yaml:"shards"`
	// Bad is the share of malformed lines, 0 to 0.5.
	Bad float64 `yaml:"bad"`
	// Latin1 is the share of requests in which a user name outside ASCII is written in ISO 8859-1 instead of UTF-8, 0 to 1.
	Latin1 float64 `yaml:"latin1"`
}

// DefaultConfig is a municipality of 9000 people and a million lines in one week, the one in which summer time ends.
func DefaultConfig() Config {
	return Config{Seed: 1, People: 9000, From: "2026-10-19", Days: 7, Lines: 1_000_000, Format: "squid_native", Shards: 1}
}

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("synthetic: "+format, args...))
		}
	}
	check(c.People >= minPeople && c.People <= maxPeople, "people is %d; give %d to %d", c.People, minPeople, maxPeople)
	from, err := time.Parse(time.DateOnly, c.From)
	check(err == nil, "from is not a date; give it as 2006-01-02")
	check(err != nil || from.Year() >= 2000 && from.Year() < 2100, "from is outside 2000 to 2099")
	check(c.Days >= 1 && c.Days <= maxDays, "days is %d; give 1 to %d", c.Days, maxDays)
	check(c.Lines >= 0 && c.Lines <= maxLines, "lines is %d; give 0 to %d", c.Lines, int64(maxLines))
	check(c.Shards >= 1 && c.Shards <= maxShards, "shards is %d; give 1 to %d", c.Shards, maxShards)
	check(c.Bad >= 0 && c.Bad <= 0.5, "bad is %v; give 0 to 0.5", c.Bad)
	check(c.Latin1 >= 0 && c.Latin1 <= 1, "latin1 is %v; give 0 to 1", c.Latin1)
	names := FormatNames()
	check(slices.Contains(names, c.Format), "no format is called %q; there are %v", c.Format, names)
	return errors.Join(faults...)
}
