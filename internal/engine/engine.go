package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Errors that a caller may want to tell apart, with errors.Is.
var (
	ErrNoLibrary  = errors.New("the ClickHouse library libchdb was not found")
	ErrBusy       = errors.New("the data directory is in use by another engine")
	ErrPortInUse  = errors.New("the port is in use")
	ErrNotRunning = errors.New("no engine is running on the data directory")
)

// stopPatience is how long Stop waits for the engine to leave by itself before it kills it, which is safe.
const stopPatience = 3 * time.Second

// An Engine is one running ClickHouse server, a child of this process.
type Engine struct {
	state     state
	dataDir   string
	passwords map[string]string
	process   *os.Process
	lifeline  *os.File
	tail      *tail
	done      chan struct{}

	mu      sync.Mutex
	stopped bool
	err     error
}

// Start starts an engine on cfg.DataDir and returns when it answers queries over native TCP and HTTP. The context
// bounds the start only: cancelling it later does not stop the engine, Stop does.
func Start(ctx context.Context, cfg Config) (*Engine, error) {
	if os.Getenv(childEnv) != "" {
		return nil, errors.New("engine: an engine can't be started inside an engine's child: call engine.ChildIfAsked first thing in TestMain (or main)")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("engine: start on the data directory %s: %w", cfg.DataDir, err)
	}
	return e, nil
}

func start(ctx context.Context, cfg Config) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()

	library, err := findLibrary(cfg.Library)
	if err != nil {
		return nil, err
	}
	// A relative path is resolved twice by the engine when parts are fsynced, and then not found.
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := acquire(ctx, dir, cfg.BusyWait)
	if err != nil {
		return nil, err
	}
	defer lock.Close()

	names := []string{Owner}
	for name := range cfg.Users {
		names = append(names, name)
	}
	passwords, err := loadPasswords(filepath.Join(dir, passwordsFile), names)
	if err != nil {
		return nil, err
	}

	// A port that was free when it was chosen can be taken before the child binds it: choose again then, unless the
	// caller named the port. And about one start in a thousand ends in the library's own abort, whatever the directory holds.
	ports, aborts := 0, 0
	for {
		e, err := launch(ctx, cfg, dir, library, passwords, lock)
		switch {
		case errors.Is(err, ErrPortInUse) && ports < 4 && cfg.TCPPort == 0 && cfg.HTTPPort == 0:
			ports++
		case errors.Is(err, errAborted) && aborts < 2:
			aborts++
		default:
			return e, err
		}
	}
}

// errAborted is when the library ended its process by abort(3).
var errAborted = errors.New("the engine's library aborted")

func launch(ctx context.Context, cfg Config, dir, library string, passwords map[string]string, lock *os.File) (*Engine, error) {
	tcp, http, err := choosePorts(cfg.TCPPort, cfg.HTTPPort)
	if err != nil {
		return nil, err
	}
	if err := writeConfig(dir, cfg, passwords); err != nil {
		return nil, err
	}
	store := filepath.Join(dir, storeDir)
	if err := os.MkdirAll(store, 0o700); err != nil {
		return nil, fmt.Errorf("make the table directory: %w", err)
	}
	request, err := json.Marshal(childRequest{Dir: dir, Library: library, Args: []string{
		"clickhouse",
		"--config-file=" + filepath.Join(dir, configDir, "config.xml"),
		"--path=" + store,
		"--listen_host=" + loopback,
		"--tcp_port=" + strconv.Itoa(tcp),
		"--http_port=" + strconv.Itoa(http),
	}, Queries: "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; " + holdingQuery})
	if err != nil {
		return nil, err
	}
	executable := cfg.Executable
	if executable == "" {
		if executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the own executable: %w", err)
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()

	e := &Engine{dataDir: dir, passwords: passwords, lifeline: write, tail: &tail{}, done: make(chan struct{})}
	cmd := exec.Command(executable, ChildCommand)
	cmd.Dir = dir
	cmd.Env = append(childEnviron(), cfg.Env...)
	cmd.Stdout, cmd.Stderr = e.tail, e.tail
	cmd.ExtraFiles = []*os.File{read, lock} // fds 3 and 4 of the child
	cmd.SysProcAttr = childAttributes()

	started := make(chan error, 1)
	go func() {
		// The kernel's parent-death signal is bound to the thread that forked: it must live as long as the child.
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		err := cmd.Wait()
		write.Close()
		removeState(dir, cmd.Process.Pid)
		e.mu.Lock()
		if !e.stopped {
			e.err = err
		}
		e.mu.Unlock()
		close(e.done)
	}()
	if err := <-started; err != nil {
		write.Close()
		return nil, fmt.Errorf("start the engine's process: %w", err)
	}
	e.process = cmd.Process
	e.state = state{
		PID: cmd.Process.Pid, Parent: os.Getpid(), Started: time.Now().UTC(),
		Address:     net.JoinHostPort(loopback, strconv.Itoa(tcp)),
		HTTPAddress: net.JoinHostPort(loopback, strconv.Itoa(http)),
	}
	if _, err := write.Write(append(request, '\n')); err != nil {
		err = e.startFault(err)
		e.kill()
		return nil, err
	}
	if err := e.awaitReady(ctx); err != nil {
		e.kill()
		return nil, err
	}
	if err := writeState(dir, e.state); err != nil {
		e.kill()
		return nil, err
	}
	return e, nil
}

// awaitReady asks a query as the owner until it is answered: only our own engine knows the password, so a stranger
// on the port can't pass for it. Nor can an engine on a copy of the directory, which has the password too, but another port.
func (e *Engine) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	_, own, err := net.SplitHostPort(e.state.Address)
	if err != nil {
		return fmt.Errorf("read the engine's address: %w", err)
	}
	for {
		var port strings.Builder
		err := Query(ctx, e.state.HTTPAddress, Owner, e.passwords[Owner], "SELECT tcpPort()", &port)
		if err == nil && strings.TrimSpace(port.String()) == own {
			return nil
		}
		if err == nil {
			err = errors.New("another engine has the port")
		}
		select {
		case <-e.done:
			return e.startFault(e.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for the engine to answer: %w (last try: %v)", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// startFault explains why the child left before it answered, from the last words that it wrote.
func (e *Engine) startFault(err error) error {
	select {
	case <-e.done:
	case <-time.After(time.Second):
	}
	words, _, _ := strings.Cut(e.tail.String(), ", Stack trace (when")
	words, _, _ = strings.Cut(words, "\ngoroutine ")                                                  // what Go adds of itself when the library falls
	words = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(words), "tillsyn: "), "engine: ") // the child is this program, and names itself
	if strings.Contains(words, "Address already in use") {
		return fmt.Errorf("%w: %s", ErrPortInUse, words)
	}
	if strings.Contains(words, "SIGABRT") {
		return fmt.Errorf("%w: %s", errAborted, words)
	}
	if words == "" {
		words = "it said nothing"
	}
	if err == nil {
		return fmt.Errorf("the engine left before it answered: %s", words)
	}
	return fmt.Errorf("the engine left before it answered (%w): %s", err, words)
}

// Address is host:port of the native protocol, on loopback.
func (e *Engine) Address() string { return e.state.Address }

// HTTPAddress is host:port of the HTTP interface, on loopback.
func (e *Engine) HTTPAddress() string { return e.state.HTTPAddress }

// Credentials are the name and the password of one of Config.Users, or of Owner. The password of a user that the
// engine does not have is empty, and no user signs in with an empty one.
func (e *Engine) Credentials(user string) (name, password string) { return user, e.passwords[user] }

// Pid is the process id of the engine.
func (e *Engine) Pid() int { return e.state.PID }

// Done is closed when the engine's process is gone, whoever ended it.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err tells how the engine's process ended, once Done is closed; nil before, and after Stop.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Stop ends the engine: it cancels every query, waits until they are gone, ctx is done or three seconds are over, and
// then kills the process, which loses no acknowledged row: the engine holds nothing back, and its own way out would
// only take longer. It returns when the process is gone; a second Stop returns at once.
func (e *Engine) Stop(ctx context.Context) error {
	select {
	case <-e.done:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	// The query without a user is the one that holds the server open. An insert that is cut off was not acknowledged.
	_ = Query(ctx, e.state.HTTPAddress, Owner, e.passwords[Owner], "KILL QUERY WHERE user != '' AND query_id != queryID() SYNC", nil)
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.kill()
	return nil
}

// Kill ends the engine's process with SIGKILL and returns when it is gone. No acknowledged row is lost.
func (e *Engine) Kill() { e.kill() }

func (e *Engine) kill() {
	_ = e.process.Kill() // the only error is that it has gone already
	<-e.done
}

// childEnviron is the environment of the child: what the C library and the Go runtime read, and nothing else of ours,
// since a process's environment is a place where secrets are handed over.
func childEnviron() []string {
	env := []string{childEnv + "=1", "TZ=UTC"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GOCOVERDIR", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// choosePorts answers two ports that are free at this moment; a port that is not 0 is taken as it is.
func choosePorts(tcp, http int) (int, int, error) {
	var ports [2]int
	for i, port := range [2]int{tcp, http} {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			return 0, 0, fmt.Errorf("%w: %d on %s; name another one, or 0 for any free one: %v", ErrPortInUse, port, loopback, err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

// A tail keeps the first and the last words of the engine, for the error when it does not start.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailSize = 4096 // bytes, of each

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data); n > 2*tailSize {
		t.data = append(t.data[:tailSize], t.data[n-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
