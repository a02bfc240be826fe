package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/cli/v2"

	"tillsyn/ingest/kafka"
	"tillsyn/schemas"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run everything on one machine: ClickHouse (unless one is configured), ingest, metrics",
		Description: `Starts the embedded ClickHouse where the configuration names no server, brings its schema to head, reads Kafka
until it is told to stop (SIGTERM, SIGINT), and then drains. Metrics are at /metrics, health at /healthz of
http.listen.

Exit codes: 0 stopped as told, 1 fault, 2 wrong configuration.`,
		Action: func(c *cli.Context) error {
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			return runServe(c.Context, c.App.ErrWriter, cfg, nil)
		},
	}
}

func ingestCommand() *cli.Command {
	return &cli.Command{
		Name:  "ingest",
		Usage: "read Kafka into a ClickHouse server; run as many as there are machines",
		Description: `The same as serve without the embedded ClickHouse: clickhouse.addresses must name a server whose schema is at
head (tillsyn migrate). Members of one consumer group share the partitions.

Exit codes: 0 stopped as told, 1 fault, 2 wrong configuration.`,
		Action: func(c *cli.Context) error {
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			if cfg.Embedded() {
				return usageErrorf("clickhouse.addresses is empty: name a server, or use 'tillsyn serve' for the embedded one")
			}
			return runServe(c.Context, c.App.ErrWriter, cfg, nil)
		},
	}
}

// runServe runs until ctx ends. ready, which may be nil, is called once with the address of the HTTP interface.
func runServe(ctx context.Context, errOut io.Writer, cfg Config, ready func(address string)) (err error) {
	log := cfg.Log.Logger(errOut)
	if len(cfg.Ingest.Sources) == 0 || len(cfg.Kafka.Brokers) == 0 {
		return usageErrorf("nothing to read: configure kafka.brokers and ingest.sources")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if cfg.Embedded() {
		e, err := startEngine(ctx, cfg)
		if err != nil {
			return err
		}
		log.Info("ClickHouse runs inside tillsyn", "address", e.Address(), "data", cfg.Engine.DataDir)
		defer func() {
			stop, done := context.WithTimeout(context.Background(), 10*time.Second)
			defer done()
			err = errors.Join(err, e.Stop(stop))
		}()
		go func() {
			select {
			case <-e.Done():
				cancel(fmt.Errorf("the embedded ClickHouse is gone: %w", e.Err()))
			case <-ctx.Done():
			}
		}()
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
	server, address, err := serveMetrics(cfg, metrics, db.DB.Ping, in.resolver.Healthy)
	if err != nil {
		return err
	}
	defer server.Close()
	log.Info("metrics and health", "address", address)
	if ready != nil {
		ready(address)
	}

	background, stopBackground := context.WithCancel(ctx)
	defer stopBackground()
	faults := make(chan error, 2)
	go func() { faults <- in.resolver.Run(background) }()
	go func() { faults <- in.lists.Run(background) }()
	err = in.Kafka(ctx, consumer)
	stopBackground()
	err = errors.Join(err, <-faults, <-faults)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	if err != nil && errors.Is(err, context.Canceled) {
		err = nil // it was told to stop
	}
	return err
}

// serveMetrics answers /metrics and /healthz; there is nothing personal in either.
func serveMetrics(cfg Config, metrics *prometheus.Registry, checks ...any) (*http.Server, string, error) {
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
