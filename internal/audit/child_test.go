package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the main of the child processes that tests start and kill.
func TestMain(m *testing.M) {
	if text := os.Getenv("TILLSYN_AUDIT_CHILD"); text != "" {
		if err := child(text); err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A childTask is what a child process does.
type childTask struct {
	Config   Config
	First    int // number of its first entry
	Count    int // of entries; 0: until killed
	Rotate   int // after each so many entries
	FileSize int // largest file that it may write, in bytes; 0: any
}

// child appends and prints "ok SEGMENT/INDEX NUMBER NANOSECONDS" for each entry that was acknowledged.
func child(text string) error {
	var task childTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	l, err := Open(context.Background(), task.Config, nil)
	if err != nil {
		return err
	}
	if task.FileSize > 0 {
		signal.Ignore(syscall.SIGXFSZ)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(task.FileSize), Max: uint64(task.FileSize)}); err != nil {
			return err
		}
	}
	for i := 0; task.Count == 0 || i < task.Count; i++ {
		start := time.Now()
		r, err := l.Append(context.Background(), sample(task.First+i))
		if err != nil {
			fmt.Println("refused", err)
			continue
		}
		fmt.Println("ok", r.Position, task.First+i, time.Since(start).Nanoseconds())
		if task.Rotate > 0 && i%task.Rotate == task.Rotate-1 {
			if _, err := l.Rotate(context.Background(), "child"); err != nil {
				return err
			}
		}
	}
	return l.Close()
}

type acknowledged struct {
	Position
	number int64
	took   time.Duration
}

// A runningChild is a child process and what it has said.
type runningChild struct {
	cmd    *exec.Cmd
	lines  chan string
	acks   []acknowledged
	others []string
}

func start(t *testing.T, task childTask, attributes *syscall.SysProcAttr) *runningChild {
	t.Helper()
	return startAs(t, os.Args[0], task, attributes)
}

func startAs(t *testing.T, binary string, task childTask, attributes *syscall.SysProcAttr) *runningChild {
	t.Helper()
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	c := &runningChild{cmd: exec.Command(binary), lines: make(chan string, 1<<16)}
	c.cmd.Env = append(os.Environ(), "TILLSYN_AUDIT_CHILD="+string(text))
	c.cmd.SysProcAttr = attributes
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// await reads until enough entries are acknowledged or the child ends, and answers whether it still runs.
func (c *runningChild) await(enough int) bool {
	for len(c.acks) < enough {
		line, ok := <-c.lines
		if !ok {
			return false
		}
		c.note(line)
	}
	return true
}

func (c *runningChild) note(line string) {
	f := strings.Fields(line)
	if len(f) == 4 && f[0] == "ok" {
		p, _ := ParsePosition(f[1])
		number, _ := strconv.ParseInt(f[2], 10, 64)
		took, _ := strconv.ParseInt(f[3], 10, 64)
		c.acks = append(c.acks, acknowledged{p, number, time.Duration(took)})
	} else {
		c.others = append(c.others, line)
	}
}

// end waits for the child's end and reads what it still had to say.
func (c *runningChild) end() error {
	for line := range c.lines {
		c.note(line)
	}
	return c.cmd.Wait()
}

// checkAcknowledged verifies the log and finds every acknowledged entry at its place.
func checkAcknowledged(t *testing.T, l *Log, acks []acknowledged) {
	t.Helper()
	report, _, err := Verify(t.Context(), l.files, l.Trust(), Memory{})
	if err != nil || !report.OK() {
		t.Fatalf("%v %v", report.Findings, err)
	}
	all, err := l.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := map[Position]Record{}
	numbers := map[int64]int{}
	for _, r := range all {
		at[r.Position] = r
		if !r.Kind.ofLog() {
			numbers[r.Counts["number"]]++
		}
	}
	for _, a := range acks {
		r, ok := at[a.Position]
		if !ok || r.Counts["number"] != a.number || r.Document != sample(int(a.number)).Document {
			t.Fatalf("entry %d was acknowledged at %v and is not there", a.number, a.Position)
		}
		if numbers[a.number] != 1 {
			t.Fatalf("entry %d is there %d times", a.number, numbers[a.number])
		}
	}
}
