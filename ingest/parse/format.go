package parse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options is what a parser must be told from outside the lines it reads.
type Options struct {
	Format          string         // a name of Formats
	Zone            *time.Location // the zone of times that name none; nil: such times are refused by New
	Logformat       string         // squid_logformat: the logformat line of squid.conf
	Columns         []string       // for formats without fixed columns: their names, in order
	Layout          string         // for formats with several known column layouts: the layout's name
	InternalDomains []string       // mail: the domains that are our own
	OpenMessages    int            // postfix_syslog: the most messages whose lines are held together; 0: 65536

	// Now is the clock for times that name no year (Postfix behind RFC 3164): such a time is the latest that is at most a day
	// ahead of it. Who reads an old file has it answer when that was last written. nil: time.Now.
	Now func() time.Time
}

// The options a format can need: FormatInfo.Needs and the names in the errors of New.
const (
	NeedZone            = "zone"
	NeedLogformat       = "logformat"
	NeedColumns         = "columns"
	NeedLayout          = "layout"
	NeedInternalDomains = "internal_domains"
)

// FormatInfo describes a format to an operator.
type FormatInfo struct {
	Name  string
	About string // one line
	Kind  Kind
	Needs []string // what must be told from outside (Need…); empty: nothing
	Takes []string // what may be told from outside besides
	// Remembers says that earlier records decide how later ones are read: a header, or lines about one message. Who begins
	// in the middle shows the parser what came before.
	Remembers bool
}

// An Origin says which part of a format an event's field is read from.
type Origin struct {
	Field string // the field's ECS name
	Part  string // the part, in the format's own words
}

// A format is one entry of Formats and how its parser is made.
type format struct {
	FormatInfo
	bareFirst bool
	whole     bool // it reads the syslog header itself
	build     func(Options) (lineFormat, error)
	document  func(Options) (jsonFormat, error) // instead of build, where an event is a JSON object
}

func formats() []format {
	return []format{
		squidNativeFormat(), squidCommonFormat(), squidCombinedFormat(), squidSyslogFormat(), squidExtendedFormat(), squidLogformatFormat(),
		bluecoatW3CFormat(), bluecoatKVFormat(), fortigateKVFormat(), panwThreatURLFormat(), umbrellaProxyCSVFormat(), ciscoWSAFormat(),
		sophosXGKVFormat(), sophosSWAKVFormat(), forcepointWebCSVFormat(), squidGuardFormat(), dansGuardianFormat(), zeekHTTPFormat(),
		exchangeTrackingFormat(), exchange2003Format(), postfixFormat(),
		zscalerNSSJSONFormat(), zscalerNSSTextFormat(), entraGSAJSONFormat(), vmwareCWSJSONFormat(), ndjsonFormat(), rspamdJSONFormat(),
		m365MessageTraceJSONFormat(), m365MessageTraceCSVFormat(),
	}
}

// Formats answers every format that New can read, in the order in which a user should see them.
func Formats() []FormatInfo {
	var list []FormatInfo
	for _, f := range formats() {
		list = append(list, f.FormatInfo)
	}
	return list
}

// An OptionError is an option, one of the Need constants, that a format needs and lacks, or has and can't use.
type OptionError struct {
	Format, Option string
	Needed         bool
}

func (e *OptionError) Error() string { return e.Call(e.Option) }

// Call is Error with the name that the user knows the option by.
func (e *OptionError) Call(option string) string {
	if e.Needed {
		return fmt.Sprintf("format %s needs %s", e.Format, option)
	}
	return fmt.Sprintf("format %s can't use %s: leave it out", e.Format, option)
}

// New makes the parser of a format. An error tells all that is wrong with the options at once: a format that does not exist, an
// option that the format needs and lacks, one that it can't use (each an [OptionError]), a logformat that can't be compiled. Zone
// and InternalDomains may always be given, as they describe the source and not the format.
func New(o Options) (Parser, error) {
	var f format
	var names []string
	for _, each := range formats() {
		if names = append(names, each.Name); each.Name == o.Format {
			f = each
		}
	}
	if f.build == nil && f.document == nil {
		return nil, fmt.Errorf("there is no log format %q: choose one of %s", o.Format, strings.Join(names, ", "))
	}
	var faults []error
	for _, option := range []struct {
		name  string
		given bool
		loose bool
	}{
		{NeedZone, o.Zone != nil, true},
		{NeedLogformat, o.Logformat != "", false},
		{NeedColumns, len(o.Columns) > 0, false},
		{NeedLayout, o.Layout != "", false},
		{NeedInternalDomains, len(o.InternalDomains) > 0, true},
	} {
		needs, takes := slices.Contains(f.Needs, option.name), slices.Contains(f.Takes, option.name)
		switch {
		case needs && !option.given:
			faults = append(faults, &OptionError{f.Name, option.name, true})
		case option.given && !needs && !takes && !option.loose:
			faults = append(faults, &OptionError{f.Name, option.name, false})
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if f.document != nil {
		documents, err := f.document(o)
		if err != nil {
			return nil, fmt.Errorf("format %s: %w", f.Name, err)
		}
		return newJSONParser(documents), nil
	}
	reader, err := f.build(o)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", f.Name, err)
	}
	headed, _ := reader.(headedFormat)
	return &lineParser{format: reader, headed: headed, bareFirst: f.bareFirst, whole: f.whole, ownJSON: strings.Contains(o.Logformat, `{"`)}, nil
}

// Origins says where a parser made by New reads each field of its events from; nil for any other parser.
func Origins(p Parser) []Origin {
	if known, ok := p.(interface{ origins() []Origin }); ok {
		return known.origins()
	}
	return nil
}
