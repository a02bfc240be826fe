package vault

import (
	"bytes"
	_ "embed"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// dictionary1 is what a body of version 1 can refer to without having it: text that logs of the web and of mail are full of
// (dictionary1.txt), and how often bytes and lengths come, as a synthetic municipality has them (RFC 8878, 5). It is part of the
// format, so it never changes.
//
//go:embed dictionary1.zstd
var dictionary1 []byte

const dictionaryID = 1

// zstdMagic begins every Zstandard frame, so it is left out (RFC 8878, 3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// A compressor makes the plaintext of capsules of bodies. It is for one goroutine.
type compressor struct {
	zstd  *zstd.Encoder
	frame []byte
}

func newCompressor() (*compressor, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	return &compressor{zstd: z}, nil
}

// compress appends the plaintext of body to dst.
func (c *compressor) compress(dst, body []byte) []byte {
	c.frame = c.zstd.EncodeAll(body, c.frame[:0])
	if payload, ok := bytes.CutPrefix(c.frame, []byte(zstdMagic)); ok && len(payload) < len(body) {
		return append(append(dst, formCompressed), payload...)
	}
	return append(append(dst, formStored), body...)
}

// An expander is the inverse of a compressor. It is safe for concurrent use.
type expander struct{ zstd *zstd.Decoder }

func newExpander() (*expander, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary1), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make an expander: %w", err)
	}
	return &expander{z}, nil
}

// expand answers the body of a plaintext.
func (x *expander) expand(plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, errBody
	}
	switch plain[0] {
	case formStored:
		return plain[1:], nil
	case formCompressed:
		body, err := x.zstd.DecodeAll(append([]byte(zstdMagic), plain[1:]...), nil)
		if err != nil {
			return nil, errBody // the library's text may quote
		}
		return body, nil
	}
	return nil, errBody
}
