package stream

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/journey"
	"footfall/outbox"
	"footfall/push"
	"footfall/push/webhook"
)

// receiver is a system that a journey calls. It checks what it gets as its owner would.
type receiver struct {
	*httptest.Server
	secret webhook.Secret
	mu     sync.Mutex
	got    []string        // id and body
	status func(n int) int // of the n-th request
}

func newReceiver(t *testing.T, text string, status func(n int) int) *receiver {
	t.Helper()
	secret, err := webhook.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{secret: secret, status: status}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(http.MaxBytesReader(w, q.Body, 64<<10))
		id, err := webhook.Verify([]webhook.Secret{r.secret}, q.Header, body, noonOf(q))
		if err != nil || !json.Valid(body) {
			t.Errorf("a request that its receiver would refuse: %v, %s", err, body)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, id+" "+string(body))
		code := r.status(len(r.got))
		w.WriteHeader(code)
		if code == http.StatusUnprocessableEntity {
			_, _ = io.WriteString(w, `{"error":{"class":"token_dead","reason":"no such customer"}}`)
		}
	}))
	t.Cleanup(r.Server.Close)
	return r
}

// noonOf is the time of the request: the gateway's clock is the test's.
func noonOf(q *http.Request) time.Time {
	var sec int64
	_ = json.Unmarshal([]byte(q.Header.Get("Webhook-Timestamp")), &sec)
	return time.Unix(sec, 0)
}

func (r *receiver) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

const callingJourney = `journey: calls
zone: Europe/Kyiv
entry: {event: product_view}
window: {to: never}
reentry: never
steps:
  - id: ask
    webhook:
      to: crm
      ttl: 1h
      body: {user: "{{ person.id }}", device: "{{ device.id }}", category: "{{ entry.category }}", tag: "{{ tags.loyalty }}", id: "{{ message.id }}"}
      delivered: [{tag: {asked: yes}}]
      failed: [{tag: {asked: no}}]
  - wait: 1d
  - webhook: till
`

// TestJourneyCalls: a webhook step calls once in effect: signed, with what its body says, tried again with the same body
// until it is taken, through a restart; the run that waits takes the branch of the outcome; an operator sends it again; a
// stop cancels what is owed and lists what has been taken; none of it is a push.
func TestJourneyCalls(t *testing.T) {
	secret := webhook.NewSecret()
	crm := newReceiver(t, secret, func(n int) int {
		switch n {
		case 1:
			return http.StatusInternalServerError
		case 3:
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	r := newRig(t)
	r.yaml = callingJourney
	open := true // the system is there
	r.tune = func(c *Config) {
		p, err := webhook.New(webhook.Config{URL: crm.URL, Secrets: []string{secret}, Now: r.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		c.Providers[CallLane("crm")], c.Providers[CallLane("till")] = p, p
		if !open {
			c.Providers[CallLane("crm")] = &recorder{say: func(*push.Notification) push.Outcome { return push.Outcome{Class: push.Retry, Status: 503, Sent: true} }}
		}
	}
	r.start()
	r.mustAsk("device.shop.a", map[string]any{"user": "u-a", "platform": "ios", "token": strings.Repeat("a", 64), "tags": map[string]any{"loyalty": "gold"}, "consent": map[string]any{"push": false}})
	r.event("a", "v1", "product_view", "phones")
	r.settle()
	r.await("the first attempt", func() bool { return len(crm.requests()) == 1 })
	r.awaitCounts("calls", map[string]int64{"entered": 1, "step.ask.called": 1})
	r.halt()
	r.clock.set(noon.Add(5 * time.Minute))
	r.start()
	r.awaitCounts("calls", map[string]int64{"call.ask.accepted": 1, "step.ask.delivered": 1})
	got := crm.requests()
	if len(got) != 2 || got[0] != got[1] {
		t.Fatalf("the second attempt is another request: %q", got)
	}
	id, _, _ := strings.Cut(got[0], " ")
	if want := id + ` {"user":"u-a","device":"shop.a","category":"phones","tag":"gold","id":"` + id + `"}`; got[0] != want {
		t.Errorf("called with %s\nwant %s", got[0], want)
	}
	if v := r.show("calls", "shop.a"); v.Run == nil || v.Run.At != "2" {
		t.Errorf("a is at %+v", v.Run)
	}
	r.event("b", "v2", "product_view", "cases")
	r.settle()
	r.awaitCounts("calls", map[string]int64{"call.ask.failed": 1, "step.ask.failed": 1})
	e, err := r.gw.Explain(t.Context(), "shop.b", 0, 0)
	if err != nil || len(e.Decisions) != 1 || e.Decisions[0].Campaigns[0].Call != "crm" {
		t.Fatalf("explain: %+v %v", e, err)
	}
	mid := e.Decisions[0].Campaigns[0].MID
	if d := e.Deliveries[mid]; d.State != outbox.StateFailed || d.Reason != "refused: no such customer" {
		t.Errorf("explain says the call is %+v", d)
	}
	done, err := RetryDeliveries(t.Context(), r.db, OutboxOrder{MIDs: []string{mid}})
	if err != nil || len(done.Done) != 1 {
		t.Fatalf("sent again: %+v %v", done, err)
	}
	r.gw.outbox.Notify()
	r.awaitCounts("calls", map[string]int64{"call.ask.failed": 0, "call.ask.accepted": 2, "step.ask.failed": 1})
	r.halt()

	open = false
	r.clock.set(noon.Add(10 * time.Minute))
	r.start()
	defer r.halt()
	r.event("c", "v3", "product_view", "phones")
	r.settle()
	r.awaitCounts("calls", map[string]int64{"entered": 3})
	a, err := r.gw.StopJourney(t.Context(), "calls")
	if err != nil || a.Cancelled != 1 || a.Ended != 3 || len(a.GoneCalls) != 2 || len(a.Gone) != 0 {
		t.Errorf("stop: %+v %v", a, err)
	}
	r.awaitCounts("calls", map[string]int64{"call.ask.cancelled": 1, "ended.stopped": 3})
	if n := len(crm.requests()); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	if f := r.gw.Status().Funnel["calls"]; len(f) != 0 {
		t.Errorf("calls are counted as pushes: %v", f)
	}
	js, err := journey.Parse("test.yaml", []byte(strings.ReplaceAll(callingJourney, "to: crm", "to: crn")))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.gw.SetJourneys(t.Context(), js); err == nil || !strings.Contains(err.Error(), `journey calls calls "crn", which the configuration does not know`) {
		t.Errorf("a system that nothing serves: %v", err)
	}
}
