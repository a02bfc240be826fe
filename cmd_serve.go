package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/cli/v2"

	"tillsyn/ingest/kafka"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run everything on one machine: ClickHouse (unless one is configured), ingest, metrics",
		Description: `Starts the embedded ClickHouse where the configuration names no server, brings its schema to head, reads Kafka
until it is told to stop (SIGTERM, SIGINT), and then drains. Metrics are at /metrics, health at /healthz of http.listen.

What is past its time is purged daily (see 'tillsyn purge'): always where ClickHouse is embedded, on a server where
clickhouse.users.purge is there.

Exit codes: 0 stopped as told, 1 fault, 2 wrong configuration.`,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			return told(c.Context, runServe(c.Context, c.App.ErrWriter, cfg, nil))
		},
	}
}

func ingestCommand() *cli.Command {
	return &cli.Command{
		Name:  "ingest",
		Usage: "read Kafka into a ClickHouse server; run as many as there are machines",
		Description: `The same as serve without the embedded ClickHouse: clickhouse.addresses must name a server whose schema is at
head (tillsyn migrate). Members of one consumer group share the partitions. It signs in as ingest only, and purges nothing.

Exit codes: 0 stopped as told, 1 fault, 2 wrong configuration.`,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			if cfg.Embedded() {
				return usageErrorf("clickhouse.addresses is empty: name a server, or use 'tillsyn serve' for the embedded one")
			}
			if users := &cfg.ClickHouse.Users; *users != (clickhouse.Users{}) {
				if users.Ingest.Username == "" {
					return usageErrorf("clickhouse.users.ingest.username: is missing: this signs in to ClickHouse as the role ingest")
				}
				*users = clickhouse.Users{Ingest: users.Ingest}
			}
			return told(c.Context, runServe(c.Context, c.App.ErrWriter, cfg, nil))
		},
	}
}

// runServe runs until ctx ends. ready, which may be nil, is called once with the address of the HTTP interface.
func runServe(ctx context.Context, errOut io.Writer, cfg Config, ready func(address string)) (err error) {
	log := cfg.Log.Logger(errOut)
	if len(cfg.Ingest.Sources) == 0 || len(cfg.Kafka.Brokers) == 0 {
		return usageErrorf("nothing to read: configure kafka.brokers and ingest.sources")
	}
	if cfg.Embedded() {
		stop, err := keepEngine(ctx, &cfg, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		if err := migrateEmbedded(ctx, cfg); err != nil {
			return err
		}
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleIngest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	in, err := newIngestion(ctx, cfg, db.DB, log, metrics)
	if err != nil {
		return err
	}
	consumer, err := kafka.New(cfg.Topics(), log, metrics)
	if err != nil {
		return usageErrorf("%w", err)
	}
	checks := []any{db.DB.Ping, in.resolver.Healthy, consumer.Healthy}
	var purges *vault.PurgeSchedule
	if cfg.Embedded() || cfg.ClickHouse.Users.Purge != (clickhouse.User{}) {
		var closePurger func() error
		if purges, closePurger, err = schedulePurge(ctx, cfg, "serve", log, metrics); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closePurger()) }()
		checks = append(checks, purges.Healthy)
	} else {
		log.Info("nothing is purged here: run 'tillsyn purge --daily' next to the ClickHouse server, or 'tillsyn serve' with clickhouse.users.purge")
	}
	server, address, err := serveMetrics(cfg, metrics, checks...)
	if err != nil {
		return err
	}
	defer server.Close()
	if address != "" {
		log.Info("metrics and health", "address", address)
	}
	if ready != nil {
		ready(address)
	}

	background, stopBackground := context.WithCancel(ctx)
	defer stopBackground()
	faults := make(chan error, 5)
	go func() {
		in.keep(background)
		faults <- nil
	}()
	go func() { faults <- in.resolver.Run(background) }()
	go func() { faults <- in.lists.Run(background) }()
	go func() {
		if purges == nil {
			faults <- nil
			return
		}
		faults <- purges.Run(background)
	}()
	go func() {
		keepRemovingEnded(background, cfg, log)
		faults <- nil
	}()
	err = in.Kafka(ctx, consumer)
	stopBackground()
	return errors.Join(err, <-faults, <-faults, <-faults, <-faults, <-faults)
}

// schedulePurge makes what purges daily inside a part of tillsyn, and puts on record what that part watches.
func schedulePurge(ctx context.Context, cfg Config, part string, log *slog.Logger, metrics prometheus.Registerer) (*vault.PurgeSchedule, func() error, error) {
	p, closer, err := openPurger(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := noteSettings(ctx, p.Log, part, cfg); err != nil {
		return nil, nil, errors.Join(err, closer())
	}
	if p.Steady = steadyClock(); p.Steady != nil {
		p.Anchor = p.Now().Add(-p.Steady())
	}
	s, err := vault.NewPurgeSchedule(p, log, metrics)
	if err != nil {
		return nil, nil, errors.Join(err, closer())
	}
	s.Before = func(ctx context.Context) error { return settleHolds(ctx, cfg, p) }
	checks, err := newNightlyCheck(p.Servers, p.Now, log, metrics)
	if err != nil {
		return nil, nil, errors.Join(err, closer())
	}
	s.After = func(ctx context.Context) error {
		checks.run(ctx)
		return forgetKeys(cfg, p.Now)
	}
	return s, closer, nil
}

// keepEngine starts the embedded engine, and starts it again on the same ports whenever it dies: one that a client killed
// by a bad packet must not end ingest, which waits and goes on. stop ends it.
func keepEngine(ctx context.Context, cfg *Config, log *slog.Logger) (stop func() error, err error) {
	e, err := startEngine(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		address string
		port    *int
	}{{e.Address(), &cfg.Engine.TCPPort}, {e.HTTPAddress(), &cfg.Engine.HTTPPort}} {
		_, text, err := net.SplitHostPort(p.address)
		if err == nil {
			*p.port, err = strconv.Atoi(text)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read the engine's address: %w", err), e.Stop(context.WithoutCancel(ctx)))
		}
	}
	log.Info("ClickHouse runs inside tillsyn", "address", e.Address(), "data", cfg.Engine.DataDir)
	keep := *cfg
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		wait := firstEngineRetry
		for {
			select {
			case <-ctx.Done():
				ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer done()
				ended <- e.Stop(ctx)
				return
			case <-e.Done():
			}
			log.Error("the embedded ClickHouse died and is started again", "error", e.Err())
			for {
				again, err := startEngine(ctx, keep)
				if err == nil {
					e, wait = again, firstEngineRetry
					break
				}
				if ctx.Err() != nil {
					ended <- nil
					return
				}
				log.Error("the embedded ClickHouse does not start", "error", err, "again in", wait)
				t := time.NewTimer(wait)
				select {
				case <-ctx.Done():
				case <-t.C:
				}
				t.Stop()
				wait = min(2*wait, lastEngineRetry)
			}
		}
	}()
	return func() error { cancel(); return <-ended }, nil
}

const (
	firstEngineRetry = 200 * time.Millisecond
	lastEngineRetry  = 10 * time.Second
)

// serveMetrics answers /metrics and /healthz; there is nothing personal in either. Without http.listen it does nothing.
func serveMetrics(cfg Config, metrics *prometheus.Registry, checks ...any) (*http.Server, string, error) {
	if cfg.HTTP.Listen == "" {
		return &http.Server{}, "", nil
	}
	l, err := net.Listen("tcp", cfg.HTTP.Listen)
	if err != nil {
		return nil, "", fmt.Errorf("listen on http.listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		for _, check := range checks {
			var err error
			switch check := check.(type) {
			case func(context.Context) error:
				err = check(r.Context())
			case func() error:
				err = check()
			}
			if err != nil {
				http.Error(w, "not healthy: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go s.Serve(l)
	return s, l.Addr().String(), nil
}
