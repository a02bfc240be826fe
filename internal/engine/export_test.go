package engine

import "context"

// AwaitReady waits, as the start of an engine does, for one that answers where e does and has its native port at address.
func AwaitReady(ctx context.Context, e *Engine, address string) error {
	awaited := &Engine{passwords: e.passwords, tail: &tail{}, done: make(chan struct{}), state: state{Address: address, HTTPAddress: e.state.HTTPAddress}}
	return awaited.awaitReady(ctx)
}
