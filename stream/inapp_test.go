package stream

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"footfall/outbox"
	"footfall/push"
)

// TestInAppWithoutAToken: a device that never registered, one whose token is dead, and one that has a token, under each
// in_app; through a restart while the app is away. What waits is handed over when the app says that it is there, or was opened, and
// the clock stands still. Whoever has no way to hear keeps the claim free.
func TestInAppWithoutAToken(t *testing.T) {
	apps := &recorder{}
	var away atomic.Bool
	away.Store(true)
	apps.say = func(*push.Notification) push.Outcome {
		if away.Load() {
			return push.Outcome{Class: push.Away, Reason: "not connected"}
		}
		return push.Outcome{Class: push.Accepted, Reason: "in_app", Sent: true}
	}
	r := newRig(t)
	r.tune = func(c *Config) { c.Providers["inapp"], c.InApp = apps, "inapp" }
	var docs []string
	for _, mode := range []string{"also", "only", "default"} {
		line := "      in_app: " + mode + "\n"
		if mode == "default" {
			line = ""
		}
		docs = append(docs, strings.Replace(strings.Replace(testCampaign, "campaign: welcome", "campaign: "+mode, 1), "      ttl: 15m\n", "      ttl: 15m\n"+line, 1))
	}
	r.yaml = strings.Join(docs, "---\n")
	r.start()
	r.register("token")
	r.mustAsk("device.shop.refused", map[string]any{"platform": "ios", "locale": "en", "consent": map[string]any{"push": false}})
	for _, device := range []string{"stranger", "token", "refused"} {
		r.enter(device, noon)
	}
	r.await("the pushes of who has a token", func() bool { return len(r.provider.pushes()) == 2 })
	r.await("both apps to be asked", func() bool { return len(apps.pushes()) >= 3 })
	r.await("their answers to be kept", func() bool { return r.states()[outbox.StateRetryWait] == 3 })
	asked := len(apps.pushes())
	r.halt()
	away.Store(false)
	r.start()
	defer r.halt()
	here := func(device string) string {
		m, err := r.nc.Request("here.shop."+device, nil, patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data)
	}
	if text := here("nobody"); text != `{"ok":true,"n":0}` {
		t.Errorf("for who has nothing: %s", text)
	}
	if text := here("refused"); text != `{"ok":true,"n":0}` || len(apps.pushes()) != asked {
		t.Errorf("of others: %s, %d pushes", text, len(apps.pushes())-asked)
	}
	if text := here("stranger"); text != `{"ok":true,"n":2}` {
		t.Errorf("for who has two: %s", text)
	}
	r.mustAsk("event.shop.token", map[string]any{"name": "app_open", "id": "1", "t": noon.UnixMilli()})
	r.await("everything to be accepted", func() bool {
		f := r.gw.Status().Funnel
		return f["also"]["push.accepted"] == 2 && f["only"]["push.accepted"] == 2 && f["default"]["push.accepted"] == 1
	})
	got := map[string]bool{}
	for _, n := range apps.pushes() {
		got[n.Campaign+" "+n.Device] = true
		if n.Token != "" || n.Title != "Welcome to Store k01" || n.ReceiptKey == "" {
			t.Errorf("the app of %s gets %+v", n.Device, n)
		}
	}
	if want := "map[also stranger:true only stranger:true only token:true]"; fmt.Sprint(got) != want {
		t.Errorf("in the app: %v, want %s", got, want)
	}
	f := r.gw.Status().Funnel
	if f["default"]["held.no_token"] != 1 || f["also"]["held.opted_out"] != 1 || f["only"]["held.opted_out"] != 1 {
		t.Errorf("held: %v", f)
	}
	if n := r.states()[outbox.StateAccepted]; n != 5 || len(apps.pushes()) != asked+3 {
		t.Errorf("%d accepted, want 5, after %d more words to apps, want 3", n, len(apps.pushes())-asked)
	}
	for range hereWords {
		here("eager")
	}
	if text := here("eager"); !strings.Contains(text, `"busy":true,"retry_ms":`) || r.gw.Status().Stats.Dropped["flood"] != 1 {
		t.Errorf("one too many: %s, dropped %v", text, r.gw.Status().Stats.Dropped)
	}
	if m, err := r.nc.Request("here.sh%op.d1", nil, patience); err != nil || !strings.Contains(string(m.Data), "bad_subject") {
		t.Errorf("no token: %v, %v", m, err)
	}
}

// TestInAppNeedsAChannel: without one, a campaign that is for apps holds its push with a reason.
func TestInAppNeedsAChannel(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.Replace(testCampaign, "      ttl: 15m\n", "      ttl: 15m\n      in_app: only\n", 1)
	r.start()
	defer r.halt()
	r.register("d1")
	r.enter("d1", noon)
	r.await("the hold", func() bool { return r.gw.Status().Funnel["welcome"]["held.no_token"] == 1 })
	if n := len(r.provider.pushes()); n != 0 {
		t.Errorf("%d pushes", n)
	}
}
