package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	Library string   `json:"library"`
	Args    []string `json:"args"`
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

	argv := make([]*byte, len(request.Args)+1)
	for i, a := range request.Args {
		argv[i] = unsafe.SliceData(append([]byte(a), 0))
	}
	result := run(int32(len(request.Args)), &argv[0])
	runtime.KeepAlive(argv)
	if result == 0 {
		return errors.New("engine: the library gave no result")
	}
	if text := failure(result); text != "" {
		return fmt.Errorf("engine: %s", text)
	}
	return nil
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
