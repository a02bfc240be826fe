package kafka

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// memory hands out buffers whose sizes add up to no more than limit. Buffers that came back are used again, and dropped
// when otherwise those in use and those kept would exceed the limit together.
type memory struct {
	limit int64
	sem   *semaphore.Weighted
	used  atomic.Int64
	peak  atomic.Int64

	mu   sync.Mutex
	free [][]byte
	kept int64 // capacity of free
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, sem: semaphore.NewWeighted(limit)}
}

// class rounds a size up, in four steps per doubling, so that buffers fit again.
func (m *memory) class(n int) int64 {
	if n <= 4<<10 {
		return 4 << 10
	}
	step := 1 << (bits.Len(uint(n-1)) - 3)
	rounded := int64((n + step - 1) / step * step)
	if int64(n) <= m.limit {
		return min(rounded, m.limit)
	}
	return rounded
}

// acquire reserves n bytes (a sum of classes), waiting for others to give back. Whoever waits must hold nothing.
func (m *memory) acquire(ctx context.Context, n int64) error {
	if n > m.limit {
		return fmt.Errorf("%w: %d bytes are needed", ErrTooLarge, n)
	}
	if err := m.sem.Acquire(ctx, n); err != nil {
		return err
	}
	m.note(n)
	return nil
}

// tryAcquire reserves n bytes if they are there now.
func (m *memory) tryAcquire(n int64) bool {
	if !m.sem.TryAcquire(n) {
		return false
	}
	m.note(n)
	return true
}

func (m *memory) note(n int64) {
	used := m.used.Add(n)
	for {
		peak := m.peak.Load()
		if used <= peak || m.peak.CompareAndSwap(peak, used) {
			return
		}
	}
}

// release gives back a reservation without a buffer.
func (m *memory) release(n int64) {
	m.used.Add(-n)
	m.sem.Release(n)
}

// buffer gives a buffer of capacity n, which must be a class that has been reserved.
func (m *memory) buffer(n int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range m.free {
		if int64(cap(b)) == n {
			m.free = slices.Delete(m.free, i, i+1)
			m.kept -= n
			return b[:n]
		}
	}
	for len(m.free) > 0 && m.used.Load()+m.kept > m.limit {
		m.kept -= int64(cap(m.free[0]))
		m.free = slices.Delete(m.free, 0, 1)
	}
	return make([]byte, n)
}

// put gives back a buffer and its reservation.
func (m *memory) put(b []byte) {
	n := int64(cap(b))
	if n == 0 {
		return
	}
	m.mu.Lock()
	m.free = append(m.free, b)
	m.kept += n
	m.mu.Unlock()
	m.release(n)
}
