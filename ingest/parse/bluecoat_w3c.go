package parse

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// bluecoatW3C reads the W3C Extended Log File Format, as ProxySG (Blue Coat, Symantec, Broadcom Edge SWG) and others write
// it: fields between spaces or tabs, runs of them being one; a field with spaces in quotes; "-" for nothing; times in GMT.
//
// Which column is what, is configuration: Options.Columns (a pasted #Fields line) or Options.Layout (a name of elffLayouts),
// for in Kafka a header may never come, and a reader that starts again behind it would read the same rows otherwise. A #Fields line in the stream then confirms; one that contradicts is a reject
// (ContradictoryHeader) and not obeyed. Where nothing is configured, #Fields sets the columns for what follows, and
// without one each line is recognised by the shapes of its fields among the known layouts; rows that a header does not
// fit, but a known layout does, are read by that, and the header is reported; rows with more columns than the header names,
// which no known layout fits, are rejects. Columns behind the last known one are left
// alone in known layouts, for sites append to them. A line with fewer is truncated.
//
// event.action: blocked where sc-filter-result is DENIED, s-action has DENIED in it or x-exception-id ends so; else allowed
// where the filter result is OBSERVED or PROXIED or s-action tells a hit, a miss or a tunnel. time-taken is in milliseconds
// as in ProxySG and IIS where it is a whole number, and in seconds as in the W3C draft where it has a decimal point.
// sc-status 0 (a tunnel) is no status. c-ip 0.0.0.0 is no client: such logs were made anonymous. destination.ip is
// s-supplier-ip, r-ip or an address in s-supplier-name, unless it is s-ip: the proxy itself, which supplied from its cache. A user name's %XX are decoded.
//
// Sources: https://www.w3.org/TR/WD-logfile.html; the fields:
// https://techdocs.broadcom.com/us/en/symantec-security-software/web-and-network-security/edge-swg/7-3/access-log-formats.html;
// the layouts: https://knowledge.broadcom.com/external/article/168187.
type bluecoatW3C struct {
	fixed  []*elffLayout // configured: nothing else is tried
	known  []*elffLayout
	told   *elffLayout // by the last #Fields of the stream
	last   *elffLayout // which read the last line
	proved bool        // told has read a line, or was reported
	doubts bool
	stamps stampReader
	cut    fieldCutter
}

// An elffLayout is the columns of a log.
type elffLayout struct {
	name    string
	slots   []elffSlot
	columns []string
	exact   bool // from a header or a configuration: it is believed, shapes are not tested
}

// An elffSlot is what a column is read for.
type elffSlot uint8

const (
	elffOther elffSlot = iota
	elffDate
	elffTime
	elffLocalTime
	elffUnix
	elffTaken
	elffClient
	elffClientPort
	elffUser
	elffStatus
	elffResult // TCP_MISS/200
	elffAction
	elffACL
	elffDown
	elffUp
	elffMethod
	elffScheme
	elffHost
	elffHostHeader
	elffPort
	elffPath
	elffQuery
	elffURL
	elffFilter
	elffVerdict
	elffException
	elffMIME
	elffReferer
	elffAgent
	elffServer
	elffServer2
	elffSupplier // a name, or the address where names are not resolved
	elffProxy
	elffSlots
)

// elffColumn knows the columns of ProxySG, and those by which other writers of the format (IIS, TMG, Cisco WSA) name the same.
func elffColumn(name string) elffSlot {
	switch strings.ToLower(name) {
	case "date":
		return elffDate
	case "time":
		return elffTime
	case "gmttime", "x-timestamp-gmt", "localtime":
		return elffLocalTime
	case "timestamp", "x-timestamp-unix", "x-timestamp-unix-utc":
		return elffUnix
	case "time-taken", "x-elapsed-time":
		return elffTaken
	case "c-ip":
		return elffClient
	case "c-port":
		return elffClientPort
	case "cs-username", "cs-user", "cs-userdn", "x-cs-username", "cs-user-name":
		return elffUser
	case "sc-status", "sc-http-status":
		return elffStatus
	case "x-resultcode-httpstatus":
		return elffResult
	case "s-action", "sc-result-code", "s-cache-info", "x-cache-info":
		return elffAction
	case "x-acltag":
		return elffACL
	case "sc-bytes":
		return elffDown
	case "cs-bytes":
		return elffUp
	case "cs-method", "s-operation", "c-method":
		return elffMethod
	case "cs-uri-scheme", "cs-protocol":
		return elffScheme
	case "cs-host", "cs-uri-host", "cs-uri-hostname", "r-host":
		return elffHost
	case "cs(host)":
		return elffHostHeader
	case "cs-uri-port":
		return elffPort
	case "cs-uri-path", "cs-uri-stem", "cs-uri-pathquery":
		return elffPath
	case "cs-uri-query":
		return elffQuery
	case "cs-uri", "cs-url", "c-uri", "c-url":
		return elffURL
	case "sc-filter-result":
		return elffFilter
	case "action":
		return elffVerdict
	case "x-exception-id":
		return elffException
	case "rs(content-type)", "cs-mime-type", "sc(content-type)", "rs-content-type":
		return elffMIME
	case "cs(referer)", "cs-referred", "cs-referer":
		return elffReferer
	case "cs(user-agent)", "c-agent", "cs-user-agent":
		return elffAgent
	case "s-supplier-ip", "r-supplier-ip":
		return elffServer
	case "r-ip":
		return elffServer2
	case "s-supplier-name":
		return elffSupplier
	case "s-ip":
		return elffProxy
	}
	return elffOther
}

// field answers the ECS name of what a column becomes.
func (s elffSlot) field() string {
	switch s {
	case elffDate, elffTime, elffLocalTime, elffUnix:
		return "@timestamp"
	case elffTaken:
		return "event.duration"
	case elffClient:
		return "source.ip"
	case elffClientPort:
		return "source.port"
	case elffUser:
		return "user.name"
	case elffStatus, elffResult:
		return "http.response.status_code"
	case elffAction, elffACL, elffFilter, elffVerdict, elffException:
		return "event.action"
	case elffDown:
		return "destination.bytes"
	case elffUp:
		return "source.bytes"
	case elffMethod:
		return "http.request.method"
	case elffScheme:
		return "url.scheme"
	case elffHost, elffHostHeader, elffURL:
		return "url.domain"
	case elffPort:
		return "url.port"
	case elffPath:
		return "url.path"
	case elffQuery:
		return "url.query"
	case elffMIME:
		return "http.response.mime_type"
	case elffReferer:
		return "http.request.referrer"
	case elffAgent:
		return "user_agent.original"
	case elffServer, elffServer2, elffSupplier:
		return "destination.ip"
	}
	return ""
}

// newElffLayout reads a #Fields line, with or without that word. It is nil where the line has no time or no host.
func newElffLayout(name, fields string, exact bool) *elffLayout {
	l := &elffLayout{name: name, exact: exact}
	if colon := strings.IndexByte(fields, ':'); colon >= 0 && strings.EqualFold(strings.Trim(fields[:colon], " \t#"), "fields") {
		fields = fields[colon+1:]
	}
	var has [elffSlots]bool
	for _, column := range strings.Fields(fields) {
		slot := elffColumn(column)
		if slot != elffOther && has[slot] {
			slot = elffOther
		}
		has[slot] = true
		l.columns, l.slots = append(l.columns, column), append(l.slots, slot)
	}
	timed := has[elffDate] && has[elffTime] || has[elffLocalTime] || has[elffUnix]
	if !timed || !has[elffHost] && !has[elffURL] && !has[elffHostHeader] && !has[elffServer] && !has[elffServer2] || len(l.slots) > maxFields {
		return nil
	}
	return l
}

// elffLayouts are ProxySG's own, the likeliest first. Those of one name are what that name has meant in different releases;
// they are told apart by the shapes of their fields.
func elffLayouts() []*elffLayout {
	const reporterHead, reporterTail = "date time time-taken c-ip cs-username cs-auth-group ", "x-exception-id sc-filter-result cs-categories cs(Referer) sc-status s-action " +
		"cs-method rs(Content-Type) cs-uri-scheme cs-host cs-uri-port cs-uri-path cs-uri-query cs-uri-extension cs(User-Agent) s-ip sc-bytes cs-bytes x-virus-id"
	const supplier = "s-supplier-name s-supplier-ip s-supplier-country s-supplier-failures "
	const ssl = "x-exception-id sc-filter-result cs-categories sc-status s-action cs-method rs(Content-Type) cs-uri-scheme cs-host cs-uri-port " +
		"cs-uri-extension cs(User-Agent) s-ip sc-bytes cs-bytes x-virus-id"
	const mainHead = "date time time-taken c-ip sc-status s-action sc-bytes cs-bytes cs-method cs-uri-scheme cs-host "
	const mainTail = " cs(User-Agent) sc-filter-result cs-categories x-virus-id s-ip"
	return []*elffLayout{
		newElffLayout("main", mainHead+"cs-uri-port cs-uri-path cs-uri-query cs-username cs-auth-group s-hierarchy s-supplier-name rs(Content-Type) cs(Referer)"+mainTail, false),
		newElffLayout("main", mainHead+"cs-uri-port cs-uri-path cs-uri-query cs-username cs-auth-group s-supplier-name rs(Content-Type) cs(Referer)"+mainTail, false),
		newElffLayout("main", reporterHead+reporterTail, false),
		newElffLayout("main", reporterHead+supplier+reporterTail, false),
		newElffLayout("main", mainHead+"cs-uri-path cs-uri-query cs-username s-hierarchy s-supplier-name rs(Content-Type)"+mainTail, false),
		newElffLayout("bcreportermain_v1", reporterHead+reporterTail, false),
		newElffLayout("bcreportermain_v1", reporterHead+supplier+reporterTail, false),
		newElffLayout("bcreporterssl_v1", reporterHead+ssl, false),
		newElffLayout("bcreporterssl_v1", reporterHead+supplier+ssl, false),
	}
}

// comment reads a #Fields line; other directives tell nothing that a row needs.
func (f *bluecoatW3C) comment(line []byte) (Reason, string) {
	const directive = "#fields:"
	line = bytes.Trim(line, " \t")
	if !foldStarts(line, directive) {
		return skip, ""
	}
	header := newElffLayout("#Fields", string(line[len(directive):]), true)
	if len(f.fixed) > 0 {
		for _, l := range f.fixed {
			if header != nil && l.heads(header.columns) {
				return skip, ""
			}
		}
		return ContradictoryHeader, ""
	}
	if header == nil {
		return BadLayout, "#Fields"
	}
	f.told, f.last, f.proved = header, nil, false
	return skip, ""
}

// heads says whether columns begin with those of l.
func (l *elffLayout) heads(columns []string) bool {
	if len(columns) < len(l.columns) {
		return false
	}
	for i, column := range l.columns {
		if !strings.EqualFold(column, columns[i]) {
			return false
		}
	}
	return true
}

func (f *bluecoatW3C) doubt() Reason {
	if !f.doubts {
		return ""
	}
	f.doubts = false
	return ContradictoryHeader
}

func (f *bluecoatW3C) read(b []byte, e *Event, s *scratch) (Reason, string) {
	if len(b) > 0 && b[0] == '#' {
		return f.comment(b)
	}
	reason, field := f.row(b, e, s)
	if reason != "" && maybeSyslog(b) {
		if header := syslogComment(b); header != nil {
			return f.comment(header)
		}
	}
	return reason, field
}

// syslogComment answers the directive behind a syslog header, nil where there is none. "#Fields:" looks like a tag.
func syslogComment(b []byte) []byte {
	_, _, rest, ok := cutSyslog(b)
	if !ok {
		return nil
	}
	for range 3 {
		if rest = trimLeft(rest); len(rest) > 0 && rest[0] == '#' {
			return rest
		}
		_, next := token(rest, 0)
		rest = rest[next:]
	}
	return nil
}

func (f *bluecoatW3C) row(b []byte, e *Event, s *scratch) (reason Reason, field string) {
	// TMG writes spaces into fields between tabs, unquoted
	if countByte(b, '\t') >= 5 {
		f.cut.tabbed(b)
	} else {
		f.cut.words(b)
	}
	if f.last != nil && (len(f.last.slots) == f.cut.n || len(f.fixed) == 1) {
		if reason, field = f.fill(f.last, b, e, s); reason == "" || len(f.fixed) == 1 {
			return reason, field
		}
	}
	again := func(l *elffLayout) bool {
		e.Reset()
		s.reset(len(b))
		why, where := f.fill(l, b, e, s)
		if why == "" || reason == "" || reason == ForeignLine {
			reason, field = why, where
		}
		return why == ""
	}
	reason, field = "", ""
	candidates := f.known
	if len(f.fixed) > 0 {
		candidates = f.fixed
	}
	for _, exactly := range [2]bool{true, false} {
		// a row with more columns than its header names would be read askew
		if f.told != nil && (len(f.told.slots) == f.cut.n) == exactly && f.cut.n <= len(f.told.slots) && again(f.told) {
			f.last, f.proved = f.told, true
			return "", ""
		}
		for _, l := range candidates {
			if (len(l.slots) == f.cut.n) == exactly && again(l) {
				f.last = l
				if f.told != nil && !f.proved {
					f.doubts, f.proved = true, true
				}
				return "", ""
			}
		}
	}
	e.Reset()
	if f.told != nil && f.cut.n > len(f.told.slots) && f.isDate(f.cut.field(b, 0)) {
		return ContradictoryHeader, ""
	}
	return cmp.Or(reason, BadLayout), field
}

// fill reads the row by a layout, and answers why it can't be one of it.
func (f *bluecoatW3C) fill(l *elffLayout, b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	var ok bool
	var day, clock, host, header, path, query, url, filter, verdict, exception, acl, server2, supplier []byte
	var proxy netip.Addr
	if f.cut.n < len(l.slots) {
		for n := f.cut.n; n < len(l.slots); n++ {
			if l.slots[n] != elffOther {
				if f.cut.n == 0 || l.slots[0] == elffDate && !f.isDate(f.cut.field(b, 0)) {
					return ForeignLine, "@timestamp"
				}
				return Truncated, l.slots[n].field()
			}
		}
	}
	for n, slot := range l.slots {
		if slot == elffOther {
			continue
		}
		v := present(f.cut.field(b, n))
		if v == nil {
			continue
		}
		ok = true
		switch slot {
		case elffDate:
			if day = v; !f.isDate(v) {
				return ForeignLine, "@timestamp"
			}
		case elffTime:
			clock = v
		case elffLocalTime:
			var days dayCache
			v = bytes.Trim(v, "[]")
			if e.Time, n = days.commonTime(v); n == 0 {
				return BadTime, "@timestamp"
			}
		case elffUnix:
			ms, n, fine := unixSeconds(v)
			if n == 0 || n != len(v) {
				return ForeignLine, "@timestamp"
			}
			if e.Time = ms; !fine {
				return BadTime, "@timestamp"
			}
		case elffTaken:
			if e.Duration, ok = secondsOrMilliseconds(v); !ok {
				return BadNumber, "event.duration"
			}
		case elffClient:
			if e.SourceIP, ok = client(v); !ok || !l.exact && !e.SourceIP.IsValid() {
				return BadAddress, "source.ip"
			}
			e.SourceIP = someone(e.SourceIP)
		case elffClientPort:
			if e.SourcePort, ok = port(v); !ok {
				return BadNumber, "source.port"
			}
		case elffUser:
			if v = person(v); v != nil {
				e.User = s.percent(v)
			}
		case elffStatus:
			if e.Status, ok = replied(v); !ok {
				return BadNumber, "http.response.status_code"
			}
		case elffResult:
			if slash := indexByte(v, '/'); slash > 0 {
				e.Code = v[:slash]
				if e.Status, ok = replied(v[slash+1:]); !ok {
					return BadNumber, "http.response.status_code"
				}
			}
		case elffAction:
			if e.Code = v; !l.exact && !shouted(v) {
				return BadLayout, "event.action"
			}
		case elffACL:
			acl = v
		case elffDown:
			if e.DestinationBytes, ok = size(v); !ok {
				return BadNumber, "destination.bytes"
			}
		case elffUp:
			if e.SourceBytes, ok = size(v); !ok {
				return BadNumber, "source.bytes"
			}
		case elffMethod:
			if e.Method = v; !l.exact && letters(v, 0) < len(v)-countByte(v, '_')-countByte(v, '-') {
				return BadLayout, "http.request.method"
			}
		case elffScheme:
			if e.Scheme = v; !l.exact && (!scheme(v) || indexByte(v, '.') >= 0 || v[0]-'0' <= 9) {
				return BadLayout, "url.scheme"
			}
		case elffHost:
			host = v
		case elffHostHeader:
			header = v
		case elffPort:
			if e.Port, ok = port(v); !ok {
				return BadNumber, "url.port"
			}
			if e.Port == 0 {
				e.Port = -1
			}
		case elffPath:
			if path = v; !l.exact && v[0] != '/' && v[0] != '*' {
				return BadLayout, "url.path"
			}
		case elffQuery:
			if query = v; !l.exact && v[0] != '?' && indexByte(v, '=') < 0 && indexByte(v, '/') >= 0 {
				return BadLayout, "url.query"
			}
		case elffURL:
			url = v
		case elffFilter:
			if filter = v; !l.exact && !shouted(v) {
				return BadLayout, "event.action"
			}
		case elffVerdict:
			verdict = v
		case elffException:
			exception = v
			if !l.exact && bytes.IndexByte(v, ' ') >= 0 {
				return BadLayout, "event.action"
			}
		case elffMIME:
			if e.MIME = mimeType(v); !l.exact && (indexByte(v, ' ') >= 0 && indexByte(v, ';') < 0 || bytes.Contains(v, []byte("://"))) {
				return BadLayout, "http.response.mime_type"
			}
		case elffReferer:
			e.Referrer = s.undouble(v)
		case elffAgent:
			e.UserAgent = s.undouble(v)
		case elffServer:
			if e.DestinationIP, ok = client(v); !ok {
				return BadAddress, "destination.ip"
			}
		case elffServer2:
			server2 = v
		case elffSupplier:
			supplier = v
		case elffProxy:
			if proxy, ok = address(v); !ok && !l.exact {
				return BadLayout, ""
			}
		}
	}
	if day != nil && clock != nil {
		days, n, fine := f.stamps.date(day)
		ofDay, taken := dayTime(clock)
		if !fine || n != len(day) || taken != len(clock) {
			return BadTime, "@timestamp"
		}
		if e.Time, ok = within9999(days*86_400_000 + ofDay); !ok {
			return BadTime, "@timestamp"
		}
	} else if e.Time == 0 {
		return Truncated, "@timestamp"
	}
	if !e.DestinationIP.IsValid() && server2 != nil {
		e.DestinationIP, _ = address(server2)
	}
	if !e.DestinationIP.IsValid() && supplier != nil {
		e.DestinationIP, _ = address(supplier)
	}
	if e.DestinationIP == proxy {
		// the cache itself was the supplier
		e.DestinationIP = netip.Addr{}
	}
	e.Action = elffAct(filter, verdict, exception, acl, e.Code)
	if url == nil && host == nil {
		host = header
	}
	if reason, field := visited(url, host, e); reason != "" {
		return reason, field
	}
	e.pathOf(path, query)
	return "", ""
}

func (f *bluecoatW3C) isDate(b []byte) bool {
	_, n, _ := f.stamps.date(b)
	return n > 0 && n == len(b)
}

// shouted says whether b is a code of capitals, digits and underscores.
func shouted(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '_' && c != '-' && c-'0' > 9 {
			return false
		}
	}
	return len(b) > 0
}

func countByte(b []byte, c byte) (n int) {
	for _, x := range b {
		if x == c {
			n++
		}
	}
	return n
}

// elffAct says what the proxy did, by all that a line tells of it.
func elffAct(filter, verdict, exception, acl, code []byte) Action {
	switch {
	case fold(filter, "denied"), contains(code, "denied"), foldStarts(verdict, "denied"), foldStarts(verdict, "block"),
		bytes.HasSuffix(exception, []byte("_denied")), wsaAct(acl) == Blocked:
		return Blocked
	case fold(filter, "observed"), fold(filter, "proxied"), foldStarts(verdict, "allow"), wsaAct(acl) == Allowed:
		return Allowed
	}
	if contains(code, "accelerated") || fold(code, "allowed") || fold(code, "passed") {
		return Allowed
	}
	return squidAction(code)
}

func (f *bluecoatW3C) origins() []Origin {
	layout := f.told
	switch {
	case len(f.fixed) > 0:
		layout = f.fixed[0]
	case f.last != nil:
		layout = f.last
	case layout == nil:
		layout = f.known[0]
	}
	var list []Origin
	for n, slot := range layout.slots {
		if field := slot.field(); field != "" {
			list = append(list, Origin{field, layout.columns[n]})
			switch slot {
			case elffURL:
				for _, field := range []string{"url.scheme", "url.port", "url.path", "url.query"} {
					list = append(list, Origin{field, layout.columns[n]})
				}
			case elffAction, elffResult:
				list = append(list, Origin{"event.code", layout.columns[n]})
			}
		}
	}
	return list
}

func bluecoatW3CFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "bluecoat_w3c", About: "W3C extended log, ProxySG's main and bcreportermain_v1 by themselves, others by their #Fields", Kind: Web, Remembers: true,
			Takes: []string{NeedLayout, NeedColumns},
		},
		bareFirst: true,
		build:     func(o Options) (lineFormat, error) { return newBluecoatW3C(o.Layout, o.Columns) },
	}
}

func newBluecoatW3C(name string, columns []string) (*bluecoatW3C, error) {
	f := &bluecoatW3C{known: elffLayouts()}
	if len(columns) > 0 {
		layout := newElffLayout("columns", strings.Join(columns, " "), true)
		switch {
		case layout == nil:
			return nil, errors.New("columns name no time (date and time) or no host (cs-host, cs-uri): paste the whole #Fields line")
		case name != "":
			return nil, errors.New("a layout and columns both say what the columns are: leave one out")
		}
		f.fixed = []*elffLayout{layout}
		f.last = layout
		return f, nil
	}
	if name == "" {
		return f, nil
	}
	var names []string
	for _, layout := range f.known {
		if layout.name == name {
			f.fixed = append(f.fixed, layout)
		}
		if len(names) == 0 || names[len(names)-1] != layout.name {
			names = append(names, layout.name)
		}
	}
	if len(f.fixed) == 0 {
		return nil, fmt.Errorf("there is no layout %q: choose one of %s, or give columns", name, strings.Join(names, ", "))
	}
	return f, nil
}
