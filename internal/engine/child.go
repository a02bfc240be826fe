package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// ChildCommand is the hidden command under which a program runs the engine's child: RunChild.
const ChildCommand = "engine-child"

// childEnv marks the environment of a child, so that a program which forgot ChildIfAsked does not start itself for ever.
const childEnv = "TILLSYN_ENGINE_CHILD"

// The child's inherited files.
const (
	lifelineFD = 3
	lockFD     = 4
)

type childRequest struct {
	Dir     string   `json:"dir"` // the data directory
	Library string   `json:"library"`
	Args    []string `json:"args"`    // of chdb_query_cmdline, but for the queries
	Queries string   `json:"queries"` // what the local session runs
}

// ChildIfAsked runs the engine and exits, if this process was started as the child of one. Otherwise it returns at
// once. A test binary that starts engines calls it first thing in TestMain.
func ChildIfAsked() {
	if len(os.Args) != 2 || os.Args[1] != ChildCommand || os.Getenv(childEnv) == "" {
		return
	}
	if err := RunChild(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// RunChild is the whole life of the engine's process: it reads its orders from the lifeline, loads the library, and
// serves until the holding query is cancelled or the parent is gone. It is of no use outside of a child that Start made.
func RunChild() error {
	if os.Getenv(childEnv) == "" {
		return errors.New("engine: this command is for the program itself: it runs the embedded ClickHouse")
	}
	// systemd and a terminal signal the whole group; the parent decides when the engine goes, after it has drained.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// What is in the engine's memory must not land in a core file.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("engine: forbid core files: %w", err)
	}
	lifeline := bufio.NewReader(os.NewFile(lifelineFD, "lifeline"))
	line, err := lifeline.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("engine: read the orders: %w", err)
	}
	var request childRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return fmt.Errorf("engine: read the orders: %w", err)
	}
	go func() {
		// The parent never writes again: the end of the pipe is its death. SIGKILL, because it loses nothing and nothing can block it.
		_, _ = io.Copy(io.Discard, lifeline)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()

	orders, err := gate(request)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	runtime.LockOSThread()
	library, err := purego.Dlopen(request.Library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("engine: load the library: %w", err)
	}
	var (
		setHandlers func(int32)
		run         func(argc int32, argv **byte) uintptr
		failure     func(uintptr) string
	)
	for name, f := range map[string]any{
		"chdb_set_signal_handlers_enabled": &setHandlers,
		"chdb_query_cmdline":               &run,
		"chdb_result_error":                &failure,
	} {
		symbol, err := purego.Dlsym(library, name)
		if err != nil {
			return fmt.Errorf("engine: %s is not in the library: this program needs libchdb 26.7 or newer: %w", name, err)
		}
		purego.RegisterFunc(f, symbol)
	}
	// The call also resets handlers that the Go runtime owns (chdb-io/chdb-go, chdb-purego/binding.go explains it).
	restore, err := saveSignalHandlers()
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	setHandlers(0)
	restore()

	args := append(request.Args, "--queries-file="+orders)
	argv := make([]*byte, len(args)+1)
	for i, a := range args {
		argv[i] = unsafe.SliceData(append([]byte(a), 0))
	}
	result := run(int32(len(args)), &argv[0])
	runtime.KeepAlive(argv)
	if result == 0 {
		return errors.New("engine: the library gave no result")
	}
	if text := failure(result); text != "" {
		return fmt.Errorf("engine: %s", text)
	}
	return nil
}

// gate makes the named pipe from which the engine reads its queries, and a goroutine that takes the working directory
// away before it lets them through. In this engine the SQL function file() reads any file of the machine and asks for
// no grant, but first of all it resolves the working directory: without one it always fails. The engine needs one
// only until it opens the pipe, and it listens only after it has read from it, so there is no moment in between.
func gate(request childRequest) (path string, err error) {
	nowhere := filepath.Join(request.Dir, ".nowhere")
	_ = os.Remove(nowhere) // of an engine that was killed
	if err = os.Mkdir(nowhere, 0o700); err == nil {
		err = os.Chdir(nowhere)
	}
	if err != nil {
		return "", fmt.Errorf("make a working directory: %w", err)
	}
	path = filepath.Join(request.Dir, configDir, "queries")
	_ = os.Remove(path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return "", fmt.Errorf("make the pipe for the queries: %w", err)
	}
	go func() {
		pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the reader
		if err = errors.Join(err, os.Remove(path), os.Remove(nowhere)); err == nil {
			_, err = pipe.WriteString(request.Queries)
			err = errors.Join(err, pipe.Close())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "engine: close the file system to queries:", err)
			os.Exit(1)
		}
	}()
	return path, nil
}

// saveSignalHandlers remembers what happens on every signal and answers the function that makes it so again. The C
// library's own struct is kept unread, so this holds on every platform.
func saveSignalHandlers() (restore func(), err error) {
	symbol, err := purego.Dlsym(purego.RTLD_DEFAULT, "sigaction")
	if err != nil {
		return nil, fmt.Errorf("find sigaction: %w", err)
	}
	var sigaction func(signal int32, set, old unsafe.Pointer) int32
	purego.RegisterFunc(&sigaction, symbol)
	const (
		signals = 64
		size    = 256 // more than any struct sigaction: 152 bytes on linux x64, 16 on macOS
	)
	saved := make([][size]byte, signals+1)
	known := make([]bool, signals+1)
	for s := int32(1); s <= signals; s++ {
		known[s] = sigaction(s, nil, unsafe.Pointer(&saved[s])) == 0
	}
	return func() {
		for s := int32(1); s <= signals; s++ {
			if known[s] {
				sigaction(s, unsafe.Pointer(&saved[s]), nil)
			}
		}
	}, nil
}
