package parse

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	numbered := func(lines []string) (sample [][]byte) {
		for _, line := range lines {
			sample = append(sample, []byte(strings.ReplaceAll(line, "@@@@", "0001")))
		}
		return sample
	}
	for want, sample := range map[string][][]byte{
		"squid_native":            numbered(nativeLines()),
		"squid_common":            numbered(combinedLines()),
		"zscaler_nss_json":        numbered(zscalerJSONLines()),
		"ndjson":                  numbered(ecsLines()),
		"m365_message_trace_json": numbered(traceLines()),
	} {
		guesses := Detect(append(sample, []byte("\n"), []byte("# a comment\n")))
		best, err := Choose(guesses)
		if err != nil || best.Format != want {
			t.Errorf("%s: chose %q of %+v: %v", want, best.Format, guesses, err)
		}
	}
	// four lines of five
	sample := append(numbered(nativeLines()), []byte("not a line of it"))
	if best, err := Choose(Detect(sample)); err != nil || best.Format != "squid_native" || !strings.Contains(best.Why, "5 of 6") {
		t.Error(best, err)
	}
	sample = append(sample, []byte("nor is this"))
	_, err := Choose(Detect(sample))
	if err == nil || !strings.Contains(err.Error(), "squid_native (5 of 7") || strings.Contains(err.Error(), "nor") {
		t.Error("a sample that no format reads: ", err)
	}
	for _, nothing := range [][][]byte{nil, {[]byte("\n")}, {[]byte("hello")}, {{0, 1, 2}}} {
		if best, err := Choose(Detect(nothing)); err == nil {
			t.Error(best)
		}
	}
}

// TestDetectPublic detects the public samples of which most lines are events of their format.
func TestDetectPublic(t *testing.T) {
	const root = "../../../shared/data/logs"
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the public samples are needed in CI and are not there: ", err)
		}
		t.Skip("the public samples are not beside this clone: ", err)
	}
	list, err := filepath.Glob(filepath.Join(root, "*", "*.expected.json"))
	if err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	for _, path := range list {
		record, err := os.ReadFile(strings.TrimSuffix(path, ".expected.json") + ".log")
		if err != nil {
			t.Fatal(err)
		}
		want := filepath.Base(filepath.Dir(path))
		if want == "squid_syslog" {
			// the same lines to the native reader, which takes the header off too
			want = "squid_native"
		}
		best, err := Choose(Detect(bytes.SplitAfter(record, []byte("\n"))))
		if err != nil || best.Format != want {
			t.Errorf("%s: %+v: %v", path, best, err)
		}
	}
}

func TestDrift(t *testing.T) {
	d := Drift{Window: 1600, Threshold: 0.2}
	if d.Drifted() {
		t.Error("before any line")
	}
	d.Add(0, 700)
	if d.Drifted() {
		t.Error("before half of the window is full")
	}
	d.Add(0, 100)
	if !d.Drifted() {
		t.Error("half of the window full of rejects")
	}
	for range 3200 {
		d.Add(1, 0)
	}
	if share, lines := d.Share(); d.Drifted() || share != 0 || lines < 1500 || lines > 1600 {
		t.Error("after two windows of good lines", share, lines)
	}
	for range 400 {
		d.Add(9, 1)
	}
	if d.Drifted() {
		t.Error("a tenth of rejects")
	}
	for range 100 {
		d.Add(10, 6)
	}
	if share, _ := d.Share(); !d.Drifted() || share < 0.3 {
		t.Error("more than a third of rejects", share)
	}
	var off Drift
	off.Add(0, 1<<20)
	if off.Drifted() {
		t.Error("the zero value watches")
	}
}
