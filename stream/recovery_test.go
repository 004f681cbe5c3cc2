package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/fences"
	"footfall/internal/db"
	"footfall/push"
	"footfall/stream/natsd"
	"footfall/stream/wire"
	"footfall/track"
)

func (r *rig) enter(device string, at time.Time) {
	r.t.Helper()
	r.mustAsk("ping.shop."+device, ping(at, 50.4501, 30.5234))
}

// TestRestartIsNotAnEntry stops and starts a gateway while devices are inside: nobody enters again, and who leaves
// afterwards makes an exit.
func TestRestartIsNotAnEntry(t *testing.T) {
	r := newRig(t)
	r.start()
	for i := range 40 {
		r.register(fmt.Sprint("d", i))
		r.enter(fmt.Sprint("d", i), noon)
	}
	r.await("40 pushes", func() bool { return len(r.provider.pushes()) == 40 })
	r.halt()
	r.clock.set(noon.Add(5 * time.Minute))
	r.start()
	defer r.halt()
	for i := range 40 {
		r.enter(fmt.Sprint("d", i), noon.Add(time.Minute))
	}
	r.mustAsk("ping.shop.d0", ping(noon.Add(2*time.Minute), 50.4540, 30.5234))
	r.settle()
	s := r.gw.Status()
	if n := s.Funnel[""]["entered"]; n != 40 {
		t.Errorf("%d entries, want 40", n)
	}
	if s.Stats.Kinds["exit"] != 1 || s.Stats.Kinds["enter"] != 0 {
		t.Errorf("after the restart: %v, want one exit", s.Stats.Kinds)
	}
	if n := len(r.provider.pushes()); n != 40 {
		t.Errorf("%d pushes, want 40", n)
	}
}

// everyPartition registers devices until each partition has processed some input.
func (r *rig) everyPartition() {
	r.t.Helper()
	seen := map[int]bool{}
	for i := 0; len(seen) < Partitions; i++ {
		r.register(fmt.Sprint("d", i))
		seen[wire.Partition(track.DeviceID(fmt.Sprint("shop.d", i)), Partitions)] = true
	}
	r.settle()
}

// TestLostTail lets the ledger remember more than the log has, as after a power cut, for every partition: the
// gateway says so, goes on from the log's end, and takes new input for what it is.
func TestLostTail(t *testing.T) {
	r := newRig(t)
	r.start()
	r.everyPartition()
	r.halt()
	d, err := db.Open(db.Config{Dir: r.dir + "/ledger"})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		for p := range Partitions {
			mark, err := loadProgress(tx, p)
			if err != nil {
				return err
			}
			mark.Committed, mark.Checkpoint = at(mark.Epoch, 1000, 3), at(mark.Epoch, 990, 0)
			if err := tx.Set(progressKey(p), mark.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r.start()
	defer r.halt()
	if n := r.gw.Status().Stats.LostTail; n != Partitions {
		t.Errorf("%d lost tails counted, want %d", n, Partitions)
	}
	r.enter("d1", noon)
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
}

// TestLogCreatedAnew deletes the log between two runs: sequences start at 1 again, and the input under those
// old numbers must not be taken for old.
func TestLogCreatedAnew(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		testLogCreatedAnew(t, newRig(t), func(r *rig) {
			r.halt()
			if err := os.RemoveAll(filepath.Join(r.dir, "nats", "input")); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("streams", func(t *testing.T) {
		r := newRig(t)
		r.tune = func(c *Config) { c.Log.JetStream = true }
		testLogCreatedAnew(t, r, func(r *rig) {
			js, err := jetstream.New(r.nc)
			if err != nil {
				t.Fatal(err)
			}
			r.stop()
			if err := <-r.ended; err != nil {
				t.Fatal(err)
			}
			for p := range Partitions {
				if err := js.DeleteStream(t.Context(), wire.LogStream(p)); err != nil {
					t.Fatal(err)
				}
			}
			r.ended = make(chan error, 1)
			r.ended <- nil
			r.halt()
		})
	})
}

func testLogCreatedAnew(t *testing.T, r *rig, stopAndRemove func(*rig)) {
	r.start()
	r.everyPartition()
	stopAndRemove(r)
	r.start()
	defer r.halt()
	for i := range 20 {
		r.enter(fmt.Sprint("d", i), noon)
	}
	r.await("20 pushes", func() bool { return len(r.provider.pushes()) == 20 })
	if n := r.gw.Status().Stats.LostTail; n != Partitions {
		t.Errorf("%d lost tails counted, want %d", n, Partitions)
	}
}

// TestPoisonInTheLog puts bytes into every partition's log that no collector wrote: they are counted and skipped.
func TestPoisonInTheLog(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Log.JetStream = true }
	r.start()
	defer r.halt()
	r.register("d1")
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	for p := range Partitions {
		for _, garbage := range []string{"", "garbage", "\x01\xff\xff\xff\xff\xff"} {
			if _, err := js.Publish(t.Context(), wire.LogSubject(p), []byte(garbage)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.enter("d1", noon)
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	r.await("the poison to be counted", func() bool { return r.gw.Status().Stats.Poison["bad_batch"] == 3*Partitions })
}

// TestOnePersonTwoPhones enters with two phones of one person at the same moment, from partitions that know nothing
// of each other: the ledger settles who gets the push.
func TestOnePersonTwoPhones(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	const people = 50
	for i := range people {
		for _, phone := range []string{"a", "b"} {
			r.mustAsk(fmt.Sprintf("device.shop.%s%d", phone, i), map[string]any{"user": fmt.Sprint("u", i), "platform": "ios", "token": fmt.Sprintf("%s%062x", phone+"0", i), "locale": "en"})
		}
	}
	var wg sync.WaitGroup
	for i := range people {
		for _, phone := range []string{"a", "b"} {
			wg.Go(func() { r.enter(fmt.Sprint(phone, i), noon) })
		}
	}
	wg.Wait()
	r.settle()
	r.await("the pushes", func() bool { return len(r.provider.pushes()) >= people })
	f := r.gw.Status().Funnel["welcome"]
	if f["claimed"] != people || f["held.already_claimed"] != people {
		t.Errorf("%v, want %d claimed and as many held", f, people)
	}
	if n := len(r.provider.pushes()); n != people {
		t.Errorf("%d pushes, want %d", n, people)
	}
}

// TestEventsOnceOverRestart checks that EVENTS holds every transition once although the gateway stops in between.
func TestEventsOnceOverRestart(t *testing.T) {
	r := newRig(t)
	r.start()
	for i := range 30 {
		r.enter(fmt.Sprint("d", i), noon)
	}
	r.halt()
	r.start()
	defer r.halt()
	r.await("no event to be owed", func() bool { return r.gw.Status().Stats.EventsOwed == 0 })
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{FilterSubjects: []string{"ev.shop.enter.>"}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 30 {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatalf("after %d events: %v", len(ids), err)
		}
		ids = append(ids, m.Headers().Get(nats.MsgIdHdr))
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 30 {
		t.Errorf("%d different ids among 30 events", n)
	}
	if m, err := c.Next(jetstream.FetchMaxWait(300 * time.Millisecond)); err == nil {
		t.Errorf("an enter too many: %s", m.Subject())
	}
}

// TestTokenDeath lets the provider refuse the token for good: the claim is released, the token retired, and the
// same person is pushed to again after registering a new token.
func TestTokenDeath(t *testing.T) {
	r := newRig(t)
	dead := true
	r.provider.say = func(*push.Notification) push.Outcome {
		if dead {
			return push.Outcome{Class: push.TokenDead, Status: 410, Reason: "Unregistered", Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	defer r.halt()
	r.register("d1")
	r.enter("d1", noon)
	r.await("the failure", func() bool { return r.gw.Status().Funnel["welcome"]["push.failed"] == 1 })
	r.provider.mu.Lock()
	dead = false
	r.provider.mu.Unlock()
	r.clock.set(noon.Add(10 * time.Minute))
	leaveAndReturn := func(from time.Time) {
		r.mustAsk("ping.shop.d1", ping(from, 50.4540, 30.5234))
		r.enter("d1", from.Add(time.Minute))
	}
	leaveAndReturn(noon.Add(2 * time.Minute))
	r.await("the hold for want of a token", func() bool { return r.gw.Status().Funnel["welcome"]["held.no_token"] == 1 })
	r.mustAsk("device.shop.d1", map[string]any{"token": fmt.Sprintf("%064x", 99)})
	leaveAndReturn(noon.Add(6 * time.Minute))
	r.await("the push", func() bool { return r.gw.Status().Funnel["welcome"]["push.accepted"] == 1 })
	pushes := r.provider.pushes()
	if len(pushes) != 2 || pushes[0].MID == pushes[1].MID {
		t.Errorf("%d sends, want 2 with different message ids (the first claim was released)", len(pushes))
	}
}

// TestFenceEditsDisturbNobody replaces 2,000 fences again and again while devices stay inside one that does not
// change and others ping: no enter is lost or made twice, no request is refused.
func TestFenceEditsDisturbNobody(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	sets := make([][]fences.Fence, 2)
	for v := range sets {
		sets[v] = append(sets[v], r.fences...)
		for i := range 2000 {
			sets[v] = append(sets[v], store(t, fmt.Sprint("x", i), 48+float64(i)*0.01, 25+float64(v)*0.001))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			if _, err := r.gw.SetFences(t.Context(), sets[i%2]); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	const devices = 100
	i := 0
	for swapping := true; swapping || i < devices; i++ {
		r.enter(fmt.Sprint("d", i%devices), noon.Add(time.Duration(i/devices)*time.Second))
		select {
		case <-done:
			swapping = false
		default:
		}
	}
	r.settle()
	if n := r.gw.Status().Stats.Kinds["enter"]; n != devices {
		t.Errorf("%d enters after %d pings, want %d", n, i, devices)
	}
}

// TestExternalServer runs the gateway against a NATS server that is not its own.
func TestExternalServer(t *testing.T) {
	far, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Shutdown()
	r := newRig(t)
	near, err := natsd.Start(natsd.Config{URL: far.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	if near.Embedded() {
		t.Fatal("a server given by URL is embedded")
	}
	r.tune = func(c *Config) { c.Server = near }
	r.start()
	nc, err := near.Connect("test device")
	if err != nil {
		t.Fatal(err)
	}
	own := r.nc
	r.nc = nc
	r.register("d1")
	r.enter("d1", noon)
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	r.nc = own
	nc.Close()
	r.halt()
}

// TestCampaignBeginsDuringVisit lets a campaign begin while a device stands in the store: it is pushed once, by the
// first fix after the beginning, and nobody has entered a second time.
func TestCampaignBeginsDuringVisit(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.Replace(testCampaign, "once_per:", "window: {from: 2026-11-28T12:00, to: 2026-11-28T21:00, zone: store}\nonce_per:", 1)
	r.clock.set(noon.Add(30 * time.Minute))
	r.start()
	defer r.halt()
	r.register("d1")
	for _, min := range []int{-20, -10, -1, 4, 9} {
		r.enter("d1", noon.Add(time.Duration(min)*time.Minute))
		r.clock.set(noon.Add(time.Duration(min+5) * time.Minute))
	}
	r.settle()
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	s := r.gw.Status()
	if s.Funnel[""]["entered"] != 1 || s.Funnel["welcome"]["held.not_started"] != 1 || s.Funnel["welcome"]["claimed"] != 1 {
		t.Errorf("%v, want one entry, held as not started, and one claim", s.Funnel)
	}
	e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(e.Decisions); n != 2 || e.Decisions[1].Kind != kindBegun || e.Decisions[1].At != noon.Add(4*time.Minute).UnixMilli() {
		t.Errorf("%d decisions: %+v", n, e.Decisions)
	}
}

// TestDecisionsHoldNoPosition looks for the coordinates of an entry in everything that leaves the log: decisions,
// events and the answer of explain.
func TestDecisionsHoldNoPosition(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.>")
	if err != nil {
		t.Fatal(err)
	}
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4501234, 30.5234567))
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	var all strings.Builder
	for range 2 {
		m, err := events.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(m.Data)
	}
	m, err := r.nc.Request(ExplainSubject, []byte(`{"app":"shop","device":"d1"}`), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(m.Data)
	err = r.db.View(func(tx *db.Tx) error {
		return EachDecision(tx, func(d *Decision) error { return json.NewEncoder(&all).Encode(d) })
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, digits := range []string{"50.4501", "30.5234"} {
		if strings.Contains(all.String(), digits) {
			t.Errorf("%s stands in what was given out:\n%s", digits, all.String())
		}
	}
}

// TestEventsAreAsDocumented compares the members of the events with the examples in docs/protocol.md.
func TestEventsAreAsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := strings.Cut(string(doc), "## What comes out")
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(out, 2)
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	for i, event := range []any{&TransitionEvent{}, &PushEvent{}} {
		d := json.NewDecoder(strings.NewReader(strings.ReplaceAll(examples[i][1], "…", "")))
		d.DisallowUnknownFields()
		if err := d.Decode(event); err != nil {
			t.Errorf("the example of %T: %v", event, err)
		}
		back, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		var written, known map[string]any
		if err := errors.Join(json.Unmarshal([]byte(strings.ReplaceAll(examples[i][1], "…", "")), &known), json.Unmarshal(back, &written)); err != nil {
			t.Fatal(err)
		}
		for member := range written {
			if _, ok := known[member]; !ok {
				t.Errorf("%T has a member %q that the document does not show", event, member)
			}
		}
	}
}

// TestEventsTellTheirStages reads when an entry and its outcome passed each stage, and that an event which a crash
// left owed claims to know less.
func TestEventsTellTheirStages(t *testing.T) {
	r := newRig(t)
	r.start()
	events, err := r.nc.SubscribeSync("ev.>")
	if err != nil {
		t.Fatal(err)
	}
	next := func(v any) {
		t.Helper()
		m, err := events.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Data, v); err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
	}
	r.register("d1")
	came := noon.Add(1234567 * time.Microsecond)
	r.clock.set(came)
	r.mustAsk("ping.shop.d1", ping(noon, 50.4501, 30.5234))
	var enter TransitionEvent
	var accepted PushEvent
	next(&enter)
	next(&accepted)
	us := came.UnixMicro()
	stages := enter.Stages
	if d := time.Since(time.UnixMicro(stages.StoredUS)); d >= 0 && d < time.Minute {
		stages.StoredUS = us // the worker had fallen behind and read the batch from the log: that has the server's own time
	}
	if (stages != Stages{CollectedUS: us, StoredUS: us, DecidedUS: us, DurableUS: us}) {
		t.Errorf("the gateway's clock stands at %d, the entry says %+v", us, enter.Stages)
	}
	if (accepted.Stages != Stages{DurableUS: came.UnixMicro()}) || accepted.OutcomeAt != came.UnixMilli() {
		t.Errorf("the outcome says %+v and %d", accepted.Stages, accepted.OutcomeAt)
	}
	r.settle()
	r.halt()
	// An event row that the last life wrote and did not relay.
	d, err := db.Open(db.Config{Dir: r.dir + "/ledger", Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	var c counters
	l, err := openEventLog(d, &c, r.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error { return l.append(tx, "owed", "ev.shop.test.owed", enter) })
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	// EVENTS is read as a stream: the row may be relayed before anybody could subscribe.
	r.start()
	defer r.halt()
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	r.await("the owed event", func() bool {
		s, err := js.Stream(t.Context(), wire.EventsStream)
		if err != nil {
			return false
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "ev.shop.test.owed")
		if err != nil {
			return false
		}
		if n := strings.Count(string(m.Data), "durable_us"); n != 1 { // the one that the test put there
			t.Errorf("durable_us stands %d times in %s", n, m.Data)
		}
		return true
	})
}

// TestPartitionGoesOnAfterARest: a partition without input does not wake up, and what comes later is in the ledger soon all
// the same, with its checkpoint, although it has no effect that would be written.
func TestPartitionGoesOnAfterARest(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Checkpoint = time.Second }
	r.start()
	defer r.halt()
	partition := wire.Partition("shop.far", Partitions)
	for i := range 3 {
		at := noon.Add(time.Duration(i) * time.Minute)
		r.clock.set(at)
		r.mustAsk("ping.shop.far", ping(at, 48+float64(i)/1000, 24)) // near no fence
		r.await("the checkpoint", func() bool {
			var p progress
			err := r.db.View(func(tx *db.Tx) (err error) {
				p, err = loadProgress(tx, partition)
				return err
			})
			return err == nil && p.Committed.seq() == uint64(i+1) && p.Checkpoint == p.Committed
		})
	}
}

// TestLogOfAnEarlierVersion: a gateway whose log was in streams of the embedded server is stopped with input in it that nobody has
// processed. The next start takes it over into files, goes on where the other had stopped, and removes the streams.
func TestLogOfAnEarlierVersion(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Log.JetStream = true }
	r.start()
	r.everyPartition()
	device := devicesOf(3, 1)[0]
	r.register(device)
	r.settle()
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	fix := track.Fix{HasPosition: true, Lat: 50.4501, Lng: 30.5234, AccuracyM: 5, FixedAt: noon.UnixMilli(), ReceivedAt: noon.UnixMilli()}
	batch := wire.SealBatch(wire.AppendRecord(nil, &wire.Record{Kind: wire.KindPing, Device: track.DeviceID("shop." + device), ReceivedAt: noon.UnixMilli(), Fix: fix}))
	ack, err := js.Publish(t.Context(), wire.LogSubject(3), batch)
	if err != nil {
		t.Fatal(err)
	}
	r.ended = make(chan error, 1)
	r.ended <- nil
	r.halt()

	r.tune = nil
	r.start()
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	r.settle()
	if st := r.gw.Status().Stats; st.LostTail != 0 || st.AgedOut != 0 {
		t.Errorf("lost tails %d, aged out %d", st.LostTail, st.AgedOut)
	}
	if now, err := r.gw.logs[3].state(t.Context()); err != nil || now.last != ack.Sequence {
		t.Errorf("the log ends with %d, err %v; want %d", now.last, err, ack.Sequence)
	}
	for p := range Partitions {
		if _, err := r.gw.js.Stream(t.Context(), wire.LogStream(p)); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: %v", wire.LogStream(p), err)
		}
	}
	r.halt()
	r.start()
	defer r.halt()
	r.enter(device, noon.Add(time.Minute))
	r.settle()
	if n := len(r.provider.pushes()); n != 1 {
		t.Errorf("%d pushes, want 1", n)
	}
}
