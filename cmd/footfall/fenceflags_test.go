package main

import (
	"strings"
	"testing"

	"footfall/fences"
)

// TestFenceFlags: every command that reads fences reads a file alike, with and without the flags it needs.
func TestFenceFlags(t *testing.T) {
	// A point without a radius, a feature that only "shop" names, and one that is beyond repair.
	stores := file(t, "s.geojson", `{"type":"FeatureCollection","features":[
{"type":"Feature","properties":{"shop":"k1"},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}},
{"type":"Feature","properties":{"shop":"k2","radius":-5},"geometry":{"type":"Point","coordinates":[30.5,50.4]}}]}`)
	campaigns := file(t, "c.yaml", strings.Replace(campaignText("c"), "all: true", "ids: [k1]", 1))
	trace := file(t, "t.csv", "device,ts,lat,lon\nd1,1700000000,50.4501,30.5234\n")
	needed := []string{"--default-radius", "200", "--id-key", "shop", "--skip-invalid"}
	for name, args := range map[string][]string{
		"fence check":    {"fence", "check", stores},
		"campaign check": {"campaign", "check", campaigns, "--fences", stores},
		"replay":         {"replay", trace, "--fences", stores},
		"serve":          {"serve", "--listen", "127.0.0.1:0", "--fences", stores, "--campaigns", campaigns},
	} {
		for _, tt := range []struct {
			flags []string
			code  int
			says  string
		}{
			{needed, 0, ""},
			{needed[:4], exitFindings, "E08"}, // without --skip-invalid
			{needed[2:], exitFindings, "radius"},
			{append(needed[:2:2], "--skip-invalid", "--id-key", "name"), exitFindings, "E03"},
			{append(needed[:5:5], "--default-zone", "Kyiv"), exitUsage, "IANA"},
			{append(needed[2:5:5], "--default-radius=-1"), exitUsage, "100000 metres"},
			{append(needed[2:5:5], "--default-radius", "NaN"), exitUsage, "100000 metres"},
		} {
			full := append(append([]string{}, args...), tt.flags...)
			want := tt.code
			if name == "serve" {
				full = append(full, "--data", t.TempDir())
				if want == exitUsage {
					want = exitFailed // the configuration's own check speaks
				}
			}
			code, out, errs := runEither(t, full...)
			if code != want || !strings.Contains(out+errs, tt.says) {
				t.Errorf("%s %v: exit code %d, want %d and %q in:\n%s%s", name, tt.flags, code, want, tt.says, out, errs)
			}
		}
	}
}

// TestFenceFlagsOverConfiguration: a flag has the last word, and one that is not given takes nothing back.
func TestFenceFlagsOverConfiguration(t *testing.T) {
	config := file(t, "f.yaml", "fences: {default_radius: 150, id_key: shop, skip_invalid: true, default_zone: Europe/Kyiv}\n")
	for _, tt := range []struct {
		flags fenceFlags
		want  FencesConfig
	}{
		{fenceFlags{}, FencesConfig{DefaultRadius: 150, IDKey: "shop", SkipInvalid: true, DefaultZone: "Europe/Kyiv"}},
		{fenceFlags{new(0.0), new("id"), new(false), new("UTC")}, FencesConfig{IDKey: "id", DefaultZone: "UTC"}},
	} {
		cfg, err := (&serveCmd{Config: config, FenceFlags: tt.flags}).config(&env{})
		if err != nil || cfg.Fences != tt.want {
			t.Errorf("got %+v, %v, want %+v", cfg.Fences, err, tt.want)
		}
	}
	var none fenceFlags
	if opts, err := none.options(); err != nil || opts != (fences.Options{IDKey: "id", DefaultZone: "UTC"}) {
		t.Errorf("no flags give %+v, %v", opts, err)
	}
}
