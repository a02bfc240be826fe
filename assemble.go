package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest"
	"tillsyn/ingest/category"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/vault"
	"tillsyn/schemas"
)

// A database is a connection to ClickHouse as one role: to a server if the configuration names one, otherwise to the
// embedded engine.
type database struct {
	*clickhouse.DB
	engine *engine.Engine // started by this process; nil otherwise
}

func (d *database) Close() error {
	err := d.DB.Close()
	if d.engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, d.engine.Stop(ctx))
	}
	return err
}

// openDatabase connects as one of the roles of schemas. Where ClickHouse is embedded and does not run, it is started for
// as long as the connection is open.
func openDatabase(ctx context.Context, cfg Config, role string) (*database, error) {
	if !cfg.Embedded() {
		db, err := clickhouse.Open(ctx, cfg.ClickHouse)
		if err != nil {
			return nil, err
		}
		return &database{DB: db}, nil
	}
	running, err := engine.Find(cfg.Engine.DataDir)
	switch {
	case err == nil:
		db, err := openEngine(ctx, cfg, running.Address, running.Credentials, role)
		if err != nil {
			return nil, err
		}
		return &database{DB: db}, nil
	case !errors.Is(err, engine.ErrNotRunning):
		return nil, err
	}
	e, err := startEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	db, err := openEngine(ctx, cfg, e.Address(), e.Credentials, role)
	if err != nil {
		return nil, errors.Join(err, e.Stop(context.WithoutCancel(ctx)))
	}
	return &database{DB: db, engine: e}, nil
}

// engineUsers are the users of the embedded ClickHouse beside its owner, tillsyn_ROLE for each role, with that role's grants on the database and its settings.
func engineUsers(database string) (map[string]engine.User, error) {
	users := map[string]engine.User{}
	for _, role := range schemas.Roles() {
		if role == schemas.RoleOwner {
			continue
		}
		grants, err := schemas.Grants(role, database)
		if err != nil {
			return nil, err
		}
		settings, constraints, err := schemas.Profile(role)
		if err != nil {
			return nil, err
		}
		users["tillsyn_"+role] = engine.User{Grants: grants, Settings: settings, Constraints: constraints}
	}
	return users, nil
}

func startEngine(ctx context.Context, cfg Config) (*engine.Engine, error) {
	e := cfg.Engine
	var err error
	if e.Users, err = engineUsers(cfg.ClickHouse.Database); err != nil {
		return nil, err
	}
	return engine.Start(ctx, e)
}

func openEngine(ctx context.Context, cfg Config, address string, credentials func(string) (string, string), role string) (*clickhouse.DB, error) {
	name := "tillsyn_" + role
	if role == schemas.RoleOwner {
		name = engine.Owner
	}
	c := cfg.ClickHouse
	c.Addresses = []string{address}
	user, password := credentials(name)
	c.Username, c.Password, c.PasswordFile = user, clickhouse.Password(password), ""
	return clickhouse.Open(ctx, c)
}

// migrateEmbedded brings the embedded engine's schema to head: nobody else would. A server's is the operator's to migrate.
func migrateEmbedded(ctx context.Context, cfg Config) error {
	if !cfg.Embedded() {
		return nil
	}
	db, err := openDatabase(ctx, cfg, schemas.RoleOwner)
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx, schemas.Migrations())
	return errors.Join(err, db.Close())
}

// An ingestion is everything between a source and ClickHouse.
type ingestion struct {
	*ingest.Ingester
	store    *ingest.Store
	resolver *resolve.Resolver
	lists    *category.Keeper
	keep     func(context.Context) // forgets old keys and looks at registers, until its context ends
}

// newIngestion builds it on an open database whose schema is at head, and starts nothing.
func newIngestion(ctx context.Context, cfg Config, db *clickhouse.DB, log *slog.Logger, metrics prometheus.Registerer) (*ingestion, error) {
	if err := db.Check(ctx, schemas.Migrations()); err != nil {
		return nil, err
	}
	if err := db.CheckSettings(ctx); err != nil {
		return nil, err
	}
	store, err := ingest.NewStore(db, time.Now)
	if err != nil {
		return nil, err
	}
	resolver, err := resolve.New(cfg.Resolve, resolve.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	if err := resolver.Load(); err != nil {
		return nil, err
	}
	if err := metrics.Register(resolver); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	lists, err := category.New(cfg.Lists)
	if err != nil {
		return nil, err
	}
	lists.Log = log
	if err := lists.Load(ctx); err != nil {
		return nil, err
	}
	if err := metrics.Register(lists); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	key, err := ingest.OpenStatisticsKey(cfg.Ingest.StatisticsKey, time.Now())
	if err != nil {
		return nil, err
	}
	if err := store.UseKey(ctx, key); err != nil {
		return nil, err
	}
	registers := vault.NewRegisters(cfg.Keys.Directory, cfg.Tenants())
	if err := registers.Reload(); err != nil {
		return nil, err
	}
	for _, tenant := range registers.Missing() {
		log.Warn("no register of role keys: there are statistics of this tenant only, and no raw events; see 'tillsyn keys init'", "tenant", tenant)
	}
	lookup, err := vault.OpenLookup(cfg.Vault.LookupKey, time.Now)
	if err != nil {
		return nil, err
	}
	if _, err := lookup.Forget(); err != nil {
		return nil, err
	}
	ring, err := vault.NewKeyring(cfg.Vault.LiveKeys)
	if err != nil {
		return nil, err
	}
	writer, err := vault.NewWriter(registers, lookup, ring)
	if err != nil {
		return nil, err
	}
	in, err := ingest.New(cfg.Ingest, ingest.Dependencies{
		Sink: store, InsertTimeout: cfg.ClickHouse.InsertTimeout, Resolver: resolver, Lists: lists.Lists(), Key: key, Vault: writer, Now: time.Now, Log: log,
		Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	keep := func(ctx context.Context) {
		lookup.Run(ctx, cfg.Vault.Refresh, func() {
			if err := registers.Reload(); err != nil {
				log.Error("a register of role keys can't be used: the one before stays", "error", err)
			}
			if err := ingest.ForgetStatisticsKeys(cfg.Ingest.StatisticsKey, time.Now()); err != nil {
				log.Error("old statistics keys are still there", "error", err)
			}
		}, func(err error) { log.Error("old lookup keys are still there", "error", err) })
	}
	return &ingestion{in, store, resolver, lists, keep}, nil
}
