package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/stream"
)

// TestForgetCommand: what export prints of a device is gone after forget, which says what it erased.
func TestForgetCommand(t *testing.T) {
	data := t.TempDir()
	cmd, url := serveChild(t, "--data", data, "--fences", file(t, "s.geojson", oneStore), "--campaigns", file(t, "c.yaml", campaignText("welcome")))
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for subject, payload := range map[string]string{
		"device.shop.d1": `{"platform":"ios","token":"t1","user":"olena","locale":"en"}`,
		"ping.shop.d1":   `{"age_ms":0,"lat":50.4501,"lon":30.5234,"acc":5}`,
	} {
		if m, err := nc.Request(subject, []byte(payload), 10*time.Second); err != nil {
			t.Fatalf("%v, %v", m, err)
		}
	}
	export := func(args ...string) (x stream.Export) {
		t.Helper()
		code, out, errs := runCLI(t, append([]string{"export", "shop.d1"}, args...)...)
		if code != 0 || json.Unmarshal([]byte(out), &x) != nil {
			t.Fatalf("exit code %d: %s%s", code, out, errs)
		}
		return x
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // a real process
		if x := export("--server", url); len(x.Devices) == 1 && len(x.Decisions) == 1 && len(x.Entries) == 1 && x.Devices[0].Profile != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no decision within 20 s")
		}
	}
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"campaign report --all --server " + url, "campaign welcome\n  entered                         1  1 person", 0},
		{"campaign report welcom --server " + url, "there are entries of welcome", exitFailed},
		{"forget", "or give --person", exitUsage},
		{"forget shop.d1 --person olena", "or give --person", exitUsage},
		{"forget d1 --yes", "write d1 as APP.d1", exitUsage},
		{"forget shop.d1 --server " + url, "give --yes", exitUsage},
		{"forget shop.d1 --yes --server " + url, `note: what is kept under the person "olena"`, 0},
		{"forget shop.d1 --yes --server " + url, "nothing was kept", 0},
		{"forget --person olena --yes --json --server " + url, `"person": "olena"`, 0},
		{"export --data " + t.TempDir() + " shop.d1", "holds no ledger", exitFailed},
	} {
		code, out, errs := runCLI(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if x := export("--data", data); len(x.Devices)+len(x.Decisions)+len(x.Entries)+len(x.Deliveries) > 0 {
		t.Errorf("after forget and kill -9: %+v", x)
	}
}
