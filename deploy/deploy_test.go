package deploy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/goccy/go-yaml"

	"tillsyn/schemas"
)

// go test ./deploy -update writes clickhouse/users.d/tillsyn.xml anew after schemas/grants has changed.
var update = flag.Bool("update", false, "write clickhouse/users.d/tillsyn.xml from schemas/grants")

type composeFile struct {
	Services map[string]service           `yaml:"services"`
	Secrets  map[string]map[string]string `yaml:"secrets"`
	Volumes  map[string]any               `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       map[string]string `yaml:"build"`
	User        string            `yaml:"user"`
	Restart     string            `yaml:"restart"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	CapAdd      []string          `yaml:"cap_add"`
	Privileged  bool              `yaml:"privileged"`
	NetworkMode string            `yaml:"network_mode"`
	SecurityOpt []string          `yaml:"security_opt"`
	Environment map[string]string `yaml:"environment"`
	Entrypoint  []string          `yaml:"entrypoint"`
	Command     []string          `yaml:"command"`
	GroupAdd    []string          `yaml:"group_add"`
	Profiles    []string          `yaml:"profiles"`
	Secrets     []string          `yaml:"secrets"`
	Volumes     []string          `yaml:"volumes"`
	Ports       []string          `yaml:"ports"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

func compose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 5 {
		t.Fatalf("%d services were read", len(c.Services))
	}
	return c
}

func TestComposeServices(t *testing.T) {
	c := compose(t)
	pinned := regexp.MustCompile(`^[a-z/-]+:[0-9]+\.[0-9]+\.[0-9]+$`)
	for name, s := range c.Services {
		t.Run(name, func(t *testing.T) {
			if own := s.Image == "tillsyn:local" && s.Build["dockerfile"] == "deploy/Dockerfile"; !own && !pinned.MatchString(s.Image) {
				t.Errorf("image %q is not pinned to a version", s.Image)
			}
			if user, group, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || group == "" || group == "0" || user == "root" {
				t.Errorf("it runs as %q", s.User)
			}
			if !s.ReadOnly || s.Privileged || s.NetworkMode != "" || len(s.CapAdd) > 0 || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
				!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("it is not hardened: %+v", s)
			}
			once := s.Restart == "no"
			if !once && len(s.Healthcheck.Test) == 0 {
				t.Error("it has no health check")
			}
			for _, port := range s.Ports {
				if !strings.HasPrefix(port, "127.0.0.1:") {
					t.Errorf("port %s is published beyond loopback", port)
				}
			}
			for key, value := range s.Environment {
				if regexp.MustCompile(`(?i)password|secret|token|_key$`).MatchString(key + "=" + value) {
					t.Errorf("environment %s looks like a secret", key)
				}
			}
			for other, d := range s.DependsOn {
				o, ok := c.Services[other]
				switch {
				case !ok:
					t.Errorf("it depends on %s, which is not there", other)
				case d.Condition == "service_completed_successfully" && o.Restart != "no", d.Condition == "service_healthy" && len(o.Healthcheck.Test) == 0:
					t.Errorf("%s never gets %s", other, d.Condition)
				}
			}
			for _, v := range s.Volumes {
				from, rest, _ := strings.Cut(v, ":")
				if !strings.HasPrefix(from, "./") {
					if _, ok := c.Volumes[from]; !ok {
						t.Errorf("volume %s is not there", from)
					}
					continue
				}
				if _, err := os.Stat(filepath.Join("..", from)); err != nil {
					t.Error(err)
				}
				if !strings.HasSuffix(rest, ":ro") {
					t.Errorf("%s can be written to by the container", from)
				}
			}
			for _, secret := range s.Secrets {
				if _, ok := c.Secrets[secret]; !ok {
					t.Errorf("secret %s is not there", secret)
				}
			}
			read := regexp.MustCompile(`/run/secrets/\w+`).FindAllString(strings.Join(append(s.Command, mounted(t, s)...), "\n"), -1)
			for _, path := range read {
				if !slices.Contains(s.Secrets, filepath.Base(path)) {
					t.Errorf("it reads %s but is not given it", path)
				}
			}
			for _, secret := range s.Secrets {
				if !slices.Contains(read, "/run/secrets/"+secret) {
					t.Errorf("it is given %s and does not read it", secret)
				}
			}
		})
	}
	// Each process signs in as its own user, and has no other's password.
	for name, s := range c.Services {
		want, ok := map[string][]string{
			"kafka": nil, "topics": nil, "clickhouse": {"clickhouse_users"}, "migrate": {"clickhouse_owner"}, "ingest": {"clickhouse_ingest"}, "report": {"clickhouse_query"},
			"purge": {"clickhouse_purge"}, "case": {"clickhouse_query"},
		}[name]
		if !ok || !slices.Equal(s.Secrets, want) {
			t.Errorf("%s has the secrets %q, want %q", name, s.Secrets, want)
		}
		// Who runs by itself, and who when asked.
		if asked := name == "report" || name == "case"; asked != (len(s.Profiles) > 0) || asked && s.Restart != "no" {
			t.Errorf("%s has the profiles %q and is restarted %s", name, s.Profiles, s.Restart)
		}
	}
}

// Who may see and change what on disk: the writer has no key that opens anything and nothing of the record, the reports have nothing,
// and nobody but ClickHouse changes ClickHouse's files.
func TestComposeVolumes(t *testing.T) {
	want := map[string]string{
		"kafka":      "kafka:/var/lib/kafka/data",
		"topics":     "",
		"clickhouse": "clickhouse:/var/lib/clickhouse",
		"migrate":    "",
		"ingest":     "ingest:/var/lib/tillsyn/ingest keys:/var/lib/tillsyn/keys:ro lookup:/var/lib/tillsyn/lookup",
		"report":     "",
		"purge": "clickhouse:/var/lib/clickhouse:ro gate:/var/lib/tillsyn/gate keys:/var/lib/tillsyn/keys:ro lookup:/var/lib/tillsyn/lookup " +
			"purge:/var/lib/tillsyn/purge record:/var/lib/tillsyn/record",
		"case": "gate:/var/lib/tillsyn/gate keys:/var/lib/tillsyn/keys lookup:/var/lib/tillsyn/lookup record:/var/lib/tillsyn/record",
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`install -d -m 0700 state((?: state/\w+)+)\n`).FindSubmatch(dockerfile)
	if made == nil {
		t.Fatal("the image makes no folders of state")
	}
	used := map[string]bool{}
	c := compose(t)
	for name, s := range c.Services {
		var volumes []string
		for _, v := range s.Volumes {
			if strings.HasPrefix(v, "./") {
				continue
			}
			volumes = append(volumes, v)
			volume, place, _ := strings.Cut(v, ":")
			used[volume] = true
			// A volume on a folder that the image does not have would be root's.
			if folder, ok := strings.CutPrefix(strings.TrimSuffix(place, ":ro"), "/var/lib/tillsyn/"); ok && !slices.Contains(strings.Fields(string(made[1])), "state/"+folder) {
				t.Errorf("%s: the image does not make /var/lib/tillsyn/%s", name, folder)
			}
		}
		slices.Sort(volumes)
		if got := strings.Join(volumes, " "); got != want[name] {
			t.Errorf("%s has %q, want %q", name, got, want[name])
		}
		// Where a tillsyn keeps something it has a volume: everything else is read-only.
		for _, place := range regexp.MustCompile(`/var/lib/tillsyn/\w+`).FindAllString(strings.Join(mounted(t, s), "\n"), -1) {
			if name != "ingest" && !slices.ContainsFunc(volumes, func(v string) bool { return strings.Contains(v+":", ":"+place+":") }) {
				t.Errorf("%s keeps something in %s, which is no volume", name, place)
			}
		}
		if group := slices.Equal(s.GroupAdd, []string{strings.Split(c.Services["clickhouse"].User, ":")[1]}); group != (name == "purge") || !group && len(s.GroupAdd) > 0 {
			t.Errorf("%s is in the groups %q", name, s.GroupAdd)
		}
	}
	for volume := range c.Volumes {
		if !used[volume] {
			t.Errorf("nobody has the volume %s", volume)
		}
	}
}

// mounted answers the content of the files that s has from this repository.
func mounted(t *testing.T, s service) []string {
	t.Helper()
	var all []string
	for _, v := range s.Volumes {
		if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, "./") {
			text, err := os.ReadFile(filepath.Join("..", from))
			if err != nil {
				t.Error(err)
			}
			all = append(all, string(text))
		}
	}
	return all
}

// make-secrets makes every secret that the compose file names, once, and hashes that fit the passwords.
func TestMakeSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	run := func() {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "./compose/make-secrets", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run()
	before := map[string]string{}
	for name, secret := range compose(t).Secrets {
		if want := "deploy/compose/secrets/" + name; secret["file"] != want {
			t.Errorf("secret %s is in %s, want %s", name, secret["file"], want)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		before[name] = string(text)
	}
	var hashes struct {
		List []struct {
			XMLName xml.Name
			Hash    string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.Unmarshal([]byte(before["clickhouse_users"]), &hashes); err != nil {
		t.Fatal(err)
	}
	users, err := os.ReadFile("clickhouse/users.d/tillsyn.xml")
	if err != nil {
		t.Fatal(err)
	}
	if len(hashes.List) != len(schemas.Roles()) {
		t.Errorf("%d hashes for %d roles", len(hashes.List), len(schemas.Roles()))
	}
	seen := map[string]bool{}
	for _, h := range hashes.List {
		role := strings.TrimSuffix(strings.TrimPrefix(h.XMLName.Local, "tillsyn_"), "_sha256")
		password, err := os.ReadFile(filepath.Join(dir, "clickhouse_"+role))
		if err != nil {
			t.Error(err)
		}
		if sum := sha256.Sum256(password); hex.EncodeToString(sum[:]) != h.Hash || len(password) != 64 || seen[h.Hash] {
			t.Errorf("the hash of %s does not fit its password of %d characters", role, len(password))
		}
		seen[h.Hash] = true
		if !bytes.Contains(users, []byte(`incl="`+h.XMLName.Local+`"`)) {
			t.Errorf("the users file does not ask for %s", h.XMLName.Local)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secrets: %v %v", info.Mode(), err)
	}
	run()
	for name := range before {
		if again, _ := os.ReadFile(filepath.Join(dir, name)); string(again) != before[name] {
			t.Errorf("a second run changed %s", name)
		}
	}
	ignored, err := os.ReadFile("compose/.gitignore")
	if err != nil || !bytes.Contains(ignored, []byte("/secrets/")) {
		t.Errorf("git may take the secrets: %v", err)
	}
	kept, err := os.ReadFile("../.dockerignore")
	if err != nil || !bytes.Contains(kept, []byte("deploy/compose/secrets")) {
		t.Errorf("an image may take the secrets: %v", err)
	}
}

// usersXML is the users file of the server: a user for each role, with its grants, its settings and nothing else.
func usersXML(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("<clickhouse>\n    <!-- Written by 'go test ./deploy -update' from schemas/grants. -->\n    <include_from>/run/secrets/clickhouse_users</include_from>\n    <profiles>\n")
	var users strings.Builder
	for _, role := range schemas.Roles() {
		name := "tillsyn_" + role
		if role == schemas.RoleOwner {
			name = "tillsyn"
		}
		fmt.Fprintf(&b, "        <%s>\n            <async_insert>0</async_insert>\n            <log_queries>0</log_queries>\n", name)
		settings, constraints, err := schemas.Profile(role)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range slices.Sorted(maps.Keys(settings)) {
			fmt.Fprintf(&b, "            <%s>%s</%s>\n", s, settings[s], s)
		}
		if len(constraints) > 0 {
			b.WriteString("            <constraints>\n")
			for _, s := range slices.Sorted(maps.Keys(constraints)) {
				fmt.Fprintf(&b, "                <%s><%s/></%s>\n", s, constraints[s], s)
			}
			b.WriteString("            </constraints>\n")
		}
		fmt.Fprintf(&b, "        </%s>\n", name)
		grants, err := schemas.Grants(role, "tillsyn")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&users, "        <%s>\n            <password_sha256_hex incl=\"tillsyn_%s_sha256\"/>\n            <networks>\n", name, role)
		for _, network := range []string{"127.0.0.1", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
			fmt.Fprintf(&users, "                <ip>%s</ip>\n", network)
		}
		fmt.Fprintf(&users, "            </networks>\n            <profile>%s</profile>\n            <quota>default</quota>\n            <grants>\n", name)
		for _, g := range grants {
			users.WriteString("                <query>")
			if err := xml.EscapeText(&users, []byte(g)); err != nil {
				t.Fatal(err)
			}
			users.WriteString("</query>\n")
		}
		fmt.Fprintf(&users, "            </grants>\n        </%s>\n", name)
	}
	b.WriteString("    </profiles>\n    <users>\n        <default remove=\"remove\"/>\n" + users.String() + "    </users>\n</clickhouse>\n")
	return b.Bytes()
}

func TestClickHouseUsersHaveTheGrantsOfSchemas(t *testing.T) {
	const path = "clickhouse/users.d/tillsyn.xml"
	want := usersXML(t)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what schemas/grants says: run 'go test ./deploy -update'", path)
	}
	for _, source := range []string{"ALL ON", "FILE", "URL", "S3", "REMOTE", "ACCESS MANAGEMENT", "CREATE USER", "GRANT OPTION", "<access_management>", "<password>", "no_password"} {
		if bytes.Contains(got, []byte(source)) {
			t.Errorf("a user has %s", source)
		}
	}
}

func TestXMLIsWellFormed(t *testing.T) {
	files, err := filepath.Glob("clickhouse/*/*.xml")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var any struct {
			XMLName xml.Name `xml:"clickhouse"`
		}
		if err := xml.Unmarshal(text, &any); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Without this server setting ClickHouse refuses changeable_in_readonly, which the readers' limits need.
func TestServerKnowsTheConstraintsOfReaders(t *testing.T) {
	text, err := os.ReadFile("clickhouse/config.d/tillsyn.xml")
	if err != nil {
		t.Fatal(err)
	}
	var server struct {
		Replace bool `xml:"access_control_improvements>settings_constraints_replace_previous"`
	}
	if err := xml.Unmarshal(text, &server); err != nil || !server.Replace {
		t.Errorf("settings_constraints_replace_previous is %v: %v", server.Replace, err)
	}
}

// The image's base images are pinned, it builds without cgo, and it does not run as root.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	bases := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(bases) != 2 {
		t.Errorf("%d stages", len(bases))
	}
	for _, b := range bases {
		if !regexp.MustCompile(`^[a-z]+:[0-9]+\.[0-9]+(\.[0-9]+)?-[a-z]+$`).MatchString(b[1]) {
			t.Errorf("base image %s is not pinned", b[1])
		}
	}
	users := regexp.MustCompile(`(?m)^USER (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(users) != 1 || users[0][1] != "10001:10001" || compose(t).Services["ingest"].User != users[0][1] {
		t.Errorf("users %q", users)
	}
	if !strings.Contains(string(text), "CGO_ENABLED=0 go build") {
		t.Error("cgo is not off")
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(string(mod))
	if want == nil || !strings.HasPrefix(bases[0][1], "golang:"+want[1]+".") {
		t.Errorf("it builds with %s, go.mod asks for %q", bases[0][1], want)
	}
}

// The image of tillsyn has no wget: its health check is bash alone, and must tell 200 from 503 and from nobody there.
func TestHealthCheck(t *testing.T) {
	test := compose(t).Services["ingest"].Healthcheck.Test
	if !slices.Equal(test, compose(t).Services["purge"].Healthcheck.Test) {
		t.Error("the purge is looked at in another way than the ingester")
	}
	if len(test) != 4 || test[0] != "CMD" {
		t.Fatalf("%q", test)
	}
	var status atomic.Int32
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(strings.ReplaceAll(test[3], "/9464", "/"+port), "$$", "$")
	healthy := func() bool { return exec.CommandContext(t.Context(), test[1], test[2], script).Run() == nil }
	if !healthy() {
		t.Error("200 is not healthy")
	}
	status.Store(http.StatusServiceUnavailable)
	if healthy() {
		t.Error("503 is healthy")
	}
	server.Close()
	if healthy() {
		t.Error("nobody is healthy")
	}
}

// What 'docker compose config' checks: the library that reads compose files for it reads this one, against the Compose
// Specification's schema, with every reference between services, secrets, configs and networks resolved.
func TestComposeConfig(t *testing.T) {
	o, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithName("tillsyn"), cli.WithConsistency(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != len(compose(t).Services) {
		t.Errorf("%d services were read, the file has %d", len(project.Services), len(compose(t).Services))
	}
	if _, err := project.MarshalYAML(); err != nil {
		t.Error(err)
	}
	// And it does refuse: a reference to nothing, and a word that the specification does not have.
	for _, broken := range []string{"services: {a: {image: a, secrets: [nowhere]}}", "services: {a: {image: a, helthcheck: {}}}"} {
		o, err := cli.NewProjectOptions(nil, cli.WithName("tillsyn"), cli.WithConsistency(true))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "docker-compose.yml")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		o.ConfigPaths = []string{file}
		if _, err := o.LoadProject(t.Context()); err == nil {
			t.Errorf("%s was taken", broken)
		}
	}
}

func TestSystemdUnit(t *testing.T) {
	text, err := os.ReadFile("systemd/tillsyn.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"User=tillsyn", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "RestartPreventExitStatus=2",
		"StateDirectory=tillsyn", "SystemCallFilter=@system-service", "ExecStart=/usr/local/bin/tillsyn --config /etc/tillsyn/tillsyn.yaml serve"} {
		if !strings.Contains(string(text), want+"\n") && !strings.Contains(string(text), want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, file := range regexp.MustCompile(`deploy/systemd/\S+`).FindAllString(string(text), -1) {
		if _, err := os.Stat(filepath.Join("..", file)); err != nil {
			t.Error(err)
		}
	}
}

func TestLicence(t *testing.T) {
	text, err := os.ReadFile("../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS", "9. Accepting Warranty or Additional Liability."} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing", want)
		}
	}
}
