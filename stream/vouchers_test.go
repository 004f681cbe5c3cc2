package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/push"
	"footfall/voucher"
)

const voucherCampaign = `campaign: gift
trigger: {enter: {fences: {all: true}}}
once_per: {day: store}
steps: [{push: {ttl: 15m, voucher: %s, template: {locales: {en: {body: "Your code: {{ voucher | default: 'ask us' }}"}}}}}]
`

// pool is how a pool stands.
func (r *rig) pool(name string) (p voucher.Pool) {
	r.t.Helper()
	if err := r.db.View(func(tx *db.Tx) (err error) { p, err = voucher.Get(tx, name); return err }); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// codes are what the pushes so far say, by device.
func (r *rig) codes() map[string]string {
	out := map[string]string{}
	for _, n := range r.provider.pushes() {
		out[n.Device] = strings.TrimPrefix(n.Body, "Your code: ")
	}
	return out
}

// addVouchers fills a pool.
func (r *rig) addVouchers(pool string, codes ...string) VoucherAnswer {
	r.t.Helper()
	a, err := r.gw.AddVouchers(r.t.Context(), VoucherRequest{Pool: pool, Codes: codes})
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// TestVouchers: each push has a code of its own, through repeats and a restart; when the pool is empty the push is held back
// and the person's claim is free, so that a code that comes later is given; a code counts once at the till, and the purchase
// is in the report of the campaign.
func TestVouchers(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(voucherCampaign, "bday")
	r.start()
	r.addVouchers("bday", "KYIV-0001", "KYIV-0002")
	for i, d := range []string{"a", "b", "c"} {
		r.register(d)
		r.enter(d, noon.Add(time.Duration(i)*time.Second))
		r.settle()
	}
	r.await("two pushes", func() bool { return r.gw.Status().Funnel["gift"]["push.accepted"] == 2 })
	if f := r.gw.Status().Funnel["gift"]; f["held.no_voucher"] != 1 || f["claimed"] != 2 {
		t.Errorf("funnel %v", f)
	}
	if got := r.codes(); got["a"] != "KYIV-0001" || got["b"] != "KYIV-0002" || len(got) != 2 {
		t.Errorf("codes %v", got)
	}
	e, err := r.gw.Explain(t.Context(), "shop.c", 0, 0)
	if err != nil || len(e.Decisions) == 0 {
		t.Fatalf("explain: %+v, %v", e, err)
	}
	last := e.Decisions[len(e.Decisions)-1].Campaigns[0]
	if c := last.Checks[len(last.Checks)-1]; last.Reason != "no_voucher" || c.Rule != "voucher" || c.OK || !strings.Contains(c.Detail, "all of its 2 codes") {
		t.Errorf("explained as %s: %+v", last.Reason, c)
	}
	r.halt()
	r.start()
	defer r.halt()
	r.addVouchers("bday", "KYIV-0001", "KYIV-0003") // the first is known
	if p := r.pool("bday"); p.Free != 1 || p.Given != 2 {
		t.Errorf("pool %+v", p)
	}
	r.clock.set(noon.Add(time.Hour))
	r.mustAsk("ping.shop.c", ping(noon.Add(50*time.Minute), 50.60, 30.90))
	r.enter("c", noon.Add(time.Hour))
	r.settle()
	r.await("the third push", func() bool { return r.codes()["c"] == "KYIV-0003" })

	// Somebody else's phone shows b's code, typed as people type; then again; then one of nobody.
	buy := func(id, name, code string) {
		r.mustAsk("event.shop.till", map[string]any{"name": name, "id": id, "t": r.clock.now().UnixMilli(), "props": map[string]any{"code": code, "value": 100, "currency": "UAH"}})
		r.settle()
	}
	r.addVouchers("bday", "KYIV-0004", "KYIV-0005")
	buy("look", "cart_viewed", "KYIV-0002")
	for _, id := range []string{"o1", "o1", "o2"} {
		buy(id, "purchase", "kyiv 0002")
	}
	buy("o3", "redeem", "KYIV0004")
	got := r.gw.Status().Stats.Receipts
	if got[voucherRedeemed] != 1 || got[voucherUsed] != 1 || got[voucherNotGiven] != 1 {
		t.Errorf("receipts %v", got)
	}
	if p := r.pool("bday"); p.Free != 1 || p.Given != 2 || p.Redeemed != 2 {
		t.Errorf("pool %+v", p)
	}
	day, _ := funnel.ParseDay("2026-11-28")
	rep, _ := r.asked(funnel.Query{Campaign: "gift", From: day, To: day})
	if c := rep.Campaigns[0].Total; c.Converted != 1 || c.Accepted != 3 {
		t.Errorf("the report counts %+v", c.Counts)
	}
	var facts []string
	for _, n := range r.provider.pushes() {
		for _, f := range r.facts(n.MID) {
			facts = append(facts, n.Device+" "+f.Ev+" "+f.Ref+" "+f.Via)
		}
	}
	if want := []string{"b converted o1 voucher"}; !slices.Equal(facts, want) {
		t.Errorf("facts %v, want %v", facts, want)
	}
	// Code 4 was shown before it was given: the next one is 5.
	r.register("d")
	r.enter("d", noon.Add(time.Hour))
	r.settle()
	r.await("the last push", func() bool { return r.gw.Status().Funnel["gift"]["push.accepted"] == 4 })
	if r.codes()["d"] != "KYIV-0005" {
		t.Errorf("codes %v", r.codes())
	}
	r.testVoucherEnd(day)
}

// testVoucherEnd goes on with the pool of TestVouchers: how it stands is in the report and adds up; it cannot be dropped while the
// campaign is live or people have codes that work; when it has expired nothing is given or redeemed, and it can.
func (r *rig) testVoucherEnd(day funnel.Day) {
	t := r.t
	r.addVouchers("bday", "KYIV-0006")
	rep, _ := r.asked(funnel.Query{Campaign: "gift", From: day, To: day})
	want := funnel.Vouchers{Pool: "bday", PutIn: 6, Issued: 4, Redeemed: 1, Purchases: 1, Ungiven: 1, Left: 1}
	if got := rep.Campaigns[0].Vouchers; len(got) != 1 || got[0] != want {
		t.Errorf("the report has %+v, want %+v", got, want)
	}
	drop := func(force bool, want string) {
		t.Helper()
		a, err := r.gw.DropVouchers(t.Context(), VoucherRequest{Pool: "bday", Force: force})
		if want == "" && (err != nil || a.Left != 0) || want != "" && (!errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), want)) {
			t.Errorf("drop: %+v, %v; want %q", a, err, want)
		}
	}
	drop(true, "used by campaign gift; stop or end")
	if _, err := r.gw.StopCampaign(t.Context(), "gift"); err != nil {
		t.Fatal(err)
	}
	drop(false, "may still show 3 codes")
	if _, err := r.gw.StartCampaign(t.Context(), "gift"); err != nil {
		t.Fatal(err)
	}
	ends := r.clock.now().Add(time.Minute)
	a, err := r.gw.AddVouchers(t.Context(), VoucherRequest{Pool: "bday", Expires: new(ends.UnixMilli())})
	if err != nil || a.Alarm != "expires_soon" || a.Low != 0 || a.Expires != ends.UnixMilli() {
		t.Errorf("set: %+v, %v", a, err)
	}
	if _, err := r.gw.AddVouchers(t.Context(), VoucherRequest{Pool: "none", Low: new(int64(1))}); !errors.Is(err, voucher.ErrNoPool) {
		t.Errorf("terms of no pool: %v", err)
	}
	r.clock.set(ends)
	r.register("e")
	r.enter("e", ends)
	r.mustAsk("event.shop.till", map[string]any{"name": "purchase", "id": "o9", "t": ends.UnixMilli(), "props": map[string]any{"code": "KYIV-0001"}})
	r.mustAsk("event.shop.till", map[string]any{"name": "purchase", "id": "o8", "t": ends.UnixMilli() - 1, "props": map[string]any{"code": "KYIV-0003"}}) // sent late
	r.settle()
	if s := r.gw.Status(); s.Stats.Receipts[voucherExpired] != 1 || s.Stats.Receipts[voucherRedeemed] != 2 || s.Funnel["gift"]["held.no_voucher"] != 2 || s.Vouchers[0].Left != 0 || s.Vouchers[0].Alarm != "expired" {
		t.Errorf("after its end: %v, %v, %+v", s.Stats.Receipts, s.Funnel["gift"], s.Vouchers)
	}
	if _, err := r.gw.StopCampaign(t.Context(), "gift"); err != nil {
		t.Fatal(err)
	}
	drop(false, "")
	if list, err := r.gw.VoucherPools(); err != nil || len(list) != 0 {
		t.Errorf("pools %+v, %v", list, err)
	}
}

// TestVoucherRedeemedLate: a code that is redeemed when the outbox has forgotten its push is credited all the same.
func TestVoucherRedeemedLate(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(voucherCampaign, "bday")
	r.start()
	defer r.halt()
	r.addVouchers("bday", "KYIV-0001")
	r.register("a")
	r.enter("a", noon)
	r.settle()
	r.await("the push", func() bool { return r.gw.Status().Funnel["gift"]["push.accepted"] == 1 })
	r.clock.set(noon.Add(20 * 24 * time.Hour))
	r.mustAsk("event.shop.a", map[string]any{"name": "purchase", "id": "o", "t": r.clock.now().UnixMilli(), "props": map[string]any{"code": "KYIV-0001"}})
	r.settle()
	day, _ := funnel.ParseDay("2026-11-28")
	rep, _ := r.asked(funnel.Query{Campaign: "gift", From: day, To: day})
	if c := rep.Campaigns[0].Total; c.Converted != 1 {
		t.Errorf("the report counts %+v", c.Counts)
	}
}

// TestVoucherGivenBack: a push that the provider refused gives its code back, a repeat by hand takes one again, one whose
// fate nobody knows keeps it, and send_without goes out without.
func TestVoucherGivenBack(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(voucherCampaign, "{pool: bday, empty: send_without}")
	refuse := true
	r.provider.say = func(n *push.Notification) push.Outcome {
		if refuse {
			return push.Outcome{Class: push.TooLarge, Status: 413, Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	defer r.halt()
	r.addVouchers("bday", "KYIV-0001")
	r.register("a")
	r.enter("a", noon)
	r.settle()
	r.await("the refusal", func() bool { return r.gw.Status().Funnel["gift"]["push.failed"] == 1 })
	if p := r.pool("bday"); p.Free != 1 || p.Given != 0 {
		t.Errorf("after the refusal %+v", p)
	}
	refuse = false
	mid := r.provider.pushes()[0].MID
	if _, err := RetryDeliveries(t.Context(), r.db, OutboxOrder{MIDs: []string{mid}}); err != nil {
		t.Fatal(err)
	}
	r.gw.outbox.Notify()
	r.await("the repeat", func() bool { return r.gw.Status().Funnel["gift"]["push.accepted"] == 1 })
	r.register("b")
	r.enter("b", noon)
	r.settle()
	r.await("the second", func() bool { return r.gw.Status().Funnel["gift"]["push.accepted"] == 2 })
	if got := r.codes(); got["a"] != "KYIV-0001" || got["b"] != "ask us" {
		t.Errorf("codes %v", got)
	}
	if p := r.pool("bday"); p.Free != 0 || p.Given != 1 || p.Alarm(noon.UnixMilli()) != "empty" {
		t.Errorf("at the end %+v", p)
	}
	// Forgetting a takes the push off the code, and the code stays with nobody.
	if _, err := r.gw.Forget(t.Context(), Someone{App: "shop", Device: "a"}); err != nil {
		t.Fatal(err)
	}
	if left := r.traces(mid); len(left) > 0 {
		t.Errorf("traces of %s: %v", mid, left)
	}
	if p := r.pool("bday"); p.Free != 0 || p.Given != 1 {
		t.Errorf("after forgetting %+v", p)
	}
}

// TestVoucherOfJourney: the push of a journey takes a code too, and one that is held back lets the person go on.
func TestVoucherOfJourney(t *testing.T) {
	r := newRig(t)
	r.yaml = `journey: thanks
entry: {event: purchase}
window: {to: never}
steps:
  - push: {ttl: 2h, voucher: {pool: thanks}, template: {required: [voucher], locales: {en: {body: "Your code: {{ voucher }}"}}}}
`
	r.start()
	defer r.halt()
	a, err := r.gw.AddVouchers(t.Context(), VoucherRequest{Pool: "thanks", Fill: 1})
	if err != nil || a.Added != 1 || a.Free != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := r.gw.AddVouchers(t.Context(), VoucherRequest{Pool: "thanks", Fill: 1}); err != nil || a.Added != 0 {
		t.Errorf("filled again: %+v, %v", a, err)
	}
	for i, d := range []string{"a", "b"} {
		r.register(d)
		r.event(d, fmt.Sprint(i), "purchase", "phones")
	}
	r.settle()
	r.awaitCounts("thanks", map[string]int64{"ended.finished": 2})
	r.await("one push", func() bool {
		f := r.gw.Status().Funnel["thanks"]
		return f["push.accepted"] == 1 && f["held.no_voucher"] == 1
	})
	for _, code := range r.codes() {
		if len(code) != voucher.DefaultLength || strings.Trim(code, voucher.Alphabet) != "" {
			t.Errorf("code %q", code)
		}
	}
	for _, q := range []VoucherRequest{{Pool: "a b"}, {Pool: "x", Fill: 5, Codes: []string{"ABCD"}}, {Pool: "x", Length: 3}, {Pool: "x", Codes: make([]string, voucher.MaxPage+1)}, {Pool: "x", Codes: []string{"a"}}} {
		if _, err := r.gw.AddVouchers(t.Context(), q); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}
