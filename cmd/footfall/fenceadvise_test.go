package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/fences"
	"footfall/stream/wire"
	"footfall/track"
)

// walk writes rows of a trace: where a device is, in metres north of a place on 50.45 degrees north, every so many seconds from a
// time on.
func walk(to *strings.Builder, device string, lng float64, from, every int, metres ...float64) {
	for i, m := range metres {
		fmt.Fprintf(to, "%s,%d,%.7f,%g,10\n", device, from+i*every, 50.45+m/111_229, lng)
	}
}

func stands(metres float64, n int, before, after []float64) []float64 {
	out := append([]float64{}, before...)
	for range n {
		out = append(out, metres)
	}
	return append(out, after...)
}

const (
	traceHead = "device,ts,lat,lon,accuracy_m\n"
	saturday  = 1795860000 // 2026-11-28 10:00 UTC
)

// advised runs fence advise and returns what it says as JSON.
func advised(t *testing.T, args ...string) adviceReport {
	t.Helper()
	code, out, errs := runCLI(t, append([]string{"fence", "advise", "--json"}, args...)...)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	var r adviceReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *adviceReport) of(t *testing.T, id fences.ID) *fenceAdvice {
	t.Helper()
	for i := range r.Fences {
		if r.Fences[i].Fence == id {
			return &r.Fences[i]
		}
	}
	t.Fatalf("nothing is said of %s", id)
	return nil
}

func (f *fenceAdvice) at(t *testing.T, radius float64, stay time.Duration) *adviceCell {
	t.Helper()
	for i := range f.Grid {
		if c := &f.Grid[i]; c.RadiusM == radius && c.MinStayMS == stay.Milliseconds() {
			return c
		}
	}
	t.Fatalf("%s: no cell of %v m and %v", f.Fence, radius, stay)
	return nil
}

// adviceWalkers are made-up people at the circle "shop", every 30 s a position: 38 stand 90 m from its centre and two 140 m for ten
// minutes, 60 pass by its edge and 20 across it within a minute, four are seen inside once and outside 20 minutes later or never. Three
// stand in the circle "far".
func adviceWalkers() (fenceText, trace string) {
	const lng, farLng = 30.50, 30.60
	fenceText = `{"type":"Feature","id":"shop","geometry":{"type":"Point","coordinates":[30.5,50.45]},"properties":{"name":"Shop","store":"7","radius":200}}
{"type":"Feature","id":"far","geometry":{"type":"Point","coordinates":[30.6,50.45]},"properties":{"radius":100,"min_stay":"1m"}}
{"type":"Feature","id":"yard","geometry":{"type":"Polygon","coordinates":[[[30.497,50.448],[30.503,50.448],[30.503,50.452],[30.497,50.452],[30.497,50.448]]]},"properties":{}}
{"type":"Feature","id":"nowhere","geometry":{"type":"Point","coordinates":[31,51]},"properties":{"radius":200}}
`
	var b strings.Builder
	b.WriteString(traceHead)
	for i := range 38 {
		walk(&b, fmt.Sprintf("near%d", i), lng, saturday, 30, stands(90, 20, []float64{400, 180}, []float64{400})...)
	}
	for i := range 2 {
		walk(&b, fmt.Sprintf("wide%d", i), lng, saturday, 30, stands(140, 20, []float64{400, 180}, []float64{400})...)
	}
	for i := range 60 {
		walk(&b, fmt.Sprintf("edge%d", i), lng, saturday, 30, 400, 170, 160, 170, 400)
	}
	for i := range 20 {
		walk(&b, fmt.Sprintf("across%d", i), lng, saturday, 30, 400, 90, 20, 90, 400)
	}
	for i := range 3 {
		walk(&b, fmt.Sprintf("sparse%d", i), lng, saturday, 1200, 400, 95, 400)
		walk(&b, fmt.Sprintf("far%d", i), farLng, saturday, 30, stands(30, 20, []float64{400}, []float64{400})...)
	}
	walk(&b, "once", lng, saturday, 1200, 400, 95)
	return fenceText, b.String()
}

// TestFenceAdvise: of made-up walkers it is known who stays and who passes by, and so what each radius and stay makes of them and what
// the advice is.
func TestFenceAdvise(t *testing.T) {
	text, rows := adviceWalkers()
	fenceFile, trace := file(t, "fences.geojson", text), file(t, "t.csv", rows)
	r := advised(t, fenceFile, trace)
	shop := r.of(t, "shop")
	if shop.Entrants != 124 || shop.Visitors != 40 || shop.PassersBy != 80 || shop.Untold != 4 || shop.Buyers != 0 || shop.GapMS != 30_000 {
		t.Errorf("shop: %+v", shop)
	}
	type counts struct{ entries, stayed, kept, dropped int }
	want := map[float64][3]counts{ // without a stay, with a minute, with three
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
			if got := (counts{c.Entries, c.Stayed, c.VisitorsKept, c.PassersDropped}); got != stays[i] || c.Devices != c.Entries || c.Now != (radius == 200 && stay == 0) {
				t.Errorf("%v m, %v: %+v, want %+v", radius, stay, *c, stays[i])
			}
		}
	}
	says := func(f *fenceAdvice, verdict adviceVerdict, want string) {
		t.Helper()
		if got, _, _ := strings.Cut(f.Says, "\n"); f.Verdict != verdict || got != want {
			t.Errorf("%s: %s, %q, want %q", f.Fence, f.Verdict, got, want)
		}
	}
	says(shop, adviceGiven, "radius 100 m, min_stay 3m: keeps 38 of 40 visitors (95.0 %), drops 80 of 80 passers-by (100.0 %)")
	says(r.of(t, "far"), adviceTooFew, "not enough data: 3 visitors of 3 entrants, at least 20 are needed (--enough)")
	yard := r.of(t, "yard") // an area has stays alone
	says(yard, adviceGiven, "min_stay 3m: keeps 40 of 40 visitors (100.0 %), drops 80 of 80 passers-by (100.0 %)")
	if len(yard.Grid) != 3 || r.Quiet != 1 || r.Devices != 127 {
		t.Errorf("%d cells, %d quiet, %d devices", len(yard.Grid), r.Quiet, r.Devices)
	}
	// The circles differ in radius and stay: their own are rows of their own.
	says(r.All, adviceGiven, "radius 100 m, min_stay 3m: keeps 41 of 43 visitors (95.3 %), drops 80 of 80 passers-by (100.0 %)")
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

	r = advised(t, fenceFile, trace, "--keep", "0.99", "--fence", "shop")
	says(r.of(t, "shop"), adviceGiven, "radius 150 m, min_stay 3m: keeps 40 of 40 visitors (100.0 %), drops 80 of 80 passers-by (100.0 %)")
	r = advised(t, fenceFile, trace, "--min-stay", "0s", "--radius", "80,120")
	says(r.of(t, "shop"), adviceGiven, "radius 120 m, min_stay 0s: keeps 38 of 40 visitors (95.0 %), drops 60 of 80 passers-by (75.0 %)")
	if len(r.of(t, "shop").Grid) != 3 || len(r.of(t, "far").Grid) != 6 { // far has a stay of its own
		t.Errorf("cells: %+v", r)
	}
	// Nobody was there for so long.
	r = advised(t, fenceFile, trace, "--stay", "11m", "--fence", "shop")
	says(r.of(t, "shop"), adviceTooFew, "not enough data: 0 visitors of 124 entrants, at least 20 are needed (--enough)")

	// 25 of those who stay buy, and one who passes by; the others are too late, elsewhere or no purchases.
	events := "device,ts,event,store\n"
	for i := range 25 {
		events += fmt.Sprintf("near%d,%d,,%s\n", i, saturday+400, []string{"", "7", "shop"}[i%3])
	}
	events += fmt.Sprintf("edge0,%d,purchase,\nedge1,%d,purchase,\nedge2,%d,purchase,8\nedge3,%d,refund,\nedge4,%d,purchase,\n",
		saturday+100, saturday+30+7201, saturday+100, saturday+100, saturday+29)
	bought := file(t, "events.csv", events)
	r = advised(t, fenceFile, trace, "--events", bought)
	shop = r.of(t, "shop")
	if shop.Buyers != 26 || shop.PassersBy != 79 || shop.Visitors != 40 || shop.at(t, 200, 0).BuyersKept != 26 || shop.at(t, 50, 0).BuyersKept != 0 {
		t.Errorf("with purchases: %+v", shop)
	}
	says(shop, adviceGiven, "radius 100 m, min_stay 3m: keeps 25 of 26 buyers (96.2 %), drops 79 of 79 passers-by (100.0 %)")
	r = advised(t, fenceFile, trace, "--events", bought, "--radius", "50", "--min-stay", "3m", "--keep", "100%", "--fence", "shop")
	says(r.of(t, "shop"), adviceGiven, "as it is: radius 200 m, min_stay 0s: keeps 26 of 26 buyers (100.0 %), drops 0 of 79 passers-by (0.0 %)")

	code, out, errs := runCLI(t, "fence", "advise", fenceFile, trace, "--events", bought)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"of 127 devices, 2026-11-28T10:00:00Z to 2026-11-28T10:40:00Z; a device's next position comes after 30s (median)",
		"Shop (shop): 124 entrants, 40 stayed 5m, 79 passed by, 4 cannot be told; 26 buyers",
		"100 m 3m 38 38 38 38, 95.0 % 79, 100.0 % 25, 96.2 % 150 m 0s",
		"advice: radius 100 m, min_stay 3m: keeps 25 of 26 buyers (96.2 %), drops 79 of 79 passers-by (100.0 %) now: radius 200 m, min_stay 0s: keeps 26 of 26",
		"far not enough data: 0 buyers, 3 visitors of 3 entrants",
		"fences that nobody entered: 1",
		"Accuracy: median 10 m, nine of ten at most 10 m; 0 positions without.",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestFenceAdviseEdges: what midnight, silences, phones' own systems and rare positions do to it.
func TestFenceAdviseEdges(t *testing.T) {
	shopFile := file(t, "shop.geojson", `{"type":"Feature","id":"shop","geometry":{"type":"Point","coordinates":[30.5,50.45]},"properties":{"radius":200,"zone":"Europe/Kyiv"}}`)
	const midnight = 1795903200 // in Kyiv
	var b strings.Builder
	b.WriteString(traceHead)
	walk(&b, "wide", 30.5, midnight-80, 30, stands(90, 14, []float64{400, 250, 250, 180}, []float64{400})...)   // enters 300 m the day before
	walk(&b, "narrow", 30.5, midnight-50, 30, stands(90, 14, []float64{400, 180, 180, 180}, []float64{400})...) // enters 100 m the day after
	walk(&b, "silent", 30.5, midnight, 13*3600, 400, 90, 400)                                                   // nobody knows when it left
	r := advised(t, shopFile, file(t, "t.csv", b.String()), "--radius", "100,300", "--min-stay", "0s", "--enough", "1")
	shop := r.of(t, "shop")
	if shop.Entrants != 3 || shop.Visitors != 2 || shop.PassersBy != 0 || shop.Untold != 1 {
		t.Errorf("%+v", shop)
	}
	for _, radius := range []float64{100, 200, 300} {
		if c := shop.at(t, radius, 0); c.VisitorsKept != 2 || c.Entries != 3 {
			t.Errorf("%v m: %+v", radius, *c)
		}
	}

	b.Reset()
	b.WriteString(traceHead)
	for i := range 25 {
		walk(&b, fmt.Sprintf("rare%d", i), 30.5, saturday, 600, 400, 90, 90, 400)
	}
	r = advised(t, shopFile, file(t, "t.csv", b.String()))
	if shop = r.of(t, "shop"); shop.Verdict != adviceUntold || shop.GapMS != 600_000 || r.GapMS != 600_000 || !strings.Contains(shop.Says, "comes 10m later (median)") {
		t.Errorf("a position every ten minutes: %+v", shop)
	}
	// Seen once inside and never again.
	b.Reset()
	b.WriteString(traceHead)
	for i := range 25 {
		walk(&b, fmt.Sprintf("once%d", i), 30.5, saturday, 30, 400, 90)
	}
	if r = advised(t, shopFile, file(t, "t.csv", b.String())); r.of(t, "shop").GapMS != -1 || !strings.Contains(r.of(t, "shop").Says, "not heard of again") {
		t.Errorf("not heard of again: %+v", r.of(t, "shop"))
	}

	set, err := (&fenceFlags{}).loadFenceSet(t.Output(), shopFile)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAdvisor(track.DefaultRules(), []fences.Fence{*set.At(0)}, []float64{100, 300}, nil, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for i, src := range []track.Source{track.SourceOSEnter, track.SourceOSExit} {
		at := int64(saturday+60*i) * 1000
		a.apply(&wire.Record{Kind: wire.KindPing, Device: "shop.a", Fix: track.Fix{FixedAt: at, ReceivedAt: at, Source: src, Fence: "shop"}}, uint64(i+1))
	}
	at := int64(saturday) * 1000
	a.apply(&wire.Record{Kind: wire.KindPing, Device: "shop.b", Fix: track.Fix{FixedAt: at, ReceivedAt: at, Source: track.SourceOSEnter, Fence: "shop", HasPosition: true, Lat: 50.45 + 250/111_229., Lng: 30.5}}, 3)
	rep := a.report(0.95, 1, "")
	shop = rep.of(t, "shop")
	if shop.PassersBy != 1 || shop.Untold != 1 || rep.Words != 3 || shop.at(t, 200, 0).Entries != 2 || shop.at(t, 100, 0).Entries != 0 || shop.at(t, 300, 0).Entries != 1 {
		t.Errorf("by the phone's own word: %+v", shop)
	}
}

// TestFenceAdviseEvents: which records of an input log are purchases.
func TestFenceAdviseEvents(t *testing.T) {
	c := fenceAdviseCmd{Event: "purchase"}
	record := func(kind wire.Kind, device track.DeviceID, payload string) wire.Record {
		return wire.Record{Kind: kind, Device: device, ReceivedAt: 5_000, Payload: []byte(payload)}
	}
	got, err := c.bought([]wire.Record{
		record(wire.KindEvent, "shop.a", `{"name":"purchase"}`),
		record(wire.KindEvent, "shop.a", `{"name":"purchase","t":3000,"props":{"store":"7"}}`),
		record(wire.KindEvent, "shop.a", `{"name":"purchase","t":9000,"props":{"store":7}}`),
		record(wire.KindEvent, "shop.b", `{"name":"view"}`),
		record(wire.KindDevice, "shop.b", `{"name":"purchase"}`),
	})
	if want := "map[shop.a:[{3000 7} {5000 } {5000 }]]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v, want %s", got, err, want)
	}
	if got, err := c.bought(nil); got != nil || err != nil {
		t.Errorf("of no events: %v, %v", got, err)
	}
}

// TestFenceAdviseEqualsReplay: over a real day of 15 taxis, entries at 200 and 100 m are those that replay prints for the same radius.
func TestFenceAdviseEqualsReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("a trace of a day")
	}
	cabs, targets := firstDevices(t, shared(t, "traces/sf_cabs_2008-06-06.csv.gz"), 15), shared(t, "fences/us_target.geojson.gz")
	r := advised(t, targets, cabs, "--default-radius", "200", "--radius", "100", "--min-stay", "0s")
	for _, radius := range []int{200, 100} {
		code, out, _ := runCLI(t, "replay", cabs, "--fences", targets, "--default-radius", strconv.Itoa(radius))
		if code != 0 {
			t.Fatal(code)
		}
		entries, entrants, all := map[string]int{}, map[string]map[string]bool{}, 0
		for line := range strings.Lines(out) {
			f := strings.Split(strings.TrimSpace(line), ",")
			if f[3] != "enter" {
				continue
			}
			at, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatal(err)
			}
			all++
			entries[f[1]]++
			if entrants[f[1]] == nil {
				entrants[f[1]] = map[string]bool{}
			}
			entrants[f[1]][f[0]+strconv.Itoa(at/86400)] = true
		}
		if all < 20 {
			t.Errorf("%d m: %d entries, too few to say anything", radius, all)
		}
		for i := range r.Fences {
			f := &r.Fences[i]
			id := string(f.Fence)
			if n := f.at(t, float64(radius), 0).Entries; n != entries[id] {
				t.Errorf("%s at %d m: %d entries, %d by replay", id, radius, n, entries[id])
			}
			if radius == 200 && (f.Entrants != len(entrants[id]) || f.Visitors+f.PassersBy+f.Untold != f.Entrants) {
				t.Errorf("%s: %d entrants, %d by replay: %d stayed, %d passed by, %d untold", id, f.Entrants, len(entrants[id]), f.Visitors, f.PassersBy, f.Untold)
			}
			all -= f.at(t, float64(radius), 0).Entries
		}
		if all != 0 {
			t.Errorf("%d m: replay has %d entries more", radius, all)
		}
	}
}

func TestFenceAdviseRefusals(t *testing.T) {
	text, _ := adviceWalkers()
	fenceFile := file(t, "fences.geojson", text)
	trace := file(t, "t.csv", traceHead+"a,1795860000,50.45,30.5,5\n")
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"give a trace, or --recorded", exitUsage, nil},
		{"give a trace, or --recorded", exitUsage, []string{trace, "--recorded"}},
		{"--events goes with a trace", exitUsage, []string{"--recorded", "--events", trace}},
		{"--radius: 5 is not between 10 and 100000 metres", exitUsage, []string{trace, "--radius", "100,5"}},
		{"--radius: NaN is not", exitUsage, []string{trace, "--radius", "NaN"}},
		{"--min-stay: -1m0s is not", exitUsage, []string{trace, "--min-stay=-1m"}},
		{"--stay: 0s is not above 0s", exitUsage, []string{trace, "--stay", "0s"}},
		{"--within: 200h0m0s is not", exitUsage, []string{trace, "--within", "200h"}},
		{"--enough: 0 is not", exitUsage, []string{trace, "--enough", "0"}},
		{`--keep: "95" is no share`, exitUsage, []string{trace, "--keep", "95"}},
		{`--keep: "most" is no share`, exitUsage, []string{trace, "--keep", "most"}},
		{"has no fence \"shp\"", exitUsage, []string{trace, "--fence", "shop,shp"}},
		{"the grid has 66 cells", exitUsage, []string{trace, "--radius", "10,20,30,40,50,60,70,80,90,100", "--min-stay", "1m,2m,3m,4m"}},
		{"no column device", exitFailed, []string{trace, "--events", file(t, "e.csv", "who,ts\n")}},
		{":3: time \"noon\" is neither", exitFailed, []string{trace, "--events", file(t, "e.csv", "device,ts\na,1795860000\na,noon\n")}},
		{"holds no purchase", exitFailed, []string{trace, "--events", file(t, "e.csv", "device,ts,event\na,1795860000,view\n")}},
		{"is empty", exitFailed, []string{trace, "--events", file(t, "e.csv", "")}},
		{"there are no positions that can be used", exitFailed, []string{file(t, "null.csv", traceHead+"a,1795860000,0,0,5\n")}},
	} {
		code, _, errs := runCLI(t, append([]string{"fence", "advise", fenceFile}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: code %d: %s, want %q", c.args, code, errs, c.want)
		}
	}
}
