package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// CountryUnknown is the country of an address that no country is known for: "ZZ", which ISO 3166-1 leaves to its users
// and CLDR calls the unknown region.
const CountryUnknown = "ZZ"

// CountryDatabase answers the country of an address from a memory-mapped MaxMind DB file. It does not change after
// OpenCountry, may be used by many goroutines, and gives its memory back once nobody holds it.
type CountryDatabase struct {
	lookup func(netip.Addr) (string, error)
}

// layouts are the places where databases keep an ISO 3166-1 code: DB-IP and the iptoasn and NRO files, MaxMind and those
// that follow it, and IPinfo.
var layouts = [...][2]string{{"country_code", ""}, {"country", "iso_code"}, {"country", ""}}

// OpenCountry opens the MaxMind DB file at path and reads it through once to see that it is sound. A type that geoip2-golang knows is read with
// it; of any other, the records are asked for a country at the usual places. A database without countries is an error.
func OpenCountry(path string) (db *CountryDatabase, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverFault(&err)
	raw, err := maxminddb.Open(path)
	if err != nil {
		return nil, err
	}
	place, err := survey(raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	typed, err := geoip2.Open(path)
	if err == nil {
		if _, err = typed.Country(netip.IPv4Unspecified()); err == nil {
			raw.Close()
			return &CountryDatabase{func(ip netip.Addr) (string, error) {
				c, err := typed.Country(ip)
				if err != nil {
					return "", err
				}
				return c.Country.ISOCode, nil
			}}, nil
		}
		typed.Close()
	}
	return &CountryDatabase{func(ip netip.Addr) (string, error) { return codeAt(raw.Lookup(ip), place) }}, nil
}

// survey walks the whole of a database, so that a damaged one is refused and not found out by a line, and answers where
// it keeps the country. Reader.Verify would do the first, but it also refuses the sound files of publishers who leave
// the description empty.
func survey(raw *maxminddb.Reader) (place [2]string, err error) {
	seen := map[uintptr]bool{} // many networks share one record
	found := -1
	for record := range raw.Networks() {
		if err := record.Err(); err != nil {
			return place, fmt.Errorf("the database is damaged: %w", err)
		}
		if seen[record.Offset()] {
			continue
		}
		seen[record.Offset()] = true
		var all any
		if err := record.Decode(&all); err != nil {
			return place, fmt.Errorf("the database is damaged: %w", err)
		}
		for i := range layouts {
			if found >= 0 {
				break
			}
			if code, err := codeAt(record, layouts[i]); err == nil && isoCode(code) != CountryUnknown {
				found = i
			}
		}
	}
	if found < 0 {
		return place, fmt.Errorf("a database of type %q holds no country; use a country or city database", raw.Metadata.DatabaseType)
	}
	return layouts[found], nil
}

func codeAt(record maxminddb.Result, place [2]string) (code string, err error) {
	if place[1] == "" {
		err = record.DecodePath(&code, place[0])
	} else {
		err = record.DecodePath(&code, place[0], place[1])
	}
	return code, err
}

// Lookup answers the ISO 3166-1 alpha-2 code of the country that ip is in, or CountryUnknown, which is also the answer
// for private, loopback and other addresses that are in no country. The error says that the database could not be read
// at that place; the country is CountryUnknown then.
func (db *CountryDatabase) Lookup(ip netip.Addr) (country string, err error) {
	ip = canonicalAddr(ip)
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return CountryUnknown, nil
	}
	country = CountryUnknown
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverFault(&err)
	code, err := db.lookup(ip)
	if err != nil {
		return CountryUnknown, fmt.Errorf("country database: %w", err)
	}
	return isoCode(code), nil
}

// isoCode answers code in upper case if it has the form of an ISO 3166-1 alpha-2 code, else CountryUnknown.
func isoCode(code string) string {
	if len(code) != 2 {
		return CountryUnknown
	}
	code = strings.ToUpper(code)
	for i := range len(code) {
		if code[i] < 'A' || code[i] > 'Z' {
			return CountryUnknown
		}
	}
	return strings.Clone(code) // not a view into the mapping
}

var errMapping = errors.New("the mapped file was shortened under the reader; replace such files by renaming a new one over them")

// recoverFault turns a fault in the mapping into an error: someone who copies a new database over the mapped one, instead
// of renaming it into place, takes pages away that are still read.
func recoverFault(err *error) {
	switch fault := recover().(type) {
	case nil:
	case interface {
		runtime.Error
		Addr() uintptr
	}:
		*err = errMapping
	default:
		panic(fault)
	}
}
