package main

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"footfall/journey"
	"footfall/stream"
)

// TestJourneyCommands: a journey from its file through a running gateway, by the command line alone.
func TestJourneyCommands(t *testing.T) {
	path := file(t, "hello.yaml", `segments: {vips: 'tags.vip'}
---
journey: hello
entry: {api: true}
audience: 'not segment("vips")'
window: {to: never}
steps:
  - id: pause
    wait: 1h
  - push: {template: {max: {entry.word: 40}, locales: {en: {body: "{{ entry.word }}"}}}}
`)
	if code, out, errs := runCLI(t, "journey", "check", "--steps", path); code != 0 || !strings.Contains(out, "pause                    wait → 2") || !strings.HasSuffix(out, "1 journey ok\n") {
		t.Fatalf("check: %d, %s%s", code, out, errs)
	}
	bad := file(t, "bad.yaml", "journey: x\nentry: {api: true}\nwindow: {to: never}\nsteps: [{wiat: 1h}]\n")
	if code, out, _ := runCLI(t, "journey", "check", bad); code != 3 || !strings.Contains(out, "bad.yaml:4:10: error unknown_key") {
		t.Errorf("a bad file: %d, %s", code, out)
	}
	walks := file(t, "walks.yaml", "journey: x\nentry: {enter: {id: k1}}\nwindow: {to: never}\ngoal: {dwell: {tag: kyiw}}\nsteps:\n  - wait_for: {up_to: 1h, branches: {out: {outside: {id: k9}}, back: {any: [{enter: {id: k1}}, {exit: {tag: kyiw}}]}}}\n")
	if code, out, errs := runCLI(t, "journey", "check", walks, "--fences", file(t, "s.geojson", oneStore)); code != 3 || out != strings.ReplaceAll(`FILE:4:15: warning no_fence: journey x: no fence has the tag "kyiw" (there is none in those fences: see footfall fence check)
FILE:6:53: warning no_fence: journey x: no fence has the id "k9" (did you mean "k1"?)
FILE:6:103: warning no_fence: journey x: no fence has the tag "kyiw" (there is none in those fences: see footfall fence check)
`, "FILE", walks) {
		t.Errorf("fences that are not there: %d, %s%s", code, out, errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening := &announcement{word: "listening on", text: make(chan string, 1)}
	ended := make(chan int, 1)
	var serveErr bytes.Buffer
	go func() {
		ended <- run(&env{ctx: ctx, in: strings.NewReader(""), out: listening, err: &serveErr}, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--campaigns", path})
	}()
	var server string
	select {
	case text := <-listening.text:
		server = regexp.MustCompile(`nats://[0-9.:]+`).FindString(text)
	case code := <-ended:
		t.Fatalf("serve ended with %d: %s", code, &serveErr)
	case <-time.After(time.Minute):
		t.Fatal("serve did not listen")
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"audience count --segment vips", 0, "0 people fit"},
		{"journey list", 0, "hello                    running           0 entered"},
		{"journey enter hello shop.d1 word=Hi --id 1", 0, "shop.d1 is in hello"},
		{"journey enter hello shop.d1 word=Hi --id 1", 1, "not entered: repeated"},
		{"journey show hello", 0, "1 wait"},
		{"journey show hello --device shop.d1", 0, `entered {"word":"Hi"}`},
		{"journey show hello --device shop.d2", 0, "has not been in hello"},
		{"journey show nobody", 1, "no such journey"},
		{"journey pause hello", 0, "hello is paused"},
		{"journey list", 0, "paused"},
		{"journey resume hello", 0, "hello goes on; 0 waits over meanwhile"},
		{"journey migrate hello", 0, "0 runs moved"},
		{"journey stop hello", 0, "hello is stopped; 1 run ended, 0 pushes and calls cancelled"},
		{"journey show hello --device shop.d1", 0, "ended: stopped"},
		{"journey enter hello shop.d2 --id 2", 1, "not entered: stopped"},
		{"journey start hello", 0, "hello takes people in again"},
		{"journey start hello", 0, "hello was not stopped"},
	} {
		code, out, errs := runCLI(t, append(strings.Fields(tt.args), "--server", server)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: %d, %s%s, want %q", tt.args, code, out, errs, tt.want)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("serve ended with %d: %s", code, &serveErr)
	}
}

var (
	yamlBlock    = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	consoleBlock = regexp.MustCompile("(?s)```console\n[$] footfall (journey simulate [^\n]*)\n(.*?)```")
	shellWord    = regexp.MustCompile(`"([^"]*)"|\S+`)
)

// TestDocumentedSimulations: what the page about journeys shows of journey simulate is what it prints. Run with -update after a
// change, and read the difference.
func TestDocumentedSimulations(t *testing.T) {
	page, err := filepath.Abs("../../docs/journeys.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("lunch.yaml", yamlBlock.FindSubmatch(text)[1], 0o600); err != nil {
		t.Fatal(err)
	}
	count := 0
	fresh := consoleBlock.ReplaceAllFunc(text, func(block []byte) []byte {
		count++
		m := consoleBlock.FindSubmatch(block)
		var args []string
		for _, w := range shellWord.FindAllStringSubmatch(string(m[1]), -1) {
			args = append(args, cmp.Or(w[1], w[0]))
		}
		code, out, errs := runCLI(t, args...)
		if code != 0 || out != string(m[2]) {
			t.Logf("%s: %d, %s%s", m[1], code, out, errs)
		}
		return []byte("```console\n$ footfall " + string(m[1]) + "\n" + out + "```")
	})
	if count < 2 {
		t.Fatalf("found %d simulations", count)
	}
	if bytes.Equal(fresh, text) {
		return
	}
	if !*update {
		t.Fatal("the page shows something else; run: go test ./cmd/footfall -run Documented -update")
	}
	if err := os.WriteFile(page, fresh, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSimulate: people of a simulation join segments by what happens to them, open pushes, and have their calls answered; what
// makes no sense is refused with what would.
func TestSimulate(t *testing.T) {
	path := file(t, "wh.yaml", `segments: {gold: 'tags.loyalty == "gold"'}
---
journey: wh
zone: Europe/Kyiv
entry: {joins: gold}
window: {to: never}
goal: {leaves: gold}
steps:
  - webhook: {to: crm, body: {d: "{{ device.id }}"}, delivered: [{tag: {told: true}}], failed: [{emit: missed}]}
  - id: offer
    push: {template: {locales: {en: {title: Hi, body: "Gold {{ tags.told }}"}}}}
  - wait_for: {up_to: 4h, branches: {seen: {opened: offer, then: [{exit: opened}]}}}
`)
	capped := file(t, "caps.yaml", "campaigns: {caps: [{max: 1, per: day}]}\n")
	for _, tt := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"-c", capped, "sent news", "+1h tag loyalty=gold"}, 0, []string{"is sent a push of news", "offer  push is held: gateway_cap, at most 1 a day of the store, of all campaigns; 1 already"}},
		{[]string{"-c", capped, "sent news exempt=true", "tag loyalty=gold"}, 0, []string{`offer  push "Hi" "Gold true"`}},
		{[]string{"-c", capped, "sent news", "+12h tag loyalty=gold"}, 0, []string{`offer  push "Hi" "Gold true"`}},
		{[]string{"--opens", "25:00"}, 2, []string{"is no time of the day"}},
		{[]string{"tag loyalty=gold", "+1h opened offer"}, 0, []string{"joins gold", `1  calls crm with {"d":"shop.simulated"}`, "1  webhook → delivered", `offer  push "Hi" "Gold true"`, "3  waits until Sat 2026-11-28 16:00:01", "13:00:00  opens the push of offer", "ended: exit"}},
		{[]string{"--calls", "failed"}, 0, []string{"joins gold", "webhook → failed", "emits missed", "3  wait_for → not_triggered", "ended: finished"}},
		{[]string{"tag loyalty=gold", "+1h tag loyalty=null"}, 0, []string{"leaves gold", "3  goal\n", "ended: goal"}},
		{[]string{"--json", "joins gold", "+1h leaves gold"}, 0, []string{`"text": "ended: goal"`}},
		{[]string{"--profile", `{"tags":{"loyalty":"gold"}}`, "tag loyalty=gold"}, 0, []string{"profile"}},
		{[]string{"joins silver"}, 2, []string{"waits for nobody to join or leave silver"}},
		{[]string{"+1x nothing"}, 2, []string{"is not a duration"}},
		{[]string{"evnt view"}, 2, []string{"nothing called evnt happens; there are event, enter"}},
		{[]string{"event"}, 2, []string{"event what?"}},
		{[]string{"event view phones"}, 2, []string{`"phones" is no NAME=VALUE`}},
		{[]string{"--profile", `{"platform":"pc"}`}, 2, []string{"--profile: platform"}},
		{[]string{"--journey", "x"}, 2, []string{"holds no journey x; there are wh"}},
	} {
		code, out, errs := runCLI(t, append([]string{"journey", "simulate", path, "--at", "2026-11-28T12:00"}, tt.args...)...)
		if code != tt.code {
			t.Errorf("%q: code %d: %s%s", tt.args, code, out, errs)
		}
		for _, want := range tt.says {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%q: no %q in\n%s%s", tt.args, want, out, errs)
			}
		}
	}
	soup := file(t, "soup.yaml", `journey: soup
zone: Europe/Kyiv
entry: {enter: {id: k1}}
window: {to: never}
quiet: {hours: "14:00-14:30", closed: hold}
steps:
  - wait: {at: best_time, between: "12:00-16:00", default: "13:00", zone: Europe/Kyiv}
  - push: {template: {locales: {en: {body: "Soup at {{ fence.name }}"}}}}
`)
	stores := file(t, "s.geojson", strings.Replace(oneStore, `"id":"k1"`, `"id":"k1","name":"First"`, 1))
	for opens, want := range map[string][]string{
		"15:05,15:10,15:50": {"waits until Sat 2026-11-28 15:", "the person: 100 % of 2.9 opens are from 15 to 16", `push "" "Soup at First"`},
		"15:05,15:10":       {"waits until Sat 2026-11-28 13:00:00", "the person: 1.9 opens, and 2.5 are asked for", "the default, 13:00"},
		"14:05,14:10,14:25": {"waits until Sat 2026-11-28 14:", "2 "},
	} {
		code, out, errs := runCLI(t, "journey", "simulate", soup, "--at", "2026-11-28T11:00", "--fences", stores, "--opens", opens, "enter k1")
		for _, want := range want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("opens at %s: code %d, no %q in\n%s%s", opens, code, want, out, errs)
			}
		}
	}
}

// TestOneCheckForOneFolder: both checks look at campaigns and journeys, because the gateway refuses a folder for either; and a
// folder without any is no folder of campaigns.
func TestOneCheckForOneFolder(t *testing.T) {
	const good = "campaign: a\ntrigger: {enter: {fences: {all: true}}}\nwindow: {to: never}\nsteps: [{push: {template: {locales: {en: {body: x}}}}}]\n"
	const bad = "---\njourney: j\nentry: {api: true}\nwindow: {to: never}\nsteps: [{wiat: 1h}]\n"
	for _, command := range []string{"campaign", "journey"} {
		if code, out, _ := runCLI(t, command, "check", file(t, "c.yaml", good+bad)); code != 3 || !strings.Contains(out, "c.yaml:9:10: error unknown_key") {
			t.Errorf("%s check of a folder with a bad journey: %d, %s", command, code, out)
		}
		if code, out, _ := runCLI(t, command, "check", file(t, "c.yaml", good+strings.ReplaceAll(bad, "wiat", "wait"))); code != 0 || out != "1 campaign and 1 journey ok\n" {
			t.Errorf("%s check of a good one: %d, %s", command, code, out)
		}
		if code, out, _ := runCLI(t, command, "check", t.TempDir()); code != 3 || !strings.Contains(out, "there is no campaign, journey or segment in it") {
			t.Errorf("%s check of a folder without any: %d, %s", command, code, out)
		}
	}
}

// TestCookbookChecksClean: what the documentation tells people to write, the check has nothing to say about, not even of the
// longest values that there can be.
func TestCookbookChecksClean(t *testing.T) {
	for page, least := range map[string]int{"cookbook.md": 13, "journeys.md": 1} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			whole := strings.HasPrefix(block, "campaign:") || strings.HasPrefix(block, "journey:") || page == "cookbook.md"
			if !whole {
				continue
			}
			count++
			if code, out, errs := runCLI(t, "campaign", "check", file(t, "c.yaml", block), "--fences", filepath.Join("..", "..", "examples", "stores.geojson")); code != 0 {
				t.Errorf("%s, example %d: %d, %s%s", page, i+1, code, out, errs)
			}
		}
		if count < least {
			t.Errorf("%s: %d whole examples, want %d", page, count, least)
		}
	}
}

// TestExperimentWithoutGoals: before anybody reaches the goal nothing is known, and nothing is ever known for certain.
func TestExperimentWithoutGoals(t *testing.T) {
	var out strings.Builder
	v := stream.JourneyView{ID: "j", State: "running", Revision: "b", Versions: map[string]int64{"a": 3, "b": 1}, Experiments: map[string][]journey.Arm{
		"x": {{Name: "control", People: 50}, {Name: "same", People: 50, Better: 0.5}},
		"y": {{Name: "control", People: 50}, {Name: "good", People: 50, Goals: 40, Better: 0.99999999}, {Name: "so", People: 50, Goals: 1, Better: 0.75}},
	}}
	writeJourney(&out, &v)
	for _, want := range []string{
		"of these 3 in version a: footfall journey migrate j moves them", "0.00 %  not enough data\n",
		"80.00 %  better than control: more than 99.9 % sure", "2.00 %  better than control: 75.0 % sure",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "in version b:") {
		t.Error("who is in the version of the files need not be moved")
	}
}
