package stream

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

// TestCanaryLeavesNoTrace: what a canary walker does comes out as events and is explained, and nothing that counts or reaches people
// has it. A person's device that does the same shows that the test would see it.
func TestCanaryLeavesNoTrace(t *testing.T) {
	r := newRig(t)
	r.yaml = testCampaign + `---
journey: doors
entry: {enter: {all: true}}
window: {to: never}
steps: [{wait: 10m}, {push: {ttl: 2h, template: {locales: {en: {body: Hi}}}}}]
`
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.>")
	if err != nil {
		t.Fatal(err)
	}
	walk := func(subject string) {
		t.Helper()
		r.mustAsk(subject, []map[string]any{ping(noon.Add(-4*time.Minute), 50.4530, 30.5234), ping(noon.Add(-3*time.Minute), 50.4502, 30.5235), ping(noon, 50.4530, 30.5234)})
		r.settle()
	}
	// came reads events until one on the subject.
	came := func(last string) (subjects []string) {
		t.Helper()
		for {
			m, err := events.NextMsg(patience)
			if err != nil {
				t.Fatalf("waiting for %s after %v: %v", last, subjects, err)
			}
			if subjects = append(subjects, m.Subject); m.Subject == last {
				return subjects
			}
		}
	}
	before := r.rows()
	walk("ping.canary.k01")
	if got, want := came("ev.canary.exit.k01"), []string{"ev.canary.enter.k01", "ev.canary.exit.k01"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got, want := grown(before, r.rows()), []string{"stream.decisions", "stream.presence"}; !slices.Equal(got, want) {
		t.Errorf("a canary walker left rows in %q, want %q", got, want)
	}
	if f := r.gw.Status().Funnel; len(f) > 0 {
		t.Errorf("it was counted: %v", f)
	}
	if k := r.gw.Status().Stats.Kinds; len(k) > 0 {
		t.Errorf("its transitions were counted as people's: %v", k)
	}
	if x, err := r.gw.Explain(t.Context(), "canary.k01", 0, 0); err != nil || len(x.Decisions) != 2 || x.Live == nil || len(x.Decisions[0].Campaigns) > 0 {
		t.Errorf("explained as %+v, %v", x, err)
	}

	r.register("d1")
	r.settle()
	before = r.rows()
	walk("ping.shop.d1")
	for _, subject := range came("ev.shop.exit.k01") {
		if strings.HasPrefix(subject, "ev.canary.") {
			t.Errorf("more came of the canary walker: %s", subject)
		}
	}
	got := grown(before, r.rows())
	for _, name := range []string{"claims", "visits", "reach", "report entries", "journey runs", "stream.funnel"} {
		if !slices.Contains(got, name) {
			t.Errorf("a person's walk left no row in %q, only in %q: the test sees nothing", name, got)
		}
	}

	rec, err := ReadRecording(t.Context(), r.nc)
	if err != nil {
		t.Fatal(err)
	}
	pings := map[string]int{}
	for i := range rec.Records {
		if rec.Records[i].Kind == wire.KindPing {
			pings[string(rec.Records[i].Device)]++
		}
	}
	if want := map[string]int{"shop.d1": 3}; !maps.Equal(pings, want) {
		t.Errorf("recorded pings of %v, want %v", pings, want)
	}
}

// TestCanaryIsNobody: nothing makes a person of a canary walker, and an app that only looks like theirs is as any other.
func TestCanaryIsNobody(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	for subject, refused := range map[string]bool{
		"device.canary.k01": true, "event.canary.k01": true, "receipt.canary.k01": true, "device.canary-2.k01": true,
		"device.canaryx.k01": false, "device.shop.canary": false, "device.Canary.k01": false,
	} {
		payload := `{"platform":"ios","locale":"en"}`
		if strings.HasPrefix(subject, "event.") {
			payload = `{"name":"purchase"}`
		}
		var a wire.Reply
		if text := r.ask(subject, payload); json.Unmarshal([]byte(text), &a) != nil || a.OK == refused || refused && !strings.Contains(a.Error.Reason, "canary walkers") {
			t.Errorf("%s: answered %s, want it refused: %v", subject, text, refused)
		}
	}
	for app, want := range map[string]bool{"canary": true, "canary-eu": true, "canaryx": false, "shop": false, "": false} {
		if IsCanaryApp(app) != want || app != "" && isCanary(track.DeviceID(app+".d1")) != want {
			t.Errorf("%q: want %v", app, want)
		}
	}
}

// rows counts the rows of each space, but for those that come and go by themselves.
func (r *rig) rows() map[string]int {
	r.t.Helper()
	n := map[string]int{}
	err := r.db.View(func(tx *db.Tx) error {
		for _, s := range db.Spaces() {
			if s == progressSpace || s == eventSpace {
				continue
			}
			if err := tx.Scan(s.Prefix(), nil, func(_, _ []byte) (bool, error) { n[s.Name()]++; return true, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// grown lists the spaces that have other rows than before.
func grown(before, after map[string]int) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(after)), func(name string) bool { return before[name] == after[name] })
}
