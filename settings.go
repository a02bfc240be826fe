package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tillsyn/internal/audit"
	"tillsyn/internal/vault"
)

// watched says what is watched by a configuration, how it is shown and how long it is kept, a line for each thing, in an order of
// its own. It names no person and no secret, and no place to fetch a list from, which may hold one. It is what the union and the
// data protection officer need to know of changes of.
func watched(cfg Config) string {
	var lines []string
	say := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		lines = append(lines, strings.Map(func(r rune) rune {
			if r == unicode.ReplacementChar || !unicode.IsGraphic(r) {
				return '?' // the record takes no control characters
			}
			return r
		}, text))
	}
	say("statistics.minimum_people: %d", cfg.Statistics.MinimumPeople)
	say("casework.union: %s", orNone(cfg.Casework.Union))
	for _, class := range vault.Classes() {
		r := cfg.Retention.Of(class)
		say("retention.%s.days: %d", class, r.Days)
		for _, d := range r.Decisions {
			say("retention.%s.decision: %s %q from %s", class, d.Tenant, d.Number, d.From)
		}
	}
	for _, s := range cfg.Ingest.Sources {
		say("ingest.source: %s, tenant %s, format %s", s.Topic, s.Tenant, s.Format)
	}
	for _, t := range cfg.Resolve.Tenants {
		say("resolve.tenant: %s, populations %s, serves %s", t.Name, orAll(t.Populations), orNone(t.Serves))
	}
	say("lists.builtin: %t", cfg.Lists.Builtin)
	for _, l := range cfg.Lists.Lists {
		say("lists.list: %s, category %s", l.Name, orNone([]string{l.Category}))
	}
	for _, category := range slices.Sorted(maps.Keys(cfg.Lists.Classes)) {
		say("lists.class: %s is %s", category, cfg.Lists.Classes[category])
	}
	for _, o := range cfg.Lists.Overrides {
		say("lists.override: %s is %s because %q", o.Domain, o.Category, o.Reason)
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// watchedDigest is what the record says of a text of watched.
func watchedDigest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

func orAll(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, " ")
}

func orNone(list []string) string {
	if text := strings.Join(list, " "); text != "" {
		return text
	}
	return "none"
}

// maxWatched is the most that one entry of the record takes, with room for its escapes.
const maxWatched = 24 << 10

// noteSettings puts what is watched on record, unless the last thing that the same part of tillsyn put there says the same. A
// change takes effect with what is started after it, so it is noted first.
func noteSettings(ctx context.Context, log *audit.Log, part string, cfg Config) error {
	text := watched(cfg)
	digest := watchedDigest(text)
	entries, err := log.Entries(ctx)
	if err != nil {
		return fmt.Errorf("note the settings: %w", err)
	}
	for _, e := range slices.Backward(entries) {
		if e.Kind == audit.SettingsChanged && e.Actor == part {
			if e.Document == digest {
				return nil
			}
			break
		}
	}
	entry := audit.Entry{Kind: audit.SettingsChanged, Actor: part, Document: digest, Counts: map[string]int64{"lines": int64(strings.Count(text, "\n"))}}
	if len(text) <= maxWatched {
		entry.Body = text // otherwise the digest has to do: 'tillsyn config watched' prints the text
	}
	if _, err := log.Append(ctx, entry); err != nil {
		return fmt.Errorf("note the settings: %w", err)
	}
	return nil
}
