package resolve

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

// Whatever prints a Who, or something that holds one, must not print the person.
func TestSubjectNeverPrints(t *testing.T) {
	const planted = "planted.person"
	r := resolver(t, people)
	w := r.Who("burlov", []byte(planted), netip.Addr{})
	if identity(w) != planted {
		t.Fatal("nothing was planted")
	}
	hidden := struct{ who Who }{w} // fmt cannot call methods behind an unexported field
	pointer := &w
	for _, value := range []any{w, &w, w.Subject, &w.Subject, hidden, &hidden, []Who{w}, map[Subject]Who{w.Subject: w}, &pointer, struct{ any }{w}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "% X", "%d", "%T", "%p", "%t", "%e", "%U", "%c", "%o", "%10.3s"} {
			leaks(t, fmt.Sprintf("%T with %s", value, verb), planted, fmt.Sprintf(verb, value))
		}
		leaks(t, "Sprint", planted, fmt.Sprint(value))
		leaks(t, "Errorf", planted, fmt.Errorf("failed: %v", value).Error())
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("line", "value", value)
			leaks(t, "slog "+name, planted, b.String())
		}
		text, _ := json.Marshal(value)
		leaks(t, "json", planted, string(text))
		text, _ = xml.Marshal(value)
		leaks(t, "xml", planted, string(text))
		text, _ = yaml.Marshal(value)
		leaks(t, "yaml", planted, string(text))
		var b bytes.Buffer
		_ = gob.NewEncoder(&b).Encode(value)
		leaks(t, "gob", planted, b.String())
		b.Reset()
		_ = template.Must(template.New("").Parse("{{.}}")).Execute(&b, value)
		leaks(t, "template", planted, b.String())
	}
	leaks(t, "panic", planted, func() (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		panic(w)
	}())
	leaks(t, "join", planted, errors.Join(fmt.Errorf("%+v", w)).Error())
}

func leaks(t *testing.T, where, planted, text string) {
	t.Helper()
	low := strings.ToLower(text)
	if strings.Contains(low, planted) || strings.Contains(low, fmt.Sprintf("%x", planted)) || strings.Contains(low, fmt.Sprintf("% x", planted)) {
		t.Errorf("%s prints the person: %s", where, text)
	}
}

func TestSubjectIsAKey(t *testing.T) {
	a, b, c := newSubject("anna"), newSubject(string([]byte("anna"))), newSubject("björn")
	if a != b || a == c || a.IsZero() || !(Subject{}).IsZero() || newSubject("") != (Subject{}) {
		t.Error("subjects are not compared by identity")
	}
	if got := (Subject{}).AppendPersonalData([]byte("x")); string(got) != "x" {
		t.Errorf("nobody has an identity: %q", got)
	}
}
