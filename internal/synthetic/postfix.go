package synthetic

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// postfix_syslog is the mail log of two Postfix hosts behind an RFC 3339 syslog header. Each message comes in (smtpd, cleanup,
// qmgr), goes through a content filter on the host, comes back under a second queue id with the same Message-ID, and is
// delivered: to mailboxes by lmtp, to the outside by smtp, some of it only at the second try, some of it not. Queue ids are
// the short ones, which are used again as soon as they are free. There is no subject.
//
// Sources: https://www.postfix.org/OVERVIEW.html and https://www.postfix.org/FILTER_README.html.
func newPostfix(zone *time.Location) func(*Message, func(int64, int, []byte)) {
	var ids [2]queueIDs
	return func(m *Message, row func(int64, int, []byte)) {
		host := int(m.number % 2)
		write := func(at int64, program string, pid int, text string) {
			at = m.within(at)
			line := time.UnixMilli(at).In(zone).AppendFormat(nil, "2006-01-02T15:04:05.000000-07:00")
			row(at, host, fmt.Appendf(line, " mx%d postfix/%s[%d]: %s", host+1, program, pid, text))
		}
		pid := 2000 + int(m.number%40)
		slow := int64(0) // until the second try
		for i := range m.to {
			if m.to[i].person < 0 && m.number%23 == 0 {
				slow = 310_000
			}
		}
		end := m.Time + 4_000 + slow
		first, second := ids[host].take(m.Time, end), ids[host].take(m.Time, end)

		client := "unknown[" + m.source + "]"
		if m.from.person >= 0 {
			client = "post.internal.example[" + m.source + "]"
		}
		at := m.Time
		write(at, "smtpd", pid, "connect from "+client)
		write(at, "smtpd", pid, first+": client="+client)
		write(at+3, "cleanup", pid+100, first+": message-id=<"+m.ID+">")
		write(at+9, "qmgr", 1811, fmt.Sprintf("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", first, m.From, m.Bytes, len(m.To)))
		write(at+11, "smtpd", pid, "disconnect from "+client+" ehlo=1 mail=1 rcpt="+strconv.Itoa(len(m.To))+" data=1 quit=1 commands=5")
		at += 200 + m.number%700
		write(at, "smtpd", pid+200, second+": client=localhost[127.0.0.1]")
		write(at+2, "cleanup", pid+100, second+": message-id=<"+m.ID+">")
		write(at+6, "qmgr", 1811, fmt.Sprintf("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", second, m.From, m.Bytes, len(m.To)))
		for _, to := range m.To {
			write(at+8, "smtp", pid+300, fmt.Sprintf("%s: to=<%s>, relay=127.0.0.1[127.0.0.1]:10024, delay=0.6, delays=0.02/0/0/0.58, dsn=2.0.0, status=sent "+
				"(250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as %s)", first, to, second))
		}
		write(at+9, "qmgr", 1811, first+": removed")
		for i, to := range m.To {
			_, domain, _ := strings.Cut(to, "@")
			switch when := at + 60 + int64(i*17); {
			case m.failed[i]:
				write(when, "smtp", pid+400, fmt.Sprintf("%s: to=<%s>, relay=mx.%s[198.18.250.9]:25, delay=0.9, delays=0.1/0/0.3/0.5, dsn=5.1.1, status=bounced "+
					"(host mx.%s[198.18.250.9] said: 550 5.1.1 User unknown (in reply to RCPT TO command))", second, to, domain, domain))
			case m.to[i].person < 0:
				if slow > 0 {
					write(when, "smtp", pid+400, fmt.Sprintf("%s: to=<%s>, relay=none, delay=30, delays=0.1/0/30/0, dsn=4.4.1, status=deferred "+
						"(connect to mx.%s[198.18.250.9]:25: Connection timed out)", second, to, domain))
				}
				write(when+slow, "smtp", pid+400, fmt.Sprintf("%s: to=<%s>, relay=mx.%s[198.18.250.9]:25, delay=1.1, delays=0.1/0/0.4/0.6, dsn=2.0.0, status=sent "+
					"(250 2.0.0 Ok: queued as 4FzQ2k1sbyz9vKF)", second, to, domain))
			default:
				write(when, "lmtp", pid+500, fmt.Sprintf("%s: to=<%s>, relay=mbx1.%s[10.16.1.7]:24, delay=0.3, delays=0.1/0/0/0.2, dsn=2.0.0, status=sent "+
					"(250 2.0.0 <%s> %s Saved)", second, to, domain, to, strings.ToUpper(m.Network[:8])))
			}
		}
		write(end, "qmgr", 1811, second+": removed")
	}
}

// queueIDs hands out short queue ids. A short one is made of a counter and the file's number, which a file system gives to
// another file soon.
type queueIDs struct {
	busy []int64 // until when, by number
	next int
}

func (q *queueIDs) take(from, until int64) string {
	if q.busy == nil {
		q.busy = make([]int64, 251)
	}
	for range q.busy {
		q.next = (q.next + 1) % len(q.busy)
		if q.busy[q.next] < from {
			q.busy[q.next] = until
			return q.name()
		}
	}
	q.next = len(q.busy)
	q.busy = append(q.busy, make([]int64, len(q.busy))...)
	q.busy[q.next] = until
	return q.name()
}

func (q *queueIDs) name() string {
	return fmt.Sprintf("%X%05X", 0x4A+q.next%7, 0x10000+q.next*37)
}
