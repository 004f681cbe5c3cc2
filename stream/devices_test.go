package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/dedupe"
	"footfall/funnel"
	"footfall/outbox"
	"footfall/push"
	"footfall/track"
)

const deviceCampaign = `campaign: hello
trigger: {enter: {fences: {all: true}}}
once_per: {day: store}
steps: [{push: {ttl: 15m, devices: %s, voucher: {pool: gift, empty: send_without}, template: {locales: {en: {body: "Code {{ voucher | default: 'none' }}"}}}}}]
`

// owns registers a device of a person; without a token nothing can be pushed to it.
func (r *rig) owns(person, device string, token bool) {
	r.t.Helper()
	patch := map[string]any{"user": person, "platform": "ios", "locale": "en"}
	if token {
		patch["token"] = fmt.Sprintf("%064x", device)
	}
	r.mustAsk("device.shop."+device, patch)
	r.settle()
	r.clock.set(r.clock.now().Add(time.Second)) // so that one is heard of after the other
}

// reached lists the devices that were pushed to.
func (r *rig) reached() (out []string) {
	for _, n := range r.provider.pushes() {
		out = append(out, n.Device)
	}
	slices.Sort(out)
	return out
}

// deviceCheck is what explain says about the choice of the device.
func (r *rig) deviceCheck(device string) (string, Explanation) {
	r.t.Helper()
	e, err := r.gw.Explain(r.t.Context(), track.DeviceID("shop."+device), 0, 0)
	if err != nil || len(e.Decisions) == 0 {
		r.t.Fatalf("explain %s: %+v, %v", device, e, err)
	}
	for _, c := range e.Decisions[len(e.Decisions)-1].Campaigns[0].Checks {
		if c.Rule == "device" {
			return c.Detail, e
		}
	}
	return "", e
}

// TestLastActiveDevice: one push, to the device that it came from; when that one cannot be pushed to, to the one that was
// heard of last and can.
func TestLastActiveDevice(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(deviceCampaign, "last_active")
	r.start()
	defer r.halt()
	for _, d := range []string{"phone", "older", "newer", "latest"} {
		r.owns("olena", d, d != "latest")
	}
	r.owns("taras", "watch", false)
	r.owns("taras", "only", true)
	r.owns("taras", "other", true)
	for i, d := range []string{"phone", "watch"} {
		r.enter(d, r.clock.now().Add(time.Duration(i)*time.Millisecond))
	}
	r.settle()
	r.await("two pushes", func() bool { return r.gw.Status().Funnel["hello"]["push.accepted"] == 2 })
	if got := r.reached(); !slices.Equal(got, []string{"other", "phone"}) {
		t.Errorf("pushed to %v", got)
	}
	if why, _ := r.deviceCheck("phone"); why != "last active of the person's 4: the one that it came from" {
		t.Errorf("explained: %s", why)
	}
	why, e := r.deviceCheck("watch")
	if !strings.Contains(why, "because the one that it came from cannot be pushed to") {
		t.Errorf("explained: %s", why)
	}
	for _, status := range e.Deliveries {
		if status.Device != "shop.other" {
			t.Errorf("the push went to %q", status.Device)
		}
	}
}

// TestAllDevices: a message to all devices of a person is one claim, one code and one person in every count, whatever its
// devices do; devices are counted apart. One whose token is refused does not fail the others.
func TestAllDevices(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(deviceCampaign, "all")
	r.provider.say = func(n *push.Notification) push.Outcome {
		if n.Device == "dead" {
			return push.Outcome{Class: push.TokenDead, Status: 410, Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	r.addVouchers("gift", "KYIV-0001", "KYIV-0002")
	for _, d := range []string{"tablet", "dead", "phone"} {
		r.owns("olena", d, true)
	}
	r.owns("olena", "silent", false)
	r.register("alone")
	at := r.clock.now()
	r.enter("phone", at)
	r.settle()
	r.await("two devices to have it", func() bool {
		f := r.gw.Status().Funnel["hello"]
		return f["device.accepted"] == 2 && f["device.failed"] == 1
	})
	r.enter("tablet", at.Add(time.Second)) // the same person, the same day
	r.enter("alone", at.Add(time.Second))
	r.settle()
	r.await("the one of one device", func() bool { return r.gw.Status().Funnel["hello"]["push.accepted"] == 2 })

	if got := r.reached(); !slices.Equal(got, []string{"alone", "dead", "phone", "tablet"}) {
		t.Errorf("pushed to %v", got)
	}
	if f := r.gw.Status().Funnel["hello"]; f["claimed"] != 2 || f["held.already_claimed"] != 1 || f["sent"] != 2 || f["push.failed"] != 0 {
		t.Errorf("funnel %v", f)
	}
	why, e := r.deviceCheck("phone")
	if why != "all: 3 of the person's 4; 1 not: no token" {
		t.Errorf("explained: %s", why)
	}
	lead := e.Decisions[0].Campaigns[0].MID
	states := map[string]outbox.State{"shop.phone": e.Deliveries[lead].State}
	for _, c := range e.Deliveries[lead].Copies {
		states[c.Device] = c.State
	}
	if states["shop.phone"] != outbox.StateAccepted || states["shop.tablet"] != outbox.StateAccepted || states["shop.dead"] != outbox.StateFailed {
		t.Errorf("explained as %v", states)
	}
	byDevice := map[string]push.Notification{}
	for _, n := range r.provider.pushes() {
		byDevice[n.Device] = n
		if n.Device != "alone" && n.Body != "Code KYIV-0001" {
			t.Errorf("%s says %q", n.Device, n.Body)
		}
	}
	if byDevice["phone"].MID != lead || byDevice["tablet"].MID == lead {
		t.Errorf("message ids %s and %s of %s", byDevice["phone"].MID, byDevice["tablet"].MID, lead)
	}

	// Both say that they have it; one is opened, then the other.
	for _, ev := range []string{"delivered", "opened"} {
		for _, d := range []string{"tablet", "phone"} {
			n := byDevice[d]
			r.mustAsk("receipt.shop."+d, map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": ev, "t": r.clock.now().UnixMilli()})
			r.settle()
		}
	}
	if f := r.gw.Status().Funnel["hello"]; f["delivered"] != 1 || f["opened"] != 1 {
		t.Errorf("receipts count as %v", f)
	}
	day, _ := funnel.ParseDay("2026-11-28")
	r.halt()
	r.start() // and the same after a restart
	defer r.halt()
	rep, _ := r.asked(funnel.Query{Campaign: "hello", From: day, To: day})
	c := rep.Campaigns[0].Total
	if c.Entered != 3 || c.Claimed != 2 || c.Accepted != 2 || c.Delivered != 1 || c.Opened != 1 || c.Outcomes["opened"] != 1 || c.Outcomes["accepted"] != 1 {
		t.Errorf("the report counts %+v", c.Counts)
	}
	if want := (funnel.Devices{Meant: 4, Accepted: 3, Delivered: 2, Opened: 2}); c.Devices != want {
		t.Errorf("devices %+v, want %+v", c.Devices, want)
	}

	// Nothing of the person is left, and nothing of a device that is forgotten alone is in the rows of the others.
	if found := r.forgetAndSearch(Someone{App: "shop", Device: "tablet"}, "tablet"); len(found) > 0 {
		t.Errorf("of the tablet there is left %v", found)
	}
	if found := r.forgetAndSearch(Someone{Person: "olena"}, "olena", lead, dedupe.CopyID(lead, 1), dedupe.CopyID(lead, 2)); len(found) > 0 {
		t.Errorf("of the person there is left %v", found)
	}
}

func (r *rig) forgetAndSearch(who Someone, words ...string) []string {
	r.t.Helper()
	r.forget(who)
	return r.traces(words...)
}

// TestAllDevicesFail: the claim is free again, and the code with it, only when the last device has failed; a row that may
// still be sent by hand keeps both.
func TestAllDevicesFail(t *testing.T) {
	r := newRig(t)
	r.yaml = fmt.Sprintf(deviceCampaign, "all")
	refuse := true
	r.provider.say = func(n *push.Notification) push.Outcome {
		if refuse {
			return push.Outcome{Class: push.TooLarge, Status: 413, Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	defer r.halt()
	r.addVouchers("gift", "KYIV-0001")
	r.owns("olena", "tablet", true)
	r.owns("olena", "phone", true)
	r.enter("phone", r.clock.now())
	r.settle()
	r.await("both to fail", func() bool { return r.gw.Status().Funnel["hello"]["device.failed"] == 2 })
	if f := r.gw.Status().Funnel["hello"]; f["push.failed"] != 1 || f["push.accepted"] != 0 {
		t.Errorf("funnel %v", f)
	}
	if p := r.pool("gift"); p.Free != 1 {
		t.Errorf("pool %+v", p)
	}
	_, e := r.deviceCheck("phone")
	lead := e.Decisions[0].Campaigns[0].MID
	view, err := ShowDelivery(r.db, dedupe.CopyID(lead, 1))
	if err != nil || view.ClaimState != "released" || view.ClaimHolder != lead {
		t.Errorf("the claim is %s of %s, %v", view.ClaimState, view.ClaimHolder, err)
	}
	// The other device by hand: one person more, one code, and what failed before counts no longer.
	refuse = false
	res, err := RetryDeliveries(t.Context(), r.db, OutboxOrder{MIDs: []string{dedupe.CopyID(lead, 1)}})
	if err != nil || len(res.Done) != 1 {
		t.Fatalf("retry: %+v, %v", res, err)
	}
	r.gw.outbox.Notify()
	r.await("the tablet to have it", func() bool { return r.gw.Status().Funnel["hello"]["push.accepted"] == 1 })
	if f := r.gw.Status().Funnel["hello"]; f["push.failed"] != 0 || f["device.failed"] != 1 || f["device.accepted"] != 1 {
		t.Errorf("funnel %v", f)
	}
	if view, _ := ShowDelivery(r.db, lead); view.ClaimState != "committed" {
		t.Errorf("the claim is %s", view.ClaimState)
	}
	if p := r.pool("gift"); p.Free != 0 || p.Given != 1 {
		t.Errorf("pool %+v", p)
	}
}
