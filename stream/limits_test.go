package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/db"
	"footfall/stream/inputlog"
	"footfall/stream/natsd"
	"footfall/stream/wire"
	"footfall/track"
)

// devicesOf names n devices of one partition.
func devicesOf(partition, n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if d := fmt.Sprint("p", i); wire.Partition(track.DeviceID("shop."+d), Partitions) == partition {
			out = append(out, d)
		}
	}
	return out
}

// TestManyCampaignsAtOnce lets 250 devices of one partition enter in one message while 20 campaigns want to know:
// far more than one transaction holds. The group is cut until it fits, and nothing is lost or counted twice.
func TestManyCampaignsAtOnce(t *testing.T) {
	r := newRig(t)
	const campaigns, devices = 20, 250
	var all []string
	for i := range campaigns {
		all = append(all, strings.Replace(testCampaign, "welcome", fmt.Sprint("welcome", i), 1))
	}
	r.yaml = strings.Join(all, "\n---\n")
	r.start()
	defer r.halt()
	var pings []map[string]any
	for _, d := range devicesOf(3, devices) {
		p := ping(noon, 50.4501, 30.5234)
		p["device"] = d
		pings = append(pings, p)
	}
	r.mustAsk("feed.shop", pings)
	r.settle()
	f := r.gw.Status().Funnel
	if f[""]["entered"] != devices {
		t.Errorf("%d entered, want %d", f[""]["entered"], devices)
	}
	for i := range campaigns {
		if n := f[fmt.Sprint("welcome", i)]["held.no_token"]; n != devices {
			t.Errorf("campaign %d held %d, want %d", i, n, devices)
		}
	}
}

// TestManyFencesAtOnce drops one device into 1,000 fences: one ping whose transitions do not fit one transaction.
// The campaign still pushes once, for the fence that comes first.
func TestManyFencesAtOnce(t *testing.T) {
	r := newRig(t)
	for i := range 1000 {
		r.fences = append(r.fences, store(t, fmt.Sprint("x", i), 50.4501+float64(i)*1e-7, 30.5234))
	}
	r.fences[700].Priority = 5
	r.yaml = strings.Replace(testCampaign, "once_per: {day: store}", "once_per: none\nscope: fence", 1)
	r.start()
	defer r.halt()
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4501, 30.5234))
	r.settle()
	r.await("the push", func() bool { return len(r.provider.pushes()) > 0 })
	f := r.gw.Status().Funnel
	if f[""]["entered"] != 1001 || f["welcome"]["claimed"] != 1 || f["welcome"]["held.overlap"] != 1000 {
		t.Errorf("%v, want 1001 entries, one claim and 1000 overlaps", f)
	}
	if p := r.provider.pushes(); len(p) != 1 || p[0].Fence != string(r.fences[700].ID) {
		t.Errorf("pushed %v, want one for %s", p, r.fences[700].ID)
	}
}

// TestHundredThousandFences makes more fences active than one ledger row or transaction could remember.
func TestHundredThousandFences(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand fences")
	}
	r := newRig(t)
	r.start()
	many := r.fences
	for i := range 100_000 {
		many = append(many, store(t, fmt.Sprintf("a-rather-long-identifier-%d", i), -60+float64(i%1000)*0.1, -170+float64(i/1000)*3))
	}
	if _, err := r.gw.SetFences(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	gen := r.gw.Fences().Gen()
	r.fences = many
	r.halt()
	r.start()
	defer r.halt()
	if got := r.gw.Fences().Gen(); got != gen {
		t.Errorf("after a restart the fences are generation %d, were %d: the restart counts as an edit", got, gen)
	}
}

// TestSecondCrashAfterLostTail kills a gateway that has just gone over to a new epoch, before it committed
// anything: the log has grown past the old offset, and what it holds is still new.
func TestSecondCrashAfterLostTail(t *testing.T) {
	const created = 1000
	var c counters
	now := func(last uint64) logState { return logState{created: created, first: 1, last: last} }
	p := progress{Created: created, Epoch: 1, Committed: at(1, 100, recordMask), Checkpoint: at(1, 100, recordMask)}
	log := slog.New(slog.DiscardHandler)
	first, _ := resumeAt(p, now(90), 0, log, &c)
	second, from := resumeAt(first, now(110), 0, log, &c) // what restore stored is what the next start reads
	if from > 91 || at(second.Epoch, 95, 0) <= second.Committed {
		t.Errorf("reads from %d with mark %+v: batch 95 would count as seen", from, second)
	}
}

// TestRestoreStoresTheEpoch: the new epoch is in the ledger before the gateway listens.
func TestRestoreStoresTheEpoch(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	err := r.db.View(func(tx *db.Tx) error {
		for p := range Partitions {
			mark, err := loadProgress(tx, p)
			if err != nil {
				return err
			}
			if mark.Epoch != 1 || mark.Created == 0 {
				t.Errorf("partition %d has %+v", p, mark)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAgedOutIsCounted lets batches leave the log while the ledger is slow: each one is counted.
func TestAgedOutIsCounted(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	device := devicesOf(3, 1)[0]
	r.register(device)
	r.settle()
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	go func() { _ = r.db.Update(context.Background(), func(*db.Tx) error { <-hold; return nil }) }()
	for i := range 1500 {
		r.mustAsk("device.shop."+device, map[string]any{"tags": map[string]any{"n": fmt.Sprint(i)}})
	}
	now, err := r.gw.logs[3].state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.gw.logs[3].purge(t.Context(), now.last-1); err != nil {
		t.Fatal(err)
	}
	release()
	r.settle()
	if st := r.gw.Status().Stats; st.AgedOut == 0 || st.Processed+st.AgedOut != int64(now.last) {
		t.Errorf("stored %d, processed %d, aged out %d", now.last, st.Processed, st.AgedOut)
	}
}

// TestLogReplacedWhileRunning deletes a log and makes it anew under the running gateway: input that is answered ok
// afterwards is processed, although its sequence numbers have been seen before.
func TestLogReplacedWhileRunning(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Log.JetStream = true }
	r.start()
	defer r.halt()
	device := devicesOf(3, 1)[0]
	for range 5 {
		r.register(device)
	}
	r.settle()
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), wire.LogStream(3))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), cfg.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	r.enter(device, noon)
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	if n := r.gw.Status().Stats.LostTail; n != 1 {
		t.Errorf("%d new logs counted, want 1", n)
	}
}

// TestCrashAndFenceEdit adds a fence around a device while the gateway is down, once after a clean stop and once
// after a crash that left no presence row: either way the visit becomes known, as an edit.
func TestCrashAndFenceEdit(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			r := newRig(t)
			r.start()
			r.register("d1")
			for _, ago := range []time.Duration{2 * time.Minute, time.Minute} {
				r.mustAsk("ping.shop.d1", ping(noon.Add(-ago), 50.5001, 30.6000))
			}
			r.settle()
			r.halt()
			if crash {
				r.forgetPresence("shop.d1")
			}
			r.fences = append(r.fences, store(t, "k03", 50.5000, 30.6000))
			r.start()
			defer r.halt()
			r.mustAsk("ping.shop.d1", ping(noon, 50.5001, 30.6000))
			r.settle()
			e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Decisions) != 1 || e.Decisions[0].Fence != "k03" || !e.Decisions[0].Reason.Has(track.FenceCreated) {
				t.Errorf("decisions %+v, want one enter of k03 as created", e.Decisions)
			}
			if n := len(r.provider.pushes()); n != 0 {
				t.Errorf("%d pushes for an edit", n)
			}
		})
	}
}

// forgetPresence leaves the ledger as a crash does whose last checkpoint was before everything.
func (r *rig) forgetPresence(device track.DeviceID) {
	r.t.Helper()
	d, err := db.Open(db.Config{Dir: r.dir + "/ledger"})
	if err != nil {
		r.t.Fatal(err)
	}
	err = d.Update(r.t.Context(), func(tx *db.Tx) error {
		for p := range Partitions {
			mark, err := loadProgress(tx, p)
			if err != nil {
				return err
			}
			mark.Checkpoint = at(mark.Epoch, 0, 0)
			if err := tx.Set(progressKey(p), mark.encode()); err != nil {
				return err
			}
		}
		return tx.Delete(presenceKey(device))
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// TestExplainBusyDevice asks about a device with more decisions than one answer holds: the newest come, and the
// answer says how many there are besides.
func TestExplainBusyDevice(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	const visits = 300
	for i := range visits {
		at := noon.Add(time.Duration(i-1000) * 2 * time.Minute)
		r.clock.set(at.Add(2 * time.Minute))
		r.mustAsk("ping.shop.d1", []map[string]any{ping(at, 50.4501, 30.5234), ping(at.Add(time.Minute), 50.4540, 30.5234)})
	}
	r.settle()
	q, err := json.Marshal(ExplainRequest{App: "shop", Device: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.nc.Request(ExplainSubject, q, patience)
	if err != nil {
		t.Fatal(err)
	}
	var e Explanation
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Fatalf("%v: %.200s %v", err, m.Data, m.Header)
	}
	last := e.Decisions[len(e.Decisions)-1]
	if len(e.Decisions) != explainMost || e.More != 2*visits-explainMost || last.At != noon.Add((visits-1-1000)*2*time.Minute+time.Minute).UnixMilli() {
		t.Errorf("%d decisions and %d more, the last at %d", len(e.Decisions), e.More, last.At)
	}
	for i := 1; i < len(e.Decisions); i++ {
		if e.Decisions[i].At < e.Decisions[i-1].At {
			t.Fatalf("decision %d is older than the one before", i)
		}
	}
}

// TestRepeatedEventHasNoEffect sends one purchase three times, as an SDK that heard no answer does: twice with the
// sender's id, minutes apart, and a different one.
func TestRepeatedEventHasNoEffect(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.shop.event.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"name":"purchase","id":"o-1","t":1795860000000}`,
		`{"name":"purchase","id":"o-1","t":1795860000000,"props":{"again":true}}`,
		`{"name":"purchase","id":"o-2","t":1795860000000}`,
	} {
		r.mustAsk("event.shop.d1", text)
		r.clock.set(r.clock.now().Add(3 * time.Minute))
	}
	for _, id := range []string{"o-1", "o-2"} {
		m, err := events.NextMsg(patience)
		if err != nil || !strings.Contains(string(m.Data), `"`+id+`"`) {
			t.Fatalf("want %s, got %v, err %v", id, m, err)
		}
	}
	if m, err := events.NextMsg(700 * time.Millisecond); err == nil {
		t.Errorf("one too many: %s", m.Data)
	}
}

// TestFullDiskClosesTheDoor: while the ledger has no room, input is answered busy instead of filling the log's disk.
func TestFullDiskClosesTheDoor(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	full := make(chan string, 1)
	reason := ""
	r.gw.collector.full = func() string {
		select {
		case reason = <-full:
		default:
		}
		return reason
	}
	full <- "disk_full"
	if a := r.ask("ping.shop.d1", ping(noon, 50.46, 30.53)); !strings.Contains(a, `"busy":true`) {
		t.Errorf("answered %s, want busy", a)
	}
	if n := r.gw.Status().Stats.Dropped["disk_full"]; n != 1 {
		t.Errorf("%d counted as disk_full, want 1", n)
	}
	full <- ""
	r.mustAsk("ping.shop.d1", ping(noon, 50.46, 30.53))
}

// TestQuestionsBeforeRun: a gateway that does not run yet answers without a panic.
func TestQuestionsBeforeRun(t *testing.T) {
	s, err := natsd.Start(natsd.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	g, err := New(Config{Server: s, DB: d})
	if err != nil {
		t.Fatal(err)
	}
	defer g.disconnect()
	if g.Status().Settled {
		t.Error("settled before it runs")
	}
	if _, err := g.Explain(t.Context(), "shop.d1", 0, 0); err != ErrNotRunning {
		t.Errorf("explain says %v, want %v", err, ErrNotRunning)
	}
	if _, err := New(Config{Server: s, DB: d, Checkpoint: time.Hour}); err == nil {
		t.Error("a checkpoint interval longer than the log is accepted")
	}
}

// TestOneGatewayPerAccount starts a second gateway, with a ledger of its own, on the NATS server of the first: it
// refuses, or everybody would be pushed to twice. When the first has stopped, the place is free.
func TestOneGatewayPerAccount(t *testing.T) {
	r := newRig(t)
	r.listen = func(c *natsd.Config) { c.Listen = "127.0.0.1:0" }
	r.start()
	second := func() (*Gateway, func()) {
		t.Helper()
		d, err := db.Open(db.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := natsd.Start(natsd.Config{URL: r.server.ClientURL()})
		if err != nil {
			t.Fatal(err)
		}
		g, err := New(Config{Server: s, DB: d})
		if err != nil {
			t.Fatal(err)
		}
		return g, func() { _ = d.Close() }
	}
	g, closeLedger := second()
	defer closeLedger()
	if err := g.Run(t.Context()); !errors.Is(err, ErrNotOwner) {
		t.Fatalf("the second gateway ended with %v, want %v", err, ErrNotOwner)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	g, closeLedger = second()
	defer closeLedger()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	select {
	case <-g.Ready():
	case err := <-ended:
		t.Fatalf("the place is free, but: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	r.halt()
}

// TestFeedSwitches lets a partition's worker fall behind while batches are stored, a write by a stranger go into its
// log, and go on: what the appender hands over and what is read from the log make one sequence without a gap or repeat.
func TestFeedSwitches(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		logs, err := inputlog.Open(inputlog.Config{Dir: t.TempDir(), Partitions: 1, MaxAge: time.Hour, MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer logs.Close()
		testFeedSwitches(t, &fileLog{logs.Of(0), 0})
	})
	t.Run("streams", func(t *testing.T) { testFeedSwitches(t, aStreamLog(t)) })
}

// aStreamLog is the log of partition 3 on a server of its own.
func aStreamLog(t *testing.T) *streamLog {
	t.Helper()
	s, err := natsd.Start(natsd.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := ensureLogStreams(t.Context(), js, LogConfig{MaxAge: time.Hour, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return &streamLog{js: js, stream: logs[3], partition: 3}
}

func testFeedSwitches(t *testing.T, log inputLog) {
	begins, err := log.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var c counters
	a := newAppender(&c, make(chan struct{}, 1), func(err error) { t.Log(err) })
	out := make(chan logMessage, 2)
	a.log = log
	a.feed = newFeed(log, 1, out, a.lastStored, time.Now, slog.New(slog.DiscardHandler))
	defer start(t.Context(), func(ctx context.Context) { a.feed.run(ctx, begins.created) }, func(ctx context.Context) { a.run(ctx, context.Background()) })()

	next := uint64(1)
	handed, read := 0, 0
	take := func() {
		t.Helper()
		select {
		case m := <-out:
			if m.anew != nil || m.seq != next {
				t.Fatalf("delivered %+v, want %d", m, next)
			}
			if err := wire.NewBatchReader(nil).Reset(m.data); err != nil {
				t.Fatalf("batch %d: %v", m.seq, err)
			}
			if m.release != nil {
				handed++
				m.release()
			} else {
				read++
			}
			next++
		case <-time.After(patience):
			t.Fatalf("batch %d was not delivered; handed %d, read %d", next, handed, read)
		}
	}
	stored := uint64(0)
	store := func() {
		t.Helper()
		a.add([]wire.Record{{Kind: wire.KindEvent, Device: "shop.d1", ReceivedAt: 1, Payload: []byte(`{"name":"x"}`)}}, 1000, nil)
		a.wakeUp()
		stored++
		for deadline := time.Now().Add(patience); a.lastStored() < stored; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("batch %d was not stored", stored)
			}
		}
	}
	for round := range 4 {
		for range 5 { // the worker keeps up
			store()
			take()
		}
		for range 12 { // it does not
			store()
		}
		for next <= stored {
			take()
		}
		if round%2 == 1 && log.shared() { // a stranger writes, and nothing comes after
			data := wire.SealBatch(wire.AppendRecord(nil, &wire.Record{Kind: wire.KindEvent, Device: "shop.d2", Payload: []byte(`{}`)}))
			if _, err := log.append(t.Context(), data); err != nil {
				t.Fatal(err)
			}
			stored++
			take()
		}
	}
	if handed < 20 || read < 4*8 {
		t.Errorf("%d batches were handed over and %d read; want at least 20 and 32", handed, read)
	}
}
