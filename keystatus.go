package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A tenantKeys is what 'keys status' says of a tenant.
type tenantKeys struct {
	Tenant   string         `json:"tenant"`
	Number   int            `json:"number"` // of the register in use; 0: none
	Since    string         `json:"since,omitempty"`
	Digest   string         `json:"digest,omitempty"`
	Keys     []keyStatus    `json:"keys"`
	Members  []memberStatus `json:"members"` // who may ask and look, and opens nothing
	Pending  *pendingKeys   `json:"pending,omitempty"`
	Warnings []string       `json:"warnings"`
	Faults   []string       `json:"faults"`
	Next     []string       `json:"next"`
}

type keyStatus struct {
	Population  string    `json:"population"`
	Role        seal.Role `json:"role"`
	Number      int       `json:"number"`
	Fingerprint string    `json:"fingerprint"`
	Suite       string    `json:"suite"`
	Days        int       `json:"days"` // since its register
	State       string    `json:"state"`
	Holders     []string  `json:"holders"`
}

type memberStatus struct {
	ID         string `json:"id"`
	Population string `json:"population"`
	Key        string `json:"key"` // fingerprint of the signing key
}

type pendingKeys struct {
	Kind        string   `json:"kind"`
	Number      int      `json:"number"`
	Began       string   `json:"began"`
	Unsigned    []string `json:"unsigned"`
	Unconfirmed []string `json:"unconfirmed"`
}

// status looks at the keys of one tenant. What is wrong is in the answer; the error is for what can't be looked at.
func (k *ceremony) status(ctx context.Context) tenantKeys {
	s := tenantKeys{Tenant: k.name, Keys: []keyStatus{}, Members: []memberStatus{}, Warnings: []string{}, Faults: []string{}, Next: []string{}}
	fault := func(format string, args ...any) { s.Faults = append(s.Faults, fmt.Sprintf(format, args...)) }
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	chain, err := k.chain(k.name)
	if err != nil {
		fault("%v", err)
		return s
	}
	r := newest(chain)
	o, err := k.readPending()
	switch {
	case err == nil:
		p := &pendingKeys{Kind: o.document.Kind, Number: o.document.Number, Began: o.document.Began, Unsigned: []string{}}
		for _, n := range o.missing {
			p.Unsigned = append(p.Unsigned, n.String())
		}
		if p.Unconfirmed, err = k.unconfirmed(o); err != nil {
			fault("%v", err)
		}
		s.Pending = p
		switch {
		case o.document.Number == len(chain):
			warn("publishing register %d was stopped before its protocol was on record", o.document.Number)
			s.Next = append(s.Next, "tillsyn keys publish --tenant "+k.name+" --identity FILE")
		case len(p.Unsigned)+len(p.Unconfirmed) == 0:
			s.Next = append(s.Next, "tillsyn keys publish --tenant "+k.name+" --identity FILE")
		default:
			if len(p.Unsigned) > 0 {
				s.Next = append(s.Next, "tillsyn keys sign --tenant "+k.name+" --identity FILE   (each of the roles named above)")
			}
			if len(p.Unconfirmed) > 0 {
				s.Next = append(s.Next, "tillsyn keys confirm --tenant "+k.name+" --identity FILE   ("+strings.Join(p.Unconfirmed, ", ")+")")
			}
		}
	case !errors.Is(err, errNoCeremony):
		fault("%v", err)
	case r == nil:
		if _, err := os.Stat(filepath.Join(k.folder(), "suite")); err == nil {
			s.Next = append(s.Next, "tillsyn keys enrol --tenant "+k.name+" CARD...   (the cards that holders make with 'tillsyn keys holder')")
		} else {
			s.Next = append(s.Next, "tillsyn keys init --tenant "+k.name)
		}
		warn("there are no keys yet: nothing raw about people is stored for this tenant")
	}
	if r == nil {
		if exists(k.record.Directory) {
			k.statusOnRecord(ctx, chain, o, fault, warn)
		}
		return s
	}
	s.Number, s.Since, s.Digest = r.Number(), r.Time().Format(documentTime), r.Digest().String()
	for _, key := range r.SeatKeys() {
		line := keyStatus{Population: key.Population, Role: key.Role, Number: key.Number, Fingerprint: keyFingerprint(key.Key), Suite: suiteOf(key.Key),
			Days: daysSince(k.now(), chain[key.Number-1].Time()), State: "in use", Holders: []string{}}
		for _, h := range r.Openers(key) {
			line.Holders = append(line.Holders, h.ID)
		}
		if key.Replaced != 0 {
			line.State = fmt.Sprintf("replaced by %d", key.Replaced)
		}
		if key.Role != seal.Gate {
			_, err := os.Stat(filepath.Join(k.folder(), roleFile(key.Population, key.Role, key.Number)))
			switch {
			case err == nil && key.Replaced != 0:
				if len(line.Holders) == 1 {
					warn("%s alone can open the old key of %s from register %d", line.Holders[0], key.Role, key.Number)
				}
			case errors.Is(err, fs.ErrNotExist) && key.Replaced != 0:
				line.State = "retired"
			case err != nil:
				line.State = "missing"
				fault("the file of the key of %s is missing: put it back from a backup, or from paper ('tillsyn keys escrow --restore'); until then nothing of this tenant can be looked up",
					key.Role)
			}
		}
		s.Keys = append(s.Keys, line)
	}
	seats := map[string]int{}
	for _, h := range r.Text().People() {
		if h.Role == "" {
			s.Members = append(s.Members, memberStatus{h.ID, h.Population, seal.Fingerprint(h.Verifier)})
		}
		seats[roleFile(h.Population, h.Role, 0)]++
		if _, err := os.Stat(filepath.Join(k.folder(), holderFile(h.ID))); err != nil {
			fault("the signing key of %s is missing: put %s back from a backup, or let %s make a new card ('tillsyn keys reshare --add CARD')", h.ID, holderFile(h.ID), h.ID)
		}
	}
	for _, seat := range r.Text().Seats {
		if n := seats[roleFile(seat.Population, seat.Role, 0)]; n == seal.MinHolders {
			warn("%s has %d holders: if both lose their identities, nobody can read this tenant's raw data until they are purged; consider a third, or 'tillsyn keys escrow'", seatTitle(seat.Population, seat.Role), n)
		}
	}
	if g, err := k.readGate(); errors.Is(err, fs.ErrNotExist) {
		warn("the gate's keys are not on this machine (%s)", k.gate)
	} else if err != nil {
		fault("%v", err)
	} else {
		for _, key := range r.SeatKeys() {
			if key.Role == seal.Gate && !slices.ContainsFunc(g.Keys, func(p seal.PrivateKey) bool { return p.Public().String() == key.Key.String() }) {
				fault("the gate does not have its key of register %d: data that were sealed to it can't be read", key.Number)
			}
		}
	}
	k.statusOnRecord(ctx, chain, o, fault, warn)
	return s
}

func (k *ceremony) statusOnRecord(ctx context.Context, chain []*seal.Register, o openedCeremony, fault, warn func(string, ...any)) {
	if _, err := os.Stat(k.record.Directory); err != nil {
		warn("the record is not on this machine (%s): whether the register is the newest was not checked", k.record.Directory)
		return
	}
	trust, err := audit.TrustOf(k.record)
	if err != nil {
		warn("the record was not asked: %v", err)
		return
	}
	entries, err := audit.NewReader(os.DirFS(k.record.Directory), trust).Entries(ctx)
	if err != nil {
		fault("%v", err)
		return
	}
	next := len(chain) + 1
	switch recorded, err := k.compareRecord(entries, chain, next); {
	case err != nil:
		fault("%v", err)
	case recorded.IsZero():
	case o.document.Number == next && o.document.Register == recorded:
		warn("register %d is on record, but its keys are not in place yet: run 'tillsyn keys publish' again", next)
	default:
		fault("the record has register %d of %s, and the keys in %s are older: put back the newest copy of that folder", next, k.name, k.dir)
	}
}

// seatTitle names a seat, or with no role what a member is.
func seatTitle(population string, r seal.Role) string {
	if r == "" {
		r = "member"
	}
	if population == "" {
		return string(r)
	}
	return string(r) + " of " + population
}

func printStatus(w io.Writer, all []tenantKeys, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "No tenant has keys yet: nothing raw about people is stored. Begin with  tillsyn keys init --tenant NAME")
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if s.Number == 0 {
			fmt.Fprintf(w, "%s: no register of holders yet\n", s.Tenant)
		} else {
			fmt.Fprintf(w, "%s: register %d since %s\n", s.Tenant, s.Number, s.Since)
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ROLE\tFOR\tKEY\tSINCE REGISTER\tDAYS\tSTATE\tHOLDERS")
			for _, key := range s.Keys {
				population, holders := key.Population, strings.Join(key.Holders, ", ")
				if population == "" {
					population = "everybody"
				}
				if key.Role == seal.Gate {
					holders = "(the service)"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", key.Role, population, key.Fingerprint, key.Number, key.Days, key.State, holders)
			}
			if err := t.Flush(); err != nil {
				return err
			}
			if len(s.Members) > 0 {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "MEMBER\tFOR\tSIGNS WITH")
				for _, m := range s.Members {
					fmt.Fprintf(t, "%s\t%s\t%s\n", m.ID, populationWord(m.Population).English, m.Key)
				}
				if err := t.Flush(); err != nil {
					return err
				}
			}
			fmt.Fprintln(w, "All holders of one role lost: raw data of that tenant can be read by nobody, until they are purged.")
		}
		if p := s.Pending; p != nil {
			fmt.Fprintf(w, "under way: %s, for register %d, since %s\n", p.Kind, p.Number, p.Began)
			for _, n := range p.Unsigned {
				fmt.Fprintf(w, "  not signed by the %s\n", n)
			}
			for _, id := range p.Unconfirmed {
				fmt.Fprintf(w, "  not confirmed by %s\n", id)
			}
		}
		for _, text := range s.Faults {
			fmt.Fprintf(w, "FAULT: %s\n", text)
		}
		for _, text := range s.Warnings {
			fmt.Fprintf(w, "note: %s\n", text)
		}
		for _, text := range s.Next {
			fmt.Fprintf(w, "next: %s\n", text)
		}
	}
	return nil
}
