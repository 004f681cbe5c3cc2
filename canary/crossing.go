package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/fences"
	"footfall/stream/wire"
	"footfall/track"
)

// crossing is one walk under way.
type crossing struct {
	w      *Walkers
	walk   *walk
	began  time.Time
	box    chan event
	faults []Fault
	// How long the transitions took; 0: they did not come.
	enter, exit time.Duration
}

func (c *crossing) fault(f Fault) {
	f.Fence, f.Name = c.walk.fence.ID, c.walk.fence.Name
	c.faults = append(c.faults, f)
}

// run walks across the fence and waits for its transitions.
func (c *crossing) run(ctx context.Context) {
	if c.walk.cannot != "" {
		c.fault(Fault{What: "unwalkable", Detail: c.walk.cannot})
		return
	}
	if !c.rested(ctx) {
		return
	}
	w := c.w
	c.box = make(chan event, mailbox)
	w.mu.Lock()
	w.boxes[c.walk.device] = c.box
	w.mu.Unlock()
	c.began = time.Now()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.boxes, c.walk.device)
		w.ended[c.walk.device] = c.began
	}()
	if !c.send(ctx, legArrive) {
		return
	}
	sent := time.Now()
	if !c.send(ctx, legEnter) {
		return
	}
	c.enter = c.await(ctx, track.Enter, sent)
	sent = time.Now()
	if !c.send(ctx, legExit) || c.enter == 0 { // who did not come in does not leave; but nobody stays inside until the next round
		return
	}
	c.exit = c.await(ctx, track.Exit, sent)
}

// rested waits until the walker's last walk is over in event time. The gateway remembers it from before this process began.
func (c *crossing) rested(ctx context.Context) bool {
	w := c.w
	w.mu.Lock()
	last, known := w.ended[c.walk.device]
	w.mu.Unlock()
	if !known {
		if x, err := w.explain(c.walk.device); err == nil && x.Live != nil {
			last = time.Now().Add(-time.Duration(x.Now-x.Live.LastFixAt) * time.Millisecond) // by our own clock
		}
	}
	wait := time.Until(last.Add(c.walk.span + time.Second))
	if wait > longestRest {
		c.fault(Fault{What: "too_soon", Detail: fmt.Sprintf("the last walk ended less than %v ago, which one takes by the fence's min_stay and min_away; it can be crossed again in %v", c.walk.span.Round(time.Second), wait.Round(time.Second))})
		return false
	}
	return wait <= 0 || pause(ctx, wait)
}

// ping is a position as it is sent: with its age, so that the clocks need not agree.
type ping struct {
	AgeMS int64   `json:"age_ms"`
	Lat   float64 `json:"lat"`
	Lon   float64 `json:"lon"`
	Acc   float64 `json:"acc"`
}

// pings are the positions of a leg, sent so long after the walk began. Between them are the times that were planned, to the
// millisecond: a wait that is short by one, as when each asks the clock for itself, is a wait that is not over.
func (w *walk) pings(leg int, since time.Duration) []ping {
	var pings []ping
	for _, s := range w.legs[leg] {
		age := (w.span - s.after).Milliseconds() + since.Milliseconds()
		pings = append(pings, ping{age, s.at.Lat, s.at.Lng, w.accuracyM})
	}
	return pings
}

// send sends one leg until the gateway has stored it. It is false, with the fault noted, when that could not be.
func (c *crossing) send(ctx context.Context, leg int) bool {
	subject := wire.DeviceSubject(wire.ClassPing, track.DeviceID(c.w.config.App+"."+c.walk.device))
	until := time.Now().Add(2 * c.w.config.Deadline)
	for {
		data, err := json.Marshal(c.walk.pings(leg, time.Since(c.began)))
		if err != nil {
			c.fault(Fault{What: "unsent", Detail: err.Error()})
			return false
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		m, err := c.w.nc.RequestWithContext(try, subject, data)
		cancel()
		if ctx.Err() != nil {
			return false
		}
		var answer wire.Reply
		wait := time.Second
		if err == nil {
			err = json.Unmarshal(m.Data, &answer)
		}
		switch {
		case err != nil:
		case answer.OK:
			return true
		case answer.Error != nil:
			c.fault(Fault{What: "refused", Code: string(answer.Error.Code), Detail: answer.Error.Reason})
			return false
		default:
			err, wait = errors.New("the gateway is busy"), max(time.Duration(answer.RetryMS)*time.Millisecond, 10*time.Millisecond)
		}
		if errors.Is(err, nats.ErrNoResponders) {
			err = errors.New("no Footfall gateway is connected to the NATS server")
		}
		if time.Now().Add(wait).After(until) {
			c.fault(Fault{What: "unsent", Detail: fmt.Sprintf("not stored within %v: %v", 2*c.w.config.Deadline, err)})
			return false
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

// await waits for a transition of the walk's fence and returns how long after sent it came; 0: it did not.
func (c *crossing) await(ctx context.Context, kind track.Kind, sent time.Time) time.Duration {
	deadline := c.w.config.Deadline
	end := time.NewTimer(time.Until(sent.Add(2 * deadline)))
	defer end.Stop()
	for {
		select {
		case ev := <-c.box:
			if time.UnixMilli(ev.ReceivedAt).Before(c.began.Add(-clockSkew)) {
				continue // of an earlier walk
			}
			own := ev.Fence == string(c.walk.fence.ID)
			if ev.Kind == track.Enter.String() && !own && !c.walk.enters[fences.ID(ev.Fence)] {
				c.fault(Fault{What: "wrong", Transition: ev.Kind, Detail: fmt.Sprintf("it entered %s, which is not there", ev.Fence)})
			}
			if !own || ev.Kind != kind.String() {
				continue
			}
			took := max(ev.came.Sub(sent), 1)
			if took > deadline {
				c.fault(Fault{What: "late", Transition: ev.Kind, TookMS: took.Milliseconds()})
			}
			return took
		case <-end.C:
			c.fault(Fault{What: "missing", Transition: kind.String(), TookMS: (2 * deadline).Milliseconds()})
			return 0
		case <-ctx.Done():
			return 0
		}
	}
}

// pause waits, and is false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
