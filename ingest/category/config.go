package category

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config says which lists there are, what their categories mean, and where the compiled form is kept.
type Config struct {
	Directory string           `yaml:"directory"`  // compiled file and the copies taken of each list; "" keeps all in memory
	Refresh   time.Duration    `yaml:"refresh"`    // how often sources are asked for something newer
	Timeout   time.Duration    `yaml:"timeout"`    // for one download
	MaxBytes  int64            `yaml:"max_bytes"`  // of one download, as it is transferred
	MaxShrink float64          `yaml:"max_shrink"` // share of its domains that a list may lose in one update
	Builtin   bool             `yaml:"builtin"`    // the lists that come with tillsyn
	Lists     []ListConfig     `yaml:"lists"`      // in order of precedence
	Classes   map[string]Class `yaml:"classes"`    // category to class, over those that tillsyn knows
	Overrides []Override       `yaml:"overrides"`  // local corrections, before every list
}

// ListConfig is one list.
type ListConfig struct {
	Name       string            `yaml:"name" json:"name"`
	Source     string            `yaml:"source" json:"source"`           // file, squidGuard folder, or https URL of a file or tar archive
	Format     Format            `yaml:"format" json:"format,omitempty"` // auto when absent
	Category   string            `yaml:"category" json:"category,omitempty"`
	Categories map[string]string `yaml:"categories" json:"categories,omitempty"` // squidGuard folder to category; "" leaves one out
	SHA256     string            `yaml:"sha256" json:"sha256,omitempty"`         // of the source's bytes, to pin it
}

// Override is a local correction: this domain and what is under it.
type Override struct {
	Domain   string `yaml:"domain" json:"domain"`
	Category string `yaml:"category" json:"category"`
	Reason   string `yaml:"reason" json:"reason"` // required: a verdict must be explainable years later
}

// DefaultConfig answers the lists that come with tillsyn, in memory.
func DefaultConfig() Config {
	return Config{
		Refresh: 24 * time.Hour, Timeout: 5 * time.Minute, MaxBytes: 256 << 20, MaxShrink: 0.5, Builtin: true,
		Classes: defaultClasses(),
	}
}

var (
	listName     = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)
	categoryName = regexp.MustCompile(`^[a-z0-9][a-z0-9_]{0,63}$`)
	sumText      = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// classes answers every category that may occur, with its class.
func (c Config) classes() map[string]Class {
	out := defaultClasses()
	maps.Copy(out, c.Classes)
	return out
}

// Validate answers all faults of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	classes := c.classes()
	known := func(where, category string) {
		if _, ok := classes[category]; !ok {
			fault("%s: category %q is not known: give it a class under classes, or use one of %s",
				where, category, strings.Join(slices.Sorted(maps.Keys(classes)), ", "))
		}
	}
	if c.Refresh < time.Minute {
		fault("refresh: %v is less than a minute", c.Refresh)
	}
	if c.Timeout <= 0 {
		fault("timeout: must be above 0")
	}
	if c.MaxBytes <= 0 {
		fault("max_bytes: must be above 0")
	}
	if c.MaxShrink <= 0 || c.MaxShrink > 1 {
		fault("max_shrink: %v is not a share above 0, at most 1", c.MaxShrink)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Classes)) {
		if !categoryName.MatchString(name) {
			fault("classes: %q is no category name: use lower case letters, digits and _", name)
		}
		if int(c.Classes[name]) >= len(classNames) {
			fault("classes: %s: %v does not exist", name, c.Classes[name])
		}
	}
	seen := map[string]bool{Overrides: true}
	for _, b := range builtinLists() {
		seen[b.Name] = true
	}
	for i, l := range c.Lists {
		where := fmt.Sprintf("lists[%d] (%s)", i, l.Name)
		switch {
		case !listName.MatchString(l.Name):
			where = fmt.Sprintf("lists[%d]", i)
			fault("%s: %q is no list name: use lower case letters, digits, '-', '_' and '.'", where, l.Name)
		case seen[l.Name]:
			fault("%s: the name is taken", where)
		}
		seen[l.Name] = true
		switch u, err := url.Parse(l.Source); {
		case l.Source == "":
			fault("%s: source is missing: a file, a folder or an https URL", where)
		case err == nil && strings.Contains(l.Source, "://") && (u.Scheme != "https" && u.Scheme != "http" || u.Host == ""):
			fault("%s: source: only https and http URLs can be fetched", where)
		case err == nil && u.Scheme == "http" && l.SHA256 == "" && !loopback(u.Hostname()):
			fault("%s: source: http can be changed on its way: use https, or pin the content with sha256", where)
		}
		if l.Format != "" && !slices.Contains(formats[:], l.Format) {
			fault("%s: format %q is not known", where, l.Format)
		}
		if l.SHA256 != "" && !sumText.MatchString(l.SHA256) {
			fault("%s: sha256: not 64 hexadecimal digits", where)
		}
		if l.Category != "" {
			known(where, l.Category)
		}
		if l.Category != "" && len(l.Categories) > 0 {
			fault("%s: category and categories exclude each other", where)
		}
		for _, folder := range slices.Sorted(maps.Keys(l.Categories)) {
			if l.Categories[folder] != "" {
				known(where, l.Categories[folder])
			}
		}
	}
	taken := make(map[string]bool)
	for i, o := range c.Overrides {
		where := fmt.Sprintf("overrides[%d]", i)
		name, err := Canonical(o.Domain)
		switch {
		case err != nil:
			fault("%s: domain: %w", where, err)
		case managedSuffix(name):
			fault("%s: domain: %s is a public suffix, under which unrelated owners stand", where, name)
		case taken[name]:
			fault("%s: domain: %s occurs twice", where, name)
		}
		taken[name] = true
		known(where, o.Category)
		if strings.TrimSpace(o.Reason) == "" {
			fault("%s: reason is missing: say who decided and why", where)
		}
	}
	return errors.Join(faults...)
}

func loopback(host string) bool {
	a, ok := parseAddress([]byte(host))
	return host == "localhost" || ok && a.IsLoopback()
}

// Warnings answers what is allowed but probably not meant, in an order that does not change.
func (c Config) Warnings() []string {
	var out []string
	defaults := defaultClasses()
	for _, name := range slices.Sorted(maps.Keys(c.Classes)) {
		if defaults[name] == Protected && c.Classes[name] != Protected {
			out = append(out, fmt.Sprintf("classes: %s is no longer protected: its sites will be shown by name", name))
		}
	}
	if !c.Builtin {
		out = append(out, "builtin: the lists of protected sites that come with tillsyn are off")
	}
	return out
}

// changedClasses answers the categories whose class the configuration itself sets.
func (c Config) changedClasses() []string {
	defaults := defaultClasses()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Classes)) {
		if class, ok := defaults[name]; !ok || class != c.Classes[name] {
			out = append(out, name)
		}
	}
	return out
}

// all answers every list in order of precedence. Protected and background come before the configured ones: a list of
// gambling sites that holds a CDN must not make its visitors gamblers.
func (c Config) all() []ListConfig {
	var before, after []ListConfig
	if c.Builtin {
		for _, b := range builtinLists() {
			if b.Name == starterList {
				after = append(after, b)
			} else {
				before = append(before, b)
			}
		}
	}
	return slices.Concat(before, c.Lists, after)
}

// recipe stands for everything in the configuration that the compiled file depends on.
func (c Config) recipe() string {
	lists := slices.Clone(c.all())
	for i := range lists {
		if !isURL(lists[i].Source) && !isBuiltin(lists[i].Source) {
			lists[i].Source, _ = filepath.Abs(lists[i].Source)
		}
	}
	text, _ := json.Marshal(struct {
		Layout    int
		Lists     []ListConfig
		Classes   map[string]Class
		Overrides []Override
	}{layout, lists, c.classes(), c.Overrides})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func isURL(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}
