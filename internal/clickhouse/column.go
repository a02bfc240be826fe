package clickhouse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// Arrays is a column of Array(UInt64) without a slice per row: row i is Values[Ends[i-1]:Ends[i]], and Ends[-1] is 0.
// It is the layout of ClickHouse itself and costs one copy.
type Arrays struct {
	Ends   []uint64 // where each row ends in Values: never smaller than the one before, the last one is len(Values)
	Values []uint64 // the elements of all rows
}

// Append adds one row.
func (a *Arrays) Append(row ...uint64) {
	a.Values = append(a.Values, row...)
	a.Ends = append(a.Ends, uint64(len(a.Values)))
}

// Reset forgets the rows and keeps the memory.
func (a *Arrays) Reset() { a.Ends, a.Values = a.Ends[:0], a.Values[:0] }

func (a Arrays) check() error {
	var last uint64
	for i, e := range a.Ends {
		if e < last {
			return fmt.Errorf("array %d ends at %d, before it begins at %d", i, e, last)
		}
		last = e
	}
	if last != uint64(len(a.Values)) {
		return fmt.Errorf("the arrays end at %d but have %d values", last, len(a.Values))
	}
	return nil
}

// size answers how many rows the columns hold, and refuses columns of unequal length and blocks that are too large.
// The bytes are those that ClickHouse counts: uncompressed values, with 8 for the end of each string and array.
func size(columns []any) (rows int, err error) {
	if len(columns) == 0 {
		return 0, errors.New("no columns were given")
	}
	var total int
	for i, c := range columns {
		n, bytes := 0, 0
		switch c := c.(type) {
		case []uint8:
			n, bytes = len(c), len(c)
		case []int8:
			n, bytes = len(c), len(c)
		case []bool:
			n, bytes = len(c), len(c)
		case []uint16:
			n, bytes = len(c), 2*len(c)
		case []int16:
			n, bytes = len(c), 2*len(c)
		case []uint32:
			n, bytes = len(c), 4*len(c)
		case []int32:
			n, bytes = len(c), 4*len(c)
		case []uint64:
			n, bytes = len(c), 8*len(c)
		case []int64:
			n, bytes = len(c), 8*len(c)
		case []float64:
			n, bytes = len(c), 8*len(c)
		case []time.Time:
			n, bytes = len(c), 4*len(c)
		case []string:
			n, bytes = len(c), 8*len(c)
			for _, s := range c {
				bytes += len(s)
			}
		case [][]byte:
			n, bytes = len(c), 8*len(c)
			for _, b := range c {
				bytes += len(b)
			}
		case [][]uint64:
			n, bytes = len(c), 8*len(c)
			for _, a := range c {
				bytes += 8 * len(a)
			}
		case Arrays:
			n, bytes = len(c.Ends), 8*(len(c.Ends)+len(c.Values))
			if err := c.check(); err != nil {
				return 0, fmt.Errorf("column %d: %w", i+1, err)
			}
		default:
			return 0, fmt.Errorf("column %d: a %T is no column", i+1, c)
		}
		if i > 0 && n != rows {
			return 0, fmt.Errorf("column %d has %d rows, the first has %d", i+1, n, rows)
		}
		rows = n
		total += bytes
	}
	if rows > MaxInsertRows {
		return 0, fmt.Errorf("%d rows are more than %d: cut the batch, the server would not keep them as one part", rows, MaxInsertRows)
	}
	if total > MaxInsertBytes {
		return 0, fmt.Errorf("%d bytes are more than %d: cut the batch, the server would not keep them as one part", total, MaxInsertBytes)
	}
	return rows, nil
}

// A layout fills columns, one after another.
type layout struct {
	feed   feed
	native *proto.Reader // reads feed; its buffer is large, so one serves all columns
}

// A feed is what a column is decoded from.
type feed struct{ io.Reader }

func newLayout() *layout {
	l := &layout{}
	l.native = proto.NewReader(&l.feed)
	return l
}

// append hands one slice to the driver's column by the fastest way that the pair has.
func (l *layout) append(to column.Interface, from any) error {
	kind := baseType(string(to.Type()))
	switch v := from.(type) {
	case [][]uint64:
		if kind != "Array(UInt64)" {
			return fmt.Errorf("a [][]uint64 does not fit")
		}
		return l.decode(to, len(v), flatten(v).native()...)
	case Arrays:
		if kind != "Array(UInt64)" {
			return fmt.Errorf("an Arrays does not fit")
		}
		return l.decode(to, len(v.Ends), v.native()...)
	case []uint64:
		if kind == "UInt64" {
			return l.decode(to, len(v), le64(v))
		}
	case []uint32:
		if isDateTime(kind) {
			return l.decode(to, len(v), le32(v))
		}
	case []uint16:
		if kind == "Date" {
			return l.decode(to, len(v), le16(v))
		}
	case []time.Time:
		switch {
		case isDateTime(kind):
			out := make([]uint32, len(v))
			for i, t := range v {
				s := t.Unix()
				if s < 0 || s > math.MaxUint32 {
					return fmt.Errorf("row %d: the time does not fit between 1970 and 2106", i)
				}
				out[i] = uint32(s)
			}
			return l.decode(to, len(v), le32(out))
		case kind == "Date":
			out := make([]uint16, len(v))
			for i, t := range v {
				y, m, d := t.Date()
				days := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
				if y < 1970 || days > math.MaxUint16 {
					return fmt.Errorf("row %d: the day does not fit between 1970 and 2149", i)
				}
				out[i] = uint16(days)
			}
			return l.decode(to, len(v), le16(out))
		}
	case []string:
		if kind == "LowCardinality(String)" {
			return l.decode(to, len(v), dictionary(v))
		}
	case [][]byte:
		if kind == "LowCardinality(String)" {
			s := make([]string, len(v))
			for i := range v {
				s[i] = string(v[i])
			}
			return l.decode(to, len(v), dictionary(s))
		}
	}
	if _, err := to.Append(from); err != nil {
		return fmt.Errorf("a %T does not fit", from) // the driver's text may quote a value
	}
	return nil
}

// baseType is the type whose bytes a column has on the wire: SimpleAggregateFunction(max, UInt64) is a UInt64.
func baseType(t string) string {
	if rest, ok := strings.CutPrefix(t, "SimpleAggregateFunction("); ok {
		if _, inner, ok := strings.Cut(rest, ","); ok {
			return strings.TrimSpace(strings.TrimSuffix(inner, ")"))
		}
	}
	return t
}

func isDateTime(t string) bool { return t == "DateTime" || strings.HasPrefix(t, "DateTime('") }

// decode fills an empty column with native bytes, exactly as if the server had sent them.
func (l *layout) decode(to column.Interface, rows int, native ...[]byte) error {
	if rows == 0 {
		return nil
	}
	parts := make([]io.Reader, len(native))
	for i := range native {
		parts[i] = bytes.NewReader(native[i])
	}
	l.feed.Reader = io.MultiReader(parts...)
	if err := to.Decode(l.native, rows); err != nil {
		return fmt.Errorf("lay out %d rows: %w", rows, err)
	}
	if _, err := l.native.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("lay out %d rows: there is more than the column takes", rows)
	}
	return nil
}

// flatten joins the rows.
func flatten(rows [][]uint64) Arrays {
	n := 0
	for _, r := range rows {
		n += len(r)
	}
	a := Arrays{Ends: make([]uint64, 0, len(rows)), Values: make([]uint64, 0, n)}
	for _, r := range rows {
		a.Append(r...)
	}
	return a
}

// native is the column on the wire: first where each row ends, then the values.
func (a Arrays) native() [][]byte { return [][]byte{le64(a.Ends), le64(a.Values)} }

// dictionary lays strings out as a LowCardinality(String) of one block: keys of 32 bits and a dictionary that begins with
// the default value, as ClickHouse demands (src/DataTypes/Serializations/SerializationLowCardinality.cpp).
func dictionary(values []string) []byte {
	const key32, additionalKeys, newDictionary = 2, 1 << 9, 1 << 10
	index := map[string]uint32{"": 0}
	words, length := []string{""}, 1
	keys := make([]uint32, len(values))
	last, key := "", uint32(0)
	for i, s := range values {
		if s != last { // cells come sorted or in runs: most rows repeat the one before
			k, known := index[s]
			if !known {
				k = uint32(len(words))
				index[s] = k
				words = append(words, s)
				length += len(s) + binary.MaxVarintLen32
			}
			last, key = s, k
		}
		keys[i] = key
	}
	b := make([]byte, 0, 24+length+4*len(keys))
	b = binary.LittleEndian.AppendUint64(b, key32|additionalKeys|newDictionary)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(words)))
	for _, w := range words {
		b = binary.AppendUvarint(b, uint64(len(w)))
		b = append(b, w...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(keys)))
	return append(b, le32(keys)...)
}

func le64(v []uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

func le32(v []uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func le16(v []uint16) []byte {
	b := make([]byte, 0, 2*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return b
}
