// Package canary sends walkers across the fences of a running gateway, as phones would go, and says which of them the gateway does not
// see enter and exit in time.
//
// A walk is planned by the gateway's own rules, so that whoever walks it must be seen: clearly outside, inside, and clearly outside again,
// for as long each time as the fence's waits ask for. It is walked in event time: the positions are sent at once, with their age. The
// walkers are devices of apps that a gateway counts nowhere (stream.CanaryApp).
package canary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/fences"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// Config says who walks where. Errors name the flags of footfall canary, by which it is given.
type Config struct {
	// Load reads the fences, before each round; Path is what errors call the place they come from.
	Load func() (*fences.Set, error)
	Path string
	Only []fences.ID // of them; all when empty

	Rules     track.Rules // the gateway's, as are the positions that it takes
	Positions stream.Positions

	App       string        // of the walkers; see stream.IsCanaryApp
	Every     time.Duration // between the beginnings of rounds; 0: there is one round
	PerSecond float64       // fences begun a second, above 0
	Deadline  time.Duration // how long after its ping a transition is late; after twice as long it is missing

	// Ask asks the gateway one of the questions of package stream.
	Ask func(subject string, request, answer any, patience time.Duration) error
}

const (
	// atOnce bounds the walks under way: as many as wait for late transitions when many are late.
	atOnce = 256
	// mailbox is how many transitions of one walk may wait to be looked at: many fences may lie on one another.
	mailbox = 256
	// clockSkew is how far the gateway's clock may be behind ours before a transition counts as one of an earlier walk.
	clockSkew = 5 * time.Minute
	// longestRest is how long a walker that walked a moment ago is waited for.
	longestRest = 30 * time.Second
	// faultsAsked is of how many faults of a round the gateway is asked for a reason.
	faultsAsked = 20
)

// Walkers are what stays from round to round: what is planned, and when each walker walked last.
type Walkers struct {
	config Config
	nc     *nats.Conn

	revision string // of the fences that walks is planned for
	walks    []walk

	mu    sync.Mutex
	boxes map[string]chan event // by device, of the walks under way
	ended map[string]time.Time  // by device: the time of its last position
}

// event is a transition that came out, and when.
type event struct {
	stream.TransitionEvent
	came time.Time
}

// New returns walkers that speak to a gateway over nc, which stays the caller's, and listens to what comes out about them.
func New(nc *nats.Conn, c Config) (*Walkers, error) {
	w := &Walkers{config: c, nc: nc, boxes: map[string]chan event{}, ended: map[string]time.Time{}}
	return w, w.listen()
}

// Run walks a round every Config.Every and hands each report on, until ctx ends, which is no error, or report returns one. Before the
// first round it returns what makes rounds impossible.
func (w *Walkers) Run(ctx context.Context, report func(*Report) error) error {
	every := w.config.Every
	for next := time.Now(); ; {
		r, err := w.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = report(r)
		}
		if err != nil {
			return err
		}
		for next = next.Add(every); time.Until(next) < 0; { // a round that took longer
			next = next.Add(every)
		}
		if !pause(ctx, time.Until(next)) {
			return nil
		}
	}
}

// listen subscribes to what comes out about the walkers.
func (w *Walkers) listen() error {
	subject := wire.TransitionSubject(w.config.App, "*", "")
	subject = strings.TrimSuffix(subject, wire.EncodeID("")) + "*"
	_, err := w.nc.Subscribe(subject, func(m *nats.Msg) {
		ev := event{came: time.Now()}
		if json.Unmarshal(m.Data, &ev.TransitionEvent) != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		select {
		case w.boxes[ev.Device] <- ev:
		default: // nobody waits for it, or many fences lie on one another and the box is full
		}
	})
	if err == nil {
		err = w.nc.FlushTimeout(5 * time.Second)
	}
	if err == nil {
		err = w.nc.LastError()
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("the token may not subscribe %s, where transitions come out; give the one of the gateway's nats.token_file", subject)
	}
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return nil
}

// prepare reads the fences and plans the walks, unless they are the same as before.
func (w *Walkers) prepare() error {
	set, err := w.config.Load()
	if err != nil {
		return err
	}
	if set.Revision() == w.revision {
		return nil
	}
	var chosen []*fences.Fence
	for i := range set.Len() {
		chosen = append(chosen, set.At(int32(i)))
	}
	if len(w.config.Only) > 0 {
		chosen = nil
		for _, id := range w.config.Only {
			f, ok := set.Lookup(id)
			if !ok {
				return fmt.Errorf("--fence: %s has no fence %q", w.config.Path, id)
			}
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("%s has no fences", w.config.Path)
	}
	plan := newPlanner(set, w.config.Rules, w.config.Positions)
	walks := make([]walk, 0, len(chosen))
	longest := 0
	for _, f := range chosen {
		walks = append(walks, plan.plan(f))
		if n := len(walks) - 1; walks[n].span > walks[longest].span {
			longest = n
		}
	}
	if every := w.config.Every; every > 0 {
		if l := &walks[longest]; l.span >= every {
			return fmt.Errorf("--every %v is too short: a walk across %s takes %v by its min_stay and min_away; make it longer, or leave the fence out with --fence", every, l.fence.ID, l.span.Round(time.Second))
		}
		if need := time.Duration(float64(len(walks)) / w.config.PerSecond * float64(time.Second)); need >= every {
			return fmt.Errorf("--every %v is too short for %d fences at %v a second; raise --per-second", every, len(walks), w.config.PerSecond)
		}
	}
	w.walks, w.revision = walks, set.Revision()
	known := map[string]bool{}
	for i := range walks {
		known[walks[i].device] = true
	}
	for device := range w.ended {
		if !known[device] {
			delete(w.ended, device)
		}
	}
	return nil
}

// Round crosses every fence once. Before the first round an error is one to end with; later it becomes a fault, and the walks that
// were planned before are walked.
func (w *Walkers) Round(ctx context.Context) (*Report, error) {
	began := time.Now()
	r := &Report{At: began.UTC().Truncate(time.Millisecond), Faults: []Fault{}}
	first := w.walks == nil
	if err := w.prepare(); err != nil {
		if first {
			return nil, err
		}
		r.Faults = append(r.Faults, Fault{What: "fences", Detail: err.Error() + "; those of the round before are crossed"})
	}
	r.Fences = len(w.walks)
	var has stream.Status
	if err := w.config.Ask(stream.StatsSubject, struct{}{}, &has, 5*time.Second); err != nil {
		if first {
			return nil, err
		}
		r.Faults = append(r.Faults, Fault{What: "unreachable", Detail: err.Error()})
		return r, nil
	}
	reconnects := w.nc.Stats().Reconnects
	var wg sync.WaitGroup
	var mu sync.Mutex
	room := make(chan struct{}, atOnce)
	pace := time.NewTicker(max(time.Duration(float64(time.Second)/w.config.PerSecond), 1))
	defer pace.Stop()
	for i := range w.walks {
		if i > 0 {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			c := crossing{w: w, walk: &w.walks[i]}
			c.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			if len(c.faults) == 0 {
				r.Crossed++
			}
			r.Faults = append(r.Faults, c.faults...)
			for _, x := range []struct {
				took time.Duration
				of   *Times
			}{{c.enter, &r.Enter}, {c.exit, &r.Exit}} {
				if x.took > 0 {
					x.of.all = append(x.of.all, x.took)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	slices.SortStableFunc(r.Faults, func(a, b Fault) int { return cmp.Compare(a.Fence, b.Fence) })
	w.reasons(r.Faults)
	if len(r.Faults) > 0 && has.FencesRev != w.revision {
		r.Faults = append(r.Faults, Fault{What: "fences", Detail: fmt.Sprintf("the gateway has other fences, or reads them with other settings: %d of revision %s, and %s is revision %s", has.Fences, has.FencesRev, w.config.Path, w.revision)})
	}
	if n := w.nc.Stats().Reconnects - reconnects; n > 0 && len(r.Faults) > 0 {
		r.Faults = append(r.Faults, Fault{What: "unreachable", Detail: fmt.Sprintf("the connection was lost %d times meanwhile; transitions may have come that nobody heard", n)})
	}
	r.Enter.sum()
	r.Exit.sum()
	r.TookMS = time.Since(began).Milliseconds()
	return r, nil
}

// reasons asks the gateway what it knows of walkers whose transitions are missing.
func (w *Walkers) reasons(faults []Fault) {
	asked := 0
	for i := range faults {
		f := &faults[i]
		if f.What != "missing" || asked == faultsAsked {
			continue
		}
		asked++
		device := deviceOf(f.Fence)
		x, err := w.explain(device)
		switch {
		case err != nil:
			f.Detail = "the gateway says: " + err.Error()
		case x.Live == nil:
			f.Detail = "the gateway knows no position of it"
		default:
			f.Detail = said(&x, f.Fence)
		}
		f.Detail += fmt.Sprintf("; footfall explain %s.%s", w.config.App, device)
	}
}

func (w *Walkers) explain(device string) (x stream.Explanation, err error) {
	err = w.config.Ask(stream.ExplainSubject, stream.ExplainRequest{App: w.config.App, Device: device}, &x, 2*time.Second)
	return x, err
}

// said is what an explanation has about a fence.
func said(x *stream.Explanation, fence fences.ID) string {
	var parts []string
	if n := len(x.Decisions); n > 0 {
		if d := &x.Decisions[n-1]; d.Fence == fence {
			parts = append(parts, fmt.Sprintf("its last word of the fence is %s at %s", d.Kind, time.UnixMilli(d.At).UTC().Format(time.TimeOnly)))
		}
	}
	if slices.ContainsFunc(x.Live.Inside, func(in stream.InsideOf) bool { return in.Fence == fence }) {
		parts = append(parts, "to the gateway it is inside now")
	} else if n := x.Live.Nearest; len(n) > 0 {
		parts = append(parts, fmt.Sprintf("to the gateway it is outside, %.0f m from %s, the nearest", n[0].EdgeM, n[0].Fence))
	} else {
		parts = append(parts, "the gateway has no fences")
	}
	return strings.Join(parts, "; ")
}
