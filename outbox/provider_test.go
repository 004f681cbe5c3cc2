package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fake"
	"footfall/push/fcm"
)

// whole is an outbox with a real provider and the fake of its service, in real
// time, or (inWhole) in fake time.
type whole struct {
	t        *testing.T
	db       *db.DB
	out      *Outbox
	revision atomic.Int64 // of the campaign
	doomed   atomic.Int64 // tokens that would have been deleted
}

func startWhole(t *testing.T, p push.Provider, change func(*Config)) *whole {
	t.Helper()
	return startWholeOn(t, db.Config{Dir: filepath.Join(t.TempDir(), "ledger"), NoSync: true}, p, change)
}

// inWhole runs fn with an outbox, the real provider and the fake of Apple in
// fake time: the connections are in memory. now is what the provider takes the
// time for, nil for the right one.
func inWhole(t *testing.T, cfg fake.APNsConfig, now func() time.Time, fn func(a *fake.APNs, w *whole)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ln := fake.NewMemListener()
		cfg.Listener = ln
		a, p := startAPNsFake(t, cfg, now, ln.DialContext)
		fn(a, startWholeOn(t, db.Config{InMemory: true, NoCompaction: true}, p, nil))
	})
}

func startWholeOn(t *testing.T, on db.Config, p push.Provider, change func(*Config)) *whole {
	t.Helper()
	d, err := db.Open(on)
	if err != nil {
		t.Fatal(err)
	}
	w := &whole{t: t, db: d}
	cfg := Config{DB: d, Providers: map[string]push.Provider{testLane: p}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			platform := push.IOS
			if p.Name() == "fcm" {
				platform = push.Android
			}
			return &push.Notification{MID: d.MID, App: d.App, Device: d.Device, Token: fake.DeviceToken(d.Device), Platform: platform,
				Campaign: d.Campaign, Revision: fmt.Sprint(w.revision.Load()), Title: "Welcome", Body: d.Device, ExpiresAt: time.UnixMilli(d.ExpiresAt)}, ""
		},
		OnOutcome: func(_ *db.Tx, _, _ *Delivery, o push.Outcome) error {
			if (o.Class == push.TokenDead || o.Class == push.TokenBad && !o.Unproven) && w.out.TrustsTokens(testLane) {
				w.doomed.Add(1)
			}
			return nil
		}}
	if change != nil {
		change(&cfg)
	}
	if w.out, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.out.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *whole) enter(device string) (mid string) {
	w.t.Helper()
	now := time.Now()
	err := w.db.Update(context.Background(), func(tx *db.Tx) error {
		k := dedupe.Key{Campaign: "c", Subject: "d:" + device, Period: "ever"}
		c, _, err := dedupe.Reserve(tx, k, dedupe.Period{Kind: dedupe.PeriodEver}, dedupe.Claim{At: now, Fence: "f"})
		if err != nil {
			return err
		}
		mid = c.MID
		return Enqueue(tx, &Delivery{MID: c.MID, App: "app", Device: device, Campaign: "c", Fence: "f", Claim: k, Lane: testLane,
			CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(6 * time.Hour).UnixMilli()})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.out.Notify()
	return mid
}

func (w *whole) row(mid string) (d Delivery) {
	w.t.Helper()
	if err := w.db.View(func(tx *db.Tx) (err error) {
		d, _, err = Get(tx, mid)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// await polls until what holds is true, and returns how long that took.
func (w *whole) await(what string, patience time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > patience {
			w.t.Fatalf("waited %v for %s: %+v", patience, what, w.out.Stats())
		}
		time.Sleep(2 * time.Millisecond) // real sockets, mostly
	}
	return time.Since(begun)
}

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

func startAPNsFake(t *testing.T, cfg fake.APNsConfig, now func() time.Time, dial dial) (*fake.APNs, push.Provider) {
	t.Helper()
	a, err := fake.StartAPNs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	p, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic, Host: a.URL(), RootCAs: a.RootCAs,
		Connections: 2, Now: now, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return a, p
}

func startFCMFake(t *testing.T) (*fake.FCM, push.Provider) {
	t.Helper()
	f, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	p, err := fcm.New(fcm.Config{CredentialsJSON: f.CredentialsJSON(), Endpoint: f.Endpoint(), RootCAs: f.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return f, p
}

// The connection is cut after the provider took the push: in doubt, sent again
// under the same id, and the phone shows one.
func TestCutAfterAcceptShowsOne(t *testing.T) {
	a, p := startAPNsFake(t, fake.APNsConfig{}, nil, nil)
	a.Script(fake.Rule{Token: fake.DeviceToken("a"), Times: 1, Answer: fake.Answer{Fault: fake.FaultCut}})
	w := startWhole(t, p, nil)
	mid := w.enter("a")
	w.await("the second attempt", 30*time.Second, func() bool { return w.row(mid).State == StateAccepted })
	if d := w.row(mid); !d.Doubt || d.Attempts != 2 {
		t.Errorf("row %+v", d)
	}
	if n, shown := a.Deliveries(mid), a.Phones().Shown(fake.DeviceToken("a")); n != 2 || len(shown) != 1 {
		t.Errorf("taken %d times, shown %d times", n, len(shown))
	}
}

// A peer that falls silent holds the lane for less than ten seconds, and what
// was on the connection arrives by another one: all of it, once on each screen.
func TestSilentConnection(t *testing.T) {
	inWhole(t, fake.APNsConfig{Latency: fake.FixedLatency(20 * time.Millisecond)}, nil, func(a *fake.APNs, w *whole) {
		first := w.enter("first")
		w.await("the first push", time.Minute, func() bool { return w.row(first).State == StateAccepted })
		a.Silence()
		silent := time.Now()
		const n = 20
		for i := range n {
			w.enter(fmt.Sprint("d", i))
		}
		w.await("a push past the silence", time.Minute, func() bool { return w.out.Stats().Finals[StateAccepted] > 1 })
		if took := time.Since(silent); took > 10*time.Second {
			t.Errorf("the lane sends again after %v", took)
		}
		w.await("all of them", 15*time.Minute, func() bool { return w.out.Stats().Finals[StateAccepted] == n+1 })
		for i := range n {
			if got := len(a.Phones().Shown(fake.DeviceToken(fmt.Sprint("d", i)))); got != 1 {
				t.Errorf("phone %d shows %d", i, got)
			}
		}
	})
}

// offset is a clock that can be moved.
type offset struct{ ahead atomic.Int64 }

func (o *offset) now() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }

// An expired provider token poisons the connections that have seen it, while
// pushes are on them. Within a second everything is accepted, with one new
// token, without a pause and without an attempt spent.
func TestExpiredProviderTokenDoesNotHoldTheLane(t *testing.T) {
	var clock offset
	cfg := fake.APNsConfig{Now: clock.now, Latency: fake.UniformLatency(5*time.Millisecond, 50*time.Millisecond, 1)}
	inWhole(t, cfg, clock.now, func(a *fake.APNs, w *whole) {
		first := w.enter("first")
		w.await("the first push", time.Minute, func() bool { return w.row(first).State == StateAccepted })
		clock.ahead.Store(int64(25 * time.Minute)) // a new token is allowed
		a.ExpireProviderTokens()
		expired := time.Now()
		const n = 500
		var mids []string
		for i := range n {
			mids = append(mids, w.enter(fmt.Sprint("d", i)))
		}
		w.await("the pushes after the expiry", time.Hour, func() bool { return w.out.Stats().Finals[StateAccepted] == n+1 })
		if took := time.Since(expired); took >= time.Second {
			t.Errorf("took %v", took)
		}
		for _, mid := range mids {
			if d := w.row(mid); d.Attempts != 1 || d.Doubt {
				t.Errorf("row %+v", d)
			}
		}
		s := a.Stats()
		if s.ProviderTokens != 2 || s.Reasons["ExpiredProviderToken"] == 0 {
			t.Errorf("%d provider tokens, answers %v; want one new token after refusals", s.ProviderTokens, s.Reasons)
		}
		if s := w.out.Stats().Lanes[testLane]; len(s.Alarms) > 0 || !s.HeldUntil.IsZero() {
			t.Errorf("lane %+v", s)
		}
	})
}

// A machine whose clock is two hours off, to either side: the lane pauses with
// an alarm, rows wait with all their attempts, no token of a phone is deleted
// and no second provider token is made. It probes once a pause, and when the
// clock has been set everything is sent.
func TestWrongClockPausesTheLane(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			var apple offset // the library signs by the machine's clock, so it is Apple's that differs
			apple.ahead.Store(int64(-off))
			inWhole(t, fake.APNsConfig{Now: apple.now}, nil, func(a *fake.APNs, w *whole) {
				const n = 20
				var mids []string
				for i := range n {
					mids = append(mids, w.enter(fmt.Sprint("d", i)))
				}
				time.Sleep(time.Second)
				requests := a.Stats().Requests
				time.Sleep(10 * time.Minute)
				s := w.out.Stats().Lanes[testLane]
				credentials := func(a Alarm) bool { return a.Kind == AlarmCredentials }
				if !slices.ContainsFunc(s.Alarms, credentials) || s.HeldUntil.IsZero() {
					t.Errorf("lane %+v", s)
				}
				if probes := a.Stats().Requests - requests; probes < 5 || probes > 10 {
					t.Errorf("%d requests in 10 minutes of a pause of one", probes)
				}
				for _, mid := range mids {
					if d := w.row(mid); d.State.Final() || d.Attempts != 0 {
						t.Errorf("row %+v", d)
					}
				}
				if got := a.Stats(); got.ProviderTokens != 0 || got.Reasons["ExpiredProviderToken"] != got.Requests {
					t.Errorf("answers %v, %d provider tokens accepted", got.Reasons, got.ProviderTokens)
				}
				apple.ahead.Store(0)
				w.await("everything, after the clock was set", 30*time.Minute, func() bool { return w.out.Stats().Finals[StateAccepted] == n })
				if n := w.doomed.Load(); n > 0 {
					t.Errorf("%d tokens deleted", n)
				}
				if s := w.out.Stats().Lanes[testLane]; len(s.Alarms) != 0 {
					t.Errorf("alarms %v", s.Alarms)
				}
			})
		})
	}
}

// Google's 429 in both forms, with Retry-After in seconds and as a date: the
// lane sends nothing before it.
func TestQuotaHoldsTheLane(t *testing.T) {
	for _, reason := range []string{fake.FCMQuotaExceeded, fake.FCMResourceExhausted} {
		for _, date := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/date=%v", reason, date), func(t *testing.T) {
				t.Parallel()
				f, p := startFCMFake(t)
				f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: reason, RetryAfter: 3 * time.Second, RetryAfterDate: date}})
				w := startWhole(t, p, nil)
				begun := time.Now()
				first := w.enter("a")
				w.await("the hold", 30*time.Second, func() bool { return !w.out.Stats().Lanes[testLane].HeldUntil.IsZero() })
				until := w.out.Stats().Lanes[testLane].HeldUntil
				// A date has whole seconds, is rounded up, and counts from before the request.
				if until.Sub(begun) < 1500*time.Millisecond || time.Until(until) > 5*time.Second {
					t.Errorf("held for %v to %v", time.Until(until), until.Sub(begun))
				}
				others := []string{w.enter("b"), w.enter("c")}
				requests := f.Stats().Requests
				w.await("the end of the hold", 30*time.Second, func() bool { return w.out.Stats().Finals[StateAccepted] == 3 })
				for _, mid := range append(others, first) {
					d := w.row(mid)
					if d.Attempts != 1 {
						t.Errorf("row %+v", d)
					}
				}
				if n := f.Stats().Requests - requests; n > 4 {
					t.Errorf("%d requests after the 429 for three pushes", n)
				}
			})
		}
	}
}

// A 404 that does not speak of the token: the project or the address is wrong.
// No token is deleted, and there is an alarm.
func TestWrongProjectDeletesNoToken(t *testing.T) {
	f, p := startFCMFake(t)
	f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMNotFound}})
	w := startWhole(t, p, nil)
	var mids []string
	for i := range 30 {
		mids = append(mids, w.enter(fmt.Sprint("d", i)))
	}
	w.await("all outcomes", 30*time.Second, func() bool { return w.out.Stats().Finals[StateFailed] == int64(len(mids)) })
	if n := w.doomed.Load(); n > 0 {
		t.Errorf("%d tokens deleted", n)
	}
	if a := w.out.Stats().Lanes[testLane].Alarms; len(a) != 1 || a[0].Kind != AlarmConfiguration {
		t.Errorf("alarms %v", a)
	}
}

// Google refuses a field of every message: after 20 of them the campaign's text
// is stopped with an alarm, nothing more of it is sent, and no token is
// deleted. A new text goes out, and ends the alarm.
func TestRefusedTextIsStopped(t *testing.T) {
	f, p := startFCMFake(t)
	f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMInvalidField}})
	w := startWhole(t, p, func(c *Config) { c.Workers = 1 })
	for i := range 30 {
		w.enter(fmt.Sprint("d", i))
	}
	finals := func(s State) int64 { return w.out.Stats().Finals[s] }
	w.await("all outcomes", 30*time.Second, func() bool { return finals(StateFailed)+finals(StateSuppressed) == 30 })
	s := w.out.Stats()
	if finals(StateFailed) != textRefusals || s.Suppressed[string(TextRefused)] != 10 || f.Stats().Requests != textRefusals {
		t.Errorf("%d requests, %v, suppressed %v", f.Stats().Requests, s.Finals, s.Suppressed)
	}
	if a := s.Lanes[testLane].Alarms; len(a) != 1 || a[0].Kind != AlarmText || a[0].Text != "the text of c was refused 20 times in a row" {
		t.Errorf("alarms %v", a)
	}
	if n := w.doomed.Load(); n > 0 {
		t.Errorf("%d tokens deleted", n)
	}
	w.revision.Add(1)
	f.ClearScript()
	w.enter("late")
	w.await("the new text", 30*time.Second, func() bool { return finals(StateAccepted) == 1 })
	if a := w.out.Stats().Lanes[testLane].Alarms; len(a) != 0 {
		t.Errorf("alarms %v", a)
	}
}

// Google calls a token bad with the word that it also has for a bad message. It
// costs the token only when the same text was accepted for another one.
func TestBadTokenIsProvenByAnAcceptedText(t *testing.T) {
	f, p := startFCMFake(t)
	w := startWhole(t, p, nil)
	finals := func(s State) int64 { return w.out.Stats().Finals[s] }
	bad := func(device string, failed, doomed int64) {
		t.Helper()
		f.SetToken(fake.DeviceToken(device), fake.TokenBad, time.Time{})
		w.enter(device)
		w.await("the refusal of "+device, 30*time.Second, func() bool { return finals(StateFailed) == failed })
		if n := w.doomed.Load(); n != doomed {
			t.Errorf("after %s: %d tokens deleted, want %d", device, n, doomed)
		}
	}
	bad("first", 1, 0)
	w.enter("good")
	w.await("the good token", 30*time.Second, func() bool { return finals(StateAccepted) == 1 })
	bad("second", 2, 1)
	w.revision.Add(1)
	bad("third", 3, 1) // of the new text nothing is known
}
