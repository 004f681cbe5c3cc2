package audience

import (
	"reflect"
	"testing"
)

// full is a profile with every field and every kind of tag.
func full() Profile {
	return Profile{
		Device: "shop.d1", Person: "u1", Platform: "ios", Token: "00ff", Env: "sandbox", Locale: "uk-UA", Zone: "Europe/Kyiv", SDK: "1.2", OS: "iOS 26",
		Tags:            map[string]any{"city": "Київ", "age": 41.5, "vip": true, "staff": false, "groups": []string{"press", ""}, "none": []string{}},
		ConsentLocation: new(true), ConsentPush: new(false), TokenAt: 1795859999000, UpdatedAt: 1795860000000, TokenDead: true,
	}
}

// oldRow is full as version 1 stored it.
const oldRow = "\x01" + `{"u":"u1","p":"ios","t":"00ff","e":"sandbox","l":"uk-UA","z":"Europe/Kyiv","g":{"age":41.5,"city":"Київ","groups":["press",""],"none":[],"staff":false,"vip":true},"cl":true,"cp":false,"s":"1.2","o":"iOS 26","ta":1795859999000,"at":1795860000000,"td":true}`

// TestRowOfTheFirstVersion: profiles that were stored as JSON are read as they were.
func TestRowOfTheFirstVersion(t *testing.T) {
	if p, err := decode("shop.d1", []byte(oldRow)); err != nil || !reflect.DeepEqual(p, full()) {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestDamagedRow: no part of a row is taken for a row, and no byte of one makes the reader panic.
func TestDamagedRow(t *testing.T) {
	p := full()
	b, err := encode(&p)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := decode(p.Device, b); err != nil || !reflect.DeepEqual(back, p) {
		t.Fatalf("%+v, %v", back, err)
	}
	for n := range b {
		if _, err := decode(p.Device, b[:n]); err == nil {
			t.Errorf("%d of %d bytes are a profile", n, len(b))
		}
		for _, c := range []byte{0, 0x7f, 0x80, 0xff} {
			bad := append(append(append([]byte(nil), b[:n]...), c), b[n+1:]...)
			_, _ = decode(p.Device, bad)
		}
	}
	if _, err := encode(&Profile{Device: "shop.d1", Tags: map[string]any{"n": 5}}); err == nil {
		t.Error("a tag of a kind that profiles do not have was stored")
	}
}

// BenchmarkDecode reads one profile, beside the JSON of the first version.
func BenchmarkDecode(b *testing.B) {
	p := full()
	now, err := encode(&p)
	if err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		row  []byte
	}{{"binary", now}, {"json", []byte(oldRow)}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(p.Device, bm.row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
