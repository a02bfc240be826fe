package kafka

import "encoding/binary"

// cursor walks over an answer. After the first read beyond the end everything it answers is zero and bad is set.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.b, c.bad = nil, true
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) int8() int8 {
	if b := c.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if b := c.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads the length of an array, of a string or of bytes: compact in flexible versions. Null is -1.
func (c *cursor) count(flexible bool) int {
	n := int64(0)
	if flexible {
		n = int64(min(c.uvarint(), 1<<31)) - 1
	} else {
		n = int64(c.int32())
	}
	// Every element takes at least one byte, so a larger count is a lie that must not become an allocation.
	if n > int64(len(c.b)) {
		c.b, c.bad = nil, true
		return 0
	}
	return int(n)
}

func (c *cursor) string(flexible bool) string {
	if flexible {
		return string(c.take(max(0, c.count(true))))
	}
	return string(c.take(max(0, int(c.int16()))))
}

// skip steps over bytes or an array of elements that have size bytes each.
func (c *cursor) skip(flexible bool, size int) {
	c.take(max(0, c.count(flexible)) * size)
}

// tags steps over tagged fields, which only flexible versions have.
func (c *cursor) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		size := c.uvarint()
		c.take(int(min(size, 1<<31)))
	}
}
