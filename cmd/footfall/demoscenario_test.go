package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoScenario plays the second case study with few people, as a log file would see it, and asks the ledger that it
// leaves, as it says at its end.
func TestDemoScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("plays five days")
	}
	dir := filepath.Join(t.TempDir(), "data")
	code, out, errs := runCLI(t, "demo", "--scenario", "perekrestok", "--part", "10", "--listen", "127.0.0.1:0", "--data", dir)
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	for _, want := range []string{"case study", "16.7 %", "0.90 %", "19×", "Look further:", "footfall explain perekrestok.phone-0000000 --data " + dir} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("a log file gets control characters:\n%q", out)
	}
	for line := range strings.Lines(out) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "footfall ")
		if !ok {
			continue
		}
		if code, out, errs := runCLI(t, strings.Fields(command)...); code != 0 || !strings.Contains(out, "lunch") && !strings.Contains(out, "perekrestok") {
			t.Errorf("footfall %s: exit code %d\n%s%s", command, code, out, errs)
		}
	}
}
