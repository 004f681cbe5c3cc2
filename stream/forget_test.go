package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/push"
	"footfall/stream/wire"
	"footfall/track"
)

func holds(data []byte, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(data, []byte(w)) })
}

// traces lists every row of the ledger and every message of the streams that holds one of the words.
func (r *rig) traces(words ...string) (found []string) {
	r.t.Helper()
	has := func(data []byte) bool { return holds(data, words) }
	err := r.db.View(func(tx *db.Tx) error {
		for space := 1; space < 256; space++ {
			err := tx.Scan([]byte{byte(space)}, nil, func(key, val []byte) (bool, error) {
				if has(key) || has(val) {
					found = append(found, fmt.Sprintf("row %q", key))
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	js, err := jetstream.New(r.nc)
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := js.Stream(r.t.Context(), wire.EventsStream)
	if err != nil {
		r.t.Fatal(err)
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if has(m.Data) || has([]byte(m.Subject)) {
			found = append(found, fmt.Sprintf("event %d on %s", seq, m.Subject))
		}
	}
	return append(found, r.inLog(has)...)
}

// inLog lists the files of the input log that hold something.
func (r *rig) inLog(has func([]byte) bool) (found []string) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "nats", "input", "*", "*"))
	if err != nil || len(files) < Partitions {
		r.t.Fatalf("%d files of the input log, err %v", len(files), err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has just come of age
			r.t.Fatal(err)
		}
		if has(data) {
			found = append(found, path)
		}
	}
	return found
}

func (r *rig) forget(who Someone) Forgotten {
	r.t.Helper()
	data, err := json.Marshal(who)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.nc.Request(ForgetSubject, data, 30*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		r.t.Fatal(text)
	}
	var f Forgotten
	if err := json.Unmarshal(m.Data, &f); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// sameOwner names a device that lives in the partition of another.
func sameOwner(device string) string {
	for i := 0; ; i++ {
		if d := fmt.Sprintf("neighbour%d", i); wire.Partition(track.DeviceID("shop."+d), Partitions) == wire.Partition(track.DeviceID("shop."+device), Partitions) {
			return d
		}
	}
}

// leaveRest leaves what only journeys, announcements and counted badges would.
func (r *rig) leaveRest(device, subject string) {
	r.t.Helper()
	due := noon.Add(9 * time.Hour).UnixMilli()
	watch := "gold@" + subject[:1]
	r.gw.members.mu.Lock()
	r.gw.members.states[watch] = journey.WatchState{After: device}
	r.gw.members.mu.Unlock()
	err := r.db.Update(r.t.Context(), func(tx *db.Tx) error {
		j := journey.Journey{ID: "lunch"}
		run := journey.Run{Device: device, At: "wait", Due: due, Path: []journey.Mark{{Step: "a", At: noon.UnixMilli(), Note: "to b"}}}
		return errors.Join(
			j.Put(tx, subject, &journey.Run{}, &run), journey.Park(tx, journey.Wake{Journey: "paused", Subject: subject, Due: due}),
			journey.PutMember(tx, "gold@1", subject, true, noon.UnixMilli()), journey.PutWatch(tx, watch, journey.WatchState{After: device}),
			putPlan(tx, "week before, "+watch, "2026-11-21", plan{Began: noon.UnixMilli(), After: device}), tx.Set(withdrawnKey(track.DeviceID(device)), stamp(noon.UnixMilli())), putUnread(tx, device, []int64{noon.UnixMilli()}))
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestForget lets a person with two phones leave a trace of every kind, forgets the person, and looks for the names in every
// row and every message. A neighbour on the same partition loses nothing, through a restart too; and who comes again is new.
func TestForget(t *testing.T) {
	r := newRig(t)
	r.yaml = testCampaign + "---\ncampaign: later\ntrigger: {enter: {fences: {all: true}}}\nwindow: {to: never, hours: \"18:00-21:00\", closed: hold}\ncaps: [{max: 3, per: 7d}]\n" + strings.Replace(body, "ttl: 15m", "ttl: 15m, in_app: only", 1)
	r.tune = func(c *Config) { c.Providers["inapp"], c.InApp = &recorder{}, "inapp" }
	r.provider.say = func(n *push.Notification) push.Outcome {
		if n.Device == "zz9second" { // this one's token is refused, so that the push goes to the other phone
			return push.Outcome{Class: push.TokenDead, Status: 410, Sent: true, InvalidSince: noon.Add(time.Hour)}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	const person = "olena@example.com"
	neighbour := sameOwner("zz9first")
	for _, d := range []string{"zz9first", "zz9second"} {
		r.mustAsk("device.shop."+d, map[string]any{"platform": "ios", "token": "token-" + d, "user": person, "locale": "en",
			"tags": map[string]any{"loyalty": "gold"}, "user_tags": map[string]any{"city": "Lviv"}})
	}
	r.register(neighbour)
	r.ask("ping.shop.zz9first", map[string]any{"t": noon.UnixMilli(), "lat": 500, "lon": 0}) // a refusal
	come := func(device string, at time.Time, lat, lng float64) {
		r.mustAsk("ping.shop."+device, []map[string]any{ping(at.Add(-2*time.Minute), 50.4701, 30.5234), ping(at, lat, lng)})
	}
	come("zz9second", noon, 50.4501, 30.5234)
	come("zz9first", noon.Add(time.Second), 50.4420, 30.5206)
	come(neighbour, noon, 50.4501, 30.5234)
	r.mustAsk("event.shop.zz9first", map[string]any{"name": "purchase", "t": noon.UnixMilli(), "id": "r1", "props": map[string]any{"category": "phones"}})
	r.settle()
	r.await("two pushes", func() bool { return r.gw.Status().Funnel["welcome"]["push.accepted"] == 2 })
	for _, p := range r.provider.pushes() {
		if p.Device == "zz9first" {
			r.mustAsk("receipt.shop.zz9first", map[string]any{"mid": p.MID, "k": p.ReceiptKey, "ev": "opened"})
			r.mustAsk("event.shop.till", map[string]any{"name": "purchase", "id": "sale", "props": map[string]any{"code": r.gw.cfg.Receipts.Code("shop", p.MID), "value": 5}})
		}
	}
	r.settle()
	r.leaveRest("shop.zz9first", "p:"+person)
	r.leaveRest("shop."+neighbour, "d:shop."+neighbour)
	r.await("EVENTS to have all", func() bool { return r.gw.Status().Stats.EventsOwed == 0 })
	words := []string{"zz9first", "zz9second", "olena"}
	if n := len(r.traces(words...)); n < 30 {
		t.Fatalf("only %d traces before", n)
	}
	r.wantTraces(words...)
	before := r.traces(neighbour)

	// The export has what will be erased.
	var all Export
	for _, part := range ExportParts() {
		x := Export{More: true}
		for x.More {
			q, err := json.Marshal(ExportRequest{Someone: Someone{Person: person}, Part: part, Skip: all.Rows(part)})
			if err != nil {
				t.Fatal(err)
			}
			m, err := r.nc.Request(ExportSubject, q, patience)
			x = Export{}
			if err != nil || json.Unmarshal(m.Data, &x) != nil {
				t.Fatalf("%s: %v, %s", part, err, m.Data)
			}
			all.Add(&x)
		}
		if all.Rows(part) == 0 {
			t.Errorf("the export has no %s", part)
		}
	}
	if len(all.Devices) != 2 || all.Devices[0].Profile.Tags["loyalty"] != "gold" || len(all.Devices[0].Events) != 1 || len(all.Devices[0].Visits) != 1 ||
		all.Devices[0].Presence == nil || len(all.Receipts) == 0 || all.Tags["city"] != "Lviv" || len(all.OpenHours) != 1 || len(all.Unread["shop.zz9first"]) != 1 ||
		len(all.Runs) != 1 || all.Runs[0].Path[0].Note != "to b" || len(all.Segments) != 1 || all.Segments[0].Segment != "gold" {
		t.Errorf("export: %+v", all)
	}
	if text, _ := json.Marshal(all); strings.Contains(string(text), neighbour) {
		t.Error("the export has the neighbour")
	}

	f := r.forget(Someone{Person: person})
	if left := r.traces(words...); len(left) > 0 {
		t.Errorf("after the erasure there are %d traces:\n%s\n%v", len(left), strings.Join(left, "\n"), f.Summary())
	}
	for _, kind := range []string{"profiles", "presence", "visits", "customer events", "decisions", "deliveries and their indexes", "entries of reports",
		"outcomes of reports", "receipts and codes", "journey runs and their timers", "pushes sent, for caps", "claims", "events", "log batches"} {
		if f.Erased[kind] == 0 {
			t.Errorf("the receipt has no %s: %v", kind, f.Erased)
		}
	}
	// All of the neighbour's but positions in the log, which nobody needs any more.
	after := r.traces(neighbour)
	for _, trace := range before {
		if kept := slices.Contains(after, trace); kept == strings.HasPrefix(trace, "LOG") {
			t.Errorf("the neighbour's %s: kept %v", trace, kept)
		}
	}
	if again := r.forget(Someone{Person: person}); len(again.Erased) > 0 || len(again.Devices) != 0 {
		t.Errorf("a second time: %+v", again)
	}
	day, _ := funnel.ParseDay("2026-11-28")
	rep, _ := r.asked(funnel.Query{Campaign: "welcome", From: day, To: day})
	if c := rep.Campaigns[0].Total; c.Entered != 1 || c.Accepted != 1 {
		t.Errorf("the report counts %+v", c.Counts)
	}
	if rep, _ = r.asked(funnel.Query{From: day, To: day}); rep.Growth.End != 1 || rep.Growth.Start != 0 {
		t.Errorf("subscribers %+v", rep.Growth)
	}

	// Nothing comes back with a restart, and to the neighbour it is none.
	r.halt()
	r.start()
	defer r.halt()
	if left := r.traces(words...); len(left) > 0 {
		t.Errorf("after a restart: %v", left)
	}
	r.clock.set(noon.Add(5 * time.Minute))
	r.mustAsk("ping.shop."+neighbour, ping(noon.Add(4*time.Minute), 50.4501, 30.5234))
	r.mustAsk("device.shop.zz9first", map[string]any{"platform": "ios", "token": "new", "user": person})
	come("zz9first", noon.Add(4*time.Minute), 50.4420, 30.5206)
	r.settle()
	e, err := r.gw.Explain(t.Context(), track.DeviceID("shop."+neighbour), 0, 0)
	if err != nil || e.Live == nil || len(e.Live.Inside) != 1 || len(slices.DeleteFunc(e.Decisions, func(d Decision) bool { return d.Kind != "enter" })) != 1 {
		t.Errorf("the neighbour: %+v, %v", e, err)
	}
	r.await("the push to who came again", func() bool {
		p := r.provider.pushes()
		return p[len(p)-1].Device == "zz9first" && p[len(p)-1].Token == "new"
	})
}

// TestForgetDevice: one phone of a person goes, what is kept under the person stays and is named; and what is being sent at
// that moment ends in nothing.
func TestForgetDevice(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	sending := make(chan struct{}, 1)
	r.provider.say = func(n *push.Notification) push.Outcome {
		sending <- struct{}{}
		<-release
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	r.mustAsk("device.shop.zz9first", map[string]any{"platform": "ios", "token": "t1", "user": "olena", "locale": "en"})
	r.mustAsk("device.shop.other", map[string]any{"platform": "ios", "token": "t2", "user": "olena", "locale": "en"})
	r.mustAsk("ping.shop.zz9first", ping(noon, 50.4501, 30.5234))
	<-sending
	forgotten := make(chan Forgotten, 1)
	go func() {
		f, err := r.gw.Forget(t.Context(), Someone{App: "shop", Device: "zz9first"})
		if err != nil {
			t.Error(err)
		}
		forgotten <- f
	}()
	r.await("the profile to be gone", func() bool {
		e, err := r.gw.Explain(t.Context(), "shop.zz9first", 0, 0)
		return errors.Is(err, ErrUnknownDevice) || err == nil && !e.Registered
	})
	close(release)
	f := <-forgotten
	if len(f.Devices) != 1 || !strings.Contains(f.Note, `the person "olena"`) {
		t.Errorf("%+v", f)
	}
	r.settle()
	if left := r.traces("zz9first"); len(left) > 0 {
		t.Errorf("traces: %v", left)
	}
	if len(r.traces("shop.other")) == 0 {
		t.Error("the other phone is gone too")
	}
	for _, who := range []Someone{{}, {App: "shop", Device: "a b"}, {App: "shop", Device: "d", Person: "p"}} {
		if _, err := r.gw.Forget(t.Context(), who); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v", who, err)
		}
	}
	if f := r.forget(Someone{App: "shop", Device: "never-seen"}); len(f.Erased) > 0 {
		t.Errorf("a device that nobody knows: %+v", f)
	}
	r.halt()
}

// TestForgetWhoSignedOut: of a person who has signed out of a phone nothing that names them is left there, and the phone stays with
// whoever uses it now.
func TestForgetWhoSignedOut(t *testing.T) {
	r := newRig(t)
	r.yaml = testCampaign + "---\njourney: j\nentry: {event: ordered}\nwindow: {to: never}\nsteps: [{tag: {vip: yes}}, {wait: 1h}]\n"
	r.start()
	defer r.halt()
	const person = "olena@example.com"
	r.mustAsk("device.shop.zz9", map[string]any{"platform": "ios", "token": "t", "user": person, "locale": "en", "user_tags": map[string]any{"city": "Lviv"}})
	r.mustAsk("ping.shop.zz9", ping(noon, 50.4501, 30.5234))
	r.event("zz9", "o", "ordered", "x")
	r.settle()
	r.await("the push", func() bool { return r.gw.Status().Funnel["welcome"]["push.accepted"] == 1 })
	r.mustAsk("device.shop.zz9", map[string]any{"user": "taras"})
	r.settle()
	r.await("EVENTS to have all", func() bool { return r.gw.Status().Stats.EventsOwed == 0 })
	mid := r.provider.pushes()[0].MID
	export := func(part string) (x Export) {
		if err := r.db.View(func(tx *db.Tx) (err error) {
			x, err = ExportFrom(tx, r.gw.cfg.Rules, ExportRequest{Someone: Someone{Person: person}, Part: part})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	if x := export("decisions"); len(x.Decisions) != 1 || x.Decisions[0].Campaigns[0].MID != mid {
		t.Errorf("the export has the decisions %+v", x.Decisions)
	}
	f := r.forget(Someone{Person: person})
	left := slices.DeleteFunc(r.traces("olena", mid), func(s string) bool { return strings.HasPrefix(s, `row "\x10`) }) // a lease, until the next ones end
	if len(left) > 0 {
		t.Errorf("traces: %s\n%v", strings.Join(left, "\n"), f.Summary())
	}
	e, err := r.gw.Explain(t.Context(), "shop.zz9", 0, 0)
	if err != nil || !e.Registered {
		t.Errorf("the phone: %+v, %v", e, err)
	}
}
