package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// library is the intake from an external server, through the client library. All subscriptions feed one channel,
// which keeps the order of a connection's messages over its subjects.
type library struct {
	nc       *nats.Conn
	subjects []string
	queue    string
	now      func() time.Time

	arrived chan *nats.Msg
	subs    []*nats.Subscription
	dropped int // by the library, already counted
}

const (
	// libraryRoom is the room between the client library and the door. The library drops what finds it full, unseen
	// and unanswered, so it covers the time in which the door may not get a processor: some 30 ms of small messages at
	// full speed.
	libraryRoom = 1 << 15
	// libraryBurst is how many messages go to the decoder together.
	libraryBurst = 256
)

func (l *library) run(ctx context.Context, c *collector, ready func()) error {
	for _, s := range l.subjects {
		sub, err := l.nc.ChanQueueSubscribe(s, l.queue, l.arrived)
		if err != nil {
			return fmt.Errorf("stream: subscribe to %s: %w", s, err)
		}
		l.subs = append(l.subs, sub)
	}
	if err := l.nc.FlushTimeout(10 * time.Second); err != nil {
		return fmt.Errorf("stream: subscribe: %w", err)
	}
	ready()
	// burst passes on m and what else has arrived.
	burst := func(m *nats.Msg) {
		c.look()
		atUS := l.now().UnixMicro()
		n := int64(1)
		for ; ; n++ {
			c.let(atUS, m.Subject, m.Reply, m.Data)
			if n == libraryBurst || len(l.arrived) == 0 {
				break
			}
			m = <-l.arrived
		}
		c.count.messages.Add(n)
		c.door.knock()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case m := <-l.arrived:
			burst(m)
		case <-tick.C:
			l.countDrops(c)
		case <-ctx.Done():
		}
	}
	for _, s := range l.subs {
		_ = s.Unsubscribe()
	}
	_ = l.nc.FlushTimeout(time.Second)
	for len(l.arrived) > 0 {
		burst(<-l.arrived)
	}
	l.countDrops(c)
	return nil
}

// countDrops adds what the client library had to throw away because its channel was full.
func (l *library) countDrops(c *collector) {
	total := 0
	for _, s := range l.subs {
		if n, err := s.Dropped(); err == nil {
			total += n
		}
	}
	if n := total - l.dropped; n > 0 {
		c.count.dropped.add("inbox_full", int64(n))
		c.log.Warn("input dropped: the collector's queue was full", "messages", n)
	}
	l.dropped = max(total, l.dropped)
}

func (l *library) sync(ctx context.Context) error {
	if err := l.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	for len(l.arrived) > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
