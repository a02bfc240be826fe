package vault

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tillsyn/internal/synthetic"
)

var makeDictionary = flag.Bool("dictionary", false, "make dictionary1.zstd of dictionary1.txt and of a synthetic municipality. Only before a version is in use")

// The dictionary is part of the format: with another one, what was sealed can't be read any more.
func TestTheDictionaryNeverChanges(t *testing.T) {
	if *makeDictionary {
		history, err := os.ReadFile("dictionary1.txt")
		if err != nil {
			t.Fatal(err)
		}
		dict, err := zstd.BuildDict(zstd.BuildDictOptions{ID: dictionaryID, Contents: sampleBodies(t), History: history, Offsets: [3]int{1, 4, 8}, Level: zstd.SpeedBetterCompression})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("dictionary1.zstd", dict, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d bytes, sha256 %x", len(dict), sha256.Sum256(dict))
		return
	}
	const want = "77fb1cee516c356aa66ff5db3090b96e7e5b68ae7fbf0f056266c33486657d24"
	if got := fmt.Sprintf("%x", sha256.Sum256(dictionary1)); got != want {
		t.Errorf("dictionary1.zstd has the sum %s, it must be %s", got, want)
	}
}

// sampleBodies are the capsules of half an hour of a municipality in batches of ten seconds and of a minute, half of them with
// what only some formats tell.
func sampleBodies(t *testing.T) (bodies [][]byte) {
	m, err := synthetic.New(synthetic.Config{Seed: 99, People: 2000, From: "2026-03-02", Days: 1, Lines: 60_000, Format: "squid_native", Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	type batch struct {
		person string
		window int64
	}
	gathered := map[batch][]Event{}
	addr := func(s string) netip.Addr {
		a, _ := netip.ParseAddr(s)
		return a
	}
	optional := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	for {
		x, ok := m.NextEvent()
		if !ok {
			break
		}
		if x.Bad != "" {
			continue
		}
		var e Event
		e.Reset()
		e.Time, e.Duration, e.SourceIP, e.User = x.Time, time.Duration(x.Duration)*time.Millisecond, addr(x.SourceIP), optional(x.User)
		e.Method, e.Scheme, e.Domain, e.Status, e.MIME = []byte(x.Method), optional(x.Scheme), []byte(x.Host.Name), int32(x.Status), optional(x.MIME)
		path, query, found := strings.Cut(string(x.AppendPath(nil)), "?")
		if e.Path = []byte(path); found {
			e.Query = []byte(query)
		}
		e.DestinationBytes, e.DestinationIP, e.Country = x.BytesIn, addr(x.ServerIP), []byte(x.Country)
		e.Category, e.Class, e.List, e.Version, e.Rule = []byte(x.Category), []byte(x.Class), []byte(x.Category), []byte("sha256:0123456789ab"), []byte(x.Host.Site)
		if e.Action = 1; x.Blocked {
			e.Action = 2
		}
		window := int64(10)
		if len(x.Subject)%2 == 0 {
			e.UserAgent, e.SourceBytes, window = optional(x.UserAgent), x.BytesOut, 60
			if x.Referrer != nil {
				e.Referrer = []byte("https://" + x.Referrer.Name + "/")
			}
		}
		id := batch{x.Subject, x.Time / 1000 / window}
		gathered[id] = append(gathered[id], e)
	}
	for _, events := range gathered {
		if len(bodies) < 8000 && len(events) <= maxEvents {
			bodies = append(bodies, bodyOf(events, events[0].Time/1000))
		}
	}
	return bodies
}
