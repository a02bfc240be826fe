package casework

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// A preview is what a lookup found, as the case store keeps it: its rows open for whoever previewed them and for nobody else, not
// for the gate either.
type preview struct {
	Case     string      `json:"case"`     // of the decision that it was looked up under
	Decision seal.Digest `json:"decision"` // its digest
	Reader   string      `json:"reader"`   // id of whoever it is for
	Whole    bool        `json:"whole"`    // of everything that the request asks for, and nothing was hidden from it
	Rows     []byte      `json:"rows"`     // age
}

// ErrNotReader is when rows of a preview are somebody else's.
var ErrNotReader = errors.New("what was previewed opens for whoever previewed it only")

// A sealing is a file that was begun for a reader and has no rows yet.
type sealing struct {
	sealed bytes.Buffer
	rows   io.WriteCloser
}

// begin begins the file of a preview for its reader alone: its recipients are used, and what comes later asks them nothing.
func (k *RecordsDesk) begin(r Records, reader *seal.Signer) (*sealing, error) {
	fail := func(err error) (*sealing, error) { return nil, fmt.Errorf("encrypt to whoever previews: %w", err) }
	who, ok := r.chain[len(r.chain)-1].Person(reader.Name())
	if !ok || who.Verifier != reader.Verifier() {
		return fail(ErrNotEntitled)
	}
	if k.Seal == nil {
		return fail(errors.New("nothing can"))
	}
	file := new(sealing)
	var err error
	if file.rows, err = k.Seal(&file.sealed, who.Recipients); err != nil {
		return fail(err)
	}
	return file, nil
}

// keep files the rows of a preview. What another reader had is removed: nobody could mark both.
func (k *RecordsDesk) keep(ctx context.Context, r Records, c *Case, result Result, file *sealing, rows []Row, reader *seal.Signer) error {
	fail := func(err error) error { return fmt.Errorf("keep the rows of a preview: %w", err) }
	err := WriteRows(file.rows, rows)
	if err = errors.Join(err, file.rows.Close()); err != nil {
		return fail(err)
	}
	text, err := json.Marshal(preview{c.Decision.Case, c.Digest, reader.Name(), result.Whole() && !result.Shielded && r.Request.all(c.Decision), file.sealed.Bytes()})
	if err != nil {
		return fail(err)
	}
	unlock, err := k.Gate.store.Lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	// While the lookup ran, somebody may have decided: what was decided on stays as it was.
	if _, err := k.open(ctx, r.Request.Case, reader, "requested", "previewed"); err != nil {
		return fail(err)
	}
	if err := k.Gate.dropPreviews(r.Request.Case, func(p preview) bool { return p.Reader != reader.Name() }); err != nil {
		return fail(err)
	}
	names, err := k.Gate.store.Names(r.Request.Case)
	if err != nil {
		return fail(err)
	}
	if err := k.Gate.store.Put(r.Request.Case, nameOfPreview(names, result.Digest), text); err != nil {
		return fail(err)
	}
	return nil
}

// nameOfPreview names the file of a preview: behind all that there are, so that no row that is shown gets another number by it, and
// by the digest of its lookup, so that no other preview ever has its name.
func nameOfPreview(names []string, digest seal.Digest) string {
	last := 0
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, recordsRowsFile); ok {
			if n, _, ok := strings.Cut(rest, "-"); ok {
				if n, err := strconv.Atoi(n); err == nil {
					last = max(last, n)
				}
			}
		}
	}
	return fmt.Sprintf("%s%06d-%x", recordsRowsFile, last+1, digest[:8])
}

// marksOf is how the files begin that hold what is marked in the preview of a name.
func marksOf(preview string) string {
	_, id, _ := strings.Cut(strings.TrimPrefix(preview, recordsRowsFile), "-")
	return recordsMarksFile + id + "-"
}

// marksIn takes the name of a file of marks apart: how those of its preview begin, and its number. Other files have no beginning.
func marksIn(name string) (begins string, when int) {
	i := strings.LastIndexByte(name, '-') + 1
	when, err := strconv.Atoi(name[i:])
	if !strings.HasPrefix(name, recordsMarksFile) || err != nil {
		return "", 0
	}
	return name[:i], when
}

// A previewed is one preview, opened. Row 1 of it is shown as row From+1.
type previewed struct {
	Name  string
	From  int
	Whole bool
	Rows  []Row
	Marks map[int]Marks // by the preview's own rows, from 1; under the number that says when, among those of all previews
}

// previews are those of a request, in the order in which their rows are numbered.
func (k *RecordsDesk) previews(number string) ([]previewed, error) {
	s := k.Gate.store
	names, err := s.Names(number)
	if err != nil {
		return nil, err
	}
	var list []previewed
	from := 0
	for _, n := range names {
		if !strings.HasPrefix(n, recordsRowsFile) {
			continue
		}
		text, err := s.Get(number, n)
		if err != nil {
			return nil, err
		}
		stored, err := readPreview(text)
		if err != nil {
			return nil, err
		}
		p := previewed{Name: n, From: from, Whole: stored.Whole, Marks: map[int]Marks{}}
		if p.Rows, err = k.opened(stored); err != nil {
			return nil, err
		}
		from += len(p.Rows)
		for _, m := range names {
			id, when := marksIn(m)
			if id == "" || marksOf(n) != id {
				continue
			}
			if text, err = s.Get(number, m); err != nil {
				return nil, err
			}
			var marks Marks
			if err := json.Unmarshal(text, &marks); err != nil {
				return nil, fmt.Errorf("%w: what was marked can't be read", ErrStore)
			}
			p.Marks[when] = marks
		}
		list = append(list, p)
	}
	return list, nil
}

// rowsOf are the rows of previews with what is marked in them, by the numbers that are shown: presets first, then in the order in which
// it was marked. Rows that say the same, as those of days that were previewed twice, are one to whoever reads them: what is marked in
// one is marked in all.
func (k *RecordsDesk) rowsOf(list []previewed) ([]Row, Marks) {
	var rows []Row
	for _, p := range list {
		rows = append(rows, p.Rows...)
	}
	alike := map[string][]int{} // the numbers of rows, by what they say
	for i, row := range rows {
		text := string(row.AppendJSON(nil))
		alike[text] = append(alike[text], i+1)
	}
	inTime := map[int]Marks{}
	for _, p := range list {
		for when, marks := range p.Marks {
			for _, m := range marks {
				if m.Row < 1 || m.Row > len(p.Rows) {
					m.Row = 0 // of no row: whoever uses the marks finds that wrong
					inTime[when] = append(inTime[when], m)
					continue
				}
				for _, m.Row = range alike[string(p.Rows[m.Row-1].AppendJSON(nil))] {
					inTime[when] = append(inTime[when], m)
				}
			}
		}
	}
	marked := k.Config.Preset(rows)
	for _, when := range slices.Sorted(maps.Keys(inTime)) {
		marked = append(marked, inTime[when]...)
	}
	return rows, marked
}

// shownFile says that these previews, and no others, were shown with the numbers that their rows have.
func shownFile(list []previewed) string {
	var names strings.Builder
	for _, p := range list {
		names.WriteString(p.Name + "\n")
	}
	sum := seal.DigestOf([]byte(names.String()))
	return fmt.Sprintf("%s%x", recordsShownFile, sum[:8])
}

// fileMarks gives each preview its part of marks, by its own rows. It is called under the lock.
func (g *Gate) fileMarks(number string, list []previewed, marks Marks) error {
	names, err := g.store.Names(number)
	if err != nil {
		return err
	}
	last := 0
	for _, name := range names {
		_, when := marksIn(name)
		last = max(last, when)
	}
	for _, p := range list {
		var mine Marks
		for _, m := range marks {
			if m.Row -= p.From; m.Row >= 1 && m.Row <= len(p.Rows) {
				mine = append(mine, m)
			}
		}
		if len(mine) == 0 {
			continue
		}
		last++
		text, err := json.Marshal(mine)
		if err == nil {
			err = g.store.Put(number, fmt.Sprintf("%s%06d", marksOf(p.Name), last), text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// opened are the rows of a preview, for its reader.
func (k *RecordsDesk) opened(p preview) ([]Row, error) {
	if len(k.Identities) == 0 {
		return nil, ErrNotReader
	}
	plain, err := age.Decrypt(bytes.NewReader(p.Rows), k.Identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrNotReader
	}
	var rows []byte
	if err == nil {
		rows, err = io.ReadAll(io.LimitReader(plain, maxFile))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the rows of a preview were altered", ErrStore)
	}
	list, err := ParseRows(rows)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return list, nil
}

func readPreview(text []byte) (preview, error) {
	var p preview
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%w: the rows of a preview can't be read", ErrStore)
	}
	return p, nil
}

// dropPreviews removes those rows of a request that gone names, and then what was marked in them.
func (g *Gate) dropPreviews(number string, gone func(preview) bool) error {
	names, err := g.store.Names(number)
	if err != nil {
		return err
	}
	var left []string
	for _, n := range names {
		if !strings.HasPrefix(n, recordsRowsFile) {
			continue
		}
		text, err := g.store.Get(number, n)
		if err != nil {
			return err
		}
		p, err := readPreview(text)
		if err != nil {
			return err
		}
		if !gone(p) {
			left = append(left, n)
		} else if err := g.store.remove(number, n); err != nil {
			return err
		}
	}
	// Rows go before their marks: what a killed process left may be marks without rows, and never rows that lost theirs.
	for _, n := range names {
		if strings.HasPrefix(n, recordsMarksFile) && !slices.ContainsFunc(left, func(p string) bool { return strings.HasPrefix(n, marksOf(p)) }) {
			if err := g.store.remove(number, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetPreviews removes previewed rows whose decision has ended or expired, by the record's own clock. Once a request is decided on,
// its rows are what was decided on, and stay until it is closed. It is called under the lock.
func (g *Gate) forgetPreviews(ctx context.Context) error {
	numbers, fault := g.store.requests()
	record, err := g.p.Log.Entries(ctx)
	if err != nil {
		return errors.Join(fault, err)
	}
	desk := RecordsDesk{Gate: g}
	for _, number := range numbers {
		r, err := desk.Status(ctx, number) // what can't be read is told, and keeps no rows: the record says whether it is decided
		fault = errors.Join(fault, err)
		decided := slices.ContainsFunc(record, func(e audit.Record) bool { return e.Kind == audit.RecordsDecided && e.Case == number })
		if decided && !r.Closed {
			continue
		}
		fault = errors.Join(fault, g.dropPreviews(number, func(p preview) bool {
			v, err := g.view(ctx, p.Case)
			if err != nil || v.Digest != p.Decision {
				return r.Closed
			}
			s := StateOf(v.evidence(), time.Time{})
			return r.Closed || s.ended() || s.State == Expired
		}))
	}
	return fault
}

// removeRequestExports removes the files of requests that were closed at least keep ago: see [Gate.RemoveExports].
func (g *Gate) removeRequestExports(ctx context.Context, keep time.Duration) (done []ExportRemoval, err error) {
	numbers, err := g.store.requests()
	faults := []error{err}
	k := RecordsDesk{Gate: g}
	for _, number := range numbers {
		list, err := g.Exports(number)
		if err == nil && len(list) > 0 {
			var r Records
			var record []audit.Record
			if r, err = k.Status(ctx, number); err == nil {
				record, err = g.p.Log.Entries(ctx)
			}
			if err == nil && r.Closed && !Clock(record, g.p.Now()).Before(r.ClosedAt.Add(keep)) {
				for _, e := range list {
					removal, fault := g.removeExport(ctx, e)
					err = errors.Join(err, fault)
					if fault == nil {
						done = append(done, removal)
					}
				}
			}
		}
		faults = append(faults, err)
	}
	return done, errors.Join(faults...)
}
