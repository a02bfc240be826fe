package parse

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	recordChunk   = 64 << 10 // what is read at once
	recordEnough  = 1 << 20  // where documents without line ends are cut, at the end of one
	recordTooLong = MaxRecord + 64
)

// Records reads a file as the records that a Parser takes, and calls each with every one of them and the number of its first
// line, from 1. A record is a line with its line end. But a file whose first line begins a JSON document and does not end it (a
// pretty-printed array, say) is cut where its documents end, and the elements of an outermost array are documents each. A file
// in UTF-16 becomes UTF-8. A record longer than MaxRecord is cut there, which every parser rejects as too long. A record is
// valid during the call only. It answers each's error, or why the file can't be read.
func Records(r io.Reader, each func(line int, record []byte) error) error {
	text := utf8Text(bufio.NewReaderSize(r, recordChunk))
	var b []byte
	var nest nesting
	decided, documents, cut := false, false, false
	first, line := 1, 1
	emit := func() error {
		if len(b) == 0 {
			return nil
		}
		err := each(first, b)
		b, first, cut = b[:0], line, false
		return err
	}
	for {
		part, fault := text.ReadSlice('\n')
		whole := fault == nil
		if !decided && len(bytes.TrimLeft(part, " \t\r\n"+utf8BOM)) > 0 {
			decided, documents = true, beginsDocument(part)
		}
		if documents && nest.depth > 0 && len(part) > 1 && part[0] == '{' && len(b) > 0 && b[len(b)-1] == '\n' {
			// a document is never indented to nothing inside another: the one before it is torn
			if err := emit(); err != nil {
				return err
			}
			nest = nesting{}
		}
		if keep := recordTooLong - len(b); keep < len(part) {
			b, cut = append(b, part[:max(keep, 0)]...), true
		} else {
			b = append(b, part...)
		}
		if documents {
			nest.read(part)
		}
		if whole {
			line++
		}
		switch end := nest.depth == 0 && !nest.quoted; {
		case !documents && whole, documents && end && (whole || len(b) >= recordEnough), documents && cut && whole:
			if cut {
				nest = nesting{}
			}
			if err := emit(); err != nil {
				return err
			}
		}
		switch {
		case fault == nil, errors.Is(fault, bufio.ErrBufferFull):
		case errors.Is(fault, io.EOF):
			return emit()
		default:
			return fault
		}
	}
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
	n.read(b)
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

func (n *nesting) read(b []byte) {
	for _, c := range b {
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
			n.depth = max(n.depth-1, 0)
		case n.depth == 0 && c == '[':
			n.closed = false
		case n.depth == 0 && c == ']':
			n.closed = true
		}
	}
}
