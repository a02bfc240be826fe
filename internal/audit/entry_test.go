package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func stamped(i int) Entry {
	e := sample(i)
	e.At = time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	return e
}

// The one form, byte for byte: another implementation can be checked against it.
func TestEntryForm(t *testing.T) {
	e := Entry{
		At: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), Kind: PurgeCertificate, Actor: "purge", Case: "KS 2026/12",
		Document: "sha256:" + strings.Repeat("0a", 32), Counts: map[string]int64{"keys": 3, "days": 1}, Body: "rad \"ett\" \\\nrad två <&>\n",
	}
	want := `{"v":1,"at":"2026-11-22T01:02:03Z","kind":"purge.certificate","actor":"purge","case":"KS 2026/12","document":"sha256:` + strings.Repeat("0a", 32) +
		`","counts":{"days":1,"keys":3},"body":"rad \"ett\" \\\nrad två <&>\n"}`
	line, err := e.Encode()
	if err != nil || string(line) != want {
		t.Fatalf("%s\nwant\n%s %v", line, want, err)
	}
	var any map[string]any
	if err := json.Unmarshal(line, &any); err != nil || any["body"] != e.Body {
		t.Errorf("it is not JSON: %v", err)
	}
	if got, err := ParseEntry(line); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v %v", got, err)
	}
	empty := `{"v":1,"at":"2026-11-22T01:02:03Z","kind":"hold.placed","actor":"a","case":"","document":"","counts":{},"body":""}`
	if got, err := ParseEntry([]byte(empty)); err != nil || got.Counts != nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestKindsAreKnown(t *testing.T) {
	for _, k := range Kinds() {
		if !k.known() {
			t.Errorf("%s is not known", k)
		}
	}
	if Kind("").known() || Kind("lookup").known() {
		t.Error("what is no kind is known")
	}
}

func TestEntryRefused(t *testing.T) {
	line, err := stamped(3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(line)
	for name, text := range map[string]string{
		"empty":            "",
		"null":             "null",
		"space before":     " " + good,
		"space after":      good + " ",
		"line end":         good + "\n",
		"two":              good + good,
		"space inside":     strings.Replace(good, `,"kind"`, `, "kind"`, 1),
		"unknown field":    strings.Replace(good, `,"kind"`, `,"x":1,"kind"`, 1),
		"doubled field":    strings.Replace(good, `,"actor"`, `,"kind":"hold.placed","actor"`, 1),
		"missing field":    strings.Replace(good, `"v":1,`, ``, 1),
		"other version":    strings.Replace(good, `"v":1`, `"v":2`, 1),
		"other order":      strings.Replace(strings.Replace(good, `"v":1,`, ``, 1), `"body"`, `"v":1,"body"`, 1),
		"upper-case field": strings.Replace(good, `"kind"`, `"Kind"`, 1),
		"escaped letter":   strings.Replace(good, `"actor":"h`, `"actor":"\u0068`, 1),
		"escaped slash":    strings.Replace(good, `2026/`, `2026\/`, 1),
		"counts order":     strings.Replace(good, `{"number":3,"rows":9}`, `{"rows":9,"number":3}`, 1),
		"counts doubled":   strings.Replace(good, `{"number":3,`, `{"number":3,"number":3,`, 1),
		"counts float":     strings.Replace(good, `"number":3`, `"number":3.0`, 1),
		"counts exponent":  strings.Replace(good, `"number":3`, `"number":3e0`, 1),
		"counts negative":  strings.Replace(good, `"number":3`, `"number":-3`, 1),
		"counts zero led":  strings.Replace(good, `"number":3`, `"number":03`, 1),
		"counts too large": strings.Replace(good, `"number":3`, `"number":9007199254740992`, 1),
		"counts overflow":  strings.Replace(good, `"number":3`, `"number":18446744073709551617`, 1),
		"counts comma":     strings.Replace(good, `"rows":9}`, `"rows":9,}`, 1),
		"time zone":        strings.Replace(good, `03Z`, `03+00:00`, 1),
		"time fraction":    strings.Replace(good, `03Z`, `03.5Z`, 1),
		"leap second":      strings.Replace(good, `03Z`, `60Z`, 1),
		"time year 1":      strings.Replace(good, `2026-`, `0001-`, 1),
		"raw line end":     strings.Replace(good, `\n`, "\n", 1),
		"NUL":              strings.Replace(good, `rad`, "r\x00d", 1),
		"not UTF-8":        strings.Replace(good, `rad`, "r\xffd", 1),
		"unending":         good[:len(good)-2],
		"backslash end":    good[:len(good)-2] + `\`,
	} {
		if text == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := ParseEntry([]byte(text)); err == nil {
			t.Errorf("%s is accepted: %s", name, text)
		} else if strings.Contains(err.Error(), "holder-3") {
			t.Errorf("%s: the error quotes the line: %v", name, err)
		}
	}
}

// FAULTS case 39: nothing in an entry can end a line, move a cursor, turn text round, or be longer than it should.
func TestLogInjection(t *testing.T) {
	attacks := []string{
		"a\nb", "a\rb", "a\x00b", "a\x1b[2Jb", "a\u0085b", "a\u2028b", "a\u2029b", "a\u202eb", "a\u2066b", "a\u200eb", "a\u061cb", "a\u200bb", "a\ufeffb",
		"a\u00adb", "a\tb", "a\x7fb", "a\xffb", "a\ufffdb", "\U000e0041", strings.Repeat("x", 1<<20), "\ue000",
	}
	for _, attack := range attacks {
		for name, set := range map[string]func(*Entry){
			"kind":     func(e *Entry) { e.Kind = Kind(attack) },
			"actor":    func(e *Entry) { e.Actor = attack },
			"case":     func(e *Entry) { e.Case = attack },
			"document": func(e *Entry) { e.Document = attack },
			"counts":   func(e *Entry) { e.Counts = map[string]int64{attack: 1} },
			"body":     func(e *Entry) { e.Body = attack },
		} {
			e := stamped(1)
			set(&e)
			line, err := e.Encode()
			if name == "body" && attack == "a\nb" {
				if err != nil || bytes.ContainsAny(line, "\n") {
					t.Errorf("a body of two lines: %s %v", line, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s may be %.20q", name, attack)
			} else if len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\x00\x1b\r\u202e") {
				t.Errorf("%s: the error carries the attack on: %q", name, err)
			}
		}
	}
	for name, actor := range map[string]string{"mail address": "anna@example.org", "space": "Anna Ek", "Swedish letter": "åsa", "look-alike": "аnna", "none": "", "path": "../x"} {
		e := stamped(1)
		e.Actor = actor
		if e.Validate() == nil {
			t.Errorf("an actor may be a %s", name)
		}
	}
	long := stamped(1)
	long.Body = strings.Repeat("\n", 40000)
	if _, err := long.Encode(); err == nil {
		t.Error("an entry may be longer than a bundle can say")
	}
	many := stamped(1)
	many.Counts = map[string]int64{}
	for i := range 33 {
		many.Counts[strings.Repeat("a", i+1)] = 1
	}
	if many.Validate() == nil {
		t.Error("there may be any number of counts")
	}
	for _, number := range []string{"KS 2026/12", "BUN-2026:7", "Ä 12", "1", "kommunstyrelsen 2026-0123.4"} {
		e := stamped(1)
		e.Case = number
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", number, err)
		}
	}
	for _, number := range []string{" 1", "1 ", "/1", "-1", "a\u0308", "1\u00a02"} {
		e := stamped(1)
		e.Case = number
		if e.Validate() == nil {
			t.Errorf("a case number may be %q", number)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for i := range 6 {
		line, err := stamped(i).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"v":1,"at":"2026-11-22T01:02:03Z","kind":"hold.placed","actor":"a","case":"","document":"","counts":{},"body":"\\\"\n"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEntry(line)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%q is read and written as %q: %v", line, again, err)
		}
		var other map[string]any
		if err := json.Unmarshal(line, &other); err != nil || len(other) != 8 {
			t.Fatalf("%q is no JSON of 8 fields: %v", line, err)
		}
		counts, _ := other["counts"].(map[string]any)
		if other["body"] != e.Body || other["actor"] != e.Actor || !slices.Equal(slices.Sorted(maps.Keys(counts)), slices.Sorted(maps.Keys(e.Counts))) {
			t.Fatalf("%q means two things", line)
		}
		if bytes.ContainsAny(line, "\n\r\x00\x1b") {
			t.Fatalf("%q is more than a line", line)
		}
	})
}
