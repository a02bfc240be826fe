package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tillsyn/internal/engine"
	"tillsyn/internal/engine/enginetest"
)

func TestMissingLibrary(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	cfg.Library = filepath.Join(t.TempDir(), "libchdb.so")
	_, err := engine.Start(t.Context(), cfg)
	if !errors.Is(err, engine.ErrNoLibrary) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a named file that is not there: %v", err)
	}

	cfg.Library = t.TempDir()
	if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, engine.ErrNoLibrary) {
		t.Errorf("a directory: %v", err)
	}

	cfg.Library = filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(cfg.Library, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), ": load the library") || strings.Count(err.Error(), "engine:") != 1 {
		t.Errorf("a file that is not a library: %v", err)
	}

	// A library, but not this one.
	if cfg.Library = enginetest.NewKillShim(t).Library(); cfg.Library == "" {
		t.Fatal("no library")
	}
	if _, err := engine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "needs libchdb 26.7 or newer") {
		t.Errorf("another library: %v", err)
	}

	// Whoever made the folder that tillsyn is started in must not choose what it runs.
	t.Setenv("TILLSYN_CHDB_LIBRARY", "")
	cfg.Library = ""
	t.Chdir(t.TempDir())
	theirs := filepath.Join("node_modules", "@chdb", "lib-linux-x64-gnu")
	if err := os.MkdirAll(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(theirs, "libchdb.so"), []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, engine.ErrNoLibrary) || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("a library beside the working directory only: %v", err)
	}
}

func TestBusyDirectory(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	cfg.BusyWait = 50 * time.Millisecond
	e := enginetest.Start(t, cfg)
	if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, engine.ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(e.Pid())) {
		t.Errorf("second start in the same process: %v", err)
	}
	out, err := another(t, "start", cfg.DataDir).Output()
	if err == nil || !strings.Contains(string(out), engine.ErrBusy.Error()) {
		t.Errorf("second start in another process: %v, it said %s", err, out)
	}
	if got := ask(t, e, engine.Owner, "SELECT 1"); got != "1" {
		t.Errorf("the first engine was disturbed: %s", got)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Start(t, cfg)
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := enginetest.Config(t, nil)
	cfg.DataDir = filepath.Join(file, "data")
	if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("below a file: %v", err)
	}

	for mode, what := range map[fs.FileMode]string{0o500: "unwritable", 0: "unreadable"} {
		cfg = enginetest.Config(t, nil)
		if err := os.Chmod(cfg.DataDir, mode); err != nil {
			t.Fatal(err)
		}
		if err := asNobody(t, func() error { _, err := engine.Start(t.Context(), cfg); return err }); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s directory: %v", what, err)
		}
		if err := os.Chmod(cfg.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		enginetest.Start(t, cfg).Kill()
	}
}

// An engine on a copy of a data directory knows the same passwords: where it has taken the port, it does not pass for the one that is
// being started.
func TestAnEngineOnACopyIsAnother(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	if err := engine.AwaitReady(t.Context(), e, e.Address()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := engine.AwaitReady(ctx, e, "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an engine at another native port: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, set := range []func(*engine.Config){
		func(c *engine.Config) { c.TCPPort = port },
		func(c *engine.Config) { c.HTTPPort = port },
	} {
		cfg := enginetest.Config(t, nil)
		set(&cfg)
		if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, engine.ErrPortInUse) || !strings.Contains(err.Error(), strconv.Itoa(port)) {
			t.Errorf("a port that is taken: %v", err)
		}
	}
	l.Close()
	cfg := enginetest.Config(t, nil)
	cfg.TCPPort = port
	if got := enginetest.Start(t, cfg).Address(); got != net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) {
		t.Errorf("the port that was asked for: %s", got)
	}
}

func TestDamagedFiles(t *testing.T) {
	damage := func(cfg engine.Config, path ...string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(append([]string{cfg.DataDir}, path...)...), []byte("{<damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	ask(t, e, engine.Owner, "CREATE DATABASE d")
	ask(t, e, engine.Owner, "CREATE TABLE d.a (x UInt64) ENGINE=MergeTree ORDER BY x")
	e.Kill()

	damage(cfg, "config", "config.xml")
	damage(cfg, "config", "users.xml")
	damage(cfg, "engine.json")
	enginetest.Start(t, cfg).Kill() // all three are written anew

	damage(cfg, "passwords.json")
	if _, err := engine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "passwords.json is damaged; remove it") {
		t.Errorf("damaged passwords: %v", err)
	}
	if err := os.Remove(filepath.Join(cfg.DataDir, "passwords.json")); err != nil {
		t.Fatal(err)
	}
	e = enginetest.Start(t, cfg)
	if got := ask(t, e, engine.Owner, "SELECT count() FROM d.a"); got != "0" {
		t.Errorf("the table after new passwords: %s", got)
	}
	e.Kill()

	tables, err := filepath.Glob(filepath.Join(cfg.DataDir, "clickhouse", "store", "*", "*", "a.sql"))
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	if err := os.WriteFile(tables[0], []byte("{<damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "the engine left before it answered") {
		t.Errorf("damaged table: %v", err)
	}
}

func TestGrantThatTheEngineRefuses(t *testing.T) {
	cfg := enginetest.Config(t, map[string]engine.User{"ingest": {Grants: []string{"GRANT FLY ON *.*"}}})
	_, err := engine.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "Failed to parse grant query") || !strings.Contains(err.Error(), "'ingest'") {
		t.Error(err)
	}
}

func TestProgramThatIsNoEngine(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	var err error
	if cfg.Executable, err = exec.LookPath("true"); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "the engine left before it answered") {
		t.Error(err)
	}
	cfg.Executable = filepath.Join(t.TempDir(), "nothing")
	if _, err := engine.Start(t.Context(), cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestStartIsCancelled(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := engine.Start(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	cfg.BusyWait = 0
	enginetest.Start(t, cfg) // nothing is left over that holds the directory
}

func TestEngineIsKilled(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	ask(t, e, engine.Owner, "CREATE DATABASE d")
	ask(t, e, engine.Owner, "CREATE TABLE d.a (x UInt64) ENGINE=MergeTree ORDER BY x")
	ask(t, e, engine.Owner, "INSERT INTO d.a SELECT number FROM numbers(2000000)")
	if err := syscall.Kill(e.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, e)
	if e.Err() == nil {
		t.Error("the end of the engine looks like a clean stop")
	}
	if _, err := engine.Find(cfg.DataDir); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Error("stop after the end:", err)
	}
	e = enginetest.Start(t, cfg)
	if got := ask(t, e, engine.Owner, "SELECT count() FROM d.a"); got != "2000000" {
		t.Errorf("%s rows of 2000000", got)
	}
}

// The engine of a parent that is killed with -9 goes too, lets go of the directory, and loses no acknowledged row.
func TestParentIsKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		cmd := another(t, "insert", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the other process did not start an engine")
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		found, err := engine.Find(dir)
		if err != nil || found.PID != pid || found.Parent != cmd.Process.Pid {
			t.Errorf("find: %+v, %v; want process %d under %d", found, err, pid, cmd.Process.Pid)
		}
		acknowledged := 0
		for acknowledged < 20+7*round && lines.Scan() {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it acknowledged before the kill reached it
			acknowledged, _ = strconv.Atoi(lines.Text())
		}
		_ = cmd.Wait()

		cfg := enginetest.Config(t, nil)
		cfg.DataDir = dir
		began := time.Now()
		e := enginetest.Start(t, cfg)
		t.Logf("opened %s after the kill", time.Since(began).Round(time.Millisecond))
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
			t.Errorf("the killed parent's engine, process %d, is still there", pid)
		}
		if _, err := engine.Find(dir); err != nil {
			t.Error(err)
		}
		rows, err := strconv.Atoi(ask(t, e, engine.Owner, "SELECT count() FROM d.a"))
		if err != nil {
			t.Fatal(err)
		}
		// An insert can have landed without its acknowledgement.
		if rows != acknowledged && rows != acknowledged+1 {
			t.Errorf("%d rows, %d were acknowledged", rows, acknowledged)
		}
		ask(t, e, engine.Owner, "TRUNCATE TABLE d.a")
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// zombie tells whether a process has ended and only waits for its new parent to notice.
func zombie(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// A terminal and systemd signal every process of the group: the engine waits for its parent.
func TestSignalsForTheParent(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, nil))
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		if err := syscall.Kill(e.Pid(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // time for a wrong handler to act; a right one makes no difference that could be awaited
		if got := ask(t, e, engine.Owner, "SELECT 1"); got != "1" {
			t.Errorf("after %s: %s", s, got)
		}
	}
}

func TestStopDuringWork(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	ask(t, e, engine.Owner, "CREATE DATABASE d")
	ask(t, e, engine.Owner, "CREATE TABLE d.a (x UInt64) ENGINE=MergeTree ORDER BY x")
	fault := make(chan error, 1)
	go func() {
		_, err := try(t, e, engine.Owner, "INSERT INTO d.a SELECT number + sleepEachRow(0.01) FROM numbers(100000) SETTINGS max_block_size=10, min_insert_block_size_rows=10")
		fault <- err
	}()
	for ask(t, e, engine.Owner, "SELECT count() > 0 FROM d.a") != "1" {
	}
	began := time.Now()
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("stop took %s", took)
	} else {
		t.Log("stop", took)
	}
	if err := <-fault; err == nil {
		t.Error("the insert that was cut off answered success")
	}
	if _, err := engine.Find(cfg.DataDir); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	enginetest.Start(t, cfg)
}

func TestFind(t *testing.T) {
	if _, err := engine.Find(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	found, err := engine.Find(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if found.PID != e.Pid() || found.Parent != os.Getpid() || found.Address != e.Address() || found.HTTPAddress != e.HTTPAddress() {
		t.Errorf("%+v", found)
	}
	name, password := found.Credentials(engine.Owner)
	if err := engine.Query(t.Context(), found.HTTPAddress, name, password, "SELECT 1", nil); err != nil {
		t.Error(err)
	}
	traces, err := os.ReadFile(filepath.Join(cfg.DataDir, "engine.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Find(cfg.DataDir); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	// What a power cut leaves behind.
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "engine.json"), traces, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Find(cfg.DataDir); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
}

// An engine that hangs is killed when the patience of Stop is over.
func TestStopOfAnEngineThatHangs(t *testing.T) {
	cfg := enginetest.Config(t, nil)
	e := enginetest.Start(t, cfg)
	if err := syscall.Kill(e.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, e)
	cfg.BusyWait = 0
	enginetest.Start(t, cfg)
}

// Paths with every letter that XML, a command line or SQL might trip over, a relative one, and one through a link.
func TestOddDirectories(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	if err := os.Mkdir("real", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", "link"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{`a b&<c>'d"é;%20--$HOME`, filepath.Join("x", "y", "..", "z"), "link", filepath.Join("link", strings.Repeat("long", 40))} {
		cfg := enginetest.Config(t, nil)
		cfg.DataDir = dir
		for range 2 {
			e, err := engine.Start(t.Context(), cfg)
			if err != nil {
				t.Errorf("%s: %v", dir, err)
				break
			}
			ask(t, e, engine.Owner, "CREATE DATABASE IF NOT EXISTS d")
			ask(t, e, engine.Owner, "CREATE TABLE IF NOT EXISTS d.a (x UInt64) ENGINE=MergeTree ORDER BY x")
			ask(t, e, engine.Owner, "INSERT INTO d.a SELECT 1")
			if _, err := try(t, e, engine.Owner, "SELECT file('passwords.json')"); err == nil {
				t.Error("file() is open")
			}
			if _, err := engine.Find(dir); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(filepath.Join(dir, "clickhouse")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the tables' directory: %v, %v", info.Mode(), err)
			}
			if err := e.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			left, err := filepath.Glob(filepath.Join(root, "*", ".n*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		}
	}
}

func TestEnginesSideBySide(t *testing.T) {
	shared := enginetest.Config(t, nil)
	shared.BusyWait = 0
	const engines = 4
	var started, busy atomic.Int32
	var all sync.WaitGroup
	for range engines {
		all.Go(func() {
			e, err := engine.Start(t.Context(), enginetest.Config(t, nil))
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Kill()
			name, password := e.Credentials(engine.Owner)
			if err := engine.Query(t.Context(), e.HTTPAddress(), name, password, "SELECT 1", nil); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			switch e, err := engine.Start(t.Context(), shared); {
			case err == nil:
				started.Add(1)
				t.Cleanup(e.Kill)
			case errors.Is(err, engine.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if started.Load() != 1 || busy.Load() != engines-1 {
		t.Errorf("of %d starts on one directory %d succeeded and %d found it busy", engines, started.Load(), busy.Load())
	}
}

// another is this test binary as a second program that uses the engine: see otherProgram.
func another(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal([2]string{what, dir})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), orderEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	return cmd
}

const orderEnv = "TILLSYN_ENGINE_TEST_ORDER"

// otherProgram starts an engine and ends ("start"), or writes its process id and then inserts rows one by one and
// writes the number of those acknowledged ("insert").
func otherProgram(order string) error {
	var o [2]string
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	cfg := engine.DefaultConfig()
	cfg.DataDir = o[1]
	cfg.BusyWait = 50 * time.Millisecond
	e, err := engine.Start(context.Background(), cfg)
	if err != nil || o[0] == "start" {
		return err
	}
	name, password := e.Credentials(engine.Owner)
	run := func(statement string) error {
		return engine.Query(context.Background(), e.HTTPAddress(), name, password, statement, nil)
	}
	if err := errors.Join(
		run("CREATE DATABASE IF NOT EXISTS d"),
		run("CREATE TABLE IF NOT EXISTS d.a (x UInt64) ENGINE=MergeTree ORDER BY x"),
	); err != nil {
		return err
	}
	fmt.Println(e.Pid())
	for i := 1; ; i++ {
		if err := run(fmt.Sprintf("INSERT INTO d.a SELECT %d", i)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}
