package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest"
	"tillsyn/ingest/category"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/seal"
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
// as long as the connection is open. Only the owner makes its directory: to the others there is nothing in a new one.
func openDatabase(ctx context.Context, cfg Config, role string) (*database, error) {
	if !cfg.Embedded() {
		db, err := openServer(ctx, cfg.ClickHouse, role)
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
	case role != schemas.RoleOwner && noData(cfg):
		return nil, fmt.Errorf("there is no %s (engine.data_dir): %w", cfg.Engine.DataDir, clickhouse.ErrNotMigrated)
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

// noData is whether nothing was ever kept in the embedded engine of a configuration.
func noData(cfg Config) bool {
	_, err := os.Stat(cfg.Engine.DataDir)
	return cfg.Embedded() && errors.Is(err, os.ErrNotExist)
}

// openServer connects to a server as the user that its configuration has for a role, and makes sure that it is one.
func openServer(ctx context.Context, c clickhouse.Config, role string) (*clickhouse.DB, error) {
	as, err := c.As(role)
	if err != nil {
		return nil, usageErrorf("clickhouse.%w", err)
	}
	db, err := clickhouse.Open(ctx, as)
	if err != nil {
		return nil, err
	}
	if err := checkUser(ctx, db, c, role); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkUser refuses a user who lacks a grant of the role, and one that was named for this role and has a grant of another: the user
// that writes could read then, or the one that reads remove. Of the owner nothing is asked: it has what it was given to make the
// database with.
func checkUser(ctx context.Context, db *clickhouse.DB, c clickhouse.Config, role string) error {
	if role == schemas.RoleOwner {
		return nil
	}
	key, user := "username", c.Username
	if c.Users != (clickhouse.Users{}) {
		key, user = "users."+role+".username", c.Users.Of(role).Username
	}
	grants, err := schemas.Grants(role, c.Database)
	if err != nil {
		return err
	}
	missing, err := db.Lacks(ctx, grants)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return usageErrorf("clickhouse.%s: the user %s has not the grants of the role %s (schemas/grants): %d of %d are missing, such as %s", key, user, role,
			len(missing), len(grants), strings.TrimPrefix(missing[0], "GRANT "))
	}
	if key == "username" {
		return nil
	}
	foreign, err := foreignGrants(role, c.Database)
	if err != nil {
		return err
	}
	if missing, err = db.Lacks(ctx, foreign); err != nil {
		return err
	}
	for _, g := range foreign {
		if !slices.Contains(missing, g) {
			return usageErrorf("clickhouse.%s: the user %s may do more than the role %s needs: %s", key, user, role, strings.TrimPrefix(g, "GRANT "))
		}
	}
	return nil
}

// foreignGrants are the grants on the database that the other roles have and this one has not, the owner's left out.
func foreignGrants(role, database string) ([]string, error) {
	own, err := singleGrants(role, database)
	if err != nil {
		return nil, err
	}
	var foreign []string
	for _, other := range schemas.Roles() {
		if other == role || other == schemas.RoleOwner {
			continue
		}
		theirs, err := singleGrants(other, database)
		if err != nil {
			return nil, err
		}
		for _, g := range theirs {
			action, target, _ := strings.Cut(g, " ON ")
			whole, _, _ := strings.Cut(action, "(") // some columns, where the role has all of them
			if strings.HasPrefix(target, database+".") && !slices.Contains(own, g) && !slices.Contains(own, whole+" ON "+target) && !slices.Contains(foreign, g) {
				foreign = append(foreign, g)
			}
		}
	}
	return foreign, nil
}

// singleGrants are the grants of a role, each of one action.
func singleGrants(role, database string) ([]string, error) {
	grants, err := schemas.Grants(role, database)
	var list []string
	for _, g := range grants {
		actions, target, _ := strings.Cut(strings.TrimPrefix(g, "GRANT "), " ON ")
		if strings.Contains(actions, "(") { // columns, with commas of their own
			list = append(list, g)
			continue
		}
		for action := range strings.SplitSeq(actions, ", ") {
			list = append(list, "GRANT "+action+" ON "+target)
		}
	}
	return list, err
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
	c.Username, c.Password, c.PasswordFile, c.Users = user, clickhouse.Password(password), "", clickhouse.Users{}
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
	registers := vault.NewRegisters(cfg.Keys.Directory, cfg.Tenants()).Pinned(vault.RegisterPin{
		Deployment: cfg.Audit.Deployment, File: filepath.Join(filepath.Dir(cfg.Vault.LookupKey), "registers.seen"),
		First: func(tenant string, number int, digest seal.Digest) {
			log.Warn("a register of role keys is used for the first time: compare its fingerprint with the protocol of the ceremony", "tenant", tenant,
				"register", number, "fingerprint", fingerprint(digest))
		},
	})
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
