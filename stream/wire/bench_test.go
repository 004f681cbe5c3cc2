package wire

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"footfall/track"
)

// benchPings is a working set of single-ping payloads larger than the first-level cache, as phones send them (about 115 B).
func benchPings() [][]byte {
	r := rand.New(rand.NewPCG(11, 11))
	pings := make([][]byte, 4096)
	for i := range pings {
		pings[i] = fmt.Appendf(nil, `{"t":%d,"lat":%.7f,"lon":%.7f,"acc":%.1f,"spd":%.2f,"crs":%d,"alt":%.1f,"src":"stream"}`,
			testReceived-r.IntN(5000), 50.4+r.Float64()/10, 30.4+r.Float64()/5, r.Float64()*50, r.Float64()*3, r.IntN(360), 150+r.Float64()*30)
	}
	return pings
}

func reportPings(b *testing.B, pings, payloadBytes int) {
	b.ReportMetric(float64(pings)*float64(b.N)/b.Elapsed().Seconds(), "pings/s")
	b.ReportMetric(float64(payloadBytes)/float64(pings), "B/ping")
}

func BenchmarkDecode(b *testing.B) {
	pings := benchPings()
	b.Run("json/n=1", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]track.Fix, 0, 1)
		for i := 0; b.Loop(); i++ {
			f, errs, err := DecodePings(dst, pings[i&4095], testReceived)
			if err != nil || errs != nil || f[0].Lat < 50 {
				b.Fatal(errs, err)
			}
		}
		reportPings(b, 1, len(pings[0]))
	})
	b.Run("encoding-json/n=1", func(b *testing.B) { // the naive twin
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var p struct {
				T                            *int64 `json:"t"`
				Lat, Lon, Acc, Spd, Crs, Alt *float64
				Src                          string
				Mock                         bool
			}
			if err := json.Unmarshal(pings[i&4095], &p); err != nil || *p.Lat < 50 {
				b.Fatal(err)
			}
		}
		reportPings(b, 1, len(pings[0]))
	})
	array := []byte{'['}
	var pb []byte
	for i := range 100 {
		if i > 0 {
			array = append(array, ',')
		}
		array = append(array, pings[i]...)
		pb = append(pb, protoBatch(protoPing("", 50.45, 30.52+float64(i)/1e3))...)
	}
	array = append(array, ']')
	dst := make([]track.Fix, 0, 100)
	for name, payload := range map[string][]byte{"json/n=100": array, "protobuf/n=100": pb, "protobuf/n=1": protoBatch(protoPing("", 50.45, 30.52))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				f, errs, err := DecodePings(dst, payload, testReceived)
				if n = len(f); err != nil || errs != nil || n == 0 {
					b.Fatal(errs, err)
				}
			}
			reportPings(b, n, len(payload))
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	const n = 512
	r := rand.New(rand.NewPCG(12, 12))
	recs := make([]Record, n)
	for i := range recs {
		recs[i] = realisticPing(r, fmt.Sprintf("shop.d%05d", r.IntN(100000)))
	}
	var batch []byte
	b.Run("write/n=512", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			batch = batch[:0]
			for i := range recs {
				batch = AppendRecord(batch, &recs[i])
			}
			batch = SealBatch(batch)
		}
		reportPings(b, n, len(batch))
	})
	b.Run("write-device/n=512", func(b *testing.B) {
		b.ReportAllocs()
		fixes := make([]track.Fix, n)
		for i := range recs {
			fixes[i] = recs[i].Fix
		}
		var batch []byte
		for b.Loop() {
			batch = SealBatch(AppendPings(batch[:0], recs[0].Device, fixes))
		}
		reportPings(b, n, len(batch))
	})
	b.Run("read/n=512", func(b *testing.B) {
		b.ReportAllocs()
		reader := NewBatchReader(nil)
		var rec Record
		for b.Loop() {
			if err := reader.Reset(batch); err != nil {
				b.Fatal(err)
			}
			got := 0
			for {
				ok, err := reader.Next(&rec)
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					break
				}
				got++
			}
			if got != n {
				b.Fatalf("%d records", got)
			}
		}
		reportPings(b, n, len(batch))
	})
}

func BenchmarkParseSubject(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if s, err := ParseSubject("ping.shop.4f2a9c1e77d0"); err != nil || s.App != "shop" {
			b.Fatal(s, err)
		}
	}
}
