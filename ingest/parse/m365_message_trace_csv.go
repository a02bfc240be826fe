package parse

import (
	"bytes"
	"errors"
)

// m365MessageTraceCSV reads Microsoft 365's message trace as comma-separated values: the admin center's downloads (UTF-16 with a
// byte order mark; the enhanced summary and the extended report), and Get-MessageTrace | Export-Csv with commas, semicolons or
// tabs.
//
// Which column is what, a header row says, wherever it stands; Options.Columns says it where the header is elsewhere, and a
// header that says otherwise is a reject then and not obeyed. Rows before any header are read as an enhanced summary, whose
// recipients are told by their ##. What a column is, is said at m365Reader.
type m365MessageTraceCSV struct {
	m365Reader
	columns   [m365Slots]int // -1: not there
	names     [m365Slots]string
	told      bool // by Options.Columns
	separator byte
	cut       fieldCutter
	row       []byte
	memory    *scratch
	event     *Event
	known     map[string]jsonSlot
	value     func(jsonSlot) []byte
	to        func()
}

func newM365MessageTraceCSV(o Options) (lineFormat, error) {
	reader, err := newM365Reader(o)
	f := &m365MessageTraceCSV{m365Reader: reader, separator: ',', known: m365Names()}
	f.value = func(slot jsonSlot) []byte {
		if v := f.cut.field(f.row, f.columns[slot]); v != nil {
			return f.memory.undouble(v)
		}
		return nil
	}
	f.to = func() { recipients(f.value(m365Recipient), ';', f.event) }
	names := o.Columns
	if f.told = len(names) > 0; !f.told {
		names = []string{
			"origin_timestamp", "sender_address", "recipient_status", "message_subject", "total_bytes", "message_id", "network_message_id",
			"original_client_ip", "directionality", "connector_id", "delivery_priority",
		}
	}
	if !f.header(names) {
		err = errors.Join(err, errors.New("columns name no time (origin_timestamp, Received) or nobody (sender_address, recipient_status, MessageId): give the whole header row"))
	}
	return f, errors.Join(err, m365Layout(o.Layout))
}

// header takes the columns' names, and answers false, taking nothing, where they aren't those of a message trace.
func (f *m365MessageTraceCSV) header(names []string) bool {
	columns, said := f.places(names)
	if columns[m365Time] < 0 || columns[m365Sender] < 0 && columns[m365Recipient] < 0 && columns[m365RecipientStatus] < 0 && columns[m365MessageID] < 0 {
		return false
	}
	f.columns, f.names = columns, said
	return true
}

// places answers where each slot is, and its column's own name.
func (f *m365MessageTraceCSV) places(names []string) (columns [m365Slots]int, said [m365Slots]string) {
	for slot := range columns {
		columns[slot] = -1
	}
	for i, name := range names {
		if slot, ok := f.known[m365Name(name)]; ok && columns[slot] < 0 && i < maxFields {
			columns[slot], said[slot] = i, name
		}
	}
	return columns, said
}

// isHeader reads a row that is a header.
func (f *m365MessageTraceCSV) isHeader(b []byte) (Reason, bool) {
	// a name of two columns at least is in each, and no time is
	if len(b) == 0 || b[0]-'0' <= 9 || len(b) > 1 && b[0] == '"' && b[1]-'0' <= 9 || !contains(b, "date") && !contains(b, "time") && !contains(b, "received") {
		return "", false
	}
	for _, separator := range [...]byte{',', ';', '\t'} {
		f.cut.csv(b, separator)
		if f.cut.n < 3 {
			continue
		}
		names := make([]string, f.cut.n)
		for i := range names {
			names[i] = string(f.cut.field(b, i))
		}
		columns, _ := f.places(names)
		if f.told {
			mine := columns[m365Time] >= 0 && (columns[m365Sender] >= 0 || columns[m365MessageID] >= 0)
			if mine && columns != f.columns {
				return ContradictoryHeader, true
			}
			if mine {
				f.separator = separator
				return skip, true
			}
			continue
		}
		if f.header(names) {
			f.separator = separator
			return skip, true
		}
	}
	return "", false
}

func (f *m365MessageTraceCSV) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Mail
	if reason, is := f.isHeader(b); is {
		return reason, ""
	}
	f.cut.csv(b, f.separator)
	if f.cut.n < 3 && f.separator != ';' && bytes.IndexByte(b, ';') >= 0 && f.told {
		f.cut.csv(b, ';')
	}
	f.row, f.memory, f.event = b, s, e
	if f.cut.n <= f.columns[m365Time] || f.cut.n < 2 {
		return ForeignLine, ""
	}
	if f.cut.n <= max(f.columns[m365Sender], f.columns[m365Recipient], f.columns[m365RecipientStatus]) {
		if _, is, _ := f.when(f.value(m365Time)); is {
			return Truncated, "email.to.address"
		}
		return ForeignLine, ""
	}
	return f.fill(f.value, f.to, e)
}

func (f *m365MessageTraceCSV) origins() []Origin {
	return m365Origins(func(slot jsonSlot) string { return f.names[slot] })
}

func m365MessageTraceCSVFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "m365_message_trace_csv", About: "Microsoft 365 message trace, CSV (enhanced summary, Export-Csv), UTF-8 or UTF-16", Kind: Mail, Remembers: true,
			Takes: []string{NeedZone, NeedLayout, NeedColumns, NeedInternalDomains},
		},
		bareFirst: true,
		build:     newM365MessageTraceCSV,
	}
}
