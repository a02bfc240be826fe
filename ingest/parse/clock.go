package parse

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// lastSecond is the last second of the year 9999, the last that RFC 3339 can write. Times from 1970-01-01 UTC to it are read.
const lastSecond = 253402300799

// epochDays answers the days from 1970-01-01 to a date of the Gregorian calendar (Hinnant's days_from_civil).
func epochDays(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era)*146097 + int64(dayOfEra) - 719468
}

// date answers the days from 1970-01-01, and false for a day that the calendar does not have.
func date(year, month, day int) (days int64, ok bool) {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, false
	}
	if day > 28 {
		length := 30 + (month+month>>3)&1
		if month == 2 {
			length = 28
			if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
				length = 29
			}
		}
		if day > length {
			return 0, false
		}
	}
	return epochDays(year, month, day), true
}

// monthNumber answers 1 to 12 for an English three-letter month, in any case, or 0.
func monthNumber(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	switch uint32(b[0]|0x20)<<16 | uint32(b[1]|0x20)<<8 | uint32(b[2]|0x20) {
	case 'j'<<16 | 'a'<<8 | 'n':
		return 1
	case 'f'<<16 | 'e'<<8 | 'b':
		return 2
	case 'm'<<16 | 'a'<<8 | 'r':
		return 3
	case 'a'<<16 | 'p'<<8 | 'r':
		return 4
	case 'm'<<16 | 'a'<<8 | 'y':
		return 5
	case 'j'<<16 | 'u'<<8 | 'n':
		return 6
	case 'j'<<16 | 'u'<<8 | 'l':
		return 7
	case 'a'<<16 | 'u'<<8 | 'g':
		return 8
	case 's'<<16 | 'e'<<8 | 'p':
		return 9
	case 'o'<<16 | 'c'<<8 | 't':
		return 10
	case 'n'<<16 | 'o'<<8 | 'v':
		return 11
	case 'd'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

// two reads the two digits at position i; -1 where they aren't two digits.
func two(b []byte, i int) int {
	if i+2 > len(b) {
		return -1
	}
	hi, lo := b[i]-'0', b[i+1]-'0'
	if hi > 9 || lo > 9 {
		return -1
	}
	return int(hi)*10 + int(lo)
}

// timeOfDay reads HH:MM:SS at position i into seconds; -1 where it is none. A leap second is the second after it.
func timeOfDay(b []byte, i int) int64 {
	if i+8 > len(b) || b[i+2] != ':' || b[i+5] != ':' {
		return -1
	}
	h, m, s := two(b, i), two(b, i+3), two(b, i+6)
	if uint(h) > 23 || uint(m) > 59 || uint(s) > 60 {
		return -1
	}
	return int64(h)*3600 + int64(m)*60 + int64(s)
}

// zoneOffset reads +hhmm, +hh:mm, +hh or Z at position i: the seconds east of UTC, and the bytes it took (0: none).
func zoneOffset(b []byte, i int) (seconds int64, n int) {
	if i >= len(b) {
		return 0, 0
	}
	sign := int64(1)
	switch b[i] {
	case 'Z', 'z':
		return 0, 1
	case '-':
		sign = -1
	case '+':
	default:
		return 0, 0
	}
	h := two(b, i+1)
	if h < 0 || h > 18 {
		return 0, 0
	}
	n = 3
	m := 0
	if i+3 < len(b) && b[i+3] == ':' {
		if m = two(b, i+4); m >= 0 {
			n = 6
		}
	} else if m = two(b, i+3); m >= 0 {
		n = 5
	}
	if m < 0 {
		m = 0
	}
	if m > 59 {
		return 0, 0
	}
	return sign * (int64(h)*3600 + int64(m)*60), n
}

// A dayCache keeps the last calendar day that was read: neighbouring lines nearly always share it.
type dayCache struct {
	key  [11]byte
	days int64
	full bool
}

// commonTime reads the time of the Common Log Format, 10/Oct/2000:13:55:36 -0700, from the beginning of b into
// milliseconds since 1970-01-01 UTC, and answers how many bytes it took (0: it is none).
func (c *dayCache) commonTime(b []byte) (ms int64, n int) {
	const length = len("10/Oct/2000:13:55:36 -0700")
	if len(b) < length || b[11] != ':' || b[20] != ' ' {
		return 0, 0
	}
	if !c.full || c.key != [11]byte(b[:11]) {
		year := two(b, 7)*100 + two(b, 9)
		if b[2] != '/' || b[6] != '/' || two(b, 7) < 0 || two(b, 9) < 0 {
			return 0, 0
		}
		days, ok := date(year, monthNumber(b[3:6]), two(b, 0))
		if !ok {
			return 0, 0
		}
		c.key, c.days, c.full = [11]byte(b[:11]), days, true
	}
	seconds := timeOfDay(b, 12)
	east, taken := zoneOffset(b, 21)
	if seconds < 0 || taken != 5 {
		return 0, 0
	}
	if seconds += c.days*86400 - east; seconds < 0 || seconds > lastSecond {
		return 0, 0
	}
	return seconds * 1000, length
}

// epoch reads Squid's %ts.%03tu from the beginning of b: whole seconds since 1970-01-01 UTC, and milliseconds behind a
// point where there are any. Fewer than three digits are %tu without its padding (".85" is 85 ms), more are finer parts
// of a second. It answers how many bytes it took (0: it is none).
func epoch(b []byte) (ms int64, n int, ok bool) {
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	seconds, ok := decimal(b[:n])
	if n == 0 {
		return 0, 0, false
	}
	if !ok || seconds > lastSecond {
		return 0, n, false
	}
	ms = seconds * 1000
	if n < len(b) && b[n] == '.' {
		start := n + 1
		for n = start; n < len(b) && b[n]-'0' <= 9; n++ {
		}
		part, ok := decimal(b[start:min(n, start+3)])
		if !ok {
			return 0, n, false
		}
		ms += part
	}
	return ms, n, true
}

// A wallClock turns a source's local time into UTC.
type wallClock struct {
	zone    *time.Location
	quarter int64
	east    int64
	full    bool
}

// utc answers the seconds since 1970-01-01 UTC of a wall-clock time given as if it were UTC. The hour that a clock shows
// twice in autumn is taken as its first pass.
func (w *wallClock) utc(wall int64) int64 {
	// no zone of the tz database in use today changes its offset within a quarter of an hour
	if quarter := wall / 900; !w.full || quarter != w.quarter {
		u := time.Unix(wall, 0).UTC()
		east := w.offset(time.Date(u.Year(), u.Month(), u.Day(), u.Hour(), u.Minute(), u.Second(), 0, w.zone).Unix())
		// time.Date leaves open which pass of a doubled hour it takes: the first is the one before the change
		if before := w.offset(wall - east - 86400); w.offset(wall-before) == before {
			east = before
		}
		w.east, w.quarter, w.full = east, quarter, true
	}
	return wall - w.east
}

// offset answers the seconds east of UTC that the zone's clocks show at a moment.
func (w *wallClock) offset(unix int64) int64 {
	_, east := time.Unix(unix, 0).In(w.zone).Zone()
	return int64(east)
}

// A timeLayout reads times written by strftime(3), as in Squid's %{%Y-%m-%dT%H:%M:%S%z}tl.
type timeLayout struct {
	steps []timeStep
	clock wallClock
	days  dayCache
	utc   bool // %tg: the clock is UTC whatever the zone of the machine
	plain bool // the layout is the Common Log Format's own
}

// A timeStep is one conversion of strftime, or a literal byte (verb 0).
type timeStep struct{ verb, literal byte }

const commonLayout = "%d/%b/%Y:%H:%M:%S %z"

// newTimeLayout compiles a strftime layout. A local time without a zone of its own needs zone.
func newTimeLayout(layout string, utc bool, zone *time.Location) (*timeLayout, error) {
	l := &timeLayout{utc: utc, plain: layout == commonLayout, clock: wallClock{zone: zone}}
	expand := strings.NewReplacer("%D", "%m/%d/%y", "%F", "%Y-%m-%d", "%T", "%H:%M:%S", "%R", "%H:%M", "%r", "%I:%M:%S %p",
		"%c", "%a %b %e %H:%M:%S %Y", "%n", "\n", "%t", "\t", "%h", "%b", "%%", "%%")
	layout = expand.Replace(layout)
	var has [256]bool
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' {
			l.steps = append(l.steps, timeStep{literal: layout[i]})
			continue
		}
		// the E and O modifiers and GNU's padding flags change the look of a number, not what it is
		for i++; i < len(layout) && strings.IndexByte("EO-_0^", layout[i]) >= 0; i++ {
		}
		if i == len(layout) {
			return nil, errors.New("the time layout ends in a lone %")
		}
		verb := layout[i]
		switch {
		case verb == '%':
			l.steps = append(l.steps, timeStep{literal: '%'})
			continue
		case strings.IndexByte("YymdeHkIlMSpbBaAzZsjuwN", verb) < 0:
			return nil, fmt.Errorf("the time layout's %%%c is not one that can be read", verb)
		}
		has[verb] = true
		l.steps = append(l.steps, timeStep{verb: verb})
	}
	year := has['Y'] || has['y']
	day := has['j'] || (has['m'] || has['b'] || has['B']) && (has['d'] || has['e'])
	hour := has['H'] || has['k'] || (has['I'] || has['l']) && has['p']
	switch {
	case has['s']:
	case !year || !day || !hour || !has['M']:
		return nil, errors.New("the time layout does not name a year, a day, an hour and a minute")
	case !utc && !has['z'] && zone == nil:
		return nil, errors.New("the time is local and names no offset from UTC: say which time zone the proxy's clock shows")
	}
	return l, nil
}

// read reads a time from the beginning of b into milliseconds since 1970-01-01 UTC, and answers how many bytes it took
// (0: it is none).
func (l *timeLayout) read(b []byte) (ms int64, n int) {
	if l.plain && !l.utc {
		return l.days.commonTime(b)
	}
	year, month, day, yearDay := 1970, 1, 1, 0
	hour, minute, second, milli := 0, 0, 0, int64(0)
	var east int64
	afternoon, twelve, offset, absolute := false, false, l.utc, int64(-1)
	for _, step := range l.steps {
		v, taken := 0, 0
		switch step.verb {
		case 0:
			if n >= len(b) || b[n] != step.literal {
				return 0, 0
			}
			n++
			continue
		case 'Y':
			v, taken = digits(b, n, 4)
			year = v
		case 'y':
			v, taken = digits(b, n, 2)
			// POSIX: 69 to 99 are of the twentieth century
			if year = 2000 + v; v >= 69 {
				year = 1900 + v
			}
		case 'm':
			month, taken = digits(b, n, 2)
		case 'd', 'e':
			day, taken = digits(b, n, 2)
		case 'j':
			if yearDay, taken = digits(b, n, 3); yearDay < 1 || yearDay > 366 {
				return 0, 0
			}
		case 'H', 'k':
			hour, taken = digits(b, n, 2)
		case 'I', 'l':
			twelve = true
			if hour, taken = digits(b, n, 2); hour < 1 || hour > 12 {
				return 0, 0
			}
		case 'M':
			minute, taken = digits(b, n, 2)
		case 'S':
			second, taken = digits(b, n, 2)
		case 'N':
			if v, taken = digits(b, n, 9); taken > 0 {
				for i := taken; i < 9; i++ {
					v *= 10
				}
				milli = int64(v / 1e6)
			}
		case 'u', 'w':
			_, taken = digits(b, n, 1)
		case 'p':
			if n+2 > len(b) || b[n+1]|0x20 != 'm' || b[n]|0x20 != 'a' && b[n]|0x20 != 'p' {
				return 0, 0
			}
			afternoon, taken = b[n]|0x20 == 'p', 2
		case 'b', 'B':
			if month = monthNumber(b[n:]); month == 0 {
				return 0, 0
			}
			taken = letters(b, n)
		case 'a', 'A':
			taken = letters(b, n)
		case 'z':
			if !l.utc {
				east, taken = zoneOffset(b, n)
				offset = true
			} else {
				_, taken = zoneOffset(b, n)
			}
		case 'Z':
			// a zone's abbreviation says nothing certain (CST is three zones): the offset or the configured zone decides
			taken = letters(b, n)
			if name := b[n : n+taken]; bytes.Equal(name, []byte("UTC")) || bytes.Equal(name, []byte("GMT")) {
				offset = true
			}
		case 's':
			for n+taken < len(b) && b[n+taken]-'0' <= 9 {
				taken++
			}
			seconds, ok := decimal(b[n : n+taken])
			if !ok || seconds > lastSecond {
				return 0, 0
			}
			absolute = seconds
		}
		if taken == 0 {
			return 0, 0
		}
		n += taken
	}
	if absolute >= 0 {
		return absolute*1000 + milli, n
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, 0
	}
	if twelve {
		if hour %= 12; afternoon {
			hour += 12
		}
	}
	days, ok := date(year, month, day)
	if yearDay > 0 {
		days, ok = epochDays(year, 1, yearDay), year >= 1
	}
	if !ok {
		return 0, 0
	}
	seconds := days*86400 + int64(hour)*3600 + int64(minute)*60 + int64(second)
	switch {
	case offset:
		seconds -= east
	case l.clock.zone != nil:
		seconds = l.clock.utc(seconds)
	default:
		return 0, 0
	}
	if seconds < 0 || seconds > lastSecond {
		return 0, 0
	}
	return seconds*1000 + milli, n
}

// digits reads up to width digits at position i, behind spaces that pad them, and answers how many bytes it took.
func digits(b []byte, i, width int) (v, taken int) {
	start := i
	for i < len(b) && b[i] == ' ' && i-start < width-1 {
		i++
	}
	first := i
	for i < len(b) && i-start < width && b[i]-'0' <= 9 {
		v = v*10 + int(b[i]-'0')
		i++
	}
	if i == first {
		return 0, 0
	}
	return v, i - start
}

// letters answers how many bytes at position i are letters.
func letters(b []byte, i int) (n int) {
	for i+n < len(b) && (b[i+n]|0x20 >= 'a' && b[i+n]|0x20 <= 'z' || b[i+n] >= 0x80) {
		n++
	}
	return n
}
