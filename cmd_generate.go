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
		Description: "Three invented tenants, their people, units and networks, and what they did on the web: log lines, the directory, the\n" +
			"category lists, a country database, a piece of configuration that reads all that, and the truth to compare reports\n" +
			"with (truth.json, and its cells in truth.FORMAT.ndjson). The same flags give the same bytes. Nobody in it exists.\n\n" +
			"Formats: " + strings.Join(synthetic.FormatNames(), ", ") + ", or all.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write into the folder `DIR`; - writes the lines of one format to standard output and nothing else"},
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: d.Format, Usage: "the log formats, a comma-separated `LIST`, or all"},
			&cli.Int64Flag{Name: "lines", Usage: "write exactly `N` lines per format (" + strconv.FormatInt(d.Lines, 10) + " unless --days is given)"},
			&cli.IntFlag{Name: "days", Usage: "write what happens on `N` local days; with --lines, spread the lines over them (" + strconv.Itoa(d.Days) + ")"},
			&cli.StringFlag{Name: "from", Value: d.From, Usage: "the first local day, as `DATE` (2006-01-02)"},
			&cli.IntFlag{Name: "people", Value: d.People, Usage: "how many people there are, `N` in all three tenants"},
			&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "which municipality, any number `N`"},
			&cli.IntFlag{Name: "shards", Value: d.Shards, Usage: "deal each format's lines to `N` files by person, as a keyed Kafka topic does"},
			&cli.Float64Flag{Name: "bad", Usage: "make a `SHARE` of the lines malformed, such as 0.001"},
			&cli.Float64Flag{Name: "latin1", Usage: "write a `SHARE` of the user names outside ASCII in ISO 8859-1"},
			&cli.BoolFlag{Name: "truth", Value: true, Usage: "write the truth; --truth=false leaves it out"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageErrorf("generate takes no arguments, only flags; the folder is --out DIR")
			}
			o := generateOptions{out: c.String("out"), formats: c.String("format"), truth: c.Bool("truth"), now: time.Now}
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
	now              func() time.Time
}

// A logWriter writes one format: a file for each shard.
type logWriter struct {
	format synthetic.Format
	encode func([]byte, *synthetic.Event) []byte
	line   []byte
	files  []*os.File
	shards []*bufio.Writer
}

func (w *logWriter) write(e *synthetic.Event) error {
	w.line = append(synthetic.AppendLine(w.line[:0], e, w.encode), '\n')
	_, err := w.shards[e.Shard%len(w.shards)].Write(w.line)
	return err
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
		w := &logWriter{format: f, encode: f.New(zone)}
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
	var lines int64
	for {
		if lines%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := m.NextEvent()
		if !ok {
			break
		}
		lines++
		for _, w := range logs {
			if err := w.write(e); err != nil {
				return fmt.Errorf("generate: write %s: %w", w.format.Name, err)
			}
		}
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
	fmt.Fprintf(log, "%s: %d lines of %d format(s) in %.2f s, %.2f million lines a second\n",
		m.Describe(), lines, len(formats), took.Seconds(), float64(lines)*float64(len(formats))/1e6/max(took.Seconds(), 1e-9))
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
	for i, f := range formats {
		truth := m.TruthFor(f)
		if i == 0 {
			// What differs between formats is only what a reader of one can't see: bytes out and countries.
			if err := file("truth.json", truth.Write); err != nil {
				return err
			}
		}
		if err := file("truth."+f.Name+".ndjson", truth.WriteCells); err != nil {
			return err
		}
	}
	return nil
}
