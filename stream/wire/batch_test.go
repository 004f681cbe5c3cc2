package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"footfall/track"
)

// readBatch reads everything, or returns the first error. Payloads are copied.
func readBatch(batch []byte) (recs []Record, err error) {
	var r BatchReader
	if err := r.Reset(batch); err != nil {
		return nil, err
	}
	for {
		var rec Record
		ok, err := r.Next(&rec)
		if err != nil || !ok {
			return recs, err
		}
		if rec.Index != len(recs) {
			return recs, fmt.Errorf("record %d has index %d", len(recs), rec.Index)
		}
		rec.Index = 0
		if rec.Payload = bytes.Clone(rec.Payload); len(rec.Payload) == 0 {
			rec.Payload = nil
		}
		recs = append(recs, rec)
	}
}

func drawRecord(rt *rapid.T) Record {
	token := rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
	rec := Record{
		Kind:       Kind(rapid.IntRange(1, 4).Draw(rt, "kind")),
		Device:     track.DeviceID(token.Draw(rt, "app") + "." + token.Draw(rt, "device")),
		ReceivedAt: rapid.Int64().Draw(rt, "received"),
	}
	if rec.Kind != KindPing {
		if p := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(rt, "payload"); len(p) > 0 {
			rec.Payload = p
		}
		return rec
	}
	coord := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-180, 180),
		rapid.Map(rapid.IntRange(-1.8e9, 1.8e9), func(n int) float64 { return float64(n) / 1e7 }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), 180, -180, 214.7483647, 214.7483648, -214.7483648}))
	metres := rapid.OneOf(rapid.Float32(), rapid.SampledFrom([]float32{0, -1, float32(math.Copysign(0, -1)), float32(math.NaN())}))
	rec.Fix = track.Fix{
		FixedAt: rapid.Int64().Draw(rt, "fixed"), ReceivedAt: rec.ReceivedAt,
		Lat: coord.Draw(rt, "lat"), Lng: coord.Draw(rt, "lng"), HasPosition: rapid.Bool().Draw(rt, "has"),
		AccuracyM: metres.Draw(rt, "acc"), SpeedMPS: metres.Draw(rt, "spd"),
		Source: track.Source(rapid.IntRange(0, int(track.SourceOSDwell)).Draw(rt, "src")),
		Fence:  rapid.StringN(0, 20, MaxFence).Draw(rt, "fence"),
		Skewed: rapid.Bool().Draw(rt, "skewed"), Mock: rapid.Bool().Draw(rt, "mock"),
	}
	return rec
}

// Whatever goes in comes out bit for bit: a replay must decide as the first run did.
func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 20).Draw(rt, "records")
		var b []byte
		for i := range want {
			b = AppendRecord(b, &want[i])
		}
		got, err := readBatch(SealBatch(b))
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpBits); d != "" {
			rt.Fatal(d)
		}
	})
}

// appendPlain is the plain twin of AppendRecord, a field after the other.
func appendPlain(dst []byte, r *Record) []byte {
	received := r.ReceivedAt
	if r.Kind == KindPing {
		received = r.Fix.ReceivedAt
	}
	app := r.Device.App()
	if len(dst) == 0 {
		dst = append(dst, batchMagic, batchVersion)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(received))
		if len(app) > MaxToken {
			app = "" // not a valid id
		}
		dst = append(dst, 0, 0, byte(len(app)))
		dst = append(dst, app...)
	}
	base := int64(binary.LittleEndian.Uint64(dst[2:]))
	tag := byte(r.Kind)
	if n := int(dst[headerLen-1]); string(dst[headerLen:headerLen+n]) != app {
		tag |= tagOwnApp
	}
	if r.Kind != KindPing {
		delta, size := zigzag(received - base)
		head := len(dst)
		dst = append(dst, tag, 0, 0, size)
		dst = appendPlainName(dst, head, r.Device, app)
		dst = appendSized(dst, delta, size)
		dst = binary.AppendUvarint(dst, uint64(len(r.Payload)))
		return append(dst, r.Payload...)
	}

	f := &r.Fix
	var flags byte
	lat, lng, pos7 := int32(0), int32(0), false
	if f.HasPosition {
		flags |= flagPos
	} else if math.Float64bits(f.Lat)|math.Float64bits(f.Lng) != 0 {
		flags |= flagRawPos
	}
	if flags != 0 {
		if lat, pos7 = plainE7(f.Lat); pos7 {
			if lng, pos7 = plainE7(f.Lng); pos7 {
				flags |= flagPos7
			}
		}
	}
	if math.Float32bits(f.AccuracyM) != 0 {
		flags |= flagAccuracy
	}
	if f.SpeedMPS != -1 {
		flags |= flagSpeed
	}
	if f.Fence != "" {
		flags |= flagFence
	}
	if f.Skewed {
		flags |= flagSkewed
	}
	if f.Mock {
		flags |= flagMock
	}
	delta, deltaSize := zigzag(received - base)
	age, ageSize := zigzag(received - f.FixedAt)
	head := len(dst)
	dst = append(dst, tag|byte(f.Source)<<3, flags, 0, deltaSize|ageSize<<2)
	if flags&flagPos7 != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(lat))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(lng))
	} else if flags&(flagPos|flagRawPos) != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f.Lat))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f.Lng))
	}
	if flags&flagAccuracy != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f.AccuracyM))
	}
	if flags&flagSpeed != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f.SpeedMPS))
	}
	dst = appendPlainName(dst, head, r.Device, app)
	dst = appendSized(dst, delta, deltaSize)
	dst = appendSized(dst, age, ageSize)
	if flags&flagFence != 0 {
		dst = appendBytes(dst, f.Fence)
	}
	return dst
}

func plainE7(v float64) (int32, bool) {
	r := math.Round(v * 1e7)
	if !(r >= math.MinInt32 && r <= math.MaxInt32) {
		return 0, false
	}
	return int32(r), math.Float64bits(float64(int32(r))/1e7) == math.Float64bits(v)
}

func appendPlainName(dst []byte, head int, id track.DeviceID, app string) []byte {
	if len(id) > maxDeviceID || len(app) > MaxToken {
		return dst // form 0: the reader refuses it
	}
	if dst[head]&tagOwnApp != 0 {
		dst = append(dst, byte(len(app)))
		dst = append(dst, app...)
	}
	at := len(dst)
	dst, form := track.Pack(dst, id)
	dst[head+2] = byte(form)
	if form.Bytes() == 0 {
		dst = append(dst, 0)
		copy(dst[at+1:], dst[at:])
		dst[at] = byte(len(dst) - at - 1)
	}
	return dst
}

// TestAppendEqualsPlain: the bytes are those of the plain twin, record by record and for all pings of a device at once.
func TestAppendEqualsPlain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var plain, one, all []byte
		for _, rec := range rapid.SliceOfN(rapid.Custom(drawRecord), 1, 5).Draw(rt, "records") {
			recs := []Record{rec}
			if rec.Kind == KindPing {
				for _, fix := range rapid.SliceOfN(rapid.Map(rapid.Custom(drawRecord), func(r Record) track.Fix { return r.Fix }), 0, 5).Draw(rt, "fixes") {
					recs = append(recs, Record{Kind: KindPing, Device: rec.Device, Fix: fix})
				}
			}
			var fixes []track.Fix
			for i := range recs {
				plain, one, fixes = appendPlain(plain, &recs[i]), AppendRecord(one, &recs[i]), append(fixes, recs[i].Fix)
			}
			if rec.Kind == KindPing {
				all = AppendPings(all, rec.Device, fixes)
			} else {
				all = AppendRecord(all, &rec)
			}
		}
		if !bytes.Equal(plain, one) || !bytes.Equal(plain, all) {
			rt.Fatalf("\n   plain %x\none by one %x\n at once %x", plain, one, all)
		}
	})
}

// realisticPing is a ping as phones send it.
func realisticPing(r *rand.Rand, device string) Record {
	at := int64(testReceived + r.IntN(2000))
	return Record{Kind: KindPing, Device: track.DeviceID(device), ReceivedAt: at, Fix: track.Fix{
		FixedAt: at - int64(r.IntN(5000)), ReceivedAt: at, HasPosition: true,
		Lat: math.Round((50.4+r.Float64()/10)*1e7) / 1e7, Lng: math.Round((30.4+r.Float64()/5)*1e7) / 1e7,
		AccuracyM: float32(r.IntN(300)) / 10, SpeedMPS: float32(r.IntN(200)) / 100,
	}}
}

func TestBatchSize(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	short, full := 0.0, 0.0
	var a, b []byte
	for i := range 512 {
		rec := realisticPing(r, fmt.Sprintf("shop.d%05d", i))
		a = AppendRecord(a, &rec)
		rec.Fix.Lat = math.Nextafter(rec.Fix.Lat, 90) // a float64 with all its digits
		b = AppendRecord(b, &rec)
	}
	short, full = float64(len(SealBatch(a)))/512, float64(len(SealBatch(b)))/512
	t.Logf("%.1f bytes per ping with 7 decimals, %.1f with all digits", short, full)
	if short > 36 || full > 48 {
		t.Errorf("%.1f and %.1f bytes per ping; want at most 36 and 48", short, full)
	}
}

func sampleBatch() []byte {
	r := rand.New(rand.NewPCG(6, 6))
	var b []byte
	for i := range 5 {
		rec := realisticPing(r, fmt.Sprintf("shop.d%d", i))
		b = AppendRecord(b, &rec)
	}
	b = AppendRecord(b, &Record{Kind: KindPing, Device: "shop.d9", Fix: track.Fix{FixedAt: testReceived, ReceivedAt: testReceived,
		SpeedMPS: -1, Source: track.SourceOSEnter, Fence: "kyiv-1"}})
	b = AppendRecord(b, &Record{Kind: KindEvent, Device: "shop.d1", ReceivedAt: testReceived, Payload: []byte(`{"name":"purchase"}`)})
	return SealBatch(b)
}

// The bytes of version 3 are stored on disk: this test fails when they change. A change needs a new version.
func TestBatchBytesAreStable(t *testing.T) {
	var b []byte
	b = AppendRecord(b, &Record{Kind: KindPing, Device: "a.bad", Fix: track.Fix{FixedAt: 1795859999000, ReceivedAt: 1795860000000,
		Lat: 50.4501, Lng: -30.5234, HasPosition: true, AccuracyM: 5, SpeedMPS: 1.5, Source: track.SourceOSExit, Fence: "f"}})
	b = AppendRecord(b, &Record{Kind: KindReceipt, Device: "shop.Phone", ReceivedAt: 1795859999999, Payload: []byte("{}")})
	SetMicros(b, 345)
	const header = "f703" + "00ed9821a2010000" + "5901" + "0161"
	const records = "213b0304" + "0813121e" + "b07fceed" + "0000a040" + "0000c03f" + "ab0d" + "00" + "d007" + "0166" +
		"44004500" + "0473686f70" + "4f889e1e" + "01" + "027b7d"
	if got := fmt.Sprintf("%x", b); got != header+records {
		t.Errorf("\n got %s\nwant %s", got, header+records)
	}
	r := NewBatchReader(nil)
	if err := r.Reset(SealBatch(b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{1795860000000345, 1795859999999000} {
		if got := r.CollectedUS(want / 1000); got != want {
			t.Errorf("collected at %d µs, want %d", got, want)
		}
	}
}

func TestBatchErrors(t *testing.T) {
	good := sampleBatch()
	if recs, err := readBatch(good); err != nil || len(recs) != 7 {
		t.Fatalf("the sample itself: %d records, %v", len(recs), err)
	}
	reseal := func(b []byte) []byte {
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	}
	body := good[:len(good)-4]
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(body)
		b[at] = v
		return reseal(b)
	}
	first := headerLen + int(good[headerLen-1])
	event := func(rest ...byte) []byte { return reseal(append(append(bytes.Clone(good[:first]), 2), rest...)) }
	tests := []struct {
		name  string
		batch []byte
		want  error
	}{
		{"nothing", nil, ErrBatchCorrupt},
		{"header only", reseal(bytes.Clone(good[:first])), nil},
		{"not a batch", []byte(`{"t":1795859999000,"lat":50.45,"lon":30.52}`), ErrBatchCorrupt},
		{"older version", edit(1, 2), ErrBatchVersion},
		{"newer version", edit(1, 4), ErrBatchVersion},
		{"not sealed", body, ErrBatchChecksum},
		{"one bit flipped", append(append(bytes.Clone(good[:40]), good[40]^1), good[41:]...), ErrBatchChecksum},
		{"cut off", good[:len(good)-7], ErrBatchChecksum},
		{"app longer than the batch", reseal(append(bytes.Clone(good[:12]), 9, 'a')), ErrBatchCorrupt},
		{"app longer than a token", edit(12, 65), ErrBatchCorrupt},
		{"kind 0", edit(first, 0), ErrBatchKind},
		{"kind 5", edit(first, 5), ErrBatchKind},
		{"kind with high bits", edit(first, 1<<7|1), ErrBatchKind},
		{"source 6", edit(first, 6<<3|1), ErrBatchKind},
		{"form 0", edit(first+2, 0), ErrBatchCorrupt},
		{"form of the future", edit(first+2, 133), ErrBatchCorrupt},
		{"sizes with high bits", edit(first+3, 1<<4), ErrBatchCorrupt},
		{"ends in a record", reseal(bytes.Clone(good[:first+20])), ErrBatchCorrupt},
		{"two positions", edit(first+1, flagPos|flagRawPos), ErrBatchCorrupt},
		{"name longer than the batch", event(0, 131, 0, 5, 'a'), ErrBatchCorrupt},
		{"name empty", event(0, 131, 0, 0, 0, 0), ErrBatchCorrupt},
		{"name without an app that is too long", event(0, 132, 0, 200), ErrBatchCorrupt},
		{"event with flags", event(1, 1, 0, 1, 0, 0), ErrBatchCorrupt},
		{"event with an age", event(0, 1, 4, 1, 0, 0), ErrBatchCorrupt},
		{"event", event(0, 1, 0, 1, 0, 0), nil},
	}
	for _, tt := range tests {
		if _, err := readBatch(tt.batch); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	// An error is final: the reader does not resume in the middle of something.
	var r BatchReader
	var rec Record
	r.Reset(edit(first, 0))
	for range 2 {
		if ok, err := r.Next(&rec); ok || !errors.Is(err, ErrBatchKind) {
			t.Errorf("after an error: %v, %v", ok, err)
		}
	}
}

// Damage never panics and never passes: every single-bit flip and every truncation is refused.
func TestBatchDamageIsFound(t *testing.T) {
	good := sampleBatch()
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := readBatch(b); err == nil {
				t.Fatalf("bit %d of byte %d flipped: read without an error", bit, i)
			}
		}
		if _, err := readBatch(good[:i]); err == nil {
			t.Fatalf("cut at %d: read without an error", i)
		}
	}
}

// FuzzBatch reads any bytes as the inside of a batch whose checksum is right, which is the way past the first line
// of defence; what is read must survive being written again.
func FuzzBatch(f *testing.F) {
	good := sampleBatch()
	f.Add(good[2 : len(good)-4])
	f.Add([]byte("12345678\x00\x00\x01a\x02\x00\x01\x00\x07\x05\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte{batchMagic, batchVersion}, body...)
		recs, err := readBatch(SealBatch(b))
		sameFilled(t, SealBatch(b), recs, err)
		if err != nil && len(recs) == 0 {
			return
		}
		var again []byte
		for i := range recs {
			again = AppendRecord(again, &recs[i])
		}
		if len(recs) == 0 {
			return
		}
		recs2, err := readBatch(SealBatch(again))
		if d := cmp.Diff(recs, recs2, cmpBits); err != nil || d != "" {
			t.Fatal(err, d)
		}
	})
}

func TestInterner(t *testing.T) {
	in := NewInterner(1) // 64 slots: collisions are certain
	r := rand.New(rand.NewPCG(8, 8))
	for range 20000 {
		want := fmt.Sprintf("shop.d%d", r.IntN(1000))
		if got := in.Device([]byte(want)); string(got) != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got := in.Join("shop", []byte(want[5:])); string(got) != want {
			t.Fatalf("Join: got %q, want %q", got, want)
		}
	}
	// Devices of one partition share bits of the hash; half as many as there are slots must nearly all stay.
	in = NewInterner(4096)
	n, kept := 0, 0
	for i := 0; n < 2048; i++ {
		id := fmt.Sprintf("shop.%08x", i)
		if Partition(track.DeviceID(id), 16) != 3 {
			continue
		}
		n++
		in.Device([]byte(id))
	}
	for _, set := range in.sets {
		for _, s := range set {
			if s != "" {
				kept++
			}
		}
	}
	if kept < 1900 { // random placement keeps about 1,970
		t.Errorf("%d of %d names kept", kept, n)
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	r := rand.New(rand.NewPCG(9, 9))
	recs := make([]Record, 100)
	for i := range recs {
		recs[i] = realisticPing(r, fmt.Sprintf("shop.d%d", i))
	}
	buf := make([]byte, 0, 8192)
	reader := NewBatchReader(nil)
	var rec Record
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		b := buf
		for i := range recs {
			b = AppendRecord(b, &recs[i])
		}
		if err := reader.Reset(SealBatch(b)); err != nil {
			t.Fatal(err)
		}
		for {
			ok, err := reader.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
	}); a != 0 || n < 100 {
		t.Errorf("%v allocations per 100 pings", a)
	}
}
