package casework

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

var mutations = flag.Int("mutations", 100_000, "how many mutations of signed documents the test of case 26 tries")

// A document is an example of what somebody signs, and the one way by which it is taken.
type document struct {
	name   string
	typ    string
	value  any // a pointer to it
	signer *seal.Signer
	open   func(signed []byte) error
}

// signed is the example as it is sent.
func (d document) signed() []byte { return get(seal.Sign(get(seal.Canonical(d.value)), d.signer)) }

// documents are examples of every document that has one signature, with every field filled in that its type has.
func documents(s *story) []document {
	o := s.town
	var list []document
	for kind, d := range examples(o) {
		switch kind {
		case Identify:
		case SubjectAccess:
			d.Scope.Withheld = "10 kap. 3 § OSL"
		default:
			d.Scope.Protected = "läkarens uppdrag"
		}
		if kind == SubjectAccess || kind == Police || kind == PublicRecord {
			d.Finding = "dnr 17"
		}
		if kind == Identify {
			d.Population, d.Union, d.Informed = "elected", "", "kommunfullmäktiges presidium"
		}
		list = append(list, document{"decision " + string(kind), typeDecision, d, o.signer("chef"), func(signed []byte) error {
			_, _, err := OpenDecision(signed)
			return err
		}})
	}
	current := o.current()
	for typ, fill := range map[string]func(*Act){
		ActApproval: func(a *Act) {
			a.Actor, a.Role, a.Register, a.Handover = "hr-1", seal.HR, &current, seal.DigestOf([]byte("x"))
		},
		ActDenial:     func(a *Act) { a.Role, a.Reason = seal.HR, "räcker inte" },
		ActRevocation: func(a *Act) { a.Reason = "nytt besked" },
		ActNotice:     func(a *Act) { a.Told, a.ToldAt = "Vision, ombud A", a.At },
		ActClosing:    func(a *Act) { a.Result = "inget fynd" },
		ActLookup:     func(a *Act) { a.Actor = "utredare" },
	} {
		a := NewAct(typ, s.Decision, s.Digest, "hr-1", s.now)
		fill(&a)
		list = append(list, document{typ, typ, &a, o.signer(a.Actor), func(signed []byte) error {
			_, err := openAct(signed, s.Decision, s.Digest, o.chain)
			return err
		}})
	}
	k := &desk{town: o, now: s.now, story: s}
	manager := o.signer("manager-1")
	permission := k.permission(nil)
	list = append(list,
		document{"permission", typePermission, permission, manager, func(signed []byte) error {
			var p Permission
			_, err := openByManager(signed, &p, func() string { return p.Population }, o.chain)
			return err
		}},
		document{"permission revocation", typePermissionRevocation, &PermissionRevocation{Type: typePermissionRevocation, Deployment: deployment, Tenant: tenant,
			Permission: seal.DigestOf([]byte("x")), Reason: "uppdraget är slut", Actor: "manager-1", Register: current, At: s.now, Nonce: NewNonce()}, manager,
			func(signed []byte) error {
				_, err := openByManager(signed, new(PermissionRevocation), func() string { return "" }, o.chain)
				return err
			}},
		document{"accident", typeAccident, k.accident(func(r *AccidentReport) { r.Domain = "x.example" }), manager, func(signed []byte) error {
			var r AccidentReport
			_, err := openByManager(signed, &r, func() string { return r.Population }, o.chain)
			return err
		}})
	holder := o.signer("security-1")
	list = append(list, document{"clock acceptance", typeClock, &ClockAcceptance{Type: typeClock, Deployment: deployment, Tenant: tenant, Holder: "security-1", Register: current,
		Last: s.now.Add(-day), Now: s.now, Reason: "strömavbrott", Nonce: NewNonce()}, holder, func(signed []byte) error {
		// Whoever forges it has the record's key too, and writes the entry that fits.
		text, _ := seal.Unsigned(signed)
		return checkClock([]audit.Record{
			{Entry: audit.Entry{At: s.now.Add(-day), Kind: audit.RegisterChanged, Body: string(o.notes[0])}},
			{Entry: audit.Entry{At: s.now, Kind: audit.ClockAccepted, Actor: "security-1", Document: seal.DigestOf(text).String(), Body: string(signed)}},
		}, 1)
	}})
	request := recordsRequest(o, s.now, func(r *RecordsRequest) { r.Answer = "registrator@norrbo.example" })
	unit := recordsRequest(o, s.now, func(r *RecordsRequest) {
		r.Scope.Subject, r.Scope.Names, r.Scope.Unit = "", []string{}, "Hamnförvaltningen"
	})
	digest := seal.DigestOf(get(seal.Canonical(request)))
	for name, r := range map[string]*RecordsRequest{"records request": request, "records request of a unit": unit} {
		list = append(list, document{name, typeRecordsRequest, r, o.signer("registrator"), func(signed []byte) error {
			_, _, err := openRecordsRequest(signed)
			return err
		}})
	}
	list = append(list, document{"records decision", typeRecordsDecision, &RecordsDecision{Type: typeRecordsDecision, Case: request.Case, Request: digest,
		Outcome: "partly", Reasons: "Uppgifter om enskildas hälsa.", Laws: []LawUse{{"OSL 21 kap. 1 §", 5}}, Rows: 9, Secret: 2, Partly: 3,
		Marks: seal.DigestOf([]byte("m")), Actor: request.Registrar.ID, At: s.now, Nonce: NewNonce()}, o.signer("registrator"), func(signed []byte) error {
		_, _, err := openRecordsDecision(signed, request, digest, o.chain)
		return err
	}})
	for _, a := range []RecordsAct{{Type: typeRecordsConfirmation, Actor: "security-1"}, {Type: typeRecordsClosing, Actor: "registrator", Waived: true}} {
		a.Case, a.Request, a.At, a.Nonce = request.Case, digest, s.now, NewNonce()
		list = append(list, document{a.Type[len("tillsyn "):], a.Type, &a, o.signer(a.Actor), func(signed []byte) error {
			_, _, err := openRecordsAct(signed, a.Type, request, digest, o.chain)
			return err
		}})
	}
	slices.SortFunc(list, func(a, b document) int { return strings.Compare(a.name, b.name) })
	return list
}

// Every document that this package knows is among the examples, whole, but those that are no one's signature alone.
func TestDocumentsAreAllOfThem(t *testing.T) {
	other := map[string]string{
		"tillsyn bundle v1":          "encrypted, of parts that are signed",
		"tillsyn approval v1":        "an act and what its digest binds",
		"tillsyn approver memory v1": "the approver's own file",
		"tillsyn export manifest v1": "TestExportAltered: its signature is checked with the archive around it",
	}
	list := documents(newStory(newTown(t), nil))
	found := map[string]bool{}
	filled := map[string]map[string]bool{} // by Go type: acts of all types share one
	for _, d := range list {
		found[d.typ] = true
		if err := d.open(d.signed()); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		of := fmt.Sprintf("%T", d.value)
		if filled[of] == nil {
			filled[of] = map[string]bool{}
		}
		leaves("", reflect.ValueOf(d.value).Elem(), func(name string, v reflect.Value) {
			filled[of][name] = filled[of][name] || !v.IsZero() && (v.Kind() != reflect.Slice || v.Len() > 0)
		})
	}
	for of, fields := range filled {
		for name, there := range fields {
			if !there {
				t.Errorf("%s: no example has the field %s", of, name)
			}
		}
	}
	form := regexp.MustCompile(`^tillsyn [a-z ]+ v[0-9]+$`)
	n := 0
	for _, entry := range get(os.ReadDir(".")) {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		ast.Inspect(get(parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)), func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			if typ, err := strconv.Unquote(literal.Value); err == nil && form.MatchString(typ) {
				if n++; !found[typ] && other[typ] == "" {
					t.Errorf("%s is a document without an example", typ)
				}
			}
			return true
		})
	}
	if n < len(found)+len(other) {
		t.Errorf("%d types of documents, want %d", n, len(found)+len(other))
	}
}

// leaves calls each for every field of a struct that is no struct of ours.
func leaves(path string, v reflect.Value, each func(string, reflect.Value)) {
	for f := range v.Type().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		name = strings.TrimPrefix(path+"."+name, ".")
		field := v.FieldByIndex(f.Index)
		if field.Kind() == reflect.Pointer {
			if field.IsNil() {
				field = reflect.New(field.Type().Elem())
			}
			field = field.Elem()
		}
		switch field.Interface().(type) {
		case time.Time, seal.Digest:
			each(name, field)
			continue
		}
		switch field.Kind() {
		case reflect.Struct:
			leaves(name, field, each)
		case reflect.Slice:
			each(name, field)
			for i := range field.Len() {
				if field.Index(i).Kind() == reflect.Struct {
					leaves(name+"[]", field.Index(i), each)
				}
			}
		default:
			each(name, field)
		}
	}
}

// A forger changes signed documents in every way that it can think of, without the signer's key.
type forger struct {
	r         *rand.Rand
	documents []document
	signed    [][]byte
	strangers []*seal.Signer // of the names of those who sign, with other keys
}

// bytesOf changes some bytes.
func (f *forger) bytesOf(m []byte) []byte {
	m = bytes.Clone(m)
	for range 1 + f.r.IntN(3) {
		at := f.r.IntN(len(m))
		switch f.r.IntN(5) {
		case 0:
			m[at] = byte(f.r.IntN(256))
		case 1:
			m = slices.Delete(m, at, min(len(m), at+1+f.r.IntN(20)))
		case 2:
			m = slices.Insert(m, at, m[f.r.IntN(len(m))])
		case 3:
			to := f.r.IntN(len(m))
			m[at], m[to] = m[to], m[at]
		case 4:
			m[at] ^= 1 << f.r.IntN(8)
		}
		if len(m) == 0 {
			m = []byte{0}
		}
	}
	return m
}

// linesOf changes lines: of the text, of the signatures, or with those of another document.
func (f *forger) linesOf(m, other []byte) []byte {
	lines := bytes.SplitAfter(m, []byte("\n"))
	strange := bytes.SplitAfter(other, []byte("\n"))
	at, to := f.r.IntN(len(lines)), f.r.IntN(len(lines))
	switch f.r.IntN(5) {
	case 0:
		lines = slices.Delete(lines, at, at+1)
	case 1:
		lines = slices.Insert(lines, to, lines[at])
	case 2:
		lines[at], lines[to] = lines[to], lines[at]
	case 3:
		lines[at] = strange[f.r.IntN(len(strange))]
	case 4:
		lines = slices.Insert(lines, at, strange[f.r.IntN(len(strange))])
	}
	return bytes.Join(lines, nil)
}

// looksOf writes a character as another that looks like it, or is read like it.
func (f *forger) looksOf(m []byte) []byte {
	pairs := []string{"a", "а", "e", "е", "o", "о", "i", "і", "å", "a\u030a", "ö", "o\u0308", " ", "\u00a0", "\n", "\r\n", "-", "‐", "0", "O", "1", "l", "\"", "“", "\n", "\u2028",
		"a", "\\u0061", "n", "\\u006e", "/", "\\/", "{", "{ ", ":", " :", ",", ", ", "s", "ſ", "k", "\u212a", "a", "a\u200b", "r", "\u202er", "}", "}\n", "2", "２", "T", "t", "Z", "+00:00", ": ", ":  "}
	i := 2 * f.r.IntN(len(pairs)/2)
	old, new := []byte(pairs[i]), []byte(pairs[i+1])
	n := bytes.Count(m, old)
	if n == 0 {
		return m
	}
	at := 0
	for range f.r.IntN(n) {
		at += bytes.Index(m[at:], old) + len(old)
	}
	at += bytes.Index(m[at:], old)
	return slices.Concat(m[:at], new, m[at+len(old):])
}

// valuesOf changes a field to another value that it can have, in the canonical form, and keeps the signature.
func (f *forger) valuesOf(d document, signed []byte) []byte {
	text := get(seal.Unsigned(signed))
	copied := reflect.New(reflect.TypeOf(d.value).Elem())
	if err := seal.ParseCanonical(text, copied.Interface()); err != nil {
		panic(err)
	}
	var all []reflect.Value
	leaves("", copied.Elem(), func(_ string, v reflect.Value) { all = append(all, v) })
	for range 1 + f.r.IntN(2) {
		f.change(all[f.r.IntN(len(all))])
	}
	again, err := seal.Canonical(copied.Interface())
	if err != nil {
		return signed
	}
	return append(again, signed[len(text):]...)
}

func (f *forger) change(v reflect.Value) {
	words := []string{"anna.berg", "bo.ek", "web", "mail", "all", "gambling", "staff", "elected", "hr-1", "manager-1", "manager-2", "utredare", "hr", "manager", "security", "norrbo", "KS 2026/0123",
		"KS 2026/0124", "2026-11-16", "2026-11-20", "person", "identify", "police", "partly", "refused", "", "Hamnförvaltningen"}
	switch x := v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(x.Add([]time.Duration{time.Second, -time.Second, time.Hour, -day, day, 30 * day}[f.r.IntN(6)])))
		return
	case seal.Digest:
		x[f.r.IntN(len(x))] ^= 1 << f.r.IntN(8)
		v.Set(reflect.ValueOf(x))
		return
	case []string:
		list := append(slices.Clone(x), words[f.r.IntN(len(words))])
		if len(x) > 0 && f.r.IntN(2) == 0 {
			list = slices.Delete(slices.Clone(x), 0, 1)
		}
		slices.Sort(list)
		v.Set(reflect.ValueOf(list))
		return
	}
	switch v.Kind() {
	case reflect.String:
		text := words[f.r.IntN(len(words))]
		if was := v.String(); len(was) > 1 && f.r.IntN(2) == 0 {
			at := f.r.IntN(len(was) - 1)
			text = was[:at] + was[at+1:at+2] + was[at:at+1] + was[at+2:]
		}
		v.SetString(text)
	case reflect.Int:
		v.SetInt(v.Int() + []int64{1, -1, 2, 97}[f.r.IntN(4)])
	case reflect.Slice:
		if n := v.Len(); n > 0 && f.r.IntN(2) == 0 {
			v.Set(v.Slice(0, n-1))
		} else if n > 0 {
			v.Set(reflect.Append(v, v.Index(0)))
		}
	}
}

// signaturesOf changes the signature, or puts others beside it or in its place.
func (f *forger) signaturesOf(signed, other []byte) []byte {
	split := func(m []byte) (text, line []byte) {
		at := bytes.LastIndex(m, []byte("\n\n")) + 2
		return m[:at], m[at:]
	}
	text, line := split(signed)
	_, strange := split(other)
	stranger := f.strangers[f.r.IntN(len(f.strangers))]
	_, forged := split(get(seal.Sign(text[:len(text)-1], stranger)))
	name, rest, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("— ")), []byte(" "))
	raw := get(base64.StdEncoding.DecodeString(strings.TrimSpace(string(rest))))
	written := func(name, raw []byte) []byte {
		return fmt.Appendf(nil, "— %s %s\n", name, base64.StdEncoding.EncodeToString(raw))
	}
	switch f.r.IntN(9) {
	case 0:
		raw[f.r.IntN(len(raw))] ^= 1 << f.r.IntN(8)
		return slices.Concat(text, written(name, raw))
	case 1:
		return slices.Concat(text, line, line)
	case 2:
		return slices.Concat(text, line, forged)
	case 3:
		return slices.Concat(text, forged, line)
	case 4:
		return slices.Concat(text, forged)
	case 5:
		return slices.Concat(text, strange)
	case 6:
		return slices.Concat(text, written(f.strangersName(), raw))
	case 7: // the stranger's signature under the signer's hash
		foreign := get(base64.StdEncoding.DecodeString(strings.TrimSpace(string(forged[bytes.LastIndexByte(forged, ' ')+1:]))))
		copy(foreign[:4], raw[:4])
		return slices.Concat(text, written(name, foreign))
	}
	// The last character of base64 has bits that say nothing.
	m := bytes.Clone(signed)
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	if at := bytes.LastIndexFunc(m, func(r rune) bool { return strings.ContainsRune(digits, r) }); at >= 0 {
		m[at] = digits[strings.IndexByte(digits, m[at])^1<<f.r.IntN(6)]
	}
	return m
}

func (f *forger) strangersName() []byte {
	return []byte(f.strangers[f.r.IntN(len(f.strangers))].Name())
}

// Case 26: mutations of every signed document, of bytes, lines, looks, values and signatures; none is taken. What only its signature
// tells from a good one is among them, and counted.
func TestMutationsAreRefused(t *testing.T) {
	n := *mutations
	if testing.Short() {
		n = min(n, 20_000)
	}
	f := &forger{r: rand.New(rand.NewPCG(1, 2)), documents: documents(newStory(newTown(t), nil))}
	for _, d := range f.documents {
		f.signed = append(f.signed, d.signed())
		f.strangers = append(f.strangers, get(seal.NewSigner(d.signer.Name())))
	}
	ways := []string{"bytes", "lines", "looks", "values", "signatures"}
	tried, same, asked, wellFormed := map[string]int{}, 0, 0, 0
	for i := 0; i < n; {
		at := i % len(f.documents)
		d, signed := f.documents[at], f.signed[at]
		way := ways[f.r.IntN(len(ways))]
		other := f.signed[f.r.IntN(len(f.signed))]
		var m []byte
		switch way {
		case "bytes":
			m = f.bytesOf(signed)
		case "lines":
			m = f.linesOf(signed, other)
		case "looks":
			m = f.looksOf(signed)
		case "values":
			m = f.valuesOf(d, signed)
		case "signatures":
			m = f.signaturesOf(signed, other)
		}
		if bytes.Equal(m, signed) {
			if same++; same > 10*n {
				t.Fatal("nothing is changed")
			}
			continue
		}
		i++
		tried[way]++
		if err := d.open(m); err == nil {
			t.Fatalf("a mutation of a %s was taken: %s\n%s", d.name, way, m)
		}
		if way == "values" && tried[way]%10 == 0 {
			if asked++; wellFormedAs(d, m) {
				wellFormed++
			}
		}
	}
	if wellFormed < asked/4 {
		t.Errorf("only %d of %d changed values were refused by the signature alone", wellFormed, asked)
	}
	t.Logf("%d mutations of %d documents, none taken: %v; of changed values %d in %d are well formed, but not what was signed", n, len(f.documents), tried, wellFormed, asked)
}

// wellFormedAs says whether a text would be a good document of its kind if somebody had signed it.
func wellFormedAs(d document, signed []byte) bool {
	text, err := seal.Unsigned(signed)
	if err != nil {
		return false
	}
	v := reflect.New(reflect.TypeOf(d.value).Elem()).Interface()
	if seal.ParseCanonical(text, v) != nil {
		return false
	}
	checked, ok := v.(interface{ Validate() error })
	return ok && checked.Validate() == nil
}
