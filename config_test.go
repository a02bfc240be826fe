package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"tillsyn/ingest/category"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/vault"
)

// runTillsyn runs a command line and answers its exit code and what it wrote.
func runTillsyn(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	app := newApp()
	var o, e bytes.Buffer
	app.Writer, app.ErrWriter, app.Reader = &o, &e, strings.NewReader("")
	code = run(t.Context(), app, append([]string{"tillsyn"}, args...))
	return code, o.String(), e.String()
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tillsyn.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestExampleConfig(t *testing.T) {
	c, err := parseConfig([]byte(exampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Ingest.Sources) != 1 || len(c.Topics().Topics) != 1 {
		t.Errorf("the example has %d sources", len(c.Ingest.Sources))
	}
	// The example names every key that there is, at its place.
	var example, all any
	if err := yaml.Unmarshal([]byte(exampleConfig), &example); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	var missing func(at string, all, example any)
	missing = func(at string, all, example any) {
		keys, _ := all.(map[string]any)
		has, _ := example.(map[string]any)
		for key, value := range keys {
			if at == ".kafka" && key == "topics" || at == ".lists.classes" {
				continue
			}
			if _, ok := has[key]; !ok {
				t.Errorf("the example does not name %s.%s", at, key)
				continue
			}
			missing(at+"."+key, value, has[key])
		}
	}
	missing("", all, example)
	// But for what an installation must name, it states the defaults: it would lie about them otherwise.
	d := DefaultConfig()
	c.Ingest.Sources, c.Kafka.Brokers, c.Kafka.Cluster = d.Ingest.Sources, d.Kafka.Brokers, d.Kafka.Cluster
	c.Lists.Directory, c.Lists.Classes = d.Lists.Directory, d.Lists.Classes // {} there means: no others than the known
	if got, want := dumped(t, c), dumped(t, d); got != want {
		t.Errorf("the example differs from the defaults:\n%s\nwant\n%s", got, want)
	}
}

func dumped(t *testing.T, c Config) string {
	t.Helper()
	text, err := dumpConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("[]", "", "null", "").Replace(string(text))
}

// What is not in the file keeps its default, also beside what is.
func TestConfigKeepsDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "ingest:\n", "engine: null\n", "log: {}\n", "\ufeff"} {
		c, err := parseConfig([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if !reflect.DeepEqual(c, DefaultConfig()) {
			t.Errorf("%q changes the defaults", text)
		}
	}
	c, err := parseConfig([]byte("ingest:\n  batch:\n    max_age: 3s\nlists:\n  classes:\n    knitting: limited\nkafka:\n  fetch: {max_wait: 1s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Ingest.Batch.MaxAge, want.Kafka.Fetch.MaxWait = 3*time.Second, time.Second
	want.Lists.Classes = map[string]category.Class{"knitting": category.Limited}
	c.Lists.Classes, want.Lists.Classes = nil, nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwant\n%+v", c, want)
	}
}

func TestConfigFaults(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct{ name, text, want string }{
		{"unknown section", "log:\n  level: info\nlogs: 1\n", `line 3, column 1: unknown section "logs"; there are log, http,`},
		{"section twice", "log:\n  level: info\nlog:\n  level: warn\n", "line 3, column 1:"},
		{"unknown key", "log:\n  colour: red\n", `line 2, column 3: log: unknown field "colour"`},
		{"unknown deep key", "ingest:\n  batch:\n    event: 1\n", `line 3, column 5: ingest: unknown field "event"`},
		{"key in a list", "resolve:\n  tenants:\n    - name: a\n      zone: b\n", `line 4, column 7: resolve: unknown field "zone"`},
		{"key twice", "log:\n  level: info\n  level: warn\n", "line 3, column 3:"},
		{"wrong type", "http:\n  listen: [a]\n", "line 2, column 11: http:"},
		{"text for a number", "engine:\n  memory_limit: much\n", "line 2, column 17: engine:"},
		{"number too large", "engine:\n  tcp_port: 99999999999999999999\n", "line 2, column 13: engine:"},
		{"bad duration", "kafka:\n  session_timeout: soon\n", "kafka:"},
		{"list for a section", "kafka: [a]\n", "line 1, column"},
		{"text for a section", "kafka: a\n", "line 1, column 8: kafka:"},
		{"list", "- log\n", "line 1, column 1: the file is not a mapping of sections"},
		{"text", "tillsyn", "line 1, column 1: the file is not a mapping of sections"},
		{"tabs", "log:\n\tlevel: info\n", "line 2"},
		{"open quote", "log:\n  level: \"info\n", "line 2, column 10"},
		{"two documents", "log: {}\n---\nhttp: {}\n", "more than one YAML document"},
		{"secret in place", "clickhouse:\n  password: " + secret + "\n", `unknown field "password"`},
		{"secret at a wrong type", "kafka:\n  sasl: {mechanism: plain, username: [" + secret + "]}\n", "line 2"},
		{"value", "log:\n  level: loud\n", `log: level: "loud" is not debug`},
		{"topics", "kafka:\n  topics: [{name: x}]\n", "kafka: topics: belong to ingest.sources"},
		{"tenant", "kafka: {brokers: ['a:1'], cluster: b}\ningest:\n  sources: [{topic: t, tenant: nobody, format: squid_native}]\n", `"nobody" is not one of`},
		{"source without brokers", "ingest:\n  sources: [{topic: t, tenant: default, format: squid_native}]\n", "kafka: brokers"},
		{"timeouts", "kafka: {brokers: ['a:1'], cluster: b, session_timeout: 10s}\n", "clickhouse: insert_timeout: 20s is not below kafka.session_timeout (10s)"},
		{"k", "statistics:\n  minimum_people: 4\n", "statistics: minimum_people"},
		{"server address", "clickhouse:\n  addresses: [nowhere]\n", "clickhouse: addresses"},
		{"nobody to sign in as", "clickhouse:\n  addresses: ['a:1']\n", "clickhouse: username: is empty"},
		{"a role that there is not", "clickhouse:\n  users:\n    admin: {username: a}\n", `line 3, column 5: clickhouse: unknown field "admin"`},
		{"users beside a user", "clickhouse: {addresses: ['a:1'], username: a, users: {purge: {username: b}}}\n", "clickhouse: users: contradicts username"},
		{"one user for two roles", "clickhouse: {addresses: ['a:1'], users: {purge: {username: b}, query: {username: b}}}\n", "clickhouse: users.purge.username: is that of users.query"},
		{"users of the engine", "clickhouse: {users: {purge: {username: b}}}\n", "clickhouse: users: are those of a server"},
		{"server: the engine is not used", "clickhouse:\n  addresses: [nowhere]\nengine: {memory_limit: 1}\n", "clickhouse: addresses"},
		{"engine", "engine: {memory_limit: 1}\n", "engine: memory_limit"},
		{"country", "resolve: {tenants: []}\n", "resolve: tenants"},
		{"listen", "http: {listen: here}\n", "http: listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeConfig(t, c.text)
			code, out, errs := runTillsyn(t, "--config", path, "config", "check")
			if code != exitUsage || !strings.Contains(errs, c.want) {
				t.Errorf("exit code %d, %s%s; want %q", code, out, errs, c.want)
			}
			if strings.Contains(errs, secret) {
				t.Errorf("the fault shows the secret: %s", errs)
			}
			code, out, errs = runTillsyn(t, "--config", path, "config", "check", "--json")
			var answer struct {
				Valid  bool
				Faults []configFault
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitUsage || answer.Valid || len(answer.Faults) == 0 {
				t.Errorf("as JSON: %d %s %v", code, out, err)
			}
			if strings.Contains(out+errs, secret) {
				t.Errorf("the fault shows the secret: %s", out)
			}
			if code, _, _ := runTillsyn(t, "--config", path, "config", "dump"); code != exitUsage {
				t.Errorf("dump of a faulty file: exit code %d", code)
			}
		})
	}
}

// Faults of several sections come together, whether they are in the form or in the values.
func TestConfigFaultsAllAtOnce(t *testing.T) {
	_, _, errs := runTillsyn(t, "--config", writeConfig(t, "log: {colour: red}\nhttp: {port: 1}\nfoo: 1\n"), "config", "check")
	for _, want := range []string{"3 faults", "colour", "port", "foo"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing in %s", want, errs)
		}
	}
	_, _, errs = runTillsyn(t, "--config", writeConfig(t, "log: {level: x, format: y}\nhttp: {listen: z}\nstatistics: {minimum_people: 1}\n"), "config", "check")
	for _, want := range []string{"4 faults", "log: level", "log: format", "http: listen", "statistics: minimum_people"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing in %s", want, errs)
		}
	}
}

// Every fault is one line with its place, also those of values, and each is there once under a key that the file has.
func TestConfigFaultsHavePlaces(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"http:\n  listen: nonsense\n", []string{`line 2, column 3: http: listen: "nonsense" is not host:port`}},
		{"engine: {memory_limit: 1,\n  tcp_port: 70000}\n", []string{"line 1, column 10: engine: memory_limit is 1 bytes", "line 2, column 3: engine: tcp_port is 70000"}},
		{"kafka:\n  brokers:\n    - b:1\n    - c\n", []string{"line 4, column 7: kafka: brokers[1]: not host:port", "line 1, column 1: kafka: cluster: give the cluster a name", "ingest: sources: name at least one"}},
		{"kafka: {brokers: ['b:1'], cluster: c}\ningest:\n  sources:\n    - {topic: t, tenant: default, format: squid_native}\n    - {topic: t, tenant: default, format: squid_native}\n" +
			"    - tenant: nobody\n      topic: a b\n      format: squid_common\n      time_zone: Mars\n      epoch: x y\n",
			[]string{`line 5, column 8: ingest: sources[1].topic: "t" is named twice`, `line 6, column 7: ingest: sources[2]: tenant: "nobody" is not one of the configured tenants: default`,
				`line 9, column 7: ingest: sources[2]: time_zone: "Mars"`, "line 7, column 7: ingest: sources[2].topic: Kafka allows", "line 10, column 7: ingest: sources[2].epoch: must be a number"}},
		{"kafka: {brokers: ['b:1'], cluster: c}\n", []string{"ingest: sources: name at least one"}},
		{"lists:\n  lists:\n    - {name: a, source: x, category: ads}\n    - {name: b,\n       source: x, category: nope}\n  overrides:\n    - category: ads\n      domain: com\n      reason: r\n",
			[]string{`line 4, column 8: lists: lists[1] (b): category "nope" is not known`, "line 8, column 7: lists: overrides[0]: domain: com is a public suffix"}},
		{"audit: {witness: {witnesses: [{url: x, key: y}]}}\n", []string{"line 1, column 32: audit: witness.witnesses[0].url", "line 1, column 40: audit: witness.witnesses[0].key: the audit log's key cannot be used: it is not of the form"}},
		{"retention:\n  mail: &k {days: 1000}\n  web: *k\n", []string{"line 3, column 3: retention: web.days: 1000 is not between", "line 2, column 13: retention: mail.days: 1000 is not between"}},
		{"engine:\n  memory_limit: much\n  tcp_port: 99999999999999999999\n  start_timeout: soon\n", []string{"line 2, column 17: engine: memory_limit: a whole number is needed",
			"line 3, column 13: engine: tcp_port: the number is too large", "line 4, column 18: engine: start_timeout: a duration is needed"}},
		{"kafka:\n  brokers: a\n  tls: {enabled: maybe}\n  x: y\n", []string{"line 2, column 12: kafka: brokers: a list is needed", "line 3, column 18: kafka: tls.enabled: true or false is needed", `line 4, column 3: kafka: unknown field "x"`}},
		{"lists:\n  classes: {ads: loud}\n  max_shrink: a\n  lists: [{name: [x]}]\n", []string{`line 2, column 18: lists: classes.ads: "loud" is no class`, "line 3, column 15: lists: max_shrink: a number is needed", "line 4, column 18: lists: lists[0].name: text is needed"}},
		{"retention: {web: {days: x, foo: 1}, purge: {run_at: x}}\n", []string{"column 25: retention: web.days: a whole number", `column 28: retention: unknown field "foo"`, `column 45: retention: unknown field "run_at"`}},
		{"resolve:\n  refresh: &r x\n  tenants: [*r]\n", []string{"resolve: "}},
	} {
		path := writeConfig(t, c.text)
		_, out, _ := runTillsyn(t, "--config", path, "config", "check", "--json")
		var answer struct{ Faults []configFault }
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range answer.Faults {
			got = append(got, f.Error())
		}
		same := len(got) == len(c.want)
		for _, want := range c.want {
			same = same && slices.ContainsFunc(got, func(s string) bool {
				return strings.HasPrefix(s, want) || !strings.HasPrefix(want, "line") && strings.Contains(s, want)
			})
		}
		if !same {
			t.Errorf("%s\n%s\nwant\n%s", c.text, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if _, _, faults := runTillsyn(t, "--config", path, "config", "check"); len(got) > 1 && (!strings.Contains(faults, fmt.Sprintf("has %d faults", len(got))) || strings.Count(faults, "\n") != len(got)+1) {
			t.Errorf("%s\nin words: %s", c.text, faults)
		}
	}
}

func TestConfigInit(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, errs := runTillsyn(t, "config", "check"); code != exitOK {
		t.Errorf("without a file: %d %s", code, errs)
	}
	code, out, errs := runTillsyn(t, "config", "init")
	if code != exitOK || !strings.Contains(out, "tillsyn.yaml is written") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if code, out, errs := runTillsyn(t, "config", "check"); code != exitOK || !strings.Contains(out, "can be used") {
		t.Errorf("the example: %d %s%s", code, out, errs)
	}
	if err := os.WriteFile("tillsyn.yaml", []byte("mine: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runTillsyn(t, "config", "init"); code != exitUsage || !strings.Contains(errs, "there already") {
		t.Errorf("a second time: %d %s", code, errs)
	}
	if text, _ := os.ReadFile("tillsyn.yaml"); string(text) != "mine: 1\n" {
		t.Error("the file of the user was overwritten")
	}
	if code, out, _ := runTillsyn(t, "config", "init", "--output", "-"); code != exitOK || out != exampleConfig {
		t.Errorf("to standard output: %d", code)
	}
	if code, _, _ := runTillsyn(t, "config", "init", "--output", filepath.Join("nowhere", "x.yaml")); code != exitFault {
		t.Errorf("into a folder that is not there: %d", code)
	}
	for _, args := range [][]string{{"config", "nonsense"}, {"config", "check", "x"}, {"config", "dump", "--xml"}, {"--config", "missing.yaml", "config", "check"}} {
		if code, _, errs := runTillsyn(t, args...); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}

// What dump shows can be read again and means the same, as YAML and as JSON, and shows no secret of a list's URL.
func TestConfigDump(t *testing.T) {
	path := writeConfig(t, exampleConfig)
	want, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--json"}} {
		code, out, errs := runTillsyn(t, append([]string{"--config", path, "config", "dump"}, flags...)...)
		if code != exitOK {
			t.Fatalf("%v: %d %s", flags, code, errs)
		}
		if flags != nil && !json.Valid([]byte(out)) {
			t.Errorf("%s is not JSON", out)
		}
		again, err := parseConfig([]byte(out))
		if err != nil {
			t.Fatal(err)
		}
		if dumped(t, again) != dumped(t, want) {
			t.Errorf("%v: read again it is\n%s\nwant\n%s", flags, dumped(t, again), dumped(t, want))
		}
	}
	path = writeConfig(t, "lists:\n  lists:\n    - {name: a, source: 'https://me:hunter2@example.org/x?token=hunter2', format: domains, category: gambling}\n")
	code, out, errs := runTillsyn(t, "--config", path, "config", "dump")
	if code != exitOK || strings.Contains(out+errs, "hunter2") || !strings.Contains(out, "https://redacted@example.org/x?redacted") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// Every value that names a file is taken relative to the folder of the configuration.
func TestConfigPathsAreRelativeToTheFile(t *testing.T) {
	c := DefaultConfig()
	c.Lists.Lists = []category.ListConfig{{Source: "own.txt"}, {Source: "https://example.org/list"}, {Source: "/abs.txt"}}
	c.Retention.Purge.DataPaths = []string{"clickhouse"}
	var fill func(v reflect.Value, name string)
	files := map[string]bool{"data_dir": true, "library": true, "password_file": true, "ca_file": true, "cert_file": true, "key_file": true,
		"statistics_key": true, "lookup_key": true, "directory": true, "country": true, "dir": true, "gate": true, "key": true,
		"lock": true, "certificates": true}
	count := 0
	fill = func(v reflect.Value, name string) {
		switch v.Kind() {
		case reflect.Struct:
			for field, value := range v.Fields() {
				fill(value, strings.Split(field.Tag.Get("yaml"), ",")[0])
			}
		case reflect.String:
			looks := strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_dir") || strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "directory") || strings.HasSuffix(name, "path")
			if looks != files[name] && !slices.Contains([]string{"library", "country", "dir", "gate", "key", "lock", "certificates"}, name) {
				t.Errorf("is %s a file? then it belongs to paths", name)
			}
			if files[name] {
				v.SetString("some/" + name)
				count++
			}
		}
	}
	fill(reflect.ValueOf(&c).Elem(), "")
	c.relativeTo("/etc/tillsyn")
	got := 0
	for _, p := range c.paths() {
		if !strings.HasPrefix(*p, "/etc/tillsyn/") && *p != "/abs.txt" {
			t.Errorf("%s is relative still", *p)
		}
		got++
	}
	if got != count+3 {
		t.Errorf("%d values name files, but paths has %d", count+3, got)
	}
	if c.Lists.Lists[0].Source != "/etc/tillsyn/own.txt" || c.Lists.Lists[1].Source != "https://example.org/list" {
		t.Errorf("sources of lists: %+v", c.Lists.Lists)
	}
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	LogConfig{Level: "warn", Format: "json"}.Logger(&b).Info("quiet")
	if b.Len() > 0 {
		t.Errorf("below its level it logs %s", b.String())
	}
	LogConfig{Level: "warn", Format: "json"}.Logger(&b).Warn("loud", "n", 1)
	if !json.Valid(b.Bytes()) {
		t.Errorf("%s is not JSON", b.String())
	}
	b.Reset()
	LogConfig{Level: "info", Format: "text"}.Logger(&b).Info("said", "n", 1)
	if !strings.Contains(b.String(), "msg=said n=1") {
		t.Error(b.String())
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(exampleConfig))
	f.Add([]byte("log: &a {level: info}\nhttp: *a\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("<<: {log: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err == nil {
			_ = fmt.Sprint(c.Validate())
		}
	})
}

// The configurations in deploy can be used, and the commands that run there exist.
func TestDeployedConfigs(t *testing.T) {
	files, err := filepath.Glob("deploy/compose/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	files = append(files, "deploy/systemd/tillsyn.yaml")
	for _, path := range files {
		if _, err := loadConfig(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	text, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Image      string   `yaml:"image"`
			Entrypoint []string `yaml:"entrypoint"`
			Command    []string `yaml:"command"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("deploy/systemd/tillsyn.service")
	if err != nil {
		t.Fatal(err)
	}
	lines := [][]string{}
	for name, s := range compose.Services {
		if s.Image == "tillsyn:local" {
			if len(s.Command) == 0 || len(s.Entrypoint) == 0 || s.Entrypoint[0] != "/usr/local/bin/tillsyn" {
				t.Errorf("%s has no command", name)
				continue
			}
			lines = append(lines, slices.Concat(s.Entrypoint[1:], s.Command))
		}
	}
	for line := range strings.Lines(string(unit)) {
		if _, args, ok := strings.Cut(line, "/usr/local/bin/tillsyn --config"); ok {
			lines = append(lines, strings.Fields("--config"+args))
		}
	}
	if len(lines) < 5 {
		t.Errorf("only %d command lines were found", len(lines))
	}
	for _, args := range lines {
		// With --help at its end, a command line runs nothing but is parsed: unknown commands and flags are usage errors.
		code, out, errs := runTillsyn(t, append(args, "--help")...)
		last := args[len(args)-1]
		if strings.HasPrefix(last, "-") {
			last = args[len(args)-2]
		}
		if code != exitOK || !strings.Contains(out, "tillsyn "+last) && !strings.Contains(out, last+" - ") {
			t.Errorf("tillsyn %s: exit code %d, %s%s", strings.Join(args, " "), code, out, errs)
		}
	}
}

// What several processes must agree on stands in the file of each, the same.
func TestComposeConfigsAgree(t *testing.T) {
	read := func(name string) Config {
		c, err := loadConfig("deploy/compose/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ingest, gate, purge := read("ingest"), read("case"), read("purge")
	for name, c := range map[string]Config{"case": gate, "purge": purge} {
		lists := c.Lists
		lists.Directory = ingest.Lists.Directory
		for what, pair := range map[string][2]any{
			"clickhouse.addresses": {c.ClickHouse.Addresses, ingest.ClickHouse.Addresses}, "kafka": {c.Kafka, ingest.Kafka}, "ingest.sources": {c.Ingest.Sources, ingest.Ingest.Sources},
			"lists": {lists, ingest.Lists}, "resolve": {c.Resolve, ingest.Resolve}, "vault": {c.Vault, ingest.Vault}, "keys": {c.Keys, ingest.Keys},
			"audit": {c.Audit, gate.Audit}, "casework": {c.Casework, gate.Casework}, "disclosure": {c.Disclosure, gate.Disclosure}, "lists.directory": {c.Lists.Directory, gate.Lists.Directory},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s.yaml says of %s\n%+v\nthe other\n%+v", name, what, pair[0], pair[1])
			}
		}
	}
	if ingest.Embedded() || gate.ClickHouse.Users.Purge != (clickhouse.User{}) || purge.ClickHouse.Users.Query != (clickhouse.User{}) {
		t.Error("a process has a user that it does not need")
	}
	// As it is shipped it refuses to purge; with the lines that it shows, it is decided.
	if err := undecided(purge, time.Now()); !errors.Is(err, vault.ErrNoDecision) || strings.Contains(err.Error(), "mail") {
		t.Error(err)
	}
	text, err := os.ReadFile("deploy/compose/purge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decided, err := parseConfig([]byte(strings.NewReplacer("decisions: []", "decisions:", "# - {tenant", "- {tenant").Replace(string(text))))
	if err == nil {
		err = errors.Join(decided.Validate(), undecided(decided, time.Now()))
	}
	if err != nil {
		t.Error(err)
	}
}

// parseConfig reads YAML over the defaults, and does not validate it.
func parseConfig(text []byte) (Config, error) {
	sections, err := parseSections(text)
	if err != nil {
		return Config{}, err
	}
	return decodeSections(sections)
}
