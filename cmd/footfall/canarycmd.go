package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/fences"
	"footfall/internal/say"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type canaryCmd struct {
	Fences     string      `help:"GeoJSON file or folder; default the configuration's fences.path. It is read again before each round." placeholder:"PATH"`
	FenceFlags fenceFlags  `embed:""`
	Config     string      `short:"c" help:"The gateway's configuration file: its rules, its fences, and its token when --token-file is not given." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Gateway    serverFlags `embed:""`

	App       string        `help:"App of the walkers: canary, or one that begins with canary-, when there are several. These are counted nowhere." default:"canary"`
	Every     time.Duration `help:"How often every fence is crossed; default 1h." placeholder:"TIME"`
	Once      bool          `help:"Cross every fence once and end: exit code 0 when all were crossed, 4 when not. For cron and timers."`
	PerSecond float64       `help:"Fences begun a second." default:"5" placeholder:"N"`
	Deadline  time.Duration `help:"How long after its ping a transition is late; after twice as long it is missing." default:"30s"`
	Fence     []string      `help:"Ids of the fences to cross; default all." placeholder:"ID"`
	JSON      bool          `name:"json" help:"Print one JSON object a round."`
}

const (
	// canaryAtOnce bounds the walks under way: as many as wait for late transitions when many are late.
	canaryAtOnce = 256
	// canaryMailbox is how many transitions of one walk may wait to be looked at: many fences may lie on one another.
	canaryMailbox = 256
	// canaryClock is how far the gateway's clock may be behind ours before a transition counts as one of an earlier walk.
	canaryClock = 5 * time.Minute
	// canaryRest is how long a walker that walked a moment ago is waited for.
	canaryRest = 30 * time.Second
	// canaryAsked is of how many faults of a round the gateway is asked for a reason.
	canaryAsked = 20
)

// canaryFault is what was wrong in a round: at one fence, or, without one, with all of it.
type canaryFault struct {
	Fence      fences.ID `json:"fence,omitempty"`
	Name       string    `json:"name,omitempty"`
	What       string    `json:"what"`                 // missing, late, wrong, refused, unsent, too_soon, unwalkable; of all: unreachable, fences
	Transition string    `json:"transition,omitempty"` // enter or exit
	TookMS     int64     `json:"took_ms,omitempty"`
	Code       string    `json:"code,omitempty"` // of a refusal, as in docs/protocol.md
	Detail     string    `json:"detail,omitempty"`
}

// canaryReport is one round.
type canaryReport struct {
	At      time.Time     `json:"at"`
	TookMS  int64         `json:"took_ms"`
	Fences  int           `json:"fences"`
	Crossed int           `json:"crossed"` // without any fault
	Enter   canaryTimes   `json:"enter_ms"`
	Exit    canaryTimes   `json:"exit_ms"`
	Faults  []canaryFault `json:"faults"`
}

// canaryTimes are from the sending of the ping that made a transition to the event, of those that came.
type canaryTimes struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`

	all []time.Duration
}

func (t *canaryTimes) sum() {
	if len(t.all) == 0 {
		return
	}
	slices.Sort(t.all)
	at := func(q float64) float64 {
		return float64(t.all[min(int(q*float64(len(t.all))), len(t.all)-1)].Microseconds()) / 1000
	}
	t.P50, t.P99, t.Max = at(0.5), at(0.99), at(1)
}

func (c *canaryCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	c.FenceFlags.apply(&cfg.Fences)
	cfg.Fences.check(func(flag, format string, v ...any) {
		err = cmp.Or(err, usage("--%s: %s", flag, fmt.Sprintf(format, v...)))
	})
	if c.Fences = cmp.Or(c.Fences, cfg.Fences.Path); c.Fences == "" && err == nil {
		err = usage("give --fences PATH, or --config with the gateway's fences.path")
	}
	if err != nil {
		return err
	}
	c.Gateway.TokenFile = cmp.Or(c.Gateway.TokenFile, cfg.NATS.TokenFile)
	nc, err := c.Gateway.connect(nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return err
	}
	defer nc.Close()
	w := &canaryWalkers{cmd: c, cfg: &cfg, nc: nc, errs: e.err, boxes: map[string]chan canaryEvent{}, ended: map[string]time.Time{}}
	if err := w.listen(); err != nil {
		return err
	}
	for next := time.Now(); ; {
		report, err := w.round(e.ctx)
		if e.ctx.Err() != nil {
			if c.Once {
				return errors.New("interrupted: the round is not complete")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := report.print(e.out, c.JSON); err != nil {
			return err
		}
		if c.Once {
			if len(report.Faults) > 0 {
				return errThresholds
			}
			return nil
		}
		for next = next.Add(c.every()); time.Until(next) < 0; { // a round that took longer
			next = next.Add(c.every())
		}
		if !pause(e.ctx, time.Until(next)) {
			return nil
		}
	}
}

func (c *canaryCmd) every() time.Duration { return cmp.Or(c.Every, time.Hour) }

func (c *canaryCmd) check() error {
	switch {
	case !stream.IsCanaryApp(c.App) || !wire.ValidToken(c.App):
		return usage("--app: %q is not %s and does not begin with %s-: what its devices did would be counted, and pushed, as what people do", c.App, stream.CanaryApp, stream.CanaryApp)
	case c.Once && c.Every != 0:
		return usage("give --every or --once, not both")
	case c.every() < time.Second:
		return usage("--every: %v is less than a second", c.Every)
	case !(c.PerSecond > 0 && c.PerSecond <= 1000): // written so that NaN is refused
		return usage("--per-second: %v is not between 0 and 1000", c.PerSecond)
	case c.Deadline < time.Millisecond:
		return usage("--deadline: %v is less than a millisecond", c.Deadline)
	}
	return nil
}

// canaryWalkers is what stays from round to round: what is planned, and when each walker walked last.
type canaryWalkers struct {
	cmd  *canaryCmd
	cfg  *Config
	nc   *nats.Conn
	errs io.Writer

	revision string // of the fences that walks is planned for
	walks    []canaryWalk

	mu    sync.Mutex
	boxes map[string]chan canaryEvent // by device, of the walks under way
	ended map[string]time.Time        // by device: the time of its last position
}

// canaryEvent is a transition that came out, and when.
type canaryEvent struct {
	stream.TransitionEvent
	came time.Time
}

// listen subscribes to what comes out about the walkers.
func (w *canaryWalkers) listen() error {
	subject := wire.TransitionSubject(w.cmd.App, "*", "")
	subject = strings.TrimSuffix(subject, wire.EncodeID("")) + "*"
	_, err := w.nc.Subscribe(subject, func(m *nats.Msg) {
		ev := canaryEvent{came: time.Now()}
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
func (w *canaryWalkers) prepare() error {
	set, err := loadFenceSet(w.errs, w.cmd.Fences, w.cfg.Fences.options())
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
	if len(w.cmd.Fence) > 0 {
		chosen = nil
		for _, id := range w.cmd.Fence {
			f, ok := set.Lookup(fences.ID(id))
			if !ok {
				return fmt.Errorf("--fence: %s has no fence %q", w.cmd.Fences, id)
			}
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("%s has no fences", w.cmd.Fences)
	}
	planner := newCanaryPlanner(set, w.cfg.rules(), w.cfg.positions())
	walks := make([]canaryWalk, 0, len(chosen))
	longest := 0
	for _, f := range chosen {
		walks = append(walks, planner.plan(f))
		if n := len(walks) - 1; walks[n].span > walks[longest].span {
			longest = n
		}
	}
	if !w.cmd.Once {
		every := w.cmd.every()
		if l := &walks[longest]; l.span >= every {
			return fmt.Errorf("--every %v is too short: a walk across %s takes %v by its min_stay and min_away; make it longer, or leave the fence out with --fence", every, l.fence.ID, l.span.Round(time.Second))
		}
		if need := time.Duration(float64(len(walks)) / w.cmd.PerSecond * float64(time.Second)); need >= every {
			return fmt.Errorf("--every %v is too short for %d fences at %v a second; raise --per-second", every, len(walks), w.cmd.PerSecond)
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

// round crosses every fence once. Before the first round an error is one to end with; later it becomes a fault, and the walks that
// were planned before are walked.
func (w *canaryWalkers) round(ctx context.Context) (*canaryReport, error) {
	began := time.Now()
	r := &canaryReport{At: began.UTC().Truncate(time.Millisecond), Faults: []canaryFault{}}
	first := w.walks == nil
	if err := w.prepare(); err != nil {
		if first {
			return nil, err
		}
		r.Faults = append(r.Faults, canaryFault{What: "fences", Detail: redacted(err, w.cmd.Gateway.Server).Error() + "; those of the round before are crossed"})
	}
	r.Fences = len(w.walks)
	var has stream.Status
	if err := w.cmd.Gateway.askOver(w.nc, stream.StatsSubject, struct{}{}, &has, 5*time.Second); err != nil {
		if first {
			return nil, err
		}
		r.Faults = append(r.Faults, canaryFault{What: "unreachable", Detail: err.Error()})
		return r, nil
	}
	reconnects := w.nc.Stats().Reconnects
	var wg sync.WaitGroup
	var mu sync.Mutex
	room := make(chan struct{}, canaryAtOnce)
	pace := time.NewTicker(max(time.Duration(float64(time.Second)/w.cmd.PerSecond), 1))
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
			c := canaryCrossing{w: w, walk: &w.walks[i]}
			c.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			if len(c.faults) == 0 {
				r.Crossed++
			}
			r.Faults = append(r.Faults, c.faults...)
			for _, x := range []struct {
				took time.Duration
				of   *canaryTimes
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
	slices.SortStableFunc(r.Faults, func(a, b canaryFault) int { return cmp.Compare(a.Fence, b.Fence) })
	w.reasons(r.Faults)
	if len(r.Faults) > 0 && has.FencesRev != w.revision {
		r.Faults = append(r.Faults, canaryFault{What: "fences", Detail: fmt.Sprintf("the gateway has other fences, or reads them with other settings: %d of revision %s, and %s is revision %s", has.Fences, has.FencesRev, w.cmd.Fences, w.revision)})
	}
	if n := w.nc.Stats().Reconnects - reconnects; n > 0 && len(r.Faults) > 0 {
		r.Faults = append(r.Faults, canaryFault{What: "unreachable", Detail: fmt.Sprintf("the connection was lost %d times meanwhile; transitions may have come that nobody heard", n)})
	}
	r.Enter.sum()
	r.Exit.sum()
	r.TookMS = time.Since(began).Milliseconds()
	return r, nil
}

// reasons asks the gateway what it knows of walkers whose transitions are missing.
func (w *canaryWalkers) reasons(faults []canaryFault) {
	asked := 0
	for i := range faults {
		f := &faults[i]
		if f.What != "missing" || asked == canaryAsked {
			continue
		}
		asked++
		device := canaryDevice(f.Fence)
		x, err := w.explain(device)
		switch {
		case err != nil:
			f.Detail = "the gateway says: " + err.Error()
		case x.Live == nil:
			f.Detail = "the gateway knows no position of it"
		default:
			f.Detail = said(&x, f.Fence)
		}
		f.Detail += fmt.Sprintf("; footfall explain %s.%s", w.cmd.App, device)
	}
}

func (w *canaryWalkers) explain(device string) (x stream.Explanation, err error) {
	err = w.cmd.Gateway.askOver(w.nc, stream.ExplainSubject, stream.ExplainRequest{App: w.cmd.App, Device: device}, &x, 2*time.Second)
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

// canaryCrossing is one walk under way.
type canaryCrossing struct {
	w      *canaryWalkers
	walk   *canaryWalk
	began  time.Time
	box    chan canaryEvent
	faults []canaryFault
	// How long the transitions took; 0: they did not come.
	enter, exit time.Duration
}

func (c *canaryCrossing) fault(f canaryFault) {
	f.Fence, f.Name = c.walk.fence.ID, c.walk.fence.Name
	c.faults = append(c.faults, f)
}

// run walks across the fence and waits for its transitions.
func (c *canaryCrossing) run(ctx context.Context) {
	if c.walk.cannot != "" {
		c.fault(canaryFault{What: "unwalkable", Detail: c.walk.cannot})
		return
	}
	if !c.rested(ctx) {
		return
	}
	w := c.w
	c.box = make(chan canaryEvent, canaryMailbox)
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
func (c *canaryCrossing) rested(ctx context.Context) bool {
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
	if wait > canaryRest {
		c.fault(canaryFault{What: "too_soon", Detail: fmt.Sprintf("the last walk ended less than %v ago, which one takes by the fence's min_stay and min_away; it can be crossed again in %v", c.walk.span.Round(time.Second), wait.Round(time.Second))})
		return false
	}
	return wait <= 0 || pause(ctx, wait)
}

// canaryPing is a position as it is sent: with its age, so that the clocks need not agree.
type canaryPing struct {
	AgeMS int64   `json:"age_ms"`
	Lat   float64 `json:"lat"`
	Lon   float64 `json:"lon"`
	Acc   float64 `json:"acc"`
}

// send sends one leg until the gateway has stored it. It is false, with the fault noted, when that could not be.
func (c *canaryCrossing) send(ctx context.Context, leg int) bool {
	subject := wire.DeviceSubject(wire.ClassPing, track.DeviceID(c.w.cmd.App+"."+c.walk.device))
	until := time.Now().Add(2 * c.w.cmd.Deadline)
	for {
		var pings []canaryPing
		for _, s := range c.walk.legs[leg] {
			age := c.walk.span - s.after + time.Since(c.began).Truncate(time.Millisecond)
			pings = append(pings, canaryPing{age.Milliseconds(), s.at.Lat, s.at.Lng, c.walk.accuracyM})
		}
		data, err := json.Marshal(pings)
		if err != nil {
			c.fault(canaryFault{What: "unsent", Detail: err.Error()})
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
			c.fault(canaryFault{What: "refused", Code: string(answer.Error.Code), Detail: answer.Error.Reason})
			return false
		default:
			err, wait = errors.New("the gateway is busy"), max(time.Duration(answer.RetryMS)*time.Millisecond, 10*time.Millisecond)
		}
		if errors.Is(err, nats.ErrNoResponders) {
			err = errors.New("no Footfall gateway is connected to the NATS server")
		}
		if time.Now().Add(wait).After(until) {
			c.fault(canaryFault{What: "unsent", Detail: fmt.Sprintf("not stored within %v: %v", 2*c.w.cmd.Deadline, err)})
			return false
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

// await waits for a transition of the walk's fence and returns how long after sent it came; 0: it did not.
func (c *canaryCrossing) await(ctx context.Context, kind track.Kind, sent time.Time) time.Duration {
	deadline := c.w.cmd.Deadline
	end := time.NewTimer(time.Until(sent.Add(2 * deadline)))
	defer end.Stop()
	for {
		select {
		case ev := <-c.box:
			if time.UnixMilli(ev.ReceivedAt).Before(c.began.Add(-canaryClock)) {
				continue // of an earlier walk
			}
			own := ev.Fence == string(c.walk.fence.ID)
			if ev.Kind == track.Enter.String() && !own && !c.walk.enters[fences.ID(ev.Fence)] {
				c.fault(canaryFault{What: "wrong", Transition: ev.Kind, Detail: fmt.Sprintf("it entered %s, which is not there", ev.Fence)})
			}
			if !own || ev.Kind != kind.String() {
				continue
			}
			took := max(ev.came.Sub(sent), 1)
			if took > deadline {
				c.fault(canaryFault{What: "late", Transition: ev.Kind, TookMS: took.Milliseconds()})
			}
			return took
		case <-end.C:
			c.fault(canaryFault{What: "missing", Transition: kind.String(), TookMS: (2 * deadline).Milliseconds()})
			return 0
		case <-ctx.Done():
			return 0
		}
	}
}

// print writes the faults of a round and then the round, as lines or as one object.
func (r *canaryReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	var b bytes.Buffer
	at := r.At.Format(time.RFC3339)
	for i := range r.Faults {
		fmt.Fprintf(&b, "%s  %s\n", at, r.Faults[i].String())
	}
	fmt.Fprintf(&b, "%s  %d of %s crossed in %.1f s", at, r.Crossed, say.Many(r.Fences, "fence"), float64(r.TookMS)/1000)
	for _, t := range []struct {
		name string
		of   *canaryTimes
	}{{"enter", &r.Enter}, {"exit", &r.Exit}} {
		if len(t.of.all) > 0 {
			fmt.Fprintf(&b, " │ %s p50 %.0f, p99 %.0f, max %.0f ms", t.name, t.of.P50, t.of.P99, t.of.Max)
		}
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// String is the fault's line.
func (f *canaryFault) String() string {
	var b strings.Builder
	if f.Fence != "" {
		b.WriteString(string(f.Fence))
		if f.Name != "" {
			fmt.Fprintf(&b, " (%s)", f.Name)
		}
		b.WriteString(": ")
	}
	if f.Transition != "" {
		b.WriteString(f.Transition + " ")
	}
	b.WriteString(f.What)
	if f.TookMS > 0 {
		fmt.Fprintf(&b, " after %v", (time.Duration(f.TookMS) * time.Millisecond).Round(time.Millisecond))
	}
	for _, text := range []string{f.Code, f.Detail} {
		if text != "" {
			b.WriteString(": " + text)
		}
	}
	return b.String()
}
