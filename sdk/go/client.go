package footfall

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Config is what a Client is made of. URL, App and Device are required.
type Config struct {
	URL         string // nats://, tls://, ws:// or wss://
	App, Device string // 1 to 64 of A-Z a-z 0-9 _ - each
	Token       string // of the gateway (nats.token_file), if it asks for one
	Options     []nats.Option

	Store  Store // nil: nothing outlives the program. Close closes it.
	Limits Limits

	// OnMessage shows a message to the person, and reports whether it was shown. With false, or when it is nil, the
	// gateway sends the message through the push service instead. It is called from one goroutine and has about two
	// seconds, after which the push is sent anyway; so show first and load images later.
	OnMessage func(Message) (shown bool)

	// Timeout is how long an answer is waited for. Default 5 s.
	Timeout time.Duration
	Logger  *slog.Logger // nil: none
}

// Client is one device. Safe for concurrent use.
type Client struct {
	cfg  Config
	nc   *nats.Conn
	wake chan struct{}
	back chan struct{} // the connection has come back: what stood in the way may be gone
	stop context.CancelFunc
	done sync.WaitGroup
	now  func() time.Time

	display sync.Mutex // held while it is decided whether a message is shown; taken before mu

	mu      sync.Mutex
	queue   *queue
	shown   []string      // mids, oldest first, at most maxShown
	drained chan struct{} // closed and replaced when the queue becomes empty
	here    greeting
}

// greeting is that the gateway is to be told that this device is there. It is kept apart from the outbox: it is about now,
// is told anew with each connection, and must not hold up what waits.
type greeting struct {
	owed   bool
	word   int // counts what is owed
	nextAt time.Time
	fails  int
}

// Open makes a client and begins to send what its Store holds. It does not wait for a connection: without one
// everything waits in the outbox.
func Open(cfg Config) (*Client, error) {
	if !validToken(cfg.App) || !validToken(cfg.Device) {
		return nil, fmt.Errorf("footfall: app %q and device %q must be 1 to 64 of A-Z a-z 0-9 _ -", cfg.App, cfg.Device)
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Store == nil {
		cfg.Store = memory{}
	}
	state, err := cfg.Store.Load()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, now: time.Now, wake: make(chan struct{}, 1), back: make(chan struct{}, 1), shown: state.Shown, drained: make(chan struct{}),
		queue: newQueue(cfg.App, cfg.Device, cfg.Limits, state.Items),
	}
	connected := func(*nats.Conn) {
		select {
		case c.back <- struct{}{}:
		default:
		}
		c.Here()
	}
	opts := []nats.Option{
		nats.Name("footfall-sdk-go"),
		nats.CustomInboxPrefix("_INBOX." + cfg.App + "." + cfg.Device), // where devices are confined to subjects of their own
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectJitter(time.Second, time.Second),
		nats.ReconnectBufSize(-1), // the outbox is ours: a request made while away fails at once
		nats.ConnectHandler(connected), nats.ReconnectHandler(connected),
	}
	if cfg.Token != "" {
		opts = append(opts, nats.Token(cfg.Token))
	}
	if c.nc, err = nats.Connect(cfg.URL, append(opts, cfg.Options...)...); err != nil {
		return nil, fmt.Errorf("footfall: %w", err)
	}
	if cfg.OnMessage != nil {
		if _, err := c.nc.Subscribe("down."+cfg.App+"."+cfg.Device, c.receive); err != nil {
			c.nc.Close()
			return nil, fmt.Errorf("footfall: %w", err)
		}
		c.Here() // once more if it was told before the subscription
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.done.Go(func() { c.send(ctx) })
	return c, nil
}

func validToken(s string) bool {
	for i := range len(s) {
		if b := s[i]; !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '-') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 64
}

// Ping queues a position. While the consent to positions is withdrawn (Consent.Location false) it does nothing, and counts it as
// dropped.
func (c *Client) Ping(p Ping) error {
	w := wirePing{c.orNow(p.At).UnixMilli(), p.Lat, p.Lng, p.AccuracyM, p.SpeedMPS, p.Source, p.Mock}
	return c.add(classPing, w)
}

// Register queues what the app says of itself. Call it at every start: it costs little, and the gateway may have
// forgotten the device.
func (c *Client) Register(d Device) error {
	payload, err := d.payload()
	if err != nil {
		return err
	}
	return c.add(classDevice, json.RawMessage(payload))
}

// SetTags queues tags of the person who is signed in: they hold on all their devices. A tag that is nil is removed. While
// nobody is signed in they are kept for the device, and go to the person who signs in next.
func (c *Client) SetTags(tags map[string]any) error { return c.Register(Device{UserTags: tags}) }

// Event queues what the customer did. It gets an id, so that it counts once however often it is sent.
func (c *Client) Event(name string, props map[string]any) error {
	return c.event(name, c.now(), rand.Text(), props)
}

// AppOpened queues that the person has opened the app, by its icon or otherwise: pushes before it count as seen, and the next
// badge begins anew. Clear the number on the icon, which only the app can do, and call it whenever the app comes to the front.
func (c *Client) AppOpened() error {
	now := c.now()
	return c.event("app_open", now, fmt.Sprint("open-", now.UnixMilli()), nil)
}

func (c *Client) event(name string, at time.Time, id string, props map[string]any) error {
	return c.add(classEvent, struct {
		Name  string         `json:"name"`
		T     int64          `json:"t"`
		ID    string         `json:"id"`
		Props map[string]any `json:"props,omitempty"`
	}{name, at.UnixMilli(), id, props})
}

// Here tells the gateway that OnMessage can show messages now: what waits for this device comes at once. A client does so by
// itself whenever it connects; call it when the person can see messages again after OnMessage has returned false, or
// AppOpened, which has the same effect. It does not wait, and without a connection there is nothing to do.
func (c *Client) Here() {
	if c.cfg.OnMessage != nil {
		c.mu.Lock()
		c.here = greeting{owed: true, word: c.here.word + 1}
		c.mu.Unlock()
	}
	c.poke()
}

// Receipt queues what became of a push.
func (c *Client) Receipt(r Receipt) error {
	return c.add(classReceipt, wireReceipt{r.MID, r.Key, r.Ev, c.orNow(r.At).UnixMilli(), r.Ref, r.Action, r.Value, r.Currency})
}

// Show decides about a push that came another way, through FCM or APNs: it reports whether to show it, and remembers
// that it was. A message that was shown already, in whatever way, is not shown again.
func (c *Client) Show(p Push) (bool, error) {
	c.display.Lock()
	defer c.display.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.shown, p.MID) {
		return false, nil
	}
	return true, c.remember(p.MID)
}

// remember keeps a mid as shown. Call it with mu held.
func (c *Client) remember(mid string) error {
	c.shown = append(c.shown, mid)
	c.shown = c.shown[max(0, len(c.shown)-maxShown):]
	return c.cfg.Store.PutShown(mid)
}

// ErrNoConsent: the person has withdrawn the consent to positions, so none is sent.
var ErrNoConsent = errors.New("footfall: the consent to positions is withdrawn")

// Nearest asks which fences are nearest to a place, for the phone's own system to watch: up to n of them, 1 to 100, the nearest
// first. It needs a connection and nothing of it is stored. Ask again before having gone OthersM, and when the Revision of a later
// answer is another one.
func (c *Client) Nearest(ctx context.Context, lat, lng float64, n int) (Nearby, error) {
	c.mu.Lock()
	withdrawn := c.queue.withdrawn
	c.mu.Unlock()
	if withdrawn {
		return Nearby{}, ErrNoConsent
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	payload, err := json.Marshal(struct {
		Lat float64 `json:"lat"`
		Lon float64 `json:"lon"`
		N   int     `json:"n"`
	}{lat, lng, n})
	if err != nil {
		return Nearby{}, fmt.Errorf("footfall: %w", err)
	}
	m, err := c.nc.RequestWithContext(ctx, "near."+c.cfg.App+"."+c.cfg.Device, payload)
	if err != nil {
		return Nearby{}, fmt.Errorf("footfall: %w", err)
	}
	var answer struct {
		OK    bool
		Error Refusal
		Nearby
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return Nearby{}, fmt.Errorf("footfall: the answer to where fences are: %w", err)
	}
	if !answer.OK {
		return Nearby{}, fmt.Errorf("footfall: the gateway refused: %s: %s", answer.Error.Code, answer.Error.Reason)
	}
	return answer.Nearby, nil
}

// Stats are counts since Open; Queued is of this moment.
type Stats struct {
	Queued    int
	Dropped   int64 // too old, no room, or positions that the person does not want to be sent
	Refused   int64 // by the gateway, for good: a fault of the caller, see the log
	Connected bool
}

// Stats returns a snapshot.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{len(c.queue.items), c.queue.dropped, c.queue.refused, c.nc.IsConnected()}
}

// Flush waits until the outbox is empty, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	for {
		c.mu.Lock()
		empty, drained := len(c.queue.items) == 0, c.drained
		c.mu.Unlock()
		if empty {
			return nil
		}
		select {
		case <-drained:
		case <-ctx.Done():
			return fmt.Errorf("footfall: outbox is not empty: %w", ctx.Err())
		}
	}
}

// Close stops sending and closes connection and Store. What waits is sent after the next Open with that Store.
func (c *Client) Close() error {
	c.stop()
	c.nc.Close()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Store.Close()
}

func (c *Client) add(class string, v any) error {
	payload, err := compact(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	it, gone, err := c.queue.add(class, payload, c.now().UnixMilli())
	if err != nil {
		return err
	}
	if it.ID == 0 {
		return nil
	}
	err = c.cfg.Store.Put(it)
	if len(gone) > 0 {
		err = errors.Join(err, c.cfg.Store.Delete(gone))
	}
	c.poke()
	return err
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// send works off the outbox, one request at a time, so that the gateway sees one device's things in their order.
func (c *Client) send(ctx context.Context) {
	for {
		wait, pause := c.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		wake := c.wake
		if pause { // something new is no reason to be earlier
			wake = nil
		}
		select {
		case <-wake:
		case <-c.back:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// idle is how long the sender sleeps when it has nothing to do and nobody wakes it.
const idle = time.Hour

// step makes one request and returns how long to wait for the next; pause: because the gateway is busy, or gave no answer.
func (c *Client) step(ctx context.Context) (wait time.Duration, pause bool) {
	again := c.greet(ctx)
	c.mu.Lock()
	c.forget(c.queue.expire(c.now().UnixMilli()))
	subject, payload, ok := c.queue.request()
	c.mu.Unlock()
	if !ok || !c.nc.IsConnected() {
		return again, false
	}
	ask, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var answer []byte
	m, err := c.nc.RequestWithContext(ask, subject, payload)
	if err == nil {
		answer = m.Data
	} else if ctx.Err() == nil {
		c.cfg.Logger.Debug("no answer from the gateway", "subject", subject, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	gone, wait, refusal := c.queue.answer(answer, mrand.Float64())
	c.forget(gone)
	if refusal != nil {
		c.cfg.Logger.Error("the gateway refused what this client has sent", "subject", subject, "code", refusal.Code, "reason", refusal.Reason)
	}
	return wait, wait > 0
}

// greet tells the gateway that this device is there, if that is owed, and returns how long until that is to be tried again.
func (c *Client) greet(ctx context.Context) (wait time.Duration) {
	now := time.Now()
	c.mu.Lock()
	was := c.here
	c.mu.Unlock()
	switch {
	case !was.owed || !c.nc.IsConnected(): // the next connection owes it
		return idle
	case now.Before(was.nextAt):
		return was.nextAt.Sub(now)
	}
	ask, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	m, err := c.nc.RequestWithContext(ask, "here."+c.cfg.App+"."+c.cfg.Device, nil)
	var r reply
	if err == nil && json.Unmarshal(m.Data, &r) == nil && (r.OK || r.Error != nil) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.here.word != was.word {
			return 0 // owed anew
		}
		c.here.owed = false
		return idle
	}
	wait = backoff(was.fails)
	if r.Busy {
		wait = max(wait, min(time.Duration(r.RetryMS)*time.Millisecond, maxBackoff))
	}
	wait += time.Duration(mrand.Float64() * float64(wait) / 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here.word != was.word {
		return 0
	}
	c.here.fails++
	c.here.nextAt = now.Add(wait)
	return wait
}

// forget deletes what is done with. Call it with mu held.
func (c *Client) forget(gone []uint64) {
	if len(gone) == 0 {
		return
	}
	if err := c.cfg.Store.Delete(gone); err != nil { // sent again after a restart, which has no effect
		c.cfg.Logger.Warn("the outbox could not be written", "err", err)
	}
	if len(c.queue.items) == 0 {
		close(c.drained)
		c.drained = make(chan struct{})
	}
}

// receive handles a message on down: shows it once, remembers that, answers, and reports it.
func (c *Client) receive(m *nats.Msg) {
	msg, ok := parseMessage(m.Data)
	if !ok {
		return // of a later version: not ours to answer
	}
	if err := m.Respond(c.present(msg)); err != nil && m.Reply != "" {
		c.cfg.Logger.Warn("a message could not be acknowledged", "mid", msg.MID, "err", err)
	}
}

var (
	answerOK      = []byte(`{"ok":true}`)
	answerExpired = []byte(`{"ok":false,"error":"expired"}`)
	answerHidden  = []byte(`{"ok":false,"error":"not_shown"}`)
)

func (c *Client) present(msg Message) (answer []byte) {
	c.display.Lock()
	defer c.display.Unlock()
	c.mu.Lock()
	again := slices.Contains(c.shown, msg.MID)
	c.mu.Unlock()
	switch {
	case again: // our answer was lost
		return answerOK
	case msg.Expires != 0 && c.now().UnixMilli() >= msg.Expires:
		return answerExpired
	case !c.cfg.OnMessage(msg):
		return answerHidden
	}
	c.mu.Lock()
	err := c.remember(msg.MID)
	c.mu.Unlock()
	evs := []string{Delivered, Displayed}
	if msg.Silent {
		evs = evs[:1]
	}
	for _, ev := range evs {
		err = errors.Join(err, c.Receipt(Receipt{Push: msg.Push, Ev: ev}))
	}
	if err != nil {
		c.cfg.Logger.Warn("the outbox could not be written", "err", err)
	}
	return answerOK
}

func (c *Client) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return c.now()
	}
	return t
}
