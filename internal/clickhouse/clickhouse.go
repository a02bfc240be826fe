package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// MinVersion is the oldest ClickHouse that tillsyn runs on: the first long-term release with the setting deduplicate_insert.
const MinVersion = "26.3"

// A DB is a pair of connection pools to one ClickHouse: with LZ4 on the wire and without (on loopback, both without). It is safe for concurrent use.
type DB struct {
	cfg       Config
	packed    driver.Conn // queries, and inserts that compress: with LZ4, but on loopback
	plain     driver.Conn // inserts of ciphertext
	bootstrap driver.Conn // signed in without a database: works before Migrate has created it
	version   string
}

// Open builds the pools and asks the server for its version, so that a wrong address, password or certificate and a server
// older than MinVersion show here. The database itself may be missing: Check tells. Reconnecting later is automatic.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("clickhouse configuration: %w", err)
	}
	if cfg.Users != (Users{}) {
		return nil, errors.New("clickhouse configuration: users: choose one of them first")
	}
	password, err := cfg.password()
	if err != nil {
		return nil, fmt.Errorf("clickhouse: password_file: %w", err)
	}
	secure, err := cfg.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	options := func(database string, method driver.CompressionMethod, connections int) *driver.Options {
		o := &driver.Options{
			Addr:            slices.Clone(cfg.Addresses),
			Auth:            driver.Auth{Database: database, Username: cfg.Username, Password: password},
			TLS:             secure,
			Compression:     &driver.Compression{Method: method},
			DialTimeout:     cfg.DialTimeout,
			ReadTimeout:     max(cfg.InsertTimeout, cfg.QueryTimeout) + cfg.DialTimeout,
			MaxOpenConns:    connections,
			MaxIdleConns:    connections,
			ConnMaxLifetime: time.Hour,
		}
		if secure == nil {
			o.DialContext = dialer(cfg.DialTimeout)
		}
		return o
	}
	packing := driver.CompressionLZ4
	if cfg.loopback() {
		packing = driver.CompressionNone
	}
	db := &DB{cfg: cfg}
	for _, p := range []struct {
		conn    *driver.Conn
		options *driver.Options
	}{
		{&db.packed, options(cfg.Database, packing, cfg.MaxConnections)},
		{&db.plain, options(cfg.Database, driver.CompressionNone, cfg.MaxConnections)},
		{&db.bootstrap, options("", driver.CompressionNone, 2)},
	} {
		if *p.conn, err = driver.Open(p.options); err != nil {
			return nil, errors.Join(fmt.Errorf("open clickhouse: %w", err), db.Close())
		}
	}
	if err := db.bootstrap.QueryRow(ctx, "SELECT version()").Scan(&db.version); err != nil {
		err = explain(err, false)
		return nil, errors.Join(fmt.Errorf("open clickhouse at %s as %s: %w", strings.Join(cfg.Addresses, ", "), cfg.Username, err), db.Close())
	}
	if older(db.version, MinVersion) {
		return nil, errors.Join(fmt.Errorf("clickhouse at %s is version %q, tillsyn needs %s or newer", strings.Join(cfg.Addresses, ", "), db.version, MinVersion), db.Close())
	}
	return db, nil
}

// Version is the server's version at the time of Open, for example 26.7.2.1.
func (db *DB) Version() string { return db.version }

// Database is the name of the database that holds the tables.
func (db *DB) Database() string { return db.cfg.Database }

// Ping asks whether the server answers now, within DialTimeout.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.DialTimeout)
	defer cancel()
	if err := db.bootstrap.Ping(ctx); err != nil {
		return fmt.Errorf("ping clickhouse at %s: %w", strings.Join(db.cfg.Addresses, ", "), explain(err, false))
	}
	return nil
}

// Close closes every idle connection. Running calls end with an error.
func (db *DB) Close() error {
	var faults []error
	for _, c := range []driver.Conn{db.packed, db.plain, db.bootstrap} {
		if c != nil {
			faults = append(faults, c.Close())
		}
	}
	return errors.Join(faults...)
}

// older compares two dotted versions by their first two numbers. What is not a version is older than any.
func older(version, than string) bool {
	var a, b [2]int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a[0], &a[1]); n != 2 {
		return true
	}
	fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}
