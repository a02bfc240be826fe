package synthetic

import (
	"container/heap"
	"time"
)

// A MailLog writes messages as the rows of a log, several for each and those of different messages side by side, in the order
// of their times. All rows of one message lie within one hour of UTC, so that its hour is the same whichever row is asked.
type MailLog struct {
	format Format
	rows   func(m *Message, row func(at int64, host int, line []byte))
	queue  rowQueue
	count  uint64
}

// A mailRow waits for its time.
type mailRow struct {
	at   int64
	nth  uint64
	host int
	line []byte
}

type rowQueue []mailRow

func (q rowQueue) Len() int { return len(q) }
func (q rowQueue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].nth < q[j].nth
}
func (q rowQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *rowQueue) Push(x any)   { *q = append(*q, x.(mailRow)) }
func (q *rowQueue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = mailRow{}
	*q = (*q)[:len(*q)-1]
	return last
}

// NewMailLog makes the log of a format of mail. Local times are written in zone.
func (f Format) NewMailLog(zone *time.Location) *MailLog {
	return &MailLog{format: f, rows: f.rows(zone)}
}

// Header answers what each file of the log begins with, one line each without line end.
func (l *MailLog) Header() [][]byte {
	if l.format.header == nil {
		return nil
	}
	return l.format.header()
}

// Add takes the next message, and calls row for each row that is older than it: with the host that wrote it, from 0, and the
// line without line end. Rows of one message that must be read together are of one host.
func (l *MailLog) Add(m *Message, row func(host int, line []byte) error) error {
	if err := l.until(m.Time, row); err != nil {
		return err
	}
	l.rows(m, func(at int64, host int, line []byte) {
		l.count++
		heap.Push(&l.queue, mailRow{at, l.count, host, line})
	})
	return nil
}

// Close calls row for all rows that are left.
func (l *MailLog) Close(row func(host int, line []byte) error) error {
	return l.until(1<<62, row)
}

func (l *MailLog) until(at int64, row func(host int, line []byte) error) error {
	for len(l.queue) > 0 && l.queue[0].at < at {
		r := heap.Pop(&l.queue).(mailRow)
		if err := row(r.host, r.line); err != nil {
			return err
		}
	}
	return nil
}

// nextRow is Next for a format of mail.
func (m *Municipality) nextRow(dst []byte) ([]byte, bool) {
	l := &m.mail
	keep := func(_ int, line []byte) error {
		l.lines = append(l.lines, line)
		return nil
	}
	if l.log == nil {
		l.log = m.format.NewMailLog(m.zone)
		l.lines = l.log.Header()
	}
	for len(l.lines) == 0 {
		e, ok := m.NextMessage()
		if ok {
			l.log.Add(e, keep)
			continue
		}
		l.log.Close(keep)
		if len(l.lines) == 0 {
			return dst, false
		}
	}
	dst = append(dst, l.lines[0]...)
	l.lines = l.lines[1:]
	return dst, true
}
