package casework

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tillsyn/internal/seal"
)

// prose are the fields that people write in their own words: they are shown, and no query, path or command is made of them.
func prose() []string {
	return []string{"ground", "suspicion", "reason", "less_intrusive", "finding", "intrusion", "consequences", "policy", "union", "informed", "scope.protected", "scope.withheld",
		"told", "result", "manager", "wording", "answer", "reasons", "laws[].law"}
}

// Case 37: every value of every field of every document, in turn, is what an attacker would write there, signed by whoever may. Where
// it is no prose it is refused; where it is, it comes back as it was written. The fields are those of the text itself: a new one is
// among them.
func TestInjectionsIntoEveryDocument(t *testing.T) {
	// What consists of letters and digits alone is no attack, but a name.
	harmless := regexp.MustCompile(`^[A-Za-z0-9åäöÅÄÖ.]+$`)
	tried, taken := 0, map[string]int{}
	for _, d := range documents(newStory(newTown(t), nil)) {
		text := string(get(seal.Canonical(d.value)))
		values := valuesIn(text)
		if len(values) < 6 {
			t.Fatalf("%s has %d values", d.name, len(values))
		}
		for _, v := range values {
			for _, attack := range injections() {
				tried++
				forged := text[:v.from] + string(quoted(attack)) + text[v.to:]
				signed, err := seal.Sign([]byte(forged), d.signer)
				if err != nil {
					continue
				}
				if err := d.open(signed); err != nil {
					if strings.Contains(err.Error(), attack) && len(attack) > 4 {
						t.Errorf("%s: the answer quotes what was in %s", d.name, v.name)
					}
					continue
				}
				taken[v.name]++
				unit := v.name == "scope.unit" && harmless.MatchString(strings.ReplaceAll(attack, ",", "")) // "Kultur, fritid"
				if !slices.Contains(prose(), v.name) && !harmless.MatchString(attack) && !unit {
					t.Errorf("%s: %s takes %.40q", d.name, v.name, attack)
				}
				again := reflect.New(reflect.TypeOf(d.value).Elem()).Interface()
				if err := seal.ParseCanonical([]byte(forged), again); err != nil || !strings.Contains(fmt.Sprintf("%+v", reflect.ValueOf(again).Elem().Interface()), attack) {
					t.Errorf("%s: %s takes %.40q and is read as something else: %v", d.name, v.name, attack, err)
				}
			}
		}
	}
	for _, name := range prose() {
		if taken[name] == 0 {
			t.Errorf("nothing can be written into %s, which is prose: is it a field at all?", name)
		}
	}
	t.Logf("%d injections; taken as they are: %v", tried, taken)
}

// A value is one value in a document's text, with the name of its field.
type value struct {
	name     string
	from, to int
}

// valuesIn finds every value in a canonical text: strings, numbers and what is in lists.
func valuesIn(text string) []value {
	var list []value
	var path []string
	d := json.NewDecoder(strings.NewReader(text))
	var walk func()
	walk = func() {
		start := int(d.InputOffset())
		token := get(d.Token())
		switch token {
		case json.Delim('{'):
			for d.More() {
				path = append(path, get(d.Token()).(string))
				walk()
				path = path[:len(path)-1]
			}
			get(d.Token())
		case json.Delim('['):
			path[len(path)-1] += "[]"
			for d.More() {
				walk()
			}
			get(d.Token())
		default:
			to := int(d.InputOffset())
			from := start + len(text[start:to]) - len(strings.TrimLeft(text[start:to], " \n:,"))
			list = append(list, value{strings.Join(path, "."), from, to})
		}
	}
	walk()
	return list
}

// quoted is a JSON string as a document has it.
func quoted(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
