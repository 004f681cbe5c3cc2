package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/page/pagetest"
)

// draft is a campaign for everybody who enters, in the given window.
const draft = `campaign: draft
trigger:
  enter:
    fences: {all: true}
window: {to: never, zone: store, hours: %q}
once_per: {day: store}
max_age: 10m
steps:
  - push: {template: t, ttl: 15m}
templates:
  t:
    default_locale: en
    locales:
      en: {title: Hello, body: Welcome}
`

func backtest(t *testing.T, args ...string) (b backtestReport) {
	t.Helper()
	code, out, errs := runCLIFor(t, 2*time.Minute, append([]string{"backtest", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBacktestEqualsReplay: the pushes of a campaign without conditions are what replay counts by another way, the
// first enter of each device's day; and everything that a campaign is asked about is a push or held for one reason.
func TestBacktestEqualsReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("a trace of a day")
	}
	cabs := firstDevices(t, shared(t, "traces/sf_cabs_2008-06-06.csv.gz"), 60)
	fenceArgs := []string{"--fences", shared(t, "fences/us_target.geojson.gz"), "--default-radius", "200", "--default-zone", "America/Los_Angeles"}
	code, out, errs := runCLIFor(t, time.Minute, append([]string{"replay", cabs, "--once-per-day", "store"}, fenceArgs...)...)
	if code != 0 {
		t.Fatal(errs)
	}
	want := strings.Count(out, ",enter\n")
	always := file(t, "always.yaml", fmt.Sprintf(draft, "00:00-24:00"))
	b := backtest(t, append([]string{cabs, "--campaigns", always}, fenceArgs...)...)
	if c := b.Campaigns[0]; c.Pushes != want || want == 0 || c.People != want {
		t.Errorf("%d pushes to %d devices, replay has %d first enters of the day", c.Pushes, c.People, want)
	}
	morning := file(t, "morning.yaml", fmt.Sprintf(draft, "06:00-12:00"))
	b = backtest(t, append([]string{cabs, "--campaigns", morning}, fenceArgs...)...)
	c := b.Campaigns[0]
	held, hours, fences := 0, 0, 0
	for _, n := range c.Held {
		held += n
	}
	for h, n := range c.Hours {
		if hours += n; n > 0 && (h < 6 || h >= 12) {
			t.Errorf("%d pushes at %02d:00, outside the window", n, h)
		}
	}
	for _, f := range c.Fences {
		fences += f.Pushes
	}
	if c.Pushes == 0 || c.Pushes >= want || c.Asked != b.Entries || c.Pushes+held != c.Asked || hours != c.Pushes || fences != c.Pushes {
		t.Errorf("%d entries, asked about %d: %d pushes (%d by hour, %d by fence), %d held", b.Entries, c.Asked, c.Pushes, hours, fences, held)
	}
}

// TestBacktestAgainstALedger: the gateway's own log, running or stopped, and a trace beside a stopped gateway's data: who
// can be reached comes from the ledger, and the report tells the pushes that both have from those that a draft would change,
// by fence. TestRehearsalOfTheOwnLog has the harder cases.
func TestBacktestAgainstALedger(t *testing.T) {
	data := t.TempDir()
	stores := file(t, "s.geojson", oneStore)
	always := file(t, "always.yaml", fmt.Sprintf(draft, "00:00-24:00"))
	cmd, url := serveChild(t, "--data", data, "--fences", stores, "--campaigns", always)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	request := func(subject, payload string) {
		t.Helper()
		if m, err := nc.Request(subject, []byte(payload), 10*time.Second); err != nil || !strings.Contains(string(m.Data), `"ok":true`) {
			t.Fatalf("%s: %v, %v", subject, m, err)
		}
	}
	now := time.Now().UnixMilli()
	ping := func(device string) string {
		return fmt.Sprintf(`{"device":%q,"t":%d,"lat":50.4501,"lon":30.5234,"acc":5}`, device, now)
	}
	request("device.shop.d1", `{"user":"u1","platform":"ios","token":"00ff","locale":"en"}`)
	request("ping.shop.d1", ping("d1"))
	request("ping.shop.d2", ping("d2")) // has never registered
	request("event.shop.d1", `{"name":"purchase"}`)
	deadline := time.Now().Add(time.Minute)
	for { // until both are decided
		_, one, _ := runCLI(t, "explain", "shop.d1", "--server", url)
		_, two, _ := runCLI(t, "explain", "shop.d2", "--server", url)
		if strings.Contains(one, "ENTER k1") && strings.Contains(two, "ENTER k1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no decision within 20 s:\n%s\n%s", one, two)
		}
		time.Sleep(20 * time.Millisecond) // a real process
	}
	drafts := []string{"--campaigns", always, "--fences", stores}
	same := func(what string, b backtestReport) {
		t.Helper()
		c := b.Campaigns[0]
		f := c.Fences[0]
		if !b.Log || b.Positions != 2 || b.Devices != 2 || c.Pushes != 1 || c.Held["no_token"] != 1 || f.Fence != "k1" || c.Past.Really != 1 || f.Past.Really != 1 || f.Past.Both != 1 || f.Past.OnlyNow != 0 {
			t.Errorf("%s: %+v, %+v, at the fence %+v, %+v", what, b, c, f, f.Past)
		}
	}
	come := func(what string, args ...string) { // fence advise and fence diff read the same log
		t.Helper()
		r := advised(t, append([]string{stores, "--recorded"}, args...)...)
		if r.Positions != 2 || len(r.Fences) != 1 || r.Fences[0].Fence != "k1" || r.Fences[0].Entrants != 2 || r.Fences[0].Buyers != 1 {
			t.Errorf("%s: %+v", what, r)
		}
		code, out, errs := runCLI(t, append([]string{"fence", "diff", stores, stores, "--recorded"}, args...)...)
		if code != 0 || !strings.Contains(out, "over 2 positions of 2 devices") {
			t.Errorf("%s: exit code %d:\n%s%s", what, code, out, errs)
		}
	}
	same("the log of the running gateway", backtest(t, append([]string{"--server", url}, drafts...)...))
	come("the log of the running gateway", "--server", url)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	page, who := filepath.Join(t.TempDir(), "backtest.html"), filepath.Join(t.TempDir(), "who.csv")
	come("the log of the stopped gateway", "--data", data)
	same("the log of the stopped gateway", backtest(t, append([]string{"--data", data, "--html", page, "--who", who}, drafts...)...))
	t.Run("page", func(t *testing.T) { // alone, because it is skipped where there is no browser
		if drawn := pagetest.Draw(t, page); !strings.Contains(drawn, "By fence and hour") || !strings.Contains(drawn, "no token") || !strings.Contains(drawn, "really pushed") {
			t.Errorf("the page shows %s", drawn)
		}
	})
	text, err := os.ReadFile(who)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !strings.Contains(got, ",shop.d1,u1,draft,k1,push,,push\n") || !strings.Contains(got, ",shop.d2,,draft,k1,held,no_token,\n") {
		t.Errorf("who:\n%s", got)
	}
	code, out, errs := runCLIFor(t, time.Minute, append([]string{"backtest", "--csv", "--data", data}, drafts...)...)
	if code != 0 || !strings.Contains(out, "draft,k1,") || !strings.Contains(out, ",all,1,1,1,0,0,2,no token 1\n") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}

	trace := file(t, "trace.ndjson", ping("shop.d1")+"\n"+ping("shop.d2")+"\n")
	run := func(campaigns string) *campaignBacktest {
		t.Helper()
		b := backtest(t, trace, "--campaigns", campaigns, "--fences", stores, "--data", data)
		if b.Entries != 2 || b.Devices != 2 {
			t.Fatalf("%+v", b)
		}
		return b.Campaigns[0]
	}
	if c := run(always); c.Pushes != 1 || c.Held["no_token"] != 1 || c.Past.Really != 1 || c.Past.Both != 1 {
		t.Errorf("the same campaign: %+v, then %+v", c, c.Past)
	}
	never := strings.Replace(fmt.Sprintf(draft, "00:00-24:00"), "to: never", "from: 2099-01-01T00:00, to: never", 1)
	if c := run(file(t, "never.yaml", never)); c.Pushes != 0 || c.Past.Really != 1 || c.Past.OnlyBefore != 1 {
		t.Errorf("a campaign that has not begun: %+v, then %+v", c, c.Past)
	}
	two := file(t, "two.yaml", fmt.Sprintf(draft, "00:00-24:00")+"---\n"+strings.Replace(fmt.Sprintf(draft, "00:00-24:00"), "draft", "draft2", 1))
	capped := file(t, "caps.yaml", "campaigns: {caps: [{max: 1, per: day}]}\n")
	b := backtest(t, trace, "--campaigns", two, "--fences", stores, "--data", data, "--config", capped)
	if one, two := b.Campaigns[0], b.Campaigns[1]; one.Pushes != 1 || two.Pushes != 0 || two.Held["gateway_cap"] != 1 {
		t.Errorf("under the gateway's caps: %+v, %+v", one, two)
	}
}
