package inapp_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/push"
	"footfall/push/inapp"
)

// device answers on down; nil: nobody there. hang: it has the message and does not answer.
type device struct {
	mu     sync.Mutex
	answer []byte
	hang   bool
	asked  int
}

func (d *device) Request(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	d.mu.Lock()
	d.asked++
	answer, hang := d.answer, d.hang
	d.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if answer == nil {
		return nil, inapp.ErrNoResponder
	}
	return answer, nil
}

// service is a push service that says the same each time.
type service struct {
	mu     sync.Mutex
	say    push.Outcome
	sent   []push.Notification
	closed bool
}

func (s *service) Name() string { return "service" }
func (s *service) Close() error { s.closed = true; return nil }
func (s *service) Send(_ context.Context, n *push.Notification) push.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, *n)
	return s.say
}

func first(t *testing.T, d *device, s *service, wait time.Duration) *inapp.First {
	t.Helper()
	p, err := inapp.New(inapp.Config{Requester: d, Timeout: wait})
	if err != nil {
		t.Fatal(err)
	}
	f := inapp.NewFirst(p, s)
	t.Cleanup(func() {
		if err := f.Close(); err != nil || !s.closed {
			t.Errorf("close: %v, the push service closed %v", err, s.closed)
		}
	})
	return f
}

func TestInAppBeforePush(t *testing.T) {
	accepted := push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	dead := push.Outcome{Class: push.TokenDead, Status: 410, Sent: true}
	for _, tt := range []struct {
		name    string
		answer  string
		hang    bool
		service push.Outcome
		class   push.Class
		pushes  int
		doubt   bool
		reason  string
	}{
		{name: "shown in the app", answer: `{"ok":true}`, service: accepted, class: push.Accepted, reason: inapp.ReasonInApp},
		{name: "not connected", service: accepted, class: push.Accepted, pushes: 1},
		{name: "in the background", answer: `{"ok":false,"error":"not_shown"}`, service: accepted, class: push.Accepted, pushes: 1},
		{name: "busy", answer: `{"ok":false,"error":"busy","retry_ms":9000}`, service: accepted, class: push.Accepted, pushes: 1},
		{name: "another installation", answer: `{"ok":false,"error":"gone"}`, service: accepted, class: push.TokenDead, reason: "gone"},
		{name: "no answer, then pushed", hang: true, service: accepted, class: push.Accepted, pushes: 1, doubt: true},
		{name: "no answer, and the push is refused", hang: true, service: dead, class: push.TokenDead, pushes: 1, doubt: true},
		{name: "an answer that is none, and the push is refused", answer: `yes`, service: dead, class: push.TokenDead, pushes: 1, doubt: true},
		{name: "not connected, and the push is refused", service: dead, class: push.TokenDead, pushes: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, s := &device{hang: tt.hang}, &service{say: tt.service}
			if tt.answer != "" {
				d.answer = []byte(tt.answer)
			}
			f := first(t, d, s, 20*time.Millisecond)
			n := &push.Notification{MID: "m", App: "shop", Device: "d1", Token: "t", Title: "Hi", ExpiresAt: time.Now().Add(time.Minute)}
			o := f.Send(t.Context(), n)
			if o.Class != tt.class || len(s.sent) != tt.pushes || o.Doubt != tt.doubt || o.Reason != tt.reason {
				t.Errorf("%+v after %d pushes", o, len(s.sent))
			}
			if tt.pushes == 1 && s.sent[0].MID != n.MID {
				t.Errorf("the push has the id %s", s.sent[0].MID)
			}
		})
	}
}

// A message that is about to lose its worth is not held up.
func TestNoTimeToAskFirst(t *testing.T) {
	d, s := &device{answer: []byte(`{"ok":true}`)}, &service{say: push.Outcome{Class: push.Accepted}}
	f := first(t, d, s, time.Minute)
	n := push.Notification{MID: "m", App: "shop", Device: "d1", Title: "Hi", ExpiresAt: time.Now().Add(90 * time.Second)}
	f.Send(t.Context(), &n)
	n.ExpiresAt = time.Now().Add(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	f.Send(ctx, &n)
	if d.asked != 0 || len(s.sent) != 2 {
		t.Errorf("asked %d times, %d pushes", d.asked, len(s.sent))
	}
}

// Devices that do not answer do not hold up those behind them without end.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &device{hang: true}, &service{say: push.Outcome{Class: push.Accepted}}
		f := first(t, d, s, time.Minute)
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				f.Send(t.Context(), &push.Notification{MID: "m", App: "shop", Device: "d1", Title: "Hi", ExpiresAt: time.Now().Add(time.Hour)})
			})
		}
		synctest.Wait() // all but those that wait for a device have been pushed
		s.mu.Lock()
		pushed := len(s.sent)
		s.mu.Unlock()
		if d.asked != 64 || pushed != 500-64 {
			t.Errorf("%d devices were asked, %d pushed, want 64 and the rest", d.asked, pushed)
		}
		wg.Wait()
		if len(s.sent) != 500 {
			t.Errorf("%d pushes in the end, want 500", len(s.sent))
		}
	})
}
