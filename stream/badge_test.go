package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/push"
	"footfall/receipt"
)

// TestBadgeCountsUnread: badge: inc shows one more than the device has unread, by device, through a restart; what was refused
// does not count, a re-send after doubt counts once; a push that is opened and an app that is opened take out what came before.
func TestBadgeCountsUnread(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.Replace(strings.Replace(testCampaign, "once_per: {day: store}", "once_per: none", 1), "        default_locale: en\n", "        default_locale: en\n        badge: inc\n", 1)
	doubt := map[string]bool{}
	r.provider.say = func(n *push.Notification) push.Outcome {
		switch {
		case n.Device == "d3":
			return push.Outcome{Class: push.Bug, Status: 400, Sent: true}
		case n.Device == "d4" && !doubt[n.MID]:
			doubt[n.MID] = true
			return push.Outcome{Class: push.InDoubt, Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	keys, err := receipt.NewKeyring(receipt.Secrets{[]byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	r.tune = func(c *Config) { c.Receipts = keys } // receipts outlive the restart
	r.start()
	at := noon
	visit := func(device string) (badge int) {
		t.Helper()
		before, doubts := len(r.provider.pushes()), r.gw.Status().Outbox.Doubts
		at = at.Add(3 * time.Minute)
		r.clock.set(at)
		r.enter(device, at)
		r.await("a push of "+device, func() bool { return len(r.provider.pushes()) > before })
		if device == "d4" {
			// Its next time counts from when the outcome is written, so that is awaited before time passes.
			r.await("the doubt", func() bool { return r.gw.Status().Outbox.Doubts > doubts })
			r.clock.set(at.Add(time.Minute))
			r.await("the re-send", func() bool { return len(r.provider.pushes()) > before+1 })
		}
		r.settle()
		pushes := r.provider.pushes()
		n := pushes[len(pushes)-1]
		if n.Badge == nil || !n.Counted || n.Device != device {
			t.Fatalf("%+v", n)
		}
		at = at.Add(3 * time.Minute)
		r.clock.set(at)
		r.mustAsk("ping.shop."+device, ping(at, 50.4540, 30.5234))
		return *n.Badge
	}
	for _, d := range []string{"d1", "d2", "d3", "d4"} {
		r.register(d)
	}
	var got []int
	for _, device := range []string{"d1", "d1", "d2", "d3", "d3", "d4", "d4"} {
		got = append(got, visit(device))
	}
	if want := []int{1, 2, 1, 1, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("badges %v, want %v", got, want)
	}
	r.halt()
	r.start()
	defer func() { r.halt() }()
	if got := visit("d1"); got != 3 {
		t.Errorf("after a restart: %d, want 3", got)
	}
	// The second push is opened: it and the first are read, the third is not.
	var second push.Notification
	for _, n := range r.provider.pushes() {
		if n.Device == "d1" && *n.Badge == 2 {
			second = n
		}
	}
	r.mustAsk("receipt.shop.d1", map[string]any{"mid": second.MID, "k": second.ReceiptKey, "ev": "opened", "t": noon.Add(10 * time.Minute).UnixMilli()})
	r.settle()
	if got := visit("d1"); got != 2 {
		t.Errorf("after the second was opened: %d, want 2", got)
	}
	r.mustAsk("event.shop.d1", map[string]any{"name": "app_open", "id": "1", "t": at.UnixMilli()})
	r.settle()
	if got := visit("d1"); got != 1 {
		t.Errorf("after the app was opened: %d, want 1", got)
	}
	if err := r.db.View(func(tx *db.Tx) error {
		x, err := ExportFrom(tx, r.gw.cfg.Rules, ExportRequest{Someone: Someone{App: "shop", Device: "d1"}, Part: "devices"})
		if len(x.Unread["shop.d1"]) != 1 {
			t.Errorf("exported as %v", x.Unread)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	r.forget(Someone{App: "shop", Device: "d1"})
	if found := r.traces("shop.d1"); len(found) > 0 {
		t.Errorf("left after forget: %v", found)
	}
}

// TestBadgeStopsAt99: the row is bounded, and what is left of it are the newest.
func TestBadgeStopsAt99(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	if err := r.db.Update(t.Context(), func(tx *db.Tx) error {
		var times []int64
		for i := range int64(maxUnread) {
			times = append(times, 1000+i)
		}
		if err := putUnread(tx, "shop.d", times); err != nil {
			return err
		}
		next, err := nextBadge(tx, "shop.d")
		if err == nil && *next != maxUnread {
			err = fmt.Errorf("the next shows %d", *next)
		}
		if err == nil {
			err = readUpTo(tx, "shop.d", 1090)
		}
		if err != nil {
			return err
		}
		left, err := unread(tx, "shop.d")
		if err == nil && (len(left) != maxUnread-91 || left[0] != 1091) {
			err = fmt.Errorf("left are %v", left)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
