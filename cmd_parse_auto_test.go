package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseAuto(t *testing.T) {
	// more than the sample, so that what was looked at and what follows it are both read, once
	log := strings.Repeat(nativeLine, 3000)
	code, out, faults := runParseCommand(t, log, "--format", "auto", "-")
	if code != exitOK || strings.Count(out, "\n") != 3000 || !strings.HasPrefix(faults, "format squid_native: 500 of 500 lines read") {
		t.Errorf("code %d, %d events, faults %s", code, strings.Count(out, "\n"), faults)
	}
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runParseCommand(t, "", "--format", "auto", path); code != exitOK || strings.Count(out, "\n") != 3000 {
		t.Errorf("a file: code %d, %d events", code, strings.Count(out, "\n"))
	}
	code, out, faults = runParseCommand(t, nativeLine+"cecilia says hello\n", "--format", "auto", "-")
	if code != exitFound || out != "" || !strings.Contains(faults, "no format reads 80 %") || !strings.Contains(faults, "squid_native (1 of 2") || strings.Contains(faults, "cecilia") {
		t.Errorf("a sample that no format reads: code %d, out %s, faults %s", code, out, faults)
	}
	if code, _, faults := runParseCommand(t, "", "--format", "auto", "-"); code != exitFound {
		t.Errorf("nothing to look at: code %d, faults %s", code, faults)
	}
	if code, _, faults := runParseCommand(t, nativeLine, "--format", "auto", "--logformat", "%ts", "-"); code != exitUsage {
		t.Errorf("an option that the format can't use: code %d, faults %s", code, faults)
	}
}

// TestParseDocuments reads JSON over many lines and UTF-16 as files have them.
func TestParseDocuments(t *testing.T) {
	pretty := "[\r\n  {\r\n    \"MessageId\": \"<a@example.se>\",\r\n    \"Received\": \"2026-10-09T08:21:22\",\r\n    \"SenderAddress\": \"<>\",\r\n" +
		"    \"RecipientAddress\": \"anna@example.se\",\r\n    \"Status\": \"Delivered\"\r\n  },\r\n  {\r\n    \"Received\": \"never\"\r\n  }\r\n]\r\n"
	wide := "\xff\xfe"
	for _, c := range []byte(pretty) {
		wide += string([]byte{c, 0})
	}
	want := `{"@timestamp":"2026-10-09T08:21:22.000Z","event.code":"Delivered","event.outcome":"success","email.message_id":"a@example.se",` +
		`"email.from.address":"","email.to.address":["anna@example.se"]}` + "\n"
	for name, text := range map[string]string{"UTF-8": pretty, "UTF-16": wide} {
		code, out, faults := runParseCommand(t, text, "--format", "m365_message_trace_json", "-")
		if code != exitOK || out != want || !strings.Contains(faults, `"line":9`) {
			t.Errorf("%s: code %d\nout  %s\nwant %s\nfaults %s", name, code, out, want, faults)
		}
	}
}
