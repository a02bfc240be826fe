package casework

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

func (h *house) requestRecords(desk *RecordsDesk, change func(*RecordsRequest)) Records {
	h.t.Helper()
	r, err := desk.Request(h.t.Context(), get(SignRecordsRequest(recordsRequest(h.town, h.now(), change), h.signer("registrator"))))
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func everybody(r *RecordsRequest) {
	r.Case, r.Scope.Subject, r.Scope.Names = "KS 2026/501", "", []string{}
}

// dies runs do and has it die at a step, as by a kill: nothing after it runs that the next process would not see.
func (h *house) dies(at string, do func()) {
	h.t.Helper()
	defer func() {
		h.gate.step = func(string) {}
		if why := recover(); why != "killed" {
			h.t.Fatalf("it did not die at %q: %v", at, why)
		}
	}()
	h.gate.step = func(step string) {
		if step == at {
			panic("killed")
		}
	}
	do()
}

// publicRecord is an active decision under which reader may preview.
func (h *house) publicRecord(number, reader string, change func(*Decision)) *Decision {
	h.t.Helper()
	return h.active(func(d *Decision) {
		d.Kind, d.Case, d.Suspicion, d.LessIntrusive, d.Union = PublicRecord, number, "", "", ""
		d.Scope.From, d.Scope.To, d.Scope.Protected = "2026-11-17", "2026-11-18", "Sekretessprövningen måste se alla rader."
		d.Investigators = []Signatory{h.person(reader)}
		if change != nil {
			change(d)
		}
	})
}

// Nobody holds anything by a key that the register does not know: a stranger's, a known id's with another key, or that of a member
// who has left.
func TestOnlyAnEnrolledRegistrarHolds(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk := h.desk()
	stranger := get(seal.NewSigner("frammande"))
	other := get(seal.NewSigner("registrator"))
	for name, who := range map[string]*seal.Signer{"a stranger": stranger, "a known id with another key": other} {
		r := recordsRequest(h.town, h.now(), everybody)
		r.Registrar = Signatory{who.Name(), who.Verifier()}
		if _, err := desk.Request(t.Context(), get(SignRecordsRequest(r, who))); !errors.Is(err, ErrNotEnrolled) {
			t.Errorf("%s asked for everybody's: %v", name, err)
		}
	}
	if h.count(audit.HoldPlaced)+h.count(audit.RecordsRequested) > 0 || len(get(h.gate.store.requests())) > 0 {
		t.Error("what was refused is on record, or in the store")
	}
	r := h.requestRecords(desk, nil)
	h.leave("registrator")
	h.register("manager-1", "hr-1", "security-1")
	get(h.log.Append(t.Context(), audit.Entry{Kind: audit.RegisterChanged, Actor: "tillsyn", Body: string(h.town.notes[1])}))
	if _, err := desk.Decide(t.Context(), r.Request.Case, OutcomeNothing, "", nil, h.signer("registrator")); !errors.Is(err, ErrRefused) {
		t.Errorf("a registrar who has left decided: %v", err)
	}
	if _, err := desk.Request(t.Context(), get(SignRecordsRequest(recordsRequest(h.town, h.now(), everybody), h.signer("registrator")))); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("a registrar who has left asked: %v", err)
	}
	// A holder takes over.
	if _, err := desk.Decide(t.Context(), r.Request.Case, OutcomeRefused, "Registratorn har slutat.", []string{"OSL 18 kap. 8 §"}, h.signer("hr-2")); err != nil {
		t.Fatal(err)
	}
	if err := desk.Close(t.Context(), r.Request.Case, true, h.signer("security-1")); err != nil {
		t.Fatal(err)
	}
	if list := h.inForce(); len(list) > 0 || h.count(audit.RecordsClosed) != 1 {
		t.Errorf("closed by who took over, in force: %v", list)
	}
	if s := get(desk.Status(t.Context(), r.Request.Case)); !s.Closed || s.Decision.Actor != "hr-2" {
		t.Errorf("%+v", s)
	}
}

// A request for everybody's, or a unit's, holds for some days by one signature; longer only by a second, of manager or security.
func TestAWideHoldNeedsASecondSignature(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx := h.desk(), t.Context()
	one := h.requestRecords(desk, nil)
	all := h.requestRecords(desk, everybody)
	unit := h.requestRecords(desk, func(r *RecordsRequest) {
		r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Unit = "KS 2026/502", "", []string{}, "Hamn"
	})
	if len(h.inForce()) != 3 || !one.ConfirmBy().IsZero() || all.ConfirmBy() != all.Requested.Add(ConfirmIn) {
		t.Fatal(h.inForce(), all.ConfirmBy())
	}
	for _, id := range []string{"registrator", "hr-1", "chef", "utredare"} {
		if err := desk.Confirm(ctx, all.Request.Case, h.signer(id)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s put the second signature: %v", id, err)
		}
	}
	if err := desk.Confirm(ctx, all.Request.Case, get(seal.NewSigner("security-1"))); !errors.Is(err, ErrRefused) {
		t.Errorf("a stranger put the second signature: %v", err)
	}
	if desk.Confirm(ctx, one.Request.Case, h.signer("security-1")) == nil {
		t.Error("a request about one person was confirmed")
	}
	for range 2 {
		if err := desk.Confirm(ctx, all.Request.Case, h.signer("security-1")); err != nil {
			t.Fatal(err)
		}
	}
	if h.count(audit.RecordsConfirmed) != 1 || h.count(audit.HoldPlaced) != 3 {
		t.Error("twice is not once")
	}
	settle := func(want int) {
		t.Helper()
		if _, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || released != want {
			t.Errorf("%d were released, want %d: %v", released, want, err)
		}
	}
	h.pass(ConfirmIn - time.Hour)
	get(h.log.Append(ctx, audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}))
	settle(0)
	h.pass(2 * time.Hour)
	settle(0) // the record has not seen the time
	get(h.log.Append(ctx, audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}))
	settle(1)
	if got := h.inForce(); !slices.Equal(got, []string{one.Digest.String(), all.Digest.String()}) {
		t.Errorf("in force: %v", got)
	}
	settle(0)
	// Late is better than never: what is left is held again.
	if err := desk.Confirm(ctx, unit.Request.Case, h.signer("manager-2")); err != nil || len(h.inForce()) != 3 {
		t.Error(err, h.inForce())
	}
	if s := get(desk.Status(ctx, all.Request.Case)); !s.Overdue(h.now(), 24*time.Hour) || s.Overdue(h.now(), 30*24*time.Hour) {
		t.Error("overdue is not told right")
	}
	h.pass(24 * 24 * time.Hour)
	if s := get(desk.Status(ctx, all.Request.Case)); !s.Overdue(h.now(), 30*24*time.Hour) {
		t.Error("31 days old, and not overdue")
	}
}

// A closing that nobody who may has signed, or that is not on record, ends nothing.
func TestAForgedClosingReleasesNothing(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx := h.desk(), t.Context()
	r := h.requestRecords(desk, nil)
	closing := func(by *seal.Signer, request seal.Digest) []byte {
		return get(seal.Sign(get(seal.Canonical(RecordsAct{Type: typeRecordsClosing, Case: r.Request.Case, Request: request, Waived: true, Actor: by.Name(), At: h.now(), Nonce: NewNonce()})), by))
	}
	for name, text := range map[string][]byte{
		"nothing": []byte("{}"), "a stranger's": closing(get(seal.NewSigner("hr-1")), r.Digest), "a member's without a role": closing(h.signer("utredare"), r.Digest),
		"of another request": closing(h.signer("hr-1"), seal.DigestOf([]byte("x"))),
	} {
		if err := h.gate.Store().Put(r.Request.Case, recordsClosedFile, text); err != nil {
			t.Fatal(err)
		}
		if _, err := desk.Status(ctx, r.Request.Case); !errors.Is(err, ErrStore) {
			t.Errorf("%s: %v", name, err)
		}
		if _, released, err := h.gate.SettleHolds(ctx, h.holds()); !errors.Is(err, ErrStore) || released > 0 || len(h.inForce()) != 1 {
			t.Errorf("%s: %d released, %v", name, released, err)
		}
		if err := h.unlink(r.Request.Case, recordsClosedFile); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.gate.Store().Put(r.Request.Case, recordsClosedFile, closing(h.signer("hr-1"), r.Digest)); err != nil {
		t.Fatal(err)
	}
	if _, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || released > 0 || get(desk.Status(ctx, r.Request.Case)).Closed {
		t.Errorf("in the store only: %d released, %v", released, err)
	}
	if _, err := desk.ReleaseHold(ctx, r.Request.Case, h.signer("hr-1")); !errors.Is(err, ErrNoHold) {
		t.Errorf("released by hand: %v", err)
	}
}

// Previewed rows open for whoever previewed them, and for nobody who has the gate's keys; they go with the decision, too.
func TestPreviewedRowsAreTheReadersAlone(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	r := h.requestRecords(desk, nil)
	number := r.Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", func(d *Decision) { d.Lookups = 5 })
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	stored := func() (n int) {
		for _, name := range get(h.gate.store.Names(number)) {
			if !strings.HasPrefix(name, recordsRowsFile) {
				continue
			}
			n++
			text := get(h.gate.store.Get(number, name)) // by the gate's own identity
			for _, word := range []string{"anna", "gambling", "@timestamp", "norrbo.se"} {
				if bytes.Contains(text, []byte(word)) {
					t.Errorf("the gate's identity opens %q", word)
				}
			}
		}
		return n
	}
	if stored() != 1 {
		t.Fatal("no rows are stored")
	}
	for name, identities := range map[string][]age.Identity{"nobody": nil, "the gate": {h.identity}, "another": {h.ages["hr-1"]}} {
		desk.Identities = identities
		if rows, _, err := desk.Rows(ctx, number, me); !errors.Is(err, ErrNotReader) || len(rows) > 0 {
			t.Errorf("%s read %d rows: %v", name, len(rows), err)
		}
	}
	desk.Identities = []age.Identity{h.ages["registrator"]}
	rows, _, err := desk.Rows(ctx, number, me)
	if err != nil || !slices.Equal(linesOf(rows), h.db.wanted(d.Scope)) {
		t.Fatal(len(rows), err)
	}
	if err := desk.Mark(ctx, number, Marks{{Row: 1, Fields: []string{}, Law: "OSL 18 kap. 8 §"}}, me); err != nil {
		t.Fatal(err)
	}
	// A holder takes over: refuses unseen, or previews anew.
	if _, err := desk.Decide(ctx, number, OutcomeNothing, "", nil, h.signer("hr-1")); err == nil {
		t.Error("who can't see the rows said that there are none")
	}
	for _, state := range []func(){
		func() { // revoked
			if _, err := h.act(ActRevocation, d, "registrator", func(a *Act) { a.Reason = "klart" }); err != nil {
				t.Fatal(err)
			}
		},
		func() { // expired
			d = h.publicRecord("KS 2026/500-2", "registrator", func(d *Decision) { d.ExecuteBy = d.Requested.Add(2 * time.Hour) })
			if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
				t.Fatal(err)
			}
			if _, err := h.gate.Recover(ctx); err != nil || stored() != 1 {
				t.Error("rows of a decision that lives are gone", err)
			}
			h.pass(3 * time.Hour)
			get(h.log.Append(ctx, audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}))
		},
	} {
		state()
		if _, err := h.gate.Recover(ctx); err != nil {
			t.Error(err)
		}
		if n := stored(); n != 0 {
			t.Errorf("%d previews outlive their decision", n)
		}
		if names := get(h.gate.store.Names(number)); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, recordsMarksFile) }) {
			t.Error("marks of rows that are gone are left")
		}
	}
	if s := get(desk.Status(ctx, number)); s.State() != "requested" {
		t.Error(s.State())
	}
	// Another reader's rows take the place of the first one's.
	d = h.publicRecord("KS 2026/500-3", "registrator", nil)
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Decide(ctx, number, OutcomeRefused, "Allt är hemligt.", []string{"OSL 18 kap. 8 §"}, h.signer("hr-1")); err != nil {
		t.Error("who took over could not refuse:", err)
	}
}

// An export of records is known, leaves nothing behind when it dies, does not stand in its own way, and goes with its request.
func TestRecordsExportIsKnownAndGoes(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	r := h.requestRecords(desk, nil)
	number := r.Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", nil)
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Decide(ctx, number, OutcomePartly, "Vissa uppgifter är hemliga.", nil, me); err != nil {
		t.Fatal(err)
	}
	folder := h.path("out")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	here := func() []string {
		var names []string
		for _, f := range get(os.ReadDir(folder)) {
			names = append(names, f.Name())
		}
		return names
	}
	for _, at := range []string{"records export known", "records export half written", "records export written"} {
		h.dies(at, func() { _, _ = desk.Export(ctx, number, folder, me) })
		known := map[string]bool{}
		for _, e := range get(h.gate.Exports(number)) {
			known[filepath.Base(e.Path)], known[partialName(filepath.Base(e.Path))] = true, true
		}
		for _, name := range here() {
			if !known[name] {
				t.Errorf("killed at %q, nobody knows of %s", at, name)
			}
		}
		names, err := desk.Export(ctx, number, folder, me)
		if err != nil || len(names) != 3 {
			t.Fatalf("again after %q: %v, %v", at, names, err)
		}
		for _, name := range here() {
			if strings.HasSuffix(name, ".partial") {
				t.Errorf("after %q %s is left", at, name)
			}
		}
	}
	if list := get(h.gate.Exports(number)); len(list) != 9 || slices.ContainsFunc(list, func(e Export) bool { return e.Archive.IsZero() }) {
		t.Errorf("%d exports are known", len(list))
	}
	if removed, err := h.gate.RemoveExports(ctx, 0); err != nil || len(removed) > 0 {
		t.Errorf("before it is closed %d were removed: %v", len(removed), err)
	}
	if err := desk.Close(ctx, number, true, me); err != nil {
		t.Fatal(err)
	}
	if removed, err := h.gate.RemoveExports(ctx, time.Hour); err != nil || len(removed) > 0 {
		t.Errorf("too early %d were removed: %v", len(removed), err)
	}
	h.pass(2 * time.Hour)
	removed, err := h.gate.RemoveExports(ctx, time.Hour)
	if err != nil || len(removed) != 9 || slices.ContainsFunc(removed, func(e ExportRemoval) bool { return e.Outcome != ExportRemoved }) || len(here()) > 0 {
		t.Errorf("%d were removed, %v is left: %v", len(removed), here(), err)
	}
	if h.count(audit.ExportRemoved) != 9+3 { // and what three that died had left
		t.Error("the record was not told")
	}
}

// A closing that was interrupted at any step is finished by whoever closes next, or by the purge.
func TestKilledClosingIsFinished(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	for i, at := range []string{"records act filed", "records closed", "records rows removed"} {
		r := h.requestRecords(desk, func(r *RecordsRequest) { r.Case = "KS 9/" + string(rune('1'+i)) })
		if _, err := desk.Decide(ctx, r.Request.Case, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, me); err != nil {
			t.Fatal(err)
		}
		h.dies(at, func() { _ = desk.Close(ctx, r.Request.Case, true, me) })
		if len(h.inForce()) != 1 {
			t.Errorf("killed at %q: %v", at, h.inForce())
		}
		if i > 0 { // it is on record
			if _, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || released != 1 {
				t.Errorf("killed at %q, the purge released %d: %v", at, released, err)
			}
		}
		if err := desk.Close(ctx, r.Request.Case, true, me); err != nil || len(h.inForce()) > 0 {
			t.Errorf("killed at %q, closed again: %v", at, err)
		}
	}
	if h.count(audit.RecordsClosed) != 3 || h.count(audit.HoldReleased) != 3 {
		t.Error(h.count(audit.RecordsClosed), h.count(audit.HoldReleased))
	}
}

// A decision that waits for approvals holds nothing, so that nobody learns from a hold whether there is anything; one that was
// approved keeps its hold, although somebody removes an approval from the store.
func TestAPendingDecisionHoldsNothing(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	ctx := t.Context()
	pending := h.request(func(d *Decision) { d.Case = "HR 1" })
	if _, _, err := h.gate.PlaceHold(ctx, pending.Case, h.signer("chef"), h.holds()); !errors.Is(err, ErrNoHold) {
		t.Errorf("a pending decision holds something: %v", err)
	}
	kept := h.active(func(d *Decision) { d.Case = "HR 2" })
	for _, want := range []int{1, 0} {
		if placed, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || placed != want || released != 0 {
			t.Errorf("placed %d, released %d: %v", placed, released, err)
		}
	}
	for _, act := range get(h.gate.store.Case(kept.Case)).Acts {
		if a := get(ReadAct(act)); a.Actor == "hr-1" {
			if err := h.unlink(kept.Case, actFile(act)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.pass(8 * 24 * time.Hour) // after approve_by
	get(h.log.Append(ctx, audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}))
	if _, released, err := h.gate.SettleHolds(ctx, h.holds()); err != nil || released != 0 {
		t.Errorf("released %d: %v", released, err)
	}
	if got := h.inForce(); !slices.Equal(got, []string{digestOf(kept).String()}) {
		t.Errorf("in force: %v", got)
	}
	if _, err := h.gate.ReleaseHolds(ctx, kept.Case, h.signer("chef"), h.holds()); !errors.Is(err, ErrNoHold) {
		t.Errorf("released by hand: %v", err)
	}
}

// What is marked stays with its row, whatever comes and goes beside it, and is gone with its preview; a number that was read before
// the rows changed marks and lifts nothing.
func TestAMarkStaysWithItsRow(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	number := h.requestRecords(desk, nil).Request.Case
	on := func(number, day string) *Decision {
		return h.publicRecord(number, "registrator", func(d *Decision) { d.Scope.From, d.Scope.To, d.Lookups = day, day, 5 })
	}
	preview := func(d *Decision) {
		t.Helper()
		if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() []Row {
		t.Helper()
		rows, _, err := desk.Rows(ctx, number, me)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	files := func(prefix string) []string {
		return slices.DeleteFunc(get(h.gate.store.Names(number)), func(n string) bool { return !strings.HasPrefix(n, prefix) })
	}
	end := func(d *Decision) {
		t.Helper()
		if _, err := h.act(ActRevocation, d, "registrator", func(a *Act) { a.Reason = "klart" }); err != nil {
			t.Fatal(err)
		}
		if _, err := h.gate.Recover(ctx); err != nil {
			t.Fatal(err)
		}
	}
	first, second := on("KS 2026/500-1", "2026-11-17"), on("KS 2026/500-2", "2026-11-18")
	preview(first)
	preview(first)
	preview(second)
	before := len(rows())
	target := slices.IndexFunc(rows(), func(r Row) bool { return r.Get("url.path") == "/anna.berg/2026-11-18/3" })
	mark := func(row int, law string) error {
		return desk.Mark(ctx, number, Marks{{Row: row + 1, Fields: []string{}, Law: law}}, me)
	}
	end(first)
	if err := mark(target, "OSL 18 kap. 8 §"); err == nil {
		t.Error("a number of rows that are gone was taken")
	}
	if n := len(rows()); n == 0 || n >= before {
		t.Fatalf("%d rows of %d are left", n, before)
	}
	target = slices.IndexFunc(rows(), func(r Row) bool { return r.Get("url.path") == "/anna.berg/2026-11-18/3" })
	marked := string(rows()[target].AppendJSON(nil))
	if err := mark(target, "OSL 18 kap. 8 §"); err != nil {
		t.Fatal(err)
	}
	names := files(recordsRowsFile)
	third := on("KS 2026/500-3", "2026-11-17")
	preview(third)
	if after := files(recordsRowsFile); len(after) != 2 || after[0] != names[0] {
		t.Errorf("a new preview stands before an old one, or in its place: %v, %v", names, after)
	}
	if err := mark(0, ""); err == nil {
		t.Error("a number was taken that nobody was shown")
	}
	secret := func() (secret []string) {
		rows, marks, err := desk.Rows(ctx, number, me)
		if err != nil {
			t.Fatal(err)
		}
		found := get(desk.Config.Disclose(rows, marks, desk.Mask))
		for i, r := range found.Sheet.Rows {
			if r[len(r)-1] == "OSL 18 kap. 8 §" {
				secret = append(secret, string(rows[i].AppendJSON(nil)))
			}
		}
		return secret
	}
	if got := secret(); !slices.Equal(got, []string{marked}) {
		t.Errorf("secret is %v, want %s", got, marked)
	}
	all := rows()
	if err := mark(len(all)-1, "OSL 18 kap. 8 §"); err != nil { // of the third
		t.Fatal(err)
	}
	if got := secret(); len(got) != 2 {
		t.Errorf("%d rows are secret", len(got))
	}
	if err := mark(target, ""); err != nil { // lifted
		t.Fatal(err)
	}
	if got := secret(); !slices.Equal(got, []string{string(all[len(all)-1].AppendJSON(nil))}) {
		t.Errorf("after the lift secret is %v", got)
	}
	end(third)
	if got := secret(); len(got) > 0 || len(files(recordsMarksFile)) != 2 {
		t.Errorf("marks outlive their rows: %v, %v", got, files(recordsMarksFile))
	}
	preview(on("KS 2026/500-4", "2026-11-17"))
	if got := secret(); len(got) > 0 {
		t.Errorf("marks of rows that are gone came back: %v", got)
	}
	if after := files(recordsRowsFile); after[0] != names[0] || slices.Contains(names, after[1]) {
		t.Errorf("the name of a preview was used again: %v", after)
	}
}

func (h *house) folder(name string) string {
	h.t.Helper()
	folder := h.path(name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		h.t.Fatal(err)
	}
	return folder
}

// What was refused has its letter, whoever refused it: the registrar, or one who took over and saw nothing of it.
func TestARefusalHasItsLetterAfterATakeover(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me, successor := h.desk(), t.Context(), h.signer("registrator"), h.signer("hr-1")
	own, other := []age.Identity{h.ages["registrator"]}, []age.Identity{h.ages["hr-1"]}
	number := h.requestRecords(desk, nil).Request.Case
	if _, err := desk.Preview(ctx, number, h.publicRecord("KS 2026/500-1", "registrator", nil).Case, me); err != nil {
		t.Fatal(err)
	}
	desk.Identities = other
	if _, err := desk.Decide(ctx, number, OutcomePartly, "Allt.", nil, successor); !errors.Is(err, ErrNotReader) || !strings.Contains(err.Error(), "preview again") {
		t.Errorf("who saw nothing disclosed a part: %v", err)
	}
	if _, err := desk.Decide(ctx, number, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, successor); err != nil {
		t.Fatal(err)
	}
	for name, who := range map[string]struct {
		identities []age.Identity
		signer     *seal.Signer
	}{"successor": {other, successor}, "registrar": {own, me}, "deputy": {nil, h.signer("manager-2")}} {
		desk.Identities = who.identities
		folder := h.folder(name)
		names, err := desk.Export(ctx, number, folder, who.signer)
		if err != nil || len(names) != 1 {
			t.Errorf("%s exports %v: %v", name, names, err)
			continue
		}
		if letter := get(os.ReadFile(filepath.Join(folder, names[0]))); !bytes.Contains(letter, []byte("Så här överklagar du")) || !bytes.Contains(letter, []byte("OSL 18 kap. 8 §")) {
			t.Errorf("the letter of %s lacks how to appeal, or the law", name)
		}
	}

	// Where rows leave, whoever looked at them exports them, and others are told what to do.
	second := h.requestRecords(desk, func(r *RecordsRequest) { r.Case = "KS 2026/501" }).Request.Case
	desk.Identities = own
	if _, err := desk.Preview(ctx, second, h.publicRecord("KS 2026/501-1", "registrator", nil).Case, me); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Decide(ctx, second, OutcomePartly, "En del.", nil, me); err != nil {
		t.Fatal(err)
	}
	desk.Identities = other
	folder := h.folder("rows")
	if _, err := desk.Export(ctx, second, folder, successor); !errors.Is(err, ErrNotReader) || !strings.Contains(err.Error(), "under a new number") || strings.Contains(err.Error(), "registrator") {
		t.Errorf("a successor exports rows of another reader: %v", err)
	}
	if len(get(os.ReadDir(folder))) > 0 {
		t.Error("what could not be exported left something")
	}
	desk.Identities = own
	if names, err := desk.Export(ctx, second, folder, me); err != nil || len(names) != 3 {
		t.Error(names, err)
	}
}

// Once it is decided, the answer can be written, and written again, until the request is closed, also when the decision that its
// rows were looked up under has ended or expired; then the rows go.
func TestTheAnswerOutlivesTheDecisionItWasLookedUpUnder(t *testing.T) {
	db := newDatabase(t)
	for _, outcome := range []string{OutcomePartly, OutcomeRefused} {
		for name, end := range map[string]func(*house, *Decision){
			"closed": func(h *house, d *Decision) {
				if _, err := h.act(ActClosing, d, "registrator", func(a *Act) { a.Result = "klart" }); err != nil {
					t.Fatal(err)
				}
			},
			"expired": func(h *house, d *Decision) {
				h.pass(15 * 24 * time.Hour)
				get(h.log.Append(t.Context(), audit.Entry{Kind: audit.AccessRefused, Actor: "gate"}))
			},
		} {
			h := newHouse(t, db)
			desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
			number := h.requestRecords(desk, nil).Request.Case
			d := h.publicRecord("KS 2026/500-1", "registrator", nil)
			if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
				t.Fatal(err)
			}
			if _, err := desk.Decide(ctx, number, outcome, "Allt.", []string{"OSL 18 kap. 8 §"}, me); err != nil {
				t.Fatal(err)
			}
			end(h, d)
			if _, err := h.gate.Recover(ctx); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{OutcomePartly: 3, OutcomeRefused: 1}[outcome]
			if names, err := desk.Export(ctx, number, h.folder("out"), me); err != nil || len(names) != want {
				t.Errorf("%s, the decision %s: %v, %v", outcome, name, names, err)
			}
			// A closing that died before the rows were removed is finished by what tidies up.
			h.dies("records closed", func() { _ = desk.Close(ctx, number, true, me) })
			if _, err := h.gate.Recover(ctx); err != nil {
				t.Fatal(err)
			}
			if s := get(desk.Status(ctx, number)); !s.Closed || s.Previews != 0 {
				t.Errorf("%s, the decision %s: closed, and %d previews are left", outcome, name, s.Previews)
			}
		}
	}
}

// A preview whose lookup still ran while somebody decided is not kept: what was decided on can be exported.
func TestAPreviewAfterTheDecisionIsNotKept(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	number := h.requestRecords(desk, nil).Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", func(d *Decision) { d.Lookups = 5 })
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	h.gate.step = func(s string) {
		if s == "rows read" {
			if _, err := desk.Decide(ctx, number, OutcomePartly, "En del.", nil, me); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := desk.Preview(ctx, number, d.Case, me); err == nil || !strings.Contains(err.Error(), "decided") {
		t.Errorf("a preview of what is decided on: %v", err)
	}
	h.gate.step = func(string) {}
	if s := get(desk.Status(ctx, number)); s.State() != "decided" || s.Previews != 1 {
		t.Errorf("%s, %d previews", s.State(), s.Previews)
	}
	if names, err := desk.Export(ctx, number, h.folder("out"), me); err != nil || len(names) != 3 {
		t.Error(names, err)
	}
}

// A decision that a kill kept out of the record decides nothing: what is asked for next counts, with the marks of then, and by
// whoever asks for it.
func TestAKilledDecisionDecidesNothing(t *testing.T) {
	db := newDatabase(t)
	for name, next := range map[string]struct {
		who, outcome, reasons string
		laws                  []string
		mark, left            bool
		files                 int
	}{
		"the same":                 {"registrator", OutcomePartly, "x", nil, false, false, 3},
		"another outcome":          {"registrator", OutcomeRefused, "Allt är hemligt.", []string{"OSL 18 kap. 8 §"}, false, false, 1},
		"other reasons":            {"registrator", OutcomePartly, "y", nil, false, false, 3},
		"more marks":               {"registrator", OutcomePartly, "x", nil, true, false, 3},
		"by another":               {"hr-1", OutcomeRefused, "x", []string{"OSL 18 kap. 8 §"}, false, false, 1},
		"when its author has left": {"hr-1", OutcomeRefused, "x", []string{"OSL 18 kap. 8 §"}, false, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, db)
			desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
			number := h.requestRecords(desk, nil).Request.Case
			if _, err := desk.Preview(ctx, number, h.publicRecord("KS 2026/500-1", "registrator", nil).Case, me); err != nil {
				t.Fatal(err)
			}
			rows, _, err := desk.Rows(ctx, number, me)
			if err != nil {
				t.Fatal(err)
			}
			h.dies("records decision filed", func() { _, _ = desk.Decide(ctx, number, OutcomePartly, "x", nil, me) })
			if _, err := h.gate.store.Get(number, recordsDecisionFile); err != nil || h.count(audit.RecordsDecided) != 0 {
				t.Fatal("it was not killed between file and record:", err)
			}
			if s := get(desk.Status(ctx, number)); s.State() != "previewed" || s.Decision != nil {
				t.Errorf("what is on no record counts: %s, %v", s.State(), s.Decision)
			}
			if next.mark {
				if err := desk.Mark(ctx, number, Marks{{Row: len(rows), Fields: []string{}, Law: "OSL 18 kap. 8 §"}}, me); err != nil {
					t.Fatal(err)
				}
			}
			if next.left {
				registers, notes, members := h.chain, h.town.notes, h.town.text
				t.Cleanup(func() { h.town.chain, h.town.notes, h.town.text = registers, notes, members })
				h.leave("registrator")
				h.changed()
			}
			desk.Identities = []age.Identity{h.ages[next.who]}
			d, err := desk.Decide(ctx, number, next.outcome, next.reasons, next.laws, h.signer(next.who))
			if err != nil || d.Outcome != next.outcome || d.Reasons != next.reasons || d.Actor != next.who {
				t.Fatalf("%+v, %v", d, err)
			}
			if s := get(desk.Status(ctx, number)); s.State() != "decided" || s.Decision.Marks != d.Marks || h.count(audit.RecordsDecided) != 1 {
				t.Errorf("%s, %d on record", s.State(), h.count(audit.RecordsDecided))
			}
			if next.mark && !slices.ContainsFunc(d.Laws, func(l LawUse) bool { return l.Law == "OSL 18 kap. 8 §" && l.Rows == 1 }) {
				t.Errorf("what was marked meanwhile does not count: %v", d.Laws)
			}
			if names, err := desk.Export(ctx, number, h.folder("out"), h.signer(next.who)); err != nil || len(names) != next.files {
				t.Errorf("%v, %v", names, err)
			}
		})
	}
}

// A closing that is in the store and not on record, by one who may close no more, is not what goes on record when another closes.
func TestAnUnrecordedClosingIsNotFinishedForWhoHasLeft(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx := h.desk(), t.Context()
	r := h.requestRecords(desk, nil)
	if _, err := desk.Decide(ctx, r.Request.Case, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, h.signer("registrator")); err != nil {
		t.Fatal(err)
	}
	closing := RecordsAct{Type: typeRecordsClosing, Case: r.Request.Case, Request: r.Digest, Waived: true, Actor: "registrator", At: h.now(), Nonce: NewNonce()}
	if err := h.gate.Store().Put(r.Request.Case, recordsClosedFile, get(seal.Sign(get(seal.Canonical(closing)), h.signer("registrator")))); err != nil {
		t.Fatal(err)
	}
	h.leave("registrator")
	h.changed()
	h.pass(29 * 24 * time.Hour)
	if err := desk.Close(ctx, r.Request.Case, false, h.signer("security-1")); err != nil {
		t.Fatal(err)
	}
	for _, e := range get(h.log.Entries(ctx)) {
		if e.Kind == audit.RecordsClosed && e.Actor != "security-1" {
			t.Errorf("%s closed it, by the record", e.Actor)
		}
	}
	if s := get(desk.Status(ctx, r.Request.Case)); !s.Closed || len(h.inForce()) > 0 {
		t.Error(s.State(), h.inForce())
	}
}

// That there is nothing is answered by who knows it, and the refusal to say so tells nobody whether there is.
func TestNothingIsAnsweredWhenItIsKnown(t *testing.T) {
	db := newDatabase(t)
	h := newHouse(t, db)
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	request := func(number, subject, unit string) string {
		t.Helper()
		return h.requestRecords(desk, func(r *RecordsRequest) {
			r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Unit = number, subject, []string{}, unit
		}).Request.Case
	}
	nothing := func(number string) error {
		_, err := desk.Decide(ctx, number, OutcomeNothing, "", nil, me)
		return err
	}
	there, empty := request("KS 1", "anna.berg", ""), request("KS 2", "finns.inte", "")
	a, b := nothing(there), nothing(empty)
	if !errors.Is(a, ErrUnseen) || b == nil || a.Error() != b.Error() {
		t.Errorf("with rows: %v; without: %v", a, b)
	}
	whole := func(subject string) func(*Decision) {
		return func(d *Decision) {
			d.Scope.Subject, d.Scope.Names, d.Scope.Aliases, d.Scope.From, d.Scope.To = subject, []string{}, []string{}, "2026-11-16", "2026-11-20"
		}
	}
	n := 0
	preview := func(number, subject string, change func(*Decision)) Result {
		t.Helper()
		n++
		d := h.publicRecord("KS 9/"+string(rune('0'+n)), "registrator", func(d *Decision) {
			whole(subject)(d)
			change(d)
		})
		r, err := desk.Preview(ctx, number, d.Case, me)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, change := range map[string]func(*Decision){
		"of some days":              func(d *Decision) { d.Scope.From = "2026-11-17" },
		"of one source":             func(d *Decision) { d.Scope.Sources = []string{Mail} },
		"without what is protected": func(d *Decision) { d.Scope.Protected = "" },
	} {
		if preview(empty, "finns.inte", change); !errors.Is(nothing(empty), ErrUnseen) {
			t.Errorf("a look %s was enough", name)
		}
	}
	if r := preview(empty, "finns.inte", func(*Decision) {}); r.Rows != 0 || nothing(empty) != nil {
		t.Errorf("after a whole look at nothing: %+v", r)
	}
	if preview(there, "anna.berg", func(*Decision) {}); nothing(there) == nil {
		t.Error("there are rows, and it was said that there are none")
	}

	// Of a unit nobody can look: what is held counts.
	if err := nothing(request("KS 3", "", "Hamn")); err == nil || !strings.Contains(err.Error(), "there are rows") {
		t.Errorf("of a unit with rows: %v", err)
	}
	if err := nothing(request("KS 4", "", "Ingenstans")); err != nil {
		t.Errorf("of a unit without rows: %v", err)
	}
	for _, number := range []string{empty, "KS 4"} {
		if names, err := desk.Export(ctx, number, h.folder(strings.ReplaceAll(number, " ", "")), me); err != nil || len(names) != 1 {
			t.Error(names, err)
		}
	}
}

// What was purged before it was asked for is nothing; what a purge removed while it was held is not.
func TestNothingIsLeftOfWhatWasPurged(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	unit := func(number, unit string) string {
		return h.requestRecords(desk, func(r *RecordsRequest) {
			r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Unit = number, "", []string{}, unit
		}).Request.Case
	}
	held := unit("KS 1", "Hamn")
	h.pass(time.Minute)
	if _, err := h.purger().Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Decide(ctx, held, OutcomeNothing, "", nil, me); err == nil {
		t.Error("what is held was said not to be there")
	}
	late := h.requestRecords(desk, func(r *RecordsRequest) { r.Case = "KS 2" }).Request.Case
	if len(h.inForce()) != 1 {
		t.Fatal("what is purged is held:", h.inForce())
	}
	if _, err := desk.Decide(ctx, late, OutcomeNothing, "", nil, me); err != nil {
		t.Error("all of it is purged:", err)
	}
}

// Days that were previewed twice give each row twice: what is marked in one of the two does not leave by the other.
func TestAMarkCountsForRowsThatSayTheSame(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	number := h.requestRecords(desk, nil).Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", func(d *Decision) { d.Lookups = 2 })
	for range 2 {
		if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
			t.Fatal(err)
		}
	}
	rows, before, err := desk.Rows(ctx, number, me)
	if err != nil || len(rows) != 2*len(h.db.wanted(d.Scope)) {
		t.Fatal(len(rows), err)
	}
	marked := slices.IndexFunc(rows, func(r Row) bool { return r.Get("tillsyn.category") == "gambling" }) + 1
	if err := desk.Mark(ctx, number, Marks{{Row: marked, Law: "OSL 18 kap. 8 §"}}, me); err != nil {
		t.Fatal(err)
	}
	_, after, err := desk.Rows(ctx, number, me)
	if err != nil || len(after) < len(before)+2 {
		t.Fatalf("%d marks, then %d: %v", len(before), len(after), err)
	}
	found := get(desk.Config.Disclose(rows, after, desk.Mask))
	said := string(rows[marked-1].AppendJSON(nil))
	for i, row := range rows {
		if string(row.AppendJSON(nil)) == said && !slices.ContainsFunc(after, func(m Mark) bool { return m.Row == i+1 && m.Law == "OSL 18 kap. 8 §" }) {
			t.Errorf("row %d says what row %d says, and is not marked", i+1, marked)
		}
	}
	if found.Laws["OSL 18 kap. 8 §"] < 2 {
		t.Errorf("%v", found.Laws)
	}
	// What was said last counts, in whichever of the two it was said.
	double := marked + len(rows)/2
	secret := func() bool {
		rows, marks, err := desk.Rows(ctx, number, me)
		if err != nil {
			t.Fatal(err)
		}
		whole := map[int]string{}
		for _, m := range marks {
			if len(m.Fields) == 0 {
				whole[m.Row] = m.Law
			}
		}
		if said != string(rows[double-1].AppendJSON(nil)) || whole[marked] != whole[double] {
			t.Fatalf("row %d is marked %q, and its double %q", marked, whole[marked], whole[double])
		}
		return whole[marked] != ""
	}
	for i, say := range []struct {
		row int
		law string
	}{{double, ""}, {marked, "OSL 18 kap. 8 §"}, {double, ""}, {marked, ""}, {double, "OSL 18 kap. 8 §"}} {
		if err := desk.Mark(ctx, number, Marks{{Row: say.row, Law: say.law}}, me); err != nil {
			t.Fatal(err)
		}
		if secret() != (say.law != "") {
			t.Errorf("step %d: what was said last does not count", i)
		}
	}
}

// What a request holds past its purge is there for a decision that comes after it, and for nobody else's.
func TestTheHoldOfARequestServesALaterDecision(t *testing.T) {
	for name, change := range map[string]func(*RecordsRequest){
		"of the person": nil,
		"of everybody":  everybody,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, newDatabase(t))
			desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
			number := h.requestRecords(desk, change).Request.Case
			h.pass(time.Minute)
			if _, err := h.purger().Run(ctx); err != nil {
				t.Fatal(err)
			}
			h.gate.p.Lookup = get(h.gate.p.Lookup.Forget(get(seal.ParseDay("2026-11-21"))))
			other := h.active(func(d *Decision) { d.Case = "HR 2026/99" })
			if rows, r, err := h.lookup(other); err != nil || len(rows) > 0 || r.Purged == 0 {
				t.Errorf("a decision of another kind gives %d rows that only a request holds: %+v %v", len(rows), r, err)
			}
			h.pass(100 * 24 * time.Hour)
			d := h.publicRecord("KS 2026/500-1", "registrator", nil)
			want := h.db.wanted(d.Scope)
			result, err := desk.Preview(ctx, number, d.Case, me)
			if err != nil {
				t.Fatal(err)
			}
			rows, _, err := desk.Rows(ctx, number, me)
			if err != nil || len(want) == 0 || !slices.Equal(linesOf(rows), want) || result.Purged != 0 || !result.Whole() {
				t.Errorf("%d rows of %d: %+v %v", len(rows), len(want), result, err)
			}
			// When the request is closed its hold ends, and so does what it was good for.
			if _, err := desk.Decide(ctx, number, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, me); err != nil {
				t.Fatal(err)
			}
			if err := desk.Close(ctx, number, true, me); err != nil {
				t.Fatal(err)
			}
			late := h.publicRecord("KS 2026/500-2", "registrator", nil)
			keys, err := h.gate.keys(ctx, late, get(h.log.Entries(ctx)))
			if err != nil || len(keys) != 0 {
				t.Errorf("%d keys of a request that is closed: %v", len(keys), err)
			}
		})
	}
}

// Nobody has a hand in a request about themselves.
func TestTheSubjectOfARequestHasNoHandInIt(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx := h.desk(), t.Context()
	own := recordsRequest(h.town, h.now(), func(r *RecordsRequest) { r.Scope.Subject, r.Scope.Names = "registrator@norrbo.se", []string{} })
	if _, err := SignRecordsRequest(own, h.signer("registrator")); err == nil {
		t.Error("somebody asks for their own records as the registrar")
	}
	if _, err := desk.Request(ctx, get(seal.Sign(get(seal.Canonical(own)), h.signer("registrator")))); err == nil || len(h.inForce()) > 0 {
		t.Error("a request by its subject was taken")
	}
	number := h.requestRecords(desk, func(r *RecordsRequest) { r.Scope.Subject, r.Scope.Names = "hr-1", []string{} }).Request.Case
	me := h.signer("hr-1")
	desk.Identities = []age.Identity{h.ages["hr-1"]}
	if _, err := desk.Decide(ctx, number, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, me); !errors.Is(err, ErrRefused) {
		t.Errorf("the subject decided: %v", err)
	}
	if err := desk.Close(ctx, number, true, me); !errors.Is(err, ErrRefused) {
		t.Errorf("the subject closed it: %v", err)
	}
	if _, err := desk.Decide(ctx, number, OutcomeRefused, "Allt.", []string{"OSL 18 kap. 8 §"}, h.signer("hr-2")); err != nil {
		t.Error(err)
	}
}

// The record says of a request about a person nothing that depends on what there is.
func TestTheRecordOfARequestCountsNoRows(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, counts := h.desk(), map[string][]map[string]int64{}
	for number, subject := range map[string]string{"KS 1": "anna.berg", "KS 2": "finns.inte"} {
		h.requestRecords(desk, func(r *RecordsRequest) { r.Case, r.Scope.Subject, r.Scope.Names = number, subject, []string{} })
	}
	for _, e := range get(h.log.Entries(t.Context())) {
		counts[e.Case] = append(counts[e.Case], e.Counts)
	}
	if len(counts["KS 1"]) != 2 || !slices.EqualFunc(counts["KS 1"], counts["KS 2"], maps.Equal) {
		t.Errorf("%v\n%v", counts["KS 1"], counts["KS 2"])
	}
}

// A key of the register that nothing here can encrypt to uses no lookup up; where something can, it previews as any other.
func TestAKeyOfAPluginUsesNoLookupUp(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	for i, m := range h.town.text.Members {
		if m.ID == "registrator" {
			h.town.text.Members[i].Recipients = append([]string{"age1yubikey1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqjrljxx"}, m.Recipients...)
		}
	}
	h.changed()
	number := h.requestRecords(desk, nil).Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", func(d *Decision) { d.Lookups = 1 })
	for name, begin := range map[string]func(io.Writer, []string) (io.WriteCloser, error){
		"nothing":                  nil,
		"what knows no plugins":    sealNative,
		"what can't start its own": func(io.Writer, []string) (io.WriteCloser, error) { return nil, errors.New("no plugin") },
	} {
		desk.Seal = begin
		if _, err := desk.Preview(ctx, number, d.Case, me); err == nil {
			t.Errorf("%s encrypted to a plugin's key", name)
		}
	}
	if s := h.status(d); s.Left != 1 || h.count(audit.LookupIntent) != 0 {
		t.Errorf("%d lookups are left, %d were begun", s.Left, h.count(audit.LookupIntent))
	}
	desk.Seal = func(dst io.Writer, recipients []string) (io.WriteCloser, error) {
		if !strings.HasPrefix(recipients[0], "age1yubikey1") {
			t.Errorf("it is asked to encrypt to %v", recipients)
		}
		return sealNative(dst, recipients[1:])
	}
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	if rows, _, err := desk.Rows(ctx, number, me); err != nil || !slices.Equal(linesOf(rows), h.db.wanted(d.Scope)) {
		t.Error(len(rows), err)
	}
}

// Of a request for a unit the rows of that unit are looked at, and no others that the same people have.
func TestARequestForAUnitShowsItsRowsOnly(t *testing.T) {
	db := newDatabase(t)
	var elsewhere []planted
	for _, p := range db.truth {
		if p.person == "anna.berg" && p.day == "2026-11-18" {
			p.unit, p.event.Path = "Skola", append([]byte("/skola"), p.event.Path...)
			elsewhere = append(elsewhere, p)
		}
	}
	db.insert(t, elsewhere)
	h := newHouse(t, db)
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	d := h.publicRecord("KS 2026/500-1", "registrator", func(d *Decision) { d.Lookups = 5 })
	for i, want := range map[string]int{"Hamn": len(db.wanted(d.Scope)), "Skola": len(elsewhere), "Ingenstans": 0} {
		number := h.requestRecords(desk, func(r *RecordsRequest) {
			r.Case, r.Scope.Subject, r.Scope.Names, r.Scope.Unit = "KS 2026/"+i, "", []string{}, i
		}).Request.Case
		result, err := desk.Preview(ctx, number, d.Case, me)
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := desk.Rows(ctx, number, me)
		if err != nil || len(rows) != want || result.Rows != int64(want) || h.figures()["rows"] != int64(want) {
			t.Errorf("%s: %d rows, want %d, %+v: %v", i, len(rows), want, result, err)
		}
		for _, r := range rows {
			if path, _ := r.Get("url.path").(string); strings.HasPrefix(path, "/skola") != (i == "Skola") && path != "" {
				t.Errorf("%s: a row of %s", i, path)
			}
		}
	}
	// Of everybody's it is all of them.
	number := h.requestRecords(desk, everybody).Request.Case
	if result, err := desk.Preview(ctx, number, d.Case, me); err != nil || result.Rows != int64(len(db.wanted(d.Scope))+len(elsewhere)) {
		t.Errorf("%+v, %v", result, err)
	}
}

// Something in the store that does not open keeps no rows: they go with the decision that they were looked up under, and it is told.
func TestAForgedActKeepsNoPreview(t *testing.T) {
	h := newHouse(t, newDatabase(t))
	desk, ctx, me := h.desk(), t.Context(), h.signer("registrator")
	number := h.requestRecords(desk, nil).Request.Case
	d := h.publicRecord("KS 2026/500-1", "registrator", nil)
	if _, err := desk.Preview(ctx, number, d.Case, me); err != nil {
		t.Fatal(err)
	}
	if err := h.gate.Store().Put(number, recordsDecisionFile, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.act(ActRevocation, d, "registrator", func(a *Act) { a.Reason = "klart" }); err != nil && !errors.Is(err, ErrStore) {
		t.Fatal(err)
	}
	if _, err := h.gate.Recover(ctx); !errors.Is(err, ErrStore) {
		t.Errorf("what does not open is not told: %v", err)
	}
	if slices.ContainsFunc(get(h.gate.store.Names(number)), func(n string) bool { return strings.HasPrefix(n, recordsRowsFile) }) {
		t.Error("the rows are still there")
	}
}
