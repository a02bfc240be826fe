package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestValidate(t *testing.T) {
	good := DefaultConfig()
	good.Brokers, good.Cluster, good.Topics = []string{"broker.example:9092"}, "main", []Topic{{Name: "squid.access_log-1"}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"brokers: name":          func(c *Config) { c.Brokers = nil },
		"brokers[0]":             func(c *Config) { c.Brokers = []string{"nohost"} },
		"cluster":                func(c *Config) { c.Cluster = " " },
		"group":                  func(c *Config) { c.Group = "" },
		"sasl.mechanism":         func(c *Config) { c.SASL.Mechanism = "GSSAPI" },
		"sasl.username":          func(c *Config) { c.SASL = SASL{Mechanism: "plain", PasswordFile: "f"} },
		"sasl.password_file":     func(c *Config) { c.SASL = SASL{Mechanism: "plain", Username: "u"} },
		"password_file is set":   func(c *Config) { c.SASL.PasswordFile = "f" },
		"cert_file and key_file": func(c *Config) { c.TLS = TLS{Enabled: true, CertFile: "f"} },
		"tls.enabled":            func(c *Config) { c.TLS.CAFile = "f" },
		"topics: name":           func(c *Config) { c.Topics = nil },
		"topics[0].name: Kafka":  func(c *Config) { c.Topics = []Topic{{Name: "a/b"}} },
		"topics[1].name: given":  func(c *Config) { c.Topics = []Topic{{Name: "a"}, {Name: "a"}} },
		"topics[0].epoch":        func(c *Config) { c.Topics = []Topic{{Name: "a", Epoch: "a b"}} },
		"fetch.max_bytes":        func(c *Config) { c.Fetch.MaxBytes = 0 },
		"fetch.max_wait":         func(c *Config) { c.Fetch.MaxWait = 0 },
		"session_timeout":        func(c *Config) { c.SessionTimeout = 0 },
		"heartbeat_interval":     func(c *Config) { c.HeartbeatInterval = c.SessionTimeout / 2 },
		"rebalance_timeout":      func(c *Config) { c.RebalanceTimeout = time.Second },
		"max_in_flight_bytes":    func(c *Config) { c.MaxInFlightBytes = 1 },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	err := Config{}.Validate()
	if n := strings.Count(err.Error(), "\n") + 1; n < 8 {
		t.Errorf("an empty configuration shows %d faults: %v", n, err)
	}
}

func TestNewReportsFiles(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Brokers, cfg.Cluster, cfg.Topics = []string{"broker.example:9092"}, "main", []Topic{{Name: "t"}}
	cfg.TLS = TLS{Enabled: true, CAFile: filepath.Join(t.TempDir(), "absent.pem")}
	if _, err := New(cfg, slog.New(slog.DiscardHandler), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(cfg.TLS.CAFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("got %v", err)
	}
	cfg.TLS = TLS{}
	reg := prometheus.NewRegistry()
	if _, err := New(cfg, slog.New(slog.DiscardHandler), reg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, slog.New(slog.DiscardHandler), reg); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func TestAssign(t *testing.T) {
	for name, c := range map[string]struct {
		wants  map[string][]string
		counts map[string]int
		want   string
	}{
		"one":           {map[string][]string{"a": {"t"}}, map[string]int{"t": 3}, "a:t/0 t/1 t/2"},
		"even":          {map[string][]string{"b": {"t"}, "a": {"t"}}, map[string]int{"t": 4}, "a:t/0 t/2;b:t/1 t/3"},
		"over topics":   {map[string][]string{"a": {"t", "u"}, "b": {"t", "u"}}, map[string]int{"t": 1, "u": 1}, "a:t/0;b:u/0"},
		"idle member":   {map[string][]string{"a": {"t"}, "b": {"t"}}, map[string]int{"t": 1}, "a:t/0;b:"},
		"other topics":  {map[string][]string{"a": {"t"}, "b": {"u"}}, map[string]int{"t": 2, "u": 2}, "a:t/0 t/1;b:u/0 u/1"},
		"missing topic": {map[string][]string{"a": {"t", "gone"}}, map[string]int{"t": 1, "gone": 0}, "a:t/0"},
		"unwanted":      {map[string][]string{"a": {"t"}}, map[string]int{"t": 1, "x": 5}, "a:t/0"},
	} {
		got := assign(c.wants, c.counts)
		var out []string
		for _, m := range []string{"a", "b"} {
			if parts, ok := got[m]; ok {
				var line []string
				for _, tp := range parts {
					for _, id := range tp.Partitions {
						line = append(line, fmt.Sprintf("%s/%d", tp.Topic, id))
					}
				}
				out = append(out, m+":"+strings.Join(line, " "))
			}
		}
		if s := strings.Join(out, ";"); s != c.want {
			t.Errorf("%s: got %s, want %s", name, s, c.want)
		}
	}
}

func TestMemory(t *testing.T) {
	m := newMemory(1 << 20)
	for _, n := range []int{1, 4096, 4097, 5000, 65_536, 65_537, 1 << 19, 1<<19 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		c := m.class(n)
		if c < int64(n) || n > 4096 && c > int64(n)+int64(n)/4+1 || n <= 1<<20 && c > 1<<20 {
			t.Errorf("class of %d is %d", n, c)
		}
	}
	if err := m.acquire(context.Background(), 1<<20+1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	// Many at once never hold, and never keep, more than the limit.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				n := m.class((i*7919+j*104_729)%(1<<19) + 1)
				if err := m.acquire(context.Background(), n); err != nil {
					t.Error(err)
					return
				}
				b := m.buffer(n)
				if int64(cap(b)) != n {
					t.Errorf("capacity %d, want %d", cap(b), n)
				}
				m.put(b)
			}
		})
	}
	wg.Wait()
	if m.used.Load() != 0 || m.peak.Load() > m.limit || m.kept > m.limit {
		t.Errorf("used %d, peak %d, kept %d of %d", m.used.Load(), m.peak.Load(), m.kept, m.limit)
	}
}

// TestWatchdog walks a clock over a partition that has records to read and gets none.
func TestWatchdog(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	_, end := context.WithCancelCause(context.Background())
	var ended error
	p := &Partition{consumer: &Consumer{Now: func() time.Time { return now }}, generation: &generation{end: func(err error) { ended = err; end(err) }}}
	stuck := &Chunk{First: 5, Next: 5, Stable: 9}
	step := func(d time.Duration, c *Chunk, want error, rejoins bool) {
		t.Helper()
		now = now.Add(d)
		if err := p.watch(c); !errors.Is(err, want) || (ended != nil) != rejoins {
			t.Fatalf("got %v, ended by %v", err, ended)
		}
	}
	step(0, stuck, nil, false)
	step(29*time.Second, stuck, nil, false)
	step(0, &Chunk{First: 5, Next: 6, Stable: 9}, nil, false) // progress
	step(29*time.Second, stuck, nil, false)
	step(29*time.Second, stuck, nil, false)
	step(2*time.Second, stuck, errStalled, false) // looked up anew
	step(20*time.Second, stuck, nil, false)
	step(10*time.Second, stuck, errStalled, true) // joined anew
	ended = nil
	step(time.Second, stuck, nil, false)
	step(time.Hour, &Chunk{First: 9, Next: 9, Stable: 9}, nil, false) // nothing to read is no stall
}

func TestHealthy(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Brokers, cfg.Cluster, cfg.Topics = []string{"broker.example:9092"}, "main", []Topic{{Name: "proxy"}}
	c, err := New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	began := c.heard
	patience := 2*cfg.SessionTimeout + cfg.RebalanceTimeout
	after := func(d time.Duration) error {
		c.Now = func() time.Time { return began.Add(d) }
		return c.Healthy()
	}
	if err := after(patience); err != nil {
		t.Error("before its time:", err)
	}
	if after(patience+1) == nil {
		t.Error("a group that never answered is healthy")
	}
	c.beaten(&generation{}, began.Add(patience))
	if err := after(2 * patience); err != nil {
		t.Error("after an answer:", err)
	}
	if after(2*patience+1) == nil {
		t.Error("a group that answers no more is healthy")
	}
}

// TestAlive follows a session with a clock of its own.
func TestAlive(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	g := &generation{expires: at.Add(10 * time.Second)}
	for _, c := range []struct {
		after, d time.Duration
		limit    time.Duration
		fenced   bool
		want     bool
	}{
		{0, 9 * time.Second, 0, false, true},
		{0, 10 * time.Second, 0, false, false},
		{5 * time.Second, 4 * time.Second, 0, false, true},
		{9 * time.Second, 2 * time.Second, 0, false, false},
		{11 * time.Second, 0, 0, false, false},
		{0, 2 * time.Second, 3 * time.Second, false, true},
		{2 * time.Second, 2 * time.Second, 3 * time.Second, false, false},
		{0, 0, 0, true, false},
	} {
		g.limit, g.fenced = time.Time{}, c.fenced
		if c.limit > 0 {
			g.limit = at.Add(c.limit)
		}
		if got := g.alive(at.Add(c.after), c.d); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
