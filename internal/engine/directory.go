package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"tillsyn/internal/durable"
)

const (
	lockFile  = "lock"
	stateFile = "engine.json"
)

// A state is where a running engine can be found. It holds no password.
type state struct {
	PID         int       `json:"pid"`
	Parent      int       `json:"parent"`
	Address     string    `json:"address"`
	HTTPAddress string    `json:"http_address"`
	Started     time.Time `json:"started"`
}

// acquire takes the lock of the data directory, or waits for at most busyWait until it is free. The engine's process
// inherits the open file: the lock lives exactly as long as that process.
func acquire(ctx context.Context, dir string, busyWait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the directory can't be written to: %w", err)
	}
	deadline := time.NewTimer(busyWait)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the directory: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-deadline.C:
			f.Close()
			if s, err := readState(dir); err == nil {
				return nil, fmt.Errorf("%w: process %d has it (started by process %d): stop that one, or name another directory", ErrBusy, s.PID, s.Parent)
			}
			return nil, fmt.Errorf("%w: stop that one, or name another directory", ErrBusy)
		case <-tick.C:
		}
	}
}

// A Running is an engine that runs now, perhaps under another process.
type Running struct {
	PID         int       // of the engine
	Parent      int       // of the process that started it
	Address     string    // host:port of the native protocol
	HTTPAddress string    // host:port of the HTTP interface
	Started     time.Time // UTC

	passwords map[string]string
}

// Credentials are the name and password of a user of the running engine; the password is empty if it has no such user.
func (r *Running) Credentials(user string) (name, password string) { return user, r.passwords[user] }

// Users are the names of the users of the running engine, sorted.
func (r *Running) Users() []string { return slices.Sorted(maps.Keys(r.passwords)) }

// Find answers the engine that runs on a data directory, or an error that is ErrNotRunning, also where a dead one has left its traces.
func Find(dataDir string) (*Running, error) {
	f, err := os.Open(filepath.Join(dataDir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("engine: %w %s", ErrNotRunning, dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("engine: look for a running engine: %w", err)
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return nil, fmt.Errorf("engine: %w %s", ErrNotRunning, dataDir)
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("engine: look for a running engine: %w", err)
	}
	s, err := readState(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("engine: %w %s: one is just starting or stopping, try again", ErrNotRunning, dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	passwords, err := readPasswords(filepath.Join(dataDir, passwordsFile))
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return &Running{PID: s.PID, Parent: s.Parent, Address: s.Address, HTTPAddress: s.HTTPAddress, Started: s.Started, passwords: passwords}, nil
}

func readState(dir string) (state, error) {
	var s state
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", stateFile, err)
	}
	return s, nil
}

func writeState(dir string, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, stateFile), append(text, '\n'), 0o600)
}

// removeState removes the state file of the process pid, not that of its successor.
func removeState(dir string, pid int) {
	if s, err := readState(dir); err == nil && s.PID == pid {
		os.Remove(filepath.Join(dir, stateFile))
	}
}

func readPasswords(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	passwords := map[string]string{}
	if err := json.Unmarshal(text, &passwords); err != nil {
		return nil, fmt.Errorf("read the passwords of the engine's users: %s is damaged; remove it, and new ones are made: %w", passwordsFile, err)
	}
	return passwords, nil
}

// loadPasswords answers a password for every name: the directory's own, or a new random one that it keeps.
func loadPasswords(path string, names []string) (map[string]string, error) {
	passwords, err := readPasswords(path)
	if errors.Is(err, fs.ErrNotExist) {
		passwords, err = map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	changed := false
	for _, name := range names {
		if passwords[name] == "" {
			passwords[name], changed = rand.Text()+rand.Text(), true // 2 x 130 bits
		}
	}
	if !changed {
		return passwords, nil
	}
	text, err := json.MarshalIndent(passwords, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := durable.Replace(path, append(text, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("keep the passwords of the engine's users: %w", err)
	}
	return passwords, nil
}
