package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestExplainAfterKill: the gateway is killed in the middle of its work, and what it decided can be read.
func TestExplainAfterKill(t *testing.T) {
	data := t.TempDir()
	stores := file(t, "s.geojson", oneStore)
	cmd, url := serveChild(t, "--data", data, "--fences", stores)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if m, err := nc.Request("ping.shop.d1", []byte(`{"age_ms":0,"lat":50.4501,"lon":30.5234,"acc":5}`), 10*time.Second); err != nil {
		t.Fatalf("%v, %v", m, err)
	}
	deadline := time.Now().Add(time.Minute)
	for { // until the live gateway has decided
		if _, out, _ := runCLI(t, "explain", "shop.d1", "--server", url); strings.Contains(out, "ENTER k1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no decision within 20 s")
		}
		time.Sleep(20 * time.Millisecond) // a real process
	}
	shifted := file(t, "draft.geojson", strings.NewReplacer("k1", "k2", "50.4501", "50.4601").Replace(oneStore))
	campaigns := file(t, "draft.yaml", fmt.Sprintf(draft, "00:00-24:00"))
	type row struct {
		args string
		want []string
		code int
	}
	for _, c := range []row{
		{"--app shop --what-if 50.4601,30.5234 --fences " + shifted, []string{"ENTER k2", "none is triggered"}, 0},
		{"--app shop --what-if 50.4501,30.5234 --campaigns " + campaigns, []string{"ENTER", "campaign draft", "would go out"}, 0},
		{"--app shop --what-if 50.4601,30.5234 --campaigns " + campaigns + " --campaign draft", []string{"draft would not be asked", "913 m closer"}, 0},
		{"--app shop --campaigns " + campaigns, []string{"--campaigns goes with --what-if"}, exitUsage},
		{"shop.d1 --what-if 50.4601,30.5234 --fence k1", []string{"it is inside k1", "a next position that agrees", "to enter it would take 913 m closer"}, 0},
		{"--app shop --what-if 50.4501,30.5234", []string{"ENTER k1", "(initial)", "nothing of this is stored"}, 0},
		{"shop.d1 --what-if 50.4501,30.5234,2020-01-01T10:00:00Z", []string{"as if it were seen for the first time"}, 0},
		{"shop.d1 --what-if 95,30.5234", []string{"would be refused"}, 0},
		{"shop.d1 --what-if 50.45", []string{"LAT,LON,TIME"}, exitUsage},
		{"shop.d1 --what-if 50.45,30.52 --campaign nix", []string{"no campaign that is active or a draft"}, exitFailed},
	} {
		code, out, errs := runCLI(t, append(append([]string{"explain"}, strings.Fields(c.args)...), "--server", url)...)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out+errs, want) {
				t.Errorf("explain %s: exit code %d, without %q:\n%s%s", c.args, code, want, out, errs)
			}
		}
	}
	if _, out, _ := runCLI(t, "explain", "shop.d1", "--server", url); strings.Contains(out, "EXIT") {
		t.Errorf("a question was stored:\n%s", out)
	}
	if code, _, errs := runCLI(t, "explain", "shop.d1", "--data", data); code != exitFailed || !strings.Contains(errs, "directory in use") {
		t.Errorf("beside a running gateway: exit code %d: %s", code, errs)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, c := range []row{
		{"shop.d1 --what-if 50.4601,30.5234 --fences " + shifted + " --campaigns " + campaigns, []string{"it is inside k1 since", "nothing of this is stored"}, 0},
		{"--app shop --what-if 50.4501,30.5234 --fences " + stores + " --campaigns " + campaigns, []string{"ENTER k1", "campaign draft", "would go out"}, 0},
		{"--app shop --what-if 50.4501,30.5234", []string{"a ledger does not know fences"}, exitUsage},
	} {
		code, out, errs := runCLI(t, append(append([]string{"explain"}, strings.Fields(c.args)...), "--data", data)...)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out+errs, want) {
				t.Errorf("explain %s of a killed gateway: exit code %d, without %q:\n%s%s", c.args, code, want, out, errs)
			}
		}
	}
	for range 2 { // the first reading mends nothing that the second could lean on
		code, out, errs := runCLI(t, "explain", "shop.d1", "--data", data)
		if code != 0 || !strings.Contains(out, "ENTER k1") {
			t.Errorf("after kill -9: exit code %d:\n%s%s", code, out, errs)
		}
	}
}
