package stream

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/track"
)

const whatIfCampaigns = `campaign: day
trigger: {enter: {fences: {tag: kyiv}}}
window: {to: never, hours: "10:00-14:00"}
caps: [{max: 2, per: 7d}]
holdout: 20%
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
---
campaign: gold
trigger: {enter: {fences: {all: true}, min_confidence: 2, visits: {every: 2}}}
window: {to: never}
audience: 'tags.city == "Kyiv"'
once_per: {rolling: PT2H}
scope: fence
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
---
campaign: bye
trigger: {exit: {fences: {id: s0}}}
window: {from: 2026-11-28T12:00, to: 2026-11-29T21:00, closed: hold, hours: "12:00-20:00"}
once_per: none
quiet: {hours: "13:00-13:30", closed: hold}
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
---
campaign: tomorrow
trigger: {enter: {fences: {id: s1}}}
window: {from: 2026-11-29T00:00, to: never}
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
---
campaign: stay
trigger: {dwell: {fences: {all: true}}}
window: {to: never}
caps: [{max: 3, per: day, of: all}]
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
`

func whatIfRehearsal(t *testing.T) *Rehearsal {
	t.Helper()
	lib, err := campaign.ParseLibrary("c.yaml", []byte(whatIfCampaigns))
	if err != nil {
		t.Fatal(err)
	}
	campaigns, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		t.Fatal(err)
	}
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	var fs []fences.Fence
	for i := range 5 {
		shape, err := geo.NewCircle(geo.Point{Lat: 50.45 + 0.004*float64(i), Lng: 30.52}, 200)
		if err != nil {
			t.Fatal(err)
		}
		f := fences.Fence{ID: fences.ID(fmt.Sprintf("s%d", i)), Name: "Store", Shape: shape, Zone: "Europe/Kyiv", Location: kyiv}
		switch i {
		case 0, 1:
			f.Tags = []string{"kyiv"}
		case 2:
			f.MinStay = time.Minute
		case 3:
			f.Dwell = 2 * time.Minute
		case 4:
			f.MinAway = time.Minute
		}
		fs = append(fs, f)
	}
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRehearsal(RehearsalConfig{Rules: track.DefaultRules(), Fences: set, Campaigns: campaigns, Past: func(id track.DeviceID) *Past {
		n := int(id[len(id)-1] - '0')
		text := `{"platform":"android","token":"x","tags":{"city":"Lviv"}}`
		switch {
		case n == 0:
			text = `{}`
		case n == 1:
			text = `{"platform":"ios","token":"x","consent":{"push":false}}`
		case n < 5: // two persons, with several devices each
			text = fmt.Sprintf(`{"platform":"ios","token":"x","user":"u%d%s","tags":{"city":"Kyiv"}}`, n%2, strings.TrimRight(string(id), "0123456789"))
		}
		return &Past{Device: string(id), Registration: json.RawMessage(text)}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestWhatIfEqualsTheHotPath: of every ping of a replay, what-if says beforehand exactly what the hot path then decides:
// the verdict, and each decision with its ladder, claim and message id. Asking leaves no trace.
func TestWhatIfEqualsTheHotPath(t *testing.T) {
	pings := 1_500
	if testing.Short() {
		pings = 700
	}
	if os.Getenv("FOOTFALL_LONG") != "" {
		pings = 100_000
	}
	r := whatIfRehearsal(t)
	rng := rand.New(rand.NewPCG(5, 28))
	now := time.Date(2026, 11, 28, 7, 50, 0, 0, time.UTC).UnixMilli()
	const devices = 40
	var at [devices]geo.Point
	for i := range at {
		at[i] = geo.Point{Lat: 50.44 + 0.03*rng.Float64(), Lng: 30.515 + 0.01*rng.Float64()}
	}
	sources := []track.Source{track.SourceStream, track.SourceStream, track.SourceStream, track.SourceSignificant, track.SourceOSEnter, track.SourceOSExit}
	kinds, verdicts, campaigns := map[string]int{}, map[string]int{}, map[campaign.Reason]int{}
	for n := range pings {
		now += rng.Int64N(3_000)
		i := rng.IntN(devices)
		id := track.DeviceID(fmt.Sprintf("shop.d%d-%d", n/1_500, i)) // new people now and then: all that is known of each is compared
		p := &at[i]
		switch rng.IntN(40) {
		case 0: // far away, or back
			p.Lat, p.Lng = 50.44+0.03*rng.Float64(), 30.515+0.01*rng.Float64()
		case 1: // not believable
			p.Lng += 3
		default:
			p.Lat += 0.0016 * (rng.Float64() - 0.5)
			p.Lng += (30.52-p.Lng)*0.3 + 0.001*(rng.Float64()-0.5)
		}
		f := track.Fix{HasPosition: true, Lat: p.Lat, Lng: p.Lng, AccuracyM: float32(rng.IntN(130)), ReceivedAt: now, FixedAt: now - rng.Int64N(5_000), Source: sources[rng.IntN(len(sources))]}
		f.Lat, f.Lng = float64(int(f.Lat*1e7))/1e7, float64(int(f.Lng*1e7))/1e7
		if rng.IntN(30) == 0 || i%10 == 9 { // some phones send late whatever they send
			f.FixedAt -= 20 * 60_000
		}
		if f.Source.OS() {
			f.Fence = fmt.Sprintf("s%d", rng.IntN(6)) // s5 is nobody's
		}
		f.Mock = rng.IntN(100) == 0
		if r.known[id] == nil {
			r.register(id, now)
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.nowMS = max(r.nowMS, now)
		if track.CheckFix(new(f), &r.cfg.Rules) != "" {
			continue
		}
		before := newDecisions(t, r, id, nil)
		got, err := r.worker.whatIf(t.Context(), id, &f, &WhatIfRequest{Device: "d"}, rulebook{&r.cfg.Rules, r.cfg.Fences, r.cfg.Campaigns, r.cfg.Caps})
		if err != nil {
			t.Fatal(err)
		}
		if again := newDecisions(t, r, id, before); len(again) > 0 {
			t.Fatalf("asking has stored %d decisions", len(again))
		}
		counts := r.Verdicts()
		if err := r.Ping(t.Context(), id, f); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var verdict string
		for v, n := range r.Verdicts() {
			if n > counts[v] {
				verdict = v
			}
		}
		if got.Verdict != verdict {
			t.Fatalf("%s at %d: %q, the hot path says %q", id, now, got.Verdict, verdict)
		}
		verdicts[verdict]++
		want := newDecisions(t, r, id, before)
		for k := range got.Decisions {
			d := &got.Decisions[k]
			d.Change = ""
			kinds[d.Kind]++
			for c := range d.Campaigns {
				a := &d.Campaigns[c]
				if a.Outcome == campaign.Held && len(a.Change) == 0 {
					t.Fatalf("%s at %d: nothing is said of what would have led to a push, held as %s", id, now, a.Reason)
				}
				a.Change = nil
				campaigns[a.Reason]++
			}
		}
		if a, b := jsonOf(t, got.Decisions), jsonOf(t, want); a != b {
			t.Fatalf("%s at %d:\nwhat if  %s\nhot path %s", id, now, a, b)
		}
	}
	t.Logf("%v\n%v\n%v", verdicts, kinds, campaigns)
	for _, kind := range []string{"enter", "exit", "dwell", "pending_min_stay", "pending_min_away", "accuracy_too_poor", "inside_margin", "unknown_fence"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s in the whole replay", kind)
		}
	}
	for _, v := range []track.Verdict{track.Accepted, track.Late, track.Quarantined} {
		if verdicts[v.String()] == 0 {
			t.Errorf("nothing was %s", v)
		}
	}
	for _, why := range []campaign.Reason{
		campaign.Eligible, campaign.WindowClosed, campaign.NotStarted, campaign.NotInAudience, campaign.OtherVisit, campaign.OptedOut,
		campaign.NoToken, campaign.Stale, campaign.Capped, campaign.AlreadyClaimed, campaign.HeldOut,
	} {
		if campaigns[why] == 0 {
			t.Errorf("no campaign said %s", why)
		}
	}
}

// newDecisions are the stored decisions about a device that are not among before.
func newDecisions(t *testing.T, r *Rehearsal, id track.DeviceID, before []Decision) []Decision {
	t.Helper()
	var all []Decision
	err := r.db.View(func(tx *db.Tx) (err error) {
		all, _, err = Decisions(tx, id, 0, 0, 1<<30)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]bool{}
	for i := range before {
		old[before[i].ID] = true
	}
	return slices.DeleteFunc(all, func(d Decision) bool { return old[d.ID] })
}

func jsonOf(t *testing.T, v []Decision) string {
	t.Helper()
	if len(v) == 0 {
		return "[]"
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWhatIfCloser: who goes as much closer as is said, or sends so good a position, is let in.
func TestWhatIfCloser(t *testing.T) {
	r := whatIfRehearsal(t)
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC).UnixMilli()
	ask := func(p geo.Point, accuracy float32, q WhatIfRequest) *WhatIf {
		t.Helper()
		f := track.Fix{HasPosition: true, Lat: p.Lat, Lng: p.Lng, AccuracyM: accuracy, FixedAt: now, ReceivedAt: now}
		w, err := r.worker.whatIf(t.Context(), "shop.d7", &f, &q, rulebook{&r.cfg.Rules, r.cfg.Fences, r.cfg.Campaigns, r.cfg.Caps})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	door := geo.Point{Lat: 50.45, Lng: 30.52}
	for _, far := range []float64{200.04, 203.2, 238.4, 1_500} {
		p := geo.Point{Lat: door.Lat - far/111_229, Lng: door.Lng}
		w := ask(p, 10, WhatIfRequest{Campaign: "day"})
		if len(w.Decisions) > 0 || w.NotAsked == nil || w.NotAsked.Nearest == nil {
			t.Fatalf("%.1f m from the door: %+v", far, w)
		}
		var closer float64
		if _, err := fmt.Sscanf(w.NotAsked.Nearest.Change, "%f m closer", &closer); err != nil {
			t.Fatalf("%q: %v", w.NotAsked.Nearest.Change, err)
		}
		if over := closer - (far - 200); over < 0 || over > 1.1 {
			t.Errorf("%.1f m closer at %.2f m from the centre of 200 m", closer, far)
		}
		p.Lat += closer / 111_229
		w = ask(p, 10, WhatIfRequest{Campaign: "day"})
		if len(w.Decisions) != 1 || w.Decisions[0].Kind != "enter" || w.NotAsked != nil {
			t.Errorf("%.1f m closer: %+v", closer, w)
		}
	}
	w := ask(door, 300, WhatIfRequest{})
	if len(w.Decisions) != 1 || w.Decisions[0].Change != "an accuracy of at most 100 m" || w.Nearest[0].Change != w.Decisions[0].Change {
		t.Errorf("a vague position at the door: %+v", w)
	}
	if w = ask(door, 100, WhatIfRequest{}); len(w.Decisions) != 1 || w.Decisions[0].Kind != "enter" {
		t.Errorf("of 100 m: %+v", w)
	}
	if len(w.Decisions[0].Campaigns) != 2 {
		t.Errorf("a stranger: %+v", w.Decisions[0].Campaigns)
	}
}

// TestWhatIfBesideTheHotPath: questions may be asked while the writer settles others; the race detector looks on. All that was
// sent has its push, and nothing that was only asked.
func TestWhatIfBesideTheHotPath(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	const devices = 60
	for i := range devices {
		r.register(fmt.Sprintf("d%d", i))
	}
	done := make(chan error, 1)
	go func() {
		for i := range 2 * devices {
			lat := 50.4501
			if i >= devices { // everybody leaves again
				lat = 50.4701
			}
			body, err := json.Marshal(ping(noon.Add(time.Duration(i)*time.Second), lat, 30.5234))
			if err == nil {
				_, err = r.nc.Request(fmt.Sprintf("ping.shop.d%d", i%devices), body, patience)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	asked := 0
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
			if _, err := r.gw.WhatIf(t.Context(), WhatIfRequest{App: "shop", Device: fmt.Sprintf("d%d", asked%devices), Lat: 50.4420, Lon: 30.5206, Accuracy: 5, At: noon.Add(time.Hour).UnixMilli()}); err != nil {
				t.Fatal(err)
			}
			asked++
		}
	}
	r.await("the pushes", func() bool { return len(r.provider.pushes()) == devices })
	r.settle()
	if n := len(r.provider.pushes()); n != devices || asked == 0 {
		t.Errorf("%d pushes of %d devices, %d questions", n, devices, asked)
	}
}
