package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// errOverflow says that the decompressed bytes do not fit into the space that was given.
var errOverflow = errors.New("decompressed batch does not fit")

// The codecs of record batches: https://kafka.apache.org/documentation/#recordbatch (attributes, bits 0 to 2).
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// codecs keeps decoders for reuse. No decoder writes beyond the space it is given, whatever the bytes claim.
type codecs struct {
	gzip, lz4, zstd sync.Pool
}

// decompress fills dst[:0:cap(dst)] and answers how much: errOverflow if dst is too small.
func (c *codecs) decompress(codec int, dst, src []byte) (int, error) {
	dst = dst[:cap(dst)]
	switch codec {
	case codecGzip:
		z, _ := c.gzip.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		defer c.gzip.Put(z)
		if err := z.Reset(bytes.NewReader(src)); err != nil {
			return 0, err
		}
		return fill(dst, z)
	case codecSnappy:
		return unsnappy(dst, src)
	case codecLZ4:
		z, _ := c.lz4.Get().(*lz4.Reader)
		if z == nil {
			z = lz4.NewReader(nil)
		}
		defer c.lz4.Put(z)
		z.Reset(bytes.NewReader(src))
		defer z.Reset(nil)
		return fill(dst, z)
	case codecZstd:
		z, _ := c.zstd.Get().(*zstd.Decoder)
		if z == nil {
			var err error
			// The window is where a hostile frame makes a decoder allocate: 8 MiB is the most that every encoder stays within
			// unless told otherwise (RFC 8878, 3.1.1.1.2), "long" ones that Kafka can't set included up to 32 MiB here.
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(32<<20))
			if err != nil {
				return 0, err
			}
		}
		defer c.zstd.Put(z)
		out, err := z.DecodeAll(src, dst[:0])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return 0, errOverflow
		}
		return len(out), err
	default:
		return 0, fmt.Errorf("%w: compression %d is not known", ErrUnsupported, codec)
	}
}

// fill reads r to its end.
func fill(dst []byte, r io.Reader) (int, error) {
	n, idle := 0, 0
	for n < len(dst) {
		k, err := r.Read(dst[n:])
		n += k
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if k > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return 0, io.ErrNoProgress
		}
	}
	var more [1]byte
	switch k, err := io.ReadFull(r, more[:]); {
	case k > 0:
		return 0, errOverflow
	case errors.Is(err, io.EOF):
		return n, nil
	default:
		return 0, err
	}
}

// xerial begins the framing that Java's snappy puts around blocks; librdkafka and Go send one bare block.
const xerial = "\x82SNAPPY\x00"

func unsnappy(dst, src []byte) (int, error) {
	if len(src) < 16 || string(src[:8]) != xerial {
		return unsnappyBlock(dst, src)
	}
	src = src[16:]
	total := 0
	for len(src) > 0 {
		if len(src) < 4 {
			return 0, io.ErrUnexpectedEOF
		}
		size := binary.BigEndian.Uint32(src)
		if src = src[4:]; uint64(size) > uint64(len(src)) {
			return 0, io.ErrUnexpectedEOF
		}
		n, err := unsnappyBlock(dst[total:], src[:size])
		if err != nil {
			return 0, err
		}
		total += n
		src = src[size:]
	}
	return total, nil
}

func unsnappyBlock(dst, src []byte) (int, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return 0, err
	}
	if n > len(dst) {
		return 0, errOverflow
	}
	out, err := snappy.Decode(dst[:n:n], src)
	return len(out), err
}
