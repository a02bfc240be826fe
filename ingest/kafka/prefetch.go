package kafka

import (
	"context"
	"errors"
)

// A Prefetch fetches one chunk of a partition ahead, so that the next one is there when the last one has been read. It
// holds at most two chunks. It is used by one goroutine.
type Prefetch struct {
	ctx  context.Context
	stop context.CancelFunc
	free chan *Chunk
	full chan fetched
	held *Chunk
	err  error
}

type fetched struct {
	chunk *Chunk
	err   error
}

// Prefetch begins to read at offset. While it runs, Fetch must not be called for the partition. Close it in the end.
func (p *Partition) Prefetch(ctx context.Context, offset int64) *Prefetch {
	ctx, stop := context.WithCancel(ctx)
	f := &Prefetch{ctx: ctx, stop: stop, free: make(chan *Chunk, 2), full: make(chan fetched)}
	f.free <- new(Chunk)
	f.free <- new(Chunk)
	go f.run(ctx, p, offset)
	return f
}

func (f *Prefetch) run(ctx context.Context, p *Partition, offset int64) {
	defer close(f.full)
	for {
		var c *Chunk
		select {
		case <-ctx.Done():
			return
		case c = <-f.free:
		}
		err := p.Fetch(ctx, offset, c)
		offset = c.Next
		select {
		case f.full <- fetched{c, err}:
		case <-ctx.Done():
			c.Release()
			return
		}
		if err != nil {
			return
		}
	}
}

// errClosed says that a Prefetch was used after Close.
var errClosed = errors.New("prefetch is closed")

// Next releases the chunk it gave last and gives the next one, as Partition.Fetch does; the chunk is valid until the next
// call. Once it has given an error of Fetch it gives no more chunks. When ctx ends first, nothing is lost.
func (f *Prefetch) Next(ctx context.Context) (*Chunk, error) {
	if f.held != nil {
		f.held.Release()
		f.free <- f.held
		f.held = nil
	}
	if f.err != nil {
		return nil, f.err
	}
	select {
	case got, ok := <-f.full:
		if !ok {
			f.err = context.Cause(f.ctx)
			return nil, f.err
		}
		if got.err != nil {
			got.chunk.Release()
			f.err = got.err
			return nil, f.err
		}
		f.held = got.chunk
		return f.held, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close stops fetching and releases all chunks, also the one that Next gave last.
func (f *Prefetch) Close() {
	f.stop()
	for got := range f.full {
		got.chunk.Release()
	}
	if f.held != nil {
		f.held.Release()
		f.held = nil
	}
	if f.err == nil {
		f.err = errClosed
	}
}
