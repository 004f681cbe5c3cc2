package diff

import (
	"fmt"
	"strings"
	"testing"

	"footfall/fences"
	"footfall/track"
)

// sets are two states of one catalogue, as two files have them.
func sets(t *testing.T, texts ...string) (out [2]*fences.Set) {
	t.Helper()
	var cat fences.Catalogue
	for i, text := range texts {
		list, findings := fences.Parse("fences.geojson", []byte(text), fences.Options{DefaultZone: "Europe/Kyiv"})
		if fences.HasErrors(findings) {
			t.Fatal(findings)
		}
		var err error
		if out[i], err = fences.NewSet(list, &cat); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func circle(id string, lng float64, properties string) string {
	return fmt.Sprintf(`{"type":"Feature","id":%q,"geometry":{"type":"Point","coordinates":[%v,50.45]},"properties":{%s}}`+"\n", id, lng, properties)
}

// TestBetween: each fence is new, gone, changed in what is named, or not mentioned.
func TestBetween(t *testing.T) {
	const yard = `{"type":"Feature","id":"yard","geometry":{"type":"Polygon","coordinates":[[[30.6,50.4],[30.61,50.4],[30.61,50.41],[30.6,50.4]]]},"properties":{}}` + "\n"
	was := circle("same", 30.3, `"radius":100`) + circle("a", 30.5, `"radius":200`) + circle("old", 30.4, `"radius":50`) + yard
	is := circle("same", 30.3, `"radius":100`) + circle("a", 30.5, `"radius":150,"name":"First","initial":true`) + circle("new", 30.7, `"radius":75`) +
		strings.Replace(yard, "30.61,50.41", "30.61,50.42", 1)
	s := sets(t, was, is)
	d := Between(s[0], s[1])
	text := fmt.Sprint(d.Added, d.Removed, d.Changed)
	if !strings.HasPrefix(text, "[{new  [circle of 75 m]}] [{old  [circle of 50 m]}] [{a First [radius 200 m → 150 m name none → First initial none → true]} {yard  [") ||
		!strings.Contains(text, "redrawn: area of ") || d.Entrants != nil {
		t.Error(text)
	}
}

// TestComparison: an entrant is a device on a day of the store's clock; of fences entered at once it comes to the one that would push.
func TestComparison(t *testing.T) {
	s := sets(t,
		circle("a", 30.5, `"radius":200`)+circle("b", 30.6, `"radius":200`),
		circle("a", 30.5, `"radius":200`)+circle("big", 30.5, `"radius":300,"priority":1`))
	c := NewComparison(track.DefaultRules(), s[0], s[1])
	const midnight = 1795903200 // in Kyiv
	at := func(device track.DeviceID, seconds int64, lng float64) {
		ms := seconds * 1000
		c.Apply(device, track.Fix{FixedAt: ms, ReceivedAt: ms, Lat: 50.45, Lng: lng, HasPosition: true, AccuracyM: 5, SpeedMPS: -1})
	}
	for i, lng := range []float64{30.5, 30.49, 30.5} { // an entrant before midnight and one after it
		at("x.1", midnight+int64(i-1)*600, lng)
	}
	at("x.2", midnight, 30.6)  // nobody sees it any more
	at("x.3", midnight, 30.65) // nobody ever does
	got := fmt.Sprintf("%+v", *c.Entrants())
	if want := "{Positions:5 Devices:3 Before:3 After:2 New:0 Gone:1 Moves:[{From:a To:big N:2}] Fences:[{Fence:a Before:2 After:0} {Fence:b Before:1 After:0} {Fence:big Before:0 After:2}]}"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
