package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	_ "time/tzdata" // --tz must work in a container that holds nothing but this program
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"tillsyn/ingest"
	"tillsyn/ingest/parse"
)

func parseCommand() *cli.Command {
	return &cli.Command{
		Name:        "parse",
		Usage:       "read log files and print each event as a line of JSON",
		ArgsUsage:   "FILE...   (- is standard input)",
		Description: parseHelp(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "the log format, `NAME` being one of the list above, or auto"},
			&cli.StringFlag{Name: "tz", Usage: "the time `ZONE` of times that name none, such as Europe/Stockholm"},
			&cli.StringFlag{Name: "logformat", Usage: "the logformat line of squid.conf, with or without its first two words, or the output format of a Zscaler feed, as `SPEC`"},
			&cli.StringFlag{Name: "layout", Usage: "the `NAME` of a column layout"},
			&cli.StringFlag{Name: "columns", Usage: "the columns' names in order, a comma-separated `LIST`"},
			&cli.StringFlag{Name: "internal-domains", Usage: "mail domains of our own, a comma-separated `LIST`"},
			&cli.BoolFlag{Name: "all", Usage: "print every field, query, referrer and user agent among them"},
			&cli.BoolFlag{Name: "explain", Usage: "show how one line was read: each field, its value, and the part of the format it came from"},
			&cli.IntFlag{Name: "line", Value: 1, Usage: "the number `N` of the line to explain"},
		},
		Action: func(c *cli.Context) error {
			files, err := argumentsOf(c)
			if err != nil {
				return err
			}
			o := parseOptions{
				Options: parse.Options{
					Format: c.String("format"), Logformat: c.String("logformat"), Layout: c.String("layout"),
					Columns: commaList(c.String("columns")), InternalDomains: commaList(c.String("internal-domains")),
				},
				files: files, all: c.Bool("all"), explain: c.Bool("explain"), line: c.Int("line"),
			}
			if name := c.String("tz"); name != "" {
				zone, err := time.LoadLocation(name)
				if err != nil {
					return usageErrorf("--tz: there is no time zone %q: use a name of the tz database, such as Europe/Stockholm", name)
				}
				o.Zone = zone
			}
			return runParse(c.Context, c.App.Reader, c.App.Writer, c.App.ErrWriter, o)
		},
	}
}

func parseHelp() string {
	var b strings.Builder
	b.WriteString("One JSON object per event goes to standard output, with the names of the Elastic Common Schema; a field that the\n" +
		"line does not have is absent. Lines that can't be read go to standard error as JSON: file, line, reason, field, and\n" +
		"never a byte of the line. Empty lines and # comments are neither. A file may be packed with gzip or zstd.\n\n" +
		"The format auto looks at the first lines and says on standard error which format it took, and why.\n\n" +
		"Exit code: 0 when anything was read or there was nothing to read, 3 when every line was rejected or auto found no format.\n\nFormats:\n")
	for _, f := range parse.Formats() {
		fmt.Fprintf(&b, "  %-18s %s", f.Name, f.About)
		if len(f.Needs) > 0 {
			var flags []string
			for _, need := range f.Needs {
				flags = append(flags, needFlag(need))
			}
			fmt.Fprintf(&b, " (needs %s)", strings.Join(flags, ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// needFlag is the flag that gives a need of a format.
func needFlag(need string) string {
	if need == parse.NeedZone {
		return "--tz"
	}
	return "--" + strings.ReplaceAll(need, "_", "-")
}

// formatError is a usage error of all that is wrong with how a format was asked for, in the names of the flags.
func formatError(err error) error {
	var faults []string
	for _, e := range leaves(err) {
		if option, ok := errors.AsType[*parse.OptionError](e); ok {
			e = errors.New(option.Call(needFlag(option.Option)))
		}
		faults = append(faults, e.Error())
	}
	return usageErrorf("%s", strings.Join(faults, "; "))
}

// commaList splits a comma-separated flag; nil for an empty one.
func commaList(s string) []string {
	if s == "" {
		return nil
	}
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

type parseOptions struct {
	parse.Options
	files   []string
	all     bool
	explain bool
	line    int
}

// runParse prints the events of o.files to out and their rejects to faults.
func runParse(ctx context.Context, in io.Reader, out, faults io.Writer, o parseOptions) error {
	if o.Format == "" {
		return usageErrorf("say which format to read: --format NAME (see 'tillsyn parse --help')")
	}
	if len(o.files) == 0 {
		return usageErrorf("say which files to read, or - for standard input")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	clock, written := o.Now, lastWritten(o.files[0], o.Now)
	o.Now = func() time.Time { return written }
	if o.Format == "auto" {
		var err error
		if o.Format, in, err = detectFormat(in, faults, o.files[0]); err != nil {
			return err
		}
	}
	parser, err := parse.New(o.Options)
	if err != nil {
		return formatError(err)
	}
	if o.explain {
		return explainLine(in, out, parser, o)
	}
	p := eventPrinter{parser: parser, fields: eventFields(o.all), out: bufio.NewWriterSize(out, 1<<16), faults: bufio.NewWriterSize(faults, 1<<14)}
	for _, name := range o.files {
		written = lastWritten(name, clock)
		if err = readRecords(in, name, func(number int, line []byte) error {
			if number%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return p.print(name, number, line)
		}); err != nil {
			break
		}
	}
	err = errors.Join(err, p.out.Flush(), p.faults.Flush())
	if err == nil && p.events == 0 && p.rejects > 0 {
		return foundErrorf("none of %d lines could be read as %s", p.rejects, o.Format)
	}
	return err
}

// lastWritten answers when a file was last written, so that a time in it that names no year is read alike in every year; now
// for standard input, and for a file that can't be looked at.
func lastWritten(name string, now func() time.Time) time.Time {
	if name != "-" {
		if about, err := os.Stat(name); err == nil {
			return about.ModTime()
		}
	}
	return now()
}

// readRecords calls each for every record of a file: a line with its line end, or a JSON document of several lines.
func readRecords(in io.Reader, name string, each func(number int, record []byte) error) error {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, _, err := ingest.Unpack(in)
	if err != nil {
		return fmt.Errorf("read log %s: %w", name, err)
	}
	defer text.Close()
	var fault error
	err = parse.Records(text, func(number int, record []byte) error {
		fault = each(number, record)
		return fault
	})
	if err == nil || fault != nil {
		return fault
	}
	return fmt.Errorf("read log %s: %w", name, err)
}

const (
	detectBytes   = 256 << 10 // of a log are looked at to tell its format
	detectRecords = 500
)

// detectFormat tells the format of the first file and says why on explain. It answers in, or what stands for it where some of
// it was read.
func detectFormat(in io.Reader, explain io.Writer, name string) (format string, rest io.Reader, err error) {
	source := in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", in, fmt.Errorf("read log: %w", err)
		}
		defer file.Close()
		source = file
	}
	text, _, err := ingest.Unpack(source)
	if err != nil {
		return "", in, fmt.Errorf("read log %s: %w", name, err)
	}
	head := bufio.NewReaderSize(text, detectBytes)
	if rest = in; name == "-" {
		rest = head
	}
	begin, err := head.Peek(detectBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", rest, fmt.Errorf("read log %s: %w", name, err)
	}
	var sample [][]byte
	if fault := parse.Records(bytes.NewReader(begin), func(_ int, record []byte) error {
		sample = append(sample, bytes.Clone(record))
		if len(sample) == detectRecords {
			return io.EOF
		}
		return nil
	}); fault == nil && err == nil && len(sample) > 1 {
		// the last one is cut off where the sample ends
		sample = sample[:len(sample)-1]
	}
	guesses := parse.Detect(sample)
	best, err := parse.Choose(guesses)
	if err != nil {
		return "", rest, foundErrorf("%w", err)
	}
	fmt.Fprintf(explain, "format %s: %s", best.Format, best.Why)
	if len(guesses) > 1 {
		fmt.Fprintf(explain, " (next: %s, %s)", guesses[1].Format, guesses[1].Why)
	}
	fmt.Fprintln(explain)
	return best.Format, rest, nil
}

// An eventPrinter prints a parser's events and rejects as lines of JSON.
type eventPrinter struct {
	parser          parse.Parser
	fields          []eventField
	out, faults     *bufio.Writer
	events, rejects int
	buf             []byte
}

func (p *eventPrinter) print(file string, number int, line []byte) (err error) {
	p.parser.Parse(line, func(e *parse.Event) {
		p.events++
		p.buf = append(appendEvent(p.buf[:0], e, p.fields), '\n')
		if _, fault := p.out.Write(p.buf); fault != nil {
			err = fmt.Errorf("write event: %w", fault)
		}
	}, func(r parse.Reject) {
		p.rejects++
		text, fault := json.Marshal(struct {
			File   string       `json:"file"`
			Line   int          `json:"line"`
			Reason parse.Reason `json:"reason"`
			Field  string       `json:"field"`
		}{file, number + r.Line - 1, r.Reason, r.Field})
		if fault == nil {
			_, fault = p.faults.Write(append(text, '\n'))
		}
		if fault != nil {
			err = fmt.Errorf("write reject: %w", fault)
		}
	})
	return err
}

// An eventField is one field of the printed event. value appends the field as JSON, or nothing where the event lacks it.
type eventField struct {
	name  string
	extra bool // printed with --all only
	value func(dst []byte, e *parse.Event) []byte
}

// eventFields is what 'tillsyn parse' prints, in order; all of it, or what is fit for a screen.
func eventFields(all bool) []eventField {
	text := func(of func(*parse.Event) []byte) func([]byte, *parse.Event) []byte {
		return func(dst []byte, e *parse.Event) []byte {
			if v := of(e); v != nil {
				dst = appendText(dst, v)
			}
			return dst
		}
	}
	number := func(of func(*parse.Event) int64) func([]byte, *parse.Event) []byte {
		return func(dst []byte, e *parse.Event) []byte {
			if v := of(e); v >= 0 {
				dst = strconv.AppendInt(dst, v, 10)
			}
			return dst
		}
	}
	address := func(of func(*parse.Event) netip.Addr) func([]byte, *parse.Event) []byte {
		return func(dst []byte, e *parse.Event) []byte {
			if v := of(e); v.IsValid() {
				dst = append(v.AppendTo(append(dst, '"')), '"')
			}
			return dst
		}
	}
	fields := []eventField{
		{"@timestamp", false, func(dst []byte, e *parse.Event) []byte {
			return time.UnixMilli(e.Time).UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
		}},
		{"event.count", false, func(dst []byte, e *parse.Event) []byte {
			// no field of ECS: said only where the line stands for more than one event
			if e.Count > 1 {
				dst = strconv.AppendUint(dst, uint64(e.Count), 10)
			}
			return dst
		}},
		{"source.ip", false, address(func(e *parse.Event) netip.Addr { return e.SourceIP })},
		{"source.port", false, number(func(e *parse.Event) int64 { return int64(e.SourcePort) })},
		{"user.name", false, text(func(e *parse.Event) []byte { return e.User })},
		{"http.request.method", false, text(func(e *parse.Event) []byte { return e.Method })},
		{"url.scheme", false, text(func(e *parse.Event) []byte { return e.Scheme })},
		{"url.domain", false, text(func(e *parse.Event) []byte { return e.Domain })},
		{"url.port", false, number(func(e *parse.Event) int64 { return int64(e.Port) })},
		{"url.path", false, text(func(e *parse.Event) []byte { return e.Path })},
		{"url.query", true, text(func(e *parse.Event) []byte { return e.Query })},
		{"http.request.referrer", true, text(func(e *parse.Event) []byte { return e.Referrer })},
		{"user_agent.original", true, text(func(e *parse.Event) []byte { return e.UserAgent })},
		{"http.response.status_code", false, number(func(e *parse.Event) int64 { return int64(e.Status) })},
		{"event.action", false, func(dst []byte, e *parse.Event) []byte {
			switch e.Action {
			case parse.Allowed:
				dst = append(dst, `"allowed"`...)
			case parse.Blocked:
				dst = append(dst, `"blocked"`...)
			}
			return dst
		}},
		{"event.code", false, text(func(e *parse.Event) []byte {
			if e.Kind == parse.Web && !all {
				return nil
			}
			return e.Code
		})},
		{"event.outcome", false, text(func(e *parse.Event) []byte { return e.Outcome })},
		{"postfix.queue_id", false, text(func(e *parse.Event) []byte { return e.QueueID })},
		{"email.message_id", false, text(func(e *parse.Event) []byte { return e.MessageID })},
		{"email.from.address", false, text(func(e *parse.Event) []byte { return e.From })},
		{"email.to.address", false, func(dst []byte, e *parse.Event) []byte {
			for i, to := range e.To {
				if i == 0 {
					dst = append(dst, '[')
				} else {
					dst = append(dst, ',')
				}
				dst = appendText(dst, to)
			}
			if len(e.To) > 0 {
				dst = append(dst, ']')
			}
			return dst
		}},
		{"email.subject", false, text(func(e *parse.Event) []byte { return e.Subject })},
		{"email.direction", false, text(func(e *parse.Event) []byte { return e.Direction })},
		{"destination.ip", false, address(func(e *parse.Event) netip.Addr { return e.DestinationIP })},
		{"destination.bytes", false, number(func(e *parse.Event) int64 { return e.DestinationBytes })},
		{"source.bytes", false, number(func(e *parse.Event) int64 { return e.SourceBytes })},
		{"event.duration", false, func(dst []byte, e *parse.Event) []byte {
			if e.Duration >= 0 {
				dst = strconv.AppendFloat(dst, math.Round(float64(e.Duration)/1e3)/1e3, 'f', -1, 64)
			}
			return dst
		}},
		{"http.response.mime_type", false, text(func(e *parse.Event) []byte { return e.MIME })},
	}
	return slices.DeleteFunc(fields, func(f eventField) bool { return f.extra && !all })
}

// appendEvent appends e as a JSON object.
func appendEvent(dst []byte, e *parse.Event, fields []eventField) []byte {
	dst = append(dst, '{')
	empty := len(dst)
	for _, f := range fields {
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), f.name...), `":`...)
		value := len(dst)
		if dst = f.value(dst, e); len(dst) == value {
			dst = dst[:before]
		}
	}
	return append(dst, '}')
}

// appendText appends b as a JSON string. Bytes that are no UTF-8 are read as Latin-1, byte by byte, as logs with å, ä and ö
// from before UTF-8 need. Everything that could steer a terminal is escaped.
func appendText(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	latin1 := !utf8.Valid(b)
	dst = append(dst, '"')
	for i := 0; i < len(b); {
		r, n := rune(b[i]), 1
		if r >= utf8.RuneSelf && !latin1 {
			r, n = utf8.DecodeRune(b[i:])
		}
		i += n
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			dst = append(dst, byte(r))
		case r < 0xa0, r >= 0x200e && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// explainLine shows how line o.line of the first file was read.
func explainLine(in io.Reader, out io.Writer, parser parse.Parser, o parseOptions) error {
	if o.line < 1 {
		return usageErrorf("--line: lines are numbered from 1")
	}
	if len(o.files) > 1 {
		return usageErrorf("--explain shows one line of one file: name one file")
	}
	parts := map[string]string{}
	for _, origin := range parse.Origins(parser) {
		if parts[origin.Field] != "" {
			origin.Part = parts[origin.Field] + ", " + origin.Part
		}
		parts[origin.Field] = origin.Part
	}
	last, answered, rejected := 0, false, false
	table := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	err := readRecords(in, o.files[0], func(number int, line []byte) error {
		if number > o.line {
			return io.EOF
		}
		last = number + max(bytes.Count(line, []byte{'\n'})-1, 0) // of the record's lines
		// earlier lines are read too: a parser may know from them how to read this one
		parser.Parse(line, func(e *parse.Event) {
			if last < o.line {
				return
			}
			if answered {
				fmt.Fprintln(table)
			}
			answered = true
			fmt.Fprintln(table, "FIELD\tVALUE\tREAD FROM")
			for _, f := range eventFields(true) {
				if value := f.value(nil, e); len(value) > 0 {
					fmt.Fprintf(table, "%s\t%s\t%s\n", f.name, value, parts[f.name])
				}
			}
		}, func(r parse.Reject) {
			if last < o.line {
				return
			}
			rejected = true
			fmt.Fprintln(table, "REJECTED\tFIELD\tEXPECTED")
			fmt.Fprintf(table, "%s\t%s\t%s\n", r.Reason, r.Field, parts[r.Field])
		})
		return nil
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	switch {
	case last < o.line:
		return usageErrorf("--line: there is no line %d in %s, which has %d", o.line, o.files[0], last)
	case rejected:
		return foundErrorf("line %d could not be read as %s", o.line, o.Format)
	case !answered:
		if _, err := fmt.Fprintf(out, "line %d is empty, a comment, a header or of another log: there is nothing to read in it\n", o.line); err != nil {
			return fmt.Errorf("write explanation: %w", err)
		}
	}
	return nil
}
