package kafka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// A Record is one record of a partition.
type Record struct {
	Offset int64
	// Time is the record's timestamp in milliseconds since 1970 UTC, -1 if it has none.
	Time int64
	// Value aliases memory of the chunk: it is valid until the chunk is used again or released. It is nil for a tombstone
	// (null) and empty but not nil for an empty value.
	Value []byte
}

// headerSize is a record batch up to its records; batchPrefix what comes before the bytes that its length counts.
// Layout: https://kafka.apache.org/documentation/#recordbatch
const (
	headerSize  = 61
	batchPrefix = 12
)

// The index of a chunk takes 40 bytes a record, which compressed batches of tiny records could turn into more memory than
// the bytes themselves: a chunk ends before it would have more than mostInChunk, and one batch with more than mostInBatch
// is refused. Producers limit batches by their bytes before compression, so real ones stay far below.
const (
	mostInChunk = 1 << 17
	mostInBatch = 1 << 20
)

// aborted is one entry of a fetch answer: records of producer from offset first on, up to its abort marker, do not count.
type aborted struct{ producer, first int64 }

// answer is the one partition of a fetch answer.
type answer struct {
	err      error
	throttle time.Duration // for how long the broker will not take another request
	high     int64         // high watermark
	stable   int64         // last stable offset
	logStart int64         // -1 if the broker does not say
	aborted  []aborted
	batches  []byte
}

// parseAnswer reads a fetch answer for one partition, versions 4 to 11 and 13. list is memory for answer.aborted.
func parseAnswer(b []byte, version int16, list []aborted) (answer, error) {
	flexible := version >= 12
	r := cursor{b: b}
	r.tags(flexible)
	throttle := time.Duration(max(0, r.int32())) * time.Millisecond
	var top int16
	if version >= 7 {
		top = r.int16()
		r.int32() // session
	}
	a := answer{logStart: -1, aborted: list[:0], throttle: throttle}
	if a.err = codeError(top); a.err != nil {
		return a, nil
	}
	if n := r.count(flexible); n != 1 {
		return a, fmt.Errorf("%w: fetch answer has %d topics, not 1", errMalformed, n)
	}
	if version >= 13 {
		r.take(16)
	} else {
		r.string(flexible)
	}
	if n := r.count(flexible); n != 1 {
		return a, fmt.Errorf("%w: fetch answer has %d partitions, not 1", errMalformed, n)
	}
	r.int32() // number of the partition
	a.err = codeError(r.int16())
	a.high, a.stable = r.int64(), r.int64()
	if version >= 5 {
		a.logStart = r.int64()
	}
	for range max(0, r.count(flexible)) {
		a.aborted = append(a.aborted, aborted{r.int64(), r.int64()})
		r.tags(flexible)
	}
	slices.SortFunc(a.aborted, func(x, y aborted) int { return cmp.Compare(x.first, y.first) })
	if version >= 11 {
		r.int32() // preferred replica
	}
	a.batches = r.take(max(0, r.count(flexible)))
	if r.bad {
		return a, fmt.Errorf("%w: fetch answer is cut short", errMalformed)
	}
	return a, nil
}

var (
	errMalformed = errors.New("malformed answer")
	// errMore says that the first batch needs more space than was given.
	errMore = errors.New("more space is needed")
)

// castagnoli is the checksum of record batches; crc32 keeps its own table of this polynomial and computes it in hardware.
func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// decodeInto appends the committed records of a's batches from offset next on to records. plain is space for
// decompressed batches. It answers the offset after what was decoded, which also counts offsets without a record, and
// how much of plain was used. When plain is full it stops before the batch that did not fit; if that is the first one it
// answers errMore. Any other error means that the bytes are not what a broker may send.
func decodeInto(a *answer, next int64, records []Record, plain []byte, c *codecs) (_ []Record, after int64, used int, err error) {
	b := a.batches
	begin := next
	var dropped map[int64]bool // producers whose current transaction was aborted
	pending := a.aborted
	for len(b) >= batchPrefix {
		base := int64(binary.BigEndian.Uint64(b))
		size := int64(int32(binary.BigEndian.Uint32(b[8:])))
		if len(b) > 16 && b[16] < 2 {
			return records, next, used, fmt.Errorf("%w: message set of format %d in the log; convert the topic or wait until it has been deleted by retention", ErrUnsupported, b[16])
		}
		if size < headerSize-batchPrefix || base < 0 {
			return records, next, used, fmt.Errorf("%w: batch of %d bytes at offset %d", ErrCorrupt, size, base)
		}
		if size+batchPrefix > int64(len(b)) {
			break // the broker cut the last batch at max_bytes
		}
		batch := b[:size+batchPrefix]
		b = b[size+batchPrefix:]
		if batch[16] > 2 {
			return records, next, used, fmt.Errorf("%w: record batch of format %d", ErrUnsupported, batch[16])
		}
		if castagnoli(batch[21:]) != binary.BigEndian.Uint32(batch[17:]) {
			return records, next, used, fmt.Errorf("%w: checksum differs at offset %d", ErrCorrupt, base)
		}
		attributes := binary.BigEndian.Uint16(batch[21:])
		lastDelta := int64(int32(binary.BigEndian.Uint32(batch[23:])))
		producer := int64(binary.BigEndian.Uint64(batch[43:]))
		last := base + lastDelta
		if lastDelta < 0 || last < 0 {
			return records, next, used, fmt.Errorf("%w: batch at offset %d ends before it begins", ErrCorrupt, base)
		}
		for len(pending) > 0 && pending[0].first <= last {
			if dropped == nil {
				dropped = make(map[int64]bool)
			}
			dropped[pending[0].producer] = true
			pending = pending[1:]
		}
		control, transactional := attributes&0x20 != 0, attributes&0x10 != 0
		switch {
		case control:
			if isAbort(batch) {
				delete(dropped, producer)
			}
		case last < next:
			// A broker sends whole batches, so the first may lie before the wanted offset altogether.
		case transactional && dropped[producer]:
		default:
			if count := int64(int32(binary.BigEndian.Uint32(batch[57:]))); count > mostInBatch {
				return records, next, used, fmt.Errorf("%w: batch at offset %d says it has %d records, %d are the most", ErrTooLarge, base, count, mostInBatch)
			} else if len(records) > 0 && int64(len(records))+count > mostInChunk {
				return records, next, used, nil
			}
			payload := batch[headerSize:]
			if codec := int(attributes & 7); codec != codecNone {
				n, err := c.decompress(codec, plain[used:], payload)
				if errors.Is(err, errOverflow) {
					if next == begin && used == 0 {
						err = errMore
					} else {
						err = nil
					}
					return records, next, used, err
				}
				if err != nil {
					if !errors.Is(err, ErrUnsupported) {
						err = fmt.Errorf("%w: can't decompress the batch at offset %d", ErrCorrupt, base)
					}
					return records, next, used, err
				}
				payload = plain[used : used+n : used+n]
				used += n
			}
			if records, err = decodeRecords(batch, payload, base, last, next, records); err != nil {
				return records, next, used, err
			}
		}
		next = max(next, last+1)
	}
	if next == begin && len(a.batches) > 0 && len(b) == len(a.batches) {
		return records, next, used, fmt.Errorf("%w: broker sent only part of a batch", errMalformed)
	}
	return records, next, used, nil
}

// isAbort tells an abort marker from a commit marker: the key of the only record is version and type, 0 for abort.
func isAbort(batch []byte) bool {
	r := varints{b: batch[headerSize:]}
	r.next()  // length of the record
	r.skip(1) // attributes
	r.next()  // time
	r.next()  // offset
	if n := r.next(); n < 4 || int64(len(r.b)) < n {
		return false
	}
	return binary.BigEndian.Uint16(r.b[2:]) == 0
}

// decodeRecords appends the records of one batch with offsets of at least from.
func decodeRecords(batch, payload []byte, base, last, from int64, records []Record) ([]Record, error) {
	corrupt := func() ([]Record, error) {
		return records, fmt.Errorf("%w: records of the batch at offset %d can't be read", ErrCorrupt, base)
	}
	baseTime := int64(binary.BigEndian.Uint64(batch[27:]))
	appendTime := int64(-1)
	if binary.BigEndian.Uint16(batch[21:])&0x08 != 0 {
		appendTime = int64(binary.BigEndian.Uint64(batch[35:]))
	}
	count := int(int32(binary.BigEndian.Uint32(batch[57:])))
	// A record takes at least 7 bytes, so the count can't be used to make us allocate.
	if count < 0 || count > len(payload)/7 {
		return corrupt()
	}
	records = slices.Grow(records, count)
	r := varints{b: payload}
	offset := base - 1
	for range count {
		size := r.next()
		if r.bad || size < 0 || size > int64(len(r.b)) {
			return corrupt()
		}
		rest := r.b[size:]
		r.b = r.b[:size]
		r.skip(1)
		timeDelta, offsetDelta := r.next(), r.next()
		if key := r.next(); key > 0 {
			r.skip(key)
		}
		n := r.next()
		if r.bad || n > int64(len(r.b)) || base+offsetDelta <= offset || base+offsetDelta > last {
			return corrupt()
		}
		offset = base + offsetDelta
		if offset >= from {
			rec := Record{Offset: offset, Time: -1}
			switch {
			case appendTime >= 0:
				rec.Time = appendTime
			case baseTime >= 0:
				rec.Time = baseTime + timeDelta
			}
			if n >= 0 {
				rec.Value = r.b[:n:n]
			}
			records = append(records, rec)
		}
		r.b = rest
	}
	if len(r.b) != 0 {
		return corrupt()
	}
	return records, nil
}

// varints reads zigzag varints, with the one- and two-byte forms first: nearly all are.
type varints struct {
	b   []byte
	bad bool
}

func (v *varints) next() int64 {
	b := v.b
	if len(b) > 0 && b[0] < 0x80 {
		v.b = b[1:]
		return int64(b[0]>>1) ^ -int64(b[0]&1)
	}
	if len(b) > 1 && b[1] < 0x80 {
		u := uint64(b[0]&0x7f) | uint64(b[1])<<7
		v.b = b[2:]
		return int64(u>>1) ^ -int64(u&1)
	}
	x, n := binary.Varint(b)
	if n <= 0 {
		v.bad, v.b = true, nil
		return 0
	}
	v.b = b[n:]
	return x
}

func (v *varints) skip(n int64) {
	if n > int64(len(v.b)) {
		v.bad, v.b = true, nil
		return
	}
	v.b = v.b[n:]
}

// brokerCorrupt tells whether a broker itself reports that what it has on disk is not in order.
func brokerCorrupt(err error) bool {
	return errors.Is(err, kafkago.InvalidMessage) || errors.Is(err, kafkago.InvalidRecord)
}
