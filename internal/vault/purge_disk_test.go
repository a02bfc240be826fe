package vault

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tillsyn/internal/audit"
)

// A false disk is a directory as a server would have it, with one part of each table.
type falseDisk struct {
	t       *testing.T
	root    string
	search  diskSearch
	samples []PurgeSample
	marker  []byte
}

func newFalseDisk(t *testing.T) *falseDisk {
	t.Helper()
	f := &falseDisk{t: t, root: t.TempDir(), marker: []byte("0123456789abcdef")}
	sample := []byte("fedcba9876543210")
	f.samples = []PurgeSample{{"2026-01-01", strings.Repeat("0", 32), hex.EncodeToString(sample)}}
	f.search = diskSearch{roots: []string{f.root}, tables: map[string][]string{}, past: func(_, partition string) bool { return partition == "20260101" },
		disks: []serverDisk{{"default", f.root + "/", "Local", false, false}}}
	for _, table := range allTables() {
		dir := filepath.Join(f.root, "store", "abc", table)
		f.search.tables[table] = []string{dir + "/"}
		f.write(filepath.Join(dir, "20260301_1_1_0", "capsule.bin"), "other")
	}
	f.write(filepath.Join(f.root, "store", "abc", "web_capsules", "20260101_1_1_0", "capsule.bin"), "head"+string(sample)+"tail")
	f.write(filepath.Join(f.root, "store", "abc", "holds", "20260301_1_1_0", "salt.bin"), string(f.marker))
	return f
}

func (f *falseDisk) write(path, text string) {
	f.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *falseDisk) move(from, to string) {
	f.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(from, to)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *falseDisk) link(target, name string) {
	f.t.Helper()
	if err := os.Symlink(target, name); err != nil {
		f.t.Fatal(err)
	}
}

// Directories that are not the server's, or do not show what it stores, are not examined, whatever is found in them. Those that
// are show a copy, the ciphertext, and the marker.
func TestTheDiskSearchKnowsWhoseDiskItIs(t *testing.T) {
	partitions := map[string]bool{"web_capsules 20260101": true}
	for name, c := range map[string]struct {
		do       func(*falseDisk)
		examined bool
		before   int
		hits     int
	}{
		"the server's": {func(f *falseDisk) {}, true, 1, 1},
		"the server's, by a link": {func(f *falseDisk) {
			f.link(f.root, f.root+"-link")
			f.search.roots = []string{f.root + "-link"}
		}, true, 1, 1},
		"the server's, that names its tables by a link": {func(f *falseDisk) {
			f.link(filepath.Join(f.root, "store"), filepath.Join(f.root, "data"))
			f.search.tables["web_keys"] = []string{filepath.Join(f.root, "data", "abc", "web_keys") + "/"}
		}, true, 1, 1},
		"links that lead nowhere, and inside": {func(f *falseDisk) {
			f.link("gone", filepath.Join(f.root, "dangling"))
			f.link(filepath.Join(f.root, "store"), filepath.Join(f.root, "data"))
		}, true, 1, 1},
		"a link that leads outside": {func(f *falseDisk) {
			f.link(f.t.TempDir(), filepath.Join(f.root, "shadow"))
		}, false, 1, 0},
		"tables behind a link that leads outside": {func(f *falseDisk) {
			out := filepath.Join(f.t.TempDir(), "store")
			f.move(filepath.Join(f.root, "store"), out)
			f.link(out, filepath.Join(f.root, "store"))
		}, false, 0, 0},
		"an empty folder": {func(f *falseDisk) {
			f.search.roots = []string{f.t.TempDir()}
		}, false, 0, 0},
		"a folder that is not there": {func(f *falseDisk) {
			f.search.roots = []string{filepath.Join(f.root, "nobody")}
		}, false, 0, 0},
		"a file": {func(f *falseDisk) {
			f.write(f.root+"-file", "")
			f.search.roots = []string{f.root + "-file"}
		}, false, 0, 0},
		"the folder of another machine, without the tables": {func(f *falseDisk) {
			f.move(filepath.Join(f.root, "store"), filepath.Join(f.t.TempDir(), "store"))
			f.write(filepath.Join(f.root, "unrelated"), "x")
		}, false, 0, 0},
		"a table is a file": {func(f *falseDisk) {
			f.move(filepath.Join(f.root, "store", "abc", "web_keys"), filepath.Join(f.t.TempDir(), "web_keys"))
			f.write(filepath.Join(f.root, "store", "abc", "web_keys"), "x")
		}, false, 0, 0},
		"one table is elsewhere": {func(f *falseDisk) {
			f.search.tables["mail_keys"] = append(f.search.tables["mail_keys"], f.t.TempDir())
		}, false, 0, 0},
		"the same folders of another container, or a copy of them": {func(f *falseDisk) {
			f.write(filepath.Join(f.root, "store", "abc", "holds", "20260301_1_1_0", "salt.bin"), "another marker  ")
			f.write(filepath.Join(f.root, "store", "abc", "web_capsules", "20260101_1_1_0", "capsule.bin"), "encrypted by the disk")
		}, false, 0, 0},
		"object storage": {func(f *falseDisk) {
			f.search.disks = append(f.search.disks, serverDisk{"s3", filepath.Join(f.root, "store") + "/", "ObjectStorage", true, false})
		}, false, 0, 0},
		"an encrypted disk": {func(f *falseDisk) {
			f.search.disks = append(f.search.disks, serverDisk{"secret", filepath.Join(f.root, "store", "abc", "rejects") + "/", "Local", false, true})
		}, false, 0, 0},
		"no disk that the server knows": {func(f *falseDisk) {
			f.search.disks = []serverDisk{{"default", "/nobody/", "Local", false, false}}
		}, false, 0, 0},
		"a server that says nothing": {func(f *falseDisk) {
			f.search.tables["rejects"] = nil
		}, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFalseDisk(t)
			c.do(f)
			before, err := f.search.before(t.Context(), f.samples, partitions)
			if before != c.before || (err != nil) != (c.before == 0 && !strings.Contains(name, "container")) || err != nil && !errors.Is(err, errNotExamined) {
				t.Errorf("before: %d, %v", before, err)
			}
			check, found, err := f.search.run(t.Context(), f.samples, f.marker)
			if check.Examined != c.examined || (err == nil) != c.examined || err != nil && !errors.Is(err, errNotExamined) {
				t.Fatalf("%+v %v", check, err)
			}
			if c.examined && (check.Hits != c.hits || check.Copies != 1 || len(found) != 2 || check.Files < 12) {
				t.Errorf("%+v %v", check, found)
			}
		})
	}
}

// What was not found before it was removed is not missed afterwards: no certificate, but one that says that no disk was examined.
func TestADiskThatNeverShowedAnything(t *testing.T) {
	a := newArchive(t)
	a.fill(Web, a.today()-90, 5, 1)
	a.purge.Config.DataPaths = []string{filepath.Join(a.engine.DataDir, "clickhouse")}
	a.purge.step = func(step string) error {
		if step == "intent" {
			return errKilled
		}
		return nil
	}
	s, err := a.purge.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	intent, err := a.purge.intend(t.Context(), s, map[purgeKey]bool{})
	if err != nil || !intent.Control.Searched || intent.Control.Found == 0 || intent.Control.Found > len(intent.Samples) {
		t.Fatalf("%+v %v", intent.Control, err)
	}
	a.purge.step = nil
	// As if the directories had been those of another container then.
	intent.Control.Found = 0
	if _, err := a.purge.putOnRecord(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	if _, err := a.purge.Run(t.Context()); !errors.Is(err, ErrNotVerified) || !errors.Is(err, errNotExamined) || len(a.entries(audit.PurgeCertificate)) != 0 {
		t.Fatal(err)
	}
	if n := a.number("SELECT count() FROM web_keys") + a.number("SELECT count() FROM holds"); n != 0 {
		t.Fatal("rows, or the marker, are left:", n)
	}
	a.purge.Config.DataPaths, a.purge.Config.WithoutDisk = nil, true
	r := a.run()
	if len(r.Certificates) != 1 || r.Certificates[0].Disk.Examined || len(r.Certificates[0].Disk.Unexamined) != 1 {
		t.Fatalf("%+v", r)
	}
	a.purge.Config.DataPaths, a.purge.Config.WithoutDisk = []string{filepath.Join(a.engine.DataDir, "clickhouse")}, false
	a.fill(Web, a.today()-91, 5, 1)
	r = a.run()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Certificates[0].Disk; !d.Examined || d.Server != "embedded" || d.Host != host || len(d.Unexamined) != 0 || !d.Control.Searched || d.Control.Found == 0 {
		t.Fatalf("%+v", d)
	}
}
