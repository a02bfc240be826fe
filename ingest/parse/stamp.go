package parse

import "time"

// A stampReader reads the times of devices: YYYY-MM-DD hh:mm:ss and its like. Its zone is that of times that name none; UTC
// where nobody said.
type stampReader struct {
	clock wallClock
	key   [10]byte
	days  int64
	full  bool
}

func newStampReader(zone *time.Location) stampReader {
	if zone == time.UTC {
		zone = nil
	}
	return stampReader{clock: wallClock{zone: zone}}
}

// local answers the milliseconds since 1970-01-01 UTC of a wall-clock time given in milliseconds as if it were UTC; ok is
// false for a time before 1970 or beyond the year 9999.
func (r *stampReader) local(wall int64) (ms int64, ok bool) {
	if r.clock.zone == nil || wall < 0 {
		return within9999(wall)
	}
	return within9999(r.clock.utc(wall/1000)*1000 + wall%1000)
}

func within9999(ms int64) (int64, bool) { return ms, ms >= 0 && ms/1000 <= lastSecond }

// timely answers reason, or BadTime for an event whose time, with its zone, is out of what is read.
func timely(reason Reason, field string, e *Event) (Reason, string) {
	if _, ok := within9999(e.Time); !ok && reason == "" {
		return BadTime, "@timestamp"
	}
	return reason, field
}

// date reads a date from the beginning of b: year, month and day in digits (one digit will do for the last two) with '-',
// '/' or '.' between them. It answers the days since 1970-01-01 and the bytes it took (0: it is none). ok is false for a day
// that the calendar does not have.
func (r *stampReader) date(b []byte) (days int64, n int, ok bool) {
	if r.full && len(b) >= 10 && r.key == [10]byte(b[:10]) && (len(b) == 10 || b[10]-'0' > 9) {
		return r.days, 10, true
	}
	if len(b) < 8 || two(b, 0) < 0 || two(b, 2) < 0 || b[4] != '-' && b[4] != '/' && b[4] != '.' {
		return 0, 0, false
	}
	month, taken := digits(b, 5, 2)
	at := 5 + taken
	if taken == 0 || b[5] == ' ' || at >= len(b) || b[at] != b[4] {
		return 0, 0, false
	}
	day, last := digits(b, at+1, 2)
	if last == 0 || b[at+1] == ' ' {
		return 0, 0, false
	}
	n = at + 1 + last
	if days, ok = date(two(b, 0)*100+two(b, 2), month, day); ok && n == 10 {
		r.key, r.days, r.full = [10]byte(b[:10]), days, true
	}
	return days, n, ok
}

// dayTime reads h:mm:ss or hh:mm:ss, with parts of a second behind '.' or ',', from the beginning of b into milliseconds, and
// answers the bytes it took (0: it is none).
func dayTime(b []byte) (ms int64, n int) {
	seconds := timeOfDay(b, 0)
	n = 8
	if seconds < 0 {
		if len(b) < 7 || b[0]-'0' > 9 || b[1] != ':' || b[4] != ':' {
			return 0, 0
		}
		m, s := two(b, 2), two(b, 5)
		if uint(m) > 59 || uint(s) > 60 {
			return 0, 0
		}
		seconds, n = int64(b[0]-'0')*3600+int64(m)*60+int64(s), 7
	}
	ms = seconds * 1000
	if n+1 < len(b) && (b[n] == '.' || b[n] == ',') && b[n+1]-'0' <= 9 {
		scale := int64(100)
		for n++; n < len(b) && b[n]-'0' <= 9; n++ {
			ms += int64(b[n]-'0') * scale
			scale /= 10
		}
	}
	return ms, n
}

// stamp reads a date and a time of day with 'T' or spaces between them, and the zone behind it where there is one, from the
// beginning of b into milliseconds since 1970-01-01 UTC. It answers the bytes it took (0: it is none); ok is false for a time
// that does not exist.
func (r *stampReader) stamp(b []byte) (ms int64, n int, ok bool) {
	days, n, ok := r.date(b)
	if n == 0 || n >= len(b) || b[n] != 'T' && b[n] != ' ' {
		return 0, 0, false
	}
	for n++; n < len(b) && b[n] == ' '; n++ {
	}
	ofDay, taken := dayTime(b[n:])
	if taken == 0 {
		return 0, n, false
	}
	n += taken
	ms = days*86_400_000 + ofDay
	if east, zone := zoneOffset(b, n); zone > 0 {
		ms, fine := within9999(ms - east*1000)
		return ms, n + zone, ok && fine
	}
	ms, fine := r.local(ms)
	return ms, n, ok && fine
}

// unixTime reads whole seconds, milliseconds, microseconds or nanoseconds since 1970-01-01 UTC, told apart by their size: for
// every time from 1973 to 5138 there is one answer only.
func unixTime(b []byte) (ms int64, ok bool) {
	if len(b) == 19 {
		// more than decimal reads, and the last digits do not matter
		n, ok := decimal(b[:16])
		return n / 1000, ok && b[16]-'0' <= 9 && b[17]-'0' <= 9 && b[18]-'0' <= 9
	}
	n, ok := decimal(b)
	if !ok {
		return 0, false
	}
	switch {
	case n < 100_000_000_000:
		return n * 1000, true
	case n < 100_000_000_000_000:
		return n, true
	case n < 100_000_000_000_000_000:
		return n / 1000, true
	}
	return n / 1_000_000, true
}

// unixSeconds reads seconds since 1970-01-01 UTC with a decimal fraction of any length, of which the milliseconds are kept. It
// answers the bytes it took (0: it is none); ok is false for a time beyond the year 9999.
func unixSeconds(b []byte) (ms int64, n int, ok bool) {
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	whole, ok := decimal(b[:n])
	if n == 0 || !ok || whole > lastSecond {
		return 0, n, false
	}
	ms = whole * 1000
	if n < len(b) && b[n] == '.' {
		scale := int64(100)
		for n++; n < len(b) && b[n]-'0' <= 9; n++ {
			ms += int64(b[n]-'0') * scale
			scale /= 10
		}
	}
	return ms, n, true
}
