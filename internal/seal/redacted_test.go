package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestNothingOfATokenPrints(t *testing.T) {
	k := NewStatisticsKey(MonthOf(time.Now()))
	tk, err := k.Tokenizer(k.Oldest())
	if err != nil {
		t.Fatal(err)
	}
	subject, message, site, cell := tk.Subject("norrbo", []byte("anna")), tk.Message("norrbo", []byte("id")), Site("example.org"), Cell("web_hourly", "norrbo")
	for name, v := range map[string]any{
		"subject": subject, "message": message, "site": site, "cell": cell, "tokenizer": tk, "tokenizer by value": *tk,
		"pointers": []any{&subject, &message, &site, &cell}, "slices": [][]any{{subject}, {message, site, cell, tk}},
		"fields": struct {
			S SubjectBlock
			M MessageBlock
			W SiteBlock
			C CellBlock
			T *Tokenizer
		}{subject, message, site, cell, tk},
	} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		if strings.Count(log.String(), "[redacted]") < 2 {
			t.Errorf("%s: a log says %s", name, log.String())
		}
		text, err := json.Marshal(v)
		if err != nil || !strings.Contains(string(text), "[redacted]") {
			t.Errorf("%s: JSON says %s, %v", name, text, err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%08b"} {
			said := fmt.Sprintf(verb, v)
			if !strings.Contains(said, redacted) && name != "pointers" || strings.Contains(said, fmt.Sprintf("%x", subject[:4])) || strings.Contains(said, fmt.Sprint(subject[0], subject[1])) {
				t.Errorf("%s: %s says %s", name, verb, said)
			}
		}
	}
}

func TestZeroTokenizerSaysWhatIsWrong(t *testing.T) {
	for name, use := range map[string]func(*Tokenizer){
		"Subject":   func(t *Tokenizer) { t.Subject("norrbo", []byte("anna")) },
		"Message":   func(t *Tokenizer) { t.Message("norrbo", []byte("id")) },
		"Mail":      func(t *Tokenizer) { t.Mail(MessageBlock{}, CellBlock{}) },
		"People":    func(t *Tokenizer) { t.People(SubjectBlock{}, CellBlock{}) },
		"SlotState": func(t *Tokenizer) { t.SlotState(SubjectBlock{}, CellBlock{}) },
		"Slot":      func(t *Tokenizer) { t.Slot([16]byte{}, SiteBlock{}, 1) },
	} {
		for _, tk := range []*Tokenizer{nil, {}} {
			func() {
				defer func() {
					if said, _ := recover().(string); !strings.Contains(said, "no key") {
						t.Errorf("%s: panic %q", name, said)
					}
				}()
				use(tk)
			}()
		}
	}
}
