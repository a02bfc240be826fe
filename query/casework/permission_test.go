package casework

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

func (k *desk) permission(change func(*Permission)) *Permission {
	p := &Permission{
		Type: typePermission, Deployment: deployment, Tenant: tenant, Population: "staff", Subject: "anna.berg", Categories: []string{"gambling"},
		Domains: []string{"extremism.example"}, From: k.now.Format(time.DateOnly), To: k.now.Add(10 * 24 * time.Hour).Format(time.DateOnly),
		Reason: "Utredning av spelberoende åt socialnämnden", Manager: "Karin Ek, enhetschef", Actor: "manager-1", Register: k.current(), At: k.now, Nonce: NewNonce(),
	}
	if change != nil {
		change(p)
	}
	return p
}

func (k *desk) accident(change func(*AccidentReport)) *AccidentReport {
	r := &AccidentReport{
		Type: typeAccident, Deployment: deployment, Tenant: tenant, Population: "staff", Subject: "anna.berg", From: k.now.Add(-2 * time.Hour), To: k.now.Add(-time.Hour),
		Category: "pornography", Domain: "", Told: "Klickade på en länk i ett mejl.", ToldAt: k.now.Add(-30 * time.Minute), Manager: "Karin Ek, enhetschef",
		Actor: "manager-1", Register: k.current(), At: k.now, Nonce: NewNonce(),
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestPermissionExplainsAndIsNoFinding(t *testing.T) {
	k := openDesk(t, nil)
	signed := get(SignByManager(k.permission(nil), k.signer("manager-1")))
	digest := get(k.gate.GrantPermission(t.Context(), signed))
	if again := get(k.gate.GrantPermission(t.Context(), signed)); again != digest {
		t.Error("filing it twice made two")
	}
	p := get(k.gate.Permissions(t.Context(), tenant))
	if len(p.Granted) != 1 || p.Granted[0].Manager != "Karin Ek, enhetschef" {
		t.Fatalf("%+v", p)
	}
	at := k.now.Add(time.Hour)
	for _, c := range []struct {
		name      string
		subject   string
		o         Occurrence
		explained bool
	}{
		{"its category", "anna.berg", Occurrence{at, "gambling", "casino.example"}, true},
		{"its domain", "anna.berg", Occurrence{at, "hate", "extremism.example"}, true},
		{"a host of its domain", "anna.berg", Occurrence{at, "", "www.Extremism.example."}, true},
		{"a domain that ends alike", "anna.berg", Occurrence{at, "hate", "notextremism.example"}, false},
		{"another category", "anna.berg", Occurrence{at, "pornography", "x.example"}, false},
		{"another person", "bo.ek", Occurrence{at, "gambling", "casino.example"}, false},
		{"nobody", "", Occurrence{at, "gambling", "casino.example"}, false},
		{"the day before", "anna.berg", Occurrence{at.Add(-24 * time.Hour), "gambling", "casino.example"}, false},
		{"the last day", "anna.berg", Occurrence{at.Add(10 * 24 * time.Hour), "gambling", "casino.example"}, true},
		{"after it", "anna.berg", Occurrence{at.Add(11 * 24 * time.Hour), "gambling", "casino.example"}, false},
		{"the same day, before it was on record", "anna.berg", Occurrence{k.now.Add(-time.Hour), "gambling", "casino.example"}, false},
	} {
		if got := p.Explained(c.subject, c.o); got != c.explained {
			t.Errorf("%s: explained is %t", c.name, got)
		}
	}
	late := p.Explain("anna.berg", Occurrence{k.now.Add(-time.Hour), "gambling", "casino.example"})
	if len(late) != 1 || late[0].Prior || !strings.Contains(late[0].Text.Swedish, "i efterhand") {
		t.Errorf("a permission that came afterwards: %+v", late)
	}
	explain := p.beside(k.Decision)
	e := &vault.Event{Time: at.UnixMilli(), Person: []byte("anna.berg"), Category: []byte("gambling"), Domain: []byte("casino.example")}
	if text := explain(e); !strings.Contains(text, "socialnämnden") {
		t.Errorf("beside the row stands %q", text)
	}
	e.Person = []byte("bo.ek")
	if text := explain(e); text != "" {
		t.Errorf("beside another's row stands %q", text)
	}

	k.now = k.now.Add(2 * time.Hour)
	get(k.gate.RevokePermission(t.Context(), get(SignByManager(&PermissionRevocation{
		Type: typePermissionRevocation, Deployment: deployment, Tenant: tenant, Permission: digest, Reason: "Uppdraget är slut.", Actor: "manager-2",
		Register: k.current(), At: k.now, Nonce: NewNonce(),
	}, k.signer("manager-2")))))
	p = get(k.gate.Permissions(t.Context(), tenant))
	if !p.Explained("anna.berg", Occurrence{at, "gambling", ""}) || p.Explained("anna.berg", Occurrence{k.now.Add(time.Minute), "gambling", ""}) {
		t.Error("a revocation counts from when it is on record, and not before")
	}
}

func TestAccidentReportExplainsItsTime(t *testing.T) {
	k := openDesk(t, nil)
	get(k.gate.ReportAccident(t.Context(), get(SignByManager(k.accident(nil), k.signer("manager-1")))))
	p := get(k.gate.Permissions(t.Context(), tenant))
	at := k.now.Add(-90 * time.Minute)
	for _, c := range []struct {
		name      string
		subject   string
		o         Occurrence
		explained bool
	}{
		{"then", "anna.berg", Occurrence{at, "pornography", "x.example"}, true},
		{"another category", "anna.berg", Occurrence{at, "gambling", "x.example"}, false},
		{"before", "anna.berg", Occurrence{at.Add(-time.Hour), "pornography", "x.example"}, false},
		{"after", "anna.berg", Occurrence{at.Add(time.Hour), "pornography", "x.example"}, false},
		{"another person", "bo.ek", Occurrence{at, "pornography", "x.example"}, false},
	} {
		if got := p.Explained(c.subject, c.o); got != c.explained {
			t.Errorf("%s: explained is %t", c.name, got)
		}
	}
	x := p.Explain("anna.berg", Occurrence{at, "pornography", ""})
	if len(x) != 1 || !x[0].Accident || !strings.Contains(x[0].Text.Swedish, "Berättade själv") {
		t.Errorf("%+v", x)
	}
}

func TestPermissionRefused(t *testing.T) {
	k := openDesk(t, nil)
	grant := func(change func(*Permission), signer string) error {
		p := k.permission(change)
		text, err := seal.Canonical(p)
		if err != nil {
			return err
		}
		_, err = k.gate.GrantPermission(t.Context(), get(seal.Sign(text, k.signer(signer))))
		return err
	}
	for name, change := range map[string]func(*Permission){
		"for everything":         func(p *Permission) { p.Categories, p.Domains = []string{}, []string{} },
		"for all":                func(p *Permission) { p.Categories = []string{AllCategories} },
		"for a wildcard":         func(p *Permission) { p.Domains = []string{"*.example"} },
		"for a top-level domain": func(p *Permission) { p.Domains = []string{"se"} },
		"for everybody":          func(p *Permission) { p.Subject = "*" },
		"without a reason":       func(p *Permission) { p.Reason = "" },
		"without a manager":      func(p *Permission) { p.Manager = "" },
		"afterwards":             func(p *Permission) { p.From, p.To = "2026-11-01", "2026-11-21" },
		"for two years":          func(p *Permission) { p.To = "2028-11-22" },
		"of the past":            func(p *Permission) { p.At = p.At.Add(-time.Hour) },
		"of the future":          func(p *Permission) { p.At = p.At.Add(time.Hour) },
		"of another tenant":      func(p *Permission) { p.Tenant = "soderbo" },
		"of no register":         func(p *Permission) { p.Register = RegisterDigest{} },
		"of another register":    func(p *Permission) { p.Register.Digest = seal.DigestOf(nil) },
		"for guests":             func(p *Permission) { p.Population = "guest" },
		"about the signer":       func(p *Permission) { p.Subject = "manager-1@norrbo.example" },
		"with a hidden letter":   func(p *Permission) { p.Reason = "a\u202eb" },
	} {
		if grant(change, "manager-1") == nil {
			t.Errorf("a permission %s was granted", name)
		}
	}
	for _, id := range []string{"hr-1", "security-1", "utredare", "anna.berg"} {
		if grant(func(p *Permission) { p.Actor = id }, id) == nil {
			t.Errorf("%s, who is no manager, granted a permission", id)
		}
	}
	if grant(nil, "manager-2") == nil {
		t.Error("a permission was granted with another's key")
	}
	for name, change := range map[string]func(*AccidentReport){
		"of two days":          func(r *AccidentReport) { r.From = r.From.Add(-48 * time.Hour) },
		"told before":          func(r *AccidentReport) { r.ToldAt = r.From.Add(-time.Hour) },
		"without words":        func(r *AccidentReport) { r.Told = "" },
		"backwards":            func(r *AccidentReport) { r.From, r.To = r.To, r.From },
		"about the signer":     func(r *AccidentReport) { r.Subject = "manager-1" },
		"told after it is now": func(r *AccidentReport) { r.ToldAt = r.At.Add(time.Minute) },
	} {
		text := get(seal.Canonical(k.accident(change)))
		if _, err := k.gate.ReportAccident(t.Context(), get(seal.Sign(text, k.signer("manager-1")))); err == nil {
			t.Errorf("a report %s was filed", name)
		}
	}
	for _, bad := range [][]byte{nil, []byte("x"), []byte("{}\n\n\u2014 a b\n"), get(seal.Sign([]byte("{\"tenant\":7}\n"), k.signer("manager-1")))} {
		if _, err := k.gate.GrantPermission(t.Context(), bad); err == nil {
			t.Errorf("%q was granted", bad)
		}
	}
	if p := get(k.gate.Permissions(t.Context(), tenant)); len(p.Granted)+len(p.Reported) != 0 {
		t.Errorf("%+v", p)
	}
}

// Somebody with the gate's recipient can put files into the store: they are signed by nobody, or not on record.
func TestPermissionThatIsNotOnRecordExplainsNothing(t *testing.T) {
	k := openDesk(t, nil)
	signed := get(SignByManager(k.permission(nil), k.signer("manager-1")))
	if err := k.gate.store.Put(permissionsOf(tenant), "permission-0123", signed); err != nil {
		t.Fatal(err)
	}
	if p := get(k.gate.Permissions(t.Context(), tenant)); p.Explained("anna.berg", Occurrence{k.now.Add(time.Hour), "gambling", ""}) {
		t.Error("it explains")
	}
	if err := k.gate.store.Put(permissionsOf(tenant), "permission-4567", []byte("not a document")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.gate.Permissions(t.Context(), tenant); err == nil {
		t.Error("a file that is no document was passed over in silence")
	}
}

func TestPermissionIsRemovedWhenItExplainsNothing(t *testing.T) {
	k := openDesk(t, func(d *Decision) { d.Case = "KS 1" })
	digest := get(k.gate.GrantPermission(t.Context(), get(SignByManager(k.permission(nil), k.signer("manager-1")))))
	get(k.gate.GrantPermission(t.Context(), get(SignByManager(k.permission(func(p *Permission) { p.Subject = "bo.ek" }), k.signer("manager-1")))))
	get(k.gate.ReportAccident(t.Context(), get(SignByManager(k.accident(func(r *AccidentReport) { r.Subject = "bo.ek" }), k.signer("manager-1")))))
	get(k.gate.RevokePermission(t.Context(), get(SignByManager(&PermissionRevocation{
		Type: typePermissionRevocation, Deployment: deployment, Tenant: tenant, Permission: digest, Reason: "Slut.", Actor: "manager-1", Register: k.current(), At: k.now, Nonce: NewNonce(),
	}, k.signer("manager-1")))))
	if n := get(k.gate.RemovePermissions(t.Context(), tenant)); n != 0 {
		t.Errorf("%d were removed before their time", n)
	}
	k.now = k.now.Add(120 * 24 * time.Hour)
	if n := get(k.gate.RemovePermissions(t.Context(), tenant)); n != 2 {
		t.Errorf("%d were removed; those of bo.ek are 2", n)
	}
	if p := get(k.gate.Permissions(t.Context(), tenant)); len(p.Granted) != 1 || p.Granted[0].Subject != "anna.berg" {
		t.Errorf("what an open case may need is gone: %+v", p)
	}
	k.close()
	if n := get(k.gate.RemovePermissions(t.Context(), tenant)); n != 1 {
		t.Errorf("%d were removed after the case", n)
	}
	if names := get(k.gate.store.Names(permissionsOf(tenant))); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

func TestPermissionPutsNoNameInClearInStoreOrRecord(t *testing.T) {
	k := openDesk(t, nil)
	get(k.gate.GrantPermission(t.Context(), get(SignByManager(k.permission(nil), k.signer("manager-1")))))
	get(k.gate.ReportAccident(t.Context(), get(SignByManager(k.accident(nil), k.signer("manager-1")))))
	err := filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text := get(os.ReadFile(path))
		for _, name := range []string{"anna.berg", "Karin Ek", "spelberoende", "Klickade", "extremism.example", "gambling"} {
			if bytes.Contains(text, []byte(name)) {
				t.Errorf("%s holds %q", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := get(k.log.Entries(t.Context()))
	if all[len(all)-1].Kind != audit.AccidentReported || all[len(all)-1].Body != "" {
		t.Errorf("%+v", all[len(all)-1])
	}
}
