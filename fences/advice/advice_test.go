package advice

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/fences"
	"footfall/track"
)

// row is a recorded position.
type row struct {
	device track.DeviceID
	fix    track.Fix
}

// positions are recorded positions of made-up people.
type positions []row

// walk adds where a device is, in metres north of a place on 50.45 degrees north, every so many seconds from a time on.
func (p *positions) walk(device string, lng float64, from, every int, metres ...float64) {
	for i, m := range metres {
		at := int64(from+i*every) * 1000
		*p = append(*p, row{track.DeviceID("trace." + device), track.Fix{
			FixedAt: at, ReceivedAt: at, Lat: 50.45 + m/111_229, Lng: lng, HasPosition: true, AccuracyM: 10, SpeedMPS: -1,
		}})
	}
}

func stands(metres float64, n int, before, after []float64) []float64 {
	out := append([]float64{}, before...)
	for range n {
		out = append(out, metres)
	}
	return append(out, after...)
}

const saturday = 1795860000 // 2026-11-28 10:00 UTC

// usual is what the command tries when it is told nothing.
func usual() Config {
	return Config{
		Rules: track.DefaultRules(), Radii: []float64{50, 100, 150, 200, 300}, Stays: []time.Duration{0, time.Minute, 3 * time.Minute},
		Stay: 5 * time.Minute, Keep: 0.95, Enough: 20, Event: "purchase", Within: 2 * time.Hour,
	}
}

// advised is the report over positions, of all the fences or of those named.
func advised(t *testing.T, c Config, all []fences.Fence, over positions, only ...fences.ID) *Report {
	t.Helper()
	var drawn []fences.Fence
	for _, f := range all {
		if len(only) == 0 || slices.Contains(only, f.ID) {
			drawn = append(drawn, f)
		}
	}
	a, err := New(c, drawn)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range over {
		a.Apply(r.device, r.fix)
	}
	return a.Report()
}

// parse reads fences as they are written in a file.
func parse(t *testing.T, text string) []fences.Fence {
	t.Helper()
	list, findings := fences.Parse("fences.geojson", []byte(text), fences.Options{DefaultZone: "UTC"})
	if fences.HasErrors(findings) {
		t.Fatal(findings)
	}
	return list
}

func (r *Report) of(t *testing.T, id fences.ID) *Advice {
	t.Helper()
	for i := range r.Fences {
		if r.Fences[i].Fence == id {
			return &r.Fences[i]
		}
	}
	t.Fatalf("nothing is said of %s", id)
	return nil
}

func (f *Advice) at(t *testing.T, radius float64, stay time.Duration) *Cell {
	t.Helper()
	for i := range f.Grid {
		if c := &f.Grid[i]; c.RadiusM == radius && c.MinStayMS == stay.Milliseconds() {
			return c
		}
	}
	t.Fatalf("%s: no cell of %v m and %v", f.Fence, radius, stay)
	return nil
}

// crowd are made-up people at the circle "shop", every 30 s a position: 38 stand 90 m from its centre and two 140 m for ten
// minutes, 60 pass by its edge and 20 across it within a minute, four are seen inside once and outside 20 minutes later or never. Three
// stand in the circle "far".
func crowd(t *testing.T) ([]fences.Fence, positions) {
	const lng, farLng = 30.50, 30.60
	drawn := parse(t, `{"type":"Feature","id":"shop","geometry":{"type":"Point","coordinates":[30.5,50.45]},"properties":{"name":"Shop","store":"7","radius":200}}
{"type":"Feature","id":"far","geometry":{"type":"Point","coordinates":[30.6,50.45]},"properties":{"radius":100,"min_stay":"1m"}}
{"type":"Feature","id":"yard","geometry":{"type":"Polygon","coordinates":[[[30.497,50.448],[30.503,50.448],[30.503,50.452],[30.497,50.452],[30.497,50.448]]]},"properties":{}}
{"type":"Feature","id":"nowhere","geometry":{"type":"Point","coordinates":[31,51]},"properties":{"radius":200}}
`)
	var p positions
	for i := range 38 {
		p.walk(fmt.Sprintf("near%d", i), lng, saturday, 30, stands(90, 20, []float64{400, 180}, []float64{400})...)
	}
	for i := range 2 {
		p.walk(fmt.Sprintf("wide%d", i), lng, saturday, 30, stands(140, 20, []float64{400, 180}, []float64{400})...)
	}
	for i := range 60 {
		p.walk(fmt.Sprintf("edge%d", i), lng, saturday, 30, 400, 170, 160, 170, 400)
	}
	for i := range 20 {
		p.walk(fmt.Sprintf("across%d", i), lng, saturday, 30, 400, 90, 20, 90, 400)
	}
	for i := range 3 {
		p.walk(fmt.Sprintf("sparse%d", i), lng, saturday, 1200, 400, 95, 400)
		p.walk(fmt.Sprintf("far%d", i), farLng, saturday, 30, stands(30, 20, []float64{400}, []float64{400})...)
	}
	p.walk("once", lng, saturday, 1200, 400, 95)
	return drawn, p
}

// TestAdvice: of made-up walkers it is known who stays and who passes by, and so what each radius and stay makes of them and what
// the advice is.
func TestAdvice(t *testing.T) {
	drawn, people := crowd(t)
	r := advised(t, usual(), drawn, people)
	shop := r.of(t, "shop")
	if shop.Entrants != 124 || shop.Visitors != 40 || shop.PassersBy != 80 || shop.Untold != 4 || shop.Buyers != 0 || shop.GapMS != 30_000 {
		t.Errorf("shop: %+v", shop)
	}
	type made struct{ entries, stayed, kept, dropped int }
	want := map[float64][3]made{ // without a stay, with a minute, with three
		50:  {{20, 0, 0, 60}, {0, 0, 0, 80}, {0, 0, 0, 80}},
		100: {{62, 38, 38, 60}, {58, 38, 38, 60}, {38, 38, 38, 80}},
		150: {{64, 40, 40, 60}, {60, 40, 40, 60}, {40, 40, 40, 80}},
		200: {{124, 40, 40, 0}, {120, 40, 40, 0}, {40, 40, 40, 80}},
		300: {{124, 40, 40, 0}, {120, 40, 40, 0}, {40, 40, 40, 80}},
	}
	if len(shop.Grid) != 15 {
		t.Errorf("%d cells", len(shop.Grid))
	}
	for radius, stays := range want {
		for i, stay := range []time.Duration{0, time.Minute, 3 * time.Minute} {
			c := shop.at(t, radius, stay)
			if got := (made{c.Entries, c.Stayed, c.VisitorsKept, c.PassersDropped}); got != stays[i] || c.Devices != c.Entries || c.Now != (radius == 200 && stay == 0) {
				t.Errorf("%v m, %v: %+v, want %+v", radius, stay, *c, stays[i])
			}
		}
	}
	says := func(f *Advice, verdict Verdict, want string) {
		t.Helper()
		if got, _, _ := strings.Cut(f.Says, "\n"); f.Verdict != verdict || got != want {
			t.Errorf("%s: %s, %q, want %q", f.Fence, f.Verdict, got, want)
		}
	}
	says(shop, Advised, "radius 100 m, min_stay 3m: keeps 38 of 40 visitors (95.0 %), drops 80 of 80 passers-by (100.0 %)")
	says(r.of(t, "far"), TooFew, "not enough data: 3 visitors of 3 entrants, at least 20 are needed (--enough)")
	yard := r.of(t, "yard") // an area has stays alone
	says(yard, Advised, "min_stay 3m: keeps 40 of 40 visitors (100.0 %), drops 80 of 80 passers-by (100.0 %)")
	if len(yard.Grid) != 3 || r.Quiet != 1 || r.Devices != 127 {
		t.Errorf("%d cells, %d quiet, %d devices", len(yard.Grid), r.Quiet, r.Devices)
	}
	// The circles differ in radius and stay: their own are rows of their own.
	says(r.All, Advised, "radius 100 m, min_stay 3m: keeps 41 of 43 visitors (95.3 %), drops 80 of 80 passers-by (100.0 %)")
	for _, c := range r.All.Grid {
		switch {
		case c.RadiusM == 0 && c.MinStayMS == -1:
			if c.Entries != 127 || c.Devices != 127 || !c.Now || c.VisitorsKept != 43 {
				t.Errorf("all as they are: %+v", c)
			}
		case c.Now:
			t.Errorf("not as they are: %+v", c)
		case c.RadiusM == 200 && c.MinStayMS == 0 && c.Entries != 127:
			t.Errorf("all with 200 m: %+v", c)
		}
	}
	if r.All.Circles != 3 || len(r.All.Grid) != 24 {
		t.Errorf("%d circles, %d cells", r.All.Circles, len(r.All.Grid))
	}

	c := usual()
	c.Keep = 0.99
	r = advised(t, c, drawn, people, "shop")
	says(r.of(t, "shop"), Advised, "radius 150 m, min_stay 3m: keeps 40 of 40 visitors (100.0 %), drops 80 of 80 passers-by (100.0 %)")
	c = usual()
	c.Stays, c.Radii = []time.Duration{0}, []float64{80, 120}
	r = advised(t, c, drawn, people)
	says(r.of(t, "shop"), Advised, "radius 120 m, min_stay 0s: keeps 38 of 40 visitors (95.0 %), drops 60 of 80 passers-by (75.0 %)")
	if len(r.of(t, "shop").Grid) != 3 || len(r.of(t, "far").Grid) != 6 { // far has a stay of its own
		t.Errorf("cells: %+v", r)
	}
	// Nobody was there for so long.
	c = usual()
	c.Stay = 11 * time.Minute
	r = advised(t, c, drawn, people, "shop")
	says(r.of(t, "shop"), TooFew, "not enough data: 0 visitors of 124 entrants, at least 20 are needed (--enough)")

	// 25 of those who stay buy, and one who passes by; the others are too late, elsewhere or no purchases.
	events := "device,ts,event,store\n"
	for i := range 25 {
		events += fmt.Sprintf("near%d,%d,,%s\n", i, saturday+400, []string{"", "7", "shop"}[i%3])
	}
	events += fmt.Sprintf("edge0,%d,purchase,\nedge1,%d,purchase,\nedge2,%d,purchase,8\nedge3,%d,refund,\nedge4,%d,purchase,\n",
		saturday+100, saturday+30+7201, saturday+100, saturday+100, saturday+29)
	bought, err := ReadPurchases(strings.NewReader(events), "events.csv", "purchase", "trace")
	if err != nil {
		t.Fatal(err)
	}
	c = usual()
	c.Purchases = bought
	r = advised(t, c, drawn, people)
	shop = r.of(t, "shop")
	if shop.Buyers != 26 || shop.PassersBy != 79 || shop.Visitors != 40 || shop.at(t, 200, 0).BuyersKept != 26 || shop.at(t, 50, 0).BuyersKept != 0 {
		t.Errorf("with purchases: %+v", shop)
	}
	says(shop, Advised, "radius 100 m, min_stay 3m: keeps 25 of 26 buyers (96.2 %), drops 79 of 79 passers-by (100.0 %)")
	c.Radii, c.Stays, c.Keep = []float64{50}, []time.Duration{3 * time.Minute}, 1
	r = advised(t, c, drawn, people, "shop")
	says(r.of(t, "shop"), Advised, "as it is: radius 200 m, min_stay 0s: keeps 26 of 26 buyers (100.0 %), drops 0 of 79 passers-by (0.0 %)")
}

// TestAdviceEdges: what midnight, silences, phones' own systems and rare positions do to it.
func TestAdviceEdges(t *testing.T) {
	drawn := parse(t, `{"type":"Feature","id":"shop","geometry":{"type":"Point","coordinates":[30.5,50.45]},"properties":{"radius":200,"zone":"Europe/Kyiv"}}`)
	const midnight = 1795903200 // in Kyiv
	var p positions
	p.walk("wide", 30.5, midnight-80, 30, stands(90, 14, []float64{400, 250, 250, 180}, []float64{400})...)   // enters 300 m the day before
	p.walk("narrow", 30.5, midnight-50, 30, stands(90, 14, []float64{400, 180, 180, 180}, []float64{400})...) // enters 100 m the day after
	p.walk("silent", 30.5, midnight, 13*3600, 400, 90, 400)                                                   // nobody knows when it left
	c := usual()
	c.Radii, c.Stays, c.Enough = []float64{100, 300}, nil, 1
	r := advised(t, c, drawn, p)
	shop := r.of(t, "shop")
	if shop.Entrants != 3 || shop.Visitors != 2 || shop.PassersBy != 0 || shop.Untold != 1 {
		t.Errorf("%+v", shop)
	}
	for _, radius := range []float64{100, 200, 300} {
		if c := shop.at(t, radius, 0); c.VisitorsKept != 2 || c.Entries != 3 {
			t.Errorf("%v m: %+v", radius, *c)
		}
	}

	p = nil
	for i := range 25 {
		p.walk(fmt.Sprintf("rare%d", i), 30.5, saturday, 600, 400, 90, 90, 400)
	}
	r = advised(t, usual(), drawn, p)
	if shop = r.of(t, "shop"); shop.Verdict != Untellable || shop.GapMS != 600_000 || r.GapMS != 600_000 || !strings.Contains(shop.Says, "comes 10m later (median)") {
		t.Errorf("a position every ten minutes: %+v", shop)
	}
	// Seen once inside and never again.
	p = nil
	for i := range 25 {
		p.walk(fmt.Sprintf("once%d", i), 30.5, saturday, 30, 400, 90)
	}
	if r = advised(t, usual(), drawn, p); r.of(t, "shop").GapMS != -1 || !strings.Contains(r.of(t, "shop").Says, "not heard of again") {
		t.Errorf("not heard of again: %+v", r.of(t, "shop"))
	}

	// What phones' own systems report is of the fence as it is drawn.
	p = nil
	for i, src := range []track.Source{track.SourceOSEnter, track.SourceOSExit} {
		at := int64(saturday+60*i) * 1000
		p = append(p, row{"shop.a", track.Fix{FixedAt: at, ReceivedAt: at, Source: src, Fence: "shop"}})
	}
	at := int64(saturday) * 1000
	p = append(p, row{"shop.b", track.Fix{FixedAt: at, ReceivedAt: at, Source: track.SourceOSEnter, Fence: "shop", HasPosition: true, Lat: 50.45 + 250/111_229., Lng: 30.5}})
	r = advised(t, c, drawn, p)
	shop = r.of(t, "shop")
	if shop.PassersBy != 1 || shop.Untold != 1 || r.Words != 3 || shop.at(t, 200, 0).Entries != 2 || shop.at(t, 100, 0).Entries != 0 || shop.at(t, 300, 0).Entries != 1 {
		t.Errorf("by the phone's own word: %+v", shop)
	}
}
