package vault_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// What whoever has all of ClickHouse learns, by what else he has: tried, not argued. Reading takes all four; two roles, the gate
// and every key of ingest give no event.
func TestWhatCanBeLearned(t *testing.T) {
	w := newTown(t)
	c := vault.NewCollector(w.writer)
	staff := []string{"anna", "bo", "cia", "dan", "eva", "finn"}
	present := staff[:4] // who has events, among those one would guess
	events := 0
	for back := 2; back >= 0; back-- {
		for _, who := range append(slices.Clone(present), "192.0.2.77") { // and one whom nobody would guess
			for range 3 {
				w.add(c, who, day(back).Time(), "")
				events += 2
			}
		}
		w.put(c)
	}

	// The rows of the key tables, as anybody with SELECT, or a backup, has them.
	stored, err := w.store.UnitKeys(t.Context(), vault.KeyScope{Tenant: tenant, Kinds: both(), From: day(2), To: day(0)}, group.Unit)
	if err != nil || len(stored) != 3*2*5 {
		t.Fatal(len(stored), err)
	}
	for _, x := range []struct {
		name            string
		lookup          bool
		keys            []seal.Role
		presence, names int // person-days confirmed; subjects learned
		opened          int
	}{
		{name: "the database", presence: 0, names: 0},
		{name: "and the lookup key (ingest)", lookup: true, presence: 12},
		{name: "and the gate's key", lookup: true, keys: []seal.Role{seal.Gate}, presence: 15, names: 5},
		{name: "one role, no gate, no lookup", keys: []seal.Role{seal.HR}, presence: 12},
		{name: "three roles without the gate", lookup: true, keys: seal.Approvers(), presence: 12},
		{name: "all of ingest, gate, manager and hr", lookup: true, keys: []seal.Role{seal.Gate, seal.Manager, seal.HR}, presence: 15, names: 5},
		{name: "all of ingest, gate, manager and security", lookup: true, keys: []seal.Role{seal.Gate, seal.Manager, seal.Security}, presence: 15, names: 5},
		{name: "all of ingest, gate, hr and security", lookup: true, keys: []seal.Role{seal.Gate, seal.HR, seal.Security}, presence: 15, names: 5},
		{name: "gate and all three roles", lookup: true, keys: seal.Roles(), presence: 15, names: 5, opened: events},
	} {
		presence, names := map[string]bool{}, map[string]bool{} // person and day; person
		seen := func(who string, d seal.Day) { presence[who+d.String()] = true }
		permit, err := vault.NewPermit(scopeOf(2, 0, both(), any(), append(slices.Clone(staff), "192.0.2.77")...))
		if err != nil {
			t.Fatal(err)
		}
		if x.lookup {
			tags := map[seal.Tag]string{}
			for back := range 3 {
				tagger, err := w.lookup.Key().Tagger(day(back))
				if err != nil {
					t.Fatal(err)
				}
				for _, who := range staff {
					tags[tagger.Tag(tenant, []byte(who))] = who
				}
			}
			for _, k := range stored {
				if who, ok := tags[k.Tag]; ok {
					seen(who, k.Day)
				}
			}
		}
		// Every share that the keys open, for every guess; and from them every data key that can be put together, where what is
		// missing is made up of what there is.
		all := map[seal.KeyID]map[seal.Role]seal.Share{}
		for _, k := range stored {
			shares := map[seal.Role]seal.Share{}
			all[k.Wrapped.ID] = shares
			guesses := slices.Clone(staff)
			if slices.Contains(x.keys, seal.Gate) {
				s, subject, err := w.roles.Keys[seal.Gate].OpenGateShare(k.Wrapped, k.Binding(w.roles.Deployment, nil), w.lookup.Key().Origin())
				if err != nil {
					t.Fatal(err)
				}
				shares[seal.Gate] = s
				names[string(subject)] = true
				seen(string(subject), k.Day)
				guesses = append(guesses, string(subject))
			}
			for _, r := range x.keys {
				for _, who := range guesses {
					if s, err := w.roles.Keys[r].OpenShare(k.Wrapped, r, k.Binding(w.roles.Deployment, []byte(who))); err == nil {
						shares[r] = s
						seen(who, k.Day)
					}
				}
				// A key of one role on the share of another.
				for _, of := range seal.Approvers() {
					for _, who := range guesses {
						if _, err := w.roles.Keys[r].OpenShare(k.Wrapped, of, k.Binding(w.roles.Deployment, []byte(who))); err == nil && of != r {
							t.Errorf("%s: the key of %s opens the share of %s", x.name, r, of)
						}
					}
				}
			}
		}
		for _, k := range stored {
			have := all[k.Wrapped.ID]
			made := []seal.Share{{}, seal.Share([]byte(strings.Repeat("\xff", 32)))}
			for _, shares := range all {
				made = append(made, slices.Collect(maps.Values(shares))...)
			}
			for _, guess := range made {
				full := maps.Clone(have)
				for _, r := range seal.Roles() {
					if _, ok := full[r]; !ok {
						full[r] = guess
					}
				}
				key, err := seal.Combine(k.Wrapped.ID, full)
				if err != nil {
					t.Fatal(err)
				}
				for _, who := range append(slices.Clone(staff), "192.0.2.77") {
					_ = permit.Add(k, []byte(who), key) // it may refuse one who is not whose it is
				}
				if len(have) == len(seal.Roles()) {
					break
				}
			}
		}
		opened, _ := w.read(permit)
		if len(presence) != x.presence || len(names) != x.names || len(opened) != x.opened {
			t.Errorf("%s: %d person-days, %d names, %d events; want %d, %d, %d", x.name, len(presence), len(names), len(opened), x.presence, x.names, x.opened)
		}
		var line strings.Builder
		tab := tabwriter.NewWriter(&line, 45, 0, 2, ' ', 0)
		fmt.Fprintf(tab, "%s\t%d of 15 person-days\t%d of 5 names\t%d of %d events", x.name, len(presence), len(names), len(opened), events)
		tab.Flush()
		t.Log(line.String())
	}
}
