package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"footfall/fences/advice"
)

const (
	traceHead = "device,ts,lat,lon,accuracy_m\n"
	shopFence = `{"type":"Feature","id":"shop","geometry":{"type":"Point","coordinates":[30.5,50.45]},"properties":{"name":"Shop","store":"7","radius":200}}` + "\n"
)

// advised runs fence advise and returns what it says as JSON.
func advised(t *testing.T, args ...string) (r advice.Report) {
	t.Helper()
	code, out, errs := runCLI(t, append([]string{"fence", "advise", "--json"}, args...)...)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFenceAdvise: what flags and files say reaches the advice, and the advice reaches the reader. What it is, the package's own tests say.
func TestFenceAdvise(t *testing.T) {
	const saturday = 1795860000 // 2026-11-28 10:00 UTC
	rows := traceHead
	walk := func(device string, metres ...float64) { // north of the shop's centre, a position every 30 s
		for i, m := range metres {
			rows += fmt.Sprintf("%s,%d,%.7f,30.5,10\n", device, saturday+30*i, 50.45+m/111_229)
		}
	}
	for i := range 3 {
		walk(fmt.Sprintf("stays%d", i), append(append([]float64{400, 180}, slices.Repeat([]float64{90}, 20)...), 400)...)
		walk(fmt.Sprintf("passes%d", i), 400, 170, 160, 170, 400)
	}
	fenceFile := file(t, "fences.geojson", shopFence+
		`{"type":"Feature","id":"nowhere","geometry":{"type":"Point","coordinates":[31,51]},"properties":{"radius":200}}`+"\n")
	trace, events := file(t, "t.csv", rows), file(t, "events.csv", fmt.Sprintf("device,ts\nstays0,%d\nstays1,%d\n", saturday+400, saturday+400))
	args := []string{"fence", "advise", fenceFile, trace, "--events", events, "--enough", "2", "--radius", "50,100", "--min-stay", "3m", "--keep", "0.9"}
	code, out, errs := runCLI(t, args...)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"over 84 positions of 6 devices, 2026-11-28T10:00:00Z to 2026-11-28T10:11:00Z; a device's next position comes after 30s (median)",
		"Shop (shop): 6 entrants, 3 stayed 5m, 3 passed by, 0 cannot be told; 2 buyers",
		"100 m 3m 3 3 3 3, 100.0 % 3, 100.0 % 2, 100.0 % 200 m 0s 6 6 3 3, 100.0 % 0, 0.0 % 2, 100.0 % now",
		"advice: radius 100 m, min_stay 0s: keeps 2 of 2 buyers (100.0 %), drops 3 of 3 passers-by (100.0 %) now: radius 200 m, min_stay 0s: keeps 2 of 2",
		"fences that nobody entered: 1",
		"Advised is what keeps 90 % of the buyers",
		"Accuracy: median 10 m, nine of ten at most 10 m; 0 positions without.",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	r := advised(t, append(args[2:], "--stay", "11m", "--fence", "shop", "--event", "sale", "--within", "1s")...)
	if r.StayMS != 660_000 || r.WithinMS != 1000 || r.Event != "sale" || r.Keep != 0.9 || r.Enough != 2 || r.Quiet != 0 || len(r.Fences) != 1 || r.Fences[0].Visitors != 0 {
		t.Errorf("%+v", r)
	}
}

// TestFenceAdviseEqualsReplay: over a real day of 15 taxis, entries at 200 and 100 m are those that replay prints for the same radius.
func TestFenceAdviseEqualsReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("a trace of a day")
	}
	cabs, targets := firstDevices(t, shared(t, "traces/sf_cabs_2008-06-06.csv.gz"), 15), shared(t, "fences/us_target.geojson.gz")
	r := advised(t, targets, cabs, "--default-radius", "200", "--radius", "100", "--min-stay", "0s")
	entriesAt := func(f *advice.Advice, radius int) int {
		i := slices.IndexFunc(f.Grid, func(c advice.Cell) bool { return c.RadiusM == float64(radius) && c.MinStayMS == 0 })
		if i < 0 {
			t.Fatalf("%s: no cell of %d m", f.Fence, radius)
		}
		return f.Grid[i].Entries
	}
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
			if n := entriesAt(f, radius); n != entries[id] {
				t.Errorf("%s at %d m: %d entries, %d by replay", id, radius, n, entries[id])
			}
			if radius == 200 && (f.Entrants != len(entrants[id]) || f.Visitors+f.PassersBy+f.Untold != f.Entrants) {
				t.Errorf("%s: %d entrants, %d by replay: %d stayed, %d passed by, %d untold", id, f.Entrants, len(entrants[id]), f.Visitors, f.PassersBy, f.Untold)
			}
			all -= entriesAt(f, radius)
		}
		if all != 0 {
			t.Errorf("%d m: replay has %d entries more", radius, all)
		}
	}
}

func TestFenceAdviseRefusals(t *testing.T) {
	fenceFile := file(t, "fences.geojson", shopFence)
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
		{"e.csv:1: no column device", exitFailed, []string{trace, "--events", file(t, "e.csv", "who,ts\n")}},
		{"--events: open nosuch.csv: no such file", exitFailed, []string{trace, "--events", "nosuch.csv"}},
		{"there are no positions that can be used", exitFailed, []string{file(t, "null.csv", traceHead+"a,1795860000,0,0,5\n")}},
	} {
		code, _, errs := runCLI(t, append([]string{"fence", "advise", fenceFile}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: code %d: %s, want %q", c.args, code, errs, c.want)
		}
	}
}
