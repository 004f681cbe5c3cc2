package track

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestPack: every id comes back as it was, and no two ids have the same packed form.
func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	of := func(chars string, n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(chars[rng.IntN(len(chars))])
		}
		return b.String()
	}
	hex32 := of(hexChars, 32)
	uuid := hex32[:8] + "-" + hex32[8:12] + "-" + hex32[12:16] + "-" + hex32[16:20] + "-" + hex32[20:]
	ids := []DeviceID{"", ".", "x", "x.", ".x", "..", "a.b.c", "a..", "a.\x00", "a.\xff\xfe", DeviceID("a." + strings.Repeat("f", 65)),
		DeviceID("a." + uuid), DeviceID("a." + strings.ToUpper(uuid)), DeviceID("a." + strings.ToUpper(uuid[:20]) + uuid[20:]),
		DeviceID("a." + strings.ReplaceAll(uuid, "-", "_")), "a.00000000-0000-0000-0000-00000000000g", "a.--------------------------------------"}
	for n := 1; n <= 70; n++ {
		for range 20 {
			for _, chars := range []string{hexChars, upperChars, textChars, "0123456789", "0", "A", "_", "\x00.\xffé"} {
				ids = append(ids, DeviceID("shop."+of(chars, n)), DeviceID(of(chars, n)))
			}
		}
	}
	type packed struct {
		app, name string
		form      Form
	}
	seen := map[packed]DeviceID{}
	for _, id := range ids {
		b, form := Pack([]byte("x"), id)
		name := b[1:]
		if !form.Valid() || form.Bytes() != 0 && form.Bytes() != len(name) {
			t.Fatalf("%q: form %d, %d bytes", id, form, len(name))
		}
		if got := string(Unpack(nil, id.App(), form, name)); got != string(id) {
			t.Fatalf("%q packed in form %d comes back as %q", id, form, got)
		}
		p := packed{id.App(), string(name), form}
		if other, ok := seen[p]; ok && other != id {
			t.Fatalf("%q and %q are packed alike", id, other)
		}
		seen[p] = id
	}
	for id, want := range map[DeviceID]int{"shop.0123456789abcdef": 8, DeviceID("shop." + uuid): 16, "shop.phone-0001": 8, "shop.356938035643809": 8} {
		if b, form := Pack(nil, id); len(b) != want {
			t.Errorf("%s takes %d bytes (form %d), want %d", id, len(b), form, want)
		}
	}
}

func FuzzPack(f *testing.F) {
	f.Add("shop.0123456789abcdef", byte(129), []byte("0123456789abcdef"))
	f.Add("shop", byte(70), []byte{})
	f.Fuzz(func(t *testing.T, id string, form byte, packed []byte) {
		b, fm := Pack(nil, DeviceID(id))
		if got := string(Unpack(nil, DeviceID(id).App(), fm, b)); got != id {
			t.Fatalf("%q comes back as %q", id, got)
		}
		if !Form(form).Valid() {
			return
		}
		// Whatever is unpacked is an id, and what is packed again means the same.
		again := DeviceID(Unpack(nil, "shop", Form(form), packed))
		b, fm = Pack(nil, again)
		if got := DeviceID(Unpack(nil, again.App(), fm, b)); got != again {
			t.Fatalf("%q comes back as %q", again, got)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for _, id := range []DeviceID{"shop.0123456789abcdef", "shop.01234567-89ab-cdef-0123-456789abcdef", "shop.phone-0001"} {
		b.Run(fmt.Sprint("id=", id), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = Pack(buf[:0], id)
			}
		})
	}
}
