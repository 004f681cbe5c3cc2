package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/failpoint"
	"footfall/push/fake"
)

// mortal is a gateway on one directory that is ended at chosen points, and the phones around it.
type mortal struct {
	*site
	nc      *nats.Conn
	rng     *rand.Rand
	arrive  func() // one more person; it does not wait for what becomes of them
	atOnce  int64  // so many may be on the way
	devices int

	onTheWay atomic.Int64 // people who have more to say
	wg       sync.WaitGroup
}

// TestKillAtEveryWindow ends the real binary, as kill -9 does, at each of the eight points between a position's
// arrival and its push's recorded outcome, 200 times in all (FOOTFALL_KILLS). No input that was answered ok is
// lost, every claim has exactly one outcome, and every phone shows exactly one notification. All the starts of a site
// share one provider token.
func TestKillAtEveryWindow(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and ends the gateway 200 times; not in -short")
	}
	kills := killsWanted(t, 200)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	if _, err := mortalBinary(); err != nil {
		t.Fatal(err)
	}
	const sites = 4 // side by side: a kill costs a fifth of a second of processor, and the rest is waiting
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range sites { // not t.Parallel, which allows as many as there are processors
		wg.Go(func() {
			t.Run(fmt.Sprint("site", i), func(t *testing.T) {
				m := newMortal(t, seed, uint64(i))
				m.arrive, m.atOnce = m.enter, 4
				m.live((kills + sites - 1) / sites)
			})
		})
	}
}

func newMortal(t *testing.T, seed, stream uint64) *mortal {
	t.Helper()
	m := &mortal{site: newSite(t), rng: rand.New(rand.NewPCG(seed, stream))}
	m.binary = mortalBinary
	var err error
	if m.nc, err = nats.Connect("nats://"+m.addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.nc.Close)
	return m
}

// live ends the gateway n times and checks what came of it all.
func (m *mortal) live(n int) {
	t := m.t
	ended := m.die(n)
	m.start()
	m.wg.Wait()
	got := m.collect(m.devices)
	m.stop()
	t.Logf("%d people, %d entries, %d claims; %s; the fake took %d requests", m.devices, got.Entered, got.Claims, ended, m.apns.Stats().Accepted)
	if got.Claims != int64(m.devices) || got.Accepted != got.Claims {
		t.Errorf("%d claims and %d accepted pushes for %d people", got.Claims, got.Accepted, m.devices)
	}
	if tokens := m.apns.Stats().ProviderTokens; tokens != 1 {
		t.Errorf("%d starts made %d provider tokens, want 1", n+1, tokens)
	}
	for phone, n := range got.Shown {
		if n != 1 {
			t.Errorf("phone %s shows %d notifications, want 1", phone, n)
		}
	}
	for event, n := range got.Transitions {
		if n != 1 {
			t.Errorf("%d different events carry the id %s", n, event)
		}
	}
}

// die ends the gateway n times, in turn at each point, while people arrive, and says how that went.
func (m *mortal) die(n int) string {
	t := m.t
	reached, began, used := map[string]int{}, time.Now(), time.Duration(0)
	points := slices.Clone(failpoint.Points)
	for i := range n {
		point := points[i%len(points)]
		m.launch(fmt.Sprintf("FAILPOINT=%s:%d", point, 1+m.rng.IntN(4)))
		ended := make(chan struct{})
		go func() { _ = m.cmd.Wait(); close(ended) }()
		deadline := time.After(time.Minute)
		for waiting := true; waiting; {
			if m.onTheWay.Load() < m.atOnce {
				m.arrive() // one more person, until the point has been passed often enough
			}
			select {
			case <-ended:
				waiting = false
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				_ = m.cmd.Process.Kill()
				<-ended
				t.Fatalf("the gateway did not come to %s within a minute:\n%s", point, m.output)
			}
		}
		if !strings.Contains(m.output.String(), "failpoint "+point) || m.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the gateway ended by itself on the way to %s: %v\n%s", point, m.cmd.ProcessState, m.output)
		}
		reached[point]++
		used += m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
	}
	took := time.Since(began).Round(time.Millisecond)
	for _, p := range points[:min(n, len(points))] {
		if reached[p] == 0 {
			t.Errorf("the gateway never ended at %s", p)
		}
	}
	return fmt.Sprintf("ended %d times in %v, of which the gateways used %v of processor, at %v", n, took, used, reached)
}

// enter sends one more person into a store: registration, outside, inside. Each message is repeated until it is
// answered ok.
func (m *mortal) enter() {
	name := fmt.Sprintf("d%03d", m.devices)
	m.devices++
	now := time.Now()
	reg, err := json.Marshal(map[string]any{"platform": "ios", "token": fake.DeviceToken(name), "locale": "en"})
	if err != nil {
		m.t.Fatal(err)
	}
	ping := func(ago time.Duration, metres float64) []byte {
		return fmt.Appendf(nil, `{"t":%d,"lat":%f,"lon":30.5234,"acc":8}`, now.Add(-ago).UnixMilli(), 50.4501+metres/111_200)
	}
	messages := [][2]string{{"device", string(reg)}, {"ping", string(ping(20*time.Second, 400))}, {"ping", string(ping(10*time.Second, 60))}}
	p := &phones{nc: m.nc}
	m.onTheWay.Add(1)
	m.wg.Go(func() {
		defer m.onTheWay.Add(-1)
		for _, msg := range messages {
			p.send(msg[0]+".shop."+name, []byte(msg[1]))
		}
	})
}
