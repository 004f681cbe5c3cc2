package inapp

import (
	"context"
	"testing"

	"footfall/push"
)

// accepts is a push service that costs nothing.
type accepts struct{}

func (accepts) Name() string { return "accepts" }
func (accepts) Close() error { return nil }
func (accepts) Send(context.Context, *push.Notification) push.Outcome {
	return push.Outcome{Class: push.Accepted, Sent: true}
}

// BenchmarkFirstNotConnected is what asking the app first costs a push to a phone in a pocket: one look at the
// subscriptions of the NATS server, in the same process, from 64 senders at a time.
func BenchmarkFirstNotConnected(b *testing.B) {
	connect := startNATS(b)
	app, err := New(Config{Requester: requester{connect()}})
	if err != nil {
		b.Fatal(err)
	}
	f := NewFirst(app, accepts{})
	defer f.Close()
	n := example()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o := f.Send(context.Background(), &n); o.Class != push.Accepted || o.Reason == ReasonInApp {
				b.Errorf("%+v", o)
				return
			}
		}
	})
}
