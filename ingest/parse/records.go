package parse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	recordChunk   = 64 << 10 // what is read at once
	recordEnough  = 1 << 20  // where documents without line ends are cut, at the end of one
	recordTooLong = MaxRecord + 64
)

// Records reads a file as the records that a Parser takes, and calls each with every one of them and the number of its first
// line, from 1. How they are cut is said at Cutter. A record is valid during the call only. It answers each's error, or why the
// file can't be read.
func Records(r io.Reader, each func(line int, record []byte) error) error {
	cutter := NewCutter(r)
	line := 1
	for b := []byte(nil); ; {
		record, cut, err := cutter.Next(b[:0])
		if err != nil {
			return err
		}
		if cut.Size == 0 {
			return nil
		}
		if err := each(line, record); err != nil {
			return err
		}
		b, line = record, line+cut.lines
	}
}

// A Cutter cuts a file into the records that a Parser takes. A record is a line with its line end. But a file whose first line
// begins a JSON document and does not end it (a pretty-printed array, say) is cut where its documents end, and the elements of
// an outermost array are documents each; the brackets and commas between them belong to the record that they precede, and
// those after the last belong to none, so that a file to which more elements are added goes on where it ended. A file in UTF-16
// becomes UTF-8. A record longer than MaxRecord is cut there, which every parser rejects as too long.
//
// Every record begins where another one ended, and is the same whether or not those before it were read.
type Cutter struct {
	text      *bufio.Reader
	wide      bool // the file is UTF-16
	decided   bool
	documents bool
	array     bool // of documents, over many lines
}

// A Cut says what a record took of the text, which is UTF-8 also where the file is not.
type Cut struct {
	Size int64 // bytes, also those that were left out because the record is too long; 0 is the end of the file
	// Whole is whether the record has ended: with a line end, or as a JSON document does.
	Whole bool
	Last  bool // whether the file ends with it, or before it
	lines int
}

// NewCutter makes a Cutter for the file that r reads from its beginning.
func NewCutter(r io.Reader) *Cutter {
	head := bufio.NewReaderSize(r, recordChunk)
	text := utf8Text(head)
	return &Cutter{text: text, wide: text != head}
}

// Head answers what the file begins with, as text, at most n bytes (and never more than 64 KiB) of it: less where the file is
// shorter, without what changes where more is added to it. It must be asked for before anything was cut.
func (c *Cutter) Head(n int) ([]byte, error) {
	head, err := c.text.Peek(min(n, recordChunk))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err == nil {
		return head, nil
	}
	if c.wide {
		// half of a character
		head = bytes.TrimRight(head, "\uFFFD")
	}
	if c.decide(); c.array {
		head = bytes.TrimRight(head, betweenDocuments)
	}
	return head, nil
}

// betweenDocuments is what stands between documents: the brackets and commas of arrays, white space, and what RFC 7464 puts
// before each.
const betweenDocuments = " \t\r\n[],\x1e"

// decide sees whether the file holds documents over many lines.
func (c *Cutter) decide() {
	for size := 512; ; size = min(2*size, recordChunk) {
		head, err := c.text.Peek(size)
		line := bytes.TrimLeft(head, " \t\r\n"+utf8BOM)
		end := bytes.IndexByte(line, '\n')
		if end < 0 && err == nil && size < recordChunk {
			continue
		}
		if end >= 0 {
			line = line[:end+1]
		}
		c.decided, c.documents = true, beginsDocument(line)
		c.array = c.documents && len(line) > 0 && line[0] == '['
		return
	}
}

// Skip goes n bytes of text ahead. It answers how many it went: n; less, where the file is shorter; more, where that is within
// a document.
func (c *Cutter) Skip(n int64) (int64, error) {
	if !c.decided {
		c.decide()
	}
	if !c.documents {
		at, err := io.CopyN(io.Discard, c.text, n)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return at, err
	}
	at := int64(0)
	for b := []byte(nil); at < n; {
		record, cut, err := c.document(b[:0], n-at)
		if err != nil {
			return at, err
		}
		b, at = record, at+cut.Size
		if cut.Last {
			break
		}
	}
	return at, nil
}

// Next appends the next record to dst.
func (c *Cutter) Next(dst []byte) (record []byte, cut Cut, err error) {
	if !c.decided {
		c.decide()
	}
	if !c.documents {
		return c.line(dst)
	}
	return c.document(dst, math.MaxInt64)
}

// document is Next for a file of documents, but for a record that ends after limit bytes where no document is open there: the
// file ended there once.
func (c *Cutter) document(dst []byte, limit int64) (record []byte, cut Cut, err error) {
	start, full, something := len(dst), false, false
	var nest nesting
	for {
		_, fault := c.text.Peek(1)
		part, _ := c.text.Peek(c.text.Buffered())
		if len(part) == 0 {
			switch {
			case fault != nil && !errors.Is(fault, io.EOF):
				return dst, cut, fault
			case !something:
				return dst[:start], Cut{Last: true}, nil
			}
			cut.Whole, cut.Last = closes(dst[start:]), true
			if !full {
				end := start + len(bytes.TrimRight(dst[start:], betweenDocuments))
				dst, cut.Size = dst[:end], cut.Size-int64(len(dst)-end)
			}
			return dst, cut, nil
		}
		if nest.depth > 0 && part[0] == '{' && len(part) > 1 && len(dst) > start && dst[len(dst)-1] == '\n' {
			// a document is never indented to nothing inside another: the one before it is torn
			cut.Whole = true
			return dst, cut, nil
		}
		if end := bytes.IndexByte(part, '\n'); end >= 0 {
			part = part[:end+1]
		}
		if left := limit - cut.Size; left > 0 && left < int64(len(part)) {
			part = part[:left]
		}
		enough := max(recordEnough-(len(dst)-start), 0)
		part = part[:nest.read(part, enough)]
		something = something || len(bytes.TrimLeft(part, betweenDocuments)) > 0
		if keep := recordTooLong - (len(dst) - start); keep < len(part) {
			dst, full = append(dst, part[:max(keep, 0)]...), true
		} else {
			dst = append(dst, part...)
		}
		cut.Size += int64(len(part))
		ended := part[len(part)-1] == '\n'
		if ended {
			cut.lines++
		}
		outside := nest.depth == 0 && !nest.quoted
		if _, err := c.text.Discard(len(part)); err != nil {
			return dst, cut, err
		}
		if something && outside && (ended || len(dst)-start >= recordEnough) || full && ended || outside && cut.Size == limit {
			cut.Whole = true
			return dst, cut, nil
		}
	}
}

// line is Next for a file of lines.
func (c *Cutter) line(dst []byte) (record []byte, cut Cut, err error) {
	start := len(dst)
	for {
		part, fault := c.text.ReadSlice('\n')
		cut.Size += int64(len(part))
		keep := recordTooLong - (len(dst) - start)
		dst = append(dst, part[:max(min(keep, len(part)), 0)]...)
		switch {
		case fault == nil:
			cut.Whole, cut.lines = true, 1
			return dst, cut, nil
		case errors.Is(fault, bufio.ErrBufferFull):
		case errors.Is(fault, io.EOF):
			cut.Whole, cut.Last = closes(dst[start:]), true
			return dst, cut, nil
		default:
			return dst, cut, fault
		}
	}
}

// closes says whether a record without a line end is JSON documents, whole: what may follow can't be a part of them.
func closes(record []byte) bool {
	b := bytes.Trim(bytes.TrimPrefix(record, []byte(utf8BOM)), betweenDocuments)
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return false
	}
	var n nesting
	n.read(b, len(b))
	return n.depth == 0 && !n.quoted
}

// utf8Text answers r, decoded where it is UTF-16.
func utf8Text(r *bufio.Reader) *bufio.Reader {
	head, _ := r.Peek(4)
	order := unicode.LittleEndian
	switch {
	case len(head) >= 2 && head[0] == 0xff && head[1] == 0xfe:
	case len(head) >= 2 && head[0] == 0xfe && head[1] == 0xff:
		order = unicode.BigEndian
	case len(head) == 4 && head[0] != 0 && head[1] == 0 && head[2] != 0 && head[3] == 0:
	case len(head) == 4 && head[0] == 0 && head[1] != 0 && head[2] == 0 && head[3] != 0:
		order = unicode.BigEndian
	default:
		return r
	}
	return bufio.NewReaderSize(transform.NewReader(r, unicode.UTF16(order, unicode.UseBOM).NewDecoder()), recordChunk)
}

// beginsDocument says whether a file's first line begins a JSON document that ends on a later one.
func beginsDocument(line []byte) bool {
	b := bytes.TrimLeft(bytes.TrimPrefix(line, []byte(utf8BOM)), " \t\r")
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return false
	}
	inner := bytes.TrimLeft(b[1:], " \t\r\n[")
	if len(inner) > 0 && inner[0] != '{' && inner[0] != '"' && inner[0] != '}' {
		return false
	}
	var n nesting
	n.read(b, len(b))
	// a line that ends within a text is torn, for no text holds a line end
	return n.depth > 0 && !n.quoted || b[0] == '[' && b[len(b)-1] != '\n' || b[0] == '[' && !n.closed
}

// A nesting counts how deep in objects a place of a JSON text is. Arrays outside of any object do not count.
type nesting struct {
	depth   int
	quoted  bool
	escaped bool
	closed  bool // the last bracket outside of any object was a closing one
}

// read goes over b, and answers how many bytes: all, or those to the first end of an outermost object that is behind enough
// of them.
func (n *nesting) read(b []byte, enough int) int {
	for i, c := range b {
		switch {
		case n.escaped:
			n.escaped = false
		case n.quoted:
			switch c {
			case '\\':
				n.escaped = true
			case '"', '\n':
				n.quoted = false
			}
		case c == '"':
			n.quoted = true
		case c == '{':
			n.depth++
		case c == '}':
			if n.depth = max(n.depth-1, 0); n.depth == 0 && i+1 >= enough {
				return i + 1
			}
		case n.depth == 0 && c == '[':
			n.closed = false
		case n.depth == 0 && c == ']':
			n.closed = true
		}
	}
	return len(b)
}
