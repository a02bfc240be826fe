package parse

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// squidLogformat reads the lines of any logformat of squid.conf: the line is pasted into Options.Logformat, with or without
// the leading "logformat name", and compiled once. Each %code is
//
//	% ["|[|#|/|'] [-] [[0]width][.width] [{argument}] code [{argument}]
//
// All codes of Squid's documentation are known; some become fields, the others are read past. Text between them must be in
// the line as it is, but a run of spaces stands for any other, for numbers are padded. A value ends where the text behind
// it begins. Values are decoded as their quoting says, which inside "..." and [...] is Squid's default for that place.
// Of the texts that may hold spaces (names, unquoted headers, URLs) the shortest reading that fits the rest of the line is
// taken. What follows the last code is left alone, so a column added later does no harm. The format's name is not trusted:
// Squid ignores a redefinition of its built-in names since version 4, so the line itself is what counts.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/ and src/format/Format.cc, Token.cc.
type squidLogformat struct {
	steps   []logStep
	parts   [slots]string // the spec's own words for each slot, for explanations
	quoting [slots]quoting
	layout  *timeLayout
	spans   [slots]span
	budget  int
	column  int // the number of the first step behind the first column
	seen    int // how far into the line any reading came, to tell a truncated line
	reached int // how many steps any reading came, to tell a foreign line
	badTime int // the step at which a reading found a time that is none
}

// A quoting is how Squid encoded a value.
type quoting byte

const (
	pass     quoting = 0    // as it is; a user name %-encoded by Squid 2
	quoted   quoting = '"'  // backslash escapes
	mimeBlob quoting = '['  // %-encoded, a backslash written twice, spaces left
	urlCoded quoting = '#'  // %-encoded
	shell    quoting = '/'  // quoted and backslash-escaped where needed
	raw      quoting = '\'' // as it is
)

type stepKind uint8

const (
	stepSpaces  stepKind = iota + 1 // at least one space or tab
	stepLiteral                     // text
	stepValue                       // a value that ends before the next step
)

// A logStep is one step of reading a line.
type logStep struct {
	kind    stepKind
	text    []byte
	slot    slot
	shape   shape
	quoting quoting
	padded  bool // the value may stand between spaces
	inside  byte // the kind of quotes that stand around the value as text: '"', '[' or 0
	layout  *timeLayout
}

type span struct{ from, to int32 }

// maxReadings bounds the readings tried for one line.
const maxReadings = 1000

func squidLogformatFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "squid_logformat", About: "any Squid logformat, by the line that defines it in squid.conf", Kind: Web,
			Needs: []string{NeedLogformat}, Takes: []string{NeedZone},
		},
		bareFirst: true,
		build:     func(o Options) (lineFormat, error) { return compileLogformat(o.Logformat, o.Zone) },
	}
}

// compileLogformat compiles a logformat line. Its error tells every fault of the line.
func compileLogformat(spec string, zone *time.Location) (*squidLogformat, error) {
	f := &squidLogformat{}
	spec = strings.NewReplacer("\\\r\n", "", "\\\n", "").Replace(spec)
	spec = strings.Trim(spec, " \t\r\n")
	if words := strings.Fields(spec); len(words) > 0 && words[0] == "logformat" {
		if len(words) < 3 {
			return nil, errors.New("the logformat line has no codes: paste the whole line of squid.conf")
		}
		spec = strings.TrimLeft(spec[len("logformat"):], " \t")
		spec = strings.TrimLeft(spec[len(words[1]):], " \t")
	}
	var faults []error
	if strings.HasPrefix(spec, "#") {
		faults = append(faults, errors.New("the logformat begins with #: all its lines would be comments"))
	}
	var winner [slots]int // the step that fills a slot, plus one
	var rank [slots]uint8
	inside := byte(0)
	for i := 0; i < len(spec); {
		if spec[i] != '%' {
			end := strings.IndexByte(spec[i:], '%')
			if end < 0 {
				end = len(spec) - i
			}
			inside = f.literal(spec[i:i+end], inside)
			i += end
			continue
		}
		start := i
		step := logStep{kind: stepValue, inside: inside, quoting: quoting(inside)}
		i++
		if i < len(spec) && strings.IndexByte(`"[#/'`, spec[i]) >= 0 {
			step.quoting = quoting(spec[i])
			i++
		}
		for i < len(spec) && (spec[i] == '-' || spec[i]-'0' <= 9 || spec[i] == '.') {
			step.padded = true
			i++
		}
		argument, n, ok := braced(spec[i:])
		i += n
		if !ok {
			faults = append(faults, fmt.Errorf("the { at byte %d of the logformat is never closed", start+1))
			break
		}
		if i < len(spec) && spec[i] == '%' {
			f.literal("%", 0)
			i++
			continue
		}
		code, n := findLogCode(spec[i:])
		if n == 0 {
			unknown := spec[start:]
			if end := strings.IndexAny(unknown[1:], " \t%\"]"); end >= 0 {
				unknown = unknown[:end+1]
			}
			faults = append(faults, fmt.Errorf("the logformat code %s is not one that Squid's documentation names", unknown))
			i += max(1, len(unknown)-(i-start))
			continue
		}
		i += n
		if argument == "" {
			if argument, n, ok = braced(spec[i:]); !ok {
				faults = append(faults, fmt.Errorf("the { at byte %d of the logformat is never closed", i+1))
				break
			}
			i += n
		}
		code = headerCode(code, argument)
		step.slot, step.shape = code.slot, code.shape
		if code.shape == instant {
			layout := argument
			if layout == "" {
				layout = commonLayout
				if code.name == "tg" {
					layout = "%d/%b/%Y:%H:%M:%S"
				}
			}
			compiled, err := newTimeLayout(layout, code.name == "tg", zone)
			if err != nil {
				faults = append(faults, fmt.Errorf("logformat code %s: %w", spec[start:i], err))
				continue
			}
			step.layout = compiled
		}
		if last := len(f.steps) - 1; step.slot == slotSubsecond && last >= 1 && string(f.steps[last].text) == "." && f.steps[last-1].slot == slotSeconds {
			// %ts.%tu is one number: some lines lack its second half
			f.steps = f.steps[:last]
			f.steps[last-1].shape = decimals
			f.parts[slotSeconds] += "." + spec[start:i]
			continue
		}
		if last := len(f.steps) - 1; last >= 0 && f.steps[last].kind == stepValue && f.steps[last].shape != instant {
			faults = append(faults, fmt.Errorf("nothing stands between the logformat code %s and the one before it: they can't be told apart", spec[start:i]))
		}
		if s := step.slot; s != skipped {
			if winner[s] == 0 || code.rank < rank[s] {
				if winner[s] > 0 {
					f.steps[winner[s]-1].slot = skipped
				}
				winner[s], rank[s] = len(f.steps)+1, code.rank
				f.parts[s], f.quoting[s] = spec[start:i], step.quoting
			} else {
				step.slot = skipped
			}
		}
		f.steps = append(f.steps, step)
	}
	for n, step := range f.steps {
		if step.slot == slotTime {
			f.layout = step.layout
		}
		if step.kind == stepSpaces && f.column == 0 {
			f.column = n
		}
	}
	if len(faults) == 0 {
		has := func(list ...slot) bool {
			for _, s := range list {
				if winner[s] > 0 {
					return true
				}
			}
			return false
		}
		if !has(slotSeconds, slotTime, slotStart) {
			faults = append(faults, errors.New("the logformat has no time: add %ts.%03tu, %tl or %tg"))
		}
		if !has(slotURL, slotHost, slotSNI, slotHostHeader) {
			faults = append(faults, errors.New("the logformat does not say what was requested: add %ru, %>rd or %ssl::>sni"))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return f, nil
}

// braced answers the text of the {argument} at the beginning of spec and the bytes it takes; ok is false where it never ends.
func braced(spec string) (argument string, n int, ok bool) {
	if spec == "" || spec[0] != '{' {
		return "", 0, true
	}
	end := strings.IndexByte(spec, '}')
	if end < 0 {
		return "", 0, false
	}
	return spec[1:end], end + 1, true
}

// literal adds the steps for text between codes, and follows Squid in what quotes the next code stands inside of.
func (f *squidLogformat) literal(s string, inside byte) byte {
	for i := 0; i < len(s); {
		start, space := i, s[i] == ' ' || s[i] == '\t'
		for i < len(s) && (s[i] == ' ' || s[i] == '\t') == space {
			switch c := s[i]; {
			case c == '"' && inside == 0:
				inside = '"'
			case c == '"' && inside == '"', c == ']' && inside == '[':
				inside = 0
			case c == '[' && inside == 0:
				inside = '['
			}
			i++
		}
		last := len(f.steps) - 1
		switch {
		case space:
			f.steps = append(f.steps, logStep{kind: stepSpaces})
		case last >= 0 && f.steps[last].kind == stepLiteral:
			f.steps[last].text = append(f.steps[last].text, s[start:i]...)
		default:
			f.steps = append(f.steps, logStep{kind: stepLiteral, text: []byte(s[start:i])})
		}
	}
	return inside
}

// match reads b from position i by the steps from number n on, and leaves the values' places in spans.
func (f *squidLogformat) match(b []byte, n, i int) bool {
	for ; n < len(f.steps); n++ {
		f.seen, f.reached = max(f.seen, i), max(f.reached, n)
		step := &f.steps[n]
		switch step.kind {
		case stepSpaces:
			start := i
			for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
				i++
			}
			if i == start {
				return false
			}
			continue
		case stepLiteral:
			if !bytes.HasPrefix(b[i:], step.text) {
				return false
			}
			i += len(step.text)
			continue
		}
		if step.padded {
			for i < len(b) && b[i] == ' ' {
				i++
			}
		}
		from := i
		switch {
		case step.shape == instant:
			_, taken := step.layout.read(b[i:])
			if taken == 0 {
				f.badTime = n
				return false
			}
			i += taken
		case step.shape == decimals:
			_, taken, _ := epoch(b[i:])
			if taken == 0 {
				return false
			}
			i += taken
		case step.quoting == shell && i < len(b) && b[i] == '"':
			end := quotedEnd(b, i+1)
			if end < 0 {
				return false
			}
			i = end + 1
		case step.inside == '"' && f.before(n, '"'):
			if i = quotedEnd(b, i); i < 0 {
				f.seen = len(b)
				return false
			}
		case step.inside == '[' && f.before(n, ']') && step.quoting == mimeBlob:
			end := bytes.IndexByte(b[i:], ']')
			if end < 0 {
				f.seen = len(b)
				return false
			}
			i += end
		case step.shape == text || step.padded && n+1 < len(f.steps) && f.steps[n+1].kind == stepLiteral:
			return f.matchText(b, n, i)
		default:
			if i = f.wordEnd(b, n, i); i <= from {
				return false
			}
		}
		f.keep(step, b, from, i)
	}
	f.seen = max(f.seen, i)
	return true
}

// before says whether the step after number n is text that begins with c.
func (f *squidLogformat) before(n int, c byte) bool {
	return n+1 < len(f.steps) && f.steps[n+1].kind == stepLiteral && f.steps[n+1].text[0] == c
}

// wordEnd answers where the word at position i ends: before a space, and before the text that follows it in the format.
func (f *squidLogformat) wordEnd(b []byte, n, i int) int {
	start := i
	if f.steps[n].shape == number {
		if i < len(b) && b[i] == '-' {
			i++
		}
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i
	}
	if n+1 == len(f.steps) || f.steps[n+1].kind == stepSpaces {
		for i < len(b) && b[i] != ' ' && b[i] != '\t' {
			i++
		}
		return i
	}
	stop := f.steps[n+1].text
	// an IPv6 address before ":port" holds colons of its own: the last one counts
	colons := stop[0] == ':' && f.steps[n].shape == host
	for i < len(b) && b[i] != ' ' && b[i] != '\t' {
		if b[i] == stop[0] && !colons && bytes.HasPrefix(b[i:], stop) {
			return i
		}
		i++
	}
	if colons {
		if at := bytes.LastIndex(b[start:i], stop); at >= 0 {
			return start + at
		}
	}
	return i
}

// matchText reads a value that may hold spaces: the shortest with which the rest of the line can be read.
func (f *squidLogformat) matchText(b []byte, n, from int) bool {
	step := &f.steps[n]
	if n+1 == len(f.steps) {
		// the last of a line may go on to its end, but Squid writes no space into a URL unless told to
		to := len(b)
		if step.slot == slotURL || step.slot == slotPath {
			_, to = token(b, from)
		}
		f.keep(step, b, from, to)
		f.seen = len(b)
		return true
	}
	for to := from + 1; to <= len(b); to++ {
		switch next := &f.steps[n+1]; next.kind {
		case stepSpaces:
			at := bytes.IndexByte(b[to:], ' ')
			until := b[to:]
			if at >= 0 {
				until = until[:at]
			}
			if tab := bytes.IndexByte(until, '\t'); tab >= 0 {
				at = tab
			}
			if at < 0 {
				if to == from+1 {
					f.seen = len(b)
				}
				return false
			}
			to += at
		case stepLiteral:
			at := bytes.Index(b[to:], next.text)
			if at < 0 {
				if to == from+1 {
					f.seen = len(b)
				}
				return false
			}
			to += at
		}
		if f.budget--; f.budget < 0 {
			return false
		}
		f.keep(step, b, from, to)
		if f.match(b, n+1, to) {
			return true
		}
		if f.steps[n+1].kind == stepSpaces {
			// within a run of spaces every position reads the same
			for to < len(b) && (b[to] == ' ' || b[to] == '\t') {
				to++
			}
			to--
		}
	}
	return false
}

// keep notes where the value of a step stands, without the spaces that pad it.
func (f *squidLogformat) keep(step *logStep, b []byte, from, to int) {
	if step.slot == skipped {
		return
	}
	for step.padded && to > from && b[to-1] == ' ' {
		to--
	}
	f.spans[step.slot] = span{int32(from), int32(to)}
}

func (f *squidLogformat) read(b []byte, e *Event, s *scratch) (Reason, string) {
	e.Kind = Web
	b = trimRight(trimLeft(b))
	f.spans = [slots]span{}
	f.budget, f.seen, f.reached, f.badTime = maxReadings, 0, 0, -1
	if !f.match(b, 0, 0) {
		field := ""
		for n := f.reached; n < len(f.steps) && field == ""; n++ {
			field = f.steps[n].slot.field()
		}
		switch {
		case f.reached < f.column:
			return ForeignLine, field
		case f.reached == f.badTime:
			return BadTime, field
		case f.seen >= len(b):
			return Truncated, field
		}
		return BadLayout, field
	}
	return f.event(b, e, s)
}

// value answers the text in a slot with its quoting undone, nil where the line has none.
func (f *squidLogformat) value(b []byte, at slot, s *scratch) []byte {
	v := f.plain(b, at)
	if v == nil {
		return nil
	}
	switch f.quoting[at] {
	case quoted:
		return s.backslash(v)
	case mimeBlob:
		return s.mimeBlob(v)
	case urlCoded:
		return s.percent(v)
	case shell:
		if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		return s.backslash(v)
	}
	return v
}

// plain answers the text in a slot as written, nil where the line has none.
func (f *squidLogformat) plain(b []byte, at slot) []byte {
	place := f.spans[at]
	if place.to <= place.from {
		return nil
	}
	return present(b[place.from:place.to])
}

// event makes the event of the values that match found.
func (f *squidLogformat) event(b []byte, e *Event, s *scratch) (Reason, string) {
	var ok bool
	if e.Duration, ok = milliseconds(f.plain(b, slotDuration)); !ok {
		return BadNumber, "event.duration"
	}
	if e.Time, ok = f.time(b, e.Duration); !ok {
		return BadTime, "@timestamp"
	}
	if e.SourceIP, ok = client(f.plain(b, slotClient)); !ok {
		return BadAddress, "source.ip"
	}
	if !e.SourceIP.IsValid() {
		e.SourceIP, _ = address(f.plain(b, slotClientName))
	}
	if p := f.plain(b, slotClientPort); p != nil {
		if e.SourcePort, ok = port(p); !ok {
			return BadNumber, "source.port"
		}
	}
	for _, at := range userSlots() {
		name := f.value(b, at, s)
		if name == nil {
			continue
		}
		if f.quoting[at] == pass {
			name = s.mimeBlob(name)
		}
		e.User = name
		break
	}
	if e.Status, ok = status(f.plain(b, slotStatus)); !ok {
		return BadNumber, "http.response.status_code"
	}
	if e.DestinationBytes, ok = size(f.plain(b, slotBytesDown)); !ok {
		return BadNumber, "destination.bytes"
	}
	if e.SourceBytes, ok = size(f.plain(b, slotBytesUp)); !ok {
		return BadNumber, "source.bytes"
	}
	e.Method = f.plain(b, slotMethod)
	e.Referrer = f.value(b, slotReferrer, s)
	e.UserAgent = f.value(b, slotUserAgent, s)
	e.MIME = mimeType(f.plain(b, slotMIME))
	if e.Code = f.plain(b, slotResult); e.Code != nil {
		e.Action = squidAction(e.Code)
	}
	server := f.plain(b, slotServer)
	if hierarchy := f.plain(b, slotHierarchy); hierarchy != nil {
		e.DestinationIP = squidPeer(hierarchy, server)
	} else {
		e.DestinationIP, _ = address(server)
	}
	return f.target(b, e, s)
}

// time answers a request's end: the time it was logged, or the start and the duration.
func (f *squidLogformat) time(b []byte, took time.Duration) (ms int64, ok bool) {
	if place := f.spans[slotSeconds]; place.to > 0 {
		ms, n, ok := epoch(b[place.from:place.to])
		if !ok || n != int(place.to-place.from) {
			return 0, false
		}
		if part := f.plain(b, slotSubsecond); part != nil {
			v, ok := decimal(part[:min(3, len(part))])
			if !ok {
				return 0, false
			}
			ms += v
		}
		return ms, true
	}
	if place := f.spans[slotTime]; place.to > 0 {
		ms, n := f.layout.read(b[place.from:place.to])
		return ms, n > 0
	}
	started := f.plain(b, slotStart)
	ms, n, ok := epoch(started)
	if took > 0 {
		ms += took.Milliseconds()
	}
	return ms, ok && n == len(started)
}

// target reads what was requested from the URL, and from the codes for its parts where the URL does not say.
func (f *squidLogformat) target(b []byte, e *Event, s *scratch) (Reason, string) {
	url := f.value(b, slotURL, s)
	if starts(url, "error:") {
		return NoRequest, ""
	}
	if url != nil && !target(url, e) {
		return BadURL, "url.domain"
	}
	for _, at := range [2]slot{slotHost, slotHostHeader} {
		if name := f.value(b, at, s); e.Domain == nil && name != nil && !hostPort(name, e) {
			return BadURL, "url.domain"
		}
	}
	if name := f.value(b, slotSNI, s); name != nil {
		// an intercepted connection is asked for by address; the name in its TLS greeting is what the client meant
		if _, numeric := address(e.Domain); (numeric || e.Domain == nil) && !hostPort(name, e) {
			return BadURL, "url.domain"
		}
	}
	if v := f.plain(b, slotPort); v != nil && e.Port < 0 {
		var ok bool
		if e.Port, ok = port(v); !ok {
			return BadNumber, "url.port"
		}
	}
	if e.Scheme == nil {
		e.Scheme = f.value(b, slotScheme, s)
	}
	if e.Path == nil && e.Query == nil {
		if path := f.value(b, slotPath, s); len(path) > 0 && path[0] == '/' {
			e.Path, e.Query = pathQuery(path)
		}
	}
	switch {
	case e.Domain != nil || e.DestinationIP.IsValid():
		return "", ""
	case url == nil:
		return NoRequest, ""
	}
	return NoDestination, "url.domain"
}

// hostPort reads a host with or without port, which nothing of a URL follows.
func hostPort(b []byte, e *Event) bool { return !bytes.ContainsAny(b, "/?#") && authority(b, e) }

func (f *squidLogformat) origins() []Origin {
	var list []Origin
	for s := skipped + 1; s < slots; s++ {
		if f.parts[s] == "" {
			continue
		}
		fields := []string{s.field()}
		switch s {
		case slotURL:
			fields = []string{"url.scheme", "url.domain", "url.port", "url.path", "url.query"}
		case slotResult:
			fields = []string{"event.action", "event.code"}
		case slotHierarchy:
			fields = nil
		}
		for _, field := range fields {
			list = append(list, Origin{field, f.parts[s]})
		}
	}
	return list
}
