package parse

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// DetectShare is the share of lines that a format has to read for Choose to believe in it.
const DetectShare = 0.8

// A Guess says how well a format reads a sample.
type Guess struct {
	Format string
	Share  float64 // of the sample's records that it read, 0 to 1; comments and empty lines are none
	Fields float64 // how many fields an event has on average: of formats that read a sample, the one that reads more of it is right
	Why    string  // the figures in words, without a byte of the sample
}

// Detect tries every format that needs to be told nothing on a sample of records, in their order, and answers those that read
// any of it, the likeliest first: by share times fields. A record counts as read when every line of it is an event with its key
// fields (of a request: where to, and from whom or whence; of a mail: of which message, or from and to whom), one that the
// format passes over, or one that it knows for a request that never came to be.
func Detect(sample [][]byte) []Guess {
	var list []Guess
	for _, f := range formats() {
		if len(f.Needs) > 0 {
			continue
		}
		p, err := New(Options{Format: f.Name})
		if err != nil {
			continue
		}
		if g, ok := try(p, sample); ok {
			g.Format = f.Name
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(a, b Guess) int {
		return cmp.Compare(b.Share*b.Fields, a.Share*a.Fields)
	})
	return list
}

// try reads a sample with one parser.
func try(p Parser, sample [][]byte) (g Guess, ok bool) {
	records, read, events, fields := 0, 0, 0, 0
	reasons := map[Reason]int{}
	for _, record := range sample {
		if !anything(record) {
			continue
		}
		records++
		good := true
		p.Parse(record, func(e *Event) {
			if !keyed(e) {
				good = false
				return
			}
			events++
			fields += filled(e)
		}, func(r Reject) {
			switch r.Reason {
			case ContradictoryHeader, NoRequest, NoDestination:
			default:
				good = false
			}
			reasons[r.Reason]++
		})
		if good {
			read++
		}
	}
	if events == 0 || read == 0 {
		return g, false
	}
	g.Share, g.Fields = float64(read)/float64(records), float64(fields)/float64(events)
	var why strings.Builder
	fmt.Fprintf(&why, "%d of %d lines read, %.1f fields each", read, records, g.Fields)
	var names []Reason
	for reason := range reasons {
		names = append(names, reason)
	}
	slices.SortFunc(names, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b))
	})
	for i, reason := range names {
		if i == 0 {
			why.WriteString("; rejected:")
		}
		fmt.Fprintf(&why, " %d %s", reasons[reason], reason)
	}
	g.Why = why.String()
	return g, true
}

// anything says whether a record holds a line that is neither empty nor a comment.
func anything(record []byte) bool {
	for line := range bytes.Lines(bytes.TrimPrefix(record, []byte(utf8BOM))) {
		if !silent(bytes.TrimRight(line, "\r\n\x00")) {
			return true
		}
	}
	return false
}

// keyed says whether an event has its key fields.
func keyed(e *Event) bool {
	if e.Kind == Mail {
		return e.MessageKey() != nil || e.QueueID != nil || len(e.From) > 0 && len(e.To) > 0
	}
	return (e.Domain != nil || e.DestinationIP.IsValid()) && (e.SourceIP.IsValid() || e.User != nil)
}

// filled counts the fields of an event that say something.
func filled(e *Event) (n int) {
	for _, there := range [...]bool{
		e.SourceIP.IsValid(), e.SourcePort >= 0, e.User != nil, e.Method != nil, e.Scheme != nil, e.Domain != nil, e.Port >= 0, e.Path != nil,
		e.Query != nil, e.Referrer != nil, e.UserAgent != nil, e.Status >= 0, e.Action != Unsaid, e.DestinationIP.IsValid(),
		e.DestinationBytes >= 0, e.SourceBytes >= 0, e.Duration >= 0, e.MIME != nil, e.MessageID != nil, e.From != nil, len(e.To) > 0,
		e.Subject != nil, e.Direction != nil, e.Outcome != nil, e.Code != nil, e.QueueID != nil, e.NetworkID != nil,
	} {
		if there {
			n++
		}
	}
	return n
}

// Choose answers the best of Detect's guesses, or an error that lists what came nearest when none read DetectShare of the sample.
func Choose(guesses []Guess) (Guess, error) {
	if len(guesses) > 0 && guesses[0].Share >= DetectShare {
		return guesses[0], nil
	}
	if len(guesses) == 0 {
		return Guess{}, fmt.Errorf("no format reads any of the first lines: name one with --format, those that must be told more (squid_logformat) among them")
	}
	var near []string
	for _, g := range guesses[:min(len(guesses), 3)] {
		near = append(near, fmt.Sprintf("%s (%s)", g.Format, g.Why))
	}
	return Guess{}, fmt.Errorf("no format reads %.0f %% of the first lines; nearest are %s: name one with --format, if it is", DetectShare*100, strings.Join(near, ", "))
}
