package crashtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"footfall/push/fake"
	"footfall/stream"
)

// reminder has every kind of step that the ledger keeps something of. Who plans to order waits for that alone, and who
// does not for the time alone, so that how long a gateway was away decides nothing.
const reminder = `journey: reminder
entry: {event: product_view}
window: {to: never}
reentry: never
goal: {event: purchase, stay: true}
goals: {basket: {event: add_to_basket, stay: true}}
steps:
  - id: words
    experiment: {arms: {control: {share: 50%}, gift: {share: 50%, then: [{tag: {gift: true}}]}}}
  - tag: {abandoned: {entry: category}}
  - id: plan
    split:
      - name: order
        if: 'tags.plan == "order"'
        then:
          - id: order
            wait_for: {up_to: 1h, branches: {bought: {event: ordered, then: [{tag: {bought: true}}, {emit: bought}, {exit: bought}]}}}
      - else:
          - id: remind
            wait_for: {up_to: 1s, branches: {bought: {event: ordered, then: [{exit: bought}]}}}
  - wait: 1s
  - id: offer
    push: {ttl: 15m, devices: all, template: {locales: {en: {title: Reminder, body: "{{ entry.category }} {{ tags.abandoned }}"}}}}
  - id: read
    wait_for: {up_to: 1h, branches: {seen: {opened: offer, then: [{tag: {keen: true}}, {emit: seen}, {exit: opened}]}}}
`

// The four kinds of people that come in turn: who orders; who signs in meanwhile and orders on a second phone; who has two phones
// and a tag from a backend, is reminded on both and opens that; and who signs in meanwhile, fills the basket twice, buys twice, and opens it.
const (
	orders = iota
	ordersElsewhere
	opens
	buys
	kinds
)

// TestKilledJourney ends the gateway at each of the eight points while people enter, wait, sign in, are pushed to, open
// and buy. Nobody is lost and nothing is repeated: each count of the journey is to the unit what the people did, each
// phone shows its one push, also when a push goes to both of a person, the tags are set on the right people, and each event was published once.
func TestKilledJourney(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and ends the gateway 8 times; not in -short")
	}
	t.Parallel() // most of it is waiting
	kills := killsWanted(t, 8)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	m := newMortal(t, seed, 0)
	m.write("campaign.yaml", reminder)
	m.arrive, m.atOnce = m.consider, 16 // half of them wait for two seconds
	how := m.die(kills)
	m.start()
	for m.devices%kinds != 0 || m.devices < 2*kinds { // as many of each kind
		m.consider()
	}
	m.wg.Wait()
	n := int64(m.devices) / kinds
	t.Logf("%d people; %s", m.devices, how)

	var v stream.JourneyView
	m.until("everybody is through", func() bool {
		v = stream.JourneyView{}
		return m.ask(stream.JourneyShowSubject, stream.JourneyRequest{Journey: "reminder"}, &v) && v.Waiting == 0 && v.Counts["entered"] == kinds*n
	})
	m.awaitPushes("reminder", 2*n)
	want := map[string]int64{
		"entered": kinds * n, "carried": 2 * n, "ended.exit": kinds * n,
		"step.plan.order": 2 * n, "step.plan.else": 2 * n, "step.order.bought": 2 * n, "step.remind.not_triggered": 2 * n,
		"opened.offer": 2 * n, "step.read.seen": 2 * n, "goal": n, "reached.basket": n,
	}
	for d := range m.devices {
		name := fmt.Sprintf("d%03d", d)
		shown := m.apns.Phones().Shown(fake.DeviceToken(name))
		tags := map[string]any{"abandoned": "phones", "plan": "remind"}
		switch kind := d % kinds; {
		case kind == orders || kind == ordersElsewhere:
			tags["plan"], tags["bought"] = "order", true
			if len(shown) != 0 {
				t.Errorf("phone %s, of somebody who has ordered, shows %d reminders", name, len(shown))
			}
		case len(shown) != 1 || shown[0].Body != "phones phones":
			t.Errorf("phone %s shows %+v, want one reminder", name, shown)
		default:
			tags["keen"] = true
		}
		seconds := 0
		if d%kinds == opens {
			tags["backend"], seconds = true, 1
		}
		got := m.tags(name)
		arm := "control"
		if gift := got["gift"]; gift != nil {
			arm, tags["gift"] = "gift", true
		}
		if diff := cmp.Diff(tags, got); diff != "" {
			t.Errorf("tags of %s (-want +got):\n%s", name, diff)
		}
		want["arm.words."+arm]++
		want["step.words."+arm]++
		if d%kinds == buys {
			want["goal.words."+arm]++
		}
		if second := m.apns.Phones().Shown(fake.DeviceToken(name + "b")); len(second) != seconds {
			t.Errorf("the second phone of %s shows %d reminders, want %d", name, len(second), seconds)
		}
	}
	if diff := cmp.Diff(want, v.Counts); diff != "" {
		t.Errorf("counts of the journey (-want +got):\n%s", diff)
	}
	told := map[string]int64{}
	for event, times := range m.events(m.nc) {
		if subject, _, _ := strings.Cut(event, " "); strings.HasPrefix(subject, "ev.shop.journey.reminder.") {
			told[strings.TrimPrefix(subject, "ev.shop.journey.reminder.")]++
			if times != 1 {
				t.Errorf("%s was published %d times", event, times)
			}
		}
	}
	if diff := cmp.Diff(map[string]int64{"bought": 2 * n, "seen": 2 * n}, told); diff != "" {
		t.Errorf("events of the journey (-want +got):\n%s", diff)
	}
	m.stop()
}

// consider sends one more person through the journey.
func (m *mortal) consider() {
	d := m.devices
	m.devices++
	name := fmt.Sprintf("d%03d", d)
	p := &phones{nc: m.nc}
	sent := 0
	tell := func(subject string, fields map[string]any) {
		data, err := json.Marshal(fields)
		if err != nil {
			panic(err)
		}
		p.send(subject, data)
	}
	event := func(device, what string) {
		sent++
		tell("event.shop."+device, map[string]any{"name": what, "id": fmt.Sprint(what, sent), "t": time.Now().UnixMilli(), "props": map[string]any{"category": "phones"}})
	}
	device := func(device string, fields map[string]any) {
		maps.Copy(fields, map[string]any{"platform": "ios", "token": fake.DeviceToken(device), "locale": "en"})
		tell("device.shop."+device, fields)
	}
	m.onTheWay.Add(1)
	m.wg.Go(func() {
		defer m.onTheWay.Add(-1)
		kind, plan, user := d%kinds, "order", "u"+name
		if kind == opens || kind == buys {
			plan = "remind"
		}
		device(name, map[string]any{"tags": map[string]any{"plan": plan}})
		if kind == opens {
			device(name, map[string]any{"user": user})
			device(name+"b", map[string]any{"user": user})
			// What two phones say, and what a backend says, has an order only if each waits for the one before.
			m.until("both phones of "+name+" are known", func() bool {
				var x stream.Export
				return m.ask(stream.ExportSubject, stream.ExportRequest{Part: "devices", Someone: stream.Someone{Person: user}, Skip: 1}, &x) && len(x.Devices) == 1
			})
			m.until(name+" is tagged", func() bool {
				var a stream.TagAnswer
				return m.ask(stream.TagSetSubject, stream.TagRequest{Rows: []stream.TagRow{{User: user, Tags: []byte(`{"backend":true}`)}}}, &a) && a.N == 1
			})
		}
		event(name, "product_view")
		switch kind {
		case orders:
			event(name, "ordered")
		case ordersElsewhere:
			device(name, map[string]any{"user": user})
			device(name+"b", map[string]any{"user": user})
			// The order of what two phones say is nobody's promise, so the second one waits for the first.
			if m.until(name+" is in the journey under their own name", func() bool {
				var v stream.JourneyView
				return m.ask(stream.JourneyShowSubject, stream.JourneyRequest{Journey: "reminder", Device: "shop." + name}, &v) &&
					v.Run != nil && strings.HasSuffix(v.Subject, user)
			}) {
				event(name+"b", "ordered")
			}
		case buys:
			device(name, map[string]any{"user": user})
			for range 2 {
				event(name, "add_to_basket")
				event(name, "purchase")
			}
			fallthrough
		case opens:
			var shown []fake.Shown
			if m.until(name+" shows the reminder", func() bool {
				shown = m.apns.Phones().Shown(fake.DeviceToken(name))
				return len(shown) > 0
			}) {
				tell("receipt.shop."+name, map[string]any{"mid": shown[0].MID, "ev": "opened", "t": time.Now().UnixMilli(), "k": shown[0].Key})
			}
		}
	})
}

// until waits for something to hold, through restarts of the gateway, and reports whether it does.
func (m *mortal) until(what string, holds func() bool) bool {
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Errorf("not after 2 min: %s", what)
			return false
		}
	}
	return true
}

// ask puts a question to the gateway; false while there is no answer.
func (m *mortal) ask(subject string, q, answer any) bool {
	data, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	a, err := m.nc.Request(subject, data, 5*time.Second)
	return err == nil && a.Header.Get("Nats-Service-Error") == "" && json.Unmarshal(a.Data, answer) == nil
}

// tags are those of a device of the shop, and of its person.
func (m *mortal) tags(device string) (tags map[string]any) {
	m.t.Helper()
	var x stream.Export
	q := stream.ExportRequest{Part: "devices"}
	q.App, q.Device = "shop", device
	if !m.ask(stream.ExportSubject, q, &x) || len(x.Devices) != 1 || x.Devices[0].Profile == nil {
		m.t.Errorf("the gateway knows %+v of %s", x.Devices, device)
		return nil
	}
	return x.Devices[0].Profile.AllTags()
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
		if f["push.accepted"] == n && f["claimed"] == n && st.Stats.EventsOwed == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("pushes of %s after 60 s: %v, want %d accepted\n%s", id, f, n, s.output)
		}
	}
}
