package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testBatch builds a record batch as Kafka's documentation lays it out, independently of the decoder.
type testBatch struct {
	base       int64
	lastDelta  int32 // 0: that of the last record
	attributes uint16
	producer   int64
	baseTime   int64
	maxTime    int64
	count      int32 // 0: the number of records
	records    []testRecord
	compress   func([]byte) []byte
}

type testRecord struct {
	delta, time int64
	key, value  []byte
	headers     [][2]string
}

func (b testBatch) bytes() []byte {
	varint := binary.AppendVarint
	blob := func(to, v []byte) []byte {
		if v == nil {
			return varint(to, -1)
		}
		return append(varint(to, int64(len(v))), v...)
	}
	var payload []byte
	for _, r := range b.records {
		body := []byte{0}
		body = varint(varint(body, r.time), r.delta)
		body = blob(blob(body, r.key), r.value)
		body = varint(body, int64(len(r.headers)))
		for _, h := range r.headers {
			body = blob(blob(body, []byte(h[0])), []byte(h[1]))
		}
		payload = append(varint(payload, int64(len(body))), body...)
	}
	if b.compress != nil {
		payload = b.compress(payload)
	}
	if b.lastDelta == 0 && len(b.records) > 0 {
		b.lastDelta = int32(b.records[len(b.records)-1].delta)
	}
	if b.count == 0 {
		b.count = int32(len(b.records))
	}
	be := binary.BigEndian
	var tail []byte
	tail = be.AppendUint16(tail, b.attributes)
	tail = be.AppendUint32(tail, uint32(b.lastDelta))
	tail = be.AppendUint64(tail, uint64(b.baseTime))
	tail = be.AppendUint64(tail, uint64(b.maxTime))
	tail = be.AppendUint64(tail, uint64(b.producer))
	tail = be.AppendUint16(tail, 0)
	tail = be.AppendUint32(tail, 0)
	tail = be.AppendUint32(tail, uint32(b.count))
	tail = append(tail, payload...)
	var out []byte
	out = be.AppendUint64(out, uint64(b.base))
	out = be.AppendUint32(out, uint32(9+len(tail)))
	out = be.AppendUint32(out, 0)
	out = append(out, 2)
	out = be.AppendUint32(out, crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli)))
	return append(out, tail...)
}

func simple(n int, size int) []testRecord {
	out := make([]testRecord, n)
	for i := range out {
		out[i] = testRecord{delta: int64(i), time: int64(i), value: bytes.Repeat([]byte{byte('a' + i%26)}, size)}
	}
	return out
}

// control is a transaction's marker.
func control(base, producer int64, commit bool) []byte {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	return testBatch{base: base, attributes: 0x30, producer: producer, records: []testRecord{{key: key, value: make([]byte, 6)}}}.bytes()
}

func TestDecode(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	plain := func(base int64, n int) []byte { return testBatch{base: base, records: simple(n, 10)}.bytes() }
	tx := func(base, producer int64, n int) []byte {
		return testBatch{base: base, attributes: 0x10, producer: producer, records: simple(n, 10)}.bytes()
	}
	corrupted := plain(0, 3)
	corrupted[len(corrupted)-1] ^= 1
	old := make([]byte, 60)
	binary.BigEndian.PutUint32(old[8:], 40)
	old[16] = 1
	newer := plain(0, 1)
	newer[16] = 3

	for name, c := range map[string]struct {
		batches []byte
		aborted []aborted
		from    int64
		offsets []int64
		next    int64
		err     error
	}{
		"two batches":                 {join(plain(5, 2), plain(7, 1)), nil, 5, []int64{5, 6, 7}, 8, nil},
		"from the middle":             {plain(5, 3), nil, 6, []int64{6, 7}, 8, nil},
		"batch before the offset":     {join(plain(0, 3), plain(3, 1)), nil, 3, []int64{3}, 4, nil},
		"last batch cut":              {join(plain(0, 2), plain(2, 2)[:70]), nil, 0, []int64{0, 1}, 2, nil},
		"tail of a few bytes":         {join(plain(0, 2), []byte{1, 2, 3}), nil, 0, []int64{0, 1}, 2, nil},
		"only part of a batch":        {plain(0, 2)[:70], nil, 0, nil, 0, errMalformed},
		"compacted inside":            {testBatch{base: 10, lastDelta: 9, records: []testRecord{{delta: 2}, {delta: 7}}}.bytes(), nil, 10, []int64{12, 17}, 20, nil},
		"compacted to nothing":        {testBatch{base: 10, lastDelta: 9}.bytes(), nil, 10, nil, 20, nil},
		"hole between batches":        {join(plain(0, 1), plain(50, 1)), nil, 0, []int64{0, 50}, 51, nil},
		"committed":                   {join(tx(0, 9, 2), control(2, 9, true)), nil, 0, []int64{0, 1}, 3, nil},
		"aborted":                     {join(tx(0, 9, 2), control(2, 9, false)), []aborted{{9, 0}}, 0, nil, 3, nil},
		"aborted, then committed":     {join(tx(0, 9, 2), control(2, 9, false), tx(3, 9, 1), control(4, 9, true)), []aborted{{9, 0}}, 0, []int64{3}, 5, nil},
		"committed, then aborted":     {join(tx(0, 9, 1), control(1, 9, true), tx(2, 9, 1), control(3, 9, false)), []aborted{{9, 2}}, 0, []int64{0}, 4, nil},
		"interleaved producers":       {join(tx(0, 1, 1), tx(1, 2, 1), plain(2, 1), tx(3, 1, 1), control(4, 1, false), control(5, 2, true)), []aborted{{1, 0}}, 0, []int64{1, 2}, 6, nil},
		"abort that began before":     {join(tx(5, 1, 1), control(6, 1, false)), []aborted{{1, 2}}, 5, nil, 7, nil},
		"two aborts of one producer":  {join(tx(0, 1, 1), control(1, 1, false), tx(2, 1, 1), control(3, 1, false), tx(4, 1, 1), control(5, 1, true)), []aborted{{1, 0}, {1, 2}}, 0, []int64{4}, 6, nil},
		"not transactional, same id":  {plain(0, 1), []aborted{{0, 0}}, 0, []int64{0}, 1, nil},
		"wrong checksum":              {corrupted, nil, 0, nil, 0, ErrCorrupt},
		"wrong checksum in second":    {join(plain(0, 1), append(plain(1, 1)[:70:70], append(plain(1, 1)[70:], 0)[1:]...)), nil, 0, []int64{0}, 1, ErrCorrupt},
		"message set":                 {old, nil, 0, nil, 0, ErrUnsupported},
		"format of the future":        {newer, nil, 0, nil, 0, ErrUnsupported},
		"unknown compression":         {testBatch{attributes: 5, records: simple(1, 1)}.bytes(), nil, 0, nil, 0, ErrUnsupported},
		"more records than there are": {testBatch{records: simple(2, 10), count: 3}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"fewer than there are":        {testBatch{records: simple(2, 10), count: 1}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"two billion records":         {testBatch{records: simple(2, 10), count: math.MaxInt32}.bytes(), nil, 0, nil, 0, ErrTooLarge},
		"a million records":           {testBatch{records: simple(2, 10), count: 1_000_000}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"negative count":              {testBatch{records: simple(2, 10), count: -1}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"offsets go back":             {testBatch{records: []testRecord{{delta: 1}, {delta: 0}}, lastDelta: 1}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"offset beyond the batch":     {testBatch{records: []testRecord{{delta: 5}}, lastDelta: 1}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"negative offset":             {testBatch{base: -5, records: simple(1, 1)}.bytes(), nil, 0, nil, 0, ErrCorrupt},
		"ends before it begins":       {testBatch{base: 5, records: simple(1, 1), lastDelta: -1}.bytes(), nil, 0, nil, 0, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			a := answer{batches: c.batches, aborted: c.aborted}
			var codecs codecs
			records, next, _, err := decodeInto(&a, c.from, nil, nil, &codecs)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil && errors.Is(c.err, ErrCorrupt) && len(c.offsets) == 0 {
				return // the caller drops the records of a corrupt answer
			}
			if next != c.next || len(records) != len(c.offsets) {
				t.Fatalf("got %d records, next %d; want %v, next %d", len(records), next, c.offsets, c.next)
			}
			for i, r := range records {
				if r.Offset != c.offsets[i] {
					t.Errorf("record %d: offset %d, want %d", i, r.Offset, c.offsets[i])
				}
			}
		})
	}
}

// TestDecodeManyTinyRecords keeps the index of a chunk within bounds.
func TestDecodeManyTinyRecords(t *testing.T) {
	half := make([]testRecord, mostInChunk/2+1)
	for i := range half {
		half[i].delta = int64(i)
	}
	n := int64(len(half))
	two := append(testBatch{records: half}.bytes(), testBatch{base: n, records: half}.bytes()...)
	records, next, _, err := decodeInto(&answer{batches: two}, 0, nil, nil, new(codecs))
	if err != nil || next != n || int64(len(records)) != n {
		t.Errorf("%d records, next %d, %v; want one batch", len(records), next, err)
	}
	many := make([]testRecord, mostInBatch+1)
	for i := range many {
		many[i].delta = int64(i)
	}
	if _, next, _, err := decodeInto(&answer{batches: testBatch{records: many}.bytes()}, 0, nil, nil, new(codecs)); !errors.Is(err, ErrTooLarge) || next != 0 {
		t.Errorf("next %d, %v; want ErrTooLarge", next, err)
	}
}

// TestParseAnswer reads what franz-go writes, in every version that we ask for.
func TestParseAnswer(t *testing.T) {
	for version := int16(4); version <= 13; version++ {
		if version == 12 {
			continue
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = 3, 100, 90, 10
		p.RecordBatches = []byte("batches")
		p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 7, FirstOffset: 50}, {ProducerID: 8, FirstOffset: 20}}
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		res := kmsg.NewPtrFetchResponse()
		res.Version, res.ThrottleMillis, res.Topics = version, 1500, append(res.Topics, topic)
		var b []byte
		if version >= 12 {
			b = append(b, 0)
		}
		b = res.AppendTo(b)
		a, err := parseAnswer(b, version, nil)
		if err != nil || a.err != nil {
			t.Fatalf("version %d: %v, %v", version, err, a.err)
		}
		start := int64(10)
		if version < 5 {
			start = -1
		}
		if a.high != 100 || a.stable != 90 || a.logStart != start || string(a.batches) != "batches" || a.throttle != 1500*time.Millisecond ||
			!slices.Equal(a.aborted, []aborted{{8, 20}, {7, 50}}) {
			t.Errorf("version %d: %+v", version, a)
		}
		for cut := range b {
			if _, err := parseAnswer(b[:cut], version, nil); err == nil && cut < len(b)-4 {
				t.Errorf("version %d: %d of %d bytes were taken for a whole answer", version, cut, len(b))
			}
		}
	}
}

func TestDecodeTimesAndValues(t *testing.T) {
	records := []testRecord{
		{delta: 0, time: 0, value: nil},
		{delta: 1, time: -300, value: []byte{}, key: []byte("k")},
		{delta: 2, time: 70_000, value: []byte("v"), headers: [][2]string{{"h", "x"}, {"", ""}}},
	}
	for name, c := range map[string]struct {
		batch testBatch
		times [3]int64
	}{
		"create time": {testBatch{baseTime: 1000, maxTime: 71_000, records: records}, [3]int64{1000, 700, 71_000}},
		"append time": {testBatch{attributes: 8, baseTime: 1000, maxTime: 99_000, records: records}, [3]int64{99_000, 99_000, 99_000}},
		"no time":     {testBatch{baseTime: -1, maxTime: -1, records: records}, [3]int64{-1, -1, -1}},
	} {
		got, _, _, err := decodeInto(&answer{batches: c.batch.bytes()}, 0, nil, nil, new(codecs))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range got {
			if r.Time != c.times[i] {
				t.Errorf("%s: record %d has time %d, want %d", name, i, r.Time, c.times[i])
			}
		}
		if got[0].Value != nil || got[1].Value == nil || len(got[1].Value) != 0 || string(got[2].Value) != "v" {
			t.Errorf("%s: values %v", name, got)
		}
	}
}

// compressors write what Kafka's clients write, with the codec's number.
func compressors(t testing.TB) map[int]func([]byte) []byte {
	xerialFramed := func(b []byte) []byte {
		out := append([]byte(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
		for len(b) > 0 {
			n := min(len(b), 32<<10)
			block := snappy.Encode(nil, b[:n])
			out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
			out = append(out, block...)
			b = b[n:]
		}
		return out
	}
	return map[int]func([]byte) []byte{
		codecGzip: func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		codecSnappy:      func(b []byte) []byte { return s2.EncodeSnappy(nil, b) },
		codecSnappy + 16: xerialFramed, // bits above the codec are others' business
		codecLZ4: func(b []byte) []byte {
			var out bytes.Buffer
			w := lz4.NewWriter(&out)
			w.Write(b)
			w.Close()
			return out.Bytes()
		},
		codecZstd: func(b []byte) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll(b, nil)
		},
	}
}

func TestDecodeCompressed(t *testing.T) {
	for codec, compress := range compressors(t) {
		batch := testBatch{base: 3, attributes: uint16(codec & 7), records: simple(900, 100), compress: compress}.bytes()
		both := append(append([]byte{}, batch...), testBatch{base: 903, attributes: uint16(codec & 7), records: simple(900, 100), compress: compress}.bytes()...)
		var codecs codecs
		for range 2 { // decoders are used again
			// Space for one and a half: the second batch waits for the next fetch.
			records, next, used, err := decodeInto(&answer{batches: both}, 3, nil, make([]byte, 150_000), &codecs)
			if err != nil || len(records) != 900 || next != 903 || used == 0 {
				t.Fatalf("codec %d: %d records, next %d, used %d, %v", codec, len(records), next, used, err)
			}
			if string(records[1].Value) != string(bytes.Repeat([]byte("b"), 100)) {
				t.Errorf("codec %d: value %q", codec, records[1].Value)
			}
			if _, next, _, err = decodeInto(&answer{batches: both}, 3, nil, make([]byte, 50_000), &codecs); !errors.Is(err, errMore) || next != 3 {
				t.Errorf("codec %d: next %d, %v; want errMore", codec, next, err)
			}
			if _, _, _, err = decodeInto(&answer{batches: both}, 3, nil, nil, &codecs); !errors.Is(err, errMore) {
				t.Errorf("codec %d without space: %v; want errMore", codec, err)
			}
			records, next, _, err = decodeInto(&answer{batches: both}, 3, nil, make([]byte, 1<<20), &codecs)
			if err != nil || len(records) != 1800 || next != 1803 {
				t.Errorf("codec %d: %d records, next %d, %v", codec, len(records), next, err)
			}
		}
		// Truncated and damaged streams are errors, whatever their checksum says.
		for _, damage := range []func([]byte) []byte{
			func(b []byte) []byte { return b[:len(b)/2] },
			func(b []byte) []byte { return nil },
			func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, 64) },
		} {
			bad := testBatch{attributes: uint16(codec & 7), records: simple(900, 100), compress: func(b []byte) []byte { return damage(compress(b)) }}.bytes()
			if _, _, _, err := decodeInto(&answer{batches: bad}, 0, nil, make([]byte, 1<<20), &codecs); !errors.Is(err, ErrCorrupt) {
				t.Errorf("codec %d damaged: %v; want ErrCorrupt", codec, err)
			}
		}
	}
}

func TestBombsDoNotAllocate(t *testing.T) {
	bomb := make([]byte, 64<<20)
	for codec, compress := range compressors(t) {
		packed := compress(bomb)
		var codecs codecs
		space := make([]byte, 64<<10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := codecs.decompress(codec&7, space, packed); !errors.Is(err, errOverflow) {
			t.Errorf("codec %d: %v, want errOverflow", codec, err)
		}
		runtime.ReadMemStats(&after)
		// A decoder's own tables and one block of lz4 (4 MiB, and as much to decompress into).
		if n := after.TotalAlloc - before.TotalAlloc; n > 10<<20 {
			t.Errorf("codec %d: %d bytes allocated for a bomb", codec, n)
		}
	}
	// A header that claims four gigabytes.
	claim := binary.AppendUvarint(nil, math.MaxUint32)
	if _, err := new(codecs).decompress(codecSnappy, make([]byte, 1<<10), claim); err == nil {
		t.Error("a claim of four gigabytes was believed")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(testBatch{records: simple(3, 10)}.bytes(), int64(0))
	f.Add(control(7, 1, false), int64(7))
	for codec, compress := range compressors(f) {
		f.Add(testBatch{base: 9, attributes: uint16(codec & 7), records: simple(5, 20), compress: compress}.bytes(), int64(10))
	}
	var codecs codecs
	plain := make([]byte, 64<<10)
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		if from < 0 {
			return
		}
		// The checksum is put right, or nothing behind it would ever be reached.
		b = bytes.Clone(b)
		for rest := b; len(rest) >= headerSize; {
			size := int64(int32(binary.BigEndian.Uint32(rest[8:]))) + batchPrefix
			if size < headerSize || size > int64(len(rest)) {
				break
			}
			binary.BigEndian.PutUint32(rest[17:], castagnoli(rest[21:size]))
			rest = rest[size:]
		}
		records, next, used, err := decodeInto(&answer{batches: b, aborted: []aborted{{1, 0}}}, from, nil, plain, &codecs)
		if next < from || used > len(plain) {
			t.Fatalf("next %d of %d, used %d", next, from, used)
		}
		last := from - 1
		for _, r := range records {
			if r.Offset <= last {
				t.Fatalf("offset %d after %d", r.Offset, last)
			}
			if last = r.Offset; err == nil && last >= next {
				t.Fatalf("offset %d, but next is %d", last, next)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, flexible bool) {
		version := int16(11)
		if flexible {
			version = 13
		}
		if a, err := parseAnswer(b, version, nil); err == nil && len(a.batches) > len(b) {
			t.Fatal("more batches than bytes")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for codec, compress := range compressors(b) {
		b.Run(fmt.Sprint("codec-", codec), func(b *testing.B) { benchmarkDecode(b, uint16(codec&7), compress) })
	}
	b.Run("none", func(b *testing.B) { benchmarkDecode(b, 0, nil) })
}

// benchmarkDecode decodes records of 150 bytes, 6000 a batch: figures are per record.
func benchmarkDecode(b *testing.B, attributes uint16, compress func([]byte) []byte) {
	const n = 6000
	records := simple(n, 150)
	for i := range records {
		copy(records[i].value, fmt.Sprintf("%d.%03d %d 10.%d.%d.%d TCP_MISS/200 %d GET https://host%d.example/", 1700000000+i, i%1000, i*7%900, i%9, i%200, i%251, i*31, i*17%5000))
	}
	a := answer{batches: testBatch{attributes: attributes, records: records, compress: compress}.bytes()}
	var out []Record
	var codecs codecs
	plain := make([]byte, 4<<20)
	b.ReportAllocs()
	b.SetBytes(150)
	for done := 0; done < b.N; done += n {
		var err error
		if out, _, _, err = decodeInto(&a, 0, out[:0], plain, &codecs); err != nil || len(out) != n {
			b.Fatal(err)
		}
	}
}
