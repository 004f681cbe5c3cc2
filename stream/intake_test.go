package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/stream/wire"
	"footfall/track"
)

// TestRefusalsNameTheReason sends what must never be stored and checks that each sender learns why, that nothing
// of it reaches the log, and that the door stays open for everybody else.
func TestRefusalsNameTheReason(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	good := ping(noon, 50.46, 30.53)
	with := func(k string, v any) map[string]any {
		m := map[string]any{}
		for key, val := range good {
			m[key] = val
		}
		m[k] = v
		return m
	}
	for _, tt := range []struct {
		name, subject string
		payload       any
		code          string
	}{
		{"not JSON", "ping.shop.d1", "{", "malformed"},
		{"empty", "ping.shop.d1", "", "empty"},
		{"latitude 91", "ping.shop.d1", with("lat", 91), "out_of_range"},
		{"text latitude", "ping.shop.d1", with("lat", "50.4"), "bad_type"},
		{"null island", "ping.shop.d1", map[string]any{"t": noon.UnixMilli(), "lat": 0, "lon": 0}, "null_island"},
		{"seconds for milliseconds", "ping.shop.d1", with("t", noon.Unix()), "time_unit"},
		{"year 2099", "ping.shop.d1", with("t", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()), "future"},
		{"negative accuracy", "ping.shop.d1", with("acc", -1), "negative_accuracy"},
		{"mock", "ping.shop.d1", with("mock", true), "mock"},
		{"device with a space", "ping.shop.d\u00e9", good, "bad_subject"},
		{"oversized", "ping.shop.d1", "[" + strings.Repeat(" ", wire.MaxPingPayload) + "]", "too_large"},
		{"registration with a bad platform", "device.shop.d1", map[string]any{"platform": "symbian"}, "bad_value"},
		{"event without a name", "event.shop.d1", map[string]any{"t": noon.UnixMilli()}, "missing_field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			if a := r.ask(tt.subject, tt.payload); !strings.Contains(a, `"ok":false`) || !strings.Contains(a, `"`+tt.code+`"`) {
				t.Errorf("answered %s, want a refusal with %q", a, tt.code)
			}
			if n := r.gw.Status().Stats.Refused[tt.code]; n == 0 {
				t.Errorf("%q was not counted: %v", tt.code, r.gw.Status().Stats.Refused)
			}
		})
	}
	r.t = t
	r.mustAsk("ping.shop.d2", good)
	r.settle()
	if s := r.gw.Status().Stats; s.Pings != 1 || s.Others != 0 {
		t.Errorf("the log holds %d pings and %d others, want the one good ping", s.Pings, s.Others)
	}
	e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.Refusal == nil || e.Refusal.Reason != "bad_value" && e.Refusal.Reason != "missing_field" {
		t.Errorf("explain knows the refusal %+v, want the last one", e.Refusal)
	}
}

// TestBadRecordsCostOnlyThemselves sends an array of which one record is refused: the others are stored, and the
// answer names the index of the bad one in the array that was sent.
func TestBadRecordsCostOnlyThemselves(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	a := r.ask("ping.shop.d1", []any{
		ping(noon.Add(-3*time.Minute), 50.46, 30.53),
		map[string]any{"t": noon.UnixMilli(), "lat": "x", "lon": 1},
		ping(noon.Add(-2*time.Minute), 50.46, 30.53),
		map[string]any{"t": noon.UnixMilli(), "lat": 0, "lon": 0},
	})
	reply, err := wire.ParseReply([]byte(a))
	if err != nil {
		t.Fatalf("answered %s: %v", a, err)
	}
	if got := fmt.Sprint(reply.Accepted, strings.Contains(a, `"index":1`), strings.Contains(a, `"index":3`)); got != "2 true true" {
		t.Errorf("answered %s: accepted and indexes %s, want 2 true true", a, got)
	}
}

// TestGarbageFloodHarmsNobodyElse sends big malformed messages as fast as they go, from one device: they are turned
// away by size before anything looks into them, memory stays bounded, and others are answered.
func TestGarbageFloodHarmsNobodyElse(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	loud, err := r.server.Connect("loud")
	if err != nil {
		t.Fatal(err)
	}
	defer loud.Close()
	garbage := []byte("[" + strings.Repeat("{", 250_000))
	stop, done := make(chan struct{}), make(chan struct{})
	finish := sync.OnceFunc(func() { close(stop); <-done })
	defer finish()
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = loud.Publish("ping.shop.loud", garbage)
			}
		}
	}()
	for i := range 50 {
		r.mustAsk(fmt.Sprintf("ping.shop.quiet%d", i), ping(noon, 50.46, 30.53))
	}
	finish()
	d := &r.gw.collector.door
	d.mu.Lock()
	if w := d.room.bytes(); w > inboxBytes {
		t.Errorf("%d bytes wait to be decoded, the limit is %d", w, inboxBytes)
	}
	d.mu.Unlock()
	if s := r.gw.Status().Stats; s.Dropped["flood"] == 0 || s.Dropped["overload"] != 0 {
		t.Errorf("dropped %v, want flood alone", s.Dropped)
	}
}

// TestFloodHarmsNobodyElse lets one device send far more than it may while others go on.
func TestFloodHarmsNobodyElse(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Ingest.DeviceRecords = 100 }
	r.start()
	defer r.halt()
	flood, err := json.Marshal(ping(noon, 50.46, 30.53))
	if err != nil {
		t.Fatal(err)
	}
	const sent = 20_000
	for range sent {
		if err := r.nc.Publish("ping.shop.loud", flood); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		r.mustAsk(fmt.Sprintf("ping.shop.quiet%d", i), ping(noon, 50.46, 30.53))
	}
	r.settle()
	s := r.gw.Status().Stats
	if s.Pings != 100+20 {
		t.Errorf("%d pings stored, want 100 of the flood and the 20 others", s.Pings)
	}
	// What the client library had no room for is counted a second later, under its own reason.
	r.await("the flood to be counted", func() bool {
		d := r.gw.Status().Stats.Dropped
		return d["flood"]+d["inbox_full"] == sent-100
	})
	if a := r.ask("ping.shop.loud", ping(noon, 50.46, 30.53)); !strings.Contains(a, `"busy":true`) {
		t.Errorf("the flooding device was answered %s, want busy", a)
	}
}

// TestFullPartitionAnswersBusy fills one partition's queue: its requests are answered busy at once, the others'
// are stored, and nothing of a refused message is kept.
func TestFullPartitionAnswersBusy(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	full := wire.Partition("shop.d1", Partitions)
	a := r.gw.collector.appends[full]
	r.mustAsk("ping.shop.d1", ping(noon.Add(-time.Minute), 50.46, 30.53)) // the appender runs, and now waits
	r.settle()
	a.mu.Lock()
	for len(a.queue) < queueBatches {
		a.queue = append(a.queue, &batch{records: batchRecords})
	}
	a.mu.Unlock()
	if a := r.ask("ping.shop.d1", ping(noon, 50.46, 30.53)); !strings.Contains(a, `"busy":true`) || !strings.Contains(a, `"retry_ms"`) {
		t.Errorf("answered %s, want busy with a delay", a)
	}
	for i := range 10 {
		if d := fmt.Sprintf("e%d", i); wire.Partition(track.DeviceID("shop."+d), Partitions) != full {
			r.mustAsk("ping.shop."+d, ping(noon, 50.46, 30.53))
		}
	}
	if n := r.gw.Status().Stats.Dropped["log_slow"]; n != 1 {
		t.Errorf("%d counted as log_slow, want 1", n)
	}
	a.mu.Lock()
	a.queue = nil
	a.mu.Unlock()
	r.mustAsk("ping.shop.d1", ping(noon, 50.46, 30.53))
}

// TestRegistrationBeforePing publishes a registration and, right behind it, a ping that enters, for many devices and
// without waiting for answers: every ping must find its registration, although they come on different subjects.
func TestRegistrationBeforePing(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	const devices = 300
	for i := range devices {
		reg, _ := json.Marshal(map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", i), "locale": "en"})
		in, _ := json.Marshal(ping(noon, 50.4501, 30.5234))
		name := fmt.Sprintf("d%d", i)
		if err := r.nc.Publish("device.shop."+name, reg); err != nil {
			t.Fatal(err)
		}
		if err := r.nc.Publish("ping.shop."+name, in); err != nil {
			t.Fatal(err)
		}
	}
	r.await("all pushes", func() bool { return len(r.provider.pushes()) == devices })
	if held := r.gw.Status().Funnel["welcome"]["held.no_token"]; held != 0 {
		t.Errorf("%d pings overtook their registration", held)
	}
}

// TestFeedAndProtobufAndOwnTracks sends the same entry through the other doors.
func TestFeedAndOwnTracks(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	r.register("fed")
	r.mustAsk("feed.shop", []any{map[string]any{"device": "fed", "t": noon.UnixMilli(), "lat": 50.4501, "lon": 30.5234, "acc": 5}})
	id, err := wire.OwnTracksDevice("owntracks", "bob", "phone")
	if err != nil {
		t.Fatal(err)
	}
	r.mustAsk(wire.DeviceSubject(wire.ClassDevice, id), map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", 7), "locale": "en"})
	if err := r.nc.Publish("owntracks.bob.phone", fmt.Appendf(nil, `{"_type":"location","tst":%d,"lat":50.4420,"lon":30.5206,"acc":5}`, noon.Unix())); err != nil {
		t.Fatal(err)
	}
	r.await("both pushes", func() bool { return len(r.provider.pushes()) == 2 })
	got := map[string]string{}
	for _, n := range r.provider.pushes() {
		got[n.Device] = n.Fence
	}
	if _, device, _ := wire.SplitDevice(id); got["fed"] != "k01" || got[device] != "k02" {
		t.Errorf("pushed %v", got)
	}
}
