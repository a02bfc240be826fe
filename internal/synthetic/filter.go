package synthetic

import (
	"strconv"
	"time"
)

// The filters beside Squid. squidguard is squidGuard's log as it is when it also logs what it lets pass; dansguardian is
// DansGuardian's own format (1), in which a tunnel is https://host:443. Both write local times without a zone: their clocks
// run in UTC. squidGuard knows neither sizes nor servers nor answers.
//
// Sources: http://www.squidguard.org/Doc/extended.html#log and
// http://contentfilter.futuragts.com/wiki/doku.php?id=the_access.log_files.
func newSquidGuard(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, stampTime)
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, " [31277] Request(default/"...)
		dst = append(dst, e.Category...)
		dst = append(dst, "/-) "...)
		dst = e.AppendURL(dst)
		dst = append(dst, ' ')
		dst = append(dst, e.client(false)...)
		dst = append(dst, "/- "...)
		if e.User == "" {
			dst = append(dst, '-')
		}
		dst = appendPercent(dst, e.User)
		dst = append(dst, ' ')
		dst = append(dst, e.Method...)
		return append(dst, e.choose(" REDIRECT", " PASS")...)
	}
}

func newDansGuardian(*time.Location) func([]byte, *Event) []byte {
	at := newClock(time.UTC, "2006.1.2 15:04:05")
	return func(dst []byte, e *Event) []byte {
		dst = at.append(dst, e.Time)
		dst = append(dst, ' ')
		dst = append(dst, dash(e.User)...)
		dst = append(dst, ' ')
		dst = append(dst, e.SourceIP...)
		dst = append(dst, ' ')
		if e.Scheme == "" {
			dst = append(dst, "https://"...)
		}
		dst = e.AppendURL(dst)
		if e.Blocked {
			dst = append(dst, " *DENIED* Banned site: "...)
			dst = append(dst, e.Host.Name...)
		} else {
			dst = append(dst, ' ')
		}
		dst = append(dst, ' ')
		dst = append(dst, e.Method...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.BytesIn, 10)
		dst = append(dst, " 0 "...)
		if e.Blocked {
			dst = append(dst, e.Category...)
		}
		dst = append(dst, " 1 "...)
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
		dst = append(dst, ' ')
		dst = append(dst, dash(e.MIME)...)
		return append(dst, "   -"...)
	}
}
