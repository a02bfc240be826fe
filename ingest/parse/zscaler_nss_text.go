package parse

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// zscalerNSSText reads the web log that Zscaler's Nanolog Streaming Service sends as text, in any template: it is pasted from
// the feed's "Feed Output Format" into Options.Logformat (`%s{time}\t%s{login}\t%d{reqsize}…`, with \t for a tab), or its field
// names are given as Options.Columns. Without either a line is one of the vendor's default, comma-separated and quoted, or
// tab-separated.
//
// The template's separator is the tab where there is one in it, else the first of , | ; or the space that stands between two
// fields. A column may hold other text besides its field (login=%s{login}) and several fields (%d{yyyy}-%02d{mth}-%02d{dd}).
// Columns behind the last one of the template are left alone. Without a template the separator is the tab if the line has one,
// else the comma. What a field is, is said at zscalerReader.
//
// Source: https://help.zscaler.com/zia/nss-feed-output-format-web-logs.
type zscalerNSSText struct {
	zscalerReader
	columns   []nssColumn
	needed    int  // the columns up to the last one that is read
	separator byte // 0: tab or comma, as the line has it
	cut       fieldCutter
	values    [zSlots][]byte
	value     func(slot jsonSlot) []byte
}

// An nssColumn is what stands between two separators of a template.
type nssColumn []nssPiece

// An nssPiece is a field, or the text between fields.
type nssPiece struct {
	text string
	name string
	slot jsonSlot // -1: read past
}

// zscalerDefault is the vendor's default feed.
const zscalerDefault = `"%s{time}","%s{login}","%s{proto}","%s{url}","%s{action}","%s{appname}","%s{appclass}","%d{reqsize}","%d{respsize}",` +
	`"%d{stime}","%d{ctime}","%s{urlclass}","%s{urlsupercat}","%s{urlcat}","%s{malwarecat}","%s{threatname}","%d{riskscore}","%s{dlpeng}",` +
	`"%s{dlpdict}","%s{location}","%s{dept}","%s{cip}","%s{sip}","%s{reqmethod}","%s{respcode}","%s{ua}","%s{referer}","%s{ruletype}",` +
	`"%s{rulelabel}","%s{contenttype}","%s{unscannabletype}","%s{deviceowner}","%s{devicehostname}","%s{keyprotectiontype}"`

func newZscalerNSSText(o Options) (lineFormat, error) {
	f := &zscalerNSSText{zscalerReader: zscalerReader{stamps: newStampReader(o.Zone)}}
	f.value = func(slot jsonSlot) []byte { return f.values[slot] }
	template := zscalerDefault
	switch {
	case o.Logformat != "" && len(o.Columns) > 0:
		return nil, errors.New("a logformat and columns both say what the columns are: leave one out")
	case o.Logformat != "":
		template = o.Logformat
	case len(o.Columns) > 0:
		template = ""
		known := zscalerSlots()
		for _, name := range o.Columns {
			piece := nssPiece{name: nssName(name), slot: -1}
			if slot, ok := known[piece.name]; ok {
				piece.slot = slot
			}
			f.columns = append(f.columns, nssColumn{piece})
		}
	}
	if template != "" {
		if err := f.compile(template); err != nil {
			return nil, err
		}
	}
	if o.Logformat == "" {
		// NSS writes its default fields with tabs too, if asked to
		f.separator = 0
	}
	var has [zSlots]bool
	for i, column := range f.columns {
		for _, piece := range column {
			if piece.name != "" && piece.slot >= 0 {
				has[piece.slot], f.needed = true, i+1
			}
		}
	}
	var faults []error
	if !has[zTime] && !has[zEpoch] && !(has[zYear] && (has[zMonth] || has[zMonthName]) && has[zDay] && has[zHour]) {
		faults = append(faults, errors.New("no field is a time: %s{time} or %d{epochtime} is needed"))
	}
	if !has[zURL] && !has[zHost] {
		faults = append(faults, errors.New("no field is a URL: %s{url} or %s{host} is needed"))
	}
	if len(f.columns) > maxFields {
		faults = append(faults, fmt.Errorf("more than %d columns", maxFields))
	}
	return f, errors.Join(faults...)
}

// nssName answers a field's bare name, in lower case: login for "%s{login}".
func nssName(s string) string {
	if open, end := strings.IndexByte(s, '{'), strings.LastIndexByte(s, '}'); open >= 0 && end > open {
		s = s[open+1 : end]
	}
	return strings.ToLower(strings.Trim(s, "\" \t"))
}

// compile reads a template.
func (f *zscalerNSSText) compile(template string) error {
	known := zscalerSlots()
	var pieces []nssPiece
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			pieces = append(pieces, nssPiece{text: text.String(), slot: -1})
			text.Reset()
		}
	}
	template = strings.Trim(template, "\r\n")
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case c == '\\' && i+1 < len(template):
			i++
			switch template[i] {
			case 't':
				text.WriteByte('\t')
			case 'n', 'r':
			default:
				text.WriteByte(template[i])
			}
		case c == '%':
			at := i + 1
			for at < len(template) && template[at]-'0' <= 9 {
				at++
			}
			end := strings.IndexByte(template[i:], '}')
			if at+1 >= len(template) || strings.IndexByte("sdxl", template[at]) < 0 || template[at+1] != '{' || end < 0 {
				return fmt.Errorf("the template's %% at character %d begins no field such as %%s{login}", i+1)
			}
			flush()
			piece := nssPiece{name: strings.ToLower(template[at+2 : i+end]), slot: -1}
			if slot, ok := known[piece.name]; ok {
				piece.slot = slot
			}
			pieces = append(pieces, piece)
			i += end
		default:
			text.WriteByte(c)
		}
	}
	flush()
	f.separator = nssSeparator(pieces)
	f.columns = []nssColumn{nil}
	for _, piece := range pieces {
		if piece.name != "" {
			f.columns[len(f.columns)-1] = append(f.columns[len(f.columns)-1], piece)
			continue
		}
		parts := strings.Split(piece.text, string(f.separator))
		for n, part := range parts {
			if n > 0 {
				f.columns = append(f.columns, nil)
			}
			// the quotes around a column are the separator's affair, and so are spaces beside it
			if part = strings.Trim(part, `"`); part != "" && (len(parts) == 1 || strings.TrimSpace(part) != "") {
				last := len(f.columns) - 1
				f.columns[last] = append(f.columns[last], nssPiece{text: part, slot: -1})
			}
		}
	}
	if f.separator == ' ' {
		// runs of spaces are one separator
		f.columns = slices.DeleteFunc(f.columns, func(c nssColumn) bool { return len(c) == 0 })
	}
	return nil
}

// nssSeparator answers what stands between the columns of a template.
func nssSeparator(pieces []nssPiece) byte {
	for _, c := range []byte("\t,|; ") {
		for i, piece := range pieces {
			if i > 0 && i < len(pieces)-1 && strings.IndexByte(piece.text, c) >= 0 {
				return c
			}
		}
	}
	return ','
}

func (f *zscalerNSSText) read(b []byte, e *Event, s *scratch) (Reason, string) {
	separator := f.separator
	if separator == 0 {
		if separator = ','; bytes.IndexByte(b, '\t') >= 0 {
			separator = '\t'
		}
	}
	switch separator {
	case ' ':
		f.cut.words(b)
	default:
		f.cut.csv(b, separator)
	}
	f.values = [zSlots][]byte{}
	if f.cut.n < f.needed {
		if f.cut.n < 2 {
			return ForeignLine, ""
		}
		return Truncated, ""
	}
	for i, column := range f.columns {
		v := f.cut.field(b, i)
		for n, piece := range column {
			if piece.name == "" {
				if !bytes.HasPrefix(v, []byte(piece.text)) {
					return BadLayout, ""
				}
				v = v[len(piece.text):]
				continue
			}
			part := v
			if n+1 < len(column) {
				if next := column[n+1]; next.name == "" {
					end := bytes.Index(v, []byte(next.text))
					if end < 0 {
						return BadLayout, ""
					}
					part = v[:end]
				}
			}
			v = v[len(part):]
			if piece.slot >= 0 && f.values[piece.slot] == nil {
				f.values[piece.slot] = s.undouble(part)
			}
		}
	}
	return f.zscalerReader.fill(f.value, e, s)
}

func (f *zscalerNSSText) origins() []Origin {
	var names [zSlots]string
	for _, column := range f.columns {
		for _, piece := range column {
			if piece.name != "" && piece.slot >= 0 {
				names[piece.slot] = "{" + piece.name + "}"
			}
		}
	}
	return zscalerOrigins(func(slot jsonSlot) string { return names[slot] })
}

func zscalerNSSTextFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "zscaler_nss_text", About: "Zscaler web log from an NSS feed, text: the default one, or your template as --logformat", Kind: Web,
			Takes: []string{NeedZone, NeedLogformat, NeedColumns},
		},
		bareFirst: true,
		build:     newZscalerNSSText,
	}
}
