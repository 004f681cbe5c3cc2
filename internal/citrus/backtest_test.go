package citrus

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"footfall/campaign"
	"footfall/fences"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// backtested is variant v8: the recorded positions of the day through a rehearsal, with fences of another radius. It
// returns who would have been pushed, by user.
func backtested(t *testing.T, day *Day, rec *recording, radiusM int) map[string]bool {
	t.Helper()
	text := bytes.ReplaceAll(Fences(), fmt.Appendf(nil, `"radius": %d`, RadiusM), fmt.Appendf(nil, `"radius": %d`, radiusM))
	if radiusM != RadiusM && bytes.Equal(text, Fences()) {
		t.Fatal("the fences have another form")
	}
	fs, findings := fences.Parse("stores.geojson", text, fences.Options{})
	if fences.HasErrors(findings) {
		t.Fatal(findings)
	}
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := campaign.Parse("campaign.yaml", []byte(Campaign))
	if err != nil {
		t.Fatal(err)
	}
	campaigns, err := campaign.NewSet(cs)
	if err != nil {
		t.Fatal(err)
	}
	registered := map[track.DeviceID]json.RawMessage{}
	users := map[string]string{}
	for i := range day.Messages {
		if m := &day.Messages[i]; strings.HasPrefix(m.Subject, "device.") {
			p := &day.People[m.Person]
			id, err := wire.JoinDevice(App, p.Device)
			if err != nil {
				t.Fatal(err)
			}
			registered[id], users[string(id)] = m.Payload, p.User
		}
	}
	r, err := stream.NewRehearsal(stream.RehearsalConfig{
		Rules: track.DefaultRules(), Fences: set, Campaigns: campaigns, Past: func(id track.DeviceID) *stream.Past {
			return &stream.Past{Device: string(id), Registration: registered[id]}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var all []wire.Record
	for _, rs := range rec {
		for i := range rs {
			if rs[i].Kind == wire.KindPing {
				all = append(all, rs[i])
			}
		}
	}
	slices.SortStableFunc(all, func(a, b wire.Record) int { return cmp.Compare(a.ReceivedAt, b.ReceivedAt) })
	for i := range all {
		f := all[i].Fix
		f.ReceivedAt = all[i].ReceivedAt
		if err := r.Ping(t.Context(), all[i].Device, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	err = r.Decisions(func(d *stream.Decision) error {
		for i := range d.Campaigns {
			if d.Campaigns[i].MID != "" {
				out[users[d.Device]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkBacktest: at the radius of the day those would have been pushed who were; at 150 m fewer, all of them among these,
// and each time the same.
func checkBacktest(t *testing.T, day *Day, rec *recording, notified map[string]string) {
	t.Helper()
	same := backtested(t, day, rec, RadiusM)
	if want := slices.Sorted(maps.Keys(notified)); !slices.Equal(slices.Sorted(maps.Keys(same)), want) {
		t.Errorf("a backtest at the day's radius pushes to %d people, the day did to %d", len(same), len(want))
	}
	small, again := backtested(t, day, rec, 150), backtested(t, day, rec, 150)
	if !maps.Equal(small, again) {
		t.Errorf("at 150 m %d people, and %d the second time, or others", len(small), len(again))
	}
	if len(small) == 0 || len(small) >= len(same) {
		t.Errorf("at 150 m %d people, at %d m %d", len(small), RadiusM, len(same))
	}
	for user := range small {
		if !same[user] {
			t.Errorf("%s is pushed to at 150 m and not at %d m", user, RadiusM)
		}
	}
	t.Logf("backtest: %d people at %d m, %d at 150 m", len(same), RadiusM, len(small))
}
