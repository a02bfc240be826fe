package casework

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"tillsyn/internal/seal"
)

// most is the memory that an archive may take whatever is in it.
const most = 64 << 20

// A filler is a byte over and over.
type filler byte

func (f filler) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(f)
	}
	return len(b), nil
}

// Archives that are small and hold much take little memory, and no long time, to refuse: by far the most of what they hold is never
// unpacked, because nobody whom the record knows has signed for it.
func TestExportThatIsABomb(t *testing.T) {
	log := openDesk(t, nil).log
	signer := newTown(t).signer("chef")
	bomb := func(change func(*Manifest), size int64, names ...string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		m := Manifest{Type: typeManifest, Deployment: deployment, Tenant: tenant, Case: "X 1", Kind: Person, Decision: seal.DigestOf([]byte("x")), Maker: "chef",
			Made: noon().Truncate(time.Second), LogKey: log.Trust().Key(), Nonce: NewNonce()}
		for _, name := range names {
			h := sha256.New()
			get(io.Copy(io.MultiWriter(get(z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})), h), io.LimitReader(filler('\n'), size)))
			m.Files = append(m.Files, ManifestFile{name, size, seal.Digest(h.Sum(nil))})
		}
		if change != nil {
			change(&m)
		}
		get(get(z.CreateHeader(&zip.FileHeader{Name: manifestName, Method: zip.Deflate})).Write(get(SignManifest(m, signer))))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	many := func(folder string, n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("%s/%04d.note", folder, i))
		}
		return names
	}
	crowded := func(n int) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := range n {
			get(z.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i), Comment: strings.Repeat("c", 200)}))
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	only := func(name string, size int64) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		get(io.Copy(get(z.Create(name)), io.LimitReader(filler('\n'), size)))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, file := range map[string][]byte{
		"rows of nothing":       bomb(nil, 64<<20, "rows.json"),
		"a table of nothing":    bomb(nil, 64<<20, "rows.csv"),
		"a note of nothing":     bomb(nil, 64<<20, "decision.note"),
		"a page of nothing":     bomb(nil, 64<<20, "decision.html"),
		"many registers":        bomb(nil, 512<<10, many("register", 120)...),
		"many acts":             bomb(nil, 512<<10, many("acts", 120)...),
		"many proofs":           bomb(nil, 256<<10, many("record", 240)...),
		"more than it says":     bomb(func(m *Manifest) { m.Files[0].Size = 1 }, 64<<20, "rows.json"),
		"less than it says":     bomb(func(m *Manifest) { m.Files[0].Size = MaxExport }, 1<<20, "rows.json"),
		"a crowd of files":      crowded(60_000),
		"a crowd that is hid":   hideCrowd(crowded(60_000)),
		"a manifest of nothing": only(manifestName, 64<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := time.Now()
		_, err := VerifyExport(bytes.NewReader(file), int64(len(file)), log.Trust())
		took := time.Since(begun)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: it verifies", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > most || took > 5*time.Second {
			t.Errorf("%s: an archive of %d KiB takes %d MiB and %v", name, len(file)>>10, n>>20, took)
		}
	}
}

// hideCrowd lets an archive say that it holds one file.
func hideCrowd(file []byte) []byte {
	file = slices.Clone(file)
	end := bytes.LastIndex(file, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint16(file[end+8:], 1)
	binary.LittleEndian.PutUint16(file[end+10:], 1)
	return file
}

// A true export of many rows is checked a row at a time: what it takes does not grow with it.
func TestExportOfManyRowsTakesLittleMemory(t *testing.T) {
	n := 400_000
	if os.Getenv("CI") == "" {
		n = 20_000
	}
	path, trust := func() (string, func() (ExportReport, error)) {
		rows := make([]Row, n)
		for i := range rows {
			rows[i] = Row{{"@timestamp", "2026-11-18T10:00:00.000Z"}, {"url.domain", fmt.Sprintf("host%d.example", i)}, {"url.path", "/" + strings.Repeat("väg/", 100)}, {"destination.bytes", int64(i)}}
		}
		rows[n/2] = append(rows[n/2], Field{"user_agent.original", strings.Repeat("=A\n", 300_000)})
		k := openDesk(t, nil).approved().looked(rows)
		e := k.export(rows)
		trust := k.log.Trust()
		return e.Path, func() (ExportReport, error) {
			f := get(os.Open(e.Path))
			defer f.Close()
			return VerifyExport(f, get(f.Stat()).Size(), trust)
		}
	}()
	runtime.GC()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	before := heap[0].Value.Uint64()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		seen := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		top := uint64(0)
		for {
			select {
			case <-stop:
				peak <- top
				return
			case <-tick.C:
				metrics.Read(seen)
				top = max(top, seen[0].Value.Uint64())
			}
		}
	}()
	begun := time.Now()
	r, err := trust()
	close(stop)
	top := <-peak
	if err != nil || r.Rows != n {
		t.Fatal(r.Rows, err)
	}
	size := get(os.Stat(path)).Size()
	t.Logf("%d rows, %d KiB packed: at most %d MiB above what was there, %v", n, size>>10, (max(top, before)-before)>>20, time.Since(begun))
	if top > before+most {
		t.Errorf("it took %d MiB", (top-before)>>20)
	}
}
