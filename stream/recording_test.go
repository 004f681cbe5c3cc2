package stream

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

// rehearsed is the pushes of a recording: decision and campaign. It is decided in batches of 1 to most records.
func rehearsed(t *testing.T, rec *Recording, fs []fences.Fence, yaml string, most int, ask func(PastQuery) (Pasts, error)) map[string]bool {
	t.Helper()
	lib, err := campaign.ParseLibrary("c.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	campaigns, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := track.DefaultRules()
	pasts := map[track.DeviceID]*Past{}
	for i := range rec.Records {
		id := rec.Records[i].Device
		if pasts[id] != nil {
			continue
		}
		q := PastQuery{Devices: []string{string(id)}, From: rec.From[wire.Partition(id, Partitions)], To: rec.To, TTL: rules.PresenceTTL.Milliseconds()}
		for len(q.Devices) > 0 {
			got, err := ask(q)
			if err != nil {
				t.Fatal(err)
			}
			p := &got.Pasts[0]
			pasts[track.DeviceID(p.Device)] = p
			q.Devices = q.Devices[1:]
			for _, other := range p.Devices {
				if pasts[track.DeviceID(other)] == nil && !slices.Contains(q.Devices, other) {
					q.Devices = append(q.Devices, other)
				}
			}
		}
	}
	r, err := NewRehearsal(RehearsalConfig{Rules: rules, Fences: set, Campaigns: campaigns, Past: func(id track.DeviceID) *Past { return pasts[id] }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rng := rand.New(rand.NewPCG(12, uint64(most)))
	for i := range rec.Records {
		if err := r.Record(t.Context(), &rec.Records[i]); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(most) == 0 {
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	err = r.Decisions(func(d *Decision) error {
		for _, c := range d.Campaigns {
			if c.MID != "" {
				out[d.ID+" "+c.Campaign] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRehearsalOfTheOwnLog: a gateway's own input log, whose beginning has aged out, rehearsed with the same fences and
// campaigns gives the very pushes that the gateway decided on in that time, though claims, caps, visits and events of before
// decide about them, and though min_stay and min_away are running when it begins, wherever that is; and it is decided the same in one partition as in the gateway's sixteen, and in batches of other sizes. It reads the same from the running gateway and from the files of a stopped one, as what-if does.
func TestRehearsalOfTheOwnLog(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.ReplaceAll(whatIfCampaigns+`---
campaign: buyers
trigger: {enter: {fences: {all: true}}}
window: {to: never}
audience: 'events("purchase") >= 2'
once_per: {rolling: PT1H}
steps: [{push: {template: {locales: {en: {body: hello}}}, ttl: 15m}}]
`, "ttl: 15m", "ttl: 1d") // the clock runs faster than the outbox, and a push that expires would give its claim back
	r.fences = nil
	for i := range 5 {
		f := store(t, fmt.Sprintf("s%d", i), 50.45+0.004*float64(i), 30.52)
		switch i {
		case 0, 1:
			f.Tags = []string{"kyiv"}
		case 3:
			f.Dwell = 2 * time.Minute
		}
		if i == 2 || i == 4 {
			f.MinStay = 90 * time.Second
		}
		if i%2 == 1 {
			f.MinAway = 5 * time.Minute
		}
		r.fences = append(r.fences, f)
	}
	r.start()
	halted := false
	defer func() {
		if !halted {
			r.halt()
		}
	}()
	rng := rand.New(rand.NewPCG(8, 28))
	const devices = 24
	var lat [devices]float64
	var names [devices]string
	for i := range lat {
		names[i] = fmt.Sprintf("d%d", i)
		for n := 0; i%6 == 3 && wire.Partition(track.DeviceID("shop."+names[i]), Partitions) != wire.Partition(track.DeviceID("shop."+names[i-3]), Partitions); n++ {
			names[i] = fmt.Sprintf("d%d-%d", i, n) // one order for both phones of a person
		}
		lat[i] = 50.45 + 0.016*rng.Float64()
		reg := map[string]any{"platform": "ios", "token": fmt.Sprintf("%064d", i)}
		if i%3 == 0 { // two phones each
			reg["user"], reg["tags"] = fmt.Sprintf("u%d", i/6), map[string]any{"city": "Kyiv"}
		}
		r.mustAsk("device.shop."+names[i], reg)
	}
	now := noon.Add(-2 * time.Hour)
	walk := func(pings int) {
		for n := range pings {
			now = now.Add(time.Duration(rng.IntN(12_000)) * time.Millisecond)
			r.clock.set(now)
			i := rng.IntN(devices)
			lat[i] += 0.003 * (rng.Float64() - 0.5)
			lat[i] = min(max(lat[i], 50.447), 50.469)
			r.mustAsk("ping.shop."+names[i], ping(now, lat[i], 30.52+0.001*rng.Float64()))
			if n%25 == 0 {
				r.mustAsk("event.shop."+names[i], map[string]any{"name": "purchase", "t": now.UnixMilli(), "id": fmt.Sprint(now.UnixMilli())})
			}
		}
		r.settle()
	}
	walk(600)
	for p := range Partitions { // of different length
		l := r.gw.logs[p]
		state, err := l.state(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state.last > 10 {
			if _, err := l.purge(t.Context(), state.last-uint64(rng.IntN(10))); err != nil {
				t.Fatal(err)
			}
		}
	}
	walk(600)

	live, err := ReadRecording(t.Context(), r.nc)
	if err != nil {
		t.Fatal(err)
	}
	yaml, fs := r.yaml, r.fences
	now2 := rehearsed(t, live, fs, yaml, 1, func(q PastQuery) (out Pasts, err error) {
		text, err := json.Marshal(q)
		if err != nil {
			return out, err
		}
		m, err := r.nc.Request(PastsSubject, text, patience)
		if err != nil {
			return out, err
		}
		return out, json.Unmarshal(m.Data, &out)
	})
	// What-if asks the ledger of a stopped gateway what it asks a running one.
	questions := map[string]WhatIfRequest{}
	answers := map[string]string{}
	for i, name := range names {
		q := WhatIfRequest{App: "shop", Device: name, Lat: r.fences[i%5].Shape.Center().Lat, Lon: 30.52, Accuracy: 5, At: now.Add(time.Minute).UnixMilli()}
		got, err := r.gw.WhatIf(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		questions[name], answers[name] = q, marshal(t, got)
	}
	r.halt()
	halted = true

	stopped, err := RecordingOf(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(stopped.Records) != len(live.Records) || stopped.From != live.From || stopped.To != live.To || live.Unreadable+stopped.Unreadable > 0 {
		t.Fatalf("%d records from the files, %d from the running gateway", len(stopped.Records), len(live.Records))
	}
	d, err := db.OpenReadOnly(db.Config{Dir: filepath.Join(r.dir, "ledger"), Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ask := func(q PastQuery) (out Pasts, err error) {
		err = d.View(func(tx *db.Tx) error { out, err = PastsOf(t.Context(), tx, &q); return err })
		return out, err
	}
	lib, err := campaign.ParseLibrary("c.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	campaigns, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range questions {
		got, err := WhatIfStored(t.Context(), d, track.DefaultRules(), fs, campaigns, nil, q, now)
		if err != nil {
			t.Fatal(err)
		}
		if text := marshal(t, got); text != answers[name] {
			t.Errorf("what if %s: stopped\n%s\nrunning\n%s", name, text, answers[name])
		}
	}
	again := rehearsed(t, stopped, fs, yaml, 100, ask)
	all := 0
	decided := func(from [Partitions]int64) map[string]bool {
		all = 0
		want := map[string]bool{}
		err := d.View(func(tx *db.Tx) error {
			return EachDecision(tx, func(d *Decision) error {
				for _, c := range d.Campaigns {
					if c.MID != "" {
						all++
						if first := from[wire.Partition(track.DeviceID(d.Device), Partitions)]; first != 0 && d.ReceivedAt >= first {
							want[d.ID+" "+c.Campaign] = true
						}
					}
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	want := decided(stopped.From)
	if len(want) < 20 || all < len(want)+20 {
		t.Fatalf("%d pushes, %d of them in the log: the test proves little", all, len(want))
	}
	same := func(got, want map[string]bool) {
		t.Helper()
		if !maps.Equal(got, want) {
			t.Errorf("%d pushes, the gateway decided on %d", len(got), len(want))
			for _, k := range slices.Sorted(maps.Keys(want)) {
				if !got[k] {
					t.Errorf("missing %s", k)
				}
			}
			for _, k := range slices.Sorted(maps.Keys(got)) {
				if !want[k] {
					t.Errorf("too many %s", k)
				}
			}
		}
	}
	same(now2, want)
	same(again, want)
	// From later moments on, in many of which somebody waits.
	mattered := 0
	for k := 40; k < len(stopped.Records); k += len(stopped.Records) / 8 {
		later := Recording{Records: stopped.Records[k:], To: stopped.To}
		for i := range later.Records {
			if from := &later.From[wire.Partition(later.Records[i].Device, Partitions)]; *from == 0 {
				*from = later.Records[i].ReceivedAt
			}
		}
		want := decided(later.From)
		same(rehearsed(t, &later, fs, yaml, 1_000, ask), want)
		if !maps.Equal(want, rehearsed(t, &later, fs, yaml, 1_000, func(q PastQuery) (Pasts, error) {
			got, err := ask(q)
			for i := range got.Pasts {
				got.Pasts[i].Pending = nil
				for k := range got.Pasts[i].Inside {
					got.Pasts[i].Inside[k].AwaySince = 0
				}
			}
			return got, err
		})) {
			mattered++
		}
	}
	if mattered == 0 {
		t.Error("what was waiting made no difference: the test proves little")
	}
	t.Logf("without what was waiting, %d of the later recordings would give other pushes", mattered)
	// Without what was before, other people would get one.
	if naive := rehearsed(t, stopped, fs, yaml, 1_000, func(q PastQuery) (Pasts, error) {
		got, err := ask(q)
		for i := range got.Pasts {
			p := &got.Pasts[i]
			got.Pasts[i] = Past{Device: p.Device, Person: p.Person, Devices: p.Devices, Registration: p.Registration}
		}
		return got, err
	}); maps.Equal(naive, want) {
		t.Error("what was before made no difference: the test proves little")
	}
	t.Logf("%d records, %d of %d pushes", len(stopped.Records), len(want), all)
}
