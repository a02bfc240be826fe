package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/synthetic"
)

func generateCommand() *cli.Command {
	d := synthetic.DefaultConfig()
	return &cli.Command{
		Name:  "generate",
		Usage: "write the logs of a municipality that does not exist, with the exact answers to what they hold",
		Description: "Three invented tenants, their people, units and networks, what they did on the web and whom they wrote to: log lines,\n" +
			"the directory, the category lists, a country database, a piece of configuration that reads all that, and the truth to\n" +
			"compare reports with (truth.json and truth.mail.json, and the cells of each in truth.FORMAT.ndjson). The same flags give\n" +
			"the same bytes. Nobody in it exists.\n\n" +
			"Formats: " + strings.Join(synthetic.FormatNames(), ", ") + ", or all.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write into the folder `DIR`; - writes the lines of one format to standard output and nothing else"},
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: d.Format, Usage: "the log formats, a comma-separated `LIST`, or all"},
			&cli.Int64Flag{Name: "lines", Usage: "write exactly `N` lines per proxy format, and a message for every ten of them (" + strconv.FormatInt(d.Lines, 10) + " unless --days is given)"},
			&cli.IntFlag{Name: "days", Usage: "write what happens on `N` local days; with --lines, spread the lines over them (" + strconv.Itoa(d.Days) + ")"},
			&cli.StringFlag{Name: "from", Value: d.From, Usage: "the first local day, as `DATE` (2006-01-02)"},
			&cli.IntFlag{Name: "people", Value: d.People, Usage: "how many people there are, `N` in all three tenants"},
			&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "which municipality, any number `N`"},
			&cli.IntFlag{Name: "shards", Value: d.Shards, Usage: "deal each format's lines to `N` files by person (mail: by server), as a keyed Kafka topic does"},
			&cli.Float64Flag{Name: "bad", Usage: "make a `SHARE` of the lines of proxies malformed, such as 0.001"},
			&cli.Float64Flag{Name: "latin1", Usage: "write a `SHARE` of the user names and subjects outside ASCII in ISO 8859-1"},
			&cli.BoolFlag{Name: "truth", Value: true, Usage: "write the truth; --truth=false leaves it out"},
			&cli.BoolFlag{Name: "json", Usage: "print what was written as JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageErrorf("generate takes no arguments, only flags; the folder is --out DIR")
			}
			o := generateOptions{out: c.String("out"), formats: c.String("format"), truth: c.Bool("truth"), json: c.Bool("json"), now: time.Now}
			o.Config = synthetic.Config{
				Seed: c.Uint64("seed"), People: c.Int("people"), From: c.String("from"), Days: d.Days, Lines: d.Lines,
				Shards: c.Int("shards"), Bad: c.Float64("bad"), Latin1: c.Float64("latin1"),
			}
			if c.IsSet("days") {
				o.Days, o.Lines = c.Int("days"), 0
			}
			if c.IsSet("lines") {
				if o.Lines = c.Int64("lines"); o.Lines < 1 {
					return usageErrorf("--lines is %d; give 1 or more", o.Lines)
				}
			}
			return runGenerate(c.Context, c.App.Writer, c.App.ErrWriter, o)
		},
	}
}

type generateOptions struct {
	synthetic.Config        // Format is set from formats
	out              string // folder, or "-"
	formats          string
	truth            bool
	json             bool // say on stdout what was written
	now              func() time.Time
}

// A logWriter writes one format: a file for each shard.
type logWriter struct {
	format synthetic.Format
	encode func([]byte, *synthetic.Event) []byte // of requests
	mail   *synthetic.MailLog                    // of messages
	line   []byte
	lines  int64
	files  []*os.File
	shards []*bufio.Writer
}

func newLogWriter(f synthetic.Format, zone *time.Location) *logWriter {
	if f.Mail {
		return &logWriter{format: f, mail: f.NewMailLog(zone)}
	}
	return &logWriter{format: f, encode: f.New(zone)}
}

func (w *logWriter) write(e *synthetic.Event) error {
	w.line = synthetic.AppendLine(w.line[:0], e, w.encode)
	return w.put(e.Shard, w.line)
}

func (w *logWriter) put(shard int, line []byte) error {
	w.lines++
	to := w.shards[shard%len(w.shards)]
	if _, err := to.Write(line); err != nil {
		return err
	}
	return to.WriteByte('\n')
}

// begin writes the lines with which each file begins.
func (w *logWriter) begin() error {
	if w.mail == nil {
		return nil
	}
	for shard := range w.shards {
		for _, line := range w.mail.Header() {
			if err := w.put(shard, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *logWriter) close() error {
	var errs []error
	for _, s := range w.shards {
		errs = append(errs, s.Flush())
	}
	for _, f := range w.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// runGenerate writes what o asks for: lines to stdout or everything to a folder; how long it took goes to log.
func runGenerate(ctx context.Context, stdout, log io.Writer, o generateOptions) error {
	if o.out == "" {
		return usageErrorf("say where to write: --out DIR, or --out - for standard output")
	}
	var formats []synthetic.Format
	for _, name := range commaList(o.formats) {
		if name == "all" {
			formats = synthetic.Formats()
			break
		}
		f, ok := synthetic.FormatByName(name)
		if !ok {
			return usageErrorf("--format: there is no format %q; there are %s, and all", name, strings.Join(synthetic.FormatNames(), ", "))
		}
		if slices.ContainsFunc(formats, func(o synthetic.Format) bool { return o.Name == f.Name }) {
			return usageErrorf("--format names %s twice", f.Name)
		}
		formats = append(formats, f)
	}
	if len(formats) == 0 {
		return usageErrorf("--format names no format")
	}
	if o.out == "-" && o.json {
		return usageErrorf("--out - writes the log and nothing else: leave --json out")
	}
	if o.out == "-" && len(formats) > 1 {
		return usageErrorf("--out - writes one format, not %d", len(formats))
	}
	o.Config.Format = formats[0].Name
	if err := o.Config.Validate(); err != nil {
		return usageErrorf("%w", err)
	}
	m, err := synthetic.New(o.Config)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(synthetic.TimeZone)
	if err != nil {
		return fmt.Errorf("generate: load the time zone: %w", err)
	}
	if o.out != "-" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return fmt.Errorf("generate: make the folder: %w", err)
		}
	}
	began := o.now()
	var logs []*logWriter
	defer func() { // what an error has left open; the error itself says more than their closing would
		for _, w := range logs {
			w.close()
		}
	}()
	for _, f := range formats {
		w := newLogWriter(f, zone)
		logs = append(logs, w)
		if o.out == "-" {
			w.shards = []*bufio.Writer{bufio.NewWriterSize(stdout, 1<<20)}
			continue
		}
		for i := range o.Shards {
			name := f.Name + ".log"
			if o.Shards > 1 {
				name = f.Name + "." + strconv.Itoa(i) + ".log"
			}
			file, err := os.Create(filepath.Join(o.out, name))
			if err != nil {
				return fmt.Errorf("generate: %w", err)
			}
			w.files = append(w.files, file)
			w.shards = append(w.shards, bufio.NewWriterSize(file, 1<<18))
		}
	}
	if err := writeLogs(ctx, m, logs); err != nil {
		return err
	}
	var lines int64
	for _, w := range logs {
		lines += w.lines
	}
	for _, w := range logs {
		err = errors.Join(err, w.close())
	}
	logs = nil
	if err != nil {
		return fmt.Errorf("generate: write the logs: %w", err)
	}
	took := o.now().Sub(began)
	if o.out == "-" {
		return nil
	}
	if err := writeGenerated(m, formats, o); err != nil {
		return err
	}
	if o.json {
		var names []string
		for _, f := range formats {
			names = append(names, f.Name)
		}
		return printJSON(stdout, struct {
			Folder  string   `json:"folder"`
			About   string   `json:"about"`
			Formats []string `json:"formats"`
			Lines   int64    `json:"lines"` // of all formats
			Seconds float64  `json:"seconds"`
		}{o.out, m.Describe(), names, lines, took.Seconds()})
	}
	fmt.Fprintf(log, "%s: %d lines in %d format(s) in %.2f s, %.2f million lines a second\n",
		m.Describe(), lines, len(formats), took.Seconds(), float64(lines)/1e6/max(took.Seconds(), 1e-9))
	return nil
}

// writeLogs writes all requests and all messages of m to the logs that are about them.
func writeLogs(ctx context.Context, m *synthetic.Municipality, logs []*logWriter) error {
	var web, mail []*logWriter
	for _, w := range logs {
		if w.mail != nil {
			mail = append(mail, w)
		} else {
			web = append(web, w)
		}
	}
	for n := 0; len(web) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		for _, w := range web {
			if err := w.write(e); err != nil {
				return fmt.Errorf("generate: write %s: %w", w.format.Name, err)
			}
		}
	}
	for _, w := range mail {
		if err := w.begin(); err != nil {
			return fmt.Errorf("generate: write %s: %w", w.format.Name, err)
		}
	}
	for n := 0; len(mail) > 0; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := m.NextMessage()
		for _, w := range mail {
			var err error
			if ok {
				err = w.mail.Add(e, w.put)
			} else {
				err = w.mail.Close(w.put)
			}
			if err != nil {
				return fmt.Errorf("generate: write %s: %w", w.format.Name, err)
			}
		}
		if !ok {
			break
		}
	}
	return nil
}

// writeGenerated writes what stands beside the logs.
func writeGenerated(m *synthetic.Municipality, formats []synthetic.Format, o generateOptions) error {
	file := func(name string, write func(io.Writer) error) error {
		f, err := os.Create(filepath.Join(o.out, name))
		if err != nil {
			return fmt.Errorf("generate: %w", err)
		}
		w := bufio.NewWriterSize(f, 1<<18)
		if err := errors.Join(write(w), w.Flush(), f.Close()); err != nil {
			return fmt.Errorf("generate: write %s: %w", name, err)
		}
		return nil
	}
	err := errors.Join(
		file("directory.csv", m.WriteDirectory),
		file("country.mmdb", m.WriteCountries),
		file("tillsyn.yaml", func(w io.Writer) error { return m.WriteConfig(w, formats) }),
		m.WriteLists(filepath.Join(o.out, "lists")),
	)
	if err != nil || !o.truth {
		return err
	}
	// What differs between the formats of a kind is only what a reader of one can't see: the first speaks for all.
	var web, mail bool
	for _, f := range formats {
		var head, cells func(io.Writer) error
		name, said := "truth.json", &web
		if f.Mail {
			truth := m.MailTruthFor(f)
			head, cells, name, said = truth.Write, truth.WriteCells, "truth.mail.json", &mail
		} else {
			truth := m.TruthFor(f)
			head, cells = truth.Write, truth.WriteCells
		}
		if !*said {
			*said = true
			if err := file(name, head); err != nil {
				return err
			}
		}
		if err := file("truth."+f.Name+".ndjson", cells); err != nil {
			return err
		}
	}
	return nil
}
