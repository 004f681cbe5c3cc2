package stream

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/internal/dice"
	"footfall/outbox"
	"footfall/push"
	"footfall/receipt"
)

// noticed walks a registered device into k01 and returns its push.
func (r *rig) noticed(device string) push.Notification {
	r.t.Helper()
	r.register(device)
	before := len(r.provider.pushes())
	r.mustAsk("ping.shop."+device, ping(r.clock.now(), 50.4502, 30.5235))
	r.await("the push", func() bool { return len(r.provider.pushes()) == before+1 })
	r.await("its outcome", func() bool { return r.gw.Status().Funnel["welcome"]["push.accepted"] == int64(before+1) })
	return r.provider.pushes()[before]
}

func (r *rig) facts(mid string) (facts []receipt.Fact) {
	r.t.Helper()
	if err := r.db.View(func(tx *db.Tx) (err error) { facts, err = receipt.Facts(tx, mid); return err }); err != nil {
		r.t.Fatal(err)
	}
	return facts
}

// code answers with the code of a refusal, "" for ok.
func (r *rig) code(subject string, payload any) string {
	r.t.Helper()
	var reply struct {
		OK    bool
		Error struct{ Code string }
	}
	if err := json.Unmarshal([]byte(r.ask(subject, payload)), &reply); err != nil {
		r.t.Fatal(err)
	}
	if !reply.OK && reply.Error.Code == "" {
		r.t.Fatalf("%s: neither ok nor a code", subject)
	}
	return reply.Error.Code
}

func testKeyring(t testing.TB) *receipt.Keyring {
	k, err := receipt.NewKeyring(receipt.Secrets{[]byte(strings.Repeat("s", 32))})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestReceiptsFindTheirPush(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.shop.receipt.>")
	if err != nil {
		t.Fatal(err)
	}
	n := r.noticed("d1")
	r.clock.set(noon.Add(time.Minute))
	say := func(ev string, at time.Time, more map[string]any) {
		m := map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": ev, "t": at.UnixMilli()}
		for k, v := range more {
			m[k] = v
		}
		r.mustAsk("receipt.shop.d1", m)
	}
	say("opened", noon.Add(40*time.Second), nil)
	say("delivered", noon.Add(2*time.Second), nil)
	say("opened", noon.Add(41*time.Second), nil)                                                                              // a repeat
	say("action", noon.Add(42*time.Second), map[string]any{"action": "route"})                                                //
	say("action", noon.Add(43*time.Second), map[string]any{"action": "call"})                                                 // another button
	say("converted", noon.Add(50*time.Second), map[string]any{"ref": "order-1", "value": 1200.5, "currency": "UAH"})          //
	say("converted", noon.Add(50*time.Second), map[string]any{"ref": "order-2", "value": 3, "currency": "UAH"})               //
	say("displayed", noon.Add(-time.Hour), nil)                                                                               // a clock that is behind
	say("dismissed", noon.Add(48*time.Hour), nil)                                                                             // and one that is ahead
	r.mustAsk("receipt.shop.d1", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "converted", "ref": "no time at all"}) //
	r.settle()

	at := func(d time.Duration) int64 { return noon.Add(d).UnixMilli() }
	received := at(time.Minute)
	want := []receipt.Fact{
		{Ev: "action", Ref: "call", At: at(43 * time.Second), Action: "call"},
		{Ev: "action", Ref: "route", At: at(42 * time.Second), Action: "route"},
		{Ev: "converted", Ref: "no time at all", At: received},
		{Ev: "converted", Ref: "order-1", At: at(50 * time.Second), Value: 1200.5, Currency: "UAH"},
		{Ev: "converted", Ref: "order-2", At: at(50 * time.Second), Value: 3, Currency: "UAH"},
		{Ev: "delivered", At: at(2 * time.Second)},
		{Ev: "dismissed", At: at(time.Minute + 5*time.Minute)},
		{Ev: "displayed", At: at(0)},
		{Ev: "opened", At: at(40 * time.Second)},
	}
	for i := range want {
		want[i].ReceivedAt = received
	}
	if d := cmp.Diff(want, r.facts(n.MID)); d != "" {
		t.Errorf("facts (-want +got)\n%s", d)
	}
	e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, e.Deliveries[n.MID].Receipts); d != "" {
		t.Errorf("explain (-want +got)\n%s", d)
	}
	s := r.gw.Status()
	for _, stage := range append(receipt.Stages(), "claimed", "sent", "push.accepted") {
		if s.Funnel["welcome"][stage] != 1 {
			t.Errorf("funnel: %d %s, want 1", s.Funnel["welcome"][stage], stage)
		}
	}
	if d := cmp.Diff(map[string]int64{"stored": 9, "repeated": 1}, s.Stats.Receipts); d != "" {
		t.Errorf("counters (-want +got)\n%s", d)
	}
	seen := map[string]ReceiptEvent{}
	for range want {
		m, err := events.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var ev ReceiptEvent
		if err := json.Unmarshal(m.Data, &ev); err != nil || m.Subject != "ev.shop.receipt."+ev.Ev || strings.Contains(string(m.Data), n.ReceiptKey) {
			t.Errorf("%s %s: %v", m.Subject, m.Data, err)
		}
		seen[ev.ID] = ev
	}
	if len(seen) != len(want) {
		t.Errorf("%d events, want %d", len(seen), len(want))
	}
	first := seen[n.MID+".converted.order-1"]
	if first.Campaign != "welcome" || first.Fence != "k01" || first.Device != "d1" || first.Value != 1200.5 || first.Currency != "UAH" {
		t.Errorf("event %+v", first)
	}
}

// What does not come from the phone that has the message is refused at the door, with its reason, and leaves nothing.
func TestForgedReceipts(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	n := r.noticed("d1")
	for name, tt := range map[string]struct {
		subject, mid, k, want string
	}{
		"no key":                {"receipt.shop.d1", n.MID, "", "bad_value"},
		"a made-up key":         {"receipt.shop.d1", n.MID, "AAAAAAAAAAAAAAAAAAAAAA", "bad_key"},
		"another phone":         {"receipt.shop.d2", n.MID, n.ReceiptKey, "bad_key"},
		"another app":           {"receipt.other.d1", n.MID, n.ReceiptKey, "bad_key"},
		"another message":       {"receipt.shop.d1", "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11", n.ReceiptKey, "bad_key"},
		"with something behind": {"receipt.shop.d1", n.MID, n.ReceiptKey + "=", "bad_key"},
		"the right one":         {"receipt.shop.d1", n.MID, n.ReceiptKey, ""},
	} {
		if got := r.code(tt.subject, map[string]any{"mid": tt.mid, "k": tt.k, "ev": "delivered"}); got != tt.want {
			t.Errorf("%s: refused as %q, want %q", name, got, tt.want)
		}
	}
	// The mid that counts is the one that was checked, whatever a lax reader makes of a second spelling.
	two := r.noticed("d2")
	r.mustAsk("receipt.shop.d1", fmt.Sprintf(`{"mid":%q,"k":%q,"ev":"delivered","MID":%q,"EV":"converted"}`, n.MID, n.ReceiptKey, two.MID))
	r.settle()
	if f := r.facts(n.MID); len(f) != 1 || f[0].Ev != "delivered" {
		t.Errorf("facts %+v", f)
	}
	if f := r.facts(two.MID); len(f) != 0 {
		t.Errorf("facts about the other message: %+v", f)
	}
	s := r.gw.Status().Stats
	if s.Refused["bad_key"] != 5 || s.Refused["bad_value"] != 1 || s.Receipts["stored"] != 1 || s.Receipts["repeated"] != 1 {
		t.Errorf("refused %v, receipts %v", s.Refused, s.Receipts)
	}
}

// The answer of the provider is lost, but the phone reports the push: it is accepted and not sent again, whether the
// report comes after the loss or before it.
func TestReceiptSettlesDoubt(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprintf("before=%v", before), func(t *testing.T) {
			r := newRig(t)
			taken, lose := make(chan push.Notification, 1), make(chan struct{})
			r.provider.say = func(n *push.Notification) push.Outcome {
				taken <- *n
				<-lose
				return push.Outcome{Class: push.InDoubt, Reason: "connection lost", Sent: true}
			}
			r.start()
			defer r.halt()
			r.register("d1")
			r.mustAsk("ping.shop.d1", ping(r.clock.now(), 50.4502, 30.5235))
			n := <-taken
			report := func() {
				r.mustAsk("receipt.shop.d1", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "delivered"})
				r.settle()
			}
			if before {
				report()
			}
			close(lose)
			if !before {
				r.await("the doubt", func() bool { return r.delivery(n.MID).State == outbox.StateInDoubt })
				report()
			}
			r.await("the settlement", func() bool { return r.delivery(n.MID).State == outbox.StateAccepted })
			d := r.delivery(n.MID)
			if d.Reason != "the phone has reported it" || !d.Doubt {
				t.Errorf("delivery %+v", d)
			}
			r.clock.set(noon.Add(2 * time.Minute)) // it would have been due again
			s := r.gw.Status()
			if f := s.Funnel["welcome"]; f["push.accepted"] != 1 || f["sent"] != 1 || f["delivered"] != 1 || len(r.provider.pushes()) != 1 {
				t.Errorf("sent %d times, funnel %v", len(r.provider.pushes()), f)
			}
			if err := r.db.View(func(tx *db.Tx) error {
				c, _, err := dedupe.Get(tx, d.Claim)
				if c.State != dedupe.Committed {
					t.Errorf("claim %+v", c)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (r *rig) delivery(mid string) (d outbox.Delivery) {
	r.t.Helper()
	if err := r.db.View(func(tx *db.Tx) (err error) { d, _, err = outbox.Get(tx, mid); return err }); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// A receipt of a message that has left the ledger is counted as late, published as such, and is no error to its
// sender.
func TestLateReceipt(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.shop.receipt.>")
	if err != nil {
		t.Fatal(err)
	}
	n := r.noticed("d1")
	r.clock.set(noon.Add(7*24*time.Hour + time.Minute))
	r.mustAsk("receipt.shop.d1", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "opened"})
	r.settle()
	m, err := events.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal("no event:", err)
	}
	var ev ReceiptEvent
	if err := json.Unmarshal(m.Data, &ev); err != nil || !ev.Late || ev.MID != n.MID || ev.Device != "d1" || ev.Campaign != "" || ev.Ev != "opened" {
		t.Errorf("event %s, %v", m.Data, err)
	}
	s := r.gw.Status()
	if s.Stats.Receipts["late"] != 1 || s.Funnel["welcome"]["opened"] != 0 || len(r.facts(n.MID)) != 0 {
		t.Errorf("receipts %v, funnel %v", s.Stats.Receipts, s.Funnel["welcome"])
	}
}

// A purchase that names a message's code is a conversion of that message, once for each order.
func TestPurchaseByCode(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.Replace(testCampaign, "You are", "{{ message.code }} You are", 1)
	r.start()
	defer r.halt()
	n := r.noticed("d1")
	code, _, _ := strings.Cut(n.Body, " ")
	currency := "UAH"
	buy := func(id, code string, value any) {
		r.mustAsk("event.shop.till-4", map[string]any{
			"name": "purchase", "t": noon.Add(time.Minute).UnixMilli(), "id": id, "props": map[string]any{"code": code, "value": value, "currency": currency},
		})
	}
	r.clock.set(noon.Add(time.Minute))
	buy("r-1", strings.ToLower(code[:5]+"-"+code[5:]), 1200.5)
	buy("r-1", code, 1200.5)
	currency = "hryvnias, as many as there are"
	buy("r-2", code, "a lot")
	currency = "UAH"
	buy("r-3", "0000000000", 1)
	buy("r-4", "CITRUS-18", 1)
	r.mustAsk("event.shop.till-4", `{"name":"purchase","id":"r-5","props":{"value":5}}`)
	r.mustAsk("event.other.till-4", fmt.Sprintf(`{"name":"purchase","id":"r-6","props":{"code":%q}}`, code))
	r.settle()
	now := noon.Add(time.Minute).UnixMilli()
	want := []receipt.Fact{
		{Ev: "converted", Ref: "r-1", At: now, ReceivedAt: now, Value: 1200.5, Currency: "UAH", Via: "code"},
		{Ev: "converted", Ref: "r-2", At: now, ReceivedAt: now, Via: "code"},
	}
	if d := cmp.Diff(want, r.facts(n.MID)); d != "" {
		t.Errorf("facts (-want +got)\n%s", d)
	}
	s := r.gw.Status()
	if s.Funnel["welcome"]["converted"] != 1 || s.Funnel["welcome"]["delivered"] != 0 || s.Stats.Receipts["unknown_code"] != 3 {
		t.Errorf("funnel %v, receipts %v", s.Funnel["welcome"], s.Stats.Receipts)
	}
}

// The same receipts, twice, shuffled, some forged and some from the future, with and without a crash on the way, come
// to the same facts and the same funnel.
func TestReceiptsInAnyOrder(t *testing.T) {
	seed := dice.Seed(t)
	type outcome struct {
		facts  map[string][]receipt.Fact
		funnel map[string]int64
	}
	keys := testKeyring(t)
	play := func(shuffle uint64, crash bool) outcome {
		r := newRig(t)
		r.tune = func(c *Config) { c.Receipts = keys }
		r.start()
		defer func() { r.halt() }()
		var mids []string
		type message struct{ subject, payload string }
		var ms []message
		rng := rand.New(rand.NewPCG(seed, 0)) // the same messages each time
		for i := range 6 {
			device := fmt.Sprintf("d%d", i)
			n := r.noticed(device)
			mids = append(mids, n.MID)
			for range 1 + rng.IntN(12) {
				k := n.ReceiptKey
				if rng.IntN(5) == 0 {
					k = "AAAAAAAAAAAAAAAAAAAAAA"
				}
				m := map[string]any{"mid": n.MID, "k": k, "ev": receipt.Stages()[rng.IntN(6)], "t": noon.Add(time.Duration(rng.IntN(48)-24) * time.Hour).UnixMilli()}
				if rng.IntN(2) == 0 {
					m["ref"] = fmt.Sprint(rng.IntN(3))
				}
				data, _ := json.Marshal(m)
				ms = append(ms, message{"receipt.shop." + device, string(data)})
			}
		}
		slices.Sort(mids)
		r.clock.set(noon.Add(time.Minute)) // everything is received in one instant, so that only the order differs
		order := rand.New(rand.NewPCG(seed, shuffle))
		if shuffle > 0 {
			for range len(ms) {
				ms = append(ms, ms[order.IntN(len(ms))])
			}
			order.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
		}
		for i, m := range ms {
			r.ask(m.subject, m.payload)
			if crash && i == len(ms)/2 {
				// The ledger as a kill finds it: what is in the log is decided by the next run, once.
				r.halt()
				r.start()
			}
		}
		r.settle()
		out := outcome{facts: map[string][]receipt.Fact{}, funnel: r.gw.Status().Funnel["welcome"]}
		for i, mid := range mids {
			out.facts[fmt.Sprint(i)] = r.facts(mid)
		}
		return out
	}
	want := play(0, false)
	if want.funnel["delivered"] == 0 {
		t.Fatalf("no receipt arrived: %v", want.funnel)
	}
	for i, crash := range []bool{false, true} {
		got := play(uint64(i+1), crash)
		if d := cmp.Diff(want.facts, got.facts); d != "" {
			t.Errorf("seed %d, crash %v: facts (-in order +shuffled)\n%s", seed, crash, d)
		}
		if d := cmp.Diff(want.funnel, got.funnel); d != "" {
			t.Errorf("seed %d, crash %v: funnel (-in order +shuffled)\n%s", seed, crash, d)
		}
	}
}

// The funnel's counts are those that the facts of the ledger give when they are counted anew.
func TestFunnelCanBeRecomputed(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	var mids []string
	for i := range 5 {
		n := r.noticed(fmt.Sprintf("d%d", i))
		mids = append(mids, n.MID)
		for _, ev := range [][]string{{}, {"delivered"}, {"opened", "delivered"}, {"action"}, {"converted", "dismissed"}}[i] {
			r.mustAsk(fmt.Sprintf("receipt.shop.d%d", i), map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": ev})
		}
	}
	r.settle()
	counted := map[string]int64{}
	for _, mid := range mids {
		for _, s := range receipt.Reached(r.facts(mid)) {
			counted[s]++
		}
	}
	f := r.gw.Status().Funnel["welcome"]
	if d := cmp.Diff(map[string]int64{"delivered": 4, "opened": 2, "action": 1, "dismissed": 1, "converted": 1}, counted); d != "" {
		t.Errorf("facts (-want +got)\n%s", d)
	}
	for _, s := range receipt.Stages() {
		if f[s] != counted[s] {
			t.Errorf("%s: the funnel says %d, the facts %d", s, f[s], counted[s])
		}
	}
	if !(f["claimed"] >= f["sent"] && f["sent"] >= f["push.accepted"] && f["push.accepted"] >= f["delivered"] && f["delivered"] >= f["opened"]) {
		t.Errorf("a later stage has more than an earlier one: %v", f)
	}
}
