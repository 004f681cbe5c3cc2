package footfall

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// vectors is docs/protocol/outbox-vectors.json, which every client runs.
type vectors struct {
	Outbox []struct {
		Name   string
		Limits struct {
			Items     int
			PingAgeMS int64 `json:"ping_age_ms"`
			AgeMS     int64 `json:"age_ms"`
		}
		Repeat struct {
			Class   string
			Payload json.RawMessage
			Times   int
		}
		Steps []struct {
			Add *struct {
				Class   string
				At      int64
				Payload json.RawMessage
			}
			Send   json.RawMessage
			Answer json.RawMessage
			Now    int64
			Expect *struct {
				Queued           *int
				Dropped, Refused *int64
				WaitMS           []int64 `json:"wait_ms"`
			}
		}
	}
	Tags []struct {
		Name             string
		Set              map[string]any
		Subject, Payload string
	}
	Opens []struct {
		Name             string
		Now              int64
		Subject, Payload string
	}
	Messages []struct {
		Name     string
		Now      int64
		Before   []string
		Payload  string
		Shown    bool
		Answer   *string
		Receipts []string
	}
}

func loadVectors(t *testing.T) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("../../docs/protocol/outbox-vectors.json")
	if err != nil {
		t.Skip("not in the gateway's repository: ", err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Outbox) < 10 || len(v.Messages) < 5 {
		t.Fatalf("%d and %d cases", len(v.Outbox), len(v.Messages))
	}
	return v
}

func TestTagVectors(t *testing.T) {
	list := loadVectors(t).Tags
	if len(list) < 2 {
		t.Fatalf("%d cases", len(list))
	}
	for _, c := range list {
		client := &Client{cfg: Config{Store: memory{}}, now: time.Now, wake: make(chan struct{}, 1), queue: newQueue("shop", "d1", Limits{}, nil)}
		if err := client.SetTags(c.Set); err != nil {
			t.Fatal(err)
		}
		if subject, payload, ok := client.queue.request(); !ok || subject != c.Subject || string(payload) != c.Payload {
			t.Errorf("%s: %s %s, want %s %s", c.Name, subject, payload, c.Subject, c.Payload)
		}
	}
}

func TestOpenVectors(t *testing.T) {
	list := loadVectors(t).Opens
	if len(list) < 1 {
		t.Fatal("no cases")
	}
	for _, c := range list {
		client := &Client{cfg: Config{Store: memory{}}, now: func() time.Time { return time.UnixMilli(c.Now) }, wake: make(chan struct{}, 1), queue: newQueue("shop", "d1", Limits{}, nil)}
		if err := client.AppOpened(); err != nil {
			t.Fatal(err)
		}
		if subject, payload, ok := client.queue.request(); !ok || subject != c.Subject || string(payload) != c.Payload {
			t.Errorf("%s: %s %s, want %s %s", c.Name, subject, payload, c.Subject, c.Payload)
		}
	}
}

func TestOutboxVectors(t *testing.T) {
	for _, c := range loadVectors(t).Outbox {
		t.Run(c.Name, func(t *testing.T) {
			q := newQueue("shop", "d1", Limits{
				Items: c.Limits.Items, PingAge: time.Duration(c.Limits.PingAgeMS) * time.Millisecond, Age: time.Duration(c.Limits.AgeMS) * time.Millisecond,
			}, nil)
			add := func(class string, payload json.RawMessage, at int64) {
				text, err := compact(payload)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := q.add(class, text, at); err != nil {
					t.Fatal(err)
				}
			}
			for range c.Repeat.Times {
				add(c.Repeat.Class, c.Repeat.Payload, 0)
			}
			for i, s := range c.Steps {
				var low, high time.Duration
				switch {
				case s.Add != nil:
					add(s.Add.Class, s.Add.Payload, s.Add.At)
				case s.Send != nil:
					var want struct {
						Subject, Payload string
						Pings            int
					}
					if err := json.Unmarshal(s.Send, &want); err != nil {
						t.Fatal(err)
					}
					subject, payload, ok := q.request()
					var pings []json.RawMessage
					if want.Pings > 0 && json.Unmarshal(payload, &pings) == nil && len(pings) == want.Pings && len(payload) <= maxBatch {
						want.Payload = string(payload)
					}
					if ok != (string(s.Send) != "null") || subject != want.Subject || string(payload) != want.Payload {
						t.Fatalf("step %d: %s %.200s (%d pings), want %s", i, subject, payload, len(pings), s.Send)
					}
				case s.Answer != nil:
					var text *string
					if err := json.Unmarshal(s.Answer, &text); err != nil {
						t.Fatal(err)
					}
					var data []byte
					if text != nil {
						data = []byte(*text)
					}
					probe := *q
					probe.items, probe.sent = slices.Clone(q.items), slices.Clone(q.sent)
					_, low, _ = probe.answer(data, 0)
					_, high, _ = q.answer(data, 1)
				case s.Now != 0:
					q.expire(s.Now)
				}
				e := s.Expect
				if e == nil {
					continue
				}
				if e.Queued != nil && len(q.items) != *e.Queued || e.Dropped != nil && q.dropped != *e.Dropped || e.Refused != nil && q.refused != *e.Refused {
					t.Errorf("step %d: %d queued, %d dropped, %d refused", i, len(q.items), q.dropped, q.refused)
				}
				if w := e.WaitMS; w != nil && (low.Milliseconds() != w[0] || high.Milliseconds() != w[1]) {
					t.Errorf("step %d: waits %v to %v, want %v ms", i, low, high, w)
				}
			}
		})
	}
}

func TestMessageVectors(t *testing.T) {
	for _, v := range loadVectors(t).Messages {
		t.Run(v.Name, func(t *testing.T) {
			c := &Client{
				cfg: Config{
					Store: memory{}, Logger: slog.New(slog.DiscardHandler),
					OnMessage: func(Message) bool { return v.Shown },
				},
				queue: newQueue("shop", "d1", Limits{}, nil), shown: v.Before, wake: make(chan struct{}, 1),
				now: func() time.Time { return time.UnixMilli(v.Now) },
			}
			msg, ok := parseMessage([]byte(v.Payload))
			if ok != (v.Answer != nil) {
				t.Fatalf("answered: %v", ok)
			}
			if !ok {
				return
			}
			if got := string(c.present(msg)); got != *v.Answer {
				t.Errorf("answered %s, want %s", got, *v.Answer)
			}
			var evs []string
			for _, it := range c.queue.items {
				var r wireReceipt
				if err := json.Unmarshal(it.Payload, &r); err != nil || r.MID != msg.MID || r.Key != msg.Key {
					t.Errorf("receipt %s: %v", it.Payload, err)
				}
				evs = append(evs, r.Ev)
			}
			if strings.Join(evs, " ") != strings.Join(v.Receipts, " ") {
				t.Errorf("receipts %v, want %v", evs, v.Receipts)
			}
			if show, err := c.Show(msg.Push); err != nil || show != (*v.Answer != `{"ok":true}`) {
				t.Errorf("a push of the same message is shown: %v, %v", show, err)
			}
		})
	}
}
