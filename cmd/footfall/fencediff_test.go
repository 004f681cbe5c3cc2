package main

import (
	"strings"
	"testing"
)

// TestFenceDiff: what has changed of the fences, and over a trace who comes no more, who comes now, and who comes elsewhere first.
func TestFenceDiff(t *testing.T) {
	point := func(id, at, properties string) string {
		return `{"type":"Feature","id":"` + id + `","geometry":{"type":"Point","coordinates":[` + at + `]},"properties":{"zone":"Europe/Kyiv",` + properties + `}}` + "\n"
	}
	was := file(t, "was.geojson", point("a", "30.50,50.45", `"radius":200`)+point("b", "30.52,50.45", `"radius":200`)+point("c", "30.54,50.45", `"name":"Third","radius":300,"tags":["x"]`))
	is := file(t, "is.geojson", point("a", "30.50,50.45", `"radius":100`)+point("b", "30.5014,50.45", `"radius":50,"priority":1,"min_away":"5m"`)+point("d", "30.56,50.45", `"radius":200`))
	// Each device passes once: where b comes to be, at the edge of a, at b's old place, at c's, at d's, nowhere.
	// The last two are one device, on both sides of midnight in Kyiv.
	trace := file(t, "t.csv", `device,ts,lat,lon,accuracy_m
moves,1795860000,50.45,30.5014,5
leaves,1795860000,50.45,30.5023,5
atb,1795860000,50.45,30.52,5
atc,1795860000,50.45,30.54,5
atd,1795860000,50.45,30.56,5
nowhere,1795860000,50.45,30.60,5
twice,1795902900,50.45,30.5000,5
twice,1795903100,50.45,30.4900,5
twice,1795903300,50.45,30.5000,5
`)
	code, out, errs := runCLI(t, "fence", "diff", was, is, trace)
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	var got []string
	for line := range strings.Lines(out) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := strings.Split(`new d circle of 200 m
gone Third (c) circle of 300 m
changed a radius 200 m → 100 m
changed b moved by 1321.1 m; radius 200 m → 50 m; priority 0 → 1; min_away 0s → 5m0s

over 9 positions of 7 devices
entrants 6 → 4 +1, -3, 1 come to another fence first
moved a → b 1
fence a 4 → 2
fence c 1 → 0
fence d 0 → 1

an entrant is a device on a day, and comes to the fence that it enters first`, "\n")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", out)
	}
	if _, out, _ := runCLI(t, "fence", "diff", was, was); out != "no fence differs\n" {
		t.Errorf("of a file and itself: %s", out)
	}
	if code, _, errs := runCLI(t, "fence", "diff", "--recorded", was, is, trace); code != exitUsage {
		t.Errorf("two recordings: %d %s", code, errs)
	}
}
