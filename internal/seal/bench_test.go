package seal

import (
	"fmt"
	"testing"
)

func BenchmarkNewKey(b *testing.B) {
	for _, suite := range Suites() {
		b.Run(string(suite), func(b *testing.B) {
			s, _ := office(b, suite)
			to := binding()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.NewKey(to, ours); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenShare(b *testing.B) {
	for _, suite := range Suites() {
		b.Run(string(suite), func(b *testing.B) {
			d := newSealedDay(b, suite)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.keys[HR].OpenShare(d.wrapped, HR, d.binding); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCapsule(b *testing.B) {
	d := newSealedDay(b, X25519)
	opening, err := Combine(d.wrapped.ID, d.shares)
	if err != nil {
		b.Fatal(err)
	}
	key := &SealingKey{id: d.wrapped.ID, gcm: opening.gcm}
	for _, size := range []int{64, 512, 4096, 65536} {
		plain := make([]byte, size)
		b.Run(fmt.Sprintf("seal/%d", size), func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = key.Seal(dst[:0], plain, d.label)
			}
		})
		capsule := key.Seal(nil, plain, d.label)
		b.Run(fmt.Sprintf("open/%d", size), func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = opening.Open(dst[:0], capsule, d.label); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTag(b *testing.B) {
	k := NewLookupKey(20_000)
	tagger, _ := k.Tagger(20_000)
	b.ReportAllocs()
	for b.Loop() {
		tagger.Tag("norrbo", []byte("anna.svensson"))
	}
}
