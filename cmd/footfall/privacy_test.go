package main

import (
	"strings"
	"testing"
)

// TestPrivacyIsExplainedByCheck: who makes positions coarse learns which fences that shuts.
func TestPrivacyIsExplainedByCheck(t *testing.T) {
	stores := file(t, "s.geojson", oneStore)
	for _, c := range []struct {
		yaml string
		want []string
		code int
	}{
		{"privacy: {positions: exact}", []string{"ok"}, 0},
		{"privacy: {positions: coarse, cell: 9}", []string{"resolution 9: up to 222 m", "1 of 1 fences, such as k1,", "a radius of 474 m", "ok"}, 0},
		{"privacy: {positions: coarse, cell: 10}", []string{"up to 84 m", "ok"}, 0},
		{"privacy: {positions: none}", []string{"positions are not taken", "ok"}, 0},
		{"privacy: {positions: coarse, cell: 3}", []string{"resolution of 3; allowed: 6 to 10"}, exitFindings},
		{"privacy: {positions: some}", []string{`"some" is none of exact, coarse and none`}, exitFindings},
	} {
		conf := file(t, "footfall.yaml", "fences: {path: "+stores+"}\n"+c.yaml+"\n")
		code, out, errs := runCLI(t, "config", "check", conf)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out, want) {
				t.Errorf("%s: exit code %d, without %q:\n%s%s", c.yaml, code, want, out, errs)
			}
		}
		if strings.Contains(c.yaml, "10}") && strings.Contains(out, "cannot be entered") {
			t.Errorf("%s: %s", c.yaml, out)
		}
	}
}
