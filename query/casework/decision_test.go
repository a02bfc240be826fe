package casework

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tillsyn/internal/seal"
)

// examples is a good decision of every kind.
func examples(o *town) map[Kind]*Decision {
	all := map[Kind]*Decision{}
	for _, rule := range Kinds() {
		d := o.decision(noon())
		d.Kind = rule.Kind
		for _, f := range []struct {
			need need
			text *string
		}{
			{rule.suspicion, &d.Suspicion}, {rule.lessIntrusive, &d.LessIntrusive}, {rule.finding, &d.Finding}, {rule.intrusion, &d.Intrusion},
			{rule.intrusion, &d.Consequences}, {rule.policy, &d.Policy}, {rule.union, &d.Union}, {rule.subject, &d.Scope.Subject},
		} {
			if f.need == mustNot {
				*f.text = ""
			}
		}
		if rule.unit == must {
			d.Scope.Unit, d.Scope.Threshold, d.Scope.Categories, d.Scope.Aliases = "Hamnförvaltningen", 20, []string{"gambling"}, []string{}
			d.Scope.Sources, d.Scope.Names = []string{Web}, []string{}
		}
		if rule.recipient == must {
			d.Recipient = o.age().Recipient().String()
		}
		all[rule.Kind] = d
	}
	return all
}

func TestExamplesOfEveryKind(t *testing.T) {
	o := newTown(t)
	schema := compileSchema(t)
	for kind, d := range examples(o) {
		t.Run(string(kind), func(t *testing.T) {
			signed, err := SignDecision(d, o.signer("chef"))
			if err != nil {
				t.Fatal(err)
			}
			again, digest, err := OpenDecision(signed)
			if err != nil {
				t.Fatal(err)
			}
			text, want, err := again.Text()
			if err != nil || digest != want || !reflect.DeepEqual(d, again) {
				t.Errorf("what was read is not what was written: %v", err)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Error(err)
			}
		})
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../schemas/decision.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:tillsyn:decision:v1", value); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("urn:tillsyn:decision:v1")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// The Go type and the schema have the same fields, in the same order, all required and no others.
func TestSchemaIsTheGoType(t *testing.T) {
	text, err := os.ReadFile("../../schemas/decision.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Ref        string            `json:"$ref"`
		Type       string            `json:"type"`
		Additional *bool             `json:"additionalProperties"`
		Required   []string          `json:"required"`
		Properties map[string]object `json:"properties"`
		Items      *object           `json:"items"`
		Defs       map[string]object `json:"$defs"`
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, o object, of reflect.Type)
	compare = func(path string, o object, of reflect.Type) {
		if name, ok := strings.CutPrefix(o.Ref, "#/$defs/"); ok {
			o = root.Defs[name]
		}
		if of.Kind() == reflect.Slice {
			if o.Items == nil {
				t.Errorf("%s: the schema does not say what is in the list", path)
				return
			}
			compare(path+"[]", *o.Items, of.Elem())
			return
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
			return
		}
		var fields []string
		for f := range of.Fields() {
			name := f.Tag.Get("json")
			fields = append(fields, name)
			p, ok := o.Properties[name]
			if !ok {
				t.Errorf("%s: the schema has no %s", path, name)
				continue
			}
			compare(path+"."+name, p, f.Type)
		}
		if !slices.Equal(fields, o.Required) {
			t.Errorf("%s: the schema requires %v; the type has %v", path, o.Required, fields)
		}
		if len(o.Properties) != len(fields) || o.Additional == nil || *o.Additional {
			t.Errorf("%s: the schema allows more than the type", path)
		}
	}
	compare("decision", root, reflect.TypeFor[Decision]())
	kinds := []string{}
	for _, r := range Kinds() {
		kinds = append(kinds, string(r.Kind))
	}
	var enums struct {
		Properties struct {
			Kind       struct{ Enum []string }
			Population struct{ Enum []string }
		}
	}
	if err := json.Unmarshal(text, &enums); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(enums.Properties.Kind.Enum, kinds) || !slices.Equal(enums.Properties.Population.Enum, Populations()) {
		t.Error("the schema's kinds or populations are not those of the program")
	}
}

// injections are what somebody puts into a field who wants it to be more than text (case 37).
func injections() []string {
	return []string{
		`'; DROP TABLE web_keys; --`, `anna'; select 1; drop table web_capsules`, `anna' OR '1'='1`, `anna") UNION ALL SELECT * FROM file('/etc/passwd') --`,
		`file('/etc/passwd')`, `url('http://127.0.0.1/')`, `{p:Identifier}`, `{subject:String}`, "anna\x00", "anna\nberg", "anna\r\n", `%`, `_`, `*`, `anna%`, `an*`,
		`../../etc/passwd`, `/etc/passwd`, `..`, `=cmd|' /C calc'!A0`, "\x1b[31mred", "\u202eanna", "аnna.berg", "anna\u00a0berg", "ANNA.BERG", `anna.berg,bo.ek`,
		`["anna.berg","bo.ek"]`, `anna.berg bo.ek  `, strings.Repeat("a", 1<<20), `\u0061nna`, `anna /* */`, `$(reboot)`, "`reboot`", "å", "ﬁ", "anna\uFEFF",
	}
}

func TestScopeIsNotWidened(t *testing.T) {
	o := newTown(t)
	for name, change := range map[string]func(*Decision){
		"a wildcard":                    func(d *Decision) { d.Scope.Subject = "*" },
		"a percent sign":                func(d *Decision) { d.Scope.Subject = "anna%" },
		"two subjects":                  func(d *Decision) { d.Scope.Subject = "anna.berg,bo.ek" },
		"no subject":                    func(d *Decision) { d.Scope.Subject = "" },
		"upper case":                    func(d *Decision) { d.Scope.Subject = "Anna.Berg" },
		"a Cyrillic a":                  func(d *Decision) { d.Scope.Subject = "аnna.berg" },
		"a unit beside the subject":     func(d *Decision) { d.Scope.Unit = "Hamnförvaltningen" },
		"today":                         func(d *Decision) { d.Scope.To = "2026-11-22" },
		"tomorrow":                      func(d *Decision) { d.Scope.To = "2026-11-23" },
		"91 days back":                  func(d *Decision) { d.Scope.From = "2026-08-23" },
		"from after to":                 func(d *Decision) { d.Scope.From = "2026-11-20" },
		"no day":                        func(d *Decision) { d.Scope.From = "" },
		"a day that there is not":       func(d *Decision) { d.Scope.From = "2026-02-30" },
		"a day with a time":             func(d *Decision) { d.Scope.From = "2026-11-17T00:00:00Z" },
		"no source":                     func(d *Decision) { d.Scope.Sources = []string{} },
		"null sources":                  func(d *Decision) { d.Scope.Sources = nil },
		"another source":                func(d *Decision) { d.Scope.Sources = []string{"dns"} },
		"a source twice":                func(d *Decision) { d.Scope.Sources = []string{Web, Web} },
		"sources out of order":          func(d *Decision) { d.Scope.Sources = []string{Web, Mail} },
		"no category":                   func(d *Decision) { d.Scope.Categories = []string{} },
		"all and another":               func(d *Decision) { d.Scope.Categories = []string{"all", "gambling"} },
		"any category":                  func(d *Decision) { d.Scope.Sources, d.Scope.Categories = []string{Web}, []string{"any"} },
		"mail of a category":            func(d *Decision) { d.Scope.Categories = []string{"gambling"} },
		"a category with a wildcard":    func(d *Decision) { d.Scope.Categories = []string{"gam%"} },
		"a threshold for a person":      func(d *Decision) { d.Scope.Threshold = 10 },
		"no lookups":                    func(d *Decision) { d.Lookups = 0 },
		"less than no lookups":          func(d *Decision) { d.Lookups = -1 },
		"101 lookups":                   func(d *Decision) { d.Lookups = 101 },
		"no investigator":               func(d *Decision) { d.Investigators = nil },
		"six investigators":             func(d *Decision) { d.Investigators = six(o) },
		"an investigator twice":         func(d *Decision) { d.Investigators = append(d.Investigators, d.Investigators[0]) },
		"the subject investigates":      func(d *Decision) { d.Investigators[0] = o.person("anna.berg") },
		"the subject's alias asks":      func(d *Decision) { d.Requester = o.person("abe") },
		"approve_by after 31 days":      func(d *Decision) { d.ApproveBy = d.Requested.Add(31 * day); d.ExecuteBy = d.ApproveBy.Add(day) },
		"approve_by before it is asked": func(d *Decision) { d.ApproveBy = d.Requested },
		"execute_by after 91 days":      func(d *Decision) { d.ExecuteBy = d.ApproveBy.Add(91 * day) },
		"execute_by before not_before":  func(d *Decision) { d.ExecuteBy = d.NotBefore },
		"not_before it is asked":        func(d *Decision) { d.NotBefore = d.Requested.Add(-time.Second) },
		"half a second":                 func(d *Decision) { d.ExecuteBy = d.ExecuteBy.Add(time.Second / 2) },
		"a time of another zone":        func(d *Decision) { d.ExecuteBy = d.ExecuteBy.In(time.FixedZone("CET", 3600)) },
		"guests":                        func(d *Decision) { d.Population = "guest" },
		"no population":                 func(d *Decision) { d.Population = "" },
		"another kind":                  func(d *Decision) { d.Kind = "anything" },
		"no reason":                     func(d *Decision) { d.Reason = "" },
		"no suspicion":                  func(d *Decision) { d.Suspicion = "" },
		"no less intrusive means":       func(d *Decision) { d.LessIntrusive = "" },
		"no union":                      func(d *Decision) { d.Union = "" },
		"no nonce":                      func(d *Decision) { d.Nonce = "" },
		"a short nonce":                 func(d *Decision) { d.Nonce = d.Nonce[4:] },
		"no register":                   func(d *Decision) { d.Register = RegisterDigest{} },
		"aliases out of order":          func(d *Decision) { d.Scope.Aliases = []string{"b", "a"} },
		"null names":                    func(d *Decision) { d.Scope.Names = nil },
		"nine names":                    func(d *Decision) { d.Scope.Names = strings.Split("a b c d e f g h i", " ") },
		"the subject again as a name":   func(d *Decision) { d.Scope.Names = []string{"anna.berg"} },
		"a wildcard as a name":          func(d *Decision) { d.Scope.Names = []string{"%"} },
		"null aliases":                  func(d *Decision) { d.Scope.Aliases = nil },
		"text of 4001 bytes":            func(d *Decision) { d.Reason = strings.Repeat("a", 4001) },
		"text that ends in a space":     func(d *Decision) { d.Reason += " " },
	} {
		t.Run(name, func(t *testing.T) {
			d := o.decision(noon())
			change(d)
			if err := d.Validate(); err == nil {
				t.Error("it was taken")
			} else if strings.Contains(err.Error(), "anna") {
				t.Error("the answer quotes the subject")
			}
		})
	}
	identify := func(change func(*Decision)) *Decision { d := examples(o)[Identify]; change(d); return d }
	for name, d := range map[string]*Decision{
		"a subject":              identify(func(d *Decision) { d.Scope.Subject = "anna.berg" }),
		"a name":                 identify(func(d *Decision) { d.Scope.Names = []string{"anna.berg"} }),
		"all categories":         identify(func(d *Decision) { d.Scope.Categories = []string{"all"} }),
		"protected destinations": identify(func(d *Decision) { d.Scope.Protected = "därför" }),
		"a threshold of four":    identify(func(d *Decision) { d.Scope.Threshold = 4 }),
		"any category":           identify(func(d *Decision) { d.Scope.Categories = []string{"any"} }),
		"mail":                   identify(func(d *Decision) { d.Scope.Sources = []string{Mail, Web} }),
		"no threshold":           identify(func(d *Decision) { d.Scope.Threshold = 0 }),
		"no unit":                identify(func(d *Decision) { d.Scope.Unit = "" }),
		"a unit with a wildcard": identify(func(d *Decision) { d.Scope.Unit = "Hamn%" }),
		"unknown people":         identify(func(d *Decision) { d.Scope.Unit = "unknown" }),
	} {
		t.Run("identify with "+name, func(t *testing.T) {
			if err := d.Validate(); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func six(o *town) []Signatory {
	var list []Signatory
	for _, id := range []string{"u1", "u2", "u3", "u4", "u5", "u6"} {
		list = append(list, o.person(id))
	}
	return list
}

func TestAllFaultsAtOnce(t *testing.T) {
	err := (&Decision{}).Validate()
	for _, field := range []string{"type:", "deployment:", "tenant:", "case:", "kind:", "population:", "ground:", "reason:", "lookups:", "register:", "nonce:",
		"requested:", "not_before:", "approve_by:", "execute_by:", "scope.from:", "scope.sources:", "scope.categories:", "scope.aliases:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("nothing is said about %s", field)
		}
	}
}

// Case 37, in every field of a decision: what is refused, and what is taken, stays text.
func TestInjectionsIntoEveryField(t *testing.T) {
	o := newTown(t)
	good := get(json.Marshal(o.decision(noon())))
	var tree map[string]any
	if err := json.Unmarshal(good, &tree); err != nil {
		t.Fatal(err)
	}
	free := []string{"ground", "suspicion", "reason", "less_intrusive", "finding", "intrusion", "consequences", "policy", "union", "scope.protected"}
	taken := map[string]int{}
	var walk func(path string, node map[string]any)
	walk = func(path string, node map[string]any) {
		for key, value := range node {
			name := strings.TrimPrefix(path+"."+key, ".")
			if sub, ok := value.(map[string]any); ok {
				walk(name, sub)
				continue
			}
			for _, text := range injections() {
				for _, put := range []any{text, []any{text}} {
					node[key] = put
					d := new(Decision)
					if json.Unmarshal(get(json.Marshal(tree)), d) == nil && d.Validate() == nil {
						taken[name]++
						if !slices.Contains(free, name) && !((name == "scope.subject" || name == "scope.names") && text == "å") && name != "case" {
							t.Errorf("%s takes %.40q", name, text)
						}
					}
				}
			}
			node[key] = value
		}
	}
	walk("", tree)
	for _, name := range free {
		if taken[name] == 0 {
			t.Errorf("%s takes no text at all", name)
		}
	}
}

// Case 26: a decision is what was signed, to the byte.
func TestOneByteChanged(t *testing.T) {
	o := newTown(t)
	signed := get(SignDecision(o.decision(noon()), o.signer("chef")))
	for i := range signed {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			changed := bytes.Clone(signed)
			changed[i] ^= flip
			if _, _, err := OpenDecision(changed); err == nil {
				t.Fatalf("byte %d was changed by %#x and nobody saw it", i, flip)
			}
		}
	}
}

func TestForgedForms(t *testing.T) {
	o := newTown(t)
	signed := get(SignDecision(o.decision(noon()), o.signer("chef")))
	text := get(seal.Unsigned(signed))
	again := func(edit func(string) string) []byte {
		return get(seal.Sign([]byte(edit(string(text))), o.signer("chef")))
	}
	swap := func(s string) string {
		lines := strings.Split(s, "\n")
		lines[3], lines[4] = lines[4], lines[3]
		return strings.Join(lines, "\n")
	}
	replace := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("the text has no %q", old)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	lines := strings.SplitAfter(string(signed), "\n")
	signature := lines[len(lines)-2]
	for name, forged := range map[string][]byte{
		"an unknown field":         again(replace(`"tenant"`, "\"extra\": 1,\n  \"tenant\"")),
		"a doubled field":          again(replace(`  "kind": "person",`, "  \"kind\": \"person\",\n  \"kind\": \"person\",")),
		"lines in another order":   again(swap),
		"CRLF":                     again(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }),
		"an extra line":            again(func(s string) string { return s + "\n" }),
		"an extra space":           again(replace(`": "person"`, `":  "person"`)),
		"an escape for a letter":   again(replace(`"person"`, `"p\u0065rson"`)),
		"a field of another case":  again(replace(`"kind"`, `"Kind"`)),
		"a number with a fraction": again(replace(`"lookups": 2`, `"lookups": 2.0`)),
		"another form of zero":     again(replace(`"2026-11-22T12:00:00Z"`, `"2026-11-22T12:00:00+00:00"`)),
		"two documents":            again(func(s string) string { return s + s }),
		"a decomposed letter":      again(replace("ö", "o\u0308")),
		"a direction character":    again(replace("Fyndet", "\u202eFyndet")),
		"of another type":          again(replace("tillsyn decision v1", "tillsyn register v1")),
		"a doubled signature":      []byte(string(signed) + signature),
		"no signature":             text,
		"signed by another":        get(seal.Sign(text, o.signer("utredare"))),
		"signed by another beside": get(seal.Countersign(signed, o.signer("utredare"))),
		"text after the signature": append(bytes.Clone(signed), "mer\n"...),
		"nothing":                  {},
		"too long":                 bytes.Repeat([]byte("a"), 2<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := OpenDecision(forged); err == nil {
				t.Error("it was taken")
			}
		})
	}
	stranger := get(seal.NewSigner("chef"))
	if _, _, err := OpenDecision(get(seal.Sign(text, stranger))); err == nil {
		t.Error("another key of the same name was taken")
	}
	if _, err := SignDecision(o.decision(noon()), stranger); err == nil {
		t.Error("a decision was signed with a key that does not stand in it")
	}
}

func TestActsHaveOnlyTheirFields(t *testing.T) {
	o := newTown(t)
	s := newStory(o, nil)
	good := map[string]func(*Act){
		ActApproval: func(a *Act) {
			current := o.current()
			a.Role, a.Register, a.Handover = seal.HR, &current, seal.DigestOf([]byte("x"))
		},
		ActDenial:     func(a *Act) { a.Role, a.Reason = seal.HR, "nej" },
		ActRevocation: func(a *Act) { a.Reason = "nytt besked" },
		ActNotice:     func(a *Act) { a.Told, a.ToldAt = "Vision", a.At },
		ActClosing:    func(a *Act) { a.Result = "inget fynd" },
		ActLookup:     func(*Act) {},
	}
	for typ, fill := range good {
		a := NewAct(typ, s.Decision, s.Digest, "hr-1", s.now)
		fill(&a)
		signed, err := SignAct(a, o.signer("hr-1"))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if again, err := ReadAct(signed); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%s: it is read as something else: %v", typ, err)
		}
		for other, more := range good {
			mixed := a
			more(&mixed)
			if typ != other && other != ActLookup && mixed.Validate() == nil && !reflect.DeepEqual(mixed, a) && !(typ == ActDenial && other == ActRevocation) {
				t.Errorf("%s takes the fields of %s", typ, other)
			}
		}
		if typ != ActLookup {
			bare := NewAct(typ, s.Decision, s.Digest, "hr-1", s.now)
			if bare.Validate() == nil {
				t.Errorf("%s needs no field", typ)
			}
		}
	}
}

func FuzzDecision(f *testing.F) {
	o := newTown(f)
	signer := o.signer("chef")
	for _, d := range examples(o) {
		signed, err := SignDecision(d, signer)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed)
	}
	f.Fuzz(func(t *testing.T, signed []byte) {
		d, digest, err := OpenDecision(signed)
		if err != nil {
			return
		}
		text, again, err := d.Text()
		if err != nil || digest != again {
			t.Fatalf("a decision that was read is not written alike: %v", err)
		}
		if !bytes.HasPrefix(signed, text) {
			t.Fatal("a decision was read that is not what was signed")
		}
	})
}
