package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/push/fake"
	"footfall/stream"
)

// reminder waits twice, sets a tag and pushes: each wait is over soon after it began, so that kills come in between.
const reminder = `journey: reminder
entry: {event: product_view}
window: {to: never}
reentry: never
goal: {event: purchase}
steps:
  - wait_for: {up_to: 2s, branches: {bought: {event: ordered, then: [{exit: bought}]}}}
  - tag: {abandoned: {entry: category}}
  - wait: 1s
  - push: {ttl: 15m, template: {locales: {en: {title: Reminder, body: "{{ entry.category }} {{ tags.abandoned }}"}}}}
`

// TestKilledJourney: a gateway that is killed while people enter, wait and are pushed to loses none of them and repeats
// nothing: each phone shows one reminder, those that bought show none, and all are counted in and out once.
func TestKilledJourney(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills the gateway 5 times; not in -short")
	}
	kills := killsWanted(t, 5)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t)
	s.write("campaign.yaml", reminder)
	s.start()
	nc, err := nats.Connect("nats://"+s.addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := &phones{nc: nc}
	buys := func(d int) bool { return d%5 == 0 }
	const perKill = 20
	people := perKill * kills
	enter := func(d int) {
		name := fmt.Sprintf("d%03d", d)
		now := time.Now().UnixMilli()
		p.send("device.shop."+name, fmt.Appendf(nil, `{"platform":"ios","token":%q,"locale":"en"}`, fake.DeviceToken(name)))
		p.send("event.shop."+name, fmt.Appendf(nil, `{"name":"product_view","id":"v","t":%d,"props":{"category":"phones"}}`, now))
		if buys(d) {
			p.send("event.shop."+name, fmt.Appendf(nil, `{"name":"ordered","id":"o","t":%d}`, now+1))
		}
	}
	began := time.Now()
	for k := range kills {
		for i := range perKill {
			p.wg.Go(func() { enter(k*perKill + i) })
		}
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
		s.kill()
		s.start()
	}
	p.wg.Wait()
	t.Logf("%d people have come after %v", people, time.Since(began))
	var v stream.JourneyView
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		q, _ := json.Marshal(stream.JourneyRequest{Journey: "reminder"})
		m, err := nc.Request(stream.JourneyShowSubject, q, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		v = stream.JourneyView{}
		if err := json.Unmarshal(m.Data, &v); err != nil {
			t.Fatalf("%v: %s", err, m.Data)
		}
		if v.Counts["entered"] == int64(people) && v.Waiting == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d people after 60 s: %s\n%s", people, m.Data, s.output)
		}
	}
	bought := int64((people + 4) / 5)
	if v.Counts["ended.exit"] != bought || v.Counts["ended.finished"] != int64(people)-bought || v.Counts["step.1.bought"] != bought {
		t.Errorf("%d people, of whom %d bought: %v", people, bought, v.Counts)
	}
	s.awaitPushes("reminder", int64(people)-bought)
	t.Logf("all pushed after %v", time.Since(began))
	for d := range people {
		name := fmt.Sprintf("d%03d", d)
		want := 1
		if buys(d) {
			want = 0
		}
		shown := s.apns.Phones().Shown(fake.DeviceToken(name))
		if len(shown) != want {
			t.Errorf("phone %s shows %d reminders, want %d", name, len(shown), want)
		}
	}
	s.stop()
}

// awaitPushes waits until so many pushes of a campaign or journey have been accepted, and none is owed.
func (s *site) awaitPushes(id string, n int64) {
	s.t.Helper()
	nc, err := nats.Connect("nats://" + s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		m, err := nc.Request(stream.StatsSubject, nil, 5*time.Second)
		var st stream.Status
		if err == nil {
			err = json.Unmarshal(m.Data, &st)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		f := st.Funnel[id]
		if f["push.accepted"] == n && f["claimed"] == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("pushes of %s after 60 s: %v, want %d accepted\n%s", id, f, n, s.output)
		}
	}
}
