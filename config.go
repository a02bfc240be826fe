package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"tillsyn/aggregate"
	"tillsyn/ingest"
	"tillsyn/ingest/category"
	"tillsyn/ingest/kafka"
	"tillsyn/ingest/resolve"
	"tillsyn/internal/audit"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine"
	"tillsyn/internal/vault"
	"tillsyn/query/casework"
)

// defaultConfigFile is read when no --config is given, if it is there.
const defaultConfigFile = "tillsyn.yaml"

//go:embed deploy/tillsyn.example.yaml
var exampleConfig string

// Config is everything that can be configured, a section for each room. It holds no secret: those are in files of their
// own, which the sections name.
type Config struct {
	Log        LogConfig                 `yaml:"log"`
	HTTP       HTTPConfig                `yaml:"http"`
	Engine     engine.Config             `yaml:"engine"`     // used while clickhouse.addresses is empty
	ClickHouse clickhouse.Config         `yaml:"clickhouse"` // no address: the embedded engine
	Kafka      kafka.Config              `yaml:"kafka"`      // its topics are those of ingest.sources
	Ingest     ingest.Config             `yaml:"ingest"`
	Lists      category.Config           `yaml:"lists"`
	Resolve    resolve.Config            `yaml:"resolve"`
	Statistics aggregate.Config          `yaml:"statistics"`
	Vault      vault.Config              `yaml:"vault"`
	Keys       KeysConfig                `yaml:"keys"`
	Audit      audit.Config              `yaml:"audit"`
	Retention  RetentionConfig           `yaml:"retention"`
	Casework   casework.Config           `yaml:"casework"`
	Disclosure casework.DisclosureConfig `yaml:"disclosure"`
}

// LogConfig is how tillsyn logs about itself, on standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text for people, json for machines
}

// HTTPConfig is where metrics and health are served.
type HTTPConfig struct {
	Listen string `yaml:"listen"` // host:port; empty: nowhere
}

// DefaultConfig is the embedded engine, no source, and metrics on loopback.
func DefaultConfig() Config {
	c := Config{
		Log:        LogConfig{Level: "info", Format: "text"},
		HTTP:       HTTPConfig{Listen: "127.0.0.1:9464"},
		Engine:     engine.DefaultConfig(),
		ClickHouse: clickhouse.DefaultConfig(),
		Kafka:      kafka.DefaultConfig(),
		Ingest:     ingest.DefaultConfig(),
		Lists:      category.DefaultConfig(),
		Resolve:    resolve.DefaultConfig(),
		Statistics: aggregate.DefaultConfig(),
		Vault:      vault.DefaultConfig(),
		Keys:       DefaultKeysConfig(),
		Audit:      audit.DefaultConfig(),
		Retention:  DefaultRetentionConfig(),
		Casework:   casework.DefaultConfig(),
		Disclosure: casework.DefaultDisclosureConfig(),
	}
	c.ClickHouse.Addresses = nil
	return c
}

// Embedded says whether the database is the embedded engine.
func (c Config) Embedded() bool { return len(c.ClickHouse.Addresses) == 0 }

// Topics is the Kafka section with the topics of the sources: what a consumer is made of.
func (c Config) Topics() kafka.Config {
	k := c.Kafka
	k.Topics = nil
	for _, s := range c.Ingest.Sources {
		k.Topics = append(k.Topics, kafka.Topic{Name: s.Topic, Epoch: s.Epoch})
	}
	return k
}

// Tenants are the names of the tenants.
func (c Config) Tenants() []string {
	var names []string
	for _, t := range c.Resolve.Tenants {
		names = append(names, t.Name)
	}
	return names
}

// Validate answers every fault of c, each a configFault, joined, or nil. It opens nothing.
func (c Config) Validate() error {
	var faults []error
	check := func(section string, err error) {
		for _, f := range sectionFaults(section, err) {
			faults = append(faults, f)
		}
	}
	check("log", c.Log.validate())
	check("http", c.HTTP.validate())
	if c.Embedded() {
		check("engine", c.Engine.Validate())
		local := c.ClickHouse
		local.Addresses = []string{"127.0.0.1:9000"} // the engine tells its own later
		if local.Users != (clickhouse.Users{}) {
			check("clickhouse", errors.New("users: are those of a server, and addresses names none"))
		} else if local.Username == "" {
			local.Username = engine.Owner // the engine has its own
		}
		check("clickhouse", local.Validate())
	} else {
		check("clickhouse", c.ClickHouse.Validate())
	}
	if len(c.Kafka.Topics) > 0 {
		check("kafka", errors.New("topics: belong to ingest.sources, where each has its format"))
	}
	if len(c.Kafka.Brokers) > 0 || len(c.Ingest.Sources) > 0 {
		var own []error
		for _, f := range sectionFaults("kafka", c.Topics().Validate()) {
			if !strings.HasPrefix(f.Message, "topics") {
				own = append(own, errors.New(f.Message))
			}
		}
		check("kafka", errors.Join(own...))
		if c.ClickHouse.InsertTimeout >= c.Kafka.SessionTimeout {
			check("clickhouse", fmt.Errorf("insert_timeout: %v is not below kafka.session_timeout (%v): an insert could outlive its owner",
				c.ClickHouse.InsertTimeout, c.Kafka.SessionTimeout))
		}
	}
	sources := c.Ingest.Validate(c.Tenants())
	check("ingest", sources)
	if len(c.Kafka.Brokers) > 0 || len(c.Ingest.Sources) > 0 {
		check("ingest", c.topicFaults(sectionFaults("ingest", sources)))
	}
	check("lists", c.Lists.Validate())
	check("resolve", c.Resolve.Validate())
	check("statistics", c.Statistics.Validate())
	check("vault", c.Vault.Validate())
	check("keys", c.Keys.Validate())
	check("audit", c.Audit.Validate())
	check("retention", c.Retention.Validate())
	check("casework", c.Casework.Validate())
	check("disclosure", c.Disclosure.Validate())
	if c.Retention.Purge.WithoutKafka && len(c.Ingest.Sources) > 0 {
		check("retention", errors.New("purge.without_kafka: contradicts ingest.sources, which are Kafka's topics"))
	}
	return errors.Join(faults...)
}

// topicFaults are the faults that Kafka finds in the topics of the sources, under the keys that they have there, without those of
// keys in which known has a fault.
func (c Config) topicFaults(known []*configFault) error {
	var faults []error
	for _, f := range sectionFaults("kafka", c.Topics().Validate()) {
		rest, ok := strings.CutPrefix(f.Message, "topics")
		if !ok {
			continue
		}
		message := "sources" + strings.Replace(rest, "].name:", "].topic:", 1)
		key, _, _ := strings.Cut(message, ": ")
		if !slices.ContainsFunc(known, func(k *configFault) bool {
			return strings.HasPrefix(k.Message, key+":") || strings.HasPrefix(k.Message, key+" ")
		}) {
			faults = append(faults, errors.New(message))
		}
	}
	return errors.Join(faults...)
}

func (c LogConfig) validate() error {
	var faults []error
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		faults = append(faults, fmt.Errorf("level: %q is not debug, info, warn or error", c.Level))
	}
	if c.Format != "text" && c.Format != "json" {
		faults = append(faults, fmt.Errorf("format: %q is not text or json", c.Format))
	}
	return errors.Join(faults...)
}

func (c HTTPConfig) validate() error {
	if c.Listen == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		return fmt.Errorf("listen: %q is not host:port", c.Listen)
	}
	return nil
}

// Logger answers the logger that c asks for, writing to w. c must be valid.
func (c LogConfig) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// loadConfig reads the configuration file at path and validates it. An empty path means defaultConfigFile if it is there,
// else the defaults. Relative paths in the file are relative to the file's folder, also those that the file leaves to
// their defaults. The error is every fault, joined.
func loadConfig(path string) (Config, error) {
	optional := path == ""
	if optional {
		path = defaultConfigFile
	}
	text, err := os.ReadFile(path)
	if optional && errors.Is(err, os.ErrNotExist) {
		c := DefaultConfig()
		return c, c.Validate()
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	sections, err := parseSections(text)
	if err != nil {
		return Config{}, err
	}
	c, err := decodeSections(sections)
	if err != nil {
		return Config{}, err
	}
	c.relativeTo(filepath.Dir(path))
	err = c.Validate()
	for _, e := range leaves(err) {
		if f, ok := errors.AsType[*configFault](e); ok {
			f.place(sections)
		}
	}
	return c, err
}

// parseSections reads the sections of a YAML file.
func parseSections(text []byte) ([]*ast.MappingValueNode, error) {
	file, err := parser.ParseBytes(bytes.TrimPrefix(text, []byte("\ufeff")), 0)
	if err != nil {
		return nil, yamlFault("", err)
	}
	if len(file.Docs) > 1 && file.Docs[1].Body != nil {
		return nil, &configFault{Message: "the file holds more than one YAML document"}
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, nil
	}
	switch body := file.Docs[0].Body.(type) {
	case *ast.MappingNode:
		return body.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{body}, nil
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, nil
	default:
		return nil, &configFault{Line: 1, Column: 1, Message: "the file is not a mapping of sections"}
	}
}

// decodeSections reads sections over the defaults. Each is decoded for itself, so that one fault does not hide those of the others.
func decodeSections(sections []*ast.MappingValueNode) (Config, error) {
	c := DefaultConfig()
	targets := map[string]any{}
	var names []string
	for field, value := range reflect.ValueOf(&c).Elem().Fields() {
		name := field.Tag.Get("yaml")
		names = append(names, name)
		targets[name] = value.Addr().Interface()
	}
	seen := map[string]bool{}
	var faults []error
	for _, section := range sections {
		at := section.Key.GetToken()
		name := at.Value
		fault := func(message string) {
			faults = append(faults, &configFault{Line: at.Position.Line, Column: at.Position.Column, Message: message})
		}
		target, ok := targets[name]
		switch {
		case !ok:
			fault(fmt.Sprintf("unknown section %q; there are %s", name, strings.Join(names, ", ")))
			continue
		case seen[name]:
			fault(fmt.Sprintf("section %q is there twice", name))
			continue
		}
		seen[name] = true
		if _, empty := section.Value.(*ast.NullNode); empty {
			continue
		}
		decoder := yaml.NewDecoder(strings.NewReader(""), yaml.Strict())
		if err := decoder.DecodeFromNode(section.Value, target); err != nil {
			for _, f := range formFaults(name, "", section.Value, reflect.TypeOf(target).Elem(), err) {
				faults = append(faults, f)
			}
		}
	}
	return c, errors.Join(faults...)
}

// paths are all values of c that name a file or folder.
func (c *Config) paths() []*string {
	list := []*string{
		&c.Engine.DataDir, &c.Engine.Library,
		&c.ClickHouse.PasswordFile, &c.ClickHouse.Users.Owner.PasswordFile, &c.ClickHouse.Users.Ingest.PasswordFile,
		&c.ClickHouse.Users.Query.PasswordFile, &c.ClickHouse.Users.Purge.PasswordFile, &c.ClickHouse.TLS.CAFile, &c.ClickHouse.TLS.CertFile, &c.ClickHouse.TLS.KeyFile,
		&c.Kafka.SASL.PasswordFile, &c.Kafka.TLS.CAFile, &c.Kafka.TLS.CertFile, &c.Kafka.TLS.KeyFile,
		&c.Ingest.StatisticsKey,
		&c.Lists.Directory,
		&c.Resolve.Directory, &c.Resolve.Country,
		&c.Vault.LookupKey,
		&c.Keys.Directory, &c.Keys.Gate,
		&c.Audit.Directory, &c.Audit.Key,
		&c.Casework.Dir,
		&c.Retention.Purge.Lock, &c.Retention.Purge.Key, &c.Retention.Purge.Certificates,
	}
	for i := range c.Retention.Purge.DataPaths {
		list = append(list, &c.Retention.Purge.DataPaths[i])
	}
	for i := range c.Lists.Lists {
		if source := &c.Lists.Lists[i].Source; !strings.Contains(*source, "://") {
			list = append(list, source)
		}
	}
	return list
}

func (c *Config) relativeTo(dir string) {
	if dir == "." {
		return
	}
	c.Lists.Lists, c.Retention.Purge.DataPaths = slices.Clone(c.Lists.Lists), slices.Clone(c.Retention.Purge.DataPaths)
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
