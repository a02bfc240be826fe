package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrPurgeBusy is when another process is purging, or placing or releasing a hold.
var ErrPurgeBusy = errors.New("another process is purging, or placing or releasing a hold")

// purgeLock lets one process at a time change what is kept. A killed process leaves no lock.
func purgeLock(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	if path == "" {
		return nil, errors.New("no lock file is named")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	lock := flock.New(path, flock.SetPermissions(0o600))
	ok, err := lock.TryLockContext(ctx, 5*time.Millisecond)
	switch {
	case ok:
		return func() { _ = lock.Close() }, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w (%s)", ErrPurgeBusy, path)
	}
	return nil, fmt.Errorf("take the lock %s: %w", path, err)
}
