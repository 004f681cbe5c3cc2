package inapp_test

import (
	"testing"
	"time"

	"footfall/push"
	"footfall/push/inapp"
)

// TestOnly: an app that is not there, not looked at or silent is away, which spends no attempt and says nothing about the lane.
func TestOnly(t *testing.T) {
	d := &device{}
	app, err := inapp.New(inapp.Config{Requester: d, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p := inapp.NewOnly(app)
	n := push.Notification{MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "d1", Title: "t", ExpiresAt: time.Now().Add(time.Minute)}
	for _, tt := range []struct {
		answer string
		want   push.Outcome
	}{
		{"", push.Outcome{Class: push.Away, Reason: "not connected"}},
		{`{"ok":false,"error":"not_shown"}`, push.Outcome{Class: push.Away, Reason: "not_shown", Sent: true}},
		{`{"ok":false,"error":"busy","retry_ms":7000}`, push.Outcome{Class: push.RetryNow, Reason: "busy", RetryAfter: 7 * time.Second, Sent: true}},
		{`{"ok":false,"error":"busy"}`, push.Outcome{Class: push.RetryNow, Reason: "busy", RetryAfter: 2 * time.Second, Sent: true}},
		{`{"ok":false,"error":"gone"}`, push.Outcome{Class: push.TokenDead, Reason: "gone", Sent: true}},
		{`{"ok":false,"error":"no idea"}`, push.Outcome{Class: push.Bug, Reason: "no idea", Sent: true}},
		{`{"ok":true}`, push.Outcome{Class: push.Accepted, Reason: inapp.ReasonInApp, ProviderID: n.MID, Sent: true}},
	} {
		d.answer = []byte(tt.answer)
		if tt.answer == "" {
			d.answer = nil
		}
		if got := p.Send(t.Context(), &n); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.answer, got, tt.want)
		}
	}
	d.hang = true
	if got := p.Send(t.Context(), &n); got.Class != push.Away || !got.Doubt || !got.Sent {
		t.Errorf("no answer: %+v", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := p.Send(t.Context(), &n); got.Class != push.RetryNow || got.Sent {
		t.Errorf("closed: %+v", got)
	}
}
