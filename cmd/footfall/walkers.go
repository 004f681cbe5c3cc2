package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/fences"
	"footfall/geo"
	"footfall/push/fake"
	"footfall/receipt"
	"footfall/stream/wire"
)

// walkers are simulated phones. They speak to the gateway as an app's SDK does: over NATS, registering once,
// sending each position as a request and sending it again until it is answered ok.
type walkers struct {
	conns  []*nats.Conn
	app    string
	stores []geo.Point
	speed  float64 // metres a second
	every  time.Duration
	seed   uint64

	sent    atomic.Int64 // positions answered ok
	retried atomic.Int64
	phones  sync.Map // push token -> *walker
}

// walker is one phone.
type walker struct {
	n      int
	device string
	name   string
	nc     *nats.Conn
}

// phonesPerConn is how many phones share a connection; ten thousand sockets would measure the kernel.
const phonesPerConn = 100

func newWalkers(connect func(name string) (*nats.Conn, error), phones int, stores *fences.Set, speed float64, seed uint64) (*walkers, error) {
	w := &walkers{app: "demo", speed: speed, every: 2 * time.Second, seed: seed}
	for i := range stores.Len() {
		w.stores = append(w.stores, stores.At(int32(i)).Shape.Center())
	}
	for range (phones + phonesPerConn - 1) / phonesPerConn {
		nc, err := connect("demo phones")
		if err != nil {
			w.close()
			return nil, err
		}
		w.conns = append(w.conns, nc)
	}
	return w, nil
}

func (w *walkers) close() {
	for _, nc := range w.conns {
		nc.Close()
	}
}

// run walks n phones until ctx ends.
func (w *walkers) run(ctx context.Context, n int) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { w.walk(ctx, i) })
	}
	wg.Wait()
}

var firstNames = []string{"Олена", "Тарас", "Iryna", "Andriy", "Соломія", "Bohdan", "Daryna", "Максим"}

// walk is the life of one phone: from outside a store to its door, a while inside, away, and on to the next.
func (w *walkers) walk(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(w.seed, uint64(i)))
	nc := w.conns[i/phonesPerConn]
	device := fmt.Sprintf("phone-%03d", i+1)
	reg := map[string]any{"platform": "ios", "locale": "uk-UA", "zone": "Europe/Kyiv", "sdk": "demo"}
	token := fake.DeviceToken(device)
	kind := "iPhone"
	if i%2 == 1 {
		token, kind = "fcm-"+token, "Android"
		reg["platform"] = "android"
	}
	if i%3 == 2 {
		reg["locale"] = "en"
	}
	if i%2 == 0 {
		reg["tags"] = map[string]any{"name": firstNames[i/2%len(firstNames)]}
	}
	reg["token"] = token
	w.phones.Store(token, &walker{n: i, device: device, name: kind + " " + device, nc: nc})
	if !w.tell(ctx, nc, wire.ClassDevice, device, reg) {
		return
	}
	home := w.stores[i%len(w.stores)]
	// A quarter of the phones starts close by, so that something happens at once; the rest takes its time.
	start := 215 + 40*rng.Float64()
	if i%4 != 0 {
		start = 250 + 450*rng.Float64()
	}
	at := geo.Offset(home, rng.Float64()*360, start)
	for {
		inside := geo.Offset(home, rng.Float64()*360, 20+100*rng.Float64())
		if !w.go1(ctx, nc, device, rng, &at, inside) || !w.stay(ctx, nc, device, rng, at, 5+rng.IntN(10)) {
			return
		}
		away := geo.Offset(home, rng.Float64()*360, 280+150*rng.Float64())
		if !w.go1(ctx, nc, device, rng, &at, away) {
			return
		}
		if rng.IntN(3) == 0 { // another neighbourhood; the phone was off while its owner took the metro
			home = w.stores[rng.IntN(len(w.stores))]
			at = geo.Offset(home, rng.Float64()*360, 300+200*rng.Float64())
			if !pause(ctx, time.Duration(15+rng.IntN(20))*time.Second) {
				return
			}
		}
	}
}

// go1 walks straight to a place, reporting on the way.
func (w *walkers) go1(ctx context.Context, nc *nats.Conn, device string, rng *rand.Rand, at *geo.Point, to geo.Point) bool {
	for geo.DistanceM(*at, to) > 1 {
		if !pause(ctx, w.every-time.Duration(rng.Int64N(int64(w.every/4)))) {
			return false
		}
		left := geo.DistanceM(*at, to)
		share := min(1, w.speed*w.every.Seconds()*(0.7+0.6*rng.Float64())/left)
		at.Lat += (to.Lat - at.Lat) * share
		at.Lng += (to.Lng - at.Lng) * share
		if !w.report(ctx, nc, device, rng, *at) {
			return false
		}
	}
	return true
}

func (w *walkers) stay(ctx context.Context, nc *nats.Conn, device string, rng *rand.Rand, at geo.Point, pings int) bool {
	for range pings {
		if !pause(ctx, w.every) || !w.report(ctx, nc, device, rng, at) {
			return false
		}
	}
	return true
}

// report sends one position with the noise of a phone's receiver: mostly a few metres, now and then a poor one.
func (w *walkers) report(ctx context.Context, nc *nats.Conn, device string, rng *rand.Rand, p geo.Point) bool {
	acc := 5 + 15*rng.Float64()
	if rng.IntN(40) == 0 {
		acc = 120 + 800*rng.Float64()
	}
	noisy := geo.Offset(p, rng.Float64()*360, math.Abs(rng.NormFloat64())*acc/2)
	ok := w.tell(ctx, nc, wire.ClassPing, device, map[string]any{
		"t": time.Now().UnixMilli(), "lat": round7(noisy.Lat), "lon": round7(noisy.Lng), "acc": math.Round(acc), "spd": w.speed, "src": "foreground",
	})
	if ok {
		w.sent.Add(1)
	}
	return ok
}

// tell publishes and repeats until the gateway has answered ok; false when ctx has ended.
func (w *walkers) tell(ctx context.Context, nc *nats.Conn, class wire.Class, device string, payload map[string]any) bool {
	data, err := json.Marshal(payload)
	if err != nil {
		return false
	}
	id, err := wire.JoinDevice(w.app, device)
	if err != nil {
		return false
	}
	subject := wire.DeviceSubject(class, id)
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		m, err := nc.RequestWithContext(try, subject, data)
		cancel()
		var answer struct{ OK bool }
		if err == nil && json.Unmarshal(m.Data, &answer) == nil && answer.OK {
			return true
		}
		w.retried.Add(1)
		if !pause(ctx, wait) {
			return false
		}
	}
}

// name is what to call the phone that has a push token.
func (w *walkers) name(token string) string {
	if p, ok := w.phones.Load(token); ok {
		return p.(*walker).name
	}
	return "phone " + strings.ToUpper(token[:min(len(token), 6)])
}

// react is what becomes of a push on a walker's phone: it reports that it came, every third opens it within seconds, and every
// other one of these buys something. said is called with what its owner does.
func (w *walkers) react(ctx context.Context, s fake.Shown, said func(what string, p *walker)) {
	found, ok := w.phones.Load(s.Token)
	if !ok {
		return // somebody takes part by hand
	}
	p := found.(*walker)
	receipted := func(ev string) bool {
		return w.tell(ctx, p.nc, wire.ClassReceipt, p.device, map[string]any{"mid": s.MID, "k": s.Key, "ev": ev, "t": time.Now().UnixMilli()})
	}
	if !receipted(receipt.Delivered) || p.n%3 != 0 || !pause(ctx, time.Duration(1+p.n%4)*time.Second) || !receipted(receipt.Opened) {
		return
	}
	said("OPENED", p)
	if p.n%2 != 0 || !pause(ctx, 2*time.Second) {
		return
	}
	if w.tell(ctx, p.nc, wire.ClassEvent, p.device, map[string]any{"name": "purchase", "id": s.MID, "props": map[string]any{"value": 200 + 10*p.n, "currency": "UAH"}}) {
		said("BOUGHT", p)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func round7(x float64) float64 { return math.Round(x*1e7) / 1e7 }
